//! Reading arguments: numbers as Redis reads them, words in any case.

use crate::error::Error;

/// A 64-bit integer in Redis's strict form: an optional minus, no plus, no leading zeros, no spaces.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] => return if negative { None } else { Some(0) },
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude: u64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude * 10 + digit as u64; // 19 digits fit in 64 bits
    }
    if negative {
        if magnitude <= 1 << 63 {
            Some((magnitude as i64).wrapping_neg())
        } else {
            None
        }
    } else {
        i64::try_from(magnitude).ok()
    }
}

/// The argument as an integer, or Redis's error.
#[inline]
pub fn integer(text: &[u8]) -> Result<i64, Error> {
    parse_i64(text).ok_or(Error::NOT_INTEGER)
}

/// A 32-bit integer in the same form.
pub fn parse_i32(text: &[u8]) -> Option<i32> {
    parse_i64(text).and_then(|n| i32::try_from(n).ok())
}

/// The argument as the index of a database, or the error that SELECT, MOVE and COPY give.
pub fn db_index(text: &[u8], databases: u16) -> Result<u16, Error> {
    const NOT_32_BITS: Error =
        Error::new("ERR value is out of range, value must between -2147483648 and 2147483647");
    let index = i32::try_from(integer(text)?).map_err(|_| NOT_32_BITS)?;
    u16::try_from(index).ok().filter(|&db| db < databases).ok_or(Error::DB_INDEX)
}

/// Whether an argument is this option word, in any case. `word` is in lower case.
#[inline]
pub fn is(text: &[u8], word: &str) -> bool {
    text.eq_ignore_ascii_case(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_canonical_form_is_an_integer() {
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-0",
            "00",
            " 1",
            "1 ",
            "1.0",
            "0x1",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_i64(b"9223372036854775807"), Some(i64::MAX));
    }

    proptest! {
        #[test]
        fn every_integer_reads_back(n: i64) {
            prop_assert_eq!(parse_i64(n.to_string().as_bytes()), Some(n));
        }

        #[test]
        fn agrees_with_the_standard_library_on_canonical_text(text in "-?[0-9]{1,20}") {
            let naive = text.parse::<i64>().ok().filter(|n| n.to_string() == text);
            prop_assert_eq!(parse_i64(text.as_bytes()), naive);
        }
    }
}

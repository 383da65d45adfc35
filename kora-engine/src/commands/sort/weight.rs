//! What elements are compared by: numbers, or texts.

use std::cmp::Ordering;

/// A number as SORT of Redis 8 reads it: decimal, with a sign or without, or infinite, what is too large being infinite too; no
/// hexadecimal, no white space, no `nan`. Nothing at all is 0, and so is what begins with a zero byte: there the text ends.
pub(super) fn number(text: &[u8]) -> Option<f64> {
    let text = until_zero(text);
    if text.is_empty() {
        return Some(0.0);
    }
    // Rust reads the same: `[+-] (digits [. digits] | . digits) [e [+-] digits]`, `inf` and `infinity` in any case.
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!value.is_nan()).then_some(value)
}

/// The order of texts in answers, in which Redis compares C strings (in the C locale): what follows a zero byte does not
/// count. What SORT stores is ordered by all bytes.
pub(super) fn collate(a: &[u8], b: &[u8]) -> Ordering {
    until_zero(a).cmp(until_zero(b))
}

fn until_zero(text: &[u8]) -> &[u8] {
    memchr::memchr(0, text).map_or(text, |end| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_redis() {
        for (text, value) in [
            ("", 0.0),
            ("\0", 0.0),
            ("1\0abc", 1.0),
            ("+5", 5.0),
            ("-.5", -0.5),
            ("5.", 5.0),
            ("00012", 12.0),
            ("1E5", 1e5),
            ("1e+5", 1e5),
            ("1e999", f64::INFINITY),
            ("-1e999", f64::NEG_INFINITY),
            ("1e-999", 0.0),
            ("INF", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("9223372036854775807", i64::MAX as f64),
        ] {
            assert_eq!(number(text.as_bytes()), Some(value), "{text:?}");
        }
        for text in [
            " 5", "5 ", "0x1", "++5", "+-5", "-", ".", "e5", "5e", "1.5.5", "nan", "-nan", "inf1", "1_0",
            "abc", "１",
        ] {
            assert_eq!(number(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(number(b"\xff"), None);
    }

    #[test]
    fn answers_are_ordered_up_to_a_zero_byte() {
        assert_eq!(collate(b"a\0b", b"a\0a"), Ordering::Equal);
        assert_eq!(collate(b"a", b"a\0a"), Ordering::Equal);
        assert_eq!(collate(b"\xff", b"a"), Ordering::Greater);
        assert_eq!(collate(b"a", b"ab"), Ordering::Less);
    }
}

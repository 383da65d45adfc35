//! Offsets of bits, and the types of fields, as arguments.

use crate::args::parse_i64;
use crate::error::Error;

const OFFSET: Error = Error::new("ERR bit offset is not an integer or out of range");
const TYPE: Error = Error::new(
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
);

/// Reads the offset of a bit in a string of at most `max_len` bytes.
///
/// # Errors
/// It is no integer, is negative, or lies past the longest string.
#[inline]
pub(super) fn bit_offset(text: &[u8], max_len: usize) -> Result<u64, Error> {
    within(parse_i64(text).ok_or(OFFSET)?, max_len)
}

/// Reads the offset of a field: in bits, or after a `#` in widths of the field.
///
/// # Errors
/// As [`bit_offset`].
pub(super) fn field_offset(text: &[u8], field: Field, max_len: usize) -> Result<u64, Error> {
    match text.strip_prefix(b"#") {
        None => bit_offset(text, max_len),
        Some(index) => {
            let index = parse_i64(index).ok_or(OFFSET)?;
            within(index.checked_mul(i64::from(field.width)).ok_or(OFFSET)?, max_len)
        }
    }
}

#[inline]
fn within(offset: i64, max_len: usize) -> Result<u64, Error> {
    // The limit can be configured beyond 4 GiB; a change does not record a place there.
    let max_bytes = (max_len as u64).min(u64::from(u32::MAX) - 8);
    u64::try_from(offset).ok().filter(|offset| offset / 8 < max_bytes).ok_or(OFFSET)
}

/// The type of a field: `i1` to `i64`, `u1` to `u63`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) signed: bool,
    /// Bits, at least 1.
    pub(super) width: u32,
}

impl Field {
    /// Reads a type. As in Redis its text ends at a zero byte.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn parse(text: &[u8]) -> Result<Field, Error> {
        let (signed, width) = match text {
            [b'i', width @ ..] => (true, width),
            [b'u', width @ ..] => (false, width),
            _ => return Err(TYPE),
        };
        let width = width.split(|&byte| byte == 0).next().expect("split gives one");
        let width_max = if signed { 64 } else { 63 };
        match parse_i64(width) {
            Some(width) if (1..=width_max).contains(&width) => Ok(Field { signed, width: width as u32 }),
            _ => Err(TYPE),
        }
    }

    /// The least and the greatest number of this type.
    pub(super) fn limits(self) -> (i128, i128) {
        if self.signed {
            (-(1 << (self.width - 1)), (1 << (self.width - 1)) - 1)
        } else {
            (0, (1 << self.width) - 1)
        }
    }

    /// The number that these bits, the lowest of a word, are as this type.
    pub(super) fn number(self, bits: u64) -> i64 {
        if self.signed {
            let unused = 64 - self.width;
            (bits << unused) as i64 >> unused
        } else {
            bits as i64
        }
    }

    /// The lowest bits of a number: what is stored of it.
    pub(super) fn bits(self, number: i64) -> u64 {
        number as u64 & (u64::MAX >> (64 - self.width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn types_are_a_letter_and_a_width() {
        assert_eq!(Field::parse(b"i64"), Ok(Field { signed: true, width: 64 }));
        assert_eq!(Field::parse(b"u63"), Ok(Field { signed: false, width: 63 }));
        assert_eq!(Field::parse(b"u1\0rest"), Ok(Field { signed: false, width: 1 }));
        for text in
            ["", "i", "u", "i0", "u0", "i65", "u64", "I8", "x8", "i08", "i+8", "i-8", "u 8", "8", "i8 ", "\0"]
        {
            assert_eq!(Field::parse(text.as_bytes()), Err(TYPE), "{text:?}");
        }
    }

    #[test]
    fn offsets_lie_within_the_longest_string() {
        let byte = Field { signed: false, width: 8 };
        assert_eq!(bit_offset(b"79", 10), Ok(79));
        assert_eq!(field_offset(b"#9", byte, 10), Ok(72));
        assert_eq!(field_offset(b"#0", byte, 10), Ok(0));
        for text in ["80", "-1", "#1", "", "1.5", "9223372036854775807", "9223372036854775808"] {
            assert_eq!(bit_offset(text.as_bytes(), 10), Err(OFFSET), "{text:?}");
        }
        for text in ["#10", "#-1", "#", "##1", "#9223372036854775807", "#2305843009213693952"] {
            assert_eq!(field_offset(text.as_bytes(), byte, 10), Err(OFFSET), "{text:?}");
        }
        assert_eq!(bit_offset(b"34359738367", usize::MAX), Err(OFFSET), "beyond what a change can name");
    }

    proptest! {
        #[test]
        fn numbers_within_the_limits_survive(signed: bool, width in 1u32..=63, number: i64) {
            let field = Field { signed, width };
            let (least, greatest) = field.limits();
            let fits = (least..=greatest).contains(&i128::from(number));
            prop_assert_eq!(field.number(field.bits(number)) == number, fits);
        }
    }
}

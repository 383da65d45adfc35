//! Unsigned integers in one to ten bytes: seven bits per byte, the low ones first, the top bit set on all but the last
//! (LEB128). Only the shortest form is accepted. Signed integers are folded so that small ones of either sign are short
//! (zigzag: 0, -1, 1, -2 are 0, 1, 2, 3).

use crate::error::DecodeError;
use crate::limits::VARINT_BYTES_MAX;

/// Appends a number.
#[inline]
pub fn encode(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads a number from the beginning of `input`; returns it and its length in bytes. `field` names it in errors.
#[inline]
pub fn decode(input: &[u8], field: &'static str) -> Result<(u64, usize), DecodeError> {
    let mut number = 0u64;
    for (index, &byte) in input.iter().take(VARINT_BYTES_MAX).enumerate() {
        let group = u64::from(byte & 0x7f);
        let shift = 7 * index as u32;
        // The tenth byte has room for one bit.
        if group << shift >> shift != group {
            return Err(DecodeError::Number { field });
        }
        number |= group << shift;
        if byte < 0x80 {
            let longer_than_needed = index > 0 && byte == 0;
            return if longer_than_needed {
                Err(DecodeError::Number { field })
            } else {
                Ok((number, index + 1))
            };
        }
    }
    if input.len() >= VARINT_BYTES_MAX {
        return Err(DecodeError::Number { field });
    }
    Err(DecodeError::Incomplete { needed: input.len() + 1, available: input.len() })
}

/// Folds a signed number.
#[inline]
pub fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// Unfolds a signed number.
#[inline]
pub fn unzigzag(folded: u64) -> i64 {
    (folded >> 1) as i64 ^ -((folded & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(number: u64) -> Vec<u8> {
        let mut out = Vec::new();
        encode(number, &mut out);
        out
    }

    #[test]
    fn lengths_grow_every_seven_bits() {
        assert_eq!(encoded(0), [0]);
        assert_eq!(encoded(127), [0x7f]);
        assert_eq!(encoded(128), [0x80, 1]);
        assert_eq!(encoded(300), [0xac, 2]);
        assert_eq!(encoded(u64::MAX), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    }

    #[test]
    fn longer_forms_and_overflows_are_refused() {
        let refused = Err(DecodeError::Number { field: "x" });
        assert_eq!(decode(&[0x80, 0], "x"), refused);
        assert_eq!(decode(&[0xff, 0x80, 0], "x"), refused);
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], "x"), refused);
        assert_eq!(decode(&[0xff; 11], "x"), refused);
        assert_eq!(decode(&[0x80; 9], "x"), Err(DecodeError::Incomplete { needed: 10, available: 9 }));
        assert_eq!(decode(&[], "x"), Err(DecodeError::Incomplete { needed: 1, available: 0 }));
    }

    proptest! {
        #[test]
        fn round_trip(number in any::<u64>(), shift in 0u32..64, rest in any::<[u8; 3]>()) {
            let number = number >> shift;
            let mut bytes = encoded(number);
            let length = bytes.len();
            bytes.extend(rest);
            prop_assert_eq!(decode(&bytes, "x"), Ok((number, length)));
            prop_assert_eq!(unzigzag(zigzag(number as i64)), number as i64);
        }

        #[test]
        fn whatever_is_accepted_is_the_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            if let Ok((number, length)) = decode(&bytes, "x") {
                prop_assert_eq!(&encoded(number), &bytes[..length]);
            }
        }
    }
}

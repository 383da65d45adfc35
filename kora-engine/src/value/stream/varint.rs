//! Unsigned numbers in as few bytes as they need: seven bits a byte, the lowest first, the top bit set on all but the last.

use crate::value::item::Sink;

/// Most bytes that a number takes.
const LEN_MAX: usize = 10;

/// Appends a number.
#[inline]
pub(super) fn put(mut value: u64, out: &mut impl Sink) {
    let mut bytes = [0; LEN_MAX];
    let mut len = 0;
    while value >= 0x80 {
        bytes[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    bytes[len] = value as u8;
    out.put(&bytes[..=len]);
}

/// The number at `at`, and where the next thing starts. None when the bytes end before it does, or it does not fit 64 bits.
#[inline]
pub(super) fn get(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let first = *bytes.get(at)?;
    if first < 0x80 {
        return Some((u64::from(first), at + 1));
    }
    let mut value = u64::from(first & 0x7f);
    for index in 1..LEN_MAX {
        let byte = *bytes.get(at + index)?;
        if index == LEN_MAX - 1 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some((value, at + index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_read_back(value: u64, shift in 0..64u32, more in 0..3usize) {
            let value = value >> shift;
            let mut bytes = vec![0xff; more];
            put(value, &mut bytes);
            let end = bytes.len();
            bytes.push(0x80);
            prop_assert_eq!(get(&bytes, more), Some((value, end)));
            prop_assert_eq!(get(&bytes[..end - 1], more), None);
        }

        #[test]
        fn any_bytes_are_a_number_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..14)) {
            if let Some((_, end)) = get(&bytes, 0) {
                prop_assert!(end <= bytes.len() && end <= LEN_MAX);
            }
        }
    }
}

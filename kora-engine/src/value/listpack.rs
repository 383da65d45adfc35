//! How large Redis's listpacks would be.
//!
//! The names of forms that OBJECT ENCODING answers of lists depend on that, and where streams are trimmed: Redis keeps the entries of a stream in listpacks and begins a new one when the latest has reached
//! `stream-node-max-bytes`; `XTRIM ~` removes whole ones. For such a trim to leave the same entries here, a block must end
//! where Redis's listpack ends, so the bytes that it would take are counted. (The listpack format: a header of 6 bytes,
//! elements of an encoding byte or more, their content and their length again for walking backwards, an end byte.)

use crate::value::item::Item;

/// Header and end byte.
pub(crate) const FRAME: u64 = 7;

/// Bytes of an integer element.
pub(crate) fn int(value: i64) -> u64 {
    match value {
        0..=127 => 2,
        -4096..=4095 => 3,
        -0x8000..=0x7fff => 4,
        -0x80_0000..=0x7f_ffff => 5,
        -0x8000_0000..=0x7fff_ffff => 6,
        _ => 10,
    }
}

/// Bytes of any element.
pub(crate) fn element(item: Item<'_>) -> u64 {
    match item {
        Item::Int(value) => int(value),
        Item::Bytes(bytes) => text(bytes.len() as u64),
    }
}

/// Bytes of a text of this length.
pub(crate) fn text(bytes: u64) -> u64 {
    let encoded = bytes
        + match bytes {
            0..=63 => 1,
            64..=4095 => 2,
            _ => 5,
        };
    encoded + backwards(encoded as usize) as u64
}

/// Bytes of the length behind an element of so many bytes, by which listpacks are walked backwards. (The borders are Redis's: seven
/// bits a byte would allow one more each.)
pub(crate) fn backwards(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..=16382 => 2,
        16383..=2097150 => 3,
        2097151..=268435454 => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_format() {
        let sizes = |values: &[i64]| values.iter().map(|&value| int(value)).collect::<Vec<_>>();
        assert_eq!(sizes(&[0, 127, 128, -1, 4095, -4096]), [2, 2, 3, 3, 3, 3]);
        assert_eq!(sizes(&[4096, -4097, 32767, 32768, 8388607, 8388608]), [4, 4, 4, 5, 5, 6]);
        assert_eq!(sizes(&[i64::from(i32::MAX), i64::from(i32::MAX) + 1, i64::MIN]), [6, 10, 10]);
        let text = |len: usize| element(Item::Bytes(&vec![b'x'; len]));
        assert_eq!([text(0), text(63), text(64), text(125), text(126)], [2, 65, 67, 128, 130]);
        assert_eq!([text(4095), text(4096), text(16377), text(16378)], [4099, 4103, 16384, 16386]);
        assert_eq!(element(Item::of(b"12")), 2);
        assert_eq!(element(Item::of(b"012")), 5);
    }
}

//! Lengths and strings.
//!
//! ```text
//! 00nnnnnn                a length, or another number, up to 63
//! 01nnnnnn nnnnnnnn       up to 16383
//! 10000000  4 bytes       up to 2^32 - 1, big-endian
//! 10000001  8 bytes       any
//! 11000000  1 byte        a string that is an integer, little-endian
//! 11000001  2 bytes       the same
//! 11000010  4 bytes       the same
//! 11000011                an LZF-compressed string: its length there, its true length, its bytes
//! ```

use super::{lzf, Error, Problem, Source};
use crate::value::item::{Item, Sink};

/// Longest string that is read: collections count bytes in 32 bits.
pub(super) const STRING_MAX: u64 = (1 << 31) - 1;

const INT8: u8 = 0;
const INT16: u8 = 1;
const INT32: u8 = 2;
const LZF: u8 = 3;

/// What a length field says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// A number.
    Number(u64),
    /// What follows is a string in this special form.
    Special(u8),
}

/// Reads a length field.
///
/// # Errors
/// It is not whole, or begins like none.
#[inline]
pub fn length<S: Source>(source: &mut S) -> Result<Length, Error> {
    let first = source.byte()?;
    let low = first & 0x3f;
    Ok(match first >> 6 {
        0 => Length::Number(low.into()),
        1 => Length::Number(u64::from(low) << 8 | u64::from(source.byte()?)),
        2 if first == 0x80 => Length::Number(u32::from_be_bytes(source.array()?).into()),
        2 if first == 0x81 => Length::Number(u64::from_be_bytes(source.array()?)),
        2 => return source.refuse(Problem::Malformed("length")),
        _ => Length::Special(low),
    })
}

/// Reads a length field that is a number.
///
/// # Errors
/// It is not whole, or none.
#[inline]
pub fn number<S: Source>(source: &mut S) -> Result<u64, Error> {
    match length(source)? {
        Length::Number(number) => Ok(number),
        Length::Special(_) => source.refuse(Problem::Malformed("number")),
    }
}

/// Reads a string: from where it lies if it lies there as it is, else through `scratch`.
///
/// # Errors
/// It is not whole, not what it should be, or longer than any may be.
#[inline]
pub fn string<'s, S: Source>(source: &'s mut S, scratch: &'s mut Vec<u8>) -> Result<&'s [u8], Error> {
    match length(source)? {
        Length::Number(len) => {
            let len = checked(source, len)?;
            source.bytes(len)
        }
        Length::Special(form) => special(source, form, scratch),
    }
}

pub(super) fn special<'s, S: Source>(
    source: &mut S,
    form: u8,
    scratch: &'s mut Vec<u8>,
) -> Result<&'s [u8], Error> {
    let int = match form {
        INT8 => i8::from_le_bytes(source.array()?).into(),
        INT16 => i16::from_le_bytes(source.array()?).into(),
        INT32 => i32::from_le_bytes(source.array()?).into(),
        LZF => {
            let (stored, len) = (number(source)?, number(source)?);
            let (stored, len) = (checked(source, stored)?, checked(source, len)?);
            return match lzf::decompress(source.bytes(stored)?, len, scratch) {
                true => Ok(scratch),
                false => source.refuse(Problem::Malformed("compressed string")),
            };
        }
        _ => return source.refuse(Problem::Malformed("string")),
    };
    scratch.clear();
    scratch.extend_from_slice(itoa::Buffer::new().format::<i64>(int).as_bytes());
    Ok(scratch)
}

pub(super) fn checked<S: Source>(source: &S, len: u64) -> Result<usize, Error> {
    if len > STRING_MAX {
        return source.refuse(Problem::TooLong(len));
    }
    Ok(len as usize)
}

/// Writes a number as a length field.
pub fn put_length(number: u64, out: &mut impl Sink) {
    match number {
        0..=0x3f => out.put(&[number as u8]),
        0x40..=0x3fff => out.put(&(0x4000 | number as u16).to_be_bytes()),
        0x4000..=0xffff_ffff => {
            out.put(&[0x80]);
            out.put(&(number as u32).to_be_bytes());
        }
        _ => {
            out.put(&[0x81]);
            out.put(&number.to_be_bytes());
        }
    }
}

/// Writes a string; as an integer if it is one of 32 bits.
pub fn put_string(text: Item<'_>, out: &mut impl Sink) {
    match text {
        Item::Bytes(bytes) => {
            put_length(bytes.len() as u64, out);
            out.put(bytes);
        }
        Item::Int(int) => {
            if let Ok(int) = i8::try_from(int) {
                out.put(&[0xc0 | INT8, int as u8]);
            } else if let Ok(int) = i16::try_from(int) {
                out.put(&[0xc0 | INT16]);
                out.put(&int.to_le_bytes());
            } else if let Ok(int) = i32::try_from(int) {
                out.put(&[0xc0 | INT32]);
                out.put(&int.to_le_bytes());
            } else {
                let mut text = itoa::Buffer::new();
                let text = text.format(int).as_bytes();
                put_length(text.len() as u64, out);
                out.put(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Slice;
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Vec<u8>, Error> {
        string(&mut Slice::new(bytes), &mut Vec::new()).map(<[u8]>::to_vec)
    }

    #[test]
    fn every_form_of_a_string() {
        assert_eq!(read(b"\x05hello").unwrap(), b"hello");
        assert_eq!(read(b"\x40\x03abc").unwrap(), b"abc");
        assert_eq!(read(b"\x80\0\0\0\x03abc").unwrap(), b"abc");
        assert_eq!(read(b"\x81\0\0\0\0\0\0\0\x03abc").unwrap(), b"abc");
        assert_eq!(read(b"\xc0\xff").unwrap(), b"-1");
        assert_eq!(read(b"\xc1\x00\x80").unwrap(), b"-32768");
        assert_eq!(read(b"\xc2\xff\xff\xff\x7f").unwrap(), b"2147483647");
        assert_eq!(read(b"\xc3\x06\x06\x02abc\x20\x02").unwrap(), b"abcabc");
    }

    #[test]
    fn what_is_claimed_is_not_believed() {
        let offset_and_problem = |bytes: &[u8]| read(bytes).map_err(|error| (error.offset, error.problem));
        assert_eq!(offset_and_problem(b"\x05hell"), Err((1, Problem::Truncated)));
        assert_eq!(offset_and_problem(b"\x80\x7f\xff\xff\xffx"), Err((5, Problem::Truncated)));
        assert_eq!(
            offset_and_problem(b"\x81\xff\xff\xff\xff\xff\xff\xff\xffx"),
            Err((9, Problem::TooLong(u64::MAX)))
        );
        assert_eq!(offset_and_problem(b"\xc4"), Err((1, Problem::Malformed("string"))));
        assert_eq!(offset_and_problem(b"\x82"), Err((1, Problem::Malformed("length"))));
        assert_eq!(offset_and_problem(b""), Err((0, Problem::Truncated)));
        // 2 GiB out of two bytes.
        assert_eq!(
            offset_and_problem(b"\xc3\x02\x80\x7f\xff\xff\xff\x00x"),
            Err((9, Problem::Malformed("compressed string")))
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(text in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..100),
            (any::<i64>(), 0u32..64).prop_map(|(int, shift)| (int >> shift).to_string().into_bytes()),
            (0usize..70_000).prop_map(|len| vec![b'x'; len]),
        ], number: u64, shift in 0u32..64) {
            let mut out = Vec::new();
            put_string(Item::of(&text), &mut out);
            prop_assert_eq!(read(&out).unwrap(), text);
            out.clear();
            put_length(number >> shift, &mut out);
            let mut source = Slice::new(&out);
            prop_assert_eq!(length(&mut source), Ok(Length::Number(number >> shift)));
            prop_assert_eq!(source.offset(), out.len() as u64);
        }
    }
}

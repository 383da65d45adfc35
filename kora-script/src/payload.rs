//! The payload of FUNCTION DUMP: a piece of an RDB file.
//!
//! ```text
//! 245 text  245 text ...  version (2 bytes, little endian)  CRC-64 of all before (8 bytes, little endian)
//! ```
//!
//! A text is an RDB string: a length in 1, 2, 5 or 9 bytes, or LZF-compressed, or an integer.

use crate::error::Error;

const OPCODE_FUNCTION: u8 = 245;
/// The form of release candidates of Redis 7.
const OPCODE_FUNCTION_PRE_RELEASE: u8 = 246;
/// What Redis 8 writes; it reads what is not newer.
const VERSION: u16 = 12;
const FOOTER_BYTES: usize = 10;
/// Longest text.
const TEXT_BYTES_MAX: u64 = 512 << 20;

/// Writes texts as a payload.
pub(crate) fn write<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for text in texts {
        out.push(OPCODE_FUNCTION);
        match text.len() {
            len @ 0..=63 => out.push(len as u8),
            len @ 64..=16_383 => out.extend_from_slice(&(len as u16 | 1 << 14).to_be_bytes()),
            len => match u32::try_from(len) {
                Ok(len) => {
                    out.push(0x80);
                    out.extend_from_slice(&len.to_be_bytes());
                }
                Err(_) => {
                    out.push(0x81);
                    out.extend_from_slice(&(len as u64).to_be_bytes());
                }
            },
        }
        out.extend_from_slice(text);
    }
    out.extend_from_slice(&VERSION.to_le_bytes());
    let checksum = crc64(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// Reads the texts of a payload.
pub(crate) fn read(payload: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let wrong = || Error::of(b"ERR DUMP payload version or checksum are wrong");
    let body = payload.len().checked_sub(FOOTER_BYTES).ok_or_else(wrong)?;
    let (body, footer) = payload.split_at(body);
    let version = u16::from_le_bytes([footer[0], footer[1]]);
    let checksum = footer[2..].iter().rev().fold(0u64, |sum, &b| sum << 8 | b as u64);
    // A payload without a checksum has zero there.
    if version > VERSION || (checksum != 0 && checksum != crc64(&payload[..payload.len() - 8])) {
        return Err(wrong());
    }
    let mut rest = Reader(body);
    let mut texts = Vec::new();
    while let Some(opcode) = rest.byte() {
        match opcode {
            OPCODE_FUNCTION => {}
            OPCODE_FUNCTION_PRE_RELEASE => {
                return Err(Error::of(b"ERR Pre-GA function format not supported"))
            }
            _ => return Err(Error::of(b"ERR given type is not a function")),
        }
        texts.push(rest.text().ok_or_else(|| Error::of(b"ERR Failed loading library payload"))?);
    }
    Ok(texts)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    /// A length, or (as an error) the number of a special form.
    fn length(&mut self) -> Option<Result<u64, u8>> {
        let first = self.byte()?;
        Some(Ok(match first >> 6 {
            0 => first as u64,
            1 => (first as u64 & 63) << 8 | self.byte()? as u64,
            2 => match first {
                0x80 => self.big_endian(4)?,
                0x81 => self.big_endian(8)?,
                _ => return None,
            },
            _ => return Some(Err(first & 63)),
        }))
    }

    fn big_endian(&mut self, bytes: u64) -> Option<u64> {
        Some(self.take(bytes)?.iter().fold(0, |n, &b| n << 8 | b as u64))
    }

    fn little_endian(&mut self, bytes: u64) -> Option<i64> {
        let taken = self.take(bytes)?;
        let unsigned = taken.iter().rev().fold(0u64, |n, &b| n << 8 | b as u64);
        let unused = 64 - 8 * bytes as u32;
        Some((unsigned << unused) as i64 >> unused)
    }

    fn text(&mut self) -> Option<Vec<u8>> {
        match self.length()? {
            Ok(len) => Some(self.take(len)?.to_vec()),
            Err(form @ 0..=2) => Some(self.little_endian(1 << form)?.to_string().into_bytes()),
            Err(3) => {
                let packed = self.length()?.ok()?;
                let len = self.length()?.ok()?;
                unpack(self.take(packed)?, len)
            }
            Err(_) => None,
        }
    }
}

/// LZF: a control byte below 32 is followed by so many bytes and one more as they are; else it says how far back and how long to copy.
fn unpack(mut packed: &[u8], len: u64) -> Option<Vec<u8>> {
    /// Most bytes that one packed byte can stand for.
    const EXPANSION_MAX: u64 = 264;
    if len > TEXT_BYTES_MAX || len > packed.len() as u64 * EXPANSION_MAX {
        return None;
    }
    let mut out = Vec::with_capacity(len as usize);
    while let Some((&control, rest)) = packed.split_first() {
        packed = rest;
        if control < 32 {
            let (literal, rest) = packed.split_at_checked(control as usize + 1)?;
            out.extend_from_slice(literal);
            packed = rest;
        } else {
            let mut count = (control >> 5) as usize;
            let (next, rest) = packed.split_first()?;
            let (low, rest) = if count == 7 {
                count += *next as usize;
                rest.split_first()?
            } else {
                (next, rest)
            };
            packed = rest;
            let back = ((control as usize & 31) << 8 | *low as usize) + 1;
            let start = out.len().checked_sub(back)?;
            for i in start..start + count + 2 {
                out.push(out[i]);
            }
        }
        if out.len() as u64 > len {
            return None;
        }
    }
    (out.len() as u64 == len).then_some(out)
}

/// CRC-64 of Jones: polynomial 0xad93d23594c935a9, bits reflected, no inversion.
fn crc64(bytes: &[u8]) -> u64 {
    const REFLECTED: u64 = 0xad93_d235_94c9_35a9_u64.reverse_bits();
    const TABLE: [u64; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let mut crc = i as u64;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ REFLECTED } else { crc >> 1 };
                bit += 1;
            }
            table[i] = crc;
            i += 1;
        }
        table
    };
    bytes.iter().fold(0, |crc, &byte| TABLE[(crc as u8 ^ byte) as usize] ^ crc >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_that_of_redis() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn broken_payloads_are_errors() {
        for bytes in [&b""[..], b"123456789", b"1234567890", &write([b"x".as_slice()].into_iter())[1..]] {
            assert_eq!(read(bytes).unwrap_err().text(), b"ERR DUMP payload version or checksum are wrong");
        }
        let with_zero_checksum = |body: &[u8]| [body, &VERSION.to_le_bytes(), &[0; 8]].concat();
        for (body, text) in [
            (&[OPCODE_FUNCTION, 5, b'x'][..], "ERR Failed loading library payload"),
            (
                &[OPCODE_FUNCTION, 0x81, 255, 255, 255, 255, 255, 255, 255, 255],
                "ERR Failed loading library payload",
            ),
            (&[OPCODE_FUNCTION, 0xc3, 2, 60, 0, 1], "ERR Failed loading library payload"),
            (&[OPCODE_FUNCTION, 0xc3, 3, 60, 0x20, 0, 0], "ERR Failed loading library payload"),
            (&[OPCODE_FUNCTION_PRE_RELEASE], "ERR Pre-GA function format not supported"),
            (&[0], "ERR given type is not a function"),
        ] {
            assert_eq!(read(&with_zero_checksum(body)).unwrap_err().text(), text.as_bytes(), "{body:?}");
        }
    }

    #[test]
    fn packed_texts_are_unpacked() {
        // "a", then 9 more copied from 1 back.
        assert_eq!(unpack(&[0, b'a', 0xe0, 0, 0], 10).as_deref(), Some(&b"aaaaaaaaaa"[..]));
        assert_eq!(unpack(&[0, b'a', 0x20, 1], 4), None);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(texts: Vec<Vec<u8>>) {
            let payload = write(texts.iter().map(Vec::as_slice));
            prop_assert_eq!(read(&payload).unwrap(), texts);
        }

        #[test]
        fn no_bytes_are_a_crash(bytes: Vec<u8>) {
            let _ = read(&[&bytes, &[0; 10][..]].concat());
            let _ = unpack(&bytes, 100);
        }
    }
}

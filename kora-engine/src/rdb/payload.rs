//! What DUMP answers: a value, the version of the format, and a checksum over both.
//!
//! ```text
//! type u8 | value | version u16 | CRC-64 of all before, u64        numbers little-endian
//! ```

use super::{version_for, Crc64, Writer, VERSION_MAX};
use crate::table::ValueRef;

/// Bytes behind the value.
pub const FOOTER_BYTES: usize = 10;

/// The payload is not one, was damaged, or is of a newer version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("DUMP payload version or checksum are wrong")]
pub struct Refused;

/// The type number and the value of a payload. That they are one has not been looked at.
///
/// # Errors
/// The payload is too short, of a version that is not known, or its checksum is wrong.
pub fn open(payload: &[u8]) -> Result<&[u8], Refused> {
    let covered = payload.len().checked_sub(8).ok_or(Refused)?;
    open_checked(payload, Crc64::of(&payload[..covered]))
}

/// The same, with the checksum of all but the last eight bytes: who has a large payload computes it in slices.
///
/// # Errors
/// As of [`open`].
pub fn open_checked(payload: &[u8], computed: u64) -> Result<&[u8], Refused> {
    let (rest, stored) = payload.split_last_chunk::<8>().ok_or(Refused)?;
    let (value, version) = rest.split_last_chunk::<2>().ok_or(Refused)?;
    let is_known = u16::from_le_bytes(*version) <= VERSION_MAX;
    (is_known && computed == u64::from_le_bytes(*stored)).then_some(value).ok_or(Refused)
}

/// A payload that is being made, in the oldest version that loses nothing.
pub struct Dumper {
    writer: Writer,
    version: u16,
    out: Vec<u8>,
    /// Of the bytes up to here.
    crc: Crc64,
    checked: usize,
}

impl Dumper {
    /// Begins with a value.
    pub fn begin(value: ValueRef<'_>) -> Dumper {
        let version = version_for(value);
        let mut writer = Writer::new(version);
        let encoding = writer.begin(value).expect("it is the version that the value needs");
        Dumper { writer, version, out: vec![encoding as u8], crc: Crc64::default(), checked: 0 }
    }

    /// Writes about so many elements more of the value, which is as it was. True when it is complete.
    pub fn advance(&mut self, value: ValueRef<'_>, elements: usize) -> bool {
        let complete = self.writer.advance(value, &mut self.out, elements);
        self.check();
        complete
    }

    /// Adds to the checksum what was written.
    fn check(&mut self) {
        self.crc.update(&self.out[self.checked..]);
        self.checked = self.out.len();
    }

    /// The whole payload, of a value that is complete.
    pub fn close(mut self) -> Vec<u8> {
        self.out.extend_from_slice(&self.version.to_le_bytes());
        self.check();
        self.out.extend_from_slice(&self.crc.value().to_le_bytes());
        self.out
    }
}

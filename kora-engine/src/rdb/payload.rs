//! What DUMP answers: a value, the version of the format, and a checksum over both.
//!
//! ```text
//! type u8 | value | version u16 | CRC-64 of all before, u64        numbers little-endian
//! ```

use super::{Crc64, VERSION_MAX};

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

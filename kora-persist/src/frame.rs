//! A frame: records of one shard, as they lie in the log.
//!
//! ```text
//!  0  u32  length of the frame in bytes, this header included
//!  4  u8   kind: 1 = records, 2 = records that belong to a transaction
//!  5  u8   format version of kind and payload
//!  6  u16  shard
//!  8  u64  first log position (LSN)
//! 16  u64  last log position
//! 24  u32  CRC-32C of everything else in the frame: bytes 0 to 24, then bytes 28 to its end
//! 28  u32  segment that it was written to: the low 32 bits of its number
//! 32  u64  log position up to which everything was durable when it was written
//! 40  u64  of kind 2: the tag of the transaction
//!          payload: one record per position, see `record`
//! ```
//!
//! Integers are little-endian. Every version begins with the first 28 bytes and has the checksum there, so a reader can
//! tell "damaged" from "intact and newer than me". Positions begin at 1.
//!
//! In a recycled segment an intact frame may be one of an earlier use: its segment number tells. Which positions may follow which is the
//! log's to check. Records of a transaction over several shards count only if its commit is in the log as well.

use crate::error::DecodeError;
use crate::limits::FRAME_BYTES_MAX;
use crate::record::{self, Entry};

/// Bytes before the payload, of frames without a tag.
pub const HEADER_BYTES: usize = 40;
/// Bytes before the payload, of frames with one.
pub const TAGGED_HEADER_BYTES: usize = HEADER_BYTES + 8;

/// The version that is written and the newest that [`Frame::decode`] reads.
pub const FORMAT_VERSION: u8 = 1;

const LENGTH: usize = 0;
const KIND: usize = 4;
const VERSION: usize = 5;
const SHARD: usize = 6;
const FIRST_LSN: usize = 8;
const LAST_LSN: usize = 16;
const CHECKSUM: usize = 24;
const SEGMENT: usize = 28;
const DURABLE: usize = 32;
const TAG: usize = 40;

/// The kind of frames whose payload is records.
const KIND_RECORDS: u8 = 1;
/// The kind of those whose records belong to a transaction.
const KIND_TAGGED: u8 = 2;

/// What a frame says of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// Whose changes these are.
    pub shard: u16,
    /// Log position of the first record.
    pub first_lsn: u64,
    /// Log position of the last record.
    pub last_lsn: u64,
    /// Low 32 bits of the number of the segment that it was written to.
    pub segment: u32,
    /// Up to where everything was durable when it was written.
    pub durable: u64,
    /// The transaction to which the records belong.
    pub tag: Option<u64>,
}

/// An intact frame. Its records have not been looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it says.
    pub head: FrameHead,
    /// The records.
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the frame at the beginning of `input`; returns it, borrowing from `input`, and its length in bytes.
    ///
    /// [`DecodeError::Incomplete`] says that `input` could be the beginning of a frame; any other error that it is none.
    /// A damaged length field can look incomplete too: only the log, which knows what follows, can tell a torn tail from
    /// a damaged middle.
    pub fn decode(input: &'a [u8]) -> Result<(Frame<'a>, usize), DecodeError> {
        let Some(header) = input.first_chunk::<HEADER_BYTES>() else {
            return Err(DecodeError::Incomplete { needed: HEADER_BYTES, available: input.len() });
        };
        if header.iter().all(|&byte| byte == 0) {
            return Err(DecodeError::NoFrame);
        }
        let stated = u32::from_le_bytes(field(header, LENGTH));
        let length = stated as usize;
        if length <= HEADER_BYTES || length > FRAME_BYTES_MAX {
            return Err(DecodeError::FrameLength {
                length: stated,
                min: HEADER_BYTES + 1,
                max: FRAME_BYTES_MAX,
            });
        }
        let Some(frame) = input.get(..length) else {
            return Err(DecodeError::Incomplete { needed: length, available: input.len() });
        };
        let stored = u32::from_le_bytes(field(header, CHECKSUM));
        let computed = checksum(frame);
        if stored != computed {
            return Err(DecodeError::Checksum { stored, computed });
        }
        // From here on the bytes are those that a writer wrote; what is wrong with them now is the writer's doing.
        let (version, kind) = (header[VERSION], header[KIND]);
        if version != FORMAT_VERSION {
            return Err(DecodeError::FormatVersion { found: version, known: FORMAT_VERSION });
        }
        let (tag, payload) = match kind {
            KIND_RECORDS => (None, &frame[HEADER_BYTES..]),
            KIND_TAGGED => match frame.get(TAG..).and_then(<[u8]>::split_first_chunk) {
                Some((tag, payload)) if !payload.is_empty() => (Some(u64::from_le_bytes(*tag)), payload),
                _ => {
                    let min = TAGGED_HEADER_BYTES + 1;
                    return Err(DecodeError::FrameLength { length: stated, min, max: FRAME_BYTES_MAX });
                }
            },
            _ => return Err(DecodeError::FrameKind { found: kind }),
        };
        let first_lsn = u64::from_le_bytes(field(header, FIRST_LSN));
        let last_lsn = u64::from_le_bytes(field(header, LAST_LSN));
        if first_lsn == 0 || last_lsn < first_lsn {
            return Err(DecodeError::LsnRange { first: first_lsn, last: last_lsn });
        }
        let head = FrameHead {
            shard: u16::from_le_bytes(field(header, SHARD)),
            first_lsn,
            last_lsn,
            segment: u32::from_le_bytes(field(header, SEGMENT)),
            durable: u64::from_le_bytes(field(header, DURABLE)),
            tag,
        };
        Ok((Frame { head, payload }, length))
    }

    /// The records with their log positions, in order. Ends after the first error.
    pub fn records(&self) -> Records<'a> {
        let FrameHead { first_lsn, last_lsn, .. } = self.head;
        Records { left: self.payload, next_lsn: first_lsn, last_lsn, ended: false }
    }

    /// The encoded records, one after the other.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// Iterates over the records of a [`Frame`]. Without an error there were exactly as many as the frame's range of
/// positions says, and no byte was left over.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    left: &'a [u8],
    next_lsn: u64,
    last_lsn: u64,
    /// After the last record or an error. A flag, because the position after the last one may not exist.
    ended: bool,
}

impl<'a> Records<'a> {
    fn next_record(&mut self) -> Result<(u64, Entry<'a>), DecodeError> {
        let lsn = self.next_lsn;
        let disagree = DecodeError::RecordCount { last: self.last_lsn, at: lsn, left: self.left.len() };
        let (entry, length) = record::decode_entry(self.left).map_err(|error| match error {
            // The frame is complete, so a record that wants more is not there.
            DecodeError::Incomplete { .. } => disagree,
            error => error,
        })?;
        self.left = &self.left[length..];
        if lsn == self.last_lsn {
            self.ended = true;
            if !self.left.is_empty() {
                return Err(DecodeError::RecordCount { last: self.last_lsn, at: lsn, left: self.left.len() });
            }
        } else {
            self.next_lsn += 1;
        }
        Ok((lsn, entry))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(u64, Entry<'a>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let record = self.next_record();
        self.ended |= record.is_err();
        Some(record)
    }
}

/// The header of a frame with this payload, checksum included: what stands before the payload.
pub fn header(head: &FrameHead, payload: &[u8]) -> ([u8; TAGGED_HEADER_BYTES], usize) {
    let mut bytes = [0; TAGGED_HEADER_BYTES];
    let length = match head.tag {
        None => HEADER_BYTES,
        Some(tag) => {
            bytes[TAG..][..8].copy_from_slice(&tag.to_le_bytes());
            TAGGED_HEADER_BYTES
        }
    };
    bytes[LENGTH..][..4].copy_from_slice(&((length + payload.len()) as u32).to_le_bytes());
    bytes[KIND] = if head.tag.is_some() { KIND_TAGGED } else { KIND_RECORDS };
    bytes[VERSION] = FORMAT_VERSION;
    bytes[SHARD..][..2].copy_from_slice(&head.shard.to_le_bytes());
    bytes[FIRST_LSN..][..8].copy_from_slice(&head.first_lsn.to_le_bytes());
    bytes[LAST_LSN..][..8].copy_from_slice(&head.last_lsn.to_le_bytes());
    bytes[SEGMENT..][..4].copy_from_slice(&head.segment.to_le_bytes());
    bytes[DURABLE..][..8].copy_from_slice(&head.durable.to_le_bytes());
    let sum = crc32c::crc32c(&bytes[..CHECKSUM]);
    let sum = crc32c::crc32c_append(sum, &bytes[SEGMENT..length]);
    let sum = crc32c::crc32c_append(sum, payload);
    bytes[CHECKSUM..][..4].copy_from_slice(&sum.to_le_bytes());
    (bytes, length)
}

/// Appends a whole frame.
pub fn encode(head: &FrameHead, payload: &[u8], out: &mut Vec<u8>) {
    let (bytes, length) = header(head, payload);
    out.extend_from_slice(&bytes[..length]);
    out.extend_from_slice(payload);
}

/// The positions in the header of a frame that need not be intact, if it says that it was written to this segment.
pub(crate) fn claims(frame: &[u8], segment: u32) -> Option<(u64, u64)> {
    let header = frame.first_chunk::<HEADER_BYTES>()?;
    let is_here = u32::from_le_bytes(field(header, SEGMENT)) == segment;
    is_here
        .then(|| (u64::from_le_bytes(field(header, FIRST_LSN)), u64::from_le_bytes(field(header, LAST_LSN))))
}

fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..CHECKSUM]), &frame[SEGMENT..])
}

fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    *header[at..].first_chunk().expect("fields lie within the header")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{change, OwnedChange};
    use kora_engine::change::{Change, ChangeValue, DeleteReason};
    use proptest::prelude::*;

    fn records(changes: &[Change<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        changes.iter().for_each(|change| record::encode(change, &mut out));
        out
    }

    fn head(shard: u16, first_lsn: u64, count: usize) -> FrameHead {
        let last_lsn = first_lsn + (count as u64 - 1);
        FrameHead { shard, first_lsn, last_lsn, segment: 9, durable: first_lsn - 1, tag: None }
    }

    fn frame(shard: u16, first_lsn: u64, changes: &[Change<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&head(shard, first_lsn, changes.len()), &records(changes), &mut out);
        out
    }

    fn small_frame() -> Vec<u8> {
        frame(
            1,
            7,
            &[
                Change::Set {
                    db: 0,
                    key: b"k",
                    value: ChangeValue::Bytes(b"value"),
                    expire_at: Some(1_700_000_000_000),
                },
                Change::Delete { db: 2, key: b"gone", reason: DeleteReason::Expired },
            ],
        )
    }

    /// Overwrites bytes of a frame and makes its checksum right again, as a faulty writer would.
    fn forge(mut bytes: Vec<u8>, at: usize, new: &[u8]) -> Vec<u8> {
        bytes[at..][..new.len()].copy_from_slice(new);
        let sum = checksum(&bytes);
        bytes[CHECKSUM..][..4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    #[test]
    fn every_single_bit_flip_is_refused() {
        let good = small_frame();
        // Followed by more log, so that a longer length finds bytes.
        let log = [good.clone(), good.clone(), vec![0; 512]].concat();
        for bit in 0..good.len() * 8 {
            let mut bad = log.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = Frame::decode(&bad).unwrap_err();
            assert_ne!(error, DecodeError::NoFrame, "bit {bit} must not look like the end of the log");
            assert!(Frame::decode(&bad[..good.len()]).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_flipped_bit_never_turns_a_frame_into_unwritten_space() {
        // 64 bytes: the length has one bit set, and without it is zero.
        let changes = [Change::Append { db: 0, key: b"k", tail: &[0; 19] }];
        let mut bytes = frame(0, 1, &changes);
        assert_eq!(bytes.len(), 64);
        bytes[0] = 0;
        assert!(matches!(Frame::decode(&bytes), Err(DecodeError::FrameLength { length: 0, .. })));
        assert_eq!(Frame::decode(&[0; 4096]), Err(DecodeError::NoFrame));
    }

    #[test]
    fn truncation_at_every_byte_is_incomplete() {
        let good = small_frame();
        for length in 0..good.len() {
            let needed = if length < HEADER_BYTES { HEADER_BYTES } else { good.len() };
            assert_eq!(
                Frame::decode(&good[..length]),
                Err(DecodeError::Incomplete { needed, available: length })
            );
        }
    }

    #[test]
    fn intact_frames_of_a_faulty_or_newer_writer_are_refused_by_name() {
        let forged = |at: usize, new: &[u8]| forge(small_frame(), at, new);
        assert_eq!(
            Frame::decode(&forged(VERSION, &[2])),
            Err(DecodeError::FormatVersion { found: 2, known: 1 })
        );
        assert_eq!(Frame::decode(&forged(KIND, &[9])), Err(DecodeError::FrameKind { found: 9 }));
        assert_eq!(Frame::decode(&forged(FIRST_LSN, &[0])), Err(DecodeError::LsnRange { first: 0, last: 8 }));
        assert_eq!(Frame::decode(&forged(FIRST_LSN, &[9])), Err(DecodeError::LsnRange { first: 9, last: 8 }));
    }

    #[test]
    fn record_count_must_match_the_positions() {
        let too_many = forge(small_frame(), LAST_LSN, &[7]);
        let records: Vec<_> = Frame::decode(&too_many).unwrap().0.records().collect();
        assert_eq!(records, [Err(DecodeError::RecordCount { last: 7, at: 7, left: 7 })]);

        let too_few = forge(small_frame(), LAST_LSN, &[9]);
        let records: Vec<_> = Frame::decode(&too_few).unwrap().0.records().collect();
        assert_eq!(records.len(), 3);
        assert_eq!(records[2], Err(DecodeError::RecordCount { last: 9, at: 9, left: 0 }));
    }

    #[test]
    fn positions_reach_the_last_one() {
        let bytes = frame(u16::MAX, u64::MAX, &[Change::FlushDb { db: 3 }]);
        let (frame, _) = Frame::decode(&bytes).unwrap();
        let expected = [Ok((u64::MAX, Entry::Change(Change::FlushDb { db: 3 })))];
        assert_eq!(frame.records().collect::<Vec<_>>(), expected);
    }

    proptest! {
        #[test]
        fn round_trip(
            changes in proptest::collection::vec(change(), 1..20),
            shard in any::<u16>(),
            first_lsn in 1u64..1 << 60,
        ) {
            let borrowed: Vec<Change<'_>> = changes.iter().map(OwnedChange::borrow).collect();
            let bytes = [frame(shard, first_lsn, &borrowed), vec![0xa5; 9]].concat();
            let (frame, length) = Frame::decode(&bytes).unwrap();
            prop_assert_eq!(frame.head, head(shard, first_lsn, changes.len()));
            prop_assert_eq!(length, bytes.len() - 9);
            let read: Vec<(u64, Entry<'_>)> = frame.records().map(Result::unwrap).collect();
            let expected: Vec<_> = (first_lsn..).zip(borrowed.into_iter().map(Entry::Change)).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((frame, _)) = Frame::decode(&bytes) {
                frame.records().for_each(drop);
            }
        }

        #[test]
        fn arbitrary_payloads_with_a_right_checksum_never_panic(
            payload in proptest::collection::vec(prop_oneof![0u8..8, any::<u8>()], 1..200),
            first_lsn in 1u64..100,
            count in 0u64..100,
        ) {
            let mut bytes = vec![0; HEADER_BYTES];
            bytes[KIND] = KIND_RECORDS;
            bytes[VERSION] = FORMAT_VERSION;
            bytes[LENGTH..][..4].copy_from_slice(&((HEADER_BYTES + payload.len()) as u32).to_le_bytes());
            bytes[LAST_LSN..][..8].copy_from_slice(&(first_lsn + count).to_le_bytes());
            bytes.extend(payload);
            let bytes = forge(bytes, FIRST_LSN, &first_lsn.to_le_bytes());
            let (frame, _) = Frame::decode(&bytes).unwrap();
            let records: Vec<_> = frame.records().collect();
            let read = records.iter().filter(|record| record.is_ok()).count() as u64;
            prop_assert!(read <= count + 1);
            prop_assert_eq!(records.iter().all(Result::is_ok), read == count + 1);
        }
    }
}

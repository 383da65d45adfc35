//! A frame: consecutive changes of one shard, as they lie in the log.
//!
//! ```text
//!  0  u32  length of the frame in bytes, this header included
//!  4  u8   kind: 1 = changes
//!  5  u8   format version of kind and payload
//!  6  u16  shard
//!  8  u64  first log position (LSN)
//! 16  u64  last log position
//! 24  u32  CRC-32C of everything else in the frame: bytes 0 to 24, then the payload
//! 28       payload: one record per position, see `record`
//! ```
//!
//! Integers are little-endian. Every version begins with these 28 bytes and has the checksum there, so a reader can
//! tell "damaged" from "intact and newer than me". Positions begin at 1.
//!
//! A frame says nothing about where it should be: in a recycled segment an intact frame may be one of an earlier use. Which
//! positions may follow which is the log's to check.

use kora_engine::change::Change;

use crate::error::DecodeError;
use crate::limits::FRAME_BYTES_MAX;
use crate::record;

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 28;

/// The version that [`FrameWriter`] writes and the newest that [`Frame::decode`] reads.
pub const FORMAT_VERSION: u8 = 1;

const LENGTH: usize = 0;
const KIND: usize = 4;
const VERSION: usize = 5;
const SHARD: usize = 6;
const FIRST_LSN: usize = 8;
const LAST_LSN: usize = 16;
const CHECKSUM: usize = 24;

/// The kind of frames whose payload is records of changes.
const KIND_CHANGES: u8 = 1;

/// An intact frame. Its records have not been looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Whose changes these are.
    pub shard: u16,
    /// Log position of the first change.
    pub first_lsn: u64,
    /// Log position of the last change.
    pub last_lsn: u64,
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
        let payload = &frame[HEADER_BYTES..];
        let stored = u32::from_le_bytes(field(header, CHECKSUM));
        let computed = checksum(header, payload);
        if stored != computed {
            return Err(DecodeError::Checksum { stored, computed });
        }
        // From here on the bytes are those that a writer wrote; what is wrong with them now is the writer's doing.
        let (version, kind) = (header[VERSION], header[KIND]);
        if version != FORMAT_VERSION {
            return Err(DecodeError::FormatVersion { found: version, known: FORMAT_VERSION });
        }
        if kind != KIND_CHANGES {
            return Err(DecodeError::FrameKind { found: kind });
        }
        let first_lsn = u64::from_le_bytes(field(header, FIRST_LSN));
        let last_lsn = u64::from_le_bytes(field(header, LAST_LSN));
        if first_lsn == 0 || last_lsn < first_lsn {
            return Err(DecodeError::LsnRange { first: first_lsn, last: last_lsn });
        }
        let shard = u16::from_le_bytes(field(header, SHARD));
        Ok((Frame { shard, first_lsn, last_lsn, payload }, length))
    }

    /// The changes with their log positions, in order. Ends after the first error.
    pub fn records(&self) -> Records<'a> {
        Records { left: self.payload, next_lsn: self.first_lsn, last_lsn: self.last_lsn, ended: false }
    }
}

/// Iterates over the changes of a [`Frame`]. Without an error there were exactly as many as the frame's range of
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
    fn next_record(&mut self) -> Result<(u64, Change<'a>), DecodeError> {
        let lsn = self.next_lsn;
        let disagree = DecodeError::RecordCount { last: self.last_lsn, at: lsn, left: self.left.len() };
        let (change, length) = record::decode(self.left).map_err(|error| match error {
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
        Ok((lsn, change))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(u64, Change<'a>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let record = self.next_record();
        self.ended |= record.is_err();
        Some(record)
    }
}

/// Writes one frame at the end of a buffer. Dropped without [`FrameWriter::finish`], it leaves the buffer as it was.
#[derive(Debug)]
pub struct FrameWriter<'b> {
    out: &'b mut Vec<u8>,
    /// Where in `out` the frame begins.
    start: usize,
    shard: u16,
    first_lsn: u64,
    /// Changes so far.
    count: u64,
    finished: bool,
}

/// The change would make the frame longer than [`FRAME_BYTES_MAX`]. Finish the frame and begin another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the frame is full: it would pass {FRAME_BYTES_MAX} bytes")]
pub struct FrameFull;

impl<'b> FrameWriter<'b> {
    /// Begins a frame of `shard` whose first change has the position `first_lsn`.
    ///
    /// # Panics
    /// When `first_lsn` is 0: positions begin at 1.
    pub fn begin(out: &'b mut Vec<u8>, shard: u16, first_lsn: u64) -> FrameWriter<'b> {
        assert!(first_lsn > 0, "log positions begin at 1");
        let start = out.len();
        out.resize(start + HEADER_BYTES, 0);
        FrameWriter { out, start, shard, first_lsn, count: 0, finished: false }
    }

    /// Adds the next change.
    pub fn push(&mut self, change: &Change<'_>) -> Result<(), FrameFull> {
        let before = self.out.len();
        record::encode(change, self.out);
        if self.out.len() - self.start > FRAME_BYTES_MAX {
            self.out.truncate(before);
            return Err(FrameFull);
        }
        self.count += 1;
        Ok(())
    }

    /// Bytes of the frame so far, header included: what to look at to close a frame of a convenient size.
    pub fn bytes(&self) -> usize {
        self.out.len() - self.start
    }

    /// Completes the frame and returns the position of its last change. A frame without a change is not written: `None`.
    pub fn finish(mut self) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        self.finished = true;
        let last_lsn = self.first_lsn + (self.count - 1);
        let (header, payload) = self.out[self.start..].split_at_mut(HEADER_BYTES);
        let length = (HEADER_BYTES + payload.len()) as u32;
        header[LENGTH..][..4].copy_from_slice(&length.to_le_bytes());
        header[KIND] = KIND_CHANGES;
        header[VERSION] = FORMAT_VERSION;
        header[SHARD..][..2].copy_from_slice(&self.shard.to_le_bytes());
        header[FIRST_LSN..][..8].copy_from_slice(&self.first_lsn.to_le_bytes());
        header[LAST_LSN..][..8].copy_from_slice(&last_lsn.to_le_bytes());
        let sum = checksum(header, payload);
        header[CHECKSUM..][..4].copy_from_slice(&sum.to_le_bytes());
        Some(last_lsn)
    }
}

impl Drop for FrameWriter<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.out.truncate(self.start);
        }
    }
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..CHECKSUM]), payload)
}

fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    header[at..][..N].try_into().expect("N bytes were taken")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{change, OwnedChange};
    use kora_engine::change::{ChangeValue, DeleteReason};
    use proptest::prelude::*;

    fn frame(shard: u16, first_lsn: u64, changes: &[Change<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = FrameWriter::begin(&mut out, shard, first_lsn);
        for change in changes {
            writer.push(change).unwrap();
        }
        writer.finish();
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
        let sum = checksum(&bytes[..HEADER_BYTES], &bytes[HEADER_BYTES..]);
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
        let changes = [Change::Append { db: 0, key: b"k", tail: &[0; 31] }];
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
    fn a_writer_that_is_not_finished_or_empty_leaves_nothing() {
        let mut out = b"before".to_vec();
        FrameWriter::begin(&mut out, 0, 1).push(&Change::FlushDb { db: 0 }).unwrap();
        assert_eq!(out, b"before");
        assert_eq!(FrameWriter::begin(&mut out, 0, 1).finish(), None);
        assert_eq!(out, b"before");
    }

    #[test]
    fn positions_reach_the_last_one() {
        let bytes = frame(u16::MAX, u64::MAX, &[Change::FlushDb { db: 3 }]);
        let (frame, _) = Frame::decode(&bytes).unwrap();
        assert_eq!(frame.records().collect::<Vec<_>>(), [Ok((u64::MAX, Change::FlushDb { db: 3 }))]);
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
            prop_assert_eq!((frame.shard, frame.first_lsn), (shard, first_lsn));
            prop_assert_eq!(frame.last_lsn, first_lsn + changes.len() as u64 - 1);
            prop_assert_eq!(length, bytes.len() - 9);
            let read: Vec<(u64, Change<'_>)> = frame.records().map(Result::unwrap).collect();
            let expected: Vec<(u64, Change<'_>)> = (first_lsn..).zip(borrowed).collect();
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
            bytes[KIND] = KIND_CHANGES;
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

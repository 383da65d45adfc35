//! Arbitrary bytes as the segments of a log.
//!
//! An input is cut in two where its first two bytes say, and read as segments 1 and 2 of a directory: as it is, and once more with everything made right that only says which bytes
//! these are (magic, version, numbers and checksum of the first block; of each frame along the lengths that they claim the segment and the checksum), so that what lies
//! behind is reached too.
//!
//! Checked: nothing panics, positions come in order and each once, what is restored ends where the end says, from any position on the same is read as from the
//! first, and records can be applied to a shard or are refused.

use kora_engine::shard::{EngineConfig, Shard, ShardId};
use kora_persist::block::BLOCK_BYTES;
use kora_persist::frame::HEADER_BYTES;
use kora_persist::log::segment::SegmentHeader;
use kora_persist::log::{End, Files, LogError, Replay};
use kora_persist::record::Entry;
use std::io;

#[derive(Clone)]
struct Segments([Vec<u8>; 2]);

impl Files for Segments {
    fn list(&self) -> io::Result<Vec<(u64, u64)>> {
        Ok((1..).zip(&self.0).map(|(segment, bytes)| (segment, bytes.len() as u64)).collect())
    }

    fn read_at(&mut self, segment: u64, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0[segment as usize - 1].get(offset as usize..).unwrap_or_default();
        let len = bytes.len().min(into.len());
        into[..len].copy_from_slice(&bytes[..len]);
        Ok(len)
    }
}

/// Runs one input. Panics when a promise is broken.
pub fn run(input: &[u8]) {
    let [low, high, rest @ ..] = input else { return };
    let cut = usize::from(u16::from_le_bytes([*low, *high])) * 64 % (rest.len() + 1);
    let segments = Segments([rest[..cut].to_vec(), rest[cut..].to_vec()]);
    let mut repaired = segments.clone();
    for (segment, bytes) in (1..).zip(&mut repaired.0) {
        repair(segment, bytes);
    }
    for segments in [segments, repaired] {
        let (found, end) = replayed(&segments, 1);
        let Some(end) = end else { continue };
        // Frames of a transaction that is not whole count from its first position on, so only what follows is compared.
        let from = found.get(found.len() / 2).map_or(1, |(lsn, _)| *lsn);
        let (later, again) = replayed(&segments, from);
        if let (Some(again), 0) = (again, end.dropped) {
            assert_eq!(again.last_lsn, end.last_lsn.max(from - 1));
            assert!(later.len() <= found.len());
        }
    }
}

/// What is restored from a position on, and how the log ends unless it is damaged.
fn replayed(segments: &Segments, from: u64) -> (Vec<(u64, usize)>, Option<End>) {
    let Ok(mut replay) = Replay::open(segments.clone(), None, from) else { return (Vec::new(), None) };
    let mut shard = Shard::new(ShardId { index: 0, count: 1 }, EngineConfig::default(), 1);
    let mut found: Vec<(u64, usize)> = Vec::new();
    let end = loop {
        match replay.next_batch() {
            Ok(None) => break Some(replay.end().clone()),
            Err(LogError::Damage { .. }) => break None,
            Err(error) => panic!("{error}"),
            Ok(Some(batch)) => {
                let (first, count) = (batch.first_lsn, batch.count);
                assert!(first >= found.last().map_or(from, |(last, _)| last + 1), "positions come in order");
                assert_eq!(batch.entries().count() as u64, count);
                for (lsn, entry) in batch.entries() {
                    found.push((lsn, batch.records.len()));
                    if let Entry::Change(change) = entry {
                        let _ = shard.keys.replay(&change, 0);
                    }
                }
            }
        }
    };
    if let Some(end) = &end {
        assert!(found.last().is_none_or(|(last, _)| *last <= end.last_lsn));
    }
    (found, end)
}

/// Makes right what says that this is the segment of this number.
fn repair(segment: u64, bytes: &mut [u8]) {
    let Some((first, frames)) = bytes.split_first_chunk_mut::<BLOCK_BYTES>() else { return };
    let number = |at: usize| u16::from_le_bytes([first[at], first[at + 1]]);
    let header = SegmentHeader {
        run: u32::from(first[12] % 4),
        directory: 1,
        segment,
        run_first_lsn: u64::from(number(32)).max(1),
        first_lsn: u64::from(number(40)).max(1),
        shard: number(48),
        shards: number(50),
    };
    *first = header.encode();
    let mut at = 0;
    while let Some(frame) = frames.get_mut(at..).filter(|frame| frame.len() > HEADER_BYTES) {
        let length = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
        if length <= HEADER_BYTES || length > frame.len() {
            at = (at + 1).next_multiple_of(BLOCK_BYTES);
            continue;
        }
        let frame = &mut frame[..length];
        frame[28..32].copy_from_slice(&(segment as u32).to_le_bytes());
        let sum = crc32c::crc32c_append(crc32c::crc32c(&frame[..24]), &frame[28..]);
        frame[24..28].copy_from_slice(&sum.to_le_bytes());
        at += length.next_multiple_of(8);
    }
}

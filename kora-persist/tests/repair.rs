//! Whatever is damaged in the log of two shards: after a repair a server starts with all that comes before the damage, and can go on from there.

use fastrand::Rng;
use kora_engine::change::{Change, ChangeValue};
use kora_persist::block::BLOCK_BYTES;
use kora_persist::frame::{self, FrameHead};
use kora_persist::log::segment::SegmentHeader;
use kora_persist::log::{segment_name, Folder, Replay};
use kora_persist::record;
use kora_persist::tools::{check, repair};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

const ID: u64 = 0x0123_4567_89ab_cdef;
/// Positions of the log that [`Data::with_log`] makes.
const LAST: u64 = 60;

/// A data directory that goes with the test.
struct Data(PathBuf);

impl Drop for Data {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a record at this position says.
fn encoded(lsn: u64) -> Vec<u8> {
    let (key, value) = (format!("key:{}", lsn % 7), ChangeValue::Int(lsn as i64));
    let mut out = Vec::new();
    record::encode(&Change::Set { db: 0, key: key.as_bytes(), value, expire_at: None }, &mut out);
    out
}

/// Appends a chunk that holds one frame.
fn chunk(file: &mut Vec<u8>, shard: u16, segment: u64, positions: std::ops::Range<u64>, durable: u64) {
    let payload: Vec<u8> = positions.clone().flat_map(encoded).collect();
    let (first_lsn, last_lsn) = (positions.start, positions.end - 1);
    let head = FrameHead { shard, first_lsn, last_lsn, segment: segment as u32, durable, tag: None };
    frame::encode(&head, &payload, file);
    file.resize(file.len().next_multiple_of(BLOCK_BYTES), 0);
}

fn header(run: u32, run_first_lsn: u64, segment: u64, shard: u16) -> SegmentHeader {
    SegmentHeader { run, directory: ID, segment, run_first_lsn, first_lsn: run_first_lsn, shard, shards: 2 }
}

impl Data {
    fn new() -> Data {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kora-tools-{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("log")).unwrap();
        fs::create_dir(path.join("snapshots")).unwrap();
        fs::write(path.join("kora.id"), format!("{ID:016x}\n")).unwrap();
        Data(path)
    }

    /// Two segments, frames of three positions in turn, each of which calls all before it durable. Frame `n` is in block `1 + n / 2` of segment `1 + n % 2`.
    fn with_log() -> Data {
        let data = Data::new();
        for (segment, shard) in [(1, 0), (2, 1)] {
            let mut file = header(1, 1, segment, shard).encode().to_vec();
            for first in (1 + u64::from(shard) * 3..LAST).step_by(6) {
                chunk(&mut file, shard, segment, first..first + 3, first - 1);
            }
            file.resize(file.len() + 3 * BLOCK_BYTES, 0);
            fs::write(data.segment(segment), file).unwrap();
        }
        data
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.0.join("log").join(segment_name(number))
    }

    fn edit(&self, segment: u64, f: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.segment(segment)).unwrap();
        f(&mut bytes);
        fs::write(self.segment(segment), bytes).unwrap();
    }

    /// The records that a start applies, which are those that were written; the last position.
    fn replay(&self) -> u64 {
        let mut replay = Replay::open(Folder::new(self.0.join("log")), Some(ID), 1).unwrap();
        let mut next = 1;
        while let Some(batch) = replay.next_batch().unwrap() {
            assert_eq!(batch.first_lsn, next);
            next += batch.count;
            let written: Vec<u8> = (batch.first_lsn..next).flat_map(encoded).collect();
            assert_eq!(batch.records, written);
        }
        assert_eq!(replay.end().last_lsn, next - 1);
        next - 1
    }
}

#[test]
fn whatever_is_damaged_a_repair_leaves_what_comes_before_it() {
    let mut random = Rng::with_seed(3);
    let mut damaged = 0;
    for round in 0..300 {
        let data = Data::with_log();
        let mut is_short = false;
        for _ in 0..random.usize(1..4) {
            data.edit(random.u64(1..3), |bytes| {
                let blocks = bytes.len() / BLOCK_BYTES;
                match random.u8(0..4) {
                    _ if blocks == 0 => {}
                    0 => bytes[random.usize(0..blocks * BLOCK_BYTES)] ^= 1 << random.u8(0..8),
                    // Where frames are.
                    1 => {
                        let block = random.usize(0..blocks) * BLOCK_BYTES;
                        bytes[block + random.usize(0..90)] ^= 1 << random.u8(0..8);
                    }
                    2 => bytes[random.usize(0..blocks * 8) * 512..][..512].fill(0),
                    _ => {
                        bytes.truncate(random.usize(0..bytes.len()));
                        is_short = true;
                    }
                }
            });
        }
        // A version of the format that is not known may be a newer one, which is left alone.
        let Ok(found) = check(&data.0) else { continue };
        let (sound, records) = (found.is_sound(), found.records);
        let done = repair(&data.0, "backup").unwrap();
        let last = data.replay();
        assert_eq!((done.after.log.last_lsn, done.after.is_sound()), (last, true), "round {round}");
        assert!(check(&data.0).unwrap().is_sound());
        assert_eq!(last, records, "what could be restored before is still there");
        assert_eq!(sound, done.backup.is_none());
        if sound {
            // The last writes can be damaged without anybody knowing that they were there; cut both files short, and nobody knows of more.
            assert!(last >= LAST - 9 || is_short, "round {round}: {last}");
        } else {
            assert!(done.records <= LAST - last, "{done}");
            damaged += 1;
        }
        // The next run goes on from there.
        let (run, segment) = (done.after.log.run + 1, 9);
        let mut file = header(run, last + 1, segment, 1).encode().to_vec();
        chunk(&mut file, 1, segment, last + 1..last + 5, last);
        fs::write(data.segment(segment), file).unwrap();
        assert_eq!(data.replay(), last + 4, "round {round}");
    }
    assert!(damaged > 50, "{damaged}");
}

#[test]
fn a_first_block_that_cannot_be_read_is_damage() {
    let data = Data::new();
    let mut file = header(1, 1, 1, 0).encode().to_vec();
    for first in 1..20 {
        chunk(&mut file, 0, 1, first..first + 1, first - 1);
    }
    for at in [0, 9, 20, BLOCK_BYTES] {
        let mut bad = file.clone();
        match bad.get_mut(at) {
            // As a whole: as if it had never been written.
            _ if at == BLOCK_BYTES => bad[..at].fill(0),
            byte => *byte.unwrap() ^= 1,
        }
        fs::write(data.segment(1), bad).unwrap();
        let found = check(&data.0).unwrap();
        assert!(!found.is_sound(), "{found}");
        let done = repair(&data.0, &format!("backup-{at}")).unwrap();
        assert!(done.after.is_sound() && !data.segment(1).exists());
    }
}

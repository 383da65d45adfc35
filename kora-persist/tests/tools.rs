//! Data directories that are sound, torn and damaged, as `inspect`, `check` and `repair` see them.

use kora_engine::change::Change;
use kora_persist::log::{segment_name, Folder, LogWriter, Op, Order, Replay, Segment, WalSync, WriterConfig};
use kora_persist::snapshot::{self, Identity, Manifest, SnapshotWriter};
use kora_persist::tools::{check, inspect, repair, Report, ToolError};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

const DIRECTORY: u64 = 0xd1;
const SEGMENT_BYTES: u64 = 64 << 10;

/// A data directory that is removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kora-tools-{}-{number}", std::process::id()));
        for folder in ["log", "snapshots"] {
            fs::create_dir_all(path.join(folder)).unwrap();
        }
        fs::write(path.join("kora.id"), format!("{DIRECTORY:016x}\n")).unwrap();
        Dir(path)
    }

    fn segment(&self, id: u64) -> PathBuf {
        self.0.join("log").join(segment_name(id))
    }

    /// Two executors change so many keys in turn, each change durable before the next.
    fn log(&self, run: u32, first: u64, first_segment: u64, changes: u64) {
        let order = Arc::new(Order::new(2, first));
        let writer = |shard| {
            let config = WriterConfig {
                shard,
                shards: 2,
                run,
                run_first_lsn: first,
                directory: DIRECTORY,
                sync: WalSync::EveryWrite,
                segment_bytes: SEGMENT_BYTES,
            };
            LogWriter::new(config, order.clone())
        };
        let mut writers = [writer(0), writer(1)];
        let mut next = first_segment;
        for number in 0..changes {
            let writer = &mut writers[number as usize % 2];
            let key = format!("key {number}");
            writer.push(&Change::Append { db: 0, key: key.as_bytes(), tail: &[b'x'; 3000] });
            writer.seal();
            loop {
                if let Some(bytes) = writer.wants_segment() {
                    let file = fs::File::create(self.segment(next)).unwrap();
                    file.set_len(bytes).unwrap();
                    writer.give_segment(Segment { id: next, bytes });
                    next += 1;
                }
                let Some(Op::Write { token, segment, offset, buf, .. }) = writer.poll(0) else { break };
                let file = OpenOptions::new().write(true).open(self.segment(segment)).unwrap();
                file.write_all_at(buf, offset).unwrap();
                let len = buf.len();
                assert!(!writer.completed(token, Ok(len)));
            }
        }
        assert_eq!(order.durable(), first + changes - 1);
    }

    /// A snapshot of no keys.
    fn snapshot(&self, cut: u64, run: u32) -> PathBuf {
        let path = self.0.join("snapshots").join(snapshot::folder_name(cut));
        fs::create_dir(&path).unwrap();
        let mut writer = SnapshotWriter::new(&Identity { directory: DIRECTORY, cut, shard: 0, shards: 1 });
        writer.finish();
        let (mut file, mut files) = (Vec::new(), Vec::new());
        while let Some(op) = writer.poll() {
            match op {
                snapshot::Op::Write { buffer, .. } => {
                    file.extend_from_slice(buffer.as_slice());
                    writer.written(buffer);
                }
                snapshot::Op::Sync(summary) => {
                    files.push(summary);
                    break;
                }
            }
        }
        fs::write(path.join(snapshot::file_name(0)), file).unwrap();
        let manifest =
            Manifest { directory: DIRECTORY, cut, run, time: 0, databases: 16, files, functions: Vec::new() };
        fs::write(path.join(snapshot::MANIFEST_NAME), manifest.encode()).unwrap();
        path
    }

    /// The positions that a recovery restores.
    fn restored(&self, from: u64, run: u32) -> Vec<u64> {
        let replay = Replay::open(Folder::new(self.0.join("log")), Some(DIRECTORY), from).unwrap();
        let mut replay = replay.after_snapshot_of(run);
        let mut found = Vec::new();
        while let Some(batch) = replay.next_batch().unwrap() {
            found.extend(batch.entries().map(|(lsn, _)| lsn));
        }
        found
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

/// Where in a segment a position lies that is alone in its write.
fn place_of(dir: &Dir, report: &Report, lsn: u64) -> (PathBuf, u64) {
    for facts in &report.log.segments {
        let mut files = Folder::new(dir.0.join("log"));
        let mut reader = kora_persist::log::reader::SegmentReader::new(&facts.header, facts.bytes);
        while let Some((offset, head, _)) = reader.next_frame(&mut files).unwrap() {
            if head.first_lsn == lsn {
                return (dir.segment(facts.header.segment), offset);
            }
        }
    }
    panic!("position {lsn} is nowhere");
}

#[test]
fn a_sound_directory_is_told_and_left_alone() {
    let dir = Dir::new();
    dir.log(1, 1, 1, 50);
    dir.snapshot(20, 1);
    let report = check(&dir.0).unwrap();
    assert!(report.is_sound());
    assert_eq!((report.records, report.log.last_lsn, report.snapshots.len()), (30, 50, 1));
    let text = report.to_string();
    for line in [
        "data directory 00000000000000d1",
        "snapshots: 1\n  0000000000000014  up to position 20, 0 keys in 1 files, ",
        "  0000000000000001.klog  run 1, shard 0 of 2, positions 1 to ",
        "begins with the snapshot of position 20",
        "applies 30 records of the log, up to position 50",
    ] {
        assert!(text.contains(line), "{line:?} is missing in\n{text}");
    }
    let repaired = repair(&dir.0, "backup").unwrap();
    assert!(repaired.backup.is_none() && !dir.0.join("backup").exists());
    assert!(repaired.to_string().contains("nothing was changed"));
}

#[test]
fn a_damaged_log_is_cut_off_before_the_damage_and_what_goes_is_kept() {
    let dir = Dir::new();
    dir.log(1, 1, 1, 100);
    let (path, offset) = place_of(&dir, &inspect(&dir.0).unwrap(), 31);
    flip(&path, offset + 1000);
    let report = inspect(&dir.0).unwrap();
    assert!(!report.is_sound());
    assert_eq!(report.records, 30);
    let text = report.to_string();
    let place = format!("is refused: {}, offset {offset}: frame checksum is ", path.display());
    assert!(text.contains(&place), "{place:?} is missing in\n{text}");

    let before: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(dir.0.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    let repaired = repair(&dir.0, "backup-1").unwrap();
    assert!(repaired.after.is_sound() && repaired.after.log.torn.is_none());
    assert_eq!((repaired.after.log.last_lsn, repaired.records), (30, 69));
    assert!(repaired.to_string().contains("the log ends at position 30 now; 69 records behind it"));
    assert_eq!(dir.restored(1, 0), (1..=30).collect::<Vec<_>>());
    assert!(!repaired.moved.is_empty() && !repaired.cut_off.is_empty());
    // With what was kept everything can be put back as it was.
    for kept in repaired.moved.iter().chain(&repaired.cut_off) {
        fs::copy(kept, dir.0.join("log").join(kept.file_name().unwrap())).unwrap();
    }
    for (path, bytes) in before {
        assert!(fs::read(&path).unwrap() == bytes, "{}", path.display());
    }
    repair(&dir.0, "backup-2").unwrap();

    // A server goes on from there, and what it writes is not taken for what was cut off.
    dir.log(2, 31, 50, 20);
    assert_eq!(dir.restored(1, 0), (1..=50).collect::<Vec<_>>());
    assert!(check(&dir.0).unwrap().is_sound());
}

#[test]
fn a_snapshot_that_cannot_be_used_is_put_aside_with_the_log_behind_it() {
    let dir = Dir::new();
    dir.log(1, 1, 1, 100);
    let newest = dir.snapshot(60, 1);
    dir.snapshot(10, 1);
    // The log between them is gone.
    let report = inspect(&dir.0).unwrap();
    assert!(report.is_sound());
    let mut gone = 0;
    for facts in &report.log.segments {
        if facts.last_lsn <= 60 {
            fs::remove_file(dir.segment(facts.header.segment)).unwrap();
            gone += 1;
        }
    }
    assert!(gone > 0 && inspect(&dir.0).unwrap().is_sound());
    flip(&newest.join(snapshot::file_name(0)), 20);
    // Only who reads all of it sees that.
    assert!(inspect(&dir.0).unwrap().is_sound());
    let report = check(&dir.0).unwrap();
    assert_eq!(report.base().unwrap().cut, 10);
    let text = report.to_string();
    assert!(text.contains("000000000000003c  cannot be used: ") && text.contains("is refused: "), "{text}");

    let repaired = repair(&dir.0, "backup").unwrap();
    assert!(repaired.after.is_sound() && !newest.exists());
    assert_eq!((repaired.snapshots.len(), repaired.after.log.last_lsn), (1, 10));
    assert_eq!(dir.restored(11, 1), Vec::<u64>::new());
}

#[test]
fn a_log_that_ends_before_a_snapshot_that_cannot_be_used_is_damaged() {
    let dir = Dir::new();
    dir.log(1, 1, 1, 10);
    let newest = dir.snapshot(60, 1);
    fs::write(newest.join(snapshot::MANIFEST_NAME), b"KORAMANI").unwrap();
    let report = inspect(&dir.0).unwrap();
    assert!(report.damage.is_some(), "{report}");
    let repaired = repair(&dir.0, "backup").unwrap();
    assert!(repaired.after.is_sound());
    assert_eq!(dir.restored(1, 0), (1..=10).collect::<Vec<_>>());
}

#[test]
fn what_a_crash_has_torn_is_no_damage() {
    let dir = Dir::new();
    dir.log(1, 1, 1, 21);
    let report = inspect(&dir.0).unwrap();
    let (path, offset) = place_of(&dir, &report, 21);
    flip(&path, offset + 2000);
    let report = check(&dir.0).unwrap();
    assert!(report.is_sound());
    assert_eq!(report.log.last_lsn, 20);
}

#[test]
fn other_directories_are_refused() {
    let dir = Dir::new();
    fs::remove_file(dir.0.join("kora.id")).unwrap();
    assert!(matches!(inspect(&dir.0), Err(ToolError::NoDirectory(_))));
    fs::write(dir.0.join("kora.id"), "00000000000000d2\n").unwrap();
    dir.log(1, 1, 1, 3);
    assert!(matches!(inspect(&dir.0), Err(ToolError::Log(_))));
}

//! Files that are not as they were written: a torn end is cut off and said, damage before it is not passed over.

use crate::disk::Disk;
use crate::harness::{Server, Subject};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const BLOCK: usize = 4096;

/// A directory with one segment that holds `count` keys, each written and acknowledged for itself; `every_write`, so that each begins a block of its own.
fn written(count: usize) -> Disk {
    let disk = Disk::new();
    let server = disk.start(1, "every_write");
    let mut client = server.client();
    for number in 0..count {
        assert_eq!(client.command(&format!("SET key:{number} value:{number}")).text(), "OK");
    }
    server.kill();
    disk
}

/// The segment that holds data, and the blocks of it that do.
fn used(disk: &Disk) -> (PathBuf, Vec<usize>) {
    let used = |path: &Path| -> Vec<usize> {
        let bytes = fs::read(path).expect("a segment is read");
        let blocks = bytes.chunks(BLOCK).enumerate();
        blocks.filter(|(_, block)| block.iter().any(|byte| *byte != 0)).map(|(at, _)| at).collect()
    };
    let segments = disk.segments().into_iter().map(|path| (used(&path), path));
    let (blocks, path) = segments.max_by_key(|(blocks, _)| blocks.len()).expect("a segment");
    (path, blocks)
}

fn overwrite(path: &Path, at: usize, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).expect("a segment is opened");
    file.write_all_at(bytes, at as u64).expect("a segment is overwritten");
}

fn present(server: &Server, count: usize) -> Vec<bool> {
    let mut client = server.client();
    (0..count).map(|number| client.command(&format!("EXISTS key:{number}")).int() == 1).collect()
}

/// Starts on a directory whose last of `count` writes is torn: the others are there, and if it can be seen what was done it is said.
#[track_caller]
fn starts_without_the_last(disk: &Disk, count: usize, is_said: bool) {
    let server = disk.start(2, "every_write");
    let found = present(&server, count);
    assert_eq!(found.iter().filter(|there| !**there).count(), 1, "{found:?}");
    assert!(!found[count - 1], "the last one is torn: {found:?}");
    let output = server.output().to_lowercase();
    assert!(!is_said || output.contains("torn"), "it says so: {output}");
    // It goes on from there, and the same is not said again.
    assert_eq!(server.client().command("SET after 1").text(), "OK");
    server.kill();
    let server = disk.start(1, "every_write");
    assert_eq!(server.client().command("DBSIZE").int(), count as i64);
    assert!(!server.output().to_lowercase().contains("torn"), "{}", server.output());
}

#[test]
fn an_end_of_garbage_is_cut_off() {
    if Subject::current() != Subject::Kora {
        return;
    }
    let disk = written(40);
    let (segment, blocks) = used(&disk);
    let last = blocks[blocks.len() - 1] * BLOCK;
    let garbage: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(BLOCK).collect();
    overwrite(&segment, last, &garbage);
    // In a recycled segment there would be such bytes without a crash.
    starts_without_the_last(&disk, 40, false);
}

#[test]
fn an_end_of_which_a_part_was_written_is_cut_off_and_said() {
    if Subject::current() != Subject::Kora {
        return;
    }
    let disk = written(40);
    let (segment, blocks) = used(&disk);
    let last = blocks[blocks.len() - 1] * BLOCK;
    let block = &fs::read(&segment).expect("a segment is read")[last..last + BLOCK];
    let end = block.iter().rposition(|byte| *byte != 0).expect("it is used");
    overwrite(&segment, last + end - 4, &[0x55; 64]);
    starts_without_the_last(&disk, 40, true);
}

#[test]
fn a_file_that_is_shorter_is_cut_off_and_said() {
    if Subject::current() != Subject::Kora {
        return;
    }
    let disk = written(40);
    let (segment, blocks) = used(&disk);
    let last = blocks[blocks.len() - 1] * BLOCK;
    let file = OpenOptions::new().write(true).open(&segment).expect("a segment is opened");
    file.set_len(last as u64 + 50).expect("a segment is truncated");
    starts_without_the_last(&disk, 40, true);
}

/// Nothing was lost when nothing after it was written: an end without a tear is silent.
#[test]
fn a_clean_end_is_not_called_torn() {
    if Subject::current() != Subject::Kora {
        return;
    }
    let disk = written(40);
    let server = disk.start(1, "every_write");
    assert!(present(&server, 40).iter().all(|there| *there));
    assert!(!server.output().to_lowercase().contains("torn"), "{}", server.output());
}

#[test]
fn damage_in_the_middle_is_refused_with_its_place_and_the_remedy() {
    if Subject::current() != Subject::Kora {
        return;
    }
    for damage in [&[0x55; 16][..], &[0; BLOCK], &[0xff; 3 * BLOCK]] {
        let disk = written(60);
        let (segment, blocks) = used(&disk);
        let middle = blocks[blocks.len() / 2] * BLOCK;
        overwrite(&segment, middle + if damage.len() < BLOCK { 40 } else { 0 }, damage);
        let before = fs::read(&segment).expect("a segment is read");
        let said = disk.refusal();
        let name = segment.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(said.contains(&name), "it names {name}: {said}");
        assert!(said.contains(&format!("offset {middle}:")), "it names the byte, {middle}: {said}");
        assert!(said.contains("kora repair"), "it names the remedy: {said}");
        // Nothing was changed: who refuses repairs nothing.
        assert_eq!(fs::read(&segment).expect("a segment is read"), before);
        let again = disk.refusal();
        assert!(again.contains("kora repair"), "{again}");
    }
}

#[test]
fn a_segment_that_is_missing_is_refused() {
    if Subject::current() != Subject::Kora {
        return;
    }
    let disk = written(30);
    let (first, _) = used(&disk);
    // Another run, so that there are later segments.
    let server = disk.start(1, "every_write");
    for number in 30..60 {
        assert_eq!(server.client().command(&format!("SET key:{number} v")).text(), "OK");
    }
    server.kill();
    fs::remove_file(&first).expect("a segment is removed");
    let said = disk.refusal();
    assert!(said.contains("kora repair"), "it names the remedy: {said}");
}

#[test]
fn a_log_of_another_directory_is_refused() {
    if Subject::current() != Subject::Kora {
        return;
    }
    let (disk, other) = (written(10), written(10));
    let (segment, _) = used(&disk);
    let (foreign, _) = used(&other);
    fs::copy(&foreign, &segment).expect("a segment is copied");
    let said = disk.refusal();
    let name = segment.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(said.contains(&name), "it names {name}: {said}");
}

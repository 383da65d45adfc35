//! The fuzz targets without a fuzzer: their corpora, and some thousand mutations of them that are the same in every run.

#[path = "../../fuzz/src/log.rs"]
mod log;
#[path = "../../fuzz/src/rdb.rs"]
mod rdb;
#[path = "../../fuzz/src/snapshot.rs"]
mod snapshot;

use fastrand::Rng;
use std::fs;
use std::panic::{catch_unwind, resume_unwind};

const FILE: &[u8] = include_bytes!("../../fuzz/corpus/snapshot/file-v1");
const MANIFEST: &[u8] = include_bytes!("../../fuzz/corpus/snapshot/manifest-v1");

/// The file of a snapshot without the zeros at its end, which mutations would hit most of the time.
fn file() -> &'static [u8] {
    let end = FILE.iter().rposition(|&byte| byte != 0).expect("it is not all zeros");
    &FILE[..=end]
}

/// Files with every type and encoding, small enough that mutations meet all of it.
const RDB_FILES: [&[u8]; 3] = [
    include_bytes!("../../fuzz/corpus/rdb/version-9"),
    include_bytes!("../../fuzz/corpus/rdb/version-12"),
    include_bytes!("../../fuzz/corpus/rdb/version-12-unpacked"),
];

/// Some changes of bytes.
fn mutate(input: &mut Vec<u8>, random: &mut Rng) {
    for _ in 0..random.usize(1..5) {
        let at = random.usize(0..input.len());
        match random.u8(0..6) {
            0 => input[at] ^= 1 << random.u8(0..8),
            1 => input[at] = [0, 1, 0x7f, 0x80, 0xff][random.usize(0..5)],
            2 => input.truncate(at.max(1)),
            3 => input.insert(at, random.u8(..)),
            4 => drop(input.remove(at)),
            _ => input[at] = random.u8(..),
        }
        if input.is_empty() {
            input.push(0);
        }
    }
}

/// Runs a target, and says which input it was that it did not survive.
fn survive(round: usize, input: &[u8], target: fn(&[u8])) {
    if let Err(panic) = catch_unwind(|| target(input)) {
        eprintln!("the input of round {round} is b\"{}\"", input.escape_ascii());
        resume_unwind(panic);
    }
}

/// Two segments of a log without the zeros at the ends of their blocks, which mutations would hit most of the time: where something stands.
const LOG: &[u8] = include_bytes!("../../fuzz/corpus/log/two-segments-v1");

#[test]
fn mutations_of_logs_are_read_or_refused() {
    let mut random = Rng::with_seed(7);
    log::run(LOG);
    let places: Vec<usize> = (0..LOG.len())
        .filter(|&at| LOG[at.saturating_sub(8)..(at + 8).min(LOG.len())] != [0; 16][..])
        .collect();
    for round in 0..10_000 {
        let mut input = LOG.to_vec();
        for _ in 0..random.usize(1..6) {
            let at = places[random.usize(0..places.len())].min(input.len() - 1);
            match random.u8(0..5) {
                0 => input[at] ^= 1 << random.u8(0..8),
                1 => input[at] = [0, 1, 0x7f, 0x80, 0xff][random.usize(0..5)],
                2 if random.u8(0..10) == 0 => input.truncate(at.max(1)),
                3 => {
                    // A part of it somewhere else.
                    let (from, len) =
                        (places[random.usize(0..places.len())].min(input.len() - 1), random.usize(1..80));
                    let part = input[from..(from + len).min(input.len())].to_vec();
                    let end = (at + part.len()).min(input.len());
                    input[at..end].copy_from_slice(&part[..end - at]);
                }
                _ => input[at] = random.u8(..),
            }
        }
        survive(round, &input, log::run);
    }
}

#[test]
fn mutations_of_rdb_files_are_read_or_refused() {
    let mut random = Rng::with_seed(6);
    for file in RDB_FILES {
        rdb::run_file(file);
    }
    for round in 0..20_000 {
        let mut input = RDB_FILES[round % RDB_FILES.len()].to_vec();
        mutate(&mut input, &mut random);
        survive(round, &input, rdb::run_file);
    }
}

#[test]
fn mutations_of_payloads_are_restored_or_refused() {
    let mut random = Rng::with_seed(7);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/restore");
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("it is there").map(|file| file.expect("a file").path()).collect();
    files.sort_unstable();
    let payloads: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("a file")).collect();
    assert!(payloads.len() > 20);
    for round in 0..50_000 {
        let mut input = payloads[round % payloads.len()].clone();
        if round >= payloads.len() {
            mutate(&mut input, &mut random);
        }
        survive(round, &input, rdb::run_payload);
    }
}

#[test]
fn mutations_of_snapshots_are_read_or_refused() {
    let mut random = Rng::with_seed(5);
    for round in 0..20_000 {
        let whole = if round % 4 == 0 { MANIFEST } else { file() };
        let mut input = whole.to_vec();
        mutate(&mut input, &mut random);
        survive(round, &input, snapshot::run);
    }
}

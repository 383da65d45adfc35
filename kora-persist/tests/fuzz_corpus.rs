//! The fuzz target without a fuzzer: its corpus, and some thousand mutations of it that are the same in every run.

#[path = "../../fuzz/src/snapshot.rs"]
mod snapshot;

use fastrand::Rng;
use std::panic::{catch_unwind, resume_unwind};

const FILE: &[u8] = include_bytes!("../../fuzz/corpus/snapshot/file-v1");
const MANIFEST: &[u8] = include_bytes!("../../fuzz/corpus/snapshot/manifest-v1");

/// The file of a snapshot without the zeros at its end, which mutations would hit most of the time.
fn file() -> &'static [u8] {
    let end = FILE.iter().rposition(|&byte| byte != 0).expect("it is not all zeros");
    &FILE[..=end]
}

#[test]
fn mutations_of_snapshots_are_read_or_refused() {
    let mut random = Rng::with_seed(5);
    for round in 0..20_000 {
        let whole = if round % 4 == 0 { MANIFEST } else { file() };
        let mut input = whole.to_vec();
        for _ in 0..random.usize(1..5) {
            let at = random.usize(0..input.len());
            match random.u8(0..5) {
                0 => input[at] ^= 1 << random.u8(0..8),
                1 => input[at] = [0, 1, 0x7f, 0x80, 0xff][random.usize(0..5)],
                2 => input.truncate(at.max(1)),
                3 => input.insert(at, random.u8(..)),
                _ => input[at] = random.u8(..),
            }
        }
        if let Err(panic) = catch_unwind(|| snapshot::run(&input)) {
            eprintln!("the input of round {round} is b\"{}\"", input.escape_ascii());
            resume_unwind(panic);
        }
    }
}

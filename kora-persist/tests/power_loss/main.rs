//! Processes that log, on a disk that loses, tears and reorders whatever it was not made to keep; killed and cut off from power at any moment, failing at any
//! operation; and what a recovery finds. `KORA_ROUNDS=10000 cargo test -p kora-persist --test power_loss` is the long round.

mod disk;
mod model;
mod process;

use disk::Disk;
use fastrand::Rng;
use kora_persist::log::{LogError, WalSync};
use model::Model;
use process::{Faults, Process};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

const MODES: [WalSync; 3] = [WalSync::EveryWrite, WalSync::EverySecond, WalSync::OsManaged];

fn rounds(usual: u64) -> u64 {
    std::env::var("KORA_ROUNDS").map_or(usual, |text| text.parse().expect("KORA_ROUNDS is a number"))
}

/// Runs it with many seeds, and says which one has failed.
fn with_seeds(rounds: u64, round: impl Fn(&mut Rng)) {
    let first = std::env::var("KORA_SEED").ok().map(|text| text.parse().expect("KORA_SEED is a number"));
    for seed in first.map_or(0..rounds, |seed| seed..seed + 1) {
        let result = catch_unwind(AssertUnwindSafe(|| round(&mut Rng::with_seed(seed))));
        if let Err(panic) = result {
            eprintln!("KORA_SEED={seed} repeats this");
            resume_unwind(panic);
        }
    }
}

#[test]
fn nothing_durable_is_lost_and_nothing_is_restored_by_halves() {
    with_seeds(rounds(300), |random| {
        let (mut disk, mut model) = (Disk::default(), Model::default());
        let mut end = model.check(&disk);
        for _ in 0..random.usize(1..6) {
            let sync = random.choice(MODES).unwrap();
            let faults = if random.u8(0..4) == 0 { Faults::At(random.u64(0..30)) } else { Faults::Passing };
            let steps = random.usize(1..150);
            let mut process = Process::start(&mut disk, random, &mut model, &end, sync, faults);
            process.work(steps);
            if faults == Faults::Passing && steps % 4 == 0 {
                process.stop();
            } else {
                process.die(steps % 3 > 0);
            }
            end = model.check(&disk);
            if random.u8(0..4) == 0 {
                // While what the recovery has found is still in the cache.
                disk.fail_power(random);
                end = model.check(&disk);
            }
            model.accept(&end);
        }
    });
}

#[test]
fn an_error_of_any_operation_costs_nothing_that_was_durable() {
    for sync in MODES {
        with_seeds(rounds(300).div_ceil(100), |random| {
            let seed = random.u64(..);
            // Some operations are never reached when an earlier one behaves otherwise.
            let (mut fails_at, mut operations) = (0, 1);
            while fails_at < operations.min(400) {
                let mut random = Rng::with_seed(seed);
                let (mut disk, mut model) = (Disk::default(), Model::default());
                let end = model.check(&disk);
                let mut process =
                    Process::start(&mut disk, &mut random, &mut model, &end, sync, Faults::At(fails_at));
                process.work(100);
                operations = operations.max(process.operations);
                process.die(fails_at % 2 == 0);
                let end = model.check(&disk);
                model.accept(&end);
                // It goes on when the disk is well again.
                let mut process =
                    Process::start(&mut disk, &mut random, &mut model, &end, sync, Faults::Passing);
                process.work(30);
                process.stop();
                model.check(&disk);
                fails_at += 1;
            }
        });
    }
}

#[test]
fn damage_is_found_and_what_comes_before_it_is_right() {
    with_seeds(rounds(300), |random| {
        let (mut disk, mut model) = (Disk::default(), Model::default());
        let end = model.check(&disk);
        let mut process =
            Process::start(&mut disk, random, &mut model, &end, WalSync::EveryWrite, Faults::Passing);
        let steps = process.steps(20..120);
        process.work(steps);
        process.stop();
        let end = model.check(&disk);
        // Up to where what is intact says that everything was durable.
        let whole = end.last_lsn;
        if end.segments.is_empty() {
            return;
        }
        let facts = &end.segments[random.usize(0..end.segments.len())];
        let segment = facts.header.segment;
        let used = disk.bytes(segment).iter().rposition(|&byte| byte != 0).unwrap_or(0);
        let at = random.usize(0..=used);
        disk.change(segment, |bytes| bytes[at] ^= 1 << (at % 8));
        let mut replay = model.replay(&disk);
        let mut found = Vec::new();
        let result = loop {
            match replay.next_batch() {
                Ok(Some(batch)) => {
                    found.extend(batch.entries().map(|(lsn, entry)| (lsn, model::what(&entry))))
                }
                Ok(None) => break Ok(replay.end().last_lsn),
                Err(error) => break Err(error),
            }
        };
        match result {
            // In zeros, in what an earlier use has left, or in the last frame, of which nothing tells that it was durable.
            Ok(last) => {
                assert!(last + 200 > whole, "{last} of {whole} without a word");
                model.check_prefix(&found, last);
            }
            Err(LogError::Damage { file, offset, lsn, durable, .. }) => {
                assert!(lsn <= durable && durable <= whole);
                assert_eq!(file, kora_persist::log::segment_name(segment));
                assert!(offset <= at as u64, "{offset} is behind {at}");
            }
            Err(error) => panic!("{error}"),
        }
    });
}

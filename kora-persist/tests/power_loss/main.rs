//! Processes that log, on a disk that loses, tears and reorders whatever it was not made to keep; killed and cut off from power at any moment, failing at any
//! operation; and what a recovery finds. `KORA_ROUNDS=10000 cargo test -p kora-persist --test power_loss` is the long round.

mod disk;
mod model;
mod process;

use disk::Disk;
use fastrand::Rng;
use kora_persist::block::BLOCK_BYTES;
use kora_persist::frame::{FrameHead, HEADER_BYTES, TAGGED_HEADER_BYTES};
use kora_persist::log::reader::SegmentReader;
use kora_persist::log::{End, LogError, Replay, WalSync};
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
        let frames = frames(&disk, &end);
        let Some(&(segment, offset, len, damaged)) = random.choice(&frames) else { return };
        // Its header is spared: what it says of itself helps to name the place.
        let at = offset as usize + len - 1 - random.usize(0..len - 40);
        disk.change(segment, |bytes| bytes[at] ^= 1 << (at % 8));
        // Frames behind it in the same write have lost their place.
        let begin = frames.iter().position(|frame| frame.3 == damaged).expect("it is one of them");
        let written_with = |frame: &&(u64, u64, usize, FrameHead)| {
            frame.0 == segment && !frame.1.is_multiple_of(BLOCK_BYTES as u64)
        };
        let lost = 1 + frames[begin + 1..].iter().take_while(written_with).count();
        let (lost, before) = (&frames[begin..begin + lost], &frames[..begin]);
        let others = before.iter().chain(&frames[begin + lost.len()..]);
        let durable = others.map(|(_, _, _, head)| head.durable).max().unwrap_or(0);
        let needed = lost.iter().find(|(_, _, _, head)| head.last_lsn > model.cut());
        let needed = needed.map(|(_, _, _, head)| head.first_lsn.max(model.cut() + 1));
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
            Ok(last) => {
                // It is in the snapshot; or nothing tells that it was durable, and then it looks torn.
                assert!(needed.is_none_or(|lsn| durable < lsn), "{damaged:?} is lost without a word");
                assert_eq!(last, needed.map_or(end.last_lsn, |lsn| lsn - 1));
                model.check_prefix(&found, last);
            }
            Err(LogError::Damage { file, offset: at, lsn, durable: told, .. }) => {
                assert_eq!((Some(lsn), told), (needed, durable));
                assert_eq!((file, at), (kora_persist::log::segment_name(segment), offset));
            }
            Err(error) => panic!("{error}"),
        }
    });
}

/// All frames of a log: segment, offset, length and what they say.
fn frames(mut disk: &Disk, end: &End) -> Vec<(u64, u64, usize, FrameHead)> {
    let mut found = Vec::new();
    for facts in &end.segments {
        let mut reader = SegmentReader::new(&facts.header, facts.bytes);
        while let Some((offset, head, payload)) = reader.next_frame(&mut disk).expect("it can be read") {
            let header = if head.tag.is_some() { TAGGED_HEADER_BYTES } else { HEADER_BYTES };
            found.push((facts.header.segment, offset, header + payload.len(), head));
        }
    }
    found
}

#[test]
fn any_bytes_in_a_segment_are_survived() {
    with_seeds(rounds(300), |random| {
        let (mut disk, mut model) = (Disk::default(), Model::default());
        let end = model.check(&disk);
        let mut process =
            Process::start(&mut disk, random, &mut model, &end, WalSync::EveryWrite, Faults::Passing);
        process.work(60);
        process.stop();
        let end = model.check(&disk);
        for _ in 0..random.usize(1..20) {
            let Some(facts) = random.choice(&end.segments) else { return };
            let at = random.usize(0..facts.bytes as usize);
            let (len, byte) = (random.usize(1..2000), random.u8(..));
            disk.change(facts.header.segment, |bytes| {
                let end = (at + len).min(bytes.len());
                bytes[at..end].fill(byte);
            });
        }
        let Ok(mut replay) = Replay::open(&disk, Some(7), model.cut() + 1) else { return };
        let mut found = Vec::new();
        let last = loop {
            match replay.next_batch() {
                Ok(Some(batch)) => {
                    found.extend(batch.entries().map(|(lsn, entry)| (lsn, model::what(&entry))))
                }
                Ok(None) => break replay.end().last_lsn,
                Err(LogError::Damage { lsn, .. }) => break lsn - 1,
                Err(error) => panic!("{error}"),
            }
        };
        // Whether it ends with an error or not: what was read is a beginning of what was written.
        let all = model.expected(last);
        assert_eq!(found, &all[..found.len()]);
    });
}

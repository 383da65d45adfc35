//! Long histories are judged in seconds.

mod support;

use kora_check::{linearizability, queues, serializability};
use std::time::{Duration, Instant};
use support::{perform, Draft, Fate, STEP};

const OPERATIONS: usize = 100_000;

/// More than it takes on any machine that these tests run on, and less than anybody notices.
const PATIENCE: Duration = Duration::from_secs(30);

/// A sequence of numbers without a pattern (splitmix64).
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn drafts(clients: u32, mut words: impl FnMut(usize, u64) -> String) -> Vec<Draft> {
    let mut seed = 4;
    (0..OPERATIONS)
        .map(|at| {
            let choice = random(&mut seed);
            let commands = vec![words(at, choice).split(' ').map(str::to_owned).collect()];
            let spread = u64::from(clients) * STEP;
            let (before, after) = (random(&mut seed) % spread, random(&mut seed) % spread);
            // Few of them without a reply, as when clients are killed.
            let lost = if at % 5_000 == 4_999 { Fate::ReplyLost } else { Fate::Replied };
            Draft { client: (choice >> 32) as u32 % clients, commands, before, after, fate: lost }
        })
        .collect()
}

fn in_time(what: &str, check: impl FnOnce()) {
    let begin = Instant::now();
    check();
    let taken = begin.elapsed();
    println!("{what}: {taken:?}");
    assert!(taken < PATIENCE, "{what} took {taken:?}");
}

#[test]
fn a_hundred_thousand_operations_on_few_keys() {
    let history = perform(&drafts(16, |at, choice| {
        let key = ["x", "y", "z"][choice as usize / 8 % 3];
        match choice % 8 {
            0 | 1 => format!("SET {key} {at}"),
            2 => format!("INCR {key}"),
            3 => format!("DEL {key}"),
            4 => format!("GETSET {key} {at}"),
            _ => format!("GET {key}"),
        }
    }));
    in_time("16 clients, single keys", || linearizability::check(&history).unwrap());
}

#[test]
fn a_hundred_thousand_transactions_on_few_keys() {
    let history = perform(&drafts(8, |at, choice| {
        let names = ["x", "y", "z"];
        let (a, b) = (names[choice as usize / 8 % 3], names[(choice as usize / 8 + 1) % 3]);
        match choice % 8 {
            0 => format!("SET {a} {at}"),
            1 | 2 => format!("MSET {a} {at} {b} {at}"),
            3 => format!("GETSET {a} {at}"),
            _ => format!("MGET {a} {b}"),
        }
    }));
    in_time("8 clients, order", || linearizability::check(&history).unwrap());
    in_time("8 clients, dependencies", || assert!(serializability::check(&history).unwrap() > OPERATIONS));
}

#[test]
fn a_hundred_thousand_transactions_on_more_keys() {
    let history = perform(&drafts(6, |at, choice| {
        let a = choice as usize / 8 % 8;
        let b = (a + 1 + choice as usize / 64 % 7) % 8;
        match choice % 8 {
            0 => format!("SET k{a} {at}"),
            1 => format!("GETSET k{a} {at}"),
            2 | 3 => format!("MSET k{a} {at} k{b} {at}"),
            4 => format!("GET k{a}"),
            _ => format!("MGET k{a} k{b}"),
        }
    }));
    in_time("6 clients, 8 keys, dependencies", || {
        assert!(serializability::check(&history).unwrap() > OPERATIONS)
    });
    in_time("6 clients, 8 keys, order", || linearizability::check(&history).unwrap());
}

#[test]
fn a_hundred_thousand_commands_that_move_things() {
    let history = perform(&drafts(8, |at, choice| {
        let names = ["x", "y", "z"];
        let (a, b) = (names[choice as usize / 16 % 3], names[(choice as usize / 16 + 1) % 3]);
        match choice % 16 {
            0 | 1 => format!("SET {a} {at}"),
            2 => format!("RENAME {a} {b}"),
            3 => format!("COPY {a} {b} REPLACE"),
            4 => format!("MSETNX {a} {at} {b} {at}"),
            5 => format!("DEL {a} {b}"),
            6 => format!("SADD {a} 1 2 {at}"),
            7 => format!("SMOVE {a} {b} 1"),
            8 => format!("SUNION {a} {b}"),
            9 => format!("INCR {a}"),
            _ => format!("MGET {a} {b}"),
        }
    }));
    in_time("8 clients, moves", || linearizability::check(&history).unwrap());
}

#[test]
fn a_hundred_thousand_elements_of_a_queue() {
    let history = perform(&drafts(16, |at, choice| match choice % 4 {
        0 | 1 => format!("RPUSH x {at}"),
        2 => "LPOP x".to_owned(),
        _ => "BLPOP x 0.20000001".to_owned(), // one step more than the precision
    }));
    in_time("queue", || assert!(queues::check(&history).unwrap().delivered > OPERATIONS / 3));
}

//! Commands over several keys, whose shards are most often different ones: what they do is seen at one moment or not at all.

use crate::harness::Value;
use crate::recorder::{words, Recorded, Words};
use crate::stress::{self, Run};
use fastrand::Rng;

/// Random commands of one kind on few keys.
pub struct Mix {
    pub keys: &'static [&'static str],
    /// A command from its random number, two different keys and a value that nobody else writes.
    pub command: fn(u32, &str, &str, &str) -> String,
}

impl Mix {
    pub fn next(&self, random: &mut Rng, value: u64) -> Words {
        let a = random.usize(..self.keys.len());
        let b = (a + random.usize(1..self.keys.len())) % self.keys.len();
        words(&(self.command)(random.u32(..), self.keys[a], self.keys[b], &value.to_string()))
    }

    /// A few commands, which often concern several shards. `value` counts the values that were used.
    pub fn some(&self, random: &mut Rng, value: &mut u64) -> Vec<Words> {
        (0..random.u32(1..5))
            .map(|_| {
                *value += 1;
                self.next(random, *value)
            })
            .collect()
    }
}

/// Of eight shards these are on 4, 6, 0, 2 and 4: on different ones also where there are four or two shards, except for the first and the last.
const KEYS: &[&str] = &["k0", "k1", "k2", "k3", "k4"];

pub const STRINGS: Mix = Mix {
    keys: KEYS,
    command: |choice, a, b, value| match choice % 24 {
        0 | 1 => format!("SET {a} {value}"),
        2 => format!("GET {a}"),
        3 => format!("INCR {a}"),
        4 => format!("INCRBY {a} 1000"),
        5 => format!("DEL {a} {b}"),
        6 => format!("UNLINK {a}"),
        7..=9 => format!("MSET {a} {value} {b} {value}"),
        10..=12 => format!("MGET {} {} {} {} {}", KEYS[0], KEYS[1], KEYS[2], KEYS[3], KEYS[4]),
        13 => format!("MSETNX {a} {value} {b} {value}"),
        14 | 15 => format!("RENAME {a} {b}"),
        16 => format!("RENAMENX {a} {b}"),
        17 => format!("COPY {a} {b} REPLACE"),
        18 => format!("COPY {a} {b}"),
        19 => format!("GETSET {a} {value}"),
        20 => format!("GETDEL {a}"),
        21 => format!("EXISTS {a} {b}"),
        22 => format!("BITOP XOR {a} {a} {b}"),
        _ => format!("MGET {a} {b}"),
    },
};

/// Each value is written once and nothing is deleted: the dependencies of all operations are known.
pub const REGISTERS: Mix = Mix {
    keys: &["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"],
    command: |choice, a, b, value| match choice % 8 {
        0 => format!("SET {a} {value}"),
        1 => format!("GETSET {a} {value}"),
        2 | 3 => format!("MSET {a} {value} {b} {value}"),
        4 => format!("GET {a}"),
        _ => format!("MGET {a} {b}"),
    },
};

pub const SETS: Mix = Mix {
    keys: &["k0", "k1", "k2", "k3"],
    command: |choice, a, b, value| {
        let member = char::from(b'a' + (choice / 32 % 6) as u8);
        match choice % 20 {
            0..=2 => format!("SADD {a} {member}"),
            3 => format!("SREM {a} {member}"),
            4..=7 => format!("SMOVE {a} {b} {member}"),
            8 => format!("SUNIONSTORE {a} {a} {b}"),
            9 => format!("SINTERSTORE {a} {a} {b}"),
            10 => format!("SDIFFSTORE {a} {b} {a}"),
            11 | 12 => format!("SUNION {a} {b}"),
            13 => format!("SINTER {a} {b}"),
            14 => format!("SDIFF {a} {b}"),
            15 => format!("SMEMBERS {a}"),
            16 => format!("RENAME {a} {b}"),
            17 => format!("COPY {a} {b} REPLACE"),
            18 => format!("DEL {a}"),
            _ => format!("SADD {a} {value} {member}"),
        }
    },
};

pub const LISTS: Mix = Mix {
    keys: &["k0", "k1", "k2", "k3"],
    command: |choice, a, b, value| match choice % 16 {
        0 | 1 => format!("RPUSH {a} {value}"),
        2 => format!("LPUSH {a} {value}.1 {value}.2"),
        3 | 4 => format!("LPOP {a}"),
        5 => format!("RPOP {a} 2"),
        6 | 7 => format!("LMOVE {a} {b} LEFT RIGHT"),
        8 => format!("LMOVE {a} {b} RIGHT LEFT"),
        9 => format!("RPOPLPUSH {a} {a}"),
        10 => format!("RENAME {a} {b}"),
        11 => format!("COPY {a} {b} REPLACE"),
        12 => format!("DEL {a} {b}"),
        13 => format!("LRANGE {a} 0 -1"),
        14 => format!("EXISTS {a} {b}"),
        _ => format!("LLEN {a}"),
    },
};

/// BZPOPMIN among others.
pub const SORTED_SETS: Mix = Mix {
    keys: &["k0", "k1", "k2", "k3"],
    command: |choice, a, b, _| {
        // Many reads: the fewer states are possible at a time, the sooner an order is found.
        let member = char::from(b'a' + (choice / 32 % 5) as u8);
        let score = choice / 256 % 8;
        match choice % 26 {
            0 | 1 => format!("ZADD {a} {score} {member}"),
            3 => format!("ZINCRBY {a} 2 {member}"),
            4 => format!("ZREM {a} {member}"),
            5 => format!("ZPOPMIN {a}"),
            6 => format!("BZPOPMIN {a} {b} 0.004"),
            7 => format!("BZPOPMIN {a} 0.015"),
            8 => format!("ZUNIONSTORE {a} 2 {a} {b}"),
            10 => format!("ZINTERSTORE {a} 2 {a} {b}"),
            11 => format!("ZDIFFSTORE {a} 2 {b} {a}"),
            12 => format!("ZRANGESTORE {a} {b} 0 -1"),
            13 => format!("RENAME {a} {b}"),
            15 => format!("COPY {a} {b} REPLACE"),
            16 => format!("DEL {a} {b}"),
            17 => format!("ZSCORE {a} {member}"),
            18 => format!("ZCARD {a}"),
            _ => format!("ZRANGE {a} 0 -1"),
        }
    },
};

/// A mix of all, so that commands also find values of the wrong type; and all keys go at once.
pub const EVERYTHING: Mix = Mix {
    keys: KEYS,
    command: |choice, a, b, value| match choice / 7 % 40 {
        0 => "FLUSHALL".to_owned(),
        part => match part % 3 {
            0 => (STRINGS.command)(choice, a, b, value),
            1 => (SETS.command)(choice, a, b, value),
            _ => (LISTS.command)(choice, a, b, value),
        },
    },
};

/// A client that sends random commands, some in pipelines, and sometimes dies before it is answered.
fn random_client(mix: &Mix, number: u32, run: &Run<'_>, random: &mut Rng) {
    let mut client = run.recorder.client();
    let mut value = 10_000_000 * u64::from(number + 1);
    while !run.is_over() {
        let mut next = || {
            value += 1;
            mix.next(random, value)
        };
        let first = next();
        match random.u32(..400) {
            0 if run.may_die() => {
                client.abandon(vec![first.clone()], vec![first]);
                client = run.recorder.client();
            }
            1..=40 => {
                let mut pipeline = vec![first];
                for _ in 0..random.u32(1..4) {
                    value += 1;
                    pipeline.push(mix.next(random, value));
                }
                client.pipeline(pipeline);
            }
            _ => drop(client.call(first)),
        }
    }
}

/// What is there in the end is an observation like others.
pub fn read_everything(mix: &Mix, client: &mut Recorded<'_>) {
    for key in mix.keys {
        for command in ["GET", "SMEMBERS"] {
            client.call(words(&format!("{command} {key}")));
        }
        for command in ["LRANGE", "ZRANGE"] {
            client.call(words(&format!("{command} {key} 0 -1")));
        }
    }
}

fn random_clients(mix: &Mix) {
    let histories = stress::run(
        |_| {},
        |number, run, random| random_client(mix, number, run, random),
        |client| read_everything(mix, client),
    );
    for history in histories {
        // A busy machine may take its time.
        let read_in_the_end = 4 * mix.keys.len();
        assert!(history.operations().len() > read_in_the_end, "clients got something done");
    }
}

#[test]
fn strings_over_several_shards_change_and_are_read_at_one_moment() {
    random_clients(&STRINGS);
}

#[test]
fn transactions_of_registers_have_no_cycle() {
    random_clients(&REGISTERS);
}

#[test]
fn sets_over_several_shards_change_and_are_read_at_one_moment() {
    random_clients(&SETS);
}

#[test]
fn lists_over_several_shards_change_and_are_read_at_one_moment() {
    random_clients(&LISTS);
}

#[test]
fn sorted_sets_over_several_shards_change_and_are_read_at_one_moment() {
    random_clients(&SORTED_SETS);
}

#[test]
fn values_of_all_types_and_flushes_happen_at_one_moment() {
    random_clients(&EVERYTHING);
}

/// One client alone shows that the specification is right: nothing can be put down to the order of operations.
#[test]
fn the_specification_is_that_of_the_server() {
    stress::run(
        |_| {},
        |number, run, random| {
            if number == 0 {
                let mut client = run.recorder.client();
                for value in 0..20_000 {
                    let mix = [&STRINGS, &SETS, &LISTS, &SORTED_SETS, &EVERYTHING][random.usize(..5)];
                    let value: Value = client.call(mix.next(random, 10_000_000 + value));
                    assert!(!value.is_error() || !value.text().contains("unknown"), "{value:?}");
                    if run.is_over() {
                        break;
                    }
                }
            }
        },
        |client| read_everything(&EVERYTHING, client),
    );
}

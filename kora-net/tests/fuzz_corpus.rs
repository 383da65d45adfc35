//! The fuzz targets without a fuzzer: their corpus, and some thousand mutations of it that are the same in every run.
//!
//! `cargo fuzz` looks further (see CONTRIBUTING.md); this finds what is near, everywhere where `cargo test` runs.

#[path = "../../fuzz/src/command.rs"]
mod command;
#[path = "../../fuzz/src/resp.rs"]
mod resp;

use fastrand::Rng;
use kora_engine::command::{registry, Run};
use std::panic::{catch_unwind, resume_unwind};
use std::path::Path;

/// Longest input that is made, bytes.
const INPUT_LEN_MAX: usize = 4096;

/// Inputs that were written by hand, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<(String, Vec<u8>)> = files
        .map(|file| {
            let path = file.expect("a readable folder").path();
            (path.display().to_string(), std::fs::read(&path).expect("a readable file"))
        })
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 12, "{}: the corpus is gone", folder.display());
    inputs
}

/// Runs an input; if it fails, says which it was.
fn check(name: &str, run: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = catch_unwind(|| run(input)) {
        eprintln!("the input ({name}) is b\"{}\"", input.escape_ascii());
        resume_unwind(panic);
    }
}

/// Bytes that a parser may stumble over.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\r",
    b"\n",
    b"*",
    b"$",
    b"-1",
    b"0",
    b"00",
    b"64",
    b"65",
    b"10",
    b"11",
    b"16384",
    b"16385",
    b"*1\r\n",
    b"*3\r\n$3\r\nSET\r\n",
    b"$0\r\n\r\n",
    b"\"",
    b"'",
    b"\\x",
    b" ",
    b"\0",
    b"2147483648",
    b"9223372036854775807",
];

/// A few changes at random places.
fn mutate(rng: &mut Rng, inputs: &[(String, Vec<u8>)], pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = inputs[rng.usize(..inputs.len())].1.clone();
    for _ in 0..rng.usize(1..8) {
        let at = rng.usize(..=bytes.len());
        let end = (at + rng.usize(..16)).min(bytes.len());
        match rng.u8(..6) {
            0 if at < bytes.len() => bytes[at] = rng.u8(..),
            1 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            4 => {
                let other = &inputs[rng.usize(..inputs.len())].1;
                bytes.truncate(at);
                bytes.extend_from_slice(&other[rng.usize(..=other.len())..]);
            }
            _ => drop(
                bytes.splice(at..end.min(at + 3), rng.choice(pieces).expect("not empty").iter().copied()),
            ),
        }
    }
    bytes.truncate(INPUT_LEN_MAX);
    bytes
}

/// Arguments that mean something to some command: keys of which there are few, numbers at the borders, option words.
const ARGUMENTS: &[&str] = &[
    "a",
    "b",
    "c",
    "{t}a",
    "n",
    "\"\"",
    "0",
    "1",
    "-1",
    "2",
    "7",
    "10",
    "100",
    "1000",
    "-5",
    "1.5",
    "-0.25",
    "1e300",
    "inf",
    "nan",
    "4096",
    "1048576",
    "1048577",
    "2147483648",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "1700000001000",
    "*",
    "[a-c]*",
    "\\\\*",
    "MATCH",
    "COUNT",
    "TYPE",
    "string",
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "PERSIST",
    "KEEPTTL",
    "NX",
    "XX",
    "GT",
    "LT",
    "GET",
    "IFEQ",
    "IFNE",
    "IFDEQ",
    "IFDNE",
    "DB",
    "REPLACE",
    "LEN",
    "IDX",
    "MINMATCHLEN",
    "WITHMATCHLEN",
    "BIT",
    "BYTE",
    "AND",
    "OR",
    "XOR",
    "NOT",
    "SYNC",
    "ASYNC",
    "SAMPLES",
    "u8",
    "i64",
    "OVERFLOW",
    "SAT",
    "INCRBY",
    "hello",
    "0123456789012345678901234567890123456789012345678901234567890123456789",
];

/// A connection's worth of commands that exist, with a likely number of arguments.
fn session(rng: &mut Rng) -> Vec<u8> {
    let commands: Vec<_> =
        registry().all().iter().filter(|c| !matches!(c.spec.run, Run::Server(_))).collect();
    let mut bytes = vec![rng.u8(..8)];
    for _ in 0..rng.usize(1..24) {
        let command = rng.choice(&commands).expect("there are commands");
        bytes.extend_from_slice(command.full_name.replace('|', " ").as_bytes());
        let arity = usize::from(command.spec.arity.unsigned_abs()).saturating_sub(1);
        let argc = if command.spec.arity < 0 { arity + rng.usize(..5) } else { arity };
        for _ in usize::from(command.parent.is_some())..argc {
            bytes.push(b' ');
            bytes.extend_from_slice(rng.choice(ARGUMENTS).expect("not empty").as_bytes());
        }
        bytes.push(b'\n');
    }
    bytes
}

#[test]
fn requests_mean_the_same_whole_and_in_pieces() {
    let inputs = corpus("resp");
    for (name, input) in &inputs {
        check(name, resp::run, input);
    }
    let pieces: Vec<Vec<u8>> = PIECES.iter().map(|piece| piece.to_vec()).collect();
    let mut rng = Rng::with_seed(1);
    for _ in 0..50_000 {
        check("a mutation", resp::run, &mutate(&mut rng, &inputs, &pieces));
    }
}

#[test]
fn every_command_gets_exactly_one_well_formed_reply() {
    let inputs = corpus("command");
    for (name, input) in &inputs {
        check(name, command::run, input);
    }
    let pieces: Vec<Vec<u8>> = PIECES
        .iter()
        .map(|piece| piece.to_vec())
        .chain(ARGUMENTS.iter().map(|a| a.as_bytes().to_vec()))
        .collect();
    let mut rng = Rng::with_seed(2);
    for _ in 0..10_000 {
        check("a session", command::run, &session(&mut rng));
        check("a mutation", command::run, &mutate(&mut rng, &inputs, &pieces));
    }
}

#[test]
fn the_dictionary_of_the_fuzzer_has_every_command_of_a_shard() {
    let dictionary = include_str!("../../fuzz/command.dict");
    for command in registry().all() {
        let is_shards = matches!(command.spec.run, Run::Keys(..) | Run::Everywhere(..) | Run::ByCursor(_));
        let entry = format!("\"{} \"", command.full_name.replace('|', " "));
        assert!(
            !is_shards || dictionary.lines().any(|line| line == entry),
            "add {entry} to fuzz/command.dict"
        );
    }
}

//! HyperLogLogs that grow: the same elements give the same bytes as redis-server's, from the first to the dense encoding.
//!
//! Some hundred commands at a time, with a GET of the key after each: the runs of a sparse sketch depend on the whole
//! history, and so a difference shows where it arises.

use super::harness::random::Random;
use super::harness::resp;
use super::notation::{escaped, show};
use super::Party;

const KEYS: [&str; 4] = ["h1", "h2", "h3", "h4"];
const BATCHES: usize = 40;
const BATCH: usize = 60;
/// Batches until everything begins again.
const LIFE: usize = 8;

fn command(random: &mut Random) -> Vec<String> {
    let key = random.of(&KEYS).to_owned();
    match random.below(20) {
        0 => vec!["pfcount".into(), key],
        1 => vec!["pfcount".into(), key, random.of(&KEYS).into(), random.of(&KEYS).into()],
        2 => vec!["pfmerge".into(), key, random.of(&KEYS).into(), random.of(&KEYS).into()],
        3 if random.below(8) == 0 => vec!["pfmerge".into(), key],
        4 if random.below(20) == 0 => vec!["pfdebug".into(), "todense".into(), key],
        5 if random.below(20) == 0 => vec!["del".into(), key],
        // A byte of the registers, the header or the cached count; mostly the sketch is corrupted from then on.
        6 if random.below(20) == 0 => {
            let byte = char::from(random.below(128) as u8).to_string();
            vec!["setrange".into(), key, random.below(40).to_string(), byte]
        }
        _ => {
            let mut words = vec!["pfadd".to_owned(), key];
            let most = [1, 5, 5, 300][random.below(4)];
            let elements = 1 + random.below(most);
            let distinct = [100, 10_000, 10_000_000][random.below(3)];
            words.extend((0..elements).map(|_| random.below(distinct).to_string()));
            words
        }
    }
}

/// Runs the sequence of one seed; the first mismatch as text.
pub fn compare(reference: &mut Party, subject: &mut Party, seed: u64) -> Option<String> {
    let mut random = Random::new(seed);
    for batch in 0..BATCHES {
        let mut commands = Vec::new();
        if batch % LIFE == 0 {
            commands.push(vec!["flushall".to_owned()]);
        }
        for _ in 0..BATCH {
            let command = command(&mut random);
            let key =
                command.iter().find(|word| KEYS.contains(&word.as_str())).expect("it has a key").clone();
            commands.push(command);
            commands.push(vec!["get".to_owned(), key]);
        }
        let frames: Vec<u8> = commands.iter().flat_map(|command| resp::encode(command)).collect();
        for party in [&mut *reference, &mut *subject] {
            party.connection(1).expect("a connection").send_raw(&frames).expect("a batch is sent");
        }
        for command in &commands {
            let reply = |party: &mut Party| {
                party.connection(1).expect("a connection").read().map(|reply| reply.value)
            };
            let (ours, theirs) = (reply(reference).expect("the reference answers"), reply(subject));
            if theirs.as_ref().ok() != Some(&ours) {
                let line = escaped(command.join(" ").as_bytes());
                let got = theirs.map_or_else(|error| error.to_string(), |reply| show(&reply));
                return Some(format!(
                    "seed {seed}, batch {batch}: {line}\n    expected {}\n    got      {got}",
                    show(&ours)
                ));
            }
        }
    }
    None
}

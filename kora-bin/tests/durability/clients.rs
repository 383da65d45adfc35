//! Connections that send random units and write down what was acknowledged and when, and the verdict on what was kept of it.

use crate::harness::{resp, Client, Value};
use crate::model::{Entry, Keys, Words};
use crate::verdict::{Question, Verdict};
use crate::workload::{Source, Unit};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddrV4;
use std::time::Instant;

/// Units that one connection may have under way.
const PIPELINE_MAX: usize = 24;

/// Units that were sent at once, and when their replies came.
struct Batch {
    units: Vec<Unit>,
    /// As many as there were.
    acknowledged: Vec<Instant>,
}

/// One connection over many lives of the server.
pub struct Ledger {
    number: usize,
    database: usize,
    source: Source,
    /// What it had when the server was started.
    base: Keys,
    /// What was sent since, in this order.
    sent: Vec<Batch>,
}

/// What a server has kept of what a connection sent.
pub struct Kept {
    /// How many units that were acknowledged are not there.
    pub lost: usize,
    /// When the first of them was acknowledged.
    pub lost_since: Option<Instant>,
    /// What units that are there have moved between accounts.
    pub transfers: Vec<(usize, usize, i64)>,
}

impl Ledger {
    pub fn new(number: usize, database: usize, random: Rng) -> Ledger {
        let source = Source::new(number, database, random);
        Ledger { number, database, source, base: Keys::default(), sent: Vec::new() }
    }

    pub fn acknowledged(&self) -> usize {
        self.sent.iter().map(|batch| batch.acknowledged.len()).sum()
    }

    fn connect(&self, address: SocketAddrV4) -> io::Result<Client> {
        let mut client = Client::connect_to(address)?;
        if self.database != 0 {
            client.send(&["SELECT", &self.database.to_string()])?;
            client.read()?;
        }
        Ok(client)
    }

    /// Sends until the server is gone. The even ones wait for each reply, the others send pipelines.
    pub fn work(&mut self, address: SocketAddrV4) {
        let Ok(mut client) = self.connect(address) else { return };
        loop {
            let count =
                if self.number.is_multiple_of(2) { 1 } else { self.source.random().usize(1..=PIPELINE_MAX) };
            let units: Vec<Unit> = (0..count).map(|_| self.source.next()).collect();
            let words = units.iter().flat_map(|unit| &unit.wire);
            let frames: Vec<u8> = words.flat_map(|words| resp::encode(words)).collect();
            // What was not sent whole may have happened in part: all of it counts as sent.
            self.sent.push(Batch { units, acknowledged: Vec::new() });
            let batch = self.sent.last_mut().expect("just pushed");
            if let Err(error) = client.send_raw(&frames) {
                return gone(&error);
            }
            for unit in &batch.units {
                for words in &unit.wire {
                    match client.read() {
                        Ok(reply) => expected(words, &reply.value),
                        Err(error) => return gone(&error),
                    }
                }
                batch.acknowledged.push(Instant::now());
            }
        }
    }

    /// Compares what there is with what was sent, to one worker or to several. What is there now is the base of the next life.
    pub fn judge(&mut self, client: &mut Client, in_order: bool) -> Result<Kept, String> {
        client.command(&format!("SELECT {}", self.database));
        let found = Keys::read(client, &self.source.prefix());
        client.command("SELECT 0");
        let batches: Vec<&[Unit]> = self.sent.iter().map(|batch| batch.units.as_slice()).collect();
        let (prefix, base) = (self.source.prefix(), &self.base);
        let question = Question { prefix, in_order, base, batches: &batches, found: &found };
        let kept = match question.answer() {
            Verdict::Kept(kept) => kept,
            Verdict::Impossible { units, different } => return Err(self.impossible(units, &different)),
        };
        let all = self.sent.iter().flat_map(|batch| {
            let acknowledged = batch.acknowledged.iter().copied().map(Some).chain(std::iter::repeat(None));
            batch.units.iter().zip(acknowledged)
        });
        let mut answer = Kept { lost: 0, lost_since: None, transfers: Vec::new() };
        for ((unit, acknowledged), kept) in all.zip(kept) {
            if kept {
                answer.transfers.extend(unit.transfer);
            } else if let Some(at) = acknowledged {
                answer.lost += 1;
                answer.lost_since = Some(answer.lost_since.map_or(at, |first| first.min(at)));
            }
        }
        self.base = found;
        self.sent.clear();
        Ok(answer)
    }

    fn impossible(
        &self,
        nearest: usize,
        different: &BTreeMap<String, (Option<Entry>, Option<Entry>)>,
    ) -> String {
        let (number, acknowledged) = (self.number, self.acknowledged());
        let mut text = format!(
            "connection {number}: what is there cannot have been made by what it has sent, of which {acknowledged} units were acknowledged. \
             Nearest are {nearest} units, with {} keys that differ:\n",
            different.len()
        );
        for (name, (state, found)) in different.iter().take(6) {
            text.push_str(&shortened(&format!("  {name}: there is {found:?}\n")));
            text.push_str(&shortened(&format!("  instead of {state:?}\n")));
        }
        let first = nearest.min(acknowledged).saturating_sub(30);
        let units = self
            .sent
            .iter()
            .enumerate()
            .flat_map(|(at, batch)| batch.units.iter().map(move |unit| (at, unit)));
        for (at, (batch, unit)) in units.enumerate().skip(first).take(60) {
            text.push_str(&shortened(&format!("  {at} in batch {batch}: {:?}\n", unit.wire)));
        }
        text
    }
}

/// A connection ends with its server, and not because there is no answer.
fn gone(error: &io::Error) {
    let silent = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::InvalidData);
    assert!(!silent, "the server did not answer: {error}");
}

fn expected(command: &Words, value: &Value) {
    if let Value::Error(text) = value {
        let text = String::from_utf8_lossy(text);
        assert_eq!(text, "ERR no such key", "{}", shortened(&format!("{command:?}")));
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(1_500).collect::<String>().replace(&"x".repeat(40), "~")
}

/// Connections of which each copies what the one before has written. Whoever has read something has it in his turn only if it is still there after a crash.
pub struct Relay {
    number: usize,
    /// The last value that was acknowledged.
    acknowledged: i64,
}

/// How many there are.
pub const RELAYS: usize = 4;

impl Relay {
    pub fn all() -> Vec<Relay> {
        (0..RELAYS).map(|number| Relay { number, acknowledged: 0 }).collect()
    }

    fn key(number: usize) -> String {
        format!("relay:{number}")
    }

    /// Copies until the server is gone.
    pub fn work(&mut self, address: SocketAddrV4) {
        const COPY: &str =
            "local v = redis.call('GET', KEYS[1]) if v then redis.call('SET', KEYS[2], v) end return v";
        let Ok(mut client) = Client::connect_to(address) else { return };
        let own = Relay::key(self.number);
        let source = Relay::key(self.number.saturating_sub(1));
        let mut call = |words: &[&str]| {
            client.send(words)?;
            client.read().map(|reply| reply.value)
        };
        loop {
            let done = match self.number {
                0 => call(&["INCR", &own]).map(|value| Some(value.int())),
                1 => call(&["EVAL", COPY, "2", &source, &own]).map(|value| number(&value)),
                _ => call(&["GET", &source]).and_then(|value| match number(&value) {
                    None => Ok(None),
                    Some(copied) => call(&["SET", &own, &copied.to_string()]).map(|reply| {
                        assert_eq!(reply.text(), "OK");
                        Some(copied)
                    }),
                }),
            };
            match done {
                Ok(value) => self.acknowledged = value.unwrap_or(0).max(self.acknowledged),
                Err(error) => return gone(&error),
            }
        }
    }

    /// What comes later in time is never there without what came before it. Returns how many relays have lost something acknowledged.
    pub fn judge(relays: &mut [Relay], client: &mut Client) -> Result<usize, String> {
        let keys: Vec<String> = (0..RELAYS).map(Relay::key).collect();
        let mut command = vec!["MGET"];
        command.extend(keys.iter().map(String::as_str));
        let values: Vec<i64> =
            client.call(&command).items().iter().map(|value| number(value).unwrap_or(0)).collect();
        if !values.is_sorted_by(|a, b| a >= b) {
            return Err(format!("who copies has more than who is copied: {values:?}"));
        }
        let lost = relays.iter().filter(|relay| values[relay.number] < relay.acknowledged).count();
        for relay in relays {
            relay.acknowledged = values[relay.number];
        }
        Ok(lost)
    }
}

fn number(value: &Value) -> Option<i64> {
    value.bytes().map(|text| String::from_utf8_lossy(text).parse().expect("a number"))
}

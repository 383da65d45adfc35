//! MULTI, EXEC and WATCH over any keys: the commands of a transaction happen at one moment, and only if nothing that was watched has changed.

use crate::commands::{read_everything, Mix, EVERYTHING, STRINGS};
use crate::harness::Value;
use crate::recorder::{frames, reply, words, Recorded, Words};
use crate::stress::{self, Run};
use fastrand::Rng;
use kora_check::command::Reply;
use kora_check::history::Outcome;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

impl Recorded<'_> {
    /// The commands between MULTI and EXEC, all in one write: one operation. None if something that is watched has changed; then nothing has happened. What
    /// was read under WATCH is a part of the operation if it succeeds.
    pub fn transaction(&mut self, watched: Vec<(Words, Reply)>, commands: Vec<Words>) -> Option<Vec<Value>> {
        let call = self.recorder.now();
        let mut all = vec![words("MULTI")];
        all.extend(commands.iter().cloned());
        all.push(words("EXEC"));
        self.connection.send_raw(&frames(&all)).expect("a transaction is sent");
        assert_eq!(self.read(&all).text(), "OK", "MULTI");
        for command in &commands {
            assert_eq!(self.read(&all).text(), "QUEUED", "{command:?}");
        }
        let result = self.read(&all);
        let at = self.recorder.now();
        match result {
            Value::Array(values) => {
                assert_eq!(values.len(), commands.len(), "EXEC replies to each command: {values:?}");
                let (mut before, mut replies): (Vec<_>, Vec<_>) = watched.into_iter().unzip();
                before.extend(commands);
                replies.extend(values.iter().map(reply));
                self.record(call, before, Outcome::Replied { at, replies });
                Some(values)
            }
            Value::NilArray | Value::Null => None,
            other => panic!("EXEC: {other:?}"),
        }
    }

    /// Sends a transaction, or its beginning, and closes the connection. Without its EXEC it must not happen.
    fn abandon_transaction(self, commands: Vec<Words>, with_exec: bool) {
        let mut all = vec![words("MULTI")];
        all.extend(commands.iter().cloned());
        if with_exec {
            all.push(words("EXEC"));
            self.abandon(all, commands);
        } else {
            self.abandon(all, Vec::new());
        }
    }
}

fn transactions(mix: &Mix, number: u32, run: &Run<'_>, random: &mut Rng) {
    let mut client = run.recorder.client();
    let mut value = 10_000_000 * u64::from(number + 1);
    while !run.is_over() {
        let commands = mix.some(random, &mut value);
        match random.u32(..200) {
            0 if run.may_die() => {
                client.abandon_transaction(commands, random.bool());
                client = run.recorder.client();
            }
            1..=60 => drop(client.call(commands[0].clone())),
            61..=110 => {
                let key = random.choice(mix.keys).expect("keys");
                assert_eq!(client.connection.command(&format!("WATCH {key}")).text(), "OK");
                let command = words(&format!("EXISTS {key}"));
                let exists = client.call(command.clone());
                client.transaction(vec![(command, reply(&exists))], commands);
            }
            _ => drop(client.transaction(Vec::new(), commands).expect("nothing was watched")),
        }
    }
}

#[test]
fn transactions_of_strings_happen_at_one_moment() {
    stress::run(
        |_| {},
        |number, run, random| transactions(&STRINGS, number, run, random),
        |client| read_everything(&STRINGS, client),
    );
}

#[test]
fn transactions_of_all_types_happen_at_one_moment() {
    stress::run(
        |_| {},
        |number, run, random| transactions(&EVERYTHING, number, run, random),
        |client| read_everything(&EVERYTHING, client),
    );
}

/// Of eight shards these are on 7, 5, 3, 1, 7 and 5.
const ACCOUNTS: [&str; 6] = ["account:0", "account:1", "account:2", "account:3", "account:4", "account:5"];

const BALANCE: i64 = 1_000_000_000_000;

/// Moves money between two accounts in one of the ways of doing so.
fn transfer(client: &mut Recorded<'_>, random: &mut Rng) -> bool {
    let mut accounts = ACCOUNTS;
    random.shuffle(&mut accounts);
    let ([from, to], amount) = ([accounts[0], accounts[1]], random.i64(1..1000));
    if random.bool() {
        let steps = [format!("DECRBY {from} {amount}"), format!("INCRBY {to} {amount}")];
        return client.transaction(Vec::new(), steps.map(|step| words(&step)).to_vec()).is_some();
    }
    // Read, compute, and write only if nobody else has.
    assert_eq!(client.connection.command(&format!("WATCH {from} {to}")).text(), "OK");
    let read = words(&format!("MGET {from} {to}"));
    let balances = client.call(read.clone());
    let [a, b] = [0, 1].map(|at| balances.items()[at].text().parse::<i64>().expect("a balance"));
    let write = format!("MSET {from} {} {to} {}", a - amount, b + amount);
    client.transaction(vec![(read, reply(&balances))], vec![words(&write)]).is_some()
}

/// The money of all accounts, read by one command or by a transaction.
fn sum(client: &mut Recorded<'_>, by_transaction: bool) -> i64 {
    let values = if by_transaction {
        let reads = ACCOUNTS.map(|account| words(&format!("GET {account}")));
        client.transaction(Vec::new(), reads.to_vec()).expect("nothing was watched")
    } else {
        client.call(words(&format!("MGET {}", ACCOUNTS.join(" ")))).items().to_vec()
    };
    values.iter().map(|value| value.text().parse::<i64>().expect("a balance")).sum()
}

#[test]
fn money_is_neither_made_nor_lost() {
    let all = BALANCE * ACCOUNTS.len() as i64;
    let transfers = AtomicU32::new(0);
    stress::run(
        |client| {
            let set: Vec<String> = ACCOUNTS.iter().map(|account| format!("{account} {BALANCE}")).collect();
            client.call(words(&format!("MSET {}", set.join(" "))));
        },
        |number, run, random| {
            let mut client = run.recorder.client();
            while !run.is_over() {
                if number == 0 || random.u32(..4) == 0 {
                    assert_eq!(sum(&mut client, random.bool()), all);
                } else if transfer(&mut client, random) {
                    transfers.fetch_add(1, Ordering::Relaxed);
                }
            }
        },
        |client| assert_eq!(sum(client, false), all),
    );
    assert!(transfers.into_inner() > 0, "some succeeded");
}

/// All increment the same number by WATCH: each success is one.
#[test]
fn who_has_watched_changes_nothing_after_somebody_else() {
    let successes = AtomicI64::new(0);
    stress::run(
        |client| {
            successes.store(0, Ordering::Relaxed);
            client.call(words("MSET number 1 copy 1"));
        },
        |_, run, _| {
            let mut client = run.recorder.client();
            while !run.is_over() {
                assert_eq!(client.connection.command("WATCH number").text(), "OK");
                let read = words("GET number");
                let value = client.call(read.clone());
                let next = value.text().parse::<i64>().expect("a number") + 1;
                let write =
                    [format!("SET number {next}"), format!("SET copy {next}")].map(|write| words(&write));
                if client.transaction(vec![(read, reply(&value))], write.to_vec()).is_some() {
                    successes.fetch_add(1, Ordering::Relaxed);
                }
            }
        },
        |client| {
            let values = client.call(words("MGET number copy"));
            let expected = (successes.load(Ordering::Relaxed) + 1).to_string();
            assert_eq!(reply(&values), Reply::bulks(&[&expected, &expected]));
        },
    );
}

//! Scripts: all that one does happens at one moment, on whatever shards its keys are.

use crate::blocking;
use crate::commands::{read_everything, Mix, LISTS, SETS, STRINGS};
use crate::harness::{resp, Value};
use crate::recorder::{reply, Recorded, Words};
use crate::stress::{self, Run};
use fastrand::Rng;
use kora_check::history::Outcome;
use std::time::{Duration, Instant};

/// Does the commands in its arguments, each with the number of its words before it, and returns their replies. Errors are replies like others.
const DO_ALL: &str = "
    local replies, at = {}, 1
    while at < #ARGV do
        local count = tonumber(ARGV[at])
        replies[#replies + 1] = redis.pcall(unpack(ARGV, at + 1, at + count))
        at = at + 1 + count
    end
    return replies";

impl Recorded<'_> {
    /// A script that does these commands and returns their replies as an array: one operation.
    pub fn script(&mut self, script: &Words, commands: Vec<Words>) -> Vec<Value> {
        let call = self.recorder.now();
        self.connection.send(script).expect("a script is sent");
        let Value::Array(values) = self.read(std::slice::from_ref(script)) else {
            panic!("{script:?}: no array")
        };
        assert_eq!(values.len(), commands.len(), "{script:?}: {values:?}");
        let outcome =
            Outcome::Replied { at: self.recorder.now(), replies: values.iter().map(reply).collect() };
        self.record(call, commands, outcome);
        values
    }
}

/// A script that does these commands; the keys are declared. By its text or its digest.
fn script(mix: &Mix, commands: &[Words], digest: Option<&str>) -> Words {
    let mut keys: Vec<&String> =
        commands.iter().flatten().filter(|word| mix.keys.contains(&word.as_str())).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut script = match digest {
        Some(digest) => vec!["EVALSHA".to_owned(), digest.to_owned()],
        None => vec!["EVAL".to_owned(), DO_ALL.to_owned()],
    };
    script.push(keys.len().to_string());
    script.extend(keys.into_iter().cloned());
    for command in commands {
        script.push(command.len().to_string());
        script.extend(command.iter().cloned());
    }
    script
}

fn scripts(mix: &Mix, number: u32, run: &Run<'_>, random: &mut Rng) {
    let mut client = run.recorder.client();
    let digest = client.connection.call(&["SCRIPT", "LOAD", DO_ALL]).text();
    let mut value = 10_000_000 * u64::from(number + 1);
    while !run.is_over() {
        let commands = mix.some(random, &mut value);
        let by_digest = random.bool().then_some(&digest[..]);
        match random.u32(..200) {
            0 if run.may_die() => {
                client.abandon(vec![script(mix, &commands, by_digest)], commands);
                client = run.recorder.client();
            }
            1..=60 => drop(client.call(commands[0].clone())),
            61..=90 => drop(client.transaction(Vec::new(), commands)),
            _ => drop(client.script(&script(mix, &commands, by_digest), commands)),
        }
    }
}

fn scripts_of(mix: &Mix) {
    stress::run(
        |_| {},
        |number, run, random| scripts(mix, number, run, random),
        |client| read_everything(mix, client),
    );
}

#[test]
fn scripts_on_strings_happen_at_one_moment() {
    scripts_of(&STRINGS);
}

#[test]
fn scripts_on_sets_happen_at_one_moment() {
    scripts_of(&SETS);
}

#[test]
fn scripts_on_lists_happen_at_one_moment() {
    scripts_of(&LISTS);
}

/// What a script leaves in a list in the end wakes who waits for it; what it took away again does not.
#[test]
fn blocked_clients_are_served_after_scripts() {
    stress::run(
        |_| {},
        |number, run, random| {
            if number < 3 {
                return scripts(&LISTS, number, run, random);
            }
            let mut client = run.recorder.client();
            let mut value = 10_000_000 * u64::from(number + 1);
            while !run.is_over() {
                value += 1;
                client.call(blocking::LISTS.next(random, value));
            }
        },
        |client| read_everything(&LISTS, client),
    );
}

/// Also where the script has to wait for transactions of others, and what follows it would not have to.
#[test]
fn nothing_of_a_pipeline_overtakes_a_script() {
    const APPEND: &str = "return redis.call('APPEND', KEYS[1], ARGV[1])";
    for workers in [2, 4] {
        let server = stress::launch(workers).start();
        let until = Instant::now() + Duration::from_millis(700);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let mut client = server.client();
                scope.spawn(move || {
                    while Instant::now() < until {
                        assert_eq!(client.command("MSET k0 1 k1 1 k2 1 k3 1 k4 1").text(), "OK");
                    }
                });
            }
            for number in 0..4 {
                let mut client = server.client();
                scope.spawn(move || {
                    let key = format!("own:{number}");
                    while Instant::now() < until {
                        let pipeline: [&[&str]; 4] = [
                            &["SET", &key, "a"],
                            &["EVAL", APPEND, "1", &key, "b"],
                            &["APPEND", &key, "c"],
                            &["GET", &key],
                        ];
                        let frames: Vec<u8> = pipeline.iter().flat_map(|words| resp::encode(words)).collect();
                        client.send_raw(&frames).expect("a pipeline is sent");
                        let replies: Vec<Value> =
                            pipeline.iter().map(|_| client.read().expect("a reply").value).collect();
                        assert_eq!(replies[3].text(), "abc", "with {workers} workers: {replies:?}");
                    }
                });
            }
        });
    }
}

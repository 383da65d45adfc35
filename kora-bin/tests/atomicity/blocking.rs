//! Blocking commands: each element goes to one client, in its order, to none that has gone, and to who has waited longest.

use crate::commands::{read_everything, Mix};
use crate::harness::Client;
use crate::recorder::{reply, words, Recorded, Words};
use crate::stress::{self, Run};
use fastrand::Rng;
use kora_check::history::Outcome;
use kora_check::queues;
use std::time::{Duration, Instant};

/// Of eight shards these are on 1, 3, 5 and 7.
const QUEUES: [&str; 4] = ["q0", "q1", "q2", "q3"];

/// What is moved from the queues goes into these.
const SECOND: [&str; 2] = ["d0", "d1"];

impl Recorded<'_> {
    /// Sends a blocking command and closes the connection after a while. Returns when the server has noticed: from then on the command must
    /// not happen any more.
    pub fn abandon_blocked(mut self, command: Words, after: Duration) {
        let call = self.recorder.now();
        self.connection.send(&command).expect("a command is sent");
        std::thread::sleep(after);
        if self.connection.has_unread() {
            let value = self.read(std::slice::from_ref(&command));
            let outcome = Outcome::Replied { at: self.recorder.now(), replies: vec![reply(&value)] };
            self.record(call, vec![command], outcome);
            return;
        }
        let until = self.close();
        self.record(call, vec![command], Outcome::Unknown { until });
    }
}

/// Waits until so many clients are blocked.
fn await_blocked(client: &mut Client, count: usize) {
    let wanted = format!("blocked_clients:{count}\r\n");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !client.command("INFO clients").text().contains(&wanted) {
        assert!(Instant::now() < deadline, "{wanted:?}: {}", client.command("INFO clients").text());
    }
}

fn produce(number: u32, run: &Run<'_>, random: &mut Rng) {
    let mut client = run.recorder.client();
    let mut count = 0;
    while !run.is_over() {
        let mut command = words(&format!("RPUSH {}", random.choice(QUEUES).expect("not empty")));
        for _ in 0..random.u32(1..=3) {
            count += 1;
            command.push(format!("{number}.{count}"));
        }
        if random.u32(..1_000) == 0 && run.may_die() {
            client.abandon(vec![command.clone()], vec![command]);
            client = run.recorder.client();
        } else if client.call(command).int() > 8 || random.u32(..8) == 0 {
            // Consumers are to find the queues empty now and then.
            std::thread::sleep(Duration::from_micros(random.u64(..800)));
        }
    }
}

/// Some queues in random order.
fn some(queues: &[&str], random: &mut Rng) -> String {
    let mut queues = queues.to_vec();
    random.shuffle(&mut queues);
    queues.truncate(random.usize(1..=queues.len()));
    queues.join(" ")
}

fn consume(run: &Run<'_>, random: &mut Rng) {
    let mut client = run.recorder.client();
    while !run.is_over() {
        let (queue, second) =
            (random.choice(QUEUES).expect("not empty"), random.choice(SECOND).expect("not empty"));
        // Short, so that they pass often, or long, so that who is not served at once is noticed.
        let timeout = if random.u32(..4) == 0 { 0.4 } else { f64::from(random.u32(1..10)) / 1000.0 };
        let kind = random.u32(..12);
        let blocking = match kind {
            0..=4 => format!("BLPOP {} {timeout}", some(&QUEUES, random)),
            5 | 6 => format!("BLPOP {} {timeout}", some(&SECOND, random)),
            7 => format!("BLPOP {} {} {timeout}", some(&SECOND, random), some(&QUEUES, random)),
            8 | 9 => format!("BLMOVE {queue} {second} LEFT RIGHT {timeout}"),
            10 => format!("LMOVE {queue} {second} LEFT RIGHT"),
            _ => format!("LPOP {queue} {}", random.u32(1..4)),
        };
        if kind < 10 && random.u32(..60) == 0 && run.may_die() {
            let mut command = words(&blocking);
            *command.last_mut().expect("a timeout") = "0".to_owned();
            client.abandon_blocked(command, Duration::from_micros(random.u64(..3_000)));
            client = run.recorder.client();
        } else {
            client.call(words(&blocking));
        }
    }
}

#[test]
fn elements_of_queues_are_delivered_once_and_in_order() {
    let histories = stress::run_judged_by(
        &[stress::QUEUES],
        |_| {},
        |number, run, random| if number < 2 { produce(number, run, random) } else { consume(run, random) },
        |client| {
            for queue in QUEUES.iter().chain(&SECOND) {
                while client.call(words(&format!("LPOP {queue}"))).bytes().is_some() {}
            }
        },
    );
    for history in histories {
        let judged = queues::check(&history).expect("it was judged");
        assert_eq!(judged.queues, QUEUES.len() + SECOND.len());
        assert!(judged.delivered > 0 && judged.remaining <= stress::DEATHS_MAX as usize, "{judged:?}");
    }
}

/// Blocking commands among others that change lists.
pub const LISTS: Mix = Mix {
    keys: &["k0", "k1", "k2", "k3"],
    command: |choice, a, b, value| match choice % 20 {
        0..=2 => format!("RPUSH {a} {value}"),
        3 => format!("LPUSH {a} {value}.1 {value}.2"),
        4 => format!("BLPOP {a} {b} 0.005"),
        5 => format!("BRPOP {b} {a} 0.003"),
        6 => format!("BLPOP {a} 0.4"),
        7 | 8 => format!("BLMOVE {a} {b} LEFT RIGHT 0.004"),
        9 => format!("BLMOVE {a} {a} LEFT RIGHT 0.4"),
        10 => format!("BRPOPLPUSH {a} {b} 0.4"),
        11 | 12 => format!("RENAME {a} {b}"),
        13 => format!("COPY {a} {b} REPLACE"),
        14 => format!("DEL {a} {b}"),
        15 => format!("LRANGE {a} 0 -1"),
        16 => format!("LMOVE {a} {b} RIGHT LEFT"),
        17 => format!("RPOP {a} 2"),
        18 => format!("EXISTS {a} {b}"),
        _ => format!("LLEN {a}"),
    },
};

/// Lists that appear by RENAME, COPY and moves wake who waits for them, and go away again.
#[test]
fn blocked_clients_are_served_at_the_moment_of_the_change() {
    stress::run(
        |_| {},
        |number, run, random| {
            let mut client = run.recorder.client();
            let mut value = 10_000_000 * u64::from(number + 1);
            while !run.is_over() {
                value += 1;
                client.call(LISTS.next(random, value));
            }
        },
        |client| read_everything(&LISTS, client),
    );
}

/// Who came first is served first, on whichever executors the connections and the key are; who has gone or was served elsewhere is passed over.
#[test]
fn waiters_are_served_in_the_order_of_their_arrival() {
    for workers in [2, 4, 8] {
        let server = stress::launch(workers).start();
        let mut other = server.client();
        let mut waiters: Vec<Client> = (0..9).map(|_| server.client()).collect();
        for (at, waiter) in waiters.iter_mut().enumerate() {
            // Some wait for two keys.
            let keys: &[&str] = if at % 3 == 1 { &["BLPOP", "q0", "q1", "0"] } else { &["BLPOP", "q0", "0"] };
            waiter.send(keys).expect("a command is sent");
            await_blocked(&mut other, at + 1);
        }
        // The fifth goes away; the second is served by its other key.
        drop(waiters.remove(4));
        await_blocked(&mut other, 8);
        assert_eq!(other.command("RPUSH q1 other").int(), 1);
        assert_eq!(waiters.remove(1).read().expect("an element").value.items()[1].text(), "other");
        // All at once, then one by one.
        assert_eq!(other.command("RPUSH q0 0 1 2").int(), 3);
        for element in 3..7 {
            assert_eq!(other.command(&format!("RPUSH q0 {element}")).int(), 1);
        }
        for (at, waiter) in waiters.iter_mut().enumerate() {
            let value = waiter.read().expect("an element").value;
            assert_eq!(value.items()[1].text(), at.to_string(), "with {workers} workers");
        }
        assert_eq!(other.command("EXISTS q0 q1").int(), 0);
        drop(waiters);
        drop(other);
        stress::assert_nothing_held(&server);
    }
}

//! Histories for the tests: written down as lines, or made at random.

#![allow(dead_code)]

use kora_check::command::{Command, Reply};
use kora_check::history::{History, Operation, Outcome};
use kora_check::keyspace::Keyspace;
use proptest::prelude::*;

/// A history as lines of `CLIENT CALL RESPONSE COMMAND -> REPLY`, with `;` between commands that are atomic together. A response of `-` says that none
/// came, `-90` that none came and the operation was over by 90. Replies: `OK`, `nil`, `:1`, `(WRONGTYPE)`, `[a b]`, everything else a string.
pub fn history(lines: &str) -> History {
    let mut history = History::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.splitn(4, ' ');
        let client = words.next().unwrap().parse().unwrap();
        let call = words.next().unwrap().parse().unwrap();
        let response = words.next().unwrap();
        let (mut commands, mut replies) = (Vec::new(), Vec::new());
        for command in words.next().unwrap().split(';') {
            let (command, reply) = command.split_once("->").unwrap_or((command, ""));
            commands.push(command.split_whitespace().collect::<Vec<_>>());
            replies.push(parse_reply(reply.trim()));
        }
        let outcome = match response.strip_prefix('-') {
            Some("") => Outcome::Unknown { until: u64::MAX },
            Some(until) => Outcome::Unknown { until: until.parse().unwrap() },
            None => Outcome::Replied { at: response.parse().unwrap(), replies },
        };
        history.add(client, call, &commands, outcome).unwrap();
    }
    history
}

fn parse_reply(text: &str) -> Reply {
    if let Some(items) = text.strip_prefix('[') {
        return Reply::Array(items.trim_end_matches(']').split_whitespace().map(parse_reply).collect());
    }
    match text {
        "OK" => Reply::ok(),
        "nil" => Reply::Nil,
        _ => match text.strip_prefix(':') {
            Some(number) => Reply::Int(number.parse().unwrap()),
            None if text.starts_with('(') => Reply::error(text.trim_matches(['(', ')'])),
            None => Reply::bulk(text),
        },
    }
}

/// One operation of a random history before it has a time and a reply.
#[derive(Clone, Debug)]
pub struct Draft {
    pub client: u32,
    pub commands: Vec<Vec<String>>,
    /// How much earlier than its moment it is called, and how much later it ends, at most.
    pub before: u64,
    pub after: u64,
    pub fate: Fate,
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Replied,
    /// It happened, and its client never knew.
    ReplyLost,
    /// It never happened.
    CallLost,
}

/// Time between the moments of two operations.
pub const STEP: u64 = 10;

/// Runs the operations one after the other and lets them appear to overlap.
pub fn perform(drafts: &[Draft]) -> History {
    let mut history = History::new();
    let more = (0..8).map(|number| format!("k{number}"));
    let names = KEYS.iter().map(|name| name.to_string()).chain(more);
    let keys: Vec<_> = names.map(|name| history.key(name.as_bytes())).collect();
    let mut keyspace = Keyspace::empty(&keys);
    let moment = |at: usize| (at as u64 + 10) * STEP;
    // A client that got no reply goes on as another client.
    let mut renamed: std::collections::HashMap<u32, u32> = Default::default();
    let mut last_end: std::collections::HashMap<u32, u64> = Default::default();
    for (at, draft) in drafts.iter().enumerate() {
        let client = draft.client + 100 * renamed.get(&draft.client).copied().unwrap_or(0);
        let next = drafts[at + 1..].iter().position(|other| other.client == draft.client);
        let latest = next.map_or(u64::MAX, |next| moment(at + 1 + next) - 2);
        let call =
            moment(at).saturating_sub(draft.before).max(last_end.get(&client).map_or(0, |end| end + 1));
        let end = (moment(at) + draft.after).min(latest);
        let commands: Vec<Command> = draft
            .commands
            .iter()
            .map(|words| {
                let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
                Command::parse(&words, &mut |name| history.key(name)).unwrap()
            })
            .collect();
        let mut replies = Vec::new();
        if draft.fate != Fate::CallLost {
            replies = commands.iter().map(|command| keyspace.execute(command)).collect();
        }
        let outcome = match draft.fate {
            Fate::Replied => Outcome::Replied { at: end, replies },
            _ => {
                *renamed.entry(draft.client).or_default() += 1;
                Outcome::Unknown { until: if draft.after % 2 == 0 { end } else { u64::MAX } }
            }
        };
        last_end.insert(client, end);
        history.push(Operation { client, call, commands, outcome });
    }
    history
}

/// The keys of random histories.
pub const KEYS: [&str; 3] = ["x", "y", "z"];

/// Operations of any kind on few keys; values are numbers, each new.
pub fn drafts(count: usize, clients: u32, spread: u64) -> impl Strategy<Value = Vec<Draft>> {
    let one = (0..clients, any::<u32>(), any::<u32>(), 0..=spread, 0..=spread, 0..40u32);
    prop::collection::vec(one, 1..=count).prop_map(|all| {
        let drafts = all.into_iter().enumerate();
        drafts
            .map(|(at, (client, a, b, before, after, fate))| {
                let mut commands = vec![command(a, at)];
                if b % 5 == 0 {
                    commands.push(command(b / 5, at + 1_000_000));
                }
                let fate = match fate {
                    0 => Fate::ReplyLost,
                    1 => Fate::CallLost,
                    _ => Fate::Replied,
                };
                Draft { client, commands, before, after, fate }
            })
            .collect()
    })
}

/// Operations that write each value once and delete nothing.
pub fn unique_drafts(count: usize, clients: u32, spread: u64) -> impl Strategy<Value = Vec<Draft>> {
    let one = (0..clients, any::<u32>(), 0..=spread, 0..=spread);
    prop::collection::vec(one, 1..=count).prop_map(|all| {
        let drafts = all.into_iter().enumerate();
        drafts
            .map(|(at, (client, choice, before, after))| {
                let [a, b] = two_keys(choice / 7);
                let (v, w) = (format!("{at}a"), format!("{at}b"));
                let words: &[&str] = match choice % 7 {
                    0 => &["SET", a, &v],
                    1 | 2 => &["MSET", a, &v, b, &w],
                    3 => &["GETSET", a, &v],
                    4 => &["GET", a],
                    _ => &["MGET", a, b],
                };
                let commands = vec![words.iter().map(|word| word.to_string()).collect()];
                Draft { client, commands, before, after, fate: Fate::Replied }
            })
            .collect()
    })
}

fn two_keys(choice: u32) -> [&'static str; 2] {
    let a = choice as usize % KEYS.len();
    let b = (a + 1 + choice as usize / KEYS.len() % (KEYS.len() - 1)) % KEYS.len();
    [KEYS[a], KEYS[b]]
}

fn command(choice: u32, at: usize) -> Vec<String> {
    let [a, b] = two_keys(choice / 32);
    let (v, w) = (at.to_string(), (at + 500_000).to_string());
    let words: &[&str] = match choice % 32 {
        0 | 1 => &["SET", a, &v],
        2 | 3 => &["GET", a],
        4 => &["INCR", a],
        5 => &["DEL", a, b],
        6 | 7 => &["MSET", a, &v, b, &w],
        8 | 9 => &["MGET", a, b],
        10 => &["MSETNX", a, &v, b, &w],
        11 => &["RENAME", a, b],
        12 => &["RENAMENX", a, b],
        13 => &["COPY", a, b, "REPLACE"],
        14 => &["GETSET", a, &v],
        15 => &["EXISTS", a, b],
        16 => &["RPUSH", a, &v, &w],
        17 => &["LPOP", a],
        18 => &["LMOVE", a, b, "LEFT", "RIGHT"],
        19 => &["LRANGE", a, "0", "-1"],
        20 => &["SADD", a, "m", "n"],
        21 => &["SMOVE", a, b, "m"],
        22 => &["SMEMBERS", a],
        23 => &["SUNIONSTORE", a, a, b],
        24 => &["SDIFFSTORE", b, a, b],
        25 => &["BITOP", "XOR", a, a, b],
        26 => &["DEL", a],
        27 => &["BLPOP", a, b, "0.20000001"],
        28 => &["GETDEL", a],
        29 => &["SETNX", a, &v],
        30 => &["SCARD", a],
        _ => &["APPEND", a, "!"],
    };
    words.iter().map(|word| word.to_string()).collect()
}

/// Whether there is an order that explains all replies: every order is tried. For a handful of operations.
pub fn has_explanation(history: &History) -> bool {
    let mut keys: Vec<_> = history.operations().iter().flat_map(Operation::keys).collect();
    keys.sort_unstable();
    keys.dedup();
    follow(history.operations(), &mut Vec::new(), &Keyspace::empty(&keys))
}

fn follow(operations: &[Operation], happened: &mut Vec<usize>, state: &Keyspace) -> bool {
    let missing = |at: &usize| !happened.contains(at);
    let open: Vec<usize> = (0..operations.len()).filter(missing).collect();
    if open.iter().all(|&at| operations[at].replies().is_none()) {
        return true;
    }
    for &at in &open {
        // Nothing may be over before this begins: neither by its response nor because it can no longer happen.
        let latest_passed = happened.iter().map(|&at| operations[at].earliest()).max().unwrap_or(0);
        if operations[at].latest() < latest_passed {
            continue;
        }
        let late = open.iter().any(|&other| {
            other != at
                && operations[other].replies().is_some()
                && operations[other].latest() < operations[at].earliest()
        });
        if late {
            continue;
        }
        let mut next = state.clone();
        let mut explained = |(place, command): (usize, &Command)| match operations[at].replies() {
            Some(replies) => next.explains(command, &replies[place]),
            None => {
                next.execute(command);
                true
            }
        };
        if !operations[at].commands.iter().enumerate().all(&mut explained) {
            continue;
        }
        happened.push(at);
        if follow(operations, happened, &next) {
            return true;
        }
        happened.pop();
    }
    false
}

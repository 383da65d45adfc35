//! Random commands are answered alike.
//!
//! They go to the servers in pipelined batches; all replies must be equal. After a batch with a mismatch everything is flushed, so that
//! each reported mismatch stands for itself.

use super::harness::random::{Random, KEYS, STREAM_KEYS};
use super::harness::{resp, Client, Value};
use super::notation::{escaped, show};
use super::script::Comparison;
use super::{reduced, Party};

const BATCH: usize = 40;
const BATCHES: usize = 500;
const MISMATCHES_MAX: usize = 20;

/// Commands whose replies are in the order of hashes, or may be.
const UNORDERED: &[&str] = &[
    "keys",
    "hgetall",
    "hkeys",
    "hvals",
    "hrandfield",
    "hscan",
    "smembers",
    "spop",
    "srandmember",
    "sscan",
    "sinter",
    "sunion",
    "sdiff",
    "sort_ro",
];

/// Commands with errors that Redis 8 gives in other words than 7.
const REWORDED: &[&str] = &["xread", "xreadgroup", "zrank", "zrevrank"];

/// Commands that take more arguments since 7.2.
const NEWER_ARITY: &[&str] = &["zrank", "zrevrank"];

/// Runs the batches of one seed; the mismatches as text.
pub fn compare(reference: &mut Party, subject: &mut Party, seed: u64) -> Vec<String> {
    compare_batches(reference, subject, seed, &|_| Vec::new())
}

/// The same with the commands in transactions of one to eight.
pub fn compare_transactions(reference: &mut Party, subject: &mut Party, seed: u64) -> Vec<String> {
    compare_batches(reference, subject, seed, &|random| {
        let mut sizes = Vec::new();
        while sizes.iter().sum::<usize>() < BATCH {
            sizes.push(1 + random.below(8));
        }
        sizes
    })
}

/// The reply of a server to the next command of a batch.
type NextReply<'p> = dyn FnMut() -> Result<Value, String> + 'p;

/// The replies of both servers to a command, or why there is none.
type BothReplies = Result<(Value, Value), String>;

/// The replies of both servers to a batch, each with the number of its command: one after the other, or as the elements of transactions of
/// these sizes.
fn replies_to(
    count: usize,
    sizes: &[usize],
    [ours, theirs]: [&mut NextReply<'_>; 2],
) -> Vec<(usize, BothReplies)> {
    let mut both = || Ok((ours()?, theirs()?));
    if sizes.is_empty() {
        return (0..count).map(|number| (number, both())).collect();
    }
    let mut replies = Vec::new();
    let mut start = 0;
    for size in sizes {
        let end = (start + size).min(count);
        if start == end {
            break;
        }
        // To MULTI.
        replies.push((start, both()));
        let mut queued = Vec::new();
        for number in start..end {
            let answer = both();
            match &answer {
                Ok((Value::Simple(_), Value::Simple(_))) => queued.push(number),
                _ => replies.push((number, answer)),
            }
        }
        match both() {
            Ok((Value::Array(ours), Value::Array(theirs)))
                if ours.len() == queued.len() && theirs.len() == queued.len() =>
            {
                let elements = ours.into_iter().zip(theirs);
                replies.extend(queued.into_iter().zip(elements.map(Ok)));
            }
            other => replies.push((end - 1, other)),
        }
        start = end;
    }
    replies
}

fn compare_batches(
    reference: &mut Party,
    subject: &mut Party,
    seed: u64,
    sizes: &dyn Fn(&mut Random) -> Vec<usize>,
) -> Vec<String> {
    let mut random = Random::new(seed);
    let mut found = Vec::new();
    let mut flush = true;
    let mut history: Vec<String> = Vec::new();
    for batch in 0..BATCHES {
        if flush {
            for party in [&mut *reference, &mut *subject] {
                let client = connection(party);
                assert_eq!(client.command("SELECT 0"), Value::Simple(b"OK".to_vec()));
                assert_eq!(client.command("FLUSHALL"), Value::Simple(b"OK".to_vec()));
            }
            history.clear();
        }
        flush = false;
        let mut commands: Vec<Vec<String>> = (0..BATCH).map(|_| random.command()).collect();
        let sizes = sizes(&mut random);
        if !sizes.is_empty() {
            // An arity of which the reference knows nothing yet would end one transaction and not the other.
            let is_newer =
                |command: &&mut Vec<String>| NEWER_ARITY.contains(&&*command[0].to_ascii_lowercase());
            for command in commands.iter_mut().filter(is_newer) {
                command.truncate(3);
            }
        }
        let mut frames: Vec<u8> = Vec::new();
        let mut rest = &commands[..];
        for size in sizes.iter().copied().chain([BATCH]) {
            let (now, later) = rest.split_at(size.min(rest.len()));
            if !sizes.is_empty() && !now.is_empty() {
                frames.extend(resp::encode(&["MULTI"]));
            }
            frames.extend(now.iter().flat_map(|command| resp::encode(command)));
            if !sizes.is_empty() && !now.is_empty() {
                frames.extend(resp::encode(&["EXEC"]));
            }
            rest = later;
        }
        for party in [&mut *reference, &mut *subject] {
            connection(party).send_raw(&frames).expect("a batch is sent");
        }
        let mut of_reference =
            || connection(reference).read().map(|reply| reply.value).map_err(|error| error.to_string());
        let mut of_subject =
            || connection(subject).read().map(|reply| reply.value).map_err(|error| error.to_string());
        let replies = replies_to(commands.len(), &sizes, [&mut of_reference, &mut of_subject]);
        for (number, replies) in replies {
            let command = &commands[number];
            let shown: Vec<String> =
                command.iter().map(|word| format!("\"{}\"", escaped(word.as_bytes()))).collect();
            let shown = shown.join(" ");
            let (ours, theirs) = match replies {
                Ok(replies) => replies,
                Err(error) => {
                    found.push(format!(
                        "seed {seed}, batch {batch}, command {number}: {shown}\n    no reply: {error}"
                    ));
                    return found;
                }
            };
            let comparison = if UNORDERED.iter().any(|name| command[0].eq_ignore_ascii_case(name)) {
                Comparison::Sorted
            } else if REWORDED.iter().any(|name| command[0].eq_ignore_ascii_case(name)) {
                Comparison::ErrorPrefix
            } else {
                Comparison::Bytes
            };
            let equal = reduced(&ours, comparison) == reduced(&theirs, comparison);
            let allowed = is_newer_encoding(&ours, &theirs) || is_undetermined(&command[0], &ours, &theirs);
            if !equal && !allowed && !flush {
                // What touched the same keys, and what moved whole databases.
                let related = |line: &&String| {
                    let about = |word: &String| {
                        (KEYS.contains(&word.as_str()) || STREAM_KEYS.contains(&word.as_str()))
                            && line.contains(&format!("\"{word}\""))
                    };
                    command.iter().any(about) || line.contains("\"swapdb\"") || line.contains("\"select\"")
                };
                let before: Vec<String> = history.iter().rev().filter(related).take(8).cloned().collect();
                let before = before.into_iter().rev().collect::<Vec<_>>().join("\n        ");
                found.push(format!(
                    "seed {seed}, batch {batch}: {shown}\n    expected {}\n    got      {}\n    after\n        {before}",
                    show(&ours),
                    show(&theirs)
                ));
                flush = true;
            }
            history.push(format!("{shown}  =>  {}", show(&ours)));
        }
        if found.len() >= MISMATCHES_MAX {
            break;
        }
    }
    found
}

/// Since 7.2 short lists and small sets of strings are listpacks, which Debian's 7.0 does not know; case files with the answers
/// of Redis 8 tell when. And SORT of a sorted set leaves a skiplist behind in Redis, where here it only reads.
fn is_newer_encoding(reference: &Value, subject: &Value) -> bool {
    let bulk = |value: &Value| value.bytes().map(<[u8]>::to_vec);
    let (older, newer) = (bulk(reference), bulk(subject));
    newer.as_deref() == Some(b"listpack")
        && matches!(older.as_deref(), Some(b"quicklist") | Some(b"hashtable") | Some(b"skiplist"))
}

/// Redis 8 does not take white space before a number for part of it when it sorts, and takes numbers that are too large. And
/// the order of equal elements of a set is that of its hashes: texts are compared up to a zero byte.
fn is_undetermined(command: &str, reference: &Value, subject: &Value) -> bool {
    let refused =
        |value: &Value| value.bytes().is_some_and(|text| text.ends_with(b"can't be converted into double"));
    let has_zero = |value: &Value| match value {
        Value::Array(items) => items.iter().any(|item| item.bytes() == Some(b"\0")),
        _ => false,
    };
    let same = || reduced(reference, Comparison::Sorted) == reduced(subject, Comparison::Sorted);
    command.eq_ignore_ascii_case("sort")
        && (refused(reference) != refused(subject) || has_zero(reference) && same())
}

fn connection(party: &mut Party) -> &mut Client {
    party.connection(1).expect("a connection")
}

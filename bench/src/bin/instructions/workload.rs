//! The requests of a case: those that make the keyspace, and those that are counted.

use clap::ValueEnum;
use kora_engine::slot::Slot;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Case {
    /// GET of a key that is there.
    GetHit,
    /// GET of a key that is not.
    GetMiss,
    /// SET of a key that is there, with a value of the same length.
    SetOverwrite,
    /// SET of a key that is not there: the table grows to twice its size.
    SetNew,
    /// INCR of a key that is there.
    Incr,
}

/// Bytes of a key.
const KEY_LEN: usize = 16;
/// What INCR finds: eight digits, as long as the short values.
const NUMBER: &str = "10000000";

/// Requests, as they arrive: each element is what one receive delivers.
pub struct Workload {
    /// Makes the keyspace, and warms what is kept for reuse.
    pub before: Vec<Vec<u8>>,
    /// What is counted: one command per key, in an order that has nothing to do with that of the keys' making.
    pub counted: Vec<Vec<u8>>,
    /// Bytes of the reply to each counted command.
    pub reply_len: usize,
}

impl Workload {
    /// A workload over `keys` keys that all belong to the first of `executors`. The same arguments give the same bytes.
    pub fn new(case: Case, keys: u32, value_len: usize, pipeline: usize, executors: u16) -> Workload {
        let value = if case == Case::Incr { NUMBER.to_owned() } else { "v".repeat(value_len) };
        let there = own_keys("key", keys, executors);
        let mut named = match case {
            Case::GetMiss | Case::SetNew => own_keys("new", keys, executors),
            _ => there.clone(),
        };
        fastrand::Rng::with_seed(1).shuffle(&mut named);
        let mut before: Vec<Vec<u8>> = there.iter().map(|key| request(&["SET", key, &value])).collect();
        // A GET or two, so that a buffer for replies of that size is in the pool.
        before.extend(there.iter().take(2 * pipeline).map(|key| request(&["GET", key])));
        let counted: Vec<Vec<u8>> = named
            .iter()
            .map(|key| match case {
                Case::GetHit | Case::GetMiss => request(&["GET", key]),
                Case::SetOverwrite | Case::SetNew => request(&["SET", key, &value]),
                Case::Incr => request(&["INCR", key]),
            })
            .collect();
        let reply_len = match case {
            Case::GetHit => format!("${value_len}\r\n").len() + value_len + 2,
            Case::GetMiss => "$-1\r\n".len(),
            Case::SetOverwrite | Case::SetNew => "+OK\r\n".len(),
            Case::Incr => ":\r\n".len() + NUMBER.len(),
        };
        Workload { before: batches(before, pipeline), counted: batches(counted, pipeline), reply_len }
    }
}

/// The first `count` keys that belong to the first executor.
fn own_keys(prefix: &str, count: u32, executors: u16) -> Vec<String> {
    let digits = KEY_LEN - prefix.len();
    (0u64..)
        .map(|n| format!("{prefix}{n:0digits$}"))
        .filter(|key| Slot::of(key.as_bytes()).shard(executors) == 0)
        .take(count as usize)
        .collect()
}

fn request(args: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n{arg}\r\n", arg.len()).as_bytes());
    }
    bytes
}

fn batches(requests: Vec<Vec<u8>>, pipeline: usize) -> Vec<Vec<u8>> {
    requests.chunks(pipeline).map(<[_]>::concat).collect()
}

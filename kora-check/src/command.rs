//! The commands that histories consist of, and their replies.
//!
//! Those that have a meaning for atomicity: single keys and several, strings, lists and sets, moves between keys. What they do is in
//! [`crate::keyspace`].

use crate::history::{Bytes, History};
use std::fmt;

/// A key of a [`History`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(u32);

impl Key {
    pub(crate) fn new(index: usize) -> Key {
        Key(u32::try_from(index).expect("fewer than 2^32 keys"))
    }

    /// Its place among the keys of the history.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A reply, without the differences between RESP2 and RESP3.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reply {
    /// A null of any kind.
    Nil,
    /// A status, such as OK.
    Status(Bytes),
    /// An integer.
    Int(i64),
    /// A string.
    Bulk(Bytes),
    /// An array or a set.
    Array(Vec<Reply>),
    /// An error: the first word of its message is compared.
    Error(Bytes),
}

impl Reply {
    /// The status OK.
    pub fn ok() -> Reply {
        Reply::Status(Bytes::from(&b"OK"[..]))
    }

    /// A string.
    pub fn bulk(text: impl AsRef<[u8]>) -> Reply {
        Reply::Bulk(text.as_ref().into())
    }

    /// An array of strings.
    pub fn bulks<A: AsRef<[u8]>>(texts: &[A]) -> Reply {
        Reply::Array(texts.iter().map(Reply::bulk).collect())
    }

    /// An error with this message.
    pub fn error(message: impl AsRef<[u8]>) -> Reply {
        let word = message.as_ref().split(|&byte| byte == b' ').next().unwrap_or_default();
        Reply::Error(word.into())
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Nil => out.write_str("nil"),
            Reply::Status(text) | Reply::Bulk(text) => write!(out, "{}", shown(text)),
            Reply::Error(text) => write!(out, "({}...)", shown(text)),
            Reply::Int(number) => write!(out, "{number}"),
            Reply::Array(items) => {
                out.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    write!(out, "{}{item}", if at > 0 { " " } else { "" })?;
                }
                out.write_str("]")
            }
        }
    }
}

/// Bytes as a word of a story.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const LENGTH_MAX: usize = 40;
    let text = bytes[..bytes.len().min(LENGTH_MAX)].escape_ascii().to_string();
    let quoted = if text.is_empty() || text.contains(' ') { format!("\"{text}\"") } else { text };
    if bytes.len() > LENGTH_MAX {
        format!("{quoted}...({} bytes)", bytes.len())
    } else {
        quoted
    }
}

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Where LPUSH puts.
    Left,
    /// Where RPUSH puts.
    Right,
}

/// What is made of several sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetOperation {
    /// Members of any.
    Union,
    /// Members of all.
    Intersection,
    /// Members of the first that are in none of the others.
    Difference,
}

/// What BITOP makes of several strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BitOperation {
    /// Bits set in all.
    And,
    /// Bits set in any.
    Or,
    /// Bits set in an odd number.
    Xor,
}

/// A command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are the arguments of Redis's commands
pub enum Command {
    Get(Key),
    Set(Key, Bytes),
    SetNx(Key, Bytes),
    GetSet(Key, Bytes),
    GetDel(Key),
    Append(Key, Bytes),
    /// INCR, DECR, INCRBY, DECRBY.
    IncrBy(Key, i64),
    /// DEL, UNLINK.
    Del(Vec<Key>),
    /// EXISTS, TOUCH.
    Exists(Vec<Key>),
    MGet(Vec<Key>),
    MSet(Vec<(Key, Bytes)>),
    MSetNx(Vec<(Key, Bytes)>),
    Rename {
        from: Key,
        to: Key,
        only_new: bool,
    },
    Copy {
        from: Key,
        to: Key,
        replace: bool,
    },
    Push {
        key: Key,
        end: End,
        elements: Vec<Bytes>,
    },
    /// Without and with a count.
    Pop {
        key: Key,
        end: End,
        count: Option<usize>,
    },
    /// BLPOP, BRPOP. The keys with their names, which the reply has. The timeout is in units of the history's times, see
    /// [`crate::history::Operation::earliest`].
    BlockingPop {
        keys: Vec<(Key, Bytes)>,
        end: End,
        timeout: u64,
    },
    /// LMOVE, RPOPLPUSH and, with a timeout, their blocking forms: nothing when the source is empty.
    Move {
        from: Key,
        from_end: End,
        to: Key,
        to_end: End,
        timeout: Option<u64>,
    },
    /// LRANGE key 0 -1
    Elements(Key),
    LLen(Key),
    SAdd(Key, Vec<Bytes>),
    SRem(Key, Vec<Bytes>),
    SMove {
        from: Key,
        to: Key,
        member: Bytes,
    },
    SMembers(Key),
    SCard(Key),
    /// SUNION, SINTER, SDIFF.
    SetRead(SetOperation, Vec<Key>),
    /// SUNIONSTORE, SINTERSTORE, SDIFFSTORE.
    SetStore(SetOperation, Key, Vec<Key>),
    BitOp(BitOperation, Key, Vec<Key>),
    /// Without options; scores are integers.
    ZAdd(Key, Vec<(i64, Bytes)>),
    ZIncrBy(Key, i64, Bytes),
    ZRem(Key, Vec<Bytes>),
    ZScore(Key, Bytes),
    /// ZRANGE key 0 -1
    ZRange(Key),
    /// ZRANGESTORE to from 0 -1
    ZRangeStore(Key, Key),
    ZCard(Key),
    /// ZPOPMIN without a count.
    ZPopMin(Key),
    /// BZPOPMIN; like [`Command::BlockingPop`].
    BlockingZPopMin {
        keys: Vec<(Key, Bytes)>,
        timeout: u64,
    },
    /// ZUNIONSTORE and ZINTERSTORE, with sums of scores, and ZDIFFSTORE.
    ZStore(SetOperation, Key, Vec<Key>),
    FlushAll,
}

/// A command that the checker has no specification of, as its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotUnderstood(pub String);

impl fmt::Display for NotUnderstood {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the checker does not know this command: {}", self.0)
    }
}

impl std::error::Error for NotUnderstood {}

/// Nanoseconds of a timeout in seconds; for ever is the longest time.
fn timeout(seconds: &[u8]) -> Option<u64> {
    let seconds: f64 = std::str::from_utf8(seconds).ok()?.parse().ok()?;
    Some(if seconds == 0.0 { u64::MAX } else { (seconds * 1e9) as u64 })
}

/// The other way round.
fn seconds(timeout: u64) -> f64 {
    if timeout == u64::MAX {
        0.0
    } else {
        timeout as f64 / 1e9
    }
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn list_end(word: &[u8]) -> Option<End> {
    match &word.to_ascii_uppercase()[..] {
        b"LEFT" => Some(End::Left),
        b"RIGHT" => Some(End::Right),
        _ => None,
    }
}

impl Command {
    /// Reads the words of a command as a client sends them. Timeouts become nanoseconds.
    ///
    /// # Errors
    /// A command, an option or a number of arguments that is not among those of [`Command`].
    pub fn parse(words: &[&[u8]], key: &mut dyn FnMut(&[u8]) -> Key) -> Result<Command, NotUnderstood> {
        Command::known(words, key)
            .ok_or_else(|| NotUnderstood(words.iter().map(|word| shown(word)).collect::<Vec<_>>().join(" ")))
    }

    fn known(words: &[&[u8]], key: &mut dyn FnMut(&[u8]) -> Key) -> Option<Command> {
        use Command::*;
        let (name, rest) = words.split_first()?;
        let name = name.to_ascii_uppercase();
        let bytes = |word: &[u8]| Bytes::from(word);
        let all = |words: &[&[u8]]| words.iter().map(|word| Bytes::from(*word)).collect::<Vec<_>>();
        Some(match (&name[..], rest) {
            (b"GET", [k]) => Get(key(k)),
            (b"SET", [k, value]) => Set(key(k), bytes(value)),
            (b"SETNX", [k, value]) => SetNx(key(k), bytes(value)),
            (b"GETSET", [k, value]) => GetSet(key(k), bytes(value)),
            (b"GETDEL", [k]) => GetDel(key(k)),
            (b"APPEND", [k, value]) => Append(key(k), bytes(value)),
            (b"INCR", [k]) => IncrBy(key(k), 1),
            (b"DECR", [k]) => IncrBy(key(k), -1),
            (b"INCRBY", [k, by]) => IncrBy(key(k), number(by)?),
            (b"DECRBY", [k, by]) => IncrBy(key(k), number::<i64>(by)?.checked_neg()?),
            (b"DEL" | b"UNLINK", [_, ..]) => Del(rest.iter().map(|k| key(k)).collect()),
            (b"EXISTS" | b"TOUCH", [_, ..]) => Exists(rest.iter().map(|k| key(k)).collect()),
            (b"MGET", [_, ..]) => MGet(rest.iter().map(|k| key(k)).collect()),
            (b"MSET" | b"MSETNX", [_, _, ..]) if rest.len() % 2 == 0 => {
                let pairs = rest.chunks(2).map(|pair| (key(pair[0]), bytes(pair[1]))).collect();
                if name.len() == 4 {
                    MSet(pairs)
                } else {
                    MSetNx(pairs)
                }
            }
            (b"RENAME", [from, to]) => Rename { from: key(from), to: key(to), only_new: false },
            (b"RENAMENX", [from, to]) => Rename { from: key(from), to: key(to), only_new: true },
            (b"COPY", [from, to]) => Copy { from: key(from), to: key(to), replace: false },
            (b"COPY", [from, to, option]) if option.eq_ignore_ascii_case(b"REPLACE") => {
                Copy { from: key(from), to: key(to), replace: true }
            }
            (b"LPUSH", [k, elements @ ..]) if !elements.is_empty() => {
                Push { key: key(k), end: End::Left, elements: all(elements) }
            }
            (b"RPUSH", [k, elements @ ..]) if !elements.is_empty() => {
                Push { key: key(k), end: End::Right, elements: all(elements) }
            }
            (b"LPOP", [k]) => Pop { key: key(k), end: End::Left, count: None },
            (b"RPOP", [k]) => Pop { key: key(k), end: End::Right, count: None },
            (b"LPOP", [k, count]) => Pop { key: key(k), end: End::Left, count: Some(number(count)?) },
            (b"RPOP", [k, count]) => Pop { key: key(k), end: End::Right, count: Some(number(count)?) },
            (b"BLPOP" | b"BRPOP", [keys @ .., seconds]) if !keys.is_empty() => BlockingPop {
                keys: keys.iter().map(|k| (key(k), bytes(k))).collect(),
                end: if name[1] == b'L' { End::Left } else { End::Right },
                timeout: timeout(seconds)?,
            },
            (b"LMOVE", [from, to, a, b]) | (b"BLMOVE", [from, to, a, b, _]) => Move {
                from: key(from),
                from_end: list_end(a)?,
                to: key(to),
                to_end: list_end(b)?,
                timeout: rest.get(4).map(|seconds| timeout(seconds).ok_or(())).transpose().ok()?,
            },
            (b"RPOPLPUSH", [from, to]) | (b"BRPOPLPUSH", [from, to, _]) => Move {
                from: key(from),
                from_end: End::Right,
                to: key(to),
                to_end: End::Left,
                timeout: rest.get(2).map(|seconds| timeout(seconds).ok_or(())).transpose().ok()?,
            },
            (b"LRANGE", [k, b"0", b"-1"]) => Elements(key(k)),
            (b"LLEN", [k]) => LLen(key(k)),
            (b"SADD", [k, members @ ..]) if !members.is_empty() => SAdd(key(k), all(members)),
            (b"SREM", [k, members @ ..]) if !members.is_empty() => SRem(key(k), all(members)),
            (b"SMOVE", [from, to, member]) => SMove { from: key(from), to: key(to), member: bytes(member) },
            (b"SMEMBERS", [k]) => SMembers(key(k)),
            (b"SCARD", [k]) => SCard(key(k)),
            (b"SUNION" | b"SINTER" | b"SDIFF", [_, ..]) => {
                SetRead(set_operation(&name), rest.iter().map(|k| key(k)).collect())
            }
            (b"SUNIONSTORE" | b"SINTERSTORE" | b"SDIFFSTORE", [to, _, ..]) => {
                SetStore(set_operation(&name), key(to), rest[1..].iter().map(|k| key(k)).collect())
            }
            (b"BITOP", [operation, to, keys @ ..]) if !keys.is_empty() => {
                let operation = match &operation.to_ascii_uppercase()[..] {
                    b"AND" => BitOperation::And,
                    b"OR" => BitOperation::Or,
                    b"XOR" => BitOperation::Xor,
                    _ => return None,
                };
                BitOp(operation, key(to), keys.iter().map(|k| key(k)).collect())
            }
            (b"ZADD", [k, pairs @ ..]) if !pairs.is_empty() && pairs.len() % 2 == 0 => {
                let pairs = pairs.chunks(2).map(|pair| Some((number(pair[0])?, bytes(pair[1]))));
                ZAdd(key(k), pairs.collect::<Option<_>>()?)
            }
            (b"ZINCRBY", [k, by, member]) => ZIncrBy(key(k), number(by)?, bytes(member)),
            (b"ZREM", [k, members @ ..]) if !members.is_empty() => ZRem(key(k), all(members)),
            (b"ZSCORE", [k, member]) => ZScore(key(k), bytes(member)),
            (b"ZRANGE", [k, b"0", b"-1"]) => ZRange(key(k)),
            (b"ZRANGESTORE", [to, from, b"0", b"-1"]) => ZRangeStore(key(to), key(from)),
            (b"ZCARD", [k]) => ZCard(key(k)),
            (b"ZPOPMIN", [k]) => ZPopMin(key(k)),
            (b"BZPOPMIN", [keys @ .., seconds]) if !keys.is_empty() => BlockingZPopMin {
                keys: keys.iter().map(|k| (key(k), bytes(k))).collect(),
                timeout: timeout(seconds)?,
            },
            (b"ZUNIONSTORE" | b"ZINTERSTORE" | b"ZDIFFSTORE", [to, count, keys @ ..])
                if number(count) == Some(keys.len()) && !keys.is_empty() =>
            {
                ZStore(set_operation(&name), key(to), keys.iter().map(|k| key(k)).collect())
            }
            (b"FLUSHALL", []) => FlushAll,
            _ => return None,
        })
    }

    /// The keys it names, those written and those read, some twice.
    pub fn keys(&self) -> Vec<Key> {
        use Command::*;
        match self {
            Get(key) | Set(key, _) | SetNx(key, _) | GetSet(key, _) | GetDel(key) | Append(key, _) => {
                vec![*key]
            }
            IncrBy(key, _) | Elements(key) | LLen(key) | SMembers(key) | SCard(key) => vec![*key],
            SAdd(key, _) | SRem(key, _) | Push { key, .. } | Pop { key, .. } => vec![*key],
            Del(keys) | Exists(keys) | MGet(keys) | SetRead(_, keys) => keys.clone(),
            MSet(pairs) | MSetNx(pairs) | BlockingPop { keys: pairs, .. } => {
                pairs.iter().map(|(key, _)| *key).collect()
            }
            Rename { from, to, .. } | Copy { from, to, .. } => vec![*from, *to],
            Move { from, to, .. } | SMove { from, to, .. } => vec![*from, *to],
            ZAdd(key, _) | ZIncrBy(key, ..) | ZRem(key, _) | ZScore(key, _) => vec![*key],
            ZRange(key) | ZCard(key) | ZPopMin(key) => vec![*key],
            BlockingZPopMin { keys, .. } => keys.iter().map(|(key, _)| *key).collect(),
            ZRangeStore(to, from) => vec![*to, *from],
            SetStore(_, to, keys) | BitOp(_, to, keys) | ZStore(_, to, keys) => {
                let mut all = keys.clone();
                all.push(*to);
                all
            }
            FlushAll => Vec::new(),
        }
    }

    /// The values, elements and members that it brings along to be stored as they are.
    pub(crate) fn written(&self) -> impl Iterator<Item = &Bytes> {
        use Command::*;
        let (one, pairs, all): (Option<&Bytes>, &[(Key, Bytes)], &[Bytes]) = match self {
            Set(_, value) | SetNx(_, value) | GetSet(_, value) => (Some(value), &[], &[]),
            MSet(pairs) | MSetNx(pairs) => (None, pairs, &[]),
            Push { elements, .. } | SAdd(_, elements) => (None, &[], elements),
            _ => (None, &[], &[]),
        };
        one.into_iter().chain(pairs.iter().map(|(_, value)| value)).chain(all)
    }

    /// Whether it never changes anything.
    pub fn is_read_only(&self) -> bool {
        use Command::*;
        matches!(
            self,
            Get(_) | Exists(_) | MGet(_) | Elements(_) | LLen(_) | SMembers(_) | SCard(_) | SetRead(..)
        ) || matches!(self, ZScore(..) | ZRange(_) | ZCard(_))
    }

    /// Sorts what a server may answer in any order.
    pub(crate) fn bring_to_order(&self, reply: &mut Reply) {
        if let (Command::SMembers(_) | Command::SetRead(..), Reply::Array(members)) = (self, reply) {
            members.sort();
        }
    }

    /// The command as a client would type it.
    pub fn text(&self, history: &History) -> String {
        use Command::*;
        let name = |key: &Key| shown(history.name(*key));
        let names = |keys: &[Key]| keys.iter().map(&name).collect::<Vec<_>>().join(" ");
        let words = |all: &[Bytes]| all.iter().map(|word| shown(word)).collect::<Vec<_>>().join(" ");
        let pairs = |pairs: &[(Key, Bytes)]| {
            let pairs = pairs.iter().map(|(key, value)| format!("{} {}", name(key), shown(value)));
            pairs.collect::<Vec<_>>().join(" ")
        };
        let side = |end: &End| if *end == End::Left { "LEFT" } else { "RIGHT" };
        let letter = |end: &End| if *end == End::Left { "L" } else { "R" };
        match self {
            Get(key) => format!("GET {}", name(key)),
            Set(key, value) => format!("SET {} {}", name(key), shown(value)),
            SetNx(key, value) => format!("SETNX {} {}", name(key), shown(value)),
            GetSet(key, value) => format!("GETSET {} {}", name(key), shown(value)),
            GetDel(key) => format!("GETDEL {}", name(key)),
            Append(key, value) => format!("APPEND {} {}", name(key), shown(value)),
            IncrBy(key, 1) => format!("INCR {}", name(key)),
            IncrBy(key, by) => format!("INCRBY {} {by}", name(key)),
            Del(keys) => format!("DEL {}", names(keys)),
            Exists(keys) => format!("EXISTS {}", names(keys)),
            MGet(keys) => format!("MGET {}", names(keys)),
            MSet(all) => format!("MSET {}", pairs(all)),
            MSetNx(all) => format!("MSETNX {}", pairs(all)),
            Rename { from, to, only_new } => {
                format!("RENAME{} {} {}", if *only_new { "NX" } else { "" }, name(from), name(to))
            }
            Copy { from, to, replace } => {
                format!("COPY {} {}{}", name(from), name(to), if *replace { " REPLACE" } else { "" })
            }
            Push { key, end, elements } => format!("{}PUSH {} {}", letter(end), name(key), words(elements)),
            Pop { key, end, count } => {
                let count = count.map(|count| format!(" {count}")).unwrap_or_default();
                format!("{}POP {}{count}", letter(end), name(key))
            }
            BlockingPop { keys, end, timeout } => {
                let names = keys.iter().map(|(_, name)| shown(name)).collect::<Vec<_>>().join(" ");
                format!("B{}POP {names} {}", letter(end), seconds(*timeout))
            }
            Move { from, from_end, to, to_end, timeout } => {
                let blocking = if timeout.is_some() { "B" } else { "" };
                let seconds = timeout.map(|timeout| format!(" {}", seconds(timeout))).unwrap_or_default();
                let (ends, from, to) = ((side(from_end), side(to_end)), name(from), name(to));
                format!("{blocking}LMOVE {from} {to} {} {}{seconds}", ends.0, ends.1)
            }
            Elements(key) => format!("LRANGE {} 0 -1", name(key)),
            LLen(key) => format!("LLEN {}", name(key)),
            SAdd(key, members) => format!("SADD {} {}", name(key), words(members)),
            SRem(key, members) => format!("SREM {} {}", name(key), words(members)),
            SMove { from, to, member } => format!("SMOVE {} {} {}", name(from), name(to), shown(member)),
            SMembers(key) => format!("SMEMBERS {}", name(key)),
            SCard(key) => format!("SCARD {}", name(key)),
            SetRead(operation, keys) => format!("S{} {}", set_operation_name(*operation), names(keys)),
            SetStore(operation, to, keys) => {
                format!("S{}STORE {} {}", set_operation_name(*operation), name(to), names(keys))
            }
            BitOp(operation, to, keys) => {
                let operation = match operation {
                    BitOperation::And => "AND",
                    BitOperation::Or => "OR",
                    BitOperation::Xor => "XOR",
                };
                format!("BITOP {operation} {} {}", name(to), names(keys))
            }
            ZAdd(key, all) => {
                let all = all.iter().map(|(score, member)| format!(" {score} {}", shown(member)));
                format!("ZADD {}{}", name(key), all.collect::<String>())
            }
            ZIncrBy(key, by, member) => format!("ZINCRBY {} {by} {}", name(key), shown(member)),
            ZRem(key, members) => format!("ZREM {} {}", name(key), words(members)),
            ZScore(key, member) => format!("ZSCORE {} {}", name(key), shown(member)),
            ZRange(key) => format!("ZRANGE {} 0 -1", name(key)),
            ZRangeStore(to, from) => format!("ZRANGESTORE {} {} 0 -1", name(to), name(from)),
            ZCard(key) => format!("ZCARD {}", name(key)),
            ZPopMin(key) => format!("ZPOPMIN {}", name(key)),
            BlockingZPopMin { keys, timeout } => {
                let names = keys.iter().map(|(_, name)| shown(name)).collect::<Vec<_>>().join(" ");
                format!("BZPOPMIN {names} {}", seconds(*timeout))
            }
            ZStore(operation, to, keys) => {
                let operation = set_operation_name(*operation);
                format!("Z{operation}STORE {} {} {}", name(to), keys.len(), names(keys))
            }
            FlushAll => "FLUSHALL".to_owned(),
        }
    }
}

/// Of a command's name in upper case.
fn set_operation(name: &[u8]) -> SetOperation {
    match name[1] {
        b'U' => SetOperation::Union,
        b'I' => SetOperation::Intersection,
        _ => SetOperation::Difference,
    }
}

fn set_operation_name(operation: SetOperation) -> &'static str {
    match operation {
        SetOperation::Union => "UNION",
        SetOperation::Intersection => "INTER",
        SetOperation::Difference => "DIFF",
    }
}

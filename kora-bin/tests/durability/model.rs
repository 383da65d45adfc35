//! The data of one connection, and what commands make of it: an obviously right Redis for the few commands of the workload.
//!
//! No key of one connection is used by another one, so what a connection has left behind depends on nothing but how many of its commands were kept.

use crate::harness::{resp, Client, Value};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The words of a command.
pub type Words = Vec<String>;

/// The value of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    Text(String),
    List(VecDeque<String>),
    Hash(BTreeMap<String, String>),
    Set(BTreeSet<String>),
    Scored(BTreeMap<String, i64>),
    /// Entries of one field each.
    Stream(Vec<(String, String)>),
}

/// A key's value, and when it expires (milliseconds since 1970).
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub data: Data,
    pub expires_ms: Option<u64>,
}

/// All keys of a connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keys(pub BTreeMap<String, Entry>);

macro_rules! access {
    ($name:ident, $variant:ident, $type:ty) => {
        fn $name(&mut self, key: &str) -> &mut $type {
            match self.entry(key, || Data::$variant(Default::default())) {
                Data::$variant(data) => data,
                other => panic!("{key} holds {other:?}"),
            }
        }
    };
}

impl Keys {
    access!(text, Text, String);
    access!(list, List, VecDeque<String>);
    access!(hash, Hash, BTreeMap<String, String>);
    access!(set, Set, BTreeSet<String>);
    access!(scored, Scored, BTreeMap<String, i64>);
    access!(stream, Stream, Vec<(String, String)>);

    fn entry(&mut self, key: &str, new: impl FnOnce() -> Data) -> &mut Data {
        let entry = self.0.entry(key.to_owned());
        &mut entry.or_insert_with(|| Entry { data: new(), expires_ms: None }).data
    }

    /// A collection without elements is no key; a stream without entries is one.
    fn drop_if_empty(&mut self, key: &str) {
        let empty = self.0.get(key).is_some_and(|entry| match &entry.data {
            Data::List(list) => list.is_empty(),
            Data::Hash(hash) => hash.is_empty(),
            Data::Set(set) => set.is_empty(),
            Data::Scored(scores) => scores.is_empty(),
            Data::Text(_) | Data::Stream(_) => false,
        });
        if empty {
            self.0.remove(key);
        }
    }

    fn add(&mut self, key: &str, amount: i64) {
        let text = self.text(key);
        let number: i64 = if text.is_empty() { 0 } else { text.parse().expect("a number") };
        *text = (number + amount).to_string();
    }

    fn put(&mut self, key: &str, text: &str) {
        self.0.insert(key.to_owned(), Entry { data: Data::Text(text.to_owned()), expires_ms: None });
    }

    /// What a command does.
    pub fn apply(&mut self, command: &[String]) {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let number = |text: &str| text.parse::<i64>().expect("a number");
        match words[..] {
            ["SET", key, value] => self.put(key, value),
            ["SET", key, value, "PXAT", at] => {
                self.put(key, value);
                self.0.get_mut(key).expect("just put").expires_ms = Some(at.parse().expect("a time"));
            }
            ["APPEND", key, value] => self.text(key).push_str(value),
            ["INCR", key] => self.add(key, 1),
            ["INCRBY", key, amount] => self.add(key, number(amount)),
            ["MSET", ref pairs @ ..] => pairs.chunks(2).for_each(|pair| self.put(pair[0], pair[1])),
            ["DEL", ref keys @ ..] => keys.iter().for_each(|key| drop(self.0.remove(*key))),
            ["RENAME", from, to] => {
                if let Some(entry) = self.0.remove(from) {
                    self.0.insert(to.to_owned(), entry);
                }
            }
            ["PEXPIREAT", key, at] => {
                if let Some(entry) = self.0.get_mut(key) {
                    entry.expires_ms = Some(at.parse().expect("a time"));
                }
            }
            ["PERSIST", key] => {
                if let Some(entry) = self.0.get_mut(key) {
                    entry.expires_ms = None;
                }
            }
            ["RPUSH", key, ref values @ ..] => {
                self.list(key).extend(values.iter().map(ToString::to_string));
            }
            ["LPUSH", key, value] => self.list(key).push_front(value.to_owned()),
            ["LPOP", key] => {
                self.list(key).pop_front();
                self.drop_if_empty(key);
            }
            // Only ever the first so many.
            ["LTRIM", key, "0", last] => {
                self.list(key).truncate(number(last) as usize + 1);
                self.drop_if_empty(key);
            }
            ["LMOVE", from, to, "LEFT", "RIGHT"] => {
                if let Some(value) = self.list(from).pop_front() {
                    self.list(to).push_back(value);
                }
                self.drop_if_empty(from);
            }
            ["HSET", key, ref pairs @ ..] => {
                let pairs = pairs.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned()));
                self.hash(key).extend(pairs);
            }
            ["HDEL", key, field] => {
                self.hash(key).remove(field);
                self.drop_if_empty(key);
            }
            ["HINCRBY", key, field, amount] => {
                let value = self.hash(key).entry(field.to_owned()).or_insert_with(|| "0".to_owned());
                *value = (number(value) + number(amount)).to_string();
            }
            ["SADD", key, ref members @ ..] => {
                self.set(key).extend(members.iter().map(ToString::to_string));
            }
            ["SREM", key, member] => {
                self.set(key).remove(member);
                self.drop_if_empty(key);
            }
            ["SMOVE", from, to, member] => {
                if self.set(from).remove(member) {
                    self.set(to).insert(member.to_owned());
                }
                self.drop_if_empty(from);
                self.drop_if_empty(to);
            }
            ["ZADD", key, score, member] => {
                self.scored(key).insert(member.to_owned(), number(score));
            }
            ["ZINCRBY", key, amount, member] => {
                *self.scored(key).entry(member.to_owned()).or_insert(0) += number(amount);
            }
            ["ZREM", key, member] => {
                self.scored(key).remove(member);
                self.drop_if_empty(key);
            }
            ["XADD", key, id, _, value] => self.stream(key).push((id.to_owned(), value.to_owned())),
            ["XTRIM", key, "MAXLEN", most] => {
                if self.0.contains_key(key) {
                    let entries = self.stream(key);
                    let kept = entries.len().saturating_sub(number(most) as usize);
                    entries.drain(..kept);
                }
            }
            ["FLUSHDB"] => self.0.clear(),
            _ => panic!("the model does not know {words:?}"),
        }
    }

    /// Reads all keys that begin so.
    pub fn read(client: &mut Client, prefix: &str) -> Keys {
        let names = client.call(&["KEYS", &format!("{prefix}*")]);
        let names: Vec<String> = names.items().iter().map(Value::text).collect();
        let mut frames = Vec::new();
        for name in &names {
            frames.extend(resp::encode(&["TYPE", name]));
            frames.extend(resp::encode(&["PEXPIRETIME", name]));
        }
        client.send_raw(&frames).expect("questions are sent");
        let next = |client: &mut Client| client.read().expect("an answer").value;
        let heads: Vec<(String, i64)> =
            names.iter().map(|_| (next(client).text(), next(client).int())).collect();
        let mut frames = Vec::new();
        for (name, (kind, _)) in names.iter().zip(&heads) {
            frames.extend(match kind.as_str() {
                "string" => resp::encode(&["GET", name]),
                "list" => resp::encode(&["LRANGE", name, "0", "-1"]),
                "hash" => resp::encode(&["HGETALL", name]),
                "set" => resp::encode(&["SMEMBERS", name]),
                "zset" => resp::encode(&["ZRANGE", name, "0", "-1", "WITHSCORES"]),
                "stream" => resp::encode(&["XRANGE", name, "-", "+"]),
                other => panic!("{name} is a {other}"),
            });
        }
        client.send_raw(&frames).expect("questions are sent");
        let mut keys = BTreeMap::new();
        for (name, (kind, expires)) in names.into_iter().zip(heads) {
            let data = data_of(&kind, &next(client));
            let expires_ms = u64::try_from(expires).ok();
            keys.insert(name, Entry { data, expires_ms });
        }
        Keys(keys)
    }
}

fn data_of(kind: &str, value: &Value) -> Data {
    if kind == "string" {
        return Data::Text(value.text());
    }
    let items = value.items();
    let texts = || items.iter().map(Value::text);
    let pairs = || items.chunks(2).map(|pair| (pair[0].text(), pair[1].text()));
    match kind {
        "list" => Data::List(texts().collect()),
        "hash" => Data::Hash(pairs().collect()),
        "set" => Data::Set(texts().collect()),
        "zset" => {
            Data::Scored(pairs().map(|(member, score)| (member, score.parse().expect("whole"))).collect())
        }
        _ => Data::Stream(
            items.iter().map(|entry| (entry.items()[0].text(), entry.items()[1].items()[1].text())).collect(),
        ),
    }
}

#[test]
fn the_model_does_what_the_server_does() {
    let server = crate::harness::Launch::kora().start();
    let mut client = server.client();
    let seed = fastrand::u64(..);
    let mut keys = Keys::default();
    let mut source = crate::workload::Source::new(0, 0, fastrand::Rng::with_seed(seed));
    for number in 0..3_000 {
        let unit = source.next();
        for words in &unit.wire {
            client.call(words);
        }
        for effect in &unit.effects {
            keys.apply(effect);
        }
        if number % 50 == 0 || number > 2_990 {
            let found = Keys::read(&mut client, &source.prefix());
            assert_eq!(found, keys, "after {:?} with seed {seed}", unit.wire);
        }
    }
}

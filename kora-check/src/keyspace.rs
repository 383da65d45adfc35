//! The sequential specification: what a single-threaded server answers.
//!
//! As plain as it can be, because everything else is judged by it. A state is cheap to clone (values are shared until they are changed),
//! as the search keeps thousands.

use crate::command::{BitOperation, Command, End, Key, Reply, SetOperation};
use crate::history::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What a key holds. Collections are never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Nil,
    /// A string.
    String(Bytes),
    /// A list.
    List(Arc<VecDeque<Bytes>>),
    /// A set.
    Set(Arc<BTreeSet<Bytes>>),
    /// A sorted set: the score of each member.
    SortedSet(Arc<Scores>),
}

type Scores = BTreeMap<Bytes, i64>;

/// The values of some keys of a history.
#[derive(Clone, Debug)]
pub struct Keyspace {
    /// Where in `values` a key is, by [`Key::index`]. The same for all states of one search.
    places: Arc<[usize]>,
    values: Vec<Value>,
}

/// States of the same keys are compared.
impl PartialEq for Keyspace {
    fn eq(&self, other: &Keyspace) -> bool {
        self.values == other.values
    }
}

impl Eq for Keyspace {}

impl Hash for Keyspace {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.values.hash(hasher);
    }
}

/// The key holds another type than the command wants.
struct WrongType;

type Answer = Result<Reply, WrongType>;

impl Keyspace {
    /// These keys, all distinct, hold nothing. Others must not be named by the commands executed.
    pub fn empty(keys: &[Key]) -> Keyspace {
        let count = keys.iter().map(|key| key.index() + 1).max().unwrap_or(0);
        let mut places = vec![usize::MAX; count];
        for (place, key) in keys.iter().enumerate() {
            places[key.index()] = place;
        }
        Keyspace { places: places.into(), values: vec![Value::Nil; keys.len()] }
    }

    /// The value of a key.
    pub fn value(&self, key: Key) -> &Value {
        &self.values[self.places[key.index()]]
    }

    /// Executes one command.
    pub fn execute(&mut self, command: &Command) -> Reply {
        self.answer(command).unwrap_or_else(|WrongType| Reply::error("WRONGTYPE"))
    }

    /// Whether executing a command now can have had this reply; executes it, whatever comes of it.
    pub fn explains(&mut self, command: &Command, reply: &Reply) -> bool {
        // Who is blocked for several keys is served by the one that was pushed to first, even if the same change (a script, or another blocked
        // client's move) has then brought an earlier one to life.
        if let (Command::BlockingPop { keys, end, timeout }, Reply::Array(pair)) = (command, reply) {
            let from = keys.iter().find(|(_, name)| pair.first() == Some(&Reply::Bulk(name.clone())));
            return from.is_some_and(|from| {
                let keys = vec![from.clone()];
                self.execute(&Command::BlockingPop { keys, end: *end, timeout: *timeout }) == *reply
            });
        }
        if let (Command::BlockingZPopMin { keys, timeout }, Reply::Array(popped)) = (command, reply) {
            let from = keys.iter().find(|(_, name)| popped.first() == Some(&Reply::Bulk(name.clone())));
            return from.is_some_and(|from| {
                let keys = vec![from.clone()];
                self.execute(&Command::BlockingZPopMin { keys, timeout: *timeout }) == *reply
            });
        }
        self.execute(command) == *reply
    }

    fn answer(&mut self, command: &Command) -> Answer {
        use Command::*;
        Ok(match command {
            Get(key) => bulk(self.string(*key)?),
            Set(key, value) => {
                self.put(*key, Value::String(value.clone()));
                Reply::ok()
            }
            SetNx(key, value) => {
                let is_new = !self.exists(*key);
                if is_new {
                    self.put(*key, Value::String(value.clone()));
                }
                Reply::Int(i64::from(is_new))
            }
            GetSet(key, value) => {
                let old = bulk(self.string(*key)?);
                self.put(*key, Value::String(value.clone()));
                old
            }
            GetDel(key) => {
                let old = bulk(self.string(*key)?);
                self.put(*key, Value::Nil);
                old
            }
            Append(key, suffix) => {
                let mut whole = self.string(*key)?.map(|value| value.to_vec()).unwrap_or_default();
                whole.extend_from_slice(suffix);
                let length = whole.len();
                self.put(*key, Value::String(whole.into()));
                Reply::Int(length as i64)
            }
            IncrBy(key, by) => {
                let number = match self.string(*key)? {
                    None => Some(0),
                    Some(text) => integer(&text),
                };
                match number.and_then(|number| number.checked_add(*by)) {
                    None => Reply::error("ERR"),
                    Some(sum) => {
                        self.put(*key, Value::String(sum.to_string().into_bytes().into()));
                        Reply::Int(sum)
                    }
                }
            }
            Del(keys) => Reply::Int(count(keys, |key| {
                let existed = self.exists(key);
                self.put(key, Value::Nil);
                existed
            })),
            Exists(keys) => Reply::Int(count(keys, |key| self.exists(key))),
            MGet(keys) => {
                // What is not a string is nil to MGET.
                Reply::Array(keys.iter().map(|key| bulk(self.string(*key).unwrap_or(None))).collect())
            }
            MSet(pairs) => {
                self.put_all(pairs);
                Reply::ok()
            }
            MSetNx(pairs) => {
                let is_new = !pairs.iter().any(|(key, _)| self.exists(*key));
                if is_new {
                    self.put_all(pairs);
                }
                Reply::Int(i64::from(is_new))
            }
            Rename { from, to, only_new } => match self.value(*from).clone() {
                Value::Nil => Reply::error("ERR"),
                _ if *only_new && self.exists(*to) => Reply::Int(0),
                value => {
                    self.put(*from, Value::Nil);
                    self.put(*to, value);
                    if *only_new {
                        Reply::Int(1)
                    } else {
                        Reply::ok()
                    }
                }
            },
            Copy { from, to, replace } => {
                if from == to {
                    return Ok(Reply::error("ERR"));
                }
                let copied = self.exists(*from) && (*replace || !self.exists(*to));
                if copied {
                    self.put(*to, self.value(*from).clone());
                }
                Reply::Int(i64::from(copied))
            }
            Push { key, end, elements } => {
                let mut list = self.list(*key)?;
                let whole = Arc::make_mut(&mut list);
                elements.iter().for_each(|element| push(whole, *end, element.clone()));
                let length = whole.len();
                self.put(*key, Value::List(list));
                Reply::Int(length as i64)
            }
            Pop { key, end, count: None } => bulk(self.pop(*key, *end)?),
            Pop { key, end, count: Some(count) } => {
                if self.list(*key)?.is_empty() {
                    return Ok(Reply::Nil);
                }
                let mut popped = Vec::new();
                while popped.len() < *count {
                    match self.pop(*key, *end)? {
                        Some(element) => popped.push(Reply::Bulk(element)),
                        None => break,
                    }
                }
                Reply::Array(popped)
            }
            BlockingPop { keys, end, .. } => {
                for (key, name) in keys {
                    if let Some(element) = self.pop(*key, *end)? {
                        return Ok(Reply::Array(vec![Reply::Bulk(name.clone()), Reply::Bulk(element)]));
                    }
                }
                Reply::Nil
            }
            Move { from, from_end, to, to_end, .. } => {
                if self.list(*from)?.is_empty() {
                    return Ok(Reply::Nil);
                }
                self.list(*to)?;
                let element = self.pop(*from, *from_end)?.expect("the list is not empty");
                let mut list = self.list(*to)?;
                push(Arc::make_mut(&mut list), *to_end, element.clone());
                self.put(*to, Value::List(list));
                Reply::Bulk(element)
            }
            Elements(key) => Reply::Array(self.list(*key)?.iter().cloned().map(Reply::Bulk).collect()),
            LLen(key) => Reply::Int(self.list(*key)?.len() as i64),
            SAdd(key, members) => {
                let mut set = self.set(*key)?;
                let whole = Arc::make_mut(&mut set);
                let added = members.iter().filter(|member| whole.insert((*member).clone())).count();
                self.put_set(*key, set);
                Reply::Int(added as i64)
            }
            SRem(key, members) => {
                let mut set = self.set(*key)?;
                let whole = Arc::make_mut(&mut set);
                let removed = members.iter().filter(|member| whole.remove(*member)).count();
                self.put_set(*key, set);
                Reply::Int(removed as i64)
            }
            SMove { from, to, member } => {
                if !self.exists(*from) {
                    return Ok(Reply::Int(0));
                }
                let mut source = self.set(*from)?;
                self.set(*to)?;
                if !source.contains(member) {
                    return Ok(Reply::Int(0));
                }
                Arc::make_mut(&mut source).remove(member);
                self.put_set(*from, source);
                let mut target = self.set(*to)?;
                Arc::make_mut(&mut target).insert(member.clone());
                self.put_set(*to, target);
                Reply::Int(1)
            }
            SMembers(key) => members(&*self.set(*key)?),
            SCard(key) => Reply::Int(self.set(*key)?.len() as i64),
            SetRead(operation, keys) => members(&self.combine(*operation, keys)?),
            SetStore(operation, to, keys) => {
                let result = self.combine(*operation, keys)?;
                let size = result.len();
                self.put_set(*to, Arc::new(result));
                Reply::Int(size as i64)
            }
            BitOp(operation, to, keys) => {
                let mut strings = Vec::new();
                for key in keys {
                    strings.push(self.string(*key)?.unwrap_or_default());
                }
                let length = strings.iter().map(|string| string.len()).max().unwrap_or(0);
                let byte = |at: usize| {
                    let bytes = strings.iter().map(|string| string.get(at).copied().unwrap_or(0));
                    match operation {
                        BitOperation::And => bytes.reduce(|a, b| a & b),
                        BitOperation::Or => bytes.reduce(|a, b| a | b),
                        BitOperation::Xor => bytes.reduce(|a, b| a ^ b),
                    }
                    .unwrap_or(0)
                };
                let result: Bytes = (0..length).map(byte).collect();
                self.put(*to, if length == 0 { Value::Nil } else { Value::String(result) });
                Reply::Int(length as i64)
            }
            ZAdd(key, pairs) => {
                let mut scores = self.scores(*key)?;
                let whole = Arc::make_mut(&mut scores);
                let added =
                    pairs.iter().filter(|(score, member)| whole.insert(member.clone(), *score).is_none());
                let added = added.count();
                self.put_scores(*key, scores);
                Reply::Int(added as i64)
            }
            ZIncrBy(key, by, member) => {
                let mut scores = self.scores(*key)?;
                let score = Arc::make_mut(&mut scores).entry(member.clone()).or_default();
                *score += by;
                let reply = Reply::bulk(score.to_string());
                self.put_scores(*key, scores);
                reply
            }
            ZRem(key, members) => {
                let mut scores = self.scores(*key)?;
                let whole = Arc::make_mut(&mut scores);
                let removed = members.iter().filter(|member| whole.remove(*member).is_some()).count();
                self.put_scores(*key, scores);
                Reply::Int(removed as i64)
            }
            ZScore(key, member) => {
                self.scores(*key)?.get(member).map_or(Reply::Nil, |score| Reply::bulk(score.to_string()))
            }
            ZRange(key) => {
                let scores = self.scores(*key)?;
                let mut members: Vec<(i64, &Bytes)> =
                    scores.iter().map(|(member, score)| (*score, member)).collect();
                members.sort_unstable();
                Reply::Array(members.into_iter().map(|(_, member)| Reply::Bulk(member.clone())).collect())
            }
            ZRangeStore(to, from) => {
                let scores = self.scores(*from)?;
                let size = scores.len();
                self.put_scores(*to, scores);
                Reply::Int(size as i64)
            }
            ZCard(key) => Reply::Int(self.scores(*key)?.len() as i64),
            ZPopMin(key) => match self.pop_min(*key)? {
                Some((member, score)) => {
                    Reply::Array(vec![Reply::Bulk(member), Reply::bulk(score.to_string())])
                }
                None => Reply::Array(Vec::new()),
            },
            BlockingZPopMin { keys, .. } => {
                for (key, name) in keys {
                    if let Some((member, score)) = self.pop_min(*key)? {
                        let popped = [name.clone(), member].map(Reply::Bulk);
                        return Ok(Reply::Array([&popped[..], &[Reply::bulk(score.to_string())]].concat()));
                    }
                }
                Reply::Nil
            }
            ZStore(operation, to, keys) => {
                let mut all = Vec::new();
                for key in keys {
                    all.push(self.scores_or_members(*key)?);
                }
                let mut result = (*all[0]).clone();
                for scores in &all[1..] {
                    match operation {
                        SetOperation::Union => {
                            scores.iter().for_each(|(member, score)| {
                                *result.entry(member.clone()).or_default() += score
                            });
                        }
                        SetOperation::Intersection => {
                            result.retain(|member, score| {
                                scores.get(member).is_some_and(|other| {
                                    *score += other;
                                    true
                                })
                            });
                        }
                        SetOperation::Difference => result.retain(|member, _| !scores.contains_key(member)),
                    }
                }
                let size = result.len();
                self.put_scores(*to, Arc::new(result));
                Reply::Int(size as i64)
            }
            FlushAll => {
                self.values.fill(Value::Nil);
                Reply::ok()
            }
        })
    }

    fn exists(&self, key: Key) -> bool {
        *self.value(key) != Value::Nil
    }

    fn put(&mut self, key: Key, value: Value) {
        self.values[self.places[key.index()]] = value;
    }

    fn put_set(&mut self, key: Key, set: Arc<BTreeSet<Bytes>>) {
        self.put(key, if set.is_empty() { Value::Nil } else { Value::Set(set) });
    }

    fn put_all(&mut self, pairs: &[(Key, Bytes)]) {
        pairs.iter().for_each(|(key, value)| self.put(*key, Value::String(value.clone())));
    }

    fn string(&self, key: Key) -> Result<Option<Bytes>, WrongType> {
        match self.value(key) {
            Value::Nil => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            _ => Err(WrongType),
        }
    }

    fn list(&self, key: Key) -> Result<Arc<VecDeque<Bytes>>, WrongType> {
        match self.value(key) {
            Value::Nil => Ok(Arc::default()),
            Value::List(list) => Ok(list.clone()),
            _ => Err(WrongType),
        }
    }

    fn set(&self, key: Key) -> Result<Arc<BTreeSet<Bytes>>, WrongType> {
        match self.value(key) {
            Value::Nil => Ok(Arc::default()),
            Value::Set(set) => Ok(set.clone()),
            _ => Err(WrongType),
        }
    }

    fn scores(&self, key: Key) -> Result<Arc<Scores>, WrongType> {
        match self.value(key) {
            Value::Nil => Ok(Arc::default()),
            Value::SortedSet(scores) => Ok(scores.clone()),
            _ => Err(WrongType),
        }
    }

    /// The members of a plain set count 1 each.
    fn scores_or_members(&self, key: Key) -> Result<Arc<Scores>, WrongType> {
        match self.value(key) {
            Value::Set(set) => Ok(Arc::new(set.iter().map(|member| (member.clone(), 1)).collect())),
            _ => self.scores(key),
        }
    }

    fn put_scores(&mut self, key: Key, scores: Arc<Scores>) {
        self.put(key, if scores.is_empty() { Value::Nil } else { Value::SortedSet(scores) });
    }

    /// The member of the lowest score, and of these the first.
    fn pop_min(&mut self, key: Key) -> Result<Option<(Bytes, i64)>, WrongType> {
        let mut scores = self.scores(key)?;
        let Some((score, member)) = scores.iter().map(|(member, score)| (*score, member.clone())).min()
        else {
            return Ok(None);
        };
        Arc::make_mut(&mut scores).remove(&member);
        self.put_scores(key, scores);
        Ok(Some((member, score)))
    }

    fn pop(&mut self, key: Key, end: End) -> Result<Option<Bytes>, WrongType> {
        let mut list = self.list(key)?;
        let whole = Arc::make_mut(&mut list);
        let element = if end == End::Left { whole.pop_front() } else { whole.pop_back() };
        let is_empty = whole.is_empty();
        self.put(key, if is_empty { Value::Nil } else { Value::List(list) });
        Ok(element)
    }

    fn combine(&self, operation: SetOperation, keys: &[Key]) -> Result<BTreeSet<Bytes>, WrongType> {
        let mut sets = Vec::new();
        for key in keys {
            sets.push(self.set(*key)?);
        }
        let mut result = (*sets[0]).clone();
        for set in &sets[1..] {
            match operation {
                SetOperation::Union => result.extend(set.iter().cloned()),
                SetOperation::Intersection => result.retain(|member| set.contains(member)),
                SetOperation::Difference => result.retain(|member| !set.contains(member)),
            }
        }
        Ok(result)
    }
}

/// The number of which this is the only spelling that counts.
fn integer(text: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

fn bulk(text: Option<Bytes>) -> Reply {
    text.map_or(Reply::Nil, Reply::Bulk)
}

fn members(set: &BTreeSet<Bytes>) -> Reply {
    Reply::Array(set.iter().cloned().map(Reply::Bulk).collect())
}

fn push(list: &mut VecDeque<Bytes>, end: End, element: Bytes) {
    if end == End::Left {
        list.push_front(element);
    } else {
        list.push_back(element);
    }
}

fn count(keys: &[Key], mut counts: impl FnMut(Key) -> bool) -> i64 {
    keys.iter().filter(|key| counts(**key)).count() as i64
}

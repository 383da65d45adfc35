//! Runs commands on a shard and reads their replies as values.
//!
//! [`run`] takes a command line at a fixed time ([`NOW`]), [`run_at`] at any time, [`run_args`] takes binary arguments.
//! A command that goes on in slices is resumed until it has answered.

#![allow(dead_code)] // each test file uses its part

use kora_engine::change::{Change, ChangeSink, ChangeValue, DeleteReason, UnixMs};
use kora_engine::command::registry;
use kora_engine::exec::Continuation;
use kora_engine::keyspace::View;
use kora_engine::reply::{Protocol, Reply};
use kora_engine::shard::{Applied, EngineConfig, Shard, ShardId};
use kora_engine::value::{ObjectRef, Type};
use std::sync::{Arc, Mutex};

/// The time of [`run`]: some moment of 2027.
pub const NOW: UnixMs = 1_800_000_000_123;

/// A reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    NullArray,
    Array(Vec<Value>),
    /// Keys and values in turn.
    Map(Vec<Value>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    Double(f64),
    Boolean(bool),
    Verbatim(String, Vec<u8>),
    Raw(Vec<u8>),
}

/// `+OK`.
pub fn ok() -> Value {
    Value::Simple("OK".to_owned())
}

/// A bulk string.
pub fn bulk(bytes: impl AsRef<[u8]>) -> Value {
    Value::Bulk(bytes.as_ref().to_vec())
}

/// An integer.
pub fn int(value: i64) -> Value {
    Value::Integer(value)
}

/// An error, with its code.
pub fn error(text: &str) -> Value {
    Value::Error(text.to_owned())
}

/// An array of bulk strings.
pub fn bulks<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Value {
    Value::Array(items.into_iter().map(bulk).collect())
}

/// An empty shard that owns everything.
pub fn shard() -> Shard {
    shard_with(EngineConfig::default())
}

/// An empty shard with these settings.
pub fn shard_with(config: EngineConfig) -> Shard {
    Shard::new(ShardId { index: 0, count: 1 }, config, 42)
}

/// Runs a command line in database 0 at [`NOW`]. Words are separated by spaces; one in double quotes may hold
/// spaces, and `\xHH`, `\n`, `\r`, `\t`, `\"` and `\\`.
pub fn run(shard: &mut Shard, line: &str) -> Value {
    run_at(shard, NOW, line)
}

/// Runs a command line in database 0.
pub fn run_at(shard: &mut Shard, now: UnixMs, line: &str) -> Value {
    let words = words(line);
    let argv: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    run_args(shard, View { db: 0, now, touch: true }, &argv)
}

/// Runs a command with any arguments, database and time.
pub fn run_args(shard: &mut Shard, view: View, argv: &[&[u8]]) -> Value {
    run_in_frame(shard, view, argv, None)
}

/// Runs a command whose arguments lie in a refcounted buffer.
pub fn run_in_frame(shard: &mut Shard, view: View, argv: &[&[u8]], frame: Option<&bytes::Bytes>) -> Value {
    let command = match registry().resolve(argv) {
        Ok(command) => command,
        Err(error) => return Value::Error(text(error.text())),
    };
    let mut sink = Sink::default();
    match shard.apply(view, command, argv, frame, &mut sink) {
        Applied::Replied => {}
        Applied::Failed(error) => {
            let reply = sink.finish();
            assert_eq!(reply, Value::Error(text(error.text())), "the reply is the error");
            return reply;
        }
        Applied::Later(mut rest) => {
            assert!(sink.is_empty(), "nothing is written before the command has ended");
            while !rest.resume(shard, view.now, 1, &mut sink) {}
        }
    }
    sink.finish()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn words(line: &str) -> Vec<Vec<u8>> {
    let (mut words, mut rest) = (Vec::new(), line.trim_start());
    while !rest.is_empty() {
        let word = if let Some(quoted) = rest.strip_prefix('"') {
            let (word, after) = unquote(quoted);
            rest = after;
            word
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            rest = after;
            word.as_bytes().to_vec()
        };
        words.push(word);
        rest = rest.trim_start();
    }
    words
}

fn unquote(quoted: &str) -> (Vec<u8>, &str) {
    let mut word = Vec::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (word, &quoted[at + 1..]),
            '\\' => match chars.next().expect("an escape has a letter").1 {
                'n' => word.push(b'\n'),
                'r' => word.push(b'\r'),
                't' => word.push(b'\t'),
                'x' => {
                    let mut digit = || chars.next().and_then(|(_, c)| c.to_digit(16)).expect("two digits");
                    word.push((digit() * 16 + digit()) as u8);
                }
                other => word.extend_from_slice(other.to_string().as_bytes()),
            },
            other => word.extend_from_slice(other.to_string().as_bytes()),
        }
    }
    panic!("no closing quote: {quoted}");
}

/// Builds one [`Value`].
#[derive(Default)]
pub struct Sink {
    /// Unfinished aggregates: how many elements they still need, and what they are.
    open: Vec<(usize, Value)>,
    done: Option<Value>,
    pub protocol: Protocol,
}

impl Sink {
    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.done.is_none()
    }

    /// The one reply. Panics when there is none or an aggregate lacks elements.
    pub fn finish(self) -> Value {
        assert!(self.open.is_empty(), "an aggregate lacks elements: {:?}", self.open);
        self.done.expect("a command writes a reply")
    }

    fn put(&mut self, value: Value) {
        let Some((missing, aggregate)) = self.open.last_mut() else {
            assert!(self.done.is_none(), "a command writes one reply: {:?}, then {value:?}", self.done);
            self.done = Some(value);
            return;
        };
        match aggregate {
            Value::Array(items) | Value::Map(items) | Value::Set(items) | Value::Push(items) => {
                items.push(value)
            }
            _ => unreachable!("only aggregates are open"),
        }
        *missing -= 1;
        if *missing == 0 {
            let (_, aggregate) = self.open.pop().expect("it is the last");
            self.put(aggregate);
        }
    }

    fn open(&mut self, len: usize, aggregate: Value) {
        if len == 0 {
            self.put(aggregate);
        } else {
            self.open.push((len, aggregate));
        }
    }
}

impl Reply for Sink {
    fn protocol(&self) -> Protocol {
        self.protocol
    }
    fn simple(&mut self, text: &str) {
        self.put(Value::Simple(text.to_owned()));
    }
    fn error(&mut self, bytes: &[u8]) {
        self.put(Value::Error(text(bytes)));
    }
    fn integer(&mut self, value: i64) {
        self.put(Value::Integer(value));
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.put(bulk(bytes));
    }
    fn null(&mut self) {
        self.put(Value::Null);
    }
    fn null_array(&mut self) {
        self.put(Value::NullArray);
    }
    fn array(&mut self, len: usize) {
        self.open(len, Value::Array(Vec::new()));
    }
    fn map(&mut self, pairs: usize) {
        self.open(pairs * 2, Value::Map(Vec::new()));
    }
    fn set(&mut self, len: usize) {
        self.open(len, Value::Set(Vec::new()));
    }
    fn push(&mut self, len: usize) {
        self.open(len, Value::Push(Vec::new()));
    }
    fn double(&mut self, value: f64) {
        self.put(Value::Double(value));
    }
    fn boolean(&mut self, value: bool) {
        self.put(Value::Boolean(value));
    }
    fn verbatim(&mut self, format: &str, text: &[u8]) {
        self.put(Value::Verbatim(format.to_owned(), text.to_vec()));
    }
    fn raw(&mut self, encoded: &[u8]) {
        self.put(Value::Raw(encoded.to_vec()));
    }
}

/// A change that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnedChange {
    Set {
        db: u16,
        key: Vec<u8>,
        value: OwnedValue,
        expire_at: Option<UnixMs>,
    },
    Append {
        db: u16,
        key: Vec<u8>,
        tail: Vec<u8>,
    },
    SetRange {
        db: u16,
        key: Vec<u8>,
        offset: u32,
        bytes: Vec<u8>,
    },
    Splice {
        db: u16,
        key: Vec<u8>,
        offset: u32,
        removed: u32,
        bytes: Vec<u8>,
    },
    Expire {
        db: u16,
        key: Vec<u8>,
        expire_at: Option<UnixMs>,
    },
    Delete {
        db: u16,
        key: Vec<u8>,
        reason: DeleteReason,
    },
    FlushDb {
        db: u16,
    },
    SwapDb {
        a: u16,
        b: u16,
    },
    /// A change of a collection, as its debug text: kora-persist's tests replay those from their bytes.
    Edit(String),
}

/// A value inside an [`OwnedChange`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnedValue {
    Int(i64),
    Bytes(Vec<u8>),
    Object(Type, Vec<u8>),
}

impl OwnedValue {
    fn of_object(object: ObjectRef<'_>) -> OwnedValue {
        let mut bytes = Vec::new();
        object.with(|object| object.encode(&mut bytes));
        OwnedValue::Object(object.kind(), bytes)
    }
}

impl OwnedChange {
    fn of(change: &Change<'_>) -> OwnedChange {
        match *change {
            Change::Set { db, key, value, expire_at } => OwnedChange::Set {
                db,
                key: key.to_vec(),
                value: match value {
                    ChangeValue::Int(value) => OwnedValue::Int(value),
                    ChangeValue::Bytes(bytes) => OwnedValue::Bytes(bytes.to_vec()),
                    ChangeValue::Object(object) => OwnedValue::of_object(object),
                    ChangeValue::Encoded { kind, bytes } => OwnedValue::Object(kind, bytes.to_vec()),
                },
                expire_at,
            },
            Change::Append { db, key, tail } => {
                OwnedChange::Append { db, key: key.to_vec(), tail: tail.to_vec() }
            }
            Change::SetRange { db, key, offset, bytes } => {
                OwnedChange::SetRange { db, key: key.to_vec(), offset, bytes: bytes.to_vec() }
            }
            Change::Splice { db, key, offset, removed, bytes } => {
                OwnedChange::Splice { db, key: key.to_vec(), offset, removed, bytes: bytes.to_vec() }
            }
            Change::Expire { db, key, expire_at } => OwnedChange::Expire { db, key: key.to_vec(), expire_at },
            Change::Delete { db, key, reason } => OwnedChange::Delete { db, key: key.to_vec(), reason },
            Change::FlushDb { db } => OwnedChange::FlushDb { db },
            Change::SwapDb { a, b } => OwnedChange::SwapDb { a, b },
            #[allow(unreachable_patterns)] // until there is a type with changes of its own
            edit => OwnedChange::Edit(format!("{edit:?}")),
        }
    }

    /// The change, borrowed.
    pub fn as_change(&self) -> Change<'_> {
        match self {
            OwnedChange::Set { db, key, value, expire_at } => Change::Set {
                db: *db,
                key,
                value: match value {
                    OwnedValue::Int(value) => ChangeValue::Int(*value),
                    OwnedValue::Bytes(bytes) => ChangeValue::Bytes(bytes),
                    OwnedValue::Object(kind, bytes) => ChangeValue::Encoded { kind: *kind, bytes },
                },
                expire_at: *expire_at,
            },
            OwnedChange::Append { db, key, tail } => Change::Append { db: *db, key, tail },
            OwnedChange::SetRange { db, key, offset, bytes } => {
                Change::SetRange { db: *db, key, offset: *offset, bytes }
            }
            OwnedChange::Splice { db, key, offset, removed, bytes } => {
                Change::Splice { db: *db, key, offset: *offset, removed: *removed, bytes }
            }
            OwnedChange::Expire { db, key, expire_at } => {
                Change::Expire { db: *db, key, expire_at: *expire_at }
            }
            OwnedChange::Delete { db, key, reason } => Change::Delete { db: *db, key, reason: *reason },
            OwnedChange::FlushDb { db } => Change::FlushDb { db: *db },
            OwnedChange::SwapDb { a, b } => Change::SwapDb { a: *a, b: *b },
            OwnedChange::Edit(edit) => panic!("{edit} is not replayed here"),
        }
    }
}

/// The changes that a shard makes from now on.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<OwnedChange>>>);

impl Recorder {
    /// Listens to a shard.
    pub fn attach(shard: &mut Shard) -> Recorder {
        let recorder = Recorder::default();
        shard.keys.changes.attach(Box::new(recorder.clone()));
        recorder
    }

    /// Takes what has been recorded since the last call.
    pub fn take(&self) -> Vec<OwnedChange> {
        std::mem::take(&mut self.0.lock().expect("no test panics while recording"))
    }
}

impl ChangeSink for Recorder {
    fn change(&mut self, _sequence: u64, change: &Change<'_>) {
        self.0.lock().expect("no test panics while recording").push(OwnedChange::of(change));
    }
}

/// What a key holds, as comparable data.
pub type Held = (Vec<u8>, OwnedValue, Option<UnixMs>);

/// All keys of a database that are alive at `now`, sorted.
pub fn contents(shard: &Shard, db: u16, now: UnixMs) -> Vec<Held> {
    use kora_engine::table::ValueRef;
    let view = View { db, now, touch: false };
    let (mut held, mut position) = (Vec::new(), 0);
    loop {
        position = shard.keys.scan(view, position, 100, &mut |entry| {
            let value = match entry.value() {
                ValueRef::Int(value) => OwnedValue::Int(value),
                ValueRef::Bytes(bytes) => OwnedValue::Bytes(bytes.to_vec()),
                ValueRef::Shared(bytes) => OwnedValue::Bytes(bytes.to_vec()),
                ValueRef::Object(object) => OwnedValue::of_object(object),
            };
            held.push((entry.key().to_vec(), value, entry.expire_at()));
        });
        if position == 0 {
            break;
        }
    }
    held.sort_by(|a, b| a.0.cmp(&b.0));
    held.dedup();
    held
}

/// A command under way: a test resumes it by hand, and does other things between its slices.
pub struct Under {
    work: Option<Box<dyn Continuation>>,
    sink: Sink,
}

/// Begins a command at [`NOW`]. Words are separated by spaces.
pub fn begin(shard: &mut Shard, line: &str) -> Under {
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let command = registry().resolve(&argv).expect("a command");
    let mut sink = Sink::default();
    let work = match shard.apply(View { db: 0, now: NOW, touch: true }, command, &argv, None, &mut sink) {
        Applied::Later(work) => Some(work),
        _ => None,
    };
    Under { work, sink }
}

impl Under {
    /// Whether it has come to its end.
    pub fn is_over(&self) -> bool {
        self.work.is_none()
    }

    /// One slice, the shortest that there is; whether the command is over.
    pub fn resume(&mut self, shard: &mut Shard) -> bool {
        self.resume_for(shard, NOW, 1)
    }

    /// One slice at this time, of so many segments; whether the command is over.
    pub fn resume_for(&mut self, shard: &mut Shard, now: UnixMs, segments: usize) -> bool {
        let over = self.work.as_mut().is_none_or(|work| work.resume(shard, now, segments, &mut self.sink));
        if over {
            self.work = None;
        }
        over
    }

    /// The reply of a command that is over.
    pub fn reply(self) -> Value {
        self.sink.finish()
    }

    /// All the rest at [`NOW`]; the reply.
    pub fn finish(self, shard: &mut Shard) -> Value {
        self.finish_at(shard, NOW)
    }

    /// All the rest at this time; the reply.
    pub fn finish_at(mut self, shard: &mut Shard, now: UnixMs) -> Value {
        while !self.resume_for(shard, now, 1) {}
        self.reply()
    }
}

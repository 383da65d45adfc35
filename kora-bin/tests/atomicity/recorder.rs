//! Writes down what concurrent clients ask and are told, for the checks of `kora-check`.

use crate::harness::{Client, Server, Value};
use kora_check::command::Reply;
use kora_check::history::{History, Outcome};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a command may go on whose client is known to have gone: what was on its way between shards comes to its end.
const GRACE: Duration = Duration::from_millis(200);

/// The words of a command.
pub type Words = Vec<String>;

/// A command in one line; no word has a space in it.
pub fn words(line: &str) -> Words {
    line.split(' ').map(str::to_owned).collect()
}

struct Record {
    client: u32,
    call: u64,
    commands: Vec<Words>,
    outcome: Outcome,
}

/// Collects the operations of all clients of one server.
pub struct Recorder<'a> {
    pub server: &'a Server,
    begin: Instant,
    clients: AtomicU32,
    records: Mutex<Vec<Record>>,
}

impl<'a> Recorder<'a> {
    pub fn new(server: &'a Server) -> Recorder<'a> {
        Recorder {
            server,
            begin: Instant::now(),
            clients: AtomicU32::new(0),
            records: Mutex::new(Vec::new()),
        }
    }

    /// A client whose operations are recorded, on a connection of its own.
    pub fn client(&self) -> Recorded<'_> {
        Recorded {
            recorder: self,
            connection: self.server.client(),
            number: self.clients.fetch_add(1, Ordering::Relaxed),
            records: Vec::new(),
        }
    }

    /// Nanoseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.begin.elapsed().as_nanos() as u64
    }

    /// Everything that was recorded by clients that are no more.
    pub fn history(&self) -> History {
        let mut history = History::new();
        for record in std::mem::take(&mut *self.records.lock().expect("no client has panicked")) {
            history
                .add(record.client, record.call, &record.commands, record.outcome)
                .expect("what the tests send has a specification");
        }
        history
    }
}

/// One client.
pub struct Recorded<'a> {
    pub recorder: &'a Recorder<'a>,
    pub connection: Client,
    number: u32,
    records: Vec<Record>,
}

impl Drop for Recorded<'_> {
    fn drop(&mut self) {
        if let Ok(mut all) = self.recorder.records.lock() {
            all.append(&mut self.records);
        }
    }
}

impl Recorded<'_> {
    pub fn record(&mut self, call: u64, commands: Vec<Words>, outcome: Outcome) {
        self.records.push(Record { client: self.number, call, commands, outcome });
    }

    pub fn read(&mut self, what: &[Words]) -> Value {
        self.connection.read().unwrap_or_else(|error| panic!("{what:?} is answered: {error}")).value
    }

    /// One command.
    pub fn call(&mut self, command: Words) -> Value {
        self.pipeline(vec![command]).remove(0)
    }

    /// Some commands in one write; each is an operation of its own.
    pub fn pipeline(&mut self, commands: Vec<Words>) -> Vec<Value> {
        let call = self.recorder.now();
        self.connection.send_raw(&frames(&commands)).expect("commands are sent");
        let mut values = Vec::with_capacity(commands.len());
        for command in commands {
            let value = self.read(std::slice::from_ref(&command));
            let outcome = Outcome::Replied { at: self.recorder.now(), replies: vec![reply(&value)] };
            self.record(call, vec![command], outcome);
            values.push(value);
        }
        values
    }

    /// Closes the connection; the time at which the server had noticed. There is another one then.
    pub fn close(&mut self) -> u64 {
        let address = format!(" addr={} ", self.connection.local_address());
        self.connection = self.recorder.server.client();
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.connection.command("CLIENT LIST").text().contains(&address) {
            assert!(Instant::now() < deadline, "the server notices that {address} has gone");
        }
        self.recorder.now()
    }

    /// Sends `sent`, which does `commands` at one moment, and closes the connection without waiting for a reply.
    pub fn abandon(mut self, sent: Vec<Words>, commands: Vec<Words>) {
        let call = self.recorder.now();
        self.connection.send_raw(&frames(&sent)).expect("commands are sent");
        let end = self.close();
        self.record(call, commands, Outcome::Unknown { until: end + GRACE.as_nanos() as u64 });
    }
}

/// The commands as they are sent.
pub fn frames(commands: &[Words]) -> Vec<u8> {
    commands.iter().flat_map(|command| crate::harness::resp::encode(command)).collect()
}

/// A reply as the checks see it.
pub fn reply(value: &Value) -> Reply {
    match value {
        Value::NilBulk | Value::NilArray | Value::Null => Reply::Nil,
        Value::Int(number) => Reply::Int(*number),
        Value::Simple(text) => Reply::Status(text[..].into()),
        Value::Bulk(text) => Reply::bulk(text),
        Value::Error(text) => Reply::error(text),
        Value::Array(items) | Value::Set(items) => Reply::Array(items.iter().map(reply).collect()),
        other => panic!("no command of these tests is answered {other:?}"),
    }
}

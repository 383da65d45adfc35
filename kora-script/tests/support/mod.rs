//! Scripts with a handful of commands behind them.
#![allow(dead_code)]

pub mod redis;

use std::collections::BTreeMap;

use kora_engine::reply::Protocol;
use kora_script::{refusals, Interpreter, Running, Script, Step};

/// A store of strings: enough for `redis.call`.
#[derive(Default)]
pub struct Store {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Lines of redis.log.
    pub log: Vec<(u8, Vec<u8>)>,
    /// Commands that were called.
    pub calls: usize,
}

impl Store {
    pub fn execute(&mut self, arguments: &[&[u8]], protocol: Protocol) -> Vec<u8> {
        self.calls += 1;
        let bulk = |bytes: &[u8]| [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        let null = || if protocol == Protocol::Resp3 { b"_\r\n".to_vec() } else { b"$-1\r\n".to_vec() };
        let error = |text: &str| format!("-{text}\r\n").into_bytes();
        match (arguments[0].to_ascii_lowercase().as_slice(), &arguments[1..]) {
            (b"get", [key]) => self.values.get(*key).map_or_else(null, |value| bulk(value)),
            (b"set", [key, value]) => {
                self.values.insert(key.to_vec(), value.to_vec());
                b"+OK\r\n".to_vec()
            }
            (b"echo", [text]) => bulk(text),
            (b"incrby", [key, by]) => {
                let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<i64>().ok();
                let old = self.values.get(*key).map_or(Some(0), |value| number(value));
                match old.zip(number(by)) {
                    Some((old, by)) => {
                        self.values.insert(key.to_vec(), (old + by).to_string().into_bytes());
                        format!(":{}\r\n", old + by).into_bytes()
                    }
                    None => error("ERR value is not an integer or out of range"),
                }
            }
            (b"raw", [reply]) => reply.to_vec(),
            (b"get" | b"set" | b"echo" | b"eval", _) => error(refusals::WRONG_ARITY),
            (b"config", _) => error(refusals::NOT_ALLOWED),
            _ => error(refusals::UNKNOWN_COMMAND),
        }
    }
}

/// Runs to the end; every pause is gone on from.
pub fn drive(running: &mut Running, store: &mut Store, keys: &[&[u8]], arguments: &[&[u8]]) -> Vec<u8> {
    let mut never = || false;
    let mut step = running.start(keys, arguments, &mut never);
    loop {
        step = match step {
            Step::Call { arguments, protocol } => {
                let reply = store.execute(arguments, protocol);
                running.reply(&reply, &mut never)
            }
            Step::MayCall([b"nope"]) => running.reply(b"-ERR\r\n", &mut never),
            Step::MayCall(_) => running.reply(b":1\r\n", &mut never),
            Step::Log { level, line } => {
                store.log.push((level, line.to_vec()));
                running.go_on(&mut never)
            }
            Step::Pause => running.go_on(&mut never),
            Step::Done(reply) => return reply.to_vec(),
        }
    }
}

/// An interpreter that is kept from script to script, and a store.
pub struct Bench {
    interpreter: Option<Interpreter>,
    pub store: Store,
}

pub const MEMORY: usize = 64 << 20;

impl Bench {
    pub fn new() -> Bench {
        Bench {
            interpreter: Some(Interpreter::new(MEMORY).expect("an interpreter")),
            store: Store::default(),
        }
    }

    pub fn interpreter(&mut self) -> &mut Interpreter {
        self.interpreter.as_mut().expect("not running")
    }

    /// The reply of a script without keys to a client of a protocol.
    pub fn eval_as(&mut self, protocol: Protocol, source: &str) -> String {
        self.eval_with(protocol, source.as_bytes(), &[], &[])
    }

    pub fn eval_with(
        &mut self,
        protocol: Protocol,
        source: &[u8],
        keys: &[&[u8]],
        arguments: &[&[u8]],
    ) -> String {
        String::from_utf8_lossy(&self.bytes_with(protocol, source, keys, arguments)).into_owned()
    }

    /// The same as bytes.
    pub fn bytes_with(
        &mut self,
        protocol: Protocol,
        source: &[u8],
        keys: &[&[u8]],
        arguments: &[&[u8]],
    ) -> Vec<u8> {
        let script = match Script::new(source) {
            Ok(script) => script,
            Err(error) => return format!("-{error}\r\n").into_bytes(),
        };
        let mut running = self.interpreter.take().expect("not running").evaluate(&script, protocol);
        let reply = drive(&mut running, &mut self.store, keys, arguments);
        self.interpreter = running.finish();
        reply
    }

    /// The same in RESP2.
    pub fn eval(&mut self, source: &str) -> String {
        self.eval_as(Protocol::Resp2, source)
    }
}

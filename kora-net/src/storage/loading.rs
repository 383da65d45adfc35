//! How what is on the disk gets into the shards, before anybody is served.
//!
//! A thread reads (`recovery.rs`) and hands each executor what belongs to its shard; executors apply it in their turns, all at the same time, and answer clients
//! with LOADING meanwhile. Time stands still for the keys: nothing expires and nothing is evicted before all is there, because what comes later in the log may be about
//! a key whose time is over by now.

use super::layout::{self, Part};
use super::SharedLog;
use crate::commands;
use crate::executor::Executor;
use crate::process::lock;
use kora_persist::error::DecodeError;
use kora_persist::record;
use kora_script::RestorePolicy;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that may wait for one executor.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// How long an executor loads at a stretch before it looks at its clients.
const STRETCH: Duration = Duration::from_millis(2);

/// What an executor is given.
pub(crate) enum Load {
    /// Encoded changes of its shard, one after the other.
    Records(Vec<u8>),
    /// A shard of another layout was emptied, as far as it is in this one.
    Flush { db: u16, part: Part },
    /// A shard of another layout has exchanged two databases, as far as it is in this one.
    Swap { a: u16, b: u16, part: Part },
    /// All libraries of functions, as FUNCTION DUMP gives them.
    Functions(Vec<u8>),
    /// That was all. From now on changes are logged here, if anywhere.
    End(Option<Arc<SharedLog>>),
}

impl Load {
    fn bytes(&self) -> usize {
        match self {
            Load::Records(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

/// What waits for one executor.
#[derive(Default)]
pub(crate) struct Desk {
    waiting: Mutex<Waiting>,
    room: Condvar,
}

#[derive(Default)]
struct Waiting {
    loads: VecDeque<Load>,
    bytes: usize,
    /// The executor has gone: nothing is taken any more.
    closed: bool,
}

impl Desk {
    /// Adds something, when there is room. Returns whether somebody will take it.
    pub fn put(&self, load: Load) -> bool {
        let waiting = lock(&self.waiting);
        let mut waiting = self
            .room
            .wait_while(waiting, |waiting| waiting.bytes > WAITING_BYTES_MAX && !waiting.closed)
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.closed {
            return false;
        }
        waiting.bytes += load.bytes();
        waiting.loads.push_back(load);
        true
    }

    fn take(&self) -> Option<Load> {
        let mut waiting = lock(&self.waiting);
        let load = waiting.loads.pop_front()?;
        waiting.bytes -= load.bytes();
        self.room.notify_one();
        Some(load)
    }

    fn has_some(&self) -> bool {
        !lock(&self.waiting).loads.is_empty()
    }

    fn close(&self) {
        lock(&self.waiting).closed = true;
        self.room.notify_all();
    }
}

/// How far loading has come, for INFO and the log.
#[derive(Default)]
pub(crate) struct Progress {
    /// When it began, Unix milliseconds.
    pub started_ms: AtomicU64,
    /// Bytes of all files that are to be read.
    pub total: AtomicU64,
    /// Bytes that were read.
    pub read: AtomicU64,
    /// Executors that have not got everything.
    pub executors: AtomicUsize,
}

impl Executor {
    /// Whether something waits to be loaded.
    pub(crate) fn has_load(&self) -> bool {
        self.process.is_loading() && self.process.load_desk(self.id).has_some()
    }

    /// Loads for a while what waits. Returns whether more does.
    pub(crate) fn load(&mut self) -> bool {
        let began = Instant::now();
        let process = self.process.clone();
        let desk = process.load_desk(self.id);
        if process.phase() != crate::process::Phase::Running {
            desk.close();
            return false;
        }
        while let Some(load) = desk.take() {
            match load {
                Load::Records(bytes) => {
                    if let Err(error) = self.load_records(&bytes) {
                        process.loading_failed(format!("a record cannot be applied: {error}"));
                    }
                }
                Load::Flush { db, part } => layout::flush(&mut self.shard.keys, db, part),
                Load::Swap { a, b, part } => layout::swap(&mut self.shard.keys, a, b, part),
                Load::Functions(dump) => {
                    let restored = commands::script::restore_dump(self, &dump, RestorePolicy::Flush);
                    if let Err(error) = restored {
                        let text = String::from_utf8_lossy(error.text());
                        process.loading_failed(format!("the functions cannot be loaded: {text}"));
                    }
                }
                Load::End(log) => {
                    self.shard.keys.stats = Default::default();
                    if let Some(storage) = &process.storage {
                        storage.snapshots.has_loaded(self.id, self.shard.keys.changes.sequence());
                    }
                    if let Some(log) = log {
                        self.start_log(log);
                    }
                    self.tick_soon();
                    process.executor_has_loaded();
                    return false;
                }
            }
            if began.elapsed() >= STRETCH {
                return true;
            }
        }
        false
    }

    fn load_records(&mut self, mut bytes: &[u8]) -> Result<(), DecodeError> {
        while !bytes.is_empty() {
            let (change, length) = record::decode(bytes)?;
            self.shard.keys.replay(&change, self.now).map_err(|_| DecodeError::Value)?;
            bytes = &bytes[length..];
        }
        Ok(())
    }
}

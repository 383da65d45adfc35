//! How what is on the disk gets into the shards, before anybody is served.
//!
//! A thread reads (`recovery.rs`) and hands each executor what belongs to its shard; executors apply it in their turns, all at the same time, and answer clients
//! with LOADING meanwhile. Time stands still for the keys: nothing expires and nothing is evicted before all is there, because what comes later in the log may be about
//! a key whose time is over by now.

use super::SharedLog;
use crate::commands;
use crate::executor::Executor;
use kora_engine::change::Change;
use kora_engine::slot::Slot;
use kora_persist::error::DecodeError;
use kora_persist::record;
use kora_script::RestorePolicy;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
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
    /// Another layout's shard, `of` of `count`, was emptied, as far as it is in this one.
    Flush { db: u16, of: u16, count: u16 },
    /// Another layout's shard has exchanged two databases, as far as it is in this one.
    Swap { a: u16, b: u16, of: u16, count: u16 },
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
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let load = waiting.loads.pop_front()?;
        waiting.bytes -= load.bytes();
        self.room.notify_one();
        Some(load)
    }

    fn has_some(&self) -> bool {
        !self.waiting.lock().unwrap_or_else(PoisonError::into_inner).loads.is_empty()
    }

    fn close(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
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
    /// Records that were applied.
    pub records: AtomicU64,
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
                Load::Records(bytes) => match self.load_records(&bytes) {
                    Ok(records) => {
                        process.progress.records.fetch_add(records, Ordering::Relaxed);
                    }
                    Err(error) => process.loading_failed(format!("a record cannot be applied: {error}")),
                },
                Load::Flush { db, of, count } => self.load_flush(db, of, count),
                Load::Swap { a, b, of, count } => self.load_swap(a, b, of, count),
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

    fn load_records(&mut self, mut bytes: &[u8]) -> Result<u64, DecodeError> {
        let mut records = 0;
        while !bytes.is_empty() {
            let (change, length) = record::decode(bytes)?;
            self.shard.keys.replay(&change, self.now).map_err(|_| DecodeError::Value)?;
            bytes = &bytes[length..];
            records += 1;
        }
        Ok(records)
    }

    /// The keys of a database that were on a shard of another layout.
    fn keys_of_shard(&mut self, db: u16, of: u16, count: u16) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        let view = kora_engine::keyspace::View { db, now: 0, touch: false };
        let mut position = 0;
        loop {
            position = self.shard.keys.scan(view, position, 1 << 16, &mut |entry| {
                if Slot::of(entry.key()).shard(count) == of {
                    keys.push(entry.key().to_vec());
                }
            });
            if position == 0 {
                return keys;
            }
        }
    }

    fn load_flush(&mut self, db: u16, of: u16, count: u16) {
        for key in self.keys_of_shard(db, of, count) {
            let change = Change::Delete { db, key: &key, reason: kora_engine::change::DeleteReason::Command };
            self.shard.keys.replay(&change, self.now).expect("a deletion has no value");
        }
    }

    fn load_swap(&mut self, a: u16, b: u16, of: u16, count: u16) {
        let view = |db| kora_engine::keyspace::View { db, now: 0, touch: false };
        let of_a = self.keys_of_shard(a, of, count);
        let of_b = self.keys_of_shard(b, of, count);
        let keys = &mut self.shard.keys;
        let mut taken = Vec::with_capacity(of_a.len() + of_b.len());
        for (from, to, names) in [(a, b, of_a), (b, a, of_b)] {
            for name in names {
                let entry = keys.take(view(from), &keys.key(&name)).expect("it was there just now");
                taken.push((to, name, entry));
            }
        }
        for (to, name, entry) in taken {
            let key = keys.key(&name);
            keys.put(view(to), &key, entry);
        }
    }
}

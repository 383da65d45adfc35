//! Snapshots: who takes them, when, and what is known of them.
//!
//! ```text
//!   command, interval, size of the log -> wanted -> coordinator (cut) -> executors walk -> thread writes, renames, recycles the log
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | [`cut`] | the coordinator: all shards held for a moment, in which the position of the log is taken and every shard begins its cut |
//! | [`shard`] | an executor's part: it walks over its shard in slices, and has packed what is to be written |
//! | [`files`] | the thread that writes files, makes the snapshot valid and removes old ones |
//! | [`load`] | reads the newest one at the start |
//!
//! What is pure code is elsewhere: how a shard tells what it held while it changes, in the engine (`table/cut.rs`); what files look like, in
//! `kora_persist::snapshot`.
//!
//! **Files are written by a thread**, not through the rings of the executors: a write of 256 KiB is a system call every few milliseconds, which is nothing for
//! a thread that sleeps in between, and an executor never waits for it. Packing is done by the executors. So the work is spread over them, is paid
//! where the changes are made that cause it, and there is no queue of unpacked data that could grow.
//!
//! One snapshot is taken at a time. It is over when the thread says so, whether it was made or not; only then may the next one begin.

pub(crate) mod cut;
pub(crate) mod files;
pub(crate) mod load;
pub(crate) mod shard;

use crate::mail::Doorbell;
use crate::process::lock;
use files::Job;
use kora_persist::block::BlockBuffer;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Instant;

/// When snapshots are taken and kept.
#[derive(Debug, Clone)]
pub struct SnapshotOptions {
    /// Whether they are taken by themselves, every `interval_secs`.
    pub enabled: bool,
    /// Seconds between two, if something has changed.
    pub interval_secs: u64,
    /// How many are kept, the newest included.
    pub retain: u32,
}

/// What a snapshot was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To have it.
    Save,
    /// To let the log begin anew.
    RewriteLog,
}

/// One that is being taken.
pub(crate) struct Take {
    /// The position of the log up to which changes are in it.
    pub cut: u64,
    /// The time of the cut, Unix milliseconds.
    pub time: u64,
    /// Number of databases.
    pub databases: u16,
    /// All libraries of functions, as FUNCTION DUMP gives them.
    pub functions: Vec<u8>,
    /// It cannot be completed.
    pub failed: AtomicBool,
    /// Buffers that were written, per executor: they are used again.
    returned: Box<[Mutex<Vec<BlockBuffer>>]>,
}

impl Take {
    fn give_back(&self, shard: u16, buffer: BlockBuffer) {
        lock(&self.returned[shard as usize]).push(buffer);
    }

    /// The buffers that were written since the last time.
    pub fn take_back(&self, shard: u16) -> Vec<BlockBuffer> {
        std::mem::take(&mut *lock(&self.returned[shard as usize]))
    }

    fn has_returned(&self, shard: u16) -> bool {
        !lock(&self.returned[shard as usize]).is_empty()
    }
}

/// What is known of snapshots; INFO shows it.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// When the last one was complete, Unix milliseconds; at first, when the process started.
    pub last_ms: u64,
    /// Its cut.
    pub last_cut: u64,
    /// Whether the last attempt has made one.
    pub last_ok: bool,
    /// Why not.
    pub last_error: String,
    /// How long it took, seconds; -1 before the first.
    pub last_seconds: i64,
    /// The same for BGREWRITEAOF.
    pub last_rewrite_seconds: i64,
    /// Bytes of its files.
    pub last_bytes: u64,
    /// Keys in it.
    pub last_keys: u64,
    /// How many were made since the start.
    pub made: u64,
    /// How many of these were made for the log.
    pub rewrites: u64,
    /// Attempts in a row that have failed.
    pub failures: u64,
    /// When the last attempt ended, Unix milliseconds: one that failed is not tried again at once.
    pub last_attempt_ms: u64,
    /// Changes of all shards at the last cut.
    pub last_changes: u64,
    /// The one under way: since when, for what, how many keys it has and how many changes there had been.
    pub current: Option<Current>,
}

impl Facts {
    /// Nothing is known yet.
    pub fn new(now: u64) -> Facts {
        Facts {
            last_ms: now,
            last_cut: 0,
            last_ok: true,
            last_error: String::new(),
            last_seconds: -1,
            last_rewrite_seconds: -1,
            last_bytes: 0,
            last_keys: 0,
            made: 0,
            rewrites: 0,
            failures: 0,
            last_attempt_ms: now,
            last_changes: 0,
            current: None,
        }
    }
}

/// See [`Facts::current`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Current {
    /// Since when.
    pub since: Instant,
    /// For what.
    pub purpose: Purpose,
    /// Whether the cut was made; before that it waits until it may hold all shards.
    pub is_cut: bool,
    /// Keys at the cut.
    pub keys: u64,
    /// Changes of all shards at the cut.
    pub changes: u64,
}

/// What executors share of snapshots.
pub(crate) struct Snapshots {
    pub options: SnapshotOptions,
    facts: Mutex<Facts>,
    /// Another one is wanted when the one under way is over.
    scheduled: Mutex<Option<Purpose>>,
    /// Whether one is to be taken at the end, if somebody has said so.
    last_wanted: Mutex<Option<bool>>,
    /// There will be none any more.
    closed: AtomicBool,
    /// How many attempts are over: who waits for one sees it here.
    ended: AtomicU64,
    /// Keys that the one under way has told.
    pub told: AtomicU64,
    /// Changes that each executor has made, as it said last.
    changes: Box<[AtomicU64]>,
    /// The highest position of the log when everything was loaded.
    pub loaded_lsn: AtomicU64,
    /// The number of this run.
    pub run: AtomicU32,
    jobs: OnceLock<Mutex<Sender<Job>>>,
}

impl Snapshots {
    /// None taken yet.
    pub fn new(options: SnapshotOptions, executors: usize, now: u64) -> Snapshots {
        Snapshots {
            options,
            facts: Mutex::new(Facts::new(now)),
            scheduled: Mutex::new(None),
            last_wanted: Mutex::new(None),
            closed: AtomicBool::new(false),
            ended: AtomicU64::new(0),
            told: AtomicU64::new(0),
            changes: (0..executors).map(|_| AtomicU64::new(0)).collect(),
            loaded_lsn: AtomicU64::new(0),
            run: AtomicU32::new(0),
            jobs: OnceLock::new(),
        }
    }

    /// What is known.
    pub fn facts(&self) -> Facts {
        self.lock_facts().clone()
    }

    fn lock_facts(&self) -> MutexGuard<'_, Facts> {
        lock(&self.facts)
    }

    /// How many attempts are over.
    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::SeqCst)
    }

    /// Says that one is about to begin; false when one is under way.
    pub fn claim(&self, purpose: Purpose) -> bool {
        let mut facts = self.lock_facts();
        if facts.current.is_some() {
            return false;
        }
        facts.current = Some(Current { since: Instant::now(), purpose, is_cut: false, keys: 0, changes: 0 });
        self.told.store(0, Ordering::Relaxed);
        true
    }

    /// Has one taken when the one under way is over, or soon.
    pub fn schedule(&self, purpose: Purpose) {
        let mut scheduled = lock(&self.scheduled);
        // Who wants the log to begin anew gets that with any; it is told apart in INFO only.
        if *scheduled != Some(Purpose::RewriteLog) {
            *scheduled = Some(purpose);
        }
    }

    /// Has one taken at the end, or none, whatever the configuration says.
    pub fn want_last(&self, wanted: bool) {
        *lock(&self.last_wanted) = Some(wanted);
    }

    /// Whether one is to be taken at the end: if nobody has said anything, when there is no log and something has changed.
    fn is_last_wanted(&self, logs: bool) -> bool {
        let said = *lock(&self.last_wanted);
        said.unwrap_or_else(|| {
            self.options.enabled && !logs && self.changes() != self.lock_facts().last_changes
        })
    }

    /// There will be none any more.
    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// What is scheduled.
    pub fn scheduled(&self) -> Option<Purpose> {
        *lock(&self.scheduled)
    }

    /// An executor says how many changes it has made.
    pub fn publish_changes(&self, executor: u16, changes: u64) {
        self.changes[executor as usize].store(changes, Ordering::Relaxed);
    }

    /// An executor has loaded what there was: so many changes do not count as such.
    pub fn has_loaded(&self, executor: u16, changes: u64) {
        self.publish_changes(executor, changes);
        self.lock_facts().last_changes += changes;
    }

    /// Changes of all executors, as they said last.
    pub fn changes(&self) -> u64 {
        self.changes.iter().map(|changes| changes.load(Ordering::Relaxed)).sum()
    }

    /// Whether one is to be taken now, though nobody has asked for it.
    pub fn due(&self, now: u64, log_bytes: u64, log_bytes_max: u64) -> Option<Purpose> {
        let facts = self.lock_facts();
        if facts.current.is_some() {
            return None;
        }
        if let Some(purpose) = lock(&self.scheduled).take() {
            return Some(purpose);
        }
        // What has failed is tried again after a while, not at once.
        if !facts.last_ok && now < facts.last_attempt_ms + RETRY_MS {
            return None;
        }
        if self.changes() == facts.last_changes {
            return None;
        }
        if log_bytes > log_bytes_max {
            return Some(Purpose::RewriteLog);
        }
        let interval = self.options.interval_secs.saturating_mul(1000);
        (self.options.enabled && now >= facts.last_ms.saturating_add(interval)).then_some(Purpose::Save)
    }

    /// The cut was made: so many keys, after so many changes.
    pub fn cut_made(&self, keys: u64, changes: u64) {
        if let Some(current) = &mut self.lock_facts().current {
            (current.is_cut, current.keys, current.changes) = (true, keys, changes);
        }
    }

    /// One is complete and durable, or cannot be made.
    fn end(&self, now: u64, result: Result<Made, String>, doorbells: &[Doorbell]) {
        let mut facts = self.lock_facts();
        let Some(current) = facts.current.take() else { return };
        let seconds = current.since.elapsed().as_secs() as i64;
        facts.last_attempt_ms = now;
        match current.purpose {
            Purpose::Save => facts.last_seconds = seconds,
            Purpose::RewriteLog => facts.last_rewrite_seconds = seconds,
        }
        facts.last_ok = result.is_ok();
        match result {
            Ok(Made { cut, bytes, keys }) => {
                tracing::info!(
                    cut,
                    keys,
                    bytes,
                    seconds = current.since.elapsed().as_secs_f64(),
                    "a snapshot is complete"
                );
                facts.last_ms = now;
                facts.last_cut = cut;
                facts.last_error.clear();
                facts.last_bytes = bytes;
                facts.last_keys = keys;
                facts.made += 1;
                facts.rewrites += u64::from(current.purpose == Purpose::RewriteLog);
                facts.failures = 0;
                facts.last_changes = current.changes;
            }
            Err(error) => {
                tracing::error!(error, "a snapshot could not be taken; the data is served as before");
                facts.last_error = error;
                facts.failures += 1;
            }
        }
        drop(facts);
        self.ended.fetch_add(1, Ordering::SeqCst);
        doorbells.iter().for_each(Doorbell::ring);
    }

    /// One that was loaded at the start counts as the last one.
    pub fn was_loaded(&self, time: u64, made: Made) {
        let mut facts = self.lock_facts();
        facts.last_ms = time;
        facts.last_cut = made.cut;
        facts.last_bytes = made.bytes;
        facts.last_keys = made.keys;
    }

    /// Asks the thread for something.
    fn send(&self, job: Job) {
        let jobs = self.jobs.get().expect("the thread runs before the first client is served");
        // Without the thread the process is at its end.
        let _ = lock(jobs).send(job);
    }
}

/// A complete snapshot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    /// Its cut.
    pub cut: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Keys in it.
    pub keys: u64,
}

/// Milliseconds until what has failed is tried again.
const RETRY_MS: u64 = 60_000;

/// A snapshot that begins.
pub(crate) fn take(cut: u64, time: u64, databases: u16, functions: Vec<u8>, executors: u16) -> Arc<Take> {
    Arc::new(Take {
        cut,
        time,
        databases,
        functions,
        failed: AtomicBool::new(false),
        returned: (0..executors).map(|_| Mutex::default()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshots(enabled: bool) -> Snapshots {
        Snapshots::new(SnapshotOptions { enabled, interval_secs: 60, retain: 1 }, 2, 1_000)
    }

    const MADE: Made = Made { cut: 5, bytes: 4096, keys: 3 };

    #[test]
    fn one_is_due_when_time_has_passed_and_something_has_changed() {
        let snapshots = snapshots(true);
        assert_eq!(snapshots.due(100_000, 0, 10), None, "nothing has changed");
        snapshots.publish_changes(1, 7);
        assert_eq!(snapshots.due(60_999, 0, 10), None);
        assert_eq!(snapshots.due(61_000, 0, 10), Some(Purpose::Save));
        assert_eq!(snapshots.due(1_001, 11, 10), Some(Purpose::RewriteLog));
        assert!(snapshots.claim(Purpose::Save));
        assert!(!snapshots.claim(Purpose::Save), "one at a time");
        assert_eq!(snapshots.due(61_000, 11, 10), None);
        snapshots.cut_made(3, 7);
        snapshots.end(70_000, Ok(MADE), &[]);
        assert_eq!((snapshots.ended(), snapshots.facts().last_changes), (1, 7));
        assert_eq!(snapshots.due(1 << 40, 0, 10), None, "nothing has changed since");
        snapshots.publish_changes(0, 1);
        assert_eq!(snapshots.due(129_999, 0, 10), None);
        assert_eq!(snapshots.due(130_000, 0, 10), Some(Purpose::Save));
    }

    #[test]
    fn what_has_failed_is_tried_again_later_but_not_if_asked_for() {
        let snapshots = snapshots(true);
        snapshots.publish_changes(0, 1);
        assert!(snapshots.claim(Purpose::RewriteLog));
        snapshots.end(100_000, Err("no space".into()), &[]);
        let facts = snapshots.facts();
        assert_eq!((facts.last_ok, &facts.last_error[..], facts.failures), (false, "no space", 1));
        assert_eq!((facts.last_ms, facts.last_rewrite_seconds, facts.last_seconds), (1_000, 0, -1));
        assert_eq!(snapshots.due(100_000 + RETRY_MS - 1, 11, 10), None);
        snapshots.schedule(Purpose::RewriteLog);
        snapshots.schedule(Purpose::Save);
        assert_eq!(snapshots.due(100_000, 0, 10), Some(Purpose::RewriteLog), "the larger wish");
        assert_eq!(snapshots.scheduled(), None);
        assert_eq!(snapshots.due(100_000 + RETRY_MS, 11, 10), Some(Purpose::RewriteLog));
    }

    #[test]
    fn without_them_only_the_log_asks_for_one() {
        let snapshots = snapshots(false);
        snapshots.publish_changes(0, 1);
        assert_eq!(snapshots.due(1 << 40, 10, 10), None);
        assert_eq!(snapshots.due(1 << 40, 11, 10), Some(Purpose::RewriteLog));
    }
}

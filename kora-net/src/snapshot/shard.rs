//! An executor's part of a snapshot: slices of the walk over its shard, between its other work.
//!
//! A slice is about [`SLICE_WORK`] bytes of records, some tens of microseconds. When commands have come in meanwhile they are served for [`REST`] times as long before the
//! next one; when none have, it goes on at once. When the disk is slower than the walk, the walk waits. What is told because it changes cannot wait: if that alone
//! is more than the disk takes, up to [`BACKLOG_MAX`] bytes of it, the snapshot is given up.

use super::{files::Job, Take};
use crate::coordinate::Answer;
use crate::executor::Executor;
use crate::process::lock;
use kora_engine::table::SharedSink;
use kora_persist::snapshot::{Identity, Op, SnapshotWriter};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Work of a slice, in bytes of records.
const SLICE_WORK: usize = 32 << 10;
/// How many times as long as a slice others are served before the next one.
const REST: u32 = 3;
/// Bytes that may wait for the disk while the walk goes on.
const BACKLOG_WALK: usize = 4 << 20;
/// Bytes of all executors together that may wait for the disk.
const BACKLOG_MAX: usize = 512 << 20;
/// Segments of a table that are passed at once of a cut that was given up, as work in bytes.
const PASS_WORK: usize = 1 << 20;

/// See the module.
pub(crate) struct ShardSnapshot {
    take: Arc<Take>,
    /// None when the snapshot was given up: the walk goes on to its end, telling nothing.
    writer: Option<Arc<Mutex<SnapshotWriter>>>,
    stage: Stage,
    /// Until then others are served.
    rest_until: Instant,
    /// What had been served at the end of the last slice: own commands, and batches of other executors.
    served: u64,
    /// Keys that were owed when INFO was told last.
    owed: usize,
    /// Why it was given up.
    reason: Option<String>,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Keys are owed.
    Walking,
    /// What was told is being packed.
    Packing,
    /// What is packed is being written.
    Writing,
}

impl Executor {
    /// Everything that is in the shard now belongs to the snapshot. Returns the number of keys, and of changes so far.
    pub(crate) fn begin_cut(&mut self, take: Arc<Take>) -> (u64, u64) {
        assert!(self.snapshot.is_none(), "one at a time");
        let storage = self.process.storage.as_ref().expect("there is one, or nobody takes snapshots");
        let identity =
            Identity { directory: storage.directory.id, cut: take.cut, shard: self.id, shards: self.count };
        let writer = Arc::new(Mutex::new(SnapshotWriter::new(&identity)));
        let sink: SharedSink = writer.clone();
        let owed = self.shard.keys.begin_cut(&sink);
        self.snapshot = Some(ShardSnapshot {
            take,
            writer: Some(writer),
            stage: Stage::Walking,
            rest_until: Instant::now(),
            served: self.served(),
            owed,
            reason: None,
        });
        // So that the log before the cut lies in segments that are not written any more.
        self.rotate_log();
        self.tick_soon();
        (owed as u64, self.shard.keys.changes.sequence())
    }

    /// Whether the thread has said something that this executor does not know yet.
    pub(crate) fn has_news_of_snapshot(&self) -> bool {
        let Some(storage) = &self.process.storage else { return false };
        let returned = self.snapshot.as_ref().is_some_and(|snapshot| {
            snapshot.take.has_returned(self.id) || snapshot.take.failed.load(Ordering::Relaxed)
        });
        returned || (!self.save_waiters.is_empty() && storage.snapshots.ended() != self.saves_ended)
    }

    /// The result of a call comes when the snapshot under way is over: whether it was made.
    pub(crate) fn await_snapshot(&mut self, answer: Answer) {
        let Some(storage) = &self.process.storage else { return };
        if self.save_waiters.is_empty() {
            self.saves_ended = storage.snapshots.ended();
        }
        self.save_waiters.push(answer);
    }

    fn answer_save_waiters(&mut self) {
        let Some(storage) = &self.process.storage else { return };
        let ended = storage.snapshots.ended();
        if ended == self.saves_ended {
            return;
        }
        let made = storage.snapshots.facts().last_ok;
        for answer in std::mem::take(&mut self.save_waiters) {
            self.returned(answer.call, Box::new(made));
        }
    }

    /// A slice of the snapshot, if one is under way. Returns how long to sleep at most before the next one; none when it can wait for something to happen.
    pub(crate) fn work_on_snapshot(&mut self) -> Option<Duration> {
        if !self.save_waiters.is_empty() {
            self.answer_save_waiters();
        }
        let snapshot = self.snapshot.take()?;
        match snapshot.writer.clone() {
            Some(writer) => self.go_on_with_snapshot(snapshot, &writer),
            None => self.pass_given_up(snapshot),
        }
    }

    fn go_on_with_snapshot(
        &mut self,
        mut snapshot: ShardSnapshot,
        writer: &Mutex<SnapshotWriter>,
    ) -> Option<Duration> {
        let (backlog, disk_backlog) = {
            let mut writer = lock(writer);
            snapshot.take.take_back(self.id).into_iter().for_each(|buffer| writer.written(buffer));
            (writer.surplus(), writer.disk_backlog())
        };
        let too_much = backlog > BACKLOG_MAX / self.count as usize;
        if too_much || snapshot.take.failed.load(Ordering::Relaxed) {
            snapshot.take.failed.store(true, Ordering::Relaxed);
            self.shard.keys.give_up_cut();
            let reason =
                || format!("the disk is too slow: {backlog} bytes that have changed since wait for it");
            let reason = too_much.then(reason);
            self.snapshot = Some(ShardSnapshot { writer: None, reason, ..snapshot });
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let served = self.served();
        let is_idle = served == snapshot.served;
        let wait = match snapshot.stage {
            Stage::Writing => None,
            // What is long is packed piece by piece; only what is packed waits for the disk.
            _ if disk_backlog > BACKLOG_WALK => None,
            _ if !is_idle && now < snapshot.rest_until => Some(snapshot.rest_until - now),
            _ => {
                snapshot.stage = self.slice_of_snapshot(snapshot.stage, writer);
                snapshot.rest_until = now + now.elapsed() * (REST + 1);
                snapshot.served = served;
                Some(Duration::ZERO)
            }
        };
        let owed = self.shard.keys.owed();
        let storage = self.process.storage.as_ref().expect("a snapshot has a directory");
        storage.snapshots.told.fetch_add((snapshot.owed - owed) as u64, Ordering::Relaxed);
        snapshot.owed = owed;
        while let Some(op) = lock(writer).poll() {
            let (take, shard) = (snapshot.take.clone(), self.id);
            match op {
                Op::Write { offset, buffer } => {
                    storage.snapshots.send(Job::Write { take, shard, offset, buffer });
                }
                Op::Sync(summary) => {
                    storage.snapshots.send(Job::Complete { take, shard, summary });
                    return None;
                }
            }
        }
        self.snapshot = Some(snapshot);
        wait
    }

    fn served(&self) -> u64 {
        self.observed.totals.commands + self.observed.batches_served
    }

    fn slice_of_snapshot(&mut self, stage: Stage, writer: &Mutex<SnapshotWriter>) -> Stage {
        // What is long comes first: it holds memory.
        if !lock(writer).work(SLICE_WORK) {
            return stage;
        }
        if stage == Stage::Walking {
            // It takes the lock for each key.
            return if self.shard.keys.walk_cut(SLICE_WORK) { Stage::Packing } else { stage };
        }
        lock(writer).finish();
        Stage::Writing
    }

    /// The walk over the rest of a cut that nobody wants any more: only then another one can begin.
    fn pass_given_up(&mut self, snapshot: ShardSnapshot) -> Option<Duration> {
        if !self.shard.keys.walk_cut(PASS_WORK) {
            self.snapshot = Some(snapshot);
            return Some(Duration::ZERO);
        }
        let storage = self.process.storage.as_ref().expect("a snapshot has a directory");
        let ShardSnapshot { take, reason, .. } = snapshot;
        storage.snapshots.send(Job::GivenUp { take, reason });
        None
    }
}

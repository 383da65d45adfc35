//! The coordinator of a snapshot: it holds all shards for a moment, without any work that takes long.
//!
//! In this order, while nobody else may change anything:
//! 1. every executor gives what it has changed its positions in the log;
//! 2. the cut is the highest position given so far: everything up to it is in the shards;
//! 3. every shard begins its cut, and is let go.
//!
//! Keys and fields that expire, and keys that are evicted, go without asking for a lock. Those that go between the second and the third step are not in the snapshot, and the log says after the
//! cut that they go: which changes nothing when it is replayed.

use super::{files::Job, Purpose, Take};
use crate::coordinate::{Hub, Task};
use crate::executor::Executor;
use crate::mail::ReplyTo;
use crate::process::Phase;
use crate::resp::encode::Output;
use crate::transaction::locks::{Mode, Wants};
use crate::transaction::{self, Part};
use std::sync::atomic::Ordering;
use std::sync::Arc;

/// Without a log there are no positions: the first cut after it stands so far behind what was loaded that nothing of a torn end of a log that was there before can
/// come after it.
const WITHOUT_LOG: u64 = 1 << 32;

impl Executor {
    /// Begins to take a snapshot, unless one is under way. Returns whether it was begun.
    pub(crate) fn begin_snapshot(&mut self, purpose: Purpose) -> bool {
        let claimed = self.process.storage.as_ref().is_some_and(|storage| storage.snapshots.claim(purpose));
        if claimed {
            let command = self.registry.find(b"bgsave").expect("it is a command");
            let started = self.started(command, &[b"bgsave"]);
            let task = cut(self.hub.clone(), self.id, self.count);
            self.start_task(task, ReplyTo::Nobody, started);
        }
        claimed
    }

    /// Once a second: says how much has changed here; the first executor begins a snapshot when one is due.
    pub(crate) fn look_for_snapshot(&mut self) {
        self.publish_changes();
        let Some(storage) = &self.process.storage else { return };
        if self.id != 0 || self.process.is_loading() || self.process.phase() != Phase::Running {
            return;
        }
        let log_bytes = storage.log.get().map_or(0, |log| log.keeper.bytes());
        let due = storage.snapshots.due(self.now, log_bytes, storage.options.wal_max_bytes);
        if let Some(purpose) = due {
            self.begin_snapshot(purpose);
        }
    }

    /// Says how much has changed here.
    pub(crate) fn publish_changes(&self) {
        if let Some(storage) = &self.process.storage {
            storage.snapshots.publish_changes(self.id, self.shard.keys.changes.sequence());
        }
    }

    /// At the end, when all executors have served everybody: the first one takes the last snapshot, if one is wanted. Returns whether there will be none any more.
    pub(crate) fn finish_snapshots(&mut self) -> bool {
        let process = self.process.clone();
        let Some(storage) = &process.storage else { return true };
        let snapshots = &storage.snapshots;
        if self.id != 0 || snapshots.is_closed() {
            return snapshots.is_closed();
        }
        match snapshots.facts().current {
            // Somebody who does not end holds a shard: nobody waits for that.
            Some(current) if !current.is_cut && self.is_stop_overdue() => {
                tracing::error!("no snapshot at the end: a script or a transaction has not ended");
            }
            Some(_) => return false,
            None => {}
        }
        if !std::mem::replace(&mut self.last_snapshot_begun, true)
            && !process.is_loading()
            && snapshots.is_last_wanted(storage.options.wal)
            && self.begin_snapshot(Purpose::Save)
        {
            return false;
        }
        snapshots.close();
        process.doorbells.iter().for_each(|doorbell| doorbell.ring());
        true
    }

    /// The second step, on the home of the coordinator.
    fn make_cut(&mut self) -> Arc<Take> {
        let process = self.process.clone();
        let storage = process.storage.as_ref().expect("it was asked for the snapshot");
        let cut = match storage.log.get() {
            Some(log) => log.order.last(),
            None => {
                let facts = storage.snapshots.facts();
                let loaded = storage.snapshots.loaded_lsn.load(Ordering::Relaxed);
                if facts.made == 0 {
                    loaded.max(facts.last_cut) + WITHOUT_LOG
                } else {
                    facts.last_cut + 1
                }
            }
        };
        let functions = process.scripts.known().libraries.dump();
        let take = super::take(cut, self.now, process.options.databases, functions, self.count);
        // Before any executor has something to write.
        storage.snapshots.send(Job::Begin(take.clone()));
        take
    }
}

fn cut(hub: Hub, home: u16, count: u16) -> Task {
    Box::pin(async move {
        let everything = |shard| Part { shard, wants: Wants::whole(Mode::Exclusive) };
        let parts: Vec<Part> = (0..count).map(everything).collect();
        let held = transaction::acquire(&hub, &parts).await;
        hub.everywhere(count, Executor::seal_log).await;
        let take = hub.call(home, Executor::make_cut).await;
        let begun = hub.everywhere(count, move |executor: &mut Executor| executor.begin_cut(take.clone()));
        let begun = begun.await;
        held.release(&hub);
        let (keys, changes) =
            begun.into_iter().fold((0, 0), |sum, (keys, changes)| (sum.0 + keys, sum.1 + changes));
        hub.call(home, move |executor: &mut Executor| {
            if let Some(storage) = &executor.process.storage {
                storage.snapshots.cut_made(keys, changes);
            }
        })
        .await;
        Output::default()
    })
}

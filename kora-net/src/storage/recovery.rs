//! Reads what is on the disk, in a thread of its own, and hands it to the executors.

use super::keeper::{Full, Keeper};
use super::layout::Part;
use super::loading::Load;
use super::{SharedLog, Storage, StorageError};
use crate::process::Process;
use crate::snapshot;
use kora_engine::change::Change;
use kora_engine::slot::Slot;
use kora_persist::log::{Batch, End, Folder, Order};
use kora_persist::record::{self, Entry};
use kora_persist::recovery;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Instant;

/// Begins to load. Executors are told through their desks; how it ends, [`Process::wait_loaded`] says.
///
/// # Errors
/// There is no thread to be had.
pub(crate) fn start(process: &Arc<Process>) -> Result<(), StorageError> {
    if process.storage.is_none() {
        return Ok(());
    }
    let process = process.clone();
    let run = move || {
        let storage = process.storage.as_ref().expect("just seen");
        if let Err(error) = recover(&process, storage) {
            process.loading_failed(error.to_string());
        }
    };
    let thread = std::thread::Builder::new().name("kora-load".into()).spawn(run);
    thread.map(drop).map_err(|error| StorageError::Io("the thread that loads".into(), error))
}

fn recover(process: &Arc<Process>, storage: &Storage) -> Result<(), StorageError> {
    let began = Instant::now();
    remove_spares(&storage.directory.log());
    let (directory, folder) = (&storage.directory, storage.directory.snapshots());
    snapshot::files::remove_partial(&folder);
    let snapshots = recovery::snapshots(&folder, directory.id)
        .map_err(|error| StorageError::Io(folder.display().to_string(), error))?;
    for snapshot in &snapshots {
        match &snapshot.manifest {
            Ok(_) => break,
            Err(reason) => {
                tracing::warn!(snapshot = %snapshot.path.display(), reason, "this snapshot cannot be used");
            }
        }
    }
    let base = recovery::base(&snapshots);
    let mut replay = recovery::log_behind(&snapshots, &directory.log(), directory.id, storage.options.wal)?;
    let snapshot_bytes = base.map_or(0, |(_, manifest)| manifest.bytes());
    process.progress.total.store(snapshot_bytes + replay.total_bytes(), Ordering::Relaxed);
    if let Some((snapshot, manifest)) = base {
        snapshot::load::load(process, snapshot, manifest)?;
        let (time, made) = snapshot::load::made(manifest);
        storage.snapshots.was_loaded(time, made);
        let seconds = began.elapsed().as_secs_f64();
        tracing::info!(cut = made.cut, keys = made.keys, bytes = made.bytes, seconds, "the snapshot is read");
    }
    let mut records = 0;
    while let Some(batch) = replay.next_batch()? {
        records += batch.count;
        give(process, batch);
        process.progress.read.store(snapshot_bytes + replay.read_bytes(), Ordering::Relaxed);
    }
    let end = replay.end().clone();
    storage.snapshots.loaded_lsn.store(end.last_lsn, Ordering::Relaxed);
    storage.snapshots.run.store(end.run + 1, Ordering::Relaxed);
    if let Some(torn) = &end.torn {
        tracing::warn!(
            last_lsn = end.last_lsn,
            missing_lsn = torn.missing_lsn,
            records = torn.records,
            "the end of the log was torn by a crash: what stands behind it was never durable, and is cut off"
        );
    }
    if end.dropped > 0 {
        tracing::warn!(transactions = end.dropped, "transactions that had not committed are left out");
    }
    if records > 0 {
        let seconds = began.elapsed().as_secs_f64();
        tracing::info!(records, last_lsn = end.last_lsn, seconds, "the log is read");
    }
    let log = if storage.options.wal {
        Some(Arc::new(begin_run(process, storage, replay.files(), &end)?))
    } else {
        None
    };
    if let Some(log) = &log {
        let _ = storage.log.set(log.clone());
    }
    for executor in 0..process.executors() {
        hand(process, executor, Load::End(log.clone()));
    }
    Ok(())
}

/// Segments that nobody needed when the process before this one ended.
fn remove_spares(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "spare") {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// What was restored is the beginning of a new run.
fn begin_run(
    process: &Arc<Process>,
    storage: &Storage,
    files: &Folder,
    end: &End,
) -> Result<SharedLog, StorageError> {
    // The new run says of all this that it was durable; with `os_managed`, or after the process was killed, it need not be yet.
    for facts in &end.segments {
        let path = files.path_of(facts.header.segment);
        let synced = std::fs::File::open(&path).and_then(|file| file.sync_all());
        synced.map_err(|error| StorageError::Io(path.display().to_string(), error))?;
    }
    let executors = process.executors() as usize;
    let first_lsn = end.last_lsn + 1;
    let full = end.segments.iter();
    let full = full
        .map(|facts| Full { id: facts.header.segment, last_lsn: facts.last_lsn, bytes: facts.bytes })
        .collect();
    let (folder, doorbells) = (storage.directory.log(), process.doorbells.clone());
    Ok(SharedLog {
        order: Arc::new(Order::new(executors, first_lsn)),
        keeper: Keeper::start(folder, end.next_segment, full, executors, doorbells)?,
        run: end.run + 1,
        first_lsn,
        writes: AtomicU64::new(0),
        syncs: AtomicU64::new(0),
        awaited: (0..executors).map(|_| AtomicU64::new(u64::MAX)).collect(),
    })
}

/// Gives records to the executors whose shards they concern.
fn give(process: &Process, batch: Batch) {
    let count = process.executors();
    let is_plain = batch.entries().all(|(_, entry)| matches!(entry, Entry::Change(_)));
    if batch.shards == count && is_plain {
        return hand(process, batch.shard, Load::Records(batch.records));
    }
    let mut shares: Vec<Vec<u8>> = vec![Vec::new(); count as usize];
    let flush = |shares: &mut Vec<Vec<u8>>| {
        for (executor, records) in shares.iter_mut().enumerate().filter(|(_, records)| !records.is_empty()) {
            hand(process, executor as u16, Load::Records(std::mem::take(records)));
        }
    };
    let (of, shards) = (batch.shard, batch.shards);
    let part = Part { of, count: shards };
    for (_, entry) in batch.entries() {
        match entry {
            Entry::Commit { .. } => {}
            Entry::Functions { dump } => {
                flush(&mut shares);
                hand(process, 0, Load::Functions(dump.to_vec()));
            }
            Entry::Change(change) => match change.key() {
                Some((_, key)) => {
                    record::encode(&change, &mut shares[Slot::of(key).shard(count) as usize]);
                }
                None if shards == count => record::encode(&change, &mut shares[of as usize]),
                None => {
                    flush(&mut shares);
                    for executor in 0..count {
                        let load = match change {
                            Change::FlushDb { db } => Load::Flush { db, part },
                            Change::SwapDb { a, b } => Load::Swap { a, b, part },
                            _ => unreachable!("all others have a key"),
                        };
                        hand(process, executor, load);
                    }
                }
            },
        }
    }
    flush(&mut shares);
}

/// Gives something to an executor. While the process stops nobody takes it, and nobody misses it.
pub(crate) fn hand(process: &Process, executor: u16, load: Load) {
    if process.load_desk(executor).put(load) {
        process.doorbells[executor as usize].ring();
    }
}

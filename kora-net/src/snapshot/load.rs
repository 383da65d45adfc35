//! Loads the newest snapshot at the start, before the log that follows it.
//!
//! Each file is read by a thread of its own, which unpacks it and hands the records to the executors whose keys they are: as they lie in the file when the number of shards is the same as
//! then, one by one when it is another.
//!
//! A snapshot of which something is missing is passed over, with a warning, and the one before it is taken; whether the log goes back that far, the log says. One that turns out to be
//! damaged while it is loaded ends the start: half of it is in memory, and whoever runs the server has to decide.

use super::Made;
use crate::process::Process;
use crate::storage::loading::Load;
use crate::storage::{recovery, StorageError};
use kora_engine::slot::Slot;
use kora_persist::record;
use kora_persist::recovery::{ShardFile, Snapshot};
use kora_persist::snapshot::{file_name, Manifest, Records, SnapshotError};
use std::path::Path;
use std::sync::atomic::Ordering;

/// Bytes that are gathered for an executor before they are handed over, when records are handed out one by one.
const SHARE_BYTES: usize = 128 << 10;

/// When a snapshot was taken, and what is in it.
pub(crate) fn made(manifest: &Manifest) -> (u64, Made) {
    let (cut, bytes, keys) = (manifest.cut, manifest.bytes(), manifest.keys());
    (manifest.time, Made { cut, bytes, keys })
}

/// Hands everything in a snapshot to the executors; returns when they have been given all.
///
/// # Errors
/// A file is damaged or cannot be read.
pub(crate) fn load(process: &Process, snapshot: &Snapshot, manifest: &Manifest) -> Result<(), StorageError> {
    if !manifest.functions.is_empty() {
        recovery::hand(process, 0, Load::Functions(manifest.functions.clone()));
    }
    let load_shard = &|shard| {
        let loaded = load_file(process, &snapshot.path, manifest, shard);
        let path = || snapshot.path.join(file_name(shard));
        loaded.map_err(|error| StorageError::Snapshot { path: path(), error })
    };
    let results: Vec<Result<(), StorageError>> = std::thread::scope(|scope| {
        let readers: Vec<_> =
            (0..manifest.files.len() as u16).map(|shard| scope.spawn(move || load_shard(shard))).collect();
        readers.into_iter().map(|reader| reader.join().expect("it does not panic")).collect()
    });
    results.into_iter().collect()
}

fn load_file(process: &Process, folder: &Path, manifest: &Manifest, shard: u16) -> Result<(), SnapshotError> {
    let mut file = ShardFile::open(folder, manifest, shard)?;
    let count = process.executors();
    let mut shares = Shares { process, shares: vec![Vec::new(); count as usize] };
    let mut read = 0;
    while let Some(records) = file.next_records()? {
        if manifest.files.len() == usize::from(count) {
            recovery::hand(process, shard, Load::Records(records.into_bytes()));
        } else {
            shares.add(&records)?;
        }
        process.progress.read.fetch_add(file.offset() - read, Ordering::Relaxed);
        read = file.offset();
    }
    shares.hand_over(1);
    Ok(())
}

/// Records on their way to the executors that have their keys now.
struct Shares<'p> {
    process: &'p Process,
    shares: Vec<Vec<u8>>,
}

impl Shares<'_> {
    fn add(&mut self, records: &Records) -> Result<(), SnapshotError> {
        let count = self.shares.len() as u16;
        records.for_each(|change| {
            if let Some((_, key)) = change.key() {
                record::encode(change, &mut self.shares[Slot::of(key).shard(count) as usize]);
            }
            Ok::<(), SnapshotError>(())
        })?;
        self.hand_over(SHARE_BYTES);
        Ok(())
    }

    /// Hands over the shares of at least so many bytes.
    fn hand_over(&mut self, bytes: usize) {
        for (executor, share) in self.shares.iter_mut().enumerate().filter(|(_, share)| share.len() >= bytes)
        {
            recovery::hand(self.process, executor as u16, Load::Records(std::mem::take(share)));
        }
    }
}

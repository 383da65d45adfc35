//! Loads the newest snapshot at the start, before the log that follows it.
//!
//! Each file is read by a thread of its own, which unpacks it and hands the records to the executors whose keys they are: as they lie in the file when the number of shards is the same as
//! then, one by one when it is another.
//!
//! A snapshot of which something is missing is passed over, with a warning, and the one before it is taken; whether the log goes back that far, the log says. One that turns out to be
//! damaged while it is loaded ends the start: half of it is in memory, and whoever runs the server has to decide.

use super::{files, folder_of, Made};
use crate::process::Process;
use crate::storage::loading::Load;
use crate::storage::{recovery, Storage, StorageError};
use kora_engine::slot::Slot;
use kora_persist::record;
use kora_persist::snapshot::{
    file_name, folder_name, Manifest, Records, SnapshotError, SnapshotReader, MANIFEST_NAME,
};
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Bytes of a file that are read at once.
const READ_BYTES: usize = 256 << 10;

/// Bytes that are gathered for an executor before they are handed over, when records are handed out one by one.
const SHARE_BYTES: usize = 128 << 10;

/// A complete snapshot.
pub(crate) struct Found {
    path: PathBuf,
    manifest: Manifest,
}

/// The newest snapshot of which nothing is missing, and the position up to which there is or was one. Remains of others that were not completed are removed.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn newest(storage: &Storage) -> Result<(Option<Found>, u64), StorageError> {
    let folder = folder_of(&storage.directory.path);
    files::remove_partial(&folder);
    let mut cuts = files::complete_ones(&folder)
        .map_err(|error| StorageError::Io(folder.display().to_string(), error))?;
    cuts.sort_unstable_by(|a, b| b.cmp(a));
    let highest = cuts.first().copied().unwrap_or(0);
    for cut in cuts {
        let path = folder.join(folder_name(cut));
        match manifest_of(&path, storage.directory.id, cut) {
            Ok(manifest) => return Ok((Some(Found { path, manifest }), highest)),
            Err(reason) => {
                tracing::warn!(snapshot = %path.display(), reason, "this snapshot cannot be used");
            }
        }
    }
    Ok((None, highest))
}

/// The manifest of a snapshot of which everything is there.
fn manifest_of(path: &Path, directory: u64, cut: u64) -> Result<Manifest, String> {
    let name = path.join(MANIFEST_NAME);
    let bytes = fs::read(&name).map_err(|error| format!("{}: {error}", name.display()))?;
    let manifest = Manifest::decode(&bytes).map_err(|error| format!("{}: {error}", name.display()))?;
    if manifest.directory != directory {
        return Err("it is of another data directory".into());
    }
    if manifest.cut != cut {
        return Err(format!("it is of log position {}, its folder is not", manifest.cut));
    }
    for (shard, file) in manifest.files.iter().enumerate() {
        let name = path.join(file_name(shard as u16));
        let length = fs::metadata(&name).map_err(|error| format!("{}: {error}", name.display()))?.len();
        if length != file.bytes {
            return Err(format!("{}: {length} bytes long instead of {}", name.display(), file.bytes));
        }
    }
    Ok(manifest)
}

impl Found {
    /// The position of the log up to which changes are in it.
    pub fn cut(&self) -> u64 {
        self.manifest.cut
    }

    /// The run that took it.
    pub fn run(&self) -> u32 {
        self.manifest.run
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.manifest.bytes()
    }

    /// When it was taken, and what is in it.
    pub fn made(&self) -> (u64, Made) {
        let (cut, bytes, keys) = (self.manifest.cut, self.manifest.bytes(), self.manifest.keys());
        (self.manifest.time, Made { cut, bytes, keys })
    }

    /// Hands everything to the executors; returns when they have been given all.
    ///
    /// # Errors
    /// A file is damaged or cannot be read.
    pub fn load(&self, process: &Process) -> Result<(), StorageError> {
        if !self.manifest.functions.is_empty() {
            recovery::hand(process, 0, Load::Functions(self.manifest.functions.clone()));
        }
        let results: Vec<Result<(), StorageError>> = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..self.manifest.files.len() as u16)
                .map(|shard| scope.spawn(move || self.load_file(process, shard)))
                .collect();
            readers.into_iter().map(|reader| reader.join().expect("it does not panic")).collect()
        });
        results.into_iter().collect()
    }

    fn load_file(&self, process: &Process, shard: u16) -> Result<(), StorageError> {
        let path = self.path.join(file_name(shard));
        self.read_file(process, shard, &path).map_err(|error| StorageError::Snapshot { path, error })
    }

    fn read_file(&self, process: &Process, shard: u16, path: &Path) -> Result<(), SnapshotError> {
        let damaged = |what| Err(SnapshotError::Damaged { offset: 0, what });
        let mut reader = SnapshotReader::new(BufReader::with_capacity(READ_BYTES, File::open(path)?))?;
        let (identity, manifest) = (*reader.identity(), &self.manifest);
        let shards = manifest.files.len();
        if (identity.directory, identity.cut) != (manifest.directory, manifest.cut)
            || (identity.shard, usize::from(identity.shards)) != (shard, shards)
        {
            return damaged("the file belongs to another snapshot");
        }
        let count = process.executors();
        let mut shares = Shares { process, shares: vec![Vec::new(); count as usize] };
        let mut read = 0;
        while let Some(records) = reader.next_records()? {
            if shards == usize::from(count) {
                recovery::hand(process, shard, Load::Records(records.into_bytes()));
            } else {
                shares.add(&records)?;
            }
            process.progress.read.fetch_add(reader.offset() - read, Ordering::Relaxed);
            read = reader.offset();
        }
        shares.hand_over(1);
        if reader.summary() != manifest.files[shard as usize] {
            return damaged("the file is not the one that the manifest describes");
        }
        Ok(())
    }
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

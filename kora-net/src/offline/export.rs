//! From a data directory to an RDB file.
//!
//! What a server would restore is restored here: the newest snapshot, then the log behind it. All of it is in memory for that.

use super::{failed, OfflineError};
use crate::process::now_ms;
use crate::storage::directory::{sync_folder, Directory};
use crate::storage::StorageError;
use kora_engine::change::{Change, DeleteReason};
use kora_engine::keyspace::View;
use kora_engine::shard::{EngineConfig, Shard, ShardId};
use kora_engine::slot::Slot;
use kora_persist::error::DecodeError;
use kora_persist::log::{Batch, Folder, Replay};
use kora_persist::rdb::{RdbWriter, WriteError};
use kora_persist::record::Entry;
use kora_persist::snapshot::{
    cut_of_folder, file_name, folder_name, Manifest, SnapshotError, SnapshotReader, MANIFEST_NAME,
};
use kora_script::Libraries;
use std::fs::{self, File, OpenOptions};
use std::io::BufReader;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Bytes of a snapshot that are read at once.
const READ_BYTES: usize = 256 << 10;

/// What an export has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportReport {
    /// Keys in the file.
    pub keys: u64,
    /// Keys whose time had run out.
    pub expired: u64,
    /// Libraries of functions.
    pub libraries: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// The last position of the log that is in it.
    pub last_lsn: u64,
    /// Whether the end of the log was torn by a crash: what stands behind it was never durable.
    pub is_torn: bool,
}

/// Writes all keys of a data directory of so many databases into an RDB file of this version, which replaces what was there when it is complete.
///
/// # Errors
/// The directory is in use or damaged; the file cannot be written, or its version cannot say what the keys hold.
pub fn export(
    file: &Path,
    directory: &Path,
    databases: u16,
    version: u16,
) -> Result<ExportReport, OfflineError> {
    if !directory.is_dir() {
        let error = std::io::ErrorKind::NotFound.into();
        return Err(OfflineError::Io(directory.to_owned(), error));
    }
    let directory = Directory::open(directory)?;
    let mut restored = Restored::new(databases);
    let cut = restored.newest_snapshot(&directory)?;
    let mut report = restored.log(&directory, cut)?;
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = restored.write(&partial, version, &mut report);
    if let Err(error) = written {
        let _ = fs::remove_file(&partial);
        return Err(error);
    }
    fs::rename(&partial, file).map_err(failed(file))?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_folder(folder).map_err(failed(folder))?;
    Ok(report)
}

/// All that a server would have.
struct Restored {
    shard: Shard,
    /// As FUNCTION DUMP gives them.
    functions: Vec<u8>,
}

impl Restored {
    fn new(databases: u16) -> Restored {
        let config = EngineConfig { databases, ..EngineConfig::default() };
        Restored { shard: Shard::new(ShardId { index: 0, count: 1 }, config, 1), functions: Vec::new() }
    }

    fn apply(&mut self, change: &Change<'_>) -> Result<(), DecodeError> {
        self.shard.keys.replay(change, 0).map_err(|_| DecodeError::Value)
    }

    /// Loads the newest snapshot of which nothing is missing; returns up to which position everything is in it.
    fn newest_snapshot(&mut self, directory: &Directory) -> Result<u64, OfflineError> {
        let folder = directory.path.join("snapshots");
        let mut cuts = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed(&folder))? {
            cuts.extend(entry.map_err(failed(&folder))?.file_name().to_str().and_then(cut_of_folder));
        }
        cuts.sort_unstable_by(|a, b| b.cmp(a));
        for cut in cuts {
            let folder = folder.join(folder_name(cut));
            if let Some(manifest) = whole(&folder, directory.id, cut) {
                for shard in 0..manifest.files.len() as u16 {
                    self.snapshot_file(&folder.join(file_name(shard)))?;
                }
                self.functions = manifest.functions;
                return Ok(cut);
            }
            tracing::warn!(snapshot = %folder.display(), "this snapshot is not complete; the one before it is taken");
        }
        Ok(0)
    }

    fn snapshot_file(&mut self, path: &Path) -> Result<(), OfflineError> {
        let refused = |error| OfflineError::Snapshot { path: path.to_owned(), error };
        let file = File::open(path).map_err(failed(path))?;
        let mut reader = SnapshotReader::new(BufReader::with_capacity(READ_BYTES, file)).map_err(refused)?;
        while let Some(records) = reader.next_records().map_err(refused)? {
            let offset = reader.offset();
            let applied = records.for_each(|change| {
                self.apply(change).map_err(|error| SnapshotError::Record { offset, error })
            });
            applied.map_err(refused)?;
        }
        Ok(())
    }

    /// Applies the log behind a position.
    fn log(&mut self, directory: &Directory, cut: u64) -> Result<ExportReport, OfflineError> {
        let damaged = |error| OfflineError::Storage(StorageError::Log(error));
        let mut replay =
            Replay::open(Folder::new(directory.log()), Some(directory.id), cut + 1).map_err(damaged)?;
        while let Some(batch) = replay.next_batch().map_err(damaged)? {
            self.batch(&batch).map_err(|error| {
                let what = format!("the log, position {}", batch.first_lsn);
                OfflineError::Storage(StorageError::Format(what, error.to_string()))
            })?;
        }
        let end = replay.end();
        Ok(ExportReport { last_lsn: end.last_lsn, is_torn: end.torn.is_some(), ..ExportReport::default() })
    }

    fn batch(&mut self, batch: &Batch) -> Result<(), DecodeError> {
        for (_, entry) in batch.entries() {
            match entry {
                Entry::Commit { .. } => {}
                Entry::Functions { dump } => self.functions = dump.to_vec(),
                Entry::Change(Change::FlushDb { db }) => {
                    for name in self.keys_of(db, batch.shard, batch.shards) {
                        self.apply(&Change::Delete { db, key: &name, reason: DeleteReason::Command })?;
                    }
                }
                Entry::Change(Change::SwapDb { a, b }) => self.swap(a, b, batch.shard, batch.shards),
                Entry::Change(change) => self.apply(&change)?,
            }
        }
        Ok(())
    }

    /// The keys of a database that are on a shard of so many.
    fn keys_of(&self, db: u16, shard: u16, shards: u16) -> Vec<Vec<u8>> {
        let (view, mut position, mut names) = (view(db), 0, Vec::new());
        loop {
            position = self.shard.keys.scan(view, position, 1 << 16, &mut |entry| {
                if Slot::of(entry.key()).shard(shards) == shard {
                    names.push(entry.key().to_vec());
                }
            });
            if position == 0 {
                return names;
            }
        }
    }

    /// Exchanges two databases of one shard.
    fn swap(&mut self, a: u16, b: u16, shard: u16, shards: u16) {
        let (of_a, of_b) = (self.keys_of(a, shard, shards), self.keys_of(b, shard, shards));
        let keys = &mut self.shard.keys;
        let mut taken = Vec::new();
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

    fn write(&self, path: &Path, version: u16, report: &mut ExportReport) -> Result<(), OfflineError> {
        let refused = |error| OfflineError::Write { path: path.to_owned(), error };
        let output = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path);
        let mut writer = RdbWriter::new(output.map_err(failed(path))?, version);
        let now = now_ms();
        self.head(&mut writer, now, report).map_err(refused)?;
        for db in 0..self.shard.keys.databases() {
            self.database(db, now, &mut writer, report).map_err(refused)?;
        }
        let (output, bytes) = writer.finish().map_err(refused)?;
        output.sync_all().map_err(failed(path))?;
        report.bytes = bytes;
        Ok(())
    }

    fn head(
        &self,
        writer: &mut RdbWriter<File>,
        now: u64,
        report: &mut ExportReport,
    ) -> Result<(), WriteError> {
        writer.aux("kora-ver", env!("CARGO_PKG_VERSION").as_bytes())?;
        writer.aux("redis-bits", b"64")?;
        writer.aux("ctime", (now / 1000).to_string().as_bytes())?;
        if !self.functions.is_empty() {
            // They were loaded once: whatever cannot be read of them is not ours to judge here.
            for source in Libraries::sources_of(&self.functions).unwrap_or_default() {
                writer.library(source.text())?;
                report.libraries += 1;
            }
        }
        Ok(())
    }

    fn database(
        &self,
        db: u16,
        now: u64,
        writer: &mut RdbWriter<File>,
        report: &mut ExportReport,
    ) -> Result<(), WriteError> {
        let facts = self.shard.keys.db_stats(db);
        if facts.keys == 0 {
            return Ok(());
        }
        writer.sizes(db, facts.keys, facts.expires)?;
        let (mut position, mut result) = (0, Ok(()));
        loop {
            position = self.shard.keys.scan(view(db), position, 1 << 12, &mut |entry| {
                let expire_at = entry.expire_at();
                if result.is_err() {
                } else if expire_at.is_some_and(|at| at <= now) {
                    report.expired += 1;
                } else {
                    result = writer.key(db, entry.key(), entry.value(), expire_at, None);
                    report.keys += 1;
                }
            });
            if position == 0 || result.is_err() {
                return result;
            }
        }
    }
}

/// The manifest of a snapshot of which everything is there.
fn whole(folder: &Path, directory: u64, cut: u64) -> Option<Manifest> {
    let manifest = Manifest::decode(&fs::read(folder.join(MANIFEST_NAME)).ok()?).ok()?;
    let is_whole = |(shard, bytes): (usize, u64)| {
        fs::metadata(folder.join(file_name(shard as u16))).is_ok_and(|file| file.len() == bytes)
    };
    let files = manifest.files.iter().map(|file| file.bytes).enumerate().all(is_whole);
    (manifest.directory == directory && manifest.cut == cut && files).then_some(manifest)
}

/// Time stands still.
fn view(db: u16) -> View {
    View { db, now: 0, touch: false }
}

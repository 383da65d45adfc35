//! From a data directory to an RDB file.
//!
//! What a server would restore is restored here: the newest snapshot, then the log behind it. All of it is in memory for that.

use super::{failed, OfflineError};
use crate::process::now_ms;
use crate::storage::directory::{sync_folder, Directory};
use crate::storage::layout::{self, Part};
use crate::storage::StorageError;
use kora_engine::change::Change;
use kora_engine::shard::{EngineConfig, Shard, ShardId};
use kora_persist::error::DecodeError;
use kora_persist::log::Batch;
use kora_persist::rdb::{RdbWriter, WriteError};
use kora_persist::record::Entry;
use kora_persist::recovery::{self, ShardFile};
use kora_persist::snapshot::{file_name, Manifest, SnapshotError};
use kora_script::Libraries;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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

/// Writes all keys of a data directory of so many databases, where changes are `logged` or not, into an RDB file of this version, which replaces what was there when it is
/// complete.
///
/// # Errors
/// The directory is in use or damaged; the file cannot be written, or its version cannot say what the keys hold.
pub fn export(
    file: &Path,
    directory: &Path,
    databases: u16,
    logged: bool,
    version: u16,
) -> Result<ExportReport, OfflineError> {
    if !directory.is_dir() {
        let error = std::io::ErrorKind::NotFound.into();
        return Err(OfflineError::Io(directory.to_owned(), error));
    }
    let directory = Directory::open(directory)?;
    let mut restored = Restored::new(databases);
    let mut report = restored.restore(&directory, logged)?;
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

    /// Loads what a server would.
    fn restore(&mut self, directory: &Directory, logged: bool) -> Result<ExportReport, OfflineError> {
        let folder = directory.snapshots();
        let snapshots = recovery::snapshots(&folder, directory.id).map_err(failed(&folder))?;
        let damaged = |error| OfflineError::Storage(StorageError::Log(error));
        let replay = recovery::log_behind(&snapshots, &directory.log(), directory.id, logged);
        let mut replay = replay.map_err(damaged)?;
        for snapshot in snapshots.iter().take_while(|snapshot| snapshot.manifest.is_err()) {
            tracing::warn!(snapshot = %snapshot.path.display(), "this snapshot is not complete; the one before it is taken");
        }
        if let Some((snapshot, manifest)) = recovery::base(&snapshots) {
            for shard in 0..manifest.files.len() as u16 {
                let path = snapshot.path.join(file_name(shard));
                let loaded = self.shard_file(&snapshot.path, manifest, shard);
                loaded.map_err(|error| OfflineError::Snapshot { path, error })?;
            }
            self.functions.clone_from(&manifest.functions);
        }
        while let Some(batch) = replay.next_batch().map_err(damaged)? {
            self.batch(&batch).map_err(|error| {
                let what = format!("the log, position {}", batch.first_lsn);
                OfflineError::Storage(StorageError::Format(what, error.to_string()))
            })?;
        }
        let end = replay.end();
        Ok(ExportReport { last_lsn: end.last_lsn, is_torn: end.torn.is_some(), ..ExportReport::default() })
    }

    fn shard_file(&mut self, folder: &Path, manifest: &Manifest, shard: u16) -> Result<(), SnapshotError> {
        let mut file = ShardFile::open(folder, manifest, shard)?;
        while let Some(records) = file.next_records()? {
            let offset = file.offset();
            records.for_each(|change| {
                self.apply(change).map_err(|error| SnapshotError::Record { offset, error })
            })?;
        }
        Ok(())
    }

    fn batch(&mut self, batch: &Batch) -> Result<(), DecodeError> {
        let part = Part { of: batch.shard, count: batch.shards };
        for (_, entry) in batch.entries() {
            match entry {
                Entry::Commit { .. } => {}
                Entry::Functions { dump } => self.functions = dump.to_vec(),
                Entry::Change(Change::FlushDb { db }) => layout::flush(&mut self.shard.keys, db, part),
                Entry::Change(Change::SwapDb { a, b }) => layout::swap(&mut self.shard.keys, a, b, part),
                Entry::Change(change) => self.apply(&change)?,
            }
        }
        Ok(())
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
            position = self.shard.keys.scan(layout::view(db), position, 1 << 12, &mut |entry| {
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

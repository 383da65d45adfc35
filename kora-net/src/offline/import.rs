//! From an RDB file to the first snapshot of a data directory.
//!
//! Keys go to the file of the shard that owns them, one after the other; at no time is more in memory than one key and what waits to be written.
//! The snapshot is valid when its folder gets its name, which is the last step: an import that fails leaves nothing behind.

use super::{failed, OfflineError};
use crate::process::now_ms;
use crate::snapshot::files;
use crate::storage::directory::Directory;
use kora_engine::change::ChangeValue;
use kora_engine::limits::EncodingLimits;
use kora_engine::rdb::Loader;
use kora_engine::slot::Slot;
use kora_engine::value::item::Item;
use kora_persist::log::{Files, Folder};
use kora_persist::rdb::{Key, Loaded, Part, RdbReader};
use kora_persist::recovery;
use kora_persist::snapshot::{
    file_name, folder_name, FileSummary, Identity, Manifest, Op, SnapshotWriter, PARTIAL_SUFFIX,
};
use kora_script::LibrarySource;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// The position of the log before which everything is in the snapshot: the first change of the server gets position 1.
const CUT: u64 = 0;

/// How an import is done.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Number of databases that the server will have.
    pub databases: u16,
    /// Number of files: a server with as many executors loads each by itself.
    pub shards: u16,
    /// Up to where collections are packed.
    pub limits: EncodingLimits,
}

/// What an import has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Keys that were imported.
    pub keys: u64,
    /// Keys whose time had run out.
    pub expired: u64,
    /// Collections without elements, which no key can hold.
    pub empty: u64,
    /// Libraries of functions.
    pub libraries: u64,
    /// What only modules of Redis can read, and how many keys had it.
    pub modules: Vec<(String, u64)>,
    /// Bytes of the RDB file.
    pub bytes_read: u64,
    /// Bytes of the snapshot.
    pub bytes_written: u64,
    /// What wrote the file, if it says so: `redis-ver` and its like.
    pub written_by: Option<String>,
}

/// Imports an RDB file into a data directory that has no data yet; it is made if it is not there.
///
/// # Errors
/// The directory has data, is in use or cannot be written; the file is damaged or none. Nothing was imported then.
pub fn import(file: &Path, directory: &Path, options: &ImportOptions) -> Result<ImportReport, OfflineError> {
    let input = File::open(file).map_err(failed(file))?;
    let directory = Directory::open(directory)?;
    let snapshots = directory.snapshots();
    if has_data(&directory.log(), &snapshots).map_err(failed(&directory.path))? {
        return Err(OfflineError::NotEmpty(directory.path));
    }
    let partial = snapshots.join(format!("{}{PARTIAL_SUFFIX}", folder_name(CUT)));
    let done = Import::begin(&directory, &partial, options).and_then(|mut import| {
        import.read(input, file)?;
        import.complete(&snapshots)
    });
    if done.is_err() {
        // The reason is what matters; what is left of it a server removes when it starts.
        let _ = fs::remove_dir_all(&partial);
    }
    done
}

/// Whether there is a log or a snapshot.
fn has_data(log: &Path, snapshots: &Path) -> io::Result<bool> {
    Ok(!Folder::new(log).list()?.is_empty() || !recovery::complete(snapshots)?.is_empty())
}

/// The file of a shard.
struct Output {
    file: File,
    writer: SnapshotWriter,
}

impl Output {
    /// Writes what is ready; when that was the last of it and is durable, what the file is.
    fn write(&mut self) -> io::Result<Option<FileSummary>> {
        while let Some(op) = self.writer.poll() {
            match op {
                Op::Write { offset, buffer } => {
                    self.file.write_all_at(buffer.as_slice(), offset)?;
                    self.writer.written(buffer);
                }
                Op::Sync(summary) => {
                    self.file.sync_all()?;
                    return Ok(Some(summary));
                }
            }
        }
        Ok(None)
    }
}

/// An import under way.
struct Import<'a> {
    directory: &'a Directory,
    partial: &'a Path,
    options: &'a ImportOptions,
    outputs: Vec<Output>,
    libraries: Vec<LibrarySource>,
    now: u64,
    report: ImportReport,
}

impl<'a> Import<'a> {
    fn begin(
        directory: &'a Directory,
        partial: &'a Path,
        options: &'a ImportOptions,
    ) -> Result<Import<'a>, OfflineError> {
        files::begin_folder(partial).map_err(failed(partial))?;
        let mut outputs = Vec::new();
        for shard in 0..options.shards {
            let path = partial.join(file_name(shard));
            let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path);
            let identity = Identity { directory: directory.id, cut: CUT, shard, shards: options.shards };
            outputs
                .push(Output { file: file.map_err(failed(&path))?, writer: SnapshotWriter::new(&identity) });
        }
        let (libraries, report) = (Vec::new(), ImportReport::default());
        Ok(Import { directory, partial, options, outputs, libraries, now: now_ms(), report })
    }

    /// Reads the whole file.
    fn read(&mut self, input: File, path: &Path) -> Result<(), OfflineError> {
        let refused = |error| OfflineError::Rdb { path: path.to_owned(), error };
        // Members are hashed to be looked up while a value is built; what is written does not depend on how.
        let mut loader = Loader::new(self.options.limits, 0);
        let mut reader = RdbReader::new(input, self.options.databases).map_err(refused)?;
        while let Some(part) = reader.next(&mut loader).map_err(refused)? {
            match part {
                Part::Key(key) => self.key(key)?,
                Part::Library(code) => self.library(code),
                Part::Aux { name, value } => {
                    if name.ends_with(b"-ver") {
                        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                        self.report.written_by = Some(format!("{} {}", text(name), text(value)));
                    }
                }
                Part::Module { name, key } => {
                    let keys = u64::from(key.is_some());
                    match self.report.modules.iter_mut().find(|(module, _)| *module == name) {
                        Some((_, count)) => *count += keys,
                        None => self.report.modules.push((name, keys)),
                    }
                }
                Part::Sizes { .. } => {}
            }
        }
        self.report.bytes_read = reader.offset();
        Ok(())
    }

    fn key(&mut self, key: Key<'_>) -> Result<(), OfflineError> {
        let Key { db, name, value, expire_at, usage: _ } = key;
        if expire_at.is_some_and(|at| at <= self.now) {
            self.report.expired += 1;
            return Ok(());
        }
        let shard = Slot::of(name).shard(self.options.shards);
        let Output { writer, .. } = &mut self.outputs[shard as usize];
        let value = match &value {
            Loaded::Empty => {
                self.report.empty += 1;
                return Ok(());
            }
            Loaded::String(text) => match Item::of(text) {
                Item::Int(int) => ChangeValue::Int(int),
                Item::Bytes(text) => ChangeValue::Bytes(text),
            },
            Loaded::LongString(text) => ChangeValue::Bytes(text),
            Loaded::Object(object) => ChangeValue::Object(object.borrowed()),
        };
        writer.push_value(db, name, value, expire_at);
        self.report.keys += 1;
        writer.work(usize::MAX);
        let written = self.outputs[shard as usize].write();
        written.map_err(|error| OfflineError::Io(self.partial.join(file_name(shard)), error))?;
        Ok(())
    }

    /// A library whose first line is not that of a library of functions is no reason to leave all keys where they are.
    fn library(&mut self, code: &[u8]) {
        match LibrarySource::new(code) {
            Ok(source) => {
                self.libraries.push(source);
                self.report.libraries += 1;
            }
            Err(error) => {
                let error = String::from_utf8_lossy(error.text());
                tracing::warn!(%error, "a library of functions cannot be loaded and is left out");
            }
        }
    }

    /// Makes the snapshot valid.
    fn complete(mut self, snapshots: &Path) -> Result<ImportReport, OfflineError> {
        let mut files: Vec<FileSummary> = Vec::new();
        for (shard, output) in self.outputs.iter_mut().enumerate() {
            let path = self.partial.join(file_name(shard as u16));
            output.writer.finish();
            let summary = output.write().map_err(failed(&path))?;
            files.push(summary.expect("nothing else is under way"));
        }
        let manifest = Manifest {
            directory: self.directory.id,
            cut: CUT,
            // The first run comes after it.
            run: 0,
            time: self.now,
            databases: self.options.databases.into(),
            files,
            functions: LibrarySource::dump(&self.libraries),
        };
        self.report.bytes_written = manifest.bytes();
        files::make_valid(self.partial, snapshots, &manifest).map_err(failed(self.partial))?;
        Ok(self.report)
    }
}

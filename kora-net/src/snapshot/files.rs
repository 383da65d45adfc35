//! The thread that writes snapshots.
//!
//! It gets what executors have packed, in whatever order, and each executor's word when its part is complete or was given up. After the last word the snapshot
//! is made valid, in an order that a crash may end anywhere: files synced, manifest written and synced, folder synced, folder renamed, its parent synced. Only then the log before the
//! cut is used again and older snapshots go.

use super::{Made, Take};
use crate::process::{now_ms, Process};
use crate::storage::direct::Direct;
use crate::storage::directory::sync_folder;
use crate::storage::{Storage, StorageError};
use kora_persist::block::BlockBuffer;
use kora_persist::recovery;
use kora_persist::snapshot::{file_name, folder_name, FileSummary, Manifest, MANIFEST_NAME, PARTIAL_SUFFIX};
use std::ffi::CString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{channel, Receiver};
use std::sync::{Arc, Mutex, Weak};

/// What the thread is asked for.
pub(crate) enum Job {
    /// A snapshot begins.
    Begin(Arc<Take>),
    /// Write this into the file of a shard.
    Write { take: Arc<Take>, shard: u16, offset: u64, buffer: BlockBuffer },
    /// All of a shard's file was given.
    Complete { take: Arc<Take>, shard: u16, summary: FileSummary },
    /// An executor has given up its part, and is ready for another snapshot.
    GivenUp { take: Arc<Take>, reason: Option<String> },
}

/// Starts the thread; it ends when the process does.
///
/// # Errors
/// There is no thread to be had.
pub(crate) fn start(process: &Arc<Process>) -> Result<(), StorageError> {
    let Some(storage) = &process.storage else { return Ok(()) };
    let (jobs, queue) = channel();
    let _ = storage.snapshots.jobs.set(Mutex::new(jobs));
    let worker = Worker {
        process: Arc::downgrade(process),
        folder: storage.directory.snapshots(),
        directory: storage.directory.id,
        shards: process.executors(),
        taking: None,
        direct: Direct::default(),
    };
    let thread = std::thread::Builder::new().name("kora-snapshot".into()).spawn(move || worker.work(&queue));
    thread.map(drop).map_err(|error| StorageError::Io("the thread of snapshots".into(), error))
}

struct Worker {
    process: Weak<Process>,
    folder: PathBuf,
    directory: u64,
    shards: u16,
    taking: Option<Taking>,
    direct: Direct,
}

/// The snapshot that is being written.
struct Taking {
    partial: PathBuf,
    files: Vec<File>,
    summaries: Vec<Option<FileSummary>>,
    /// Executors that have not had their last word.
    missing: u16,
    error: Option<String>,
}

impl Worker {
    fn work(mut self, queue: &Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            match job {
                Job::Begin(take) => self.begin(&take),
                Job::Write { take, shard, offset, buffer } => {
                    self.attempt(&take, |taking, _| {
                        taking.files[shard as usize].write_all_at(buffer.as_slice(), offset)
                    });
                    take.give_back(shard, buffer);
                    if let Some(process) = self.process.upgrade() {
                        process.doorbells[shard as usize].ring();
                    }
                }
                Job::Complete { take, shard, summary } => {
                    self.attempt(&take, |taking, _| {
                        taking.summaries[shard as usize] = Some(summary);
                        taking.files[shard as usize].sync_data()
                    });
                    self.last_word(&take, None);
                }
                Job::GivenUp { take, reason } => self.last_word(&take, reason),
            }
        }
    }

    fn begin(&mut self, take: &Take) {
        let partial = self.folder.join(format!("{}{PARTIAL_SUFFIX}", folder_name(take.cut)));
        let shards = self.shards;
        let summaries = vec![None; shards as usize];
        self.taking = Some(Taking { partial, files: Vec::new(), summaries, missing: shards, error: None });
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        self.attempt(take, |taking, direct| {
            begin_folder(&taking.partial)?;
            for shard in 0..shards {
                taking.files.push(direct.open(&options, &taking.partial.join(file_name(shard)))?);
            }
            Ok(())
        });
    }

    /// Does something for the snapshot, unless it has failed before.
    fn attempt(&mut self, take: &Take, f: impl FnOnce(&mut Taking, &mut Direct) -> io::Result<()>) {
        let Some(taking) = &mut self.taking else { return };
        if taking.error.is_some() {
            return;
        }
        if let Err(error) = f(taking, &mut self.direct) {
            taking.error = Some(format!("{}: {error}", taking.partial.display()));
            take.failed.store(true, Ordering::SeqCst);
            if let Some(process) = self.process.upgrade() {
                process.doorbells.iter().for_each(|doorbell| doorbell.ring());
            }
        }
    }

    /// An executor has said that its part is complete, or why not.
    fn last_word(&mut self, take: &Take, reason: Option<String>) {
        let Some(taking) = &mut self.taking else { return };
        taking.missing -= 1;
        if taking.error.is_none() {
            taking.error = reason;
        }
        if taking.missing > 0 {
            return;
        }
        let Some(taking) = self.taking.take() else { return };
        let Some(process) = self.process.upgrade() else { return };
        let storage = process.storage.as_ref().expect("the thread works for it");
        let partial = taking.partial.clone();
        let made = self.complete(take, taking, storage);
        if made.is_err() {
            // What is left of it is removed at the next start at the latest.
            let _ = fs::remove_dir_all(&partial);
        }
        storage.snapshots.end(now_ms(), made, &process.doorbells);
    }

    /// Makes the snapshot valid.
    fn complete(&self, take: &Take, taking: Taking, storage: &Storage) -> Result<Made, String> {
        let Taking { partial, files, summaries, error, .. } = taking;
        drop(files);
        let files: Option<Vec<FileSummary>> = summaries.into_iter().collect();
        let files = match (error, files) {
            (None, Some(files)) => files,
            (error, _) => return Err(error.unwrap_or_else(|| "it was given up".into())),
        };
        let manifest = Manifest {
            directory: self.directory,
            cut: take.cut,
            run: storage.snapshots.run.load(Ordering::Relaxed),
            time: take.time,
            databases: u32::from(take.databases),
            files,
            functions: take.functions.clone(),
        };
        let valid = make_valid(&partial, &self.folder, &manifest);
        valid.map_err(|error| format!("{}: {error}", self.folder.join(folder_name(take.cut)).display()))?;
        // From here on it counts, whatever becomes of the rest.
        if let Some(log) = storage.log.get() {
            log.keeper.recycle(take.cut);
        }
        self.remove_old(storage.snapshots.options.retain);
        Ok(Made { cut: take.cut, bytes: manifest.bytes(), keys: manifest.keys() })
    }

    /// Removes all but the newest ones.
    fn remove_old(&self, retain: u32) {
        let snapshots = match recovery::complete(&self.folder) {
            Ok(snapshots) => snapshots,
            Err(error) => {
                tracing::warn!(folder = %self.folder.display(), %error, "old snapshots stay");
                return;
            }
        };
        for (_, path) in snapshots.into_iter().skip(retain.max(1) as usize) {
            if let Err(error) = fs::remove_dir_all(&path) {
                tracing::warn!(snapshot = %path.display(), %error, "an old snapshot stays");
            }
        }
    }
}

/// Removes what was left of snapshots that were not completed.
pub(crate) fn remove_partial(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.ends_with(PARTIAL_SUFFIX)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// An empty folder for a snapshot that is not complete yet.
pub(crate) fn begin_folder(partial: &Path) -> io::Result<()> {
    remove_if_there(partial)?;
    DirBuilder::new().mode(0o700).create(partial)
}

/// Gives a snapshot, all of whose files are durable, its manifest and its name.
pub(crate) fn make_valid(partial: &Path, folder: &Path, manifest: &Manifest) -> io::Result<()> {
    write_manifest(partial, manifest)?;
    put_in_place(partial, &folder.join(folder_name(manifest.cut)))?;
    sync_folder(folder)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_manifest(folder: &Path, manifest: &Manifest) -> io::Result<()> {
    let mut file =
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(folder.join(MANIFEST_NAME))?;
    file.write_all(&manifest.encode())?;
    file.sync_all()?;
    sync_folder(folder)
}

/// Gives a folder its name. One that has this name already, of the same cut as nothing was changed since, changes places with it in one step: there is always one.
fn put_in_place(partial: &Path, name: &Path) -> io::Result<()> {
    if !name.exists() {
        return fs::rename(partial, name);
    }
    let path = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from);
    let (from, to) = (path(partial)?, path(name)?);
    // SAFETY: two strings that end with zero, which live until the call returns.
    let exchanged = unsafe {
        libc::renameat2(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), libc::RENAME_EXCHANGE)
    };
    if exchanged != 0 {
        let error = io::Error::last_os_error();
        if !matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) {
            return Err(error);
        }
        // The file system cannot do it; the one that is there holds the same.
    }
    remove_if_there(partial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_takes_the_place_of_one_with_its_name() {
        let root =
            std::env::temp_dir().join(format!("kora-snapshot-{}-{}", std::process::id(), fastrand::u64(..)));
        let (partial, name) = (root.join("5.partial"), root.join("5"));
        for content in ["first", "second"] {
            fs::create_dir_all(&partial).unwrap();
            fs::write(partial.join("file"), content).unwrap();
            put_in_place(&partial, &name).unwrap();
            assert_eq!(fs::read_to_string(name.join("file")).unwrap(), content);
            assert!(!partial.exists());
        }
        fs::create_dir_all(root.join("0000000000000009.partial")).unwrap();
        fs::create_dir_all(root.join("000000000000000a")).unwrap();
        let complete = recovery::complete(&root).unwrap();
        assert_eq!(complete.into_iter().map(|(cut, _)| cut).collect::<Vec<_>>(), [10]);
        remove_partial(&root);
        assert!(!root.join("0000000000000009.partial").exists() && root.join("000000000000000a").exists());
        fs::remove_dir_all(&root).unwrap();
    }
}

//! The data directory: who owns it, and what lies where in it.
//!
//! ```text
//! kora.lock       held by the process that works here
//! kora.id         16 hexadecimal digits, chosen when the directory was made: files of another one are recognised
//! log/            segments, see kora_persist::log
//! snapshots/      one folder per snapshot
//! ```

use super::StorageError;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A data directory that belongs to this process alone, until it is dropped or the process ends, however it does.
pub(crate) struct Directory {
    /// Its path.
    pub path: PathBuf,
    /// Its number, by which its files know it.
    pub id: u64,
    _lock: File,
}

impl Directory {
    /// Makes the directory if there is none, and takes it.
    ///
    /// # Errors
    /// Another process has it, or it cannot be made or written to.
    pub fn open(path: &Path) -> Result<Directory, StorageError> {
        let failed = |what: &Path| {
            let what = what.display().to_string();
            move |error: std::io::Error| StorageError::Io(what, error)
        };
        for folder in [path.to_owned(), path.join("log"), path.join("snapshots")] {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed(&folder))?;
        }
        let lock = path.join("kora.lock");
        let file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&lock);
        let mut file = file.map_err(failed(&lock))?;
        // SAFETY: a descriptor that we own.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let error = std::io::Error::last_os_error();
            if error.kind() != std::io::ErrorKind::WouldBlock {
                return Err(StorageError::Io(lock.display().to_string(), error));
            }
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            return Err(StorageError::Locked { path: path.to_owned(), owner: owner.trim().to_owned() });
        }
        file.set_len(0).map_err(failed(&lock))?;
        file.seek(SeekFrom::Start(0)).map_err(failed(&lock))?;
        writeln!(file, "{}", std::process::id()).map_err(failed(&lock))?;
        let id = identity(path)?;
        Ok(Directory { path: path.to_owned(), id, _lock: file })
    }

    /// Where segments of the log are.
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where snapshots are.
    pub fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots")
    }
}

/// The number of a directory; a new one gets one.
fn identity(path: &Path) -> Result<u64, StorageError> {
    let name = path.join("kora.id");
    let failed = |error| StorageError::Io(name.display().to_string(), error);
    match std::fs::read_to_string(&name) {
        Ok(text) => u64::from_str_radix(text.trim(), 16).map_err(|_| {
            StorageError::Format(name.display().to_string(), "16 hexadecimal digits are expected".into())
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = fastrand::u64(1..);
            let new = path.join("kora.id.new");
            let mut file = File::create(&new).map_err(failed)?;
            writeln!(file, "{id:016x}").and_then(|()| file.sync_all()).map_err(failed)?;
            std::fs::rename(&new, &name).map_err(failed)?;
            sync_folder(path).map_err(failed)?;
            Ok(id)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Makes what was created, renamed or removed in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

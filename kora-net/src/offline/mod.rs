//! What works on a data directory without a server: Redis's RDB files in and out; what is there, whether it is whole, and how it is mended.
//!
//! An import makes the first snapshot of an empty directory, and the server that starts there loads it. An export restores what a server would restore,
//! newest snapshot and log, into memory and writes it as an RDB file. All of it holds the directory's lock, so no server runs there meanwhile.

mod export;
mod import;
pub mod tools;

pub use export::{export, ExportReport};
pub use import::{import, ImportOptions, ImportReport};

use crate::storage::StorageError;
use kora_persist::rdb;
use kora_persist::snapshot::SnapshotError;
use std::io;
use std::path::{Path, PathBuf};

/// Why an import or export was not done.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The data directory cannot be used, or its log is damaged.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The directory has data. An import would have to mix two sets of keys.
    #[error("{0} has data already: import into an empty directory, or into a running server with `redis-cli` and RESTORE")]
    NotEmpty(PathBuf),
    /// The RDB file is damaged, is none, or cannot be read.
    #[error("{path}: {error}")]
    Rdb {
        /// The file.
        path: PathBuf,
        /// What and where.
        error: rdb::Error,
    },
    /// The RDB file cannot be written.
    #[error("{path}: {error}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: rdb::WriteError,
    },
    /// A snapshot is damaged.
    #[error("{path}: {error}")]
    Snapshot {
        /// Its file.
        path: PathBuf,
        /// What and where.
        error: SnapshotError,
    },
    /// The directory cannot be looked at or mended.
    #[error(transparent)]
    Tool(#[from] kora_persist::tools::ToolError),
    /// A file cannot be opened, made, read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

/// An error of the file system with the path that it is about.
fn failed(path: &Path) -> impl Fn(io::Error) -> OfflineError + '_ {
    |error| OfflineError::Io(path.to_owned(), error)
}

//! What is on the disk: the log of changes, as the executors of a process share it.
//!
//! | file | what is in it |
//! |---|---|
//! | [`directory`] | the data directory and its owner |
//! | [`direct`] | files that go around the page cache |
//! | [`keeper`] | the thread that has segments ready |
//! | [`loading`] | how executors take in what was read at the start |
//! | [`layout`] | what shards of another layout have done to whole databases |
//! | [`recovery`] | the thread that reads it |
//! | [`log`] | an executor's end of the log: what is written when, and which replies wait for it |
//!
//! The formats, and what decides which bytes go where and in which order, are pure code in `kora_persist`. Here they meet files and the turn.
//!
//! Each executor writes segments of its own, through its socket ring: a write wakes it like a socket, costs no system call of its own, and there is no
//! second event loop to wait in. What orders the segments is the one sequence of positions (LSN) that all executors draw from.

pub(crate) mod direct;
pub(crate) mod directory;
pub(crate) mod keeper;
pub(crate) mod layout;
pub(crate) mod loading;
pub(crate) mod log;
pub(crate) mod recovery;

use crate::mail::Doorbell;
use crate::process::{lock, now_ms};
pub use crate::snapshot::SnapshotOptions;
use crate::snapshot::Snapshots;
use directory::Directory;
use keeper::Keeper;
pub use kora_persist::log::WalSync;
use kora_persist::log::{Op, Order};
use kora_persist::snapshot::SnapshotError;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// What is kept on the disk, and how.
#[derive(Debug, Clone)]
pub struct StorageOptions {
    /// The data directory.
    pub dir: PathBuf,
    /// Whether changes are logged.
    pub wal: bool,
    /// When a change is on the disk.
    pub sync: WalSync,
    /// Bytes of log after which a snapshot is taken.
    pub wal_max_bytes: u64,
    /// When else snapshots are taken, and how many are kept.
    pub snapshots: SnapshotOptions,
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A snapshot is damaged.
    #[error("{path}: {error}. Move the folder of this snapshot away to start with an older one, if there is one, and the log that is left; or restore it from a backup")]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: SnapshotError,
    },
    /// Another process works there.
    #[error(
        "the data directory {path} is in use by process {owner}; stop that one, or set another data_dir"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// What the other has written of itself.
        owner: String,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] kora_persist::log::LogError),
    /// A file cannot be made, read or written.
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    /// A file holds what does not belong there.
    #[error("{0}: {1}")]
    Format(String, String),
}

/// What the executors share of the log of this run.
pub(crate) struct SharedLog {
    /// Draws positions, and knows up to which everything is durable.
    pub order: Arc<Order>,
    /// Has segments ready.
    pub keeper: Keeper,
    /// How many times this directory was opened for writing.
    pub run: u32,
    /// The first position of this run.
    pub first_lsn: u64,
    /// Writes that were begun.
    pub writes: AtomicU64,
    /// Times that the disk was asked to make something durable, with writes or apart from them.
    pub syncs: AtomicU64,
    /// Per executor: the first position that a reply of it waits for; `u64::MAX` when none does.
    pub awaited: Box<[AtomicU64]>,
}

impl SharedLog {
    /// Counts an operation.
    fn count(&self, op: &Op<'_>) {
        if let Op::Write { .. } = op {
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
        if let Op::Write { dsync: true, .. } | Op::Sync { .. } = op {
            self.syncs.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the executors share of the data directory.
pub(crate) struct Storage {
    /// As configured.
    pub options: StorageOptions,
    /// The directory, ours alone.
    pub directory: Directory,
    /// Snapshots.
    pub snapshots: Snapshots,
    /// The log of this run, once what was there is loaded.
    pub log: OnceLock<Arc<SharedLog>>,
    /// Something was not written: nothing more is, and commands that write are refused.
    poisoned: AtomicBool,
    /// What it was.
    cause: Mutex<String>,
    doorbells: Arc<[Doorbell]>,
}

impl Storage {
    /// Takes the data directory.
    ///
    /// # Errors
    /// It is in use, or cannot be used.
    pub fn open(options: StorageOptions, doorbells: Arc<[Doorbell]>) -> Result<Storage, StorageError> {
        let directory = Directory::open(&options.dir)?;
        let snapshots = Snapshots::new(options.snapshots.clone(), doorbells.len(), now_ms());
        Ok(Storage {
            snapshots,
            log: OnceLock::new(),
            options,
            directory,
            poisoned: AtomicBool::new(false),
            cause: Mutex::default(),
            doorbells,
        })
    }

    /// Whether commands that write are refused.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Relaxed)
    }

    /// Why.
    pub fn cause(&self) -> String {
        lock(&self.cause).clone()
    }

    /// Nothing is written any more, because of this.
    pub fn poison(&self, cause: &str) {
        let mut first = lock(&self.cause);
        if self.poisoned.load(Ordering::Relaxed) {
            return;
        }
        tracing::error!(
            cause,
            "the log cannot be written: commands that write are refused from now on, reads go on. Mend the cause and start again"
        );
        first.push_str(cause);
        self.poisoned.store(true, Ordering::SeqCst);
        drop(first);
        self.doorbells.iter().for_each(Doorbell::ring);
    }
}

//! What can be wrong with a snapshot.

use crate::error::DecodeError;

/// Why a snapshot was refused. The reader's caller adds which file.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file could not be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The file is something else.
    #[error("not a snapshot of Kora")]
    Magic,
    /// The file is intact and from a newer server. Start that one.
    #[error("snapshot format version {found} is unknown; this server reads up to {known}: use a newer one")]
    Version {
        /// In the file.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// Bytes changed after they were written, or were not all written. An older snapshot, if one is kept, and the log from it on have the data.
    #[error("damaged at byte {offset}: {what}")]
    Damaged {
        /// Where the damaged part begins.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A record of an intact block is none.
    #[error("the block at byte {offset} holds a record that cannot be: {error}")]
    Record {
        /// Where the block begins.
        offset: u64,
        /// What is wrong.
        error: DecodeError,
    },
}

//! The log: what is written where, and what it means when it is read again.
//!
//! | file | what is in it |
//! |---|---|
//! | [`order`] | the one sequence of log positions, and up to where it is durable |
//! | [`segment`] | the first block of a file |
//! | [`files`] | where segments are read from |
//! | [`reader`] | the intact frames of one segment |
//! | [`replay`] | the whole log in order: recovery |
//! | [`writer`] | what one executor writes and when: operations out, completions in |
//!
//! **Order.** All executors of a process draw log positions (LSN) from one counter, without gaps. An executor collects the records of its changes and *seals* them before
//! anything leaves it that could tell of them. So what happened because of a change has a higher position than the change, wherever it happened, and any prefix of the sequence is a
//! state that the process was in. That is what a recovery restores: everything up to the first position that is missing.
//!
//! **Files.** Each executor writes segments of its own, one write at a time. Where a frame lies means nothing; its positions say all. A write begins on a block and fills blocks up with
//! zeros, and no block is written twice while a segment is in use: a torn write never damages what was durable.
//!
//! **Damage or tear.** Each frame says up to where everything was durable when it was written. A position that is missing although some frame calls it durable is damage; any other gap
//! is where a crash has torn the log.

pub mod files;
pub mod order;
pub mod reader;
pub mod replay;
pub mod segment;
pub mod writer;

pub use files::{Files, Folder};
pub use order::Order;
pub use replay::{Batch, End, LogError, Replay};
pub use writer::{Closed, LogWriter, Mark, Op, Poison, Segment, WalSync, WriterConfig};

/// The name of the file of a segment.
pub fn segment_name(id: u64) -> String {
    format!("{id:016x}.klog")
}

/// The number of the segment whose file has this name.
pub fn segment_id(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".klog").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|&id| segment_name(id) == name)
}

//! Durable formats of Kora: what a change looks like as bytes.
//!
//! Pure code: bytes in, values out. What is written to files are operations that somebody else carries out; only [`log::Folder`] opens some, to read them, and [`tools`].
//!
//! | file | what it describes |
//! |---|---|
//! | [`record`] | one [`Change`](kora_engine::change::Change) as bytes |
//! | [`frame`] | a run of one shard's records with its place in the log and a checksum |
//! | [`snapshot`] | everything that all shards held at one moment |
//! | [`log`] | the log: what is written where, and how it is read again |
//! | [`rdb`] | files in Redis's own format |
//! | [`tools`] | a data directory looked at, checked and repaired |
//! | [`recovery`] | where a recovery begins: the newest whole snapshot, and the log behind it |
//! | [`block`] | buffers for direct I/O |
//! | [`varint`] | the integers inside records |
//! | [`error`] | everything that can be wrong with bytes |
//! | [`limits`] | the sizes that decoders accept |
//!
//! Every decoder takes its input for hostile. It never panics, it borrows keys and values from the input instead of
//! allocating from a length field, and it accepts exactly one encoding of each value, so what was read can be written
//! again byte for byte.
//!
//! ```
//! use kora_engine::change::{Change, ChangeValue};
//! use kora_persist::frame::{self, Frame, FrameHead};
//! use kora_persist::record::{self, Entry};
//!
//! let change = Change::Set { db: 0, key: b"answer", value: ChangeValue::Int(42), expire_at: None };
//!
//! // Shard 3 writes its change, which has the position 1000.
//! let (mut records, mut log) = (Vec::new(), Vec::new());
//! record::encode(&change, &mut records);
//! let head = FrameHead { shard: 3, first_lsn: 1000, last_lsn: 1000, segment: 1, durable: 999, tag: None };
//! frame::encode(&head, &records, &mut log);
//!
//! let (frame, consumed) = Frame::decode(&log).unwrap();
//! assert_eq!(frame.head, head);
//! assert_eq!(consumed, log.len());
//! let records: Vec<_> = frame.records().map(Result::unwrap).collect();
//! assert_eq!(records, [(1000, Entry::Change(change))]);
//!
//! // One flipped bit anywhere is refused.
//! log[45] ^= 1;
//! assert!(Frame::decode(&log).is_err());
//! ```

pub mod block;
pub mod error;
pub mod frame;
pub mod limits;
pub mod log;
pub mod rdb;
pub mod record;
pub mod recovery;
pub mod snapshot;
pub mod tools;
pub mod varint;

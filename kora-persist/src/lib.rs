//! Durable formats of Kora: what a change looks like as bytes.
//!
//! Pure code: bytes in, values out. Nothing here opens a file.
//!
//! | file | what it describes |
//! |---|---|
//! | [`record`] | one [`Change`](kora_engine::change::Change) as bytes |
//! | [`frame`] | a run of one shard's records with its place in the log and a checksum |
//! | [`snapshot`] | everything that all shards held at one moment |
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
//! use kora_persist::frame::{Frame, FrameWriter};
//!
//! let change = Change::Set { db: 0, key: b"answer", value: ChangeValue::Int(42), expire_at: None };
//!
//! // Shard 3 writes its change number 1000.
//! let mut log = Vec::new();
//! let mut writer = FrameWriter::begin(&mut log, 3, 1000);
//! writer.push(&change).unwrap();
//! writer.finish();
//!
//! let (frame, consumed) = Frame::decode(&log).unwrap();
//! assert_eq!((frame.shard, frame.first_lsn, frame.last_lsn), (3, 1000, 1000));
//! assert_eq!(consumed, log.len());
//! let records: Vec<_> = frame.records().map(Result::unwrap).collect();
//! assert_eq!(records, [(1000, change)]);
//!
//! // One flipped bit anywhere is refused.
//! log[30] ^= 1;
//! assert!(Frame::decode(&log).is_err());
//! ```

pub mod block;
pub mod error;
pub mod frame;
pub mod limits;
pub mod record;
pub mod snapshot;
pub mod varint;

//! Change records: what one write did, as an effect.
//!
//! Every mutation of data yields a [`Change`] per key (or per database) it touched, and of a collection one per element. A change is
//! the *effect*, never the request: a relative expiry is absolute, `INCRBYFLOAT` is a [`Change::Set`],
//! a lazily expired key is a [`Change::Delete`]. So a change can be applied to another shard, written to a
//! log or pushed to a reader without the command that made it, and replaying the changes onto an
//! empty shard gives the same data (a property test holds the engine to that).
//!
//! Changes borrow: making one costs a few stores. [`Changes`] counts them and hands each to the sinks that
//! are attached; with none attached nothing is copied.

mod hash;
mod set;

pub use hash::HashEdit;
pub use set::{SetEdit, SetForm};

use std::cell::RefCell;
use std::rc::Weak;

mod list;

pub use list::ListEdit;

use crate::table::ValueRef;
#[cfg(doc)]
use crate::value::Object;
use crate::value::{ObjectRef, Type};

mod zset;

pub use zset::{Score, ZsetEdit};

mod stream;

pub use stream::{EntryFields, StreamEdit};

/// Milliseconds since the Unix epoch.
pub type UnixMs = u64;

/// A value inside a change: an integer stays an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeValue<'a> {
    /// An integer value; its text is its decimal form.
    Int(i64),
    /// A string of bytes.
    Bytes(&'a [u8]),
    /// A collection.
    Object(ObjectRef<'a>),
    /// A collection as bytes: what [`Object::encode`] made of it.
    Encoded {
        /// The type.
        kind: Type,
        /// Its bytes.
        bytes: &'a [u8],
    },
}

impl<'a> From<ValueRef<'a>> for ChangeValue<'a> {
    fn from(value: ValueRef<'a>) -> ChangeValue<'a> {
        match value {
            ValueRef::Int(int) => ChangeValue::Int(int),
            ValueRef::Bytes(bytes) => ChangeValue::Bytes(bytes),
            ValueRef::Shared(bytes) => ChangeValue::Bytes(bytes),
            ValueRef::Object(object) => ChangeValue::Object(object),
        }
    }
}

/// Why a key went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum DeleteReason {
    /// A command removed it (DEL, GETDEL, the source of a RENAME, an expiry in the past).
    Command = 0,
    /// Its time to live ran out.
    Expired = 1,
    /// Memory was short.
    Evicted = 2,
    /// Its last element was removed, which is a change of its own before this one.
    Emptied = 3,
}

/// One logical mutation of one key or of one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// The key holds this value now, with this expiry, whatever it was before.
    Set {
        /// Database index.
        db: u16,
        /// The key.
        key: &'a [u8],
        /// Its whole new value.
        value: ChangeValue<'a>,
        /// Absolute expiry, or none.
        expire_at: Option<UnixMs>,
    },
    /// These bytes were added at the end of the key's value; its expiry is as it was.
    Append {
        /// Database index.
        db: u16,
        /// The key.
        key: &'a [u8],
        /// The added bytes.
        tail: &'a [u8],
    },
    /// These bytes replaced what was at `offset`; a gap before it reads as zero bytes.
    SetRange {
        /// Database index.
        db: u16,
        /// The key.
        key: &'a [u8],
        /// Byte offset of the first replaced byte.
        offset: u32,
        /// The new bytes.
        bytes: &'a [u8],
    },
    /// These bytes replaced `removed` bytes at `offset`; what was behind moved.
    Splice {
        /// Database index.
        db: u16,
        /// The key.
        key: &'a [u8],
        /// Byte offset of the first replaced byte.
        offset: u32,
        /// How many bytes were replaced.
        removed: u32,
        /// The new bytes.
        bytes: &'a [u8],
    },
    /// A set changed.
    SetEdit {
        /// Database index.
        db: u16,
        /// The key.
        key: &'a [u8],
        /// How.
        edit: SetEdit<'a>,
    },
    /// Only the expiry changed. `None` means that the key does not expire any more.
    Expire {
        /// Database index.
        db: u16,
        /// The key.
        key: &'a [u8],
        /// Absolute expiry, or none.
        expire_at: Option<UnixMs>,
    },
    /// The key is gone.
    Delete {
        /// Database index.
        db: u16,
        /// The key.
        key: &'a [u8],
        /// Why.
        reason: DeleteReason,
    },
    /// Something in a hash changed; a missing key is an empty hash.
    HashEdit {
        /// Database index.
        db: u16,
        /// The key.
        key: &'a [u8],
        /// What.
        edit: HashEdit<'a>,
    },
    /// A list changed.
    ListEdit {
        /// Database index.
        db: u16,
        /// The key.
        key: &'a [u8],
        /// How.
        edit: ListEdit<'a>,
    },
    /// Something in a sorted set changed; a missing key is an empty one.
    ZsetEdit {
        /// Database index.
        db: u16,
        /// The key.
        key: &'a [u8],
        /// What.
        edit: ZsetEdit<'a>,
    },
    /// A stream, or one of its consumer groups, changed; a missing key is an empty one.
    StreamEdit {
        /// Database index.
        db: u16,
        /// The key.
        key: &'a [u8],
        /// What was done.
        edit: StreamEdit<'a>,
    },
    /// Every key of the database is gone (on this shard; FLUSHALL makes one of these per database).
    FlushDb {
        /// Database index.
        db: u16,
    },
    /// Two databases changed places.
    SwapDb {
        /// Database index.
        a: u16,
        /// The other database's index.
        b: u16,
    },
}

impl<'a> Change<'a> {
    /// The database and the key that it concerns; none when it concerns whole databases.
    pub fn key(&self) -> Option<(u16, &'a [u8])> {
        match *self {
            Change::Set { db, key, .. }
            | Change::Append { db, key, .. }
            | Change::SetRange { db, key, .. }
            | Change::SetEdit { db, key, .. }
            | Change::HashEdit { db, key, .. }
            | Change::Splice { db, key, .. }
            | Change::ZsetEdit { db, key, .. }
            | Change::StreamEdit { db, key, .. }
            | Change::ListEdit { db, key, .. }
            | Change::Expire { db, key, .. }
            | Change::Delete { db, key, .. } => Some((db, key)),
            Change::FlushDb { .. } | Change::SwapDb { .. } => None,
        }
    }

    /// Whether one of the keys of database `db` that are `watched` may have another value, or none, after it. (Another expiry is none.)
    pub(crate) fn may_alter(&self, db: u16, watched: impl FnOnce(&[u8]) -> bool) -> bool {
        match *self {
            Change::FlushDb { db: flushed } => flushed == db,
            Change::SwapDb { a, b } => a == db || b == db,
            Change::Expire { .. } => false,
            _ => self.key().is_some_and(|(of, key)| of == db && watched(key)),
        }
    }
}

/// Receives every change of a shard, in the order in which they happened.
pub trait ChangeSink {
    /// `sequence` counts the shard's changes from 1 without a gap.
    fn change(&mut self, sequence: u64, change: &Change<'_>);
}

/// The shard's stream of changes: a counter, and whoever listens.
#[derive(Default)]
pub struct Changes {
    /// How many changes this shard has made since it was created.
    sequence: u64,
    /// Attached sinks. Nearly always empty or one long; asked once per change.
    sinks: Vec<Box<dyn ChangeSink>>,
    /// Commands that go on in slices and must know what changes meanwhile. Each goes away with its command.
    observers: Vec<Weak<RefCell<dyn ChangeSink>>>,
}

impl Changes {
    /// The number of the latest change; 0 before the first.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Attaches a sink. It sees the changes made from now on.
    pub fn attach(&mut self, sink: Box<dyn ChangeSink>) {
        self.sinks.push(sink);
    }

    /// Attaches a sink that sees the changes made from now on until it is dropped by its owner.
    pub fn observe(&mut self, observer: Weak<RefCell<dyn ChangeSink>>) {
        self.observers.retain(|other| other.strong_count() > 0);
        self.observers.push(observer);
    }

    #[inline]
    pub(crate) fn emit(&mut self, change: Change<'_>) {
        self.sequence += 1;
        if !self.sinks.is_empty() || !self.observers.is_empty() {
            self.deliver(&change);
        }
    }

    #[cold]
    fn deliver(&mut self, change: &Change<'_>) {
        for sink in &mut self.sinks {
            sink.change(self.sequence, change);
        }
        let sequence = self.sequence;
        self.observers.retain(|observer| match observer.upgrade() {
            Some(observer) => {
                observer.borrow_mut().change(sequence, change);
                true
            }
            None => false,
        });
    }
}

//! What one write did to a stream.
//!
//! Ids are the generated ones, trims say where they stopped, deliveries say when and how often: nothing is left to a clock or to a
//! limit that may be configured otherwise where the change is replayed. Blocks are part of that, because `XTRIM ~` shows
//! where they end.

use crate::change::UnixMs;
use crate::value::item::Item;
use crate::value::stream::StreamId;

/// A change of a stream, or of one of its consumer groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEdit<'a> {
    /// An entry was added at the end. The stream may be new.
    Add {
        /// Its id, greater than all before.
        id: StreamId,
        /// It began a new block.
        new_block: bool,
        /// Its fields and values.
        fields: EntryFields<'a>,
    },
    /// An entry was deleted.
    Delete {
        /// Its id.
        id: StreamId,
        /// By itself; otherwise it was trimmed, which leaves no tombstone.
        tombstone: bool,
    },
    /// Entries were removed from the beginning.
    Trim {
        /// Whole blocks, first.
        blocks: u64,
        /// Then the entries of the first remaining block before this id; 0-0 for none.
        before: StreamId,
    },
    /// The stream's ids and counter were set.
    SetIds {
        /// The last id.
        last: StreamId,
        /// Entries ever added.
        added: u64,
        /// The greatest deleted id.
        max_deleted: StreamId,
    },
    /// A group was made. The stream may be new.
    CreateGroup {
        /// Its name.
        group: &'a [u8],
        /// The last entry that counts as delivered.
        last: StreamId,
        /// How many entries were read up to there, if that is known.
        entries_read: Option<i64>,
    },
    /// A group's position was set, or it has read on.
    SetGroup {
        /// Its name.
        group: &'a [u8],
        /// The last delivered entry.
        last: StreamId,
        /// How many entries were read up to there, if that is known.
        entries_read: Option<i64>,
    },
    /// A group was removed.
    RemoveGroup {
        /// Its name.
        group: &'a [u8],
    },
    /// A consumer was made.
    CreateConsumer {
        /// Its group.
        group: &'a [u8],
        /// Its name.
        consumer: &'a [u8],
        /// When.
        seen: UnixMs,
    },
    /// A consumer was removed, with its pending entries.
    RemoveConsumer {
        /// Its group.
        group: &'a [u8],
        /// Its name.
        consumer: &'a [u8],
    },
    /// A consumer has asked for entries.
    Seen {
        /// Its group.
        group: &'a [u8],
        /// Its name.
        consumer: &'a [u8],
        /// When.
        at: UnixMs,
        /// It was given some.
        active: bool,
    },
    /// An entry became pending with a consumer, whoever had it before.
    Deliver {
        /// The group.
        group: &'a [u8],
        /// The consumer.
        consumer: &'a [u8],
        /// The entry.
        id: StreamId,
        /// The time of the delivery.
        time: UnixMs,
        /// How many deliveries there were.
        count: u64,
    },
    /// An entry is not pending any more.
    Acknowledge {
        /// The group.
        group: &'a [u8],
        /// The entry.
        id: StreamId,
    },
}

/// The fields of an added entry with their values.
#[derive(Debug, Clone, Copy)]
pub enum EntryFields<'a> {
    /// Fields and values in turn, as given to the command.
    Given(&'a [&'a [u8]]),
    /// The same as packed elements ([`Item`]), as they come out of a record.
    Packed(&'a [u8]),
}

impl<'a> EntryFields<'a> {
    /// Fields and values from packed elements. None when the bytes are not an even number of them, at least two.
    pub fn packed(bytes: &'a [u8]) -> Option<EntryFields<'a>> {
        let (mut at, mut count) = (0, 0usize);
        while at < bytes.len() {
            let (item, next) = Item::try_decode(bytes, at)?;
            at = item.is_canonical().then_some(next)?;
            count += 1;
        }
        (count >= 2 && count % 2 == 0).then_some(EntryFields::Packed(bytes))
    }

    /// Calls `f` with each field and each value.
    pub fn for_each(&self, f: &mut dyn FnMut(Item<'_>)) {
        match *self {
            EntryFields::Given(parts) => parts.iter().for_each(|part| f(Item::of(part))),
            EntryFields::Packed(bytes) => {
                let mut at = 0;
                while at < bytes.len() {
                    let (item, next) = Item::decode(bytes, at);
                    f(item);
                    at = next;
                }
            }
        }
    }

    /// Appends the packed elements.
    pub fn pack(&self, out: &mut Vec<u8>) {
        match *self {
            EntryFields::Given(_) => self.for_each(&mut |item| item.encode(out)),
            EntryFields::Packed(bytes) => out.extend_from_slice(bytes),
        }
    }
}

impl PartialEq for EntryFields<'_> {
    fn eq(&self, other: &EntryFields<'_>) -> bool {
        let packed = |fields: &EntryFields<'_>| {
            let mut bytes = Vec::new();
            fields.pack(&mut bytes);
            bytes
        };
        packed(self) == packed(other)
    }
}

impl Eq for EntryFields<'_> {}

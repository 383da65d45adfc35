//! The stream as a value: entries ordered by id, appended at one end, and consumer groups that read them.
//!
//! ```text
//! Stream -> Body   counters and ids
//!           blocks    directory: first id -> block, a run of entries in one buffer
//!           groups    name -> group: position, pending entries, consumers
//! ```
//!
//! Entries lie in blocks of about a hundred ([`block`]), blocks in a tree ([`directory`]): an id is found in O(log n), appending
//! and trimming touch the first or the last block only. A block ends where Redis's listpack would end, so that trimming by
//! whole blocks (`XTRIM ~`) leaves what Redis leaves. Good at: memory, appending, reading ranges. Bad at: an entry in the middle of a
//! block costs a walk over the ones before it, and deleted entries keep their bytes until their whole block is gone, as in
//! Redis.

mod block;
mod build;
mod codec;
mod directory;
mod entries;
mod group;
mod id;
mod lag;
mod nodes;
mod runs;
#[cfg(test)]
mod tests;
mod trim;
mod varint;

pub use block::{Entry, Pairs};
pub(crate) use build::{BlockBuilder, GroupBuilder};
pub use directory::{NodeLimits, LISTPACK_BYTES_MAX};
pub use entries::{Backwards, Entries, Seeker};
pub use group::{Consumer, ConsumerNumber, Group, Pending};
pub use id::StreamId;
pub(crate) use runs::Run;
pub use trim::{Threshold, Trimmed};

use std::collections::BTreeMap;
use std::ops::{Bound, Deref};

use super::forms::forms;
use super::{Collection, Object, Type};
use block::Cursor;
use directory::Directory;

forms! {
    /// A stream.
    #[derive(Clone)]
    pub enum Stream {
        /// The only form there is.
        Body(Box<Body>) = 0,
    }
}

/// What a stream consists of.
#[derive(Clone, Default)]
pub struct Body {
    /// Entries that are not deleted.
    len: u64,
    /// Id of the first of them; 0-0 when there is none.
    first: StreamId,
    /// The greatest id that was given to an entry, or set by XSETID.
    last: StreamId,
    /// The greatest id of an entry that was deleted by itself, not by trimming.
    max_deleted: StreamId,
    /// Entries ever added.
    added: u64,
    blocks: Directory,
    /// The first block's key and a place in it before which all entries are deleted: trimming one entry after the other does not
    /// walk over the trimmed ones again and again.
    front: Option<(StreamId, Cursor)>,
    groups: BTreeMap<Box<[u8]>, Group>,
}

impl Body {
    /// Id of the first entry; 0-0 when there is none.
    pub fn first_id(&self) -> StreamId {
        self.first
    }

    /// The greatest id that was given to an entry, or set by XSETID.
    pub fn last_id(&self) -> StreamId {
        self.last
    }

    /// The greatest id of an entry that was deleted by itself, not by trimming.
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted
    }

    /// Entries ever added.
    pub fn entries_added(&self) -> u64 {
        self.added
    }

    /// Entries that are not deleted.
    pub fn entries_len(&self) -> u64 {
        self.len
    }

    /// Number of blocks.
    pub fn blocks_len(&self) -> usize {
        self.blocks.len()
    }

    /// Number of consumer groups.
    pub fn groups_len(&self) -> usize {
        self.groups.len()
    }

    /// Copies about so many pending entries more, group by group, behind the last one of the copy. True when all groups are there.
    fn copy_groups(&self, copy: &mut Body, entries: usize) -> bool {
        let last = copy.groups.last_key_value().map(|(name, _)| name.clone());
        let from = last.as_deref().map_or(Bound::Unbounded, Bound::Included);
        let mut left = entries;
        for (name, group) in self.groups.range::<[u8], _>((from, Bound::Unbounded)) {
            if left == 0 {
                return false;
            }
            let to = copy.groups.entry(name.clone()).or_insert_with(|| group.without_pending());
            let (copied, complete) = group.copy_some(to, left);
            if !complete {
                return false;
            }
            left = left.saturating_sub(copied + 1);
        }
        true
    }

    /// The consumer groups with their names, in the order of these.
    pub fn groups(&self) -> impl Iterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&name[..], group))
    }

    /// The consumer group of this name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    pub(crate) fn group_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        self.groups.get_mut(name)
    }

    /// Makes a consumer group; false when there is one of this name.
    pub(crate) fn create_group(&mut self, name: &[u8], last: StreamId, entries_read: Option<i64>) -> bool {
        if self.groups.contains_key(name) {
            return false;
        }
        self.groups.insert(name.into(), Group::new(last, entries_read)).is_none()
    }

    /// Takes a consumer group out, as a stream without entries that can be freed in slices.
    pub(crate) fn remove_group(&mut self, name: &[u8]) -> Option<Stream> {
        let (name, group) = self.groups.remove_entry(name)?;
        let groups = BTreeMap::from([(name, group)]);
        Some(Stream::Body(Box::new(Body { groups, ..Body::default() })))
    }

    /// Whether the last id can be set to this: it is not before any entry.
    pub(crate) fn can_end_at(&self, last: StreamId) -> bool {
        self.last_live().is_none_or(|live| live <= last)
            && self.blocks.last_key().is_none_or(|key| key <= last)
    }

    /// Sets what XSETID sets. The stream can end at the last id.
    pub(crate) fn set_ids(&mut self, last: StreamId, added: u64, max_deleted: StreamId) {
        (self.last, self.added, self.max_deleted) = (last, added, max_deleted);
    }

    /// Whether a consumer group may still want this entry: it has not been delivered to it, or not been acknowledged.
    pub fn is_referenced(&self, id: StreamId) -> bool {
        self.groups.values().any(|group| group.last < id || group.pending.contains_key(&id))
    }
}

impl Stream {
    pub(crate) fn body_mut(&mut self) -> &mut Body {
        let Stream::Body(body) = self;
        body
    }
}

impl Deref for Stream {
    type Target = Body;

    #[inline]
    fn deref(&self) -> &Body {
        let Stream::Body(body) = self;
        body
    }
}

impl Collection for Stream {
    const TYPE: Type = Type::Stream;
    const KEEP_EMPTY: bool = true;

    fn new(_seed: u64) -> Stream {
        Stream::Body(Box::default())
    }

    fn len(&self) -> usize {
        let Stream::Body(body) = self;
        body.len as usize
    }

    fn weight(&self) -> usize {
        let pending: usize = self.groups.values().map(Group::pending_len).sum();
        self.len() + pending
    }

    fn encoding(&self) -> &'static str {
        "stream"
    }

    fn memory(&self) -> usize {
        let groups: usize =
            self.groups.iter().map(|(name, group)| name.len() + size_of::<Group>() + group.memory()).sum();
        size_of::<Body>() + self.blocks.memory() + groups
    }

    fn copy_some(&self, copy: &mut Stream, position: &mut u64, elements: usize) -> bool {
        let (Stream::Body(body), Stream::Body(copy)) = (self, copy);
        if *position == 0 {
            **copy = Body::default();
            *position = 1;
        }
        if !body.copy_groups(copy, elements) || !body.blocks.copy_some(&mut copy.blocks, elements) {
            return false;
        }
        // The rest, as it is at the end.
        let (blocks, groups) = (std::mem::take(&mut copy.blocks), std::mem::take(&mut copy.groups));
        **copy = Body {
            len: body.len,
            first: body.first,
            last: body.last,
            max_deleted: body.max_deleted,
            added: body.added,
            blocks,
            front: body.front,
            groups,
        };
        true
    }

    fn free_some(&mut self, elements: usize) -> bool {
        self.body_mut().free_some(elements)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        codec::encode(self, out);
    }

    fn decode(input: &[u8], _seed: u64) -> Option<Stream> {
        codec::decode(input).map(|body| Stream::Body(Box::new(body)))
    }

    fn into_object(self) -> Object {
        Object::Stream(self)
    }
}

impl Body {
    /// Frees about this many entries and pending entries; true when nothing is left.
    fn free_some(&mut self, elements: usize) -> bool {
        let mut left = elements;
        while left > 0 {
            let Some(block) = self.blocks.remove_first() else { break };
            left = left.saturating_sub((block.live() + block.dead()) as usize);
        }
        while left > 0 {
            let Some(mut group) = self.groups.first_entry() else { break };
            // Both of its trees count an entry.
            let pending = 2 * group.get().pending_len();
            if group.get_mut().free_some(left) {
                group.remove();
            }
            left = left.saturating_sub(pending.max(1));
        }
        self.blocks.len() == 0 && self.groups.is_empty()
    }
}

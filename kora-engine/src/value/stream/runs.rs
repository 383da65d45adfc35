//! The parts of a stream one by one, each found by what comes before it: for whoever writes a stream and may pause between two.

use std::ops::Bound;

use super::block::{Block, Entry};
use super::{Body, Consumer, Group, StreamId};
use crate::value::item::Item;

/// The entries of one block.
pub(crate) struct Run<'a> {
    first: StreamId,
    block: &'a Block,
}

impl<'a> Run<'a> {
    /// The id that the ids of its entries are told from: that of its first entry.
    pub(crate) fn first_id(&self) -> StreamId {
        self.first
    }

    /// Number of entries, deleted ones too.
    pub(crate) fn entries_len(&self) -> usize {
        self.live() as usize + self.dead() as usize
    }

    /// Entries that are not deleted.
    pub(crate) fn live(&self) -> u32 {
        self.block.live()
    }

    /// Entries that are.
    pub(crate) fn dead(&self) -> u32 {
        self.block.dead()
    }

    /// The fields that most of its entries have.
    pub(crate) fn fields(&self) -> impl ExactSizeIterator<Item = Item<'a>> {
        self.block.fields()
    }

    /// The entries, and whether each is deleted.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Entry<'a>, bool)> {
        self.block.walk(self.first).map(|stored| (stored.entry, stored.deleted))
    }
}

impl Body {
    /// The block behind the one with this first id; the first one of all when none is given.
    pub(crate) fn run_after(&self, after: Option<StreamId>) -> Option<Run<'_>> {
        let key = match after {
            Some(after) => self.blocks.key_after(after)?,
            None => self.blocks.first()?.0,
        };
        let (first, block) = self.blocks.block_of(key)?;
        Some(Run { first, block })
    }

    /// The consumer group behind the one of this name; the first one of all when none is given.
    pub(crate) fn group_after(&self, after: Option<&[u8]>) -> Option<(&[u8], &Group)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.groups.range::<[u8], _>((from, Bound::Unbounded)).next();
        next.map(|(name, group)| (&name[..], group))
    }
}

impl Group {
    /// The consumer behind the one of this name; the first one of all when none is given.
    pub(crate) fn consumer_after(&self, after: Option<&[u8]>) -> Option<&Consumer> {
        let number = self.number_after(after)?;
        Some(self.consumer(number))
    }
}

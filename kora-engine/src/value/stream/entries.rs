//! Entries: appended, looked up, walked and deleted.

use super::block::{Stored, Walk};
use super::directory::{Blocks, NodeLimits};
use super::{Body, Entry, StreamId};

impl Body {
    /// Whether an entry with this many bytes of fields and values would begin a new block.
    pub(crate) fn begins_block(&self, bytes: u64, limits: NodeLimits) -> bool {
        self.blocks.begins_block(bytes, limits)
    }

    /// Appends an entry: fields and values in turn, at least one pair. Its id is greater than the last one.
    pub(crate) fn append(&mut self, id: StreamId, pairs: &[&[u8]], new_block: bool) {
        assert!(id > self.last, "ids only grow");
        assert!(pairs.len() >= 2 && pairs.len().is_multiple_of(2), "fields and values come in pairs");
        self.blocks.append(id, pairs, new_block);
        if self.len == 0 {
            self.first = id;
        }
        self.len += 1;
        self.last = id;
        self.added = self.added.wrapping_add(1);
    }

    /// The entry of this id.
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        self.stored(id).map(|(_, stored)| stored.entry)
    }

    /// The entry of this id where it lies, with the key of its block.
    fn stored(&self, id: StreamId) -> Option<(StreamId, Stored<'_>)> {
        let (first, block) = self.blocks.block_of(id)?;
        let found = block.walk(first).find(|stored| stored.entry.id >= id)?;
        (found.entry.id == id && !found.deleted).then_some((first, found))
    }

    /// Looks up entries by ids that only grow: neighbours are found without a new search.
    pub fn seeker(&self) -> Seeker<'_> {
        Seeker { stream: self, until: StreamId::MIN, walk: None, found: None }
    }

    /// The entries from `start` to `end`.
    pub fn range(&self, start: StreamId, end: StreamId) -> Entries<'_> {
        // From a place in the first block on, everything before is deleted.
        let walk = match self.front {
            Some((key, cursor)) if start <= self.first => self
                .blocks
                .first()
                .filter(|&(first, _)| first == key)
                .map(|(_, block)| block.walk_from(cursor)),
            _ => None,
        };
        // The first block may have nothing but deleted entries, and `start` lie in the next one: whoever begins in the first one passes
        // over that one only.
        let from = if walk.is_some() { self.first_key() } else { start.max(self.first_key()) };
        let mut blocks = (start <= end).then(|| self.blocks.range(from, end));
        if let (Some(blocks), Some(_)) = (&mut blocks, &walk) {
            blocks.next();
        }
        let walk = walk.filter(|_| start <= end);
        Entries { blocks, walk, start, end }
    }

    fn first_key(&self) -> StreamId {
        self.blocks.first().map_or(StreamId::MIN, |(first, _)| first)
    }

    /// The entries from `end` back to `start`.
    pub fn range_back(&self, start: StreamId, end: StreamId) -> Backwards<'_> {
        let blocks = (start <= end).then(|| self.blocks.range(start, end));
        Backwards { blocks, found: Vec::new(), start, end }
    }

    /// How many entries there are from `start` to `end`, counted up to `limit`. O(blocks), and a walk over the outer two.
    pub fn count(&self, start: StreamId, end: StreamId, limit: usize) -> usize {
        if start > end {
            return 0;
        }
        let mut count = 0;
        let mut blocks = self.blocks.range(start, end).peekable();
        while let Some((&first, block)) = blocks.next() {
            if count >= limit {
                break;
            }
            // The ids of a block are below the next one's; of the last in the range nothing is known.
            let whole = first >= start && blocks.peek().is_some();
            count += if whole {
                block.live() as usize
            } else {
                let within = |stored: &Stored<'_>| !stored.deleted && stored.entry.id >= start;
                block.walk(first).take_while(|stored| stored.entry.id <= end).filter(within).count()
            };
        }
        count.min(limit)
    }

    /// The id of the last entry that is not deleted.
    pub fn last_live(&self) -> Option<StreamId> {
        if self.len == 0 {
            return None;
        }
        self.blocks
            .last_if_live()
            .or_else(|| self.range_back(StreamId::MIN, StreamId::MAX).next().map(|entry| entry.id))
    }

    /// Deletes an entry; false when there is none of this id. A tombstone is remembered in `max_deleted_id`.
    pub(crate) fn delete(&mut self, id: StreamId, tombstone: bool) -> bool {
        let Some((first, stored)) = self.stored(id) else { return false };
        let at = stored.at;
        let block = self.blocks.get_mut(first).expect("the entry lies in it");
        if block.live() == 1 {
            self.blocks.remove(first);
            if self.front.is_some_and(|(key, _)| key == first) {
                self.front = None;
            }
        } else {
            block.delete_at(at);
        }
        self.len -= 1;
        if tombstone {
            self.max_deleted = self.max_deleted.max(id);
        }
        if id == self.first || self.len == 0 {
            self.find_first();
        }
        true
    }

    /// Sets the id of the first entry anew.
    pub(super) fn find_first(&mut self) {
        self.first = StreamId::MIN;
        if self.len > 0 {
            let first = self.range(StreamId::MIN, StreamId::MAX).next().expect("the length counts entries");
            self.first = first.id;
        }
    }
}

/// A place in a stream that moves forward.
pub struct Seeker<'a> {
    stream: &'a Body,
    /// The first id of the next block; the greatest one when there is no other block.
    until: StreamId,
    walk: Option<Walk<'a>>,
    /// The entry that the walk has come to.
    found: Option<Stored<'a>>,
}

impl<'a> Seeker<'a> {
    /// The entry of this id, which is greater than all ids before.
    pub fn seek(&mut self, id: StreamId) -> Option<Entry<'a>> {
        if self.walk.is_none() || (id >= self.until && self.until < StreamId::MAX) {
            let (first, block) = self.stream.blocks.block_of(id)?;
            self.until = self.stream.blocks.key_after(first).unwrap_or(StreamId::MAX);
            let mut walk = block.walk(first);
            self.found = walk.next();
            self.walk = Some(walk);
        }
        let walk = self.walk.as_mut()?;
        while self.found.is_some_and(|found| found.entry.id < id) {
            self.found = walk.next();
        }
        self.found.filter(|found| found.entry.id == id && !found.deleted).map(|found| found.entry)
    }
}

/// Entries in the order of their ids.
#[derive(Clone)]
pub struct Entries<'a> {
    /// Blocks that come after the present one; none when the range is empty.
    blocks: Option<Blocks<'a>>,
    walk: Option<Walk<'a>>,
    start: StreamId,
    end: StreamId,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            if let Some(walk) = &mut self.walk {
                for stored in walk {
                    let id = stored.entry.id;
                    if id > self.end {
                        (self.walk, self.blocks) = (None, None);
                        return None;
                    }
                    if id >= self.start && !stored.deleted {
                        return Some(stored.entry);
                    }
                }
            }
            let (&first, block) = self.blocks.as_mut()?.next()?;
            self.walk = Some(block.walk(first));
        }
    }
}

/// Entries from the last to the first.
#[derive(Clone)]
pub struct Backwards<'a> {
    blocks: Option<Blocks<'a>>,
    /// The present block's entries that are still to come, the next one at the end.
    found: Vec<Entry<'a>>,
    start: StreamId,
    end: StreamId,
}

impl<'a> Iterator for Backwards<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            if let Some(entry) = self.found.pop() {
                return Some(entry);
            }
            let (&first, block) = self.blocks.as_mut()?.next_back()?;
            let within = |stored: &Stored<'a>| !stored.deleted && stored.entry.id >= self.start;
            let upto = block.walk(first).take_while(|stored| stored.entry.id <= self.end);
            self.found.extend(upto.filter(within).map(|stored| stored.entry));
        }
    }
}

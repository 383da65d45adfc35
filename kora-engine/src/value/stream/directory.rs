//! The blocks of a stream in the order of their ids.
//!
//! Finished blocks lie in a B-tree by their first id: O(log n) to any of them, cheap at both ends, and nothing ever moves
//! all of them at once, however many there are. The last block, to which entries are appended, lies beside the tree with what
//! an append needs to know, so an append does not touch the tree until the block is full.

use std::collections::btree_map::{self, BTreeMap};
use std::ops::Bound;

use super::block::{self, Block};
use super::id::StreamId;
use crate::value::listpack;

/// When a block is full: `stream-node-max-bytes` and `stream-node-max-entries`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeLimits {
    /// Bytes of Redis's listpack; 0: no limit but [`LISTPACK_BYTES_MAX`].
    pub max_bytes: u64,
    /// Entries, deleted ones too; 0: no limit.
    pub max_entries: u64,
}

/// Most bytes of a block, and of the fields and values of an entry, whatever is configured: 1 GiB, as in Redis.
pub const LISTPACK_BYTES_MAX: u64 = 1 << 30;

/// The block to which entries are appended.
#[derive(Debug, Clone)]
struct Tail {
    first: StreamId,
    /// Id of its last entry, deleted or not.
    last: StreamId,
    block: Block,
    /// Size of Redis's listpack without its two counts.
    listpack: u64,
}

impl Tail {
    fn new(first: StreamId, block: Block) -> Tail {
        let (listpack, last) = block.measure(first);
        Tail { first, last, block, listpack }
    }

    /// Whether Redis would begin a new listpack for an entry with this many bytes of fields and values.
    fn is_full(&self, bytes: u64, limits: NodeLimits) -> bool {
        let max = match limits.max_bytes {
            0 => LISTPACK_BYTES_MAX,
            bytes => bytes.min(LISTPACK_BYTES_MAX),
        };
        let (live, dead) = (i64::from(self.block.live()), i64::from(self.block.dead()));
        let size = self.listpack + listpack::int(live) + listpack::int(dead);
        size + bytes >= max || (limits.max_entries != 0 && (live + dead) as u64 >= limits.max_entries)
    }
}

/// The blocks of a stream. None is without entries, but all the entries of one may be deleted.
#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    finished: BTreeMap<StreamId, Block>,
    tail: Option<Tail>,
}

/// Blocks with their first ids, forwards or backwards.
pub(super) type Blocks<'a> =
    std::iter::Chain<btree_map::Range<'a, StreamId, Block>, std::option::IntoIter<(&'a StreamId, &'a Block)>>;

impl Directory {
    /// Number of blocks.
    pub(super) fn len(&self) -> usize {
        self.finished.len() + usize::from(self.tail.is_some())
    }

    /// Whether an entry of this many bytes of fields and values begins a new block.
    pub(super) fn begins_block(&self, bytes: u64, limits: NodeLimits) -> bool {
        self.tail.as_ref().is_none_or(|tail| tail.is_full(bytes, limits))
    }

    /// Copies the blocks of about so many entries more: those behind the last one of the copy. True when all are there.
    pub(super) fn copy_some(&self, copy: &mut Directory, entries: usize) -> bool {
        let behind =
            copy.finished.last_key_value().map_or(Bound::Unbounded, |(&key, _)| Bound::Excluded(key));
        let mut copied = 0;
        for (&first, block) in self.finished.range((behind, Bound::Unbounded)) {
            if copied >= entries {
                return false;
            }
            copied += block.live() as usize + 1;
            copy.finished.insert(first, block.clone());
        }
        copy.tail = self.tail.clone();
        true
    }

    /// The first id of the last block.
    pub(super) fn last_key(&self) -> Option<StreamId> {
        self.tail.as_ref().map(|tail| tail.first)
    }

    /// Appends an entry, in the last block or in a new one. In a new one it is in any case when there is no last block, or when the
    /// last block ends with deleted entries of greater ids, which XSETID has gone back behind.
    pub(super) fn append(&mut self, id: StreamId, pairs: &[&[u8]], new_block: bool) {
        if new_block || self.tail.as_ref().is_none_or(|tail| tail.last >= id) {
            // The next block will be about as large as the one before.
            let capacity = self.tail.as_ref().map_or(0, |tail| tail.block.len());
            let mut block = Block::new(pairs, capacity);
            let listpack = block::listpack_base(pairs) + block.append(None, id, id, pairs);
            if let Some(mut full) = self.tail.replace(Tail { first: id, last: id, block, listpack }) {
                full.block.seal();
                self.finished.insert(full.first, full.block);
            }
            return;
        }
        let tail = self.tail.as_mut().expect("there is a last block");
        tail.listpack += tail.block.append(Some(tail.last), id, tail.first, pairs);
        tail.last = id;
    }

    /// The block in which an entry of this id is, if anywhere.
    pub(super) fn block_of(&self, id: StreamId) -> Option<(StreamId, &Block)> {
        match &self.tail {
            Some(tail) if tail.first <= id => Some((tail.first, &tail.block)),
            _ => self.finished.range(..=id).next_back().map(|(&first, block)| (first, block)),
        }
    }

    /// The key of the block after this one.
    pub(super) fn key_after(&self, first: StreamId) -> Option<StreamId> {
        let next =
            self.finished.range((Bound::Excluded(first), Bound::Unbounded)).next().map(|(&key, _)| key);
        next.or(self.tail.as_ref().map(|tail| tail.first).filter(|&key| key > first))
    }

    /// The block of this first id.
    pub(super) fn get_mut(&mut self, first: StreamId) -> Option<&mut Block> {
        match &mut self.tail {
            Some(tail) if tail.first == first => Some(&mut tail.block),
            _ => self.finished.get_mut(&first),
        }
    }

    /// The first block.
    pub(super) fn first(&self) -> Option<(StreamId, &Block)> {
        let tail = self.tail.as_ref().map(|tail| (tail.first, &tail.block));
        self.finished.first_key_value().map(|(&first, block)| (first, block)).or(tail)
    }

    /// The id of the last entry, if it is not deleted.
    pub(super) fn last_if_live(&self) -> Option<StreamId> {
        self.tail.as_ref().filter(|tail| tail.block.dead() == 0).map(|tail| tail.last)
    }

    /// The blocks that can hold entries from `start` to `end`.
    pub(super) fn range(&self, start: StreamId, end: StreamId) -> Blocks<'_> {
        let start = self.block_of(start).map_or(start, |(first, _)| first);
        let tail = self.tail.as_ref().filter(|tail| tail.first <= end && start <= end);
        let end = end.max(start);
        self.finished.range(start..=end).chain(tail.map(|tail| (&tail.first, &tail.block)))
    }

    /// The id of the last entry of a block, deleted or not.
    pub(super) fn last_of(&self, first: StreamId, block: &Block) -> StreamId {
        match &self.tail {
            Some(tail) if tail.first == first => tail.last,
            _ => block.walk(first).last().map_or(first, |stored| stored.entry.id),
        }
    }

    /// Takes a block out.
    pub(super) fn remove(&mut self, first: StreamId) -> Option<Block> {
        if self.tail.as_ref().is_some_and(|tail| tail.first == first) {
            let last = self.finished.pop_last();
            let removed = self.tail.take();
            self.tail = last.map(|(first, block)| Tail::new(first, block));
            return removed.map(|tail| tail.block);
        }
        self.finished.remove(&first)
    }

    /// Takes the first block out.
    pub(super) fn remove_first(&mut self) -> Option<Block> {
        match self.finished.pop_first() {
            Some((_, block)) => Some(block),
            None => self.tail.take().map(|tail| tail.block),
        }
    }

    /// Adds a block after all others.
    pub(super) fn push(&mut self, first: StreamId, block: Block) {
        if let Some(full) = self.tail.replace(Tail::new(first, block)) {
            self.finished.insert(full.first, full.block);
        }
    }

    /// Bytes of heap, of the finished blocks extrapolated from the first few.
    pub(super) fn memory(&self) -> usize {
        const SAMPLES: usize = 16;
        // A node of the tree has 11 places and is half full when all is appended.
        const NODE_SHARE: usize = 2 * (size_of::<StreamId>() + size_of::<Block>());
        let sampled: usize = self.finished.values().take(SAMPLES).map(Block::heap_bytes).sum();
        let finished = match self.finished.len() {
            0 => 0,
            len => sampled * len / len.min(SAMPLES) + len * NODE_SHARE,
        };
        finished + self.tail.as_ref().map_or(0, |tail| tail.block.heap_bytes())
    }
}

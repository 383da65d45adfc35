//! Blocks in a row: a list of any length.
//!
//! ```text
//! blocks   | Block | Block | Block | ...      a ring, so that both ends grow
//! counts   |  u32  |  u32  |  u32  | ...      elements of each, apart: finding an index sums them without touching a block
//! ```
//!
//! An element is found by its index in a walk over the counts from the nearer end (a million short elements are about 3,300 blocks,
//! 13 KiB of counts) and half a block. Ends push and pop in O(1). An insertion or removal in the middle moves at most one block and, when
//! a block comes or goes, the handles of half of the others.
//!
//! A long reply reads a [`Snapshot`] in slices while others write: its blocks are shared with the list, and whoever writes
//! to a shared block copies it first.

use super::block::Block;
use super::read::{Elements, Snapshot};
use super::End;
use crate::value::element::{self, Element, Encoded};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a block's allocation, which the allocator has a size class for. Redis's nodes are twice as large, but have the way back
/// to the previous element in each of them.
const BLOCK_BYTES: usize = 4096;

/// Bytes of a block that its content and header may fill.
pub(crate) const BLOCK_CAPACITY: usize = BLOCK_BYTES - crate::value::buffer::HEADER;

/// The part of the list that a new block at an end makes room for: what is reserved is small beside what there is.
const END_RESERVE: usize = 16;

/// A block of a list, or of a list and of snapshots of it.
#[derive(Clone)]
pub(super) enum Shareable {
    Own(Block),
    Shared(Arc<Block>),
}

impl Shareable {
    #[inline]
    pub(super) fn get(&self) -> &Block {
        match self {
            Shareable::Own(block) => block,
            Shareable::Shared(block) => block,
        }
    }

    /// For writing: a block that others read is copied.
    #[inline]
    pub(super) fn get_mut(&mut self) -> &mut Block {
        if let Shareable::Shared(block) = self {
            let shared = std::mem::replace(block, Arc::new(Block::new()));
            *self = Shareable::Own(Arc::unwrap_or_clone(shared));
        }
        match self {
            Shareable::Own(block) => block,
            Shareable::Shared(_) => unreachable!("it has just been made its own"),
        }
    }

    fn share(&mut self) -> Arc<Block> {
        if let Shareable::Own(block) = self {
            *self = Shareable::Shared(Arc::new(std::mem::replace(block, Block::new())));
        }
        match self {
            Shareable::Shared(block) => block.clone(),
            Shareable::Own(_) => unreachable!("it has just been shared"),
        }
    }
}

/// Elements in a row. See the head of the file. No block is empty.
#[derive(Clone, Default)]
pub(crate) struct Sequence {
    pub(super) blocks: VecDeque<Shareable>,
    pub(super) counts: VecDeque<u32>,
    pub(super) len: usize,
}

/// Elements that were removed one after the other: the index of the first before any was removed, and how many.
pub(crate) type Run = (usize, usize);

impl Sequence {
    /// The elements of one block.
    pub(crate) fn of(block: Block) -> Sequence {
        let mut sequence = Sequence::default();
        if block.len() > 0 {
            sequence.insert_block(0, block);
        }
        sequence
    }

    /// Number of elements.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// A block.
    pub(crate) fn block(&self, index: usize) -> &Block {
        self.blocks[index].get()
    }

    /// Bytes of heap. Of many blocks some are measured.
    pub(crate) fn memory(&self) -> usize {
        const MEASURED: usize = 64;
        let step = self.blocks.len().div_ceil(MEASURED).max(1);
        let measured = self.blocks.iter().step_by(step);
        let (number, bytes) =
            measured.fold((0, 0), |(number, bytes), block| (number + 1, bytes + block.get().heap_bytes()));
        let blocks = bytes * self.blocks.len() / usize::max(number, 1);
        blocks + self.blocks.capacity() * size_of::<Shareable>() + self.counts.capacity() * size_of::<u32>()
    }

    /// The block of an element, and its index in it. `index` is below the length.
    fn locate(&self, index: usize) -> (usize, usize) {
        debug_assert!(index < self.len);
        if index < self.len / 2 {
            let mut left = index;
            for (block, &count) in self.counts.iter().enumerate() {
                if left < count as usize {
                    return (block, left);
                }
                left -= count as usize;
            }
        } else {
            let mut right = self.len - 1 - index;
            for (block, &count) in self.counts.iter().enumerate().rev() {
                if right < count as usize {
                    return (block, count as usize - 1 - right);
                }
                right -= count as usize;
            }
        }
        unreachable!("the counts are those of the blocks")
    }

    /// The element at an index below the length.
    pub(crate) fn get(&self, index: usize) -> Element<'_> {
        let (block, within) = self.locate(index);
        let block = self.block(block);
        block.element(block.seek(within)).0
    }

    fn insert_block(&mut self, at: usize, block: Block) {
        self.len += block.len();
        self.counts.insert(at, block.len() as u32);
        self.blocks.insert(at, Shareable::Own(block));
    }

    /// Copies the blocks of about so many elements more, from the block at `position` on, which moves on; true at the end.
    pub(crate) fn copy_some(&self, copy: &mut Sequence, position: &mut u64, elements: usize) -> bool {
        let mut copied = 0;
        while let Some(block) = self.blocks.get(*position as usize) {
            if copied >= elements {
                return false;
            }
            copied += block.get().len();
            copy.insert_block(copy.blocks.len(), block.get().clone());
            *position += 1;
        }
        true
    }

    fn remove_block(&mut self, at: usize) {
        self.len -= self.counts.remove(at).expect("a count for every block") as usize;
        self.blocks.remove(at);
    }

    /// Adds an element at an end.
    #[inline]
    pub(crate) fn push(&mut self, end: End, encoded: &Encoded<'_>) {
        let last = match end {
            End::Head => self.blocks.front_mut().zip(self.counts.front_mut()),
            End::Tail => self.blocks.back_mut().zip(self.counts.back_mut()),
        };
        if let Some((block, count)) = last {
            if block.get().fits(encoded.len(), BLOCK_CAPACITY) {
                let block = block.get_mut();
                match end {
                    End::Head => block.push_front(encoded),
                    End::Tail => block.push_back(encoded),
                }
                *count += 1;
                self.len += 1;
                return;
            }
        }
        self.push_block(end, encoded);
    }

    /// Adds an element at an end, in a new block.
    #[cold]
    fn push_block(&mut self, end: End, encoded: &Encoded<'_>) {
        let reserve = self.blocks.len() * BLOCK_CAPACITY / END_RESERVE;
        let mut block = Block::with_capacity(encoded.len().max(reserve.min(BLOCK_CAPACITY - 16)));
        block.insert(block.end(), encoded);
        match end {
            End::Head => {
                if let Some(full) = self.blocks.front_mut() {
                    full.get_mut().shrink();
                }
                self.insert_block(0, block);
            }
            End::Tail => {
                if let Some(full) = self.blocks.back_mut() {
                    full.get_mut().shrink();
                }
                self.insert_block(self.blocks.len(), block);
            }
        }
    }

    /// Removes the element at an end, of which there is one, having shown it.
    #[inline]
    pub(crate) fn pop<T>(&mut self, end: End, visit: impl FnOnce(Element<'_>) -> T) -> T {
        let at = match end {
            End::Head => 0,
            End::Tail => self.blocks.len() - 1,
        };
        if self.counts[at] == 1 {
            let block = self.blocks[at].get();
            let shown = visit(block.element(block.start()).0);
            self.remove_block(at);
            return shown;
        }
        self.counts[at] -= 1;
        self.len -= 1;
        self.blocks[at].get_mut().pop(end, visit)
    }

    /// Puts an element before the one at an index, or at the end.
    pub(crate) fn insert(&mut self, index: usize, encoded: &Encoded<'_>) {
        if index == self.len {
            return self.push(End::Tail, encoded);
        }
        let (mut at, mut within) = self.locate(index);
        if !self.block(at).fits(encoded.len(), BLOCK_CAPACITY) {
            if within == 0 && at > 0 && self.block(at - 1).fits(encoded.len(), BLOCK_CAPACITY) {
                (at, within) = (at - 1, self.counts[at - 1] as usize);
            } else {
                (at, within) = self.make_way(at, within, encoded.len());
            }
        }
        let block = self.blocks[at].get_mut();
        let position = block.seek(within);
        block.insert(position, encoded);
        self.counts[at] += 1;
        self.len += 1;
    }

    /// Makes a place for an element in a block that is full; returns the block to put it in, and where.
    fn make_way(&mut self, at: usize, within: usize, len: usize) -> (usize, usize) {
        let count = self.counts[at] as usize;
        if count > 1 && len <= BLOCK_CAPACITY / 2 {
            // In two halves of about the same size there is room in each, unless an element is as large as a block.
            let block = self.block(at);
            let middle = block.start() + block.content_len() / 2;
            let (mut position, mut index) = (element::next(block.bytes(), block.start()), 1);
            while index < count - 1 && position < middle {
                position = element::next(block.bytes(), position);
                index += 1;
            }
            self.split(at, index, position);
            let (half, within) = if within <= index { (at, within) } else { (at + 1, within - index) };
            if self.block(half).fits(len, BLOCK_CAPACITY) {
                return (half, within);
            }
            return self.make_way(half, within, len);
        }
        let mut new = at;
        if within > 0 {
            new = at + 1;
            if within < count {
                let position = self.block(at).seek(within);
                self.split(at, within, position);
            }
        }
        // An empty block, for the moment.
        self.insert_block(new, Block::with_capacity(len));
        (new, 0)
    }

    /// Splits a block before the element of this index in it, which lies at this position.
    fn split(&mut self, at: usize, index: usize, position: usize) {
        let block = self.blocks[at].get_mut();
        let moved = block.len() - index;
        let tail = block.split_off(position, moved);
        block.shrink();
        self.counts[at] -= moved as u32;
        self.len -= moved;
        self.insert_block(at + 1, tail);
    }

    /// Puts an element in the place of the one at an index below the length.
    pub(crate) fn replace(&mut self, index: usize, encoded: &Encoded<'_>) {
        let (at, within) = self.locate(index);
        let block = self.blocks[at].get_mut();
        let position = block.seek(within);
        let after = element::next(block.bytes(), position);
        let longer = encoded.len().saturating_sub(after - position);
        if self.counts[at] == 1 || block.fits(longer, BLOCK_CAPACITY) {
            block.replace(position..after, encoded, 0);
            block.shrink_if_sparse();
        } else {
            self.remove(index, 1);
            self.insert(index, encoded);
        }
    }

    /// Removes elements in a row. What is many blocks comes back, to be freed in slices.
    pub(crate) fn remove(&mut self, index: usize, count: usize) -> Option<Sequence> {
        debug_assert!(index + count <= self.len);
        if count == 0 {
            return None;
        }
        let (first, within) = self.locate(index);
        let mut left = count;
        let mut at = first;
        if within > 0 {
            let taken = left.min(self.counts[at] as usize - within);
            self.remove_within(at, within, taken);
            left -= taken;
            at += 1;
        }
        let whole = at;
        while at < self.blocks.len() && left >= self.counts[at] as usize && left > 0 {
            left -= self.counts[at] as usize;
            at += 1;
        }
        let gone = Sequence {
            len: self.counts.range(whole..at).map(|&count| count as usize).sum(),
            counts: self.counts.drain(whole..at).collect(),
            blocks: self.blocks.drain(whole..at).collect(),
        };
        self.len -= gone.len;
        if left > 0 {
            self.remove_within(whole, 0, left);
        }
        if whole > 0 && whole < self.blocks.len() {
            self.join(whole - 1);
        }
        self.give_back();
        Some(gone).filter(|gone| gone.len > 0)
    }

    /// Removes elements of one block, but not all.
    fn remove_within(&mut self, at: usize, within: usize, count: usize) {
        let block = self.blocks[at].get_mut();
        let start = block.seek(within);
        let end = (0..count).fold(start, |position, _| element::next(block.bytes(), position));
        block.remove(start..end, count, 0);
        block.shrink_if_sparse();
        self.counts[at] -= count as u32;
        self.len -= count;
    }

    /// Joins a block with the next one when they fit well into one.
    fn join(&mut self, at: usize) {
        let next = self.block(at + 1);
        if !self.block(at).fits(next.content_len(), BLOCK_CAPACITY * 3 / 4) {
            return;
        }
        let moved = self.counts[at + 1];
        let next = self.blocks.remove(at + 1).expect("a next block");
        self.counts.remove(at + 1);
        self.blocks[at].get_mut().append(next.get());
        self.counts[at] += moved;
    }

    /// After removals in many blocks: drops the empty ones and joins small neighbours.
    pub(super) fn tidy(&mut self, emptied: bool) {
        if emptied {
            self.blocks.retain(|block| block.get().len() > 0);
            self.counts.retain(|&count| count > 0);
        }
        let mut at = 0;
        let sparse = |sequence: &Sequence, at: usize| {
            sequence.block(at).fits(sequence.block(at + 1).content_len(), BLOCK_CAPACITY * 3 / 4)
        };
        if (0..self.blocks.len().saturating_sub(1)).any(|at| sparse(self, at)) {
            let mut joined = Sequence::default();
            while at < self.blocks.len() {
                let taken = std::mem::replace(&mut self.blocks[at], Shareable::Own(Block::new()));
                joined.blocks.push_back(taken);
                joined.counts.push_back(self.counts[at]);
                let last = joined.blocks.len() - 1;
                if last > 0 && sparse(&joined, last - 1) {
                    joined.join(last - 1);
                }
                at += 1;
            }
            self.blocks = joined.blocks;
            self.counts = joined.counts;
        }
        self.give_back();
    }

    /// Shrinks the rings when most of them is unused.
    fn give_back(&mut self) {
        if self.blocks.capacity() > 64 && self.blocks.len() * 4 < self.blocks.capacity() {
            self.blocks.shrink_to(self.blocks.len() * 2);
            self.counts.shrink_to(self.counts.len() * 2);
        }
    }

    /// About how many bytes the elements of a range of indexes have: those of their blocks.
    pub(crate) fn bytes_in(&self, range: Range<usize>) -> usize {
        if range.is_empty() {
            return 0;
        }
        let ((first, _), (last, _)) = (self.locate(range.start), self.locate(range.end - 1));
        self.blocks.range(first..=last).map(|block| block.get().content_len()).sum()
    }

    /// The elements of a range of indexes.
    pub(crate) fn range(&self, range: Range<usize>) -> Elements<'_> {
        if range.is_empty() {
            return Elements::none();
        }
        let (at, within) = self.locate(range.start);
        let block = self.block(at);
        Elements::of_blocks(self, at + 1, block, block.seek(within), range.len())
    }

    /// The elements of a range of indexes as they are now, whatever happens to the list.
    pub(crate) fn snapshot(&mut self, range: Range<usize>) -> Snapshot {
        if range.is_empty() {
            return Snapshot::default();
        }
        let ((first, within), (last, _)) = (self.locate(range.start), self.locate(range.end - 1));
        let position = self.block(first).seek(within);
        let blocks = self.blocks.range_mut(first..=last).map(Shareable::share).collect();
        Snapshot::of_blocks(blocks, position, range.len())
    }

    /// The one block of a sequence that was made of one.
    pub(crate) fn into_block(mut self) -> Block {
        match self.blocks.pop_front() {
            None => Block::new(),
            Some(Shareable::Own(block)) => block,
            Some(Shareable::Shared(block)) => Arc::unwrap_or_clone(block),
        }
    }

    /// Appends the encoded elements.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.blocks.iter().for_each(|block| block.get().encode(out));
    }

    #[cfg(test)]
    pub(crate) fn check(&self) {
        let counts: Vec<u32> = self.blocks.iter().map(|block| block.get().check() as u32).collect();
        assert!(counts.iter().all(|&count| count > 0), "no block is empty");
        assert_eq!(self.counts, counts);
        assert_eq!(self.len, counts.iter().map(|&count| count as usize).sum());
    }

    /// All elements in one block, if they fill less than half of it.
    pub(crate) fn to_block(&self) -> Option<Block> {
        const BLOCKS_MAX: usize = 4;
        if self.blocks.len() > BLOCKS_MAX {
            return None;
        }
        let content: usize = self.blocks.iter().map(|block| block.get().content_len()).sum();
        if content > BLOCK_CAPACITY / 2 {
            return None;
        }
        let mut all = Block::with_capacity(content);
        self.blocks.iter().for_each(|block| all.append(block.get()));
        Some(all)
    }

    /// Drops blocks from the end until about so many elements are gone; true when none is left.
    pub(crate) fn free_some(&mut self, elements: usize) -> bool {
        let mut freed = 0;
        while freed < elements && self.blocks.pop_back().is_some() {
            freed += self.counts.pop_back().unwrap_or(0) as usize;
        }
        self.len = self.len.saturating_sub(freed);
        self.blocks.is_empty()
    }
}

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
use super::element::{self, Element, Encoded};
use super::End;
use memchr::memmem::Finder;
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
enum Shareable {
    Own(Block),
    Shared(Arc<Block>),
}

impl Shareable {
    #[inline]
    fn get(&self) -> &Block {
        match self {
            Shareable::Own(block) => block,
            Shareable::Shared(block) => block,
        }
    }

    /// For writing: a block that others read is copied.
    #[inline]
    fn get_mut(&mut self) -> &mut Block {
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
    blocks: VecDeque<Shareable>,
    counts: VecDeque<u32>,
    len: usize,
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

    /// The element at an end; there is one.
    #[inline]
    pub(crate) fn at_end(&mut self, end: End) -> Element<'_> {
        match end {
            End::Head => {
                let block = self.blocks[0].get();
                block.element(block.start()).0
            }
            End::Tail => {
                let last = self.blocks.len() - 1;
                let at = match &mut self.blocks[last] {
                    Shareable::Own(block) => block.last(),
                    Shareable::Shared(block) => block.peek_last(),
                };
                self.block(last).element(at).0
            }
        }
    }

    /// Removes the element at an end; there is one.
    #[inline]
    pub(crate) fn pop(&mut self, end: End) {
        let at = match end {
            End::Head => 0,
            End::Tail => self.blocks.len() - 1,
        };
        if self.counts[at] == 1 {
            self.remove_block(at);
            return;
        }
        let block = self.blocks[at].get_mut();
        let position = match end {
            End::Head => block.start(),
            End::Tail => block.last(),
        };
        let after = element::next(block.bytes(), position);
        block.remove(position..after, 1, 0);
        self.counts[at] -= 1;
        self.len -= 1;
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

    /// Shrinks the rings when most of them is unused.
    fn give_back(&mut self) {
        if self.blocks.capacity() > 64 && self.blocks.len() * 4 < self.blocks.capacity() {
            self.blocks.shrink_to(self.blocks.len() * 2);
            self.counts.shrink_to(self.counts.len() * 2);
        }
    }

    /// Removes elements that are equal to one, at most `limit`, those nearest to an end; returns where they were, ascending.
    pub(crate) fn remove_equal(&mut self, needle: &[u8], limit: usize, from: End) -> Vec<Run> {
        let finder = Finder::new(needle);
        let (mut runs, mut left) = (Vec::new(), limit);
        let mut base = match from {
            End::Head => 0,
            End::Tail => self.len,
        };
        let mut emptied = false;
        let order = Order::new(self.blocks.len(), from);
        let (mut indexes, mut positions) = (Vec::new(), Vec::new());
        for at in order {
            let count = self.counts[at] as usize;
            if from == End::Tail {
                base -= count;
            }
            find_in(self.block(at), &finder, &mut indexes, &mut positions);
            if !positions.is_empty() {
                if positions.len() > left {
                    match from {
                        End::Head => {
                            indexes.truncate(left);
                            positions.truncate(left);
                        }
                        End::Tail => {
                            indexes.drain(..indexes.len() - left);
                            positions.drain(..positions.len() - left);
                        }
                    }
                }
                left -= positions.len();
                let mut in_block: Vec<Run> = Vec::new();
                for &index in &indexes {
                    let index = base + index;
                    match in_block.last_mut() {
                        Some((first, length)) if *first + *length == index => *length += 1,
                        _ => in_block.push((index, 1)),
                    }
                }
                if from == End::Tail {
                    in_block.reverse();
                }
                runs.extend(in_block);
                let block = self.blocks[at].get_mut();
                block.remove_each(&positions);
                block.shrink_if_sparse();
                self.counts[at] -= positions.len() as u32;
                self.len -= positions.len();
                emptied |= self.counts[at] == 0;
                if left == 0 {
                    break;
                }
            }
            if from == End::Head {
                base += count;
            }
        }
        if from == End::Tail {
            runs.reverse();
        }
        if !runs.is_empty() {
            self.tidy(emptied);
        }
        runs
    }

    /// After removals in many blocks: drops the empty ones and joins small neighbours.
    fn tidy(&mut self, emptied: bool) {
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

    /// Shows the index of each element that is equal to one, beginning at an end, until it is told to stop or `limit` elements have been
    /// looked at.
    pub(crate) fn find(&self, needle: &[u8], from: End, limit: usize, found: &mut dyn FnMut(usize) -> bool) {
        let finder = Finder::new(needle);
        let (mut indexes, mut positions) = (Vec::new(), Vec::new());
        let mut passed = 0;
        for at in Order::new(self.blocks.len(), from) {
            if passed >= limit {
                return;
            }
            let count = self.counts[at] as usize;
            find_in(self.block(at), &finder, &mut indexes, &mut positions);
            let mut show = |from_end: usize, index: usize| from_end >= limit || !found(index);
            let stop = match from {
                End::Head => indexes.iter().any(|&index| show(passed + index, passed + index)),
                End::Tail => indexes.iter().rev().any(|&index| {
                    let from_end = passed + count - 1 - index;
                    show(from_end, self.len - 1 - from_end)
                }),
            };
            if stop {
                return;
            }
            passed += count;
        }
    }

    /// The elements of a range of indexes.
    pub(crate) fn range(&self, range: Range<usize>) -> Elements<'_> {
        if range.is_empty() {
            return Elements::of_block(&EMPTY, 0..0);
        }
        let (at, within) = self.locate(range.start);
        let block = self.block(at);
        Elements { sequence: Some((self, at + 1)), block, at: block.seek(within), left: range.len() }
    }

    /// The elements of a range of indexes as they are now, whatever happens to the list.
    pub(crate) fn snapshot(&mut self, range: Range<usize>) -> Snapshot {
        if range.is_empty() {
            return Snapshot::default();
        }
        let ((first, within), (last, _)) = (self.locate(range.start), self.locate(range.end - 1));
        let position = self.block(first).seek(within);
        let blocks = self.blocks.range_mut(first..=last).map(Shareable::share).collect();
        Snapshot { blocks, position, left: range.len(), behind: Vec::new() }
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

static EMPTY: Block = Block::new();

/// Indexes of blocks, from one end to the other.
enum Order {
    Up(Range<usize>),
    Down(std::iter::Rev<Range<usize>>),
}

impl Order {
    fn new(blocks: usize, from: End) -> Order {
        match from {
            End::Head => Order::Up(0..blocks),
            End::Tail => Order::Down((0..blocks).rev()),
        }
    }
}

impl Iterator for Order {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match self {
            Order::Up(range) => range.next(),
            Order::Down(range) => range.next(),
        }
    }
}

/// The elements of a block that are equal to one: their indexes in it and their positions, ascending.
///
/// Few blocks have the bytes anywhere, which a vectorised search finds out at memory speed; only those are walked. As no
/// encoding is the beginning of another one, an element that begins with the needle is equal to it.
pub(crate) fn find_in(
    block: &Block,
    finder: &Finder<'_>,
    indexes: &mut Vec<usize>,
    positions: &mut Vec<usize>,
) {
    indexes.clear();
    positions.clear();
    let (start, end) = (block.start(), block.end());
    let bytes = block.bytes();
    if start >= end {
        return;
    }
    let Some(first) = finder.find(&bytes[start..end]) else { return };
    let first = start + first;
    let needle = finder.needle();
    let (mut at, mut index) = (start, 0);
    while at < end {
        if at >= first && bytes[at..].starts_with(needle) {
            indexes.push(index);
            positions.push(at);
        }
        at = element::next(bytes, at);
        index += 1;
    }
}

/// Elements of a list, in order.
pub struct Elements<'a> {
    /// The list, and the block that comes after this one.
    sequence: Option<(&'a Sequence, usize)>,
    block: &'a Block,
    at: usize,
    left: usize,
}

impl<'a> Elements<'a> {
    /// Elements of one block, by index.
    pub(crate) fn of_block(block: &'a Block, range: Range<usize>) -> Elements<'a> {
        Elements { sequence: None, block, at: block.seek(range.start), left: range.len() }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        if self.left == 0 {
            return None;
        }
        if self.at == self.block.end() {
            let (sequence, next) = self.sequence.as_mut()?;
            self.block = sequence.block(*next);
            self.at = self.block.start();
            *next += 1;
        }
        self.left -= 1;
        let (element, next) = self.block.element(self.at);
        self.at = next;
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Elements<'_> {}

/// Elements of a list as they were at one moment, to be read in slices from either end.
#[derive(Default)]
pub struct Snapshot {
    blocks: VecDeque<Arc<Block>>,
    /// Position of the first element that is left, in the first block.
    position: usize,
    left: usize,
    /// Positions of the elements in the last block that are left, once it is read backwards.
    behind: Vec<usize>,
}

impl Snapshot {
    /// A snapshot of elements of one block, which is copied.
    pub(crate) fn of_block(block: &Block, range: Range<usize>) -> Snapshot {
        if range.is_empty() {
            return Snapshot::default();
        }
        let position = block.seek(range.start);
        let blocks = [Arc::new(block.clone())].into();
        Snapshot { blocks, position, left: range.len(), behind: Vec::new() }
    }

    /// Elements that were not read yet.
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether all have been read.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Reads the next elements in order, at most so many. Not to be mixed with [`Snapshot::read_back`].
    pub fn read(&mut self, count: usize, visit: &mut dyn FnMut(Element<'_>)) {
        for _ in 0..count.min(self.left) {
            while self.blocks[0].end() == self.position {
                self.blocks.pop_front();
                self.position = self.blocks[0].start();
            }
            let (element, next) = self.blocks[0].element(self.position);
            visit(element);
            self.position = next;
            self.left -= 1;
        }
        if self.left == 0 {
            self.blocks.clear();
        }
    }

    /// Reads elements from the last one back, at most so many.
    pub fn read_back(&mut self, count: usize, visit: &mut dyn FnMut(Element<'_>)) {
        for _ in 0..count.min(self.left) {
            if self.behind.is_empty() {
                self.enter_last();
            }
            let position = self.behind.pop().expect("a block has elements");
            let block = self.blocks.back().expect("a block that is read");
            visit(block.element(position).0);
            self.left -= 1;
            if self.behind.is_empty() {
                self.blocks.pop_back();
            }
        }
        if self.left == 0 {
            self.blocks.clear();
        }
    }

    /// Finds the elements of the last block, of which the last ones may be past the end of what was asked for.
    fn enter_last(&mut self) {
        let before: usize = match self.blocks.len() {
            1 => 0,
            blocks => {
                let first = self.blocks[0].len() - self.skipped();
                first + self.blocks.range(1..blocks - 1).map(|block| block.len()).sum::<usize>()
            }
        };
        let block = self.blocks.back().expect("something is left");
        block.positions(&mut self.behind);
        let skipped = if self.blocks.len() == 1 { self.skipped() } else { 0 };
        self.behind.truncate(skipped + self.left - before);
        self.behind.drain(..skipped);
    }

    /// Elements of the first block that are before the first one that was asked for.
    fn skipped(&self) -> usize {
        let block = &self.blocks[0];
        let (mut at, mut skipped) = (block.start(), 0);
        while at < self.position {
            at = element::next(block.bytes(), at);
            skipped += 1;
        }
        skipped
    }
}

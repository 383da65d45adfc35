//! Searches for the elements that are equal to one.
//!
//! A search compares encoded bytes, and begins with a vectorised search for them in a whole block: few blocks have them anywhere.
//! Where they are, the block is walked: as no encoding is the beginning of another one, an element that begins with the needle
//! is equal to it.
//!
//! A change that depends on a search must happen in one turn with it, or something else might come between. In a long list that turn
//! would be too long. So the search is done before, in slices, on a snapshot ([`Preparation`]): it finds out which blocks do not
//! have the element, and makes the blocks that are to replace those which have. Then, in one turn, blocks that are
//! still the same are skipped or replaced, and only those that have changed meanwhile are searched.

use super::block::Block;
use super::read::Snapshot;
use super::sequence::{Run, Sequence, Shareable};
use super::End;
use crate::value::element::{self, Encoded};
use memchr::memmem::Finder;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

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

/// What is looked for.
pub(crate) struct Needle(Finder<'static>);

/// Equal elements of one block, ascending.
#[derive(Default)]
pub(crate) struct Found {
    /// Their indexes in the block.
    pub(crate) indexes: Vec<usize>,
    positions: Vec<usize>,
}

impl Found {
    /// Keeps those that are nearest to an end.
    fn keep(&mut self, count: usize, nearest: End) {
        for list in [&mut self.indexes, &mut self.positions] {
            let more = list.len().saturating_sub(count);
            match nearest {
                End::Head => list.truncate(count),
                End::Tail => drop(list.drain(..more)),
            }
        }
    }
}

impl Needle {
    pub(crate) fn new(text: &[u8]) -> Needle {
        Needle(Finder::new(&Encoded::of(text).to_vec()).into_owned())
    }

    /// The elements of a block that are equal to it.
    pub(crate) fn look(&self, block: &Block, found: &mut Found) {
        found.indexes.clear();
        found.positions.clear();
        let (start, end) = (block.start(), block.end());
        let bytes = block.bytes();
        if start >= end {
            return;
        }
        let Some(first) = self.0.find(&bytes[start..end]) else { return };
        let (mut at, mut index) = (start, 0);
        while at < end {
            if at >= start + first && bytes[at..].starts_with(self.0.needle()) {
                found.indexes.push(index);
                found.positions.push(at);
            }
            at = element::next(bytes, at);
            index += 1;
        }
    }
}

/// A search through the blocks of a list, one after the other.
pub(crate) struct Search {
    needle: Needle,
    from: End,
    /// Elements that are looked at, at most.
    limit: usize,
    /// Elements of the list.
    len: usize,
    /// Elements in the blocks that were looked at.
    passed: usize,
    found: Found,
}

impl Search {
    pub(crate) fn new(text: &[u8], from: End, limit: usize, len: usize) -> Search {
        Search { needle: Needle::new(text), from, limit, len, passed: 0, found: Found::default() }
    }

    /// Looks at the next block and shows the index of each equal element; false when the search is over, because of its limit or
    /// because `show` says so.
    pub(crate) fn look(&mut self, block: &Block, show: &mut dyn FnMut(usize) -> bool) -> bool {
        self.needle.look(block, &mut self.found);
        let (passed, count, len, limit) = (self.passed, block.len(), self.len, self.limit);
        self.passed += count;
        let indexes = self.found.indexes.iter();
        let go_on = match self.from {
            End::Head => indexes.map(|index| passed + index).all(|index| index < limit && show(index)),
            End::Tail => indexes
                .rev()
                .map(|index| passed + count - 1 - index)
                .all(|from_end| from_end < limit && show(len - 1 - from_end)),
        };
        go_on && self.passed < limit
    }

    /// Looks at so many blocks of a snapshot of the whole list; true when the search is over.
    pub(crate) fn look_at_some(
        &mut self,
        list: &mut Snapshot,
        blocks: usize,
        show: &mut dyn FnMut(usize) -> bool,
    ) -> bool {
        for _ in 0..blocks {
            let Some(block) = list.take_block(self.from) else { return true };
            if !self.look(&block, show) {
                return true;
            }
        }
        list.is_empty()
    }
}

/// What is known of a block, as long as it is this very block.
enum Known {
    /// It has no such element.
    Absent(#[allow(dead_code)] Arc<Block>), // keeps its address from being used for another one
    /// What it is without those elements, and their indexes in it.
    Present(#[allow(dead_code)] Arc<Block>, Block, Vec<usize>),
}

/// A search in slices before a change. See the head of the file.
pub struct Preparation {
    needle: Needle,
    from: End,
    /// Elements that are wanted and were not found yet.
    left: usize,
    /// Whether the blocks without the elements are made.
    removes: bool,
    list: Snapshot,
    /// By the address of the block.
    known: HashMap<usize, Known>,
}

impl Preparation {
    /// Of a snapshot of a whole list. `removes`: at most `limit` elements, those nearest to an end, are to be removed.
    pub(crate) fn new(text: &[u8], limit: usize, from: End, removes: bool, list: Snapshot) -> Preparation {
        Preparation { needle: Needle::new(text), from, left: limit, removes, list, known: HashMap::new() }
    }

    /// Looks at so many blocks; true when all that is needed is known.
    pub(crate) fn advance(&mut self, blocks: usize) -> bool {
        let mut found = Found::default();
        for _ in 0..blocks {
            if self.left == 0 {
                return true;
            }
            let Some(block) = self.list.take_block(self.from) else { return true };
            self.needle.look(&block, &mut found);
            let address = Arc::as_ptr(&block).addr();
            if found.indexes.is_empty() {
                self.known.insert(address, Known::Absent(block));
                continue;
            }
            // A block of which only some of them go is left for the end: it is the last one.
            let all = found.indexes.len() <= self.left;
            self.left = self.left.saturating_sub(found.indexes.len());
            if self.removes && all {
                let mut without = Block::clone(&block);
                without.remove_each(&found.positions);
                without.shrink_if_sparse();
                let indexes = std::mem::take(&mut found.indexes);
                self.known.insert(address, Known::Present(block, without, indexes));
            }
        }
        self.left == 0 || self.list.is_empty()
    }

    fn of(&mut self, block: &Shareable) -> Option<Known> {
        match block {
            Shareable::Shared(block) => self.known.remove(&Arc::as_ptr(block).addr()),
            Shareable::Own(_) => None,
        }
    }
}

impl Sequence {
    /// Shows the index of each element that a search finds, until it is over.
    pub(crate) fn search(&self, search: &mut Search, show: &mut dyn FnMut(usize) -> bool) {
        Order::new(self.blocks.len(), search.from).all(|at| search.look(self.block(at), show));
    }

    /// The index of the first element that is equal to one.
    pub(crate) fn first_equal(&self, text: &[u8], mut known: Option<Preparation>) -> Option<usize> {
        let needle = Needle::new(text);
        let (mut found, mut base) = (Found::default(), 0);
        for (block, &count) in self.blocks.iter().zip(&self.counts) {
            let known = known.as_mut().and_then(|known| known.of(block));
            if !matches!(known, Some(Known::Absent(_))) {
                needle.look(block.get(), &mut found);
                if let Some(index) = found.indexes.first() {
                    return Some(base + index);
                }
            }
            base += count as usize;
        }
        None
    }

    /// Removes elements that are equal to one, at most `limit`, those nearest to an end; returns where they were, ascending.
    pub(crate) fn remove_equal(
        &mut self,
        text: &[u8],
        limit: usize,
        from: End,
        mut known: Option<Preparation>,
    ) -> Vec<Run> {
        let needle = Needle::new(text);
        let (mut runs, mut left, mut emptied) = (Vec::new(), limit, false);
        let (mut found, mut passed, len) = (Found::default(), 0, self.len);
        for at in Order::new(self.blocks.len(), from) {
            if left == 0 {
                break;
            }
            let count = self.counts[at] as usize;
            let base = match from {
                End::Head => passed,
                End::Tail => len - passed - count,
            };
            passed += count;
            match known.as_mut().and_then(|known| known.of(&self.blocks[at])) {
                Some(Known::Absent(_)) => continue,
                Some(Known::Present(_, without, indexes)) if indexes.len() <= left => {
                    self.blocks[at] = Shareable::Own(without);
                    found.indexes = indexes;
                }
                _ => {
                    needle.look(self.block(at), &mut found);
                    if found.indexes.is_empty() {
                        continue;
                    }
                    found.keep(left, from);
                    let block = self.blocks[at].get_mut();
                    block.remove_each(&found.positions);
                    block.shrink_if_sparse();
                }
            }
            let removed = found.indexes.len();
            add_runs(&mut runs, found.indexes.iter().map(|index| base + index), from);
            left -= removed;
            self.counts[at] -= removed as u32;
            self.len -= removed;
            emptied |= self.counts[at] == 0;
        }
        if from == End::Tail {
            runs.reverse();
        }
        if !runs.is_empty() {
            self.tidy(emptied);
        }
        runs
    }
}

/// Adds ascending indexes of one block as runs: to runs that ascend, or descend when the blocks come from the tail on.
fn add_runs(runs: &mut Vec<Run>, indexes: impl Iterator<Item = usize>, from: End) {
    let first = runs.len();
    for index in indexes {
        match runs[first..].last_mut() {
            Some((start, length)) if *start + *length == index => *length += 1,
            _ => runs.push((index, 1)),
        }
    }
    if from == End::Tail {
        runs[first..].reverse();
    }
}

//! Elements of a list in order: as they are, or as they were.

use super::block::Block;
use super::sequence::Sequence;
use super::End;
use crate::value::element::{self, Element};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

static EMPTY: Block = Block::new();

/// Elements of a list, in order.
pub struct Elements<'a> {
    /// The list, and the block that comes after this one.
    sequence: Option<(&'a Sequence, usize)>,
    block: &'a Block,
    at: usize,
    left: usize,
}

impl<'a> Elements<'a> {
    pub(super) fn none() -> Elements<'a> {
        Elements::of_block(&EMPTY, 0..0)
    }

    /// Elements from a position of a block on; `next` is the block after it.
    pub(super) fn of_blocks(
        sequence: &'a Sequence,
        next: usize,
        block: &'a Block,
        at: usize,
        left: usize,
    ) -> Elements<'a> {
        Elements { sequence: Some((sequence, next)), block, at, left }
    }

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
    /// Elements from a position of the first block on.
    pub(super) fn of_blocks(blocks: VecDeque<Arc<Block>>, position: usize, left: usize) -> Snapshot {
        Snapshot { blocks, position, left, behind: Vec::new() }
    }

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

    /// Takes the block at an end out of a snapshot of all elements of a list.
    pub(crate) fn take_block(&mut self, end: End) -> Option<Arc<Block>> {
        let block = match end {
            End::Head => self.blocks.pop_front(),
            End::Tail => self.blocks.pop_back(),
        }?;
        self.left -= block.len();
        Some(block)
    }

    /// Reads the next elements in order, at most so many, until `visit` says that it is enough. Not to be mixed with
    /// [`Snapshot::read_back`].
    pub fn read(&mut self, count: usize, visit: &mut dyn FnMut(Element<'_>) -> bool) {
        for _ in 0..count.min(self.left) {
            while self.blocks[0].end() == self.position {
                self.blocks.pop_front();
                self.position = self.blocks[0].start();
            }
            let (element, next) = self.blocks[0].element(self.position);
            self.position = next;
            self.left -= 1;
            if !visit(element) {
                break;
            }
        }
        if self.left == 0 {
            self.blocks.clear();
        }
    }

    /// Reads elements from the last one back, at most so many, until `visit` says that it is enough.
    pub fn read_back(&mut self, count: usize, visit: &mut dyn FnMut(Element<'_>) -> bool) {
        for _ in 0..count.min(self.left) {
            if self.behind.is_empty() {
                self.enter_last();
            }
            let position = self.behind.pop().expect("a block has elements");
            let block = self.blocks.back().expect("a block that is read");
            let go_on = visit(block.element(position).0);
            self.left -= 1;
            if self.behind.is_empty() {
                self.blocks.pop_back();
            }
            if !go_on {
                break;
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

//! The list as a value.
//!
//! A short list is one [`Block`](block::Block): one allocation. A longer one is a [`Sequence`](sequence::Sequence) of blocks of 4 KiB.
//! Both hold elements packed (see [`element`](super::element)). The name of Redis's form, `listpack` or `quicklist`, does not follow from that:
//! a [`Shape`](shape::Shape) keeps track of it.
//!
//! Good at: memory; both ends; reading in order; an element near an end. Linear, at some 5 GB/s: searches (LPOS,
//! LREM, LINSERT). An index in the middle of a long list costs a sum over the counts of a quarter of its blocks.

pub(crate) mod block;
mod read;
pub(crate) mod search;
pub(crate) mod sequence;
pub(crate) mod shape;
#[cfg(test)]
mod tests;

pub use super::element::Element;
pub use read::{Elements, Snapshot};

use super::element::Encoded;
use super::forms::forms;
use super::{Collection, Object, Type};
use block::Block;
use search::{Preparation, Search};
use sequence::{Run, Sequence, BLOCK_CAPACITY};
pub(crate) use shape::Fill;
use shape::{Shape, EMPTY_LISTPACK};
use std::ops::Range;

/// Blocks from which on a list is visited in slices: 256 KiB.
const LONG_BLOCKS: usize = 64;

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum End {
    /// Where LPUSH pushes: index 0.
    Head = 0,
    /// Where RPUSH pushes: index -1.
    Tail = 1,
}

forms! {
    /// A list.
    #[derive(Clone)]
    pub enum List {
        /// One block, which Redis would call a listpack.
        Packed(Block) = 0,
        /// Any number of blocks.
        Blocks(Box<Blocks>) = 1,
    }
}

/// A list of any length.
#[derive(Clone)]
pub struct Blocks {
    sequence: Sequence,
    shape: Shape,
}

impl Blocks {
    /// What elements take in listpacks; for [`Shape`].
    fn sizes(sequence: &Sequence) -> impl Fn(Range<usize>) -> usize + '_ {
        |range| sequence.range(range).map(Element::listpack_len).sum()
    }
}

impl List {
    /// The element at an index below the length.
    pub fn get(&self, index: usize) -> Element<'_> {
        match self {
            List::Packed(block) => block.element(block.seek(index)).0,
            List::Blocks(blocks) => blocks.sequence.get(index),
        }
    }

    /// The index from the head of one that is negative from the tail; none when the list has no such element.
    #[inline]
    pub fn index_of(&self, index: i64) -> Option<usize> {
        let len = self.len();
        let index = if index < 0 { index.checked_add(len as i64)? } else { index };
        usize::try_from(index).ok().filter(|&index| index < len)
    }

    /// The elements of a range of indexes, in order.
    pub fn range(&self, range: Range<usize>) -> Elements<'_> {
        match self {
            List::Packed(block) => Elements::of_block(block, range),
            List::Blocks(blocks) => blocks.sequence.range(range),
        }
    }

    /// Shows the index of each element equal to `text`, the nearest to an end first, until `found` says no; looks at no more than
    /// `limit` elements.
    pub fn find(&self, text: &[u8], from: End, limit: usize, found: &mut dyn FnMut(usize) -> bool) {
        let mut search = Search::new(text, from, limit, self.len());
        match self {
            List::Packed(block) => {
                search.look(block, found);
            }
            List::Blocks(blocks) => blocks.sequence.search(&mut search, found),
        }
    }

    /// Whether it is one block whose listpack would have no more than so many bytes.
    pub(crate) fn is_packed_within(&self, bytes: usize) -> bool {
        matches!(self, List::Packed(block) if EMPTY_LISTPACK + block.listpack() <= bytes)
    }

    /// Whether it is so long that what visits all of it should do so in slices.
    pub(crate) fn is_long(&self) -> bool {
        match self {
            List::Packed(_) => false,
            List::Blocks(blocks) => blocks.sequence.blocks.len() > LONG_BLOCKS,
        }
    }

    /// About how many bytes the elements of a range of indexes have.
    pub(crate) fn bytes_in(&self, range: Range<usize>) -> usize {
        match self {
            List::Packed(block) => block.content_len(),
            List::Blocks(blocks) => blocks.sequence.bytes_in(range),
        }
    }

    /// The index of the first element that is equal to `text`.
    pub(crate) fn first_equal(&self, text: &[u8], known: Option<Preparation>) -> Option<usize> {
        if let List::Blocks(blocks) = self {
            return blocks.sequence.first_equal(text, known);
        }
        let mut first = None;
        self.find(text, End::Head, usize::MAX, &mut |index| {
            first = Some(index);
            false
        });
        first
    }

    /// The elements of a range of indexes as they are now, whatever happens to the list.
    pub(crate) fn snapshot(&mut self, range: Range<usize>) -> Snapshot {
        match self {
            List::Packed(block) => Snapshot::of_block(block, range),
            List::Blocks(blocks) => blocks.sequence.snapshot(range),
        }
    }

    /// Elements, of which the texts have this many bytes in all, are about to be added: the form may change before.
    #[inline]
    pub(crate) fn before_growing(&mut self, bytes: usize, elements: usize, fill: Fill) {
        match self {
            List::Packed(block) => {
                let size = EMPTY_LISTPACK + block.listpack() + bytes;
                if fill.exceeded_by(size, block.len() + elements) {
                    let blocks = self.as_blocks();
                    blocks.shape.before_growing(blocks.sequence.len(), bytes, elements, fill);
                }
            }
            List::Blocks(blocks) => blocks.shape.before_growing(blocks.sequence.len(), bytes, elements, fill),
        }
    }

    /// Elements have been removed: the form may change.
    #[inline]
    pub(crate) fn after_shrinking(&mut self, fill: Fill) {
        match self {
            List::Packed(block) => block.shrink_if_sparse(),
            List::Blocks(blocks) => {
                blocks.shape.after_shrinking(fill);
                if let Shape::Listpack(size) = blocks.shape {
                    if let Some(mut block) = blocks.sequence.to_block() {
                        block.set_listpack(size - EMPTY_LISTPACK);
                        *self = List::Packed(block);
                    }
                }
            }
        }
    }

    #[cold]
    fn as_blocks(&mut self) -> &mut Blocks {
        if let List::Packed(block) = self {
            let block = std::mem::replace(block, Block::new());
            let shape = Shape::Listpack(EMPTY_LISTPACK + block.listpack());
            *self = List::Blocks(Box::new(Blocks { sequence: Sequence::of(block), shape }));
        }
        match self {
            List::Blocks(blocks) => blocks,
            List::Packed(_) => unreachable!("it has just been converted"),
        }
    }

    /// The one block, if an element of this encoded length can be added to it.
    #[inline]
    fn block_for(&mut self, more: usize) -> Result<&mut Block, &mut Blocks> {
        match self {
            List::Packed(block) if block.len() == 0 || block.fits(more, BLOCK_CAPACITY) => {}
            List::Packed(_) | List::Blocks(_) => return Err(self.as_blocks()),
        }
        match self {
            List::Packed(block) => Ok(block),
            List::Blocks(_) => unreachable!("matched above"),
        }
    }

    /// Adds an element at an end.
    #[inline]
    pub(crate) fn push(&mut self, end: End, text: &[u8]) {
        let encoded = Encoded::of(text);
        match (self.block_for(encoded.len()), end) {
            (Ok(block), End::Head) => block.push_front(&encoded),
            (Ok(block), End::Tail) => block.push_back(&encoded),
            (Err(blocks), end) => {
                blocks.shape.push(end, text.len(), &encoded);
                blocks.sequence.push(end, &encoded);
            }
        }
    }

    /// Removes the element at an end, having shown it; none when the list is empty.
    #[inline]
    pub(crate) fn pop<T>(&mut self, end: End, visit: impl FnOnce(Element<'_>) -> T) -> Option<T> {
        match self {
            List::Packed(block) if block.len() == 0 => None,
            List::Packed(block) => Some(block.pop(end, visit)),
            List::Blocks(blocks) if blocks.sequence.len() == 0 => None,
            List::Blocks(blocks) => {
                let Blocks { sequence, shape } = &mut **blocks;
                let (shown, listpack) = sequence.pop(end, |element| (visit(element), element.listpack_len()));
                shape.pop_one(end, listpack);
                Some(shown)
            }
        }
    }

    /// Removes `count` elements at an end; there are so many. Comes back with what is to be freed in slices.
    pub(crate) fn pop_many(&mut self, end: End, count: usize) -> Option<List> {
        let len = self.len();
        let start = match end {
            End::Head => 0,
            End::Tail => len - count,
        };
        match self {
            List::Packed(_) => {
                self.remove_packed(start, count);
                None
            }
            List::Blocks(blocks) => {
                let Blocks { sequence, shape } = &mut **blocks;
                shape.pop(end, count, len, &Blocks::sizes(sequence));
                sequence.remove(start, count).map(List::of_remains)
            }
        }
    }

    /// Removes elements in a row. Comes back with what is to be freed in slices.
    pub(crate) fn remove(&mut self, index: usize, count: usize) -> Option<List> {
        match self {
            List::Packed(_) => {
                self.remove_packed(index, count);
                None
            }
            List::Blocks(blocks) => {
                let Blocks { sequence, shape } = &mut **blocks;
                shape.remove_range(index..index + count, &Blocks::sizes(sequence));
                sequence.remove(index, count).map(List::of_remains)
            }
        }
    }

    fn remove_packed(&mut self, index: usize, count: usize) {
        let List::Packed(block) = self else { return };
        let start = block.seek(index);
        let (mut end, mut listpack) = (start, 0);
        for _ in 0..count {
            let (element, after) = block.element(end);
            listpack += element.listpack_len();
            end = after;
        }
        if count > 0 {
            block.remove(start..end, count, listpack);
        }
    }

    /// A list that is only there to be freed.
    fn of_remains(sequence: Sequence) -> List {
        List::Blocks(Box::new(Blocks { sequence, shape: Shape::Listpack(EMPTY_LISTPACK) }))
    }

    /// Puts an element before or after the one at an index below the length.
    pub(crate) fn insert(&mut self, pivot: usize, after: bool, text: &[u8]) {
        let encoded = Encoded::of(text);
        let index = pivot + after as usize;
        match self.block_for(encoded.len()) {
            Ok(block) => block.insert(block.seek(index), &encoded),
            Err(Blocks { sequence, shape }) => {
                shape.insert(pivot, after, text.len(), &encoded, &Blocks::sizes(sequence));
                sequence.insert(index, &encoded);
            }
        }
    }

    /// Puts an element in the place of the one at an index below the length.
    pub(crate) fn set(&mut self, index: usize, text: &[u8]) {
        let encoded = Encoded::of(text);
        match self.block_for(encoded.len()) {
            Ok(block) => {
                let at = block.seek(index);
                let (old, after) = block.element(at);
                let listpack = old.listpack_len();
                block.replace(at..after, &encoded, listpack);
            }
            Err(Blocks { sequence, shape }) => {
                shape.replace(index, text.len(), &encoded, &Blocks::sizes(sequence));
                sequence.replace(index, &encoded);
            }
        }
    }

    /// Removes elements equal to `text`, at most `limit`, those nearest to an end; returns where they were, ascending.
    pub(crate) fn remove_equal(
        &mut self,
        text: &[u8],
        limit: usize,
        from: End,
        known: Option<Preparation>,
    ) -> Vec<Run> {
        let encoded = Encoded::of(text);
        match self {
            List::Packed(block) => {
                // As a sequence of one block, which it is.
                let mut listpack = block.listpack();
                let mut sequence = Sequence::of(std::mem::replace(block, Block::new()));
                let runs = sequence.remove_equal(text, limit, from, None);
                listpack -= runs.iter().map(|&(_, count)| count * encoded.listpack_len).sum::<usize>();
                *block = sequence.into_block();
                block.set_listpack(listpack);
                runs
            }
            List::Blocks(blocks) => {
                let runs = blocks.sequence.remove_equal(text, limit, from, known);
                blocks.shape.remove(&runs, encoded.listpack_len);
                runs
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn check(&self) {
        let all = self.range(0..self.len());
        match self {
            List::Packed(block) => {
                assert_eq!(block.listpack(), all.map(Element::listpack_len).sum::<usize>());
            }
            List::Blocks(blocks) => {
                blocks.sequence.check();
                blocks.shape.check(blocks.sequence.len(), &Blocks::sizes(&blocks.sequence));
            }
        }
    }
}

impl Collection for List {
    const TYPE: Type = Type::List;

    fn new(_seed: u64) -> List {
        List::Packed(Block::new())
    }

    #[inline]
    fn len(&self) -> usize {
        match self {
            List::Packed(block) => block.len(),
            List::Blocks(blocks) => blocks.sequence.len(),
        }
    }

    fn encoding(&self) -> &'static str {
        match self {
            List::Packed(_) => "listpack",
            List::Blocks(blocks) => blocks.shape.name(),
        }
    }

    fn memory(&self) -> usize {
        match self {
            List::Packed(block) => block.heap_bytes(),
            List::Blocks(blocks) => size_of::<Blocks>() + blocks.sequence.memory() + blocks.shape.memory(),
        }
    }

    fn copy_some(&self, copy: &mut List, position: &mut u64, elements: usize) -> bool {
        let List::Blocks(blocks) = self else {
            *copy = self.clone();
            return true;
        };
        if *position == 0 {
            *copy =
                List::Blocks(Box::new(Blocks { sequence: Sequence::default(), shape: blocks.shape.clone() }));
        }
        match copy {
            List::Blocks(copy) => blocks.sequence.copy_some(&mut copy.sequence, position, elements),
            List::Packed(_) => unreachable!("it was made blocks by the first call"),
        }
    }

    fn free_some(&mut self, elements: usize) -> bool {
        match self {
            List::Packed(block) => {
                *block = Block::new();
                true
            }
            List::Blocks(blocks) => blocks.sequence.free_some(elements),
        }
    }

    /// The encoded elements, one after the other.
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            List::Packed(block) => block.encode(out),
            List::Blocks(blocks) => blocks.sequence.encode(out),
        }
    }

    fn decode(input: &[u8], _seed: u64) -> Option<List> {
        let fill = Fill::new(crate::limits::EncodingLimits::default().list_max_listpack_size);
        let mut list = List::new(0);
        let mut at = 0;
        while at < input.len() {
            let (element, end) = Element::try_decode_canonical(input, at)?;
            element.with_bytes(|text| {
                list.before_growing(text.len(), 1, fill);
                list.push(End::Tail, text);
            });
            at = end;
        }
        Some(list)
    }

    fn into_object(self) -> Object {
        Object::List(self)
    }
}

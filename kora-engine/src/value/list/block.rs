//! A run of elements in one allocation, with two ends.
//!
//! ```text
//! | start u32 | count u32 | mark u32 | listpack u32 |  gap  | element | element | ... | element |  room  |
//! 0                                                 16      start                            end      capacity
//! ```
//!
//! Both ends push and pop without moving the rest: a pop at the head leaves a gap, a push at the head fills it. When the side
//! that is pushed to has no space left but the other one has, the content slides over; when there is none at all, the
//! buffer grows to the next size class of the allocator. So no space is wasted, and the worst push moves one block.
//!
//! Elements can be walked forwards only (see `value/element`: a length behind each would cost a byte). The last one
//! is found from the *mark*, the position of an element near the end: about `sqrt(2n)` elements before it when it was
//! set, which makes the walks from it and the walks from the start that set it equally dear. A list of 13-byte elements
//! pops at the tail with about 40 steps of a few instructions.
//!
//! `listpack` is what the elements would take in a listpack; it means something in a list that is one block only.
//!
//! # Invariant (the unsafe code below relies on it)
//! - A block is a [`Buffer`] and nothing else.

use super::End;
use crate::value::buffer::Buffer;
use crate::value::element::{self, Element, Encoded};
use crate::value::forms::Pointer;
use std::ops::Range;

/// Bytes before the content.
const HEADER: usize = 16;

/// A run of elements. See the head of the file.
#[derive(Clone)]
pub struct Block(Buffer);

// SAFETY: a block is a buffer, whose pointer keeps the promise.
unsafe impl Pointer for Block {
    fn into_raw(self) -> *mut u8 {
        Pointer::into_raw(self.0)
    }

    unsafe fn from_raw(raw: *mut u8) -> Block {
        // SAFETY: by the caller: it came from the block's buffer.
        Block(unsafe { Pointer::from_raw(raw) })
    }

    fn relocate(&mut self, is_sparse: &dyn Fn(*const u8) -> bool) {
        self.0.relocate(is_sparse);
    }
}

#[derive(Clone, Copy)]
struct Header {
    /// Position of the first element.
    start: usize,
    /// Number of elements.
    count: usize,
    /// Position of an element near the end; 0 when none is known.
    mark: usize,
    listpack: usize,
}

impl Block {
    /// An empty one, without an allocation.
    pub(crate) const fn new() -> Block {
        Block(Buffer::new())
    }

    /// An empty one with room for content of this many bytes.
    pub(crate) fn with_capacity(content: usize) -> Block {
        let mut buffer = Buffer::with_capacity(HEADER + content);
        buffer.resize(HEADER, 0);
        let mut block = Block(buffer);
        block.set_header(Header { start: HEADER, count: 0, mark: 0, listpack: 0 });
        block
    }

    #[inline]
    fn header(&self) -> Header {
        let Some(header) = self.0.first_chunk::<HEADER>() else {
            return Header { start: HEADER, count: 0, mark: 0, listpack: 0 };
        };
        let field = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize
        };
        Header { start: field(0), count: field(4), mark: field(8), listpack: field(12) }
    }

    #[inline]
    fn set_header(&mut self, header: Header) {
        let to = self.0.first_chunk_mut::<HEADER>().expect("a block with content has a header");
        to[0..4].copy_from_slice(&(header.start as u32).to_le_bytes());
        to[4..8].copy_from_slice(&(header.count as u32).to_le_bytes());
        to[8..12].copy_from_slice(&(header.mark as u32).to_le_bytes());
        to[12..16].copy_from_slice(&(header.listpack as u32).to_le_bytes());
    }

    /// Number of elements.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.header().count
    }

    /// Position of the first element, or the end.
    #[inline]
    pub(crate) fn start(&self) -> usize {
        self.header().start
    }

    /// Position after the last element.
    #[inline]
    pub(crate) fn end(&self) -> usize {
        self.0.len().max(HEADER)
    }

    /// Bytes of all elements.
    #[inline]
    pub(crate) fn content_len(&self) -> usize {
        self.end() - self.start()
    }

    /// The bytes that positions count in.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Bytes of heap that it holds.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }

    /// Bytes of all elements in a listpack, as far as it has been told.
    #[inline]
    pub(crate) fn listpack(&self) -> usize {
        self.header().listpack
    }

    /// Says what all elements take in a listpack.
    pub(crate) fn set_listpack(&mut self, bytes: usize) {
        if !self.0.is_empty() {
            let header = self.header();
            self.set_header(Header { listpack: bytes, ..header });
        }
    }

    /// The element at a position, and the position after it.
    #[inline]
    pub(crate) fn element(&self, at: usize) -> (Element<'_>, usize) {
        Element::decode(&self.0, at)
    }

    /// The position of an element; `index` is at most the number of elements.
    pub(crate) fn seek(&self, index: usize) -> usize {
        debug_assert!(index <= self.len());
        if index == self.len() {
            return self.end();
        }
        (0..index).fold(self.start(), |at, _| element::next(&self.0, at))
    }

    /// The position of the last element, of which there must be one.
    pub(crate) fn last(&mut self) -> usize {
        /// Steps that are not worth a new mark.
        const STEPS: usize = 48;
        let mut header = self.header();
        let from = if header.mark == 0 { header.start } else { header.mark };
        let (mut at, end, mut steps) = (from, self.end(), 0);
        loop {
            let next = element::next(&self.0, at);
            if next == end {
                break;
            }
            at = next;
            steps += 1;
        }
        if steps > STEPS {
            let spacing = (2 * header.count).isqrt();
            if steps > 2 * spacing {
                // There was no mark, or much has been pushed since it was set.
                header.mark = (spacing..steps).fold(from, |at, _| element::next(&self.0, at));
                self.set_header(header);
            }
        }
        at
    }

    /// Whether `more` bytes of content fit without passing a size of allocation.
    #[inline]
    pub(crate) fn fits(&self, more: usize, capacity_max: usize) -> bool {
        HEADER + self.content_len() + more <= capacity_max
    }

    /// Puts an element before the one at position `at`, or at the end.
    pub(crate) fn insert(&mut self, at: usize, encoded: &Encoded<'_>) {
        let len = encoded.len();
        let at = self.open(at, len);
        encoded.write(&mut self.0[at..at + len]);
        let mut header = self.header();
        header.count += 1;
        header.listpack += encoded.listpack_len;
        self.set_header(header);
    }

    /// Adds an element at the end.
    #[inline]
    pub(crate) fn push_back(&mut self, encoded: &Encoded<'_>) {
        if self.0.is_empty() || self.0.capacity() - self.0.len() < encoded.len() {
            return self.insert(self.end(), encoded);
        }
        self.0.extend_from_slice(encoded.head());
        self.0.extend_from_slice(encoded.body());
        let mut header = self.header();
        header.count += 1;
        header.listpack += encoded.listpack_len;
        self.set_header(header);
    }

    /// Adds an element at the start.
    #[inline]
    pub(crate) fn push_front(&mut self, encoded: &Encoded<'_>) {
        let mut header = self.header();
        let len = encoded.len();
        if header.start - HEADER < len {
            return self.insert(header.start, encoded);
        }
        header.start -= len;
        header.count += 1;
        header.listpack += encoded.listpack_len;
        encoded.write(&mut self.0[header.start..header.start + len]);
        self.set_header(header);
    }

    /// Opens a hole of `len` bytes at position `at`; returns where it is.
    fn open(&mut self, at: usize, len: usize) -> usize {
        if self.0.is_empty() {
            *self = Block::with_capacity(len);
        }
        let mut at = at;
        let spare = |block: &Block| (block.start() - HEADER, block.0.capacity() - block.0.len());
        let (mut gap, mut room) = spare(self);
        if gap + room < len {
            at -= self.slide_to(HEADER) as usize;
            self.0.reserve(len);
            (gap, room) = spare(self);
        }
        let (start, end) = (self.start(), self.end());
        let (before, after) = (at - start, end - at);
        if before < after && (gap >= len || before == 0 || room < len) {
            if gap < len {
                at = at.wrapping_add_signed(-self.slide_to(start + room));
            }
            self.move_front(at, -(len as isize));
            at - len
        } else {
            if room < len {
                at -= self.slide_to(HEADER) as usize;
            }
            self.move_back(at, len as isize);
            at
        }
    }

    /// Moves the content so that it starts at `to`, and returns how far towards the head it went.
    fn slide_to(&mut self, to: usize) -> isize {
        let mut header = self.header();
        let (from, end) = (header.start, self.end());
        let by = from as isize - to as isize;
        if by == 0 {
            return 0;
        }
        if by < 0 {
            self.0.resize(end.wrapping_add_signed(-by), 0);
        }
        self.0.copy_within(from..end, to);
        self.0.truncate(end.wrapping_add_signed(-by));
        header.start = to;
        if header.mark != 0 {
            header.mark = header.mark.wrapping_add_signed(-by);
        }
        self.set_header(header);
        by
    }

    /// Moves what is before `at`, and with it the start.
    fn move_front(&mut self, at: usize, by: isize) {
        let mut header = self.header();
        self.0.copy_within(header.start..at, header.start.wrapping_add_signed(by));
        if header.mark != 0 && header.mark < at {
            header.mark = header.mark.wrapping_add_signed(by);
        }
        header.start = header.start.wrapping_add_signed(by);
        self.set_header(header);
    }

    /// Moves what is from `at` on, and with it the end.
    fn move_back(&mut self, at: usize, by: isize) {
        let mut header = self.header();
        let end = self.end();
        if by > 0 {
            self.0.resize(end.wrapping_add_signed(by), 0);
        }
        self.0.copy_within(at..end, at.wrapping_add_signed(by));
        self.0.truncate(end.wrapping_add_signed(by));
        if header.mark != 0 && header.mark >= at {
            header.mark = header.mark.wrapping_add_signed(by);
        }
        self.set_header(header);
    }

    /// Removes `count` elements, which lie in a range of positions and take so many bytes in a listpack.
    pub(crate) fn remove(&mut self, range: Range<usize>, count: usize, listpack: usize) {
        let mut header = self.header();
        debug_assert!(count <= header.count && header.start <= range.start && range.end <= self.end());
        header.count -= count;
        header.listpack = header.listpack.wrapping_sub(listpack);
        if range.contains(&header.mark) {
            header.mark = 0;
        }
        if header.count == 0 {
            header = Header { start: HEADER, mark: 0, ..header };
            self.set_header(header);
            self.0.truncate(HEADER);
            return;
        }
        self.set_header(header);
        let len = range.len() as isize;
        if range.start - header.start <= self.end() - range.end {
            self.move_front(range.start, len);
        } else {
            self.move_back(range.end, -len);
        }
    }

    /// Removes the element at an end, of which there is one, having shown it.
    #[inline]
    pub(crate) fn pop<T>(&mut self, end: End, visit: impl FnOnce(Element<'_>) -> T) -> T {
        let at = match end {
            End::Head => self.start(),
            End::Tail => self.last(),
        };
        let (element, after) = self.element(at);
        let listpack = element.listpack_len();
        let shown = visit(element);
        let mut header = self.header();
        if header.count == 1 {
            self.remove(at..after, 1, listpack);
            return shown;
        }
        header.count -= 1;
        header.listpack = header.listpack.wrapping_sub(listpack);
        if header.mark == at {
            header.mark = 0;
        }
        match end {
            End::Head => header.start = after,
            End::Tail => self.0.truncate(at),
        }
        self.set_header(header);
        shown
    }

    /// Removes many elements at once: their positions, ascending.
    pub(crate) fn remove_each(&mut self, positions: &[usize]) {
        let mut header = self.header();
        let Some(&first) = positions.first() else { return };
        let end = self.end();
        let mut to = first;
        for (i, &position) in positions.iter().enumerate() {
            let from = element::next(&self.0, position);
            let until = positions.get(i + 1).copied().unwrap_or(end);
            self.0.copy_within(from..until, to);
            to += until - from;
        }
        self.0.truncate(to);
        header.count -= positions.len();
        header.mark = 0;
        if header.count == 0 {
            header.start = HEADER;
            self.0.truncate(HEADER);
        }
        self.set_header(header);
    }

    /// Puts an element in the place of another, which lies in a range of positions and takes so many bytes in a listpack.
    pub(crate) fn replace(&mut self, range: Range<usize>, encoded: &Encoded<'_>, listpack: usize) {
        let (old, new) = (range.len(), encoded.len());
        self.set_listpack((self.listpack() + encoded.listpack_len).wrapping_sub(listpack));
        let at = if new > old {
            self.open(range.end, new - old) - old
        } else {
            let mut header = self.header();
            if header.mark == range.start {
                header.mark = 0;
                self.set_header(header);
            }
            let fewer = old - new;
            if range.start - header.start <= self.end() - range.end {
                self.move_front(range.start, fewer as isize);
                range.start + fewer
            } else {
                self.move_back(range.end, -(fewer as isize));
                range.start
            }
        };
        encoded.write(&mut self.0[at..at + new]);
    }

    /// Takes away the elements from the one at position `at` on, of which there are `count`.
    pub(crate) fn split_off(&mut self, at: usize, count: usize) -> Block {
        let mut header = self.header();
        let mut tail = Block::with_capacity(self.end() - at);
        tail.0.extend_from_slice(&self.0[at..]);
        tail.set_header(Header { start: HEADER, count, mark: 0, listpack: 0 });
        self.0.truncate(at);
        header.count -= count;
        if header.mark >= at {
            header.mark = 0;
        }
        self.set_header(header);
        tail
    }

    /// Adds the elements of another one at the end.
    pub(crate) fn append(&mut self, other: &Block) {
        let content = &other.0[other.start().min(other.0.len())..];
        let at = self.open(self.end(), content.len());
        self.0[at..at + content.len()].copy_from_slice(content);
        let mut header = self.header();
        header.count += other.len();
        header.listpack += other.listpack();
        self.set_header(header);
    }

    /// Appends the encoded elements.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        if !self.0.is_empty() {
            out.extend_from_slice(&self.0[self.start()..]);
        }
    }

    /// Asserts that header and content agree; returns the number of elements.
    #[cfg(test)]
    pub(crate) fn check(&self) -> usize {
        let header = self.header();
        let mut positions = Vec::new();
        self.positions(&mut positions);
        assert_eq!(positions.len(), header.count);
        assert!(header.mark == 0 || positions.contains(&header.mark), "the mark is at an element");
        assert!(header.start >= HEADER && self.0.len() <= self.0.capacity());
        header.count
    }

    /// The positions of all elements, ascending, into `positions`.
    pub(crate) fn positions(&self, positions: &mut Vec<usize>) {
        positions.clear();
        let (mut at, end) = (self.start(), self.end());
        while at < end {
            positions.push(at);
            at = element::next(&self.0, at);
        }
    }

    /// Gives back the space that the content does not need.
    pub(crate) fn shrink(&mut self) {
        if self.len() == 0 {
            *self = Block::new();
            return;
        }
        self.slide_to(HEADER);
        self.0.shrink_to_fit();
    }

    /// Gives back space when most of it is unused.
    #[inline]
    pub(crate) fn shrink_if_sparse(&mut self) {
        if self.0.capacity() > 128 && (HEADER + self.content_len()) * 4 < self.0.capacity() {
            self.shrink();
        }
    }
}

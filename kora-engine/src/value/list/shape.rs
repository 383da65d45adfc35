//! The form that Redis would have given a list: what OBJECT ENCODING answers.
//!
//! A list of Redis is a listpack up to `list-max-listpack-size`, then a quicklist: a chain of listpacks, each up to that size. It
//! becomes a listpack again when it shrinks to one node of half the size. So the name depends on where the borders
//! of nodes would lie, which depends on the order of pushes, pops and insertions; the blocks of a [`Sequence`] are cut
//! by other rules. A [`Shape`] follows the nodes without having them: a count and a size each, 8 bytes beside the 8 KiB that a node holds.
//!
//! Of Redis 7.2 to 8: a node takes an element while its size, the element's length and 8 are within the limit; an element
//! longer than the limit (with a limit of entries: than 8 KiB) has a node of its own, which takes no other; an insertion
//! into a full node splits it and joins small neighbours.
//!
//! [`Sequence`]: super::sequence::Sequence

use super::sequence::Run;
use super::End;
use crate::value::element::Encoded;
use std::collections::VecDeque;
use std::ops::Range;

/// Bytes of an empty listpack.
pub(crate) const EMPTY_LISTPACK: usize = 7;

/// What a node is expected to need beside the length of an element.
const OVERHEAD: usize = 8;

/// Limit in bytes that holds beside a limit of entries.
const SAFETY: usize = 8192;

/// `list-max-listpack-size`: how much a listpack may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fill(i32);

impl Fill {
    pub(crate) fn new(setting: i32) -> Fill {
        Fill(setting.clamp(-5, i16::MAX as i32))
    }

    /// Bytes, when the limit is one of bytes.
    fn bytes(self) -> Option<usize> {
        (self.0 < 0).then(|| 2048 << self.0.unsigned_abs())
    }

    /// Entries, when it is one of entries.
    fn entries(self) -> usize {
        self.0.max(1) as usize
    }

    /// Whether a listpack of this size and number of entries is too large.
    pub(crate) fn exceeded_by(self, size: usize, entries: usize) -> bool {
        match self.bytes() {
            Some(bytes) => size > bytes,
            None => size > SAFETY || entries > self.entries(),
        }
    }

    /// Whether a listpack that has shrunk to this is small enough to be the whole list.
    fn allows_shrunk(self, size: usize, entries: usize) -> bool {
        match self.bytes() {
            Some(bytes) => size <= bytes / 2,
            None => entries <= self.entries() / 2,
        }
    }

    /// Whether an element of this length has a node of its own.
    fn is_large(self, len: usize) -> bool {
        len > self.bytes().unwrap_or(SAFETY)
    }
}

/// One listpack of a quicklist, or one large element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Node {
    /// Elements; the highest bit says that it is one large element.
    count: u32,
    /// Bytes as a listpack.
    size: u32,
}

const LARGE: u32 = 1 << 31;

impl Node {
    const ALONE: Node = Node { count: 1 | LARGE, size: 0 };

    fn with(listpack_len: usize) -> Node {
        Node { count: 1, size: (EMPTY_LISTPACK + listpack_len) as u32 }
    }

    fn len(self) -> usize {
        (self.count & !LARGE) as usize
    }

    fn is_large(self) -> bool {
        self.count & LARGE != 0
    }

    fn add(&mut self, listpack_len: usize) {
        self.count += 1;
        self.size = (self.size as usize + listpack_len) as u32;
    }

    fn take(&mut self, count: usize, size: usize) {
        self.count -= count as u32;
        self.size = (self.size as usize).saturating_sub(size) as u32;
    }

    fn takes(self, len: usize, fill: Fill) -> bool {
        let size = self.size as usize + len + OVERHEAD;
        !self.is_large() && !fill.is_large(len) && !fill.exceeded_by(size, self.len() + 1)
    }

    fn joins(self, other: Node, fill: Fill) -> bool {
        if self.is_large() || other.is_large() {
            return false;
        }
        let size = (self.size + other.size) as usize - EMPTY_LISTPACK;
        !fill.exceeded_by(size, self.len() + other.len())
    }
}

/// Bytes that the elements of a range of indexes take in listpacks, before the change that is being followed.
pub(crate) type Sizes<'a> = &'a dyn Fn(Range<usize>) -> usize;

/// The form that Redis would have given a list.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    /// One listpack, of this many bytes.
    Listpack(usize),
    /// A chain of listpacks.
    Quicklist(Box<Quicklist>),
}

/// The nodes of a quicklist.
#[derive(Debug, Clone)]
pub(crate) struct Quicklist {
    nodes: VecDeque<Node>,
    /// The limit when it became one.
    fill: Fill,
}

impl Shape {
    /// Redis's name of it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Shape::Listpack(_) => "listpack",
            Shape::Quicklist(_) => "quicklist",
        }
    }

    /// Elements of these lengths in all are about to be added to a list of `len`.
    pub(crate) fn before_growing(&mut self, len: usize, bytes: usize, elements: usize, fill: Fill) {
        if let Shape::Listpack(size) = *self {
            if fill.exceeded_by(size + bytes, len + elements) {
                let mut nodes = VecDeque::new();
                if len > 0 {
                    nodes.push_back(Node { count: len as u32, size: size as u32 });
                }
                *self = Shape::Quicklist(Box::new(Quicklist { nodes, fill }));
            }
        }
    }

    /// Elements have been removed.
    pub(crate) fn after_shrinking(&mut self, fill: Fill) {
        if let Shape::Quicklist(quicklist) = self {
            if let (1, Some(&node)) = (quicklist.nodes.len(), quicklist.nodes.front()) {
                if !node.is_large() && fill.allows_shrunk(node.size as usize, node.len()) {
                    *self = Shape::Listpack(node.size as usize);
                }
            }
        }
    }

    /// An element is added at an end. `len` is the length of its text.
    #[inline]
    pub(crate) fn push(&mut self, end: End, len: usize, encoded: &Encoded<'_>) {
        match self {
            Shape::Listpack(size) => *size += encoded.listpack_len,
            Shape::Quicklist(quicklist) => quicklist.push(end, len, encoded.listpack_len),
        }
    }

    /// The element at an end is removed.
    #[inline]
    pub(crate) fn pop_one(&mut self, end: End, listpack_len: usize) {
        match self {
            Shape::Listpack(size) => *size -= listpack_len,
            Shape::Quicklist(quicklist) => quicklist.pop(end, 1, 1, &|_| listpack_len),
        }
    }

    /// Elements at an end are removed.
    pub(crate) fn pop(&mut self, end: End, count: usize, len: usize, sizes: Sizes<'_>) {
        match self {
            Shape::Listpack(size) => {
                *size -= match end {
                    End::Head => sizes(0..count),
                    End::Tail => sizes(len - count..len),
                }
            }
            Shape::Quicklist(quicklist) => quicklist.pop(end, count, len, sizes),
        }
    }

    /// Elements of equal size are removed: the runs ascend.
    pub(crate) fn remove(&mut self, runs: &[Run], listpack_len: usize) {
        match self {
            Shape::Listpack(size) => {
                *size -= runs.iter().map(|&(_, count)| count * listpack_len).sum::<usize>();
            }
            Shape::Quicklist(quicklist) => quicklist.remove(runs, listpack_len),
        }
    }

    /// Elements of a range of indexes are removed.
    pub(crate) fn remove_range(&mut self, range: Range<usize>, sizes: Sizes<'_>) {
        match self {
            Shape::Listpack(size) => *size -= sizes(range),
            Shape::Quicklist(quicklist) => quicklist.remove_range(range, sizes),
        }
    }

    /// An element is put before or after the one at `pivot`.
    pub(crate) fn insert(
        &mut self,
        pivot: usize,
        after: bool,
        len: usize,
        encoded: &Encoded<'_>,
        sizes: Sizes<'_>,
    ) {
        match self {
            Shape::Listpack(size) => *size += encoded.listpack_len,
            Shape::Quicklist(quicklist) => {
                let (node, offset) = quicklist.locate(pivot);
                quicklist.insert(node, offset, after, len, encoded.listpack_len, sizes);
            }
        }
    }

    /// The element at an index is replaced.
    pub(crate) fn replace(&mut self, index: usize, len: usize, encoded: &Encoded<'_>, sizes: Sizes<'_>) {
        match self {
            Shape::Listpack(size) => *size = *size + encoded.listpack_len - sizes(index..index + 1),
            Shape::Quicklist(quicklist) => quicklist.replace(index, len, encoded.listpack_len, sizes),
        }
    }

    /// Bytes of heap.
    pub(crate) fn memory(&self) -> usize {
        match self {
            Shape::Listpack(_) => 0,
            Shape::Quicklist(quicklist) => {
                size_of::<Quicklist>() + quicklist.nodes.capacity() * size_of::<Node>()
            }
        }
    }

    /// Asserts that it agrees with the elements.
    #[cfg(test)]
    pub(crate) fn check(&self, len: usize, sizes: Sizes<'_>) {
        match self {
            Shape::Listpack(size) => assert_eq!(*size, EMPTY_LISTPACK + sizes(0..len)),
            Shape::Quicklist(quicklist) => {
                let mut first = 0;
                for node in &quicklist.nodes {
                    let range = first..first + node.len();
                    first = range.end;
                    match node.is_large() {
                        true => assert_eq!(node.len(), 1),
                        false => assert_eq!(node.size as usize, EMPTY_LISTPACK + sizes(range.clone())),
                    }
                    assert!(!range.is_empty());
                }
                assert_eq!(first, len);
            }
        }
    }
}

impl Quicklist {
    /// The node of an element, and the element's index in it.
    fn locate(&self, index: usize) -> (usize, usize) {
        let mut left = index;
        for (at, node) in self.nodes.iter().enumerate() {
            if left < node.len() {
                return (at, left);
            }
            left -= node.len();
        }
        unreachable!("the nodes have all elements")
    }

    /// Index of the first element of a node.
    fn first_of(&self, node: usize) -> usize {
        self.nodes.range(..node).map(|node| node.len()).sum()
    }

    fn node_for(&self, len: usize, listpack_len: usize) -> Node {
        if self.fill.is_large(len) {
            Node::ALONE
        } else {
            Node::with(listpack_len)
        }
    }

    fn push(&mut self, end: End, len: usize, listpack_len: usize) {
        let fill = self.fill;
        let last = match end {
            End::Head => self.nodes.front_mut(),
            End::Tail => self.nodes.back_mut(),
        };
        match last {
            Some(node) if node.takes(len, fill) => node.add(listpack_len),
            _ => {
                let node = self.node_for(len, listpack_len);
                match end {
                    End::Head => self.nodes.push_front(node),
                    End::Tail => self.nodes.push_back(node),
                }
            }
        }
    }

    fn pop(&mut self, end: End, count: usize, len: usize, sizes: Sizes<'_>) {
        let mut left = count;
        while left > 0 {
            let node = match end {
                End::Head => self.nodes.front_mut(),
                End::Tail => self.nodes.back_mut(),
            };
            let node = node.expect("the nodes have all elements");
            if left < node.len() {
                // The nodes in front of it, or behind it, are gone by now: what is left of it are the outermost of the rest.
                let range = match end {
                    End::Head => count - left..count,
                    End::Tail => len - count..len - count + left,
                };
                node.take(left, sizes(range));
                return;
            }
            left -= node.len();
            match end {
                End::Head => self.nodes.pop_front(),
                End::Tail => self.nodes.pop_back(),
            };
        }
    }

    fn remove(&mut self, runs: &[Run], listpack_len: usize) {
        let mut runs = runs.iter().copied().peekable();
        let mut first = 0;
        for node in &mut self.nodes {
            let end = first + node.len();
            while let Some((start, count)) = runs.peek_mut() {
                if *start >= end {
                    break;
                }
                let here = (*count).min(end - *start);
                node.take(here, here * listpack_len);
                (*start, *count) = (*start + here, *count - here);
                if *count > 0 {
                    break;
                }
                runs.next();
            }
            first = end;
        }
        self.nodes.retain(|node| node.len() > 0);
    }

    fn remove_range(&mut self, range: Range<usize>, sizes: Sizes<'_>) {
        let mut first = 0;
        for node in &mut self.nodes {
            let end = first + node.len();
            let gone = range.start.max(first)..range.end.min(end);
            if gone.len() == node.len() {
                node.count = 0;
            } else if !gone.is_empty() {
                node.take(gone.len(), sizes(gone));
            }
            first = end;
        }
        self.nodes.retain(|node| node.len() > 0);
    }

    fn insert(
        &mut self,
        at: usize,
        offset: usize,
        after: bool,
        len: usize,
        listpack_len: usize,
        sizes: Sizes<'_>,
    ) {
        let fill = self.fill;
        let node = self.nodes[at];
        let at_edge = if after { offset + 1 == node.len() } else { offset == 0 };
        let beside = if after { at + 1 } else { at };
        let neighbour = if after { Some(at + 1) } else { at.checked_sub(1) };
        if fill.is_large(len) {
            if !node.is_large() && !at_edge {
                self.split(at, if after { offset + 1 } else { offset }, sizes);
                self.nodes.insert(at + 1, Node::ALONE);
            } else {
                self.nodes.insert(beside, Node::ALONE);
            }
        } else if node.takes(len, fill) {
            self.nodes[at].add(listpack_len);
        } else if at_edge {
            match neighbour.and_then(|index| self.nodes.get_mut(index)) {
                Some(node) if node.takes(len, fill) => node.add(listpack_len),
                _ => self.nodes.insert(beside, Node::with(listpack_len)),
            }
        } else {
            // The element goes to the part that does not have the pivot; then small nodes are joined around the pivot's.
            self.split(at, if after { offset + 1 } else { offset }, sizes);
            let (pivots, others) = if after { (at, at + 1) } else { (at + 1, at) };
            self.nodes[others].add(listpack_len);
            self.join_around(pivots);
        }
    }

    /// Splits a node before the element of this index in it.
    fn split(&mut self, at: usize, offset: usize, sizes: Sizes<'_>) {
        let first = self.first_of(at);
        let node = self.nodes[at];
        let head = sizes(first..first + offset);
        self.nodes[at] = Node { count: offset as u32, size: (EMPTY_LISTPACK + head) as u32 };
        let tail = Node { count: node.count - offset as u32, size: node.size - head as u32 };
        self.nodes.insert(at + 1, tail);
    }

    /// Joins a node with the next one, if both fit into one.
    fn join(&mut self, at: usize) -> bool {
        let (Some(&a), Some(&b)) = (self.nodes.get(at), self.nodes.get(at + 1)) else { return false };
        if !a.joins(b, self.fill) {
            return false;
        }
        self.nodes[at] = Node { count: a.count + b.count, size: a.size + b.size - EMPTY_LISTPACK as u32 };
        self.nodes.remove(at + 1);
        true
    }

    /// Joins the two nodes before a node, the two after it, it with the one before it, and the result with the one after it.
    fn join_around(&mut self, center: usize) {
        let mut center = center;
        if center >= 2 && self.join(center - 2) {
            center -= 1;
        }
        self.join(center + 1);
        if center >= 1 && self.join(center - 1) {
            center -= 1;
        }
        self.join(center);
    }

    fn replace(&mut self, index: usize, len: usize, listpack_len: usize, sizes: Sizes<'_>) {
        let (at, offset) = self.locate(index);
        let node = self.nodes[at];
        match (node.is_large(), self.fill.is_large(len)) {
            (true, true) => {}
            (true, false) => {
                self.insert(at, 0, true, len, listpack_len, sizes);
                self.nodes.remove(at);
            }
            (false, false) => {
                let old = sizes(index..index + 1);
                self.nodes[at].size = (node.size as usize + listpack_len - old) as u32;
            }
            (false, true) => {
                // The element's node ends with it; behind it comes the new one, then the rest; then the old one goes.
                if offset + 1 < node.len() {
                    self.split(at, offset + 1, sizes);
                }
                self.nodes.insert(at + 1, Node::ALONE);
                if offset == 0 {
                    self.nodes.remove(at);
                } else {
                    self.nodes[at].take(1, sizes(index..index + 1));
                    self.join_around(at + 1);
                }
            }
        }
    }
}

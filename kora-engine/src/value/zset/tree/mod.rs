//! The order of a large sorted set: a counted B+tree of (score, member).
//!
//! ```text
//! inner node   least entry of each child: scores [8 bytes], pins [6 bytes]
//!              entries below each child  [8 bytes]      children: all leaves or all inner nodes, in place
//! leaf         scores [4 or 8 bytes], pins [6 bytes]    up to 128
//! ```
//!
//! An entry does not hold its member but a [`Pin`] of the member's record in the table beside the tree (see
//! [`Large`](super::large::Large)); members are looked at only where scores are equal. Arrays of scores of their own keep a search in few cache lines:
//! at a million entries it reads three nodes. Counts make ranks and selection by rank O(log n).
//!
//! Why this and not a skip list with spans: a node per entry costs some 45 bytes, and a search misses the cache at every
//! step; here an entry costs 11 to 16 bytes and a search misses about once per node. Bad at: inserts move half a leaf (up to 1 KiB),
//! and equal scores throughout make every comparison a cache miss, as in a skip list.
//!
//! Nodes grow by the allocator's size classes, so that memory does not swing between half full and full. A leaf that
//! overflows at either end of the tree gives its new entry a leaf of its own, so ascending scores fill leaves
//! completely. A node that falls below a quarter is merged with a neighbour when both fit in three quarters of one.
//!
//! Scores are not NaN. `-0` and `0` are equal, as numbers are, and the sign is kept.

mod capacity;
mod inner;
mod leaf;
mod scores;
#[cfg(test)]
mod tests;

use crate::table::Pin;
use inner::{Children, Inner};
use leaf::Leaf;
use std::cmp::Ordering;

/// The member behind a pin of the tree.
pub(crate) trait Members {
    /// Its bytes.
    fn member(&self, pin: Pin) -> &[u8];
}

/// One entry of the tree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    /// Not NaN.
    pub(crate) score: f64,
    /// Names the member.
    pub(crate) pin: Pin,
}

/// A place in the order, whether or not there is an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Not NaN.
    pub(crate) score: f64,
    /// The member, which decides between equal scores by its bytes.
    pub(crate) member: &'a [u8],
}

impl Entry {
    #[inline(always)]
    fn compare(self, members: &impl Members, place: Place<'_>) -> Ordering {
        if self.score < place.score {
            Ordering::Less
        } else if self.score > place.score {
            Ordering::Greater
        } else {
            members.member(self.pin).cmp(place.member)
        }
    }

    #[inline(always)]
    pub(super) fn is_before(self, members: &impl Members, place: Place<'_>) -> bool {
        self.compare(members, place) == Ordering::Less
    }
}

/// Number of leading indexes below `len` for which `before` holds; it holds for none after one for which it does not.
#[inline(always)]
fn partition(len: usize, mut before: impl FnMut(usize) -> bool) -> usize {
    let (mut start, mut rest) = (0, len);
    while rest > 0 {
        let half = rest / 2;
        let middle = start + half;
        if before(middle) {
            start = middle + 1;
            rest -= half + 1;
        } else {
            rest = half;
        }
    }
    start
}

/// Entries in order.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    root: Inner,
    len: usize,
}

impl Tree {
    /// No entries.
    pub(crate) fn new() -> Tree {
        Tree { root: Inner::empty(), len: 0 }
    }

    /// Number of entries.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds an entry whose (score, member) is not there.
    pub(crate) fn insert(&mut self, members: &impl Members, score: f64, member: &[u8], pin: Pin) {
        debug_assert!(!score.is_nan());
        let right = self.root.insert(members, Place { score, member }, pin, inner::Edges::BOTH);
        self.len += 1;
        if let Some(right) = right {
            let left = std::mem::replace(&mut self.root, Inner::empty());
            self.root = Inner::of_two(left, right);
        }
    }

    /// Takes the entry of (score, member) away; `None` when it is not there.
    pub(crate) fn remove(&mut self, members: &impl Members, score: f64, member: &[u8]) -> Option<Pin> {
        let (entry, _) = self.root.remove(members, Place { score, member })?;
        self.removed();
        Some(entry.pin)
    }

    /// Takes the entry of this rank (0 is the least) away.
    ///
    /// # Panics
    /// When `rank` is not below the number of entries.
    pub(crate) fn remove_at(&mut self, rank: usize) -> Entry {
        assert!(rank < self.len, "rank {rank} of {}", self.len);
        let entry = self.root.remove_at(rank);
        self.removed();
        entry
    }

    fn removed(&mut self) {
        self.len -= 1;
        self.root.collapse();
    }

    /// Gives the entry of (score, member) another score; it must be there.
    pub(crate) fn rescore(&mut self, members: &impl Members, old: f64, new: f64, member: &[u8]) {
        debug_assert!(!new.is_nan());
        if !self.root.rescore_in_place(members, Place { score: old, member }, new) {
            let pin = self.remove(members, old, member).expect("the entry is in the tree");
            self.insert(members, new, member, pin);
        }
    }

    /// Number of leading entries for which `before` holds; it holds for none after one for which it does not.
    #[inline]
    pub(crate) fn partition(&self, mut before: impl FnMut(Entry) -> bool) -> usize {
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            let Some(child) = node.partition(&mut before).checked_sub(1) else { return rank };
            rank += node.entries_before(child);
            match node.children() {
                Children::Inners(inners) => node = &inners[child],
                Children::Leaves(leaves) => return rank + leaves[child].partition(before),
            }
        }
    }

    /// Number of entries before a place.
    pub(crate) fn rank(&self, members: &impl Members, place: Place<'_>) -> usize {
        self.partition(|entry| entry.is_before(members, place))
    }

    /// The leaf that holds this rank, and where in it.
    #[inline]
    fn locate(&self, rank: usize) -> (&Leaf, usize) {
        assert!(rank < self.len, "rank {rank} of {}", self.len);
        let (mut node, mut rank) = (&self.root, rank);
        loop {
            let (child, rest) = node.child_of_rank(rank);
            rank = rest;
            match node.children() {
                Children::Inners(inners) => node = &inners[child],
                Children::Leaves(leaves) => return (&leaves[child], rank),
            }
        }
    }

    /// The entry of this rank.
    ///
    /// # Panics
    /// When `rank` is not below the number of entries.
    pub(crate) fn get(&self, rank: usize) -> Entry {
        let (leaf, at) = self.locate(rank);
        leaf.get(at)
    }

    /// The entries from this rank on, upwards.
    #[inline]
    pub(crate) fn ascending(&self, rank: usize) -> Ascending<'_> {
        Ascending { tree: self, rank, leaf: None, at: 0 }
    }

    /// The entries from this rank on, downwards.
    #[inline]
    pub(crate) fn descending(&self, rank: usize) -> Descending<'_> {
        Descending { tree: self, left: rank.saturating_add(1).min(self.len), leaf: None, left_in_leaf: 0 }
    }

    /// Adds an entry at the end. The caller knows that all others are before it.
    pub(crate) fn push(&mut self, score: f64, pin: Pin) {
        debug_assert!(!score.is_nan());
        let right = self.root.push(Entry { score, pin });
        self.len += 1;
        if let Some(right) = right {
            let left = std::mem::replace(&mut self.root, Inner::empty());
            self.root = Inner::of_two(left, right);
        }
    }

    /// Frees the memory of about so many entries, from the end; true when all is free. Nothing else is asked
    /// of a tree that is being freed.
    pub(crate) fn free_some(&mut self, entries: usize) -> bool {
        let mut freed = 0;
        while freed < entries {
            match self.root.drop_last_leaf() {
                0 => return true,
                count => freed += count,
            }
        }
        self.len = self.len.saturating_sub(freed);
        self.len == 0
    }

    /// Bytes of heap, estimated from the first leaves.
    pub(crate) fn heap_bytes(&self) -> usize {
        let (mut bytes, mut entries) = (0, 0);
        let mut node = &self.root;
        loop {
            match node.children() {
                Children::Inners(inners) => node = &inners[0],
                Children::Leaves(leaves) => {
                    for leaf in leaves {
                        bytes += leaf.heap_bytes();
                        entries += leaf.len();
                    }
                    bytes += node.heap_bytes();
                    break;
                }
            }
        }
        // Nodes above the last level are one in a hundred of those below.
        (bytes as u128 * self.len as u128 / entries.max(1) as u128) as usize
    }
}

/// Entries in ascending order. Finds each leaf by its rank: one descent per hundred entries is cheaper than a stack of
/// nodes for the many short ranges.
pub(crate) struct Ascending<'a> {
    tree: &'a Tree,
    rank: usize,
    leaf: Option<&'a Leaf>,
    at: usize,
}

impl Iterator for Ascending<'_> {
    type Item = Entry;

    #[inline]
    fn next(&mut self) -> Option<Entry> {
        let leaf = match self.leaf {
            Some(leaf) if self.at < leaf.len() => leaf,
            _ => {
                if self.rank >= self.tree.len {
                    return None;
                }
                let (leaf, at) = self.tree.locate(self.rank);
                self.at = at;
                self.leaf.insert(leaf)
            }
        };
        if let Some(ahead) = leaf.pins().get(self.at + PREFETCH_DISTANCE) {
            ahead.prefetch();
        }
        let entry = leaf.get(self.at);
        self.at += 1;
        self.rank += 1;
        Some(entry)
    }
}

/// Entries of look-ahead: their members' records are in as many places.
const PREFETCH_DISTANCE: usize = 6;

/// Entries in descending order.
pub(crate) struct Descending<'a> {
    tree: &'a Tree,
    /// Entries that are still to come.
    left: usize,
    leaf: Option<&'a Leaf>,
    left_in_leaf: usize,
}

impl Iterator for Descending<'_> {
    type Item = Entry;

    #[inline]
    fn next(&mut self) -> Option<Entry> {
        let leaf = match self.leaf {
            Some(leaf) if self.left_in_leaf > 0 => leaf,
            _ => {
                let (leaf, at) = self.tree.locate(self.left.checked_sub(1)?);
                self.left_in_leaf = at + 1;
                self.leaf.insert(leaf)
            }
        };
        self.left -= 1;
        self.left_in_leaf -= 1;
        if let Some(ahead) = self.left_in_leaf.checked_sub(PREFETCH_DISTANCE) {
            leaf.pins()[ahead].prefetch();
        }
        Some(leaf.get(self.left_in_leaf))
    }
}

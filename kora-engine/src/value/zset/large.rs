//! The form of large sorted sets: a table of the members, and a tree that orders them.
//!
//! The table maps a member to its score, which is the integer value of its record (the double's bits). The tree names a
//! member by the address of that record. A member with a score costs a record (8 bytes of header, 8 of score, the
//! bytes of the member, rounded up to 16), a slot of some 10 bytes and 11 to 16 bytes in the tree.
//!
//! # Invariants (the unsafe code below relies on them)
//! - The pins of the tree are exactly the records of the table, each once, under the record's score.
//! - Records are inserted through [`Table::pin`] and changed by `set_int` only, so that they stay where they are.

use super::tree::{Ascending, Descending, Entry, Members, Place, Tree};
use crate::table::{Pin, Pinned, Remains, Table, ValueRef};

/// See the head of the file.
#[derive(Debug)]
pub struct Large {
    members: Table,
    tree: Tree,
    /// What is left of the table while the set is being freed.
    remains: Option<Remains>,
    /// Seed of the table's hash, for copies.
    seed: u64,
}

/// The tree's way to the members.
#[derive(Clone, Copy)]
struct Records<'a>(&'a Table);

impl Members for Records<'_> {
    #[inline(always)]
    fn member(&self, pin: Pin) -> &[u8] {
        // SAFETY: only pins of the tree are looked up, and they are of records that are in the table (see the head of the
        // file); each takes its leave from the tree before it does from the table.
        unsafe { pin.entry(self.0).key() }
    }
}

fn bits_of(score: f64) -> i64 {
    score.to_bits() as i64
}

fn score_of(value: ValueRef<'_>) -> f64 {
    match value {
        ValueRef::Int(bits) => f64::from_bits(bits as u64),
        _ => unreachable!("the value of a member is its score"),
    }
}

impl Large {
    pub(super) fn new(seed: u64) -> Large {
        Large { members: Table::new(seed), tree: Tree::new(), remains: None, seed }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.tree.len()
    }

    /// The table of the members.
    pub(super) fn members(&self) -> &Table {
        &self.members
    }

    #[inline]
    fn records(&self) -> Records<'_> {
        Records(&self.members)
    }

    #[inline]
    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        let entry = self.members.get(self.members.hash(member), member)?;
        Some(score_of(entry.value()))
    }

    pub(super) fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(member)?;
        Some((self.rank_of_place(score, member), score))
    }

    pub(super) fn rank_of_place(&self, score: f64, member: &[u8]) -> usize {
        self.tree.rank(&self.records(), Place { score, member })
    }

    /// See [`Zset::update`](super::Zset).
    #[inline]
    pub(super) fn update(
        &mut self,
        member: &[u8],
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> (Option<f64>, Option<f64>) {
        let hash = self.members.hash(member);
        match self.members.pin(hash, member) {
            Pinned::Old(mut entry) => {
                let old = score_of(entry.value());
                // The sign of zero alone is no other score.
                let new = decide(Some(old)).filter(|new| *new != old);
                if let Some(new) = new {
                    entry.set_int(bits_of(new));
                    self.tree.rescore(&Records(&self.members), old, new, member);
                }
                (Some(old), new)
            }
            Pinned::Vacant(vacancy) => {
                let new = decide(None);
                if let Some(new) = new {
                    let pin = vacancy.insert(member, bits_of(new));
                    self.tree.insert(&Records(&self.members), new, member, pin);
                }
                (None, new)
            }
        }
    }

    /// Adds a member at the end; false, and nothing done, when it is there already or would not be the last.
    pub(super) fn push(&mut self, member: &[u8], score: f64) -> bool {
        if let Some(last) = self.len().checked_sub(1) {
            let last = self.tree.get(last);
            if !last.is_before(&self.records(), Place { score, member }) {
                return false;
            }
        }
        let hash = self.members.hash(member);
        match self.members.pin(hash, member) {
            Pinned::Old(_) => false,
            Pinned::Vacant(vacancy) => {
                let pin = vacancy.insert(member, bits_of(score));
                self.tree.push(score, pin);
                true
            }
        }
    }

    pub(super) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let hash = self.members.hash(member);
        let score = score_of(self.members.get(hash, member)?.value());
        let pin = self.tree.remove(&Records(&self.members), score, member);
        assert!(pin.is_some(), "the tree has every member");
        self.members.remove(hash, member);
        Some(score)
    }

    /// Takes the member of this rank out and shows it to `f`.
    pub(super) fn take_at<T>(&mut self, rank: usize, f: impl FnOnce(&[u8], f64) -> T) -> T {
        let Entry { score, pin } = self.tree.remove_at(rank);
        // SAFETY: the pin was the tree's until now, so its record is in the table; no one else has a copy of it.
        let record = unsafe { self.members.take_pinned(pin) };
        f(record.entry().key(), score)
    }

    fn entry(&self, entry: Entry) -> (&[u8], f64) {
        // SAFETY: the pin comes from the tree, whose pins are of records in the table.
        (unsafe { entry.pin.entry(&self.members).key() }, entry.score)
    }

    /// Number of leading scores for which `before` holds; it holds for none after one for which it does not.
    pub(super) fn partition_scores(&self, mut before: impl FnMut(f64) -> bool) -> usize {
        self.tree.partition(|entry| before(entry.score))
    }

    /// As `partition_scores`, of the members.
    pub(super) fn partition_members(&self, mut before: impl FnMut(&[u8]) -> bool) -> usize {
        let records = self.records();
        self.tree.partition(|entry| before(records.member(entry.pin)))
    }

    pub(super) fn ascending(&self, rank: usize) -> Named<'_, Ascending<'_>> {
        Named { large: self, entries: self.tree.ascending(rank) }
    }

    pub(super) fn descending(&self, rank: usize) -> Named<'_, Descending<'_>> {
        Named { large: self, entries: self.tree.descending(rank) }
    }

    /// Visits about `count` members from a cursor on, in no order; returns the cursor to go on with, 0 at the end.
    pub(super) fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&[u8], f64)) -> u64 {
        self.members.scan(cursor, count, &mut |entry| visit(entry.key(), score_of(entry.value())))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Large>() + self.members.memory().total() + self.tree.heap_bytes()
    }

    pub(super) fn free_some(&mut self, members: usize) -> bool {
        // The tree first, while its pins still name something.
        if !self.tree.free_some(members) {
            return false;
        }
        let table = &mut self.members;
        self.remains.get_or_insert_with(|| table.take_all()).free_some(members)
    }
}

impl Large {
    /// An empty one of the same hashes.
    pub(super) fn empty_like(&self) -> Large {
        Large::new(self.seed)
    }

    /// Copies about so many members more: those behind the last one of the copy. True at the end.
    pub(super) fn copy_some(&self, copy: &mut Large, members: usize) -> bool {
        let done = copy.ascending(copy.len().saturating_sub(1)).next().map_or(0, |(member, score)| {
            let rank = self.rank_of_place(score, member);
            // It may be gone by now.
            let is_there = self.ascending(rank).next().is_some_and(|(next, _)| next == member);
            rank + usize::from(is_there)
        });
        let end = self.len().min(done.saturating_add(members));
        for (member, score) in self.ascending(done).take(end - done) {
            // One that has moved up meanwhile is there already, with its former score.
            if !copy.push(member, score) {
                copy.update(member, |_| Some(score));
            }
        }
        end == self.len()
    }
}

impl Clone for Large {
    fn clone(&self) -> Large {
        let mut copy = self.empty_like();
        let complete = self.copy_some(&mut copy, usize::MAX);
        debug_assert!(complete && copy.len() == self.len(), "members come in order, each once");
        copy
    }
}

/// Members with their scores, in the order of an iterator of the tree.
pub(super) struct Named<'a, I> {
    large: &'a Large,
    entries: I,
}

impl<'a, I: Iterator<Item = Entry>> Iterator for Named<'a, I> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<(&'a [u8], f64)> {
        self.entries.next().map(|entry| self.large.entry(entry))
    }
}

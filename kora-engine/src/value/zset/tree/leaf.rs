//! A leaf: up to [`LEAF_MAX`] entries in order, scores and pins in arrays of their own.
//!
//! A search reads the scores, and follows pins to their members only among equal scores.

use super::capacity::make_room;
use super::scores::Scores;
use super::{partition, Entry, Members, Place};
use crate::table::Pin;

/// Entries at which a leaf splits. 128 pins of 6 bytes and 128 doubles both fill a size class of the allocator. Tests have
/// small leaves, so that small trees are deep.
pub(super) const LEAF_MAX: usize = if cfg!(test) { 16 } else { 128 };

/// A leaf of fewer entries is merged with a neighbour if both together are not too many.
pub(super) const LEAF_MIN: usize = LEAF_MAX / 4;

/// What a merge may make: room for some inserts before the next split.
pub(super) const LEAF_MERGED_MAX: usize = LEAF_MAX / 4 * 3;

/// Entries of a part of the tree.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    scores: Scores,
    pins: Vec<Pin>,
}

impl Leaf {
    /// A leaf of one entry.
    pub(super) fn of(entry: Entry) -> Leaf {
        let mut pins = Vec::new();
        make_room(&mut pins);
        pins.push(entry.pin);
        Leaf { scores: Scores::of(entry.score), pins }
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.pins.len()
    }

    #[inline(always)]
    pub(super) fn get(&self, at: usize) -> Entry {
        Entry { score: self.scores.get(at), pin: self.pins[at] }
    }

    /// Number of leading entries for which `before` holds; it holds for none after one for which it does not.
    #[inline(always)]
    pub(super) fn partition(&self, mut before: impl FnMut(Entry) -> bool) -> usize {
        partition(self.len(), |at| before(self.get(at)))
    }

    /// Number of entries before a place.
    #[inline]
    pub(super) fn lower_bound(&self, members: &impl Members, place: Place<'_>) -> usize {
        let below = self.scores.count_below(place.score);
        if below == self.len() || self.scores.get(below) != place.score {
            return below;
        }
        below + partition(self.len() - below, |at| self.get(below + at).is_before(members, place))
    }

    pub(super) fn insert(&mut self, at: usize, entry: Entry) {
        debug_assert!(self.len() < LEAF_MAX);
        self.scores.insert(at, entry.score);
        make_room(&mut self.pins);
        self.pins.insert(at, entry.pin);
    }

    pub(super) fn set_score(&mut self, at: usize, score: f64) {
        self.scores.set(at, score);
    }

    pub(super) fn remove(&mut self, at: usize) -> Entry {
        let entry = Entry { score: self.scores.remove(at), pin: self.pins.remove(at) };
        // Half empty: the next sizes down are worth a copy. Not at once, so that a leaf that breathes does not copy.
        if self.pins.capacity() > 8 && self.len() * 2 < self.pins.capacity() {
            let kept = self.len() + self.len() / 4;
            self.scores.shrink_to(kept);
            self.pins.shrink_to(kept);
        }
        entry
    }

    /// Takes the entries from `at` on; neither half keeps the memory of the whole.
    pub(super) fn split_off(&mut self, at: usize) -> Leaf {
        let right = Leaf { scores: self.scores.split_off(at), pins: self.pins[at..].to_vec() };
        self.pins.truncate(at);
        // Half full or nearly empty: either way with a little room for the insert that is to come.
        let kept = at + at / 8 + 1;
        self.scores.shrink_to(kept);
        self.pins.shrink_to(kept);
        right
    }

    /// Adds the entries of the leaf to the right.
    pub(super) fn append(&mut self, right: Leaf) {
        self.scores.append(&right.scores);
        self.pins.reserve_exact(right.len());
        self.pins.extend_from_slice(&right.pins);
    }

    /// The pins of all entries, in order.
    #[inline]
    pub(super) fn pins(&self) -> &[Pin] {
        &self.pins
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.scores.heap_bytes() + self.pins.capacity() * size_of::<Pin>()
    }
}

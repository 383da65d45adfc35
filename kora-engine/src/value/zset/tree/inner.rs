//! An inner node: up to [`INNER_MAX`] children of one kind, with the least entry of each and the number of entries below it.
//!
//! # Invariants
//! - All arrays are equally long; a child is never empty, but for the only leaf of an empty tree, which is not there at all.
//! - `least` of a child is its first entry exactly, not merely a bound: when that entry goes, its pin must go too.

use super::capacity::make_room;
use super::leaf::{Leaf, LEAF_MAX, LEAF_MERGED_MAX, LEAF_MIN};
use super::{partition, Entry, Members, Place};
use crate::table::Pin;

/// Children above which a node splits; few in tests, so that small trees are deep.
pub(super) const INNER_MAX: usize = if cfg!(test) { 8 } else { 128 };
const INNER_MIN: usize = INNER_MAX / 4;
const INNER_MERGED_MAX: usize = INNER_MAX / 4 * 3;

/// What a node is above of. Children lie in one array, which saves a cache miss per level.
#[derive(Clone, Debug)]
pub(super) enum Children {
    Leaves(Vec<Leaf>),
    Inners(Vec<Inner>),
}

/// A node above the leaves.
#[derive(Clone, Debug)]
pub(super) struct Inner {
    /// Scores of the children's first entries.
    least_scores: Vec<f64>,
    /// Their pins.
    least_pins: Vec<Pin>,
    /// Entries below each child.
    counts: Vec<usize>,
    children: Children,
}

/// Whether a node lies at an end of the whole tree, where entries often arrive in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edges {
    first: bool,
    last: bool,
}

impl Edges {
    pub(super) const BOTH: Edges = Edges { first: true, last: true };

    fn of_child(self, child: usize, children: usize) -> Edges {
        Edges { first: self.first && child == 0, last: self.last && child + 1 == children }
    }

    /// Where a full node of `len` splits before something is put in at `at`.
    fn split(self, at: usize, len: usize) -> usize {
        if self.last && at == len {
            len
        } else if self.first && at == 0 {
            0
        } else {
            len / 2
        }
    }
}

impl Inner {
    pub(super) fn empty() -> Inner {
        Inner {
            least_scores: Vec::new(),
            least_pins: Vec::new(),
            counts: Vec::new(),
            children: Children::Leaves(Vec::new()),
        }
    }

    pub(super) fn of_two(left: Inner, right: Inner) -> Inner {
        let mut inner = Inner { children: Children::Inners(Vec::new()), ..Inner::empty() };
        inner.insert_inner(0, left);
        inner.insert_inner(1, right);
        inner
    }

    #[inline(always)]
    pub(super) fn children(&self) -> &Children {
        &self.children
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.counts.len()
    }

    #[inline(always)]
    fn least(&self, child: usize) -> Entry {
        Entry { score: self.least_scores[child], pin: self.least_pins[child] }
    }

    fn set_least(&mut self, child: usize, entry: Entry) {
        self.least_scores[child] = entry.score;
        self.least_pins[child] = entry.pin;
    }

    fn total(&self) -> usize {
        self.counts.iter().sum()
    }

    #[inline(always)]
    pub(super) fn entries_before(&self, child: usize) -> usize {
        self.counts[..child].iter().sum()
    }

    /// The child that holds this rank, and the rank within it.
    #[inline(always)]
    pub(super) fn child_of_rank(&self, rank: usize) -> (usize, usize) {
        let mut rest = rank;
        for (child, &count) in self.counts.iter().enumerate() {
            if rest < count {
                return (child, rest);
            }
            rest -= count;
        }
        unreachable!("the counts of a node add up to what its parent says");
    }

    /// Number of leading children whose first entry satisfies `before`.
    #[inline(always)]
    pub(super) fn partition(&self, mut before: impl FnMut(Entry) -> bool) -> usize {
        partition(self.len(), |child| before(self.least(child)))
    }

    /// The child in which a place is, or would be.
    #[inline(always)]
    fn child_for(&self, members: &impl Members, place: Place<'_>) -> usize {
        let after = |at: usize| self.least_scores[at] > place.score;
        let end = partition(self.len(), |child| !after(child));
        // Those before `end` have lower or equal scores. The equal ones, if any, are its last.
        if end == 0 || self.least_scores[end - 1] < place.score {
            return end.saturating_sub(1);
        }
        let start = partition(end, |child| self.least_scores[child] < place.score);
        let equal = partition(end - start, |at| members.member(self.least_pins[start + at]) <= place.member);
        (start + equal).saturating_sub(1)
    }

    fn insert_least(&mut self, at: usize, least: Entry, count: usize) {
        make_room(&mut self.least_scores);
        make_room(&mut self.least_pins);
        make_room(&mut self.counts);
        self.least_scores.insert(at, least.score);
        self.least_pins.insert(at, least.pin);
        self.counts.insert(at, count);
    }

    fn insert_leaf(&mut self, at: usize, leaf: Leaf) {
        self.insert_least(at, leaf.get(0), leaf.len());
        let Children::Leaves(leaves) = &mut self.children else { unreachable!("its children are leaves") };
        make_room(leaves);
        leaves.insert(at, leaf);
    }

    fn insert_inner(&mut self, at: usize, inner: Inner) {
        self.insert_least(at, inner.least(0), inner.total());
        let Children::Inners(inners) = &mut self.children else { unreachable!("its children are inner") };
        make_room(inners);
        inners.insert(at, inner);
    }

    fn remove_child(&mut self, child: usize) {
        self.least_scores.remove(child);
        self.least_pins.remove(child);
        self.counts.remove(child);
        match &mut self.children {
            Children::Leaves(leaves) => drop(leaves.remove(child)),
            Children::Inners(inners) => drop(inners.remove(child)),
        }
    }

    /// Adds an entry; a node that had to split gives its right part.
    pub(super) fn insert(
        &mut self,
        members: &impl Members,
        place: Place<'_>,
        pin: Pin,
        edges: Edges,
    ) -> Option<Inner> {
        let entry = Entry { score: place.score, pin };
        if self.len() == 0 {
            self.insert_leaf(0, Leaf::of(entry));
            return None;
        }
        let child = self.child_for(members, place);
        let child_edges = edges.of_child(child, self.len());
        match &mut self.children {
            Children::Leaves(leaves) => {
                let at = leaves[child].lower_bound(members, place);
                self.insert_into_leaf(child, at, entry, child_edges);
            }
            Children::Inners(inners) => {
                let inner = &mut inners[child];
                let right = inner.insert(members, place, pin, child_edges);
                let least = inner.least(0);
                self.set_least(child, least);
                self.counts[child] += 1;
                if let Some(right) = right {
                    self.counts[child] -= right.total();
                    self.insert_inner(child + 1, right);
                }
            }
        }
        self.split_if_full(edges.last && child_edges.last)
    }

    /// Adds an entry at the end; a node that had to split gives its right part.
    pub(super) fn push(&mut self, entry: Entry) -> Option<Inner> {
        let Some(last) = self.len().checked_sub(1) else {
            self.insert_leaf(0, Leaf::of(entry));
            return None;
        };
        match &mut self.children {
            Children::Leaves(leaves) => {
                let at = leaves[last].len();
                self.insert_into_leaf(last, at, entry, Edges { first: false, last: true });
            }
            Children::Inners(inners) => {
                let right = inners[last].push(entry);
                self.counts[last] += 1;
                if let Some(right) = right {
                    self.counts[last] -= right.total();
                    self.insert_inner(last + 1, right);
                }
            }
        }
        self.split_if_full(true)
    }

    fn insert_into_leaf(&mut self, child: usize, at: usize, entry: Entry, edges: Edges) {
        let Children::Leaves(leaves) = &mut self.children else { unreachable!("its children are leaves") };
        let leaf = &mut leaves[child];
        if leaf.len() < LEAF_MAX {
            leaf.insert(at, entry);
            self.counts[child] += 1;
            if at == 0 {
                self.set_least(child, entry);
            }
            return;
        }
        match edges.split(at, LEAF_MAX) {
            LEAF_MAX => self.insert_leaf(child + 1, Leaf::of(entry)),
            0 => self.insert_leaf(child, Leaf::of(entry)),
            middle => {
                let mut right = leaf.split_off(middle);
                if at <= middle {
                    leaf.insert(at, entry);
                } else {
                    right.insert(at - middle, entry);
                }
                let (least, count) = (leaf.get(0), leaf.len());
                self.set_least(child, least);
                self.counts[child] = count;
                self.insert_leaf(child + 1, right);
            }
        }
    }

    /// Splits when there are too many children: in the middle, or before the last one when entries arrive in order.
    fn split_if_full(&mut self, in_order: bool) -> Option<Inner> {
        if self.len() <= INNER_MAX {
            return None;
        }
        let at = if in_order { self.len() - 1 } else { self.len() / 2 };
        fn cut<T>(array: &mut Vec<T>, at: usize) -> Vec<T> {
            let right = array.split_off(at);
            array.shrink_to_fit();
            right
        }
        let children = match &mut self.children {
            Children::Leaves(leaves) => Children::Leaves(cut(leaves, at)),
            Children::Inners(inners) => Children::Inners(cut(inners, at)),
        };
        Some(Inner {
            least_scores: cut(&mut self.least_scores, at),
            least_pins: cut(&mut self.least_pins, at),
            counts: cut(&mut self.counts, at),
            children,
        })
    }

    /// Takes an entry away; says whether it was the first below this node.
    pub(super) fn remove(&mut self, members: &impl Members, place: Place<'_>) -> Option<(Entry, bool)> {
        if self.len() == 0 {
            return None;
        }
        let child = self.child_for(members, place);
        let (entry, first) = match &mut self.children {
            Children::Leaves(leaves) => {
                let leaf = &mut leaves[child];
                let at = leaf.lower_bound(members, place);
                if at == leaf.len() || leaf.get(at).compare(members, place).is_ne() {
                    return None;
                }
                (leaf.remove(at), at == 0)
            }
            Children::Inners(inners) => inners[child].remove(members, place)?,
        };
        self.removed_from(child, first);
        Some((entry, first && child == 0))
    }

    /// Takes the entry of a rank away.
    pub(super) fn remove_at(&mut self, rank: usize) -> Entry {
        let (child, rank) = self.child_of_rank(rank);
        let entry = match &mut self.children {
            Children::Leaves(leaves) => leaves[child].remove(rank),
            Children::Inners(inners) => inners[child].remove_at(rank),
        };
        self.removed_from(child, rank == 0);
        entry
    }

    /// Puts right what one entry less in a child changes.
    fn removed_from(&mut self, child: usize, first: bool) {
        self.counts[child] -= 1;
        if self.counts[child] == 0 {
            return self.remove_child(child);
        }
        if first {
            let least = match &self.children {
                Children::Leaves(leaves) => leaves[child].get(0),
                Children::Inners(inners) => inners[child].least(0),
            };
            self.set_least(child, least);
        }
        if self.is_small(child) {
            self.merge(child);
        }
    }

    fn child_len(&self, child: usize) -> usize {
        match &self.children {
            Children::Leaves(leaves) => leaves[child].len(),
            Children::Inners(inners) => inners[child].len(),
        }
    }

    fn is_small(&self, child: usize) -> bool {
        let least = if matches!(self.children, Children::Leaves(_)) { LEAF_MIN } else { INNER_MIN };
        self.child_len(child) < least
    }

    /// Joins a small child with a neighbour if there is one with room for it.
    fn merge(&mut self, child: usize) {
        let most =
            if matches!(self.children, Children::Leaves(_)) { LEAF_MERGED_MAX } else { INNER_MERGED_MAX };
        let fits = |left: usize| self.child_len(left) + self.child_len(left + 1) <= most;
        let left = if child + 1 < self.len() && fits(child) {
            child
        } else if child > 0 && fits(child - 1) {
            child - 1
        } else {
            return;
        };
        match &mut self.children {
            Children::Leaves(leaves) => {
                let right = leaves.remove(left + 1);
                leaves[left].append(right);
            }
            Children::Inners(inners) => {
                let right = inners.remove(left + 1);
                inners[left].append(right);
            }
        }
        self.least_scores.remove(left + 1);
        self.least_pins.remove(left + 1);
        let moved = self.counts.remove(left + 1);
        self.counts[left] += moved;
    }

    fn append(&mut self, mut right: Inner) {
        self.least_scores.append(&mut right.least_scores);
        self.least_pins.append(&mut right.least_pins);
        self.counts.append(&mut right.counts);
        match (&mut self.children, &mut right.children) {
            (Children::Leaves(left), Children::Leaves(right)) => left.append(right),
            (Children::Inners(left), Children::Inners(right)) => left.append(right),
            _ => unreachable!("all leaves are at the same depth"),
        }
    }

    /// A root of a single inner node gives way to it; one without children is above leaves again.
    pub(super) fn collapse(&mut self) {
        while let Children::Inners(inners) = &mut self.children {
            match inners.len() {
                0 => *self = Inner::empty(),
                1 => *self = inners.pop().expect("there is one"),
                _ => break,
            }
        }
    }

    /// Sets the score of an entry that stays between its neighbours in the leaf; false, and nothing done, otherwise.
    pub(super) fn rescore_in_place(&mut self, members: &impl Members, place: Place<'_>, new: f64) -> bool {
        if self.len() == 0 {
            return false;
        }
        let child = self.child_for(members, place);
        match &mut self.children {
            Children::Inners(inners) => inners[child].rescore_in_place(members, place, new),
            Children::Leaves(leaves) => {
                let leaf = &mut leaves[child];
                let at = leaf.lower_bound(members, place);
                // The first entry is not changed in place: nodes above know its score.
                if at == 0 || at + 1 >= leaf.len() {
                    return false;
                }
                let target = Place { score: new, member: place.member };
                let stays = leaf.get(at - 1).is_before(members, target)
                    && leaf.get(at + 1).compare(members, target).is_gt();
                if stays {
                    leaf.set_score(at, new);
                }
                stays
            }
        }
    }

    /// Frees the last leaf; returns how many entries it had, 0 when there was none.
    pub(super) fn drop_last_leaf(&mut self) -> usize {
        match &mut self.children {
            Children::Leaves(leaves) => leaves.pop().map_or(0, |leaf| leaf.len()),
            Children::Inners(inners) => {
                while let Some(last) = inners.last_mut() {
                    match last.drop_last_leaf() {
                        0 => drop(inners.pop()),
                        count => return count,
                    }
                }
                0
            }
        }
    }

    /// Bytes of the node's own arrays.
    pub(super) fn heap_bytes(&self) -> usize {
        let children = match &self.children {
            Children::Leaves(leaves) => leaves.capacity() * size_of::<Leaf>(),
            Children::Inners(inners) => inners.capacity() * size_of::<Inner>(),
        };
        children
            + self.least_scores.capacity() * size_of::<f64>()
            + self.least_pins.capacity() * size_of::<Pin>()
            + self.counts.capacity() * size_of::<usize>()
    }

    /// Panics when an invariant does not hold; calls `visit` with the entries in order. Returns the depth.
    #[cfg(test)]
    pub(super) fn check(&self, is_root: bool, visit: &mut dyn FnMut(Entry)) -> usize {
        let len = self.len();
        assert!(len > 0 || is_root);
        assert!(len <= INNER_MAX);
        assert_eq!((self.least_scores.len(), self.least_pins.len()), (len, len));
        match &self.children {
            Children::Leaves(leaves) => {
                assert_eq!(leaves.len(), len);
                for (child, leaf) in leaves.iter().enumerate() {
                    assert!((1..=LEAF_MAX).contains(&leaf.len()));
                    assert_eq!(leaf.len(), self.counts[child]);
                    assert_eq!(leaf.get(0), self.least(child));
                    (0..leaf.len()).for_each(|at| visit(leaf.get(at)));
                }
                1
            }
            Children::Inners(inners) => {
                assert_eq!(inners.len(), len);
                assert!(!is_root || len > 1, "a root of one inner node is that node");
                let depths: Vec<usize> = inners
                    .iter()
                    .enumerate()
                    .map(|(child, inner)| {
                        assert_eq!(inner.least(0), self.least(child));
                        assert_eq!(inner.total(), self.counts[child]);
                        inner.check(false, visit)
                    })
                    .collect();
                assert!(depths.iter().all(|&depth| depth == depths[0]));
                depths[0] + 1
            }
        }
    }
}

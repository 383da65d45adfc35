//! A stable sort that can pause: runs of a few hundred are sorted, then merged in pairs, again and again.

use std::cmp::Ordering;

/// Length of the runs that are sorted in one go.
const RUN: usize = 256;

/// How many comparisons a step of sorting a run stands for.
const RUN_STEPS: usize = RUN * 4;

/// Numbers under sorting.
pub(super) struct Merge {
    /// Runs of `width` that are sorted, or before the first pass unsorted ones.
    from: Vec<u32>,
    /// The runs of the next width, as far as they are merged. Its capacity never changes.
    to: Vec<u32>,
    width: usize,
    /// Runs are not sorted yet from here on.
    unsorted: usize,
    /// How many of the present pair of runs are merged, from the left and from the right one.
    taken: (usize, usize),
}

impl Merge {
    /// The numbers below `len`.
    pub(super) fn new(len: u32) -> Merge {
        let from: Vec<u32> = (0..len).collect();
        Merge { to: Vec::with_capacity(from.len()), from, width: RUN, unsorted: 0, taken: (0, 0) }
    }

    /// Goes on for about `steps` comparisons; returns whether the numbers are sorted.
    pub(super) fn advance(&mut self, steps: usize, compare: &dyn Fn(u32, u32) -> Ordering) -> bool {
        let mut steps = steps.max(1);
        while self.unsorted < self.from.len() {
            if steps == 0 {
                return false;
            }
            let end = (self.unsorted + RUN).min(self.from.len());
            self.from[self.unsorted..end].sort_by(|&a, &b| compare(a, b));
            self.unsorted = end;
            steps = steps.saturating_sub(RUN_STEPS);
        }
        while self.width < self.from.len() {
            if steps == 0 {
                return false;
            }
            steps = self.merge(steps, compare);
        }
        true
    }

    /// Merges on in the present pair of runs; returns how many steps are left.
    fn merge(&mut self, steps: usize, compare: &dyn Fn(u32, u32) -> Ordering) -> usize {
        let len = self.from.len();
        let (taken_left, taken_right) = self.taken;
        let start = self.to.len() - taken_left - taken_right;
        let middle = (start + self.width).min(len);
        let end = (start + 2 * self.width).min(len);
        let (mut left, mut right) = (start + taken_left, middle + taken_right);
        let stop = (self.to.len().saturating_add(steps)).min(end);
        let before = self.to.len();
        while self.to.len() < stop {
            let takes_left =
                right == end || left < middle && compare(self.from[right], self.from[left]).is_ge();
            if takes_left {
                self.to.push(self.from[left]);
                left += 1;
            } else {
                self.to.push(self.from[right]);
                right += 1;
            }
        }
        let done = self.to.len() - before;
        self.taken = if stop == end { (0, 0) } else { (left - start, right - middle) };
        if self.to.len() == len {
            std::mem::swap(&mut self.from, &mut self.to);
            self.to.clear();
            self.width *= 2;
        }
        steps - done
    }

    /// The sorted numbers.
    pub(super) fn into_order(self) -> Vec<u32> {
        self.from
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_sorts_as_the_standard_library_does(
            keys in proptest::collection::vec(0u8..50, 0..3000),
            steps in 1usize..5000,
        ) {
            let compare = |a: u32, b: u32| keys[a as usize].cmp(&keys[b as usize]);
            let mut merge = Merge::new(keys.len() as u32);
            let mut slices = 0;
            while !merge.advance(steps, &compare) {
                slices += 1;
            }
            let mut expected: Vec<u32> = (0..keys.len() as u32).collect();
            expected.sort_by(|&a, &b| compare(a, b));
            prop_assert_eq!(merge.into_order(), expected);
            // Each number is in a run once, and in four passes of merging at most.
            let most = (keys.len() / RUN + 1) * (RUN_STEPS / steps + 2) + keys.len() * 4 / steps + 10;
            prop_assert!(slices <= most, "{} slices", slices);
        }
    }

    #[test]
    fn all_at_once_and_nothing_at_all() {
        let mut merge = Merge::new(0);
        assert!(merge.advance(1, &|_, _| Ordering::Equal));
        assert!(merge.into_order().is_empty());
        let mut merge = Merge::new(10_000);
        assert!(merge.advance(usize::MAX, &|a, b| b.cmp(&a)));
        assert!(merge.into_order().iter().rev().copied().eq(0..10_000));
    }
}

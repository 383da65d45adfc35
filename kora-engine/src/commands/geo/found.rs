//! The members that a search finds, and their order.

use super::query::Order;
use crate::geo::cell::Cell;
use crate::geo::cover::Search;
use crate::geo::Position;
use crate::partial_sort::partial_sort;
use crate::value::zset::range::{ScoreLimit, ScoreRange};
use crate::value::zset::Zset;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Range;

/// A member that was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    /// Where its name begins and ends.
    member: (usize, usize),
    pub(super) score: f64,
    pub(super) position: Position,
    /// From the centre, in metres.
    pub(super) distance: f64,
}

/// Members in the order in which they were found; their names lie together.
#[derive(Debug, Default)]
pub(super) struct Found {
    points: Vec<Point>,
    members: Vec<u8>,
}

impl Found {
    pub(super) fn len(&self) -> usize {
        self.points.len()
    }

    pub(super) fn member(&self, point: Point) -> &[u8] {
        &self.members[point.member.0..point.member.1]
    }
}

/// The looking for members, cell by cell.
#[derive(Debug)]
pub(super) struct Hunt {
    search: Option<Search>,
    /// Cells that are still to be looked into, the next one last.
    cells: Vec<Cell>,
    /// Ranks of the present cell that are still to be looked at.
    ranks: Range<usize>,
    /// No more members than these are wanted.
    limit: usize,
}

impl Hunt {
    /// Without an area there is nothing to be found.
    pub(super) fn new(search: Option<Search>, limit: usize) -> Hunt {
        let mut cells = search.map_or_else(Vec::new, |search| search.cells());
        cells.reverse();
        Hunt { search, cells, ranks: 0..0, limit }
    }

    /// Whether all has been looked at, or enough found.
    pub(super) fn is_over(&self) -> bool {
        self.cells.is_empty() && self.ranks.is_empty()
    }

    /// Looks no further.
    pub(super) fn end(&mut self) {
        self.cells.clear();
        self.ranks = 0..0;
    }

    /// Looks at about so many members; returns whether it is over.
    pub(super) fn advance(&mut self, zset: &Zset, steps: usize, found: &mut Found) -> bool {
        let Some(search) = self.search else { return true };
        let mut left = steps;
        while left > 0 && !self.is_over() {
            if self.ranks.is_empty() {
                let cell = self.cells.pop().expect("it is not over");
                let (min, max) = cell.scores();
                self.ranks = zset.score_range(&ScoreRange {
                    min: ScoreLimit { score: min, exclusive: false },
                    max: ScoreLimit { score: max, exclusive: true },
                });
                // A cell without members is some work, too.
                left -= 1;
                continue;
            }
            let count = left.min(self.ranks.len());
            for (member, score) in zset.ascending(self.ranks.start).take(count) {
                let position = Cell::of_score(score).position();
                let Some(distance) = search.distance_within(position) else { continue };
                let start = found.members.len();
                member.with_bytes(|member| found.members.extend_from_slice(member));
                let member = (start, found.members.len());
                found.points.push(Point { member, score, position, distance });
                if found.len() >= self.limit {
                    self.end();
                    return true;
                }
            }
            self.ranks.start += count;
            left -= count;
        }
        self.is_over()
    }
}

/// Members that are sorted at once.
const RUN: usize = 4096;

/// Members by their distances. Few are sorted as Redis sorts them, also where distances are equal; many are sorted in runs, which
/// are merged as they are asked for, so that no turn takes long.
#[derive(Debug)]
pub(super) struct Ranking {
    order: Option<Order>,
    /// Indexes of points; of a run in order.
    indexes: Vec<u32>,
    /// The parts of `indexes` that are sorted.
    runs: Vec<Range<usize>>,
    /// The first of each run that is not yet taken.
    heads: BinaryHeap<Head>,
    ready: bool,
}

impl Ranking {
    /// Without an order members stay as they were found.
    pub(super) fn new(order: Option<Order>) -> Ranking {
        Ranking { order, indexes: Vec::new(), runs: Vec::new(), heads: BinaryHeap::new(), ready: false }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Sorts about so many members more, of which the first `count` are wanted; returns whether all are sorted.
    pub(super) fn advance(&mut self, found: &Found, count: usize, steps: usize) -> bool {
        let points = &found.points;
        let mut left = steps;
        while left > 0 && !self.ready {
            let start = self.indexes.len();
            let end = (start + RUN).min(points.len());
            self.indexes.extend(start as u32..end as u32);
            if let Some(order) = self.order {
                let run = &mut self.indexes[start..end];
                let compare = |a: &u32, b: &u32| {
                    order.compare(points[*a as usize].distance, points[*b as usize].distance)
                };
                if end - start == points.len() && count < points.len() {
                    partial_sort(run, count, &compare);
                } else {
                    run.sort_by(compare);
                }
            }
            self.runs.push(start..end);
            self.ready = end == points.len();
            left = left.saturating_sub(RUN);
        }
        if self.ready && self.heads.is_empty() {
            for run in 0..self.runs.len() {
                self.push_head(found, run);
            }
        }
        self.ready
    }

    fn push_head(&mut self, found: &Found, run: usize) {
        let range = &mut self.runs[run];
        let Some(at) = range.next() else { return };
        let index = self.indexes[at];
        // Without an order the runs follow each other.
        let distance = match self.order {
            None => 0.0,
            Some(Order::Ascending) => found.points[index as usize].distance,
            Some(Order::Descending) => -found.points[index as usize].distance,
        };
        self.heads.push(Head { distance, run, index });
    }

    /// The next member, when all are sorted.
    pub(super) fn next(&mut self, found: &Found) -> Option<Point> {
        debug_assert!(self.ready);
        let head = self.heads.pop()?;
        self.push_head(found, head.run);
        Some(found.points[head.index as usize])
    }
}

impl Order {
    fn compare(self, one: f64, other: f64) -> Ordering {
        let ascending = one.partial_cmp(&other).unwrap_or(Ordering::Equal);
        match self {
            Order::Ascending => ascending,
            Order::Descending => ascending.reverse(),
        }
    }
}

/// The first of a run. The greatest head is the next member: that of the least distance, and of equal ones of the first run.
#[derive(Debug)]
struct Head {
    distance: f64,
    run: usize,
    index: u32,
}

impl Ord for Head {
    fn cmp(&self, other: &Head) -> Ordering {
        other.distance.total_cmp(&self.distance).then(other.run.cmp(&self.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(distances: &[u16]) -> Found {
        let mut found = Found::default();
        for (i, distance) in distances.iter().enumerate() {
            let position = Position { longitude: 0.0, latitude: 0.0 };
            let distance = f64::from(*distance);
            found.points.push(Point { member: (0, 0), score: i as f64, position, distance });
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
        #[test]
        fn many_members_come_in_order(
            distances in prop::collection::vec(0u16..500, 0..3 * RUN),
            count in 0usize..2 * RUN,
            steps in 1usize..RUN,
            order in prop::sample::select(vec![None, Some(Order::Ascending), Some(Order::Descending)]),
        ) {
            let found = found(&distances);
            let count = count.min(found.len());
            let mut ranking = Ranking::new(order);
            while !ranking.advance(&found, count, steps) {}
            let ranked: Vec<f64> =
                (0..count).map(|_| ranking.next(&found).expect("as many as there are").distance).collect();
            let mut expected: Vec<f64> = distances.iter().map(|&distance| f64::from(distance)).collect();
            match order {
                None => {}
                Some(order) => expected.sort_by(|a, b| order.compare(*a, *b)),
            }
            expected.truncate(count);
            prop_assert_eq!(ranked, expected);
        }
    }
}

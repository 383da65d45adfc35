//! Union, intersection and difference of sorted sets and sets, computed step by step.
//!
//! As in Redis the sources are folded in the order of their sizes, which shows in the last digits of sums; a member of a set has
//! the score 1, and sums of infinities of different signs, or of an infinity and a weight of 0, are 0.
//!
//! A union walks over each source and takes a member from the first one that has it; an intersection walks over the smallest;
//! a difference over the first. Each member's score is computed from all sources at once, so it depends on nothing but
//! where the member is: the computation can go on after other commands have run, if it is told of the members that they
//! changed ([`Combination::reconsider`]), and the result is that of the sources as they are at its end.

use crate::value::item::Item;
use crate::value::set::Set;
use crate::value::zset::{Growth, Zset};
use crate::value::{Collection, Held};

/// Which combination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Union,
    Intersection,
    Difference,
}

/// How several scores of a member become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, target: f64, value: f64) -> f64 {
        match self {
            Aggregate::Sum => number_or_zero(target + value),
            // A value that is no number changes nothing.
            Aggregate::Min if value < target => value,
            Aggregate::Max if value > target => value,
            Aggregate::Min | Aggregate::Max => target,
        }
    }
}

fn number_or_zero(score: f64) -> f64 {
    if score.is_nan() {
        0.0
    } else {
        score
    }
}

/// What a key holds.
pub(super) enum Source<'a> {
    Missing,
    Set(Held<'a, Set>),
    Zset(Held<'a, Zset>),
}

impl Source<'_> {
    fn len(&self) -> usize {
        match self {
            Source::Missing => 0,
            Source::Set(set) => set.len(),
            Source::Zset(zset) => zset.len(),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Missing => None,
            Source::Set(set) => set.contains(member).then_some(1.0),
            Source::Zset(zset) => zset.score(member),
        }
    }

    /// Visits about `count` members from a cursor (0 at first) on; returns the cursor to go on with, 0 at the end.
    fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&[u8], f64)) -> u64 {
        match self {
            Source::Missing => 0,
            Source::Set(set) => set.scan(cursor, count, &mut |member: Item<'_>| {
                member.with_bytes(|member| visit(member, 1.0));
            }),
            Source::Zset(zset) => zset.scan(cursor, count, visit),
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) operation: Operation,
    /// Of each source.
    pub(super) weights: Vec<f64>,
    pub(super) aggregate: Aggregate,
    /// No more members than these are wanted.
    pub(super) limit: usize,
}

/// Steps that are taken at once: some hundred microseconds.
const STEPS_AT_ONCE: usize = 2048;

/// Members visited before it is looked whether the result is decided.
const PAGE: usize = 256;

/// A result of more members than these is made in the large form at once.
const PACKED_MAX: usize = 32;

/// A combination under way.
pub(super) struct Combination {
    plan: Plan,
    /// The sources in the order in which scores are aggregated, and walked over.
    order: Vec<usize>,
    /// Which of `order` is being walked over, up to which, and where.
    walk: usize,
    walks: usize,
    cursor: u64,
    is_long: bool,
    result: Zset,
    growth: Growth,
}

impl Combination {
    /// Prepares a combination of these sources.
    pub(super) fn new(plan: Plan, sources: &[Source<'_>], growth: Growth) -> Combination {
        let mut order: Vec<usize> = (0..sources.len()).collect();
        if plan.operation != Operation::Difference {
            order.sort_by_key(|&index| sources[index].len());
        }
        let walks = match plan.operation {
            Operation::Union => order.len(),
            Operation::Intersection | Operation::Difference => 1,
        };
        let visited: usize = order[..walks].iter().map(|&index| sources[index].len()).sum();
        let mut result = Zset::new(0);
        if visited > PACKED_MAX {
            result.grow(growth.seed());
        }
        let is_long = visited.saturating_mul(sources.len()) > STEPS_AT_ONCE;
        Combination { plan, order, walk: 0, walks, cursor: 0, is_long, result, growth }
    }

    /// Whether it takes so long that it should be done in slices.
    pub(super) fn is_long(&self) -> bool {
        self.is_long
    }

    /// The score of a member in the result; none when it is not in it.
    fn score(&self, sources: &[Source<'_>], member: &[u8]) -> Option<f64> {
        let Plan { operation, weights, aggregate, .. } = &self.plan;
        let scores = self.order.iter().map(|&index| (weights[index], sources[index].score(member)));
        match operation {
            Operation::Difference => {
                let (first, rest) = sources.split_first()?;
                let score = first.score(member)?;
                (!rest.iter().any(|source| source.score(member).is_some())).then_some(score)
            }
            Operation::Union => scores
                .filter_map(|(weight, score)| score.map(|score| number_or_zero(weight * score)))
                .reduce(|target, value| aggregate.of(target, value)),
            Operation::Intersection => {
                let mut target: Option<f64> = None;
                for (weight, score) in scores {
                    let value = weight * score?;
                    target = Some(match target {
                        None => number_or_zero(value),
                        Some(target) => aggregate.of(target, value),
                    });
                }
                target
            }
        }
    }

    /// Goes on for about `steps` steps; returns whether the result is complete.
    pub(super) fn advance(&mut self, sources: &[Source<'_>], steps: usize) -> bool {
        let mut visits = (steps / sources.len()).max(1);
        while self.walk < self.walks {
            if self.result.len() >= self.plan.limit {
                return true;
            }
            if visits == 0 {
                return false;
            }
            let before = visits;
            let mut found: Vec<(Vec<u8>, f64)> = Vec::new();
            let source = &sources[self.order[self.walk]];
            let earlier = &self.order[..self.walk];
            let cursor = source.scan(self.cursor, visits.min(PAGE), &mut |member, _| {
                visits = visits.saturating_sub(1);
                // Seen already, with its score from all sources.
                if earlier.iter().any(|&index| sources[index].score(member).is_some()) {
                    return;
                }
                if let Some(score) = self.score(sources, member) {
                    found.push((member.to_vec(), score));
                }
            });
            for (member, score) in found {
                self.insert(&member, score);
            }
            self.cursor = cursor;
            // A walk that met nobody has still taken its time.
            visits = visits.min(before - 1);
            if self.cursor == 0 {
                self.walk += 1;
            }
        }
        true
    }

    fn insert(&mut self, member: &[u8], score: f64) {
        if score == 0.0 && score.is_sign_negative() {
            // Redis combines in its large form, which keeps the sign.
            self.result.grow(self.growth.seed());
        }
        self.result.insert(member, score, self.growth);
    }

    /// A member has come to or gone from one of the sources, or got another score, since the combination began.
    pub(super) fn reconsider(&mut self, sources: &[Source<'_>], member: &[u8]) {
        match self.score(sources, member) {
            Some(score) => self.insert(member, score),
            None => {
                self.result.remove(member);
            }
        }
    }

    /// The complete result.
    pub(super) fn finish(mut self) -> Zset {
        std::mem::replace(&mut self.result, Zset::new(0))
    }
}

impl Drop for Combination {
    /// A large result of a combination that comes to nothing is freed in slices.
    fn drop(&mut self) {
        std::mem::replace(&mut self.result, Zset::new(0)).into_object().discard();
    }
}

//! The scores of one leaf, in 4 or 8 bytes each.
//!
//! Most sorted sets are scored by whole numbers: points, counts, times. Those of one leaf are neighbours, so they are
//! nearly always within 2^32 of each other: then a leaf keeps the distances from a base, which halves the memory and the
//! cache lines that a search touches. A score that does not fit makes the leaf's scores doubles; a split tries again.

use super::capacity::make_room;
use super::partition;

/// Scores in ascending order, some of them equal.
#[derive(Clone, Debug)]
pub(super) enum Scores {
    Doubles(Vec<f64>),
    /// Each score is the whole number `base + offset`, which a double holds exactly.
    Whole {
        base: i64,
        offsets: Vec<u32>,
    },
}

/// Whole numbers up to this are doubles, and so are all their sums with an offset.
const WHOLE_MAX: f64 = (1u64 << 53) as f64;

/// The score as a whole number. Negative zero is none: it would lose its sign.
fn whole(score: f64) -> Option<i64> {
    let fits =
        score.abs() <= WHOLE_MAX && score == score.trunc() && (score != 0.0 || score.is_sign_positive());
    fits.then_some(score as i64)
}

/// A base for whole numbers from `least` to `greatest`, with room to both sides; `None` when they are too far apart.
fn base_for(least: i64, greatest: i64) -> Option<i64> {
    let room = i64::from(u32::MAX).checked_sub(greatest - least).filter(|&room| room >= 0)?;
    Some(least - room / 2)
}

impl Scores {
    /// Scores of a leaf that begins with this one.
    pub(super) fn of(score: f64) -> Scores {
        let mut scores = match whole(score).and_then(|score| base_for(score, score)) {
            Some(base) => Scores::Whole { base, offsets: Vec::new() },
            None => Scores::Doubles(Vec::new()),
        };
        scores.insert(0, score);
        scores
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        match self {
            Scores::Doubles(scores) => scores.len(),
            Scores::Whole { offsets, .. } => offsets.len(),
        }
    }

    #[inline(always)]
    pub(super) fn get(&self, at: usize) -> f64 {
        match self {
            Scores::Doubles(scores) => scores[at],
            Scores::Whole { base, offsets } => (base + i64::from(offsets[at])) as f64,
        }
    }

    /// Number of scores below this one.
    #[inline]
    pub(super) fn count_below(&self, score: f64) -> usize {
        match self {
            Scores::Doubles(scores) => partition(scores.len(), |at| scores[at] < score),
            Scores::Whole { base, offsets } => {
                partition(offsets.len(), |at| ((base + i64::from(offsets[at])) as f64) < score)
            }
        }
    }

    /// Makes the scores ready to take this one at some place: the offset to store, when they stay whole.
    #[inline]
    fn admit(&mut self, score: f64) -> Option<u32> {
        let Scores::Whole { base, .. } = self else { return None };
        if let Some(offset) = whole(score).and_then(|score| u32::try_from(score - *base).ok()) {
            return Some(offset);
        }
        self.admit_far(score)
    }

    #[cold]
    fn admit_far(&mut self, score: f64) -> Option<u32> {
        let Scores::Whole { base, offsets } = self else { return None };
        let bounds = offsets.first().zip(offsets.last());
        let bounds = bounds.map(|(first, last)| (*base + i64::from(*first), *base + i64::from(*last)));
        let moved = whole(score).and_then(|score| {
            let (least, greatest) = bounds.unwrap_or((score, score));
            Some((score, base_for(least.min(score), greatest.max(score))?))
        });
        match moved {
            Some((score, new_base)) => {
                let shift = *base - new_base;
                for offset in offsets {
                    *offset = u32::try_from(i64::from(*offset) + shift).expect("the base was made for it");
                }
                *base = new_base;
                Some(u32::try_from(score - new_base).expect("the base was made for it"))
            }
            None => {
                let mut scores = Vec::with_capacity(offsets.capacity());
                scores.extend((0..self.len()).map(|at| self.get(at)));
                *self = Scores::Doubles(scores);
                None
            }
        }
    }

    pub(super) fn insert(&mut self, at: usize, score: f64) {
        let offset = self.admit(score);
        match self {
            Scores::Doubles(scores) => {
                make_room(scores);
                scores.insert(at, score);
            }
            Scores::Whole { offsets, .. } => {
                make_room(offsets);
                offsets.insert(at, offset.expect("whole scores admit with an offset"));
            }
        }
    }

    pub(super) fn set(&mut self, at: usize, score: f64) {
        let offset = self.admit(score);
        match self {
            Scores::Doubles(scores) => scores[at] = score,
            Scores::Whole { offsets, .. } => {
                offsets[at] = offset.expect("whole scores admit with an offset");
            }
        }
    }

    pub(super) fn remove(&mut self, at: usize) -> f64 {
        let score = self.get(at);
        match self {
            Scores::Doubles(scores) => drop(scores.remove(at)),
            Scores::Whole { offsets, .. } => drop(offsets.remove(at)),
        }
        score
    }

    /// Takes the scores from `at` on, in the smaller form if they have it.
    pub(super) fn split_off(&mut self, at: usize) -> Scores {
        let right = match self {
            Scores::Doubles(scores) => Scores::from_doubles(&scores[at..]),
            Scores::Whole { base, offsets } => Scores::Whole { base: *base, offsets: offsets[at..].to_vec() },
        };
        match self {
            Scores::Doubles(scores) => *self = Scores::from_doubles(&scores[..at]),
            Scores::Whole { offsets, .. } => offsets.truncate(at),
        }
        right
    }

    fn from_doubles(scores: &[f64]) -> Scores {
        let bounds = scores.first().zip(scores.last()).and_then(|(l, g)| Some((whole(*l)?, whole(*g)?)));
        let base = bounds.and_then(|(least, greatest)| base_for(least, greatest));
        let offsets = base.and_then(|base| {
            let offset = |&score: &f64| whole(score).and_then(|score| u32::try_from(score - base).ok());
            scores.iter().map(offset).collect::<Option<Vec<u32>>>()
        });
        match (base, offsets) {
            (Some(base), Some(offsets)) => Scores::Whole { base, offsets },
            _ => Scores::Doubles(scores.to_vec()),
        }
    }

    /// Adds the scores of the leaf to the right.
    pub(super) fn append(&mut self, right: &Scores) {
        for at in 0..right.len() {
            self.insert(self.len(), right.get(at));
        }
    }

    /// Gives back memory that the scores will not need soon.
    pub(super) fn shrink_to(&mut self, len: usize) {
        match self {
            Scores::Doubles(scores) => scores.shrink_to(len),
            Scores::Whole { offsets, .. } => offsets.shrink_to(len),
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Scores::Doubles(scores) => scores.capacity() * size_of::<f64>(),
            Scores::Whole { offsets, .. } => offsets.capacity() * size_of::<u32>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn score() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-40i64..40).prop_map(|n| n as f64),
            1 => prop_oneof![Just(0.5), Just(-0.0), Just(f64::INFINITY), Just(f64::NEG_INFINITY)],
            1 => prop_oneof![Just(4294967295.0), Just(-4294967296.0), Just(9007199254740992.0), Just(-9007199254740992.0), Just(1e300)],
        ]
    }

    proptest! {
        #[test]
        fn scores_are_a_sorted_vector(steps in prop::collection::vec((score(), 0u8..8, 0usize..1000), 1..200)) {
            let mut model = vec![1.0f64];
            let mut scores = Scores::of(1.0);
            for (score, kind, number) in steps {
                match kind {
                    0..=4 => {
                        let at = model.partition_point(|&other| other < score);
                        model.insert(at, score);
                        scores.insert(at, score);
                    }
                    5 if !model.is_empty() => {
                        let at = number % model.len();
                        prop_assert_eq!(scores.remove(at).to_bits(), model.remove(at).to_bits());
                    }
                    6 => {
                        let at = number % (model.len() + 1);
                        let right = scores.split_off(at);
                        prop_assert_eq!(right.len(), model.len() - at);
                        scores.append(&right);
                    }
                    _ if !model.is_empty() => {
                        let at = number % model.len();
                        let value = model[at];
                        scores.set(at, value);
                    }
                    _ => {}
                }
                let got: Vec<u64> = (0..scores.len()).map(|at| scores.get(at).to_bits()).collect();
                let expected: Vec<u64> = model.iter().map(|score| score.to_bits()).collect();
                prop_assert_eq!(got, expected);
            }
        }
    }

    #[test]
    fn neighbouring_whole_scores_take_four_bytes_and_others_eight() {
        let mut scores = Scores::of(1_700_000_000_000.0);
        for second in 1..100 {
            scores.insert(second, 1_700_000_000_000.0 + second as f64 * 1000.0);
        }
        assert!(matches!(scores, Scores::Whole { .. }));
        scores.insert(100, 1_700_001_000_000.5);
        assert!(matches!(scores, Scores::Doubles(_)));
        let right = scores.split_off(100);
        assert!(matches!(scores, Scores::Whole { .. }), "a split tries again");
        assert!(matches!(right, Scores::Doubles(_)));
    }
}

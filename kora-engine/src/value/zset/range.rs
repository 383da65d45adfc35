//! Intervals of scores and of members, as range commands name them.

/// One end of an interval of scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreLimit {
    /// Not NaN; may be infinite.
    pub score: f64,
    /// Whether the end itself is outside.
    pub exclusive: bool,
}

/// An interval of scores; nothing is in it when its ends are the wrong way round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreRange {
    /// Lower end.
    pub min: ScoreLimit,
    /// Upper end.
    pub max: ScoreLimit,
}

impl ScoreRange {
    /// Whether a score lies below the interval.
    #[inline]
    pub fn is_above(&self, score: f64) -> bool {
        score < self.min.score || self.min.exclusive && score == self.min.score
    }

    /// Whether a score is not past the upper end.
    #[inline]
    pub fn ends_after(&self, score: f64) -> bool {
        score < self.max.score || !self.max.exclusive && score == self.max.score
    }
}

/// One end of an interval of members, in the order of their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LexLimit<'a> {
    /// `-`: before every member.
    Lowest,
    /// `+`: after every member.
    Highest,
    /// `[member`
    Inclusive(&'a [u8]),
    /// `(member`
    Exclusive(&'a [u8]),
}

/// An interval of members; nothing is in it when its ends are the wrong way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LexRange<'a> {
    /// Lower end.
    pub min: LexLimit<'a>,
    /// Upper end.
    pub max: LexLimit<'a>,
}

impl LexRange<'_> {
    /// Whether a member lies below the interval.
    #[inline]
    pub fn is_above(&self, member: &[u8]) -> bool {
        match self.min {
            LexLimit::Lowest => false,
            LexLimit::Highest => true,
            LexLimit::Inclusive(min) => member < min,
            LexLimit::Exclusive(min) => member <= min,
        }
    }

    /// Whether a member is not past the upper end.
    #[inline]
    pub fn ends_after(&self, member: &[u8]) -> bool {
        match self.max {
            LexLimit::Lowest => false,
            LexLimit::Highest => true,
            LexLimit::Inclusive(max) => member <= max,
            LexLimit::Exclusive(max) => member < max,
        }
    }
}

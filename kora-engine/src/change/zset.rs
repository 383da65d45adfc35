//! Changes of sorted sets.

/// A score inside a change: equal when its bits are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Score(u64);

impl Score {
    /// The score with these bits; none when they are those of NaN, which no member has.
    pub fn from_bits(bits: u64) -> Option<Score> {
        (!f64::from_bits(bits).is_nan()).then_some(Score(bits))
    }

    /// The bits of the double.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The score.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl From<f64> for Score {
    fn from(score: f64) -> Score {
        debug_assert!(!score.is_nan());
        Score(score.to_bits())
    }
}

/// What happened to one member of a sorted set, or to the set's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZsetEdit<'a> {
    /// The member has this score, whether or not it was there before.
    Set {
        /// The member.
        member: &'a [u8],
        /// Its score.
        score: Score,
    },
    /// The member is gone.
    Remove {
        /// The member.
        member: &'a [u8],
    },
    /// The set has taken its large form, because of the limits at that time.
    Grow,
}

//! What BITCOUNT and BITPOS look at: a part of a string, in bytes or bits, by first and last.

use crate::args::is;
use crate::error::Error;
use std::ops::Range;

/// What the ends of a range count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Byte,
    Bit,
}

impl Unit {
    /// The unit of this word.
    ///
    /// # Errors
    /// It is another word.
    pub(super) fn named(word: &[u8]) -> Result<Unit, Error> {
        if is(word, "bit") {
            Ok(Unit::Bit)
        } else if is(word, "byte") {
            Ok(Unit::Byte)
        } else {
            Err(Error::SYNTAX)
        }
    }

    /// The bits from the unit `start` to the unit `end`, both included and both counted from the end when negative, of a
    /// string of `len` bytes: what of them exists, which may be nothing.
    pub(super) fn bits(self, start: i64, end: i64, len: usize) -> Range<u64> {
        let (units, bits_each) = match self {
            Unit::Byte => (len as i64, 8),
            Unit::Bit => (len as i64 * 8, 1),
        };
        let from_start = |at: i64| if at < 0 { at.saturating_add(units).max(0) } else { at };
        let (start, end) = (from_start(start), from_start(end).min(units - 1));
        if start > end {
            return 0..0;
        }
        start as u64 * bits_each..(end as u64 + 1) * bits_each
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_count_from_both_sides_and_are_cut_to_the_string() {
        for (unit, start, end, expected) in [
            (Unit::Byte, 0, -1, 0..80),
            (Unit::Byte, 1, 1, 8..16),
            (Unit::Byte, -1, 100, 72..80),
            (Unit::Byte, 10, 20, 0..0),
            (Unit::Byte, 5, 3, 0..0),
            (Unit::Byte, i64::MIN, i64::MAX, 0..80),
            (Unit::Byte, i64::MIN, i64::MIN, 0..8),
            (Unit::Byte, i64::MAX, i64::MIN, 0..0),
            (Unit::Bit, 0, 0, 0..1),
            (Unit::Bit, -1, -1, 79..80),
            (Unit::Bit, 3, -3, 3..78),
            (Unit::Bit, 80, 90, 0..0),
            (Unit::Bit, i64::MIN, i64::MAX, 0..80),
        ] {
            assert_eq!(unit.bits(start, end, 10), expected, "{unit:?} {start} {end}");
        }
        assert_eq!(Unit::Bit.bits(0, -1, 0), 0..0);
        assert_eq!(Unit::Byte.bits(0, 0, 0), 0..0);
    }
}

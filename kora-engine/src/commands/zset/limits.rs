//! The ends of intervals of scores, members and ranks, as commands write them.

use crate::args::integer;
use crate::double::parse_lenient;
use crate::error::Error;
use crate::value::zset::range::{LexLimit, LexRange, ScoreLimit, ScoreRange};
use std::ops::Range;

const NOT_FLOAT: Error = Error::new("ERR min or max is not a float");
const NOT_LEX: Error = Error::new("ERR min or max not valid string range item");

fn score_limit(text: &[u8]) -> Option<ScoreLimit> {
    let (exclusive, number) = match text {
        [b'(', number @ ..] => (true, number),
        number => (false, number),
    };
    parse_lenient(number).map(|score| ScoreLimit { score, exclusive })
}

/// `1.5`, `(1.5`, `-inf`, `+inf`.
pub(super) fn scores(min: &[u8], max: &[u8]) -> Result<ScoreRange, Error> {
    match (score_limit(min), score_limit(max)) {
        (Some(min), Some(max)) => Ok(ScoreRange { min, max }),
        _ => Err(NOT_FLOAT),
    }
}

fn lex_limit(text: &[u8]) -> Option<LexLimit<'_>> {
    match text {
        b"-" => Some(LexLimit::Lowest),
        b"+" => Some(LexLimit::Highest),
        [b'[', member @ ..] => Some(LexLimit::Inclusive(member)),
        [b'(', member @ ..] => Some(LexLimit::Exclusive(member)),
        _ => None,
    }
}

/// `[member`, `(member`, `-`, `+`.
pub(super) fn members<'a>(min: &'a [u8], max: &'a [u8]) -> Result<LexRange<'a>, Error> {
    match (lex_limit(min), lex_limit(max)) {
        (Some(min), Some(max)) => Ok(LexRange { min, max }),
        _ => Err(NOT_LEX),
    }
}

/// First and last rank, both included; negative ones count from the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranks {
    first: i64,
    last: i64,
}

impl Ranks {
    pub(super) fn parse(first: &[u8], last: &[u8]) -> Result<Ranks, Error> {
        Ok(Ranks { first: integer(first)?, last: integer(last)? })
    }

    /// The ranks that these are in a set of so many members.
    pub(super) fn within(self, len: usize) -> Range<usize> {
        let from_end = |rank: i64| if rank < 0 { rank.saturating_add(len as i64) } else { rank };
        let first = from_end(self.first).max(0) as u64 as usize;
        let end = (from_end(self.last).saturating_add(1)).clamp(0, len as i64) as usize;
        first.min(end)..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_from_both_ends() {
        let within = |first: i64, last: i64, len| {
            let text = |n: i64| n.to_string().into_bytes();
            Ranks::parse(&text(first), &text(last)).unwrap().within(len)
        };
        assert_eq!(within(0, -1, 5), 0..5);
        assert_eq!(within(1, 2, 5), 1..3);
        assert_eq!(within(-2, -1, 5), 3..5);
        assert_eq!(within(-100, 100, 5), 0..5);
        assert!(within(3, 2, 5).is_empty());
        assert!(within(5, 9, 5).is_empty());
        assert!(within(0, -6, 5).is_empty());
        assert_eq!(within(i64::MIN, i64::MAX, 5), 0..5);
        assert!(within(i64::MAX, i64::MIN, 5).is_empty());
        assert!(within(0, -1, 0).is_empty());
    }
}

//! The arguments of SORT.

use super::pattern::Pattern;
use crate::args::{integer, is};
use crate::error::Error;
use std::ops::Range;

/// What the elements are ordered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum By {
    /// By themselves.
    Element,
    /// By what a pattern names for them.
    Pattern(Pattern),
    /// Not at all: BY something without an asterisk.
    Nothing,
}

/// A SORT command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) key: Vec<u8>,
    pub(super) by: By,
    /// What is answered for each element; the element itself when empty.
    pub(super) get: Vec<Pattern>,
    pub(super) descending: bool,
    /// Compared as text, not as numbers.
    pub(super) alpha: bool,
    offset: i64,
    /// Negative: all.
    count: i64,
    /// Where the result is stored.
    pub(super) store: Option<Vec<u8>>,
}

impl Request {
    /// Reads the arguments of SORT, or of SORT_RO, which does not store.
    ///
    /// # Errors
    /// An unknown word, a word without its value, a LIMIT that is no number.
    pub(super) fn parse(argv: &[&[u8]], stores: bool) -> Result<Request, Error> {
        let mut request = Request {
            key: argv[1].to_vec(),
            by: By::Element,
            get: Vec::new(),
            descending: false,
            alpha: false,
            offset: 0,
            count: -1,
            store: None,
        };
        let mut rest = &argv[2..];
        while let [word, after @ ..] = rest {
            rest = match after {
                _ if is(word, "asc") => {
                    request.descending = false;
                    after
                }
                _ if is(word, "desc") => {
                    request.descending = true;
                    after
                }
                _ if is(word, "alpha") => {
                    request.alpha = true;
                    after
                }
                [offset, count, after @ ..] if is(word, "limit") => {
                    request.offset = integer(offset)?;
                    request.count = integer(count)?;
                    after
                }
                [destination, after @ ..] if stores && is(word, "store") => {
                    request.store = Some(destination.to_vec());
                    after
                }
                [pattern, after @ ..] if is(word, "by") => {
                    request.by = match Pattern::parse(pattern) {
                        Pattern::Element | Pattern::Nothing => By::Nothing,
                        pattern => By::Pattern(pattern),
                    };
                    after
                }
                [pattern, after @ ..] if is(word, "get") => {
                    request.get.push(Pattern::parse(pattern));
                    after
                }
                _ => return Err(Error::SYNTAX),
            };
        }
        Ok(request)
    }

    /// Which of `len` elements are answered.
    pub(super) fn range(&self, len: usize) -> Range<usize> {
        let bounded = |number: i64| usize::try_from(number).unwrap_or(usize::MAX).min(len);
        let start = if self.offset < 0 { 0 } else { bounded(self.offset) };
        let end = if self.count < 0 { len } else { (start + bounded(self.count)).min(len) };
        start..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, Error> {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        Request::parse(&argv, true)
    }

    #[test]
    fn the_last_of_each_option_holds_and_every_get_counts() {
        let request =
            parse("sort k desc by a* limit 1 2 ALPHA get # asc by nosort GET x* limit 3 4 store d store e")
                .unwrap();
        assert_eq!((request.by, request.descending, request.alpha), (By::Nothing, false, true));
        assert_eq!((request.offset, request.count, request.get.len()), (3, 4, 2));
        assert_eq!(request.store.as_deref(), Some(&b"e"[..]));
    }

    #[test]
    fn ranges_are_within_the_elements() {
        let range =
            |offset: i64, count: i64| parse(&format!("sort k limit {offset} {count}")).unwrap().range(5);
        assert_eq!(range(0, -1), 0..5);
        assert_eq!(range(-7, 2), 0..2);
        assert_eq!(range(i64::MIN, i64::MAX), 0..5);
        assert_eq!(range(3, i64::MAX), 3..5);
        assert_eq!(range(2, 0), 2..2);
        assert!(range(5, 5).is_empty() && range(i64::MAX, i64::MIN).is_empty());
        assert!(parse("sort k").unwrap().range(0).is_empty());
    }
}

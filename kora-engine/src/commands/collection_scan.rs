//! What HSCAN, SSCAN and ZSCAN have in common: the cursor, the options, and how a page of elements becomes a reply.
//!
//! A packed collection is one page, whatever the cursor says. A large one is walked in the order of its members' hashes
//! ([`Table::scan`]), where a cursor is a position: members that are there from the first page to the last are found.
//!
//! The order in which a command looks at things is Redis's: the cursor, then the key (a missing one is an empty page, another
//! type an error), then the options. A page of many members (COUNT) is gathered and written in slices ([`long_reply`]).
//!
//! A type says what its pages hold ([`Paged`]), and its command is [`scan`].

#[cfg(doc)]
use crate::table::Table;

use super::long_reply::{self, Elements, Gather};
use super::scan::parse_cursor;
use crate::args::{self, is};
use crate::change::UnixMs;
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::glob::Glob;
use crate::keyspace::View;
use crate::limits::CURSOR_POSITION_BITS;
use crate::reply::Reply;
use crate::shard::Shard;
use crate::value::item::Item;
use crate::value::Collection;
use std::marker::PhantomData;

/// COUNT when it is not given.
const DEFAULT_COUNT: usize = 10;

const NOVALUES_ELSEWHERE: Error = Error::new("ERR NOVALUES option can only be used in HSCAN");

/// The options after the cursor.
#[derive(Debug)]
pub(crate) struct ScanOptions {
    /// MATCH; none when every member matches.
    glob: Option<Glob>,
    /// COUNT: about how many members a page visits, at least 1.
    count: usize,
    /// NOVALUES: fields without their values.
    pub(crate) no_values: bool,
}

impl ScanOptions {
    /// Reads the arguments after the cursor. `of_hash`: whether NOVALUES has a meaning.
    ///
    /// # Errors
    /// An unknown word, a COUNT that is not an integer or not positive, NOVALUES where there are no values.
    fn parse(words: &[&[u8]], of_hash: bool) -> Result<ScanOptions, Error> {
        let mut options = ScanOptions { glob: None, count: DEFAULT_COUNT, no_values: false };
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            if is(word, "count") {
                let count = args::integer(rest.next().ok_or(Error::SYNTAX)?)?;
                options.count = usize::try_from(count).ok().filter(|&n| n >= 1).ok_or(Error::SYNTAX)?;
            } else if is(word, "match") {
                let glob = Glob::new(rest.next().ok_or(Error::SYNTAX)?);
                options.glob = (!glob.is_everything()).then_some(glob);
            } else if is(word, "novalues") {
                if !of_hash {
                    return Err(NOVALUES_ELSEWHERE);
                }
                options.no_values = true;
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(options)
    }

    /// Whether a member is wanted.
    #[inline]
    pub(crate) fn wants(&self, member: Item<'_>) -> bool {
        match &self.glob {
            None => true,
            Some(glob) => member.with_bytes(|text| glob.matches(text)),
        }
    }
}

/// A type whose members come in pages.
pub(crate) trait Paged: Collection {
    /// Whether NOVALUES has a meaning.
    const HAS_VALUES: bool;

    /// Whether it is one page, whatever the cursor says.
    fn is_one_page(&self) -> bool;

    /// Adds about `count` members from `position` on, those that the options want. Returns where to go on, 0 at the end.
    fn page(
        &self,
        position: u64,
        count: usize,
        now: UnixMs,
        options: &ScanOptions,
        elements: &mut Elements,
    ) -> u64;
}

/// HSCAN, SSCAN and ZSCAN: key cursor [MATCH pattern] [COUNT count]
pub(crate) fn scan<C: Paged>(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let cursor = cursor(exec.argv[2])?;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let one_page = match keys.read::<C>(exec.view, &key)? {
        Some(collection) => collection.is_one_page(),
        None => return empty_page(reply),
    };
    let options = ScanOptions::parse(&exec.argv[3..], C::HAS_VALUES)?;
    let Some(position) = (if one_page { Some(0) } else { position(cursor) }) else {
        return empty_page(reply);
    };
    let left = options.count;
    let key = exec.argv[1].to_vec();
    let page = Page::<C> { db: exec.view.db, key, options, position, left, of: PhantomData };
    long_reply::answer(page, exec, reply)
}

/// One page.
struct Page<C> {
    db: u16,
    key: Vec<u8>,
    options: ScanOptions,
    /// Where the walk goes on, in the order of hashes; 0 after the last member.
    position: u64,
    /// How many members it may still visit.
    left: usize,
    of: PhantomData<C>,
}

impl<C: Paged> Gather for Page<C> {
    fn gather(
        &mut self,
        shard: &mut Shard,
        now: UnixMs,
        count: usize,
        elements: &mut Elements,
    ) -> Result<bool, Error> {
        let key = shard.keys.key(&self.key);
        let view = View { db: self.db, now, touch: false };
        let Ok(Some(collection)) = shard.keys.look::<C>(view, &key) else {
            self.position = 0;
            return Ok(true);
        };
        let count = count.min(self.left);
        self.position = collection.page(self.position, count, now, &self.options, elements);
        self.left -= count;
        Ok(self.position == 0 || self.left == 0)
    }

    fn head(&self, elements: &Elements, reply: &mut dyn Reply) {
        write_head(reply, self.position, elements.len());
    }
}

/// The cursor argument.
///
/// # Errors
/// It is not an unsigned 64-bit number.
fn cursor(text: &[u8]) -> Result<u64, Error> {
    parse_cursor(text).ok_or(Error::INVALID_CURSOR)
}

/// The position in a large collection that a cursor means; none when nobody has given this cursor: as in Redis, what such a
/// one finds is not said, but it ends.
fn position(cursor: u64) -> Option<u64> {
    (cursor >> CURSOR_POSITION_BITS == 0).then_some(cursor)
}

/// Announces a page: the cursor to go on with, and `elements` bulk strings, which follow.
fn write_head(reply: &mut dyn Reply, next: u64, elements: usize) {
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    reply.array(elements);
}

/// The page of a missing key.
fn empty_page(reply: &mut dyn Reply) -> Outcome {
    write_head(reply, 0, 0);
    DONE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str], of_hash: bool) -> Result<ScanOptions, Error> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        ScanOptions::parse(&words, of_hash)
    }

    #[test]
    fn options_come_in_any_order_and_the_last_one_holds() {
        let options = parse(&["count", "3", "MATCH", "a*", "Count", "7", "novalues"], true).unwrap();
        assert_eq!((options.count, options.no_values), (7, true));
        assert!(options.wants(Item::of(b"ab")) && !options.wants(Item::of(b"12")));
        let options = parse(&["match", "1?"], false).unwrap();
        assert_eq!((options.count, options.no_values), (DEFAULT_COUNT, false));
        assert!(options.wants(Item::of(b"12")) && !options.wants(Item::of(b"112")));
        assert!(parse(&["match", "*"], false).unwrap().wants(Item::of(b"")));
    }

    #[test]
    fn errors_are_those_of_redis() {
        for words in [&["count"][..], &["match"], &["count", "0"], &["count", "-1"], &["type", "set"], &["x"]]
        {
            assert_eq!(parse(words, true).unwrap_err(), Error::SYNTAX, "{words:?}");
        }
        for words in [&["count", "x"][..], &["count", "99999999999999999999"]] {
            assert_eq!(parse(words, true).unwrap_err(), Error::NOT_INTEGER, "{words:?}");
        }
        assert_eq!(parse(&["novalues"], false).unwrap_err(), NOVALUES_ELSEWHERE);
        assert_eq!(cursor(b"x").unwrap_err(), Error::INVALID_CURSOR);
    }

    #[test]
    fn positions_have_48_bits() {
        assert_eq!(position(cursor(b"281474976710655").unwrap()), Some((1 << 48) - 1));
        assert_eq!(position(cursor(b"281474976710656").unwrap()), None);
        assert_eq!(position(cursor(b"18446744073709551615").unwrap()), None);
    }
}

//! LLEN, LINDEX, LRANGE and LPOS.

use super::later::{Positions, RangeReply, Wanted};
use super::natural;
use crate::args::{integer, is};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::limits::{LIST_BYTES_PER_TURN, LIST_ELEMENTS_PER_TURN};
use crate::reply::Reply;
use crate::value::list::search::Search;
use crate::value::list::{Element, End, List};
use crate::value::Collection;
use std::ops::Range;

/// LLEN key
pub(super) fn llen(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let len = keys.read::<List>(exec.view, &key)?.map_or(0, |list| list.len());
    reply.integer(len as i64);
    DONE
}

/// LINDEX key index
pub(super) fn lindex(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(list) = keys.read::<List>(exec.view, &key)? else {
        reply.null();
        return DONE;
    };
    match list.index_of(integer(exec.argv[2])?) {
        Some(index) => list.get(index).reply(reply),
        None => reply.null(),
    }
    DONE
}

/// LRANGE key start stop
pub(super) fn lrange(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let (start, stop) = (integer(exec.argv[2])?, integer(exec.argv[3])?);
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let range = match keys.read::<List>(exec.view, &key)? {
        None => 0..0,
        Some(list) => {
            let range = range_of(start, stop, list.len());
            if is_short(&list, range.clone()) {
                reply_range(&list, range, false, reply);
                return DONE;
            }
            range
        }
    };
    match keys.edit::<List>(exec.view.untouched(), &key)? {
        Some(mut list) => RangeReply::begin(list.snapshot(range), false, None),
        None => {
            reply.array(0);
            DONE
        }
    }
}

/// Whether so many elements, and their bytes, are answered in one turn.
pub(super) fn is_short(list: &List, range: Range<usize>) -> bool {
    range.len() <= LIST_ELEMENTS_PER_TURN && list.bytes_in(range) <= LIST_BYTES_PER_TURN
}

/// The indexes from `start` to `stop`, both included and negative from the tail, of a list of this length.
pub(super) fn range_of(start: i64, stop: i64, len: usize) -> Range<usize> {
    let from_head = |index: i64| if index < 0 { index + len as i64 } else { index };
    let start = from_head(start).max(0);
    let stop = from_head(stop).min(len as i64 - 1);
    if start > stop {
        return 0..0;
    }
    start as usize..stop as usize + 1
}

/// Answers with the elements of a range of indexes.
pub(super) fn reply_range(list: &List, range: Range<usize>, backwards: bool, reply: &mut dyn Reply) {
    reply.array(range.len());
    let elements = list.range(range);
    if backwards {
        let elements: Vec<Element<'_>> = elements.collect();
        elements.into_iter().rev().for_each(|element| element.reply(reply));
    } else {
        elements.for_each(|element| element.reply(reply));
    }
}

/// What LPOS looks for.
struct Options {
    from: End,
    /// Matches that are passed over.
    skip: u64,
    /// How many indexes are wanted: 0 for all; none for a reply that is no array.
    count: Option<u64>,
    /// Elements that are looked at.
    limit: usize,
}

impl Options {
    fn parse(words: &[&[u8]]) -> Result<Options, Error> {
        const RANK_ZERO: Error = Error::new(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start \
             from the end of the list",
        );
        const RANK_RANGE: Error = Error::new(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        );
        const COUNT_NEGATIVE: Error = Error::new("ERR COUNT can't be negative");
        const MAXLEN_NEGATIVE: Error = Error::new("ERR MAXLEN can't be negative");
        let mut options = Options { from: End::Head, skip: 0, count: None, limit: usize::MAX };
        let mut rest = words.iter();
        while let Some(&word) = rest.next() {
            let mut value = || rest.next().ok_or(Error::SYNTAX);
            if is(word, "rank") {
                let rank = integer(value()?)?;
                if rank == 0 {
                    return Err(RANK_ZERO);
                }
                if rank == i64::MIN {
                    return Err(RANK_RANGE);
                }
                options.from = if rank < 0 { End::Tail } else { End::Head };
                options.skip = rank.unsigned_abs() - 1;
            } else if is(word, "count") {
                options.count = Some(natural(value()?).ok_or(COUNT_NEGATIVE)? as u64);
            } else if is(word, "maxlen") {
                options.limit = match natural(value()?).ok_or(MAXLEN_NEGATIVE)? {
                    0 => usize::MAX,
                    limit => limit,
                };
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(options)
    }

    fn wanted(&self) -> Wanted {
        let count = match self.count {
            None => 1,
            Some(0) => u64::MAX,
            Some(count) => count,
        };
        Wanted { skip: self.skip, count, array: self.count.is_some(), indexes: Vec::new() }
    }
}

/// LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]
pub(super) fn lpos(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let options = Options::parse(&exec.argv[3..])?;
    let mut wanted = options.wanted();
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let long = match keys.read::<List>(exec.view, &key)? {
        None => false,
        Some(list) if list.is_long() => true,
        Some(list) => {
            list.find(exec.argv[2], options.from, options.limit, &mut |index| wanted.found(index));
            false
        }
    };
    if long {
        if let Some(mut list) = keys.edit::<List>(exec.view.untouched(), &key)? {
            let len = list.len();
            let search = Search::new(exec.argv[2], options.from, options.limit, len);
            return Positions::begin(list.snapshot(0..len), search, wanted);
        }
    }
    wanted.answer(reply);
    DONE
}

//! LLEN, LINDEX, LRANGE and LPOS.

use super::natural;
use crate::args::{integer, is};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::reply::Reply;
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
    match keys.read::<List>(exec.view, &key)? {
        None => reply.array(0),
        Some(list) => reply_range(&list, range_of(start, stop, list.len()), false, reply),
    }
    DONE
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
struct Search {
    from: End,
    /// Matches that are passed over.
    skip: u64,
    /// How many indexes are wanted: 0 for all; none for a reply that is no array.
    count: Option<u64>,
    /// Elements that are looked at.
    limit: usize,
}

impl Search {
    fn parse(words: &[&[u8]]) -> Result<Search, Error> {
        const RANK_ZERO: Error = Error::new(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start \
             from the end of the list",
        );
        const RANK_RANGE: Error = Error::new(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        );
        const COUNT_NEGATIVE: Error = Error::new("ERR COUNT can't be negative");
        const MAXLEN_NEGATIVE: Error = Error::new("ERR MAXLEN can't be negative");
        let mut search = Search { from: End::Head, skip: 0, count: None, limit: usize::MAX };
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
                search.from = if rank < 0 { End::Tail } else { End::Head };
                search.skip = rank.unsigned_abs() - 1;
            } else if is(word, "count") {
                search.count = Some(natural(value()?).ok_or(COUNT_NEGATIVE)? as u64);
            } else if is(word, "maxlen") {
                search.limit = match natural(value()?).ok_or(MAXLEN_NEGATIVE)? {
                    0 => usize::MAX,
                    limit => limit,
                };
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(search)
    }

    /// The indexes that are found.
    fn run(&self, list: &List, text: &[u8]) -> Vec<usize> {
        let wanted = match self.count {
            None => 1,
            Some(0) => u64::MAX,
            Some(count) => count,
        };
        let (mut skip, mut found) = (self.skip, Vec::new());
        list.find(text, self.from, self.limit, &mut |index| {
            if skip > 0 {
                skip -= 1;
                return true;
            }
            found.push(index);
            (found.len() as u64) < wanted
        });
        found
    }
}

/// LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]
pub(super) fn lpos(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let search = Search::parse(&exec.argv[3..])?;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let found = match keys.read::<List>(exec.view, &key)? {
        None => Vec::new(),
        Some(list) => search.run(&list, exec.argv[2]),
    };
    match (search.count, found.first()) {
        (None, None) => reply.null(),
        (None, Some(&index)) => reply.integer(index as i64),
        (Some(_), _) => {
            reply.array(found.len());
            found.iter().for_each(|&index| reply.integer(index as i64));
        }
    }
    DONE
}

//! Members go: ZREM, ZREMRANGEBYRANK, ZREMRANGEBYSCORE, ZREMRANGEBYLEX, ZPOPMIN, ZPOPMAX, ZMPOP.

use super::limits::{self, Ranks};
use crate::args::{integer, is};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::keyspace::Editor;
use crate::reply::{Protocol, Reply};
use crate::value::zset::Zset;
use crate::value::Collection;
use std::ops::Range;

const NOT_POSITIVE: Error = Error::new("ERR value is out of range, must be positive");
const NUMKEYS: Error = Error::new("ERR numkeys should be greater than 0");
const COUNT: Error = Error::new("ERR count should be greater than 0");

/// ZREM key member [member ...]
pub(super) fn zrem(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let mut removed = 0;
    if let Some(mut zset) = keys.edit::<Zset>(exec.view, &key)? {
        for member in &exec.argv[2..] {
            removed += i64::from(zset.remove(member));
            if zset.is_empty() {
                break;
            }
        }
    }
    reply.integer(removed);
    DONE
}

/// ZREMRANGEBYRANK key start stop
pub(super) fn zremrangebyrank(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let ranks = Ranks::parse(exec.argv[2], exec.argv[3])?;
    remove_ranks(exec, |zset| ranks.within(zset.len()), reply)
}

/// ZREMRANGEBYSCORE key min max
pub(super) fn zremrangebyscore(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let range = limits::scores(exec.argv[2], exec.argv[3])?;
    remove_ranks(exec, |zset| zset.score_range(&range), reply)
}

/// ZREMRANGEBYLEX key min max
pub(super) fn zremrangebylex(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let range = limits::members(exec.argv[2], exec.argv[3])?;
    remove_ranks(exec, |zset| zset.lex_range(&range), reply)
}

fn remove_ranks(
    exec: &mut Exec<'_>,
    ranks: impl FnOnce(&Zset) -> Range<usize>,
    reply: &mut dyn Reply,
) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(mut zset) = keys.edit::<Zset>(exec.view, &key)? else {
        reply.integer(0);
        return DONE;
    };
    let ranks = ranks(&zset);
    reply.integer(ranks.len() as i64);
    if ranks.len() == zset.len() {
        // All of it: freed as a whole, out of the way.
        drop(zset);
        keys.remove(exec.view, &key);
        return DONE;
    }
    for _ in ranks.clone() {
        zset.take_at(ranks.start, |_, _| ());
    }
    DONE
}

/// Which end members are popped from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

/// Takes so many members from one end, at most all, and writes each with its score: flat, or in arrays of two.
fn pop(zset: &mut Editor<'_, Zset>, end: End, count: usize, pairs: bool, reply: &mut dyn Reply) {
    let count = count.min(zset.len());
    reply.array(if pairs { count } else { count * 2 });
    for _ in 0..count {
        let rank = match end {
            End::Min => 0,
            End::Max => zset.len() - 1,
        };
        zset.take_at(rank, |member, score| {
            if pairs {
                reply.array(2);
            }
            reply.bulk(member);
            reply.double(score);
        });
    }
}

/// ZPOPMIN key [count]
pub(super) fn zpopmin(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    zpop(exec, End::Min, reply)
}

/// ZPOPMAX key [count]
pub(super) fn zpopmax(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    zpop(exec, End::Max, reply)
}

fn zpop(exec: &mut Exec<'_>, end: End, reply: &mut dyn Reply) -> Outcome {
    let count = match exec.argv[2..] {
        [] => None,
        [count] => {
            let count = integer(count).ok().and_then(|count| usize::try_from(count).ok());
            Some(count.ok_or(NOT_POSITIVE)?)
        }
        _ => return Err(Error::SYNTAX),
    };
    let pairs = reply.protocol() == Protocol::Resp3 && count.is_some();
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    match keys.edit::<Zset>(exec.view, &key)? {
        Some(mut zset) => pop(&mut zset, end, count.unwrap_or(1), pairs, reply),
        None => reply.array(0),
    }
    DONE
}

/// ZMPOP numkeys key [key ...] <MIN | MAX> [COUNT count]
pub(super) fn zmpop(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let numkeys = integer(exec.argv[1]).ok().and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
    let numkeys = numkeys.ok_or(NUMKEYS)?;
    let rest = exec.argv[2..].get(numkeys..).unwrap_or(&[]);
    let (&word, options) = rest.split_first().ok_or(Error::SYNTAX)?;
    let end = if is(word, "min") {
        End::Min
    } else if is(word, "max") {
        End::Max
    } else {
        return Err(Error::SYNTAX);
    };
    let count = match *options {
        [] => 1,
        [word, count] if is(word, "count") => {
            let count = integer(count).ok().and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
            count.ok_or(COUNT)?
        }
        _ => return Err(Error::SYNTAX),
    };
    let keys = &mut exec.shard.keys;
    for name in &exec.argv[2..2 + numkeys] {
        let key = keys.key(name);
        if let Some(mut zset) = keys.edit::<Zset>(exec.view, &key)? {
            reply.array(2);
            reply.bulk(name);
            pop(&mut zset, end, count, true, reply);
            return DONE;
        }
    }
    reply.null_array();
    DONE
}

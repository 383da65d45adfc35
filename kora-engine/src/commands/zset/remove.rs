//! Members go: ZREM, ZREMRANGEBYRANK, ZREMRANGEBYSCORE, ZREMRANGEBYLEX, ZPOPMIN, ZPOPMAX, ZMPOP.

use super::limits::{self, Ranks};
use super::long_range::AT_ONCE_MAX;
use super::long_removal::{LongPop, LongRemoval, TakenWhole};
use crate::args::{integer, is};
use crate::error::Error;
use crate::exec::{Exec, Flow, Outcome, DONE};
use crate::reply::{Protocol, Reply};
use crate::value::item::Item;
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
    if ranks.len() == zset.len() {
        // All of it: freed as a whole, out of the way.
        drop(zset);
        reply.integer(ranks.len() as i64);
        keys.remove(exec.view, &key);
        return DONE;
    }
    if ranks.len() > AT_ONCE_MAX {
        let removal = LongRemoval::new(exec.view, exec.argv[1], &zset, ranks);
        return Ok(Flow::Later(Box::new(removal)));
    }
    reply.integer(ranks.len() as i64);
    for _ in ranks.clone() {
        zset.take_at(ranks.start, |_, _| ());
    }
    DONE
}

/// Which end members are popped from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Min,
    Max,
}

impl End {
    /// The rank of the next member.
    pub(super) fn rank(self, len: usize) -> usize {
        match self {
            End::Min => 0,
            End::Max => len - 1,
        }
    }
}

/// Takes so many members from one end, at most all, and writes each with its score: flat, or in arrays of two. For ZMPOP
/// their key stands before them.
pub(super) fn pop(
    exec: &mut Exec<'_>,
    name: &[u8],
    end: End,
    count: usize,
    form: PopForm,
    reply: &mut dyn Reply,
) -> Result<Option<Flow>, Error> {
    let keys = &mut exec.shard.keys;
    let key = keys.key(name);
    let Some(mut zset) = keys.edit::<Zset>(exec.view, &key)? else { return Ok(None) };
    let count = count.min(zset.len());
    if count > AT_ONCE_MAX && count == zset.len() {
        // All of it: the set is taken away at once and answered at leisure.
        drop(zset);
        let taken = keys.take(exec.view, &key).expect("it was there");
        return Ok(Some(Flow::Later(Box::new(TakenWhole::new(taken, name, end, form)))));
    }
    if count > AT_ONCE_MAX {
        return Ok(Some(Flow::Later(Box::new(LongPop::new(exec.view, name, end, count, form)))));
    }
    form.head(name, count, reply);
    for _ in 0..count {
        let rank = end.rank(zset.len());
        zset.take_at(rank, |member, score| form.element(Item::Bytes(member), score, reply));
    }
    Ok(Some(Flow::Done))
}

/// What the reply of a pop looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PopForm {
    /// Members and scores in turn.
    Flat,
    /// Arrays of a member and its score.
    Pairs,
    /// The key, and such arrays.
    KeyAndPairs,
    /// The key, one member and its score.
    KeyAndOne,
}

impl PopForm {
    pub(super) fn head(self, name: &[u8], count: usize, reply: &mut dyn Reply) {
        match self {
            PopForm::Flat => reply.array(count * 2),
            PopForm::Pairs => reply.array(count),
            PopForm::KeyAndPairs => {
                reply.array(2);
                reply.bulk(name);
                reply.array(count);
            }
            PopForm::KeyAndOne => {
                debug_assert_eq!(count, 1);
                reply.array(3);
                reply.bulk(name);
            }
        }
    }

    pub(super) fn element(self, member: Item<'_>, score: f64, reply: &mut dyn Reply) {
        if matches!(self, PopForm::Pairs | PopForm::KeyAndPairs) {
            reply.array(2);
        }
        member.reply(reply);
        reply.double(score);
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
    let form = if pairs { PopForm::Pairs } else { PopForm::Flat };
    let name = exec.argv[1];
    match pop(exec, name, end, count.unwrap_or(1), form, reply)? {
        Some(flow) => Ok(flow),
        None => {
            reply.array(0);
            DONE
        }
    }
}

/// ZMPOP numkeys key [key ...] <MIN | MAX> [COUNT count]
pub(super) fn zmpop(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let arguments = Arguments::parse(exec.argv)?;
    pop_first(exec, arguments, reply)
}

/// Takes members out of the first sorted set that there is.
pub(super) fn pop_first(exec: &mut Exec<'_>, arguments: Arguments<'_>, reply: &mut dyn Reply) -> Outcome {
    let Arguments { keys, end, count } = arguments;
    for name in keys {
        if let Some(flow) = pop(exec, name, end, count, PopForm::KeyAndPairs, reply)? {
            return Ok(flow);
        }
    }
    reply.null_array();
    DONE
}

/// The arguments of ZMPOP.
pub(super) struct Arguments<'a> {
    keys: &'a [&'a [u8]],
    end: End,
    count: usize,
}

impl<'a> Arguments<'a> {
    pub(super) fn parse(argv: &'a [&'a [u8]]) -> Result<Arguments<'a>, Error> {
        let numkeys = integer(argv[1]).ok().and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
        let numkeys = numkeys.ok_or(NUMKEYS)?;
        let rest = argv[2..].get(numkeys..).unwrap_or(&[]);
        let (&word, options) = rest.split_first().ok_or(Error::SYNTAX)?;
        let end = if is(word, "min") {
            End::Min
        } else if is(word, "max") {
            End::Max
        } else {
            return Err(Error::SYNTAX);
        };
        let (count, rest) = match options {
            [word, count, rest @ ..] if is(word, "count") => {
                let count = integer(count).ok().and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
                (count.ok_or(COUNT)?, rest)
            }
            rest => (1, rest),
        };
        if !rest.is_empty() {
            return Err(Error::SYNTAX);
        }
        Ok(Arguments { keys: &argv[2..2 + numkeys], end, count })
    }
}

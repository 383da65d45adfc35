//! ZRANGE with its older forms, and ZRANGESTORE: intervals of ranks, scores or members.

use super::growth;
use super::limits::{self, Ranks};
use super::long_range::{Answered, LongRange, Stored, AT_ONCE_MAX};
use crate::args::{integer, is};
use crate::commands::long_reply;
use crate::error::Error;
use crate::exec::{Exec, Flow, Outcome, DONE};
use crate::reply::{Protocol, Reply};
use crate::value::zset::range::{LexRange, ScoreRange};
use crate::value::zset::Zset;
use crate::value::Collection;
use std::ops::Range;

const LIMIT_BY_RANK: Error =
    Error::new("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
const WITHSCORES_BYLEX: Error =
    Error::new("ERR syntax error, WITHSCORES not supported in combination with BYLEX");

/// What an interval is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// What the name of a command settles, and its options otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    by: Option<By>,
    reverse: Option<bool>,
    /// ZRANGESTORE: the destination comes first.
    store: bool,
}

/// An interval as the arguments say it.
#[derive(Debug, Clone, Copy)]
enum Interval<'a> {
    Ranks(Ranks),
    Scores(ScoreRange),
    Members(LexRange<'a>),
}

/// A parsed ZRANGE.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a> {
    interval: Interval<'a>,
    pub(super) reverse: bool,
    with_scores: bool,
    offset: i64,
    /// Negative: all.
    limit: i64,
}

impl<'a> Query<'a> {
    /// Reads the arguments from the two ends of the interval on.
    pub(super) fn parse(args: &[&'a [u8]], form: Form) -> Result<Query<'a>, Error> {
        let (mut by, mut reverse, mut with_scores) = (form.by, form.reverse, false);
        let (mut offset, mut limit) = (0, -1);
        let mut rest = args[2..].iter();
        while let Some(&word) = rest.next() {
            if !form.store && is(word, "withscores") {
                with_scores = true;
            } else if is(word, "limit") && rest.len() >= 2 {
                let mut number = || integer(rest.next().expect("there are two"));
                (offset, limit) = (number()?, number()?);
            } else if form.reverse.is_none() && reverse.is_none() && is(word, "rev") {
                reverse = Some(true);
            } else if by.is_none() && is(word, "bylex") {
                by = Some(By::Lex);
            } else if by.is_none() && is(word, "byscore") {
                by = Some(By::Score);
            } else {
                return Err(Error::SYNTAX);
            }
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        if limit != -1 && by == By::Rank {
            return Err(LIMIT_BY_RANK);
        }
        if with_scores && by == By::Lex {
            return Err(WITHSCORES_BYLEX);
        }
        let (min, max) = if reverse { (args[1], args[0]) } else { (args[0], args[1]) };
        let interval = match by {
            By::Rank => Interval::Ranks(Ranks::parse(args[0], args[1])?),
            By::Score => Interval::Scores(limits::scores(min, max)?),
            By::Lex => Interval::Members(limits::members(min, max)?),
        };
        Ok(Query { interval, reverse, with_scores, offset, limit })
    }

    /// The ranks that are asked for; in the order of the query when it is reversed, the last one first.
    pub(super) fn ranks(&self, zset: &Zset) -> Range<usize> {
        let ranks = match &self.interval {
            Interval::Ranks(ranks) => {
                let ranks = ranks.within(zset.len());
                return if self.reverse { zset.len() - ranks.end..zset.len() - ranks.start } else { ranks };
            }
            Interval::Scores(range) => zset.score_range(range),
            Interval::Members(range) => zset.lex_range(range),
        };
        // A negative offset skips everything, as in Redis.
        let skip = usize::try_from(self.offset).unwrap_or(usize::MAX).min(ranks.len());
        let take = usize::try_from(self.limit).unwrap_or(usize::MAX).min(ranks.len() - skip);
        if self.reverse {
            ranks.end - skip - take..ranks.end - skip
        } else {
            ranks.start + skip..ranks.start + skip + take
        }
    }
}

/// ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]
pub(super) fn zrange(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    range(exec, Form { by: None, reverse: None, store: false }, reply)
}

/// ZREVRANGE key start stop [WITHSCORES]
pub(super) fn zrevrange(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    range(exec, Form { by: Some(By::Rank), reverse: Some(true), store: false }, reply)
}

/// ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]
pub(super) fn zrangebyscore(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    range(exec, Form { by: Some(By::Score), reverse: Some(false), store: false }, reply)
}

/// ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]
pub(super) fn zrevrangebyscore(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    range(exec, Form { by: Some(By::Score), reverse: Some(true), store: false }, reply)
}

/// ZRANGEBYLEX key min max [LIMIT offset count]
pub(super) fn zrangebylex(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    range(exec, Form { by: Some(By::Lex), reverse: Some(false), store: false }, reply)
}

/// ZREVRANGEBYLEX key max min [LIMIT offset count]
pub(super) fn zrevrangebylex(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    range(exec, Form { by: Some(By::Lex), reverse: Some(true), store: false }, reply)
}

fn range(exec: &mut Exec<'_>, form: Form, reply: &mut dyn Reply) -> Outcome {
    let query = Query::parse(&exec.argv[2..], form)?;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(zset) = keys.read::<Zset>(exec.view, &key)? else {
        reply.array(0);
        return DONE;
    };
    let ranks = query.ranks(&zset);
    let pairs = query.with_scores && reply.protocol() == Protocol::Resp3;
    if ranks.len() > AT_ONCE_MAX {
        let range = LongRange::new(keys, exec.view, exec.argv[1], &exec.argv[2..], form);
        let answered = Answered { range, with_scores: query.with_scores, pairs };
        return long_reply::answer(answered, exec, reply);
    }
    reply.array(if query.with_scores && !pairs { ranks.len() * 2 } else { ranks.len() });
    for (member, score) in walk(&zset, ranks, query.reverse) {
        if pairs {
            reply.array(2);
        }
        member.reply(reply);
        if query.with_scores {
            reply.double(score);
        }
    }
    DONE
}

/// The members of these ranks.
pub(super) fn walk(
    zset: &Zset,
    ranks: Range<usize>,
    reverse: bool,
) -> std::iter::Take<crate::value::zset::Walk<'_>> {
    let len = ranks.len();
    match reverse {
        _ if len == 0 => zset.ascending(usize::MAX).take(0),
        true => zset.descending(ranks.end - 1).take(len),
        false => zset.ascending(ranks.start).take(len),
    }
}

/// ZRANGESTORE dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]
pub(super) fn zrangestore(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let form = Form { by: None, reverse: None, store: true };
    let query = Query::parse(&exec.argv[3..], form)?;
    let growth = growth(exec);
    let keys = &mut exec.shard.keys;
    let (destination, source) = (keys.key(exec.argv[1]), keys.key(exec.argv[2]));
    let mut stored = Zset::new(keys.collection_seed());
    if let Some(zset) = keys.read::<Zset>(exec.view, &source)? {
        let ranks = query.ranks(&zset);
        if ranks.len() > AT_ONCE_MAX {
            let range = LongRange::new(keys, exec.view, exec.argv[2], &exec.argv[3..], form);
            let destination = exec.argv[1].to_vec();
            return Ok(Flow::Later(Box::new(Stored { range, destination, growth, result: stored })));
        }
        for (member, score) in walk(&zset, ranks, false) {
            member.with_bytes(|member| stored.insert(member, score, growth));
        }
    }
    reply.integer(stored.len() as i64);
    keys.store(exec.view, &destination, stored);
    DONE
}

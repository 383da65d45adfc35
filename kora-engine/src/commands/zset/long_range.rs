//! Ranges of so many members that they are walked over in slices.
//!
//! The answer is nevertheless that of one moment: when the set changes in between, the walk begins again. After
//! [`RESTARTS_MAX`] beginnings it goes through without a pause, so that it ends whatever others do.

use super::range::{walk, Form, Query};
use crate::change::UnixMs;
use crate::commands::long_reply::{Elements, Gather};
use crate::commands::watched::{Watched, RESTARTS_MAX};
use crate::error::Error;
use crate::exec::Continuation;
use crate::keyspace::{Keyspace, View};
use crate::reply::Reply;
use crate::shard::Shard;
use crate::value::zset::{Growth, Zset};
use crate::value::{Collection, Held};
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

/// Members that are answered at once.
pub(super) const AT_ONCE_MAX: usize = 1024;

/// Members stored in the time of a segment of keys.
const STORED_PER_SEGMENT: usize = 64;

/// A set, and ranks in it.
type Part<'k> = (Held<'k, Zset>, Range<usize>);

/// A walk over a range, between two turns.
pub(super) struct LongRange {
    /// As the command saw the key when it came.
    view: View,
    key: Vec<u8>,
    /// The arguments from the ends of the range on.
    args: Vec<Vec<u8>>,
    form: Form,
    /// Ranks that are still to come; none before the walk has begun.
    ranks: Option<Range<usize>>,
    watched: Rc<RefCell<Watched>>,
    restarts: u32,
}

impl LongRange {
    pub(super) fn new(keys: &mut Keyspace, view: View, key: &[u8], args: &[&[u8]], form: Form) -> LongRange {
        LongRange {
            view,
            key: key.to_vec(),
            args: args.iter().map(|arg| arg.to_vec()).collect(),
            form,
            ranks: None,
            watched: Watched::observe(&mut keys.changes, view.db, &[key]),
            restarts: 0,
        }
    }

    /// The query, whose arguments have been read once.
    fn query(&self) -> Query<'_> {
        let args: Vec<&[u8]> = self.args.iter().map(Vec::as_slice).collect();
        Query::parse(&args, self.form).expect("the arguments are good")
    }

    /// Whether the walk must begin again.
    fn is_stale(&mut self) -> bool {
        let changed = !self.watched.borrow_mut().take().is_empty();
        self.restarts += u32::from(changed);
        changed
    }

    /// The set, and about `count` of the ranks that are still to come; none when the key is gone.
    fn next<'k>(
        &mut self,
        keys: &'k mut Keyspace,
        now: UnixMs,
        count: usize,
    ) -> Result<Option<Part<'k>>, Error> {
        self.view.now = now;
        let key = keys.key(&self.key);
        let Some(zset) = keys.look::<Zset>(self.view, &key)? else { return Ok(None) };
        let ranks = match self.ranks.take() {
            Some(ranks) => ranks,
            None => self.query().ranks(&zset),
        };
        let count = if self.restarts < RESTARTS_MAX { count.min(ranks.len()) } else { ranks.len() };
        let (taken, rest) = if self.query().reverse {
            (ranks.end - count..ranks.end, ranks.start..ranks.end - count)
        } else {
            (ranks.start..ranks.start + count, ranks.start + count..ranks.end)
        };
        self.ranks = Some(rest);
        Ok(Some((zset, taken)))
    }

    fn is_over(&self) -> bool {
        self.ranks.as_ref().is_none_or(|ranks| ranks.is_empty())
    }
}

/// A range that is answered.
pub(super) struct Answered {
    pub(super) range: LongRange,
    pub(super) with_scores: bool,
    /// Each member is in an array with its score.
    pub(super) pairs: bool,
}

impl Gather for Answered {
    fn gather(
        &mut self,
        shard: &mut Shard,
        now: UnixMs,
        count: usize,
        elements: &mut Elements,
    ) -> Result<bool, Error> {
        if self.range.is_stale() {
            *elements = Elements::default();
            self.range.ranks = None;
        }
        let reverse = self.range.query().reverse;
        let Some((zset, ranks)) = self.range.next(&mut shard.keys, now, count)? else {
            *elements = Elements::default();
            return Ok(true);
        };
        for (member, score) in walk(&zset, ranks, reverse) {
            if self.pairs {
                elements.push_array(2);
            }
            elements.push(member);
            if self.with_scores {
                elements.push_double(score);
            }
        }
        Ok(self.range.is_over())
    }

    fn head(&self, elements: &Elements, reply: &mut dyn Reply) {
        reply.array(if self.pairs { elements.len() / 2 } else { elements.len() });
    }
}

/// A range that is stored.
pub(super) struct Stored {
    pub(super) range: LongRange,
    pub(super) destination: Vec<u8>,
    pub(super) growth: Growth,
    /// What has been walked over.
    pub(super) result: Zset,
}

impl Stored {
    fn restart(&mut self) {
        std::mem::replace(&mut self.result, Zset::new(0)).into_object().discard();
        self.range.ranks = None;
    }

    /// Goes on; returns whether that was all.
    fn advance(&mut self, keys: &mut Keyspace, now: UnixMs, count: usize) -> Result<bool, Error> {
        if self.range.is_stale() {
            self.restart();
        }
        let reverse = self.range.query().reverse;
        let Some((zset, ranks)) = self.range.next(keys, now, count)? else {
            self.restart();
            return Ok(true);
        };
        for (member, score) in walk(&zset, ranks, reverse) {
            member.with_bytes(|member| self.result.insert(member, score, self.growth));
        }
        Ok(self.range.is_over())
    }
}

impl Continuation for Stored {
    fn resume(&mut self, shard: &mut Shard, now: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        match self.advance(&mut shard.keys, now, budget.max(1).saturating_mul(STORED_PER_SEGMENT)) {
            Ok(false) => return false,
            Ok(true) => {
                let result = std::mem::replace(&mut self.result, Zset::new(0));
                reply.integer(result.len() as i64);
                let key = shard.keys.key(&self.destination);
                shard.keys.store(self.range.view, &key, result);
            }
            Err(error) => reply.error(error.text()),
        }
        true
    }
}

impl Drop for Stored {
    /// A large result that comes to nothing is freed in slices.
    fn drop(&mut self) {
        self.restart();
    }
}

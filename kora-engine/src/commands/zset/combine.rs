//! ZUNION, ZINTER, ZDIFF, their STORE forms, and ZINTERCARD.
//!
//! What takes long goes on in slices, while other commands run. The result is nevertheless that of one moment, the one at which
//! the computation ends: changes of single members in between are followed ([`super::combination`]), and when a whole source is
//! replaced or goes away, it begins again.

use super::combination::{Aggregate, Combination, Operation, Plan, Source};
use super::growth;
use crate::args::{integer, is};
use crate::change::UnixMs;
use crate::commands::watched::{Edits, Watched, RESTARTS_MAX};
use crate::double;
use crate::error::Error;
use crate::exec::{Continuation, Exec, Flow, Outcome, DONE};
use crate::keyspace::{Keyspace, View};
use crate::reply::{Protocol, Reply};
use crate::shard::Shard;
use crate::table::ValueRef;
use crate::value::zset::{Growth, Zset};
use crate::value::{Collection, Type};
use std::cell::RefCell;
use std::rc::Rc;

const WEIGHT: Error = Error::new("ERR weight value is not a float");
const NEGATIVE_LIMIT: Error = Error::new("ERR LIMIT can't be negative");

/// Steps that take as long as a visit to one segment of the table.
const STEPS_PER_SEGMENT: usize = 64;

/// Members answered in the same time.
const ANSWERED_PER_SEGMENT: usize = 128;

/// What is done with the result.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Purpose {
    Answer { with_scores: bool },
    Count,
    Store(Vec<u8>),
}

/// ZUNION numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]
pub(super) fn zunion(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    combine(exec, reply, Operation::Union, Purpose::Answer { with_scores: false })
}

/// ZINTER, as ZUNION
pub(super) fn zinter(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    combine(exec, reply, Operation::Intersection, Purpose::Answer { with_scores: false })
}

/// ZDIFF numkeys key [key ...] [WITHSCORES]
pub(super) fn zdiff(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    combine(exec, reply, Operation::Difference, Purpose::Answer { with_scores: false })
}

/// ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS ...] [AGGREGATE ...]
pub(super) fn zunionstore(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let destination = exec.argv[1].to_vec();
    combine(exec, reply, Operation::Union, Purpose::Store(destination))
}

/// ZINTERSTORE, as ZUNIONSTORE
pub(super) fn zinterstore(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let destination = exec.argv[1].to_vec();
    combine(exec, reply, Operation::Intersection, Purpose::Store(destination))
}

/// ZDIFFSTORE destination numkeys key [key ...]
pub(super) fn zdiffstore(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let destination = exec.argv[1].to_vec();
    combine(exec, reply, Operation::Difference, Purpose::Store(destination))
}

/// ZINTERCARD numkeys key [key ...] [LIMIT limit]
pub(super) fn zintercard(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    combine(exec, reply, Operation::Intersection, Purpose::Count)
}

/// Reads the options after the keys.
fn options(
    words: &[&[u8]],
    sources: usize,
    operation: Operation,
    purpose: &mut Purpose,
) -> Result<Plan, Error> {
    let mut plan =
        Plan { operation, weights: vec![1.0; sources], aggregate: Aggregate::Sum, limit: usize::MAX };
    let counts = *purpose == Purpose::Count;
    let weighs = operation != Operation::Difference && !counts;
    let mut rest = words;
    while let [word, others @ ..] = rest {
        rest = others;
        if weighs && rest.len() >= sources && is(word, "weights") {
            let (weights, others) = rest.split_at(sources);
            for (weight, text) in plan.weights.iter_mut().zip(weights) {
                *weight = double::parse(text).ok_or(WEIGHT)?;
            }
            rest = others;
            continue;
        }
        match rest {
            [name, others @ ..] if weighs && is(word, "aggregate") => {
                plan.aggregate = if is(name, "sum") {
                    Aggregate::Sum
                } else if is(name, "min") {
                    Aggregate::Min
                } else if is(name, "max") {
                    Aggregate::Max
                } else {
                    return Err(Error::SYNTAX);
                };
                rest = others;
            }
            [limit, others @ ..] if counts && is(word, "limit") => {
                let limit = integer(limit).ok().and_then(|limit| usize::try_from(limit).ok());
                plan.limit = match limit.ok_or(NEGATIVE_LIMIT)? {
                    0 => usize::MAX,
                    limit => limit,
                };
                rest = others;
            }
            _ => match purpose {
                Purpose::Answer { with_scores } if is(word, "withscores") => *with_scores = true,
                _ => return Err(Error::SYNTAX),
            },
        }
    }
    Ok(plan)
}

/// Asks for each key, as a reading command does.
fn read_all<K: AsRef<[u8]>>(keys: &mut Keyspace, view: View, names: &[K]) -> Result<(), Error> {
    for name in names {
        let key = keys.key(name.as_ref());
        match keys.get(view, &key).map(|entry| entry.value()) {
            None => {}
            Some(ValueRef::Object(object)) if matches!(object.kind(), Type::Set | Type::Zset) => {}
            Some(_) => return Err(Error::WRONG_TYPE),
        }
    }
    Ok(())
}

/// What is at these keys.
fn sources<'k, K: AsRef<[u8]>>(keys: &'k Keyspace, db: u16, names: &[K]) -> Vec<Source<'k>> {
    let source = |name: &K| {
        let key = keys.key(name.as_ref());
        match (keys.held(db, &key), keys.held(db, &key)) {
            (Some(zset), _) => Source::Zset(zset),
            (None, Some(set)) => Source::Set(set),
            (None, None) => Source::Missing,
        }
    };
    names.iter().map(source).collect()
}

fn combine(
    exec: &mut Exec<'_>,
    reply: &mut dyn Reply,
    operation: Operation,
    mut purpose: Purpose,
) -> Outcome {
    let growth = growth(exec);
    let first = if matches!(purpose, Purpose::Store(_)) { 2 } else { 1 };
    let count = integer(exec.argv[first])?;
    if count < 1 {
        let name = &exec.command.full_name;
        return Err(Error::owned(format!("ERR at least 1 input key is needed for '{name}' command")));
    }
    let rest = &exec.argv[first + 1..];
    let count = usize::try_from(count).ok().filter(|&count| count <= rest.len()).ok_or(Error::SYNTAX)?;
    let (names, words) = rest.split_at(count);
    let (view, keys) = (exec.view, &mut exec.shard.keys);
    read_all(keys, view, names)?;
    let plan = options(words, count, operation, &mut purpose)?;
    let mut combination = Combination::new(plan.clone(), &sources(keys, view.db, names), growth);
    if combination.is_long() {
        let watched = Watched::observe(&mut keys.changes, view.db, names);
        return Ok(Flow::Later(Box::new(Sliced {
            view,
            names: names.iter().map(|name| name.to_vec()).collect(),
            plan,
            purpose,
            growth,
            stage: Stage::Computing(combination),
            watched,
            restarts: 0,
        })));
    }
    combination.advance(&sources(keys, view.db, names), usize::MAX);
    let result = combination.finish();
    match &purpose {
        Purpose::Answer { with_scores } => {
            head(result.len(), *with_scores, reply);
            answer(&result, 0, usize::MAX, *with_scores, reply);
            result.into_object().discard();
        }
        _ => end(keys, view, result, &plan, &purpose, growth, reply),
    }
    DONE
}

fn head(len: usize, with_scores: bool, reply: &mut dyn Reply) {
    let flat = with_scores && reply.protocol() == Protocol::Resp2;
    reply.array(if flat { len * 2 } else { len });
}

/// Writes `count` members from a rank on; returns whether those were the last.
fn answer(result: &Zset, rank: usize, count: usize, with_scores: bool, reply: &mut dyn Reply) -> bool {
    let pairs = with_scores && reply.protocol() == Protocol::Resp3;
    for (member, score) in result.ascending(rank).take(count) {
        if pairs {
            reply.array(2);
        }
        member.reply(reply);
        if with_scores {
            reply.double(score);
        }
    }
    rank.saturating_add(count) >= result.len()
}

/// Ends a combination whose members are not to be answered.
fn end(
    keys: &mut Keyspace,
    view: View,
    mut result: Zset,
    plan: &Plan,
    purpose: &Purpose,
    growth: Growth,
    reply: &mut dyn Reply,
) {
    match purpose {
        Purpose::Store(destination) => {
            reply.integer(result.len() as i64);
            result.settle(growth);
            let key = keys.key(destination);
            keys.store(view, &key, result);
        }
        _ => {
            reply.integer(result.len().min(plan.limit) as i64);
            result.into_object().discard();
        }
    }
}

/// A combination that goes on between the turns of the executor.
struct Sliced {
    /// As the command saw the keys when it came.
    view: View,
    names: Vec<Vec<u8>>,
    plan: Plan,
    purpose: Purpose,
    growth: Growth,
    stage: Stage,
    watched: Rc<RefCell<Watched>>,
    restarts: u32,
}

enum Stage {
    Computing(Combination),
    /// The result is complete and nobody else's; its members are being answered, from this rank on.
    Answering {
        result: Zset,
        rank: usize,
    },
    Done,
}

impl Sliced {
    /// Goes on with the computation. Returns its result when it is complete.
    fn compute(&mut self, keys: &mut Keyspace, steps: usize) -> Result<Option<Zset>, Error> {
        keys.expire_now(self.view, &self.names);
        let edits = self.watched.borrow_mut().take();
        if let Edits::Replaced = edits {
            self.restarts += 1;
            read_all(keys, self.view, &self.names)?;
            let sources = sources(keys, self.view.db, &self.names);
            self.stage = Stage::Computing(Combination::new(self.plan.clone(), &sources, self.growth));
        }
        let Stage::Computing(combination) = &mut self.stage else { return Ok(None) };
        let sources = sources(keys, self.view.db, &self.names);
        if let Edits::Members(members) = edits {
            for (_, member) in members {
                combination.reconsider(&sources, &member);
            }
        }
        let steps = if self.restarts < RESTARTS_MAX { steps } else { usize::MAX };
        if !combination.advance(&sources, steps) {
            return Ok(None);
        }
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Computing(combination) => Ok(Some(combination.finish())),
            _ => unreachable!("it was just computing"),
        }
    }
}

impl Continuation for Sliced {
    fn resume(&mut self, shard: &mut Shard, now: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        self.view.now = now;
        if let Stage::Computing(_) = self.stage {
            match self.compute(&mut shard.keys, budget.max(1).saturating_mul(STEPS_PER_SEGMENT)) {
                Err(error) => {
                    reply.error(error.text());
                    return true;
                }
                Ok(None) => return false,
                Ok(Some(result)) => match &self.purpose {
                    Purpose::Answer { with_scores } => {
                        head(result.len(), *with_scores, reply);
                        self.stage = Stage::Answering { result, rank: 0 };
                    }
                    purpose => {
                        end(&mut shard.keys, self.view, result, &self.plan, purpose, self.growth, reply);
                        return true;
                    }
                },
            }
        }
        let (Stage::Answering { result, rank }, Purpose::Answer { with_scores }) =
            (&mut self.stage, &self.purpose)
        else {
            unreachable!("it is not resumed after its end");
        };
        let count = budget.max(1).saturating_mul(ANSWERED_PER_SEGMENT);
        let last = answer(result, *rank, count, *with_scores, reply);
        *rank += count;
        if last {
            std::mem::replace(result, Zset::new(0)).into_object().discard();
        }
        last
    }
}

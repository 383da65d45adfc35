//! SUNION, SINTER, SDIFF, their STORE forms, and SINTERCARD.
//!
//! What takes long goes on in slices ([`Sliced`]), while other commands run. The result is nevertheless that of one moment, the
//! one at which the operation ends: changes of single members in between are followed ([`super::operation`]), and when a
//! whole set is replaced or goes away, it begins again. After [`RESTARTS_MAX`] beginnings it goes through without a pause,
//! so that it ends whatever others do.

use super::operation::{Computation, Gathered, Operation, Purpose};
use super::rules;
use crate::args::{integer, is};
use crate::change::UnixMs;
use crate::commands::watched::{Edits, Watched, RESTARTS_MAX};
use crate::error::Error;
use crate::exec::{Continuation, Exec, Flow, Outcome, DONE};
use crate::keyspace::{Keyspace, View};
use crate::limits::SEGMENT_KEYS;
use crate::reply::Reply;
use crate::shard::Shard;
use crate::value::set::{Rules, Set};
use crate::value::Held;
use std::cell::RefCell;
use std::rc::Rc;

const NUMKEYS: Error = Error::new("ERR numkeys should be greater than 0");
const TOO_MANY_KEYS: Error = Error::new("ERR Number of keys can't be greater than number of args");
const NEGATIVE_LIMIT: Error = Error::new("ERR LIMIT can't be negative");

/// Steps of a computation, each of which can be an insertion, in the time of a visit to a segment of the table.
const STEPS_PER_SEGMENT: usize = 64;

/// SUNION key [key ...]
pub(super) fn sunion(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    operate(exec, reply, Operation::Union, &exec.argv[1..], Answer::Members)
}

/// SINTER key [key ...]
pub(super) fn sinter(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    operate(exec, reply, Operation::Intersection, &exec.argv[1..], Answer::Members)
}

/// SDIFF key [key ...]
pub(super) fn sdiff(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    operate(exec, reply, Operation::Difference, &exec.argv[1..], Answer::Members)
}

/// SUNIONSTORE destination key [key ...]
pub(super) fn sunionstore(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    operate(exec, reply, Operation::Union, &exec.argv[2..], Answer::Store(exec.argv[1]))
}

/// SINTERSTORE destination key [key ...]
pub(super) fn sinterstore(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    operate(exec, reply, Operation::Intersection, &exec.argv[2..], Answer::Store(exec.argv[1]))
}

/// SDIFFSTORE destination key [key ...]
pub(super) fn sdiffstore(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    operate(exec, reply, Operation::Difference, &exec.argv[2..], Answer::Store(exec.argv[1]))
}

/// SINTERCARD numkeys key [key ...] [LIMIT limit]
pub(super) fn sintercard(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let count = integer(exec.argv[1]).ok().filter(|&count| count > 0).ok_or(NUMKEYS)?;
    let rest = &exec.argv[2..];
    let count = usize::try_from(count).ok().filter(|&count| count <= rest.len()).ok_or(TOO_MANY_KEYS)?;
    let (names, mut options) = rest.split_at(count);
    let mut limit = usize::MAX;
    while let [word, value, others @ ..] = options {
        if !is(word, "limit") {
            return Err(Error::SYNTAX);
        }
        limit =
            match integer(value).ok().and_then(|limit| usize::try_from(limit).ok()).ok_or(NEGATIVE_LIMIT)? {
                0 => usize::MAX,
                limit => limit,
            };
        options = others;
    }
    if !options.is_empty() {
        return Err(Error::SYNTAX);
    }
    operate(exec, reply, Operation::Intersection, names, Answer::Count(limit))
}

/// What is answered.
#[derive(Debug, Clone, Copy)]
enum Answer<K> {
    /// The members of the result.
    Members,
    /// Their number, up to a limit.
    Count(usize),
    /// Their number, and they are stored at this key.
    Store(K),
}

impl<K> Answer<K> {
    fn purpose(&self) -> Purpose {
        match self {
            Answer::Members => Purpose::Answer,
            Answer::Count(limit) => Purpose::Count(*limit),
            Answer::Store(_) => Purpose::Store,
        }
    }

    /// Ends an operation whose members, if they are to be answered, have been.
    fn end(&self, keys: &mut Keyspace, view: View, result: Gathered, reply: &mut dyn Reply)
    where
        K: AsRef<[u8]>,
    {
        match self {
            Answer::Members => result.discard(),
            Answer::Count(limit) => {
                reply.integer(result.len().min(*limit) as i64);
                result.discard();
            }
            Answer::Store(destination) => {
                reply.integer(result.len() as i64);
                let key = keys.key(destination.as_ref());
                match result {
                    Gathered::Set(set) => keys.store(view, &key, set),
                    _ => unreachable!("what is stored is gathered as a set"),
                }
            }
        }
    }
}

/// Asks for each key, as a reading command does.
fn read_all<K: AsRef<[u8]>>(keys: &mut Keyspace, view: View, names: &[K]) -> Result<(), Error> {
    for name in names {
        let key = keys.key(name.as_ref());
        keys.read::<Set>(view, &key)?;
    }
    Ok(())
}

/// The sets at these keys, together.
fn held<'k, K: AsRef<[u8]>>(keys: &'k Keyspace, db: u16, names: &[K]) -> Vec<Option<Held<'k, Set>>> {
    names.iter().map(|name| keys.held(db, &keys.key(name.as_ref()))).collect()
}

/// Prepares the operation on the sets that are there now.
fn prepare<K: AsRef<[u8]>>(
    keys: &Keyspace,
    db: u16,
    operation: Operation,
    names: &[K],
    purpose: Purpose,
    rules: Rules,
) -> Computation {
    let first = names[0].as_ref();
    let same_as_first = names[1..].iter().any(|name| name.as_ref() == first);
    Computation::new(operation, &held(keys, db, names), same_as_first, purpose, rules)
}

fn operate(
    exec: &mut Exec<'_>,
    reply: &mut dyn Reply,
    operation: Operation,
    names: &[&[u8]],
    answer: Answer<&[u8]>,
) -> Outcome {
    let rules = rules(exec);
    let (view, keys) = (exec.view, &mut exec.shard.keys);
    read_all(keys, view, names)?;
    let mut computation = prepare(keys, view.db, operation, names, answer.purpose(), rules);
    if computation.is_long() {
        let watched = Watched::observe(&mut keys.changes, view.db, names);
        return Ok(Flow::Later(Box::new(Sliced {
            view,
            operation,
            names: names.iter().map(|name| name.to_vec()).collect(),
            answer: match answer {
                Answer::Members => Answer::Members,
                Answer::Count(limit) => Answer::Count(limit),
                Answer::Store(destination) => Answer::Store(destination.to_vec()),
            },
            rules,
            stage: Stage::Computing(computation),
            watched,
            restarts: 0,
        })));
    }
    computation.advance(&held(keys, view.db, names), usize::MAX);
    let mut result = computation.finish();
    if let Answer::Members = answer {
        reply.set(result.len());
        match &mut result {
            Gathered::Set(set) => {
                set.for_each(&mut |member| {
                    member.reply(reply);
                    true
                });
            }
            Gathered::List(list) => {
                list.write(usize::MAX, reply);
            }
            Gathered::Count(_) => unreachable!("members are to be answered"),
        }
    }
    answer.end(keys, view, result, reply);
    DONE
}

/// An operation that goes on between the turns of the executor.
struct Sliced {
    /// As the command saw the keys when it came.
    view: View,
    operation: Operation,
    names: Vec<Vec<u8>>,
    answer: Answer<Vec<u8>>,
    rules: Rules,
    stage: Stage,
    watched: Rc<RefCell<Watched>>,
    restarts: u32,
}

enum Stage {
    Computing(Computation),
    /// The result is complete and nobody else's; its members are being answered.
    Answering {
        result: Gathered,
        cursor: u64,
    },
    Done,
}

impl Sliced {
    /// Begins again with the sets that are there now.
    fn restart(&mut self, keys: &mut Keyspace) -> Result<(), Error> {
        self.restarts += 1;
        read_all(keys, self.view, &self.names)?;
        let purpose = self.answer.purpose();
        let computation =
            prepare(keys, self.view.db, self.operation, &self.names, purpose, self.rules).in_slices();
        self.stage = Stage::Computing(computation);
        Ok(())
    }

    /// Goes on with the computation. Returns its result when it is complete.
    fn compute(&mut self, keys: &mut Keyspace, steps: usize) -> Result<Option<Gathered>, Error> {
        keys.expire_now(self.view, &self.names);
        let edits = self.watched.borrow_mut().take();
        if let Edits::Replaced = edits {
            self.restart(keys)?;
        }
        let Stage::Computing(computation) = &mut self.stage else { return Ok(None) };
        let sets = held(keys, self.view.db, &self.names);
        if let Edits::Members(members) = edits {
            for (_, member) in members {
                computation.reconsider(&sets, &member);
            }
        }
        let steps = if self.restarts < RESTARTS_MAX { steps } else { usize::MAX };
        if !computation.advance(&sets, steps) {
            return Ok(None);
        }
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Computing(computation) => Ok(Some(computation.finish())),
            _ => unreachable!("it was just computing"),
        }
    }
}

impl Continuation for Sliced {
    fn resume(&mut self, shard: &mut Shard, now: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        let steps = budget.max(1).saturating_mul(STEPS_PER_SEGMENT);
        self.view.now = now;
        if let Stage::Computing(_) = self.stage {
            match self.compute(&mut shard.keys, steps) {
                Err(error) => {
                    reply.error(error.text());
                    return true;
                }
                Ok(None) => return false,
                Ok(Some(result)) if matches!(self.answer, Answer::Members) => {
                    reply.set(result.len());
                    self.stage = Stage::Answering { result, cursor: 0 };
                }
                Ok(Some(result)) => {
                    self.answer.end(&mut shard.keys, self.view, result, reply);
                    return true;
                }
            }
        }
        let Stage::Answering { result, cursor } = &mut self.stage else {
            unreachable!("it is not resumed after its end");
        };
        let Gathered::Set(set) = result else { unreachable!("what goes on in slices gathers a set") };
        let count = budget.max(1).saturating_mul(SEGMENT_KEYS);
        *cursor = set.scan(*cursor, count, &mut |member| member.reply(reply));
        let more = *cursor != 0;
        if !more {
            std::mem::take(result).discard();
        }
        !more
    }
}

//! GEOSEARCH, GEOSEARCHSTORE, and the older GEORADIUS and GEORADIUSBYMEMBER.
//!
//! A search over many members goes on in slices: members are looked at, sorted and answered (or stored) some at a time. Its answer
//! is that of one moment: when the index changes before all members were looked at, it begins again. After
//! [`RESTARTS_MAX`] beginnings it looks at all of them without a pause, so that it ends whatever others do.

use super::found::{Found, Hunt, Ranking};
use super::points::answer_position;
use super::query::{Form, Query};
use crate::change::UnixMs;
use crate::commands::watched::{Watched, RESTARTS_MAX};
use crate::commands::zset::growth;
use crate::error::Error;
use crate::exec::{Continuation, Exec, Flow, Outcome, DONE};
use crate::geo::distance::{self, Unit};
use crate::keyspace::{Keyspace, View};
use crate::reply::Reply;
use crate::shard::Shard;
use crate::value::zset::{Growth, Zset};
use crate::value::Collection;
use std::cell::RefCell;
use std::rc::Rc;

/// Members looked at, sorted or answered at once.
const AT_ONCE: usize = 1024;

/// The same in the time of a visit to one segment of the table.
const PER_SEGMENT: usize = 64;

/// GEOSEARCH key ...
pub(super) fn geosearch(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    search(exec, Form::Search, reply)
}

/// GEOSEARCHSTORE destination source ...
pub(super) fn geosearchstore(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    search(exec, Form::SearchStore, reply)
}

/// GEORADIUS key longitude latitude radius unit ...
pub(super) fn georadius(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    search(exec, Form::Radius { by_member: false, stores: true }, reply)
}

/// GEORADIUS_RO key longitude latitude radius unit ...
pub(super) fn georadius_ro(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    search(exec, Form::Radius { by_member: false, stores: false }, reply)
}

/// GEORADIUSBYMEMBER key member radius unit ...
pub(super) fn georadiusbymember(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    search(exec, Form::Radius { by_member: true, stores: true }, reply)
}

/// GEORADIUSBYMEMBER_RO key member radius unit ...
pub(super) fn georadiusbymember_ro(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    search(exec, Form::Radius { by_member: true, stores: false }, reply)
}

fn search(exec: &mut Exec<'_>, form: Form, reply: &mut dyn Reply) -> Outcome {
    let growth = growth(exec);
    let keys = &mut exec.shard.keys;
    let source = keys.key(exec.argv[form.source()]);
    let zset = keys.read::<Zset>(exec.view, &source)?;
    let query = Query::parse(exec.argv, form, zset.as_deref())?;
    let mut work = Work::new(&query, growth);
    let complete = match &zset {
        Some(zset) => work.hunt.advance(zset, AT_ONCE, &mut work.found),
        None => true,
    };
    if complete && work.found.len() <= AT_ONCE {
        work.rank(usize::MAX);
        work.answer(keys, exec.view, usize::MAX, reply);
        return DONE;
    }
    let watched = Watched::observe(&mut keys.changes, exec.view.db, &[source.bytes]);
    Ok(Flow::Later(Box::new(Sliced {
        view: exec.view,
        argv: exec.argv.iter().map(|arg| arg.to_vec()).collect(),
        form,
        work,
        watched,
        restarts: 0,
    })))
}

/// What is answered of each member, or where they are stored.
struct Answer {
    with_distance: bool,
    with_hash: bool,
    with_position: bool,
    unit: Unit,
    destination: Option<Vec<u8>>,
    store_distance: bool,
}

/// A search under way.
struct Work {
    hunt: Hunt,
    found: Found,
    /// How many are wanted.
    count: usize,
    ranking: Ranking,
    answer: Answer,
    /// How many members are still to be answered or stored; none before it is known.
    left: Option<usize>,
    stored: Zset,
    growth: Growth,
}

impl Work {
    fn new(query: &Query<'_>, growth: Growth) -> Work {
        let wanted = if query.count > 0 { query.count } else { usize::MAX };
        Work {
            hunt: Hunt::new(query.search(), if query.any { wanted } else { usize::MAX }),
            found: Found::default(),
            count: wanted,
            ranking: Ranking::new(query.order),
            answer: Answer {
                with_distance: query.with_distance,
                with_hash: query.with_hash,
                with_position: query.with_position,
                unit: query.unit(),
                destination: query.destination.map(<[u8]>::to_vec),
                store_distance: query.store_distance,
            },
            left: None,
            stored: Zset::new(growth.seed()),
            growth,
        }
    }

    /// Puts about so many members in their order; returns whether all are.
    fn rank(&mut self, steps: usize) -> bool {
        self.ranking.advance(&self.found, self.count, steps)
    }

    /// Answers or stores about so many members; returns whether those were the last. They are ranked.
    fn answer(&mut self, keys: &mut Keyspace, view: View, steps: usize, reply: &mut dyn Reply) -> bool {
        let Answer { with_distance, with_hash, with_position, unit, .. } = self.answer;
        let extras = usize::from(with_distance) + usize::from(with_hash) + usize::from(with_position);
        let total = self.found.len().min(self.count);
        let left = match self.left {
            Some(left) => left,
            None => {
                if self.answer.destination.is_none() {
                    reply.array(total);
                }
                total
            }
        };
        let taken = left.min(steps);
        for _ in 0..taken {
            let point = self.ranking.next(&self.found).expect("as many as were found");
            let member = self.found.member(point);
            if self.answer.destination.is_some() {
                let score =
                    if self.answer.store_distance { point.distance / unit.metres } else { point.score };
                self.stored.insert(member, score, self.growth);
                continue;
            }
            if extras > 0 {
                reply.array(1 + extras);
            }
            reply.bulk(member);
            if with_distance {
                reply.bulk(distance::text(point.distance / unit.metres).as_bytes());
            }
            if with_hash {
                reply.integer(point.score as i64);
            }
            if with_position {
                answer_position(point.position, reply);
            }
        }
        self.left = Some(left - taken);
        if taken < left {
            return false;
        }
        if let Some(destination) = &self.answer.destination {
            let stored = std::mem::replace(&mut self.stored, Zset::new(0));
            reply.integer(stored.len() as i64);
            let key = keys.key(destination);
            keys.store(view, &key, stored);
        }
        true
    }
}

impl Drop for Work {
    /// A large result that comes to nothing is freed in slices.
    fn drop(&mut self) {
        std::mem::replace(&mut self.stored, Zset::new(0)).into_object().discard();
    }
}

/// A search that goes on between the turns of the executor.
struct Sliced {
    /// As the command saw the keys when it came.
    view: View,
    argv: Vec<Vec<u8>>,
    form: Form,
    work: Work,
    watched: Rc<RefCell<Watched>>,
    restarts: u32,
}

impl Sliced {
    /// Looks at about so many members more.
    fn hunt(&mut self, keys: &mut Keyspace, steps: usize) -> Result<(), Error> {
        let name = &self.argv[self.form.source()];
        keys.expire_now(self.view, &[name]);
        let changed = !self.watched.borrow_mut().take().is_empty();
        let source = keys.key(name);
        let zset = keys.look::<Zset>(self.view, &source)?;
        if changed {
            self.restarts += 1;
            let argv: Vec<&[u8]> = self.argv.iter().map(Vec::as_slice).collect();
            self.work = Work::new(&Query::parse(&argv, self.form, zset.as_deref())?, self.work.growth);
        }
        let steps = if self.restarts < RESTARTS_MAX { steps } else { usize::MAX };
        match &zset {
            Some(zset) => {
                self.work.hunt.advance(zset, steps, &mut self.work.found);
            }
            None => self.work.hunt.end(),
        }
        Ok(())
    }
}

impl Continuation for Sliced {
    fn resume(&mut self, shard: &mut Shard, now: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        self.view.now = now;
        let steps = budget.max(1).saturating_mul(PER_SEGMENT);
        if !self.work.hunt.is_over() {
            return match self.hunt(&mut shard.keys, steps) {
                Ok(()) => false,
                Err(error) => {
                    reply.error(error.text());
                    true
                }
            };
        }
        if !self.work.ranking.is_ready() {
            self.work.rank(steps);
            return false;
        }
        self.work.answer(&mut shard.keys, self.view, steps, reply)
    }
}

//! SPOP.
//!
//! What is removed from a large table in one go can be many members, so then the table is divided in slices: some of its members go into
//! the answer, the others into a new table, which takes the place of the old one at once, at the end. Small pieces of a large table
//! are not worth that, and are removed at once.

use super::super::listing;
use super::super::rules;
use super::AT_ONCE_MAX;
use crate::args::integer;
use crate::change::{SetForm, UnixMs};
use crate::commands::long_reply::Elements;
use crate::commands::watched::{Edits, Watched, RESTARTS_MAX};
use crate::error::Error;
use crate::exec::{Continuation, Exec, Flow, Outcome, DONE};
use crate::keyspace::View;
use crate::reply::Reply;
use crate::shard::Shard;
use crate::value::set::{Choice, Rules, Set};
use crate::value::Collection;
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

/// A table is divided if at least one in so many of its members is to go.
const DIVISION_FACTOR: usize = 64;

/// Members that go one way or the other in the time of a visit to a segment of the table.
const MEMBERS_PER_SEGMENT: usize = 128;

const NOT_POSITIVE: Error = Error::new("ERR value is out of range, must be positive");

/// SPOP key [count]
pub(in super::super) fn spop(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    match exec.argv[2..] {
        [] => one(exec, reply),
        [count] => {
            let count = integer(count).ok().and_then(|count| usize::try_from(count).ok());
            let count = count.ok_or(NOT_POSITIVE)?;
            let rules = rules(exec);
            many(exec.shard, Popping { view: exec.view, key: exec.argv[1], count, rules }, 0, reply)
        }
        _ => Err(Error::SYNTAX),
    }
}

fn one(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let (keys, random) = exec.shard.keys_and_random();
    let key = keys.key(exec.argv[1]);
    match keys.edit::<Set>(exec.view, &key)? {
        None => reply.null(),
        Some(mut set) => {
            let member = set.with_random(random, |member| member.to_vec());
            set.remove(&member);
            reply.bulk(&member);
        }
    }
    DONE
}

/// What is to be popped.
#[derive(Clone, Copy)]
struct Popping<K> {
    view: View,
    key: K,
    count: usize,
    rules: Rules,
}

/// Pops a number of members. `beginnings`: how often that has been tried.
fn many(shard: &mut Shard, popping: Popping<&[u8]>, beginnings: u32, reply: &mut dyn Reply) -> Outcome {
    let Popping { view, key: name, count, rules } = popping;
    let (keys, random) = shard.keys_and_random();
    let key = keys.key(name);
    let Some(mut set) = keys.edit::<Set>(view, &key)? else {
        reply.set(0);
        return DONE;
    };
    let len = set.len();
    if count >= len {
        let all = set.take_all();
        drop(set);
        return listing::answer_owned(all, reply);
    }
    let divides = count > AT_ONCE_MAX && len / DIVISION_FACTOR <= count && set.form() == SetForm::Table;
    if !divides || beginnings >= RESTARTS_MAX {
        reply.set(count);
        if count > 0 {
            set.draw(count, random, &rules, &mut |member| member.reply(reply));
        }
        return DONE;
    }
    drop(set);
    let mut rest = Set::of_ints();
    rest.convert(SetForm::Table, &rules);
    Ok(Flow::Later(Box::new(Division {
        popping: Popping { view, key: name.to_vec(), count, rules },
        watched: Watched::observe(&mut keys.changes, view.db, &[name]),
        choice: Choice::new(len, count),
        cursor: 0,
        added: HashSet::new(),
        rest: Some(rest),
        popped: Elements::default(),
        announced: false,
        beginnings,
        instead: None,
    })))
}

/// A table under division.
struct Division {
    popping: Popping<Vec<u8>>,
    watched: Rc<RefCell<Watched>>,
    choice: Choice,
    /// Where the walk over the table goes on.
    cursor: u64,
    /// Members that have come since it began and that the walk may still meet.
    added: HashSet<Vec<u8>>,
    /// The members that stay; none when they are in their place.
    rest: Option<Set>,
    popped: Elements,
    /// The head of the reply is written.
    announced: bool,
    beginnings: u32,
    /// What goes on in the place of this, which had to be given up.
    instead: Option<Box<dyn Continuation>>,
}

impl Division {
    /// Divides on; returns whether all members have gone one way or the other, or none when it has to begin again.
    fn divide(&mut self, shard: &mut Shard, count: usize) -> Option<bool> {
        shard.keys.expire_now(self.popping.view, &[&self.popping.key]);
        let Edits::Members(edits) = self.watched.borrow_mut().take() else { return None };
        let (keys, random) = shard.keys_and_random();
        let key = keys.key(&self.popping.key);
        let set = keys.held::<Set>(self.popping.view.db, &key)?;
        let Division { cursor, choice, added, rest, popped, popping, .. } = self;
        let (rest, rules) = (rest.as_mut()?, &popping.rules);
        for (is_added, member) in edits {
            if !is_added {
                return None;
            }
            rest.insert(&member, rules);
            if set.position(&member) >= *cursor {
                added.insert(member);
            }
        }
        let start = *cursor;
        *cursor = set.scan(start, count, &mut |member| {
            member.with_bytes(|text| {
                // The page can begin with members of the last one, when segments have merged.
                if (start > 0 && set.position(text) < start) || (!added.is_empty() && added.contains(text)) {
                    return;
                }
                if choice.takes(random) {
                    popped.push(member);
                } else {
                    rest.insert(text, rules);
                }
            });
        });
        Some(*cursor == 0)
    }

    /// Puts the members that stay in their place.
    fn replace(&mut self, shard: &mut Shard) {
        let Some(mut rest) = self.rest.take() else { return };
        let Popping { view, key, count, rules } = &self.popping;
        // As Redis does, which then builds the set anew.
        if rest.len() * 5 <= *count {
            rest.settle(rules);
        }
        let key = shard.keys.key(key);
        let expire_at = shard.keys.peek(*view, &key).and_then(|entry| entry.expire_at());
        shard.keys.put_object(*view, &key, rest.into_object(), expire_at);
    }
}

impl Continuation for Division {
    fn resume(&mut self, shard: &mut Shard, now: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        if let Some(work) = &mut self.instead {
            return work.resume(shard, now, budget, reply);
        }
        let count = budget.max(1).saturating_mul(MEMBERS_PER_SEGMENT);
        if self.rest.is_some() {
            self.popping.view.now = now;
            match self.divide(shard, count) {
                Some(false) => return false,
                Some(true) => self.replace(shard),
                None => {
                    let Popping { view, ref key, count, rules } = self.popping;
                    let popping = Popping { view, key: &key[..], count, rules };
                    return match many(shard, popping, self.beginnings + 1, reply) {
                        Ok(Flow::Done) => true,
                        Ok(Flow::Later(work)) => {
                            self.instead = Some(work);
                            false
                        }
                        Err(error) => {
                            reply.error(error.text());
                            true
                        }
                    };
                }
            }
        }
        if !self.announced {
            self.announced = true;
            reply.set(self.popped.len());
        }
        self.popped.write(count, reply)
    }
}

impl Drop for Division {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take() {
            rest.into_object().discard();
        }
    }
}

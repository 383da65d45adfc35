//! SMEMBERS and SSCAN.
//!
//! The members of a large set are listed in slices, and yet are those of one moment, the one at which the command
//! came: a walk in the order of hashes ([`Listing`]) learns of each change in between ([`Touched`]), and can tell by the
//! position of a member's hash whether it has been there. What was added ahead is passed over, what was removed ahead is listed
//! when that becomes known. When the whole set is replaced or goes away, the listing begins again; nothing of it has been
//! answered yet.

use super::touched::{Edits, Touched, RESTARTS_MAX};
use crate::change::UnixMs;
use crate::commands::collection_scan::{self, ScanOptions};
use crate::commands::long_reply::{self, Elements, Gather};
use crate::error::Error;
use crate::exec::{Continuation, Exec, Flow, Outcome, DONE};
use crate::keyspace::View;
use crate::limits::SEGMENT_KEYS;
use crate::reply::Reply;
use crate::shard::Shard;
use crate::value::item::Item;
use crate::value::set::Set;
use crate::value::Collection;
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

/// Members up to which a set is answered at once.
const AT_ONCE_MAX: usize = long_reply::FIRST_ELEMENTS;

/// SMEMBERS key
pub(super) fn smembers(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(set) = keys.read::<Set>(exec.view, &key)? else {
        reply.set(0);
        return DONE;
    };
    if set.len() <= AT_ONCE_MAX {
        answer(&set, reply);
        return DONE;
    }
    long_reply::answer(Members(Listing::new(exec.view, exec.argv[1])), exec, reply)
}

/// SSCAN key cursor [MATCH pattern] [COUNT count]
pub(super) fn sscan(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let cursor = collection_scan::cursor(exec.argv[2])?;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(set) = keys.read::<Set>(exec.view, &key)? else {
        return collection_scan::empty_page(reply);
    };
    let options = ScanOptions::parse(&exec.argv[3..], false)?;
    let mut elements = Elements::default();
    let next = match collection_scan::position(cursor) {
        None => 0,
        Some(position) => set.scan(position, options.count, &mut |member| {
            if options.wants(member) {
                elements.push(member);
            }
        }),
    };
    collection_scan::page(reply, next, elements.len());
    elements.write(usize::MAX, reply);
    DONE
}

/// Answers with all members as a set.
fn answer(set: &Set, reply: &mut dyn Reply) {
    reply.set(set.len());
    set.for_each(&mut |member| {
        member.reply(reply);
        true
    });
}

/// Answers with all members of a set that is nobody's any more.
pub(super) fn answer_owned(set: Set, reply: &mut dyn Reply) -> Outcome {
    if set.len() <= AT_ONCE_MAX {
        answer(&set, reply);
        set.into_object().discard();
        return DONE;
    }
    Ok(Flow::Later(Box::new(Owned { set: Some(set), cursor: 0, announced: false })))
}

/// The answer with the members of a set that nobody else can reach.
struct Owned {
    /// None after it was dropped.
    set: Option<Set>,
    cursor: u64,
    /// The head of the reply is written.
    announced: bool,
}

impl Continuation for Owned {
    fn resume(&mut self, _: &mut Shard, _: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        let Some(set) = &self.set else { return true };
        if !self.announced {
            reply.set(set.len());
            self.announced = true;
        }
        let count = budget.max(1).saturating_mul(SEGMENT_KEYS);
        self.cursor = set.scan(self.cursor, count, &mut |member| member.reply(reply));
        self.cursor == 0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(set) = self.set.take() {
            set.into_object().discard();
        }
    }
}

/// SMEMBERS of a large set.
struct Members(Listing);

impl Gather for Members {
    fn gather(
        &mut self,
        shard: &mut Shard,
        now: UnixMs,
        count: usize,
        elements: &mut Elements,
    ) -> Result<bool, Error> {
        self.0.advance(shard, now, count, elements)
    }

    fn head(&self, elements: &Elements, reply: &mut dyn Reply) {
        reply.set(elements.len());
    }
}

/// A walk over the members of a set as they were when it began.
pub(super) struct Listing {
    view: View,
    key: Vec<u8>,
    /// None before the first step.
    touched: Option<Rc<RefCell<Touched>>>,
    /// Where the walk goes on.
    cursor: u64,
    /// Members ahead that are settled: added since, or removed since and listed.
    passed: HashSet<Vec<u8>>,
    restarts: u32,
}

impl Listing {
    /// A walk over the set at a key.
    pub(super) fn new(view: View, key: &[u8]) -> Listing {
        Listing { view, key: key.to_vec(), touched: None, cursor: 0, passed: HashSet::new(), restarts: 0 }
    }

    /// Walks on over about `count` members; returns whether the list is complete.
    ///
    /// # Errors
    /// By now the key holds another type.
    pub(super) fn advance(
        &mut self,
        shard: &mut Shard,
        now: UnixMs,
        mut count: usize,
        elements: &mut Elements,
    ) -> Result<bool, Error> {
        let keys = &mut shard.keys;
        let key = keys.key(&self.key);
        let mut edits = Vec::new();
        match &self.touched {
            None => self.touched = Some(Touched::observe(&mut keys.changes, self.view.db, &[&self.key])),
            Some(touched) => match touched.borrow_mut().take() {
                Edits::Members(members) => edits = members,
                Edits::Replaced => {
                    self.restarts += 1;
                    self.cursor = 0;
                    self.passed.clear();
                    *elements = Elements::default();
                    self.view.now = now;
                    keys.read::<Set>(self.view, &key)?;
                }
            },
        }
        if self.restarts >= RESTARTS_MAX {
            count = usize::MAX;
        }
        let Some(set) = keys.held::<Set>(self.view.db, &key) else { return Ok(true) };
        for (added, member) in edits {
            if set.position(&member) >= self.cursor && !self.passed.contains(&member) {
                if !added {
                    elements.push(Item::of(&member));
                }
                self.passed.insert(member);
            }
        }
        let (start, passed) = (self.cursor, &self.passed);
        self.cursor = set.scan(start, count, &mut |member| {
            let settled = |text: &[u8]| {
                // The page can begin with members of the last one, when segments have merged.
                (start > 0 && set.position(text) < start) || (!passed.is_empty() && passed.contains(text))
            };
            if !member.with_bytes(settled) {
                elements.push(member);
            }
        });
        Ok(self.cursor == 0)
    }
}

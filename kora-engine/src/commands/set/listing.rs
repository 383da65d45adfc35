//! SMEMBERS and SSCAN.
//!
//! The members of a large set are listed in slices, and yet are those of one moment, the one at which the command
//! came: a walk in the order of hashes ([`Listing`]) learns of each change in between ([`Touched`]) and can tell by the
//! position of a member's hash whether it has been there. What was added ahead is passed over, what was removed ahead is listed when that becomes
//! known. When the whole set is replaced or goes away, the listing begins again; nothing of it has been answered yet.

use super::list::{ListPosition, MemberList};
use super::touched::{Edits, Touched, RESTARTS_MAX};
use crate::change::UnixMs;
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
const AT_ONCE_MAX: usize = 4096;

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
    Ok(Flow::Later(Box::new(Listing {
        view: exec.view,
        key: exec.argv[1].to_vec(),
        touched: Touched::observe(&mut keys.changes, exec.view.db, &exec.argv[1..2]),
        cursor: 0,
        passed: HashSet::new(),
        list: MemberList::default(),
        restarts: 0,
        answering: None,
    })))
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
    Ok(Flow::Later(Box::new(Owned { set: Some(set), cursor: 0, begun: false })))
}

/// The answer with the members of a set that nobody else can reach.
struct Owned {
    /// None after the end.
    set: Option<Set>,
    cursor: u64,
    begun: bool,
}

impl Continuation for Owned {
    fn resume(&mut self, _: &mut Shard, _: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        let Some(set) = &self.set else { return true };
        if !self.begun {
            reply.set(set.len());
            self.begun = true;
        }
        self.cursor = set
            .scan(self.cursor, budget.max(1).saturating_mul(SEGMENT_KEYS), &mut |member| member.reply(reply));
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

/// The members of a set as they were when the command came.
struct Listing {
    view: View,
    key: Vec<u8>,
    touched: Rc<RefCell<Touched>>,
    /// Where the walk goes on.
    cursor: u64,
    /// Members ahead that are settled: added since, or removed since and listed.
    passed: HashSet<Vec<u8>>,
    list: MemberList,
    restarts: u32,
    /// The list is complete, and it is answered up to here.
    answering: Option<ListPosition>,
}

impl Listing {
    /// Walks on over about `count` members; returns whether the list is complete.
    fn advance(&mut self, shard: &mut Shard, count: usize) -> Result<bool, Error> {
        let keys = &mut shard.keys;
        let key = keys.key(&self.key);
        let mut edits = Vec::new();
        match self.touched.borrow_mut().take() {
            Edits::Members(members) => edits = members,
            Edits::Replaced => {
                self.restarts += 1;
                (self.cursor, self.passed, self.list) = Default::default();
                keys.read::<Set>(self.view, &key)?;
            }
        }
        let Some(set) = keys.held::<Set>(self.view.db, &key) else { return Ok(true) };
        for (added, member) in edits {
            if set.position(&member) >= self.cursor && !self.passed.contains(&member) {
                if !added {
                    self.list.push(Item::of(&member));
                }
                self.passed.insert(member);
            }
        }
        let count = if self.restarts < RESTARTS_MAX { count } else { usize::MAX };
        let Listing { cursor, passed, list, .. } = self;
        let start = *cursor;
        *cursor = set.scan(start, count, &mut |member| {
            let settled = |text: &[u8]| {
                // The page can begin with members of the last one, when segments have merged.
                (start > 0 && set.position(text) < start) || (!passed.is_empty() && passed.contains(text))
            };
            if !member.with_bytes(settled) {
                list.push(member);
            }
        });
        Ok(self.cursor == 0)
    }
}

impl Continuation for Listing {
    fn resume(&mut self, shard: &mut Shard, now: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        let count = budget.max(1).saturating_mul(SEGMENT_KEYS);
        self.view.now = now;
        let mut position = match self.answering {
            Some(position) => position,
            None => {
                match self.advance(shard, count) {
                    Ok(false) => return false,
                    Ok(true) => {}
                    Err(error) => {
                        reply.error(error.text());
                        return true;
                    }
                }
                reply.set(self.list.len());
                ListPosition::default()
            }
        };
        let more = self.list.visit(&mut position, count, &mut |member| member.reply(reply));
        self.answering = Some(position);
        !more
    }
}

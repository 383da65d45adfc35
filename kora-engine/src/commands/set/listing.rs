//! SMEMBERS and SSCAN.
//!
//! The members of a large set are listed in slices, and yet are those of one moment, the one at which the command
//! came: a walk in the order of hashes ([`Listing`]) learns of each change in between ([`Watched`]), and can tell by the
//! position of a member's hash whether it has been there. What was added ahead is passed over, what was removed ahead is listed
//! when that becomes known. When the whole set is replaced or goes away, the listing begins again; nothing of it has been
//! answered yet.

use crate::change::{SetForm, UnixMs};
use crate::commands::collection_scan::{Paged, ScanOptions};
use crate::commands::long_reply::{self, Elements, Gather};
use crate::commands::watched::{Edits, Watched, RESTARTS_MAX};
use crate::error::Error;
use crate::exec::{Continuation, Exec, Flow, Outcome, DONE};
use crate::keyspace::{Keyspace, View};
use crate::limits::SEGMENT_KEYS;
use crate::random::Random;
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
    let listing = Listing::new(keys, exec.view, exec.argv[1]);
    long_reply::answer(Members { listing, restarts: 0 }, exec, reply)
}

impl Paged for Set {
    const HAS_VALUES: bool = false;

    fn is_one_page(&self) -> bool {
        self.form() != SetForm::Table
    }

    fn page(
        &self,
        position: u64,
        count: usize,
        _: UnixMs,
        options: &ScanOptions,
        elements: &mut Elements,
    ) -> u64 {
        self.scan(position, count, &mut |member| {
            if options.wants(member) {
                elements.push(member);
            }
        })
    }
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
struct Members {
    listing: Listing,
    restarts: u32,
}

impl Gather for Members {
    fn gather(
        &mut self,
        shard: &mut Shard,
        now: UnixMs,
        count: usize,
        elements: &mut Elements,
    ) -> Result<bool, Error> {
        loop {
            let count = if self.restarts < RESTARTS_MAX { count } else { usize::MAX };
            match self.listing.advance(shard, count, &mut |member, _| elements.push(member)) {
                Progress::More => return Ok(false),
                Progress::Complete => return Ok(true),
                Progress::Replaced => {
                    self.restarts += 1;
                    *elements = Elements::default();
                    self.listing = self.listing.again(shard, now)?;
                }
            }
        }
    }

    fn head(&self, elements: &Elements, reply: &mut dyn Reply) {
        reply.set(elements.len());
    }
}

/// A walk over the members of a set as they were when it began.
pub(super) struct Listing {
    view: View,
    key: Vec<u8>,
    watched: Rc<RefCell<Watched>>,
    /// Where the walk goes on.
    cursor: u64,
    /// Members ahead that are settled: added since, or removed since and listed.
    passed: HashSet<Vec<u8>>,
}

/// How far a listing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Complete,
    /// The key got another value, or none: what has been listed is worth nothing.
    Replaced,
}

impl Listing {
    /// A walk over the set at a key, which has been asked for.
    pub(super) fn new(keys: &mut Keyspace, view: View, key: &[u8]) -> Listing {
        let watched = Watched::observe(&mut keys.changes, view.db, &[key]);
        Listing { view, key: key.to_vec(), watched, cursor: 0, passed: HashSet::new() }
    }

    /// A walk over the set that is at the key now.
    ///
    /// # Errors
    /// The key holds another type.
    fn again(&self, shard: &mut Shard, now: UnixMs) -> Result<Listing, Error> {
        let view = View { now, ..self.view };
        let key = shard.keys.key(&self.key);
        shard.keys.read::<Set>(view, &key)?;
        Ok(Listing::new(&mut shard.keys, view, &self.key))
    }

    /// Walks on over about `count` members, calling with each.
    pub(super) fn advance(
        &mut self,
        shard: &mut Shard,
        count: usize,
        visit: &mut dyn FnMut(Item<'_>, &mut Random),
    ) -> Progress {
        let (keys, random) = shard.keys_and_random();
        let Edits::Members(edits) = self.watched.borrow_mut().take() else { return Progress::Replaced };
        let key = keys.key(&self.key);
        let Some(set) = keys.held::<Set>(self.view.db, &key) else { return Progress::Complete };
        for (added, member) in edits {
            if set.position(&member) >= self.cursor && !self.passed.contains(&member) {
                if !added {
                    visit(Item::of(&member), random);
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
                visit(member, random);
            }
        });
        if self.cursor == 0 {
            Progress::Complete
        } else {
            Progress::More
        }
    }
}

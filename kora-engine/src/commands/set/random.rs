//! SPOP and SRANDMEMBER.
//!
//! Many members are chosen in slices, and yet from the members of one moment. A removal between two slices could concern a member that
//! is chosen already, so after it the choice begins again; an addition does not matter: what is chosen could have been chosen at
//! the end too. After [`RESTARTS_MAX`] beginnings it goes through without a pause.

mod pop;

pub(super) use pop::spop;

use super::listing::{Listing, Progress};
use crate::args::integer;
use crate::change::UnixMs;
use crate::commands::long_reply::{self, Elements, Gather};
use crate::commands::watched::{Edits, Watched, RESTARTS_MAX};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::keyspace::{Keyspace, View};
use crate::limits::RANDOM_ELEMENTS_MAX;
use crate::random::Random;
use crate::reply::Reply;
use crate::shard::Shard;
use crate::value::item::Item;
use crate::value::set::{Choice, Set};
use crate::value::Collection;
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

/// Members that are chosen at once.
const AT_ONCE_MAX: usize = long_reply::FIRST_ELEMENTS;

/// The same where one can come again and again: of more it is known how long the reply becomes before it begins.
const REPEATED_AT_ONCE_MAX: usize = 64;

const NOT_A_LONG: Error =
    Error::new("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");
const TOO_MANY: Error = Error::new("ERR value is out of range");

/// SRANDMEMBER key [count]
pub(super) fn srandmember(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let count = match exec.argv[2..] {
        [] => None,
        [count] => Some(integer(count)?),
        _ => return Err(Error::SYNTAX),
    };
    if count == Some(i64::MIN) {
        return Err(NOT_A_LONG);
    }
    let (keys, random) = exec.shard.keys_and_random();
    let key = keys.key(exec.argv[1]);
    let set = keys.read::<Set>(exec.view, &key)?;
    let Some(count) = count else {
        match set {
            None => reply.null(),
            Some(set) => set.with_random(random, |member| member.reply(reply)),
        }
        return DONE;
    };
    let Some(set) = set.filter(|_| count != 0) else {
        reply.array(0);
        return DONE;
    };
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count < 0 && wanted > RANDOM_ELEMENTS_MAX {
        return Err(TOO_MANY);
    }
    if wanted.min(set.len()) <= AT_ONCE_MAX && (count > 0 || wanted <= REPEATED_AT_ONCE_MAX) {
        let wanted = if count < 0 { wanted } else { wanted.min(set.len()) };
        reply.array(wanted);
        if count > 0 && is_many(wanted, set.len()) {
            let mut choice = Choice::new(set.len(), wanted);
            set.for_each(&mut |member| {
                if choice.takes(random) {
                    member.reply(reply);
                }
                true
            });
        } else {
            let mut tries = Tries { distinct: count > 0, seen: HashSet::new() };
            tries.choose(&set, wanted, random, &mut |member| member.reply(reply));
        }
        return DONE;
    }
    let state = State::begin(keys, exec.view, exec.argv[1], wanted, count > 0)?;
    let key = exec.argv[1].to_vec();
    let choosing = Choosing { view: exec.view, key, wanted, distinct: count > 0, state, restarts: 0 };
    long_reply::answer(choosing, exec, reply)
}

/// Whether so many distinct members are better found by a walk over all than by trying: the work is in proportion to
/// their number either way.
fn is_many(wanted: usize, len: usize) -> bool {
    wanted * 3 > len
}

/// Choosing members by chance, one after the other.
struct Tries {
    distinct: bool,
    /// What has been chosen, if it must be distinct.
    seen: HashSet<Vec<u8>>,
}

impl Tries {
    /// Chooses so many members more, calling with each.
    fn choose(&mut self, set: &Set, count: usize, random: &mut Random, f: &mut dyn FnMut(Item<'_>)) {
        let mut left = count;
        while left > 0 {
            set.with_random(random, |member| {
                if !self.distinct || self.seen.insert(member.to_vec()) {
                    f(member);
                    left -= 1;
                }
            });
        }
    }
}

/// A choice of many members.
struct Choosing {
    view: View,
    key: Vec<u8>,
    wanted: usize,
    distinct: bool,
    state: State,
    restarts: u32,
}

enum State {
    /// There is no such key.
    Nothing,
    /// A walk over all members, of which some are taken.
    Walk(Listing, Choice),
    /// Tries, of which so many are left.
    Tries(Rc<RefCell<Watched>>, Tries, usize),
}

impl State {
    fn begin(
        keys: &mut Keyspace,
        view: View,
        name: &[u8],
        wanted: usize,
        distinct: bool,
    ) -> Result<State, Error> {
        let key = keys.key(name);
        let Some(len) = keys.look::<Set>(view, &key)?.map(|set| set.len()) else { return Ok(State::Nothing) };
        Ok(if distinct && is_many(wanted.min(len), len) {
            State::Walk(Listing::new(keys, view, name), Choice::new(len, wanted.min(len)))
        } else {
            let watched = Watched::observe(&mut keys.changes, view.db, &[name]);
            State::Tries(watched, Tries { distinct, seen: HashSet::new() }, wanted)
        })
    }
}

impl Choosing {
    /// Chooses about `count` members more; none when it has to begin again.
    fn advance(&mut self, shard: &mut Shard, count: usize, elements: &mut Elements) -> Option<bool> {
        match &mut self.state {
            State::Nothing => Some(true),
            State::Walk(listing, choice) => {
                let progress = listing.advance(shard, count, &mut |member, random| {
                    if choice.takes(random) {
                        elements.push(member);
                    }
                });
                match progress {
                    Progress::Replaced => None,
                    progress => Some(progress == Progress::Complete),
                }
            }
            State::Tries(watched, tries, left) => {
                match watched.borrow_mut().take() {
                    Edits::Members(members) if members.iter().all(|(added, _)| *added) => {}
                    _ => return None,
                }
                let len_max = if tries.distinct { usize::MAX } else { shard.config.max_string_len };
                let (keys, random) = shard.keys_and_random();
                let key = keys.key(&self.key);
                let set = keys.held::<Set>(self.view.db, &key)?;
                let count = count.min(*left);
                tries.choose(&set, count, random, &mut |member| {
                    // A count of a few bytes does not ask for more than a command may.
                    if elements.bytes() <= len_max {
                        elements.push(member);
                    }
                });
                *left -= count;
                Some(*left == 0)
            }
        }
    }
}

impl Gather for Choosing {
    fn gather(
        &mut self,
        shard: &mut Shard,
        now: UnixMs,
        count: usize,
        elements: &mut Elements,
    ) -> Result<bool, Error> {
        loop {
            let count = if self.restarts < RESTARTS_MAX { count } else { usize::MAX };
            if let Some(complete) = self.advance(shard, count, elements) {
                if !self.distinct && elements.bytes() > shard.config.max_string_len {
                    return Err(TOO_MANY);
                }
                return Ok(complete);
            }
            self.restarts += 1;
            *elements = Elements::default();
            self.view.now = now;
            self.state = State::begin(&mut shard.keys, self.view, &self.key, self.wanted, self.distinct)?;
        }
    }

    fn head(&self, elements: &Elements, reply: &mut dyn Reply) {
        reply.array(elements.len());
    }
}

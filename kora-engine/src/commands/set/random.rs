//! SPOP and SRANDMEMBER.

use super::listing;
use super::rules;
use crate::args::integer;
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::limits::RANDOM_ELEMENTS_MAX;
use crate::random::Random;
use crate::reply::Reply;
use crate::value::item::Item;
use crate::value::set::{Choice, Set};
use crate::value::Collection;
use std::collections::HashSet;

const NOT_POSITIVE: Error = Error::new("ERR value is out of range, must be positive");
const NOT_A_LONG: Error =
    Error::new("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");
const TOO_MANY: Error = Error::new("ERR value is out of range");

/// SPOP key [count]
pub(super) fn spop(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    match exec.argc() {
        2 => spop_one(exec, reply),
        3 => spop_count(exec, reply),
        _ => Err(Error::SYNTAX),
    }
}

fn spop_one(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
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

fn spop_count(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let count = integer(exec.argv[2]).ok().and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or(NOT_POSITIVE)?;
    let rules = rules(exec);
    let (keys, random) = exec.shard.keys_and_random();
    let key = keys.key(exec.argv[1]);
    let Some(mut set) = keys.edit::<Set>(exec.view, &key)? else {
        reply.set(0);
        return DONE;
    };
    if count == 0 {
        reply.set(0);
    } else if count < set.len() {
        reply.set(count);
        set.draw(count, random, &rules, &mut |member| member.reply(reply));
    } else {
        let all = set.take_all();
        drop(set);
        return listing::answer_owned(all, reply);
    }
    DONE
}

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
    if count < 0 {
        if wanted > RANDOM_ELEMENTS_MAX {
            return Err(TOO_MANY);
        }
        reply.array(wanted);
        for _ in 0..wanted {
            set.with_random(random, |member| member.reply(reply));
        }
    } else {
        distinct(&set, wanted.min(set.len()), random, reply);
    }
    DONE
}

/// Answers with distinct members. Few of many are found by trying, more by a walk over all: either way the work is
/// in proportion to their number.
fn distinct(set: &Set, wanted: usize, random: &mut Random, reply: &mut dyn Reply) {
    reply.array(wanted);
    if wanted * 3 <= set.len() {
        let mut seen: HashSet<Vec<u8>> = HashSet::with_capacity(wanted);
        while seen.len() < wanted {
            let member = set.with_random(random, |member| member.to_vec());
            if !seen.contains(&member) {
                Item::of(&member).reply(reply);
                seen.insert(member);
            }
        }
    } else {
        let mut choice = Choice::new(set.len(), wanted);
        set.for_each(&mut |member| {
            if choice.takes(random) {
                member.reply(reply);
            }
            true
        });
    }
}

//! HRANDFIELD: fields chosen at random, each with the same chance.
//!
//! | asked for | packed | table |
//! |---|---|---|
//! | one | a number below the count | [`Table::random`](crate::table::Table::random) |
//! | `-count`: any, also the same again | so many such numbers | so many such calls |
//! | `count` of fewer | selection sampling: each pair is taken with the chance (still wanted) / (still to come) | the same walk when it is more than a third of all, else draws until there are so many different ones |
//! | `count` of as many or less | all | all |
//!
//! So it costs about as much as it answers. Selection sampling is algorithm S of D. Knuth, "The Art of Computer Programming" 3.4.2.
//! Long answers are gathered in slices.

use super::walk::push_value;
use crate::args::{integer, is};
use crate::change::UnixMs;
use crate::commands::long_reply::{self, Elements, Gather};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::hash::KeyHasher;
use crate::keyspace::View;
use crate::limits::RANDOM_ELEMENTS_MAX;
use crate::random::Random;
use crate::reply::{Protocol, Reply};
use crate::shard::Shard;
use crate::value::element::Element;
use crate::value::hash::{Found, Hash};
use crate::value::Collection;
use std::collections::HashSet;

const OUT_OF_RANGE: Error = Error::new("ERR value is out of range");
const OUT_OF_LONG: Error =
    Error::new("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");

/// Segments of a large hash in which expired fields are looked for in a turn, before anything is chosen.
const SEGMENTS_PER_TURN: usize = 4;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// A field, not in an array.
    One,
    /// So many different ones.
    Distinct(usize),
    /// So many, whichever.
    Any(usize),
}

/// HRANDFIELD key [count [WITHVALUES]]
pub(super) fn hrandfield(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let (wanted, with_values) = parse(&exec.argv[2..])?;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let exists = keys.read::<Hash>(exec.view, &key)?.is_some();
    match wanted {
        Wanted::One if !exists => {
            reply.null();
            return DONE;
        }
        Wanted::Distinct(0) | Wanted::Any(0) => {
            reply.array(0);
            return DONE;
        }
        _ if !exists => {
            reply.array(0);
            return DONE;
        }
        Wanted::Any(count) if count > RANDOM_ELEMENTS_MAX => return Err(OUT_OF_RANGE),
        _ => {}
    }
    let choice = Choice {
        db: exec.view.db,
        key: exec.argv[1].to_vec(),
        wanted,
        with_values,
        nested: with_values && reply.protocol() == Protocol::Resp3,
        plan: Plan::Settle,
    };
    long_reply::answer(choice, exec, reply)
}

fn parse(words: &[&[u8]]) -> Result<(Wanted, bool), Error> {
    let [count, rest @ ..] = words else { return Ok((Wanted::One, false)) };
    let count = integer(count)?;
    if count == i64::MIN {
        return Err(OUT_OF_LONG);
    }
    let with_values = match rest {
        [] => false,
        [word] if is(word, "withvalues") => true,
        _ => return Err(Error::SYNTAX),
    };
    if with_values && !(-i64::MAX / 2..=i64::MAX / 2).contains(&count) {
        return Err(OUT_OF_RANGE);
    }
    let number = count.unsigned_abs() as usize;
    Ok((if count < 0 { Wanted::Any(number) } else { Wanted::Distinct(number) }, with_values))
}

/// How the fields are chosen.
enum Plan {
    /// Not known yet: what is past its time is reclaimed first, so that it is known how many there are.
    Settle,
    /// So many draws, whichever fields they meet.
    Draw { left: usize },
    /// Draws until there are so many different fields. What is remembered of those chosen are hashes: few bytes, which are gone
    /// at once. Two fields with the same one would count as one; among a billion fields the chance that any two have it is 3 percent.
    DrawDistinct { left: usize, hasher: KeyHasher, chosen: HashSet<u64> },
    /// A walk over all fields, of which `wanted` of `left` are taken.
    Sample { position: u64, wanted: usize, left: usize },
}

/// Fields that are being chosen.
struct Choice {
    db: u16,
    key: Vec<u8>,
    wanted: Wanted,
    with_values: bool,
    /// Each field is in an array with its value.
    nested: bool,
    plan: Plan,
}

impl Choice {
    fn plan(&self, len: usize, is_packed: bool, seed: u64) -> Plan {
        match self.wanted {
            Wanted::One => Plan::Draw { left: 1 },
            Wanted::Any(count) => Plan::Draw { left: count },
            Wanted::Distinct(count) if is_packed || count >= len / 3 => {
                Plan::Sample { position: 0, wanted: count.min(len), left: len }
            }
            Wanted::Distinct(count) => Plan::DrawDistinct {
                left: count,
                hasher: KeyHasher::new(seed),
                // Fewer than there are fields. Made in one piece: growing would move all of it.
                chosen: HashSet::with_capacity(count),
            },
        }
    }
}

fn push(field: Element<'_>, found: Found<'_>, with_values: bool, nested: bool, elements: &mut Elements) {
    if nested {
        elements.push_array(2);
    }
    field.with_item(|field| elements.push(field));
    if with_values {
        push_value(found.value, elements);
    }
}

impl Gather for Choice {
    fn gather(
        &mut self,
        shard: &mut Shard,
        now: UnixMs,
        count: usize,
        elements: &mut Elements,
    ) -> Result<bool, Error> {
        // A sequence of its own: the shard's cannot be asked while a hash of its is borrowed.
        let mut random = Random::new(shard.random());
        let reply_len_max = shard.config.max_string_len;
        let view = View { db: self.db, now, touch: false };
        let key = shard.keys.key(&self.key);
        if let Plan::Settle = self.plan {
            let Ok(Some(mut hash)) = shard.keys.edit::<Hash>(view, &key) else { return Ok(true) };
            if !hash.reclaim(now, SEGMENTS_PER_TURN) {
                return Ok(false);
            }
            self.plan = self.plan(hash.len(), hash.is_packed(), random.number());
        }
        let Ok(Some(hash)) = shard.keys.look::<Hash>(view, &key) else { return Ok(true) };
        let (with_values, nested) = (self.with_values, self.nested);
        match &mut self.plan {
            Plan::Settle => unreachable!("there is a plan by now"),
            Plan::Sample { position, wanted, left } => {
                *position = hash.scan(*position, count, now, &mut |field, found| {
                    // Fields that came during the walk have the chances of the last ones.
                    if *wanted > 0 && random.below((*left).max(1) as u64) < *wanted as u64 {
                        push(field, found, with_values, nested, elements);
                        *wanted -= 1;
                    }
                    *left = left.saturating_sub(1);
                });
                Ok(*position == 0 || *wanted == 0)
            }
            Plan::Draw { left } => {
                let mut fruitless = 0;
                // A walk over a packed hash for each draw would cost more than one walk for all.
                let packed = hash.packed_pairs(now).filter(|_| *left > 1);
                for _ in 0..count.min(*left) {
                    let drawn = match &packed {
                        Some(pairs) => pairs.get(random.below(pairs.len().max(1) as u64) as usize).copied(),
                        None => hash.random(now, &mut random),
                    };
                    match drawn {
                        Some((field, found)) if !found.is_due(now) => {
                            push(field, found, with_values, nested, elements);
                            *left -= 1;
                        }
                        Some(_) => fruitless += 1,
                        None => return Ok(true),
                    }
                }
                if elements.bytes() > reply_len_max {
                    return Err(OUT_OF_RANGE);
                }
                if fruitless > count / 2 {
                    // Much has run out of time in the middle of it.
                    if self.wanted != Wanted::One {
                        self.wanted = Wanted::Any(*left);
                    }
                    self.plan = Plan::Settle;
                    return Ok(false);
                }
                Ok(*left == 0)
            }
            Plan::DrawDistinct { left, hasher, chosen } => {
                // At most a third of the fields is wanted: two draws of three are new ones, unless many fields have gone.
                for _ in 0..count {
                    if *left == 0 {
                        break;
                    }
                    let Some((field, found)) = hash.random(now, &mut random) else { return Ok(true) };
                    if found.is_due(now) || !chosen.insert(field.with_bytes(|text| hasher.hash(text))) {
                        continue;
                    }
                    push(field, found, with_values, nested, elements);
                    *left -= 1;
                }
                Ok(*left == 0 || hash.len() <= chosen.len())
            }
        }
    }

    fn head(&self, elements: &Elements, reply: &mut dyn Reply) {
        let len = elements.len();
        match self.wanted {
            Wanted::One if len == 0 => reply.null(),
            Wanted::One => {}
            _ if self.nested => reply.array(len / 2),
            _ => reply.array(len),
        }
    }
}

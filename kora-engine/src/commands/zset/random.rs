//! ZRANDMEMBER: members chosen at random, each with the same chance.
//!
//! Members are chosen by rank, which costs O(log n) each. `-count` of them, also the same again, are so many draws; `count` of fewer
//! than a third of all are draws until there are so many different ones; more are a walk that takes each member with
//! the chance (still wanted) / (still to come): algorithm S of D. Knuth, "The Art of Computer Programming" 3.4.2.
//! Long answers are gathered in slices.

use crate::args::{integer, is};
use crate::change::UnixMs;
use crate::commands::long_reply::{self, Elements, Gather};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::keyspace::View;
use crate::limits::RANDOM_ELEMENTS_MAX;
use crate::random::Random;
use crate::reply::{Protocol, Reply};
use crate::shard::Shard;
use crate::value::item::Item;
use crate::value::zset::Zset;
use crate::value::Collection;
use std::collections::HashSet;

const OUT_OF_RANGE: Error = Error::new("ERR value is out of range");
const OUT_OF_LONG: Error =
    Error::new("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");

/// ZRANDMEMBER key [count [WITHSCORES]]
pub(super) fn zrandmember(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let (wanted, with_scores) = parse(&exec.argv[2..])?;
    let number = exec.shard.random();
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let zset = keys.read::<Zset>(exec.view, &key)?;
    match (wanted, zset) {
        (Wanted::One, None) => reply.null(),
        (Wanted::One, Some(zset)) => {
            let rank = Random::new(number).below(zset.len() as u64) as usize;
            zset.with_entry(rank, |member, _| member.reply(reply));
        }
        (_, None) | (Wanted::Any(0) | Wanted::Distinct(0), _) => reply.array(0),
        (Wanted::Any(count), Some(_)) if count > RANDOM_ELEMENTS_MAX => return Err(OUT_OF_RANGE),
        (wanted, Some(zset)) => {
            let choice = Choice {
                db: exec.view.db,
                key: exec.argv[1].to_vec(),
                with_scores,
                nested: with_scores && reply.protocol() == Protocol::Resp3,
                plan: plan(wanted, zset.len()),
            };
            return long_reply::answer(choice, exec, reply);
        }
    }
    DONE
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// A member, not in an array.
    One,
    /// So many different ones.
    Distinct(usize),
    /// So many, whichever.
    Any(usize),
}

fn parse(words: &[&[u8]]) -> Result<(Wanted, bool), Error> {
    let [count, rest @ ..] = words else { return Ok((Wanted::One, false)) };
    let count = integer(count)?;
    if count == i64::MIN {
        return Err(OUT_OF_LONG);
    }
    let with_scores = match rest {
        [] => false,
        [word] if is(word, "withscores") => true,
        _ => return Err(Error::SYNTAX),
    };
    if with_scores && !(-i64::MAX / 2..=i64::MAX / 2).contains(&count) {
        return Err(OUT_OF_RANGE);
    }
    let number = count.unsigned_abs() as usize;
    Ok((if count < 0 { Wanted::Any(number) } else { Wanted::Distinct(number) }, with_scores))
}

/// How the members are chosen.
enum Plan {
    /// So many draws, whichever members they meet.
    Draw { left: usize },
    /// Draws until there are so many different members.
    DrawDistinct { left: usize, chosen: HashSet<Box<[u8]>> },
    /// A walk from a rank on over `left` members, of which `wanted` are taken.
    Sample { rank: usize, wanted: usize, left: usize },
}

fn plan(wanted: Wanted, len: usize) -> Plan {
    match wanted {
        Wanted::One => Plan::Draw { left: 1 },
        Wanted::Any(count) => Plan::Draw { left: count },
        Wanted::Distinct(count) if count >= len / 3 => {
            Plan::Sample { rank: 0, wanted: count.min(len), left: len }
        }
        Wanted::Distinct(count) => Plan::DrawDistinct { left: count, chosen: HashSet::new() },
    }
}

/// Members that are being chosen.
struct Choice {
    db: u16,
    key: Vec<u8>,
    with_scores: bool,
    /// Each member is in an array with its score.
    nested: bool,
    plan: Plan,
}

impl Gather for Choice {
    fn gather(
        &mut self,
        shard: &mut Shard,
        now: UnixMs,
        count: usize,
        elements: &mut Elements,
    ) -> Result<bool, Error> {
        // A sequence of its own: the shard's cannot be asked while a set of its is borrowed.
        let mut random = Random::new(shard.random());
        let reply_len_max = shard.config.max_string_len;
        let view = View { db: self.db, now, touch: false };
        let key = shard.keys.key(&self.key);
        let Ok(Some(zset)) = shard.keys.look::<Zset>(view, &key) else { return Ok(true) };
        let (with_scores, nested) = (self.with_scores, self.nested);
        let mut push = |member: Item<'_>, score: f64| {
            if nested {
                elements.push_array(2);
            }
            elements.push(member);
            if with_scores {
                elements.push_double(score);
            }
            elements.bytes()
        };
        match &mut self.plan {
            Plan::Draw { left } => {
                // A walk over a packed set for each draw would cost more than one walk for all.
                let packed: Vec<(Item<'_>, f64)> = match zset.is_large() {
                    true => Vec::new(),
                    false => zset.ascending(0).collect(),
                };
                for _ in 0..count.min(*left) {
                    let rank = random.below(zset.len() as u64) as usize;
                    let bytes = match packed.get(rank) {
                        Some((member, score)) => push(*member, *score),
                        None => zset.with_entry(rank, &mut push),
                    };
                    if bytes > reply_len_max {
                        return Err(OUT_OF_RANGE);
                    }
                    *left -= 1;
                }
                Ok(*left == 0)
            }
            Plan::DrawDistinct { left, chosen } => {
                // At most a third of the members is wanted: two draws of three are new, unless many members have gone.
                for _ in 0..count.min(*left) {
                    let rank = random.below(zset.len() as u64) as usize;
                    zset.with_entry(rank, |member, score| {
                        if chosen.insert(member.to_vec().into()) {
                            push(member, score);
                            *left -= 1;
                        }
                    });
                }
                Ok(*left == 0 || chosen.len() >= zset.len())
            }
            Plan::Sample { rank, wanted, left } => {
                for (member, score) in zset.ascending(*rank).take(count) {
                    // Members that came during the walk have the chances of the last ones.
                    if random.below((*left).max(1) as u64) < *wanted as u64 {
                        push(member, score);
                        *wanted -= 1;
                    }
                    *left = left.saturating_sub(1);
                    *rank += 1;
                }
                Ok(*wanted == 0 || *rank >= zset.len())
            }
        }
    }

    fn head(&self, elements: &Elements, reply: &mut dyn Reply) {
        reply.array(if self.nested { elements.len() / 2 } else { elements.len() });
    }
}

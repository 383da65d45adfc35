//! Removals of so many members that they go on in slices.
//!
//! What is popped or removed as a whole is taken away at once, and only its answer or its memory takes time. What is a part of a set is
//! removed little by little: others see the set meanwhile, with fewer and fewer of those members, and each of their
//! commands sees some whole state of it.

use super::long_range::AT_ONCE_MAX;
use super::remove::{End, PopForm};
use crate::change::UnixMs;
use crate::commands::long_reply::Elements;
use crate::exec::Continuation;
use crate::keyspace::View;
use crate::reply::Reply;
use crate::shard::Shard;
use crate::table::{OwnedEntry, ValueRef};
use crate::value::item::Item;
use crate::value::zset::Zset;
use crate::value::{Collection, Held};
use std::ops::Range;

/// Members removed in the time of a segment of keys.
const REMOVED_PER_SEGMENT: usize = 64;

fn slice(budget: usize) -> usize {
    budget.max(1).saturating_mul(REMOVED_PER_SEGMENT)
}

/// A place in the order.
struct Place {
    score: f64,
    member: Vec<u8>,
}

impl Place {
    fn of(zset: &Zset, rank: usize) -> Place {
        zset.with_entry(rank, |member, score| Place { score, member: member.to_vec() })
    }

    fn rank(&self, zset: &Zset) -> usize {
        zset.rank_of_place(self.score, &self.member)
    }
}

/// Everything between two members goes, these included.
pub(super) struct LongRemoval {
    view: View,
    key: Vec<u8>,
    first: Place,
    last: Place,
    removed: i64,
}

impl LongRemoval {
    /// Removes these ranks, of which there are some.
    pub(super) fn new(view: View, key: &[u8], zset: &Zset, ranks: Range<usize>) -> LongRemoval {
        let (first, last) = (Place::of(zset, ranks.start), Place::of(zset, ranks.end - 1));
        LongRemoval { view, key: key.to_vec(), first, last, removed: 0 }
    }
}

impl Continuation for LongRemoval {
    fn resume(&mut self, shard: &mut Shard, now: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        self.view.now = now;
        let key = shard.keys.key(&self.key);
        // Another type by now: the set is gone.
        if let Ok(Some(mut zset)) = shard.keys.edit::<Zset>(self.view, &key) {
            let start = self.first.rank(&zset);
            let end =
                self.last.rank(&zset) + usize::from(zset.score(&self.last.member) == Some(self.last.score));
            let left = end.saturating_sub(start);
            let count = left.min(slice(budget));
            for _ in 0..count {
                zset.take_at(start, |_, _| ());
            }
            self.removed += count as i64;
            if count < left {
                return false;
            }
        }
        reply.integer(self.removed);
        true
    }
}

/// Many members, but not all, are popped.
pub(super) struct LongPop {
    view: View,
    key: Vec<u8>,
    end: End,
    left: usize,
    form: PopForm,
    /// Members and scores that have been popped and not answered.
    popped: Elements,
    announced: bool,
}

impl LongPop {
    pub(super) fn new(view: View, key: &[u8], end: End, count: usize, form: PopForm) -> LongPop {
        let popped = Elements::default();
        LongPop { view, key: key.to_vec(), end, left: count, form, popped, announced: false }
    }
}

impl Continuation for LongPop {
    fn resume(&mut self, shard: &mut Shard, now: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        self.view.now = now;
        if self.left > 0 {
            let key = shard.keys.key(&self.key);
            let Ok(Some(mut zset)) = shard.keys.edit::<Zset>(self.view, &key) else {
                // Gone meanwhile: what has been popped is answered.
                self.left = 0;
                return false;
            };
            for _ in 0..self.left.min(slice(budget)) {
                if zset.is_empty() {
                    self.left = 0;
                    return false;
                }
                let rank = self.end.rank(zset.len());
                let (popped, form) = (&mut self.popped, self.form);
                zset.take_at(rank, |member, score| {
                    if form != PopForm::Flat {
                        popped.push_array(2);
                    }
                    popped.push(Item::of(member));
                    popped.push_double(score);
                });
                self.left -= 1;
            }
            return false;
        }
        if !self.announced {
            self.announced = true;
            self.form.head(&self.key, self.popped.len() / 2, reply);
        }
        self.popped.write(slice(budget), reply)
    }
}

/// A set that was popped as a whole and is answered from one end.
pub(super) struct TakenWhole {
    taken: OwnedEntry,
    key: Vec<u8>,
    end: End,
    form: PopForm,
    answered: usize,
}

impl TakenWhole {
    pub(super) fn new(taken: OwnedEntry, key: &[u8], end: End, form: PopForm) -> TakenWhole {
        TakenWhole { taken, key: key.to_vec(), end, form, answered: 0 }
    }
}

impl Continuation for TakenWhole {
    fn resume(&mut self, _: &mut Shard, _: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        let zset: Held<'_, Zset> = match self.taken.entry().value() {
            ValueRef::Object(object) => object.get().expect("a sorted set was taken"),
            _ => unreachable!("a sorted set was taken"),
        };
        if self.answered == 0 {
            self.form.head(&self.key, zset.len(), reply);
        }
        let count = slice(budget).max(AT_ONCE_MAX);
        let walk = match self.end {
            End::Min => zset.ascending(self.answered),
            End::Max => zset.descending(zset.len() - 1 - self.answered),
        };
        for (member, score) in walk.take(count) {
            self.form.element(member, score, reply);
        }
        self.answered += count;
        self.answered >= zset.len()
    }
}

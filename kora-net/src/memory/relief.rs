//! What an executor does about too much memory: evict its share, refuse what would take more.
//!
//! Before each command that may take memory (`DENYOOM`) the executor compares its own count of allocated bytes with the one at which the sum
//! is to be looked at again: one call and one comparison while there is room. When more is allocated than is allowed, the excess (down to a
//! little below what is allowed, so that this does not happen at every command) is divided by the number of keys that each shard could evict, and every shard
//! **owes** its part; those that sleep are woken. A debt is paid a few keys per write, and at the end of each turn for as long as the tenacity
//! says; the further above the limit, the more keys at a time. So a write costs a bounded number of evictions, and what is written
//! cannot run away from what is evicted: far above the limit an executor does not count on the debts of the others any more.

use super::gauge::{Gauge, Share};
use crate::executor::Executor;
use kora_engine::command::{Command, Flags};
use kora_engine::error::Error;
use kora_engine::keyspace::EvictionPolicy;
use kora_engine::value::lazy;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Redis's words.
pub(crate) const OUT_OF_MEMORY: Error = Error::new("OOM command not allowed when used memory > 'maxmemory'.");

/// What an executor may allocate before it looks at the sum again, bytes, when there is plenty of room.
const GRAIN: isize = 64 * 1024;
/// Bytes written after which the resident set is looked at, when it is near the limit: some 3 us per 64 KiB.
const MEASURE_EVERY: usize = 64 * 1024;
/// Keys that a write evicts at most, while little too much is allocated.
const KEYS_PER_WRITE: usize = 16;
/// The same when much too much is allocated: about half a millisecond.
const KEYS_PER_WRITE_MAX: usize = 1024;
/// Keys between two looks at the clock.
const KEYS_PER_LOOK: usize = 16;
/// Elements of dropped collections that are freed at a time.
const ELEMENTS_PER_STEP: usize = 256;
/// How long a shard moves records together at a stretch, and how long it then leaves it: 5 % of its time, or 20 % while data is being
/// given up for lack of it. Writes have their part done besides.
const COMPACT_TIME: Duration = Duration::from_micros(500);
const COMPACT_PAUSE_MS: u64 = 10;
const COMPACT_PAUSE_CUT_MS: u64 = 2;
/// Segments whose records a write moves together at most: some 300 us.
const SEGMENTS_PER_WRITE: u32 = 8;
/// Keys of a segment, about.
const SEGMENT_KEYS: u64 = 600;
/// What a write takes beside its arguments, bytes, about.
const WRITE_OVERHEAD: usize = 32;
/// After a walk over all keys that has moved fewer than one in [`COMPACT_WORTH_PART`] it leaves it, unless data is being given up, until so much has been written again as during the walk,
/// or so much time has passed.
const COMPACT_REST_MS: u64 = 1000;
const COMPACT_WORTH_PART: usize = 200;

/// An executor's state of the matter.
#[derive(Debug, Default)]
pub(crate) struct Relief {
    /// Whether there is a limit.
    limited: bool,
    /// The thread's count when it was last added to the sum.
    published: isize,
    /// The thread's count at which to look at the sum again.
    look_at: isize,
    /// When to go on moving records together, Unix milliseconds.
    compact_at: u64,
    /// Bytes written since the resident set was looked at.
    unmeasured: usize,
    /// The present plan, when there is need to.
    compaction: Option<Plan>,
    /// Bytes that were written since the last segment was compacted; below zero while a walk would not be worth it.
    written: i64,
}

/// How records are moved together.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// Bytes written for which a segment is compacted.
    bytes_per_segment: i64,
    /// Bytes written for which all are.
    bytes_per_walk: i64,
    /// Which pages count as sparse.
    percent: u8,
}

/// How much is evicted at a time: a thousandth of the limit, so that shards are not woken for every key.
fn batch(allowed: u64) -> u64 {
    (allowed / 1024).clamp(4 << 10, 256 << 10)
}

/// Whether so much too much is allocated that nobody should count on others.
fn is_much(total: u64, allowed: u64) -> bool {
    total > allowed.saturating_add(4 * batch(allowed))
}

/// What a shard has to evict of an excess, in proportion to its keys. It may just have published more of them than were in the sum.
fn part_of(excess: u64, here: u64, evictable: u64) -> u64 {
    (u128::from(excess) * u128::from(here)).div_ceil(u128::from(evictable.max(here))) as u64
}

/// How long eviction goes on at a stretch; the steps are Redis's.
fn stretch(tenacity: u8) -> Option<Duration> {
    let us = match tenacity {
        0..=10 => 50.0 * f64::from(tenacity),
        11..=99 => 500.0 * 1.15f64.powi(i32::from(tenacity) - 10),
        _ => return None,
    };
    Some(Duration::from_micros(us as u64))
}

impl Executor {
    fn gauge(&self) -> &Gauge {
        &self.process.memory
    }

    /// Adds to the sum what this thread has allocated since the last time; returns the sum.
    pub(crate) fn publish_memory(&mut self) -> u64 {
        let here = self.process.options.host.allocated_by_thread();
        let change = here - std::mem::replace(&mut self.relief.published, here);
        self.gauge().publish(change)
    }

    /// Whether a command may run as far as memory is concerned. Evicts when that is needed.
    #[inline]
    pub(crate) fn has_memory_for(&mut self, command: &Command, argv: &[&[u8]]) -> bool {
        !self.relief.limited || !command.spec.flags.contains(Flags::DENYOOM) || self.makes_room(argv)
    }

    /// Whether there is memory for more. Evicts when that is needed.
    pub(crate) fn has_memory(&mut self) -> bool {
        !self.relief.limited || self.makes_room(&[])
    }

    #[inline(never)]
    fn makes_room(&mut self, argv: &[&[u8]]) -> bool {
        let bytes = argv.iter().map(|arg| arg.len() + WRITE_OVERHEAD).sum::<usize>();
        self.relief.unmeasured += bytes;
        if self.relief.unmeasured >= MEASURE_EVERY {
            let written = std::mem::take(&mut self.relief.unmeasured);
            self.gauge().measure_if_near(self.now, written as u64);
            self.plan_compaction();
        }
        if let Some(plan) = self.relief.compaction {
            self.compact_for(bytes, plan);
        }
        let here = self.process.options.host.allocated_by_thread();
        if here < self.relief.look_at {
            return true;
        }
        let mut total = self.publish_memory();
        let allowed = self.gauge().allowed();
        self.assess(total, allowed);
        if self.owed() > 0 || lazy::bytes() > 0 {
            let much = is_much(total, allowed);
            let keys = if much { KEYS_PER_WRITE_MAX } else { KEYS_PER_WRITE };
            self.pay(keys);
            if total > allowed && self.shard.free_dropped(ELEMENTS_PER_STEP) && much {
                self.shard.free_dropped(KEYS_PER_WRITE_MAX);
            }
            total = self.publish_memory();
        }
        if total > allowed || self.owed() > 0 {
            self.relief.look_at = isize::MIN;
        } else {
            let room = ((allowed - total) / (2 * u64::from(self.count))).min(GRAIN as u64);
            self.relief.look_at = self.relief.published + room as isize;
        }
        self.note_excess(total, allowed);
        total <= allowed
            || self.settings.eviction.policy != EvictionPolicy::NoEviction && self.gauge().can_free()
    }

    fn note_excess(&self, total: u64, allowed: u64) {
        self.gauge().note_exceeded(total > allowed, || self.process.started.elapsed());
    }

    /// Bytes that this shard still has to evict.
    fn owed(&self) -> usize {
        self.gauge().share(self.id).owed.load(Ordering::Relaxed) as usize
    }

    /// When too much is allocated: divides among the shards what has to go, beyond what they owe already.
    fn assess(&mut self, total: u64, allowed: u64) {
        if total <= allowed {
            return;
        }
        let batch = batch(allowed);
        let shares = self.gauge().shares();
        let sum = |of: fn(&Share) -> &AtomicU64| {
            shares.iter().map(|share| of(share).load(Ordering::Relaxed)).sum::<u64>()
        };
        let own = self.gauge().share(self.id);
        // Far above the limit a shard with something to evict does not wait for the others.
        let alone = is_much(total, allowed) && own.evictable.load(Ordering::Relaxed) > 0;
        let owed = if alone { self.owed() as u64 } else { sum(|share| &share.owed) };
        let goal = allowed.saturating_sub(batch) + sum(|share| &share.waiting) + owed;
        let excess = total.saturating_sub(goal);
        if excess < batch / 2 && owed > 0 || excess == 0 {
            return;
        }
        self.publish_share();
        if alone {
            own.owed.fetch_add(excess, Ordering::Relaxed);
            return;
        }
        let evictable = sum(|share| &share.evictable);
        for (id, share) in shares.iter().enumerate() {
            let here = share.evictable.load(Ordering::Relaxed);
            if here == 0 {
                continue;
            }
            let part = part_of(excess, here, evictable);
            let before = share.owed.fetch_add(part, Ordering::Relaxed);
            if before == 0 && id != self.id as usize {
                self.process.doorbells[id].ring();
            }
        }
    }

    /// Tells the others what this shard could evict, and what it still has to free.
    fn publish_share(&self) {
        let share = self.gauge().share(self.id);
        share.evictable.store(self.shard.keys.evictable(), Ordering::Relaxed);
        share.waiting.store(lazy::bytes() as u64, Ordering::Relaxed);
    }

    /// Evicts up to so many keys of what is owed.
    fn pay(&mut self, keys: usize) {
        let owed = self.owed();
        if owed == 0 {
            return;
        }
        let evicted = self.shard.keys.evict(self.now, owed, keys);
        // Nothing more to be had is as good as paid.
        let paid = if evicted.keys == 0 { owed } else { evicted.bytes.min(owed) };
        self.gauge().share(self.id).owed.fetch_sub(paid as u64, Ordering::Relaxed);
        if evicted.keys == 0 {
            self.publish_share();
        }
    }

    /// The part of a turn that has to do with memory, while there is a limit. Returns whether there is more to do soon.
    #[inline]
    pub(crate) fn keep_within_limit(&mut self) -> bool {
        self.relief.limited && self.relieve()
    }

    #[inline(never)]
    fn relieve(&mut self) -> bool {
        let total = self.publish_memory();
        self.gauge().measure(self.now);
        if self.id == 0 {
            self.process.options.host.set_prompt_purge(self.gauge().is_above());
        }
        let allowed = self.gauge().allowed();
        self.assess(total, allowed);
        if total <= allowed.saturating_sub(batch(allowed)) {
            // Something else has made room, such as a FLUSHALL.
            self.gauge().share(self.id).owed.store(0, Ordering::Relaxed);
        }
        if self.owed() > 0 {
            let until = stretch(self.settings.eviction_tenacity).map(|time| Instant::now() + time);
            while self.owed() > 0 {
                self.pay(KEYS_PER_LOOK);
                if until.is_some_and(|until| Instant::now() >= until) {
                    break;
                }
            }
        }
        self.plan_compaction();
        if let Some(plan) = self.relief.compaction.filter(|_| self.now >= self.relief.compact_at) {
            self.compact(plan);
        }
        let total = self.publish_memory();
        self.publish_share();
        self.note_excess(total, allowed);
        self.owed() > 0 || total > allowed && lazy::bytes() > 0
    }

    /// Decides whether records are to be moved together, and how many for each byte that is written.
    fn plan_compaction(&mut self) {
        let count = u64::from(self.count);
        if self.gauge().is_cut() {
            // This is no time to rest.
            self.relief.written = self.relief.written.max(0);
            self.relief.compact_at = self.relief.compact_at.min(self.now + COMPACT_PAUSE_CUT_MS);
        }
        self.relief.compaction = self.gauge().compaction().map(|compaction| {
            let segments = self.shard.keys.all_len() as u64 / SEGMENT_KEYS + 1;
            let bytes_per_walk = compaction.within / count;
            Plan {
                bytes_per_segment: (bytes_per_walk / segments).max(1) as i64,
                bytes_per_walk: bytes_per_walk as i64,
                percent: compaction.percent,
            }
        });
    }

    /// What a write has to contribute to moving records together.
    #[cold]
    fn compact_for(&mut self, bytes: usize, plan: Plan) {
        self.relief.written += bytes as i64;
        for _ in 0..SEGMENTS_PER_WRITE {
            if self.relief.written < plan.bytes_per_segment {
                return;
            }
            self.relief.written -= plan.bytes_per_segment;
            self.compact_segment(plan);
        }
        // A large value may take longer than its own turn, but not for ever.
        self.relief.written = self.relief.written.min(plan.bytes_per_walk);
    }

    /// Moves records together for a while.
    fn compact(&mut self, plan: Plan) {
        let until = Instant::now() + COMPACT_TIME;
        let pause = if self.gauge().is_cut() { COMPACT_PAUSE_CUT_MS } else { COMPACT_PAUSE_MS };
        self.relief.compact_at = self.now + pause;
        while self.compact_segment(plan) && Instant::now() < until {}
        self.tick_by(self.relief.compact_at);
    }

    /// Moves the records of a segment together. After a walk over all that has moved little it is left for a time; then it returns false.
    fn compact_segment(&mut self, plan: Plan) -> bool {
        let host = &self.process.options.host;
        // SAFETY: what is asked about are records of this shard, which its thread has allocated.
        let is_sparse = |block: *const u8| unsafe { host.is_in_sparse_page(block, plan.percent) };
        let walk = self.shard.keys.relocate(1, &is_sparse);
        let fruitless = walk.is_some_and(|walk| walk.moved * COMPACT_WORTH_PART < walk.seen.max(1));
        let rest = fruitless && !self.gauge().is_cut();
        if rest {
            self.relief.compact_at = self.now + COMPACT_REST_MS;
            self.relief.written = -plan.bytes_per_walk;
        }
        !rest
    }

    /// Takes over a changed limit or policy, and evicts at once what a stretch allows.
    pub(crate) fn memory_settings_changed(&mut self) {
        let settings = self.settings.clone();
        self.relief.limited = settings.maxmemory > 0;
        self.relief.look_at = isize::MIN;
        self.gauge().share(self.id).owed.store(0, Ordering::Relaxed);
        self.shard.keys.set_eviction(settings.eviction);
        self.publish_memory();
        self.publish_share();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_those_of_redis() {
        let us = |tenacity| stretch(tenacity).map(|time| time.as_micros());
        assert_eq!((us(0), us(1), us(10)), (Some(0), Some(50), Some(500)));
        assert_eq!(us(11), Some(575));
        // About two minutes, as redis.conf says of 99.
        assert!(us(99).is_some_and(|us| (100_000_000..130_000_000).contains(&us)));
        assert_eq!(us(100), None);
    }

    #[test]
    fn shards_have_parts_in_proportion_whatever_they_publish_meanwhile() {
        assert_eq!((part_of(100, 1, 4), part_of(100, 3, 4), part_of(100, 4, 4)), (25, 75, 100));
        assert_eq!(part_of(u64::MAX, u64::MAX, u64::MAX), u64::MAX);
        // Keys that came when the sum was known.
        assert_eq!((part_of(100, 7, 0), part_of(100, 7, 2)), (100, 100));
    }

    #[test]
    fn batches_follow_the_limit() {
        assert_eq!(batch(64 << 20), 64 << 10);
        assert_eq!(batch(1 << 20), 4 << 10);
        assert_eq!(batch(u64::MAX), 256 << 10);
    }
}

//! What the 24 bits that a record has for its accesses mean.
//!
//! ```text
//! recency (no policy, or an LRU one)   time of the last access, in units of LRU_UNIT_MS, modulo 2^24
//! frequency (the LFU policies)         [ minute of the last decrement, modulo 2^16 ][ counter, 8 bits ]
//! ```
//!
//! The counter is Redis's (its `evict.c` explains it): logarithmic, so that 8 bits tell ten accesses from a million. An access increments
//! it with probability `1 / ((counter - 5) * log_factor + 1)`; each `decay_minutes` without one take one off. New keys
//! start at 5, so that they are not the first to go before they had a chance.
//!
//! As in Redis, a change between the two meanings leaves the bits of all keys as they are: it takes a while until they mean something again.

use crate::change::UnixMs;
use crate::random::Random;
use crate::table::ACCESS_MASK;

/// Resolution of the time of the last access. With seconds, as in Redis, the field goes round after 194 days.
pub(crate) const LRU_UNIT_MS: u64 = 1000;

/// Counter of a new key.
const LFU_INITIAL: u8 = 5;

const MINUTE_MS: u64 = 60_000;

/// How the frequency counter goes up and down (`lfu-log-factor`, `lfu-decay-time`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LfuRules {
    /// The larger, the more accesses it takes to saturate the counter; 0 counts every one.
    pub log_factor: u32,
    /// Minutes that take one off; 0 for never.
    pub decay_minutes: u32,
}

impl Default for LfuRules {
    fn default() -> LfuRules {
        LfuRules { log_factor: 10, decay_minutes: 1 }
    }
}

/// How a key was used before it came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Not at all: it is new.
    New,
    /// For so many seconds not at all.
    IdleSeconds(u64),
    /// So often, on the logarithmic scale of the LFU policies.
    Frequency(u8),
}

/// Keeps the access fields of a keyspace.
#[derive(Debug)]
pub(crate) struct AccessClock {
    /// `None`: recency.
    lfu: Option<LfuRules>,
    random: Random,
}

impl AccessClock {
    pub(crate) fn new(seed: u64) -> AccessClock {
        AccessClock { lfu: None, random: Random::new(seed ^ 0xACCE_55ED) }
    }

    pub(crate) fn set_lfu(&mut self, lfu: Option<LfuRules>) {
        self.lfu = lfu;
    }

    /// Whether frequencies are counted.
    #[inline(always)]
    pub(crate) fn counts_frequency(&self) -> bool {
        self.lfu.is_some()
    }

    /// The field of a new key.
    #[inline(always)]
    pub(crate) fn fresh(&self, now: UnixMs) -> u32 {
        match self.lfu {
            None => lru_clock(now),
            Some(_) => pack(minute(now), LFU_INITIAL),
        }
    }

    /// The field after an access.
    #[inline(always)]
    pub(crate) fn renewed(&mut self, now: UnixMs, old: u32) -> u32 {
        match self.lfu {
            None => lru_clock(now),
            Some(rules) => self.counted(rules, now, old),
        }
    }

    #[inline(never)]
    fn counted(&mut self, rules: LfuRules, now: UnixMs, old: u32) -> u32 {
        let counter = decayed(old, now, rules.decay_minutes);
        pack(minute(now), incremented(counter, rules.log_factor, &mut self.random))
    }

    /// The field of a key that was used so; none when the policy asks for something else.
    pub(crate) fn of_usage(&self, now: UnixMs, usage: Usage) -> Option<u32> {
        match (self.lfu, usage) {
            (_, Usage::New) => Some(self.fresh(now)),
            (None, Usage::IdleSeconds(seconds)) => {
                let units = (seconds.saturating_mul(1000) / LRU_UNIT_MS).min(ACCESS_MASK.into()) as u32;
                Some(lru_clock(now).wrapping_sub(units) & ACCESS_MASK)
            }
            (Some(_), Usage::Frequency(counter)) => Some(pack(minute(now), counter)),
            _ => None,
        }
    }

    /// The present frequency: the counter without what has passed since its last decrement. `None` when recency is kept.
    pub(crate) fn frequency(&self, now: UnixMs, field: u32) -> Option<u8> {
        self.lfu.map(|rules| decayed(field, now, rules.decay_minutes))
    }

    /// Seconds since the last access; `None` when frequencies are counted.
    pub(crate) fn idle_seconds(&self, now: UnixMs, field: u32) -> Option<u64> {
        self.lfu.is_none().then(|| idle(now, field) * LRU_UNIT_MS / 1000)
    }

    /// How good a candidate for eviction the field makes a key: the higher, the better. Of two that are used as often it is the one that
    /// was used longer ago. That of a key which is not used stays the same (recency) or grows (frequency) with time.
    pub(crate) fn coldness(&self, now: UnixMs, field: u32) -> u64 {
        match self.lfu {
            None => u64::MAX - (now / LRU_UNIT_MS).saturating_sub(idle(now, field)),
            Some(rules) => {
                let counter = decayed(field, now, rules.decay_minutes);
                u64::from(u8::MAX - counter) << 16 | u64::from(minutes_since(now, field))
            }
        }
    }
}

/// The access field of a key that is used now, when recency is kept.
#[inline(always)]
fn lru_clock(now: UnixMs) -> u32 {
    (now / LRU_UNIT_MS) as u32 & ACCESS_MASK
}

/// Units of the LRU clock since an access.
fn idle(now: UnixMs, field: u32) -> u64 {
    u64::from(lru_clock(now).wrapping_sub(field) & ACCESS_MASK)
}

fn minute(now: UnixMs) -> u16 {
    (now / MINUTE_MS) as u16
}

fn pack(minute: u16, counter: u8) -> u32 {
    u32::from(minute) << 8 | u32::from(counter)
}

fn minutes_since(now: UnixMs, field: u32) -> u16 {
    minute(now).wrapping_sub((field >> 8) as u16)
}

/// The counter, less one for each `decay_minutes` since its last decrement.
fn decayed(field: u32, now: UnixMs, decay_minutes: u32) -> u8 {
    let counter = field as u8;
    match u32::from(minutes_since(now, field)).checked_div(decay_minutes) {
        Some(periods) => counter.saturating_sub(periods.min(255) as u8),
        None => counter,
    }
}

fn incremented(counter: u8, log_factor: u32, random: &mut Random) -> u8 {
    let above = u64::from(counter.saturating_sub(LFU_INITIAL));
    let one_in = above * u64::from(log_factor) + 1;
    if random.below(one_in) == 0 {
        counter.saturating_add(1)
    } else {
        counter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = 1_700_000_000_000;

    fn lfu(log_factor: u32, decay_minutes: u32) -> AccessClock {
        let mut clock = AccessClock::new(1);
        clock.set_lfu(Some(LfuRules { log_factor, decay_minutes }));
        clock
    }

    #[test]
    fn recency_is_the_time_since_the_last_access() {
        let mut clock = AccessClock::new(1);
        let field = clock.fresh(NOW);
        assert_eq!(clock.idle_seconds(NOW + 7_999, field), Some(7));
        assert_eq!(clock.frequency(NOW, field), None);
        let field = clock.renewed(NOW + 100_000, field);
        assert_eq!(clock.idle_seconds(NOW + 160_000, field), Some(60));
        assert!(clock.coldness(NOW + 200_000, clock.fresh(NOW)) > clock.coldness(NOW + 200_000, field));
        assert_eq!(clock.coldness(NOW + 200_000, field), clock.coldness(NOW + 300_000, field));
        // The clock goes round, and differences survive it.
        let last = ((1 << 24) - 1) * LRU_UNIT_MS;
        assert_eq!(clock.idle_seconds(last + 5000, clock.fresh(last)), Some(5));
    }

    #[test]
    fn a_counter_grows_with_the_logarithm_of_the_accesses() {
        // The table in Redis's redis.conf: log factor, then the counter after 100, 1000 and 100,000 hits. (Its column of a
        // million hits is saturated from factor 10 on.)
        for (factor, after) in [(1, [18, 49, 255]), (10, [10, 18, 142]), (100, [8, 11, 49])] {
            let mut clock = lfu(factor, 0);
            let mut sums = [0u32; 3];
            const RUNS: u32 = 20;
            for _ in 0..RUNS {
                let mut field = clock.fresh(NOW);
                for hit in 1..=100_000 {
                    field = clock.renewed(NOW, field);
                    let at = [100, 1000, 100_000].iter().position(|&n| n == hit);
                    if let Some(at) = at {
                        sums[at] += u32::from(clock.frequency(NOW, field).expect("it counts"));
                    }
                }
            }
            for (sum, expected) in sums.iter().zip(after) {
                let mean = sum / RUNS;
                assert!(
                    mean.abs_diff(expected) <= 2 + expected / 10,
                    "factor {factor}: {mean}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn a_factor_of_zero_counts_every_access_up_to_255() {
        let mut clock = lfu(0, 1);
        let mut field = clock.fresh(NOW);
        for _ in 0..40 {
            field = clock.renewed(NOW, field);
        }
        assert_eq!(clock.frequency(NOW, field), Some(45));
        for _ in 0..400 {
            field = clock.renewed(NOW, field);
        }
        assert_eq!(clock.frequency(NOW, field), Some(255));
    }

    #[test]
    fn minutes_without_access_take_from_the_counter() {
        let clock = lfu(10, 2);
        let field = clock.fresh(NOW);
        assert_eq!(clock.frequency(NOW + 3 * MINUTE_MS, field), Some(4));
        assert_eq!(clock.frequency(NOW + 4 * MINUTE_MS, field), Some(3));
        assert_eq!(clock.frequency(NOW + 1000 * MINUTE_MS, field), Some(0));
        assert_eq!(lfu(10, 0).frequency(NOW + 1000 * MINUTE_MS, field), Some(5));
        assert_eq!(clock.idle_seconds(NOW, field), None);
    }

    #[test]
    fn the_rarely_used_are_colder_and_of_equals_the_idle() {
        let clock = lfu(10, 0);
        let field = |minutes_ago: u64, counter| pack(minute(NOW - minutes_ago * MINUTE_MS), counter);
        assert!(clock.coldness(NOW, field(0, 3)) > clock.coldness(NOW, field(1000, 4)));
        assert!(clock.coldness(NOW, field(9, 3)) > clock.coldness(NOW, field(8, 3)));
    }
}

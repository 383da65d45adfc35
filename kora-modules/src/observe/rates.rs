//! Rates of the last 1.6 seconds: `instantaneous_ops_per_sec` and its kind.
//!
//! Redis takes the mean of 16 differences, one every 100 ms, from a timer that always runs. An executor that sleeps has
//! no timer, so this keeps readings of the running total instead, at least 100 ms apart, with their times, and takes the
//! slope between now and 1.6 s ago. With a reading every 100 ms that is Redis's number; after a sleep of any length it is
//! still the right one, because the total at a moment between two readings is interpolated.

use std::fmt::Write;
use std::ops::AddAssign;

use super::limits::{RATE_PERIOD_MS, RATE_SAMPLES};

/// Readings that are kept: the ends of [`RATE_SAMPLES`] periods.
const READINGS: usize = RATE_SAMPLES + 1;
const WINDOW_MS: u64 = RATE_SAMPLES as u64 * RATE_PERIOD_MS;

/// Running totals of one executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Commands executed.
    pub commands: u64,
    /// Bytes received from clients.
    pub input_bytes: u64,
    /// Bytes sent to clients.
    pub output_bytes: u64,
}

/// Rates at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Commands per second.
    pub ops_per_sec: f64,
    /// KiB received per second.
    pub input_kbps: f64,
    /// KiB sent per second.
    pub output_kbps: f64,
}

impl AddAssign for Rates {
    /// The rates of two executors together.
    fn add_assign(&mut self, other: Rates) {
        self.ops_per_sec += other.ops_per_sec;
        self.input_kbps += other.input_kbps;
        self.output_kbps += other.output_kbps;
    }
}

impl Rates {
    /// Appends the three lines of `INFO stats`.
    pub fn write_info(&self, out: &mut String) {
        write!(
            out,
            "instantaneous_ops_per_sec:{:.0}\r\ninstantaneous_input_kbps:{:.2}\r\ninstantaneous_output_kbps:{:.2}\r\n",
            self.ops_per_sec, self.input_kbps, self.output_kbps,
        )
        .expect("a String takes any text");
    }
}

/// Samples the totals of one executor. Times are milliseconds of any monotonic clock.
#[derive(Debug, Clone)]
pub struct RateSampler {
    /// A ring of (time, totals); `newest` is the latest, the one after it the oldest.
    readings: [(u64, Totals); READINGS],
    newest: usize,
}

impl RateSampler {
    /// Begins at `now_ms` with totals that have already been counted (zero in a new executor).
    pub fn new(now_ms: u64, totals: Totals) -> RateSampler {
        RateSampler { readings: [(now_ms, totals); READINGS], newest: 0 }
    }

    /// Takes a reading if the last one is at least 100 ms old. Called once per turn; any interval will do.
    #[inline]
    pub fn sample(&mut self, now_ms: u64, totals: Totals) {
        if now_ms >= self.readings[self.newest].0 + RATE_PERIOD_MS {
            self.newest = (self.newest + 1) % READINGS;
            self.readings[self.newest] = (now_ms, totals);
        }
    }

    /// Begins again (CONFIG RESETSTAT, when the totals fall to zero).
    pub fn reset(&mut self, now_ms: u64, totals: Totals) {
        *self = RateSampler::new(now_ms, totals);
    }

    /// The rates over the last 1.6 s, or since the beginning if that is shorter.
    pub fn rates(&self, now_ms: u64, totals: Totals) -> Rates {
        let from_ms = now_ms.saturating_sub(WINDOW_MS);
        // From the newest back to the first reading that is not inside the window.
        let mut later = (now_ms, totals);
        for back in 0..READINGS {
            let earlier = self.readings[(self.newest + READINGS - back) % READINGS];
            if earlier.0 <= from_ms {
                return slope(at_moment(earlier, later, from_ms), totals, WINDOW_MS);
            }
            later = earlier;
        }
        // Younger than the window. At least a period, lest the first command count as a thousand per second.
        slope(
            later.1.map_all(|count| count as f64),
            totals,
            now_ms.saturating_sub(later.0).max(RATE_PERIOD_MS),
        )
    }
}

/// Totals at a moment that may lie between two counts.
type Interpolated = [f64; 3];

impl Totals {
    fn map_all(self, change: impl Fn(u64) -> f64) -> Interpolated {
        [change(self.commands), change(self.input_bytes), change(self.output_bytes)]
    }
}

/// The totals at `moment_ms` on the line from `earlier` to `later`.
fn at_moment(earlier: (u64, Totals), later: (u64, Totals), moment_ms: u64) -> Interpolated {
    let span = later.0 - earlier.0;
    let share = if span == 0 { 0.0 } else { (moment_ms - earlier.0) as f64 / span as f64 };
    let (from, to) = (earlier.1.map_all(|count| count as f64), later.1.map_all(|count| count as f64));
    std::array::from_fn(|field| from[field] + (to[field] - from[field]) * share)
}

fn slope(from: Interpolated, to: Totals, span_ms: u64) -> Rates {
    let to = to.map_all(|count| count as f64);
    // Never below zero: totals that were reset without telling the sampler are not negative work.
    let per_second = |field: usize| (to[field] - from[field]).max(0.0) * 1000.0 / span_ms as f64;
    Rates {
        ops_per_sec: per_second(0),
        input_kbps: per_second(1) / 1024.0,
        output_kbps: per_second(2) / 1024.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn totals(commands: u64) -> Totals {
        Totals { commands, input_bytes: commands * 1024, output_bytes: commands * 512 }
    }

    #[test]
    fn steady_load_reads_as_its_rate() {
        let mut sampler = RateSampler::new(0, totals(0));
        for now in 1..=10_000 {
            sampler.sample(now, totals(now * 7));
        }
        let rates = sampler.rates(10_000, totals(70_000));
        assert_eq!(rates, Rates { ops_per_sec: 7000.0, input_kbps: 7000.0, output_kbps: 3500.0 });
        let mut text = String::new();
        rates.write_info(&mut text);
        assert_eq!(
            text,
            "instantaneous_ops_per_sec:7000\r\ninstantaneous_input_kbps:7000.00\r\ninstantaneous_output_kbps:3500.00\r\n"
        );
    }

    #[test]
    fn load_is_forgotten_after_the_window() {
        let mut sampler = RateSampler::new(0, totals(0));
        for now in 1..=1000 {
            sampler.sample(now, totals(now));
        }
        // Asleep since; no reading was taken.
        assert_eq!(sampler.rates(1_800, totals(1000)).ops_per_sec, 800.0 / 1.6);
        assert_eq!(sampler.rates(2_600, totals(1000)).ops_per_sec, 0.0);
        assert_eq!(sampler.rates(1_000_000, totals(1000)).ops_per_sec, 0.0);
    }

    #[test]
    fn first_command_is_not_a_thousand_per_second() {
        let sampler = RateSampler::new(5_000, totals(0));
        assert_eq!(sampler.rates(5_001, totals(1)).ops_per_sec, 10.0);
        assert_eq!(sampler.rates(5_000, totals(0)), Rates::default());
    }

    #[test]
    fn a_clock_or_a_total_that_goes_back_is_no_rate() {
        let mut sampler = RateSampler::new(5_000, totals(100));
        sampler.sample(6_000, totals(200));
        assert_eq!(sampler.rates(4_000, totals(200)).ops_per_sec, 1000.0);
        assert_eq!(sampler.rates(9_000, totals(0)), Rates::default());
        sampler.reset(9_000, totals(0));
        assert_eq!(sampler.rates(10_000, totals(50)).ops_per_sec, 50.0);
    }

    proptest! {
        #[test]
        fn merging_two_executors_equals_recording_all_in_one(
            periods in proptest::collection::vec((0u64..1000, 0u64..1000), 1..60),
        ) {
            let mut left = (RateSampler::new(0, totals(0)), 0);
            let mut right = left.clone();
            let mut all = left.clone();
            let mut now = 0;
            for (ran_left, ran_right) in periods {
                now += RATE_PERIOD_MS;
                for (side, ran) in [(&mut left, ran_left), (&mut right, ran_right), (&mut all, ran_left + ran_right)] {
                    side.1 += ran;
                    side.0.sample(now, totals(side.1));
                }
            }
            let mut merged = left.0.rates(now, totals(left.1));
            merged += right.0.rates(now, totals(right.1));
            let expected = all.0.rates(now, totals(all.1));
            prop_assert!((merged.ops_per_sec - expected.ops_per_sec).abs() < 1e-6);
            prop_assert!((merged.input_kbps - expected.input_kbps).abs() < 1e-6);
        }
    }
}

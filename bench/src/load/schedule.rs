//! When the requests of an open loop are due.
//!
//! The schedule knows nothing of the server: request `i` is due at its time whether or not earlier ones
//! have been answered. Latency is counted from there, so the time that a request waits because the server
//! stalls is in the percentiles (no coordinated omission).

/// How requests are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// At equal distances.
    Even,
    /// As from many independent clients (exponential distances).
    Poisson,
}

/// Due times of one thread, in nanoseconds from the start of the run.
pub(crate) struct Schedule {
    interval_ns: f64,
    arrivals: Arrivals,
    next_ns: f64,
    index: u64,
    first_ns: f64,
    rng: fastrand::Rng,
}

impl Schedule {
    /// Thread `thread` of `threads`, which together send `rate` requests a second, interleaved.
    pub(crate) fn new(rate: f64, arrivals: Arrivals, thread: u64, threads: u64, seed: u64) -> Schedule {
        let interval_ns = 1e9 * threads as f64 / rate;
        let first_ns = interval_ns * thread as f64 / threads as f64;
        let rng = fastrand::Rng::with_seed(seed);
        Schedule { interval_ns, arrivals, next_ns: first_ns, index: 0, first_ns, rng }
    }

    /// When the next request is due.
    #[inline]
    pub(crate) fn due_ns(&self) -> u64 {
        self.next_ns as u64
    }

    /// The next request has been taken.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.index += 1;
        match self.arrivals {
            // From the index, not from the last time: a sum would drift.
            Arrivals::Even => self.next_ns = self.first_ns + self.interval_ns * self.index as f64,
            Arrivals::Poisson => self.next_ns -= self.interval_ns * (1.0 - self.rng.f64()).ln(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due_times(mut schedule: Schedule, n: usize) -> Vec<u64> {
        (0..n)
            .map(|_| {
                let due = schedule.due_ns();
                schedule.advance();
                due
            })
            .collect()
    }

    #[test]
    fn threads_interleave_at_the_total_rate() {
        let times = |thread| due_times(Schedule::new(1_000.0, Arrivals::Even, thread, 2, 1), 3);
        assert_eq!(times(0), [0, 2_000_000, 4_000_000]);
        assert_eq!(times(1), [1_000_000, 3_000_000, 5_000_000]);
    }

    #[test]
    fn even_distances_do_not_drift() {
        let times = due_times(Schedule::new(30_000.0, Arrivals::Even, 0, 1, 1), 3_000_001);
        assert_eq!(times[3_000_000], 100_000_000_000);
    }

    #[test]
    fn poisson_arrivals_have_the_mean_and_the_spread_of_an_exponential() {
        let times = due_times(Schedule::new(1_000.0, Arrivals::Poisson, 0, 1, 9), 200_001);
        let gaps: Vec<f64> = times.windows(2).map(|w| (w[1] - w[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean / 1e6 - 1.0).abs() < 0.02, "{mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "{variance}");
    }
}

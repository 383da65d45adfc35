//! How long to gather requests before waking: fewer, fuller turns.
//!
//! A turn costs the same whether it serves one request or twenty: a wake-up, an entry into the kernel, a pass over the queues. Where
//! requests arrive densely, an executor that wakes at the first of them takes many thin turns. So it asks the kernel to be woken when as
//! many completions are there as usually arrive within [`GATHER_US`] microseconds, or when that time is over. One client alone
//! never waits: within that time no second request of its comes.
//!
//! Completions of the sends that are submitted in the same call count too, and they are there at once: without adding them to the number
//! the executor would be woken by its own replies, and take a turn for nothing. A send that does not complete at once (a client that does not read)
//! delays that one wake-up by at most [`SEND_GATHER_US`].

use crate::limits::{GATHER_MAX, GATHER_PIPELINE_MAX, GATHER_US, SEND_GATHER_US};
use crate::ring::Sleep;
use std::time::Duration;

/// Estimates the density of arrivals of one executor.
#[derive(Default)]
pub struct Arrivals {
    /// Smoothed receive completions, commands and time, all with the same weights: their quotients are rates.
    receives: f64,
    commands: f64,
    nanos: f64,
}

/// Weight of the past in each turn: a few dozen turns are remembered.
const KEEP: f64 = 31.0 / 32.0;

impl Arrivals {
    /// A turn has found this many receive completions with so many commands, this long after the turn before.
    #[inline]
    pub fn turn(&mut self, receives: u32, commands: u64, nanos_since_last: u64) {
        self.receives = self.receives * KEEP + receives as f64;
        self.commands = self.commands * KEEP + commands as f64;
        self.nanos = self.nanos * KEEP + nanos_since_last as f64;
    }

    /// How to sleep for at most `time`, having queued `sends` sends in this turn. With `mail` under way nothing is gathered: an answer is one
    /// completion, and whole connections wait for it.
    #[inline]
    pub fn sleep(&self, time: Duration, sends: usize, mail: bool) -> Sleep {
        let expected = self.receives * (GATHER_US as f64 * 1000.0) / self.nanos.max(1.0);
        // Pipelines make turns full by themselves.
        let pipelined = self.commands > self.receives * GATHER_PIPELINE_MAX;
        let gather = if mail || pipelined { 1 } else { (expected as usize).clamp(1, GATHER_MAX) };
        Sleep { time, gather: gather + sends, gather_us: if gather > 1 { GATHER_US } else { SEND_GATHER_US } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(turns: usize, receives: u32, commands: u64, nanos: u64) -> Arrivals {
        let mut arrivals = Arrivals::default();
        for _ in 0..turns {
            arrivals.turn(receives, commands, nanos);
        }
        arrivals
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_client_is_never_made_to_wait() {
        let sleep = after(100, 1, 1, 15_000).sleep(SECOND, 1, false);
        assert_eq!((sleep.gather, sleep.gather_us), (2, SEND_GATHER_US), "its own send and its next request");
        assert_eq!(after(100, 1, 1, 15_000).sleep(SECOND, 0, false).gather, 1);
    }

    #[test]
    fn dense_requests_are_gathered_but_not_without_bound() {
        let sleep = after(100, 2, 2, 9_900).sleep(SECOND, 2, false);
        assert_eq!((sleep.gather, sleep.gather_us), (2 + 4, GATHER_US));
        assert_eq!(after(100, 50, 50, 10_000).sleep(SECOND, 0, false).gather, GATHER_MAX);
    }

    #[test]
    fn pipelines_and_mail_are_not_gathered() {
        assert_eq!(after(100, 10, 160, 10_000).sleep(SECOND, 3, false).gather, 4);
        assert_eq!(after(100, 10, 10, 10_000).sleep(SECOND, 3, true).gather, 4);
    }

    #[test]
    fn load_that_has_ended_is_forgotten() {
        let mut arrivals = after(100, 20, 20, 10_000);
        arrivals.turn(1, 1, 1_000_000_000);
        assert_eq!(arrivals.sleep(SECOND, 0, false).gather, 1);
    }
}

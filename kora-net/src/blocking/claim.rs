//! The right to answer a blocked command: one word, shared by its connection and every shard on which it waits.
//!
//! ```text
//!              +-> ANSWERED   by its first attempt
//!   TRYING ----+-> WAITING --> SERVED      by the shard that has something for it
//!      |             |
//!      +-------------+-------> CANCELLED   time-out, CLIENT UNBLOCK, disconnection, end of the process
//! ```
//!
//! Each arrow is one compare-and-swap (only a connection that is gone overwrites whatever is there): so exactly one of all who want to end the waiting does, and
//! an element is taken only by who has gone along an arrow to ANSWERED or SERVED.

use std::sync::atomic::{AtomicU8, Ordering};

const TRYING: u8 = 0;
const WAITING: u8 = 1;
const ANSWERED: u8 = 2;
const SERVED: u8 = 3;
const CANCELLED: u8 = 4;

/// See the module.
#[derive(Debug, Default)]
pub struct Claim(AtomicU8);

impl Claim {
    /// Of a command that has tried already, and waits.
    pub fn waiting() -> Claim {
        Claim(AtomicU8::new(WAITING))
    }

    fn step(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The first attempt has found nothing: it waits from now on, unless it was cancelled.
    pub fn begin_waiting(&self) -> bool {
        self.step(TRYING, WAITING)
    }

    /// The first attempt has an answer.
    pub fn answer_at_once(&self) {
        self.step(TRYING, ANSWERED);
    }

    /// There is something for it: true for the one who may take it, and must answer.
    pub fn serve(&self) -> bool {
        self.step(WAITING, SERVED)
    }

    /// It has waited enough: true for the one who must answer that.
    pub fn cancel(&self) -> bool {
        self.step(WAITING, CANCELLED)
    }

    /// Nobody is there any more to be answered.
    pub fn abandon(&self) {
        self.0.swap(CANCELLED, Ordering::AcqRel);
    }

    /// Whether its first attempt is still under way.
    pub fn is_trying(&self) -> bool {
        self.0.load(Ordering::Acquire) == TRYING
    }

    /// Whether it waits.
    pub fn is_waiting(&self) -> bool {
        self.0.load(Ordering::Acquire) == WAITING
    }

    /// Whether it has never waited, and so has left nothing with any shard.
    pub fn was_answered_at_once(&self) -> bool {
        self.0.load(Ordering::Acquire) == ANSWERED
    }

    /// Whether nobody wants its answer any more.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) == CANCELLED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn one_of_many_ends_the_waiting() {
        for _ in 0..200 {
            let claim = Arc::new(Claim::waiting());
            let ends: Vec<_> = (0..4)
                .map(|n| {
                    let claim = claim.clone();
                    std::thread::spawn(move || if n % 2 == 0 { claim.serve() } else { claim.cancel() })
                })
                .collect();
            let ended = ends.into_iter().map(|end| end.join().expect("no panic"));
            assert_eq!(ended.filter(|&ended| ended).count(), 1);
            assert!(!claim.is_waiting());
        }
    }

    #[test]
    fn what_was_cancelled_during_its_first_attempt_never_waits() {
        let claim = Claim::default();
        assert!(!claim.cancel() && !claim.serve());
        claim.abandon();
        assert!(!claim.begin_waiting());
        claim.answer_at_once();
        assert!(claim.is_cancelled());
    }
}

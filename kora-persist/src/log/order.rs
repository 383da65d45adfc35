//! The sequence of log positions that all writers of a process draw from, and up to where it is durable.
//!
//! Each writer has a word: a lower bound of the first of its positions that is not durable, or [`NOTHING`]. A writer sets it *before* it draws positions. Who asks up to
//! where everything is durable reads the counter first and the words after it. If it finds a word without a bound, then the writer's next draw comes later than the look at the
//! counter, and gives positions that are not below it. So no position below the answer can be one that is not durable. All of it is sequentially consistent:
//! it happens once per turn of an executor, not once per change.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// The word of a writer all of whose positions are durable.
const NOTHING: u64 = u64::MAX;

/// A word alone in its cache lines: each is written by another core.
#[repr(align(128))]
struct Word(AtomicU64);

/// See the module.
pub struct Order {
    /// The position that is drawn next.
    next: Word,
    /// One per writer.
    pending: Box<[Word]>,
}

impl Order {
    /// For so many writers; the first position that is drawn is `first`, and everything before it is durable.
    pub fn new(writers: usize, first: u64) -> Order {
        assert!(first > 0, "log positions begin at 1");
        Order {
            next: Word(AtomicU64::new(first)),
            pending: (0..writers).map(|_| Word(AtomicU64::new(NOTHING))).collect(),
        }
    }

    /// Draws `count` positions for a writer; the first of them.
    pub fn draw(&self, writer: usize, count: u64) -> u64 {
        let word = &self.pending[writer].0;
        if word.load(SeqCst) == NOTHING {
            word.store(self.next.0.load(SeqCst), SeqCst);
        }
        self.next.0.fetch_add(count, SeqCst)
    }

    /// All positions of a writer below `first` are durable; with none, all that it has drawn.
    pub fn made_durable(&self, writer: usize, first: Option<u64>) {
        self.pending[writer].0.store(first.unwrap_or(NOTHING), SeqCst);
    }

    /// The last position up to which everything is durable.
    pub fn durable(&self) -> u64 {
        let next = self.next.0.load(SeqCst);
        self.pending.iter().fold(next, |least, word| least.min(word.0.load(SeqCst))) - 1
    }

    /// The last position that was drawn.
    pub fn last(&self) -> u64 {
        self.next.0.load(SeqCst) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn durable_is_what_comes_before_the_first_that_is_not() {
        let order = Order::new(2, 10);
        assert_eq!((order.durable(), order.last()), (9, 9));
        assert_eq!(order.draw(0, 3), 10);
        assert_eq!(order.draw(1, 2), 13);
        assert_eq!((order.durable(), order.last()), (9, 14));
        order.made_durable(1, None);
        assert_eq!(order.durable(), 9);
        order.made_durable(0, Some(12));
        assert_eq!(order.durable(), 11);
        order.made_durable(0, None);
        assert_eq!(order.durable(), 14);
    }

    /// Writers draw and make durable; somebody asks all the time. What it is told must have been made durable by then.
    #[test]
    fn nothing_is_called_durable_before_it_is() {
        const WRITERS: usize = 3;
        const POSITIONS: usize = 60_000;
        let order = Order::new(WRITERS, 1);
        let durable: Vec<AtomicBool> = (0..=POSITIONS + WRITERS).map(|_| AtomicBool::new(false)).collect();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (order, durable) = (&order, &durable);
                    scope.spawn(move || loop {
                        let lsn = order.draw(writer, 1);
                        if lsn as usize > POSITIONS {
                            durable[lsn as usize].store(true, SeqCst);
                            order.made_durable(writer, None);
                            return;
                        }
                        durable[lsn as usize].store(true, SeqCst);
                        order.made_durable(writer, None);
                    })
                })
                .collect();
            scope.spawn(|| {
                let mut seen = 0;
                while !done.load(SeqCst) {
                    let upto = order.durable();
                    assert!(upto >= seen);
                    for lsn in seen + 1..=upto {
                        assert!(durable[lsn as usize].load(SeqCst), "{lsn}");
                    }
                    seen = upto;
                }
            });
            for writer in writers {
                writer.join().expect("a writer ends");
            }
            done.store(true, SeqCst);
        });
        assert!(order.durable() as usize >= POSITIONS);
    }
}

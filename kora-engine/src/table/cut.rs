//! A cut: what the table held at one moment, told while it changes.
//!
//! ```text
//! slot    tag | address of the record | parity | may expire inside | has an expiry
//! ```
//!
//! Each slot has a bit, its parity, and the table has one. Outside of a cut all are equal. A cut flips the table's: so in one step every
//! record is one that *is owed*, and a slot whose parity is the table's is one that was told or came later. A walk in hash order tells what is owed, in slices
//! and at no hurry; and before a record that is owed is changed, replaced or removed, whoever does it, it is told as it was. So what the sink
//! gets, in whatever order, is each record of that moment once.
//!
//! Why a bit for each record and not a version for each segment: a write would have to tell a whole segment of hundreds of records before it goes on, and
//! splits and merges would have to reconcile versions. The bit was free in the slot, it moves with the slot through splits, merges and
//! rebuilds, and neither the walk nor a write has to touch a record to see that nothing is owed. No memory is needed: nothing is
//! copied but what is told.
//!
//! All writes to records go through the methods of `Table` and `EntryMut` which call `tell_before`: a record cannot be changed past them. The
//! cost of that when there is no cut is a branch on a word of the table. What does not count as a change: the access field, the mark of a
//! string that was written in part, and where a record lies.
//!
//! A collection is told whole, in one go, however large it is.

use super::{next_prefix, Entry, KeyHash, Table};
use std::sync::{Arc, Mutex, PoisonError};

/// Takes the records of a cut. It is called in the midst of commands, while the table is being changed.
pub trait CutSink: Send {
    /// A key of database `db`, as they were numbered at the moment of the cut; about how many bytes of work that was.
    fn save(&mut self, db: u16, entry: &Entry<'_>) -> usize;
}

/// A sink that the tables of a shard share; the lock is never contended, and taken only for records that are told.
pub type SharedSink = Arc<Mutex<dyn CutSink>>;

/// Work, in bytes, that a segment is which has nothing to tell: its slots are read.
const SEGMENT_WORK: usize = 512;

/// A cut under way.
pub(super) struct Cut {
    /// None when it was given up: what is owed is only marked, so that another cut can be made afterwards.
    sink: Option<SharedSink>,
    /// Database of the table at the moment of the cut.
    db: u16,
    /// Records that are owed.
    owed: usize,
    /// Nothing before this position in the order of hashes is owed: the beginning of a segment, or was one.
    position: u64,
}

impl Table {
    /// From now on every record that is there is owed to the sink.
    ///
    /// # Panics
    /// When a cut is under way.
    pub(crate) fn begin_cut(&mut self, db: u16, sink: &SharedSink) {
        assert!(self.cut.is_none(), "one cut at a time");
        self.parity ^= super::segment::PARITY;
        if self.len > 0 {
            let sink = Some(sink.clone());
            self.cut = Some(Box::new(Cut { sink, db, owed: self.len, position: 0 }));
        }
    }

    /// Records that are still owed.
    pub(crate) fn owed(&self) -> usize {
        self.cut.as_ref().map_or(0, |cut| cut.owed)
    }

    /// Whether records are owed and somebody wants them.
    pub(crate) fn is_wanted(&self) -> bool {
        self.cut.as_ref().is_some_and(|cut| cut.sink.is_some())
    }

    /// Nobody wants the rest of the cut any more. The walk goes on, telling nothing.
    pub(crate) fn give_up_cut(&mut self) {
        if let Some(cut) = &mut self.cut {
            cut.sink = None;
        }
    }

    /// Tells records that are owed until the work, in bytes, is used up; true when none is left.
    pub(crate) fn walk_cut(&mut self, work: &mut usize) -> bool {
        let Some(mut cut) = self.cut.take() else { return true };
        while cut.owed > 0 {
            if *work == 0 {
                self.cut = Some(cut);
                return false;
            }
            let (index, entry, _) = self.locate(KeyHash(cut.position));
            let next = next_prefix(cut.position, entry.depth);
            let segment = &mut self.directory.entry_mut(index).segment;
            let Cut { sink, db, owed, .. } = &mut *cut;
            let told = |entry: &Entry<'_>| {
                *owed -= 1;
                sink.as_ref().map_or(0, |sink| tell(sink, *db, entry))
            };
            if segment.settle(self.parity, work, told) {
                *work = work.saturating_sub(SEGMENT_WORK);
                match next {
                    Some(next) => cut.position = next,
                    None => assert_eq!(cut.owed, 0, "what is owed lies behind the position"),
                }
            }
        }
        true
    }

    /// The record in this slot is about to change, or to go.
    #[inline(always)]
    pub(super) fn tell_before(&mut self, index: usize, at: usize) {
        if self.cut.is_some() {
            self.tell_owed(index, at);
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_owed(&mut self, index: usize, at: usize) {
        let Some(cut) = &mut self.cut else { return };
        let segment = &mut self.directory.entry_mut(index).segment;
        if !segment.is_owed(at, self.parity) {
            return;
        }
        if let Some(sink) = &cut.sink {
            tell(sink, cut.db, &segment.entry(at));
        }
        segment.set_parity(at, self.parity);
        cut.owed -= 1;
        if cut.owed == 0 {
            self.cut = None;
        }
    }

    /// The whole table, with what is owed; it leaves an empty one of the same kind.
    pub(crate) fn detach(&mut self) -> Table {
        let mut empty = self.empty_like();
        empty.parity = self.parity;
        empty.track_volatile(self.volatile.is_some());
        std::mem::replace(self, empty)
    }
}

fn tell(sink: &SharedSink, db: u16, entry: &Entry<'_>) -> usize {
    // A sink that has panicked has taken the process with it; in a test the first message is the better one.
    sink.lock().unwrap_or_else(PoisonError::into_inner).save(db, entry)
}

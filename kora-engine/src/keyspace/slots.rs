//! Keys per cluster slot, kept only when executors present themselves as cluster nodes: it costs a CRC16 for each key that
//! comes or goes.
//!
//! Each database has counts of its own, so that it can be emptied without a look at its keys; most databases are never used and
//! have none.

use crate::limits::SLOTS;
use crate::slot::Slot;

type Counts = Box<[u32; SLOTS as usize]>;

/// Keys per slot and database, or nothing when they are not wanted.
#[derive(Debug, Default)]
pub(super) struct SlotCounts {
    /// Empty when they are not wanted.
    databases: Vec<Option<Counts>>,
}

impl SlotCounts {
    pub(super) fn new(databases: u16, wanted: bool) -> SlotCounts {
        SlotCounts { databases: (0..if wanted { databases } else { 0 }).map(|_| None).collect() }
    }

    /// A key has come (1) or gone (-1).
    #[inline]
    pub(super) fn count(&mut self, db: u16, key: &[u8], by: i32) {
        if let Some(counts) = self.databases.get_mut(db as usize) {
            let counts = counts.get_or_insert_with(zeros);
            let count = &mut counts[Slot::of(key).number() as usize];
            *count = count.checked_add_signed(by).expect("a slot's count never goes below zero");
        }
    }

    /// All keys of a database are gone.
    pub(super) fn clear(&mut self, db: u16) {
        if let Some(counts) = self.databases.get_mut(db as usize) {
            *counts = None;
        }
    }

    /// Two databases have changed places.
    pub(super) fn swap(&mut self, a: u16, b: u16) {
        if !self.databases.is_empty() {
            self.databases.swap(a as usize, b as usize);
        }
    }

    /// Keys of a slot in all databases; none when they are not counted.
    pub(super) fn of(&self, slot: Slot) -> Option<u32> {
        let count = |counts: &Option<Counts>| counts.as_ref().map_or(0, |c| c[slot.number() as usize]);
        (!self.databases.is_empty()).then(|| self.databases.iter().map(count).sum())
    }
}

fn zeros() -> Counts {
    let zeros = vec![0; SLOTS as usize].into_boxed_slice();
    zeros.try_into().expect("it has this length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_with_their_database() {
        let slot = Slot::of(b"key");
        let mut counts = SlotCounts::new(3, true);
        counts.count(0, b"key", 1);
        counts.count(0, b"{key}other", 1);
        counts.count(2, b"key", 1);
        assert_eq!(counts.of(slot), Some(3));
        counts.count(0, b"key", -1);
        counts.swap(0, 1);
        assert_eq!(counts.of(slot), Some(2));
        counts.clear(0);
        assert_eq!(counts.of(slot), Some(2));
        counts.clear(1);
        assert_eq!(counts.of(slot), Some(1));
    }

    #[test]
    fn what_is_not_wanted_is_not_counted() {
        let mut counts = SlotCounts::new(3, false);
        counts.count(0, b"key", 1);
        counts.clear(0);
        counts.swap(0, 1);
        assert_eq!(counts.of(Slot::of(b"key")), None);
    }
}

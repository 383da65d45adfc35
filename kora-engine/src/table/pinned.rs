//! Records that another structure names by their address: the members of a sorted set, whose tree orders them.
//!
//! A record moves only when its size changes: when a value word or an expiry is added or taken away, or when an inline
//! value changes its length. A table whose records all hold an integer, without expiry, and are inserted through [`Table::pin`] and
//! changed through [`EntryMut::set_int`], keeps each record where it is from the insert to the remove, whatever
//! splits and merges its segments do: those move slots. So six bytes name a record, and reading its key
//! takes one cache miss and no hashing.
//!
//! # Invariants (the unsafe code below relies on them)
//! - A [`Pin`] made by a table names a live record until that record is removed from the table, or the table is
//!   emptied or dropped. Nobody can tell from the pin when that happens: whoever keeps pins must drop each one together
//!   with its record, which is what [`Pin::entry`] asks of its caller.
//! - Addresses of records fit 48 bits (asserted when they are allocated).

use super::record::{Entry, NewValue, Payload, Record};
use super::segment::Find;
use super::{EntryMut, KeyHash, OwnedEntry, Table};

/// The address of a record, 48 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pin([u16; 3]);

impl Pin {
    #[inline(always)]
    fn of(record: Record) -> Pin {
        Pin::from_bits(record.address())
    }

    /// A pin with these 48 bits. Only pins from a table name a record; tests of structures that never look behind
    /// their pins make their own.
    #[inline(always)]
    pub(crate) fn from_bits(bits: u64) -> Pin {
        debug_assert_eq!(bits >> 48, 0);
        Pin([bits as u16, (bits >> 16) as u16, (bits >> 32) as u16])
    }

    /// The 48 bits.
    #[inline(always)]
    pub(crate) fn bits(self) -> u64 {
        let [low, middle, high] = self.0;
        u64::from(low) | u64::from(middle) << 16 | u64::from(high) << 32
    }

    /// The record that was pinned.
    ///
    /// # Safety
    /// This pin comes from `table`, and since then its key has not been removed, nor the table emptied; only
    /// [`EntryMut::set_int`] has written to the key.
    #[inline(always)]
    pub(crate) unsafe fn entry(self, table: &Table) -> Entry<'_> {
        let _borrowed = table;
        // SAFETY: by the caller the record is live, and it stays so and unchanged while the table is borrowed.
        unsafe { Record::from_address(self.bits()).entry() }
    }

    /// Brings the first cache line of the record closer. Any pin will do.
    #[inline(always)]
    pub(crate) fn prefetch(self) {
        Record::prefetch(self.bits());
    }
}

/// Where [`Table::pin`] has come to.
pub(crate) enum Pinned<'a> {
    /// The key is there.
    Old(EntryMut<'a>),
    /// It is not.
    Vacant(Vacancy<'a>),
}

/// The place of a key that is not there.
pub(crate) struct Vacancy<'a> {
    table: &'a mut Table,
    hash: KeyHash,
    index: usize,
    at: usize,
    tag: u64,
}

impl Vacancy<'_> {
    /// Inserts the key that was looked for, with an integer value and no expiry.
    #[inline]
    pub(crate) fn insert(self, key: &[u8], int: i64) -> Pin {
        let record = Record::new(key, Payload::new(&NewValue::Int(int)), None, 0);
        self.table.insert_at(self.hash, self.index, self.at, self.tag, record);
        Pin::of(record)
    }
}

impl Table {
    /// Looks for a key, to insert or to change it.
    #[inline]
    pub(crate) fn pin(&mut self, hash: KeyHash, key: &[u8]) -> Pinned<'_> {
        let (index, entry, tag) = self.locate(hash);
        match entry.segment.find(entry.homes, tag, key) {
            Find::At(at) => Pinned::Old(EntryMut { table: self, hash, index, at }),
            Find::Vacant(at) => Pinned::Vacant(Vacancy { table: self, hash, index, at, tag }),
        }
    }

    /// Removes the key of a pinned record and gives the record.
    ///
    /// # Safety
    /// As for [`Pin::entry`]; from now on the pin names nothing.
    pub(crate) unsafe fn take_pinned(&mut self, pin: Pin) -> OwnedEntry {
        // SAFETY: by the caller the record is live.
        let record = unsafe { Record::from_address(pin.bits()) };
        let hash = KeyHash(record.with_key(|key| self.hasher.hash(key)));
        let (index, entry, tag) = self.locate(hash);
        match record.with_key(|key| entry.segment.find(entry.homes, tag, key)) {
            Find::At(at) => self.take_at(hash, index, at),
            Find::Vacant(_) => unreachable!("a pinned record is in its table"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ValueRef;
    use super::*;

    #[test]
    fn a_pin_names_its_record_while_the_table_grows_and_shrinks_around_it() {
        let mut table = Table::with_top_words(7, 128);
        let name = |i: u32| format!("member:{i}").into_bytes();
        let mut pins = Vec::new();
        let count = if cfg!(miri) { 300 } else { 5000 };
        for i in 0..count {
            let hash = table.hash(&name(i));
            let Pinned::Vacant(vacancy) = table.pin(hash, &name(i)) else { panic!("each key is new") };
            let pin = vacancy.insert(&name(i), i64::from(i));
            pins.push(pin);
            let Pinned::Old(mut old) = table.pin(hash, &name(i)) else { panic!("it is there now") };
            old.set_int(i64::from(i) * 2);
        }
        for i in (0..count).filter(|i| i % 10 != 0) {
            // SAFETY: each pin is of a record that is there, and each is taken once.
            let taken = unsafe { table.take_pinned(pins[i as usize]) };
            assert_eq!(taken.entry().key(), name(i));
        }
        for i in (0..count).step_by(10) {
            // SAFETY: only keys that are no multiple of ten were removed.
            let entry = unsafe { pins[i as usize].entry(&table) };
            assert_eq!((entry.key(), entry.value()), (&name(i)[..], ValueRef::Int(i64::from(i) * 2)));
        }
        table.check();
    }
}

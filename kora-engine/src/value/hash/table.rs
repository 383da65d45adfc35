//! The fields of a large hash: a [`Table`], whose expiry of keys is the expiry of fields.

use super::Value;
use crate::change::UnixMs;
use crate::table::{Entry, NewValue, Remains, Table, ValueRef};
use crate::value::element::Element;
use crate::value::item::Item;

/// Fields and values of a large hash.
pub struct FieldTable {
    table: Table,
    /// Of the table's hash function; a copy has the same.
    seed: u64,
    /// Where the sweep of expired fields goes on.
    sweep: u64,
    /// What is left of the table while it is freed in slices.
    remains: Option<Remains>,
}

/// The value of an entry.
#[inline]
pub(super) fn value_of<'a>(entry: &Entry<'a>) -> Value<'a> {
    match entry.value() {
        ValueRef::Int(int) => Value::Element(Element::Int(int)),
        ValueRef::Bytes(bytes) => Value::Element(Element::Bytes(bytes)),
        ValueRef::Shared(bytes) => Value::Shared(bytes),
        ValueRef::Object(_) => unreachable!("fields hold strings"),
    }
}

/// A value to be stored.
#[inline]
fn stored(value: Item<'_>) -> NewValue<'_> {
    match value {
        Item::Int(int) => NewValue::Int(int),
        Item::Bytes(bytes) => NewValue::Bytes(bytes),
    }
}

impl FieldTable {
    pub(super) fn new(seed: u64) -> FieldTable {
        FieldTable { table: Table::new(seed), seed, sweep: 0, remains: None }
    }

    /// The table, for reading.
    #[inline]
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// The entry of a field, expired or not.
    #[inline]
    pub(super) fn get(&self, field: &[u8]) -> Option<Entry<'_>> {
        self.table.get(self.table.hash(field), field)
    }

    /// Gives a field this value and expiry; true when it was there.
    #[inline]
    pub(super) fn insert(&mut self, field: &[u8], value: Item<'_>, expire_at: Option<UnixMs>) -> bool {
        self.table.insert(self.table.hash(field), field, stored(value), expire_at, 0)
    }

    /// Gives a field that is there another expiry, or none.
    pub(super) fn set_expiry(&mut self, field: &[u8], expire_at: Option<UnixMs>) {
        let hash = self.table.hash(field);
        let mut entry = self.table.get_mut(hash, field).expect("the caller has found it");
        entry.set_expire_at(expire_at);
    }

    /// Removes a field; true when it was there.
    pub(super) fn remove(&mut self, field: &[u8]) -> bool {
        self.table.remove(self.table.hash(field), field)
    }

    /// Removes expired fields, looking into at most so many segments, and calls `gone` with each before it goes. Returns whether it
    /// came to the end of the table.
    pub(super) fn sweep(&mut self, now: UnixMs, segments: usize, gone: &mut dyn FnMut(&[u8])) -> bool {
        let mut opened = 0;
        // A segment in which nothing is due costs one look at its header.
        for _ in 0..segments.saturating_mul(64) {
            let swept = self.table.sweep_expired(now, &mut self.sweep, 1, &mut |entry| gone(entry.key()));
            opened += swept.opened;
            if swept.wrapped {
                return true;
            }
            if opened >= segments {
                return false;
            }
        }
        false
    }

    /// Frees about so many fields; true when nothing is left.
    pub(super) fn free_some(&mut self, fields: usize) -> bool {
        let remains = self.remains.get_or_insert_with(|| self.table.take_all());
        remains.free_some(fields)
    }
}

impl FieldTable {
    /// Copies about so many fields more into another table, from a position on (0 at first), which moves on; true at the end.
    pub(super) fn copy_some(&self, copy: &mut FieldTable, position: &mut u64, fields: usize) -> bool {
        self.table.copy_some(&mut copy.table, position, fields)
    }

    /// An empty one of the same hashes.
    pub(super) fn empty_like(&self) -> FieldTable {
        FieldTable::new(self.seed)
    }
}

impl Clone for FieldTable {
    fn clone(&self) -> FieldTable {
        let (mut copy, mut position) = (self.empty_like(), 0);
        while !self.copy_some(&mut copy, &mut position, usize::MAX) {}
        copy
    }
}

//! Changes of hashes, and the reclaiming of fields whose time has run out.

use super::{Editor, Keyspace, View};
use crate::change::{Change, ChangeValue, DeleteReason, HashEdit, UnixMs};
use crate::limits::EncodingLimits;
use crate::value::hash::{FieldExpiry, Hash, EXPIRY_MAX};
use crate::value::item::Item;
use crate::value::Collection;

impl Editor<'_, Hash> {
    /// Gives a field a value; true when the field is new. The caller has reclaimed it if it was past its time.
    pub fn set(
        &mut self,
        field: &[u8],
        value: Item<'_>,
        expiry: FieldExpiry,
        limits: &EncodingLimits,
    ) -> bool {
        let seed = self.seed();
        let (expire_at, is_new) = self.value_mut().set(field, value, expiry, limits, seed);
        let value = match value {
            Item::Int(int) => ChangeValue::Int(int),
            Item::Bytes(bytes) => ChangeValue::Bytes(bytes),
        };
        self.emit(|db, key| Change::HashEdit { db, key, edit: HashEdit::Set { field, value, expire_at } });
        is_new
    }

    /// Removes a field; true when it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        self.remove_because(field, DeleteReason::Command)
    }

    fn remove_because(&mut self, field: &[u8], reason: DeleteReason) -> bool {
        let removed = self.value_mut().remove(field);
        if removed {
            self.emit(|db, key| Change::HashEdit { db, key, edit: HashEdit::Delete { field, reason } });
        }
        removed
    }

    /// Gives a field another expiry, or none; false when there is no such field.
    pub fn set_expiry(&mut self, field: &[u8], expire_at: Option<UnixMs>) -> bool {
        let found = self.value_mut().set_expiry(field, expire_at);
        if found {
            self.emit(|db, key| Change::HashEdit { db, key, edit: HashEdit::Expire { field, expire_at } });
        }
        found
    }

    /// Removes a field if it is past its time, so that whoever sets it next finds none.
    pub fn reclaim_field(&mut self, field: &[u8], now: UnixMs) {
        if self.next_expiry().is_some_and(|at| at < now)
            && self.find(field).is_some_and(|found| found.is_due(now))
        {
            self.stats().expired_fields += 1;
            self.remove_because(field, DeleteReason::Expired);
            self.renew_if_empty();
        }
    }

    /// Removes fields that are past their time; of a large hash it looks into at most so many segments. Returns whether none is
    /// left.
    pub fn reclaim(&mut self, now: UnixMs, segments: usize) -> bool {
        if self.next_expiry().is_none_or(|at| at >= now) {
            return true;
        }
        let mut count = 0;
        let (hash, changes, db, key) = self.value_and_changes();
        let done = hash.reclaim(now, segments, &mut |field| {
            count += 1;
            let edit = HashEdit::Delete { field, reason: DeleteReason::Expired };
            changes.emit(Change::HashEdit { db, key, edit });
        });
        self.stats().expired_fields += count;
        self.renew_if_empty();
        done
    }

    /// A hash without fields is gone, even if the command goes on to set some.
    fn renew_if_empty(&mut self) {
        if self.is_empty() {
            self.renew();
        }
    }

    /// Readies the hash for fields that expire. It holds the same as before: no change.
    pub fn make_expiring(&mut self) {
        self.value_mut().make_expiring();
    }

    /// Makes a table of a packed hash that is about to be given so many pairs at once, or one with so long a field or
    /// value. As in Redis it counts what is given, not what is new. It holds the same as before: no change.
    pub fn make_room(&mut self, pairs: usize, longest: usize, limits: &EncodingLimits) {
        if self.is_packed()
            && (pairs > limits.hash_max_listpack_entries || longest > limits.hash_max_listpack_value)
        {
            let seed = self.seed();
            self.value_mut().make_table(seed);
        }
    }

    /// Makes room for these fields and values, which are about to be set, in a packed hash that has none: so it does not grow with each.
    /// It holds the same as before: no change.
    pub fn reserve(&mut self, pairs: &[&[u8]]) {
        self.value_mut().reserve(pairs.len() / 2, pairs.iter().map(|text| text.len()).sum());
    }

    /// Gives back the room that they did not need. It holds the same as before: no change.
    pub fn fit(&mut self) {
        self.value_mut().fit();
    }

    /// Makes a table of a packed hash that has as many fields as it may have.
    pub fn make_room_for_one(&mut self, limits: &EncodingLimits) {
        if self.is_packed() && self.len() >= limits.hash_max_listpack_entries {
            let seed = self.seed();
            self.value_mut().make_table(seed);
        }
    }

    /// Does again what a change says; false when no hash can have made it.
    pub(super) fn replay(&mut self, edit: HashEdit<'_>) -> bool {
        match edit {
            HashEdit::Set { expire_at: Some(at), .. } | HashEdit::Expire { expire_at: Some(at), .. }
                if at > EXPIRY_MAX =>
            {
                return false;
            }
            HashEdit::Set { field, value, expire_at } => {
                let value = match value {
                    ChangeValue::Int(int) => Item::Int(int),
                    ChangeValue::Bytes(bytes) => Item::of(bytes),
                    ChangeValue::Object(_) | ChangeValue::Encoded { .. } => return false,
                };
                let expiry = expire_at.map_or(FieldExpiry::Clear, FieldExpiry::At);
                self.set(field, value, expiry, &EncodingLimits::default());
            }
            HashEdit::Delete { field, reason } => {
                self.remove_because(field, reason);
            }
            HashEdit::Expire { field, expire_at } => {
                self.set_expiry(field, expire_at);
            }
        }
        true
    }
}

/// Hashes with expired fields that are reclaimed in one call at most: each costs a lookup.
const HASHES_AT_ONCE: usize = 256;

impl Keyspace {
    /// Removes fields of hashes that are past their time; returns whether there may be more to do right away. It passes
    /// some dozens of headers for each of the `segments` that it may open.
    pub fn reclaim_fields(&mut self, now: UnixMs, segments: usize) -> bool {
        let mut budget = segments;
        let mut more = false;
        for db in 0..self.dbs.len() {
            let mut keys = Vec::new();
            more |= self.dbs[db].due_inside(now, &mut budget, HASHES_AT_ONCE, &mut keys);
            let view = View { db: db as u16, now, touch: false };
            // What is reclaimed is far more work than what is looked at.
            let mut fields = segments.div_ceil(4);
            for key in &keys {
                let key = self.key(key);
                // Another type, or nothing, is there when the key's own time has run out just now.
                let Ok(Some(mut hash)) = self.edit::<Hash>(view, &key) else { continue };
                if hash.is_packed() {
                    hash.reclaim(now, 1);
                } else if fields == 0 {
                    more = true;
                } else {
                    more |= !hash.reclaim(now, fields.div_ceil(2));
                    fields /= 2;
                }
            }
        }
        more
    }
}

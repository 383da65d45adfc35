//! A collection in a table, borrowed for changing it.
//!
//! The collection is taken out of its record while the editor lives, and put back when it is dropped; then it is also
//! decided whether the key goes away because nothing is left in it. The methods that change something are in the files
//! of the types beside this one, and only they can reach the value: so none can forget the change record.

use super::{Beside, KeyspaceStats};
use crate::change::{Change, Changes, DeleteReason, UnixMs};
use crate::table::EntryMut;
use crate::value::Collection;
use std::mem::ManuallyDrop;
use std::ops::Deref;

/// A collection that is being changed. Reads as the collection.
pub struct Editor<'k, T: Collection> {
    /// Out of the record until the editor is dropped, which takes it.
    value: ManuallyDrop<T>,
    /// `Some` until the editor is dropped.
    entry: Option<EntryMut<'k>>,
    beside: Beside<'k>,
    db: u16,
    key: &'k [u8],
    /// The key was made by this editor, and no change has told of it yet.
    unknown: bool,
}

impl<'k, T: Collection> Editor<'k, T> {
    /// None when the key holds another type.
    #[inline(always)]
    pub(super) fn new(
        mut entry: EntryMut<'k>,
        beside: Beside<'k>,
        db: u16,
        key: &'k [u8],
        created: bool,
    ) -> Option<Editor<'k, T>> {
        // SAFETY: the entry is used next when the value is put back, in `drop`.
        let value = ManuallyDrop::new(unsafe { entry.take_collection::<T>() }?);
        Some(Editor { value, entry: Some(entry), beside, db, key, unknown: created })
    }

    /// The value, for the methods that also make the change.
    #[inline]
    pub(super) fn value_mut(&mut self) -> &mut T {
        &mut self.value
    }

    /// Makes a change, given the database and the key.
    #[inline]
    pub(super) fn emit<'c>(&mut self, change: impl FnOnce(u16, &'c [u8]) -> Change<'c>)
    where
        'k: 'c,
    {
        self.unknown = false;
        self.beside.changes.emit(change(self.db, self.key));
    }

    /// The value, and where to tell of its changes (with the database and the key), for a method that tells of elements while
    /// they are still there. The caller does so: the key counts as known from now on.
    #[inline]
    pub(super) fn value_and_changes(&mut self) -> (&mut T, &mut Changes, u16, &'k [u8]) {
        self.unknown = false;
        (&mut self.value, &mut *self.beside.changes, self.db, self.key)
    }

    /// What seeds the hash of members.
    #[inline]
    pub(super) fn seed(&self) -> u64 {
        self.beside.seed
    }

    /// The counters of the keyspace.
    #[inline]
    pub(super) fn stats(&mut self) -> &mut KeyspaceStats {
        self.beside.stats
    }

    /// The value beside what makes its changes, for methods that change while they look.
    #[inline]
    pub(super) fn parts(&mut self) -> (&mut T, Emitter<'_>) {
        let emitter =
            Emitter { changes: self.beside.changes, unknown: &mut self.unknown, db: self.db, key: self.key };
        (&mut self.value, emitter)
    }

    /// Whether this editor has made the key and nothing has changed since.
    #[inline]
    pub fn is_new(&self) -> bool {
        self.unknown
    }

    /// The key goes away, as nothing is left in it, and comes back as if the command had found none: empty and without an expiry.
    pub(super) fn renew(&mut self) {
        assert!(self.value.is_empty());
        let entry = self.entry.as_mut().expect("it is there until the editor is dropped");
        let empty = T::new(self.beside.seed);
        // SAFETY: the value was taken from this entry, and the one in its place is taken next.
        self.value = unsafe {
            drop(ManuallyDrop::take(&mut self.value));
            entry.put_back(empty);
            entry.set_expire_at(None);
            ManuallyDrop::new(entry.take_collection::<T>().expect("just put back"))
        };
        if !self.unknown {
            let reason = DeleteReason::Emptied;
            self.beside.changes.emit(Change::Delete { db: self.db, key: self.key, reason });
        }
        self.unknown = true;
    }

    /// When the key expires.
    pub fn expire_at(&self) -> Option<UnixMs> {
        // The expiry does not lie in the word that is stale.
        self.entry.as_ref().and_then(EntryMut::expire_at)
    }
}

/// Makes the changes of a value that is borrowed besides.
pub(super) struct Emitter<'e> {
    changes: &'e mut Changes,
    unknown: &'e mut bool,
    db: u16,
    key: &'e [u8],
}

impl Emitter<'_> {
    /// Makes a change, given the database and the key.
    #[inline]
    pub(super) fn emit<'c>(&'c mut self, change: impl FnOnce(u16, &'c [u8]) -> Change<'c>) {
        *self.unknown = false;
        self.changes.emit(change(self.db, self.key));
    }
}

impl<T: Collection> Deref for Editor<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Collection> Drop for Editor<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let empty = self.value.is_empty() && !T::KEEP_EMPTY;
        let Some(mut entry) = self.entry.take() else { return };
        // SAFETY: the value was taken from this entry, and it is not used again.
        unsafe { entry.put_back(ManuallyDrop::take(&mut self.value)) };
        if empty {
            drop(entry.take());
            if self.unknown {
                self.beside.slot_counts.count(self.db, self.key, -1);
            } else {
                self.beside.deleted(self.db, self.key, DeleteReason::Emptied);
            }
        }
    }
}

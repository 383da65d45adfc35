//! Strings that are changed in part, at one lookup for any number of reads and writes.

use super::{Key, Keyspace, View};
use crate::change::{Change, ChangeValue, Changes};
use crate::error::Error;
use crate::table::{EntryMut, NewValue, ValueRef};

impl Keyspace {
    /// The string at a live key, to be changed in part; none when there is no such key.
    ///
    /// # Errors
    /// The key holds a collection.
    #[inline]
    pub fn edit_string<'a>(
        &'a mut self,
        view: View,
        key: &Key<'a>,
    ) -> Result<Option<StringEditor<'a>>, Error> {
        let (entry, mut beside) = self.live(view, key);
        let Some(mut entry) = entry else { return Ok(None) };
        if entry.entry().is_object() {
            return Err(Error::WRONG_TYPE);
        }
        beside.touch(view, &mut entry);
        Ok(Some(StringEditor { entry, changes: beside.changes, db: view.db, key: key.bytes }))
    }
}

/// A string that is there, open for changes. Each writing method makes its change; reading costs nothing.
pub struct StringEditor<'a> {
    entry: EntryMut<'a>,
    changes: &'a mut Changes,
    db: u16,
    key: &'a [u8],
}

impl StringEditor<'_> {
    /// The string as it is now.
    #[inline]
    pub fn value(&self) -> ValueRef<'_> {
        self.entry.value()
    }

    /// Writes bytes at an offset, filling a gap before it with zero bytes. The caller bounds the length.
    #[inline]
    pub fn write_at(&mut self, offset: u32, bytes: &[u8]) {
        self.entry.write_at(offset as usize, bytes);
        self.changes.emit(Change::SetRange { db: self.db, key: self.key, offset, bytes });
    }

    /// Replaces `removed` bytes at an offset by others; what is behind moves. A part that is not there is not replaced.
    /// The caller bounds the length.
    pub fn splice(&mut self, offset: u32, removed: u32, bytes: &[u8]) {
        let len = self.value().len();
        let at = (offset as usize).min(len);
        let removed_here = (removed as usize).min(len - at);
        self.entry.splice(at, removed_here, bytes);
        self.changes.emit(Change::Splice { db: self.db, key: self.key, offset, removed, bytes });
    }

    /// Replaces the whole string and keeps its expiry.
    pub fn replace(&mut self, bytes: &[u8]) {
        self.entry.set_value(NewValue::Bytes(bytes));
        self.changes.emit(Change::Set {
            db: self.db,
            key: self.key,
            value: ChangeValue::Bytes(bytes),
            expire_at: self.entry.expire_at(),
        });
    }

    /// Gives the string the form that Redis gives it before it writes into it, even if it then writes what is there
    /// already: an integer becomes its text, and a short string counts as written in part (OBJECT ENCODING says `raw`).
    #[inline]
    pub fn make_raw(&mut self) {
        match self.entry.value() {
            ValueRef::Int(int) => {
                // Redis's own log would not tell; here the kind of value is data, and so this is a change.
                let first = itoa::Buffer::new().format(int).as_bytes()[0];
                self.write_at(0, &[first]);
            }
            ValueRef::Bytes(_) => self.entry.set_edited(),
            ValueRef::Shared(_) | ValueRef::Object(_) => {}
        }
    }
}

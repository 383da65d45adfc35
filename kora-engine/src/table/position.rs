//! Where a key is: found once, used for several steps of a command.
//!
//! A borrowed entry cannot be returned by one branch of a function whose other branch removes the key; a [`Position`]
//! borrows nothing. It says where the key is until the table changes. A stale one is a mistake but
//! not unsafe: it is another entry, or a panic.

use super::{Entry, EntryMut, Find, KeyHash, Table};

/// Where a key is, until the table changes.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    hash: KeyHash,
    at: usize,
}

impl Table {
    /// Where a key is.
    #[inline]
    pub fn find(&self, hash: KeyHash, key: &[u8]) -> Option<Position> {
        let (_, entry, tag) = self.locate(hash);
        match entry.segment.find(entry.homes, tag, key) {
            Find::At(at) => Some(Position { hash, at }),
            Find::Vacant(_) => None,
        }
    }

    /// Directory index and slot; the slot is occupied, whatever has happened since.
    #[inline(always)]
    fn occupied(&self, position: Position) -> (usize, usize) {
        let (index, entry, _) = self.locate(position.hash);
        assert!(entry.segment.is_occupied(position.at), "the position is older than the latest change");
        (index, position.at)
    }

    /// The entry at a position.
    #[inline]
    pub fn entry(&self, position: Position) -> Entry<'_> {
        let (index, at) = self.occupied(position);
        self.directory.entry(index).segment.entry(at)
    }

    /// The entry at a position, for changing it.
    #[inline]
    pub fn entry_mut(&mut self, position: Position) -> EntryMut<'_> {
        let (index, at) = self.occupied(position);
        EntryMut { table: self, hash: position.hash, index, at }
    }

    /// Sets the access clock of the entry at a position, of which 24 bits are kept; writes only when it differs.
    #[inline]
    pub fn touch(&mut self, position: Position, access: u32) {
        let (index, at) = self.occupied(position);
        let segment = &mut self.directory.entry_mut(index).segment;
        if segment.entry(at).access() != access {
            segment.set_access(at, access);
        }
    }
}

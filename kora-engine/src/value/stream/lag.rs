//! How far a consumer group is behind, by the rules of Redis.
//!
//! The entries ever added are counted, and so is how many of them a group has read. Both together tell how many are left
//! without a walk, as long as nothing was deleted in between and the group did not jump; otherwise the number is estimated
//! where that is safe, and not known where it is not.

use super::{Body, Group, StreamId};

impl Body {
    /// Whether an entry after `start` was deleted by itself.
    fn has_tombstone_after(&self, start: StreamId) -> bool {
        self.len > 0 && self.max_deleted != StreamId::MIN && start <= self.max_deleted
    }

    /// How many entries were ever added up to this id, if that can be known.
    pub fn entries_up_to(&self, id: StreamId) -> Option<i64> {
        let added = self.added as i64;
        if self.added == 0 {
            return Some(0);
        }
        if self.len == 0 && id <= self.last {
            return Some(added);
        }
        // A tombstone after an arbitrary id may have been before or after the counted ones.
        if id != StreamId::MIN && id < self.max_deleted {
            return None;
        }
        if id == self.last {
            return Some(added);
        }
        if id > self.last {
            return None;
        }
        if self.max_deleted == StreamId::MIN || self.max_deleted < self.first {
            if id < self.first {
                return Some(added.wrapping_sub(self.len as i64));
            }
            if id == self.first {
                return Some(added.wrapping_sub(self.len as i64).wrapping_add(1));
            }
        }
        None
    }

    /// How many entries a group has still to read, if that can be known.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        if self.added == 0 || self.len == 0 {
            return Some(0);
        }
        if group.last < self.first && self.max_deleted < self.first {
            return Some(self.len as i64);
        }
        match group.entries_read {
            Some(read) if !self.has_tombstone_after(group.last) => {
                Some((self.added as i64).wrapping_sub(read))
            }
            _ => Some((self.added as i64).wrapping_sub(self.entries_up_to(group.last)?)),
        }
    }

    /// How many entries a group has read once the entry `id` is delivered to it, which had read `read` up to `last` before.
    pub fn entries_read_after(&self, last: StreamId, read: Option<i64>, id: StreamId) -> Option<i64> {
        match read {
            // What was trimmed before the group could read it is not in its count.
            Some(read) if last >= self.first && !self.has_tombstone_after(last) => Some(read.wrapping_add(1)),
            read if self.added == 0 => read,
            _ => self.entries_up_to(id),
        }
    }
}

//! Moving records together, when the allocator has pages of which little is in use.
//!
//! Evicted and overwritten records leave holes in the pages of their size. The allocator fills them with new records of that size; but when sizes change,
//! say from 100 bytes to 1000, nobody asks for the holes any more, and a page comes back only when its last record goes. So a
//! walk over the table moves the records that lie in sparse pages: each is allocated anew, which puts it into a fuller page, and
//! the sparse one becomes empty. The allocator tells which pages are sparse and never names the page that it allocates from, so a record is moved
//! at most once per walk. Large strings move too, and packed collections; large collections stay.

use super::{next_prefix, KeyHash, Table};

/// Says whether a block of memory lies in a sparse page.
pub type IsSparse<'a> = &'a dyn Fn(*const u8) -> bool;

/// What [`Table::relocate`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relocated {
    /// Records looked at.
    pub seen: usize,
    /// Records moved.
    pub moved: usize,
}

impl Table {
    /// Moves the records of some segments that lie in sparse pages. Goes on from `cursor` (0 at first), passes at most `segments` segments and leaves `cursor`
    /// where the next call goes on, 0 after the last segment.
    pub(crate) fn relocate(
        &mut self,
        cursor: &mut u64,
        segments: usize,
        is_sparse: IsSparse<'_>,
    ) -> Relocated {
        let mut sum = Relocated::default();
        for _ in 0..segments {
            let (index, entry, _) = self.locate(KeyHash(*cursor));
            let next = next_prefix(*cursor, entry.depth);
            sum.seen += entry.segment.len();
            let (moved, delta) = self.directory.entry_mut(index).segment.relocate(is_sparse);
            self.account(delta);
            sum.moved += moved;
            *cursor = next.unwrap_or(0);
            if next.is_none() {
                break;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{NewValue, ValueRef};
    use bytes::Bytes;

    #[test]
    fn moved_records_are_what_they_were() {
        let mut table = Table::new(3);
        let large = Bytes::from(vec![7; 100_000]);
        for i in 0..5000u64 {
            let key = i.to_le_bytes();
            let hash = table.hash(&key);
            let value = match i % 3 {
                0 => NewValue::Int(i as i64),
                1 => NewValue::Bytes(&key),
                _ => NewValue::Shared(large.clone()),
            };
            table.insert(hash, &key, value, (i % 2 == 0).then_some(i), i as u32);
        }
        let memory = table.memory();
        let mut cursor = 0;
        let mut sum = Relocated::default();
        let every_second = |block: *const u8| (block.addr() / 16).is_multiple_of(2);
        loop {
            let done = table.relocate(&mut cursor, 1, &every_second);
            sum.seen += done.seen;
            sum.moved += done.moved;
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(sum.seen, 5000);
        assert!(sum.moved > 1000 && sum.moved < 5000, "{sum:?}");
        assert_eq!(table.memory().segments, memory.segments);
        table.check();
        for i in 0..5000u64 {
            let key = i.to_le_bytes();
            let entry = table.get(table.hash(&key), &key).expect("it is there");
            assert_eq!((entry.expire_at(), entry.access()), ((i % 2 == 0).then_some(i), i as u32));
            match (i % 3, entry.value()) {
                (0, value) => assert_eq!(value, ValueRef::Int(i as i64)),
                (1, value) => assert_eq!(value, ValueRef::Bytes(&key)),
                (_, value) => assert_eq!(value, ValueRef::Shared(&large)),
            }
        }
    }

    #[test]
    fn an_empty_table_has_nothing_to_move() {
        let mut cursor = 0;
        assert_eq!(Table::new(3).relocate(&mut cursor, 10, &|_| true), Relocated::default());
        assert_eq!(cursor, 0);
    }
}

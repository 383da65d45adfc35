//! Memory that a command will wait for, asked for while others are executed.
//!
//! A packed collection is one allocation, read from its start. A large one has a table of members, in which the command finds
//! one through two cache lines more: the slot, then the record. Which member that is, the arguments tell without a
//! look at the command: behind the key comes the member (HGET, HSET, SADD, SISMEMBER), and of sorted sets the last argument
//! is it (ZSCORE, ZADD with one member), unless that is empty. Where that is wrong a hash and a cache line are wasted.

use super::object::{Object, ObjectRef};
use super::{forms, Type};
use crate::table::{prefetch, KeyHash};

const CACHE_LINE: usize = 64;

/// Cache lines at the start of a collection that are asked for: a packed one of some ten elements has about so many.
const LINES: usize = 3;

/// Longer arguments are no members, or there is enough to do besides waiting: they are not hashed.
const MEMBER_LEN_MAX: usize = 256;

/// A member of a large collection whose slot is on its way.
pub struct MemberAhead<'a> {
    object: ObjectRef<'a>,
    hash: KeyHash,
}

impl MemberAhead<'_> {
    /// Asks for its record; its slot must be at hand by now.
    #[inline]
    pub fn prefetch_record(self) {
        self.object.with(|object| {
            if let Some(table) = object.members() {
                table.prefetch_record(self.hash);
            }
        });
    }
}

impl<'a> ObjectRef<'a> {
    /// Asks the processor for what a command reads first, given what it has behind the key: its next argument and its last one.
    #[inline]
    pub(crate) fn prefetch(self, arguments: Option<(&[u8], &[u8])>) -> Option<MemberAhead<'a>> {
        let start = forms::pointer_of(self.word()).cast_const();
        (0..LINES).for_each(|line| prefetch(start.wrapping_add(line * CACHE_LINE)));
        let (next, last) = arguments?;
        let member = if self.kind() == Type::Zset { last } else { next };
        if member.is_empty() || member.len() > MEMBER_LEN_MAX {
            return None;
        }
        let hash = self.with(|object: &Object| {
            let table = object.members()?;
            let hash = table.hash(member);
            table.prefetch(hash);
            Some(hash)
        })?;
        Some(MemberAhead { object: self, hash })
    }
}

#[cfg(test)]
mod tests {
    use crate::limits::EncodingLimits;
    use crate::table::Table;
    use crate::value::hash::{FieldExpiry, Hash};
    use crate::value::item::Item;
    use crate::value::list::{End, Fill, List};
    use crate::value::set::Set;
    use crate::value::zset::{Growth, Zset};
    use crate::value::{Collection, Object};

    fn hash(is_large: bool) -> Object {
        let mut hash = Hash::new(1);
        let limits = EncodingLimits::default();
        hash.set(b"member", Item::Int(1), FieldExpiry::Clear, &limits, 1);
        if is_large {
            hash.make_table(1);
        }
        hash.into_object()
    }

    fn zset(entries_max: usize) -> Object {
        let limits = EncodingLimits { zset_max_listpack_entries: entries_max, ..EncodingLimits::default() };
        let mut zset = Zset::new(1);
        zset.insert(b"member", 1.0, Growth::new(&limits, 1));
        zset.into_object()
    }

    fn list() -> Object {
        let mut list = List::new(1);
        list.before_growing(6, 1, Fill::new(-2));
        list.push(End::Tail, b"member");
        list.into_object()
    }

    #[test]
    fn a_large_collection_of_members_has_one_to_ask_for() {
        let set = Set::Table(Box::new(Table::new(1))).into_object();
        let objects = [
            (hash(false), false),
            (hash(true), true),
            (zset(10), false),
            (zset(0), true),
            (list(), false),
            (Set::new(1).into_object(), false),
            (set, true),
        ];
        for (object, is_large) in objects {
            let what = format!("{object:?}");
            let mut table = Table::new(2);
            let key = table.hash(b"key");
            table.insert_object(key, b"key", object, None, 0);
            let entry = table.prefetch_record(key).expect("the only one");
            assert!(entry.prefetch_collection(None).is_none());
            assert!(entry.prefetch_collection(Some((b"", b""))).is_none());
            for arguments in [(&b"member"[..], &b"other"[..]), (b"other", b"member")] {
                let ahead = entry.prefetch_collection(Some(arguments));
                assert_eq!(ahead.is_some(), is_large, "{what}");
                if let Some(ahead) = ahead {
                    ahead.prefetch_record();
                }
            }
        }
        let mut table = Table::new(2);
        let key = table.hash(b"key");
        assert!(table.prefetch_record(key).is_none());
        table.insert(key, b"key", crate::table::NewValue::Int(1), None, 0);
        let entry = table.prefetch_record(key).expect("the only one");
        assert!(entry.prefetch_collection(Some((b"member", b"member"))).is_none());
    }
}

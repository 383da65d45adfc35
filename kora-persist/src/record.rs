//! One change as bytes: the payload of the log, of CDC and of whatever else carries changes out of a process.
//!
//! A record is a tag byte and the fields of the change. The low four bits of the tag are the kind, the high four say
//! what else is in the record or hold a small field; bits without a meaning are zero.
//!
//! ```text
//! change     kind  flags              fields
//! Set        1     V: bit 4, E: bit 5 db  key  value (an integer if V)  expiry if E
//!                  O: bit 6           the value is a type byte and the bytes of a collection
//! Append     2                        db  key  tail
//! SetRange   3                        db  key  offset  bytes
//! Expire     4     E: bit 5           db  key  expiry if E
//! Delete     5     reason: bits 4-5   db  key
//! FlushDb    6                        db
//! SwapDb     7                        a   b
//! HashEdit   11                       see [`hash`]
//! ListEdit   8     edit: bits 4-7     db  key  see `list`
//! Splice     14                       db  key  offset  removed  bytes
//! StreamEdit 12                       db  key  see `stream`
//! ZsetEdit  10     edit: bits 4-5     db  key  see `zset`
//! SetEdit    9     see [`set`]         db  key  see there
//! ```
//!
//! The types of collections are 0 list, 1 set, 2 sorted set, 3 hash, 4 stream.
//!
//! Reasons are 0 (command), 1 (expired), 2 (evicted) and 3 (emptied). Numbers are [`varint`]s; keys, values, tails and bytes are a
//! varint length and as many bytes; an integer value is a zigzag varint; an expiry is absolute, in milliseconds since the
//! Unix epoch. `SET key 12345` in database 0 is 9 bytes.
//!
//! A record does not carry a version of its own: the frame does ([`crate::frame::FORMAT_VERSION`]). A new kind of change
//! takes a free kind number and a new version; the meaning of a number never changes.

mod hash;
mod list;
mod set;
mod stream;
mod zset;

use kora_engine::change::{Change, ChangeValue, DeleteReason};
use kora_engine::value::Type;

use crate::error::DecodeError;
use crate::limits::FIELD_BYTES_MAX;
use crate::varint;

const KIND_BITS: u8 = 0x0f;
const SET: u8 = 1;
const APPEND: u8 = 2;
const SET_RANGE: u8 = 3;
const EXPIRE: u8 = 4;
const DELETE: u8 = 5;
const FLUSH_DB: u8 = 6;
const SWAP_DB: u8 = 7;
const LIST_EDIT: u8 = 8;
const SPLICE: u8 = 14;
const STREAM_EDIT: u8 = 12;
const ZSET_EDIT: u8 = 10;
const SET_EDIT: u8 = 9;

const COMMIT: u8 = 13;
const FUNCTIONS: u8 = 15;

const VALUE_IS_INTEGER: u8 = 1 << 4;
const EXPIRES: u8 = 1 << 5;
const VALUE_IS_OBJECT: u8 = 1 << 6;
const REASON_SHIFT: u32 = 4;

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// Something has changed.
    Change(Change<'a>),
    /// The transaction with this tag is whole.
    Commit {
        /// Its tag.
        tag: u64,
    },
    /// The libraries of functions are these now.
    Functions {
        /// What FUNCTION DUMP gives; no bytes without libraries.
        dump: &'a [u8],
    },
}

/// Appends the commit of a transaction.
pub fn encode_commit(tag: u64, out: &mut Vec<u8>) {
    out.push(COMMIT);
    varint::encode(tag, out);
}

/// Appends all libraries of functions.
pub fn encode_functions(dump: &[u8], out: &mut Vec<u8>) {
    out.push(FUNCTIONS);
    put_bytes(dump, out);
}

/// Reads the record at the beginning of `input`; returns it, borrowing from `input`, and its length.
///
/// # Errors
/// There is none.
pub fn decode_entry(input: &[u8]) -> Result<(Entry<'_>, usize), DecodeError> {
    let mut reader = Reader { input, at: 1 };
    match input.first() {
        Some(&COMMIT) => {
            let tag = reader.number("transaction tag")?;
            Ok((Entry::Commit { tag }, reader.at))
        }
        Some(&FUNCTIONS) => {
            let dump = reader.bytes("length of functions")?;
            Ok((Entry::Functions { dump }, reader.at))
        }
        _ => decode(input).map(|(change, length)| (Entry::Change(change), length)),
    }
}

/// Appends a change.
///
/// # Panics
/// When a key or value is longer than 4 GiB, which the engine does not allow.
pub fn encode(change: &Change<'_>, out: &mut Vec<u8>) {
    match *change {
        Change::Set { db, key, value, expire_at } => {
            let form = match value {
                ChangeValue::Int(_) => VALUE_IS_INTEGER,
                ChangeValue::Bytes(_) => 0,
                ChangeValue::Object(_) | ChangeValue::Encoded { .. } => VALUE_IS_OBJECT,
            };
            let expires = if expire_at.is_some() { EXPIRES } else { 0 };
            put_head(SET | form | expires, db, key, out);
            match value {
                ChangeValue::Int(number) => varint::encode(varint::zigzag(number), out),
                ChangeValue::Bytes(bytes) => put_bytes(bytes, out),
                ChangeValue::Object(object) => {
                    let mut bytes = Vec::new();
                    object.with(|object| object.encode(&mut bytes));
                    put_object(object.kind(), &bytes, out);
                }
                ChangeValue::Encoded { kind, bytes } => put_object(kind, bytes, out),
            }
            if let Some(at) = expire_at {
                varint::encode(at, out);
            }
        }
        Change::Append { db, key, tail } => {
            put_head(APPEND, db, key, out);
            put_bytes(tail, out);
        }
        Change::SetRange { db, key, offset, bytes } => {
            put_head(SET_RANGE, db, key, out);
            varint::encode(u64::from(offset), out);
            put_bytes(bytes, out);
        }
        Change::Splice { db, key, offset, removed, bytes } => {
            put_head(SPLICE, db, key, out);
            varint::encode(u64::from(offset), out);
            varint::encode(u64::from(removed), out);
            put_bytes(bytes, out);
        }
        Change::Expire { db, key, expire_at } => {
            put_head(EXPIRE | if expire_at.is_some() { EXPIRES } else { 0 }, db, key, out);
            if let Some(at) = expire_at {
                varint::encode(at, out);
            }
        }
        Change::Delete { db, key, reason } => {
            let reason = match reason {
                DeleteReason::Command => 0,
                DeleteReason::Expired => 1,
                DeleteReason::Evicted => 2,
                DeleteReason::Emptied => 3,
            };
            put_head(DELETE | reason << REASON_SHIFT, db, key, out);
        }
        Change::HashEdit { db, key, ref edit } => hash::encode(db, key, edit, out),
        Change::ListEdit { db, key, edit } => list::encode(db, key, edit, out),
        Change::SetEdit { db, key, edit } => {
            put_head(SET_EDIT | set::flags(&edit), db, key, out);
            set::encode(&edit, out);
        }
        Change::FlushDb { db } => {
            out.push(FLUSH_DB);
            varint::encode(u64::from(db), out);
        }
        Change::SwapDb { a, b } => {
            out.push(SWAP_DB);
            varint::encode(u64::from(a), out);
            varint::encode(u64::from(b), out);
        }
        Change::StreamEdit { db, key, edit } => {
            put_head(STREAM_EDIT, db, key, out);
            stream::encode(&edit, out);
        }
        Change::ZsetEdit { db, key, edit } => zset::encode(db, key, edit, out),
    }
}

/// Appends what is before and behind the bytes of a string in the record of a `Set`.
pub(crate) fn encode_around_value(
    db: u16,
    key: &[u8],
    value_len: usize,
    expire_at: Option<u64>,
    head: &mut Vec<u8>,
    tail: &mut Vec<u8>,
) {
    assert!(value_len as u64 <= FIELD_BYTES_MAX, "a field of {value_len} bytes");
    put_head(SET | if expire_at.is_some() { EXPIRES } else { 0 }, db, key, head);
    varint::encode(value_len as u64, head);
    if let Some(at) = expire_at {
        varint::encode(at, tail);
    }
}

fn put_head(tag: u8, db: u16, key: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    varint::encode(u64::from(db), out);
    put_bytes(key, out);
}

fn put_object(kind: Type, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(TYPES.iter().position(|&t| t == kind).expect("strings are not objects") as u8);
    put_bytes(bytes, out);
}

/// Types of collections by their number in a record.
const TYPES: [Type; 5] = [Type::List, Type::Set, Type::Zset, Type::Hash, Type::Stream];

fn type_of(number: u8) -> Option<Type> {
    TYPES.get(number as usize).copied()
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    assert!(bytes.len() as u64 <= FIELD_BYTES_MAX, "a field of {} bytes", bytes.len());
    varint::encode(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Reads the change at the beginning of `input`; returns it, borrowing from `input`, and the length of its record.
pub fn decode(input: &[u8]) -> Result<(Change<'_>, usize), DecodeError> {
    let mut reader = Reader { input, at: 0 };
    let tag = reader.byte()?;
    let refused = Err(DecodeError::RecordTag { found: tag });
    let flags = tag & !KIND_BITS;
    let change = match tag & KIND_BITS {
        SET if flags & !(VALUE_IS_INTEGER | VALUE_IS_OBJECT | EXPIRES) == 0
            && flags & (VALUE_IS_INTEGER | VALUE_IS_OBJECT) != VALUE_IS_INTEGER | VALUE_IS_OBJECT =>
        {
            let (db, key) = (reader.db()?, reader.bytes("key length")?);
            let value = if flags & VALUE_IS_INTEGER != 0 {
                ChangeValue::Int(varint::unzigzag(reader.number("integer value")?))
            } else if flags & VALUE_IS_OBJECT != 0 {
                let found = reader.byte()?;
                let kind = type_of(found).ok_or(DecodeError::ValueType { found })?;
                ChangeValue::Encoded { kind, bytes: reader.bytes("value length")? }
            } else {
                ChangeValue::Bytes(reader.bytes("value length")?)
            };
            Change::Set { db, key, value, expire_at: reader.expiry(flags)? }
        }
        APPEND if flags == 0 => Change::Append {
            db: reader.db()?,
            key: reader.bytes("key length")?,
            tail: reader.bytes("tail length")?,
        },
        SET_RANGE if flags == 0 => Change::SetRange {
            db: reader.db()?,
            key: reader.bytes("key length")?,
            offset: reader.number_within("offset")?,
            bytes: reader.bytes("value length")?,
        },
        SPLICE if flags == 0 => Change::Splice {
            db: reader.db()?,
            key: reader.bytes("key length")?,
            offset: reader.number_within("offset")?,
            removed: reader.number_within("replaced length")?,
            bytes: reader.bytes("value length")?,
        },
        EXPIRE if flags & !EXPIRES == 0 => Change::Expire {
            db: reader.db()?,
            key: reader.bytes("key length")?,
            expire_at: reader.expiry(flags)?,
        },
        DELETE => {
            let reason = match flags >> REASON_SHIFT {
                0 => DeleteReason::Command,
                1 => DeleteReason::Expired,
                2 => DeleteReason::Evicted,
                3 => DeleteReason::Emptied,
                _ => return refused,
            };
            Change::Delete { db: reader.db()?, key: reader.bytes("key length")?, reason }
        }
        hash::HASH_EDIT if hash::flags_are_known(tag) => hash::decode(tag, &mut reader)?,
        LIST_EDIT if list::is_known(flags) => list::decode(flags, &mut reader)?,
        SET_EDIT => {
            let (db, key) = (reader.db()?, reader.bytes("key length")?);
            let Some(edit) = set::decode(flags, &mut reader)? else { return refused };
            Change::SetEdit { db, key, edit }
        }
        FLUSH_DB if flags == 0 => Change::FlushDb { db: reader.db()? },
        SWAP_DB if flags == 0 => Change::SwapDb { a: reader.db()?, b: reader.db()? },
        STREAM_EDIT if flags == 0 => Change::StreamEdit {
            db: reader.db()?,
            key: reader.bytes("key length")?,
            edit: stream::decode(&mut reader)?,
        },
        ZSET_EDIT if zset::is_known(flags) => zset::decode(flags, &mut reader)?,
        _ => return refused,
    };
    Ok((change, reader.at))
}

/// Walks through a record. `at` never passes the end of `input`.
struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn incomplete(&self, missing: usize) -> DecodeError {
        DecodeError::Incomplete {
            needed: self.input.len().saturating_add(missing),
            available: self.input.len(),
        }
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.input.get(self.at).ok_or_else(|| self.incomplete(1))?;
        self.at += 1;
        Ok(byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let rest = &self.input[self.at..];
        let bytes = rest.first_chunk().ok_or_else(|| self.incomplete(N - rest.len()))?;
        self.at += N;
        Ok(*bytes)
    }

    fn number(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        match varint::decode(&self.input[self.at..], field) {
            Ok((number, length)) => {
                self.at += length;
                Ok(number)
            }
            Err(DecodeError::Incomplete { .. }) => Err(self.incomplete(1)),
            Err(error) => Err(error),
        }
    }

    fn number_within<N: TryFrom<u64>>(&mut self, field: &'static str) -> Result<N, DecodeError> {
        N::try_from(self.number(field)?).map_err(|_| DecodeError::Number { field })
    }

    fn db(&mut self) -> Result<u16, DecodeError> {
        self.number_within("database index")
    }

    fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = self.number(field)?;
        if length > FIELD_BYTES_MAX {
            return Err(DecodeError::Number { field });
        }
        let rest = &self.input[self.at..];
        let length = length as usize;
        let bytes = rest.get(..length).ok_or_else(|| self.incomplete(length - rest.len()))?;
        self.at += length;
        Ok(bytes)
    }

    fn expiry(&mut self, flags: u8) -> Result<Option<u64>, DecodeError> {
        if flags & EXPIRES == 0 {
            return Ok(None);
        }
        self.number("expiry").map(Some)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A change that owns its bytes, for generators.
    #[derive(Debug, Clone)]
    pub(crate) enum OwnedChange {
        Set(u16, Vec<u8>, Result<i64, Vec<u8>>, Option<u64>),
        Append(u16, Vec<u8>, Vec<u8>),
        SetRange(u16, Vec<u8>, u32, Vec<u8>),
        Splice(u16, Vec<u8>, u32, u32, Vec<u8>),
        Expire(u16, Vec<u8>, Option<u64>),
        Delete(u16, Vec<u8>, DeleteReason),
        FlushDb(u16),
        SwapDb(u16, u16),
        List(u16, Vec<u8>, list::tests::OwnedEdit),
        Zset(u16, Vec<u8>, zset::tests::OwnedEdit),
    }

    impl OwnedChange {
        pub(crate) fn borrow(&self) -> Change<'_> {
            match self {
                OwnedChange::Set(db, key, value, expire_at) => Change::Set {
                    db: *db,
                    key,
                    value: match value {
                        Ok(number) => ChangeValue::Int(*number),
                        Err(bytes) => ChangeValue::Bytes(bytes),
                    },
                    expire_at: *expire_at,
                },
                OwnedChange::Append(db, key, tail) => Change::Append { db: *db, key, tail },
                OwnedChange::SetRange(db, key, offset, bytes) => {
                    Change::SetRange { db: *db, key, offset: *offset, bytes }
                }
                OwnedChange::Splice(db, key, offset, removed, bytes) => {
                    Change::Splice { db: *db, key, offset: *offset, removed: *removed, bytes }
                }
                OwnedChange::Expire(db, key, expire_at) => {
                    Change::Expire { db: *db, key, expire_at: *expire_at }
                }
                OwnedChange::Delete(db, key, reason) => Change::Delete { db: *db, key, reason: *reason },
                OwnedChange::FlushDb(db) => Change::FlushDb { db: *db },
                OwnedChange::SwapDb(a, b) => Change::SwapDb { a: *a, b: *b },
                OwnedChange::List(db, key, edit) => Change::ListEdit { db: *db, key, edit: edit.borrow() },
                OwnedChange::Zset(db, key, edit) => Change::ZsetEdit { db: *db, key, edit: edit.borrow() },
            }
        }
    }

    pub(crate) fn change() -> impl Strategy<Value = OwnedChange> {
        let db = || prop_oneof![0u16..16, any::<u16>()];
        let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
        let reason =
            prop::sample::select(vec![DeleteReason::Command, DeleteReason::Expired, DeleteReason::Evicted]);
        let value =
            prop_oneof![any::<i64>().prop_map(Ok), (-200i64..200).prop_map(Ok), bytes().prop_map(Err)];
        prop_oneof![
            (db(), bytes(), value, any::<Option<u64>>())
                .prop_map(|(a, b, c, d)| OwnedChange::Set(a, b, c, d)),
            (db(), bytes(), bytes()).prop_map(|(a, b, c)| OwnedChange::Append(a, b, c)),
            (db(), bytes(), any::<u32>(), bytes()).prop_map(|(a, b, c, d)| OwnedChange::SetRange(a, b, c, d)),
            (db(), bytes(), any::<u32>(), any::<u32>(), bytes())
                .prop_map(|(a, b, c, d, e)| OwnedChange::Splice(a, b, c, d, e)),
            (db(), bytes(), any::<Option<u64>>()).prop_map(|(a, b, c)| OwnedChange::Expire(a, b, c)),
            (db(), bytes(), reason).prop_map(|(a, b, c)| OwnedChange::Delete(a, b, c)),
            db().prop_map(OwnedChange::FlushDb),
            (db(), db()).prop_map(|(a, b)| OwnedChange::SwapDb(a, b)),
            (db(), bytes(), list::tests::edit()).prop_map(|(a, b, c)| OwnedChange::List(a, b, c)),
            (db(), bytes(), zset::tests::edit()).prop_map(|(a, b, c)| OwnedChange::Zset(a, b, c)),
        ]
    }

    fn encoded(change: &Change<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        encode(change, &mut out);
        out
    }

    #[test]
    fn a_small_set_is_small() {
        let change = Change::Set { db: 0, key: b"key", value: ChangeValue::Int(12345), expire_at: None };
        assert_eq!(encoded(&change), b"\x11\x00\x03key\xf2\xc0\x01");
    }

    #[test]
    fn unknown_tags_are_refused() {
        for tag in 0..=255u8 {
            let flags_known = match tag & KIND_BITS {
                SET => tag & 0x80 == 0 && tag & 0x50 != 0x50,
                EXPIRE => tag & 0xd0 == 0,
                DELETE => tag >> 4 <= 3,
                LIST_EDIT => matches!(tag >> 4 & 7, 0 | 1 | 2 | 5) || tag >> 4 <= 5,
                APPEND | SET_RANGE | FLUSH_DB | SWAP_DB | SPLICE | STREAM_EDIT => tag >> 4 == 0,
                SET_EDIT | ZSET_EDIT => tag >> 4 <= 2,
                hash::HASH_EDIT => hash::flags_are_known(tag),
                _ => false,
            };
            let accepted = !matches!(decode(&[tag, 0, 0, 0, 0, 0]), Err(DecodeError::RecordTag { found }) if found == tag);
            assert_eq!(accepted, flags_known, "{tag:#04x}");
        }
    }

    #[test]
    fn a_length_field_does_not_make_the_decoder_trust_it() {
        // A key of 4 GiB less one byte: waits for more input. One of 2^32 bytes: refused.
        assert_eq!(
            decode(&[DELETE, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            Err(DecodeError::Incomplete { needed: 7 + u32::MAX as usize, available: 7 })
        );
        assert_eq!(
            decode(&[DELETE, 0, 0x80, 0x80, 0x80, 0x80, 0x10]),
            Err(DecodeError::Number { field: "key length" })
        );
        assert_eq!(decode(&[FLUSH_DB, 0x80, 0x80, 4]), Err(DecodeError::Number { field: "database index" }));
    }

    proptest! {
        #[test]
        fn round_trip(change in change(), rest in proptest::collection::vec(any::<u8>(), 0..8)) {
            let mut bytes = encoded(&change.borrow());
            let length = bytes.len();
            bytes.extend(rest);
            prop_assert_eq!(decode(&bytes), Ok((change.borrow(), length)));
        }

        #[test]
        fn every_shorter_prefix_is_incomplete(change in change()) {
            let bytes = encoded(&change.borrow());
            for length in 0..bytes.len() {
                match decode(&bytes[..length]) {
                    Err(DecodeError::Incomplete { needed, available }) => {
                        prop_assert_eq!(available, length);
                        prop_assert!(needed > length && needed <= bytes.len());
                    }
                    other => prop_assert!(false, "{} bytes of {}: {:?}", length, bytes.len(), other),
                }
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_have_one_meaning(
            tag in any::<u8>(),
            bytes in proptest::collection::vec(prop_oneof![0u8..8, any::<u8>()], 0..64),
        ) {
            let bytes = [vec![tag], bytes].concat();
            if let Ok((change, length)) = decode(&bytes) {
                prop_assert_eq!(&encoded(&change), &bytes[..length]);
            }
        }
    }
}

//! Changes inside a hash.
//!
//! ```text
//! tag        11 | edit: bits 4-5 | see below: bits 6-7
//! edit       number  bits 6-7                      fields
//! Set        0       6: value is an integer        db  key  field  value  expiry if bit 7
//! Delete     1       the reason, as that of a key  db  key  field
//! Expire     2                                     db  key  field  expiry if bit 7
//! ```

use kora_engine::change::{Change, ChangeValue, DeleteReason, HashEdit};

use super::{put_bytes, put_head, varint, Reader};
use crate::error::DecodeError;

pub(super) const HASH_EDIT: u8 = 11;

const EDIT_SHIFT: u32 = 4;
const SET: u8 = 0;
const DELETE: u8 = 1;
const EXPIRE: u8 = 2;

const VALUE_IS_INTEGER: u8 = 1 << 6;
const EXPIRES: u8 = 1 << 7;
const REASON_SHIFT: u32 = 6;

fn expires(expire_at: Option<u64>) -> u8 {
    if expire_at.is_some() {
        EXPIRES
    } else {
        0
    }
}

pub(super) fn encode(db: u16, key: &[u8], edit: &HashEdit<'_>, out: &mut Vec<u8>) {
    let mut head = |edit: u8, flags: u8, field: &[u8]| {
        put_head(HASH_EDIT | edit << EDIT_SHIFT | flags, db, key, out);
        put_bytes(field, out);
    };
    match *edit {
        HashEdit::Set { field, value, expire_at } => match value {
            ChangeValue::Int(number) => {
                head(SET, VALUE_IS_INTEGER | expires(expire_at), field);
                varint::encode(varint::zigzag(number), out);
                put_expiry(expire_at, out);
            }
            ChangeValue::Bytes(bytes) => {
                head(SET, expires(expire_at), field);
                put_bytes(bytes, out);
                put_expiry(expire_at, out);
            }
            ChangeValue::Object(_) | ChangeValue::Encoded { .. } => panic!("a field holds no collection"),
        },
        HashEdit::Delete { field, reason } => {
            let reason = match reason {
                DeleteReason::Command => 0,
                DeleteReason::Expired => 1,
                DeleteReason::Evicted => 2,
                DeleteReason::Emptied => 3,
            };
            head(DELETE, reason << REASON_SHIFT, field);
        }
        HashEdit::Expire { field, expire_at } => {
            head(EXPIRE, expires(expire_at), field);
            put_expiry(expire_at, out);
        }
    }
}

fn put_expiry(expire_at: Option<u64>, out: &mut Vec<u8>) {
    if let Some(at) = expire_at {
        varint::encode(at, out);
    }
}

/// Whether the upper four bits of a tag are those of a hash edit.
pub(super) fn flags_are_known(tag: u8) -> bool {
    match tag >> EDIT_SHIFT & 3 {
        SET | DELETE => true,
        EXPIRE => tag & VALUE_IS_INTEGER == 0,
        _ => false,
    }
}

/// The rest of a record whose tag is known to be right.
pub(super) fn decode<'a>(tag: u8, reader: &mut Reader<'a>) -> Result<Change<'a>, DecodeError> {
    let (db, key) = (reader.db()?, reader.bytes("key length")?);
    let field = reader.bytes("field length")?;
    let expiry = |reader: &mut Reader<'a>| match tag & EXPIRES {
        0 => Ok(None),
        _ => reader.number("expiry").map(Some),
    };
    let edit = match tag >> EDIT_SHIFT & 3 {
        SET => {
            let value = match tag & VALUE_IS_INTEGER {
                0 => ChangeValue::Bytes(reader.bytes("value length")?),
                _ => ChangeValue::Int(varint::unzigzag(reader.number("integer value")?)),
            };
            HashEdit::Set { field, value, expire_at: expiry(reader)? }
        }
        DELETE => {
            let reason = match tag >> REASON_SHIFT {
                0 => DeleteReason::Command,
                1 => DeleteReason::Expired,
                2 => DeleteReason::Evicted,
                _ => DeleteReason::Emptied,
            };
            HashEdit::Delete { field, reason }
        }
        _ => HashEdit::Expire { field, expire_at: expiry(reader)? },
    };
    Ok(Change::HashEdit { db, key, edit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record;
    use proptest::prelude::*;

    fn edits<'a>(field: &'a [u8], value: &'a [u8], number: i64, expire_at: Option<u64>) -> [HashEdit<'a>; 5] {
        [
            HashEdit::Set { field, value: ChangeValue::Int(number), expire_at },
            HashEdit::Set { field, value: ChangeValue::Bytes(value), expire_at },
            HashEdit::Delete { field, reason: DeleteReason::Command },
            HashEdit::Delete { field, reason: DeleteReason::Expired },
            HashEdit::Expire { field, expire_at },
        ]
    }

    proptest! {
        #[test]
        fn round_trip(
            db: u16,
            key in proptest::collection::vec(any::<u8>(), 0..40),
            field in proptest::collection::vec(any::<u8>(), 0..200),
            value in proptest::collection::vec(any::<u8>(), 0..200),
            number: i64,
            expire_at: Option<u64>,
            rest in proptest::collection::vec(any::<u8>(), 0..4),
        ) {
            for edit in edits(&field, &value, number, expire_at) {
                let change = Change::HashEdit { db, key: &key, edit };
                let mut bytes = Vec::new();
                record::encode(&change, &mut bytes);
                let length = bytes.len();
                for short in 0..length {
                    let incomplete = matches!(record::decode(&bytes[..short]), Err(DecodeError::Incomplete { .. }));
                    prop_assert!(incomplete, "{short} bytes of {length}");
                }
                bytes.extend_from_slice(&rest);
                prop_assert_eq!(record::decode(&bytes), Ok((change, length)));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_have_one_meaning(
            flags in 0..16u8,
            bytes in proptest::collection::vec(prop_oneof![0u8..8, any::<u8>()], 0..64),
        ) {
            let bytes = [vec![HASH_EDIT | flags << EDIT_SHIFT], bytes].concat();
            if let Ok((change, length)) = record::decode(&bytes) {
                let mut again = Vec::new();
                record::encode(&change, &mut again);
                prop_assert_eq!(&again[..], &bytes[..length]);
            }
        }
    }

    #[test]
    fn a_small_edit_is_small() {
        let edit = HashEdit::Set { field: b"f", value: ChangeValue::Int(1), expire_at: None };
        let mut bytes = Vec::new();
        record::encode(&Change::HashEdit { db: 0, key: b"key", edit }, &mut bytes);
        assert_eq!(bytes, b"\x4b\x00\x03key\x01f\x02");
    }
}

//! Changes of streams as bytes.
//!
//! After tag, database and key comes a byte that says what was done, and its fields:
//!
//! ```text
//! edit             number  fields
//! Add              0       id  fields and values (length, packed elements); 16 more than the number: in a new block
//! Delete           1       id; 16 more: with a tombstone
//! Trim             2       blocks  before
//! SetIds           3       last  added  max-deleted
//! CreateGroup      4       group  last  entries-read
//! SetGroup         5       group  last  entries-read
//! RemoveGroup      6       group
//! CreateConsumer   7       group  consumer  seen
//! RemoveConsumer   8       group  consumer
//! Seen             9       group  consumer  at; 16 more: it was given something
//! Deliver          10      group  consumer  id  time  count
//! Acknowledge      11      group  id
//! ```
//!
//! An id is two varints, milliseconds and number. Packed elements are those of `kora_engine::value::item`. Entries read are a byte,
//! 0 when not known, or 1 and a zigzag varint.

use kora_engine::change::{EntryFields, StreamEdit};
use kora_engine::value::stream::StreamId;

use super::{put_bytes, Reader};
use crate::error::DecodeError;
use crate::varint;

const ADD: u8 = 0;
const DELETE: u8 = 1;
const TRIM: u8 = 2;
const SET_IDS: u8 = 3;
const CREATE_GROUP: u8 = 4;
const SET_GROUP: u8 = 5;
const REMOVE_GROUP: u8 = 6;
const CREATE_CONSUMER: u8 = 7;
const REMOVE_CONSUMER: u8 = 8;
const SEEN: u8 = 9;
const DELIVER: u8 = 10;
const ACKNOWLEDGE: u8 = 11;

/// A new block, a tombstone, or that a consumer was given something.
const FLAG: u8 = 16;

/// Appends what follows the key.
pub(super) fn encode(edit: &StreamEdit<'_>, out: &mut Vec<u8>) {
    let flagged = |number: u8, flag: bool| if flag { number | FLAG } else { number };
    match *edit {
        StreamEdit::Add { id, new_block, fields } => {
            out.push(flagged(ADD, new_block));
            put_id(id, out);
            let mut packed = Vec::new();
            fields.pack(&mut packed);
            put_bytes(&packed, out);
        }
        StreamEdit::Delete { id, tombstone } => {
            out.push(flagged(DELETE, tombstone));
            put_id(id, out);
        }
        StreamEdit::Trim { blocks, before } => {
            out.push(TRIM);
            varint::encode(blocks, out);
            put_id(before, out);
        }
        StreamEdit::SetIds { last, added, max_deleted } => {
            out.push(SET_IDS);
            put_id(last, out);
            varint::encode(added, out);
            put_id(max_deleted, out);
        }
        StreamEdit::CreateGroup { group, last, entries_read } => {
            put_names(CREATE_GROUP, &[group], out);
            put_id(last, out);
            put_entries_read(entries_read, out);
        }
        StreamEdit::SetGroup { group, last, entries_read } => {
            put_names(SET_GROUP, &[group], out);
            put_id(last, out);
            put_entries_read(entries_read, out);
        }
        StreamEdit::RemoveGroup { group } => put_names(REMOVE_GROUP, &[group], out),
        StreamEdit::CreateConsumer { group, consumer, seen } => {
            put_names(CREATE_CONSUMER, &[group, consumer], out);
            varint::encode(seen, out);
        }
        StreamEdit::RemoveConsumer { group, consumer } => {
            put_names(REMOVE_CONSUMER, &[group, consumer], out);
        }
        StreamEdit::Seen { group, consumer, at, active } => {
            put_names(flagged(SEEN, active), &[group, consumer], out);
            varint::encode(at, out);
        }
        StreamEdit::Deliver { group, consumer, id, time, count } => {
            put_names(DELIVER, &[group, consumer], out);
            put_id(id, out);
            varint::encode(time, out);
            varint::encode(count, out);
        }
        StreamEdit::Acknowledge { group, id } => {
            put_names(ACKNOWLEDGE, &[group], out);
            put_id(id, out);
        }
    }
}

fn put_names(number: u8, names: &[&[u8]], out: &mut Vec<u8>) {
    out.push(number);
    names.iter().for_each(|name| put_bytes(name, out));
}

fn put_id(id: StreamId, out: &mut Vec<u8>) {
    varint::encode(id.ms, out);
    varint::encode(id.seq, out);
}

fn put_entries_read(read: Option<i64>, out: &mut Vec<u8>) {
    out.push(u8::from(read.is_some()));
    if let Some(read) = read {
        varint::encode(varint::zigzag(read), out);
    }
}

/// Reads what follows the key.
pub(super) fn decode<'a>(reader: &mut Reader<'a>) -> Result<StreamEdit<'a>, DecodeError> {
    let number = reader.byte()?;
    let flag = number & FLAG != 0;
    Ok(match number {
        _ if number == ADD || number == ADD | FLAG => {
            let id = id(reader)?;
            let packed = reader.bytes("entry length")?;
            let fields = EntryFields::packed(packed).ok_or(DecodeError::Number { field: "entry" })?;
            StreamEdit::Add { id, new_block: flag, fields }
        }
        _ if number == DELETE || number == DELETE | FLAG => {
            StreamEdit::Delete { id: id(reader)?, tombstone: flag }
        }
        TRIM => StreamEdit::Trim { blocks: reader.number("blocks")?, before: id(reader)? },
        SET_IDS => StreamEdit::SetIds {
            last: id(reader)?,
            added: reader.number("entries added")?,
            max_deleted: id(reader)?,
        },
        CREATE_GROUP => StreamEdit::CreateGroup {
            group: group(reader)?,
            last: id(reader)?,
            entries_read: entries_read(reader)?,
        },
        SET_GROUP => StreamEdit::SetGroup {
            group: group(reader)?,
            last: id(reader)?,
            entries_read: entries_read(reader)?,
        },
        REMOVE_GROUP => StreamEdit::RemoveGroup { group: group(reader)? },
        CREATE_CONSUMER => StreamEdit::CreateConsumer {
            group: group(reader)?,
            consumer: consumer(reader)?,
            seen: reader.number("time")?,
        },
        REMOVE_CONSUMER => StreamEdit::RemoveConsumer { group: group(reader)?, consumer: consumer(reader)? },
        _ if number == SEEN || number == SEEN | FLAG => StreamEdit::Seen {
            group: group(reader)?,
            consumer: consumer(reader)?,
            at: reader.number("time")?,
            active: flag,
        },
        DELIVER => StreamEdit::Deliver {
            group: group(reader)?,
            consumer: consumer(reader)?,
            id: id(reader)?,
            time: reader.number("time")?,
            count: reader.number("deliveries")?,
        },
        ACKNOWLEDGE => StreamEdit::Acknowledge { group: group(reader)?, id: id(reader)? },
        _ => return Err(DecodeError::Number { field: "stream edit" }),
    })
}

fn group<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    reader.bytes("group length")
}

fn consumer<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    reader.bytes("consumer length")
}

fn id(reader: &mut Reader<'_>) -> Result<StreamId, DecodeError> {
    Ok(StreamId::new(reader.number("id")?, reader.number("id")?))
}

fn entries_read(reader: &mut Reader<'_>) -> Result<Option<i64>, DecodeError> {
    match reader.byte()? {
        0 => Ok(None),
        1 => Ok(Some(varint::unzigzag(reader.number("entries read")?))),
        _ => Err(DecodeError::Number { field: "entries read" }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{decode, encode};
    use super::*;
    use kora_engine::change::Change;
    use proptest::prelude::*;

    fn ids() -> impl Strategy<Value = StreamId> {
        (any::<u64>(), any::<u64>(), 0..64u32)
            .prop_map(|(ms, seq, shift)| StreamId::new(ms >> shift, seq >> shift))
    }

    proptest! {
        #[test]
        fn every_edit_reads_back(
            number in 0..12u8,
            flag: bool,
            a in ids(),
            b in ids(),
            n: u64,
            read: Option<i64>,
            group in proptest::collection::vec(any::<u8>(), 0..20),
            consumer in proptest::collection::vec(any::<u8>(), 0..20),
            pairs in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..20), "-?[0-9]{0,5}"), 1..5),
            cut in any::<prop::sample::Index>(),
        ) {
            let parts: Vec<&[u8]> = pairs.iter().flat_map(|(field, value)| [&field[..], value.as_bytes()]).collect();
            let (group, consumer) = (&group[..], &consumer[..]);
            let edit = match number {
                ADD => StreamEdit::Add { id: a, new_block: flag, fields: EntryFields::Given(&parts) },
                DELETE => StreamEdit::Delete { id: a, tombstone: flag },
                TRIM => StreamEdit::Trim { blocks: n, before: a },
                SET_IDS => StreamEdit::SetIds { last: a, added: n, max_deleted: b },
                CREATE_GROUP => StreamEdit::CreateGroup { group, last: a, entries_read: read },
                SET_GROUP => StreamEdit::SetGroup { group, last: a, entries_read: read },
                REMOVE_GROUP => StreamEdit::RemoveGroup { group },
                CREATE_CONSUMER => StreamEdit::CreateConsumer { group, consumer, seen: n },
                REMOVE_CONSUMER => StreamEdit::RemoveConsumer { group, consumer },
                SEEN => StreamEdit::Seen { group, consumer, at: n, active: flag },
                DELIVER => StreamEdit::Deliver { group, consumer, id: a, time: n, count: b.seq },
                _ => StreamEdit::Acknowledge { group, id: a },
            };
            let change = Change::StreamEdit { db: 3, key: b"key", edit };
            let mut bytes = Vec::new();
            encode(&change, &mut bytes);
            prop_assert_eq!(decode(&bytes).unwrap(), (change, bytes.len()));
            let cut = cut.index(bytes.len());
            prop_assert!(decode(&bytes[..cut]).is_err(), "a part of it is nothing");
        }

        #[test]
        fn any_bytes_are_an_edit_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut record = vec![super::super::STREAM_EDIT, 0, 0];
            record.extend_from_slice(&bytes);
            if let Ok((change, length)) = decode(&record) {
                let mut again = Vec::new();
                encode(&change, &mut again);
                prop_assert!(again.len() <= length);
            }
        }
    }
}

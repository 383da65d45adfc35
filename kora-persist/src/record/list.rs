//! Changes of lists as bytes.
//!
//! ```text
//! edit     bits 4-6  bit 7          fields after db and key
//! Push     0         tail           element
//! Pop      1         tail           count
//! Insert   2         after          pivot  element
//! Set      3                        index  element
//! Remove   4                        index  count
//! RemoveEqual 5      nearest: tail  element  count
//! ```

use super::{put_bytes, put_head, Reader, LIST_EDIT};
use crate::error::DecodeError;
use crate::varint;
use kora_engine::change::{Change, ListEdit};
use kora_engine::value::list::End;

const SHIFT: u32 = 4;
const EDIT: u8 = 0b111 << SHIFT;
const PUSH: u8 = 0 << SHIFT;
const POP: u8 = 1 << SHIFT;
const INSERT: u8 = 2 << SHIFT;
const SET: u8 = 3 << SHIFT;
const REMOVE: u8 = 4 << SHIFT;
const REMOVE_EQUAL: u8 = 5 << SHIFT;
const SIDE: u8 = 1 << 7;

fn side_of(end: End) -> u8 {
    match end {
        End::Head => 0,
        End::Tail => SIDE,
    }
}

pub(super) fn encode(db: u16, key: &[u8], edit: ListEdit<'_>, out: &mut Vec<u8>) {
    let flags = match edit {
        ListEdit::Push { end, .. } => PUSH | side_of(end),
        ListEdit::Pop { end, .. } => POP | side_of(end),
        ListEdit::Insert { after, .. } => INSERT | if after { SIDE } else { 0 },
        ListEdit::Set { .. } => SET,
        ListEdit::Remove { .. } => REMOVE,
        ListEdit::RemoveEqual { nearest, .. } => REMOVE_EQUAL | side_of(nearest),
    };
    put_head(LIST_EDIT | flags, db, key, out);
    match edit {
        ListEdit::Push { element, .. } => put_bytes(element, out),
        ListEdit::Pop { count, .. } => varint::encode(count, out),
        ListEdit::Insert { pivot: index, element, .. } | ListEdit::Set { index, element } => {
            varint::encode(index, out);
            put_bytes(element, out);
        }
        ListEdit::Remove { index, count } => {
            varint::encode(index, out);
            varint::encode(count, out);
        }
        ListEdit::RemoveEqual { element, count, .. } => {
            put_bytes(element, out);
            varint::encode(count, out);
        }
    }
}

/// Whether these flags of a tag are an edit.
pub(super) fn is_known(flags: u8) -> bool {
    match flags & EDIT {
        PUSH | POP | INSERT | REMOVE_EQUAL => true,
        SET | REMOVE => flags & SIDE == 0,
        _ => false,
    }
}

pub(super) fn decode<'a>(flags: u8, reader: &mut Reader<'a>) -> Result<Change<'a>, DecodeError> {
    let (db, key) = (reader.db()?, reader.bytes("key length")?);
    let side = flags & SIDE != 0;
    let end = if side { End::Tail } else { End::Head };
    let edit = match flags & EDIT {
        PUSH => ListEdit::Push { end, element: reader.bytes("element length")? },
        POP => ListEdit::Pop { end, count: reader.number("count")? },
        INSERT => ListEdit::Insert {
            pivot: reader.number("index")?,
            after: side,
            element: reader.bytes("element length")?,
        },
        SET => ListEdit::Set { index: reader.number("index")?, element: reader.bytes("element length")? },
        REMOVE_EQUAL => ListEdit::RemoveEqual {
            element: reader.bytes("element length")?,
            count: reader.number("count")?,
            nearest: end,
        },
        _ => ListEdit::Remove { index: reader.number("index")?, count: reader.number("count")? },
    };
    Ok(Change::ListEdit { db, key, edit })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    pub(crate) enum OwnedEdit {
        Push(End, Vec<u8>),
        Pop(End, u64),
        Insert(u64, bool, Vec<u8>),
        Set(u64, Vec<u8>),
        Remove(u64, u64),
        RemoveEqual(Vec<u8>, u64, End),
    }

    impl OwnedEdit {
        pub(crate) fn borrow(&self) -> ListEdit<'_> {
            match *self {
                OwnedEdit::Push(end, ref element) => ListEdit::Push { end, element },
                OwnedEdit::Pop(end, count) => ListEdit::Pop { end, count },
                OwnedEdit::Insert(pivot, after, ref element) => ListEdit::Insert { pivot, after, element },
                OwnedEdit::Set(index, ref element) => ListEdit::Set { index, element },
                OwnedEdit::RemoveEqual(ref element, count, nearest) => {
                    ListEdit::RemoveEqual { element, count, nearest }
                }
                OwnedEdit::Remove(index, count) => ListEdit::Remove { index, count },
            }
        }
    }

    pub(crate) fn edit() -> impl Strategy<Value = OwnedEdit> {
        let end = || prop_oneof![Just(End::Head), Just(End::Tail)];
        let element = || proptest::collection::vec(any::<u8>(), 0..100);
        let number = || prop_oneof![0..300u64, any::<u64>()];
        prop_oneof![
            (end(), element()).prop_map(|(end, element)| OwnedEdit::Push(end, element)),
            (end(), number()).prop_map(|(end, count)| OwnedEdit::Pop(end, count)),
            (number(), any::<bool>(), element()).prop_map(|(a, b, c)| OwnedEdit::Insert(a, b, c)),
            (number(), element()).prop_map(|(index, element)| OwnedEdit::Set(index, element)),
            (number(), number()).prop_map(|(index, count)| OwnedEdit::Remove(index, count)),
            (element(), number(), end()).prop_map(|(a, b, c)| OwnedEdit::RemoveEqual(a, b, c)),
        ]
    }
}

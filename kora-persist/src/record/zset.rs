//! Changes of sorted sets as bytes.
//!
//! ```text
//! edit     number  fields after db and key
//! Set      0       score (8 bytes, the double little-endian)  member
//! Remove   1       member
//! Grow     2
//! ```

use super::{put_bytes, put_head, Reader, ZSET_EDIT};
use crate::error::DecodeError;
use kora_engine::change::{Change, Score, ZsetEdit};

const SHIFT: u32 = 4;
const SET: u8 = 0;
const REMOVE: u8 = 1;
const GROW: u8 = 2;

pub(super) fn encode(db: u16, key: &[u8], edit: ZsetEdit<'_>, out: &mut Vec<u8>) {
    let number = match edit {
        ZsetEdit::Set { .. } => SET,
        ZsetEdit::Remove { .. } => REMOVE,
        ZsetEdit::Grow => GROW,
    };
    put_head(ZSET_EDIT | number << SHIFT, db, key, out);
    match edit {
        ZsetEdit::Set { member, score } => {
            out.extend_from_slice(&score.bits().to_le_bytes());
            put_bytes(member, out);
        }
        ZsetEdit::Remove { member } => put_bytes(member, out),
        ZsetEdit::Grow => {}
    }
}

/// Whether these flags of a tag are an edit.
pub(super) fn is_known(flags: u8) -> bool {
    flags >> SHIFT <= GROW
}

pub(super) fn decode<'a>(flags: u8, reader: &mut Reader<'a>) -> Result<Change<'a>, DecodeError> {
    let (db, key) = (reader.db()?, reader.bytes("key length")?);
    let edit = match flags >> SHIFT {
        SET => {
            let bits = u64::from_le_bytes(reader.array()?);
            let score = Score::from_bits(bits).ok_or(DecodeError::Number { field: "score" })?;
            ZsetEdit::Set { member: reader.bytes("member length")?, score }
        }
        REMOVE => ZsetEdit::Remove { member: reader.bytes("member length")? },
        _ => ZsetEdit::Grow,
    };
    Ok(Change::ZsetEdit { db, key, edit })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    pub(crate) enum OwnedEdit {
        Set(Vec<u8>, f64),
        Remove(Vec<u8>),
        Grow,
    }

    impl OwnedEdit {
        pub(crate) fn borrow(&self) -> ZsetEdit<'_> {
            match self {
                OwnedEdit::Set(member, score) => ZsetEdit::Set { member, score: (*score).into() },
                OwnedEdit::Remove(member) => ZsetEdit::Remove { member },
                OwnedEdit::Grow => ZsetEdit::Grow,
            }
        }
    }

    pub(crate) fn edit() -> impl Strategy<Value = OwnedEdit> {
        let member = || proptest::collection::vec(any::<u8>(), 0..100);
        let score = any::<f64>().prop_filter("no NaN", |score| !score.is_nan());
        prop_oneof![
            (member(), score).prop_map(|(member, score)| OwnedEdit::Set(member, score)),
            member().prop_map(OwnedEdit::Remove),
            Just(OwnedEdit::Grow),
        ]
    }

    #[test]
    fn a_score_that_is_no_number_is_refused() {
        let mut bytes = Vec::new();
        encode(0, b"k", ZsetEdit::Set { member: b"m", score: 1.5.into() }, &mut bytes);
        let at = bytes.len() - 2 - 8;
        bytes[at..at + 8].copy_from_slice(&f64::NAN.to_le_bytes());
        assert_eq!(crate::record::decode(&bytes), Err(DecodeError::Number { field: "score" }));
    }
}

//! Changes of sets as bytes. The high bits of the tag say what was done; after the key come its fields.
//!
//! ```text
//! edit    bits 4-7   fields
//! Add     0          member
//! Remove  1          member
//! Form    2          the form: a byte, 0 integers, 1 packed, 2 table
//! ```

use kora_engine::change::{SetEdit, SetForm};

use super::{put_bytes, Reader};
use crate::error::DecodeError;

const SHIFT: u32 = 4;
const ADD: u8 = 0 << SHIFT;
const REMOVE: u8 = 1 << SHIFT;
const FORM: u8 = 2 << SHIFT;

const FORMS: [SetForm; 3] = [SetForm::Ints, SetForm::Packed, SetForm::Table];

/// The high bits of the tag.
pub(super) fn flags(edit: &SetEdit<'_>) -> u8 {
    match edit {
        SetEdit::Add { .. } => ADD,
        SetEdit::Remove { .. } => REMOVE,
        SetEdit::Form(_) => FORM,
    }
}

/// Appends what follows the key.
pub(super) fn encode(edit: &SetEdit<'_>, out: &mut Vec<u8>) {
    match *edit {
        SetEdit::Add { member } | SetEdit::Remove { member } => put_bytes(member, out),
        SetEdit::Form(form) => out.push(form as u8),
    }
}

/// Reads what follows the key; none when the flags mean nothing.
pub(super) fn decode<'a>(flags: u8, reader: &mut Reader<'a>) -> Result<Option<SetEdit<'a>>, DecodeError> {
    Ok(Some(match flags {
        ADD => SetEdit::Add { member: reader.bytes("member length")? },
        REMOVE => SetEdit::Remove { member: reader.bytes("member length")? },
        FORM => {
            let number = reader.byte()?;
            let form = FORMS.get(number as usize).ok_or(DecodeError::Number { field: "form of a set" })?;
            SetEdit::Form(*form)
        }
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::{decode, encode};
    use super::*;
    use kora_engine::change::Change;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn edits_of_sets_read_back(
            db: u16,
            key in proptest::collection::vec(any::<u8>(), 0..40),
            member in proptest::collection::vec(any::<u8>(), 0..200),
            kind in 0usize..5,
        ) {
            let edit = match kind {
                0 => SetEdit::Add { member: &member },
                1 => SetEdit::Remove { member: &member },
                form => SetEdit::Form(FORMS[form - 2]),
            };
            let change = Change::SetEdit { db, key: &key, edit };
            let mut bytes = Vec::new();
            encode(&change, &mut bytes);
            prop_assert_eq!(decode(&bytes).unwrap(), (change, bytes.len()));
            for len in 0..bytes.len() {
                let incomplete = matches!(decode(&bytes[..len]), Err(DecodeError::Incomplete { .. }));
                prop_assert!(incomplete, "{} of {} bytes", len, bytes.len());
            }
        }
    }

    #[test]
    fn what_no_version_writes_is_refused() {
        let mut bytes = Vec::new();
        encode(&Change::SetEdit { db: 0, key: b"k", edit: SetEdit::Form(SetForm::Table) }, &mut bytes);
        *bytes.last_mut().unwrap() = 3;
        assert_eq!(decode(&bytes), Err(DecodeError::Number { field: "form of a set" }));
        bytes[0] |= 1 << 6;
        assert!(matches!(decode(&bytes), Err(DecodeError::RecordTag { .. })));
    }
}

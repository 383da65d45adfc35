//! Changes inside a hash.

use super::{ChangeValue, DeleteReason, UnixMs};

/// What happened to one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashEdit<'a> {
    /// It holds this value now, with this expiry, whatever it held before.
    Set {
        /// The field.
        field: &'a [u8],
        /// Its value: an integer or bytes.
        value: ChangeValue<'a>,
        /// Absolute expiry, or none.
        expire_at: Option<UnixMs>,
    },
    /// It is gone. (When it was the last one, a [`Delete`](super::Change::Delete) of the key follows.)
    Delete {
        /// The field.
        field: &'a [u8],
        /// Why.
        reason: DeleteReason,
    },
    /// Only its expiry changed.
    Expire {
        /// The field.
        field: &'a [u8],
        /// Absolute expiry, or none.
        expire_at: Option<UnixMs>,
    },
}

//! Between the bytes of a command and the values of the table.

use crate::limits::INLINE_VALUE_MAX;
use crate::reply::Reply;
use crate::table::{NewValue, ValueRef};
use bytes::Bytes;

/// Longest text of a 64-bit integer: a minus and 19 digits.
const INTEGER_TEXT_MAX: usize = 20;

/// The form in which an argument is stored: an integer when its text is the canonical one, the receive buffer's own
/// bytes when it is large and most of its frame, else a copy.
#[inline]
pub(super) fn stored<'a>(text: &'a [u8], frame: Option<&Bytes>) -> NewValue<'a> {
    if text.len() <= INTEGER_TEXT_MAX {
        match crate::args::parse_i64(text) {
            Some(value) => NewValue::Int(value),
            None => NewValue::Bytes(text),
        }
    } else if text.len() <= INLINE_VALUE_MAX {
        NewValue::Bytes(text)
    } else {
        stored_large(text, frame)
    }
}

#[cold]
fn stored_large<'a>(text: &'a [u8], frame: Option<&Bytes>) -> NewValue<'a> {
    match frame {
        // A value that is the smaller part of its frame would hold more memory than it fills.
        Some(frame) if text.len() >= frame.len() / 2 => NewValue::Shared(frame.slice_ref(text)),
        _ => NewValue::Bytes(text),
    }
}

/// Answers with a value.
#[inline]
pub(super) fn answer(value: ValueRef<'_>, reply: &mut dyn Reply) {
    match value {
        ValueRef::Bytes(bytes) => reply.bulk(bytes),
        ValueRef::Int(value) => reply.bulk_int(value),
        ValueRef::Shared(bytes) => reply.bulk_shared(bytes),
        ValueRef::Object(_) => unreachable!("string commands look for strings"),
    }
}

/// Answers with a value or its absence.
#[inline]
pub(super) fn answer_or_null(value: Option<ValueRef<'_>>, reply: &mut dyn Reply) {
    match value {
        Some(value) => answer(value, reply),
        None => reply.null(),
    }
}

/// Calls with the bytes of a value, which an integer does not have until they are written.
pub(in crate::commands) fn with_text<T>(value: ValueRef<'_>, call: impl FnOnce(&[u8]) -> T) -> T {
    match value {
        ValueRef::Bytes(bytes) => call(bytes),
        ValueRef::Int(value) => call(itoa::Buffer::new().format(value).as_bytes()),
        ValueRef::Shared(bytes) => call(bytes),
        ValueRef::Object(_) => unreachable!("string commands look for strings"),
    }
}

//! Ids as arguments: `ms-seq`, `ms`, `-`, `+`, `(` before an id that is excluded, and `*` for what the server chooses.

use crate::error::Error;
use crate::value::stream::StreamId;

const INVALID: Error = Error::new("ERR Invalid stream ID specified as stream command argument");
const INVALID_START: Error = Error::new("ERR invalid start ID for the interval");
const INVALID_END: Error = Error::new("ERR invalid end ID for the interval");

/// Redis copies an id into a buffer of 128 bytes with its end.
const TEXT_MAX: usize = 127;

/// An id with its number, or with a number that is to be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    /// Both parts.
    Whole(StreamId),
    /// `ms-*`.
    Milliseconds(u64),
}

/// An id whose number may be left out; it is `missing_seq` then. `-` and `+` are none.
pub(super) fn strict(text: &[u8], missing_seq: u64) -> Result<StreamId, Error> {
    match split(text) {
        Some((ms, None)) => Ok(StreamId::new(ms, missing_seq)),
        Some((ms, Some(seq))) => Ok(StreamId::new(ms, number(seq).ok_or(INVALID)?)),
        None => Err(INVALID),
    }
}

/// As [`strict`], but `-` is the least id and `+` the greatest.
pub(super) fn loose(text: &[u8], missing_seq: u64) -> Result<StreamId, Error> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => strict(text, missing_seq),
    }
}

/// The id of a new entry, which may be `ms-*`.
pub(super) fn for_new_entry(text: &[u8]) -> Result<Given, Error> {
    match split(text) {
        Some((ms, Some(b"*"))) => Ok(Given::Milliseconds(ms)),
        _ => strict(text, 0).map(Given::Whole),
    }
}

/// The first id of an interval.
pub(super) fn start(text: &[u8]) -> Result<StreamId, Error> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => strict(id, 0)?.next().ok_or(INVALID_START),
        _ => loose(text, 0),
    }
}

/// The last id of an interval.
pub(super) fn end(text: &[u8]) -> Result<StreamId, Error> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => strict(id, u64::MAX)?.previous().ok_or(INVALID_END),
        _ => loose(text, u64::MAX),
    }
}

/// Several ids.
pub(super) fn all(texts: &[&[u8]]) -> Result<Vec<StreamId>, Error> {
    texts.iter().map(|text| strict(text, 0)).collect()
}

/// The milliseconds, and what follows the first dash if there is one. As in Redis, what follows a zero byte is not seen.
fn split(text: &[u8]) -> Option<(u64, Option<&[u8]>)> {
    if text.len() > TEXT_MAX {
        return None;
    }
    let text = text.split(|&byte| byte == 0).next()?;
    match text.iter().position(|&byte| byte == b'-') {
        None => Some((number(text)?, None)),
        Some(dash) => Some((number(&text[..dash])?, Some(&text[dash + 1..]))),
    }
}

/// An unsigned number with the liberties that C's `strtoull` takes where the text is not a canonical number: space before it, a
/// sign (a minus is taken modulo 2^64), leading zeros.
fn number(text: &[u8]) -> Option<u64> {
    if let Some(canonical) = crate::args::parse_i64(text) {
        return u64::try_from(canonical).ok();
    }
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let text = &text[text.iter().take_while(|&byte| is_space(byte)).count()..];
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then_some(())?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })?;
    Some(if negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        let id = |text: &str| strict(text.as_bytes(), 7).ok().map(|id| (id.ms, id.seq));
        assert_eq!(id("5"), Some((5, 7)));
        assert_eq!(id("5-3"), Some((5, 3)));
        assert_eq!(id("0-0"), Some((0, 0)));
        assert_eq!(id("18446744073709551615-18446744073709551615"), Some((u64::MAX, u64::MAX)));
        assert_eq!(id(" 5-+3"), Some((5, 3)));
        assert_eq!(id("007-01"), Some((7, 1)));
        assert_eq!(id("1- -1"), Some((1, u64::MAX)));
        assert_eq!(id("1--01"), Some((1, u64::MAX)));
        assert_eq!(id("5\0x"), Some((5, 7)));
        for bad in [
            "",
            "-",
            "+",
            "-5",
            "1-",
            "-1",
            "1--1",
            "a",
            "1-a",
            "1-2-3",
            "5 ",
            "18446744073709551616",
            "1-*",
            "(5",
        ] {
            assert_eq!(id(bad), None, "{bad:?}");
        }
        assert_eq!(id(&"0".repeat(127)), Some((0, 7)));
        assert_eq!(id(&"0".repeat(128)), None);
    }

    #[test]
    fn intervals_can_exclude_their_ends() {
        assert_eq!(start(b"(1-1"), Ok(StreamId::new(1, 2)));
        assert_eq!(start(b"(1"), Ok(StreamId::new(1, 1)));
        assert_eq!(end(b"(1"), Ok(StreamId::new(1, u64::MAX - 1)));
        assert_eq!(end(b"1"), Ok(StreamId::new(1, u64::MAX)));
        assert_eq!(start(b"-"), Ok(StreamId::MIN));
        assert_eq!(end(b"+"), Ok(StreamId::MAX));
        assert_eq!(end(b"(0-0"), Err(INVALID_END));
        assert_eq!(start(b"(18446744073709551615-18446744073709551615"), Err(INVALID_START));
        assert_eq!(start(b"("), Err(INVALID));
        assert_eq!(start(b"(-"), Err(INVALID));
    }

    #[test]
    fn new_entries_can_leave_the_number_open() {
        assert_eq!(for_new_entry(b"5-*"), Ok(Given::Milliseconds(5)));
        assert_eq!(for_new_entry(b"5"), Ok(Given::Whole(StreamId::new(5, 0))));
        assert_eq!(for_new_entry(b"*"), Err(INVALID));
        assert_eq!(for_new_entry(b"5-**"), Err(INVALID));
    }
}

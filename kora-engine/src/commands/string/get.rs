//! GET and its relatives: values are read whole, in part, or on their way out.

use super::condition::{digest, Comparison};
use super::expiry::Form;
use super::value::{answer, answer_or_null, with_text};
use crate::args::{integer, is};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::reply::Reply;
use crate::table::ValueRef;
use std::ops::Range;

/// GET key
pub(super) fn get(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    answer_or_null(keys.get_string(exec.view, &key)?.map(|entry| entry.value()), reply);
    DONE
}

/// MGET key [key ...]
pub(super) fn mget(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    reply.array(exec.argv.len() - 1);
    for name in &exec.argv[1..] {
        let key = keys.key(name);
        // A key of another type reads as a missing one.
        let entry = keys.get_string(exec.view, &key).unwrap_or(None);
        answer_or_null(entry.map(|entry| entry.value()), reply);
    }
    DONE
}

/// GETDEL key
pub(super) fn getdel(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    answer_or_null(keys.get_string(exec.view, &key)?.map(|entry| entry.value()), reply);
    keys.remove(exec.view, &key);
    DONE
}

/// What GETEX does to the expiry, as written.
enum ExpiryOption<'a> {
    Leave,
    Persist,
    At(Form, &'a [u8]),
}

impl<'a> ExpiryOption<'a> {
    fn parse(words: &[&'a [u8]]) -> Result<ExpiryOption<'a>, Error> {
        let mut option = ExpiryOption::Leave;
        let mut rest = words.iter();
        while let Some(&word) = rest.next() {
            option = match (Form::named(word), option) {
                (Some(form), ExpiryOption::Leave) => {
                    ExpiryOption::At(form, rest.next().ok_or(Error::SYNTAX)?)
                }
                (Some(form), ExpiryOption::At(other, _)) if form == other => {
                    ExpiryOption::At(form, rest.next().ok_or(Error::SYNTAX)?)
                }
                (None, ExpiryOption::Leave | ExpiryOption::Persist) if is(word, "persist") => {
                    ExpiryOption::Persist
                }
                _ => return Err(Error::SYNTAX),
            }
        }
        Ok(option)
    }
}

/// GETEX key ...
pub(super) fn getex(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let option = ExpiryOption::parse(&exec.argv[2..])?;
    let now = exec.now();
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(entry) = keys.get_string(exec.view, &key)? else {
        reply.null();
        return DONE;
    };
    match option {
        ExpiryOption::Leave => answer(entry.value(), reply),
        ExpiryOption::Persist => {
            answer(entry.value(), reply);
            if entry.expire_at().is_some() {
                keys.set_expiry(exec.view, &key, None);
            }
        }
        ExpiryOption::At(form, argument) => {
            let at = form.resolve(argument, now, exec.command)?;
            answer(entry.value(), reply);
            if form.is_absolute() && at <= now {
                keys.remove(exec.view, &key);
            } else {
                keys.set_expiry(exec.view, &key, Some(at));
            }
        }
    }
    DONE
}

/// DELEX key [condition]
pub(super) fn delex(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    const UNKNOWN_CONDITION: Error = Error::new("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE");
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let removed = match exec.argv[2..] {
        [] => keys.remove(exec.view, &key),
        [word, argument] => match keys.peek_string(exec.view, &key)? {
            None => false,
            Some(entry) => {
                let comparison = Comparison::named(word).ok_or(UNKNOWN_CONDITION)?;
                comparison.holds(entry.value(), argument)? && keys.remove(exec.view, &key)
            }
        },
        _ => return Err(Error::wrong_arity(&exec.command.full_name)),
    };
    reply.integer(removed as i64);
    DONE
}

/// DIGEST key
pub(super) fn digest_of_key(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    match keys.get_string(exec.view, &key)? {
        Some(entry) => reply.bulk(&digest(entry.value())),
        None => reply.null(),
    }
    DONE
}

/// STRLEN key
pub(super) fn strlen(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let len = keys.get_string(exec.view, &key)?.map_or(0, |entry| entry.value().len());
    reply.integer(len as i64);
    DONE
}

/// GETRANGE key start end, and SUBSTR, its old name
pub(super) fn getrange(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let start = integer(exec.argv[2])?;
    let end = integer(exec.argv[3])?;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    match keys.get_string(exec.view, &key)?.map(|entry| entry.value()) {
        None => reply.bulk(b""),
        Some(ValueRef::Shared(bytes)) => reply.bulk_shared(&bytes.slice(slice_of(start, end, bytes.len()))),
        Some(value) => with_text(value, |text| reply.bulk(&text[slice_of(start, end, text.len())])),
    }
    DONE
}

/// The bytes from `start` to `end`, both included and both counted from the end when negative, of a value of
/// `len` bytes: what of them exists.
fn slice_of(start: i64, end: i64, len: usize) -> Range<usize> {
    let len = len as i64;
    let from_start = |index: i64| if index < 0 { index.saturating_add(len).max(0) } else { index };
    // With both before the first byte, both would become 0 and name that byte.
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let (start, end) = (from_start(start), from_start(end).min(len - 1));
    if start > end {
        return 0..0;
    }
    start as usize..end as usize + 1
}

#[cfg(test)]
mod tests {
    use super::slice_of;

    #[test]
    fn ranges_count_from_both_ends_and_are_cut_to_the_value() {
        for (start, end, expected) in [
            (0, 3, 0..4),
            (0, -1, 0..10),
            (-3, -1, 7..10),
            (-100, 1, 0..2),
            (-100, -50, 0..1),
            (-50, -100, 0..0),
            (5, 3, 0..0),
            (9, 100, 9..10),
            (10, 100, 0..0),
            (i64::MIN, i64::MAX, 0..10),
            (i64::MAX, i64::MIN, 0..0),
        ] {
            assert_eq!(slice_of(start, end, 10), expected, "{start} {end}");
        }
        assert_eq!(slice_of(0, -1, 0), 0..0);
        assert_eq!(slice_of(i64::MIN, 0, 0), 0..0);
    }
}

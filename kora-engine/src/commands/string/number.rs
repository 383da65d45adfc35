//! INCR and its relatives: values as numbers.

use crate::args::integer;
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::keyspace::NewExpiry;
use crate::long_double::LongDouble;
use crate::reply::Reply;
use crate::table::{NewValue, ValueRef};

/// INCR key
pub(super) fn incr(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    add(exec, 1, reply)
}

/// DECR key
pub(super) fn decr(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    add(exec, -1, reply)
}

/// INCRBY key increment
pub(super) fn incrby(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let delta = integer(exec.argv[2])?;
    add(exec, delta, reply)
}

/// DECRBY key decrement
pub(super) fn decrby(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    const NO_NEGATIVE: Error = Error::new("ERR decrement would overflow");
    let delta = integer(exec.argv[2])?.checked_neg().ok_or(NO_NEGATIVE)?;
    add(exec, delta, reply)
}

#[inline]
fn add(exec: &mut Exec<'_>, delta: i64, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    reply.integer(keys.add(exec.view, &key, delta)?);
    DONE
}

/// INCRBYFLOAT key increment
pub(super) fn incrbyfloat(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    const NOT_FINITE: Error = Error::new("ERR increment would produce NaN or Infinity");
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let value = match keys.peek_string(exec.view, &key)?.map(|entry| entry.value()) {
        None => Some(LongDouble::from(0)),
        Some(ValueRef::Int(value)) => Some(LongDouble::from(value)),
        Some(ValueRef::Bytes(text)) => LongDouble::parse(text),
        Some(ValueRef::Shared(text)) => LongDouble::parse(text),
        Some(ValueRef::Object(_)) => return Err(Error::WRONG_TYPE),
    };
    let value = value.ok_or(Error::NOT_FLOAT)?;
    let delta = LongDouble::parse(exec.argv[2]).ok_or(Error::NOT_FLOAT)?;
    let sum = value.checked_add(delta).ok_or(NOT_FINITE)?;
    let mut text = Vec::with_capacity(32);
    sum.write_decimal(&mut text);
    // As text, even when it reads as an integer: that is Redis's encoding of it, too.
    keys.set(exec.view, &key, NewValue::Bytes(&text), NewExpiry::Keep);
    reply.bulk(&text);
    DONE
}

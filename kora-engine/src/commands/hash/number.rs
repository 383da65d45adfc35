//! HINCRBY and HINCRBYFLOAT: values as numbers.

use super::set::edit_or_create;
use crate::args::{integer, parse_i64};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::long_double::LongDouble;
use crate::reply::Reply;
use crate::value::element::Element;
use crate::value::hash::FieldExpiry;
use crate::value::item::Item;

/// HINCRBY key field increment
pub(super) fn hincrby(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    const NOT_INTEGER: Error = Error::new("ERR hash value is not an integer");
    let delta = integer(exec.argv[3])?;
    let field = exec.argv[2];
    let (now, limits) = (exec.now(), exec.shard.config.limits);
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let mut hash = edit_or_create(keys, exec.view, &key)?;
    hash.reclaim_field(field, now);
    let old = match hash.find(field).map(|found| found.value.element()) {
        None => 0,
        Some(Element::Int(int)) => int,
        Some(text) => text.with_bytes(parse_i64).ok_or(NOT_INTEGER)?,
    };
    let sum = old.checked_add(delta).ok_or(Error::OVERFLOW)?;
    hash.set(field, Item::Int(sum), FieldExpiry::Keep, &limits);
    reply.integer(sum);
    DONE
}

/// HINCRBYFLOAT key field increment
pub(super) fn hincrbyfloat(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    const INFINITE: Error = Error::new("ERR value is NaN or Infinity");
    const NOT_FLOAT: Error = Error::new("ERR hash value is not a float");
    const NOT_FINITE: Error = Error::new("ERR increment would produce NaN or Infinity");
    let delta = LongDouble::parse(exec.argv[3]).ok_or(Error::NOT_FLOAT)?;
    if delta.is_infinite() {
        return Err(INFINITE);
    }
    let field = exec.argv[2];
    let (now, limits) = (exec.now(), exec.shard.config.limits);
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let mut hash = edit_or_create(keys, exec.view, &key)?;
    hash.reclaim_field(field, now);
    let old = match hash.find(field).map(|found| found.value.element()) {
        None => Some(LongDouble::from(0)),
        Some(Element::Int(int)) => Some(LongDouble::from(int)),
        Some(text) => text.with_bytes(LongDouble::parse),
    };
    let sum = old.ok_or(NOT_FLOAT)?.checked_add(delta).ok_or(NOT_FINITE)?;
    let mut text = Vec::with_capacity(32);
    sum.write_decimal(&mut text);
    hash.set(field, Item::of(&text), FieldExpiry::Keep, &limits);
    reply.bulk(&text);
    DONE
}

//! Pushes and pops.

use super::later::RangeReply;
use super::natural;
use super::read::{is_short, reply_range};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::reply::Reply;
use crate::value::list::{End, List};
use crate::value::Collection;

/// LPUSH key element [element ...]
pub(super) fn lpush(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    push(exec, End::Head, reply)
}

/// RPUSH key element [element ...]
pub(super) fn rpush(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    push(exec, End::Tail, reply)
}

#[inline]
fn push(exec: &mut Exec<'_>, end: End, reply: &mut dyn Reply) -> Outcome {
    let fill = exec.shard.config.limits.list_max_listpack_size;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let mut list = keys.edit_or_create::<List>(exec.view, &key)?;
    list.push(end, &exec.argv[2..], fill);
    reply.integer(list.len() as i64);
    DONE
}

/// LPUSHX key element [element ...]
pub(super) fn lpushx(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    push_if_there(exec, End::Head, reply)
}

/// RPUSHX key element [element ...]
pub(super) fn rpushx(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    push_if_there(exec, End::Tail, reply)
}

fn push_if_there(exec: &mut Exec<'_>, end: End, reply: &mut dyn Reply) -> Outcome {
    let fill = exec.shard.config.limits.list_max_listpack_size;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let len = match keys.edit::<List>(exec.view, &key)? {
        None => 0,
        Some(mut list) => {
            list.push(end, &exec.argv[2..], fill);
            list.len()
        }
    };
    reply.integer(len as i64);
    DONE
}

/// LPOP key [count]
pub(super) fn lpop(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    pop(exec, End::Head, reply)
}

/// RPOP key [count]
pub(super) fn rpop(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    pop(exec, End::Tail, reply)
}

#[inline]
fn pop(exec: &mut Exec<'_>, end: End, reply: &mut dyn Reply) -> Outcome {
    if exec.argc() > 2 {
        return pop_count(exec, end, reply);
    }
    let fill = exec.shard.config.limits.list_max_listpack_size;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    match keys.edit::<List>(exec.view, &key)? {
        None => reply.null(),
        Some(mut list) => {
            list.pop(end, fill, |element| element.reply(reply));
        }
    }
    DONE
}

fn pop_count(exec: &mut Exec<'_>, end: End, reply: &mut dyn Reply) -> Outcome {
    const NEGATIVE: Error = Error::new("ERR value is out of range, must be positive");
    if exec.argc() > 3 {
        return Err(Error::wrong_arity(&exec.command.full_name));
    }
    let count = natural(exec.argv[2]).ok_or(NEGATIVE)?;
    let fill = exec.shard.config.limits.list_max_listpack_size;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    match keys.edit::<List>(exec.view, &key)? {
        None => reply.null_array(),
        Some(mut list) => {
            let count = count.min(list.len());
            let first = if end == End::Head { 0 } else { list.len() - count };
            let range = first..first + count;
            if !is_short(&list, range.clone()) {
                let elements = list.snapshot(range);
                list.pop_many(end, count, fill);
                return RangeReply::begin(elements, end == End::Tail, None);
            }
            reply_range(&list, range, end == End::Tail, reply);
            list.pop_many(end, count, fill);
        }
    }
    DONE
}

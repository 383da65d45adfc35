//! LSET, LINSERT, LREM and LTRIM.
//!
//! LINSERT and LREM search the list before they change it, in one turn: what was found must still hold when it is
//! changed. Blocks are searched for the bytes of the element at memory speed; README says what that takes.

use super::read::range_of;
use crate::args::{integer, is};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::reply::Reply;
use crate::value::list::{End, List};
use crate::value::Collection;

/// LSET key index element
pub(super) fn lset(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    const INDEX: Error = Error::new("ERR index out of range");
    let fill = exec.shard.config.limits.list_max_listpack_size;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let mut list = keys.edit::<List>(exec.view, &key)?.ok_or(Error::NO_SUCH_KEY)?;
    let index = integer(exec.argv[2])?;
    if !list.set(index, exec.argv[3], fill) {
        return Err(INDEX);
    }
    reply.ok();
    DONE
}

/// LINSERT key BEFORE|AFTER pivot element
pub(super) fn linsert(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let after = if is(exec.argv[2], "after") {
        true
    } else if is(exec.argv[2], "before") {
        false
    } else {
        return Err(Error::SYNTAX);
    };
    let fill = exec.shard.config.limits.list_max_listpack_size;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let len = match keys.edit::<List>(exec.view, &key)? {
        None => 0,
        Some(mut list) => match list.insert(exec.argv[3], after, exec.argv[4], fill) {
            true => list.len() as i64,
            false => -1,
        },
    };
    reply.integer(len);
    DONE
}

/// LREM key count element
pub(super) fn lrem(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let count = integer(exec.argv[2])?;
    let from = if count < 0 { End::Tail } else { End::Head };
    let limit = match usize::try_from(count.unsigned_abs()) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(limit) => limit,
    };
    let fill = exec.shard.config.limits.list_max_listpack_size;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let removed = match keys.edit::<List>(exec.view, &key)? {
        None => 0,
        Some(mut list) => list.remove_equal(exec.argv[3], limit, from, fill),
    };
    reply.integer(removed as i64);
    DONE
}

/// LTRIM key start stop
pub(super) fn ltrim(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let (start, stop) = (integer(exec.argv[2])?, integer(exec.argv[3])?);
    let fill = exec.shard.config.limits.list_max_listpack_size;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    if let Some(mut list) = keys.edit::<List>(exec.view, &key)? {
        let len = list.len();
        let kept = range_of(start, stop, len);
        if kept.is_empty() {
            list.pop_many(End::Head, len, fill);
        } else {
            list.pop_many(End::Head, kept.start, fill);
            list.pop_many(End::Tail, len - kept.end, fill);
        }
    }
    reply.ok();
    DONE
}

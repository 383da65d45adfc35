//! LSET, LINSERT, LREM and LTRIM.
//!
//! LINSERT and LREM search for the element, in slices when the list is long.

use super::later::{Change, Words};
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
    let words = Words { key: exec.argv[1], needle: exec.argv[3], element: exec.argv[4] };
    Change::Insert { after }.start(words, exec.shard, exec.view, reply)
}

/// LREM key count element
pub(super) fn lrem(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let count = integer(exec.argv[2])?;
    let from = if count < 0 { End::Tail } else { End::Head };
    let limit = match usize::try_from(count.unsigned_abs()) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(limit) => limit,
    };
    let words = Words { key: exec.argv[1], needle: exec.argv[3], element: &[] };
    Change::Remove { limit, from }.start(words, exec.shard, exec.view, reply)
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

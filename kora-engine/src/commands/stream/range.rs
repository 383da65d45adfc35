//! XLEN, XRANGE and XREVRANGE.

use super::{answer, id};
use crate::args::{integer, is};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::reply::Reply;
use crate::value::stream::{Stream, StreamId};

/// XLEN key
pub(super) fn xlen(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let len = keys.read::<Stream>(exec.view, &key)?.map_or(0, |stream| stream.entries_len());
    reply.integer(len as i64);
    DONE
}

/// XRANGE key start end [COUNT count]
pub(super) fn xrange(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let (start, end) = (id::start(exec.argv[2])?, id::end(exec.argv[3])?);
    range(exec, start, end, false, reply)
}

/// XREVRANGE key end start [COUNT count]
pub(super) fn xrevrange(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let start = id::start(exec.argv[3])?;
    let end = id::end(exec.argv[2])?;
    range(exec, start, end, true, reply)
}

fn range(
    exec: &mut Exec<'_>,
    start: StreamId,
    end: StreamId,
    backwards: bool,
    reply: &mut dyn Reply,
) -> Outcome {
    let mut count = None;
    let mut options = exec.argv[4..].iter();
    while let Some(option) = options.next() {
        if !is(option, "count") {
            return Err(Error::SYNTAX);
        }
        count = Some(integer(options.next().ok_or(Error::SYNTAX)?)?);
    }
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(stream) = keys.read::<Stream>(exec.view, &key)? else {
        reply.array(0);
        return DONE;
    };
    let most = match count {
        None => usize::MAX,
        Some(count) => match usize::try_from(count) {
            Err(_) | Ok(0) => {
                reply.null_array();
                return DONE;
            }
            Ok(count) => count,
        },
    };
    let found = stream.count(start, end, most);
    reply.array(found);
    if backwards {
        stream.range_back(start, end).take(found).for_each(|entry| answer::entry(entry, reply));
    } else {
        stream.range(start, end).take(found).for_each(|entry| answer::entry(entry, reply));
    }
    DONE
}

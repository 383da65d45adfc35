//! APPEND and SETRANGE: values change in part.

use super::value::stored;
use crate::args::integer;
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::keyspace::NewExpiry;
use crate::reply::Reply;

/// APPEND key value
pub(super) fn append(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let tail = exec.argv[2];
    let max_len = exec.shard.config.max_string_len;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let len = match keys.peek_string(exec.view, &key)? {
        None => {
            keys.set(exec.view, &key, stored(tail, exec.frame), NewExpiry::Clear);
            tail.len()
        }
        Some(entry) => {
            check_len(entry.value().len(), tail.len(), max_len)?;
            keys.append(exec.view, &key, tail)
        }
    };
    reply.integer(len as i64);
    DONE
}

/// SETRANGE key offset value
pub(super) fn setrange(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let offset = usize::try_from(integer(exec.argv[2])?).map_err(|_| Error::OFFSET)?;
    let bytes = exec.argv[3];
    let max_len = exec.shard.config.max_string_len;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let old_len = keys.peek_string(exec.view, &key)?.map_or(0, |entry| entry.value().len());
    let len = if bytes.is_empty() {
        // Nothing is written, not even the zero bytes before the offset.
        old_len
    } else {
        check_len(offset, bytes.len(), max_len)?;
        // A limit above 4 GiB can be configured, an offset of that size cannot be recorded.
        let offset = u32::try_from(offset).map_err(|_| Error::STRING_TOO_LONG)?;
        keys.write_at(exec.view, &key, offset, bytes)
    };
    reply.integer(len as i64);
    DONE
}

fn check_len(before: usize, added: usize, max_len: usize) -> Result<(), Error> {
    match before.checked_add(added) {
        Some(len) if len <= max_len => Ok(()),
        _ => Err(Error::STRING_TOO_LONG),
    }
}

//! HSET and its relatives: fields come and go.

use super::fields::{fields, NOT_POSITIVE};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::keyspace::{Editor, Key, Keyspace, View};
use crate::limits::EncodingLimits;
use crate::reply::Reply;
use crate::value::hash::{FieldExpiry, Hash};
use crate::value::item::Item;
use crate::value::Collection;

/// The hash at a key, an empty one when there is none, for a command that is about to set fields. What is past its time is
/// gone from a packed one; of a large one each field is looked at when it is set.
///
/// # Errors
/// The key holds another type.
pub(super) fn edit_or_create<'k>(
    keys: &'k mut Keyspace,
    view: View,
    key: &Key<'k>,
) -> Result<Editor<'k, Hash>, Error> {
    let mut hash = keys.edit_or_create::<Hash>(view, key)?;
    if hash.is_packed() {
        hash.reclaim(view.now, 1);
    }
    Ok(hash)
}

/// Makes a table of a packed hash if these fields and values are too many or too long for one.
pub(super) fn make_room(hash: &mut Editor<'_, Hash>, pairs: &[&[u8]], limits: &EncodingLimits) {
    let longest = pairs.iter().map(|text| text.len()).max().unwrap_or(0);
    hash.make_room(pairs.len() / 2, longest, limits);
}

/// Sets fields to values, in turn; returns how many fields are new.
pub(super) fn set_pairs(
    hash: &mut Editor<'_, Hash>,
    pairs: &[&[u8]],
    expiry: FieldExpiry,
    now: u64,
    limits: &EncodingLimits,
) -> usize {
    make_room(hash, pairs, limits);
    let is_first = pairs.len() > 2 && hash.is_empty();
    if is_first {
        hash.reserve(pairs);
    }
    let mut created = 0;
    for pair in pairs.chunks_exact(2) {
        hash.reclaim_field(pair[0], now);
        created += hash.set(pair[0], Item::of(pair[1]), expiry, limits) as usize;
    }
    if is_first {
        hash.fit();
    }
    created
}

fn set_all(exec: &mut Exec<'_>) -> Result<usize, Error> {
    if !exec.argc().is_multiple_of(2) {
        return Err(Error::wrong_arity(&exec.command.full_name));
    }
    let (now, limits) = (exec.now(), exec.shard.config.limits);
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let mut hash = edit_or_create(keys, exec.view, &key)?;
    Ok(set_pairs(&mut hash, &exec.argv[2..], FieldExpiry::Clear, now, &limits))
}

/// HSET key field value [field value ...]
pub(super) fn hset(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let created = set_all(exec)?;
    reply.integer(created as i64);
    DONE
}

/// HMSET key field value [field value ...]
pub(super) fn hmset(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    set_all(exec)?;
    reply.ok();
    DONE
}

/// HSETNX key field value
pub(super) fn hsetnx(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let (now, limits) = (exec.now(), exec.shard.config.limits);
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let mut hash = edit_or_create(keys, exec.view, &key)?;
    let missing = hash.get(exec.argv[2], now).is_none();
    if missing {
        set_pairs(&mut hash, &exec.argv[2..], FieldExpiry::Clear, now, &limits);
    }
    reply.integer(missing as i64);
    DONE
}

/// HDEL key field [field ...]
pub(super) fn hdel(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let now = exec.now();
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let mut removed = 0;
    if let Some(mut hash) = keys.edit::<Hash>(exec.view, &key)? {
        for field in &exec.argv[2..] {
            hash.reclaim_field(field, now);
            removed += hash.remove(field) as i64;
        }
    }
    reply.integer(removed);
    DONE
}

/// HGETDEL key FIELDS numfields field [field ...]
pub(super) fn hgetdel(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let now = exec.now();
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let mut hash = keys.edit::<Hash>(exec.view, &key)?;
    let fields = fields(exec.argv, 2, NOT_POSITIVE)?;
    reply.array(fields.len());
    for field in fields {
        let Some(hash) = &mut hash else {
            reply.null();
            continue;
        };
        hash.reclaim_field(field, now);
        match hash.find(field) {
            Some(found) => found.value.reply(reply),
            None => reply.null(),
        }
        hash.remove(field);
    }
    DONE
}

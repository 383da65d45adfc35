//! HGET and its relatives: fields are looked up.

use crate::change::UnixMs;
use crate::exec::{Continuation, Exec, Flow, Outcome, DONE};
use crate::keyspace::View;
use crate::reply::Reply;
use crate::shard::Shard;
use crate::value::hash::Hash;
use crate::value::Collection;

/// Segments of a large hash in which expired fields are looked for at once.
const SEGMENTS_AT_ONCE: usize = 2;

/// HGET key field
pub(super) fn hget(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let now = exec.now();
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let hash = keys.read::<Hash>(exec.view, &key)?;
    match hash.as_ref().and_then(|hash| hash.get(exec.argv[2], now)) {
        Some(found) => found.value.reply(reply),
        None => reply.null(),
    }
    DONE
}

/// HMGET key field [field ...]
pub(super) fn hmget(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let now = exec.now();
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let hash = keys.read::<Hash>(exec.view, &key)?;
    reply.array(exec.argv.len() - 2);
    for field in &exec.argv[2..] {
        match hash.as_ref().and_then(|hash| hash.get(field, now)) {
            Some(found) => found.value.reply(reply),
            None => reply.null(),
        }
    }
    DONE
}

/// HEXISTS key field
pub(super) fn hexists(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let now = exec.now();
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let hash = keys.read::<Hash>(exec.view, &key)?;
    let exists = hash.is_some_and(|hash| hash.get(exec.argv[2], now).is_some());
    reply.integer(exists as i64);
    DONE
}

/// HSTRLEN key field
pub(super) fn hstrlen(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let now = exec.now();
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let hash = keys.read::<Hash>(exec.view, &key)?;
    let found = hash.as_ref().and_then(|hash| hash.get(exec.argv[2], now));
    reply.integer(found.map_or(0, |found| found.value.element().text_len()) as i64);
    DONE
}

/// HLEN key
pub(super) fn hlen(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let now = exec.now();
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(hash) = keys.read::<Hash>(exec.view, &key)? else {
        reply.integer(0);
        return DONE;
    };
    if let Some(due) = hash.due(now) {
        reply.integer((hash.len() - due) as i64);
        return DONE;
    }
    let mut count = Count { db: exec.view.db, key: exec.argv[1].to_vec() };
    if count.advance(exec.shard, now, SEGMENTS_AT_ONCE, reply) {
        return DONE;
    }
    Ok(Flow::Later(Box::new(count)))
}

/// HLEN of a large hash in which fields may have expired: they are reclaimed first.
struct Count {
    db: u16,
    key: Vec<u8>,
}

impl Count {
    fn advance(&mut self, shard: &mut Shard, now: UnixMs, segments: usize, reply: &mut dyn Reply) -> bool {
        let view = View { db: self.db, now, touch: false };
        let key = shard.keys.key(&self.key);
        // Whatever is at the key by now: a hash that went away in the middle of the command had no fields at its end.
        let len = match shard.keys.edit::<Hash>(view, &key) {
            Ok(Some(mut hash)) => {
                if !hash.reclaim(now, segments) {
                    return false;
                }
                hash.len()
            }
            Ok(None) | Err(_) => 0,
        };
        reply.integer(len as i64);
        true
    }
}

impl Continuation for Count {
    fn resume(&mut self, shard: &mut Shard, now: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        self.advance(shard, now, budget.div_ceil(4), reply)
    }
}

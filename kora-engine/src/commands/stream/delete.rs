//! XDEL, XDELEX, XACK and XACKDEL.

use super::id;
use super::policy::{Deletion, Policy};
use crate::args::{is, parse_i64};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::reply::Reply;
use crate::value::stream::Stream;

/// XDEL key id [id ...]
pub(super) fn xdel(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(mut stream) = keys.edit::<Stream>(exec.view, &key)? else {
        reply.integer(0);
        return DONE;
    };
    let ids = id::all(&exec.argv[2..])?;
    let deleted = ids.into_iter().map(|id| i64::from(stream.delete(id, true))).sum();
    reply.integer(deleted);
    DONE
}

/// XACK key group id [id ...]
pub(super) fn xack(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let group = exec.argv[2];
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let stream = keys.edit::<Stream>(exec.view, &key)?;
    let Some(mut stream) = stream.filter(|stream| stream.group(group).is_some()) else {
        reply.integer(0);
        return DONE;
    };
    let ids = id::all(&exec.argv[3..])?;
    let acknowledged = ids.into_iter().map(|id| i64::from(stream.acknowledge(group, id))).sum();
    reply.integer(acknowledged);
    DONE
}

/// The options of XDELEX and XACKDEL, which may stand in any order.
struct Options<'a> {
    policy: Policy,
    ids: &'a [&'a [u8]],
}

impl<'a> Options<'a> {
    fn parse(words: &'a [&'a [u8]]) -> Result<Options<'a>, Error> {
        const NUMBER: Error = Error::new("ERR Number of IDs must be a positive integer");
        const MISMATCH: Error = Error::new("ERR The `numids` parameter must match the number of arguments");
        let (mut policy, mut ids) = (None, None);
        let mut at = 0;
        while at < words.len() {
            let word = words[at];
            at += 1;
            if let Some(named) = Policy::named(word) {
                if policy.replace(named).is_some() {
                    return Err(Error::SYNTAX);
                }
            } else if is(word, "ids") && at < words.len() && ids.is_none() {
                let count = parse_i64(words[at]).filter(|&count| count > 0).ok_or(NUMBER)?;
                at += 1;
                let count =
                    usize::try_from(count).ok().filter(|&count| count <= words.len() - at).ok_or(MISMATCH)?;
                ids = Some(&words[at..at + count]);
                at += count;
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(Options { policy: policy.unwrap_or_default(), ids: ids.ok_or(Error::SYNTAX)? })
    }
}

fn missing(count: usize, reply: &mut dyn Reply) {
    reply.array(count);
    for _ in 0..count {
        reply.integer(Deletion::Missing as i64);
    }
}

/// XDELEX key [KEEPREF | DELREF | ACKED] IDS numids id [id ...]
pub(super) fn xdelex(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let options = Options::parse(&exec.argv[2..])?;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(mut stream) = keys.edit::<Stream>(exec.view, &key)? else {
        missing(options.ids.len(), reply);
        return DONE;
    };
    let ids = id::all(options.ids)?;
    reply.array(ids.len());
    for id in ids {
        reply.integer(options.policy.delete(&mut stream, id, true) as i64);
    }
    DONE
}

/// XACKDEL key group [KEEPREF | DELREF | ACKED] IDS numids id [id ...]
pub(super) fn xackdel(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let group = exec.argv[2];
    let options = Options::parse(&exec.argv[3..])?;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let stream = keys.edit::<Stream>(exec.view, &key)?;
    let Some(mut stream) = stream.filter(|stream| stream.group(group).is_some()) else {
        missing(options.ids.len(), reply);
        return DONE;
    };
    let ids = id::all(options.ids)?;
    reply.array(ids.len());
    for id in ids {
        let result = if !stream.acknowledge(group, id) {
            Deletion::Missing
        } else {
            match options.policy.delete(&mut stream, id, true) {
                Deletion::Referenced => Deletion::Referenced,
                // Acknowledged, and in the stream it is not: that it has been gone for long makes no difference.
                Deletion::Done | Deletion::Missing => Deletion::Done,
            }
        };
        reply.integer(result as i64);
    }
    DONE
}

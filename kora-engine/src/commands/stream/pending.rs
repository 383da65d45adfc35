//! XPENDING.

use super::{answer, id};
use crate::args::{integer, is};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::reply::Reply;
use crate::value::stream::{Group, Pending, Stream, StreamId};

/// What XPENDING lists: the arguments after the group.
struct Listing<'a> {
    min_idle: i64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Listing<'a> {
    fn parse(words: &[&'a [u8]]) -> Result<Listing<'a>, Error> {
        let (min_idle, words) = match words {
            [idle, time, rest @ ..] if is(idle, "idle") => {
                let min_idle = integer(time)?;
                if rest.len() < 3 {
                    return Err(Error::SYNTAX);
                }
                (min_idle, rest)
            }
            words => (0, words),
        };
        let count = integer(words[2])?;
        Ok(Listing {
            min_idle,
            start: id::start(words[0])?,
            end: id::end(words[1])?,
            count: usize::try_from(count).unwrap_or(0),
            consumer: words.get(3).copied(),
        })
    }
}

/// XPENDING key group [[IDLE min-idle-time] start end count [consumer]]
pub(super) fn xpending(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let listing = match exec.argv.len() {
        3 => None,
        6..=9 => Some(Listing::parse(&exec.argv[3..])?),
        _ => return Err(Error::SYNTAX),
    };
    let (name, group_name, now) = (exec.argv[1], exec.argv[2], exec.now());
    let keys = &mut exec.shard.keys;
    let key = keys.key(name);
    let stream = keys.read::<Stream>(exec.view, &key)?;
    let no_group = || answer::no_group(name, group_name);
    let stream = stream.ok_or_else(no_group)?;
    let group = stream.group(group_name).ok_or_else(no_group)?;
    match listing {
        None => summary(group, reply),
        Some(listing) => list(group, &listing, now, reply),
    }
    DONE
}

fn summary(group: &Group, reply: &mut dyn Reply) {
    reply.array(4);
    reply.integer(group.pending_len() as i64);
    let Some((first, last)) = group.pending_bounds() else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    answer::id(first, reply);
    answer::id(last, reply);
    let holding = || group.consumers().filter(|consumer| consumer.pending_len() > 0);
    reply.array(holding().count());
    for consumer in holding() {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_int(consumer.pending_len() as i64);
    }
}

fn list(group: &Group, listing: &Listing<'_>, now: u64, reply: &mut dyn Reply) {
    let long_enough = |pending: &Pending| {
        listing.min_idle == 0 || (now as i64).wrapping_sub(pending.time as i64) >= listing.min_idle
    };
    let mut found: Vec<(StreamId, Pending, &[u8])> = Vec::new();
    match listing.consumer {
        None => {
            let all = group.pending_range(listing.start, listing.end);
            let idle = all.filter(|(_, pending, _)| long_enough(pending)).take(listing.count);
            found.extend(idle.map(|(id, pending, consumer)| (id, *pending, consumer.name())));
        }
        Some(name) => {
            if let Some(consumer) = group.find(name).map(|number| group.consumer(number)) {
                let ids = consumer.pending_ids(listing.start, listing.end);
                let all = ids.filter_map(|id| Some((id, group.pending(id)?)));
                let idle = all.filter(|(_, pending)| long_enough(pending)).take(listing.count);
                found.extend(idle.map(|(id, pending)| (id, pending, consumer.name())));
            }
        }
    }
    reply.array(found.len());
    for (id, pending, consumer) in found {
        reply.array(4);
        answer::id(id, reply);
        reply.bulk(consumer);
        reply.integer(now.saturating_sub(pending.time) as i64);
        reply.integer(pending.count as i64);
    }
}

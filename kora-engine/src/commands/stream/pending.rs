//! XPENDING. A long listing, or one that passes over many entries because of IDLE, is gathered in slices.

use super::{answer, id};
use crate::args::{integer, is};
use crate::change::UnixMs;
use crate::commands::long_reply::{self, Elements, Gather};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::keyspace::View;
use crate::reply::Reply;
use crate::shard::Shard;
use crate::value::item::Item;
use crate::value::stream::{self, Consumer, Group, Stream, StreamId};

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
    let (name, group_name) = (exec.argv[1], exec.argv[2]);
    let keys = &mut exec.shard.keys;
    let key = keys.key(name);
    let stream = keys.read::<Stream>(exec.view, &key)?;
    let no_group = || answer::no_group(name, group_name);
    let stream = stream.ok_or_else(no_group)?;
    let group = stream.group(group_name).ok_or_else(no_group)?;
    match listing {
        None => summary(group, reply),
        Some(listing) => {
            let pending = Pending {
                key: name.to_vec(),
                group: group_name.to_vec(),
                consumer: listing.consumer.map(<[u8]>::to_vec),
                view: exec.view,
                min_idle: listing.min_idle,
                start: Some(listing.start),
                end: listing.end,
                left: listing.count,
                found: 0,
            };
            return long_reply::answer(pending, exec, reply);
        }
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

/// A listing under way: from `start` on.
struct Pending {
    key: Vec<u8>,
    group: Vec<u8>,
    consumer: Option<Vec<u8>>,
    view: View,
    min_idle: i64,
    start: Option<StreamId>,
    end: StreamId,
    left: usize,
    found: usize,
}

impl Gather for Pending {
    fn gather(
        &mut self,
        shard: &mut Shard,
        _: UnixMs,
        count: usize,
        elements: &mut Elements,
    ) -> Result<bool, Error> {
        let now = self.view.now;
        let key = shard.keys.key(&self.key);
        let Some(stream) = shard.keys.look::<Stream>(self.view, &key)? else { return Ok(true) };
        let Some(group) = stream.group(&self.group) else { return Ok(true) };
        let Some(start) = self.start else { return Ok(true) };
        let mut looked = 0;
        let mut add = |id: StreamId, pending: &stream::Pending, consumer: &Consumer| {
            if self.left == 0 {
                return Some(true);
            }
            if looked == count {
                self.start = Some(id);
                return Some(false);
            }
            looked += 1;
            let idle = (now as i64).wrapping_sub(pending.time as i64);
            if self.min_idle == 0 || idle >= self.min_idle {
                elements.push_array(4);
                answer::gather_id(id, elements);
                elements.push(Item::Bytes(consumer.name()));
                elements.push_integer(now.saturating_sub(pending.time) as i64);
                elements.push_integer(pending.count as i64);
                self.left -= 1;
                self.found += 1;
            }
            None
        };
        let stopped = match &self.consumer {
            None => group
                .pending_range(start, self.end)
                .find_map(|(id, pending, consumer)| add(id, pending, consumer)),
            Some(name) => group.find(name).map(|number| group.consumer(number)).and_then(|consumer| {
                let mut ids = consumer.pending_ids(start, self.end);
                ids.find_map(|id| add(id, &group.pending(id)?, consumer))
            }),
        };
        Ok(stopped.unwrap_or(true))
    }

    fn head(&self, _: &Elements, reply: &mut dyn Reply) {
        reply.array(self.found);
    }
}

//! XINFO.

use super::answer;
use crate::args::{integer, is};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::reply::Reply;
use crate::value::stream::{Body, Consumer, Group, Stream, StreamId};

/// Elements of each list of a full description when no COUNT is given.
const COUNT_DEFAULT: usize = 10;

fn number(name: &str, value: i64, reply: &mut dyn Reply) {
    reply.bulk(name.as_bytes());
    reply.integer(value);
}

fn id(name: &str, id: StreamId, reply: &mut dyn Reply) {
    reply.bulk(name.as_bytes());
    answer::id(id, reply);
}

fn maybe(name: &str, value: Option<i64>, reply: &mut dyn Reply) {
    reply.bulk(name.as_bytes());
    match value {
        Some(value) => reply.integer(value),
        None => reply.null(),
    }
}

/// XINFO STREAM key [FULL [COUNT count]]
pub(super) fn stream(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let name = exec.argv[1];
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[2]);
    let stream = keys.read::<Stream>(exec.view, &key)?.ok_or(Error::NO_SUCH_KEY)?;
    let full = match exec.argv[3..] {
        [] => None,
        [full] if is(full, "full") => Some(COUNT_DEFAULT),
        [full, count, value] if is(full, "full") && is(count, "count") => Some(match integer(value)? {
            0 => usize::MAX,
            count => usize::try_from(count).unwrap_or(COUNT_DEFAULT),
        }),
        _ => return Err(answer::wrong_subcommand("XINFO", name)),
    };
    reply.map(if full.is_some() { 9 } else { 10 });
    number("length", stream.entries_len() as i64, reply);
    number("radix-tree-keys", stream.blocks_len() as i64, reply);
    number("radix-tree-nodes", stream.radix_tree_nodes() as i64, reply);
    id("last-generated-id", stream.last_id(), reply);
    id("max-deleted-entry-id", stream.max_deleted_id(), reply);
    number("entries-added", stream.entries_added() as i64, reply);
    id("recorded-first-entry-id", stream.first_id(), reply);
    match full {
        None => {
            number("groups", stream.groups_len() as i64, reply);
            let first = stream.range(StreamId::MIN, StreamId::MAX).next();
            let last = stream.range_back(StreamId::MIN, StreamId::MAX).next();
            for (name, entry) in [("first-entry", first), ("last-entry", last)] {
                reply.bulk(name.as_bytes());
                match entry {
                    Some(entry) => answer::entry(entry, reply),
                    None => reply.null(),
                }
            }
        }
        Some(count) => {
            reply.bulk(b"entries");
            let entries = count.min(stream.entries_len() as usize);
            reply.array(entries);
            for entry in stream.range(StreamId::MIN, StreamId::MAX).take(entries) {
                answer::entry(entry, reply);
            }
            reply.bulk(b"groups");
            reply.array(stream.groups_len());
            for (name, group) in stream.groups() {
                full_group(&stream, name, group, count, reply);
            }
        }
    }
    DONE
}

fn full_group(stream: &Body, name: &[u8], group: &Group, count: usize, reply: &mut dyn Reply) {
    reply.map(7);
    reply.bulk(b"name");
    reply.bulk(name);
    id("last-delivered-id", group.last, reply);
    maybe("entries-read", group.entries_read, reply);
    maybe("lag", stream.lag(group), reply);
    number("pel-count", group.pending_len() as i64, reply);
    reply.bulk(b"pending");
    reply.array(count.min(group.pending_len()));
    for (id, pending, consumer) in group.pending_range(StreamId::MIN, StreamId::MAX).take(count) {
        reply.array(4);
        answer::id(id, reply);
        reply.bulk(consumer.name());
        reply.integer(pending.time as i64);
        reply.integer(pending.count as i64);
    }
    reply.bulk(b"consumers");
    reply.array(group.consumers_len());
    for consumer in group.consumers() {
        full_consumer(group, consumer, count, reply);
    }
}

fn full_consumer(group: &Group, consumer: &Consumer, count: usize, reply: &mut dyn Reply) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(consumer.name());
    number("seen-time", consumer.seen as i64, reply);
    number("active-time", consumer.active.map_or(-1, |active| active as i64), reply);
    number("pel-count", consumer.pending_len() as i64, reply);
    reply.bulk(b"pending");
    reply.array(count.min(consumer.pending_len()));
    for id in consumer.pending_ids(StreamId::MIN, StreamId::MAX).take(count) {
        let pending = group.pending(id);
        reply.array(3);
        answer::id(id, reply);
        reply.integer(pending.map_or(0, |pending| pending.time) as i64);
        reply.integer(pending.map_or(0, |pending| pending.count) as i64);
    }
}

/// XINFO GROUPS key
pub(super) fn groups(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[2]);
    let stream = keys.read::<Stream>(exec.view, &key)?.ok_or(Error::NO_SUCH_KEY)?;
    reply.array(stream.groups_len());
    for (name, group) in stream.groups() {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        number("consumers", group.consumers_len() as i64, reply);
        number("pending", group.pending_len() as i64, reply);
        id("last-delivered-id", group.last, reply);
        maybe("entries-read", group.entries_read, reply);
        maybe("lag", stream.lag(group), reply);
    }
    DONE
}

/// XINFO CONSUMERS key group
pub(super) fn consumers(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let (name, group, now) = (exec.argv[2], exec.argv[3], exec.now());
    let keys = &mut exec.shard.keys;
    let key = keys.key(name);
    let stream = keys.read::<Stream>(exec.view, &key)?.ok_or(Error::NO_SUCH_KEY)?;
    let group = stream.group(group).ok_or_else(|| answer::no_group_of_key(name, group))?;
    reply.array(group.consumers_len());
    for consumer in group.consumers() {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(consumer.name());
        number("pending", consumer.pending_len() as i64, reply);
        number("idle", now.saturating_sub(consumer.seen) as i64, reply);
        number("inactive", consumer.active.map_or(-1, |active| now.saturating_sub(active) as i64), reply);
    }
    DONE
}

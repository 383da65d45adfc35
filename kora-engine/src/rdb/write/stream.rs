//! Streams as bytes; the layout is in `load/stream.rs`.

use super::listpack::Listpack;
use crate::rdb::string::{put_length, put_string};
use crate::value::item::{Item, Sink};
use crate::value::stream::{Body, Consumer, Group, Run, Stream, StreamId};

/// What consumers that were never active have for a time.
const NEVER: i64 = -1;

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// Whether a consumer is there whose time of activity is not when it was last seen: older versions know one of the two only.
pub(super) fn needs_active_times(stream: &Body) -> bool {
    stream.groups().any(|(_, group)| group.consumers().any(|consumer| consumer.active != Some(consumer.seen)))
}

/// A stream that is being written.
pub(super) struct StreamWriter {
    with_active: bool,
    stage: Stage,
}

/// What comes next.
enum Stage {
    Begin,
    /// Nodes behind the one with this first id.
    Nodes(Option<StreamId>),
    /// Groups behind the one of this name.
    Groups(Option<Box<[u8]>>),
    /// Pending entries of this group from an id on.
    Pending(Box<[u8]>, StreamId),
    /// Consumers of this group behind the one of this name.
    Consumers(Box<[u8]>, Option<Box<[u8]>>),
    /// Ids of this group's consumer from this one on.
    Given(Box<[u8]>, Box<[u8]>, StreamId),
}

impl StreamWriter {
    pub(super) fn new(with_active: bool) -> StreamWriter {
        StreamWriter { with_active, stage: Stage::Begin }
    }

    pub(super) fn advance(
        &mut self,
        stream: &Stream,
        room: &mut Listpack,
        out: &mut impl Sink,
        elements: usize,
    ) -> bool {
        let mut left = elements.max(1);
        while left > 0 {
            left -= 1;
            self.stage = match std::mem::replace(&mut self.stage, Stage::Begin) {
                Stage::Begin => {
                    put_length(stream.blocks_len() as u64, out);
                    Stage::Nodes(None)
                }
                Stage::Nodes(after) => match stream.run_after(after) {
                    Some(run) => {
                        left = left.saturating_sub(run.entries_len());
                        put_node(&run, room, out);
                        Stage::Nodes(Some(run.first_id()))
                    }
                    None => {
                        put_counters(stream, out);
                        put_length(stream.groups_len() as u64, out);
                        Stage::Groups(None)
                    }
                },
                Stage::Groups(after) => match stream.group_after(after.as_deref()) {
                    Some((name, group)) => {
                        put_string(Item::of(name), out);
                        put_id(group.last, out);
                        put_length(group.entries_read.unwrap_or(-1) as u64, out);
                        put_length(group.pending_len() as u64, out);
                        Stage::Pending(name.into(), StreamId::MIN)
                    }
                    None => return true,
                },
                Stage::Pending(name, from) => {
                    let group = stream.group(&name).expect("it has not changed");
                    match group.pending_range(from, StreamId::MAX).next() {
                        Some(_) => {
                            let mut next = from;
                            for (id, pending, _) in group.pending_range(from, StreamId::MAX).take(left.max(1))
                            {
                                out.put(&id.to_bytes());
                                out.put(&pending.time.to_le_bytes());
                                put_length(pending.count, out);
                                next = id.next().unwrap_or(StreamId::MIN);
                                left = left.saturating_sub(1);
                            }
                            match next {
                                StreamId::MIN => end_of_pending(name, group, out),
                                next => Stage::Pending(name, next),
                            }
                        }
                        None => end_of_pending(name, group, out),
                    }
                }
                Stage::Consumers(name, after) => {
                    let group = stream.group(&name).expect("it has not changed");
                    match group.consumer_after(after.as_deref()) {
                        Some(consumer) => {
                            self.put_consumer(consumer, out);
                            Stage::Given(name, consumer.name().into(), StreamId::MIN)
                        }
                        None => Stage::Groups(Some(name)),
                    }
                }
                Stage::Given(name, consumer, from) => {
                    let group = stream.group(&name).expect("it has not changed");
                    let number = group.find(&consumer).expect("it has not changed");
                    let mut next = None;
                    for id in group.consumer(number).pending_ids(from, StreamId::MAX).take(left.max(1)) {
                        out.put(&id.to_bytes());
                        next = id.next();
                        left = left.saturating_sub(1);
                    }
                    match next {
                        Some(next) => Stage::Given(name, consumer, next),
                        None => Stage::Consumers(name, Some(consumer)),
                    }
                }
            };
        }
        false
    }

    fn put_consumer(&self, consumer: &Consumer, out: &mut impl Sink) {
        put_string(Item::of(consumer.name()), out);
        out.put(&consumer.seen.to_le_bytes());
        if self.with_active {
            out.put(&consumer.active.map_or(NEVER, |active| active as i64).to_le_bytes());
        }
        put_length(consumer.pending_len() as u64, out);
    }
}

fn end_of_pending(name: Box<[u8]>, group: &Group, out: &mut impl Sink) -> Stage {
    put_length(group.consumers_len() as u64, out);
    Stage::Consumers(name, None)
}

fn put_id(id: StreamId, out: &mut impl Sink) {
    put_length(id.ms, out);
    put_length(id.seq, out);
}

fn put_counters(stream: &Body, out: &mut impl Sink) {
    put_length(stream.entries_len(), out);
    put_id(stream.last_id(), out);
    put_id(stream.first_id(), out);
    put_id(stream.max_deleted_id(), out);
    put_length(stream.entries_added(), out);
}

fn put_node(run: &Run<'_>, room: &mut Listpack, out: &mut impl Sink) {
    let first = run.first_id();
    put_length(16, out);
    out.put(&first.to_bytes());
    room.clear();
    let int = |room: &mut Listpack, int: i64| room.push(Item::Int(int));
    int(room, run.live().into());
    int(room, run.dead().into());
    int(room, run.fields().len() as i64);
    run.fields().for_each(|field| room.push(field));
    int(room, 0);
    for (entry, is_deleted) in run.entries() {
        let same = entry.has_common_fields();
        let fields = entry.fields() as i64;
        int(room, if is_deleted { DELETED } else { 0 } | if same { SAME_FIELDS } else { 0 });
        int(room, entry.id.ms.wrapping_sub(first.ms) as i64);
        int(room, entry.id.seq.wrapping_sub(first.seq) as i64);
        if !same {
            int(room, fields);
        }
        for (field, value) in entry.pairs() {
            if !same {
                room.push(field);
            }
            room.push(value);
        }
        int(room, if same { fields + 3 } else { 2 * fields + 4 });
    }
    room.put(out);
}

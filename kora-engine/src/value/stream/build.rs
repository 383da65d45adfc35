//! Streams made of parts that come from elsewhere, block by block and group by group. Nothing about the parts is believed.

use std::collections::BTreeMap;

use super::block::Block;
use super::group::{ConsumerNumber, Group};
use super::{Body, Stream, StreamId};
use crate::value::buffer::LEN_MAX;

/// Room in a block beside its texts: ids and heads of elements.
const OVERHEAD_MAX: usize = 32;

/// A block to which entries are appended whose ids only grow.
#[derive(Debug)]
pub(crate) struct BlockBuilder {
    block: Block,
    first: StreamId,
    /// The last id so far, of this block or of the one before.
    last: Option<StreamId>,
    bytes: usize,
}

impl BlockBuilder {
    /// A block whose entries have these fields for the most part, at least one; its ids are behind `last`.
    pub(crate) fn new(fields: &[&[u8]], last: Option<StreamId>) -> BlockBuilder {
        let bytes = fields.iter().map(|field| field.len() + OVERHEAD_MAX).sum();
        BlockBuilder { block: Block::of_fields(fields), first: StreamId::MIN, last, bytes }
    }

    /// Appends an entry: the values of the block's fields, or fields and values in turn. False, and nothing done, when its id is not
    /// behind the last one or the block would be too large.
    pub(crate) fn append(&mut self, id: StreamId, same_fields: bool, texts: &[&[u8]]) -> bool {
        let more: usize = texts.iter().map(|text| text.len() + OVERHEAD_MAX).sum();
        if self.last.is_some_and(|last| id <= last)
            || id == StreamId::MIN
            || self.bytes + more + OVERHEAD_MAX > LEN_MAX
        {
            return false;
        }
        self.bytes += more + OVERHEAD_MAX;
        let is_first = self.block.live() == 0;
        if is_first {
            self.first = id;
        }
        self.block.append_texts(self.last.filter(|_| !is_first), id, same_fields, texts);
        self.last = Some(id);
        true
    }
}

/// A consumer group whose parts come one by one: pending entries, then consumers, each with the ids that it was given.
#[derive(Debug)]
pub(crate) struct GroupBuilder {
    name: Vec<u8>,
    group: Group,
    /// Time and count of pending entries of which nobody has said yet who has them.
    pending: BTreeMap<StreamId, (u64, u64)>,
    /// The latest consumer.
    consumer: Option<ConsumerNumber>,
}

impl GroupBuilder {
    /// A group without consumers.
    pub(crate) fn new(name: Vec<u8>, last: StreamId, entries_read: Option<i64>) -> GroupBuilder {
        let group = Group::new(last, entries_read);
        GroupBuilder { name, group, pending: BTreeMap::new(), consumer: None }
    }

    /// Adds a pending entry; false when it is there already.
    pub(crate) fn add_pending(&mut self, id: StreamId, time: u64, count: u64) -> bool {
        self.pending.insert(id, (time, count)).is_none()
    }

    /// Adds a consumer; false when there is one of this name.
    pub(crate) fn add_consumer(&mut self, name: &[u8], seen: u64, active: Option<u64>) -> bool {
        if self.group.find(name).is_some() {
            return false;
        }
        let number = self.group.create_consumer(name, seen);
        self.group.consumer_mut(number).active = active;
        self.consumer = Some(number);
        true
    }

    /// Gives the latest consumer a pending entry; false when there is none of this id that nobody has.
    pub(crate) fn give(&mut self, id: StreamId) -> bool {
        let (Some(consumer), Some((time, count))) = (self.consumer, self.pending.remove(&id)) else {
            return false;
        };
        self.group.deliver(id, consumer, time, count);
        true
    }
}

impl Stream {
    /// The id of the last entry; none when there is none.
    pub(crate) fn last_entry(&self) -> Option<StreamId> {
        self.last_live()
    }

    /// Adds a block behind all others, if it has entries. False when it does not come behind them.
    pub(crate) fn add_block(&mut self, built: BlockBuilder) -> bool {
        let BlockBuilder { mut block, first, last, .. } = built;
        if block.live() == 0 {
            return true;
        }
        let Body { len, first: stream_first, last: stream_last, blocks, .. } = self.body_mut();
        if *len > 0 && first <= *stream_last {
            return false;
        }
        block.seal();
        if *len == 0 {
            *stream_first = first;
        }
        *len += u64::from(block.live());
        *stream_last = last.expect("the block has entries");
        blocks.push(first, block);
        true
    }

    /// Sets the counters when all blocks are there. False when an entry is behind the last id.
    pub(crate) fn end(&mut self, last: StreamId, max_deleted: StreamId, added: u64) -> bool {
        let body = self.body_mut();
        if !body.can_end_at(last) {
            return false;
        }
        body.set_ids(last, added, max_deleted);
        true
    }

    /// Adds a consumer group. False when there is one of its name, or it has pending entries that nobody was given.
    pub(crate) fn add_group(&mut self, built: GroupBuilder) -> bool {
        let GroupBuilder { name, group, pending, .. } = built;
        pending.is_empty() && self.body_mut().groups.insert(name.into(), group).is_none()
    }
}

//! Streams in the apply path: each method changes a stream and says so.

use super::{Editor, Malformed};
use crate::change::{Change, EntryFields, StreamEdit, UnixMs};
use crate::value::stream::{ConsumerNumber, NodeLimits, Stream, StreamId, Threshold, Trimmed};
use crate::value::Collection;

impl<'k> Editor<'k, Stream> {
    fn emit_edit<'c>(&mut self, edit: StreamEdit<'c>)
    where
        'k: 'c,
    {
        self.emit(|db, key| Change::StreamEdit { db, key, edit });
    }

    /// Appends an entry: fields and values in turn, at least one pair. Its id is greater than the stream's last.
    pub fn append(&mut self, id: StreamId, pairs: &[&[u8]], limits: NodeLimits) {
        let bytes = pairs.iter().map(|part| part.len() as u64).sum();
        let new_block = self.begins_block(bytes, limits);
        self.value_mut().body_mut().append(id, pairs, new_block);
        // A shorter borrow than the key's: the change is told before it ends.
        let fields = EntryFields::Given(pairs);
        self.emit_edit(StreamEdit::Add { id, new_block, fields });
    }

    /// Deletes an entry; false when there is none of this id.
    pub fn delete(&mut self, id: StreamId, tombstone: bool) -> bool {
        let deleted = self.value_mut().body_mut().delete(id, tombstone);
        if deleted {
            self.emit_edit(StreamEdit::Delete { id, tombstone });
        }
        deleted
    }

    /// Removes entries from the beginning: as many as the rules for trimming say, but visits at most `blocks_max` blocks.
    pub fn trim(
        &mut self,
        threshold: Threshold,
        approximate: bool,
        limit: Option<u64>,
        blocks_max: usize,
    ) -> Trimmed {
        let trimmed = self.value_mut().body_mut().trim(threshold, approximate, limit, blocks_max);
        if trimmed.blocks > 0 || trimmed.entries > 0 {
            self.emit_edit(StreamEdit::Trim { blocks: trimmed.blocks, before: trimmed.before });
        }
        trimmed
    }

    /// Sets the last id, the number of entries ever added and the greatest deleted id.
    pub fn set_ids(&mut self, last: StreamId, added: u64, max_deleted: StreamId) {
        self.value_mut().body_mut().set_ids(last, added, max_deleted);
        self.emit_edit(StreamEdit::SetIds { last, added, max_deleted });
    }

    /// Makes a group; false when there is one of this name.
    pub fn create_group(&mut self, group: &[u8], last: StreamId, entries_read: Option<i64>) -> bool {
        let created = self.value_mut().body_mut().create_group(group, last, entries_read);
        if created {
            self.emit_edit(StreamEdit::CreateGroup { group, last, entries_read });
        }
        created
    }

    /// Sets the position of a group that exists.
    pub fn set_group(&mut self, group: &[u8], last: StreamId, entries_read: Option<i64>) {
        if let Some(found) = self.value_mut().body_mut().group_mut(group) {
            (found.last, found.entries_read) = (last, entries_read);
            self.emit_edit(StreamEdit::SetGroup { group, last, entries_read });
        }
    }

    /// Removes a group; false when there is none of this name.
    pub fn remove_group(&mut self, group: &[u8]) -> bool {
        let Some(removed) = self.value_mut().body_mut().remove_group(group) else { return false };
        removed.into_object().discard();
        self.emit_edit(StreamEdit::RemoveGroup { group });
        true
    }

    /// The consumer of this name of a group that exists, made if need be.
    pub fn consumer(&mut self, group: &[u8], consumer: &[u8], now: UnixMs) -> Option<ConsumerNumber> {
        let found = self.value_mut().body_mut().group_mut(group)?;
        if let Some(number) = found.find(consumer) {
            return Some(number);
        }
        let number = found.create_consumer(consumer, now);
        self.emit_edit(StreamEdit::CreateConsumer { group, consumer, seen: now });
        Some(number)
    }

    /// Removes a consumer; how many pending entries it had.
    pub fn remove_consumer(&mut self, group: &[u8], consumer: &[u8]) -> Option<usize> {
        let pending = self.value_mut().body_mut().group_mut(group)?.remove_consumer(consumer)?;
        self.emit_edit(StreamEdit::RemoveConsumer { group, consumer });
        Some(pending)
    }

    /// A consumer has asked for entries, and was given some or not.
    pub fn seen(&mut self, group: &[u8], consumer: &[u8], now: UnixMs, active: bool) {
        let Some(found) = self.value_mut().body_mut().group_mut(group) else { return };
        let Some(number) = found.find(consumer) else { return };
        let to = found.consumer_mut(number);
        if to.seen == now && !active {
            return;
        }
        to.seen = now;
        if active {
            to.active = Some(now);
        }
        self.emit_edit(StreamEdit::Seen { group, consumer, at: now, active });
    }

    /// Makes entries pending with a consumer, whoever had them before, each with the number of its deliveries.
    pub fn deliver(&mut self, group: &[u8], consumer: &[u8], time: UnixMs, entries: &[(StreamId, u64)]) {
        let Some(found) = self.value_mut().body_mut().group_mut(group) else { return };
        let Some(number) = found.find(consumer) else { return };
        for &(id, count) in entries {
            found.deliver(id, number, time, count);
        }
        for &(id, count) in entries {
            self.emit_edit(StreamEdit::Deliver { group, consumer, id, time, count });
        }
    }

    /// An entry is not pending any more; false when it was not.
    pub fn acknowledge(&mut self, group: &[u8], id: StreamId) -> bool {
        let Some(found) = self.value_mut().body_mut().group_mut(group) else { return false };
        let acknowledged = found.acknowledge(id);
        if acknowledged {
            self.emit_edit(StreamEdit::Acknowledge { group, id });
        }
        acknowledged
    }

    /// An entry is not pending with any group any more.
    pub fn acknowledge_everywhere(&mut self, id: StreamId) {
        let holding: Vec<Vec<u8>> = self
            .groups()
            .filter(|(_, group)| group.pending(id).is_some())
            .map(|(name, _)| name.to_vec())
            .collect();
        for group in holding {
            self.acknowledge(&group, id);
        }
    }

    /// Does what a change says.
    pub(super) fn replay(&mut self, edit: StreamEdit<'_>) -> Result<(), Malformed> {
        let there = |group: &[u8], stream: &Stream| stream.group(group).map(drop).ok_or(Malformed);
        let member = |group: &[u8], consumer: &[u8], stream: &Stream| {
            stream.group(group).and_then(|group| group.find(consumer)).map(drop).ok_or(Malformed)
        };
        match edit {
            StreamEdit::Add { id, new_block, fields } => {
                if id <= self.last_id() {
                    return Err(Malformed);
                }
                let mut parts = Vec::new();
                fields.for_each(&mut |item| parts.push(item.to_vec()));
                let pairs: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                self.value_mut().body_mut().append(id, &pairs, new_block);
                self.emit_edit(StreamEdit::Add { id, new_block, fields: EntryFields::Given(&pairs) });
            }
            StreamEdit::Delete { id, tombstone } => {
                self.delete(id, tombstone);
            }
            StreamEdit::Trim { blocks, before } => {
                self.value_mut().body_mut().trim_again(blocks, before);
                self.emit_edit(edit);
            }
            StreamEdit::SetIds { last, added, max_deleted } => {
                if !self.can_end_at(last) {
                    return Err(Malformed);
                }
                self.set_ids(last, added, max_deleted);
            }
            StreamEdit::CreateGroup { group, last, entries_read } => {
                self.create_group(group, last, entries_read);
            }
            StreamEdit::SetGroup { group, last, entries_read } => {
                there(group, self)?;
                self.set_group(group, last, entries_read);
            }
            StreamEdit::RemoveGroup { group } => {
                self.remove_group(group);
            }
            StreamEdit::CreateConsumer { group, consumer, seen } => {
                there(group, self)?;
                self.consumer(group, consumer, seen);
            }
            StreamEdit::RemoveConsumer { group, consumer } => {
                self.remove_consumer(group, consumer);
            }
            StreamEdit::Seen { group, consumer, at, active } => {
                member(group, consumer, self)?;
                self.seen(group, consumer, at, active);
            }
            StreamEdit::Deliver { group, consumer, id, time, count } => {
                member(group, consumer, self)?;
                self.deliver(group, consumer, time, &[(id, count)]);
            }
            StreamEdit::Acknowledge { group, id } => {
                self.acknowledge(group, id);
            }
        }
        Ok(())
    }
}

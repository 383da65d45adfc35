//! A stream as bytes, for the log and for snapshots.
//!
//! ```text
//! stream    last  max-deleted  added
//!           blocks(count) { first  dead-or-live entries as the block holds them (length, bytes) }
//!           groups(count) { name  last  entries-read + 1 or 0  consumers(count) { name  seen  active + 1 or 0
//!                           pending(count) { id  time  count } } }
//! ```
//!
//! Numbers are varints, an id is two of them, names are a length and bytes. Blocks are kept as they are: a stream that is read back
//! ends its blocks where the written one did.

use super::block::Block;
use super::{varint, Body, Group, StreamId};

/// Appends the stream.
pub(super) fn encode(stream: &Body, out: &mut Vec<u8>) {
    put_id(stream.last, out);
    put_id(stream.max_deleted, out);
    varint::put(stream.added, out);
    varint::put(stream.blocks.len() as u64, out);
    for (&first, block) in stream.blocks.range(StreamId::MIN, StreamId::MAX) {
        put_id(first, out);
        put_bytes(block.bytes(), out);
    }
    varint::put(stream.groups.len() as u64, out);
    for (name, group) in &stream.groups {
        put_bytes(name, out);
        put_id(group.last, out);
        varint::put(group.entries_read.map_or(0, |read| zigzag(read).wrapping_add(1)), out);
        varint::put(group.consumers_len() as u64, out);
        for consumer in group.consumers() {
            put_bytes(consumer.name(), out);
            varint::put(consumer.seen, out);
            varint::put(consumer.active.map_or(0, |active| active.wrapping_add(1)), out);
            varint::put(consumer.pending.len() as u64, out);
            for &id in &consumer.pending {
                let pending = group.pending[&id];
                put_id(id, out);
                varint::put(pending.time, out);
                varint::put(pending.count, out);
            }
        }
    }
}

/// The stream of bytes that may come from anywhere.
pub(super) fn decode(input: &[u8]) -> Option<Body> {
    let mut reader = Reader { input, at: 0 };
    let (last, max_deleted, added) = (reader.id()?, reader.id()?, reader.number()?);
    let mut stream = Body { last, max_deleted, added, ..Body::default() };
    let mut before: Option<StreamId> = None;
    for _ in 0..reader.number()? {
        let first = reader.id()?;
        let (block, last_live) = Block::from_bytes(reader.bytes()?, first)?;
        if before.is_some_and(|before| first <= before) {
            return None;
        }
        // Deleted entries at the end of a block can have greater ids than the next block.
        before = last_live.or(Some(first));
        stream.len += u64::from(block.live());
        stream.blocks.push(first, block);
    }
    for _ in 0..reader.number()? {
        let name = reader.bytes()?;
        let group = reader.group()?;
        if stream.groups.insert(name.into(), group).is_some() {
            return None;
        }
    }
    stream.find_first();
    (reader.at == input.len() && stream.can_end_at(last)).then_some(stream)
}

fn put_id(id: StreamId, out: &mut Vec<u8>) {
    varint::put(id.ms, out);
    varint::put(id.seq, out);
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    varint::put(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let (number, next) = varint::get(self.input, self.at)?;
        self.at = next;
        Some(number)
    }

    fn id(&mut self) -> Option<StreamId> {
        Some(StreamId::new(self.number()?, self.number()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let bytes = self.input.get(self.at..)?.get(..len)?;
        self.at += len;
        Some(bytes)
    }

    fn group(&mut self) -> Option<Group> {
        let last = self.id()?;
        let entries_read = self.number()?.checked_sub(1).map(unzigzag);
        let mut group = Group::new(last, entries_read);
        for _ in 0..self.number()? {
            let name = self.bytes()?;
            if group.find(name).is_some() {
                return None;
            }
            let number = group.create_consumer(name, self.number()?);
            group.consumer_mut(number).active = self.number()?.checked_sub(1);
            for _ in 0..self.number()? {
                let (id, time, count) = (self.id()?, self.number()?, self.number()?);
                if group.pending(id).is_some() {
                    return None;
                }
                group.deliver(id, number, time, count);
            }
        }
        Some(group)
    }
}

/// For tests: the same bytes are the same stream.
#[cfg(test)]
pub(super) fn bytes_of(stream: &Body) -> Vec<u8> {
    let mut out = Vec::new();
    encode(stream, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zigzag_reads_back() {
        for value in [0, 1, -1, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
    }

    #[test]
    fn counts_are_not_believed() {
        let mut claims = Vec::new();
        for number in [0, 0, 0, 0, 0, u64::MAX] {
            varint::put(number, &mut claims);
        }
        assert!(decode(&claims).is_none());
    }
}

//! Streams: nodes of entries, counters, then consumer groups with what is pending.
//!
//! ```text
//! nodes(number) { first id  listpack }
//! length  last id  [first id  max deleted id  entries added]
//! groups(number) { name  last id  [entries read]
//!                  pending(number) { id  time  count }
//!                  consumers(number) { name  seen  [active]  pending(number) { id } } }
//! ```
//! What is in brackets came with the second and third version of the encoding.
//!
//! A node is a listpack that begins with the fields of its first entry:
//!
//! ```text
//! entries  deleted  fields(number) { field }  0
//! { flags  ms - first ms  seq - first seq  [fields(number)] { [field] value }  number of elements } ...
//! ```
//! Deleted entries are left out here. Where a node ends a block ends, so that trimming by whole nodes leaves the same.

use super::{open_packed, At, Room};
use crate::rdb::packed::{Form, Packed};
use crate::rdb::string::{number, string};
use crate::rdb::{Encoding, Error, Problem, Source};
use crate::value::item::Item;
use crate::value::stream::{BlockBuilder, GroupBuilder, Stream, StreamId};
use crate::value::Collection;
use smallvec::SmallVec;
use std::ops::Range;

const ENTRY: Problem = Problem::Malformed("entry of a stream");
const PENDING: Problem = Problem::Malformed("pending entry of a stream");

/// Flags of an entry.
const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// What consumers that were never active have for a time.
const NEVER: i64 = -1;

/// A stream that is being read.
pub(super) struct StreamLoader {
    stream: Stream,
    encoding: Encoding,
    stage: Stage,
    /// The fields of the present node, then the texts of the present entry.
    texts: Texts,
}

/// What comes next.
#[derive(Debug)]
enum Stage {
    Begin,
    /// So many nodes, then the counters.
    Nodes(u64),
    Node {
        left: u64,
        node: Node,
    },
    /// So many groups.
    Groups(u64),
    /// So many pending entries of the group, then its consumers; then so many groups.
    Pending {
        groups: u64,
        group: GroupBuilder,
        left: u64,
    },
    Consumers {
        groups: u64,
        group: GroupBuilder,
        left: u64,
    },
    /// So many ids of the group's latest consumer.
    Given {
        groups: u64,
        group: GroupBuilder,
        consumers: u64,
        left: u64,
    },
}

/// A node that is being read.
#[derive(Debug)]
struct Node {
    first: StreamId,
    packed: Packed,
    /// How many fields its first entry has; they are the first of the texts.
    fields: usize,
    block: BlockBuilder,
}

/// Texts one behind the other.
#[derive(Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    fn range(&self, index: usize) -> Range<usize> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        start..self.ends[index]
    }

    fn get(&self, index: usize) -> &[u8] {
        &self.bytes[self.range(index)]
    }
}

impl StreamLoader {
    pub(super) fn new(encoding: Encoding) -> StreamLoader {
        StreamLoader { stream: Stream::new(0), encoding, stage: Stage::Begin, texts: Texts::default() }
    }

    pub(super) fn advance<S: Source>(
        &mut self,
        source: &mut S,
        room: &mut Room,
        elements: usize,
    ) -> Result<bool, Error> {
        for _ in 0..elements {
            self.stage = match std::mem::replace(&mut self.stage, Stage::Begin) {
                Stage::Begin => Stage::Nodes(number(source)?),
                Stage::Nodes(0) => {
                    self.counters(source)?;
                    Stage::Groups(number(source)?)
                }
                Stage::Nodes(left) => Stage::Node { left: left - 1, node: self.node(source, room)? },
                Stage::Node { left, mut node } => {
                    if self.entry(source, &mut node)? {
                        Stage::Node { left, node }
                    } else {
                        self.end_of(node, source, room)?;
                        Stage::Nodes(left)
                    }
                }
                Stage::Groups(0) => {
                    self.stage = Stage::Groups(0);
                    return Ok(true);
                }
                Stage::Groups(groups) => {
                    let group = self.group(source, room)?;
                    Stage::Pending { groups: groups - 1, group, left: number(source)? }
                }
                Stage::Pending { groups, group, left: 0 } => {
                    Stage::Consumers { groups, group, left: number(source)? }
                }
                Stage::Pending { groups, mut group, left } => {
                    let id = raw_id(source)?;
                    let (time, count) = (u64::from_le_bytes(source.array()?), number(source)?);
                    if !group.add_pending(id, time, count) {
                        return source.refuse(PENDING);
                    }
                    Stage::Pending { groups, group, left: left - 1 }
                }
                Stage::Consumers { groups, group, left: 0 } => {
                    if !self.stream.add_group(group) {
                        return source.refuse(Problem::Malformed("consumer group"));
                    }
                    Stage::Groups(groups)
                }
                Stage::Consumers { groups, mut group, left } => {
                    let is_new = {
                        let name = string(source, &mut room.first)?;
                        room.text.clear();
                        room.text.extend_from_slice(name);
                        let seen = i64::from_le_bytes(source.array()?);
                        let active = match self.encoding {
                            Encoding::Stream3 => i64::from_le_bytes(source.array()?),
                            _ => seen,
                        };
                        let active = (active != NEVER).then_some(active.max(0) as u64);
                        group.add_consumer(&room.text, seen.max(0) as u64, active)
                    };
                    if !is_new {
                        return source.refuse(Problem::Duplicate("consumer"));
                    }
                    Stage::Given { groups, group, consumers: left - 1, left: number(source)? }
                }
                Stage::Given { groups, group, consumers, left: 0 } => {
                    Stage::Consumers { groups, group, left: consumers }
                }
                Stage::Given { groups, mut group, consumers, left } => {
                    let id = raw_id(source)?;
                    if !group.give(id) {
                        return source.refuse(PENDING);
                    }
                    Stage::Given { groups, group, consumers, left: left - 1 }
                }
            };
        }
        Ok(false)
    }

    /// Reads a node, up to its first entry.
    fn node<S: Source>(&mut self, source: &mut S, room: &mut Room) -> Result<Node, Error> {
        let key = string(source, &mut room.text)?.try_into();
        let first = id_of(key.map_err(|_| source.error(Problem::Malformed("key of a stream's node")))?);
        let mut packed = open_packed(source, room, Form::Listpack)?;
        packed.need_int().at(source)?;
        packed.need_int().at(source)?;
        let fields = packed.need_int().at(source)?;
        self.texts.truncate(0);
        for _ in 0..fields {
            packed.need().at(source)?.with_bytes(|field| self.texts.push(field));
        }
        packed.need_int().at(source)?;
        let names: SmallVec<[&[u8]; 16]> =
            (0..self.texts.ends.len()).map(|index| self.texts.get(index)).collect();
        if names.is_empty() {
            return source.refuse(ENTRY);
        }
        let block = BlockBuilder::new(&names, self.stream.last_entry());
        Ok(Node { first, packed, fields: self.texts.ends.len(), block })
    }

    /// Reads an entry of a node; false when there is none left.
    fn entry<S: Source>(&mut self, source: &mut S, node: &mut Node) -> Result<bool, Error> {
        let Node { first, packed, fields, block } = node;
        let Some(flags) = packed.next().at(source)? else { return Ok(false) };
        let flags = match flags {
            Item::Int(flags) => flags,
            Item::Bytes(_) => return source.refuse(ENTRY),
        };
        let (ms, seq) = (packed.need_int().at(source)?, packed.need_int().at(source)?);
        let id = StreamId::new(first.ms.wrapping_add(ms as u64), first.seq.wrapping_add(seq as u64));
        self.texts.truncate(*fields);
        let same = flags & SAME_FIELDS != 0;
        let texts = match same {
            true => *fields as i64,
            false => match packed.need_int().at(source)? {
                own @ 1..=0xffff_ffff => own * 2,
                _ => return source.refuse(ENTRY),
            },
        };
        for _ in 0..texts {
            packed.need().at(source)?.with_bytes(|text| self.texts.push(text));
        }
        packed.need_int().at(source)?;
        if flags & DELETED != 0 {
            return Ok(true);
        }
        let texts = &self.texts;
        let own: SmallVec<[&[u8]; 32]> = (*fields..texts.ends.len()).map(|index| texts.get(index)).collect();
        if !block.append(id, same, &own) {
            return source.refuse(ENTRY);
        }
        Ok(true)
    }

    fn end_of<S: Source>(&mut self, node: Node, source: &S, room: &mut Room) -> Result<(), Error> {
        room.packed = node.packed.into_room();
        if !self.stream.add_block(node.block) {
            return source.refuse(ENTRY);
        }
        Ok(())
    }

    /// Reads what comes between the nodes and the groups.
    fn counters<S: Source>(&mut self, source: &mut S) -> Result<(), Error> {
        let length = number(source)?;
        let last = id(source)?;
        let (max_deleted, added) = match self.encoding {
            Encoding::Stream => (StreamId::MIN, length),
            _ => {
                let _first = id(source)?;
                (id(source)?, number(source)?)
            }
        };
        if length != self.stream.entries_len() || !self.stream.end(last, max_deleted, added) {
            return source.refuse(Problem::Malformed("length or last id of a stream"));
        }
        Ok(())
    }

    /// Reads a group, up to its pending entries.
    fn group<S: Source>(&mut self, source: &mut S, room: &mut Room) -> Result<GroupBuilder, Error> {
        let name = string(source, &mut room.text)?.to_vec();
        let last = id(source)?;
        let read = match self.encoding {
            Encoding::Stream => self.stream.entries_up_to(last),
            // -1 says that it is not known.
            _ => Some(number(source)? as i64).filter(|&read| read >= 0),
        };
        Ok(GroupBuilder::new(name, last, read))
    }

    pub(super) fn finish(self) -> Stream {
        self.stream
    }
}

/// An id as two numbers.
fn id<S: Source>(source: &mut S) -> Result<StreamId, Error> {
    Ok(StreamId::new(number(source)?, number(source)?))
}

/// An id as 16 bytes.
fn raw_id<S: Source>(source: &mut S) -> Result<StreamId, Error> {
    Ok(id_of(source.array()?))
}

fn id_of(bytes: [u8; 16]) -> StreamId {
    let both = u128::from_be_bytes(bytes);
    StreamId::new((both >> 64) as u64, both as u64)
}

//! From a value to bytes.
//!
//! What is small is written as the listpack or the set of integers that Redis would have; what is large element by element, because
//! it can be written in slices then, and the number of elements is all that comes before them. (Redis cuts large lists into
//! listpacks; a plain list is an older encoding that every version loads.)

mod listpack;
mod stream;

use super::string::{put_length, put_string};
use super::{Encoding, BYTES_PER_ELEMENT, VERSION_MAX, VERSION_MIN};
use crate::table::ValueRef;
use crate::value::hash::Hash;
use crate::value::item::Item;
use crate::value::list::List;
use crate::value::set::Set;
use crate::value::zset::Zset;
use crate::value::{Collection, Object};
use listpack::Listpack;
use stream::StreamWriter;

pub use crate::value::item::Sink;

/// A list up to this many bytes is one listpack. Redis's own nodes are not larger.
const LIST_PACKED_MAX: usize = 8 * 1024;

/// The value has something that the version of the format cannot say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("hash fields with an expiry need version {needed} of the RDB format")]
pub struct NeedsVersion {
    /// The first version that can.
    pub needed: u16,
}

/// Writes values, one after the other, each in slices.
pub struct Writer {
    version: u16,
    stage: Stage,
    /// The listpack that is being made.
    room: Listpack,
}

/// How far a value has been written.
enum Stage {
    Idle,
    /// It is written at once.
    Whole(Encoding),
    /// Bytes of a string from this one on.
    String(usize),
    /// Elements from this index on.
    List(usize),
    /// Members from this position on, once their number is written.
    Set(Option<u64>),
    /// So many members, from the last to the first, once their number is written.
    Zset(Option<usize>),
    /// Fields from this position on, once their number is written. What times are counted from, if the fields have times.
    Hash {
        position: Option<u64>,
        base: Option<u64>,
    },
    Stream(StreamWriter),
}

/// The oldest version of the format in which nothing of the value is lost.
pub fn version_for(value: ValueRef<'_>) -> u16 {
    let ValueRef::Object(object) = value else { return VERSION_MIN };
    object.with(|object| match object {
        Object::Hash(hash) if hash.expiring_len() > 0 => 12,
        Object::Stream(stream) if stream::needs_active_times(stream) => 11,
        _ => VERSION_MIN,
    })
}

impl Writer {
    /// A writer of this version of the format.
    ///
    /// # Panics
    /// When the version is not from [`VERSION_MIN`] to [`VERSION_MAX`].
    pub fn new(version: u16) -> Writer {
        assert!((VERSION_MIN..=VERSION_MAX).contains(&version));
        Writer { version, stage: Stage::Idle, room: Listpack::default() }
    }

    /// Begins with a value: says how it is going to be encoded.
    ///
    /// # Errors
    /// It has something that the version of the format cannot say.
    pub fn begin(&mut self, value: ValueRef<'_>) -> Result<Encoding, NeedsVersion> {
        let (encoding, stage) = match value {
            ValueRef::Object(object) => object.with(|object| self.begin_object(object))?,
            _ => (Encoding::String, Stage::String(0)),
        };
        self.stage = stage;
        Ok(encoding)
    }

    fn begin_object(&self, object: &Object) -> Result<(Encoding, Stage), NeedsVersion> {
        let whole = |encoding| (encoding, Stage::Whole(encoding));
        Ok(match object {
            Object::List(list) if list.is_packed_within(LIST_PACKED_MAX) => whole(Encoding::ListQuicklist2),
            Object::List(_) => (Encoding::List, Stage::List(0)),
            Object::Set(Set::Ints(_)) => whole(Encoding::SetIntset),
            Object::Set(Set::Packed(_)) if self.version >= 11 => whole(Encoding::SetListpack),
            Object::Set(_) => (Encoding::Set, Stage::Set(None)),
            Object::Zset(Zset::Packed(_)) => whole(Encoding::ZsetListpack),
            Object::Zset(_) => (Encoding::Zset2, Stage::Zset(None)),
            Object::Hash(hash) => {
                let expires = hash.expiring_len() > 0;
                if expires && self.version < 12 {
                    return Err(NeedsVersion { needed: 12 });
                }
                match (hash.is_packed(), expires) {
                    (true, false) => whole(Encoding::HashListpack),
                    (true, true) => whole(Encoding::HashListpackEx),
                    (false, false) => (Encoding::Hash, Stage::Hash { position: None, base: None }),
                    (false, true) => {
                        let base = hash.next_expiry();
                        (Encoding::HashMetadata, Stage::Hash { position: None, base })
                    }
                }
            }
            Object::Stream(_) => {
                let with_active = self.version >= 11;
                let encoding = if with_active { Encoding::Stream3 } else { Encoding::Stream2 };
                (encoding, Stage::Stream(StreamWriter::new(with_active)))
            }
        })
    }

    /// Writes about so many elements more of the value, which is as it was when it was begun. True when it is complete.
    ///
    /// # Panics
    /// When no value was begun, or the value is another one.
    pub fn advance(&mut self, value: ValueRef<'_>, out: &mut impl Sink, elements: usize) -> bool {
        let complete = match value {
            ValueRef::Int(int) => {
                put_string(Item::Int(int), out);
                true
            }
            ValueRef::Bytes(bytes) => self.advance_string(bytes, out, elements),
            ValueRef::Shared(bytes) => self.advance_string(bytes, out, elements),
            ValueRef::Object(object) => object.with(|object| self.advance_object(object, out, elements)),
        };
        if complete {
            self.stage = Stage::Idle;
        }
        complete
    }

    fn advance_string(&mut self, bytes: &[u8], out: &mut impl Sink, elements: usize) -> bool {
        let Stage::String(at) = &mut self.stage else { panic!("the value is not the one that was begun") };
        if *at == 0 {
            put_length(bytes.len() as u64, out);
        }
        let end = bytes.len().min(at.saturating_add(elements.saturating_mul(BYTES_PER_ELEMENT)));
        out.put(&bytes[*at..end]);
        *at = end;
        end == bytes.len()
    }

    fn advance_object(&mut self, object: &Object, out: &mut impl Sink, elements: usize) -> bool {
        let room = &mut self.room;
        match (&mut self.stage, object) {
            (Stage::Whole(_), Object::List(list)) => {
                put_packed_list(list, room, out);
                true
            }
            (Stage::Whole(Encoding::SetIntset), Object::Set(set)) => {
                put_ints(set, out);
                true
            }
            (Stage::Whole(_), Object::Set(set)) => {
                room.clear();
                set.for_each(&mut |member| {
                    room.push(member);
                    true
                });
                room.put(out);
                true
            }
            (Stage::Whole(_), Object::Zset(zset)) => {
                room.clear();
                for (member, score) in zset.ascending(0) {
                    room.push(member);
                    room.push_score(score);
                }
                room.put(out);
                true
            }
            (Stage::Whole(encoding), Object::Hash(hash)) => {
                put_packed_hash(hash, *encoding == Encoding::HashListpackEx, room, out);
                true
            }
            (Stage::List(next), Object::List(list)) => put_list(list, next, out, elements),
            (Stage::Set(position), Object::Set(set)) => put_set(set, position, out, elements),
            (Stage::Zset(left), Object::Zset(zset)) => put_zset(zset, left, out, elements),
            (Stage::Hash { position, base }, Object::Hash(hash)) => {
                put_hash(hash, position, *base, out, elements)
            }
            (Stage::Stream(writer), Object::Stream(stream)) => writer.advance(stream, room, out, elements),
            _ => panic!("the value is not the one that was begun"),
        }
    }
}

fn put_packed_list(list: &List, room: &mut Listpack, out: &mut impl Sink) {
    /// A node that is a listpack.
    const PACKED: u64 = 2;
    room.clear();
    for element in list.range(0..list.len()) {
        element.with_item(|item| room.push(item));
    }
    put_length(1, out);
    put_length(PACKED, out);
    room.put(out);
}

fn put_list(list: &List, next: &mut usize, out: &mut impl Sink, elements: usize) -> bool {
    let len = list.len();
    if *next == 0 {
        put_length(len as u64, out);
    }
    let end = len.min(next.saturating_add(elements));
    for element in list.range(*next..end) {
        element.with_item(|item| put_string(item, out));
    }
    *next = end;
    end == len
}

/// A set of integers: of the least width that holds the outermost ones.
fn put_ints(set: &Set, out: &mut impl Sink) {
    let mut ints = Vec::with_capacity(set.len());
    set.for_each(&mut |member| {
        if let Item::Int(int) = member {
            ints.push(int);
        }
        true
    });
    let fits = |bits: u32| ints.iter().all(|&int| int >> (bits - 1) == int >> 63);
    let width = [(16, 2), (32, 4)].into_iter().find(|&(bits, _)| fits(bits)).map_or(8, |(_, width)| width);
    put_length((8 + ints.len() * width) as u64, out);
    out.put(&(width as u32).to_le_bytes());
    out.put(&(ints.len() as u32).to_le_bytes());
    for int in ints {
        out.put(&int.to_le_bytes()[..width]);
    }
}

/// The position at which a walk that is to go on does; none at its end.
fn going_on(position: u64) -> Option<u64> {
    (position != 0).then_some(position)
}

fn put_set(set: &Set, position: &mut Option<u64>, out: &mut impl Sink, elements: usize) -> bool {
    let from = position.unwrap_or_else(|| {
        put_length(set.len() as u64, out);
        0
    });
    *position = going_on(set.scan(from, elements, &mut |member| put_string(member, out)));
    position.is_none()
}

fn put_zset(zset: &Zset, left: &mut Option<usize>, out: &mut impl Sink, elements: usize) -> bool {
    let end = left.unwrap_or_else(|| {
        put_length(zset.len() as u64, out);
        zset.len()
    });
    let start = end.saturating_sub(elements);
    // From the last to the first, as Redis has it: what is loaded so goes to the head of its list each time.
    if end > 0 {
        for (member, score) in zset.descending(end - 1).take(end - start) {
            member.with_bytes(|member| put_string(Item::of(member), out));
            out.put(&score.to_le_bytes());
        }
    }
    *left = Some(start);
    start == 0
}

fn put_hash(
    hash: &Hash,
    position: &mut Option<u64>,
    base: Option<u64>,
    out: &mut impl Sink,
    elements: usize,
) -> bool {
    let from = position.unwrap_or_else(|| {
        if let Some(base) = base {
            out.put(&base.to_le_bytes());
        }
        put_length(hash.len() as u64, out);
        0
    });
    // All that are there, also those whose time has run out and which nobody has seen yet: their number has been written.
    let next = hash.scan(from, elements, 0, &mut |field, found| {
        if let Some(base) = base {
            put_length(found.expire_at.map_or(0, |at| at - base + 1), out);
        }
        field.with_bytes(|field| put_string(Item::of(field), out));
        found.value.element().with_item(|value| put_string(value, out));
    });
    *position = going_on(next);
    position.is_none()
}

fn put_packed_hash(hash: &Hash, with_times: bool, room: &mut Listpack, out: &mut impl Sink) {
    room.clear();
    hash.scan(0, usize::MAX, 0, &mut |field, found| {
        field.with_item(|field| room.push(field));
        found.value.element().with_item(|value| room.push(value));
        if with_times {
            room.push(Item::Int(found.expire_at.map_or(0, |at| at as i64)));
        }
    });
    if with_times {
        // Of what the times in the listpack are counted from Redis makes nothing; it is the earliest of them.
        let base = hash.next_expiry().unwrap_or(0);
        out.put(&base.to_le_bytes());
    }
    room.put(out);
}

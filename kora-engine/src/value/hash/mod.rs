//! The hash as a value: fields with values, each field with an expiry of its own if it wants one.
//!
//! Three forms, each with a reason:
//!
//! - [`packed`], plain: all pairs in one buffer, for hashes within the limits `hash-max-listpack-*`. Redis's `listpack`.
//! - [`packed`], expiring: the same when a field was given an expiry. Redis's `listpackex`. There is no way back.
//! - [`table`]: a table as the keyspace's own, for large ones. It grows without a pause, its cursors are stable, the expiry of a
//!   field is that of a table's key. Redis's `hashtable`. There is no way back either.
//!
//! A field past its time is there until it is reclaimed, but no reader is shown it: readers take the time. Only
//! [`Collection::len`] counts it; [`Hash::due`] tells how many those are, if it can be told without a walk.

mod packed;
mod table;
#[cfg(test)]
mod tests;

pub use table::FieldTable;

use super::buffer::Buffer;
use super::element::{Element, Encoded, Needle};
use super::forms::forms;
use super::item::Item;
use super::{Collection, Object, Type};
use crate::change::UnixMs;
use crate::limits::EncodingLimits;
use crate::random::Random;
use crate::reply::Reply;
use crate::table::{Entry, Table};
use bytes::Bytes;
use packed::{Form, Packed, Pair, BYTES_MAX, PAIRS_MAX};
use table::value_of;

/// The latest expiry of a field: what Redis's index of expiries has bits for (the year 4199).
pub const EXPIRY_MAX: UnixMs = (1 << 46) - 1;

/// Bytes beside the text of a field and a value that are no longer than most are, at most.
const PAIR_HEADS: usize = 4;

forms! {
    /// A hash.
    #[derive(Clone)]
    pub enum Hash {
        /// Pairs in a buffer.
        Packed(Buffer) = 0,
        /// Pairs in a buffer, some of which may expire.
        Expiring(Buffer) = 1,
        /// A table.
        Table(Box<FieldTable>) = 2,
    }
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer, or a string of moderate length.
    Element(Element<'a>),
    /// A long string, which a reader may keep without a copy.
    Shared(&'a Bytes),
}

impl<'a> Value<'a> {
    /// The value as an element.
    #[inline]
    pub fn element(self) -> Element<'a> {
        match self {
            Value::Element(element) => element,
            Value::Shared(bytes) => Element::Bytes(bytes),
        }
    }

    /// Answers it as a bulk string.
    #[inline]
    pub fn reply(self, reply: &mut dyn Reply) {
        match self {
            Value::Element(element) => element.reply(reply),
            Value::Shared(bytes) => reply.bulk_shared(bytes),
        }
    }
}

/// A field's value and expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its value.
    pub value: Value<'a>,
    /// When it expires.
    pub expire_at: Option<UnixMs>,
}

impl Found<'_> {
    /// Whether its time has passed. A field lives through the millisecond that its expiry names, as a key does.
    #[inline]
    pub fn is_due(&self, now: UnixMs) -> bool {
        self.expire_at.is_some_and(|at| at < now)
    }
}

fn found_in<'a>(entry: Entry<'a>) -> Found<'a> {
    Found { value: value_of(&entry), expire_at: entry.expire_at() }
}

fn found_of<'a>(pair: &Pair<'a>) -> Found<'a> {
    Found { value: Value::Element(pair.value), expire_at: pair.expire_at }
}

impl Hash {
    /// The packed pairs, if that is the form.
    #[inline]
    fn packed(&self) -> Option<Packed<'_>> {
        match self {
            Hash::Packed(buffer) => Some(Packed::new(buffer, Form::Plain)),
            Hash::Expiring(buffer) => Some(Packed::new(buffer, Form::Expiring)),
            Hash::Table(_) => None,
        }
    }

    /// The fields of a table.
    pub(super) fn members(&self) -> Option<&Table> {
        match self {
            Hash::Table(table) => Some(table.table()),
            Hash::Packed(_) | Hash::Expiring(_) => None,
        }
    }

    /// Whether it is in one buffer: then everything about it is quick.
    pub fn is_packed(&self) -> bool {
        !matches!(self, Hash::Table(_))
    }

    /// How many fields have an expiry, past their time or not.
    pub fn expiring_len(&self) -> usize {
        match self {
            Hash::Table(table) => table.table().expires_len(),
            _ => self.packed().map_or(0, Packed::expiring),
        }
    }

    /// A field, even if it is past its time and not reclaimed yet.
    #[inline]
    pub fn find(&self, field: &[u8]) -> Option<Found<'_>> {
        match self {
            Hash::Table(table) => table.get(field).map(found_in),
            _ => {
                let packed = self.packed()?;
                let span = packed.find_text(field)?;
                Some(Found { value: Value::Element(packed.value(span)), expire_at: packed.expire_at(span) })
            }
        }
    }

    /// A field that is alive.
    #[inline]
    pub fn get(&self, field: &[u8], now: UnixMs) -> Option<Found<'_>> {
        self.find(field).filter(|found| !found.is_due(now))
    }

    /// How many fields are past their time and not reclaimed yet; none when that is not known without a walk.
    pub fn due(&self, now: UnixMs) -> Option<usize> {
        match self.packed() {
            Some(packed) => Some(packed.due(now)),
            None => self.next_expiry().is_none_or(|at| at >= now).then_some(0),
        }
    }

    /// Visits the fields that are alive: all of a packed hash; of a table about `count` from a position in the order of
    /// hashes on. Returns the position to go on with, 0 at the end.
    pub fn scan(
        &self,
        position: u64,
        count: usize,
        now: UnixMs,
        visit: &mut dyn FnMut(Element<'_>, Found<'_>),
    ) -> u64 {
        match self {
            Hash::Table(table) => table.table().scan(position, count, &mut |entry| {
                let found = found_in(entry);
                if !found.is_due(now) {
                    visit(Element::Bytes(entry.key()), found);
                }
            }),
            _ => {
                for pair in self.packed().expect("it is no table").pairs() {
                    let found = found_of(&pair);
                    if !found.is_due(now) {
                        visit(pair.field, found);
                    }
                }
                0
            }
        }
    }

    /// The fields of a packed hash that are alive; none of a table.
    pub fn packed_pairs(&self, now: UnixMs) -> Option<Vec<(Element<'_>, Found<'_>)>> {
        let packed = self.packed()?;
        Some(packed.pairs().skip(packed.due(now)).map(|pair| (pair.field, found_of(&pair))).collect())
    }

    /// A uniformly chosen field. It may be past its time in a table with [`Hash::due`] unknown.
    pub fn random(&self, now: UnixMs, random: &mut Random) -> Option<(Element<'_>, Found<'_>)> {
        match self {
            Hash::Table(table) => {
                let entry = table.table().random(&mut || random.number())?;
                Some((Element::Bytes(entry.key()), found_in(entry)))
            }
            _ => {
                let packed = self.packed().expect("it is no table");
                let due = packed.due(now);
                let alive = packed.len() - due;
                if alive == 0 {
                    return None;
                }
                let span =
                    packed.spans().nth(due + random.below(alive as u64) as usize).expect("it is one of them");
                let pair = packed.pair(span);
                Some((pair.field, found_of(&pair)))
            }
        }
    }
}

/// What a write does to the expiry of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldExpiry {
    /// As it was; a new field does not expire.
    Keep,
    /// The field does not expire.
    Clear,
    /// At this time.
    At(UnixMs),
}

impl FieldExpiry {
    /// The expiry after the write, given the one before it.
    #[inline]
    fn after(self, old: Option<UnixMs>) -> Option<UnixMs> {
        match self {
            FieldExpiry::Keep => old,
            FieldExpiry::Clear => None,
            FieldExpiry::At(at) => Some(at),
        }
    }
}

/// The changes. Only the apply path reaches them: elsewhere nobody has a `&mut Hash`.
impl Hash {
    /// Makes a table of it, whatever it was.
    pub(crate) fn make_table(&mut self, seed: u64) {
        let Some(packed) = self.packed() else { return };
        let mut table = FieldTable::new(seed);
        for pair in packed.pairs() {
            pair.field.with_bytes(|field| {
                pair.value.with_item(|value| table.insert(field, value, pair.expire_at));
            });
        }
        *self = Hash::Table(Box::new(table));
    }

    /// Readies it for fields that expire; as in Redis this is seen in the name of its form even if no field then does. Returns
    /// whether it has changed.
    pub(crate) fn make_expiring(&mut self) -> bool {
        let Hash::Packed(buffer) = self else { return false };
        let mut buffer = std::mem::take(buffer);
        packed::to_expiring(&mut buffer);
        *self = Hash::Expiring(buffer);
        true
    }

    /// Makes room in a packed hash for pairs whose fields and values have so many bytes in all.
    pub(crate) fn reserve(&mut self, pairs: usize, bytes: usize) {
        if let Hash::Packed(buffer) | Hash::Expiring(buffer) = self {
            buffer.reserve(bytes.saturating_add(pairs * PAIR_HEADS).min(BYTES_MAX));
        }
    }

    /// Gives back the room that was not needed.
    pub(crate) fn fit(&mut self) {
        if let Hash::Packed(buffer) | Hash::Expiring(buffer) = self {
            buffer.shrink_to_fit();
        }
    }

    /// Whether this pair is too much for a packed hash, whatever the number of its pairs.
    fn is_too_long(&self, field: &[u8], value: Item<'_>, limits: &EncodingLimits) -> bool {
        let (Hash::Packed(buffer) | Hash::Expiring(buffer)) = self else { return false };
        let value_len = match value {
            Item::Bytes(bytes) => bytes.len(),
            Item::Int(_) => value.text_len(),
        };
        let longest = limits.hash_max_listpack_value;
        field.len() > longest || value_len > longest || buffer.len() + field.len() + value_len > BYTES_MAX
    }

    /// Gives a field a value. Returns its expiry from now on, and whether it is new.
    pub(crate) fn set(
        &mut self,
        field: &[u8],
        value: Item<'_>,
        expiry: FieldExpiry,
        limits: &EncodingLimits,
        seed: u64,
    ) -> (Option<UnixMs>, bool) {
        if self.is_too_long(field, value, limits) {
            self.make_table(seed);
        }
        let Some(packed) = self.packed() else { return self.set_in_table(field, value, expiry) };
        let encoded = Encoded::of(field);
        let needle = Needle::new(&encoded);
        let mut span = packed.find(&needle);
        if span.is_none() && packed.len() >= limits.hash_max_listpack_entries.min(PAIRS_MAX) {
            self.make_table(seed);
            return self.set_in_table(field, value, expiry);
        }
        let old = span.map(|span| packed.expire_at(span));
        let expire_at = expiry.after(old.flatten());
        if expire_at.is_some() && self.make_expiring() {
            span = self.packed().and_then(|packed| packed.find(&needle));
        }
        let (buffer, form) = match self {
            Hash::Packed(buffer) => (buffer, Form::Plain),
            Hash::Expiring(buffer) => (buffer, Form::Expiring),
            Hash::Table(_) => unreachable!("it is packed"),
        };
        let value = Encoded::of_item(value);
        match span {
            None => packed::insert(buffer, form, &encoded, &value, expire_at),
            Some(span) => {
                let span = packed::set_value(buffer, span, &value);
                let moves = match expiry {
                    FieldExpiry::Keep => false,
                    FieldExpiry::Clear => old != Some(None),
                    FieldExpiry::At(_) => true,
                };
                if moves {
                    packed::set_expiry(buffer, span, expire_at);
                }
            }
        }
        (expire_at, old.is_none())
    }

    /// [`Hash::set`] of a table.
    fn set_in_table(&mut self, field: &[u8], value: Item<'_>, expiry: FieldExpiry) -> (Option<UnixMs>, bool) {
        let Hash::Table(table) = self else { unreachable!("it is a table") };
        let old = match expiry {
            FieldExpiry::Keep => table.get(field).and_then(|entry| entry.expire_at()),
            FieldExpiry::Clear | FieldExpiry::At(_) => None,
        };
        let expire_at = expiry.after(old);
        let replaced = table.insert(field, value, expire_at);
        (expire_at, !replaced)
    }

    /// Gives a field another expiry, or none. False when there is no such field.
    pub(crate) fn set_expiry(&mut self, field: &[u8], expire_at: Option<UnixMs>) -> bool {
        if self.find(field).is_none() {
            return false;
        }
        if expire_at.is_some() {
            self.make_expiring();
        }
        match self {
            Hash::Table(table) => table.set_expiry(field, expire_at),
            Hash::Packed(_) => {}
            Hash::Expiring(buffer) => {
                let span = Packed::new(buffer, Form::Expiring).find_text(field).expect("just seen");
                packed::set_expiry(buffer, span, expire_at);
            }
        }
        true
    }

    /// Removes a field; true when it was there.
    pub(crate) fn remove(&mut self, field: &[u8]) -> bool {
        let (buffer, form) = match self {
            Hash::Packed(buffer) => (buffer, Form::Plain),
            Hash::Expiring(buffer) => (buffer, Form::Expiring),
            Hash::Table(table) => return table.remove(field),
        };
        let Some(span) = Packed::new(buffer, form).find_text(field) else { return false };
        packed::remove(buffer, form, span);
        true
    }

    /// Removes fields that are past their time, of a table those of about so many segments, and calls `gone` with each before it
    /// goes. Returns whether none is left.
    pub(crate) fn reclaim(&mut self, now: UnixMs, segments: usize, gone: &mut dyn FnMut(&[u8])) -> bool {
        match self {
            Hash::Packed(_) => true,
            Hash::Expiring(buffer) => {
                let packed = Packed::new(buffer, Form::Expiring);
                let due = packed.due(now);
                packed.pairs().take(due).for_each(|pair| pair.field.with_bytes(&mut *gone));
                packed::remove_first(buffer, Form::Expiring, due);
                true
            }
            Hash::Table(table) => {
                if table.sweep(now, segments, gone) {
                    // Whether that was a whole sweep, and the bound exact, the table knows best.
                    return table.table().next_expiry_bound().is_none_or(|at| at >= now);
                }
                false
            }
        }
    }
}

impl Collection for Hash {
    const TYPE: Type = Type::Hash;

    fn new(_seed: u64) -> Hash {
        Hash::Packed(Buffer::new())
    }

    fn len(&self) -> usize {
        match self {
            Hash::Table(table) => table.table().len(),
            _ => self.packed().map_or(0, Packed::len),
        }
    }

    fn encoding(&self) -> &'static str {
        match self {
            Hash::Packed(_) => "listpack",
            Hash::Expiring(_) => "listpackex",
            Hash::Table(_) => "hashtable",
        }
    }

    fn memory(&self) -> usize {
        match self {
            Hash::Packed(buffer) | Hash::Expiring(buffer) => buffer.heap_bytes(),
            Hash::Table(table) => size_of::<FieldTable>() + table.table().memory().total(),
        }
    }

    fn next_expiry(&self) -> Option<UnixMs> {
        match self {
            Hash::Packed(_) => None,
            Hash::Expiring(buffer) => Packed::new(buffer, Form::Expiring).first_expiry(),
            Hash::Table(table) => table.table().next_expiry_bound(),
        }
    }

    fn copy_some(&self, copy: &mut Hash, position: &mut u64, elements: usize) -> bool {
        let Hash::Table(table) = self else {
            *copy = self.clone();
            return true;
        };
        if *position == 0 {
            *copy = Hash::Table(Box::new(table.empty_like()));
        }
        match copy {
            Hash::Table(copy) => table.copy_some(copy, position, elements),
            _ => unreachable!("it was made a table by the first call"),
        }
    }

    fn free_some(&mut self, elements: usize) -> bool {
        match self {
            Hash::Packed(buffer) | Hash::Expiring(buffer) => {
                *buffer = Buffer::new();
                true
            }
            Hash::Table(table) => table.free_some(elements),
        }
    }

    /// ```text
    /// form u8 (0, 1 or 2, in the order of the variants) | pairs u32 | expiring u32 | pairs, as a packed hash has them
    /// ```
    /// Numbers are little-endian. The pairs of a table that expire are in no order.
    fn encode(&self, out: &mut Vec<u8>) {
        let mut head = |form: u8, pairs: usize, expiring: usize| {
            out.push(form);
            out.extend_from_slice(&(pairs as u32).to_le_bytes());
            out.extend_from_slice(&(expiring as u32).to_le_bytes());
        };
        match self {
            Hash::Packed(buffer) => {
                head(0, self.len(), 0);
                out.extend_from_slice(packed::body(buffer, Form::Plain));
            }
            Hash::Expiring(buffer) => {
                let expiring = Packed::new(buffer, Form::Expiring).expiring();
                // Without fields that expire it is the same data as the other form, and reads back as that.
                head((expiring > 0) as u8, self.len(), expiring);
                out.extend_from_slice(packed::body(buffer, Form::Expiring));
            }
            Hash::Table(table) => {
                let table = table.table();
                head(2, table.len(), table.expires_len());
                let mut rest = Vec::new();
                let mut position = 0;
                loop {
                    position = table.scan(position, usize::MAX, &mut |entry| {
                        let out = match entry.expire_at() {
                            None => &mut rest,
                            Some(at) => {
                                out.extend_from_slice(&at.to_le_bytes()[..packed::TIME_LEN]);
                                &mut *out
                            }
                        };
                        Encoded::of(entry.key()).append_to(out);
                        value_of(&entry).element().with_item(|value| Encoded::of_item(value).append_to(out));
                    });
                    if position == 0 {
                        break;
                    }
                }
                out.append(&mut rest);
            }
        }
    }

    fn decode(input: &[u8], seed: u64) -> Option<Hash> {
        let (&[form, ref counts @ ..], body) = input.split_first_chunk::<9>()?;
        let count = |at: usize| Some(u32::from_le_bytes(counts.get(at..at + 4)?.try_into().ok()?) as usize);
        let (pairs, expiring) = (count(0)?, count(4)?);
        match form {
            0 => packed::from_body(Form::Plain, pairs, expiring, body).map(Hash::Packed),
            1 => packed::from_body(Form::Expiring, pairs, expiring, body).map(Hash::Expiring),
            2 => decode_table(pairs, expiring, body, seed),
            _ => None,
        }
    }

    fn into_object(self) -> Object {
        Object::Hash(self)
    }
}

fn decode_table(pairs: usize, expiring: usize, body: &[u8], seed: u64) -> Option<Hash> {
    if pairs == 0 || expiring > pairs {
        return None;
    }
    let mut table = FieldTable::new(seed);
    let mut at = 0;
    for index in 0..pairs {
        let expire_at = if index < expiring {
            let time = packed::time_at(body.get(at..at + packed::TIME_LEN)?, 0);
            at += packed::TIME_LEN;
            Some(time).filter(|&time| time <= EXPIRY_MAX)?.into()
        } else {
            None
        };
        let (field, next) = Element::try_decode_canonical(body, at)?;
        let (value, next) = Element::try_decode_canonical(body, next)?;
        let replaced =
            field.with_bytes(|field| value.with_item(|value| table.insert(field, value, expire_at)));
        if replaced {
            return None;
        }
        at = next;
    }
    (at == body.len()).then(|| Hash::Table(Box::new(table)))
}

//! A run of entries in one byte buffer.
//!
//! ```text
//! block  = count(varint) field*        the master fields: those of the first entry
//!          entry*
//! entry  = head [ms] [seq]             the id, as a difference from the entry before
//!          value*                      when the fields are the master fields
//!        | count(varint) (field value)*
//! head   = deleted: bit 7, same fields: bit 6, difference: bits 0-5
//! ```
//!
//! | difference | id |
//! |---|---|
//! | 0 | the millisecond of the entry before, the next number |
//! | 1 to 59 | so many milliseconds later, number 0 |
//! | 60 | varint milliseconds later, number 0 |
//! | 61 | the same millisecond, a number greater by varint + 1 |
//! | 62 | varint milliseconds later, number varint |
//! | 63 | the first entry: the id under which the directory has the block |
//!
//! Fields and values are packed [`Item`]s. So an entry with a generated id takes one byte and its values. An entry is deleted by
//! setting its bit; the bytes go when the block does. Nothing leads backwards: blocks are small, and who wants the last
//! entries first walks the block and remembers.

use super::id::StreamId;
use super::varint;
use crate::value::buffer::Buffer;
use crate::value::item::Item;
use crate::value::listpack;

const DELETED: u8 = 1 << 7;
const SAME_FIELDS: u8 = 1 << 6;
const DIFFERENCE: u8 = 0x3f;
const MS_SHORT_MAX: u64 = 59;
const MS: u8 = 60;
const SEQ: u8 = 61;
const MS_SEQ: u8 = 62;
const FIRST: u8 = 63;

/// A run of entries. Its first id is its key in the directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    bytes: Buffer,
    /// Entries that are not deleted.
    live: u32,
    /// Entries that are.
    dead: u32,
}

/// A place between two entries of a block: what is needed to read on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Offset of the next entry's head.
    at: u32,
    /// Id of the entry before; that of the first entry at the beginning.
    previous: StreamId,
}

/// An entry of a stream.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its id.
    pub id: StreamId,
    bytes: &'a [u8],
    /// Offset of its values, or of its fields and values.
    body: usize,
    /// Number of fields.
    fields: usize,
    /// Offset of the fields when they are the master fields.
    master: Option<usize>,
}

/// An entry where it lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) entry: Entry<'a>,
    pub(super) deleted: bool,
    /// Offset of its head, for [`Block::delete_at`].
    pub(super) at: u32,
}

impl Block {
    /// A block without entries yet, with these master fields: every other argument, from the first on.
    pub(super) fn new(pairs: &[&[u8]], capacity: usize) -> Block {
        let mut bytes = Buffer::with_capacity(capacity);
        varint::put(pairs.len() as u64 / 2, &mut bytes);
        for field in pairs.iter().step_by(2) {
            Item::of(field).encode(&mut bytes);
        }
        Block { bytes, live: 0, dead: 0 }
    }

    /// A block without entries yet, with these master fields.
    pub(super) fn of_fields(fields: &[&[u8]]) -> Block {
        let mut bytes = Buffer::new();
        varint::put(fields.len() as u64, &mut bytes);
        for field in fields {
            Item::of(field).encode(&mut bytes);
        }
        Block { bytes, live: 0, dead: 0 }
    }

    /// Appends an entry of these values of the master fields, or of these fields and values.
    pub(super) fn append_texts(
        &mut self,
        previous: Option<StreamId>,
        id: StreamId,
        of_master: bool,
        texts: &[&[u8]],
    ) {
        self.put_id(previous, id, if of_master { SAME_FIELDS } else { 0 });
        if !of_master {
            varint::put(texts.len() as u64 / 2, &mut self.bytes);
        }
        texts.iter().for_each(|text| Item::of(text).encode(&mut self.bytes));
        self.live += 1;
    }

    /// The master fields.
    pub(super) fn fields(&self) -> impl ExactSizeIterator<Item = Item<'_>> {
        let (count, mut at) = self.master();
        (0..count).map(move |_| {
            let (field, next) = Item::decode(&self.bytes, at);
            at = next;
            field
        })
    }

    /// Entries that are not deleted.
    pub(super) fn live(&self) -> u32 {
        self.live
    }

    /// Entries that are deleted.
    pub(super) fn dead(&self) -> u32 {
        self.dead
    }

    /// Bytes of content.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.heap_bytes()
    }

    /// Gives back the room for more entries.
    pub(super) fn seal(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Whether these are the master fields.
    pub(super) fn has_fields(&self, pairs: &[&[u8]]) -> bool {
        let (count, mut at) = self.master();
        if count != pairs.len() / 2 {
            return false;
        }
        pairs.iter().step_by(2).all(|field| {
            let (master, next) = Item::decode(&self.bytes, at);
            at = next;
            master == Item::of(field)
        })
    }

    /// Appends an entry of these fields and values; `previous` is the id of the last entry, none for the first. Returns the
    /// bytes that Redis's listpack would grow by. The first entry of a block has its master fields.
    pub(super) fn append(
        &mut self,
        previous: Option<StreamId>,
        id: StreamId,
        first: StreamId,
        pairs: &[&[u8]],
    ) -> u64 {
        let same = previous.is_none() || self.has_fields(pairs);
        self.put_id(previous, id, if same { SAME_FIELDS } else { 0 });
        let fields = pairs.len() as i64 / 2;
        let mut grown = listpack::int(1) + differences(id, first);
        if same {
            for value in pairs.iter().skip(1).step_by(2) {
                let item = Item::of(value);
                item.encode(&mut self.bytes);
                grown += listpack::element(item);
            }
            grown += listpack::int(fields + 3);
        } else {
            varint::put(fields as u64, &mut self.bytes);
            for part in pairs {
                let item = Item::of(part);
                item.encode(&mut self.bytes);
                grown += listpack::element(item);
            }
            grown += listpack::int(fields) + listpack::int(2 * fields + 4);
        }
        self.live += 1;
        grown
    }

    fn put_id(&mut self, previous: Option<StreamId>, id: StreamId, flags: u8) {
        let Some(previous) = previous else {
            self.bytes.push(FIRST | flags);
            return;
        };
        assert!(id > previous, "entries are appended in order");
        let ms = id.ms - previous.ms;
        match (ms, id.seq) {
            (0, seq) if seq - previous.seq == 1 => self.bytes.push(flags),
            (0, seq) => {
                self.bytes.push(SEQ | flags);
                varint::put(seq - previous.seq - 1, &mut self.bytes);
            }
            (1..=MS_SHORT_MAX, 0) => self.bytes.push(ms as u8 | flags),
            (_, 0) => {
                self.bytes.push(MS | flags);
                varint::put(ms, &mut self.bytes);
            }
            (_, seq) => {
                self.bytes.push(MS_SEQ | flags);
                varint::put(ms, &mut self.bytes);
                varint::put(seq, &mut self.bytes);
            }
        }
    }

    /// Number of master fields, and the offset of the first.
    fn master(&self) -> (usize, usize) {
        let (count, at) = varint::get(&self.bytes, 0).expect("a block begins with its master fields");
        (count as usize, at)
    }

    /// All entries, deleted ones too. `first` is the block's key.
    pub(super) fn walk(&self, first: StreamId) -> Walk<'_> {
        let (count, master) = self.master();
        let at = skip(&self.bytes, master, count);
        Walk { bytes: &self.bytes, at, previous: first, count, master }
    }

    /// The entries from a cursor on.
    pub(super) fn walk_from(&self, cursor: Cursor) -> Walk<'_> {
        let (count, master) = self.master();
        Walk { bytes: &self.bytes, at: cursor.at as usize, previous: cursor.previous, count, master }
    }

    /// Marks the entry whose head is at `at` as deleted.
    pub(super) fn delete_at(&mut self, at: u32) {
        let head = &mut self.bytes[at as usize];
        assert!(*head & DELETED == 0, "an entry is deleted once");
        *head |= DELETED;
        self.live -= 1;
        self.dead += 1;
    }

    /// Bytes that Redis's listpack of this block would have but for the two counts in it, and the id of its last entry.
    pub(super) fn measure(&self, first: StreamId) -> (u64, StreamId) {
        let (count, mut at) = self.master();
        let mut bytes = listpack::FRAME + listpack::int(count as i64) + listpack::int(0);
        for _ in 0..count {
            let (field, next) = Item::decode(&self.bytes, at);
            bytes += listpack::element(field);
            at = next;
        }
        let mut last = first;
        for Stored { entry, .. } in self.walk(first) {
            let fields = entry.fields as i64;
            bytes += listpack::int(1) + differences(entry.id, first);
            let own = entry.master.is_none();
            for (field, value) in entry.pairs() {
                bytes += listpack::element(value) + if own { listpack::element(field) } else { 0 };
            }
            bytes += match own {
                true => listpack::int(fields) + listpack::int(2 * fields + 4),
                false => listpack::int(fields + 3),
            };
            last = entry.id;
        }
        (bytes, last)
    }

    /// Its content, for the log.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A block of bytes that may come from anywhere, with the id of its last entry that is not deleted. None when they are not
    /// the content of a block with an entry.
    pub(super) fn from_bytes(bytes: &[u8], first: StreamId) -> Option<(Block, Option<StreamId>)> {
        let items = |mut at: usize, count: usize| {
            for _ in 0..count {
                let (item, next) = Item::try_decode(bytes, at)?;
                at = item.is_canonical().then_some(next)?;
            }
            Some(at)
        };
        let count_at = |at: usize| {
            let (count, next) = varint::get(bytes, at)?;
            // Each takes a byte at least.
            usize::try_from(count)
                .ok()
                .filter(|count| (1..=bytes.len()).contains(count))
                .map(|count| (count, next))
        };
        let (count, master) = count_at(0)?;
        let mut at = items(master, count)?;
        let (mut live, mut dead, mut last, mut last_live) = (0u32, 0u32, None, None);
        while at < bytes.len() {
            let head = bytes[at];
            let (id, next) = read_id(bytes, at, last.unwrap_or(first))?;
            if (head & DIFFERENCE == FIRST) != last.is_none() {
                return None;
            }
            at = if head & SAME_FIELDS != 0 {
                items(next, count)?
            } else {
                let (own, next) = count_at(next)?;
                items(next, own.checked_mul(2)?)?
            };
            last = Some(id);
            let counter = if head & DELETED == 0 {
                last_live = last;
                &mut live
            } else {
                &mut dead
            };
            *counter = counter.checked_add(1)?;
        }
        last.map(|_| (Block { bytes: Buffer::from(bytes), live, dead }, last_live))
    }
}

/// Bytes of the master entry of a new listpack, but for its two counts.
pub(super) fn listpack_base(pairs: &[&[u8]]) -> u64 {
    let fields = pairs.iter().step_by(2).map(|field| listpack::element(Item::of(field))).sum::<u64>();
    listpack::FRAME + listpack::int(pairs.len() as i64 / 2) + fields + listpack::int(0)
}

/// Bytes of the two numbers by which a listpack says an id.
fn differences(id: StreamId, first: StreamId) -> u64 {
    listpack::int(id.ms.wrapping_sub(first.ms) as i64) + listpack::int(id.seq.wrapping_sub(first.seq) as i64)
}

/// The offset after so many elements.
#[inline]
fn skip(bytes: &[u8], mut at: usize, count: usize) -> usize {
    for _ in 0..count {
        at = Item::decode(bytes, at).1;
    }
    at
}

/// The id of the entry whose head is at `at`, and the offset after it. None when it is not whole or is greater than any id.
#[inline]
fn read_id(bytes: &[u8], at: usize, previous: StreamId) -> Option<(StreamId, usize)> {
    let later = |ms: u64| previous.ms.checked_add(ms);
    match *bytes.get(at)? & DIFFERENCE {
        0 => Some((StreamId::new(previous.ms, previous.seq.checked_add(1)?), at + 1)),
        ms @ 1..=59 => Some((StreamId::new(later(u64::from(ms))?, 0), at + 1)),
        MS => {
            let (ms, next) = varint::get(bytes, at + 1)?;
            Some((StreamId::new(later(ms).filter(|_| ms > 0)?, 0), next))
        }
        SEQ => {
            let (more, next) = varint::get(bytes, at + 1)?;
            Some((StreamId::new(previous.ms, previous.seq.checked_add(more)?.checked_add(1)?), next))
        }
        MS_SEQ => {
            let (ms, next) = varint::get(bytes, at + 1)?;
            let (seq, next) = varint::get(bytes, next)?;
            Some((StreamId::new(later(ms).filter(|_| ms > 0)?, seq), next))
        }
        _ => Some((previous, at + 1)),
    }
}

/// A walk over the entries of a block.
#[derive(Debug, Clone)]
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    previous: StreamId,
    /// Number and offset of the master fields.
    count: usize,
    master: usize,
}

impl Walk<'_> {
    /// Where it is: before the entry that comes next.
    pub(super) fn cursor(&self) -> Cursor {
        Cursor { at: self.at as u32, previous: self.previous }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Stored<'a>;

    #[inline]
    fn next(&mut self) -> Option<Stored<'a>> {
        let at = self.at;
        let head = *self.bytes.get(at)?;
        let (id, body) = read_id(self.bytes, at, self.previous).expect("a block holds whole entries");
        let entry = if head & SAME_FIELDS != 0 {
            self.at = skip(self.bytes, body, self.count);
            Entry { id, bytes: self.bytes, body, fields: self.count, master: Some(self.master) }
        } else {
            let (fields, body) = varint::get(self.bytes, body).expect("a block holds whole entries");
            let fields = fields as usize;
            self.at = skip(self.bytes, body, 2 * fields);
            Entry { id, bytes: self.bytes, body, fields, master: None }
        };
        self.previous = id;
        Some(Stored { entry, deleted: head & DELETED != 0, at: at as u32 })
    }
}

impl<'a> Entry<'a> {
    /// Number of fields.
    pub fn fields(&self) -> usize {
        self.fields
    }

    /// Whether its fields are those that most entries near it have.
    pub(crate) fn has_common_fields(&self) -> bool {
        self.master.is_some()
    }

    /// Fields with their values.
    pub fn pairs(&self) -> Pairs<'a> {
        Pairs { bytes: self.bytes, left: self.fields, field: self.master, at: self.body }
    }
}

/// The fields of an entry with their values, in the order of their addition.
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    bytes: &'a [u8],
    left: usize,
    /// Offset of the next field, when fields and values lie apart.
    field: Option<usize>,
    at: usize,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Item<'a>, Item<'a>);

    #[inline]
    fn next(&mut self) -> Option<(Item<'a>, Item<'a>)> {
        self.left = self.left.checked_sub(1)?;
        let (field, next) = Item::decode(self.bytes, self.field.unwrap_or(self.at));
        match &mut self.field {
            Some(at) => *at = next,
            None => self.at = next,
        }
        let (value, next) = Item::decode(self.bytes, self.at);
        self.at = next;
        Some((field, value))
    }
}

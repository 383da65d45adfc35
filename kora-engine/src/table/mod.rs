//! The keyspace table: extendible hashing over small segments in hash order.
//!
//! ```text
//! hash of the key   [ directory index: top bits ][ tag: the next 16 bits ]...
//! directory entry   pointer to a segment, its depth, its number of home slots     (16 bytes)
//! segment           slots of 8 bytes, sorted by tag: tag | pointer to a record    (up to 8 KiB)
//! record            header, expiry?, key, value in one allocation
//! ```
//!
//! Why this and not one big open-addressing table: that one doubles in one go (seconds at 100 million keys, and
//! three times the memory meanwhile), and its load swings between 0.44 and 0.875. Here growth is a segment at a
//! time, in steps of 512 bytes, and the load stays near 0.9 at any number of keys: 9.7 to 10.5 bytes of slots per key, holes
//! in their memory included. A record adds 8 bytes of header, and the allocator rounds it up to its size class.
//! The idea of segments comes from Dash (arXiv 2003.07302); the order by hash gives deletes without
//! tombstones, misses that stop early, and a scan cursor that survives splits and merges because it is a hash.
//!
//! - [`record`]: one key and its value, expiry and access clock
//! - [`segment`]: the slots
//! - [`sample`]: keys from a random place, for eviction
//! - [`relocate`]: moving records out of sparse pages of the allocator
//! - [`pool`]: memory of segments
//! - [`directory`]: splits, merges, doubling
//! - [`inside`]: collections whose elements expire
//! - [`pinned`]: records that another structure names by address
//! - [`cut`]: what the table held at one moment
//!
//! Nothing is proportional to the number of keys but the doubling of the directory: 16 bytes for each 600 keys or so, copied
//! once per doubling of the table. Measured with `table_cost`: 50 us to 256 KiB (4 million keys), 90 us to 512 KiB (8 million), hence some 200 us to the 1 MiB of 20 million and 64 MiB at 1 billion
//! (some 20 ms, estimated): shards of more than 100 million keys would want the directory in two levels.
//!
//! The table has no clock and no randomness: time and the seed come in as arguments. It does not hide expired keys.

mod cut;
mod directory;
mod inside;
mod pinned;
mod pool;
mod record;
mod relocate;
mod sample;
mod segment;
#[cfg(test)]
mod tests;
mod volatile;

pub use cut::{CutSink, SharedSink};
pub use directory::Remains;
pub(crate) use pinned::{Pin, Pinned};
pub(crate) use record::prefetch;
pub use record::{Entry, NewValue, OwnedEntry, ValueRef, ACCESS_MASK, APPEND_INLINE_MAX, INLINE_VALUE_MAX};
pub use relocate::{IsSparse, Relocated};
pub use sample::SAMPLE_MAX;

use crate::hash::KeyHasher;
use crate::value::{Collection, Object};
use directory::{DirEntry, Directory};
use record::{Payload, Record};
use segment::{tag_bits, Delta, Find};
use volatile::VolatileMap;

/// Size of a segment in words (8 KiB) at which it splits at the latest. Larger ones would make the directory
/// smaller and splits longer; smaller ones spend more on headers and pads.
const TOP_WORDS: usize = 1024;

/// Bits of a scan cursor.
const CURSOR_BITS: u32 = 48;

/// Tries of [`Table::random`] before it settles for a key that is near a random place.
const RANDOM_TRIES: usize = 256;

/// The hash of a key, as one table sees it. Tables made with the same seed agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(u64);

impl KeyHash {
    /// The hash itself.
    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }
}

/// Bytes of heap that a table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableMemory {
    /// The directory.
    pub directory: usize,
    /// The segments.
    pub segments: usize,
    /// Records, large values with their spare capacity included.
    pub records: usize,
}

impl TableMemory {
    /// All of it.
    pub fn total(&self) -> usize {
        self.directory + self.segments + self.records
    }
}

impl std::ops::AddAssign for TableMemory {
    fn add_assign(&mut self, other: TableMemory) {
        self.directory += other.directory;
        self.segments += other.segments;
        self.records += other.records;
    }
}

/// Where a key is in a table, until the table changes: lets a caller decide what to do before it borrows the table.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    hash: KeyHash,
    index: usize,
    at: usize,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepStats {
    /// Keys removed.
    pub removed: usize,
    /// Segments looked into, because something in them could have been due.
    pub opened: usize,
    /// The sweep came to the end of the table, and the cursor is at the start again.
    pub wrapped: bool,
}

/// The hash function of a table, which tests can make collide.
#[derive(Clone)]
struct TableHasher {
    keys: KeyHasher,
    /// Bits of hashes that are kept.
    #[cfg(test)]
    mask: u64,
}

impl TableHasher {
    fn new(seed: u64) -> TableHasher {
        TableHasher {
            keys: KeyHasher::new(seed),
            #[cfg(test)]
            mask: u64::MAX,
        }
    }

    #[inline(always)]
    fn hash(&self, key: &[u8]) -> u64 {
        let hash = self.keys.hash(key);
        #[cfg(test)]
        let hash = hash & self.mask;
        hash
    }

    /// The hash of a record's key.
    fn of_record(&self) -> impl Fn(Record) -> u64 + '_ {
        |record| record.with_key(|key| self.hash(key))
    }
}

/// A map from binary keys to values with an optional expiry.
pub struct Table {
    directory: Directory,
    hasher: TableHasher,
    len: usize,
    expires: usize,
    record_bytes: usize,
    /// No key expires before this.
    due: u64,
    /// What `due` becomes when the sweep under way wraps: the least expiry seen by it or set since it began.
    due_next: u64,
    /// Where the sweep under way goes on; a sweep from elsewhere proves nothing about `due`.
    sweep_position: Option<u64>,
    /// Where keys with an expiry may be, while somebody looks for few of them.
    volatile: Option<Box<VolatileMap>>,
    /// When elements of collections expire.
    inside: inside::Bounds,
    /// The parity of slots that are not owed to a cut.
    parity: u64,
    /// The cut under way, as long as records are owed to it.
    cut: Option<Box<cut::Cut>>,
}

impl Table {
    /// An empty table; it allocates 16 bytes until the first insert.
    pub fn new(seed: u64) -> Table {
        Table::with_top_words(seed, TOP_WORDS)
    }

    fn with_top_words(seed: u64, top_words: usize) -> Table {
        Table {
            directory: Directory::new(top_words),
            hasher: TableHasher::new(seed),
            len: 0,
            expires: 0,
            record_bytes: 0,
            due: u64::MAX,
            due_next: u64::MAX,
            sweep_position: None,
            volatile: None,
            inside: inside::Bounds::NONE,
            parity: 0,
            cut: None,
        }
    }

    /// Number of keys, expired ones that were not swept yet included.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there is no key.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of keys with an expiry.
    #[inline]
    pub fn expires_len(&self) -> usize {
        self.expires
    }

    /// Heap in use; kept up to date, costs nothing to ask.
    pub fn memory(&self) -> TableMemory {
        TableMemory {
            directory: self.directory.bytes(),
            segments: self.directory.segment_bytes(),
            records: self.record_bytes,
        }
    }

    /// The hash that all calls for this key take.
    #[inline(always)]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash(self.hasher.hash(key))
    }

    #[inline(always)]
    fn locate(&self, hash: KeyHash) -> (usize, &DirEntry, u64) {
        let index = self.directory.index(hash.0);
        let entry = self.directory.entry(index);
        (index, entry, tag_bits(hash.0, entry.depth))
    }

    /// First stage of a batched lookup: asks for the line of slots.
    #[inline]
    pub fn prefetch(&self, hash: KeyHash) {
        let (_, entry, tag) = self.locate(hash);
        entry.segment.prefetch(entry.homes, tag);
    }

    /// Second stage of a batched lookup, when the slots have arrived: asks for the record. Returns the one that it probably
    /// is, for the third stage: [`Entry::prefetch_collection`], when the record has arrived.
    #[inline]
    pub fn prefetch_record(&self, hash: KeyHash) -> Option<Entry<'_>> {
        let (_, entry, tag) = self.locate(hash);
        entry.segment.prefetch_record(entry.homes, tag)
    }

    /// The entry of a key.
    #[inline]
    pub fn get(&self, hash: KeyHash, key: &[u8]) -> Option<Entry<'_>> {
        let (_, entry, tag) = self.locate(hash);
        match entry.segment.find(entry.homes, tag, key) {
            Find::At(at) => Some(entry.segment.entry(at)),
            Find::Vacant(_) => None,
        }
    }

    /// The entry of a key, for changing it.
    #[inline]
    pub fn get_mut(&mut self, hash: KeyHash, key: &[u8]) -> Option<EntryMut<'_>> {
        let position = self.find(hash, key)?;
        Some(self.at(position))
    }

    /// Where a key is, until the table changes.
    #[inline(always)]
    pub(crate) fn find(&self, hash: KeyHash, key: &[u8]) -> Option<Position> {
        let (index, entry, tag) = self.locate(hash);
        match entry.segment.find(entry.homes, tag, key) {
            Find::At(at) => Some(Position { hash, index, at }),
            Find::Vacant(_) => None,
        }
    }

    /// The entry at a position that [`Table::find`] has just given.
    #[inline(always)]
    pub(crate) fn at(&mut self, position: Position) -> EntryMut<'_> {
        debug_assert!(self.directory.entry(position.index).segment.is_occupied(position.at));
        EntryMut { table: self, hash: position.hash, index: position.index, at: position.at }
    }

    /// Inserts a key or replaces its value, expiry and access clock; true when it replaced. `expire_at` is in unix
    /// milliseconds; of `access` 24 bits are kept. The allocation is reused when the size is the same to 16 bytes.
    #[inline]
    pub fn insert(
        &mut self,
        hash: KeyHash,
        key: &[u8],
        value: NewValue<'_>,
        expire_at: Option<u64>,
        access: u32,
    ) -> bool {
        self.insert_payload(hash, key, Payload::new(&value), expire_at, access)
    }

    /// As [`Table::insert`], of a collection.
    pub fn insert_object(
        &mut self,
        hash: KeyHash,
        key: &[u8],
        object: Object,
        expire_at: Option<u64>,
        access: u32,
    ) -> bool {
        let due = object.next_expiry();
        let replaced = self.insert_payload(hash, key, Payload::Object(object), expire_at, access);
        self.note_inside(hash, key, due);
        replaced
    }

    #[inline(always)]
    fn insert_payload(
        &mut self,
        hash: KeyHash,
        key: &[u8],
        payload: Payload<'_>,
        expire_at: Option<u64>,
        access: u32,
    ) -> bool {
        self.note_expiry(hash, expire_at);
        let (index, entry, tag) = self.locate(hash);
        match entry.segment.find(entry.homes, tag, key) {
            Find::At(at) => {
                self.tell_before(index, at);
                let segment = &mut self.directory.entry_mut(index).segment;
                let delta = segment.overwrite(at, payload, expire_at, access);
                self.account(delta);
                true
            }
            Find::Vacant(at) => {
                let record = Record::new(key, payload, expire_at, access);
                self.insert_at(hash, index, at, tag, record);
                false
            }
        }
    }

    /// Inserts a taken entry under a key, replacing what is there; true when it replaced.
    pub fn insert_owned(&mut self, hash: KeyHash, key: &[u8], owned: OwnedEntry) -> bool {
        let replaced = self.remove(hash, key);
        let due = owned.entry().next_expiry_inside();
        let record = owned.into_record(key);
        self.note_expiry(hash, record.expire_at());
        let (index, entry, tag) = self.locate(hash);
        let at = entry.segment.vacancy(entry.homes, tag);
        self.insert_at(hash, index, at, tag, record);
        self.note_inside(hash, key, due);
        replaced
    }

    #[inline(always)]
    fn insert_at(&mut self, hash: KeyHash, index: usize, at: usize, tag: u64, record: Record) {
        self.len += 1;
        self.expires += record.has_expiry() as usize;
        self.record_bytes += record.heap_bytes();
        if !self.directory.entry_mut(index).segment.insert(at, tag | self.parity, record) {
            self.insert_into_full(hash, record);
        }
    }

    #[cold]
    #[inline(never)]
    fn insert_into_full(&mut self, hash: KeyHash, record: Record) {
        loop {
            self.directory.make_room(hash.0, self.len, self.hasher.of_record());
            let (index, entry, tag) = self.locate(hash);
            let at = entry.segment.vacancy(entry.homes, tag);
            if self.directory.entry_mut(index).segment.insert(at, tag | self.parity, record) {
                return;
            }
        }
    }

    #[inline(always)]
    fn note_expiry(&mut self, hash: KeyHash, expire_at: Option<u64>) {
        if let Some(expire_at) = expire_at {
            if let Some(map) = &mut self.volatile {
                map.set(hash.0);
            }
            self.due = self.due.min(expire_at);
            self.due_next = self.due_next.min(expire_at);
        }
    }

    #[inline(always)]
    fn account(&mut self, delta: Delta) {
        self.expires = self.expires.wrapping_add_signed(delta.expires);
        self.record_bytes = self.record_bytes.wrapping_add_signed(delta.bytes);
    }

    /// Removes a key; true when it was there.
    #[inline]
    pub fn remove(&mut self, hash: KeyHash, key: &[u8]) -> bool {
        self.take(hash, key).is_some()
    }

    /// Removes a key and gives its value and expiry.
    #[inline]
    pub fn take(&mut self, hash: KeyHash, key: &[u8]) -> Option<OwnedEntry> {
        let (index, entry, tag) = self.locate(hash);
        match entry.segment.find(entry.homes, tag, key) {
            Find::At(at) => Some(self.take_at(hash, index, at)),
            Find::Vacant(_) => None,
        }
    }

    #[inline(always)]
    fn take_at(&mut self, hash: KeyHash, index: usize, at: usize) -> OwnedEntry {
        let owned = self.unlink(index, at);
        if self.directory.entry(index).segment.is_sparse() {
            self.directory.shrink(hash.0, self.hasher.of_record());
        }
        owned
    }

    #[inline(always)]
    fn unlink(&mut self, index: usize, at: usize) -> OwnedEntry {
        self.tell_before(index, at);
        let entry = self.directory.entry_mut(index);
        let owned = entry.segment.remove(at, entry.homes);
        self.len -= 1;
        self.expires -= owned.entry().expire_at().is_some() as usize;
        self.record_bytes -= owned.heap_bytes();
        owned
    }

    /// Visits about `count` keys from a cursor (0 at first) and returns the cursor to go on with, 0 at the end.
    ///
    /// The cursor is a position in the order of hashes, 48 bits. A key that is in the table from the first call to the
    /// last is visited exactly once, whatever else is inserted or deleted in between. Keys that share all bits of a
    /// position are visited in one call, hence "about".
    pub fn scan(&self, cursor: u64, count: usize, f: &mut dyn FnMut(Entry<'_>)) -> u64 {
        let mut position = cursor << (64 - CURSOR_BITS);
        let mut visited = 0;
        let mut budget = count.saturating_mul(8).saturating_add(256);
        loop {
            let (_, entry, tag) = self.locate(KeyHash(position));
            let segment = &entry.segment;
            let slots = segment.slots();
            let mut at = segment.seek(entry.homes, tag);
            let first_tag = tag >> CURSOR_BITS;
            let mut last_tag = None;
            while at < slots {
                if segment.is_occupied(at) {
                    let tag = segment.tag(at);
                    // A merge since the last call has taken a bit from the tags: what is before the position is known by its hash.
                    if tag == first_tag && self.hasher.hash(segment.entry(at).key()) < position {
                        at += 1;
                        continue;
                    }
                    if visited >= count && last_tag != Some(tag) {
                        let start = prefix_start(position, entry.depth);
                        return (start | tag << (48 - entry.depth)) >> (64 - CURSOR_BITS);
                    }
                    f(segment.entry(at));
                    visited += 1;
                    last_tag = Some(tag);
                }
                at += 1;
            }
            let Some(next) = next_prefix(position, entry.depth) else { return 0 };
            position = next;
            budget = budget.saturating_sub(slots.max(16));
            if visited >= count || budget == 0 {
                return position >> (64 - CURSOR_BITS);
            }
        }
    }

    /// Where a key with this hash comes in a scan: one from a cursor on visits the keys whose positions are not below the cursor. (After
    /// a merge of segments it can begin with some that are; see [`Table::scan`].)
    pub fn position(&self, hash: KeyHash) -> u64 {
        hash.0 >> (64 - CURSOR_BITS)
    }

    /// A key chosen uniformly, given uniform 64-bit numbers. (Keys of segments that a degenerate hash made larger than
    /// the top size come less often; and after 256 rejections, which needs a table that is nearly all empty
    /// space, the choice is the next key after a random place.)
    pub fn random(&self, rng: &mut dyn FnMut() -> u64) -> Option<Entry<'_>> {
        if self.len == 0 {
            return None;
        }
        let single = self.directory.depth() == 0;
        for _ in 0..RANDOM_TRIES {
            let number = rng();
            let index = self.directory.index(number);
            let entry = self.directory.entry(index);
            // A segment is met as often as it has entries: only its first one counts.
            if index & (self.directory.run(entry) - 1) != 0 {
                continue;
            }
            // All segments are given the same number of slots, those that they lack being empty.
            let slots = if single {
                entry.segment.slots()
            } else {
                entry.segment.slots().max(self.directory.top_words())
            };
            let at = (((number & 0xffff_ffff) * slots as u64) >> 32) as usize;
            if entry.segment.is_occupied(at) {
                return Some(entry.segment.entry(at));
            }
        }
        self.next_after(rng()).or_else(|| self.next_after(0))
    }

    /// The first key at or after a position.
    fn next_after(&self, mut position: u64) -> Option<Entry<'_>> {
        loop {
            let (_, entry, tag) = self.locate(KeyHash(position));
            let at = entry.segment.seek(entry.homes, tag);
            if at < entry.segment.slots() {
                return Some(entry.segment.entry(at));
            }
            position = next_prefix(position, entry.depth)?;
        }
    }

    /// Removes expired keys (`expire_at < now_ms`, Redis's rule), calling `f` on each before it goes. Goes on from
    /// `cursor` (0 at first), passes at most `segments` segments and leaves `cursor` where the next call goes on, 0 after
    /// the last segment. A segment in which nothing is due costs one look at its header.
    pub fn sweep_expired(
        &mut self,
        now_ms: u64,
        cursor: &mut u64,
        segments: usize,
        f: &mut dyn FnMut(Entry<'_>),
    ) -> SweepStats {
        let mut stats = SweepStats::default();
        if *cursor == 0 {
            self.due_next = u64::MAX;
            self.sweep_position = Some(0);
        } else if self.sweep_position != Some(*cursor) {
            self.sweep_position = None;
        }
        for _ in 0..segments {
            let position = *cursor;
            let (index, entry, _) = self.locate(KeyHash(position));
            let next = next_prefix(position, entry.depth);
            let mut due = entry.segment.due();
            if due < now_ms {
                stats.opened += 1;
                due = self.sweep_segment(now_ms, index, &mut stats.removed, f);
                if self.directory.entry(index).segment.is_sparse() {
                    self.directory.shrink(position, self.hasher.of_record());
                }
            }
            self.due_next = self.due_next.min(due);
            *cursor = next.unwrap_or(0);
            if next.is_none() {
                stats.wrapped = true;
                if self.sweep_position.take().is_some() {
                    self.due = self.due_next;
                }
                break;
            }
            if let Some(sweep) = &mut self.sweep_position {
                *sweep = *cursor;
            }
        }
        stats
    }

    /// Removes what is expired in one segment; returns the least expiry of the rest.
    fn sweep_segment(
        &mut self,
        now_ms: u64,
        index: usize,
        removed: &mut usize,
        f: &mut dyn FnMut(Entry<'_>),
    ) -> u64 {
        let mut due = u64::MAX;
        let mut at = 0;
        while at < self.directory.entry(index).segment.slots() {
            let segment = &self.directory.entry(index).segment;
            if !segment.has_expiry(at) {
                at += 1;
                continue;
            }
            let entry = segment.entry(at);
            let expire_at = entry.expire_at().unwrap_or(u64::MAX);
            if expire_at >= now_ms {
                due = due.min(expire_at);
                at += 1;
                continue;
            }
            f(entry);
            // The rest shifts back, so the same slot is looked at again.
            drop(self.unlink(index, at));
            *removed += 1;
        }
        self.directory.entry_mut(index).segment.set_due(due);
        due
    }

    /// A time in unix milliseconds before which no key expires; `None` when no key has an expiry. It is exact or too
    /// early, never too late; a full sweep makes it exact.
    pub fn next_expiry_bound(&self) -> Option<u64> {
        (self.expires > 0).then_some(self.due)
    }

    /// Empties the table in constant time; what was in it is freed through the result.
    ///
    /// # Panics
    /// When some of it is owed to a cut (see [`Table::detach`]).
    pub fn take_all(&mut self) -> Remains {
        assert!(!self.is_wanted(), "what is owed is not thrown away");
        self.cut = None;
        let keys = std::mem::take(&mut self.len);
        self.expires = 0;
        self.record_bytes = 0;
        self.due = u64::MAX;
        self.due_next = u64::MAX;
        self.sweep_position = None;
        if let Some(map) = &mut self.volatile {
            **map = VolatileMap::full(0);
        }
        self.inside = inside::Bounds::NONE;
        self.directory.take(keys)
    }

    /// Panics when an invariant of the table does not hold.
    #[cfg(test)]
    fn check(&self) {
        let (mut len, mut expires, mut bytes, mut owed) = (0, 0, 0, 0);
        self.directory.check();
        self.directory.for_each(|index, entry| {
            entry.segment.check(entry.homes, entry.depth, |record| {
                let hash = record.with_key(|key| self.hash(key)).0;
                let first = self.directory.index(hash);
                assert_eq!(
                    first & !(self.directory.run(entry) - 1),
                    index,
                    "a key is in the segment of its hash"
                );
                hash
            });
            len += entry.segment.len();
            expires += entry.segment.expires() as usize;
            entry.segment.for_each(|record| {
                bytes += record.heap_bytes();
                if let Some(expire_at) = record.expire_at() {
                    assert!(self.due <= expire_at, "the table's bound is a lower bound");
                }
            });
            owed += (0..entry.segment.slots())
                .filter(|&at| entry.segment.is_occupied(at) && entry.segment.is_owed(at, self.parity))
                .count();
        });
        assert_eq!(owed, self.owed());
        assert_eq!((len, expires, bytes), (self.len, self.expires, self.record_bytes));
    }
}

impl Table {
    /// An empty table whose hashes are those of this one.
    pub(crate) fn empty_like(&self) -> Table {
        Table {
            directory: Directory::new(self.directory.top_words()),
            hasher: self.hasher.clone(),
            len: 0,
            expires: 0,
            record_bytes: 0,
            due: u64::MAX,
            due_next: u64::MAX,
            sweep_position: None,
            volatile: None,
            inside: inside::Bounds::NONE,
            parity: 0,
            cut: None,
        }
    }

    /// Copies about `count` keys more into a table with the same hashes, from a cursor on (0 at first), which moves on; true
    /// at the end. Large strings are shared.
    pub(crate) fn copy_some(&self, copy: &mut Table, cursor: &mut u64, count: usize) -> bool {
        *cursor = self.scan(*cursor, count, &mut |entry| {
            let (key, hash) = (entry.key(), copy.hash(entry.key()));
            let value = match entry.value() {
                ValueRef::Int(int) => NewValue::Int(int),
                ValueRef::Bytes(bytes) => NewValue::Bytes(bytes),
                ValueRef::Shared(bytes) => NewValue::Shared(bytes.clone()),
                ValueRef::Object(_) => {
                    copy.insert_owned(hash, key, entry.to_owned());
                    return;
                }
            };
            copy.insert(hash, key, value, entry.expire_at(), entry.access());
        });
        *cursor == 0
    }
}

impl Clone for Table {
    /// The same keys with values, expiries and access clocks; large strings are shared.
    fn clone(&self) -> Table {
        let (mut clone, mut cursor) = (self.empty_like(), 0);
        while !self.copy_some(&mut clone, &mut cursor, TOP_WORDS) {}
        clone
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("len", &self.len)
            .field("expires", &self.expires)
            .field("memory", &self.memory())
            .finish_non_exhaustive()
    }
}

/// First hash of the prefix of `depth` bits that `position` is in.
fn prefix_start(position: u64, depth: u8) -> u64 {
    match depth {
        0 => 0,
        _ => position >> (64 - depth) << (64 - depth),
    }
}

/// First hash after the prefix of `depth` bits that `position` is in.
fn next_prefix(position: u64, depth: u8) -> Option<u64> {
    match depth {
        0 => None,
        _ => prefix_start(position, depth).checked_add(1 << (64 - depth)),
    }
}

/// One key of a table, borrowed for changing it. Holds the slot, as a change can move the record.
#[derive(Debug)]
pub struct EntryMut<'a> {
    table: &'a mut Table,
    hash: KeyHash,
    index: usize,
    at: usize,
}

impl<'a> EntryMut<'a> {
    /// The entry, for reading as long as the table is borrowed.
    #[inline(always)]
    pub fn into_entry(self) -> Entry<'a> {
        let table: &'a Table = self.table;
        table.directory.entry(self.index).segment.entry(self.at)
    }

    /// The entry, for reading.
    #[inline(always)]
    pub fn entry(&self) -> Entry<'_> {
        self.table.directory.entry(self.index).segment.entry(self.at)
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        self.entry().key()
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> ValueRef<'_> {
        self.entry().value()
    }

    /// When the key expires, in unix milliseconds.
    #[inline]
    pub fn expire_at(&self) -> Option<u64> {
        self.entry().expire_at()
    }

    /// The 24-bit access clock.
    #[inline]
    pub fn access(&self) -> u32 {
        self.entry().access()
    }

    /// Bytes of memory that the key takes.
    pub fn memory_usage(&self) -> usize {
        self.entry().memory_usage()
    }

    /// The segment, for what is no change of data.
    #[inline(always)]
    fn segment(&mut self) -> &mut segment::Segment {
        &mut self.table.directory.entry_mut(self.index).segment
    }

    /// The segment, for a change of the record.
    #[inline(always)]
    fn segment_for_change(&mut self) -> &mut segment::Segment {
        self.table.tell_before(self.index, self.at);
        self.segment()
    }

    /// Sets the access clock, of which 24 bits are kept; writes only when it differs.
    #[inline]
    pub fn set_access(&mut self, access: u32) {
        if self.access() != access & ACCESS_MASK {
            let at = self.at;
            self.segment().set_access(at, access);
        }
    }

    /// Sets the expiry in unix milliseconds, or clears it.
    pub fn set_expire_at(&mut self, expire_at: Option<u64>) {
        let at = self.at;
        self.table.note_expiry(self.hash, expire_at);
        let delta = self.segment_for_change().set_expiry(at, expire_at);
        self.table.account(delta);
    }

    /// Makes the value this integer, in place when it is one already.
    #[inline]
    pub fn set_int(&mut self, int: i64) {
        let at = self.at;
        if !self.segment_for_change().set_int(at, int) {
            self.set_value(NewValue::Int(int));
        }
    }

    /// Replaces the value, keeping expiry and access clock.
    #[inline]
    pub fn set_value(&mut self, value: NewValue<'_>) {
        let (at, expire_at, access) = (self.at, self.expire_at(), self.access());
        let delta = self.segment_for_change().overwrite(at, Payload::new(&value), expire_at, access);
        self.table.account(delta);
    }

    /// Appends to the string (an integer becomes its text first, even when nothing is appended, as in Redis).
    pub fn append(&mut self, data: &[u8]) {
        let (at, len) = (self.at, self.value().len());
        let delta = self.segment_for_change().write_at(at, len, data);
        self.table.account(delta);
    }

    /// Writes into the string at `offset`, growing it and filling a gap with zeros (an integer becomes its text first).
    /// Writing nothing changes nothing. The caller bounds `offset + data.len()`.
    pub fn write_at(&mut self, offset: usize, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let at = self.at;
        let delta = self.segment_for_change().write_at(at, offset, data);
        self.table.account(delta);
    }

    /// Takes the collection out of the record, to be changed; none when the value is of another type.
    ///
    /// # Safety
    /// Until [`EntryMut::put_back`] the record's word is stale: the caller calls it, or nothing else of this entry, before
    /// anybody else sees the table.
    #[inline]
    pub(crate) unsafe fn take_collection<T: Collection>(&mut self) -> Option<T> {
        let at = self.at;
        let word = self.segment().object_word(at, T::TYPE)?;
        self.table.tell_before(self.index, self.at);
        // SAFETY: the word is that of the record's collection, which is of type `T`; by the caller, it is not used again.
        Some(unsafe { T::from_word(word) })
    }

    /// Puts a collection back that [`EntryMut::take_collection`] took.
    ///
    /// # Safety
    /// The value was taken from this entry.
    #[inline]
    pub(crate) unsafe fn put_back<T: Collection>(&mut self, value: T) {
        let at = self.at;
        let due = value.next_expiry();
        // SAFETY: by the caller, the record is of this type and its word stale.
        unsafe { self.segment().set_object_word(at, value.into_word()) };
        if let Some(due) = due {
            self.segment().note_inside(at, due);
            self.table.inside.note(due);
        }
    }

    /// Replaces `removed` bytes at `offset` of the string by `data`, which may be longer or shorter: the bytes behind move (an
    /// integer becomes its text first). The replaced bytes are there; the caller bounds the new length.
    pub fn splice(&mut self, offset: usize, removed: usize, data: &[u8]) {
        let at = self.at;
        let delta = self.segment_for_change().splice(at, offset, removed, data);
        self.table.account(delta);
    }

    /// Notes that the string was written in part (see [`Entry::is_edited`]) though its bytes are as they were.
    #[inline]
    pub fn set_edited(&mut self) {
        let at = self.at;
        self.segment().set_edited(at);
    }

    /// Removes the key and gives its value and expiry.
    pub fn take(self) -> OwnedEntry {
        self.table.take_at(self.hash, self.index, self.at)
    }
}

//! A segment: the slots of all keys whose hash starts with one prefix of `depth` bits, in hash order.
//!
//! ```text
//! header  count, limit, words, expires, due, due inside        (HEADER_WORDS words before the slots)
//! slots   [home slots: `homes`] [pad] [sentinel, always 0]
//! slot    0 = empty | tag (16 bits) | address of the record (45 bits, times 8) | parity | may expire inside | has an expiry
//! ```
//!
//! The tag is the 16 hash bits below the prefix. A record's home is `tag * homes >> 16`; collisions move right, and
//! slots stay sorted by tag (robin-hood order: the two are the same thing here, as the home grows with the tag). So
//! a lookup starts at the home and stops at the first larger tag or the first empty slot, whichever comes first; a
//! miss reads no record except for one tag in 65536 / `count`. There is no wrap-around: the last homes overflow into
//! the pad, and when that overflows the segment is rebuilt larger (or split). Deleting shifts back, so there are no
//! tombstones. Because the order of slots is the order of hashes, the position of a scan is a hash.
//!
//! Sizes from 128 to 1024 words are multiples of 64 and come from the table's [`Pool`]; others are the classes
//! `(4 + m) << e` words, four per doubling, that mimalloc and jemalloc have, so that no byte of an allocation is lost; so are
//! all of a table of a single segment. Rebuilding for another size needs the tags only. When no placement with the usual
//! number of homes fits (many keys of one tag: a degenerate hash), the number of homes is halved until one does: lookups
//! become linear, and stay right.
//!
//! # Invariants (unsafe code below relies on them)
//! - A `Segment` points behind the header of a live allocation of `words` words, or to the slots of the static
//!   [`EMPTY`], whose `limit` of 0 keeps everyone from writing to it.
//! - The last word is 0 and is never written: every walk to the right ends there.
//! - `homes` (kept by the directory, next to the pointer, to save a cache line) is at most the number of slots without the
//!   sentinel, and is the one that the slots were placed by.
//! - Non-zero slots hold addresses of live records that this segment owns.
//! - A `Segment` is `Copy` because several directory entries name one segment; it is used until [`Segment::free`].
//!   All segments of a table belong to its directory and are reached through a borrow of the table.

use std::alloc::{alloc_zeroed, dealloc, handle_alloc_error, Layout};
use std::ptr::NonNull;

use crate::value::Type;

use super::pool::{Pool, RUN_MAX, UNIT_WORDS};
use super::record::{prefetch, Entry, OwnedEntry, Payload, Record};

/// Bits of a slot below the tag.
const ADDRESS_BITS: u32 = 48;
const ADDRESS_MASK: u64 = (1 << ADDRESS_BITS) - 8;
/// Slot flag: the record has an expiry, so that a sweep need not look at the others.
const EXPIRES: u64 = 1;
/// Slot flag: elements of the record's collection may expire. Where they do it is set; where it is set they need not any more.
const INSIDE: u64 = 2;
/// Slot flag: a record whose flag is not that of the table is owed to a cut; see `cut`.
pub(super) const PARITY: u64 = 4;
/// Slots of look-ahead when records are visited in slot order.
const PREFETCH_DISTANCE: usize = 8;

const HEADER_WORDS: usize = size_of::<Header>() / 8;
const SENTINEL_WORDS: usize = 1;
/// Smallest allocation of a segment, in words.
pub(super) const WORDS_MIN: usize = 16;
/// Sizes in words that come from the pool.
const POOL_WORDS_MIN: usize = 128;
const POOL_WORDS_MAX: usize = UNIT_WORDS * RUN_MAX;
/// Largest pad: when the displacement of the last slots passes it, the segment grows a little early.
const PAD_MAX: usize = 16;

#[repr(C)]
struct Header {
    /// Occupied slots.
    count: u32,
    /// Occupied slots at which the segment must grow.
    limit: u32,
    /// Size of the allocation in words; 0 for `EMPTY`.
    words: u32,
    /// Records with an expiry.
    expires: u32,
    /// No record here expires before this unix millisecond.
    due: u64,
    /// No element of a collection here expires before this unix millisecond.
    due_inside: u64,
    /// Chunk of the pool that the memory is from, or `NOT_POOLED`.
    chunk: u32,
}

const NOT_POOLED: u32 = u32::MAX;

/// What an unused table points to: nothing is found, and the first insert replaces it.
#[repr(C)]
struct Empty {
    header: Header,
    slots: [u64; 2],
}

static EMPTY: Empty = Empty {
    header: Header {
        count: 0,
        limit: 0,
        words: 0,
        expires: 0,
        due: u64::MAX,
        due_inside: u64::MAX,
        chunk: NOT_POOLED,
    },
    slots: [0; 2],
};

/// Slots that a segment of this many words has for records.
fn usable(words: usize) -> usize {
    words - HEADER_WORDS - SENTINEL_WORDS
}

/// Records at which a segment of this many words is full: a load of 15/16 of its slots.
pub(super) fn limit_of(words: usize) -> usize {
    usable(words) * 15 / 16
}

/// The next larger size class.
pub(super) fn next_words(words: usize) -> usize {
    if (POOL_WORDS_MIN..POOL_WORDS_MAX).contains(&words) {
        words + UNIT_WORDS
    } else {
        words + (1 << (words.ilog2() - 2))
    }
}

/// The smallest size class that holds `count` records with room for a sixteenth more.
pub(super) fn words_for(count: usize) -> usize {
    let mut words = WORDS_MIN;
    while limit_of(words) < count + count / 16 + 1 {
        words = next_words(words);
    }
    words
}

/// What a change of one record did to the sums of the table.
#[derive(Clone, Copy)]
pub(super) struct Delta {
    /// Records with an expiry.
    pub(super) expires: isize,
    /// Bytes of records.
    pub(super) bytes: isize,
}

/// Where a key is, or where it would go.
pub(super) enum Find {
    At(usize),
    Vacant(usize),
}

/// Pointer to the slots of a segment; see the invariants at the top of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment(NonNull<u64>);

// SAFETY: a segment is memory that owns records, which are `Send`; it belongs to one table.
unsafe impl Send for Segment {}
// SAFETY: shared access only reads.
unsafe impl Sync for Segment {}

/// A segment just built, and the number of its homes.
trait Built {
    /// The same, its collections' elements expiring no earlier than this.
    fn due_inside_from(self, due: u64) -> Self;
}

impl Built for (Segment, u32) {
    fn due_inside_from(mut self, due: u64) -> (Segment, u32) {
        self.0.set_due_inside(due);
        self
    }
}

/// The tag of a hash, in the position that it has in a slot.
#[inline(always)]
pub(super) fn tag_bits(hash: u64, depth: u8) -> u64 {
    (hash << depth) & !(u64::MAX >> 16)
}

#[inline(always)]
fn home(slot: u64, homes: u32) -> usize {
    (((slot >> ADDRESS_BITS) * u64::from(homes)) >> 16) as usize
}

#[inline(always)]
fn slot_of(tag: u64, record: Record) -> u64 {
    tag | record.address() | if record.has_expiry() { EXPIRES } else { 0 }
}

impl Segment {
    pub(super) fn empty() -> Segment {
        let ptr = std::ptr::from_ref(&EMPTY).cast::<u64>().cast_mut();
        // SAFETY: the slots follow the header in `Empty`.
        Segment(unsafe { NonNull::new_unchecked(ptr.add(HEADER_WORDS)) })
    }

    fn layout(words: usize) -> Layout {
        Layout::array::<u64>(words).expect("a segment is smaller than the address space")
    }

    fn allocate(pool: Option<&mut Pool>, words: usize, count: usize, expires: u32, due: u64) -> Segment {
        let (ptr, chunk) = match pool {
            Some(pool) if (POOL_WORDS_MIN..=POOL_WORDS_MAX).contains(&words) => {
                let (ptr, chunk) = pool.allocate(words / UNIT_WORDS);
                // SAFETY: the run is `words` words long.
                unsafe { ptr.write_bytes(0, words) };
                (ptr, chunk)
            }
            _ => {
                let layout = Segment::layout(words);
                // SAFETY: the size is not zero.
                let ptr = unsafe { alloc_zeroed(layout) }.cast::<u64>();
                let Some(ptr) = NonNull::new(ptr) else { handle_alloc_error(layout) };
                (ptr, NOT_POOLED)
            }
        };
        let header = Header {
            count: u32::try_from(count).expect("a segment holds less than 2^32 records"),
            limit: u32::try_from(limit_of(words)).expect("a segment has less than 2^32 slots"),
            words: words as u32,
            expires,
            due,
            due_inside: u64::MAX,
            chunk,
        };
        // SAFETY: the header is the first HEADER_WORDS words of the allocation.
        unsafe {
            ptr.cast::<Header>().write(header);
            Segment(ptr.add(HEADER_WORDS))
        }
    }

    /// A segment of `words` words with these slots, which are sorted, and the number of its homes.
    pub(super) fn build(
        pool: Option<&mut Pool>,
        words: usize,
        slots: &[u64],
        expires: u32,
        due: u64,
    ) -> (Segment, u32) {
        debug_assert!(slots.len() <= limit_of(words));
        debug_assert!(slots.windows(2).all(|pair| pair[0] >> ADDRESS_BITS <= pair[1] >> ADDRESS_BITS));
        let segment = Segment::allocate(pool, words, slots.len(), expires, due);
        let usable = usable(words);
        let mut homes = usable - (usable / 8).min(PAD_MAX);
        let mut slack = 1;
        while !segment.place(slots, homes as u32, usable - slack) {
            homes = (homes / 2).max(1);
            slack = usable / 32;
        }
        (segment, homes as u32)
    }

    /// Puts sorted slots where they belong, in a segment with no slots or those of a failed try; false when they do not end
    /// before `end`.
    fn place(&self, slots: &[u64], homes: u32, end: usize) -> bool {
        let mut next = 0;
        for &slot in slots {
            let at = next.max(home(slot, homes));
            if at >= end {
                // SAFETY: clears slots up to `next`, which is at most `end`.
                unsafe { self.0.write_bytes(0, next) };
                return false;
            }
            self.set(at, slot);
            next = at + 1;
        }
        true
    }

    #[inline(always)]
    fn header(&self) -> &Header {
        // SAFETY: the header lies before the slots; nobody writes it while `self` is borrowed, as all writers are
        // methods that take the table mutably.
        unsafe { self.0.sub(HEADER_WORDS).cast::<Header>().as_ref() }
    }

    #[inline(always)]
    fn header_mut(&mut self) -> &mut Header {
        debug_assert_ne!(self.header().words, 0);
        // SAFETY: as above; callers hold the table mutably and never write to EMPTY.
        unsafe { self.0.sub(HEADER_WORDS).cast::<Header>().as_mut() }
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.header().count as usize
    }

    #[inline(always)]
    pub(super) fn words(&self) -> usize {
        self.header().words as usize
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.words() * size_of::<u64>()
    }

    pub(super) fn expires(&self) -> u32 {
        self.header().expires
    }

    pub(super) fn due(&self) -> u64 {
        self.header().due
    }

    /// Slots without the sentinel.
    #[inline(always)]
    pub(super) fn slots(&self) -> usize {
        match self.words() {
            0 => 0,
            words => words - HEADER_WORDS - SENTINEL_WORDS,
        }
    }

    #[inline(always)]
    fn get(&self, at: usize) -> u64 {
        // SAFETY: callers start below the number of slots and stop at the sentinel.
        unsafe { self.0.add(at).read() }
    }

    #[inline(always)]
    fn set(&self, at: usize, slot: u64) {
        debug_assert!(at < self.slots());
        // SAFETY: as for `get`; callers hold the table mutably.
        unsafe { self.0.add(at).write(slot) }
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, homes: u32, tag: u64) {
        prefetch(self.0.as_ptr().wrapping_add(home(tag, homes)).cast());
    }

    /// Prefetches the record in the first slot of this tag, if there is one.
    #[inline(always)]
    pub(super) fn prefetch_record(&self, homes: u32, tag: u64) -> Option<Entry<'_>> {
        let at = self.first_not_below(homes, tag);
        let slot = self.get(at);
        if slot == 0 || slot >> ADDRESS_BITS != tag >> ADDRESS_BITS {
            return None;
        }
        Record::prefetch(slot & ADDRESS_MASK);
        Some(self.entry(at))
    }

    /// Prefetches the record in an occupied slot.
    #[inline(always)]
    pub(super) fn prefetch_at(&self, at: usize) {
        Record::prefetch(self.get(at) & ADDRESS_MASK);
    }

    /// Index of the first slot, from the home of `tag`, that is empty or has this tag or a larger one.
    #[inline(always)]
    fn first_not_below(&self, homes: u32, tag: u64) -> usize {
        let mut at = home(tag, homes);
        // An occupied slot minus 1 keeps its tag, an empty one becomes the largest number: one comparison for both.
        while self.get(at).wrapping_sub(1) < tag {
            at += 1;
        }
        at
    }

    #[inline(always)]
    pub(super) fn find(&self, homes: u32, tag: u64, key: &[u8]) -> Find {
        let mut at = self.first_not_below(homes, tag);
        loop {
            let slot = self.get(at);
            // Same tag and not empty (an empty slot gives a difference of at least 2^48 - 1).
            if slot.wrapping_sub(tag + 1) >= (1 << ADDRESS_BITS) - 1 {
                return Find::Vacant(at);
            }
            if self.record_of(slot).has_key(key) {
                return Find::At(at);
            }
            at += 1;
        }
    }

    /// Where a record of this tag goes.
    pub(super) fn vacancy(&self, homes: u32, tag: u64) -> usize {
        let mut at = self.first_not_below(homes, tag);
        while self.get(at) != 0 && self.get(at) >> ADDRESS_BITS == tag >> ADDRESS_BITS {
            at += 1;
        }
        at
    }

    #[inline(always)]
    fn record_of(&self, slot: u64) -> Record {
        debug_assert_ne!(slot, 0);
        // SAFETY: an occupied slot holds the address of a live record.
        unsafe { Record::from_address(slot & ADDRESS_MASK) }
    }

    /// The record in an occupied slot.
    #[inline(always)]
    fn record(&self, at: usize) -> Record {
        self.record_of(self.get(at))
    }

    #[inline(always)]
    pub(super) fn is_occupied(&self, at: usize) -> bool {
        at < self.slots() && self.get(at) != 0
    }

    /// The key in an occupied slot, for reading.
    #[inline(always)]
    pub(super) fn entry(&self, at: usize) -> Entry<'_> {
        // SAFETY: the segment owns the record, and `self` is borrowed from the directory, so the result cannot
        // outlive a borrow of the table.
        unsafe { self.record(at).entry() }
    }

    /// Puts another record of the same key, made by `change`, in an occupied slot.
    #[inline(always)]
    fn update(&mut self, at: usize, change: impl FnOnce(Record) -> Record) -> Delta {
        let old = self.get(at);
        let record = self.record_of(old);
        let bytes = record.heap_bytes();
        let record = change(record);
        let new = slot_of(old & !(u64::MAX >> 16), record) | old & (INSIDE | PARITY);
        if new != old {
            self.set(at, new);
        }
        let mut delta = Delta { expires: 0, bytes: record.heap_bytes() as isize - bytes as isize };
        if (old | new) & EXPIRES != 0 {
            delta.expires = (new & EXPIRES) as isize - (old & EXPIRES) as isize;
            let header = self.header_mut();
            header.expires = header.expires.wrapping_add_signed(delta.expires as i32);
            header.due = match record.expire_at() {
                Some(expire_at) => header.due.min(expire_at),
                None if header.expires == 0 => u64::MAX,
                None => header.due,
            };
        }
        delta
    }

    /// Replaces value, expiry and access clock of an occupied slot.
    #[inline(always)]
    pub(super) fn overwrite(
        &mut self,
        at: usize,
        payload: Payload<'_>,
        expire_at: Option<u64>,
        access: u32,
    ) -> Delta {
        // SAFETY: the segment owns the record; a payload from outside the table borrows nothing from it.
        if unsafe { self.record(at).overwrite_alike(&payload, expire_at, access) } {
            if let Some(expire_at) = expire_at {
                let header = self.header_mut();
                header.due = header.due.min(expire_at);
            }
            return Delta { expires: 0, bytes: 0 };
        }
        // SAFETY: `update` puts the record in the place of the old one; a payload from outside the table borrows
        // nothing from a record, as the table is borrowed mutably.
        self.update(at, |record| unsafe { record.replace(payload, expire_at, access) })
    }

    /// Sets or clears the expiry of an occupied slot.
    pub(super) fn set_expiry(&mut self, at: usize, expire_at: Option<u64>) -> Delta {
        // SAFETY: `update` puts the record in the place of the old one.
        self.update(at, |record| unsafe { record.with_expiry(expire_at) })
    }

    /// Writes into the string of an occupied slot; `data` is not empty.
    pub(super) fn write_at(&mut self, at: usize, offset: usize, data: &[u8]) -> Delta {
        // SAFETY: as in `overwrite`.
        self.update(at, |record| unsafe { record.write_at(offset, data) })
    }

    /// Replaces bytes within the string of the record at `at` by others.
    pub(super) fn splice(&mut self, at: usize, offset: usize, removed: usize, data: &[u8]) -> Delta {
        // SAFETY: as in `overwrite`.
        self.update(at, |record| unsafe { record.splice(offset, removed, data) })
    }

    /// Notes that the string of the record at `at` was written in part.
    #[inline(always)]
    pub(super) fn set_edited(&mut self, at: usize) {
        self.record(at).set_edited();
    }

    /// Overwrites an integer; false when the value is not one.
    #[inline(always)]
    pub(super) fn set_int(&mut self, at: usize, int: i64) -> bool {
        self.record(at).set_int(int)
    }

    /// The word of the collection in an occupied slot; none when the value is of another type.
    #[inline(always)]
    pub(super) fn object_word(&self, at: usize, kind: Type) -> Option<u64> {
        self.record(at).object_word(kind)
    }

    /// Replaces the word of the collection in an occupied slot.
    ///
    /// # Safety
    /// As for [`Record::set_object_word`].
    #[inline(always)]
    pub(super) unsafe fn set_object_word(&mut self, at: usize, word: u64) {
        // SAFETY: by the caller.
        unsafe { self.record(at).set_object_word(word) };
    }

    /// Sets the access clock.
    #[inline(always)]
    pub(super) fn set_access(&mut self, at: usize, access: u32) {
        self.record(at).set_access(access);
    }

    /// Inserts a record at the vacancy of its tag; false when the segment has to grow first. `tag` comes with the parity of the table.
    #[inline(always)]
    pub(super) fn insert(&mut self, at: usize, tag: u64, record: Record) -> bool {
        let header = self.header();
        if header.count >= header.limit {
            return false;
        }
        let mut end = at;
        while self.get(end) != 0 {
            end += 1;
        }
        if end >= self.slots() {
            return false;
        }
        let slot = slot_of(tag, record);
        // SAFETY: `at <= end < slots`, so both ranges are within the slots.
        unsafe {
            let at_ptr = self.0.add(at);
            // A displacement is a few slots: a loop beats a call of memmove.
            let mut to = self.0.add(end);
            while to > at_ptr {
                let from = to.sub(1);
                to.write(from.read());
                to = from;
            }
            at_ptr.write(slot);
        }
        let header = self.header_mut();
        header.count += 1;
        if slot & EXPIRES != 0 {
            header.expires += 1;
            if let Some(expire_at) = record.expire_at() {
                header.due = header.due.min(expire_at);
            }
        }
        true
    }

    /// Takes the record out of an occupied slot.
    #[inline(always)]
    pub(super) fn remove(&mut self, at: usize, homes: u32) -> OwnedEntry {
        let slot = self.get(at);
        let record = self.record_of(slot);
        let mut hole = at;
        loop {
            let next = self.get(hole + 1);
            // The sentinel is empty, so `hole + 1` stays within the allocation.
            if next == 0 || home(next, homes) > hole {
                break;
            }
            self.set(hole, next);
            hole += 1;
        }
        self.set(hole, 0);
        let header = self.header_mut();
        header.count -= 1;
        header.expires -= (slot & EXPIRES) as u32;
        if header.expires == 0 {
            header.due = u64::MAX;
        }
        // SAFETY: the slot that owned the record is gone.
        unsafe { OwnedEntry::new(record) }
    }

    /// True when so many slots are free that the segment should be rebuilt smaller or merged.
    #[inline(always)]
    pub(super) fn is_sparse(&self) -> bool {
        let header = self.header();
        u64::from(header.count) * 8 < u64::from(header.words) * 5
    }

    /// Moves what lies in sparse pages of the allocator elsewhere; returns how many records were concerned.
    pub(super) fn relocate(&mut self, is_sparse: &dyn Fn(*const u8) -> bool) -> (usize, Delta) {
        let (mut moved, mut delta) = (0, Delta { expires: 0, bytes: 0 });
        for at in 0..self.slots() {
            let slot = self.get(at);
            if slot == 0 {
                continue;
            }
            if at + PREFETCH_DISTANCE < self.slots() {
                Record::prefetch(self.get(at + PREFETCH_DISTANCE) & ADDRESS_MASK);
            }
            let record = self.record_of(slot);
            let before = record.heap_bytes();
            // SAFETY: the segment owns the record, and the new one takes its place.
            let (record, changed) = unsafe { record.relocated(is_sparse) };
            if changed {
                self.set(at, slot & !ADDRESS_MASK | record.address());
                delta.bytes += record.heap_bytes() as isize - before as isize;
                moved += 1;
            }
        }
        (moved, delta)
    }

    /// Whether the record in an occupied slot is owed to the cut that has made this the parity of the table.
    #[inline(always)]
    pub(super) fn is_owed(&self, at: usize, parity: u64) -> bool {
        self.get(at) & PARITY != parity
    }

    /// Gives an occupied slot the parity of the table.
    #[inline(always)]
    pub(super) fn set_parity(&mut self, at: usize, parity: u64) {
        debug_assert!(self.is_occupied(at));
        self.set(at, self.get(at) & !PARITY | parity);
    }

    /// Calls `f` with the records that are owed, and marks them, until it has done as much work as is left; true when none is owed any more.
    pub(super) fn settle(
        &mut self,
        parity: u64,
        work: &mut usize,
        mut f: impl FnMut(&Entry<'_>) -> usize,
    ) -> bool {
        let is_owed = |slot: u64| slot != 0 && slot & PARITY != parity;
        for at in 0..self.slots() {
            if !is_owed(self.get(at)) {
                continue;
            }
            if *work == 0 {
                return false;
            }
            if at + PREFETCH_DISTANCE < self.slots() && is_owed(self.get(at + PREFETCH_DISTANCE)) {
                self.prefetch_at(at + PREFETCH_DISTANCE);
            }
            *work = work.saturating_sub(f(&self.entry(at)).max(1));
            self.set_parity(at, parity);
        }
        true
    }

    /// The slots in use, in order.
    pub(super) fn occupied(&self) -> Vec<u64> {
        let mut slots = Vec::with_capacity(self.len());
        slots.extend((0..self.slots()).map(|at| self.get(at)).filter(|&slot| slot != 0));
        slots
    }

    /// Calls `f` with every record, in order.
    #[cfg(test)]
    pub(super) fn for_each(&self, mut f: impl FnMut(Record)) {
        for slot in self.occupied() {
            f(self.record_of(slot));
        }
    }

    /// This segment's records in a segment of another size.
    pub(super) fn rebuilt(&self, pool: Option<&mut Pool>, words: usize) -> (Segment, u32) {
        Segment::build(pool, words, &self.occupied(), self.expires(), self.due())
            .due_inside_from(self.due_inside())
    }

    /// The two halves at one more bit of prefix; `hash` gives the hash of a key.
    pub(super) fn split(
        &self,
        pool: &mut Pool,
        depth: u8,
        hash: impl Fn(Record) -> u64,
    ) -> [(Segment, u32); 2] {
        let mut halves = [Vec::with_capacity(self.len()), Vec::with_capacity(self.len())];
        let slots = self.occupied();
        for (i, &slot) in slots.iter().enumerate() {
            if let Some(ahead) = slots.get(i + PREFETCH_DISTANCE) {
                Record::prefetch(ahead & ADDRESS_MASK);
            }
            let hash = hash(self.record_of(slot));
            assert_eq!(slot >> ADDRESS_BITS, hash << depth >> ADDRESS_BITS, "the tag is of the key's hash");
            let half = &mut halves[(hash << depth >> 63) as usize];
            half.push(tag_bits(hash, depth + 1) | slot & (u64::MAX >> 16));
            // Sorted by the old tag, hence by the new one but for its last bit: the insertion is local.
            let mut at = half.len() - 1;
            while at > 0 && half[at - 1] >> ADDRESS_BITS > half[at] >> ADDRESS_BITS {
                half.swap(at - 1, at);
                at -= 1;
            }
        }
        assert_eq!(halves[0].len() + halves[1].len(), self.len());
        halves.map(|half| {
            let expires = half.iter().filter(|&slot| slot & EXPIRES != 0).count() as u32;
            let due = if expires == 0 { u64::MAX } else { self.due() };
            Segment::build(Some(pool), words_for(half.len()), &half, expires, due)
                .due_inside_from(self.due_inside())
        })
    }

    /// The union of two buddies at one bit of prefix less. The new tags are known from the old ones.
    pub(super) fn merged(pool: &mut Pool, low: &Segment, high: &Segment) -> (Segment, u32) {
        let mut slots = Vec::with_capacity(low.len() + high.len());
        for (buddy, bit) in [(low, 0), (high, 1u64 << 63)] {
            slots.extend(buddy.occupied().into_iter().map(|slot| {
                let tag = slot >> 1 & !(u64::MAX >> 16);
                bit | tag | slot & (u64::MAX >> 16)
            }));
        }
        let expires = low.expires() + high.expires();
        Segment::build(Some(pool), words_for(slots.len()), &slots, expires, low.due().min(high.due()))
            .due_inside_from(low.due_inside().min(high.due_inside()))
    }

    /// The segment whose memory starts at this run of the pool.
    ///
    /// # Safety
    /// The run is in use by a segment.
    pub(super) unsafe fn from_run(run: NonNull<u64>) -> Segment {
        // SAFETY: a segment's slots follow its header.
        Segment(unsafe { run.add(HEADER_WORDS) })
    }

    /// A copy of this segment, which is from the pool, elsewhere in the pool: it takes the place of this one, as it
    /// holds the same records.
    pub(super) fn moved(&self, pool: &mut Pool) -> Segment {
        let words = self.words();
        let (ptr, chunk) = pool.allocate(words / UNIT_WORDS);
        // SAFETY: both runs are `words` words long, and the header is the first words of each.
        unsafe {
            std::ptr::copy_nonoverlapping(self.0.sub(HEADER_WORDS).as_ptr(), ptr.as_ptr(), words);
            ptr.cast::<Header>().as_mut().chunk = chunk;
            Segment(ptr.add(HEADER_WORDS))
        }
    }

    /// The first record; `None` when there is none.
    pub(super) fn first(&self) -> Option<Record> {
        (0..self.slots()).map(|at| self.get(at)).find(|&slot| slot != 0).map(|slot| self.record_of(slot))
    }

    /// Whether the memory is from the pool.
    pub(super) fn is_pooled(&self) -> bool {
        self.header().chunk != NOT_POOLED
    }

    /// Frees the slots, not the records.
    ///
    /// # Safety
    /// No copy of this segment is used again; `pool` is the one that it was built with.
    pub(super) unsafe fn free(self, pool: &mut Pool) {
        let (words, chunk) = (self.words(), self.header().chunk);
        if words == 0 {
            return;
        }
        // SAFETY: the allocation starts at the header and has this size.
        unsafe {
            let start = self.0.sub(HEADER_WORDS);
            match chunk {
                NOT_POOLED => dealloc(start.cast::<u8>().as_ptr(), Segment::layout(words)),
                chunk => pool.free(start, chunk, words / UNIT_WORDS),
            }
        }
    }

    /// Frees the records from slot `from` on, until `left` blocks are freed, which it counts down, as it does `keys`. Returns the slot to go on
    /// with, the number of slots at the end.
    ///
    /// # Safety
    /// No record of a slot that is passed is used again.
    pub(super) unsafe fn free_records(self, from: usize, left: &mut usize, keys: &mut usize) -> usize {
        let slots = self.slots();
        for at in from..slots {
            if at + PREFETCH_DISTANCE < slots {
                Record::prefetch(self.get(at + PREFETCH_DISTANCE) & ADDRESS_MASK);
            }
            let slot = self.get(at);
            if slot != 0 {
                let record = self.record_of(slot);
                *left = left.saturating_sub(record.blocks());
                *keys = keys.saturating_sub(1);
                // SAFETY: by the caller.
                unsafe { record.free() };
                if *left == 0 {
                    return at + 1;
                }
            }
        }
        slots
    }

    /// Index of the first slot whose tag is at least `tag`, empty slots skipped; the number of slots at the end.
    pub(super) fn seek(&self, homes: u32, tag: u64) -> usize {
        if self.words() == 0 {
            return 0;
        }
        let mut at = home(tag, homes);
        while at < self.slots() && (self.get(at) == 0 || self.get(at) >> ADDRESS_BITS < tag >> ADDRESS_BITS) {
            at += 1;
        }
        at
    }

    /// The tag of an occupied slot, in 16 bits.
    #[inline(always)]
    pub(super) fn tag(&self, at: usize) -> u64 {
        self.get(at) >> ADDRESS_BITS
    }

    #[inline(always)]
    pub(super) fn has_expiry(&self, at: usize) -> bool {
        self.get(at) & EXPIRES != 0
    }

    /// Sets the bound below which nothing here expires.
    pub(super) fn set_due(&mut self, due: u64) {
        self.header_mut().due = due;
    }

    /// The bound below which no element of a collection here expires.
    #[inline(always)]
    pub(super) fn due_inside(&self) -> u64 {
        self.header().due_inside
    }

    /// Sets it.
    pub(super) fn set_due_inside(&mut self, due: u64) {
        if due != self.due_inside() {
            self.header_mut().due_inside = due;
        }
    }

    /// Notes that an element of the collection in an occupied slot expires at this time, and none earlier.
    pub(super) fn note_inside(&mut self, at: usize, due: u64) {
        self.set(at, self.get(at) | INSIDE);
        let header = self.header_mut();
        header.due_inside = header.due_inside.min(due);
    }

    /// Whether elements of the collection in a slot may expire.
    #[inline(always)]
    pub(super) fn may_expire_inside(&self, at: usize) -> bool {
        self.get(at) & INSIDE != 0
    }

    /// Notes that none does any more.
    pub(super) fn forget_inside(&mut self, at: usize) {
        self.set(at, self.get(at) & !INSIDE);
    }

    /// Panics when an invariant of the slots does not hold.
    #[cfg(test)]
    pub(super) fn check(&self, homes: u32, depth: u8, hash: impl Fn(Record) -> u64) {
        let (mut count, mut expires, mut last) = (0, 0, 0);
        assert!(self.words() == 0 || homes as usize <= self.slots());
        assert_eq!(self.get(self.slots()), 0, "the sentinel is empty");
        for at in 0..self.slots() {
            let slot = self.get(at);
            if slot == 0 {
                continue;
            }
            let record = self.record_of(slot);
            let tag = slot >> ADDRESS_BITS;
            assert_eq!(tag, hash(record) << depth >> ADDRESS_BITS, "tag of slot {at}");
            assert!(tag >= last, "sorted by tag");
            assert!(home(slot, homes) <= at, "not before its home");
            assert!((home(slot, homes)..at).all(|gap| self.get(gap) != 0), "no gap before a displaced entry");
            assert_eq!(slot & EXPIRES != 0, record.has_expiry());
            if let Some(expire_at) = record.expire_at() {
                expires += 1;
                assert!(self.due() <= expire_at, "due is a lower bound");
            }
            if let Some(due) = self.entry(at).next_expiry_inside() {
                assert!(self.may_expire_inside(at) && self.due_inside() <= due, "expiries inside are known");
            }
            last = tag;
            count += 1;
        }
        assert_eq!(count, self.len());
        assert_eq!(expires, self.expires());
        assert!(count <= self.header().limit as usize);
    }
}

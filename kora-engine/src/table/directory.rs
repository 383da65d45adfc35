//! The directory: which segment holds the hashes of a prefix.
//!
//! Extendible hashing (Fagin et al., 1979): `2^depth` entries, indexed by the top `depth` bits of the hash. A segment of
//! local depth `d` is named by a run of `2^(depth - d)` entries. An entry holds, next to the pointer, what a lookup needs
//! to compute a slot (local depth and number of homes), so that a lookup touches one line of the directory, one
//! of slots, one of the record.
//!
//! **Split points are staggered.** Hashes are uniform, so if all segments split at one size they would all do it
//! within a few per cent of growth, and all would be at the same load at any time: the memory per key would go
//! through waves of 25 %, and a server would see a burst of splits at each doubling. So the size at which a segment splits is
//! `top * 5/8, 6/8, 7/8 or 1`, chosen by its prefix. At any number of keys segments of all loads are mixed, and the mean load is steady.
//!
//! **The directory is bounded** by the number of keys (one entry per `top / 16` keys) and by [`DEPTH_MAX`]: with a
//! degenerate hash it stops doubling, and a segment that may not split grows past the top size instead.
//!
//! **Cost of single operations**: rebuilding a segment, a few microseconds; a split, about 600 to 900 keys to hash with
//! their records prefetched, 20 to 60 us; a doubling copies `2^depth` entries of 16 bytes: see `Table`.
//!
//! # Invariants (the unsafe code below frees segments)
//! - Each segment of `entries` is named by exactly one run, aligned to its length, of equal entries.
//! - A segment is freed only after all entries of its run were overwritten.

use std::ptr::NonNull;

use super::pool::Pool;
use super::record::Record;
use super::segment::{next_words, words_for, Segment, WORDS_MIN};

/// Largest local depth. A scan cursor has 48 bits, and a position within a segment takes 16 of them.
const DEPTH_MAX: u8 = 32;

/// Segments moved, when the pool is loosely filled, each time that one is rebuilt or split.
const MOVES_PER_REBUILD: usize = 3;

/// Names a segment and says how to find a slot in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct DirEntry {
    pub(super) segment: Segment,
    /// Number of home slots of the segment.
    pub(super) homes: u32,
    /// Bits of prefix that its hashes share.
    pub(super) depth: u8,
}

const _: () = assert!(size_of::<DirEntry>() == 16);

/// Owner of all segments of a table.
#[derive(Debug)]
pub(super) struct Directory {
    entries: Vec<DirEntry>,
    /// Bits of the hash that index `entries`.
    depth: u8,
    /// Segments per local depth: tells when the directory may halve without a walk over it.
    at_depth: [u32; DEPTH_MAX as usize + 1],
    /// Largest size of a segment in words before it splits; tests use small ones.
    top_words: usize,
    /// Bytes of segments that are not from the pool.
    unpooled_bytes: usize,
    /// Memory of the segments of a directory of more than one.
    pool: Pool,
}

impl Directory {
    /// A directory of one static segment of no capacity: 16 bytes of heap.
    pub(super) fn new(top_words: usize) -> Directory {
        let mut at_depth = [0; DEPTH_MAX as usize + 1];
        at_depth[0] = 1;
        let entry = DirEntry { segment: Segment::empty(), homes: 1, depth: 0 };
        Directory {
            entries: vec![entry],
            depth: 0,
            at_depth,
            top_words,
            unpooled_bytes: 0,
            pool: Pool::new(),
        }
    }

    #[inline(always)]
    pub(super) fn index(&self, hash: u64) -> usize {
        // Two shifts, as a depth of 0 would ask for one by 64.
        (hash >> 1 >> (63 - self.depth)) as usize
    }

    #[inline(always)]
    pub(super) fn entry(&self, index: usize) -> &DirEntry {
        &self.entries[index]
    }

    #[inline(always)]
    pub(super) fn entry_mut(&mut self, index: usize) -> &mut DirEntry {
        &mut self.entries[index]
    }

    pub(super) fn depth(&self) -> u8 {
        self.depth
    }

    pub(super) fn top_words(&self) -> usize {
        self.top_words
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<DirEntry>()
    }

    pub(super) fn segment_bytes(&self) -> usize {
        self.unpooled_bytes + self.pool.bytes()
    }

    /// Number of entries that name the segment of this entry.
    pub(super) fn run(&self, entry: &DirEntry) -> usize {
        1 << (self.depth - entry.depth)
    }

    /// Size in words at which the segment of this hash splits.
    fn split_words(&self, hash: u64, depth: u8) -> usize {
        let prefix = hash >> 1 >> (63 - depth);
        let mixed = (prefix + u64::from(depth)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 62;
        self.top_words / 8 * (5 + mixed as usize)
    }

    /// Whether a segment of this depth may split, given the number of keys in the table.
    fn may_split(&self, depth: u8, keys: usize) -> bool {
        depth < DEPTH_MAX && (depth < self.depth || (2usize << self.depth) * (self.top_words / 16) <= keys)
    }

    /// Lets the segment of this hash take more records: a larger segment, or two.
    #[cold]
    #[inline(never)]
    pub(super) fn make_room(&mut self, hash: u64, keys: usize, hash_of: impl Fn(Record) -> u64) {
        let index = self.index(hash);
        let entry = self.entries[index];
        let words = entry.segment.words();
        if words == 0 {
            let built = Segment::build(None, WORDS_MIN, &[], 0, u64::MAX);
            self.assign(index, 0, built);
        } else if words >= self.split_words(hash, entry.depth) && self.may_split(entry.depth, keys) {
            self.split(hash, &hash_of);
            self.compact(hash_of);
        } else {
            let built = entry.segment.rebuilt(self.pool_of(entry.depth), next_words(words));
            self.assign(index, entry.depth, built);
            self.release(entry.segment);
            self.compact(hash_of);
        }
    }

    /// Moves some segments to where they fit more tightly, when the pool asks for it.
    fn compact(&mut self, hash_of: impl Fn(Record) -> u64) {
        for _ in 0..MOVES_PER_REBUILD {
            let Some(run) = self.pool.victim() else { return };
            self.relocate(run, &hash_of);
        }
    }

    fn relocate(&mut self, run: NonNull<u64>, hash_of: impl Fn(Record) -> u64) {
        // SAFETY: all runs of the pool are in use by the segments of this directory.
        let segment = unsafe { Segment::from_run(run) };
        // A pooled segment is never empty: it would be sparse, and smaller.
        let Some(record) = segment.first() else { return };
        let index = self.index(hash_of(record));
        let entry = self.entries[index];
        assert_eq!(entry.segment, segment, "the first record leads to its segment");
        let moved = segment.moved(&mut self.pool);
        self.assign(index, entry.depth, (moved, entry.homes));
        self.release(segment);
    }

    fn split(&mut self, hash: u64, hash_of: impl Fn(Record) -> u64) {
        let entry = self.entries[self.index(hash)];
        if entry.depth == self.depth {
            self.double();
        }
        let halves = entry.segment.split(&mut self.pool, entry.depth, hash_of);
        let run = self.run(&entry);
        let start = self.index(hash) & !(run - 1);
        self.at_depth[entry.depth as usize] -= 1;
        self.at_depth[entry.depth as usize + 1] += 2;
        for (half, built) in halves.into_iter().enumerate() {
            self.assign(start + half * run / 2, entry.depth + 1, built);
        }
        self.release(entry.segment);
    }

    /// The pool, unless the segment is the only one: a small table does not take a whole chunk.
    fn pool_of(&mut self, depth: u8) -> Option<&mut Pool> {
        (depth > 0).then_some(&mut self.pool)
    }

    fn double(&mut self) {
        let mut entries = Vec::with_capacity(self.entries.len() * 2);
        for &entry in &self.entries {
            entries.extend([entry, entry]);
        }
        self.entries = entries;
        self.depth += 1;
    }

    /// Gives memory back after a delete from the segment of this hash, which is sparse.
    #[cold]
    #[inline(never)]
    pub(super) fn shrink(&mut self, hash: u64, hash_of: impl Fn(Record) -> u64) {
        loop {
            let index = self.index(hash);
            let entry = self.entries[index];
            if entry.depth > 0 {
                let run = self.run(&entry);
                let start = index & !(run - 1);
                let buddy = self.entries[start ^ run];
                if buddy.depth == entry.depth
                    && entry.segment.len() + buddy.segment.len() <= self.top_words / 4
                {
                    let (low, high) = if start & run == 0 { (entry, buddy) } else { (buddy, entry) };
                    let built = Segment::merged(&mut self.pool, &low.segment, &high.segment);
                    assert_eq!(built.0.len(), low.segment.len() + high.segment.len());
                    self.at_depth[entry.depth as usize] -= 2;
                    self.at_depth[entry.depth as usize - 1] += 1;
                    self.assign(index, entry.depth - 1, built);
                    self.release(low.segment);
                    self.release(high.segment);
                    self.halve();
                    continue;
                }
            }
            let words = words_for(entry.segment.len());
            if words < entry.segment.words() {
                let built = entry.segment.rebuilt(self.pool_of(entry.depth), words);
                self.assign(index, entry.depth, built);
                self.release(entry.segment);
                self.compact(hash_of);
            }
            return;
        }
    }

    /// Halves the directory while it is at least four times as fine as its segments (two times for the
    /// smallest), so that a segment that splits and merges does not double and halve it each time.
    fn halve(&mut self) {
        while self.depth > 0
            && self.at_depth[self.depth as usize] == 0
            && (self.depth == 1 || self.at_depth[self.depth as usize - 1] == 0)
        {
            self.entries = self.entries.iter().copied().step_by(2).collect();
            self.depth -= 1;
        }
    }

    /// Names a new segment in all entries of the run of `depth` that contains `index`.
    fn assign(&mut self, index: usize, depth: u8, (segment, homes): (Segment, u32)) {
        let entry = DirEntry { segment, homes, depth };
        let run = self.run(&entry);
        let start = index & !(run - 1);
        self.entries[start..start + run].fill(entry);
        if !segment.is_pooled() {
            self.unpooled_bytes += segment.heap_bytes();
        }
    }

    /// Frees a segment whose records moved to another and whose run was overwritten.
    fn release(&mut self, segment: Segment) {
        if !segment.is_pooled() {
            self.unpooled_bytes -= segment.heap_bytes();
        }
        // SAFETY: callers have overwritten all entries that named it.
        unsafe { segment.free(&mut self.pool) }
    }

    /// Takes all segments away, leaving a new directory.
    pub(super) fn take(&mut self, keys: usize) -> Remains {
        let remains = self.remains(keys);
        *self = Directory::new(self.top_words);
        remains
    }

    /// Moves out what has to be freed.
    fn remains(&mut self, keys: usize) -> Remains {
        let pool = std::mem::replace(&mut self.pool, Pool::new());
        Remains {
            entries: std::mem::take(&mut self.entries),
            depth: self.depth,
            next: 0,
            slot: 0,
            keys,
            pool,
        }
    }

    /// Calls `f` once for each segment.
    #[cfg(test)]
    pub(super) fn for_each(&self, mut f: impl FnMut(usize, &DirEntry)) {
        let mut index = 0;
        while index < self.entries.len() {
            f(index, &self.entries[index]);
            index += self.run(&self.entries[index]);
        }
    }

    /// Panics when an invariant of the directory does not hold.
    #[cfg(test)]
    pub(super) fn check(&self) {
        use super::pool::UNIT_WORDS;
        assert_eq!(self.entries.len(), 1 << self.depth);
        let (mut at_depth, mut bytes, mut units) = ([0; DEPTH_MAX as usize + 1], 0, 0);
        self.for_each(|index, entry| {
            let run = self.run(entry);
            assert_eq!(index & (run - 1), 0, "runs are aligned");
            for other in &self.entries[index..index + run] {
                assert_eq!(
                    (other.segment, other.homes, other.depth),
                    (entry.segment, entry.homes, entry.depth)
                );
            }
            at_depth[entry.depth as usize] += 1;
            if entry.segment.is_pooled() {
                units += entry.segment.words() / UNIT_WORDS;
            } else {
                bytes += entry.segment.heap_bytes();
            }
        });
        assert_eq!(at_depth, self.at_depth);
        assert_eq!(bytes, self.unpooled_bytes);
        assert_eq!(units, self.pool.check());
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(self.remains(0));
    }
}

/// What is left of a table that was emptied: freed in steps, or all at once when dropped.
#[derive(Debug)]
pub struct Remains {
    entries: Vec<DirEntry>,
    depth: u8,
    /// First entry whose segment is not freed yet.
    next: usize,
    /// The slot of that segment from which on records are not freed yet.
    slot: usize,
    /// Keys that are not freed yet.
    keys: usize,
    pool: Pool,
}

impl Remains {
    /// Keys that are not freed yet.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// Frees about so many blocks of memory: a key is one, and its collection as many as are freed with it. True when
    /// nothing is left.
    pub fn free_some(&mut self, blocks: usize) -> bool {
        let mut left = blocks.max(1);
        while let Some(entry) = self.entries.get(self.next).copied() {
            // SAFETY: the records before `slot` are passed for good, the segment with them once all are, and nothing else names them.
            unsafe {
                self.slot = entry.segment.free_records(self.slot, &mut left, &mut self.keys);
                if self.slot < entry.segment.slots() {
                    return false;
                }
                self.next += 1 << (self.depth - entry.depth);
                self.slot = 0;
                entry.segment.free(&mut self.pool);
            }
            // A segment is work even when nothing is in it.
            left = left.saturating_sub(1);
            if left == 0 {
                break;
            }
        }
        self.next >= self.entries.len()
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        while !self.free_some(usize::MAX) {}
    }
}

const _: () = assert!(DEPTH_MAX as u32 + 16 <= 48);

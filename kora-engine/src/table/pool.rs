//! Memory of segments: runs of 512-byte units out of chunks of 64 KiB.
//!
//! Segments live in a narrow band of sizes and each moves through all of them as it grows. An allocator with pages
//! per size class then keeps pages of every class partly empty (measured with mimalloc: 3.5 bytes per key, a third of
//! the slots), and offers sizes 14 to 25 % apart, so that segments are a tenth emptier than they need to be. Here all
//! sizes share the chunks, and sizes are 512 bytes apart.
//!
//! A chunk's units are the bits of a `u128`. Chunks are listed by their longest free run (up to [`RUN_MAX`]), and a
//! run comes from the chunk where it fits most tightly, so that the emptiest chunks become empty and go back to the
//! allocator.
//!
//! Growth leaves holes of sizes that nobody asks for any more. So when more than a twentieth is not in use, the owner moves some
//! segments per rebuild: [`Pool::victim`] empties one loosely filled chunk after the other. All operations are constant time.
//!
//! # Invariants (unsafe code below relies on them)
//! - A chunk with `base` set is a live allocation of `CHUNK_BYTES`; bits set in `used` are units handed out.
//! - A run is given back once, with the length it was taken with.

use std::alloc::{alloc, dealloc, handle_alloc_error, Layout};
use std::ptr::NonNull;

/// Words in a unit.
pub(super) const UNIT_WORDS: usize = 64;
/// Longest run in units.
pub(super) const RUN_MAX: usize = 16;

const UNIT_BYTES: usize = UNIT_WORDS * size_of::<u64>();
const CHUNK_UNITS: usize = u128::BITS as usize;
const CHUNK_BYTES: usize = CHUNK_UNITS * UNIT_BYTES;
/// Segments are moved while more than one unit in this many is not in use.
const SLACK_FRACTION: usize = 20;
/// Chunks looked at to find a loosely filled one.
const LOOKS: usize = 16;
/// Fuller chunks are left alone: emptying one would free little per byte moved.
const WORTH_EMPTYING_UNITS: usize = CHUNK_UNITS * 15 / 16;
const CHUNK_ALIGN: usize = 64;
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Chunk {
    /// `None` while this place in the list of chunks is free.
    base: Option<NonNull<u8>>,
    used: u128,
    /// First units of the runs in use.
    starts: u128,
    /// Neighbours in the list of chunks of the same longest free run.
    prev: u32,
    next: u32,
}

/// Chunks of one table.
#[derive(Debug)]
pub(super) struct Pool {
    chunks: Vec<Chunk>,
    /// Places in `chunks` without memory.
    vacant: Vec<u32>,
    /// First chunk by longest free run; chunks that are full are in none.
    by_run: [u32; RUN_MAX + 1],
    live_chunks: usize,
    used_units: usize,
    /// The chunk that is being emptied: in no list, so that nothing new comes from it.
    emptied: u32,
}

// SAFETY: the pool owns its chunks.
unsafe impl Send for Pool {}
// SAFETY: shared access only reads numbers.
unsafe impl Sync for Pool {}

fn layout() -> Layout {
    Layout::from_size_align(CHUNK_BYTES, CHUNK_ALIGN).expect("the alignment is a power of two")
}

/// Length of the longest free run, at most `RUN_MAX`.
fn longest_free(used: u128) -> usize {
    let (mut free, mut run) = (!used, 0);
    while free != 0 && run < RUN_MAX {
        free &= free >> 1;
        run += 1;
    }
    run
}

fn mask(start: usize, units: usize) -> u128 {
    ((1u128 << units) - 1) << start
}

impl Pool {
    pub(super) fn new() -> Pool {
        Pool {
            chunks: Vec::new(),
            vacant: Vec::new(),
            by_run: [NONE; RUN_MAX + 1],
            live_chunks: 0,
            used_units: 0,
            emptied: NONE,
        }
    }

    /// Bytes of all chunks.
    pub(super) fn bytes(&self) -> usize {
        self.live_chunks * CHUNK_BYTES
    }

    /// Memory of `units` units, not initialised, aligned to 64 bytes, and the chunk to name when it is given back.
    pub(super) fn allocate(&mut self, units: usize) -> (NonNull<u64>, u32) {
        assert!((1..=RUN_MAX).contains(&units));
        let id = match self.by_run[units..].iter().find(|&&id| id != NONE) {
            Some(&id) => id,
            None => self.add_chunk(),
        };
        let used = self.chunks[id as usize].used;
        let mut starts = !used;
        for _ in 1..units {
            starts &= starts >> 1;
        }
        let start = starts.trailing_zeros() as usize;
        assert!(start + units <= CHUNK_UNITS, "the chunk has a free run of this length");
        self.set_used(id, used | mask(start, units));
        self.chunks[id as usize].starts |= 1 << start;
        self.used_units += units;
        let base = self.chunks[id as usize].base.expect("a listed chunk has memory");
        // SAFETY: the run is within the chunk.
        (unsafe { base.add(start * UNIT_BYTES) }.cast(), id)
    }

    /// Takes a run back.
    ///
    /// # Safety
    /// `run` and `id` come from `allocate` with the same number of units, and the memory is not used again.
    pub(super) unsafe fn free(&mut self, run: NonNull<u64>, id: u32, units: usize) {
        let chunk = &self.chunks[id as usize];
        let base = chunk.base.expect("a chunk with a run in use has memory");
        let start = (run.as_ptr().addr() - base.as_ptr().addr()) / UNIT_BYTES;
        let mask = mask(start, units);
        assert_eq!(chunk.used & mask, mask, "the run is in use");
        let used = chunk.used & !mask;
        self.set_used(id, used);
        self.chunks[id as usize].starts &= !(1 << start);
        self.used_units -= units;
        if used == 0 {
            if self.emptied == id {
                self.emptied = NONE;
            } else {
                self.unlink(id, RUN_MAX);
            }
            self.chunks[id as usize].base = None;
            self.vacant.push(id);
            self.live_chunks -= 1;
            // SAFETY: the chunk was allocated with this layout and no unit of it is in use.
            unsafe { dealloc(base.as_ptr(), layout()) }
        }
    }

    fn add_chunk(&mut self) -> u32 {
        // SAFETY: the size is not zero.
        let base = unsafe { alloc(layout()) };
        let Some(base) = NonNull::new(base) else { handle_alloc_error(layout()) };
        let chunk = Chunk { base: Some(base), used: 0, starts: 0, prev: NONE, next: NONE };
        let id = match self.vacant.pop() {
            Some(id) => {
                self.chunks[id as usize] = chunk;
                id
            }
            None => {
                self.chunks.push(chunk);
                u32::try_from(self.chunks.len() - 1).expect("less than 2^32 chunks of 64 KiB")
            }
        };
        self.live_chunks += 1;
        self.link(id, RUN_MAX);
        id
    }

    fn set_used(&mut self, id: u32, used: u128) {
        let before = longest_free(self.chunks[id as usize].used);
        self.chunks[id as usize].used = used;
        let after = longest_free(used);
        if before != after && id != self.emptied {
            self.unlink(id, before);
            self.link(id, after);
        }
    }

    /// A run that its owner should move, to `allocate` anew and then `free`, when the chunks are loosely filled.
    pub(super) fn victim(&mut self) -> Option<NonNull<u64>> {
        if self.live_chunks * CHUNK_UNITS <= self.used_units + self.used_units / SLACK_FRACTION + CHUNK_UNITS
        {
            return None;
        }
        if self.emptied == NONE {
            let id = self.loosest()?;
            self.unlink(id, longest_free(self.chunks[id as usize].used));
            self.emptied = id;
        }
        let chunk = &self.chunks[self.emptied as usize];
        let start = chunk.starts.trailing_zeros() as usize;
        let base = chunk.base.expect("a chunk that is being emptied has memory");
        // SAFETY: a chunk with no run in use is freed at once, so the index is that of a unit.
        Some(unsafe { base.add(start * UNIT_BYTES) }.cast())
    }

    /// Among some chunks with long free runs, the one with the fewest units in use.
    fn loosest(&self) -> Option<u32> {
        let mut loosest = None;
        let mut looks = LOOKS;
        for &first in self.by_run.iter().rev() {
            let mut id = first;
            while id != NONE && looks > 0 {
                let used = self.chunks[id as usize].used.count_ones();
                if loosest.is_none_or(|(least, _)| used < least) {
                    loosest = Some((used, id));
                }
                id = self.chunks[id as usize].next;
                looks -= 1;
            }
        }
        loosest.filter(|&(used, _)| (used as usize) < WORTH_EMPTYING_UNITS).map(|(_, id)| id)
    }

    fn link(&mut self, id: u32, run: usize) {
        if run == 0 {
            return;
        }
        let next = std::mem::replace(&mut self.by_run[run], id);
        self.chunks[id as usize].prev = NONE;
        self.chunks[id as usize].next = next;
        if next != NONE {
            self.chunks[next as usize].prev = id;
        }
    }

    fn unlink(&mut self, id: u32, run: usize) {
        if run == 0 {
            return;
        }
        let (prev, next) = (self.chunks[id as usize].prev, self.chunks[id as usize].next);
        match prev {
            NONE => self.by_run[run] = next,
            prev => self.chunks[prev as usize].next = next,
        }
        if next != NONE {
            self.chunks[next as usize].prev = prev;
        }
    }

    /// Units in use; panics when the lists disagree with the chunks.
    #[cfg(test)]
    pub(super) fn check(&self) -> usize {
        let mut listed = 0;
        for (run, &first) in self.by_run.iter().enumerate() {
            let (mut id, mut prev) = (first, NONE);
            while id != NONE {
                let chunk = &self.chunks[id as usize];
                assert!(chunk.base.is_some());
                assert_eq!((chunk.prev, longest_free(chunk.used)), (prev, run));
                listed += 1;
                (prev, id) = (id, chunk.next);
            }
        }
        let live: Vec<_> = self.chunks.iter().filter(|chunk| chunk.base.is_some()).collect();
        assert_eq!(live.len(), self.live_chunks);
        assert_eq!(self.chunks.len(), live.len() + self.vacant.len());
        let emptied = self.chunks.get(self.emptied as usize);
        let unlisted = usize::from(emptied.is_some_and(|chunk| longest_free(chunk.used) > 0));
        assert_eq!(listed + unlisted, live.iter().filter(|chunk| longest_free(chunk.used) > 0).count());
        let used: usize = live.iter().map(|chunk| chunk.used.count_ones() as usize).sum();
        assert_eq!(used, self.used_units);
        used
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for base in self.chunks.iter().filter_map(|chunk| chunk.base) {
            // SAFETY: the owner of the pool frees or forgets its segments before it drops the pool.
            unsafe { dealloc(base.as_ptr(), layout()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_do_not_overlap_and_empty_chunks_go_back() {
        let mut pool = Pool::new();
        let mut held: Vec<(NonNull<u64>, u32, usize)> = Vec::new();
        let mut state = 1u64;
        let steps = if cfg!(miri) { 300 } else { 20_000 };
        for step in 0..steps {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let number = (state >> 33) as usize;
            // Grows for the first half, shrinks for the second.
            if held.is_empty() || number % 10 < if step < steps / 2 { 7 } else { 3 } {
                let units = 1 + number / 16 % RUN_MAX;
                let (run, id) = pool.allocate(units);
                assert_eq!(run.as_ptr().addr() % CHUNK_ALIGN, 0);
                let range = run.as_ptr().addr()..run.as_ptr().addr() + units * UNIT_BYTES;
                if step % 50 == 0 {
                    for (other, _, others) in &held {
                        let start = other.as_ptr().addr();
                        assert!(start >= range.end || start + others * UNIT_BYTES <= range.start);
                    }
                }
                held.push((run, id, units));
            } else {
                let (run, id, units) = held.swap_remove(number / 16 % held.len());
                // SAFETY: taken above and given back once.
                unsafe { pool.free(run, id, units) };
            }
            if step % 100 == 0 {
                assert_eq!(pool.check(), held.iter().map(|(_, _, units)| units).sum::<usize>());
            }
        }
        for (run, id, units) in held {
            // SAFETY: taken above and given back once.
            unsafe { pool.free(run, id, units) };
        }
        assert_eq!((pool.check(), pool.bytes()), (0, 0));
    }
}

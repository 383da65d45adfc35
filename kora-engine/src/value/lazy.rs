//! Freeing large values in slices.
//!
//! A million members take tens of milliseconds to free, and a collection can go away in many places: DEL, SET over it, RENAME,
//! expiry, eviction, FLUSHALL. So whoever drops the collection of a record gives it here. A small one is freed at
//! once, unless many were since the last slice; others wait in a queue of their thread, which
//! [`crate::shard::Shard::background`] frees in slices. The queue holds memory only: nothing in it can be read any more, so
//! it is no part of a shard's state.
//!
//! Work is counted in *blocks*: a packed collection is one, a table has one for each element.
//!
//! Slices grow with what waits. Where more is thrown away than the slices can free, the queue ends: from [`PENDING_MAX`] on
//! the thrower frees at once, because memory must not grow without bound.

use super::Object;
use std::cell::RefCell;
use std::collections::VecDeque;

/// Blocks up to which a collection is freed at once; Redis's threshold.
pub(crate) const FREE_AT_ONCE_MAX: usize = 64;

/// Blocks of small collections that are freed at once between two slices: some 200 us of work. Others wait.
const AT_ONCE_BETWEEN_SLICES: usize = 4096;

/// A slice frees so much of what waits when that is more than it was asked for.
const SLICE_FRACTION: usize = 256;

/// The largest slice, blocks: about a millisecond.
const SLICE_MAX: usize = 16 * 1024;

/// Blocks that may wait; a gigabyte or so.
const PENDING_MAX: usize = 16 << 20;

/// An object that waits.
struct Waiting {
    object: Object,
    blocks: usize,
    /// What is left of it, bytes, if all blocks are alike.
    bytes: usize,
}

/// What waits to be freed by one thread.
struct Queue {
    objects: VecDeque<Waiting>,
    /// Blocks of all of them; those of the first count until all of it is gone.
    pending: usize,
    /// Bytes of all of them that are not freed yet, about.
    bytes: usize,
    /// Blocks of small collections freed at once since the last slice.
    at_once: usize,
    /// How many objects have been freed in slices.
    freed: u64,
}

thread_local! {
    static QUEUE: RefCell<Queue> = const {
        RefCell::new(Queue { objects: VecDeque::new(), pending: 0, bytes: 0, at_once: 0, freed: 0 })
    };
}

/// Drops an object, now or later.
pub(crate) fn discard(object: Object) {
    let blocks = object.blocks();
    // At the end of a thread there is no queue any more, and nobody whom a long free could hold up: the object is dropped here.
    let _ = QUEUE.try_with(move |queue| {
        // A collection that is freed may drop others' records; none of those holds a collection again.
        let Ok(mut queue) = queue.try_borrow_mut() else { return };
        if blocks <= FREE_AT_ONCE_MAX && queue.at_once + blocks <= AT_ONCE_BETWEEN_SLICES {
            queue.at_once += blocks;
            drop(queue);
            drop(object);
        } else if queue.pending + blocks <= PENDING_MAX {
            let bytes = object.memory();
            queue.pending += blocks;
            queue.bytes += bytes;
            queue.objects.push_back(Waiting { object, blocks, bytes });
        }
    });
}

/// Frees about so many blocks of what waits, more when much waits; returns whether more is left.
pub(crate) fn free_some(blocks: usize) -> bool {
    QUEUE.with(|queue| {
        let mut queue = queue.borrow_mut();
        queue.at_once = 0;
        let mut left = blocks.max(queue.pending / SLICE_FRACTION).min(SLICE_MAX);
        while left > 0 {
            let Some(Waiting { object, blocks, bytes }) = queue.objects.front_mut() else { return false };
            let blocks = *blocks;
            if !object.free_some(left) {
                let freed = (*bytes / blocks.max(1)).saturating_mul(left).min(*bytes);
                *bytes -= freed;
                queue.bytes -= freed;
                return true;
            }
            queue.bytes -= *bytes;
            queue.objects.pop_front();
            queue.freed += 1;
            queue.pending -= blocks;
            left = left.saturating_sub(blocks);
        }
        !queue.objects.is_empty()
    })
}

/// Bytes of this thread that are still to be freed, about.
pub fn bytes() -> usize {
    QUEUE.with_borrow(|queue| queue.bytes)
}

/// Whether something of this thread waits to be freed.
#[inline]
pub(crate) fn is_pending() -> bool {
    QUEUE.with_borrow(|queue| !queue.objects.is_empty())
}

/// Objects of this thread that wait to be freed, and how many have been.
pub(crate) fn counts() -> (usize, u64) {
    QUEUE.with_borrow(|queue| (queue.objects.len(), queue.freed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::EncodingLimits;
    use crate::value::hash::{FieldExpiry, Hash};
    use crate::value::item::Item;
    use crate::value::Collection;

    /// A hash of so many fields in a table.
    fn hash(fields: i64) -> Object {
        let limits = EncodingLimits { hash_max_listpack_entries: 0, ..EncodingLimits::default() };
        let mut hash = Hash::new(1);
        for field in 0..fields {
            let name = format!("field:{field}");
            hash.set(name.as_bytes(), Item::Int(field), FieldExpiry::Keep, &limits, 1);
        }
        hash.into_object()
    }

    /// Slices of so many blocks until nothing waits.
    fn slices(blocks: usize) -> usize {
        let mut slices = 1;
        while free_some(blocks) {
            slices += 1;
        }
        slices
    }

    #[test]
    fn large_ones_wait_and_are_freed_in_slices() {
        slices(1);
        let (_, freed) = counts();
        discard(hash(50));
        assert!(!is_pending(), "a small one is freed at once");
        discard(hash(20_000));
        discard(hash(100));
        assert_eq!(counts(), (2, freed));
        let slices = slices(1000);
        assert!((20..40).contains(&slices), "{slices}");
        assert_eq!(counts(), (0, freed + 2));
    }

    #[test]
    fn many_small_ones_wait_too() {
        slices(1);
        for _ in 0..1000 {
            discard(hash(50));
        }
        let (waiting, _) = counts();
        assert_eq!(waiting, 1000 - AT_ONCE_BETWEEN_SLICES / 50);
        let slices = slices(2048);
        assert!((1000 * 50 / 2048 - 4..1000 * 50 / 2048 + 4).contains(&slices), "{slices}");
        discard(hash(50));
        assert!(!is_pending(), "after a slice small ones are freed at once again");
    }

    #[test]
    fn slices_grow_with_what_waits() {
        slices(1);
        for _ in 0..40 {
            discard(hash(20_000));
        }
        let small = slices(1);
        assert!(small < 40 * 20_000 / 100, "{small}");
    }
}

//! Freeing large collections in slices.
//!
//! A million members take tens of milliseconds to free, and a collection can go away in many places: DEL, SET over it, RENAME,
//! expiry, eviction, FLUSHALL. So whoever drops the collection of a record gives it here. A small one is freed at
//! once; a large one waits in a queue of its thread, which [`crate::shard::Shard::background`] frees in slices. The queue
//! holds memory only: nothing in it can be read any more, so it is no part of a shard's state.

use super::Object;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// Elements up to which a collection is freed at once; Redis's threshold.
const FREE_AT_ONCE_MAX: usize = 64;

/// An object that waits.
struct Waiting {
    object: Object,
    /// What is left of it, bytes, if all elements are alike.
    bytes: usize,
    bytes_per_element: usize,
}

thread_local! {
    static QUEUE: RefCell<VecDeque<Waiting>> = const { RefCell::new(VecDeque::new()) };
    static FREED: Cell<u64> = const { Cell::new(0) };
    /// The sum of the bytes of what waits.
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

/// Drops an object, now or later.
pub(crate) fn discard(object: Object) {
    let elements = object.weight();
    if elements <= FREE_AT_ONCE_MAX {
        return;
    }
    let bytes = object.memory();
    let mut waiting = Some(Waiting { object, bytes, bytes_per_element: bytes / elements });
    // At the end of a thread there is no queue any more, and nobody whom a long free could hold up.
    if QUEUE.try_with(|queue| queue.borrow_mut().extend(waiting.take())).is_ok() {
        BYTES.set(BYTES.get() + bytes);
    }
}

/// Frees about this many elements of what waits; returns whether more is left.
pub(crate) fn free_some(elements: usize) -> bool {
    QUEUE.with(|queue| {
        let mut queue = queue.borrow_mut();
        let Some(waiting) = queue.front_mut() else { return false };
        let done = waiting.object.free_some(elements);
        let freed = match done {
            true => waiting.bytes,
            false => waiting.bytes.min(elements.saturating_mul(waiting.bytes_per_element)),
        };
        waiting.bytes -= freed;
        BYTES.set(BYTES.get() - freed);
        if done {
            queue.pop_front();
            FREED.with(|freed| freed.set(freed.get() + 1));
        }
        !queue.is_empty()
    })
}

/// Bytes of this thread that are still to be freed, about.
pub fn bytes() -> usize {
    BYTES.get()
}

/// Objects of this thread that wait to be freed, and how many have been.
pub fn counts() -> (usize, u64) {
    (QUEUE.with(|queue| queue.borrow().len()), FREED.with(Cell::get))
}

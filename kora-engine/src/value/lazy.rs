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

thread_local! {
    static QUEUE: RefCell<VecDeque<Object>> = const { RefCell::new(VecDeque::new()) };
    static FREED: Cell<u64> = const { Cell::new(0) };
}

/// Drops an object, now or later.
pub(crate) fn discard(object: Object) {
    if object.weight() <= FREE_AT_ONCE_MAX {
        return;
    }
    let mut object = Some(object);
    // At the end of a thread there is no queue any more, and nobody whom a long free could hold up.
    let _ = QUEUE.try_with(|queue| queue.borrow_mut().extend(object.take()));
}

/// Frees about this many elements of what waits; returns whether more is left.
pub(crate) fn free_some(elements: usize) -> bool {
    QUEUE.with(|queue| {
        let mut queue = queue.borrow_mut();
        let Some(object) = queue.front_mut() else { return false };
        if object.free_some(elements) {
            queue.pop_front();
            FREED.with(|freed| freed.set(freed.get() + 1));
        }
        !queue.is_empty()
    })
}

/// Objects of this thread that wait to be freed, and how many have been.
pub fn counts() -> (usize, u64) {
    (QUEUE.with(|queue| queue.borrow().len()), FREED.with(Cell::get))
}

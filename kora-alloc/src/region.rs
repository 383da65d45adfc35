//! Large blocks: mappings of their own.
//!
//! mimalloc clears a large block by writing to all of it, grows one by copying, and gives one back in one call of the system, which
//! for half a gigabyte takes tens of milliseconds. A mapping of its own
//!
//! - is zero without being touched: a bit at the far end of a new string takes a page;
//! - grows by moving page tables (`mremap`), whatever its length;
//! - goes back in parts of [`PART`], one for each call of [`release_some`], on threads that call it: so an executor that drops a
//!   large string, or cuts one off, does not stand still. Other threads give it back at once.
//!
//! What waits to go back is a list of the thread, linked through the blocks themselves. A thread that ends gives back all of it.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Blocks from this size on are mappings. Smaller ones can be cleared and copied in less than a millisecond, and are reused without a
/// page fault for every page.
pub(crate) const MIN: usize = 4 << 20;

/// What a call of [`release_some`] gives back: a thousand pages, some 200 us.
const PART: usize = 4 << 20;

/// While so many bytes of a thread wait to go back, blocks that it frees go back at once.
const WAITING_MAX: usize = 512 << 20;

/// The largest page that the system can have: mappings are cut off at its multiples only.
const PAGE: usize = if cfg!(target_arch = "x86_64") { 4096 } else { 64 << 10 };

/// Widest alignment of a mapping: the smallest page that a system has.
pub(crate) const ALIGN_MAX: usize = 4096;

/// Bytes of all mappings, those that wait to go back included.
static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// A block that waits to go back: its first bytes.
struct Waiting {
    next: *mut Waiting,
    len: usize,
}

thread_local! {
    /// Without destructors, so that they can be used at any time in the life of a thread.
    static FIRST: Cell<*mut Waiting> = const { Cell::new(ptr::null_mut()) };
    static WAITING: Cell<usize> = const { Cell::new(0) };
    /// This thread calls `release_some`, and has not ended.
    static RELEASES: Cell<bool> = const { Cell::new(false) };
    /// With a destructor, which gives back what waits when the thread ends.
    static END: End = const { End };
}

struct End;

impl Drop for End {
    fn drop(&mut self) {
        // What is freed from now on goes back at once.
        RELEASES.set(false);
        while release_part() {}
    }
}

/// Bytes of all mappings of the process.
pub(crate) fn mapped() -> usize {
    MAPPED.load(Ordering::Relaxed)
}

/// Bytes that a block of this size takes.
pub(crate) fn rounded(size: usize) -> usize {
    size.saturating_add(PAGE - 1) & !(PAGE - 1)
}

/// A new block, zero; null when the system has no memory.
pub(crate) fn map(size: usize) -> *mut u8 {
    let len = rounded(size);
    // SAFETY: a new private mapping at a place that the system chooses.
    let block = unsafe {
        libc::mmap(
            ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if block == libc::MAP_FAILED {
        return ptr::null_mut();
    }
    MAPPED.fetch_add(len, Ordering::Relaxed);
    block.cast()
}

/// Resizes a block, which may move; null, and the block as it was, when the system has no memory.
///
/// # Safety
/// `block` is a block of this size from [`map`] or [`resize`] and is used under its new address only from now on.
pub(crate) unsafe fn resize(block: *mut u8, size: usize, new_size: usize) -> *mut u8 {
    let (len, new_len) = (rounded(size), rounded(new_size));
    if new_len < len {
        // SAFETY: by the caller; the end is whole pages, which nobody uses any more.
        unsafe { unmap(block.add(new_len), len - new_len) };
        return block;
    }
    // SAFETY: by the caller; a mapping that moves is nobody else's.
    let moved = unsafe { libc::mremap(block.cast(), len, new_len, libc::MREMAP_MAYMOVE) };
    if moved == libc::MAP_FAILED {
        return ptr::null_mut();
    }
    MAPPED.fetch_add(new_len, Ordering::Relaxed);
    MAPPED.fetch_sub(len, Ordering::Relaxed);
    moved.cast()
}

/// Gives a block back, or the end of one, now or in parts.
///
/// # Safety
/// `block` is a block of this size from [`map`] or [`resize`], or whole pages at the end of one, and is not used again.
pub(crate) unsafe fn unmap(block: *mut u8, size: usize) {
    let len = rounded(size);
    if len <= PART || !RELEASES.get() || WAITING.get() >= WAITING_MAX {
        // SAFETY: by the caller.
        return unsafe { unmap_now(block, len) };
    }
    let waiting = block.cast::<Waiting>();
    // SAFETY: a mapping is aligned to pages and longer than this, and nobody uses it any more.
    unsafe { waiting.write(Waiting { next: FIRST.get(), len }) };
    FIRST.set(waiting);
    WAITING.set(WAITING.get() + len);
}

/// # Safety
/// The bytes are whole pages of a mapping, at its end or all of it, and are not used again.
unsafe fn unmap_now(start: *mut u8, len: usize) {
    // SAFETY: by the caller.
    let failed = unsafe { libc::munmap(start.cast(), len) } != 0;
    // It fails when a mapping is split and the process has too many: these are only shortened.
    debug_assert!(!failed, "a mapping is given back");
    MAPPED.fetch_sub(len, Ordering::Relaxed);
}

/// Gives back a part of what this thread has freed; whether more waits. From the first call on, large blocks that this thread frees
/// go back so.
pub fn release_some() -> bool {
    if !RELEASES.get() {
        // In its last moments a thread frees nothing in parts.
        RELEASES.set(END.try_with(|_| ()).is_ok());
    }
    release_part()
}

fn release_part() -> bool {
    let first = FIRST.get();
    if first.is_null() {
        return false;
    }
    // SAFETY: the list holds blocks that were given to `unmap` and are still mapped; each is in it once.
    unsafe {
        let Waiting { next, len } = first.read();
        if len <= PART {
            FIRST.set(next);
            unmap_now(first.cast(), len);
            WAITING.set(WAITING.get() - len);
        } else {
            (*first).len = len - PART;
            unmap_now(first.cast::<u8>().add(len - PART), PART);
            WAITING.set(WAITING.get() - PART);
        }
    }
    !FIRST.get().is_null()
}

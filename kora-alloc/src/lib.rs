//! The global allocator: mimalloc, which also says how many bytes are allocated.
//!
//! ```text
//! alloc    mi_umalloc(size, &mut usable)    counter of this thread += usable
//! dealloc  mi_ufree(ptr, &mut usable)       counter of this thread -= usable
//! ```
//!
//! **Usable sizes.** mimalloc has the size of a block in the page header that it touches anyway, so telling it costs a load and a
//! store. The counter is a thread-local word without a destructor: one `add` to an address relative to `fs`. No atomics, no branch.
//! The calls without an alignment, which suffice for all that Rust asks for but for wider vectors, save more instructions than the counting
//! takes (`bench/instructions.sh` has the figures).
//!
//! **A thread's counter can be negative**, when others free what it has not allocated and the other way round: only the sum over all threads
//! means something. Whoever wants the sum has each long-lived thread publish its own ([`thread_bytes`]); what threads leave behind that end or
//! never publish is missing in it (here: the main thread, which allocates the configuration and then waits).
//!
//! **Large blocks** are mappings of their own ([`region`]): zero without being touched, grown without a copy, given back in parts.
//!
//! The figure is what the program holds, rounded up to size classes. What mimalloc holds beside it (free blocks in pages, free pages that are not
//! given back yet) is in the resident set size only.

mod region;
#[cfg(test)]
mod tests;

pub use region::release_some;

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::{c_long, c_void};

use libmimalloc_sys as mi;

extern "C" {
    // Version 2.2 of mimalloc has these; the crate of bindings does not name them.
    fn mi_umalloc(size: usize, block_size: *mut usize) -> *mut c_void;
    fn mi_ucalloc(count: usize, size: usize, block_size: *mut usize) -> *mut c_void;
    fn mi_umalloc_aligned(size: usize, alignment: usize, block_size: *mut usize) -> *mut c_void;
    fn mi_uzalloc_aligned(size: usize, alignment: usize, block_size: *mut usize) -> *mut c_void;
    fn mi_urealloc(p: *mut c_void, size: usize, before: *mut usize, after: *mut usize) -> *mut c_void;
    fn mi_ufree(p: *mut c_void, block_size: *mut usize);
}

/// Alignment that every block has which is at least as large (`MI_MAX_ALIGN_SIZE`).
const NATURAL_ALIGN: usize = 16;

/// Name of the allocator, as INFO prints it.
pub const NAME: &str = "mimalloc";

thread_local! {
    /// Bytes that this thread has allocated minus those that it has freed. Without a destructor, so that it can be used at any time in the life
    /// of a thread and its address is a constant.
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

/// Bytes that the calling thread has allocated minus those that it has freed, in sizes of blocks. Zero for ever when another
/// allocator is the global one.
#[inline]
pub fn thread_bytes() -> isize {
    BYTES.get()
}

#[inline(always)]
fn count(bytes: isize) {
    // Never panics: there is no destructor after which the cell would be gone.
    BYTES.set(BYTES.get().wrapping_add(bytes));
}

/// mimalloc, counting.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allocator;

/// Whether a block is a mapping of its own. Its layout alone decides.
#[inline(always)]
fn is_region(layout: &Layout) -> bool {
    layout.size() >= region::MIN && layout.align() <= region::ALIGN_MAX
}

#[cold]
#[inline(never)]
fn map(size: usize) -> *mut u8 {
    let block = region::map(size);
    if !block.is_null() {
        count(region::rounded(size) as isize);
    }
    block
}

/// # Safety
/// `block` is a mapping of this size and is not used again.
#[cold]
#[inline(never)]
unsafe fn unmap(block: *mut u8, size: usize) {
    // SAFETY: by the caller.
    unsafe { region::unmap(block, size) };
    count(-(region::rounded(size) as isize));
}

/// Resizing of a block that is a mapping, or is to be one.
///
/// # Safety
/// As for `realloc`.
#[cold]
#[inline(never)]
unsafe fn resize_region(block: *mut u8, old: Layout, new: Layout) -> *mut u8 {
    if !(is_region(&old) && is_region(&new)) {
        // SAFETY: by the caller.
        return unsafe { move_to(block, old, new) };
    }
    // SAFETY: by the caller.
    let moved = unsafe { region::resize(block, old.size(), new.size()) };
    if !moved.is_null() {
        count(region::rounded(new.size()) as isize - region::rounded(old.size()) as isize);
    }
    moved
}

#[inline(always)]
fn is_natural(layout: &Layout) -> bool {
    layout.align() <= NATURAL_ALIGN && layout.align() <= layout.size()
}

// SAFETY: mimalloc gives blocks of at least the size asked for. Blocks of at least 16 bytes are aligned to 16, smaller ones to 8, and a request
// with a wider alignment than its size or than 16 goes to the aligned calls. A block is freed or resized by the calls that belong to the same allocator.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_region(&layout) {
            return map(layout.size());
        }
        let mut usable = 0;
        // SAFETY: a valid place for the result, which is written when there is a block; the alignment is a power of two.
        let block = unsafe {
            if is_natural(&layout) {
                mi_umalloc(layout.size(), &mut usable)
            } else {
                mi_umalloc_aligned(layout.size(), layout.align(), &mut usable)
            }
        };
        count(usable as isize);
        block.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_region(&layout) {
            return map(layout.size());
        }
        let mut usable = 0;
        // SAFETY: as in `alloc`.
        let block = unsafe {
            if is_natural(&layout) {
                mi_ucalloc(1, layout.size(), &mut usable)
            } else {
                mi_uzalloc_aligned(layout.size(), layout.align(), &mut usable)
            }
        };
        count(usable as isize);
        block.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if is_region(&layout) {
            // SAFETY: by the caller, a block of this layout, which is a mapping.
            return unsafe { unmap(ptr, layout.size()) };
        }
        let mut usable = 0;
        // SAFETY: the caller gives back a block of this allocator.
        unsafe { mi_ufree(ptr.cast(), &mut usable) };
        count(-(usable as isize));
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if layout.size().max(new_size) >= region::MIN {
            // SAFETY: by the caller; the size does not overflow when rounded up to the alignment.
            return unsafe {
                resize_region(ptr, layout, Layout::from_size_align_unchecked(new_size, layout.align()))
            };
        }
        if layout.align() > NATURAL_ALIGN || layout.align() > new_size {
            // SAFETY: the caller promises that the size does not overflow when rounded up to the alignment.
            return unsafe {
                move_to(ptr, layout, Layout::from_size_align_unchecked(new_size, layout.align()))
            };
        }
        let (mut before, mut after) = (0, 0);
        // SAFETY: the caller gives a block of this allocator; valid places for the results.
        let block = unsafe { mi_urealloc(ptr.cast(), new_size, &mut before, &mut after) };
        if !block.is_null() {
            count(after as isize - before as isize);
        }
        block.cast()
    }
}

/// Resizing of blocks that are aligned more widely than mimalloc does by itself, or that become mappings or cease to be.
#[cold]
unsafe fn move_to(ptr: *mut u8, old: Layout, new: Layout) -> *mut u8 {
    // SAFETY: by the caller of `realloc`: `ptr` is a block of this allocator and of the old layout; the new block is another one.
    unsafe {
        let block = Allocator.alloc(new);
        if !block.is_null() {
            std::ptr::copy_nonoverlapping(ptr, block, old.size().min(new.size()));
            Allocator.dealloc(ptr, old);
        }
        block
    }
}

/// Memory that mimalloc has of the system, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Committed {
    /// Now.
    pub now: u64,
    /// At most, since the start.
    pub peak: u64,
}

/// What mimalloc has of the system: in use, kept for reuse, or reserved and never touched.
pub fn committed() -> Committed {
    let (mut elapsed, mut user, mut system, mut rss, mut peak_rss) = (0, 0, 0, 0, 0);
    let (mut now, mut peak, mut faults) = (0, 0, 0);
    // SAFETY: eight valid places for the results.
    unsafe {
        mi::mi_process_info(
            &mut elapsed,
            &mut user,
            &mut system,
            &mut rss,
            &mut peak_rss,
            &mut now,
            &mut peak,
            &mut faults,
        );
    }
    let mapped = region::mapped();
    // Of the two peaks it is not known whether they were at the same time.
    Committed { now: (now + mapped) as u64, peak: peak.max(now + mapped) as u64 }
}

/// Gives free memory of the calling thread back to the system, pages that were freed a moment ago included when `at_once`.
pub fn purge(at_once: bool) {
    // SAFETY: collects the calling thread's heap; no argument has a precondition.
    unsafe { mi::mi_collect(at_once) }
}

/// `mi_option_purge_delay`, which the crate of bindings does not name: the 16th of mimalloc's options.
const PURGE_DELAY: mi::mi_option_t = 15;
/// mimalloc's own value, milliseconds.
const PURGE_DELAY_MS: c_long = 10;

/// Whether pages that become free go back to the system at once, or when they were not used again for some milliseconds.
pub fn set_prompt_purge(prompt: bool) {
    let delay = if prompt { 0 } else { PURGE_DELAY_MS };
    // SAFETY: a valid option; it is an atomic word.
    unsafe {
        if mi::mi_option_get(PURGE_DELAY) != delay {
            mi::mi_option_set(PURGE_DELAY, delay);
        }
    }
}

/// Whether the block lies in a page of which at most `percent` per cent are in use, and which is not the one that new blocks of
/// its size are taken from: moving it elsewhere helps the page to become empty. False for what lies in a mapping of its own.
///
/// # Safety
/// `block` points to or into a live block of this allocator that the calling thread has allocated.
#[inline]
pub unsafe fn is_in_sparse_page(block: *const u8, percent: u8) -> bool {
    // mimalloc reads the head of a segment below any address that it is asked about, and below a mapping there can be anything or
    // nothing. It looks first whether the address is its own only if it was built with debug information, so it is asked that here. (It
    // says no as well of the rare segments outside its arenas.)
    // SAFETY: only the address is looked at.
    if !unsafe { mi::mi_is_in_heap_region(block.cast()) } {
        return false;
    }
    // SAFETY: by the caller; no heap given means that of the block.
    unsafe {
        mi::mi_unsafe_heap_page_is_under_utilized(
            std::ptr::null_mut(),
            block.cast_mut().cast(),
            percent.into(),
        )
    }
}

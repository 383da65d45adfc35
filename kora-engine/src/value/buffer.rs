//! A growable byte string in one 8-byte handle.
//!
//! ```text
//! handle -> | length u32 | capacity u32 | bytes ... |
//! ```
//!
//! What a `Vec<u8>` keeps beside its pointer lies in the allocation, so that a packed collection costs a record one word
//! and one allocation. It grows to the next size class of the allocator and no further: packed values are
//! short, they are many, and a reallocation within a size class is free.
//!
//! # Invariants (the unsafe code below relies on them)
//! - The handle points to a live allocation of `layout(capacity)`, made by this module, aligned to 8, or to `EMPTY`, which
//!   is never written and never freed and has the capacity 0.
//! - The header's length is at most its capacity, and that many bytes after the header are initialised.
//! - A `Buffer` is the only owner of its allocation.

use std::alloc::{alloc, dealloc, handle_alloc_error, realloc, Layout};
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;

#[repr(C, align(8))]
struct Header {
    len: u32,
    capacity: u32,
}

/// Bytes of an allocation beside the capacity.
pub(crate) const HEADER: usize = size_of::<Header>();

/// What every empty buffer without an allocation points to.
static EMPTY: Header = Header { len: 0, capacity: 0 };

/// Longest content in bytes.
pub const LEN_MAX: usize = u32::MAX as usize - HEADER;

/// A growable byte string. See the head of the file.
pub struct Buffer(NonNull<Header>);

// SAFETY: a buffer owns plain bytes.
unsafe impl Send for Buffer {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Buffer {}

/// Size of the allocation that a request of `bytes` gets: mimalloc's size classes, four to a doubling above 64 bytes.
fn size_class(bytes: usize) -> usize {
    if bytes <= 64 {
        return bytes.next_multiple_of(16);
    }
    let step = 1 << (usize::BITS - 1 - (bytes - 1).leading_zeros()).saturating_sub(2);
    bytes.next_multiple_of(step)
}

fn layout(capacity: usize) -> Layout {
    Layout::from_size_align(HEADER + capacity, align_of::<Header>()).expect("capacities fit 32 bits")
}

impl Buffer {
    /// An empty one, without an allocation.
    pub const fn new() -> Buffer {
        // The pointer is never written through: the capacity says so.
        Buffer(NonNull::new(&raw const EMPTY as *mut Header).expect("a static has an address"))
    }

    /// An empty one with room for at least this many bytes.
    pub fn with_capacity(capacity: usize) -> Buffer {
        let mut buffer = Buffer::new();
        buffer.reserve(capacity);
        buffer
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: the handle points to a live header.
        unsafe { self.0.as_ref() }
    }

    /// Moves the bytes to another allocation when this one lies in a sparse page.
    pub(crate) fn relocate(&mut self, is_sparse: &dyn Fn(*const u8) -> bool) {
        // The static of empty ones is no block of the allocator.
        if self.capacity() > 0 && is_sparse(self.0.as_ptr().cast()) {
            let mut copy = Buffer::with_capacity(self.capacity());
            copy.extend_from_slice(self);
            *self = copy;
        }
    }

    /// Bytes that fit without another allocation.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.header().capacity as usize
    }

    /// Bytes of heap that it holds.
    pub fn heap_bytes(&self) -> usize {
        match self.capacity() {
            0 => 0,
            capacity => HEADER + capacity,
        }
    }

    #[inline]
    fn data(&self) -> *mut u8 {
        // SAFETY: the header is followed by the bytes, of which there may be none.
        unsafe { self.0.as_ptr().add(1).cast() }
    }

    /// # Safety
    /// `len` is at most the capacity, that many bytes are initialised, and the capacity is not 0 unless `len` is 0.
    #[inline]
    unsafe fn set_len(&mut self, len: usize) {
        if self.capacity() > 0 {
            // SAFETY: an allocation of its own.
            unsafe { (*self.0.as_ptr()).len = len as u32 };
        }
    }

    /// Makes room for this many more bytes.
    ///
    /// # Panics
    /// When the length would pass [`LEN_MAX`].
    #[inline]
    pub fn reserve(&mut self, more: usize) {
        let wanted = self.len() + more;
        if wanted > self.capacity() {
            self.reallocate(wanted);
        }
    }

    /// Gives back what the content does not need. It moves: a reallocation leaves in its place what would free less than half.
    pub fn shrink_to_fit(&mut self) {
        if self.is_empty() || size_class(HEADER + self.len()) < HEADER + self.capacity() {
            *self = self.clone();
        }
    }

    #[cold]
    fn reallocate(&mut self, wanted: usize) {
        assert!(wanted <= LEN_MAX, "a packed value is shorter than 4 GiB");
        let capacity = (size_class(HEADER + wanted) - HEADER).min(LEN_MAX);
        let old = self.capacity();
        let new_layout = layout(capacity);
        // SAFETY: the old allocation, if any, has the layout of its capacity; the new size is not zero. The header of a
        // fresh allocation is written before it is read.
        unsafe {
            let ptr = match old {
                0 => alloc(new_layout),
                _ => realloc(self.0.as_ptr().cast(), layout(old), new_layout.size()),
            };
            let Some(ptr) = NonNull::new(ptr.cast::<Header>()) else { handle_alloc_error(new_layout) };
            let len = if old == 0 { 0 } else { (*ptr.as_ptr()).len };
            ptr.as_ptr().write(Header { len, capacity: capacity as u32 });
            self.0 = ptr;
        }
    }

    /// Adds bytes at the end.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.reserve(bytes.len());
        let len = self.len();
        // SAFETY: there is room, and `bytes` cannot overlap memory that `self` owns and nobody has seen.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.data().add(len), bytes.len());
            self.set_len(len + bytes.len());
        }
    }

    /// Adds one byte at the end.
    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }

    /// Forgets the bytes from `len` on; the capacity stays.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            // SAFETY: shorter than it was.
            unsafe { self.set_len(len) };
        }
    }

    /// Cuts off or adds bytes at the end, so that there are `len`.
    #[inline]
    pub fn resize(&mut self, len: usize, byte: u8) {
        let old = self.len();
        if len <= old {
            return self.truncate(len);
        }
        self.reserve(len - old);
        // SAFETY: there is room for the new bytes, which are written before they count.
        unsafe {
            std::ptr::write_bytes(self.data().add(old), byte, len - old);
            self.set_len(len);
        }
    }

    /// Replaces a range of bytes by others, moving what follows once.
    ///
    /// # Panics
    /// When the range is not within the content.
    pub fn splice(&mut self, range: Range<usize>, bytes: &[u8]) {
        let len = self.len();
        assert!(range.start <= range.end && range.end <= len, "a range within the content");
        if bytes.len() > range.len() {
            self.reserve(bytes.len() - range.len());
        }
        let new_len = len - range.len() + bytes.len();
        if self.capacity() == 0 {
            return; // empty, and nothing to put in
        }
        // SAFETY: both ends of the move are within the capacity, and so are the new bytes.
        unsafe {
            let data = self.data();
            let tail = data.add(range.end);
            std::ptr::copy(tail, data.add(range.start + bytes.len()), len - range.end);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), data.add(range.start), bytes.len());
            self.set_len(new_len);
        }
    }

    /// The handle as a pointer, which now owns the content. Its 3 low bits are 0.
    pub(super) fn into_raw(self) -> *mut u8 {
        std::mem::ManuallyDrop::new(self).0.as_ptr().cast()
    }

    /// The buffer of a pointer that `into_raw` gave.
    ///
    /// # Safety
    /// The pointer came from `into_raw` and is turned back once.
    pub(super) unsafe fn from_raw(raw: *mut u8) -> Buffer {
        // SAFETY: by the caller; handles are not null.
        Buffer(unsafe { NonNull::new_unchecked(raw.cast()) })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let capacity = self.capacity();
        if capacity > 0 {
            // SAFETY: the only owner of an allocation of this layout.
            unsafe { dealloc(self.0.as_ptr().cast(), layout(capacity)) }
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are initialised.
        unsafe { std::slice::from_raw_parts(self.data(), self.header().len as usize) }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is the only owner; the slice of `EMPTY` has no bytes to write.
        unsafe { std::slice::from_raw_parts_mut(self.data(), self.header().len as usize) }
    }
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer::new()
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Buffer {
        Buffer::from(&self[..])
    }
}

impl From<&[u8]> for Buffer {
    fn from(bytes: &[u8]) -> Buffer {
        let mut buffer = Buffer::new();
        buffer.extend_from_slice(bytes);
        buffer
    }
}

impl Extend<u8> for Buffer {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        for byte in bytes {
            self.push(byte);
        }
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Buffer) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Buffer {}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Buffer").field(&&self[..]).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_buffer_owns_nothing() {
        let mut buffer = Buffer::new();
        assert_eq!((buffer.len(), buffer.capacity(), buffer.heap_bytes()), (0, 0, 0));
        buffer.splice(0..0, b"");
        buffer.truncate(0);
        buffer.shrink_to_fit();
        assert_eq!(buffer.clone(), buffer);
        // SAFETY: the pointer comes from `into_raw`.
        assert!(unsafe { Buffer::from_raw(buffer.into_raw()) }.is_empty());
    }

    #[test]
    fn it_grows_to_the_next_size_class_only() {
        let mut buffer = Buffer::new();
        for len in 1..5000 {
            buffer.push(0);
            let size = HEADER + len;
            assert!(buffer.heap_bytes() >= size && buffer.heap_bytes() <= size + 16.max(size / 4), "{len}");
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Extend(Vec<u8>),
        Truncate(usize),
        Resize(usize),
        Splice(usize, usize, Vec<u8>),
        Shrink,
        Clone,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
        let step = prop_oneof![
            bytes().prop_map(Step::Extend),
            any::<usize>().prop_map(Step::Truncate),
            (0..200usize).prop_map(Step::Resize),
            (any::<usize>(), any::<usize>(), bytes()).prop_map(|(a, b, bytes)| Step::Splice(a, b, bytes)),
            Just(Step::Shrink),
            Just(Step::Clone),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_vec(steps in steps()) {
            let (mut buffer, mut model) = (Buffer::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Extend(bytes) => {
                        buffer.extend_from_slice(&bytes);
                        model.extend_from_slice(&bytes);
                    }
                    Step::Truncate(len) => {
                        let len = len % (model.len() + 1);
                        buffer.truncate(len);
                        model.truncate(len);
                    }
                    Step::Resize(len) => {
                        buffer.resize(len, 7);
                        model.resize(len, 7);
                    }
                    Step::Splice(a, b, bytes) => {
                        let end = a % (model.len() + 1);
                        let start = b % (end + 1);
                        buffer.splice(start..end, &bytes);
                        model.splice(start..end, bytes);
                    }
                    Step::Shrink => buffer.shrink_to_fit(),
                    Step::Clone => buffer = buffer.clone(),
                }
                prop_assert_eq!(&buffer[..], &model[..]);
                prop_assert!(buffer.len() <= buffer.capacity());
            }
        }
    }
}

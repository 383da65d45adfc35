//! Memory for direct I/O: aligned to blocks, and in place until it is dropped.

use std::alloc::{alloc_zeroed, dealloc, handle_alloc_error, Layout};
use std::ptr::NonNull;

/// What files are written in, bytes. Direct I/O wants addresses, offsets and lengths that are multiples of the device's block, which is 512 or 4096.
pub const BLOCK_BYTES: usize = 4096;

/// Bytes whose memory begins on a block and has room for whole blocks. The memory moves only when it grows.
pub struct BlockBuffer {
    memory: NonNull<u8>,
    len: usize,
    capacity: usize,
}

// SAFETY: it owns its memory, and shares it with nobody.
unsafe impl Send for BlockBuffer {}

impl BlockBuffer {
    /// An empty buffer with room for so many bytes, rounded up to blocks.
    pub fn with_capacity(bytes: usize) -> BlockBuffer {
        let capacity = bytes.next_multiple_of(BLOCK_BYTES).max(BLOCK_BYTES);
        BlockBuffer { memory: allocate(capacity), len: 0, capacity }
    }

    /// Adds bytes at the end.
    pub fn extend(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if end > self.capacity {
            self.grow(end);
        }
        // SAFETY: there is room for them, and they lie elsewhere: `self` is borrowed mutably.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.memory.as_ptr().add(self.len), bytes.len());
        }
        self.len = end;
    }

    /// Adds zeros up to the end of the block.
    pub fn pad(&mut self) {
        let end = self.len.next_multiple_of(BLOCK_BYTES);
        // SAFETY: the capacity is a multiple of blocks, so the end of the block lies within.
        unsafe { self.memory.as_ptr().add(self.len).write_bytes(0, end - self.len) };
        self.len = end;
    }

    /// Empties it, keeping its memory unless that is more than so many bytes.
    pub fn clear(&mut self, keep: usize) {
        if self.capacity > keep.max(BLOCK_BYTES) {
            *self = BlockBuffer::with_capacity(keep);
        }
        self.len = 0;
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are initialised.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.len) }
    }

    /// The bytes, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: the first `len` bytes are initialised, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.len) }
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[cold]
    fn grow(&mut self, needed: usize) {
        let mut larger = BlockBuffer::with_capacity(needed.max(self.capacity * 2));
        larger.extend(self.as_slice());
        std::mem::swap(self, &mut larger);
    }
}

impl Drop for BlockBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, by `allocate`.
        unsafe { dealloc(self.memory.as_ptr(), layout(self.capacity)) }
    }
}

impl std::fmt::Debug for BlockBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockBuffer of {} bytes", self.len)
    }
}

fn layout(capacity: usize) -> Layout {
    Layout::from_size_align(capacity, BLOCK_BYTES).expect("a capacity that fits the address space")
}

fn allocate(capacity: usize) -> NonNull<u8> {
    let layout = layout(capacity);
    // SAFETY: the capacity is at least one block.
    NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_aligned_and_are_padded_with_zeros() {
        let mut buffer = BlockBuffer::with_capacity(1);
        for round in 0..3u8 {
            buffer.extend(&vec![round + 1; 5000]);
            assert_eq!(buffer.as_slice().as_ptr() as usize % BLOCK_BYTES, 0);
            buffer.pad();
            assert_eq!(buffer.len(), 8192);
            assert!(buffer.as_slice()[..5000].iter().all(|&byte| byte == round + 1));
            assert!(buffer.as_slice()[5000..].iter().all(|&byte| byte == 0));
            buffer.clear(if round == 1 { 0 } else { usize::MAX });
        }
    }
}

//! Buffers for direct I/O: aligned to the blocks of the disk, at an address that stays the same until the kernel is done with it.

/// Bytes of a block: what direct I/O is aligned to, in memory, in the file and in length.
pub const BLOCK_BYTES: usize = 4096;

/// A block of memory.
#[derive(Clone, Copy)]
#[repr(C, align(4096))]
struct Block([u8; BLOCK_BYTES]);

const _: () = assert!(size_of::<Block>() == BLOCK_BYTES && align_of::<Block>() == BLOCK_BYTES);

/// Bytes that are gathered to be written. The capacity is whole blocks and never changes, so neither does the address.
pub struct BlockBuffer {
    blocks: Box<[Block]>,
    /// Bytes that are there.
    len: usize,
}

impl BlockBuffer {
    /// An empty buffer for so many bytes, rounded up to whole blocks.
    pub fn new(capacity: usize) -> BlockBuffer {
        let blocks = vec![Block([0; BLOCK_BYTES]); capacity.div_ceil(BLOCK_BYTES)].into_boxed_slice();
        BlockBuffer { blocks, len: 0 }
    }

    /// Bytes that it can hold.
    pub fn capacity(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    /// Bytes that are there.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether no byte more fits.
    pub fn is_full(&self) -> bool {
        self.len == self.capacity()
    }

    /// Adds as many of the bytes as fit; returns how many.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.capacity() - self.len);
        let at = self.len;
        self.memory_mut()[at..at + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
        taken
    }

    /// Adds zeros up to the end of a block.
    pub fn pad(&mut self) {
        let (at, end) = (self.len, self.len.next_multiple_of(BLOCK_BYTES));
        self.memory_mut()[at..end].fill(0);
        self.len = end;
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the blocks are `capacity` initialised bytes without padding, and `len` is at most that.
        unsafe { std::slice::from_raw_parts(self.blocks.as_ptr().cast(), self.len) }
    }

    fn memory_mut(&mut self) -> &mut [u8] {
        let capacity = self.capacity();
        // SAFETY: as above; they are borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.blocks.as_mut_ptr().cast(), capacity) }
    }
}

impl std::fmt::Debug for BlockBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockBuffer").field("len", &self.len).field("capacity", &self.capacity()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_gather_at_one_aligned_address() {
        let mut buffer = BlockBuffer::new(BLOCK_BYTES + 1);
        assert_eq!(buffer.capacity(), 2 * BLOCK_BYTES);
        let address = buffer.as_slice().as_ptr().addr();
        assert!(address.is_multiple_of(BLOCK_BYTES));
        assert_eq!(buffer.push(&[1; 5000]), 5000);
        assert_eq!(buffer.push(&[2; 5000]), 2 * BLOCK_BYTES - 5000);
        assert!(buffer.is_full());
        assert_eq!(buffer.push(b"x"), 0);
        assert_eq!((buffer.as_slice()[4999], buffer.as_slice()[5000]), (1, 2));
        buffer.clear();
        assert!(buffer.is_empty());
        assert_eq!(buffer.push(b"again"), 5);
        buffer.pad();
        assert_eq!(buffer.len(), BLOCK_BYTES);
        assert_eq!(buffer.as_slice()[..6], *b"again\0");
        assert!(buffer.as_slice()[5..].iter().all(|&byte| byte == 0), "no byte of an earlier use is left");
        assert_eq!(buffer.as_slice().as_ptr().addr(), address);
    }
}

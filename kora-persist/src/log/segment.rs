//! The first block of a segment: what the file is.
//!
//! ```text
//!  0  8 bytes  "KORALOG" and the format version, 1
//!  8  u32      CRC-32C of bytes 12 to 64
//! 12  u32      run: how many times the directory was opened for writing
//! 16  u64      number of the directory
//! 24  u64      number of the segment
//! 32  u64      first log position of the run: what earlier runs hold from there on is void
//! 40  u64      a log position below which nothing is in here
//! 48  u16      shard of its writer
//! 50  u16      number of shards in the run
//! 52           zeros up to 64, then up to the end of the block
//! ```

use crate::block::BLOCK_BYTES;

const MAGIC: &[u8; 7] = b"KORALOG";
/// The version that is written, and the newest that is read.
pub const FORMAT_VERSION: u8 = 1;
/// Bytes of the block that mean something.
const MEANING_BYTES: usize = 64;

/// What the first block of a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// How many times the directory was opened for writing.
    pub run: u32,
    /// Number of the directory.
    pub directory: u64,
    /// Number of the segment.
    pub segment: u64,
    /// The first log position of the run.
    pub run_first_lsn: u64,
    /// Nothing below it is in the segment.
    pub first_lsn: u64,
    /// Shard of its writer.
    pub shard: u16,
    /// Number of shards in the run.
    pub shards: u16,
}

/// Why a block is not the first one of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Nothing was written.
    #[error("the first block is empty")]
    Empty,
    /// It begins with other bytes.
    #[error("this is no segment of a log")]
    Magic,
    /// A newer server has written it.
    #[error("log format version {0} is unknown; this server reads up to {FORMAT_VERSION}: use a newer one")]
    Version(u8),
    /// It was changed after it was written, or was written in part.
    #[error("the checksum of the first block is wrong")]
    Checksum,
}

impl SegmentHeader {
    /// The block.
    pub fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        block[..7].copy_from_slice(MAGIC);
        block[7] = FORMAT_VERSION;
        block[12..16].copy_from_slice(&self.run.to_le_bytes());
        block[16..24].copy_from_slice(&self.directory.to_le_bytes());
        block[24..32].copy_from_slice(&self.segment.to_le_bytes());
        block[32..40].copy_from_slice(&self.run_first_lsn.to_le_bytes());
        block[40..48].copy_from_slice(&self.first_lsn.to_le_bytes());
        block[48..50].copy_from_slice(&self.shard.to_le_bytes());
        block[50..52].copy_from_slice(&self.shards.to_le_bytes());
        let sum = crc32c::crc32c(&block[12..MEANING_BYTES]);
        block[8..12].copy_from_slice(&sum.to_le_bytes());
        block
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(block: &[u8; BLOCK_BYTES]) -> Result<SegmentHeader, HeaderError> {
        if block[..MEANING_BYTES].iter().all(|&byte| byte == 0) {
            return Err(HeaderError::Empty);
        }
        if &block[..7] != MAGIC {
            return Err(HeaderError::Magic);
        }
        if block[7] != FORMAT_VERSION {
            return Err(HeaderError::Version(block[7]));
        }
        let stored = u32::from_le_bytes(field(block, 8));
        if stored != crc32c::crc32c(&block[12..MEANING_BYTES]) {
            return Err(HeaderError::Checksum);
        }
        Ok(SegmentHeader {
            run: u32::from_le_bytes(field(block, 12)),
            directory: u64::from_le_bytes(field(block, 16)),
            segment: u64::from_le_bytes(field(block, 24)),
            run_first_lsn: u64::from_le_bytes(field(block, 32)),
            first_lsn: u64::from_le_bytes(field(block, 40)),
            shard: u16::from_le_bytes(field(block, 48)),
            shards: u16::from_le_bytes(field(block, 50)),
        })
    }
}

fn field<const N: usize>(block: &[u8; BLOCK_BYTES], at: usize) -> [u8; N] {
    *block[at..].first_chunk().expect("fields lie within the block")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_a_header_is_found() {
        let header = SegmentHeader {
            run: 3,
            directory: 0x0123_4567_89ab_cdef,
            segment: 17,
            run_first_lsn: 1000,
            first_lsn: 1001,
            shard: 1,
            shards: 4,
        };
        let block = header.encode();
        assert_eq!(SegmentHeader::decode(&block), Ok(header));
        for bit in 0..MEANING_BYTES * 8 {
            let mut bad = block;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&bad).is_err(), "bit {bit}");
        }
        assert_eq!(SegmentHeader::decode(&[0; BLOCK_BYTES]), Err(HeaderError::Empty));
    }
}

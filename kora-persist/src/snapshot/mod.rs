//! Snapshots: everything that all shards held at one moment.
//!
//! ```text
//! DIR/snapshots/<cut, 16 hex digits>/0000.ksnap   what shard 0 held
//!                                    0001.ksnap   ...
//!                                    manifest     what belongs together; written last
//! ```
//!
//! While it is written the folder is called `<cut>.partial`; it is renamed when all of it is synced. The *cut* is a position of the log (LSN):
//! the snapshot holds what all changes up to it have made, and nothing of those after it.
//!
//! A file is a header, blocks, and a footer, with zeros up to the end of the last 4 KiB. Integers are little-endian.
//!
//! ```text
//! header   0  8 bytes   "KORASNAP"                 block    0  u8   kind
//!          8  u32       format version: 1                   1  u8   how it is packed: 0 as it is, 1 LZ4
//!         12  u16       shard                                2  u16  0
//!         14  u16       number of shards                     4  u32  bytes of the block, packed
//!         16  u64       data directory                       8  u32  bytes of the block, unpacked: at most 64 KiB
//!         24  u64       cut                                 12  u32  records that are in it, or end in it
//!         32  u32       CRC-32C of the 32 bytes before      16  u32  CRC-32C of the 16 bytes before and the packed bytes
//!         36  u32       0                                   20       the packed bytes
//!
//! kinds    1 records: whole ones     2 a part of a record that is longer than a block     3 its last part
//!          4 footer: u64 records, u64 blocks before this one, u64 bytes of these unpacked
//! ```
//!
//! A record is a `Set` of [`record`](crate::record): a key of a database with its whole value and its expiry. So loading a snapshot is
//! replaying it. Records are in no order, each key is in one once. The parts of a record follow each other, though blocks of whole records may lie
//! between them.
//!
//! Blocks are small so that both sides need little memory, so that they can be unpacked by several threads, and so that packing one is a short
//! piece of work: a tenth of a millisecond.

mod error;
mod manifest;
mod reader;
mod writer;

pub use error::SnapshotError;
pub use manifest::{FileSummary, Manifest};
pub use reader::{PackedBlock, Records, SnapshotReader, Unpacked};
pub use writer::{Op, SnapshotWriter, CHUNK_BYTES};

use kora_engine::table::Entry;

/// Extension of the files.
pub const FILE_EXTENSION: &str = "ksnap";

/// Name of the manifest in the folder of a snapshot.
pub const MANIFEST_NAME: &str = "manifest";

/// What the name of the folder has at its end while the snapshot is written.
pub const PARTIAL_SUFFIX: &str = ".partial";

/// The version that is written, and the newest that is read.
pub const FORMAT_VERSION: u32 = 1;

/// Bytes of a block, unpacked.
pub const BLOCK_RAW_MAX: usize = 64 * 1024;

const MAGIC: &[u8; 8] = b"KORASNAP";
const HEADER_BYTES: usize = 40;
const BLOCK_HEADER_BYTES: usize = 20;
const FOOTER_BYTES: usize = 24;

/// Bytes of a block, packed. One that does not get smaller is not packed.
const BLOCK_PACKED_MAX: usize = BLOCK_RAW_MAX;

const KIND_RECORDS: u8 = 1;
const KIND_PART: u8 = 2;
const KIND_LAST_PART: u8 = 3;
const KIND_FOOTER: u8 = 4;

const AS_IT_IS: u8 = 0;
const LZ4: u8 = 1;

/// Whose data a file holds, as of when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Identifies the data directory: files of another one are not mixed in.
    pub directory: u64,
    /// The position of the log up to which changes are in it.
    pub cut: u64,
    /// Which shard.
    pub shard: u16,
    /// Of how many: it held slots `shard * 16384 / shards` and on.
    pub shards: u16,
}

/// Name of the folder of a snapshot.
pub fn folder_name(cut: u64) -> String {
    format!("{cut:016x}")
}

/// The cut of a folder of this name; none when it is not the name of a complete snapshot.
pub fn cut_of_folder(name: &str) -> Option<u64> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (name.len() == 16 && name.bytes().all(hex)).then(|| u64::from_str_radix(name, 16).ok()).flatten()
}

/// Name of the file of a shard.
pub fn file_name(shard: u16) -> String {
    format!("{shard:04x}.{FILE_EXTENSION}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        assert_eq!(folder_name(0x1234), "0000000000001234");
        assert_eq!(cut_of_folder("0000000000001234"), Some(0x1234));
        assert_eq!(cut_of_folder("ffffffffffffffff"), Some(u64::MAX));
        for name in [
            "",
            "1234",
            "0000000000001234.partial",
            "00000000000012G4",
            "+000000000001234",
            "000000000000123A",
        ] {
            assert_eq!(cut_of_folder(name), None, "{name}");
        }
        assert_eq!(file_name(10), "000a.ksnap");
    }
}

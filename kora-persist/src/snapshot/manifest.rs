//! The manifest: which files are one snapshot, and what belongs to all shards together.
//!
//! ```text
//!  0  8 bytes  "KORAMANI"
//!  8  u32      format version: 1
//! 12  u32      shards
//! 16  u64      data directory
//! 24  u64      cut
//! 32  u64      time of the cut, unix milliseconds
//! 40  u32      databases
//! 44  u32      run of the process that took it, as in the headers of the segments of its log
//! 48  u64      bytes of the libraries of functions
//! 56           of each shard: u64 bytes of its file, u64 keys in it, u32 CRC-32C of it, u32 0
//!              the libraries
//!              u32 CRC-32C of all that
//! ```

use super::{SnapshotError, FORMAT_VERSION};

const MAGIC: &[u8; 8] = b"KORAMANI";
const HEADER_BYTES: usize = 56;
const FILE_BYTES: usize = 24;
const CHECKSUM_BYTES: usize = 4;

/// What the manifest says of the file of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSummary {
    /// Its length.
    pub bytes: u64,
    /// CRC-32C of all of it.
    pub checksum: u32,
    /// Keys in it.
    pub keys: u64,
}

/// What belongs to a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Identifies the data directory.
    pub directory: u64,
    /// The position of the log up to which changes are in it.
    pub cut: u64,
    /// How many times the directory had been opened for writing. What the log of an earlier run holds behind the cut is void.
    pub run: u32,
    /// The time of the cut, unix milliseconds.
    pub time: u64,
    /// Number of databases.
    pub databases: u32,
    /// One per shard, in their order.
    pub files: Vec<FileSummary>,
    /// The libraries of functions, in whatever form FUNCTION DUMP gives them.
    pub functions: Vec<u8>,
}

impl Manifest {
    /// Keys in all shards.
    pub fn keys(&self) -> u64 {
        self.files.iter().map(|file| file.keys).sum()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// It as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(
            HEADER_BYTES + self.files.len() * FILE_BYTES + self.functions.len() + CHECKSUM_BYTES,
        );
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&(self.files.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.directory.to_le_bytes());
        out.extend_from_slice(&self.cut.to_le_bytes());
        out.extend_from_slice(&self.time.to_le_bytes());
        out.extend_from_slice(&self.databases.to_le_bytes());
        out.extend_from_slice(&self.run.to_le_bytes());
        out.extend_from_slice(&(self.functions.len() as u64).to_le_bytes());
        for file in &self.files {
            out.extend_from_slice(&file.bytes.to_le_bytes());
            out.extend_from_slice(&file.keys.to_le_bytes());
            out.extend_from_slice(&file.checksum.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
        }
        out.extend_from_slice(&self.functions);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Reads one.
    ///
    /// # Errors
    /// These are not the bytes of a manifest, or of one of a newer version.
    pub fn decode(input: &[u8]) -> Result<Manifest, SnapshotError> {
        let damaged = |offset: usize, what| Err(SnapshotError::Damaged { offset: offset as u64, what });
        if !input.starts_with(MAGIC) {
            return Err(SnapshotError::Magic);
        }
        if input.len() < HEADER_BYTES + CHECKSUM_BYTES {
            return damaged(input.len(), "the manifest ends early");
        }
        let (body, sum) = input.split_at(input.len() - CHECKSUM_BYTES);
        if sum != crc32c::crc32c(body).to_le_bytes() {
            return damaged(0, "the checksum of the manifest is wrong");
        }
        let version = u32::from_le_bytes(field(body, 8));
        if version != FORMAT_VERSION {
            return Err(SnapshotError::Version { found: version, known: FORMAT_VERSION });
        }
        let shards = u32::from_le_bytes(field(body, 12)) as usize;
        let functions = u64::from_le_bytes(field(body, 48));
        // In 128 bits nothing that it claims overflows.
        let claimed = HEADER_BYTES as u128 + shards as u128 * FILE_BYTES as u128 + u128::from(functions);
        if claimed != body.len() as u128 || shards == 0 || shards > usize::from(u16::MAX) {
            return damaged(12, "the manifest is longer or shorter than it says");
        }
        let (files, functions) = body[HEADER_BYTES..].split_at(shards * FILE_BYTES);
        if files.chunks_exact(FILE_BYTES).flat_map(|file| &file[20..]).any(|&byte| byte != 0) {
            return damaged(HEADER_BYTES, "a field that has no meaning is not zero");
        }
        let files = files.chunks_exact(FILE_BYTES).map(|file| FileSummary {
            bytes: u64::from_le_bytes(field(file, 0)),
            keys: u64::from_le_bytes(field(file, 8)),
            checksum: u32::from_le_bytes(field(file, 16)),
        });
        Ok(Manifest {
            directory: u64::from_le_bytes(field(body, 16)),
            cut: u64::from_le_bytes(field(body, 24)),
            run: u32::from_le_bytes(field(body, 44)),
            time: u64::from_le_bytes(field(body, 32)),
            databases: u32::from_le_bytes(field(body, 40)),
            files: files.collect(),
            functions: functions.to_vec(),
        })
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("N bytes were taken")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn manifest() -> Manifest {
        Manifest {
            directory: 0x0011_2233_4455_6677,
            cut: 77,
            run: 7,
            time: 1_700_000_000_000,
            databases: 16,
            files: vec![
                FileSummary { bytes: 4096, checksum: 5, keys: 3 },
                FileSummary { bytes: 8192, checksum: 6, keys: 9 },
            ],
            functions: b"libraries".to_vec(),
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let (manifest, bytes) = (manifest(), manifest().encode());
        assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
        assert_eq!((manifest.keys(), manifest.bytes()), (12, 12288));
        for length in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..length]).is_err(), "{length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&bad).is_err(), "bit {bit}");
        }
    }

    /// With a right checksum: what a faulty writer could make.
    fn forged(mut bytes: Vec<u8>, at: usize, new: &[u8]) -> Vec<u8> {
        bytes.truncate(bytes.len() - CHECKSUM_BYTES);
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    #[test]
    fn a_claimed_length_is_not_trusted() {
        for (at, new) in [(12, &[0xff; 4][..]), (12, &[0; 4]), (48, &[0xff; 8]), (48, &[0x7f; 8])] {
            assert!(matches!(
                Manifest::decode(&forged(manifest().encode(), at, new)),
                Err(SnapshotError::Damaged { .. })
            ));
        }
        let newer = Manifest::decode(&forged(manifest().encode(), 8, &[2]));
        assert!(matches!(newer, Err(SnapshotError::Version { found: 2, known: 1 })));
        assert!(matches!(Manifest::decode(b"something else"), Err(SnapshotError::Magic)));
    }

    proptest! {
        #[test]
        fn forged_bytes_never_panic_and_have_one_meaning(at in 8usize..120, new in proptest::collection::vec(any::<u8>(), 1..16)) {
            let bytes = manifest().encode();
            let at = at.min(bytes.len() - CHECKSUM_BYTES - new.len());
            let bytes = forged(bytes, at, &new);
            if let Ok(read) = Manifest::decode(&bytes) {
                prop_assert_eq!(read.encode(), bytes);
            }
        }
    }
}

//! Reads the file of one shard, block by block.
//!
//! Memory is bounded by two blocks and the longest record; a length that a file claims is checked against the limits before anything is
//! allocated, and a long record grows with what of it has been read.

use super::*;
use crate::error::DecodeError;
use crate::record;
use kora_engine::change::Change;
use std::io::Read;

/// A block, packed, as it is in the file: it can be unpacked by another thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedBlock {
    /// Where it begins in the file.
    pub offset: u64,
    kind: u8,
    packing: u8,
    raw: usize,
    records: u32,
    bytes: Vec<u8>,
}

/// A block, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unpacked {
    /// Whole records.
    Records(Records),
    /// A part of one, the next after the part before.
    Part {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Whether the record ends with it.
        is_last: bool,
    },
}

/// Whole records of a block, or one that was put together from parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    offset: u64,
    raw: Vec<u8>,
    count: u32,
}

impl Records {
    /// The records, one after the other. (That each is a `Set` is only looked at by [`Records::for_each`].)
    pub fn into_bytes(self) -> Vec<u8> {
        self.raw
    }

    /// Calls `f` with every record, in order.
    ///
    /// # Errors
    /// A record cannot be read, or is no `Set`, or there are more or fewer than the block says; or `f` fails.
    pub fn for_each<E: From<SnapshotError>>(
        &self,
        mut f: impl FnMut(&Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let refused = |error| SnapshotError::Record { offset: self.offset, error };
        let mut left = &self.raw[..];
        for _ in 0..self.count {
            let (change, length) = record::decode(left).map_err(refused)?;
            if !matches!(change, Change::Set { .. }) {
                return Err(refused(DecodeError::RecordTag { found: left[0] }).into());
            }
            f(&change)?;
            left = &left[length..];
        }
        if !left.is_empty() {
            let what = "the block holds more than its records";
            return Err(SnapshotError::Damaged { offset: self.offset, what }.into());
        }
        Ok(())
    }
}

impl PackedBlock {
    /// Unpacks it.
    ///
    /// # Errors
    /// Its checksum is wrong, or it does not unpack to what its header says.
    pub fn unpack(self) -> Result<Unpacked, SnapshotError> {
        let offset = self.offset;
        let damaged = |what| SnapshotError::Damaged { offset, what };
        let raw = match self.packing {
            AS_IT_IS => self.bytes,
            _ => {
                let mut raw = vec![0; self.raw];
                match lz4_flex::block::decompress_into(&self.bytes, &mut raw) {
                    Ok(length) if length == self.raw => raw,
                    _ => return Err(damaged("the block does not unpack to its length")),
                }
            }
        };
        Ok(match self.kind {
            KIND_RECORDS => Unpacked::Records(Records { offset, raw, count: self.records }),
            kind => Unpacked::Part { bytes: raw, is_last: kind == KIND_LAST_PART },
        })
    }
}

/// Reads the file of one shard.
pub struct SnapshotReader<R> {
    input: R,
    identity: Identity,
    /// Bytes read.
    offset: u64,
    /// Of these bytes.
    checksum: u32,
    records: u64,
    blocks: u64,
    raw_bytes: u64,
    ended: bool,
    /// The record that is being put together.
    long: Vec<u8>,
}

impl<R: Read> SnapshotReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// It is none, or one of a newer version.
    pub fn new(input: R) -> Result<SnapshotReader<R>, SnapshotError> {
        let mut reader = SnapshotReader {
            input,
            identity: Identity { directory: 0, cut: 0, shard: 0, shards: 1 },
            offset: 0,
            checksum: 0,
            records: 0,
            blocks: 0,
            raw_bytes: 0,
            ended: false,
            long: Vec::new(),
        };
        let header: [u8; HEADER_BYTES] = reader.array()?;
        reader.identity = identity_of(&header)?;
        Ok(reader)
    }

    /// Whose data it is, as of when.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Bytes read so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What a manifest says of a file with the bytes read so far: all of them after the last block.
    pub fn summary(&self) -> FileSummary {
        FileSummary { bytes: self.offset, checksum: self.checksum, keys: self.records }
    }

    /// The next block; none after the last one, when the footer has been found to be right.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn next_packed(&mut self) -> Result<Option<PackedBlock>, SnapshotError> {
        if self.ended {
            return Ok(None);
        }
        let offset = self.offset;
        let damaged = |what| Err(SnapshotError::Damaged { offset, what });
        let header: [u8; BLOCK_HEADER_BYTES] = self.array()?;
        let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("4 bytes"));
        let (kind, packing, packed, raw, records) =
            (header[0], header[1], number(4) as usize, number(8) as usize, number(12));
        let lengths_fit = match packing {
            AS_IT_IS => packed == raw,
            LZ4 => packed < raw,
            _ => false,
        };
        if !lengths_fit || raw > BLOCK_RAW_MAX || packed > BLOCK_PACKED_MAX || header[2..4] != [0, 0] {
            return damaged("no block begins here");
        }
        let mut bytes = vec![0; packed];
        self.read(&mut bytes)?;
        if number(16) != crc32c::crc32c_append(crc32c::crc32c(&header[..16]), &bytes) {
            return damaged("the checksum of the block is wrong");
        }
        let block = PackedBlock { offset, kind, packing, raw, records, bytes };
        match kind {
            KIND_FOOTER => {
                self.end(block)?;
                return Ok(None);
            }
            KIND_RECORDS if records > 0 => {}
            KIND_PART if records == 0 => {}
            KIND_LAST_PART if records == 1 => {}
            _ => return damaged("a block of an unknown kind"),
        }
        if raw == 0 {
            return damaged("an empty block");
        }
        self.records += u64::from(records);
        self.blocks += 1;
        self.raw_bytes += raw as u64;
        Ok(Some(block))
    }

    /// The next records. Parts of a long one are put together.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn next_records(&mut self) -> Result<Option<Records>, SnapshotError> {
        while let Some(block) = self.next_packed()? {
            let offset = block.offset;
            match block.unpack()? {
                Unpacked::Records(records) => return Ok(Some(records)),
                Unpacked::Part { bytes, is_last } => {
                    self.long.extend_from_slice(&bytes);
                    if is_last {
                        return Ok(Some(Records { offset, raw: std::mem::take(&mut self.long), count: 1 }));
                    }
                }
            }
        }
        if !self.long.is_empty() {
            return Err(SnapshotError::Damaged {
                offset: self.offset,
                what: "the end of a record is missing",
            });
        }
        Ok(None)
    }

    /// Looks at the footer and what is behind it.
    fn end(&mut self, footer: PackedBlock) -> Result<(), SnapshotError> {
        let offset = footer.offset;
        let damaged = |what| Err(SnapshotError::Damaged { offset, what });
        let (raw, records) = (footer.raw, footer.records);
        let Unpacked::Part { bytes, .. } = footer.unpack()? else { return damaged("no footer") };
        if raw != FOOTER_BYTES || records != 0 {
            return damaged("no footer");
        }
        let number = |at: usize| u64::from_le_bytes(bytes[at * 8..][..8].try_into().expect("8 bytes"));
        if [number(0), number(1), number(2)] != [self.records, self.blocks, self.raw_bytes] {
            return damaged("blocks are missing before the footer");
        }
        let padding = self.offset.next_multiple_of(crate::block::BLOCK_BYTES as u64) - self.offset;
        let mut rest = vec![0; padding as usize];
        self.read(&mut rest)?;
        if rest.iter().any(|&byte| byte != 0) {
            return damaged("something is behind the footer");
        }
        if self.input.read(&mut [0])? != 0 {
            return damaged("something is behind the end");
        }
        self.ended = true;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                SnapshotError::Damaged { offset: self.offset, what: "the file ends early" }
            }
            _ => SnapshotError::Io(error),
        })?;
        self.offset += bytes.len() as u64;
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        Ok(())
    }
}

fn identity_of(header: &[u8; HEADER_BYTES]) -> Result<Identity, SnapshotError> {
    fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
        header[at..at + N].try_into().expect("N bytes were taken")
    }
    if header[..8] != *MAGIC {
        return Err(SnapshotError::Magic);
    }
    let damaged = |what| Err(SnapshotError::Damaged { offset: 0, what });
    if u32::from_le_bytes(field(header, 32)) != crc32c::crc32c(&header[..32]) {
        return damaged("the checksum of the header is wrong");
    }
    let version = u32::from_le_bytes(field(header, 8));
    if version != FORMAT_VERSION {
        return Err(SnapshotError::Version { found: version, known: FORMAT_VERSION });
    }
    let identity = Identity {
        directory: u64::from_le_bytes(field(header, 16)),
        cut: u64::from_le_bytes(field(header, 24)),
        shard: u16::from_le_bytes(field(header, 12)),
        shards: u16::from_le_bytes(field(header, 14)),
    };
    if identity.shard >= identity.shards || header[36..] != [0; 4] {
        return damaged("the header makes no sense");
    }
    Ok(identity)
}

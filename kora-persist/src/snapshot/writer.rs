//! Writes the file of one shard: takes keys, hands out what is to be written where.
//!
//! ```text
//! keys -> raw block (64 KiB) -> LZ4 -> chunk (aligned, 256 KiB) -> Op::Write ... Op::Sync -> summary
//!      \-> long values, by reference, cut into blocks by `work`
//! ```
//!
//! There is no I/O in it. Whoever drives it takes operations with [`SnapshotWriter::poll`], does them in whatever way, and gives the buffers back with
//! [`SnapshotWriter::written`]. So a ring, a thread and a simulated disk can do them.
//!
//! A long string is not copied when its key is pushed, as that can be in the midst of a command: its bytes are shared, and go into blocks when
//! [`SnapshotWriter::work`] is called. (A long collection is encoded when it is pushed; that is the longest that a push takes.)

use super::*;
use crate::block::{BlockBuffer, BLOCK_BYTES};
use bytes::Bytes;
use kora_engine::change::{Change, ChangeValue};
use kora_engine::table::{CutSink, ValueRef};
use std::collections::VecDeque;

/// Bytes that are written at once.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Buffers that are kept for reuse.
const SPARES_MAX: usize = 4;

const _: () = assert!(CHUNK_BYTES.is_multiple_of(BLOCK_BYTES));

/// What is to be done with the file.
#[derive(Debug)]
pub enum Op {
    /// Write all of the buffer at this offset, both in whole 4 KiB blocks; writes may be done in any order.
    Write {
        /// Where in the file.
        offset: u64,
        /// What; it is given back with [`SnapshotWriter::written`].
        buffer: BlockBuffer,
    },
    /// All writes are done: make them durable. That is all; then this is what the manifest says of the file.
    Sync(FileSummary),
}

/// A record that is longer than a block: its beginning, what it shares with the keyspace, and its end.
struct Long {
    parts: [Bytes; 3],
    /// Bytes of it that are in blocks.
    done: usize,
}

impl Long {
    fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Appends the next bytes, up to a number; whether these were the last ones.
    fn take(&mut self, count: usize, out: &mut Vec<u8>) -> bool {
        let (mut skip, mut left) = (self.done, count);
        for part in &self.parts {
            let from = skip.min(part.len());
            let to = (from + left).min(part.len());
            out.extend_from_slice(&part[from..to]);
            (skip, left) = (skip - from, left - (to - from));
        }
        self.done += count - left;
        self.done == self.len()
    }
}

/// How far the file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Keys come.
    Open,
    /// The footer is in the last chunk.
    Complete,
    /// The sync was handed out.
    Done,
}

/// Makes the file of one shard.
pub struct SnapshotWriter {
    stage: Stage,
    /// Records that make the next block.
    raw: Vec<u8>,
    raw_records: u32,
    /// A packed block.
    packed: Vec<u8>,
    /// Long records that wait to be cut into blocks.
    long: VecDeque<Long>,
    long_bytes: usize,
    /// The chunk that is being filled.
    chunk: BlockBuffer,
    /// Where in the file it goes.
    chunk_offset: u64,
    /// Full chunks.
    ready: VecDeque<(u64, BlockBuffer)>,
    /// Bytes of writes that are under way.
    in_flight: usize,
    spares: Vec<BlockBuffer>,
    /// Sums of what the file holds so far.
    records: u64,
    blocks: u64,
    raw_bytes: u64,
    /// Of all bytes of the file.
    checksum: u32,
}

impl SnapshotWriter {
    /// A file without keys.
    pub fn new(identity: &Identity) -> SnapshotWriter {
        let mut writer = SnapshotWriter {
            stage: Stage::Open,
            raw: Vec::with_capacity(BLOCK_RAW_MAX),
            raw_records: 0,
            packed: vec![0; lz4_flex::block::get_maximum_output_size(BLOCK_RAW_MAX)],
            long: VecDeque::new(),
            long_bytes: 0,
            chunk: BlockBuffer::with_capacity(CHUNK_BYTES),
            chunk_offset: 0,
            ready: VecDeque::new(),
            in_flight: 0,
            spares: Vec::new(),
            records: 0,
            blocks: 0,
            raw_bytes: 0,
            checksum: 0,
        };
        writer.append(&header(identity));
        writer
    }

    /// Adds a key; returns about how many bytes of work that was.
    ///
    /// # Panics
    /// After [`SnapshotWriter::finish`].
    pub fn push(&mut self, db: u16, entry: &Entry<'_>) -> usize {
        assert_eq!(self.stage, Stage::Open, "no key comes after the last one");
        if let ValueRef::Shared(value) = entry.value() {
            if value.len() >= BLOCK_RAW_MAX {
                self.push_shared(db, entry, value.clone());
                // The work comes later, but a walk that is told so leaves it at one.
                return entry.key().len() + value.len();
            }
        }
        self.push_value(db, entry.key(), entry.value().into(), entry.expire_at())
    }

    /// Adds a key that is in no table; returns about how many bytes of work that was.
    ///
    /// # Panics
    /// After [`SnapshotWriter::finish`].
    pub fn push_value(
        &mut self,
        db: u16,
        key: &[u8],
        value: ChangeValue<'_>,
        expire_at: Option<u64>,
    ) -> usize {
        assert_eq!(self.stage, Stage::Open, "no key comes after the last one");
        let before = self.raw.len();
        crate::record::encode(&Change::Set { db, key, value, expire_at }, &mut self.raw);
        let length = self.raw.len() - before;
        if self.raw.len() > BLOCK_RAW_MAX {
            let last = self.raw.split_off(before);
            self.flush_records();
            if last.len() > BLOCK_RAW_MAX {
                self.push_long([Bytes::from(last), Bytes::new(), Bytes::new()]);
                return length;
            }
            self.raw.extend_from_slice(&last);
        }
        self.raw_records += 1;
        length
    }

    /// Adds a key with a long string, which is shared.
    #[cold]
    fn push_shared(&mut self, db: u16, entry: &Entry<'_>, value: Bytes) {
        let (key, expire_at) = (entry.key(), entry.expire_at());
        let (mut head, mut tail) = (Vec::new(), Vec::new());
        crate::record::encode_around_value(db, key, value.len(), expire_at, &mut head, &mut tail);
        self.push_long([head.into(), value, tail.into()]);
    }

    fn push_long(&mut self, parts: [Bytes; 3]) {
        let long = Long { parts, done: 0 };
        self.long_bytes += long.len();
        self.long.push_back(long);
    }

    /// Cuts long records into blocks until about so many bytes are done; true when none is left.
    pub fn work(&mut self, bytes: usize) -> bool {
        let mut left = bytes;
        while let Some(mut long) = self.long.pop_front() {
            loop {
                if left == 0 {
                    self.long.push_front(long);
                    return false;
                }
                let mut part = Vec::with_capacity(BLOCK_RAW_MAX);
                let is_last = long.take(BLOCK_RAW_MAX, &mut part);
                self.long_bytes -= part.len();
                left = left.saturating_sub(part.len());
                let (kind, records) = if is_last { (KIND_LAST_PART, 1) } else { (KIND_PART, 0) };
                self.append_block(kind, &part, records);
                if is_last {
                    break;
                }
            }
        }
        true
    }

    /// All keys have come. What is left is cut into blocks and closed by a footer.
    pub fn finish(&mut self) {
        assert_eq!(self.stage, Stage::Open);
        self.work(usize::MAX);
        self.flush_records();
        let mut footer = [0; FOOTER_BYTES];
        for (at, number) in [self.records, self.blocks, self.raw_bytes].into_iter().enumerate() {
            footer[at * 8..][..8].copy_from_slice(&number.to_le_bytes());
        }
        self.append_block(KIND_FOOTER, &footer, 0);
        let padding = self.chunk.len().next_multiple_of(BLOCK_BYTES) - self.chunk.len();
        self.append(&[0; BLOCK_BYTES][..padding]);
        if !self.chunk.is_empty() {
            self.hand_over_chunk();
        }
        self.stage = Stage::Complete;
    }

    fn flush_records(&mut self) {
        if self.raw_records > 0 {
            let raw = std::mem::take(&mut self.raw);
            self.append_block(KIND_RECORDS, &raw, self.raw_records);
            self.raw = raw;
            self.raw.clear();
            self.raw_records = 0;
        }
    }

    fn append_block(&mut self, kind: u8, raw: &[u8], records: u32) {
        assert!(raw.len() <= BLOCK_RAW_MAX);
        let mut packed = std::mem::take(&mut self.packed);
        let length =
            lz4_flex::block::compress_into(raw, &mut packed).expect("it has room for the worst case");
        let (packing, bytes) = if length < raw.len() { (LZ4, &packed[..length]) } else { (AS_IT_IS, raw) };
        self.append(&block_header(kind, packing, bytes, raw.len(), records));
        self.append(bytes);
        self.packed = packed;
        if kind != KIND_FOOTER {
            self.records += u64::from(records);
            self.blocks += 1;
            self.raw_bytes += raw.len() as u64;
        }
    }

    fn append(&mut self, mut bytes: &[u8]) {
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        loop {
            let (taken, rest) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.chunk.len()));
            self.chunk.extend(taken);
            bytes = rest;
            if self.chunk.len() == CHUNK_BYTES {
                self.hand_over_chunk();
            }
            if bytes.is_empty() {
                return;
            }
        }
    }

    fn hand_over_chunk(&mut self) {
        let empty = self.spares.pop().unwrap_or_else(|| BlockBuffer::with_capacity(CHUNK_BYTES));
        let full = std::mem::replace(&mut self.chunk, empty);
        let offset = self.chunk_offset;
        self.chunk_offset += full.len() as u64;
        self.ready.push_back((offset, full));
    }

    /// The next thing to be done with the file, if there is one by now.
    pub fn poll(&mut self) -> Option<Op> {
        if let Some((offset, buffer)) = self.ready.pop_front() {
            self.in_flight += buffer.len();
            return Some(Op::Write { offset, buffer });
        }
        if self.stage == Stage::Complete && self.in_flight == 0 {
            self.stage = Stage::Done;
            return Some(Op::Sync(self.summary()));
        }
        None
    }

    /// A write is done, all of it.
    pub fn written(&mut self, mut buffer: BlockBuffer) {
        self.in_flight -= buffer.len();
        if self.spares.len() < SPARES_MAX {
            buffer.clear(CHUNK_BYTES);
            self.spares.push(buffer);
        }
    }

    /// Bytes of memory that wait to be written: whoever can should stop pushing when they are many.
    pub fn backlog(&self) -> usize {
        self.long_bytes + self.ready.len() * CHUNK_BYTES + self.in_flight
    }

    /// The part of it that only the disk can make less.
    pub fn disk_backlog(&self) -> usize {
        self.ready.len() * CHUNK_BYTES + self.in_flight
    }

    /// The part of it that is there although the walk may do without: of a single long record nobody can have less.
    pub fn surplus(&self) -> usize {
        if self.long.len() > 1 {
            self.backlog()
        } else {
            self.disk_backlog()
        }
    }

    /// Whether long records wait for [`SnapshotWriter::work`].
    pub fn has_work(&self) -> bool {
        !self.long.is_empty()
    }

    fn summary(&self) -> FileSummary {
        FileSummary { bytes: self.chunk_offset, checksum: self.checksum, keys: self.records }
    }
}

impl CutSink for SnapshotWriter {
    fn save(&mut self, db: u16, entry: &Entry<'_>) -> usize {
        self.push(db, entry)
    }
}

fn header(identity: &Identity) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[12..14].copy_from_slice(&identity.shard.to_le_bytes());
    header[14..16].copy_from_slice(&identity.shards.to_le_bytes());
    header[16..24].copy_from_slice(&identity.directory.to_le_bytes());
    header[24..32].copy_from_slice(&identity.cut.to_le_bytes());
    let sum = crc32c::crc32c(&header[..32]);
    header[32..36].copy_from_slice(&sum.to_le_bytes());
    header
}

fn block_header(kind: u8, packing: u8, packed: &[u8], raw: usize, records: u32) -> [u8; BLOCK_HEADER_BYTES] {
    let mut header = [0; BLOCK_HEADER_BYTES];
    (header[0], header[1]) = (kind, packing);
    header[4..8].copy_from_slice(&(packed.len() as u32).to_le_bytes());
    header[8..12].copy_from_slice(&(raw as u32).to_le_bytes());
    header[12..16].copy_from_slice(&records.to_le_bytes());
    let sum = crc32c::crc32c_append(crc32c::crc32c(&header[..16]), packed);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    header
}

//! What one executor writes to the log, and when.
//!
//! A state machine without files: it hands out operations ([`LogWriter::poll`]) and is told how they ended ([`LogWriter::completed`]). The server gives them to the kernel, a
//! simulation to a disk that loses and tears what was not synced.
//!
//! ```text
//! push   a record at the end of the open frame
//! seal   the open frame gets its positions
//! poll   sealed frames become one write: header of the segment if it is new, frames, zeros up to the block
//! ```
//!
//! One operation is under way at a time. So what is sealed while the disk works goes into the next write together (group commit), writes of one executor reach the
//! disk in their order, and a buffer is never changed under the kernel.
//!
//! A failed operation poisons the writer: what was written is not known any more, and a second fsync after a failed one says nothing about what the first one
//! lost (the kernel has marked those pages clean). Nothing is written after that.

use super::order::Order;
use super::segment::SegmentHeader;
use crate::block::{BlockBuffer, BLOCK_BYTES};
use crate::frame::{self, FrameHead, TAGGED_HEADER_BYTES};
use crate::limits::FRAME_BYTES_MAX;
use crate::record;
use kora_engine::change::Change;
use std::collections::VecDeque;
use std::sync::Arc;

/// When a change is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalSync {
    /// Before its reply leaves.
    EveryWrite,
    /// Within a second.
    EverySecond,
    /// When the system likes.
    OsManaged,
}

impl WalSync {
    /// As it is configured.
    pub fn name(self) -> &'static str {
        match self {
            WalSync::EveryWrite => "every_write",
            WalSync::EverySecond => "every_second",
            WalSync::OsManaged => "os_managed",
        }
    }
}

/// What a writer is, and how it writes.
#[derive(Debug, Clone)]
pub struct WriterConfig {
    /// Whose changes these are, which is also the writer's number in the [`Order`].
    pub shard: u16,
    /// Number of shards.
    pub shards: u16,
    /// How many times the directory was opened for writing.
    pub run: u32,
    /// The first position of the run.
    pub run_first_lsn: u64,
    /// Number of the directory.
    pub directory: u64,
    /// When a change is on the disk.
    pub sync: WalSync,
    /// Usual size of a segment, bytes.
    pub segment_bytes: u64,
}

/// A segment that can be written: a file of zeros, or of what nobody needs any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its number, never used before in this directory.
    pub id: u64,
    /// Its size.
    pub bytes: u64,
}

/// A segment that is full: nothing more is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Its number.
    pub id: u64,
    /// Its size.
    pub bytes: u64,
    /// The last position in it; 0 when it holds none.
    pub last_lsn: u64,
}

/// What is to be done with a file.
#[derive(Debug)]
pub enum Op<'w> {
    /// Write these blocks.
    Write {
        /// To be given back with the completion.
        token: u32,
        /// Number of the segment.
        segment: u64,
        /// Where in the file, a multiple of blocks.
        offset: u64,
        /// Whole blocks in aligned memory, which stay in place until the completion.
        buf: &'w [u8],
        /// Whether it must be durable when it completes.
        dsync: bool,
    },
    /// Make durable what was written.
    Sync {
        /// To be given back with the completion.
        token: u32,
        /// Number of the segment.
        segment: u64,
    },
}

/// Why nothing is written any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Poison(pub String);

/// A place in what was pushed and not sealed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    frames: usize,
    len: usize,
    records: u64,
}

/// Sealed bytes that are written without waiting for the timer: enough for the disk to be efficient.
const GATHER_BYTES: usize = 128 << 10;
/// Bytes of one write, unless a single frame has more.
const WRITE_BYTES_MAX: usize = 1 << 20;
/// Frames that follow each other are put together up to this: a header less.
const MERGE_BYTES_MAX: usize = 64 << 10;
/// A unit that is longer is split over several frames.
const SPLIT_BYTES: usize = 64 << 20;
/// How long a change may be sealed before it is made durable, milliseconds. A loss of a second is what is promised; the rest is for the disk.
const INTERVAL_MS: u64 = 500;
/// Under `every_write`: how long a write waits at most for those to join it that were in the one before, microseconds. Clients that were answered together ask
/// again one after the other; without the wait every second write would hold a single change.
const COMPANY_MAX_US: u64 = 400;
/// Memory that is kept for what waits, bytes.
const QUEUE_KEPT_BYTES: usize = 4 << 20;

/// In the tag of a unit that was split: no coordinator gives such tags.
const SPLIT_TAG: u64 = 1 << 63;

/// A frame that is not written yet; its records lie in the queue.
#[derive(Debug, Clone, Copy)]
struct Pending {
    len: usize,
    records: u64,
    /// 0 until it is sealed.
    first_lsn: u64,
    tag: Option<u64>,
}

struct Current {
    segment: Segment,
    /// Where the next write goes.
    at: u64,
    last_lsn: u64,
    /// Something was written since it was last synced.
    unsynced: bool,
}

enum InFlight {
    Write { token: u32, offset: u64, done: usize, last_lsn: u64, dsync: bool },
    Sync { token: u32, up_to: u64 },
}

/// See the module.
pub struct LogWriter {
    config: WriterConfig,
    order: Arc<Order>,
    /// Records of all pending frames, from `head` on.
    queue: Vec<u8>,
    head: usize,
    frames: VecDeque<Pending>,
    /// Records in frames that are not sealed, which are the last ones.
    open_records: u64,
    /// Bytes of the queue that are sealed.
    sealed_bytes: usize,
    tag: Option<u64>,
    /// The tag of the unit that is being split.
    split: Option<u64>,
    splits: u64,
    /// The last position that was sealed, written, made durable.
    sealed_lsn: u64,
    written_lsn: u64,
    durable_lsn: u64,
    /// Up to here everything is to be made durable without waiting.
    flush_to: u64,
    /// The present time, microseconds on any clock, if anybody tells.
    now_us: u64,
    /// When the last write began.
    began_us: u64,
    /// Until when the next one waits for company, and how much of it.
    company_until_us: u64,
    company: u64,
    /// Sealed records that are not written.
    sealed_records: u64,
    /// Up to here the time has come to write, and with `every_second` to sync.
    due_lsn: u64,
    /// When the oldest change was noticed that comes after that.
    dirty_since: Option<u64>,
    current: Option<Current>,
    next: Option<Segment>,
    closed: Vec<Closed>,
    rotates: bool,
    chunk: BlockBuffer,
    in_flight: Option<InFlight>,
    tokens: u32,
    poison: Option<Poison>,
}

impl LogWriter {
    /// A writer that has no segment yet.
    pub fn new(config: WriterConfig, order: Arc<Order>) -> LogWriter {
        LogWriter {
            config,
            order,
            queue: Vec::new(),
            head: 0,
            frames: VecDeque::new(),
            open_records: 0,
            sealed_bytes: 0,
            tag: None,
            split: None,
            splits: 0,
            sealed_lsn: 0,
            written_lsn: 0,
            durable_lsn: 0,
            flush_to: 0,
            now_us: 0,
            began_us: 0,
            company_until_us: 0,
            company: 0,
            sealed_records: 0,
            due_lsn: 0,
            dirty_since: None,
            current: None,
            next: None,
            closed: Vec::new(),
            rotates: false,
            chunk: BlockBuffer::with_capacity(GATHER_BYTES + 2 * BLOCK_BYTES),
            in_flight: None,
            tokens: 0,
            poison: None,
        }
    }

    // ---- records -----------------------------------------------------------------------------------------

    /// Adds a change.
    #[inline]
    pub fn push(&mut self, change: &Change<'_>) {
        let before = self.queue.len();
        record::encode(change, &mut self.queue);
        self.pushed(before);
    }

    /// Adds all libraries of functions as they are now.
    pub fn push_functions(&mut self, dump: &[u8]) {
        let before = self.queue.len();
        record::encode_functions(dump, &mut self.queue);
        self.pushed(before);
    }

    /// The transaction with this tag is whole. All that it has changed, on whatever shards, is sealed there.
    pub fn commit(&mut self, tag: u64) {
        let before = self.queue.len();
        record::encode_commit(tag, &mut self.queue);
        self.pushed(before);
    }

    /// What is pushed from now on belongs to this transaction, or to none.
    pub fn set_tag(&mut self, tag: Option<u64>) {
        self.tag = tag;
    }

    #[inline]
    fn pushed(&mut self, before: usize) {
        let len = self.queue.len() - before;
        let tag = self.tag.or(self.split);
        match self.frames.back_mut() {
            Some(open) if open.first_lsn == 0 && open.tag == tag && open.len < SPLIT_BYTES => {
                open.len += len;
                open.records += 1;
            }
            _ => {
                // Never taken up while poisoned: there are no frames then.
                if self.poison.is_some() {
                    self.queue.clear();
                    return;
                }
                self.begin_frame(len);
            }
        }
        self.open_records += 1;
    }

    fn begin_frame(&mut self, len: usize) {
        let mut tag = self.tag.or(self.split);
        let is_split = |open: &Pending| open.first_lsn == 0 && open.tag.is_none() && open.len >= SPLIT_BYTES;
        if tag.is_none() && self.frames.back().is_some_and(is_split) {
            // A unit without a tag that is too long for a frame becomes one with a tag, of this writer alone.
            self.splits += 1;
            self.split = Some(SPLIT_TAG | u64::from(self.config.shard) << 40 | self.splits);
            tag = self.split;
            self.frames.back_mut().expect("just seen").tag = tag;
        }
        self.frames.push_back(Pending { len, records: 1, first_lsn: 0, tag });
    }

    /// Where the log is now, among what is not sealed.
    #[inline]
    pub fn mark(&self) -> Mark {
        match self.frames.back() {
            Some(open) if open.first_lsn == 0 => {
                Mark { frames: self.frames.len() - 1, len: open.len, records: open.records }
            }
            _ => Mark { frames: self.frames.len(), len: 0, records: 0 },
        }
    }

    /// What was pushed since then belongs to this transaction. Nothing was sealed or handed out meanwhile.
    pub fn tag_since(&mut self, mark: Mark, tag: u64) {
        let mut rest: Vec<Pending> = self.frames.drain(mark.frames..).collect();
        if let Some(first) = rest.first_mut().filter(|_| mark.records > 0) {
            self.frames.push_back(Pending { len: mark.len, records: mark.records, ..*first });
            first.len -= mark.len;
            first.records -= mark.records;
        }
        let since = rest.into_iter().filter(|frame| frame.records > 0);
        self.frames.extend(since.map(|frame| Pending { tag: Some(tag), ..frame }));
    }

    /// Gives everything that was pushed its positions. Returns the last position that this writer has given.
    #[inline]
    pub fn seal(&mut self) -> u64 {
        if self.open_records > 0 {
            self.seal_open();
        }
        self.sealed_lsn
    }

    fn seal_open(&mut self) {
        if let Some(split) = self.split.take() {
            self.commit(split);
        }
        if self.poison.is_some() {
            self.open_records = 0;
            return;
        }
        let mut lsn = self.order.draw(self.config.shard as usize, self.open_records);
        let open = self.frames.iter().rev().take_while(|frame| frame.first_lsn == 0).count();
        let first = self.frames.len() - open;
        for frame in self.frames.range_mut(first..) {
            frame.first_lsn = lsn;
            lsn += frame.records;
            self.sealed_bytes += frame.len;
        }
        self.sealed_lsn = lsn - 1;
        self.sealed_records += self.open_records;
        self.open_records = 0;
        if open == 1 && first > 0 {
            let (last, before) = (self.frames[first], self.frames[first - 1]);
            let follows = before.first_lsn + before.records == last.first_lsn;
            if follows && last.tag == before.tag && before.len + last.len <= MERGE_BYTES_MAX {
                self.frames.pop_back();
                let before = self.frames.back_mut().expect("there are two");
                before.len += last.len;
                before.records += last.records;
            }
        }
    }

    // ---- segments ----------------------------------------------------------------------------------------

    /// Whether a segment should be made ready, and of how many bytes at least. It asks ahead of need.
    pub fn wants_segment(&self) -> Option<u64> {
        if self.next.is_some() || self.poison.is_some() {
            return None;
        }
        let room = self.current.as_ref().map_or(0, |current| current.segment.bytes - current.at);
        let half = self.current.as_ref().map_or(0, |current| current.segment.bytes / 2);
        let needed = self.frames.front().map_or(0, |frame| needed_bytes(frame.len));
        (room < half.max(BLOCK_BYTES as u64) || room < needed || self.rotates)
            .then_some(self.config.segment_bytes.max(needed))
    }

    /// Gives it the next segment.
    pub fn give_segment(&mut self, segment: Segment) {
        debug_assert!(self.next.is_none(), "it wants one at a time");
        self.next = Some(segment);
    }

    /// Segments that are full since this was last asked.
    pub fn take_closed(&mut self) -> Vec<Closed> {
        std::mem::take(&mut self.closed)
    }

    /// Goes on in a new segment, so that the present one ends with what is sealed by now.
    pub fn rotate(&mut self) {
        self.rotates = self.current.as_ref().is_some_and(|current| current.at > 0) || self.sealed_bytes > 0;
        self.flush_to = self.sealed_lsn;
    }

    fn close_current(&mut self) {
        if let Some(Current { segment, last_lsn, .. }) = self.current.take() {
            self.closed.push(Closed { id: segment.id, bytes: segment.bytes, last_lsn });
        }
    }

    // ---- operations --------------------------------------------------------------------------------------

    /// Says what time it is, in microseconds. Who never does has every change written at once.
    pub fn set_time(&mut self, now_us: u64) {
        self.now_us = now_us;
    }

    /// For how many microseconds the next write waits for company.
    pub fn waits_us(&self) -> Option<u64> {
        let waits = self.in_flight.is_none() && self.sealed_bytes > 0 && self.waits_for_company();
        waits.then(|| self.company_until_us - self.now_us)
    }

    fn waits_for_company(&self) -> bool {
        self.now_us < self.company_until_us
            && self.sealed_records < self.company
            && self.flush_to <= self.durable_lsn
    }

    /// The next operation, if there is one to be started now.
    pub fn poll(&mut self, now_ms: u64) -> Option<Op<'_>> {
        if self.poison.is_some() {
            return None;
        }
        let strict = self.config.sync == WalSync::EveryWrite;
        // Noticed even while the disk works, so that what is sealed meanwhile does not wait an operation longer.
        if !strict && self.sealed_lsn > self.due_lsn.max(self.flush_to) {
            self.dirty_since.get_or_insert(now_ms);
        }
        if self.in_flight.is_some() {
            return None;
        }
        if self.dirty_since.is_some_and(|since| now_ms >= since + INTERVAL_MS) {
            // What is sealed from now on has its own time: otherwise there would be something to write before the sync for ever.
            self.due_lsn = self.sealed_lsn;
            self.dirty_since = None;
        }
        let unwritten = self.sealed_bytes > 0;
        let due = self.due_lsn.max(self.flush_to);
        if unwritten && (strict || self.written_lsn < due || self.sealed_bytes >= GATHER_BYTES) {
            if strict && self.waits_for_company() {
                return None;
            }
            return self.write();
        }
        let sync_to = if self.config.sync == WalSync::EverySecond { due } else { self.flush_to };
        if self.durable_lsn < sync_to && self.durable_lsn < self.written_lsn {
            return self.sync();
        }
        if self.rotates && !unwritten {
            self.rotates = false;
            self.close_current();
        }
        None
    }

    /// When [`LogWriter::poll`] wants to be called at the latest, though nothing happens.
    pub fn deadline(&self) -> Option<u64> {
        if self.in_flight.is_some() || self.poison.is_some() {
            return None;
        }
        self.dirty_since.map(|since| since + INTERVAL_MS)
    }

    /// Everything that is sealed is to be made durable as soon as the disk allows.
    pub fn flush_all(&mut self) {
        self.flush_to = self.sealed_lsn;
    }

    /// Whether everything that is sealed is as durable as it is to be.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.sealed_bytes == 0 && self.flush_to <= self.durable_lsn
    }

    /// Bytes that are not in a file yet.
    pub fn backlog_bytes(&self) -> usize {
        self.queue.len() - self.head + if self.in_flight.is_some() { self.chunk.len() } else { 0 }
    }

    /// Why nothing is written any more.
    pub fn poisoned(&self) -> Option<&Poison> {
        self.poison.as_ref()
    }

    /// Nothing is written from now on.
    pub fn poison(&mut self, cause: String) {
        if self.poison.is_none() {
            self.poison = Some(Poison(cause));
            // A position that nobody writes: what others seal from now on is not restored. It may belong to a transaction a part of which would have
            // been written here.
            self.order.draw(self.config.shard as usize, 1);
        }
        self.frames.clear();
        self.queue = Vec::new();
        (self.head, self.open_records, self.sealed_bytes, self.sealed_records) = (0, 0, 0, 0);
    }

    fn token(&mut self) -> u32 {
        self.tokens = self.tokens.wrapping_add(1);
        self.tokens
    }

    fn write(&mut self) -> Option<Op<'_>> {
        let first = self.frames.front().expect("something is sealed");
        let needed = needed_bytes(first.len);
        let fits = |current: &Current| current.segment.bytes - current.at >= needed;
        if self.rotates || !self.current.as_ref().is_some_and(fits) {
            if let Some(current) = &self.current {
                // With `os_managed` as well: who asks for a sync later gets one of the segment that is written then.
                if current.unsynced {
                    return self.sync();
                }
            }
            match self.next {
                None => return None,
                Some(next) if next.bytes < needed => {
                    // A frame that needs a larger one; this one is of no use now.
                    self.next = None;
                    self.closed.push(Closed { id: next.id, bytes: next.bytes, last_lsn: 0 });
                    return None;
                }
                Some(next) => {
                    self.close_current();
                    self.rotates = false;
                    self.next = None;
                    self.current = Some(Current { segment: next, at: 0, last_lsn: 0, unsynced: false });
                }
            }
        }
        self.fill_chunk();
        let dsync = self.config.sync == WalSync::EveryWrite;
        let token = self.token();
        let current = self.current.as_mut().expect("it has one by now");
        let offset = current.at;
        current.at += self.chunk.len() as u64;
        current.unsynced |= !dsync;
        self.in_flight = Some(InFlight::Write { token, offset, done: 0, last_lsn: current.last_lsn, dsync });
        Some(Op::Write { token, segment: current.segment.id, offset, buf: self.chunk.as_slice(), dsync })
    }

    /// Moves sealed frames into the chunk: at least one, and as many as fit.
    fn fill_chunk(&mut self) {
        let durable = self.order.durable();
        let current = self.current.as_mut().expect("there is one");
        let config = &self.config;
        self.chunk.clear(WRITE_BYTES_MAX + 2 * BLOCK_BYTES);
        self.company = 0;
        self.began_us = self.now_us;
        if current.at == 0 {
            let first_lsn = self.frames[0].first_lsn;
            let header = SegmentHeader {
                run: config.run,
                directory: config.directory,
                segment: current.segment.id,
                run_first_lsn: config.run_first_lsn,
                first_lsn,
                shard: config.shard,
                shards: config.shards,
            };
            self.chunk.extend(&header.encode());
        }
        let room = (current.segment.bytes - current.at) as usize;
        // Of the watermark of a log that never syncs nothing may be concluded.
        let durable = if config.sync == WalSync::OsManaged { config.run_first_lsn - 1 } else { durable };
        while let Some(&Pending { len, records, first_lsn, tag }) = self.frames.front() {
            let end = (self.chunk.len() + TAGGED_HEADER_BYTES + len).next_multiple_of(8);
            let fits = end <= room && (end <= WRITE_BYTES_MAX || self.chunk.len() <= BLOCK_BYTES);
            if first_lsn == 0 || !fits {
                break;
            }
            let payload = &self.queue[self.head..self.head + len];
            let last_lsn = first_lsn + records - 1;
            let segment = current.segment.id as u32;
            let head = FrameHead { shard: config.shard, first_lsn, last_lsn, segment, durable, tag };
            let (header, header_len) = frame::header(&head, payload);
            self.chunk.extend(&header[..header_len]);
            self.chunk.extend(payload);
            // Frames begin at multiples of eight, so that the length of the next one never reaches over the end of a block.
            self.chunk.extend(&[0; 8][..self.chunk.len().next_multiple_of(8) - self.chunk.len()]);
            self.head += len;
            self.sealed_bytes -= len;
            self.sealed_records -= records;
            self.company += records;
            self.frames.pop_front();
            current.last_lsn = last_lsn;
        }
        self.chunk.pad();
        if self.head == self.queue.len() {
            self.queue.clear();
            self.queue.shrink_to(QUEUE_KEPT_BYTES);
            self.head = 0;
        } else if self.head > self.queue.len() / 2 {
            self.queue.drain(..self.head);
            self.head = 0;
        }
    }

    fn sync(&mut self) -> Option<Op<'_>> {
        let token = self.token();
        let current = self.current.as_ref()?;
        self.in_flight = Some(InFlight::Sync { token, up_to: self.written_lsn });
        Some(Op::Sync { token, segment: current.segment.id })
    }

    /// What is left of a write that was done in part, or was not done for a reason that passes.
    pub fn again(&mut self) -> Option<Op<'_>> {
        let segment = self.current.as_ref()?.segment.id;
        match *self.in_flight.as_ref()? {
            InFlight::Write { token, offset, done, dsync, .. } => Some(Op::Write {
                token,
                segment,
                offset: offset + done as u64,
                buf: &self.chunk.as_slice()[done..],
                dsync,
            }),
            InFlight::Sync { token, .. } => Some(Op::Sync { token, segment }),
        }
    }

    /// An operation has ended: so many bytes were written (for a sync the number means nothing), or an error number. Returns whether it is not done yet: then
    /// [`LogWriter::again`] has what is left.
    pub fn completed(&mut self, token: u32, result: Result<usize, i32>) -> bool {
        const EINTR: i32 = 4;
        const EAGAIN: i32 = 11;
        let Some(in_flight) = self.in_flight.as_mut() else { return false };
        let expected = match in_flight {
            InFlight::Write { token, .. } | InFlight::Sync { token, .. } => *token,
        };
        if token != expected {
            return false;
        }
        let bytes = match result {
            Ok(bytes) => bytes,
            Err(EINTR | EAGAIN) => return true,
            Err(errno) => {
                let what = match in_flight {
                    InFlight::Write { .. } => "writing",
                    InFlight::Sync { .. } => "syncing",
                };
                let segment = self.current.as_ref().map_or(0, |current| current.segment.id);
                let cause = std::io::Error::from_raw_os_error(errno);
                self.in_flight = None;
                self.poison(format!("{what} {}: {cause}", super::segment_name(segment)));
                return false;
            }
        };
        match in_flight {
            InFlight::Write { done, last_lsn, dsync, .. } => {
                *done += bytes;
                if *done < self.chunk.len() {
                    // Direct I/O goes on at a block.
                    *done -= *done % BLOCK_BYTES;
                    if bytes < BLOCK_BYTES {
                        self.in_flight = None;
                        self.poison("a write has written nothing: the disk is full".into());
                        return false;
                    }
                    return true;
                }
                let (last_lsn, dsync) = (*last_lsn, *dsync);
                self.written_lsn = last_lsn;
                self.in_flight = None;
                if dsync {
                    // Half of what the disk takes is no great loss for who waits, and a great gain if the next write serves twice as many.
                    let took = self.now_us.saturating_sub(self.began_us);
                    self.company_until_us = self.now_us + (took / 2).min(COMPANY_MAX_US);
                    // Those who are answered now, and those who wait already.
                    self.company += self.sealed_records;
                    self.made_durable(last_lsn);
                }
            }
            InFlight::Sync { up_to, .. } => {
                let up_to = *up_to;
                self.in_flight = None;
                if let Some(current) = &mut self.current {
                    current.unsynced = false;
                }
                self.made_durable(up_to);
            }
        }
        false
    }

    fn made_durable(&mut self, lsn: u64) {
        self.durable_lsn = lsn;
        let next = self.frames.front().map(|frame| frame.first_lsn).filter(|&first| first > 0);
        self.order.made_durable(self.config.shard as usize, next);
    }
}

/// What a frame takes at most in a segment, its header block included.
fn needed_bytes(len: usize) -> u64 {
    ((TAGGED_HEADER_BYTES + len).next_multiple_of(BLOCK_BYTES) + BLOCK_BYTES) as u64
}

const _: () = assert!(SPLIT_BYTES < FRAME_BYTES_MAX / 2);

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;

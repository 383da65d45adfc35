//! The whole log in the order of its positions: what a recovery applies, and what a reader of changes follows.
//!
//! - Positions follow each other without a gap; the first one that is missing is the end. If anything says that it was durable, the log is damaged there, and nothing is
//!   guessed: an error names the file and the offset.
//! - What an earlier run holds from the first position of a later one on is void: it was cut off when the later run began.
//! - Frames of a transaction wait for its commit, and what comes after them with them, so that the order stays. At the end of their run, frames of transactions that have not
//!   committed are left out.

use super::files::Files;
use super::reader::{SegmentReader, Spot};
use super::segment::{HeaderError, SegmentHeader};
use crate::block::BLOCK_BYTES;
use crate::error::DecodeError;
use crate::frame::{self, FrameHead, HEADER_BYTES};
use crate::record::{self, Entry};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::io;

/// Why a log cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file cannot be read.
    #[error("{0}: {1}")]
    Io(String, io::Error),
    /// A segment is of another directory, or of a newer server.
    #[error("{file}: {reason}")]
    Segment {
        /// Which one.
        file: String,
        /// Why it cannot be read.
        reason: String,
    },
    /// Changes are missing that were durable.
    #[error("{file}, offset {offset}: {reason}; changes from log position {lsn} on cannot be restored, though positions up to {durable} were durable. `kora check DIR` shows what there is, `kora repair DIR` keeps a backup and cuts the log off before the damage")]
    Damage {
        /// The file in which they should be, as far as that is known.
        file: String,
        /// Where in it, bytes.
        offset: u64,
        /// What stands there.
        reason: String,
        /// The first position that is missing.
        lsn: u64,
        /// Up to where everything was durable once.
        durable: u64,
    },
}

/// A run of records of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The run that wrote it.
    pub run: u32,
    /// Whose changes these are.
    pub shard: u16,
    /// Of how many shards.
    pub shards: u16,
    /// The position of the first record.
    pub first_lsn: u64,
    /// Encoded records, one after the other.
    pub records: Vec<u8>,
    /// How many.
    pub count: u64,
    /// The transaction that they belong to.
    pub tag: Option<u64>,
}

impl Batch {
    /// The records with their positions. Every one of them was found to be well-formed.
    pub fn entries(&self) -> impl Iterator<Item = (u64, Entry<'_>)> {
        let mut left = &self.records[..];
        (self.first_lsn..self.first_lsn + self.count).map(move |lsn| {
            let (entry, length) = record::decode_entry(left).expect("it was decoded before");
            left = &left[length..];
            (lsn, entry)
        })
    }
}

/// A segment, as far as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Its header.
    pub header: SegmentHeader,
    /// Its size.
    pub bytes: u64,
    /// The last position in it; 0 when it holds none.
    pub last_lsn: u64,
    /// What in it is not understood.
    pub spots: Vec<Spot>,
}

/// How a log ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct End {
    /// The last position of the state that is restored.
    pub last_lsn: u64,
    /// The highest number of a run; 0 when there was none.
    pub run: u32,
    /// Positions above the end that were found and are cut off, with what was between.
    pub torn: Option<Torn>,
    /// Transactions that are left out because they had not committed.
    pub dropped: usize,
    /// All segments, in the order of their numbers.
    pub segments: Vec<SegmentFacts>,
    /// Files whose first block is that of no segment.
    pub unreadable: Vec<(u64, HeaderError)>,
    /// A number above that of every file.
    pub next_segment: u64,
}

/// What a crash has left behind the end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The first position that is missing.
    pub missing_lsn: u64,
    /// The highest position that was found all the same; 0 if there was none.
    pub found_lsn: u64,
    /// Records that were found behind the gap.
    pub records: u64,
}

struct Source {
    header: SegmentHeader,
    reader: SegmentReader,
    bytes: u64,
    /// The position from which on it is void: a later run began there.
    void_from: u64,
    /// Its next frame.
    next: Option<(u64, FrameHead, Vec<u8>)>,
}

/// See the module.
pub struct Replay<F> {
    files: F,
    sources: Vec<Source>,
    /// Sources that were not begun, the one with the lowest first position last.
    unopened: Vec<usize>,
    /// Sources with a next frame.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    expected: u64,
    run: u32,
    /// Up to where everything is known to have been durable.
    durable: u64,
    /// From the first frame on whose transaction has not committed.
    held: VecDeque<Batch>,
    /// Transactions of `held` that have not committed.
    open: HashSet<u64>,
    ready: VecDeque<Batch>,
    end: End,
    ended: bool,
    read: u64,
    /// Numbers and sizes of the files whose first block is not that of this segment.
    headless: Vec<(u64, u64, HeaderError)>,
}

impl<F: Files> Replay<F> {
    /// The log in these files from a position on. With the number of their directory, segments of another one are refused.
    ///
    /// # Errors
    /// They cannot be listed or read, or are of another directory or a newer server.
    pub fn open(mut files: F, directory: Option<u64>, from: u64) -> Result<Replay<F>, LogError> {
        let listed = files.list().map_err(|error| LogError::Io("the segments of the log".into(), error))?;
        let mut end = End { next_segment: 1, last_lsn: from.saturating_sub(1), ..End::default() };
        let (mut sources, mut headless) = (Vec::new(), Vec::new());
        for (segment, bytes) in listed {
            end.next_segment = end.next_segment.max(segment.saturating_add(1));
            let mut block = [0; BLOCK_BYTES];
            let read = files.read_at(segment, 0, &mut block);
            let read = read.map_err(|error| LogError::Io(files.name(segment), error))?;
            let header = match SegmentHeader::decode(&block) {
                Ok(header) => header,
                // Made ready and not written.
                Err(error @ HeaderError::Empty) => {
                    headless.push((segment, bytes, error));
                    continue;
                }
                // Its changes are missing, which their positions tell.
                Err(error @ (HeaderError::Checksum | HeaderError::Magic)) => {
                    headless.push((segment, bytes, error));
                    end.unreadable.push((segment, error));
                    continue;
                }
                Err(error @ HeaderError::Version(_)) => {
                    return Err(LogError::Segment { file: files.name(segment), reason: error.to_string() });
                }
            };
            // Made ready again, and not written since.
            if header.segment != segment || read < BLOCK_BYTES {
                headless.push((segment, bytes, HeaderError::Empty));
                continue;
            }
            if directory.is_some_and(|directory| directory != header.directory) {
                let reason = "this segment belongs to another data directory; move it away".into();
                return Err(LogError::Segment { file: files.name(segment), reason });
            }
            end.run = end.run.max(header.run);
            let reader = SegmentReader::new(&header, bytes);
            sources.push(Source { header, reader, bytes, void_from: u64::MAX, next: None });
        }
        let starts: Vec<(u32, u64)> =
            sources.iter().map(|source| (source.header.run, source.header.run_first_lsn)).collect();
        for source in &mut sources {
            let later = starts.iter().filter(|(run, _)| *run > source.header.run);
            source.void_from = later.map(|(_, first)| *first).min().unwrap_or(u64::MAX);
        }
        let mut unopened: Vec<usize> = (0..sources.len()).collect();
        unopened.sort_by_key(|&at| Reverse((sources[at].header.first_lsn, sources[at].header.run)));
        Ok(Replay {
            files,
            sources,
            unopened,
            heads: BinaryHeap::new(),
            expected: from,
            run: 0,
            durable: 0,
            held: VecDeque::new(),
            open: HashSet::new(),
            ready: VecDeque::new(),
            end,
            ended: false,
            read: 0,
            headless,
        })
    }

    /// What comes before is from a snapshot that this run has taken. So what earlier runs hold from there on is void, even if nothing that this run has written can be
    /// found: it need not have reached the disk before the snapshot did, or was recycled after it.
    pub fn after_snapshot_of(mut self, run: u32) -> Replay<F> {
        self.end.run = self.end.run.max(run);
        for source in self.sources.iter_mut().filter(|source| source.header.run < run) {
            source.void_from = source.void_from.min(self.expected);
        }
        self
    }

    /// Everything up to this position was durable once: there was a snapshot of it. If the log does not come as far, it is not a crash that has torn it.
    pub fn durable_up_to(mut self, lsn: u64) -> Replay<F> {
        self.durable = self.durable.max(lsn);
        self
    }

    /// Bytes of all segments.
    pub fn total_bytes(&self) -> u64 {
        self.sources.iter().map(|source| source.bytes).sum()
    }

    /// Bytes that were read.
    pub fn read_bytes(&self) -> u64 {
        self.read
    }

    /// The files.
    pub fn files(&self) -> &F {
        &self.files
    }

    /// The next records; none at the end.
    ///
    /// # Errors
    /// The log is damaged, or cannot be read.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, LogError> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            if self.ended {
                return Ok(None);
            }
            match self.take_frame()? {
                Some((source, head, payload)) => self.frame(source, head, payload)?,
                None => self.finish()?,
            }
        }
    }

    /// How the log ends. All is known once [`Replay::next_batch`] has given nothing.
    pub fn end(&self) -> &End {
        &self.end
    }

    /// The frame with the lowest position.
    fn take_frame(&mut self) -> Result<Option<(usize, FrameHead, Vec<u8>)>, LogError> {
        loop {
            let lowest = self.heads.peek().map(|Reverse((lsn, _))| *lsn);
            match self.unopened.last() {
                Some(&at) if lowest.is_none_or(|lowest| self.sources[at].header.first_lsn <= lowest) => {
                    self.unopened.pop();
                    self.advance(at)?;
                }
                _ => break,
            }
        }
        let Some(Reverse((_, at))) = self.heads.pop() else { return Ok(None) };
        let (_, head, payload) = self.sources[at].next.take().expect("it is among the heads");
        self.advance(at)?;
        Ok(Some((at, head, payload)))
    }

    fn advance(&mut self, at: usize) -> Result<(), LogError> {
        let source = &mut self.sources[at];
        let before = source.reader.position();
        let next = source.reader.next_frame(&mut self.files);
        let next = next.map(|next| next.map(|(offset, head, payload)| (offset, head, payload.to_vec())));
        let next = next.map_err(|error| LogError::Io(self.files.name(source.header.segment), error))?;
        self.read += source.reader.position() - before;
        if let Some((_, head, _)) = &next {
            self.heads.push(Reverse((head.first_lsn, at)));
        }
        source.next = next;
        Ok(())
    }

    fn frame(&mut self, source: usize, head: FrameHead, payload: Vec<u8>) -> Result<(), LogError> {
        let SegmentHeader { run, shards, run_first_lsn, .. } = self.sources[source].header;
        // A later run began between two frames; the cut of a snapshot can lie within one that was void before.
        if head.last_lsn >= self.sources[source].void_from {
            return Ok(());
        }
        // A run begins with what was there: it was made durable before.
        self.durable = self.durable.max(head.durable).max(run_first_lsn.saturating_sub(1));
        if head.last_lsn < self.expected {
            return Ok(());
        }
        if head.last_lsn == u64::MAX {
            // There would be no position after it.
            let error = DecodeError::LsnRange { first: head.first_lsn, last: head.last_lsn };
            return Err(self.malformed(source, &head, error));
        }
        if head.first_lsn > self.expected || self.end.torn.is_some() {
            let torn =
                self.end.torn.get_or_insert(Torn { missing_lsn: self.expected, found_lsn: 0, records: 0 });
            torn.found_lsn = torn.found_lsn.max(head.last_lsn);
            torn.records = torn.records.saturating_add(head.last_lsn - head.first_lsn + 1);
            return Ok(());
        }
        if run > self.run {
            // What an earlier run has not committed never will be.
            self.drop_open();
            self.run = run;
        }
        let mut batch = Batch {
            run,
            shard: head.shard,
            shards,
            first_lsn: head.first_lsn,
            count: head.last_lsn - head.first_lsn + 1,
            records: payload,
            tag: head.tag,
        };
        let mut skipped = 0;
        let mut at = 0;
        let mut commits = Vec::new();
        for position in 0..batch.count {
            let entry = record::decode_entry(&batch.records[at..]);
            let (entry, length) = entry.map_err(|error| self.malformed(source, &head, error))?;
            if let Entry::Commit { tag } = entry {
                commits.push(tag);
            }
            at += length;
            if head.first_lsn + position < self.expected {
                skipped = at;
            }
        }
        if at != batch.records.len() {
            let left = batch.records.len() - at;
            let error = DecodeError::RecordCount { last: head.last_lsn, at: head.last_lsn, left };
            return Err(self.malformed(source, &head, error));
        }
        if skipped > 0 {
            batch.records.drain(..skipped);
            batch.count = head.last_lsn + 1 - self.expected;
            batch.first_lsn = self.expected;
        }
        self.expected = head.last_lsn + 1;
        if let Some(tag) = batch.tag {
            self.open.insert(tag);
        }
        if self.open.is_empty() {
            self.ready.push_back(batch);
            return Ok(());
        }
        self.held.push_back(batch);
        for tag in commits {
            if self.open.remove(&tag) {
                // So that what it held up is not taken for one that never ends.
                self.held.iter_mut().filter(|held| held.tag == Some(tag)).for_each(|held| held.tag = None);
            }
        }
        while self.held.front().is_some_and(|held| held.tag.is_none()) {
            self.ready.extend(self.held.pop_front());
        }
        Ok(())
    }

    fn malformed(&mut self, source: usize, head: &FrameHead, error: DecodeError) -> LogError {
        self.expected = head.first_lsn;
        self.conclude();
        let source = &self.sources[source];
        LogError::Damage {
            file: self.files.name(source.header.segment),
            offset: source.reader.position(),
            reason: format!("before it an intact frame holds a record that is none: {error}"),
            lsn: head.first_lsn,
            durable: self.durable,
        }
    }

    /// Leaves out what has not committed, and lets go of what has waited for it.
    fn drop_open(&mut self) {
        self.end.dropped += self.open.len();
        self.open.clear();
        self.ready.extend(self.held.drain(..).filter(|held| held.tag.is_none()));
    }

    /// Notes how the log ends.
    fn conclude(&mut self) {
        self.ended = true;
        self.drop_open();
        self.end.last_lsn = self.expected - 1;
        self.end.segments = self
            .sources
            .iter()
            .map(|source| SegmentFacts {
                header: source.header,
                bytes: source.bytes,
                last_lsn: source.reader.last_lsn().min(self.end.last_lsn),
                spots: source.reader.spots().to_vec(),
            })
            .collect();
    }

    fn finish(&mut self) -> Result<(), LogError> {
        self.conclude();
        self.look_behind_first_blocks()?;
        if self.durable < self.expected {
            self.note_torn_frame();
            return Ok(());
        }
        let (file, offset, reason) = self.place_of_damage();
        Err(LogError::Damage { file, offset, reason, lsn: self.expected, durable: self.durable })
    }

    /// A segment whose first block cannot be read is left out, but not what its frames say: up to where everything was durable is true whatever stands before it. A crash leaves
    /// a first block that is of no use yet; one that was changed is damage, and then all that follows it was there.
    fn look_behind_first_blocks(&mut self) -> Result<(), LogError> {
        for (segment, bytes, error) in std::mem::take(&mut self.headless) {
            let was_changed = matches!(error, HeaderError::Checksum | HeaderError::Magic);
            let failed = |files: &F, error| LogError::Io(files.name(segment), error);
            let mut start = [0; HEADER_BYTES];
            let read = self.files.read_at(segment, BLOCK_BYTES as u64, &mut start);
            read.map_err(|error| failed(&self.files, error))?;
            // So that a segment that was made ready is not read to its end.
            if !was_changed && frame::claims(&start, segment as u32).is_none() {
                continue;
            }
            let mut reader = SegmentReader::of_segment(segment, bytes);
            let mut durable = 0;
            loop {
                let next = reader.next_frame(&mut self.files);
                let Some((_, head, _)) = next.map_err(|error| failed(&self.files, error))? else { break };
                durable = durable.max(if was_changed { head.last_lsn } else { head.durable });
            }
            if durable >= self.expected && !was_changed {
                self.end.unreadable.push((segment, error));
            }
            self.durable = self.durable.max(durable);
        }
        Ok(())
    }

    /// A write of the last run that was torn is worth a word also when nothing was found behind it. Those of earlier runs were told of when they were cut off.
    fn note_torn_frame(&mut self) {
        let last_run = self.end.segments.iter().filter(|facts| facts.header.run == self.end.run);
        let mut claims = last_run.flat_map(|facts| &facts.spots).filter_map(|spot| spot.claims);
        if self.end.torn.is_none() && claims.any(|(first, _)| first >= self.expected) {
            self.end.torn = Some(Torn { missing_lsn: self.expected, found_lsn: 0, records: 0 });
        }
    }

    /// Where what is missing should be, as far as can be told.
    fn place_of_damage(&self) -> (String, u64, String) {
        let spots =
            || self.end.segments.iter().flat_map(|facts| facts.spots.iter().map(move |spot| (facts, spot)));
        let before = |spot: &Spot| spot.after_lsn < self.expected;
        // What says that it holds them; or what stands between two frames; or behind the last one that comes before them.
        let claims =
            |spot: &Spot| spot.claims.is_some_and(|(first, last)| (first..=last).contains(&self.expected));
        let between = spots().filter(|(_, spot)| before(spot) && spot.before_lsn > self.expected);
        let between = between.max_by_key(|(_, spot)| spot.after_lsn);
        let place = |(facts, spot): (&SegmentFacts, &Spot)| {
            (self.files.name(facts.header.segment), spot.offset, spot.error.to_string())
        };
        if let Some(found) = spots().find(|(_, spot)| claims(spot)).or(between) {
            return place(found);
        }
        if let Some((segment, error)) = self.end.unreadable.first() {
            return (self.files.name(*segment), 0, error.to_string());
        }
        if let Some(found) = spots().filter(|(_, spot)| before(spot)).max_by_key(|(_, spot)| spot.after_lsn) {
            return place(found);
        }
        let last = self.end.segments.iter().max_by_key(|facts| facts.last_lsn);
        let file = last.map_or("the log".into(), |facts| self.files.name(facts.header.segment));
        (file, 0, "nothing is found where these changes should be (a file is missing, or was cleared)".into())
    }
}

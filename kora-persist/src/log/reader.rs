//! Reads one segment: its intact frames, in their order.
//!
//! A frame is intact when its checksum is right and it was written in this use of the segment. What follows an intact frame is another one, or zeros up to the end of the block. At a
//! block where no frame begins the reader looks at the next block, up to the end of the file: without a sync the disk may have taken a later write and not an earlier one, and
//! what stands there may tell that something is missing. Whether something is, the positions say: that is not decided here.

use super::files::Files;
use super::segment::SegmentHeader;
use crate::block::BLOCK_BYTES;
use crate::error::DecodeError;
use crate::frame::{self, Frame, FrameHead, HEADER_BYTES};
use std::io;

/// How much is read at a time, bytes.
const READ_BYTES: usize = 1 << 20;

/// A place where something stands that is neither an intact frame nor zeros nor the content of an earlier use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// In the file, bytes.
    pub offset: u64,
    /// The last position of the frame before it in the segment; of the first frame, the position before the one that should be in it.
    pub after_lsn: u64,
    /// The first position of the frame behind it in the segment; 0 when there is none. Without one it is as a rule what an earlier use has left behind the end.
    pub before_lsn: u64,
    /// The positions that it claims to hold, if it claims to be a frame of this use.
    pub claims: Option<(u64, u64)>,
    /// What is wrong with it.
    pub error: DecodeError,
}

/// See the module.
pub struct SegmentReader {
    segment: u64,
    bytes: u64,
    /// Where the next frame is looked for.
    at: u64,
    window: Vec<u8>,
    /// The file offset of the window's first byte.
    window_at: u64,
    last_lsn: u64,
    /// The same; before the first frame, the position before that which should be in it.
    after_lsn: u64,
    /// Behind a frame, or the first block, there are only zeros up to here: a frame may be missing.
    suspects: bool,
    /// The first block behind a frame in which nothing was written in this use.
    hole: Option<u64>,
    spots: Vec<Spot>,
}

/// Spots that are remembered of one segment.
const SPOTS_MAX: usize = 16;

impl SegmentReader {
    /// Of a file of so many bytes whose first block is this.
    pub fn new(header: &SegmentHeader, bytes: u64) -> SegmentReader {
        let after_lsn = header.first_lsn.saturating_sub(1);
        SegmentReader { after_lsn, ..SegmentReader::of_segment(header.segment, bytes) }
    }

    /// Of a file of so many bytes of which only the number is known.
    pub(crate) fn of_segment(segment: u64, bytes: u64) -> SegmentReader {
        SegmentReader {
            segment,
            bytes,
            at: BLOCK_BYTES as u64,
            window: Vec::new(),
            window_at: 0,
            last_lsn: 0,
            after_lsn: 0,
            suspects: true,
            hole: None,
            spots: Vec::new(),
        }
    }

    /// The number of the segment.
    pub fn segment(&self) -> u64 {
        self.segment
    }

    /// Up to where it was read, bytes.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The last position that was read.
    pub fn last_lsn(&self) -> u64 {
        self.last_lsn
    }

    /// What stands in the segment and is not understood.
    pub fn spots(&self) -> &[Spot] {
        &self.spots
    }

    /// The next intact frame: its offset, what it says, and its encoded records.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_frame<'r>(
        &'r mut self,
        files: &mut impl Files,
    ) -> io::Result<Option<(u64, FrameHead, &'r [u8])>> {
        let found = loop {
            if self.at + HEADER_BYTES as u64 > self.bytes {
                self.at = self.at.max(self.bytes);
                return Ok(None);
            }
            self.load(files, HEADER_BYTES)?;
            let rest = self.rest();
            if rest.len() < HEADER_BYTES {
                self.at = self.at.max(self.bytes);
                return Ok(None);
            }
            if rest[..4] == [0; 4] {
                self.note_hole();
                self.skip_block();
                continue;
            }
            if self.at.is_multiple_of(BLOCK_BYTES as u64) && !self.suspects && !self.is_of_this_use() {
                // Whatever length it claims, it need not be read.
                self.skip_block();
                continue;
            }
            let rest = self.rest();
            let decoded = match Frame::decode(rest) {
                Err(DecodeError::Incomplete { needed, .. }) if needed as u64 <= self.bytes - self.at => {
                    self.load(files, needed)?;
                    Frame::decode(self.rest())
                }
                decoded => decoded,
            };
            match decoded {
                Ok((frame, length)) if frame.head.segment == self.segment as u32 => {
                    break (frame.head, length, frame.payload().len());
                }
                // Of an earlier use.
                Ok(_) => {
                    self.note_hole();
                    self.suspects = false;
                    self.skip_block();
                }
                Err(error) => {
                    // At a block this is also what lies in the middle of a frame of an earlier use: only what follows a frame is suspicious.
                    if !self.at.is_multiple_of(BLOCK_BYTES as u64) || self.suspects {
                        self.add_spot(error);
                    }
                    self.skip_block();
                }
            }
        };
        let (head, length, payload) = found;
        let offset = self.at;
        self.last_lsn = self.last_lsn.max(head.last_lsn);
        if let Some(offset) = self.hole.take() {
            // One block is written after the other: what should be there was lost.
            let error = DecodeError::NoFrame;
            self.push_spot(Spot { offset, after_lsn: self.after_lsn, before_lsn: 0, claims: None, error });
        }
        (self.after_lsn, self.suspects) = (self.last_lsn, true);
        self.spots
            .iter_mut()
            .rev()
            .take_while(|spot| spot.before_lsn == 0)
            .for_each(|spot| spot.before_lsn = head.first_lsn);
        self.at += (length as u64).next_multiple_of(8);
        let end = (offset - self.window_at) as usize + length;
        Ok(Some((offset, head, &self.window[end - payload..end])))
    }

    /// Whether what begins here, if it is a frame, was written in this use of the segment.
    fn is_of_this_use(&self) -> bool {
        frame::claims(self.rest(), self.segment as u32).is_some()
    }

    fn add_spot(&mut self, error: DecodeError) {
        self.suspects = false;
        let claims = frame::claims(self.rest(), self.segment as u32);
        self.push_spot(Spot { claims, offset: self.at, after_lsn: self.after_lsn, before_lsn: 0, error });
    }

    fn push_spot(&mut self, spot: Spot) {
        if self.spots.len() < SPOTS_MAX {
            self.spots.push(spot);
        }
    }

    /// Nothing was written to this block. Within a block that is the rest behind a frame.
    fn note_hole(&mut self) {
        if self.suspects && self.at.is_multiple_of(BLOCK_BYTES as u64) {
            self.hole.get_or_insert(self.at);
        }
    }

    fn skip_block(&mut self) {
        self.at = (self.at + 1).next_multiple_of(BLOCK_BYTES as u64);
    }

    fn rest(&self) -> &[u8] {
        &self.window[(self.at - self.window_at) as usize..]
    }

    /// Has at least so many bytes from `at` on in the window, if the file has them.
    fn load(&mut self, files: &mut impl Files, needed: usize) -> io::Result<()> {
        let end = self.window_at + self.window.len() as u64;
        if self.at >= self.window_at && self.at + needed as u64 <= end {
            return Ok(());
        }
        let kept = if self.at >= self.window_at && self.at < end {
            self.window.drain(..(self.at - self.window_at) as usize);
            self.window.len()
        } else {
            self.window.clear();
            0
        };
        self.window_at = self.at;
        let wanted = needed.max(READ_BYTES).min((self.bytes - self.at) as usize);
        self.window.resize(wanted.max(kept), 0);
        let read = files.read_at(self.segment, self.at + kept as u64, &mut self.window[kept..])?;
        self.window.truncate(kept + read);
        Ok(())
    }
}

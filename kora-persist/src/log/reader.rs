//! Reads one segment: its intact frames, in their order.
//!
//! A frame is intact when its checksum is right and it was written in this use of the segment. What follows an intact frame is another one, or zeros up to the end of the block. At a
//! block where no frame begins the reader looks at the next block, up to the end of the file: without a sync the disk may have taken a later write and not an earlier one, and
//! what stands there may tell that something is missing. Whether something is, the positions say: that is not decided here.

use super::files::Files;
use crate::block::BLOCK_BYTES;
use crate::error::DecodeError;
use crate::frame::{Frame, FrameHead, HEADER_BYTES};
use std::io;

/// How much is read at a time, bytes.
const READ_BYTES: usize = 1 << 20;

/// A place where something stands that is neither an intact frame nor zeros nor the content of an earlier use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// In the file, bytes.
    pub offset: u64,
    /// The last position of the frame before it in the segment; 0 when there is none.
    pub after_lsn: u64,
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
    spots: Vec<Spot>,
}

/// Spots that are remembered of one segment.
const SPOTS_MAX: usize = 16;

impl SegmentReader {
    /// Of a segment with this number and of so many bytes; its first block has been looked at.
    pub fn new(segment: u64, bytes: u64) -> SegmentReader {
        SegmentReader {
            segment,
            bytes,
            at: BLOCK_BYTES as u64,
            window: Vec::new(),
            window_at: 0,
            last_lsn: 0,
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
                self.at = self.bytes;
                return Ok(None);
            }
            self.load(files, HEADER_BYTES)?;
            let rest = self.rest();
            if rest.len() < HEADER_BYTES {
                self.at = self.bytes;
                return Ok(None);
            }
            if rest[..4] == [0; 4] {
                self.skip_block();
                continue;
            }
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
                Ok(_) => self.skip_block(),
                Err(error) => {
                    // At a block this is also what lies in the middle of a frame of an earlier use: only what follows a frame is suspicious.
                    if !self.at.is_multiple_of(BLOCK_BYTES as u64) || self.follows_frame() {
                        self.add_spot(error);
                    }
                    self.skip_block();
                }
            }
        };
        let (head, length, payload) = found;
        let offset = self.at;
        self.last_lsn = self.last_lsn.max(head.last_lsn);
        self.at += (length as u64).next_multiple_of(8);
        let end = (offset - self.window_at) as usize + length;
        Ok(Some((offset, head, &self.window[end - payload..end])))
    }

    /// Whether a frame, with the zeros behind it, ends here.
    fn follows_frame(&self) -> bool {
        self.last_lsn > 0 && self.spots.last().is_none_or(|spot| spot.after_lsn < self.last_lsn)
    }

    fn add_spot(&mut self, error: DecodeError) {
        if self.spots.len() < SPOTS_MAX {
            self.spots.push(Spot { offset: self.at, after_lsn: self.last_lsn, error });
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

//! A file of which a window is in memory, with a checksum of what has passed.

use kora_engine::rdb::{Crc64, Error, Problem, Source};
use std::io::{ErrorKind, Read};

/// Bytes that are asked of the file at once. The window grows by no more, however much is asked of it.
const CHUNK: usize = 256 * 1024;

/// A larger window is given back when it is no longer needed.
const KEPT_MAX: usize = 4 * CHUNK;

/// The bytes of a file, one after the other.
pub struct Window<R> {
    input: R,
    /// Bytes of the file from `base` on.
    bytes: Vec<u8>,
    base: u64,
    /// Where in the window the next byte is.
    at: usize,
    /// Up to where in the window the checksum goes.
    checked: usize,
    crc: Crc64,
}

impl<R: Read> Window<R> {
    /// Before the first byte.
    pub fn new(input: R) -> Window<R> {
        Window { input, bytes: Vec::new(), base: 0, at: 0, checked: 0, crc: Crc64::default() }
    }

    /// The checksum of all bytes that were read.
    pub fn checksum(&mut self) -> u64 {
        self.crc.update(&self.bytes[self.checked..self.at]);
        self.checked = self.at;
        self.crc.value()
    }

    #[cold]
    #[inline(never)]
    fn fill(&mut self, len: usize) -> Result<(), Error> {
        self.checksum();
        self.base += self.at as u64;
        self.bytes.drain(..self.at);
        (self.at, self.checked) = (0, 0);
        if self.bytes.capacity() > KEPT_MAX && len <= CHUNK {
            self.bytes.shrink_to(KEPT_MAX);
        }
        while self.bytes.len() < len {
            let start = self.bytes.len();
            self.bytes.resize(start + CHUNK, 0);
            let read = self.input.read(&mut self.bytes[start..]);
            self.bytes.truncate(start + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return self.refuse(Problem::Truncated),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.refuse(Problem::Unreadable(error.to_string())),
            }
        }
        Ok(())
    }
}

impl<R: Read> Source for Window<R> {
    #[inline]
    fn bytes(&mut self, len: usize) -> Result<&[u8], Error> {
        if self.bytes.len() - self.at < len {
            self.fill(len)?;
        }
        let start = self.at;
        self.at += len;
        Ok(&self.bytes[start..self.at])
    }

    fn offset(&self) -> u64 {
        self.base + self.at as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time, and is interrupted between.
    struct Trickle<'a>(&'a [u8], bool);

    impl Read for Trickle<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(ErrorKind::Interrupted.into());
            }
            let count = self.0.len().min(out.len()).min(7);
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn bytes_come_in_order_with_their_offsets_and_checksum() {
        let all: Vec<u8> = (0..100_000u32).map(|n| (n / 7) as u8).collect();
        let mut window = Window::new(Trickle(&all, false));
        let mut at = 0;
        for len in (0..450).cycle() {
            if at + len > all.len() {
                break;
            }
            assert_eq!(window.offset(), at as u64);
            assert_eq!(window.bytes(len).unwrap(), &all[at..at + len]);
            at += len;
            if len % 50 == 0 {
                assert_eq!(window.checksum(), Crc64::of(&all[..at]));
            }
        }
        let error = window.bytes(100_000).unwrap_err();
        assert_eq!((error.offset, error.problem), (at as u64, Problem::Truncated));
    }

    #[test]
    fn memory_is_taken_for_what_is_there() {
        let mut window = Window::new(&[1u8; 1000][..]);
        assert_eq!(window.bytes(1 << 40).unwrap_err().problem, Problem::Truncated);
        assert!(window.bytes.capacity() < 4 * CHUNK);
        // What there was is still there.
        assert_eq!(window.bytes(1000).unwrap().len(), 1000);
    }
}

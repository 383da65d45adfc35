//! Where bytes come from: a slice, or a file of which a window is in memory.

use super::{Error, Problem};

/// A run of bytes that is read from its beginning to its end.
pub trait Source {
    /// The next `len` bytes.
    ///
    /// # Errors
    /// There are not so many. Memory is taken for what there is, not for what was asked for.
    fn bytes(&mut self, len: usize) -> Result<&[u8], Error>;

    /// Bytes that were read so far.
    fn offset(&self) -> u64;

    /// An error here.
    #[cold]
    fn error(&self, problem: Problem) -> Error {
        Error { offset: self.offset(), problem }
    }

    /// The same as a result.
    ///
    /// # Errors
    /// Always.
    #[cold]
    fn refuse<T>(&self, problem: Problem) -> Result<T, Error> {
        Err(self.error(problem))
    }

    /// The next byte.
    ///
    /// # Errors
    /// There is none.
    #[inline]
    fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.bytes(1)?[0])
    }

    /// The next bytes, as many as the array has.
    ///
    /// # Errors
    /// There are not so many.
    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        Ok(self.bytes(N)?.try_into().expect("so many were asked for"))
    }
}

/// Bytes in memory.
#[derive(Debug, Clone)]
pub struct Slice<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Slice<'a> {
    /// From the first of these bytes on.
    pub fn new(bytes: &'a [u8]) -> Slice<'a> {
        Slice { bytes, at: 0 }
    }

    /// From another byte on, which is not behind the end.
    pub fn at(bytes: &'a [u8], at: usize) -> Slice<'a> {
        assert!(at <= bytes.len());
        Slice { bytes, at }
    }
}

impl Source for Slice<'_> {
    #[inline]
    fn bytes(&mut self, len: usize) -> Result<&[u8], Error> {
        match self.bytes[self.at..].get(..len) {
            Some(bytes) => {
                self.at += len;
                Ok(bytes)
            }
            None => self.refuse(Problem::Truncated),
        }
    }

    fn offset(&self) -> u64 {
        self.at as u64
    }
}

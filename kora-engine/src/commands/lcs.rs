//! The longest common subsequence of two strings, for the LCS command.
//!
//! The textbook table takes four bytes and one comparison per pair of bytes; this one takes one bit and a 64th of an
//! addition (M. Crochemore et al., "A fast and practical bit-vector algorithm for the longest common subsequence
//! problem", 2001). A row of the table grows by 0 or 1 from each column to the next; with one bit per column, set
//! where it does *not* grow, the next row is
//!
//! ```text
//! V' = (V + (V & M)) | (V & !M)          M: the columns whose byte of `b` is this row's byte of `a`
//! ```
//!
//! The table is made block by block of 64 columns, each from the first row to the last, with the carry of every row
//! kept for the next block; so a block's match masks are 2 KiB, whatever the length of `b`. The rows' bits say
//! all that the walk back needs: where the bytes differ, the row above is the larger neighbour exactly when the bit
//! is clear. The walk makes the same choices as Redis's, so of several longest subsequences it finds the same one.
//!
//! Redis refuses what its own table would not fit into `proto-max-bulk-len`; so does this, and with that stays below
//! that table's memory. A long computation goes on in slices ([`Computation::advance`]).

use crate::args::{integer, is};
use crate::change::UnixMs;
use crate::error::Error;
use crate::exec::{Continuation, Exec, Flow, Outcome, DONE};
use crate::keyspace::View;
use crate::reply::Reply;
use crate::shard::Shard;
use crate::table::ValueRef;

/// Word steps that a computation may take at once: about a hundred microseconds.
const STEPS_AT_ONCE: usize = 64 * 1024;

/// Word steps that take as long as a visit to one segment of the table.
const STEPS_PER_SEGMENT: usize = 2 * 1024;

/// Columns in one block: the bits of a word.
const BLOCK: usize = u64::BITS as usize;

const TOO_LONG: Error = Error::new("ERR String too long for LCS");
const TOO_LARGE: Error =
    Error::new("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
const LEN_AND_IDX: Error = Error::new("ERR If you want both the length and indexes, please just use IDX.");

/// What the reply holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Subsequence,
    Length,
    Ranges { min_length: u64, with_length: bool },
}

/// The options of an LCS command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    answer: Answer,
}

impl Options {
    /// Reads the arguments that follow the two keys.
    ///
    /// # Errors
    /// An unknown option, a length that is not an integer, or LEN together with IDX.
    pub fn parse(options: &[&[u8]]) -> Result<Options, Error> {
        let (mut len, mut idx, mut with_length, mut min_length) = (false, false, false, 0);
        let mut rest = options.iter();
        while let Some(&option) = rest.next() {
            if is(option, "idx") {
                idx = true;
            } else if is(option, "len") {
                len = true;
            } else if is(option, "withmatchlen") {
                with_length = true;
            } else if is(option, "minmatchlen") {
                min_length = integer(rest.next().ok_or(Error::SYNTAX)?)?.max(0) as u64;
            } else {
                return Err(Error::SYNTAX);
            }
        }
        let answer = match (len, idx) {
            (true, true) => return Err(LEN_AND_IDX),
            (true, false) => Answer::Length,
            (false, true) => Answer::Ranges { min_length, with_length },
            (false, false) => Answer::Subsequence,
        };
        Ok(Options { answer })
    }
}

/// Computes the whole answer at once, for strings that the caller has brought together from several shards.
///
/// # Errors
/// The strings are too long for each other: the textbook table would exceed `max_string_len` bytes.
pub fn answer(
    a: &[u8],
    b: &[u8],
    options: Options,
    max_string_len: usize,
    reply: &mut dyn Reply,
) -> Result<(), Error> {
    let mut computation = Computation::new(a.to_vec(), b.to_vec(), options, max_string_len)?;
    while !computation.advance(usize::MAX) {}
    computation.write(reply);
    Ok(())
}

/// An LCS under computation: advance it until it is done, then write its reply.
pub struct Computation {
    a: Vec<u8>,
    b: Vec<u8>,
    options: Options,
    /// The bits of every row of block 0, then of block 1, and so on; of the latest row only when no walk follows.
    bits: Vec<u64>,
    /// Per row, the carry out of the latest block: into the next one. Empty when there is one block only.
    carries: Vec<bool>,
    /// Where the computation is.
    block: usize,
    row: usize,
    /// The latest row's bits in this block, and which of its columns hold which byte.
    current: u64,
    masks: Box<[u64; 256]>,
    /// Growing columns in the last rows of the finished blocks.
    length: usize,
}

/// Where a run of matching bytes lies in both strings: last byte first, as the walk back finds it.
struct Range {
    a_end: usize,
    b_end: usize,
    length: usize,
}

impl Computation {
    /// Checks the sizes. Nothing is computed yet.
    ///
    /// # Errors
    /// The textbook table for these lengths would exceed `max_string_len` bytes.
    pub fn new(
        a: Vec<u8>,
        b: Vec<u8>,
        options: Options,
        max_string_len: usize,
    ) -> Result<Computation, Error> {
        let longest = u32::MAX as usize - 1;
        if a.len() >= longest || b.len() >= longest {
            return Err(TOO_LONG);
        }
        let table_cells = (a.len() as u64 + 1) as u128 * (b.len() as u64 + 1) as u128;
        if table_cells * 4 > max_string_len as u128 {
            return Err(TOO_LARGE);
        }
        let blocks = b.len().div_ceil(BLOCK);
        let walks = options.answer != Answer::Length;
        let mut computation = Computation {
            bits: Vec::with_capacity(if walks { blocks * a.len() } else { 0 }),
            carries: if blocks > 1 { vec![false; a.len()] } else { Vec::new() },
            a,
            b,
            options,
            block: 0,
            row: 0,
            current: u64::MAX,
            masks: Box::new([0; 256]),
            length: 0,
        };
        computation.start_block();
        Ok(computation)
    }

    /// Word steps of the whole computation.
    fn steps(&self) -> usize {
        self.blocks() * self.a.len()
    }

    fn blocks(&self) -> usize {
        self.b.len().div_ceil(BLOCK)
    }

    fn start_block(&mut self) {
        self.row = 0;
        self.current = u64::MAX;
        self.masks.fill(0);
        for (column, &byte) in self.b.iter().skip(self.block * BLOCK).take(BLOCK).enumerate() {
            self.masks[byte as usize] |= 1 << column;
        }
    }

    /// Goes on for at most `steps` word steps. Returns whether the computation is complete.
    pub fn advance(&mut self, mut steps: usize) -> bool {
        let walks = self.options.answer != Answer::Length;
        while self.block < self.blocks() {
            let end = self.a.len().min(self.row.saturating_add(steps));
            steps -= end - self.row;
            let mut bits = self.current;
            for row in self.row..end {
                let matches = bits & self.masks[self.a[row] as usize];
                let carry_in = self.carries.get(row).copied().unwrap_or(false);
                let (sum, first) = bits.overflowing_add(matches);
                let (sum, second) = sum.overflowing_add(carry_in as u64);
                bits = sum | (bits & !matches);
                if let Some(carry) = self.carries.get_mut(row) {
                    *carry = first | second;
                }
                if walks {
                    self.bits.push(bits);
                }
            }
            (self.current, self.row) = (bits, end);
            if end < self.a.len() {
                return false;
            }
            self.length += bits.count_zeros() as usize;
            self.block += 1;
            self.start_block();
        }
        true
    }

    /// Writes the reply of a complete computation.
    pub fn write(&self, reply: &mut dyn Reply) {
        assert!(self.block == self.blocks(), "the computation has not come to its end");
        match self.options.answer {
            Answer::Length => reply.integer(self.length as i64),
            Answer::Subsequence => {
                let mut backwards = Vec::with_capacity(self.length);
                self.walk_back(&mut |row, _| backwards.push(self.a[row]));
                assert!(backwards.len() == self.length);
                backwards.reverse();
                reply.bulk(&backwards);
            }
            Answer::Ranges { min_length, with_length } => {
                let mut ranges = self.ranges();
                ranges.retain(|range| range.length as u64 >= min_length);
                reply.map(2);
                reply.bulk(b"matches");
                reply.array(ranges.len());
                for range in &ranges {
                    reply.array(2 + with_length as usize);
                    for end in [range.a_end, range.b_end] {
                        reply.array(2);
                        reply.integer((end + 1 - range.length) as i64);
                        reply.integer(end as i64);
                    }
                    if with_length {
                        reply.integer(range.length as i64);
                    }
                }
                reply.bulk(b"len");
                reply.integer(self.length as i64);
            }
        }
    }

    /// Whether the table does not grow from the column before `column` to it, in this row.
    fn is_flat(&self, row: usize, column: usize) -> bool {
        self.bits[column / BLOCK * self.a.len() + row] >> (column % BLOCK) & 1 == 1
    }

    /// Visits the matching bytes of the subsequence, from the last to the first.
    fn walk_back(&self, visit: &mut dyn FnMut(usize, usize)) {
        let (mut rows, mut columns) = (self.a.len(), self.b.len());
        while rows > 0 && columns > 0 {
            let (row, column) = (rows - 1, columns - 1);
            if self.a[row] == self.b[column] {
                visit(row, column);
                (rows, columns) = (row, column);
            } else if self.is_flat(row, column) {
                columns = column;
            } else {
                rows = row;
            }
        }
    }

    /// The runs of matching bytes, from the last to the first.
    fn ranges(&self) -> Vec<Range> {
        let mut ranges: Vec<Range> = Vec::new();
        self.walk_back(&mut |row, column| match ranges.last_mut() {
            Some(range) if range.a_end - row == range.length && range.b_end - column == range.length => {
                range.length += 1;
            }
            _ => ranges.push(Range { a_end: row, b_end: column, length: 1 }),
        });
        ranges
    }
}

impl Continuation for Computation {
    fn resume(&mut self, _: &mut Shard, _: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        let done = self.advance(budget.max(1).saturating_mul(STEPS_PER_SEGMENT));
        if done {
            self.write(reply);
        }
        done
    }
}

/// LCS of two keys of this shard.
pub(super) fn lcs(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let a = copy_of_value(exec.shard, exec.view, exec.arg(1))?;
    let b = copy_of_value(exec.shard, exec.view, exec.arg(2))?;
    let options = Options::parse(&exec.argv[3..])?;
    let mut computation = Computation::new(a, b, options, exec.shard.config.max_string_len)?;
    if computation.steps() > STEPS_AT_ONCE {
        return Ok(Flow::Later(Box::new(computation)));
    }
    computation.advance(usize::MAX);
    computation.write(reply);
    DONE
}

/// What LCS answers when a key holds a collection.
pub const NOT_STRINGS: Error = Error::new("ERR The specified keys must contain string values");

/// The strings must outlive this turn, in which other commands may write to the keys.
fn copy_of_value(shard: &mut Shard, view: View, key: &[u8]) -> Result<Vec<u8>, Error> {
    let key = shard.keys.key(key);
    let entry = shard.keys.get_string(view, &key).map_err(|_| NOT_STRINGS)?;
    Ok(match entry.map(|entry| entry.value()) {
        None => Vec::new(),
        Some(ValueRef::Int(value)) => itoa::Buffer::new().format(value).as_bytes().to_vec(),
        Some(ValueRef::Bytes(bytes)) => bytes.to_vec(),
        Some(ValueRef::Shared(bytes)) => bytes.to_vec(),
        Some(ValueRef::Object(_)) => return Err(NOT_STRINGS),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The textbook table, and the walk back through it that prefers the other string's bytes on a tie, as Redis's does.
    fn textbook(a: &[u8], b: &[u8]) -> (usize, Vec<(usize, usize)>) {
        let mut table = vec![vec![0usize; b.len() + 1]; a.len() + 1];
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                table[i][j] = if a[i - 1] == b[j - 1] {
                    table[i - 1][j - 1] + 1
                } else {
                    table[i - 1][j].max(table[i][j - 1])
                };
            }
        }
        let (mut i, mut j, mut matches) = (a.len(), b.len(), Vec::new());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                matches.push((i, j));
            } else if table[i - 1][j] > table[i][j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        (table[a.len()][b.len()], matches)
    }

    fn computation(a: &[u8], b: &[u8], options: &[&[u8]]) -> Computation {
        let options = Options::parse(options).unwrap();
        Computation::new(a.to_vec(), b.to_vec(), options, usize::MAX).unwrap()
    }

    proptest! {
        #[test]
        fn agrees_with_the_textbook(
            a in proptest::collection::vec(0u8..4, 0..300),
            b in proptest::collection::vec(0u8..4, 0..300),
            slice in 1usize..500,
        ) {
            let (length, matches) = textbook(&a, &b);
            let mut whole = computation(&a, &b, &[]);
            while !whole.advance(slice) {}
            prop_assert_eq!(whole.length, length);
            let mut found = Vec::new();
            whole.walk_back(&mut |row, column| found.push((row, column)));
            prop_assert_eq!(found, matches);

            let mut only_length = computation(&a, &b, &[b"LEN"]);
            while !only_length.advance(slice) {}
            prop_assert_eq!(only_length.length, length);
            prop_assert!(only_length.bits.is_empty());
        }

        #[test]
        fn ranges_hold_the_matches_in_runs(
            a in proptest::collection::vec(0u8..3, 0..100),
            b in proptest::collection::vec(0u8..3, 0..100),
        ) {
            let mut whole = computation(&a, &b, &[b"IDX"]);
            whole.advance(usize::MAX);
            let mut matches = Vec::new();
            for range in whole.ranges() {
                matches.extend((0..range.length).map(|back| (range.a_end - back, range.b_end - back)));
            }
            prop_assert_eq!(&matches, &textbook(&a, &b).1);
            let runs = matches.windows(2).filter(|two| two[0] != (two[1].0 + 1, two[1].1 + 1)).count() + 1;
            prop_assert_eq!(whole.ranges().len(), if matches.is_empty() { 0 } else { runs });
        }
    }

    #[test]
    fn memory_stays_below_that_of_the_textbook_table() {
        for (a, b) in [(1usize, 1usize), (1000, 1), (1, 1000), (100, 63), (100, 64), (100, 65), (1000, 1000)]
        {
            let mut whole = computation(&vec![1; a], &vec![1; b], &[]);
            whole.advance(usize::MAX);
            let bytes = whole.bits.capacity() * 8 + whole.carries.len();
            assert!(bytes <= (a + 1) * (b + 1) * 4, "{a} x {b}: {bytes}");
        }
    }
}

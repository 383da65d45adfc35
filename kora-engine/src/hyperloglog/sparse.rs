//! The sparse encoding: runs of equal registers, one after the other, that cover all of them.
//!
//! ```text
//! 00llllll            l + 1 registers are zero
//! 01llllll llllllll   l + 1 registers are zero (high bits first)
//! 1vvvvvll            l + 1 registers hold v + 1: up to 4 registers, up to 32
//! ```

use super::{Corrupted, Edit, HEADER_LEN, REGISTERS};

const LONG: u8 = 0x40;
const VALUE: u8 = 0x80;
const VALUE_MAX: u8 = 32;
const VALUE_RUN_MAX: usize = 4;
const SHORT_ZEROS_MAX: usize = 64;

/// Longest string whose runs can cover the registers: each covers at least one and has at most two bytes. What is longer is corrupted, and
/// not to be moved about by the megabyte.
const LEN_MAX: usize = HEADER_LEN + 2 * REGISTERS;

/// How many runs are looked at, to join neighbours, after one has changed.
const JOIN_LOOKS: usize = 5;

/// Bytes that a change of one register can touch or look at: a run before it (2), what its run becomes (5), and what the joining
/// may look at behind.
pub(super) const WINDOW: usize = 24;
const _: () = assert!(WINDOW > 2 + 5 + 2 * JOIN_LOOKS);

/// One run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// Zeros, written in one byte.
    Zeros(usize),
    /// Zeros, written in two bytes.
    ManyZeros(usize),
    /// Registers of the same value above 0.
    Value { value: u8, len: usize },
}

impl Run {
    /// The run at the beginning of some bytes.
    fn decode(bytes: &[u8]) -> Option<Run> {
        let first = *bytes.first()?;
        Some(if first & VALUE != 0 {
            Run::Value { value: (first >> 2 & 0x1f) + 1, len: (first & 0b11) as usize + 1 }
        } else if first & LONG != 0 {
            Run::ManyZeros(((first & 0x3f) as usize) << 8 | *bytes.get(1)? as usize).one_more()
        } else {
            Run::Zeros((first & 0x3f) as usize).one_more()
        })
    }

    fn one_more(self) -> Run {
        match self {
            Run::Zeros(len) => Run::Zeros(len + 1),
            Run::ManyZeros(len) => Run::ManyZeros(len + 1),
            Run::Value { .. } => self,
        }
    }

    /// How many registers it covers.
    pub(crate) fn len(self) -> usize {
        match self {
            Run::Zeros(len) | Run::ManyZeros(len) | Run::Value { len, .. } => len,
        }
    }

    /// How many bytes it has.
    fn width(self) -> usize {
        match self {
            Run::ManyZeros(_) => 2,
            _ => 1,
        }
    }
}

/// The runs of a sparse sketch, until they end or cannot be read.
pub(crate) struct Runs<'a> {
    bytes: &'a [u8],
}

impl<'a> Runs<'a> {
    /// Of a whole sketch.
    pub(crate) fn of(sketch: &'a [u8]) -> Runs<'a> {
        Runs { bytes: &sketch[HEADER_LEN..] }
    }
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let run = Run::decode(self.bytes)?;
        self.bytes = &self.bytes[run.width()..];
        Some(run)
    }
}

/// Appends runs of zero registers, at least one register.
pub(super) fn push_zeros(len: usize, out: &mut Vec<u8>) {
    let mut buffer = Sequence::default();
    buffer.zeros(len);
    out.extend_from_slice(buffer.bytes());
}

/// Raises every register to that of a sparse sketch.
pub(super) fn merge_into(sketch: &[u8], registers: &mut [u8; REGISTERS]) -> Result<(), Corrupted> {
    let mut runs = Runs::of(sketch);
    let mut rest = &mut registers[..];
    for run in &mut runs {
        let (covered, behind) = rest.split_at_mut_checked(run.len()).ok_or(Corrupted)?;
        if let Run::Value { value, .. } = run {
            covered.iter_mut().for_each(|register| *register = (*register).max(value));
        }
        rest = behind;
    }
    if rest.is_empty() && runs.bytes.is_empty() {
        Ok(())
    } else {
        Err(Corrupted)
    }
}

/// Where a run begins: its byte, and its first register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    byte: usize,
    register: usize,
}

impl Position {
    /// The first run.
    pub(crate) fn start() -> Position {
        Position { byte: HEADER_LEN, register: 0 }
    }
}

/// What becomes of a sparse sketch when a register is raised.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Not,
    Edit(Edit),
    /// This encoding cannot hold it, or not within the limit.
    DoesNotFit,
}

/// The run that covers a register, and where it and the two runs before it begin.
struct Found {
    run: Run,
    at: Position,
    before: Option<Position>,
    two_before: Option<Position>,
}

impl Found {
    fn search(sketch: &[u8], index: usize, from: Position) -> Result<Found, Corrupted> {
        let (mut at, mut before, mut two_before) = (from, None, None);
        loop {
            let run = Run::decode(&sketch[at.byte..]).ok_or(Corrupted)?;
            let end = at.register + run.len();
            if index < end {
                return Ok(Found { run, at, before, two_before });
            }
            (two_before, before) = (before, Some(at));
            at = Position { byte: at.byte + run.width(), register: end };
        }
    }
}

/// Raises a register. The search for its run begins at `from`, which becomes a place to begin at for a higher register.
pub(super) fn raise(
    sketch: &[u8],
    index: usize,
    rank: u8,
    max_bytes: usize,
    from: &mut Position,
) -> Result<Outcome, Corrupted> {
    if sketch.len() > LEN_MAX {
        return Err(Corrupted);
    }
    if rank > VALUE_MAX {
        return Ok(Outcome::DoesNotFit);
    }
    let mut found = Found::search(sketch, index, *from)?;
    if found.two_before.is_none() {
        // The run before may have been joined with this one since: what is before that is not known from here.
        found = Found::search(sketch, index, Position::start())?;
    }
    let Found { run, at, before, two_before } = found;
    *from = two_before.unwrap_or_else(Position::start);
    if matches!(run, Run::Value { value, .. } if value >= rank) {
        return Ok(Outcome::Not);
    }

    let (left, right) = (index - at.register, at.register + run.len() - 1 - index);
    let mut sequence = Sequence::default();
    match run {
        Run::Value { value, .. } => {
            sequence.value(value, left);
            sequence.value(rank, 1);
            sequence.value(value, right);
        }
        _ => {
            sequence.zeros(left);
            sequence.value(rank, 1);
            sequence.zeros(right);
        }
    }
    let grows = sequence.len > run.width();
    if grows && sketch.len() + (sequence.len - run.width()) > max_bytes {
        return Ok(Outcome::DoesNotFit);
    }

    // The bytes from the run before to some behind, as they were and as they become.
    let start = before.unwrap_or(at).byte;
    let behind = at.byte + run.width();
    let lead = at.byte - start;
    let tail = (sketch.len() - behind).min(WINDOW - lead - sequence.len);
    let old = &sketch[start..behind + tail];
    let mut new = Sequence::default();
    new.extend(&sketch[start..at.byte]);
    new.extend(sequence.bytes());
    new.extend(&sketch[behind..behind + tail]);
    new.join();
    Ok(Outcome::Edit(difference(start, old, new.bytes())))
}

/// The edit that turns some bytes at `start` into others, without what is equal at both ends.
fn difference(start: usize, old: &[u8], new: &[u8]) -> Edit {
    let same = |(old, new): &(&u8, &u8)| old == new;
    let front = old.iter().zip(new).take_while(same).count();
    let (old, new) = (&old[front..], &new[front..]);
    let back = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    Edit::new(start + front, old.len() - back, &new[..new.len() - back])
}

/// A few runs that are being put together.
#[derive(Default)]
struct Sequence {
    bytes: [u8; WINDOW],
    len: usize,
}

impl Sequence {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn zeros(&mut self, len: usize) {
        if len > SHORT_ZEROS_MAX {
            self.push(LONG | ((len - 1) >> 8) as u8);
            self.push((len - 1) as u8);
        } else if len > 0 {
            self.push((len - 1) as u8);
        }
    }

    fn value(&mut self, value: u8, len: usize) {
        if len > 0 {
            self.push(VALUE | (value - 1) << 2 | (len - 1) as u8);
        }
    }

    /// Joins neighbours of equal value, looking at so many runs as Redis does.
    fn join(&mut self) {
        let mut at = 0;
        for _ in 0..JOIN_LOOKS {
            match (self.run(at), self.run(at + 1)) {
                (Some(Run::Value { value, len }), Some(Run::Value { value: next, len: next_len }))
                    if value == next && len + next_len <= VALUE_RUN_MAX =>
                {
                    self.bytes.copy_within(at + 1.., at);
                    self.len -= 1;
                    self.bytes[at] = VALUE | (value - 1) << 2 | (len + next_len - 1) as u8;
                }
                (Some(run), _) => at += run.width(),
                (None, _) => break,
            }
        }
    }

    fn run(&self, at: usize) -> Option<Run> {
        Run::decode(self.bytes().get(at..)?)
    }
}

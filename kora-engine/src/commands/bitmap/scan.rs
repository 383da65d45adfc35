//! BITCOUNT and BITPOS. A large string goes on in slices; its bytes are held meanwhile, not copied, so that the answer is
//! about the string as it was when the command came.

use super::range::Unit;
use crate::args::integer;
use crate::bits;
use crate::change::UnixMs;
use crate::commands::string::with_text;
use crate::error::Error;
use crate::exec::{Continuation, Exec, Flow, Outcome, DONE};
use crate::limits::{BYTES_AT_ONCE, BYTES_PER_SEGMENT};
use crate::reply::Reply;
use crate::shard::Shard;
use crate::table::ValueRef;
use bytes::Bytes;
use std::ops::Range;

/// BITCOUNT key [start end [BYTE | BIT]]
pub(super) fn bitcount(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let (start, end, unit) = match exec.argv[2..] {
        [] => (0, -1, Unit::Byte),
        [start, end] => (integer(start)?, integer(end)?, Unit::Byte),
        [start, end, unit] => (integer(start)?, integer(end)?, Unit::named(unit)?),
        _ => return Err(Error::SYNTAX),
    };
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(entry) = keys.get_string(exec.view, &key)? else {
        reply.integer(0);
        return DONE;
    };
    // Both before the first byte: as in Redis, not even that one.
    let backwards = start < 0 && end < 0 && start > end;
    let bits = if backwards { 0..0 } else { unit.bits(start, end, entry.value().len()) };
    run(Work::Count { ones: 0 }, entry.value(), bits, reply)
}

/// BITPOS key bit [start [end [BYTE | BIT]]]
pub(super) fn bitpos(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    const NOT_A_BIT: Error = Error::new("ERR The bit argument must be 1 or 0.");
    let wanted = match integer(exec.argv[2])? {
        0 => false,
        1 => true,
        _ => return Err(NOT_A_BIT),
    };
    let (start, end, unit) = match exec.argv[3..] {
        [] => (0, None, Unit::Byte),
        [start] => (integer(start)?, None, Unit::Byte),
        [start, end] => (integer(start)?, Some(integer(end)?), Unit::Byte),
        // The order in which Redis finds faults.
        [start, end, unit] => {
            let (start, unit) = (integer(start)?, Unit::named(unit)?);
            (start, Some(integer(end)?), unit)
        }
        _ => return Err(Error::SYNTAX),
    };
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(entry) = keys.get_string(exec.view, &key)? else {
        // An endless string of zero bits.
        reply.integer(if wanted { -1 } else { 0 });
        return DONE;
    };
    let bits = unit.bits(start, end.unwrap_or(-1), entry.value().len());
    // Without an end the string is followed by zero bits, unless nothing of it was looked at.
    let absent = if !wanted && end.is_none() && !bits.is_empty() { bits.end as i64 } else { -1 };
    run(Work::Find { wanted, absent }, entry.value(), bits, reply)
}

/// What is done with the bits of a range.
#[derive(Debug, Clone, Copy)]
enum Work {
    Count {
        /// Of the bits visited so far.
        ones: u64,
    },
    Find {
        wanted: bool,
        /// The answer when there is none.
        absent: i64,
    },
}

impl Work {
    /// Visits some bits. Returns the answer once it is known.
    fn advance(&mut self, bytes: &[u8], bits: Range<u64>, is_last: bool) -> Option<i64> {
        match self {
            Work::Count { ones } => {
                *ones += bits::count_ones_in(bytes, bits);
                is_last.then_some(*ones as i64)
            }
            Work::Find { wanted, absent } => match bits::first_bit_in(bytes, bits, *wanted) {
                Some(at) => Some(at as i64),
                None => is_last.then_some(*absent),
            },
        }
    }
}

fn run(mut work: Work, value: ValueRef<'_>, bits: Range<u64>, reply: &mut dyn Reply) -> Outcome {
    let answer = match value {
        ValueRef::Shared(bytes) => {
            let mut scan = Scan { work, bits, bytes: bytes.clone() };
            match scan.advance(BYTES_AT_ONCE) {
                None => return Ok(Flow::Later(Box::new(scan))),
                answer => answer,
            }
        }
        value => with_text(value, |text| work.advance(text, bits, true)),
    };
    reply.integer(answer.expect("the last part gives an answer"));
    DONE
}

/// Work on a large string, between two turns.
struct Scan {
    work: Work,
    /// What is left.
    bits: Range<u64>,
    bytes: Bytes,
}

impl Scan {
    /// Works on about so many bytes. Returns the answer once it is known.
    fn advance(&mut self, bytes: usize) -> Option<i64> {
        let end = self.bits.end.min(self.bits.start.saturating_add(bytes as u64 * 8));
        let part = self.bits.start..end;
        self.bits.start = end;
        self.work.advance(&self.bytes, part, self.bits.is_empty())
    }
}

impl Continuation for Scan {
    fn resume(&mut self, _: &mut Shard, _: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        match self.advance(budget.max(1).saturating_mul(BYTES_PER_SEGMENT)) {
            Some(answer) => reply.integer(answer),
            None => return false,
        }
        true
    }
}

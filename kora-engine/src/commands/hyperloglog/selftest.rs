//! PFSELFTEST: both encodings are shown the same ten million elements, and must agree with each other and, within six standard errors, with the
//! truth. In slices: Redis's own takes seconds.

use crate::change::UnixMs;
use crate::error::Error;
use crate::exec::{Continuation, Exec, Flow, Outcome};
use crate::hyperloglog::sparse::Position;
use crate::hyperloglog::{self, dense, Encoding, Raised, REGISTERS};
use crate::reply::Reply;
use crate::shard::Shard;

/// Elements that take about as long as a visit to one segment of the table.
const ELEMENTS_PER_SEGMENT: u64 = 64;
const ELEMENTS: u64 = 10_000_000;
/// 1.04 / sqrt(registers), for 16384 of them.
const STANDARD_ERROR: f64 = 1.04 / 128.0;

/// PFSELFTEST
pub(super) fn pfselftest(exec: &mut Exec<'_>, _: &mut dyn Reply) -> Outcome {
    Ok(Flow::Later(Box::new(SelfTest {
        sparse: hyperloglog::empty(),
        dense: hyperloglog::to_dense(&hyperloglog::empty())?,
        model: Box::new([0; REGISTERS]),
        seed: exec.shard.random(),
        sparse_max: exec.shard.config.limits.hll_sparse_max_bytes,
        shown: 0,
        checkpoint: 1,
    })))
}

struct SelfTest {
    /// Begins sparse, and is promoted on the way.
    sparse: Vec<u8>,
    dense: Vec<u8>,
    /// The registers as an array.
    model: Box<[u8; REGISTERS]>,
    seed: u64,
    sparse_max: usize,
    shown: u64,
    /// How many elements will have been shown at the next comparison: powers of ten.
    checkpoint: u64,
}

impl SelfTest {
    /// Shows elements until `end` of them have been shown.
    fn advance(&mut self, end: u64) -> Result<(), Error> {
        while self.shown < end {
            self.shown += 1;
            let (index, rank) = hyperloglog::place(&(self.shown ^ self.seed).to_le_bytes());
            if rank > self.model[index] {
                self.model[index] = rank;
                raise(&mut self.sparse, index, rank, self.sparse_max)?;
                raise(&mut self.dense, index, rank, self.sparse_max)?;
            }
            if self.shown == self.checkpoint {
                self.compare()?;
                self.checkpoint *= 10;
            }
        }
        Ok(())
    }

    fn compare(&self) -> Result<(), Error> {
        let failed = |what: &str| Err(Error::owned(format!("ERR TESTFAILED {what}")));
        let encoding = encoding_of(&self.sparse);
        if encoding == Encoding::Dense && self.shown < self.sparse_max as u64 / 2 {
            return failed("sparse encoding not used");
        }
        if dense::with_registers(&self.dense, &self.model) != self.dense {
            return failed("registers are not what was written");
        }
        let estimate = hyperloglog::count(&self.dense, Encoding::Dense)?;
        if hyperloglog::count(&self.sparse, encoding)? != estimate {
            return failed("dense/sparse disagree");
        }
        let error = estimate.abs_diff(self.shown);
        // Two of ten elements may meet in a register.
        let error_max =
            if self.shown == 10 { 1 } else { (STANDARD_ERROR * 6.0 * self.shown as f64).ceil() as u64 };
        if error > error_max {
            return failed(&format!("Too big error. card:{} abserr:{error}", self.shown));
        }
        Ok(())
    }
}

fn encoding_of(sketch: &[u8]) -> Encoding {
    hyperloglog::encoding(sketch).expect("it was made here")
}

fn raise(sketch: &mut Vec<u8>, index: usize, rank: u8, sparse_max: usize) -> Result<(), Error> {
    match hyperloglog::raise(sketch, encoding_of(sketch), index, rank, sparse_max, &mut Position::start())? {
        Raised::Not => return Err(Error::new("ERR TESTFAILED a register was not raised")),
        Raised::Edit(edit) => edit.apply(sketch),
        Raised::Promoted(dense) => *sketch = dense,
    }
    Ok(())
}

impl Continuation for SelfTest {
    fn resume(&mut self, _: &mut Shard, _: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        let end = self.shown.saturating_add(budget.max(1) as u64 * ELEMENTS_PER_SEGMENT).min(ELEMENTS);
        match self.advance(end) {
            Ok(()) if end < ELEMENTS => return false,
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error.text()),
        }
        true
    }
}

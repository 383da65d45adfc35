//! PFDEBUG: the insides of a sketch.

use super::sketch::sketch_of;
use crate::args::is;
use crate::command::quotable;
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::hyperloglog::sparse::{Run, Runs};
use crate::hyperloglog::{self, Encoding, REGISTERS};
use crate::reply::Reply;
use std::fmt::Write;

const MISSING: Error = Error::new("ERR The specified key does not exist");
const NOT_SPARSE: Error = Error::new("ERR HLL encoding is not sparse");
const ON_OR_OFF: Error = Error::new("ERR Argument must be ON or OFF");

/// PFDEBUG subcommand key
pub(super) fn pfdebug(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let subcommand = exec.argv[1];
    if is(subcommand, "simd") {
        // There is one code path; the switch of Redis's second one is accepted.
        if !is(exec.argv[2], "on") && !is(exec.argv[2], "off") {
            return Err(ON_OR_OFF);
        }
        reply.simple("disabled");
        return DONE;
    }
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[2]);
    let mut string = keys.edit_string(exec.view, &key)?.ok_or(MISSING)?;
    let (sketch, encoding) = sketch_of(string.value())?;
    if is(subcommand, "getreg") {
        let mut registers = [0; REGISTERS];
        hyperloglog::merge_into(sketch, encoding, &mut registers)?;
        if encoding == Encoding::Sparse {
            // As in Redis: asking for the registers promotes.
            let dense = hyperloglog::to_dense(sketch)?;
            string.replace(&dense);
        }
        reply.array(REGISTERS);
        registers.iter().for_each(|&register| reply.integer(i64::from(register)));
    } else if is(subcommand, "decode") {
        if encoding == Encoding::Dense {
            return Err(NOT_SPARSE);
        }
        reply.bulk(decoded(sketch).as_bytes());
    } else if is(subcommand, "encoding") {
        reply.simple(match encoding {
            Encoding::Dense => "dense",
            Encoding::Sparse => "sparse",
        });
    } else if is(subcommand, "todense") {
        if encoding == Encoding::Sparse {
            let dense = hyperloglog::to_dense(sketch)?;
            string.replace(&dense);
        }
        reply.integer((encoding == Encoding::Sparse) as i64);
    } else {
        let mut text = b"ERR Unknown PFDEBUG subcommand '".to_vec();
        text.extend_from_slice(quotable(subcommand, usize::MAX));
        text.push(b'\'');
        return Err(Error::owned(text));
    }
    string.make_raw();
    DONE
}

/// The runs of a sparse sketch: `z:2 v:1,1 Z:16381`.
fn decoded(sketch: &[u8]) -> String {
    let mut text = String::new();
    for run in Runs::of(sketch) {
        let space = if text.is_empty() { "" } else { " " };
        match run {
            Run::Zeros(len) => write!(text, "{space}z:{len}"),
            Run::ManyZeros(len) => write!(text, "{space}Z:{len}"),
            Run::Value { value, len } => write!(text, "{space}v:{value},{len}"),
        }
        .expect("a string takes all text");
    }
    text
}

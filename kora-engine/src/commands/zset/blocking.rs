//! BZPOPMIN, BZPOPMAX and BZMPOP, once: they take what is there or answer the absence of it.

use super::remove::{pop, pop_first, Arguments, End, PopForm};
use crate::blocking::check_seconds;
use crate::exec::{Exec, Outcome, DONE};
use crate::reply::Reply;

/// BZPOPMIN key [key ...] timeout
pub(super) fn bzpopmin(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    pop_one(exec, End::Min, reply)
}

/// BZPOPMAX key [key ...] timeout
pub(super) fn bzpopmax(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    pop_one(exec, End::Max, reply)
}

fn pop_one(exec: &mut Exec<'_>, end: End, reply: &mut dyn Reply) -> Outcome {
    let last = exec.argc() - 1;
    check_seconds(exec.argv[last], exec.now())?;
    for name in &exec.argv[1..last] {
        if let Some(flow) = pop(exec, name, end, 1, PopForm::KeyAndOne, reply)? {
            return Ok(flow);
        }
    }
    reply.null_array();
    DONE
}

/// BZMPOP timeout numkeys key [key ...] <MIN | MAX> [COUNT count]
pub(super) fn bzmpop(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let arguments = Arguments::parse(&exec.argv[1..])?;
    check_seconds(exec.argv[1], exec.now())?;
    pop_first(exec, arguments, reply)
}

//! BLPOP, BRPOP, BLMOVE, BRPOPLPUSH and BLMPOP, once: they take what is there or answer the absence of it.

use super::end_named;
use super::moves::{move_element, pop_first, Arguments};
use crate::blocking::check_seconds;
use crate::exec::{Exec, Outcome, DONE};
use crate::reply::Reply;
use crate::value::list::{End, List};

/// BLPOP key [key ...] timeout
pub(super) fn blpop(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    pop(exec, End::Head, reply)
}

/// BRPOP key [key ...] timeout
pub(super) fn brpop(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    pop(exec, End::Tail, reply)
}

fn pop(exec: &mut Exec<'_>, end: End, reply: &mut dyn Reply) -> Outcome {
    let last = exec.argc() - 1;
    check_seconds(exec.argv[last], exec.now())?;
    let fill = exec.shard.config.limits.list_max_listpack_size;
    let keys = &mut exec.shard.keys;
    for name in &exec.argv[1..last] {
        let key = keys.key(name);
        let Some(mut list) = keys.edit::<List>(exec.view, &key)? else { continue };
        reply.array(2);
        reply.bulk(name);
        list.pop(end, fill, |element| element.reply(reply));
        return DONE;
    }
    reply.null_array();
    DONE
}

/// BLMOVE source destination LEFT|RIGHT LEFT|RIGHT timeout
pub(super) fn blmove(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let (from, to) = (end_named(exec.argv[3])?, end_named(exec.argv[4])?);
    check_seconds(exec.argv[5], exec.now())?;
    move_element(exec, from, to, reply)
}

/// BRPOPLPUSH source destination timeout
pub(super) fn brpoplpush(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    check_seconds(exec.argv[3], exec.now())?;
    move_element(exec, End::Tail, End::Head, reply)
}

/// BLMPOP timeout numkeys key [key ...] LEFT|RIGHT [COUNT count]
pub(super) fn blmpop(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let arguments = Arguments::parse(&exec.argv[1..])?;
    check_seconds(exec.argv[1], exec.now())?;
    pop_first(exec, arguments, reply)
}

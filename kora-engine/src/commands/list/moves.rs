//! LMOVE, RPOPLPUSH and LMPOP, of keys on one shard.

use super::later::RangeReply;
use super::read::{is_short, reply_range};
use super::{end_named, natural};
use crate::args::is;
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::reply::Reply;
use crate::value::list::{End, List};
use crate::value::Collection;

/// LMOVE source destination LEFT|RIGHT LEFT|RIGHT
pub(super) fn lmove(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let (from, to) = (end_named(exec.argv[3])?, end_named(exec.argv[4])?);
    move_element(exec, from, to, reply)
}

/// RPOPLPUSH source destination
pub(super) fn rpoplpush(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    move_element(exec, End::Tail, End::Head, reply)
}

pub(super) fn move_element(exec: &mut Exec<'_>, from: End, to: End, reply: &mut dyn Reply) -> Outcome {
    let fill = exec.shard.config.limits.list_max_listpack_size;
    let keys = &mut exec.shard.keys;
    let (source, destination) = (keys.key(exec.argv[1]), keys.key(exec.argv[2]));
    if keys.look::<List>(exec.view, &source)?.is_none() {
        reply.null();
        return DONE;
    }
    keys.look::<List>(exec.view, &destination)?;
    if source.bytes == destination.bytes {
        if let Some(mut list) = keys.edit::<List>(exec.view, &source)? {
            list.rotate(from, to, fill, |element| element.reply(reply));
        }
        return DONE;
    }
    let mut text = Vec::new();
    if let Some(mut list) = keys.edit::<List>(exec.view, &source)? {
        list.pop(from, fill, |element| {
            element.reply(reply);
            text = element.to_vec();
        });
    }
    keys.edit_or_create::<List>(exec.view, &destination)?.push(to, &[&text], fill);
    DONE
}

/// LMPOP numkeys key [key ...] LEFT|RIGHT [COUNT count]
pub(super) fn lmpop(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let arguments = Arguments::parse(exec.argv)?;
    pop_first(exec, arguments, reply)
}

/// Takes elements from an end of the first list that there is.
pub(super) fn pop_first(exec: &mut Exec<'_>, arguments: Arguments<'_>, reply: &mut dyn Reply) -> Outcome {
    let Arguments { keys: names, end, count } = arguments;
    let fill = exec.shard.config.limits.list_max_listpack_size;
    let keys = &mut exec.shard.keys;
    for name in names {
        let key = keys.key(name);
        let Some(mut list) = keys.edit::<List>(exec.view, &key)? else { continue };
        let count = count.min(list.len());
        let first = if end == End::Head { 0 } else { list.len() - count };
        let range = first..first + count;
        if !is_short(&list, range.clone()) {
            let elements = list.snapshot(range);
            list.pop_many(end, count, fill);
            return RangeReply::begin(elements, end == End::Tail, Some(name));
        }
        reply.array(2);
        reply.bulk(name);
        reply_range(&list, range, end == End::Tail, reply);
        list.pop_many(end, count, fill);
        return DONE;
    }
    reply.null_array();
    DONE
}

/// The arguments of LMPOP.
pub(super) struct Arguments<'a> {
    keys: &'a [&'a [u8]],
    end: End,
    count: usize,
}

impl<'a> Arguments<'a> {
    pub(super) fn parse(argv: &'a [&'a [u8]]) -> Result<Arguments<'a>, Error> {
        const NUMKEYS: Error = Error::new("ERR numkeys should be greater than 0");
        const COUNT: Error = Error::new("ERR count should be greater than 0");
        let number = natural(argv[1]).filter(|&number| number > 0).ok_or(NUMKEYS)?;
        let rest = &argv[2..];
        if number >= rest.len() {
            return Err(Error::SYNTAX);
        }
        let (keys, rest) = rest.split_at(number);
        let end = end_named(rest[0])?;
        let (count, rest) = match &rest[1..] {
            [word, count, rest @ ..] if is(word, "count") => {
                (natural(count).filter(|&count| count > 0).ok_or(COUNT)?, rest)
            }
            rest => (1, rest),
        };
        if !rest.is_empty() {
            return Err(Error::SYNTAX);
        }
        Ok(Arguments { keys, end, count })
    }
}

//! Single members and numbers of them: ZCARD, ZSCORE, ZMSCORE, ZRANK, ZREVRANK, ZCOUNT, ZLEXCOUNT.

use super::limits;
use crate::args::is;
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::reply::Reply;
use crate::value::zset::Zset;
use crate::value::Collection;

/// ZCARD key
pub(super) fn zcard(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let zset = keys.read::<Zset>(exec.view, &key)?;
    reply.integer(zset.map_or(0, |zset| zset.len() as i64));
    DONE
}

/// ZSCORE key member
pub(super) fn zscore(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let zset = keys.read::<Zset>(exec.view, &key)?;
    answer(zset.and_then(|zset| zset.score(exec.argv[2])), reply);
    DONE
}

/// ZMSCORE key member [member ...]
pub(super) fn zmscore(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let zset = keys.read::<Zset>(exec.view, &key)?;
    reply.array(exec.argv.len() - 2);
    for member in &exec.argv[2..] {
        answer(zset.as_ref().and_then(|zset| zset.score(member)), reply);
    }
    DONE
}

fn answer(score: Option<f64>, reply: &mut dyn Reply) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

/// ZRANK key member [WITHSCORE]
pub(super) fn zrank(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    rank(exec, false, reply)
}

/// ZREVRANK key member [WITHSCORE]
pub(super) fn zrevrank(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    rank(exec, true, reply)
}

fn rank(exec: &mut Exec<'_>, reverse: bool, reply: &mut dyn Reply) -> Outcome {
    let with_score = match &exec.argv[3..] {
        [] => false,
        [word] if is(word, "withscore") => true,
        [_] => return Err(Error::SYNTAX),
        _ => return Err(Error::wrong_arity(&exec.command.full_name)),
    };
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let zset = keys.read::<Zset>(exec.view, &key)?;
    let found = zset.as_ref().and_then(|zset| zset.rank(exec.argv[2]));
    match found {
        None if with_score => reply.null_array(),
        None => reply.null(),
        Some((rank, score)) => {
            let len = zset.map_or(0, |zset| zset.len());
            if with_score {
                reply.array(2);
            }
            reply.integer(if reverse { len - 1 - rank } else { rank } as i64);
            if with_score {
                reply.double(score);
            }
        }
    }
    DONE
}

/// ZCOUNT key min max
pub(super) fn zcount(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let range = limits::scores(exec.argv[2], exec.argv[3])?;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let zset = keys.read::<Zset>(exec.view, &key)?;
    reply.integer(zset.map_or(0, |zset| zset.score_range(&range).len() as i64));
    DONE
}

/// ZLEXCOUNT key min max
pub(super) fn zlexcount(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let range = limits::members(exec.argv[2], exec.argv[3])?;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let zset = keys.read::<Zset>(exec.view, &key)?;
    reply.integer(zset.map_or(0, |zset| zset.lex_range(&range).len() as i64));
    DONE
}

//! Single positions: GEOADD, GEOPOS, GEODIST, GEOHASH.

use super::arguments;
use crate::args::is;
use crate::commands::zset::add::{self, AddRules};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::geo::cell::{Cell, STEP_MAX};
use crate::geo::distance::{self, Unit};
use crate::geo::Position;
use crate::reply::Reply;
use crate::value::zset::Zset;

/// GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]
pub(super) fn geoadd(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let mut rules = AddRules::default();
    let mut rest = &exec.argv[2..];
    while let [word, others @ ..] = rest {
        if is(word, "nx") {
            rules.only_new = true;
        } else if is(word, "xx") {
            rules.only_old = true;
        } else if is(word, "ch") {
            rules.count_changed = true;
        } else {
            break;
        }
        rest = others;
    }
    if rest.is_empty() || !rest.len().is_multiple_of(3) || rules.only_new && rules.only_old {
        return Err(Error::SYNTAX);
    }
    // All positions are read before anything is written.
    let mut members = Vec::with_capacity(rest.len() / 3);
    for triple in rest.chunks_exact(3) {
        let position = arguments::position(triple[0], triple[1])?;
        members.push((Cell::of(position, STEP_MAX).score() as f64, triple[2]));
    }
    add::add(exec, rules, members.into_iter(), reply)
}

/// Writes the coordinates of a position.
pub(super) fn answer_position(position: Position, reply: &mut dyn Reply) {
    reply.array(2);
    reply.double(position.longitude);
    reply.double(position.latitude);
}

/// GEOPOS key [member ...]
pub(super) fn geopos(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    each_member(exec, reply, |score, reply| match score {
        Some(score) => answer_position(Cell::of_score(score).position(), reply),
        None => reply.null_array(),
    })
}

/// GEOHASH key [member ...]
pub(super) fn geohash(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    each_member(exec, reply, |score, reply| match score {
        Some(score) => reply.bulk(&Cell::standard_text(Cell::of_score(score).position())),
        None => reply.null(),
    })
}

/// Answers an array with something for each member that is asked for.
fn each_member(
    exec: &mut Exec<'_>,
    reply: &mut dyn Reply,
    answer: impl Fn(Option<f64>, &mut dyn Reply),
) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let zset = keys.read::<Zset>(exec.view, &key)?;
    reply.array(exec.argv.len() - 2);
    for member in &exec.argv[2..] {
        answer(zset.as_ref().and_then(|zset| zset.score(member)), reply);
    }
    DONE
}

/// GEODIST key member1 member2 [M | KM | FT | MI]
pub(super) fn geodist(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let unit = match exec.argv[4..] {
        [] => Unit::METRE,
        [name] => arguments::unit(name)?,
        _ => return Err(Error::SYNTAX),
    };
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let zset = keys.read::<Zset>(exec.view, &key)?;
    let position = |member| {
        let score = zset.as_ref().and_then(|zset| zset.score(member));
        score.map(|score| Cell::of_score(score).position())
    };
    match (position(exec.argv[2]), position(exec.argv[3])) {
        (Some(one), Some(other)) => {
            reply.bulk(distance::text(distance::between(one, other) / unit.metres).as_bytes());
        }
        _ => reply.null(),
    }
    DONE
}

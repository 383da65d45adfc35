//! SADD, SREM, SCARD, SISMEMBER, SMISMEMBER, SMOVE.

use super::rules;
use crate::exec::{Exec, Outcome, DONE};
use crate::reply::Reply;
use crate::value::set::Set;
use crate::value::Collection;

/// SADD key member [member ...]
pub(super) fn sadd(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let rules = rules(exec);
    let members = &exec.argv[2..];
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let mut set = keys.edit_or_create::<Set>(exec.view, &key)?;
    set.expect(members[0], members.len(), &rules);
    let added = members.iter().filter(|member| set.insert(member, &rules)).count();
    drop(set);
    reply.integer(added as i64);
    DONE
}

/// SREM key member [member ...]
pub(super) fn srem(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let removed = match keys.edit::<Set>(exec.view, &key)? {
        None => 0,
        Some(mut set) => exec.argv[2..].iter().filter(|member| set.remove(member)).count(),
    };
    reply.integer(removed as i64);
    DONE
}

/// SCARD key
pub(super) fn scard(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let len = keys.read::<Set>(exec.view, &key)?.map_or(0, |set| set.len());
    reply.integer(len as i64);
    DONE
}

/// SISMEMBER key member
pub(super) fn sismember(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let is_member = keys.read::<Set>(exec.view, &key)?.is_some_and(|set| set.contains(exec.argv[2]));
    reply.integer(is_member as i64);
    DONE
}

/// SMISMEMBER key member [member ...]
pub(super) fn smismember(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let set = keys.read::<Set>(exec.view, &key)?;
    reply.array(exec.argv.len() - 2);
    for member in &exec.argv[2..] {
        reply.integer(set.as_ref().is_some_and(|set| set.contains(member)) as i64);
    }
    DONE
}

/// SMOVE source destination member
pub(super) fn smove(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let rules = rules(exec);
    let member = exec.argv[3];
    let keys = &mut exec.shard.keys;
    let (source, destination) = (keys.key(exec.argv[1]), keys.key(exec.argv[2]));
    let Some(is_member) = keys.look::<Set>(exec.view, &source)?.map(|set| set.contains(member)) else {
        reply.integer(0);
        return DONE;
    };
    keys.look::<Set>(exec.view, &destination)?;
    if is_member && source.bytes != destination.bytes {
        if let Some(mut set) = keys.edit::<Set>(exec.view, &source)? {
            set.remove(member);
        }
        let mut set = keys.edit_or_create::<Set>(exec.view, &destination)?;
        if set.is_empty() {
            set.expect(member, 1, &rules);
        }
        set.insert(member, &rules);
    }
    reply.integer(is_member as i64);
    DONE
}

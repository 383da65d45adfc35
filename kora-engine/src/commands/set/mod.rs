//! Set commands.
//!
//! - [`members`]: single members of one set
//! - [`random`]: SPOP and SRANDMEMBER
//! - [`listing`]: SMEMBERS and SSCAN
//! - [`algebra`]: union, intersection and difference; [`operation`] computes them
//!
//! A command over several sets finds all of them on its shard: what is elsewhere has been fetched by the connection's executor.

mod algebra;
mod listing;
mod members;
mod operation;
mod random;

use crate::command::{
    Categories, CommandSpec, Coordinated, Flags, Group, Handler, KeyFlags, KeySpec, Run, Spread, ROW,
};
use crate::commands::collection_scan;
use crate::exec::Exec;
use crate::value::set::{Rules, Set};

/// Defaults of the family.
const SET: CommandSpec = CommandSpec { categories: Categories::SET, group: Group::Set, ..ROW };

const READ: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);
const OVERWRITE: KeyFlags = KeyFlags::OW.union(KeyFlags::UPDATE);

const FAST_READ: Flags = Flags::READONLY.union(Flags::FAST);
const FAST_REMOVAL: Flags = Flags::WRITE.union(Flags::FAST);
const STORE: Flags = Flags::WRITE.union(Flags::DENYOOM);

const ANY_ORDER: &[&str] = &["nondeterministic_output_order"];
const ANY_OUTPUT: &[&str] = &["nondeterministic_output"];

/// Runs on the shard of its one key.
const fn one_key(handler: Handler) -> Run {
    Run::Keys(handler, Spread::OneKey)
}

/// Runs where the key is that it writes, or its first one, with the others as guests.
const fn several_keys(handler: Handler) -> Run {
    Run::Keys(handler, Spread::Coordinate(Coordinated::Fetch))
}

/// The rules of form that the configuration gives.
fn rules(exec: &Exec<'_>) -> Rules {
    Rules::new(&exec.shard.config.limits, exec.shard.keys.collection_seed())
}

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "sadd",
        arity: -3,
        flags: STORE.union(Flags::FAST),
        keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))],
        complexity: "O(1) for each member",
        summary: "Adds members to a set; a missing key starts empty.",
        syntax: "key member [member ...]",
        run: one_key(members::sadd),
        ..SET
    },
    CommandSpec {
        name: "scard",
        arity: 2,
        flags: FAST_READ,
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        summary: "Answers the number of members of a set.",
        syntax: "key",
        run: one_key(members::scard),
        ..SET
    },
    CommandSpec {
        name: "sdiff",
        arity: -2,
        flags: Flags::READONLY,
        keys: &[KeySpec::range(1, -1, 1, READ)],
        complexity: "O(N) with N the number of members of all sets, or of the first one times the number of sets, whichever \
                     promises less; large ones in slices",
        summary: "Answers the members of the first set that are in none of the others.",
        syntax: "key [key ...]",
        tips: ANY_ORDER,
        run: several_keys(algebra::sdiff),
        ..SET
    },
    CommandSpec {
        name: "sdiffstore",
        arity: -3,
        flags: STORE,
        keys: &[KeySpec::one(1, OVERWRITE), KeySpec::range(2, -1, 1, READ)],
        complexity: "O(N) with N the number of members of all sets, or of the first one times the number of sets, whichever \
                     promises less; large ones in slices",
        summary: "Stores the members of the first set that are in none of the others.",
        syntax: "destination key [key ...]",
        run: several_keys(algebra::sdiffstore),
        ..SET
    },
    CommandSpec {
        name: "sinter",
        arity: -2,
        flags: Flags::READONLY,
        keys: &[KeySpec::range(1, -1, 1, READ)],
        complexity: "O(N*M) with N the members of the smallest set and M the number of sets; large ones in slices",
        summary: "Answers the members that all sets have.",
        syntax: "key [key ...]",
        tips: ANY_ORDER,
        run: several_keys(algebra::sinter),
        ..SET
    },
    CommandSpec {
        name: "sintercard",
        arity: -3,
        flags: Flags::READONLY.union(Flags::MOVABLEKEYS),
        keys: &[KeySpec::numkeys(1, READ)],
        since: "7.0.0",
        complexity: "O(N*M) with N the members of the smallest set and M the number of sets; large ones in slices",
        summary: "Answers how many members all sets have, counting up to a limit.",
        syntax: "numkeys key [key ...] [LIMIT limit]",
        run: several_keys(algebra::sintercard),
        ..SET
    },
    CommandSpec {
        name: "sinterstore",
        arity: -3,
        flags: STORE,
        keys: &[KeySpec::one(1, OVERWRITE), KeySpec::range(2, -1, 1, READ)],
        complexity: "O(N*M) with N the members of the smallest set and M the number of sets; large ones in slices",
        summary: "Stores the members that all sets have.",
        syntax: "destination key [key ...]",
        run: several_keys(algebra::sinterstore),
        ..SET
    },
    CommandSpec {
        name: "sismember",
        arity: 3,
        flags: FAST_READ,
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        summary: "Answers whether a set has a member.",
        syntax: "key member",
        run: one_key(members::sismember),
        ..SET
    },
    CommandSpec {
        name: "smembers",
        arity: 2,
        flags: Flags::READONLY,
        keys: &[KeySpec::one(1, READ)],
        complexity: "O(N) with N the number of members; large sets in slices",
        summary: "Answers all members of a set.",
        syntax: "key",
        tips: ANY_ORDER,
        run: one_key(listing::smembers),
        ..SET
    },
    CommandSpec {
        name: "smismember",
        arity: -3,
        flags: FAST_READ,
        keys: &[KeySpec::one(1, READ)],
        since: "6.2.0",
        complexity: "O(N) with N the number of members asked for",
        summary: "Answers for each of several members whether a set has it.",
        syntax: "key member [member ...]",
        run: one_key(members::smismember),
        ..SET
    },
    CommandSpec {
        name: "smove",
        arity: 4,
        flags: FAST_REMOVAL,
        keys: &[
            KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE)),
            KeySpec::one(2, KeyFlags::RW.union(KeyFlags::INSERT)),
        ],
        summary: "Moves a member from one set to another.",
        syntax: "source destination member",
        run: Run::Keys(members::smove, Spread::Coordinate(Coordinated::MoveMember)),
        ..SET
    },
    CommandSpec {
        name: "spop",
        arity: -2,
        flags: FAST_REMOVAL,
        keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))],
        complexity: "O(N) with N the number of members removed; O(1) without a count",
        summary: "Removes random members from a set and answers them.",
        syntax: "key [count]",
        tips: ANY_OUTPUT,
        run: one_key(random::spop),
        ..SET
    },
    CommandSpec {
        name: "srandmember",
        arity: -2,
        flags: Flags::READONLY,
        keys: &[KeySpec::one(1, READ)],
        complexity: "O(N) with N the number of members answered",
        summary: "Answers random members of a set: distinct ones, or with a negative count any.",
        syntax: "key [count]",
        tips: ANY_OUTPUT,
        run: one_key(random::srandmember),
        ..SET
    },
    CommandSpec {
        name: "srem",
        arity: -3,
        flags: FAST_REMOVAL,
        keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))],
        complexity: "O(N) with N the number of members to remove",
        summary: "Removes members from a set; with the last one the key goes away.",
        syntax: "key member [member ...]",
        run: one_key(members::srem),
        ..SET
    },
    CommandSpec {
        name: "sscan",
        arity: -3,
        flags: Flags::READONLY,
        keys: &[KeySpec::one(1, READ)],
        since: "2.8.0",
        complexity: "O(COUNT) per call, O(N) for a whole iteration over N members",
        summary: "Iterates over the members of a set, some at a time.",
        syntax: "key cursor [MATCH pattern] [COUNT count]",
        tips: ANY_OUTPUT,
        run: one_key(collection_scan::scan::<Set>),
        ..SET
    },
    CommandSpec {
        name: "sunion",
        arity: -2,
        flags: Flags::READONLY,
        keys: &[KeySpec::range(1, -1, 1, READ)],
        complexity: "O(N) with N the number of members of all sets; large ones in slices",
        summary: "Answers the members that any of the sets has.",
        syntax: "key [key ...]",
        tips: ANY_ORDER,
        run: several_keys(algebra::sunion),
        ..SET
    },
    CommandSpec {
        name: "sunionstore",
        arity: -3,
        flags: STORE,
        keys: &[KeySpec::one(1, OVERWRITE), KeySpec::range(2, -1, 1, READ)],
        complexity: "O(N) with N the number of members of all sets; large ones in slices",
        summary: "Stores the members that any of the sets has.",
        syntax: "destination key [key ...]",
        run: several_keys(algebra::sunionstore),
        ..SET
    },
];

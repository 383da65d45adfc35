//! SORT and SORT_RO: the elements of a list, set or sorted set in an order of their own or of other keys' values.
//!
//! - [`request`]: the arguments
//! - [`pattern`]: what BY and GET name
//! - [`weight`]: what elements are compared by
//! - [`texts`]: many strings in few allocations
//! - [`sorting`]: the command itself, in steps
//! - [`merge`]: ordering in steps
//! - [`watch`]: whether what is read has changed between two steps
//!
//! The keys that patterns name may be on other shards; the connection's executor has fetched them all then, and they are guests here.

mod merge;
mod pattern;
mod request;
mod sorting;
mod texts;
mod watch;
mod weight;

use crate::command::{
    Categories, CommandSpec, Coordinated, Flags, Group, KeyFlags, KeySpec, Run, Spread, ROW,
};
use crate::exec::{Exec, Outcome};
use crate::reply::Reply;
use request::Request;

const READ: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);

/// Defaults of the two.
const SORT: CommandSpec = CommandSpec {
    arity: -2,
    categories: Categories::SET
        .union(Categories::SORTEDSET)
        .union(Categories::LIST)
        .union(Categories::DANGEROUS),
    group: Group::Generic,
    complexity: "O(N+M*log(M)) with N the number of elements and M that of those that are answered; O(N) where nothing is \
                 sorted; large ones in slices",
    ..ROW
};

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "sort",
        flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::MOVABLEKEYS),
        keys: &[
            KeySpec::one(1, READ),
            KeySpec::sort_patterns(READ),
            KeySpec::sort_store(KeyFlags::OW.union(KeyFlags::UPDATE)),
        ],
        summary: "Sorts the elements of a list, set or sorted set, and answers or stores them or what other keys hold for them.",
        syntax: "key [BY by-pattern] [LIMIT offset count] [GET get-pattern [GET get-pattern ...]] [ASC | DESC] [ALPHA] \
                 [STORE destination]",
        run: Run::Keys(sort, Spread::Coordinate(Coordinated::Sort)),
        ..SORT
    },
    CommandSpec {
        name: "sort_ro",
        flags: Flags::READONLY.union(Flags::MOVABLEKEYS),
        keys: &[KeySpec::one(1, READ), KeySpec::sort_patterns(READ)],
        since: "7.0.0",
        summary: "Sorts the elements of a list, set or sorted set, and answers them or what other keys hold for them.",
        syntax: "key [BY by-pattern] [LIMIT offset count] [GET get-pattern [GET get-pattern ...]] [ASC | DESC] [ALPHA]",
        run: Run::Keys(sort_ro, Spread::Coordinate(Coordinated::Sort)),
        ..SORT
    },
];

/// SORT key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC | DESC] [ALPHA] [STORE destination]
fn sort(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let request = Request::parse(exec.argv, true)?;
    sorting::start(exec, request, reply)
}

/// SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC | DESC] [ALPHA]
fn sort_ro(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let request = Request::parse(exec.argv, false)?;
    sorting::start(exec, request, reply)
}

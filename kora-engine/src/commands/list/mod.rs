//! List commands.
//!
//! The handlers see the keys of one shard. LMOVE, RPOPLPUSH and LMPOP over several shards are coordinated by the connection's
//! executor, which runs LPOP, LPUSH and LMPOP of one key on each. The handlers of blocking commands do not block: see [`crate::blocking`].

mod blocking;
mod ends;
mod later;
mod middle;
mod moves;
mod read;

use crate::args::{is, parse_i64};
use crate::command::{
    Categories, CommandSpec, Coordinated, Flags, Group, Handler, KeyFlags, KeySpec, Run, Spread, ROW,
};
use crate::error::Error;
use crate::value::list::End;

/// Defaults of the family.
const LIST: CommandSpec = CommandSpec { categories: Categories::LIST, group: Group::List, ..ROW };

const READ: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))];
const INSERT: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))];
const UPDATE: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))];
const DELETE: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))];
const TAKE: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE);
const MOVE: &[KeySpec] = &[KeySpec::one(1, TAKE), KeySpec::one(2, KeyFlags::RW.union(KeyFlags::INSERT))];

const BLOCKING: Flags = Flags::WRITE.union(Flags::BLOCKING);
const BLOCKING_MOVE: Flags = BLOCKING.union(Flags::DENYOOM);

const PUSH: Flags = Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST);

/// Runs on the shard of its one key.
const fn one_key(handler: Handler) -> Run {
    Run::Keys(handler, Spread::OneKey)
}

/// A number that counts something: an integer of at least 0.
fn natural(text: &[u8]) -> Option<usize> {
    parse_i64(text).and_then(|number| usize::try_from(number).ok())
}

/// LEFT or RIGHT.
fn end_named(word: &[u8]) -> Result<End, Error> {
    if is(word, "left") {
        Ok(End::Head)
    } else if is(word, "right") {
        Ok(End::Tail)
    } else {
        Err(Error::SYNTAX)
    }
}

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "blmove",
        arity: 6,
        flags: BLOCKING_MOVE,
        keys: MOVE,
        since: "6.2.0",
        summary: "LMOVE that waits for the source to have an element.",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
        run: Run::Keys(blocking::blmove, Spread::Coordinate(Coordinated::MoveElement)),
        ..LIST
    },
    CommandSpec {
        name: "blmpop",
        arity: -5,
        flags: BLOCKING.union(Flags::MOVABLEKEYS),
        keys: &[KeySpec::numkeys(2, TAKE)],
        since: "7.0.0",
        complexity: "O(N+M) with N the number of keys and M the number of elements",
        summary: "LMPOP that waits for one of the lists to have an element.",
        syntax: "timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        run: Run::Keys(blocking::blmpop, Spread::Coordinate(Coordinated::FirstOf)),
        ..LIST
    },
    CommandSpec {
        name: "blpop",
        arity: -3,
        flags: BLOCKING,
        keys: &[KeySpec::range(1, -2, 1, TAKE)],
        since: "2.0.0",
        complexity: "O(N) with N the number of keys",
        summary: "Takes the first element of the first list that has one, and waits for one if none has.",
        syntax: "key [key ...] timeout",
        run: Run::Keys(blocking::blpop, Spread::Coordinate(Coordinated::FirstOf)),
        ..LIST
    },
    CommandSpec {
        name: "brpop",
        arity: -3,
        flags: BLOCKING,
        keys: &[KeySpec::range(1, -2, 1, TAKE)],
        since: "2.0.0",
        complexity: "O(N) with N the number of keys",
        summary: "Takes the last element of the first list that has one, and waits for one if none has.",
        syntax: "key [key ...] timeout",
        run: Run::Keys(blocking::brpop, Spread::Coordinate(Coordinated::FirstOf)),
        ..LIST
    },
    CommandSpec {
        name: "brpoplpush",
        arity: 4,
        flags: BLOCKING_MOVE,
        keys: MOVE,
        since: "2.2.0",
        summary: "RPOPLPUSH that waits for the source to have an element.",
        syntax: "source destination timeout",
        run: Run::Keys(blocking::brpoplpush, Spread::Coordinate(Coordinated::MoveElement)),
        ..LIST
    },
    CommandSpec {
        name: "lindex",
        arity: 3,
        flags: Flags::READONLY,
        keys: READ,
        complexity: "O(1) near an end; else O(N/300), with N the number of elements to the nearer end",
        summary: "Answers the element at an index.",
        syntax: "key index",
        run: one_key(read::lindex),
        ..LIST
    },
    CommandSpec {
        name: "linsert",
        arity: 5,
        flags: Flags::WRITE.union(Flags::DENYOOM),
        keys: INSERT,
        since: "2.2.0",
        complexity: "O(N) with N the number of elements before the pivot",
        summary: "Puts an element before or after another one.",
        syntax: "key <BEFORE | AFTER> pivot element",
        run: one_key(middle::linsert),
        ..LIST
    },
    CommandSpec {
        name: "llen",
        arity: 2,
        flags: Flags::READONLY.union(Flags::FAST),
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        summary: "Answers the number of elements.",
        syntax: "key",
        run: one_key(read::llen),
        ..LIST
    },
    CommandSpec {
        name: "lmove",
        arity: 5,
        flags: Flags::WRITE.union(Flags::DENYOOM),
        keys: MOVE,
        since: "6.2.0",
        summary: "Takes an element from an end of one list, puts it at an end of another one and answers it.",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT>",
        run: Run::Keys(moves::lmove, Spread::Coordinate(Coordinated::MoveElement)),
        ..LIST
    },
    CommandSpec {
        name: "lmpop",
        arity: -4,
        flags: Flags::WRITE.union(Flags::MOVABLEKEYS),
        keys: &[KeySpec::numkeys(1, TAKE)],
        since: "7.0.0",
        complexity: "O(N+M) with N the number of keys and M the number of elements",
        summary: "Takes elements from an end of the first list that has some.",
        syntax: "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        run: Run::Keys(moves::lmpop, Spread::Coordinate(Coordinated::FirstOf)),
        ..LIST
    },
    CommandSpec {
        name: "lpop",
        arity: -2,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: &[KeySpec::one(1, TAKE)],
        complexity: "O(N) with N the number of elements",
        summary: "Takes elements from the head.",
        syntax: "key [count]",
        run: one_key(ends::lpop),
        ..LIST
    },
    CommandSpec {
        name: "lpos",
        arity: -3,
        flags: Flags::READONLY,
        keys: READ,
        since: "6.0.6",
        complexity: "O(N) with N the number of elements up to the last one that is found",
        summary: "Answers the indexes of elements that are equal to one.",
        syntax: "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
        run: one_key(read::lpos),
        ..LIST
    },
    CommandSpec {
        name: "lpush",
        arity: -3,
        flags: PUSH,
        keys: INSERT,
        complexity: "O(N) with N the number of new elements",
        summary: "Adds elements at the head; a missing key starts as an empty list.",
        syntax: "key element [element ...]",
        run: one_key(ends::lpush),
        ..LIST
    },
    CommandSpec {
        name: "lpushx",
        arity: -3,
        flags: PUSH,
        keys: INSERT,
        since: "2.2.0",
        complexity: "O(N) with N the number of new elements",
        summary: "Adds elements at the head of a list that exists.",
        syntax: "key element [element ...]",
        run: one_key(ends::lpushx),
        ..LIST
    },
    CommandSpec {
        name: "lrange",
        arity: 4,
        flags: Flags::READONLY,
        keys: READ,
        complexity: "O(S+N) with N the number of elements, and S as for LINDEX of the first one",
        summary: "Answers the elements of a range of indexes.",
        syntax: "key start stop",
        run: one_key(read::lrange),
        ..LIST
    },
    CommandSpec {
        name: "lrem",
        arity: 4,
        flags: Flags::WRITE,
        keys: DELETE,
        complexity: "O(N) with N the number of elements",
        summary: "Removes elements that are equal to one.",
        syntax: "key count element",
        run: one_key(middle::lrem),
        ..LIST
    },
    CommandSpec {
        name: "lset",
        arity: 4,
        flags: Flags::WRITE.union(Flags::DENYOOM),
        keys: UPDATE,
        complexity: "O(1) near an end; else as LINDEX",
        summary: "Replaces the element at an index.",
        syntax: "key index element",
        run: one_key(middle::lset),
        ..LIST
    },
    CommandSpec {
        name: "ltrim",
        arity: 4,
        flags: Flags::WRITE,
        keys: DELETE,
        complexity: "O(N/300) with N the number of removed elements, which are freed later",
        summary: "Removes all elements outside a range of indexes.",
        syntax: "key start stop",
        run: one_key(middle::ltrim),
        ..LIST
    },
    CommandSpec {
        name: "rpop",
        arity: -2,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: &[KeySpec::one(1, TAKE)],
        complexity: "O(N) with N the number of elements",
        summary: "Takes elements from the tail.",
        syntax: "key [count]",
        run: one_key(ends::rpop),
        ..LIST
    },
    CommandSpec {
        name: "rpoplpush",
        arity: 3,
        flags: Flags::WRITE.union(Flags::DENYOOM),
        keys: MOVE,
        since: "1.2.0",
        summary: "Takes the last element of one list, puts it at the head of another one and answers it.",
        syntax: "source destination",
        run: Run::Keys(moves::rpoplpush, Spread::Coordinate(Coordinated::MoveElement)),
        ..LIST
    },
    CommandSpec {
        name: "rpush",
        arity: -3,
        flags: PUSH,
        keys: INSERT,
        complexity: "O(N) with N the number of new elements",
        summary: "Adds elements at the tail; a missing key starts as an empty list.",
        syntax: "key element [element ...]",
        run: one_key(ends::rpush),
        ..LIST
    },
    CommandSpec {
        name: "rpushx",
        arity: -3,
        flags: PUSH,
        keys: INSERT,
        since: "2.2.0",
        complexity: "O(N) with N the number of new elements",
        summary: "Adds elements at the tail of a list that exists.",
        syntax: "key element [element ...]",
        run: one_key(ends::rpushx),
        ..LIST
    },
];

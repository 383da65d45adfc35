//! Hash commands.
//!
//! Every handler sees one key. Fields past their time are invisible to all of them; a command that writes reclaims them first
//! where they would be in its way, the rest is left to the sweep.

mod expire;
mod fields;
mod get;
mod number;
mod random;
mod set;
mod walk;

use crate::command::{Categories, CommandSpec, Flags, Group, Handler, KeyFlags, KeySpec, Run, Spread, ROW};
use crate::commands::collection_scan;
use crate::value::hash::Hash;

/// Defaults of the family.
const HASH: CommandSpec =
    CommandSpec { categories: Categories::HASH, group: Group::Hash, since: "2.0.0", ..ROW };

const READ: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))];
const LOOK: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RO)];
const UPDATE: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))];
const INSERT: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))];
const DELETE: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))];
const READ_AND_UPDATE: &[KeySpec] =
    &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))];
const READ_AND_DELETE: &[KeySpec] =
    &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))];

const FAST_WRITE: Flags = Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST);
const FAST_WRITE_IN_NEED: Flags = Flags::WRITE.union(Flags::FAST);
const FAST_READ: Flags = Flags::READONLY.union(Flags::FAST);

const RANDOM_ORDER: &[&str] = &["nondeterministic_output_order"];
const RANDOM: &[&str] = &["nondeterministic_output"];

/// What most commands on several fields cost.
const PER_FIELD: &str = "O(N) with N the number of fields in the command";

/// Defaults of HEXPIRE and its relatives.
const EXPIRE: CommandSpec = CommandSpec {
    arity: -6,
    flags: FAST_WRITE_IN_NEED,
    keys: UPDATE,
    since: "7.4.0",
    complexity: PER_FIELD,
    ..HASH
};

/// Defaults of HTTL and its relatives.
const TELL: CommandSpec = CommandSpec {
    arity: -5,
    flags: FAST_READ,
    keys: READ,
    since: "7.4.0",
    complexity: PER_FIELD,
    syntax: "key FIELDS numfields field [field ...]",
    ..HASH
};

/// Runs on the shard of its one key.
const fn one_key(handler: Handler) -> Run {
    Run::Keys(handler, Spread::OneKey)
}

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "hdel",
        arity: -3,
        flags: FAST_WRITE_IN_NEED,
        keys: DELETE,
        complexity: PER_FIELD,
        summary: "Removes fields of a hash; the key goes with the last one.",
        syntax: "key field [field ...]",
        run: one_key(set::hdel),
        ..HASH
    },
    CommandSpec {
        name: "hexists",
        arity: 3,
        flags: FAST_READ,
        keys: LOOK,
        summary: "Tells whether a hash has a field.",
        syntax: "key field",
        run: one_key(get::hexists),
        ..HASH
    },
    CommandSpec {
        name: "hexpire",
        summary: "Makes fields of a hash expire after some seconds.",
        syntax: "key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        run: one_key(expire::hexpire),
        ..EXPIRE
    },
    CommandSpec {
        name: "hexpireat",
        summary: "Makes fields of a hash expire at a Unix time in seconds.",
        syntax: "key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        run: one_key(expire::hexpireat),
        ..EXPIRE
    },
    CommandSpec {
        name: "hexpiretime",
        summary: "Tells when fields of a hash expire, as Unix times in seconds.",
        run: one_key(expire::hexpiretime),
        ..TELL
    },
    CommandSpec {
        name: "hget",
        arity: 3,
        flags: FAST_READ,
        keys: READ,
        summary: "Answers the value of a field of a hash.",
        syntax: "key field",
        run: one_key(get::hget),
        ..HASH
    },
    CommandSpec {
        name: "hgetall",
        arity: 2,
        flags: Flags::READONLY,
        keys: READ,
        complexity: "O(N) with N the number of fields, in slices",
        summary: "Answers all fields of a hash with their values.",
        syntax: "key",
        tips: RANDOM_ORDER,
        run: one_key(walk::hgetall),
        ..HASH
    },
    CommandSpec {
        name: "hgetdel",
        arity: -5,
        flags: FAST_WRITE_IN_NEED,
        keys: READ_AND_DELETE,
        since: "8.0.0",
        complexity: PER_FIELD,
        summary: "Answers the values of fields of a hash and removes the fields.",
        syntax: "key FIELDS numfields field [field ...]",
        run: one_key(set::hgetdel),
        ..HASH
    },
    CommandSpec {
        name: "hgetex",
        arity: -5,
        flags: FAST_WRITE_IN_NEED,
        keys: READ_AND_UPDATE,
        since: "8.0.0",
        complexity: PER_FIELD,
        summary: "Answers the values of fields of a hash and sets or removes their expiries.",
        syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | \
                 PERSIST] FIELDS numfields field [field ...]",
        run: one_key(expire::hgetex),
        ..HASH
    },
    CommandSpec {
        name: "hincrby",
        arity: 4,
        flags: FAST_WRITE,
        keys: READ_AND_UPDATE,
        summary: "Adds to the integer in a field of a hash; a missing field starts at 0.",
        syntax: "key field increment",
        run: one_key(number::hincrby),
        ..HASH
    },
    CommandSpec {
        name: "hincrbyfloat",
        arity: 4,
        flags: FAST_WRITE,
        keys: READ_AND_UPDATE,
        since: "2.6.0",
        summary: "Adds to the floating point number in a field of a hash; a missing field starts at 0.",
        syntax: "key field increment-float",
        run: one_key(number::hincrbyfloat),
        ..HASH
    },
    CommandSpec {
        name: "hkeys",
        arity: 2,
        flags: Flags::READONLY,
        keys: READ,
        complexity: "O(N) with N the number of fields, in slices",
        summary: "Answers all fields of a hash.",
        syntax: "key",
        tips: RANDOM_ORDER,
        run: one_key(walk::hkeys),
        ..HASH
    },
    CommandSpec {
        name: "hlen",
        arity: 2,
        flags: FAST_READ,
        keys: LOOK,
        summary: "Answers the number of fields of a hash.",
        syntax: "key",
        run: one_key(get::hlen),
        ..HASH
    },
    CommandSpec {
        name: "hmget",
        arity: -3,
        flags: FAST_READ,
        keys: READ,
        complexity: PER_FIELD,
        summary: "Answers the values of several fields of a hash.",
        syntax: "key field [field ...]",
        run: one_key(get::hmget),
        ..HASH
    },
    CommandSpec {
        name: "hmset",
        arity: -4,
        flags: FAST_WRITE,
        keys: UPDATE,
        complexity: PER_FIELD,
        summary: "Gives several fields of a hash their values.",
        syntax: "key field value [field value ...]",
        run: one_key(set::hmset),
        ..HASH
    },
    CommandSpec {
        name: "hpersist",
        arity: -5,
        flags: FAST_WRITE_IN_NEED,
        keys: UPDATE,
        since: "7.4.0",
        complexity: PER_FIELD,
        summary: "Removes the expiries of fields of a hash.",
        syntax: "key FIELDS numfields field [field ...]",
        run: one_key(expire::hpersist),
        ..HASH
    },
    CommandSpec {
        name: "hpexpire",
        summary: "Makes fields of a hash expire after some milliseconds.",
        syntax: "key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        run: one_key(expire::hpexpire),
        ..EXPIRE
    },
    CommandSpec {
        name: "hpexpireat",
        summary: "Makes fields of a hash expire at a Unix time in milliseconds.",
        syntax: "key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        run: one_key(expire::hpexpireat),
        ..EXPIRE
    },
    CommandSpec {
        name: "hpexpiretime",
        summary: "Tells when fields of a hash expire, as Unix times in milliseconds.",
        run: one_key(expire::hpexpiretime),
        ..TELL
    },
    CommandSpec {
        name: "hpttl",
        summary: "Tells how many milliseconds fields of a hash have left.",
        tips: RANDOM,
        run: one_key(expire::hpttl),
        ..TELL
    },
    CommandSpec {
        name: "hrandfield",
        arity: -2,
        flags: Flags::READONLY,
        keys: READ,
        since: "6.2.0",
        complexity: "O(N) with N the number of fields answered",
        summary: "Answers fields of a hash chosen at random.",
        syntax: "key [count [WITHVALUES]]",
        tips: RANDOM,
        run: one_key(random::hrandfield),
        ..HASH
    },
    CommandSpec {
        name: "hscan",
        arity: -3,
        flags: Flags::READONLY,
        keys: READ,
        since: "2.8.0",
        complexity: "O(COUNT) per call, O(N) for a whole iteration over N fields",
        summary: "Iterates over the fields of a hash, some at a time.",
        syntax: "key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
        tips: RANDOM,
        run: one_key(collection_scan::scan::<Hash>),
        ..HASH
    },
    CommandSpec {
        name: "hset",
        arity: -4,
        flags: FAST_WRITE,
        keys: UPDATE,
        complexity: PER_FIELD,
        summary: "Gives fields of a hash their values; tells how many of them are new.",
        syntax: "key field value [field value ...]",
        run: one_key(set::hset),
        ..HASH
    },
    CommandSpec {
        name: "hsetex",
        arity: -6,
        flags: FAST_WRITE,
        keys: UPDATE,
        since: "8.0.0",
        complexity: PER_FIELD,
        summary: "Gives fields of a hash their values and an expiry.",
        syntax: "key [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
                 PXAT unix-time-milliseconds | KEEPTTL] FIELDS numfields field value [field value ...]",
        run: one_key(expire::hsetex),
        ..HASH
    },
    CommandSpec {
        name: "hsetnx",
        arity: 4,
        flags: FAST_WRITE,
        keys: INSERT,
        summary: "Gives a field of a hash a value unless the field exists.",
        syntax: "key field value",
        run: one_key(set::hsetnx),
        ..HASH
    },
    CommandSpec {
        name: "hstrlen",
        arity: 3,
        flags: FAST_READ,
        keys: LOOK,
        since: "3.2.0",
        summary: "Answers the length of the value of a field of a hash.",
        syntax: "key field",
        run: one_key(get::hstrlen),
        ..HASH
    },
    CommandSpec {
        name: "httl",
        summary: "Tells how many seconds fields of a hash have left.",
        tips: RANDOM,
        run: one_key(expire::httl),
        ..TELL
    },
    CommandSpec {
        name: "hvals",
        arity: 2,
        flags: Flags::READONLY,
        keys: READ,
        complexity: "O(N) with N the number of fields, in slices",
        summary: "Answers all values of a hash.",
        syntax: "key",
        tips: RANDOM_ORDER,
        run: one_key(walk::hvals),
        ..HASH
    },
];

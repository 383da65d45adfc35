//! String commands.
//!
//! The handlers see the keys of one shard. MGET and MSET over several shards are split by the router, MSETNX and LCS
//! are coordinated by the connection's executor; the rows say so.

mod condition;
mod edit;
mod expiry;
mod get;
mod number;
mod set;
mod value;

pub(super) use value::with_text;

use super::lcs;
use crate::command::{
    Categories, CommandSpec, Coordinated, Flags, Group, Handler, KeyFlags, KeySpec, Merge, Run, Spread, ROW,
};

/// Defaults of the family.
const STRING: CommandSpec = CommandSpec { categories: Categories::STRING, group: Group::String, ..ROW };

const READ: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))];
const READ_AND_UPDATE: &[KeySpec] =
    &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))];
const OVERWRITE: &[KeySpec] = &[KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE))];

const WRITE: Flags = Flags::WRITE.union(Flags::DENYOOM);
const FAST_WRITE: Flags = WRITE.union(Flags::FAST);
const FAST_READ: Flags = Flags::READONLY.union(Flags::FAST);

const MULTI_SHARD: &str = "request_policy:multi_shard";

/// Runs on the shard of its one key.
const fn one_key(handler: Handler) -> Run {
    Run::Keys(handler, Spread::OneKey)
}

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "append",
        arity: 3,
        flags: FAST_WRITE,
        keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))],
        since: "2.0.0",
        complexity: "O(1) amortized, for short appended values: a value grows by half when it must",
        summary: "Adds bytes at the end of a string; a missing key starts empty.",
        syntax: "key value",
        run: one_key(edit::append),
        ..STRING
    },
    CommandSpec {
        name: "decr",
        arity: 2,
        flags: FAST_WRITE,
        keys: READ_AND_UPDATE,
        summary: "Subtracts one from the integer at a key; a missing key starts at 0.",
        syntax: "key",
        run: one_key(number::decr),
        ..STRING
    },
    CommandSpec {
        name: "decrby",
        arity: 3,
        flags: FAST_WRITE,
        keys: READ_AND_UPDATE,
        summary: "Subtracts from the integer at a key; a missing key starts at 0.",
        syntax: "key decrement",
        run: one_key(number::decrby),
        ..STRING
    },
    CommandSpec {
        name: "delex",
        arity: -2,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))],
        since: "8.4.0",
        complexity: "O(1) for IFEQ and IFNE, O(N) for IFDEQ and IFDNE with N the length of the value",
        summary: "Removes a key if its value, or the digest of its value, compares as asked.",
        syntax: "key [IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest | IFDNE ifdne-digest]",
        run: one_key(get::delex),
        ..STRING
    },
    CommandSpec {
        name: "digest",
        arity: 2,
        flags: FAST_READ,
        keys: READ,
        since: "8.4.0",
        complexity: "O(N) with N the length of the value",
        summary: "Answers the XXH3 hash of a string, in hexadecimal.",
        syntax: "key",
        run: one_key(get::digest_of_key),
        ..STRING
    },
    CommandSpec {
        name: "get",
        arity: 2,
        flags: FAST_READ,
        keys: READ,
        summary: "Answers the string at a key.",
        syntax: "key",
        run: one_key(get::get),
        ..STRING
    },
    CommandSpec {
        name: "getdel",
        arity: 2,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))],
        since: "6.2.0",
        summary: "Answers the string at a key and removes the key.",
        syntax: "key",
        run: one_key(get::getdel),
        ..STRING
    },
    CommandSpec {
        name: "getex",
        arity: -2,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: READ_AND_UPDATE,
        since: "6.2.0",
        summary: "Answers the string at a key and sets or removes its expiry.",
        syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | \
                 PERSIST]",
        run: one_key(get::getex),
        ..STRING
    },
    CommandSpec {
        name: "getrange",
        arity: 4,
        flags: Flags::READONLY,
        keys: READ,
        since: "2.4.0",
        complexity: "O(N) with N the length of the answer; O(1) for a large value, which is not copied",
        summary: "Answers a part of a string, by first and last byte.",
        syntax: "key start end",
        run: one_key(get::getrange),
        ..STRING
    },
    CommandSpec {
        name: "getset",
        arity: 3,
        flags: FAST_WRITE,
        keys: READ_AND_UPDATE,
        summary: "Gives a key a new string and answers the old one.",
        syntax: "key value",
        run: one_key(set::getset),
        ..STRING
    },
    CommandSpec {
        name: "incr",
        arity: 2,
        flags: FAST_WRITE,
        keys: READ_AND_UPDATE,
        summary: "Adds one to the integer at a key; a missing key starts at 0.",
        syntax: "key",
        run: one_key(number::incr),
        ..STRING
    },
    CommandSpec {
        name: "incrby",
        arity: 3,
        flags: FAST_WRITE,
        keys: READ_AND_UPDATE,
        summary: "Adds to the integer at a key; a missing key starts at 0.",
        syntax: "key increment",
        run: one_key(number::incrby),
        ..STRING
    },
    CommandSpec {
        name: "incrbyfloat",
        arity: 3,
        flags: FAST_WRITE,
        keys: READ_AND_UPDATE,
        since: "2.6.0",
        summary: "Adds to the floating point number at a key; a missing key starts at 0.",
        syntax: "key increment",
        run: one_key(number::incrbyfloat),
        ..STRING
    },
    CommandSpec {
        name: "lcs",
        arity: -3,
        flags: Flags::READONLY,
        keys: &[KeySpec::range(1, 2, 1, KeyFlags::RO.union(KeyFlags::ACCESS))],
        since: "7.0.0",
        complexity: "O(N*M) with N and M the lengths of the two strings, 64 pairs of bytes at a time",
        summary: "Finds the longest common subsequence of two strings.",
        syntax: "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
        run: Run::Keys(lcs::lcs, Spread::Coordinate(Coordinated::Lcs)),
        ..STRING
    },
    CommandSpec {
        name: "mget",
        arity: -2,
        flags: FAST_READ,
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO.union(KeyFlags::ACCESS))],
        complexity: "O(N) with N the number of keys",
        summary: "Answers the strings at several keys.",
        syntax: "key [key ...]",
        tips: &[MULTI_SHARD],
        run: Run::Keys(get::mget, Spread::Split(Merge::Gather)),
        ..STRING
    },
    CommandSpec {
        name: "mset",
        arity: -3,
        flags: WRITE,
        keys: &[KeySpec::range(1, -1, 2, KeyFlags::OW.union(KeyFlags::UPDATE))],
        since: "1.0.1",
        complexity: "O(N) with N the number of keys",
        summary: "Gives several keys their strings, all at once.",
        syntax: "key value [key value ...]",
        tips: &[MULTI_SHARD, "response_policy:all_succeeded"],
        run: Run::Keys(set::mset, Spread::Split(Merge::AllOk)),
        ..STRING
    },
    CommandSpec {
        name: "msetnx",
        arity: -3,
        flags: WRITE,
        keys: &[KeySpec::range(1, -1, 2, KeyFlags::OW.union(KeyFlags::INSERT))],
        since: "1.0.1",
        complexity: "O(N) with N the number of keys",
        summary: "Gives several keys their strings, all at once, if none of them exists.",
        syntax: "key value [key value ...]",
        run: Run::Keys(set::msetnx, Spread::Coordinate(Coordinated::MsetNx)),
        ..STRING
    },
    CommandSpec {
        name: "psetex",
        arity: 4,
        flags: WRITE,
        keys: OVERWRITE,
        since: "2.6.0",
        summary: "Gives a key a string and a time to live in milliseconds.",
        syntax: "key milliseconds value",
        run: one_key(set::psetex),
        ..STRING
    },
    CommandSpec {
        name: "set",
        arity: -3,
        flags: WRITE,
        keys: &[KeySpec::one(
            1,
            KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE).union(KeyFlags::VARIABLE_FLAGS),
        )],
        summary: "Gives a key a string, whatever it held before; options ask for conditions and an expiry.",
        syntax: "key value [NX | XX | IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest | \
                 IFDNE ifdne-digest] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
                 PXAT unix-time-milliseconds | KEEPTTL]",
        run: one_key(set::set),
        ..STRING
    },
    CommandSpec {
        name: "setex",
        arity: 4,
        flags: WRITE,
        keys: OVERWRITE,
        since: "2.0.0",
        summary: "Gives a key a string and a time to live in seconds.",
        syntax: "key seconds value",
        run: one_key(set::setex),
        ..STRING
    },
    CommandSpec {
        name: "setnx",
        arity: 3,
        flags: FAST_WRITE,
        keys: &[KeySpec::one(1, KeyFlags::OW.union(KeyFlags::INSERT))],
        summary: "Gives a key a string if the key does not exist.",
        syntax: "key value",
        run: one_key(set::setnx),
        ..STRING
    },
    CommandSpec {
        name: "setrange",
        arity: 4,
        flags: WRITE,
        keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
        since: "2.2.0",
        complexity: "O(N) with N the number of bytes written, zero bytes in a gap included",
        summary: "Overwrites a part of a string from an offset; a missing key starts empty.",
        syntax: "key offset value",
        run: one_key(edit::setrange),
        ..STRING
    },
    CommandSpec {
        name: "strlen",
        arity: 2,
        flags: FAST_READ,
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        since: "2.2.0",
        summary: "Answers the length of a string in bytes.",
        syntax: "key",
        run: one_key(get::strlen),
        ..STRING
    },
    CommandSpec {
        name: "substr",
        arity: 4,
        flags: Flags::READONLY,
        keys: READ,
        complexity: "O(N) with N the length of the answer; O(1) for a large value, which is not copied",
        summary: "Answers a part of a string: the old name of GETRANGE.",
        syntax: "key start end",
        run: one_key(get::getrange),
        ..STRING
    },
];

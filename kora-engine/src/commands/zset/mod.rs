//! Sorted set commands.
//!
//! Commands over several keys read sorted sets and plain sets alike (see [`combine`]); keys of other shards are there as
//! guests while they run. The handlers of blocking commands do not block: see [`crate::blocking`].

pub(crate) mod add;
mod blocking;
mod combination;
mod combine;
mod limits;
mod long_range;
mod long_removal;
mod random;
mod range;
mod read;
mod remove;
mod scan;

use crate::command::{
    Categories, CommandSpec, Coordinated, Flags, Group, Handler, KeyFlags, KeySpec, Run, Spread, ROW,
};
use crate::commands::collection_scan;
use crate::exec::Exec;
use crate::value::zset::{Growth, Zset};

/// When sorted sets that this command writes take their large form.
pub(super) fn growth(exec: &Exec<'_>) -> Growth {
    Growth::new(&exec.shard.config.limits, exec.shard.keys.collection_seed())
}

/// Defaults of the family.
const ZSET: CommandSpec = CommandSpec { categories: Categories::SORTEDSET, group: Group::SortedSet, ..ROW };

const READ: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))];
const DELETE: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))];
const TAKE: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE);
const POP: &[KeySpec] = &[KeySpec::one(1, TAKE)];

const SOURCES: &[KeySpec] = &[KeySpec::numkeys(1, KeyFlags::RO.union(KeyFlags::ACCESS))];
const STORED_SOURCES: &[KeySpec] = &[
    KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE)),
    KeySpec::numkeys(2, KeyFlags::RO.union(KeyFlags::ACCESS)),
];

const FAST_READ: Flags = Flags::READONLY.union(Flags::FAST);
const BLOCKING_POP: Flags = Flags::WRITE.union(Flags::BLOCKING).union(Flags::FAST);
const FAST_WRITE: Flags = Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST);
const RANGE_COST: &str = "O(log(N)+M) with N members in the sorted set and M of them answered";
const REMOVE_COST: &str = "O(log(N)+M*log(N)) with N members in the sorted set and M of them removed";

/// Runs on the shard of its one key.
const fn one_key(handler: Handler) -> Run {
    Run::Keys(handler, Spread::OneKey)
}

/// Runs where the key is that it writes, or its first key; the others come there.
const fn fetching(handler: Handler) -> Run {
    Run::Keys(handler, Spread::Coordinate(Coordinated::Fetch))
}

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "bzmpop",
        arity: -5,
        flags: Flags::WRITE.union(Flags::BLOCKING).union(Flags::MOVABLEKEYS),
        keys: &[KeySpec::numkeys(2, TAKE)],
        since: "7.0.0",
        complexity: "O(K+M*log(N)) with K keys given, N members in the sorted set and M of them popped",
        summary: "ZMPOP that waits for one of the sorted sets to have a member.",
        syntax: "timeout numkeys key [key ...] <MIN | MAX> [COUNT count]",
        run: Run::Keys(blocking::bzmpop, Spread::Coordinate(Coordinated::FirstOf)),
        ..ZSET
    },
    CommandSpec {
        name: "bzpopmax",
        arity: -3,
        flags: BLOCKING_POP,
        keys: &[KeySpec::range(1, -2, 1, TAKE)],
        since: "5.0.0",
        complexity: "O(log(N)) with N members in the sorted set",
        summary: "Takes the member with the highest score out of the first sorted set that is there, and waits for one if none is.",
        syntax: "key [key ...] timeout",
        run: Run::Keys(blocking::bzpopmax, Spread::Coordinate(Coordinated::FirstOf)),
        ..ZSET
    },
    CommandSpec {
        name: "bzpopmin",
        arity: -3,
        flags: BLOCKING_POP,
        keys: &[KeySpec::range(1, -2, 1, TAKE)],
        since: "5.0.0",
        complexity: "O(log(N)) with N members in the sorted set",
        summary: "Takes the member with the lowest score out of the first sorted set that is there, and waits for one if none is.",
        syntax: "key [key ...] timeout",
        run: Run::Keys(blocking::bzpopmin, Spread::Coordinate(Coordinated::FirstOf)),
        ..ZSET
    },
    CommandSpec {
        name: "zadd",
        arity: -4,
        flags: FAST_WRITE,
        keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
        since: "1.2.0",
        complexity: "O(log(N)) for each member, with N members in the sorted set",
        summary: "Gives members of a sorted set their scores, adding those that are not there; options ask for conditions.",
        syntax: "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
        run: one_key(add::zadd),
        ..ZSET
    },
    CommandSpec {
        name: "zcard",
        arity: 2,
        flags: FAST_READ,
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        since: "1.2.0",
        summary: "Answers the number of members of a sorted set.",
        syntax: "key",
        run: one_key(read::zcard),
        ..ZSET
    },
    CommandSpec {
        name: "zcount",
        arity: 4,
        flags: FAST_READ,
        keys: READ,
        since: "2.0.0",
        complexity: "O(log(N)) with N members in the sorted set",
        summary: "Counts the members with scores in an interval.",
        syntax: "key min max",
        run: one_key(read::zcount),
        ..ZSET
    },
    CommandSpec {
        name: "zincrby",
        arity: 4,
        flags: FAST_WRITE,
        keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))],
        since: "1.2.0",
        complexity: "O(log(N)) with N members in the sorted set",
        summary: "Adds to the score of a member; one that is not there starts at 0.",
        syntax: "key increment member",
        run: one_key(add::zincrby),
        ..ZSET
    },
    CommandSpec {
        name: "zdiff",
        arity: -3,
        flags: Flags::READONLY.union(Flags::MOVABLEKEYS),
        keys: SOURCES,
        since: "6.2.0",
        complexity: "O(N*K+M*log(M)) with N members to look at, K keys, and M members in the result",
        summary: "Answers the members of the first sorted set that no other has.",
        syntax: "numkeys key [key ...] [WITHSCORES]",
        run: fetching(combine::zdiff),
        ..ZSET
    },
    CommandSpec {
        name: "zdiffstore",
        arity: -4,
        flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::MOVABLEKEYS),
        keys: STORED_SOURCES,
        since: "6.2.0",
        complexity: "O(N*K+M*log(M)) with N members to look at, K keys, and M members in the result",
        summary: "Stores the members of the first sorted set that no other has.",
        syntax: "destination numkeys key [key ...]",
        run: fetching(combine::zdiffstore),
        ..ZSET
    },
    CommandSpec {
        name: "zinter",
        arity: -3,
        flags: Flags::READONLY.union(Flags::MOVABLEKEYS),
        keys: SOURCES,
        since: "6.2.0",
        complexity: "O(N*K+M*log(M)) with N members to look at, K keys, and M members in the result",
        summary: "Answers the members that all sorted sets have, their scores aggregated.",
        syntax: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
        run: fetching(combine::zinter),
        ..ZSET
    },
    CommandSpec {
        name: "zintercard",
        arity: -3,
        flags: Flags::READONLY.union(Flags::MOVABLEKEYS),
        keys: SOURCES,
        since: "7.0.0",
        complexity: "O(N*K) with N members in the smallest sorted set and K keys",
        summary: "Counts the members that all sorted sets have, up to a limit.",
        syntax: "numkeys key [key ...] [LIMIT limit]",
        run: fetching(combine::zintercard),
        ..ZSET
    },
    CommandSpec {
        name: "zinterstore",
        arity: -4,
        flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::MOVABLEKEYS),
        keys: STORED_SOURCES,
        since: "2.0.0",
        complexity: "O(N*K+M*log(M)) with N members to look at, K keys, and M members in the result",
        summary: "Stores the members that all sorted sets have, their scores aggregated.",
        syntax: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
        run: fetching(combine::zinterstore),
        ..ZSET
    },
    CommandSpec {
        name: "zlexcount",
        arity: 4,
        flags: FAST_READ,
        keys: READ,
        since: "2.8.9",
        complexity: "O(log(N)) with N members in the sorted set",
        summary: "Counts the members in an interval, of a sorted set whose scores are all equal.",
        syntax: "key min max",
        run: one_key(read::zlexcount),
        ..ZSET
    },
    CommandSpec {
        name: "zmpop",
        arity: -4,
        flags: Flags::WRITE.union(Flags::MOVABLEKEYS),
        keys: &[KeySpec::numkeys(1, TAKE)],
        since: "7.0.0",
        complexity: "O(K+M*log(N)) with K keys given, N members in the sorted set and M of them popped",
        summary: "Takes members with the lowest or highest scores out of the first sorted set that is there.",
        syntax: "numkeys key [key ...] <MIN | MAX> [COUNT count]",
        run: Run::Keys(remove::zmpop, Spread::Coordinate(Coordinated::FirstOf)),
        ..ZSET
    },
    CommandSpec {
        name: "zmscore",
        arity: -3,
        flags: FAST_READ,
        keys: READ,
        since: "6.2.0",
        complexity: "O(N) with N members asked for",
        summary: "Answers the scores of several members.",
        syntax: "key member [member ...]",
        run: one_key(read::zmscore),
        ..ZSET
    },
    CommandSpec {
        name: "zpopmax",
        arity: -2,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: POP,
        since: "5.0.0",
        complexity: "O(log(N)*M) with N members in the sorted set and M of them popped",
        summary: "Takes the members with the highest scores out of a sorted set.",
        syntax: "key [count]",
        run: one_key(remove::zpopmax),
        ..ZSET
    },
    CommandSpec {
        name: "zpopmin",
        arity: -2,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: POP,
        since: "5.0.0",
        complexity: "O(log(N)*M) with N members in the sorted set and M of them popped",
        summary: "Takes the members with the lowest scores out of a sorted set.",
        syntax: "key [count]",
        run: one_key(remove::zpopmin),
        ..ZSET
    },
    CommandSpec {
        name: "zrandmember",
        arity: -2,
        flags: Flags::READONLY,
        keys: READ,
        since: "6.2.0",
        complexity: "O(N*log(M)) with N members answered of M in the sorted set",
        summary: "Answers members chosen at random.",
        syntax: "key [count [WITHSCORES]]",
        tips: &["nondeterministic_output"],
        run: one_key(random::zrandmember),
        ..ZSET
    },
    CommandSpec {
        name: "zrange",
        arity: -4,
        flags: Flags::READONLY,
        keys: READ,
        since: "1.2.0",
        complexity: RANGE_COST,
        summary: "Answers the members in an interval of ranks, scores or members, in either direction.",
        syntax: "key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
        run: one_key(range::zrange),
        ..ZSET
    },
    CommandSpec {
        name: "zrangebylex",
        arity: -4,
        flags: Flags::READONLY,
        keys: READ,
        since: "2.8.9",
        complexity: RANGE_COST,
        summary: "Answers the members in an interval of members; older than ZRANGE's BYLEX.",
        syntax: "key min max [LIMIT offset count]",
        run: one_key(range::zrangebylex),
        ..ZSET
    },
    CommandSpec {
        name: "zrangebyscore",
        arity: -4,
        flags: Flags::READONLY,
        keys: READ,
        since: "1.0.5",
        complexity: RANGE_COST,
        summary: "Answers the members in an interval of scores; older than ZRANGE's BYSCORE.",
        syntax: "key min max [WITHSCORES] [LIMIT offset count]",
        run: one_key(range::zrangebyscore),
        ..ZSET
    },
    CommandSpec {
        name: "zrangestore",
        arity: -5,
        flags: Flags::WRITE.union(Flags::DENYOOM),
        keys: &[
            KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE)),
            KeySpec::one(2, KeyFlags::RO.union(KeyFlags::ACCESS)),
        ],
        since: "6.2.0",
        complexity: "O(log(N)+M*log(M)) with N members in the source and M of them stored",
        summary: "Stores the members in an interval of ranks, scores or members as a sorted set.",
        syntax: "dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
        run: fetching(range::zrangestore),
        ..ZSET
    },
    CommandSpec {
        name: "zrank",
        arity: -3,
        flags: FAST_READ,
        keys: READ,
        since: "2.0.0",
        complexity: "O(log(N)) with N members in the sorted set",
        summary: "Answers the rank of a member, from the lowest score.",
        syntax: "key member [WITHSCORE]",
        run: one_key(read::zrank),
        ..ZSET
    },
    CommandSpec {
        name: "zrem",
        arity: -3,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: DELETE,
        since: "1.2.0",
        complexity: "O(M*log(N)) with N members in the sorted set and M given",
        summary: "Takes members out of a sorted set.",
        syntax: "key member [member ...]",
        run: one_key(remove::zrem),
        ..ZSET
    },
    CommandSpec {
        name: "zremrangebylex",
        arity: 4,
        flags: Flags::WRITE,
        keys: DELETE,
        since: "2.8.9",
        complexity: REMOVE_COST,
        summary: "Takes the members in an interval of members out of a sorted set.",
        syntax: "key min max",
        run: one_key(remove::zremrangebylex),
        ..ZSET
    },
    CommandSpec {
        name: "zremrangebyrank",
        arity: 4,
        flags: Flags::WRITE,
        keys: DELETE,
        since: "2.0.0",
        complexity: REMOVE_COST,
        summary: "Takes the members in an interval of ranks out of a sorted set.",
        syntax: "key start stop",
        run: one_key(remove::zremrangebyrank),
        ..ZSET
    },
    CommandSpec {
        name: "zremrangebyscore",
        arity: 4,
        flags: Flags::WRITE,
        keys: DELETE,
        since: "1.2.0",
        complexity: REMOVE_COST,
        summary: "Takes the members in an interval of scores out of a sorted set.",
        syntax: "key min max",
        run: one_key(remove::zremrangebyscore),
        ..ZSET
    },
    CommandSpec {
        name: "zrevrange",
        arity: -4,
        flags: Flags::READONLY,
        keys: READ,
        since: "1.2.0",
        complexity: RANGE_COST,
        summary: "Answers the members in an interval of ranks from the highest score; older than ZRANGE's REV.",
        syntax: "key start stop [WITHSCORES]",
        run: one_key(range::zrevrange),
        ..ZSET
    },
    CommandSpec {
        name: "zrevrangebylex",
        arity: -4,
        flags: Flags::READONLY,
        keys: READ,
        since: "2.8.9",
        complexity: RANGE_COST,
        summary: "Answers the members in an interval of members, the last first; older than ZRANGE's REV BYLEX.",
        syntax: "key max min [LIMIT offset count]",
        run: one_key(range::zrevrangebylex),
        ..ZSET
    },
    CommandSpec {
        name: "zrevrangebyscore",
        arity: -4,
        flags: Flags::READONLY,
        keys: READ,
        since: "2.2.0",
        complexity: RANGE_COST,
        summary: "Answers the members in an interval of scores, the last first; older than ZRANGE's REV BYSCORE.",
        syntax: "key max min [WITHSCORES] [LIMIT offset count]",
        run: one_key(range::zrevrangebyscore),
        ..ZSET
    },
    CommandSpec {
        name: "zrevrank",
        arity: -3,
        flags: FAST_READ,
        keys: READ,
        since: "2.0.0",
        complexity: "O(log(N)) with N members in the sorted set",
        summary: "Answers the rank of a member, from the highest score.",
        syntax: "key member [WITHSCORE]",
        run: one_key(read::zrevrank),
        ..ZSET
    },
    CommandSpec {
        name: "zscan",
        arity: -3,
        flags: Flags::READONLY,
        keys: READ,
        since: "2.8.0",
        complexity: "O(COUNT) per call, O(N) for a whole iteration over N members",
        summary: "Iterates over the members of a sorted set with their scores, some at a time.",
        syntax: "key cursor [MATCH pattern] [COUNT count]",
        tips: &["nondeterministic_output"],
        run: one_key(collection_scan::scan::<Zset>),
        ..ZSET
    },
    CommandSpec {
        name: "zscore",
        arity: 3,
        flags: FAST_READ,
        keys: READ,
        since: "1.2.0",
        summary: "Answers the score of a member.",
        syntax: "key member",
        run: one_key(read::zscore),
        ..ZSET
    },
    CommandSpec {
        name: "zunion",
        arity: -3,
        flags: Flags::READONLY.union(Flags::MOVABLEKEYS),
        keys: SOURCES,
        since: "6.2.0",
        complexity: "O(N*K+M*log(M)) with N members to look at, K keys, and M members in the result",
        summary: "Answers the members that any sorted set has, their scores aggregated.",
        syntax: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
        run: fetching(combine::zunion),
        ..ZSET
    },
    CommandSpec {
        name: "zunionstore",
        arity: -4,
        flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::MOVABLEKEYS),
        keys: STORED_SOURCES,
        since: "2.0.0",
        complexity: "O(N*K+M*log(M)) with N members to look at, K keys, and M members in the result",
        summary: "Stores the members that any sorted set has, their scores aggregated.",
        syntax: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
        run: fetching(combine::zunionstore),
        ..ZSET
    },
];

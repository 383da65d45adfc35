//! Stream commands.
//!
//! All of them have one key, but for XREAD and XREADGROUP, whose streams may lie on several shards: the router asks for each stream
//! by itself then and joins the replies.

mod answer;
mod claim;
mod delete;
mod group;
mod id;
mod info;
mod long_read;
mod pending;
mod policy;
mod range;
mod read;
mod trimming;
mod write;

pub use read::check_read_group;
pub(crate) use read::{deadline, ends, has_answer};

use crate::command::{
    Categories, CommandSpec, Coordinated, Flags, Group, Handler, KeyFlags, KeySpec, Run, ServerCommand,
    Spread, ROW,
};
use crate::exec::Exec;
use crate::value::stream::NodeLimits;

/// Defaults of the family.
const STREAM: CommandSpec =
    CommandSpec { categories: Categories::STREAM, group: Group::Stream, since: "5.0.0", ..ROW };

/// Containers are in no category of their own.
const CONTAINER: CommandSpec = CommandSpec { group: Group::Stream, since: "5.0.0", ..ROW };

const HELP: CommandSpec = CommandSpec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    summary: "Answers this help.",
    run: Run::Server(ServerCommand::Help),
    ..STREAM
};

const READS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);
const LENGTH: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RO)];
const READ: &[KeySpec] = &[KeySpec::one(1, READS)];
const READ_SECOND: &[KeySpec] = &[KeySpec::one(2, READS)];
const UPDATE: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))];
const UPDATE_SECOND: &[KeySpec] = &[KeySpec::one(2, KeyFlags::RW.union(KeyFlags::UPDATE))];
const INSERT_SECOND: &[KeySpec] = &[KeySpec::one(2, KeyFlags::RW.union(KeyFlags::INSERT))];
const DELETE: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))];
const DELETE_SECOND: &[KeySpec] = &[KeySpec::one(2, KeyFlags::RW.union(KeyFlags::DELETE))];

const FAST_WRITE: Flags = Flags::WRITE.union(Flags::FAST);
const READ_STREAMS: Flags = Flags::READONLY.union(Flags::BLOCKING).union(Flags::MOVABLEKEYS);
const WRITE_STREAMS: Flags = Flags::WRITE.union(Flags::BLOCKING).union(Flags::MOVABLEKEYS);

/// Runs on the shard of its one key.
const fn one_key(handler: Handler) -> Run {
    Run::Keys(handler, Spread::OneKey)
}

/// When a block is full.
fn node_limits(exec: &Exec<'_>) -> NodeLimits {
    let limits = &exec.shard.config.limits;
    NodeLimits {
        max_bytes: limits.stream_node_max_bytes as u64,
        max_entries: limits.stream_node_max_entries as u64,
    }
}

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "xack",
        arity: -4,
        flags: FAST_WRITE,
        keys: UPDATE,
        complexity: "O(log N) for each id, with N the number of pending entries",
        summary: "Takes entries out of the pending ones of a consumer group.",
        syntax: "key group id [id ...]",
        run: one_key(delete::xack),
        ..STREAM
    },
    CommandSpec {
        name: "xackdel",
        arity: -6,
        flags: FAST_WRITE,
        keys: DELETE,
        since: "8.2.0",
        complexity: "O(log N) for each id and consumer group, with N the number of entries",
        summary: "Acknowledges entries and deletes them from the stream.",
        syntax: "key group [KEEPREF | DELREF | ACKED] IDS numids id [id ...]",
        run: one_key(delete::xackdel),
        ..STREAM
    },
    CommandSpec {
        name: "xadd",
        arity: -5,
        flags: FAST_WRITE.union(Flags::DENYOOM),
        keys: UPDATE,
        complexity: "O(1) to add an entry, and O(N) to trim with N the number of trimmed blocks",
        summary: "Adds an entry to a stream; a missing key starts empty.",
        syntax: "key [NOMKSTREAM] [KEEPREF | DELREF | ACKED] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> field value [field value ...]",
        tips: &["nondeterministic_output"],
        run: one_key(write::xadd),
        ..STREAM
    },
    CommandSpec {
        name: "xautoclaim",
        arity: -6,
        flags: FAST_WRITE,
        keys: DELETE,
        since: "6.2.0",
        complexity: "O(log N) for each pending entry that is looked at, with N their number",
        summary: "Gives pending entries that have been idle for a time to another consumer, from an id on.",
        syntax: "key group consumer min-idle-time start [COUNT count] [JUSTID]",
        tips: &["nondeterministic_output"],
        run: one_key(claim::xautoclaim),
        ..STREAM
    },
    CommandSpec {
        name: "xclaim",
        arity: -6,
        flags: FAST_WRITE,
        keys: UPDATE,
        complexity: "O(log N) for each id, with N the number of pending entries",
        summary: "Gives pending entries to another consumer.",
        syntax: "key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]",
        tips: &["nondeterministic_output"],
        run: one_key(claim::xclaim),
        ..STREAM
    },
    CommandSpec {
        name: "xdel",
        arity: -3,
        flags: FAST_WRITE,
        keys: DELETE,
        complexity: "O(log N) for each id, with N the number of entries",
        summary: "Deletes entries from a stream.",
        syntax: "key id [id ...]",
        run: one_key(delete::xdel),
        ..STREAM
    },
    CommandSpec {
        name: "xdelex",
        arity: -5,
        flags: FAST_WRITE,
        keys: DELETE,
        since: "8.2.0",
        complexity: "O(log N) for each id and consumer group, with N the number of entries",
        summary: "Deletes entries from a stream and says what became of each.",
        syntax: "key [KEEPREF | DELREF | ACKED] IDS numids id [id ...]",
        run: one_key(delete::xdelex),
        ..STREAM
    },
    CommandSpec {
        name: "xgroup",
        arity: -2,
        complexity: "Depends on the subcommand.",
        summary: "A container for consumer group commands.",
        subcommands: &[
            CommandSpec {
                name: "create",
                arity: -5,
                flags: Flags::WRITE.union(Flags::DENYOOM),
                keys: INSERT_SECOND,
                summary: "Makes a consumer group.",
                syntax: "key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]",
                run: one_key(group::create),
                ..STREAM
            },
            CommandSpec {
                name: "createconsumer",
                arity: 5,
                flags: Flags::WRITE.union(Flags::DENYOOM),
                keys: INSERT_SECOND,
                since: "6.2.0",
                summary: "Makes a consumer in a group.",
                syntax: "key group consumer",
                run: one_key(group::create_consumer),
                ..STREAM
            },
            CommandSpec {
                name: "delconsumer",
                arity: 5,
                flags: Flags::WRITE,
                keys: DELETE_SECOND,
                complexity: "O(N log N) with N the number of its pending entries",
                summary: "Removes a consumer with its pending entries from a group.",
                syntax: "key group consumer",
                run: one_key(group::delete_consumer),
                ..STREAM
            },
            CommandSpec {
                name: "destroy",
                arity: 4,
                flags: Flags::WRITE,
                keys: DELETE_SECOND,
                complexity: "O(log N) with N the number of groups; its memory is freed in slices",
                summary: "Removes a consumer group.",
                syntax: "key group",
                run: one_key(group::destroy),
                ..STREAM
            },
            CommandSpec {
                name: "setid",
                arity: -5,
                flags: Flags::WRITE,
                keys: UPDATE_SECOND,
                summary: "Sets the last delivered id of a consumer group.",
                syntax: "key group <id | $> [ENTRIESREAD entries-read]",
                run: one_key(group::set_id),
                ..STREAM
            },
            HELP,
        ],
        help: &[
            "CREATE <key> <groupname> <id|$> [option]",
            "    Create a new consumer group. Options are:",
            "    * MKSTREAM",
            "      Create the empty stream if it does not exist.",
            "    * ENTRIESREAD entries_read",
            "      Set the group's entries_read counter (internal use).",
            "CREATECONSUMER <key> <groupname> <consumer>",
            "    Create a new consumer in the specified group.",
            "DELCONSUMER <key> <groupname> <consumer>",
            "    Remove the specified consumer.",
            "DESTROY <key> <groupname>",
            "    Remove the specified group.",
            "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
            "    Set the current group ID and entries_read counter.",
        ],
        run: Run::Container,
        ..CONTAINER
    },
    CommandSpec {
        name: "xinfo",
        arity: -2,
        complexity: "Depends on the subcommand.",
        summary: "A container for stream introspection commands.",
        subcommands: &[
            CommandSpec {
                name: "consumers",
                arity: 4,
                flags: Flags::READONLY,
                keys: READ_SECOND,
                complexity: "O(N) with N the number of consumers",
                summary: "Lists the consumers of a group.",
                syntax: "key group",
                tips: &["nondeterministic_output"],
                run: one_key(info::consumers),
                ..STREAM
            },
            CommandSpec {
                name: "groups",
                arity: 3,
                flags: Flags::READONLY,
                keys: READ_SECOND,
                complexity: "O(N) with N the number of groups",
                summary: "Lists the consumer groups of a stream.",
                syntax: "key",
                run: one_key(info::groups),
                ..STREAM
            },
            CommandSpec {
                name: "stream",
                arity: -3,
                flags: Flags::READONLY,
                keys: READ_SECOND,
                complexity: "O(B) with B the number of blocks up to some thousands, and what FULL lists",
                summary: "Describes a stream.",
                syntax: "key [FULL [COUNT count]]",
                run: one_key(info::stream),
                ..STREAM
            },
            HELP,
        ],
        help: &[
            "CONSUMERS <key> <groupname>",
            "    Show consumers of <groupname>.",
            "GROUPS <key>",
            "    Show the stream consumer groups.",
            "STREAM <key> [FULL [COUNT <count>]",
            "    Show information about the stream.",
        ],
        run: Run::Container,
        ..CONTAINER
    },
    CommandSpec {
        name: "xlen",
        arity: 2,
        flags: Flags::READONLY.union(Flags::FAST),
        keys: LENGTH,
        summary: "Answers the number of entries of a stream.",
        syntax: "key",
        run: one_key(range::xlen),
        ..STREAM
    },
    CommandSpec {
        name: "xpending",
        arity: -3,
        flags: Flags::READONLY,
        keys: READ,
        complexity: "O(N) with N the number of entries that are answered, or looked at with IDLE; O(C) for the summary with C the number of consumers",
        summary: "Answers what is pending with the consumers of a group.",
        syntax: "key group [[IDLE min-idle-time] start end count [consumer]]",
        tips: &["nondeterministic_output"],
        run: one_key(pending::xpending),
        ..STREAM
    },
    CommandSpec {
        name: "xrange",
        arity: -4,
        flags: Flags::READONLY,
        keys: READ,
        complexity: "O(log N + M) with N the number of entries and M that of those that are answered",
        summary: "Answers the entries with ids in a range.",
        syntax: "key start end [COUNT count]",
        run: one_key(range::xrange),
        ..STREAM
    },
    CommandSpec {
        name: "xread",
        arity: -4,
        flags: READ_STREAMS,
        keys: &[KeySpec::streams(1, READS)],
        complexity: "O(log N + M) for each stream, with N the number of its entries and M that of those that are answered",
        summary: "Answers the entries of streams after an id each.",
        syntax: "[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
        run: Run::Keys(read::xread, Spread::Coordinate(Coordinated::PerStream)),
        ..STREAM
    },
    CommandSpec {
        name: "xreadgroup",
        arity: -7,
        flags: WRITE_STREAMS,
        keys: &[KeySpec::streams(4, READS)],
        complexity: "O(M log N) for each stream, with M the number of entries that are answered and N that of the pending ones",
        summary: "Answers entries of streams that a consumer group has not been given yet, or that are pending with a consumer.",
        syntax: "GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]",
        run: Run::Keys(read::xreadgroup, Spread::Coordinate(Coordinated::PerStream)),
        ..STREAM
    },
    CommandSpec {
        name: "xrevrange",
        arity: -4,
        flags: Flags::READONLY,
        keys: READ,
        complexity: "O(log N + M) with N the number of entries and M that of those that are answered",
        summary: "Answers the entries with ids in a range, the last one first.",
        syntax: "key end start [COUNT count]",
        run: one_key(range::xrevrange),
        ..STREAM
    },
    CommandSpec {
        name: "xsetid",
        arity: -3,
        flags: FAST_WRITE.union(Flags::DENYOOM),
        keys: UPDATE,
        summary: "Sets the last id of a stream; for internal use.",
        syntax: "key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
        run: one_key(write::xsetid),
        ..STREAM
    },
    CommandSpec {
        name: "xtrim",
        arity: -4,
        flags: Flags::WRITE,
        keys: DELETE,
        complexity: "O(N) with N the number of trimmed blocks",
        summary: "Removes entries from the beginning of a stream.",
        syntax: "key [KEEPREF | DELREF | ACKED] <MAXLEN | MINID> [= | ~] threshold [LIMIT count]",
        tips: &["nondeterministic_output"],
        run: one_key(write::xtrim),
        ..STREAM
    },
];

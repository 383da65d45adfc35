//! Commands on the server: introspection, configuration, statistics. The network layer executes them: it has the
//! configuration, the statistics and every executor.

use crate::command::{
    Categories, CommandSpec, Flags, Group, KeyFlags, KeySpec, Run, ServerCommand, Spread, ROW,
};
use crate::commands::object;

/// An operator's command that works at any time.
const OPERATOR: Flags = Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE);
/// The slow log's commands, allowed in scripts too.
const SLOWLOG_OPERATOR: Flags = Flags::ADMIN.union(Flags::LOADING).union(Flags::STALE);
/// An operator's command that saves data.
const SAVING: Flags = Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::NO_ASYNC_LOADING);
/// Works at any time.
const ALWAYS: Flags = Flags::LOADING.union(Flags::STALE);

const ALL_NODES_SUCCEED: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
const ALL_NODES_DIFFER: &[&str] =
    &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];
const ALL_SHARDS_DIFFER: &[&str] =
    &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];
const UNORDERED: &[&str] = &["nondeterministic_output_order"];

/// What rows of this family have in common.
const SERVER: CommandSpec = CommandSpec { group: Group::Server, ..ROW };
/// HELP of a container.
const HELP: CommandSpec = CommandSpec {
    name: "help",
    arity: 2,
    flags: ALWAYS,
    since: "5.0.0",
    summary: "Explains the subcommands.",
    run: Run::Server(ServerCommand::Help),
    ..SERVER
};
/// A container.
const CONTAINER: CommandSpec = CommandSpec { arity: -2, complexity: "Depends on subcommand.", ..SERVER };

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "time",
        arity: 1,
        flags: ALWAYS.union(Flags::FAST),
        since: "2.6.0",
        summary: "The time of the server: seconds and microseconds.",
        tips: &["nondeterministic_output"],
        run: Run::Server(ServerCommand::Time),
        ..SERVER
    },
    CommandSpec {
        name: "command",
        arity: -1,
        flags: ALWAYS,
        categories: Categories::CONNECTION,
        since: "2.8.13",
        complexity: "O(N) where N is the number of commands",
        summary: "Describes all commands.",
        tips: UNORDERED,
        help: COMMAND_HELP,
        subcommands: COMMAND,
        run: Run::Server(ServerCommand::Command),
        ..SERVER
    },
    CommandSpec {
        name: "config",
        since: "2.0.0",
        summary: "Commands on the configuration.",
        help: CONFIG_HELP,
        subcommands: CONFIG,
        ..CONTAINER
    },
    CommandSpec {
        name: "info",
        arity: -1,
        flags: ALWAYS,
        categories: Categories::DANGEROUS,
        summary: "State and statistics of the server.",
        syntax: "[section [section ...]]",
        tips: ALL_SHARDS_DIFFER,
        run: Run::Server(ServerCommand::Info),
        ..SERVER
    },
    CommandSpec {
        name: "shutdown",
        arity: -1,
        flags: OPERATOR.union(Flags::NO_MULTI).union(Flags::ALLOW_BUSY),
        complexity: "O(N) when saving, where N is the number of keys, otherwise O(1)",
        summary: "Finishes what was accepted and ends the server.",
        syntax: "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        run: Run::Server(ServerCommand::Shutdown),
        ..SERVER
    },
    CommandSpec {
        name: "save",
        arity: 1,
        flags: SAVING.union(Flags::NO_MULTI),
        complexity: "O(N) where N is the total number of keys in all databases",
        summary: "Takes a snapshot and answers when it is durable; others are served meanwhile.",
        run: Run::Server(ServerCommand::Save),
        ..SERVER
    },
    CommandSpec {
        name: "bgsave",
        arity: -1,
        flags: SAVING,
        summary: "Begins to take a snapshot.",
        syntax: "[SCHEDULE]",
        run: Run::Server(ServerCommand::BgSave),
        ..SERVER
    },
    CommandSpec {
        name: "lastsave",
        arity: 1,
        flags: ALWAYS.union(Flags::FAST),
        categories: Categories::DANGEROUS.union(Categories::ADMIN),
        summary: "When the last snapshot was complete, in Unix seconds.",
        tips: &["nondeterministic_output"],
        run: Run::Server(ServerCommand::LastSave),
        ..SERVER
    },
    CommandSpec {
        name: "bgrewriteaof",
        arity: 1,
        flags: SAVING,
        summary: "Begins to take a snapshot, which lets the log begin anew.",
        run: Run::Server(ServerCommand::BgRewriteAof),
        ..SERVER
    },
    CommandSpec {
        name: "debug",
        arity: -2,
        flags: OPERATOR,
        complexity: "Depends on subcommand.",
        summary: "For tests of the server: stops every executor for a time.",
        syntax: "<HELP | SLEEP seconds>",
        help: DEBUG_HELP,
        run: Run::Server(ServerCommand::Debug),
        ..SERVER
    },
    CommandSpec {
        name: "latency",
        since: "2.8.13",
        summary: "Commands on recorded latency.",
        help: LATENCY_HELP,
        subcommands: LATENCY,
        ..CONTAINER
    },
    CommandSpec {
        name: "slowlog",
        since: "2.2.12",
        summary: "Commands on the log of slow commands.",
        help: SLOWLOG_HELP,
        subcommands: SLOWLOG,
        ..CONTAINER
    },
    CommandSpec {
        name: "memory",
        since: "4.0.0",
        summary: "Commands on memory.",
        help: MEMORY_HELP,
        subcommands: MEMORY,
        ..CONTAINER
    },
];

const COMMAND: &[CommandSpec] = &[
    CommandSpec {
        name: "count",
        arity: 2,
        flags: ALWAYS,
        categories: Categories::CONNECTION,
        since: "2.8.13",
        summary: "How many commands there are.",
        run: Run::Server(ServerCommand::CommandCount),
        ..SERVER
    },
    CommandSpec {
        name: "docs",
        arity: -2,
        flags: ALWAYS,
        categories: Categories::CONNECTION,
        since: "7.0.0",
        complexity: "O(N) where N is the number of commands to look up",
        summary: "Documentation of commands.",
        syntax: "[command-name [command-name ...]]",
        tips: UNORDERED,
        run: Run::Server(ServerCommand::CommandDocs),
        ..SERVER
    },
    CommandSpec {
        name: "getkeys",
        arity: -3,
        flags: ALWAYS,
        categories: Categories::CONNECTION,
        since: "2.8.13",
        complexity: "O(N) where N is the number of arguments of the command",
        summary: "The keys of a whole command.",
        syntax: "command [arg [arg ...]]",
        run: Run::Server(ServerCommand::CommandGetKeys),
        ..SERVER
    },
    CommandSpec {
        name: "getkeysandflags",
        arity: -3,
        flags: ALWAYS,
        categories: Categories::CONNECTION,
        since: "7.0.0",
        complexity: "O(N) where N is the number of arguments of the command",
        summary: "The keys of a whole command, and what it does to each.",
        syntax: "command [arg [arg ...]]",
        run: Run::Server(ServerCommand::CommandGetKeysAndFlags),
        ..SERVER
    },
    CommandSpec { categories: Categories::CONNECTION, ..HELP },
    CommandSpec {
        name: "info",
        arity: -2,
        flags: ALWAYS,
        categories: Categories::CONNECTION,
        since: "2.8.13",
        complexity: "O(N) where N is the number of commands to look up",
        summary: "Describes commands.",
        syntax: "[command-name [command-name ...]]",
        tips: UNORDERED,
        run: Run::Server(ServerCommand::CommandInfo),
        ..SERVER
    },
    CommandSpec {
        name: "list",
        arity: -2,
        flags: ALWAYS,
        categories: Categories::CONNECTION,
        since: "7.0.0",
        complexity: "O(N) where N is the number of commands",
        summary: "The names of commands.",
        syntax: "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
        tips: UNORDERED,
        run: Run::Server(ServerCommand::CommandList),
        ..SERVER
    },
];

const COMMAND_HELP: &[&str] = &[
    "(no subcommand)",
    "    Describe all commands.",
    "COUNT",
    "    How many commands there are.",
    "LIST [FILTERBY (MODULE <module-name>|ACLCAT <category>|PATTERN <pattern>)]",
    "    The names of all commands, or of some.",
    "INFO [<command-name> ...]",
    "    Describe these commands, or all.",
    "DOCS [<command-name> ...]",
    "    Documentation of these commands, or of all.",
    "GETKEYS <full-command>",
    "    The keys of a whole command.",
    "GETKEYSANDFLAGS <full-command>",
    "    The keys of a whole command, and what it does to each.",
];

const CONFIG: &[CommandSpec] = &[
    CommandSpec {
        name: "get",
        arity: -3,
        flags: OPERATOR,
        since: "2.0.0",
        complexity: "O(N) where N is the number of parameters given",
        summary: "Parameters that match, and their values.",
        syntax: "parameter [parameter ...]",
        run: Run::Server(ServerCommand::ConfigGet),
        ..SERVER
    },
    HELP,
    CommandSpec {
        name: "resetstat",
        arity: 2,
        flags: OPERATOR,
        since: "2.0.0",
        summary: "Sets the statistics of INFO to zero.",
        tips: ALL_NODES_SUCCEED,
        run: Run::Server(ServerCommand::ConfigResetStat),
        ..SERVER
    },
    CommandSpec {
        name: "rewrite",
        arity: 2,
        flags: OPERATOR,
        since: "2.8.0",
        summary: "Writes the configuration in use to the configuration file.",
        tips: ALL_NODES_SUCCEED,
        run: Run::Server(ServerCommand::ConfigRewrite),
        ..SERVER
    },
    CommandSpec {
        name: "set",
        arity: -4,
        flags: OPERATOR,
        since: "2.0.0",
        complexity: "O(N) where N is the number of parameters given",
        summary: "Changes parameters: all of them or, if one is refused, none.",
        syntax: "parameter value [parameter value ...]",
        tips: ALL_NODES_SUCCEED,
        run: Run::Server(ServerCommand::ConfigSet),
        ..SERVER
    },
];

const CONFIG_HELP: &[&str] = &[
    "GET <pattern> [<pattern> ...]",
    "    Parameters that match the glob-like <pattern>, and their values.",
    "SET <directive> <value> [<directive> <value> ...]",
    "    Change parameters.",
    "RESETSTAT",
    "    Set the statistics of INFO to zero.",
    "REWRITE",
    "    Write the configuration in use to the configuration file.",
];

const DEBUG_HELP: &[&str] =
    &["SLEEP <seconds>", "    Stop the server for <seconds>, which may have a fraction."];

const LATENCY: &[CommandSpec] = &[
    CommandSpec {
        name: "doctor",
        arity: 2,
        flags: OPERATOR,
        since: "2.8.13",
        summary: "A report in words on latency events.",
        tips: ALL_NODES_DIFFER,
        run: Run::Server(ServerCommand::LatencyDoctor),
        ..SERVER
    },
    CommandSpec {
        name: "graph",
        arity: 3,
        flags: OPERATOR,
        since: "2.8.13",
        summary: "A graph, drawn in text, of the samples of an event.",
        syntax: "event",
        tips: ALL_NODES_DIFFER,
        run: Run::Server(ServerCommand::LatencyGraph),
        ..SERVER
    },
    CommandSpec { since: "2.8.13", ..HELP },
    CommandSpec {
        name: "histogram",
        arity: -2,
        flags: OPERATOR,
        since: "7.0.0",
        complexity: "O(N) where N is the number of commands with latency data",
        summary: "How long commands took: calls per time, cumulated.",
        syntax: "[command [command ...]]",
        tips: ALL_NODES_DIFFER,
        run: Run::Server(ServerCommand::LatencyHistogram),
        ..SERVER
    },
    CommandSpec {
        name: "history",
        arity: 3,
        flags: OPERATOR,
        since: "2.8.13",
        summary: "The samples of an event: time and latency.",
        syntax: "event",
        tips: ALL_NODES_DIFFER,
        run: Run::Server(ServerCommand::LatencyHistory),
        ..SERVER
    },
    CommandSpec {
        name: "latest",
        arity: 2,
        flags: OPERATOR,
        since: "2.8.13",
        summary: "The latest sample of every event.",
        tips: ALL_NODES_DIFFER,
        run: Run::Server(ServerCommand::LatencyLatest),
        ..SERVER
    },
    CommandSpec {
        name: "reset",
        arity: -2,
        flags: OPERATOR,
        since: "2.8.13",
        summary: "Forgets the samples of these events, or of all.",
        syntax: "[event [event ...]]",
        tips: &["request_policy:all_nodes", "response_policy:agg_sum"],
        run: Run::Server(ServerCommand::LatencyReset),
        ..SERVER
    },
];

const LATENCY_HELP: &[&str] = &[
    "DOCTOR",
    "    A report in words on latency events.",
    "GRAPH <event>",
    "    A graph, drawn in text, of the samples of <event>.",
    "HISTORY <event>",
    "    The samples of <event>: time and latency.",
    "LATEST",
    "    The latest sample of every event.",
    "RESET [<event> ...]",
    "    Forget the samples of these events, or of all.",
    "HISTOGRAM [COMMAND ...]",
    "    How long these commands, or all, took: calls per time, cumulated.",
];

const SLOWLOG: &[CommandSpec] = &[
    CommandSpec {
        name: "get",
        arity: -2,
        flags: SLOWLOG_OPERATOR,
        since: "2.2.12",
        complexity: "O(N) where N is the number of entries returned",
        summary: "The newest slow commands.",
        syntax: "[count]",
        tips: &["request_policy:all_nodes", "nondeterministic_output"],
        run: Run::Server(ServerCommand::SlowlogGet),
        ..SERVER
    },
    CommandSpec { since: "6.2.0", ..HELP },
    CommandSpec {
        name: "len",
        arity: 2,
        flags: SLOWLOG_OPERATOR,
        since: "2.2.12",
        summary: "How many slow commands are in the log.",
        tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
        run: Run::Server(ServerCommand::SlowlogLen),
        ..SERVER
    },
    CommandSpec {
        name: "reset",
        arity: 2,
        flags: SLOWLOG_OPERATOR,
        since: "2.2.12",
        complexity: "O(N) where N is the number of entries in the log",
        summary: "Empties the log of slow commands.",
        tips: ALL_NODES_SUCCEED,
        run: Run::Server(ServerCommand::SlowlogReset),
        ..SERVER
    },
];

const SLOWLOG_HELP: &[&str] = &[
    "GET [<count>]",
    "    The newest <count> entries (default: 10, -1: all). An entry is made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    How many entries there are.",
    "RESET",
    "    Empty the log.",
];

const MEMORY: &[CommandSpec] = &[
    CommandSpec {
        name: "doctor",
        arity: 2,
        since: "4.0.0",
        summary: "A report in words on memory.",
        tips: ALL_SHARDS_DIFFER,
        run: Run::Server(ServerCommand::MemoryDoctor),
        ..SERVER
    },
    CommandSpec { since: "4.0.0", ..HELP },
    CommandSpec {
        name: "malloc-stats",
        arity: 2,
        since: "4.0.0",
        complexity: "Depends on how much memory is allocated, could be slow",
        summary: "Statistics of the memory allocator.",
        tips: ALL_SHARDS_DIFFER,
        run: Run::Server(ServerCommand::MemoryMallocStats),
        ..SERVER
    },
    CommandSpec {
        name: "purge",
        arity: 2,
        since: "4.0.0",
        complexity: "Depends on how much memory is allocated, could be slow",
        summary: "Gives memory that the allocator holds unused back to the system.",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        run: Run::Server(ServerCommand::MemoryPurge),
        ..SERVER
    },
    CommandSpec {
        name: "stats",
        arity: 2,
        since: "4.0.0",
        summary: "What memory is used for.",
        tips: ALL_SHARDS_DIFFER,
        run: Run::Server(ServerCommand::MemoryStats),
        ..SERVER
    },
    CommandSpec {
        name: "usage",
        arity: -3,
        flags: Flags::READONLY,
        keys: &[KeySpec::one(2, KeyFlags::RO)],
        since: "4.0.0",
        complexity: "O(N) where N is the number of samples",
        summary: "How much memory a key and its value take.",
        syntax: "key [SAMPLES count]",
        run: Run::Keys(object::memory_usage, Spread::OneKey),
        ..SERVER
    },
];

const MEMORY_HELP: &[&str] = &[
    "DOCTOR",
    "    A report in words on memory.",
    "MALLOC-STATS",
    "    Statistics of the memory allocator.",
    "PURGE",
    "    Give memory that the allocator holds unused back to the system.",
    "STATS",
    "    What memory is used for.",
    "USAGE <key> [SAMPLES <count>]",
    "    How many bytes <key> and its value take. Of the elements of a value <count>",
    "    are looked at (default: 5, 0: all).",
];

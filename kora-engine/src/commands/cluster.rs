//! Cluster commands: executors present themselves as nodes of a cluster. The network layer executes them, for it
//! knows the ports; keys in a slot are counted and listed on the shard that owns it.

use crate::command::{Categories, CommandSpec, Flags, Group, Run, ServerCommand, ROW};

const STALE: Flags = Flags::STALE;
const CONNECTION_MODE: Flags = Flags::LOADING.union(Flags::STALE).union(Flags::FAST);

/// What rows of this family have in common.
const CLUSTER: CommandSpec =
    CommandSpec { arity: 2, group: Group::Cluster, flags: STALE, since: "3.0.0", ..ROW };

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "cluster",
        arity: -2,
        flags: Flags::empty(),
        complexity: "Depends on subcommand.",
        summary: "Commands on the cluster that the executors form.",
        help: HELP,
        subcommands: SUBCOMMANDS,
        ..CLUSTER
    },
    CommandSpec {
        name: "readonly",
        arity: 1,
        flags: CONNECTION_MODE,
        categories: Categories::CONNECTION,
        summary:
            "Accepts reads from replicas on this connection (every node is a master, so nothing changes).",
        run: Run::Server(ServerCommand::Readonly),
        ..CLUSTER
    },
    CommandSpec {
        name: "readwrite",
        arity: 1,
        flags: CONNECTION_MODE,
        categories: Categories::CONNECTION,
        summary: "Ends READONLY.",
        run: Run::Server(ServerCommand::Readwrite),
        ..CLUSTER
    },
    CommandSpec {
        name: "asking",
        arity: 1,
        flags: Flags::FAST,
        categories: Categories::CONNECTION,
        summary: "Announces a command after an ASK redirection (slots never migrate, so nothing changes).",
        run: Run::Server(ServerCommand::Asking),
        ..CLUSTER
    },
];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "countkeysinslot",
        arity: 3,
        summary: "How many keys a slot has.",
        syntax: "slot",
        run: Run::Server(ServerCommand::ClusterCountKeysInSlot),
        ..CLUSTER
    },
    CommandSpec {
        name: "getkeysinslot",
        arity: 4,
        complexity: "O(N) where N is the number of keys of the shard that owns the slot",
        summary: "Some of the keys of a slot.",
        syntax: "slot count",
        tips: &["nondeterministic_output"],
        run: Run::Server(ServerCommand::ClusterGetKeysInSlot),
        ..CLUSTER
    },
    CommandSpec {
        name: "help",
        flags: Flags::LOADING.union(Flags::STALE),
        since: "5.0.0",
        summary: "Explains the subcommands.",
        run: Run::Server(ServerCommand::Help),
        ..CLUSTER
    },
    CommandSpec {
        name: "info",
        summary: "State of the cluster.",
        tips: &["nondeterministic_output"],
        run: Run::Server(ServerCommand::ClusterInfo),
        ..CLUSTER
    },
    CommandSpec {
        name: "keyslot",
        arity: 3,
        complexity: "O(N) where N is the number of bytes in the key",
        summary: "The slot of a key.",
        syntax: "key",
        run: Run::Server(ServerCommand::ClusterKeySlot),
        ..CLUSTER
    },
    CommandSpec {
        name: "myid",
        summary: "The identity of the node.",
        run: Run::Server(ServerCommand::ClusterMyId),
        ..CLUSTER
    },
    CommandSpec {
        name: "nodes",
        complexity: "O(N) where N is the number of cluster nodes",
        summary: "The nodes and their slots, a line each.",
        tips: &["nondeterministic_output"],
        run: Run::Server(ServerCommand::ClusterNodes),
        ..CLUSTER
    },
    CommandSpec {
        name: "shards",
        flags: STALE.union(Flags::LOADING),
        since: "7.0.0",
        complexity: "O(N) where N is the number of cluster nodes",
        summary: "The shards: slots and nodes of each.",
        tips: &["nondeterministic_output"],
        run: Run::Server(ServerCommand::ClusterShards),
        ..CLUSTER
    },
    CommandSpec {
        name: "slots",
        flags: STALE.union(Flags::LOADING),
        complexity: "O(N) where N is the number of cluster nodes",
        summary: "Which node serves which slots.",
        tips: &["nondeterministic_output"],
        run: Run::Server(ServerCommand::ClusterSlots),
        ..CLUSTER
    },
];

const HELP: &[&str] = &[
    "COUNTKEYSINSLOT <slot>",
    "    How many keys <slot> has.",
    "GETKEYSINSLOT <slot> <count>",
    "    At most <count> of the keys in <slot>.",
    "INFO",
    "    State of the cluster.",
    "KEYSLOT <key>",
    "    The slot of <key>.",
    "MYID",
    "    The identity of this node.",
    "NODES",
    "    The nodes, a line each:",
    "    <id> <ip:port@bus-port[,hostname]> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...",
    "SHARDS",
    "    The shards: slots and nodes of each.",
    "SLOTS",
    "    Which node serves which slots: start, end, node.",
];

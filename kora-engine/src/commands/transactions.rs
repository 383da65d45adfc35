//! Transactions of a connection. The network layer executes them: it has the connections, and a transaction may have keys on several shards.

use crate::command::{Categories, CommandSpec, Flags, Group, KeyFlags, KeySpec, Run, ServerCommand, ROW};

const ALWAYS: Flags = Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE);
/// What only notes something about the connection.
const NOTE: Flags = ALWAYS.union(Flags::FAST).union(Flags::ALLOW_BUSY);

/// What rows of this family have in common.
const TRANSACTION: CommandSpec = CommandSpec {
    categories: Categories::TRANSACTION,
    group: Group::Transactions,
    flags: NOTE,
    arity: 1,
    ..ROW
};

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "multi",
        since: "1.2.0",
        summary: "Begins a transaction: the commands that follow are queued.",
        run: Run::Server(ServerCommand::Multi),
        ..TRANSACTION
    },
    CommandSpec {
        name: "exec",
        flags: ALWAYS.union(Flags::SKIP_SLOWLOG),
        since: "1.2.0",
        complexity: "Depends on commands in the transaction",
        summary: "Executes all queued commands as one, unless a watched key has changed.",
        run: Run::Server(ServerCommand::Exec),
        ..TRANSACTION
    },
    CommandSpec {
        name: "discard",
        since: "2.0.0",
        complexity: "O(N), when N is the number of queued commands",
        summary: "Forgets the queued commands and the watched keys.",
        run: Run::Server(ServerCommand::Discard),
        ..TRANSACTION
    },
    CommandSpec {
        name: "watch",
        arity: -2,
        since: "2.2.0",
        complexity: "O(1) for every key.",
        summary: "Makes the next transaction of the connection depend on these keys not changing until then.",
        syntax: "key [key ...]",
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO)],
        run: Run::Server(ServerCommand::Watch),
        ..TRANSACTION
    },
    CommandSpec {
        name: "unwatch",
        since: "2.2.0",
        summary: "Forgets the watched keys.",
        run: Run::Server(ServerCommand::Unwatch),
        ..TRANSACTION
    },
];

//! Commands on the connection itself. The network layer executes them: the engine has no connections.

use crate::command::{Categories, CommandSpec, Flags, Group, Run, ServerCommand, ROW};

/// Allowed at any time, but not from scripts.
const ALWAYS: Flags = Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE);
/// The same, for operators.
const OPERATOR: Flags = ALWAYS.union(Flags::ADMIN);
/// Part of the handshake: before AUTH, and while a script blocks the server.
const HANDSHAKE: Flags = ALWAYS.union(Flags::FAST).union(Flags::NO_AUTH).union(Flags::ALLOW_BUSY);
const HELP: Flags = Flags::LOADING.union(Flags::STALE);

/// What rows of this family have in common.
const CONNECTION: CommandSpec =
    CommandSpec { categories: Categories::CONNECTION, group: Group::Connection, ..ROW };

const WAIT_TIPS: &[&str] = &["request_policy:all_shards", "response_policy:agg_min"];

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "ping",
        arity: -1,
        flags: Flags::FAST,
        summary: "Answers PONG, or the given message: is the server there?",
        syntax: "[message]",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        run: Run::Server(ServerCommand::Ping),
        ..CONNECTION
    },
    CommandSpec {
        name: "echo",
        arity: 2,
        flags: Flags::LOADING.union(Flags::STALE).union(Flags::FAST),
        summary: "Answers the given message.",
        syntax: "message",
        run: Run::Server(ServerCommand::Echo),
        ..CONNECTION
    },
    CommandSpec {
        name: "auth",
        arity: -2,
        flags: HANDSHAKE,
        complexity: "O(N) where N is the number of passwords of the user",
        summary: "Authenticates the connection.",
        syntax: "[username] password",
        run: Run::Server(ServerCommand::Auth),
        ..CONNECTION
    },
    CommandSpec {
        name: "hello",
        arity: -1,
        flags: HANDSHAKE,
        since: "6.0.0",
        summary: "Chooses the protocol version of the connection and describes the server; can authenticate and name the connection too.",
        syntax: "[protover [AUTH username password] [SETNAME clientname]]",
        run: Run::Server(ServerCommand::Hello),
        ..CONNECTION
    },
    CommandSpec {
        name: "select",
        arity: 2,
        flags: Flags::LOADING.union(Flags::STALE).union(Flags::FAST),
        summary: "Chooses the database of the connection.",
        syntax: "index",
        run: Run::Server(ServerCommand::Select),
        ..CONNECTION
    },
    CommandSpec {
        name: "quit",
        arity: -1,
        flags: HANDSHAKE,
        summary: "Closes the connection after the replies that are still due.",
        run: Run::Server(ServerCommand::Quit),
        ..CONNECTION
    },
    CommandSpec {
        name: "reset",
        arity: 1,
        flags: HANDSHAKE,
        since: "6.2.0",
        summary: "Puts the connection into the state it had when it was new.",
        run: Run::Server(ServerCommand::Reset),
        ..CONNECTION
    },
    CommandSpec {
        name: "wait",
        arity: 3,
        flags: Flags::BLOCKING,
        group: Group::Generic,
        since: "3.0.0",
        summary: "Waits until replicas have confirmed the writes of the connection, of which there are none.",
        syntax: "numreplicas timeout",
        tips: WAIT_TIPS,
        run: Run::Server(ServerCommand::Wait),
        ..CONNECTION
    },
    CommandSpec {
        name: "waitaof",
        arity: 4,
        flags: Flags::BLOCKING,
        group: Group::Generic,
        since: "7.2.0",
        summary: "Waits until the writes of the connection are in the append-only files here and of replicas, of which there are none.",
        syntax: "numlocal numreplicas timeout",
        tips: WAIT_TIPS,
        run: Run::Server(ServerCommand::WaitAof),
        ..CONNECTION
    },
    CommandSpec {
        name: "client",
        arity: -2,
        since: "2.4.0",
        complexity: "Depends on subcommand.",
        summary: "Commands on client connections.",
        help: CLIENT_HELP,
        subcommands: CLIENT,
        categories: Categories::empty(),
        ..CONNECTION
    },
];

const CLIENT: &[CommandSpec] = &[
    CommandSpec {
        name: "getname",
        arity: 2,
        flags: ALWAYS,
        since: "2.6.9",
        summary: "The name of the connection.",
        run: Run::Server(ServerCommand::ClientGetName),
        ..CONNECTION
    },
    CommandSpec {
        name: "help",
        arity: 2,
        flags: HELP,
        since: "5.0.0",
        summary: "Explains the subcommands.",
        run: Run::Server(ServerCommand::Help),
        ..CONNECTION
    },
    CommandSpec {
        name: "id",
        arity: 2,
        flags: ALWAYS,
        since: "5.0.0",
        summary: "The number of the connection.",
        run: Run::Server(ServerCommand::ClientId),
        ..CONNECTION
    },
    CommandSpec {
        name: "info",
        arity: 2,
        flags: ALWAYS,
        since: "6.2.0",
        summary: "What the server knows about the connection.",
        tips: &["nondeterministic_output"],
        run: Run::Server(ServerCommand::ClientInfo),
        ..CONNECTION
    },
    CommandSpec {
        name: "kill",
        arity: -3,
        flags: OPERATOR,
        since: "2.4.0",
        complexity: "O(N) where N is the number of client connections",
        summary: "Closes the connection at an address, or all connections that every given filter matches.",
        syntax: "<ip:port | <ID client-id | TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB> | USER username | ADDR ip:port | LADDR ip:port | SKIPME <YES | NO> | MAXAGE maxage> ...>",
        run: Run::Server(ServerCommand::ClientKill),
        ..CONNECTION
    },
    CommandSpec {
        name: "list",
        arity: -2,
        flags: OPERATOR,
        since: "2.4.0",
        complexity: "O(N) where N is the number of client connections",
        summary: "What the server knows about all connections, a line each.",
        syntax: "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
        tips: &["nondeterministic_output"],
        run: Run::Server(ServerCommand::ClientList),
        ..CONNECTION
    },
    CommandSpec {
        name: "no-evict",
        arity: 3,
        flags: OPERATOR,
        since: "7.0.0",
        summary: "Exempts the connection from being closed when clients take too much memory.",
        syntax: "<ON | OFF>",
        run: Run::Server(ServerCommand::ClientNoEvict),
        ..CONNECTION
    },
    CommandSpec {
        name: "no-touch",
        arity: 3,
        flags: ALWAYS,
        since: "7.2.0",
        summary: "Whether commands of the connection leave the access times of keys alone.",
        syntax: "<ON | OFF>",
        run: Run::Server(ServerCommand::ClientNoTouch),
        ..CONNECTION
    },
    CommandSpec {
        name: "pause",
        arity: -3,
        flags: OPERATOR,
        since: "3.0.0",
        summary: "Holds back all commands, or those that write, for a time.",
        syntax: "timeout [WRITE | ALL]",
        run: Run::Server(ServerCommand::ClientPause),
        ..CONNECTION
    },
    CommandSpec {
        name: "reply",
        arity: 3,
        flags: ALWAYS,
        since: "3.2.0",
        summary: "Whether the connection gets replies.",
        syntax: "<ON | OFF | SKIP>",
        run: Run::Server(ServerCommand::ClientReply),
        ..CONNECTION
    },
    CommandSpec {
        name: "setinfo",
        arity: 4,
        flags: ALWAYS,
        since: "7.2.0",
        summary: "Tells the server which client library this is.",
        syntax: "<LIB-NAME libname | LIB-VER libver>",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        run: Run::Server(ServerCommand::ClientSetInfo),
        ..CONNECTION
    },
    CommandSpec {
        name: "setname",
        arity: 3,
        flags: ALWAYS,
        since: "2.6.9",
        summary: "Names the connection.",
        syntax: "connection-name",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        run: Run::Server(ServerCommand::ClientSetName),
        ..CONNECTION
    },
    CommandSpec {
        name: "unblock",
        arity: -3,
        flags: OPERATOR,
        since: "5.0.0",
        complexity: "O(log N) where N is the number of client connections",
        summary: "Ends the waiting of a connection that a blocking command holds.",
        syntax: "client-id [TIMEOUT | ERROR]",
        run: Run::Server(ServerCommand::ClientUnblock),
        ..CONNECTION
    },
    CommandSpec {
        name: "unpause",
        arity: 2,
        flags: OPERATOR,
        since: "6.2.0",
        complexity: "O(N) where N is the number of paused clients",
        summary: "Ends CLIENT PAUSE.",
        run: Run::Server(ServerCommand::ClientUnpause),
        ..CONNECTION
    },
];

const CLIENT_HELP: &[&str] = &[
    "GETNAME",
    "    The name of this connection.",
    "ID",
    "    The number of this connection.",
    "INFO",
    "    What the server knows about this connection.",
    "KILL <ip:port>",
    "    Close the connection from this address.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Close every connection that all of these match:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      made from this address",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      made to this address of the server",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      of this type",
    "    * USER <username>",
    "      authenticated as this user",
    "    * ID <client-id>",
    "      with this number",
    "    * MAXAGE <seconds>",
    "      at least this old",
    "    * SKIPME (YES|NO)",
    "      whether to spare this connection (default: yes)",
    "LIST [options ...]",
    "    What the server knows about connections, a line each. Options are:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      only those of this type",
    "    * ID <client-id> [<client-id> ...]",
    "      only those with these numbers",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Hold back all commands, or those that write, for <timeout> milliseconds.",
    "UNPAUSE",
    "    End the pause.",
    "REPLY (ON|OFF|SKIP)",
    "    Whether this connection gets replies.",
    "SETNAME <name>",
    "    Name this connection.",
    "SETINFO (LIB-NAME|LIB-VER) <value>",
    "    Say which client library this is.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    End the waiting of a blocked connection.",
    "NO-EVICT (ON|OFF)",
    "    Exempt this connection from being closed for its memory.",
    "NO-TOUCH (ON|OFF)",
    "    Leave the access times of keys alone in commands of this connection.",
];

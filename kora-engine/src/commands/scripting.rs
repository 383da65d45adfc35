//! Scripts and functions. The network layer executes them: it has the interpreters, and it runs a script on the shards that own its keys.

use crate::command::{
    Categories, CommandSpec, Flags, Group, KeyFlags, KeySpec, Run, ScriptCommand, ServerCommand, ROW,
};

/// What rows of this family have in common.
const SCRIPTING: CommandSpec =
    CommandSpec { group: Group::Scripting, categories: Categories::SCRIPTING, flags: Flags::NOSCRIPT, ..ROW };

/// What runs a script.
const CALL: CommandSpec = CommandSpec {
    arity: -3,
    flags: Flags::NOSCRIPT
        .union(Flags::STALE)
        .union(Flags::SKIP_MONITOR)
        .union(Flags::NO_MANDATORY_KEYS)
        .union(Flags::MOVABLEKEYS),
    since: "2.6.0",
    complexity: "Depends on the script that is executed.",
    ..SCRIPTING
};

const READ_ONLY: Flags = CALL.flags.union(Flags::READONLY);

const WRITES: KeySpec = KeySpec::numkeys(2, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE));
const READS: KeySpec = KeySpec::numkeys(2, KeyFlags::RO.union(KeyFlags::ACCESS));
const ASSUMED_WRITES: KeySpec =
    WRITES.noted("We cannot tell how the keys will be used so we assume the worst, RW and UPDATE");
const ASSUMED_READS: KeySpec =
    READS.noted("We cannot tell how the keys will be used so we assume the worst, RO and ACCESS");

const ALL_SHARDS_SUCCEED: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
const ALL_NODES_SUCCEED: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
const ONE_SHARD_SUCCEEDS: &[&str] = &["request_policy:all_shards", "response_policy:one_succeeded"];

/// HELP of a container.
const HELP: CommandSpec = CommandSpec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    summary: "Explains the subcommands.",
    run: Run::Server(ServerCommand::Help),
    ..SCRIPTING
};

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "eval",
        summary: "Runs a Lua script.",
        syntax: "script numkeys [key [key ...]] [arg [arg ...]]",
        keys: &[ASSUMED_WRITES],
        run: Run::Script(ScriptCommand::Eval),
        ..CALL
    },
    CommandSpec {
        name: "evalsha",
        summary: "Runs a Lua script that is in the cache.",
        syntax: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        keys: &[WRITES],
        run: Run::Script(ScriptCommand::EvalSha),
        ..CALL
    },
    CommandSpec {
        name: "eval_ro",
        flags: READ_ONLY,
        since: "7.0.0",
        summary: "Runs a Lua script that must not write.",
        syntax: "script numkeys [key [key ...]] [arg [arg ...]]",
        keys: &[ASSUMED_READS],
        run: Run::Script(ScriptCommand::Eval),
        ..CALL
    },
    CommandSpec {
        name: "evalsha_ro",
        flags: READ_ONLY,
        since: "7.0.0",
        summary: "Runs a Lua script that is in the cache and must not write.",
        syntax: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        keys: &[READS],
        run: Run::Script(ScriptCommand::EvalSha),
        ..CALL
    },
    CommandSpec {
        name: "fcall",
        since: "7.0.0",
        complexity: "Depends on the function that is executed.",
        summary: "Calls a function.",
        syntax: "function numkeys [key [key ...]] [arg [arg ...]]",
        keys: &[ASSUMED_WRITES],
        run: Run::Script(ScriptCommand::Fcall),
        ..CALL
    },
    CommandSpec {
        name: "fcall_ro",
        flags: READ_ONLY,
        since: "7.0.0",
        complexity: "Depends on the function that is executed.",
        summary: "Calls a function that does not write.",
        syntax: "function numkeys [key [key ...]] [arg [arg ...]]",
        keys: &[ASSUMED_READS],
        run: Run::Script(ScriptCommand::Fcall),
        ..CALL
    },
    CommandSpec {
        name: "script",
        arity: -2,
        flags: Flags::empty(),
        categories: Categories::empty(),
        since: "2.6.0",
        complexity: "Depends on subcommand.",
        summary: "Commands on the cache of scripts.",
        help: SCRIPT_HELP,
        subcommands: SCRIPT,
        run: Run::Container,
        ..SCRIPTING
    },
    CommandSpec {
        name: "function",
        arity: -2,
        flags: Flags::empty(),
        categories: Categories::empty(),
        since: "7.0.0",
        complexity: "Depends on subcommand.",
        summary: "Commands on libraries of functions.",
        help: FUNCTION_HELP,
        subcommands: FUNCTION,
        run: Run::Container,
        ..SCRIPTING
    },
];

const SCRIPT: &[CommandSpec] = &[
    CommandSpec {
        name: "debug",
        arity: 3,
        since: "3.2.0",
        summary: "Switches debugging of scripts; there is none.",
        syntax: "<YES | SYNC | NO>",
        run: Run::Server(ServerCommand::ScriptDebug),
        ..SCRIPTING
    },
    CommandSpec {
        name: "exists",
        arity: -3,
        since: "2.6.0",
        complexity: "O(N) with N being the number of scripts to check",
        summary: "Whether scripts are in the cache.",
        syntax: "sha1 [sha1 ...]",
        tips: &["request_policy:all_shards", "response_policy:agg_logical_and"],
        run: Run::Server(ServerCommand::ScriptExists),
        ..SCRIPTING
    },
    CommandSpec {
        name: "flush",
        arity: -2,
        since: "2.6.0",
        complexity: "O(N) with N being the number of scripts in cache",
        summary: "Empties the cache of scripts.",
        syntax: "[ASYNC | SYNC]",
        tips: ALL_NODES_SUCCEED,
        run: Run::Server(ServerCommand::ScriptFlush),
        ..SCRIPTING
    },
    CommandSpec {
        name: "kill",
        arity: 2,
        flags: Flags::NOSCRIPT.union(Flags::ALLOW_BUSY),
        since: "2.6.0",
        summary: "Ends the script that runs for too long.",
        tips: ONE_SHARD_SUCCEEDS,
        run: Run::Server(ServerCommand::ScriptKill),
        ..SCRIPTING
    },
    CommandSpec {
        name: "load",
        arity: 3,
        flags: Flags::NOSCRIPT.union(Flags::STALE),
        since: "2.6.0",
        complexity: "O(N) with N being the length in bytes of the script body.",
        summary: "Puts a script into the cache.",
        syntax: "script",
        tips: ALL_NODES_SUCCEED,
        run: Run::Server(ServerCommand::ScriptLoad),
        ..SCRIPTING
    },
    CommandSpec { since: "5.0.0", ..HELP },
];

const FUNCTION: &[CommandSpec] = &[
    CommandSpec {
        name: "delete",
        arity: 3,
        flags: Flags::NOSCRIPT.union(Flags::WRITE),
        since: "7.0.0",
        summary: "Deletes a library.",
        syntax: "library-name",
        tips: ALL_SHARDS_SUCCEED,
        run: Run::Server(ServerCommand::FunctionDelete),
        ..SCRIPTING
    },
    CommandSpec {
        name: "dump",
        arity: 2,
        since: "7.0.0",
        complexity: "O(N) where N is the number of functions",
        summary: "All libraries as bytes.",
        run: Run::Server(ServerCommand::FunctionDump),
        ..SCRIPTING
    },
    CommandSpec {
        name: "flush",
        arity: -2,
        flags: Flags::NOSCRIPT.union(Flags::WRITE),
        since: "7.0.0",
        complexity: "O(N) where N is the number of functions deleted",
        summary: "Deletes all libraries.",
        syntax: "[ASYNC | SYNC]",
        tips: ALL_SHARDS_SUCCEED,
        run: Run::Server(ServerCommand::FunctionFlush),
        ..SCRIPTING
    },
    CommandSpec {
        name: "kill",
        arity: 2,
        flags: Flags::NOSCRIPT.union(Flags::ALLOW_BUSY),
        since: "7.0.0",
        summary: "Ends the function that runs for too long.",
        tips: ONE_SHARD_SUCCEEDS,
        run: Run::Server(ServerCommand::FunctionKill),
        ..SCRIPTING
    },
    CommandSpec {
        name: "list",
        arity: -2,
        since: "7.0.0",
        complexity: "O(N) where N is the number of functions",
        summary: "All libraries with their functions.",
        syntax: "[LIBRARYNAME library-name-pattern] [WITHCODE]",
        tips: &["nondeterministic_output_order"],
        run: Run::Server(ServerCommand::FunctionList),
        ..SCRIPTING
    },
    CommandSpec {
        name: "load",
        arity: -3,
        flags: Flags::NOSCRIPT.union(Flags::WRITE).union(Flags::DENYOOM),
        since: "7.0.0",
        complexity: "O(1) (considering compilation time is redundant)",
        summary: "Loads a library.",
        syntax: "[REPLACE] function-code",
        tips: ALL_SHARDS_SUCCEED,
        run: Run::Server(ServerCommand::FunctionLoad),
        ..SCRIPTING
    },
    CommandSpec {
        name: "restore",
        arity: -3,
        flags: Flags::NOSCRIPT.union(Flags::WRITE).union(Flags::DENYOOM),
        since: "7.0.0",
        complexity: "O(N) where N is the number of functions on the payload",
        summary: "Loads libraries from the bytes of FUNCTION DUMP.",
        syntax: "serialized-value [FLUSH | APPEND | REPLACE]",
        tips: ALL_SHARDS_SUCCEED,
        run: Run::Server(ServerCommand::FunctionRestore),
        ..SCRIPTING
    },
    CommandSpec {
        name: "stats",
        arity: 2,
        flags: Flags::NOSCRIPT.union(Flags::ALLOW_BUSY),
        since: "7.0.0",
        summary: "The function that runs, and the engines.",
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        run: Run::Server(ServerCommand::FunctionStats),
        ..SCRIPTING
    },
    CommandSpec { since: "7.0.0", ..HELP },
];

const SCRIPT_HELP: &[&str] = &[
    "DEBUG (YES|SYNC|NO)",
    "    Set the debug mode for subsequent scripts executed.",
    "EXISTS <sha1> [<sha1> ...]",
    "    Return information about the existence of the scripts in the script cache.",
    "FLUSH [ASYNC|SYNC]",
    "    Flush the Lua scripts cache. Very dangerous on replicas.",
    "    When called without the optional mode argument, the behavior is determined by the",
    "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    "    * ASYNC: Asynchronously flush the scripts cache.",
    "    * SYNC: Synchronously flush the scripts cache.",
    "KILL",
    "    Kill the currently executing Lua script.",
    "LOAD <script>",
    "    Load a script into the scripts cache without executing it.",
];

const FUNCTION_HELP: &[&str] = &[
    "LOAD [REPLACE] <FUNCTION CODE>",
    "    Create a new library with the given library name and code.",
    "DELETE <LIBRARY NAME>",
    "    Delete the given library.",
    "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    "    Return general information on all the libraries:",
    "    * Library name",
    "    * The engine used to run the Library",
    "    * Functions list",
    "    * Library code (if WITHCODE is given)",
    "    It also possible to get only function that matches a pattern using LIBRARYNAME argument.",
    "STATS",
    "    Return information about the current function running:",
    "    * Function name",
    "    * Command used to run the function",
    "    * Duration in MS that the function is running",
    "    If no function is running, return nil",
    "    In addition, returns a list of available engines.",
    "KILL",
    "    Kill the current running function.",
    "FLUSH [ASYNC|SYNC]",
    "    Delete all the libraries.",
    "    When called without the optional mode argument, the behavior is determined by the",
    "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    "    * ASYNC: Asynchronously flush the libraries.",
    "    * SYNC: Synchronously flush the libraries.",
    "DUMP",
    "    Return a serialized payload representing the current libraries, can be restored using FUNCTION RESTORE command",
    "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
    "    Restore the libraries represented by the given payload, it is possible to give a restore policy to",
    "    control how to handle existing libraries (default APPEND):",
    "    * FLUSH: delete all existing libraries.",
    "    * APPEND: appends the restored libraries to the existing libraries. On collision, abort.",
    "    * REPLACE: appends the restored libraries to the existing libraries, On collision, replace the old",
    "      libraries with the new libraries (notice that even on this option there is a chance of failure",
    "      in case of functions name collision with another library).",
];

//! Commands of the network layer: those about connections, the configuration, statistics and topology.
//!
//! One file per family. A command either replies at once or returns a coordinator (when it concerns every executor).

use crate::coordinate::Task;
use crate::executor::Executor;
use kora_engine::command::{Command, Run, ServerCommand};
use kora_engine::error::Error;
use kora_engine::reply::Reply;

mod client;
mod client_filter;
mod client_line;
pub(crate) mod cluster;
pub(crate) mod command;
mod config;
pub(crate) mod connection;
mod help;
mod info;
mod latency;
mod lifecycle;
mod memory;
pub(crate) mod migrate;
mod save;
pub(crate) mod script;
mod slowlog;
#[cfg(test)]
mod testing;
pub(crate) mod transaction;
mod wait;

/// How a command of the network layer ended.
pub(crate) enum Served {
    /// Its reply is written.
    Replied,
    /// It has no reply (CLIENT REPLY OFF).
    Silent,
    /// The connection is blocked.
    Blocked,
    /// Its reply comes from this coordinator; the connection waits.
    Task(Task),
}

/// Runs one command of a connection.
pub(crate) fn run(
    executor: &mut Executor,
    index: u32,
    command: &'static Command,
    server: ServerCommand,
    argv: &[&[u8]],
    reply: &mut dyn Reply,
) -> Result<Served, Error> {
    match server {
        ServerCommand::Migrate => migrate::run(executor, index, argv),
        ServerCommand::Ping => connection::ping(argv, reply),
        ServerCommand::Echo => connection::echo(argv, reply),
        ServerCommand::Auth => connection::auth(executor, index, argv, reply),
        ServerCommand::Hello => connection::hello(executor, index, argv, reply),
        ServerCommand::Select => connection::select(executor, index, argv, reply),
        ServerCommand::Quit => connection::quit(executor, index, reply),
        ServerCommand::Reset => connection::reset(executor, index, reply),
        ServerCommand::Time => connection::time(reply),
        ServerCommand::RandomKey => connection::random_key(executor, index),
        ServerCommand::ClientId => client::id(executor, index, reply),
        ServerCommand::ClientInfo => client::info(executor, index, reply),
        ServerCommand::ClientList => client::list(executor, index, argv),
        ServerCommand::ClientKill => client::kill(executor, index, argv),
        ServerCommand::ClientGetName => client::get_name(executor, index, reply),
        ServerCommand::ClientSetName => client::set_name(executor, index, argv, reply),
        ServerCommand::ClientSetInfo => client::set_info(executor, index, argv, reply),
        ServerCommand::ClientReply => client::reply(executor, index, argv, reply),
        ServerCommand::ClientPause => client::pause(executor, argv, reply),
        ServerCommand::ClientUnpause => client::unpause(executor, index),
        ServerCommand::ClientNoEvict => client::no_evict(executor, index, argv, reply),
        ServerCommand::ClientNoTouch => client::no_touch(executor, index, argv, reply),
        ServerCommand::ClientUnblock => client::unblock(executor, index, argv),
        ServerCommand::Command => {
            command::all(reply);
            Ok(Served::Replied)
        }
        ServerCommand::CommandCount => {
            command::count(reply);
            Ok(Served::Replied)
        }
        ServerCommand::CommandInfo => {
            command::info(argv, reply);
            Ok(Served::Replied)
        }
        ServerCommand::CommandDocs => {
            command::docs(argv, reply);
            Ok(Served::Replied)
        }
        ServerCommand::CommandList => command::list(argv, reply).map(|()| Served::Replied),
        ServerCommand::CommandGetKeys => command::get_keys(argv, reply).map(|()| Served::Replied),
        ServerCommand::CommandGetKeysAndFlags => {
            command::get_keys_and_flags(argv, reply).map(|()| Served::Replied)
        }
        ServerCommand::ConfigGet => config::run_get(executor, argv, reply),
        ServerCommand::ConfigSet => config::run_set(executor, index, argv),
        ServerCommand::ConfigResetStat => config::run_reset_stat(executor, index),
        ServerCommand::ConfigRewrite => config::run_rewrite(executor, reply),
        ServerCommand::Info => info::info(executor, index, argv),
        ServerCommand::Shutdown => lifecycle::shutdown(executor, index, argv),
        ServerCommand::Debug => lifecycle::debug(executor, index, argv, reply),
        ServerCommand::LatencyHistogram
        | ServerCommand::LatencyLatest
        | ServerCommand::LatencyHistory
        | ServerCommand::LatencyReset
        | ServerCommand::LatencyDoctor
        | ServerCommand::LatencyGraph => latency::run(executor, index, server, argv),
        ServerCommand::SlowlogGet => slowlog::run_get(executor, index, argv),
        ServerCommand::SlowlogLen => slowlog::run_len(executor, index),
        ServerCommand::SlowlogReset => slowlog::run_reset(executor, index),
        ServerCommand::MemoryStats => memory::run_stats(executor, index),
        ServerCommand::MemoryDoctor => memory::run_doctor(executor, index),
        ServerCommand::MemoryMallocStats => memory::run_malloc_stats(executor, index),
        ServerCommand::MemoryPurge => memory::run_purge(executor, index),
        ServerCommand::ClusterSlots
        | ServerCommand::ClusterShards
        | ServerCommand::ClusterNodes
        | ServerCommand::ClusterInfo
        | ServerCommand::ClusterMyId
        | ServerCommand::ClusterKeySlot
        | ServerCommand::ClusterCountKeysInSlot
        | ServerCommand::ClusterGetKeysInSlot
        | ServerCommand::Readonly
        | ServerCommand::Readwrite
        | ServerCommand::Asking => cluster::run(executor, index, server, argv, reply),
        ServerCommand::Wait => wait::wait(executor, index, command, argv, reply),
        ServerCommand::WaitAof => wait::waitaof(executor, index, command, argv, reply),
        ServerCommand::Save => save::save(executor, index),
        ServerCommand::BgSave => save::bgsave(executor, index, argv, reply),
        ServerCommand::LastSave => save::lastsave(executor, reply),
        ServerCommand::BgRewriteAof => save::bgrewriteaof(executor, index, reply),
        ServerCommand::Multi => executor.multi(index, reply),
        ServerCommand::Exec => unreachable!("EXEC writes its own reply"),
        ServerCommand::Discard => executor.discard(index, reply),
        ServerCommand::Watch => executor.watch(index, command, argv, reply),
        ServerCommand::Unwatch => executor.unwatch(index, reply),
        ServerCommand::ScriptDebug
        | ServerCommand::ScriptExists
        | ServerCommand::ScriptFlush
        | ServerCommand::ScriptKill
        | ServerCommand::ScriptLoad
        | ServerCommand::FunctionDelete
        | ServerCommand::FunctionDump
        | ServerCommand::FunctionFlush
        | ServerCommand::FunctionKill
        | ServerCommand::FunctionList
        | ServerCommand::FunctionLoad
        | ServerCommand::FunctionRestore
        | ServerCommand::FunctionStats => script::run(executor, index, server, argv, reply),
        ServerCommand::Help => {
            help::write(command, reply);
            Ok(Served::Replied)
        }
    }
}

/// Redis's answer to a subcommand with too many arguments, which its table lets through.
#[cold]
fn subcommand_syntax(argv: &[&[u8]]) -> Error {
    let mut text = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
    text.extend_from_slice(&argv[1][..argv[1].len().min(128)]);
    text.extend_from_slice(b"'. Try ");
    text.extend_from_slice(&argv[0].to_ascii_uppercase());
    text.extend_from_slice(b" HELP.");
    Error::owned(text)
}

/// Whether this is CLIENT REPLY.
pub(crate) fn is_client_reply(command: &Command) -> bool {
    matches!(command.spec.run, Run::Server(ServerCommand::ClientReply))
}

/// CLIENT PAUSE does not hold up the commands that end it or that say how the server is.
pub(crate) fn runs_while_paused(command: &Command) -> bool {
    matches!(command.spec.run, Run::Server(_))
        && !matches!(command.spec.run, Run::Server(ServerCommand::RandomKey))
}

/// The arguments as the slow log may show them: without secrets.
pub(crate) fn redacted<'a>(command: &Command, argv: &[&'a [u8]]) -> Vec<&'a [u8]> {
    const REDACTED: &[u8] = b"(redacted)";
    let mut shown = argv.to_vec();
    match command.spec.run {
        Run::Server(ServerCommand::Auth) => shown[1..].fill(REDACTED),
        Run::Server(ServerCommand::Hello) => {
            if let Some(at) = argv.iter().position(|a| a.eq_ignore_ascii_case(b"auth")) {
                let end = argv.len().min(at + 3);
                shown[at + 1..end].fill(REDACTED);
            }
        }
        Run::Server(ServerCommand::ConfigSet) => {
            for at in (2..argv.len()).step_by(2) {
                if argv[at].eq_ignore_ascii_case(b"requirepass") && at + 1 < argv.len() {
                    shown[at + 1] = REDACTED;
                }
            }
        }
        _ => {}
    }
    shown
}

/// The Redis version whose commands and replies these are; clients look at it to know what they may use.
pub(crate) const REDIS_VERSION: &str = "8.0.0";

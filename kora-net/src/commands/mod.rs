//! Commands of the network layer: those about connections, the configuration, statistics and topology.
//!
//! One file per family. A command either replies at once or returns a coordinator (when it concerns every executor).

use crate::coordinate::Task;
use crate::executor::Executor;
use kora_engine::command::{Command, Run, ServerCommand};
use kora_engine::error::Error;
use kora_engine::reply::Reply;

pub(crate) mod cluster;
mod connection;

/// How a command of the network layer ended.
pub(crate) enum Served {
    /// Its reply is written.
    Replied,
    /// It has no reply (CLIENT REPLY OFF).
    #[allow(dead_code)]
    Silent,
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
        ServerCommand::Ping => connection::ping(argv, reply),
        ServerCommand::Echo => connection::echo(argv, reply),
        ServerCommand::Auth => connection::auth(executor, index, argv, reply),
        ServerCommand::Hello => connection::hello(executor, index, argv, reply),
        ServerCommand::Select => connection::select(executor, index, argv, reply),
        ServerCommand::Quit => connection::quit(executor, index, reply),
        ServerCommand::Reset => connection::reset(executor, index, reply),
        ServerCommand::Time => connection::time(reply),
        ServerCommand::RandomKey => connection::random_key(executor, index),
        _ => Err(Error::owned(format!("ERR '{}' is not available", command.full_name))),
    }
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

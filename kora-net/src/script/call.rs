//! Commands that scripts call: which they may run, and those that need no shard.

use crate::commands::{command, connection};
use crate::resp::encode::{Output, RespSink};
use crate::transaction::footprint::Footprint;
use crate::transaction::locks::Mode;
use kora_engine::args::integer;
use kora_engine::command::{registry, Command, Flags, Run, ServerCommand};
use kora_engine::error::Error;
use kora_engine::keyspace::View;
use kora_engine::reply::{Protocol, Reply};
use kora_engine::slot::Slot;
use kora_script::refusals;
use smallvec::SmallVec;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// A script in progress, as SCRIPT KILL and FUNCTION STATS see it. Only the executor that runs it touches it; it is shared because closures
/// between executors must be able to carry it.
pub struct Control {
    /// The name of the function, or nothing for a script.
    pub function: Option<Vec<u8>>,
    /// The command that runs it.
    pub words: Vec<Vec<u8>>,
    /// Since when.
    pub started: Instant,
    /// It is to end.
    pub killed: AtomicBool,
    /// It has run a command that writes: set when it pauses.
    pub has_written: AtomicBool,
    /// It has run for longer than `lua_time_limit`, and everybody is told.
    pub is_slow: AtomicBool,
}

/// What a script is told that would write while nothing can be written down.
const LOG_REFUSES: &str =
    "MISCONF Errors writing to the AOF file: INFO persistence names the cause (wal_last_error)";

/// What the commands of one script have in common.
pub struct Session {
    /// SELECT changes the database.
    pub view: View,
    /// Writes are refused.
    pub read_only: bool,
    /// Writes that need memory are refused: there is none.
    pub out_of_memory: bool,
    /// Writes are refused: they cannot be written down.
    pub log_refuses: bool,
    /// Number of databases.
    pub databases: u16,
    /// Whether each shard is held.
    pub holds: Holds,
    /// It has run a command that writes.
    pub has_written: bool,
}

/// Which shards a script holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    /// All there are.
    All,
    /// These.
    Some(SmallVec<[u16; 4]>),
}

impl Holds {
    /// Those of the keys of a script command, of so many; or all of them, if its keys need not be declared.
    pub fn of(command: &Command, argv: &[&[u8]], shards: u16, undeclared: bool) -> Holds {
        if undeclared || shards == 1 {
            return Holds::All;
        }
        let keys = command.spec.keys.iter().flat_map(|spec| spec.positions(argv));
        let mut owners: SmallVec<[u16; 4]> = keys.map(|at| Slot::of(argv[at]).shard(shards)).collect();
        owners.sort_unstable();
        owners.dedup();
        match owners.len() == shards as usize {
            true => Holds::All,
            false => Holds::Some(owners),
        }
    }

    /// What must be held for that.
    pub fn want(&self, footprint: &mut Footprint) {
        match self {
            Holds::All => footprint.add_everything(Mode::Exclusive),
            Holds::Some(shards) => {
                shards.iter().for_each(|&shard| footprint.add_shard(shard, Mode::Exclusive))
            }
        }
    }

    /// Whether a shard is among them.
    pub fn has(&self, shard: u16) -> bool {
        match self {
            Holds::All => true,
            Holds::Some(shards) => shards.contains(&shard),
        }
    }
}

/// What becomes of a call.
pub enum Call {
    /// It is answered.
    Answered,
    /// This command is to be run on a shard, or on several.
    Run(&'static Command),
}

/// Redis has no such error: it has one shard. In a cluster it says "Script attempted to access a non local key in a cluster node".
pub const NOT_HELD: &str =
    "ERR Script attempted to access a key that is not among its KEYS, on a shard that it does not hold. \
Declare the key, give the keys a common hash tag, or set script_undeclared_keys to yes";

/// What such a script may not do at all.
pub const NOT_ALL_HELD: &str =
    "ERR Script attempted to run a command on all keys, but does not hold all shards. \
Set script_undeclared_keys to yes";

impl Session {
    /// Decides on a call, and answers it if it needs no shard.
    pub fn call(&mut self, argv: &[&[u8]], protocol: Protocol, out: &mut Output) -> Call {
        match self.admit(argv) {
            Ok(command) => match command.spec.run {
                Run::Server(server) => {
                    let mut reply = RespSink::new(out, protocol);
                    if let Err(error) = self.serve(server, argv, &mut reply) {
                        reply.error(error.text());
                    }
                    Call::Answered
                }
                _ => {
                    self.has_written |= command.is_write();
                    Call::Run(command)
                }
            },
            Err(refusal) => {
                RespSink::new(out, protocol).error(refusal.as_bytes());
                Call::Answered
            }
        }
    }

    fn admit(&self, argv: &[&[u8]]) -> Result<&'static Command, &'static str> {
        let named = registry().named(argv).ok_or(refusals::UNKNOWN_COMMAND)?;
        let command = registry().resolve(argv).map_err(|_| match named.accepts(argv.len()) {
            true => refusals::UNKNOWN_COMMAND,
            false => refusals::WRONG_ARITY,
        })?;
        let flags = command.spec.flags;
        if flags.contains(Flags::NOSCRIPT) {
            return Err(refusals::NOT_ALLOWED);
        }
        if self.read_only && command.is_write() {
            return Err(refusals::READ_ONLY);
        }
        if self.log_refuses && command.is_write() && !self.has_written {
            return Err(LOG_REFUSES);
        }
        // A script that has written goes on to its end: half of it would be worse.
        if self.out_of_memory && flags.contains(Flags::DENYOOM) && !self.has_written {
            return Err(refusals::OUT_OF_MEMORY);
        }
        match command.spec.run {
            Run::Container | Run::Script(_) => Err(refusals::NOT_ALLOWED),
            Run::Everywhere(..) if self.holds != Holds::All => Err(NOT_ALL_HELD),
            _ => Ok(command),
        }
    }

    /// Commands of the network layer that concern nobody else.
    fn serve(&mut self, server: ServerCommand, argv: &[&[u8]], reply: &mut dyn Reply) -> Result<(), Error> {
        match server {
            ServerCommand::Ping => connection::ping(argv, reply).map(drop),
            ServerCommand::Echo => connection::echo(argv, reply).map(drop),
            ServerCommand::Time => connection::time(reply).map(drop),
            ServerCommand::Select => {
                let index = integer(argv[1])?;
                let db = u16::try_from(index).ok().filter(|&db| db < self.databases);
                self.view.db = db.ok_or(Error::DB_INDEX)?;
                reply.ok();
                Ok(())
            }
            ServerCommand::Command => {
                command::all(reply);
                Ok(())
            }
            ServerCommand::CommandCount => {
                command::count(reply);
                Ok(())
            }
            ServerCommand::CommandInfo => {
                command::info(argv, reply);
                Ok(())
            }
            ServerCommand::CommandDocs => {
                command::docs(argv, reply);
                Ok(())
            }
            ServerCommand::CommandList => command::list(argv, reply),
            ServerCommand::CommandGetKeys => command::get_keys(argv, reply),
            ServerCommand::CommandGetKeysAndFlags => command::get_keys_and_flags(argv, reply),
            _ => Err(Error::new(refusals::NOT_ALLOWED)),
        }
    }
}

/// `redis.acl_check_cmd`: everybody who may run scripts may run everything.
pub fn may_call(argv: &[&[u8]], out: &mut Output) {
    let mut reply = RespSink::new(out, Protocol::Resp2);
    match registry().named(argv) {
        Some(_) => reply.integer(1),
        None => reply.error(b"ERR Invalid command passed to redis.acl_check_cmd()"),
    }
}

/// A line of redis.log.
pub fn log(level: u8, line: &[u8]) {
    let line = String::from_utf8_lossy(line);
    match level {
        0 => tracing::debug!(target: "script", "{line}"),
        1 | 2 => tracing::info!(target: "script", "{line}"),
        _ => tracing::warn!(target: "script", "{line}"),
    }
}

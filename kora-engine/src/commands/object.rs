//! OBJECT and MEMORY USAGE: what the engine knows about how a value is kept.

use crate::args;
use crate::command::{
    Categories, CommandSpec, Flags, Group, KeyFlags, KeySpec, Run, ServerCommand, Spread, ROW,
};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::reply::Reply;
use crate::table::{Entry, ValueRef};
use crate::value::Object;

/// Longest string that Redis keeps in one allocation with its object header, and calls `embstr`.
const EMBSTR_MAX: usize = 44;

const ASK: CommandSpec = CommandSpec {
    arity: 3,
    flags: Flags::READONLY,
    categories: Categories::KEYSPACE,
    keys: &[KeySpec::one(2, KeyFlags::RO)],
    group: Group::Generic,
    since: "2.2.3",
    syntax: "key",
    ..ROW
};

pub(crate) const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "object",
    arity: -2,
    group: Group::Generic,
    since: "2.2.3",
    complexity: "Depends on the subcommand.",
    summary: "Tells how the value of a key is kept.",
    subcommands: &[
        CommandSpec {
            name: "encoding",
            summary: "Names the internal form of a value.",
            tips: &["nondeterministic_output"],
            run: Run::Keys(encoding, Spread::OneKey),
            ..ASK
        },
        CommandSpec {
            name: "freq",
            since: "4.0.0",
            summary: "Tells how often a key is used, on the logarithmic scale of the LFU policies.",
            tips: &["nondeterministic_output"],
            run: Run::Keys(freq, Spread::OneKey),
            ..ASK
        },
        CommandSpec {
            name: "help",
            arity: 2,
            flags: Flags::LOADING.union(Flags::STALE),
            categories: Categories::KEYSPACE,
            group: Group::Generic,
            since: "6.2.0",
            summary: "Lists the subcommands.",
            run: Run::Server(ServerCommand::Help),
            ..ROW
        },
        CommandSpec {
            name: "idletime",
            summary: "Tells how many seconds ago a key was last used.",
            tips: &["nondeterministic_output"],
            run: Run::Keys(idletime, Spread::OneKey),
            ..ASK
        },
        CommandSpec {
            name: "refcount",
            summary: "Tells how many references a value has.",
            tips: &["nondeterministic_output"],
            run: Run::Keys(refcount, Spread::OneKey),
            ..ASK
        },
    ],
    help: &[
        "ENCODING <key>",
        "    Name the internal form in which the value of <key> is kept.",
        "FREQ <key>",
        "    Return the use counter of <key>, which grows with the logarithm of the",
        "    number of recent accesses. Needs an LFU maxmemory policy.",
        "IDLETIME <key>",
        "    Return the number of seconds since <key> was last read or written.",
        "REFCOUNT <key>",
        "    Return the number of references to the value of <key>.",
    ],
    run: Run::Container,
    ..ROW
}];

/// The entry that a subcommand asks about. To look at a key is not to use it.
fn entry<'e>(exec: &'e mut Exec<'_>) -> Option<Entry<'e>> {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[2]);
    keys.get(exec.view.untouched(), &key)
}

fn encoding(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let Some(entry) = entry(exec) else {
        reply.null();
        return DONE;
    };
    reply.bulk(match entry.value() {
        ValueRef::Int(_) => &b"int"[..],
        ValueRef::Bytes(bytes) if bytes.len() <= EMBSTR_MAX && !entry.is_edited() => b"embstr",
        ValueRef::Bytes(_) | ValueRef::Shared(_) => b"raw",
        ValueRef::Object(object) => object.with(Object::encoding).as_bytes(),
    });
    DONE
}

fn freq(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    const NO_LFU: Error = Error::new(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
         switching between policies at runtime LRU and LFU data will take some time to adjust.",
    );
    match entry(exec).map(|entry| entry.access()) {
        None => reply.null(),
        Some(access) => {
            let frequency = exec.shard.keys.frequency(exec.now(), access).ok_or(NO_LFU)?;
            reply.integer(frequency.into());
        }
    }
    DONE
}

fn idletime(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    const LFU: Error = Error::new(
        "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between \
         policies at runtime LRU and LFU data will take some time to adjust.",
    );
    match entry(exec).map(|entry| entry.access()) {
        None => reply.null(),
        Some(access) => {
            let seconds = exec.shard.keys.idle_seconds(exec.now(), access).ok_or(LFU)?;
            reply.integer(seconds as i64);
        }
    }
    DONE
}

/// Values are not shared between keys.
fn refcount(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    match entry(exec) {
        None => reply.null(),
        Some(_) => reply.integer(1),
    }
    DONE
}

/// MEMORY USAGE; its row is with the MEMORY container in `server.rs`.
pub(crate) fn memory_usage(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let mut rest = exec.argv[3..].iter();
    while let Some(word) = rest.next() {
        if !args::is(word, "samples") {
            return Err(Error::SYNTAX);
        }
        // Of a string there is nothing to sample, but a wrong count is still wrong.
        if args::integer(rest.next().ok_or(Error::SYNTAX)?)? < 0 {
            return Err(Error::SYNTAX);
        }
    }
    let view = exec.view;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[2]);
    match keys.peek(view, &key) {
        None => reply.null(),
        Some(entry) => reply.integer(entry.memory_usage() as i64),
    }
    DONE
}

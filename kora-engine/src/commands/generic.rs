//! Commands on keys of any type: removing, asking, renaming, copying, moving, and emptying databases.

use super::copying;
use crate::args;
use crate::command::{Categories, CommandSpec, Coordinated, Flags, Group, KeyFlags, KeySpec, Merge, Run};
use crate::command::{ServerCommand, Spread, ROW};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::keyspace::View;
use crate::reply::Reply;

const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const READ_FAST: Flags = Flags::READONLY.union(Flags::FAST);
const DANGEROUS: Categories = Categories::KEYSPACE.union(Categories::DANGEROUS);
const SUMMED: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];
const ALL_SHARDS_SUCCEED: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

const KEY: CommandSpec = CommandSpec { categories: Categories::KEYSPACE, group: Group::Generic, ..ROW };

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "del",
        arity: -2,
        flags: Flags::WRITE,
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::RM.union(KeyFlags::DELETE))],
        complexity: "O(N) with N the number of keys",
        summary: "Removes keys and tells how many there were.",
        syntax: "key [key ...]",
        tips: SUMMED,
        run: Run::Keys(del, Spread::Split(Merge::Sum)),
        ..KEY
    },
    CommandSpec {
        name: "unlink",
        arity: -2,
        flags: WRITE_FAST,
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::RM.union(KeyFlags::DELETE))],
        since: "4.0.0",
        complexity: "O(N) with N the number of keys",
        summary: "Removes keys, their memory is freed later if it is much, and tells how many there were.",
        syntax: "key [key ...]",
        tips: SUMMED,
        run: Run::Keys(del, Spread::Split(Merge::Sum)),
        ..KEY
    },
    CommandSpec {
        name: "exists",
        arity: -2,
        flags: READ_FAST,
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO)],
        complexity: "O(N) with N the number of keys",
        summary: "Counts how many of the named keys are there, one named twice counting twice.",
        syntax: "key [key ...]",
        tips: SUMMED,
        run: Run::Keys(exists, Spread::Split(Merge::Sum)),
        ..KEY
    },
    CommandSpec {
        name: "touch",
        arity: -2,
        flags: READ_FAST,
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO)],
        since: "3.2.1",
        complexity: "O(N) with N the number of keys",
        summary: "Renews the access time of keys and tells how many there were.",
        syntax: "key [key ...]",
        tips: SUMMED,
        run: Run::Keys(touch, Spread::Split(Merge::Sum)),
        ..KEY
    },
    CommandSpec {
        name: "type",
        arity: 2,
        flags: READ_FAST,
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        summary: "Names the type of the value of a key.",
        syntax: "key",
        run: Run::Keys(type_, Spread::OneKey),
        ..KEY
    },
    CommandSpec {
        name: "rename",
        arity: 3,
        flags: Flags::WRITE,
        keys: &[
            KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE)),
            KeySpec::one(2, KeyFlags::OW.union(KeyFlags::UPDATE)),
        ],
        summary: "Gives a key another name, replacing what had that name.",
        syntax: "key newkey",
        run: Run::Keys(rename, Spread::Coordinate(Coordinated::Rename)),
        ..KEY
    },
    CommandSpec {
        name: "renamenx",
        arity: 3,
        flags: WRITE_FAST,
        keys: &[
            KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE)),
            KeySpec::one(2, KeyFlags::OW.union(KeyFlags::INSERT)),
        ],
        summary: "Gives a key another name unless that name is taken.",
        syntax: "key newkey",
        run: Run::Keys(renamenx, Spread::Coordinate(Coordinated::RenameNx)),
        ..KEY
    },
    CommandSpec {
        name: "copy",
        arity: -3,
        flags: Flags::WRITE.union(Flags::DENYOOM),
        keys: &[
            KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS)),
            KeySpec::one(2, KeyFlags::OW.union(KeyFlags::UPDATE)),
        ],
        since: "6.2.0",
        complexity: "O(1) for strings, O(N) for collections of N elements",
        summary: "Copies the value and the expiry of a key to another key.",
        syntax: "source destination [DB destination-db] [REPLACE]",
        run: Run::Keys(copy, Spread::Coordinate(Coordinated::Copy)),
        ..KEY
    },
    CommandSpec {
        name: "move",
        arity: 3,
        flags: WRITE_FAST,
        keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))],
        summary: "Moves a key to another database unless there is one of its name there.",
        syntax: "key db",
        run: Run::Keys(move_, Spread::OneKey),
        ..KEY
    },
    CommandSpec {
        name: "randomkey",
        arity: 1,
        flags: Flags::READONLY,
        summary: "Picks a key at random from the database.",
        tips: &["request_policy:all_shards", "response_policy:special", "nondeterministic_output"],
        run: Run::Server(ServerCommand::RandomKey),
        ..KEY
    },
    CommandSpec {
        name: "dbsize",
        arity: 1,
        flags: READ_FAST,
        group: Group::Server,
        summary: "Counts the keys of the database.",
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        run: Run::Everywhere(dbsize, Merge::Sum),
        ..KEY
    },
    CommandSpec {
        name: "swapdb",
        arity: 3,
        flags: WRITE_FAST,
        categories: DANGEROUS,
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(1)",
        summary: "Exchanges two databases: connections that use one see the keys of the other.",
        syntax: "index1 index2",
        run: Run::Everywhere(swapdb, Merge::AllOk),
        ..KEY
    },
    CommandSpec {
        name: "flushdb",
        arity: -1,
        flags: Flags::WRITE,
        categories: DANGEROUS,
        group: Group::Server,
        complexity: "O(1) for the caller; the memory of N keys is freed in the background",
        summary: "Removes all keys of the database.",
        syntax: "[ASYNC | SYNC]",
        tips: ALL_SHARDS_SUCCEED,
        run: Run::Everywhere(flushdb, Merge::AllOk),
        ..KEY
    },
    CommandSpec {
        name: "flushall",
        arity: -1,
        flags: Flags::WRITE,
        categories: DANGEROUS,
        group: Group::Server,
        complexity: "O(1) for the caller; the memory of N keys is freed in the background",
        summary: "Removes all keys of all databases.",
        syntax: "[ASYNC | SYNC]",
        tips: ALL_SHARDS_SUCCEED,
        run: Run::Everywhere(flushall, Merge::AllOk),
        ..KEY
    },
];

/// DEL and UNLINK: they differ in nothing here, as no string takes long to free.
fn del(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let view = exec.view;
    let keys = &mut exec.shard.keys;
    let removed = exec.argv[1..].iter().filter(|&name| keys.remove(view, &keys.key(name))).count();
    reply.integer(removed as i64);
    DONE
}

fn exists(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let view = exec.view.untouched();
    count_found(exec, view, reply)
}

fn touch(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    // Also under CLIENT NO-TOUCH: to touch is what was asked for.
    let view = View { touch: true, ..exec.view };
    count_found(exec, view, reply)
}

fn count_found(exec: &mut Exec<'_>, view: View, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let found = exec.argv[1..].iter().filter(|&name| keys.get(view, &keys.key(name)).is_some()).count();
    reply.integer(found as i64);
    DONE
}

fn type_(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let entry = keys.get(exec.view.untouched(), &key);
    reply.simple(entry.map_or("none", |entry| entry.value().kind().name()));
    DONE
}

fn rename(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    rename_unless(exec, false)?;
    reply.ok();
    DONE
}

fn renamenx(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let renamed = rename_unless(exec, true)?;
    reply.integer(renamed as i64);
    DONE
}

/// Returns whether the key was renamed; a key renamed to itself was not.
fn rename_unless(exec: &mut Exec<'_>, taken: bool) -> Result<bool, Error> {
    let view = exec.view;
    let keys = &mut exec.shard.keys;
    let (from, to) = (keys.key(exec.argv[1]), keys.key(exec.argv[2]));
    if !keys.exists(view, &from) {
        return Err(Error::NO_SUCH_KEY);
    }
    if from.bytes == to.bytes || (taken && keys.exists(view, &to)) {
        return Ok(false);
    }
    if let Some(entry) = keys.take(view, &from) {
        keys.put(view, &to, entry);
    }
    Ok(true)
}

/// What COPY is asked to do besides its two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyOptions {
    /// The database of the destination.
    pub db: u16,
    /// Whether the destination may be overwritten.
    pub replace: bool,
}

impl CopyOptions {
    /// Reads them from the whole command (`COPY source destination ...`) that was given in database `db` of `databases`.
    ///
    /// # Errors
    /// Those of COPY: unknown words, a database that is not there, a key copied to itself.
    pub fn parse(argv: &[&[u8]], db: u16, databases: u16) -> Result<CopyOptions, Error> {
        let mut options = CopyOptions { db, replace: false };
        let mut rest = argv[3..].iter();
        while let Some(word) = rest.next() {
            if args::is(word, "replace") {
                options.replace = true;
            } else if args::is(word, "db") {
                let index = rest.next().ok_or(Error::SYNTAX)?;
                options.db = args::db_index(index, databases)?;
            } else {
                return Err(Error::SYNTAX);
            }
        }
        if options.db == db && argv[1] == argv[2] {
            return Err(Error::SAME_OBJECT);
        }
        Ok(options)
    }
}

fn copy(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let options = CopyOptions::parse(exec.argv, exec.view.db, exec.shard.config.databases)?;
    let keys = &mut exec.shard.keys;
    let (from, to) = (keys.key(exec.argv[1]), keys.key(exec.argv[2]));
    let target = exec.view.in_db(options.db);
    if keys.get(exec.view, &from).is_none() || (!options.replace && keys.exists(target, &to)) {
        reply.integer(0);
        return DONE;
    }
    if let Some(later) = copying::later(exec.shard, exec.view, exec.argv, options) {
        return Ok(later);
    }
    let keys = &mut exec.shard.keys;
    let copied = keys.copy_of(exec.view, &from).map(|entry| keys.put(target, &to, entry));
    reply.integer(copied.is_some() as i64);
    DONE
}

fn move_(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let db = args::db_index(exec.argv[2], exec.shard.config.databases)?;
    if db == exec.view.db {
        return Err(Error::SAME_OBJECT);
    }
    let target = exec.view.in_db(db);
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let moved = if keys.exists(target, &key) {
        false
    } else if let Some(entry) = keys.take(exec.view, &key) {
        keys.put(target, &key, entry);
        true
    } else {
        false
    };
    reply.integer(moved as i64);
    DONE
}

fn dbsize(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    reply.integer(exec.shard.keys.len(exec.view.db) as i64);
    DONE
}

fn swapdb(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    const FIRST: Error = Error::new("ERR invalid first DB index");
    const SECOND: Error = Error::new("ERR invalid second DB index");
    let first = args::parse_i32(exec.argv[1]).ok_or(FIRST)?;
    let second = args::parse_i32(exec.argv[2]).ok_or(SECOND)?;
    let databases = exec.shard.config.databases;
    let db = |index: i32| u16::try_from(index).ok().filter(|&db| db < databases).ok_or(Error::DB_INDEX);
    exec.shard.keys.swap_db(db(first)?, db(second)?);
    reply.ok();
    DONE
}

fn flushdb(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    check_flush_mode(exec.argv)?;
    exec.shard.keys.flush_db(exec.view.db);
    reply.ok();
    DONE
}

fn flushall(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    check_flush_mode(exec.argv)?;
    for db in 0..exec.shard.keys.databases() {
        exec.shard.keys.flush_db(db);
    }
    reply.ok();
    DONE
}

/// Both modes are accepted and mean the same: the keys are gone at once, the memory is freed in slices.
fn check_flush_mode(argv: &[&[u8]]) -> Result<(), Error> {
    match argv[1..] {
        [] => Ok(()),
        [mode] if args::is(mode, "sync") || args::is(mode, "async") => Ok(()),
        _ => Err(Error::SYNTAX),
    }
}

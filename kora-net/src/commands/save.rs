//! SAVE, BGSAVE, LASTSAVE, BGREWRITEAOF: snapshots by command.
//!
//! A snapshot is one thing here, where Redis has two files: BGREWRITEAOF takes one as well, and lets the log begin anew after it, as every one does. They are
//! told apart in replies and in INFO only.

use super::Served;
use crate::executor::Executor;
use crate::resp::encode::{Output, RespSink};
use crate::snapshot::{Facts, Purpose};
use kora_engine::args::is;
use kora_engine::error::Error;
use kora_engine::reply::Reply;

/// Data lives in memory only.
pub(super) const NO_DIRECTORY: Error = Error::new(
    "ERR There is nowhere to save to: this server keeps data in memory only. Set data_dir in the configuration, then restart the server.",
);
const IN_PROGRESS: Error = Error::new("ERR Background save already in progress");
const REWRITE_IN_PROGRESS: Error =
    Error::new("ERR Background append only file rewriting already in progress");
const ANOTHER: Error = Error::new(
    "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.",
);

fn facts(executor: &Executor) -> Result<Facts, Error> {
    executor.process.storage.as_ref().map(|storage| storage.snapshots.facts()).ok_or(NO_DIRECTORY)
}

fn schedule(executor: &Executor, purpose: Purpose) {
    if let Some(storage) = &executor.process.storage {
        storage.snapshots.schedule(purpose);
    }
}

/// BGSAVE [SCHEDULE]
pub(super) fn bgsave(
    executor: &mut Executor,
    index: u32,
    argv: &[&[u8]],
    reply: &mut dyn Reply,
) -> Result<Served, Error> {
    let scheduled = match argv {
        [_] => false,
        [_, word] if is(word, "schedule") => true,
        _ => return Err(Error::SYNTAX),
    };
    let in_exec = is_in_exec(executor, index);
    match facts(executor)?.current.map(|current| current.purpose) {
        Some(Purpose::Save) => return Err(IN_PROGRESS),
        Some(Purpose::RewriteLog) if !scheduled && !in_exec => return Err(ANOTHER),
        current => {
            // A transaction holds what the snapshot is about to ask for.
            if current.is_none() && !in_exec && executor.begin_snapshot(Purpose::Save) {
                reply.simple("Background saving started");
            } else {
                schedule(executor, Purpose::Save);
                reply.simple("Background saving scheduled");
            }
        }
    }
    Ok(Served::Replied)
}

/// BGREWRITEAOF
pub(super) fn bgrewriteaof(
    executor: &mut Executor,
    index: u32,
    reply: &mut dyn Reply,
) -> Result<Served, Error> {
    let current = facts(executor)?.current.map(|current| current.purpose);
    if current == Some(Purpose::RewriteLog) {
        return Err(REWRITE_IN_PROGRESS);
    }
    let now = current.is_none() && !is_in_exec(executor, index);
    if now && executor.begin_snapshot(Purpose::RewriteLog) {
        reply.simple("Background append only file rewriting started");
    } else {
        schedule(executor, Purpose::RewriteLog);
        reply.simple("Background append only file rewriting scheduled");
    }
    Ok(Served::Replied)
}

/// SAVE
pub(super) fn save(executor: &mut Executor, index: u32) -> Result<Served, Error> {
    if facts(executor)?.current.is_some() || !executor.begin_snapshot(Purpose::Save) {
        return Err(IN_PROGRESS);
    }
    let (hub, home) = (executor.hub.clone(), executor.id);
    let protocol = executor.connection_ref(index).protocol;
    Ok(Served::Task(Box::pin(async move {
        let made: bool = hub
            .call_later(home, |executor: &mut Executor, answer| {
                executor.await_snapshot(answer);
                None
            })
            .await;
        let mut out = Output::default();
        let mut reply = RespSink::new(&mut out, protocol);
        match made {
            true => reply.ok(),
            false => reply.error(b"ERR The snapshot could not be taken: INFO persistence names the cause"),
        }
        out
    })))
}

/// LASTSAVE
pub(super) fn lastsave(executor: &Executor, reply: &mut dyn Reply) -> Result<Served, Error> {
    let last = facts(executor).map_or(executor.process.started_ms, |facts| facts.last_ms);
    reply.integer((last / 1000) as i64);
    Ok(Served::Replied)
}

fn is_in_exec(executor: &Executor, index: u32) -> bool {
    executor.connection_ref(index).info.executing.is_some()
}

//! WAIT and WAITAOF, of a server without replicas: none ever confirms, so who wants some waits for its time. What the log confirms is waited for by the reply itself.

use super::Served;
use crate::blocking::Over;
use crate::coordinate::Task;
use crate::executor::Executor;
use crate::resp::encode::{Output, RespSink};
use kora_engine::args::{integer, parse_i64};
use kora_engine::blocking::milliseconds;
use kora_engine::command::Command;
use kora_engine::error::Error;
use kora_engine::reply::Reply;

/// WAIT numreplicas timeout
pub(super) fn wait(
    executor: &mut Executor,
    index: u32,
    command: &'static Command,
    argv: &[&[u8]],
    reply: &mut dyn Reply,
) -> Result<Served, Error> {
    let replicas = integer(argv[1])?;
    let deadline = milliseconds(argv[2], executor.now)?;
    if replicas <= 0 || is_in_exec(executor, index) {
        Over::NoReplica.write(reply);
        return Ok(Served::Replied);
    }
    executor.block_for_time(index, command, deadline, Over::NoReplica);
    Ok(Served::Blocked)
}

/// Inside EXEC nothing blocks.
fn is_in_exec(executor: &Executor, index: u32) -> bool {
    executor.connection_ref(index).info.executing.is_some()
}

/// WAITAOF numlocal numreplicas timeout
pub(super) fn waitaof(
    executor: &mut Executor,
    index: u32,
    command: &'static Command,
    argv: &[&[u8]],
    reply: &mut dyn Reply,
) -> Result<Served, Error> {
    const LOCAL: Error = Error::new("ERR value is out of range, value must between 0 and 1");
    const REPLICAS: Error = Error::new("ERR value is out of range, must be positive");
    const NO_FILE: Error =
        Error::new("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
    let local = integer(argv[1])?;
    if !(0..=1).contains(&local) {
        return Err(LOCAL);
    }
    let replicas = parse_i64(argv[2]).filter(|&count| count >= 0).ok_or(REPLICAS)?;
    let deadline = milliseconds(argv[3], executor.now)?;
    if local > 0 && executor.log.is_none() {
        return Err(NO_FILE);
    }
    if executor.log.is_some() && (replicas == 0 || is_in_exec(executor, index)) {
        return Ok(Served::Task(logged(executor, index)));
    }
    if replicas == 0 || is_in_exec(executor, index) {
        Over::NoFile.write(reply);
        return Ok(Served::Replied);
    }
    executor.block_for_time(index, command, deadline, Over::NoFile);
    Ok(Served::Blocked)
}

/// Has everything written that all executors have changed; the reply leaves when it is on the disk.
fn logged(executor: &mut Executor, index: u32) -> Task {
    let (hub, count, home) = (executor.hub.clone(), executor.count, executor.id);
    let connection = executor.connection_ref(index);
    let (protocol, generation) = (connection.protocol, connection.generation);
    Box::pin(async move {
        hub.everywhere(count, Executor::hurry_log).await;
        let local = hub.call(home, move |executor: &mut Executor| {
            let on_disk = !executor.process.storage.as_ref().is_some_and(|storage| storage.is_poisoned());
            if let Some(connection) = executor.connection_of(index, generation) {
                connection.wants_log = on_disk;
            }
            on_disk
        });
        let on_disk = local.await;
        let mut out = Output::default();
        let mut reply = RespSink::new(&mut out, protocol);
        reply.array(2);
        reply.integer(on_disk as i64);
        reply.integer(0);
        out
    })
}

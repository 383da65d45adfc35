//! WAIT and WAITAOF, of a server without replicas and without a file: nobody ever confirms, so they wait for their time and answer that.

use super::Served;
use crate::blocking::Over;
use crate::executor::Executor;
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
    if local > 0 {
        return Err(NO_FILE);
    }
    if replicas == 0 || is_in_exec(executor, index) {
        Over::NoFile.write(reply);
        return Ok(Served::Replied);
    }
    executor.block_for_time(index, command, deadline, Over::NoFile);
    Ok(Served::Blocked)
}

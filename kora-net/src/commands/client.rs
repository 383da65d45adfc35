//! CLIENT: what connections are, and what they are told to do.

use super::client_filter::{ClientType, KillFilter, ListFilter, Subject};
use super::client_line::{self, ClientLine};
use super::connection::is_plain_name;
use super::Served;
use crate::connection::{Connection, Entrance, ReplyMode};
use crate::executor::Executor;
use crate::resp::encode::{Output, RespSink};
use kora_engine::args::{integer, is, parse_i64};
use kora_engine::error::Error;
use kora_engine::reply::Reply;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

/// CLIENT ID.
pub(super) fn id(executor: &mut Executor, index: u32, reply: &mut dyn Reply) -> Result<Served, Error> {
    reply.integer(executor.connection(index).info.id as i64);
    Ok(Served::Replied)
}

/// CLIENT GETNAME.
pub(super) fn get_name(executor: &mut Executor, index: u32, reply: &mut dyn Reply) -> Result<Served, Error> {
    match &executor.connection(index).info.name[..] {
        [] => reply.null(),
        name => reply.bulk(name),
    }
    Ok(Served::Replied)
}

/// CLIENT SETNAME.
pub(super) fn set_name(
    executor: &mut Executor,
    index: u32,
    argv: &[&[u8]],
    reply: &mut dyn Reply,
) -> Result<Served, Error> {
    if !is_plain_name(argv[2]) {
        return Err(super::connection::NAME_CHARACTERS);
    }
    executor.connection(index).info.name = argv[2].to_vec();
    reply.ok();
    Ok(Served::Replied)
}

/// CLIENT SETINFO.
pub(super) fn set_info(
    executor: &mut Executor,
    index: u32,
    argv: &[&[u8]],
    reply: &mut dyn Reply,
) -> Result<Served, Error> {
    let info = &mut executor.connection(index).info;
    let field = match argv[2] {
        name if is(name, "lib-name") => &mut info.lib_name,
        name if is(name, "lib-ver") => &mut info.lib_ver,
        name => {
            let mut text = b"ERR Unrecognized option '".to_vec();
            text.extend_from_slice(name);
            text.push(b'\'');
            return Err(Error::owned(text));
        }
    };
    if !is_plain_name(argv[3]) {
        let mut text = b"ERR ".to_vec();
        text.extend_from_slice(argv[2]);
        text.extend_from_slice(b" cannot contain spaces, newlines or special characters.");
        return Err(Error::owned(text));
    }
    *field = argv[3].to_vec();
    reply.ok();
    Ok(Served::Replied)
}

/// CLIENT REPLY.
pub(super) fn reply(
    executor: &mut Executor,
    index: u32,
    argv: &[&[u8]],
    reply: &mut dyn Reply,
) -> Result<Served, Error> {
    let connection = executor.connection(index);
    match argv[2] {
        word if is(word, "on") => {
            connection.reply_mode = ReplyMode::On;
            reply.ok();
            Ok(Served::Replied)
        }
        word if is(word, "off") => {
            connection.reply_mode = ReplyMode::Off;
            Ok(Served::Silent)
        }
        word if is(word, "skip") => {
            if connection.reply_mode != ReplyMode::Off {
                connection.reply_mode = ReplyMode::SkipNext;
            }
            Ok(Served::Silent)
        }
        _ => Err(Error::SYNTAX),
    }
}

fn on_or_off(word: &[u8]) -> Result<bool, Error> {
    match word {
        _ if is(word, "on") => Ok(true),
        _ if is(word, "off") => Ok(false),
        _ => Err(Error::SYNTAX),
    }
}

/// CLIENT NO-EVICT.
pub(super) fn no_evict(
    executor: &mut Executor,
    index: u32,
    argv: &[&[u8]],
    reply: &mut dyn Reply,
) -> Result<Served, Error> {
    executor.connection(index).info.no_evict = on_or_off(argv[2])?;
    reply.ok();
    Ok(Served::Replied)
}

/// CLIENT NO-TOUCH.
pub(super) fn no_touch(
    executor: &mut Executor,
    index: u32,
    argv: &[&[u8]],
    reply: &mut dyn Reply,
) -> Result<Served, Error> {
    executor.connection(index).touch = !on_or_off(argv[2])?;
    reply.ok();
    Ok(Served::Replied)
}

/// CLIENT UNBLOCK.
pub(super) fn unblock(executor: &mut Executor, index: u32, argv: &[&[u8]]) -> Result<Served, Error> {
    let with_error = match argv {
        [_, _, _] => false,
        [_, _, _, reason] if is(reason, "timeout") => false,
        [_, _, _, reason] if is(reason, "error") => true,
        [_, _, _, _] => return Err(Error::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
        _ => return Err(super::subcommand_syntax(argv)),
    };
    let id = integer(argv[2])? as u64;
    let (hub, count) = (executor.hub.clone(), executor.count);
    let protocol = executor.connection(index).protocol;
    Ok(Served::Task(Box::pin(async move {
        let unblock = move |executor: &mut Executor| executor.unblock_client(id, with_error);
        let unblocked = hub.everywhere(count, unblock).await.contains(&true);
        let mut out = Output::default();
        RespSink::new(&mut out, protocol).integer(unblocked as i64);
        out
    })))
}

/// CLIENT PAUSE. A pause can be made longer and stricter by another one, not shorter or more lenient.
pub(super) fn pause(executor: &mut Executor, argv: &[&[u8]], reply: &mut dyn Reply) -> Result<Served, Error> {
    let writes_only = match argv {
        [_, _, _] => false,
        [_, _, _, mode] if is(mode, "write") => true,
        [_, _, _, mode] if is(mode, "all") => false,
        [_, _, _, _] => return Err(Error::new("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(super::subcommand_syntax(argv)),
    };
    let timeout = parse_i64(argv[2]).ok_or(Error::new("ERR timeout is not an integer or out of range"))?;
    let timeout = u64::try_from(timeout).map_err(|_| Error::new("ERR timeout is negative"))?;
    let until = executor.now + timeout;
    if i64::try_from(until).is_err() {
        return Err(Error::new("ERR timeout is out of range"));
    }
    let process = &executor.process;
    let running = process.paused_until_ms.load(Ordering::Relaxed) > executor.now;
    let strict = running && process.pause_writes_only.load(Ordering::Relaxed) == 0;
    process.pause_writes_only.store((writes_only && !strict) as u8, Ordering::Relaxed);
    if running {
        process.paused_until_ms.fetch_max(until, Ordering::Relaxed);
    } else if timeout > 0 {
        process.paused_until_ms.store(until, Ordering::Relaxed);
    }
    reply.ok();
    Ok(Served::Replied)
}

/// CLIENT UNPAUSE.
pub(super) fn unpause(executor: &mut Executor, index: u32) -> Result<Served, Error> {
    executor.process.paused_until_ms.store(0, Ordering::Relaxed);
    let (hub, count) = (executor.hub.clone(), executor.count);
    let protocol = executor.connection(index).protocol;
    Ok(Served::Task(Box::pin(async move {
        hub.everywhere(count, Executor::end_pause).await;
        let mut out = Output::default();
        RespSink::new(&mut out, protocol).ok();
        out
    })))
}

/// CLIENT INFO.
pub(super) fn info(executor: &mut Executor, index: u32, reply: &mut dyn Reply) -> Result<Served, Error> {
    let mut text = String::new();
    line_of(executor, executor.connection_ref(index)).write(&mut text);
    reply.verbatim("txt", text.as_bytes());
    Ok(Served::Replied)
}

/// CLIENT LIST.
pub(super) fn list(executor: &mut Executor, index: u32, argv: &[&[u8]]) -> Result<Served, Error> {
    let filter = ListFilter::parse(argv)?;
    let (hub, count) = (executor.hub.clone(), executor.count);
    let protocol = executor.connection(index).protocol;
    Ok(Served::Task(Box::pin(async move {
        let lines = move |executor: &mut Executor| {
            let listed = executor.connections().filter(|(_, c)| filter.matches(subject(executor, c)));
            listed.map(|(_, connection)| line_of(executor, connection)).collect::<Vec<_>>()
        };
        let lines = hub.everywhere(count, lines).await.concat();
        let mut out = Output::default();
        RespSink::new(&mut out, protocol).verbatim("txt", client_line::write_all(lines).as_bytes());
        out
    })))
}

/// CLIENT KILL. A client that closes itself gets its answer first.
pub(super) fn kill(executor: &mut Executor, index: u32, argv: &[&[u8]]) -> Result<Served, Error> {
    let filter = KillFilter::parse(argv)?;
    let old_form = filter.old_form;
    let (hub, count) = (executor.hub.clone(), executor.count);
    let connection = executor.connection(index);
    let (protocol, me) = (connection.protocol, connection.info.id);
    Ok(Served::Task(Box::pin(async move {
        let kill = move |executor: &mut Executor| {
            let chosen: Vec<u32> = executor
                .connections()
                .filter(|(_, c)| !c.closing && filter.matches(subject(executor, c), me))
                .map(|(index, _)| index)
                .collect();
            for &index in &chosen {
                if executor.connection(index).info.id == me {
                    executor.connection(index).closing = true;
                } else {
                    executor.drop_connection(index);
                }
            }
            chosen.len()
        };
        let killed: usize = hub.everywhere(count, kill).await.into_iter().sum();
        let mut out = Output::default();
        let mut reply = RespSink::new(&mut out, protocol);
        match (old_form, killed) {
            (false, _) => reply.integer(killed as i64),
            (true, 0) => reply.error(b"ERR No such client"),
            (true, _) => reply.ok(),
        }
        out
    })))
}

fn seconds_since(executor: &Executor, moment_ms: u64) -> u64 {
    executor.now.saturating_sub(moment_ms) / 1000
}

fn subject<'a>(executor: &Executor, connection: &'a Connection) -> Subject<'a> {
    let info = &connection.info;
    Subject {
        id: info.id,
        addr: &info.addr,
        laddr: &info.laddr,
        kind: ClientType::Normal,
        age: seconds_since(executor, info.created_ms),
    }
}

/// What CLIENT LIST prints of a connection.
fn line_of(executor: &Executor, connection: &Connection) -> ClientLine {
    let info = &connection.info;
    let input = connection.partial.as_ref();
    let outputs = [&connection.out, &connection.tail];
    let sending = connection.sending.as_ref().map(|sending| &sending.output);
    let outputs = || outputs.into_iter().chain(sending);
    let queue = connection.queue.as_ref().map(|queue| (queue.len(), queue.heap_bytes())).or(info.executing);
    let watching = connection.watching.as_ref();
    ClientLine {
        id: info.id,
        addr: info.addr.clone(),
        laddr: info.laddr.clone(),
        fd: connection.socket.as_raw_fd(),
        name: info.name.clone(),
        age: seconds_since(executor, info.created_ms),
        idle: seconds_since(executor, connection.last_active_ms),
        unix: connection.entrance == Entrance::Unix,
        closing: connection.closing,
        blocked: connection.blocked.as_ref().is_some_and(|block| block.is_waiting()),
        no_evict: info.no_evict,
        no_touch: !connection.touch,
        db: connection.db,
        query_len: input.map_or(0, |partial| partial.len()),
        query_free: input.map_or(0, |partial| partial.capacity() - partial.len()),
        output_len: connection.output_len(),
        output_capacity: outputs().map(|output| output.buf.capacity()).sum(),
        output_values: outputs().map(|output| output.shared.len()).sum(),
        sending: sending.is_some(),
        command: connection.last_command.map(|id| &*executor.registry.by_id(id).full_name),
        resp: connection.protocol as u8,
        lib_name: info.lib_name.clone(),
        lib_ver: info.lib_ver.clone(),
        executor: executor.id,
        net_in: info.net_in,
        net_out: info.net_out,
        commands: info.commands,
        queued: queue.map(|(count, _)| count),
        queue_memory: queue.map_or(0, |(_, bytes)| bytes),
        watched: watching.map_or(0, |watching| watching.count()),
        watched_changed: watching.is_some_and(|watching| watching.is_changed()),
        base_memory: connection_memory(connection),
    }
}

/// Memory of a connection without its buffers.
fn connection_memory(connection: &Connection) -> usize {
    let info = &connection.info;
    let watching = connection.watching.as_ref().map_or(0, |watching| watching.heap_bytes());
    let texts = [&info.name, &info.lib_name, &info.lib_ver].map(Vec::capacity).iter().sum::<usize>();
    size_of_val(connection)
        + size_of_val(&**info)
        + texts
        + info.addr.capacity()
        + info.laddr.capacity()
        + watching
}

/// Memory of a connection, buffers included.
pub(super) fn memory(connection: &Connection) -> usize {
    let input = connection.partial.as_ref().map_or(0, |partial| partial.capacity());
    let sending = connection.sending.as_ref().map_or(0, |sending| sending.output.buf.capacity());
    connection_memory(connection)
        + connection.queue.as_ref().map_or(0, |queue| queue.heap_bytes())
        + input
        + connection.out.buf.capacity()
        + connection.tail.buf.capacity()
        + sending
}

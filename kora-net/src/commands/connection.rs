//! PING, ECHO, AUTH, HELLO, SELECT, QUIT, RESET, TIME and RANDOMKEY.

use super::Served;
use crate::connection::ReplyMode;
use crate::coordinate::Hub;
use crate::executor::Executor;
use crate::options::Settings;
use crate::resp::encode::{Output, RespSink};
use kora_engine::args::{integer, is, parse_i64};
use kora_engine::error::Error;
use kora_engine::reply::{Protocol, Reply};

const WRONG_PASSWORD: Error = Error::new("WRONGPASS invalid username-password pair or user is disabled.");
const NO_PASSWORD_SET: Error = Error::new(
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
);
pub(super) const NAME_CHARACTERS: Error =
    Error::new("ERR Client names cannot contain spaces, newlines or special characters.");

pub(crate) fn ping(argv: &[&[u8]], reply: &mut dyn Reply) -> Result<Served, Error> {
    match argv {
        [_] => reply.simple("PONG"),
        [_, message] => reply.bulk(message),
        _ => return Err(Error::wrong_arity("ping")),
    }
    Ok(Served::Replied)
}

pub(crate) fn echo(argv: &[&[u8]], reply: &mut dyn Reply) -> Result<Served, Error> {
    reply.bulk(argv[1]);
    Ok(Served::Replied)
}

/// Compares in a time that does not depend on where the texts differ.
fn same_secret(a: &[u8], b: &[u8]) -> bool {
    let mut difference = a.len() ^ b.len();
    for (i, byte) in a.iter().enumerate() {
        difference |= (byte ^ b.get(i % b.len().max(1)).copied().unwrap_or(0)) as usize;
    }
    difference == 0
}

/// Whether this name and password open the door.
fn opens(settings: &Settings, user: &[u8], password: &[u8]) -> bool {
    user == b"default" && settings.password.as_ref().is_none_or(|right| same_secret(password, right))
}

pub(super) fn auth(
    executor: &mut Executor,
    index: u32,
    argv: &[&[u8]],
    reply: &mut dyn Reply,
) -> Result<Served, Error> {
    let (user, password): (&[u8], &[u8]) = match argv {
        [_, password] => {
            if executor.settings.password.is_none() {
                return Err(NO_PASSWORD_SET);
            }
            (b"default", password)
        }
        [_, user, password] => (user, password),
        _ => return Err(Error::SYNTAX),
    };
    if !opens(&executor.settings, user, password) {
        return Err(WRONG_PASSWORD);
    }
    executor.connection(index).authenticated = true;
    reply.ok();
    Ok(Served::Replied)
}

/// A name that can stand in one word of CLIENT LIST.
pub(super) fn is_plain_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

pub(super) fn hello(
    executor: &mut Executor,
    index: u32,
    argv: &[&[u8]],
    reply: &mut dyn Reply,
) -> Result<Served, Error> {
    let mut protocol = executor.connection(index).protocol;
    if let Some(version) = argv.get(1) {
        protocol = match parse_i64(version) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(Error::new("NOPROTO unsupported protocol version")),
            None => return Err(Error::new("ERR Protocol version is not an integer or out of range")),
        };
    }
    let mut name = None;
    let mut credentials = None;
    let mut at = 2;
    while at < argv.len() {
        let left = argv.len() - at - 1;
        if is(argv[at], "auth") && left >= 2 {
            credentials = Some((argv[at + 1], argv[at + 2]));
            at += 3;
        } else if is(argv[at], "setname") && left >= 1 {
            if !is_plain_name(argv[at + 1]) {
                return Err(NAME_CHARACTERS);
            }
            name = Some(argv[at + 1]);
            at += 2;
        } else {
            let mut text = b"ERR Syntax error in HELLO option '".to_vec();
            text.extend_from_slice(argv[at]);
            text.push(b'\'');
            return Err(Error::owned(text));
        }
    }
    if let Some((user, password)) = credentials {
        if !opens(&executor.settings, user, password) {
            return Err(WRONG_PASSWORD);
        }
        executor.connection(index).authenticated = true;
    }
    let connection = executor.connection(index);
    if !connection.authenticated {
        return Err(Error::new(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = name {
        connection.info.name = name.to_vec();
    }
    connection.protocol = protocol;
    let id = connection.info.id;
    let cluster = executor.process.options.cluster_ports.is_some();
    // The reply is in the new protocol already.
    let mut out = Output::default();
    let mut sink = RespSink::new(&mut out, protocol);
    sink.map(7);
    sink.bulk(b"server");
    sink.bulk(b"redis");
    sink.bulk(b"version");
    sink.bulk(super::REDIS_VERSION.as_bytes());
    sink.bulk(b"proto");
    sink.integer(protocol as i64);
    sink.bulk(b"id");
    sink.integer(id as i64);
    sink.bulk(b"mode");
    sink.bulk(if cluster { b"cluster" } else { b"standalone" });
    sink.bulk(b"role");
    sink.bulk(b"master");
    sink.bulk(b"modules");
    sink.array(0);
    reply.raw(&out.buf);
    Ok(Served::Replied)
}

pub(super) fn select(
    executor: &mut Executor,
    index: u32,
    argv: &[&[u8]],
    reply: &mut dyn Reply,
) -> Result<Served, Error> {
    let number = i32::try_from(integer(argv[1])?).map_err(|_| {
        Error::new("ERR value is out of range, value must between -2147483648 and 2147483647")
    })?;
    let databases = executor.process.options.databases;
    let db = u16::try_from(number).ok().filter(|db| *db < databases).ok_or(Error::DB_INDEX)?;
    executor.connection(index).db = db;
    reply.ok();
    Ok(Served::Replied)
}

pub(super) fn quit(executor: &mut Executor, index: u32, reply: &mut dyn Reply) -> Result<Served, Error> {
    reply.ok();
    executor.connection(index).closing = true;
    Ok(Served::Replied)
}

pub(super) fn reset(executor: &mut Executor, index: u32, reply: &mut dyn Reply) -> Result<Served, Error> {
    executor.leave_multi(index);
    let needs_password = executor.settings.password.is_some();
    let connection = executor.connection(index);
    connection.protocol = Protocol::Resp2;
    connection.db = 0;
    connection.authenticated = !needs_password;
    connection.touch = true;
    connection.reply_mode = ReplyMode::On;
    connection.info.name.clear();
    connection.info.no_evict = false;
    reply.simple("RESET");
    Ok(Served::Replied)
}

pub(crate) fn time(reply: &mut dyn Reply) -> Result<Served, Error> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    reply.array(2);
    reply.bulk_int(now.as_secs() as i64);
    reply.bulk_int(now.subsec_micros() as i64);
    Ok(Served::Replied)
}

/// RANDOMKEY: a shard is drawn with the weight of its number of keys, then a key of it.
pub(super) fn random_key(executor: &mut Executor, index: u32) -> Result<Served, Error> {
    let (protocol, view) = executor.view_of(index);
    let (hub, shards): (Hub, u16) = (executor.hub.clone(), executor.count);
    Ok(Served::Task(Box::pin(async move {
        let sizes = hub.everywhere(shards, move |executor| executor.shard.keys.len(view.db) as u64).await;
        let mut found = None;
        // A shard that has nothing but expired keys is left out and the draw repeated.
        let mut sizes = sizes;
        while found.is_none() && sizes.iter().any(|&n| n > 0) {
            let mut draw = fastrand::u64(0..sizes.iter().sum());
            let shard = sizes
                .iter()
                .position(|&n| match draw.checked_sub(n) {
                    None => true,
                    Some(rest) => {
                        draw = rest;
                        false
                    }
                })
                .expect("the draw is below the sum");
            found = hub.call(shard as u16, move |executor| executor.shard.random_key(view)).await;
            sizes[shard] = 0;
        }
        let mut out = Output::default();
        let mut reply = RespSink::new(&mut out, protocol);
        match found {
            Some(key) => reply.bulk(&key),
            None => reply.null(),
        }
        out
    })))
}

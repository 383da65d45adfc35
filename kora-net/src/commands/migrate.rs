//! MIGRATE: keys to another server, by what DUMP says of them.
//!
//! The keys are held from their dump to their removal, so that nobody changes them in between: whoever wants one of them waits, everybody else goes on. They are dumped in slices. A
//! thread talks to the other server; connections are kept for a while, as MIGRATE comes in rows.

use super::Served;
use crate::coordinate::{Hub, Task};
use crate::executor::Executor;
use crate::process::{lock, Process};
use crate::resp::encode::{Output, RespSink};
use crate::transaction::footprint::fingerprint;
use crate::transaction::locks::{Mode, Wants};
use crate::transaction::{self, next_turn, Part};
use kora_engine::args::{integer, is};
use kora_engine::error::Error;
use kora_engine::keyspace::View;
use kora_engine::rdb::Dumper;
use kora_engine::reply::Reply;
use kora_engine::slot::Slot;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// When no time-out, or none that makes sense, is given.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How long a connection is kept.
const KEPT: Duration = Duration::from_secs(10);

/// Connections that are kept.
const KEPT_MAX: usize = 64;

/// Elements that are dumped between two turns.
const ELEMENTS: usize = 1024;

/// Bytes that are written at once.
const CHUNK: usize = 64 * 1024;

/// Longest line that the other server may answer.
const LINE_MAX: u64 = 64 * 1024;

/// What was being done when a connection broke.
const WRITING: &str = "writing";
const READING: &str = "reading";

/// What is asked for.
struct Request {
    address: (String, u16),
    keys: Vec<Vec<u8>>,
    db: i64,
    timeout: Duration,
    copy: bool,
    replace: bool,
    /// AUTH or AUTH2: what comes behind the name of the command.
    auth: Vec<Vec<u8>>,
}

impl Request {
    fn parse(argv: &[&[u8]]) -> Result<Request, Error> {
        const KEY: Error = Error::new(
            "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
        );
        let (mut copy, mut replace, mut auth) = (false, false, Vec::new());
        let mut keys = vec![argv[3].to_vec()];
        let mut at = 6;
        while at < argv.len() {
            let rest = &argv[at + 1..];
            let take = |count: usize| rest.get(..count).ok_or(Error::SYNTAX);
            if is(argv[at], "copy") {
                copy = true;
            } else if is(argv[at], "replace") {
                replace = true;
            } else if is(argv[at], "auth") {
                auth = take(1)?.iter().map(|word| word.to_vec()).collect();
            } else if is(argv[at], "auth2") {
                auth = take(2)?.iter().map(|word| word.to_vec()).collect();
            } else if is(argv[at], "keys") {
                if !argv[3].is_empty() {
                    return Err(KEY);
                }
                keys = rest.iter().map(|key| key.to_vec()).collect();
                break;
            } else {
                return Err(Error::SYNTAX);
            }
            at += 1;
            if is(argv[at - 1], "auth") || is(argv[at - 1], "auth2") {
                at += auth.len();
            }
        }
        let timeout = integer(argv[5])?;
        let db = integer(argv[4])?;
        let timeout = u64::try_from(timeout).ok().filter(|&ms| ms > 0).map_or(TIMEOUT, Duration::from_millis);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // What is no port cannot be connected to.
        let port = text(argv[2]).parse().unwrap_or(0);
        Ok(Request { address: (text(argv[1]), port), keys, db, timeout, copy, replace, auth })
    }
}

/// MIGRATE host port key destination-db timeout [COPY] [REPLACE] [AUTH password | AUTH2 username password] [KEYS key ...]
pub(super) fn run(executor: &mut Executor, index: u32, argv: &[&[u8]]) -> Result<Served, Error> {
    const IN_EXEC: Error = Error::new("ERR MIGRATE is not allowed in transactions");
    let request = Request::parse(argv)?;
    if executor.connection_ref(index).info.executing.is_some() {
        return Err(IN_EXEC);
    }
    let (hub, home, shards) = (executor.hub.clone(), executor.id, executor.count);
    let connection = executor.connection_ref(index);
    let (db, protocol) = (connection.db, connection.protocol);
    let mode = if request.copy { Mode::Shared } else { Mode::Exclusive };
    let mut parts: Vec<Part> = Vec::new();
    for shard in 0..shards {
        let own = request.keys.iter().filter(|key| Slot::of(key).shard(shards) == shard);
        let mut wanted = own.map(|key| (fingerprint(&executor.shard.keys, key), mode)).peekable();
        if wanted.peek().is_some() {
            parts.push(Part { shard, wants: Wants::keys(wanted) });
        }
    }
    let task: Task = Box::pin(async move {
        let held = transaction::acquire(&hub, &parts).await;
        let mut out = Output::default();
        migrate(&hub, (home, shards), db, request, &mut RespSink::new(&mut out, protocol)).await;
        held.release(&hub);
        out
    });
    Ok(Served::Task(task))
}

/// Moves keys that are held.
async fn migrate(hub: &Hub, (home, shards): (u16, u16), db: u16, request: Request, reply: &mut dyn Reply) {
    let copy = request.copy;
    let mut parcels = Vec::new();
    for key in &request.keys {
        let owner = Slot::of(key).shard(shards);
        parcels.extend(dump(hub, (home, owner), db, key.clone()).await);
    }
    if parcels.is_empty() {
        return reply.simple("NOKEY");
    }
    let failed = Outcome { moved: Vec::new(), end: End::Unreachable };
    let outcome = hub.call_later(home, move |executor: &mut Executor, answer| {
        let work = move |process: &Process| deliver(process, &request, parcels);
        executor.send_on_errand(answer, work, failed)
    });
    let Outcome { moved, end } = outcome.await;
    if !copy {
        let gone = moved.into_iter().map(|key| {
            let owner = Slot::of(&key).shard(shards);
            hub.call(owner, move |executor: &mut Executor| {
                let view = View { db, now: executor.now, touch: false };
                let keys = &mut executor.shard.keys;
                keys.remove(view, &keys.key(&key))
            })
        });
        // All are on their way before the first is awaited.
        for removed in gone.collect::<Vec<_>>() {
            removed.await;
        }
    }
    match end {
        End::Delivered => reply.ok(),
        End::Unreachable => reply.error(b"IOERR error or timeout connecting to the client"),
        End::Broken(doing) => {
            reply.error(format!("IOERR error or timeout {doing} to target instance").as_bytes());
        }
        End::Refused(text) => {
            reply.error(format!("ERR Target instance replied with error: {text}").as_bytes());
        }
    }
}

/// A key on its way.
struct Parcel {
    key: Vec<u8>,
    /// Milliseconds that it has to live; 0 for ever.
    ttl: u64,
    payload: Vec<u8>,
}

/// What is to be sent of a key that is held; none when there is no such key.
async fn dump(hub: &Hub, (home, owner): (u16, u16), db: u16, key: Vec<u8>) -> Option<Parcel> {
    let (mut dumper, mut name) = (None, key);
    loop {
        let step = hub.call(owner, move |executor: &mut Executor| {
            let view = View { db, now: executor.now, touch: false };
            let keys = &mut executor.shard.keys;
            // It may have expired or been evicted: neither asks who holds it.
            let entry = keys.peek(view, &keys.key(&name))?;
            let ttl = entry.expire_at().map_or(0, |at| at.saturating_sub(view.now).max(1));
            let value = entry.value();
            let mut dumper: Dumper = dumper.unwrap_or_else(|| Dumper::begin(value));
            let done = dumper.advance(value, ELEMENTS);
            Some((name, ttl, dumper, done))
        });
        let (key, ttl, unfinished, done) = step.await?;
        if done {
            return Some(Parcel { key, ttl, payload: unfinished.close() });
        }
        (name, dumper) = (key, Some(unfinished));
        next_turn::<Executor>(hub, home).await;
    }
}

/// How a delivery went.
struct Outcome {
    /// The keys that are there now.
    moved: Vec<Vec<u8>>,
    end: End,
}

enum End {
    Delivered,
    /// There is no connection.
    Unreachable,
    /// The connection is gone, or was silent for too long, while something was done.
    Broken(&'static str),
    /// The other server has answered with an error, at least once. The first one.
    Refused(String),
}

/// Connections to other servers that nobody uses.
#[derive(Default)]
pub(crate) struct Connections(Mutex<Vec<Connection>>);

/// A connection to another server.
struct Connection {
    address: (String, u16),
    stream: BufReader<TcpStream>,
    /// The database that was selected last, if that is known.
    db: Option<i64>,
    since: Instant,
}

impl Connections {
    fn take(&self, address: &(String, u16)) -> Option<Connection> {
        let mut kept = lock(&self.0);
        kept.retain(|connection| connection.since.elapsed() < KEPT);
        let at = kept.iter().position(|connection| connection.address == *address)?;
        Some(kept.swap_remove(at))
    }

    fn keep(&self, connection: Connection) {
        let mut kept = lock(&self.0);
        if kept.len() < KEPT_MAX {
            kept.push(Connection { since: Instant::now(), ..connection });
        }
    }
}

/// Delivers the parcels, in a thread.
fn deliver(process: &Process, request: &Request, parcels: Vec<Parcel>) -> Outcome {
    if let Some(kept) = process.migrations.take(&request.address) {
        // The other side may have closed it meanwhile: then nothing was taken, and a new one may do.
        match attempt(process, request, &parcels, kept) {
            Outcome { moved, end: End::Broken(_) } if moved.is_empty() => {}
            outcome => return outcome,
        }
    }
    match connect(request) {
        Ok(connection) => attempt(process, request, &parcels, connection),
        // As Redis says it, which finds out that nobody listens when it writes.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Outcome { moved: Vec::new(), end: End::Broken(WRITING) }
        }
        Err(_) => Outcome { moved: Vec::new(), end: End::Unreachable },
    }
}

fn connect(request: &Request) -> io::Result<Connection> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (request.address.0.as_str(), request.address.1).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, request.timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                let (address, stream) = (request.address.clone(), BufReader::new(stream));
                return Ok(Connection { address, stream, db: None, since: Instant::now() });
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn attempt(process: &Process, request: &Request, parcels: &[Parcel], mut connection: Connection) -> Outcome {
    let mut moved = Vec::new();
    let end = match converse(request, parcels, &mut connection, &mut moved) {
        Ok(refusal) => {
            if refusal.is_some() {
                connection.db = None;
            }
            process.migrations.keep(connection);
            refusal.map_or(End::Delivered, End::Refused)
        }
        Err(doing) => End::Broken(doing),
    };
    Outcome { moved, end }
}

/// Sends all commands, then reads all answers. Returns the first error among them.
fn converse(
    request: &Request,
    parcels: &[Parcel],
    connection: &mut Connection,
    moved: &mut Vec<Vec<u8>>,
) -> Result<Option<String>, &'static str> {
    let stream = connection.stream.get_ref();
    stream.set_read_timeout(Some(request.timeout)).map_err(|_| WRITING)?;
    stream.set_write_timeout(Some(request.timeout)).map_err(|_| WRITING)?;
    let mut out = Vec::new();
    if !request.auth.is_empty() {
        put_command(&mut out, b"AUTH", &request.auth.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }
    let selects = connection.db != Some(request.db);
    if selects {
        put_command(&mut out, b"SELECT", &[request.db.to_string().as_bytes()]);
    }
    for Parcel { key, ttl, payload } in parcels {
        let ttl = ttl.to_string();
        let mut words = vec![key, ttl.as_bytes(), payload];
        if request.replace {
            words.push(b"REPLACE");
        }
        put_command(&mut out, b"RESTORE", &words);
    }
    for chunk in out.chunks(CHUNK) {
        connection.stream.get_mut().write_all(chunk).map_err(|_| WRITING)?;
    }
    let mut refusal = None;
    for _ in 0..usize::from(!request.auth.is_empty()) + usize::from(selects) {
        refusal = refusal.or(read_line(&mut connection.stream).map_err(|_| READING)?);
    }
    let is_in = refusal.is_none();
    connection.db = is_in.then_some(request.db);
    for Parcel { key, .. } in parcels {
        match read_line(&mut connection.stream).map_err(|_| READING)? {
            // Where it did not come in, or came into another database, it is not to go here.
            None if is_in => moved.push(key.clone()),
            None => {}
            Some(error) => refusal = refusal.or(Some(error)),
        }
    }
    Ok(refusal)
}

fn put_command(out: &mut Vec<u8>, name: &[u8], words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len() + 1).as_bytes());
    for word in std::iter::once(&name).chain(words) {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// Reads an answer of one line: the error that it is, or none.
fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    io::Read::take(&mut *stream, LINE_MAX).read_until(b'\n', &mut line)?;
    let text = line.strip_suffix(b"\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    match text.split_first() {
        Some((b'-', error)) => Ok(Some(String::from_utf8_lossy(error).into_owned())),
        Some((b'+', _)) => Ok(None),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, Error> {
        let argv: Vec<&[u8]> =
            line.split(' ').map(|word| if word == "-" { "" } else { word }.as_bytes()).collect();
        Request::parse(&argv)
    }

    #[test]
    fn options_are_read_as_redis_reads_them() {
        let request = parse("migrate h 7000 k 3 500 copy replace auth p").unwrap();
        assert_eq!((request.address, request.db), (("h".to_owned(), 7000), 3));
        assert_eq!(
            (request.copy, request.replace, request.timeout),
            (true, true, Duration::from_millis(500))
        );
        assert_eq!((request.keys, request.auth), (vec![b"k".to_vec()], vec![b"p".to_vec()]));
        let request = parse("migrate h 7000 - 0 0 auth2 u p keys a b copy").unwrap();
        assert_eq!(request.keys, [b"a".to_vec(), b"b".to_vec(), b"copy".to_vec()]);
        assert_eq!((request.auth.len(), request.timeout, request.copy), (2, TIMEOUT, false));
        assert!(parse("migrate h 7000 k 0 0 keys a").is_err());
        for wrong in ["foo", "auth", "auth2 u", "copy foo"] {
            assert_eq!(parse(&format!("migrate h 7000 k 0 0 {wrong}")).err(), Some(Error::SYNTAX), "{wrong}");
        }
        assert_eq!(parse("migrate h 7000 k x 0").err(), Some(Error::NOT_INTEGER));
        assert_eq!(parse("migrate h 7000 k 0 x").err(), Some(Error::NOT_INTEGER));
    }
}

//! XREAD and XREADGROUP.
//!
//! Both are refused as a whole before anything is read; then each stream is read in turn. The reply has only the streams that have
//! something, so what each has is found out first.

use super::{answer, id};
use crate::args::{integer, is, parse_i64};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::keyspace::Editor;
use crate::reply::{Protocol, Reply};
use crate::value::stream::{Body, Stream, StreamId};

const SYMBOLS: [&str; 2] = ["an ID, '+', or '$' must be specified.", "an ID or '>' must be specified."];
const GROUP_WITH_XREAD: Error =
    Error::new("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.");
const NOACK_WITH_XREAD: Error =
    Error::new("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.");
const NO_GROUP_OPTION: Error = Error::new("ERR Missing GROUP option for XREADGROUP");
const NEW_WITH_XREAD: Error = Error::new(
    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
);
const END_WITH_GROUP: Error = Error::new(
    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
);
const LAST_WITH_GROUP: Error = Error::new(
    "ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The + ID would just return an empty result set.",
);
const TIMEOUT_NOT_INTEGER: Error = Error::new("ERR timeout is not an integer or out of range");
const TIMEOUT_NEGATIVE: Error = Error::new("ERR timeout is negative");
const TIMEOUT_OUT_OF_RANGE: Error = Error::new("ERR timeout is out of range");

/// Group and consumer of XREADGROUP.
#[derive(Clone, Copy)]
struct Reader<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
}

struct Options<'a> {
    /// Entries per stream.
    count: usize,
    no_ack: bool,
    reader: Option<Reader<'a>>,
    keys: &'a [&'a [u8]],
    ids: &'a [&'a [u8]],
}

impl<'a> Options<'a> {
    fn parse(argv: &'a [&'a [u8]], with_group: bool, name: &str, now: u64) -> Result<Options<'a>, Error> {
        let mut options = Options { count: usize::MAX, no_ack: false, reader: None, keys: &[], ids: &[] };
        let mut at = 1;
        let mut streams = None;
        while at < argv.len() {
            let word = argv[at];
            let more = argv.len() - 1 - at;
            if is(word, "block") && more > 0 {
                // Blocking commands do not block yet: the time is checked, and a reader that finds nothing is answered as if it had
                // passed.
                at += 1;
                check_timeout(argv[at], now)?;
            } else if is(word, "count") && more > 0 {
                at += 1;
                options.count = match usize::try_from(integer(argv[at])?) {
                    Err(_) | Ok(0) => usize::MAX,
                    Ok(count) => count,
                };
            } else if is(word, "streams") && more > 0 {
                let rest = &argv[at + 1..];
                if !rest.len().is_multiple_of(2) {
                    let symbols = SYMBOLS[usize::from(with_group)];
                    return Err(Error::owned(format!(
                        "ERR Unbalanced '{name}' list of streams: for each stream key {symbols}"
                    )));
                }
                streams = Some(rest.split_at(rest.len() / 2));
                break;
            } else if is(word, "group") && more >= 2 {
                if !with_group {
                    return Err(GROUP_WITH_XREAD);
                }
                options.reader = Some(Reader { group: argv[at + 1], consumer: argv[at + 2] });
                at += 2;
            } else if is(word, "noack") {
                if !with_group {
                    return Err(NOACK_WITH_XREAD);
                }
                options.no_ack = true;
            } else {
                return Err(Error::SYNTAX);
            }
            at += 1;
        }
        (options.keys, options.ids) = streams.ok_or(Error::SYNTAX)?;
        if with_group && options.reader.is_none() {
            return Err(NO_GROUP_OPTION);
        }
        Ok(options)
    }
}

fn check_timeout(text: &[u8], now: u64) -> Result<(), Error> {
    let timeout = parse_i64(text).ok_or(TIMEOUT_NOT_INTEGER)?;
    if timeout < 0 {
        return Err(TIMEOUT_NEGATIVE);
    }
    if timeout > 0 && timeout.checked_add_unsigned(now).is_none() {
        return Err(TIMEOUT_OUT_OF_RANGE);
    }
    Ok(())
}

/// The head of the reply: so many streams.
fn streams(count: usize, reply: &mut dyn Reply) {
    match (count, reply.protocol()) {
        (0, _) => reply.null_array(),
        (_, Protocol::Resp2) => reply.array(count),
        (_, Protocol::Resp3) => reply.map(count),
    }
}

/// The head of one stream: its name.
fn stream_name(name: &[u8], reply: &mut dyn Reply) {
    if reply.protocol() == Protocol::Resp2 {
        reply.array(2);
    }
    reply.bulk(name);
}

/// XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]
pub(super) fn xread(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let options = Options::parse(exec.argv, false, &exec.command.full_name, exec.now())?;
    let keys = &mut exec.shard.keys;
    let mut after = Vec::with_capacity(options.ids.len());
    for (name, &text) in options.keys.iter().zip(options.ids) {
        let key = keys.key(name);
        let stream = keys.look::<Stream>(exec.view, &key)?;
        let end = stream.as_ref().map_or(StreamId::MIN, |stream| stream.last_id());
        let last = stream.and_then(|stream| stream.last_live());
        after.push(match text {
            b"$" => end,
            b"+" => last.and_then(StreamId::previous).unwrap_or(end),
            b">" => return Err(NEW_WITH_XREAD),
            text => id::strict(text, 0)?,
        });
    }
    let mut found = Vec::new();
    for (name, &after) in options.keys.iter().zip(&after) {
        let key = keys.key(name);
        let Some(stream) = keys.read::<Stream>(exec.view, &key)? else { continue };
        let Some(start) = after.next() else { continue };
        let entries = stream.count(start, StreamId::MAX, options.count);
        if entries > 0 {
            found.push((name, key, start, entries));
        }
    }
    streams(found.len(), reply);
    for (name, key, start, entries) in found {
        let Some(stream) = keys.look::<Stream>(exec.view, &key)? else { continue };
        stream_name(name, reply);
        reply.array(entries);
        stream.range(start, StreamId::MAX).take(entries).for_each(|entry| answer::entry(entry, reply));
    }
    DONE
}

/// What XREADGROUP reads of a stream.
#[derive(Clone, Copy)]
enum Wanted {
    /// What no consumer of the group has been given yet: `>`.
    New,
    /// What this consumer has been given after this id and has not acknowledged.
    History(StreamId),
}

/// XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]
pub(super) fn xreadgroup(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let now = exec.now();
    let options = Options::parse(exec.argv, true, &exec.command.full_name, now)?;
    let reader = options.reader.ok_or(NO_GROUP_OPTION)?;
    let keys = &mut exec.shard.keys;
    let mut wanted = Vec::with_capacity(options.ids.len());
    for (name, &text) in options.keys.iter().zip(options.ids) {
        let key = keys.key(name);
        let stream = keys.look::<Stream>(exec.view, &key)?;
        if stream.is_none_or(|stream| stream.group(reader.group).is_none()) {
            return Err(answer::no_group_to_read(name, reader.group));
        }
        wanted.push(match text {
            b"$" => return Err(END_WITH_GROUP),
            b"+" => return Err(LAST_WITH_GROUP),
            b">" => Wanted::New,
            text => match id::strict(text, 0)? {
                // Redis has no other way to say "new".
                StreamId::MAX => Wanted::New,
                after => Wanted::History(after),
            },
        });
    }
    let mut served: Vec<Served<'_>> = Vec::new();
    for (&name, &wanted) in options.keys.iter().zip(&wanted) {
        let key = keys.key(name);
        // Counts the hit, as the lookup of a reading command does.
        keys.read::<Stream>(exec.view, &key)?;
        let Some(mut stream) = keys.edit::<Stream>(exec.view, &key)? else { continue };
        stream.consumer(reader.group, reader.consumer, now);
        let before = served.iter().rev().find(|one| one.name == name && one.end.is_some());
        let group_end = stream.group(reader.group).map(|group| group.last);
        let reached = before.and_then(|before| before.end).or(group_end).unwrap_or_default();
        let serve = match wanted {
            Wanted::History(_) => true,
            Wanted::New => stream.last_live().is_some_and(|last| last > reached),
        };
        // Only what becomes pending counts as activity, as in Redis.
        let new = matches!(wanted, Wanted::New);
        stream.seen(reader.group, reader.consumer, now, serve && new && !options.no_ack);
        if serve {
            let again = options.keys.iter().filter(|&&other| other == name).count() > 1;
            let end = (new && again).then(|| end_of_read(&stream, reached, options.count));
            served.push(Served { name, wanted, end });
        }
    }
    streams(served.len(), reply);
    for Served { name, wanted, .. } in served {
        let key = keys.key(name);
        let Some(mut stream) = keys.edit::<Stream>(exec.view, &key)? else { continue };
        stream_name(name, reply);
        match wanted {
            Wanted::New => deliver_new(&mut stream, reader, options.count, options.no_ack, now, reply),
            Wanted::History(after) => deliver_again(&mut stream, reader, after, options.count, now, reply),
        }
    }
    DONE
}

/// A stream that XREADGROUP answers something of.
struct Served<'a> {
    name: &'a [u8],
    wanted: Wanted,
    /// Where the group stands after a read of new entries, when the stream is named again.
    end: Option<StreamId>,
}

/// The last of so many entries after an id.
fn end_of_read(stream: &Body, after: StreamId, count: usize) -> StreamId {
    let start = after.next().unwrap_or(StreamId::MAX);
    stream.range(start, StreamId::MAX).take(count).last().map_or(after, |entry| entry.id)
}

/// Answers entries that the group has not read yet, and makes them pending with the consumer.
fn deliver_new(
    stream: &mut Editor<'_, Stream>,
    reader: Reader<'_>,
    count: usize,
    no_ack: bool,
    now: u64,
    reply: &mut dyn Reply,
) {
    let Some(group) = stream.group(reader.group) else { return };
    let (mut last, mut read) = (group.last, group.entries_read);
    let start = last.next().unwrap_or(StreamId::MAX);
    let entries = stream.count(start, StreamId::MAX, count);
    let mut ids = Vec::with_capacity(entries);
    reply.array(entries);
    for entry in stream.range(start, StreamId::MAX).take(entries) {
        answer::entry(entry, reply);
        read = stream.entries_read_after(last, read, entry.id);
        last = entry.id;
        ids.push(entry.id);
    }
    stream.set_group(reader.group, last, read);
    if !no_ack {
        for id in ids {
            stream.deliver(reader.group, reader.consumer, id, now, 1);
        }
    }
}

/// Answers entries that are pending with the consumer already.
fn deliver_again(
    stream: &mut Editor<'_, Stream>,
    reader: Reader<'_>,
    after: StreamId,
    count: usize,
    now: u64,
    reply: &mut dyn Reply,
) {
    let Some(group) = stream.group(reader.group) else { return };
    let Some(consumer) = group.find(reader.consumer) else { return };
    let start = after.next().unwrap_or(StreamId::MAX);
    let ids = group.consumer(consumer).pending_ids(start, StreamId::MAX).take(count);
    let pending: Vec<(StreamId, u64)> =
        ids.map(|id| (id, group.pending(id).map_or(0, |pending| pending.count))).collect();
    reply.array(pending.len());
    for (id, count) in pending {
        if let Some(entry) = stream.get(id) {
            answer::entry(entry, reply);
            stream.deliver(reader.group, reader.consumer, id, now, count.wrapping_add(1));
        } else {
            reply.array(2);
            answer::id(id, reply);
            reply.null_array();
        }
    }
}

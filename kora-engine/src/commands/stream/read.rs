//! XREAD and XREADGROUP.
//!
//! Both are refused as a whole before anything is read; then each stream is read in turn. The reply has only the streams that have
//! something, so what each has is found out first. Many entries are read in slices (see `long_read.rs`).

use super::long_read::{LongRead, Part};
use super::range::{Range, ENTRIES_AT_ONCE};
use super::{answer, id};
use crate::args::{integer, is};
use crate::blocking::Deadline;
use crate::command::Command;
use crate::error::Error;
use crate::exec::{Exec, Flow, Outcome, DONE};
use crate::keyspace::{Editor, Keyspace, View};
use crate::reply::{Protocol, Reply};
use crate::shard::Shard;
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
/// Group and consumer of XREADGROUP.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) group: &'a [u8],
    pub(super) consumer: &'a [u8],
}

struct Options<'a> {
    /// Entries per stream.
    count: usize,
    no_ack: bool,
    /// Until when it waits for entries if there are none.
    block: Option<Deadline>,
    reader: Option<Reader<'a>>,
    keys: &'a [&'a [u8]],
    ids: &'a [&'a [u8]],
}

impl<'a> Options<'a> {
    fn parse(argv: &'a [&'a [u8]], command: &Command, now: u64) -> Result<Options<'a>, Error> {
        let with_group = command.is_write();
        let mut options =
            Options { count: usize::MAX, no_ack: false, block: None, reader: None, keys: &[], ids: &[] };
        let mut at = 1;
        let mut streams = None;
        while at < argv.len() {
            let word = argv[at];
            let more = argv.len() - 1 - at;
            if is(word, "block") && more > 0 {
                at += 1;
                options.block = Some(crate::blocking::milliseconds(argv[at], now)?);
            } else if is(word, "count") && more > 0 {
                at += 1;
                options.count = match usize::try_from(integer(argv[at])?) {
                    Err(_) | Ok(0) => usize::MAX,
                    Ok(count) => count,
                };
            } else if is(word, "streams") && more > 0 {
                let rest = &argv[at + 1..];
                if !rest.len().is_multiple_of(2) {
                    let (name, symbols) = (&command.full_name, SYMBOLS[usize::from(with_group)]);
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

/// The head of the reply: so many streams.
pub(super) fn streams(count: usize, reply: &mut dyn Reply) {
    match (count, reply.protocol()) {
        (0, _) => reply.null_array(),
        (_, Protocol::Resp2) => reply.array(count),
        (_, Protocol::Resp3) => reply.map(count),
    }
}

/// The head of one stream: its name.
pub(super) fn stream_name(name: &[u8], reply: &mut dyn Reply) {
    if reply.protocol() == Protocol::Resp2 {
        reply.array(2);
    }
    reply.bulk(name);
}

/// XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]
pub(super) fn xread(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let view = exec.view;
    let options = Options::parse(exec.argv, exec.command, exec.now())?;
    let keys = &mut exec.shard.keys;
    let mut after = Vec::with_capacity(options.ids.len());
    for (name, &text) in options.keys.iter().zip(options.ids) {
        let key = keys.key(name);
        let stream = keys.look::<Stream>(view, &key)?;
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
    let mut all = 0;
    for (&name, &after) in options.keys.iter().zip(&after) {
        let key = keys.key(name);
        let Some(stream) = keys.read::<Stream>(view, &key)? else { continue };
        let Some(start) = after.next() else { continue };
        let entries = stream.count(start, StreamId::MAX, options.count.min(ENTRIES_AT_ONCE + 1));
        if entries > 0 {
            found.push((name, start, stream.last_id(), entries));
            all += entries;
        }
    }
    if all > ENTRIES_AT_ONCE {
        let part = |&(name, start, end, _): &(&[u8], StreamId, StreamId, usize)| {
            let range = Range { key: name.to_vec(), view, start, end, backwards: false, left: options.count };
            Part::entries(range)
        };
        return Ok(Flow::Later(Box::new(LongRead::new(view, None, found.iter().map(part).collect()))));
    }
    streams(found.len(), reply);
    for (name, start, _, entries) in found {
        let key = keys.key(name);
        let Some(stream) = keys.look::<Stream>(view, &key)? else { continue };
        stream_name(name, reply);
        reply.array(entries);
        stream.range(start, StreamId::MAX).take(entries).for_each(|entry| answer::entry(entry, reply));
    }
    DONE
}

/// What XREADGROUP reads of a stream.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    /// What no consumer of the group has been given yet: `>`.
    New,
    /// What this consumer has been given after this id and has not acknowledged.
    History(StreamId),
}

impl Wanted {
    /// What is wanted of each stream.
    ///
    /// # Errors
    /// A stream or its group is missing, or an id is none.
    fn parse(
        keys: &mut Keyspace,
        view: View,
        options: &Options<'_>,
        group: &[u8],
    ) -> Result<Vec<Wanted>, Error> {
        let one = |(&name, &text): (&&[u8], &&[u8])| {
            let key = keys.key(name);
            if keys.look::<Stream>(view, &key)?.is_none_or(|stream| stream.group(group).is_none()) {
                return Err(answer::no_group_to_read(name, group));
            }
            Ok(match text {
                b"$" => return Err(END_WITH_GROUP),
                b"+" => return Err(LAST_WITH_GROUP),
                b">" => Wanted::New,
                text => match id::strict(text, 0)? {
                    // Redis has no other way to say "new".
                    StreamId::MAX => Wanted::New,
                    after => Wanted::History(after),
                },
            })
        };
        options.keys.iter().zip(options.ids).map(one).collect()
    }
}

/// Whether an XREADGROUP is refused: asked of each shard before any of them delivers something.
///
/// # Errors
/// Those of the command.
pub fn check_read_group(
    shard: &mut Shard,
    view: View,
    command: &Command,
    argv: &[&[u8]],
) -> Result<(), Error> {
    let options = Options::parse(argv, command, view.now)?;
    let reader = options.reader.ok_or(NO_GROUP_OPTION)?;
    Wanted::parse(&mut shard.keys, view, &options, reader.group).map(drop)
}

/// Until when a read with these arguments blocks; none when it does not, or when it is refused.
pub(crate) fn deadline(command: &Command, argv: &[&[u8]], now: u64) -> Option<Deadline> {
    Options::parse(argv, command, now).ok()?.block
}

/// Whether a blocked read has an answer now that one of its streams has changed: entries, or for XREADGROUP an error.
pub(crate) fn has_answer(
    keys: &mut Keyspace,
    view: View,
    command: &Command,
    argv: &[&[u8]],
    name: &[u8],
) -> bool {
    let Ok(options) = Options::parse(argv, command, view.now) else { return true };
    let key = keys.key(name);
    let stream = match keys.look::<Stream>(view, &key) {
        Ok(Some(stream)) => stream,
        _ => return options.reader.is_some(),
    };
    let Some(reader) = options.reader else {
        let after = options.keys.iter().zip(options.ids).filter(|(&of, _)| of == name);
        let last = stream.last_live();
        return after.into_iter().any(|(_, text)| id::strict(text, 0).is_ok_and(|after| last > Some(after)));
    };
    stream.group(reader.group).is_none_or(|group| stream.last_live() > Some(group.last))
}

/// The ids of XREAD that say where a stream ends now, each as the index of the argument and the id that stands for it. Only of streams among `names`.
pub(crate) fn ends(
    keys: &mut Keyspace,
    view: View,
    command: &Command,
    argv: &[&[u8]],
    of_shard: impl Fn(&[u8]) -> bool,
) -> Vec<(usize, Vec<u8>)> {
    let Ok(options) = Options::parse(argv, command, view.now) else { return Vec::new() };
    let first = argv.len() - options.ids.len();
    let named = options.keys.iter().zip(options.ids).enumerate();
    let ends = named.filter(|(_, (name, &text))| matches!(text, b"$" | b"+") && of_shard(name));
    ends.map(|(at, (name, _))| {
        let key = keys.key(name);
        let stream = keys.look::<Stream>(view, &key).ok().flatten();
        let last = stream.map_or(StreamId::MIN, |stream| stream.last_id());
        let mut text = Vec::new();
        last.with_text(|id| text.extend_from_slice(id));
        (first + at, text)
    })
    .collect()
}

/// A stream that XREADGROUP answers something of.
struct Served<'a> {
    name: &'a [u8],
    wanted: Wanted,
    /// Where the group stands after a read of new entries, when the stream is named again.
    end: Option<StreamId>,
}

/// XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]
pub(super) fn xreadgroup(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let (now, view) = (exec.now(), exec.view);
    let options = Options::parse(exec.argv, exec.command, now)?;
    let reader = options.reader.ok_or(NO_GROUP_OPTION)?;
    let keys = &mut exec.shard.keys;
    let wanted = Wanted::parse(keys, view, &options, reader.group)?;
    let mut served: Vec<Served<'_>> = Vec::new();
    let mut all = 0;
    for (&name, &wanted) in options.keys.iter().zip(&wanted) {
        let key = keys.key(name);
        // Counts the hit, as the lookup of a reading command does.
        keys.read::<Stream>(view, &key)?;
        let Some(mut stream) = keys.edit::<Stream>(view, &key)? else { continue };
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
            all += size_of_read(&stream, reader, wanted, options.count.min(ENTRIES_AT_ONCE + 1));
            served.push(Served { name, wanted, end });
        }
    }
    if all > ENTRIES_AT_ONCE {
        let part = |one: &Served<'_>| Part::of_group(one.name, one.wanted, options.count, options.no_ack);
        let parts = served.iter().map(part).collect();
        return Ok(Flow::Later(Box::new(LongRead::new(view, Some(reader), parts))));
    }
    streams(served.len(), reply);
    for Served { name, wanted, .. } in served {
        let key = keys.key(name);
        let Some(mut stream) = keys.edit::<Stream>(view, &key)? else { continue };
        stream_name(name, reply);
        let mut head = |entries| reply.array(entries);
        match wanted {
            Wanted::New => {
                let ids = new_ids(&stream, reader, StreamId::MAX, options.count);
                head(ids.len());
                let mut entries = stream.seeker();
                ids.iter().filter_map(|&id| entries.seek(id)).for_each(|entry| answer::entry(entry, reply));
                deliver_new(&mut stream, reader, &ids, options.no_ack, now);
            }
            Wanted::History(after) => {
                let pending = history(&stream, reader, after, options.count);
                head(pending.len());
                let mut entries = stream.seeker();
                for &(id, _) in &pending {
                    match entries.seek(id) {
                        Some(entry) => answer::entry(entry, reply),
                        None => {
                            reply.array(2);
                            answer::id(id, reply);
                            reply.null_array();
                        }
                    }
                }
                deliver_again(&mut stream, reader, &pending, now);
            }
        }
    }
    DONE
}

/// The last of so many entries after an id.
fn end_of_read(stream: &Body, after: StreamId, count: usize) -> StreamId {
    let start = after.next().unwrap_or(StreamId::MAX);
    stream.range(start, StreamId::MAX).take(count).last().map_or(after, |entry| entry.id)
}

/// How many entries a read answers, counted up to `limit`.
fn size_of_read(stream: &Body, reader: Reader<'_>, wanted: Wanted, limit: usize) -> usize {
    let Some(group) = stream.group(reader.group) else { return 0 };
    match wanted {
        Wanted::New => group.last.next().map_or(0, |start| stream.count(start, StreamId::MAX, limit)),
        Wanted::History(_) => {
            let consumer = group.find(reader.consumer).map(|number| group.consumer(number));
            consumer.map_or(0, |consumer| consumer.pending_len().min(limit))
        }
    }
}

/// The entries that the group is to be given next, up to `end`.
pub(super) fn new_ids(stream: &Body, reader: Reader<'_>, end: StreamId, count: usize) -> Vec<StreamId> {
    let start = stream.group(reader.group).and_then(|group| group.last.next());
    let entries = start.map(|start| stream.range(start, end).take(count));
    entries.into_iter().flatten().map(|entry| entry.id).collect()
}

/// Moves the group on by these entries and makes them pending with the consumer.
pub(super) fn deliver_new(
    stream: &mut Editor<'_, Stream>,
    reader: Reader<'_>,
    ids: &[StreamId],
    no_ack: bool,
    now: u64,
) {
    let Some(group) = stream.group(reader.group) else { return };
    let (mut last, mut read) = (group.last, group.entries_read);
    for &id in ids {
        read = stream.entries_read_after(last, read, id);
        last = id;
    }
    stream.set_group(reader.group, last, read);
    if !no_ack {
        let first_time: Vec<_> = ids.iter().map(|&id| (id, 1)).collect();
        stream.deliver(reader.group, reader.consumer, now, &first_time);
    }
}

/// The entries after an id that are pending with the consumer, and how often each was delivered.
pub(super) fn history(
    stream: &Body,
    reader: Reader<'_>,
    after: StreamId,
    count: usize,
) -> Vec<(StreamId, u64)> {
    let Some(group) = stream.group(reader.group) else { return Vec::new() };
    let Some(consumer) = group.find(reader.consumer) else { return Vec::new() };
    let Some(start) = after.next() else { return Vec::new() };
    let ids = group.consumer(consumer).pending_ids(start, StreamId::MAX).take(count);
    ids.map(|id| (id, group.pending(id).map_or(0, |pending| pending.count))).collect()
}

/// Counts another delivery of these entries, where they still exist.
pub(super) fn deliver_again(
    stream: &mut Editor<'_, Stream>,
    reader: Reader<'_>,
    pending: &[(StreamId, u64)],
    now: u64,
) {
    let mut entries = stream.seeker();
    let there = pending.iter().filter(|&&(id, _)| entries.seek(id).is_some());
    let again: Vec<_> = there.map(|&(id, count)| (id, count.wrapping_add(1))).collect();
    stream.deliver(reader.group, reader.consumer, now, &again);
}

//! XGROUP.

use super::{answer, id};
use crate::args::{integer, is};
use crate::change::UnixMs;
use crate::error::Error;
use crate::exec::{Continuation, Exec, Flow, Outcome, DONE};
use crate::keyspace::{Editor, View};
use crate::reply::Reply;
use crate::shard::Shard;
use crate::value::stream::{Stream, StreamId};

const NO_KEY: Error = Error::new(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
);
const GROUP_EXISTS: Error = Error::new("BUSYGROUP Consumer Group name already exists");
const NEGATIVE_READ: Error = Error::new("ERR value for ENTRIESREAD must be positive or -1");

/// The options of CREATE and SETID.
#[derive(Default)]
struct Options {
    mkstream: bool,
    entries_read: Option<i64>,
}

impl Options {
    fn parse(argv: &[&[u8]], creates: bool) -> Result<Options, Error> {
        let mut options = Options::default();
        let mut words = argv[5..].iter();
        while let Some(word) = words.next() {
            if creates && is(word, "mkstream") {
                options.mkstream = true;
            } else if let (true, Some(count)) = (is(word, "entriesread"), words.as_slice().first()) {
                options.entries_read = match integer(count)? {
                    -1 => None,
                    read @ 0.. => Some(read),
                    _ => return Err(NEGATIVE_READ),
                };
                words.next();
            } else {
                return Err(wrong(argv));
            }
        }
        Ok(options)
    }
}

fn wrong(argv: &[&[u8]]) -> Error {
    answer::wrong_subcommand("XGROUP", argv[1])
}

/// The position that an argument names, `$` being the end of the stream.
fn position(
    text: &[u8],
    end: StreamId,
    parse: fn(&[u8], u64) -> Result<StreamId, Error>,
) -> Result<StreamId, Error> {
    match text {
        b"$" => Ok(end),
        text => parse(text, 0),
    }
}

/// XGROUP CREATE key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]
pub(super) fn create(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let options = Options::parse(exec.argv, true)?;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[2]);
    let end = match keys.look::<Stream>(exec.view, &key)? {
        Some(stream) => stream.last_id(),
        None if options.mkstream => StreamId::MIN,
        None => return Err(NO_KEY),
    };
    if exec.argv.len() > 8 {
        return Err(wrong(exec.argv));
    }
    let last = position(exec.argv[4], end, id::strict)?;
    let mut stream = keys.edit_or_create::<Stream>(exec.view, &key)?;
    if !stream.create_group(exec.argv[3], last, options.entries_read) {
        return Err(GROUP_EXISTS);
    }
    reply.ok();
    DONE
}

/// The stream of argument 2, whose group is argument 3, for changing it.
fn existing<'e>(exec: &'e mut Exec<'_>, needs_group: bool) -> Result<Editor<'e, Stream>, Error> {
    let (name, group) = (exec.argv[2], exec.argv[3]);
    let keys = &mut exec.shard.keys;
    let key = keys.key(name);
    let stream = keys.edit::<Stream>(exec.view, &key)?.ok_or(NO_KEY)?;
    if needs_group && stream.group(group).is_none() {
        return Err(answer::no_group_of_key(name, group));
    }
    Ok(stream)
}

/// XGROUP SETID key group <id | $> [ENTRIESREAD entries-read]
pub(super) fn set_id(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let argv = exec.argv;
    let options = Options::parse(argv, false)?;
    let mut stream = existing(exec, true)?;
    if argv.len() > 7 {
        return Err(wrong(argv));
    }
    let last = position(argv[4], stream.last_id(), id::loose)?;
    stream.set_group(argv[3], last, options.entries_read);
    reply.ok();
    DONE
}

/// XGROUP DESTROY key group
pub(super) fn destroy(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let group = exec.argv[3];
    let removed = existing(exec, false)?.remove_group(group);
    reply.integer(removed as i64);
    DONE
}

/// XGROUP CREATECONSUMER key group consumer
pub(super) fn create_consumer(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let (group, consumer, now) = (exec.argv[3], exec.argv[4], exec.now());
    let mut stream = existing(exec, true)?;
    let created = stream.group(group).is_some_and(|group| group.find(consumer).is_none());
    stream.consumer(group, consumer, now);
    reply.integer(created as i64);
    DONE
}

/// XGROUP DELCONSUMER key group consumer
pub(super) fn delete_consumer(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let (group, consumer) = (exec.argv[3], exec.argv[4]);
    let mut removal = Removal {
        key: exec.argv[2].to_vec(),
        view: exec.view,
        group: group.to_vec(),
        consumer: consumer.to_vec(),
        removed: 0,
    };
    if removal.advance(&mut existing(exec, true)?, PENDING_AT_ONCE) {
        reply.integer(removal.removed as i64);
        return DONE;
    }
    Ok(Flow::Later(Box::new(removal)))
}

/// Pending entries that go with a consumer at once, and in a slice per segment of its budget.
const PENDING_AT_ONCE: usize = 512;
const PENDING_PER_SEGMENT: usize = 64;

/// The removal of a consumer, whose pending entries go first.
struct Removal {
    key: Vec<u8>,
    view: View,
    group: Vec<u8>,
    consumer: Vec<u8>,
    /// Pending entries that are gone.
    removed: usize,
}

impl Removal {
    /// Removes about so many pending entries, and then the consumer. Returns whether it is gone.
    fn advance(&mut self, stream: &mut Editor<'_, Stream>, count: usize) -> bool {
        let Some(group) = stream.group(&self.group) else { return true };
        let Some(number) = group.find(&self.consumer) else { return true };
        let consumer = group.consumer(number);
        if consumer.pending_len() > count {
            let ids = consumer.pending_ids(StreamId::MIN, StreamId::MAX).take(count);
            for id in ids.collect::<Vec<_>>() {
                self.removed += usize::from(stream.acknowledge(&self.group, id));
            }
            return false;
        }
        self.removed += stream.remove_consumer(&self.group, &self.consumer).unwrap_or(0);
        true
    }
}

impl Continuation for Removal {
    fn resume(&mut self, shard: &mut Shard, _: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        let key = self.key.clone();
        let key = shard.keys.key(&key);
        if let Ok(Some(mut stream)) = shard.keys.edit::<Stream>(self.view, &key) {
            if !self.advance(&mut stream, budget.max(1).saturating_mul(PENDING_PER_SEGMENT)) {
                return false;
            }
        }
        reply.integer(self.removed as i64);
        true
    }
}

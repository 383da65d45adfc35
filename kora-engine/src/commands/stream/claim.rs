//! XCLAIM and XAUTOCLAIM: pending entries change hands.

use super::{answer, id};
use crate::args::{is, parse_i64};
use crate::change::UnixMs;
use crate::commands::long_reply::Elements;
use crate::error::Error;
use crate::exec::{Continuation, Exec, Flow, Outcome, DONE};
use crate::keyspace::View;
use crate::reply::Reply;
use crate::shard::Shard;
use crate::value::stream::{Stream, StreamId};

/// The options of XCLAIM after its ids.
#[derive(Default)]
struct Options {
    force: bool,
    just_id: bool,
    /// The time of delivery that is to be noted; the present one when none is given, or one that cannot be.
    time: Option<i64>,
    count: Option<u64>,
    last: StreamId,
}

impl Options {
    fn parse(words: &[&[u8]], now: u64) -> Result<Options, Error> {
        const IDLE: Error = Error::new("ERR Invalid IDLE option argument for XCLAIM");
        const TIME: Error = Error::new("ERR Invalid TIME option argument for XCLAIM");
        const RETRYCOUNT: Error = Error::new("ERR Invalid RETRYCOUNT option argument for XCLAIM");
        let mut options = Options::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            if is(word, "force") {
                options.force = true;
                continue;
            }
            if is(word, "justid") {
                options.just_id = true;
                continue;
            }
            let Some(value) = rest.as_slice().first() else { return Err(answer::unknown_claim_option(word)) };
            if is(word, "idle") {
                options.time = Some((now as i64).wrapping_sub(parse_i64(value).ok_or(IDLE)?));
            } else if is(word, "time") {
                options.time = Some(parse_i64(value).ok_or(TIME)?);
            } else if is(word, "retrycount") {
                options.count = u64::try_from(parse_i64(value).ok_or(RETRYCOUNT)?).ok();
            } else if is(word, "lastid") {
                options.last = id::strict(value, 0)?;
            } else {
                return Err(answer::unknown_claim_option(word));
            }
            rest.next();
        }
        Ok(options)
    }

    fn delivery_time(&self, now: u64) -> u64 {
        self.time.and_then(|time| u64::try_from(time).ok()).filter(|&time| time <= now).unwrap_or(now)
    }
}

/// How long ago a delivery was.
fn idle(now: u64, time: u64) -> i64 {
    (now as i64).wrapping_sub(time as i64)
}

/// XCLAIM key group consumer min-idle-time id [id ...] [options]
pub(super) fn xclaim(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    const MIN_IDLE: Error = Error::new("ERR Invalid min-idle-time argument for XCLAIM");
    let (name, group, consumer, now) = (exec.argv[1], exec.argv[2], exec.argv[3], exec.now());
    let keys = &mut exec.shard.keys;
    let key = keys.key(name);
    let no_group = || answer::no_group(name, group);
    let mut stream = keys.edit::<Stream>(exec.view, &key)?.ok_or_else(no_group)?;
    let found = stream.group(group).ok_or_else(no_group)?;
    let (last, read) = (found.last, found.entries_read);
    let min_idle = parse_i64(exec.argv[4]).ok_or(MIN_IDLE)?;
    // What is no id is where the options begin.
    let words = &exec.argv[5..];
    let ids: Vec<StreamId> = words.iter().map_while(|word| id::strict(word, 0).ok()).collect();
    let options = Options::parse(&words[ids.len()..], now)?;
    let time = options.delivery_time(now);

    if options.last > last {
        stream.set_group(group, options.last, read);
    }
    stream.consumer(group, consumer, now);
    let mut claimed = Vec::new();
    for id in ids {
        let pending = stream.group(group).and_then(|group| group.pending(id));
        if stream.get(id).is_none() {
            stream.acknowledge(group, id);
            continue;
        }
        let before = match pending {
            Some(pending) => {
                if min_idle > 0 && idle(now, pending.time) < min_idle {
                    continue;
                }
                pending.count
            }
            None if options.force => 1,
            None => continue,
        };
        let count = options.count.unwrap_or(before.wrapping_add(u64::from(!options.just_id)));
        stream.deliver(group, consumer, time, &[(id, count)]);
        claimed.push(id);
    }
    stream.seen(group, consumer, now, !claimed.is_empty());
    answer_claimed(&stream, &claimed, options.just_id, reply);
    DONE
}

/// The claimed entries, or their ids only.
fn answer_claimed(stream: &Stream, claimed: &[StreamId], just_id: bool, reply: &mut dyn Reply) {
    reply.array(claimed.len());
    for &id in claimed {
        match stream.get(id) {
            Some(entry) if !just_id => answer::entry(entry, reply),
            _ => answer::id(id, reply),
        }
    }
}

/// XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]
pub(super) fn xautoclaim(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    const MIN_IDLE: Error = Error::new("ERR Invalid min-idle-time argument for XAUTOCLAIM");
    const COUNT: Error = Error::new("ERR COUNT must be > 0");
    const COUNT_DEFAULT: i64 = 100;
    /// Entries that are looked at for each that may be claimed.
    const ATTEMPTS: i64 = 10;
    /// As many as Redis would allocate the ids of.
    const COUNT_MAX: i64 = i64::MAX / 16;

    let (name, group, consumer, now) = (exec.argv[1], exec.argv[2], exec.argv[3], exec.now());
    let min_idle = parse_i64(exec.argv[4]).ok_or(MIN_IDLE)?;
    let start = id::start(exec.argv[5])?;
    let (mut count, mut just_id) = (COUNT_DEFAULT, false);
    let mut options = exec.argv[6..].iter();
    while let Some(option) = options.next() {
        if let (true, Some(value)) = (is(option, "count"), options.as_slice().first()) {
            count = parse_i64(value).filter(|count| (1..=COUNT_MAX).contains(count)).ok_or(COUNT)?;
            options.next();
        } else if is(option, "justid") {
            just_id = true;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let keys = &mut exec.shard.keys;
    let key = keys.key(name);
    let no_group = || answer::no_group(name, group);
    let mut stream = keys.edit::<Stream>(exec.view, &key)?.ok_or_else(no_group)?;
    stream.consumer(group, consumer, now).ok_or_else(no_group)?;

    drop(stream);
    let mut claiming = Claiming {
        view: exec.view,
        names: [name, group, consumer].map(<[u8]>::to_vec),
        min_idle,
        just_id,
        count,
        attempts: count.saturating_mul(ATTEMPTS),
        next: Some(start),
        claimed: 0,
        entries: Elements::default(),
        gone: Vec::new(),
    };
    if claiming.advance(exec.shard, ATTEMPTS_AT_ONCE)? {
        claiming.answer(reply);
        return DONE;
    }
    Ok(Flow::Later(Box::new(claiming)))
}

/// Pending entries that XAUTOCLAIM looks at at once, and in a slice per segment of its budget.
const ATTEMPTS_AT_ONCE: usize = 1024;
const ATTEMPTS_PER_SEGMENT: usize = 64;

/// An XAUTOCLAIM under way.
struct Claiming {
    view: View,
    /// Key, group and consumer.
    names: [Vec<u8>; 3],
    min_idle: i64,
    just_id: bool,
    /// Entries that may still be claimed, and looked at.
    count: i64,
    attempts: i64,
    /// Where it goes on; none after the greatest id.
    next: Option<StreamId>,
    claimed: usize,
    entries: Elements,
    /// Entries that were pending and do not exist any more.
    gone: Vec<StreamId>,
}

impl Claiming {
    /// Looks at up to so many pending entries. Returns whether that was all.
    fn advance(&mut self, shard: &mut Shard, most: usize) -> Result<bool, Error> {
        let now = self.view.now;
        let [name, group, consumer] = &self.names;
        let key = shard.keys.key(name);
        let Some(mut stream) = shard.keys.edit::<Stream>(self.view, &key)? else {
            self.next = None;
            return Ok(true);
        };
        let Some(start) = self.next else { return Ok(true) };
        let (mut claimed, mut gone, mut looked) = (Vec::new(), Vec::new(), 0);
        let mut entries = stream.seeker();
        let mut pending =
            stream.group(group).into_iter().flat_map(|group| group.pending_range(start, StreamId::MAX));
        let complete = loop {
            let Some((id, pending, _)) = pending.next() else {
                self.next = None;
                break true;
            };
            self.next = Some(id);
            if self.attempts == 0 || self.count == 0 {
                break true;
            }
            if looked == most {
                break false;
            }
            looked += 1;
            self.attempts -= 1;
            match entries.seek(id) {
                None => {
                    gone.push(id);
                    self.count -= 1;
                }
                Some(entry) if self.min_idle <= 0 || idle(now, pending.time) >= self.min_idle => {
                    if self.just_id {
                        answer::gather_id(id, &mut self.entries);
                    } else {
                        answer::gather_entry(entry, &mut self.entries);
                    }
                    claimed.push((id, pending.count.wrapping_add(u64::from(!self.just_id))));
                    self.count -= 1;
                }
                Some(_) => {}
            }
        };
        drop(pending);
        for &id in &gone {
            stream.acknowledge(group, id);
        }
        stream.deliver(group, consumer, now, &claimed);
        stream.seen(group, consumer, now, !claimed.is_empty());
        self.claimed += claimed.len();
        self.gone.append(&mut gone);
        Ok(complete)
    }

    fn answer(&mut self, reply: &mut dyn Reply) {
        reply.array(3);
        answer::id(self.next.unwrap_or(StreamId::MIN), reply);
        reply.array(self.claimed);
        self.entries.write(usize::MAX, reply);
        reply.array(self.gone.len());
        self.gone.iter().for_each(|&id| answer::id(id, reply));
    }
}

impl Continuation for Claiming {
    fn resume(&mut self, shard: &mut Shard, _: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        match self.advance(shard, budget.max(1).saturating_mul(ATTEMPTS_PER_SEGMENT)) {
            Ok(false) => return false,
            Ok(true) => self.answer(reply),
            Err(error) => reply.error(error.text()),
        }
        true
    }
}

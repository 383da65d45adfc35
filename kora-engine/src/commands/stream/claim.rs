//! XCLAIM and XAUTOCLAIM: pending entries change hands.

use super::{answer, id};
use crate::args::{is, parse_i64};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::reply::Reply;
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

/// XCLAIM key group consumer min-idle-time id [id ...] [options]
pub(super) fn xclaim(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    const MIN_IDLE: Error = Error::new("ERR Invalid min-idle-time argument for XCLAIM");
    let (name, group, consumer, now) = (exec.argv[1], exec.argv[2], exec.argv[3], exec.now());
    let keys = &mut exec.shard.keys;
    let key = keys.key(name);
    if keys.look::<Stream>(exec.view, &key)?.is_none_or(|stream| stream.group(group).is_none()) {
        return Err(answer::no_group(name, group));
    }
    let min_idle = parse_i64(exec.argv[4]).ok_or(MIN_IDLE)?;
    // What is no id is where the options begin.
    let words = &exec.argv[5..];
    let ids: Vec<StreamId> = words.iter().map_while(|word| id::strict(word, 0).ok()).collect();
    let options = Options::parse(&words[ids.len()..], now)?;
    let time = options.delivery_time(now);

    let Some(mut stream) = keys.edit::<Stream>(exec.view, &key)? else {
        return Err(answer::no_group(name, group));
    };
    if let Some(found) = stream.group(group) {
        let (last, read) = (found.last, found.entries_read);
        if options.last > last {
            stream.set_group(group, options.last, read);
        }
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
                if min_idle > 0 && (now as i64).wrapping_sub(pending.time as i64) < min_idle {
                    continue;
                }
                pending.count
            }
            None if options.force => 1,
            None => continue,
        };
        let count = options.count.unwrap_or(before.wrapping_add(u64::from(!options.just_id)));
        stream.deliver(group, consumer, id, time, count);
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

    let (mut claimed, mut gone) = (Vec::new(), Vec::new());
    let mut attempts = count.saturating_mul(ATTEMPTS);
    let mut next = Some(start);
    let cursor = loop {
        let pending = next.and_then(|next| stream.group(group)?.pending_range(next, StreamId::MAX).next());
        let Some((id, pending)) = pending.map(|(id, pending, _)| (id, *pending)) else { break StreamId::MIN };
        if attempts == 0 || count == 0 {
            break id;
        }
        attempts -= 1;
        next = id.next();
        if stream.get(id).is_none() {
            stream.acknowledge(group, id);
            gone.push(id);
            count -= 1;
        } else if min_idle <= 0 || (now as i64).wrapping_sub(pending.time as i64) >= min_idle {
            stream.deliver(group, consumer, id, now, pending.count.wrapping_add(u64::from(!just_id)));
            claimed.push(id);
            count -= 1;
        }
    };
    stream.seen(group, consumer, now, !claimed.is_empty());
    reply.array(3);
    answer::id(cursor, reply);
    answer_claimed(&stream, &claimed, just_id, reply);
    reply.array(gone.len());
    gone.iter().for_each(|&id| answer::id(id, reply));
    DONE
}

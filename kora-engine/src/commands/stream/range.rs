//! XLEN, XRANGE and XREVRANGE.
//!
//! A long range is read in slices. Its end is that of the stream when the command came; what is deleted or trimmed
//! before its turn comes is not in the reply any more.

use super::{answer, id};
use crate::args::{integer, is};
use crate::change::UnixMs;
use crate::commands::long_reply::{self, Elements, Gather};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::keyspace::View;
use crate::reply::Reply;
use crate::shard::Shard;
use crate::value::stream::{Entry, Stream, StreamId};

/// Entries that are answered at once; more are read in slices.
pub(super) const ENTRIES_AT_ONCE: usize = 512;

/// Elements that an entry is reckoned to have, on average.
pub(super) const ELEMENTS_PER_ENTRY: usize = 4;

/// XLEN key
pub(super) fn xlen(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let len = keys.read::<Stream>(exec.view, &key)?.map_or(0, |stream| stream.entries_len());
    reply.integer(len as i64);
    DONE
}

/// XRANGE key start end [COUNT count]
pub(super) fn xrange(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let (start, end) = (id::start(exec.argv[2])?, id::end(exec.argv[3])?);
    range(exec, start, end, false, reply)
}

/// XREVRANGE key end start [COUNT count]
pub(super) fn xrevrange(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let start = id::start(exec.argv[3])?;
    let end = id::end(exec.argv[2])?;
    range(exec, start, end, true, reply)
}

fn range(
    exec: &mut Exec<'_>,
    start: StreamId,
    end: StreamId,
    backwards: bool,
    reply: &mut dyn Reply,
) -> Outcome {
    let mut count = None;
    let mut options = exec.argv[4..].iter();
    while let Some(option) = options.next() {
        if !is(option, "count") {
            return Err(Error::SYNTAX);
        }
        count = Some(integer(options.next().ok_or(Error::SYNTAX)?)?);
    }
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(stream) = keys.read::<Stream>(exec.view, &key)? else {
        reply.array(0);
        return DONE;
    };
    let most = match count {
        None => usize::MAX,
        Some(count) => match usize::try_from(count) {
            Err(_) | Ok(0) => {
                reply.null_array();
                return DONE;
            }
            Ok(count) => count,
        },
    };
    let found = stream.count(start, end, most.min(ENTRIES_AT_ONCE + 1));
    if found > ENTRIES_AT_ONCE {
        // What is added from now on is not of this moment.
        let end = end.min(stream.last_id());
        let range = Range { key: exec.argv[1].to_vec(), view: exec.view, start, end, backwards, left: most };
        return long_reply::answer(Entries { range, gathered: 0 }, exec, reply);
    }
    reply.array(found);
    if backwards {
        stream.range_back(start, end).take(found).for_each(|entry| answer::entry(entry, reply));
    } else {
        stream.range(start, end).take(found).for_each(|entry| answer::entry(entry, reply));
    }
    DONE
}

/// Entries between two ids that are read in slices: what is still to be read.
pub(super) struct Range {
    pub(super) key: Vec<u8>,
    pub(super) view: View,
    pub(super) start: StreamId,
    pub(super) end: StreamId,
    pub(super) backwards: bool,
    /// Most entries.
    pub(super) left: usize,
}

impl Range {
    /// Gathers about this many entries; how many it were, and whether those were the last. A stream that is gone by now has
    /// no more.
    pub(super) fn gather(
        &mut self,
        shard: &mut Shard,
        count: usize,
        elements: &mut Elements,
    ) -> Result<(usize, bool), Error> {
        let key = shard.keys.key(&self.key);
        let Some(stream) = shard.keys.look::<Stream>(self.view, &key)? else { return Ok((0, true)) };
        let count = count.min(self.left);
        let (mut gathered, mut last) = (0, None);
        let mut gather = |entry: Entry<'_>| {
            answer::gather_entry(entry, elements);
            (gathered, last) = (gathered + 1, Some(entry.id));
        };
        if self.backwards {
            stream.range_back(self.start, self.end).take(count).for_each(&mut gather);
        } else {
            stream.range(self.start, self.end).take(count).for_each(&mut gather);
        }
        self.left -= gathered;
        let next = last.and_then(|last| if self.backwards { last.previous() } else { last.next() });
        match next {
            Some(next) if self.backwards => self.end = next,
            Some(next) => self.start = next,
            None => return Ok((gathered, true)),
        }
        Ok((gathered, gathered < count || self.left == 0 || self.start > self.end))
    }
}

/// A long XRANGE or XREVRANGE.
struct Entries {
    range: Range,
    gathered: usize,
}

impl Gather for Entries {
    fn gather(
        &mut self,
        shard: &mut Shard,
        _: UnixMs,
        count: usize,
        elements: &mut Elements,
    ) -> Result<bool, Error> {
        let (gathered, complete) = self.range.gather(shard, count.div_ceil(ELEMENTS_PER_ENTRY), elements)?;
        self.gathered += gathered;
        Ok(complete)
    }

    fn head(&self, _: &Elements, reply: &mut dyn Reply) {
        reply.array(self.gathered);
    }
}

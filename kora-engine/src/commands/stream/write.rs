//! XADD, XTRIM and XSETID.

use super::id::{self, Given};
use super::trimming::{Options, Trimming};
use super::{answer, node_limits};
use crate::args::{integer, is};
use crate::change::UnixMs;
use crate::error::Error;
use crate::exec::{Continuation, Exec, Flow, Outcome, DONE};
use crate::keyspace::View;
use crate::reply::Reply;
use crate::shard::Shard;
use crate::value::stream::{Stream, StreamId, LISTPACK_BYTES_MAX};

const ZERO_ID: Error = Error::new("ERR The ID specified in XADD must be greater than 0-0");
const ID_TOO_SMALL: Error =
    Error::new("ERR The ID specified in XADD is equal or smaller than the target stream top item");
const EXHAUSTED: Error =
    Error::new("ERR The stream has exhausted the last possible ID, unable to add more items");
const TOO_LARGE: Error = Error::new("ERR Elements are too large to be stored");

/// Blocks that a trim visits at once, about 100 us of work, and in a slice per segment of its budget.
const BLOCKS_AT_ONCE: usize = 128;
const BLOCKS_PER_SEGMENT: usize = 16;

/// XADD key [options] <* | id> field value [field value ...]
pub(super) fn xadd(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let limits = node_limits(exec);
    let options = Options::parse(exec.argv, true, limits.max_entries)?;
    let pairs = exec.argv.get(options.next + 1..).unwrap_or_default();
    if pairs.len() < 2 || pairs.len() % 2 != 0 {
        return Err(Error::wrong_arity(&exec.command.full_name));
    }
    let given = match exec.argv[options.next] {
        b"*" => None,
        text => Some(id::for_new_entry(text)?),
    };
    if given == Some(Given::Whole(StreamId::MIN)) {
        return Err(ZERO_ID);
    }
    if pairs.iter().map(|part| part.len() as u64).sum::<u64>() > LISTPACK_BYTES_MAX {
        return Err(TOO_LARGE);
    }
    let (now, view) = (exec.now(), exec.view);
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    if options.no_mkstream && keys.look::<Stream>(view, &key)?.is_none() {
        reply.null();
        return DONE;
    }
    let mut stream = keys.edit_or_create::<Stream>(view, &key)?;
    // A new stream takes any id but 0-0, so none is made in vain.
    let id = new_id(given, stream.last_id(), now)?;
    stream.append(id, pairs, limits);
    if let Some(trim) = options.trim {
        let mut trimming = Trimming::new(trim);
        if !trimming.advance(&mut stream, BLOCKS_AT_ONCE) {
            drop(stream);
            return later(exec, trimming, Some(id));
        }
    }
    answer::id(id, reply);
    DONE
}

/// The id of a new entry after `last`.
fn new_id(given: Option<Given>, last: StreamId, now: u64) -> Result<StreamId, Error> {
    let id = match given {
        _ if last == StreamId::MAX => return Err(EXHAUSTED),
        None => StreamId::generate(last, now).ok_or(EXHAUSTED)?,
        Some(Given::Whole(id)) => id,
        Some(Given::Milliseconds(ms)) if ms == last.ms => {
            StreamId::new(ms, last.seq.checked_add(1).ok_or(ID_TOO_SMALL)?)
        }
        Some(Given::Milliseconds(ms)) => StreamId::new(ms, 0),
    };
    if id <= last {
        return Err(ID_TOO_SMALL);
    }
    Ok(id)
}

/// XTRIM key <MAXLEN | MINID> [= | ~] threshold [LIMIT count] [KEEPREF | DELREF | ACKED]
pub(super) fn xtrim(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let limits = node_limits(exec);
    let options = Options::parse(exec.argv, false, limits.max_entries)?;
    let trim = options.trim.ok_or(Error::SYNTAX)?;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let mut trimming = Trimming::new(trim);
    let complete = match keys.edit::<Stream>(exec.view, &key)? {
        None => true,
        Some(mut stream) => trimming.advance(&mut stream, BLOCKS_AT_ONCE),
    };
    if !complete {
        return later(exec, trimming, None);
    }
    reply.integer(trimming.removed as i64);
    DONE
}

/// A trim that goes on in slices, until the stream is as it should be or is not there any more.
struct LongTrim {
    key: Vec<u8>,
    view: View,
    trimming: Trimming,
    /// The entry that XADD has added; none for XTRIM, which answers with the number of entries that went.
    added: Option<StreamId>,
}

fn later(exec: &Exec<'_>, trimming: Trimming, added: Option<StreamId>) -> Outcome {
    Ok(Flow::Later(Box::new(LongTrim { key: exec.argv[1].to_vec(), view: exec.view, trimming, added })))
}

impl Continuation for LongTrim {
    fn resume(&mut self, shard: &mut Shard, _: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        let key = shard.keys.key(&self.key);
        if let Ok(Some(mut stream)) = shard.keys.edit::<Stream>(self.view, &key) {
            let blocks = budget.max(1).saturating_mul(BLOCKS_PER_SEGMENT);
            if !self.trimming.advance(&mut stream, blocks) {
                return false;
            }
        }
        match self.added {
            Some(id) => answer::id(id, reply),
            None => reply.integer(self.trimming.removed as i64),
        }
        true
    }
}

/// XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]
pub(super) fn xsetid(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    const NEGATIVE_ADDED: Error = Error::new("ERR entries_added must be positive");
    const BELOW_GIVEN_DELETED: Error =
        Error::new("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id");
    const BELOW_DELETED: Error =
        Error::new("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id");
    const BELOW_TOP: Error =
        Error::new("ERR The ID specified in XSETID is smaller than the target stream top item");
    const ADDED_BELOW_LEN: Error =
        Error::new("ERR The entries_added specified in XSETID is smaller than the target stream length");

    let last = id::strict(exec.argv[2], 0)?;
    let (mut added, mut max_deleted) = (None, StreamId::MIN);
    let mut options = exec.argv[3..].chunks_exact(2);
    for option in &mut options {
        if is(option[0], "entriesadded") {
            added = Some(u64::try_from(integer(option[1])?).map_err(|_| NEGATIVE_ADDED)?);
        } else if is(option[0], "maxdeletedid") {
            max_deleted = id::strict(option[1], 0)?;
            if last < max_deleted {
                return Err(BELOW_GIVEN_DELETED);
            }
        } else {
            return Err(Error::SYNTAX);
        }
    }
    if !options.remainder().is_empty() {
        return Err(Error::SYNTAX);
    }
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let mut stream = keys.edit::<Stream>(exec.view, &key)?.ok_or(Error::NO_SUCH_KEY)?;
    if last < stream.max_deleted_id() {
        return Err(BELOW_DELETED);
    }
    if let Some(live) = stream.last_live() {
        if last < live {
            return Err(BELOW_TOP);
        }
        if added.is_some_and(|added| added < stream.entries_len()) {
            return Err(ADDED_BELOW_LEN);
        }
    }
    let added = added.unwrap_or(stream.entries_added());
    let max_deleted = if max_deleted == StreamId::MIN { stream.max_deleted_id() } else { max_deleted };
    stream.set_ids(last, added, max_deleted);
    reply.ok();
    DONE
}

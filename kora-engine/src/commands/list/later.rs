//! What is too long for one turn: replies of many elements, and searches of long lists.
//!
//! A reply reads a snapshot of the list, so it is one that the list has given at one moment. LPOS searches a snapshot. LREM and LINSERT
//! do, too, and then change the list in one turn, with what the search has found out (see `value/list/search.rs`); if the key is gone or
//! of another type by then, they answer what they would have answered had they come then.

use crate::change::UnixMs;
use crate::error::Error;
use crate::exec::{Continuation, Flow, Outcome, DONE};
use crate::keyspace::View;
use crate::limits::{LIST_BYTES_PER_TURN, LIST_ELEMENTS_PER_TURN};
use crate::reply::Reply;
use crate::shard::Shard;
use crate::value::list::search::{Preparation, Search};
use crate::value::list::{Element, End, List, Snapshot};
use crate::value::Collection;

/// Blocks that a search visits in a turn, per segment of its budget.
const BLOCKS_PER_SEGMENT: usize = 4;

/// A reply of elements.
pub(super) struct RangeReply {
    elements: Snapshot,
    backwards: bool,
    /// What has been announced.
    announced: bool,
    /// Of LMPOP, which answers the key, too.
    key: Option<Vec<u8>>,
}

impl RangeReply {
    pub(super) fn begin(elements: Snapshot, backwards: bool, key: Option<&[u8]>) -> Outcome {
        let key = key.map(<[u8]>::to_vec);
        Ok(Flow::Later(Box::new(RangeReply { elements, backwards, announced: false, key })))
    }
}

impl Continuation for RangeReply {
    fn resume(&mut self, _: &mut Shard, _: UnixMs, _: usize, reply: &mut dyn Reply) -> bool {
        if !self.announced {
            self.announced = true;
            if let Some(key) = &self.key {
                reply.array(2);
                reply.bulk(key);
            }
            reply.array(self.elements.len());
        }
        let mut bytes = 0;
        let visit = &mut |element: Element<'_>| {
            element.with_bytes(|text| {
                bytes += text.len();
                reply.bulk(text);
            });
            bytes < LIST_BYTES_PER_TURN
        };
        if self.backwards {
            self.elements.read_back(LIST_ELEMENTS_PER_TURN, visit);
        } else {
            self.elements.read(LIST_ELEMENTS_PER_TURN, visit);
        }
        self.elements.is_empty()
    }
}

/// Which indexes LPOS answers.
pub(super) struct Wanted {
    /// Matches that are passed over.
    pub(super) skip: u64,
    /// How many are wanted.
    pub(super) count: u64,
    /// Whether the reply is an array.
    pub(super) array: bool,
    /// Those that were found.
    pub(super) indexes: Vec<usize>,
}

impl Wanted {
    /// Takes notice of a match; false when no more are wanted.
    pub(super) fn found(&mut self, index: usize) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return true;
        }
        self.indexes.push(index);
        (self.indexes.len() as u64) < self.count
    }

    pub(super) fn answer(&self, reply: &mut dyn Reply) {
        match (self.array, self.indexes.first()) {
            (false, None) => reply.null(),
            (false, Some(&index)) => reply.integer(index as i64),
            (true, _) => {
                reply.array(self.indexes.len());
                self.indexes.iter().for_each(|&index| reply.integer(index as i64));
            }
        }
    }
}

/// LPOS of a long list.
pub(super) struct Positions {
    list: Snapshot,
    search: Search,
    wanted: Wanted,
    /// Indexes that were answered; before that none.
    answered: Option<usize>,
}

impl Positions {
    pub(super) fn begin(list: Snapshot, search: Search, wanted: Wanted) -> Outcome {
        Ok(Flow::Later(Box::new(Positions { list, search, wanted, answered: None })))
    }
}

impl Continuation for Positions {
    fn resume(&mut self, _: &mut Shard, _: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        let Positions { list, search, wanted, answered } = self;
        let Some(answered) = answered else {
            let blocks = budget.max(1).saturating_mul(BLOCKS_PER_SEGMENT);
            if search.look_at_some(list, blocks, &mut |index| wanted.found(index)) {
                if !wanted.array || wanted.indexes.len() <= LIST_ELEMENTS_PER_TURN {
                    wanted.answer(reply);
                    return true;
                }
                reply.array(wanted.indexes.len());
                *answered = Some(0);
            }
            return false;
        };
        let next = &wanted.indexes[*answered..];
        let some = next.len().min(LIST_ELEMENTS_PER_TURN);
        next[..some].iter().for_each(|&index| reply.integer(index as i64));
        *answered += some;
        *answered == wanted.indexes.len()
    }
}

/// A change that depends on a search.
#[derive(Clone, Copy)]
pub(super) enum Change {
    /// LREM.
    Remove { limit: usize, from: End },
    /// LINSERT.
    Insert { after: bool },
}

/// What a change is about.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    pub(super) key: &'a [u8],
    /// The element to be removed, or the pivot.
    pub(super) needle: &'a [u8],
    /// The element to be inserted.
    pub(super) element: &'a [u8],
}

impl Change {
    /// Does it now, or begins to.
    pub(super) fn start(
        self,
        words: Words<'_>,
        shard: &mut Shard,
        view: View,
        reply: &mut dyn Reply,
    ) -> Outcome {
        let key = shard.keys.key(words.key);
        let prepared = match shard.keys.edit::<List>(view, &key)? {
            None => None,
            Some(mut list) => match self {
                Change::Remove { limit, from } => list.prepare(words.needle, limit, from, true),
                Change::Insert { .. } => list.prepare(words.needle, 1, End::Head, false),
            },
        };
        if prepared.is_some() {
            let [key, needle, element] = [words.key, words.needle, words.element].map(<[u8]>::to_vec);
            let later = Searched { change: self, view, key, needle, element, preparation: prepared };
            return Ok(Flow::Later(Box::new(later)));
        }
        reply.integer(self.finish(words, shard, view, None)?);
        DONE
    }

    fn finish(
        self,
        words: Words<'_>,
        shard: &mut Shard,
        view: View,
        known: Option<Preparation>,
    ) -> Result<i64, Error> {
        let fill = shard.config.limits.list_max_listpack_size;
        let key = shard.keys.key(words.key);
        let Some(mut list) = shard.keys.edit::<List>(view, &key)? else { return Ok(0) };
        Ok(match self {
            Change::Remove { limit, from } => {
                list.remove_equal(words.needle, limit, from, fill, known) as i64
            }
            Change::Insert { after } => match list.insert(words.needle, after, words.element, fill, known) {
                true => list.len() as i64,
                false => -1,
            },
        })
    }
}

struct Searched {
    change: Change,
    view: View,
    key: Vec<u8>,
    needle: Vec<u8>,
    element: Vec<u8>,
    /// None after the end.
    preparation: Option<Preparation>,
}

impl Continuation for Searched {
    fn resume(&mut self, shard: &mut Shard, now: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        let blocks = budget.max(1).saturating_mul(BLOCKS_PER_SEGMENT);
        if !self.preparation.as_mut().is_none_or(|preparation| preparation.advance(blocks)) {
            return false;
        }
        let view = View { now, ..self.view };
        let words = Words { key: &self.key, needle: &self.needle, element: &self.element };
        match self.change.finish(words, shard, view, self.preparation.take()) {
            Ok(number) => reply.integer(number),
            Err(error) => reply.error(error.text()),
        }
        true
    }
}

//! KEYS and SCAN: walks over a database in the order of the hashes of its keys.
//!
//! Both visit a bounded number of keys per turn of the executor and go on later when that was not enough, collecting names
//! ([`super::long_reply`]); so KEYS on a hundred million keys, or SCAN with a COUNT of a million, holds nobody up. What both promise: a key that is there from the first turn to the last is found, a key that comes or
//! goes meanwhile may be.
//!
//! A SCAN cursor is `shard << 48 | position`: the shards are walked one after the other. When one is through, the
//! next cursor is the start of the next shard, and 0 after the last.

use super::long_reply::{self, Elements, Gather, FIRST_ELEMENTS};
use crate::args;
use crate::change::UnixMs;
use crate::command::{Categories, CommandSpec, Flags, Group, Merge, Run, ROW};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::glob::Glob;
use crate::keyspace::View;
use crate::limits::CURSOR_POSITION_BITS;
use crate::reply::Reply;
use crate::shard::{Shard, ShardId};
use crate::value::item::Item;
use crate::value::Type;
use std::collections::VecDeque;

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "keys",
        arity: 2,
        flags: Flags::READONLY,
        categories: Categories::KEYSPACE.union(Categories::DANGEROUS),
        group: Group::Generic,
        complexity: "O(N) with N the number of keys in the database, in slices",
        summary: "Lists the keys whose names match a pattern.",
        syntax: "pattern",
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        run: Run::Everywhere(keys, Merge::Concat),
        ..ROW
    },
    CommandSpec {
        name: "scan",
        arity: -2,
        flags: Flags::READONLY,
        categories: Categories::KEYSPACE,
        group: Group::Generic,
        since: "2.8.0",
        complexity: "O(COUNT) per call, O(N) for a whole iteration over N keys",
        summary: "Iterates over the keys of the database, some at a time.",
        syntax: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        tips: &["nondeterministic_output", "request_policy:special", "response_policy:special"],
        run: Run::ByCursor(scan),
        ..ROW
    },
];

/// COUNT when it is not given.
const DEFAULT_COUNT: usize = 10;

/// The shard, of `shards`, that a SCAN cursor belongs to. One that belongs to none, or is no cursor at all, goes to the
/// first shard, which gives the answer to that.
pub fn cursor_shard(cursor: &[u8], shards: u16) -> u16 {
    let index = parse_cursor(cursor).map_or(0, |cursor| (cursor >> CURSOR_POSITION_BITS) as u16);
    if index < shards {
        index
    } else {
        0
    }
}

/// Digits that fit 64 bits. Leading zeros are accepted, as Redis does.
pub(crate) fn parse_cursor(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |cursor, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then_some(())?;
        cursor.checked_mul(10)?.checked_add(digit as u64)
    })
}

fn keys(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let glob = Glob::new(exec.argv[1]);
    if let Some(name) = glob.literal() {
        let key = exec.shard.keys.key(name);
        if exec.shard.keys.exists(exec.view, &key) {
            reply.array(1);
            reply.bulk(name);
        } else {
            reply.array(0);
        }
        return DONE;
    }
    long_reply::answer(Walk::new(exec.view.db, Some(glob), None, 0, usize::MAX, Answer::Keys), exec, reply)
}

fn scan(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let cursor = parse_cursor(exec.argv[1]).ok_or(Error::INVALID_CURSOR)?;
    let (mut glob, mut count, mut of_type) = (None, DEFAULT_COUNT, None);
    let mut rest = exec.argv[2..].iter();
    while let Some(word) = rest.next() {
        let value = rest.next().ok_or(Error::SYNTAX)?;
        if args::is(word, "count") {
            let n = args::integer(value)?;
            count = usize::try_from(n).ok().filter(|&n| n >= 1).ok_or(Error::SYNTAX)?;
        } else if args::is(word, "match") {
            glob = Some(Glob::new(value)).filter(|glob| !glob.is_everything());
        } else if args::is(word, "type") {
            // A name that is no type at all finds nothing, and is no error.
            of_type = Some(Type::named(value));
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let shard = exec.shard.id;
    if cursor >> CURSOR_POSITION_BITS != shard.index as u64 {
        // Nobody gave this cursor: as in Redis, what it finds is not said, but it ends.
        reply.array(2);
        reply.bulk(b"0");
        reply.array(0);
        return DONE;
    }
    let position = cursor & ((1 << CURSOR_POSITION_BITS) - 1);
    let walk = Walk::new(exec.view.db, glob, of_type, position, count, Answer::Page { shard });
    long_reply::answer(walk, exec, reply)
}

/// What the reply of a walk looks like.
enum Answer {
    /// All names.
    Keys,
    /// The cursor to go on with, and the names of this page.
    Page {
        /// Whose cursor it is.
        shard: ShardId,
    },
}

impl Answer {
    /// What stands before the names, given where the walk ends and how many there are.
    fn head(&self, position: u64, len: usize, reply: &mut dyn Reply) {
        if let Answer::Page { shard } = self {
            let next = if position != 0 {
                (shard.index as u64) << CURSOR_POSITION_BITS | position
            } else if shard.index + 1 < shard.count {
                (shard.index as u64 + 1) << CURSOR_POSITION_BITS
            } else {
                0
            };
            reply.array(2);
            reply.bulk(itoa::Buffer::new().format(next).as_bytes());
        }
        reply.array(len);
    }
}

/// A walk over the keys of one database, between two turns.
struct Walk {
    db: u16,
    /// None: all names.
    glob: Option<Glob>,
    /// None: values of all types; some none: of a type that there is not.
    of_type: Option<Option<Type>>,
    /// Where it goes on; 0 after the last key.
    position: u64,
    /// How many keys it may still visit.
    left: usize,
    overlap: Overlap,
    answer: Answer,
}

/// Keys that are visited for an element of the budget: most are only looked at.
const VISITS_PER_ELEMENT: usize = 4;

impl Walk {
    fn new(
        db: u16,
        glob: Option<Glob>,
        of_type: Option<Option<Type>>,
        position: u64,
        count: usize,
        answer: Answer,
    ) -> Walk {
        let glob = glob.filter(|glob| !glob.is_everything());
        // One turn has no turn before it.
        let overlap =
            Overlap { is_needed: count > FIRST_ELEMENTS * VISITS_PER_ELEMENT, ..Overlap::default() };
        Walk { db, glob, of_type, position, left: count, overlap, answer }
    }
}

impl Gather for Walk {
    fn gather(
        &mut self,
        shard: &mut Shard,
        now: UnixMs,
        count: usize,
        elements: &mut Elements,
    ) -> Result<bool, Error> {
        let count = count.saturating_mul(VISITS_PER_ELEMENT).min(self.left);
        let view = View { db: self.db, now, touch: false };
        let Walk { glob, of_type, overlap, .. } = self;
        overlap.start_turn();
        self.position = shard.keys.scan(view, self.position, count, &mut |entry| {
            let name = entry.key();
            let is_wanted = of_type.is_none_or(|wanted| wanted == Some(entry.value().kind()))
                && glob.as_ref().is_none_or(|glob| glob.matches(name));
            if is_wanted && overlap.is_new(name) {
                elements.push(Item::Bytes(name));
            }
        });
        if self.left != usize::MAX {
            self.left -= count;
        }
        Ok(self.position == 0 || self.left == 0)
    }

    fn head(&self, elements: &Elements, reply: &mut dyn Reply) {
        self.answer.head(self.position, elements.len(), reply);
    }
}

/// The last names of a turn. When segments merge between two turns, they can be the first ones of the next turn, again: those
/// whose hashes begin with the same bits as the position. So many are compared.
#[derive(Default)]
struct Overlap {
    /// The last names, and how many of them are of turns before this one.
    names: VecDeque<Vec<u8>>,
    before: usize,
    /// Names of this turn so far.
    found: usize,
    /// Whether there is to be more than one turn.
    is_needed: bool,
}

impl Overlap {
    /// Names that are compared.
    const LEN: usize = 16;

    fn start_turn(&mut self) {
        (self.before, self.found) = (self.names.len(), 0);
    }

    /// Takes note of a name; whether it was not among the last ones of the turn before.
    fn is_new(&mut self, name: &[u8]) -> bool {
        if !self.is_needed {
            return true;
        }
        if self.found < Self::LEN && self.names.iter().take(self.before).any(|seen| seen == name) {
            return false;
        }
        self.found += 1;
        let mut kept = Vec::new();
        if self.names.len() == Self::LEN {
            kept = self.names.pop_front().expect("it is full");
            self.before = self.before.saturating_sub(1);
        }
        kept.clear();
        kept.extend_from_slice(name);
        self.names.push_back(kept);
        true
    }
}

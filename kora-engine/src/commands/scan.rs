//! KEYS and SCAN: walks over a database in the order of the hashes of its keys.
//!
//! Both visit a bounded number of keys per turn of the executor and go on as a [`Continuation`] when that was not
//! enough, collecting names; so KEYS on a hundred million keys, or SCAN with a COUNT of a million, holds
//! nobody up. What both promise: a key that is there from the first turn to the last is found, a key that comes or
//! goes meanwhile may be.
//!
//! A SCAN cursor is `shard << 48 | position`: the shards are walked one after the other. When one is through, the
//! next cursor is the start of the next shard, and 0 after the last.

use crate::args;
use crate::change::UnixMs;
use crate::command::{Categories, CommandSpec, Flags, Group, Merge, Run, ROW};
use crate::error::Error;
use crate::exec::{Continuation, Exec, Flow, Outcome, DONE};
use crate::glob::Glob;
use crate::keyspace::{Keyspace, View};
use crate::limits::{CURSOR_POSITION_BITS, SEGMENT_KEYS, WALK_FIRST_KEYS};
use crate::reply::Reply;
use crate::shard::{Shard, ShardId};
use crate::value::Type;

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
    start(exec, reply, Walk::new(exec.view.db, Some(glob), None, 0, usize::MAX, Answer::Keys))
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
        write_page(reply, 0, &Names::default());
        return DONE;
    }
    let position = cursor & ((1 << CURSOR_POSITION_BITS) - 1);
    start(exec, reply, Walk::new(exec.view.db, glob, of_type, position, count, Answer::Page { shard }))
}

/// Does the first turn of a walk; most are done by then.
fn start(exec: &mut Exec<'_>, reply: &mut dyn Reply, mut walk: Walk) -> Outcome {
    if walk.advance(&exec.shard.keys, exec.now(), WALK_FIRST_KEYS) {
        walk.answer(reply);
        return DONE;
    }
    Ok(Flow::Later(Box::new(walk)))
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
    names: Names,
    answer: Answer,
}

impl Walk {
    fn new(
        db: u16,
        glob: Option<Glob>,
        of_type: Option<Option<Type>>,
        position: u64,
        count: usize,
        answer: Answer,
    ) -> Walk {
        Walk { db, glob, of_type, position, left: count, names: Names::default(), answer }
    }

    /// Visits about `count` keys more. Returns whether the walk is over.
    fn advance(&mut self, keys: &Keyspace, now: UnixMs, count: usize) -> bool {
        let count = count.min(self.left);
        let view = View { db: self.db, now, touch: false };
        let Walk { glob, of_type, names, .. } = self;
        names.start_turn();
        self.position = keys.scan(view, self.position, count, &mut |entry| {
            let name = entry.key();
            let wanted = of_type.is_none_or(|kind| kind == Some(entry.value().kind()));
            if wanted && glob.as_ref().is_none_or(|glob| glob.matches(name)) {
                names.add(name);
            }
        });
        if self.left != usize::MAX {
            self.left -= count;
        }
        self.position == 0 || self.left == 0
    }

    fn answer(&self, reply: &mut dyn Reply) {
        match self.answer {
            Answer::Keys => self.names.write(reply),
            Answer::Page { shard } => {
                let next = if self.position != 0 {
                    (shard.index as u64) << CURSOR_POSITION_BITS | self.position
                } else if shard.index + 1 < shard.count {
                    (shard.index as u64 + 1) << CURSOR_POSITION_BITS
                } else {
                    0
                };
                write_page(reply, next, &self.names);
            }
        }
    }
}

impl Continuation for Walk {
    fn resume(&mut self, shard: &mut Shard, now: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        let done = self.advance(&shard.keys, now, budget.max(1).saturating_mul(SEGMENT_KEYS));
        if done {
            self.answer(reply);
        }
        done
    }
}

fn write_page(reply: &mut dyn Reply, cursor: u64, names: &Names) {
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(cursor).as_bytes());
    names.write(reply);
}

/// Collected names, one behind the other: two allocations however many there are.
#[derive(Default)]
struct Names {
    bytes: Vec<u8>,
    /// Where each one ends.
    ends: Vec<usize>,
    /// How many there were when the present turn began.
    before_turn: usize,
}

/// When segments merge between two turns, the first names of a turn can be the last ones of the turn before, again:
/// those whose hashes begin with the same bits as the position. So many are compared.
const OVERLAP: usize = 16;

impl Names {
    fn start_turn(&mut self) {
        self.before_turn = self.ends.len();
    }

    fn add(&mut self, name: &[u8]) {
        let first_names = self.ends.len() - self.before_turn < OVERLAP;
        if first_names && self.tail_of_last_turn().any(|seen| seen == name) {
            return;
        }
        self.bytes.extend_from_slice(name);
        self.ends.push(self.bytes.len());
    }

    fn tail_of_last_turn(&self) -> impl Iterator<Item = &[u8]> {
        (self.before_turn.saturating_sub(OVERLAP)..self.before_turn).map(|index| self.get(index))
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    fn write(&self, reply: &mut dyn Reply) {
        reply.array(self.ends.len());
        for index in 0..self.ends.len() {
            reply.bulk(self.get(index));
        }
    }
}

//! Commands that wait for a key to have something for them.
//!
//! A blocked command is its own argument list (see [`kora_engine::blocking`]): it is tried, and when it answers that nothing is there, it is put into the
//! [`lines`] of its keys on the shards that own them, in one step with the attempt: on one shard because nothing else runs there in between, over several
//! because they are held as for a transaction. From then on its connection executes nothing and costs nothing.
//!
//! ```text
//!   connection (home)                      shard with a key
//!   [Block]: deadline, reply awaited       line of the key: BlockedCommand, BlockedCommand ...
//!        \                                      /
//!         +---- Claim: who ends the waiting ---+
//! ```
//!
//! A change of a key that somebody waits for makes the key ready. When the command that has changed it is over (for a transaction: before anybody else
//! gets its keys), ready keys are served in the order in which they became so: the first in line for whom there is something is claimed, run, and answered,
//! then the next. Serving may make other keys ready; since everybody is served once, that ends.
//!
//! A command that reads several streams on several shards is answered by the shard that has something first, with its streams only: the entries of the others
//! would have come at once as well if it had been called a moment later.
//!
//! An element that moves to a key on another shard (BLMOVE) takes a transaction over both: see [`elsewhere`].

pub(crate) mod claim;
mod connections;
mod elsewhere;
pub(crate) mod lines;
mod serve;

pub(crate) use connections::{Block, Over};
pub(crate) use elsewhere::Due;

use crate::mail::ReplyTo;
use crate::words::Words;
use claim::Claim;
use kora_engine::command::Command;
use kora_engine::keyspace::View;
use kora_engine::reply::Protocol;
use lines::Lines;
use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// The place of a blocked command in all its lines, and its name: a number from the counter of the process, taken when it begins to block.
pub type Age = u64;

/// A command that blocks, or is about to.
pub struct BlockedCommand {
    /// Who ends it.
    pub claim: Arc<Claim>,
    /// Its place in all lines.
    pub age: Age,
    /// Its row.
    pub command: &'static Command,
    /// Its arguments, in which nothing stands for a moment any more (`$` of XREAD) once it waits.
    pub words: Words,
    /// Database and access flags; the time is that of the attempt.
    pub view: View,
    /// How the reply is encoded.
    pub protocol: Protocol,
    /// The executor of its connection.
    pub home: u16,
    /// Where its reply goes there.
    pub to: ReplyTo,
    /// All its keys are on one shard, the one that it writes as well.
    pub whole: bool,
}

impl BlockedCommand {
    /// Which arguments are the keys that it waits for.
    fn awaited(&self) -> Range<usize> {
        kora_engine::blocking::awaited(self.command, &self.words.argv())
    }
}

/// What an executor has to do with blocked commands.
#[derive(Default)]
pub(crate) struct Blocking {
    /// Who waits for keys of its shard; none while nobody does. Shared with the stream of changes.
    lines: Option<Rc<RefCell<Lines>>>,
    /// When its own blocked connections have waited enough, Unix milliseconds, with their indexes.
    timers: BTreeSet<(u64, u32)>,
    /// Commands of its own connections that need the help of another shard now.
    due: VecDeque<Due>,
}

impl Blocking {
    /// Whether somebody waits for keys of this shard.
    #[inline(always)]
    pub(crate) fn is_active(&self) -> bool {
        self.lines.is_some()
    }

    /// Whether there is something to start.
    pub(crate) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// When to look at the time-outs again, Unix milliseconds.
    pub(crate) fn next_timer(&self) -> Option<u64> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// How many of its connections wait until a certain time.
    pub(crate) fn timers(&self) -> usize {
        self.timers.len()
    }

    /// How many keys are waited for.
    pub(crate) fn counts(&self) -> lines::Counts {
        self.lines.as_ref().map_or_else(Default::default, |lines| lines.borrow().counts())
    }
}

//! What a command handler gets: the shard, the arguments, the time.

use crate::change::UnixMs;
use crate::command::Command;
use crate::error::Error;
use crate::keyspace::View;
use crate::reply::Reply;
use crate::shard::Shard;
use bytes::Bytes;

/// One command in execution on one shard.
pub struct Exec<'a> {
    /// The shard that owns the command's keys.
    pub shard: &'a mut Shard,
    /// Database, time and access flags under which it runs.
    pub view: View,
    /// The command's row and number.
    pub command: &'static Command,
    /// Its arguments; `argv[0]` is the name. The arity has been checked.
    pub argv: &'a [&'a [u8]],
    /// The refcounted buffer that the arguments lie in, when they do: a large value is then kept by
    /// reference instead of being copied.
    pub frame: Option<&'a Bytes>,
}

impl<'a> Exec<'a> {
    /// The argument at `index`; the arity guarantees it.
    #[inline]
    pub fn arg(&self, index: usize) -> &'a [u8] {
        self.argv[index]
    }

    /// Number of arguments, name included.
    #[inline]
    pub fn argc(&self) -> usize {
        self.argv.len()
    }

    /// The time of this command.
    #[inline]
    pub fn now(&self) -> UnixMs {
        self.view.now
    }
}

/// How a handler ended.
pub enum Flow {
    /// The reply is complete.
    Done,
    /// The reply is not written yet: the work goes on in slices, between the turns of the executor.
    Later(Box<dyn Continuation>),
}

/// Work that is too long for one turn.
pub trait Continuation {
    /// Works for about `budget` segments of the table. Returns true when it is done and its one reply is complete. It may
    /// write the reply in parts, over several turns (always to the same sink): nobody sees them before it is done. So a reply must not
    /// begin before it is certain how it goes on.
    fn resume(&mut self, shard: &mut Shard, now: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool;
}

/// What a handler returns.
pub type Outcome = Result<Flow, Error>;

/// The usual end of a handler.
pub const DONE: Outcome = Ok(Flow::Done);

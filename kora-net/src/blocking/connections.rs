//! The connection's side: how a command comes to block, and how that ends.

use super::claim::Claim;
use super::{Age, BlockedCommand};
use crate::dispatch::{Asker, Owner};
use crate::executor::{Executor, KeptOrigin, SliceOrigin};
use crate::mail::ReplyTo;
use crate::process::Phase;
use crate::resp::encode::{Output, RespSink};
use crate::several;
use crate::transaction::footprint;
use crate::words::Words;
use bytes::Bytes;
use kora_engine::blocking::{self, Deadline};
use kora_engine::command::{Command, Spread};
use kora_engine::reply::{Protocol, Reply};
use kora_engine::shard::Applied;
use smallvec::SmallVec;
use std::sync::atomic::Ordering;
use std::sync::Arc;

/// Redis's words for CLIENT UNBLOCK with ERROR.
const UNBLOCKED: &[u8] = b"UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// What is answered when the time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// That nothing is there.
    Absence,
    /// That nobody has confirmed: WAIT.
    NoReplica,
    /// The same of WAITAOF: here and elsewhere.
    NoFile,
}

impl Over {
    pub(crate) fn write(self, reply: &mut dyn Reply) {
        match self {
            Over::Absence => blocking::absence(reply),
            Over::NoReplica => reply.integer(0),
            Over::NoFile => {
                reply.array(2);
                reply.integer(0);
                reply.integer(0);
            }
        }
    }
}

/// What a connection knows of the command that blocks it.
pub(crate) struct Block {
    /// Who ends it.
    claim: Arc<Claim>,
    /// Under which name shards know it.
    age: Age,
    /// Which of the connection's replies it is: always the last one.
    sequence: u32,
    command: &'static Command,
    /// When it has waited enough, Unix milliseconds.
    deadline: Deadline,
    over: Over,
    /// The shards on which it may wait.
    shards: SmallVec<[u16; 4]>,
}

impl Block {
    /// Whether it waits, and is not just being tried.
    pub(crate) fn is_waiting(&self) -> bool {
        self.claim.is_waiting()
    }
}

impl Executor {
    /// Runs a command that may block. False when it does not with these arguments: then it is a command like others.
    #[inline(never)]
    pub(crate) fn run_blocking(
        &mut self,
        index: u32,
        command: &'static Command,
        spread: Spread,
        argv: &[&[u8]],
        frame: Option<&Bytes>,
    ) -> bool {
        let Some(deadline) = blocking::deadline(command, argv, self.now) else { return false };
        if let Err(error) = self.check_entrance(index, command, argv) {
            self.reject(index, Some(command), argv, error);
            return true;
        }
        match self.owner(command, argv) {
            Owner::One(shard) if shard == self.id => self.block_here(index, command, argv, frame, deadline),
            Owner::One(shard) => self.block_there(index, shard, command, argv, deadline),
            Owner::Several => {
                let Spread::Coordinate(kind) = spread else {
                    unreachable!("{} is coordinated over several shards", command.full_name)
                };
                self.block_on_several(index, kind, command, argv, deadline);
            }
        }
        true
    }

    /// On this shard: tried in place.
    fn block_here(
        &mut self,
        index: u32,
        command: &'static Command,
        argv: &[&[u8]],
        frame: Option<&Bytes>,
        deadline: Deadline,
    ) {
        let (protocol, view) = self.view_of(index);
        if !self.locks.is_empty() {
            let wants = footprint::wants_of(&self.shard.keys, command, argv);
            if !self.locks.is_free(&wants) {
                let words = Words::of(argv.iter().copied());
                let blocked = self.begin_block(index, command, words, deadline, &[self.id], Claim::default());
                return self.keep_blocking(wants, blocked);
            }
        }
        let (shard, connection) = self.shard_and_connection(index);
        let out = connection.reply_output();
        let start = out.buf.len();
        let applied = shard.apply(view, command, argv, frame, &mut RespSink::new(out, protocol));
        if matches!(applied, Applied::Replied) && several::is_null(&out.buf[start..]) {
            out.buf.truncate(start);
            let words = self.settled_words(command, argv, view);
            let blocked = self.begin_block(index, command, words, deadline, &[self.id], Claim::waiting());
            return self.register(Arc::from(blocked));
        }
        connection.reply_written();
        self.account(command, &applied, Asker::Connection(index), argv);
        if let Applied::Later(work) = applied {
            let to = self.await_reply(index);
            self.connection(index).stalled.coordinating = true;
            self.add_slice(work, SliceOrigin::Own(to), protocol, Output::default());
        }
        self.after_work();
    }

    /// On the shard of another executor: it tries, and puts it in line.
    fn block_there(
        &mut self,
        index: u32,
        shard: u16,
        command: &'static Command,
        argv: &[&[u8]],
        deadline: Deadline,
    ) {
        if !self.has_room(index, shard) {
            return;
        }
        let words = Words::of(argv.iter().copied());
        let blocked = self.begin_block(index, command, words, deadline, &[shard], Claim::default());
        self.post(shard, move |executor| executor.first_attempt(blocked));
    }

    /// The connection executes nothing until the command is answered.
    pub(super) fn begin_block(
        &mut self,
        index: u32,
        command: &'static Command,
        words: Words,
        deadline: Deadline,
        shards: &[u16],
        claim: Claim,
    ) -> Box<BlockedCommand> {
        let (protocol, view) = self.view_of(index);
        let claim = Arc::new(claim);
        let age = self.process.next_blocked.fetch_add(1, Ordering::Relaxed);
        let to = self.block(index, command, deadline, Over::Absence, shards, age, claim.clone());
        let whole = shards.len() == 1;
        Box::new(BlockedCommand { claim, age, command, words, view, protocol, home: self.id, to, whole })
    }

    /// WAIT and WAITAOF: nothing but time ends them.
    pub(crate) fn block_for_time(
        &mut self,
        index: u32,
        command: &'static Command,
        deadline: Deadline,
        over: Over,
    ) {
        self.block(index, command, deadline, over, &[], 0, Arc::new(Claim::waiting()));
    }

    #[allow(clippy::too_many_arguments)]
    fn block(
        &mut self,
        index: u32,
        command: &'static Command,
        deadline: Deadline,
        over: Over,
        shards: &[u16],
        age: Age,
        claim: Arc<Claim>,
    ) -> ReplyTo {
        let to = self.await_reply(index);
        let ReplyTo::Connection { sequence, .. } = to else { unreachable!("asked for a connection") };
        let shards = SmallVec::from_slice(shards);
        let connection = self.connection(index);
        connection.blocked = Some(Box::new(Block { claim, age, sequence, command, deadline, over, shards }));
        connection.stalled.blocked = true;
        if let Some(at) = deadline {
            self.blocking.timers.insert((at, index));
        }
        // A disconnection must be seen.
        self.resume_receiving(index);
        to
    }

    /// The reply of a connection's blocked command has been written, if it is that one: the connection goes on.
    pub(crate) fn unblock(&mut self, index: u32, answered: u32) {
        let connection = self.connection(index);
        if connection.blocked.as_ref().is_none_or(|block| block.sequence != answered) {
            return;
        }
        self.end_block(index);
        self.wake_connection(index);
    }

    /// Forgets what blocks a connection, here and on the shards where it waits.
    fn end_block(&mut self, index: u32) -> Option<Box<Block>> {
        let connection = self.connection(index);
        let block = connection.blocked.take()?;
        connection.stalled.blocked = false;
        if let Some(at) = block.deadline {
            self.blocking.timers.remove(&(at, index));
        }
        // The only shard on which it has waited, and which has served it, has forgotten it.
        let forgotten =
            block.claim.was_answered_at_once() || block.shards.len() == 1 && !block.claim.is_cancelled();
        if !forgotten {
            let age = block.age;
            for &shard in &block.shards {
                if shard == self.id {
                    self.forget_blocked(age);
                } else {
                    self.post(shard, move |executor| executor.forget_blocked(age));
                }
            }
        }
        Some(block)
    }

    /// The client of a blocked connection is gone, or is made to go.
    #[cold]
    pub(crate) fn abandon_block(&mut self, index: u32) {
        if let Some(block) = self.connection(index).blocked.as_ref() {
            block.claim.abandon();
            self.end_block(index);
        }
    }

    /// Answers those who have waited enough.
    pub(crate) fn expire_blocked(&mut self) {
        while let Some(&(at, index)) = self.blocking.timers.first() {
            if at > self.now {
                return;
            }
            self.blocking.timers.pop_first();
            let now = self.now;
            let connection = self.connection(index);
            let block = connection.blocked.as_mut().expect("a timer goes with what it is for");
            if block.claim.cancel() {
                self.answer_cancelled(index, None);
            } else if block.claim.is_trying() {
                // The shard has not looked yet whether there is something.
                block.deadline = Some(now + 1);
                self.blocking.timers.insert((now + 1, index));
            } else {
                // Its answer is on its way.
                block.deadline = None;
            }
        }
    }

    /// CLIENT UNBLOCK of one of this executor's clients. Returns whether it waited.
    pub(crate) fn unblock_client(&mut self, id: u64, with_error: bool) -> bool {
        let found =
            self.connections().find(|(_, connection)| connection.info.id == id).map(|(index, _)| index);
        let Some(index) = found else { return false };
        let waited = self.connection(index).blocked.as_ref().is_some_and(|block| block.claim.cancel());
        if waited {
            self.answer_cancelled(index, with_error.then_some(UNBLOCKED));
        }
        waited
    }

    /// Answers a command that will not be served any more: with the error, or as if its time were over.
    fn answer_cancelled(&mut self, index: u32, error: Option<&[u8]>) {
        let connection = self.connection(index);
        let protocol = connection.protocol;
        let generation = connection.generation;
        let block = connection.blocked.as_ref().expect("it was cancelled just now");
        let (sequence, over, command) = (block.sequence, block.over, block.command);
        self.observed.totals.commands += 1;
        self.observed.commands.record(command.id as usize, 0);
        if let Some(error) = error {
            self.observed.errors.record(error);
            self.observed.commands.record_failed(command.id as usize);
        }
        let to = ReplyTo::Connection { index, generation, sequence };
        self.deliver(to, &mut |out| write_end(out, protocol, over, error));
    }

    /// While the process stops nobody waits any more.
    pub(crate) fn drop_blocked(&mut self) {
        debug_assert!(self.process.phase() != Phase::Running);
        let blocked: Vec<u32> =
            self.connections().filter(|(_, c)| c.blocked.is_some()).map(|(index, _)| index).collect();
        for index in blocked {
            self.drop_connection(index);
        }
    }

    /// How many of this executor's clients wait.
    pub(crate) fn blocked_clients(&self) -> usize {
        let waits = |block: &Block| block.is_waiting();
        self.connections().filter(|(_, c)| c.blocked.as_deref().is_some_and(waits)).count()
    }

    /// Keeps a command that blocks until it may have what it wants, which it may not now.
    pub(super) fn keep_blocking(
        &mut self,
        wants: crate::transaction::locks::Wants,
        blocked: Box<BlockedCommand>,
    ) {
        let (command, view, protocol) = (blocked.command, blocked.view, blocked.protocol);
        let origin = KeptOrigin::Blocking(blocked);
        self.keep_from(wants, origin, command, Words::default(), view, protocol);
    }
}

fn write_end(out: &mut Output, protocol: Protocol, over: Over, error: Option<&[u8]>) {
    let reply = &mut RespSink::new(out, protocol);
    match error {
        Some(error) => reply.error(error),
        None => over.write(reply),
    }
}

//! Scripts whose keys are all on one shard, on the executor that owns it.

use super::call::{self, Call, Control, Holds, Session, NOT_HELD};
use super::spread::Spreading;
use super::Prepared;
use super::SLICE;
use crate::connection::Entrance;
use crate::coordinate::Entry;
use crate::dispatch::{Asker, Owner, Started};
use crate::executor::{Executor, SliceOrigin};
use crate::mail::ReplyTo;
use crate::resp::encode::{Output, RespSink};
use crate::several::{self, Asked};
use crate::transaction::locks::{Lease, Mode, Wants};
use crate::transaction::Site;
use kora_engine::command::{Command, Run, ScriptCommand};
use kora_engine::error::Error;
use kora_engine::keyspace::View;
use kora_engine::reply::{Protocol, Reply};
use kora_engine::shard::Applied;
use kora_engine::slot::Slot;
use kora_persist::log::Mark;
use kora_script::{Running, Step, KILLED_BY_USER};
use smallvec::{smallvec, SmallVec};
use std::sync::atomic::Ordering;
use std::sync::Arc;

/// A script that goes on in later turns.
pub struct Alone {
    running: Running,
    session: Session,
    control: Arc<Control>,
    /// The shard is its own until it ends.
    lease: Option<Lease>,
    /// What it writes is one unit of the log, under this number.
    tag: Option<u64>,
    origin: SliceOrigin,
    started: Started,
}

/// What a script does next.
enum Next<'a> {
    /// It begins with these KEYS and ARGV.
    Start(&'a [&'a [u8]], &'a [&'a [u8]]),
    GoOn,
    /// It is to end.
    Kill,
}

/// A script at the end of its first slice, and where in the log that began.
pub type Paused = (Running, Session, Arc<Control>, Option<Mark>);

/// How a script went in its first slice.
pub enum Began {
    /// Its reply is written.
    Replied,
    /// It could not begin, or has raised an error, which is the reply.
    Failed(Error),
    /// It goes on in later turns.
    Paused(Box<Paused>),
}

impl Began {
    /// The same of one that has ended, for statistics.
    pub fn applied(self) -> Applied {
        match self {
            Began::Failed(error) => Applied::Failed(error),
            _ => Applied::Replied,
        }
    }
}

impl Executor {
    /// Runs a script command all of whose keys are on this shard, and nothing of it is held by others.
    pub(crate) fn begin_script(&mut self, kind: ScriptCommand, asked: Asked<'_>, out: &mut Output) -> Began {
        self.try_begin_script(kind, asked, out).unwrap_or_else(|error| {
            RespSink::new(out, asked.protocol).error(error.text());
            Began::Failed(error)
        })
    }

    fn try_begin_script(
        &mut self,
        kind: ScriptCommand,
        asked: Asked<'_>,
        out: &mut Output,
    ) -> Result<Began, Error> {
        let Asked { command, argv, view, protocol } = asked;
        let prepared = self.prepare_script(kind, command, argv)?;
        let holds = match (self.count, prepared.keys.is_empty()) {
            (1, _) => Holds::All,
            (_, true) => Holds::Some(SmallVec::new()),
            (_, false) => Holds::Some(smallvec![self.id]),
        };
        let mut session = self.session(&prepared, view, holds);
        let mut running = prepared.begin(self.scripting.copies.pool.take()?, protocol);
        let mark = self.mark_log();
        let keys = &argv[prepared.keys.clone()];
        let arguments = &argv[prepared.keys.end..];
        if !self.drive(&mut running, &mut session, Next::Start(keys, arguments)) {
            let control = Arc::new(prepared.control(argv));
            return Ok(Began::Paused(Box::new((running, session, control, mark))));
        }
        Ok(match self.end_script(running, out) {
            None => Began::Replied,
            Some(error) => Began::Failed(error),
        })
    }

    /// A script command of a connection.
    pub(crate) fn route_script(
        &mut self,
        index: u32,
        kind: ScriptCommand,
        command: &'static Command,
        argv: &[&[u8]],
    ) {
        let executor_port = self.connection(index).entrance == Entrance::Executor;
        if executor_port {
            if let Err(error) = self.check_slots(index, command, argv) {
                return self.reject(index, Some(command), argv, error);
            }
        }
        let owner = match self.owner(command, argv) {
            Owner::One(_) if self.settings.script_undeclared_keys && self.count > 1 => Owner::Several,
            owner => owner,
        };
        match owner {
            Owner::One(shard) if shard == self.id => self.run_script_here(index, kind, command, argv),
            Owner::One(shard) => self.run_there(index, shard, command, argv, None),
            Owner::Several => {
                let (protocol, view) = self.view_of(index);
                match self.prepare_script(kind, command, argv) {
                    Ok(prepared) => {
                        let asked = Asked { command, argv, view, protocol };
                        let undeclared = self.settings.script_undeclared_keys;
                        let holds = Holds::of(command, argv, self.count, undeclared);
                        let task = Spreading::new(self, prepared, asked, holds).task();
                        self.coordinate(index, task, command, argv);
                    }
                    Err(error) => self.reject(index, Some(command), argv, error),
                }
            }
        }
    }

    fn run_script_here(
        &mut self,
        index: u32,
        kind: ScriptCommand,
        command: &'static Command,
        argv: &[&[u8]],
    ) {
        if !self.locks.is_empty() && self.wait_for_keys(index, command, argv) {
            return;
        }
        let (protocol, view) = self.view_of(index);
        let mut out = std::mem::take(self.connection(index).reply_output());
        let began = self.begin_script(kind, Asked { command, argv, view, protocol }, &mut out);
        let connection = self.connection(index);
        *connection.reply_output() = out;
        match began {
            Began::Paused(paused) => {
                let to = self.await_reply(index);
                self.connection(index).stalled.coordinating = true;
                let started = self.started(command, argv);
                self.pause_script(paused, None, SliceOrigin::Own(to), started);
            }
            began => {
                connection.reply_written();
                self.account(command, &began.applied(), Asker::Connection(index), argv);
                self.after_work();
            }
        }
    }

    /// A script command that a peer has sent. Returns whether it is answered.
    pub(crate) fn serve_script(
        &mut self,
        kind: ScriptCommand,
        asked: Asked<'_>,
        (from, to): (u16, ReplyTo),
        out: &mut Output,
    ) -> bool {
        let Asked { command, argv, .. } = asked;
        match self.begin_script(kind, asked, out) {
            Began::Paused(paused) => {
                let started = self.started(command, argv);
                self.pause_script(paused, None, SliceOrigin::Peer(from, to), started);
                false
            }
            began => {
                self.account(command, &began.applied(), Asker::Peer(from, to), argv);
                self.after_work();
                true
            }
        }
    }

    /// What the commands of a script have in common.
    pub(super) fn session(&self, prepared: &Prepared, view: View, holds: Holds) -> Session {
        Session {
            view,
            read_only: prepared.read_only,
            out_of_memory: prepared.out_of_memory,
            log_refuses: self.process.storage.as_ref().is_some_and(|storage| storage.is_poisoned()),
            databases: self.process.options.databases,
            holds,
            has_written: false,
        }
    }

    /// Has a script go on in later turns. From now on it holds this shard, unless it does already.
    pub(crate) fn pause_script(
        &mut self,
        paused: Box<Paused>,
        lease: Option<Lease>,
        origin: SliceOrigin,
        started: Started,
    ) {
        let (running, session, control, mark) = *paused;
        let lease = lease.or_else(|| {
            if session.holds == Holds::Some(SmallVec::new()) {
                return None;
            }
            // It ran because nobody held anything, and nothing else has run since.
            let lease = self.locks.take(Wants::whole(Mode::Exclusive));
            assert!(lease.is_some(), "the shard was free");
            lease
        });
        control.has_written.store(session.has_written, Ordering::Relaxed);
        self.note_script(&control);
        // What it has written so far must not be in the log without the rest.
        let tag = self.hub.transaction().tag();
        self.tag_log_since(mark, tag);
        self.scripting.paused.push_back(Alone { running, session, control, lease, tag, origin, started });
    }

    /// A slice of the script whose turn it is.
    pub(crate) fn run_scripts(&mut self) {
        let Some(mut alone) = self.scripting.paused.pop_front() else { return };
        self.watch_time(&alone.control);
        if alone.control.is_slow.load(Ordering::Relaxed) {
            self.tell_busy();
        }
        let next = match alone.control.killed.load(Ordering::Relaxed) {
            true => Next::Kill,
            false => Next::GoOn,
        };
        if let Some(tag) = alone.tag {
            self.tell_log(Entry::Begin(tag));
        }
        let done = self.drive(&mut alone.running, &mut alone.session, next);
        if let Some(tag) = alone.tag {
            self.tell_log(Entry::End);
            if done && alone.session.has_written {
                self.tell_log(Entry::Commit(tag));
            }
        }
        if !done {
            alone.control.has_written.store(alone.session.has_written, Ordering::Relaxed);
            self.scripting.paused.push_back(alone);
            return;
        }
        let Alone { running, control, lease, origin, started, .. } = alone;
        self.forget_script(&control);
        let mut reply = Output::default();
        self.end_script(running, &mut reply);
        match lease {
            Some(lease) => crate::transaction::release(self, lease),
            None => self.after_work(),
        }
        let to = match origin {
            SliceOrigin::Own(to) => to,
            // Its client is the peer's; the command counts here.
            SliceOrigin::Peer(_, _) => ReplyTo::Nobody,
        };
        self.account_started(&started, to, &reply);
        self.deliver_late(origin, reply);
    }

    /// Runs a script until it ends or its slice does. Returns whether it has ended.
    fn drive(&mut self, running: &mut Running, session: &mut Session, next: Next<'_>) -> bool {
        // The clock was read when the command before this one ended; a short script never reads it again.
        let (clock, begin) = (self.clock.clone(), self.last_tick);
        let mut is_over = || clock.delta_as_nanos(begin, clock.raw()) >= SLICE.as_nanos() as u64;
        let mut reply = std::mem::take(&mut self.scripting.reply);
        let mut step = match next {
            Next::Start(keys, arguments) => running.start(keys, arguments, &mut is_over),
            Next::GoOn => running.go_on(&mut is_over),
            Next::Kill => running.kill(KILLED_BY_USER),
        };
        let done = loop {
            step = match step {
                Step::Call { arguments, protocol } => {
                    reply.clear();
                    self.call_alone(session, arguments, protocol, &mut reply);
                    if reply.shared.is_empty() {
                        running.reply(&reply.buf, &mut is_over)
                    } else {
                        running.reply(&reply.flatten(), &mut is_over)
                    }
                }
                Step::MayCall(arguments) => {
                    reply.clear();
                    call::may_call(arguments, &mut reply);
                    running.reply(&reply.buf, &mut is_over)
                }
                Step::Log { level, line } => {
                    call::log(level, line);
                    running.go_on(&mut is_over)
                }
                Step::Pause => break false,
                Step::Done(_) => break true,
            };
        };
        if reply.buf.capacity() > crate::limits::POOL_BUFFER_LEN_MAX {
            reply = Output::default();
        }
        self.scripting.reply = reply;
        done
    }

    /// Adds the reply of a script that has ended to `out`, and takes its interpreter back. Returns the error if the reply is one.
    fn end_script(&mut self, running: Running, out: &mut Output) -> Option<Error> {
        let reply = running.result().expect("it has ended");
        out.buf.extend_from_slice(reply);
        let error = error_in(reply).filter(|_| running.has_failed());
        if let Some(interpreter) = running.finish() {
            self.scripting.copies.pool.give_back(interpreter);
        }
        error
    }

    /// A command of a script on this shard.
    fn call_alone(&mut self, session: &mut Session, argv: &[&[u8]], protocol: Protocol, out: &mut Output) {
        let command = match session.call(argv, protocol, out) {
            Call::Answered => return,
            Call::Run(command) => command,
        };
        if self.count > 1 && !self.has_all_keys(&session.holds, command, argv) {
            return RespSink::new(out, protocol).error(NOT_HELD.as_bytes());
        }
        self.make_room(command, argv);
        let before = self.clock.raw();
        several::apply_whole(&mut self.shard, command, session.view, protocol, argv, out);
        self.count_call(command, before, out);
    }

    /// Whether everything that a command wants is on this shard, and held.
    fn has_all_keys(&self, holds: &Holds, command: &Command, argv: &[&[u8]]) -> bool {
        if several::reads_anywhere(command, argv) || matches!(command.spec.run, Run::ByCursor(_)) {
            return false;
        }
        let specs = command.spec.keys.iter();
        let mut keys = specs.flat_map(|spec| spec.positions(argv));
        keys.all(|at| Slot::of(argv[at]).shard(self.count) == self.id && holds.has(self.id))
    }

    /// A command of a script is counted as any other.
    pub(super) fn count_call(&mut self, command: &Command, before: u64, reply: &Output) {
        let nanos = self.clock.delta_as_nanos(before, self.clock.raw());
        self.observed.totals.commands += 1;
        self.observed.commands.record(command.id as usize, nanos);
        if let Some(error) = error_in(&reply.buf) {
            self.observed.errors.record(error.text());
            self.observed.commands.record_failed(command.id as usize);
        }
    }
}

/// The error that an encoded reply is, if it is one.
pub(super) fn error_in(reply: &[u8]) -> Option<Error> {
    let line = reply.strip_prefix(b"-")?;
    Some(Error::owned(line.split(|&b| b == b'\r').next().expect("split gives one").to_vec()))
}

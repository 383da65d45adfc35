//! From an argument list to a reply: resolve the command, decide where it runs, run it, account for it.

use crate::commands::transaction::{is_exec, is_queued};
use crate::commands::{self, Served};
use crate::connection::{Entrance, ReplyMode};
use crate::executor::{Executor, Gather, SliceOrigin};
use crate::limits::OUTBOX_PARK_LEN;
use crate::mail::{ReplyTo, RequestHead};
use crate::memory::OUT_OF_MEMORY;
use crate::resp::encode::{Output, RespSink};
use crate::several;
use crate::transaction::footprint;
use bytes::Bytes;
use kora_engine::command::{Command, Flags, Merge, Run, ServerCommand, Spread};
use kora_engine::error::Error;
use kora_engine::keyspace::View;
use kora_engine::limits::CURSOR_POSITION_BITS;
use kora_engine::reply::{Protocol, Reply};
use kora_engine::shard::Applied;
use kora_engine::slot::Slot;
use kora_modules::observe::slowlog::ShownArgs;
use std::sync::atomic::Ordering;

/// Redis's words, which clients look for.
const LOADING: Error = Error::new("LOADING Redis is loading the dataset in memory");

/// A command that several executors work on. It is accounted for when its reply is whole.
pub(crate) struct Started {
    /// Its row.
    pub command: &'static Command,
    /// Its arguments, in case it turns out to be slow.
    pub args: ShownArgs,
    /// Reading of the clock when it began.
    pub tick: u64,
}

/// Whose command it is.
#[derive(Clone, Copy)]
pub(crate) enum Asker {
    /// That of a connection of this executor.
    Connection(u32),
    /// It came in the mail of this peer.
    Peer(u16, ReplyTo),
}

/// Where the keys of a command are.
pub(crate) enum Owner {
    /// All on this shard.
    One(u16),
    /// On several.
    Several,
}

impl Executor {
    /// Executes one command of a connection. Its reply is written, or awaited from elsewhere, or the connection is stalled for
    /// a peer: then nothing has happened and the command is to be executed again.
    #[inline]
    pub(crate) fn execute(
        &mut self,
        index: u32,
        argv: &[&[u8]],
        frame: Option<&Bytes>,
        second_argument: Option<Slot>,
    ) {
        self.lend_buffer(index);
        self.mark_dirty(index);
        let command = match self.registry.resolve(argv) {
            Ok(command) => command,
            Err(_) if is_web_request(argv[0]) => return self.refuse_web_request(index),
            Err(error) => return self.reject(index, self.registry.named(argv), argv, error),
        };
        let now = self.now;
        let connection = self.connection(index);
        connection.last_active_ms = now;
        connection.last_command = Some(command.id);
        connection.info.commands += 1;
        if !connection.authenticated && !command.spec.flags.contains(Flags::NO_AUTH) {
            return self.reject(index, Some(command), argv, NO_AUTH);
        }
        let unanswered = connection.reply_mode != ReplyMode::On;
        let in_multi = connection.queue.is_some();
        if self.process.has_slow_scripts() && !command.spec.flags.contains(Flags::ALLOW_BUSY) {
            return self.reject(index, Some(command), argv, self.busy());
        }
        if self.process.paused_until_ms.load(Ordering::Relaxed) != 0 && self.pause(index, command) {
            return;
        }
        if self.is_held_up_by_storage(index, command, argv) {
            return;
        }
        if !self.has_memory_for(command, argv) {
            return self.reject(index, Some(command), argv, OUT_OF_MEMORY);
        }
        if in_multi && is_queued(command) {
            return self.enqueue(index, command, argv, second_argument);
        }
        if unanswered && !(is_exec(command) && self.connection(index).reply_mode == ReplyMode::Off) {
            return self.execute_unanswered(index, command, argv, frame);
        }
        self.route(index, command, argv, frame, second_argument);
    }

    /// Runs a command where it belongs. The slot of its second argument may be known already.
    #[inline]
    fn route(
        &mut self,
        index: u32,
        command: &'static Command,
        argv: &[&[u8]],
        frame: Option<&Bytes>,
        second_argument: Option<Slot>,
    ) {
        match command.spec.run {
            Run::Keys(_, spread) => {
                if command.spec.flags.contains(Flags::BLOCKING)
                    && self.run_blocking(index, command, spread, argv, frame)
                {
                    return;
                }
                let executor_port = self.connection(index).entrance == Entrance::Executor;
                if self.count == 1 && !executor_port {
                    return self.run_here(index, command, argv, frame);
                }
                let one_key = spread == Spread::OneKey
                    && command.spec.keys.first().is_some_and(|spec| spec.is_one_at(1));
                let owner = match second_argument {
                    Some(slot) if one_key => Owner::One(slot.shard(self.count)),
                    _ => self.owner(command, argv),
                };
                let own_key = one_key && matches!(owner, Owner::One(shard) if shard == self.id);
                if executor_port && !own_key {
                    if let Err(error) = self.check_slots(index, command, argv) {
                        return self.reject(index, Some(command), argv, error);
                    }
                }
                let owner = if several::reads_anywhere(command, argv) { Owner::Several } else { owner };
                match owner {
                    Owner::One(shard) if shard == self.id => self.run_here(index, command, argv, frame),
                    Owner::One(shard) => self.run_there(index, shard, command, argv, frame),
                    Owner::Several => {
                        let (protocol, view) = self.view_of(index);
                        let asked = several::Asked { command, argv, view, protocol };
                        let task = match spread {
                            Spread::Split(merge) => several::split(self, merge, asked),
                            Spread::Coordinate(kind) => Ok(several::task(self, kind, asked)),
                            Spread::OneKey => unreachable!("{} has one key", command.full_name),
                        };
                        match task {
                            Ok(task) => self.coordinate(index, task, command, argv),
                            Err(error) => self.reject(index, Some(command), argv, error),
                        }
                    }
                }
            }
            Run::Everywhere(_, merge) => {
                if self.count == 1 {
                    self.run_here(index, command, argv, frame)
                } else if merge == Merge::Concat {
                    // Long, and not of one moment anyway.
                    self.run_everywhere(index, command, argv, merge)
                } else {
                    let (protocol, view) = self.view_of(index);
                    let task =
                        several::everywhere(self, merge, several::Asked { command, argv, view, protocol });
                    self.coordinate(index, task, command, argv);
                }
            }
            Run::ByCursor(_) => {
                let shard = shard_of_cursor(argv, self.count).unwrap_or(self.id);
                if shard == self.id {
                    self.run_here(index, command, argv, frame)
                } else {
                    self.run_there(index, shard, command, argv, frame)
                }
            }
            Run::Script(kind) => self.route_script(index, kind, command, argv),
            Run::Server(server) => self.run_server(index, command, server, argv),
            Run::Container => self.reject(index, Some(command), argv, Error::wrong_arity(&command.full_name)),
        }
    }

    /// On this shard, answered at once: the hot path.
    #[inline]
    fn run_here(&mut self, index: u32, command: &'static Command, argv: &[&[u8]], frame: Option<&Bytes>) {
        if !self.locks.is_empty() && self.wait_for_keys(index, command, argv) {
            return;
        }
        let now = self.now;
        // The connection leaves its seat's borrow: the shard and the statistics are other fields.
        let (shard, connection) = self.shard_and_connection(index);
        let view = View { db: connection.db, now, touch: connection.touch };
        let protocol = connection.protocol;
        let applied =
            shard.apply(view, command, argv, frame, &mut RespSink::new(connection.reply_output(), protocol));
        if let Applied::Replied = applied {
            connection.reply_written();
            self.account(command, &applied, Asker::Connection(index), argv);
            self.after_work();
            return;
        }
        self.run_here_rest(index, command, argv, applied);
    }

    /// Whether somebody holds what a command of this shard wants. Then it is kept until its turn comes, and the connection waits.
    #[cold]
    pub(crate) fn wait_for_keys(&mut self, index: u32, command: &'static Command, argv: &[&[u8]]) -> bool {
        let wants = footprint::wants_of(&self.shard.keys, command, argv);
        if self.locks.is_free(&wants) {
            return false;
        }
        let (protocol, view) = self.view_of(index);
        let to = self.await_reply(index);
        self.connection(index).stalled.coordinating = true;
        self.keep(wants, SliceOrigin::Own(to), command, argv, view, protocol);
        true
    }

    #[cold]
    fn run_here_rest(&mut self, index: u32, command: &'static Command, argv: &[&[u8]], applied: Applied) {
        self.connection(index).reply_written();
        self.account(command, &applied, Asker::Connection(index), argv);
        if let Applied::Later(work) = applied {
            let to = self.await_reply(index);
            let protocol = self.connection(index).protocol;
            self.connection(index).stalled.coordinating = true;
            self.add_slice(work, SliceOrigin::Own(to), protocol, Output::default());
        }
        self.after_work();
    }

    /// On the shard of another executor.
    #[inline]
    pub(crate) fn run_there(
        &mut self,
        index: u32,
        shard: u16,
        command: &'static Command,
        argv: &[&[u8]],
        frame: Option<&Bytes>,
    ) {
        if !self.has_room(index, shard) {
            return;
        }
        let to = self.await_reply(index);
        self.mail(index, shard, to, command, argv.iter().copied(), argv.len(), frame);
    }

    /// Whether requests for a shard may be added. If not, the connection waits for the peer.
    pub(crate) fn has_room(&mut self, index: u32, shard: u16) -> bool {
        if shard == self.id {
            return true;
        }
        let outbox = &self.peers[shard as usize].as_ref().expect("a peer for every other executor").outbox;
        if outbox.bytes.len() + outbox.large.iter().map(Bytes::len).sum::<usize>() < OUTBOX_PARK_LEN {
            return true;
        }
        self.connection(index).stalled.peer = Some(shard);
        self.waiting[shard as usize].push(index);
        false
    }

    #[allow(clippy::too_many_arguments)]
    fn mail<'b>(
        &mut self,
        index: u32,
        shard: u16,
        to: ReplyTo,
        command: &'static Command,
        argv: impl Iterator<Item = &'b [u8]>,
        argc: usize,
        frame: Option<&Bytes>,
    ) {
        let connection = self.connection(index);
        let head = RequestHead {
            to,
            command: command.id,
            db: connection.db,
            argc: argc as u32,
            protocol: connection.protocol,
            touch: connection.touch,
        };
        let peer = self.peers[shard as usize].as_mut().expect("a peer for every other executor");
        peer.outbox.push(head, argv, frame);
    }

    /// Announces a reply that comes later.
    pub(crate) fn await_reply(&mut self, index: u32) -> ReplyTo {
        let connection = self.connection(index);
        ReplyTo::Connection { index, generation: connection.generation, sequence: connection.await_reply() }
    }

    /// The one shard on which a command of the data runs; none if it takes several.
    pub(crate) fn shard_of(
        &self,
        command: &Command,
        argv: &[&[u8]],
        second_argument: Option<Slot>,
    ) -> Option<u16> {
        if self.count == 1 {
            return Some(self.id);
        }
        match command.spec.run {
            Run::Keys(_, spread) => {
                let one_key = spread == Spread::OneKey
                    && command.spec.keys.first().is_some_and(|spec| spec.is_one_at(1));
                if let (true, Some(slot)) = (one_key, second_argument) {
                    return Some(slot.shard(self.count));
                }
                match self.owner(command, argv) {
                    Owner::One(shard) if !several::reads_anywhere(command, argv) => Some(shard),
                    _ => None,
                }
            }
            Run::ByCursor(_) => Some(shard_of_cursor(argv, self.count).unwrap_or(self.id)),
            _ => None,
        }
    }

    /// Which shard has the keys.
    pub(crate) fn owner(&self, command: &Command, argv: &[&[u8]]) -> Owner {
        let mut owner = None;
        for spec in command.spec.keys {
            for at in spec.positions(argv) {
                let shard = Slot::of(argv[at]).shard(self.count);
                match owner {
                    None => owner = Some(shard),
                    Some(first) if first != shard => return Owner::Several,
                    Some(_) => {}
                }
            }
        }
        Owner::One(owner.unwrap_or(self.id))
    }

    /// On an executor's own port: all keys must be in one slot, and that slot must be this executor's.
    pub(crate) fn check_slots(&self, index: u32, command: &Command, argv: &[&[u8]]) -> Result<(), Error> {
        let mut slot = None;
        for spec in command.spec.keys {
            for at in spec.positions(argv) {
                let this = Slot::of(argv[at]);
                if slot.is_some_and(|other| other != this) {
                    return Err(Error::new("CROSSSLOT Keys in request don't hash to the same slot"));
                }
                slot = Some(this);
            }
        }
        match slot {
            Some(slot) if slot.shard(self.count) != self.id => {
                let owner = slot.shard(self.count);
                Err(Error::owned(format!(
                    "MOVED {} {}",
                    slot.number(),
                    commands::cluster::address_of(self, index, owner)
                )))
            }
            _ => Ok(()),
        }
    }

    /// The same for a connection that may have come in there or elsewhere.
    pub(crate) fn check_entrance(
        &mut self,
        index: u32,
        command: &Command,
        argv: &[&[u8]],
    ) -> Result<(), Error> {
        match self.connection(index).entrance {
            Entrance::Executor => self.check_slots(index, command, argv),
            Entrance::Tcp | Entrance::Unix => Ok(()),
        }
    }

    /// A command that concerns every shard.
    fn run_everywhere(&mut self, index: u32, command: &'static Command, argv: &[&[u8]], merge: Merge) {
        for shard in 0..self.count {
            if !self.has_room(index, shard) {
                return;
            }
        }
        let id = self.start_gather(index, command, argv, self.count as usize, merge);
        for shard in 0..self.count {
            self.run_part(index, id, shard, command, argv);
        }
    }

    fn start_gather(
        &mut self,
        index: u32,
        command: &'static Command,
        argv: &[&[u8]],
        parts: usize,
        merge: Merge,
    ) -> u32 {
        let to = self.await_reply(index);
        let gather = Gather {
            to,
            started: self.started(command, argv),
            missing: parts as u32,
            parts: (0..parts).map(|_| Output::default()).collect(),
            merge,
        };
        let id = self.free_gathers.pop().unwrap_or_else(|| {
            self.gathers.push(None);
            (self.gathers.len() - 1) as u32
        });
        self.gathers[id as usize] = Some(gather);
        id
    }

    fn run_part(&mut self, index: u32, gather: u32, shard: u16, command: &'static Command, argv: &[&[u8]]) {
        let to = ReplyTo::Gather { id: gather, part: u32::from(shard) };
        if shard != self.id {
            self.mail(index, shard, to, command, argv.iter().copied(), argv.len(), None);
            return;
        }
        let (protocol, view) = self.view_of(index);
        if !self.locks.is_empty() {
            let wants = footprint::wants_of(&self.shard.keys, command, argv);
            if !self.locks.is_free(&wants) {
                return self.keep(wants, SliceOrigin::Own(to), command, argv, view, protocol);
            }
        }
        let mut reply = Output::default();
        match self.shard.apply(view, command, argv, None, &mut RespSink::new(&mut reply, protocol)) {
            Applied::Later(work) => {
                self.add_slice(work, SliceOrigin::Own(to), protocol, Output::default());
            }
            _ => self.deliver(to, &mut |out| out.append(&mut reply)),
        }
        self.after_work();
    }

    /// All parts are there: one reply.
    pub(crate) fn gathered(&mut self, id: u32) {
        let mut gather = self.gathers[id as usize].take().expect("complete just now");
        self.free_gathers.push(id);
        let mut merged = crate::merge::merge(gather.merge, &mut gather.parts, &[]);
        self.account_started(&gather.started, gather.to, &merged);
        self.deliver(gather.to, &mut |out| out.append(&mut merged));
    }

    /// Commands of the network layer.
    fn run_server(&mut self, index: u32, command: &'static Command, server: ServerCommand, argv: &[&[u8]]) {
        if server == ServerCommand::Exec {
            return self.exec(index, command, argv);
        }
        let mut reply = Output::default();
        let before = self.connection(index).protocol;
        let outcome =
            commands::run(self, index, command, server, argv, &mut RespSink::new(&mut reply, before));
        if self.try_connection(index).is_none() {
            return;
        }
        match outcome {
            Ok(Served::Replied) => {
                self.account(command, &Applied::Replied, Asker::Connection(index), argv);
                let connection = self.connection(index);
                connection.reply_output().append(&mut reply);
                connection.reply_written();
            }
            Ok(Served::Silent) => self.account(command, &Applied::Replied, Asker::Connection(index), argv),
            // It is accounted for when its time is over.
            Ok(Served::Blocked) => {}
            Ok(Served::Task(task)) => self.coordinate(index, task, command, argv),
            Err(error) => {
                let connection = self.connection(index);
                RespSink::new(connection.reply_output(), before).error(error.text());
                connection.reply_written();
                self.account(command, &Applied::Failed(error), Asker::Connection(index), argv);
            }
        }
    }

    /// Starts a coordinator for a connection, which waits for it.
    pub(crate) fn coordinate(
        &mut self,
        index: u32,
        task: crate::coordinate::Task,
        command: &'static Command,
        argv: &[&[u8]],
    ) {
        let to = self.await_reply(index);
        self.connection(index).stalled.coordinating = true;
        self.start_task(task, to, self.started(command, argv));
    }

    /// CLIENT REPLY OFF and SKIP: the command runs, its reply is not sent.
    #[cold]
    fn execute_unanswered(
        &mut self,
        index: u32,
        command: &'static Command,
        argv: &[&[u8]],
        frame: Option<&Bytes>,
    ) {
        // What is written from here on is taken back; what is awaited is marked to be discarded.
        let mode = self.connection(index).reply_mode;
        let connection = self.connection(index);
        let pending = connection.pending.len();
        let kept = std::mem::take(connection.reply_output());
        self.route(index, command, argv, frame, None);
        let Some(connection) = self.try_connection(index) else { return };
        if pending == 0 {
            connection.out = kept;
        } else {
            connection.tail = kept;
            connection.reply_written();
        }
        // A CLIENT REPLY SKIP that is itself skipped goes for the next command.
        let skips_again = commands::is_client_reply(command)
            && argv.get(2).is_some_and(|a| a.eq_ignore_ascii_case(b"skip"));
        if !connection.stalled.repeats()
            && mode == ReplyMode::SkipNext
            && connection.reply_mode == mode
            && !skips_again
        {
            connection.reply_mode = ReplyMode::On;
        }
        let switched_on = mode != ReplyMode::On
            && connection.reply_mode == ReplyMode::On
            && commands::is_client_reply(command)
            && argv.get(2).is_some_and(|a| a.eq_ignore_ascii_case(b"on"));
        if switched_on {
            let protocol = connection.protocol;
            RespSink::new(connection.reply_output(), protocol).ok();
            connection.reply_written();
        }
    }

    /// Refuses commands while data is loaded, and those that write when nothing can be written down, or has them wait until the disk has taken what
    /// was written before. Returns whether it did.
    #[inline]
    fn is_held_up_by_storage(&mut self, index: u32, command: &'static Command, argv: &[&[u8]]) -> bool {
        let Some(storage) = &self.process.storage else { return false };
        if self.process.is_loading() && !command.spec.flags.contains(Flags::LOADING) {
            self.reject(index, Some(command), argv, LOADING);
            return true;
        }
        let writes = command.is_write() || (is_exec(command) && self.has_queued(index, Flags::WRITE));
        if !writes {
            return false;
        }
        if storage.is_poisoned() {
            let error = self.refusal_to_write();
            self.reject(index, Some(command), argv, error);
            return true;
        }
        if self.log_is_behind() {
            self.connection(index).stalled.behind = true;
            self.behind.push(index);
            return true;
        }
        false
    }

    /// Lets those go on that wait until the disk has taken what was written before. To be called in every turn: an operation of the log may have ended.
    #[inline]
    pub(crate) fn resume_behind(&mut self) {
        if self.behind.is_empty() || self.log_is_behind() {
            return;
        }
        for index in std::mem::take(&mut self.behind) {
            if let Some(connection) = self.try_connection(index) {
                connection.stalled.behind = false;
                self.wake_connection(index);
            }
        }
    }

    /// What who wants to write is told while nothing can be written down, in Redis's words.
    #[cold]
    pub(crate) fn refusal_to_write(&self) -> Error {
        let cause = self.process.storage.as_ref().map_or(String::new(), |storage| storage.cause());
        Error::owned(format!("MISCONF Errors writing to the AOF file: {cause}"))
    }

    /// CLIENT PAUSE: returns whether the connection now waits.
    #[cold]
    fn pause(&mut self, index: u32, command: &'static Command) -> bool {
        if self.now >= self.process.paused_until_ms.load(Ordering::Relaxed) {
            self.end_pause();
            return false;
        }
        let writes_only = self.process.pause_writes_only.load(Ordering::Relaxed) != 0;
        let (writes, exempt) = if is_exec(command) {
            let data = Flags::WRITE.union(Flags::READONLY);
            (self.has_queued(index, Flags::WRITE), !self.has_queued(index, data))
        } else {
            (command.is_write(), commands::runs_while_paused(command))
        };
        if (writes_only && !writes) || exempt {
            return false;
        }
        self.connection(index).stalled.paused = true;
        self.tick_soon();
        true
    }

    /// Closes a connection whose client was talked into speaking to us.
    #[cold]
    fn refuse_web_request(&mut self, index: u32) {
        tracing::warn!(
            client = %self.connection(index).info.addr,
            "closing a connection that sent POST or Host: as commands; a web browser may be misused to reach this server"
        );
        self.drop_connection(index);
    }

    /// Answers with an error without running the command.
    #[cold]
    pub(crate) fn reject(
        &mut self,
        index: u32,
        command: Option<&'static Command>,
        _argv: &[&[u8]],
        error: Error,
    ) {
        let error = self.rejected(index, command, error);
        self.observed.errors.record(error.text());
        if let Some(command) = command {
            self.observed.commands.record_rejected(command.id as usize);
        }
        let connection = self.connection(index);
        let silent = connection.reply_mode != ReplyMode::On;
        let protocol = connection.protocol;
        if !silent {
            RespSink::new(connection.reply_output(), protocol).error(error.text());
            connection.reply_written();
        }
        if connection.reply_mode == ReplyMode::SkipNext {
            connection.reply_mode = ReplyMode::On;
        }
    }

    /// Notes that a command ran, and how long.
    #[inline]
    pub(crate) fn account(
        &mut self,
        command: &'static Command,
        applied: &Applied,
        asker: Asker,
        argv: &[&[u8]],
    ) {
        let tick = self.clock.raw();
        let nanos = self.clock.delta_as_nanos(self.last_tick, tick);
        self.last_tick = tick;
        self.observed.totals.commands += 1;
        self.observed.commands.record(command.id as usize, nanos);
        if let Applied::Failed(error) = applied {
            self.observed.errors.record(error.text());
            self.observed.commands.record_failed(command.id as usize);
        }
        if nanos >= self.slow_nanos {
            self.account_slow(command, nanos, asker, shown(command, argv));
        }
    }

    #[cold]
    fn account_slow(&mut self, command: &'static Command, nanos: u64, asker: Asker, args: ShownArgs) {
        let seconds = self.now / 1000;
        if self.observed.latency.is_spike(nanos) {
            let event = if command.spec.flags.contains(Flags::FAST) { "fast-command" } else { "command" };
            self.observed.latency.record(event, seconds, nanos);
        }
        if !self.observed.slowlog.is_slow(nanos) || command.spec.flags.contains(Flags::SKIP_SLOWLOG) {
            return;
        }
        match asker {
            Asker::Connection(index) => self.log_slow(index, seconds, nanos, args),
            // Only the peer knows the client.
            Asker::Peer(peer, to) => self.post(peer, move |executor| {
                if let Some(index) = executor.asked_by(to) {
                    executor.log_slow(index, seconds, nanos, args);
                }
            }),
        }
    }

    fn log_slow(&mut self, index: u32, seconds: u64, nanos: u64, args: ShownArgs) {
        let Some(connection) = self.try_connection(index) else { return };
        let (addr, name) = (connection.info.addr.clone(), connection.info.name.clone());
        self.observed.slowlog.record(&self.process.slowlog_ids, seconds, nanos, args, &addr, &name);
    }

    /// The connection that waits for a reply, if it is still there.
    pub(crate) fn asked_by(&mut self, to: ReplyTo) -> Option<u32> {
        match to {
            ReplyTo::Connection { index, generation, .. } => {
                self.connection_of(index, generation).map(|_| index)
            }
            ReplyTo::Gather { .. } | ReplyTo::Nobody => None,
        }
    }

    /// Notes that a command begins on which several executors will work.
    pub(crate) fn started(&self, command: &'static Command, argv: &[&[u8]]) -> Started {
        Started { command, args: shown(command, argv), tick: self.last_tick }
    }

    /// A command on which several executors have worked counts once, on the executor of its connection, with the time from
    /// its start to its reply.
    pub(crate) fn account_started(&mut self, started: &Started, to: ReplyTo, reply: &Output) {
        let command = started.command;
        let tick = self.clock.raw();
        let nanos = self.clock.delta_as_nanos(started.tick, tick);
        self.last_tick = tick;
        self.observed.totals.commands += 1;
        self.observed.commands.record(command.id as usize, nanos);
        if let Some(error) = reply.buf.strip_prefix(b"-") {
            let text = error.split(|&b| b == b'\r').next().expect("split gives one");
            self.observed.errors.record(text);
            self.observed.commands.record_failed(command.id as usize);
        }
        if nanos >= self.slow_nanos {
            if let Some(index) = self.asked_by(to) {
                self.account_slow(command, nanos, Asker::Connection(index), started.args.clone());
            }
        }
    }

    /// How a connection sees the keys, and what it speaks.
    pub(crate) fn view_of(&mut self, index: u32) -> (Protocol, View) {
        let now = self.now;
        let connection = self.connection(index);
        (connection.protocol, View { db: connection.db, now, touch: connection.touch })
    }
}

/// The shard, of so many, that a cursor names. None if it is not one of ours: any shard gives the error, or the end.
pub(crate) fn shard_of_cursor(argv: &[&[u8]], shards: u16) -> Option<u16> {
    let cursor: u64 = std::str::from_utf8(argv.get(1)?).ok()?.parse().ok()?;
    u16::try_from(cursor >> CURSOR_POSITION_BITS).ok().filter(|&shard| shard < shards)
}

/// The first word of a line of an HTTP request in which commands can be hidden, as Redis knows them.
fn is_web_request(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// The arguments of a command as the slow log shows them.
fn shown(command: &'static Command, argv: &[&[u8]]) -> ShownArgs {
    ShownArgs::of(commands::redacted(command, argv).iter().copied())
}

/// Redis's words.
pub(crate) const NO_AUTH: Error = Error::new("NOAUTH Authentication required.");

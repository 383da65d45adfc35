//! MULTI, EXEC, DISCARD, WATCH and UNWATCH, and what becomes of other commands between MULTI and EXEC.

use super::Served;
use crate::commands;
use crate::connection::{Connection, Entrance, ReplyMode};
use crate::dispatch::Asker;
use crate::executor::Executor;
use crate::limits::EXEC_WHOLE_MAX;
use crate::mail::ReplyTo;
use crate::memory::OUT_OF_MEMORY;
use crate::multi::{self, Entry, Extent, Place, Queue, Transaction};
use crate::resp::encode::{Output, RespSink};
use crate::script::call::Holds;
use crate::script::spread::Spreading;
use crate::several;
use crate::watch::{self, Watching};
use kora_engine::args::parse_i64;
use kora_engine::command::{Command, Flags, Run, ServerCommand};
use kora_engine::error::Error;
use kora_engine::keyspace::View;
use kora_engine::reply::Reply;
use kora_engine::shard::Applied;
use kora_engine::slot::Slot;
use std::sync::Arc;

const NESTED: Error = Error::new("ERR MULTI calls can not be nested");
const WATCH_INSIDE: Error = Error::new("ERR WATCH inside MULTI is not allowed");
const NO_EXEC: Error = Error::new("ERR EXEC without MULTI");
const NO_DISCARD: Error = Error::new("ERR DISCARD without MULTI");
const ABORTED: Error = Error::new("EXECABORT Transaction discarded because of previous errors.");
const CROSS_SLOT: Error = Error::new("CROSSSLOT Keys in request don't hash to the same slot");

/// Queues that an executor keeps for their memory.
const SPARE_QUEUES_MAX: usize = 64;

/// Whether a command is queued between MULTI and EXEC. The others act at once.
#[inline]
pub(crate) fn is_queued(command: &Command) -> bool {
    !matches!(
        command.spec.run,
        Run::Server(
            ServerCommand::Multi
                | ServerCommand::Exec
                | ServerCommand::Discard
                | ServerCommand::Watch
                | ServerCommand::Quit
                | ServerCommand::Reset
        )
    )
}

/// Whether this is EXEC.
#[inline]
pub(crate) fn is_exec(command: &Command) -> bool {
    matches!(command.spec.run, Run::Server(ServerCommand::Exec))
}

/// Whether a command of the network layer always answers at once, from nothing but what the executor has beside its data.
fn answers_at_once(server: ServerCommand) -> bool {
    use ServerCommand::*;
    matches!(
        server,
        Ping | Echo
            | Auth
            | Select
            | Time
            | ClientId
            | ClientInfo
            | ClientGetName
            | ClientSetName
            | ClientSetInfo
            | ClientReply
            | ClientNoEvict
            | ClientNoTouch
            | Command
            | CommandCount
            | CommandList
            | CommandInfo
            | CommandDocs
            | CommandGetKeys
            | CommandGetKeysAndFlags
            | ConfigGet
            | ClusterSlots
            | ClusterShards
            | ClusterNodes
            | ClusterInfo
            | ClusterMyId
            | ClusterKeySlot
            | Readonly
            | Readwrite
            | Asking
            | Unwatch
            | Wait
            | WaitAof
            | Help
    )
}

impl Executor {
    /// MULTI.
    pub(super) fn multi(&mut self, index: u32, reply: &mut dyn Reply) -> Result<Served, Error> {
        let connection = self.seat(index);
        if connection.queue.is_some() {
            return Err(NESTED);
        }
        let db = connection.db;
        let mut queue = self.spare_queues.pop().unwrap_or_else(|| Box::new(Queue::new(db)));
        queue.db = db;
        self.seat(index).queue = Some(queue);
        reply.ok();
        Ok(Served::Replied)
    }

    /// DISCARD.
    pub(super) fn discard(&mut self, index: u32, reply: &mut dyn Reply) -> Result<Served, Error> {
        if self.seat(index).queue.is_none() {
            return Err(NO_DISCARD);
        }
        self.leave_multi(index);
        reply.ok();
        Ok(Served::Replied)
    }

    /// UNWATCH.
    pub(super) fn unwatch(&mut self, index: u32, reply: &mut dyn Reply) -> Result<Served, Error> {
        let watching = self.seat(index).watching.take();
        self.forget(watching);
        reply.ok();
        Ok(Served::Replied)
    }

    /// WATCH: answered when all shards of its keys know.
    pub(super) fn watch(
        &mut self,
        index: u32,
        command: &'static Command,
        argv: &[&[u8]],
        reply: &mut dyn Reply,
    ) -> Result<Served, Error> {
        let connection = self.seat(index);
        if connection.queue.is_some() {
            return Err(WATCH_INSIDE);
        }
        if connection.entrance == Entrance::Executor {
            self.check_slots(index, command, argv)?;
        }
        let (_, view) = self.view_of(index);
        let view = View { touch: false, ..view };
        let connection = self.seat(index);
        let id = connection.info.id;
        let watching = connection.watching.get_or_insert_with(|| Box::new(Watching::new(id)));
        let mut by_shard: Vec<(u16, Vec<Box<[u8]>>)> = Vec::new();
        // One that knows already that EXEC will fail need not know more.
        if !watching.is_changed() {
            let watcher = watching.watcher();
            let keys = argv[1..].iter().filter(|key| watching.add(view.db, key)).copied().map(Box::from);
            let keys: Vec<Box<[u8]>> = keys.collect();
            for key in keys {
                let shard = Slot::of(&key).shard(self.count);
                match by_shard.iter_mut().find(|(of, _)| *of == shard) {
                    Some((_, keys)) => keys.push(key),
                    None => by_shard.push((shard, vec![key])),
                }
            }
            if let Some(own) = by_shard.iter().position(|(shard, _)| *shard == self.id) {
                watch::watch(self, watcher, view, by_shard.swap_remove(own).1);
            }
        }
        if by_shard.is_empty() {
            reply.ok();
            return Ok(Served::Replied);
        }
        let hub = self.hub.clone();
        let watcher = self.seat(index).watching.as_ref().expect("just put there").watcher();
        let protocol = self.seat(index).protocol;
        Ok(Served::Task(Box::pin(async move {
            let calls: Vec<_> = by_shard
                .into_iter()
                .map(|(shard, keys)| {
                    let watcher = watcher.clone();
                    hub.call(shard, move |executor: &mut Executor| {
                        watch::watch(executor, watcher, view, keys)
                    })
                })
                .collect();
            for call in calls {
                call.await;
            }
            let mut out = Output::default();
            RespSink::new(&mut out, protocol).ok();
            out
        })))
    }

    /// Queues a command after MULTI.
    #[inline(never)]
    pub(crate) fn enqueue(
        &mut self,
        index: u32,
        command: &'static Command,
        argv: &[&[u8]],
        second_argument: Option<Slot>,
    ) {
        if command.spec.flags.contains(Flags::NO_MULTI) {
            let error = Error::new("ERR Command not allowed inside a transaction");
            return self.reject(index, Some(command), argv, error);
        }
        if self.seat(index).entrance == Entrance::Executor && matches!(command.spec.run, Run::Keys(..)) {
            if let Err(error) = self.check_slots(index, command, argv) {
                return self.reject(index, Some(command), argv, error);
            }
        }
        let place = match command.spec.run {
            Run::Server(server) if answers_at_once(server) => Place::AtOnce,
            Run::Server(_) => Place::Rounds,
            Run::Container => Place::AtOnce,
            Run::Script(_) => Place::Script { undeclared: self.settings.script_undeclared_keys },
            _ => self.shard_of(command, argv, second_argument).map_or(Place::Several, Place::Shard),
        };
        let (limit, databases) = (self.settings.multi_queue_limit, self.process.options.databases);
        let connection = self.seat(index);
        let in_vain = connection.watching.as_ref().is_some_and(|watching| watching.is_changed());
        let queue = connection.queue.as_mut().expect("after MULTI");
        // What will not be executed is not kept.
        if !queue.aborted && !in_vain {
            if !queue.push(command, argv, place, limit) {
                queue.abort_and_free();
                let error =
                    format!("ERR the queued commands take more than multi-queue-limit ({limit} bytes)");
                return self.reject(index, Some(command), argv, Error::owned(error));
            }
            if let Run::Server(ServerCommand::Select) = command.spec.run {
                let number = parse_i64(argv[1]).and_then(|number| u16::try_from(number).ok());
                queue.db = number.filter(|&db| db < databases).unwrap_or(queue.db);
            }
        }
        match connection.reply_mode {
            ReplyMode::On => {
                let protocol = connection.protocol;
                RespSink::new(connection.reply_output(), protocol).simple("QUEUED");
                connection.reply_written();
            }
            ReplyMode::SkipNext => connection.reply_mode = ReplyMode::On,
            ReplyMode::Off => {}
        }
    }

    /// The transaction of a connection is over: what is queued and what is watched is forgotten.
    pub(crate) fn leave_multi(&mut self, index: u32) {
        let connection = self.seat(index);
        let (queue, watching) = (connection.queue.take(), connection.watching.take());
        if let Some(queue) = queue {
            self.spare(queue);
        }
        self.forget(watching);
    }

    /// Keeps a queue for its memory.
    fn spare(&mut self, mut queue: Box<Queue>) {
        if self.spare_queues.len() < SPARE_QUEUES_MAX && queue.reset(0) {
            self.spare_queues.push(queue);
        }
    }

    /// No shard needs to know any more what was watched.
    fn forget(&mut self, watching: Option<Box<Watching>>) {
        let Some(watching) = watching else { return };
        let shards = watching.shards(self.count);
        if shards == [self.id] {
            return self.watched.forget(&watching, self.id, self.count);
        }
        let watching: Arc<Watching> = Arc::from(watching);
        for shard in shards {
            if shard == self.id {
                self.watched.forget(&watching, self.id, self.count);
                continue;
            }
            let watching = watching.clone();
            // After what has registered the keys there: calls do not overtake each other.
            self.post(shard, move |executor| {
                let (id, count) = (executor.id, executor.count);
                executor.watched.forget(&watching, id, count);
            });
        }
    }

    /// What a rejection means for a transaction: a command that is refused makes EXEC fail; EXEC itself ends it.
    #[cold]
    pub(crate) fn rejected(&mut self, index: u32, command: Option<&'static Command>, error: Error) -> Error {
        if command.is_some_and(is_exec) {
            self.leave_multi(index);
            let text = error.text();
            let text = text.strip_prefix(b"ERR ").unwrap_or(text);
            return Error::owned([b"EXECABORT Transaction discarded because of: ", text].concat());
        }
        if let Some(queue) = &mut self.seat(index).queue {
            queue.aborted = true;
        }
        error
    }

    /// Whether EXEC of a connection would execute a command that has one of these flags.
    pub(crate) fn has_queued(&self, index: u32, flags: Flags) -> bool {
        self.connection_ref(index).queue.as_ref().is_some_and(|queue| queue.has(flags))
    }

    /// Whether there is memory for what EXEC of a connection executes. Evicts when that is needed.
    pub(crate) fn has_memory_for_queue(&mut self, index: u32) -> bool {
        let Some(queue) = self.seat(index).queue.take() else { return true };
        let enough = !queue.has(Flags::DENYOOM)
            || queue
                .iter()
                .take(EXEC_WHOLE_MAX)
                .all(|Entry { command, argv, .. }| self.has_memory_for(command, &argv));
        self.seat(index).queue = Some(queue);
        enough
    }

    /// EXEC.
    pub(crate) fn exec(&mut self, index: u32, command: &'static Command, argv: &[&[u8]]) {
        let began = self.last_tick;
        if !self.has_memory_for_queue(index) {
            return self.reject(index, Some(command), argv, OUT_OF_MEMORY);
        }
        let connection = self.seat(index);
        let Some(queue) = connection.queue.take() else {
            return self.end_exec(index, command, began, Some(NO_EXEC));
        };
        let watching = connection.watching.take();
        let refusal = match () {
            _ if queue.aborted => Some(Some(ABORTED)),
            _ if connection.entrance == Entrance::Executor && !has_one_slot(&queue) => Some(Some(CROSS_SLOT)),
            _ if watching.as_ref().is_some_and(|watching| watching.is_changed()) => Some(None),
            _ => None,
        };
        if let Some(error) = refusal {
            self.spare(queue);
            self.forget(watching);
            if error.is_none() {
                self.answer(index, |reply| reply.null_array());
            }
            return self.end_exec(index, command, began, error);
        }
        let own_keys = match queue.extent() {
            Extent::Nowhere => true,
            Extent::One(shard) => shard == self.id,
            Extent::Several => false,
        };
        let own_watched = watching.as_ref().is_none_or(|watching| watching.shards(self.count) == [self.id]);
        let in_place = own_keys
            && own_watched
            && !queue.takes_rounds()
            && queue.len() <= EXEC_WHOLE_MAX
            && (self.locks.is_empty() || {
                let wants = queue.wants(&self.shard.keys, watching.as_deref());
                self.locks.is_free(&wants)
            });
        self.seat(index).info.executing = Some((queue.len(), queue.heap_bytes()));
        if !in_place {
            return self.start_transaction(index, command, argv, queue, watching);
        }
        let now = self.now;
        let intact = watching.as_ref().is_none_or(|watching| multi::is_intact(self, watching, now));
        self.forget(watching);
        if intact {
            self.exec_in_place(index, &queue);
            self.after_work();
        } else {
            self.answer(index, |reply| reply.null_array());
        }
        self.spare(queue);
        self.end_exec(index, command, began, None);
    }

    /// Writes a reply, unless CLIENT REPLY OFF is in force.
    fn answer(&mut self, index: u32, write: impl FnOnce(&mut RespSink<'_>)) {
        let connection = self.seat(index);
        if connection.reply_mode != ReplyMode::Off {
            let protocol = connection.protocol;
            write(&mut RespSink::new(connection.reply_output(), protocol));
            connection.reply_written();
        }
    }

    /// EXEC has been answered, or is now, with an error.
    fn end_exec(&mut self, index: u32, command: &'static Command, began: u64, error: Option<Error>) {
        self.last_tick = began;
        let applied = match error {
            None => Applied::Replied,
            Some(error) => {
                self.answer(index, |reply| reply.error(error.text()));
                Applied::Failed(error)
            }
        };
        self.seat(index).info.executing = None;
        self.account(command, &applied, Asker::Connection(index), &[command.spec.name.as_bytes()]);
    }

    /// All keys are here, and nobody holds one: one command after the other.
    fn exec_in_place(&mut self, index: u32, queue: &Queue) {
        let now = self.now;
        let mut silent = self.seat(index).reply_mode == ReplyMode::Off;
        self.answer(index, |reply| reply.array(queue.len()));
        let mut unheard = Output::default();
        for Entry { command, argv, db, .. } in queue.iter() {
            if let Run::Server(_) | Run::Container = command.spec.run {
                let mut reply = self.serve_queued(index, command, &argv).expect("it answers at once");
                let connection = self.seat(index);
                silent = connection.reply_mode == ReplyMode::Off;
                if !silent {
                    connection.reply_output().append(&mut reply);
                }
                continue;
            }
            let (shard, connection) = self.shard_and_connection(index);
            let view = View { db, now, touch: connection.touch };
            let protocol = connection.protocol;
            let out = if silent { &mut unheard } else { connection.reply_output() };
            let applied = multi::apply(shard, command, view, protocol, &argv, out);
            self.account(command, &applied, Asker::Connection(index), &argv);
            unheard.clear();
        }
        self.seat(index).reply_written();
    }

    /// Runs a command of the network layer inside EXEC. Without a reply, the coordinator that will have it has been left with the hub.
    fn serve_queued(&mut self, index: u32, command: &'static Command, argv: &[&[u8]]) -> Option<Output> {
        let mut reply = Output::default();
        let protocol = self.seat(index).protocol;
        let outcome = match command.spec.run {
            Run::Server(server) => {
                commands::run(self, index, command, server, argv, &mut RespSink::new(&mut reply, protocol))
            }
            _ => Err(Error::wrong_arity(&command.full_name)),
        };
        let applied = match outcome {
            Ok(Served::Replied | Served::Silent) => Applied::Replied,
            Ok(Served::Blocked) => unreachable!("{} does not block inside EXEC", command.full_name),
            Ok(Served::Task(task)) => {
                self.hub.leave(task);
                return None;
            }
            Err(error) => {
                reply.clear();
                RespSink::new(&mut reply, protocol).error(error.text());
                Applied::Failed(error)
            }
        };
        self.account(command, &applied, Asker::Connection(index), argv);
        Some(reply)
    }

    /// EXEC by a coordinator.
    fn start_transaction(
        &mut self,
        index: u32,
        command: &'static Command,
        argv: &[&[u8]],
        queue: Box<Queue>,
        watching: Option<Box<Watching>>,
    ) {
        let (protocol, view) = self.view_of(index);
        let to = self.await_reply(index);
        let connection = self.seat(index);
        connection.stalled.coordinating = true;
        let silent = connection.reply_mode == ReplyMode::Off;
        if silent {
            // CLIENT REPLY ON may be among the commands: the transaction itself knows what is heard.
            connection.pending.back_mut().expect("just added").discard = false;
        }
        let queue: Arc<Queue> = Arc::from(queue);
        let serve = serve_by(self, to, queue.clone());
        let watching = watching.map(Arc::from);
        let script = scripts_of(self, to, queue.clone());
        let transaction = Transaction { queue, watching, view, protocol, silent, to, serve, script };
        let task = multi::task(self, transaction);
        let (hub, home) = (self.hub.clone(), self.id);
        let task = Box::pin(async move {
            let out = task.await;
            let over = hub.call(home, move |executor: &mut Executor| {
                if let Some(index) = executor.asked_by(to) {
                    executor.seat(index).info.executing = None;
                }
            });
            over.await;
            out
        });
        let started = self.started(command, argv);
        self.start_task(task, to, started);
    }

    fn seat(&mut self, index: u32) -> &mut Connection {
        self.connection(index)
    }
}

/// What runs the scripts of a transaction, on the executor of its connection.
fn scripts_of(executor: &Executor, to: ReplyTo, queue: Arc<Queue>) -> multi::RunScript {
    let (hub, home) = (executor.hub.clone(), executor.id);
    Box::new(move |at, view, protocol, tag| {
        let (hub, queue) = (hub.clone(), queue.clone());
        Box::pin(async move {
            let begun = hub.call(home, move |executor: &mut Executor| {
                let Entry { command, argv, place, .. } = queue.get(at);
                let started = executor.started(command, &argv);
                let (Run::Script(kind), Place::Script { undeclared }) = (command.spec.run, place) else {
                    unreachable!("{} is no script", command.full_name)
                };
                let prepared = match executor.prepare_script(kind, command, &argv) {
                    Ok(prepared) => prepared,
                    Err(error) => {
                        let mut reply = Output::default();
                        RespSink::new(&mut reply, protocol).error(error.text());
                        return (Some(reply), started);
                    }
                };
                let holds = Holds::of(command, &argv, executor.count, undeclared);
                let asked = several::Asked { command, argv: &argv, view, protocol };
                let script = Spreading::new(executor, prepared, asked, holds).with_tag(tag);
                executor.hub.leave(Box::pin(script.run()));
                (None, started)
            });
            let (reply, started) = begun.await;
            let reply = match reply {
                Some(reply) => reply,
                None => hub.take_left().expect("it has been left").await,
            };
            let accounted = hub.call(home, move |executor: &mut Executor| {
                executor.account_started(&started, to, &reply);
                reply
            });
            accounted.await
        })
    })
}

/// What runs commands of the network layer for a transaction, on the executor of its connection.
fn serve_by(executor: &Executor, to: ReplyTo, queue: Arc<Queue>) -> multi::Serve {
    let (hub, home) = (executor.hub.clone(), executor.id);
    Box::new(move |at| {
        let (hub, queue) = (hub.clone(), queue.clone());
        Box::pin(async move {
            let begun = hub.call(home, move |executor: &mut Executor| {
                // Whose client has gone needs no answer.
                let index = executor.asked_by(to)?;
                let Entry { command, argv, .. } = queue.get(at);
                let started = executor.started(command, &argv);
                let reply = executor.serve_queued(index, command, &argv);
                Some((reply, started))
            });
            let reply = match begun.await {
                None => Output::default(),
                Some((Some(reply), _)) => reply,
                Some((None, started)) => {
                    let reply = hub.take_left().expect("it has been left").await;
                    let accounted = hub.call(home, move |executor: &mut Executor| {
                        executor.account_started(&started, to, &reply);
                        reply
                    });
                    accounted.await
                }
            };
            let state = hub.call(home, move |executor: &mut Executor| {
                let index = executor.asked_by(to)?;
                let connection = executor.seat(index);
                Some((connection.protocol, connection.reply_mode == ReplyMode::Off))
            });
            let (protocol, silent) = state.await.unwrap_or_default();
            multi::Served { reply, protocol, silent }
        })
    })
}

/// Whether all keys of the commands are in one slot, as those of a transaction on a cluster's node must be.
fn has_one_slot(queue: &Queue) -> bool {
    let mut slot = None;
    queue.iter().all(|Entry { command, argv, .. }| {
        let keys = command.spec.keys.iter().flat_map(|spec| spec.positions(&argv));
        keys.map(|at| Slot::of(argv[at])).all(|this| *slot.get_or_insert(this) == this)
    })
}

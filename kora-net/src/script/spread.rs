//! Scripts whose keys are on several shards: a coordinator on the executor of the connection runs the interpreter, and has the shards execute the commands.

use super::alone::error_in;
use super::call::{self, Call, Control, Holds, Session, NOT_HELD};
use super::store::Pool;
use super::{Prepared, SLICE};
use crate::coordinate::{Hub, Task};
use crate::dispatch::shard_of_cursor;
use crate::executor::Executor;
use crate::resp::encode::{Output, RespSink};
use crate::several::{self, Asked};
use crate::transaction::footprint::Footprint;
use crate::transaction::{self, Site};
use crate::words::Words;
use kora_engine::command::{Command, Run};
use kora_engine::reply::{Protocol, Reply};
use kora_engine::slot::Slot;
use kora_script::{Step, KILLED_BY_USER};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Instant;

/// A script that is to run over several shards.
pub struct Spreading {
    prepared: Prepared,
    words: Words,
    session: Session,
    control: Arc<Control>,
    protocol: Protocol,
    hub: Hub,
    home: u16,
    shards: u16,
    pool: Rc<Pool>,
}

impl Spreading {
    /// A script of a connection, and which shards it will hold.
    pub(crate) fn new(
        executor: &mut Executor,
        prepared: Prepared,
        asked: Asked<'_>,
        holds: Holds,
    ) -> Spreading {
        let shards = executor.count;
        let session = executor.session(&prepared, asked.view, holds);
        let control = Arc::new(prepared.control(asked.argv));
        Spreading {
            words: Words::of(asked.argv.iter().copied()),
            session,
            control,
            prepared,
            protocol: asked.protocol,
            hub: executor.hub.clone(),
            home: executor.id,
            shards,
            pool: executor.scripting.copies.pool.clone(),
        }
    }

    /// As part of this transaction, in the log.
    pub fn with_tag(self, tag: Option<u64>) -> Spreading {
        Spreading { hub: self.hub.tagged(tag), ..self }
    }

    /// The coordinator that holds what it wants and runs it.
    pub fn task(self) -> Task {
        let mut footprint = Footprint::new(self.shards);
        self.session.holds.want(&mut footprint);
        let parts = footprint.parts();
        let tag = if self.session.read_only { None } else { self.hub.transaction().tag() };
        Box::pin(async move {
            let hub = self.hub.tagged(tag);
            let held = transaction::acquire(&hub, &parts).await;
            let reply = self.with_tag(tag).run().await;
            held.release(&hub);
            reply
        })
    }

    /// Runs it; everything it wants is held.
    pub async fn run(mut self) -> Output {
        let mut reply = Output::default();
        let interpreter = match self.pool.take() {
            Ok(interpreter) => interpreter,
            Err(error) => {
                RespSink::new(&mut reply, self.protocol).error(error.text());
                return reply;
            }
        };
        let control = self.control.clone();
        self.on_executor(|executor, control| executor.note_script(control)).await;
        let mut running = self.prepared.begin(interpreter, self.protocol);
        let argv = self.words.argv().into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
        let argv: Vec<&[u8]> = argv.iter().map(|word| &word[..]).collect();
        let (keys, arguments) = (&argv[self.prepared.keys.clone()], &argv[self.prepared.keys.end..]);
        let slice = || {
            let end = Instant::now() + SLICE;
            move || Instant::now() >= end
        };
        let mut step = running.start(keys, arguments, &mut slice());
        loop {
            let wish = Wish::of(step);
            step = match wish {
                Wish::Call(words, protocol) => {
                    let mut answer = self.call(words, protocol).await;
                    running.reply(&answer.flatten(), &mut slice())
                }
                Wish::MayCall(words) => {
                    let mut answer = Output::default();
                    call::may_call(&words.argv(), &mut answer);
                    running.reply(&answer.buf, &mut slice())
                }
                Wish::GoOn => running.go_on(&mut slice()),
                Wish::Pause => {
                    control.has_written.store(self.session.has_written, Ordering::Relaxed);
                    transaction::next_turn(&self.hub.plain(), self.home).await;
                    self.on_executor(|executor, control| executor.watch_time(control)).await;
                    if control.is_slow.load(Ordering::Relaxed) {
                        self.tell_busy();
                    }
                    match control.killed.load(Ordering::Relaxed) {
                        true => running.kill(KILLED_BY_USER),
                        false => running.go_on(&mut slice()),
                    }
                }
                Wish::Nothing => break,
            };
        }
        reply.buf.extend_from_slice(running.result().expect("it has ended"));
        if let Some(interpreter) = running.finish() {
            self.pool.give_back(interpreter);
        }
        self.on_executor(|executor, control| executor.forget_script(control)).await;
        reply
    }

    /// Does something on the executor of the connection.
    async fn on_executor(&self, what: fn(&mut Executor, &Arc<Control>)) {
        let control = self.control.clone();
        self.hub.call(self.home, move |executor: &mut Executor| what(executor, &control)).await;
    }

    /// Tells those who wait for their keys on shards that it holds.
    fn tell_busy(&self) {
        let held = (0..self.shards).filter(|&shard| self.session.holds.has(shard));
        held.for_each(|shard| drop(self.hub.plain().call(shard, Executor::tell_busy)));
    }

    /// A command of the script.
    async fn call(&mut self, words: Words, protocol: Protocol) -> Output {
        let mut out = Output::default();
        let argv = words.argv();
        let command = match self.session.call(&argv, protocol, &mut out) {
            Call::Answered => return out,
            Call::Run(command) => command,
        };
        let view = self.session.view;
        match self.place(command, &argv) {
            Place::NotHeld => RespSink::new(&mut out, protocol).error(NOT_HELD.as_bytes()),
            Place::Several => {
                let asked = Asked { command, argv: &argv, view, protocol };
                out = several::run_held(&self.hub, self.home, self.shards, asked).await;
                self.count(command, &out).await;
            }
            Place::One(shard) => {
                drop(argv);
                let run = move |executor: &mut Executor| {
                    let argv = words.argv();
                    executor.make_room(command, &argv);
                    let mut out = Output::default();
                    let before = executor.clock.raw();
                    several::apply_whole(&mut executor.shard, command, view, protocol, &argv, &mut out);
                    executor.count_call(command, before, &out);
                    out
                };
                out = self.hub.call(shard, run).await;
            }
        }
        out
    }

    /// Counts a command over several shards.
    async fn count(&self, command: &'static Command, reply: &Output) {
        let error = error_in(&reply.buf);
        self.hub
            .call(self.home, move |executor: &mut Executor| {
                let mut reply = Output::default();
                if let Some(error) = error {
                    RespSink::new(&mut reply, Protocol::Resp2).error(error.text());
                }
                let now = executor.clock.raw();
                executor.count_call(command, now, &reply);
            })
            .await;
    }

    /// Where a command belongs.
    fn place(&self, command: &Command, argv: &[&[u8]]) -> Place {
        let holds = &self.session.holds;
        let mut owners: Vec<u16> = match command.spec.run {
            Run::Everywhere(..) => (0..self.shards).collect(),
            Run::ByCursor(_) => vec![shard_of_cursor(argv, self.shards).unwrap_or(0)],
            _ => {
                let specs = command.spec.keys.iter();
                let keys = specs.flat_map(|spec| spec.positions(argv));
                keys.map(|at| Slot::of(argv[at]).shard(self.shards)).collect()
            }
        };
        if several::reads_anywhere(command, argv) {
            owners = (0..self.shards).collect();
        }
        owners.sort_unstable();
        owners.dedup();
        if !owners.iter().all(|&shard| holds.has(shard)) {
            return Place::NotHeld;
        }
        match owners[..] {
            [] => Place::One(self.home),
            [shard] => Place::One(shard),
            _ => Place::Several,
        }
    }
}

/// Where a command of a script is to run.
enum Place {
    /// Not everything it wants is held.
    NotHeld,
    One(u16),
    Several,
}

/// What a script wants, kept while others work for it.
enum Wish {
    Call(Words, Protocol),
    MayCall(Words),
    GoOn,
    Pause,
    Nothing,
}

impl Wish {
    fn of(step: Step<'_>) -> Wish {
        match step {
            Step::Call { arguments, protocol } => Wish::Call(Words::of(arguments.iter().copied()), protocol),
            Step::MayCall(arguments) => Wish::MayCall(Words::of(arguments.iter().copied())),
            Step::Log { level, line } => {
                call::log(level, line);
                Wish::GoOn
            }
            Step::Pause => Wish::Pause,
            Step::Done(_) => Wish::Nothing,
        }
    }
}

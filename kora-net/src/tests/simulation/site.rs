//! A simulated executor: a shard, its locks, its coordinators, and its ends of the links to the others.

use super::log::{Line, Log};
use crate::coordinate::{self, Answer, Call, Hub, QueuedCall, ResultSlot, Task, Value};
use crate::mail::ReplyTo;
use crate::multi::{self, Place, Queue, Transaction};
use crate::resp::encode::Output;
use crate::several::{self, Asked, Home};
use crate::transaction::footprint;
use crate::transaction::locks::{Asked as Granted, Lease, Locks};
use crate::transaction::{Kept, Site, Waiter};
use crate::watch::Watched;
use crate::words::Words;
use kora_engine::command::{registry, Command, Run, Spread};
use kora_engine::keyspace::View;
use kora_engine::reply::Protocol;
use kora_engine::shard::{EngineConfig, Shard, ShardId};
use kora_engine::slot::Slot;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The time of everything: nothing expires here.
const NOW: u64 = 1_000_000;

/// What goes from one executor to another.
pub enum Mail {
    /// A coordinator's call.
    Call(u32, Call<SimulatedSite>),
    /// The result of a call, at once.
    Return(u32, Value),
    /// The result of a call that could not be given at once.
    LateReturn(u32, Value),
    /// A client's command for the other shard.
    Command(u32, &'static Command, Words),
    /// Its reply, at once.
    Reply(u32, Output),
    /// Its reply, when it had to wait.
    LateReply(u32, Output),
}

impl Mail {
    /// What is answered at once comes back with its batch, everything else in batches of its own: two streams.
    pub fn is_answer(&self) -> bool {
        matches!(self, Mail::Return(..) | Mail::Reply(..))
    }
}

/// Whose command it is: a client of an executor.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    executor: u16,
    client: u32,
}

pub struct SimulatedSite {
    id: u16,
    count: u16,
    shard: Shard,
    locks: Locks<Waiter<SimulatedSite>>,
    watched: Watched,
    hub: Hub<SimulatedSite>,
    log: Option<Log>,
    tasks: Vec<Option<(Task, u32)>>,
    ready: VecDeque<usize>,
    calls: Vec<Option<(usize, ResultSlot)>>,
    /// What is to be sent.
    pub outgoing: Vec<(u16, Mail)>,
    /// What clients of this executor are answered.
    pub replies: Vec<(u32, Output)>,
}

impl SimulatedSite {
    /// Its changes go into the log, if there is one.
    pub fn new(id: u16, count: u16, log: Option<Log>) -> SimulatedSite {
        let mut shard = Shard::new(ShardId { index: id, count }, EngineConfig::default(), 7);
        if let Some(log) = &log {
            shard.keys.changes.attach(Box::new(log.clone()));
        }
        SimulatedSite {
            id,
            count,
            shard,
            locks: Locks::default(),
            watched: Watched::default(),
            hub: match log {
                None => Hub::default(),
                Some(_) => Hub::logging(id, |site, entry| site.tell_log(entry)),
            },
            log,
            tasks: Vec::new(),
            ready: VecDeque::new(),
            calls: Vec::new(),
            outgoing: Vec::new(),
            replies: Vec::new(),
        }
    }

    fn tell_log(&mut self, entry: coordinate::Entry) {
        let log = self.log.as_ref().expect("it was told of the log");
        match entry {
            coordinate::Entry::Begin(tag) => log.tag.set(Some(tag)),
            coordinate::Entry::End => log.tag.set(None),
            coordinate::Entry::Commit(tag) => log.lines.borrow_mut().push(Line::Commit(tag)),
        }
    }

    /// Whether a coordinator can go on.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether nothing is held, awaited or under way.
    pub fn is_idle(&self) -> bool {
        self.locks.is_empty()
            && self.watched.is_empty()
            && self.tasks.iter().all(Option::is_none)
            && self.calls.iter().all(Option::is_none)
            && self.outgoing.is_empty()
    }

    /// A client of this executor asks for something.
    pub fn ask(&mut self, client: u32, words: &[Vec<u8>]) {
        let argv: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
        let command = registry().resolve(&argv).expect("the commands of the scenarios are there");
        let asked = Asked { command, argv: &argv, view: view(), protocol: Protocol::Resp2 };
        match command.spec.run {
            Run::Keys(_, spread) => {
                let mut shards: Vec<u16> = command
                    .spec
                    .keys
                    .iter()
                    .flat_map(|spec| spec.positions(&argv))
                    .map(|at| Slot::of(argv[at]).shard(self.count))
                    .collect();
                shards.sort_unstable();
                shards.dedup();
                if let [shard] = shards[..] {
                    let words = Words::of(argv.iter().copied());
                    return self.route(shard, client, command, words);
                }
                let task = match spread {
                    Spread::Split(merge) => several::split(self, merge, asked).expect("keys with values"),
                    Spread::Coordinate(kind) => several::task(self, kind, asked),
                    Spread::OneKey => unreachable!("it has several"),
                };
                self.start(task, client);
            }
            Run::Everywhere(_, merge) => {
                let task = several::everywhere(self, merge, asked);
                self.start(task, client);
            }
            _ => unreachable!("not in a scenario"),
        }
    }

    /// A client of this executor asks for several commands as one.
    pub fn ask_transaction(&mut self, client: u32, commands: &[Vec<Vec<u8>>]) {
        let mut queue = Queue::new(0);
        for words in commands {
            let argv: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
            let command = registry().resolve(&argv).expect("the commands of the scenarios are there");
            let keys = command.spec.keys.iter().flat_map(|spec| spec.positions(&argv));
            let mut shards: Vec<u16> = keys.map(|at| Slot::of(argv[at]).shard(self.count)).collect();
            shards.sort_unstable();
            shards.dedup();
            let place = match shards[..] {
                [shard] => Place::Shard(shard),
                _ => Place::Several,
            };
            assert!(queue.push(command, &argv, place, u64::MAX));
        }
        let transaction = Transaction {
            queue: Arc::new(queue),
            watching: None,
            view: view(),
            protocol: Protocol::Resp2,
            silent: false,
            to: ReplyTo::Gather { id: client, part: 0 },
            serve: Box::new(|_| unreachable!("not in a scenario")),
            script: Box::new(|_, _, _, _| unreachable!("not in a scenario")),
        };
        let task = multi::task(self, transaction);
        self.start(task, client);
    }

    fn route(&mut self, shard: u16, client: u32, command: &'static Command, words: Words) {
        if shard != self.id {
            self.outgoing.push((shard, Mail::Command(client, command, words)));
        } else if let Some(reply) = self.command(self.id, client, command, words) {
            self.replies.push((client, reply));
        }
    }

    /// A command of this shard: its reply, if it need not wait.
    fn command(
        &mut self,
        executor: u16,
        client: u32,
        command: &'static Command,
        words: Words,
    ) -> Option<Output> {
        let wants = footprint::wants_of(&self.shard.keys, command, &words.argv());
        if !self.locks.is_free(&wants) {
            let kept = Kept {
                origin: Origin { executor, client },
                command,
                words,
                view: view(),
                protocol: Protocol::Resp2,
            };
            let asked = self.locks.ask(wants, true, Waiter::Command(Box::new(kept)));
            assert!(matches!(asked, Granted::Waiting));
            return None;
        }
        let mut reply = Output::default();
        several::apply_whole(&mut self.shard, command, view(), Protocol::Resp2, &words.argv(), &mut reply);
        self.settle(None);
        Some(reply)
    }

    fn start(&mut self, task: Task, client: u32) {
        self.tasks.push(Some((task, client)));
        let id = self.tasks.len() - 1;
        self.place_calls(id);
        self.poll(id);
    }

    /// The next coordinator that can goes on.
    pub fn go_on(&mut self) {
        let id = self.ready.pop_front().expect("one is ready");
        self.poll(id);
    }

    fn poll(&mut self, id: usize) {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let Some((mut task, client)) = self.tasks[id].take() else { return };
            match task.as_mut().poll(&mut context) {
                Poll::Ready(reply) => {
                    self.replies.push((client, reply));
                    self.place_calls(id);
                    return;
                }
                Poll::Pending => {
                    self.tasks[id] = Some((task, client));
                    if !self.place_calls(id) {
                        return;
                    }
                }
            }
        }
    }

    fn place_calls(&mut self, task: usize) -> bool {
        let mut done = false;
        while let Some(QueuedCall { target, call, slot }) = self.hub.take() {
            self.calls.push(Some((task, slot.clone())));
            let id = (self.calls.len() - 1) as u32;
            if target != self.id {
                self.outgoing.push((target, Mail::Call(id, call)));
            } else if let Some(value) = call(self, Answer { home: self.id, call: id }) {
                self.calls[id as usize] = None;
                *slot.borrow_mut() = Some(value);
                done = true;
            }
        }
        done
    }

    /// A piece of mail has come.
    pub fn receive(&mut self, from: u16, mail: Mail) {
        match mail {
            Mail::Call(id, call) => {
                if let Some(value) = call(self, Answer { home: from, call: id }) {
                    self.outgoing.push((from, Mail::Return(id, value)));
                }
            }
            Mail::Return(id, value) | Mail::LateReturn(id, value) => self.returned(id, value),
            Mail::Command(client, command, words) => {
                if let Some(reply) = self.command(from, client, command, words) {
                    self.outgoing.push((from, Mail::Reply(client, reply)));
                }
            }
            Mail::Reply(client, reply) | Mail::LateReply(client, reply) => self.replies.push((client, reply)),
        }
    }

    fn returned(&mut self, id: u32, value: Value) {
        let (task, slot) = self.calls[id as usize].take().expect("a call of ours, answered once");
        *slot.borrow_mut() = Some(value);
        self.ready.push_back(task);
    }
}

fn view() -> View {
    View { db: 0, now: NOW, touch: true }
}

impl Home<SimulatedSite> for SimulatedSite {
    fn number(&self) -> u16 {
        self.id
    }
    fn shards(&self) -> u16 {
        self.count
    }
    fn hub(&self) -> Hub<SimulatedSite> {
        self.hub.clone()
    }
    fn shard(&mut self) -> &mut Shard {
        &mut self.shard
    }
}

impl Site for SimulatedSite {
    type Origin = Origin;

    fn shard(&mut self) -> &mut Shard {
        &mut self.shard
    }
    fn locks(&mut self) -> &mut Locks<Waiter<SimulatedSite>> {
        &mut self.locks
    }
    fn watched(&mut self) -> &mut Watched {
        &mut self.watched
    }
    fn answer(&mut self, to: Answer, value: Value) {
        if to.home == self.id {
            self.returned(to.call, value);
        } else {
            self.outgoing.push((to.home, Mail::LateReturn(to.call, value)));
        }
    }
    fn make_room(&mut self, _: &'static Command, _: &[&[u8]]) {}
    fn run_kept(&mut self, kept: Kept<Origin>, lease: Lease) -> Option<Lease> {
        let mut reply = Output::default();
        let argv = kept.words.argv();
        several::apply_whole(&mut self.shard, kept.command, kept.view, kept.protocol, &argv, &mut reply);
        let Origin { executor, client } = kept.origin;
        if executor == self.id {
            self.replies.push((client, reply));
        } else {
            self.outgoing.push((executor, Mail::LateReply(client, reply)));
        }
        Some(lease)
    }
    fn settle(&mut self, _: Option<&Lease>) {}
}

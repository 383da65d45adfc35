//! Blocking commands over several shards: coordinators on the connection's executor.
//!
//! The first attempt holds all keys of the command, as any command over several shards does, and puts it into all lines while they are held: so no push
//! slips between looking and waiting.
//!
//! A command that moves an element (BLMOVE) waits for its source only. When that is ready, its shard asks for a transaction over both keys; the command keeps its
//! place at the head of the line meanwhile, and the source is held from that moment where it is free, so that no later command overtakes it.

use super::claim::Claim;
use super::serve::with_ends;
use super::BlockedCommand;
use crate::dispatch::Started;
use crate::executor::Executor;
use crate::mail::ReplyTo;
use crate::resp::encode::{Output, RespSink};
use crate::several::{self, Asked, Home, Work};
use crate::transaction::footprint::Footprint;
use crate::transaction::locks::Lease;
use crate::transaction::{self, Part};
use crate::words::Words;
use kora_engine::blocking::{self, Deadline};
use kora_engine::command::{Command, Coordinated};
use kora_engine::reply::Reply;
use kora_engine::slot::Slot;
use smallvec::SmallVec;
use std::sync::Arc;

/// A command whose source has an element, and whose destination is on another shard.
pub(crate) struct Due {
    pub(super) blocked: Arc<BlockedCommand>,
    /// The shard of the source.
    pub(super) source: u16,
    /// The source is held already.
    pub(super) lease: Option<Lease>,
}

impl Executor {
    /// Tries a command whose keys are on several shards; it waits on all of them if there is nothing for it.
    pub(super) fn block_on_several(
        &mut self,
        index: u32,
        kind: Coordinated,
        command: &'static Command,
        argv: &[&[u8]],
        deadline: Deadline,
    ) {
        let count = self.count;
        let mut shards: SmallVec<[u16; 4]> =
            blocking::awaited(command, argv).map(|at| Slot::of(argv[at]).shard(count)).collect();
        shards.sort_unstable();
        shards.dedup();
        let (started, accounted) = (self.started(command, argv), self.started(command, argv));
        let words = Words::of(argv.iter().copied());
        let mut blocked = self.begin_block(index, command, words, deadline, &shards, Claim::default());
        blocked.whole = false;
        let mut footprint = Footprint::new(count);
        footprint.add_command(&self.shard.keys, command, argv);
        let parts = footprint.parts();
        let work = self.work_of(&blocked).into_transaction();
        let task = Box::pin(async move {
            let held = transaction::acquire(work.hub(), &parts).await;
            if blocked.claim.is_cancelled() {
                held.release(&work.hub().plain());
                return Output::default();
            }
            let mut out = Output::default();
            let result = work.run_held(kind, &mut out).await;
            if result.is_ok() && several::is_null(&out.buf) {
                wait_on_all(&work, blocked, &shards).await;
                held.release(&work.hub().plain());
                return Output::default();
            }
            held.release(work.hub());
            blocked.claim.answer_at_once();
            if let Err(error) = result {
                out.clear();
                RespSink::new(&mut out, blocked.protocol).error(error.text());
            }
            answer(&work, accounted, blocked.to, out);
            Output::default()
        });
        self.start_task(task, ReplyTo::Nobody, started);
    }

    fn work_of(&mut self, blocked: &BlockedCommand) -> Work<Executor> {
        let argv = blocked.words.argv();
        let view = kora_engine::keyspace::View { now: self.now, ..blocked.view };
        let asked = Asked { command: blocked.command, argv: &argv, view, protocol: blocked.protocol };
        Work::new(self, &asked).with_arguments(&argv)
    }

    /// Starts what other shards have asked for.
    pub(crate) fn start_due(&mut self) {
        while let Some(due) = self.blocking.due.pop_front() {
            self.serve_elsewhere(due);
        }
    }

    /// Runs a command that moves an element from one shard to another.
    fn serve_elsewhere(&mut self, Due { blocked, source, lease }: Due) {
        let argv = blocked.words.argv();
        let mut footprint = Footprint::new(Home::shards(self));
        footprint.add_command(&self.shard.keys, blocked.command, &argv);
        let parts = footprint.parts();
        let (started, accounted) =
            (self.started(blocked.command, &argv), self.started(blocked.command, &argv));
        let from = argv[1].to_vec();
        drop(argv);
        let work = self.work_of(&blocked).into_transaction();
        let task = Box::pin(async move {
            let hub = work.hub();
            let mut held = match lease {
                Some(lease) => {
                    let (own, others): (Vec<Part>, Vec<Part>) =
                        parts.into_iter().partition(|part| part.shard == source);
                    let [own]: [Part; 1] = own.try_into().expect("the source is one part");
                    let [other]: [Part; 1] = others.try_into().expect("the destination is the other");
                    transaction::acquire_other(hub, (own, lease), other).await
                }
                None => transaction::acquire(hub, &parts).await,
            };
            if work.is_list(&from).await && blocked.claim.serve() {
                let mut out = Output::default();
                if let Err(error) = work.run_held(Coordinated::MoveElement, &mut out).await {
                    out.clear();
                    RespSink::new(&mut out, blocked.protocol).error(error.text());
                }
                answer(&work, accounted, blocked.to, out);
            }
            // The next in line is looked at before anybody else gets the key.
            let back = held.finish(hub, source, move |executor: &mut Executor| {
                executor.back_from_elsewhere(&blocked, &from);
            });
            held.release(hub);
            back.await;
            Output::default()
        });
        self.start_task(task, ReplyTo::Nobody, started);
    }
}

/// Gives the connection its reply, and accounts for the command.
fn answer(work: &Work<Executor>, started: Started, to: ReplyTo, mut reply: Output) {
    drop(work.hub().call(work.home(), move |executor: &mut Executor| {
        executor.account_started(&started, to, &reply);
        executor.deliver(to, &mut |out| out.append(&mut reply));
    }));
}

/// Puts a command into the lines of all its keys, which are held.
async fn wait_on_all(work: &Work<Executor>, mut blocked: Box<BlockedCommand>, shards: &[u16]) {
    if blocking::names_ends(blocked.command, &blocked.words.argv()) {
        let of_shard = |&shard: &u16| {
            let (view, command, count, words) =
                (blocked.view, blocked.command, work.shards(), blocked.words.clone());
            work.hub().call(shard, move |executor: &mut Executor| {
                let here = |key: &[u8]| Slot::of(key).shard(count) == shard;
                blocking::ends(&mut executor.shard.keys, view, command, &words.argv(), here)
            })
        };
        let asked: Vec<_> = shards.iter().map(of_shard).collect();
        let mut ends = Vec::new();
        for answer in asked {
            ends.extend(answer.await);
        }
        let words = with_ends(&blocked.words.argv(), &ends);
        blocked.words = words;
    }
    if !blocked.claim.begin_waiting() {
        return;
    }
    let blocked: Arc<BlockedCommand> = Arc::from(blocked);
    for &shard in shards {
        // Before the keys are given back: both go the same way.
        let blocked = blocked.clone();
        drop(work.hub().call(shard, move |executor: &mut Executor| executor.register(blocked)));
    }
}

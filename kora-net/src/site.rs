//! What an executor is to transactions: a shard with its locks, and a home for coordinators.

use crate::coordinate::{Answer, Hub, Value};
use crate::dispatch::Asker;
use crate::executor::{Executor, KeptOrigin, SliceOrigin};
use crate::mail::ReplyTo;
use crate::resp::encode::{Output, RespSink};
use crate::script::alone::Began;
use crate::several::{Asked, Home};
use crate::transaction::locks::{Lease, Locks};
use crate::transaction::{Kept, Site, Waiter};
use crate::watch::Watched;
use kora_engine::command::{Command, Run};
use kora_engine::keyspace::View;
use kora_engine::shard::{Applied, Shard};

impl Home<Executor> for Executor {
    fn number(&self) -> u16 {
        self.id
    }

    fn shards(&self) -> u16 {
        self.count
    }

    fn hub(&self) -> Hub {
        self.hub.clone()
    }

    fn shard(&mut self) -> &mut Shard {
        &mut self.shard
    }
}

impl Site for Executor {
    type Origin = KeptOrigin;

    fn shard(&mut self) -> &mut Shard {
        &mut self.shard
    }

    fn locks(&mut self) -> &mut Locks<Waiter<Executor>> {
        &mut self.locks
    }

    fn watched(&mut self) -> &mut Watched {
        &mut self.watched
    }

    fn answer(&mut self, to: Answer, value: Value) {
        if to.home == self.id {
            return self.returned(to.call, value);
        }
        let peer = self.peers[to.home as usize].as_mut().expect("it has asked");
        peer.outbox.late_returns.push((to.call, value));
    }

    fn make_room(&mut self, command: &'static Command, argv: &[&[u8]]) {
        // Whether it may run was decided where it came from; here the keys are that may have to go.
        self.has_memory_for(command, argv);
    }

    fn run_kept(&mut self, kept: Kept<KeptOrigin>, lease: Lease) -> Option<Lease> {
        let Kept { origin, command, words, view, protocol } = kept;
        let origin = match origin {
            KeptOrigin::Plain(origin) => origin,
            KeptOrigin::Blocking(blocked) => {
                self.attempt_or_wait(blocked);
                return Some(lease);
            }
        };
        let argv = words.argv();
        self.make_room(command, &argv);
        let mut reply = Output::default();
        let view = View { now: self.now, ..view };
        let applied = if let Run::Script(kind) = command.spec.run {
            match self.begin_script(kind, Asked { command, argv: &argv, view, protocol }, &mut reply) {
                Began::Paused(paused) => {
                    let started = self.started(command, &argv);
                    self.pause_script(paused, Some(lease), origin, started);
                    return None;
                }
                began => began.applied(),
            }
        } else {
            self.shard.apply(view, command, &argv, None, &mut RespSink::new(&mut reply, protocol))
        };
        let (asker, to) = match origin {
            SliceOrigin::Own(to) => (self.asked_by(to).map(Asker::Connection), to),
            SliceOrigin::Peer(from, to) => (Some(Asker::Peer(from, to)), to),
        };
        match (to, asker) {
            (ReplyTo::Connection { .. }, Some(asker)) => self.account(command, &applied, asker, &argv),
            // A part, or its client has gone.
            _ => self.last_tick = self.clock.raw(),
        }
        match applied {
            Applied::Later(work) => self.add_slice(work, origin, protocol, reply),
            _ => self.deliver_late(origin, reply),
        }
        Some(lease)
    }

    fn settle(&mut self, lease: Option<&Lease>) {
        if self.blocking.is_active() {
            self.serve_blocked(lease);
        }
    }

    fn answer_later(&mut self, to: Answer) {
        self.paused_calls.push(to.call);
    }

    fn ran(&mut self, home: u16, to: ReplyTo, command: &'static Command, applied: &Applied, argv: &[&[u8]]) {
        let asker = match home == self.id {
            true => self.asked_by(to).map(Asker::Connection),
            false => Some(Asker::Peer(home, to)),
        };
        match asker {
            Some(asker) => self.account(command, applied, asker, argv),
            // Its client has gone.
            None => self.last_tick = self.clock.raw(),
        }
    }
}

//! The shard's side: first attempts, lines, and serving those who wait.

use super::lines::{DbKey, Lines};
use super::{Age, BlockedCommand, Due};
use crate::coordinate::Answer;
use crate::dispatch::Asker;
use crate::executor::{Executor, SliceOrigin};
use crate::mail::{LateReply, ReplyTo};
use crate::resp::encode::{Output, RespSink};
use crate::several;
use crate::transaction::footprint;
use crate::transaction::locks::{Asked, Lease, Mode, Wants};
use crate::transaction::{Site, Waiter};
use crate::words::Words;
use kora_engine::blocking;
use kora_engine::command::Command;
use kora_engine::keyspace::View;
use kora_engine::shard::Applied;
use kora_engine::slot::Slot;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

impl Executor {
    /// Tries a command of another executor that blocks if there is nothing for it, when its keys are free.
    pub(super) fn first_attempt(&mut self, blocked: Box<BlockedCommand>) {
        if !self.locks.is_empty() {
            let wants = footprint::wants_of(&self.shard.keys, blocked.command, &blocked.words.argv());
            if !self.locks.is_free(&wants) {
                return self.keep_blocking(wants, blocked);
            }
        }
        self.attempt_or_wait(blocked);
        self.after_work();
    }

    /// Tries it; it waits from now on if there is nothing for it.
    pub(crate) fn attempt_or_wait(&mut self, mut blocked: Box<BlockedCommand>) {
        if blocked.claim.is_cancelled() {
            return;
        }
        let argv = blocked.words.argv();
        self.make_room(blocked.command, &argv);
        let view = View { now: self.now, ..blocked.view };
        let mut reply = Output::default();
        let sink = &mut RespSink::new(&mut reply, blocked.protocol);
        let applied = self.shard.apply(view, blocked.command, &argv, None, sink);
        if matches!(applied, Applied::Replied) && several::is_null(&reply.buf) {
            let words = self.settled_words(blocked.command, &argv, view);
            drop(argv);
            if blocked.claim.begin_waiting() {
                blocked.words = words;
                self.register(Arc::from(blocked));
            }
            return;
        }
        blocked.claim.answer_at_once();
        self.account_blocked(&blocked, &applied, &argv);
        self.answer_blocked(&blocked, applied, reply);
    }

    /// A copy of the arguments in which the ids that stand for the end of a stream of this shard are those ends.
    pub(super) fn settled_words(&mut self, command: &Command, argv: &[&[u8]], view: View) -> Words {
        let ends = blocking::ends(&mut self.shard.keys, view, command, argv, |_| true);
        with_ends(argv, &ends)
    }

    /// Puts a command into the lines of its keys on this shard.
    pub(super) fn register(&mut self, blocked: Arc<BlockedCommand>) {
        let (id, count) = (self.id, self.count);
        let lines = self.blocking.lines.get_or_insert_with(|| {
            let lines = Rc::new(RefCell::new(Lines::default()));
            self.shard.keys.changes.observe(Rc::<RefCell<Lines>>::downgrade(&lines));
            lines
        });
        lines.borrow_mut().register(blocked, |key| count == 1 || Slot::of(key).shard(count) == id);
    }

    /// A command does not wait for keys of this shard any more.
    pub(super) fn forget_blocked(&mut self, age: Age) {
        let Some(lines) = &self.blocking.lines else { return };
        lines.borrow_mut().forget(age);
        self.drop_lines_if_empty();
    }

    fn drop_lines_if_empty(&mut self) {
        if self.blocking.lines.as_ref().is_some_and(|lines| lines.borrow().is_empty()) {
            self.blocking.lines = None;
        }
    }

    /// To be called when a command is over that may have changed keys, before anybody else runs on this shard.
    #[inline(always)]
    pub(crate) fn after_work(&mut self) {
        if self.blocking.is_active() {
            self.serve_blocked(None);
        }
    }

    /// Serves those who wait for keys that are ready. Keys that somebody else than the holder of `lease` holds stay ready.
    #[cold]
    pub(crate) fn serve_blocked(&mut self, lease: Option<&Lease>) {
        let Some(lines) = self.blocking.lines.clone() else { return };
        if !lines.borrow().any_ready() {
            return;
        }
        loop {
            let may = |key: &[u8]| self.may_have(key, lease);
            let Some(key) = lines.borrow_mut().begin_serving(may) else { break };
            self.serve_key(&lines, &key, lease);
            lines.borrow_mut().end_serving();
        }
        self.drop_lines_if_empty();
    }

    /// Whether a key can be given to somebody who waits for it.
    fn may_have(&self, key: &[u8], lease: Option<&Lease>) -> bool {
        if self.locks.is_empty() {
            return true;
        }
        let key = footprint::fingerprint(&self.shard.keys, key);
        lease.is_some_and(|lease| self.locks.covers(lease, key))
            || self.locks.is_free(&Wants::keys([(key, Mode::Exclusive)]))
    }

    /// Serves those who wait for a key, in their order, for as long as there is something for one of them.
    fn serve_key(&mut self, lines: &RefCell<Lines>, of: &DbKey, lease: Option<&Lease>) {
        let (db, key) = of;
        let mut behind = 0;
        loop {
            let Some((blocked, readers)) = lines.borrow().next(of, behind) else { return };
            behind = blocked.age;
            let view = View { now: self.now, db: *db, ..blocked.view };
            let keys = &mut self.shard.keys;
            if !readers && !keys.exists(view, &keys.key(key)) {
                return;
            }
            if !blocking::has_answer(keys, view, blocked.command, &blocked.words.argv(), key) {
                continue;
            }
            if blocking::moves(blocked.command) && !self.may_write_here(&blocked, lease) {
                lines.borrow_mut().go_away(of);
                return self.send_elsewhere(blocked, key, lease);
            }
            // Before it is run: what it takes, it must get.
            lines.borrow_mut().forget(blocked.age);
            if blocked.claim.serve() {
                self.serve_one(&blocked, view, key);
            }
        }
    }

    /// Whether the destination of a command that moves an element is on this shard, and nobody else holds it.
    fn may_write_here(&self, blocked: &BlockedCommand, lease: Option<&Lease>) -> bool {
        blocked.whole && self.may_have(blocked.words.argv()[2], lease)
    }

    fn serve_one(&mut self, blocked: &BlockedCommand, view: View, key: &[u8]) {
        let mut number = itoa::Buffer::new();
        let all = blocked.words.argv();
        // Of its other keys those on other shards are none of our business, and those that somebody holds neither.
        let argv = if blocked.whole && self.locks.is_empty() {
            all
        } else if self.locks.is_empty() {
            let here = |at: usize| Slot::of(all[at]).shard(self.count) == self.id;
            blocking::only(blocked.command, &all, here, &mut number)
        } else if blocking::moves(blocked.command) {
            all
        } else {
            blocking::only(blocked.command, &all, |at| all[at] == key, &mut number)
        };
        self.make_room(blocked.command, &argv);
        let mut reply = Output::default();
        let sink = &mut RespSink::new(&mut reply, blocked.protocol);
        let applied = self.shard.apply(view, blocked.command, &argv, None, sink);
        self.account_blocked(blocked, &applied, &argv);
        self.answer_blocked(blocked, applied, reply);
    }

    fn account_blocked(&mut self, blocked: &BlockedCommand, applied: &Applied, argv: &[&[u8]]) {
        let asker = if blocked.home == self.id {
            self.asked_by(blocked.to).map(Asker::Connection)
        } else {
            Some(Asker::Peer(blocked.home, blocked.to))
        };
        match asker {
            Some(asker) => self.account(blocked.command, applied, asker, argv),
            None => self.last_tick = self.clock.raw(),
        }
    }

    /// Sends what an attempt has come to to the connection.
    fn answer_blocked(&mut self, blocked: &BlockedCommand, applied: Applied, reply: Output) {
        if let Applied::Later(work) = applied {
            let origin = if blocked.home == self.id {
                SliceOrigin::Own(blocked.to)
            } else {
                SliceOrigin::Peer(blocked.home, blocked.to)
            };
            return self.add_slice(work, origin, blocked.protocol, reply);
        }
        self.deliver_to(blocked.home, blocked.to, reply);
    }

    /// Gives a reply to a connection of any executor.
    pub(super) fn deliver_to(&mut self, home: u16, to: ReplyTo, mut reply: Output) {
        if home == self.id {
            return self.deliver(to, &mut |out| out.append(&mut reply));
        }
        let peer = self.peers[home as usize].as_mut().expect("it has asked");
        peer.outbox.late.push(LateReply { to, reply });
    }

    /// Asks the connection's executor to run a command that concerns another shard as well, or a key that somebody holds. Its own key is held for that from now
    /// on, if it is free, or taken over from a lease that is about to be given back.
    fn send_elsewhere(&mut self, blocked: Arc<BlockedCommand>, key: &[u8], lease: Option<&Lease>) {
        // Of two keys on this shard the other one is held by somebody: both are waited for, in their order.
        let lease = if blocked.whole { None } else { self.hold_for(&blocked, key, lease) };
        let (home, due) = (blocked.home, Due { blocked, source: self.id, lease });
        if home == self.id {
            self.blocking.due.push_back(due);
        } else {
            self.post(home, move |executor| executor.blocking.due.push_back(due));
        }
    }

    fn hold_for(&mut self, blocked: &BlockedCommand, key: &[u8], lease: Option<&Lease>) -> Option<Lease> {
        let key = footprint::fingerprint(&self.shard.keys, key);
        if let Some(split) = lease.and_then(|lease| self.locks.split(lease, key)) {
            return Some(split);
        }
        // Who would have to wait is refused, and nobody is told.
        let nobody = Waiter::Transaction(Answer { home: blocked.home, call: u32::MAX });
        match self.locks.ask(Wants::keys([(key, Mode::Exclusive)]), false, nobody) {
            Asked::Granted(lease) => Some(lease),
            Asked::Refused(_) => None,
            Asked::Waiting => unreachable!("it is not patient"),
        }
    }

    /// A command that was run with the help of another shard is served now, or found nothing.
    pub(super) fn back_from_elsewhere(&mut self, blocked: &BlockedCommand, key: &[u8]) {
        let Some(lines) = self.blocking.lines.clone() else { return };
        if !blocked.claim.is_waiting() {
            lines.borrow_mut().forget(blocked.age);
        }
        lines.borrow_mut().come_back(blocked.view.db, key);
        self.drop_lines_if_empty();
    }
}

/// The arguments with some of them replaced.
pub(super) fn with_ends(argv: &[&[u8]], ends: &[(usize, Vec<u8>)]) -> Words {
    let arg = |(at, arg): (usize, &'_ &'_ [u8])| -> Vec<u8> {
        ends.iter().find(|(of, _)| *of == at).map_or_else(|| arg.to_vec(), |(_, end)| end.clone())
    };
    if ends.is_empty() {
        return Words::of(argv.iter().copied());
    }
    let owned: Vec<Vec<u8>> = argv.iter().enumerate().map(arg).collect();
    Words::of(owned.iter().map(Vec::as_slice))
}

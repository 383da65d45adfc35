//! What is atomic over several shards: who holds them, and that nobody waits for ever.
//!
//! A transaction asks all its shards at once for what it wants of them (two-phase locking), works, and gives back. Commands of one shard
//! take no lock: they run when what they want is free, and otherwise wait in line holding nothing.
//!
//! **No deadlock.** Within a shard everybody is served in the order of asking. Between shards the age of transactions decides (wait-die: Rosenkrantz, Stearns and
//! Lewis, "System level concurrency control for distributed database systems", 1978): a transaction waits only where it is older than all transactions present in the
//! shard; elsewhere it is refused. Then it lets go of everything, waits at the shard that refused it while it holds nothing, and asks the others from there.
//! So who waits holding something waits for younger ones only (also through the line of a shard, because it was compared with everybody in it), and who waits holding nothing
//! is waited for only by those that are older than everything before it: no circle can close.
//!
//! **No starvation.** A transaction keeps its age, and the oldest of all is never refused.
//!
//! **Rounds.** Asking and working with giving back are two rounds of mail, in parallel over the shards. With one shard of the
//! coordinator's own and one other it is one round: the own shard is held first, the other works as soon as it is held, and then the own one works.

pub mod footprint;
pub mod locks;

use crate::coordinate::{Answer, Hub, Value};
use crate::words::Words;
use kora_engine::command::Command;
use kora_engine::keyspace::View;
use kora_engine::reply::Protocol;
use kora_engine::shard::Shard;
use locks::{Age, Asked, Lease, Locks, Wants};
use std::collections::VecDeque;

/// A command of one shard that waits for its keys.
pub struct Kept<O> {
    /// Where its reply goes.
    pub origin: O,
    /// Its row.
    pub command: &'static Command,
    /// Its arguments.
    pub words: Words,
    /// Database and access flags; the time is that of its execution.
    pub view: View,
    /// How the reply is encoded.
    pub protocol: Protocol,
}

/// Work on a shard that is done as soon as it is held; its result comes back.
pub type Work<E> = Box<dyn FnOnce(&mut E) -> Value + Send>;

/// Who waits for a shard or for keys of it.
pub enum Waiter<E: Site> {
    /// A transaction, which will do its work later.
    Transaction(Answer),
    /// The last shard of a transaction: it does its work and gives back at once.
    Last(Answer, Work<E>),
    /// A command of this shard alone.
    Command(Box<Kept<E::Origin>>),
}

/// What has a shard and its locks: an executor, or a simulated one.
pub trait Site: Sized + 'static {
    /// Where the reply of a kept command goes.
    type Origin: Send + 'static;

    /// The data.
    fn shard(&mut self) -> &mut Shard;
    /// Who may change it.
    fn locks(&mut self) -> &mut Locks<Waiter<Self>>;
    /// Gives the result of a call that could not be given at once.
    fn answer(&mut self, to: Answer, value: Value);
    /// Frees memory for a command that is about to run, if it must.
    fn make_room(&mut self, command: &'static Command, argv: &[&[u8]]);
    /// Runs a command whose turn has come; everything it wants is held for it.
    fn run_kept(&mut self, kept: Kept<Self::Origin>);
    /// There was work on the shard, under a lease that is about to be given back, or on keys that are free: whoever waits for them to change
    /// comes before everybody else.
    fn settle(&mut self, lease: Option<&Lease>);
}

/// The answer to a transaction that has asked a shard.
enum Grant {
    Granted(Lease),
    Refused,
}

/// The answer of the last shard.
enum LastGrant<E> {
    Done(Value),
    Refused(Work<E>),
}

/// What a transaction wants of one shard.
#[derive(Debug, Clone)]
pub struct Part {
    /// The shard.
    pub shard: u16,
    /// What it wants there.
    pub wants: Wants,
}

/// Shards that a transaction holds, each with what it must give back.
#[must_use = "what is held must be released"]
pub struct Held {
    leases: Vec<(u16, Lease)>,
}

/// Gives back what was held on this site, and lets those go on who waited for it.
pub fn release<E: Site>(site: &mut E, lease: Lease) {
    let mut ready = VecDeque::new();
    site.settle(Some(&lease));
    site.locks().release(lease, &mut ready);
    while let Some((lease, waiter)) = ready.pop_front() {
        match waiter {
            Waiter::Transaction(answer) => site.answer(answer, Box::new(Grant::Granted(lease))),
            Waiter::Last(answer, work) => {
                let value = work(site);
                site.settle(Some(&lease));
                site.locks().release(lease, &mut ready);
                site.answer(answer, Box::new(LastGrant::<E>::Done(value)));
            }
            Waiter::Command(kept) => {
                site.run_kept(*kept);
                site.settle(Some(&lease));
                site.locks().release(lease, &mut ready);
            }
        }
    }
}

/// Asks for everything in `parts`, each shard of which occurs once, and returns when all is held.
pub async fn acquire<E: Site>(hub: &Hub<E>, age: Age, parts: &[Part]) -> Held {
    acquire_from(hub, age, parts, (parts.len() == 1).then_some(0)).await
}

/// The same; one of them may be waited for alone at first, because it has refused.
async fn acquire_from<E: Site>(hub: &Hub<E>, age: Age, parts: &[Part], mut first: Option<usize>) -> Held {
    loop {
        let mut held = Held { leases: Vec::with_capacity(parts.len()) };
        if let Some(at) = first {
            match ask(hub, age, &parts[at], true).await {
                Grant::Granted(lease) => held.leases.push((parts[at].shard, lease)),
                Grant::Refused => unreachable!("who holds nothing may wait"),
            }
        }
        let others = parts.iter().enumerate().filter(|(at, _)| Some(*at) != first);
        let asked: Vec<_> = others.map(|(at, part)| (at, ask(hub, age, part, false))).collect();
        let mut refused = None;
        for (at, answer) in asked {
            match answer.await {
                Grant::Granted(lease) => held.leases.push((parts[at].shard, lease)),
                Grant::Refused => refused = Some(at),
            }
        }
        if refused.is_none() {
            return held;
        }
        held.release(hub);
        first = refused;
    }
}

fn ask<E: Site>(
    hub: &Hub<E>,
    age: Age,
    part: &Part,
    patient: bool,
) -> impl std::future::Future<Output = Grant> {
    let wants = part.wants.clone();
    hub.call_later(part.shard, move |site: &mut E, answer| {
        match site.locks().ask(wants, Some(age), patient, Waiter::Transaction(answer)) {
            Asked::Granted(lease) => Some(Grant::Granted(lease)),
            Asked::Waiting => None,
            Asked::Refused(_) => Some(Grant::Refused),
        }
    })
}

impl Held {
    /// What is held of a shard.
    fn take(&mut self, shard: u16) -> Lease {
        let at = self.leases.iter().position(|(of, _)| *of == shard).expect("the shard is held");
        self.leases.swap_remove(at).1
    }

    /// Does the work of one shard and gives it back.
    pub fn finish<E: Site, T: Send + 'static>(
        &mut self,
        hub: &Hub<E>,
        shard: u16,
        work: impl FnOnce(&mut E) -> T + Send + 'static,
    ) -> crate::coordinate::CallResult<T> {
        let lease = self.take(shard);
        hub.call(shard, move |site| {
            let result = work(site);
            release(site, lease);
            result
        })
    }

    /// Gives everything back. Nobody waits for that.
    pub fn release<E: Site>(self, hub: &Hub<E>) {
        for (shard, lease) in self.leases {
            drop(hub.call(shard, move |site: &mut E| release(site, lease)));
        }
    }
}

/// Does one piece of work on each of two shards, with both held: the coordinator's own and another. The other one's lease never leaves its shard, which saves a round.
/// The results come as (own, other).
pub async fn on_own_and_other<E: Site, T: Send + 'static>(
    hub: &Hub<E>,
    age: Age,
    own: Part,
    other: Part,
    on_own: impl FnOnce(&mut E) -> T + Send + 'static,
    on_other: impl FnOnce(&mut E) -> T + Send + 'static,
) -> (T, T) {
    let mut lease = match ask(hub, age, &own, true).await {
        Grant::Granted(lease) => lease,
        Grant::Refused => unreachable!("who holds nothing may wait"),
    };
    let work: Work<E> = Box::new(move |site| Box::new(on_other(site)));
    let wants = other.wants.clone();
    let asked = hub.call_later(other.shard, move |site: &mut E, answer| last(site, answer, age, wants, work));
    let value = match asked.await {
        LastGrant::Done(value) => value,
        LastGrant::Refused(work) => {
            // In the other order now; see the head of this module.
            drop(hub.call(own.shard, move |site: &mut E| release(site, lease)));
            let mut held = acquire_from(hub, age, &[own.clone(), other.clone()], Some(1)).await;
            let value = held.finish(hub, other.shard, work).await;
            lease = held.take(own.shard);
            value
        }
    };
    let own = hub.call(own.shard, move |site: &mut E| {
        let result = on_own(site);
        release(site, lease);
        result
    });
    (own.await, *value.downcast().expect("the work returns this type"))
}

/// The last shard of a transaction: it works as soon as it may.
fn last<E: Site>(
    site: &mut E,
    answer: Answer,
    age: Age,
    wants: Wants,
    work: Work<E>,
) -> Option<LastGrant<E>> {
    if site.locks().is_free(&wants) {
        let value = work(site);
        site.settle(None);
        return Some(LastGrant::Done(value));
    }
    match site.locks().ask(wants, Some(age), false, Waiter::Last(answer, work)) {
        Asked::Granted(_) => unreachable!("it was not free"),
        Asked::Waiting => None,
        Asked::Refused(Waiter::Last(_, work)) => Some(LastGrant::Refused(work)),
        Asked::Refused(_) => unreachable!("what was given comes back"),
    }
}

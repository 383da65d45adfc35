//! What is atomic over several shards: who holds them, and that nobody waits for ever.
//!
//! A transaction asks its shards for what it wants of them (two-phase locking), works, and gives back. Commands of one shard
//! take no lock: they run when what they want is free, and otherwise wait in line holding nothing.
//!
//! **No deadlock.** Within a shard everybody is served in the order of asking. Of several shards a transaction first asks all at once, and waits for none: a shard where something it wants is
//! taken refuses. If one has refused, it lets go of everything and asks one shard after the other, in the order of their numbers, and waits at each. So whoever waits while it holds something
//! holds shards of lower numbers than the one it waits at (Havender, "Avoiding deadlock in multitasking systems", 1968), and who holds shards without regard to that order does not wait: no circle can close.
//!
//! **No starvation.** In the second attempt it has a place in line at each shard, and nobody overtakes: whoever is refused holds nothing that others wait for for longer than its answers take.
//!
//! **Rounds.** Asking and working with giving back are two rounds of mail, in parallel over the shards, as long as nothing is taken. With one shard of the
//! coordinator's own and one other it is one round: the own shard is held first, the other works as soon as it may, and then the own one works.
//!
//! **In the log** what a transaction changes on several shards is a unit: its calls are tagged with its number ([`Hub::transaction`]), and when all of them are done it commits, and only then gives
//! back what it holds. So whatever depends on it comes after its commit, and a log that ends before the commit has nothing of it. That takes one more message per shard, for which nobody waits;
//! without a log, or for one that only reads, each shard is given back with the last work on it.
//!
//! Wait-die by the age of transactions, which needs no second attempt in order, was tried first: with 50 clients that wrote the same keys on two shards nearly every transaction was refused several
//! times before it was the oldest, and took 330 microseconds instead of 20.

pub mod footprint;
pub mod locks;

use crate::coordinate::{Answer, CallResult, Hub, Value};
use crate::mail::ReplyTo;
use crate::watch::Watched;
use crate::words::Words;
use kora_engine::command::Command;
use kora_engine::keyspace::View;
use kora_engine::reply::Protocol;
use kora_engine::shard::{Applied, Shard};
use locks::{Asked, Lease, Locks, Wants};
use smallvec::SmallVec;
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
    /// The last shard of a transaction: it does its work and, unless it is to keep it, gives back at once.
    Last(Answer, Work<E>, Keeps),
    /// A command of this shard alone.
    Command(Box<Kept<E::Origin>>),
}

/// Whether the last shard of a transaction stays held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeps(bool);

/// What has a shard and its locks: an executor, or a simulated one.
pub trait Site: Sized + 'static {
    /// Where the reply of a kept command goes.
    type Origin: Send + 'static;

    /// The data.
    fn shard(&mut self) -> &mut Shard;
    /// Who may change it.
    fn locks(&mut self) -> &mut Locks<Waiter<Self>>;
    /// Which of its keys are watched.
    fn watched(&mut self) -> &mut Watched;
    /// Gives the result of a call that could not be given at once.
    fn answer(&mut self, to: Answer, value: Value);
    /// Frees memory for a command that is about to run, if it must.
    fn make_room(&mut self, command: &'static Command, argv: &[&[u8]]);
    /// Runs a command whose turn has come; everything it wants is held for it. One that goes on for longer keeps the lease.
    fn run_kept(&mut self, kept: Kept<Self::Origin>, lease: Lease) -> Option<Lease>;
    /// There was work on the shard, under a lease that is about to be given back, or on keys that are free: whoever waits for them to change
    /// comes before everybody else.
    fn settle(&mut self, lease: Option<&Lease>);
    /// Gives this result, of a call of this site's own, when others have had their turn.
    fn answer_later(&mut self, to: Answer) {
        self.answer(to, Box::new(()));
    }
    /// A command has run as part of a transaction, whose reply goes to `to` on the site `home`: for statistics.
    fn ran(&mut self, home: u16, to: ReplyTo, command: &'static Command, applied: &Applied, argv: &[&[u8]]) {
        let _ = (home, to, command, applied, argv);
    }
}

/// The answer of the last shard of a transaction: its result, or, when it has refused, the work that was not done.
enum LastAnswer<E> {
    Done(Value, Option<Lease>),
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

/// Waits for the next turn of the coordinator's own site, `home`: others have theirs meanwhile.
pub fn next_turn<E: Site>(hub: &Hub<E>, home: u16) -> CallResult<()> {
    hub.call_later(home, |site: &mut E, answer| {
        site.answer_later(answer);
        None
    })
}

/// Gives back what was held on this site, and lets those go on who waited for it.
pub fn release<E: Site>(site: &mut E, lease: Lease) {
    let mut ready = VecDeque::new();
    site.settle(Some(&lease));
    site.locks().release(lease, &mut ready);
    while let Some((lease, waiter)) = ready.pop_front() {
        match waiter {
            Waiter::Transaction(answer) => site.answer(answer, Box::new(Some(lease))),
            Waiter::Last(answer, work, Keeps(true)) => {
                let value = work(site);
                site.answer(answer, Box::new(LastAnswer::<E>::Done(value, Some(lease))));
            }
            Waiter::Last(answer, work, Keeps(false)) => {
                let value = work(site);
                site.settle(Some(&lease));
                site.locks().release(lease, &mut ready);
                site.answer(answer, Box::new(LastAnswer::<E>::Done(value, None)));
            }
            Waiter::Command(kept) => {
                if let Some(lease) = site.run_kept(*kept, lease) {
                    site.settle(Some(&lease));
                    site.locks().release(lease, &mut ready);
                }
            }
        }
    }
}

/// Asks for everything in `parts`, each shard of which occurs once, and returns when all is held.
pub async fn acquire<E: Site>(hub: &Hub<E>, parts: &[Part]) -> Held {
    let hub = &hub.plain();
    if parts.len() > 1 {
        let asked: Vec<_> = parts.iter().map(|part| (part.shard, ask(hub, part, false))).collect();
        let mut held = Held { leases: Vec::with_capacity(parts.len()) };
        for (shard, answer) in asked {
            held.leases.extend(answer.await.map(|lease| (shard, lease)));
        }
        if held.leases.len() == parts.len() {
            return held;
        }
        held.release(hub);
    }
    acquire_in_order(hub, parts).await
}

/// The same for two parts of which one is held already.
pub async fn acquire_other<E: Site>(hub: &Hub<E>, (own, lease): (Part, Lease), other: Part) -> Held {
    let hub = &hub.plain();
    // In the order of numbers it may wait; against it, it may not.
    if let Some(granted) = ask(hub, &other, own.shard < other.shard).await {
        return Held { leases: vec![(own.shard, lease), (other.shard, granted)] };
    }
    drop(hub.call(own.shard, move |site: &mut E| release(site, lease)));
    acquire_in_order(hub, &[other, own]).await
}

/// The same, in order from the beginning: for who has seen already that something is taken.
async fn acquire_in_order<E: Site>(hub: &Hub<E>, parts: &[Part]) -> Held {
    let mut held = Held { leases: Vec::with_capacity(parts.len()) };
    let mut in_order: SmallVec<[&Part; 8]> = parts.iter().collect();
    in_order.sort_unstable_by_key(|part| part.shard);
    for part in in_order {
        let lease = ask(hub, part, true).await.expect("who is patient is not refused");
        held.leases.push((part.shard, lease));
    }
    held
}

/// Asks one shard. The result is none if it has refused.
fn ask<E: Site>(hub: &Hub<E>, part: &Part, patient: bool) -> CallResult<Option<Lease>> {
    let wants = part.wants.clone();
    hub.call_later(part.shard, move |site: &mut E, answer| {
        match site.locks().ask(wants, patient, Waiter::Transaction(answer)) {
            Asked::Granted(lease) => Some(Some(lease)),
            Asked::Waiting => None,
            Asked::Refused(_) => Some(None),
        }
    })
}

impl Held {
    /// Whether something of this shard is held.
    pub fn holds(&self, shard: u16) -> bool {
        self.leases.iter().any(|(of, _)| *of == shard)
    }

    /// Does the work of one shard, the last that is to be done there, and gives it back; a transaction that is to commit keeps it until then.
    pub fn finish<E: Site, T: Send + 'static>(
        &mut self,
        hub: &Hub<E>,
        shard: u16,
        work: impl FnOnce(&mut E) -> T + Send + 'static,
    ) -> CallResult<T> {
        if hub.tag().is_some() {
            return hub.call(shard, work);
        }
        let at = self.leases.iter().position(|(of, _)| *of == shard).expect("the shard is held");
        finish(hub, shard, self.leases.swap_remove(at).1, work)
    }

    /// Commits what was changed, and gives everything back that is still held. Nobody waits for that.
    pub fn release<E: Site>(self, hub: &Hub<E>) {
        hub.commit();
        let hub = hub.plain();
        for (shard, lease) in self.leases {
            drop(hub.call(shard, move |site: &mut E| release(site, lease)));
        }
    }
}

/// Does work on a shard that is held and gives it back.
fn finish<E: Site, T: Send + 'static>(
    hub: &Hub<E>,
    shard: u16,
    lease: Lease,
    work: impl FnOnce(&mut E) -> T + Send + 'static,
) -> CallResult<T> {
    hub.call(shard, move |site| {
        let result = work(site);
        release(site, lease);
        result
    })
}

/// Does a piece of work on one shard as soon as what it wants there is free. It holds nothing before and nothing after.
pub fn on_one<E: Site, T: Send + 'static>(
    hub: &Hub<E>,
    shard: u16,
    wants: impl FnOnce(&mut E) -> Wants + Send + 'static,
    work: impl FnOnce(&mut E) -> T + Send + 'static,
) -> impl std::future::Future<Output = T> {
    let work: Work<E> = Box::new(move |site| Box::new(work(site)));
    let asked = hub.call_later(shard, move |site: &mut E, answer| {
        let wants = if site.locks().is_empty() { Wants::default() } else { wants(site) };
        last(site, answer, wants, true, work, Keeps(false))
    });
    async move {
        match asked.await {
            LastAnswer::Done(value, _) => result(value),
            LastAnswer::Refused(_) => unreachable!("who is patient is not refused"),
        }
    }
}

/// Does one piece of work on each of two shards, with both held: the coordinator's own and another. The other one's lease never leaves its shard, which saves a round.
/// The results come as (own, other).
pub async fn on_own_and_other<E: Site, T: Send + 'static>(
    hub: &Hub<E>,
    own: Part,
    other: Part,
    on_own: impl FnOnce(&mut E) -> T + Send + 'static,
    on_other: impl FnOnce(&mut E) -> T + Send + 'static,
) -> (T, T) {
    let on_other = hub.logged(on_other);
    let (keeps, plain) = (Keeps(hub.tag().is_some()), hub.plain());
    let work: Work<E> = Box::new(move |site| Box::new(on_other(site)));
    // In the order of numbers it may wait at both; against it, at none.
    let patient = own.shard < other.shard;
    let refused = match ask(&plain, &own, patient).await {
        None => work,
        Some(lease) => {
            let wants = other.wants.clone();
            let asked = plain.call_later(other.shard, move |site: &mut E, answer| {
                last(site, answer, wants, patient, work, keeps)
            });
            match asked.await {
                LastAnswer::Done(value, None) => {
                    return (finish(&plain, own.shard, lease, on_own).await, result(value))
                }
                LastAnswer::Done(value, Some(kept)) => {
                    let results = (hub.call(own.shard, on_own).await, result(value));
                    Held { leases: vec![(own.shard, lease), (other.shard, kept)] }.release(hub);
                    return results;
                }
                LastAnswer::Refused(work) => {
                    drop(plain.call(own.shard, move |site: &mut E| release(site, lease)));
                    work
                }
            }
        }
    };
    let mut held = acquire_in_order(&plain, &[other.clone(), own.clone()]).await;
    // What is refused here is logged already as work of the transaction: see above.
    let value = match keeps {
        Keeps(true) => plain.call(other.shard, refused).await,
        Keeps(false) => held.finish(&plain, other.shard, refused).await,
    };
    let results = (held.finish(hub, own.shard, on_own).await, result(value));
    held.release(hub);
    results
}

fn result<T: 'static>(value: Value) -> T {
    *value.downcast().expect("the work returns this type")
}

/// The last shard of a transaction: it works as soon as it may.
fn last<E: Site>(
    site: &mut E,
    answer: Answer,
    wants: Wants,
    patient: bool,
    work: Work<E>,
    keeps: Keeps,
) -> Option<LastAnswer<E>> {
    if keeps == Keeps(true) {
        if let Some(lease) = site.locks().take(wants.clone()) {
            return Some(LastAnswer::Done(work(site), Some(lease)));
        }
    } else if site.locks().is_free(&wants) {
        let value = work(site);
        site.settle(None);
        return Some(LastAnswer::Done(value, None));
    }
    match site.locks().ask(wants, patient, Waiter::Last(answer, work, keeps)) {
        Asked::Granted(_) => unreachable!("it was not free"),
        Asked::Waiting => None,
        Asked::Refused(Waiter::Last(_, work, _)) => Some(LastAnswer::Refused(work)),
        Asked::Refused(_) => unreachable!("what was given comes back"),
    }
}

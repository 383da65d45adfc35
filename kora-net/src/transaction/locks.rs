//! The locks of one shard: who may run now, and who runs next.
//!
//! What is locked is a key, named by a fingerprint of 64 bits (two keys with the same one only wait for each other in vain), or the whole shard.
//! A lock is shared or exclusive, and is granted in the order of asking: a reader does not overtake a writer that waits. Who wants keys announces that at the
//! gate of the shard first (an intent, as in Gray's granularity of locks, 1976), so that wanting the whole shard is one entry and not one per key.
//!
//! Everything that one asker wants is asked for at once. So the askers of one shard are in one order, whatever they want, and cannot wait for each other in a circle.
//! How that is kept from happening between shards: see the head of [`super`].
//!
//! Nearly always the table is empty: a command that runs at once looks only at that ([`Locks::is_empty`]) and leaves no trace.

use hashbrown::HashMap;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// How something is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Together with others who read.
    Shared,
    /// By one alone.
    Exclusive,
}

/// What one asker wants of one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wants {
    /// Fingerprints of keys: each once, in ascending order.
    keys: SmallVec<[(u64, Mode); 8]>,
    /// The whole shard. Then keys are beside the point.
    whole: Option<Mode>,
}

impl Wants {
    /// The whole shard.
    pub fn whole(mode: Mode) -> Wants {
        Wants { keys: SmallVec::new(), whole: Some(mode) }
    }

    /// These keys. One that is named more than once is held in the stronger way.
    pub fn keys(keys: impl IntoIterator<Item = (u64, Mode)>) -> Wants {
        let mut wants = Wants { keys: keys.into_iter().collect(), whole: None };
        wants.settle();
        wants
    }

    /// Adds what another asker would want.
    pub fn add(&mut self, other: &Wants) {
        self.keys.extend(other.keys.iter().copied());
        self.whole = self.whole.max(other.whole);
        self.settle();
    }

    /// Nothing at all.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.whole.is_none()
    }

    fn settle(&mut self) {
        // The stronger way comes first and stays.
        self.keys.sort_unstable_by_key(|&(key, mode)| (key, std::cmp::Reverse(mode)));
        self.keys.dedup_by_key(|&mut (key, _)| key);
    }

    /// How the shard's gate is passed.
    fn at_gate(&self) -> Pass {
        match self.whole {
            Some(Mode::Shared) => Pass::Shared,
            Some(Mode::Exclusive) => Pass::Exclusive,
            None if self.keys.iter().all(|&(_, mode)| mode == Mode::Shared) => Pass::SomeShared,
            None => Pass::SomeExclusive,
        }
    }
}

/// How something is held at the gate or at a key; at a key only [`Pass::Shared`] and [`Pass::Exclusive`] occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
enum Pass {
    /// Some keys are read.
    SomeShared,
    /// Some keys are written.
    SomeExclusive,
    /// All is read.
    Shared,
    /// All is written.
    Exclusive,
}

impl From<Mode> for Pass {
    fn from(mode: Mode) -> Pass {
        match mode {
            Mode::Shared => Pass::Shared,
            Mode::Exclusive => Pass::Exclusive,
        }
    }
}

/// Which passes go together, in the order of [`Pass`].
const COMPATIBLE: [[bool; 4]; 4] = [
    [true, true, true, false],
    [true, true, false, false],
    [true, false, true, false],
    [false, false, false, false],
];

/// A lock: how many hold it in each way, and who waits.
#[derive(Default)]
struct Lock {
    granted: [u32; 4],
    waiting: VecDeque<(u32, Pass)>,
}

impl Lock {
    fn admits(&self, pass: Pass) -> bool {
        self.granted.iter().zip(COMPATIBLE[pass as usize]).all(|(&count, fits)| count == 0 || fits)
    }

    /// Whether one more could have it at once, without overtaking anybody.
    fn is_free(&self, pass: Pass) -> bool {
        self.waiting.is_empty() && self.admits(pass)
    }

    /// Returns whether it is granted.
    fn ask(&mut self, ticket: u32, pass: Pass) -> bool {
        let granted = self.is_free(pass);
        if granted {
            self.granted[pass as usize] += 1;
        } else {
            self.waiting.push_back((ticket, pass));
        }
        granted
    }

    /// Gives it back, and grants it to those whose turn it is.
    fn give_back(&mut self, pass: Pass, mut granted: impl FnMut(u32)) {
        self.granted[pass as usize] -= 1;
        while let Some(&(ticket, next)) = self.waiting.front() {
            if !self.admits(next) {
                return;
            }
            self.waiting.pop_front();
            self.granted[next as usize] += 1;
            granted(ticket);
        }
    }

    fn is_unused(&self) -> bool {
        self.granted == [0; 4] && self.waiting.is_empty()
    }
}

/// The right to what was asked for: to be given back with [`Locks::release`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what is held must be released"]
pub struct Lease(u32);

struct Ticket<W> {
    wants: Wants,
    /// How it has passed the gate.
    pass: Pass,
    /// How many of the locks are not granted yet.
    missing: u32,
    /// Who is told when none is missing any more; none when all were granted at once.
    waiter: Option<W>,
}

/// What became of asking.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked<W> {
    /// It is all yours.
    Granted(Lease),
    /// The waiter will come back from a [`Locks::release`], with its lease.
    Waiting,
    /// It would have to wait, which it would not. Nothing has changed.
    Refused(W),
}

/// The locks of one shard. `W` is what is kept for whoever has to wait.
pub struct Locks<W> {
    gate: Lock,
    keys: HashMap<u64, Lock, std::hash::BuildHasherDefault<Fingerprints>>,
    tickets: Vec<Option<Ticket<W>>>,
    free: Vec<u32>,
    /// How many tickets there are.
    count: usize,
}

impl<W> Default for Locks<W> {
    fn default() -> Locks<W> {
        Locks {
            gate: Lock::default(),
            keys: HashMap::default(),
            tickets: Vec::new(),
            free: Vec::new(),
            count: 0,
        }
    }
}

impl<W> Locks<W> {
    /// Whether nobody holds or awaits anything.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many hold or await something.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether what is wanted could be had at once. A command for which this holds may run without asking, if it is done before anybody else looks.
    pub fn is_free(&self, wants: &Wants) -> bool {
        if self.is_empty() {
            return true;
        }
        // At the gate a command that holds nothing afterwards delays nobody: it may overtake there.
        self.gate.admits(wants.at_gate())
            && (wants.whole.is_none() || self.gate.waiting.is_empty())
            && wants.keys.iter().all(|&(key, mode)| self.is_key_free(key, mode))
    }

    fn is_key_free(&self, key: u64, mode: Mode) -> bool {
        self.keys.get(&key).is_none_or(|lock| lock.is_free(mode.into()))
    }

    /// Asks for everything in `wants`. Who is not `patient` does not wait.
    pub fn ask(&mut self, wants: Wants, patient: bool, waiter: W) -> Asked<W> {
        if self.can_have(&wants) {
            return Asked::Granted(Lease(self.add_ticket(wants, None)));
        }
        if !patient {
            return Asked::Refused(waiter);
        }
        self.add_ticket(wants, Some(waiter));
        Asked::Waiting
    }

    /// Asks for everything in `wants`, and gets it if it is there.
    pub fn take(&mut self, wants: Wants) -> Option<Lease> {
        self.can_have(&wants).then(|| Lease(self.add_ticket(wants, None)))
    }

    /// The same, without overtaking anybody: of who waits for the whole shard it is not known which keys it is about.
    pub fn is_next(&self, wants: &Wants) -> bool {
        self.can_have(wants)
    }

    fn can_have(&self, wants: &Wants) -> bool {
        self.gate.is_free(wants.at_gate())
            && (self.is_empty() || wants.keys.iter().all(|&(key, mode)| self.is_key_free(key, mode)))
    }

    /// Takes everything in `wants`, or lines up for it. Who waits says so.
    fn add_ticket(&mut self, wants: Wants, waiter: Option<W>) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.tickets.push(None);
            (self.tickets.len() - 1) as u32
        });
        let pass = wants.at_gate();
        let mut missing = !self.gate.ask(number, pass) as u32;
        for &(key, mode) in &wants.keys {
            missing += !self.keys.entry(key).or_default().ask(number, mode.into()) as u32;
        }
        debug_assert_eq!(missing == 0, waiter.is_none());
        self.count += 1;
        self.tickets[number as usize] = Some(Ticket { wants, pass, missing, waiter });
        number
    }

    /// Takes back from those who wait what `leaves` wants of them: they are not told when their turn comes, and hold nothing then.
    pub fn dismiss(&mut self, mut leaves: impl FnMut(W) -> Option<W>) {
        for ticket in self.tickets.iter_mut().flatten() {
            if let Some(waiter) = ticket.waiter.take() {
                ticket.waiter = leaves(waiter);
            }
        }
    }

    /// What a lease covers.
    pub fn wants_of(&self, lease: &Lease) -> &Wants {
        &self.tickets[lease.0 as usize].as_ref().expect("a lease is there until it is released").wants
    }

    /// Whether a lease covers a key exclusively.
    pub fn covers(&self, lease: &Lease, key: u64) -> bool {
        let wants = self.wants_of(lease);
        wants.whole == Some(Mode::Exclusive) || wants.keys.contains(&(key, Mode::Exclusive))
    }

    /// Splits a key off a lease that holds it exclusively: who gets the new one holds the key from now on, with nobody in between. None if the lease
    /// does not hold it by itself.
    pub fn split(&mut self, lease: &Lease, key: u64) -> Option<Lease> {
        let ticket = self.tickets[lease.0 as usize].as_mut().expect("a lease is there until it is released");
        if ticket.wants.whole.is_some() {
            return None;
        }
        let at = ticket.wants.keys.iter().position(|&held| held == (key, Mode::Exclusive))?;
        ticket.wants.keys.remove(at);
        // Together with the one that holds it already: nobody who excludes it can have passed the gate.
        let pass = Pass::SomeExclusive;
        self.gate.granted[pass as usize] += 1;
        self.count += 1;
        let wants = Wants::keys([(key, Mode::Exclusive)]);
        let number = self.free.pop().unwrap_or_else(|| {
            self.tickets.push(None);
            (self.tickets.len() - 1) as u32
        });
        self.tickets[number as usize] = Some(Ticket { wants, pass, missing: 0, waiter: None });
        Some(Lease(number))
    }

    /// Gives back what a lease stands for. Those who have everything they wait for now are added to `ready`, in the order of their asking.
    pub fn release(&mut self, lease: Lease, ready: &mut VecDeque<(Lease, W)>) {
        let mut given_back: SmallVec<[u32; 4]> = SmallVec::from_slice(&[lease.0]);
        while let Some(number) = given_back.pop() {
            let mut complete: SmallVec<[u32; 4]> = SmallVec::new();
            self.give_back(number, &mut complete);
            for number in complete {
                let ticket = self.tickets[number as usize].as_mut().expect("who waits has a ticket");
                match ticket.waiter.take() {
                    Some(waiter) => ready.push_back((Lease(number), waiter)),
                    // It was dismissed meanwhile.
                    None => given_back.push(number),
                }
            }
        }
    }

    /// Gives back one ticket, and names those that have everything now.
    fn give_back(&mut self, number: u32, complete: &mut SmallVec<[u32; 4]>) {
        let Ticket { wants, pass, .. } =
            self.tickets[number as usize].take().expect("a lease is there until it is released");
        self.free.push(number);
        self.count -= 1;
        let tickets = &mut self.tickets;
        let mut granted = |number: u32| {
            let ticket = tickets[number as usize].as_mut().expect("who waits has a ticket");
            ticket.missing -= 1;
            if ticket.missing == 0 {
                complete.push(number);
            }
        };
        self.gate.give_back(pass, &mut granted);
        for &(key, mode) in &wants.keys {
            let lock = self.keys.get_mut(&key).expect("held until now");
            lock.give_back(mode.into(), &mut granted);
            if lock.is_unused() {
                self.keys.remove(&key);
            }
        }
    }
}

/// Fingerprints are mixed already.
#[derive(Default)]
pub struct Fingerprints(u64);

impl std::hash::Hasher for Fingerprints {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 is hashed")
    }
    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
#[path = "locks/tests.rs"]
mod tests;

//! Is there an order of the operations, each at one moment between its call and its response, in which a single-threaded server would
//! have given the same replies?
//!
//! For operations of single keys that is linearizability; for those of several keys, strict serializability of the whole. A history is first divided into
//! parts that have no key in common: linearizability is local (Herlihy and Wing, "Linearizability: a correctness condition for concurrent
//! objects", 1990), so a history of single-key commands is judged key by key.
//!
//! The search is that of Wing and Gong ("Testing and verifying concurrent objects", 1993) with Lowe's two improvements ("Testing for
//! linearizability", 2017): a configuration (what has happened and the state after it) is visited once, and an operation happens no earlier
//! than some response forces it (just-in-time linearization). So the search walks along the calls and responses in the order of time; only at the response of
//! an operation that has not happened yet there is a choice: which of the open ones happens next. (And where an operation without a reply is over: whether it has
//! happened.) Beyond that:
//!
//! - An open operation that changes nothing, by its kind or by what it was answered, happens as soon as it fits the state. Whatever order there
//!   is, it may be moved to here.
//! - The operation whose response it is goes first, then those that make it fit.
//! - Operations without a reply are first taken for what the values that they alone write say about them, or used only where they make the next
//!   response fit. If that finds nothing, everything is tried.
//!
//! The problem is NP-complete; with some dozen clients on hot keys 100,000 operations take less than a second. A search that has visited
//! [`VISITED_MAX`] configurations gives up and says so.

use crate::command::{Command, Key, Reply};
use crate::history::{Bytes, History, Kind, Operation, Violation};
use crate::keyspace::Keyspace;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

/// How many configurations one search visits before it gives up: about a minute.
pub const VISITED_MAX: usize = 10_000_000;

/// Judges a history.
///
/// # Errors
/// [`Kind::NotLinearizable`] with the operations that cannot be explained together, or [`Kind::Undecided`].
pub fn check(history: &History) -> Result<(), Violation> {
    check_within(history, VISITED_MAX)
}

/// The same; a search gives up after so many configurations. A million take some five seconds.
///
/// # Errors
/// As [`check`].
pub fn check_within(history: &History, visited_max: usize) -> Result<(), Violation> {
    for part in parts(history) {
        check_part(history, &part, visited_max)?;
    }
    Ok(())
}

/// Operations that are connected by keys, and these keys.
pub(crate) struct Part {
    pub(crate) keys: Vec<Key>,
    pub(crate) operations: Vec<usize>,
}

/// Divides a history into parts without common keys.
pub(crate) fn parts(history: &History) -> Vec<Part> {
    // Union-find over the keys.
    let mut parents: Vec<usize> = (0..history.key_count()).collect();
    fn root(parents: &mut [usize], mut key: usize) -> usize {
        while parents[key] != key {
            parents[key] = parents[parents[key]];
            key = parents[key];
        }
        key
    }
    for operation in history.operations() {
        let flushes = operation.commands.contains(&Command::FlushAll);
        let named: Vec<usize> = if flushes {
            (0..history.key_count()).collect()
        } else {
            operation.keys().map(Key::index).collect()
        };
        for pair in named.windows(2) {
            let (a, b) = (root(&mut parents, pair[0]), root(&mut parents, pair[1]));
            parents[a] = b;
        }
    }
    let mut parts: Vec<Part> =
        (0..history.key_count()).map(|_| Part { keys: Vec::new(), operations: Vec::new() }).collect();
    for key in 0..history.key_count() {
        let root = root(&mut parents, key);
        parts[root].keys.push(Key::new(key));
    }
    for (at, operation) in history.operations().iter().enumerate() {
        // An operation without keys can only be FLUSHALL, which connects all, or nothing at all.
        let first = operation.keys().next().map_or(0, Key::index);
        if first < parents.len() {
            let root = root(&mut parents, first);
            parts[root].operations.push(at);
        }
    }
    parts.retain(|part| !part.operations.is_empty());
    parts
}

fn check_part(history: &History, part: &Part, visited_max: usize) -> Result<(), Violation> {
    let operations: Vec<&Operation> = part.operations.iter().map(|&at| &history.operations()[at]).collect();
    let events = events(&operations);
    let start = || vec![Configuration { at: 0, open: Vec::new(), state: Keyspace::empty(&part.keys) }];
    if operations.iter().any(|operation| operation.replies().is_none()) {
        let beliefs = beliefs(&operations);
        let events = believed_events(&operations, &beliefs);
        let mut search = Search::new(&operations, &events, UseOfUnknown::WhereItHelpsAtOnce);
        for (optional, belief) in search.optional.iter_mut().zip(&beliefs) {
            *optional &= *belief == Belief::Open;
        }
        search.visited_max = visited_max;
        if search.run(start()) == Found::Order {
            return Ok(());
        }
    }
    let mut search = Search::new(&operations, &events, UseOfUnknown::Anywhere);
    search.visited_max = visited_max;
    let found = search.run(start());
    if found == Found::Order {
        return Ok(());
    }
    let stuck = search.furthest;
    let kind = if found == Found::Nothing { Kind::NotLinearizable } else { Kind::Undecided };
    Err(crate::minimal::violation(history, part, &operations, &events, stuck, kind))
}

/// A moment of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    time: u64,
    /// Calls come before responses of the same time, so equal times overlap.
    pub(crate) what: What,
    /// Index into the operations of the part.
    pub(crate) operation: u32,
}

/// What happens at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// From here on the operation may happen.
    Call,
    /// It has happened.
    Response,
    /// If it has not happened, it never will.
    Expiry,
}

/// The calls and ends of operations in the order of time.
pub(crate) fn events(operations: &[&Operation]) -> Vec<Event> {
    let mut events = Vec::with_capacity(operations.len() * 2);
    for (at, operation) in operations.iter().enumerate() {
        let index = at as u32;
        events.push(Event { time: operation.earliest(), what: What::Call, operation: index });
        let what = if operation.replies().is_some() { What::Response } else { What::Expiry };
        if operation.latest() < u64::MAX {
            events.push(Event { time: operation.latest(), what, operation: index });
        }
    }
    events.sort_unstable();
    events
}

/// What is likely of an operation without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belief {
    Open,
    HappenedBy(u64),
    Never,
}

/// Who writes something that nobody else writes has happened before it is seen, and if it is never seen, most likely not at all. That need not be true
/// (a number may also have come from INCR), but an order that fits it is an order.
fn beliefs(operations: &[&Operation]) -> Vec<Belief> {
    fn see(reply: &Reply, at: u64, seen: &mut HashMap<Bytes, u64>) {
        match reply {
            Reply::Bulk(text) => {
                let first = seen.entry(text.clone()).or_insert(at);
                *first = at.min(*first);
            }
            Reply::Array(items) => items.iter().for_each(|item| see(item, at, seen)),
            _ => {}
        }
    }
    let mut writers: HashMap<Bytes, u32> = HashMap::new();
    let mut seen = HashMap::new();
    for operation in operations {
        for written in operation.commands.iter().flat_map(Command::written) {
            *writers.entry(written.clone()).or_default() += 1;
        }
        for reply in operation.replies().unwrap_or_default() {
            see(reply, operation.latest(), &mut seen);
        }
    }
    let belief = |operation: &&Operation| {
        let mut own = operation
            .commands
            .iter()
            .flat_map(Command::written)
            .filter(|text| writers[*text] == 1)
            .peekable();
        if operation.replies().is_some() || own.peek().is_none() {
            return Belief::Open;
        }
        match own.filter_map(|text| seen.get(text)).min() {
            Some(&at) if at >= operation.call => Belief::HappenedBy(at.min(operation.latest())),
            Some(_) => Belief::Open,
            None => Belief::Never,
        }
    };
    operations.iter().map(belief).collect()
}

/// The events as they were if the beliefs are true.
fn believed_events(operations: &[&Operation], beliefs: &[Belief]) -> Vec<Event> {
    let mut events = events(operations);
    events.retain_mut(|event| match (beliefs[event.operation as usize], event.what) {
        (Belief::Open, _) | (Belief::HappenedBy(_), What::Call) => true,
        (Belief::HappenedBy(_) | Belief::Never, _) => false,
    });
    for (at, belief) in beliefs.iter().enumerate() {
        if let Belief::HappenedBy(time) = *belief {
            events.push(Event { time, what: What::Response, operation: at as u32 });
        }
    }
    events.sort_unstable();
    events
}

/// Where a search stands.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    /// The next event.
    pub(crate) at: usize,
    /// Operations that may happen and have not, in ascending order. Those called before `at` that are not here have happened, or never will.
    pub(crate) open: Vec<u32>,
    pub(crate) state: Keyspace,
}

/// Where operations without a reply are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UseOfUnknown {
    /// Only directly before an operation that does not fit otherwise. May miss an order.
    WhereItHelpsAtOnce,
    /// Everywhere.
    Anywhere,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Order,
    Nothing,
    TooMuch,
}

pub(crate) struct Search<'a> {
    operations: &'a [&'a Operation],
    events: &'a [Event],
    unknown: UseOfUnknown,
    /// Which operations change nothing.
    passive: Vec<bool>,
    /// Which operations need not have happened.
    optional: Vec<bool>,
    /// Fingerprints of configurations that lead nowhere or are being followed.
    visited: HashSet<u128>,
    hashers: [RandomState; 2],
    /// The last event that any configuration stood at.
    pub(crate) furthest: usize,
    /// Configurations are collected that first come to this event or pass it.
    pub(crate) collect_at: Option<usize>,
    pub(crate) collected: Vec<Configuration>,
    pub(crate) visited_max: usize,
}

/// A configuration at the end of an operation that has not happened, and what was not tried there yet.
struct Choice {
    configuration: Configuration,
    /// In the order of trying, last first.
    untried: Vec<Step>,
    /// Whether `untried` has only what concerns the operation whose end it is; the others are looked at when that has led nowhere.
    others_later: bool,
}

/// What may come next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Happens(u32),
    /// The operation that is over has not happened.
    Never,
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        operations: &'a [&'a Operation],
        events: &'a [Event],
        unknown: UseOfUnknown,
    ) -> Search<'a> {
        Search {
            operations,
            events,
            unknown,
            passive: operations.iter().map(|operation| changes_nothing(operation)).collect(),
            optional: operations.iter().map(|operation| operation.replies().is_none()).collect(),
            visited: HashSet::new(),
            hashers: [RandomState::new(), RandomState::new()],
            furthest: 0,
            collect_at: None,
            collected: Vec::new(),
            visited_max: VISITED_MAX,
        }
    }

    /// Looks for an order from any of these configurations to the last event.
    pub(crate) fn run(&mut self, starts: Vec<Configuration>) -> Found {
        for start in starts {
            match self.run_from(start) {
                Found::Nothing => {}
                found => return found,
            }
        }
        Found::Nothing
    }

    fn run_from(&mut self, start: Configuration) -> Found {
        let mut choices: Vec<Choice> = Vec::new();
        let mut next = Some(start);
        loop {
            if let Some(mut configuration) = next.take() {
                if self.advance(&mut configuration) {
                    return Found::Order;
                }
                if self.is_new(&configuration) {
                    if self.visited.len() > self.visited_max {
                        return Found::TooMuch;
                    }
                    let Event { what, operation: due, .. } = self.events[configuration.at];
                    let untried = match what {
                        What::Expiry => vec![Step::Happens(due), Step::Never],
                        _ => vec![Step::Happens(due)],
                    };
                    choices.push(Choice { configuration, untried, others_later: true });
                }
            }
            let Some(choice) = choices.last_mut() else { return Found::Nothing };
            match choice.untried.pop() {
                Some(step) => {
                    let Configuration { at, open, state } = &choice.configuration;
                    let (gone, state) = match step {
                        Step::Happens(operation) => (operation, self.after(state, operation)),
                        Step::Never => (self.events[*at].operation, Some(state.clone())),
                    };
                    next = state.map(|state| {
                        let open = open.iter().copied().filter(|&open| open != gone);
                        Configuration { at: *at, open: open.collect(), state }
                    });
                }
                None if choice.others_later => {
                    choice.others_later = false;
                    choice.untried = self.others(&choice.configuration);
                }
                None => drop(choices.pop()),
            }
        }
    }

    /// The open operations besides the one whose end it is, the most promising last.
    fn others(&self, configuration: &Configuration) -> Vec<Step> {
        let due = self.events[configuration.at].operation;
        let (mut helpful, mut rest) = (Vec::new(), Vec::new());
        for &operation in configuration.open.iter().rev().filter(|&&operation| operation != due) {
            let helps = self
                .after(&configuration.state, operation)
                .map(|state| state != configuration.state && self.after(&state, due).is_some());
            let is_unknown = self.optional[operation as usize];
            match helps {
                None => {}
                Some(false) if is_unknown && self.unknown == UseOfUnknown::WhereItHelpsAtOnce => {}
                Some(true) => helpful.push((is_unknown, operation)),
                Some(false) => rest.push((is_unknown, operation)),
            }
        }
        // Those without a reply are tried last of their kind.
        helpful.sort_by_key(|&(is_unknown, _)| !is_unknown);
        rest.sort_by_key(|&(is_unknown, _)| !is_unknown);
        rest.into_iter().chain(helpful).map(|(_, operation)| Step::Happens(operation)).collect()
    }

    /// Walks to the next end of an operation that has not happened; false there, true at the end of the history.
    fn advance(&mut self, configuration: &mut Configuration) -> bool {
        self.settle(configuration);
        while let Some(event) = self.events.get(configuration.at) {
            if self.collect_at == Some(configuration.at) {
                self.collected.push(configuration.clone());
            }
            let position = configuration.open.binary_search(&event.operation);
            match (event.what, position) {
                (What::Call, Err(position)) => {
                    if !self.happens_at_once(&configuration.state, event.operation) {
                        configuration.open.insert(position, event.operation);
                    }
                }
                (What::Call, Ok(_)) => unreachable!("an operation is called once"),
                (What::Response | What::Expiry, Ok(_)) => {
                    self.furthest = self.furthest.max(configuration.at);
                    return false;
                }
                (What::Response | What::Expiry, Err(_)) => {}
            }
            configuration.at += 1;
        }
        true
    }

    /// Lets happen what changes nothing and fits the state.
    fn settle(&self, configuration: &mut Configuration) {
        let Configuration { open, state, .. } = configuration;
        open.retain(|&operation| !self.happens_at_once(state, operation));
    }

    fn happens_at_once(&self, state: &Keyspace, operation: u32) -> bool {
        self.passive[operation as usize] && self.after(state, operation).is_some()
    }

    /// The state after an operation; none if the replies would have been others.
    fn after(&self, state: &Keyspace, operation: u32) -> Option<Keyspace> {
        let operation = self.operations[operation as usize];
        let mut state = state.clone();
        for (at, command) in operation.commands.iter().enumerate() {
            let explained = match operation.replies() {
                Some(replies) => state.explains(command, &replies[at]),
                None => {
                    state.execute(command);
                    true
                }
            };
            if !explained {
                return None;
            }
        }
        Some(state)
    }

    fn is_new(&mut self, configuration: &Configuration) -> bool {
        let Configuration { at, open, state } = configuration;
        let [high, low] = [0, 1].map(|which: usize| self.hashers[which].hash_one((at, open, state)));
        self.visited.insert(u128::from(high) << 64 | u128::from(low))
    }
}

/// Whether an operation was answered so that it cannot have changed anything. (That it would not change the state at hand is not enough: later it might.)
fn changes_nothing(operation: &Operation) -> bool {
    let Some(replies) = operation.replies() else { return false };
    operation.commands.iter().zip(replies).all(|(command, reply)| {
        let refused = match command {
            Command::Pop { .. } | Command::BlockingPop { .. } | Command::Move { .. } | Command::GetDel(_) => {
                *reply == Reply::Nil
            }
            Command::BlockingZPopMin { .. } => *reply == Reply::Nil,
            Command::SetNx(..)
            | Command::ZRem(..)
            | Command::MSetNx(_)
            | Command::Rename { .. }
            | Command::Copy { .. }
            | Command::Del(_)
            | Command::SAdd(..)
            | Command::SRem(..)
            | Command::SMove { .. } => *reply == Reply::Int(0),
            _ => false,
        };
        refused || command.is_read_only() || matches!(reply, Reply::Error(_))
    })
}

//! From a history without an explanation to the few operations that are to blame.
//!
//! Leaving operations out of a history does not keep it honest: without a write its readers look like liars. What keeps it honest:
//!
//! - to cut off all that was called after the search got stuck: prefixes of linearizable histories are linearizable;
//! - to leave out what only reads;
//! - to forget a reply, so that the operation may have happened or not.
//!
//! So a history that is still without an explanation after that was bad before. What cannot be left out or forgotten is the core of the story. To be quick,
//! the beginning of the history is summed up by all configurations that it can lead to; only the last operations are minimised.

use crate::command::shown;
use crate::command::Command;
use crate::history::{History, Kind, Operation, Outcome, Violation};
use crate::keyspace::{Keyspace, Value};
use crate::linearizability::{events, Configuration, Event, Found, Part, Search, UseOfUnknown, What};
use std::collections::{BTreeSet, HashSet};

/// How many events before the failure are looked at one by one.
const WINDOW_EVENTS: usize = 200;

/// Configurations of one trial. A trial that needs more counts as explained: the operation stays in the story.
const TRIAL_VISITED_MAX: usize = 20_000;

/// Where to begin: more possible states than that are not followed.
const BEGINNINGS_MAX: usize = 1_000;

/// The story of a search that got stuck at this event.
pub(crate) fn violation(
    history: &History,
    part: &Part,
    operations: &[&Operation],
    events: &[Event],
    stuck: usize,
    kind: Kind,
) -> Violation {
    let culprit = events[stuck].operation;
    if kind == Kind::Undecided {
        let at = part.operations[culprit as usize];
        let story = format!(
            "it was not found out whether there is an order of {} operations that explains all replies; the furthest that was reached is\n  {}",
            operations.len(),
            history.line(at)
        );
        return Violation { kind, operations: vec![at], story };
    }
    let mut trial = Trial::new(part, operations, events, stuck);
    if trial.is_bad() {
        trial.minimise(culprit);
    }
    let mut core = trial.core();
    if !core.contains(&culprit) {
        core.push(culprit);
    }
    core.sort_by_key(|&at| (operations[at as usize].call, at));
    let mut story = "no order of the operations explains all replies; these contradict each other".to_owned();
    let values = trial.values_before(history, &core);
    if !values.is_empty() {
        story.push_str(&format!("\n  before: {}", values.join(", ")));
    }
    for &at in &core {
        story.push_str(&format!("\n  {}", history.line(part.operations[at as usize])));
    }
    let others = trial.others(&core);
    if !others.is_empty() {
        story.push_str("\n  meanwhile, whatever they were answered:");
        for &at in &others {
            story.push_str(&format!("\n  {}", history.line(part.operations[at as usize])));
        }
    }
    let operations = core.iter().chain(&others).map(|&at| part.operations[at as usize]).collect();
    Violation { kind, operations, story }
}

/// The end of a history, with some operations left out or without their replies.
struct Trial {
    /// All that can be the case at the beginning of the window; the open operations are indexes of `operations`.
    beginnings: Vec<(Vec<u32>, Keyspace)>,
    /// Indexes of the part's operations that are open in some beginning or called in the window.
    places: Vec<u32>,
    operations: Vec<Option<Operation>>,
    /// Those that are open at the beginning.
    carried: HashSet<u32>,
    /// Operations whose reply is not forgotten.
    honest: Vec<bool>,
}

impl Trial {
    fn new(part: &Part, operations: &[&Operation], events: &[Event], stuck: usize) -> Trial {
        let window = stuck.saturating_sub(WINDOW_EVENTS);
        let begin = Configuration { at: 0, open: Vec::new(), state: Keyspace::empty(&part.keys) };
        let mut collected = vec![begin.clone()];
        if window > 0 {
            // The search sees the events before the window and the first of it, and reports all ways to stand there.
            let mut search = Search::new(operations, &events[..=stuck], UseOfUnknown::Anywhere);
            search.collect_at = Some(window);
            search.run(vec![begin]);
            collected = search.collected;
        }
        let mut seen = HashSet::new();
        collected
            .retain(|configuration| seen.insert((configuration.open.clone(), configuration.state.clone())));
        collected.truncate(BEGINNINGS_MAX);
        let carried: BTreeSet<u32> = collected.iter().flat_map(|one| one.open.iter().copied()).collect();
        let called = events[window..=stuck].iter().filter(|event| event.what == What::Call);
        let called = called.map(|event| event.operation);
        let mut places: Vec<u32> = carried.iter().copied().chain(called).collect();
        places.sort_unstable();
        places.dedup();
        let kept = places.iter().map(|&at| Some(operations[at as usize].clone())).collect();
        // What has not ended when the search got stuck may happen later.
        let ended: HashSet<u32> = events[..=stuck]
            .iter()
            .filter(|event| event.what == What::Response)
            .map(|event| event.operation)
            .collect();
        let mut trial = Trial {
            beginnings: collected.into_iter().map(|one| (one.open, one.state)).collect(),
            carried: carried.into_iter().collect(),
            honest: places.iter().map(|at| ended.contains(at)).collect(),
            places,
            operations: kept,
        };
        for at in 0..trial.places.len() {
            if !trial.honest[at] {
                trial.forget(at);
            }
        }
        trial
    }

    /// Forgets the reply of an operation; what only reads is left out.
    fn forget(&mut self, at: usize) {
        self.honest[at] = false;
        let Some(operation) = &mut self.operations[at] else { return };
        if operation.commands.iter().all(Command::is_read_only) {
            self.operations[at] = None;
        } else if operation.replies().is_some() {
            // It could have been as late as anything, so that nothing is said about when it was over.
            operation.outcome = Outcome::Unknown { until: operation.latest() };
        }
    }

    /// Whether there is no explanation for sure.
    fn is_bad(&self) -> bool {
        let kept: Vec<(u32, &Operation)> = self
            .places
            .iter()
            .zip(&self.operations)
            .filter_map(|(&at, operation)| Some((at, operation.as_ref()?)))
            .collect();
        let operations: Vec<&Operation> = kept.iter().map(|&(_, operation)| operation).collect();
        let local = |at: u32| kept.iter().position(|&(place, _)| place == at).map(|local| local as u32);
        let carried: HashSet<u32> = self.carried.iter().filter_map(|&at| local(at)).collect();
        let mut events = events(&operations);
        events.retain(|event| event.what != What::Call || !carried.contains(&event.operation));
        let starts = self.beginnings.iter().map(|(open, state)| {
            let mut open: Vec<u32> = open.iter().filter_map(|&at| local(at)).collect();
            open.sort_unstable();
            Configuration { at: 0, open, state: state.clone() }
        });
        let starts: Vec<_> = starts.collect();
        let mut search = Search::new(&operations, &events, UseOfUnknown::Anywhere);
        search.visited_max = TRIAL_VISITED_MAX;
        search.run(starts) == Found::Nothing
    }

    /// Leaves out and forgets as much as possible, the oldest first; the culprit is what everything is about.
    fn minimise(&mut self, culprit: u32) {
        for at in 0..self.places.len() {
            if self.places[at] == culprit || self.operations[at].is_none() {
                continue;
            }
            let saved = (self.operations[at].clone(), self.honest[at]);
            // The operations that are open at the end may be without influence altogether, but leaving them out is not honest.
            self.forget(at);
            if !self.is_bad() {
                (self.operations[at], self.honest[at]) = saved;
            }
        }
    }

    /// The operations whose replies contradict each other.
    fn core(&self) -> Vec<u32> {
        let honest = self.honest.iter().zip(&self.operations).zip(&self.places);
        honest.filter(|((honest, operation), _)| **honest && operation.is_some()).map(|(_, &at)| at).collect()
    }

    /// The other operations that touch keys of the core at its time.
    fn others(&self, core: &[u32]) -> Vec<u32> {
        let of = |at: u32| self.places.iter().position(|&place| place == at);
        let core: Vec<&Operation> = core.iter().filter_map(|&at| self.operations[of(at)?].as_ref()).collect();
        let keys: HashSet<_> = core.iter().flat_map(|operation| operation.keys()).collect();
        let begin = core.iter().map(|operation| operation.call).min().unwrap_or(0);
        let mut others = Vec::new();
        for (at, operation) in self.operations.iter().enumerate() {
            let Some(operation) = operation else { continue };
            let touches = operation.keys().any(|key| keys.contains(&key));
            if !self.honest[at] && touches && operation.latest() >= begin {
                others.push(self.places[at]);
            }
        }
        others
    }

    /// What the keys of the core can hold at the beginning.
    fn values_before(&self, history: &History, core: &[u32]) -> Vec<String> {
        let operations: Vec<_> =
            core.iter().filter_map(|at| self.places.iter().position(|place| place == at)).collect();
        let keys: BTreeSet<_> = operations
            .iter()
            .filter_map(|&at| self.operations[at].as_ref())
            .flat_map(Operation::keys)
            .collect();
        let mut lines = Vec::new();
        for key in keys {
            let values: BTreeSet<String> =
                self.beginnings.iter().map(|(_, state)| value_text(state.value(key))).collect();
            let values: Vec<String> = values.into_iter().collect();
            lines.push(format!("{} = {}", shown(history.name(key)), values.join(" or ")));
        }
        lines
    }
}

fn value_text(value: &Value) -> String {
    let all = |items: &mut dyn Iterator<Item = &crate::history::Bytes>| {
        items.map(|item| shown(item)).collect::<Vec<_>>().join(" ")
    };
    match value {
        Value::Nil => "nil".to_owned(),
        Value::String(text) => shown(text),
        Value::List(list) => format!("[{}]", all(&mut list.iter())),
        Value::SortedSet(scores) => {
            let all = scores.iter().map(|(member, score)| format!("{}: {score}", shown(member)));
            format!("{{{}}}", all.collect::<Vec<_>>().join(" "))
        }
        Value::Set(set) => format!("{{{}}}", all(&mut set.iter())),
    }
}

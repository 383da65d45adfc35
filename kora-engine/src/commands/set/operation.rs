//! Union, intersection and difference of sets, computed step by step.
//!
//! The algorithms and their choice are Redis's: an intersection walks over the smallest set and looks its members up in the
//! others, smaller ones first; a difference either looks each member of the first set up in the others, larger ones
//! first, or takes all the others away from it, whichever promises less work.
//!
//! The sets are arguments of each step, so that a computation can go on after other commands have run. What those have
//! changed it is told member by member ([`Computation::reconsider`]), and then the result is that of the sets as they are at the end: whether a
//! member belongs to the result depends on nothing but where it is, so a member that was seen too early is decided anew,
//! and all that is not yet seen is seen as it will be.

use crate::change::SetForm;
use crate::commands::long_reply::Elements;
use crate::value::item::Item;
use crate::value::set::{Rules, Set};
use crate::value::{Collection, Held};

/// Which operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// Members that any of the sets has.
    Union,
    /// Members that all sets have.
    Intersection,
    /// Members of the first set that none of the others has.
    Difference,
}

/// The sets at the operation's keys; none where there is no key.
pub(super) type Sources<'a> = [Option<Held<'a, Set>>];

/// What a computation gathers.
pub(super) enum Gathered {
    /// The members as a set.
    Set(Set),
    /// The members one behind the other: for answering them only.
    List(Elements),
    /// Their number.
    Count(usize),
}

impl Default for Gathered {
    fn default() -> Gathered {
        Gathered::Count(0)
    }
}

impl Gathered {
    /// Number of members.
    pub(super) fn len(&self) -> usize {
        match self {
            Gathered::Set(set) => set.len(),
            Gathered::List(list) => list.len(),
            Gathered::Count(count) => *count,
        }
    }

    /// Frees it, a large set in slices.
    pub(super) fn discard(self) {
        if let Gathered::Set(set) = self {
            set.into_object().discard();
        }
    }

    /// Adds a member that can be there already only if a set is gathered.
    fn add(&mut self, member: Item<'_>, rules: &Rules) {
        match self {
            Gathered::Set(set) => {
                member.with_bytes(|member| set.insert(member, rules));
            }
            Gathered::List(list) => list.push(member),
            Gathered::Count(count) => *count += 1,
        }
    }
}

/// What happens to the members of the set that is being walked over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    /// They belong to the result.
    Add,
    /// They belong to it if all the others have them.
    AddIfInAll,
    /// They belong to it if none of the others has them.
    AddIfInNone,
    /// They do not belong to it.
    Remove,
}

/// What the result is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be answered.
    Answer,
    /// To be counted, up to a limit.
    Count(usize),
    /// To be stored: it gets the form of Redis's result.
    Store,
}

/// Steps that are taken at once: some hundred microseconds.
const STEPS_AT_ONCE: usize = 4096;

/// Members visited before it is looked whether the result is decided.
const PAGE: usize = 512;

/// An operation under way.
pub(super) struct Computation {
    operation: Operation,
    /// Which sets are walked over, in turn, and to what end.
    walks: Vec<(usize, Visit)>,
    /// Which sets each visited member is looked up in, in this order.
    probes: Vec<usize>,
    /// The present walk, and its place.
    walk: usize,
    cursor: u64,
    is_long: bool,
    /// No more members than these are wanted.
    limit: usize,
    gathered: Gathered,
    rules: Rules,
}

impl Computation {
    /// Prepares an operation on these sets. `same_as_first`: one of the others is the first set itself.
    pub(super) fn new(
        operation: Operation,
        sets: &Sources<'_>,
        same_as_first: bool,
        purpose: Purpose,
        rules: Rules,
    ) -> Computation {
        let len = |index: &usize| sets[*index].as_ref().map_or(0, |set| set.len());
        // Sets that are not there now may come while the operation goes on.
        let all: Vec<usize> = (0..sets.len()).collect();
        let (mut walks, mut probes) = (Vec::new(), Vec::new());
        match operation {
            Operation::Union => walks = all.iter().map(|&index| (index, Visit::Add)).collect(),
            Operation::Intersection if sets.iter().any(Option::is_none) => {}
            Operation::Intersection => {
                probes = all;
                probes.sort_by_key(len);
                walks.push((probes.remove(0), Visit::AddIfInAll));
            }
            Operation::Difference if same_as_first || sets[0].is_none() => {}
            Operation::Difference => {
                let members: usize = all.iter().map(len).sum();
                // Half of it: looking up is cheaper than removing, and ends early where members are in common.
                if len(&0) * sets.iter().flatten().count() / 2 <= members {
                    probes = all[1..].to_vec();
                    probes.sort_by_key(|index| std::cmp::Reverse(len(index)));
                    walks.push((0, Visit::AddIfInNone));
                } else {
                    walks = all.iter().map(|&index| (index, Visit::Remove)).collect();
                    walks[0].1 = Visit::Add;
                }
            }
        }
        let steps_of = |&(index, _): &(usize, Visit)| len(&index).saturating_mul(probes.len() + 1);
        let steps = walks.iter().map(steps_of).fold(0, usize::saturating_add);
        let (is_long, distinct) = (steps > STEPS_AT_ONCE, walks.len() == 1);
        let gathered = match purpose {
            Purpose::Store => Gathered::Set(empty_result(operation, sets)),
            Purpose::Answer if distinct && !is_long => Gathered::List(Elements::default()),
            Purpose::Count(_) if distinct && !is_long => Gathered::Count(0),
            Purpose::Answer | Purpose::Count(_) => Gathered::Set(Set::of_ints()),
        };
        let limit = match purpose {
            Purpose::Count(limit) => limit,
            _ => usize::MAX,
        };
        Computation { operation, walks, probes, walk: 0, cursor: 0, is_long, limit, gathered, rules }
    }

    /// Whether it takes so long that it should be done in slices.
    pub(super) fn is_long(&self) -> bool {
        self.is_long
    }

    /// The same, so that it can be told of changes.
    pub(super) fn in_slices(mut self) -> Computation {
        if !matches!(self.gathered, Gathered::Set(_)) {
            self.gathered = Gathered::Set(Set::of_ints());
        }
        self
    }

    /// Goes on for about `steps` steps; returns whether the result is complete.
    pub(super) fn advance(&mut self, sets: &Sources<'_>, steps: usize) -> bool {
        let mut visits = (steps / (self.probes.len() + 1)).max(1);
        while let Some(&(index, visit)) = self.walks.get(self.walk) {
            let Some(set) = &sets[index] else {
                self.walk += 1;
                continue;
            };
            if self.is_decided() {
                return true;
            }
            if visits == 0 {
                return false;
            }
            let before = visits;
            let Computation { probes, gathered, rules, limit, .. } = self;
            let in_set = |probe: &usize, member: Item<'_>| {
                sets[*probe].as_ref().is_some_and(|set| set.contains_item(member))
            };
            self.cursor = set.scan(self.cursor, visits.min(PAGE), &mut |member| {
                visits = visits.saturating_sub(1);
                let belongs = match visit {
                    Visit::Add => true,
                    Visit::AddIfInAll => probes.iter().all(|probe| in_set(probe, member)),
                    Visit::AddIfInNone => !probes.iter().any(|probe| in_set(probe, member)),
                    Visit::Remove => {
                        if let Gathered::Set(result) = gathered {
                            member.with_bytes(|member| result.remove(member));
                        }
                        false
                    }
                };
                if belongs && gathered.len() < *limit {
                    gathered.add(member, rules);
                }
            });
            // A walk that met nobody has still taken its time.
            visits = visits.min(before - 1);
            if self.cursor == 0 {
                self.walk += 1;
            }
        }
        true
    }

    /// Whether what remains to be visited cannot change the result.
    fn is_decided(&self) -> bool {
        let taking_away = self.walks[self.walk].1 == Visit::Remove;
        self.gathered.len() >= self.limit || (taking_away && self.gathered.len() == 0)
    }

    /// A member has come to or gone from one of the sets since the computation began. A set is being gathered.
    pub(super) fn reconsider(&mut self, sets: &Sources<'_>, member: &[u8]) {
        let has = |set: &Option<Held<'_, Set>>| set.as_ref().is_some_and(|set| set.contains(member));
        let belongs = match self.operation {
            Operation::Union => sets.iter().any(has),
            Operation::Intersection => sets.iter().all(has),
            Operation::Difference => has(&sets[0]) && !sets[1..].iter().any(has),
        };
        let Gathered::Set(result) = &mut self.gathered else {
            unreachable!("what goes on in slices gathers a set");
        };
        if belongs {
            result.insert(member, &self.rules);
        } else {
            result.remove(member);
        }
    }

    /// The complete result.
    pub(super) fn finish(mut self) -> Gathered {
        if let (Operation::Intersection, Gathered::Set(set)) = (self.operation, &mut self.gathered) {
            set.compact_ints(&self.rules);
        }
        std::mem::take(&mut self.gathered)
    }
}

impl Drop for Computation {
    /// A large result of a computation that comes to nothing is freed in slices.
    fn drop(&mut self) {
        std::mem::take(&mut self.gathered).discard();
    }
}

/// An empty set of the form in which Redis begins to gather what is stored.
fn empty_result(operation: Operation, sets: &Sources<'_>) -> Set {
    let smallest = sets.iter().flatten().min_by_key(|set| set.len());
    match operation {
        Operation::Intersection if smallest.is_some_and(|set| set.form() != SetForm::Ints) => Set::packed(),
        _ => Set::of_ints(),
    }
}

//! Queues: each element that goes in comes out once, and in its order.
//!
//! Four things can be wrong with a queue whose elements are all different, and a history without any of them is linearizable (Henzinger,
//! Sezgin and Vafeiadis, "Aspect-oriented linearizability proofs", 2013): an element comes out that did not go in; one comes out twice; two come
//! out in the wrong order; a queue is said to be empty while something is in it. Each is looked for by itself in O(n log n), so histories may be
//! long, and lists too, which [`crate::linearizability`] would have to carry along in every state.
//!
//! Operations without a reply: a push may have happened; a pop may have taken one element with it, which is then not missed; a move between lists
//! may have done so and put it into the other list. But each only once, and only for elements that were there in its time.

use crate::command::{shown, Command, End, Key, Reply};
use crate::history::{Bytes, History, Kind, Operation, Outcome, Violation};
use std::collections::{BTreeSet, HashMap};

/// What was judged, for tests that want to be sure that something was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Lists.
    pub queues: usize,
    /// Elements that came out.
    pub delivered: usize,
    /// Elements that certainly went in and did not come out with a reply.
    pub remaining: usize,
}

/// Judges all keys that are only pushed to, popped from and moved between.
///
/// That nothing is lost can only be seen of queues that are emptied in the end, with a last pop that finds nothing.
///
/// # Errors
/// [`Kind::Invented`], [`Kind::Duplicated`], [`Kind::Reordered`] or [`Kind::Lost`].
///
/// # Panics
/// If the same element is pushed to a key twice: the check rests on each having its own name.
pub fn check(history: &History) -> Result<Judged, Violation> {
    let mut queues = collect(history);
    settle_moves(history, &mut queues);
    let mut judged = Judged::default();
    for queue in queues.iter().flatten() {
        let queue = Judge { history, queue };
        queue.nothing_is_invented_or_duplicated()?;
        queue.order_is_kept()?;
        queue.nothing_is_lost()?;
        judged.queues += 1;
        judged.delivered += queue.queue.elements.iter().filter(|element| !element.pops.is_empty()).count();
        judged.remaining += queue.queue.missing().count();
    }
    Ok(judged)
}

/// An operation and the place within it.
type Moment = (usize, usize);

struct Element {
    name: Bytes,
    push: Option<Moment>,
    pops: Vec<Moment>,
}

/// A pop without a reply.
struct UnknownPop {
    operation: usize,
    capacity: usize,
    /// Where it puts what it pops.
    to: Option<Key>,
}

struct Queue {
    key: Key,
    elements: Vec<Element>,
    by_name: HashMap<Bytes, usize>,
    /// Operations that found it empty.
    empty: Vec<usize>,
    unknown_pops: Vec<UnknownPop>,
    push_ends: Vec<End>,
    pop_ends: Vec<End>,
}

impl Queue {
    fn element(&mut self, name: &Bytes) -> &mut Element {
        let next = self.elements.len();
        let at = *self.by_name.entry(name.clone()).or_insert(next);
        if at == next {
            self.elements.push(Element { name: name.clone(), push: None, pops: Vec::new() });
        }
        &mut self.elements[at]
    }

    fn push(&mut self, history: &History, name: &Bytes, end: End, moment: Moment) {
        let key = self.key;
        let element = self.element(name);
        assert!(
            element.push.is_none(),
            "{} is pushed to {} twice: each element of a queue needs a name of its own",
            shown(name),
            shown(history.name(key))
        );
        element.push = Some(moment);
        self.push_ends.push(end);
    }

    fn pop(&mut self, name: &Bytes, end: End, moment: Moment) {
        self.element(name).pops.push(moment);
        self.pop_ends.push(end);
    }

    /// Whether what goes in first comes out first.
    fn is_fifo(&self) -> bool {
        let all = |ends: &[End], end| ends.iter().all(|&one| one == end);
        let one_way = |into, out| all(&self.push_ends, into) && all(&self.pop_ends, out);
        one_way(End::Right, End::Left) || one_way(End::Left, End::Right)
    }

    fn missing(&self) -> impl Iterator<Item = &Element> {
        self.elements.iter().filter(|element| element.pops.is_empty() && element.push.is_some())
    }
}

/// What the operations did to each queue, by [`Key::index`]; none where a key is used in other ways too.
fn collect(history: &History) -> Vec<Option<Queue>> {
    let mut queues: Vec<Option<Queue>> = (0..history.key_count())
        .map(|key| {
            Some(Queue {
                key: Key::new(key),
                elements: Vec::new(),
                by_name: HashMap::new(),
                empty: Vec::new(),
                unknown_pops: Vec::new(),
                push_ends: Vec::new(),
                pop_ends: Vec::new(),
            })
        })
        .collect();
    let mut used = vec![false; queues.len()];
    for operation in history.operations() {
        for command in &operation.commands {
            let is_queueing = matches!(
                command,
                Command::Push { .. }
                    | Command::Pop { .. }
                    | Command::BlockingPop { .. }
                    | Command::Move { .. }
                    | Command::Elements(_)
                    | Command::LLen(_)
            );
            for key in command.keys() {
                used[key.index()] = true;
                if !is_queueing {
                    queues[key.index()] = None;
                }
            }
            if *command == Command::FlushAll {
                queues.iter_mut().for_each(|queue| *queue = None);
            }
        }
    }
    for (queue, used) in queues.iter_mut().zip(used) {
        if !used {
            *queue = None;
        }
    }
    for (at, operation) in history.operations().iter().enumerate() {
        // Places of elements within an operation, so that those of one command stay in order.
        let mut place = 0;
        for (index, command) in operation.commands.iter().enumerate() {
            let reply = operation.replies().map(|replies| &replies[index]);
            if let Some(Reply::Error(_)) = reply {
                continue;
            }
            match command {
                Command::Push { key, end, elements } => {
                    let Some(queue) = &mut queues[key.index()] else { continue };
                    for element in elements {
                        queue.push(history, element, *end, (at, place));
                        place += 1;
                    }
                }
                Command::Pop { key, end, count } => {
                    let Some(queue) = &mut queues[key.index()] else { continue };
                    match reply {
                        None => queue.unknown_pops.push(UnknownPop {
                            operation: at,
                            capacity: count.unwrap_or(1),
                            to: None,
                        }),
                        Some(Reply::Bulk(element)) => queue.pop(element, *end, (at, place)),
                        Some(Reply::Array(elements)) => {
                            for element in elements {
                                if let Reply::Bulk(element) = element {
                                    queue.pop(element, *end, (at, place));
                                    place += 1;
                                }
                            }
                        }
                        Some(_) => queue.empty.push(at),
                    }
                }
                Command::BlockingPop { keys, end, .. } => {
                    for (key, name) in keys {
                        let Some(queue) = &mut queues[key.index()] else { continue };
                        match reply {
                            // It may be any of the keys.
                            None => {
                                queue.unknown_pops.push(UnknownPop { operation: at, capacity: 1, to: None })
                            }
                            Some(Reply::Array(pair)) => match &pair[..] {
                                [Reply::Bulk(from), Reply::Bulk(element)] if from == name => {
                                    queue.pop(element, *end, (at, place));
                                    break;
                                }
                                // Not said to be empty, see `Keyspace::explains`.
                                _ => {}
                            },
                            Some(_) => queue.empty.push(at),
                        }
                    }
                }
                Command::Move { from, from_end, to, to_end, .. } => match reply {
                    None => {
                        if let Some(queue) = &mut queues[from.index()] {
                            queue.unknown_pops.push(UnknownPop { operation: at, capacity: 1, to: Some(*to) });
                        }
                        if let Some(queue) = &mut queues[to.index()] {
                            queue.push_ends.push(*to_end);
                        }
                    }
                    Some(Reply::Bulk(element)) => {
                        if let Some(queue) = &mut queues[from.index()] {
                            queue.pop(element, *from_end, (at, place));
                        }
                        if let Some(queue) = &mut queues[to.index()] {
                            queue.push(history, element, *to_end, (at, place));
                        }
                    }
                    Some(_) => {
                        if let Some(queue) = &mut queues[from.index()] {
                            queue.empty.push(at);
                        }
                    }
                },
                _ => {}
            }
            place += 1;
        }
    }
    queues
}

/// An element that came out of a list into which nobody is known to have put it, and that is missing in another, was moved by an operation
/// without a reply, if there is one.
fn settle_moves(history: &History, queues: &mut [Option<Queue>]) {
    let mut moves = Vec::new();
    for queue in queues.iter().flatten() {
        let unknown = queue.unknown_pops.iter();
        moves.extend(unknown.filter_map(|pop| Some((pop.operation, queue.key, pop.to?))));
    }
    moves.sort_by_key(|&(operation, ..)| history.operations()[operation].call);
    for (operation, from, to) in moves {
        let call = history.operations()[operation].call;
        let Some(target) = &queues[to.index()] else { continue };
        let Some(source) = &queues[from.index()] else { continue };
        let found = target.elements.iter().position(|element| {
            element.push.is_none()
                && element.pops.iter().all(|&(pop, _)| history.operations()[pop].latest() >= call)
                && source.by_name.get(&element.name).is_some_and(|&at| {
                    source.elements[at].pops.is_empty() && source.elements[at].push.is_some()
                })
        });
        let Some(found) = found else { continue };
        let name = target.elements[found].name.clone();
        queues[to.index()].as_mut().expect("the target is a queue").elements[found].push =
            Some((operation, 0));
        let source = queues[from.index()].as_mut().expect("the source is a queue");
        source.element(&name).pops.push((operation, 0));
        source.unknown_pops.retain(|pop| pop.operation != operation);
    }
}

struct Judge<'a> {
    history: &'a History,
    queue: &'a Queue,
}

impl Judge<'_> {
    fn operation(&self, moment: Moment) -> &Operation {
        &self.history.operations()[moment.0]
    }

    /// When it had certainly happened; never if there is no reply. A push without a reply had happened when its element came out.
    fn pushed_by(&self, element: &Element) -> Option<u64> {
        let push = self.operation(element.push?);
        match push.outcome {
            Outcome::Replied { at, .. } => Some(at),
            Outcome::Unknown { until } => {
                element.pops.iter().map(|&pop| self.operation(pop).latest().min(until)).min()
            }
        }
    }

    /// From when on an element may have been gone; never if nobody can have taken it.
    fn gone_from(&self, element: &Element) -> u64 {
        let known = element.pops.iter().map(|&pop| self.operation(pop).earliest()).min();
        known.unwrap_or_else(|| {
            let pushed = element.push.map_or(0, |push| self.operation(push).call);
            let possible =
                self.queue.unknown_pops.iter().map(|pop| &self.history.operations()[pop.operation]);
            possible.filter(|pop| pop.latest() >= pushed).map(|pop| pop.call).min().unwrap_or(u64::MAX)
        })
    }

    fn violation(&self, kind: Kind, story: String, mut operations: Vec<usize>) -> Violation {
        let mut seen = BTreeSet::new();
        operations.retain(|&operation| seen.insert(operation));
        let mut story = format!("list {}: {story}", shown(self.history.name(self.queue.key)));
        for &operation in &operations {
            story.push_str(&format!("\n  {}", self.history.line(operation)));
        }
        Violation { kind, operations, story }
    }

    fn nothing_is_invented_or_duplicated(&self) -> Result<(), Violation> {
        for element in &self.queue.elements {
            let name = shown(&element.name);
            let pops: Vec<usize> = element.pops.iter().map(|pop| pop.0).collect();
            let Some(push) = element.push else {
                let story = format!("{name} came out, and nobody had put it in");
                return Err(self.violation(Kind::Invented, story, pops));
            };
            if pops.len() > 1 {
                let story = format!("{name} went in once and came out {} times", pops.len());
                return Err(self.violation(
                    Kind::Duplicated,
                    story,
                    [push.0].into_iter().chain(pops).collect(),
                ));
            }
            if let Some(&pop) = element.pops.first() {
                if self.operation(pop).precedes(self.operation(push)) {
                    let story = format!("{name} came out before it was put in");
                    return Err(self.violation(Kind::Invented, story, vec![pop.0, push.0]));
                }
            }
        }
        Ok(())
    }

    fn order_is_kept(&self) -> Result<(), Violation> {
        if !self.queue.is_fifo() {
            return Ok(());
        }
        let reordered = |first: &Element, second: &Element| {
            let (a, b) = (shown(&first.name), shown(&second.name));
            let how = if first.pops.is_empty() { "never came out" } else { "came out after it" };
            let moments =
                [first.push, second.push, second.pops.first().copied(), first.pops.first().copied()];
            let story = format!("{a} went in before {b} and {how}");
            let operations = moments.into_iter().flatten().map(|moment| moment.0).collect();
            Err(self.violation(Kind::Reordered, story, operations))
        };
        // Those that went in by one operation, those that came out by one, and the rest: first what is one operation's.
        let mut by_push: HashMap<usize, Vec<&Element>> = HashMap::new();
        let mut by_pop: HashMap<usize, Vec<&Element>> = HashMap::new();
        for element in &self.queue.elements {
            if let Some(push) = element.push {
                by_push.entry(push.0).or_default().push(element);
            }
            if let Some(pop) = element.pops.first() {
                by_pop.entry(pop.0).or_default().push(element);
            }
        }
        for together in by_push.values_mut() {
            together.sort_by_key(|element| element.push);
            let mut last: Option<&Element> = None;
            for &element in together.iter() {
                if let (Some(last), Some(&pop)) = (last, element.pops.first()) {
                    let same = last.pops.first().is_some_and(|first| first.0 == pop.0 && first.1 > pop.1);
                    if same || self.gone_from(last) > self.operation(pop).latest() {
                        return reordered(last, element);
                    }
                }
                if last.is_none_or(|last| self.gone_from(last) < self.gone_from(element)) {
                    last = Some(element);
                }
            }
        }
        for together in by_pop.values_mut() {
            together.sort_by_key(|element| element.pops.first().copied());
            for pair in together.windows(2) {
                let (Some(first), Some(second)) = (pair[0].push, pair[1].push) else { continue };
                if self.operation(second).precedes(self.operation(first)) {
                    return reordered(pair[1], pair[0]);
                }
            }
        }
        // Elements in the order of their pushes' calls, against those whose pushes were over by then.
        let mut later: Vec<&Element> =
            self.queue.elements.iter().filter(|element| !element.pops.is_empty()).collect();
        later.sort_by_key(|element| element.push.map(|push| self.operation(push).call));
        let mut earlier: Vec<(u64, &Element)> = self
            .queue
            .elements
            .iter()
            .filter_map(|element| Some((self.pushed_by(element)?, element)))
            .collect();
        earlier.sort_by_key(|&(pushed_by, _)| pushed_by);
        let mut earlier = earlier.into_iter().peekable();
        // The one of those that stayed longest.
        let mut longest: Option<&Element> = None;
        for element in later {
            let Some(push) = element.push else { continue };
            let call = self.operation(push).call;
            while let Some((_, over)) = earlier.next_if(|&(pushed_by, _)| pushed_by < call) {
                if longest.is_none_or(|longest| self.gone_from(longest) < self.gone_from(over)) {
                    longest = Some(over);
                }
            }
            if let Some(longest) = longest {
                if self.gone_from(longest) > self.operation(element.pops[0]).latest() {
                    return reordered(longest, element);
                }
            }
        }
        Ok(())
    }

    fn nothing_is_lost(&self) -> Result<(), Violation> {
        // The times at which an element is certainly in the queue, without their ends.
        let mut present: Vec<(u64, u64, &Element)> = self
            .queue
            .elements
            .iter()
            .filter_map(|element| Some((self.pushed_by(element)?, self.gone_from(element), element)))
            .filter(|&(from, to, _)| from < to)
            .collect();
        present.sort_by_key(|&(from, to, _)| (from, to));
        let mut empty: Vec<usize> = self.queue.empty.clone();
        empty.sort_by_key(|&operation| self.history.operations()[operation].earliest());
        let mut next = present.iter().peekable();
        // The last stretch of time without a moment of emptiness: where it begins and ends, and the elements that make it.
        let mut stretch: (u64, u64) = (0, 0);
        let mut makers: Vec<&Element> = Vec::new();
        for operation in empty {
            let found = &self.history.operations()[operation];
            while let Some(&(from, to, element)) =
                next.next_if(|&&(from, ..)| from < found.earliest() || from < stretch.1)
            {
                if from >= stretch.1 {
                    stretch = (from, to);
                    makers = vec![element];
                } else if to > stretch.1 {
                    stretch.1 = to;
                    makers.push(element);
                }
            }
            if stretch.0 < found.earliest() && found.latest() < stretch.1 {
                makers.retain(|element| {
                    let begins = self.pushed_by(element).is_some_and(|from| from <= found.latest());
                    begins && self.gone_from(element) > found.earliest()
                });
                let never = makers.iter().find(|element| element.pops.is_empty());
                let names: Vec<String> = makers.iter().take(4).map(|element| shown(&element.name)).collect();
                let story = match never {
                    Some(lost) => format!(
                        "{} went in, came out nowhere, and the list was found empty",
                        shown(&lost.name)
                    ),
                    None => format!("found empty while {} was in it", names.join(", then ")),
                };
                let pushes = makers.iter().take(4).filter_map(|element| Some(element.push?.0));
                let pops = makers.iter().take(4).filter_map(|element| Some(element.pops.first()?.0));
                let operations = pushes.chain([operation]).chain(pops).collect();
                return Err(self.violation(Kind::Lost, story, operations));
            }
        }
        self.pops_without_reply_suffice()
    }

    /// What is missing when the queue is empty must have been taken by operations without a reply, each one element.
    fn pops_without_reply_suffice(&self) -> Result<(), Violation> {
        let Some(&last) = self.queue.empty.iter().max_by_key(|&&at| self.history.operations()[at].earliest())
        else {
            return Ok(());
        };
        let end = self.history.operations()[last].earliest();
        let mut missing: Vec<(u64, &Element)> = self
            .queue
            .missing()
            .filter(|element| self.pushed_by(element).is_some_and(|by| by < end))
            .filter_map(|element| Some((self.operation(element.push?).call, element)))
            .collect();
        missing.sort_by_key(|&(call, _)| std::cmp::Reverse(call));
        for (count, &(call, element)) in missing.iter().enumerate() {
            // All of the youngest must have been taken by operations that were not over when the oldest of them was pushed.
            let unknown = self.queue.unknown_pops.iter();
            let able = unknown.filter(|pop| self.history.operations()[pop.operation].latest() >= call);
            let capacity: usize = able.map(|pop| pop.capacity).sum();
            if capacity < count + 1 {
                let story = format!(
                    "{} and {count} that went in later came out nowhere, and the list was found empty; \
                     only {capacity} operations without a reply can have taken them",
                    shown(&element.name)
                );
                let operations =
                    missing[..=count].iter().rev().take(8).filter_map(|(_, one)| Some(one.push?.0));
                return Err(self.violation(Kind::Lost, story, operations.chain([last]).collect()));
            }
        }
        Ok(())
    }
}

//! Do the dependencies of operations have a cycle?
//!
//! The idea is Elle's (Kingsbury and Alvaro, "Elle: inferring isolation anomalies from experimental observations", 2020): when each value is written once,
//! a read says whom it depends on, and a history that could have run serially has dependencies without a cycle. A cycle is at the same
//! time the explanation.
//!
//! Edges from what must come first to what must come after:
//!
//! - the write of a value, then its reads;
//! - a read of a value, then the write that replaces it;
//! - of two writes of a key, the older, then the newer;
//! - an operation that has ended, then one that is called later (strict serializability).
//!
//! Which of two writes is older is not observed. But the write of a value with its reads is a *version*, and versions of a key cannot interleave:
//! if anything of one comes before anything of the other (in time, or because of dependencies on other keys), then all of it comes before the other's write.
//! That is applied until nothing new follows.
//!
//! Sound and not complete: what it reports is wrong for certain, but some bad histories have no such cycle. In return it takes
//! time in proportion to the history, however many clients there are and however many operations have no reply. Keys that other commands than
//! reads, writes, increments and deletions touch are left out, and so are values that were written to a key twice.

use crate::command::{shown, Command, Key, Reply};
use crate::history::{Bytes, History, Kind, Outcome, Violation};
use std::collections::{HashMap, HashSet, VecDeque};

/// Judges the transactions of a history; returns the number of dependencies found, not counting those of time.
///
/// # Errors
/// [`Kind::Cycle`] with the operations of the cycle in its order, or [`Kind::Invented`] for the read of a value that nobody wrote.
pub fn check(history: &History) -> Result<usize, Violation> {
    let accesses = accesses(history);
    let mut graph = Graph::new(history, &accesses)?;
    graph.add_time();
    graph.order_versions_by_time();
    // A cycle of plain dependencies makes a shorter story than what is inferred from it.
    graph.find_cycle()?;
    while graph.order_versions_by_dependencies() {
        graph.find_cycle()?;
    }
    Ok(graph.dependencies)
}

/// What an operation does to a key as seen from outside.
#[derive(Clone, Debug)]
enum Access {
    /// The key held this before.
    Read(Key, Option<Bytes>),
    /// It holds this afterwards.
    Write(Key, Option<Bytes>),
    /// It was written or may have been, and the value is not known.
    Opaque(Key),
}

/// What each operation reads and writes; writes of operations without a reply are those that it would have made.
fn accesses(history: &History) -> Vec<Vec<Access>> {
    history
        .operations()
        .iter()
        .map(|operation| {
            let mut all = Vec::new();
            for (at, command) in operation.commands.iter().enumerate() {
                match operation.replies() {
                    Some(replies) => replied(command, &replies[at], &mut all),
                    None => unknown(command, &mut all),
                }
            }
            external(all)
        })
        .collect()
}

/// Leaves the first read of a key before any write, and the last write.
fn external(all: Vec<Access>) -> Vec<Access> {
    let mut kept: Vec<Access> = Vec::new();
    let mut written = HashSet::new();
    let mut read = HashSet::new();
    for access in all {
        match &access {
            Access::Read(key, _) => {
                if !written.contains(key) && read.insert(*key) {
                    kept.push(access);
                }
            }
            Access::Write(key, _) => {
                let key = *key;
                written.insert(key);
                kept.retain(|other| !matches!(other, Access::Write(earlier, _) if *earlier == key));
                kept.push(access);
            }
            _ => kept.push(access),
        }
    }
    kept
}

fn replied(command: &Command, reply: &Reply, all: &mut Vec<Access>) {
    use Access::*;
    let value = |reply: &Reply| match reply {
        Reply::Bulk(text) => Some(Some(text.clone())),
        Reply::Nil => Some(None),
        _ => None,
    };
    match (command, reply) {
        (_, Reply::Error(_)) => {}
        (Command::Get(key), reply) => all.extend(value(reply).map(|value| Read(*key, value))),
        (Command::Set(key, new), _) => all.push(Write(*key, Some(new.clone()))),
        (Command::GetSet(key, new), reply) => {
            all.extend(value(reply).map(|value| Read(*key, value)));
            all.push(Write(*key, Some(new.clone())));
        }
        (Command::GetDel(key), reply) => {
            let old = value(reply);
            let existed = matches!(old, Some(Some(_)));
            all.extend(old.map(|value| Read(*key, value)));
            all.extend(existed.then_some(Write(*key, None)));
        }
        (Command::SetNx(key, new), Reply::Int(1)) => {
            all.extend([Read(*key, None), Write(*key, Some(new.clone()))]);
        }
        (Command::IncrBy(key, by), Reply::Int(sum)) => {
            // From 0 it may have come, or from nothing.
            let old = sum.wrapping_sub(*by);
            all.extend((old != 0).then(|| Read(*key, Some(old.to_string().into_bytes().into()))));
            all.push(Write(*key, Some(sum.to_string().into_bytes().into())));
        }
        (Command::MGet(keys), Reply::Array(values)) => {
            let reads = keys.iter().zip(values).filter_map(|(key, reply)| Some(Read(*key, value(reply)?)));
            all.extend(reads);
        }
        (Command::MSet(pairs), _) => {
            all.extend(pairs.iter().map(|(key, new)| Write(*key, Some(new.clone()))));
        }
        (Command::MSetNx(pairs), Reply::Int(1)) => {
            all.extend(pairs.iter().map(|(key, _)| Read(*key, None)));
            all.extend(pairs.iter().map(|(key, new)| Write(*key, Some(new.clone()))));
        }
        (Command::Del(keys), Reply::Int(count)) => {
            let distinct: HashSet<&Key> = keys.iter().collect();
            match *count {
                0 => all.extend(keys.iter().map(|key| Read(*key, None))),
                n if n == distinct.len() as i64 => {
                    all.extend(distinct.into_iter().map(|key| Write(*key, None)))
                }
                _ => all.extend(keys.iter().map(|key| Opaque(*key))),
            }
        }
        (Command::Exists(keys), Reply::Int(0)) => all.extend(keys.iter().map(|key| Read(*key, None))),
        (Command::SetNx(..) | Command::MSetNx(_) | Command::Exists(_), _) => {}
        (command, _) if command.is_read_only() => {}
        (command, _) => all.extend(command.keys().into_iter().map(Opaque)),
    }
}

fn unknown(command: &Command, all: &mut Vec<Access>) {
    use Access::*;
    match command {
        Command::Set(key, new) | Command::GetSet(key, new) | Command::SetNx(key, new) => {
            all.push(Write(*key, Some(new.clone())));
        }
        Command::MSet(pairs) | Command::MSetNx(pairs) => {
            all.extend(pairs.iter().map(|(key, new)| Write(*key, Some(new.clone()))));
        }
        Command::Del(keys) => all.extend(keys.iter().map(|key| Write(*key, None))),
        Command::GetDel(key) => all.push(Write(*key, None)),
        command if command.is_read_only() => {}
        command => all.extend(command.keys().into_iter().map(Opaque)),
    }
}

/// Why one operation comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It wrote what the other read.
    Wrote { version: u32 },
    /// It belongs to an older version than the other wrote.
    Older { version: u32, newer: u32 },
    /// Its end lies before the other's call.
    Time,
}

/// The write of a value and its reads.
struct Version {
    key: Key,
    /// None for what a key holds at the beginning: nothing.
    writer: Option<u32>,
    value: Option<Bytes>,
    readers: Vec<u32>,
}

/// The time of a version.
struct Zone {
    /// When its first operation had ended.
    ended: u64,
    /// When its last operation was called.
    called: u64,
    version: u32,
    first: u32,
    last: u32,
}

struct Graph<'a> {
    history: &'a History,
    versions: Vec<Version>,
    /// The versions that each operation reads or writes.
    touched: Vec<Vec<u32>>,
    of_key: HashMap<Key, Vec<u32>>,
    /// Nodes are operations, then moments in time.
    edges: Vec<Vec<(u32, Why)>>,
    reverse: Vec<Vec<u32>>,
    /// Which versions are known to be older than which, and the operations of each that show it.
    ordered: HashMap<(u32, u32), (u32, u32)>,
    /// Operations that have happened for certain.
    happened: Vec<bool>,
    dependencies: usize,
}

impl<'a> Graph<'a> {
    fn new(history: &'a History, accesses: &[Vec<Access>]) -> Result<Graph<'a>, Violation> {
        let operations = history.operations();
        let mut opaque = HashSet::new();
        let mut deleted = HashSet::new();
        let mut writers: HashMap<(Key, Bytes), Vec<u32>> = HashMap::new();
        for (at, accesses) in accesses.iter().enumerate() {
            for access in accesses {
                match access {
                    Access::Opaque(key) => drop(opaque.insert(*key)),
                    Access::Write(key, None) => drop(deleted.insert(*key)),
                    Access::Write(key, Some(value)) => {
                        writers.entry((*key, value.clone())).or_default().push(at as u32);
                    }
                    Access::Read(..) => {}
                }
            }
            if operations[at].commands.contains(&Command::FlushAll) {
                // What it deletes is not said: nothing is known of any key.
                return Ok(Graph::empty(history));
            }
        }
        let mut graph = Graph::empty(history);
        graph.happened = operations.iter().map(|operation| operation.replies().is_some()).collect();
        for accesses in accesses {
            for access in accesses {
                if let Access::Read(key, Some(value)) = access {
                    if let Some([writer]) = writers.get(&(*key, value.clone())).map(|all| &all[..]) {
                        graph.happened[*writer as usize] |= !opaque.contains(key);
                    }
                }
            }
        }
        // Versions first, then who reads them.
        let mut by_value: HashMap<(Key, Option<Bytes>), u32> = HashMap::new();
        for (at, accesses) in accesses.iter().enumerate() {
            for access in accesses {
                let Access::Write(key, value) = access else { continue };
                if opaque.contains(key) || !graph.happened[at] {
                    continue;
                }
                let version = graph.new_version(*key, Some(at as u32), value.clone());
                let unique = value.as_ref().is_some_and(|value| writers[&(*key, value.clone())].len() == 1);
                if unique {
                    by_value.insert((*key, value.clone()), version);
                }
            }
        }
        for (at, accesses) in accesses.iter().enumerate() {
            for access in accesses {
                let Access::Read(key, value) = access else { continue };
                if opaque.contains(key) {
                    continue;
                }
                if value.is_none() && !deleted.contains(key) && !by_value.contains_key(&(*key, None)) {
                    let first = graph.new_version(*key, None, None);
                    by_value.insert((*key, None), first);
                }
                match by_value.get(&(*key, value.clone())) {
                    Some(&version) => {
                        graph.versions[version as usize].readers.push(at as u32);
                        graph.touched[at].push(version);
                        if let Some(writer) = graph.versions[version as usize].writer {
                            graph.edge(writer, at as u32, Why::Wrote { version });
                            graph.dependencies += 1;
                        }
                    }
                    None => {
                        let nobody =
                            value.as_ref().is_some_and(|value| !writers.contains_key(&(*key, value.clone())));
                        if nobody {
                            let story = format!(
                                "nobody wrote what was read of {}\n  {}",
                                shown(history.name(*key)),
                                history.line(at)
                            );
                            return Err(Violation { kind: Kind::Invented, operations: vec![at], story });
                        }
                    }
                }
            }
        }
        // What replaces a version directly is known where an operation reads it and writes the next.
        for version in 0..graph.versions.len() as u32 {
            for reader in graph.versions[version as usize].readers.clone() {
                for newer in graph.touched[reader as usize].clone() {
                    if graph.versions[newer as usize].writer == Some(reader) {
                        graph.order(version, newer, (reader, reader));
                    }
                }
            }
        }
        Ok(graph)
    }

    fn empty(history: &'a History) -> Graph<'a> {
        let count = history.operations().len();
        Graph {
            history,
            versions: Vec::new(),
            touched: vec![Vec::new(); count],
            of_key: HashMap::new(),
            edges: vec![Vec::new(); count],
            reverse: vec![Vec::new(); count],
            ordered: HashMap::new(),
            happened: vec![false; count],
            dependencies: 0,
        }
    }

    fn new_version(&mut self, key: Key, writer: Option<u32>, value: Option<Bytes>) -> u32 {
        let version = self.versions.len() as u32;
        self.versions.push(Version { key, writer, value, readers: Vec::new() });
        self.of_key.entry(key).or_default().push(version);
        if let Some(writer) = writer {
            self.touched[writer as usize].push(version);
        }
        version
    }

    fn edge(&mut self, from: u32, to: u32, why: Why) {
        self.edges[from as usize].push((to, why));
        if why != Why::Time {
            self.reverse[to as usize].push(from);
        }
    }

    /// Everything of one version comes before the write of another of the same key, because an operation of the one comes before one of the other.
    /// False if that was known.
    fn order(&mut self, older: u32, newer: u32, shown_by: (u32, u32)) -> bool {
        if older == newer || self.ordered.contains_key(&(older, newer)) {
            return false;
        }
        self.ordered.insert((older, newer), shown_by);
        // Nothing comes before what was there at the beginning; its readers would say so in a cycle of their own.
        let Some(next) = self.versions[newer as usize].writer else { return false };
        let version = &self.versions[older as usize];
        let members: Vec<u32> = version.writer.into_iter().chain(version.readers.iter().copied()).collect();
        for member in members.into_iter().filter(|&member| member != next) {
            self.edge(member, next, Why::Older { version: older, newer });
            self.dependencies += 1;
        }
        true
    }

    /// Moments in time are a chain, from the end of operations to the calls of later ones.
    fn add_time(&mut self) {
        let operations = self.history.operations();
        let mut ends: Vec<(u64, u32)> = (0..operations.len() as u32)
            .filter(|&at| operations[at as usize].replies().is_some())
            .map(|at| (operations[at as usize].latest(), at))
            .collect();
        ends.sort_unstable();
        let first = self.edges.len() as u32;
        self.edges.resize(self.edges.len() + ends.len(), Vec::new());
        self.reverse.resize(self.edges.len(), Vec::new());
        for (moment, &(_, operation)) in ends.iter().enumerate() {
            self.edge(operation, first + moment as u32, Why::Time);
            if moment > 0 {
                self.edge(first + moment as u32 - 1, first + moment as u32, Why::Time);
            }
        }
        for at in 0..operations.len() as u32 {
            if self.happened[at as usize] {
                let before = ends.partition_point(|&(end, _)| end < operations[at as usize].call);
                if before > 0 {
                    self.edge(first + before as u32 - 1, at, Why::Time);
                }
            }
        }
    }

    /// When anything of a version had certainly happened first, and when the last of it was called, with these operations.
    fn zone(&self, version: u32) -> Zone {
        let index = version;
        let version = &self.versions[version as usize];
        let operation = |member: u32| &self.history.operations()[member as usize];
        let members = || version.writer.iter().chain(&version.readers).copied();
        let end = |member| match operation(member).outcome {
            Outcome::Replied { at, .. } => at,
            Outcome::Unknown { .. } => u64::MAX,
        };
        let first = members().min_by_key(|&member| end(member)).expect("a version is written or read");
        let last = members().max_by_key(|&member| operation(member).call).expect("the same");
        let ended = if version.writer.is_none() { 0 } else { end(first) };
        Zone { ended, called: operation(last).call, version: index, first, last }
    }

    /// Orders versions of which anything has ended before anything of the other was called (the zones of Gibbons and Korach, "Testing shared
    /// memories", 1997). Those that follow by transitivity are left out.
    fn order_versions_by_time(&mut self) {
        for versions in self.of_key.values().cloned().collect::<Vec<_>>() {
            let mut zones: Vec<Zone> = versions.into_iter().map(|version| self.zone(version)).collect();
            zones.sort_unstable_by_key(|zone| (zone.ended, zone.called, zone.version));
            for newer in &zones {
                let before = zones.partition_point(|zone| zone.ended < newer.called);
                let mut covered = 0;
                for older in zones[..before].iter().rev().filter(|zone| zone.version != newer.version) {
                    if older.ended < covered {
                        break;
                    }
                    self.order(older.version, newer.version, (older.first, newer.last));
                    covered = covered.max(older.called);
                }
            }
        }
    }

    /// Orders versions where anything of one depends on anything of the other over a few steps. Whether anything new was found.
    fn order_versions_by_dependencies(&mut self) -> bool {
        /// How many operations are looked at behind each.
        const BEHIND_MAX: usize = 64;
        let operations = self.history.operations();
        let zones: Vec<Zone> = (0..self.versions.len() as u32).map(|version| self.zone(version)).collect();
        let mut found = false;
        for at in 0..operations.len() as u32 {
            if self.touched[at as usize].is_empty() {
                continue;
            }
            // What had ended before this was called is ordered by time.
            let call = operations[at as usize].call;
            let mut behind = vec![at];
            let mut next = 0;
            while next < behind.len() && behind.len() < BEHIND_MAX {
                for &before in &self.reverse[behind[next] as usize] {
                    if operations[before as usize].latest() >= call && !behind.contains(&before) {
                        behind.push(before);
                    }
                }
                next += 1;
            }
            for newer in self.touched[at as usize].clone() {
                for &before in &behind[1..] {
                    for older in self.touched[before as usize].clone() {
                        let by_time = zones[older as usize].ended < zones[newer as usize].called;
                        if self.versions[older as usize].key == self.versions[newer as usize].key && !by_time
                        {
                            found |= self.order(older, newer, (before, at));
                        }
                    }
                }
            }
        }
        found
    }

    fn find_cycle(&self) -> Result<(), Violation> {
        let components = components(&self.edges);
        let count = self.history.operations().len();
        let Some(component) =
            components.iter().filter(|component| component.len() > 1).min_by_key(|component| component.len())
        else {
            return Ok(());
        };
        let inside: HashSet<u32> = component.iter().copied().collect();
        // The shortest cycle through any of the first operations; steps in time cost nothing more than others.
        const STARTS_MAX: usize = 200;
        let starts = component.iter().filter(|&&node| (node as usize) < count).take(STARTS_MAX);
        let cycle = starts
            .filter_map(|&start| self.cycle_through(start, &inside))
            .min_by_key(Vec::len)
            .expect("each operation of a strongly connected component is on a cycle");
        Err(self.story(&cycle))
    }

    /// The steps of a shortest cycle: from where, and why the next comes after it. Moments in time are steps too.
    fn cycle_through(&self, start: u32, inside: &HashSet<u32>) -> Option<Vec<(u32, Why)>> {
        let mut from: HashMap<u32, (u32, Why)> = HashMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for &(next, why) in &self.edges[node as usize] {
                if !inside.contains(&next) || from.contains_key(&next) {
                    continue;
                }
                from.insert(next, (node, why));
                if next == start {
                    let mut steps = Vec::new();
                    let mut at = start;
                    loop {
                        let (before, why) = from[&at];
                        steps.push((before, why));
                        at = before;
                        if at == start {
                            break;
                        }
                    }
                    steps.reverse();
                    return Some(steps);
                }
                queue.push_back(next);
            }
        }
        None
    }

    fn story(&self, cycle: &[(u32, Why)]) -> Violation {
        let count = self.history.operations().len();
        let steps: Vec<(usize, Why)> = cycle
            .iter()
            .filter(|(node, _)| (*node as usize) < count)
            .map(|&(node, why)| (node as usize, why))
            .collect();
        let mut story =
            "each of these must have happened before the next, and the last before the first:".to_owned();
        let mut operations: Vec<usize> = steps.iter().map(|step| step.0).collect();
        for (at, why) in &steps {
            story.push_str(&format!("\n  {}", self.history.line(*at)));
            match why {
                Why::Time => story.push_str("\n      had ended before the next was called"),
                Why::Wrote { version } => {
                    let version = self.version_text(*version);
                    story.push_str(&format!("\n      wrote {version}, which the next read"));
                }
                Why::Older { version, newer } => {
                    let did = if self.versions[*version as usize].writer == Some(*at as u32) {
                        "wrote"
                    } else {
                        "read"
                    };
                    let (old, new) = (self.version_text(*version), self.version_text(*newer));
                    story.push_str(&format!("\n      {did} {old}; the next wrote {new}, which is newer"));
                    let (before, after) = self.ordered[&(*version, *newer)];
                    for shows in [before as usize, after as usize] {
                        if !operations.contains(&shows) {
                            operations.push(shows);
                            story.push_str(&format!(
                                ", as is seen from\n          {}",
                                self.history.line(shows)
                            ));
                        }
                    }
                }
            }
        }
        Violation { kind: Kind::Cycle, operations, story }
    }

    fn version_text(&self, version: u32) -> String {
        let version = &self.versions[version as usize];
        let value = version.value.as_ref().map_or("nil".to_owned(), |value| shown(value));
        format!("{} = {value}", shown(self.history.name(version.key)))
    }
}

/// Strongly connected components (Tarjan 1972), without recursion.
fn components(edges: &[Vec<(u32, Why)>]) -> Vec<Vec<u32>> {
    const UNSEEN: u32 = u32::MAX;
    let mut index = vec![UNSEEN; edges.len()];
    let mut low = vec![0u32; edges.len()];
    let mut on_stack = vec![false; edges.len()];
    let (mut stack, mut path): (Vec<u32>, Vec<(u32, usize)>) = (Vec::new(), Vec::new());
    let mut next_index = 0;
    let mut components = Vec::new();
    for root in 0..edges.len() as u32 {
        if index[root as usize] != UNSEEN {
            continue;
        }
        path.push((root, 0));
        while let Some(&mut (node, ref mut edge)) = path.last_mut() {
            let at = node as usize;
            if *edge == 0 {
                index[at] = next_index;
                low[at] = next_index;
                next_index += 1;
                stack.push(node);
                on_stack[at] = true;
            }
            if let Some(&(target, _)) = edges[at].get(*edge) {
                *edge += 1;
                let to = target as usize;
                if index[to] == UNSEEN {
                    path.push((target, 0));
                } else if on_stack[to] {
                    low[at] = low[at].min(index[to]);
                }
                continue;
            }
            path.pop();
            if let Some(&(parent, _)) = path.last() {
                low[parent as usize] = low[parent as usize].min(low[at]);
            }
            if low[at] == index[at] {
                let begin = stack.iter().rposition(|&other| other == node).expect("a root is on the stack");
                let component = stack.split_off(begin);
                component.iter().for_each(|&node| on_stack[node as usize] = false);
                components.push(component);
            }
        }
    }
    components
}

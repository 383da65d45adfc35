//! Who waits for the keys of one shard: a line for each key, in the order in which the commands were given, over all connections and executors.
//!
//! The order is that of their ages: numbers from the counter of the process, taken when a command begins to block. The lines watch the changes of the
//! shard, and remember which keys may have something now (*ready*), in the order in which they became so. There are lines only while somebody waits.

use super::{Age, BlockedCommand};
use hashbrown::HashMap;
use kora_engine::blocking::{minds_deletion, reads_streams, Wakes};
use kora_engine::change::{Change, ChangeSink};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Those who wait for one key.
#[derive(Default)]
struct Line {
    waiting: BTreeMap<Age, Arc<BlockedCommand>>,
    /// How many of them read a stream: then what one cannot use another may.
    readers: usize,
    /// How many have an answer as well when the key goes.
    mind_deletion: usize,
    /// It is in the list of ready keys.
    ready: bool,
    /// The first is being served with the help of another shard; the others wait until that is over.
    away: bool,
}

/// A key with its database.
pub type DbKey = (u16, Box<[u8]>);

/// The lines of a shard.
#[derive(Default)]
pub struct Lines {
    databases: BTreeMap<u16, HashMap<Box<[u8]>, Line>>,
    commands: HashMap<Age, Arc<BlockedCommand>>,
    ready: VecDeque<DbKey>,
    /// The key that is being served: what happens to it meanwhile is seen by who serves.
    serving: Option<DbKey>,
}

/// How many wait for what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys that somebody waits for.
    pub keys: usize,
    /// Those of them whose deletion somebody waits for as well.
    pub keys_on_deletion: usize,
}

impl Lines {
    /// Nobody waits, and nobody is away.
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty()
    }

    /// Adds a command to the lines of those of its keys that `here` says are on this shard.
    pub fn register(&mut self, command: Arc<BlockedCommand>, here: impl Fn(&[u8]) -> bool) {
        let argv = command.words.argv();
        let lines = self.databases.entry(command.view.db).or_default();
        let (reads, minds) = (reads_streams(command.command), minds_deletion(command.command));
        for at in command.awaited() {
            let key = argv[at];
            if !here(key) {
                continue;
            }
            let line = lines.entry_ref(key).or_default();
            if line.waiting.insert(command.age, command.clone()).is_none() {
                line.readers += usize::from(reads);
                line.mind_deletion += usize::from(minds);
            }
        }
        drop(argv);
        self.commands.insert(command.age, command);
    }

    /// Takes a command out of all lines.
    pub fn forget(&mut self, age: Age) {
        let Some(command) = self.commands.remove(&age) else { return };
        let db = command.view.db;
        let Some(lines) = self.databases.get_mut(&db) else { return };
        let argv = command.words.argv();
        let (reads, minds) = (reads_streams(command.command), minds_deletion(command.command));
        for at in command.awaited() {
            let Some(line) = lines.get_mut(argv[at]) else { continue };
            if line.waiting.remove(&age).is_some() {
                line.readers -= usize::from(reads);
                line.mind_deletion -= usize::from(minds);
            }
            if line.waiting.is_empty() && !line.away {
                lines.remove(argv[at]);
            }
        }
        if lines.is_empty() {
            self.databases.remove(&db);
        }
    }

    /// Takes the first of the ready keys for which `may` holds, to be served.
    pub fn begin_serving(&mut self, mut may: impl FnMut(&[u8]) -> bool) -> Option<DbKey> {
        let mut at = 0;
        while at < self.ready.len() {
            let (db, key) = &self.ready[at];
            let line = self.databases.get_mut(db).and_then(|lines| lines.get_mut(key));
            match line {
                Some(line) if !line.away => {
                    if may(key) {
                        line.ready = false;
                        let key = self.ready.remove(at).expect("seen just now");
                        self.serving = Some(key.clone());
                        return Some(key);
                    }
                    at += 1;
                }
                Some(line) => {
                    // It is ready again when it is back.
                    line.ready = false;
                    self.ready.remove(at);
                }
                None => {
                    self.ready.remove(at);
                }
            }
        }
        None
    }

    /// The one who waits next for a key, behind the one of this age, and whether anybody in the line reads a stream.
    pub fn next(&self, (db, key): &DbKey, behind: Age) -> Option<(Arc<BlockedCommand>, bool)> {
        let line = self.databases.get(db)?.get(key)?;
        let (_, command) = line.waiting.range(behind + 1..).next()?;
        Some((command.clone(), line.readers > 0))
    }

    /// The key is served.
    pub fn end_serving(&mut self) {
        self.serving = None;
    }

    /// The first in the line of a key is served with the help of another shard.
    pub fn go_away(&mut self, (db, key): &DbKey) {
        if let Some(line) = self.databases.get_mut(db).and_then(|lines| lines.get_mut(key)) {
            line.away = true;
        }
    }

    /// That is over: whoever is the first in the line now is looked at.
    pub fn come_back(&mut self, db: u16, key: &[u8]) {
        let Some(lines) = self.databases.get_mut(&db) else { return };
        let Some(line) = lines.get_mut(key) else { return };
        line.away = false;
        if !line.waiting.is_empty() {
            return self.mark(db, key);
        }
        lines.remove(key);
        if lines.is_empty() {
            self.databases.remove(&db);
        }
    }

    /// Whether some key is ready.
    pub fn any_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many wait for what.
    pub fn counts(&self) -> Counts {
        let lines =
            || self.databases.values().flat_map(HashMap::values).filter(|line| !line.waiting.is_empty());
        Counts {
            keys: lines().count(),
            keys_on_deletion: lines().filter(|line| line.mind_deletion > 0).count(),
        }
    }

    fn mark(&mut self, db: u16, key: &[u8]) {
        if self.serving.as_ref().is_some_and(|(of, serving)| *of == db && **serving == *key) {
            return;
        }
        let line = self.databases.get_mut(&db).and_then(|lines| lines.get_mut(key));
        if let Some(line) = line.filter(|line| !line.ready) {
            line.ready = true;
            self.ready.push_back((db, key.into()));
        }
    }

    fn mark_all(&mut self, db: u16) {
        let Some(lines) = self.databases.get(&db) else { return };
        // Not in the order of the map, which is nobody's.
        let mut keys: Vec<Box<[u8]>> = lines.keys().cloned().collect();
        keys.sort_unstable();
        keys.iter().for_each(|key| self.mark(db, key));
    }
}

impl ChangeSink for Lines {
    fn change(&mut self, _: u64, change: &Change<'_>) {
        match Wakes::of(change) {
            Wakes::Nothing => {}
            Wakes::Key(db, key) => self.mark(db, key),
            Wakes::Database(db) => self.mark_all(db),
            Wakes::Databases(a, b) => {
                self.mark_all(a);
                self.mark_all(b);
            }
        }
    }
}

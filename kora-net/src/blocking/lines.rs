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

#[cfg(test)]
mod tests {
    use super::super::claim::Claim;
    use super::*;
    use crate::mail::ReplyTo;
    use crate::words::Words;
    use kora_engine::change::ListEdit;
    use kora_engine::command::registry;
    use kora_engine::keyspace::View;
    use kora_engine::reply::Protocol;
    use kora_engine::value::list::End;

    fn blocked(age: Age, line: &str) -> Arc<BlockedCommand> {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        Arc::new(BlockedCommand {
            claim: Arc::new(Claim::waiting()),
            age,
            command: registry().find(argv[0]).expect("a command"),
            words: Words::of(argv.iter().copied()),
            view: View { db: 0, now: 0, touch: true },
            protocol: Protocol::Resp2,
            home: 0,
            to: ReplyTo::Nobody,
            whole: true,
        })
    }

    fn lines_of(commands: &[(Age, &str)]) -> Lines {
        let mut lines = Lines::default();
        for &(age, line) in commands {
            lines.register(blocked(age, line), |_| true);
        }
        lines
    }

    fn push(lines: &mut Lines, key: &str) {
        let edit = ListEdit::Push { end: End::Head, element: b"x" };
        lines.change(0, &Change::ListEdit { db: 0, key: key.as_bytes(), edit });
    }

    fn next_key(lines: &mut Lines) -> Option<String> {
        let (_, key) = lines.begin_serving(|_| true)?;
        lines.end_serving();
        Some(String::from_utf8(key.into()).expect("text"))
    }

    /// Ages of those who wait for a key, in their order.
    fn line(lines: &Lines, key: &str) -> Vec<Age> {
        let key = (0, key.as_bytes().into());
        let mut ages = Vec::new();
        while let Some((command, _)) = lines.next(&key, ages.last().copied().unwrap_or(0)) {
            ages.push(command.age);
        }
        ages
    }

    #[test]
    fn the_older_stands_before_the_younger_whenever_it_comes() {
        let mut lines = lines_of(&[
            (5, "BLPOP a b 0"),
            (2, "BLPOP b b a 0"),
            (9, "BZPOPMIN b 0"),
            (7, "BLMOVE b a LEFT LEFT 0"),
        ]);
        assert_eq!(line(&lines, "a"), [2, 5]);
        assert_eq!(line(&lines, "b"), [2, 5, 7, 9]);
        assert_eq!(lines.counts(), Counts { keys: 2, keys_on_deletion: 0 });
        lines.forget(2);
        lines.forget(2);
        assert_eq!(line(&lines, "b"), [5, 7, 9]);
        for age in [5, 7, 9] {
            assert!(!lines.is_empty());
            lines.forget(age);
        }
        assert!(lines.is_empty() && lines.commands.is_empty());
    }

    #[test]
    fn keys_are_served_in_the_order_in_which_they_became_ready() {
        let mut lines = lines_of(&[(1, "BLPOP a b c 0")]);
        for key in ["c", "nobody", "a", "c", "b"] {
            push(&mut lines, key);
        }
        // One that somebody holds stays ready.
        assert_eq!(lines.begin_serving(|key| key == b"a").map(|(_, key)| key), Some(b"a".as_slice().into()));
        // What happens to it while it is served does not make it ready again, another key does.
        push(&mut lines, "a");
        lines.end_serving();
        assert_eq!(next_key(&mut lines), Some("c".to_owned()));
        push(&mut lines, "c");
        assert_eq!(next_key(&mut lines), Some("b".to_owned()));
        assert_eq!(next_key(&mut lines), Some("c".to_owned()));
        assert_eq!(next_key(&mut lines), None);
    }

    #[test]
    fn a_line_whose_first_is_away_is_looked_at_when_it_comes_back() {
        let mut lines = lines_of(&[(1, "BLMOVE a z LEFT LEFT 0"), (2, "BLPOP a 0")]);
        let key = (0, b"a".as_slice().into());
        push(&mut lines, "a");
        assert_eq!(next_key(&mut lines), Some("a".to_owned()));
        lines.go_away(&key);
        push(&mut lines, "a");
        assert_eq!(next_key(&mut lines), None);
        lines.forget(1);
        lines.come_back(0, b"a");
        assert_eq!(next_key(&mut lines), Some("a".to_owned()));
        assert_eq!(line(&lines, "a"), [2]);
        // Everybody has gone in the meantime.
        lines.go_away(&key);
        lines.forget(2);
        assert!(!lines.is_empty(), "somebody will come back");
        assert_eq!(lines.counts(), Counts::default());
        lines.come_back(0, b"a");
        assert!(lines.is_empty());
    }

    #[test]
    fn changes_of_databases_concern_all_their_keys() {
        let mut lines = lines_of(&[(1, "XREADGROUP GROUP g c BLOCK 0 STREAMS s t > >"), (2, "BLPOP l s 0")]);
        assert_eq!(lines.counts(), Counts { keys: 3, keys_on_deletion: 2 });
        lines.change(0, &Change::FlushDb { db: 1 });
        assert!(!lines.any_ready());
        lines.change(0, &Change::SwapDb { a: 4, b: 0 });
        let mut served: Vec<String> = std::iter::from_fn(|| next_key(&mut lines)).collect();
        served.sort_unstable();
        assert_eq!(served, ["l", "s", "t"]);
        lines.forget(1);
        assert_eq!(lines.counts(), Counts { keys: 2, keys_on_deletion: 0 });
    }

    #[test]
    fn only_keys_of_this_shard_are_waited_for() {
        let mut lines = Lines::default();
        lines.register(blocked(1, "BLPOP a b c 0"), |key| key == b"b");
        assert_eq!(lines.counts().keys, 1);
        push(&mut lines, "a");
        assert!(!lines.any_ready());
        lines.forget(1);
        assert!(lines.is_empty());
    }
}

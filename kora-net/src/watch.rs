//! Watched keys of a shard: WATCH makes the next EXEC of a connection depend on them.
//!
//! ```text
//! connection   Watching: its keys, and a verdict ----+
//! shard        Watched: key -> watchers -------------+-- Arc<Verdict>, one for all keys of the connection
//! ```
//!
//! The shard's table is a sink of its changes, attached only while something is watched, so nobody else pays for it. A change of a watched key is a verdict
//! for all who watch it, and their entries go: a thousand clients that watch one key cost its next write a thousand stores, and the one after it nothing.
//!
//! Whether the key was there is kept with each entry. A flushed database changes only keys that it had; a key whose time was over before WATCH may go. What times
//! out after WATCH is seen by EXEC: as long as a key has not changed its expiry has not either, so the earliest of them is kept with the verdict.
//! A swap of databases may bring a key that was not there, which a sink of changes cannot see: then EXEC looks.
//!
//! EXEC reads the verdict where no watched key can change any more: on the shard that has all of them, or while it holds them.

use crate::transaction::Site;
use hashbrown::{HashMap, HashSet};
use kora_engine::change::{Change, ChangeSink, DeleteReason, UnixMs};
use kora_engine::keyspace::View;
use kora_engine::slot::Slot;
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU64, AtomicU8, Ordering};
use std::sync::Arc;

/// No watched key has changed.
const INTACT: u8 = 0;
/// Databases were swapped: it must be looked whether a key that was not there is there now.
const DOUBTFUL: u8 = 1;
/// One has changed.
const CHANGED: u8 = 2;

/// What has become of the keys that a connection watches. Shared by the connection and the shards of the keys.
#[derive(Debug)]
pub struct Verdict {
    /// Only ever grows.
    state: AtomicU8,
    /// When the first of the keys times out.
    expires_at: AtomicU64,
}

impl Verdict {
    fn raise(&self, state: u8) {
        self.state.fetch_max(state, Ordering::Release);
    }

    fn state(&self) -> u8 {
        self.state.load(Ordering::Acquire)
    }
}

/// What a connection watches.
#[derive(Debug)]
pub struct Watching {
    /// Who watches, unique in the process.
    id: u64,
    keys: HashSet<(u16, Box<[u8]>)>,
    verdict: Arc<Verdict>,
}

impl Watching {
    /// Nothing yet.
    pub fn new(id: u64) -> Watching {
        let verdict = Verdict { state: AtomicU8::new(INTACT), expires_at: AtomicU64::new(UnixMs::MAX) };
        Watching { id, keys: HashSet::new(), verdict: Arc::new(verdict) }
    }

    /// Adds a key; returns whether it is new.
    pub fn add(&mut self, db: u16, key: &[u8]) -> bool {
        self.keys.insert((db, key.into()))
    }

    /// The keys, with their databases.
    pub fn keys(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.keys.iter().map(|(db, key)| (*db, &key[..]))
    }

    /// How many keys are watched; none any more once one has changed.
    pub fn count(&self) -> usize {
        if self.is_changed() {
            0
        } else {
            self.keys.len()
        }
    }

    /// Whether it is known already that a key has changed.
    pub fn is_changed(&self) -> bool {
        self.verdict.state() == CHANGED
    }

    /// The shards of the keys, of so many: each once, in their order.
    pub fn shards(&self, shards: u16) -> Vec<u16> {
        let mut owners: Vec<u16> = self.keys.iter().map(|(_, key)| Slot::of(key).shard(shards)).collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    /// Whether EXEC must look at the keys themselves.
    pub fn is_doubtful(&self) -> bool {
        self.verdict.state() == DOUBTFUL
    }

    /// Whether no key has changed until now. To be asked where none of them can change, and after [`is_as_watched`] if it is doubtful.
    pub fn is_intact(&self, now: UnixMs) -> bool {
        self.verdict.state() != CHANGED && self.verdict.expires_at.load(Ordering::Acquire) > now
    }

    /// What shards need of it to register keys.
    pub fn watcher(&self) -> (u64, Arc<Verdict>) {
        (self.id, self.verdict.clone())
    }

    /// Bytes of heap, about.
    pub fn heap_bytes(&self) -> usize {
        self.keys.capacity() * size_of::<(u16, Box<[u8]>)>()
            + self.keys.iter().map(|(_, key)| key.len()).sum::<usize>()
    }
}

/// Who watches a key.
struct Watcher {
    verdict: Arc<Verdict>,
    /// Whether the key was there.
    existed: bool,
}

/// By client: one that ends has its entry at once, however many watch the key.
type Watchers = HashMap<u64, Watcher>;

type Keys = HashMap<Box<[u8]>, Watchers>;

/// The watched keys of a shard, by database.
#[derive(Default)]
struct Table {
    dbs: Vec<(u16, Keys)>,
}

impl Table {
    fn db(&mut self, db: u16) -> Option<&mut Keys> {
        self.dbs.iter_mut().find(|(number, _)| *number == db).map(|(_, keys)| keys)
    }

    fn watch(&mut self, db: u16, key: Box<[u8]>, id: u64, watcher: Watcher) {
        if self.db(db).is_none() {
            self.dbs.push((db, HashMap::new()));
        }
        let keys = self.db(db).expect("just added");
        keys.entry(key).or_default().entry(id).or_insert(watcher);
    }

    fn unwatch(&mut self, db: u16, key: &[u8], id: u64) {
        let Some(keys) = self.db(db) else { return };
        let Some(watchers) = keys.get_mut(key) else { return };
        watchers.remove(&id);
        if watchers.is_empty() {
            keys.remove(key);
        }
    }

    fn is_empty(&self) -> bool {
        self.dbs.iter().all(|(_, keys)| keys.is_empty())
    }

    /// The whole database has changed: those who saw a key there know by that; the others are given to `rest`.
    fn database_changed(&mut self, db: u16, rest: impl Fn(&Watcher)) {
        let Some(keys) = self.db(db) else { return };
        keys.retain(|_, watchers| {
            watchers.retain(|_, watcher| {
                if watcher.existed {
                    watcher.verdict.raise(CHANGED);
                } else {
                    rest(watcher);
                }
                !watcher.existed
            });
            !watchers.is_empty()
        });
    }
}

impl ChangeSink for Table {
    fn change(&mut self, _: u64, change: &Change<'_>) {
        match *change {
            Change::FlushDb { db } => self.database_changed(db, |_| {}),
            Change::SwapDb { a, b } => {
                for db in [a, b] {
                    self.database_changed(db, |watcher| watcher.verdict.raise(DOUBTFUL));
                }
            }
            _ => {
                let Some((db, key)) = change.key() else { return };
                let Some(keys) = self.db(db) else { return };
                let Some(watchers) = keys.get_mut(key) else { return };
                // A key whose time was over before it was watched was no key then either.
                let expired = matches!(change, Change::Delete { reason: DeleteReason::Expired, .. });
                watchers.retain(|_, watcher| {
                    let stays = expired && !watcher.existed;
                    if !stays {
                        watcher.verdict.raise(CHANGED);
                    }
                    stays
                });
                if watchers.is_empty() {
                    keys.remove(key);
                }
            }
        }
    }
}

/// The watched keys of a shard.
#[derive(Default)]
pub struct Watched {
    /// Attached to the shard's changes for as long as it is here.
    table: Option<Rc<RefCell<Table>>>,
}

impl Watched {
    /// How many keys are watched by somebody for whom none has changed yet. Looks at all of them.
    pub fn count(&self) -> usize {
        let Some(table) = &self.table else { return 0 };
        let awaited = |watchers: &Watchers| watchers.values().any(|w| w.verdict.state() != CHANGED);
        table
            .borrow()
            .dbs
            .iter()
            .map(|(_, keys)| keys.values().filter(|watchers| awaited(watchers)).count())
            .sum()
    }

    /// Whether there is no entry at all.
    pub fn is_empty(&self) -> bool {
        self.table.is_none()
    }

    /// Forgets a client's keys that are on this shard, of so many.
    pub fn forget(&mut self, watching: &Watching, shard: u16, shards: u16) {
        let Some(table) = &self.table else { return };
        let mut entries = table.borrow_mut();
        for (db, key) in watching.keys() {
            if Slot::of(key).shard(shards) == shard {
                entries.unwatch(db, key, watching.id);
            }
        }
        if entries.is_empty() {
            drop(entries);
            self.table = None;
        }
    }
}

/// Watches keys of this site for a client.
pub fn watch<E: Site>(
    site: &mut E,
    (id, verdict): (u64, Arc<Verdict>),
    view: View,
    keys: impl IntoIterator<Item = Box<[u8]>>,
) {
    let table = match &site.watched().table {
        Some(table) => table.clone(),
        None => {
            let table = Rc::new(RefCell::new(Table::default()));
            let observer: Weak<RefCell<Table>> = Rc::downgrade(&table);
            site.shard().keys.changes.observe(observer);
            site.watched().table = Some(table.clone());
            table
        }
    };
    for key in keys {
        let held = &mut site.shard().keys;
        let entry = held.peek(view, &held.key(&key));
        let existed = entry.is_some();
        if let Some(at) = entry.and_then(|entry| entry.expire_at()) {
            verdict.expires_at.fetch_min(at, Ordering::AcqRel);
        }
        let watcher = Watcher { verdict: verdict.clone(), existed };
        table.borrow_mut().watch(view.db, key, id, watcher);
    }
}

/// Whether the client's keys of this site are there as they were when they were watched; it is known of none of them that it has changed.
pub fn is_as_watched<E: Site>(site: &mut E, watching: &Watching, now: UnixMs) -> bool {
    let Some(table) = site.watched().table.clone() else { return true };
    // Looking at a key may remove it, of which the table is told: it must not be borrowed then.
    let here: Vec<(u16, &[u8], bool)> = {
        let mut table = table.borrow_mut();
        let mut existed = |db, key: &[u8]| Some(table.db(db)?.get(key)?.get(&watching.id)?.existed);
        // Without an entry it is a key of another shard.
        watching.keys().filter_map(|(db, key)| Some((db, key, existed(db, key)?))).collect()
    };
    here.into_iter().all(|(db, key, existed)| {
        let held = &mut site.shard().keys;
        held.exists(View { db, now, touch: false }, &held.key(key)) == existed
    })
}

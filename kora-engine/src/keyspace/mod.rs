//! The apply path: the only code that writes to the tables.
//!
//! A [`Keyspace`] owns the databases of one shard and keeps their tables private. Every method that changes data
//! makes the [`Change`] that says so; so a log, change data capture, notifications and indexes cannot
//! miss a write, whichever command made it. Reads expire lazily: a key past its time is removed (and the removal
//! is a change) before anybody sees it.

use crate::change::{Change, ChangeValue, Changes, DeleteReason, UnixMs};
use crate::error::Error;
use crate::limits::CURSOR_POSITION_BITS;
use crate::slot::Slot;
use crate::table::{
    Entry, EntryMut, KeyHash, NewValue, OwnedEntry, Position, Remains, Table, TableMemory, ValueRef,
};
use crate::value::hash::Hash;
use crate::value::list::List;
use crate::value::set::{Rules, Set};
use crate::value::stream::Stream;
use crate::value::zset::Zset;
use crate::value::{Collection, Held, Object};

mod access;
mod cut;
mod editor;
mod evict;
mod hash;
mod list;
mod relocate;
mod set;
mod slots;
mod stream;
mod string;
mod zset;

pub use access::{LfuRules, Usage};
pub use editor::Editor;
pub use evict::{Evicted, EvictionPolicy, EvictionRules};
pub use string::StringEditor;

use access::AccessClock;
use evict::Evictor;
use slots::SlotCounts;

/// Under which database, time and access rules a command sees the keys.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Database index, below the configured number.
    pub db: u16,
    /// The time of the command.
    pub now: UnixMs,
    /// Whether reads renew the access time (not under CLIENT NO-TOUCH, nor for TYPE, TTL, OBJECT and the like).
    pub touch: bool,
}

impl View {
    /// The same view, leaving access times alone.
    pub fn untouched(self) -> View {
        View { touch: false, ..self }
    }

    /// The same view of another database.
    pub fn in_db(self, db: u16) -> View {
        View { db, ..self }
    }
}

/// A key with its hash: hashed once, used in every step of a command and in every database of the shard.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    /// The key itself.
    pub bytes: &'a [u8],
    hash: KeyHash,
}

impl Key<'_> {
    /// 64 well mixed bits that are the same for the same key, in every database and on every shard of a process.
    #[inline]
    pub fn fingerprint(&self) -> u64 {
        self.hash.bits()
    }
}

/// What a write does to the expiry of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewExpiry {
    /// The key does not expire.
    Clear,
    /// As it was; a new key does not expire.
    Keep,
    /// At this time.
    At(UnixMs),
}

/// Counters of one shard's keyspace, for INFO.
#[derive(Debug, Default, Clone, Copy)]
pub struct KeyspaceStats {
    /// Lookups by reading commands that found a key.
    pub hits: u64,
    /// Lookups by reading commands that found none.
    pub misses: u64,
    /// Keys removed because their time ran out.
    pub expired: u64,
    /// Of these, found by the sweep and not by an access.
    pub expired_by_sweep: u64,
    /// Keys removed because memory was short.
    pub evicted: u64,
    /// Fields of hashes removed because their time ran out.
    pub expired_fields: u64,
}

/// Keys and expiring keys of one database, for INFO keyspace.
#[derive(Debug, Default, Clone, Copy)]
pub struct DbStats {
    /// Number of keys, expired ones that were not yet found included.
    pub keys: u64,
    /// How many of them have an expiry.
    pub expires: u64,
}

/// A change holds bytes that are not what they should be, or is of a database that there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes of a collection are malformed, or the database is not configured")]
pub struct Malformed;

/// All databases of one shard.
pub struct Keyspace {
    /// Private on purpose: whoever could write here could skip the change.
    dbs: Vec<Table>,
    /// Every change passes through here.
    pub changes: Changes,
    /// Counters.
    pub stats: KeyspaceStats,
    /// Seeds the hashes of keys, and of members of collections.
    seed: u64,
    /// Keeps the access fields of keys.
    access: AccessClock,
    /// Chooses the keys that go when memory is short.
    evictor: Evictor,
    /// Where records are being moved together.
    walk: relocate::Walk,
    /// Keys per slot, over all databases; only when executors present themselves as cluster nodes.
    slot_counts: SlotCounts,
    /// Dropped tables whose memory is freed in slices.
    remains: Vec<Remains>,
    /// Keys that were freed so.
    keys_freed: u64,
    /// Flushed tables of which something is owed to a cut; what it is told of is dropped next.
    detached: Vec<Table>,
    /// Where the expiry sweep goes on: database and the table's own cursor.
    sweep_db: usize,
    sweep_cursor: u64,
}

/// The parts of a keyspace beside its tables: usable while an entry of a table is borrowed.
struct Beside<'a> {
    changes: &'a mut Changes,
    stats: &'a mut KeyspaceStats,
    access: &'a mut AccessClock,
    slot_counts: &'a mut SlotCounts,
    /// What seeds the hash of a collection's members.
    seed: u64,
}

impl Beside<'_> {
    /// A command has used a key.
    #[inline(always)]
    fn touch(&mut self, view: View, entry: &mut EntryMut<'_>) {
        if view.touch {
            entry.set_access(self.access.renewed(view.now, entry.access()));
        }
    }

    /// A key's time has run out, and it has been removed.
    #[cold]
    fn expired(&mut self, db: u16, key: &[u8]) {
        self.stats.expired += 1;
        self.deleted(db, key, DeleteReason::Expired);
    }

    /// A key has been removed.
    fn deleted(&mut self, db: u16, key: &[u8], reason: DeleteReason) {
        self.changes.emit(Change::Delete { db, key, reason });
        self.slot_counts.count(db, key, -1);
    }
}

/// The collection of an entry.
#[inline(always)]
fn collection_of<T: Collection>(entry: Option<Entry<'_>>) -> Result<Option<Held<'_, T>>, Error> {
    match entry {
        None => Ok(None),
        Some(entry) => match entry.value() {
            ValueRef::Object(object) => object.get().map(Some).ok_or(Error::WRONG_TYPE),
            _ => Err(Error::WRONG_TYPE),
        },
    }
}

impl Keyspace {
    /// Empty databases. All hash with the same seed, so a key's hash holds in each.
    pub fn new(databases: u16, seed: u64, count_slots: bool) -> Keyspace {
        Keyspace {
            dbs: (0..databases).map(|_| Table::new(seed)).collect(),
            changes: Changes::default(),
            stats: KeyspaceStats::default(),
            seed,
            access: AccessClock::new(seed),
            evictor: Evictor::new(seed),
            walk: relocate::Walk::default(),
            slot_counts: SlotCounts::new(databases, count_slots),
            remains: Vec::new(),
            keys_freed: 0,
            detached: Vec::new(),
            sweep_db: 0,
            sweep_cursor: 0,
        }
    }

    /// A key, hashed.
    #[inline]
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        Key { bytes, hash: self.dbs[0].hash(bytes) }
    }

    /// Asks the processor for the cache line of the key's slot: the first of two or three that a command on it will wait for.
    #[inline]
    pub fn prefetch_slot(&self, db: u16, key: &Key<'_>) {
        self.dbs[db as usize].prefetch(key.hash);
    }

    /// Asks for the cache line of the key's record; its slot must be at hand by now. Of what it returns, if anything,
    /// [`Entry::prefetch_collection`] asks for the rest once the record is at hand.
    #[inline]
    pub fn prefetch_record(&self, db: u16, key: &Key<'_>) -> Option<Entry<'_>> {
        self.dbs[db as usize].prefetch_record(key.hash)
    }

    // ---- reads -------------------------------------------------------------------------------------------

    /// The entry of a live key, for a command that reads it: counts the hit or miss and renews the access time.
    #[inline]
    pub fn get(&mut self, view: View, key: &Key<'_>) -> Option<Entry<'_>> {
        let (entry, mut beside) = self.live(view, key);
        let Some(mut entry) = entry else {
            beside.stats.misses += 1;
            return None;
        };
        beside.stats.hits += 1;
        beside.touch(view, &mut entry);
        Some(entry.into_entry())
    }

    /// The entry of a live key, for a command that is about to write: no counting, no access time.
    #[inline]
    pub fn peek(&mut self, view: View, key: &Key<'_>) -> Option<Entry<'_>> {
        self.live(view, key).0.map(EntryMut::into_entry)
    }

    /// Whether the key is there and alive. Counts neither hit nor miss.
    #[inline]
    pub fn exists(&mut self, view: View, key: &Key<'_>) -> bool {
        self.live(view, key).0.is_some()
    }

    /// Removes those of these keys whose time has run out. What goes on in slices begins each of them with it: so it learns of that,
    /// as of any other change, which [`Keyspace::held`] does not see to.
    pub(crate) fn expire_now<K: AsRef<[u8]>>(&mut self, view: View, names: &[K]) {
        for name in names {
            let key = self.key(name.as_ref());
            self.exists(view, &key);
        }
    }

    /// What seeds the hash of a collection's members.
    pub fn collection_seed(&self) -> u64 {
        self.seed
    }

    /// The string at a live key, for a command that reads it: counts the hit or miss and renews the access time.
    ///
    /// # Errors
    /// The key holds a collection.
    #[inline]
    pub fn get_string(&mut self, view: View, key: &Key<'_>) -> Result<Option<Entry<'_>>, Error> {
        match self.get(view, key) {
            Some(entry) if entry.is_object() => Err(Error::WRONG_TYPE),
            found => Ok(found),
        }
    }

    /// As [`Keyspace::get_string`], without counting and touching: what a command asks that is about to write.
    ///
    /// # Errors
    /// The key holds a collection.
    #[inline]
    pub fn peek_string(&mut self, view: View, key: &Key<'_>) -> Result<Option<Entry<'_>>, Error> {
        match self.peek(view, key) {
            Some(entry) if entry.is_object() => Err(Error::WRONG_TYPE),
            found => Ok(found),
        }
    }

    /// The collection at a live key, for a command that reads it: counts the hit or miss and renews the access time.
    ///
    /// # Errors
    /// The key holds another type.
    #[inline]
    pub fn read<T: Collection>(&mut self, view: View, key: &Key<'_>) -> Result<Option<Held<'_, T>>, Error> {
        collection_of(self.get(view, key))
    }

    /// As [`Keyspace::read`], without counting and touching.
    ///
    /// # Errors
    /// The key holds another type.
    #[inline]
    pub fn look<T: Collection>(&mut self, view: View, key: &Key<'_>) -> Result<Option<Held<'_, T>>, Error> {
        collection_of(self.peek(view, key))
    }

    /// The collection at a key, for a command that has asked for several keys ([`Keyspace::read`], which also removed what had
    /// expired) and now needs all of them together. None also when the key holds another type.
    pub(crate) fn held<T: Collection>(&self, db: u16, key: &Key<'_>) -> Option<Held<'_, T>> {
        match self.dbs[db as usize].get(key.hash, key.bytes)?.value() {
            ValueRef::Object(object) => object.get(),
            _ => None,
        }
    }

    /// Where a live key is. An expired one is removed first.
    #[inline(always)]
    fn find_live(&mut self, view: View, key: &Key<'_>) -> Option<Position> {
        let table = &mut self.dbs[view.db as usize];
        let position = table.find(key.hash, key.bytes)?;
        let entry = table.at(position);
        if entry.expire_at().is_some_and(|at| at < view.now) {
            drop(entry.take());
            self.beside().expired(view.db, key.bytes);
            return None;
        }
        Some(position)
    }

    /// A live key's entry, and what of the keyspace the entry does not borrow. An expired key is removed first.
    #[inline(always)]
    fn live(&mut self, view: View, key: &Key<'_>) -> (Option<EntryMut<'_>>, Beside<'_>) {
        let mut beside = Beside {
            changes: &mut self.changes,
            stats: &mut self.stats,
            access: &mut self.access,
            slot_counts: &mut self.slot_counts,
            seed: self.seed,
        };
        let entry = match self.dbs[view.db as usize].get_mut(key.hash, key.bytes) {
            Some(entry) if entry.expire_at().is_some_and(|at| at < view.now) => {
                drop(entry.take());
                beside.expired(view.db, key.bytes);
                None
            }
            entry => entry,
        };
        (entry, beside)
    }

    // ---- writes ------------------------------------------------------------------------------------------

    /// Gives the key this value, whatever it was.
    #[inline]
    pub fn set(&mut self, view: View, key: &Key<'_>, value: NewValue<'_>, expiry: NewExpiry) {
        let expire_at = match expiry {
            NewExpiry::Clear => None,
            NewExpiry::At(at) => Some(at),
            NewExpiry::Keep => self.expiry_of(view, key),
        };
        self.changes.emit(Change::Set {
            db: view.db,
            key: key.bytes,
            value: match &value {
                NewValue::Int(n) => ChangeValue::Int(*n),
                NewValue::Bytes(b) => ChangeValue::Bytes(b),
                NewValue::Shared(b) => ChangeValue::Bytes(b),
            },
            expire_at,
        });
        let access = self.access_after_write(view, key);
        let table = &mut self.dbs[view.db as usize];
        let replaced = table.insert(key.hash, key.bytes, value, expire_at, access);
        if !replaced {
            self.slot_counts.count(view.db, key.bytes, 1);
        }
    }

    /// The access field of a key whose value is about to be replaced.
    #[inline(always)]
    fn access_after_write(&mut self, view: View, key: &Key<'_>) -> u32 {
        if self.access.counts_frequency() {
            return self.frequency_after_write(view, key);
        }
        self.access.fresh(view.now)
    }

    /// A new value does not make a key less used than it was.
    #[cold]
    #[inline(never)]
    fn frequency_after_write(&mut self, view: View, key: &Key<'_>) -> u32 {
        match self.dbs[view.db as usize].get(key.hash, key.bytes) {
            Some(entry) => self.access.renewed(view.now, entry.access()),
            None => self.access.fresh(view.now),
        }
    }

    #[inline(never)] // keeps the lookup out of the plain SET
    fn expiry_of(&mut self, view: View, key: &Key<'_>) -> Option<UnixMs> {
        self.peek(view, key).and_then(|entry| entry.expire_at())
    }

    /// The collection at a live key, for changing it.
    ///
    /// # Errors
    /// The key holds another type.
    #[inline]
    pub fn edit<'k, T: Collection>(
        &'k mut self,
        view: View,
        key: &Key<'k>,
    ) -> Result<Option<Editor<'k, T>>, Error> {
        match self.find_live(view, key) {
            None => Ok(None),
            Some(position) => self.editor(view, key, position, false).map(Some),
        }
    }

    /// The collection at a key, for changing it: an empty one when there was none.
    ///
    /// # Errors
    /// The key holds another type.
    #[inline]
    pub fn edit_or_create<'k, T: Collection>(
        &'k mut self,
        view: View,
        key: &Key<'k>,
    ) -> Result<Editor<'k, T>, Error> {
        if let Some(position) = self.find_live(view, key) {
            return self.editor(view, key, position, false);
        }
        let empty = T::new(self.seed).into_object();
        let table = &mut self.dbs[view.db as usize];
        table.insert_object(key.hash, key.bytes, empty, None, self.access.fresh(view.now));
        let position = table.find(key.hash, key.bytes).expect("it has just been inserted");
        self.slot_counts.count(view.db, key.bytes, 1);
        self.editor(view, key, position, true)
    }

    #[inline(always)]
    fn editor<'k, T: Collection>(
        &'k mut self,
        view: View,
        key: &Key<'k>,
        position: Position,
        created: bool,
    ) -> Result<Editor<'k, T>, Error> {
        let mut beside = Beside {
            changes: &mut self.changes,
            stats: &mut self.stats,
            access: &mut self.access,
            slot_counts: &mut self.slot_counts,
            seed: self.seed,
        };
        let mut entry = self.dbs[view.db as usize].at(position);
        if !created {
            beside.touch(view, &mut entry);
        }
        Editor::new(entry, beside, view.db, key.bytes, created).ok_or(Error::WRONG_TYPE)
    }

    /// Gives the key this collection, whatever it was, without an expiry; an empty one removes the key.
    pub fn store<T: Collection>(&mut self, view: View, key: &Key<'_>, value: T) {
        if value.is_empty() && !T::KEEP_EMPTY {
            self.remove(view, key);
            return;
        }
        self.put_object(view, key, value.into_object(), None);
    }

    /// Gives the key this object, whatever it was.
    pub fn put_object(&mut self, view: View, key: &Key<'_>, object: Object, expire_at: Option<UnixMs>) {
        let value = ChangeValue::Object(object.borrowed());
        self.changes.emit(Change::Set { db: view.db, key: key.bytes, value, expire_at });
        let access = self.access_after_write(view, key);
        let table = &mut self.dbs[view.db as usize];
        let replaced = table.insert_object(key.hash, key.bytes, object, expire_at, access);
        if !replaced {
            self.slot_counts.count(view.db, key.bytes, 1);
        }
    }

    /// Adds to the integer at the key (0 when it is missing) and keeps its expiry.
    ///
    /// # Errors
    /// The value is not a string or not an integer, or the sum does not fit in 64 bits; nothing is changed.
    pub fn add(&mut self, view: View, key: &Key<'_>, delta: i64) -> Result<i64, Error> {
        let (entry, mut beside) = self.live(view, key);
        let Some(mut entry) = entry else {
            self.set(view, key, NewValue::Int(delta), NewExpiry::Clear);
            return Ok(delta);
        };
        let old = match entry.value() {
            ValueRef::Int(n) => n,
            ValueRef::Bytes(text) => crate::args::parse_i64(text).ok_or(Error::NOT_INTEGER)?,
            ValueRef::Shared(_) => return Err(Error::NOT_INTEGER),
            ValueRef::Object(_) => return Err(Error::WRONG_TYPE),
        };
        let sum = old.checked_add(delta).ok_or(Error::OVERFLOW)?;
        let expire_at = entry.expire_at();
        entry.set_int(sum);
        beside.touch(view, &mut entry);
        beside.changes.emit(Change::Set {
            db: view.db,
            key: key.bytes,
            value: ChangeValue::Int(sum),
            expire_at,
        });
        Ok(sum)
    }

    /// Adds bytes at the end of the key's value (an empty one when it is missing); returns the new length.
    /// The caller has checked the length limit.
    pub fn append(&mut self, view: View, key: &Key<'_>, tail: &[u8]) -> usize {
        let (entry, mut beside) = self.live(view, key);
        let Some(mut entry) = entry else {
            self.set(view, key, NewValue::Bytes(tail), NewExpiry::Clear);
            return tail.len();
        };
        entry.append(tail);
        beside.touch(view, &mut entry);
        beside.changes.emit(Change::Append { db: view.db, key: key.bytes, tail });
        entry.value().len()
    }

    /// Writes bytes at an offset of the key's value (an empty one when it is missing), filling a gap with zero bytes;
    /// returns the new length. The caller has checked that the result is within the length limit.
    pub fn write_at(&mut self, view: View, key: &Key<'_>, offset: u32, bytes: &[u8]) -> usize {
        let created = !self.exists(view, key);
        if created {
            // Not a change of its own: the one below says it all.
            let access = self.access.fresh(view.now);
            self.dbs[view.db as usize].insert(key.hash, key.bytes, NewValue::Bytes(b""), None, access);
            self.slot_counts.count(view.db, key.bytes, 1);
        }
        let (entry, mut beside) = self.live(view, key);
        let mut entry = entry.expect("it was there or has just been made");
        if !created {
            beside.touch(view, &mut entry);
        }
        entry.write_at(offset as usize, bytes);
        let len = entry.value().len();
        beside.changes.emit(Change::SetRange { db: view.db, key: key.bytes, offset, bytes });
        len
    }

    /// Changes only the expiry of a live key. Returns whether there was one.
    pub fn set_expiry(&mut self, view: View, key: &Key<'_>, expire_at: Option<UnixMs>) -> bool {
        let (entry, mut beside) = self.live(view, key);
        let Some(mut entry) = entry else { return false };
        entry.set_expire_at(expire_at);
        beside.touch(view, &mut entry);
        beside.changes.emit(Change::Expire { db: view.db, key: key.bytes, expire_at });
        true
    }

    /// Says how a live key was used before it came here. It holds the same as before: no change.
    pub fn set_usage(&mut self, view: View, key: &Key<'_>, usage: Usage) {
        let (Some(mut entry), beside) = self.live(view, key) else { return };
        if let Some(field) = beside.access.of_usage(view.now, usage) {
            entry.set_access(field);
        }
    }

    /// Removes a live key by command. Returns whether there was one.
    pub fn remove(&mut self, view: View, key: &Key<'_>) -> bool {
        self.take(view, key).is_some()
    }

    /// Takes a live key out, value and expiry, to put it somewhere else.
    pub fn take(&mut self, view: View, key: &Key<'_>) -> Option<OwnedEntry> {
        let (entry, mut beside) = self.live(view, key);
        let entry = entry?.take();
        beside.deleted(view.db, key.bytes, DeleteReason::Command);
        Some(entry)
    }

    /// A copy of a live key's value and expiry. Large values are shared, not copied.
    pub fn copy_of(&mut self, view: View, key: &Key<'_>) -> Option<OwnedEntry> {
        self.peek(view, key).map(|entry| entry.to_owned())
    }

    /// Puts a taken or copied entry under a key, replacing what is there. It counts as new: nobody has used it under this key.
    pub fn put(&mut self, view: View, key: &Key<'_>, entry: OwnedEntry) {
        let source = entry.entry();
        self.changes.emit(Change::Set {
            db: view.db,
            key: key.bytes,
            value: source.value().into(),
            expire_at: source.expire_at(),
        });
        let table = &mut self.dbs[view.db as usize];
        let replaced = table.insert_owned(key.hash, key.bytes, entry);
        if let Some(mut entry) = table.get_mut(key.hash, key.bytes) {
            entry.set_access(self.access.fresh(view.now));
        }
        if !replaced {
            self.slot_counts.count(view.db, key.bytes, 1);
        }
    }

    /// Lets a copy of another shard's key in, so that a command can read it here. It makes no change, and
    /// [`Keyspace::dismiss_guest`] follows before anybody else looks.
    pub fn admit_guest(&mut self, db: u16, key: &Key<'_>, entry: OwnedEntry) {
        let replaced = self.dbs[db as usize].insert_owned(key.hash, key.bytes, entry);
        debug_assert!(!replaced, "a key belongs to one shard");
    }

    /// Removes a guest.
    pub fn dismiss_guest(&mut self, db: u16, key: &Key<'_>) {
        self.dbs[db as usize].remove(key.hash, key.bytes);
    }

    /// Empties a database at once; its memory is freed in slices by [`Keyspace::free_remains`].
    pub fn flush_db(&mut self, db: u16) {
        let table = &mut self.dbs[db as usize];
        if table.is_empty() {
            return;
        }
        if table.is_wanted() {
            self.detached.push(table.detach());
        } else {
            self.remains.push(table.take_all());
        }
        self.slot_counts.clear(db);
        self.changes.emit(Change::FlushDb { db });
    }

    /// Exchanges two databases.
    pub fn swap_db(&mut self, a: u16, b: u16) {
        if a != b {
            self.dbs.swap(a as usize, b as usize);
            self.slot_counts.swap(a, b);
            self.evictor.forget();
            self.changes.emit(Change::SwapDb { a, b });
        }
    }

    /// Applies a change that another shard, or this one in an earlier life, has made.
    ///
    /// # Errors
    /// The bytes of an encoded collection are not one, or there is no such database; nothing is changed.
    pub fn replay(&mut self, change: &Change<'_>, now: UnixMs) -> Result<(), Malformed> {
        let last_db = match *change {
            Change::FlushDb { db } => db,
            Change::SwapDb { a, b } => a.max(b),
            _ => change.key().map_or(0, |(db, _)| db),
        };
        if last_db >= self.databases() {
            return Err(Malformed);
        }
        // Time does not pass during a replay: expiries come as changes of their own.
        let view = |db: u16| View { db, now: 0, touch: false };
        match *change {
            Change::Set { db, key, value: ChangeValue::Object(object), expire_at } => {
                let key = self.key(key);
                self.put_object(View { db, now, touch: false }, &key, object.with(Object::clone), expire_at);
            }
            Change::Set { db, key, value: ChangeValue::Encoded { kind, bytes }, expire_at } => {
                let object = Object::decode(kind, bytes, self.seed).ok_or(Malformed)?;
                let key = self.key(key);
                self.put_object(View { db, now, touch: false }, &key, object, expire_at);
            }
            Change::Set { db, key, value, expire_at } => {
                let value = match value {
                    ChangeValue::Int(n) => NewValue::Int(n),
                    ChangeValue::Bytes(b) => NewValue::Bytes(b),
                    ChangeValue::Object(_) | ChangeValue::Encoded { .. } => unreachable!("matched above"),
                };
                let expiry = expire_at.map_or(NewExpiry::Clear, NewExpiry::At);
                let key = self.key(key);
                self.set(View { db, now, touch: false }, &key, value, expiry);
            }
            Change::Append { db, key, tail } => {
                let key = self.key(key);
                self.append(view(db), &key, tail);
            }
            Change::SetRange { db, key, offset, bytes } => {
                let key = self.key(key);
                self.write_at(view(db), &key, offset, bytes);
            }
            Change::Splice { db, key, offset, removed, bytes } => {
                let key = self.key(key);
                if let Ok(Some(mut string)) = self.edit_string(view(db), &key) {
                    string.splice(offset, removed, bytes);
                }
            }
            Change::Expire { db, key, expire_at } => {
                let key = self.key(key);
                self.set_expiry(view(db), &key, expire_at);
            }
            Change::StreamEdit { db, key, edit } => {
                let key = self.key(key);
                self.edit_or_create::<Stream>(view(db), &key).map_err(|_| Malformed)?.replay(edit)?;
            }
            Change::ZsetEdit { db, key, edit } => {
                let (key, seed) = (self.key(key), self.seed);
                self.edit_or_create::<Zset>(view(db), &key).map_err(|_| Malformed)?.replay(edit, seed);
            }
            Change::Delete { db, key, reason } => {
                let key = self.key(key);
                self.delete(db, &key, reason);
            }
            Change::HashEdit { db, key, edit } => {
                let key = self.key(key);
                // A key of another type has been replaced by changes of their own: these never meet one.
                if let Ok(mut editor) = self.edit_or_create::<Hash>(view(db), &key) {
                    if !editor.replay(edit) {
                        return Err(Malformed);
                    }
                }
            }
            Change::ListEdit { db, key, edit } => {
                let key = self.key(key);
                // Over a key of another type it has no meaning.
                if let Ok(mut list) = self.edit_or_create::<List>(view(db), &key) {
                    list.replay(edit);
                }
            }
            Change::SetEdit { db, key, edit } => {
                let (key, rules) = (self.key(key), Rules::unlimited(self.seed));
                self.edit_or_create::<Set>(view(db), &key).map_err(|_| Malformed)?.replay(edit, &rules);
            }
            Change::FlushDb { db } => self.flush_db(db),
            Change::SwapDb { a, b } => self.swap_db(a, b),
        }
        Ok(())
    }

    fn delete(&mut self, db: u16, key: &Key<'_>, reason: DeleteReason) -> bool {
        let removed = self.dbs[db as usize].remove(key.hash, key.bytes);
        if removed {
            self.beside().deleted(db, key.bytes, reason);
        }
        removed
    }

    fn beside(&mut self) -> Beside<'_> {
        Beside {
            changes: &mut self.changes,
            stats: &mut self.stats,
            access: &mut self.access,
            slot_counts: &mut self.slot_counts,
            seed: self.seed,
        }
    }

    // ---- walks -------------------------------------------------------------------------------------------

    /// Visits about `count` entries from a position in hash order; returns the next position, 0 at the end. Entries
    /// past their expiry are left out (and left in place: a visit does not write).
    pub fn scan(&self, view: View, position: u64, count: usize, visit: &mut dyn FnMut(Entry<'_>)) -> u64 {
        debug_assert!(position < 1 << CURSOR_POSITION_BITS);
        self.dbs[view.db as usize].scan(position, count, &mut |entry| {
            if entry.expire_at().is_none_or(|at| at >= view.now) {
                visit(entry)
            }
        })
    }

    /// A uniformly random live key. Expired keys that are met are removed; when nearly all are expired it gives up
    /// after a hundred and answers with what it has, as Redis does.
    pub fn random_key(&mut self, view: View, random: &mut dyn FnMut() -> u64) -> Option<Vec<u8>> {
        let mut last = None;
        for _ in 0..100 {
            let (bytes, expired) = {
                let entry = self.dbs[view.db as usize].random(random)?;
                (entry.key().to_vec(), entry.expire_at().is_some_and(|at| at < view.now))
            };
            if !expired {
                return Some(bytes);
            }
            let key = self.key(&bytes);
            if self.dbs[view.db as usize].remove(key.hash, key.bytes) {
                self.beside().expired(view.db, key.bytes);
            }
            last = Some(bytes);
        }
        last
    }

    /// Removes keys that are past their expiry, visiting at most `segments` segments; returns whether it found so
    /// much to do that it should be called again soon.
    pub fn sweep_expired(&mut self, now: UnixMs, segments: usize) -> bool {
        for _ in 0..self.dbs.len() {
            if self.dbs[self.sweep_db].expires_len() > 0 {
                break;
            }
            self.next_sweep_db();
        }
        let db = self.sweep_db as u16;
        let table = &mut self.dbs[self.sweep_db];
        if table.expires_len() == 0 {
            return false;
        }
        let (changes, stats, counts) = (&mut self.changes, &mut self.stats, &mut self.slot_counts);
        let swept = table.sweep_expired(now, &mut self.sweep_cursor, segments, &mut |entry| {
            stats.expired += 1;
            stats.expired_by_sweep += 1;
            changes.emit(Change::Delete { db, key: entry.key(), reason: DeleteReason::Expired });
            counts.count(db, entry.key(), -1);
        });
        if self.sweep_cursor == 0 {
            self.next_sweep_db();
        }
        swept.removed > 0
    }

    fn next_sweep_db(&mut self) {
        self.sweep_db = (self.sweep_db + 1) % self.dbs.len();
        self.sweep_cursor = 0;
    }

    /// Frees about so many blocks of the memory of flushed databases; returns whether some is left.
    pub fn free_remains(&mut self, blocks: usize) -> bool {
        if let Some(remains) = self.remains.last_mut() {
            let keys = remains.keys();
            let done = remains.free_some(blocks);
            self.keys_freed += (keys - remains.keys()) as u64;
            if done {
                self.remains.pop();
            }
        }
        !self.remains.is_empty()
    }

    /// Whether memory of flushed databases can be freed.
    pub fn has_remains(&self) -> bool {
        !self.remains.is_empty()
    }

    /// Keys of flushed databases whose memory is not freed yet, and how many have been freed.
    pub fn remains(&self) -> (usize, u64) {
        let keys = self.remains.iter().map(Remains::keys).chain(self.detached.iter().map(Table::len)).sum();
        (keys, self.keys_freed)
    }

    /// How often a key with this access field is used, on Redis's logarithmic scale; `None` when that is not counted.
    pub fn frequency(&self, now: UnixMs, access: u32) -> Option<u8> {
        self.access.frequency(now, access)
    }

    /// Seconds since a key with this access field was used; `None` when that is not noted.
    pub fn idle_seconds(&self, now: UnixMs, access: u32) -> Option<u64> {
        self.access.idle_seconds(now, access)
    }

    // ---- facts -------------------------------------------------------------------------------------------

    /// Number of databases.
    pub fn databases(&self) -> u16 {
        self.dbs.len() as u16
    }

    /// Keys in a database, expired ones that were not yet found included.
    pub fn len(&self, db: u16) -> usize {
        self.dbs[db as usize].len()
    }

    /// Keys in all databases together.
    pub fn all_len(&self) -> usize {
        self.dbs.iter().map(Table::len).sum()
    }

    /// Whether a database has no keys.
    pub fn is_empty(&self, db: u16) -> bool {
        self.len(db) == 0
    }

    /// Keys and expiring keys of a database.
    pub fn db_stats(&self, db: u16) -> DbStats {
        let table = &self.dbs[db as usize];
        DbStats { keys: table.len() as u64, expires: table.expires_len() as u64 }
    }

    /// Whether any key of any database, or any element of a collection, has an expiry: an executor without one may sleep longer.
    pub fn any_expires(&self) -> bool {
        self.dbs.iter().any(|t| t.expires_len() > 0 || t.may_expire_inside())
    }

    /// Memory of all tables together.
    pub fn memory(&self) -> TableMemory {
        let mut sum = TableMemory::default();
        for table in &self.dbs {
            sum += table.memory();
        }
        sum
    }

    /// Keys in a cluster slot over all databases; `None` when slots are not counted.
    pub fn slot_count(&self, slot: Slot) -> Option<u32> {
        self.slot_counts.of(slot)
    }
}

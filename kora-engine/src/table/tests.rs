//! The table against a `BTreeMap` that behaves as it must, and the promises that a map does not show: scan, sweep,
//! sharing of large values, memory that comes back.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// Small segments, so that a few hundred keys split, merge and rebuild all the time.
const SMALL_TOP: usize = 32;

const CASES: u32 = if cfg!(miri) { 3 } else { 160 };
const STEPS: usize = if cfg!(miri) { 60 } else { 1500 };

pub(super) fn small_table() -> Table {
    Table::with_top_words(42, SMALL_TOP)
}

fn key(id: u16) -> Vec<u8> {
    match id % 16 {
        0 => format!("a-rather-long-key-that-spans-two-cache-lines-or-even-three:{id:050}").into_bytes(),
        1 => id.to_le_bytes().to_vec(),
        2 => format!("{id}").into_bytes(),
        _ => format!("key:{id:012}").into_bytes(),
    }
}

fn text(value: ValueRef<'_>) -> Vec<u8> {
    match value {
        ValueRef::Int(int) => int.to_string().into_bytes(),
        ValueRef::Bytes(bytes) => bytes.to_vec(),
        ValueRef::Shared(bytes) => bytes.to_vec(),
        ValueRef::Object(object) => panic!("{object:?} in a table of strings"),
    }
}

fn rng(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

#[derive(Clone, Debug)]
enum Value {
    Int(i64),
    Bytes(usize),
    Shared(usize),
}

impl Value {
    fn bytes(&self, fill: u8) -> Vec<u8> {
        match *self {
            Value::Int(int) => int.to_string().into_bytes(),
            Value::Bytes(len) | Value::Shared(len) => vec![fill; len],
        }
    }

    fn with_new<T>(&self, fill: u8, f: impl FnOnce(NewValue<'_>) -> T) -> T {
        match *self {
            Value::Int(int) => f(NewValue::Int(int)),
            Value::Bytes(len) => f(NewValue::Bytes(&vec![fill; len])),
            Value::Shared(len) => f(NewValue::Shared(Bytes::from(vec![fill; len]))),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16, Value, Option<u64>),
    Remove(u16),
    Rename(u16, u16),
    Get(u16),
    Int(u16, i64),
    SetValue(u16, Value),
    Expire(u16, Option<u64>),
    Append(u16, usize),
    WriteAt(u16, usize, usize),
    /// Where, how many bytes go (both cut to what is there) and how many come.
    Splice(u16, usize, usize, usize),
    Access(u16, u32),
    Sweep(usize),
    Tick(u64),
    Random(u64),
    TakeAll,
    /// Removes every key but a few, so that segments merge.
    Thin(u16),
    /// Begins a cut, or does so much work for the one under way.
    Cut(usize),
    GiveUpCut,
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => any::<i64>().prop_map(Value::Int),
        8 => (0usize..100).prop_map(Value::Bytes),
        1 => (900usize..1200).prop_map(Value::Bytes),
        1 => (INLINE_VALUE_MAX - 1..INLINE_VALUE_MAX + 2).prop_map(Value::Bytes),
        1 => prop_oneof![Just(10), Just(INLINE_VALUE_MAX), Just(INLINE_VALUE_MAX + 7)].prop_map(Value::Shared),
    ]
}

fn step(keys: u16) -> impl Strategy<Value = Step> {
    let id = 0..keys;
    let expiry = || proptest::option::weighted(0.4, 0u64..2000);
    prop_oneof![
        300 => (id.clone(), value(), expiry()).prop_map(|(k, v, e)| Step::Insert(k, v, e)),
        150 => id.clone().prop_map(Step::Remove),
        30 => (id.clone(), id.clone()).prop_map(|(a, b)| Step::Rename(a, b)),
        100 => id.clone().prop_map(Step::Get),
        30 => (id.clone(), any::<i64>()).prop_map(|(k, i)| Step::Int(k, i)),
        30 => (id.clone(), value()).prop_map(|(k, v)| Step::SetValue(k, v)),
        40 => (id.clone(), expiry()).prop_map(|(k, e)| Step::Expire(k, e)),
        30 => (id.clone(), prop_oneof![0usize..40, 500usize..600]).prop_map(|(k, n)| Step::Append(k, n)),
        30 => (id.clone(), prop_oneof![10 => 0usize..60, 10 => 0usize..3000, 1 => 300_000usize..600_000], 0usize..40)
            .prop_map(|(k, o, n)| Step::WriteAt(k, o, n)),
        30 => (id.clone(), 0usize..120, 0usize..60, prop_oneof![0usize..60, 900usize..1300])
            .prop_map(|(k, o, r, n)| Step::Splice(k, o, r, n)),
        20 => (id.clone(), any::<u32>()).prop_map(|(k, a)| Step::Access(k, a)),
        40 => (1usize..4).prop_map(Step::Sweep),
        40 => (0u64..60).prop_map(Step::Tick),
        20 => any::<u64>().prop_map(Step::Random),
        1 => Just(Step::TakeAll),
        4 => id.prop_map(Step::Thin),
        40 => (1usize..2000).prop_map(Step::Cut),
        2 => Just(Step::GiveUpCut),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Model {
    value: Vec<u8>,
    expire_at: Option<u64>,
    access: u32,
}

fn assert_entry(entry: Entry<'_>, key: &[u8], model: &Model) {
    assert_eq!(entry.key(), key);
    assert_eq!(text(entry.value()), model.value);
    assert_eq!(entry.expire_at(), model.expire_at);
    assert_eq!(entry.access(), model.access & ACCESS_MASK);
    assert!(entry.memory_usage() >= 16 + key.len());
}

/// What a cut has told.
#[derive(Default)]
struct Told(BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>);

impl CutSink for Told {
    fn save(&mut self, db: u16, entry: &Entry<'_>) -> usize {
        assert_eq!(db, 7);
        let (key, value) = (entry.key().to_vec(), (text(entry.value()), entry.expire_at()));
        let work = key.len() + value.0.len();
        assert!(self.0.insert(key, value).is_none(), "a record is told once");
        work
    }
}

/// A cut under way and what it must tell.
struct CutModel {
    told: Arc<Mutex<Told>>,
    expected: BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>,
}

impl CutModel {
    fn begin(table: &mut Table, model: &BTreeMap<Vec<u8>, Model>) -> CutModel {
        let told = Arc::new(Mutex::new(Told::default()));
        let sink: SharedSink = told.clone();
        table.begin_cut(7, &sink);
        assert_eq!(table.owed(), model.len());
        let expected = model.iter().map(|(k, m)| (k.clone(), (m.value.clone(), m.expire_at))).collect();
        CutModel { told, expected }
    }

    fn check(self) {
        assert_eq!(self.told.lock().unwrap().0, self.expected);
    }
}

fn run(mut table: Table, steps: &[Step]) {
    let mut cut: Option<CutModel> = None;
    let mut model: BTreeMap<Vec<u8>, Model> = BTreeMap::new();
    let (mut now, mut cursor) = (0u64, 0u64);
    let mut remains: Option<Remains> = None;
    for (number, step) in steps.iter().enumerate() {
        let fill = number as u8;
        match step {
            Step::Insert(id, value, expire_at) => {
                let (key, hash) = (key(*id), table.hash(&key(*id)));
                let access = number as u32 * 77_777;
                let replaced = value.with_new(fill, |new| table.insert(hash, &key, new, *expire_at, access));
                let new = Model { value: value.bytes(fill), expire_at: *expire_at, access };
                assert_eq!(replaced, model.insert(key, new).is_some());
            }
            Step::Remove(id) => {
                let key = key(*id);
                assert_eq!(table.remove(table.hash(&key), &key), model.remove(&key).is_some());
            }
            Step::Rename(from, to) => {
                let (from, to) = (key(*from), key(*to));
                let owned = table.take(table.hash(&from), &from);
                assert_eq!(owned.is_some(), model.contains_key(&from));
                if let Some(owned) = owned {
                    let moved = model.remove(&from).unwrap();
                    assert_entry(owned.entry(), &from, &moved);
                    let replaced = table.insert_owned(table.hash(&to), &to, owned);
                    assert_eq!(replaced, model.insert(to, moved).is_some());
                }
            }
            Step::Get(id) => {
                let key = key(*id);
                let hash = table.hash(&key);
                table.prefetch(hash);
                let probable = table.prefetch_record(hash);
                assert!(probable.is_some() || !model.contains_key(&key));
                if let Some(entry) = probable {
                    assert!(entry.prefetch_collection(Some((b"m", b"m"))).is_none());
                }
                let entry = table.get(hash, &key);
                assert_eq!(entry.is_some(), model.contains_key(&key));
                if let Some(entry) = entry {
                    assert_entry(entry, &key, &model[&key]);
                }
            }
            Step::Int(..)
            | Step::SetValue(..)
            | Step::Expire(..)
            | Step::Append(..)
            | Step::WriteAt(..)
            | Step::Splice(..)
            | Step::Access(..) => change(&mut table, &mut model, step, fill),
            Step::Tick(ms) => now += ms,
            Step::Sweep(segments) => {
                let due = table.next_expiry_bound();
                let mut gone = Vec::new();
                let before = table.len();
                let stats = table.sweep_expired(now, &mut cursor, *segments, &mut |entry| {
                    assert!(entry.expire_at().unwrap() < now);
                    gone.push(entry.key().to_vec());
                });
                assert!(gone.is_empty() || due.unwrap() < now);
                assert_eq!((stats.removed, before - table.len()), (gone.len(), gone.len()));
                assert!(stats.opened <= *segments);
                for key in gone {
                    assert!(model.remove(&key).unwrap().expire_at.unwrap() < now);
                }
            }
            Step::Random(seed) => match table.random(&mut rng(*seed)) {
                Some(entry) => assert_entry(entry, entry.key(), &model[entry.key()]),
                None => assert!(model.is_empty()),
            },
            Step::Cut(work) if cut.is_some() => {
                if table.walk_cut(&mut work.clone()) {
                    cut.take().into_iter().for_each(CutModel::check);
                }
            }
            Step::Cut(_) => {
                // What is left of one that was given up.
                while !table.walk_cut(&mut 1000) {}
                cut = Some(CutModel::begin(&mut table, &model));
            }
            Step::GiveUpCut => {
                table.give_up_cut();
                cut = None;
            }
            Step::TakeAll => {
                let mut all = table.detach();
                while all.is_wanted() && !all.walk_cut(&mut 1000) {}
                cut.take().into_iter().for_each(CutModel::check);
                remains = Some(all.take_all());
                model.clear();
                assert_eq!(table.memory().records, 0);
            }
            Step::Thin(keep) => {
                let doomed: Vec<_> = model.keys().filter(|k| **k != key(*keep)).cloned().collect();
                for key in doomed.iter().skip(5) {
                    assert!(table.remove(table.hash(key), key));
                    model.remove(key);
                }
            }
        }
        if let Some(left) = &mut remains {
            if left.free_some(1) {
                remains = None;
            }
        }
        assert_eq!(table.len(), model.len());
        assert_eq!(table.expires_len(), model.values().filter(|m| m.expire_at.is_some()).count());
        if number % 16 == 0 {
            table.check();
        }
    }
    table.check();
    while !table.walk_cut(&mut 100) {}
    cut.into_iter().for_each(CutModel::check);
    table.check();
    for (key, expected) in &model {
        assert_entry(table.get(table.hash(key), key).unwrap(), key, expected);
    }
}

/// The steps that change one key through `EntryMut`.
fn change(table: &mut Table, model: &mut BTreeMap<Vec<u8>, Model>, step: &Step, fill: u8) {
    let (Step::Int(id, ..)
    | Step::SetValue(id, ..)
    | Step::Expire(id, ..)
    | Step::Append(id, ..)
    | Step::WriteAt(id, ..)
    | Step::Splice(id, ..)
    | Step::Access(id, ..)) = step
    else {
        unreachable!("not a change of one key")
    };
    let key = key(*id);
    let hash = table.hash(&key);
    let Some(mut entry) = table.get_mut(hash, &key) else {
        assert!(!model.contains_key(&key));
        return;
    };
    let expected = model.get_mut(&key).unwrap();
    let held = match entry.value() {
        ValueRef::Shared(bytes) => Some((bytes.clone(), expected.value.clone())),
        _ => None,
    };
    match step {
        Step::Int(_, int) => {
            entry.set_int(*int);
            expected.value = int.to_string().into_bytes();
        }
        Step::SetValue(_, value) => {
            value.with_new(fill, |new| entry.set_value(new));
            expected.value = value.bytes(fill);
        }
        Step::Expire(_, expire_at) => {
            entry.set_expire_at(*expire_at);
            expected.expire_at = *expire_at;
        }
        Step::Append(_, len) => {
            entry.append(&vec![fill; *len]);
            expected.value.extend(vec![fill; *len]);
        }
        Step::WriteAt(_, offset, len) => {
            entry.write_at(*offset, &vec![fill; *len]);
            if *len > 0 {
                let end = offset + len;
                expected.value.resize(expected.value.len().max(end), 0);
                expected.value[*offset..end].fill(fill);
            }
        }
        Step::Splice(_, offset, removed, len) => {
            let offset = (*offset).min(expected.value.len());
            let removed = (*removed).min(expected.value.len() - offset);
            let data = vec![fill; *len];
            entry.splice(offset, removed, &data);
            expected.value.splice(offset..offset + removed, data);
        }
        Step::Access(_, access) => {
            entry.set_access(*access);
            expected.access = *access;
        }
        _ => unreachable!("handled by the caller"),
    }
    assert_entry(entry.entry(), &key, expected);
    if let Some((held, before)) = held {
        assert_eq!(held, before, "what a reader holds does not change");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_map_with_few_keys(steps in prop::collection::vec(step(40), 1..STEPS)) {
        run(small_table(), &steps);
    }

    #[test]
    fn behaves_as_a_map_through_splits_and_merges(steps in prop::collection::vec(step(1000), 1..STEPS)) {
        run(small_table(), &steps);
    }

    #[test]
    fn behaves_as_a_map_when_hashes_share_a_tag(steps in prop::collection::vec(step(300), 1..STEPS / 3)) {
        for mask in [0, 3, u64::MAX << 62, 0xff << 40] {
            let mut table = small_table();
            table.hasher.mask = mask;
            run(table, &steps);
        }
    }

    /// Keys present throughout are seen; nothing is seen that was never there; a call costs what it should.
    #[test]
    fn scan_sees_every_key_that_stays(
        stay in 0u16..600,
        count in 1usize..50,
        noise in prop::collection::vec((600u16..2000, any::<bool>()), 0..STEPS),
        per_call in 0usize..60,
        growing in any::<bool>(),
    ) {
        let mut table = small_table();
        let insert = |table: &mut Table, id: u16| {
            let key = key(id);
            table.insert(table.hash(&key), &key, NewValue::Int(i64::from(id)), None, 0);
        };
        for id in 0..stay {
            insert(&mut table, id);
        }
        if !growing {
            for id in 600..2000 {
                insert(&mut table, id);
            }
        }
        let mut noise = noise.into_iter();
        let mut seen = HashSet::new();
        let mut cursor = 0;
        let (mut calls, mut most) = (0, table.len());
        loop {
            let mut visited = 0;
            cursor = table.scan(cursor, count, &mut |entry| {
                visited += 1;
                assert!(seen.insert(entry.key().to_vec()), "a key has one place");
            });
            calls += 1;
            // A 16-bit tag below the prefix is shared by few of these keys.
            prop_assert!(visited <= count + 3, "visited {visited} for a count of {count}");
            prop_assert!(cursor < 1 << CURSOR_BITS);
            if cursor == 0 {
                break;
            }
            for (id, add) in noise.by_ref().take(per_call) {
                if add && growing {
                    insert(&mut table, id);
                } else {
                    table.remove(table.hash(&key(id)), &key(id));
                }
            }
            if !growing {
                // Deletes by the hundred, so that segments merge under the cursor.
                for id in (600..2000).skip(calls * 40).take(40) {
                    table.remove(table.hash(&key(id)), &key(id));
                }
            }
            most = most.max(table.len());
            table.check();
        }
        for id in 0..stay {
            prop_assert!(seen.contains(&key(id)), "key {id} was missed");
        }
        prop_assert!(calls <= most / count + most / 8 + 2, "{calls} calls for {most} keys by {count}");
    }
}

fn numbered(table: &mut Table, from: u64, to: u64, expire_at: Option<u64>) {
    for i in from..to {
        let key = i.to_be_bytes();
        table.insert(table.hash(&key), &key, NewValue::Bytes(b"12345678"), expire_at, 0);
    }
}

#[test]
fn an_unused_table_takes_a_few_bytes_and_finds_nothing() {
    let mut table = Table::new(1);
    assert!(table.memory().total() <= 16);
    let hash = table.hash(b"k");
    assert!(table.get(hash, b"k").is_none());
    assert!(!table.remove(hash, b"k"));
    assert_eq!(table.scan(0, 10, &mut |_| panic!("nothing to visit")), 0);
    assert!(table.random(&mut || 0).is_none());
    assert_eq!(table.next_expiry_bound(), None);
    let mut cursor = 0;
    assert!(table.sweep_expired(u64::MAX, &mut cursor, 10, &mut |_| ()).wrapped);
    assert!(table.take_all().free_some(1));
    table.check();
}

#[test]
fn a_small_string_takes_32_bytes_of_record() {
    let mut table = Table::new(1);
    let key = b"key:000000000001";
    let hash = table.hash(key);
    table.insert(hash, key, NewValue::Bytes(b"12345678"), None, 0);
    assert_eq!(table.memory().records, 32);
    assert_eq!(table.get(hash, key).unwrap().memory_usage(), 40);
    table.insert(hash, key, NewValue::Int(5), None, 0);
    assert_eq!(table.memory().records, 32);
}

#[test]
fn keys_longer_than_64_kib_keep_their_bytes() {
    let mut table = Table::new(1);
    for len in [0usize, 1, 0xfffe, 0xffff, 0x10000, 3 << 20] {
        let key = vec![7; len];
        let hash = table.hash(&key);
        assert!(!table.insert(hash, &key, NewValue::Int(len as i64), None, 0));
        let mut entry = table.get_mut(hash, &key).unwrap();
        entry.set_expire_at(Some(9));
        entry.append(b"!");
        assert_eq!(entry.key(), key);
        entry.set_value(NewValue::Bytes(&vec![1; INLINE_VALUE_MAX + 1]));
        entry.set_expire_at(None);
        assert_eq!(entry.key(), key);
        assert_eq!(entry.value().len(), INLINE_VALUE_MAX + 1);
        table.check();
    }
    assert!(table.get(table.hash(&[7; 2]), &[7; 2]).is_none());
}

#[test]
fn a_reader_of_a_large_value_keeps_it_through_append_and_delete() {
    let mut table = Table::new(1);
    let hash = table.hash(b"k");
    let original = Bytes::from(vec![1; INLINE_VALUE_MAX * 2]);
    table.insert(hash, b"k", NewValue::Shared(original.clone()), None, 0);
    let ValueRef::Shared(stored) = table.get(hash, b"k").unwrap().value() else { panic!("kept as Bytes") };
    assert_eq!(stored.as_ptr(), original.as_ptr(), "not copied");
    let held = stored.clone();
    table.get_mut(hash, b"k").unwrap().write_at(0, b"xyz");
    assert_eq!(held, original);
    assert_eq!(&text(table.get(hash, b"k").unwrap().value())[..4], b"xyz\x01");
    let ValueRef::Shared(stored) = table.get(hash, b"k").unwrap().value() else { panic!("kept as Bytes") };
    let held = stored.clone();
    assert!(table.remove(hash, b"k"));
    assert_eq!(&held[..4], b"xyz\x01");
    assert_eq!(table.memory().records, 0);
}

#[test]
fn appending_moves_a_large_value_seldom() {
    let mut table = Table::new(1);
    let hash = table.hash(b"k");
    table.insert(hash, b"k", NewValue::Bytes(b""), None, 0);
    let (mut moves, mut last) = (0, std::ptr::null());
    let chunks = if cfg!(miri) { 100 } else { 20_000 };
    for i in 0..chunks {
        table.get_mut(hash, b"k").unwrap().append(&[i as u8; 100]);
        if let ValueRef::Shared(bytes) = table.get(hash, b"k").unwrap().value() {
            moves += usize::from(bytes.as_ptr() != last);
            last = bytes.as_ptr();
        }
    }
    assert_eq!(table.get(hash, b"k").unwrap().value().len(), chunks * 100);
    assert!(moves < 25, "{moves} moves");
    table.check();
}

#[test]
fn memory_comes_back_after_deletes() {
    let keys = if cfg!(miri) { 500 } else { 200_000 };
    let mut table = if cfg!(miri) { small_table() } else { Table::new(1) };
    numbered(&mut table, 0, keys, None);
    table.check();
    let full = table.memory();
    for i in 0..keys - 10 {
        let key = i.to_be_bytes();
        assert!(table.remove(table.hash(&key), &key));
    }
    table.check();
    let left = table.memory();
    assert!(left.segments <= full.segments / 20, "{left:?} of {full:?}");
    assert!(left.directory <= 64, "{left:?}");
}

#[test]
fn load_stays_high_at_every_size() {
    if cfg!(miri) {
        return;
    }
    let mut table = Table::new(3);
    let mut next = 0;
    for keys in (100_000..400_000).step_by(20_000) {
        numbered(&mut table, next, keys, None);
        next = keys;
        let memory = table.memory();
        let slots = (memory.segments + memory.directory) as f64 / keys as f64;
        assert!(slots < 11.2, "{slots} bytes of slots per key at {keys} keys");
    }
}

#[test]
fn a_degenerate_hash_does_not_blow_up_the_directory() {
    for mask in [0, u64::MAX >> 20, 0xffff] {
        let mut table = small_table();
        table.hasher.mask = mask;
        let keys = if cfg!(miri) { 100 } else { 3000 };
        numbered(&mut table, 0, keys, None);
        table.check();
        assert!(table.memory().directory <= 16 * keys as usize, "{:?}", table.memory());
        assert!(table.memory().segments <= 64 * keys as usize, "{:?}", table.memory());
        let mut seen = 0;
        let mut cursor = 0;
        loop {
            cursor = table.scan(cursor, 10, &mut |_| seen += 1);
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, keys);
        assert!(table.random(&mut rng(1)).is_some());
        for i in 0..keys {
            let key = i.to_be_bytes();
            assert!(table.remove(table.hash(&key), &key));
        }
        table.check();
        assert!(table.memory().total() < 1024, "{:?}", table.memory());
    }
}

#[test]
fn random_is_uniform() {
    if cfg!(miri) {
        return;
    }
    let mut table = small_table();
    numbered(&mut table, 0, 200, None);
    let mut numbers = rng(5);
    let mut hits = [0u32; 200];
    for _ in 0..200_000 {
        let key: [u8; 8] = table.random(&mut numbers).unwrap().key().try_into().unwrap();
        hits[u64::from_be_bytes(key) as usize] += 1;
    }
    // 1000 expected; 6 standard deviations are 190.
    for (id, hits) in hits.into_iter().enumerate() {
        assert!((810..1190).contains(&hits), "key {id} came {hits} times");
    }
}

#[test]
fn a_sweep_removes_what_is_expired_and_makes_the_bound_exact() {
    let keys = if cfg!(miri) { 100 } else { 5000 };
    let mut table = small_table();
    numbered(&mut table, 0, keys, None);
    numbered(&mut table, keys, 2 * keys, Some(1000));
    numbered(&mut table, 2 * keys, 3 * keys, Some(2000));
    assert_eq!(table.expires_len(), 2 * keys as usize);
    assert_eq!(table.next_expiry_bound(), Some(1000));

    let sweep = |table: &mut Table, now| {
        let (mut removed, mut opened, mut cursor) = (0, 0, 0);
        loop {
            let stats = table.sweep_expired(now, &mut cursor, 3, &mut |_| ());
            removed += stats.removed;
            opened += stats.opened;
            table.check();
            if stats.wrapped {
                assert_eq!(cursor, 0);
                return (removed, opened);
            }
        }
    };
    assert_eq!(sweep(&mut table, 1000), (0, 0), "a key expires after its millisecond");
    assert_eq!(sweep(&mut table, 1001).0, keys as usize);
    assert_eq!(table.next_expiry_bound(), Some(2000));
    assert_eq!(sweep(&mut table, 1500), (0, 0), "segments with nothing due are not opened");
    // The key with the least expiry goes away: the bound is early until the next full sweep.
    let key = 5u64.to_be_bytes();
    let hash = table.hash(&key);
    table.get_mut(hash, &key).unwrap().set_expire_at(Some(1600));
    table.get_mut(hash, &key).unwrap().set_expire_at(None);
    assert_eq!(table.next_expiry_bound(), Some(1600));
    assert_eq!(sweep(&mut table, 1700).0, 0);
    assert_eq!(table.next_expiry_bound(), Some(2000));
    assert_eq!(sweep(&mut table, u64::MAX).0, keys as usize);
    assert_eq!(table.next_expiry_bound(), None);
    assert_eq!(table.len(), keys as usize);
}

#[test]
fn remains_are_freed_a_bounded_number_of_segments_at_a_time() {
    let mut table = small_table();
    numbered(&mut table, 0, 300, Some(5));
    let held = Bytes::from(vec![0; INLINE_VALUE_MAX + 1]);
    let hash = table.hash(b"large");
    table.insert(hash, b"large", NewValue::Shared(held.clone()), None, 0);
    let mut remains = table.take_all();
    assert_eq!((table.len(), table.expires_len()), (0, 0));
    table.check();
    numbered(&mut table, 0, 10, None);
    let mut calls = 1;
    while !remains.free_some(1) {
        calls += 1;
    }
    assert!(calls > 10, "{calls} calls");
    assert!(held.is_unique(), "the large value was let go");
    table.check();
}

#[test]
fn entries_move_between_tables_and_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<Table>();
    assert_send::<OwnedEntry>();
    assert_send::<Remains>();
    let (mut from, mut to) = (Table::new(1), Table::new(2));
    let hash = from.hash(b"k");
    from.insert(hash, b"k", NewValue::Bytes(&[3; INLINE_VALUE_MAX + 1]), Some(77), 5);
    let owned = from.take(hash, b"k").unwrap();
    assert_eq!(from.memory().records, 0);
    let hash = to.hash(b"other");
    assert!(!to.insert_owned(hash, b"other", owned));
    let entry = to.get(hash, b"other").unwrap();
    assert_eq!((entry.value().len(), entry.expire_at(), entry.access()), (INLINE_VALUE_MAX + 1, Some(77), 5));
    assert_eq!(to.next_expiry_bound(), Some(77));
    to.check();
}

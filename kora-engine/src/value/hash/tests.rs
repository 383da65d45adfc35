//! Hashes of every form against a naive model.

use super::*;
use crate::value::element::tests::texts;
use proptest::prelude::*;
use std::collections::BTreeMap;

const NOW: UnixMs = 1_000;
const SEED: u64 = 7;

#[derive(Debug, Clone)]
enum Step {
    Set(Vec<u8>, Vec<u8>, FieldExpiry),
    Expire(Vec<u8>, Option<UnixMs>),
    Remove(Vec<u8>),
    Reclaim(UnixMs),
    MakeExpiring,
    MakeTable,
    Encode,
}

fn field() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0..20u8).prop_map(|n| n.to_string().into_bytes()),
        (0..20u8).prop_map(|n| format!("f{n}").into_bytes()),
        (0..20u8).prop_map(|n| format!("a field with a Long name: {n}").into_bytes()),
        Just(vec![]),
        Just(vec![0, 255, b'\n']),
        texts(),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..30),
        (0..200usize).prop_map(|len| vec![b'v'; len]),
        texts(),
    ]
}

fn time() -> impl Strategy<Value = UnixMs> {
    prop_oneof![900..1100u64, Just(EXPIRY_MAX), Just(0)]
}

fn step() -> impl Strategy<Value = Step> {
    let expiry =
        prop_oneof![Just(FieldExpiry::Keep), Just(FieldExpiry::Clear), time().prop_map(FieldExpiry::At),];
    prop_oneof![
        8 => (field(), value(), expiry).prop_map(|(field, value, expiry)| Step::Set(field, value, expiry)),
        4 => (field(), proptest::option::of(time())).prop_map(|(field, at)| Step::Expire(field, at)),
        3 => field().prop_map(Step::Remove),
        2 => time().prop_map(Step::Reclaim),
        1 => Just(Step::MakeExpiring),
        1 => Just(Step::Encode),
    ]
}

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<UnixMs>)>;

fn contents(hash: &Hash, now: UnixMs) -> Model {
    let (mut found, mut position) = (Model::new(), 0);
    loop {
        position = hash.scan(position, 3, now, &mut |field, value| {
            let twice = found.insert(field.to_vec(), (value.value.element().to_vec(), value.expire_at));
            assert!(twice.is_none(), "a field comes once");
        });
        if position == 0 {
            return found;
        }
    }
}

fn limits(entries: usize) -> EncodingLimits {
    EncodingLimits { hash_max_listpack_entries: entries, ..EncodingLimits::default() }
}

fn apply(hash: &mut Hash, model: &mut Model, step: &Step, limits: &EncodingLimits) {
    match step {
        Step::Set(field, value, expiry) => {
            let old = model.get(field).map(|(_, at)| *at);
            let expire_at = match expiry {
                FieldExpiry::Keep => old.flatten(),
                FieldExpiry::Clear => None,
                FieldExpiry::At(at) => Some(*at),
            };
            model.insert(field.clone(), (value.clone(), expire_at));
            let done = hash.set(field, Item::of(value), *expiry, limits, SEED);
            assert_eq!(done, (expire_at, old.is_none()));
        }
        Step::Expire(field, at) => {
            let entry = model.get_mut(field);
            assert_eq!(hash.set_expiry(field, *at), entry.is_some());
            if let Some(entry) = entry {
                entry.1 = *at;
            }
        }
        Step::Remove(field) => assert_eq!(hash.remove(field), model.remove(field).is_some()),
        Step::Reclaim(now) => {
            let mut gone = Vec::new();
            while !hash.reclaim(*now, 1, &mut |field| gone.push(field.to_vec())) {}
            let mut expected = Vec::new();
            model.retain(|field, (_, at)| {
                let due = at.is_some_and(|at| at < *now);
                if due {
                    expected.push(field.clone());
                }
                !due
            });
            gone.sort();
            assert_eq!(gone, expected);
        }
        Step::MakeExpiring => {
            hash.make_expiring();
        }
        Step::MakeTable => hash.make_table(SEED),
        Step::Encode => {
            let mut bytes = Vec::new();
            hash.encode(&mut bytes);
            match Hash::decode(&bytes, SEED) {
                Some(copy) => {
                    assert_eq!(copy.is_packed(), hash.is_packed());
                    assert_eq!(copy.next_expiry().is_some(), hash.next_expiry().is_some());
                    *hash = copy;
                }
                None => assert!(model.is_empty(), "only an empty hash has no bytes"),
            }
        }
    }
}

fn check(hash: &Hash, model: &Model) {
    assert_eq!(hash.len(), model.len());
    assert_eq!(&contents(hash, 0), model);
    let alive: Model = model
        .iter()
        .filter(|(_, (_, at))| at.is_none_or(|at| at >= NOW))
        .map(|(f, v)| (f.clone(), v.clone()))
        .collect();
    assert_eq!(&contents(hash, NOW), &alive);
    if let Some(due) = hash.due(NOW) {
        assert_eq!(due, model.len() - alive.len());
    }
    let earliest = model.values().filter_map(|(_, at)| *at).min();
    match (hash.next_expiry(), hash.is_packed()) {
        (bound, true) => assert_eq!(bound, earliest),
        (bound, false) => assert!(bound <= earliest && bound.is_some() == earliest.is_some()),
    }
    for (field, (value, expire_at)) in model {
        let found = hash.find(field).expect("it is there");
        assert_eq!((&found.value.element().to_vec(), &found.expire_at), (value, expire_at));
        assert_eq!(hash.get(field, NOW).is_some(), alive.contains_key(field));
    }
    assert!(hash.find(b"no such field").is_none());
}

proptest! {
    #[test]
    fn every_form_agrees_with_a_map(
        steps in proptest::collection::vec(step(), 0..60),
        table_at in 0..90usize,
        entries in prop_oneof![Just(512usize), 5..30usize],
    ) {
        let (mut hash, mut model) = (Hash::new(SEED), Model::new());
        for (index, step) in steps.iter().enumerate() {
            if index == table_at {
                apply(&mut hash, &mut model, &Step::MakeTable, &limits(entries));
            }
            apply(&mut hash, &mut model, step, &limits(entries));
            check(&hash, &model);
            check(&hash.clone(), &model);
        }
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), form in 0..4u8, pairs in 0..5u8, expiring in 0..5u8) {
        let head = [form, pairs, 0, 0, 0, expiring, 0, 0, 0];
        if let Some(hash) = Hash::decode(&[&head[..], &bytes].concat(), SEED) {
            prop_assert_eq!(hash.len(), pairs as usize);
            prop_assert_eq!(contents(&hash, 0).len(), pairs as usize);
        }
        Hash::decode(&bytes, SEED);
    }

    #[test]
    fn damaged_bytes_are_refused_or_another_hash(
        pairs in proptest::collection::btree_map(field(), (value(), proptest::option::of(time())), 1..8),
        table: bool, at in any::<prop::sample::Index>(), bit in 0..8u8,
    ) {
        let mut hash = Hash::new(SEED);
        for (field, (value, expire_at)) in &pairs {
            let expiry = expire_at.map_or(FieldExpiry::Clear, FieldExpiry::At);
            hash.set(field, Item::of(value), expiry, &limits(512), SEED);
        }
        if table {
            hash.make_table(SEED);
        }
        let mut bytes = Vec::new();
        hash.encode(&mut bytes);
        prop_assert_eq!(contents(&Hash::decode(&bytes, SEED).unwrap(), 0), contents(&hash, 0));
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Some(other) = Hash::decode(&bytes, SEED) {
            prop_assert_eq!(contents(&other, 0).len(), other.len());
        }
    }
}

#[test]
fn pairs_that_expire_come_first_in_the_order_of_their_times() {
    let mut hash = Hash::new(SEED);
    let limits = limits(512);
    for field in ["a", "b", "c", "d", "e"] {
        hash.set(field.as_bytes(), Item::Int(1), FieldExpiry::Clear, &limits, SEED);
    }
    let order = |hash: &Hash| {
        let mut order = String::new();
        hash.scan(0, 1, 0, &mut |field, _| order.push_str(std::str::from_utf8(&field.to_vec()).unwrap()));
        order
    };
    assert_eq!(order(&hash), "abcde");
    for (field, at, expected) in [
        ("c", Some(100), "cabde"),
        ("d", Some(50), "dcabe"),
        ("a", Some(70), "dacbe"),
        ("e", Some(700), "daceb"),
        ("d", None, "acebd"),
        ("e", Some(70), "eacbd"),
    ] {
        hash.set_expiry(field.as_bytes(), at);
        assert_eq!(order(&hash), expected);
    }
    hash.set(b"a", Item::Int(2), FieldExpiry::Keep, &limits, SEED);
    assert_eq!(order(&hash), "eacbd");
    hash.set(b"a", Item::Int(2), FieldExpiry::Clear, &limits, SEED);
    assert_eq!(order(&hash), "ecbda");
    hash.set(b"n", Item::Int(2), FieldExpiry::At(80), &limits, SEED);
    assert_eq!(order(&hash), "encbda");
}

#[test]
fn only_fields_with_an_expiry_pay_for_it() {
    let mut hash = Hash::new(SEED);
    for field in 0..10 {
        let field = format!("field{field}");
        hash.set(field.as_bytes(), Item::Bytes(b"0123456789"), FieldExpiry::Clear, &limits(512), SEED);
    }
    let Hash::Packed(buffer) = &hash else { panic!("it is packed") };
    assert_eq!(buffer.len(), 2 + 10 * (1 + 5 + 1 + 8), "six bits a character");
    hash.set_expiry(b"field3", Some(NOW));
    let Hash::Expiring(buffer) = &hash else { panic!("it expires") };
    assert_eq!(buffer.len(), 4 + 10 * (1 + 5 + 1 + 8) + 6);
}

#[test]
fn a_hash_that_is_made_at_once_has_no_room_left_over() {
    let pairs: Vec<_> = (0..10).map(|n| (format!("field:{n:02}"), format!("value:{n:02}:abcdef"))).collect();
    let mut hash = Hash::new(SEED);
    hash.reserve(pairs.len(), pairs.iter().map(|(field, value)| field.len() + value.len()).sum());
    let reserved = hash.memory();
    for (field, value) in &pairs {
        hash.set(field.as_bytes(), Item::of(value.as_bytes()), FieldExpiry::Clear, &limits(512), SEED);
        assert_eq!(hash.memory(), reserved, "it has the room");
    }
    hash.fit();
    assert_eq!(hash.memory(), 224, "10 pairs of 20 bytes, their number and the head of the buffer");
    for (field, value) in &pairs {
        assert_eq!(hash.find(field.as_bytes()).unwrap().value.element().to_vec(), value.as_bytes());
    }
    hash.make_table(SEED);
    let memory = hash.memory();
    hash.reserve(100, 10_000);
    hash.fit();
    assert_eq!(hash.memory(), memory, "a table has no use for it");
}

#[test]
fn what_is_too_long_for_a_packed_hash_is_not_in_one() {
    let mut hash = Hash::new(SEED);
    hash.set(b"a", Item::Int(1), FieldExpiry::At(NOW), &limits(512), SEED);
    let field = vec![b'a'; BYTES_MAX + 1];
    assert!(hash.find(&field).is_none() && !hash.remove(&field) && !hash.set_expiry(&field, None));
    let generous = EncodingLimits { hash_max_listpack_value: usize::MAX, ..limits(512) };
    hash.set(&field, Item::Int(2), FieldExpiry::Clear, &generous, SEED);
    assert!(!hash.is_packed());
    assert_eq!(hash.find(&field).unwrap().value.element(), Element::Int(2));
}

#[test]
fn a_random_field_of_a_packed_hash_is_any_that_is_alive() {
    let mut hash = Hash::new(SEED);
    for field in 0..8u8 {
        let at = if field < 3 { FieldExpiry::At(NOW - 1) } else { FieldExpiry::At(NOW + field as u64) };
        hash.set(&[b'a' + field], Item::Int(field as i64), at, &limits(512), SEED);
    }
    let mut counts = BTreeMap::new();
    let mut random = Random::new(5);
    for _ in 0..500 {
        let (field, _) = hash.random(NOW, &mut random).unwrap();
        *counts.entry(field.to_vec()).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 5);
    assert!(counts.values().all(|&count| (70..=130).contains(&count)), "{counts:?}");
}

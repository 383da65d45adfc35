//! Eviction of one shard: every policy takes what it should, says so with a change, and knows when there is nothing to take.

use kora_engine::change::{Change, ChangeSink, DeleteReason};
use kora_engine::keyspace::{EvictionPolicy, EvictionRules, Keyspace, LfuRules, NewExpiry, View};
use kora_engine::random::Random;
use kora_engine::table::NewValue;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

const NOW: u64 = 1_700_000_000_000;

fn at(now: u64) -> View {
    View { db: 0, now, touch: true }
}

fn keyspace(policy: EvictionPolicy) -> Keyspace {
    let mut keys = Keyspace::new(4, 7, false);
    keys.set_eviction(EvictionRules { policy, samples: 5, lfu: LfuRules::default() });
    keys
}

fn set(keys: &mut Keyspace, view: View, key: u32, expire_at: Option<u64>) {
    let bytes = key.to_be_bytes();
    let key = keys.key(&bytes);
    let expiry = expire_at.map_or(NewExpiry::Clear, NewExpiry::At);
    keys.set(view, &key, NewValue::Bytes(&[0; 100]), expiry);
}

fn get(keys: &mut Keyspace, view: View, key: u32) -> bool {
    let bytes = key.to_be_bytes();
    let key = keys.key(&bytes);
    keys.get(view, &key).is_some()
}

fn exists(keys: &mut Keyspace, db: u16, key: u32) -> bool {
    let bytes = key.to_be_bytes();
    let key = keys.key(&bytes);
    keys.exists(View { db, now: 0, touch: false }, &key)
}

/// The keys of `0..n` that are left in the first database.
fn left(keys: &mut Keyspace, n: u32) -> BTreeSet<u32> {
    (0..n).filter(|&key| exists(keys, 0, key)).collect()
}

/// Evicts this many keys one by one.
fn evict(keys: &mut Keyspace, now: u64, count: usize) {
    for _ in 0..count {
        let evicted = keys.evict(now, usize::MAX, 1);
        assert_eq!(evicted.keys, 1);
        assert!(evicted.bytes >= 4 + 8, "{}", evicted.bytes);
    }
}

#[test]
fn lru_takes_what_was_used_longest_ago() {
    let mut keys = keyspace(EvictionPolicy::AllKeysLru);
    // A key per second; afterwards the first half is read again.
    for key in 0..10_000 {
        set(&mut keys, at(NOW + u64::from(key) * 1000), key, None);
    }
    for key in 0..5000 {
        assert!(get(&mut keys, at(NOW + (10_000 + u64::from(key)) * 1000), key));
    }
    evict(&mut keys, NOW + 20_000_000, 3000);
    let left = left(&mut keys, 10_000);
    let kept = left.range(..5000).count();
    assert!(kept > 4950, "{kept} of the 5000 keys that were used last are left");
    assert_eq!(keys.stats.evicted, 3000);
    assert_eq!(keys.evictable(), 7000);
}

#[test]
fn a_candidate_that_is_used_meanwhile_is_spared() {
    let mut keys = keyspace(EvictionPolicy::AllKeysLru);
    (0..1000).for_each(|key| set(&mut keys, at(NOW + u64::from(key) * 1000), key, None));
    // The pool is full of old keys now.
    evict(&mut keys, NOW + 2_000_000, 20);
    for key in 0..200 {
        get(&mut keys, at(NOW + 2_000_000), key);
    }
    let before = left(&mut keys, 200);
    evict(&mut keys, NOW + 2_001_000, 20);
    assert_eq!(left(&mut keys, 200), before, "none of the keys that were just used has gone");
}

#[test]
fn lfu_takes_what_is_used_least() {
    let mut keys = keyspace(EvictionPolicy::AllKeysLfu);
    (0..2000).for_each(|key| set(&mut keys, at(NOW), key, None));
    // Each key of the first half is read a hundred times, and then not again: recency is against them.
    for round in 0..100 {
        (0..1000).for_each(|key| assert!(get(&mut keys, at(NOW + round), key)));
    }
    (1000..2000).for_each(|key| assert!(get(&mut keys, at(NOW + 5000), key)));
    evict(&mut keys, NOW + 6000, 600);
    let kept = left(&mut keys, 1000).len();
    assert!(kept > 990, "{kept} of the 1000 keys that are used most are left");
}

#[test]
fn a_new_value_keeps_the_frequency_of_its_key() {
    let mut keys = keyspace(EvictionPolicy::AllKeysLfu);
    set(&mut keys, at(NOW), 1, None);
    (0..1000).for_each(|_| assert!(get(&mut keys, at(NOW), 1)));
    let frequency = |keys: &mut Keyspace| {
        let bytes = 1u32.to_be_bytes();
        let key = keys.key(&bytes);
        let access = keys.peek(at(NOW), &key).expect("it is there").access();
        keys.frequency(NOW, access).expect("it is counted")
    };
    let before = frequency(&mut keys);
    assert!(before > 10);
    set(&mut keys, at(NOW), 1, None);
    assert!(frequency(&mut keys) >= before);
}

#[test]
fn ttl_takes_what_expires_soonest_and_leaves_what_does_not_expire() {
    let mut keys = keyspace(EvictionPolicy::VolatileTtl);
    (0..1000).for_each(|key| set(&mut keys, at(NOW), key, Some(NOW + 1_000_000 + u64::from(key) * 1000)));
    (1000..5000).for_each(|key| set(&mut keys, at(NOW), key, None));
    assert_eq!(keys.evictable(), 1000);
    evict(&mut keys, NOW, 300);
    let left = left(&mut keys, 5000);
    assert_eq!(left.range(1000..).count(), 4000);
    let kept = left.range(500..1000).count();
    assert!(kept > 490, "{kept} of the 500 that expire last are left");
}

#[test]
fn volatile_policies_find_few_keys_among_many_and_stop_when_there_are_none() {
    use EvictionPolicy::{VolatileLfu, VolatileLru, VolatileRandom, VolatileTtl};
    for policy in [VolatileLru, VolatileLfu, VolatileRandom, VolatileTtl] {
        let mut keys = keyspace(policy);
        (0..50_000).for_each(|key| set(&mut keys, at(NOW), key, None));
        (0..7).for_each(|key| set(&mut keys, at(NOW), key * 7000, Some(NOW + 99_000)));
        // All in one go or one by one; a call may give up before a map of the table is clean.
        let mut gone = 0;
        for _ in 0..1000 {
            gone += keys.evict(NOW, usize::MAX, 3).keys;
            if keys.evictable() == 0 {
                break;
            }
        }
        assert_eq!((gone, keys.evictable()), (7, 0), "{policy:?}");
        assert_eq!(keys.evict(NOW, usize::MAX, 1).keys, 0, "{policy:?}");
        assert_eq!(keys.len(0), 49_993, "{policy:?}");
    }
}

#[test]
fn random_takes_from_everywhere() {
    let mut keys = keyspace(EvictionPolicy::AllKeysRandom);
    for key in 0..10_000 {
        set(&mut keys, at(NOW + u64::from(key) * 1000), key, None);
    }
    evict(&mut keys, NOW + 20_000_000, 5000);
    let left = left(&mut keys, 10_000);
    for tenth in 0..10 {
        let kept = left.range(tenth * 1000..(tenth + 1) * 1000).count();
        assert!((420..580).contains(&kept), "{kept} of the keys from {} on", tenth * 1000);
    }
}

#[test]
fn without_a_policy_nothing_goes() {
    let mut keys = keyspace(EvictionPolicy::NoEviction);
    (0..100).for_each(|key| set(&mut keys, at(NOW), key, Some(NOW + 5)));
    assert_eq!(keys.evictable(), 0);
    assert_eq!(keys.evict(NOW, usize::MAX, 10).keys, 0);
    assert_eq!(keys.len(0), 100);
}

#[test]
fn all_databases_give_in_proportion() {
    let mut keys = keyspace(EvictionPolicy::AllKeysRandom);
    for key in 0..8000 {
        let db = if key % 4 == 0 { 3 } else { 1 };
        set(&mut keys, View { db, ..at(NOW) }, key, None);
    }
    evict(&mut keys, NOW, 4000);
    assert!((2800..3200).contains(&keys.len(1)) && (850..1150).contains(&keys.len(3)));
    keys.flush_db(1);
    let rest = keys.len(3);
    evict(&mut keys, NOW, rest);
    assert_eq!(keys.evict(NOW, usize::MAX, 1).keys, 0);
    // What comes afterwards is found at once.
    set(&mut keys, View { db: 2, ..at(NOW) }, 1, None);
    assert_eq!(keys.evict(NOW, usize::MAX, 1).keys, 1);
}

#[test]
fn a_number_of_bytes_is_met_and_hardly_exceeded() {
    let mut keys = keyspace(EvictionPolicy::AllKeysLru);
    (0..1000).for_each(|key| set(&mut keys, at(NOW), key, None));
    let before = keys.memory().records;
    let evicted = keys.evict(NOW, 10_000, usize::MAX);
    let freed = before - keys.memory().records;
    assert!((10_000..10_200).contains(&evicted.bytes), "{evicted:?}");
    assert!(freed <= evicted.bytes && freed + 8 * evicted.keys >= evicted.bytes, "{freed} {evicted:?}");
}

/// The keys that went, and why.
type Gone = Arc<Mutex<Vec<(Vec<u8>, DeleteReason)>>>;

#[derive(Default)]
struct Deletions(Gone);

impl ChangeSink for Deletions {
    fn change(&mut self, _: u64, change: &Change<'_>) {
        if let Change::Delete { key, reason, .. } = change {
            self.0.lock().unwrap().push((key.to_vec(), *reason));
        }
    }
}

#[test]
fn every_eviction_is_a_change_and_what_has_expired_is_no_eviction() {
    let mut keys = keyspace(EvictionPolicy::VolatileTtl);
    set(&mut keys, at(NOW), 1, Some(NOW + 1000));
    set(&mut keys, at(NOW), 2, Some(NOW + 2000));
    let deletions = Deletions::default();
    let seen = deletions.0.clone();
    keys.changes.attach(Box::new(deletions));
    evict(&mut keys, NOW + 1500, 2);
    let key = |n: u32| n.to_be_bytes().to_vec();
    assert_eq!(*seen.lock().unwrap(), [(key(1), DeleteReason::Expired), (key(2), DeleteReason::Evicted)]);
    assert_eq!((keys.stats.evicted, keys.stats.expired), (1, 1));
}

#[test]
fn the_same_seed_evicts_the_same_keys() {
    let run = || {
        let mut keys = keyspace(EvictionPolicy::AllKeysLfu);
        let mut random = Random::new(11);
        (0..3000).for_each(|key| set(&mut keys, at(NOW), key, None));
        for _ in 0..10_000 {
            get(&mut keys, at(NOW), random.below(3000) as u32);
        }
        evict(&mut keys, NOW, 1000);
        left(&mut keys, 3000)
    };
    assert_eq!(run(), run());
}

//! Sorted sets of both forms against a sorted vector.

use super::range::{LexLimit, ScoreLimit};
use super::*;
use proptest::prelude::*;

type Model = Vec<(Vec<u8>, f64)>;

fn growth(entries: usize) -> Growth {
    Growth { entries_max: entries, value_max: 20, seed: 3 }
}

fn sort(model: &mut Model) {
    model.sort_by(|a, b| a.1.partial_cmp(&b.1).expect("no NaN").then_with(|| a.0.cmp(&b.0)));
}

fn listed(walk: Walk<'_>) -> Model {
    walk.map(|(member, score)| (member.to_vec(), score)).collect()
}

fn check(zset: &Zset, model: &Model) {
    assert_eq!(zset.len(), model.len());
    assert_eq!(&listed(zset.ascending(0)), model);
    let mut reversed = model.clone();
    reversed.reverse();
    assert_eq!(listed(zset.descending(usize::MAX)), reversed);
    for (rank, (member, score)) in model.iter().enumerate() {
        assert_eq!(zset.rank(member), Some((rank, *score)));
        assert_eq!(zset.score(member), Some(*score));
        assert_eq!(zset.with_entry(rank, |item, score| (item.to_vec(), score)), (member.clone(), *score));
    }
    let mut scanned = Model::new();
    let mut cursor = 0;
    loop {
        cursor = zset.scan(cursor, 7, &mut |member, score| scanned.push((member.to_vec(), score)));
        if cursor == 0 {
            break;
        }
    }
    sort(&mut scanned);
    assert_eq!(&scanned, model);
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0u8..60).prop_map(|n| format!("m{n}").into_bytes()),
        2 => (-9i64..40).prop_map(|n| n.to_string().into_bytes()),
        1 => Just(Vec::new()),
        1 => prop::collection::vec(any::<u8>(), 0..25),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => (-5i64..20).prop_map(|n| n as f64),
        1 => (-50i64..50).prop_map(|n| n as f64 / 10.0),
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(1e300)],
    ]
}

fn limit() -> impl Strategy<Value = ScoreLimit> {
    (score(), any::<bool>()).prop_map(|(score, exclusive)| ScoreLimit { score, exclusive })
}

#[derive(Debug, Clone)]
enum Step {
    Insert(Vec<u8>, f64),
    Add(Vec<u8>, f64),
    Decline(Vec<u8>),
    Remove(Vec<u8>),
    TakeAt(usize),
    Range(ScoreLimit, ScoreLimit),
    Grow,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (member(), score()).prop_map(|(m, s)| Step::Insert(m, s)),
        2 => (member(), -3.0..3.0f64).prop_map(|(m, s)| Step::Add(m, s)),
        1 => member().prop_map(Step::Decline),
        3 => member().prop_map(Step::Remove),
        1 => (0usize..100).prop_map(Step::TakeAt),
        1 => (limit(), limit()).prop_map(|(a, b)| Step::Range(a, b)),
        1 => Just(Step::Grow),
    ]
}

proptest! {
    #[test]
    fn a_sorted_set_is_a_sorted_vector(entries in 0usize..40, steps in prop::collection::vec(step(), 0..150)) {
        let mut zset = Zset::new(3);
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Insert(member, score) => {
                    let new = zset.insert(&member, score, growth(entries));
                    let old = model.iter().position(|(other, _)| *other == member);
                    prop_assert_eq!(new, old.is_none());
                    match old {
                        Some(at) => model[at].1 = score,
                        None => model.push((member, score)),
                    }
                    sort(&mut model);
                }
                Step::Add(member, by) => {
                    let updated = zset.update(&member, growth(entries), |old| Some(old.unwrap_or(0.0) + by));
                    let old = model.iter().position(|(other, _)| *other == member);
                    prop_assert_eq!(updated.old, old.map(|at| model[at].1));
                    match old {
                        Some(at) => model[at].1 += by,
                        None => model.push((member, by)),
                    }
                    sort(&mut model);
                }
                Step::Decline(member) => {
                    let updated = zset.update(&member, growth(entries), |_| None);
                    prop_assert_eq!((updated.new, updated.grown), (None, false));
                }
                Step::Remove(member) => {
                    let old = model.iter().position(|(other, _)| *other == member);
                    prop_assert_eq!(zset.remove(&member), old.map(|at| model.remove(at).1));
                }
                Step::TakeAt(rank) if !model.is_empty() => {
                    let rank = rank % model.len();
                    let taken = zset.take_at(rank, |member, score| (member.to_vec(), score));
                    prop_assert_eq!(taken, model.remove(rank));
                }
                Step::TakeAt(_) => {}
                Step::Range(min, max) => {
                    let range = ScoreRange { min, max };
                    let inside = |score: f64| {
                        let above = if min.exclusive { score > min.score } else { score >= min.score };
                        above && if max.exclusive { score < max.score } else { score <= max.score }
                    };
                    let ranks = zset.score_range(&range);
                    let got = listed(zset.ascending(ranks.start)).into_iter().take(ranks.len());
                    let expected = model.iter().filter(|(_, score)| inside(*score)).cloned();
                    prop_assert_eq!(got.collect::<Model>(), expected.collect::<Model>());
                }
                Step::Grow => zset.grow(3),
            }
            prop_assert!(zset.is_large() || zset.len() <= entries);
        }
        check(&zset, &model);
        check(&zset.clone(), &model);
        let mut bytes = Vec::new();
        zset.encode(&mut bytes);
        let mut decoded = Zset::decode(&bytes, 5).expect("what was encoded");
        prop_assert_eq!(decoded.encoding(), zset.encoding());
        check(&decoded, &model);
        while !decoded.free_some(3) {}
    }

    #[test]
    fn intervals_of_members_are_intervals_of_ranks(
        members in prop::collection::btree_set(member(), 0..60),
        low in member(),
        high in member(),
        kinds in (0u8..4, 0u8..4),
        large: bool,
    ) {
        let mut zset = Zset::new(3);
        for member in &members {
            zset.insert(member, 1.0, growth(100));
        }
        if large {
            zset.grow(3);
        }
        fn limit(kind: u8, member: &[u8]) -> LexLimit<'_> {
            match kind {
                0 => LexLimit::Lowest,
                1 => LexLimit::Highest,
                2 => LexLimit::Inclusive(member),
                _ => LexLimit::Exclusive(member),
            }
        }
        let range = LexRange { min: limit(kinds.0, &low), max: limit(kinds.1, &high) };
        let above = |member: &[u8]| match range.min {
            LexLimit::Lowest => true,
            LexLimit::Highest => false,
            LexLimit::Inclusive(min) => member >= min,
            LexLimit::Exclusive(min) => member > min,
        };
        let below = |member: &[u8]| match range.max {
            LexLimit::Lowest => false,
            LexLimit::Highest => true,
            LexLimit::Inclusive(max) => member <= max,
            LexLimit::Exclusive(max) => member < max,
        };
        let ranks = zset.lex_range(&range);
        let got: Vec<_> = zset.ascending(ranks.start).take(ranks.len()).map(|(member, _)| member.to_vec()).collect();
        let expected: Vec<_> = members.iter().filter(|m| above(m) && below(m)).cloned().collect();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn hostile_bytes_are_a_sorted_set_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Some(zset) = Zset::decode(&bytes, 1) {
            let members = listed(zset.ascending(0));
            check(&zset, &members);
        }
    }
}

#[test]
fn bytes_out_of_order_or_twice_the_same_are_refused() {
    let encoded = |entries: &[(&[u8], f64)]| {
        let mut bytes = vec![ENCODED_LARGE];
        for (member, score) in entries {
            packed::encode(Item::of(member), *score, &mut bytes);
        }
        bytes
    };
    assert!(Zset::decode(&encoded(&[(b"a", 1.0), (b"b", 1.0), (b"a1", 2.0)]), 1).is_some());
    assert!(Zset::decode(&encoded(&[(b"b", 1.0), (b"a", 1.0)]), 1).is_none());
    assert!(Zset::decode(&encoded(&[(b"a", 1.0), (b"a", 2.0)]), 1).is_none());
    assert!(Zset::decode(&encoded(&[(b"a", f64::NAN)]), 1).is_none());
    assert!(Zset::decode(&[], 1).is_none());
    assert!(Zset::decode(&[7], 1).is_none());
}

#[test]
fn a_set_grows_at_the_limits_and_not_before() {
    let mut zset = Zset::new(1);
    for i in 0..5 {
        assert!(!zset.update(format!("m{i}").as_bytes(), growth(5), |_| Some(1.0)).grown);
    }
    assert!(!zset.update(b"m0", growth(5), |_| Some(2.0)).grown, "another score is no other member");
    assert!(zset.update(b"m5", growth(5), |_| Some(1.0)).grown);
    let mut zset = Zset::new(1);
    assert!(!zset.update(&[b'x'; 20], growth(5), |_| Some(1.0)).grown);
    assert!(zset.update(&[b'x'; 21], growth(5), |_| Some(1.0)).grown);
    assert_eq!(zset.encoding(), "skiplist");
    let mut zset = Zset::new(1);
    assert!(!zset.expect(5, 20, growth(5)));
    assert!(zset.expect(6, 20, growth(5)));
    assert!(zset.is_large() && zset.is_empty());
}

#[test]
fn the_sign_of_zero_is_kept_in_the_large_form_only() {
    let mut zset = Zset::new(1);
    zset.insert(b"a", -0.0, growth(5));
    assert_eq!(zset.score(b"a").map(f64::to_bits), Some(0.0f64.to_bits()));
    zset.grow(1);
    zset.insert(b"a", -0.0, growth(5));
    assert_eq!(zset.score(b"a").map(f64::to_bits), Some(0.0f64.to_bits()), "the same score");
    zset.insert(b"b", -0.0, growth(5));
    assert_eq!(zset.score(b"b").map(f64::to_bits), Some((-0.0f64).to_bits()));
}

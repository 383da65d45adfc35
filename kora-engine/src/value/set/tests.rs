//! The set against a model, with Redis's rules for its forms.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const RULES: Rules = Rules { ints_max: 12, packed_max: 8, member_max: 6, seed: 7 };

fn members() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0i64..30).prop_map(|n| n.to_string().into_bytes()),
        1 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        3 => (0u32..20).prop_map(|n| format!("m{n}").into_bytes()),
        1 => (0usize..20).prop_map(|len| vec![b'x'; len]),
        1 => proptest::collection::vec(any::<u8>(), 0..3),
    ]
}

fn content(set: &Set) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::new();
    set.for_each(&mut |member| {
        assert!(all.insert(member.to_vec()), "each member is visited once");
        true
    });
    all
}

/// The form in which Redis's rules leave a set after these insertions, without removals and without conversions on the way.
fn form_of(members: &BTreeSet<Vec<u8>>) -> &'static str {
    let ints = members.iter().all(|member| matches!(Item::of(member), Item::Int(_)));
    let fits = members.iter().all(|member| member.len() <= RULES.member_max);
    if ints && members.len() <= RULES.ints_max {
        "intset"
    } else if !ints && fits && members.len() <= RULES.packed_max {
        "listpack"
    } else {
        "hashtable"
    }
}

proptest! {
    #[test]
    fn it_holds_what_was_put_in(steps in proptest::collection::vec((0u8..3, members()), 0..60)) {
        let (mut set, mut model) = (Set::new(0), BTreeSet::new());
        for (kind, member) in steps {
            if kind < 2 {
                prop_assert_eq!(set.insert(&member, &RULES), model.insert(member.clone()));
            } else {
                prop_assert_eq!(set.remove(&member), model.remove(&member));
            }
            prop_assert_eq!(set.contains(&member), kind < 2);
            prop_assert_eq!(set.contains_item(Item::of(&member)), kind < 2);
            prop_assert_eq!(set.len(), model.len());
        }
        prop_assert_eq!(&content(&set), &model);
        prop_assert_eq!(&content(&set.clone()), &model);

        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        let decoded = Set::decode(&bytes, 9).expect("what was encoded");
        prop_assert_eq!(decoded.encoding(), set.encoding());
        prop_assert_eq!(&content(&decoded), &model);
    }

    #[test]
    fn without_removals_its_form_follows_from_its_members(members in proptest::collection::vec(members(), 0..30)) {
        let mut set = Set::of_ints();
        let mut model = BTreeSet::new();
        for member in members {
            set.insert(&member, &RULES);
            model.insert(member);
            // An intset of more members than a packed set may have becomes a table at the first string.
            prop_assert_eq!(set.encoding(), form_of(&model));
        }
        set.convert_to_table(&RULES);
        set.compact_ints(&RULES);
        let expected = if form_of(&model) == "intset" { "intset" } else { "hashtable" };
        prop_assert_eq!(set.encoding(), expected);
        prop_assert_eq!(content(&set), model);
    }

    #[test]
    fn any_bytes_are_a_set_or_refused(form in 0u8..4, bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let input: Vec<u8> = [form].into_iter().chain(bytes).collect();
        if let Some(set) = Set::decode(&input, 3) {
            let members = content(&set);
            prop_assert_eq!(members.len(), set.len());
            prop_assert!(members.iter().all(|member| set.contains(member)));
        }
    }

    #[test]
    fn every_member_is_as_likely(count in 1usize..25, strings: bool, seed: u64) {
        let mut set = Set::of_ints();
        for n in 0..count {
            set.insert(if strings { format!("s{n}") } else { n.to_string() }.as_bytes(), &RULES);
        }
        let mut random = Random::new(seed);
        let mut seen = std::collections::HashMap::new();
        for _ in 0..count * 200 {
            let member = set.with_random(&mut random, |member| member.to_vec());
            *seen.entry(member).or_insert(0u32) += 1;
        }
        prop_assert_eq!(seen.len(), count);
        // 200 expected, standard deviation 14.
        prop_assert!(seen.values().all(|&times| times > 100 && times < 300), "{:?}", seen);
    }
}

#[test]
fn what_is_expected_decides_the_first_form() {
    let form = |first: &str, expected| Set::for_members(first.as_bytes(), expected, &RULES).encoding();
    assert_eq!(
        [form("1", 12), form("1", 13), form("x", 8), form("x", 9)],
        ["intset", "hashtable", "listpack", "hashtable"]
    );
    let mut set = Set::of_ints();
    set.insert(b"1", &RULES);
    set.expect(12, &RULES);
    assert_eq!(set.encoding(), "intset");
    set.expect(13, &RULES);
    assert_eq!((set.encoding(), set.len()), ("hashtable", 1));
}

#[test]
fn a_large_set_is_freed_in_slices() {
    let mut set = Set::of_ints();
    for n in 0..20_000 {
        set.insert(n.to_string().as_bytes(), &RULES);
    }
    let mut slices = 1;
    while !set.free_some(1000) {
        slices += 1;
    }
    assert!((10..200).contains(&slices), "{slices}");
}

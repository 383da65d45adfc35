//! Sets: operations of many forms against a naive model, and what goes on in slices while others write.

mod support;

use kora_engine::keyspace::View;
use kora_engine::shard::{EngineConfig, Shard};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use support::{begin, bulk, error, int, run, shard, shard_with, Value, NOW};

type Members = BTreeSet<Vec<u8>>;

fn members_of(reply: Value) -> Members {
    let (Value::Set(items) | Value::Array(items)) = reply else { panic!("members were expected: {reply:?}") };
    let len = items.len();
    let members: Members = items
        .into_iter()
        .map(|item| match item {
            Value::Bulk(member) => member,
            other => panic!("a member was expected: {other:?}"),
        })
        .collect();
    assert_eq!(members.len(), len, "members are distinct");
    members
}

fn add(shard: &mut Shard, key: &str, members: impl IntoIterator<Item = String>) {
    let members: Vec<String> = members.into_iter().collect();
    for chunk in members.chunks(1000) {
        run(shard, &format!("sadd {key} {}", chunk.join(" ")));
    }
}

/// Members of the sets in tests of slices: some common to all.
fn large(from: usize, to: usize) -> impl Iterator<Item = String> {
    (from..to).map(|n| format!("m{n}"))
}

fn operate(name: &str, sets: &[Members]) -> Members {
    let rest = sets[1..].iter();
    match name {
        "union" => sets.iter().flatten().cloned().collect(),
        "inter" => rest.fold(sets[0].clone(), |all, set| &all & set),
        _ => rest.fold(sets[0].clone(), |all, set| &all - set),
    }
}

#[test]
fn a_long_operation_is_sliced() {
    let mut shard = shard();
    add(&mut shard, "a", large(0, 6000));
    add(&mut shard, "b", large(3000, 9000));
    for (line, expected) in [
        ("sunionstore d a b", 9000),
        ("sinterstore d a b", 3000),
        ("sdiffstore d a b", 3000),
        ("sintercard 2 a b", 3000),
        ("sintercard 2 a b limit 10", 10),
    ] {
        let mut under = begin(&mut shard, line);
        assert!(!under.is_over(), "{line} takes its time");
        let mut slices = 1;
        while !under.resume(&mut shard) {
            slices += 1;
        }
        assert!(slices > 3 || line.ends_with("10"), "{line}: {slices}");
        assert_eq!(under.reply(), int(expected), "{line}");
    }
    for line in ["sunion a b", "sinter a b", "sdiff a b", "smembers a"] {
        assert!(!begin(&mut shard, line).is_over(), "{line} takes its time");
    }
    assert_eq!(
        members_of(run(&mut shard, "sinter a b")),
        large(3000, 6000).map(String::into_bytes).collect()
    );
    assert!(begin(&mut shard, "sunion x y").is_over());
}

#[test]
fn a_source_that_is_replaced_again_and_again_does_not_hold_an_operation_up_for_ever() {
    for (line, size) in [("sunionstore d a b", 6001), ("smembers a", 6000)] {
        let mut shard = shard();
        add(&mut shard, "a", large(0, 6000));
        run(&mut shard, "sadd b other");
        let mut under = begin(&mut shard, line);
        let mut slices = 0;
        while !under.resume(&mut shard) {
            run(&mut shard, "copy a c replace");
            run(&mut shard, "rename c a");
            slices += 1;
            // The reply is written in slices too.
            assert!(slices < 300, "{line} does not come to its end");
        }
        match under.reply() {
            Value::Integer(count) => assert_eq!(count, size),
            reply => assert_eq!(members_of(reply).len() as i64, size),
        }
    }
}

#[test]
fn a_source_that_becomes_another_type_is_an_error() {
    for line in ["sunionstore d a b", "smembers a", "sinter a b"] {
        let mut shard = shard();
        add(&mut shard, "a", large(0, 6000));
        add(&mut shard, "b", large(0, 6000));
        let mut under = begin(&mut shard, line);
        assert!(!under.resume(&mut shard));
        run(&mut shard, "set a string");
        while !under.resume(&mut shard) {}
        assert_eq!(under.reply(), error("WRONGTYPE Operation against a key holding the wrong kind of value"));
        assert_eq!(run(&mut shard, "exists d"), int(0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is written between the slices: what is stored or answered is the result of one moment.
    #[test]
    fn operations_in_slices_are_those_of_one_moment(
        name in prop::sample::select(vec!["union", "inter", "diff"]),
        stores: bool,
        sizes in (2000usize..6000, 2000usize..6000, 0usize..6000),
        writes in proptest::collection::vec((0u8..12, 0usize..3, 0usize..9000), 0..400),
    ) {
        let mut shard = shard();
        let keys = ["a", "b", "c"];
        add(&mut shard, "a", large(0, sizes.0));
        add(&mut shard, "b", large(1000, 1000 + sizes.1));
        add(&mut shard, "c", large(2000, 2000 + sizes.2));
        let state = |shard: &mut Shard| keys.map(|key| members_of(run(shard, &format!("smembers {key}"))));
        let line = if stores { format!("s{name}store d a b c") } else { format!("s{name} a b c") };
        let mut under = begin(&mut shard, &line);
        let mut writes = writes.chunks(20);
        // The first slice has not been taken: this is a moment of the command too.
        let mut moments = vec![state(&mut shard)];
        loop {
            let computed = stores && !under.is_over() && shard.keys.exists(View { db: 0, now: NOW, touch: false }, &shard.keys.key(b"d"));
            prop_assert!(!computed);
            if under.resume(&mut shard) {
                break;
            }
            for &(kind, key, n) in writes.next().unwrap_or(&[]) {
                let key = keys[key];
                match kind {
                    0..=4 => run(&mut shard, &format!("sadd {key} m{n}")),
                    5..=9 => run(&mut shard, &format!("srem {key} m{n}")),
                    10 if n < 1000 => run(&mut shard, &format!("sdiffstore {key} {key} a")),
                    11 if n < 1000 => run(&mut shard, &format!("sunionstore {key} a b")),
                    _ => run(&mut shard, &format!("spop {key}")),
                };
            }
            moments.push(state(&mut shard));
        }
        let reply = under.reply();
        let result = if stores { members_of(run(&mut shard, "smembers d")) } else { members_of(reply.clone()) };
        if stores {
            prop_assert_eq!(reply, int(result.len() as i64));
            prop_assert_eq!(&result, &operate(name, &moments[moments.len() - 1]), "the moment of the end");
        } else {
            prop_assert!(moments.iter().any(|sets| operate(name, sets) == result));
        }
    }

    #[test]
    fn members_in_slices_are_those_of_one_moment(
        size in 2000usize..9000,
        writes in proptest::collection::vec((0u8..20, 0usize..10_000), 0..400),
    ) {
        let mut shard = shard();
        add(&mut shard, "a", large(0, size));
        let mut under = begin(&mut shard, "smembers a");
        let mut writes = writes.chunks(20);
        let mut moments = vec![members_of(run(&mut shard, "smembers a"))];
        while !under.resume(&mut shard) {
            for &(kind, n) in writes.next().unwrap_or(&[]) {
                match kind {
                    0..=8 => run(&mut shard, &format!("sadd a m{n}")),
                    9..=17 => run(&mut shard, &format!("srem a m{n}")),
                    18 => run(&mut shard, "spop a 500"),
                    _ if n < 300 => run(&mut shard, "del a"),
                    _ => run(&mut shard, "spop a"),
                };
            }
            moments.push(members_of(run(&mut shard, "smembers a")));
        }
        let members = members_of(under.reply());
        prop_assert!(moments.contains(&members));
    }

    /// Small and large sets, so that all forms and both ways to a difference are met.
    #[test]
    fn operations_are_those_of_sets(
        limits in (0usize..20, 0usize..20),
        sets in proptest::collection::vec(proptest::collection::vec(0u32..60, 0..40), 1..5),
        words: bool,
        name in prop::sample::select(vec!["union", "inter", "diff"]),
        repeated in proptest::option::of(0usize..5),
        limit in 0usize..10,
    ) {
        let mut config = EngineConfig::default();
        config.limits.set_max_intset_entries = limits.0;
        config.limits.set_max_listpack_entries = limits.1;
        let mut shard = shard_with(config);
        let mut model: BTreeMap<String, Members> = BTreeMap::new();
        let mut names = Vec::new();
        for (index, set) in sets.iter().enumerate() {
            let key = format!("k{index}");
            let text = |n: &u32| if words && n.is_multiple_of(3) { format!("w{n}") } else { n.to_string() };
            add(&mut shard, &key, set.iter().map(text));
            model.insert(key.clone(), set.iter().map(|n| text(n).into_bytes()).collect());
            names.push(key);
        }
        if let Some(index) = repeated.filter(|&index| index < names.len()) {
            names.push(names[index].clone());
        }
        let sets: Vec<Members> = names.iter().map(|name| model[name].clone()).collect();
        let expected = operate(name, &sets);
        let list = names.join(" ");
        prop_assert_eq!(members_of(run(&mut shard, &format!("s{name} {list}"))), expected.clone());
        prop_assert_eq!(run(&mut shard, &format!("s{name}store d {list}")), int(expected.len() as i64));
        prop_assert_eq!(members_of(run(&mut shard, "smembers d")), expected);
        let common = operate("inter", &sets).len();
        let capped = if limit == 0 { common } else { common.min(limit) };
        let card = run(&mut shard, &format!("sintercard {} {list} limit {limit}", names.len()));
        prop_assert_eq!(card, int(capped as i64));
        // The destination may be one of the sources.
        run(&mut shard, &format!("s{name}store k0 {list}"));
        prop_assert_eq!(members_of(run(&mut shard, "smembers k0")), operate(name, &sets));
    }

    #[test]
    fn random_choices_are_members_and_as_many_as_asked_for(
        size in 1usize..400,
        words: bool,
        count in -500i64..500,
    ) {
        let mut shard = shard();
        add(&mut shard, "a", (0..size).map(|n| if words { format!("w{n}") } else { n.to_string() }));
        let all = members_of(run(&mut shard, "smembers a"));
        let Value::Array(chosen) = run(&mut shard, &format!("srandmember a {count}")) else { panic!("an array") };
        let expected = if count < 0 { count.unsigned_abs() as usize } else { size.min(count as usize) };
        prop_assert_eq!(chosen.len(), expected);
        prop_assert!(chosen.iter().all(|member| matches!(member, Value::Bulk(text) if all.contains(text))));
        if count >= 0 {
            let distinct = members_of(Value::Array(chosen)).len();
            prop_assert_eq!(distinct, expected);
            let popped = members_of(run(&mut shard, &format!("spop a {count}")));
            prop_assert_eq!(popped.len(), expected);
            let rest = members_of(run(&mut shard, "smembers a"));
            prop_assert!(popped.is_disjoint(&rest));
            prop_assert_eq!(&popped | &rest, all);
            prop_assert_eq!(run(&mut shard, "exists a"), int((expected < size) as i64));
        }
    }

    /// Choices of many members, with writes between the slices: they are members of one moment, and what is popped is gone.
    #[test]
    fn many_random_members_are_those_of_one_moment(
        size in 3000usize..7000,
        part in 1usize..40,
        command in prop::sample::select(vec!["srandmember", "srandmember-", "spop"]),
        writes in proptest::collection::vec((0u8..40, 0usize..8000), 0..400),
        busy: bool,
    ) {
        let mut shard = shard();
        add(&mut shard, "a", large(0, size));
        run(&mut shard, "expireat a 9999999999");
        let count = (size * part / 32).max(1);
        let line = match command.strip_suffix('-') {
            Some(name) => format!("{name} a -{count}"),
            None => format!("{command} a {count}"),
        };
        let mut moments = vec![members_of(run(&mut shard, "smembers a"))];
        let mut under = begin(&mut shard, &line);
        let mut writes = writes.chunks(if busy { 2 } else { 60 });
        while !under.resume(&mut shard) {
            for &(kind, n) in writes.next().unwrap_or(&[]) {
                match kind {
                    0..=30 => run(&mut shard, &format!("sadd a m{n}")),
                    31..=36 if busy => run(&mut shard, &format!("srem a m{n}")),
                    37 if busy && n < 200 => run(&mut shard, "del a"),
                    38 if busy && n < 200 => run(&mut shard, "sunionstore a a b"),
                    _ => run(&mut shard, &format!("sadd b m{n}")),
                };
            }
            moments.push(members_of(run(&mut shard, "smembers a")));
        }
        let reply = under.reply();
        let (Value::Set(items) | Value::Array(items)) = &reply else { panic!("members: {reply:?}") };
        let chosen: Members = items
            .iter()
            .map(|item| match item {
                Value::Bulk(member) => member.clone(),
                other => panic!("a member was expected: {other:?}"),
            })
            .collect();
        let distinct = chosen.len() == items.len();
        prop_assert!(distinct || line.contains('-'));
        let fits = |members: &Members| {
            let wanted = if members.is_empty() { 0 } else if line.contains('-') { count } else { count.min(members.len()) };
            items.len() == wanted && chosen.is_subset(members)
        };
        prop_assert!(moments.iter().any(fits));
        if command == "spop" {
            let rest = members_of(run(&mut shard, "smembers a"));
            // Nothing that was popped is there, unless it has come again while the answer was being written.
            let missing: Members = &chosen & &rest;
            prop_assert!(missing.len() <= 400);
            // A set that was emptied and came again is a new one.
            if !busy && count < size {
                prop_assert_eq!(run(&mut shard, "expiretime a"), int(9_999_999_999));
            }
        }
    }

    #[test]
    fn a_scan_finds_every_member(size in 0usize..2000, count in 1usize..50, words: bool) {
        let mut shard = shard();
        add(&mut shard, "a", (0..size).map(|n| if words { format!("w{n}") } else { n.to_string() }));
        let (mut cursor, mut found) = ("0".to_owned(), Members::new());
        loop {
            let Value::Array(page) = run(&mut shard, &format!("sscan a {cursor} count {count}")) else {
                panic!("a page")
            };
            let [Value::Bulk(next), members] = &page[..] else { panic!("a cursor and members") };
            found.extend(members_of(members.clone()));
            cursor = String::from_utf8(next.clone()).expect("a number");
            if cursor == "0" {
                break;
            }
        }
        prop_assert_eq!(found.len(), size);
    }
}

#[test]
fn random_choices_are_uniform() {
    for words in [false, true] {
        for size in [10usize, 300] {
            let mut shard = shard();
            let text = |n: usize| if words { format!("w{n}") } else { n.to_string() };
            add(&mut shard, "a", (0..size).map(text));
            for (count, rounds) in [(1, 300 * size), (size / 5, 1500), (size * 4 / 5, 400)] {
                let mut times: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
                for _ in 0..rounds {
                    for member in members_of(run(&mut shard, &format!("srandmember a {count}"))) {
                        *times.entry(member).or_default() += 1;
                    }
                }
                let expected = (rounds * count) as f64 / size as f64;
                let deviations = expected.sqrt() * 6.0;
                for n in 0..size {
                    let seen = times.get(text(n).as_bytes()).copied().unwrap_or(0) as f64;
                    assert!(
                        (seen - expected).abs() < deviations,
                        "{count} of {size}: {n} came {seen} times of {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn counts_that_are_only_claimed_cost_nothing() {
    let mut shard = shard();
    run(&mut shard, "sadd a 1 2 3");
    let range = error("ERR value is out of range");
    assert_eq!(run(&mut shard, "srandmember a -100000000000"), range);
    assert_eq!(run(&mut shard, "srandmember a -9223372036854775807"), range);
    assert_eq!(
        run(&mut shard, "srandmember a -9223372036854775808"),
        error("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807")
    );
    assert_eq!(members_of(run(&mut shard, "srandmember a 9223372036854775807")).len(), 3);
    assert_eq!(run(&mut shard, "srandmember missing -100000000000"), Value::Array(vec![]));
    assert_eq!(
        run(&mut shard, "sintercard 9223372036854775807 a"),
        error("ERR Number of keys can't be greater than number of args")
    );
    assert_eq!(members_of(run(&mut shard, "spop a 9223372036854775807")).len(), 3);
    assert_eq!(run(&mut shard, "spop a"), Value::Null);
    run(&mut shard, "sadd a x");
    assert_eq!(run(&mut shard, "spop a"), bulk("x"));
}

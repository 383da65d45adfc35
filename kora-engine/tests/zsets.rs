//! Sorted sets: what goes on in slices while others write, and limits of their forms.

mod support;

use kora_engine::shard::Shard;
use support::{begin, bulk, int, run, shard, Value, NOW};

fn fill(shard: &mut Shard, key: &str, from: usize, to: usize) {
    let numbers: Vec<usize> = (from..to).collect();
    for chunk in numbers.chunks(500) {
        let pairs = chunk.iter().map(|n| format!(" {} m{n}", n * 7919 % 10007)).collect::<String>();
        run(shard, &format!("zadd {key}{pairs}"));
    }
}

const COMMANDS: &[&str] = &[
    "zrange a 0 -1",
    "zrange a 0 -1 rev",
    "zrange a 100 5000 byscore limit 50 3000",
    "zrange a (9000 10 byscore rev withscores",
    "zrange a - + bylex limit 0 2500",
    "zunion 2 a b withscores",
    "zunion 3 b a s aggregate max withscores",
    "zinter 2 a b withscores",
    "zinter 3 a s b",
    "zdiff 2 a b",
    "zdiff 2 b s withscores",
    "zintercard 2 a b",
    "zintercard 2 a b limit 1990",
    "zrangestore d a 0 -1",
    "zrangestore d a 5000 -inf byscore rev",
    "zunionstore d 2 a b weights 2 3",
    "zinterstore d 2 a b",
    "zdiffstore d 2 b a",
    "geosearch a fromlonlat -179 -85 byradius 20000 km asc",
    "geosearch a fromlonlat -179 -85 byradius 20000 km count 1700",
    "geosearchstore d a fromlonlat -179 -85 bybox 40000 40000 km storedist",
];

/// Two large sorted sets and a large set, which overlap.
fn filled() -> Shard {
    let mut shard = shard();
    fill(&mut shard, "a", 0, 4000);
    fill(&mut shard, "b", 2000, 6000);
    for start in (1000..5000).step_by(500) {
        let members = (start..start + 500).map(|n| format!(" m{n}")).collect::<String>();
        run(&mut shard, &format!("sadd s{members}"));
    }
    shard
}

/// What a command has answered, and what it has stored.
fn outcome(shard: &mut Shard, line: &str, reply: Value) -> (Value, Value) {
    let stored = if line.contains("store") { run(shard, "zrange d 0 -1 withscores") } else { int(0) };
    (reply, stored)
}

#[test]
fn large_commands_take_slices_and_answer_as_at_once() {
    for line in COMMANDS {
        let mut shard = filled();
        let mut under = begin(&mut shard, line);
        let mut slices = 0;
        while !under.resume(&mut shard) {
            slices += 1;
        }
        assert!(slices > 3, "{line} took {slices} slices");
        let reply = under.reply();
        let sliced = outcome(&mut shard, line, reply);
        // The same with a time to work that is never over.
        let mut shard = filled();
        let mut under = begin(&mut shard, line);
        while !under.resume_for(&mut shard, NOW, 1 << 30) {}
        let reply = under.reply();
        assert_eq!(sliced, outcome(&mut shard, line, reply), "{line}");
    }
}

#[test]
fn an_answer_is_that_of_one_moment_whatever_others_write_meanwhile() {
    let writes = [
        "zadd a -5 new1 20000 new2",
        "zadd a 17 m5 4000 m3000",
        "zrem a m7 m2500",
        "zincrby b 3 m2600",
        "zrem b m2601",
        "srem s m3000",
        "sadd s m0 m1",
        "zpopmin a",
        "zpopmax b 5",
        "zadd b 4 extra",
    ];
    for line in COMMANDS {
        for seed in 0..4 {
            let mut shard = filled();
            let mut under = begin(&mut shard, line);
            for step in 0..12 {
                run(&mut shard, writes[(step * 3 + seed * 5) % writes.len()]);
                for _ in 0..=seed {
                    assert!(!under.resume(&mut shard), "{line} is not over so soon");
                }
            }
            // Nobody writes any more: what is answered is what is there.
            let reply = under.finish(&mut shard);
            let sliced = outcome(&mut shard, line, reply);
            let again = begin(&mut shard, line).finish(&mut shard);
            assert_eq!(sliced, outcome(&mut shard, line, again), "{line}");
        }
    }
}

#[test]
fn a_source_that_is_replaced_or_goes_away_is_no_longer_there() {
    for line in COMMANDS {
        for write in ["del a", "del b", "flushdb", "set a x", "rename b a", "swapdb 0 1", "zunionstore a 1 b"]
        {
            let mut shard = filled();
            let mut under = begin(&mut shard, line);
            under.resume(&mut shard);
            run(&mut shard, write);
            let reply = under.finish(&mut shard);
            let sliced = outcome(&mut shard, line, reply);
            let again = begin(&mut shard, line).finish(&mut shard);
            assert_eq!(sliced, outcome(&mut shard, line, again), "{line} and {write}");
        }
    }
}

#[test]
fn writes_without_an_end_do_not_keep_an_answer_from_coming() {
    for line in COMMANDS {
        let mut shard = filled();
        let mut under = begin(&mut shard, line);
        let mut turns = 0;
        while !under.resume(&mut shard) {
            run(&mut shard, &format!("zadd a {turns} m{}", turns % 100));
            turns += 1;
            assert!(turns < 5000, "{line}");
        }
    }
}

#[test]
fn a_part_of_a_set_is_removed_little_by_little() {
    let mut shard = filled();
    let mut under = begin(&mut shard, "zremrangebyrank a 500 3499");
    let mut sizes = vec![run(&mut shard, "zcard a")];
    while !under.resume(&mut shard) {
        sizes.push(run(&mut shard, "zcard a"));
    }
    assert!(sizes.len() > 5);
    assert_eq!(under.reply(), int(3000));
    assert_eq!(run(&mut shard, "zcard a"), int(1000));
    let mut whole = filled();
    let kept = |shard: &mut Shard, line: &str| match run(shard, line) {
        Value::Array(items) => items,
        other => panic!("{other:?}"),
    };
    let mut expected = kept(&mut whole, "zrange a 0 499");
    expected.extend(kept(&mut whole, "zrange a 3500 -1"));
    assert_eq!(kept(&mut shard, "zrange a 0 -1"), expected);
}

#[test]
fn members_between_the_ends_of_a_removal_go_also_if_they_come_late() {
    let mut shard = filled();
    let mut under = begin(&mut shard, "zremrangebyscore a 1000 8000");
    under.resume(&mut shard);
    run(&mut shard, "zadd a 2000 late 1 m17 9000 outside");
    let reply = under.finish(&mut shard);
    let Value::Integer(removed) = reply else { panic!("{reply:?}") };
    assert!(removed > 2000);
    assert_eq!(run(&mut shard, "zscore a late"), Value::Null);
    assert_ne!(run(&mut shard, "zscore a outside"), Value::Null);
    let Value::Array(left) = run(&mut shard, "zrangebyscore a 1001 7999") else { panic!("an array") };
    assert!(left.is_empty());
}

#[test]
fn what_is_popped_is_answered_even_if_the_rest_goes_away() {
    for (line, popped) in [("zpopmin a 3000", 3000), ("zpopmax a 4000", 4000), ("zpopmax a 5000", 4000)] {
        let mut shard = filled();
        let Value::Array(all) = run(&mut filled(), "zrange a 0 -1") else { panic!("an array") };
        let Value::Array(reply) = begin(&mut shard, line).finish(&mut shard) else { panic!("an array") };
        let members: Vec<Value> = reply.into_iter().step_by(2).collect();
        let mut expected = all;
        if line.contains("max") {
            expected.reverse();
        }
        expected.truncate(popped);
        assert_eq!(members, expected);
        assert_eq!(run(&mut shard, "zcard a"), int(4000 - popped as i64));
    }
    let mut shard = filled();
    let mut under = begin(&mut shard, "zpopmin a 3000");
    under.resume(&mut shard);
    run(&mut shard, "del a");
    let Value::Array(reply) = under.finish(&mut shard) else { panic!("an array") };
    assert!(!reply.is_empty() && reply.len() < 6000);
    assert_eq!(run(&mut shard, "exists a"), int(0));
}

#[test]
fn a_random_choice_has_no_member_twice_unless_asked() {
    let mut shard = filled();
    for count in [1, 10, 1000, 3000, 4000, 5000] {
        let Value::Array(chosen) = run(&mut shard, &format!("zrandmember a {count}")) else {
            panic!("an array")
        };
        assert_eq!(chosen.len(), count.min(4000));
        let mut names: Vec<Vec<u8>> = chosen
            .into_iter()
            .map(|value| match value {
                Value::Bulk(name) => name,
                other => panic!("{other:?}"),
            })
            .collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count.min(4000));
    }
    let Value::Array(chosen) = run(&mut shard, "zrandmember a -9000 withscores") else { panic!("an array") };
    assert_eq!(chosen.len(), 18_000);
    // Each member has the same chance: of 200,000 draws of ten, each gets some 20,000.
    run(&mut shard, "zadd ten 1 a 2 b 3 c 4 d 5 e 6 f 7 g 8 h 9 i 10 j");
    let mut seen = std::collections::HashMap::new();
    for _ in 0..2000 {
        let Value::Array(three) = run(&mut shard, "zrandmember ten 3") else { panic!("an array") };
        assert_eq!(three.len(), 3);
        for name in three {
            *seen.entry(format!("{name:?}")).or_insert(0) += 1;
        }
    }
    assert!(seen.len() == 10 && seen.values().all(|&times| (500..700).contains(&times)), "{seen:?}");
}

#[test]
fn sets_take_the_form_that_redis_reports() {
    let mut shard = shard();
    let pairs = |n: usize| (0..n).map(|i| format!(" {i} m{i}")).collect::<String>();
    let encoding = |shard: &mut Shard, key: &str| run(shard, &format!("object encoding {key}"));
    run(&mut shard, &format!("zadd packed{}", pairs(128)));
    assert_eq!(encoding(&mut shard, "packed"), bulk("listpack"));
    run(&mut shard, "zadd packed 5 m5");
    assert_eq!(encoding(&mut shard, "packed"), bulk("listpack"));
    run(&mut shard, "zadd packed 5 another");
    assert_eq!(encoding(&mut shard, "packed"), bulk("skiplist"));
    run(&mut shard, "zremrangebyrank packed 0 -2");
    assert_eq!(encoding(&mut shard, "packed"), bulk("skiplist"));
    // So many are announced that it begins in its large form, although some are the same.
    run(&mut shard, &format!("zadd announced{}{}", pairs(100), pairs(29)));
    assert_eq!(encoding(&mut shard, "announced"), bulk("skiplist"));
    run(&mut shard, "zunionstore stored 1 announced");
    assert_eq!(encoding(&mut shard, "stored"), bulk("listpack"));
}

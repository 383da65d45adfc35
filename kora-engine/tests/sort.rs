//! SORT of large collections: in slices, and the result of one moment.

mod support;

use kora_engine::command::registry;
use kora_engine::keyspace::View;
use kora_engine::shard::{Applied, Shard};
use proptest::prelude::*;
use std::collections::BTreeMap;
use support::{bulks, error, int, run, shard, Sink, Value, NOW};

/// Runs a command, with `between` after each slice; the reply and the number of slices.
fn sliced(shard: &mut Shard, line: &str, mut between: impl FnMut(&mut Shard)) -> (Value, usize) {
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let command = registry().resolve(&argv).expect("a command");
    let mut sink = Sink::default();
    let view = View { db: 0, now: NOW, touch: true };
    let mut slices = 0;
    if let Applied::Later(mut work) = shard.apply(view, command, &argv, None, &mut sink) {
        between(shard);
        while !work.resume(shard, NOW, 1, &mut sink) {
            slices += 1;
            assert!(slices < 100_000, "{line} does not come to its end");
            between(shard);
        }
    }
    (sink.finish(), slices)
}

fn fill(shard: &mut Shard, command: &str, words: &[String]) {
    for chunk in words.chunks(1000) {
        run(shard, &format!("{command} {}", chunk.join(" ")));
    }
}

/// Numbers below `len` in some order.
fn shuffled(len: usize) -> Vec<usize> {
    (0..len).map(|n| n * 7919 % len).collect()
}

#[test]
fn large_collections_are_sorted_in_slices() {
    let len = 5003;
    let mut shard = shard();
    let numbers: Vec<String> = shuffled(len).iter().map(usize::to_string).collect();
    fill(&mut shard, "rpush list", &numbers);
    fill(&mut shard, "sadd set", &numbers);
    let scored: Vec<String> = numbers.iter().map(|n| format!("1 {n}")).collect();
    fill(&mut shard, "zadd zset", &scored);
    let ascending: Vec<String> = (0..len).map(|n| n.to_string()).collect();
    let mut text = ascending.clone();
    text.sort();
    for key in ["list", "set", "zset"] {
        let (reply, slices) = sliced(&mut shard, &format!("sort {key}"), |_| {});
        assert_eq!(reply, bulks(&ascending), "{key}");
        assert!(slices > 20, "{key}: {slices}");
        let (reply, _) = sliced(&mut shard, &format!("sort {key} alpha desc limit 10 3"), |_| {});
        assert_eq!(reply, bulks(text.iter().rev().skip(10).take(3)), "{key}");
        let (reply, _) = sliced(&mut shard, &format!("sort {key} store d"), |_| {});
        assert_eq!(reply, int(len as i64));
        assert_eq!(run(&mut shard, "lrange d 0 -1"), bulks(&ascending), "{key}");
        let (reply, _) = sliced(&mut shard, &format!("sort {key} limit 4000 2 get # get x_*"), |_| {});
        let expected = ["4000", "4001"].map(|n| [Value::Bulk(n.into()), Value::Null]).concat();
        assert_eq!(reply, Value::Array(expected));
    }
    let (reply, _) = sliced(&mut shard, "sort list by nosort", |_| {});
    assert_eq!(reply, bulks(&numbers));
    let (reply, _) = sliced(&mut shard, "sort list by nosort desc limit 1 4000", |_| {});
    assert_eq!(reply, bulks(numbers.iter().rev().skip(1).take(4000)));
    let (reply, _) = sliced(&mut shard, "sort zset by nosort desc limit 2 3", |_| {});
    assert_eq!(reply, bulks(text.iter().rev().skip(2).take(3)));
    let (reply, _) = sliced(&mut shard, "sort set by nosort limit 0 4500", |_| {});
    let Value::Array(some) = reply else { panic!("an array") };
    assert_eq!(some.len(), 4500);
    run(&mut shard, "rpush list x");
    let (reply, _) = sliced(&mut shard, "sort list", |_| {});
    assert_eq!(reply, error("ERR One or more scores can't be converted into double"));
}

#[test]
fn what_is_read_may_change_all_the_time() {
    let mut shard = shard();
    let words: Vec<String> = (0..3000).map(|n| format!("e{n}")).collect();
    fill(&mut shard, "rpush list", &words);
    let mut turn = 0;
    let (reply, slices) = sliced(&mut shard, "sort list by w_* get v_* store d", |shard| {
        turn += 1;
        run(shard, &format!("set w_e1 {turn}"));
    });
    assert_eq!(reply, int(3000));
    assert!(slices < 300, "{slices}");
    // What has nothing to do with it does not disturb it.
    let (_, alone) = sliced(&mut shard, "sort list by w_* get v_* store d", |_| {});
    let (_, beside) = sliced(&mut shard, "sort list by w_* get v_* store d", |shard| {
        run(shard, "set other 1");
        run(shard, "rpush d more");
    });
    assert_eq!(alone, beside);
    let (reply, _) = sliced(&mut shard, "sort list alpha", |shard| {
        run(shard, "set list string");
    });
    assert_eq!(reply, error("WRONGTYPE Operation against a key holding the wrong kind of value"));
    run(&mut shard, "flushall");
    fill(&mut shard, "rpush list", &words);
    let (reply, _) = sliced(&mut shard, "sort list alpha", |shard| {
        run(shard, "flushall");
    });
    assert_eq!(reply, Value::Array(Vec::new()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// All weights are moved together, by one MSET: an answer that mixes two moments would show.
    #[test]
    fn a_sort_in_slices_is_that_of_one_moment(
        len in 1100usize..3000,
        moves in proptest::collection::vec((0usize..300, 0usize..4), 1..6),
        set: bool,
    ) {
        let mut shard = shard();
        let words: Vec<String> = (0..len).map(|n| format!("e{n}")).collect();
        fill(&mut shard, if set { "sadd k" } else { "rpush k" }, &words);
        let assign = |shard: &mut Shard, base: usize| {
            let pairs: Vec<String> = (0..len).map(|n| format!("w_e{n} {}", (n + base) % len)).collect();
            run(shard, &format!("mset {}", pairs.join(" ")));
        };
        assign(&mut shard, 0);
        let (mut base, mut gone) = (0, 0);
        let mut moves = moves.into_iter();
        let mut next = moves.next();
        // Each moment: the base of the weights, and how many elements are gone.
        let mut moments = vec![(0, 0)];
        let (reply, _) = sliced(&mut shard, "sort k by w_* get # get w_*", |shard| {
            if let Some((wait, kind)) = &mut next {
                if *wait > 0 {
                    *wait -= 1;
                    return;
                }
                match kind {
                    0 => {
                        run(shard, &format!("{} e{gone}", if set { "srem k" } else { "lrem k 0" }));
                        gone += 1;
                    }
                    _ => {
                        base += 1;
                        assign(shard, base);
                    }
                }
                moments.push((base, gone));
                next = moves.next();
            }
        });
        let results = moments.iter().map(|&(base, gone)| {
            let weights: BTreeMap<usize, usize> = (gone..len).map(|n| ((n + base) % len, n)).collect();
            let pairs = weights.iter().flat_map(|(weight, n)| [format!("e{n}"), weight.to_string()]);
            bulks(pairs.collect::<Vec<_>>())
        });
        prop_assert!(results.into_iter().any(|result| result == reply));
    }
}

//! What goes on in slices, while keys expire and others write: each result is that of one moment.

mod support;

use kora_engine::keyspace::View;
use kora_engine::shard::{EngineConfig, Shard};
use proptest::prelude::*;
use support::{begin, error, int, run, run_args, run_at, shard, shard_with, Under, Value, NOW};

/// Elements of what is large here.
const LARGE: usize = 5000;

/// Begins a command that goes on in slices.
fn begin_long(shard: &mut Shard, line: &str) -> Under {
    let under = begin(shard, line);
    assert!(!under.is_over(), "{line} takes its time");
    under
}

fn fill(shard: &mut Shard, command: &str, element: impl Fn(usize) -> String) {
    for start in (0..LARGE).step_by(1000) {
        let line = (start..start + 1000).fold(command.to_owned(), |line, i| line + " " + &element(i));
        assert!(!matches!(run(shard, &line), Value::Error(_)), "{command}");
    }
}

/// Makes a large value of a type at a key.
fn make(shard: &mut Shard, kind: &str, key: &str) {
    match kind {
        "set" => fill(shard, &format!("sadd {key}"), |i| format!("m{i}")),
        "zset" => fill(shard, &format!("zadd {key}"), |i| format!("{} m{i}", i * 7 % 1000)),
        "hash" => {
            fill(shard, &format!("hset {key}"), |i| format!("m{i} value:{i}"));
            run(shard, &format!("hpexpireat {key} {} fields 2 m5 m1700", NOW + 50));
        }
        "list" => fill(shard, &format!("rpush {key}"), |i| format!("m{i}")),
        "numbers" => fill(shard, &format!("rpush {key}"), |i| i.to_string()),
        "places" => fill(shard, &format!("geoadd {key}"), |i| format!("{} {} m{i}", i % 90, i / 90)),
        "stream" => {
            (0..LARGE).for_each(|i| {
                run(shard, &format!("xadd {key} {}-1 f value:{i}", i + 1));
            });
            run(shard, &format!("xgroup create {key} g 0"));
            run(shard, &format!("xreadgroup group g c count 30 streams {key} >"));
            // Another one, with more pending entries than a slice copies.
            run(shard, &format!("xgroup create {key} h 0"));
            for consumer in ["c", "d"] {
                run(shard, &format!("xreadgroup group h {consumer} count 400 streams {key} >"));
            }
        }
        _ => unreachable!("{kind}"),
    }
}

/// Number of elements of a reply.
fn len_of(reply: &Value) -> usize {
    match reply {
        Value::Array(items) | Value::Set(items) => items.len(),
        Value::Integer(number) => *number as usize,
        reply => panic!("elements or their number: {reply:?}"),
    }
}

#[test]
fn what_expires_between_two_slices_has_no_part_in_the_result() {
    for (kinds, line, expected) in [
        (["set", "set"], "sunion a b", LARGE),
        (["set", "set"], "sinter b a", 0),
        (["set", "set"], "sunionstore d a c", 1),
        (["set", "set"], "sdiffstore d b a", LARGE),
        (["zset", "zset"], "zunionstore d 2 a c", 1),
        (["zset", "zset"], "zinter 2 b a", 0),
        (["numbers", "list"], "sort a", 0),
        (["list", "list"], "sort a alpha store d", 0),
        (["set", "list"], "sort a alpha get #", 0),
        (["places", "list"], "geosearch a fromlonlat 45 20 byradius 20000 km", 0),
        (["places", "list"], "geosearchstore d a fromlonlat 45 20 byradius 20000 km", 0),
        (["set", "list"], "spop a 2000", 0),
        (["set", "list"], "copy a d", 0),
        (["zset", "list"], "zrange a 0 -1", 0),
        (["zset", "list"], "zrangestore d a 0 -1", 0),
    ] {
        let mut shard = shard();
        make(&mut shard, kinds[0], "a");
        make(&mut shard, kinds[1], "b");
        run(&mut shard, if kinds[0] == "zset" { "zadd c 1 x" } else { "sadd c x" });
        run(&mut shard, &format!("pexpireat a {}", NOW + 10));
        let mut under = begin_long(&mut shard, line);
        assert!(!under.resume(&mut shard), "{line}");
        let reply = under.finish_at(&mut shard, NOW + 11);
        assert_eq!(len_of(&reply), expected, "{line}");
        // Nothing that has expired comes back, with or without an expiry.
        assert_eq!(run_at(&mut shard, NOW + 11, "exists a"), int(0), "{line}");
        let stored = line.contains("store") || line.starts_with("copy");
        let exists = int((stored && expected > 0) as i64);
        assert_eq!(run_at(&mut shard, NOW + 11, "exists d"), exists, "{line}");
    }
}

#[test]
fn a_reply_of_the_same_members_again_and_again_has_a_limit() {
    let config = EngineConfig { max_string_len: 1 << 20, ..EngineConfig::default() };
    let mut shard = shard_with(config);
    let long = "l".repeat(10_000);
    for key in ["a", "packed"] {
        run(&mut shard, &format!("sadd {key} {long}1 {long}2"));
    }
    fill(&mut shard, "sadd a", |i| format!("{long}m{i}"));
    for key in ["a", "packed"] {
        for count in [2000, 1_000_000, 1 << 24] {
            let reply = run(&mut shard, &format!("srandmember {key} -{count}"));
            assert!(reply == error("ERR value is out of range"), "{key} {count}");
        }
        assert_eq!(len_of(&run(&mut shard, &format!("srandmember {key} -90"))), 90);
        assert_eq!(len_of(&run(&mut shard, &format!("srandmember {key} -3"))), 3);
    }
    // Different members are no more than there are.
    assert_eq!(len_of(&run(&mut shard, "srandmember a 3000")), 3000);
}

/// What a key holds, and when it expires.
fn data(shard: &mut Shard, db: u16, key: &str) -> (Vec<Value>, Value) {
    let mut run = |line: &str| {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        run_args(shard, View { db, now: NOW, touch: false }, &argv)
    };
    let Value::Simple(kind) = run(&format!("type {key}")) else { panic!("a type") };
    let mut items = vec![Value::Simple(kind.clone()), run(&format!("object encoding {key}"))];
    let content = match &kind[..] {
        "set" => run(&format!("smembers {key}")),
        "zset" => run(&format!("zrange {key} 0 -1 withscores")),
        "list" => run(&format!("lrange {key} 0 -1")),
        "stream" => {
            let mut content = vec![run(&format!("xrange {key} - +"))];
            content.extend(["g - + 1000", "h - + 1000", "h - + 1000 d"].map(|pending| {
                match run(&format!("xpending {key} {pending}")) {
                    // There is no such group; the error names the key.
                    Value::Error(_) => Value::Null,
                    pending => pending,
                }
            }));
            Value::Array(content)
        }
        "hash" => {
            items.push(run(&format!("hpexpiretime {key} fields 3 m5 m6 m1700")));
            run(&format!("hgetall {key}"))
        }
        "string" => run(&format!("get {key}")),
        _ => Value::Null,
    };
    let mut content = match content {
        Value::Array(items) | Value::Set(items) => items,
        Value::Map(items) => items.chunks(2).map(|pair| Value::Array(pair.to_vec())).collect(),
        other => vec![other],
    };
    if kind == "set" || kind == "hash" {
        content.sort_by_key(|item| format!("{item:?}"));
    }
    items.extend(content);
    (items, run(&format!("pexpiretime {key}")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever others do with the source and the destination: the copy is the source of the moment in which COPY ends.
    #[test]
    fn a_copy_in_slices_is_of_one_moment(
        kind in prop::sample::select(vec!["set", "zset", "hash", "list", "stream"]),
        replace: bool,
        other_db: bool,
        pauses in proptest::collection::vec(0usize..6, 1..40),
        writes in proptest::collection::vec((0u8..40, 0usize..6000), 0..120),
    ) {
        let mut shard = shard();
        make(&mut shard, kind, "a");
        make(&mut shard, "set", "other");
        let db = if other_db { 3 } else { 0 };
        let line = format!("copy a b{}{}", if other_db { " db 3" } else { "" }, if replace { " replace" } else { "" });
        let mut under = begin_long(&mut shard, &line);
        let (mut writes, mut pauses) = (writes.into_iter(), pauses.into_iter().cycle());
        loop {
            for _ in 0..pauses.next().unwrap_or(0) {
                let Some((what, n)) = writes.next() else { break };
                let line = match (what, kind) {
                    (0, _) => "rename a c".to_owned(),
                    (1, _) => "rename c a".to_owned(),
                    (2, _) if n < 500 => "flushall".to_owned(),
                    (3, _) => "swapdb 0 1".to_owned(),
                    (4, _) if n < 1000 => "del a".to_owned(),
                    (5, _) => "set b x".to_owned(),
                    (6, _) => "del b".to_owned(),
                    (7, _) => format!("pexpireat a {}", NOW + 1000 + n as u64),
                    (8, _) if n < 1000 => "copy other a replace".to_owned(),
                    (9, _) if n < 1000 => "set a string".to_owned(),
                    (10, _) => "persist a".to_owned(),
                    (11..=20, "set") => format!("sadd a n{n}"),
                    (_, "set") => format!("srem a m{n}"),
                    (11..=20, "zset") => format!("zadd a {n} m{}", n * 7 % 5000),
                    (_, "zset") => format!("zrem a m{n}"),
                    (11..=20, "hash") => format!("hset a m{n} other"),
                    (_, "hash") => format!("hdel a m{n}"),
                    (11..=15, "list") => format!("lpush a n{n}"),
                    (16..=25, "list") => format!("lset a {n} other"),
                    (_, "list") => format!("lpop a {}", n / 100),
                    (11..=20, _) => format!("xadd a {}-1 f x", n + 9000),
                    (21..=30, _) => format!("xdel a {n}-1"),
                    _ => "xreadgroup group g c count 3 streams a >".to_owned(),
                };
                run(&mut shard, &line);
            }
            let before = data(&mut shard, db, "b");
            if under.resume(&mut shard) {
                let (source, copy) = (data(&mut shard, 0, "a"), data(&mut shard, db, "b"));
                let missing = source.0[0] == Value::Simple("none".into());
                let refused = missing || !replace && before.0[0] != Value::Simple("none".into());
                prop_assert_eq!(under.reply(), int(!refused as i64));
                let expected = if refused { before } else { source };
                prop_assert!(copy == expected, "the copy is not the source");
                break;
            }
            prop_assert!(data(&mut shard, db, "b") == before, "nothing is seen of it before its end");
        }
    }
}

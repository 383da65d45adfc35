//! Hash commands on a shard: what a clock shows of fields that expire, changes, slices, and what is left to chance.

mod support;

use kora_engine::command::registry;
use kora_engine::keyspace::View;
use kora_engine::limits::EncodingLimits;
use kora_engine::shard::{Applied, EngineConfig, Shard};
use std::collections::{BTreeMap, BTreeSet};
use support::*;

/// A shard in which every hash is a table.
fn shard_of_tables() -> Shard {
    let limits = EncodingLimits { hash_max_listpack_entries: 0, ..EncodingLimits::default() };
    shard_with(EngineConfig { limits, ..EngineConfig::default() })
}

fn both() -> [Shard; 2] {
    [shard(), shard_of_tables()]
}

/// A hash of fields `f0` to `f{count - 1}`, each with its number as the value.
fn fill(shard: &mut Shard, key: &str, count: usize) {
    for start in (0..count).step_by(1000) {
        let pairs: Vec<String> =
            (start..count.min(start + 1000)).map(|field| format!("f{field} {field}")).collect();
        run(shard, &format!("HSET {key} {}", pairs.join(" ")));
    }
}

/// Runs a command and counts its turns; no turn may get a larger budget than one segment.
fn turns(shard: &mut Shard, line: &str) -> (usize, Value) {
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let command = registry().resolve(&argv).expect("it is a command");
    let mut sink = Sink::default();
    let mut count = 1;
    if let Applied::Later(mut rest) =
        shard.apply(View { db: 0, now: NOW, touch: true }, command, &argv, None, &mut sink)
    {
        count += 1;
        while !rest.resume(shard, NOW, 1, &mut sink) {
            count += 1;
        }
    }
    (count, sink.finish())
}

fn texts(value: Value) -> Vec<String> {
    let (Value::Array(items) | Value::Map(items)) = value else { panic!("no list: {value:?}") };
    items
        .into_iter()
        .map(|item| match item {
            Value::Bulk(bytes) => String::from_utf8(bytes).expect("text"),
            other => panic!("no bulk string: {other:?}"),
        })
        .collect()
}

#[test]
fn a_field_past_its_time_is_not_there() {
    for mut shard in both() {
        run(&mut shard, "HSET h a 1 b 2 c 3");
        run(&mut shard, &format!("HPEXPIREAT h {} FIELDS 2 a b", NOW + 10));
        // It lives through the millisecond of its expiry.
        assert_eq!(run_at(&mut shard, NOW + 10, "HGET h a"), bulk("1"));
        assert_eq!(run_at(&mut shard, NOW + 10, "HLEN h"), int(3));
        let later = NOW + 11;
        let mut at = |line: &str| run_at(&mut shard, later, line);
        assert_eq!(at("HGET h a"), Value::Null);
        assert_eq!(at("HMGET h a c"), Value::Array(vec![Value::Null, bulk("3")]));
        assert_eq!(at("HEXISTS h b"), int(0));
        assert_eq!(at("HSTRLEN h a"), int(0));
        assert_eq!(at("HGETALL h"), Value::Map(vec![bulk("c"), bulk("3")]));
        assert_eq!(at("HKEYS h"), bulks(["c"]));
        assert_eq!(at("HVALS h"), bulks(["3"]));
        assert_eq!(at("HSCAN h 0 NOVALUES"), Value::Array(vec![bulk("0"), bulks(["c"])]));
        assert_eq!(at("HRANDFIELD h"), bulk("c"));
        assert_eq!(at("HRANDFIELD h -3"), bulks(["c", "c", "c"]));
        assert_eq!(at("HRANDFIELD h 9"), bulks(["c"]));
        assert_eq!(at("HTTL h FIELDS 1 a"), Value::Array(vec![int(-2)]));
        assert_eq!(at("HLEN h"), int(1));
    }
}

#[test]
fn a_write_finds_no_field_that_is_past_its_time() {
    let lines = [
        ("HSET h a 9", int(1)),
        ("HSETNX h a 9", int(1)),
        ("HINCRBY h a 9", int(9)),
        ("HINCRBYFLOAT h a 9", bulk("9")),
        ("HDEL h a", int(0)),
        ("HSETEX h FNX FIELDS 1 a 9", int(1)),
        ("HSETEX h FXX FIELDS 1 a 9", int(0)),
        ("HSETEX h KEEPTTL FIELDS 1 a 9", int(1)),
        ("HGETDEL h FIELDS 1 a", Value::Array(vec![Value::Null])),
        ("HGETEX h EX 10 FIELDS 1 a", Value::Array(vec![Value::Null])),
        ("HEXPIRE h 10 FIELDS 1 a", Value::Array(vec![int(-2)])),
        ("HPERSIST h FIELDS 1 a", Value::Array(vec![int(-2)])),
    ];
    for (line, reply) in lines {
        for mut shard in both() {
            run(&mut shard, "HSET h a 1 b 2");
            run(&mut shard, "HPEXPIRE h 5 FIELDS 1 a");
            assert_eq!(run_at(&mut shard, NOW + 6, line), reply, "{line}");
            let expiry = run_at(&mut shard, NOW + 6, "HPEXPIRETIME h FIELDS 1 a");
            let set = line.contains(" 9") && reply != int(0);
            assert_eq!(expiry, Value::Array(vec![int(if set { -1 } else { -2 })]), "{line}");
        }
    }
}

#[test]
fn a_hash_whose_fields_have_all_expired_is_another_one_when_it_is_set_again() {
    for mut shard in both() {
        run(&mut shard, "HSET h a 1");
        run(&mut shard, "EXPIRE h 1000");
        run(&mut shard, "HPEXPIRE h 5 FIELDS 1 a");
        assert_eq!(run_at(&mut shard, NOW + 6, "HSET h a 2"), int(1));
        assert_eq!(run_at(&mut shard, NOW + 6, "TTL h"), int(-1));
        assert_eq!(run_at(&mut shard, NOW + 6, "HGETALL h"), Value::Map(vec![bulk("a"), bulk("2")]));
        run(&mut shard, "HPEXPIRE h 5 FIELDS 1 a");
        assert_eq!(run_at(&mut shard, NOW + 6, "HDEL h a"), int(0));
        assert_eq!(run_at(&mut shard, NOW + 6, "EXISTS h"), int(0));
    }
}

#[test]
fn the_background_reclaims_fields_and_each_is_a_change() {
    for mut shard in both() {
        run(&mut shard, "HSET h a 1 b 2 c 3");
        run(&mut shard, "HSET gone a 1");
        run(&mut shard, "SET s 1");
        run(&mut shard, "HPEXPIRE h 5 FIELDS 2 a b");
        run(&mut shard, "HPEXPIRE gone 5 FIELDS 1 a");
        assert!(shard.keys.any_expires());
        let recorder = Recorder::attach(&mut shard);
        while shard.background(NOW + 5, 16) {}
        assert_eq!(recorder.take(), []);
        while shard.background(NOW + 6, 16) {}
        let changes: BTreeSet<String> =
            recorder.take().into_iter().map(|change| format!("{change:?}")).collect();
        let count = |part: &str| changes.iter().filter(|change| change.contains(part)).count();
        assert_eq!((changes.len(), count("reason: Expired"), count("Emptied")), (4, 3, 1), "{changes:?}");
        assert_eq!(shard.keys.len(0), 2);
        assert_eq!(shard.keys.stats.expired_fields, 3);
        assert_eq!(run_at(&mut shard, NOW + 6, "HGETALL h"), Value::Map(vec![bulk("c"), bulk("3")]));
        while shard.background(NOW + 1000, 16) {}
        assert!(!shard.keys.any_expires(), "nothing expires any more, and the sweep has seen it");
    }
}

#[test]
fn fields_of_many_hashes_are_reclaimed_a_bounded_number_at_a_time() {
    let mut shard = shard();
    for key in 0..5000 {
        run(&mut shard, &format!("HSET h{key} a 1 b 2"));
        run(&mut shard, &format!("HPEXPIRE h{key} {} FIELDS 1 a", 1 + key % 50));
    }
    let mut calls = 0;
    loop {
        let before = shard.keys.stats.expired_fields;
        let more = shard.background(NOW + 60, 16);
        assert!(shard.keys.stats.expired_fields - before <= 2000);
        calls += 1;
        if !more {
            break;
        }
    }
    assert_eq!(shard.keys.stats.expired_fields, 5000);
    assert!((5..200).contains(&calls), "{calls}");
}

#[test]
fn a_huge_hash_whose_fields_expire_is_reclaimed_in_slices() {
    let mut shard = shard();
    fill(&mut shard, "h", 30_000);
    for start in (0..30_000).step_by(100) {
        let fields: Vec<String> = (start..start + 100).map(|field| format!("f{field}")).collect();
        run(&mut shard, &format!("HPEXPIRE h 5 FIELDS 100 {}", fields.join(" ")));
    }
    run(&mut shard, "HSET h stays 1");
    let (mut calls, mut most) = (0, 0);
    loop {
        let before = shard.keys.stats.expired_fields;
        let more = shard.background(NOW + 6, 16);
        most = most.max(shard.keys.stats.expired_fields - before);
        calls += 1;
        if !more {
            break;
        }
    }
    assert_eq!(shard.keys.stats.expired_fields, 30_000);
    assert!(most < 8000, "{most} fields in one slice");
    assert!(calls > 4);
    assert_eq!(run_at(&mut shard, NOW + 6, "HLEN h"), int(1));
}

#[test]
fn hlen_and_hrandfield_reclaim_what_they_must_not_count() {
    let mut shard = shard();
    fill(&mut shard, "h", 5000);
    for start in (0..5000).step_by(100) {
        let fields: Vec<String> = (start..start + 99).map(|field| format!("f{field}")).collect();
        run(&mut shard, &format!("HPEXPIRE h 5 FIELDS 99 {}", fields.join(" ")));
    }
    assert_eq!(run_at(&mut shard, NOW, "HLEN h"), int(5000));
    let copied = run_at(&mut shard, NOW, "COPY h g");
    assert_eq!(copied, int(1));
    assert_eq!(run_at(&mut shard, NOW + 6, "HLEN h"), int(50));
    let fields = texts(run_at(&mut shard, NOW + 6, "HRANDFIELD g 1000"));
    assert_eq!(fields.len(), 50);
    assert!(fields.iter().all(|field| field.ends_with("99")));
}

#[test]
fn long_answers_come_in_slices_and_are_whole() {
    let mut shard = shard();
    fill(&mut shard, "h", 20_000);
    let expected: BTreeMap<String, String> =
        (0..20_000).map(|field| (format!("f{field}"), field.to_string())).collect();
    let (count, reply) = turns(&mut shard, "HGETALL h");
    assert!(count > 100, "{count} turns");
    let got = texts(reply);
    let pairs: BTreeMap<String, String> =
        got.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    assert_eq!((got.len(), &pairs), (40_000, &expected));
    let (count, reply) = turns(&mut shard, "HKEYS h");
    assert!(count > 100);
    assert_eq!(texts(reply).into_iter().collect::<BTreeSet<_>>(), expected.keys().cloned().collect());
    let (count, reply) = turns(&mut shard, "HVALS h");
    assert!(count > 100);
    assert_eq!(texts(reply).len(), 20_000);
    let (count, reply) = turns(&mut shard, "HSCAN h 0 COUNT 1000000 NOVALUES");
    assert!(count > 100);
    let Value::Array(page) = reply else { panic!("no page") };
    assert_eq!(page[0], bulk("0"));
    assert_eq!(texts(page[1].clone()).len(), 20_000);
    let (count, reply) = turns(&mut shard, "HRANDFIELD h -50000");
    assert!(count > 100);
    assert_eq!(texts(reply).len(), 50_000);
    for wanted in [100, 5000, 15_000, 30_000] {
        let (_, reply) = turns(&mut shard, &format!("HRANDFIELD h {wanted} WITHVALUES"));
        let got = texts(reply);
        let distinct: BTreeMap<&String, &String> = got.chunks(2).map(|pair| (&pair[0], &pair[1])).collect();
        assert_eq!((got.len(), distinct.len()), (2 * wanted.min(20_000), wanted.min(20_000)));
        assert!(distinct.iter().all(|(field, value)| expected[*field] == **value));
    }
}

#[test]
fn a_hash_that_changes_under_a_long_answer_gives_each_field_once() {
    let mut shard = shard();
    fill(&mut shard, "h", 20_000);
    let view = View { db: 0, now: NOW, touch: true };
    let argv: [&[u8]; 2] = [b"HKEYS", b"h"];
    let command = registry().resolve(&argv).expect("it is a command");
    let mut sink = Sink::default();
    let Applied::Later(mut rest) = shard.apply(view, command, &argv, None, &mut sink) else {
        panic!("it is too long for one turn")
    };
    let mut next = 10_000;
    while !rest.resume(&mut shard, NOW, 1, &mut sink) {
        // Deletes by the hundred: segments merge under the walk.
        if next < 20_000 {
            let fields: Vec<String> = (next..next + 200).map(|field| format!("f{field}")).collect();
            run(&mut shard, &format!("HDEL h {}", fields.join(" ")));
            next += 200;
        }
    }
    let fields = texts(sink.finish());
    let distinct: BTreeSet<&String> = fields.iter().collect();
    assert_eq!(distinct.len(), fields.len());
    assert!((0..10_000).all(|field| distinct.contains(&format!("f{field}"))));
}

#[test]
fn a_hash_that_goes_away_under_a_long_answer_ends_it() {
    for line in ["HGETALL h", "HRANDFIELD h -50000", "HRANDFIELD h 6000", "HSCAN h 0 COUNT 100000"] {
        for gone in ["DEL h", "SET h string", "RENAME small h"] {
            let mut shard = shard();
            fill(&mut shard, "h", 20_000);
            run(&mut shard, "HSET small f0 1 other 2");
            let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let command = registry().resolve(&argv).expect("it is a command");
            let mut sink = Sink::default();
            let view = View { db: 0, now: NOW, touch: true };
            let Applied::Later(mut rest) = shard.apply(view, command, &argv, None, &mut sink) else {
                panic!("it is too long for one turn")
            };
            assert!(!rest.resume(&mut shard, NOW, 1, &mut sink));
            run(&mut shard, gone);
            while !rest.resume(&mut shard, NOW, 1, &mut sink) {}
            sink.finish();
        }
    }
}

#[test]
fn cursors_find_every_field_while_others_come_and_go() {
    let mut shard = shard();
    fill(&mut shard, "h", 3000);
    let (mut cursor, mut seen, mut calls) = ("0".to_owned(), BTreeSet::new(), 0);
    loop {
        let Value::Array(page) = run(&mut shard, &format!("HSCAN h {cursor} COUNT 50 NOVALUES")) else {
            panic!("no page")
        };
        seen.extend(texts(page[1].clone()));
        let Value::Bulk(next) = &page[0] else { panic!("no cursor") };
        cursor = String::from_utf8(next.clone()).expect("text");
        if cursor == "0" {
            break;
        }
        run(&mut shard, &format!("HSET h new{calls} 1"));
        run(&mut shard, &format!("HDEL h f{} f{}", 1000 + calls * 2, 1001 + calls * 2));
        calls += 1;
    }
    assert!(calls > 20);
    assert!((0..1000).all(|field| seen.contains(&format!("f{field}"))));
}

#[test]
fn every_field_has_the_same_chance() {
    const FIELDS: usize = 24;
    for mut shard in both() {
        fill(&mut shard, "h", FIELDS);
        for (line, draws, per_draw) in [
            ("HRANDFIELD h", 4800, 1),
            ("HRANDFIELD h -48", 100, 48),
            ("HRANDFIELD h 12", 400, 12),
            ("HRANDFIELD h 3", 1600, 3),
        ] {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for _ in 0..draws {
                let drawn = match run(&mut shard, line) {
                    Value::Bulk(field) => vec![String::from_utf8(field).expect("text")],
                    list => texts(list),
                };
                assert_eq!(drawn.len(), per_draw);
                drawn.into_iter().for_each(|field| *counts.entry(field).or_default() += 1);
            }
            assert_eq!(counts.len(), FIELDS, "{line}");
            // 200 of each are expected; the deviation is about 14.
            assert!(counts.values().all(|count| (130..270).contains(count)), "{line}: {counts:?}");
        }
    }
}

#[test]
fn a_count_that_nobody_can_answer_is_refused() {
    for mut shard in both() {
        let error = error("ERR value is out of range");
        assert_eq!(run(&mut shard, "HRANDFIELD h -9223372036854775807"), Value::Array(vec![]));
        run(&mut shard, "HSET h a 1");
        assert_eq!(run(&mut shard, "HRANDFIELD h -9223372036854775807"), error);
        assert_eq!(run(&mut shard, "HRANDFIELD h -16777217"), error);
        assert_eq!(run(&mut shard, "HRANDFIELD h -4000000000 WITHVALUES"), error);
    }
    let mut shard = shard_with(EngineConfig { max_string_len: 100_000, ..EngineConfig::default() });
    run(&mut shard, &format!("HSET h a {}", "x".repeat(10_000)));
    assert_eq!(run(&mut shard, "HRANDFIELD h -1000000 WITHVALUES"), error("ERR value is out of range"));
}

#[test]
fn refused_commands_change_nothing() {
    for mut shard in both() {
        run(&mut shard, "SET s string");
        run(&mut shard, "HSET h text abc");
        let recorder = Recorder::attach(&mut shard);
        for line in [
            "HSET s a 1",
            "HSETNX s a 1",
            "HINCRBY s a 1",
            "HINCRBYFLOAT s a 1",
            "HDEL s a",
            "HSETEX s FIELDS 1 a 1",
            "HGETEX s FIELDS 1 a",
            "HEXPIRE s 10 FIELDS 1 a",
            "HINCRBY h text 1",
            "HINCRBYFLOAT h text 1",
            "HINCRBY new a x",
            "HSET new a",
            "HSETEX new FXX FIELDS 1 a 1",
            "HSETEX new EX 0 FIELDS 1 a 1",
            "HEXPIRE new 10 FIELDS 1 a",
            "HEXPIRE h 10 FIELDS 1 nosuch",
            "HEXPIRE h 10 XX FIELDS 1 text",
            "HPERSIST h FIELDS 1 text",
        ] {
            run(&mut shard, line);
            assert_eq!(recorder.take(), [], "{line}");
        }
        assert_eq!(run(&mut shard, "GET s"), bulk("string"));
        assert_eq!(run(&mut shard, "EXISTS new"), int(0));
    }
}

#[test]
fn changes_that_no_hash_has_made_are_refused() {
    use kora_engine::change::{Change, ChangeValue, HashEdit};
    let mut shard = shard();
    let late = Some(1 << 46);
    for edit in [
        HashEdit::Set { field: b"f", value: ChangeValue::Int(1), expire_at: late },
        HashEdit::Expire { field: b"f", expire_at: late },
        HashEdit::Set {
            field: b"f",
            value: ChangeValue::Encoded { kind: kora_engine::value::Type::Hash, bytes: b"" },
            expire_at: None,
        },
    ] {
        assert!(shard.keys.replay(&Change::HashEdit { db: 0, key: b"h", edit }, NOW).is_err());
        assert_eq!(shard.keys.len(0), 0);
    }
}

#[test]
fn a_large_value_is_not_copied_to_a_reader() {
    let mut shard = shard();
    run(&mut shard, &format!("HSET h big {} small 1", "x".repeat(100_000)));
    assert_eq!(run(&mut shard, "OBJECT ENCODING h"), bulk("hashtable"));
    assert_eq!(run(&mut shard, "HSTRLEN h big"), int(100_000));
    assert_eq!(
        texts(run(&mut shard, "HGETALL h")).iter().map(String::len).sum::<usize>(),
        100_000 + 3 + 5 + 1
    );
}

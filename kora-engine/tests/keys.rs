//! Commands on keys of any type: what they answer, what they leave behind, and that their changes say all of it.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use kora_engine::change::DeleteReason;
use kora_engine::cursor_shard;
use kora_engine::keyspace::{NewExpiry, View};
use kora_engine::shard::{EngineConfig, Shard, ShardId};
use kora_engine::slot::Slot;
use kora_engine::table::NewValue;
use proptest::prelude::*;
use support::*;

fn view(db: u16, now: u64) -> View {
    View { db, now, touch: true }
}

fn in_db(shard: &mut Shard, db: u16, line: &str) -> Value {
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    run_args(shard, view(db, NOW), &argv)
}

/// Sets a key of database 0 without a command.
fn put(shard: &mut Shard, key: &str, value: &str) {
    put_until(shard, key, value, NewExpiry::Clear);
}

fn put_until(shard: &mut Shard, key: &str, value: &str, expiry: NewExpiry) {
    let key = shard.keys.key(key.as_bytes());
    shard.keys.set(view(0, NOW), &key, NewValue::Bytes(value.as_bytes()), expiry);
}

fn deleted(db: u16, key: &str, reason: DeleteReason) -> OwnedChange {
    OwnedChange::Delete { db, key: key.into(), reason }
}

fn set(db: u16, key: &str, value: &str, expire_at: Option<u64>) -> OwnedChange {
    OwnedChange::Set { db, key: key.into(), value: OwnedValue::Bytes(value.into()), expire_at }
}

#[track_caller]
fn elements(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        other => panic!("not an array: {other:?}"),
    }
}

#[track_caller]
fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::Bulk(bytes) => bytes,
        other => panic!("not a bulk string: {other:?}"),
    }
}

#[track_caller]
fn names(value: Value) -> BTreeSet<Vec<u8>> {
    let items = elements(value);
    let len = items.len();
    let set: BTreeSet<_> = items.into_iter().map(bytes).collect();
    assert_eq!(set.len(), len, "a name came twice");
    set
}

fn name_set(names: &[&str]) -> BTreeSet<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// Cursor and names of a SCAN page.
#[track_caller]
fn page(value: Value) -> (String, Vec<Vec<u8>>) {
    let mut items = elements(value).into_iter();
    let (cursor, found) = (items.next().unwrap(), items.next().unwrap());
    assert!(items.next().is_none());
    (String::from_utf8(bytes(cursor)).unwrap(), elements(found).into_iter().map(bytes).collect())
}

const NOT_INTEGER: &str = "ERR value is not an integer or out of range";
const NOT_32_BITS: &str = "ERR value is out of range, value must between -2147483648 and 2147483647";
const SYNTAX: &str = "ERR syntax error";
const DB_INDEX: &str = "ERR DB index is out of range";

// ---- presence ----------------------------------------------------------------------------------------------

#[test]
fn presence_is_counted_per_argument_and_removal_per_key() {
    let mut shard = shard();
    let recorder = Recorder::attach(&mut shard);
    put(&mut shard, "a", "1");
    put(&mut shard, "b", "2");
    recorder.take();
    assert_eq!(run(&mut shard, "EXISTS a b c a"), int(3));
    assert_eq!(run(&mut shard, "TOUCH a b c a"), int(3));
    assert_eq!(run(&mut shard, "DEL a c a"), int(1));
    assert_eq!(run(&mut shard, "UNLINK b"), int(1));
    assert_eq!(run(&mut shard, "EXISTS a b c"), int(0));
    let command = DeleteReason::Command;
    assert_eq!(recorder.take(), [deleted(0, "a", command), deleted(0, "b", command)]);
    assert_eq!(run(&mut shard, "DEL"), error("ERR wrong number of arguments for 'del' command"));
}

#[test]
fn type_names_what_is_there() {
    let mut shard = shard();
    put(&mut shard, "s", "x");
    assert_eq!(run(&mut shard, "TYPE s"), Value::Simple("string".into()));
    assert_eq!(run(&mut shard, "TYPE nothing"), Value::Simple("none".into()));
}

#[test]
fn an_expired_key_is_gone_for_every_command_and_its_removal_is_a_change() {
    for line in [
        "EXISTS k",
        "TOUCH k",
        "DEL k",
        "EXPIRE k 10",
        "PERSIST k",
        "RENAMENX k other",
        "COPY k other",
        "MOVE k 1",
        "TYPE k",
        "TTL k",
        "OBJECT ENCODING k",
        "MEMORY USAGE k",
        "KEYS k",
    ] {
        let mut shard = shard();
        let recorder = Recorder::attach(&mut shard);
        put_until(&mut shard, "k", "v", NewExpiry::At(NOW + 5));
        recorder.take();
        let reply = run_at(&mut shard, NOW + 6, line);
        let nothing = [int(0), int(-2), Value::Null, Value::Array(vec![]), Value::Simple("none".into())];
        assert!(nothing.contains(&reply) || reply == error("ERR no such key"), "{line}: {reply:?}");
        assert_eq!(recorder.take(), [deleted(0, "k", DeleteReason::Expired)], "{line}");
        assert_eq!(shard.keys.stats.expired, 1, "{line}");
    }
}

#[test]
fn a_key_lives_to_the_last_millisecond() {
    let mut shard = shard();
    put_until(&mut shard, "k", "v", NewExpiry::At(NOW + 5));
    assert_eq!(run_at(&mut shard, NOW + 5, "EXISTS k"), int(1));
    assert_eq!(run_at(&mut shard, NOW + 6, "EXISTS k"), int(0));
}

#[test]
fn readers_count_hits_and_misses() {
    let mut shard = shard();
    put(&mut shard, "k", "v");
    for line in ["EXISTS k no", "TTL k", "TYPE no", "OBJECT ENCODING k"] {
        run(&mut shard, line);
    }
    assert_eq!((shard.keys.stats.hits, shard.keys.stats.misses), (3, 2));
}

// ---- expiry ------------------------------------------------------------------------------------------------

#[test]
fn times_to_live_read_back_in_every_unit() {
    let mut shard = shard();
    put(&mut shard, "k", "v");
    for line in ["TTL k", "PTTL k", "EXPIRETIME k", "PEXPIRETIME k"] {
        assert_eq!(run(&mut shard, line), int(-1));
        assert_eq!(run(&mut shard, &line.replace('k', "no")), int(-2));
    }
    let recorder = Recorder::attach(&mut shard);
    let at = NOW as i64 + 100_000;
    for line in ["EXPIRE k 100".to_owned(), "PEXPIRE k 100000".to_owned(), format!("PEXPIREAT k {at}")] {
        assert_eq!(run(&mut shard, "PERSIST k"), int((line != "EXPIRE k 100") as i64));
        assert_eq!(run(&mut shard, &line), int(1), "{line}");
        assert_eq!(run(&mut shard, "PEXPIRETIME k"), int(at), "{line}");
        assert_eq!(run(&mut shard, "PTTL k"), int(100_000));
        assert_eq!(run(&mut shard, "TTL k"), int(100));
    }
    assert_eq!(run(&mut shard, "EXPIREAT k 1900000000"), int(1));
    assert_eq!(run(&mut shard, "EXPIRETIME k"), int(1_900_000_000));
    let expire = |expire_at| OwnedChange::Expire { db: 0, key: b"k".to_vec(), expire_at };
    let until = Some(at as u64);
    assert_eq!(
        recorder.take(),
        [
            expire(until),
            expire(None),
            expire(until),
            expire(None),
            expire(until),
            expire(Some(1_900_000_000_000))
        ]
    );
}

#[test]
fn seconds_left_are_rounded_to_the_nearest() {
    let mut shard = shard();
    put(&mut shard, "k", "v");
    for (ms, seconds) in [(1499, 1), (1500, 2), (499, 0), (500, 1)] {
        run(&mut shard, &format!("PEXPIRE k {ms}"));
        assert_eq!(run(&mut shard, "TTL k"), int(seconds), "{ms} ms");
    }
    run(&mut shard, "PEXPIREAT k 1900000000500");
    assert_eq!(run(&mut shard, "EXPIRETIME k"), int(1_900_000_001));
}

#[test]
fn conditions_compare_with_the_present_expiry() {
    // present time to live, option, new one, whether it is set
    for (present, options, new, expected) in [
        (None, "NX", 100, 1),
        (None, "XX", 100, 0),
        (None, "GT", 100, 0),
        (None, "LT", 100, 1),
        (None, "XX GT", 100, 0),
        (None, "XX LT", 100, 0),
        (Some(50), "NX", 100, 0),
        (Some(50), "XX", 100, 1),
        (Some(50), "GT", 100, 1),
        (Some(50), "GT", 50, 0),
        (Some(50), "GT", 49, 0),
        (Some(50), "LT", 49, 1),
        (Some(50), "LT", 50, 0),
        (Some(50), "LT", 51, 0),
        (Some(50), "xx gt", 51, 1),
        (Some(50), "nx nx", 51, 0),
        (Some(50), "LT", -1, 1),
        (Some(50), "GT", -1, 0),
    ] {
        let mut shard = shard();
        put(&mut shard, "k", "v");
        if let Some(present) = present {
            assert_eq!(run(&mut shard, &format!("EXPIRE k {present}")), int(1));
        }
        let case = format!("EXPIRE k {new} {options}");
        assert_eq!(run(&mut shard, &case), int(expected), "{case} after {present:?}");
        let left = match (expected, new, present) {
            (1, ..=0, _) => -2,
            (1, new, _) => new,
            (_, _, Some(present)) => present,
            (_, _, None) => -1,
        };
        assert_eq!(run(&mut shard, "TTL k"), int(left), "{case} after {present:?}");
    }
}

#[test]
fn options_that_exclude_each_other_are_refused_before_anything_else() {
    let mut shard = shard();
    put(&mut shard, "k", "v");
    for (line, text) in [
        ("EXPIRE k 10 foo", "ERR Unsupported option foo"),
        ("EXPIRE k 10 NX GT foo", "ERR Unsupported option foo"),
        ("EXPIRE k 10 NX XX", "ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("EXPIRE no 10 NX LT", "ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("EXPIRE k x GT LT", "ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE k x", NOT_INTEGER),
        ("EXPIRE k 1.5", NOT_INTEGER),
        ("EXPIRE k 9223372036854775807", "ERR invalid expire time in 'expire' command"),
        ("expire no -9223372036854775807", "ERR invalid expire time in 'expire' command"),
        ("PEXPIRE k 9223372036854775807", "ERR invalid expire time in 'pexpire' command"),
        ("EXPIREAT k 9223372036854776", "ERR invalid expire time in 'expireat' command"),
        ("EXPIRE k", "ERR wrong number of arguments for 'expire' command"),
    ] {
        assert_eq!(run(&mut shard, line), error(text), "{line}");
    }
    assert_eq!(run(&mut shard, "TTL k"), int(-1));
    assert_eq!(run(&mut shard, "PEXPIREAT k 9223372036854775807"), int(1));
    assert_eq!(run(&mut shard, "PEXPIRETIME k"), int(i64::MAX));
    assert_eq!(run(&mut shard, "EXPIRETIME k"), int(9_223_372_036_854_776));
}

#[test]
fn an_expiry_in_the_past_removes_the_key_by_command() {
    for line in
        ["EXPIRE k 0", "EXPIRE k -1", "PEXPIRE k -9223372036854775808", "EXPIREAT k 1", "PEXPIREAT k -5"]
    {
        let mut shard = shard();
        let recorder = Recorder::attach(&mut shard);
        put(&mut shard, "k", "v");
        recorder.take();
        assert_eq!(run(&mut shard, line), int(1), "{line}");
        assert_eq!(recorder.take(), [deleted(0, "k", DeleteReason::Command)], "{line}");
        assert_eq!(run(&mut shard, line), int(0), "{line}");
    }
}

// ---- names and databases -----------------------------------------------------------------------------------

#[test]
fn rename_carries_value_and_expiry_and_replaces() {
    let mut shard = shard();
    put_until(&mut shard, "a", "1", NewExpiry::At(NOW + 5000));
    put(&mut shard, "b", "2");
    let recorder = Recorder::attach(&mut shard);
    assert_eq!(run(&mut shard, "RENAME a b"), ok());
    assert_eq!(recorder.take(), [deleted(0, "a", DeleteReason::Command), set(0, "b", "1", Some(NOW + 5000))]);
    assert_eq!(run(&mut shard, "PTTL b"), int(5000));
    assert_eq!(run(&mut shard, "RENAME a b"), error("ERR no such key"));
    assert_eq!(run(&mut shard, "RENAME a a"), error("ERR no such key"));
    assert_eq!(run(&mut shard, "RENAMENX a b"), error("ERR no such key"));
    assert_eq!(run(&mut shard, "RENAME b b"), ok());
    assert_eq!(run(&mut shard, "RENAMENX b b"), int(0));
    assert_eq!(recorder.take(), []);
    put(&mut shard, "c", "3");
    assert_eq!(run(&mut shard, "RENAMENX b c"), int(0));
    assert_eq!(run(&mut shard, "RENAMENX b d"), int(1));
    assert_eq!(run(&mut shard, "EXISTS b"), int(0));
    // A name that is taken by an expired key is free.
    put_until(&mut shard, "e", "5", NewExpiry::At(NOW + 1));
    assert_eq!(run_at(&mut shard, NOW + 2, "RENAMENX c e"), int(1));
}

#[test]
fn large_values_move_and_copy_whole() {
    let mut shard = shard();
    let large = "x".repeat(100_000);
    put(&mut shard, "a", &large);
    assert_eq!(run(&mut shard, "COPY a b"), int(1));
    assert_eq!(run(&mut shard, "RENAME a c"), ok());
    let held = contents(&shard, 0, NOW);
    assert_eq!(held.len(), 2);
    assert!(held.iter().all(|(_, value, _)| *value == OwnedValue::Bytes(large.clone().into_bytes())));
}

#[test]
fn copy_leaves_the_source_and_asks_before_it_replaces() {
    let mut shard = shard();
    put_until(&mut shard, "a", "1", NewExpiry::At(NOW + 5000));
    put(&mut shard, "b", "2");
    let recorder = Recorder::attach(&mut shard);
    assert_eq!(run(&mut shard, "COPY a b"), int(0));
    assert_eq!(run(&mut shard, "COPY no b REPLACE"), int(0));
    assert_eq!(recorder.take(), []);
    assert_eq!(run(&mut shard, "COPY a b replace"), int(1));
    assert_eq!(run(&mut shard, "COPY a a db 3"), int(1));
    assert_eq!(recorder.take(), [set(0, "b", "1", Some(NOW + 5000)), set(3, "a", "1", Some(NOW + 5000))]);
    assert_eq!(in_db(&mut shard, 3, "COPY a z DB 0 REPLACE"), int(1));
    assert_eq!(run(&mut shard, "EXISTS a b z"), int(3));
    for (line, text) in [
        ("COPY a a", "ERR source and destination objects are the same"),
        ("COPY no no", "ERR source and destination objects are the same"),
        ("COPY a a DB 0 REPLACE", "ERR source and destination objects are the same"),
        ("COPY a c DB", SYNTAX),
        ("COPY a c foo", SYNTAX),
        ("COPY a c DB x", NOT_INTEGER),
        ("COPY a c DB 99999999999", NOT_32_BITS),
        ("COPY a c DB 16", DB_INDEX),
        ("COPY a c DB -1", DB_INDEX),
    ] {
        assert_eq!(run(&mut shard, line), error(text), "{line}");
    }
}

#[test]
fn move_takes_a_key_to_another_database_unless_it_is_there() {
    let mut shard = shard();
    put_until(&mut shard, "a", "1", NewExpiry::At(NOW + 5000));
    let recorder = Recorder::attach(&mut shard);
    assert_eq!(run(&mut shard, "MOVE a 5"), int(1));
    assert_eq!(recorder.take(), [deleted(0, "a", DeleteReason::Command), set(5, "a", "1", Some(NOW + 5000))]);
    assert_eq!(run(&mut shard, "MOVE a 5"), int(0));
    put(&mut shard, "a", "2");
    assert_eq!(run(&mut shard, "MOVE a 5"), int(0));
    assert_eq!(run(&mut shard, "EXISTS a"), int(1));
    for (line, text) in [
        ("MOVE a 0", "ERR source and destination objects are the same"),
        ("MOVE a 16", DB_INDEX),
        ("MOVE a -1", DB_INDEX),
        ("MOVE a x", NOT_INTEGER),
        ("MOVE a 99999999999", NOT_32_BITS),
    ] {
        assert_eq!(run(&mut shard, line), error(text), "{line}");
    }
}

#[test]
fn swapdb_exchanges_what_two_databases_hold() {
    let mut shard = shard();
    put(&mut shard, "a", "1");
    let recorder = Recorder::attach(&mut shard);
    assert_eq!(run(&mut shard, "SWAPDB 0 2"), ok());
    assert_eq!(run(&mut shard, "DBSIZE"), int(0));
    assert_eq!(in_db(&mut shard, 2, "KEYS *"), bulks(["a"]));
    assert_eq!(run(&mut shard, "SWAPDB 2 2"), ok());
    assert_eq!(recorder.take(), [OwnedChange::SwapDb { a: 0, b: 2 }]);
    for (line, text) in [
        ("SWAPDB a 1", "ERR invalid first DB index"),
        ("SWAPDB 1 b", "ERR invalid second DB index"),
        ("SWAPDB 99999999999 1", "ERR invalid first DB index"),
        ("SWAPDB 0 16", DB_INDEX),
        ("SWAPDB -1 0", DB_INDEX),
    ] {
        assert_eq!(run(&mut shard, line), error(text), "{line}");
    }
}

#[test]
fn flushing_empties_at_once_and_frees_in_slices() {
    let config = EngineConfig { count_slots: true, ..EngineConfig::default() };
    let mut shard = shard_with(config);
    for i in 0..5000 {
        put(&mut shard, &format!("key:{i}"), "value");
    }
    put(&mut shard, "kept", "1");
    assert_eq!(run(&mut shard, "MOVE kept 1"), int(1));
    let recorder = Recorder::attach(&mut shard);
    assert_eq!(run(&mut shard, "FLUSHDB foo"), error(SYNTAX));
    assert_eq!(run(&mut shard, "FLUSHALL SYNC ASYNC"), error(SYNTAX));
    assert_eq!(run(&mut shard, "DBSIZE"), int(5000));
    assert_eq!(run(&mut shard, "FLUSHDB ASYNC"), ok());
    assert_eq!(run(&mut shard, "DBSIZE"), int(0));
    assert_eq!(recorder.take(), [OwnedChange::FlushDb { db: 0 }]);
    let held: u32 = (0..16384).map(|n| shard.keys.slot_count(Slot::new(n).unwrap()).unwrap()).sum();
    assert_eq!(held, 1, "slots are counted over all databases");
    assert!(shard.background(NOW, 1), "one segment at a time");
    while shard.background(NOW, 1) {}
    put(&mut shard, "again", "1");
    assert_eq!(run(&mut shard, "FLUSHALL sync"), ok());
    assert_eq!(recorder.take().len(), 3, "a set, and a flush of the two databases that held something");
    assert_eq!(in_db(&mut shard, 1, "DBSIZE"), int(0));
    assert_eq!(run(&mut shard, "FLUSHALL"), ok());
    assert_eq!(recorder.take(), [], "nothing was left to flush");
}

// ---- KEYS and SCAN -----------------------------------------------------------------------------------------

#[test]
fn keys_finds_names_by_pattern() {
    let mut shard = shard();
    for name in ["hello", "hallo", "hxllo", "heello", "a*b", "user:1", "user:2"] {
        put(&mut shard, name, "v");
    }
    put_until(&mut shard, "user:gone", "v", NewExpiry::At(NOW - 1));
    for (pattern, found) in [
        ("h?llo", &["hello", "hallo", "hxllo"][..]),
        ("h[ae]llo", &["hello", "hallo"]),
        ("h[^e]llo", &["hallo", "hxllo"]),
        ("h*llo", &["hello", "hallo", "hxllo", "heello"]),
        ("user:*", &["user:1", "user:2"]),
        ("a\\*b", &["a*b"]),
        ("hello", &["hello"]),
        ("nothing", &[]),
        ("HELLO", &[]),
    ] {
        let reply = run_args(&mut shard, view(0, NOW), &[b"KEYS", pattern.as_bytes()]);
        assert_eq!(names(reply), name_set(found), "{pattern}");
    }
    assert_eq!(names(run(&mut shard, "KEYS *")).len(), 7);
    assert_eq!(names(in_db(&mut shard, 1, "KEYS *")).len(), 0);
}

#[test]
fn the_empty_key_is_found_by_a_star_alone() {
    let mut shard = shard();
    put(&mut shard, "", "v");
    assert_eq!(run(&mut shard, "KEYS *"), bulks([""]));
    assert_eq!(run(&mut shard, "KEYS **"), Value::Array(vec![]));
    assert_eq!(run(&mut shard, "KEYS \"\""), bulks([""]));
    assert_eq!(page(run(&mut shard, "SCAN 0 MATCH *")).1, [b""]);
    assert_eq!(page(run(&mut shard, "SCAN 0 MATCH **")).1, [b""; 0]);
}

#[test]
fn keys_of_a_large_database_come_complete_and_once_over_many_turns() {
    let mut shard = shard();
    let all: BTreeSet<Vec<u8>> = (0..20_000).map(|i| format!("key:{i}").into_bytes()).collect();
    for name in &all {
        put(&mut shard, std::str::from_utf8(name).unwrap(), "v");
    }
    assert_eq!(names(run(&mut shard, "KEYS *")), all);
    assert_eq!(names(run(&mut shard, "KEYS *7")).len(), 2000);
    let (cursor, found) = page(run(&mut shard, "SCAN 0 COUNT 1000000"));
    assert_eq!((cursor.as_str(), found.len()), ("0", 20_000));
}

#[test]
fn scan_finds_every_key_that_stays_whatever_else_comes_and_goes() {
    let mut shard = shard();
    let staying: BTreeSet<Vec<u8>> = (0..2000).map(|i| format!("stay:{i}").into_bytes()).collect();
    for name in &staying {
        put(&mut shard, std::str::from_utf8(name).unwrap(), "v");
    }
    let (mut cursor, mut found, mut calls) = ("0".to_owned(), BTreeSet::new(), 0);
    loop {
        let (next, page) = page(run(&mut shard, &format!("SCAN {cursor} MATCH stay:* COUNT 20")));
        found.extend(page);
        calls += 1;
        // First it grows, so that segments split; then it shrinks, so that they merge.
        for i in 0..200 {
            if calls <= 60 {
                put(&mut shard, &format!("passing:{calls}:{i}"), "v");
            } else {
                run(&mut shard, &format!("DEL passing:{}:{i}", calls - 60));
            }
        }
        cursor = next;
        if cursor == "0" {
            break;
        }
        assert!(calls < 10_000, "the scan ends");
    }
    assert_eq!(found, staying);
}

#[test]
fn a_page_has_about_count_keys_before_it_is_filtered() {
    let mut shard = shard();
    for i in 0..1000 {
        put(&mut shard, &format!("key:{i}"), "v");
    }
    let (cursor, found) = page(run(&mut shard, "SCAN 0"));
    assert!((10..20).contains(&found.len()), "{}", found.len());
    assert_ne!(cursor, "0");
    let (cursor, found) = page(run(&mut shard, "SCAN 0 MATCH nothing:* COUNT 100"));
    assert_eq!(found.len(), 0);
    assert_ne!(cursor, "0", "few or none does not mean that it is over");
    let (cursor, found) = page(run(&mut shard, "SCAN 0 COUNT 1000 TYPE STRING"));
    assert!(found.len() >= 990 || cursor == "0");
    assert_eq!(page(run(&mut shard, "SCAN 0 COUNT 1000 TYPE list")).1.len(), 0);
    assert_eq!(page(run(&mut shard, "SCAN 0 COUNT 1000 TYPE nonsense")).1.len(), 0);
}

#[test]
fn scan_refuses_what_it_cannot_read() {
    let mut shard = shard();
    for (line, text) in [
        ("SCAN a", "ERR invalid cursor"),
        ("SCAN 1a", "ERR invalid cursor"),
        ("SCAN \"\"", "ERR invalid cursor"),
        ("SCAN 18446744073709551616", "ERR invalid cursor"),
        ("SCAN 0 COUNT 0", SYNTAX),
        ("SCAN 0 COUNT -1", SYNTAX),
        ("SCAN 0 COUNT x", NOT_INTEGER),
        ("SCAN 0 COUNT", SYNTAX),
        ("SCAN 0 MATCH", SYNTAX),
        ("SCAN 0 foo bar", SYNTAX),
        ("SCAN", "ERR wrong number of arguments for 'scan' command"),
    ] {
        assert_eq!(run(&mut shard, line), error(text), "{line}");
    }
    for line in ["SCAN 18446744073709551615", "SCAN 007", "SCAN 12345678901234"] {
        let (cursor, found) = page(run(&mut shard, line));
        assert_eq!((cursor.as_str(), found.len()), ("0", 0), "{line}");
    }
}

#[test]
fn a_scan_walks_the_shards_one_after_the_other() {
    const SHARDS: u16 = 3;
    let mut shards: Vec<Shard> = (0..SHARDS)
        .map(|index| Shard::new(ShardId { index, count: SHARDS }, EngineConfig::default(), 42))
        .collect();
    let all: BTreeSet<Vec<u8>> = (0..500).map(|i| format!("key:{i}").into_bytes()).collect();
    for name in &all {
        let owner = Slot::of(name).shard(SHARDS) as usize;
        put(&mut shards[owner], std::str::from_utf8(name).unwrap(), "v");
    }
    let (mut cursor, mut found, mut order) = ("0".to_owned(), BTreeSet::new(), vec![0]);
    loop {
        let owner = cursor_shard(cursor.as_bytes(), SHARDS);
        if order.last() != Some(&owner) {
            order.push(owner);
        }
        let (next, page) = page(run(&mut shards[owner as usize], &format!("SCAN {cursor} COUNT 7")));
        found.extend(page);
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found, all);
    assert_eq!(order, [0, 1, 2]);
    // Cursors that no shard gave go to the first one, which ends the scan or refuses them.
    let foreign = u64::MAX.to_string();
    assert_eq!(cursor_shard(foreign.as_bytes(), SHARDS), 0);
    assert_eq!(page(run(&mut shards[0], &format!("SCAN {foreign}"))).0, "0");
    assert_eq!(cursor_shard(b"junk", SHARDS), 0);
}

// ---- OBJECT and MEMORY -------------------------------------------------------------------------------------

#[test]
fn encodings_have_their_names_in_redis() {
    let mut shard = shard();
    let key = shard.keys.key(b"int");
    shard.keys.set(view(0, NOW), &key, NewValue::Int(-5), NewExpiry::Clear);
    put(&mut shard, "short", &"x".repeat(44));
    put(&mut shard, "long", &"x".repeat(45));
    put(&mut shard, "large", &"x".repeat(100_000));
    for (key, encoding) in [("int", "int"), ("short", "embstr"), ("long", "raw"), ("large", "raw")] {
        assert_eq!(run(&mut shard, &format!("OBJECT ENCODING {key}")), bulk(encoding));
        assert_eq!(run(&mut shard, &format!("OBJECT REFCOUNT {key}")), int(1));
    }
    for line in ["OBJECT ENCODING no", "OBJECT REFCOUNT no", "OBJECT IDLETIME no", "OBJECT FREQ no"] {
        assert_eq!(run(&mut shard, line), Value::Null, "{line}");
    }
    let Value::Error(text) = run(&mut shard, "OBJECT FREQ int") else { panic!("there is no LFU policy") };
    assert!(text.starts_with("ERR An LFU maxmemory policy is not selected, access frequency not tracked."));
    assert_eq!(run(&mut shard, "OBJECT foo int"), error("ERR unknown subcommand 'foo'. Try OBJECT HELP."));
    let arity = "ERR wrong number of arguments for 'object|encoding' command";
    assert_eq!(run(&mut shard, "OBJECT ENCODING"), error(arity));
}

#[test]
fn a_string_that_was_written_in_part_is_raw_until_it_is_set_again() {
    let mut shard = shard();
    for (line, encoding) in [
        ("SET k 12", "int"),
        ("APPEND k 3", "raw"),
        ("EXPIRE k 100", "raw"),
        ("PERSIST k", "raw"),
        ("INCR k", "int"),
        ("SETRANGE k 0 9", "raw"),
        ("SET k short", "embstr"),
        ("APPEND k er", "raw"),
        ("GETSET k short", "embstr"),
        ("DEL k", ""),
        ("APPEND k 12", "int"),
        ("DEL k", ""),
        ("SETRANGE k 0 12", "raw"),
    ] {
        run(&mut shard, line);
        if !encoding.is_empty() {
            assert_eq!(run(&mut shard, "OBJECT ENCODING k"), bulk(encoding), "after {line}");
        }
    }
    assert_eq!(run(&mut shard, "GET k"), bulk("12"));
}

#[test]
fn writing_in_part_and_expiring_are_uses_of_a_key() {
    for line in ["APPEND k x", "SETRANGE k 0 x", "EXPIRE k 1000", "PERSIST k"] {
        let mut shard = shard();
        put_until(&mut shard, "k", "v", NewExpiry::At(NOW + 1_000_000));
        run_at(&mut shard, NOW + 50_000, line);
        assert_eq!(run_at(&mut shard, NOW + 60_000, "OBJECT IDLETIME k"), int(10), "{line}");
    }
}

#[test]
fn idle_time_counts_from_the_last_use_and_looking_is_no_use() {
    let mut shard = shard();
    put(&mut shard, "k", "v");
    let idle = |shard: &mut Shard, seconds: u64| run_at(shard, NOW + seconds * 1000, "OBJECT IDLETIME k");
    assert_eq!(idle(&mut shard, 0), int(0));
    for line in ["TYPE k", "TTL k", "EXISTS k", "OBJECT ENCODING k", "KEYS *", "MEMORY USAGE k"] {
        run_at(&mut shard, NOW + 50_000, line);
    }
    assert_eq!(idle(&mut shard, 60), int(60));
    run_at(&mut shard, NOW + 60_000, "TOUCH k");
    assert_eq!(idle(&mut shard, 100), int(40));
    // Also when CLIENT NO-TOUCH is on: that is what was asked for.
    let no_touch = View { touch: false, ..view(0, NOW + 100_000) };
    run_args(&mut shard, no_touch, &[b"TOUCH", b"k"]);
    assert_eq!(idle(&mut shard, 101), int(1));
    // The clock has 24 bits.
    assert_eq!(idle(&mut shard, 100 + (1 << 24) + 3), int(3));
}

#[test]
fn memory_usage_grows_with_the_value() {
    let mut shard = shard();
    put(&mut shard, "a", "v");
    put(&mut shard, "b", &"x".repeat(1000));
    put(&mut shard, "c", &"x".repeat(100_000));
    let mut usage = |line: &str| match run(&mut shard, line) {
        Value::Integer(n) => n,
        other => panic!("{line}: {other:?}"),
    };
    let (a, b, c) = (usage("MEMORY USAGE a"), usage("MEMORY USAGE b SAMPLES 0"), usage("MEMORY USAGE c"));
    assert!((9..64).contains(&a), "{a}");
    assert!((1000..1100).contains(&b), "{b}");
    assert!((100_000..100_200).contains(&c), "{c}");
    assert_eq!(run(&mut shard, "MEMORY USAGE no"), Value::Null);
    for line in ["MEMORY USAGE a SAMPLES", "MEMORY USAGE a SAMPLES -1", "MEMORY USAGE a foo"] {
        assert_eq!(run(&mut shard, line), error(SYNTAX), "{line}");
    }
    assert_eq!(run(&mut shard, "MEMORY USAGE a SAMPLES x"), error(NOT_INTEGER));
}

// ---- the model ---------------------------------------------------------------------------------------------

/// What the databases must hold and the commands must answer, said as plainly as possible.
#[derive(Default)]
struct Model {
    dbs: [BTreeMap<String, (String, Option<i64>)>; 3],
    now: i64,
}

#[derive(Debug, Clone)]
enum Step {
    Put { key: String, value: u8, ttl: Option<i64> },
    Command(String),
    Pass { ms: u64 },
    Select { db: u16 },
}

impl Model {
    fn drop_expired(&mut self) {
        let now = self.now;
        for db in &mut self.dbs {
            db.retain(|_, (_, at)| at.is_none_or(|at| at >= now));
        }
    }

    fn answer(&mut self, db: usize, line: &str) -> Value {
        self.drop_expired();
        let words: Vec<&str> = line.split(' ').collect();
        let now = self.now;
        match words[..] {
            ["DEL", ref keys @ ..] => {
                int(keys.iter().filter(|&&k| self.dbs[db].remove(k).is_some()).count() as i64)
            }
            ["EXISTS", ref keys @ ..] => {
                int(keys.iter().filter(|&&k| self.dbs[db].contains_key(k)).count() as i64)
            }
            ["PEXPIRE", key, ms, ref options @ ..] => {
                let at = now + ms.parse::<i64>().unwrap();
                let Some((_, present)) = self.dbs[db].get_mut(key) else { return int(0) };
                let holds = options.iter().all(|&option| match (option, *present) {
                    ("NX", present) => present.is_none(),
                    ("XX", present) => present.is_some(),
                    ("GT", present) => present.is_some_and(|present| at > present),
                    ("LT", present) => present.is_none_or(|present| at < present),
                    _ => unreachable!(),
                });
                if holds && at <= now {
                    self.dbs[db].remove(key);
                } else if holds {
                    *present = Some(at);
                }
                int(holds as i64)
            }
            ["PERSIST", key] => {
                int(self.dbs[db].get_mut(key).is_some_and(|(_, at)| at.take().is_some()) as i64)
            }
            ["PTTL", key] => int(match self.dbs[db].get(key) {
                None => -2,
                Some((_, None)) => -1,
                Some((_, Some(at))) => at - now,
            }),
            ["RENAME", from, to] => {
                let Some(entry) = self.dbs[db].remove(from) else { return error("ERR no such key") };
                self.dbs[db].insert(to.into(), entry);
                ok()
            }
            ["RENAMENX", from, to] => {
                if !self.dbs[db].contains_key(from) {
                    return error("ERR no such key");
                }
                if self.dbs[db].contains_key(to) {
                    return int(0);
                }
                let entry = self.dbs[db].remove(from).unwrap();
                self.dbs[db].insert(to.into(), entry);
                int(1)
            }
            ["COPY", from, to, "DB", other, ref replace @ ..] => {
                let other: usize = other.parse().unwrap();
                if other == db && from == to {
                    return error("ERR source and destination objects are the same");
                }
                let Some(entry) = self.dbs[db].get(from).cloned() else { return int(0) };
                if self.dbs[other].contains_key(to) && replace.is_empty() {
                    return int(0);
                }
                self.dbs[other].insert(to.into(), entry);
                int(1)
            }
            ["MOVE", key, other] => {
                let other: usize = other.parse().unwrap();
                if other == db {
                    return error("ERR source and destination objects are the same");
                }
                if !self.dbs[db].contains_key(key) || self.dbs[other].contains_key(key) {
                    return int(0);
                }
                let entry = self.dbs[db].remove(key).unwrap();
                self.dbs[other].insert(key.into(), entry);
                int(1)
            }
            ["SWAPDB", a, b] => {
                self.dbs.swap(a.parse().unwrap(), b.parse().unwrap());
                ok()
            }
            ["FLUSHDB"] => {
                self.dbs[db].clear();
                ok()
            }
            ["FLUSHALL"] => {
                self.dbs = Default::default();
                ok()
            }
            _ => unreachable!("{line}"),
        }
    }

    fn contents(&self, db: usize) -> Vec<Held> {
        self.dbs[db]
            .iter()
            .filter(|(_, (_, at))| at.is_none_or(|at| at >= self.now))
            .map(|(key, (value, at))| {
                (key.clone().into(), OwnedValue::Bytes(value.clone().into()), at.map(|at| at as u64))
            })
            .collect()
    }
}

fn a_step() -> impl Strategy<Value = Step> {
    let key = || prop::sample::select(&["a", "b", "c", "d", "e"][..]);
    let db = || 0..3u16;
    let ms = || -50..500i64;
    let options = prop::sample::select(&["", " NX", " XX", " GT", " LT", " XX GT", " XX LT"][..]);
    let replace = prop::sample::select(&["", " REPLACE"][..]);
    let command = prop_oneof![
        (key(), key()).prop_map(|(a, b)| format!("DEL {a} {b}")),
        (key(), key()).prop_map(|(a, b)| format!("EXISTS {a} {b}")),
        (key(), ms(), options).prop_map(|(k, ms, options)| format!("PEXPIRE {k} {ms}{options}")),
        key().prop_map(|k| format!("PERSIST {k}")),
        key().prop_map(|k| format!("PTTL {k}")),
        (key(), key()).prop_map(|(a, b)| format!("RENAME {a} {b}")),
        (key(), key()).prop_map(|(a, b)| format!("RENAMENX {a} {b}")),
        (key(), key(), db(), replace).prop_map(|(a, b, db, r)| format!("COPY {a} {b} DB {db}{r}")),
        (key(), db()).prop_map(|(k, db)| format!("MOVE {k} {db}")),
        (db(), db()).prop_map(|(a, b)| format!("SWAPDB {a} {b}")),
    ];
    prop_oneof![
        6 => (key(), any::<u8>(), prop::option::of(1..500i64))
            .prop_map(|(key, value, ttl)| Step::Put { key: key.to_owned(), value, ttl }),
        16 => command.prop_map(Step::Command),
        1 => prop::sample::select(&["FLUSHDB", "FLUSHALL"][..]).prop_map(|line| Step::Command(line.to_owned())),
        2 => (0..100u64).prop_map(|ms| Step::Pass { ms }),
        2 => db().prop_map(|db| Step::Select { db }),
    ]
}

/// Commands that set or edit values, for the replay of both families together.
fn a_string_step() -> impl Strategy<Value = String> {
    let key = || prop::sample::select(&["a", "b", "c", "d", "e"][..]);
    let value = || prop::sample::select(&["0", "12", "-7", "text", "9223372036854775807", "3.5"][..]);
    prop_oneof![
        (key(), value()).prop_map(|(k, v)| format!("SET {k} {v}")),
        (key(), value()).prop_map(|(k, v)| format!("SET {k} {v} KEEPTTL")),
        (key(), value(), 1..300u32).prop_map(|(k, v, ms)| format!("SET {k} {v} PX {ms}")),
        (key(), value()).prop_map(|(k, v)| format!("APPEND {k} {v}")),
        (key(), 0..3000u32, value()).prop_map(|(k, at, v)| format!("SETRANGE {k} {at} {v}")),
        key().prop_map(|k| format!("INCR {k}")),
        key().prop_map(|k| format!("GETDEL {k}")),
        key().prop_map(|k| format!("GETEX {k} PERSIST")),
        (key(), key(), value()).prop_map(|(a, b, v)| format!("MSETNX {a} {v} {b} {v}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changes_of_strings_and_keys_together_replay(
        steps in prop::collection::vec(prop_oneof![a_step(), a_string_step().prop_map(Step::Command)], 1..150),
    ) {
        let mut shard = shard();
        let recorder = Recorder::attach(&mut shard);
        let (mut now, mut db) = (NOW, 0);
        for step in steps {
            match step {
                Step::Put { .. } => {}
                Step::Command(line) => {
                    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
                    run_args(&mut shard, view(db, now), &argv);
                }
                Step::Pass { ms } => now += ms,
                Step::Select { db: other } => db = other,
            }
        }
        while shard.background(now, 8) {}
        let mut copy = support::shard();
        for change in recorder.take() {
            copy.keys.replay(&change.as_change(), now).unwrap();
        }
        for db in 0..3 {
            prop_assert_eq!(contents(&shard, db, 0), contents(&copy, db, 0));
        }
    }

    #[test]
    fn commands_answer_as_the_model_and_their_changes_replay(steps in prop::collection::vec(a_step(), 1..120)) {
        let config = EngineConfig { count_slots: true, databases: 3, ..EngineConfig::default() };
        let mut shard = shard_with(config.clone());
        let recorder = Recorder::attach(&mut shard);
        let mut model = Model { now: NOW as i64, ..Model::default() };
        let mut db = 0u16;
        for step in steps {
            let now = model.now as u64;
            match step {
                Step::Put { key, value, ttl } => {
                    let at = ttl.map(|ttl| model.now + ttl);
                    let value = format!("v{value}");
                    let hashed = shard.keys.key(key.as_bytes());
                    let expiry = at.map_or(NewExpiry::Clear, |at| NewExpiry::At(at as u64));
                    shard.keys.set(view(db, now), &hashed, NewValue::Bytes(value.as_bytes()), expiry);
                    model.dbs[db as usize].insert(key, (value, at));
                }
                Step::Command(line) => {
                    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
                    let reply = run_args(&mut shard, view(db, now), &argv);
                    prop_assert_eq!(reply, model.answer(db as usize, &line), "{}", line);
                }
                Step::Pass { ms } => model.now += ms as i64,
                Step::Select { db: other } => db = other,
            }
        }
        let now = model.now as u64;
        let mut copy = shard_with(config);
        for change in recorder.take() {
            copy.keys.replay(&change.as_change(), now).unwrap();
        }
        for db in 0..3 {
            prop_assert_eq!(contents(&shard, db, now), model.contents(db as usize));
            // Expired keys too: what was not noticed here has not happened there.
            prop_assert_eq!(contents(&shard, db, 0), contents(&copy, db, 0));
        }
        let mut in_slots = [0u32; 16384];
        for db in 0..3 {
            for (key, ..) in contents(&shard, db, 0) {
                in_slots[Slot::of(&key).number() as usize] += 1;
            }
        }
        for name in ["a", "b", "c", "d", "e"] {
            let slot = Slot::of(name.as_bytes());
            let held = in_slots[slot.number() as usize];
            prop_assert_eq!(shard.keys.slot_count(slot), Some(held));
            prop_assert_eq!(copy.keys.slot_count(slot), Some(held));
        }
    }
}

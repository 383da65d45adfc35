//! String commands: what they answer, what they leave behind, and that their changes say all of it.
//!
//! Expected replies are those of redis-server 7.0.15 where it has the command; the 8.4 forms (IFEQ and its relatives,
//! DIGEST, DELEX) follow the documentation of 8.4.

mod support;

use bytes::Bytes;
use kora_engine::change::DeleteReason;
use kora_engine::keyspace::View;
use kora_engine::limits::INLINE_VALUE_MAX;
use kora_engine::shard::{EngineConfig, Shard};
use kora_engine::table::ValueRef;
use proptest::prelude::*;
use support::*;

const SYNTAX: &str = "ERR syntax error";
const NOT_INTEGER: &str = "ERR value is not an integer or out of range";
const NOT_FLOAT: &str = "ERR value is not a valid float";
const TOO_LONG: &str = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";

/// Runs lines and compares each answer.
fn check(shard: &mut Shard, dialogue: &[(&str, Value)]) {
    for (line, expected) in dialogue {
        assert_eq!(&run(shard, line), expected, "{line}");
    }
}

/// The expiry of a key at [`NOW`].
fn expiry(shard: &mut Shard, key: &str) -> Option<u64> {
    held(shard, key).expect("the key is there").2
}

fn held(shard: &mut Shard, key: &str) -> Option<Held> {
    contents(shard, 0, NOW).into_iter().find(|held| held.0 == key.as_bytes())
}

fn is_int(shard: &mut Shard, key: &str) -> bool {
    matches!(held(shard, key).expect("the key is there").1, OwnedValue::Int(_))
}

#[test]
fn set_replaces_value_and_expiry() {
    let mut shard = shard();
    check(
        &mut shard,
        &[
            ("GET k", Value::Null),
            ("SET k v", ok()),
            ("GET k", bulk("v")),
            ("SET k w EX 10", ok()),
            ("GET k", bulk("w")),
        ],
    );
    assert_eq!(expiry(&mut shard, "k"), Some(NOW + 10_000));
    check(&mut shard, &[("SET k x KEEPTTL", ok())]);
    assert_eq!(expiry(&mut shard, "k"), Some(NOW + 10_000));
    check(&mut shard, &[("SET k y", ok()), ("get k", bulk("y"))]);
    assert_eq!(expiry(&mut shard, "k"), None);
}

#[test]
fn set_takes_every_form_of_expiry() {
    let mut shard = shard();
    for (form, at) in [
        ("ex 7", NOW + 7000),
        ("PX 7", NOW + 7),
        ("exat 2000000000", 2_000_000_000_000),
        ("PXAT 2000000000001", 2_000_000_000_001),
        ("EX 3 EX 5", NOW + 5000),
    ] {
        assert_eq!(run(&mut shard, &format!("SET k v {form}")), ok());
        assert_eq!(expiry(&mut shard, "k"), Some(at), "{form}");
    }
    check(&mut shard, &[("SETEX k 9 w", ok()), ("GET k", bulk("w"))]);
    assert_eq!(expiry(&mut shard, "k"), Some(NOW + 9000));
    check(&mut shard, &[("PSETEX k 9 x", ok())]);
    assert_eq!(expiry(&mut shard, "k"), Some(NOW + 9));
}

#[test]
fn an_expiry_in_the_past_is_stored_and_the_key_gone() {
    let mut shard = shard();
    let changes = Recorder::attach(&mut shard);
    check(&mut shard, &[("SET k v", ok()), ("SET k w EXAT 1", ok()), ("GET k", Value::Null)]);
    assert_eq!(
        changes.take().pop(),
        Some(OwnedChange::Delete { db: 0, key: b"k".to_vec(), reason: DeleteReason::Expired })
    );
    check(&mut shard, &[("SET k v PX 5", ok())]);
    assert_eq!(run_at(&mut shard, NOW + 5, "GET k"), bulk("v"));
    assert_eq!(run_at(&mut shard, NOW + 6, "GET k"), Value::Null);
}

#[test]
fn expiry_arguments_are_checked() {
    let mut shard = shard();
    for (line, name) in [
        ("SET k v EX 0", "set"),
        ("SET k v PX -1", "set"),
        ("SET k v EX 9223372036854775807", "set"),
        ("SET k v PX 9223372036854775807", "set"),
        ("SET k v EX 9223372036854775", "set"),
        ("SET k v EXAT 0", "set"),
        ("SET k v EXAT -9223372036854775808", "set"),
        ("SETEX k 0 v", "setex"),
        ("PSETEX k -1 v", "psetex"),
    ] {
        let expected = error(&format!("ERR invalid expire time in '{name}' command"));
        assert_eq!(run(&mut shard, line), expected, "{line}");
    }
    check(
        &mut shard,
        &[
            ("SET k v EX abc", error(NOT_INTEGER)),
            ("SET k v EX 1.5", error(NOT_INTEGER)),
            ("SETEX k abc v", error(NOT_INTEGER)),
            ("SET k v EX", error(SYNTAX)),
            ("SET k v EX 10 PX 10", error(SYNTAX)),
            ("SET k v KEEPTTL EX 10", error(SYNTAX)),
            ("SET k v EX 10 KEEPTTL", error(SYNTAX)),
            ("SET k v PERSIST", error(SYNTAX)),
            ("SET k v KEEPTTL KEEPTTL", ok()),
            ("SET k v PXAT 9223372036854775807", ok()),
        ],
    );
}

#[test]
fn set_conditions() {
    let mut shard = shard();
    check(
        &mut shard,
        &[
            ("SET k v XX", Value::Null),
            ("SET k v NX", ok()),
            ("SET k w NX", Value::Null),
            ("SET k w XX", ok()),
            ("GET k", bulk("w")),
            ("SET k x NX GET", bulk("w")),
            ("SET k x XX GET", bulk("w")),
            ("SET k y GET GET", bulk("x")),
            ("GET k", bulk("y")),
            ("SET new v GET", Value::Null),
            ("GET new", bulk("v")),
            ("SET none v XX GET", Value::Null),
            ("GET none", Value::Null),
            ("SET k v NX XX", error(SYNTAX)),
            ("SET k v XX NX", error(SYNTAX)),
            ("SET k v NX NX", Value::Null),
            ("SET k v what", error(SYNTAX)),
            ("SETNX k z", int(0)),
            ("SETNX m z", int(1)),
            ("GET m", bulk("z")),
        ],
    );
}

#[test]
fn set_compares_values_and_digests() {
    let mut shard = shard();
    check(
        &mut shard,
        &[
            ("SET k v IFEQ v", Value::Null),
            ("SET k hello IFNE v", ok()),
            ("SET k w IFEQ v", Value::Null),
            ("SET k w IFNE hello", Value::Null),
            ("SET k w IFEQ hello GET", bulk("hello")),
            ("GET k", bulk("w")),
            ("SET k x IFEQ other GET", bulk("w")),
            ("GET k", bulk("w")),
            ("SET k 10", ok()),
            ("SET k 11 IFEQ 10", ok()),
            ("SET k 12 IFEQ 011", Value::Null),
            ("SET k hello", ok()),
            ("SET k v IFDEQ 0000000000000000", Value::Null),
            ("SET k v IFDNE 9555e8555c62dcfd", Value::Null),
            ("SET k 123 IFDEQ 9555E8555C62DCFD", ok()),
            ("SET k v IFDEQ 404a763b3f4c8c9a", ok()),
            ("SET none v IFDEQ 404a763b3f4c8c9a", Value::Null),
            ("SET k w IFDEQ 12", error("ERR must be exactly 16 hexadecimal characters")),
            ("SET k w IFDEQ 12 GET", error("ERR must be exactly 16 hexadecimal characters")),
            ("SET none v IFDNE 12", ok()),
            ("SET k w IFEQ", error(SYNTAX)),
            ("SET k w IFEQ a IFNE b", error(SYNTAX)),
            ("SET k w NX IFEQ b", error(SYNTAX)),
            ("SET k w IFEQ b NX", error(SYNTAX)),
            ("SET k w IFEQ a IFEQ v", ok()),
        ],
    );
}

#[test]
fn digests_are_xxh3() {
    let mut shard = shard();
    for (value, digest) in [
        ("hello", "9555e8555c62dcfd"),
        ("\"\"", "2d06800538d394c2"),
        ("123", "404a763b3f4c8c9a"),
        ("v8", "0cc76dbb41381419"),
        ("myvalue", "5a32b091fa5dafe7"),
    ] {
        run(&mut shard, &format!("SET k {value}"));
        assert_eq!(run(&mut shard, "DIGEST k"), bulk(digest), "{value}");
    }
    assert_eq!(run(&mut shard, "DIGEST none"), Value::Null);
}

#[test]
fn delex_removes_under_a_condition() {
    let mut shard = shard();
    check(
        &mut shard,
        &[
            ("DELEX k", int(0)),
            ("SET k v", ok()),
            ("DELEX k", int(1)),
            ("DELEX k WHAT v", int(0)),
            ("SET k hello", ok()),
            ("DELEX k WHAT v", error("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE")),
            ("DELEX k IFEQ", error("ERR wrong number of arguments for 'delex' command")),
            ("DELEX k IFEQ a b", error("ERR wrong number of arguments for 'delex' command")),
            ("DELEX k IFEQ other", int(0)),
            ("DELEX k IFNE hello", int(0)),
            ("DELEX k IFDNE 9555e8555c62dcfd", int(0)),
            ("DELEX k IFDEQ zzzzzzzzzzzzzzzz", int(0)),
            ("DELEX k IFDEQ 1", error("ERR must be exactly 16 hexadecimal characters")),
            ("DELEX k IFDEQ 9555E8555c62dcfd", int(1)),
            ("GET k", Value::Null),
        ],
    );
}

#[test]
fn canonical_integers_are_stored_as_integers() {
    let mut shard = shard();
    for text in ["0", "-1", "9223372036854775807", "-9223372036854775808"] {
        for line in [format!("SET k {text}"), format!("SETEX k 9 {text}"), format!("MSET k {text}")] {
            assert_eq!(run(&mut shard, &line), ok());
            assert!(is_int(&mut shard, "k"), "{line}");
            assert_eq!(run(&mut shard, "GET k"), bulk(text));
            assert_eq!(run(&mut shard, "STRLEN k"), int(text.len() as i64));
        }
    }
    for text in ["00", "+1", "-0", "9223372036854775808", "1.0", "\" 1\"", "\"\"", "123456789012345678901"] {
        assert_eq!(run(&mut shard, &format!("SET k {text}")), ok());
        assert!(!is_int(&mut shard, "k"), "{text}");
    }
    check(&mut shard, &[("DELEX k", int(1)), ("APPEND k 12", int(2))]);
    assert!(is_int(&mut shard, "k"));
    check(&mut shard, &[("APPEND k 3", int(3)), ("GET k", bulk("123"))]);
    assert!(!is_int(&mut shard, "k"));
    check(&mut shard, &[("INCRBYFLOAT f 5", bulk("5"))]);
    assert!(!is_int(&mut shard, "f"));
}

#[test]
fn getset_getdel_and_getex() {
    let mut shard = shard();
    check(
        &mut shard,
        &[
            ("GETSET k v", Value::Null),
            ("SET k v EX 10", ok()),
            ("GETSET k w", bulk("v")),
            ("GET k", bulk("w")),
        ],
    );
    assert_eq!(expiry(&mut shard, "k"), None);
    check(&mut shard, &[("GETDEL k", bulk("w")), ("GETDEL k", Value::Null)]);

    let invalid = error("ERR invalid expire time in 'getex' command");
    check(
        &mut shard,
        &[
            ("GETEX none EX 0", Value::Null),
            ("GETEX none what", error(SYNTAX)),
            ("SET k v", ok()),
            ("GETEX k EX 0", invalid.clone()),
            ("GETEX k PX 9223372036854775807", invalid),
            ("GETEX k EX abc", error(NOT_INTEGER)),
            ("GETEX k PERSIST EX 10", error(SYNTAX)),
            ("GETEX k EX 10 PERSIST", error(SYNTAX)),
            ("GETEX k EX 10 PX 10", error(SYNTAX)),
            ("GETEX k KEEPTTL", error(SYNTAX)),
            ("GETEX k NX", error(SYNTAX)),
            ("GETEX k EX", error(SYNTAX)),
        ],
    );
    assert_eq!(expiry(&mut shard, "k"), None);
    check(&mut shard, &[("GETEX k EX 10", bulk("v")), ("GETEX k", bulk("v"))]);
    assert_eq!(expiry(&mut shard, "k"), Some(NOW + 10_000));
    check(&mut shard, &[("GETEX k PERSIST", bulk("v"))]);
    assert_eq!(expiry(&mut shard, "k"), None);
    check(&mut shard, &[("GETEX k PXAT 1", bulk("v")), ("GET k", Value::Null)]);
}

#[test]
fn getex_changes_only_what_changes() {
    let mut shard = shard();
    run(&mut shard, "SET k v");
    let changes = Recorder::attach(&mut shard);
    run(&mut shard, "GETEX k");
    run(&mut shard, "GETEX k PERSIST");
    assert_eq!(changes.take(), []);
    run(&mut shard, "GETEX k PX 10");
    run(&mut shard, "GETEX k PERSIST");
    run(&mut shard, "GETEX k EXAT 1");
    assert_eq!(
        changes.take(),
        [
            OwnedChange::Expire { db: 0, key: b"k".to_vec(), expire_at: Some(NOW + 10) },
            OwnedChange::Expire { db: 0, key: b"k".to_vec(), expire_at: None },
            OwnedChange::Delete { db: 0, key: b"k".to_vec(), reason: DeleteReason::Command },
        ]
    );
}

#[test]
fn ranges_are_read() {
    let mut shard = shard();
    check(
        &mut shard,
        &[
            ("SET k \"This is a string\"", ok()),
            ("GETRANGE k 0 3", bulk("This")),
            ("GETRANGE k -3 -1", bulk("ing")),
            ("GETRANGE k 0 -1", bulk("This is a string")),
            ("GETRANGE k 10 100", bulk("string")),
            ("GETRANGE k 5 3", bulk("")),
            ("GETRANGE k -5000 10000", bulk("This is a string")),
            ("GETRANGE k -1 -5", bulk("")),
            ("GETRANGE k 9223372036854775807 -9223372036854775808", bulk("")),
            ("GETRANGE k 0 9223372036854775808", error(NOT_INTEGER)),
            ("GETRANGE k a 1", error(NOT_INTEGER)),
            ("GETRANGE none 0 -1", bulk("")),
            ("SET n 12345", ok()),
            ("SUBSTR n 1 2", bulk("23")),
            ("STRLEN n", int(5)),
            ("STRLEN k", int(16)),
            ("STRLEN none", int(0)),
        ],
    );
}

#[test]
fn ranges_are_written() {
    let mut shard = shard();
    let changes = Recorder::attach(&mut shard);
    check(
        &mut shard,
        &[
            ("SETRANGE k 5 \"\"", int(0)),
            ("GET k", Value::Null),
            ("SETRANGE k 2 ab", int(4)),
            ("GET k", bulk("\0\0ab")),
            ("SETRANGE k 1 xyz12", int(6)),
            ("GET k", bulk("\0xyz12")),
            ("SETRANGE k 100 \"\"", int(6)),
            ("SET n 12345 EX 10", ok()),
            ("SETRANGE n 1 x", int(5)),
            ("GET n", bulk("1x345")),
        ],
    );
    assert_eq!(expiry(&mut shard, "n"), Some(NOW + 10_000));
    let changes = changes.take();
    assert_eq!(changes.len(), 4, "one change for each write: {changes:?}");
    check(
        &mut shard,
        &[
            ("SETRANGE k -1 x", error("ERR offset is out of range")),
            ("SETRANGE k a x", error(NOT_INTEGER)),
            ("SETRANGE k 9223372036854775808 x", error(NOT_INTEGER)),
            ("SETRANGE k 9223372036854775807 x", error(TOO_LONG)),
            ("SETRANGE k 536870912 x", error(TOO_LONG)),
            ("SETRANGE none 536870912 x", error(TOO_LONG)),
            ("GET none", Value::Null),
        ],
    );
}

#[test]
fn append_adds_and_keeps_the_expiry() {
    let mut shard = shard();
    check(
        &mut shard,
        &[
            ("APPEND k foo", int(3)),
            ("APPEND k \"\"", int(3)),
            ("APPEND k bar", int(6)),
            ("GET k", bulk("foobar")),
            ("APPEND e \"\"", int(0)),
            ("GET e", bulk("")),
            ("SET n 10 EX 5", ok()),
            ("APPEND n 5", int(3)),
            ("GET n", bulk("105")),
            ("INCR n", int(106)),
        ],
    );
    assert_eq!(expiry(&mut shard, "n"), Some(NOW + 5000));
}

#[test]
fn a_string_written_in_part_stays_raw_when_it_moves() {
    let mut shard = shard();
    check(
        &mut shard,
        &[
            ("SET k abc", ok()),
            ("OBJECT ENCODING k", bulk("embstr")),
            ("APPEND k d", int(4)),
            ("RENAME k r", ok()),
            ("OBJECT ENCODING r", bulk("raw")),
            ("COPY r c", int(1)),
            ("OBJECT ENCODING c", bulk("raw")),
        ],
    );
}

#[test]
fn strings_do_not_outgrow_the_limit() {
    let mut shard = shard_with(EngineConfig { max_string_len: 1 << 20, ..EngineConfig::default() });
    check(
        &mut shard,
        &[
            ("SETRANGE k 1048575 x", int(1 << 20)),
            ("APPEND k y", error(TOO_LONG)),
            ("APPEND k \"\"", int(1 << 20)),
            ("SETRANGE k 1048575 xy", error(TOO_LONG)),
            ("SETRANGE k 1048576 x", error(TOO_LONG)),
            ("SETRANGE k 1048576 \"\"", int(1 << 20)),
            ("STRLEN k", int(1 << 20)),
        ],
    );
}

#[test]
fn counters_count() {
    let mut shard = shard();
    check(
        &mut shard,
        &[
            ("INCR k", int(1)),
            ("INCRBY k 41", int(42)),
            ("DECR k", int(41)),
            ("DECRBY k 42", int(-1)),
            ("DECRBY k -11", int(10)),
            ("GET k", bulk("10")),
            ("SET k 9223372036854775807 EX 9", ok()),
            ("INCR k", error("ERR increment or decrement would overflow")),
            ("DECRBY k -1", error("ERR increment or decrement would overflow")),
            ("DECR k", int(i64::MAX - 1)),
            ("SET m -9223372036854775808", ok()),
            ("DECR m", error("ERR increment or decrement would overflow")),
            ("DECRBY k -9223372036854775808", error("ERR decrement would overflow")),
            ("INCRBY k 1.5", error(NOT_INTEGER)),
            ("INCRBY k 9223372036854775808", error(NOT_INTEGER)),
            ("SET t abc", ok()),
            ("INCR t", error(NOT_INTEGER)),
            ("SET t \"11 \"", ok()),
            ("INCR t", error(NOT_INTEGER)),
        ],
    );
    assert_eq!(expiry(&mut shard, "k"), Some(NOW + 9000));
}

#[test]
fn floats_are_added_as_redis_does() {
    let mut shard = shard();
    check(
        &mut shard,
        &[
            ("INCRBYFLOAT k 0.1", bulk("0.1")),
            ("INCRBYFLOAT k 0.2", bulk("0.3")),
            ("SET n 3 EX 9", ok()),
            ("INCRBYFLOAT n 1.1", bulk("4.1")),
            ("GET n", bulk("4.1")),
            ("SET n 5.0e3", ok()),
            ("INCRBYFLOAT n 2.0e2", bulk("5200")),
            ("INCR n", int(5201)),
            ("INCRBYFLOAT n inf", error("ERR increment would produce NaN or Infinity")),
            ("INCRBYFLOAT n nan", error(NOT_FLOAT)),
            ("INCRBYFLOAT n \" 1\"", error(NOT_FLOAT)),
            ("INCRBYFLOAT n 1e4933", error(NOT_FLOAT)),
            ("SET t abc", ok()),
            ("INCRBYFLOAT t 1", error(NOT_FLOAT)),
            ("SET t 1e4932", ok()),
            ("INCRBYFLOAT t 1e4932", error("ERR increment would produce NaN or Infinity")),
            ("GET t", bulk("1e4932")),
        ],
    );
    run(&mut shard, "SET n 3 EX 9");
    run(&mut shard, "INCRBYFLOAT n 1");
    assert_eq!(expiry(&mut shard, "n"), Some(NOW + 9000));
}

#[test]
fn many_keys_at_once() {
    let mut shard = shard();
    check(
        &mut shard,
        &[
            ("MSET a 1 b two a 3", ok()),
            ("MGET a none b", Value::Array(vec![bulk("3"), Value::Null, bulk("two")])),
            ("MSET a", error("ERR wrong number of arguments for 'mset' command")),
            ("MSET a 1 b", error("ERR wrong number of arguments for 'mset' command")),
            ("MSETNX a 1 b", error("ERR wrong number of arguments for 'msetnx' command")),
            ("MSETNX c 1 a 9", int(0)),
            ("GET c", Value::Null),
            ("MSETNX c 1 d 2 c 3", int(1)),
            ("MGET c d", bulks(["3", "2"])),
            ("SET a 1 EX 9", ok()),
            ("MSET a 2", ok()),
        ],
    );
    assert_eq!(expiry(&mut shard, "a"), None);
}

#[test]
fn large_values_are_kept_and_given_by_reference() {
    let mut shard = shard();
    let view = View { db: 0, now: NOW, touch: true };
    let value = vec![b'x'; 2 * INLINE_VALUE_MAX];
    let frame = Bytes::from([b"SETk".as_slice(), &value].concat());
    let argv: [&[u8]; 3] = [&frame[..3], &frame[3..4], &frame[4..]];
    assert_eq!(run_in_frame(&mut shard, view, &argv, Some(&frame)), ok());
    let key = shard.keys.key(b"k");
    let entry = shard.keys.get(view, &key).unwrap();
    let ValueRef::Shared(stored) = entry.value() else { panic!("a large value is shared") };
    assert_eq!(stored.as_ptr(), frame[4..].as_ptr(), "not copied");
    assert_eq!(run(&mut shard, "GET k"), bulk(&value));
    assert_eq!(run(&mut shard, "GETRANGE k -2 -1"), bulk("xx"));

    // The same value in a frame of which it is the smaller part would pin the rest.
    let padded = Bytes::from([frame.as_ref(), &vec![0; 4 * INLINE_VALUE_MAX]].concat());
    let argv: [&[u8]; 3] = [&padded[..3], &padded[3..4], &padded[4..4 + value.len()]];
    assert_eq!(run_in_frame(&mut shard, view, &argv, Some(&padded)), ok());
    let entry = shard.keys.get(view, &key).unwrap();
    let ValueRef::Shared(stored) = entry.value() else { panic!("a large value is shared") };
    assert_ne!(stored.as_ptr(), padded[4..].as_ptr(), "copied");
    assert_eq!(stored[..], value[..]);
    check(&mut shard, &[("INCR k", error(NOT_INTEGER)), ("INCRBYFLOAT k 1", error(NOT_FLOAT))]);
}

#[test]
fn longest_common_subsequences() {
    let mut shard = shard();
    let ranges = |with_length: bool| {
        let range = |a: [i64; 2], b: [i64; 2]| {
            let mut parts = vec![
                Value::Array(a.into_iter().map(int).collect()),
                Value::Array(b.into_iter().map(int).collect()),
            ];
            if with_length {
                parts.push(int(a[1] - a[0] + 1));
            }
            Value::Array(parts)
        };
        vec![range([4, 7], [5, 8]), range([2, 3], [0, 1])]
    };
    let idx =
        |ranges: Vec<Value>| Value::Map(vec![bulk("matches"), Value::Array(ranges), bulk("len"), int(6)]);
    check(
        &mut shard,
        &[
            ("MSET a ohmytext b mynewtext", ok()),
            ("LCS a b", bulk("mytext")),
            ("LCS a b LEN", int(6)),
            ("LCS a b IDX", idx(ranges(false))),
            ("LCS a b IDX WITHMATCHLEN", idx(ranges(true))),
            ("LCS a b IDX MINMATCHLEN 4", idx(ranges(false)[..1].to_vec())),
            ("LCS a b IDX MINMATCHLEN -4 WITHMATCHLEN", idx(ranges(true))),
            ("LCS a none", bulk("")),
            ("LCS none none LEN", int(0)),
            ("LCS none a IDX", Value::Map(vec![bulk("matches"), Value::Array(vec![]), bulk("len"), int(0)])),
            ("MSET n 12345 m 1735", ok()),
            ("LCS n m", bulk("135")),
            ("LCS a b LEN IDX", error("ERR If you want both the length and indexes, please just use IDX.")),
            ("LCS a b MINMATCHLEN", error(SYNTAX)),
            ("LCS a b MINMATCHLEN x", error(NOT_INTEGER)),
            ("LCS a b WHAT", error(SYNTAX)),
        ],
    );
}

#[test]
fn a_long_lcs_goes_on_in_slices_and_sees_the_values_it_began_with() {
    let mut shard = shard();
    run(&mut shard, "SETRANGE a 9999 x");
    run(&mut shard, "SETRANGE b 9999 y");
    assert_eq!(run(&mut shard, "LCS a b LEN"), int(9999));
    let Value::Bulk(subsequence) = run(&mut shard, "LCS a b") else { panic!("a string") };
    assert_eq!(subsequence, vec![0; 9999]);
    run(&mut shard, "SETRANGE a 19999 x");
    assert_eq!(
        run(&mut shard, "LCS a b"),
        error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
    );
}

#[test]
fn reads_count_hits_and_misses() {
    let mut shard = shard();
    run(&mut shard, "SET k v");
    for line in ["GET k", "STRLEN k", "GETRANGE k 0 1", "MGET k none", "GETEX k", "LCS k none", "GETDEL none"]
    {
        run(&mut shard, line);
    }
    assert_eq!((shard.keys.stats.hits, shard.keys.stats.misses), (6, 3));
    run(&mut shard, "SET k w XX");
    run(&mut shard, "APPEND k w");
    run(&mut shard, "INCRBY n 1");
    assert_eq!((shard.keys.stats.hits, shard.keys.stats.misses), (6, 3), "writes do not count");
}

/// One random command line on few keys, so that commands meet what others have left.
fn command() -> impl Strategy<Value = String> {
    let key = || prop::sample::select(vec!["a", "b", "c"]);
    let value = || {
        prop_oneof![
            Just("\"\"".to_owned()),
            (-100i64..100).prop_map(|n| n.to_string()),
            Just(i64::MAX.to_string()),
            (-50i64..50, 0u32..100).prop_map(|(n, f)| format!("{n}.{f}")),
            "[a-z]{1,30}",
            (1usize..3).prop_map(|n| "x".repeat(n * INLINE_VALUE_MAX - 5)),
        ]
    };
    let expiry = || {
        prop_oneof![
            Just(String::new()),
            Just(" KEEPTTL".to_owned()),
            (1u64..40).prop_map(|n| format!(" PX {n}")),
            (1u64..3).prop_map(|n| format!(" EX {n}")),
            (0u64..80).prop_map(|n| format!(" PXAT {}", NOW + n)),
            Just(" EXAT 5".to_owned()),
        ]
    };
    let condition = || prop::sample::select(vec!["", " NX", " XX", " GET", " NX GET", " IFEQ 1", " IFNE 1"]);
    let delta = || prop_oneof![-20i64..20, Just(i64::MAX), Just(i64::MIN)];
    prop_oneof![
        3 => (key(), value(), expiry(), condition()).prop_map(|(k, v, e, c)| format!("SET {k} {v}{e}{c}")),
        1 => (key(), value()).prop_map(|(k, v)| format!("SETNX {k} {v}")),
        1 => (key(), 1u64..3, value()).prop_map(|(k, n, v)| format!("SETEX {k} {n} {v}")),
        1 => (key(), 1u64..40, value()).prop_map(|(k, n, v)| format!("PSETEX {k} {n} {v}")),
        1 => (key(), value()).prop_map(|(k, v)| format!("GETSET {k} {v}")),
        1 => key().prop_map(|k| format!("GETDEL {k}")),
        1 => key().prop_map(|k| format!("GET {k}")),
        1 => (key(), expiry()).prop_map(|(k, e)| format!("GETEX {k}{e}")),
        1 => key().prop_map(|k| format!("GETEX {k} PERSIST")),
        2 => (key(), value()).prop_map(|(k, v)| format!("APPEND {k} {v}")),
        2 => (key(), 0usize..40, value()).prop_map(|(k, o, v)| format!("SETRANGE {k} {o} {v}")),
        1 => (key(), delta()).prop_map(|(k, d)| format!("INCRBY {k} {d}")),
        1 => (key(), delta()).prop_map(|(k, d)| format!("DECRBY {k} {d}")),
        1 => key().prop_map(|k| format!("INCR {k}")),
        1 => key().prop_map(|k| format!("DECR {k}")),
        1 => (key(), value()).prop_map(|(k, v)| format!("INCRBYFLOAT {k} {v}")),
        1 => (key(), value(), key(), value()).prop_map(|(k, v, l, w)| format!("MSET {k} {v} {l} {w}")),
        1 => (key(), value(), key(), value()).prop_map(|(k, v, l, w)| format!("MSETNX {k} {v} {l} {w}")),
        1 => (key(), value()).prop_map(|(k, v)| format!("DELEX {k} IFNE {v}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Commands at passing times, replayed from their changes alone, leave the same data; and every command answers
    /// once (the sink sees to that).
    #[test]
    fn changes_say_all_that_commands_do(commands in proptest::collection::vec((command(), 0u64..8), 1..60)) {
        let mut original = shard_with(EngineConfig { count_slots: true, ..EngineConfig::default() });
        let recorder = Recorder::attach(&mut original);
        let mut replica = shard_with(EngineConfig { count_slots: true, ..EngineConfig::default() });
        let mut now = NOW;
        for (line, passing) in &commands {
            now += passing;
            let reply = run_at(&mut original, now, line);
            let changes = recorder.take();
            if let Value::Error(_) = reply {
                let only_expired = changes.iter().all(|change| {
                    matches!(change, OwnedChange::Delete { reason: DeleteReason::Expired, .. })
                });
                prop_assert!(only_expired, "{} answered an error and changed {:?}", line, changes);
            }
            for change in &changes {
                replica.keys.replay(&change.as_change(), now).unwrap();
            }
            // Expired keys that nobody has met are still there, in both.
            prop_assert_eq!(contents(&original, 0, 0), contents(&replica, 0, 0), "after {}", line);
        }
        let counted = |shard: &Shard| -> u32 {
            (0..16384).filter_map(kora_engine::slot::Slot::new).filter_map(|s| shard.keys.slot_count(s)).sum()
        };
        prop_assert_eq!(counted(&original) as usize, original.keys.len(0));
        prop_assert_eq!(counted(&replica) as usize, replica.keys.len(0));
    }
}

//! DUMP and RESTORE: values survive the way through bytes, in slices as at once, and no bytes do harm.

mod support;

use kora_engine::keyspace::View;
use kora_engine::rdb::{payload, Crc64};
use kora_engine::shard::Shard;
use kora_engine::table::ValueRef;
use proptest::prelude::*;
use support::{bulk, error, int, ok, run, run_args, shard, Value, NOW};

const VIEW: View = View { db: 0, now: NOW, touch: true };

/// The bytes of a key's value as the log would have them: equal values have equal bytes.
fn value_of(shard: &mut Shard, key: &[u8]) -> Option<(String, Vec<u8>, Option<u64>)> {
    let key = shard.keys.key(key);
    let entry = shard.keys.peek(VIEW, &key)?;
    let mut bytes = Vec::new();
    let encoding = match entry.value() {
        ValueRef::Int(value) => {
            bytes.extend(value.to_le_bytes());
            "int"
        }
        ValueRef::Bytes(text) => {
            bytes.extend(text);
            "string"
        }
        ValueRef::Shared(text) => {
            bytes.extend(text);
            "string"
        }
        ValueRef::Object(object) => {
            object.with(|object| object.encode(&mut bytes));
            object.with(|object| object.encoding())
        }
    };
    let is_hash =
        matches!(entry.value(), ValueRef::Object(object) if object.kind() == kora_engine::value::Type::Hash);
    if encoding == "hashtable" || is_hash {
        // Their order is that of insertion here and there, or that of expiry.
        bytes.sort_unstable();
    }
    // A hash whose fields were asked in vain to expire is called so until it is restored.
    // And a list just at the limit of the packed form may be in either.
    let encoding = if matches!(encoding, "listpackex" | "quicklist") { "listpack" } else { encoding };
    Some((encoding.to_owned(), bytes, entry.expire_at()))
}

fn dump(shard: &mut Shard, key: &str) -> Vec<u8> {
    match run_args(shard, VIEW, &[b"DUMP", key.as_bytes()]) {
        Value::Bulk(payload) => payload,
        other => panic!("{other:?}"),
    }
}

fn restore(shard: &mut Shard, key: &str, payload: &[u8]) -> Value {
    run_args(shard, VIEW, &[b"RESTORE", key.as_bytes(), b"0", payload, b"REPLACE"])
}

/// Dumps a key and restores it on another shard under another name.
fn assert_survives(shard: &mut Shard, key: &str) -> Vec<u8> {
    let payload = dump(shard, key);
    let mut other = support::shard();
    assert_eq!(restore(&mut other, "copy", &payload), ok(), "{key}");
    let (there, here) = (value_of(&mut other, b"copy"), value_of(shard, key.as_bytes()));
    let without_expiry =
        |value: Option<(String, Vec<u8>, Option<u64>)>| value.map(|(name, bytes, _)| (name, bytes));
    assert_eq!(without_expiry(there), without_expiry(here), "{key}");
    payload
}

#[test]
fn strings_of_every_kind_survive() {
    let mut shard = shard();
    for (index, text) in
        ["", "1", "-129", "40000", "9223372036854775807", "01", "text"].into_iter().enumerate()
    {
        let key = format!("k{index}");
        run_args(&mut shard, VIEW, &[b"SET", key.as_bytes(), text.as_bytes()]);
        assert_survives(&mut shard, &key);
        assert_eq!(run(&mut shard, &format!("GET {key}")), bulk(text));
    }
    // One that is dumped and restored in slices.
    let long: Vec<u8> = (0..5_000_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
    run_args(&mut shard, VIEW, &[b"SET", b"long", &long]);
    let payload = assert_survives(&mut shard, "long");
    assert_eq!(Crc64::of(&payload[..payload.len() - 8]).to_le_bytes(), payload[payload.len() - 8..]);
}

#[test]
fn large_collections_survive_in_slices() {
    let mut shard = shard();
    for n in 0..6000 {
        for line in [
            format!("RPUSH list {n} element:{n}"),
            format!("SADD set member:{n}"),
            format!("SADD ints {}", n * 7),
            format!("ZADD zset {} member:{n}", n % 100),
            format!("HSET hash field:{n} value:{n}"),
            format!("HSET times field:{n} value:{n}"),
            format!("XADD stream {}-{} f {n} g v", n + 1, n % 3),
        ] {
            run(&mut shard, &line);
        }
        if n % 3 == 0 {
            run(&mut shard, &format!("HPEXPIRE times {} FIELDS 1 field:{n}", 1000 * (n + 1)));
            run(&mut shard, &format!("XDEL stream {}-{}", n / 2 + 1, n / 2 % 3));
        }
    }
    for line in [
        "XGROUP CREATE stream one 0",
        "XGROUP CREATE stream two $",
        "XGROUP CREATE stream three 0 ENTRIESREAD 5",
        "XREADGROUP GROUP one alice COUNT 2000 STREAMS stream >",
        "XREADGROUP GROUP one bob COUNT 1500 STREAMS stream >",
        "XGROUP CREATECONSUMER stream two idle",
        "XREADGROUP GROUP three carol COUNT 10 STREAMS stream >",
    ] {
        assert!(!matches!(run(&mut shard, line), Value::Error(_)), "{line}");
    }
    for key in ["list", "set", "ints", "zset", "hash", "times"] {
        assert_survives(&mut shard, key);
    }
    // Deleted entries do not come back, so the bytes differ, and nothing else does.
    let payload = dump(&mut shard, "stream");
    assert_eq!(restore(&mut shard, "copy", &payload), ok());
    for line in [
        "XRANGE KEY - +",
        "XINFO GROUPS KEY",
        "XINFO CONSUMERS KEY one",
        "XINFO CONSUMERS KEY two",
        "XPENDING KEY one - + 100000",
        "XLEN KEY",
        "XTRIM KEY MAXLEN ~ 1000",
        "XRANGE KEY - + COUNT 1",
    ] {
        let (one, other) = (line.replace("KEY", "stream"), line.replace("KEY", "copy"));
        assert_eq!(run(&mut shard, &one), run(&mut shard, &other), "{line}");
    }
}

#[test]
fn the_version_is_the_oldest_that_loses_nothing() {
    let mut shard = shard();
    run(&mut shard, "SET s v");
    run(&mut shard, "HSET h a 1 b 2");
    run(&mut shard, "XADD x 1-1 a b");
    run(&mut shard, "XGROUP CREATE x g 0");
    let version = |payload: Vec<u8>| payload[payload.len() - payload::FOOTER_BYTES];
    let versions = |shard: &mut Shard| ["s", "h", "x"].map(|key| version(dump(shard, key)));
    assert_eq!(versions(&mut shard), [10, 10, 10]);
    run(&mut shard, "HPEXPIRE h 1000 FIELDS 1 a");
    run(&mut shard, "XGROUP CREATECONSUMER x g never-active");
    assert_eq!(versions(&mut shard), [10, 12, 11]);
}

#[test]
fn a_restore_in_slices_finds_the_key_taken_at_its_end() {
    let mut shard = shard();
    run_args(&mut shard, VIEW, &[b"SET", b"long", &[7; 3_000_000]]);
    let payload = dump(&mut shard, "long");
    run(&mut shard, "SET taken 1");
    let restore = |shard: &mut Shard, key: &[u8], payload: &[u8]| {
        run_args(shard, VIEW, &[b"RESTORE", key, b"0", payload])
    };
    assert_eq!(restore(&mut shard, b"taken", &payload), error("BUSYKEY Target key name already exists."));
    let mut damaged = payload.clone();
    damaged[1_000_000] ^= 1;
    let refused = error("ERR DUMP payload version or checksum are wrong");
    assert_eq!(restore(&mut shard, b"new", &damaged), refused);
    assert_eq!(run(&mut shard, "EXISTS new"), int(0));
    assert_eq!(restore(&mut shard, b"new", &payload), ok());
    assert_eq!(run(&mut shard, "STRLEN new"), int(3_000_000));
}

/// Some keys of every type, by commands.
fn filled(seed: &[u8]) -> Shard {
    let mut shard = shard();
    for (index, &byte) in seed.iter().enumerate() {
        let (n, long) = (byte as usize * 31 + index, "x".repeat(usize::from(byte.max(1))));
        for line in [
            format!("RPUSH list {n} {long} e{byte}"),
            format!("SADD set {n} {}", if byte > 100 { "m" } else { "7" }),
            format!("SADD ints -{n}0000{byte}"),
            format!("ZADD zset {}.{byte} m{n} {n} {byte}", n % 10),
            format!("HSET hash f{n} {long} {byte} {n}"),
            format!("XADD stream {}-* f {n}", index + 1),
            format!("XADD stream {}-* f {long} g {n}", index + 1),
        ] {
            run(&mut shard, &line);
        }
    }
    run(&mut shard, "XGROUP CREATE stream g 0");
    run(&mut shard, "XREADGROUP GROUP g c COUNT 3 STREAMS stream >");
    run(&mut shard, "COPY hash times");
    run(&mut shard, "HPEXPIRE times 100000 FIELDS 1 1");
    run(&mut shard, "HPEXPIREAT times 4000000000000 FIELDS 2 2 3");
    run(&mut shard, "SET string some-text");
    shard
}

const KEYS: [&str; 8] = ["list", "set", "ints", "zset", "hash", "times", "stream", "string"];

/// A payload with other bytes and a right checksum.
fn forged(payload: &[u8], edits: &[(prop::sample::Index, u8)], cut: Option<prop::sample::Index>) -> Vec<u8> {
    let mut bytes = payload[..payload.len() - payload::FOOTER_BYTES].to_vec();
    for (index, byte) in edits {
        let at = index.index(bytes.len());
        bytes[at] = *byte;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len()) + 1);
    }
    bytes.extend([12, 0]);
    let crc = Crc64::of(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn values_survive(seed in proptest::collection::vec(any::<u8>(), 1..60)) {
        let mut shard = filled(&seed);
        for key in KEYS {
            assert_survives(&mut shard, key);
        }
    }

    #[test]
    fn forged_payloads_are_refused_or_are_values(
        seed in proptest::collection::vec(any::<u8>(), 1..20),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0xff), Just(0x81)]), 1..4),
        cut in proptest::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut shard = filled(&seed);
        for key in KEYS {
            let payload = forged(&dump(&mut shard, key), &edits, cut);
            let reply = restore(&mut shard, "forged", &payload);
            if reply == ok() {
                // Of a hash all of whose fields have expired nothing is left, as in Redis.
                if run(&mut shard, "DUMP forged") != Value::Null {
                    assert_survives(&mut shard, "forged");
                }
                run(&mut shard, "DEL forged");
            } else {
                prop_assert_eq!(reply, error("ERR Bad data format"));
            }
        }
    }
}

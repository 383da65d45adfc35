//! RDB files: those of redis-server are read as redis-server reads them, and what is written is read again.
//!
//! The fixtures were saved by redis-server 7.0.15 and 8.0.6 or made by hand (versions 6 to 9); the text beside each says what is in it in the
//! words of `support/meaning.rs`, as redis-server 7.0 or 8.0 answered after it had loaded the file.

#[allow(dead_code)]
mod support;

#[path = "support/meaning.rs"]
mod meaning;

use kora_engine::keyspace::{NewExpiry, Usage, View};
use kora_engine::limits::EncodingLimits;
use kora_engine::rdb::Loader;
use kora_engine::shard::Shard;
use kora_engine::table::NewValue;
use kora_engine::value::item::Item;
use kora_persist::rdb::{
    Error, Key, Loaded, Part, Problem, RdbReader, RdbWriter, WriteError, VERSION, VERSION_OLD,
};
use meaning::meaning;
use proptest::prelude::*;
use support::{filled, run, shard, TEMPLATES};

const NOW: u64 = 1_700_000_000_000;

macro_rules! fixture {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!("fixtures/rdb/", $name, ".rdb")).as_slice(),
            include_str!(concat!("fixtures/rdb/", $name, ".txt")),
        )
    };
}

const FIXTURES: [(&str, &[u8], &str); 6] = [
    fixture!("version-6"),
    fixture!("version-7"),
    fixture!("version-9"),
    fixture!("redis-7.0"),
    fixture!("redis-8.0"),
    fixture!("redis-8.0-unpacked"),
];

/// Puts a key of a file into a shard.
fn put(shard: &mut Shard, key: Key<'_>) {
    let Key { db, name, value, expire_at, usage } = key;
    let view = View { db, now: 0, touch: false };
    let name = shard.keys.key(name);
    let expiry = expire_at.map_or(NewExpiry::Clear, NewExpiry::At);
    match value {
        Loaded::String(text) => match Item::of(text) {
            Item::Int(int) => shard.keys.set(view, &name, NewValue::Int(int), expiry),
            Item::Bytes(text) => shard.keys.set(view, &name, NewValue::Bytes(text), expiry),
        },
        Loaded::LongString(text) => shard.keys.set(view, &name, NewValue::Shared(text.into()), expiry),
        Loaded::Object(object) => shard.keys.put_object(view, &name, object, expire_at),
        Loaded::Empty => return,
    }
    if let Some(usage) = usage {
        shard.keys.set_usage(view, &name, usage);
    }
}

/// The keys of a file, and the code of its libraries.
fn read(file: &[u8], limits: EncodingLimits) -> Result<(Shard, Vec<Vec<u8>>), Error> {
    let mut shard = shard();
    let mut loader = Loader::new(limits, shard.keys.collection_seed());
    let mut reader = RdbReader::new(file, 16)?;
    let mut libraries = Vec::new();
    while let Some(part) = reader.next(&mut loader)? {
        match part {
            Part::Key(key) => put(&mut shard, key),
            Part::Library(code) => libraries.push(code.to_vec()),
            Part::Aux { .. } | Part::Sizes { .. } | Part::Module { .. } => {}
        }
    }
    assert_eq!(reader.offset(), file.len() as u64);
    Ok((shard, libraries))
}

/// A file of all that a shard holds.
fn written(shard: &Shard, version: u16) -> Result<Vec<u8>, WriteError> {
    let mut writer = RdbWriter::new(Vec::new(), version);
    writer.aux("kora-ver", b"1")?;
    for db in 0..shard.keys.databases() {
        let (view, mut position) = (View { db, now: 0, touch: false }, 0);
        let mut result = Ok(());
        loop {
            position = shard.keys.scan(view, position, 1000, &mut |entry| {
                if result.is_ok() {
                    result = writer.key(db, entry.key(), entry.value(), entry.expire_at(), None);
                }
            });
            if position == 0 {
                break;
            }
        }
        result?;
    }
    let (file, bytes) = writer.finish()?;
    assert_eq!(bytes, file.len() as u64);
    Ok(file)
}

fn lines(shard: &Shard, libraries: &[Vec<u8>]) -> Vec<String> {
    let hex = |code: &Vec<u8>| code.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut lines = meaning(shard);
    lines.extend(libraries.iter().map(|code| format!("library {}", hex(code))));
    lines
}

/// Limits under which everything is in its large form.
fn nothing_is_packed() -> EncodingLimits {
    EncodingLimits {
        hash_max_listpack_entries: 0,
        set_max_intset_entries: 0,
        set_max_listpack_entries: 0,
        zset_max_listpack_entries: 0,
        list_max_listpack_size: 1,
        ..EncodingLimits::default()
    }
}

#[test]
fn files_of_redis_are_read_as_redis_reads_them() {
    for (name, file, text) in FIXTURES {
        for limits in [EncodingLimits::default(), nothing_is_packed()] {
            let (shard, libraries) = read(file, limits).unwrap_or_else(|error| panic!("{name}: {error}"));
            let found = lines(&shard, &libraries);
            let expected: Vec<&str> = text.lines().collect();
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found, expected, "{name}");
            }
            assert_eq!(found.len(), expected.len(), "{name}");
        }
    }
}

#[test]
fn what_is_written_is_read_again() {
    for (name, file, _) in FIXTURES {
        for limits in [EncodingLimits::default(), nothing_is_packed()] {
            let (shard, _) = read(file, limits).expect("it is a file");
            let again = written(&shard, VERSION).expect("memory takes everything");
            let (copy, _) =
                read(&again, EncodingLimits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(meaning(&copy), meaning(&shard), "{name}");
        }
    }
}

#[test]
fn an_old_version_is_written_unless_fields_expire() {
    let (_, file, text) = FIXTURES[3];
    let (shard, _) = read(file, EncodingLimits::default()).expect("it is a file");
    let old = written(&shard, VERSION_OLD).expect("memory takes everything");
    assert_eq!(&old[..9], b"REDIS0010");
    let (copy, _) = read(&old, EncodingLimits::default()).expect("it was written so");
    let keys = text.lines().filter(|line| !line.starts_with("library"));
    assert_eq!(meaning(&copy), keys.collect::<Vec<_>>());
    let (_, file, _) = FIXTURES[4];
    let (shard, _) = read(file, EncodingLimits::default()).expect("it is a file");
    let error = written(&shard, VERSION_OLD).unwrap_err();
    assert_eq!(error.to_string(), "hash fields with an expiry need version 12 of the RDB format");
}

#[test]
fn facts_expiries_and_usage_are_told() {
    let (_, file, _) = FIXTURES[2];
    let mut loader = Loader::new(EncodingLimits::default(), 1);
    let mut reader = RdbReader::new(file, 16).expect("it is a file");
    assert_eq!(reader.version(), 9);
    let (mut facts, mut expiring, mut used) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(part) = reader.next(&mut loader).expect("it is a file") {
        match part {
            Part::Aux { name, value } => facts.push((name.to_vec(), value.to_vec())),
            Part::Key(Key { db, name, expire_at, usage, .. }) => {
                expiring.extend(expire_at.map(|at| (db, name.to_vec(), at)));
                used.extend(usage.map(|usage| (name.to_vec(), usage)));
            }
            _ => {}
        }
    }
    assert_eq!(facts, [(b"redis-ver".to_vec(), b"6.2.6".to_vec()), (b"redis-bits".to_vec(), b"64".to_vec())]);
    let far = 4_102_444_800_000;
    assert_eq!(expiring, [(0, b"seconds".to_vec(), 2_000_000_000_000), (0, b"ms".to_vec(), far)]);
    assert_eq!(used, [(b"zset2".to_vec(), Usage::Frequency(5))]);
}

#[test]
fn what_modules_wrote_is_passed_over() {
    // "ReJSON-RL" version 3: a string, an integer, two doubles.
    let module = b"\x81\x46\x23\x52\x0e\x37\xe4\x5c\x03";
    let body = b"\x05\x03abc\x02\x05\x03\0\0\x80\x3f\x04\0\0\0\0\0\0\xf0\x3f\x00";
    let mut file = b"REDIS0011".to_vec();
    file.push(247);
    file.extend_from_slice(module);
    file.extend_from_slice(b"\x02\x02");
    file.extend_from_slice(b"\x05\xc3\x06\x06\x02abc\x20\x02\x00");
    file.extend_from_slice(b"\x07\x03doc");
    file.extend_from_slice(module);
    file.extend_from_slice(body);
    file.extend_from_slice(b"\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0");
    let mut loader = Loader::new(EncodingLimits::default(), 1);
    let mut reader = RdbReader::new(&file[..], 16).expect("it is a file");
    let mut told = Vec::new();
    while let Some(part) = reader.next(&mut loader).expect("it is a file") {
        told.push(match part {
            Part::Module { name, key } => format!("{name} {:?}", key.map(|(db, key)| (db, key.to_vec()))),
            Part::Key(key) => format!("key {:?}", key.name),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].ends_with("None") && told[1].ends_with("Some((0, [100, 111, 99]))"), "{told:?}");
    assert_eq!(told[0].split(' ').next(), told[1].split(' ').next());
}

#[test]
fn every_damage_is_an_error_with_its_place() {
    let refused = |file: &[u8]| read(file, EncodingLimits::default()).err().map(|error| error.to_string());
    assert_eq!(refused(b"RADIS0012").as_deref(), Some("byte 9: malformed header: this is not an RDB file"));
    assert_eq!(
        refused(b"REDIS0013").as_deref(),
        Some("byte 9: malformed header: the version of the file is not known")
    );
    assert_eq!(refused(b"REDI").as_deref(), Some("byte 0: the data ends in the middle of a value"));
    assert_eq!(refused(b"REDIS0011\xf2\x01k").as_deref(), Some("byte 12: unknown value type 242"));
    assert_eq!(
        refused(b"REDIS0011\xfe\x10").as_deref(),
        Some("byte 11: database 16 is not configured: raise `databases`")
    );
    for (name, file, _) in &FIXTURES[..3] {
        for cut in 0..file.len() {
            let error = read(&file[..cut], EncodingLimits::default()).err().expect("it is cut short");
            assert_eq!(error.problem, Problem::Truncated, "{name} cut at {cut}");
        }
        for bit in 0..file.len() * 8 {
            let mut damaged = file.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // A version below 5 has no checksum; one of the same or a higher version is read the same way.
            assert!(bit / 8 == 8 || read(&damaged, EncodingLimits::default()).is_err(), "{name} bit {bit}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn a_shard_survives_the_way_through_a_file(
        steps in proptest::collection::vec((0..TEMPLATES.len(), proptest::collection::vec(any::<u16>(), 8), 0..2000u64), 1..60),
    ) {
        let (mut original, mut now) = (shard(), NOW);
        for (template, picks, passed) in &steps {
            now += passed;
            run(&mut original, 0, &filled(TEMPLATES[*template], picks), now);
        }
        let file = written(&original, VERSION).expect("memory takes everything");
        let (copy, _) = read(&file, EncodingLimits::default()).expect("it was written so");
        prop_assert_eq!(meaning(&copy), meaning(&original));
    }
}

//! A snapshot is loaded as it was written, and what was not written so is refused.

use bytes::Bytes;
use kora_engine::keyspace::{NewExpiry, View};
use kora_engine::shard::Shard;
use kora_engine::table::{NewValue, SharedSink};
use kora_persist::snapshot::{Identity, Op, SnapshotError, SnapshotReader, SnapshotWriter, BLOCK_RAW_MAX};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};
use support::{contents, filled, run, shard, TEMPLATES};

mod support;

const IDENTITY: Identity = Identity { directory: 0xaabb << 32, cut: 1 << 40, shard: 1, shards: 3 };

const NOW: u64 = 1_700_000_000_000;

fn set(shard: &mut Shard, db: u16, key: &[u8], value: &[u8], expiry: NewExpiry) {
    let key = shard.keys.key(key);
    let value = NewValue::Shared(Bytes::copy_from_slice(value));
    shard.keys.set(View { db, now: NOW, touch: false }, &key, value, expiry);
}

/// The file of the shard's data; writes are done in an order that the picks choose.
fn written(shard: &mut Shard, picks: &[usize]) -> Vec<u8> {
    let writer = Arc::new(Mutex::new(SnapshotWriter::new(&IDENTITY)));
    let sink: SharedSink = writer.clone();
    shard.keys.begin_cut(&sink);
    let (mut file, mut under_way, mut picks) = (Vec::new(), Vec::new(), picks.iter().cycle());
    let mut summary = None;
    let mut do_some = |writer: &mut SnapshotWriter, pick: usize| {
        while let Some(op) = writer.poll() {
            match op {
                Op::Write { offset, buffer } => under_way.push((offset as usize, buffer)),
                Op::Sync(of) => {
                    assert!(under_way.is_empty(), "nothing is synced that is not written");
                    summary = Some(of);
                }
            }
        }
        if !under_way.is_empty() {
            let (offset, buffer) = under_way.swap_remove(pick % under_way.len());
            let bytes = buffer.as_slice();
            assert!(offset.is_multiple_of(4096) && bytes.len().is_multiple_of(4096) && !bytes.is_empty());
            assert!(bytes.as_ptr().addr().is_multiple_of(4096));
            file.resize(file.len().max(offset + bytes.len()), 0xee);
            file[offset..offset + bytes.len()].copy_from_slice(bytes);
            writer.written(buffer);
        }
        summary
    };
    let mut pick = || picks.next().copied().unwrap_or(0);
    while !shard.keys.walk_cut(10_000 + pick()) {
        let mut writer = writer.lock().expect("nothing panics while it is held");
        writer.work(pick());
        do_some(&mut writer, pick());
    }
    let mut writer = writer.lock().expect("nothing panics while it is held");
    writer.finish();
    let summary = loop {
        if let Some(summary) = do_some(&mut writer, pick()) {
            break summary;
        }
    };
    assert_eq!(writer.backlog(), 0);
    assert_eq!(summary.bytes, file.len() as u64);
    assert_eq!(summary.keys, shard.keys.all_len() as u64);
    assert_eq!(summary.checksum, crc32c::crc32c(&file));
    file
}

/// Loads a file, and the number of keys in it.
fn loaded(file: &[u8]) -> Result<(Shard, usize), SnapshotError> {
    let mut reader = SnapshotReader::new(file)?;
    assert_eq!(*reader.identity(), IDENTITY);
    let (mut shard, mut keys) = (shard(), 0);
    while let Some(records) = reader.next_records()? {
        records.for_each(|change| {
            keys += 1;
            shard.keys.replay(change, NOW).map_err(|_| SnapshotError::Magic)
        })?;
    }
    assert_eq!(reader.summary().keys, keys as u64);
    assert_eq!(reader.summary().bytes, file.len() as u64);
    Ok((shard, keys))
}

fn small() -> Shard {
    let mut shard = shard();
    for line in
        ["set a 1", "set b some-text-some-text-some-text", "rpush l 1 2 3", "hset h f v", "zadd z 1 m"]
    {
        run(&mut shard, 1, line, NOW);
    }
    shard
}

#[test]
fn an_empty_shard_has_a_file_too() {
    let file = written(&mut shard(), &[]);
    assert_eq!(file.len(), 4096);
    assert_eq!(loaded(&file).expect("it is well-formed").1, 0);
}

#[test]
fn long_records_go_over_many_blocks() {
    let mut shard = shard();
    // Bytes that do not get shorter, bytes that do, and lengths around that of a block.
    let noise: Vec<u8> =
        (0..1_000_000u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u8).collect();
    for (n, length) in
        [1000, BLOCK_RAW_MAX - 10, BLOCK_RAW_MAX - 1, BLOCK_RAW_MAX, 1_000_000].into_iter().enumerate()
    {
        let (noisy, flat) = (format!("noise:{n}"), format!("flat:{n}"));
        set(&mut shard, 0, noisy.as_bytes(), &noise[..length], NewExpiry::At(NOW + 5));
        set(&mut shard, 1, flat.as_bytes(), &vec![7; length], NewExpiry::Clear);
        run(&mut shard, 0, &format!("rpush list:{n} {}", "element ".repeat(length / 8).trim()), NOW);
    }
    let file = written(&mut shard, &[3, 100_000, 1]);
    let (copy, keys) = loaded(&file).expect("it is well-formed");
    assert_eq!(keys, 15);
    assert_eq!(contents(&copy), contents(&shard));
}

#[test]
fn a_walk_over_long_values_leaves_it_at_one_at_a_time() {
    let mut shard = shard();
    for n in 0..100 {
        set(&mut shard, 0, format!("long:{n}").as_bytes(), &[7; 200_000], NewExpiry::Clear);
    }
    let writer = Arc::new(Mutex::new(SnapshotWriter::new(&IDENTITY)));
    let sink: SharedSink = writer.clone();
    shard.keys.begin_cut(&sink);
    while !shard.keys.walk_cut(1 << 10) {
        let mut writer = writer.lock().expect("nothing panics while it is held");
        assert!(writer.has_work() && writer.backlog() < 300_000, "{} bytes wait", writer.backlog());
        while !writer.work(32 << 10) {}
        while let Some(Op::Write { buffer, .. }) = writer.poll() {
            writer.written(buffer);
        }
    }
}

#[test]
fn every_flipped_bit_and_every_missing_byte_is_noticed() {
    let file = written(&mut small(), &[]);
    for bit in 0..file.len() * 8 {
        let mut bad = file.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(loaded(&bad).is_err(), "bit {bit}");
    }
    for length in 0..file.len() {
        assert!(loaded(&file[..length]).is_err(), "{length} bytes");
    }
    let longer = [&file[..], &[0; 4096]].concat();
    assert!(loaded(&longer).is_err());
}

#[test]
fn errors_say_where() {
    let file = written(&mut small(), &[]);
    let mut bad = file.clone();
    bad[100] ^= 1;
    let Err(error) = loaded(&bad) else { panic!("it is refused") };
    assert_eq!(error.to_string(), "damaged at byte 40: the checksum of the block is wrong");
    assert_eq!(
        loaded(b"REDIS0011").err().map(|e| e.to_string()).as_deref(),
        Some("damaged at byte 0: the file ends early")
    );
    let other = [b"x", &file[1..]].concat();
    assert!(matches!(loaded(&other), Err(SnapshotError::Magic)));
}

/// Makes checksums right again, as a faulty writer would: of the header, and of the first block.
fn forge(file: &mut [u8]) {
    let sum = crc32c::crc32c(&file[..32]);
    file[32..36].copy_from_slice(&sum.to_le_bytes());
    let packed = u32::from_le_bytes(file[44..48].try_into().expect("4 bytes")) as usize;
    if let Some(bytes) = file.get(60..60 + packed) {
        let sum = crc32c::crc32c_append(crc32c::crc32c(&file[40..56]), bytes);
        file[56..60].copy_from_slice(&sum.to_le_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]
    #[test]
    fn what_random_commands_leave_is_loaded_again(
        steps in proptest::collection::vec((0..2u16, 0..TEMPLATES.len(), proptest::collection::vec(any::<u16>(), 8)), 1..60),
        fill in 0..3000usize,
        picks in proptest::collection::vec(0..100_000usize, 1..20),
    ) {
        let mut shard = shard();
        for (db, template, picks) in &steps {
            run(&mut shard, *db, &filled(TEMPLATES[*template], picks), NOW);
        }
        for n in 0..fill {
            set(&mut shard, (n % 2) as u16, format!("fill:{n}").as_bytes(), format!("{n}").repeat(n % 100).as_bytes(), NewExpiry::Clear);
        }
        let file = written(&mut shard, &picks);
        let (copy, _) = loaded(&file).expect("it is well-formed");
        prop_assert_eq!(contents(&copy), contents(&shard));
    }

    #[test]
    fn forged_bytes_never_panic(at in 8usize..200, new in proptest::collection::vec(any::<u8>(), 1..12)) {
        let mut file = written(&mut small(), &[]);
        file[at..at + new.len()].copy_from_slice(&new);
        forge(&mut file);
        let Ok(mut reader) = SnapshotReader::new(&file[..]) else { return Ok(()) };
        while let Ok(Some(records)) = reader.next_records() {
            let _ = records.for_each(|change| {
                let mut shard = shard();
                shard.keys.replay(change, NOW).map_err(|_| SnapshotError::Magic)
            });
        }
    }
}

//! Snapshots that older servers wrote stay readable. The fixtures were built from the descriptions at the top of `snapshot/mod.rs` and
//! `snapshot/manifest.rs` by an independent program, so they also hold this code to these descriptions.

use kora_engine::change::{Change, ChangeValue};
use kora_persist::snapshot::{FileSummary, Identity, Manifest, SnapshotError, SnapshotReader};

const FILE_V1: &[u8] = include_bytes!("fixtures/snapshot-v1.ksnap");
const MANIFEST_V1: &[u8] = include_bytes!("fixtures/manifest-v1.bin");

const DIRECTORY: u64 = 0x0011_2233_4455_6677;
const CUT: u64 = 0x0102_0304_0506_0708;

fn set<'a>(db: u16, key: &'a [u8], value: ChangeValue<'a>, expire_at: Option<u64>) -> Change<'a> {
    Change::Set { db, key, value, expire_at }
}

#[test]
fn a_file_of_version_1_is_still_read() {
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut expected = vec![
        set(0, b"count", ChangeValue::Int(-70_000), Some(1_700_000_000_000)),
        set(15, b"text", ChangeValue::Bytes(b"value"), None),
        set(1, b"", ChangeValue::Bytes(b""), None),
        set(0, b"runs", ChangeValue::Bytes(&[b'x'; 300]), None),
        set(0, b"between", ChangeValue::Int(1), None),
        set(0, b"long", ChangeValue::Bytes(&every_byte), Some(5)),
    ]
    .into_iter();
    let mut reader = SnapshotReader::new(FILE_V1).unwrap();
    assert_eq!(*reader.identity(), Identity { directory: DIRECTORY, cut: CUT, shard: 2, shards: 5 });
    while let Some(records) = reader.next_records().unwrap() {
        let same = records.for_each(|change| {
            assert_eq!(Some(*change), expected.next());
            Ok::<(), SnapshotError>(())
        });
        same.unwrap();
    }
    assert_eq!(expected.next(), None);
    let summary = FileSummary { bytes: FILE_V1.len() as u64, checksum: crc32c::crc32c(FILE_V1), keys: 6 };
    assert_eq!(reader.summary(), summary);
}

#[test]
fn a_manifest_of_version_1_is_still_read_and_written() {
    let manifest = Manifest {
        directory: DIRECTORY,
        cut: CUT,
        run: 3,
        time: 1_700_000_000_123,
        databases: 16,
        files: vec![
            FileSummary { bytes: FILE_V1.len() as u64, checksum: crc32c::crc32c(FILE_V1), keys: 6 },
            FileSummary { bytes: 4096, checksum: 7, keys: 0 },
        ],
        functions: b"libs".to_vec(),
    };
    assert_eq!(Manifest::decode(MANIFEST_V1).unwrap(), manifest);
    assert_eq!(manifest.encode(), MANIFEST_V1);
}

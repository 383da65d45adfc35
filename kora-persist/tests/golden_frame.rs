//! Frames that older servers wrote stay readable. The fixture was built from the description at the top of `frame.rs`
//! and `record.rs` by an independent program, so it also holds this code to that description.

use kora_engine::change::{Change, ChangeValue, DeleteReason};
use kora_persist::frame::{self, Frame, FrameHead};
use kora_persist::record::{self, Entry};

const FRAME_V1: &[u8] = include_bytes!("fixtures/frame-v1.bin");

/// One of every kind of change, and the ends of every number's range.
fn changes() -> Vec<Change<'static>> {
    vec![
        Change::Set { db: 0, key: b"key", value: ChangeValue::Int(12345), expire_at: None },
        Change::Set { db: 15, key: b"", value: ChangeValue::Int(i64::MIN), expire_at: Some(u64::MAX) },
        Change::Set { db: 0, key: b"\x00\xff", value: ChangeValue::Int(i64::MAX), expire_at: None },
        Change::Set {
            db: 0,
            key: b"s",
            value: ChangeValue::Bytes(&[b'x'; 300]),
            expire_at: Some(1_700_000_000_000),
        },
        Change::Set { db: 0, key: b"empty", value: ChangeValue::Bytes(b""), expire_at: None },
        Change::Append { db: 1, key: b"log", tail: b"line\r\n" },
        Change::SetRange { db: u16::MAX, key: b"bits", offset: u32::MAX, bytes: b"\x01" },
        Change::Expire { db: 0, key: b"key", expire_at: Some(0) },
        Change::Expire { db: 0, key: b"key", expire_at: None },
        Change::Delete { db: 0, key: b"a", reason: DeleteReason::Command },
        Change::Delete { db: 0, key: b"b", reason: DeleteReason::Expired },
        Change::Delete { db: 0, key: b"c", reason: DeleteReason::Evicted },
        Change::FlushDb { db: 4 },
        Change::SwapDb { a: 0, b: 200 },
    ]
}

const HEAD: FrameHead = FrameHead {
    shard: 513,
    first_lsn: 1 << 40,
    last_lsn: (1 << 40) + 15,
    segment: 0xdead_beef,
    durable: (1 << 40) - 1,
    tag: Some(77),
};

/// All of them, and what is no change.
fn entries() -> Vec<Entry<'static>> {
    let changes = changes().into_iter().map(Entry::Change);
    changes.chain([Entry::Commit { tag: 300 }, Entry::Functions { dump: b"dump" }]).collect()
}

#[test]
fn a_frame_of_version_1_is_still_read() {
    let (frame, length) = Frame::decode(FRAME_V1).unwrap();
    assert_eq!(length, FRAME_V1.len());
    assert_eq!(frame.head, HEAD);
    let expected: Vec<(u64, Entry<'_>)> = (1 << 40..).zip(entries()).collect();
    assert_eq!(frame.records().collect::<Result<Vec<_>, _>>().unwrap(), expected);
}

#[test]
fn version_1_is_still_written_byte_for_byte() {
    let mut records = Vec::new();
    for entry in entries() {
        match entry {
            Entry::Change(change) => record::encode(&change, &mut records),
            Entry::Commit { tag } => record::encode_commit(tag, &mut records),
            Entry::Functions { dump } => record::encode_functions(dump, &mut records),
        }
    }
    let mut out = Vec::new();
    frame::encode(&HEAD, &records, &mut out);
    assert_eq!(out, FRAME_V1);
}

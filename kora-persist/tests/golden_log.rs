//! Logs that older servers wrote stay readable. The fixtures, the two segments of a directory, were built from the descriptions at the top of `log/segment.rs`, `frame.rs` and
//! `record.rs` by an independent program, so they also hold this code to these descriptions.

use kora_engine::change::Change;
use kora_persist::log::{Files, LogWriter, Op, Order, Replay, Segment, WalSync, WriterConfig};
use kora_persist::record::Entry;
use std::io;
use std::sync::Arc;

const SEGMENTS_V1: [&[u8]; 2] =
    [include_bytes!("fixtures/segment-1-v1.klog"), include_bytes!("fixtures/segment-2-v1.klog")];

struct Fixtures;

impl Files for Fixtures {
    fn list(&self) -> io::Result<Vec<(u64, u64)>> {
        Ok((1..).zip(SEGMENTS_V1).map(|(segment, bytes)| (segment, bytes.len() as u64)).collect())
    }

    fn read_at(&mut self, segment: u64, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let bytes = SEGMENTS_V1[segment as usize - 1].get(offset as usize..).unwrap_or_default();
        let len = bytes.len().min(into.len());
        into[..len].copy_from_slice(&bytes[..len]);
        Ok(len)
    }
}

fn append<'a>(key: &'a str, tail: &'a str) -> Change<'a> {
    Change::Append { db: 0, key: key.as_bytes(), tail: tail.as_bytes() }
}

#[test]
fn a_log_of_version_1_is_still_read() {
    let mut replay = Replay::open(Fixtures, Some(7), 1).unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = replay.next_batch().unwrap() {
        assert_eq!((batch.run, batch.shards), (1, 2));
        batches.push(batch);
    }
    let found: Vec<_> = batches
        .iter()
        .flat_map(|batch| batch.entries().map(|(lsn, entry)| (lsn, batch.shard, entry)))
        .collect();
    let expected = [
        (1, 0, Entry::Change(append("alone", "1"))),
        (2, 0, Entry::Change(append("half", "22"))),
        (3, 1, Entry::Change(append("other half", "333"))),
        (4, 0, Entry::Commit { tag: 5 }),
        (5, 0, Entry::Functions { dump: b"libs" }),
    ];
    assert_eq!(found, expected);
    let end = replay.end();
    assert_eq!((end.last_lsn, end.run, end.dropped, end.next_segment), (6, 1, 1, 3));
    assert_eq!(end.torn, None);
}

#[test]
fn version_1_is_still_written_byte_for_byte() {
    let order = Arc::new(Order::new(2, 1));
    let mut writers = [0, 1].map(|shard| {
        let config = WriterConfig {
            shard,
            shards: 2,
            run: 1,
            run_first_lsn: 1,
            directory: 7,
            sync: WalSync::EveryWrite,
            segment_bytes: 8192,
        };
        LogWriter::new(config, order.clone())
    });
    let [one, two] = &mut writers;
    one.push(&append("alone", "1"));
    one.seal();
    one.set_tag(Some(5));
    one.push(&append("half", "22"));
    one.set_tag(None);
    one.seal();
    two.set_tag(Some(5));
    two.push(&append("other half", "333"));
    two.set_tag(None);
    two.seal();
    one.commit(5);
    one.push_functions(b"libs");
    one.seal();
    two.set_tag(Some(9));
    two.push(&append("not whole", ""));
    assert_eq!(two.seal(), 6);
    for (writer, (id, expected)) in writers.iter_mut().zip((1..).zip(SEGMENTS_V1)) {
        writer.give_segment(Segment { id, bytes: writer.wants_segment().unwrap() });
        let Some(Op::Write { segment, offset, buf, dsync, .. }) = writer.poll(0) else { panic!("a write") };
        assert_eq!((segment, offset, dsync), (id, 0, true));
        assert!(buf == expected, "segment {id}");
    }
}

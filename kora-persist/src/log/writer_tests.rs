use super::*;
use crate::log::{Batch, Files, Replay};
use crate::record::Entry;
use std::collections::BTreeMap;
use std::io;

/// Segments in memory; everything that is written is there at once.
#[derive(Default)]
struct Disk(BTreeMap<u64, Vec<u8>>);

impl Files for Disk {
    fn list(&self) -> io::Result<Vec<(u64, u64)>> {
        Ok(self.0.iter().map(|(id, bytes)| (*id, bytes.len() as u64)).collect())
    }

    fn read_at(&mut self, segment: u64, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let bytes = &self.0[&segment][offset as usize..];
        let len = bytes.len().min(into.len());
        into[..len].copy_from_slice(&bytes[..len]);
        Ok(len)
    }
}

const SEGMENT_BYTES: u64 = 64 << 10;

fn writer(sync: WalSync, order: &Arc<Order>, shard: u16) -> LogWriter {
    let config = WriterConfig {
        shard,
        shards: 2,
        run: 1,
        run_first_lsn: 1,
        directory: 7,
        sync,
        segment_bytes: SEGMENT_BYTES,
    };
    LogWriter::new(config, order.clone())
}

fn append(writer: &mut LogWriter, key: &str, bytes: usize) {
    writer.push(&Change::Append { db: 0, key: key.as_bytes(), tail: &vec![b'x'; bytes] });
}

/// Carries out what the writer wants until it wants nothing more; how many operations of each kind.
fn work(writer: &mut LogWriter, disk: &mut Disk, next_id: &mut u64, now: u64) -> (usize, usize) {
    let (mut writes, mut syncs) = (0, 0);
    loop {
        if let Some(bytes) = writer.wants_segment() {
            let bytes = bytes.next_multiple_of(BLOCK_BYTES as u64);
            writer.give_segment(Segment { id: *next_id, bytes });
            disk.0.insert(*next_id, vec![0xA5; bytes as usize]);
            *next_id += 1;
        }
        let (token, result) = match writer.poll(now) {
            None => {
                if writer.wants_segment().is_some() {
                    continue;
                }
                return (writes, syncs);
            }
            Some(Op::Write { token, segment, offset, buf, .. }) => {
                assert_eq!((buf.as_ptr() as usize % BLOCK_BYTES, buf.len() % BLOCK_BYTES), (0, 0));
                let file = disk.0.get_mut(&segment).unwrap();
                file[offset as usize..][..buf.len()].copy_from_slice(buf);
                writes += 1;
                (token, Ok(buf.len()))
            }
            Some(Op::Sync { token, .. }) => {
                syncs += 1;
                (token, Ok(0))
            }
        };
        assert!(!writer.completed(token, result));
    }
}

fn replayed(disk: Disk) -> Vec<Batch> {
    let mut replay = Replay::open(disk, Some(7), 1).unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = replay.next_batch().unwrap() {
        batches.push(batch);
    }
    assert_eq!(replay.end().torn, None);
    batches
}

fn keys(batches: &[Batch]) -> Vec<String> {
    let entries = batches.iter().flat_map(Batch::entries);
    entries
        .filter_map(|(_, entry)| match entry {
            Entry::Change(change) => Some(String::from_utf8(change.key().unwrap().1.to_vec()).unwrap()),
            _ => None,
        })
        .collect()
}

#[test]
fn what_two_writers_seal_is_read_in_the_order_of_sealing() {
    let order = Arc::new(Order::new(2, 1));
    let (mut a, mut b) = (writer(WalSync::EveryWrite, &order, 0), writer(WalSync::EveryWrite, &order, 1));
    let (mut disk, mut next_id) = (Disk::default(), 1);
    append(&mut a, "a1", 10);
    append(&mut b, "b1", 10);
    assert_eq!(b.seal(), 1);
    append(&mut a, "a2", 10);
    assert_eq!(a.seal(), 3);
    assert_eq!(order.durable(), 0);
    assert_eq!(work(&mut a, &mut disk, &mut next_id, 0), (1, 0));
    // What comes before it is not there yet.
    assert_eq!(order.durable(), 0);
    work(&mut b, &mut disk, &mut next_id, 0);
    assert_eq!(order.durable(), 3);
    append(&mut b, "b2", 10);
    b.seal();
    work(&mut b, &mut disk, &mut next_id, 0);
    assert_eq!(order.durable(), 4);
    assert_eq!(keys(&replayed(disk)), ["b1", "a1", "a2", "b2"]);
}

#[test]
fn a_transaction_counts_from_its_commit_on() {
    for commits in [false, true] {
        let order = Arc::new(Order::new(2, 1));
        let (mut a, mut b) = (writer(WalSync::EveryWrite, &order, 0), writer(WalSync::EveryWrite, &order, 1));
        let (mut disk, mut next_id) = (Disk::default(), 1);
        append(&mut a, "before", 1);
        a.set_tag(Some(5));
        append(&mut a, "half", 1);
        a.set_tag(None);
        append(&mut a, "beside", 1);
        a.seal();
        b.set_tag(Some(5));
        append(&mut b, "other half", 1);
        b.set_tag(None);
        b.seal();
        if commits {
            a.commit(5);
            a.seal();
        }
        append(&mut b, "after", 1);
        b.seal();
        work(&mut a, &mut disk, &mut next_id, 0);
        work(&mut b, &mut disk, &mut next_id, 0);
        let whole = ["before", "half", "beside", "other half", "after"];
        let without = ["before", "beside", "after"];
        assert_eq!(keys(&replayed(disk)), if commits { &whole[..] } else { &without[..] });
    }
}

#[test]
fn what_was_pushed_since_a_mark_becomes_a_transaction() {
    let order = Arc::new(Order::new(2, 1));
    let mut a = writer(WalSync::EveryWrite, &order, 0);
    let (mut disk, mut next_id) = (Disk::default(), 1);
    append(&mut a, "before", 1);
    let mark = a.mark();
    append(&mut a, "inside", 1);
    a.tag_since(mark, 9);
    append(&mut a, "after", 1);
    a.seal();
    work(&mut a, &mut disk, &mut next_id, 0);
    assert_eq!(keys(&replayed(disk)), ["before", "after"]);
}

#[test]
fn segments_are_changed_when_they_are_full_and_large_frames_get_large_ones() {
    for sync in [WalSync::EveryWrite, WalSync::EverySecond, WalSync::OsManaged] {
        let order = Arc::new(Order::new(2, 1));
        let mut a = writer(sync, &order, 0);
        let (mut disk, mut next_id) = (Disk::default(), 1);
        let sizes = [100, 30_000, 30_000, 30_000, 5, 200_000, 1, 70_000, 64_000, 1_000_000];
        let mut closed = Vec::new();
        for (at, bytes) in sizes.into_iter().enumerate() {
            append(&mut a, &format!("k{at}"), bytes);
            a.seal();
            work(&mut a, &mut disk, &mut next_id, 1000 * at as u64);
            closed.extend(a.take_closed());
        }
        a.flush_all();
        work(&mut a, &mut disk, &mut next_id, 100_000);
        closed.extend(a.take_closed());
        assert!(a.is_idle() && closed.len() >= 4, "{closed:?}");
        assert_eq!(order.durable(), sizes.len() as u64);
        let batches = replayed(disk);
        assert_eq!(keys(&batches), (0..sizes.len()).map(|at| format!("k{at}")).collect::<Vec<_>>());
    }
}

#[test]
fn every_second_gathers_and_then_syncs() {
    let order = Arc::new(Order::new(2, 1));
    let mut a = writer(WalSync::EverySecond, &order, 0);
    let (mut disk, mut next_id) = (Disk::default(), 1);
    append(&mut a, "k", 100);
    a.seal();
    assert_eq!(work(&mut a, &mut disk, &mut next_id, 1000), (0, 0));
    assert_eq!(a.deadline(), Some(1000 + INTERVAL_MS));
    append(&mut a, "k", 100);
    a.seal();
    assert_eq!(work(&mut a, &mut disk, &mut next_id, 1400), (0, 0));
    assert_eq!(work(&mut a, &mut disk, &mut next_id, 1000 + INTERVAL_MS), (1, 1));
    assert_eq!((order.durable(), a.deadline()), (2, None));
    // Much is written before the time is over, and synced when it is.
    append(&mut a, "k", GATHER_BYTES);
    a.seal();
    assert_eq!(work(&mut a, &mut disk, &mut next_id, 5000), (1, 0));
    assert_eq!(order.durable(), 2);
    assert_eq!(work(&mut a, &mut disk, &mut next_id, 5000 + INTERVAL_MS), (0, 1));
    assert_eq!(order.durable(), 3);
}

#[test]
fn a_failed_operation_ends_everything_and_says_why() {
    for fails_at in [0, 1] {
        let order = Arc::new(Order::new(2, 1));
        let mut a = writer(WalSync::EverySecond, &order, 0);
        a.give_segment(Segment { id: 3, bytes: SEGMENT_BYTES });
        append(&mut a, "k", 100);
        a.seal();
        a.flush_all();
        let Some(Op::Write { token, buf, .. }) = a.poll(0) else { panic!("a write") };
        let len = buf.len();
        if fails_at == 0 {
            assert!(!a.completed(token, Err(28)));
            let text = a.poisoned().unwrap().to_string();
            assert_eq!(text, "writing 0000000000000003.klog: No space left on device (os error 28)");
        } else {
            // In two parts, and once interrupted.
            assert!(a.completed(token, Ok(BLOCK_BYTES)));
            let Some(Op::Write { offset, buf, .. }) = a.again() else { panic!("the rest") };
            assert_eq!((offset, buf.len()), (BLOCK_BYTES as u64, len - BLOCK_BYTES));
            assert!(a.completed(token, Err(4)));
            assert!(!a.completed(token, Ok(len - BLOCK_BYTES)));
            let Some(Op::Sync { token, .. }) = a.poll(0) else { panic!("a sync") };
            assert!(!a.completed(token, Err(5)));
            assert!(a
                .poisoned()
                .unwrap()
                .to_string()
                .starts_with("syncing 0000000000000003.klog: Input/output"));
        }
        append(&mut a, "lost", 1);
        a.seal();
        a.flush_all();
        assert!(a.poll(10_000).is_none() && a.deadline().is_none() && a.backlog_bytes() == 0);
        assert_eq!(order.durable(), 0);
    }
}

#[test]
fn under_a_load_that_never_pauses_every_second_syncs_all_the_same() {
    let order = Arc::new(Order::new(2, 1));
    let mut a = writer(WalSync::EverySecond, &order, 0);
    a.give_segment(Segment { id: 1, bytes: 64 << 20 });
    // When each position was sealed.
    let mut sealed_at = vec![0];
    let mut under_way = None;
    for now in (0..5000).step_by(5) {
        append(&mut a, "k", 1000);
        a.seal();
        sealed_at.push(now);
        // An operation takes as long as it takes to seal more.
        if let Some((token, len)) = under_way.take() {
            assert!(!a.completed(token, Ok(len)));
        }
        under_way = match a.poll(now) {
            Some(Op::Write { token, buf, .. }) => Some((token, buf.len())),
            Some(Op::Sync { token, .. }) => Some((token, 0)),
            None => None,
        };
        let first_lost = order.durable() as usize + 1;
        if let Some(&at) = sealed_at.get(first_lost) {
            assert!(now - at <= INTERVAL_MS + 50, "what was sealed at {at} is not durable at {now}");
        }
    }
}

#[test]
fn a_sync_under_os_managed_covers_the_segments_before() {
    let order = Arc::new(Order::new(2, 1));
    let mut a = writer(WalSync::OsManaged, &order, 0);
    let mut synced = std::collections::BTreeSet::new();
    let mut written = std::collections::BTreeSet::new();
    let mut next_id = 1;
    for round in 0..8 {
        append(&mut a, "k", 30_000);
        a.seal();
        if round == 7 {
            a.flush_all();
        }
        loop {
            if let Some(bytes) = a.wants_segment() {
                a.give_segment(Segment { id: next_id, bytes });
                next_id += 1;
            }
            let (token, result) = match a.poll(round * 1000) {
                Some(Op::Write { token, segment, buf, .. }) => {
                    written.insert(segment);
                    synced.remove(&segment);
                    (token, buf.len())
                }
                Some(Op::Sync { token, segment }) => {
                    synced.insert(segment);
                    (token, 0)
                }
                None => break,
            };
            assert!(!a.completed(token, Ok(result)));
        }
    }
    a.flush_all();
    assert_eq!(order.durable(), 8);
    assert!(written.len() > 2 && synced == written, "{written:?} were written, {synced:?} synced");
}

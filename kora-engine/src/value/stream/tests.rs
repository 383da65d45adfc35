//! The stream against a naive one: a vector of entries in a vector of blocks.

use super::*;
use proptest::prelude::*;

type Pairs = Vec<Vec<u8>>;

/// A block of the naive stream: its entries, and whether each is deleted.
type NaiveBlock = Vec<(StreamId, Pairs, bool)>;

#[derive(Debug, Clone, Default)]
struct Naive {
    blocks: Vec<NaiveBlock>,
    last: StreamId,
    max_deleted: StreamId,
    added: u64,
}

/// Redis's rule for a full listpack, spelled out over the elements of it.
fn is_full(block: &NaiveBlock, pairs: &Pairs, limits: NodeLimits) -> bool {
    let element = |text: &[u8]| crate::value::listpack::element(super::super::item::Item::of(text));
    let number = |value: i64| element(value.to_string().as_bytes());
    let master: Vec<&Vec<u8>> = block[0].1.iter().step_by(2).collect();
    let dead = block.iter().filter(|entry| entry.2).count() as i64;
    let mut size =
        7 + number(block.len() as i64 - dead) + number(dead) + number(master.len() as i64) + number(0);
    size += master.iter().map(|field| element(field)).sum::<u64>();
    for (id, pairs, _) in block {
        size += number(1) + number((id.ms - block[0].0.ms) as i64);
        size += number(id.seq.wrapping_sub(block[0].0.seq) as i64);
        let fields = pairs.len() as i64 / 2;
        if pairs.iter().step_by(2).eq(master.iter().copied()) {
            size +=
                pairs.iter().skip(1).step_by(2).map(|value| element(value)).sum::<u64>() + number(fields + 3);
        } else {
            size +=
                pairs.iter().map(|part| element(part)).sum::<u64>() + number(fields) + number(2 * fields + 4);
        }
    }
    let raw: u64 = pairs.iter().map(|part| part.len() as u64).sum();
    let max = if limits.max_bytes == 0 { 1 << 30 } else { limits.max_bytes };
    size + raw >= max || (limits.max_entries > 0 && block.len() as u64 >= limits.max_entries)
}

impl Naive {
    fn live(&self) -> Vec<(StreamId, Pairs)> {
        let live = self.blocks.iter().flatten().filter(|entry| !entry.2);
        live.map(|(id, pairs, _)| (*id, pairs.clone())).collect()
    }

    fn append(&mut self, id: StreamId, pairs: Pairs, limits: NodeLimits) -> bool {
        let new_block = self.blocks.last().is_none_or(|block| is_full(block, &pairs, limits));
        if new_block {
            self.blocks.push(Vec::new());
        }
        self.blocks.last_mut().unwrap().push((id, pairs, false));
        self.last = id;
        self.added += 1;
        new_block
    }

    fn delete(&mut self, id: StreamId) -> bool {
        let Some(found) = self.blocks.iter_mut().flatten().find(|entry| entry.0 == id && !entry.2) else {
            return false;
        };
        found.2 = true;
        self.max_deleted = self.max_deleted.max(id);
        self.blocks
            .retain(|block| !(block.iter().all(|entry| entry.2) && block.iter().any(|entry| entry.0 == id)));
        true
    }

    fn trim(&mut self, threshold: Threshold, approximate: bool, limit: Option<u64>) -> u64 {
        let mut deleted = 0;
        while let Some(block) = self.blocks.first() {
            let len = self.live().len() as u64;
            let live = block.iter().filter(|entry| !entry.2).count() as u64;
            if matches!(threshold, Threshold::MaxLen(max) if len <= max)
                || limit.is_some_and(|limit| deleted + live > limit)
            {
                break;
            }
            let whole = match threshold {
                Threshold::MaxLen(max) => len - live >= max,
                Threshold::MinId(id) => block.last().unwrap().0 < id,
            };
            if whole {
                self.blocks.remove(0);
                deleted += live;
                continue;
            }
            if !approximate {
                let mut len = len;
                for entry in self.blocks[0].iter_mut() {
                    let keep = match threshold {
                        Threshold::MaxLen(max) => len <= max,
                        Threshold::MinId(id) => entry.0 >= id,
                    };
                    if keep {
                        break;
                    }
                    if !std::mem::replace(&mut entry.2, true) {
                        len -= 1;
                        deleted += 1;
                    }
                }
            }
            break;
        }
        deleted
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Milliseconds and number after the last id, and the entry.
    Append(u64, u64, Pairs),
    /// Of the entry at this place.
    Delete(prop::sample::Index),
    /// To so many entries fewer.
    MaxLen(u64, bool, Option<u64>),
    /// To the id of the entry at this place.
    MinId(prop::sample::Index, bool, Option<u64>),
    Reload,
    SetLast(u64),
}

fn parts() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::sample::select(vec![&b"a"[..], b"b", b"12", b"-5", b"70000", b""]).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..100),
        1 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pairs = prop_oneof![
        3 => parts().prop_map(|value| vec![b"field".to_vec(), value]),
        1 => (1usize..4).prop_flat_map(|fields| proptest::collection::vec(parts(), 2 * fields..=2 * fields)),
    ];
    let ms = prop_oneof![3 => 0u64..3, 1 => 0u64..300, 1 => any::<u32>().prop_map(u64::from)];
    let seq = prop_oneof![3 => Just(0u64), 1 => 0u64..5, 1 => any::<u32>().prop_map(u64::from)];
    let limit = prop_oneof![2 => Just(None), 1 => (1u64..40).prop_map(Some)];
    let step = prop_oneof![
        20 => (ms, seq, pairs).prop_map(|(ms, seq, pairs)| Step::Append(ms, seq, pairs)),
        4 => any::<prop::sample::Index>().prop_map(Step::Delete),
        1 => (0u64..20, any::<bool>(), limit.clone()).prop_map(|(n, approximate, limit)| Step::MaxLen(n, approximate, limit)),
        1 => (any::<prop::sample::Index>(), any::<bool>(), limit)
            .prop_map(|(at, approximate, limit)| Step::MinId(at, approximate, limit)),
        1 => Just(Step::Reload),
        1 => (0u64..3).prop_map(Step::SetLast),
    ];
    proptest::collection::vec(step, 0..150)
}

fn entry_of(entry: Entry<'_>) -> (StreamId, Pairs) {
    (entry.id, entry.pairs().flat_map(|(field, value)| [field.to_vec(), value.to_vec()]).collect())
}

fn append(stream: &mut Body, id: StreamId, pairs: &Pairs, limits: NodeLimits) -> bool {
    let bytes = pairs.iter().map(|part| part.len() as u64).sum();
    let args: Vec<&[u8]> = pairs.iter().map(Vec::as_slice).collect();
    let new_block = stream.begins_block(bytes, limits);
    stream.append(id, &args, new_block);
    new_block
}

fn agree(stream: &Body, naive: &Naive) -> Result<(), TestCaseError> {
    let live = naive.live();
    prop_assert_eq!(stream.len, live.len() as u64);
    prop_assert_eq!(stream.first, live.first().map_or(StreamId::MIN, |entry| entry.0));
    prop_assert_eq!(
        (stream.last, stream.max_deleted, stream.added),
        (naive.last, naive.max_deleted, naive.added)
    );
    prop_assert_eq!(stream.last_live(), live.last().map(|entry| entry.0));
    prop_assert_eq!(stream.blocks.len(), naive.blocks.len());
    let all: Vec<_> = stream.range(StreamId::MIN, StreamId::MAX).map(entry_of).collect();
    prop_assert_eq!(&all, &live);
    let mut back: Vec<_> = stream.range_back(StreamId::MIN, StreamId::MAX).map(entry_of).collect();
    back.reverse();
    prop_assert_eq!(&back, &live);
    Ok(())
}

proptest! {
    #[test]
    fn it_behaves_as_the_naive_one(
        steps in steps(),
        max_bytes in prop_oneof![Just(0u64), 50u64..400, Just(4096)],
        max_entries in prop_oneof![Just(0u64), 1u64..20, Just(130)],
        picks in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3u64, 0..3u64, 0..30usize), 1..10),
        blocks_max in 1usize..5,
    ) {
        let limits = NodeLimits { max_bytes, max_entries };
        let (mut stream, mut naive, mut copy) = (Body::default(), Naive::default(), Body::default());
        for step in steps {
            match step {
                Step::Append(ms, seq, pairs) => {
                    let id = match ms {
                        0 => StreamId::new(naive.last.ms, naive.last.seq + 1 + seq),
                        _ => StreamId::new(naive.last.ms + ms, seq),
                    };
                    let new_block = append(&mut stream, id, &pairs, limits);
                    prop_assert_eq!(new_block, naive.append(id, pairs.clone(), limits));
                    let args: Vec<&[u8]> = pairs.iter().map(Vec::as_slice).collect();
                    copy.append(id, &args, new_block);
                }
                Step::Delete(at) => {
                    let ids: Vec<StreamId> = naive.blocks.iter().flatten().map(|entry| entry.0).collect();
                    let id = if ids.is_empty() { StreamId::new(1, 1) } else { *at.get(&ids) };
                    let deleted = naive.delete(id);
                    prop_assert_eq!(stream.delete(id, true), deleted);
                    prop_assert_eq!(copy.delete(id, true), deleted);
                }
                Step::MaxLen(..) | Step::MinId(..) => {
                    let (threshold, approximate, limit) = match step {
                        Step::MaxLen(fewer, approximate, limit) => {
                            (Threshold::MaxLen(stream.len.saturating_sub(fewer)), approximate, limit)
                        }
                        Step::MinId(at, approximate, limit) => {
                            let ids: Vec<StreamId> = naive.blocks.iter().flatten().map(|entry| entry.0).collect();
                            let id = if ids.is_empty() { StreamId::new(5, 0) } else { *at.get(&ids) };
                            (Threshold::MinId(id), approximate, limit)
                        }
                        _ => unreachable!(),
                    };
                    let limit = limit.filter(|_| approximate);
                    let mut removed = 0;
                    loop {
                        let left = limit.map(|limit| limit - removed);
                        let trimmed = stream.trim(threshold, approximate, left, blocks_max);
                        removed += trimmed.entries;
                        copy.trim_again(trimmed.blocks, trimmed.before);
                        if trimmed.complete {
                            break;
                        }
                    }
                    prop_assert_eq!(removed, naive.trim(threshold, approximate, limit));
                }
                Step::Reload => {
                    let bytes = codec::bytes_of(&stream);
                    let read = codec::decode(&bytes);
                    prop_assert!(read.is_some());
                    stream = read.unwrap();
                    prop_assert_eq!(codec::bytes_of(&stream), bytes);
                }
                Step::SetLast(more) => {
                    let last = StreamId::new(naive.last.ms + more, naive.last.seq);
                    naive.last = last;
                    stream.set_ids(last, naive.added, naive.max_deleted);
                    copy.set_ids(last, naive.added, naive.max_deleted);
                }
            }
            agree(&stream, &naive)?;
        }
        prop_assert_eq!(codec::bytes_of(&stream), codec::bytes_of(&copy), "what the changes say is what was done");
        let live = naive.live();
        let ids: Vec<StreamId> = naive.blocks.iter().flatten().map(|entry| entry.0).collect();
        for (a, b, before, after, limit) in picks {
            let near = |at: &prop::sample::Index, by: u64| {
                let id = if ids.is_empty() { StreamId::new(3, 3) } else { *at.get(&ids) };
                StreamId::new(id.ms, (id.seq + by).saturating_sub(1))
            };
            let (start, end) = (near(&a, before), near(&b, after));
            let expected: Vec<_> = live.iter().filter(|entry| entry.0 >= start && entry.0 <= end).cloned().collect();
            let found: Vec<_> = stream.range(start, end).map(entry_of).collect();
            prop_assert_eq!(&found, &expected);
            let mut back: Vec<_> = stream.range_back(start, end).map(entry_of).collect();
            back.reverse();
            prop_assert_eq!(&back, &expected);
            prop_assert_eq!(stream.count(start, end, limit), expected.len().min(limit));
            let exact = live.iter().find(|entry| entry.0 == start).cloned();
            prop_assert_eq!(stream.get(start).map(entry_of), exact);
        }
        let mut wanted: Vec<StreamId> = ids.iter().flat_map(|id| [*id, StreamId::new(id.ms, id.seq + 1)]).collect();
        wanted.sort();
        wanted.dedup();
        let mut seeker = stream.seeker();
        for id in wanted {
            prop_assert_eq!(seeker.seek(id).map(entry_of), stream.get(id).map(entry_of));
        }
        let mut freed = stream;
        while !freed.free_some(3) {}
    }

    #[test]
    fn hostile_bytes_are_refused_or_read(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        if let Some(body) = codec::decode(&bytes) {
            prop_assert_eq!(body.range(StreamId::MIN, StreamId::MAX).count() as u64, body.len);
        }
        let mut stream = Body::default();
        for n in 1..20u64 {
            append(&mut stream, StreamId::new(n * 3, n % 2), &vec![b"f".to_vec(), bytes.clone()], NodeLimits { max_bytes: 100, max_entries: 7 });
        }
        stream.create_group(b"g", StreamId::new(7, 0), Some(3));
        let group = stream.group_mut(b"g").unwrap();
        let number = group.create_consumer(b"c", 5);
        group.deliver(StreamId::new(3, 1), number, 9, 2);
        bytes = codec::bytes_of(&stream);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(body) = codec::decode(&bytes) {
            prop_assert_eq!(body.range(StreamId::MIN, StreamId::MAX).count() as u64, body.len);
            prop_assert_eq!(body.range_back(StreamId::MIN, StreamId::MAX).count() as u64, body.len);
        }
    }
}

#[test]
fn an_entry_with_a_generated_id_takes_a_byte_and_its_values() {
    let mut stream = Body::default();
    let limits = NodeLimits { max_bytes: 4096, max_entries: 100 };
    for n in 0..100_000u64 {
        let value = format!("value:{n:06}");
        append(
            &mut stream,
            StreamId::new(1_700_000_000_000 + n / 3, n % 3),
            &vec![b"field".to_vec(), value.into_bytes()],
            limits,
        );
    }
    let entry = stream.blocks.memory() as f64 / 100_000.0;
    assert!(entry < 16.5, "{entry} bytes for an entry of 12");
}

#[test]
fn groups_and_their_consumers_hold_together() {
    let id = |n| StreamId::new(n, 0);
    let mut group = Group::new(StreamId::MIN, Some(0));
    let a = group.create_consumer(b"a", 1);
    let b = group.create_consumer(b"b", 1);
    for n in 1..=10 {
        group.deliver(id(n), if n % 2 == 0 { a } else { b }, n, 1);
    }
    group.deliver(id(2), b, 20, 5);
    assert_eq!((group.consumer(a).pending_len(), group.consumer(b).pending_len()), (4, 6));
    assert_eq!(group.pending_bounds(), Some((id(1), id(10))));
    assert!(group.acknowledge(id(1)) && !group.acknowledge(id(1)));
    assert_eq!(group.remove_consumer(b"b"), Some(5));
    assert_eq!(group.remove_consumer(b"b"), None);
    assert_eq!(
        group.pending_range(StreamId::MIN, StreamId::MAX).map(|(id, ..)| id.ms).collect::<Vec<_>>(),
        [4, 6, 8, 10]
    );
    let c = group.create_consumer(b"c", 1);
    assert_eq!(group.consumers().map(Consumer::name).collect::<Vec<_>>(), [b"a", b"c"]);
    group.deliver(id(4), c, 30, 1);
    assert_eq!(group.consumer(c).pending_ids(StreamId::MIN, StreamId::MAX).collect::<Vec<_>>(), [id(4)]);
    while !group.free_some(2) {}
    assert_eq!(group.pending_len(), 0);
}

#[test]
fn a_first_block_of_deleted_entries_hides_none_of_the_next() {
    let limits = NodeLimits { max_bytes: 0, max_entries: 2 };
    let mut stream = Body::default();
    let id = |ms| StreamId::new(ms, 1);
    for ms in 1..=4 {
        append(&mut stream, id(ms), &vec![b"f".to_vec(), b"v".to_vec()], limits);
    }
    assert!(stream.delete(id(2), true));
    // Not the whole block: its last entry, though deleted, has this id.
    assert_eq!(stream.trim(Threshold::MinId(id(2)), false, None, 10).entries, 1);
    assert_eq!((stream.blocks.len(), stream.first), (2, id(3)));
    for start in 0..=3 {
        let found: Vec<_> = stream.range(id(start), StreamId::MAX).map(|entry| entry.id).collect();
        assert_eq!(found, [id(3), id(4)], "from {start}");
    }
}

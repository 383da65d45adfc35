//! Keys from a random place of a table, for eviction.
//!
//! A sample is a run: from a random position in the order of hashes the next few keys. Hashes have nothing to do with how keys are used, so
//! neighbours are as good as keys from all over the table, and they cost a line or two of slots; their records are asked for together,
//! so that their cache misses overlap. (The first key of a run comes up in proportion to the gap before it, the others
//! do not; for a choice among several that does not matter.)
//!
//! Only keys with an expiry: slots say which those are, so where at least one key in [`DENSE_ONE_IN`] has one, a run just skips the others. Where
//! fewer have one, a [`VolatileMap`] tells where to look. Either way the work is bounded by constants.

use super::volatile::VolatileMap;
use super::{next_prefix, prefix_start, Entry, KeyHash, Position, Table};

/// Most keys in a sample; Redis's limit on `maxmemory-samples`.
pub const SAMPLE_MAX: usize = 64;

/// With at least one key with an expiry in this many, slots are looked at one after the other.
const DENSE_ONE_IN: usize = 16;
/// Slots that a run may pass.
const SLOTS_MAX: usize = 4096;
/// Segments that a search along the map may look into.
const SEGMENTS_MAX: usize = 64;

/// Where the keys of a sample are.
struct Run {
    places: [(u32, u32); SAMPLE_MAX],
    len: usize,
    wanted: usize,
}

impl Run {
    fn new(wanted: usize) -> Run {
        Run { places: [(0, 0); SAMPLE_MAX], len: 0, wanted: wanted.min(SAMPLE_MAX) }
    }

    /// Takes the keys in these slots of a segment until there are enough; true when there are.
    fn take(
        &mut self,
        table: &Table,
        index: usize,
        slots: std::ops::Range<usize>,
        with_expiry_only: bool,
    ) -> bool {
        let segment = &table.directory.entry(index).segment;
        for at in slots {
            if self.len == self.wanted {
                break;
            }
            let suits = if with_expiry_only { segment.has_expiry(at) } else { segment.is_occupied(at) };
            if suits {
                segment.prefetch_at(at);
                self.places[self.len] = (index as u32, at as u32);
                self.len += 1;
            }
        }
        self.len == self.wanted
    }
}

impl Table {
    /// Keeps track, from now on or no longer, of where keys with an expiry are.
    pub(crate) fn track_volatile(&mut self, on: bool) {
        if on != self.volatile.is_some() {
            self.volatile = on.then(|| Box::new(VolatileMap::full(self.directory.depth())));
        }
    }

    /// Visits up to `count` keys from a position on, going round at the end, or fewer when there are not as many near it. With
    /// `with_expiry_only` those that have an expiry; then [`Table::track_volatile`] is on. The table comes along, for hashing.
    pub(crate) fn sample(
        &mut self,
        position: u64,
        count: usize,
        with_expiry_only: bool,
        f: &mut dyn FnMut(&Table, Entry<'_>),
    ) {
        let mut run = Run::new(count);
        if with_expiry_only && self.expires * DENSE_ONE_IN < self.len {
            self.run_along_map(position, &mut run);
        } else {
            self.run_along_slots(position, &mut run, with_expiry_only);
        }
        for &(index, at) in &run.places[..run.len] {
            f(self, self.directory.entry(index as usize).segment.entry(at as usize));
        }
    }

    fn run_along_slots(&self, start: u64, run: &mut Run, with_expiry_only: bool) {
        let (mut position, mut round, mut passed) = (start, false, 0);
        while passed < SLOTS_MAX {
            let (index, entry, tag) = self.locate(KeyHash(position));
            let segment = &entry.segment;
            let mut slots = segment.seek(entry.homes, tag)..segment.slots();
            let is_first = prefix_start(position, entry.depth) == prefix_start(start, entry.depth);
            if round && is_first {
                slots.end = segment.seek(entry.homes, super::tag_bits(start, entry.depth));
            }
            passed += slots.len().max(1);
            if run.take(self, index, slots, with_expiry_only) || round && is_first {
                return;
            }
            position = next_prefix(position, entry.depth).unwrap_or_else(|| {
                round = true;
                0
            });
        }
    }

    fn run_along_map(&mut self, start: u64, run: &mut Run) {
        let Some(mut map) = self.volatile.take() else { return };
        if map.is_coarse(self.directory.depth()) {
            *map = map.refined(self.directory.depth());
        }
        let (mut position, mut round) = (start, false);
        for _ in 0..SEGMENTS_MAX {
            let Some(hash) = map.next_hash(position) else {
                if round {
                    break;
                }
                (position, round) = (0, true);
                continue;
            };
            let (index, entry, tag) = self.locate(KeyHash(hash));
            let (first, next) = (prefix_start(hash, entry.depth), next_prefix(hash, entry.depth));
            if round && first > start {
                break;
            }
            if entry.segment.expires() == 0 {
                map.clear_hashes(first, next.map_or(u64::MAX, |next| next - 1));
            } else {
                let is_first = first == prefix_start(start, entry.depth);
                let mut slots = entry.segment.seek(entry.homes, tag)..entry.segment.slots();
                if round && is_first {
                    slots.end = entry.segment.seek(entry.homes, super::tag_bits(start, entry.depth));
                }
                if run.take(self, index, slots, true) {
                    break;
                }
            }
            match next {
                Some(next) => position = next,
                None if round => break,
                None => (position, round) = (0, true),
            }
        }
        self.volatile = Some(map);
    }

    /// Where a key of this hash is, whichever key it is.
    pub(crate) fn find_hash(&self, hash: KeyHash) -> Option<Position> {
        let (index, entry, tag) = self.locate(hash);
        let segment = &entry.segment;
        let mut at = segment.seek(entry.homes, tag);
        while segment.is_occupied(at) && segment.tag(at) << 48 == tag {
            if self.hash(segment.entry(at).key()) == hash {
                return Some(Position { hash, index, at });
            }
            at += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::table::NewValue;
    use std::collections::{BTreeMap, BTreeSet};

    fn put(table: &mut Table, key: u32, expire_at: Option<u64>) {
        let key = key.to_le_bytes();
        let hash = table.hash(&key);
        table.insert(hash, &key, NewValue::Int(1), expire_at, 0);
    }

    fn number(entry: &Entry<'_>) -> u32 {
        u32::from_le_bytes(entry.key().try_into().expect("four bytes"))
    }

    fn sample(table: &mut Table, position: u64, count: usize, with_expiry_only: bool) -> Vec<u32> {
        let mut found = Vec::new();
        table.sample(position, count, with_expiry_only, &mut |_, entry| found.push(number(&entry)));
        found
    }

    #[test]
    fn a_sample_is_of_different_keys_and_as_large_as_asked() {
        let mut random = Random::new(3);
        for keys in [0, 1, 2, 5, 12, 100, 3000, 50_000] {
            let mut table = Table::new(7);
            (0..keys).for_each(|key| put(&mut table, key, None));
            for count in [1, 5, 64] {
                for _ in 0..50 {
                    let found = sample(&mut table, random.number(), count, false);
                    let distinct: BTreeSet<u32> = found.iter().copied().collect();
                    assert_eq!(distinct.len(), found.len());
                    assert_eq!(found.len(), count.min(keys as usize), "{count} of {keys}");
                }
            }
        }
    }

    #[test]
    fn every_key_comes_up_about_as_often() {
        let mut table = Table::new(7);
        (0..20_000).for_each(|key| put(&mut table, key, None));
        let mut random = Random::new(5);
        let mut seen: BTreeMap<u32, u32> = BTreeMap::new();
        for _ in 0..40_000 {
            for key in sample(&mut table, random.number(), 16, false) {
                *seen.entry(key).or_default() += 1;
            }
        }
        // 32 times each on average.
        assert_eq!(seen.len(), 20_000);
        assert!(seen.values().all(|&n| n < 150), "{:?}", seen.values().max());
    }

    #[test]
    fn few_keys_with_an_expiry_are_found_among_many() {
        let mut table = Table::new(7);
        (0..60_000).for_each(|key| put(&mut table, key, None));
        // Both before and after the map is made.
        (0..10).for_each(|i| put(&mut table, i * 6000, Some(5)));
        table.track_volatile(true);
        (0..10).for_each(|i| put(&mut table, i * 6000 + 1, Some(5)));
        let expected: BTreeSet<u32> = (0..10).flat_map(|i| [i * 6000, i * 6000 + 1]).collect();
        let mut random = Random::new(5);
        let mut seen = BTreeSet::new();
        let mut misses = 0;
        for _ in 0..2000 {
            let found = sample(&mut table, random.number(), 5, true);
            misses += (found.len() < 5) as u32;
            assert!(found.iter().all(|key| expected.contains(key)));
            seen.extend(found);
        }
        assert_eq!(seen, expected);
        assert!(misses < 20, "once the map is clean a search finds what there is: {misses}");
        // They go away, and the map forgets them; the table may grow and be emptied meanwhile.
        for &key in &expected {
            let key = key.to_le_bytes();
            let hash = table.hash(&key);
            table.get_mut(hash, &key).expect("it is there").set_expire_at(None);
        }
        assert_eq!(sample(&mut table, random.number(), 5, true), []);
        put(&mut table, 7, Some(9));
        (60_000..200_000).for_each(|key| put(&mut table, key, None));
        for _ in 0..50 {
            sample(&mut table, random.number(), 5, true);
        }
        assert_eq!(sample(&mut table, random.number(), 5, true), [7]);
        table.take_all();
        (0..1000).for_each(|key| put(&mut table, key, (key == 500).then_some(1)));
        assert_eq!(sample(&mut table, random.number(), 5, true), [500]);
    }

    #[test]
    fn where_many_have_an_expiry_only_those_are_visited() {
        let mut table = Table::new(7);
        table.track_volatile(true);
        (0..5000).for_each(|key| put(&mut table, key, (key % 3 == 0).then_some(1)));
        let mut random = Random::new(5);
        for _ in 0..1000 {
            let found = sample(&mut table, random.number(), 10, true);
            assert_eq!(found.len(), 10);
            assert!(found.iter().all(|key| key % 3 == 0));
        }
    }

    #[test]
    fn a_key_is_found_by_its_hash_alone() {
        let mut table = Table::new(7);
        (0..10_000).for_each(|key| put(&mut table, key, None));
        for key in 0..10_000u32 {
            let hash = table.hash(&key.to_le_bytes());
            let position = table.find_hash(hash).expect("it is there");
            assert_eq!(number(&table.at(position).into_entry()), key);
        }
        assert!(table.find_hash(table.hash(b"another")).is_none());
        assert!(Table::new(7).find_hash(table.hash(b"another")).is_none());
    }
}

//! Where in a table keys with an expiry may be: a bitmap over prefixes of the hash.
//!
//! The volatile eviction policies look for keys with an expiry. Where many have one, the next few slots from anywhere will do; where one key in a million has one,
//! a walk would take milliseconds. So, while such a policy is in force, the table has a bit for each prefix of hashes (about one per segment), set when
//! a key below it gets an expiry, and cleared by whoever looks there and finds none. Each clearing is paid for by a setting, so a
//! search costs constant time, amortised; levels of summary words, 64 to 1, skip what is empty.
//!
//! The bits are an upper bound: a set one promises nothing.

/// Prefixes of at most this many bits: 256 KiB of bits.
const BITS_MAX: u8 = 21;

/// See the module.
#[derive(Debug)]
pub(super) struct VolatileMap {
    /// Length of the prefixes, in bits.
    bits: u8,
    /// Bits, then one bit for each word of the level below that is not zero, up to a level of one word.
    levels: Vec<Vec<u64>>,
}

impl VolatileMap {
    /// A map in which every prefix of this length is set.
    pub(super) fn full(bits: u8) -> VolatileMap {
        let bits = bits.min(BITS_MAX);
        let mut levels = Vec::new();
        let mut len = 1usize << bits;
        loop {
            let mut words = vec![u64::MAX; len.div_ceil(64)];
            if !len.is_multiple_of(64) {
                *words.last_mut().expect("at least one word") = (1 << (len % 64)) - 1;
            }
            len = words.len();
            levels.push(words);
            if len == 1 {
                return VolatileMap { bits, levels };
            }
        }
    }

    /// Whether a table whose directory has this depth wants longer prefixes.
    pub(super) fn is_coarse(&self, depth: u8) -> bool {
        depth.min(BITS_MAX) > self.bits
    }

    /// The same with longer prefixes.
    pub(super) fn refined(&self, bits: u8) -> VolatileMap {
        let bits = bits.min(BITS_MAX);
        let mut finer = VolatileMap::full(bits);
        let run = 1u64 << (bits - self.bits);
        let mut next = 0;
        for prefix in self.prefixes() {
            finer.clear(next, prefix * run);
            next = (prefix + 1) * run;
        }
        finer.clear(next, 1 << bits);
        finer
    }

    fn prefixes(&self) -> impl Iterator<Item = u64> + '_ {
        std::iter::successors(self.next(0), |prefix| self.next(prefix + 1))
    }

    fn prefix(&self, hash: u64) -> u64 {
        // Two shifts, as a length of 0 would ask for one by 64.
        hash >> 1 >> (63 - self.bits)
    }

    /// A key of this hash has an expiry.
    pub(super) fn set(&mut self, hash: u64) {
        let mut at = self.prefix(hash) as usize;
        for level in &mut self.levels {
            let word = &mut level[at / 64];
            let was = *word;
            *word |= 1 << (at % 64);
            if was != 0 {
                return;
            }
            at /= 64;
        }
    }

    /// No key whose hash lies in `start..=end` has an expiry: clears the prefixes that lie in it wholly.
    pub(super) fn clear_hashes(&mut self, start: u64, end: u64) {
        let first = match self.bits {
            0 => (start > 0) as u64,
            bits => start.div_ceil(1 << (64 - bits)),
        };
        let behind = match end.checked_add(1) {
            Some(end) => self.prefix(end),
            None => 1 << self.bits,
        };
        self.clear(first, behind);
    }

    /// Clears the prefixes `from..to`.
    fn clear(&mut self, from: u64, to: u64) {
        let (mut from, mut to) = (from as usize, to as usize);
        for depth in 0..self.levels.len() {
            if from >= to {
                return;
            }
            let level = &mut self.levels[depth];
            let (first, last) = (from / 64, (to - 1) / 64);
            for (index, word) in level[first..=last].iter_mut().enumerate() {
                let low = if index == 0 { from % 64 } else { 0 };
                let high = if index == last - first { (to - 1) % 64 } else { 63 };
                *word &= !((u64::MAX << low) & (u64::MAX >> (63 - high)));
            }
            // Of the words in between all are zero now; the two at the ends may not be.
            from = first + (level[first] != 0) as usize;
            to = last + (level[last] == 0) as usize;
        }
    }

    /// The first hash at or after this one whose prefix is set.
    pub(super) fn next_hash(&self, hash: u64) -> Option<u64> {
        let prefix = self.next(self.prefix(hash))?;
        let start = match self.bits {
            0 => 0,
            bits => prefix << (64 - bits),
        };
        Some(start.max(hash))
    }

    /// The first set prefix at or after this one.
    fn next(&self, prefix: u64) -> Option<u64> {
        let mut at = prefix as usize;
        let mut depth = 0;
        // Up, until a word has a bit at or after the place.
        loop {
            let word = *self.levels.get(depth)?.get(at / 64)?;
            let rest = word & (u64::MAX << (at % 64));
            if rest != 0 {
                at = at / 64 * 64 + rest.trailing_zeros() as usize;
                break;
            }
            at = at / 64 + 1;
            depth += 1;
        }
        // Down, to the first bit of each word.
        while depth > 0 {
            depth -= 1;
            at = at * 64 + self.levels[depth][at].trailing_zeros() as usize;
        }
        Some(at as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn model(map: &VolatileMap) -> BTreeSet<u64> {
        map.prefixes().collect()
    }

    #[test]
    fn a_full_map_has_every_prefix() {
        for bits in [0, 1, 5, 6, 7, 12, 13] {
            let map = VolatileMap::full(bits);
            assert_eq!(map.prefixes().count(), 1 << bits);
            assert_eq!(map.next_hash(u64::MAX), Some(u64::MAX));
        }
    }

    #[test]
    fn an_emptied_map_has_none_and_a_set_hash_is_found_again() {
        for bits in [0, 3, 8, 14] {
            let mut map = VolatileMap::full(bits);
            map.clear_hashes(0, u64::MAX);
            assert_eq!(map.next_hash(0), None);
            let hash = 0xDEAD_BEEF_0123_4567;
            map.set(hash);
            let found = map.next_hash(0).expect("it was set");
            assert_eq!(map.prefix(found), map.prefix(hash));
            assert_eq!(map.next_hash(hash), Some(hash), "from within the prefix it is the place asked from");
        }
    }

    proptest! {
        #[test]
        fn it_is_a_set_of_prefixes(
            bits in 0u8..14,
            steps in prop::collection::vec((any::<bool>(), any::<u64>(), any::<u64>()), 0..60),
            finer in 0u8..4,
        ) {
            let mut map = VolatileMap::full(bits);
            let mut expected: BTreeSet<u64> = (0..1 << bits).collect();
            for (set, a, b) in steps {
                if set {
                    map.set(a);
                    expected.insert(map.prefix(a));
                } else {
                    let (start, end) = (a.min(b), a.max(b));
                    map.clear_hashes(start, end);
                    // A prefix goes when all of its hashes lie in the range.
                    expected.retain(|&prefix| {
                        let width = 64 - u32::from(bits);
                        let first = u128::from(prefix) << width;
                        let last = first + (1 << width) - 1;
                        !(first >= u128::from(start) && last <= u128::from(end))
                    });
                }
                prop_assert_eq!(&model(&map), &expected);
            }
            let refined = map.refined(bits + finer);
            let finer_expected: BTreeSet<u64> =
                expected.iter().flat_map(|&prefix| (prefix << finer)..((prefix + 1) << finer)).collect();
            prop_assert_eq!(model(&refined), finer_expected);
        }
    }
}

//! The hash of keys: rapidhash v3 in its "micro" form, seeded.
//!
//! Both the seed and the secrets are derived from the caller's seed: with the published secrets, colliding keys
//! can be computed for every seed at once. Micro was chosen over the full form because it is a single small
//! function (the full form spills registers for its 7-lane loop, which keys of 8 to 40 bytes never reach). The
//! final mixing step stays on: the table uses the *top* bits as its directory index and the bits below them as
//! tags, so all of them have to be good.

use rapidhash::v3::{rapidhash_v3_micro_inline, RapidSecrets};

/// A seeded hash function of byte strings; 64 bytes of state.
#[derive(Clone, Debug)]
pub struct KeyHasher {
    secrets: RapidSecrets,
}

impl KeyHasher {
    /// The hash function of this seed. Two hashers of one seed agree on every key.
    pub fn new(seed: u64) -> KeyHasher {
        KeyHasher { secrets: RapidSecrets::seed(seed) }
    }

    /// 64 well mixed bits of `key`.
    #[inline(always)]
    pub fn hash(&self, key: &[u8]) -> u64 {
        rapidhash_v3_micro_inline::<true, false>(key, &self.secrets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_hash_and_other_seed_other_hash() {
        let (a, b, c) = (KeyHasher::new(1), KeyHasher::new(1), KeyHasher::new(2));
        for len in [0usize, 1, 3, 4, 8, 16, 17, 48, 81, 1000] {
            let key = vec![b'k'; len];
            assert_eq!(a.hash(&key), b.hash(&key));
            assert_ne!(a.hash(&key), c.hash(&key), "length {len}");
        }
    }

    #[test]
    fn top_and_tag_bits_of_counting_keys_spread_evenly() {
        let hasher = KeyHasher::new(7);
        let keys = 1 << 16;
        for shift in [56, 48, 40] {
            let mut buckets = [0u32; 256];
            for i in 0..keys {
                let hash = hasher.hash(format!("key:{i:012}").as_bytes());
                buckets[(hash >> shift) as usize & 255] += 1;
            }
            // 256 expected in each; 6 standard deviations are 96.
            for count in buckets {
                assert!((160..352).contains(&count), "bucket of {count} at shift {shift}");
            }
        }
    }
}

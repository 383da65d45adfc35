//! Which keys there are, and which one comes next.
//!
//! A key is a prefix and a zero-padded number, all keys equally long: a request is then a copy of a ready
//! buffer in which only digits are written. Zipf's hottest key is number 0; a server's hash spreads
//! neighbours anyway.

use std::str::FromStr;
use std::sync::Arc;

use crate::slot::slot_of;
use crate::zipf::Zipf;
use crate::Error;

/// All keys of a run.
#[derive(Clone, Debug)]
pub struct KeySpace {
    prefix: Vec<u8>,
    digits: usize,
    count: u64,
}

impl KeySpace {
    /// `count` keys of `size` bytes that begin with `prefix`.
    pub fn new(prefix: &str, size: usize, count: u64) -> Result<KeySpace, Error> {
        let needed = count.saturating_sub(1).max(1).ilog10() as usize + 1;
        if count == 0 {
            return Err(Error::Usage("--keys 0 leaves nothing to ask for; use 1 or more".into()));
        }
        match size.checked_sub(prefix.len()) {
            Some(digits) if digits >= needed => {
                Ok(KeySpace { prefix: prefix.as_bytes().to_vec(), digits, count })
            }
            _ => Err(Error::Usage(format!(
                "--key-size {size} is too small for the prefix \"{prefix}\" and the numbers of {count} keys; \
                 use at least {}",
                prefix.len() + needed
            ))),
        }
    }

    /// How many keys there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes of one key.
    pub fn size(&self) -> usize {
        self.prefix.len() + self.digits
    }

    /// Key 0, and where in it the number begins: the blank of a template.
    pub(crate) fn blank(&self) -> (Vec<u8>, usize) {
        let mut key = self.prefix.clone();
        key.resize(self.size(), b'0');
        (key, self.prefix.len())
    }

    /// Writes the number of key `id` over the zeros at `at`, where a blank's number begins.
    #[inline]
    pub(crate) fn write_number(&self, id: u64, buffer: &mut [u8], at: usize) {
        let mut rest = id;
        for digit in buffer[at..at + self.digits].iter_mut().rev() {
            if rest == 0 {
                return;
            }
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
}

/// How keys are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Every key as often as every other.
    Uniform,
    /// Key `k` with a probability proportional to `1 / (k+1)^theta`.
    Zipf(f64),
    /// One after the other, from 0 and around again; threads take turns.
    Sequential,
}

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Distribution, String> {
        match text.split_once(':') {
            None if text == "uniform" => Ok(Distribution::Uniform),
            None if text == "sequential" => Ok(Distribution::Sequential),
            Some(("zipf", theta)) => match theta.parse::<f64>() {
                Ok(theta) if theta > 0.0 && theta <= 10.0 => Ok(Distribution::Zipf(theta)),
                _ => Err(format!("\"{theta}\" is no exponent; write zipf:0.99, above 0 and up to 10")),
            },
            _ => Err(format!("\"{text}\" is no distribution; write uniform, sequential or zipf:THETA")),
        }
    }
}

/// Which node of a cluster owns each key; one entry per key, made once per run.
#[derive(Clone)]
pub(crate) struct Owners(Arc<[u16]>);

impl Owners {
    /// `node_of_slot` has the node of each slot; `key_of` writes the whole key argument of a number.
    pub(crate) fn new(
        space: &KeySpace,
        node_of_slot: &[u16],
        mut key_of: impl FnMut(u64) -> Vec<u8>,
    ) -> Owners {
        Owners((0..space.count).map(|id| node_of_slot[slot_of(&key_of(id))]).collect())
    }

    /// How many keys of class `first, first + step, ...` the node owns.
    pub(crate) fn owned(&self, node: u16, first: u64, step: u64) -> u64 {
        self.0.iter().skip(first as usize).step_by(step as usize).filter(|&&n| n == node).count() as u64
    }
}

enum Order {
    Uniform,
    Zipf(Zipf),
    Sequential { next: u64, first: u64, step: u64 },
}

/// The keys for the connections of one thread to one node.
pub(crate) struct KeySource {
    count: u64,
    order: Order,
    /// In cluster mode: draws of keys that other nodes own are repeated.
    filter: Option<(Owners, u16)>,
}

impl KeySource {
    /// Thread `thread` of `threads` walks its own class of a sequence. With a filter, the node must own at
    /// least one key (of that class).
    pub(crate) fn new(
        space: &KeySpace,
        distribution: Distribution,
        (thread, threads): (u64, u64),
        filter: Option<(Owners, u16)>,
    ) -> KeySource {
        let order = match distribution {
            Distribution::Uniform => Order::Uniform,
            Distribution::Zipf(theta) => Order::Zipf(Zipf::new(space.count, theta)),
            Distribution::Sequential => {
                let first = if thread < space.count { thread } else { 0 };
                Order::Sequential { next: first, first, step: threads }
            }
        };
        KeySource { count: space.count, order, filter }
    }

    #[inline]
    pub(crate) fn next(&mut self, rng: &mut fastrand::Rng) -> u64 {
        loop {
            let id = match &mut self.order {
                Order::Uniform => rng.u64(0..self.count),
                Order::Zipf(zipf) => zipf.sample(rng),
                Order::Sequential { next, first, step } => {
                    let id = *next;
                    *next = if id + *step < self.count { id + *step } else { *first };
                    id
                }
            };
            match &self.filter {
                Some((owners, node)) if owners.0[id as usize] != *node => continue,
                _ => return id,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::SLOTS;

    fn key(space: &KeySpace, id: u64) -> String {
        let (mut key, at) = space.blank();
        space.write_number(id, &mut key, at);
        String::from_utf8(key).unwrap()
    }

    #[test]
    fn keys_are_padded_to_their_size() {
        let space = KeySpace::new("key:", 16, 100_000).unwrap();
        assert_eq!(key(&space, 0), "key:000000000000");
        assert_eq!(key(&space, 99_999), "key:000000099999");
        assert_eq!(space.size(), 16);
    }

    #[test]
    fn a_key_size_that_cannot_hold_the_numbers_is_refused_with_the_size_that_can() {
        assert!(KeySpace::new("k", 6, 100_000).is_ok());
        let error = KeySpace::new("k", 5, 100_000).unwrap_err().to_string();
        assert!(error.contains("use at least 6"), "{error}");
        assert!(KeySpace::new("longer", 3, 1).is_err());
        assert!(KeySpace::new("k", 9, 0).is_err());
    }

    #[test]
    fn threads_share_a_sequence_without_gap_or_overlap() {
        let space = KeySpace::new("k", 9, 10).unwrap();
        let mut rng = fastrand::Rng::with_seed(1);
        let mut seen = Vec::new();
        for thread in 0..3 {
            let mut source = KeySource::new(&space, Distribution::Sequential, (thread, 3), None);
            let class = (10 - thread).div_ceil(3);
            seen.extend((0..class).map(|_| source.next(&mut rng)));
            assert_eq!(source.next(&mut rng), thread, "begins again");
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn uniform_keys_are_uniform() {
        let space = KeySpace::new("k", 9, 20).unwrap();
        let mut source = KeySource::new(&space, Distribution::Uniform, (0, 1), None);
        let mut rng = fastrand::Rng::with_seed(5);
        let mut seen = [0i64; 20];
        (0..200_000).for_each(|_| seen[source.next(&mut rng) as usize] += 1);
        assert!(seen.iter().all(|n| (n - 10_000).abs() < 500), "{seen:?}");
    }

    #[test]
    fn a_node_is_asked_only_for_keys_that_it_owns() {
        let space = KeySpace::new("key:", 16, 1_000).unwrap();
        let halves: Vec<u16> = (0..SLOTS).map(|slot| u16::from(slot >= SLOTS / 2)).collect();
        let owners = Owners::new(&space, &halves, |id| key(&space, id).into_bytes());
        assert_eq!(owners.owned(0, 0, 1) + owners.owned(1, 0, 1), 1_000);
        let mut rng = fastrand::Rng::with_seed(5);
        for distribution in [Distribution::Uniform, Distribution::Zipf(0.9), Distribution::Sequential] {
            let mut source = KeySource::new(&space, distribution, (0, 1), Some((owners.clone(), 1)));
            for _ in 0..500 {
                let id = source.next(&mut rng);
                assert!(slot_of(key(&space, id).as_bytes()) >= SLOTS / 2);
            }
        }
    }

    #[test]
    fn distributions_are_read_and_bad_ones_explained() {
        assert_eq!("uniform".parse(), Ok(Distribution::Uniform));
        assert_eq!("zipf:0.99".parse(), Ok(Distribution::Zipf(0.99)));
        assert_eq!("sequential".parse(), Ok(Distribution::Sequential));
        for bad in ["", "zipf", "gauss", "uniform:1"] {
            assert!(bad.parse::<Distribution>().unwrap_err().contains("zipf:THETA"), "{bad}");
        }
        for bad in ["zipf:0", "zipf:-1", "zipf:x", "zipf:nan"] {
            assert!(bad.parse::<Distribution>().unwrap_err().contains("exponent"), "{bad}");
        }
    }
}

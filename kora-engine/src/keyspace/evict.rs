//! Eviction: which keys go when memory is short.
//!
//! As in Redis a policy is approximated by sampling: a few keys from a random place compete for a pool of the 16 best candidates seen so far, and the
//! best of the pool goes. Every eviction costs one sample and the removal, however many keys there are.
//!
//! Two things differ from Redis, and both make the approximation better at the same number of samples:
//! - A candidate is looked at again before it goes. When it has been used since it was seen it is ranked anew.
//! - The pool ranks by the time of the last access, not by how long ago that was when the key was seen: old and new candidates compare.
//!
//! Which shard evicts how much is decided above: here is one shard and a number of bytes. What the policies look for with few keys in
//! many is described in `table/sample.rs`.

use super::access::LfuRules;
use super::Keyspace;
use crate::change::{DeleteReason, UnixMs};
use crate::random::Random;
use crate::table::{Entry, KeyHash, SAMPLE_MAX};

/// Candidates that are kept from one eviction to the next; Redis's number.
const POOL_LEN: usize = 16;

/// Samples until an eviction gives up, when nothing that suits is found.
const TRIES: usize = 16;

/// Evictions after which the databases are weighed again, to choose among them in proportion.
const WEIGH_EVERY: u32 = 64;

/// Which keys go when memory is short (`maxmemory-policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EvictionPolicy {
    /// Of the keys with an expiry the one used longest ago.
    VolatileLru,
    /// Of the keys with an expiry the least used one.
    VolatileLfu,
    /// Of the keys with an expiry any.
    VolatileRandom,
    /// The key that expires soonest.
    VolatileTtl,
    /// The key used longest ago.
    AllKeysLru,
    /// The least used key.
    AllKeysLfu,
    /// Any key.
    AllKeysRandom,
    /// None: what would take memory is refused.
    #[default]
    NoEviction,
}

use EvictionPolicy::*;

impl EvictionPolicy {
    /// All of them, in the order in which Redis lists them.
    pub const ALL: [EvictionPolicy; 8] = [
        VolatileLru,
        VolatileLfu,
        VolatileRandom,
        VolatileTtl,
        AllKeysLru,
        AllKeysLfu,
        AllKeysRandom,
        NoEviction,
    ];

    /// Their names.
    pub const NAMES: [&'static str; EvictionPolicy::ALL.len()] = {
        let mut names = [""; EvictionPolicy::ALL.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = EvictionPolicy::ALL[at].name();
            at += 1;
        }
        names
    };

    /// Redis's name.
    pub const fn name(self) -> &'static str {
        match self {
            VolatileLru => "volatile-lru",
            VolatileLfu => "volatile-lfu",
            VolatileRandom => "volatile-random",
            VolatileTtl => "volatile-ttl",
            AllKeysLru => "allkeys-lru",
            AllKeysLfu => "allkeys-lfu",
            AllKeysRandom => "allkeys-random",
            NoEviction => "noeviction",
        }
    }

    /// The policy of this name, in any case of letters.
    pub fn named(name: &str) -> Option<EvictionPolicy> {
        EvictionPolicy::ALL.into_iter().find(|policy| policy.name().eq_ignore_ascii_case(name))
    }

    /// Whether it takes keys with an expiry only.
    pub fn is_volatile(self) -> bool {
        matches!(self, VolatileLru | VolatileLfu | VolatileRandom | VolatileTtl)
    }

    /// Whether it counts how often keys are used, instead of noting when.
    pub fn is_lfu(self) -> bool {
        matches!(self, VolatileLfu | AllKeysLfu)
    }

    fn is_random(self) -> bool {
        matches!(self, VolatileRandom | AllKeysRandom)
    }
}

/// What decides which keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvictionRules {
    /// The policy.
    pub policy: EvictionPolicy,
    /// Keys in a sample, from 1 to [`SAMPLE_MAX`] (`maxmemory-samples`).
    pub samples: u8,
    /// How frequencies are counted.
    pub lfu: LfuRules,
}

impl Default for EvictionRules {
    fn default() -> EvictionRules {
        EvictionRules { policy: NoEviction, samples: 5, lfu: LfuRules::default() }
    }
}

/// What [`Keyspace::evict`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Keys that went, expired ones included.
    pub keys: usize,
    /// Bytes of their memory, large collections included, which are freed in slices afterwards.
    pub bytes: usize,
}

/// A key that could go, known by its hash: 64 bits do not collide among 16, and if they did another key of the shard would go.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// The larger, the sooner it goes.
    rank: u64,
    db: u16,
    hash: KeyHash,
}

/// The best candidates seen so far, the best one last.
#[derive(Debug, Default)]
struct Pool(Vec<Candidate>);

impl Pool {
    /// Takes a candidate in if it is among the best.
    fn offer(&mut self, rank: u64, db: u16, hash: impl FnOnce() -> KeyHash) {
        if self.0.len() == POOL_LEN && rank <= self.0[0].rank {
            return;
        }
        let hash = hash();
        if let Some(at) = self.0.iter().position(|other| other.hash == hash && other.db == db) {
            self.0.remove(at);
        } else if self.0.len() == POOL_LEN {
            self.0.remove(0);
        }
        let at = self.0.partition_point(|other| other.rank < rank);
        self.0.insert(at, Candidate { rank, db, hash });
    }

    fn pop(&mut self) -> Option<Candidate> {
        self.0.pop()
    }

    fn best_rank(&self) -> Option<u64> {
        self.0.last().map(|candidate| candidate.rank)
    }
}

/// What eviction keeps from one key to the next.
#[derive(Debug)]
pub(super) struct Evictor {
    rules: EvictionRules,
    random: Random,
    pool: Pool,
    /// Databases with keys that may go, and how many, as counted last.
    weights: Vec<(u16, u64)>,
    /// Evictions until they are counted again.
    weigh_in: u32,
}

impl Evictor {
    pub(super) fn new(seed: u64) -> Evictor {
        Evictor {
            rules: EvictionRules::default(),
            random: Random::new(seed ^ 0x0E71_C7ED),
            pool: Pool::default(),
            weights: Vec::new(),
            weigh_in: 0,
        }
    }

    /// Forgets the candidates, as their databases are others now.
    pub(super) fn forget(&mut self) {
        self.pool.0.clear();
        self.weigh_in = 0;
    }
}

impl Keyspace {
    /// Changes what decides which keys go, and what the access fields of keys mean.
    pub fn set_eviction(&mut self, rules: EvictionRules) {
        let samples = rules.samples.clamp(1, SAMPLE_MAX as u8);
        if rules.policy != self.evictor.rules.policy {
            self.evictor.forget();
        }
        self.evictor.rules = EvictionRules { samples, ..rules };
        self.access.set_lfu(rules.policy.is_lfu().then_some(rules.lfu));
        for table in &mut self.dbs {
            table.track_volatile(rules.policy.is_volatile());
        }
    }

    /// Number of keys that the policy lets go.
    pub fn evictable(&self) -> u64 {
        (0..self.dbs.len()).map(|db| self.evictable_of(db)).sum()
    }

    fn evictable_of(&self, db: usize) -> u64 {
        match self.evictor.rules.policy {
            NoEviction => 0,
            policy if policy.is_volatile() => self.dbs[db].expires_len() as u64,
            _ => self.dbs[db].len() as u64,
        }
    }

    /// Removes keys by the policy until so many bytes have gone, or so many keys, or nothing suits.
    pub fn evict(&mut self, now: UnixMs, bytes: usize, keys: usize) -> Evicted {
        let mut sum = Evicted::default();
        while sum.bytes < bytes && sum.keys < keys {
            let Some(freed) = self.evict_one(now) else { break };
            sum.keys += 1;
            sum.bytes += freed;
        }
        sum
    }

    fn evict_one(&mut self, now: UnixMs) -> Option<usize> {
        for _ in 0..TRIES {
            if let Some(db) = self.choose_db() {
                self.sample(now, db);
            }
            while let Some(candidate) = self.evictor.pool.pop() {
                if let Some(freed) = self.evict_candidate(now, candidate) {
                    return Some(freed);
                }
            }
            if self.evictor.weights.is_empty() {
                // Next time there may be something.
                self.evictor.weigh_in = 0;
                return None;
            }
        }
        None
    }

    /// A database, in proportion to what could go from it.
    fn choose_db(&mut self) -> Option<u16> {
        if self.evictor.weigh_in == 0 {
            let mut weights = std::mem::take(&mut self.evictor.weights);
            weights.clear();
            let evictable = (0..self.dbs.len()).map(|db| (db as u16, self.evictable_of(db)));
            weights.extend(evictable.filter(|(_, keys)| *keys > 0));
            self.evictor.weights = weights;
            self.evictor.weigh_in = WEIGH_EVERY;
        }
        self.evictor.weigh_in -= 1;
        let weights = &self.evictor.weights;
        if weights.len() <= 1 {
            return weights.first().map(|(db, _)| *db);
        }
        let mut at = self.evictor.random.below(weights.iter().map(|(_, keys)| keys).sum());
        let chosen = weights.iter().find(|(_, keys)| {
            let here = at < *keys;
            at = at.wrapping_sub(*keys);
            here
        });
        chosen.map(|(db, _)| *db)
    }

    /// Lets some keys of a database compete for the pool.
    fn sample(&mut self, now: UnixMs, db: u16) {
        let Keyspace { dbs, evictor, access, .. } = self;
        let Evictor { rules, random, pool, weigh_in, .. } = evictor;
        if rules.policy.is_random() {
            // Nobody is better than another, so nobody is kept.
            pool.0.clear();
        }
        let position = random.number();
        let mut found = false;
        let only_volatile = rules.policy.is_volatile();
        dbs[db as usize].sample(position, rules.samples.into(), only_volatile, &mut |table, entry| {
            found = true;
            let rank = rank(rules.policy, access, now, &entry, random);
            pool.offer(rank, db, || table.hash(entry.key()));
        });
        if !found {
            // The database has changed since it was weighed.
            *weigh_in = 0;
        }
    }

    /// Removes a candidate and tells the bytes that it took, unless it is not the best one any more.
    fn evict_candidate(&mut self, now: UnixMs, candidate: Candidate) -> Option<usize> {
        let Candidate { db, hash, .. } = candidate;
        let table = &mut self.dbs[db as usize];
        let position = table.find_hash(hash)?;
        let entry = table.at(position);
        let Evictor { rules, random, pool, .. } = &mut self.evictor;
        if rules.policy.is_volatile() && entry.expire_at().is_none() {
            return None;
        }
        if !rules.policy.is_random() {
            let rank = rank(rules.policy, &self.access, now, &entry.entry(), random);
            if rank < candidate.rank && pool.best_rank().is_some_and(|best| rank < best) {
                // It was used since it was seen.
                pool.offer(rank, db, || hash);
                return None;
            }
        }
        let gone = entry.take();
        let expired = gone.entry().expire_at().is_some_and(|at| at < now);
        let freed = gone.entry().memory_usage();
        if expired {
            self.beside().expired(db, gone.entry().key());
        } else {
            self.stats.evicted += 1;
            self.beside().deleted(db, gone.entry().key(), DeleteReason::Evicted);
        }
        Some(freed)
    }
}

/// How good a candidate a key is.
fn rank(
    policy: EvictionPolicy,
    access: &super::access::AccessClock,
    now: UnixMs,
    entry: &Entry<'_>,
    random: &mut Random,
) -> u64 {
    match policy {
        _ if entry.expire_at().is_some_and(|at| at < now) => u64::MAX,
        VolatileTtl => u64::MAX - entry.expire_at().unwrap_or(u64::MAX),
        VolatileRandom | AllKeysRandom => random.number(),
        VolatileLru | AllKeysLru | VolatileLfu | AllKeysLfu | NoEviction => {
            access.coldness(now, entry.access())
        }
    }
}

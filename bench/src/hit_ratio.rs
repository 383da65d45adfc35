//! How well servers choose what to evict: hit ratios of the same trace under the same limit.
//!
//! The trace is what a cache sees: keys by Zipf's law are asked for, and one that is missing is written. Every server gets the same keys
//! in the same order from one connection. The first half of the requests fills the server and lets its counters settle; the second half is
//! counted. `drift` moves the popularity on by that part of the keys over the whole trace: what was hot cools down.
//!
//! A hit ratio depends on two things, and the table tells both: how many keys fit within the limit, and which. The last column
//! is what an oracle would have reached that keeps the most popular keys of the law (without drift).

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::client::{Client, Value};
use crate::compare::server::Server;
use crate::compare::subject::{Subject, SubjectArgs};
use crate::sys::affinity::{self, CpuList};
use crate::sys::process::resident_bytes;
use crate::zipf::Zipf;
use crate::Error;

/// Requests in flight.
const PIPELINE: usize = 64;
/// Requests between two looks at the server's memory.
const LOOK_EVERY: u64 = 20_000;

/// Measure hit ratios of a Zipf trace under a limit on memory; peers must know --maxmemory and --maxmemory-policy.
#[derive(clap::Args, Debug)]
pub(crate) struct HitRatioArgs {
    #[command(flatten)]
    subjects: SubjectArgs,
    /// Policies.
    #[arg(long, value_delimiter = ',', default_value = "allkeys-lru,allkeys-lfu", value_name = "NAMES")]
    policy: Vec<String>,
    /// Exponents of Zipf's law.
    #[arg(long, value_delimiter = ',', default_value = "0.8,0.99", value_name = "NUMBERS")]
    theta: Vec<f64>,
    /// Parts of the keys by which the popularity moves on.
    #[arg(long, value_delimiter = ',', default_value = "0", value_name = "NUMBERS")]
    drift: Vec<f64>,
    /// The limit, in Redis's units.
    #[arg(long, default_value = "128mb", value_name = "SIZE")]
    maxmemory: String,
    /// Keys of the trace.
    #[arg(long, default_value_t = 2_000_000)]
    keys: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    value_size: usize,
    /// Requests of the trace.
    #[arg(long, default_value_t = 8_000_000)]
    requests: u64,
    /// Seed of the trace.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kora's workers.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// The server's CPUs.
    #[arg(long, default_value = "0", value_name = "LIST")]
    server_cpu: CpuList,
    /// The load's CPUs.
    #[arg(long, default_value = "1", value_name = "LIST")]
    load_cpu: CpuList,
}

/// A law of popularity.
#[derive(Clone, Copy, Debug)]
struct Law {
    theta: f64,
    drift: f64,
}

/// What one server reached.
#[derive(Clone, Copy, Debug)]
struct Reached {
    hits: u64,
    asked: u64,
    keys: u64,
    most_resident: u64,
    took: Duration,
}

impl Reached {
    fn ratio(&self) -> f64 {
        self.hits as f64 / self.asked.max(1) as f64
    }
}

impl HitRatioArgs {
    /// Measures and prints. False when something failed on the way.
    pub(crate) fn run(&self) -> Result<bool, Error> {
        if self.requests < 2 || self.keys == 0 || self.value_size == 0 {
            return Err(Error::Usage("--requests, --keys and --value-size must be more".into()));
        }
        if self.theta.iter().any(|theta| !theta.is_finite() || *theta <= 0.0) {
            return Err(Error::Usage("--theta must be above 0".into()));
        }
        if self.drift.iter().any(|drift| !(0.0..=1.0).contains(drift)) {
            return Err(Error::Usage("--drift must be from 0 to 1".into()));
        }
        affinity::pin_thread(&self.load_cpu.0).map_err(Error::io("pinning the load"))?;
        let subjects = self.subjects.subjects(self.workers)?;
        let mut table = format!(
            "Hit ratios: {} keys of 16 bytes with values of {}, {} requests, --maxmemory {}\n\n\
             | policy | theta | drift | server | hit ratio | keys kept | most resident | requests/s | the most popular keys |\n\
             |---|---|---|---|---|---|---|---|---|\n",
            self.keys, self.value_size, self.requests, self.maxmemory
        );
        let mut failed = false;
        for &theta in &self.theta {
            for &drift in &self.drift {
                for policy in &self.policy {
                    for subject in &subjects {
                        let law = Law { theta, drift };
                        match self.measure(subject, policy, law) {
                            Ok(reached) => {
                                let row = self.row(policy, law, &subject.name, &reached);
                                eprint!("{row}");
                                table += &row;
                            }
                            Err(error) => {
                                eprintln!("kora-bench: {policy}: {}: {error}", subject.name);
                                failed = true;
                            }
                        }
                    }
                }
            }
        }
        print!("{table}");
        Ok(!failed)
    }

    fn row(&self, policy: &str, law: Law, name: &str, reached: &Reached) -> String {
        let mut row = String::new();
        writeln!(
            row,
            "| {policy} | {} | {} | {name} | {:.4} | {} | {:.1} MB | {:.0} | {:.4} |",
            law.theta,
            law.drift,
            reached.ratio(),
            reached.keys,
            reached.most_resident as f64 / f64::from(1 << 20),
            self.requests as f64 / reached.took.as_secs_f64(),
            mass(self.keys, law.theta, reached.keys),
        )
        .expect("a String takes any text");
        row
    }

    /// One trace against a fresh server.
    fn measure(&self, subject: &Subject, policy: &str, law: Law) -> Result<Reached, Error> {
        let mut subject = subject.clone();
        let limit = ["--maxmemory", &self.maxmemory, "--maxmemory-policy", policy];
        subject.args.extend(limit.map(String::from));
        let server = Server::start(&subject, &self.server_cpu.0)?;
        let mut trace = Trace::new(self.keys, law, self.requests, self.seed);
        let mut cache = Cache::new(server.client()?, self.value_size);
        let mut reached = Reached { hits: 0, asked: 0, keys: 0, most_resident: 0, took: Duration::ZERO };
        let (start, mut look_at) = (Instant::now(), 0);
        while trace.done < self.requests {
            let counted = trace.done >= self.requests / 2;
            let batch = PIPELINE.min((self.requests - trace.done) as usize);
            let ids: Vec<u64> = (0..batch).map(|_| trace.next()).collect();
            let hits = cache.ask(&ids)?;
            if counted {
                reached.hits += hits;
                reached.asked += batch as u64;
            }
            if trace.done >= look_at {
                look_at = trace.done + LOOK_EVERY;
                reached.most_resident = reached.most_resident.max(resident_bytes(server.pid())?);
            }
        }
        reached.took = start.elapsed();
        reached.keys = server.key_count()?;
        Ok(reached)
    }
}

/// The part of all requests that go to the `kept` most popular of `keys` keys.
fn mass(keys: u64, theta: f64, kept: u64) -> f64 {
    let weight = |rank: u64| ((rank + 1) as f64).powf(-theta);
    let of = |n: u64| (0..n).map(weight).sum::<f64>();
    of(kept.min(keys)) / of(keys)
}

/// The keys in the order in which they are asked for.
struct Trace {
    zipf: Zipf,
    rng: fastrand::Rng,
    keys: u64,
    /// Places by which the popularity moves on per request.
    step: f64,
    done: u64,
}

impl Trace {
    fn new(keys: u64, law: Law, requests: u64, seed: u64) -> Trace {
        Trace {
            zipf: Zipf::new(keys, law.theta),
            rng: fastrand::Rng::with_seed(seed),
            keys,
            step: law.drift * keys as f64 / requests as f64,
            done: 0,
        }
    }

    fn next(&mut self) -> u64 {
        let moved = (self.done as f64 * self.step) as u64;
        self.done += 1;
        (self.zipf.sample(&mut self.rng) + moved) % self.keys
    }
}

/// A client that writes what it has not found.
struct Cache {
    client: Client,
    value: Vec<u8>,
    request: Vec<u8>,
}

impl Cache {
    fn new(client: Client, value_size: usize) -> Cache {
        Cache { client, value: vec![b'v'; value_size], request: Vec::new() }
    }

    /// Asks for keys, writes those that are missing, and tells how many were there.
    fn ask(&mut self, ids: &[u64]) -> Result<u64, Error> {
        self.request.clear();
        for id in ids {
            write_command(&mut self.request, &[b"GET", &key(*id)]);
        }
        let mut missing = Vec::new();
        let mut next = 0;
        self.client.pipeline("GET", &self.request, ids.len(), &mut |value| {
            if value == Value::Null && !missing.contains(&ids[next]) {
                missing.push(ids[next]);
            }
            next += 1;
        })?;
        // A key that is asked for twice in a batch is missing twice.
        let misses = ids.iter().filter(|id| missing.contains(id)).count();
        self.request.clear();
        for id in &missing {
            write_command(&mut self.request, &[b"SET", &key(*id), &self.value]);
        }
        self.client.pipeline("SET", &self.request, missing.len(), &mut |_| ())?;
        Ok((ids.len() - misses) as u64)
    }
}

fn key(id: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let (mut id, mut at) = (id, key.len());
    while id > 0 && at > 4 {
        at -= 1;
        key[at] = b'0' + (id % 10) as u8;
        id /= 10;
    }
    key
}

fn write_command(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sixteen_bytes() {
        assert_eq!(&key(0), b"key:000000000000");
        assert_eq!(&key(1_234_567), b"key:000001234567");
    }

    #[test]
    fn a_trace_repeats_and_drifts() {
        let ids = |drift| {
            let mut trace = Trace::new(1000, Law { theta: 0.99, drift }, 10_000, 3);
            (0..10_000).map(|_| trace.next()).collect::<Vec<_>>()
        };
        assert_eq!(ids(0.0), ids(0.0));
        let hottest = |ids: &[u64]| {
            let mut counts = vec![0; 1000];
            ids.iter().for_each(|id| counts[*id as usize] += 1);
            (0..1000).max_by_key(|id| counts[*id]).expect("a thousand")
        };
        assert_eq!(hottest(&ids(0.0)[9000..]), 0);
        assert!((440..500).contains(&hottest(&ids(0.5)[9500..])));
    }

    #[test]
    fn the_most_popular_keys_have_their_mass() {
        assert!((mass(1000, 1.0, 1000) - 1.0).abs() < 1e-9);
        assert!((mass(2, 1.0, 1) - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(mass(10, 0.99, 0), 0.0);
    }
}

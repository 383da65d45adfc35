//! One measured run against one server.
//!
//! [`run`] opens all connections and introduces them first, so that accepting them is not measured, then
//! releases the threads (`worker`) together. What is sent is prepared in `workload`, when in `schedule`.

use std::sync::Barrier;
use std::time::Duration;

pub use crate::client::Session;
pub use crate::keys::{Distribution, KeySpace};
pub use report::Report;
pub use schedule::Arrivals;
pub use workload::{Ratio, Workload};

use crate::client::Client;
use crate::keys::{KeySource, Owners};
use crate::sys::process;
use crate::{Endpoint, Error};
use cluster::Topology;
use worker::{Node, Opened, Plan};

pub(crate) mod args;
mod cluster;
mod report;
mod schedule;
mod worker;
mod workload;

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stop {
    /// After this time.
    After(Duration),
    /// After so many requests.
    Requests(u64),
    /// After each key was asked for once; needs [`Distribution::Sequential`].
    EachKeyOnce,
}

/// What decides when a request is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The reply to the one before.
    Closed,
    /// The clock.
    Open {
        /// Requests a second, over all threads.
        rate: f64,
        /// How they are spread.
        arrivals: Arrivals,
    },
}

/// A run.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    /// The server; in cluster mode, any node of it.
    pub endpoint: Endpoint,
    /// How connections introduce themselves.
    pub session: Session,
    /// Connections in total, shared among threads and nodes.
    pub connections: usize,
    /// Threads of the generator.
    pub threads: usize,
    /// The CPUs of the threads, one each, in turn; empty leaves them to the system.
    pub cpus: Vec<usize>,
    /// Requests in flight per connection.
    pub pipeline: usize,
    /// What is sent.
    pub workload: Workload,
    /// Which keys.
    pub distribution: Distribution,
    /// When to send.
    pub pace: Pace,
    /// When to stop.
    pub stop: Stop,
    /// Ask CLUSTER SLOTS and send every key to its owner.
    pub cluster: bool,
    /// The server's process, to account its CPU time.
    pub pid: Option<u32>,
    /// Seed of the random keys.
    pub seed: u64,
}

impl LoadConfig {
    /// 50 connections without pipeline, SET and GET in turn, 100,000 uniform keys of 16 bytes, values of
    /// 256 bytes, for 10 seconds.
    pub fn to(endpoint: Endpoint) -> LoadConfig {
        let keys = KeySpace::new("key:", 16, 100_000).expect("twelve digits hold 100,000 keys");
        LoadConfig {
            endpoint,
            session: Session::default(),
            connections: 50,
            threads: 1,
            cpus: Vec::new(),
            pipeline: 1,
            workload: Workload::mix(keys, Ratio { sets: 1, gets: 1 }, 256),
            distribution: Distribution::Uniform,
            pace: Pace::Closed,
            stop: Stop::After(Duration::from_secs(10)),
            cluster: false,
            pid: None,
            seed: 1,
        }
    }

    /// The same target, asked to take every key of `workload` once, as fast as it goes.
    pub fn fill(&self, workload: Workload) -> LoadConfig {
        LoadConfig {
            workload,
            connections: self.connections.clamp(8, 64),
            threads: 1,
            pipeline: 64,
            distribution: Distribution::Sequential,
            pace: Pace::Closed,
            stop: Stop::EachKeyOnce,
            pid: None,
            ..self.clone()
        }
    }

    fn check(&self) -> Result<(), Error> {
        let usage = |text: String| Err(Error::Usage(text));
        if self.connections == 0 || self.threads == 0 || self.pipeline == 0 {
            return usage("--connections, --threads and --pipeline must be at least 1".into());
        }
        if self.threads > self.connections {
            return usage(format!(
                "{} threads cannot share {} connections; use at most one thread per connection",
                self.threads, self.connections
            ));
        }
        if let Pace::Open { rate, .. } = self.pace {
            if !(rate > 0.0 && rate <= 1e9) {
                return usage(format!("--rate {rate} is no rate; give requests per second"));
            }
        }
        if self.stop == Stop::EachKeyOnce && self.distribution != Distribution::Sequential {
            return usage("only a sequential run visits each key once".into());
        }
        if self.cluster && matches!(self.endpoint, Endpoint::Unix(_)) {
            return usage("--cluster needs TCP; give --host and --port instead of --unix".into());
        }
        Ok(())
    }
}

/// Runs it. Error replies are counted in the report; an `Err` means that there is no result.
pub fn run(config: &LoadConfig) -> Result<Report, Error> {
    config.check()?;
    let plans = plans(config)?;
    // The threads and this one, which looks at the server's CPU time as they start.
    let start = Barrier::new(plans.len() + 1);
    let before = config.pid.map(process::cpu_time).transpose()?;
    let parts = std::thread::scope(|scope| {
        let threads: Vec<_> =
            plans.into_iter().map(|plan| scope.spawn(|| worker::run(plan, &start))).collect();
        start.wait();
        let join = |thread: std::thread::ScopedJoinHandle<_>| match thread.join() {
            Ok(part) => part,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        threads.into_iter().map(join).collect::<Result<Vec<_>, Error>>()
    })?;
    let after = config.pid.map(process::cpu_time).transpose()?;
    Ok(Report::collect(parts, before.zip(after)))
}

/// A node to talk to.
struct Target {
    endpoint: Endpoint,
    /// In cluster mode: who owns which key, and which of them this is.
    filter: Option<(Owners, u16)>,
}

/// The nodes that own keys.
fn targets(config: &LoadConfig) -> Result<Vec<Target>, Error> {
    if !config.cluster {
        return Ok(vec![Target { endpoint: config.endpoint.clone(), filter: None }]);
    }
    let topology = Topology::ask(&config.endpoint, &config.session)?;
    let space = &config.workload.keys;
    if config.workload.routed_key(0).is_none() {
        // A command without keys is for every node.
        let every = |endpoint| Target { endpoint, filter: None };
        return Ok(topology.nodes.into_iter().map(every).collect());
    }
    let owners = Owners::new(space, &topology.node_of_slot, |id| {
        config.workload.routed_key(id).expect("checked for key 0; it does not depend on the key")
    });
    let owning = topology.nodes.into_iter().zip(0u16..).filter(|(_, n)| owners.owned(*n, 0, 1) > 0);
    let target = |(endpoint, n)| Target { endpoint, filter: Some((owners.clone(), n)) };
    Ok(owning.map(target).collect())
}

fn plans(config: &LoadConfig) -> Result<Vec<Plan>, Error> {
    let targets = targets(config)?;
    let threads = config.threads;
    let connections = config.connections;
    if connections < targets.len() * threads {
        return Err(Error::Usage(format!(
            "{connections} connections are too few for {threads} threads that each talk to {} nodes",
            targets.len()
        )));
    }
    let cycle = config.workload.cycle();
    let end_ns = match config.stop {
        Stop::After(time) => time.as_nanos() as u64,
        Stop::Requests(_) | Stop::EachKeyOnce => u64::MAX,
    };
    let mut plans = Vec::new();
    for thread in 0..threads {
        let share = (thread as u64, threads as u64);
        let node = |target: &Target| Node {
            endpoint: target.endpoint.clone(),
            keys: KeySource::new(&config.workload.keys, config.distribution, share, target.filter.clone()),
            budget: 0,
        };
        let mut plan = Plan {
            cpu: (!config.cpus.is_empty()).then(|| config.cpus[thread % config.cpus.len()]),
            connections: Vec::new(),
            nodes: targets.iter().map(node).collect(),
            cycle: cycle.clone(),
            space: config.workload.keys.clone(),
            pipeline: config.pipeline,
            end_ns,
            schedule: match config.pace {
                Pace::Closed => None,
                Pace::Open { rate, arrivals } => {
                    let seed = config.seed ^ (thread as u64) << 32;
                    Some(schedule::Schedule::new(rate, arrivals, share.0, share.1, seed))
                }
            },
            rng: fastrand::Rng::with_seed(config.seed.wrapping_mul(0x9e37_79b9) ^ thread as u64),
        };
        for index in part(connections as u64, thread, threads) {
            let node = index as usize % targets.len();
            let client = Client::connect(&targets[node].endpoint, &config.session)?;
            let stream = client.into_stream();
            let phase = if config.workload.in_step { 0 } else { index as usize % cycle.len() };
            plan.connections.push(Opened { stream, node, phase });
        }
        for (n, target) in targets.iter().enumerate() {
            plan.nodes[n].budget = match config.stop {
                Stop::After(_) => u64::MAX,
                Stop::Requests(total) => {
                    let mine = part(total, thread, threads);
                    let mine = part(mine.end - mine.start, n, targets.len());
                    mine.end - mine.start
                }
                Stop::EachKeyOnce => match &target.filter {
                    None => (config.workload.keys.count() + threads as u64 - 1 - share.0) / share.1,
                    Some((owners, node)) => owners.owned(*node, share.0, share.1),
                },
            };
        }
        plans.push(plan);
    }
    Ok(plans)
}

/// Part `index` of `of` nearly equal parts of `0..total`.
fn part(total: u64, index: usize, of: usize) -> std::ops::Range<u64> {
    let at = |i: usize| (u128::from(total) * i as u128 / of as u128) as u64;
    at(index)..at(index + 1)
}

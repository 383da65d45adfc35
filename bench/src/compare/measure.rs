//! One round of one scenario with one subject: start, fill, measure, stop.

use std::time::{Duration, Instant};

use super::commands::{self, Case};
use super::elements;
use super::figures::{Metric, Sample};
use super::scenario::{Kind, Placement, Scenario, Shape};
use super::server::Server;
use super::subject::Subject;
use crate::load::{self, Distribution, KeySpace, LoadConfig, Ratio, Report, Stop, Workload};
use crate::sys::process;
use crate::Error;

/// What all runs have in common.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) seconds: Duration,
    pub(crate) server_cpus: Vec<usize>,
    pub(crate) load_cpus: Vec<usize>,
    pub(crate) keys: u64,
    pub(crate) value_size: usize,
    pub(crate) memory_keys: u64,
    pub(crate) growth_keys: u64,
}

/// Bytes of a key in every scenario.
const KEY_BYTES: usize = 16;
const SETS: Ratio = Ratio { sets: 1, gets: 0 };
/// Two readings of the memory this far apart that agree are the result.
const SETTLE: Duration = Duration::from_millis(200);
const SETTLE_MAX: Duration = Duration::from_secs(5);

impl Setup {
    /// The cores of server and load.
    fn cpus(&self, placement: Placement) -> Result<(Vec<usize>, Vec<usize>), Error> {
        let Placement::Shared { workers, .. } = placement else {
            return Ok((self.server_cpus.clone(), self.load_cpus.clone()));
        };
        let mut all = [self.server_cpus.clone(), self.load_cpus.clone()].concat();
        all.sort_unstable();
        all.dedup();
        if all.len() < workers {
            return Err(Error::Usage(format!(
                "{workers} workers need {workers} cores, but --server-cpu and --load-cpu have {} together",
                all.len()
            )));
        }
        all.truncate(workers);
        Ok((all.clone(), all))
    }
}

/// Runs one round; the version that the server told comes with the figures.
pub(crate) fn measure(
    setup: &Setup,
    scenario: &Scenario,
    subject: &Subject,
) -> Result<(Sample, String), Error> {
    let placement = match scenario.kind {
        Kind::Load { placement, .. } => placement,
        _ => Placement::Apart,
    };
    let (server_cpus, load_cpus) = setup.cpus(placement)?;
    let server = Server::start(subject, &server_cpus)?;
    let mut base = LoadConfig::to(server.endpoint.clone());
    base.threads = load_cpus.len();
    base.cpus = load_cpus;
    base.pid = Some(server.pid());
    base.cluster = subject.cluster_ports;
    let sample = match scenario.kind {
        Kind::Load { shape, .. } => under_load(setup, shape, &server, base)?,
        Kind::Memory { value_size } => memory(setup.memory_keys, value_size, &server, base)?,
        Kind::Elements(index) => per_element(&elements::CASES[index], &server, base)?,
        Kind::Growth => growth(setup.growth_keys, &server, base)?,
        Kind::Idle => idle(setup.seconds, &server)?,
        Kind::Command(index) => command(setup, &commands::CASES[index], &server, base)?,
    };
    Ok((sample, server.version.clone()))
}

/// A run whose error replies are a failure: they are cheaper than answers.
fn clean(server: &Server, config: &LoadConfig) -> Result<Report, Error> {
    let report = load::run(config)?;
    if report.errors == 0 {
        return Ok(report);
    }
    Err(Error::Refused {
        command: format!("{} of {} requests to {}", report.errors, report.requests, server.endpoint),
        reply: report.error_samples.join("; "),
    })
}

fn keys(count: u64) -> Result<KeySpace, Error> {
    KeySpace::new("key:", KEY_BYTES, count)
}

fn fill(server: &Server, base: &LoadConfig, count: u64, value_size: usize) -> Result<Report, Error> {
    let report = clean(server, &base.fill(Workload::mix(keys(count)?, SETS, value_size)))?;
    has_keys(server, count)?;
    Ok(report)
}

fn has_keys(server: &Server, count: u64) -> Result<(), Error> {
    let found = server.key_count()?;
    if found == count {
        return Ok(());
    }
    let (command, reply) = ("DBSIZE".into(), format!("{found} after {count} different keys were written"));
    Err(Error::Refused { command, reply })
}

fn under_load(setup: &Setup, shape: Shape, server: &Server, base: LoadConfig) -> Result<Sample, Error> {
    fill(server, &base, setup.keys, setup.value_size)?;
    let config = LoadConfig {
        connections: shape.connections,
        threads: base.threads.min(shape.connections),
        pipeline: shape.pipeline,
        workload: Workload::mix(keys(setup.keys)?, shape.ratio, setup.value_size),
        stop: Stop::After(setup.seconds),
        ..base
    };
    loaded(setup, server, &config)
}

/// Bytes of `__key__` and of `__data__` in the commands on collections.
const MEMBER_BYTES: usize = 12;
const DATA_BYTES: usize = 16;

fn command(setup: &Setup, case: &Case, server: &Server, base: LoadConfig) -> Result<Sample, Error> {
    let keys = KeySpace::new("", MEMBER_BYTES, case.keys)?;
    if let Some(text) = case.fill {
        clean(server, &base.fill(Workload::command(keys.clone(), text, DATA_BYTES)?))?;
    }
    let config = LoadConfig {
        connections: 50,
        pipeline: 16,
        workload: Workload::command(keys, case.load, DATA_BYTES)?,
        stop: Stop::Requests(case.requests),
        ..base
    };
    loaded(setup, server, &config)
}

/// One measured load.
fn loaded(setup: &Setup, server: &Server, config: &LoadConfig) -> Result<Sample, Error> {
    let mut cpus = [setup.server_cpus.clone(), setup.load_cpus.clone()].concat();
    cpus.sort_unstable();
    cpus.dedup();
    let (begun, before) = (Instant::now(), process::time_on(&cpus)?);
    let report = clean(server, config)?;
    let ours = report.load_cpu + report.server_cpu.map_or(Duration::ZERO, |(user, sys)| user + sys);
    let others = process::time_on(&cpus)?.saturating_sub(before + ours);
    let others = others.as_secs_f64() / (begun.elapsed().as_secs_f64() * cpus.len() as f64);
    let mut sample = latencies(&report);
    let (user, sys) = report.server_cpu_us().unwrap_or_default();
    sample.extend([
        (Metric::Cpu, user + sys),
        (Metric::CpuUser, user),
        (Metric::CpuSys, sys),
        (Metric::LoadBusy, report.load_busy()),
        (Metric::Others, others),
        (Metric::Start, server.start.as_secs_f64() * 1e3),
    ]);
    Ok(sample)
}

fn latencies(report: &Report) -> Sample {
    Sample::from([
        (Metric::Throughput, report.throughput()),
        (Metric::P50, report.percentile_us(50.0)),
        (Metric::P99, report.percentile_us(99.0)),
        (Metric::P999, report.percentile_us(99.9)),
        (Metric::Max, report.max_us()),
    ])
}

fn memory(count: u64, value_size: usize, server: &Server, base: LoadConfig) -> Result<Sample, Error> {
    let before = settled_memory(server)?;
    let report = fill(server, &base, count, value_size)?;
    let grown = settled_memory(server)? as f64 - before as f64;
    let per_key = grown / count as f64 - (KEY_BYTES + value_size) as f64;
    Ok(Sample::from([(Metric::BytesPerKey, per_key), (Metric::Throughput, report.throughput())]))
}

/// What collections take in all, by element: what their keys and the elements' own bytes take included.
fn per_element(case: &elements::Case, server: &Server, base: LoadConfig) -> Result<Sample, Error> {
    let before = settled_memory(server)?;
    let keys = KeySpace::new("", elements::KEY_BYTES, case.requests)?;
    let report = clean(server, &base.fill(Workload::command(keys, &case.template(), DATA_BYTES)?))?;
    has_keys(server, case.keys)?;
    let grown = settled_memory(server)? as f64 - before as f64;
    let elements = (grown / case.total() as f64, report.throughput() * case.elements as f64);
    Ok(Sample::from([(Metric::BytesPerElement, elements.0), (Metric::Throughput, elements.1)]))
}

/// Resident memory once it stands still: buffers of closed connections go back a little later.
fn settled_memory(server: &Server) -> Result<u64, Error> {
    let begun = Instant::now();
    let mut last = process::resident_bytes(server.pid())?;
    loop {
        std::thread::sleep(SETTLE);
        let now = process::resident_bytes(server.pid())?;
        if now == last || begun.elapsed() > SETTLE_MAX {
            return Ok(now);
        }
        last = now;
    }
}

fn growth(count: u64, server: &Server, base: LoadConfig) -> Result<Sample, Error> {
    let growing = LoadConfig {
        workload: Workload::mix(keys(count)?, SETS, 64),
        distribution: Distribution::Sequential,
        stop: Stop::EachKeyOnce,
        ..base
    };
    let report = clean(server, &growing)?;
    has_keys(server, count)?;
    // The same load for the same time on the same keys: what the machine and the generator do to the
    // longest wait without any growth.
    let standing =
        LoadConfig { distribution: Distribution::Uniform, stop: Stop::After(report.elapsed), ..growing };
    let mut sample = latencies(&report);
    sample.insert(Metric::MaxWithoutGrowth, clean(server, &standing)?.max_us());
    Ok(sample)
}

fn idle(time: Duration, server: &Server) -> Result<Sample, Error> {
    let clients = (0..50).map(|_| server.client()).collect::<Result<Vec<_>, _>>()?;
    let before = process::cpu_time(server.pid())?;
    let begun = Instant::now();
    std::thread::sleep(time);
    let after = process::cpu_time(server.pid())?;
    let seconds = begun.elapsed().as_secs_f64();
    drop(clients);
    let used = (after.user + after.sys).saturating_sub(before.user + before.sys);
    let start = server.start.as_secs_f64() * 1e3;
    Ok(Sample::from([(Metric::IdleCpu, used.as_secs_f64() * 1e3 / seconds), (Metric::Start, start)]))
}

//! Servers in alternation: each scenario is run with every subject in turn, for so many rounds, each time
//! with a fresh server on pinned cores, so that what changes on the machine meanwhile meets all of them.

use std::fs;
use std::path::PathBuf;

use crate::load::args::seconds_of;
use crate::sys::affinity::CpuList;
use crate::Error;
use figures::Rounds;
use measure::Setup;
use results::{Results, Row, Section};
use scenario::{Kind, Placement, Scenario};
use subject::{Subject, SubjectArgs};

mod chart;
mod commands;
mod elements;
mod figures;
mod measure;
mod results;
mod scenario;
pub(crate) mod server;
pub(crate) mod subject;

/// Compare Kora with its peers, in alternation, on pinned cores.
#[derive(clap::Args, Debug)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    subjects: SubjectArgs,
    /// The server that ratios are relative to [default: redis-server, else the first].
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
    /// How often each subject is measured in each scenario (memory, growth and idle: once).
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load per measurement.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// The server's CPUs.
    #[arg(long, default_value = "0", value_name = "LIST")]
    server_cpu: CpuList,
    /// The load's CPUs, one thread each.
    #[arg(long, default_value = "1", value_name = "LIST")]
    load_cpu: CpuList,
    /// Kora's workers, except in the scenarios that say their number.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// What to measure; may be repeated. Groups: load, w2, cluster-w2, memory, elements, commands, zset-1m, all.
    #[arg(long, value_name = "NAME", default_value = "load")]
    scenario: Vec<String>,
    /// Keys under load.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Bytes of a value under load.
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    value_size: usize,
    /// Keys of the memory scenarios.
    #[arg(long, default_value_t = 2_000_000)]
    memory_keys: u64,
    /// Keys at the end of the growth scenario.
    #[arg(long, default_value_t = 5_000_000)]
    growth_keys: u64,
    /// Where to write compare.md, compare.json and compare.svg.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl CompareArgs {
    /// Who takes part; redis-server, to which the others are compared, goes first.
    fn subjects(&self) -> Result<Vec<Subject>, Error> {
        let mut subjects = self.subjects.subjects(self.workers)?;
        subjects.sort_by_key(|subject| subject.name != "redis-server");
        Ok(subjects)
    }

    /// Who takes part in a scenario, and whom the ratios are relative to.
    fn cast(&self, scenario: &Scenario, subjects: &[Subject]) -> Result<(Vec<Subject>, String), Error> {
        let Kind::Load { placement: Placement::Shared { workers, cluster }, .. } = scenario.kind else {
            let default = || {
                let redis = subjects.iter().find(|s| s.name == "redis-server");
                redis.unwrap_or(&subjects[0]).name.clone()
            };
            let baseline = self.baseline.clone().unwrap_or_else(default);
            if !subjects.iter().any(|s| s.name == baseline) {
                let names: Vec<&str> = subjects.iter().map(|s| s.name.as_str()).collect();
                let text = format!("--baseline {baseline} is none of {}", names.join(", "));
                return Err(Error::Usage(text));
            }
            return Ok((subjects.to_vec(), baseline));
        };
        let Some(kora) = subjects.iter().find(|s| s.workers.is_some()) else {
            return Err(Error::Usage(format!("{} is about Kora's workers; give --kora", scenario.name)));
        };
        let with = |n: usize, cluster_ports: bool| {
            let ports = if cluster_ports { " on cluster ports" } else { "" };
            let plural = if n == 1 { "" } else { "s" };
            let name = format!("kora, {n} worker{plural}{ports}");
            Subject { name, cluster_ports, ..Subject::kora(&kora.path, n, &self.subjects.kora_arg) }
        };
        let cast = vec![with(1, false), with(workers, cluster)];
        let baseline = cast[0].name.clone();
        Ok((cast, baseline))
    }

    fn setup(&self) -> Result<Setup, Error> {
        if self.rounds == 0 || self.workers == 0 {
            return Err(Error::Usage("--rounds and --workers must be at least 1".into()));
        }
        Ok(Setup {
            seconds: seconds_of("--seconds", self.seconds)?,
            server_cpus: self.server_cpu.0.clone(),
            load_cpus: self.load_cpu.0.clone(),
            keys: self.keys,
            value_size: self.value_size,
            memory_keys: self.memory_keys,
            growth_keys: self.growth_keys,
        })
    }

    /// Measures, prints, writes. False when something failed on the way.
    pub(crate) fn run(&self) -> Result<bool, Error> {
        let setup = self.setup()?;
        let subjects = self.subjects()?;
        let mut planned = Vec::new();
        for name in &self.scenario {
            for scenario in Scenario::named(name).map_err(Error::Usage)? {
                let cast = self.cast(&scenario, &subjects)?;
                planned.push((scenario, cast));
            }
        }
        if let Some(out) = &self.out {
            fs::create_dir_all(out).map_err(Error::io(out.display().to_string()))?;
        }
        let mut results = Results { about: about(&setup), sections: Vec::new() };
        for (scenario, (cast, baseline)) in planned {
            results.sections.push(self.section(&setup, scenario, &cast, baseline)?);
            // After every scenario, so that a long comparison that is broken off leaves what it had.
            self.write(&results)?;
        }
        print!("{}", results.markdown());
        Ok(!results.failed())
    }

    fn section(
        &self,
        setup: &Setup,
        scenario: Scenario,
        cast: &[Subject],
        baseline: String,
    ) -> Result<Section, Error> {
        let rounds =
            if matches!(scenario.kind, Kind::Load { .. } | Kind::Command(_)) { self.rounds } else { 1 };
        let mut rows: Vec<Row> = cast
            .iter()
            .map(|subject| Row {
                subject: subject.name.clone(),
                version: String::new(),
                rounds: Rounds::default(),
                failures: Vec::new(),
            })
            .collect();
        for round in 1..=rounds {
            for (subject, row) in cast.iter().zip(&mut rows) {
                eprintln!("{} round {round} of {rounds}: {}", scenario.name, subject.name);
                match measure::measure(setup, &scenario, subject) {
                    Ok((sample, version)) => {
                        row.version = version;
                        row.rounds.0.push(Some(sample));
                    }
                    Err(error @ Error::Usage(_)) => return Err(error),
                    Err(error) => {
                        eprintln!("kora-bench: {error}");
                        row.rounds.0.push(None);
                        let text = error.to_string().replace('\n', " / ");
                        if !row.failures.contains(&text) {
                            row.failures.push(text);
                        }
                    }
                }
            }
        }
        let title = match scenario.kind {
            Kind::Memory { .. } => format!("{}, {} keys", scenario.title(0), setup.memory_keys),
            Kind::Growth => format!("{}, up to {} keys", scenario.title(0), setup.growth_keys),
            _ => scenario.title(setup.value_size),
        };
        Ok(Section { scenario, title, baseline, rows })
    }

    fn write(&self, results: &Results) -> Result<(), Error> {
        let Some(out) = &self.out else { return Ok(()) };
        let files = [
            ("compare.md", results.markdown()),
            ("compare.json", format!("{}\n", results.json())),
            ("compare.svg", chart::svg(&results.panels())),
        ];
        for (name, content) in files {
            let path = out.join(name);
            fs::write(&path, content).map_err(Error::io(path.display().to_string()))?;
        }
        Ok(())
    }
}

/// Machine and command, for those who read the results later.
fn about(setup: &Setup) -> Vec<(&'static str, String)> {
    let line = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let found = text.lines().find(|line| line.starts_with(name));
        found.map_or(String::new(), |l| {
            l.trim_start_matches(name).trim_start_matches([' ', '\t', ':']).to_string()
        })
    };
    let cpu = line("/proc/cpuinfo", "model name");
    let kernel = line("/proc/sys/kernel/osrelease", "");
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    vec![
        ("command", format!("`kora-bench {command}`")),
        ("machine", format!("{cpu}, Linux {kernel}")),
        ("cores", format!("server on CPU {:?}, load on CPU {:?}", setup.server_cpus, setup.load_cpus)),
        (
            "figures",
            "median of the rounds (smallest..largest); ratios are medians of the ratios within a round"
                .into(),
        ),
    ]
}

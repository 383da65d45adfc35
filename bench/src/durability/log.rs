//! What a log costs: throughput, server CPU and latency of SETs.

use std::fmt::Write as _;
use std::time::Duration;

use super::{logging, median, ratios, verdicts, DurabilityArgs, Sync, Verdict, Wanted, KEY_BYTES};
use crate::compare::server::Server;
use crate::compare::subject::Subject;
use crate::load::args::seconds_of;
use crate::load::{self, KeySpace, LoadConfig, Ratio, Stop, Workload};
use crate::sys::process::time_on;
use crate::Error;

/// Keys that are written again and again.
const KEYS: u64 = 100_000;
/// How long the disk may rest between two loads: what one server has left to be written back must not cost the next one.
const REST: Duration = Duration::from_secs(1);

/// Of one server, one value per round.
#[derive(Default)]
struct Figures {
    throughput: Vec<f64>,
    /// Microseconds per request: of the server's process.
    cpu: Vec<f64>,
    /// The same of all that ran on the server's core, the kernel's own threads included.
    core: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    max: Vec<f64>,
}

/// Who is compared with whom.
struct Servers {
    subjects: Vec<Subject>,
    /// Kora without a log, with one that is written every second, and at every write.
    kora: [usize; 3],
    /// Peers with a log of either kind, and their names.
    peers: Vec<(String, [usize; 2])>,
}

impl DurabilityArgs {
    pub(super) fn log(&self) -> Result<String, Error> {
        let seconds = seconds_of("--seconds", self.seconds)?;
        let servers = self.servers()?;
        let mut figures: Vec<Figures> = servers.subjects.iter().map(|_| Figures::default()).collect();
        let started: Vec<Server> = servers
            .subjects
            .iter()
            .map(|subject| Server::start(subject, &self.server_cpu.0))
            .collect::<Result<_, _>>()?;
        for server in &started {
            // Every key is there, and caches are warm.
            load::run(&self.config(server)?.fill(self.workload()?))?;
        }
        for round in 0..self.rounds {
            for at in 0..started.len() {
                // Each round begins with another one.
                let at = (at + round) % started.len();
                std::thread::sleep(REST);
                self.measure(&started[at], seconds, &mut figures[at])?;
            }
        }
        Ok(self.report(&servers, &figures))
    }

    fn servers(&self) -> Result<Servers, Error> {
        let (kora, others) = self.kora_and_peers()?;
        let mut subjects =
            vec![kora.clone(), logging(&kora, Sync::EverySecond), logging(&kora, Sync::EveryWrite)];
        let mut peers = Vec::new();
        for peer in others {
            let at = subjects.len();
            subjects.extend([logging(&peer, Sync::EverySecond), logging(&peer, Sync::EveryWrite)]);
            peers.push((peer.name, [at, at + 1]));
        }
        Ok(Servers { subjects, kora: [0, 1, 2], peers })
    }

    fn workload(&self) -> Result<Workload, Error> {
        let keys = KeySpace::new("key:", KEY_BYTES, KEYS)?;
        Ok(Workload::mix(keys, Ratio { sets: 1, gets: 0 }, self.value_size))
    }

    fn config(&self, server: &Server) -> Result<LoadConfig, Error> {
        Ok(LoadConfig {
            workload: self.workload()?,
            connections: self.connections,
            cpus: self.load_cpu.0.clone(),
            pid: Some(server.pid()),
            ..LoadConfig::to(server.endpoint.clone())
        })
    }

    fn measure(&self, server: &Server, seconds: Duration, figures: &mut Figures) -> Result<(), Error> {
        let before = time_on(&self.server_cpu.0)?;
        let report = load::run(&LoadConfig { stop: Stop::After(seconds), ..self.config(server)? })?;
        let core = time_on(&self.server_cpu.0)?.saturating_sub(before);
        if report.errors > 0 {
            let reply = report.error_samples.join("; ");
            return Err(Error::Refused { command: "SET".into(), reply });
        }
        let (user, sys) = report.server_cpu_us().unwrap_or_default();
        figures.throughput.push(report.throughput());
        figures.cpu.push(user + sys);
        figures.core.push(core.as_secs_f64() * 1e6 / report.requests as f64);
        figures.p50.push(report.percentile_us(50.0));
        figures.p99.push(report.percentile_us(99.0));
        figures.max.push(report.max_us());
        Ok(())
    }

    fn report(&self, servers: &Servers, figures: &[Figures]) -> String {
        let mut text = format!(
            "SET of {} bytes, {} connections, medians of {} rounds of {} s, files in {}\n\n\
             | server | requests/s | CPU per request, us | of the core | p50, us | p99, us | longest, us |\n\
             |---|---|---|---|---|---|---|\n",
            self.value_size,
            self.connections,
            self.rounds,
            self.seconds,
            std::env::temp_dir().display()
        );
        for (subject, figures) in servers.subjects.iter().zip(figures) {
            let of = |values: &Vec<f64>| median(values.clone());
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "| {} | {:.0} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} |",
                subject.name,
                of(&figures.throughput),
                of(&figures.cpu),
                of(&figures.core),
                of(&figures.p50),
                of(&figures.p99),
                of(&figures.max)
            );
        }
        let [plain, second, write] = servers.kora.map(|at| &figures[at]);
        let mut list = vec![Verdict {
            what: "CPU per request: every_second / without a log".into(),
            ratios: ratios(&second.cpu, &plain.cpu),
            wanted: Wanted::AtMost(1.25),
        }];
        for (name, at) in &servers.peers {
            let [everysec, always] = at.map(|at| &figures[at]);
            list.push(Verdict {
                what: format!("CPU per request: every_second / {name} everysec"),
                ratios: ratios(&second.cpu, &everysec.cpu),
                wanted: Wanted::AtMost(0.75),
            });
            list.push(Verdict {
                what: format!("throughput: every_write / {name} always"),
                ratios: ratios(&write.throughput, &always.throughput),
                wanted: Wanted::AtLeast(1.5),
            });
        }
        format!("{text}\n{}", verdicts(&list))
    }
}

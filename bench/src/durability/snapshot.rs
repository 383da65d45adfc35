//! What a snapshot costs those who are served meanwhile, and the machine in memory.
//!
//! GETs arrive by the clock (20 connections, Poisson), SETs likewise beside them; first for a while without a snapshot, then for as long as one takes. Percentiles are over all GETs
//! of either part. A peer that forks doubles what its parent touches: that is memory of the machine, not of the process, so both are told.

use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::{is_kora, logging, ratios, verdicts, with, DurabilityArgs, Sync, Verdict, Wanted};
use crate::client::Value;
use crate::compare::server::Server;
use crate::compare::subject::Subject;
use crate::load::{self, Arrivals, LoadConfig, Pace, Ratio, Stop, Workload};
use crate::sys::process::resident_bytes;
use crate::Error;

/// Between two looks at memory.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Length of one of the loads that follow each other until the snapshot is done.
const SLICE: Duration = Duration::from_millis(500);
/// A snapshot that takes longer is none.
const SNAPSHOT_MAX: Duration = Duration::from_secs(600);

/// Of one server.
struct Waits {
    name: String,
    /// Without a snapshot and with one.
    p50: [f64; 2],
    p99: [f64; 2],
    max: [f64; 2],
    took: Duration,
    /// Bytes: resident before, and at most meanwhile.
    resident: [u64; 2],
    /// Bytes of the machine that were free before and were not meanwhile.
    taken: u64,
}

/// The most that was seen of something while it was looked at.
#[derive(Default)]
struct Memory {
    resident: AtomicU64,
    least_available: AtomicU64,
}

impl DurabilityArgs {
    pub(super) fn snapshot(&self) -> Result<String, Error> {
        let (kora, peers) = self.kora_and_peers()?;
        let mut subjects = vec![logging(&kora, Sync::EverySecond)];
        subjects.extend(peers.iter().map(|peer| with(peer, peer.name.clone(), &["--dir", "{dir}"])));
        let mut waits = Vec::new();
        // One after the other: two servers with millions of keys need not fit beside each other.
        for subject in &subjects {
            let rounds: Result<Vec<Waits>, Error> = self.snapshots_of(subject);
            waits.push(rounds?);
        }
        Ok(self.waits(&waits))
    }

    fn snapshots_of(&self, subject: &Subject) -> Result<Vec<Waits>, Error> {
        let server = Server::start(subject, &self.server_cpu.0)?;
        let base = LoadConfig { cpus: self.load_cpu.0.clone(), ..LoadConfig::to(server.endpoint.clone()) };
        let keys = self.stored_keys()?;
        load::run(&base.fill(Workload::mix(keys, Ratio { sets: 1, gets: 0 }, self.stored_size)))?;
        let found = server.key_count()?;
        if found != self.keys {
            let reply = format!("{found} keys instead of {}", self.keys);
            return Err(Error::Refused { command: "DBSIZE".into(), reply });
        }
        (0..self.rounds).map(|_| self.beside_snapshot(&subject.name, &server, &base)).collect()
    }

    fn beside_snapshot(&self, name: &str, server: &Server, base: &LoadConfig) -> Result<Waits, Error> {
        let workload = |gets: u32| {
            let ratio = Ratio { sets: 1 - gets, gets };
            Ok::<_, Error>(Workload::mix(self.stored_keys()?, ratio, self.stored_size))
        };
        let paced = |workload: Workload, time: Duration, seed: u64| LoadConfig {
            workload,
            connections: 20,
            pace: Pace::Open { rate: self.rate, arrivals: Arrivals::Poisson },
            stop: Stop::After(time),
            seed,
            ..base.clone()
        };
        let (reads, writes) = (workload(1)?, workload(0)?);
        let (done, memory) = (AtomicBool::new(false), Memory::default());
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut seed = 1;
                while !done.load(Ordering::Relaxed) {
                    seed += 1;
                    load::run(&paced(writes.clone(), SLICE, seed))?;
                }
                Ok::<_, Error>(())
            });
            let looker = scope.spawn(|| memory.look(server.pid(), &done));
            let result = self.read_beside(name, server, &memory, |time, seed| {
                Ok(load::run(&paced(reads.clone(), time, seed))?.latency)
            });
            done.store(true, Ordering::Relaxed);
            writer.join().expect("the writer does not panic")?;
            looker.join().expect("who looks at memory does not panic")?;
            result
        })
    }

    /// GETs without a snapshot, then with one until it is done.
    fn read_beside(
        &self,
        name: &str,
        server: &Server,
        memory: &Memory,
        read: impl Fn(Duration, u64) -> Result<Histogram<u64>, Error>,
    ) -> Result<Waits, Error> {
        // The writer begins.
        std::thread::sleep(SLICE);
        let without = read(Duration::from_secs_f64(self.seconds), 1)?;
        let (resident, available) = (resident_bytes(server.pid())?, available_bytes()?);
        memory.begin(resident, available);
        let begun = Instant::now();
        let mut client = server.client()?;
        client.expect("BGSAVE", &[b"BGSAVE"])?;
        let mut with = read(SLICE, 2)?;
        let mut seed = 2;
        let mut took = begun.elapsed();
        while field(server, "rdb_bgsave_in_progress")? != "0" {
            if begun.elapsed() > SNAPSHOT_MAX {
                let reply = format!("not done after {SNAPSHOT_MAX:?}");
                return Err(Error::Refused { command: "BGSAVE".into(), reply });
            }
            seed += 1;
            with.add(read(SLICE, seed)?).expect("all loads have the same bounds");
            took = begun.elapsed();
        }
        let status = field(server, "rdb_last_bgsave_status")?;
        if status != "ok" {
            return Err(Error::Refused { command: "BGSAVE".into(), reply: status });
        }
        let of = |quantile: f64| [&without, &with].map(|h| h.value_at_quantile(quantile) as f64 / 1e3);
        Ok(Waits {
            name: name.to_owned(),
            p50: of(0.5),
            p99: of(0.99),
            max: [&without, &with].map(|h| h.max() as f64 / 1e3),
            took,
            resident: [resident, memory.resident.load(Ordering::Relaxed)],
            taken: available.saturating_sub(memory.least_available.load(Ordering::Relaxed)),
        })
    }

    fn waits(&self, servers: &[Vec<Waits>]) -> String {
        let mut text = format!(
            "GETs beside a snapshot of {} keys with values of {} bytes, {} GETs and {} SETs a second\n\n\
             | server | snapshot, s | p50, us: without, with | p99 | longest | resident, MiB: before, at most | of the machine |\n\
             |---|---|---|---|---|---|---|\n",
            self.keys, self.stored_size, self.rate, self.rate
        );
        let mib = |bytes: u64| bytes >> 20;
        for round in servers.iter().flatten() {
            let two = |values: [f64; 2]| format!("{:.0}, {:.0}", values[0], values[1]);
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "| {} | {:.1} | {} | {} | {} | {}, {} | {} |",
                round.name,
                round.took.as_secs_f64(),
                two(round.p50),
                two(round.p99),
                two(round.max),
                mib(round.resident[0]),
                mib(round.resident[1]),
                mib(round.taken)
            );
        }
        let of = |f: fn(&Waits) -> f64, rounds: &[Waits]| rounds.iter().map(f).collect::<Vec<f64>>();
        let mut list = Vec::new();
        for rounds in servers {
            let Some(first) = rounds.first() else { continue };
            list.push(Verdict {
                what: format!("{}: p99 with a snapshot / without", first.name),
                ratios: ratios(&of(|w| w.p99[1], rounds), &of(|w| w.p99[0], rounds)),
                wanted: Wanted::AtMost(1.5),
            });
            list.push(Verdict {
                what: format!("{}: memory at most / before, of the machine", first.name),
                ratios: of(|w| (w.resident[0] + w.taken) as f64 / w.resident[0] as f64, rounds),
                wanted: Wanted::AtMost(1.1),
            });
        }
        format!("{text}\n{}", verdicts(&list))
    }
}

impl Memory {
    fn begin(&self, resident: u64, available: u64) {
        self.resident.store(resident, Ordering::Relaxed);
        self.least_available.store(available, Ordering::Relaxed);
    }

    /// Looks until it is over.
    fn look(&self, pid: u32, done: &AtomicBool) -> Result<(), Error> {
        while !done.load(Ordering::Relaxed) {
            self.resident.fetch_max(resident_bytes(pid)?, Ordering::Relaxed);
            self.least_available.fetch_min(available_bytes()?, Ordering::Relaxed);
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

/// Memory that the machine could give to somebody, page cache included.
fn available_bytes() -> Result<u64, Error> {
    let path = "/proc/meminfo";
    let text = fs::read_to_string(path).map_err(Error::io(path))?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| Error::Usage(format!("{path} has no MemAvailable in it")))
}

/// A field of INFO persistence; empty if there is none.
pub(super) fn field(server: &Server, name: &str) -> Result<String, Error> {
    let Value::Text(info) = server.client()?.expect("INFO", &[b"INFO", b"persistence"])? else {
        return Ok(String::new());
    };
    let info = String::from_utf8_lossy(&info).into_owned();
    let found = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(found.unwrap_or_default().trim().to_owned())
}

/// Takes a snapshot and waits for it.
pub(super) fn save(server: &Server, subject: &Subject) -> Result<(), Error> {
    let fail = |reply: String| Error::Refused { command: "BGSAVE".into(), reply };
    server.client()?.expect("BGSAVE", &[b"BGSAVE"])?;
    let begun = Instant::now();
    while field(server, "rdb_bgsave_in_progress")? != "0" {
        if begun.elapsed() > SNAPSHOT_MAX {
            return Err(fail(format!("not done after {SNAPSHOT_MAX:?}")));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    match field(server, "rdb_last_bgsave_status")?.as_str() {
        "ok" => Ok(()),
        other => Err(fail(format!("{}: {other}", if is_kora(subject) { "kora" } else { &subject.name }))),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_machine_has_memory() {
        assert!(super::available_bytes().unwrap() > 1 << 20);
    }
}

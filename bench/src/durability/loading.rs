//! How fast a server is back: keys per second at its start, from a snapshot and from the log.
//!
//! The time is that of the whole start, up to the first PING that is answered with PONG; what a start without data takes is subtracted. CPU time is told as well, because a server
//! may use several threads: keys per second of CPU is what can be compared per core.

use std::fmt::Write as _;
use std::time::Duration;

use super::snapshot::save;
use super::{is_kora, logging, median, verdicts, with, DurabilityArgs, Sync, Verdict, Wanted, LOADING_MAX};
use crate::compare::server::Server;
use crate::compare::subject::Subject;
use crate::load::{self, LoadConfig, Ratio, Workload};
use crate::sys::process::cpu_time;
use crate::Error;

/// Of one server, one value per round: seconds.
struct Starts {
    name: String,
    from: &'static str,
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

impl DurabilityArgs {
    pub(super) fn loading(&self) -> Result<String, Error> {
        let (kora, peers) = self.kora_and_peers()?;
        let mut starts = Vec::new();
        for subject in std::iter::once(&kora).chain(&peers) {
            let in_folder = with(subject, subject.name.clone(), &["--dir", "{dir}"]);
            // Kora's snapshots lie with its log; a peer has one file or the other.
            let saved = if is_kora(subject) { logging(subject, Sync::EverySecond) } else { in_folder };
            starts.push(self.starts_of(&saved, &subject.name, true)?);
            starts.push(self.starts_of(&logging(subject, Sync::EverySecond), &subject.name, false)?);
        }
        Ok(self.starts(&starts))
    }

    fn starts_of(&self, subject: &Subject, name: &str, from_snapshot: bool) -> Result<Starts, Error> {
        let mut server = Server::start(subject, &self.server_cpu.0)?;
        let (empty_wall, empty_cpu) = times(&server)?;
        let base = LoadConfig { cpus: self.load_cpu.0.clone(), ..LoadConfig::to(server.endpoint.clone()) };
        let keys = self.stored_keys()?;
        load::run(&base.fill(Workload::mix(keys, Ratio { sets: 1, gets: 0 }, self.stored_size)))?;
        if from_snapshot {
            save(&server, subject)?;
        }
        let from = if from_snapshot { "snapshot" } else { "log" };
        let mut starts = Starts { name: name.to_owned(), from, wall: Vec::new(), cpu: Vec::new() };
        for _ in 0..self.rounds {
            server = server.again(subject, &self.server_cpu.0, LOADING_MAX)?;
            let (wall, cpu) = times(&server)?;
            starts.wall.push(wall.saturating_sub(empty_wall).as_secs_f64());
            starts.cpu.push(cpu.saturating_sub(empty_cpu).as_secs_f64());
            let found = server.key_count()?;
            if found != self.keys {
                let reply = format!("{found} keys of {} are there after the start", self.keys);
                return Err(Error::Refused { command: "DBSIZE".into(), reply });
            }
        }
        Ok(starts)
    }

    fn starts(&self, starts: &[Starts]) -> String {
        let mut text = format!(
            "Loading {} keys with values of {} bytes, medians of {} rounds, one core\n\n\
             | server | from its | s | keys/s | CPU, s | keys per second of CPU |\n|---|---|---|---|---|---|\n",
            self.keys, self.stored_size, self.rounds
        );
        let per_cpu = |starts: &Starts| self.keys as f64 / median(starts.cpu.clone());
        for of in starts {
            let wall = median(of.wall.clone());
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "| {} | {} | {wall:.2} | {:.0} | {:.2} | {:.0} |",
                of.name,
                of.from,
                self.keys as f64 / wall,
                median(of.cpu.clone()),
                per_cpu(of)
            );
        }
        let mut list = Vec::new();
        if let Some((kora, peers)) = starts.split_at_checked(2) {
            for peer in peers.iter().filter(|peer| peer.from == "snapshot") {
                for own in kora {
                    list.push(Verdict {
                        what: format!(
                            "keys per second and core: from kora's {} / {}'s snapshot",
                            own.from, peer.name
                        ),
                        ratios: vec![per_cpu(own) / per_cpu(peer)],
                        wanted: Wanted::AtLeast(1.5),
                    });
                }
            }
        }
        format!("{text}\n{}", verdicts(&list))
    }
}

/// From the start of the process to its first answer, and its CPU time so far.
fn times(server: &Server) -> Result<(Duration, Duration), Error> {
    let cpu = cpu_time(server.pid())?;
    Ok((server.start, cpu.user + cpu.sys))
}

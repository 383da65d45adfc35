//! What durability costs, and what it gives: `kora-bench durability`.
//!
//! | scenario | what is measured |
//! |---|---|
//! | `log` | 64 connections of 256-byte SET without a log and with one in each mode, beside a peer with its append-only file |
//! | `snapshot` | how long GETs wait while a snapshot of many keys is taken under a write load, and how much memory it takes |
//! | `loading` | keys per second at the start: from a snapshot and from the log, beside a peer from its RDB and its append-only file |
//!
//! Servers take turns, round by round, on the same core and the same disk, and the load has the other core. The files are in the system's temporary
//! folder: `TMPDIR` chooses the disk, and one in memory would make every number meaningless.

mod loading;
mod log;
mod snapshot;

use std::fmt::Write as _;
use std::time::Duration;

use crate::compare::subject::{Subject, SubjectArgs};
use crate::load::KeySpace;
use crate::sys::affinity::CpuList;
use crate::Error;

/// Bytes of a key.
const KEY_BYTES: usize = 16;
/// How long a server may take to load what these scenarios have written.
const LOADING_MAX: Duration = Duration::from_secs(600);

/// Measure what the log and snapshots cost, and how fast they load. TMPDIR chooses the disk.
#[derive(clap::Args, Debug)]
pub(crate) struct DurabilityArgs {
    #[command(flatten)]
    subjects: SubjectArgs,
    /// What to measure.
    #[arg(long, value_delimiter = ',', default_value = "log,snapshot,loading", value_name = "NAMES")]
    scenario: Vec<Scenario>,
    /// How often each server is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Length of a load, seconds.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Connections of the scenario `log`.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Bytes of a value in the scenario `log`.
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    value_size: usize,
    /// Keys in the scenarios `snapshot` and `loading`.
    #[arg(long, default_value_t = 5_000_000)]
    keys: u64,
    /// Bytes of their values.
    #[arg(long, default_value_t = 64, value_name = "BYTES")]
    stored_size: usize,
    /// GETs a second beside a snapshot; there are as many SETs.
    #[arg(long, default_value_t = 10_000.0)]
    rate: f64,
    /// The server's CPUs.
    #[arg(long, default_value = "0", value_name = "LIST")]
    server_cpu: CpuList,
    /// The load's CPUs.
    #[arg(long, default_value = "1", value_name = "LIST")]
    load_cpu: CpuList,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    Log,
    Snapshot,
    Loading,
}

/// When a change is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sync {
    EveryWrite,
    EverySecond,
}

impl DurabilityArgs {
    /// Measures and prints.
    pub(crate) fn run(&self) -> Result<bool, Error> {
        if self.rounds == 0 || self.keys == 0 || self.connections == 0 || self.value_size == 0 {
            return Err(Error::Usage(
                "--rounds, --keys, --connections and --value-size must be at least 1".into(),
            ));
        }
        for scenario in &self.scenario {
            let text = match scenario {
                Scenario::Log => self.log()?,
                Scenario::Snapshot => self.snapshot()?,
                Scenario::Loading => self.loading()?,
            };
            println!("{text}");
        }
        Ok(true)
    }

    /// Kora and the others.
    fn kora_and_peers(&self) -> Result<(Subject, Vec<Subject>), Error> {
        let mut subjects = self.subjects.subjects(1)?;
        match subjects.iter().position(is_kora) {
            Some(at) => Ok((subjects.remove(at), subjects)),
            None => Err(Error::Usage("--kora is who is measured here".into())),
        }
    }

    fn stored_keys(&self) -> Result<KeySpace, Error> {
        KeySpace::new("key:", KEY_BYTES, self.keys)
    }
}

fn is_kora(subject: &Subject) -> bool {
    subject.workers.is_some()
}

fn with(subject: &Subject, name: String, more: &[&str]) -> Subject {
    let args = subject.args.iter().cloned().chain(more.iter().map(ToString::to_string)).collect();
    Subject { name, args, ..subject.clone() }
}

/// The same server with a log that never begins anew by itself: a snapshot in the middle of a load would be another scenario.
fn logging(subject: &Subject, sync: Sync) -> Subject {
    if is_kora(subject) {
        let mode = if sync == Sync::EveryWrite { "every_write" } else { "every_second" };
        let args = ["--data-dir", "{dir}/data", "--wal-sync", mode, "--wal-max-bytes", "1000gb"];
        with(subject, format!("{}, {mode}", subject.name), &args)
    } else {
        let mode = if sync == Sync::EveryWrite { "always" } else { "everysec" };
        let args = [
            "--dir",
            "{dir}",
            "--appendonly",
            "yes",
            "--appendfsync",
            mode,
            "--auto-aof-rewrite-percentage",
            "0",
        ];
        with(subject, format!("{}, {mode}", subject.name), &args)
    }
}

/// A ratio, what it should be, and whether it is.
struct Verdict {
    what: String,
    /// One per round.
    ratios: Vec<f64>,
    wanted: Wanted,
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    AtMost(f64),
    AtLeast(f64),
}

fn verdicts(verdicts: &[Verdict]) -> String {
    let mut text =
        String::from("| ratio | of each round | median | wanted | reached |\n|---|---|---|---|---|\n");
    for Verdict { what, ratios, wanted } in verdicts {
        let median = median(ratios.clone());
        let (wanted, reached) = match *wanted {
            Wanted::AtMost(limit) => (format!("at most {limit}"), median <= limit),
            Wanted::AtLeast(limit) => (format!("at least {limit}"), median >= limit),
        };
        let rounds: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        let reached = if reached { "yes" } else { "no" };
        // Writing to a string does not fail.
        let _ = writeln!(text, "| {what} | {} | {median:.2} | {wanted} | {reached} |", rounds.join(", "));
    }
    text
}

/// The middle one, or the higher of the two in the middle; NaN without values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// `a / b`, round by round.
fn ratios(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a / b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_judged_by_its_median() {
        let verdict =
            |wanted| Verdict { what: "a / b".into(), ratios: ratios(&[3.0, 1.0, 2.5], &[2.0; 3]), wanted };
        let text = verdicts(&[verdict(Wanted::AtMost(1.25)), verdict(Wanted::AtLeast(1.5))]);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines[0], "| a / b | 1.50, 0.50, 1.25 | 1.25 | at most 1.25 | yes |");
        assert_eq!(lines[1], "| a / b | 1.50, 0.50, 1.25 | 1.25 | at least 1.5 | no |");
    }

    #[test]
    fn both_kinds_of_servers_are_told_to_log() {
        let kora = Subject::kora(std::path::Path::new("kora"), 1, &[]);
        let logged = logging(&kora, Sync::EverySecond);
        assert_eq!(logged.name, "kora, every_second");
        assert!(logged.args.windows(2).any(|pair| pair == ["--data-dir", "{dir}/data"]), "{:?}", logged.args);
        let peer = Subject { workers: None, name: "peer".into(), ..kora };
        let logged = logging(&peer, Sync::EveryWrite);
        assert!(logged.args.windows(2).any(|pair| pair == ["--appendfsync", "always"]), "{:?}", logged.args);
    }
}

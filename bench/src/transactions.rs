//! What atomicity costs: commands and transactions over two shards beside those of one, EXEC beside the same commands without it, scripts beside redis-server's.
//!
//! Every row is two loads that alternate, round by round, and the ratio of what they cost the server: CPU time per command, or the 99th percentile of commands beside them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::client::Value;
use crate::compare::server::Server;
use crate::compare::subject::{Subject, SubjectArgs};
use crate::load::{self, Arrivals, KeySpace, LoadConfig, Pace, Report, Stop, Workload};
use crate::slot::slot_of;
use crate::sys::affinity::CpuList;
use crate::Error;

/// Bytes of `__key__` and of `__data__`.
const KEY_BYTES: usize = 16;
const DATA_BYTES: usize = 16;
const KEYS: u64 = 100_000;
/// Slots of a cluster.
const SLOTS: usize = 16_384;
/// Executors of Kora where commands concern two shards.
const WORKERS: usize = 2;
/// The script of one line.
const SCRIPT: &[u8] = b"return redis.call('get',KEYS[1])";
/// How long commands on other keys are looked at, and how many there are in a second.
const BESIDE: Duration = Duration::from_secs(3);
const BESIDE_RATE: f64 = 5_000.0;
/// Transactions beside them in a second.
const TRANSACTION_RATE: f64 = 2_000.0;

/// Measure what transactions, scripts and commands over two shards cost.
#[derive(clap::Args, Debug)]
pub(crate) struct TransactionsArgs {
    #[command(flatten)]
    subjects: SubjectArgs,
    /// How often each pair is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Commands in each load.
    #[arg(long, default_value_t = 200_000)]
    requests: u64,
    /// The server's CPUs where it has one worker.
    #[arg(long, default_value = "0", value_name = "LIST")]
    server_cpu: CpuList,
    /// The server's CPUs where it has two.
    #[arg(long, default_value = "0,1", value_name = "LIST")]
    server_cpus: CpuList,
    /// The load's CPUs.
    #[arg(long, default_value = "1", value_name = "LIST")]
    load_cpu: CpuList,
}

/// What one load cost, and what the other did.
struct Row {
    name: String,
    /// Microseconds, one pair for each round.
    pairs: Vec<(f64, f64)>,
    /// The ratio that is wanted at most.
    wanted: f64,
}

impl TransactionsArgs {
    /// Measures and prints.
    pub(crate) fn run(&self) -> Result<bool, Error> {
        if self.rounds == 0 || self.requests == 0 {
            return Err(Error::Usage("--rounds and --requests must be at least 1".into()));
        }
        let of_one = self.subjects.subjects(1)?;
        let of_two = self.subjects.subjects(WORKERS)?;
        let kora = |subjects: &[Subject]| {
            let found = subjects.iter().find(|subject| subject.name == "kora").cloned();
            found.ok_or_else(|| Error::Usage("--kora is who is measured here".into()))
        };
        let (one, two) = (kora(&of_one)?, kora(&of_two)?);
        let mut rows = Vec::new();
        for command in ["MSET", "MGET"] {
            rows.push(self.over_two_shards(&two, command)?);
        }
        rows.push(self.transaction(&one)?);
        for peer in of_one.iter().filter(|subject| subject.name != "kora") {
            for pipeline in [1, 16] {
                rows.push(self.script(&one, peer, pipeline)?);
            }
        }
        rows.push(self.beside(&two)?);
        print!("{}", table(&rows));
        Ok(true)
    }

    /// The same command with its eight keys on two shards and on one.
    fn over_two_shards(&self, kora: &Subject, command: &str) -> Result<Row, Error> {
        let server = Server::start(kora, &self.server_cpus.0)?;
        let on = |tags: [&str; 2]| {
            let mut text = command.to_owned();
            for at in 0..8 {
                let data = if command == "MSET" { " __data__" } else { "" };
                text.push_str(&format!(" {{{}}}{at}:__key__{data}", tags[at / 4]));
            }
            Workload::command(keys()?, &text, DATA_BYTES)
        };
        let (a, b) = (tag_of(0), tag_of(1));
        let loads = [on([&a, &b])?, on([&a, &a])?];
        let mut pairs = Vec::new();
        for _ in 0..self.rounds {
            let costs = [self.cost(&server, &loads[0], 1, 1)?, self.cost(&server, &loads[1], 1, 1)?];
            pairs.push(costs.into());
        }
        Ok(Row { name: format!("{command} of 8 keys on 2 shards / on 1"), pairs, wanted: 2.0 })
    }

    /// Ten commands in a transaction, and twelve without.
    fn transaction(&self, kora: &Subject) -> Result<Row, Error> {
        let server = Server::start(kora, &self.server_cpu.0)?;
        let set = "SET {t}:__key__ __data__";
        let within: Vec<&str> = [&["MULTI"][..], &[set; 10], &["EXEC"]].concat();
        let loads = [
            Workload::in_step(keys()?, &within, DATA_BYTES)?,
            Workload::in_step(keys()?, &[set; 12], DATA_BYTES)?,
        ];
        let mut pairs = Vec::new();
        for _ in 0..self.rounds {
            let costs = [self.cost(&server, &loads[0], 12, 12)?, self.cost(&server, &loads[1], 12, 12)?];
            pairs.push(costs.into());
        }
        Ok(Row { name: "MULTI, 10 SETs, EXEC / 12 SETs, pipelined".into(), pairs, wanted: 1.0 })
    }

    /// EVALSHA of one line, beside a peer's.
    fn script(&self, kora: &Subject, peer: &Subject, pipeline: usize) -> Result<Row, Error> {
        let servers = [Server::start(kora, &self.server_cpu.0)?, Server::start(peer, &self.server_cpu.0)?];
        let mut loads = Vec::new();
        for server in &servers {
            let Value::Text(sha) = server.client()?.call(&[b"SCRIPT", b"LOAD", SCRIPT])? else {
                return Err(Error::Refused { command: "SCRIPT LOAD".into(), reply: "no text".into() });
            };
            let sha = String::from_utf8_lossy(&sha).into_owned();
            server.client()?.expect("SET", &[b"SET", b"key", b"value"])?;
            loads.push(Workload::command(keys()?, &format!("EVALSHA {sha} 1 __key__"), DATA_BYTES)?);
        }
        let mut pairs = Vec::new();
        for _ in 0..self.rounds {
            let cost = |at: usize| self.cost(&servers[at], &loads[at], pipeline, 1);
            pairs.push((cost(0)?, cost(1)?));
        }
        let name = format!("EVALSHA of one line, pipeline {pipeline}: kora / {}", peer.name);
        Ok(Row { name, pairs, wanted: 0.8 })
    }

    /// How long GETs wait while MSETs of other keys run over two shards, and while they run on one.
    fn beside(&self, kora: &Subject) -> Result<Row, Error> {
        let server = Server::start(kora, &self.server_cpus.0)?;
        let (a, b) = (tag_of(0), tag_of(1));
        let write = |second: &str| {
            let text = format!(
                "MSET {{{a}}}0:__key__ __data__ {{{second}}}1:__key__ __data__ {{{a}}}2:__key__ __data__ \
                 {{{second}}}3:__key__ __data__"
            );
            Workload::command(keys()?, &text, DATA_BYTES)
        };
        let (two, one) = (write(&b)?, write(&a)?);
        let mut pairs = Vec::new();
        for _ in 0..self.rounds {
            pairs.push((self.waits_beside(&server, &two)?, self.waits_beside(&server, &one)?));
        }
        let name = "p99 of GETs of other keys while MSETs run over 2 shards / on 1".into();
        Ok(Row { name, pairs, wanted: 1.2 })
    }

    /// The 99th percentile of GETs, microseconds.
    fn waits_beside(&self, server: &Server, writes: &Workload) -> Result<f64, Error> {
        let base = LoadConfig { cpus: self.load_cpu.0.clone(), ..LoadConfig::to(server.endpoint.clone()) };
        let paced = |workload: &Workload, rate: f64, time: Duration| LoadConfig {
            workload: workload.clone(),
            connections: 20,
            pace: Pace::Open { rate, arrivals: Arrivals::Poisson },
            stop: Stop::After(time),
            ..base.clone()
        };
        let reads = Workload::command(keys()?, "GET other:__key__", DATA_BYTES)?;
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    load::run(&paced(writes, TRANSACTION_RATE, BESIDE + Duration::from_secs(1)))?;
                }
                Ok::<_, Error>(())
            });
            std::thread::sleep(Duration::from_millis(500));
            let report = load::run(&paced(&reads, BESIDE_RATE, BESIDE));
            done.store(true, Ordering::Relaxed);
            writer.join().expect("the writer does not panic")?;
            Ok(report?.latency.value_at_quantile(0.99) as f64 / 1e3)
        })
    }

    /// CPU time of the server, microseconds for so many requests.
    fn cost(&self, server: &Server, workload: &Workload, pipeline: usize, per: u64) -> Result<f64, Error> {
        let report: Report = load::run(&LoadConfig {
            workload: workload.clone(),
            cpus: self.load_cpu.0.clone(),
            pipeline,
            stop: Stop::Requests(self.requests),
            pid: Some(server.pid()),
            ..LoadConfig::to(server.endpoint.clone())
        })?;
        if report.errors > 0 {
            let reply = report.error_samples.join("; ");
            return Err(Error::Refused { command: "a measured command".into(), reply });
        }
        let (user, sys) = report.server_cpu.unwrap_or_default();
        Ok((user + sys).as_secs_f64() * 1e6 / report.requests as f64 * per as f64)
    }
}

fn keys() -> Result<KeySpace, Error> {
    KeySpace::new("", KEY_BYTES, KEYS)
}

/// A hash tag whose slot belongs to a shard of [`WORKERS`].
fn tag_of(shard: usize) -> String {
    let tags = (0..).map(|number: u32| format!("t{number}"));
    let mut fitting = tags.filter(|tag| slot_of(tag.as_bytes()) * WORKERS / SLOTS == shard);
    fitting.next().expect("there are tags for every slot")
}

fn table(rows: &[Row]) -> String {
    let mut text =
        String::from("| what | microseconds | ratio of the medians | wanted |\n|---|---|---|---|\n");
    for Row { name, pairs, wanted } in rows {
        let rounds: Vec<String> = pairs.iter().map(|(a, b)| format!("{a:.2} / {b:.2}")).collect();
        let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        let ratio = median(a) / median(b);
        text.push_str(&format!("| {name} | {} | {ratio:.2} | {wanted:.1} |\n", rounds.join(", ")));
    }
    text
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_belong_to_the_shard_that_they_are_for() {
        assert_ne!(tag_of(0), tag_of(1));
        for shard in 0..WORKERS {
            assert_eq!(slot_of(tag_of(shard).as_bytes()) * WORKERS / SLOTS, shard);
        }
    }

    #[test]
    fn the_table_says_by_how_much() {
        let row = Row { name: "a / b".into(), pairs: vec![(3.0, 2.0), (1.0, 2.0), (5.0, 2.5)], wanted: 2.0 };
        let last = table(&[row]).lines().last().map(str::to_owned);
        assert_eq!(last.as_deref(), Some("| a / b | 3.00 / 2.00, 1.00 / 2.00, 5.00 / 2.50 | 1.50 | 2.0 |"));
    }
}

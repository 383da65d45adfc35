//! The flags of `kora-bench load`.

use std::path::PathBuf;
use std::time::Duration;

use super::{Arrivals, Distribution, KeySpace, LoadConfig, Pace, Ratio, Report, Session, Stop, Workload};
use crate::sys::affinity::CpuList;
use crate::{Endpoint, Error};

/// Put load on one server and measure it.
#[derive(clap::Args, Debug)]
pub(crate) struct LoadArgs {
    /// The server's host.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The server's port.
    #[arg(long, default_value_t = 6379)]
    port: u16,
    /// A Unix socket instead of host and port.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["host", "port", "cluster"])]
    unix: Option<PathBuf>,
    /// Connections in total.
    #[arg(long, short = 'c', default_value_t = 50)]
    connections: usize,
    /// Threads, each with its share of the connections.
    #[arg(long, short = 't', default_value_t = 1)]
    threads: usize,
    /// Requests in flight per connection.
    #[arg(long, short = 'P', default_value_t = 1)]
    pipeline: usize,
    /// SETs and GETs per cycle.
    #[arg(long, default_value = "1:1", value_name = "SET:GET")]
    ratio: Ratio,
    /// Bytes of a value (__data__).
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    value_size: usize,
    /// Number of different keys.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Bytes of a key.
    #[arg(long, default_value_t = 16, value_name = "BYTES")]
    key_size: usize,
    /// What keys begin with; may have a {tag}.
    #[arg(long, default_value = "key:")]
    key_prefix: String,
    /// uniform, sequential or zipf:THETA.
    #[arg(long, default_value = "uniform")]
    distribution: Distribution,
    /// Seconds to run [default: 10].
    #[arg(long, short = 'd', value_name = "SECONDS", conflicts_with = "requests")]
    duration: Option<f64>,
    /// Requests to send, instead of a duration.
    #[arg(long, short = 'n')]
    requests: Option<u64>,
    /// Open loop: requests per second in total, latency counted from when each was due.
    #[arg(long)]
    rate: Option<f64>,
    /// Open loop: how requests are spread over time.
    #[arg(long, value_enum, default_value = "even", requires = "rate")]
    arrivals: Arrivals,
    /// Ask CLUSTER SLOTS and send every key to the node that owns it.
    #[arg(long)]
    cluster: bool,
    /// A command instead of SET and GET, with __key__, __data__ and __random__ in it.
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "ratio")]
    command: Option<String>,
    /// The CPUs of the threads, as 1 or 2,4-7.
    #[arg(long, value_name = "LIST")]
    cpu: Option<CpuList>,
    /// The server's process; its CPU time per request is reported.
    #[arg(long)]
    pid: Option<u32>,
    /// First write every key once (by SET, or by --prefill-command).
    #[arg(long)]
    prefill: bool,
    /// What --prefill sends instead of SET __key__ __data__.
    #[arg(long, value_name = "TEMPLATE", requires = "prefill")]
    prefill_command: Option<String>,
    /// Speak RESP3 (HELLO 3).
    #[arg(long)]
    resp3: bool,
    /// The environment variable that has the password.
    #[arg(long, value_name = "NAME")]
    password_env: Option<String>,
    /// Seed of the random keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl LoadArgs {
    fn session(&self) -> Result<Session, Error> {
        let password = match &self.password_env {
            None => None,
            Some(name) => Some(std::env::var(name).map_err(|_| {
                Error::Usage(format!("--password-env {name}: there is no such environment variable"))
            })?),
        };
        Ok(Session { resp3: self.resp3, password })
    }

    fn config(&self) -> Result<LoadConfig, Error> {
        let keys = KeySpace::new(&self.key_prefix, self.key_size, self.keys)?;
        let workload = match &self.command {
            None => Workload::mix(keys, self.ratio, self.value_size),
            Some(text) => Workload::command(keys, text, self.value_size)?,
        };
        let stop = match (self.requests, self.duration) {
            (Some(requests), _) => Stop::Requests(requests),
            (None, seconds) => Stop::After(seconds_of("--duration", seconds.unwrap_or(10.0))?),
        };
        let pace = self.rate.map_or(Pace::Closed, |rate| Pace::Open { rate, arrivals: self.arrivals });
        let endpoint = match &self.unix {
            Some(path) => Endpoint::Unix(path.clone()),
            None => Endpoint::resolve(&self.host, self.port)?,
        };
        Ok(LoadConfig {
            endpoint,
            session: self.session()?,
            connections: self.connections,
            threads: self.threads,
            cpus: self.cpu.clone().map_or(Vec::new(), |list| list.0),
            pipeline: self.pipeline,
            workload,
            distribution: self.distribution,
            pace,
            stop,
            cluster: self.cluster,
            pid: self.pid,
            seed: self.seed,
        })
    }

    /// Fills if asked to, runs, prints. False when there were error replies.
    pub(crate) fn run(&self) -> Result<bool, Error> {
        let config = self.config()?;
        config.check()?;
        if self.prefill {
            let keys = config.workload.keys.clone();
            let text = self.prefill_command.as_deref().unwrap_or("SET __key__ __data__");
            let workload = Workload::command(keys, text, self.value_size)?;
            let report = super::run(&config.fill(workload))?;
            if report.errors > 0 {
                print_errors("prefill", &report);
                return Ok(false);
            }
        }
        let report = super::run(&config)?;
        if self.json {
            println!("{}", report.json());
        } else {
            println!("{report}");
        }
        print_errors("load", &report);
        Ok(report.errors == 0)
    }
}

fn print_errors(what: &str, report: &Report) {
    if report.errors > 0 {
        eprintln!("kora-bench: {what}: {} of {} replies were errors:", report.errors, report.requests);
        report.error_samples.iter().for_each(|text| eprintln!("  {text}"));
    }
}

/// A positive time from a flag in seconds.
pub(crate) fn seconds_of(flag: &str, seconds: f64) -> Result<Duration, Error> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() && seconds <= 1e6 => Ok(time),
        _ => Err(Error::Usage(format!("{flag} {seconds} is no time; give seconds above 0"))),
    }
}

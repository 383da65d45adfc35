//! What the generator itself can do: its runs against a server that does nothing but answer.

use std::time::Duration;

use crate::load::args::seconds_of;
use crate::load::{self, KeySpace, LoadConfig, Ratio, Stop, Workload};
use crate::responder::{Behaviour, Responder};
use crate::sys::affinity::CpuList;
use crate::Error;

/// Measure this generator against a server in the same process that does nothing but answer.
#[derive(clap::Args, Debug)]
pub(crate) struct CeilingArgs {
    /// Seconds per measurement.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// The responder's CPU (the first of the list).
    #[arg(long, default_value = "0", value_name = "LIST")]
    server_cpu: CpuList,
    /// The generator's CPU (the first of the list; it runs one thread).
    #[arg(long, default_value = "1", value_name = "LIST")]
    load_cpu: CpuList,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    value_size: usize,
}

/// Connections and pipeline of each line.
const SHAPES: [(usize, usize); 5] = [(1, 1), (50, 1), (50, 16), (50, 64), (50, 256)];

impl CeilingArgs {
    pub(crate) fn run(&self) -> Result<bool, Error> {
        let time: Duration = seconds_of("--seconds", self.seconds)?;
        println!("| connections | pipeline | requests/s | load CPU us/request | one load core could do | load busy |");
        println!("|---:|---:|---:|---:|---:|---:|");
        let mut clean = true;
        for (connections, pipeline) in SHAPES {
            let cpu = self.server_cpu.0.first().copied();
            let behaviour = Behaviour { cpu, value_size: self.value_size, ..Behaviour::default() };
            let server = Responder::start_bare(behaviour)?;
            let mut config = LoadConfig::to(server.endpoint());
            (config.connections, config.pipeline) = (connections, pipeline);
            config.cpus = self.load_cpu.0.iter().take(1).copied().collect();
            let keys = KeySpace::new("key:", 16, 100_000)?;
            config.workload = Workload::mix(keys, Ratio { sets: 1, gets: 1 }, self.value_size);
            config.stop = Stop::After(time);
            let report = load::run(&config)?;
            clean &= report.errors == 0;
            let cost = report.load_cpu_us();
            let busy = report.load_busy() * 100.0;
            let could = 1e6 / cost;
            println!(
                "| {connections} | {pipeline} | {:.0} | {cost:.3} | {could:.0} | {busy:.0} % |",
                report.throughput()
            );
        }
        Ok(clean)
    }
}

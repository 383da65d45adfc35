//! The command line: what commands there are, and what their exit code means.
//!
//! 0: done. 1: the run failed, or there were error replies. 2: the flags make no sense.

use std::net::TcpListener;
use std::process::ExitCode;

use clap::Parser;

use crate::ceiling::CeilingArgs;
use crate::compare::CompareArgs;
use crate::durability::DurabilityArgs;
use crate::hit_ratio::HitRatioArgs;
use crate::load::args::LoadArgs;
use crate::responder::{Behaviour, Responder};
use crate::stalls::StallsArgs;
use crate::transactions::TransactionsArgs;
use crate::Error;

#[derive(Parser)]
#[command(name = "kora-bench", version, about = "Load generator and comparison of Redis-compatible servers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Load(Box<LoadArgs>),
    Compare(Box<CompareArgs>),
    Stalls(Box<StallsArgs>),
    HitRatio(Box<HitRatioArgs>),
    Transactions(Box<TransactionsArgs>),
    Durability(Box<DurabilityArgs>),
    Ceiling(CeilingArgs),
    /// Answer SET and GET on a port of 127.0.0.1 without doing anything, until it is ended.
    Respond {
        /// The port.
        #[arg(long)]
        port: u16,
        /// Bytes of the value that every GET finds.
        #[arg(long, default_value_t = 256, value_name = "BYTES")]
        value_size: usize,
    },
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Load(args) => args.run(),
        Command::Compare(args) => args.run(),
        Command::Stalls(args) => args.run(),
        Command::HitRatio(args) => args.run(),
        Command::Transactions(args) => args.run(),
        Command::Durability(args) => args.run(),
        Command::Ceiling(args) => args.run(),
        Command::Respond { port, value_size } => respond(port, value_size),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("kora-bench: {error}");
            ExitCode::from(if matches!(error, Error::Usage(_)) { 2 } else { 1 })
        }
    }
}

fn respond(port: u16, value_size: usize) -> Result<bool, Error> {
    let place = format!("listening on 127.0.0.1:{port}");
    let listener = TcpListener::bind(("127.0.0.1", port)).map_err(Error::io(place))?;
    Responder::serve(listener, Behaviour { value_size, ..Behaviour::default() }, true)?.wait()?;
    Ok(true)
}

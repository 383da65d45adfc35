//! The command line: what commands there are, and what their exit code means.
//!
//! 0: done. 1: the run failed, or there were error replies. 2: the flags make no sense.

use std::process::ExitCode;

use clap::Parser;

use crate::load::args::LoadArgs;
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
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Load(args) => args.run(),
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

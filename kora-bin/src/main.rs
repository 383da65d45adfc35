//! The `kora` binary: reads the command line and the configuration, then runs the server or answers a question.

use std::path::Path;
use std::process::ExitCode;

use kora::cli::{self, Mode, EXIT_CONFIG, EXIT_FAILED, EXIT_OK};
use kora_net::offline::tools::{self, Report};

use kora::config::{self, ConfigErrors, Loaded, Machine, Sources};

#[global_allocator]
static ALLOCATOR: kora_alloc::Allocator = kora_alloc::Allocator;

fn main() -> ExitCode {
    let line = match cli::parse(std::env::args_os()) {
        Ok(line) => line,
        // Help and version come this way too: clap knows which stream and which exit code (0 or 2) are right.
        Err(error) => error.exit(),
    };
    match &line.mode {
        // A configuration that is wrong must not keep anybody from looking at the data.
        Mode::Inspect { dir, whole } => return ExitCode::from(inspect(dir, *whole)),
        Mode::Repair { dir } => return ExitCode::from(told(tools::repair(dir))),
        _ => {}
    }
    let loaded = Sources::gather(line.config.as_deref(), line.flags)
        .and_then(|sources| config::load(sources, &Machine::of_this_process()));
    ExitCode::from(match loaded {
        Ok(loaded) => answer(line.mode, line.import.as_deref(), loaded),
        Err(ConfigErrors(errors)) => {
            for error in errors {
                eprintln!("{error}");
            }
            EXIT_CONFIG
        }
    })
}

fn answer(mode: Mode, import: Option<&Path>, loaded: Loaded) -> u8 {
    if let Some(Err(error)) = import.map(|file| kora::transfer::import_if_empty(&loaded.config, file)) {
        eprintln!("kora: --import: {error}");
        return EXIT_FAILED;
    }
    match mode {
        Mode::CheckConfig => {
            println!("{}", loaded.summary());
            EXIT_OK
        }
        Mode::PrintConfig => {
            print!("{}", loaded.to_toml());
            EXIT_OK
        }
        Mode::Import { file } => told(kora::transfer::import(&loaded.config, &file)),
        Mode::Export { file, version } => told(kora::transfer::export(&loaded.config, &file, version)),
        Mode::Inspect { .. } | Mode::Repair { .. } => unreachable!("answered before"),
        Mode::Serve => match kora::server::run(loaded) {
            Ok(()) => EXIT_OK,
            Err(error) => {
                eprintln!("kora: {error}");
                EXIT_FAILED
            }
        },
    }
}

/// Says what is in a data directory; the exit code, whether a server would start there with all of it.
fn inspect(dir: &Path, whole: bool) -> u8 {
    let report = if whole { tools::check(dir) } else { tools::inspect(dir) };
    let sound = report.as_ref().is_ok_and(Report::is_sound);
    let exit = told(report);
    if exit == EXIT_OK && !sound {
        EXIT_FAILED
    } else {
        exit
    }
}

/// Says how it went.
fn told<T: std::fmt::Display, E: std::fmt::Display>(result: Result<T, E>) -> u8 {
    match result {
        Ok(text) => {
            print!("{text}");
            EXIT_OK
        }
        Err(error) => {
            eprintln!("kora: {error}");
            EXIT_FAILED
        }
    }
}

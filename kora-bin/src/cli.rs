//! The command line: made from the key table, so that every key has its flag and its help.
//!
//! clap splits the arguments and prints help; values stay text here and are checked where those of the environment and
//! of the file are, so that all of them are reported together and in the same words.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command};

use crate::config::{KeyDefault, DEFAULT_FILE, KEYS};

/// What the process was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Run the server.
    Serve,
    /// Say whether the configuration is valid, and stop.
    CheckConfig,
    /// Print the effective configuration, and stop.
    PrintConfig,
    /// Make the data directory from an RDB file, and stop.
    Import {
        /// The RDB file.
        file: PathBuf,
    },
    /// Write what is in the data directory into an RDB file, and stop.
    Export {
        /// The RDB file.
        file: PathBuf,
        /// The version of its format.
        version: u16,
    },
    /// Say what is in a data directory, and stop.
    Inspect {
        /// The data directory.
        dir: PathBuf,
        /// Whether all of it is read.
        whole: bool,
    },
    /// Have the log of a data directory end before its damage, and stop.
    Repair {
        /// The data directory.
        dir: PathBuf,
    },
}

/// A parsed command line.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// What to do.
    pub mode: Mode,
    /// An RDB file that a server without data begins with.
    pub import: Option<PathBuf>,
    /// The configuration file that was named.
    pub config: Option<PathBuf>,
    /// Key and text of every flag that sets a key.
    pub flags: Vec<(&'static str, String)>,
}

/// Exit code of success, of `--help`, and of a stop by SIGTERM or SIGINT.
pub const EXIT_OK: u8 = 0;
/// Exit code when the server cannot start or must stop for a reason outside its configuration.
pub const EXIT_FAILED: u8 = 1;
/// Exit code of a wrong command line or configuration: starting again without a change is of no use.
pub const EXIT_CONFIG: u8 = 2;

/// Parses arguments, the program's name first. The error is clap's: it also carries `--help` and `--version`.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<CommandLine, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let (mode, matches) = match matches.subcommand() {
        Some((name, matches)) => {
            let path = |name| matches.get_one(name).cloned().expect("it is required");
            let mode = match name {
                IMPORT => Mode::Import { file: path("file") },
                EXPORT => {
                    let version = *matches.get_one("rdb-version").expect("it has a default");
                    Mode::Export { file: path("file"), version }
                }
                INSPECT | CHECK => Mode::Inspect { dir: path("dir"), whole: name == CHECK },
                REPAIR => Mode::Repair { dir: path("dir") },
                other => unreachable!("{other} is no subcommand"),
            };
            if !matches!(name, IMPORT | EXPORT) {
                // They take no settings.
                return Ok(CommandLine { mode, import: None, config: None, flags: Vec::new() });
            }
            (mode, matches)
        }
        None if matches.get_flag("check-config") => (Mode::CheckConfig, &matches),
        None if matches.get_flag("print-config") => (Mode::PrintConfig, &matches),
        None => (Mode::Serve, &matches),
    };
    let flags = KEYS
        .iter()
        .filter_map(|key| {
            key.flag()?;
            let texts = matches.get_many::<String>(key.name)?;
            Some((key.name, texts.cloned().collect::<Vec<_>>().join(",")))
        })
        .collect();
    let import = match mode {
        Mode::Serve => matches.get_one("import").cloned(),
        _ => None,
    };
    Ok(CommandLine { mode, import, config: matches.get_one("config").cloned(), flags })
}

const IMPORT: &str = "import";
const EXPORT: &str = "export";
const INSPECT: &str = "inspect";
const CHECK: &str = "check";
const REPAIR: &str = "repair";

fn command() -> Command {
    let command = Command::new("kora")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A Redis-compatible in-memory server")
        .long_about(
            "Kora is a Redis-compatible in-memory server: one executor per core, each with its own part of the data.\n\
             Without arguments it listens on 127.0.0.1:6379.",
        )
        .after_help(format!(
            "Every setting has three spellings: the flag, the environment variable (--max-clients: KORA_MAX_CLIENTS) \
             and the key in the file (max_clients). Flags win over the environment, the environment over the file. \
             The password has no flag: set KORA_PASSWORD, \"password\" in the file, or --password-file.\n\n\
             Exit codes: {EXIT_OK} stopped as asked, {EXIT_FAILED} could not start or failed, {EXIT_CONFIG} wrong \
             command line or configuration, 130 stopped at once by a second signal."
        ))
        .disable_help_subcommand(true)
        .args_conflicts_with_subcommands(true)
        .arg(
            Arg::new("check-config")
                .long("check-config")
                .action(ArgAction::SetTrue)
                .conflicts_with("print-config")
                .help("Say whether the configuration is valid, without starting"),
        )
        .arg(
            Arg::new("print-config")
                .long("print-config")
                .action(ArgAction::SetTrue)
                .help("Print the effective configuration as TOML, with the origin of each value"),
        )
        .arg(
            Arg::new("import")
                .long("import")
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help("Begin with the keys of an RDB file, if data_dir has no data yet; with data it is passed over"),
        )
        .subcommand(import())
        .subcommand(export())
        .subcommands(tools());
    with_settings(command)
}

fn file(help: &'static str) -> Arg {
    Arg::new("file").value_name("FILE").required(true).value_parser(clap::value_parser!(PathBuf)).help(help)
}

fn import() -> Command {
    let command = Command::new(IMPORT)
        .about("Make the data directory from an RDB file of Redis")
        .long_about(
            "Reads an RDB file (a dump.rdb of Redis 2.6 to 8, versions up to 12) and makes a snapshot of it in data_dir, which must \
             have no data yet. The server that is started there has the keys, their expiries, and the libraries of functions.",
        )
        .arg(file("The RDB file"));
    with_settings(command)
}

fn export() -> Command {
    let command = Command::new(EXPORT)
        .about("Write what is in the data directory into an RDB file for Redis")
        .long_about(
            "Restores what is in data_dir, as a server would when it starts, and writes it into an RDB file, which redis-server loads \
             as its dump.rdb. No server may be running there.",
        )
        .arg(file("The RDB file; one that is there is replaced"))
        .arg(
            Arg::new("rdb-version")
                .long("rdb-version")
                .value_name("VERSION")
                .default_value("12")
                .value_parser(clap::value_parser!(u16).range(10..=12))
                .help("Version of the format: 12 for Redis 7.4 and newer, 11 for 7.2, 10 for 7.0. Fields that expire need 12"),
        );
    with_settings(command)
}

/// What looks at a data directory, or mends it. No server may be running there.
fn tools() -> [Command; 3] {
    let dir = || {
        let dir = Arg::new("dir").value_name("DIR").required(true);
        dir.value_parser(clap::value_parser!(PathBuf)).help("The data directory")
    };
    [
        Command::new(INSPECT)
            .about("Say what is in a data directory and what a start there would restore")
            .arg(dir()),
        Command::new(CHECK)
            .about("The same, reading all of it; the exit code says whether everything is whole")
            .arg(dir()),
        Command::new(REPAIR)
            .about("Have a damaged log end before the damage, so that a server starts")
            .long_about(
                "Has the log end before the damage and puts snapshots aside that cannot be used, so that a server starts with what comes before it. \
                 What is taken away is kept in a folder backup-<time> of the data directory. Without damage nothing is done.",
            )
            .arg(dir()),
    ]
}

/// Adds the flags of the configuration.
fn with_settings(command: Command) -> Command {
    let mut command = command.arg(
        Arg::new("config")
            .long("config")
            .short('c')
            .value_name("PATH")
            .value_parser(clap::value_parser!(PathBuf))
            .help(format!(
                "Configuration file [default: {DEFAULT_FILE} in the working directory, if it exists]"
            )),
    );
    for key in KEYS {
        let Some(flag) = key.flag() else { continue };
        let default = match key.default {
            KeyDefault::Text(text) => format!(" [default: {text}]"),
            KeyDefault::Workers | KeyDefault::Absent => String::new(),
        };
        let repeated = key.name == "bind";
        command = command.arg(
            Arg::new(key.name)
                .long(flag)
                .value_name(key.kind.placeholder())
                .help_heading(key.group)
                .action(if repeated { ArgAction::Append } else { ArgAction::Set })
                .allow_hyphen_values(true)
                .help(format!("{}{default}", key.help)),
        );
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &[&str]) -> Result<CommandLine, clap::Error> {
        parse(std::iter::once("kora").chain(words.iter().copied()).map(OsString::from))
    }

    #[test]
    fn the_command_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn flags_become_keys_and_bind_may_be_repeated() {
        let line =
            parse_words(&["--port", "7000", "--bind=::1", "--bind", "127.0.0.1", "-c", "x.toml"]).unwrap();
        assert_eq!(line.mode, Mode::Serve);
        assert_eq!(line.config, Some("x.toml".into()));
        assert_eq!(line.flags, [("bind", "::1,127.0.0.1".to_owned()), ("port", "7000".to_owned())]);
        let line = parse_words(&["--slowlog-log-slower-than", "-1"]).unwrap();
        assert_eq!(line.flags, [("slowlog_log_slower_than", "-1".to_owned())]);
    }

    #[test]
    fn a_password_on_the_command_line_is_refused_and_the_file_suggested() {
        let error = parse_words(&["--password", "hunter2"]).unwrap_err().to_string();
        assert!(error.contains("unexpected argument '--password'"), "{error}");
        assert!(error.contains("--password-file"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn help_names_every_key_under_its_group() {
        let help = parse_words(&["--help"]).unwrap_err().to_string();
        for key in KEYS {
            assert!(help.contains(&format!("{}:\n", key.group)), "{}", key.group);
            if let Some(flag) = key.flag() {
                assert!(help.contains(&format!("--{flag} <{}>", key.kind.placeholder())), "{flag}");
            }
        }
    }
}

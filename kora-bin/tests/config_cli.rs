//! The configuration of the real binary: streams, exit codes, the file in the working directory.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// A working directory of its own for one run of the binary, removed at the end.
struct WorkingDirectory(PathBuf);

impl WorkingDirectory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kora-cli-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        WorkingDirectory(path)
    }

    fn with(name: &str, text: &str) -> Self {
        let directory = WorkingDirectory::new();
        std::fs::write(directory.0.join(name), text).unwrap();
        directory
    }

    fn kora(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kora"));
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("KORA_") {
                command.env_remove(variable);
            }
        }
        command.current_dir(&self.0).args(arguments).envs(environment.iter().copied()).output().unwrap()
    }
}

impl Drop for WorkingDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Exit code, standard output, standard error.
fn parts(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_valid_configuration_is_one_line_and_exit_code_0() {
    let here = WorkingDirectory::with("kora.toml", "port = 7000\nworkers = 1\n");
    let output = here.kora(&["--check-config", "--hz", "20"], &[("KORA_TIMEOUT", "9")]);
    let line = "configuration is valid: 2 values from kora.toml, 1 from the environment, 1 from flags, the rest defaults\n";
    assert_eq!(parts(output), (0, line.into(), String::new()));
}

#[test]
fn every_problem_is_a_line_on_standard_error_and_exit_code_2() {
    let here = WorkingDirectory::with("kora.toml", "port = 99999\nwoker = 2\n");
    for arguments in [&["--hz", "0"][..], &["--check-config", "--hz", "0"], &["--print-config", "--hz", "0"]]
    {
        let output = here.kora(arguments, &[("KORA_PORT", "x")]);
        let lines = "kora.toml:1: \"port\" must be 0 to 65535, not 99999\n\
                     kora.toml:2: unknown key \"woker\"; did you mean \"workers\"?\n\
                     KORA_PORT: must be 0 to 65535, not \"x\"\n\
                     --hz: must be 1 to 500, not 0\n";
        assert_eq!(parts(output), (2, String::new(), lines.into()));
    }
}

#[test]
fn the_file_of_the_working_directory_is_read_unless_another_is_named() {
    let here = WorkingDirectory::with("kora.toml", "port = 7000\n");
    std::fs::write(here.0.join("other.toml"), "port = 7001\n").unwrap();
    let port = |arguments: &[&str]| {
        let (code, printed, _) = parts(here.kora(arguments, &[]));
        assert_eq!(code, 0);
        let line = printed.lines().find(|line| line.starts_with("port")).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(port(&["--print-config"]), "port = 7000 # kora.toml:1");
    assert_eq!(port(&["--print-config", "--config", "other.toml"]), "port = 7001 # other.toml:1");
    let (code, _, error) = parts(here.kora(&["--config", "absent.toml"], &[]));
    assert_eq!((code, &*error), (2, "absent.toml: cannot be read: No such file or directory (os error 2)\n"));
}

#[test]
fn the_printed_configuration_is_a_file_that_gives_the_same() {
    let here = WorkingDirectory::new();
    let flags = [
        "--print-config",
        "--bind",
        "::1",
        "--bind",
        "127.0.0.1",
        "--max-clients",
        "7",
        "--log-format",
        "json",
    ];
    let (code, printed, _) = parts(here.kora(&flags, &[("KORA_PASSWORD", "hunter2")]));
    assert_eq!(code, 0);
    assert!(!printed.contains("hunter2"));
    assert!(printed.contains("# password = \"<set>\""));
    std::fs::write(here.0.join("kora.toml"), &printed).unwrap();
    let (code, again, _) = parts(here.kora(&["--print-config"], &[]));
    assert_eq!(code, 0);
    let values = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split('#').next().unwrap().trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(values(&again), values(&printed));
}

#[test]
fn a_password_is_refused_on_the_command_line() {
    let (code, _, error) = parts(WorkingDirectory::new().kora(&["--password", "hunter2"], &[]));
    assert_eq!(code, 2);
    assert!(
        error.contains("unexpected argument '--password'") && error.contains("--password-file"),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn an_unknown_flag_is_suggested_a_known_one() {
    let (code, _, error) = parts(WorkingDirectory::new().kora(&["--wokers", "2"], &[]));
    assert_eq!(code, 2);
    assert!(error.contains("a similar argument exists: '--workers'"), "{error}");
}

#[test]
fn version_and_help_are_on_standard_output() {
    let here = WorkingDirectory::with("kora.toml", "not toml at all");
    let version = format!("kora {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(parts(here.kora(&["--version"], &[])), (0, version, String::new()));
    let (code, help, error) = parts(here.kora(&["--help"], &[]));
    assert_eq!((code, &*error), (0, ""));
    for text in [
        "Network:",
        "Threads:",
        "Security:",
        "--max-clients <N>",
        "[default: 10000]",
        "KORA_PASSWORD",
        "Exit codes",
    ] {
        assert!(help.contains(text), "{text}\n{help}");
    }
}

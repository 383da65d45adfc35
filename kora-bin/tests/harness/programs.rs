//! Real client programs, run to their end with a time limit.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No program of these suites has a reason to run longer.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// What a program wrote and how it ended.
#[derive(Debug)]
pub struct Run {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Stdout of a program that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.success, "failed\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }
}

/// redis-cli against a port of 127.0.0.1.
pub fn redis_cli(port: u16, arguments: &[&str]) -> Run {
    redis_cli_with_input(port, arguments, b"")
}

pub fn redis_cli_with_input(port: u16, arguments: &[&str], input: &[u8]) -> Run {
    let mut command = Command::new("redis-cli");
    command.args(["-h", "127.0.0.1", "-p"]).arg(port.to_string()).args(arguments);
    run(command, input)
}

pub fn redis_benchmark(port: u16, arguments: &[&str]) -> Run {
    let mut command = Command::new("redis-benchmark");
    command.args(["-h", "127.0.0.1", "-p"]).arg(port.to_string()).args(arguments);
    run(command, b"")
}

/// A script of tests/python with the port and further arguments.
pub fn python(script: &str, arguments: &[&str]) -> Run {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
    let mut command = Command::new(interpreter());
    command.arg(path).args(arguments);
    run(command, b"")
}

/// A script of tests/node with the port and further arguments.
pub fn node(script: &str, arguments: &[&str]) -> Run {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node").join(script);
    let mut command = Command::new("node");
    command.arg(path).args(arguments);
    run(command, b"")
}

/// Whether a program is on the PATH.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The python3 that has redis-py: Debian's, when another one comes first on the PATH.
fn interpreter() -> PathBuf {
    let candidates = ["python3", "/usr/bin/python3"];
    for candidate in candidates {
        let mut command = Command::new(candidate);
        command.args(["-c", "import redis.cluster"]).stdout(Stdio::null()).stderr(Stdio::null());
        if command.status().is_ok_and(|status| status.success()) {
            return PathBuf::from(candidate);
        }
    }
    panic!("no python3 with redis-py 4 or later: apt-get install python3-redis");
}

/// Runs a program to its end.
pub fn run(mut command: Command, input: &[u8]) -> Run {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} runs (is it installed?): {error}"));
    let mut stdin = child.stdin.take().expect("a piped stdin");
    let (mut stdout, mut stderr) =
        (child.stdout.take().expect("stdout"), child.stderr.take().expect("stderr"));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that does not read its input closes it; that is not an error.
            let _ = stdin.write_all(input);
        });
        let out = scope.spawn(move || read_all(&mut stdout));
        let err = scope.spawn(move || read_all(&mut stderr));
        let success = await_end(&mut child, &name);
        Run {
            success,
            stdout: out.join().expect("stdout is read"),
            stderr: err.join().expect("stderr is read"),
        }
    })
}

fn read_all(input: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).expect("a pipe is read");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn await_end(child: &mut Child, name: &str) -> bool {
    let deadline = Instant::now() + TIME_LIMIT;
    loop {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            return status.success();
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{name} did not end within {TIME_LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

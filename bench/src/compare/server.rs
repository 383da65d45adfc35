//! A server that the comparison starts and stops itself: a free loopback port, its own empty directory,
//! pinned before it runs its first instruction.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::subject::Subject;
use crate::client::{Client, Session, Value};
use crate::sys::{affinity, process};
use crate::{Endpoint, Error};

/// How long a server may take to answer its first PING.
const START_MAX: Duration = Duration::from_secs(10);
/// How long a server may take to end after SIGTERM.
const STOP_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(2);
/// How much of a failed server's output is told.
const OUTPUT_TOLD_BYTES: usize = 2_000;

static STARTED: AtomicU32 = AtomicU32::new(0);

/// The working directory of a server, removed with all that it left there when this is dropped.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        // A leftover under the system's temporary directory harms nothing.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process; asked to end when dropped, and waited for.
struct Running(Child);

/// A running server; stopped when dropped.
pub(crate) struct Server {
    name: String,
    /// Before its directory, which is to be removed when nobody works there any more.
    running: Running,
    directory: Directory,
    pub(crate) endpoint: Endpoint,
    /// From the start of the program to its first answer.
    pub(crate) start: Duration,
    /// What INFO calls the version.
    pub(crate) version: String,
}

impl Server {
    /// Starts it in an empty directory.
    pub(crate) fn start(subject: &Subject, cpus: &[usize]) -> Result<Server, Error> {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kora-bench-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).map_err(Error::io(path.display().to_string()))?;
        Server::start_in(Directory(path), subject, cpus, START_MAX)
    }

    /// Ends it, and starts it again, or another one, in the directory where it was. `longest` is how long that may take to load what is there.
    pub(crate) fn again(self, subject: &Subject, cpus: &[usize], longest: Duration) -> Result<Server, Error> {
        let Server { running, directory, .. } = self;
        drop(running);
        Server::start_in(directory, subject, cpus, longest)
    }

    fn start_in(
        directory: Directory,
        subject: &Subject,
        cpus: &[usize],
        longest: Duration,
    ) -> Result<Server, Error> {
        let fail = |detail: String| Error::Server { name: subject.name.clone(), detail };
        let port = free_ports(1)?;
        let fill = |argument: &String| {
            argument.replace("{port}", &port.to_string()).replace("{dir}", &directory.0.display().to_string())
        };
        let mut args: Vec<String> = subject.args.iter().map(fill).collect();
        if subject.cluster_ports {
            let base = free_ports(subject.workers.unwrap_or(1) as u16)?;
            args.extend(["--cluster-ports".to_string(), base.to_string()]);
        }
        let log = File::create(directory.0.join("output")).map_err(Error::io("creating the output file"))?;
        let errors = log.try_clone().map_err(Error::io("creating the output file"))?;
        let mut command = Command::new(&subject.path);
        command.args(&args).current_dir(&directory.0).stdin(Stdio::null()).stdout(log).stderr(errors);
        affinity::pin_child(&mut command, cpus);
        let begun = Instant::now();
        let child =
            command.spawn().map_err(|e| fail(format!("{} did not start: {e}", subject.path.display())))?;
        let endpoint = Endpoint::Tcp(([127, 0, 0, 1], port).into());
        let mut server = Server {
            name: subject.name.clone(),
            running: Running(child),
            directory,
            endpoint,
            start: Duration::ZERO,
            version: String::new(),
        };
        let mut client = server.first_answer(begun, longest)?;
        server.start = begun.elapsed();
        server.version = version(&mut client)?;
        Ok(server)
    }

    fn first_answer(&mut self, begun: Instant, longest: Duration) -> Result<Client, Error> {
        loop {
            let refused = match Client::connect(&self.endpoint, &Session::default()) {
                Ok(client) => return Ok(client),
                Err(e) => e,
            };
            let ended = self.running.0.try_wait().map_err(Error::io("waiting for the server"))?;
            let detail = match ended {
                Some(status) => format!("ended at its start with {status}"),
                None if begun.elapsed() > longest => format!("did not answer PING in time: {refused}"),
                None => {
                    std::thread::sleep(POLL);
                    continue;
                }
            };
            let output = fs::read(self.directory.0.join("output")).unwrap_or_default();
            let told = &output[output.len().saturating_sub(OUTPUT_TOLD_BYTES)..];
            let detail =
                format!("{detail}; its output ends with:\n{}", String::from_utf8_lossy(told).trim_end());
            return Err(Error::Server { name: self.name.clone(), detail });
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.0.id()
    }

    /// A client of it, for questions between the runs.
    pub(crate) fn client(&self) -> Result<Client, Error> {
        Client::connect(&self.endpoint, &Session::default())
    }

    /// Number of keys.
    pub(crate) fn key_count(&self) -> Result<u64, Error> {
        match self.client()?.expect("DBSIZE", &[b"DBSIZE"])? {
            Value::Int(n) if n >= 0 => Ok(n as u64),
            other => Err(Error::Refused { command: "DBSIZE".into(), reply: other.to_string() }),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        process::terminate(self.0.id());
        let asked = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) {
            if asked.elapsed() > STOP_MAX {
                // Both only fail when the process has ended meanwhile, which is what is wanted.
                let _ = self.0.kill();
                let _ = self.0.wait();
                break;
            }
            std::thread::sleep(POLL);
        }
    }
}

/// The first of `count` neighbouring ports that are all free now.
fn free_ports(count: u16) -> Result<u16, Error> {
    let held = hold_neighbours(count)?;
    Ok(held[0].local_addr().map_err(Error::io("looking for a free port"))?.port())
}

/// Listeners on `count` neighbouring ports, held all at once. They are below the ports that the kernel gives to clients: of those, thousands may be
/// in use for a minute after a load.
fn hold_neighbours(count: u16) -> Result<Vec<TcpListener>, Error> {
    const FIRST: u32 = 10_000;
    const SPAN: u32 = 20_000;
    let begin = std::process::id().wrapping_mul(131);
    for step in 0..SPAN {
        let base = (FIRST + begin.wrapping_add(step * u32::from(count)) % SPAN) as u16;
        let held = (base..base + count).map(|port| TcpListener::bind(("127.0.0.1", port)));
        if let Ok(held) = held.collect::<std::io::Result<Vec<_>>>() {
            return Ok(held);
        }
    }
    Err(Error::Usage(format!("no {count} neighbouring free ports on 127.0.0.1")))
}

/// The version by the server's own name for it; forks keep `redis_version` for the protocol's sake.
fn version(client: &mut Client) -> Result<String, Error> {
    let Value::Text(info) = client.expect("INFO server", &[b"INFO", b"server"])? else {
        return Ok(String::new());
    };
    let info = String::from_utf8_lossy(&info).into_owned();
    let field = |name: &str| info.lines().find_map(|l| Some(l.strip_prefix(name)?.trim().to_string()));
    let names = ["kora_version:", "valkey_version:", "dragonfly_version:", "redis_version:"];
    Ok(names.iter().find_map(|name| field(name)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_or_ends_at_once_is_reported_with_its_output() {
        let mut subject = Subject::kora(std::path::Path::new("/nowhere/kora"), 1, &[]);
        let cpus = affinity::allowed();
        let error = |subject: &Subject| match Server::start(subject, &cpus) {
            Ok(_) => panic!("started"),
            Err(e) => e.to_string(),
        };
        assert!(error(&subject).contains("/nowhere/kora did not start"));
        subject.path = "/bin/sh".into();
        subject.args = ["-c", "echo no port $0 >&2; exit 3", "{port}"].map(String::from).to_vec();
        let text = error(&subject);
        assert!(text.contains("exit status: 3") && text.contains("no port "), "{text}");
        assert!(!text.contains("{port}"), "{text}");
    }

    #[test]
    fn neighbouring_ports_are_held_until_all_are_known_to_be_free() {
        let held = hold_neighbours(4).unwrap();
        let ports: Vec<u16> = held.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        assert_eq!(ports, (ports[0]..ports[0] + 4).collect::<Vec<_>>());
        assert!(TcpListener::bind(("127.0.0.1", ports[3])).is_err());
    }
}

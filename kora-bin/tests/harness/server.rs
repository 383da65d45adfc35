//! One server as a child process in a directory of its own: started, awaited, measured, stopped.
//!
//! A `Launch` says how to start, a `Server` is running and answers PING. Dropping a `Server` kills it by its pid and
//! removes its directory; when the test is failing, what the server wrote is shown first.

use super::resp::Client;
use super::sandbox::Sandbox;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to its first answer, or to end, before the test calls it hung.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long it may take to load what it has.
const LOADING_PATIENCE: Duration = Duration::from_secs(60);

/// What is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Kora,
    /// A redis-server of this major and minor version.
    Redis((u32, u32)),
}

impl Subject {
    /// The binary that `KORA_BIN` names, or this workspace's own.
    pub fn binary() -> PathBuf {
        std::env::var_os("KORA_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_kora")), PathBuf::from)
    }

    /// Told by the file's name; a redis-server says its version itself.
    pub fn of(binary: &Path) -> Subject {
        let name = binary.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with("redis-server") {
            return Subject::Kora;
        }
        let output = Command::new(binary).arg("--version").output().expect("redis-server --version runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.split("v=").nth(1).expect("redis-server --version has v=");
        let mut numbers = version.split('.').map_while(|number| number.parse().ok());
        Subject::Redis((numbers.next().expect("a major version"), numbers.next().expect("a minor version")))
    }

    /// The subject of this run.
    pub fn current() -> Subject {
        Subject::of(&Subject::binary())
    }
}

/// How to start one server. Settings are spelt in the flags of whichever server it is.
#[derive(Clone)]
pub struct Launch {
    binary: PathBuf,
    pub subject: Subject,
    workers: usize,
    port: Option<u16>,
    cluster_ports: Option<u16>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    password: Option<String>,
    sandbox: Sandbox,
}

impl Launch {
    /// The server under test, with one worker.
    pub fn kora() -> Launch {
        Launch::of(Subject::binary())
    }

    /// Debian's redis-server, the reference for replies.
    pub fn redis() -> Launch {
        Launch::of(PathBuf::from("redis-server"))
    }

    fn of(binary: PathBuf) -> Launch {
        let subject = Subject::of(&binary);
        Launch {
            binary,
            subject,
            workers: 1,
            port: None,
            cluster_ports: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            password: None,
            sandbox: Sandbox::default(),
        }
    }

    pub fn workers(mut self, workers: usize) -> Launch {
        self.workers = workers;
        self
    }

    /// A fixed port instead of a free one.
    pub fn port(mut self, port: u16) -> Launch {
        self.port = Some(port);
        self
    }

    /// Executor i also listens on a port of its own, the base plus i. Redis has no such thing.
    pub fn cluster_ports(mut self, base: u16) -> Launch {
        self.cluster_ports = Some(base);
        self
    }

    pub fn password(mut self, password: &str) -> Launch {
        self.password = Some(password.to_owned());
        self
    }

    pub fn max_clients(self, count: usize) -> Launch {
        self.setting("max-clients", "maxclients", &count.to_string())
    }

    /// A client whose unsent replies pass this many bytes is dropped.
    pub fn output_buffer_limit(self, bytes: usize) -> Launch {
        match self.subject {
            Subject::Kora => self.argument("--output-buffer-limit-normal").argument(&format!("{bytes} 0 0")),
            Subject::Redis(..) => self
                .argument("--client-output-buffer-limit")
                .argument("normal")
                .argument(&bytes.to_string())
                .argument("0")
                .argument("0"),
        }
    }

    pub fn timeout_seconds(self, seconds: u64) -> Launch {
        self.setting("timeout", "timeout", &seconds.to_string())
    }

    pub fn databases(self, count: usize) -> Launch {
        self.setting("databases", "databases", &count.to_string())
    }

    pub fn unix_socket(self, path: &Path) -> Launch {
        self.setting("unix-socket", "unixsocket", path.to_str().expect("a UTF-8 path"))
    }

    fn setting(self, kora: &str, redis: &str, value: &str) -> Launch {
        let name = if self.subject == Subject::Kora { kora } else { redis };
        self.argument(&format!("--{name}")).argument(value)
    }

    pub fn argument(mut self, argument: &str) -> Launch {
        self.arguments.push(argument.to_owned());
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Launch {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Everything is kept in this folder, which outlives the server.
    pub fn data_dir(self, path: &Path) -> Launch {
        let path = path.to_str().expect("a UTF-8 path");
        match self.subject {
            Subject::Kora => self.argument("--data-dir").argument(path),
            Subject::Redis(..) => {
                ["--dir", path, "--appendonly", "yes"].iter().fold(self, |l, a| l.argument(a))
            }
        }
    }

    /// When a change is on the disk: `every_write`, `every_second` or `os_managed`.
    pub fn wal_sync(self, when: &str) -> Launch {
        let redis = match when {
            "every_write" => "always",
            "every_second" => "everysec",
            _ => "no",
        };
        let value = if self.subject == Subject::Kora { when } else { redis };
        self.setting("wal-sync", "appendfsync", value)
    }

    /// No file may grow larger.
    pub fn file_bytes(mut self, bytes: u64) -> Launch {
        self.sandbox.file_bytes = Some(bytes);
        self
    }

    pub fn descriptors(mut self, count: u64) -> Launch {
        self.sandbox.descriptors = Some(count);
        self
    }

    pub fn locked_bytes(mut self, bytes: u64) -> Launch {
        self.sandbox.locked_bytes = Some(bytes);
        self
    }

    pub fn io_uring_errno(mut self, errno: i32) -> Launch {
        self.sandbox.io_uring_errno = Some(errno);
        self
    }

    /// Starts the server and waits until it answers. Panics with what it wrote if it ends instead.
    pub fn start(&self) -> Server {
        match self.start_or_exit() {
            Ok(server) => server,
            Err(exit) => panic!("{} did not start: {exit:?}", self.binary.display()),
        }
    }

    /// Starts the server and waits until all that it had on the disk is loaded.
    pub fn start_loaded(&self) -> Server {
        self.start_loaded_or_exit().unwrap_or_else(|exit| panic!("it did not start: {exit:?}"))
    }

    /// The same of one that may end by itself.
    pub fn start_loaded_or_exit(&self) -> Result<Server, Exit> {
        let mut server = self.start_or_exit()?;
        let deadline = Instant::now() + LOADING_PATIENCE;
        loop {
            let reply = Client::connect_to(server.address()).and_then(|mut client| {
                client.send(&["PING"])?;
                client.read()
            });
            if reply.is_ok_and(|reply| reply.raw == b"+PONG\r\n") {
                return Ok(server);
            }
            if !server.is_running() {
                return Err(server.wait());
            }
            assert!(
                Instant::now() < deadline,
                "still loading after {LOADING_PATIENCE:?}: {}",
                server.output()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts the server and waits until it either answers or ends by itself.
    pub fn start_or_exit(&self) -> Result<Server, Exit> {
        let mut server = self.spawn();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(mut client) = Client::connect_to(server.address()) {
                // Any reply will do: a server with a password answers NOAUTH. It must be this process that answers, not one
                // that was quicker to take the port.
                if client.send(&["INFO", "server"]).is_ok() {
                    let answer = client.read().map(|reply| String::from_utf8_lossy(&reply.raw).into_owned());
                    let other = |info: &String| {
                        info.contains("process_id:")
                            && !info.contains(&format!("process_id:{}\r\n", server.pid()))
                    };
                    if answer.is_ok_and(|info| !other(&info)) {
                        return Ok(server);
                    }
                }
            }
            if let Some(status) = server.child.try_wait().expect("the child can be waited for") {
                return Err(Exit { status, output: server.output() });
            }
            assert!(Instant::now() < deadline, "no answer within {PATIENCE:?}: {}", server.output());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts the server without waiting for it.
    pub fn spawn(&self) -> Server {
        let port = self.port.unwrap_or_else(|| free_ports(1));
        let directory = new_directory();
        let output = fs::File::create(directory.join(OUTPUT)).expect("the log file is created");
        let mut command = Command::new(&self.binary);
        command.current_dir(&directory).stdin(Stdio::null());
        command.stdout(output.try_clone().expect("a second handle")).stderr(output);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KORA_")) {
            command.env_remove(name);
        }
        command.arg("--port").arg(port.to_string()).args(["--bind", "127.0.0.1"]);
        match self.subject {
            Subject::Kora => {
                command.arg("--workers").arg(self.workers.to_string());
                if let Some(base) = self.cluster_ports {
                    command.arg("--cluster-ports").arg(base.to_string());
                }
                // A password on the command line is seen by everybody who may run ps.
                if let Some(password) = &self.password {
                    command.env("KORA_PASSWORD", password);
                }
            }
            Subject::Redis(..) => {
                command.args(["--save", "", "--appendonly", "no", "--enable-debug-command", "yes"]);
                if let Some(password) = &self.password {
                    command.arg("--requirepass").arg(password);
                }
            }
        }
        command.args(&self.arguments).envs(self.environment.iter().cloned());
        self.sandbox.apply(&mut command);
        let child =
            command.spawn().unwrap_or_else(|error| panic!("{} starts: {error}", self.binary.display()));
        Server { child, port, directory }
    }
}

/// How a server ended and all that it wrote.
#[derive(Debug)]
pub struct Exit {
    pub status: ExitStatus,
    pub output: String,
}

const OUTPUT: &str = "output.log";

/// A running server.
pub struct Server {
    child: Child,
    pub port: u16,
    pub directory: PathBuf,
}

impl Server {
    pub fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new connection, in RESP2.
    pub fn client(&self) -> Client {
        Client::connect_to(self.address())
            .unwrap_or_else(|error| panic!("connecting to port {}: {error}", self.port))
    }

    /// Everything written to stdout and stderr so far.
    pub fn output(&self) -> String {
        let bytes = fs::read(self.directory.join(OUTPUT)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child can be waited for").is_none()
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: kill takes plain integers; the child is not reaped before `child` is waited for, so the pid is its own.
        let result = unsafe { libc::kill(self.pid() as i32, signal) };
        assert_eq!(result, 0, "signal {signal} is sent");
    }

    /// Ends the server without a chance to do anything about it.
    pub fn kill(mut self) {
        self.signal(libc::SIGKILL);
        self.wait();
    }

    /// Waits until the server ends by itself.
    pub fn wait(&mut self) -> Exit {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return Exit { status, output: self.output() };
            }
            assert!(Instant::now() < deadline, "still running after {PATIENCE:?}: {}", self.output());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// User and system time used so far by all threads, in clock ticks (1/100 s).
    pub fn cpu_ticks(&self) -> u64 {
        let stat = self.proc_file("stat");
        // The name in parentheses may hold anything; fields are counted from its end, where the state is number 3.
        let fields: Vec<&str> = stat[stat.rfind(')').expect("a name") + 2..].split(' ').collect();
        let field = |number: usize| fields[number - 3].parse::<u64>().expect("a number");
        field(14) + field(15)
    }

    /// Resident memory in bytes.
    pub fn rss_bytes(&self) -> u64 {
        self.status_kib("VmRSS:") * 1024
    }

    /// The most resident memory there has been, in bytes.
    pub fn peak_rss_bytes(&self) -> u64 {
        self.status_kib("VmHWM:") * 1024
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("/proc/PID/fd").count()
    }

    fn status_kib(&self, key: &str) -> u64 {
        let status = self.proc_file("status");
        let line = status.lines().find(|line| line.starts_with(key)).expect("a line of /proc/PID/status");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number of KiB")
    }

    fn proc_file(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.pid())).expect("a file of /proc/PID")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let status = self.child.wait();
        if std::thread::panicking() {
            let output = self.output();
            let tail: Vec<&str> = output.lines().rev().take(60).collect();
            eprintln!("--- server on port {} ({status:?}) wrote:", self.port);
            for line in tail.iter().rev() {
                eprintln!("    {line}");
            }
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The first of `count` neighbouring ports that nobody listens on, below the range that the kernel gives to clients.
pub fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    const SPAN: u32 = 20_000;
    for _ in 0..SPAN {
        let step = NEXT.fetch_add(u32::from(count), Ordering::Relaxed);
        let port = (FIRST + (std::process::id().wrapping_mul(131).wrapping_add(step)) % SPAN) as u16;
        if (port..port + count).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return port;
        }
    }
    panic!("no {count} free neighbouring ports on 127.0.0.1");
}

/// A new folder under the temporary one, which is left to the caller.
pub fn new_directory() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("kora-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let directory = std::env::temp_dir().join(name);
    fs::create_dir_all(&directory).expect("a temporary directory is created");
    directory
}

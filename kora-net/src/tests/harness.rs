//! A server in this process and a client that reads replies as bytes.

use crate::options::{DebugCommand, Host, HostMemory, Options, OutputLimit, Settings};
use crate::ring::RingSizes;
use crate::server::{self, Server};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A reply that takes longer will never come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program around the server that keeps nothing.
pub struct NoHost;

impl Host for NoHost {
    fn set_log_level(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn rewrite_config(&self, _: &[(&str, Option<String>)]) -> Result<(), String> {
        Err("there is no file".to_owned())
    }
    fn memory(&self) -> HostMemory {
        HostMemory::default()
    }
    fn allocated_by_thread(&self) -> isize {
        0
    }
    fn purge_memory(&self, _: bool) {}
    fn release_memory(&self) -> bool {
        false
    }
    fn set_prompt_purge(&self, _: bool) {}
    unsafe fn is_in_sparse_page(&self, _: *const u8, _: u8) -> bool {
        false
    }
}

/// Stops when it goes out of scope.
pub struct TestServer {
    path: PathBuf,
    server: Option<Server>,
}

impl TestServer {
    /// A server with this many executors.
    pub fn start(executors: usize) -> TestServer {
        TestServer::with(executors, |_| {})
    }

    /// The same, with other options.
    pub fn with(executors: usize, change: impl FnOnce(&mut Options)) -> TestServer {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kora-net-{}-{number}.sock", std::process::id()));
        let mut options = Options {
            host: Arc::new(NoHost),
            bind: Vec::new(),
            port: 0,
            unix_socket: Some(path.clone()),
            unix_socket_perm: None,
            // Two executors on one core only take turns.
            cores: (0..executors).map(|id| id % cores()).collect(),
            cluster_ports: None,
            tcp_backlog: 511,
            databases: 16,
            spin_us: 0,
            disable_thp: false,
            debug_command: DebugCommand::Local,
            config_file: None,
            version: "0.0.0",
            ring: RingSizes::default(),
            storage: None,
            settings: Settings {
                password: None,
                protected_mode: true,
                max_clients: 10_000,
                timeout: 0,
                tcp_keepalive: 300,
                query_buffer_limit: 1 << 30,
                multi_queue_limit: 128 << 20,
                output_limit: OutputLimit::default(),
                proto_max_bulk_len: 512 << 20,
                hz: 10,
                slowlog_log_slower_than: -1,
                slowlog_max_len: 128,
                latency_monitor_threshold: 0,
                log_level: "info".to_owned(),
                encodings: Default::default(),
                maxmemory: 0,
                eviction: Default::default(),
                eviction_tenacity: 10,
                lua_time_limit: 5000,
                lua_memory_limit: 64 << 20,
                script_undeclared_keys: false,
            },
        };
        change(&mut options);
        let server = server::start(options).expect("the server starts");
        TestServer { path, server: Some(server) }
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        self.try_client().expect("the server listens")
    }

    /// A new connection, if the server still listens.
    pub fn try_client(&self) -> std::io::Result<Client> {
        let stream = UnixStream::connect(&self.path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { reader: BufReader::with_capacity(1 << 16, stream.try_clone()?), stream })
    }

    /// Asks the server to end, without waiting.
    pub fn stop(&self) {
        self.server.as_ref().expect("runs").stopper()();
    }

    /// Waits for the end.
    pub fn join(mut self) {
        self.server.take().expect("runs").join().expect("every executor ends well");
    }

    /// Waits until this many clients have a seat, the asking one included.
    pub fn await_clients(&self, asking: &mut Client, expected: usize) {
        let process = self.server.as_ref().expect("runs").process();
        asking.until("PING", |_| process.clients.load(Ordering::Relaxed) == expected);
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stopper()();
            let end = server.join();
            if !std::thread::panicking() {
                end.expect("every executor ends well");
            }
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// One connection.
pub struct Client {
    pub stream: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Client {
    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Sends a command and returns its encoded reply.
    pub fn command(&mut self, argv: &[&[u8]]) -> Vec<u8> {
        self.send(&encode(argv));
        self.reply()
    }

    /// The same for words without spaces, as text.
    pub fn line(&mut self, line: &str) -> String {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        String::from_utf8(self.command(&argv)).unwrap()
    }

    /// Repeats a command until its reply is as wanted.
    pub fn until(&mut self, line: &str, wanted: impl Fn(&str) -> bool) {
        let start = Instant::now();
        loop {
            let reply = self.line(line);
            if wanted(&reply) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{line} still says {reply}");
        }
    }

    /// The next reply, encoded.
    pub fn reply(&mut self) -> Vec<u8> {
        let mut reply = Vec::new();
        self.read_reply(&mut reply);
        reply
    }

    fn read_reply(&mut self, into: &mut Vec<u8>) {
        let start = into.len();
        self.reader.read_until(b'\n', into).expect("a reply");
        let line = &into[start..];
        assert!(line.ends_with(b"\r\n"), "no reply, but {:?}", String::from_utf8_lossy(line));
        let kind = line[0];
        let number =
            std::str::from_utf8(&line[1..line.len() - 2]).ok().and_then(|text| text.parse::<i64>().ok());
        match kind {
            b'$' => {
                let len = number.expect("a length");
                if len >= 0 {
                    let from = into.len();
                    into.resize(from + len as usize + 2, 0);
                    self.reader.read_exact(&mut into[from..]).expect("the rest of a reply");
                    assert!(into.ends_with(b"\r\n"));
                }
            }
            b'*' => {
                for _ in 0..number.expect("a length").max(0) {
                    self.read_reply(into);
                }
            }
            b'+' | b'-' | b':' => {}
            other => panic!("a reply starts with {:?}", other as char),
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&self) {
        self.stream.shutdown(std::net::Shutdown::Write).expect("it is open");
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).expect("the server closes the connection");
        rest
    }
}

/// A command as RESP.
pub fn encode(argv: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", argv.len()).into_bytes();
    for arg in argv {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A bulk string as RESP.
pub fn bulk(text: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
}

/// Bytes that differ from place to place, so that a piece that is lost or out of place shows.
pub fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| random.u8(..)).collect()
}

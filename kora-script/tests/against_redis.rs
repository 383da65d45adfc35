//! The same scripts here and on redis-server, replies byte by byte.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kora_engine::reply::Protocol;
use support::Bench;

/// A redis-server on a free port, stopped when dropped.
struct Server {
    process: Child,
    port: u16,
    /// 7 or 8.
    major: u32,
}

impl Server {
    /// The server that `KORA_REDIS_SERVER` names, or the one that is installed; none when there is none.
    fn start() -> Option<Server> {
        let program = std::env::var("KORA_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        let version = Command::new(&program).arg("--version").output().ok()?;
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        let major = version.split("v=").nth(1)?.split('.').next()?.parse().ok()?;
        let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let process = Command::new(&program)
            .args(["--port", &port.to_string(), "--save", "", "--daemonize", "no", "--appendonly", "no"])
            .current_dir(std::env::temp_dir())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let server = Server { process, port, major };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(10), "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(server)
    }

    fn connect(&self, protocol: Protocol) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut client = Client(stream);
        if protocol == Protocol::Resp3 {
            client.call(&[b"HELLO", b"3"]);
        }
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Client(TcpStream);

impl Client {
    fn call(&mut self, arguments: &[&[u8]]) -> Vec<u8> {
        let mut request = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            request.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            request.extend_from_slice(argument);
            request.extend_from_slice(b"\r\n");
        }
        self.0.write_all(&request).expect("a request");
        let mut reply = Vec::new();
        let mut chunk = [0; 65536];
        loop {
            if let Some(len) = reply_len(&reply) {
                assert_eq!(len, reply.len(), "more than one reply");
                return reply;
            }
            let read = self.0.read(&mut chunk).expect("a reply");
            assert!(read > 0, "closed, after {:?}", String::from_utf8_lossy(&reply));
            reply.extend_from_slice(&chunk[..read]);
        }
    }
}

/// The length of the first reply, if it is all there.
fn reply_len(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let count = || std::str::from_utf8(&bytes[1..line]).ok()?.parse::<i64>().ok();
    let elements = match bytes[0] {
        b'$' | b'=' => {
            let len = count()?;
            let end = if len < 0 { line + 2 } else { line + 4 + len as usize };
            return (bytes.len() >= end).then_some(end);
        }
        b'*' | b'~' | b'>' => count()?.max(0),
        b'%' => count()? * 2,
        _ => return Some(line + 2),
    };
    let mut end = line + 2;
    for _ in 0..elements {
        end += reply_len(bytes.get(end..)?)?;
    }
    Some(end)
}

/// Runs each script of a file (separated by lines of `--`) in both protocols here and there. A script that begins with `-- 8` has a reply that
/// Redis 7.0 has not.
fn compare(file: &str, scripts: &str) {
    let Some(server) = Server::start() else {
        eprintln!("no redis-server: {file} is not compared");
        return;
    };
    let mut wrong = Vec::new();
    let mut compared = 0;
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut client = server.connect(protocol);
        let mut bench = Bench::new();
        for script in scripts.split("\n--\n") {
            let script = script.trim_end_matches('\n');
            if script.starts_with("-- 8") && server.major < 8 {
                continue;
            }
            compared += 1;
            if std::env::var_os("KORA_SHOW").is_some() {
                eprintln!("{script}");
            }
            let theirs = client.call(&[b"EVAL", script.as_bytes(), b"2", b"k1", b"k2", b"a1", b"a2", b"3"]);
            let theirs = theirs.escape_ascii().to_string();
            let ours = bench
                .bytes_with(protocol, script.as_bytes(), &[b"k1", b"k2"], &[b"a1", b"a2", b"3"])
                .escape_ascii()
                .to_string();
            if ours != theirs {
                wrong.push(format!("{script}\n   redis: {theirs}\n   kora:  {ours}"));
            }
        }
    }
    assert!(compared > 0, "{file}: nothing to compare");
    assert!(wrong.is_empty(), "{file}: {} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
}

macro_rules! files {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            compare(stringify!($name), include_str!(concat!("scripts/", stringify!($name), ".txt")));
        })*
    };
}

files!(replies errors sandbox json msgpack packing bit);

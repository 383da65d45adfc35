//! A real redis-server to compare with.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kora_engine::reply::Protocol;

/// A redis-server on a free port, stopped when dropped.
pub struct Server {
    process: Child,
    /// Its socket: a name cannot be taken by another test, as a port can.
    socket: PathBuf,
    /// 7 or 8.
    pub major: u32,
}

impl Server {
    /// The server that `KORA_REDIS_SERVER` names, or the one that is installed; none when there is none.
    pub fn start() -> Option<Server> {
        let program = std::env::var("KORA_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        let version = Command::new(&program).arg("--version").output().ok()?;
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        let major = version.split("v=").nth(1)?.split('.').next()?.parse().ok()?;
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let socket = std::env::temp_dir().join(format!("kora-script-{}-{number}.sock", std::process::id()));
        let process = Command::new(&program)
            .args(["--port", "0", "--save", "", "--daemonize", "no", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .current_dir(std::env::temp_dir())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let server = Server { process, socket, major };
        let begin = Instant::now();
        while UnixStream::connect(&server.socket).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(10), "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(server)
    }

    pub fn connect(&self, protocol: Protocol) -> Client {
        let stream = UnixStream::connect(&self.socket).expect("a connection");
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
        let _ = std::fs::remove_file(&self.socket);
    }
}

pub struct Client(UnixStream);

impl Client {
    pub fn call(&mut self, arguments: &[&[u8]]) -> Vec<u8> {
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

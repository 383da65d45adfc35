//! A server that does nothing but answer: one thread, one epoll loop, no data.
//!
//! It answers SET with `+OK`, GET with a value of a fixed size, PING, AUTH, HELLO, INFO, DBSIZE and CLUSTER
//! SLOTS as far as the generator needs them, anything else with an error. The ceiling of the generator is
//! measured against it, and the tests have their faults from it: a pause, an error in every so many
//! replies, a connection that is closed.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::sys::{affinity, epoll::Epoll};
use crate::{Endpoint, Error};

/// How it answers.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Bytes of the value that every GET finds.
    pub value_size: usize,
    /// The CPU to run on.
    pub cpu: Option<usize>,
    /// Stop for this long, once, before answering request number so-and-so (counted from 0).
    pub pause: Option<(u64, Duration)>,
    /// Answer every so-manyth SET or GET with an error.
    pub error_every: Option<u64>,
    /// Close the connection that brings request number so-and-so.
    pub close_at: Option<u64>,
    /// What CLUSTER SLOTS tells: first slot, last slot, port.
    pub slots: Vec<(u16, u16, u16)>,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            value_size: 256,
            cpu: None,
            pause: None,
            error_every: None,
            close_at: None,
            slots: Vec::new(),
        }
    }
}

/// What it has seen; shared with the thread that serves.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    requests: AtomicU64,
    /// How often each key was SET or asked for; kept only where tests look.
    keys: Mutex<HashMap<Vec<u8>, u64>>,
}

/// A running responder; it ends when this is dropped.
pub struct Responder {
    endpoint: Endpoint,
    seen: Arc<Seen>,
    thread: Option<std::thread::JoinHandle<io::Result<()>>>,
}

/// How long the loop sleeps before it looks whether it should end.
const STOP_CHECK: Duration = Duration::from_millis(20);
const LISTENER: usize = usize::MAX;
const READ_BYTES: usize = 256 << 10;

impl Responder {
    /// Listens on a free port of 127.0.0.1.
    pub fn start(behaviour: Behaviour) -> Result<Responder, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::io("listening on 127.0.0.1"))?;
        Responder::serve(listener, behaviour, true)
    }

    /// The same without the memory of keys, which costs more than answering.
    pub fn start_bare(behaviour: Behaviour) -> Result<Responder, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::io("listening on 127.0.0.1"))?;
        Responder::serve(listener, behaviour, false)
    }

    /// Serves a listener that is already bound, so that its port can be told to others first.
    pub fn serve(
        listener: TcpListener,
        behaviour: Behaviour,
        remember_keys: bool,
    ) -> Result<Responder, Error> {
        let address = listener.local_addr().map_err(Error::io("asking for the port"))?;
        listener.set_nonblocking(true).map_err(Error::io("making a listener non-blocking"))?;
        let seen = Arc::new(Seen::default());
        let server = Server {
            listener,
            epoll: Epoll::new().map_err(Error::io("epoll_create"))?,
            connections: HashMap::new(),
            value: format!("${}\r\n{}\r\n", behaviour.value_size, "x".repeat(behaviour.value_size))
                .into_bytes(),
            behaviour,
            remember_keys,
            seen: seen.clone(),
            next: 0,
        };
        let thread = std::thread::spawn(move || server.run());
        Ok(Responder { endpoint: Endpoint::Tcp(address), seen, thread: Some(thread) })
    }

    /// Serves until the process is ended; returns only when the loop failed.
    pub(crate) fn wait(mut self) -> Result<(), Error> {
        match self.thread.take().map(std::thread::JoinHandle::join) {
            Some(Ok(ended)) => ended.map_err(Error::io("the responder's loop")),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// SETs, GETs and unknown commands so far.
    pub fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::Relaxed)
    }

    /// How often each key came in a SET or a GET.
    pub fn keys(&self) -> HashMap<Vec<u8>, u64> {
        self.seen.keys.lock().expect("the serving thread does not panic with the lock").clone()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its result says how it ended; at this point nobody depends on it any more.
            let _ = thread.join();
        }
    }
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    blocked: bool,
}

struct Server {
    listener: TcpListener,
    epoll: Epoll,
    connections: HashMap<usize, Connection>,
    value: Vec<u8>,
    behaviour: Behaviour,
    remember_keys: bool,
    seen: Arc<Seen>,
    next: usize,
}

impl Server {
    fn run(mut self) -> io::Result<()> {
        if let Some(cpu) = self.behaviour.cpu {
            affinity::pin_thread(&[cpu])?;
        }
        self.epoll.add(self.listener.as_raw_fd(), LISTENER)?;
        let mut buffer = vec![0; READ_BYTES];
        while !self.seen.stop.load(Ordering::Relaxed) {
            for i in 0..self.epoll.wait(STOP_CHECK)? {
                let token = self.epoll.event(i).token;
                if token == LISTENER {
                    self.accept()?;
                } else if !self.serve(token, &mut buffer) {
                    self.connections.remove(&token);
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    self.epoll.add(stream.as_raw_fd(), self.next)?;
                    let (input, output) = (Vec::new(), Vec::new());
                    let connection = Connection { stream, input, output, written: 0, blocked: false };
                    self.connections.insert(self.next, connection);
                    self.next += 1;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }

    /// One read, all requests in it, one write. False when the connection is over.
    fn serve(&mut self, token: usize, buffer: &mut [u8]) -> bool {
        let Some(connection) = self.connections.get_mut(&token) else { return true };
        match connection.stream.read(buffer) {
            Ok(0) => return false,
            Ok(n) => connection.input.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        let input = std::mem::take(&mut connection.input);
        let mut output = std::mem::take(&mut connection.output);
        let mut used = 0;
        while let Some((arguments, length)) = request(&input[used..]) {
            used += length;
            if !self.answer(&arguments, &mut output) {
                return false;
            }
        }
        let connection = self.connections.get_mut(&token).expect("nobody removed it meanwhile");
        connection.input = input;
        connection.input.drain(..used);
        connection.output = output;
        while connection.written < connection.output.len() {
            match connection.stream.write(&connection.output[connection.written..]) {
                Ok(n) => connection.written += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        let blocked = connection.written < connection.output.len();
        if !blocked {
            connection.output.clear();
            connection.written = 0;
        }
        if blocked != connection.blocked {
            connection.blocked = blocked;
            return self.epoll.modify(connection.stream.as_raw_fd(), token, blocked).is_ok();
        }
        true
    }

    fn answer(&mut self, arguments: &[&[u8]], output: &mut Vec<u8>) -> bool {
        match arguments {
            [b"PING"] => output.extend_from_slice(b"+PONG\r\n"),
            [b"HELLO", b"3"] => output.extend_from_slice(b"%1\r\n$5\r\nproto\r\n:3\r\n"),
            [b"AUTH", b"secret"] => output.extend_from_slice(b"+OK\r\n"),
            [b"AUTH", _] => output.extend_from_slice(b"-WRONGPASS invalid username-password pair\r\n"),
            [b"CLUSTER", b"SLOTS"] => self.slots(output),
            [b"INFO", ..] => output.extend_from_slice(b"$20\r\nredis_version:none\r\n\r\n"),
            [b"DBSIZE"] => {
                let keys = self.seen.keys.lock().expect("nobody panics with the lock").len();
                output.extend_from_slice(format!(":{keys}\r\n").as_bytes());
            }
            _ => return self.counted(arguments, output),
        }
        true
    }

    fn counted(&mut self, arguments: &[&[u8]], output: &mut Vec<u8>) -> bool {
        let number = self.seen.requests.fetch_add(1, Ordering::Relaxed);
        if self.behaviour.close_at == Some(number) {
            return false;
        }
        match self.behaviour.pause {
            Some((at, time)) if at == number => std::thread::sleep(time),
            _ => {}
        }
        if self.behaviour.error_every.is_some_and(|every| (number + 1).is_multiple_of(every)) {
            output.extend_from_slice(b"-ERR told to fail\r\n");
            return true;
        }
        if let ([_, key, ..], true) = (arguments, self.remember_keys) {
            let mut keys = self.seen.keys.lock().expect("nobody panics with the lock");
            *keys.entry(key.to_vec()).or_default() += 1;
        }
        match arguments {
            [b"SET", _, _] => output.extend_from_slice(b"+OK\r\n"),
            [b"GET", _] => output.extend_from_slice(&self.value),
            _ => output.extend_from_slice(b"-ERR unknown command\r\n"),
        }
        true
    }

    fn slots(&self, output: &mut Vec<u8>) {
        let slots = &self.behaviour.slots;
        output.extend_from_slice(format!("*{}\r\n", slots.len()).as_bytes());
        for (first, last, port) in slots {
            let range = format!("*3\r\n:{first}\r\n:{last}\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}\r\n");
            output.extend_from_slice(range.as_bytes());
        }
    }
}

/// The first whole request in `input` and its length in bytes. Only the generator talks to this server, so
/// what is not an array of strings is taken as incomplete and never answered.
fn request(input: &[u8]) -> Option<(Vec<&[u8]>, usize)> {
    let mut at = 0;
    let header = |kind: u8, at: &mut usize| -> Option<usize> {
        // The line end of the argument before may not have come yet.
        let rest = input.get(*at..)?;
        let end = rest.iter().position(|&b| b == b'\n')?;
        *at += end + 1;
        let digits = rest[..end].strip_prefix(&[kind])?.strip_suffix(b"\r")?;
        digits
            .iter()
            .try_fold(0usize, |n, d| n.checked_mul(10)?.checked_add(usize::from(d.wrapping_sub(b'0'))))
    };
    let count = header(b'*', &mut at)?;
    let mut arguments = Vec::with_capacity(count.min(16));
    for _ in 0..count {
        let length = header(b'$', &mut at)?;
        arguments.push(input.get(at..at + length)?);
        at += length + 2;
    }
    (at <= input.len()).then_some((arguments, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_ends_anywhere_is_incomplete() {
        let whole = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n";
        for len in 0..whole.len() {
            assert_eq!(request(&whole[..len]), None, "{len} bytes");
        }
        assert_eq!(request(whole), Some((vec![&b"SET"[..], b"key", b"value"], whole.len())));
    }
}

//! One thread of the generator: an epoll loop over its connections.
//!
//! A batch costs one write, one read and one look at the clock. In a closed loop a connection sends
//! `pipeline` requests, waits for all their replies and sends the next batch; latency counts from the send.
//! In an open loop a request is handed, when it is due, to the next connection with fewer than `pipeline`
//! requests in flight; latency counts from when it was due, whoever was the reason for the wait.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::report::{latencies, ThreadReport, ERROR_SAMPLES};
use super::schedule::Schedule;
use super::workload::Template;
use crate::endpoint::Stream;
use crate::keys::{KeySource, KeySpace};
use crate::reply::{Outcome, ReplyParser};
use crate::sys::{affinity, epoll::Epoll, thread};
use crate::{Endpoint, Error};

/// Room for one read: replies to a deep pipeline of values in one system call.
const READ_BYTES: usize = 256 << 10;
/// How long replies are waited for after the last request.
const GRACE: Duration = Duration::from_secs(5);
/// How long a server may be silent before its end is out of sight.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Without an end in sight the loop still looks at the clock this often.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// A connection as the thread gets it: introduced, blocking, idle.
pub(crate) struct Opened {
    pub(crate) stream: Stream,
    /// Index into [`Plan::nodes`].
    pub(crate) node: usize,
    /// Where in the cycle of commands it begins.
    pub(crate) phase: usize,
}

/// The requests of this thread to one node.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) keys: KeySource,
    /// Requests that may still be sent.
    pub(crate) budget: u64,
}

/// Everything that one thread does.
pub(crate) struct Plan {
    pub(crate) cpu: Option<usize>,
    pub(crate) connections: Vec<Opened>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) cycle: Vec<Template>,
    pub(crate) space: KeySpace,
    pub(crate) pipeline: usize,
    /// Nanoseconds from the start; `u64::MAX` when only the budgets end the run.
    pub(crate) end_ns: u64,
    pub(crate) schedule: Option<Schedule>,
    pub(crate) rng: fastrand::Rng,
}

struct Connection {
    stream: Stream,
    node: usize,
    step: usize,
    parser: ReplyParser,
    out: Vec<u8>,
    written: usize,
    /// The connection waits for room to write.
    blocked: bool,
    /// When requests in flight were sent or due, oldest first, those of one batch together.
    in_flight: VecDeque<(u64, u32)>,
    awaited: usize,
    /// Open loop: the connection is in the queue of those that may be given a request.
    queued: bool,
    /// Open loop: the connection has unwritten requests of this turn.
    dirty: bool,
}

struct Worker {
    connections: Vec<Connection>,
    nodes: Vec<Node>,
    cycle: Vec<Template>,
    space: KeySpace,
    pipeline: usize,
    end_ns: u64,
    rng: fastrand::Rng,
    epoll: Epoll,
    input: Vec<u8>,
    begun: Instant,
    /// Requests in flight on all connections.
    awaited: usize,
    last_reply_ns: u64,
    report: ThreadReport,
}

/// Runs `plan` when all threads have come to `start`.
pub(crate) fn run(plan: Plan, start: &Barrier) -> Result<ThreadReport, Error> {
    let schedule = plan.schedule;
    // Whatever goes wrong before the start must not leave the others waiting at the barrier.
    let prepared = prepare(plan.cpu, plan.connections);
    start.wait();
    let (epoll, connections) = prepared?;
    let mut worker = Worker {
        connections,
        nodes: plan.nodes,
        cycle: plan.cycle,
        space: plan.space,
        pipeline: plan.pipeline,
        end_ns: plan.end_ns,
        rng: plan.rng,
        epoll,
        input: vec![0; READ_BYTES],
        begun: Instant::now(),
        awaited: 0,
        last_reply_ns: 0,
        report: ThreadReport::new(),
    };
    let cpu_before = thread::cpu_time();
    match schedule {
        None => worker.closed_loop()?,
        Some(schedule) => worker.open_loop(schedule)?,
    }
    worker.report.cpu = thread::cpu_time() - cpu_before;
    worker.report.elapsed = Duration::from_nanos(worker.last_reply_ns.max(1));
    Ok(worker.report)
}

fn prepare(cpu: Option<usize>, opened: Vec<Opened>) -> Result<(Epoll, Vec<Connection>), Error> {
    if let Some(cpu) = cpu {
        affinity::pin_thread(&[cpu]).map_err(Error::io(format!("pinning the load to CPU {cpu}")))?;
    }
    thread::exact_timers();
    let epoll = Epoll::new().map_err(Error::io("epoll_create"))?;
    let mut connections = Vec::with_capacity(opened.len());
    for (token, Opened { stream, node, phase }) in opened.into_iter().enumerate() {
        stream.set_nonblocking(true).map_err(Error::io("making a socket non-blocking"))?;
        epoll.add(stream.as_raw_fd(), token).map_err(Error::io("epoll_ctl"))?;
        connections.push(Connection {
            stream,
            node,
            step: phase,
            parser: ReplyParser::new(),
            out: Vec::new(),
            written: 0,
            blocked: false,
            in_flight: VecDeque::new(),
            awaited: 0,
            queued: false,
            dirty: false,
        });
    }
    Ok((epoll, connections))
}

impl Worker {
    fn now_ns(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    fn closed_loop(&mut self) -> Result<(), Error> {
        let now = self.now_ns();
        for index in 0..self.connections.len() {
            self.send_batch(index, now)?;
        }
        loop {
            let now = self.now_ns();
            if self.awaited == 0 {
                return Ok(());
            }
            self.give_up_after_grace(now)?;
            let limit = self.end_ns.max(self.last_reply_ns).saturating_sub(now).max(1_000_000);
            let ready = self.wait(Duration::from_nanos(limit))?;
            for i in 0..ready {
                let event = self.epoll.event(i);
                if event.writable {
                    self.flush(event.token)?;
                }
                if event.readable {
                    let now = self.receive(event.token)?;
                    if self.connections[event.token].awaited == 0 && now < self.end_ns {
                        self.send_batch(event.token, now)?;
                    }
                }
            }
        }
    }

    /// A full batch, or what the node's budget still has.
    fn send_batch(&mut self, index: usize, now: u64) -> Result<(), Error> {
        let node = &self.nodes[self.connections[index].node];
        let count = node.budget.min(self.pipeline as u64) as u32;
        if count == 0 {
            return Ok(());
        }
        for _ in 0..count {
            self.append_request(index);
        }
        self.connections[index].in_flight.push_back((now, count));
        self.flush(index)
    }

    #[inline]
    fn append_request(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let node = &mut self.nodes[connection.node];
        let id = node.keys.next(&mut self.rng);
        self.cycle[connection.step].append(id, &self.space, &mut self.rng, &mut connection.out);
        connection.step = if connection.step + 1 < self.cycle.len() { connection.step + 1 } else { 0 };
        connection.awaited += 1;
        node.budget -= 1;
        self.awaited += 1;
    }

    fn open_loop(&mut self, mut schedule: Schedule) -> Result<(), Error> {
        let mut idle: VecDeque<usize> = (0..self.connections.len()).collect();
        for connection in &mut self.connections {
            connection.queued = true;
        }
        let mut dirty = Vec::new();
        loop {
            let now = self.now_ns();
            let over = now >= self.end_ns || self.nodes.iter().all(|n| n.budget == 0);
            if over && self.awaited == 0 {
                break;
            }
            self.give_up_after_grace(now)?;
            while !over && schedule.due_ns() <= now && schedule.due_ns() < self.end_ns {
                let Some(index) = idle.pop_front() else { break };
                let connection = &mut self.connections[index];
                connection.queued = false;
                if self.nodes[connection.node].budget == 0 {
                    continue;
                }
                connection.in_flight.push_back((schedule.due_ns(), 1));
                schedule.advance();
                if !std::mem::replace(&mut connection.dirty, true) {
                    dirty.push(index);
                }
                self.append_request(index);
                self.queue_if_free(index, &mut idle);
            }
            for index in dirty.drain(..) {
                self.connections[index].dirty = false;
                self.flush(index)?;
            }
            let wait = if over || idle.is_empty() {
                1_000_000
            } else {
                schedule.due_ns().min(self.end_ns).saturating_sub(self.now_ns())
            };
            let ready = self.wait(Duration::from_nanos(wait))?;
            for i in 0..ready {
                let event = self.epoll.event(i);
                if event.writable {
                    self.flush(event.token)?;
                }
                if event.readable {
                    self.receive(event.token)?;
                    self.queue_if_free(event.token, &mut idle);
                }
            }
        }
        // What was due and never sent has waited at least until now.
        let now = self.now_ns();
        while schedule.due_ns() < self.end_ns && self.nodes.iter().any(|n| n.budget > 0) {
            self.report.latency.saturating_record(now.saturating_sub(schedule.due_ns()));
            self.report.unsent += 1;
            let owed = self.nodes.iter_mut().find(|n| n.budget > 0);
            owed.expect("a node with a budget was just seen").budget -= 1;
            schedule.advance();
        }
        Ok(())
    }

    fn queue_if_free(&mut self, index: usize, idle: &mut VecDeque<usize>) {
        let connection = &mut self.connections[index];
        if !connection.queued && connection.awaited < self.pipeline {
            connection.queued = true;
            idle.push_back(index);
        }
    }

    fn wait(&mut self, limit: Duration) -> Result<usize, Error> {
        self.epoll.wait(limit.min(WAIT_MAX)).map_err(Error::io("epoll_pwait2"))
    }

    /// Writes what the socket takes; the rest waits for room.
    fn flush(&mut self, index: usize) -> Result<(), Error> {
        let connection = &mut self.connections[index];
        while connection.written < connection.out.len() {
            match connection.stream.write(&connection.out[connection.written..]) {
                Ok(n) => connection.written += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(self.lost(index, format!("a write failed: {e}"))),
            }
        }
        let blocked = connection.written < connection.out.len();
        if !blocked {
            connection.out.clear();
            connection.written = 0;
        }
        if blocked != connection.blocked {
            connection.blocked = blocked;
            let fd = connection.stream.as_raw_fd();
            self.epoll.modify(fd, index, blocked).map_err(Error::io("epoll_ctl"))?;
        }
        Ok(())
    }

    /// One read, and the replies in it. Returns the time right after the read.
    fn receive(&mut self, index: usize) -> Result<u64, Error> {
        let connection = &mut self.connections[index];
        let n = match connection.stream.read(&mut self.input) {
            Ok(0) => return Err(self.lost(index, "the server closed a connection during the run".into())),
            Ok(n) => n,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(self.now_ns());
            }
            Err(e) => return Err(self.lost(index, format!("a read failed: {e}"))),
        };
        let now = self.begun.elapsed().as_nanos() as u64;
        let (mut replies, mut nulls, mut errors) = (0usize, 0, 0);
        let samples = &mut self.report.error_samples;
        let parsed = connection.parser.feed(&self.input[..n], |parser, outcome| {
            replies += 1;
            match outcome {
                Outcome::Value => {}
                Outcome::Null => nulls += 1,
                Outcome::Error => {
                    errors += 1;
                    let text = parser.error_text();
                    if samples.len() < ERROR_SAMPLES && !samples.contains(&text) {
                        samples.push(text);
                    }
                }
            }
        });
        let endpoint = || self.nodes[connection.node].endpoint.to_string();
        if let Err(detail) = parsed {
            return Err(Error::Protocol { endpoint: endpoint(), detail });
        }
        if replies > connection.awaited {
            let detail = "a reply that nobody asked for".into();
            return Err(Error::Protocol { endpoint: endpoint(), detail });
        }
        connection.awaited -= replies;
        record(&mut connection.in_flight, replies as u32, now, &mut self.report.latency);
        self.awaited -= replies;
        self.report.requests += replies as u64;
        self.report.nulls += nulls;
        self.report.errors += errors;
        if replies > 0 {
            self.last_reply_ns = now;
        }
        Ok(now)
    }

    fn lost(&self, index: usize, detail: String) -> Error {
        let endpoint = self.nodes[self.connections[index].node].endpoint.to_string();
        Error::Lost { endpoint, detail }
    }

    /// A server that has stopped answering ends the run: soon when only replies are waited for.
    fn give_up_after_grace(&self, now: u64) -> Result<(), Error> {
        let mut limit = self.last_reply_ns + SILENCE_MAX.as_nanos() as u64;
        if now >= self.end_ns {
            limit = limit.min(self.last_reply_ns.max(self.end_ns) + GRACE.as_nanos() as u64);
        }
        if self.awaited > 0 && now > limit {
            let waiting = self.connections.iter().position(|c| c.awaited > 0).unwrap_or(0);
            return Err(self.lost(waiting, format!("{} requests were not answered", self.awaited)));
        }
        Ok(())
    }
}

/// Takes `replies` off the oldest requests and records how long they took.
#[inline]
fn record(in_flight: &mut VecDeque<(u64, u32)>, mut replies: u32, now: u64, latency: &mut Histogram<u64>) {
    while replies > 0 {
        let (since, count) = in_flight.front_mut().expect("replies are at most the requests in flight");
        let taken = replies.min(*count);
        latencies(latency, now.saturating_sub(*since), u64::from(taken));
        *count -= taken;
        replies -= taken;
        if *count == 0 {
            in_flight.pop_front();
        }
    }
}

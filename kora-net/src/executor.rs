//! The turn: one pass of an executor over its sockets, its shard and its mail.
//!
//! ```text
//!   reap completions -> parse and execute -> mail in -> coordinators -> send replies and mail -> submit and sleep
//! ```
//!
//! One executor owns one shard and the connections that came to it; nothing of it is ever touched by another thread. A turn is bounded: at most
//! [`TURN_COMMANDS_MAX`] commands per connection, then the next one; long work is sliced and goes on in the following turns.
//!
//! The executor runs as the main task of a glommio `LocalExecutor` and sleeps in its own socket ring. Without file I/O glommio has nothing to
//! do and does not get the core back: its loop may park with runnable tasks (see `PREEMPT_TIMER`).

use crate::blocking::{BlockedCommand, Blocking};
use crate::connection::{ClientInfo, Connection, Entrance, Partial, Sending};
use crate::coordinate::{Answer, Call, Hub, QueuedCall, ResultSlot, Task, Value};
use crate::dispatch::{Asker, Started};
use crate::limits::*;
use crate::mail::{AnswerHead, Batch, BatchReader, LateReply, Mail, Peer, ReplyTo};
use crate::memory::Relief;
use crate::multi::Queue;
use crate::options::Settings;
use crate::process::{lock, now_ms, Phase, Process};
use crate::resp::encode::{Output, RespSink};
use crate::resp::parse::{ParseLimits, Parser, ProtocolError, Step};
use crate::ring::{Completion, Received, Sleep, SocketRing};
use crate::script::Scripting;
use crate::several;
use crate::snapshot::shard::ShardSnapshot;
use crate::storage::log::Log;
use crate::transaction::footprint;
use crate::transaction::locks::{Asked, Locks, Wants};
use crate::transaction::{Kept, Waiter};
use crate::watch::Watched;
use crate::words::Words;
use bytes::Bytes;
use kora_engine::command::{registry, Command, Registry, Run};
use kora_engine::exec::Continuation;
use kora_engine::keyspace::{Key, View};
use kora_engine::reply::{Protocol, Reply};
use kora_engine::shard::{Applied, EngineConfig, Shard, ShardId};
use kora_engine::slot::Slot;
use kora_engine::value::MemberAhead;
use kora_modules::observe::commandstats::CommandStats;
use kora_modules::observe::errorstats::ErrorStats;
use kora_modules::observe::latency::LatencyMonitor;
use kora_modules::observe::rates::{RateSampler, Totals};
use kora_modules::observe::slowlog::Slowlog;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a completion is about; the top byte of its user data.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Receive = 1,
    Send = 2,
    Accept = 3,
    Wake = 4,
    Cancel = 5,
    File = 6,
}

fn user_data(operation: Operation, generation: u32, index: u32) -> u64 {
    ((operation as u64) << 56) | ((generation as u64 & 0xFF_FFFF) << 32) | index as u64
}

/// What a command has behind its key: its next argument and its last one.
type KeyArguments<'a> = Option<(&'a [u8], &'a [u8])>;

/// The arguments behind the key of a command of so many arguments, with a name of so many letters. The last one is left empty where it is
/// no member of a sorted set but the limit of a range: of commands with more than one argument behind the key, ZADD and ZINCRBY end with a member.
#[inline]
fn key_arguments<'a>(name: usize, len: usize, arguments: KeyArguments<'a>) -> KeyArguments<'a> {
    let (next, last) = arguments?;
    let ends_with_member = len == 3 || matches!(name, 4 | 7);
    Some((next, if ends_with_member { last } else { &[] }))
}

/// What [`Executor::parse_ahead`] found.
#[derive(Default)]
struct Ahead {
    frames: SmallVec<[ParsedFrame; PARSE_AHEAD]>,
    /// The input ends within a frame, whose state the parser keeps.
    incomplete: bool,
    /// Behind the frames stands something that is none.
    error: Option<ProtocolError>,
}

/// A whole frame, not executed yet.
struct ParsedFrame {
    /// Where it ends in the input.
    end: usize,
    /// Where its arguments end in the list of spans.
    spans_end: usize,
    /// The slot of its second argument, when there is more than one shard: nearly always that of its key.
    slot: Option<Slot>,
}

/// A place for a connection.
struct Seat {
    generation: u32,
    connection: Option<Box<Connection>>,
}

/// Statistics of one executor.
pub struct Observed {
    /// Per command.
    pub commands: CommandStats,
    /// Per error code.
    pub errors: ErrorStats,
    /// Slow commands.
    pub slowlog: Slowlog,
    /// Latency events.
    pub latency: LatencyMonitor,
    /// Instantaneous rates.
    pub rates: RateSampler,
    /// Commands and bytes since the start.
    pub totals: Totals,
    /// Connections dropped because they did not read their replies.
    pub output_limit_disconnections: u64,
    /// Connections dropped because their input grew too large.
    pub query_limit_disconnections: u64,
    /// Turns taken.
    pub turns: u64,
    /// Requests sent to other executors.
    pub hops: u64,
    /// Batches in which they were sent.
    pub batches: u64,
    /// Batches of other executors that were served.
    pub batches_served: u64,
}

/// A command that every shard executes, in slices, and whose partial replies merge.
pub(crate) struct Gather {
    /// The connection's pending reply.
    pub to: ReplyTo,
    /// The command; accounted for when all parts are there.
    pub started: Started,
    /// Parts that have not answered.
    pub missing: u32,
    /// The parts' replies.
    pub parts: Vec<Output>,
    /// How they become one.
    pub merge: kora_engine::command::Merge,
}

struct RunningTask {
    task: Task,
    to: ReplyTo,
    /// The command that it executes; accounted for when it ends.
    started: Started,
}

/// Work of a command on this shard that goes on in later turns.
struct Slice {
    work: Box<dyn Continuation>,
    origin: SliceOrigin,
    protocol: Protocol,
    /// What it has written of its reply.
    reply: Output,
}

/// Where the reply of a command goes that goes on later.
#[derive(Debug, Clone, Copy)]
pub enum SliceOrigin {
    /// To a connection of this executor, which waits for it.
    Own(ReplyTo),
    /// To the peer that has asked.
    Peer(u16, ReplyTo),
}

/// Whose command is kept until it may have its keys.
pub enum KeptOrigin {
    /// One that runs then.
    Plain(SliceOrigin),
    /// One that may block then.
    Blocking(Box<BlockedCommand>),
}

/// One executor; see the module.
pub struct Executor {
    /// Which one.
    pub id: u16,
    /// How many there are.
    pub count: u16,
    /// Its data.
    pub shard: Shard,
    /// Who holds what of its data, and who waits for it.
    pub(crate) locks: Locks<Waiter<Executor>>,
    /// Who waits for keys of the shard to change, and which of its own connections wait so.
    pub(crate) blocking: Blocking,
    /// Connections that wait until the disk has taken some of what was written.
    pub(crate) behind: Vec<u32>,
    /// Which of its keys clients watch.
    pub(crate) watched: Watched,
    /// Queues of past transactions, kept for their memory.
    #[expect(clippy::vec_box, reason = "they move to connections and back as they are")]
    pub(crate) spare_queues: Vec<Box<Queue>>,
    /// Scripts, and the interpreters that run them.
    pub(crate) scripting: Scripting,
    /// What all executors share.
    pub process: Arc<Process>,
    /// What it does about too much memory.
    pub(crate) relief: Relief,
    /// Its copy of what CONFIG SET can change.
    pub settings: Rc<Settings>,
    /// Its part of the snapshot under way.
    pub(crate) snapshot: Option<ShardSnapshot>,
    /// Calls that wait for the end of the snapshot under way.
    pub(crate) save_waiters: Vec<Answer>,
    /// How many attempts to take one were over when the first of them began to wait.
    pub(crate) saves_ended: u64,
    /// Whether the one at the end was looked for.
    pub(crate) last_snapshot_begun: bool,
    /// Its statistics.
    pub observed: Observed,
    /// Through which its coordinators reach the others.
    pub hub: Hub,
    /// The time at the start of this turn, Unix milliseconds.
    pub now: u64,
    pub(crate) registry: &'static Registry,
    pub(crate) clock: quanta::Clock,
    /// Clock reading when the last command ended: the next one starts there.
    pub(crate) last_tick: u64,
    pub(crate) limits: ParseLimits,
    /// Nanoseconds above which the slow log or the latency monitor wants to see a command.
    pub(crate) slow_nanos: u64,

    pub(crate) ring: SocketRing,
    /// Where its changes are written down, if they are. Dropped after the ring, which reads its memory.
    pub(crate) log: Option<Log>,
    seats: Vec<Seat>,
    free_seats: Vec<u32>,
    listeners: Vec<(OwnedFd, Entrance)>,
    /// Listeners whose accept has ended (no descriptors left) and is tried again at the next tick.
    idle_listeners: Vec<usize>,
    pub(crate) peers: Vec<Option<Peer>>,
    pub(crate) gathers: Vec<Option<Gather>>,
    pub(crate) free_gathers: Vec<u32>,
    tasks: Vec<Option<RunningTask>>,
    task_ready: VecDeque<usize>,
    /// Calls of coordinators that go on in the next turn.
    pub(crate) paused_calls: Vec<u32>,
    /// Calls that were mailed: the task that waits, if one does, and where the result goes.
    calls: Vec<Option<(Option<usize>, ResultSlot)>>,
    free_calls: Vec<u32>,
    slices: VecDeque<Slice>,
    ready: VecDeque<u32>,
    /// For each peer the connections that wait until more may be sent there.
    pub(crate) waiting: Vec<Vec<u32>>,
    dirty: Vec<u32>,
    completions: Vec<Completion>,
    parser: Parser,
    /// Arguments of the frames that are parsed ahead; kept for its memory.
    spans: Vec<Range<usize>>,
    pool: Vec<Vec<u8>>,
    /// Sends queued since the last submit that complete while they are submitted.
    sends_queued: usize,
    next_tick_ms: u64,
    next_second_ms: u64,
    background_due: bool,
    drained: bool,
    stop_deadline: Option<Instant>,
}

impl Executor {
    /// An executor on the calling thread.
    ///
    /// # Errors
    /// The socket ring cannot be made.
    pub fn new(
        id: u16,
        process: Arc<Process>,
        peers: Vec<Option<Peer>>,
        listeners: Vec<(OwnedFd, Entrance)>,
    ) -> io::Result<Executor> {
        let settings = Rc::new(process.options.settings.clone());
        let config = EngineConfig {
            max_string_len: settings.proto_max_bulk_len as usize,
            databases: process.options.databases,
            count_slots: process.options.cluster_ports.is_some(),
            limits: settings.encodings,
        };
        let count = process.executors();
        // One seed for all shards: their hashes agree, their data does not.
        let shard = Shard::new(ShardId { index: id, count }, config, process.seed);
        let now = now_ms();
        let registry = registry();
        let clock = quanta::Clock::new();
        let mut executor = Executor {
            id,
            count,
            shard,
            observed: Observed {
                commands: CommandStats::new(registry.all().len()),
                errors: ErrorStats::new(),
                slowlog: Slowlog::new(settings.slowlog_log_slower_than, settings.slowlog_max_len as usize),
                latency: LatencyMonitor::new(settings.latency_monitor_threshold),
                rates: RateSampler::new(now, Totals::default()),
                totals: Totals::default(),
                output_limit_disconnections: 0,
                query_limit_disconnections: 0,
                turns: 0,
                hops: 0,
                batches: 0,
                batches_served: 0,
            },
            snapshot: None,
            save_waiters: Vec::new(),
            saves_ended: 0,
            last_snapshot_begun: false,
            locks: Locks::default(),
            blocking: Blocking::default(),
            log: None,
            behind: Vec::new(),
            watched: Watched::default(),
            spare_queues: Vec::new(),
            scripting: Scripting::new(settings.lua_memory_limit as usize),
            relief: Relief::default(),
            hub: match &process.storage {
                Some(storage) if storage.options.wal => Hub::logging(id, Executor::tell_log),
                _ => Hub::default(),
            },
            now,
            registry,
            last_tick: clock.raw(),
            clock,
            limits: ParseLimits { bulk_len: settings.proto_max_bulk_len as usize, authenticated: true },
            slow_nanos: 0,
            ring: SocketRing::new(process.options.ring)?,
            seats: Vec::new(),
            free_seats: Vec::new(),
            listeners,
            idle_listeners: Vec::new(),
            peers,
            gathers: Vec::new(),
            free_gathers: Vec::new(),
            tasks: Vec::new(),
            task_ready: VecDeque::new(),
            paused_calls: Vec::new(),
            calls: Vec::new(),
            free_calls: Vec::new(),
            slices: VecDeque::new(),
            ready: VecDeque::new(),
            waiting: vec![Vec::new(); count as usize],
            dirty: Vec::new(),
            completions: Vec::with_capacity(256),
            parser: Parser::default(),
            spans: Vec::new(),
            pool: Vec::new(),
            sends_queued: 0,
            next_tick_ms: now,
            next_second_ms: now,
            background_due: false,
            drained: false,
            stop_deadline: None,
            settings,
            process,
        };
        executor.settings_changed();
        Ok(executor)
    }

    /// What the kernel offers, for the line at start.
    pub fn ring_features(&self) -> &str {
        self.ring.features()
    }

    /// Runs until the process stops.
    ///
    /// # Errors
    /// The ring fails in a way that has no remedy.
    pub async fn run(&mut self) -> io::Result<()> {
        let doorbell = self.process.doorbells[self.id as usize].fd();
        self.ring.read_wake(doorbell, user_data(Operation::Wake, 0, 0));
        for at in 0..self.listeners.len() {
            self.arm_listener(at);
        }
        loop {
            let wait = self.turn()?;
            if wait.is_none() && self.finished() {
                return Ok(());
            }
            self.sleep(wait)?;
        }
    }

    /// One pass over everything that is there. Returns how long there is nothing to do unless something arrives;
    /// `None` when there is work left.
    fn turn(&mut self) -> io::Result<Option<Duration>> {
        self.observed.turns += 1;
        self.sends_queued = 0;
        self.now = now_ms();
        self.last_tick = self.clock.raw();
        let mut completions = std::mem::take(&mut self.completions);
        self.ring.reap(&mut completions);
        for completion in completions.drain(..) {
            self.completed(completion);
        }
        self.completions = completions;
        self.ring.publish_recycled();
        self.release_replies();
        self.resume_behind();
        self.receive_mail();
        self.take_errands();
        for _ in 0..self.ready.len() {
            let index = self.ready.pop_front().expect("counted");
            self.resume(index);
        }
        self.expire_blocked();
        self.start_due();
        self.run_tasks();
        self.run_slices();
        self.run_scripts();
        self.tick();
        let loads = self.process.is_loading() && self.load();
        if !self.process.is_loading() {
            self.background_due |= self.keep_within_limit();
        }
        let snapshot = self.work_on_snapshot();
        // Of keys that have expired or were evicted.
        self.after_work();
        self.seal_log();
        self.flush();
        self.send_mail();
        self.write_log();
        self.release_replies();
        if !self.ready.is_empty()
            || !self.task_ready.is_empty()
            || !self.paused_calls.is_empty()
            || !self.slices.is_empty()
            || self.scripting.has_work()
            || self.blocking.has_due()
        {
            return Ok(None);
        }
        if self.background_due
            || loads
            || snapshot == Some(Duration::ZERO)
            || self.process.phase() != Phase::Running
        {
            return Ok(None);
        }
        let next = self.blocking.next_timer().map_or(self.next_tick_ms, |at| at.min(self.next_tick_ms));
        let until_tick = Duration::from_millis(next.saturating_sub(self.now).max(1));
        let longest = self.log_waits().unwrap_or(PARK_MAX);
        Ok(Some(until_tick.min(longest).min(snapshot.unwrap_or(PARK_MAX))))
    }

    /// Submits, and sleeps if there is nothing to do.
    fn sleep(&mut self, wait: Option<Duration>) -> io::Result<()> {
        let Some(wait) = wait else {
            if self.process.phase() != Phase::Running {
                // What is left is in the hands of clients and peers: look again soon, without spinning.
                return self
                    .ring
                    .enter(Some(Sleep { time: Duration::from_millis(1), certain: self.sends_queued }));
            }
            return self.ring.enter(None);
        };
        if self.count == 1 {
            return self.park(wait);
        }
        if self.process.options.spin_us > 0
            && self.spin(Duration::from_micros(self.process.options.spin_us))?
        {
            return Ok(());
        }
        self.park(wait)
    }

    fn park(&mut self, wait: Duration) -> io::Result<()> {
        let process = self.process.clone();
        let doorbell = &process.doorbells[self.id as usize];
        doorbell.park();
        let sleep = if self.has_mail()
            || self.has_load()
            || self.has_news_of_log()
            || self.has_news_of_snapshot()
            || self.process.errand_desk(self.id).has_some()
            || self.process.phase() != Phase::Running
        {
            None
        } else {
            Some(Sleep { time: wait, certain: self.sends_queued })
        };
        let result = self.ring.enter(sleep);
        doorbell.unpark();
        result
    }

    /// Looks for work without sleeping for a while. Returns whether some came.
    fn spin(&mut self, time: Duration) -> io::Result<bool> {
        let start = Instant::now();
        self.ring.enter(None)?;
        loop {
            if self.has_mail() || self.ring.has_completions() {
                return Ok(true);
            }
            if start.elapsed() >= time {
                return Ok(false);
            }
            self.ring.enter(None)?;
            std::hint::spin_loop();
        }
    }

    fn has_mail(&self) -> bool {
        self.peers.iter().flatten().any(Peer::has_mail)
    }

    // ---- completions -------------------------------------------------------------------------------------

    fn completed(&mut self, completion: Completion) {
        let index = completion.user_data as u32;
        let generation = (completion.user_data >> 32) as u32 & 0xFF_FFFF;
        match (completion.user_data >> 56) as u8 {
            k if k == Operation::Receive as u8 => self.received(index, generation, completion),
            k if k == Operation::Send as u8 => self.sent(index, generation, completion.result),
            k if k == Operation::Accept as u8 => self.accepted(index as usize, completion),
            k if k == Operation::File as u8 => self.file_completed(index, completion.result),
            k if k == Operation::Wake as u8 => {
                let doorbell = self.process.doorbells[self.id as usize].fd();
                self.ring.read_wake(doorbell, user_data(Operation::Wake, 0, 0));
            }
            k => debug_assert!(k == Operation::Cancel as u8),
        }
    }

    fn arm_listener(&mut self, at: usize) {
        let Some((listener, _)) = self.listeners.get(at) else { return };
        let fd = listener.as_raw_fd();
        self.ring.accept_multi(fd, user_data(Operation::Accept, 0, at as u32));
    }

    fn accepted(&mut self, at: usize, completion: Completion) {
        if completion.result >= 0 {
            // SAFETY: a descriptor that the kernel has just made for us.
            let socket = unsafe { OwnedFd::from_raw_fd(completion.result) };
            // While the process stops there are no listeners any more.
            if let Some(&(_, entrance)) = self.listeners.get(at) {
                self.admit(socket, entrance);
            }
        } else if self.process.phase() == Phase::Running {
            let error = io::Error::from_raw_os_error(-completion.result);
            tracing::warn!(%error, "a connection could not be accepted; raise the limit on open files (LimitNOFILE)");
        }
        if !completion.more() {
            if completion.result >= 0 {
                self.arm_listener(at);
            } else {
                self.idle_listeners.push(at);
            }
        }
    }

    /// Takes a new connection in, or passes it to the executor whose turn it is.
    fn admit(&mut self, socket: OwnedFd, entrance: Entrance) {
        let process = self.process.clone();
        process.accepted.fetch_add(1, Ordering::Relaxed);
        if process.phase() != Phase::Running {
            return;
        }
        let clients = process.clients.fetch_add(1, Ordering::Relaxed);
        if clients >= process.max_clients.load(Ordering::Relaxed) as usize {
            process.clients.fetch_sub(1, Ordering::Relaxed);
            process.rejected.fetch_add(1, Ordering::Relaxed);
            refuse(&socket, b"-ERR max number of clients reached\r\n");
            return;
        }
        if entrance != Entrance::Executor && self.count > 1 {
            let target = process.next_executor.fetch_add(1, Ordering::Relaxed) % self.count as usize;
            if target != self.id as usize {
                let peer = self.peers[target].as_mut().expect("a peer for every other executor");
                peer.outbox.adopted.push(crate::mail::Adopted { socket, entrance });
                return;
            }
        }
        self.adopt(socket, entrance);
    }

    /// Starts to serve a connection.
    fn adopt(&mut self, socket: OwnedFd, entrance: Entrance) {
        let (addr, laddr, foreign) = addresses(&socket, entrance, &self.process.options);
        if foreign && self.settings.protected_mode && self.settings.password.is_none() {
            refuse(&socket, PROTECTED_MODE_REFUSAL);
            self.process.clients.fetch_sub(1, Ordering::Relaxed);
            self.process.rejected.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let index = self.free_seats.pop().unwrap_or_else(|| {
            self.seats.push(Seat { generation: 0, connection: None });
            (self.seats.len() - 1) as u32
        });
        let seat = &mut self.seats[index as usize];
        seat.generation = (seat.generation + 1) & 0xFF_FFFF;
        let generation = seat.generation;
        let id = self.process.next_client_id.fetch_add(1, Ordering::Relaxed);
        let authenticated = self.settings.password.is_none();
        let info = ClientInfo::new(id, addr, laddr, !foreign, self.now);
        let connection = Connection::new(socket, generation, entrance, authenticated, info);
        seat.connection = Some(Box::new(connection));
        self.arm_receive(index);
    }

    fn received(&mut self, index: u32, generation: u32, completion: Completion) {
        let received = completion
            .buffer()
            .filter(|_| completion.result > 0)
            .map(|buffer| self.ring.received(buffer, completion.result as usize));
        if received.is_none() {
            if let Some(buffer) = completion.buffer() {
                self.ring.recycle_unused(buffer);
            }
        }
        let current = self.connection_of(index, generation).is_some();
        if !current {
            if let Some(received) = received {
                self.ring.recycle(received);
            }
            return;
        }
        if let Some(received) = received {
            self.input(index, received);
        }
        let Some(connection) = self.connection_of(index, generation) else { return };
        if completion.more() {
            return;
        }
        connection.operations -= 1;
        connection.receiving = false;
        match completion.result {
            0 => connection.at_end = true,
            n if n > 0 => {}
            n if -n == libc::ENOBUFS || -n == libc::EINTR || -n == libc::EAGAIN => {}
            n if -n == libc::ECANCELED => {}
            // Reset by the peer and the like: what it asked for is of no use to it any more.
            _ => {
                connection.at_end = true;
                connection.closing = true;
            }
        }
        if connection.at_end && connection.blocked.is_some() {
            // Nobody waits for the answer any more, as far as Redis and its clients are concerned.
            return self.drop_connection(index);
        }
        if connection.at_end && !connection.closing && !(connection.partial.is_some() && waits(connection)) {
            // Nothing waits to be executed; a frame that is not whole never will be.
            connection.partial = None;
            connection.closing = true;
        }
        if connection.closing || connection.dead {
            self.close_if_done(index);
        } else if connection.at_end {
            // Commands that were received are still executed: see `resume`.
        } else if !connection.receive_paused {
            self.arm_receive(index);
        } else {
            self.resume_receiving(index);
        }
    }

    fn arm_receive(&mut self, index: u32) {
        let connection = self.seats[index as usize].connection.as_mut().expect("armed for a connection");
        if connection.receiving || connection.dead || connection.at_end {
            return;
        }
        connection.receiving = true;
        connection.operations += 1;
        let (fd, generation) = (connection.socket.as_raw_fd(), connection.generation);
        self.ring.recv_multi(fd, user_data(Operation::Receive, generation, index));
    }

    /// Stops receiving from a client that has sent much more than it may have executed for now.
    fn pause_receiving(&mut self, index: u32) {
        let connection = self.seats[index as usize].connection.as_mut().expect("paused for a connection");
        if connection.receive_paused {
            return;
        }
        connection.receive_paused = true;
        if connection.receiving {
            let target = user_data(Operation::Receive, connection.generation, index);
            self.ring.cancel(target, user_data(Operation::Cancel, 0, 0));
        }
    }

    pub(crate) fn resume_receiving(&mut self, index: u32) {
        let connection = self.seats[index as usize].connection.as_mut().expect("resumed for a connection");
        // The disconnection of one that is blocked must be seen, however much it has sent.
        let goes_on =
            connection.input_len() < BACKLOG_PAUSE_LEN || !waits(connection) || connection.stalled.blocked;
        if connection.receive_paused && goes_on {
            connection.receive_paused = false;
            self.arm_receive(index);
        }
    }

    // ---- input -------------------------------------------------------------------------------------------

    /// The connection at this index, if it still is the one that is meant.
    #[inline]
    pub(crate) fn connection_of(&mut self, index: u32, generation: u32) -> Option<&mut Connection> {
        match self.seats.get_mut(index as usize) {
            Some(Seat { generation: g, connection: Some(connection) }) if *g == generation => {
                Some(connection)
            }
            _ => None,
        }
    }

    /// The connection at this index. Panics when there is none.
    #[inline]
    pub(crate) fn connection(&mut self, index: u32) -> &mut Connection {
        self.seats[index as usize].connection.as_mut().expect("a connection at this index")
    }

    /// The same, to look at.
    pub(crate) fn connection_ref(&self, index: u32) -> &Connection {
        self.seats[index as usize].connection.as_ref().expect("a connection at this index")
    }

    /// The connection at this index, if there is one.
    #[inline]
    pub(crate) fn try_connection(&mut self, index: u32) -> Option<&mut Connection> {
        self.seats[index as usize].connection.as_deref_mut()
    }

    /// The shard and a connection at the same time.
    #[inline]
    pub(crate) fn shard_and_connection(&mut self, index: u32) -> (&mut Shard, &mut Connection) {
        let connection = self.seats[index as usize].connection.as_mut().expect("a connection at this index");
        (&mut self.shard, connection)
    }

    /// All connections with their indexes.
    pub fn connections(&self) -> impl Iterator<Item = (u32, &Connection)> {
        self.seats
            .iter()
            .enumerate()
            .filter_map(|(index, seat)| Some((index as u32, &**seat.connection.as_ref()?)))
            .filter(|(_, connection)| !connection.dead)
    }

    /// Bytes have arrived.
    #[inline]
    fn input(&mut self, index: u32, received: Received) {
        self.observed.totals.input_bytes += received.bytes().len() as u64;
        let connection = self.seats[index as usize].connection.as_mut().expect("checked by the caller");
        connection.info.net_in += received.bytes().len() as u64;
        if connection.closing || connection.dead {
            self.ring.recycle(received);
            return;
        }
        if connection.partial.is_some() || connection.stalled.any() {
            self.add_input(index, &received);
            self.ring.recycle(received);
            // One whose turn is over has its place in the line.
            if !waits(self.connection(index)) {
                self.resume(index);
            }
            return;
        }
        // The usual case: whole frames, executed out of the receive buffer.
        let mut parser = std::mem::take(&mut self.parser);
        let consumed = self.execute_all(index, received.bytes(), &mut parser, None);
        let rest = &received.bytes()[consumed..];
        if rest.is_empty() {
            parser.reset();
            self.parser = parser;
        } else {
            let connection = self.connection(index);
            if !connection.closing {
                connection.partial = Some(Box::new(Partial::new(rest.to_vec(), parser)));
                self.requeue(index);
            }
        }
        self.ring.recycle(received);
    }

    /// Keeps input for later.
    fn add_input(&mut self, index: u32, received: &Received) {
        let limit = self.settings.query_buffer_limit as usize;
        let connection = self.connection(index);
        let partial = connection.partial.get_or_insert_with(Box::default);
        partial.add(received.bytes());
        if partial.len() > limit {
            self.observed.query_limit_disconnections += 1;
            tracing::warn!(
                client = %self.connection(index).info.addr,
                limit,
                "closing a client whose input grew past query_buffer_limit"
            );
            self.drop_connection(index);
            return;
        }
        let connection = self.connection(index);
        if waits(connection) && !connection.stalled.blocked && connection.input_len() > BACKLOG_PAUSE_LEN {
            self.pause_receiving(index);
        }
    }

    /// Goes on with input that waits.
    pub(crate) fn resume(&mut self, index: u32) {
        let Some(connection) = self.seats[index as usize].connection.as_mut() else { return };
        connection.ready = false;
        if connection.stalled.any() || connection.dead || connection.closing {
            return;
        }
        let Some(mut partial) = connection.partial.take() else {
            if connection.at_end {
                connection.closing = true;
                self.mark_dirty(index);
            }
            return;
        };
        let limits = ParseLimits { authenticated: connection.authenticated, ..self.limits };
        let mut parser = std::mem::take(&mut partial.parser);
        match partial.take_large_frame(&mut parser, &limits) {
            Some(bytes) => {
                let consumed = self.execute_all(index, &bytes, &mut parser, Some(&bytes));
                partial.add(&bytes[consumed..]);
            }
            None => {
                let consumed = self.execute_all(index, partial.bytes(), &mut parser, None);
                partial.consume(consumed);
            }
        }
        partial.parser = parser;
        let Some(connection) = self.seats[index as usize].connection.as_mut() else { return };
        if connection.closing || connection.dead {
            return;
        }
        if !partial.is_empty() {
            connection.partial = Some(partial);
            self.requeue(index);
        }
        let connection = self.connection(index);
        if connection.at_end && !connection.ready && !connection.stalled.any() {
            // Nothing more will come, and what is left is no whole command.
            connection.partial = None;
            connection.closing = true;
            self.mark_dirty(index);
        }
        self.resume_receiving(index);
    }

    /// Puts a connection whose turn was over back in line. One whose frame is not whole waits for input.
    fn requeue(&mut self, index: u32) {
        let connection = self.connection(index);
        let partial = connection.partial.as_ref().expect("there is input left");
        // After a turn that was cut short the parser stands at the start of a frame.
        if !connection.stalled.any() && !connection.ready && partial.parser.at_start() {
            connection.ready = true;
            self.ready.push_back(index);
        }
    }

    /// Parses and executes up to a turn's worth of commands. Returns how many bytes are done with; the parser keeps the
    /// state of the frame that starts there.
    ///
    /// A pipeline is parsed a few commands ahead, and the cache lines of their keys and of the collections in them are asked for
    /// before the first of them is executed: with 100,000 keys and more, waiting for memory is a third of a pipelined command otherwise.
    fn execute_all(
        &mut self,
        index: u32,
        input: &[u8],
        parser: &mut Parser,
        frame_bytes: Option<&Bytes>,
    ) -> usize {
        let mut consumed = 0;
        let mut budget = TURN_COMMANDS_MAX;
        let mut spans = std::mem::take(&mut self.spans);
        while budget > 0 && consumed < input.len() {
            let ahead = self.parse_ahead(index, &input[consumed..], parser, &mut spans, budget);
            budget -= ahead.frames.len().max(1);
            let start = consumed;
            let mut first_span = 0;
            for frame in &ahead.frames {
                {
                    let spans = &spans[first_span..frame.spans_end];
                    let argv: SmallVec<[&[u8]; 16]> = if parser.is_inline() {
                        parser.args(&[]).collect()
                    } else {
                        spans.iter().map(|span| &input[start + span.start..start + span.end]).collect()
                    };
                    if !argv.is_empty() {
                        // The words of an inline command are copies: they do not lie in the input.
                        let frame_bytes = frame_bytes.filter(|_| !parser.is_inline());
                        self.execute(index, &argv, frame_bytes, frame.slot);
                    }
                }
                first_span = frame.spans_end;
                let Some(connection) = self.try_connection(index) else { return input.len() };
                if connection.stalled.repeats() {
                    // Nothing has happened yet: the command is parsed again when the connection goes on.
                    parser.reset();
                    self.spans = spans;
                    return consumed;
                }
                consumed = start + frame.end;
                if connection.closing || connection.dead {
                    self.spans = spans;
                    return input.len();
                }
                if connection.stalled.any() {
                    parser.reset();
                    self.spans = spans;
                    return consumed;
                }
            }
            if parser.is_inline() {
                parser.reset();
            }
            if let Some(error) = ahead.error {
                self.protocol_error(index, &error);
                consumed = input.len();
            }
            if ahead.incomplete {
                break;
            }
        }
        self.spans = spans;
        consumed
    }

    /// Parses up to [`PARSE_AHEAD`] whole frames.
    #[inline]
    fn parse_ahead(
        &mut self,
        index: u32,
        input: &[u8],
        parser: &mut Parser,
        spans: &mut Vec<Range<usize>>,
        budget: usize,
    ) -> Ahead {
        spans.clear();
        let connection = self.seats[index as usize].connection.as_ref().expect("its input is being parsed");
        let db = connection.db;
        let mut limits = self.limits;
        limits.authenticated = connection.authenticated;
        // AUTH may change what the next frame may be.
        let most = if limits.authenticated { PARSE_AHEAD.min(budget) } else { 1 };
        let mut ahead = Ahead::default();
        let mut at = 0;
        let mut keys: SmallVec<[(u16, Key<'_>, KeyArguments<'_>); PARSE_AHEAD]> = SmallVec::new();
        while ahead.frames.len() < most && at < input.len() {
            match parser.parse(&input[at..], &limits) {
                Ok(Step::Frame(len)) => {
                    if parser.is_inline() {
                        if ahead.frames.is_empty() {
                            ahead.frames.push(ParsedFrame { end: at + len, spans_end: 0, slot: None });
                        } else {
                            parser.reset();
                        }
                        break;
                    }
                    let first = spans.len();
                    parser.spans_from(at, spans);
                    parser.reset();
                    at += len;
                    // The second argument is the key of nearly every command; of the others it is only wasted effort. Keys of other
                    // shards are looked for by their owners.
                    let mut slot = None;
                    if let Some(span) = spans.get(first + 1) {
                        let bytes = &input[span.start..span.end];
                        slot = (self.count > 1).then(|| Slot::of(bytes));
                        let pipelined = at < input.len() || !keys.is_empty();
                        if pipelined && slot.is_none_or(|slot| slot.shard(self.count) == self.id) {
                            let key = self.shard.keys.key(bytes);
                            self.shard.keys.prefetch_slot(db, &key);
                            let word = |span: &Range<usize>| &input[span.start..span.end];
                            let arguments = spans.get(first + 2).map(word).zip(spans.last().map(word));
                            keys.push((
                                db,
                                key,
                                key_arguments(spans[first].len(), spans.len() - first, arguments),
                            ));
                        }
                    }
                    ahead.frames.push(ParsedFrame { end: at, spans_end: spans.len(), slot });
                }
                Ok(Step::Incomplete) => {
                    ahead.incomplete = true;
                    break;
                }
                Err(error) => {
                    ahead.error = Some(error);
                    break;
                }
            }
        }
        self.prefetch_records(&keys);
        ahead
    }

    /// Asks for what commands on these keys will wait for, their slots being on their way: all records, then what is
    /// in the collections among them, in two steps. Each step waits at most for what all of the one before have asked for.
    fn prefetch_records(&self, keys: &[(u16, Key<'_>, KeyArguments<'_>)]) {
        let records: SmallVec<[_; PARSE_AHEAD]> = keys
            .iter()
            .filter_map(|(db, key, arguments)| Some((self.shard.keys.prefetch_record(*db, key)?, *arguments)))
            .collect();
        let members: SmallVec<[_; PARSE_AHEAD]> = records
            .into_iter()
            .filter_map(|(entry, arguments)| entry.prefetch_collection(arguments))
            .collect();
        members.into_iter().for_each(MemberAhead::prefetch_record);
    }

    #[cold]
    fn protocol_error(&mut self, index: u32, error: &ProtocolError) {
        self.observed.errors.record(b"ERR");
        self.mark_dirty(index);
        let connection = self.connection(index);
        let protocol = connection.protocol;
        RespSink::new(connection.reply_output(), protocol).error(&error.text());
        connection.reply_written();
        connection.closing = true;
    }

    // ---- mail --------------------------------------------------------------------------------------------

    fn receive_mail(&mut self) {
        for from in 0..self.peers.len() {
            while let Some(mail) = self.peers[from].as_mut().and_then(Peer::receive) {
                match mail {
                    Mail::Request(batch) => self.serve(from as u16, batch),
                    Mail::Answer(batch) => self.answered(from, batch),
                }
            }
        }
    }

    /// Executes a peer's batch and sends it back.
    fn serve(&mut self, from: u16, mut batch: Box<Batch>) {
        self.observed.batches_served += 1;
        self.heard_of(batch.lsn);
        let mut answers = std::mem::take(&mut batch.answers);
        let mut answer_heads = std::mem::take(&mut batch.answer_heads);
        let mut read = BatchReader::default();
        let mut argv: SmallVec<[&[u8]; 16]> = SmallVec::new();
        let mut keys: SmallVec<[(u16, Key<'_>, KeyArguments<'_>); PARSE_AHEAD]> = SmallVec::new();
        for heads in batch.heads.chunks(PARSE_AHEAD) {
            // As in `parse_ahead`: first ask for all cache lines, then execute.
            let mut ahead = read.clone();
            for head in heads {
                argv.clear();
                ahead.arguments(head, &batch, &mut argv);
                if let Some(bytes) = argv.get(1) {
                    let key = self.shard.keys.key(bytes);
                    self.shard.keys.prefetch_slot(head.db, &key);
                    let arguments = argv.get(2).copied().zip(argv.last().copied());
                    keys.push((head.db, key, key_arguments(argv[0].len(), argv.len(), arguments)));
                }
            }
            self.prefetch_records(&keys);
            keys.clear();
            for head in heads {
                argv.clear();
                let frame = read.arguments(head, &batch, &mut argv);
                let command = self.registry.by_id(head.command);
                // Whether it may run was decided where it came from; here the keys are that may have to go.
                self.has_memory_for(command, &argv);
                let view = View { db: head.db, now: self.now, touch: head.touch };
                if !self.locks.is_empty() {
                    let wants = footprint::wants_of(&self.shard.keys, command, &argv);
                    // A script that waits may be of the same connection, which was not held up by it: what follows it must not come before it.
                    if !self.locks.is_next(&wants) {
                        let origin = SliceOrigin::Peer(from, head.to);
                        self.keep(wants, origin, command, &argv, view, head.protocol);
                        continue;
                    }
                }
                if let Run::Script(kind) = command.spec.run {
                    let asker = (from, head.to);
                    let asked = several::Asked { command, argv: &argv, view, protocol: head.protocol };
                    if !self.serve_script(kind, asked, asker, &mut answers) {
                        continue;
                    }
                    answer_heads.push(AnswerHead {
                        to: head.to,
                        end: answers.buf.len(),
                        shared_end: answers.shared.len(),
                    });
                    continue;
                }
                let reply = &mut RespSink::new(&mut answers, head.protocol);
                let applied = self.shard.apply(view, command, &argv, frame, reply);
                match head.to {
                    ReplyTo::Connection { .. } => {
                        self.account(command, &applied, Asker::Peer(from, head.to), &argv);
                    }
                    // A part: the command counts where its parts meet.
                    ReplyTo::Gather { .. } | ReplyTo::Nobody => self.last_tick = self.clock.raw(),
                }
                if let Applied::Later(work) = applied {
                    let origin = SliceOrigin::Peer(from, head.to);
                    self.add_slice(work, origin, head.protocol, Output::default());
                    self.after_work();
                    continue;
                }
                self.after_work();
                answer_heads.push(AnswerHead {
                    to: head.to,
                    end: answers.buf.len(),
                    shared_end: answers.shared.len(),
                });
            }
        }
        drop(argv);
        drop(keys);
        batch.answers = answers;
        batch.answer_heads = answer_heads;
        for (id, call) in std::mem::take(&mut batch.calls) {
            if let Some(result) = call(self, Answer { home: from, call: id }) {
                batch.returns.push((id, result));
            }
        }
        for (id, result) in std::mem::take(&mut batch.late_returns) {
            self.returned(id, result);
        }
        for LateReply { to, mut reply } in std::mem::take(&mut batch.late) {
            self.deliver(to, &mut |out| out.append(&mut reply));
        }
        for adopted in std::mem::take(&mut batch.adopted) {
            self.adopt(adopted.socket, adopted.entrance);
        }
        self.seal_log();
        batch.lsn = self.log_position();
        let peer = self.peers[from as usize].as_mut().expect("it has sent mail");
        peer.answer(batch);
        self.process.doorbells[from as usize].ring();
    }

    /// A batch of ours has come back.
    fn answered(&mut self, from: usize, mut batch: Box<Batch>) {
        self.heard_of(batch.lsn);
        let mut start = (0, 0);
        let answers = std::mem::take(&mut batch.answers);
        for head in &batch.answer_heads {
            let end = (head.end, head.shared_end);
            self.deliver(head.to, &mut |out| out.append_part(&answers, start, end));
            start = end;
        }
        batch.answers = answers;
        for (id, result) in std::mem::take(&mut batch.returns) {
            self.returned(id, result);
        }
        self.peers[from].as_mut().expect("it has answered").retire(batch);
        // Connections that waited for room go on.
        let mut waiting = std::mem::take(&mut self.waiting[from]);
        for index in waiting.drain(..) {
            if let Some(connection) = self.seats[index as usize].connection.as_mut() {
                if connection.stalled.peer == Some(from as u16) {
                    connection.stalled.peer = None;
                    self.wake_connection(index);
                }
            }
        }
        // Nothing is executed above, so nobody has begun to wait.
        self.waiting[from] = waiting;
    }

    /// The result of a call has come.
    pub(crate) fn returned(&mut self, id: u32, result: Value) {
        let (task, slot) = self.calls[id as usize].take().expect("a call of ours");
        self.free_calls.push(id);
        *slot.borrow_mut() = Some(result);
        self.task_ready.extend(task);
    }

    /// Gives a reply to whoever waits for it.
    pub(crate) fn deliver(&mut self, to: ReplyTo, write: &mut dyn FnMut(&mut Output)) {
        match to {
            ReplyTo::Connection { index, generation, sequence } => {
                let Some(connection) = self.connection_of(index, generation) else {
                    write(&mut Output::default());
                    return;
                };
                connection.complete(sequence, write);
                if connection.blocked.is_some() {
                    self.unblock(index, sequence);
                }
                self.mark_dirty(index);
            }
            ReplyTo::Nobody => write(&mut Output::default()),
            ReplyTo::Gather { id, part } => {
                let gather = self.gathers[id as usize].as_mut().expect("a gathering of ours");
                write(&mut gather.parts[part as usize]);
                gather.missing -= 1;
                if gather.missing == 0 {
                    self.gathered(id);
                }
            }
        }
    }

    pub(crate) fn send_mail(&mut self) {
        self.seal_log();
        let lsn = self.log_position();
        for to in 0..self.peers.len() {
            let Some(peer) = &mut self.peers[to] else { continue };
            let requests = peer.outbox.heads.len() as u64;
            peer.outbox.lsn = lsn;
            if peer.send() {
                self.observed.hops += requests;
                self.observed.batches += 1;
                self.process.doorbells[to].ring();
            }
        }
    }

    // ---- coordinators and slices -------------------------------------------------------------------------

    /// Starts a coordinator whose reply goes to `to`.
    pub(crate) fn start_task(&mut self, task: Task, to: ReplyTo, started: Started) {
        let id = match self.tasks.iter().position(Option::is_none) {
            Some(id) => id,
            None => {
                self.tasks.push(None);
                self.tasks.len() - 1
            }
        };
        self.tasks[id] = Some(RunningTask { task, to, started });
        // What creating it has queued belongs to it.
        self.place_calls(id);
        self.poll_task(id);
    }

    fn run_tasks(&mut self) {
        for call in std::mem::take(&mut self.paused_calls) {
            self.returned(call, Box::new(()));
        }
        while let Some(id) = self.task_ready.pop_front() {
            self.poll_task(id);
        }
    }

    fn poll_task(&mut self, id: usize) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            let Some(mut running) = self.tasks[id].take() else { return };
            match running.task.as_mut().poll(&mut context) {
                std::task::Poll::Ready(mut reply) => {
                    // One that answers itself accounts for itself.
                    if !matches!(running.to, ReplyTo::Nobody) {
                        self.account_started(&running.started, running.to, &reply);
                    }
                    self.deliver_awaited(running.to, &mut reply);
                    // Calls whose results nobody awaits are on their way all the same.
                    self.place_calls(id);
                    return;
                }
                std::task::Poll::Pending => {
                    self.tasks[id] = Some(running);
                    if !self.place_calls(id) {
                        return;
                    }
                }
            }
        }
    }

    /// Gives a connection the reply for which it has stopped executing, and lets it go on.
    fn deliver_awaited(&mut self, to: ReplyTo, reply: &mut Output) {
        self.deliver(to, &mut |out| out.append(reply));
        if let ReplyTo::Connection { index, generation, .. } = to {
            if let Some(connection) = self.connection_of(index, generation) {
                connection.stalled.coordinating = false;
                self.wake_connection(index);
            }
        }
    }

    /// Runs or mails the calls that a coordinator has queued. Returns whether one of them has its result already.
    fn place_calls(&mut self, task: usize) -> bool {
        let mut done = false;
        while let Some(QueuedCall { target, call, slot }) = self.hub.take() {
            if target != self.id {
                self.mail_call(target, call, Some(task), slot);
                continue;
            }
            let id = self.expect_result(Some(task), slot.clone());
            if let Some(result) = call(self, Answer { home: self.id, call: id }) {
                self.calls[id as usize] = None;
                self.free_calls.push(id);
                *slot.borrow_mut() = Some(result);
                done = true;
            }
        }
        done
    }

    /// Runs a function on a peer; nobody waits for it.
    pub(crate) fn post(&mut self, target: u16, f: impl FnOnce(&mut Executor) + Send + 'static) {
        let call: Call = Box::new(move |executor, _| {
            f(executor);
            Some(Box::new(()))
        });
        self.mail_call(target, call, None, ResultSlot::default());
    }

    /// A number for a call whose result is awaited.
    fn expect_result(&mut self, task: Option<usize>, slot: ResultSlot) -> u32 {
        let id = self.free_calls.pop().unwrap_or_else(|| {
            self.calls.push(None);
            (self.calls.len() - 1) as u32
        });
        self.calls[id as usize] = Some((task, slot));
        id
    }

    fn mail_call(&mut self, target: u16, call: Call, task: Option<usize>, slot: ResultSlot) {
        let id = self.expect_result(task, slot);
        let peer = self.peers[target as usize].as_mut().expect("a peer for every other executor");
        peer.outbox.calls.push((id, call));
    }

    /// Queues work of a command on this shard that goes on later.
    pub(crate) fn add_slice(
        &mut self,
        work: Box<dyn Continuation>,
        origin: SliceOrigin,
        protocol: Protocol,
        reply: Output,
    ) {
        self.slices.push_back(Slice { work, origin, protocol, reply });
    }

    /// One slice of the oldest sliced command.
    fn run_slices(&mut self) {
        let Some(mut slice) = self.slices.pop_front() else { return };
        let done = slice.work.resume(
            &mut self.shard,
            self.now,
            SLICE_SEGMENTS,
            &mut RespSink::new(&mut slice.reply, slice.protocol),
        );
        self.after_work();
        // A long reply comes in parts: each is set aside, so that none of them is copied again.
        slice.reply.seal();
        if !done {
            self.slices.push_back(slice);
            return;
        }
        self.deliver_late(slice.origin, slice.reply);
    }

    /// Sends the reply of a command that was not answered at once.
    pub(crate) fn deliver_late(&mut self, origin: SliceOrigin, mut reply: Output) {
        match origin {
            SliceOrigin::Own(to) => self.deliver_awaited(to, &mut reply),
            SliceOrigin::Peer(from, to) => {
                let peer = self.peers[from as usize].as_mut().expect("it has asked");
                peer.outbox.late.push(LateReply { to, reply });
            }
        }
    }

    /// Keeps a command of this shard until it may have what it wants, which it may not now.
    pub(crate) fn keep(
        &mut self,
        wants: Wants,
        origin: SliceOrigin,
        command: &'static Command,
        argv: &[&[u8]],
        view: View,
        protocol: Protocol,
    ) {
        self.keep_from(
            wants,
            KeptOrigin::Plain(origin),
            command,
            Words::of(argv.iter().copied()),
            view,
            protocol,
        );
    }

    /// The same for arguments that are kept already.
    pub(crate) fn keep_from(
        &mut self,
        wants: Wants,
        origin: KeptOrigin,
        command: &'static Command,
        words: Words,
        view: View,
        protocol: Protocol,
    ) {
        let kept = Box::new(Kept { origin, command, words, view, protocol });
        match self.locks.ask(wants, true, Waiter::Command(kept)) {
            Asked::Waiting => {}
            _ => unreachable!("it is not free, and who holds nothing may wait"),
        }
    }

    /// Lets a connection go on that was held up.
    pub(crate) fn wake_connection(&mut self, index: u32) {
        let connection = self.connection(index);
        // One at its end without input is closed by `resume`, not here: its commands may be in execution just now.
        if !connection.stalled.any()
            && !connection.ready
            && (connection.partial.is_some() || connection.at_end)
        {
            connection.ready = true;
            self.ready.push_back(index);
        }
    }

    // ---- output ------------------------------------------------------------------------------------------

    /// Notes that a connection has something to send, or is to be closed, at the end of the turn.
    #[inline]
    pub(crate) fn mark_dirty(&mut self, index: u32) {
        let connection = self.connection(index);
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(index);
        }
    }

    /// A buffer for replies: the one used last, which is warm.
    #[inline]
    pub(crate) fn lend_buffer(&mut self, index: u32) {
        let connection = self.seats[index as usize].connection.as_mut().expect("a connection at this index");
        if connection.out.buf.capacity() == 0 {
            if let Some(buffer) = self.pool.pop() {
                connection.out.buf = buffer;
            }
        }
    }

    fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            if let Some(connection) = self.seats[index as usize].connection.as_mut() {
                connection.dirty = false;
                self.start_send(index);
                self.close_if_done(index);
            }
        }
        // A connection that was dropped for its output limit has been marked again: the next turn looks whether it can go.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
    }

    fn start_send(&mut self, index: u32) {
        let limit = self.settings.output_limit;
        let now = self.now;
        let connection = self.seats[index as usize].connection.as_mut().expect("checked by the caller");
        if connection.dead {
            return;
        }
        if connection.sending.is_some() {
            // The client is slow, or much was asked at once.
            let len = connection.output_len() as u64;
            let soft = limit.soft > 0 && len > limit.soft;
            let since = *connection.soft_limit_since.get_or_insert(now);
            if !soft {
                connection.soft_limit_since = None;
            }
            let soft_over = soft && now - since >= limit.soft_seconds * 1000;
            if (limit.hard > 0 && len > limit.hard) || soft_over {
                self.observed.output_limit_disconnections += 1;
                tracing::warn!(
                    client = %connection.info.addr,
                    bytes = len,
                    "closing a client that does not read its replies (output_buffer_limit_normal)"
                );
                self.drop_connection(index);
            }
            return;
        }
        if connection.out.is_empty() {
            return;
        }
        if connection.awaits_hops() && connection.out.len() < HOLD_BACK_LEN_MAX {
            // The rest of this pipeline's replies is on its way: one send for all of them, when the last has come.
            return;
        }
        let output = std::mem::take(&mut connection.out);
        connection.sending = Some(Box::new(Sending::new(output)));
        let generation = connection.generation;
        if self.awaits_log(index, generation) {
            self.connection(index).sending.as_mut().expect("just made").awaits_log = true;
            return;
        }
        self.continue_send(index);
    }

    /// Sends what has waited for the disk.
    pub(crate) fn send_awaited(&mut self, index: u32, generation: u32) {
        let Some(connection) = self.connection_of(index, generation) else { return };
        if connection.dead {
            self.forget_awaited(index);
            self.mark_dirty(index);
            return;
        }
        connection.sending.as_mut().expect("it waits for the disk").awaits_log = false;
        self.continue_send(index);
    }

    /// What has waited for the disk is not sent.
    pub(crate) fn forget_awaited(&mut self, index: u32) {
        self.connection(index).sending = None;
    }

    /// The user data of an operation on a file.
    pub(crate) fn file_token(token: u32) -> u64 {
        user_data(Operation::File, 0, token)
    }

    /// Submits what is left of the present send.
    fn continue_send(&mut self, index: u32) {
        let connection = self.seats[index as usize].connection.as_mut().expect("checked by the caller");
        let sending = connection.sending.as_mut().expect("checked by the caller");
        let fd = connection.socket.as_raw_fd();
        let entry = sending.prepare(fd).user_data(user_data(Operation::Send, connection.generation, index));
        connection.operations += 1;
        self.sends_queued += !sending.patient as usize;
        // SAFETY: the bytes, the vector and the header lie in `sending`, which is boxed in the connection and is neither changed nor
        // dropped before the completion: a connection is freed only when it has no operation in the ring.
        unsafe { self.ring.push(entry) }
    }

    fn sent(&mut self, index: u32, generation: u32, result: i32) {
        let Some(connection) = self.connection_of(index, generation) else { return };
        connection.operations -= 1;
        let sending = connection.sending.as_mut().expect("a send was under way");
        if result <= 0 && result != -libc::EINTR && result != -libc::EAGAIN {
            connection.sending = None;
            connection.closing = true;
            connection.out.clear();
            self.drop_connection(index);
            return;
        }
        sending.sent += result.max(0) as usize;
        connection.info.net_out += result.max(0) as u64;
        let complete = sending.sent == sending.output.len();
        if !complete {
            sending.patient = true;
            if !connection.dead {
                self.continue_send(index);
            } else {
                self.close_if_done(index);
            }
            self.observed.totals.output_bytes += result.max(0) as u64;
            return;
        }
        self.observed.totals.output_bytes += result.max(0) as u64;
        let connection = self.connection(index);
        let mut buffer = connection.sending.take().expect("just seen").output.buf;
        let more = !connection.out.is_empty() || connection.closing || connection.dead;
        if buffer.capacity() <= POOL_BUFFER_LEN_MAX && self.pool.len() < POOL_BUFFERS_MAX {
            buffer.clear();
            self.pool.push(buffer);
        }
        if more {
            self.mark_dirty(index);
        }
    }

    /// Closes a connection at once, whatever it still has to send.
    pub(crate) fn drop_connection(&mut self, index: u32) {
        self.abandon_block(index);
        let connection = self.connection(index);
        connection.closing = true;
        connection.partial = None;
        if !connection.dead {
            connection.dead = true;
            shutdown(&connection.socket);
        }
        self.mark_dirty(index);
    }

    /// Closes a connection that has said all it had to say, and frees it when the ring has forgotten it.
    fn close_if_done(&mut self, index: u32) {
        let Some(connection) = self.seats[index as usize].connection.as_mut() else { return };
        if !connection.closing {
            return;
        }
        if !connection.dead && connection.is_drained() {
            connection.dead = true;
            connection.partial = None;
            shutdown(&connection.socket);
        }
        if connection.dead && connection.operations == 0 && !connection.dirty {
            self.leave_multi(index);
            self.seats[index as usize].connection = None;
            self.free_seats.push(index);
            self.process.clients.fetch_sub(1, Ordering::Relaxed);
            if self.free_seats.len() == self.seats.len() {
                // Nothing is received any more: what was for the last one has been reaped.
                self.ring.release_buffers();
            }
        }
    }

    // ---- periodic work -----------------------------------------------------------------------------------

    fn tick(&mut self) {
        let more_memory = self.process.options.host.release_memory();
        let is_loading = self.process.is_loading();
        if (self.background_due || self.shard.has_garbage()) && !is_loading {
            self.background_due = self.shard.background(self.now, BACKGROUND_SEGMENTS);
        }
        self.background_due |= more_memory;
        if self.now < self.next_tick_ms {
            return;
        }
        let hz = self.settings.hz.max(1) as u64;
        if !is_loading {
            self.background_due |= self.shard.background(self.now, BACKGROUND_SEGMENTS);
        }
        self.observed.rates.sample(self.now, self.observed.totals);
        for at in std::mem::take(&mut self.idle_listeners) {
            self.arm_listener(at);
        }
        self.end_pause();
        if self.now >= self.next_second_ms {
            self.next_second_ms = self.now + 1000;
            self.check_idle();
            self.publish_memory();
            self.look_for_snapshot();
        }
        // An executor with nothing that depends on time sleeps longer.
        let busy = self.shard.keys.any_expires() || self.process.paused_until_ms.load(Ordering::Relaxed) != 0;
        let interval = if busy { 1000 / hz } else { PARK_MAX.as_millis() as u64 };
        self.next_tick_ms = self.now + interval.max(1);
        let paused_until = self.process.paused_until_ms.load(Ordering::Relaxed);
        if paused_until > self.now {
            self.next_tick_ms = self.next_tick_ms.min(paused_until);
        }
    }

    /// Closes connections that have been idle for longer than `timeout`, and those too long above the soft limit.
    fn check_idle(&mut self) {
        let timeout = self.settings.timeout as u64 * 1000;
        for index in 0..self.seats.len() as u32 {
            let Some(connection) = self.seats[index as usize].connection.as_ref() else { continue };
            if connection.sending.is_some() {
                self.start_send(index);
            } else if timeout > 0
                && self.now.saturating_sub(connection.last_active_ms) > timeout
                && !connection.stalled.any()
                && connection.pending.is_empty()
            {
                self.drop_connection(index);
            }
        }
    }

    /// CLIENT PAUSE is over, or was taken back: connections go on.
    pub(crate) fn end_pause(&mut self) {
        let until = self.process.paused_until_ms.load(Ordering::Relaxed);
        if until != 0 && self.now < until {
            return;
        }
        for index in 0..self.seats.len() as u32 {
            if let Some(connection) = self.seats[index as usize].connection.as_mut() {
                if connection.stalled.paused {
                    connection.stalled.paused = false;
                    self.wake_connection(index);
                }
            }
        }
        if until != 0 {
            let _ =
                self.process.paused_until_ms.compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Makes the executor look at the clock again soon.
    pub(crate) fn tick_soon(&mut self) {
        self.next_tick_ms = self.now;
    }

    /// Makes the executor look at the clock again at this time, Unix milliseconds, if not before.
    pub(crate) fn tick_by(&mut self, at_ms: u64) {
        self.next_tick_ms = self.next_tick_ms.min(at_ms);
    }

    /// Takes over the settings of the process.
    pub(crate) fn refresh_settings(&mut self) {
        let process = self.process.clone();
        let settings = lock(&process.config).settings.clone();
        if settings.tcp_keepalive != self.settings.tcp_keepalive {
            // Accepted sockets inherit it from their listener.
            for (listener, entrance) in &self.listeners {
                if *entrance != Entrance::Unix {
                    if let Err(error) = crate::listener::set_keepalive(listener, settings.tcp_keepalive) {
                        tracing::warn!(%error, "tcp_keepalive could not be changed");
                    }
                }
            }
        }
        self.settings = Rc::new(settings);
        self.settings_changed();
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset_statistics(&mut self) {
        let observed = &mut self.observed;
        observed.commands.reset();
        observed.errors.reset();
        observed.totals = Totals::default();
        observed.rates.reset(self.now, Totals::default());
        observed.output_limit_disconnections = 0;
        observed.query_limit_disconnections = 0;
        observed.hops = 0;
        observed.batches = 0;
        self.process.memory.reset_statistics();
        self.shard.keys.stats = Default::default();
    }

    /// To be called after `settings` was replaced.
    fn settings_changed(&mut self) {
        let settings = self.settings.clone();
        self.limits.bulk_len = settings.proto_max_bulk_len as usize;
        self.shard.config.max_string_len = settings.proto_max_bulk_len as usize;
        self.shard.config.limits = settings.encodings;
        self.observed.slowlog.set_slower_than_us(settings.slowlog_log_slower_than);
        self.observed.slowlog.set_len_max(settings.slowlog_max_len as usize);
        self.observed.latency.set_threshold_ms(settings.latency_monitor_threshold);
        let slowlog = match settings.slowlog_log_slower_than {
            n if n < 0 => u64::MAX,
            n => (n as u64).saturating_mul(1000),
        };
        let latency = match settings.latency_monitor_threshold {
            0 => u64::MAX,
            n => n.saturating_mul(1_000_000),
        };
        self.slow_nanos = slowlog.min(latency);
        self.scripting.copies.set_memory_limit(settings.lua_memory_limit as usize);
        self.memory_settings_changed();
        self.next_tick_ms = self.now;
    }

    /// Whether those who are served at the end have had their time twice.
    pub(crate) fn is_stop_overdue(&self) -> bool {
        self.stop_deadline.is_some_and(|deadline| Instant::now() >= deadline + STOP_TIME_MAX)
    }

    /// While the process stops: whether this executor, and every other, has finished what was accepted.
    fn finished(&mut self) -> bool {
        if self.process.phase() == Phase::Running {
            return false;
        }
        let deadline = *self.stop_deadline.get_or_insert_with(|| {
            for (listener, _) in self.listeners.drain(..) {
                shutdown(&listener);
            }
            Instant::now() + STOP_TIME_MAX
        });
        if !self.drained {
            self.drop_blocked();
            let idle = self.finish_log()
                && self.ready.is_empty()
                && self.slices.is_empty()
                && self.tasks.iter().all(Option::is_none)
                && self.connections().all(|(_, c)| c.is_drained())
                && !self.ring.has_completions();
            if idle || Instant::now() >= deadline {
                self.drained = true;
                self.publish_changes();
                self.process.drained.fetch_add(1, Ordering::AcqRel);
            }
        }
        // Until all have, peers may ask for something here that changes data, also after this executor's own log was finished.
        self.process.drained.load(Ordering::Acquire) == self.count as usize
            && (self.finish_log() || Instant::now() >= deadline + FINISH_LOG_TIME_MAX)
            && self.finish_snapshots()
    }
}

/// How long it waits for the disk after that.
const FINISH_LOG_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a stopping process waits for clients to take their replies.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

/// Redis's words to a client from another host.
const PROTECTED_MODE_REFUSAL: &[u8] = b"-DENIED Kora is running in protected mode because protected mode is enabled and no \
password is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to \
connect from external computers, set a password (password_file) or protected_mode = false in the configuration.\r\n";

/// Whether the input of a connection waits for something else than more input.
fn waits(connection: &Connection) -> bool {
    connection.stalled.any() || connection.ready
}

fn shutdown(socket: &OwnedFd) {
    // SAFETY: a descriptor that we own.
    unsafe {
        libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR);
    }
}

/// Says why, as far as the socket takes it without waiting; the socket is closed by the caller.
fn refuse(socket: &OwnedFd, text: &[u8]) {
    // SAFETY: readable bytes of the given length, a descriptor that we own.
    unsafe {
        libc::send(
            socket.as_raw_fd(),
            text.as_ptr().cast(),
            text.len(),
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        );
    }
}

/// Peer address, local address, and whether the peer is another host.
fn addresses(
    socket: &OwnedFd,
    entrance: Entrance,
    options: &crate::options::Options,
) -> (String, String, bool) {
    if entrance == Entrance::Unix {
        let path = options.unix_socket.as_ref().map_or(String::new(), |p| p.display().to_string());
        return (format!("{path}:0"), format!("{path}:0"), false);
    }
    let socket = socket2::SockRef::from(socket);
    let text = |address: io::Result<socket2::SockAddr>| {
        address.ok().and_then(|a| a.as_socket()).map_or("?:0".to_owned(), |a| a.to_string())
    };
    let peer = socket.peer_addr();
    let foreign = match peer.as_ref().ok().and_then(|a| a.as_socket_ipv4().map(|a| *a.ip())) {
        Some(ip) => !ip.is_loopback(),
        None => match peer.as_ref().ok().and_then(|a| a.as_socket_ipv6()) {
            Some(a) => !a.ip().is_loopback() && !a.ip().to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
            None => false,
        },
    };
    (text(peer), text(socket.local_addr()), foreign)
}

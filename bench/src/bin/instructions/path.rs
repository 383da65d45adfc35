//! The path of a command through an executor, without the ring: the same steps, types and order as `input`, `execute_all`,
//! `parse_ahead`, `flush` and `sent` of `kora-net/src/executor.rs` and `execute`, `route`, `run_here` and `account` of
//! `kora-net/src/dispatch.rs`. A change there belongs here too.
//!
//! What is rare (errors, stalls, frames that are not whole, commands of the network layer) is only checked for, as it is there;
//! a workload that meets it ends with a panic.

use bytes::Bytes;
use kora_engine::command::{registry, Command, Flags, Registry, Run};
use kora_engine::keyspace::{Key, View};
use kora_engine::shard::{Applied, EngineConfig, Shard, ShardId};
use kora_engine::slot::Slot;
use kora_modules::observe::commandstats::CommandStats;
use kora_modules::observe::rates::Totals;
use kora_net::connection::{ClientInfo, Connection, Entrance, ReplyMode, Sending};
use kora_net::limits::{PARSE_AHEAD, POOL_BUFFERS_MAX, POOL_BUFFER_LEN_MAX, TURN_COMMANDS_MAX};
use kora_net::resp::encode::RespSink;
use kora_net::resp::parse::{ParseLimits, Parser, Step};
use smallvec::SmallVec;
use std::hint::black_box;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// The time of all commands, Unix milliseconds.
const NOW: u64 = 1_700_000_000_000;
/// Seed of the hash: any number, always the same.
const SEED: u64 = 0x5EED;
/// From here on a command goes to the slow log, nanoseconds; far above what one takes even under callgrind.
const SLOW_NANOS: u64 = 10_000_000_000;

/// What all executors share and a command looks at.
struct Shared {
    paused_until_ms: AtomicU64,
}

#[derive(Default)]
struct Ahead {
    frames: SmallVec<[ParsedFrame; PARSE_AHEAD]>,
    incomplete: bool,
}

struct ParsedFrame {
    end: usize,
    spans_end: usize,
}

/// An executor with one connection and no ring.
pub struct Path {
    id: u16,
    count: u16,
    now: u64,
    shard: Shard,
    shared: Arc<Shared>,
    registry: &'static Registry,
    commands: CommandStats,
    totals: Totals,
    clock: quanta::Clock,
    last_tick: u64,
    limits: ParseLimits,
    slow_nanos: u64,
    seats: Vec<Option<Box<Connection>>>,
    dirty: Vec<u32>,
    parser: Parser,
    spans: Vec<Range<usize>>,
    pool: Vec<Vec<u8>>,
}

impl Path {
    /// The first of `count` executors, with an empty shard.
    pub fn new(count: u16) -> Path {
        let registry = registry();
        let clock = quanta::Clock::new();
        let config = EngineConfig::default();
        Path {
            id: 0,
            count,
            now: NOW,
            limits: ParseLimits { bulk_len: config.max_string_len, authenticated: true },
            shard: Shard::new(ShardId { index: 0, count }, config, SEED),
            shared: Arc::new(Shared { paused_until_ms: AtomicU64::new(0) }),
            registry,
            commands: CommandStats::new(registry.all().len()),
            totals: Totals::default(),
            last_tick: clock.raw(),
            clock,
            slow_nanos: SLOW_NANOS,
            seats: vec![Some(Box::new(connection()))],
            dirty: Vec::new(),
            parser: Parser::default(),
            spans: Vec::new(),
            pool: Vec::new(),
        }
    }

    /// Bytes of replies so far.
    pub fn output_bytes(&self) -> u64 {
        self.totals.output_bytes
    }

    /// What one receive causes: its commands, the send of their replies, the completion of the send.
    pub fn turn(&mut self, received: &[u8]) {
        self.input(0, received);
        self.flush();
        self.sent(0);
    }

    #[inline]
    fn connection(&mut self, index: u32) -> &mut Connection {
        self.seats[index as usize].as_mut().expect("a connection at this index")
    }

    #[inline]
    fn input(&mut self, index: u32, received: &[u8]) {
        self.totals.input_bytes += received.len() as u64;
        let connection = self.seats[index as usize].as_mut().expect("a connection at this index");
        connection.info.net_in += received.len() as u64;
        assert!(!connection.closing && !connection.dead);
        assert!(connection.partial.is_none() && !connection.stalled.any());
        let mut parser = std::mem::take(&mut self.parser);
        let consumed = self.execute_all(index, received, &mut parser, None);
        assert!(consumed == received.len(), "a workload consists of whole frames");
        parser.reset();
        self.parser = parser;
    }

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
                        let frame_bytes = frame_bytes.filter(|_| !parser.is_inline());
                        self.execute(index, &argv, frame_bytes);
                    }
                }
                first_span = frame.spans_end;
                let connection = self.connection(index);
                assert!(!connection.stalled.repeats());
                consumed = start + frame.end;
                assert!(!connection.closing && !connection.dead && !connection.stalled.any());
            }
            if parser.is_inline() {
                parser.reset();
            }
            if ahead.incomplete {
                break;
            }
        }
        self.spans = spans;
        consumed
    }

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
        let connection = self.seats[index as usize].as_ref().expect("its input is being parsed");
        let db = connection.db;
        let mut limits = self.limits;
        limits.authenticated = connection.authenticated;
        let most = if limits.authenticated { PARSE_AHEAD.min(budget) } else { 1 };
        let mut ahead = Ahead::default();
        let mut at = 0;
        let mut keys: SmallVec<[Key<'_>; PARSE_AHEAD]> = SmallVec::new();
        while ahead.frames.len() < most && at < input.len() {
            match parser.parse(&input[at..], &limits) {
                Ok(Step::Frame(len)) => {
                    assert!(!parser.is_inline());
                    let first = spans.len();
                    parser.spans_from(at, spans);
                    parser.reset();
                    at += len;
                    ahead.frames.push(ParsedFrame { end: at, spans_end: spans.len() });
                    if at < input.len() || !keys.is_empty() {
                        if let Some(span) = spans.get(first + 1) {
                            let bytes = &input[span.start..span.end];
                            if self.count == 1 || Slot::of(bytes).shard(self.count) == self.id {
                                let key = self.shard.keys.key(bytes);
                                self.shard.keys.prefetch_slot(db, &key);
                                keys.push(key);
                            }
                        }
                    }
                }
                Ok(Step::Incomplete) => {
                    ahead.incomplete = true;
                    break;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        for key in &keys {
            self.shard.keys.prefetch_record(db, key);
        }
        ahead
    }

    #[inline]
    fn execute(&mut self, index: u32, argv: &[&[u8]], frame: Option<&Bytes>) {
        self.lend_buffer(index);
        self.mark_dirty(index);
        let command = match self.registry.resolve(argv) {
            Ok(command) => command,
            Err(error) => panic!("{error:?}"),
        };
        let now = self.now;
        let connection = self.connection(index);
        connection.last_active_ms = now;
        connection.last_command = Some(command.id);
        connection.info.commands += 1;
        assert!(connection.authenticated || command.spec.flags.contains(Flags::NO_AUTH));
        let unanswered = connection.reply_mode != ReplyMode::On;
        assert!(self.shared.paused_until_ms.load(Ordering::Relaxed) == 0);
        assert!(!unanswered);
        self.route(index, command, argv, frame);
    }

    #[inline]
    fn route(&mut self, index: u32, command: &'static Command, argv: &[&[u8]], frame: Option<&Bytes>) {
        let Run::Keys(..) = command.spec.run else { panic!("{} has no keys", command.full_name) };
        let executor_port = self.connection(index).entrance == Entrance::Executor;
        if self.count == 1 && !executor_port {
            return self.run_here(index, command, argv, frame);
        }
        assert!(self.owner(command, argv) == Some(self.id), "a workload's keys belong to the first executor");
        self.run_here(index, command, argv, frame);
    }

    fn owner(&self, command: &Command, argv: &[&[u8]]) -> Option<u16> {
        let mut owner = None;
        for spec in command.spec.keys {
            for at in spec.positions(argv) {
                let shard = Slot::of(argv[at]).shard(self.count);
                match owner {
                    None => owner = Some(shard),
                    Some(first) if first != shard => return None,
                    Some(_) => {}
                }
            }
        }
        owner
    }

    #[inline]
    fn run_here(&mut self, index: u32, command: &'static Command, argv: &[&[u8]], frame: Option<&Bytes>) {
        let now = self.now;
        let connection = self.seats[index as usize].as_mut().expect("a connection at this index");
        let view = View { db: connection.db, now, touch: connection.touch };
        let protocol = connection.protocol;
        let applied = self.shard.apply(
            view,
            command,
            argv,
            frame,
            &mut RespSink::new(connection.reply_output(), protocol),
        );
        assert!(matches!(applied, Applied::Replied));
        connection.reply_written();
        self.account(command);
    }

    #[inline]
    fn account(&mut self, command: &'static Command) {
        let tick = self.clock.raw();
        let nanos = self.clock.delta_as_nanos(self.last_tick, tick);
        self.last_tick = tick;
        self.totals.commands += 1;
        self.commands.record(command.id as usize, nanos);
        assert!(nanos < self.slow_nanos);
    }

    #[inline]
    fn mark_dirty(&mut self, index: u32) {
        let connection = self.connection(index);
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(index);
        }
    }

    #[inline]
    fn lend_buffer(&mut self, index: u32) {
        let connection = self.seats[index as usize].as_mut().expect("a connection at this index");
        if connection.out.buf.capacity() == 0 {
            if let Some(buffer) = self.pool.pop() {
                connection.out.buf = buffer;
            }
        }
    }

    fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            if let Some(connection) = self.seats[index as usize].as_mut() {
                connection.dirty = false;
                self.start_send(index);
            }
        }
        self.dirty = dirty;
    }

    fn start_send(&mut self, index: u32) {
        let connection = self.connection(index);
        assert!(connection.sending.is_none() && !connection.out.is_empty());
        assert!(!connection.awaits_hops());
        let output = std::mem::take(&mut connection.out);
        connection.sending = Some(Box::new(Sending::new(output)));
        let sending = connection.sending.as_mut().expect("just made");
        black_box(sending.prepare(connection.socket.as_raw_fd()));
        connection.operations += 1;
    }

    fn sent(&mut self, index: u32) {
        let connection = self.seats[index as usize].as_mut().expect("a connection at this index");
        connection.operations -= 1;
        let mut sending = connection.sending.take().expect("a send was under way");
        let len = sending.output.len() as u64;
        connection.info.net_out += len;
        self.totals.output_bytes += len;
        let mut buffer = std::mem::take(&mut sending.output.buf);
        if buffer.capacity() <= POOL_BUFFER_LEN_MAX && self.pool.len() < POOL_BUFFERS_MAX {
            buffer.clear();
            self.pool.push(buffer);
        }
    }
}

/// A client of which nothing special is known. Nothing is sent to its socket.
fn connection() -> Connection {
    let (socket, _) =
        std::os::unix::net::UnixStream::pair().expect("a pair of sockets: raise the limit on open files");
    let info = ClientInfo::new(1, String::new(), String::new(), true, NOW);
    let mut connection = Connection::new(socket.into(), 1, Entrance::Tcp, true, info);
    connection.receiving = true;
    connection.operations = 1;
    connection
}

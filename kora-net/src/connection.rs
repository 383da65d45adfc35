//! One client connection: its input, its replies in request order, its output.
//!
//! ```text
//!   received bytes -> [partial] -> commands -> replies -+-> out -> sending -> socket
//!                                                       |
//!                         while a hop is under way: pending + tail (request order)
//! ```
//!
//! A reply that is ready goes straight to `out`. Once a command has been sent to another executor, what follows is written to `tail`, and each
//! pending reply remembers how much of `tail` belongs behind it; answers are put in front of their part of the tail as they arrive.

use crate::blocking::Block;
use crate::limits::{IOVECS_MAX, POOL_BUFFER_LEN_MAX, SEND_LEN_MAX};
use crate::multi::Queue;
use crate::resp::encode::Output;
use crate::resp::parse::{ParseLimits, Parser, Step};
use crate::watch::Watching;
use bytes::Bytes;
use io_uring::{opcode, squeue, types};
use kora_engine::limits::INLINE_VALUE_MAX;
use kora_engine::reply::Protocol;
use std::collections::VecDeque;
use std::os::fd::{OwnedFd, RawFd};

/// How a client got in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// The main TCP port.
    Tcp,
    /// The Unix socket.
    Unix,
    /// The port of one executor: keys of other shards are answered with MOVED.
    Executor,
}

/// Why no more commands of a connection are executed for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stalled {
    /// A command that takes several rounds is under way; what follows must not overtake it.
    pub coordinating: bool,
    /// This many requests wait for a peer.
    pub peer: Option<u16>,
    /// CLIENT PAUSE.
    pub paused: bool,
    /// A blocking command waits for its keys.
    pub blocked: bool,
    /// More was written than the disk takes.
    pub behind: bool,
}

impl Stalled {
    /// Whether the command that has stalled the connection must be executed again: it has only found out that it cannot run yet.
    #[inline]
    pub fn repeats(&self) -> bool {
        self.peer.is_some() || self.paused || self.behind
    }

    /// Whether any reason holds.
    #[inline]
    pub fn any(&self) -> bool {
        self.coordinating || self.peer.is_some() || self.paused || self.blocked || self.behind
    }
}

/// Input that is not executed yet: an unfinished frame, or commands whose turn has not come.
#[derive(Default)]
pub struct Partial {
    bytes: Vec<u8>,
    /// Where in `bytes` the first frame that is not executed begins: what lies before is removed only now and then, so that a long
    /// pipeline is not moved once per turn.
    start: usize,
    /// The parser's state within that frame.
    pub parser: Parser,
}

impl Partial {
    /// Input that starts at a frame, and the parser's state within it.
    pub fn new(bytes: Vec<u8>, parser: Parser) -> Partial {
        Partial { bytes, start: 0, parser }
    }

    /// From the start of the first frame that is not executed.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// How many bytes that is.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether everything is executed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory held, bytes.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes more input.
    pub fn add(&mut self, more: &[u8]) {
        if self.bytes.len() + more.len() > self.bytes.capacity() {
            self.bytes.drain(..self.start);
            self.start = 0;
            self.grow(self.bytes.len() + more.len());
        }
        self.bytes.extend_from_slice(more);
    }

    /// Makes room for `least` bytes: twice as much as there was, but not much past the end of the argument that is being read, so that a
    /// large value nearly fills its buffer and can be kept without a copy. Never by less than a quarter: the cost of a frame stays
    /// linear in its length, however many arguments it has.
    fn grow(&mut self, least: usize) {
        /// Buffers from this size on grow by a quarter where no end is known.
        const LARGE: usize = 64 * 1024;
        let (len, capacity) = (self.bytes.len(), self.bytes.capacity());
        let needed = self.parser.needed();
        let target = if needed > least {
            needed.max(capacity + capacity / 4).min(capacity * 2)
        } else if capacity >= LARGE {
            capacity + capacity / 4
        } else {
            capacity * 2
        };
        self.bytes.reserve_exact(target.max(least).saturating_sub(len));
    }

    /// The first `n` bytes are executed.
    pub fn consume(&mut self, n: usize) {
        self.start += n;
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        } else if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// All bytes as refcounted memory, if they begin with a large frame that has just become whole: its large argument can then be kept
    /// without a copy. The parser is at the start of the frame again afterwards.
    pub fn take_large_frame(&mut self, parser: &mut Parser, limits: &ParseLimits) -> Option<Bytes> {
        if self.len() <= INLINE_VALUE_MAX || parser.at_start() {
            return None;
        }
        let large = match parser.parse(self.bytes(), limits) {
            Ok(Step::Incomplete) => return None,
            Ok(Step::Frame(len)) => len > INLINE_VALUE_MAX && !parser.is_inline(),
            // Found again, and answered, when it is executed.
            Err(_) => false,
        };
        parser.reset();
        if !large {
            return None;
        }
        let bytes = std::mem::take(&mut self.bytes);
        let start = std::mem::take(&mut self.start);
        let used = bytes.len() - start;
        // Memory that would be kept for nothing is worth a copy.
        Some(if bytes.capacity() - used > used / 4 {
            Bytes::copy_from_slice(&bytes[start..])
        } else {
            Bytes::from(bytes).slice(start..)
        })
    }
}

/// A reply that is awaited from elsewhere.
pub struct Pending {
    /// It has come, but an earlier one has not.
    pub reply: Option<Output>,
    /// Replies are switched off for it.
    pub discard: bool,
    /// How far the tail belongs behind this reply: bytes, and spliced values.
    tail_end: (usize, usize),
}

/// CLIENT REPLY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// Every command is answered.
    #[default]
    On,
    /// None is.
    Off,
    /// The next one is not.
    SkipNext,
}

/// A send that the kernel works on: its memory must stay until the completion.
pub struct Sending {
    /// The bytes.
    pub output: Output,
    /// How many of them are gone.
    pub sent: usize,
    /// It waits for the disk, and is not in the hands of the kernel yet.
    pub awaits_log: bool,
    /// The socket did not take all at the first attempt: the operation now waits until it does.
    pub patient: bool,
    /// What the kernel is told when there is more than one piece.
    pub iovecs: Vec<libc::iovec>,
    /// The message header that points to them.
    pub message: libc::msghdr,
}

impl Sending {
    /// A send of these bytes.
    pub fn new(output: Output) -> Sending {
        // SAFETY: all-zero is a valid (empty) message header.
        let message = unsafe { std::mem::zeroed() };
        Sending { output, sent: 0, awaits_log: false, patient: false, iovecs: Vec::new(), message }
    }

    /// The operation that sends what is left. It points into `self`, which must stay in place until it completes.
    pub fn prepare(&mut self, fd: RawFd) -> squeue::Entry {
        // The first attempt ends at once, with what the socket takes; if that is not all, the next one is the kernel's to finish.
        let flags = libc::MSG_NOSIGNAL | if self.patient { libc::MSG_WAITALL } else { libc::MSG_DONTWAIT };
        if self.output.shared.is_empty() {
            let rest = &self.output.buf[self.sent..];
            return opcode::Send::new(types::Fd(fd), rest.as_ptr(), rest.len().min(SEND_LEN_MAX) as u32)
                .flags(flags)
                .build();
        }
        self.iovecs.clear();
        let mut skip = self.sent;
        for piece in self.output.pieces() {
            if self.iovecs.len() == IOVECS_MAX {
                break;
            }
            if skip >= piece.len() {
                skip -= piece.len();
                continue;
            }
            let rest = &piece[skip..];
            skip = 0;
            self.iovecs
                .push(libc::iovec { iov_base: rest.as_ptr() as *mut libc::c_void, iov_len: rest.len() });
        }
        self.message.msg_iov = self.iovecs.as_mut_ptr();
        self.message.msg_iovlen = self.iovecs.len();
        opcode::SendMsg::new(types::Fd(fd), &self.message).flags(flags as u32).build()
    }
}

/// Facts that CLIENT LIST and INFO print and that no hot path needs.
pub struct ClientInfo {
    /// Unique for the life of the process.
    pub id: u64,
    /// Peer address, or the path of the Unix socket with `:0`.
    pub addr: String,
    /// Local address.
    pub laddr: String,
    /// Whether the peer is on this host.
    pub local: bool,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO lib-name.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO lib-ver.
    pub lib_ver: Vec<u8>,
    /// When it connected, Unix milliseconds.
    pub created_ms: u64,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// Bytes received.
    pub net_in: u64,
    /// Bytes sent.
    pub net_out: u64,
    /// Commands executed.
    pub commands: u64,
    /// While EXEC is under way: how many commands it has, and bytes of them.
    pub executing: Option<(usize, usize)>,
}

impl ClientInfo {
    /// A client that has just connected and has said nothing of itself.
    pub fn new(id: u64, addr: String, laddr: String, local: bool, created_ms: u64) -> ClientInfo {
        ClientInfo {
            id,
            addr,
            laddr,
            local,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            created_ms,
            no_evict: false,
            net_in: 0,
            net_out: 0,
            commands: 0,
            executing: None,
        }
    }
}

/// One connection.
pub struct Connection {
    /// The socket.
    pub socket: OwnedFd,
    /// Distinguishes it from earlier connections at the same index.
    pub generation: u32,
    /// How it got in.
    pub entrance: Entrance,
    /// What it speaks.
    pub protocol: Protocol,
    /// SELECT.
    pub db: u16,
    /// Whether it may do more than AUTH and HELLO.
    pub authenticated: bool,
    /// CLIENT NO-TOUCH is off.
    pub touch: bool,
    /// CLIENT REPLY.
    pub reply_mode: ReplyMode,
    /// After MULTI: what EXEC will execute.
    pub queue: Option<Box<Queue>>,
    /// WATCH: what EXEC depends on.
    pub watching: Option<Box<Watching>>,
    /// Why it waits.
    pub stalled: Stalled,
    /// The blocking command that it waits for.
    pub(crate) blocked: Option<Box<Block>>,
    /// No more commands are read; it is closed when everything is sent.
    pub closing: bool,
    /// The socket is shut down; it is freed when the last operation has completed.
    pub dead: bool,
    /// A multishot receive is armed in the ring.
    pub receiving: bool,
    /// The receive was cancelled because too much input waits.
    pub receive_paused: bool,
    /// The client has closed its side.
    pub at_end: bool,
    /// Operations in the ring that name this connection.
    pub operations: u32,
    /// It is in the executor's list of connections with output to send.
    pub dirty: bool,
    /// It is in the executor's list of connections with input to go on with.
    pub ready: bool,
    /// Input that waits.
    pub partial: Option<Box<Partial>>,
    /// Replies to send.
    pub out: Output,
    /// Replies behind pending ones.
    pub tail: Output,
    /// How much of `tail` has moved to `out` already: bytes, and spliced values.
    pub tail_start: (usize, usize),
    /// How many replies have left `pending` since the moved part of `tail` was removed.
    pub tail_popped: usize,
    /// Replies awaited, oldest first.
    pub pending: VecDeque<Pending>,
    /// Sequence number of the first of `pending`.
    pub first_pending: u32,
    /// What the kernel sends.
    pub sending: Option<Box<Sending>>,
    /// Its next reply waits until everything before it is on the disk, whatever the mode.
    pub wants_log: bool,
    /// Since when the output is above the soft limit, Unix milliseconds.
    pub soft_limit_since: Option<u64>,
    /// Time of the last command, Unix milliseconds.
    pub last_active_ms: u64,
    /// Number of the last command in the registry.
    pub last_command: Option<u16>,
    /// Everything else.
    pub info: Box<ClientInfo>,
}

impl Connection {
    /// A connection as it begins: RESP2, database 0, nothing received, nothing armed in the ring.
    pub fn new(
        socket: OwnedFd,
        generation: u32,
        entrance: Entrance,
        authenticated: bool,
        info: ClientInfo,
    ) -> Connection {
        Connection {
            socket,
            generation,
            entrance,
            protocol: Protocol::Resp2,
            db: 0,
            authenticated,
            touch: true,
            reply_mode: ReplyMode::On,
            queue: None,
            watching: None,
            stalled: Stalled::default(),
            blocked: None,
            closing: false,
            dead: false,
            receiving: false,
            receive_paused: false,
            at_end: false,
            operations: 0,
            dirty: false,
            ready: false,
            partial: None,
            out: Output::default(),
            tail: Output::default(),
            tail_start: (0, 0),
            tail_popped: 0,
            pending: VecDeque::new(),
            first_pending: 0,
            sending: None,
            wants_log: false,
            soft_limit_since: None,
            last_active_ms: info.created_ms,
            last_command: None,
            info: Box::new(info),
        }
    }

    /// The output to which the reply of the command in execution goes.
    #[inline]
    pub fn reply_output(&mut self) -> &mut Output {
        if self.pending.is_empty() {
            &mut self.out
        } else {
            &mut self.tail
        }
    }

    /// To be called after something was written to [`Connection::reply_output`].
    #[inline]
    pub fn reply_written(&mut self) {
        if let Some(last) = self.pending.back_mut() {
            last.tail_end = (self.tail.buf.len(), self.tail.shared.len());
        }
    }

    /// Announces a reply that comes from elsewhere; returns its sequence number.
    #[inline]
    pub fn await_reply(&mut self) -> u32 {
        let sequence = self.first_pending.wrapping_add(self.pending.len() as u32);
        let discard = self.reply_mode != ReplyMode::On;
        let tail_end = (self.tail.buf.len(), self.tail.shared.len());
        self.pending.push_back(Pending { reply: None, discard, tail_end });
        sequence
    }

    /// Takes an awaited reply: `write` appends it to the output it is given. Everything that is complete by then
    /// moves to `out`.
    pub fn complete(&mut self, sequence: u32, write: impl FnOnce(&mut Output)) {
        let at = sequence.wrapping_sub(self.first_pending) as usize;
        let Some(pending) = self.pending.get_mut(at) else { return };
        if at > 0 {
            let mut reply = Output::default();
            write(&mut reply);
            pending.reply = Some(reply);
            return;
        }
        if pending.discard {
            write(&mut Output::default());
        } else {
            write(&mut self.out);
        }
        self.move_tail();
        while let Some(Pending { reply: Some(_), .. }) = self.pending.front() {
            let front = self.pending.front_mut().expect("just seen");
            let discard = front.discard;
            let mut reply = front.reply.take().expect("just seen");
            if !discard {
                self.out.append(&mut reply);
            }
            self.move_tail();
        }
        if self.pending.is_empty() {
            if self.tail.buf.capacity() > POOL_BUFFER_LEN_MAX {
                self.tail = Output::default();
            }
            self.tail.clear();
            self.tail_start = (0, 0);
            self.tail_popped = 0;
        } else if self.tail_popped >= self.pending.len() && self.tail_start != (0, 0) {
            // Not each time: a pipeline with thousands of replies awaited would move its tail thousands of times.
            let moved = std::mem::take(&mut self.tail_start);
            self.tail_popped = 0;
            self.tail.cut_front(moved);
            for pending in &mut self.pending {
                pending.tail_end.0 -= moved.0;
                pending.tail_end.1 -= moved.1;
            }
        }
    }

    /// Removes the first pending entry and moves its part of the tail to `out`.
    fn move_tail(&mut self) {
        let pending = self.pending.pop_front().expect("called for the front");
        self.first_pending = self.first_pending.wrapping_add(1);
        self.tail_popped += 1;
        self.out.append_part(&self.tail, self.tail_start, pending.tail_end);
        self.tail_start = pending.tail_end;
    }

    /// Whether the replies that are missing come from other executors' next turns, and not from work that may take long.
    #[inline]
    pub fn awaits_hops(&self) -> bool {
        !self.pending.is_empty() && !self.stalled.coordinating && !self.stalled.blocked
    }

    /// Bytes of output that the client has not taken.
    pub fn output_len(&self) -> usize {
        let sending = self.sending.as_ref().map_or(0, |s| s.output.len() - s.sent);
        let early: usize = self.pending.iter().filter_map(|p| p.reply.as_ref()).map(Output::len).sum();
        let tail = self.tail.len() - self.tail.len_before(self.tail_start);
        self.out.len() + tail + sending + early
    }

    /// Bytes of input that were not executed.
    pub fn input_len(&self) -> usize {
        self.partial.as_ref().map_or(0, |p| p.len())
    }

    /// Whether nothing is left to be done for its past commands.
    pub fn is_drained(&self) -> bool {
        self.pending.is_empty() && self.out.is_empty() && self.sending.is_none()
    }
}

#[cfg(test)]
#[path = "connection/tests.rs"]
mod tests;

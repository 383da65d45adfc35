//! Limits of the network side, each with its reason.

use std::time::Duration;

/// Submission queue entries: one send and one re-arm for each connection that is active in a turn. More waits in a backlog.
pub const RING_ENTRIES: u32 = 1024;
/// Provided receive buffers per executor. Each is given back in the turn in which it was filled, so this bounds one turn's
/// input, not the number of connections.
pub const RECV_BUFFERS: u16 = 128;
/// Size of a receive buffer: a pipeline of 16 SETs of 256 bytes is 5 KB; 2 MiB in all per executor, of which an executor without clients
/// holds nothing.
pub const RECV_BUFFER_LEN: usize = 16 * 1024;

/// Commands of one connection in one turn: then it is the next connection's.
pub const TURN_COMMANDS_MAX: usize = 64;

/// Commands of a pipeline that are parsed before the first of them is executed, so that their cache lines are on the way. A core has
/// 10 to 16 outstanding misses.
pub const PARSE_AHEAD: usize = 16;

/// Unparsed input of a connection that has to wait (its turn is over, a coordinated command is under way, a peer is
/// full) above which nothing more is received from it.
pub const BACKLOG_PAUSE_LEN: usize = 256 * 1024;

/// Requests for one peer that wait for a credit, bytes; above it the connections that want to send there are parked.
pub const OUTBOX_PARK_LEN: usize = 256 * 1024;
/// Batches from one executor to another that may be on their way or being worked on.
pub const BATCH_CREDITS: usize = 4;
/// Queue capacity of each ordered pair: all of one side's requests and all replies to the other's.
pub const MESH_QUEUE_LEN: usize = BATCH_CREDITS * 2;

/// Longest sleep of an executor in its socket ring; after it, periodic work and glommio get a look in.
pub const PARK_MAX: Duration = Duration::from_secs(1);
/// Segments of the table that background work visits per slice: tens of microseconds.
pub const BACKGROUND_SEGMENTS: usize = 16;
/// The same for a slice of a command, which may insert an element where background work visits one: a few hundred microseconds.
pub const SLICE_SEGMENTS: usize = 8;

/// Commands of a transaction that run at a stretch, some 100 us. One with more holds its keys, runs as many as a connection may in a turn, and
/// lets others go on in between.
pub const EXEC_WHOLE_MAX: usize = 256;
/// A transaction of more commands holds shards as a whole and not keys: to name a million keys would take longer than most of their commands.
pub const EXEC_KEYS_MAX: usize = 4096;

/// Replies that are held back while later ones of the same pipeline come from other executors, bytes: one send and one wake-up of
/// the client instead of several.
pub const HOLD_BACK_LEN_MAX: usize = 64 * 1024;

/// Longest single send, bytes: the length of a send is 32 bits wide.
pub const SEND_LEN_MAX: usize = 1 << 30;
/// Pieces of one vectored send; the kernel's own limit is 1024.
pub const IOVECS_MAX: usize = 64;

/// Send buffers that are kept for reuse per executor, and the largest that is kept.
pub const POOL_BUFFERS_MAX: usize = 256;
/// A larger buffer is given back to the allocator after use.
pub const POOL_BUFFER_LEN_MAX: usize = 64 * 1024;

/// Memory that glommio locks per executor for its file I/O; it pins this three times. It refuses less than 512 KiB.
pub const GLOMMIO_IO_MEMORY: usize = 1 << 20;
/// Never, in effect. glommio 0.9 arms this timer, then runs its queues unless the timer has fired by then, and takes "nothing
/// ran" for "nothing to run": a thread that loses its core in between sleeps for ever with its task runnable. An executor
/// that starts on a busy machine did so at 250 us once in some hundred starts. Nothing needs the preemption: the executor is the
/// only task that runs long, it gives way by itself, and it drains its mail itself.
pub const PREEMPT_TIMER: Duration = Duration::from_secs(24 * 3600);

/// Open files that are not clients: standard streams, files, what libraries open. Redis keeps the same number.
pub const NOFILE_RESERVED: u64 = 32;
/// Open files of one executor: its rings, eventfds, timer and listeners.
pub const NOFILE_PER_EXECUTOR: u64 = 16;

const _: () = assert!(RECV_BUFFERS.is_power_of_two());
const _: () = assert!(RECV_BUFFER_LEN <= BACKLOG_PAUSE_LEN);
const _: () = assert!(MESH_QUEUE_LEN >= 2 * BATCH_CREDITS);

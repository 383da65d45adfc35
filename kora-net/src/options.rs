//! What the server is started with, and what can be changed while it runs.

use crate::ring::RingSizes;
use crate::storage::StorageOptions;
use kora_engine::keyspace::EvictionRules;
use kora_engine::limits::EncodingLimits;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// What the program around the server provides: its log, its configuration file, its allocator.
pub trait Host: Send + Sync {
    /// Changes the least important level that is logged (`debug`, `verbose`, `notice`, `warning`, or a name of ours).
    ///
    /// # Errors
    /// No such level; the text says which there are.
    fn set_log_level(&self, level: &str) -> Result<(), String>;
    /// Writes settings into the configuration file that was read at start; `None` removes a key.
    ///
    /// # Errors
    /// There is no file, or it cannot be written; the text names it.
    fn rewrite_config(&self, settings: &[(&str, Option<String>)]) -> Result<(), String>;
    /// What the allocator says.
    fn memory(&self) -> HostMemory;
    /// Bytes that the calling thread has allocated minus those that it has freed, in sizes of blocks. The sum over all threads is what is
    /// allocated; one thread's figure can be negative.
    fn allocated_by_thread(&self) -> isize;
    /// Gives free memory of the calling thread back to the system: all of it when `at_once`, else what has been free for a while.
    fn purge_memory(&self, at_once: bool);
    /// Gives back a part of the large blocks that the calling thread has freed; whether more waits. Only where this is called do they go back
    /// in parts.
    fn release_memory(&self) -> bool;
    /// Whether memory that becomes free is to go back to the system at once, at some cost, or after a while when it was not used again.
    fn set_prompt_purge(&self, prompt: bool);
    /// Whether a block of the calling thread lies in a page of the allocator of which at most `percent` per cent are in use, so that moving it
    /// elsewhere helps the page to become empty.
    ///
    /// # Safety
    /// `block` was allocated by the calling thread and is live.
    unsafe fn is_in_sparse_page(&self, block: *const u8, percent: u8) -> bool;
}

/// Memory as the allocator counts it, bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostMemory {
    /// Taken from the system and in use or kept for reuse.
    pub committed: u64,
    /// The most that `committed` has been.
    pub peak_committed: u64,
    /// Name and version of the allocator.
    pub allocator: &'static str,
}

/// Fixed at start.
#[derive(Clone)]
pub struct Options {
    /// The program around the server.
    pub host: Arc<dyn Host>,
    /// Addresses of the TCP listeners.
    pub bind: Vec<IpAddr>,
    /// TCP port; 0 for no TCP.
    pub port: u16,
    /// Path of the Unix socket.
    pub unix_socket: Option<PathBuf>,
    /// Permission bits of the Unix socket.
    pub unix_socket_perm: Option<u32>,
    /// The core of each executor; its length is the number of executors.
    pub cores: Vec<usize>,
    /// Port of the first executor's own listener; the others follow.
    pub cluster_ports: Option<u16>,
    /// Backlog given to listen(2).
    pub tcp_backlog: u32,
    /// Number of databases.
    pub databases: u16,
    /// Microseconds of looking for work before an executor parks.
    pub spin_us: u64,
    /// Whether memory is taken in small pages only.
    pub disable_thp: bool,
    /// Who may use DEBUG.
    pub debug_command: DebugCommand,
    /// Path of the configuration file, for INFO and CONFIG REWRITE.
    pub config_file: Option<PathBuf>,
    /// Version text for INFO and HELLO.
    pub version: &'static str,
    /// Sizes of each executor's socket ring.
    pub ring: RingSizes,
    /// What is kept on the disk; without it data lives in memory only.
    pub storage: Option<StorageOptions>,
    /// Initial values of what can be changed later.
    pub settings: Settings,
}

/// Who may use DEBUG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DebugCommand {
    /// Nobody.
    No,
    /// Connections from this host.
    Local,
    /// Everybody.
    Yes,
}

/// Bounds on the replies that a client does not read; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputLimit {
    /// Bytes above which the client is dropped at once.
    pub hard: u64,
    /// Bytes above which it is dropped after `soft_seconds`.
    pub soft: u64,
    /// How long it may stay above `soft`.
    pub soft_seconds: u64,
}

/// What CONFIG SET can change. Every executor has its own copy; a change reaches all of them before it is answered.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The password, if one is needed.
    pub password: Option<Vec<u8>>,
    /// Refuse other hosts while there is no password.
    pub protected_mode: bool,
    /// Connections at the same time.
    pub max_clients: u32,
    /// Seconds of idleness before a client is disconnected; 0 for never.
    pub timeout: u32,
    /// Seconds of silence before TCP probes the client; 0 for never.
    pub tcp_keepalive: u32,
    /// Bytes of input that a connection may have waiting.
    pub query_buffer_limit: u64,
    /// Bytes that the queued commands of a MULTI may take.
    pub multi_queue_limit: u64,
    /// Bounds on unread replies.
    pub output_limit: OutputLimit,
    /// Longest argument and longest string value, bytes.
    pub proto_max_bulk_len: u64,
    /// Ticks of background work per second.
    pub hz: u32,
    /// Microseconds from which SLOWLOG takes a command; 0 takes all, negative none.
    pub slowlog_log_slower_than: i64,
    /// Entries that SLOWLOG keeps (per executor, and in the merged answer).
    pub slowlog_max_len: u64,
    /// Milliseconds from which LATENCY takes an event; 0 for never.
    pub latency_monitor_threshold: u64,
    /// Least important message that is logged.
    pub log_level: String,
    /// Up to where collections are packed.
    pub encodings: EncodingLimits,
    /// Bytes that the process may take; 0 for no limit.
    pub maxmemory: u64,
    /// Which keys go when it takes more.
    pub eviction: EvictionRules,
    /// From 0 to 100: how long an executor evicts at a stretch before it serves again (`maxmemory-eviction-tenacity`).
    pub eviction_tenacity: u8,
    /// Time after which a script is too slow, milliseconds: others are told BUSY. 0: never.
    pub lua_time_limit: u64,
    /// Memory that one interpreter may take, bytes.
    pub lua_memory_limit: u64,
    /// Scripts hold all shards, and so may use keys that they have not declared.
    pub script_undeclared_keys: bool,
}

//! Configuration: flags over `KORA_*` environment variables over a TOML file over defaults.
//!
//! ```text
//! keys.rs      one table: name, kind, default, help of every key
//! value.rs     how a kind of value is read from TOML and from text, and written
//! layer.rs     one source (defaults, file, environment, flags) -> accepted values + errors
//! mod.rs       figment merges the layers into the typed `Config`
//! conflicts.rs what is wrong between keys, or on this machine; the password file
//! print.rs     --print-config
//! rewrite.rs   CONFIG REWRITE: edits the file in place
//! ```
//!
//! Why sources are read before figment merges them: figment stops at the first error and has no lines, and an operator
//! wants every mistake at once with its place. figment does what it is good at, precedence with the origin of each value.

mod conflicts;
mod error;
mod keys;
mod layer;
mod print;
mod rewrite;
mod suggest;
mod value;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use serde::Deserialize;

pub use error::{ConfigError, ConfigErrors, Origin};
pub(crate) use keys::{Default as KeyDefault, KEYS};
pub use rewrite::{rewrite, RewriteError};

use layer::Layer;

/// The file that is read when no other is named.
pub const DEFAULT_FILE: &str = "kora.toml";

/// The effective configuration. Field names are the keys of `kora.toml`; docs/configuration.md describes them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Addresses of the TCP listeners; never empty.
    pub bind: Vec<IpAddr>,
    /// TCP port, 0 for no TCP.
    pub port: u16,
    /// Path of the Unix socket.
    pub unix_socket: Option<PathBuf>,
    /// Permission bits of the Unix socket; `None` leaves what the umask gives.
    pub unix_socket_perm: Option<u32>,
    /// Executors, at most the cores that the process may use.
    pub workers: usize,
    /// Port of the first worker's own listener; the others follow without a gap.
    pub cluster_ports: Option<u16>,
    /// Backlog given to listen(2).
    pub tcp_backlog: u32,
    /// Seconds of silence before TCP probes the client, 0 for never.
    pub tcp_keepalive: u32,
    /// Whether there may be more workers than cores.
    pub share_cores: bool,
    /// Microseconds of looking for work before an executor parks.
    pub spin_us: u64,
    /// The password, from whichever source gave it (its own key or the password file).
    pub password: Option<Secret>,
    /// Where the password was read from, if from a file.
    pub password_file: Option<PathBuf>,
    /// Refuse other hosts while there is no password.
    pub protected_mode: bool,
    /// No transparent huge pages.
    pub disable_thp: bool,
    /// Who may use DEBUG.
    pub enable_debug_command: DebugCommand,
    /// Connections at the same time.
    pub max_clients: u32,
    /// Seconds of idleness before a client is disconnected, 0 for never.
    pub timeout: u32,
    /// Bytes of unfinished request that a client may send.
    pub query_buffer_limit: u64,
    /// Bytes that the queued commands of a MULTI may take.
    pub multi_queue_limit: u64,
    /// Bounds on the replies that a client does not read.
    pub output_buffer_limit_normal: OutputBufferLimit,
    /// Bytes of the longest argument and the longest string value.
    pub proto_max_bulk_len: u64,
    /// Numbered databases.
    pub databases: u32,
    /// Rounds of active expiry per second.
    pub hz: u32,
    /// Bytes that the process may take, 0 for no limit.
    pub maxmemory: u64,
    /// Redis's name of the policy by which keys are evicted.
    pub maxmemory_policy: String,
    /// Keys that are looked at to find the one to evict.
    pub maxmemory_samples: u8,
    /// How long eviction goes on at a stretch, from 0 to 100.
    pub maxmemory_eviction_tenacity: u8,
    /// Milliseconds after which a script is too slow, 0 for never.
    pub lua_time_limit: u64,
    /// Bytes that the interpreter of one script may take.
    pub lua_memory_limit: u64,
    /// Whether scripts may use keys that they have not declared.
    pub script_undeclared_keys: bool,
    /// How slowly the counters of the LFU policies grow.
    pub lfu_log_factor: u32,
    /// Minutes without an access that take one off a counter, 0 for never.
    pub lfu_decay_time: u32,
    /// Fields that a packed hash may have.
    pub hash_max_listpack_entries: usize,
    /// Bytes of the longest field or value in a packed hash.
    pub hash_max_listpack_value: usize,
    /// Bytes that a HyperLogLog may take before it becomes dense.
    pub hll_sparse_max_bytes: usize,
    /// Accepted for Redis's sake: blocks of lists are not compressed.
    pub list_compress_depth: u32,
    /// Elements of a block of a list, or -1 to -5 for blocks of 4, 8, 16, 32 and 64 KiB.
    pub list_max_listpack_size: i32,
    /// Members that a set of integers may have before it becomes a table.
    pub set_max_intset_entries: usize,
    /// Members that a packed set may have.
    pub set_max_listpack_entries: usize,
    /// Bytes of the longest member of a packed set.
    pub set_max_listpack_value: usize,
    /// Bytes of a block of a stream; 0 for no limit.
    pub stream_node_max_bytes: usize,
    /// Entries of a block of a stream; 0 for no limit.
    pub stream_node_max_entries: usize,
    /// Members that a packed sorted set may have.
    pub zset_max_listpack_entries: usize,
    /// Bytes of the longest member of a packed sorted set.
    pub zset_max_listpack_value: usize,
    /// Folder of the log and the snapshots; without one data lives in memory only.
    pub data_dir: Option<PathBuf>,
    /// Whether changes are logged.
    pub wal_enabled: bool,
    /// When a change is on the disk.
    pub wal_sync: WalSync,
    /// Bytes of log after which a snapshot is taken.
    pub wal_max_bytes: u64,
    /// Whether snapshots are taken by themselves, every so often.
    pub rdb_enabled: bool,
    /// Seconds between two snapshots.
    pub snapshot_interval_secs: u64,
    /// How many snapshots are kept.
    pub snapshot_retain: u32,
    /// Least important message that is logged.
    pub log_level: LogLevel,
    /// Form of the log.
    pub log_format: LogFormat,
    /// Microseconds from which SLOWLOG takes a command; 0 takes all, -1 none.
    pub slowlog_log_slower_than: i64,
    /// Entries that SLOWLOG keeps.
    pub slowlog_max_len: u64,
    /// Milliseconds from which LATENCY takes an event, 0 for never.
    pub latency_monitor_threshold: u64,
}

/// The defaults, on this machine.
impl Default for Config {
    fn default() -> Self {
        merge(vec![Layer::defaults(Machine::of_this_process().default_workers)]).config
    }
}

/// A password. It shows itself to no formatter; [`Secret::reveal`] is the only way in.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides a password.
    pub fn new(password: impl Into<String>) -> Self {
        Secret(password.into())
    }

    /// The password itself, for AUTH to compare with.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<set>")
    }
}

/// Redis's client-output-buffer-limit for one class of clients; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputBufferLimit {
    /// Bytes at which a client is disconnected at once.
    pub hard_bytes: u64,
    /// Bytes at which a client is disconnected when it stays over them for `soft_seconds`.
    pub soft_bytes: u64,
    /// See `soft_bytes`.
    pub soft_seconds: u64,
}

/// Who may use DEBUG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DebugCommand {
    /// Everybody.
    Yes,
    /// Nobody.
    No,
    /// Clients from this host.
    Local,
}

/// When a change is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WalSync {
    /// Before its reply leaves.
    EveryWrite,
    /// Within a second.
    EverySecond,
    /// When the system likes.
    OsManaged,
}

/// Least important message that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Nothing is logged.
    Off,
    /// What needs somebody's attention.
    Error,
    /// What is probably not meant so.
    Warn,
    /// Start, stop and changes of state.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// What a configuration needs to know about the machine it is for.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Cores that the scheduler lets this process run on.
    pub allowed_cores: usize,
    /// Workers when nobody says how many: the allowed cores within the CPU quota of the cgroup.
    pub default_workers: usize,
}

impl Machine {
    /// The machine as this process may use it.
    pub fn of_this_process() -> Self {
        let allowed_cores = crate::cores::allowed();
        // The standard library reads the cgroup's quota (version 1 and 2, all levels), rounded down to whole cores.
        let within_quota = std::thread::available_parallelism().map_or(1, |n| n.get());
        Machine { allowed_cores, default_workers: within_quota.min(allowed_cores) }
    }
}

/// Where configuration comes from, besides the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Path (as messages shall call it) and text of the file.
    pub file: Option<(PathBuf, String)>,
    /// Variables; those that do not start with `KORA_` are passed over.
    pub environment: Vec<(OsString, OsString)>,
    /// Key and value of each flag.
    pub flags: Vec<(&'static str, String)>,
}

impl Sources {
    /// Reads the file (`path`, which must exist, or [`DEFAULT_FILE`], which need not) and this process's environment.
    pub fn gather(path: Option<&Path>, flags: Vec<(&'static str, String)>) -> Result<Self, ConfigErrors> {
        let (path, named) = path.map_or((Path::new(DEFAULT_FILE), false), |path| (path, true));
        let file = match std::fs::read(path) {
            Ok(bytes) => {
                let text = String::from_utf8(bytes).map_err(|error| {
                    let good = error.utf8_error().valid_up_to();
                    let line = 1 + error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count();
                    let message = "not valid TOML: bytes that are no UTF-8";
                    ConfigErrors(vec![ConfigError::new(Origin::File(path.into(), line), message)])
                })?;
                Some((path.to_owned(), text))
            }
            Err(error) if !named && error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                let message = format!("cannot be read: {error}");
                return Err(ConfigErrors(vec![ConfigError::in_file(path, message)]));
            }
        };
        Ok(Sources { file, environment: std::env::vars_os().collect(), flags })
    }
}

/// A configuration that can be started, with the origin of each value.
#[derive(Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// The file that was read: the one that CONFIG REWRITE edits.
    pub file: Option<PathBuf>,
    values: BTreeMap<&'static str, (value::Value, Origin)>,
}

impl Loaded {
    /// Where the value of a key comes from.
    pub fn origin(&self, key: &str) -> Origin {
        self.values.get(key).map_or(Origin::Default, |(_, origin)| origin.clone())
    }
}

/// Reads all sources and merges them, or says everything that is wrong with them.
pub fn load(sources: Sources, machine: &Machine) -> Result<Loaded, ConfigErrors> {
    let mut errors = vec![];
    let mut layers = vec![Layer::defaults(machine.default_workers)];
    if let Some((path, text)) = &sources.file {
        layers.push(Layer::file(path, text, &mut errors));
    }
    layers.push(Layer::environment(sources.environment, &mut errors));
    layers.push(Layer::flags(&sources.flags, &mut errors));

    let refused: BTreeSet<&str> = layers.iter().flat_map(|layer| layer.refused.iter().copied()).collect();
    let mut loaded = merge(layers);
    loaded.file = sources.file.map(|(path, _)| path);
    errors.extend(conflicts::find(&loaded, machine, &refused));
    conflicts::resolve_password(&mut loaded, &mut errors);
    if errors.is_empty() {
        Ok(loaded)
    } else {
        Err(ConfigErrors(errors))
    }
}

/// Later layers win.
fn merge(layers: Vec<Layer>) -> Loaded {
    let figment = layers.iter().fold(Figment::new(), |figment, layer| figment.merge(layer));
    // Every value was checked when its layer was read. Should the table and the struct disagree, name the key only: the
    // error's own text could hold a password.
    let config = figment.extract().unwrap_or_else(|error| {
        panic!("the key table and Config disagree on {:?} ({})", error.path, error.count())
    });
    let mut values = BTreeMap::new();
    for key in KEYS {
        let winner = figment.find_metadata(key.name).map(|metadata| metadata.name.as_ref());
        if let Some(layer) = layers.iter().find(|layer| Some(layer.name) == winner) {
            values.insert(key.name, layer.values[key.name].clone());
        }
    }
    Loaded { config, file: None, values }
}

//! The one table of configuration keys.
//!
//! A row is everything about a key: its name in TOML (the flag is the same with dashes, the environment variable the
//! same in capitals after `KORA_`), what it accepts, its default, Redis's name for it and one line of help. The command
//! line, the environment, the file reader, `--help`, `--print-config`, CONFIG REWRITE and the table in
//! docs/configuration.md all read it. A new key is one row here and one field of `Config`.

use super::value::Kind;
use kora_engine::keyspace::EvictionPolicy;

/// One configuration key.
pub(crate) struct Key {
    /// In TOML.
    pub name: &'static str,
    /// Heading in `--help` and the documentation.
    pub group: &'static str,
    pub kind: Kind,
    pub default: Default,
    /// Redis's directive of the same meaning: what people coming from redis.conf will type.
    pub redis: Option<&'static str>,
    /// One line, starting with a capital, without a full stop.
    pub help: &'static str,
}

/// What a key is when nobody sets it.
#[derive(Clone, Copy)]
pub(crate) enum Default {
    /// This value, in the spelling of a flag.
    Text(&'static str),
    /// No value; the help says what that means.
    Absent,
    /// The number of cores this process may use, see `Machine::default_workers`.
    Workers,
}

impl Key {
    /// Name of the environment variable.
    pub(crate) fn variable(&self) -> String {
        format!("KORA_{}", self.name.to_ascii_uppercase())
    }

    /// Name of the flag without its dashes, or `None` for what must not stand on a command line that `ps` shows.
    pub(crate) fn flag(&self) -> Option<String> {
        (!matches!(self.kind, Kind::Secret)).then(|| self.name.replace('_', "-"))
    }
}

/// Tables of the file in which keys may stand as well as at its top, with the group of these keys.
pub(crate) const TABLES: &[(&str, &str)] = &[("storage", STORAGE)];

/// The row of a key.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

const NETWORK: &str = "Network";
const THREADS: &str = "Threads";
const SECURITY: &str = "Security";
const CLIENTS: &str = "Clients and limits";
const DATA: &str = "Data";
const MEMORY: &str = "Memory";
const ENCODINGS: &str = "Encodings";
const SCRIPTS: &str = "Scripts";
const STORAGE: &str = "Storage";
const OBSERVE: &str = "Logs and monitoring";

const I32_MAX: i64 = i32::MAX as i64;
/// Longest path of a Unix socket: `sun_path` without its final NUL.
const SUN_PATH_BYTES_MAX: usize = 107;
/// Longest path that the system takes.
const PATH_BYTES_MAX: usize = 4095;
/// Executors that a process can be asked for; a typing error beyond any machine stops here.
pub(crate) const WORKERS_MAX: i64 = 1024;

/// All keys, in the order in which they are documented and printed.
pub(crate) static KEYS: &[Key] = &[
    Key {
        name: "bind",
        group: NETWORK,
        kind: Kind::Addresses,
        default: Default::Text("127.0.0.1"),
        redis: Some("bind"),
        help: "Addresses to listen on; \"*\" is every IPv4 address, \"::\" every address",
    },
    Key {
        name: "port",
        group: NETWORK,
        kind: Kind::Integer { min: 0, max: 65535 },
        default: Default::Text("6379"),
        redis: Some("port"),
        help: "TCP port; 0 for none",
    },
    Key {
        name: "unix_socket",
        group: NETWORK,
        kind: Kind::Path { bytes_max: SUN_PATH_BYTES_MAX },
        default: Default::Absent,
        redis: Some("unixsocket"),
        help: "Path of a Unix socket to listen on; absent for none",
    },
    Key {
        name: "unix_socket_perm",
        group: NETWORK,
        kind: Kind::Mode,
        default: Default::Absent,
        redis: Some("unixsocketperm"),
        help: "Mode of the Unix socket, in octal; absent for what the umask leaves",
    },
    Key {
        name: "cluster_ports",
        group: NETWORK,
        kind: Kind::Integer { min: 1, max: 65535 },
        default: Default::Absent,
        redis: None,
        help: "First of one port per worker, on which each worker is a cluster node; absent for none",
    },
    Key {
        name: "tcp_backlog",
        group: NETWORK,
        kind: Kind::Integer { min: 1, max: I32_MAX },
        default: Default::Text("511"),
        redis: Some("tcp-backlog"),
        help: "Connections that may wait to be accepted (net.core.somaxconn limits it)",
    },
    Key {
        name: "tcp_keepalive",
        group: NETWORK,
        kind: Kind::Integer { min: 0, max: I32_MAX },
        default: Default::Text("300"),
        redis: Some("tcp-keepalive"),
        help: "Seconds of silence before TCP probes a client; 0 for never",
    },
    Key {
        name: "workers",
        group: THREADS,
        kind: Kind::Integer { min: 1, max: WORKERS_MAX },
        default: Default::Workers,
        redis: Some("io-threads"),
        help: "Executors, each with its own core and shard; by default the cores that this process may use",
    },
    Key {
        name: "share_cores",
        group: THREADS,
        kind: Kind::Boolean,
        default: Default::Text("false"),
        redis: None,
        help: "Allow more workers than cores, which then share them: slower, to test what many workers do",
    },
    Key {
        name: "spin_us",
        group: THREADS,
        kind: Kind::Integer { min: 0, max: 100_000 },
        default: Default::Text("0"),
        redis: None,
        help: "Microseconds that an idle executor looks for work before it sleeps",
    },
    Key {
        name: "password",
        group: SECURITY,
        kind: Kind::Secret,
        default: Default::Absent,
        redis: Some("requirepass"),
        help: "Password of AUTH and HELLO; never printed, and no flag because ps shows flags",
    },
    Key {
        name: "password_file",
        group: SECURITY,
        kind: Kind::Path { bytes_max: usize::MAX },
        default: Default::Absent,
        redis: None,
        help: "File that holds the password in its only line",
    },
    Key {
        name: "protected_mode",
        group: SECURITY,
        kind: Kind::Boolean,
        default: Default::Text("true"),
        redis: Some("protected-mode"),
        help: "Without a password, refuse clients from other hosts",
    },
    Key {
        name: "enable_debug_command",
        group: SECURITY,
        kind: Kind::Choice(&["yes", "no", "local"]),
        default: Default::Text("local"),
        redis: Some("enable-debug-command"),
        help: "Who may use DEBUG; \"local\" is clients from this host",
    },
    Key {
        name: "max_clients",
        group: CLIENTS,
        kind: Kind::Integer { min: 1, max: 10_000_000 },
        default: Default::Text("10000"),
        redis: Some("maxclients"),
        help: "Connections at the same time; one more gets an error",
    },
    Key {
        name: "timeout",
        group: CLIENTS,
        kind: Kind::Integer { min: 0, max: I32_MAX },
        default: Default::Text("0"),
        redis: Some("timeout"),
        help: "Seconds after which an idle client is disconnected; 0 for never",
    },
    Key {
        name: "query_buffer_limit",
        group: CLIENTS,
        kind: Kind::Bytes { min: 1 << 20, max: i64::MAX as u64 },
        default: Default::Text("1gb"),
        redis: Some("client-query-buffer-limit"),
        help: "Bytes of unfinished request that a client may send before it is disconnected",
    },
    Key {
        name: "multi_queue_limit",
        group: CLIENTS,
        kind: Kind::Bytes { min: 64 << 10, max: i64::MAX as u64 },
        default: Default::Text("128mb"),
        redis: None,
        help: "Bytes that the commands queued by a MULTI may take; with one more the transaction is refused",
    },
    Key {
        name: "output_buffer_limit_normal",
        group: CLIENTS,
        kind: Kind::OutputLimit,
        default: Default::Text("1gb 0 0"),
        redis: Some("client-output-buffer-limit"),
        help: "Unread replies (hard limit, soft limit, seconds over the soft one) before a client is disconnected; 0 for no limit",
    },
    Key {
        name: "proto_max_bulk_len",
        group: CLIENTS,
        kind: Kind::Bytes { min: 1 << 20, max: 2 << 30 },
        default: Default::Text("512mb"),
        redis: Some("proto-max-bulk-len"),
        help: "Longest single argument of a command, and longest string value",
    },
    Key {
        name: "databases",
        group: DATA,
        kind: Kind::Integer { min: 1, max: 16384 },
        default: Default::Text("16"),
        redis: Some("databases"),
        help: "Numbered databases that SELECT chooses from",
    },
    Key {
        name: "hz",
        group: DATA,
        kind: Kind::Integer { min: 1, max: 500 },
        default: Default::Text("10"),
        redis: Some("hz"),
        help: "Times per second that expired keys are looked for and reclaimed",
    },
    Key {
        name: "maxmemory",
        group: MEMORY,
        kind: Kind::Bytes { min: 0, max: u64::MAX },
        default: Default::Text("0"),
        redis: Some("maxmemory"),
        help: "Bytes that the process may take before keys are evicted or writes refused; 0 for no limit",
    },
    Key {
        name: "disable_thp",
        group: MEMORY,
        kind: Kind::Boolean,
        default: Default::Text("false"),
        redis: Some("disable-thp"),
        help: "Keep off transparent huge pages: slower lookups in many keys, but a new page never takes long to get",
    },
    Key {
        name: "maxmemory_policy",
        group: MEMORY,
        kind: Kind::Choice(&EvictionPolicy::NAMES),
        default: Default::Text("noeviction"),
        redis: Some("maxmemory-policy"),
        help: "Which keys go when memory is short: of all keys or of those that expire (volatile)",
    },
    Key {
        name: "maxmemory_samples",
        group: MEMORY,
        kind: Kind::Integer { min: 1, max: 64 },
        default: Default::Text("5"),
        redis: Some("maxmemory-samples"),
        help: "Keys that are looked at to find the one to evict; more choose better and cost more",
    },
    Key {
        name: "maxmemory_eviction_tenacity",
        group: MEMORY,
        kind: Kind::Integer { min: 0, max: 100 },
        default: Default::Text("10"),
        redis: Some("maxmemory-eviction-tenacity"),
        help: "How long eviction goes on at a stretch: 10 is half a millisecond, 100 until it is done",
    },
    Key {
        name: "lfu_log_factor",
        group: MEMORY,
        kind: Kind::Integer { min: 0, max: I32_MAX },
        default: Default::Text("10"),
        redis: Some("lfu-log-factor"),
        help: "How slowly the counters of the LFU policies grow",
    },
    Key {
        name: "lfu_decay_time",
        group: MEMORY,
        kind: Kind::Integer { min: 0, max: I32_MAX },
        default: Default::Text("1"),
        redis: Some("lfu-decay-time"),
        help: "Minutes without an access that take one off a counter; 0 for never",
    },
    Key {
        name: "hash_max_listpack_entries",
        group: ENCODINGS,
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: Default::Text("512"),
        redis: Some("hash-max-listpack-entries"),
        help: "Fields that a packed hash may have",
    },
    Key {
        name: "hash_max_listpack_value",
        group: ENCODINGS,
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: Default::Text("64"),
        redis: Some("hash-max-listpack-value"),
        help: "Bytes of the longest field or value in a packed hash",
    },
    Key {
        name: "hll_sparse_max_bytes",
        group: ENCODINGS,
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: Default::Text("3000"),
        redis: Some("hll-sparse-max-bytes"),
        help: "Bytes that a HyperLogLog may take before it becomes dense",
    },
    Key {
        name: "list_compress_depth",
        group: ENCODINGS,
        kind: Kind::Integer { min: 0, max: I32_MAX },
        default: Default::Text("0"),
        redis: Some("list-compress-depth"),
        help: "Accepted for Redis's sake: blocks of lists are not compressed",
    },
    Key {
        name: "list_max_listpack_size",
        group: ENCODINGS,
        kind: Kind::Integer { min: i32::MIN as i64, max: I32_MAX },
        default: Default::Text("-2"),
        redis: Some("list-max-listpack-size"),
        help: "Elements of a block of a list, or -1 to -5 for blocks of 4, 8, 16, 32 and 64 KiB",
    },
    Key {
        name: "set_max_intset_entries",
        group: ENCODINGS,
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: Default::Text("512"),
        redis: Some("set-max-intset-entries"),
        help: "Members that a set of integers may have before it becomes a table",
    },
    Key {
        name: "set_max_listpack_entries",
        group: ENCODINGS,
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: Default::Text("128"),
        redis: Some("set-max-listpack-entries"),
        help: "Members that a packed set may have",
    },
    Key {
        name: "set_max_listpack_value",
        group: ENCODINGS,
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: Default::Text("64"),
        redis: Some("set-max-listpack-value"),
        help: "Bytes of the longest member of a packed set",
    },
    Key {
        name: "stream_node_max_bytes",
        group: ENCODINGS,
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: Default::Text("4096"),
        redis: Some("stream-node-max-bytes"),
        help: "Bytes of a block of a stream; 0 for no limit",
    },
    Key {
        name: "stream_node_max_entries",
        group: ENCODINGS,
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: Default::Text("100"),
        redis: Some("stream-node-max-entries"),
        help: "Entries of a block of a stream; 0 for no limit",
    },
    Key {
        name: "zset_max_listpack_entries",
        group: ENCODINGS,
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: Default::Text("128"),
        redis: Some("zset-max-listpack-entries"),
        help: "Members that a packed sorted set may have",
    },
    Key {
        name: "zset_max_listpack_value",
        group: ENCODINGS,
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: Default::Text("64"),
        redis: Some("zset-max-listpack-value"),
        help: "Bytes of the longest member of a packed sorted set",
    },
    Key {
        name: "lua_time_limit",
        group: SCRIPTS,
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: Default::Text("5000"),
        redis: Some("lua-time-limit"),
        help: "Milliseconds after which a script is too slow: others are told BUSY until it ends or is killed; 0 for never",
    },
    Key {
        name: "lua_memory_limit",
        group: SCRIPTS,
        kind: Kind::Bytes { min: 1 << 20, max: 1 << 40 },
        default: Default::Text("64mb"),
        redis: Some("lua-memory-limit"),
        help: "Bytes that the interpreter of one script may take; a script that wants more fails",
    },
    Key {
        name: "script_undeclared_keys",
        group: SCRIPTS,
        kind: Kind::Boolean,
        default: Default::Text("false"),
        redis: Some("script-undeclared-keys"),
        help: "Scripts may use keys that they have not declared, wherever they are: each holds all data while it runs",
    },
    Key {
        name: "data_dir",
        group: STORAGE,
        kind: Kind::Path { bytes_max: PATH_BYTES_MAX },
        default: Default::Absent,
        redis: Some("dir"),
        help: "Folder of the log and the snapshots; absent for data that lives in memory only",
    },
    Key {
        name: "wal_enabled",
        group: STORAGE,
        kind: Kind::Boolean,
        default: Default::Text("true"),
        redis: Some("appendonly"),
        help: "Write every change to the log in data_dir",
    },
    Key {
        name: "wal_sync",
        group: STORAGE,
        kind: Kind::Choice(&["every_write", "every_second", "os_managed"]),
        default: Default::Text("every_second"),
        redis: Some("appendfsync"),
        help: "When a change is on the disk: before its reply, within a second, or when the system likes",
    },
    Key {
        name: "wal_max_bytes",
        group: STORAGE,
        kind: Kind::Bytes { min: 32 << 20, max: 1 << 50 },
        default: Default::Text("1gb"),
        redis: Some("auto-aof-rewrite-min-size"),
        help: "Bytes of log after which a snapshot is taken, which lets the log begin anew",
    },
    Key {
        name: "rdb_enabled",
        group: STORAGE,
        kind: Kind::Boolean,
        default: Default::Text("true"),
        redis: None,
        help: "Take a snapshot every snapshot_interval_secs if something has changed, not only when asked for or when the log is long",
    },
    Key {
        name: "snapshot_interval_secs",
        group: STORAGE,
        kind: Kind::Integer { min: 1, max: 31_536_000 },
        default: Default::Text("3600"),
        redis: Some("save"),
        help: "Seconds between two snapshots",
    },
    Key {
        name: "snapshot_retain",
        group: STORAGE,
        kind: Kind::Integer { min: 1, max: 1000 },
        default: Default::Text("1"),
        redis: None,
        help: "How many snapshots are kept, the newest included",
    },
    Key {
        name: "log_level",
        group: OBSERVE,
        kind: Kind::Choice(&["off", "error", "warn", "info", "debug", "trace"]),
        default: Default::Text("info"),
        redis: Some("loglevel"),
        help: "Least important message that is logged",
    },
    Key {
        name: "log_format",
        group: OBSERVE,
        kind: Kind::Choice(&["text", "json"]),
        default: Default::Text("text"),
        redis: None,
        help: "Form of the log on standard error; json is one object per line",
    },
    Key {
        name: "slowlog_log_slower_than",
        group: OBSERVE,
        kind: Kind::Integer { min: -1, max: i64::MAX },
        default: Default::Text("10000"),
        redis: Some("slowlog-log-slower-than"),
        help: "Microseconds from which a command enters SLOWLOG; 0 for every command, -1 for none",
    },
    Key {
        name: "slowlog_max_len",
        group: OBSERVE,
        kind: Kind::Integer { min: 0, max: 1_000_000 },
        default: Default::Text("128"),
        redis: Some("slowlog-max-len"),
        help: "Commands that SLOWLOG remembers",
    },
    Key {
        name: "latency_monitor_threshold",
        group: OBSERVE,
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: Default::Text("0"),
        redis: Some("latency-monitor-threshold"),
        help: "Milliseconds from which LATENCY records an event; 0 for never",
    },
];

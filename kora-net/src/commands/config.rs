//! CONFIG GET, SET and REWRITE: the parameters of the server under Redis's names.
//!
//! One table says for each parameter how its value is read and what a new one must look like. What does not change while the server runs has
//! no setter. Parameters that say that a thing is not there (`appendonly no`, `save`) are listed because tools
//! ask for them at the start; parameters that would have no effect are not.

use super::Served;
use crate::executor::Executor;
use crate::options::{DebugCommand, Options, OutputLimit, Settings};
use crate::process::{lock, LiveConfig};
use crate::resp::encode::{Output, RespSink};
use kora_engine::error::Error;
use kora_engine::glob;
use kora_engine::keyspace::EvictionPolicy;
use kora_engine::reply::Reply;
use kora_engine::table::SAMPLE_MAX;
use std::sync::atomic::Ordering;

/// The word that CONFIG GET shows for a password that is set.
const HIDDEN: &str = "(hidden)";

/// One parameter.
struct Parameter {
    /// Redis's name.
    name: &'static str,
    /// Its key in the configuration file, for those that CONFIG REWRITE may write.
    key: &'static str,
    /// Its value as text.
    get: fn(&Options, &Settings) -> String,
    /// What a new value must be.
    set: Setter,
}

/// How a new value is read and stored.
enum Setter {
    /// It cannot change while the server runs.
    Fixed,
    Boolean(fn(&mut Settings, bool)),
    Integer {
        min: i64,
        max: i64,
        set: fn(&mut Settings, i64),
    },
    /// A number of bytes, with a unit.
    Memory {
        min: u64,
        max: u64,
        set: fn(&mut Settings, u64),
    },
    Choice {
        names: &'static [&'static str],
        set: fn(&mut Settings, &'static str),
    },
    Other(fn(&mut Settings, &[u8]) -> Result<(), String>),
}

const I32_MAX: i64 = i32::MAX as i64;

/// Longest argument that can be configured: lengths of arguments are 32 bits in mail between executors.
const PROTO_MAX_BULK_LEN_MAX: u64 = 2 << 30;
const _: () = assert!(PROTO_MAX_BULK_LEN_MAX < crate::mail::LARGE as u64);

/// Redis's levels of the log and the names that the configuration file has for them.
const LOG_LEVELS: [(&str, &str); 5] =
    [("debug", "trace"), ("verbose", "debug"), ("notice", "info"), ("warning", "warn"), ("nothing", "off")];

/// A parameter that only says what the server was started with.
const fn fixed(name: &'static str, get: fn(&Options, &Settings) -> String) -> Parameter {
    Parameter { name, key: "", get, set: Setter::Fixed }
}

fn yes_or_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

const PARAMETERS: &[Parameter] = &[
    fixed("appendfsync", |options, _| {
        use crate::storage::WalSync;
        match options.storage.as_ref().map(|storage| storage.sync) {
            Some(WalSync::EveryWrite) => "always",
            Some(WalSync::OsManaged) => "no",
            Some(WalSync::EverySecond) | None => "everysec",
        }
        .to_owned()
    }),
    fixed("appendonly", |options, _| yes_or_no(options.storage.as_ref().is_some_and(|storage| storage.wal))),
    fixed("bind", |options, _| options.bind.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
    Parameter {
        name: "client-output-buffer-limit",
        key: "output_buffer_limit_normal",
        get: |_, settings| {
            let limit = settings.output_limit;
            format!("normal {} {} {}", limit.hard, limit.soft, limit.soft_seconds)
        },
        set: Setter::Other(set_output_limit),
    },
    Parameter {
        name: "client-query-buffer-limit",
        key: "query_buffer_limit",
        get: |_, settings| settings.query_buffer_limit.to_string(),
        set: Setter::Memory {
            min: 1 << 20,
            max: i64::MAX as u64,
            set: |settings, bytes| settings.query_buffer_limit = bytes,
        },
    },
    fixed("cluster-enabled", |options, _| yes_or_no(options.cluster_ports.is_some())),
    fixed("daemonize", |_, _| yes_or_no(false)),
    fixed("databases", |options, _| options.databases.to_string()),
    fixed("dir", |options, _| {
        let dir = options.storage.as_ref().map(|storage| std::path::absolute(&storage.dir));
        dir.unwrap_or_else(std::env::current_dir).map(|dir| dir.display().to_string()).unwrap_or_default()
    }),
    fixed("disable-thp", |options, _| yes_or_no(options.disable_thp)),
    fixed("enable-debug-command", |options, _| {
        match options.debug_command {
            DebugCommand::No => "no",
            DebugCommand::Local => "local",
            DebugCommand::Yes => "yes",
        }
        .to_owned()
    }),
    Parameter {
        name: "hash-max-listpack-entries",
        key: "hash_max_listpack_entries",
        get: |_, settings| settings.encodings.hash_max_listpack_entries.to_string(),
        set: Setter::Integer {
            min: 0,
            max: i64::MAX,
            set: |settings, n| settings.encodings.hash_max_listpack_entries = n as usize,
        },
    },
    Parameter {
        name: "hash-max-listpack-value",
        key: "hash_max_listpack_value",
        get: |_, settings| settings.encodings.hash_max_listpack_value.to_string(),
        set: Setter::Memory {
            min: 0,
            max: i64::MAX as u64,
            set: |settings, bytes| settings.encodings.hash_max_listpack_value = bytes as usize,
        },
    },
    Parameter {
        name: "hll-sparse-max-bytes",
        key: "hll_sparse_max_bytes",
        get: |_, settings| settings.encodings.hll_sparse_max_bytes.to_string(),
        set: Setter::Memory {
            min: 0,
            max: i64::MAX as u64,
            set: |settings, bytes| settings.encodings.hll_sparse_max_bytes = bytes as usize,
        },
    },
    Parameter {
        name: "hz",
        key: "hz",
        get: |_, settings| settings.hz.to_string(),
        // Out of bounds is taken to the nearer bound, as Redis does.
        set: Setter::Integer {
            min: 0,
            max: I32_MAX,
            set: |settings, hz| settings.hz = hz.clamp(1, 500) as u32,
        },
    },
    fixed("io-threads", |options, _| options.cores.len().to_string()),
    Parameter {
        name: "latency-monitor-threshold",
        key: "latency_monitor_threshold",
        get: |_, settings| settings.latency_monitor_threshold.to_string(),
        set: Setter::Integer {
            min: 0,
            max: i64::MAX,
            set: |settings, ms| settings.latency_monitor_threshold = ms as u64,
        },
    },
    fixed("latency-tracking", |_, _| yes_or_no(true)),
    fixed("latency-tracking-info-percentiles", |_, _| "50 99 99.9".to_owned()),
    Parameter {
        name: "lfu-decay-time",
        key: "lfu_decay_time",
        get: |_, settings| settings.eviction.lfu.decay_minutes.to_string(),
        set: Setter::Integer {
            min: 0,
            max: I32_MAX,
            set: |settings, minutes| settings.eviction.lfu.decay_minutes = minutes as u32,
        },
    },
    Parameter {
        name: "lfu-log-factor",
        key: "lfu_log_factor",
        get: |_, settings| settings.eviction.lfu.log_factor.to_string(),
        set: Setter::Integer {
            min: 0,
            max: I32_MAX,
            set: |settings, factor| settings.eviction.lfu.log_factor = factor as u32,
        },
    },
    Parameter {
        name: "list-compress-depth",
        key: "list_compress_depth",
        get: |_, settings| settings.encodings.list_compress_depth.to_string(),
        set: Setter::Integer {
            min: 0,
            max: I32_MAX,
            set: |settings, n| settings.encodings.list_compress_depth = n as u32,
        },
    },
    Parameter {
        name: "list-max-listpack-size",
        key: "list_max_listpack_size",
        get: |_, settings| settings.encodings.list_max_listpack_size.to_string(),
        set: Setter::Integer {
            min: i32::MIN as i64,
            max: i32::MAX as i64,
            set: |settings, n| settings.encodings.list_max_listpack_size = n as i32,
        },
    },
    fixed("logfile", |_, _| String::new()),
    Parameter {
        name: "loglevel",
        key: "log_level",
        get: |_, settings| redis_log_level(&settings.log_level).to_owned(),
        set: Setter::Choice {
            names: &["debug", "verbose", "notice", "warning", "nothing"],
            set: |settings, name| {
                let level = LOG_LEVELS.iter().find(|(redis, _)| *redis == name).expect("one of these names");
                settings.log_level = level.1.to_owned();
            },
        },
    },
    Parameter {
        name: "lua-memory-limit",
        key: "lua_memory_limit",
        get: |_, settings| settings.lua_memory_limit.to_string(),
        set: Setter::Memory {
            min: 1 << 20,
            max: 1 << 40,
            set: |settings, bytes| settings.lua_memory_limit = bytes,
        },
    },
    Parameter {
        name: "lua-time-limit",
        key: "lua_time_limit",
        get: |_, settings| settings.lua_time_limit.to_string(),
        set: Setter::Integer {
            min: 0,
            max: i64::MAX,
            set: |settings, milliseconds| settings.lua_time_limit = milliseconds as u64,
        },
    },
    Parameter {
        name: "maxclients",
        key: "max_clients",
        get: |_, settings| settings.max_clients.to_string(),
        set: Setter::Integer {
            min: 1,
            max: u32::MAX as i64,
            set: |settings, n| settings.max_clients = n as u32,
        },
    },
    Parameter {
        name: "maxmemory",
        key: "maxmemory",
        get: |_, settings| settings.maxmemory.to_string(),
        set: Setter::Memory { min: 0, max: u64::MAX, set: |settings, bytes| settings.maxmemory = bytes },
    },
    Parameter {
        name: "maxmemory-eviction-tenacity",
        key: "maxmemory_eviction_tenacity",
        get: |_, settings| settings.eviction_tenacity.to_string(),
        set: Setter::Integer {
            min: 0,
            max: 100,
            set: |settings, tenacity| settings.eviction_tenacity = tenacity as u8,
        },
    },
    Parameter {
        name: "maxmemory-policy",
        key: "maxmemory_policy",
        get: |_, settings| settings.eviction.policy.name().to_owned(),
        set: Setter::Choice {
            names: &EvictionPolicy::NAMES,
            set: |settings, name| {
                settings.eviction.policy = EvictionPolicy::named(name).expect("one of these names");
            },
        },
    },
    Parameter {
        name: "maxmemory-samples",
        key: "maxmemory_samples",
        get: |_, settings| settings.eviction.samples.to_string(),
        set: Setter::Integer {
            min: 1,
            max: SAMPLE_MAX as i64,
            set: |settings, keys| settings.eviction.samples = keys as u8,
        },
    },
    Parameter {
        name: "multi-queue-limit",
        key: "multi_queue_limit",
        get: |_, settings| settings.multi_queue_limit.to_string(),
        set: Setter::Memory {
            min: 64 << 10,
            max: i64::MAX as u64,
            set: |settings, bytes| settings.multi_queue_limit = bytes,
        },
    },
    fixed("port", |options, _| options.port.to_string()),
    Parameter {
        name: "protected-mode",
        key: "protected_mode",
        get: |_, settings| yes_or_no(settings.protected_mode),
        set: Setter::Boolean(|settings, on| settings.protected_mode = on),
    },
    Parameter {
        name: "proto-max-bulk-len",
        key: "proto_max_bulk_len",
        get: |_, settings| settings.proto_max_bulk_len.to_string(),
        set: Setter::Other(|settings, value| {
            let redis = Setter::Memory {
                min: 1 << 20,
                max: i64::MAX as u64,
                set: |settings, bytes| settings.proto_max_bulk_len = bytes,
            };
            redis.apply(settings, value)?;
            match settings.proto_max_bulk_len {
                0..=PROTO_MAX_BULK_LEN_MAX => Ok(()),
                _ => Err(format!("arguments longer than {PROTO_MAX_BULK_LEN_MAX} bytes are not supported")),
            }
        }),
    },
    Parameter {
        name: "requirepass",
        key: "password",
        get: |_, settings| if settings.password.is_some() { HIDDEN } else { "" }.to_owned(),
        set: Setter::Other(|settings, password| {
            settings.password = (!password.is_empty()).then(|| password.to_vec());
            Ok(())
        }),
    },
    fixed("save", |options, _| {
        let snapshots = options.storage.as_ref().map(|storage| &storage.snapshots);
        snapshots.filter(|of| of.enabled).map_or_else(String::new, |of| format!("{} 1", of.interval_secs))
    }),
    Parameter {
        name: "script-undeclared-keys",
        key: "script_undeclared_keys",
        get: |_, settings| yes_or_no(settings.script_undeclared_keys),
        set: Setter::Boolean(|settings, on| settings.script_undeclared_keys = on),
    },
    Parameter {
        name: "set-max-intset-entries",
        key: "set_max_intset_entries",
        get: |_, settings| settings.encodings.set_max_intset_entries.to_string(),
        set: Setter::Integer {
            min: 0,
            max: i64::MAX,
            set: |settings, n| settings.encodings.set_max_intset_entries = n as usize,
        },
    },
    Parameter {
        name: "set-max-listpack-entries",
        key: "set_max_listpack_entries",
        get: |_, settings| settings.encodings.set_max_listpack_entries.to_string(),
        set: Setter::Integer {
            min: 0,
            max: i64::MAX,
            set: |settings, n| settings.encodings.set_max_listpack_entries = n as usize,
        },
    },
    Parameter {
        name: "set-max-listpack-value",
        key: "set_max_listpack_value",
        get: |_, settings| settings.encodings.set_max_listpack_value.to_string(),
        set: Setter::Integer {
            min: 0,
            max: i64::MAX,
            set: |settings, n| settings.encodings.set_max_listpack_value = n as usize,
        },
    },
    Parameter {
        name: "slowlog-log-slower-than",
        key: "slowlog_log_slower_than",
        get: |_, settings| settings.slowlog_log_slower_than.to_string(),
        set: Setter::Integer {
            min: -1,
            max: i64::MAX,
            set: |settings, us| settings.slowlog_log_slower_than = us,
        },
    },
    Parameter {
        name: "slowlog-max-len",
        key: "slowlog_max_len",
        get: |_, settings| settings.slowlog_max_len.to_string(),
        set: Setter::Integer {
            min: 0,
            max: i64::MAX,
            set: |settings, len| settings.slowlog_max_len = len as u64,
        },
    },
    Parameter {
        name: "stream-node-max-bytes",
        key: "stream_node_max_bytes",
        get: |_, settings| settings.encodings.stream_node_max_bytes.to_string(),
        set: Setter::Memory {
            min: 0,
            max: i64::MAX as u64,
            set: |settings, bytes| settings.encodings.stream_node_max_bytes = bytes as usize,
        },
    },
    Parameter {
        name: "stream-node-max-entries",
        key: "stream_node_max_entries",
        get: |_, settings| settings.encodings.stream_node_max_entries.to_string(),
        set: Setter::Integer {
            min: 0,
            max: i64::MAX,
            set: |settings, n| settings.encodings.stream_node_max_entries = n as usize,
        },
    },
    fixed("tcp-backlog", |options, _| options.tcp_backlog.to_string()),
    Parameter {
        name: "tcp-keepalive",
        key: "tcp_keepalive",
        get: |_, settings| settings.tcp_keepalive.to_string(),
        set: Setter::Integer { min: 0, max: I32_MAX, set: |settings, s| settings.tcp_keepalive = s as u32 },
    },
    Parameter {
        name: "timeout",
        key: "timeout",
        get: |_, settings| settings.timeout.to_string(),
        set: Setter::Integer { min: 0, max: I32_MAX, set: |settings, s| settings.timeout = s as u32 },
    },
    fixed("unixsocket", |options, _| {
        options.unix_socket.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }),
    fixed("unixsocketperm", |options, _| match options.unix_socket_perm {
        Some(mode) => format!("{mode:o}"),
        None => "0".to_owned(),
    }),
    Parameter {
        name: "zset-max-listpack-entries",
        key: "zset_max_listpack_entries",
        get: |_, settings| settings.encodings.zset_max_listpack_entries.to_string(),
        set: Setter::Integer {
            min: 0,
            max: i64::MAX,
            set: |settings, n| settings.encodings.zset_max_listpack_entries = n as usize,
        },
    },
    Parameter {
        name: "zset-max-listpack-value",
        key: "zset_max_listpack_value",
        get: |_, settings| settings.encodings.zset_max_listpack_value.to_string(),
        set: Setter::Memory {
            min: 0,
            max: i64::MAX as u64,
            set: |settings, bytes| settings.encodings.zset_max_listpack_value = bytes as usize,
        },
    },
];

/// Older names that Redis still knows, and the parameters that they are.
const ALIASES: [(&str, &str); 5] = [
    ("hash-max-ziplist-entries", "hash-max-listpack-entries"),
    ("hash-max-ziplist-value", "hash-max-listpack-value"),
    ("list-max-ziplist-size", "list-max-listpack-size"),
    ("zset-max-ziplist-entries", "zset-max-listpack-entries"),
    ("zset-max-ziplist-value", "zset-max-listpack-value"),
];

fn find(name: &[u8]) -> Option<&'static Parameter> {
    let alias = ALIASES.iter().find(|(alias, _)| alias.as_bytes().eq_ignore_ascii_case(name));
    let name = alias.map_or(name, |(_, name)| name.as_bytes());
    PARAMETERS.iter().find(|parameter| parameter.name.as_bytes().eq_ignore_ascii_case(name))
}

/// CONFIG GET.
pub(super) fn run_get(executor: &Executor, argv: &[&[u8]], reply: &mut dyn Reply) -> Result<Served, Error> {
    get(&argv[2..], &executor.process.options, &executor.settings, reply);
    Ok(Served::Replied)
}

/// CONFIG SET. The process holds the present settings; every executor takes its copy from there, so the last
/// change wins everywhere, whichever executors changes came through.
pub(super) fn run_set(executor: &mut Executor, index: u32, argv: &[&[u8]]) -> Result<Served, Error> {
    let memory;
    {
        let mut live = lock(&executor.process.config);
        let (settings, names) = set(&argv[2..], &live.settings)?;
        take_effect(executor, &live, &settings, &names)?;
        memory = names.iter().any(|name| name.starts_with("maxmemory"));
        live.settings = settings;
        live.changed.extend(names);
    }
    let (hub, count) = (executor.hub.clone(), executor.count);
    let protocol = executor.connection(index).protocol;
    Ok(Served::Task(Box::pin(async move {
        hub.everywhere(count, Executor::refresh_settings).await;
        if memory {
            // All shards know the new limit by now: what is too much goes at once, as far as a stretch allows.
            hub.everywhere(count, Executor::keep_within_limit).await;
        }
        let mut out = Output::default();
        RespSink::new(&mut out, protocol).ok();
        out
    })))
}

/// What a change means for the process as a whole, before any executor sees it.
fn take_effect(
    executor: &Executor,
    live: &LiveConfig,
    settings: &Settings,
    names: &[&'static str],
) -> Result<(), Error> {
    let process = &executor.process;
    if names.contains(&"maxclients") && settings.max_clients != live.settings.max_clients {
        crate::process::make_room(settings.max_clients, executor.count).map_err(|room| {
            refused(
                "maxclients",
                &format!(
                    "The operating system is not able to handle the specified number of clients, try with {room}"
                ),
            )
        })?;
        process.max_clients.store(settings.max_clients, Ordering::Relaxed);
    }
    if names.contains(&"loglevel") {
        let level = &settings.log_level;
        process.options.host.set_log_level(level).map_err(|reason| refused("loglevel", &reason))?;
    }
    if names.contains(&"maxmemory") {
        let used = process.memory.allocated();
        if settings.maxmemory > 0 && settings.maxmemory < used {
            tracing::warn!(
                "the new maxmemory ({}) is smaller than the memory in use ({used}): keys will be evicted or writes refused, by \
                 maxmemory_policy",
                settings.maxmemory
            );
        }
        process.memory.set_limit(settings.maxmemory);
    }
    Ok(())
}

/// CONFIG REWRITE: what was set since the start goes to the configuration file.
pub(super) fn run_rewrite(executor: &Executor, reply: &mut dyn Reply) -> Result<Served, Error> {
    let options = &executor.process.options;
    if options.config_file.is_none() {
        return Err(Error::new("ERR The server is running without a config file"));
    }
    let changes = {
        let live = lock(&executor.process.config);
        file_changes(live.changed.iter().copied(), options, &live.settings)?
    };
    options.host.rewrite_config(&changes).map_err(|reason| {
        tracing::warn!("CONFIG REWRITE failed: {reason}");
        Error::owned(format!("ERR Rewriting config file: {reason}"))
    })?;
    tracing::info!("CONFIG REWRITE executed with success");
    reply.ok();
    Ok(Served::Replied)
}

/// CONFIG RESETSTAT.
pub(super) fn run_reset_stat(executor: &mut Executor, index: u32) -> Result<Served, Error> {
    executor.process.accepted.store(0, Ordering::Relaxed);
    executor.process.rejected.store(0, Ordering::Relaxed);
    let (hub, count) = (executor.hub.clone(), executor.count);
    let protocol = executor.connection(index).protocol;
    Ok(Served::Task(Box::pin(async move {
        hub.everywhere(count, Executor::reset_statistics).await;
        let mut out = Output::default();
        RespSink::new(&mut out, protocol).ok();
        out
    })))
}

/// The parameters that match and their values.
pub(crate) fn get(patterns: &[&[u8]], options: &Options, settings: &Settings, reply: &mut dyn Reply) {
    // A name comes back in the letters in which it was asked for, as in Redis.
    let asked = |(name, parameter): (&'static str, &'static Parameter)| {
        let name = name.as_bytes();
        let literal = patterns.iter().find(|pattern| pattern.eq_ignore_ascii_case(name)).copied();
        let matching = || patterns.iter().any(|pattern| glob::matches_nocase(pattern, name));
        literal.or_else(|| matching().then_some(name)).map(|name| (name, parameter))
    };
    let aliases = ALIASES.iter().filter_map(|&(alias, name)| Some((alias, find(name.as_bytes())?)));
    let all = PARAMETERS.iter().map(|parameter| (parameter.name, parameter)).chain(aliases);
    let found: Vec<_> = all.filter_map(asked).collect();
    reply.map(found.len());
    for (name, parameter) in found {
        reply.bulk(name);
        reply.bulk((parameter.get)(options, settings).as_bytes());
    }
}

/// What CONFIG SET makes of the settings, and the names of the parameters that it set. `pairs` are the arguments behind
/// the subcommand. Nothing changes unless everything is accepted.
pub(crate) fn set(pairs: &[&[u8]], settings: &Settings) -> Result<(Settings, Vec<&'static str>), Error> {
    if !pairs.len().is_multiple_of(2) {
        return Err(Error::SYNTAX);
    }
    let mut chosen: Vec<(&'static Parameter, &[u8])> = Vec::new();
    for pair in pairs.chunks_exact(2) {
        let Some(parameter) = find(pair[0]) else { return Err(unknown(pair[0])) };
        if chosen.iter().any(|(other, _)| other.name == parameter.name) {
            return Err(refused(parameter.name, "duplicate parameter"));
        }
        chosen.push((parameter, pair[1]));
    }
    if let Some((parameter, _)) = chosen.iter().find(|(parameter, _)| matches!(parameter.set, Setter::Fixed))
    {
        return Err(refused(parameter.name, "can't set immutable config"));
    }
    let mut changed = settings.clone();
    for (parameter, value) in &chosen {
        parameter.set.apply(&mut changed, value).map_err(|reason| refused(parameter.name, &reason))?;
    }
    Ok((changed, chosen.iter().map(|(parameter, _)| parameter.name).collect()))
}

#[cold]
fn unknown(name: &[u8]) -> Error {
    let mut text = b"ERR Unknown option or number of arguments for CONFIG SET - '".to_vec();
    text.extend_from_slice(name);
    text.push(b'\'');
    Error::owned(text)
}

/// CONFIG SET's answer when a parameter does not take its value.
#[cold]
pub(crate) fn refused(name: &str, reason: &str) -> Error {
    Error::owned(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"))
}

impl Setter {
    fn apply(&self, settings: &mut Settings, value: &[u8]) -> Result<(), String> {
        match self {
            Setter::Fixed => unreachable!("refused before"),
            Setter::Boolean(set) => {
                let on = match () {
                    _ if value.eq_ignore_ascii_case(b"yes") => true,
                    _ if value.eq_ignore_ascii_case(b"no") => false,
                    _ => return Err("argument must be 'yes' or 'no'".to_owned()),
                };
                set(settings, on);
            }
            Setter::Integer { min, max, set } => {
                let number = kora_engine::args::parse_i64(value)
                    .ok_or("argument couldn't be parsed into an integer")?;
                if !(*min..=*max).contains(&number) {
                    return Err(format!("argument must be between {min} and {max} inclusive"));
                }
                set(settings, number);
            }
            Setter::Memory { min, max, set } => {
                let bytes = memory(value).ok_or("argument must be a memory value")?;
                if !(*min..=*max).contains(&bytes) {
                    return Err(format!("argument must be between {min} and {max} inclusive"));
                }
                set(settings, bytes);
            }
            Setter::Choice { names, set } => {
                let name = names.iter().find(|name| name.as_bytes().eq_ignore_ascii_case(value));
                let name = name.ok_or_else(|| {
                    format!("argument(s) must be one of the following: {}", names.join(", "))
                })?;
                set(settings, name);
            }
            Setter::Other(set) => set(settings, value)?,
        }
        Ok(())
    }
}

/// A number of bytes as Redis reads it: `100`, `1kb` (1024), `1k` (1000), up to `g`, in any case.
pub(crate) fn memory(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let number: u64 = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    let unit: u64 = match text[digits..].to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

fn set_output_limit(settings: &mut Settings, text: &[u8]) -> Result<(), String> {
    let words: Vec<&[u8]> = text.split(|&b| b == b' ').filter(|word| !word.is_empty()).collect();
    let [class, hard, soft, seconds] = words[..] else {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    };
    if !class.eq_ignore_ascii_case(b"normal") {
        return Err("Invalid client class specified in buffer limit configuration.".to_owned());
    }
    let seconds = kora_engine::args::parse_i64(seconds).and_then(|seconds| u64::try_from(seconds).ok());
    match (memory(hard), memory(soft), seconds) {
        (Some(hard), Some(soft), Some(soft_seconds)) => {
            settings.output_limit = OutputLimit { hard, soft, soft_seconds };
            Ok(())
        }
        _ => Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.".to_owned()),
    }
}

/// Redis's name of a level; what Redis does not tell apart has the name of the next more important one.
fn redis_log_level(level: &str) -> &'static str {
    match LOG_LEVELS.iter().find(|(_, own)| *own == level) {
        Some((redis, _)) => redis,
        None => "warning",
    }
}

/// A key of the configuration file and its new value; without one the key leaves the file.
pub(crate) type FileChange = (&'static str, Option<String>);

/// What CONFIG REWRITE writes: the present values of the parameters with these names, in the spelling of the file.
///
/// # Errors
/// A password that is not UTF-8 cannot stand in the file.
pub(crate) fn file_changes(
    names: impl IntoIterator<Item = &'static str>,
    options: &Options,
    settings: &Settings,
) -> Result<Vec<FileChange>, Error> {
    let mut changes = Vec::new();
    for name in names {
        let parameter = find(name.as_bytes()).expect("the name of a parameter");
        let value = match &parameter.set {
            Setter::Boolean(_) => Some(((parameter.get)(options, settings) == "yes").to_string()),
            _ if name == "loglevel" => Some(settings.log_level.clone()),
            _ if name == "client-output-buffer-limit" => {
                let limit = settings.output_limit;
                Some(format!("{} {} {}", limit.hard, limit.soft, limit.soft_seconds))
            }
            _ if name == "requirepass" => {
                // A password from a file beside it would contradict the new one.
                changes.push(("password_file", None));
                let password = settings.password.clone().map(String::from_utf8).transpose();
                password.map_err(|_| {
                    Error::new("ERR Rewriting config file: the password is not UTF-8, which the file must be")
                })?
            }
            _ => Some((parameter.get)(options, settings)),
        };
        changes.push((parameter.key, value));
    }
    Ok(changes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::commands::testing::{resp2, resp3};
    use crate::tests::harness::NoHost;
    use std::sync::Arc;

    pub(in crate::commands) fn options() -> Options {
        Options {
            host: Arc::new(NoHost),
            bind: vec![[127, 0, 0, 1].into()],
            port: 6379,
            unix_socket: None,
            unix_socket_perm: None,
            cores: vec![0, 1],
            cluster_ports: None,
            tcp_backlog: 511,
            databases: 16,
            spin_us: 0,
            disable_thp: false,
            debug_command: DebugCommand::Local,
            config_file: None,
            version: "0.1.0",
            storage: None,
            ring: Default::default(),
            settings: Settings {
                password: None,
                protected_mode: true,
                max_clients: 10000,
                timeout: 0,
                tcp_keepalive: 300,
                query_buffer_limit: 1 << 30,
                multi_queue_limit: 128 << 20,
                output_limit: OutputLimit { hard: 1 << 30, soft: 0, soft_seconds: 0 },
                proto_max_bulk_len: 512 << 20,
                hz: 10,
                slowlog_log_slower_than: 10000,
                slowlog_max_len: 128,
                latency_monitor_threshold: 0,
                log_level: "info".to_owned(),
                encodings: Default::default(),
                maxmemory: 0,
                eviction: Default::default(),
                eviction_tenacity: 10,
                lua_time_limit: 5000,
                lua_memory_limit: 64 << 20,
                script_undeclared_keys: false,
            },
        }
    }

    /// The parameter after `CONFIG SET name value`, or the error.
    fn after(name: &str, value: &str) -> Result<String, String> {
        let options = options();
        let pairs = [name.as_bytes(), value.as_bytes()];
        let (settings, names) = set(&pairs, &options.settings).map_err(text)?;
        assert_eq!(names, [name]);
        Ok((find(name.as_bytes()).unwrap().get)(&options, &settings))
    }

    fn text(error: Error) -> String {
        String::from_utf8_lossy(error.text()).into_owned()
    }

    #[test]
    fn get_matches_patterns_and_never_shows_the_password() {
        let mut options = options();
        options.settings.password = Some(b"secret".to_vec());
        let get = |patterns: &[&[u8]]| resp2(|reply| get(patterns, &options, &options.settings, reply));
        assert_eq!(get(&[b"port", b"PORT", b"nope"]), "*2 $port $6379");
        assert_eq!(get(&[b"PORT"]), "*2 $PORT $6379");
        assert_eq!(get(&[b"POR?"]), "*2 $port $6379");
        assert_eq!(get(&[b"slowlog*"]), "*4 $slowlog-log-slower-than $10000 $slowlog-max-len $128");
        assert_eq!(get(&[b"nope*"]), "*0");
        let all = get(&[b"*"]);
        assert!(all.contains("$requirepass $(hidden)") && !all.contains("secret"));
        assert_eq!(
            resp3(|reply| super::get(&[b"io-threads"], &options, &options.settings, reply)),
            "%1 $io-threads $2"
        );
    }

    #[test]
    fn values_of_every_kind_are_read_as_redis_reads_them() {
        assert_eq!(after("timeout", "60").unwrap(), "60");
        assert_eq!(after("hz", "99999").unwrap(), "500");
        assert_eq!(after("proto-max-bulk-len", "2mb").unwrap(), "2097152");
        assert_eq!(after("protected-mode", "NO").unwrap(), "no");
        assert_eq!(after("loglevel", "VERBOSE").unwrap(), "verbose");
        assert_eq!(after("requirepass", "x").unwrap(), "(hidden)");
        assert_eq!(after("requirepass", "").unwrap(), "");
        assert_eq!(after("client-output-buffer-limit", "normal 1mb 2k 3").unwrap(), "normal 1048576 2000 3");
        let failed = |name: &str, reason: &str| {
            format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
        };
        for (name, value, reason) in [
            ("timeout", "abc", "argument couldn't be parsed into an integer"),
            ("timeout", "1mb", "argument couldn't be parsed into an integer"),
            ("timeout", "-1", "argument must be between 0 and 2147483647 inclusive"),
            (
                "slowlog-log-slower-than",
                "-2",
                "argument must be between -1 and 9223372036854775807 inclusive",
            ),
            ("client-query-buffer-limit", "1.5g", "argument must be a memory value"),
            ("client-query-buffer-limit", "-1", "argument must be a memory value"),
            (
                "proto-max-bulk-len",
                "100",
                "argument must be between 1048576 and 9223372036854775807 inclusive",
            ),
            ("proto-max-bulk-len", "3gb", "arguments longer than 2147483648 bytes are not supported"),
            (
                "loglevel",
                "warn",
                "argument(s) must be one of the following: debug, verbose, notice, warning, nothing",
            ),
            ("protected-mode", "maybe", "argument must be 'yes' or 'no'"),
            ("databases", "3", "can't set immutable config"),
            (
                "client-output-buffer-limit",
                "normal 1 2",
                "Wrong number of arguments in buffer limit configuration.",
            ),
            (
                "client-output-buffer-limit",
                "normal -1 2 3",
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            ),
            (
                "client-output-buffer-limit",
                "foo 1 2 3",
                "Invalid client class specified in buffer limit configuration.",
            ),
        ] {
            assert_eq!(after(name, value), Err(failed(name, reason)), "{name} {value}");
        }
        assert_eq!(
            after("foo", "1"),
            Err("ERR Unknown option or number of arguments for CONFIG SET - 'foo'".to_owned())
        );
    }

    #[test]
    fn several_parameters_change_together_or_not_at_all() {
        let options = options();
        let (settings, names) = set(&[b"timeout", b"5", b"Hz", b"20"], &options.settings).unwrap();
        assert_eq!((settings.timeout, settings.hz, &names[..]), (5, 20, &["timeout", "hz"][..]));
        let error = set(&[b"timeout", b"5", b"TIMEOUT", b"6"], &options.settings).unwrap_err();
        assert!(text(error).ends_with("'timeout') - duplicate parameter"));
        let error = set(&[b"port", b"5", b"port", b"6"], &options.settings).unwrap_err();
        assert!(text(error).ends_with("'port') - duplicate parameter"));
        assert!(set(&[b"timeout", b"5", b"foo", b"6"], &options.settings).is_err());
        let error = set(&[b"timeout", b"5", b"hz"], &options.settings).unwrap_err();
        assert_eq!(error, Error::SYNTAX);
    }

    #[test]
    fn memory_units_are_those_of_redis() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("12b", Some(12)),
            ("1k", Some(1000)),
            ("1KB", Some(1024)),
            ("3m", Some(3_000_000)),
            ("3Mb", Some(3 << 20)),
            ("2g", Some(2_000_000_000)),
            ("2GB", Some(2 << 30)),
            ("", None),
            ("kb", None),
            ("1t", None),
            ("1 kb", None),
            ("-1", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("18446744073709551615k", None),
        ] {
            assert_eq!(memory(text.as_bytes()), bytes, "{text}");
        }
    }

    #[test]
    fn rewrite_speaks_the_language_of_the_file() {
        let options = options();
        let mut settings = options.settings.clone();
        settings.password = Some(b"secret".to_vec());
        settings.log_level = "debug".to_owned();
        let names = ["protected-mode", "timeout", "client-output-buffer-limit", "requirepass", "loglevel"];
        assert_eq!(
            file_changes(names, &options, &settings).unwrap(),
            [
                ("protected_mode", Some("true".to_owned())),
                ("timeout", Some("0".to_owned())),
                ("output_buffer_limit_normal", Some("1073741824 0 0".to_owned())),
                ("password_file", None),
                ("password", Some("secret".to_owned())),
                ("log_level", Some("debug".to_owned())),
            ]
        );
        settings.password = Some(vec![0xff]);
        assert!(file_changes(["requirepass"], &options, &settings).is_err());
    }

    #[test]
    fn names_are_sorted_and_what_can_change_has_a_key() {
        assert!(PARAMETERS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for parameter in PARAMETERS {
            assert_eq!(
                parameter.key.is_empty(),
                matches!(parameter.set, Setter::Fixed),
                "{}",
                parameter.name
            );
        }
    }
}

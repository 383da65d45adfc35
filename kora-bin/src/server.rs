//! Starts the server: limits, preflight, signals, executors, readiness.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use kora_engine::keyspace::{EvictionPolicy, EvictionRules, LfuRules};
use kora_engine::limits::EncodingLimits;
use kora_net::options::{Host, HostMemory, Options, OutputLimit, Settings};
use kora_net::storage::{SnapshotOptions, StorageOptions, WalSync};
use thiserror::Error;

use crate::config::{self, Config, DebugCommand, Loaded};
use crate::{cores, limits, logging, notify, preflight, signals};

/// Why the server did not start or did not go on.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The log cannot be set up.
    #[error(transparent)]
    Logging(#[from] logging::LoggingError),
    /// The machine lacks something; the message names the setting.
    #[error(transparent)]
    Preflight(#[from] preflight::PreflightError),
    /// The limits of this process can be neither read nor set.
    #[error("cannot set the limits of this process: {0}")]
    Limits(std::io::Error),
    /// Not even one client fits.
    #[error("{0}")]
    NoRoom(String),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
    /// A socket, an executor or its ring.
    #[error(transparent)]
    Network(#[from] kora_net::server::ServerError),
}

/// Runs the server until it is asked to stop.
pub fn run(loaded: Loaded) -> Result<(), ServerError> {
    let mut config = loaded.config;
    logging::init(config.log_level, config.log_format)?;
    let room = limits::raise_nofile(&mut limits::ProcessLimits, config.max_clients, config.workers)
        .map_err(ServerError::Limits)?;
    if let Some(warning) = room.warning {
        if room.max_clients == 0 {
            return Err(ServerError::NoRoom(warning));
        }
        tracing::warn!("{warning}");
    }
    config.max_clients = room.max_clients;
    limits::raise_memlock(&mut limits::ProcessLimits).map_err(ServerError::Limits)?;
    let report = preflight::check(&config)?;
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    // Before the first other thread, which inherits the blocked signals. What stops the server exists only later.
    let stopper: Arc<OnceLock<Box<dyn Fn() + Send + Sync>>> = Arc::default();
    let stop = stopper.clone();
    signals::on_terminate(move |signal| {
        tracing::info!(signal, "stopping: finishing what was accepted");
        notify::notify_stopping();
        match stop.get() {
            Some(stop) => stop(),
            None => std::process::exit(0),
        }
    })
    .map_err(ServerError::Signals)?;
    let server = kora_net::server::start(options(&config, loaded.file.clone()))?;
    let _ = stopper.set(Box::new(server.stopper()));
    tracing::info!("{}", report.start_line(server.ring_features()));
    if let Err(error) = wait_loaded(&server) {
        server.stopper()();
        // What was not loaded must not be taken for all there is.
        let _ = server.join();
        return Err(error.into());
    }
    notify::notify_ready("serving");
    server.join()?;
    tracing::info!("stopped");
    Ok(())
}

/// Waits until everything that was on the disk is in memory. systemd is told that this takes its time.
fn wait_loaded(server: &kora_net::server::Server) -> Result<(), kora_net::server::ServerError> {
    let mut said = Instant::now();
    loop {
        if let Some(loaded) = server.wait_loaded(LOAD_REPORT) {
            return loaded;
        }
        let (read, total) = server.load_progress();
        let percent = (read * 100).checked_div(total).unwrap_or(0).min(100);
        notify::notify_loading(&format!("loading: {percent} % of {} MB", total >> 20), 4 * LOAD_REPORT);
        if said.elapsed() >= 2 * LOAD_REPORT {
            said = Instant::now();
            tracing::info!(read_bytes = read, total_bytes = total, percent, "loading");
        }
    }
}

/// How often the progress of loading is said.
const LOAD_REPORT: Duration = Duration::from_secs(5);

/// The network's view of the configuration.
fn options(config: &Config, file: Option<PathBuf>) -> Options {
    Options {
        host: Arc::new(Program { file: file.clone() }),
        bind: config.bind.clone(),
        port: config.port,
        unix_socket: config.unix_socket.clone(),
        unix_socket_perm: config.unix_socket_perm,
        cores: cores::for_executors(config.workers),
        cluster_ports: config.cluster_ports,
        tcp_backlog: config.tcp_backlog,
        databases: config.databases as u16,
        spin_us: config.spin_us,
        disable_thp: config.disable_thp,
        debug_command: match config.enable_debug_command {
            DebugCommand::No => kora_net::options::DebugCommand::No,
            DebugCommand::Local => kora_net::options::DebugCommand::Local,
            DebugCommand::Yes => kora_net::options::DebugCommand::Yes,
        },
        config_file: file,
        version: env!("CARGO_PKG_VERSION"),
        ring: Default::default(),
        storage: config.data_dir.as_ref().map(|dir| StorageOptions {
            dir: dir.clone(),
            wal: config.wal_enabled,
            sync: match config.wal_sync {
                config::WalSync::EveryWrite => WalSync::EveryWrite,
                config::WalSync::EverySecond => WalSync::EverySecond,
                config::WalSync::OsManaged => WalSync::OsManaged,
            },
            wal_max_bytes: config.wal_max_bytes,
            snapshots: SnapshotOptions {
                enabled: config.rdb_enabled,
                interval_secs: config.snapshot_interval_secs,
                retain: config.snapshot_retain,
            },
        }),
        settings: Settings {
            password: config.password.as_ref().map(|password| password.reveal().as_bytes().to_vec()),
            protected_mode: config.protected_mode,
            max_clients: config.max_clients,
            timeout: config.timeout,
            tcp_keepalive: config.tcp_keepalive,
            query_buffer_limit: config.query_buffer_limit,
            multi_queue_limit: config.multi_queue_limit,
            output_limit: OutputLimit {
                hard: config.output_buffer_limit_normal.hard_bytes,
                soft: config.output_buffer_limit_normal.soft_bytes,
                soft_seconds: config.output_buffer_limit_normal.soft_seconds,
            },
            proto_max_bulk_len: config.proto_max_bulk_len,
            hz: config.hz,
            slowlog_log_slower_than: config.slowlog_log_slower_than,
            slowlog_max_len: config.slowlog_max_len,
            latency_monitor_threshold: config.latency_monitor_threshold,
            log_level: format!("{:?}", config.log_level).to_lowercase(),
            encodings: encodings(config),
            maxmemory: config.maxmemory,
            eviction: EvictionRules {
                policy: EvictionPolicy::named(&config.maxmemory_policy).expect("one of the choices"),
                samples: config.maxmemory_samples,
                lfu: LfuRules { log_factor: config.lfu_log_factor, decay_minutes: config.lfu_decay_time },
            },
            eviction_tenacity: config.maxmemory_eviction_tenacity,
            lua_time_limit: config.lua_time_limit,
            lua_memory_limit: config.lua_memory_limit,
            script_undeclared_keys: config.script_undeclared_keys,
        },
    }
}

/// Up to where collections are packed.
pub(crate) fn encodings(config: &Config) -> EncodingLimits {
    EncodingLimits {
        hash_max_listpack_entries: config.hash_max_listpack_entries,
        hash_max_listpack_value: config.hash_max_listpack_value,
        hll_sparse_max_bytes: config.hll_sparse_max_bytes,
        list_compress_depth: config.list_compress_depth,
        list_max_listpack_size: config.list_max_listpack_size,
        set_max_intset_entries: config.set_max_intset_entries,
        set_max_listpack_entries: config.set_max_listpack_entries,
        set_max_listpack_value: config.set_max_listpack_value,
        stream_node_max_bytes: config.stream_node_max_bytes,
        stream_node_max_entries: config.stream_node_max_entries,
        zset_max_listpack_entries: config.zset_max_listpack_entries,
        zset_max_listpack_value: config.zset_max_listpack_value,
    }
}

/// This program, as the network layer sees it.
struct Program {
    /// The configuration file, if one was read.
    file: Option<PathBuf>,
}

impl Host for Program {
    fn set_log_level(&self, level: &str) -> Result<(), String> {
        logging::set_log_level(level).map_err(|error| error.to_string())
    }

    fn rewrite_config(&self, settings: &[(&str, Option<String>)]) -> Result<(), String> {
        let Some(path) = &self.file else {
            return Err("The server is running without a config file".into());
        };
        let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_deref())).collect();
        config::rewrite(path, &settings).map_err(|error| error.to_string())
    }

    fn memory(&self) -> HostMemory {
        let committed = kora_alloc::committed();
        HostMemory { committed: committed.now, peak_committed: committed.peak, allocator: kora_alloc::NAME }
    }

    fn allocated_by_thread(&self) -> isize {
        kora_alloc::thread_bytes()
    }

    fn release_memory(&self) -> bool {
        kora_alloc::release_some()
    }

    fn set_prompt_purge(&self, prompt: bool) {
        kora_alloc::set_prompt_purge(prompt);
    }

    unsafe fn is_in_sparse_page(&self, block: *const u8, percent: u8) -> bool {
        // SAFETY: by the caller.
        unsafe { kora_alloc::is_in_sparse_page(block, percent) }
    }

    fn purge_memory(&self, at_once: bool) {
        kora_alloc::purge(at_once);
    }
}

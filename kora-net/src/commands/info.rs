//! INFO: the sections and field names that dashboards read, with what all executors know folded into one.
//!
//! [`gather`] makes a copy of one executor's numbers, which travels to the executor that answers; [`text`] prints the sum.
//! Fields about things that this server does not have (replication, forks, scripts, ...) are printed with the value they have in a Redis that
//! does not use them, because dashboards and exporters take a missing field for a failure.

use super::memory::{self, MemoryFacts};
use super::{Served, REDIS_VERSION};
use crate::executor::Executor;
use crate::options::Options;
use crate::process::{now_ms, Process};
use crate::resp::encode::{Output, RespSink};
use crate::snapshot::{self, Current, Purpose, Snapshots};
use crate::storage::Storage;
use kora_engine::command::registry;
use kora_engine::error::Error;
use kora_engine::keyspace::{DbStats, KeyspaceStats, View};
use kora_engine::limits::CURSOR_POSITION_BITS;
use kora_engine::reply::Reply;
use kora_modules::observe::commandstats::CommandStats;
use kora_modules::observe::errorstats::ErrorStats;
use kora_modules::observe::rates::{Rates, Totals};
use std::fmt::Write;
use std::sync::atomic::Ordering;

/// Percentiles of INFO latencystats, as CONFIG GET latency-tracking-info-percentiles says.
const PERCENTILES: [f64; 3] = [50.0, 99.0, 99.9];
/// Keys per database and shard whose time to live is looked at for `avg_ttl`.
const TTL_SAMPLE: usize = 64;

/// A section of INFO, in the order in which they are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    Server,
    Clients,
    Memory,
    Persistence,
    Stats,
    Replication,
    Cpu,
    Modules,
    Commandstats,
    Errorstats,
    Latencystats,
    Cluster,
    Keyspace,
}

use Section::*;

const ALL: [Section; 13] = [
    Server,
    Clients,
    Memory,
    Persistence,
    Stats,
    Replication,
    Cpu,
    Modules,
    Commandstats,
    Errorstats,
    Latencystats,
    Cluster,
    Keyspace,
];

impl Section {
    fn heading(self) -> &'static str {
        match self {
            Server => "Server",
            Clients => "Clients",
            Memory => "Memory",
            Persistence => "Persistence",
            Stats => "Stats",
            Replication => "Replication",
            Cpu => "CPU",
            Modules => "Modules",
            Commandstats => "Commandstats",
            Errorstats => "Errorstats",
            Latencystats => "Latencystats",
            Cluster => "Cluster",
            Keyspace => "Keyspace",
        }
    }

    fn is_default(self) -> bool {
        !matches!(self, Commandstats | Latencystats)
    }
}

/// The sections that these words name, without repetition, in the order of printing. Words that name none are passed over, as in
/// Redis.
fn sections(words: &[&[u8]]) -> Vec<Section> {
    if words.is_empty() {
        return ALL.into_iter().filter(|section| section.is_default()).collect();
    }
    let named = |section: &Section| {
        words.iter().any(|word| match word.to_ascii_lowercase().as_slice() {
            b"default" => section.is_default(),
            // Sections of loaded modules are not in "all"; there are none.
            b"all" => *section != Modules,
            b"everything" => true,
            word => section.heading().as_bytes().eq_ignore_ascii_case(word),
        })
    };
    ALL.into_iter().filter(named).collect()
}

/// One executor's numbers, and the sum of several.
pub(super) struct Facts {
    clients: usize,
    largest_input: usize,
    largest_output: usize,
    pub(super) memory: MemoryFacts,
    keyspace: KeyspaceStats,
    /// Keys of each database, and the sample of their times to live: sum in milliseconds and number.
    dbs: Vec<(DbStats, (u64, u64))>,
    changes: u64,
    totals: Totals,
    rates: Rates,
    errors: ErrorStats,
    /// Only when a section needs them: they are large.
    commands: Option<CommandStats>,
    output_limit_disconnections: u64,
    query_limit_disconnections: u64,
    hops: u64,
    batches: u64,
    lock_table_entries: usize,
    blocked_clients: usize,
    timers: usize,
    blocking_keys: usize,
    blocking_keys_on_nokey: usize,
    watching_clients: usize,
    watched_keys: usize,
}

impl Facts {
    fn add(&mut self, other: Facts) {
        self.clients += other.clients;
        self.largest_input = self.largest_input.max(other.largest_input);
        self.largest_output = self.largest_output.max(other.largest_output);
        self.memory += other.memory;
        self.keyspace.hits += other.keyspace.hits;
        self.keyspace.misses += other.keyspace.misses;
        self.keyspace.expired += other.keyspace.expired;
        self.keyspace.expired_by_sweep += other.keyspace.expired_by_sweep;
        self.keyspace.evicted += other.keyspace.evicted;
        self.keyspace.expired_fields += other.keyspace.expired_fields;
        for ((db, ttl), (other_db, other_ttl)) in self.dbs.iter_mut().zip(&other.dbs) {
            db.keys += other_db.keys;
            db.expires += other_db.expires;
            ttl.0 += other_ttl.0;
            ttl.1 += other_ttl.1;
        }
        self.changes += other.changes;
        self.totals.commands += other.totals.commands;
        self.totals.input_bytes += other.totals.input_bytes;
        self.totals.output_bytes += other.totals.output_bytes;
        self.rates += other.rates;
        self.errors.merge(&other.errors);
        if let (Some(commands), Some(other)) = (&mut self.commands, &other.commands) {
            commands.merge(other);
        }
        self.output_limit_disconnections += other.output_limit_disconnections;
        self.query_limit_disconnections += other.query_limit_disconnections;
        self.hops += other.hops;
        self.batches += other.batches;
        self.lock_table_entries += other.lock_table_entries;
        self.blocked_clients += other.blocked_clients;
        self.timers += other.timers;
        self.blocking_keys += other.blocking_keys;
        self.blocking_keys_on_nokey += other.blocking_keys_on_nokey;
        self.watching_clients += other.watching_clients;
        self.watched_keys += other.watched_keys;
    }
}

/// A copy of what an executor knows.
fn gather(executor: &mut Executor, with_commands: bool) -> Facts {
    let memory = MemoryFacts::of(executor);
    let blocking = executor.blocking.counts();
    let observed = &executor.observed;
    let (now, totals) = (executor.now, observed.totals);
    let keys = &executor.shard.keys;
    let start = fastrand::u64(..1 << CURSOR_POSITION_BITS);
    let dbs = (0..keys.databases()).map(|db| {
        let stats = keys.db_stats(db);
        let mut ttl = (0, 0);
        if stats.expires > 0 {
            let view = View { db, now, touch: false };
            // From a random place; from the beginning if nothing that expires is behind it.
            for from in [start, 0] {
                if ttl.1 == 0 {
                    keys.scan(view, from, TTL_SAMPLE, &mut |entry| {
                        if let Some(at) = entry.expire_at() {
                            ttl.0 += at.saturating_sub(now);
                            ttl.1 += 1;
                        }
                    });
                }
            }
        }
        (stats, ttl)
    });
    Facts {
        dbs: dbs.collect(),
        clients: executor.connections().count(),
        largest_input: executor.connections().map(|(_, c)| c.input_len()).max().unwrap_or(0),
        largest_output: executor.connections().map(|(_, c)| c.output_len()).max().unwrap_or(0),
        memory,
        keyspace: keys.stats,
        changes: keys.changes.sequence(),
        totals,
        rates: observed.rates.rates(now, totals),
        errors: observed.errors.clone(),
        commands: with_commands.then(|| observed.commands.clone()),
        output_limit_disconnections: observed.output_limit_disconnections,
        query_limit_disconnections: observed.query_limit_disconnections,
        hops: observed.hops,
        batches: observed.batches,
        lock_table_entries: executor.locks.len(),
        blocked_clients: executor.blocked_clients(),
        timers: executor.blocking.timers(),
        blocking_keys: blocking.keys,
        blocking_keys_on_nokey: blocking.keys_on_deletion,
        watching_clients: executor
            .connections()
            .filter(|(_, c)| c.watching.as_ref().is_some_and(|watching| watching.count() > 0))
            .count(),
        watched_keys: executor.watched.count(),
    }
}

/// INFO.
pub(super) fn info(executor: &mut Executor, index: u32, argv: &[&[u8]]) -> Result<Served, Error> {
    let sections = sections(&argv[1..]);
    let (hub, count, process) = (executor.hub.clone(), executor.count, executor.process.clone());
    let protocol = executor.connection(index).protocol;
    let settings = executor.settings.clone();
    let now = executor.now;
    Ok(Served::Task(Box::pin(async move {
        let with_commands = sections.iter().any(|section| matches!(section, Commandstats | Latencystats));
        let mut parts =
            hub.everywhere(count, move |executor| gather(executor, with_commands)).await.into_iter();
        let mut facts = parts.next().expect("there is an executor");
        parts.for_each(|part| facts.add(part));
        let mut text = String::new();
        for section in sections {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            write!(text, "# {}\r\n", section.heading()).expect("a String takes any text");
            match section {
                Server => server(&mut text, &process, settings.hz, now),
                Clients => clients(&mut text, &facts, settings.max_clients),
                Memory => memory::write_info(&mut text, &process, &facts.memory, &settings),
                Persistence => persistence(&mut text, &process, facts.changes),
                Stats => stats(&mut text, &process, &facts),
                Replication => replication(&mut text, &process),
                Cpu => cpu(&mut text),
                Modules => {}
                Commandstats => {
                    facts.commands.as_ref().expect("gathered").write_commandstats(name_of, &mut text);
                }
                Errorstats => facts.errors.write_errorstats(&mut text),
                Latencystats => {
                    let commands = facts.commands.as_ref().expect("gathered");
                    commands.write_latencystats(name_of, &PERCENTILES, &mut text);
                }
                Cluster => {
                    fields(
                        &mut text,
                        &[("cluster_enabled", &(process.options.cluster_ports.is_some() as u8))],
                    );
                }
                Keyspace => keyspace(&mut text, &facts.dbs),
            }
        }
        let mut out = Output::default();
        RespSink::new(&mut out, protocol).verbatim("txt", text.as_bytes());
        out
    })))
}

fn name_of(command: usize) -> &'static str {
    &registry().by_id(command as u16).full_name
}

/// `name:value` lines.
pub(super) fn fields(text: &mut String, fields: &[(&str, &dyn std::fmt::Display)]) {
    for (name, value) in fields {
        write!(text, "{name}:{value}\r\n").expect("a String takes any text");
    }
}

fn server(text: &mut String, process: &Process, hz: u32, now: u64) {
    let options: &Options = &process.options;
    let uptime = process.started.elapsed().as_secs();
    let microseconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_micros());
    let executable = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    let config_file = options.config_file.clone().unwrap_or_default();
    let supervised = if std::env::var_os("NOTIFY_SOCKET").is_some() { "systemd" } else { "no" };
    fields(
        text,
        &[
            ("redis_version", &REDIS_VERSION),
            ("kora_version", &options.version),
            ("redis_git_sha1", &"00000000"),
            ("redis_git_dirty", &0),
            ("redis_build_id", &"0"),
            ("redis_mode", &if options.cluster_ports.is_some() { "cluster" } else { "standalone" }),
            ("os", &os()),
            ("arch_bits", &usize::BITS),
            ("monotonic_clock", &"POSIX clock_gettime"),
            ("multiplexing_api", &"io_uring"),
            ("process_id", &std::process::id()),
            ("process_supervised", &supervised),
            ("run_id", &process.run_id),
            ("tcp_port", &options.port),
            ("server_time_usec", &microseconds),
            ("uptime_in_seconds", &uptime),
            ("uptime_in_days", &(uptime / 86_400)),
            ("hz", &hz),
            ("configured_hz", &hz),
            ("lru_clock", &((now / 1000) & 0xFF_FFFF)),
            ("executable", &executable.display()),
            ("config_file", &config_file.display()),
            ("io_threads_active", &((process.executors() > 1) as u8)),
            ("executors", &process.executors()),
        ],
    );
}

/// System, release and machine, as uname prints them.
fn os() -> String {
    // SAFETY: all-zero is a valid `utsname`; uname fills it with NUL-terminated texts.
    let name = unsafe {
        let mut name: libc::utsname = std::mem::zeroed();
        libc::uname(&mut name);
        name
    };
    let text = |field: &[libc::c_char]| {
        field.iter().take_while(|&&c| c != 0).map(|&c| c as u8 as char).collect::<String>()
    };
    format!("{} {} {}", text(&name.sysname), text(&name.release), text(&name.machine))
}

fn clients(text: &mut String, facts: &Facts, max_clients: u32) {
    fields(
        text,
        &[
            ("connected_clients", &facts.clients),
            ("cluster_connections", &0),
            ("maxclients", &max_clients),
            ("client_recent_max_input_buffer", &facts.largest_input),
            ("client_recent_max_output_buffer", &facts.largest_output),
            ("blocked_clients", &facts.blocked_clients),
            ("tracking_clients", &0),
            ("pubsub_clients", &0),
            ("watching_clients", &facts.watching_clients),
            ("clients_in_timeout_table", &facts.timers),
            ("total_watched_keys", &facts.watched_keys),
            ("total_blocking_keys", &facts.blocking_keys),
            ("total_blocking_keys_on_nokey", &facts.blocking_keys_on_nokey),
        ],
    );
}

fn persistence(text: &mut String, process: &Process, changes: u64) {
    let storage = process.storage.as_ref();
    let poisoned = storage.is_some_and(Storage::is_poisoned);
    let snapshots = storage.map(|storage| &storage.snapshots);
    let saved = snapshots.map(Snapshots::facts);
    let saved = saved.unwrap_or_else(|| snapshot::Facts::new(process.started_ms));
    let scheduled = snapshots.and_then(Snapshots::scheduled);
    let told = snapshots.map_or(0, |snapshots| snapshots.told.load(Ordering::Relaxed));
    let running = |purpose| saved.current.filter(|current| current.purpose == purpose);
    let (saving, rewriting) = (running(Purpose::Save), running(Purpose::RewriteLog));
    let seconds = |current: Option<Current>| current.map_or(-1, |c| c.since.elapsed().as_secs() as i64);
    let status = if saved.last_ok { "ok" } else { "err" };
    let keys = saved.current.map_or(0, |current| current.keys);
    fields(
        text,
        &[
            ("loading", &u8::from(process.is_loading())),
            ("async_loading", &0),
            ("current_cow_peak", &0),
            ("current_cow_size", &0),
            ("current_cow_size_age", &0),
            ("current_fork_perc", &"0.00"),
            ("current_save_keys_processed", &if saved.current.is_some() { told } else { 0 }),
            ("current_save_keys_total", &keys),
            ("rdb_changes_since_last_save", &changes.saturating_sub(saved.last_changes)),
            ("rdb_bgsave_in_progress", &u8::from(saving.is_some())),
            ("rdb_last_save_time", &(saved.last_ms / 1000)),
            ("rdb_last_bgsave_status", &status),
            ("rdb_last_bgsave_time_sec", &saved.last_seconds),
            ("rdb_current_bgsave_time_sec", &seconds(saving)),
            ("rdb_saves", &saved.made),
            ("rdb_last_cow_size", &0),
            ("rdb_last_load_keys_expired", &0),
            ("rdb_last_load_keys_loaded", &0),
            ("aof_enabled", &u8::from(storage.is_some_and(|storage| storage.options.wal))),
            ("aof_rewrite_in_progress", &u8::from(rewriting.is_some())),
            ("aof_rewrite_scheduled", &u8::from(scheduled == Some(Purpose::RewriteLog))),
            ("aof_last_rewrite_time_sec", &saved.last_rewrite_seconds),
            ("aof_current_rewrite_time_sec", &seconds(rewriting)),
            ("aof_last_bgrewrite_status", &status),
            ("aof_rewrites", &saved.rewrites),
            ("aof_rewrites_consecutive_failures", &saved.failures),
            ("aof_last_write_status", &if poisoned { "err" } else { "ok" }),
            ("aof_last_cow_size", &0),
            ("module_fork_in_progress", &0),
            ("module_fork_last_cow_size", &0),
        ],
    );
    if process.is_loading() {
        loading(text, process);
    }
    let Some(storage) = storage else { return };
    fields(
        text,
        &[
            ("data_dir", &storage.directory.path.display()),
            ("snapshot_last_cut", &saved.last_cut),
            ("snapshot_last_keys", &saved.last_keys),
            ("snapshot_last_bytes", &saved.last_bytes),
            ("snapshot_last_error", &saved.last_error),
        ],
    );
    if let Some(log) = storage.log.get() {
        let (last, durable) = (log.order.last(), log.order.durable());
        fields(
            text,
            &[
                ("wal_run", &log.run),
                ("wal_sync", &storage.options.sync.name()),
                ("wal_bytes", &log.keeper.bytes()),
                ("wal_last_lsn", &last),
                ("wal_durable_lsn", &durable),
                ("wal_lag", &(last - durable.min(last))),
                ("wal_writes", &log.writes.load(Ordering::Relaxed)),
                ("wal_syncs", &log.syncs.load(Ordering::Relaxed)),
                ("wal_last_error", &storage.cause()),
            ],
        );
    }
}

/// How far loading has come, in Redis's words.
fn loading(text: &mut String, process: &Process) {
    let progress = &process.progress;
    let started = progress.started_ms.load(Ordering::Relaxed);
    let (read, total) = (progress.read.load(Ordering::Relaxed), progress.total.load(Ordering::Relaxed));
    let seconds = now_ms().saturating_sub(started) as f64 / 1000.0;
    let share = if total == 0 { 0.0 } else { read as f64 / total as f64 };
    let eta = if share > 0.0 { seconds / share - seconds } else { 1.0 };
    fields(
        text,
        &[
            ("loading_start_time", &(started / 1000)),
            ("loading_total_bytes", &total),
            ("loading_loaded_bytes", &read),
            ("loading_loaded_perc", &format_args!("{:.2}", share * 100.0)),
            ("loading_eta_seconds", &(eta.max(1.0) as u64)),
        ],
    );
}

fn stats(text: &mut String, process: &Process, facts: &Facts) {
    let keyspace = &facts.keyspace;
    let (exceeded, exceeding) = process.memory.exceeded(process.started.elapsed());
    let stale = 0.0; // keys past their time are found by a sweep of everything, not estimated from a sample
    fields(
        text,
        &[
            ("total_connections_received", &process.accepted.load(Ordering::Relaxed)),
            ("total_commands_processed", &facts.totals.commands),
        ],
    );
    facts.rates.write_info(text);
    fields(
        text,
        &[
            ("total_net_input_bytes", &facts.totals.input_bytes),
            ("total_net_output_bytes", &facts.totals.output_bytes),
            ("total_net_repl_input_bytes", &0),
            ("total_net_repl_output_bytes", &0),
            ("instantaneous_input_repl_kbps", &"0.00"),
            ("instantaneous_output_repl_kbps", &"0.00"),
            ("rejected_connections", &process.rejected.load(Ordering::Relaxed)),
            ("sync_full", &0),
            ("sync_partial_ok", &0),
            ("sync_partial_err", &0),
            ("expired_subkeys", &keyspace.expired_fields),
            ("expired_keys", &keyspace.expired),
            ("expired_stale_perc", &format_args!("{stale:.2}")),
            ("expired_time_cap_reached_count", &0),
            ("expired_keys_by_sweep", &keyspace.expired_by_sweep),
            ("evicted_keys", &keyspace.evicted),
            ("evicted_clients", &0),
            ("evicted_scripts", &0),
            ("total_eviction_exceeded_time", &exceeded.as_millis()),
            ("current_eviction_exceeded_time", &exceeding.as_millis()),
            ("keyspace_hits", &keyspace.hits),
            ("keyspace_misses", &keyspace.misses),
            ("pubsub_channels", &0),
            ("pubsub_patterns", &0),
            ("pubsubshard_channels", &0),
            ("latest_fork_usec", &0),
            ("total_forks", &0),
            ("migrate_cached_sockets", &0),
            ("slave_expires_tracked_keys", &0),
            ("active_defrag_hits", &0),
            ("active_defrag_misses", &0),
            ("active_defrag_key_hits", &0),
            ("active_defrag_key_misses", &0),
            ("total_active_defrag_time", &0),
            ("current_active_defrag_time", &0),
            ("tracking_total_keys", &0),
            ("tracking_total_items", &0),
            ("tracking_total_prefixes", &0),
            ("unexpected_error_replies", &0),
            ("total_error_replies", &facts.errors.total()),
            ("dump_payload_sanitizations", &0),
            ("client_query_buffer_limit_disconnections", &facts.query_limit_disconnections),
            ("client_output_buffer_limit_disconnections", &facts.output_limit_disconnections),
            ("executor_hops", &facts.hops),
            ("lock_table_entries", &facts.lock_table_entries),
            ("executor_hop_batches", &facts.batches),
        ],
    );
}

fn replication(text: &mut String, process: &Process) {
    fields(
        text,
        &[
            ("role", &"master"),
            ("connected_slaves", &0),
            ("master_failover_state", &"no-failover"),
            ("master_replid", &process.run_id),
            ("master_replid2", &"0000000000000000000000000000000000000000"),
            ("master_repl_offset", &0),
            ("second_repl_offset", &-1),
            ("repl_backlog_active", &0),
            ("repl_backlog_size", &0),
            ("repl_backlog_first_byte_offset", &0),
            ("repl_backlog_histlen", &0),
        ],
    );
}

fn cpu(text: &mut String) {
    for (who, suffix) in [(libc::RUSAGE_SELF, ""), (libc::RUSAGE_CHILDREN, "_children")] {
        // SAFETY: all-zero is a valid `rusage`; getrusage fills it.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(who, &mut usage);
            usage
        };
        for (name, time) in [("sys", usage.ru_stime), ("user", usage.ru_utime)] {
            write!(text, "used_cpu_{name}{suffix}:{}.{:06}\r\n", time.tv_sec, time.tv_usec)
                .expect("a String takes any text");
        }
    }
}

fn keyspace(text: &mut String, dbs: &[(DbStats, (u64, u64))]) {
    for (number, (db, (ttl_sum, ttl_count))) in dbs.iter().enumerate().filter(|(_, (db, _))| db.keys > 0) {
        let avg_ttl = ttl_sum.checked_div(*ttl_count).unwrap_or(0);
        write!(text, "db{number}:keys={},expires={},avg_ttl={avg_ttl},subexpiry=0\r\n", db.keys, db.expires)
            .expect("a String takes any text");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_chosen_by_name_and_by_group() {
        let all: Vec<_> = ALL.to_vec();
        assert_eq!(sections(&[b"everything"]), all);
        assert!(!sections(&[b"all"]).contains(&Modules) && sections(&[b"all"]).contains(&Commandstats));
        assert_eq!(sections(&[]), sections(&[b"DEFAULT"]));
        assert!(!sections(&[]).contains(&Latencystats));
        assert_eq!(sections(&[b"keyspace", b"Clients", b"nope", b"clients"]), [Clients, Keyspace]);
        assert_eq!(sections(&[b"nope"]), []);
        assert_eq!(sections(&[b""]), []);
    }

    #[test]
    fn databases_without_keys_are_not_listed() {
        let mut text = String::new();
        let db = |keys, expires| DbStats { keys, expires };
        keyspace(&mut text, &[(db(2, 1), (500, 2)), (db(0, 0), (0, 0)), (db(1, 0), (0, 0))]);
        assert_eq!(
            text,
            "db0:keys=2,expires=1,avg_ttl=250,subexpiry=0\r\ndb2:keys=1,expires=0,avg_ttl=0,subexpiry=0\r\n"
        );
    }

    #[test]
    fn what_the_system_says_is_printed_in_the_form_of_redis() {
        let mut text = String::new();
        cpu(&mut text);
        for name in ["used_cpu_sys", "used_cpu_user", "used_cpu_sys_children", "used_cpu_user_children"] {
            let line = text.lines().find(|line| line.split(':').next() == Some(name)).expect(name);
            assert!(line.split(':').nth(1).unwrap().parse::<f64>().is_ok(), "{line}");
        }
        assert!(os().starts_with("Linux "));
    }
}

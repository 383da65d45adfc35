//! Memory in INFO, and MEMORY STATS, DOCTOR, MALLOC-STATS and PURGE.
//!
//! `used_memory` is what the allocator's blocks take that are in use, counted by the allocator itself ([`Gauge`]): data, connections, buffers, everything.
//! What of it is what is computed from the parts that are known: tables tell their directories and segments, connections their
//! buffers; `used_memory_startup` is what an empty server took; the rest is the dataset.
//!
//! mimalloc has no figure between its blocks and the system: it gives pages back that have been free for some milliseconds, so
//! what it has resident is what it has in use plus the holes. Hence `allocator_active` and `allocator_resident` are the same figure, the
//! anonymous part of the resident set, and the fragmentation is their ratio to the blocks in use.

use super::info::fields;
use super::Served;
use crate::executor::Executor;
use crate::memory::Gauge;
use crate::options::Settings;
use crate::process::Process;
use crate::resp::encode::{Output, RespSink};
use kora_engine::error::Error;
use kora_engine::reply::{Protocol, Reply};
use kora_engine::table::TableMemory;
use std::ops::AddAssign;

/// Memory below which a fragmentation says nothing.
const DOCTOR_MIN: u64 = 5 << 20;
/// Ratio of resident to used memory that MEMORY DOCTOR speaks of.
const DOCTOR_FRAGMENTATION: f64 = 1.4;

/// What one executor takes, and the sum of several; bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MemoryFacts {
    table: TableMemory,
    /// Connections with their buffers.
    clients: u64,
    /// Number of keys.
    keys: u64,
    /// Collections and flushed keys whose memory waits to be freed, and how many have been freed so.
    lazily_freed: (u64, u64),
}

impl AddAssign for MemoryFacts {
    fn add_assign(&mut self, other: MemoryFacts) {
        self.table += other.table;
        self.clients += other.clients;
        self.keys += other.keys;
        self.lazily_freed.0 += other.lazily_freed.0;
        self.lazily_freed.1 += other.lazily_freed.1;
    }
}

impl MemoryFacts {
    /// What an executor takes. Its count of allocated bytes is in the process's sum afterwards.
    pub(super) fn of(executor: &mut Executor) -> MemoryFacts {
        executor.publish_memory();
        let keys = &executor.shard.keys;
        MemoryFacts {
            table: keys.memory(),
            clients: executor.connections().map(|(_, c)| super::client::memory(c) as u64).sum(),
            keys: (0..keys.databases()).map(|db| keys.len(db) as u64).sum(),
            lazily_freed: executor.shard.lazily_freed(),
        }
    }

    /// What is not keys and values, of so much in use.
    fn overhead(&self, gauge: &Gauge) -> u64 {
        let tables = (self.table.directory + self.table.segments) as u64;
        (gauge.startup() + self.clients + tables).min(gauge.allocated())
    }

    fn dataset(&self, gauge: &Gauge) -> u64 {
        gauge.allocated() - self.overhead(gauge)
    }
}

/// What the system has given and has in all.
struct SystemMemory {
    resident: u64,
    /// The part of it that is not mapped from files: the allocator's, stacks, rings.
    anonymous: u64,
    total: u64,
}

impl SystemMemory {
    fn now() -> SystemMemory {
        // SAFETY: no memory is involved.
        let (page, pages) =
            unsafe { (libc::sysconf(libc::_SC_PAGESIZE), libc::sysconf(libc::_SC_PHYS_PAGES)) };
        let page = page.max(0) as u64;
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let field = |at: usize| statm.split(' ').nth(at).and_then(|pages| pages.parse().ok()).unwrap_or(0u64);
        let (resident, from_files) = (field(1), field(2));
        SystemMemory {
            resident: resident * page,
            anonymous: resident.saturating_sub(from_files) * page,
            total: pages.max(0) as u64 * page,
        }
    }
}

/// Bytes for people: `1.50M`.
fn human(bytes: u64) -> String {
    let units = [("B", 0), ("K", 10), ("M", 20), ("G", 30), ("T", 40), ("P", 50)];
    let (unit, shift) = units.into_iter().rev().find(|(_, shift)| bytes >> shift > 0).unwrap_or(units[0]);
    if shift == 0 {
        format!("{bytes}{unit}")
    } else {
        format!("{:.2}{unit}", bytes as f64 / (1u64 << shift) as f64)
    }
}

fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b.max(1) as f64
}

/// The fields of INFO memory.
pub(super) fn write_info(text: &mut String, process: &Process, facts: &MemoryFacts, settings: &Settings) {
    let gauge = &process.memory;
    let system = SystemMemory::now();
    let (used, overhead, dataset) = (gauge.allocated(), facts.overhead(gauge), facts.dataset(gauge));
    let (peak, startup) = (gauge.peak(), gauge.startup());
    let SystemMemory { resident, anonymous, total } = system;
    let limit = settings.maxmemory;
    fields(
        text,
        &[
            ("used_memory", &used),
            ("used_memory_human", &human(used)),
            ("used_memory_rss", &resident),
            ("used_memory_rss_human", &human(resident)),
            ("used_memory_peak", &peak),
            ("used_memory_peak_human", &human(peak)),
            ("used_memory_peak_perc", &format_args!("{:.2}%", 100.0 * ratio(used, peak))),
            ("used_memory_overhead", &overhead),
            ("used_memory_startup", &startup),
            ("used_memory_dataset", &dataset),
            (
                "used_memory_dataset_perc",
                &format_args!("{:.2}%", 100.0 * ratio(dataset, used.saturating_sub(startup))),
            ),
            ("allocator_allocated", &used),
            ("allocator_active", &anonymous),
            ("allocator_resident", &anonymous),
            ("total_system_memory", &total),
            ("total_system_memory_human", &human(total)),
            ("used_memory_lua", &0),
            ("used_memory_vm_eval", &0),
            ("used_memory_lua_human", &"0B"),
            ("used_memory_scripts_eval", &0),
            ("number_of_cached_scripts", &0),
            ("number_of_functions", &0),
            ("number_of_libraries", &0),
            ("used_memory_vm_functions", &0),
            ("used_memory_vm_total", &0),
            ("used_memory_vm_total_human", &"0B"),
            ("used_memory_functions", &0),
            ("used_memory_scripts", &0),
            ("used_memory_scripts_human", &"0B"),
            ("maxmemory", &limit),
            ("maxmemory_human", &human(limit)),
            ("maxmemory_policy", &settings.eviction.policy.name()),
            ("maxmemory_effective", &if limit == 0 { 0 } else { gauge.allowed() }),
            ("allocator_frag_ratio", &format_args!("{:.2}", ratio(anonymous, used))),
            ("allocator_frag_bytes", &(anonymous as i64 - used as i64)),
            ("allocator_rss_ratio", &"1.00"),
            ("allocator_rss_bytes", &0),
            ("rss_overhead_ratio", &format_args!("{:.2}", ratio(resident, anonymous))),
            ("rss_overhead_bytes", &(resident as i64 - anonymous as i64)),
            ("mem_fragmentation_ratio", &format_args!("{:.2}", ratio(resident, used))),
            ("mem_fragmentation_bytes", &(resident as i64 - used as i64)),
            ("mem_not_counted_for_evict", &0),
            ("mem_replication_backlog", &0),
            ("mem_total_replication_buffers", &0),
            ("mem_clients_slaves", &0),
            ("mem_clients_normal", &facts.clients),
            ("mem_cluster_links", &0),
            ("mem_aof_buffer", &0),
            ("mem_allocator", &process.options.host.memory().allocator),
            ("active_defrag_running", &0),
            ("lazyfree_pending_objects", &facts.lazily_freed.0),
            ("lazyfreed_objects", &facts.lazily_freed.1),
        ],
    );
}

/// One value of MEMORY STATS.
enum Stat {
    Bytes(u64),
    Signed(i64),
    Ratio(f64),
}

fn stats(process: &Process, facts: &MemoryFacts) -> Vec<(&'static str, Stat)> {
    use Stat::{Bytes, Ratio, Signed};
    let gauge = &process.memory;
    let SystemMemory { resident, anonymous, .. } = SystemMemory::now();
    let (used, peak, startup) = (gauge.allocated(), gauge.peak(), gauge.startup());
    let beyond_start = used.saturating_sub(startup);
    let dataset = facts.dataset(gauge);
    vec![
        ("peak.allocated", Bytes(peak)),
        ("total.allocated", Bytes(used)),
        ("startup.allocated", Bytes(startup)),
        ("replication.backlog", Bytes(0)),
        ("clients.slaves", Bytes(0)),
        ("clients.normal", Bytes(facts.clients)),
        ("cluster.links", Bytes(0)),
        ("aof.buffer", Bytes(0)),
        ("lua.caches", Bytes(0)),
        ("functions.caches", Bytes(0)),
        ("overhead.hashtable.directory", Bytes(facts.table.directory as u64)),
        ("overhead.hashtable.segments", Bytes(facts.table.segments as u64)),
        ("overhead.total", Bytes(facts.overhead(gauge))),
        ("keys.count", Bytes(facts.keys)),
        ("keys.bytes-per-key", Bytes(beyond_start.checked_div(facts.keys).unwrap_or(0))),
        ("dataset.bytes", Bytes(dataset)),
        ("dataset.percentage", Ratio(100.0 * ratio(dataset, beyond_start))),
        ("peak.percentage", Ratio(100.0 * ratio(used, peak))),
        ("allocator.allocated", Bytes(used)),
        ("allocator.active", Bytes(anonymous)),
        ("allocator.resident", Bytes(anonymous)),
        ("allocator-fragmentation.ratio", Ratio(ratio(anonymous, used))),
        ("allocator-fragmentation.bytes", Signed(anonymous as i64 - used as i64)),
        ("allocator-rss.ratio", Ratio(1.0)),
        ("allocator-rss.bytes", Signed(0)),
        ("rss-overhead.ratio", Ratio(ratio(resident, anonymous))),
        ("rss-overhead.bytes", Signed(resident as i64 - anonymous as i64)),
        ("fragmentation", Ratio(ratio(resident, used))),
        ("fragmentation.bytes", Signed(resident as i64 - used as i64)),
    ]
}

/// The text of MEMORY DOCTOR.
fn diagnosis(process: &Process, facts: &MemoryFacts) -> String {
    let gauge = &process.memory;
    let (used, peak) = (gauge.allocated(), gauge.peak());
    let resident = SystemMemory::now().resident;
    if used.saturating_sub(gauge.startup()) < DOCTOR_MIN {
        return "There is hardly any data in this server, so its memory tells nothing. Ask again when there is more.\n"
            .to_owned();
    }
    let mut findings = Vec::new();
    if ratio(peak, used) > 1.5 {
        findings.push(format!(
            "Peak memory: {} were in use once, {} are now. What the allocator has kept for reuse makes the process look \
             larger than its data; MEMORY PURGE gives it back.",
            human(peak),
            human(used)
        ));
    }
    if ratio(resident, used) > DOCTOR_FRAGMENTATION {
        findings.push(format!(
            "Fragmentation: the process takes {} for {} in use. It settles when memory is reused; MEMORY PURGE gives back \
             what is free.",
            human(resident),
            human(used)
        ));
    }
    if gauge.allowed() < u64::MAX && used + used / 20 > gauge.allowed() {
        findings.push(format!(
            "Limit: with the present fragmentation {} may be in use within maxmemory, {} are. Keys are evicted or writes \
             refused, by maxmemory_policy.",
            human(gauge.allowed()),
            human(used)
        ));
    }
    if facts.clients > facts.dataset(gauge) {
        findings.push(format!(
            "Connections: they take {}, more than the data. CLIENT LIST shows which (tot-mem); look for clients that do \
             not read their replies, and set output_buffer_limit_normal.",
            human(facts.clients)
        ));
    }
    if findings.is_empty() {
        return "No problem was found with the memory of this server.\n".to_owned();
    }
    findings.iter().map(|finding| format!("* {finding}\n")).collect()
}

/// What a command of this file answers once everything is gathered.
type Answer = fn(&Process, &MemoryFacts, &mut RespSink<'_>);

fn with_facts(executor: &mut Executor, index: u32, answer: Answer) -> Result<Served, Error> {
    let (hub, count, process) = (executor.hub.clone(), executor.count, executor.process.clone());
    let protocol: Protocol = executor.connection(index).protocol;
    Ok(Served::Task(Box::pin(async move {
        let mut facts = MemoryFacts::default();
        for part in hub.everywhere(count, MemoryFacts::of).await {
            facts += part;
        }
        let mut out = Output::default();
        answer(&process, &facts, &mut RespSink::new(&mut out, protocol));
        out
    })))
}

/// MEMORY STATS.
pub(super) fn run_stats(executor: &mut Executor, index: u32) -> Result<Served, Error> {
    with_facts(executor, index, |process, facts, reply| {
        let stats = stats(process, facts);
        reply.map(stats.len());
        for (name, stat) in stats {
            reply.bulk(name.as_bytes());
            match stat {
                Stat::Bytes(bytes) => reply.integer(bytes as i64),
                Stat::Signed(bytes) => reply.integer(bytes),
                Stat::Ratio(ratio) => reply.double(ratio),
            }
        }
    })
}

/// MEMORY DOCTOR.
pub(super) fn run_doctor(executor: &mut Executor, index: u32) -> Result<Served, Error> {
    with_facts(executor, index, |process, facts, reply| {
        reply.verbatim("txt", diagnosis(process, facts).as_bytes());
    })
}

/// MEMORY MALLOC-STATS.
pub(super) fn run_malloc_stats(executor: &mut Executor, index: u32) -> Result<Served, Error> {
    with_facts(executor, index, |process, facts, reply| {
        let host = process.options.host.memory();
        let text = format!(
            "Allocator: {}\nBlocks in use: {} ({})\nMost in use: {} ({})\nReserved: {} ({})\nResident: {}\nCollections waiting to be freed: {}\n",
            host.allocator,
            process.memory.allocated(),
            human(process.memory.allocated()),
            process.memory.peak(),
            human(process.memory.peak()),
            host.committed,
            human(host.committed),
            human(SystemMemory::now().resident),
            facts.lazily_freed.0,
        );
        reply.verbatim("txt", text.as_bytes());
    })
}

/// MEMORY PURGE. Each thread gives back what its own part of the allocator keeps.
pub(super) fn run_purge(executor: &mut Executor, index: u32) -> Result<Served, Error> {
    let (hub, count) = (executor.hub.clone(), executor.count);
    let protocol = executor.connection(index).protocol;
    Ok(Served::Task(Box::pin(async move {
        hub.everywhere(count, |executor| executor.process.options.host.purge_memory(true)).await;
        let mut out = Output::default();
        RespSink::new(&mut out, protocol).ok();
        out
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_printed_as_redis_prints_them() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1_187_832, "1.13M"),
            (25_276_502_016, "23.54G"),
            (1 << 41, "2.00T"),
            (u64::MAX, "16384.00P"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn the_parts_make_the_whole() {
        let table = TableMemory { directory: 100, segments: 2000, records: 30_000 };
        let mut facts = MemoryFacts { table, clients: 500, keys: 3, lazily_freed: (1, 2) };
        facts += facts;
        let gauge = Gauge::new(1);
        gauge.publish(4000);
        gauge.started();
        gauge.publish(70_000);
        assert_eq!(facts.overhead(&gauge), 4000 + 2 * (100 + 2000 + 500));
        assert_eq!(facts.overhead(&gauge) + facts.dataset(&gauge), gauge.allocated());
        gauge.publish(-73_000);
        assert_eq!(facts.dataset(&gauge), 0, "less than nothing is nothing");
    }

    #[test]
    fn the_system_knows_this_process() {
        let system = SystemMemory::now();
        assert!(system.resident > 0 && system.resident < system.total);
    }
}

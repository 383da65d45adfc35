//! Memory in INFO, and MEMORY STATS, DOCTOR, MALLOC-STATS and PURGE.
//!
//! `used_memory` is counted, not asked of the allocator: what the tables of all shards, the connections with their buffers and the fixed
//! buffers of the executors take. So it follows the data at once, up and down. What the allocator holds and what the system has given are printed
//! beside it.

use super::info::fields;
use super::Served;
use crate::executor::Executor;
use crate::limits::{RECV_BUFFERS, RECV_BUFFER_LEN};
use crate::process::Process;
use crate::resp::encode::{Output, RespSink};
use kora_engine::error::Error;
use kora_engine::reply::{Protocol, Reply};
use kora_engine::table::TableMemory;
use kora_modules::observe::commandstats::BYTES_PER_COMMAND;
use std::ops::AddAssign;
use std::sync::atomic::Ordering;

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
    /// Buffers that are there from the start.
    fixed: u64,
    /// Number of keys.
    keys: u64,
}

impl AddAssign for MemoryFacts {
    fn add_assign(&mut self, other: MemoryFacts) {
        self.table += other.table;
        self.clients += other.clients;
        self.fixed += other.fixed;
        self.keys += other.keys;
    }
}

impl MemoryFacts {
    /// What an executor takes.
    pub(super) fn of(executor: &Executor) -> MemoryFacts {
        let keys = &executor.shard.keys;
        let statistics = executor.observed.commands.commands() * BYTES_PER_COMMAND;
        MemoryFacts {
            table: keys.memory(),
            clients: executor.connections().map(|(_, c)| super::client::memory(c) as u64).sum(),
            fixed: (RECV_BUFFERS as usize * RECV_BUFFER_LEN + statistics) as u64,
            keys: (0..keys.databases()).map(|db| keys.len(db) as u64).sum(),
        }
    }

    /// All of it.
    pub(super) fn used(&self) -> u64 {
        self.fixed + self.clients + self.table.total() as u64
    }

    /// What is not keys and values.
    fn overhead(&self) -> u64 {
        self.used() - self.dataset()
    }

    fn dataset(&self) -> u64 {
        self.table.records as u64
    }
}

/// Keeps the highest sum that was seen.
pub(super) fn note_peak(process: &Process, facts: &MemoryFacts) {
    process.peak_memory.fetch_max(facts.used(), Ordering::Relaxed);
}

/// What the system has given and has in all.
struct SystemMemory {
    resident: u64,
    total: u64,
}

impl SystemMemory {
    fn now() -> SystemMemory {
        // SAFETY: no memory is involved.
        let (page, pages) =
            unsafe { (libc::sysconf(libc::_SC_PAGESIZE), libc::sysconf(libc::_SC_PHYS_PAGES)) };
        let page = page.max(0) as u64;
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let resident: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
        SystemMemory { resident: resident * page, total: pages.max(0) as u64 * page }
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
pub(super) fn write_info(text: &mut String, process: &Process, facts: &MemoryFacts) {
    let host = process.options.host.memory();
    let system = SystemMemory::now();
    let (used, overhead, dataset) = (facts.used(), facts.overhead(), facts.dataset());
    let peak = process.peak_memory.load(Ordering::Relaxed);
    let resident = system.resident;
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
            ("used_memory_startup", &facts.fixed),
            ("used_memory_dataset", &dataset),
            (
                "used_memory_dataset_perc",
                &format_args!("{:.2}%", 100.0 * ratio(dataset, used - facts.fixed.min(used))),
            ),
            ("allocator_allocated", &used),
            ("allocator_active", &host.committed),
            ("allocator_resident", &host.committed),
            ("total_system_memory", &system.total),
            ("total_system_memory_human", &human(system.total)),
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
            ("maxmemory", &0),
            ("maxmemory_human", &"0B"),
            ("maxmemory_policy", &"noeviction"),
            ("allocator_frag_ratio", &format_args!("{:.2}", ratio(host.committed, used))),
            ("allocator_frag_bytes", &host.committed.saturating_sub(used)),
            ("allocator_rss_ratio", &"1.00"),
            ("allocator_rss_bytes", &0),
            ("rss_overhead_ratio", &format_args!("{:.2}", ratio(resident, host.committed))),
            ("rss_overhead_bytes", &(resident as i64 - host.committed as i64)),
            ("mem_fragmentation_ratio", &format_args!("{:.2}", ratio(resident, used))),
            ("mem_fragmentation_bytes", &(resident as i64 - used as i64)),
            ("mem_not_counted_for_evict", &0),
            ("mem_replication_backlog", &0),
            ("mem_total_replication_buffers", &0),
            ("mem_clients_slaves", &0),
            ("mem_clients_normal", &facts.clients),
            ("mem_cluster_links", &0),
            ("mem_aof_buffer", &0),
            ("mem_allocator", &host.allocator),
            ("active_defrag_running", &0),
            ("lazyfree_pending_objects", &0),
            ("lazyfreed_objects", &0),
        ],
    );
}

/// One value of MEMORY STATS.
enum Stat {
    Bytes(u64),
    Ratio(f64),
}

fn stats(process: &Process, facts: &MemoryFacts) -> Vec<(&'static str, Stat)> {
    use Stat::{Bytes, Ratio};
    let host = process.options.host.memory();
    let system = SystemMemory::now();
    let used = facts.used();
    let peak = process.peak_memory.load(Ordering::Relaxed);
    let beyond_start = used - facts.fixed.min(used);
    vec![
        ("peak.allocated", Bytes(peak)),
        ("total.allocated", Bytes(used)),
        ("startup.allocated", Bytes(facts.fixed)),
        ("replication.backlog", Bytes(0)),
        ("clients.slaves", Bytes(0)),
        ("clients.normal", Bytes(facts.clients)),
        ("cluster.links", Bytes(0)),
        ("aof.buffer", Bytes(0)),
        ("lua.caches", Bytes(0)),
        ("functions.caches", Bytes(0)),
        ("overhead.hashtable.directory", Bytes(facts.table.directory as u64)),
        ("overhead.hashtable.segments", Bytes(facts.table.segments as u64)),
        ("overhead.total", Bytes(facts.overhead())),
        ("keys.count", Bytes(facts.keys)),
        ("keys.bytes-per-key", Bytes(beyond_start.checked_div(facts.keys).unwrap_or(0))),
        ("dataset.bytes", Bytes(facts.dataset())),
        ("dataset.percentage", Ratio(100.0 * ratio(facts.dataset(), beyond_start))),
        ("peak.percentage", Ratio(100.0 * ratio(used, peak))),
        ("allocator.allocated", Bytes(used)),
        ("allocator.active", Bytes(host.committed)),
        ("allocator.resident", Bytes(host.committed)),
        ("allocator-fragmentation.ratio", Ratio(ratio(host.committed, used))),
        ("allocator-fragmentation.bytes", Bytes(host.committed.saturating_sub(used))),
        ("fragmentation", Ratio(ratio(system.resident, used))),
        ("fragmentation.bytes", Bytes(system.resident.saturating_sub(used))),
    ]
}

/// The text of MEMORY DOCTOR.
fn diagnosis(process: &Process, facts: &MemoryFacts) -> String {
    let used = facts.used();
    let resident = SystemMemory::now().resident;
    let peak = process.peak_memory.load(Ordering::Relaxed);
    if used - facts.fixed.min(used) < DOCTOR_MIN {
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
    if facts.clients > facts.dataset() {
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
        for part in hub.everywhere(count, |executor| MemoryFacts::of(executor)).await {
            facts += part;
        }
        note_peak(&process, &facts);
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
            "Allocator: {}\nCounted by the server: {} ({})\nCommitted: {} ({})\nMost committed: {} ({})\nResident: {}\n",
            host.allocator,
            facts.used(),
            human(facts.used()),
            host.committed,
            human(host.committed),
            host.peak_committed,
            human(host.peak_committed),
            human(SystemMemory::now().resident),
        );
        reply.verbatim("txt", text.as_bytes());
    })
}

/// MEMORY PURGE. Each thread gives back what its own part of the allocator keeps.
pub(super) fn run_purge(executor: &mut Executor, index: u32) -> Result<Served, Error> {
    let (hub, count) = (executor.hub.clone(), executor.count);
    let protocol = executor.connection(index).protocol;
    Ok(Served::Task(Box::pin(async move {
        hub.everywhere(count, |executor| executor.process.options.host.purge_memory()).await;
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
        let mut facts = MemoryFacts { table, clients: 500, fixed: 4000, keys: 3 };
        facts += facts;
        assert_eq!(facts.used(), 2 * (100 + 2000 + 30_000 + 500 + 4000));
        assert_eq!(facts.used(), facts.overhead() + facts.dataset());
    }

    #[test]
    fn the_system_knows_this_process() {
        let system = SystemMemory::now();
        assert!(system.resident > 0 && system.resident < system.total);
    }
}

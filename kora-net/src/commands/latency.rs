//! LATENCY: the spikes and the histograms of all executors, merged.

use super::Served;
use crate::executor::Executor;
use crate::resp::encode::{Output, RespSink};
use kora_engine::command::{registry, ServerCommand};
use kora_engine::error::Error;
use kora_engine::reply::Reply;
use kora_modules::observe::commandstats::CommandStats;
use kora_modules::observe::latency::LatencyMonitor;
use std::collections::BTreeSet;

/// Any subcommand of LATENCY.
pub(super) fn run(
    executor: &mut Executor,
    index: u32,
    command: ServerCommand,
    argv: &[&[u8]],
) -> Result<Served, Error> {
    let words: Vec<Vec<u8>> = argv[2..].iter().map(|word| word.to_vec()).collect();
    let (hub, count) = (executor.hub.clone(), executor.count);
    let (protocol, now) = (executor.connection(index).protocol, executor.now / 1000);
    let slower_than_us = executor.settings.slowlog_log_slower_than;
    Ok(Served::Task(Box::pin(async move {
        let mut out = Output::default();
        let mut reply = RespSink::new(&mut out, protocol);
        if command == ServerCommand::LatencyHistogram {
            let all = hub.everywhere(count, |executor| executor.observed.commands.clone()).await;
            let mut all = all.into_iter();
            let mut stats = all.next().expect("there is an executor");
            all.for_each(|other| stats.merge(&other));
            let names: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            histogram(&stats, &names, &mut reply);
            return out;
        }
        if command == ServerCommand::LatencyReset {
            let forgotten =
                hub.everywhere(count, move |executor| reset(&mut executor.observed.latency, &words));
            // An event that several executors had counts once.
            let events: BTreeSet<_> = forgotten.await.into_iter().flatten().collect();
            reply.integer(events.len() as i64);
            return out;
        }
        let all = hub.everywhere(count, |executor| executor.observed.latency.clone()).await;
        let mut all = all.into_iter();
        let mut monitor = all.next().expect("there is an executor");
        all.for_each(|other| monitor.merge(&other));
        match command {
            ServerCommand::LatencyLatest => latest(&monitor, &mut reply),
            ServerCommand::LatencyHistory => history(&monitor, &words[0], &mut reply),
            ServerCommand::LatencyGraph => {
                if let Err(error) = graph(&monitor, &words[0], now, &mut reply) {
                    reply.error(error.text());
                }
            }
            ServerCommand::LatencyDoctor => {
                reply.verbatim("txt", monitor.doctor(now, slower_than_us).as_bytes());
            }
            _ => unreachable!("not a LATENCY command"),
        }
        out
    })))
}

/// Forgets events (all, when none is named) and says which there were.
fn reset(monitor: &mut LatencyMonitor, events: &[Vec<u8>]) -> Vec<&'static str> {
    let named = |event: &str| events.is_empty() || events.iter().any(|name| name == event.as_bytes());
    let there: Vec<_> = monitor.latest().map(|latest| latest.event).filter(|event| named(event)).collect();
    monitor.reset(events.iter().map(Vec::as_slice));
    there
}

/// LATENCY LATEST.
pub(crate) fn latest(monitor: &LatencyMonitor, reply: &mut dyn Reply) {
    reply.array(monitor.latest().count());
    for latest in monitor.latest() {
        reply.array(4);
        reply.bulk(latest.event.as_bytes());
        reply.integer(latest.sample.at as i64);
        reply.integer(latest.sample.ms.into());
        reply.integer(latest.max_ms.into());
    }
}

/// LATENCY HISTORY.
pub(crate) fn history(monitor: &LatencyMonitor, event: &[u8], reply: &mut dyn Reply) {
    reply.array(monitor.history(event).count());
    for sample in monitor.history(event) {
        reply.array(2);
        reply.integer(sample.at as i64);
        reply.integer(sample.ms.into());
    }
}

/// LATENCY GRAPH.
pub(crate) fn graph(
    monitor: &LatencyMonitor,
    event: &[u8],
    now: u64,
    reply: &mut dyn Reply,
) -> Result<(), Error> {
    let Some(text) = monitor.graph(event, now) else {
        let mut text = b"ERR No samples available for event '".to_vec();
        text.extend_from_slice(event);
        text.push(b'\'');
        return Err(Error::owned(text));
    };
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// LATENCY HISTOGRAM: of the named commands, or of all. A container's name stands for its subcommands.
pub(crate) fn histogram(stats: &CommandStats, names: &[&[u8]], reply: &mut dyn Reply) {
    let ran = |id: &u16| stats.counters(*id as usize).calls > 0;
    let mut ids: Vec<u16> = Vec::new();
    if names.is_empty() {
        ids.extend(registry().all().iter().map(|command| command.id).filter(ran));
    }
    for name in names {
        let mut words = name.splitn(2, |&b| b == b'|');
        let Some(command) = registry().find(words.next().expect("split gives one")) else { continue };
        match words.next() {
            Some(sub) => ids.extend(registry().find_subcommand(command, sub).map(|sub| sub.id).filter(ran)),
            None => {
                ids.extend(Some(command.id).filter(ran));
                ids.extend(command.subcommands.iter().copied().filter(ran));
            }
        }
    }
    reply.map(ids.len());
    for id in ids {
        reply.bulk(registry().by_id(id).full_name.as_bytes());
        reply.map(2);
        reply.bulk(b"calls");
        reply.integer(stats.counters(id as usize).calls as i64);
        reply.bulk(b"histogram_usec");
        let buckets = stats.printed_histogram(id as usize);
        reply.map(buckets.len());
        for (microseconds, calls) in buckets {
            reply.integer(microseconds as i64);
            reply.integer(calls as i64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::{resp2, resp3, run};

    #[test]
    fn spikes_are_shown() {
        let mut monitor = LatencyMonitor::new(1);
        monitor.record("command", 1000, 10_000_000);
        assert_eq!(resp2(|reply| latest(&monitor, reply)), "*1 *4 $command :1000 :10 :10");
        assert_eq!(resp2(|reply| history(&monitor, b"command", reply)), "*1 *2 :1000 :10");
        assert_eq!(resp2(|reply| history(&monitor, b"nope", reply)), "*0");
        assert_eq!(
            run(|reply| graph(&monitor, b"nope", 1001, reply)).unwrap_err().text(),
            b"ERR No samples available for event 'nope'"
        );
        assert!(run(|reply| graph(&monitor, b"command", 1001, reply))
            .unwrap()
            .starts_with("$command - high 10 ms"));
    }

    #[test]
    fn a_container_stands_for_its_subcommands() {
        let mut stats = CommandStats::new(registry().all().len());
        let config = registry().find(b"config").unwrap();
        let set = registry().find_subcommand(config, b"set").unwrap();
        stats.record(set.id as usize, 7_000);
        let shown = "%1 $config|set %2 $calls :1 $histogram_usec %1 :8 :1";
        for names in [&[&b"CONFIG"[..]][..], &[b"config|set", b"nope", b"config|get"], &[]] {
            assert_eq!(resp3(|reply| histogram(&stats, names, reply)), shown);
        }
        assert_eq!(resp2(|reply| histogram(&stats, &[b"ping", b"nope"], reply)), "*0");
    }
}

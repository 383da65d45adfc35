//! The latency monitor: when did which kind of work take too long.
//!
//! Work is grouped into events (`command`, `fast-command`, `expire-cycle`, ...). Each event remembers the last 160
//! seconds in which it took at least the threshold, with the longest time of that second, and the longest time ever. So a
//! burst of spikes costs one sample and a history is short enough to keep for every event, as in Redis.

use std::collections::VecDeque;
use std::fmt::Write;

use super::limits::{LATENCY_GRAPH_COLUMNS, LATENCY_GRAPH_ROWS, LATENCY_HISTORY_SAMPLES};
use super::sparkline::{self, Point};
use super::UnixSeconds;

/// The longest time that an event took in one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencySample {
    /// Which second.
    pub at: UnixSeconds,
    /// How long, in milliseconds.
    pub ms: u32,
}

/// The history of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct History {
    event: &'static str,
    /// Oldest first, never empty, one per second, at most [`LATENCY_HISTORY_SAMPLES`].
    samples: VecDeque<LatencySample>,
    /// The longest time since the event was reset, in milliseconds.
    max_ms: u32,
}

impl History {
    fn add(&mut self, sample: LatencySample) {
        self.max_ms = self.max_ms.max(sample.ms);
        match self.samples.back_mut() {
            Some(last) if last.at == sample.at => last.ms = last.ms.max(sample.ms),
            _ => {
                if self.samples.len() == LATENCY_HISTORY_SAMPLES {
                    self.samples.pop_front();
                }
                self.samples.push_back(sample);
            }
        }
    }

    fn merge(&mut self, other: &History) {
        let mut both: Vec<LatencySample> =
            self.samples.drain(..).chain(other.samples.iter().copied()).collect();
        both.sort_by_key(|sample| sample.at);
        for sample in both {
            self.add(sample);
        }
        self.max_ms = self.max_ms.max(other.max_ms);
    }

    fn low_ms(&self) -> u32 {
        self.samples.iter().map(|sample| sample.ms).min().unwrap_or(0)
    }

    fn high_ms(&self) -> u32 {
        self.samples.iter().map(|sample| sample.ms).max().unwrap_or(0)
    }
}

/// One line of LATENCY LATEST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencyLatest {
    /// The event.
    pub event: &'static str,
    /// Its newest sample.
    pub sample: LatencySample,
    /// Its longest time since it was reset, in milliseconds.
    pub max_ms: u32,
}

/// One executor's latency monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatencyMonitor {
    /// Nanoseconds from which a sample is kept; `u64::MAX` when the monitor is off.
    threshold_nanos: u64,
    /// Sorted by event. A handful: the names are constants of the program.
    histories: Vec<History>,
}

impl LatencyMonitor {
    /// A monitor without samples. `threshold_ms` is `latency-monitor-threshold`; 0 turns it off.
    pub fn new(threshold_ms: u64) -> LatencyMonitor {
        let mut monitor = LatencyMonitor { threshold_nanos: 0, histories: Vec::new() };
        monitor.set_threshold_ms(threshold_ms);
        monitor
    }

    /// Sets `latency-monitor-threshold`; 0 turns the monitor off and keeps what it has.
    pub fn set_threshold_ms(&mut self, threshold_ms: u64) {
        self.threshold_nanos = match threshold_ms {
            0 => u64::MAX,
            ms => ms.saturating_mul(1_000_000),
        };
    }

    /// Whether work that took so long is kept: one comparison, for every command.
    #[inline]
    pub fn is_spike(&self, nanos: u64) -> bool {
        nanos >= self.threshold_nanos
    }

    /// Whether the monitor is on.
    pub fn is_enabled(&self) -> bool {
        self.threshold_nanos != u64::MAX
    }

    /// Keeps a time for which [`LatencyMonitor::is_spike`] held.
    #[cold]
    pub fn record(&mut self, event: &'static str, at: UnixSeconds, nanos: u64) {
        let ms = u32::try_from(nanos / 1_000_000).unwrap_or(u32::MAX);
        self.history_mut(event).add(LatencySample { at, ms });
    }

    fn history_mut(&mut self, event: &'static str) -> &mut History {
        let place = match self.histories.binary_search_by_key(&event, |history| history.event) {
            Ok(place) => place,
            Err(place) => {
                self.histories.insert(place, History { event, samples: VecDeque::new(), max_ms: 0 });
                place
            }
        };
        &mut self.histories[place]
    }

    fn find(&self, event: &[u8]) -> Option<&History> {
        self.histories.iter().find(|history| history.event.as_bytes() == event)
    }

    /// Every event with its newest sample, sorted by name.
    pub fn latest(&self) -> impl Iterator<Item = LatencyLatest> + '_ {
        self.histories.iter().map(|history| LatencyLatest {
            event: history.event,
            sample: *history.samples.back().expect("a history begins with a sample"),
            max_ms: history.max_ms,
        })
    }

    /// The samples of one event, oldest first; none for an event that never took too long.
    pub fn history(&self, event: &[u8]) -> impl Iterator<Item = LatencySample> + '_ {
        self.find(event).into_iter().flat_map(|history| history.samples.iter().copied())
    }

    /// Forgets the named events, or all of them when none is named. Returns how many there were.
    pub fn reset<'a>(&mut self, events: impl IntoIterator<Item = &'a [u8]>) -> usize {
        let before = self.histories.len();
        let mut named = false;
        for event in events {
            named = true;
            self.histories.retain(|history| history.event.as_bytes() != event);
        }
        if !named {
            self.histories.clear();
        }
        before - self.histories.len()
    }

    /// Adds what another executor kept.
    pub fn merge(&mut self, other: &LatencyMonitor) {
        for history in &other.histories {
            self.history_mut(history.event).merge(history);
        }
    }

    /// The text of LATENCY GRAPH, as Redis draws it; `None` for an event without samples.
    pub fn graph(&self, event: &[u8], now: UnixSeconds) -> Option<String> {
        let history = self.find(event)?;
        let mut text = format!(
            "{} - high {} ms, low {} ms (all time high {} ms)\n{:-<LATENCY_GRAPH_COLUMNS$}\n",
            history.event,
            history.high_ms(),
            history.low_ms(),
            history.max_ms,
            "",
        );
        let points: Vec<Point> = history
            .samples
            .iter()
            .map(|sample| Point { value: sample.ms, label: age(now.saturating_sub(sample.at)) })
            .collect();
        sparkline::draw(&points, LATENCY_GRAPH_COLUMNS, LATENCY_GRAPH_ROWS, &mut text);
        Some(text)
    }

    /// The text of LATENCY DOCTOR: what was seen, and what to do about it. `slower_than_us` is the slow log's
    /// threshold; negative when it is off.
    ///
    /// The line with an event's numbers has Redis's form; the advice is about this server.
    pub fn doctor(&self, now: UnixSeconds, slower_than_us: i64) -> String {
        if self.histories.is_empty() {
            return if self.is_enabled() {
                "No latency spike was observed since the monitor was last reset. All is well.\n".to_owned()
            } else {
                "Latency monitoring is off, so there is nothing to report. Turn it on with \
                 \"CONFIG SET latency-monitor-threshold <milliseconds>\".\n"
                    .to_owned()
            };
        }
        let mut text = String::from("Latency spikes were observed in this instance.\n\n");
        for (index, history) in self.histories.iter().enumerate() {
            let count = history.samples.len() as u64;
            let average = history.samples.iter().map(|sample| u64::from(sample.ms)).sum::<u64>() / count;
            let deviation =
                history.samples.iter().map(|sample| u64::from(sample.ms).abs_diff(average)).sum::<u64>()
                    / count;
            let span = now.saturating_sub(history.samples[0].at).max(1);
            writeln!(
                text,
                "{}. {}: {count} latency spikes (average {average}ms, mean deviation {deviation}ms, \
                 period {:.2} sec). Worst all time event {}ms.",
                index + 1,
                history.event,
                span as f64 / count as f64,
                history.max_ms,
            )
            .expect("a String takes any text");
        }
        text.push_str("\nWhat to do about it:\n\n");
        for advice in self.advice(slower_than_us) {
            writeln!(text, "- {advice}").expect("a String takes any text");
        }
        text
    }

    fn advice(&self, slower_than_us: i64) -> Vec<String> {
        let seen = |event: &str| self.find(event.as_bytes()).is_some();
        let mut advice = Vec::new();
        if seen("command") {
            let threshold_us = self.threshold_nanos / 1000;
            if slower_than_us < 0 {
                advice.push(format!(
                    "The slow log is off. 'CONFIG SET slowlog-log-slower-than {threshold_us}' makes it show which \
                     commands were slow."
                ));
            } else if self.is_enabled() && slower_than_us as u64 > threshold_us {
                advice.push(format!(
                    "The slow log skips commands that this monitor counts. 'CONFIG SET slowlog-log-slower-than \
                     {threshold_us}' makes it show them."
                ));
            }
            advice.push(
                "SLOWLOG GET shows the slow commands and their arguments: look for commands that walk a whole key or \
                 the whole keyspace, and read large collections in parts with SCAN, HSCAN, SSCAN and ZSCAN."
                    .to_owned(),
            );
        }
        if seen("fast-command") {
            advice.push(
                "Commands that do little work took long, so the process was not running: look for other processes on \
                 the same cores, a CPU quota of the container, swapping, or fewer cores than workers."
                    .to_owned(),
            );
        }
        if seen("expire-cycle") {
            advice.push(
                "Many keys expire at the same moment: add a random part to the time to live of keys that are written \
                 together."
                    .to_owned(),
            );
        }
        if advice.is_empty() {
            advice.push(
                "Compare the times in LATENCY HISTORY with the server's log and with the load of the machine."
                    .to_owned(),
            );
        }
        advice
    }
}

/// An age in Redis's one unit: `12s`, `3m`, `5h`, `2d`.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    fn four_spikes() -> LatencyMonitor {
        let mut monitor = LatencyMonitor::new(1);
        for (at, ms) in [(84, 100), (84, 50), (85, 20), (86, 300), (87, 10)] {
            monitor.record("command", at, ms * MS);
        }
        monitor
    }

    #[test]
    fn a_second_keeps_its_longest_time() {
        let monitor = four_spikes();
        let samples: Vec<(u64, u32)> =
            monitor.history(b"command").map(|sample| (sample.at, sample.ms)).collect();
        assert_eq!(samples, [(84, 100), (85, 20), (86, 300), (87, 10)]);
        assert_eq!(
            monitor.latest().collect::<Vec<_>>(),
            [LatencyLatest { event: "command", sample: LatencySample { at: 87, ms: 10 }, max_ms: 300 }]
        );
        assert_eq!(monitor.history(b"nope").count(), 0);
    }

    #[test]
    fn graph_is_the_one_of_redis() {
        // The samples and the picture are a session with redis-server 7.0.
        assert_eq!(
            four_spikes().graph(b"command", 87).unwrap(),
            "command - high 300 ms, low 10 ms (all time high 300 ms)\n\
             --------------------------------------------------------------------------------\n  \
             # \n  \
             | \n\
             _ | \n\
             |_|_\n    \n\
             3210\n\
             ssss\n"
        );
        assert_eq!(four_spikes().graph(b"nope", 87), None);
    }

    #[test]
    fn graph_of_one_sample_is_flat() {
        let mut monitor = LatencyMonitor::new(1);
        monitor.record("command", 1000, 10 * MS);
        let graph = monitor.graph(b"command", 1000 + 3 * 86_400).unwrap();
        assert_eq!(graph.lines().skip(2).collect::<Vec<_>>(), [" ", " ", " ", "_", " ", "3", "d"]);
    }

    #[test]
    fn long_graph_continues_in_a_second_block() {
        let mut monitor = LatencyMonitor::new(1);
        for number in 0..83 {
            monitor.record("command", 1000 + number, ((number + 1) % 13 * 7 + 3) * MS);
        }
        let graph = monitor.graph(b"command", 1083).unwrap();
        let lines: Vec<&str> = graph.lines().collect();
        let teeth = |tooth: &str| {
            let whole = tooth.repeat(7);
            whole[..80].to_owned()
        };
        // Redis 7.0 draws this for the same samples.
        assert_eq!(lines[2], teeth("        _o## "));
        assert_eq!(lines[3], teeth("     _o#|||| "));
        assert_eq!(lines[4], teeth("  _o#||||||| "));
        assert_eq!(lines[5], teeth("o#||||||||||_"));
        assert_eq!(lines[6], " ".repeat(80));
        assert_eq!(&lines[7][..26], "1".repeat(24) + "55");
        assert_eq!(lines[10], "");
        assert_eq!(lines[11..], ["   ", "   ", "_o#", "|||", "   ", "321", "sss"]);
    }

    #[test]
    fn doctor_reports_redis_numbers_and_fitting_advice() {
        let report = four_spikes().doctor(87, 10_000);
        assert!(
            report.contains(
                "\n1. command: 4 latency spikes (average 107ms, mean deviation 96ms, period 0.75 sec). \
                 Worst all time event 300ms.\n"
            ),
            "{report}"
        );
        assert!(report.contains("CONFIG SET slowlog-log-slower-than 1000'"), "{report}");
        assert!(!report.contains("quota"), "{report}");
        assert!(!four_spikes().doctor(87, 1000).contains("CONFIG SET"));
        assert!(LatencyMonitor::new(0).doctor(87, 1000).contains("latency-monitor-threshold"));
        assert!(LatencyMonitor::new(5).doctor(87, 1000).contains("No latency spike"));
    }

    #[test]
    fn reset_counts_events_that_existed() {
        let mut monitor = four_spikes();
        monitor.record("fast-command", 90, 5 * MS);
        monitor.record("expire-cycle", 90, 5 * MS);
        assert_eq!(monitor.reset([b"nope".as_slice()]), 0);
        assert_eq!(monitor.reset([b"command".as_slice(), b"command"]), 1);
        assert_eq!(monitor.reset([]), 2);
        assert_eq!(monitor.latest().count(), 0);
    }

    #[test]
    fn threshold_zero_is_off() {
        let mut monitor = LatencyMonitor::new(0);
        assert!(!monitor.is_spike(u64::MAX - 1) && !monitor.is_enabled());
        monitor.set_threshold_ms(100);
        assert!(!monitor.is_spike(99_999_999) && monitor.is_spike(100_000_000));
    }

    proptest! {
        #[test]
        fn merging_two_executors_equals_recording_all_in_one(
            // Steps of 0 to 2 s: seconds that both saw, and histories longer than the ring.
            spikes in proptest::collection::vec(
                (any::<bool>(), prop::sample::select(vec!["command", "fast-command"]), 0u64..3, 1u64..500), 0..500),
        ) {
            let (mut left, mut right, mut all) =
                (LatencyMonitor::new(1), LatencyMonitor::new(1), LatencyMonitor::new(1));
            let mut now = 1_700_000_000;
            for (is_left, event, step, ms) in spikes {
                now += step;
                if is_left { &mut left } else { &mut right }.record(event, now, ms * MS);
                all.record(event, now, ms * MS);
            }
            left.merge(&right);
            prop_assert_eq!(left, all);
        }
    }
}

//! Calls, time and latency histogram of every command.
//!
//! One row of 2,048 bytes per command, all in one allocation that is made once, zeroed by the operating system:
//!
//! ```text
//! word 0   1         2      3       4..8    8..256
//! calls    rejected  nanos  failed  unused  histogram, eight words (one cache line) per power of two
//! ```
//!
//! A row of a command that never runs is never touched, so it costs address space and no memory. A call touches two
//! cache lines: the counters, and the line of its own order of magnitude. Recording is a bounds check, two
//! additions and the bucket: 18 instructions on x86-64 without a branch that can go wrong, of which 9 find the
//! bucket (see [`histogram`]).
//!
//! Time is kept in nanoseconds: a GET takes a fraction of a microsecond, and the sum of truncated microseconds that
//! Redis keeps would be near zero.

use std::fmt::Write;

use super::histogram::{self, BUCKETS};
use super::limits::COMMAND_COUNTER_WORDS;

/// Words of one command's row.
const ROW_WORDS: usize = COMMAND_COUNTER_WORDS + BUCKETS;

/// Bytes that each command of the table takes once it has run.
pub const BYTES_PER_COMMAND: usize = ROW_WORDS * size_of::<u64>();

/// One command's row. Nested, because `vec!` asks the allocator for zeroed pages, instead of writing zeros to all of
/// them, only for arrays of at most 16 elements; it is used flat.
type Row = [[u64; 16]; ROW_WORDS / 16];

const CALLS: usize = 0;
const REJECTED: usize = 1;
// Not beside the calls: two neighbours would be added as one vector, in three times the instructions.
const NANOS: usize = 2;
const FAILED: usize = 3;

/// What was counted for one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommandCounters {
    /// Executions, failed ones included, rejected ones not.
    pub calls: u64,
    /// Time spent in them, in nanoseconds.
    pub nanos: u64,
    /// Refused before execution (arity, permission, memory, ...).
    pub rejected_calls: u64,
    /// Executed and answered with an error.
    pub failed_calls: u64,
}

impl CommandCounters {
    /// Whether the command shows in INFO commandstats.
    pub fn any(&self) -> bool {
        self.calls != 0 || self.rejected_calls != 0 || self.failed_calls != 0
    }
}

/// Statistics of one executor's commands, by the index of the command in the command table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandStats {
    rows: Vec<Row>,
}

impl CommandStats {
    /// Statistics for commands `0..commands`. Takes [`BYTES_PER_COMMAND`] of address space for each.
    pub fn new(commands: usize) -> CommandStats {
        CommandStats { rows: vec![Row::default(); commands] }
    }

    /// How many commands there is room for.
    pub fn commands(&self) -> usize {
        self.rows.len()
    }

    #[inline(always)]
    fn row_mut(&mut self, command: usize) -> &mut [u64] {
        self.rows[command].as_flattened_mut()
    }

    fn row(&self, command: usize) -> &[u64] {
        self.rows[command].as_flattened()
    }

    fn buckets(&self, command: usize) -> &[u64; BUCKETS] {
        self.row(command)[COMMAND_COUNTER_WORDS..].try_into().expect("the histogram ends the row")
    }

    /// Counts one execution that took `nanos` nanoseconds.
    ///
    /// # Panics
    /// When `command` is not below [`CommandStats::commands`].
    #[inline]
    pub fn record(&mut self, command: usize, nanos: u64) {
        let row = self.row_mut(command);
        row[CALLS] += 1;
        row[NANOS] += nanos;
        // A byte cannot leave a row of 256 words, so this index needs no check.
        row[usize::from(COMMAND_COUNTER_WORDS as u8 + histogram::bucket_of(nanos) as u8)] += 1;
    }

    /// Counts an execution, recorded or about to be, that answered with an error.
    pub fn record_failed(&mut self, command: usize) {
        self.row_mut(command)[FAILED] += 1;
    }

    /// Counts a call that was refused before execution. It is not a call.
    pub fn record_rejected(&mut self, command: usize) {
        self.row_mut(command)[REJECTED] += 1;
    }

    /// The counters of one command.
    pub fn counters(&self, command: usize) -> CommandCounters {
        let row = self.row(command);
        CommandCounters {
            calls: row[CALLS],
            nanos: row[NANOS],
            rejected_calls: row[REJECTED],
            failed_calls: row[FAILED],
        }
    }

    /// Executions of all commands: `total_commands_processed`.
    pub fn total_calls(&self) -> u64 {
        (0..self.commands()).map(|command| self.row(command)[CALLS]).sum()
    }

    /// A percentile of a command's durations in nanoseconds, at most 1/8 too high; `None` if it never ran.
    pub fn percentile_nanos(&self, command: usize, percentile: f64) -> Option<u64> {
        if self.row(command)[CALLS] == 0 {
            return None;
        }
        histogram::percentile_nanos(self.buckets(command), percentile)
    }

    /// One command's `histogram_usec` of LATENCY HISTOGRAM: (microseconds, calls that took at most that long).
    pub fn printed_histogram(&self, command: usize) -> Vec<(u64, u64)> {
        if self.row(command)[CALLS] == 0 {
            return Vec::new();
        }
        histogram::printed_histogram(self.buckets(command))
    }

    /// Adds what another executor recorded.
    ///
    /// # Panics
    /// When the two were made for different command tables.
    pub fn merge(&mut self, other: &CommandStats) {
        assert_eq!(self.commands(), other.commands(), "statistics of different command tables");
        for command in 0..other.commands() {
            // Rows that nobody touched stay untouched, in both.
            if other.counters(command).any() {
                for (sum, add) in self.row_mut(command).iter_mut().zip(other.row(command)) {
                    *sum += add;
                }
            }
        }
    }

    /// Forgets everything (CONFIG RESETSTAT).
    pub fn reset(&mut self) {
        for command in 0..self.commands() {
            if self.counters(command).any() {
                self.row_mut(command).fill(0);
            }
        }
    }

    /// Appends the lines of `INFO commandstats`, without its heading. `name_of` gives the name of a command index,
    /// with `|` before a subcommand.
    pub fn write_commandstats<'n>(&self, name_of: impl Fn(usize) -> &'n str, out: &mut String) {
        for command in 0..self.commands() {
            let counted = self.counters(command);
            if !counted.any() {
                continue;
            }
            let usec_per_call =
                if counted.calls == 0 { 0.0 } else { counted.nanos as f64 / 1000.0 / counted.calls as f64 };
            write!(
                out,
                "cmdstat_{}:calls={},usec={},usec_per_call={usec_per_call:.2},rejected_calls={},failed_calls={}\r\n",
                name_of(command),
                counted.calls,
                counted.nanos / 1000,
                counted.rejected_calls,
                counted.failed_calls,
            )
            .expect("a String takes any text");
        }
    }

    /// Appends the lines of `INFO latencystats`, without its heading. `percentiles` is
    /// `latency-tracking-info-percentiles`; Redis's default is 50, 99 and 99.9.
    pub fn write_latencystats<'n>(
        &self,
        name_of: impl Fn(usize) -> &'n str,
        percentiles: &[f64],
        out: &mut String,
    ) {
        for command in 0..self.commands() {
            if self.row(command)[CALLS] == 0 {
                continue;
            }
            write!(out, "latency_percentiles_usec_{}:", name_of(command)).expect("a String takes any text");
            for (index, &percentile) in percentiles.iter().enumerate() {
                let nanos = self.percentile_nanos(command, percentile).expect("the command has calls");
                let comma = if index == 0 { "" } else { "," };
                write!(out, "{comma}p{percentile}={}.{:03}", nanos / 1000, nanos % 1000)
                    .expect("a String takes any text");
            }
            out.push_str("\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: [&str; 4] = ["get", "set", "config|get", "mget"];

    #[test]
    fn info_lines_are_those_of_redis() {
        let mut stats = CommandStats::new(4);
        stats.record(0, 2_000);
        stats.record(0, 12_000);
        stats.record(2, 640);
        stats.record_failed(2);
        stats.record_rejected(3);
        let mut text = String::new();
        stats.write_commandstats(|command| NAMES[command], &mut text);
        assert_eq!(
            text,
            "cmdstat_get:calls=2,usec=14,usec_per_call=7.00,rejected_calls=0,failed_calls=0\r\n\
             cmdstat_config|get:calls=1,usec=0,usec_per_call=0.64,rejected_calls=0,failed_calls=1\r\n\
             cmdstat_mget:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0\r\n"
        );
        text.clear();
        stats.write_latencystats(|command| NAMES[command], &[50.0, 99.0, 99.9], &mut text);
        assert_eq!(
            text,
            "latency_percentiles_usec_get:p50=2.047,p99=12.287,p99.9=12.287\r\n\
             latency_percentiles_usec_config|get:p50=0.703,p99=0.703,p99.9=0.703\r\n"
        );
        assert_eq!(stats.printed_histogram(0), [(2, 1), (16, 2)]);
        assert_eq!(stats.printed_histogram(1), []);
        assert_eq!(stats.total_calls(), 3);
    }

    #[test]
    fn a_command_takes_two_kibibytes() {
        assert_eq!(BYTES_PER_COMMAND, 2048);
    }

    #[test]
    fn reset_forgets_everything() {
        let mut stats = CommandStats::new(3);
        stats.record(1, 5);
        stats.record_rejected(2);
        stats.reset();
        assert_eq!(stats, CommandStats::new(3));
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn a_command_outside_the_table_is_a_bug() {
        CommandStats::new(3).record(3, 1);
    }

    #[derive(Debug, Clone)]
    enum Event {
        Ran(usize, u64),
        Failed(usize),
        Rejected(usize),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (0..4usize, 0u64..1 << 40).prop_map(|(command, nanos)| Event::Ran(command, nanos)),
            1 => (0..4usize).prop_map(Event::Failed),
            1 => (0..4usize).prop_map(Event::Rejected),
        ]
    }

    fn feed(stats: &mut CommandStats, event: &Event) {
        match *event {
            Event::Ran(command, nanos) => stats.record(command, nanos),
            Event::Failed(command) => stats.record_failed(command),
            Event::Rejected(command) => stats.record_rejected(command),
        }
    }

    proptest! {
        #[test]
        fn merging_two_executors_equals_recording_all_in_one(
            events in proptest::collection::vec((any::<bool>(), event()), 0..100),
        ) {
            let (mut left, mut right, mut all) =
                (CommandStats::new(4), CommandStats::new(4), CommandStats::new(4));
            for (is_left, event) in &events {
                feed(if *is_left { &mut left } else { &mut right }, event);
                feed(&mut all, event);
            }
            left.merge(&right);
            prop_assert_eq!(left, all);
        }
    }
}

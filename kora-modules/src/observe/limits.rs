//! Every limit of the observability state, with its reason.

/// Sub-buckets per power of two in a latency histogram: a reported percentile is at most 1/8 above the true one.
/// Eight counters of 8 bytes are one cache line per power of two.
pub const HISTOGRAM_SUB_BUCKETS: usize = 8;

/// Powers of two in a latency histogram: from 64 ns, below which no command is, to 137 s.
pub const HISTOGRAM_OCTAVES: usize = 31;

/// Exponent of the first octave: durations under `2^6` ns share the first bucket.
pub const HISTOGRAM_FIRST_EXPONENT: u32 = 6;

/// Counters (not buckets) per command; eight words are the first cache line of its row.
pub const COMMAND_COUNTER_WORDS: usize = 8;

/// Distinct error prefixes that INFO errorstats keeps. Redis's number: a script can invent prefixes without end.
pub const ERROR_PREFIXES_MAX: usize = 128;

/// Bytes of an error line, the `-` counted, in which its prefix must end. Redis's number.
pub const ERROR_PREFIX_SCAN_BYTES: usize = 32;

/// Arguments that a slow log entry shows. Redis's number.
pub const SLOWLOG_ARGS_MAX: usize = 32;

/// Bytes of one argument that a slow log entry shows. Redis's number.
pub const SLOWLOG_ARG_BYTES_MAX: usize = 128;

/// Seconds with a spike that the latency monitor remembers per event. Redis's number.
pub const LATENCY_HISTORY_SAMPLES: usize = 160;

/// Columns of LATENCY GRAPH. Redis's number.
pub const LATENCY_GRAPH_COLUMNS: usize = 80;

/// Rows of LATENCY GRAPH. Redis's number.
pub const LATENCY_GRAPH_ROWS: usize = 4;

/// Periods over which an instantaneous rate is averaged. Redis's number.
pub const RATE_SAMPLES: usize = 16;

/// One such period, in milliseconds. Redis's number.
pub const RATE_PERIOD_MS: u64 = 100;

const _: () = assert!(HISTOGRAM_SUB_BUCKETS.is_power_of_two());
// A row is addressed with a shift, and a bucket's place in it with one byte.
const _: () = assert!(COMMAND_COUNTER_WORDS + HISTOGRAM_OCTAVES * HISTOGRAM_SUB_BUCKETS == 256);
const _: () = assert!(HISTOGRAM_FIRST_EXPONENT >= HISTOGRAM_SUB_BUCKETS.trailing_zeros());
const _: () = assert!(HISTOGRAM_FIRST_EXPONENT as usize + HISTOGRAM_OCTAVES < 63);

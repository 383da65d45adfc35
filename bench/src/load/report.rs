//! What a run has measured, and how it is told.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::json::Json;
use crate::sys::process::CpuTime;

/// Different error texts kept for the report.
pub(crate) const ERROR_SAMPLES: usize = 5;
/// Latencies above are recorded as this.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;
/// A generator that uses more of its cores than this was itself the limit.
const BUSY_LIMIT: f64 = 0.95;

/// One thread's part.
pub(crate) struct ThreadReport {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) nulls: u64,
    pub(crate) unsent: u64,
    pub(crate) error_samples: Vec<String>,
    pub(crate) latency: Histogram<u64>,
    /// From the start to the last reply.
    pub(crate) elapsed: Duration,
    /// CPU time of the generator's thread.
    pub(crate) cpu: Duration,
}

impl ThreadReport {
    pub(crate) fn new() -> ThreadReport {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3);
        ThreadReport {
            requests: 0,
            errors: 0,
            nulls: 0,
            unsent: 0,
            error_samples: Vec::new(),
            latency: latency.expect("constant bounds that hdrhistogram documents as valid"),
            elapsed: Duration::ZERO,
            cpu: Duration::ZERO,
        }
    }
}

/// Records `count` requests that took `ns` each.
#[inline]
pub(crate) fn latencies(histogram: &mut Histogram<u64>, ns: u64, count: u64) {
    histogram.saturating_record_n(ns, count);
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Requests that were answered, errors included.
    pub requests: u64,
    /// Error replies.
    pub errors: u64,
    /// The first different error texts.
    pub error_samples: Vec<String>,
    /// Null replies: GETs that found nothing.
    pub nulls: u64,
    /// Open loop: requests that were due before the end and could not be sent any more. They are in the
    /// percentiles with the time that they had waited by then.
    pub unsent: u64,
    /// From the start to the last reply, of the slowest thread.
    pub elapsed: Duration,
    /// Nanoseconds per request: from the send in a closed loop, from when it was due in an open one.
    pub latency: Histogram<u64>,
    /// CPU time that the server used meanwhile, user and system, if its pid was given.
    pub server_cpu: Option<(Duration, Duration)>,
    /// CPU time that the generator's threads used.
    pub load_cpu: Duration,
    /// How many threads the generator had.
    pub threads: usize,
}

impl Report {
    pub(crate) fn collect(parts: Vec<ThreadReport>, server: Option<(CpuTime, CpuTime)>) -> Report {
        let mut whole = ThreadReport::new();
        let threads = parts.len();
        for part in parts {
            whole.requests += part.requests;
            whole.errors += part.errors;
            whole.nulls += part.nulls;
            whole.unsent += part.unsent;
            whole.elapsed = whole.elapsed.max(part.elapsed);
            whole.cpu += part.cpu;
            whole.latency.add(part.latency).expect("all threads have the same bounds");
            for text in part.error_samples {
                if whole.error_samples.len() < ERROR_SAMPLES && !whole.error_samples.contains(&text) {
                    whole.error_samples.push(text);
                }
            }
        }
        let server_cpu = server.map(|(before, after)| {
            (after.user.saturating_sub(before.user), after.sys.saturating_sub(before.sys))
        });
        Report {
            requests: whole.requests,
            errors: whole.errors,
            error_samples: whole.error_samples,
            nulls: whole.nulls,
            unsent: whole.unsent,
            elapsed: whole.elapsed,
            latency: whole.latency,
            server_cpu,
            load_cpu: whole.cpu,
            threads,
        }
    }

    /// Answered requests per second.
    pub fn throughput(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// Latency in microseconds that `percentile` percent of the requests stayed within.
    pub fn percentile_us(&self, percentile: f64) -> f64 {
        self.latency.value_at_percentile(percentile) as f64 / 1e3
    }

    /// The longest latency in microseconds.
    pub fn max_us(&self) -> f64 {
        self.latency.max() as f64 / 1e3
    }

    /// Server CPU per request in microseconds: user and system.
    pub fn server_cpu_us(&self) -> Option<(f64, f64)> {
        let per = |time: Duration| time.as_secs_f64() * 1e6 / self.requests as f64;
        self.server_cpu.map(|(user, sys)| (per(user), per(sys)))
    }

    /// The generator's own CPU per request in microseconds.
    pub fn load_cpu_us(&self) -> f64 {
        self.load_cpu.as_secs_f64() * 1e6 / self.requests as f64
    }

    /// Part of the time in which the generator's threads ran, 1.0 when none ever waited.
    pub fn load_busy(&self) -> f64 {
        self.load_cpu.as_secs_f64() / (self.elapsed.as_secs_f64() * self.threads as f64)
    }

    /// Whether the server could have done more than this generator asked for.
    pub fn load_was_the_limit(&self) -> bool {
        self.load_busy() > BUSY_LIMIT
    }

    pub(crate) fn json(&self) -> Json {
        let latency = Json::object([
            ("mean", (self.latency.mean() / 1e3).into()),
            ("p50", self.percentile_us(50.0).into()),
            ("p90", self.percentile_us(90.0).into()),
            ("p99", self.percentile_us(99.0).into()),
            ("p99.9", self.percentile_us(99.9).into()),
            ("p99.99", self.percentile_us(99.99).into()),
            ("max", self.max_us().into()),
        ]);
        let cpu = self.server_cpu_us().map_or(Json::Null, |(user, sys)| {
            Json::object([("user", user.into()), ("sys", sys.into()), ("total", (user + sys).into())])
        });
        let samples: Vec<Json> = self.error_samples.iter().map(|s| Json::from(s.as_str())).collect();
        Json::object([
            ("requests", self.requests.into()),
            ("errors", self.errors.into()),
            ("error_samples", samples.into()),
            ("nulls", self.nulls.into()),
            ("unsent", self.unsent.into()),
            ("seconds", self.elapsed.as_secs_f64().into()),
            ("requests_per_second", self.throughput().into()),
            ("latency_us", latency),
            ("server_cpu_us_per_request", cpu),
            ("load_cpu_us_per_request", self.load_cpu_us().into()),
            ("load_busy", self.load_busy().into()),
        ])
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        writeln!(
            f,
            "requests      {} in {seconds:.2} s, {:.0} per second",
            self.requests,
            self.throughput()
        )?;
        writeln!(
            f,
            "latency us    p50 {:.1}  p90 {:.1}  p99 {:.1}  p99.9 {:.1}  p99.99 {:.1}  max {:.1}",
            self.percentile_us(50.0),
            self.percentile_us(90.0),
            self.percentile_us(99.0),
            self.percentile_us(99.9),
            self.percentile_us(99.99),
            self.max_us()
        )?;
        if let Some((user, sys)) = self.server_cpu_us() {
            let total = user + sys;
            writeln!(f, "server CPU    {total:.3} us per request (user {user:.3}, sys {sys:.3})")?;
        }
        let busy = self.load_busy() * 100.0;
        writeln!(f, "load CPU      {:.3} us per request, {busy:.0} % of its threads", self.load_cpu_us())?;
        if self.load_was_the_limit() {
            writeln!(f, "              the generator was the limit: the server can do more")?;
        }
        writeln!(f, "nulls         {}", self.nulls)?;
        if self.unsent > 0 {
            writeln!(f, "unsent        {} (the rate was not reached; they count as late)", self.unsent)?;
        }
        write!(f, "errors        {}", self.errors)?;
        for text in &self.error_samples {
            write!(f, "\n              {text}")?;
        }
        Ok(())
    }
}

//! Figures of runs, and their medians over the rounds.

use std::collections::BTreeMap;

/// One kind of figure. The order is that of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    BytesPerKey,
    BytesPerElement,
    Cpu,
    CpuUser,
    CpuSys,
    Throughput,
    P50,
    P99,
    P999,
    Max,
    MaxWithoutGrowth,
    IdleCpu,
    Start,
    /// The generator's own CPU; not in the tables unless it was the limit.
    LoadBusy,
    /// Part of the cores' time that other processes took; not in the tables unless it disturbed.
    Others,
}

impl Metric {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Metric::BytesPerKey => "bytes per key above key+value",
            Metric::BytesPerElement => "bytes per element",
            Metric::Cpu => "CPU us/request",
            Metric::CpuUser => "user us",
            Metric::CpuSys => "sys us",
            Metric::Throughput => "requests/s",
            Metric::P50 => "p50 us",
            Metric::P99 => "p99 us",
            Metric::P999 => "p99.9 us",
            Metric::Max => "max us",
            Metric::MaxWithoutGrowth => "max us, then without growth",
            Metric::IdleCpu => "CPU ms per idle second",
            Metric::Start => "ms to first answer",
            Metric::LoadBusy => "generator busy",
            Metric::Others => "other processes",
        }
    }

    /// The name in JSON.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Metric::BytesPerKey => "bytes_per_key",
            Metric::BytesPerElement => "bytes_per_element",
            Metric::Cpu => "cpu_us_per_request",
            Metric::CpuUser => "cpu_user_us_per_request",
            Metric::CpuSys => "cpu_sys_us_per_request",
            Metric::Throughput => "requests_per_second",
            Metric::P50 => "p50_us",
            Metric::P99 => "p99_us",
            Metric::P999 => "p99.9_us",
            Metric::Max => "max_us",
            Metric::MaxWithoutGrowth => "max_without_growth_us",
            Metric::IdleCpu => "idle_cpu_ms_per_second",
            Metric::Start => "start_ms",
            Metric::LoadBusy => "load_busy",
            Metric::Others => "other_processes",
        }
    }

    /// The value for people: three significant digits, thousands grouped.
    pub(crate) fn format(self, value: f64) -> String {
        match value.abs() {
            v if v >= 1e4 => grouped(value.round() as i64),
            v if v >= 100.0 => format!("{value:.0}"),
            v if v >= 10.0 => format!("{value:.1}"),
            _ => format!("{value:.2}"),
        }
    }
}

fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = if value < 0 { String::from("-") } else { String::new() };
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The figures of one run.
pub(crate) type Sample = BTreeMap<Metric, f64>;

/// Middle and ends of a figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` without values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let n = values.len();
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Spread { median: (values[(n - 1) / 2] + values[n / 2]) / 2.0, min, max })
    }
}

/// All rounds of one subject in one scenario; `None` where a round failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounds(pub(crate) Vec<Option<Sample>>);

impl Rounds {
    pub(crate) fn spread(&self, metric: Metric) -> Option<Spread> {
        Spread::of(self.0.iter().flatten().filter_map(|sample| sample.get(&metric).copied()))
    }

    /// The figure as a multiple of the baseline's, round by round, so that what disturbed a whole round
    /// falls out.
    pub(crate) fn ratio(&self, baseline: &Rounds, metric: Metric) -> Option<Spread> {
        let figure = |sample: &Option<Sample>| sample.as_ref()?.get(&metric).copied();
        let pairs = self.0.iter().zip(&baseline.0);
        let ratios =
            pairs.filter_map(|(mine, base)| Some(figure(mine)? / figure(base).filter(|&b| b > 0.0)?));
        Spread::of(ratios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(values: &[Option<f64>]) -> Rounds {
        Rounds(values.iter().map(|v| v.map(|v| Sample::from([(Metric::Cpu, v)]))).collect())
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_middles() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ratios_are_made_within_a_round() {
        let mine = rounds(&[Some(5.0), Some(50.0), None]);
        let base = rounds(&[Some(10.0), Some(100.0), Some(7.0)]);
        assert_eq!(mine.ratio(&base, Metric::Cpu), Some(Spread { median: 0.5, min: 0.5, max: 0.5 }));
        assert_eq!(mine.ratio(&rounds(&[None]), Metric::Cpu), None);
        assert_eq!(mine.spread(Metric::P50), None);
    }

    #[test]
    fn figures_are_written_for_people() {
        let written =
            [1_234_567.8, 12_345.0, 999.9, 45.67, 2.345, -20_000.0, 0.0].map(|v| Metric::Cpu.format(v));
        assert_eq!(written, ["1,234,568", "12,345", "1000", "45.7", "2.35", "-20,000", "0.00"]);
    }
}

//! All results of a comparison: as a Markdown table, as JSON, as the data of the chart.

use std::fmt::Write;

use super::chart::{Bar, Group, Panel};
use super::figures::{Metric, Rounds, Spread};
use super::scenario::{Kind, Scenario};
use crate::json::Json;

/// A generator busier than this was the limit, and throughput is its own.
const BUSY_LIMIT: f64 = 0.95;

/// Other processes that took more of the cores than this have disturbed the measurement.
const OTHERS_LIMIT: f64 = 0.05;

/// One subject's rounds in one scenario.
pub(crate) struct Row {
    pub(crate) subject: String,
    pub(crate) version: String,
    pub(crate) rounds: Rounds,
    /// What went wrong, once per kind.
    pub(crate) failures: Vec<String>,
}

/// One scenario with the subjects in the order of their alternation.
pub(crate) struct Section {
    pub(crate) scenario: Scenario,
    pub(crate) title: String,
    pub(crate) baseline: String,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Results {
    /// Machine and command, as label and text.
    pub(crate) about: Vec<(&'static str, String)>,
    pub(crate) sections: Vec<Section>,
}

impl Section {
    fn baseline(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.subject == self.baseline)
    }

    fn columns(&self) -> &'static [Metric] {
        use Metric::*;
        match self.scenario.kind {
            Kind::Load { .. } | Kind::Command(_) => &[Cpu, CpuUser, CpuSys, Throughput, P50, P99, P999],
            Kind::Memory { .. } => &[BytesPerKey, Throughput],
            Kind::Elements(_) => &[BytesPerElement],
            Kind::Growth => &[Throughput, P50, P99, P999, Max, MaxWithoutGrowth],
            Kind::Idle => &[IdleCpu, Start],
        }
    }

    /// Figures that are also told as multiples of the baseline's.
    fn ratios(&self) -> &'static [(Metric, &'static str)] {
        match self.scenario.kind {
            Kind::Load { .. } | Kind::Command(_) => {
                &[(Metric::Cpu, "CPU ratio"), (Metric::Throughput, "throughput ratio")]
            }
            Kind::Memory { .. } => &[(Metric::BytesPerKey, "memory ratio")],
            Kind::Elements(_) => &[(Metric::BytesPerElement, "memory ratio")],
            Kind::Growth => &[(Metric::Max, "max ratio")],
            Kind::Idle => &[],
        }
    }

    fn markdown(&self, out: &mut String) {
        let columns = self.columns();
        let ratios = self.ratios();
        let heads: Vec<&str> = columns.iter().map(|m| m.label()).chain(ratios.iter().map(|r| r.1)).collect();
        let _ = writeln!(out, "\n### {}: {}\n", self.scenario.name, self.title);
        let _ = writeln!(out, "| server | {} |", heads.join(" | "));
        let _ = writeln!(out, "|---|{}", "---:|".repeat(heads.len()));
        for row in &self.rows {
            let name = if row.version.is_empty() {
                row.subject.clone()
            } else {
                format!("{} ({})", row.subject, row.version)
            };
            let mut cells = vec![name];
            for &metric in columns {
                cells.push(row.rounds.spread(metric).map_or("-".into(), |s| spread(metric, s)));
            }
            for &(metric, _) in ratios {
                let ratio = self.baseline().and_then(|base| row.rounds.ratio(&base.rounds, metric));
                cells.push(ratio.map_or("-".into(), |r| format!("{:.2}", r.median)));
            }
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
        for row in &self.rows {
            match row.rounds.spread(Metric::LoadBusy) {
                Some(busy) if busy.median > BUSY_LIMIT => {
                    let percent = busy.median * 100.0;
                    let _ = writeln!(
                        out,
                        "\n{}: the generator was busy for {percent:.0} % of the time, so throughput is its limit, \
                         not the server's.",
                        row.subject
                    );
                }
                _ => {}
            }
            match row.rounds.spread(Metric::Others) {
                Some(others) if others.max > OTHERS_LIMIT => {
                    let percent = others.max * 100.0;
                    let _ = writeln!(
                        out,
                        "\n{}: other processes took up to {percent:.0} % of the cores; repeat it on a quiet machine.",
                        row.subject
                    );
                }
                _ => {}
            }
            for failure in &row.failures {
                let _ = writeln!(out, "\n{} failed: {failure}", row.subject);
            }
        }
    }

    fn json(&self) -> Json {
        let row = |row: &Row| {
            let sample = |sample: &Option<super::figures::Sample>| match sample {
                None => Json::Null,
                Some(figures) => {
                    Json::Object(figures.iter().map(|(m, v)| (m.key().to_string(), (*v).into())).collect())
                }
            };
            let rounds: Vec<Json> = row.rounds.0.iter().map(sample).collect();
            let failures: Vec<Json> = row.failures.iter().map(|f| f.as_str().into()).collect();
            let ratio = |&(metric, _): &(Metric, &str)| {
                let ratio = self.baseline().and_then(|base| row.rounds.ratio(&base.rounds, metric));
                (metric.key().to_string(), ratio.map(|r| r.median).into())
            };
            let median = |metric: &Metric| {
                (metric.key().to_string(), row.rounds.spread(*metric).map(|s| s.median).into())
            };
            Json::object([
                ("server", row.subject.as_str().into()),
                ("version", row.version.as_str().into()),
                ("median", Json::Object(self.columns().iter().map(median).collect())),
                ("ratio", Json::Object(self.ratios().iter().map(ratio).collect())),
                ("rounds", rounds.into()),
                ("failures", failures.into()),
            ])
        };
        Json::object([
            ("scenario", self.scenario.name.as_str().into()),
            ("title", self.title.as_str().into()),
            ("baseline", self.baseline.as_str().into()),
            ("servers", self.rows.iter().map(row).collect::<Vec<_>>().into()),
        ])
    }

    fn group(&self, metric: Metric) -> Option<Group> {
        let bars: Vec<Bar> = self
            .rows
            .iter()
            .filter_map(|row| {
                let spread = row.rounds.spread(metric)?;
                Some(Bar { label: row.subject.clone(), spread, text: metric.format(spread.median) })
            })
            .collect();
        (!bars.is_empty()).then(|| Group { title: self.scenario.name.clone(), bars })
    }
}

fn spread(metric: Metric, spread: Spread) -> String {
    let [median, min, max] = [spread.median, spread.min, spread.max].map(|v| metric.format(v));
    if min == max {
        median
    } else {
        format!("{median} ({min}..{max})")
    }
}

/// Kinds of collections that were measured one after the other as one table: a line for each, a column for each server.
fn elements(sections: &[Section], out: &mut String) {
    let name = |row: &Row| match row.version.as_str() {
        "" => row.subject.clone(),
        version => format!("{} ({version})", row.subject),
    };
    let heads: Vec<String> = sections[0].rows.iter().map(name).collect();
    let baseline = &sections[0].baseline;
    let _ = writeln!(out, "\n### elements: resident memory, bytes per element (as a part of {baseline}'s)\n");
    let _ = writeln!(out, "| | {} |", heads.join(" | "));
    let _ = writeln!(out, "|---|{}", "---:|".repeat(heads.len()));
    for section in sections {
        let cell = |row: &Row| {
            let Some(bytes) = row.rounds.spread(Metric::BytesPerElement) else { return "-".to_owned() };
            let bytes = spread(Metric::BytesPerElement, bytes);
            let base = section.baseline().filter(|base| base.subject != row.subject);
            match base.and_then(|base| row.rounds.ratio(&base.rounds, Metric::BytesPerElement)) {
                Some(ratio) => format!("{bytes} ({:.2})", ratio.median),
                None => bytes,
            }
        };
        let cells: Vec<String> = section.rows.iter().map(cell).collect();
        let title = section.title.trim_start_matches("resident memory, ");
        let _ = writeln!(out, "| {title} | {} |", cells.join(" | "));
    }
    for section in sections {
        for (row, failure) in section.rows.iter().flat_map(|row| row.failures.iter().map(move |f| (row, f))) {
            let _ = writeln!(out, "\n{}, {} failed: {failure}", section.scenario.name, row.subject);
        }
    }
}

impl Results {
    pub(crate) fn failed(&self) -> bool {
        self.sections.iter().flat_map(|s| &s.rows).any(|row| !row.failures.is_empty())
    }

    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        for (label, text) in &self.about {
            let _ = writeln!(out, "- {label}: {text}");
        }
        let is_elements = |section: &Section| matches!(section.scenario.kind, Kind::Elements(_));
        let mut rest = &self.sections[..];
        while let Some(first) = rest.first() {
            let together = rest.iter().take_while(|section| is_elements(section)).count();
            if together > 1 {
                elements(&rest[..together], &mut out);
            } else {
                first.markdown(&mut out);
            }
            rest = &rest[together.max(1)..];
        }
        out
    }

    pub(crate) fn json(&self) -> Json {
        let about =
            self.about.iter().map(|(label, text)| (label.to_string(), text.as_str().into())).collect();
        let sections: Vec<Json> = self.sections.iter().map(Section::json).collect();
        Json::object([("about", Json::Object(about)), ("scenarios", sections.into())])
    }

    /// One panel per figure that is worth a picture and was measured.
    pub(crate) fn panels(&self) -> Vec<Panel> {
        [
            (Metric::Cpu, "Server CPU per request, microseconds", "less is better"),
            (Metric::Throughput, "Throughput, requests per second", "more is better"),
            (Metric::BytesPerKey, "Resident memory per key above key and value, bytes", "less is better"),
            (Metric::BytesPerElement, "Resident memory per element of collections, bytes", "less is better"),
            (Metric::Max, "Longest wait of a command, microseconds", "less is better"),
        ]
        .into_iter()
        .filter_map(|(metric, title, note)| {
            let shown = |section: &&Section| match metric {
                Metric::Max => section.scenario.kind == Kind::Growth,
                Metric::Throughput => matches!(section.scenario.kind, Kind::Load { .. } | Kind::Command(_)),
                _ => true,
            };
            let groups: Vec<Group> =
                self.sections.iter().filter(shown).filter_map(|section| section.group(metric)).collect();
            (!groups.is_empty()).then(|| Panel { title: title.into(), note: note.into(), groups })
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::figures::Sample;

    fn row(subject: &str, cpu: &[f64], busy: f64) -> Row {
        let sample = |&c: &f64| {
            Some(Sample::from([(Metric::Cpu, c), (Metric::Throughput, 1e5 / c), (Metric::LoadBusy, busy)]))
        };
        let rounds = Rounds(cpu.iter().map(sample).collect());
        Row { subject: subject.into(), version: "1.0".into(), rounds, failures: vec![] }
    }

    fn results() -> Results {
        let scenario = Scenario::named("c50").unwrap().remove(0);
        let title = scenario.title(256);
        let mut rows =
            vec![row("redis-server", &[10.0, 11.0, 12.0], 0.5), row("kora", &[5.0, 6.6, 6.0], 0.99)];
        rows[1].failures.push("told so".into());
        let section = Section { scenario, title, baseline: "redis-server".into(), rows };
        Results { about: vec![("kernel", "6.1".into())], sections: vec![section] }
    }

    #[test]
    fn the_table_has_medians_spreads_ratios_and_warnings() {
        let text = results().markdown();
        assert!(
            text.starts_with("- kernel: 6.1\n\n### c50: 50 connections, no pipeline, SET and GET"),
            "{text}"
        );
        assert!(text.contains("| redis-server (1.0) | 11.0 (10.0..12.0) | - | - |"), "{text}");
        assert!(text.contains("| kora (1.0) | 6.00 (5.00..6.60) |"), "{text}");
        assert!(text.contains("| 0.50 | 2.00 |\n"), "{text}");
        assert!(text.contains("kora: the generator was busy for 99 %"), "{text}");
        assert!(text.contains("kora failed: told so"), "{text}");
        assert!(results().failed());
    }

    #[test]
    fn collections_share_a_table() {
        let section = |name: &str, ours: f64| {
            let scenario = Scenario::named(name).unwrap().remove(0);
            let row = |subject: &str, bytes: f64| Row {
                subject: subject.into(),
                version: String::new(),
                rounds: Rounds(vec![Some(Sample::from([(Metric::BytesPerElement, bytes)]))]),
                failures: vec![],
            };
            let title = scenario.title(0);
            let rows = vec![row("redis-server", 20.0), row("kora", ours)];
            Section { scenario, title, baseline: "redis-server".into(), rows }
        };
        let mut results = results();
        results.sections.extend([section("elements-hash-10", 15.0), section("elements-zset-1m", 12.0)]);
        let text = results.markdown();
        assert!(text.contains("| | redis-server | kora |\n|---|---:|---:|\n"), "{text}");
        assert!(text.contains("| hashes of 10 fields | 20.0 | 15.0 (0.75) |\n| a sorted set of"), "{text}");
    }

    #[test]
    fn the_json_has_every_round() {
        let text = results().json().to_string();
        assert!(text.contains("\"ratio\":{\"cpu_us_per_request\":0.5,\"requests_per_second\":2}"), "{text}");
        assert!(text.contains("\"cpu_us_per_request\":6.6"), "{text}");
    }

    #[test]
    fn only_measured_figures_have_panels() {
        let panels = results().panels();
        let titles: Vec<&str> = panels.iter().map(|p| p.title.split(',').next().unwrap()).collect();
        assert_eq!(titles, ["Server CPU per request", "Throughput"]);
        assert_eq!(panels[0].groups[0].bars.len(), 2);
    }
}

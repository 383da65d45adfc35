//! What is measured, by name.
//!
//! | name | load |
//! |---|---|
//! | `c50`, `c50p16`, `c1` | 50 connections, the same with pipeline 16, one connection; SET and GET in turn |
//! | `...-set`, `...-get` | only SETs, only GETs |
//! | `c50-w2`, `c50p16-w2` | Kora only: two workers against one, server and load sharing two cores |
//! | `c50-cluster-w2`, `c50p16-cluster-w2` | the same through one port per executor |
//! | `hset`, `hget`, ... (see `commands`) | one command on a collection, 50 connections, pipeline 16 |
//! | `memory-8`, `memory-64` | resident bytes per key above key and value |
//! | `elements-hash-10`, ... (see `elements`) | resident bytes per element of collections |
//! | `growth` | from none to many keys: the longest wait of a command |
//! | `idle` | CPU time of a server with 50 silent connections, time from start to first answer |

use super::{commands, elements};
use crate::load::Ratio;

/// One thing to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Load {
        shape: Shape,
        placement: Placement,
    },
    Memory {
        value_size: usize,
    },
    /// The case of this number in `elements`.
    Elements(usize),
    Growth,
    Idle,
    /// The case of this number in `commands`.
    Command(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) pipeline: usize,
    pub(crate) ratio: Ratio,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Server and load on their own cores; every subject.
    Apart,
    /// Server and load share `workers` cores; Kora with one worker against Kora with so many.
    Shared { workers: usize, cluster: bool },
}

const MIXED: Ratio = Ratio { sets: 1, gets: 1 };
const SHAPES: [(&str, usize, usize); 3] = [("c50", 50, 1), ("c50p16", 50, 16), ("c1", 1, 1)];
const HELP: &str = "scenarios are c50, c50p16, c1, each also with -set or -get; c50-w2, c50p16-w2, \
    c50-cluster-w2, c50p16-cluster-w2 (or another number of workers); memory-8, memory-64, growth, idle; \
    hset, hget, lpush, lpop, sadd, zadd, zrange, xadd, incr, setbit, pfadd; zset-1m-zadd, zset-1m-zrank, zset-1m-zpopmin; \
    elements-hash-10, elements-set-100-int, elements-set-100-str, elements-zset-100, elements-zset-1m, elements-list-100-int, \
    elements-list-100-str, elements-list-1m-int, elements-list-1m-str, elements-stream-1m; \
    and the groups load, w2, cluster-w2, memory, elements, commands, zset-1m, all";

impl Scenario {
    /// The scenarios of a name, several for a group.
    pub(crate) fn named(name: &str) -> Result<Vec<Scenario>, String> {
        let collections = match name {
            "commands" => commands::group(false),
            "zset-1m" => commands::group(true),
            "elements" => elements::group(),
            _ => Vec::new(),
        };
        let group: &[&str] = match name {
            "load" => &["c50", "c50p16", "c1"],
            "w2" => &["c50-w2", "c50p16-w2"],
            "cluster-w2" => &["c50-cluster-w2", "c50p16-cluster-w2"],
            "memory" => &["memory-8", "memory-64"],
            "all" => &[
                "load",
                "c50-set",
                "c50-get",
                "c50p16-set",
                "c50p16-get",
                "w2",
                "cluster-w2",
                "memory",
                "elements",
                "commands",
                "zset-1m",
                "growth",
                "idle",
            ],
            _ => &collections,
        };
        if !group.is_empty() {
            return group
                .iter()
                .map(|n| Scenario::named(n))
                .collect::<Result<Vec<_>, _>>()
                .map(|v| v.concat());
        }
        match kind(name) {
            Some(kind) => Ok(vec![Scenario { name: name.into(), kind }]),
            None => Err(format!("there is no scenario \"{name}\"; {HELP}")),
        }
    }

    /// One line for people.
    pub(crate) fn title(&self, value_size: usize) -> String {
        match self.kind {
            Kind::Load { shape, placement } => {
                let connections = match shape.connections {
                    1 => "1 connection".to_string(),
                    n => format!("{n} connections"),
                };
                let pipeline = match shape.pipeline {
                    1 => "no pipeline".to_string(),
                    p => format!("pipeline {p}"),
                };
                let commands = match shape.ratio {
                    Ratio { gets: 0, .. } => "SET",
                    Ratio { sets: 0, .. } => "GET",
                    _ => "SET and GET in turn",
                };
                let placement = match placement {
                    Placement::Apart => String::new(),
                    Placement::Shared { workers, cluster } => {
                        let ports = if cluster { " through cluster ports" } else { "" };
                        format!(", {workers} workers{ports} and the load on the same {workers} cores")
                    }
                };
                format!("{connections}, {pipeline}, {commands}, {value_size}-byte values{placement}")
            }
            Kind::Memory { value_size } => {
                format!("resident memory, 16-byte keys and {value_size}-byte values")
            }
            Kind::Elements(index) => format!("resident memory, {}", elements::CASES[index].title),
            Kind::Growth => "from an empty server to many keys, 50 connections, no pipeline, SET".into(),
            Kind::Command(index) => {
                let case = &commands::CASES[index];
                format!("50 connections, pipeline 16, {} requests of `{}`", case.requests, case.load)
            }
            Kind::Idle => "50 silent connections".into(),
        }
    }
}

fn kind(name: &str) -> Option<Kind> {
    if let Some(index) = commands::named(name) {
        return Some(Kind::Command(index));
    }
    if let Some(index) = elements::named(name) {
        return Some(Kind::Elements(index));
    }
    match name {
        "memory-8" => return Some(Kind::Memory { value_size: 8 }),
        "memory-64" => return Some(Kind::Memory { value_size: 64 }),
        "growth" => return Some(Kind::Growth),
        "idle" => return Some(Kind::Idle),
        _ => {}
    }
    let (shape, rest) = name.split_once('-').unwrap_or((name, ""));
    let &(_, connections, pipeline) = SHAPES.iter().find(|s| s.0 == shape)?;
    let (ratio, placement) = match rest {
        "" => (MIXED, Placement::Apart),
        "set" => (Ratio { sets: 1, gets: 0 }, Placement::Apart),
        "get" => (Ratio { sets: 0, gets: 1 }, Placement::Apart),
        shared => {
            let (cluster, workers) = match shared.strip_prefix("cluster-") {
                Some(rest) => (true, rest),
                None => (false, shared),
            };
            let workers = workers.strip_prefix('w')?.parse().ok().filter(|&w| (2..=64).contains(&w))?;
            // Every thread of the load talks to every executor.
            let enough = connections >= if cluster { workers * workers } else { workers };
            (MIXED, enough.then_some(Placement::Shared { workers, cluster })?)
        }
    };
    Some(Kind::Load { shape: Shape { connections, pipeline, ratio }, placement })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(name: &str) -> Vec<String> {
        Scenario::named(name).unwrap().into_iter().map(|s| s.name).collect()
    }

    #[test]
    fn groups_expand_and_names_are_themselves() {
        assert_eq!(names("load"), ["c50", "c50p16", "c1"]);
        assert_eq!(names("cluster-w2"), ["c50-cluster-w2", "c50p16-cluster-w2"]);
        assert_eq!(names("c1-get"), ["c1-get"]);
        assert_eq!(names("all").len(), 15 + commands::CASES.len() + elements::CASES.len());
    }

    #[test]
    fn names_mean_what_they_say() {
        let kind = |name: &str| Scenario::named(name).unwrap()[0].kind;
        let shape = Shape { connections: 50, pipeline: 16, ratio: Ratio { sets: 1, gets: 0 } };
        assert_eq!(kind("c50p16-set"), Kind::Load { shape, placement: Placement::Apart });
        let shape = Shape { connections: 50, pipeline: 1, ratio: MIXED };
        let placement = Placement::Shared { workers: 4, cluster: true };
        assert_eq!(kind("c50-cluster-w4"), Kind::Load { shape, placement });
        assert_eq!(kind("elements-hash-10"), Kind::Elements(0));
        assert_eq!(kind("memory-64"), Kind::Memory { value_size: 64 });
    }

    #[test]
    fn unknown_names_are_answered_with_the_known_ones() {
        for bad in ["", "c5", "c50-w1", "c50-w", "c50-x", "c1-w2", "c50-cluster", "memory-9", "c50-w2-set"] {
            let problem = Scenario::named(bad).unwrap_err();
            assert!(problem.contains(&format!("\"{bad}\"")) && problem.contains("c50p16"), "{problem}");
        }
    }
}

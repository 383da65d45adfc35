//! Commands on collections: what each needs to be there before, and what is sent.
//!
//! Every subject gets the same number of requests, so that all do the same work: at a fixed time a faster server would have
//! a larger collection at the end.

/// One command to measure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// Name of the scenario.
    pub(crate) name: &'static str,
    /// Sent once for each of the keys before, if anything.
    pub(crate) fill: Option<&'static str>,
    /// What is measured.
    pub(crate) load: &'static str,
    /// Number of different `__key__`s.
    pub(crate) keys: u64,
    /// Requests that are measured.
    pub(crate) requests: u64,
}

const fn case(name: &'static str, fill: Option<&'static str>, load: &'static str, keys: u64) -> Case {
    Case { name, fill, load, keys, requests: 1_000_000 }
}

/// The commands of the group `commands`, then those of the group `zset-1m`.
pub(crate) const CASES: &[Case] = &[
    case("hset", None, "HSET hash:__random__ __key__ __data__", 100_000),
    case("hget", Some("HSET hash field:__key__ __data__"), "HGET hash field:__key__", 100_000),
    case("lpush", None, "LPUSH list:__key__ __data__", 100_000),
    case("lpop", Some("RPUSH list:__key__ a b c d e f g h i j k l m n o p"), "LPOP list:__key__", 100_000),
    case("sadd", None, "SADD set __key__", 100_000),
    case("zadd", Some("ZADD zset __random__ __key__"), "ZADD zset __random__ __key__", 100_000),
    case("zrange", Some("ZADD zset __random__ __key__"), "ZRANGE zset 50000 50009", 100_000),
    case("xadd", None, "XADD stream * field __key__", 100_000),
    case("incr", Some("SET counter:__key__ 7"), "INCR counter:__key__", 100_000),
    case("setbit", Some("SETBIT bits:__key__ 1000 1"), "SETBIT bits:__key__ 777 1", 100_000),
    case("pfadd", None, "PFADD sketch __key__", 100_000),
    case("zset-1m-zadd", Some(MILLION), "ZADD zset __random__ __key__", 1_000_000),
    case("zset-1m-zrank", Some(MILLION), "ZRANK zset __key__", 1_000_000),
    Case { requests: 900_000, ..case("zset-1m-zpopmin", Some(MILLION), "ZPOPMIN zset", 1_000_000) },
];

const MILLION: &str = "ZADD zset __random__ __key__";

/// Number of the case of this name.
pub(crate) fn named(name: &str) -> Option<usize> {
    CASES.iter().position(|case| case.name == name)
}

/// Names of the cases of a group.
pub(crate) fn group(million: bool) -> Vec<&'static str> {
    CASES.iter().map(|case| case.name).filter(|name| name.starts_with("zset-1m") == million).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{KeySpace, Workload};

    #[test]
    fn every_case_is_a_command() {
        for (index, case) in CASES.iter().enumerate() {
            assert_eq!(named(case.name), Some(index));
            let keys = KeySpace::new("", 12, case.keys).unwrap();
            for text in case.fill.iter().chain([&case.load]) {
                Workload::command(keys.clone(), text, 16).unwrap();
            }
        }
        assert_eq!(group(false).len() + group(true).len(), CASES.len());
    }
}

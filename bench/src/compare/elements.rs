//! Memory per element of collections: which, and how they are filled.
//!
//! Many small collections of each kind, so that what a key costs is in the figure as it is in practice, and large ones of a
//! million elements. Elements are what applications store: names with a number, numbers, measurements.

/// One kind of collection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// Name of the scenario.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) title: &'static str,
    /// Number of different `__key__`s: each is sent once.
    pub(crate) requests: u64,
    /// Elements that each request adds.
    pub(crate) elements: u64,
    /// Keys at the end.
    pub(crate) keys: u64,
    fill: Fill,
}

#[derive(Debug, PartialEq, Eq)]
enum Fill {
    /// One request per element of the only key.
    One(&'static str),
    /// A command with these words for each element, `#` being its number in two digits.
    All(&'static str, &'static str),
}

/// So many that what a server takes once, for its connections, is nothing beside them.
const SMALL: u64 = 200_000;
const MILLION: u64 = 1_000_000;

const fn small(
    name: &'static str,
    title: &'static str,
    command: &'static str,
    element: &'static str,
) -> Case {
    Case { name, title, requests: SMALL, elements: 100, keys: SMALL, fill: Fill::All(command, element) }
}

const fn large(name: &'static str, title: &'static str, command: &'static str) -> Case {
    Case { name, title, requests: MILLION, elements: 1, keys: 1, fill: Fill::One(command) }
}

/// The collections of the group `elements`.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "elements-hash-10",
        title: "hashes of 10 fields",
        requests: 5 * SMALL,
        elements: 10,
        keys: 5 * SMALL,
        fill: Fill::All("HSET hash:__key__", "field:# value:#:abcdef"),
    },
    small("elements-set-100-int", "sets of 100 integers", "SADD set:__key__", "10#7"),
    small("elements-set-100-str", "sets of 100 strings", "SADD set:__key__", "member:00#"),
    small("elements-zset-100", "sorted sets of 100 members", "ZADD zset:__key__", "#.5 member:00#"),
    large("elements-zset-1m", "a sorted set of 1 million members", "ZADD zset __random__ member:__key__"),
    small("elements-list-100-int", "lists of 100 integers", "RPUSH list:__key__", "10#7"),
    small("elements-list-100-str", "lists of 100 strings", "RPUSH list:__key__", "element:00#"),
    large("elements-list-1m-int", "a list of 1 million integers", "RPUSH list 1__key__"),
    large("elements-list-1m-str", "a list of 1 million strings", "RPUSH list element:__key__"),
    large(
        "elements-stream-1m",
        "a stream of 1 million entries",
        "XADD stream * sensor __key__ value __random__",
    ),
];

impl Case {
    /// The request, as a template of the load.
    pub(crate) fn template(&self) -> String {
        match self.fill {
            Fill::One(command) => command.into(),
            Fill::All(command, element) => (0..self.elements).fold(command.into(), |all: String, i| {
                format!("{all} {}", element.replace('#', &format!("{i:02}")))
            }),
        }
    }

    /// Elements of all keys.
    pub(crate) fn total(&self) -> u64 {
        self.requests * self.elements
    }
}

/// Bytes of a `__key__`: as many digits as a million elements need.
pub(crate) const KEY_BYTES: usize = 6;

/// Number of the case of this name.
pub(crate) fn named(name: &str) -> Option<usize> {
    CASES.iter().position(|case| case.name == name)
}

/// Names of all cases.
pub(crate) fn group() -> Vec<&'static str> {
    CASES.iter().map(|case| case.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{KeySpace, Workload};

    #[test]
    fn every_case_is_a_command_with_different_elements() {
        for (index, case) in CASES.iter().enumerate() {
            assert_eq!(named(case.name), Some(index));
            let template = case.template();
            let keys = KeySpace::new("", KEY_BYTES, case.requests).unwrap();
            Workload::command(keys, &template, 16).unwrap();
            if case.elements > 1 {
                let words: Vec<&str> = template.split(' ').skip(2).collect();
                let each = words.len() / case.elements as usize;
                let mut last: Vec<&str> = words.chunks(each).map(|element| element[each - 1]).collect();
                last.sort_unstable();
                last.dedup();
                assert_eq!(last.len() as u64, case.elements, "{}", case.name);
            }
        }
    }
}

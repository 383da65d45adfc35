//! Which arguments of a command are keys: COMMAND GETKEYS and GETKEYSANDFLAGS, and routing.

use crate::args;
use crate::command::{Begin, Command, Flags, KeyFlags};

/// One key of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyAt {
    /// Its index in the arguments; the command's name is 0.
    pub index: usize,
    /// What the command does to it, given these arguments.
    pub flags: KeyFlags,
}

/// The keys of a command, in the order of its arguments and of its key specifications. `argv` starts with the name;
/// the arity has been checked. None when the specifications point outside the arguments.
pub fn keys_of(command: &Command, argv: &[&[u8]]) -> Option<Vec<KeyAt>> {
    if command.full_name == "migrate" {
        return Some(keys_of_migrate(command, argv));
    }
    let mut keys = Vec::new();
    let keys_are_optional = command.spec.flags.contains(Flags::NO_MANDATORY_KEYS);
    for spec in command.spec.keys {
        let flags = flags_given(command, argv, spec.flags);
        let before = keys.len();
        keys.extend(spec.positions(argv).map(|index| KeyAt { index, flags }));
        let optional = !matches!(spec.begin, Begin::Index(_)) || keys_are_optional;
        if keys.len() == before && !optional {
            return None;
        }
    }
    if keys.is_empty() && !command.spec.keys.is_empty() && !keys_are_optional {
        return None;
    }
    Some(keys)
}

/// Either the one key, or, when that is empty, what comes after KEYS, if that is no password.
fn keys_of_migrate(command: &Command, argv: &[&[u8]]) -> Vec<KeyAt> {
    let flags = command.spec.keys[0].flags;
    let mut at = 6;
    while at < argv.len() {
        if args::is(argv[at], "keys") && argv[3].is_empty() {
            return (at + 1..argv.len()).map(|index| KeyAt { index, flags }).collect();
        }
        at += match argv[at] {
            word if args::is(word, "auth") => 2,
            word if args::is(word, "auth2") => 3,
            _ => 1,
        };
    }
    vec![KeyAt { index: 3, flags }]
}

/// Where what happens to the key depends on the arguments: SET reads the old value only with GET or a condition on it,
/// BITFIELD writes unless all its operations are GET.
fn flags_given(command: &Command, argv: &[&[u8]], flags: KeyFlags) -> KeyFlags {
    if !flags.contains(KeyFlags::VARIABLE_FLAGS) {
        return flags;
    }
    if command.full_name == "set" {
        let reads = argv.iter().skip(3).any(|arg| args::is(arg, "get"));
        return if reads {
            KeyFlags::RW | KeyFlags::ACCESS | KeyFlags::UPDATE
        } else {
            KeyFlags::OW | KeyFlags::UPDATE
        };
    }
    if command.full_name == "bitfield" && crate::commands::bitmap::only_reads(&argv[2..]) {
        return KeyFlags::RO | KeyFlags::ACCESS;
    }
    flags.difference(KeyFlags::VARIABLE_FLAGS)
}

impl KeyFlags {
    /// The names that COMMAND INFO and GETKEYSANDFLAGS print.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(KeyFlags, &str); 10] = [
            (KeyFlags::RO, "RO"),
            (KeyFlags::RW, "RW"),
            (KeyFlags::OW, "OW"),
            (KeyFlags::RM, "RM"),
            (KeyFlags::ACCESS, "access"),
            (KeyFlags::UPDATE, "update"),
            (KeyFlags::INSERT, "insert"),
            (KeyFlags::DELETE, "delete"),
            (KeyFlags::INCOMPLETE, "incomplete"),
            (KeyFlags::VARIABLE_FLAGS, "variable_flags"),
        ];
        NAMES.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::registry;

    fn keys(line: &str) -> Vec<(String, Vec<&'static str>)> {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let command = registry().resolve(&argv).unwrap();
        keys_of(command, &argv)
            .unwrap()
            .into_iter()
            .map(|key| (String::from_utf8_lossy(argv[key.index]).into_owned(), key.flags.names().collect()))
            .collect()
    }

    #[test]
    fn keys_and_their_flags_are_those_of_redis() {
        let names = |line| keys(line).into_iter().map(|k| k.0).collect::<Vec<_>>();
        assert_eq!(names("mset a 1 b 2"), ["a", "b"]);
        assert_eq!(names("del a b c"), ["a", "b", "c"]);
        assert_eq!(names("memory usage a"), ["a"]);
        assert_eq!(names("copy a b"), ["a", "b"]);
        assert_eq!(names("ping"), [""; 0]);
        assert_eq!(keys("get a"), [("a".to_owned(), vec!["RO", "access"])]);
        assert_eq!(keys("set a get"), [("a".to_owned(), vec!["OW", "update"])]);
        assert_eq!(
            keys("bitfield a get u8 0 overflow sat get u8 8"),
            [("a".to_owned(), vec!["RO", "access"])]
        );
        let written = [("a".to_owned(), vec!["RW", "access", "update"])];
        for line in
            ["bitfield a get u8 0 set u8 0 1", "bitfield a incrby u8 0 1", "bitfield a get", "bitfield a x"]
        {
            assert_eq!(keys(line), written, "{line}");
        }
        assert_eq!(keys("set a 1 GET"), [("a".to_owned(), vec!["RW", "access", "update"])]);
    }
}

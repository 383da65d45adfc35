//! HyperLogLog commands. A sketch is a string in Redis's format ([`crate::hyperloglog`]); one that grows changes in place, by the
//! few bytes that a register takes.

mod debug;
mod selftest;
mod sketch;

use crate::command::{
    Categories, CommandSpec, Coordinated, Flags, Group, KeyFlags, KeySpec, Merge, Run, Spread, ROW,
};

/// Defaults of the family.
const HYPERLOGLOG: CommandSpec =
    CommandSpec { categories: Categories::HYPERLOGLOG, group: Group::Hyperloglog, since: "2.8.9", ..ROW };

const WRITE: Flags = Flags::WRITE.union(Flags::DENYOOM);
const ACCESS: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS);

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "pfadd",
        arity: -2,
        flags: WRITE.union(Flags::FAST),
        keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))],
        complexity: "O(1) for each element",
        summary: "Shows elements to a HyperLogLog, which is made if there is none.",
        syntax: "key [element [element ...]]",
        run: Run::Keys(sketch::pfadd, Spread::OneKey),
        ..HYPERLOGLOG
    },
    CommandSpec {
        name: "pfcount",
        arity: -2,
        flags: Flags::READONLY, // and yet it keeps the estimate in the key, as in Redis
        keys: &[KeySpec::range(1, -1, 1, ACCESS)],
        complexity: "O(1) for one key, O(N) for the union of N keys",
        summary: "Estimates how many different elements HyperLogLogs have seen together.",
        syntax: "key [key ...]",
        run: Run::Keys(sketch::pfcount, Spread::Coordinate(Coordinated::Fetch)),
        ..HYPERLOGLOG
    },
    CommandSpec {
        name: "pfdebug",
        arity: 3,
        flags: WRITE.union(Flags::ADMIN),
        keys: &[KeySpec::one(2, ACCESS)],
        complexity: "N/A",
        summary: "Shows the insides of a HyperLogLog.",
        syntax: "subcommand key",
        run: Run::Keys(debug::pfdebug, Spread::OneKey),
        ..HYPERLOGLOG
    },
    CommandSpec {
        name: "pfmerge",
        arity: -2,
        flags: WRITE,
        keys: &[
            KeySpec::one(1, ACCESS.union(KeyFlags::INSERT)),
            KeySpec::range(2, -1, 1, KeyFlags::RO.union(KeyFlags::ACCESS)),
        ],
        complexity: "O(N) with N the number of keys",
        summary: "Makes a HyperLogLog that has seen what others have seen.",
        syntax: "destkey [sourcekey [sourcekey ...]]",
        run: Run::Keys(sketch::pfmerge, Spread::Coordinate(Coordinated::Fetch)),
        ..HYPERLOGLOG
    },
    CommandSpec {
        name: "pfselftest",
        arity: 1,
        flags: Flags::ADMIN,
        complexity: "N/A",
        summary: "Tests the HyperLogLog encodings and their estimates.",
        run: Run::Everywhere(selftest::pfselftest, Merge::AllOk),
        ..HYPERLOGLOG
    },
];

//! Bitmap commands: strings as arrays of bits. Bit 0 is the most significant one of the first byte.
//!
//! Writes happen in place and their changes are the bytes written, however large the string. What visits whole strings
//! goes on in slices when they are large.

mod bit;
mod field;
mod offset;
mod operation;
mod range;
mod scan;

pub(crate) use field::only_reads;

use crate::command::{
    Categories, CommandSpec, Coordinated, Flags, Group, Handler, KeyFlags, KeySpec, Run, Spread, ROW,
};

/// Defaults of the family.
const BITMAP: CommandSpec = CommandSpec { categories: Categories::BITMAP, group: Group::Bitmap, ..ROW };

const READ: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))];
const READ_AND_UPDATE: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE);

const WRITE: Flags = Flags::WRITE.union(Flags::DENYOOM);
const FAST_READ: Flags = Flags::READONLY.union(Flags::FAST);

/// Runs on the shard of its one key.
const fn one_key(handler: Handler) -> Run {
    Run::Keys(handler, Spread::OneKey)
}

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "bitcount",
        arity: -2,
        flags: Flags::READONLY,
        keys: READ,
        since: "2.6.0",
        complexity: "O(N) with N the number of bytes in the range",
        summary: "Counts the bits of a string that are one.",
        syntax: "key [start end [BYTE | BIT]]",
        run: one_key(scan::bitcount),
        ..BITMAP
    },
    CommandSpec {
        name: "bitfield",
        arity: -2,
        flags: WRITE,
        keys: &[KeySpec::one(1, READ_AND_UPDATE.union(KeyFlags::VARIABLE_FLAGS))],
        since: "3.2.0",
        complexity: "O(1) for each operation",
        summary: "Reads, writes and increments integers of any width within a string.",
        syntax: "key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value | \
                 INCRBY encoding offset increment> [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] \
                 <SET encoding offset value | INCRBY encoding offset increment> ...]]",
        run: one_key(field::bitfield),
        ..BITMAP
    },
    CommandSpec {
        name: "bitfield_ro",
        arity: -2,
        flags: FAST_READ,
        keys: READ,
        since: "6.0.0",
        complexity: "O(1) for each operation",
        summary: "Reads integers of any width within a string.",
        syntax: "key [GET encoding offset [GET encoding offset ...]]",
        run: one_key(field::bitfield_ro),
        ..BITMAP
    },
    CommandSpec {
        name: "bitop",
        arity: -4,
        flags: WRITE,
        keys: &[
            KeySpec::one(2, KeyFlags::OW.union(KeyFlags::UPDATE)),
            KeySpec::range(3, -1, 1, KeyFlags::RO.union(KeyFlags::ACCESS)),
        ],
        since: "2.6.0",
        complexity: "O(N) with N the bytes of all sources",
        summary: "Combines strings bit by bit and stores the result.",
        syntax: "<AND | OR | XOR | NOT | DIFF | DIFF1 | ANDOR | ONE> destkey key [key ...]",
        run: Run::Keys(operation::bitop, Spread::Coordinate(Coordinated::Fetch)),
        ..BITMAP
    },
    CommandSpec {
        name: "bitpos",
        arity: -3,
        flags: Flags::READONLY,
        keys: READ,
        since: "2.8.7",
        complexity: "O(N) with N the number of bytes before the bit",
        summary: "Finds the first bit of a string that is one, or that is zero.",
        syntax: "key bit [start [end [BYTE | BIT]]]",
        run: one_key(scan::bitpos),
        ..BITMAP
    },
    CommandSpec {
        name: "getbit",
        arity: 3,
        flags: FAST_READ,
        keys: READ,
        since: "2.2.0",
        summary: "Answers one bit of a string; past its end bits are zero.",
        syntax: "key offset",
        run: one_key(bit::getbit),
        ..BITMAP
    },
    CommandSpec {
        name: "setbit",
        arity: 4,
        flags: WRITE,
        keys: &[KeySpec::one(1, READ_AND_UPDATE)],
        since: "2.2.0",
        summary: "Sets one bit of a string, which grows to hold it, and answers the old one.",
        syntax: "key offset value",
        run: one_key(bit::setbit),
        ..BITMAP
    },
];

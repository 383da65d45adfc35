//! What blocking commands are besides their handlers.
//!
//! A handler never blocks: it takes what is there, or answers the absence of it. Who can wait (the network layer) runs it, and when it answers
//! that absence, keeps the arguments and runs it again as soon as one of the keys may have what it wants. So a blocked command is
//! its own argument list, as in Redis since 7.2, and inside MULTI and scripts, where nothing may wait, there is nothing special to do.

use crate::args::parse_i64;
use crate::change::{Change, ListEdit, StreamEdit, UnixMs};
use crate::command::{Command, Find, Flags, Group};
use crate::commands::stream;
use crate::double;
use crate::error::Error;
use crate::keyspace::{Keyspace, View};
use crate::reply::Reply;
use crate::value::Type;
use smallvec::SmallVec;
use std::ops::Range;

const NOT_FLOAT: Error = Error::new("ERR timeout is not a float or out of range");
const NOT_INTEGER: Error = Error::new("ERR timeout is not an integer or out of range");
const NEGATIVE: Error = Error::new("ERR timeout is negative");
const OUT_OF_RANGE: Error = Error::new("ERR timeout is out of range");

/// Until when a command waits, Unix milliseconds; none is for ever.
pub type Deadline = Option<UnixMs>;

fn after(timeout: i64, now: UnixMs) -> Result<Deadline, Error> {
    match timeout {
        ..0 => Err(NEGATIVE),
        0 => Ok(None),
        _ => timeout.checked_add_unsigned(now).map(|at| Some(at as u64)).ok_or(OUT_OF_RANGE),
    }
}

/// A time-out in milliseconds.
///
/// # Errors
/// It is no integer, negative, or so long that its end is no time; Redis's words for each.
pub fn milliseconds(text: &[u8], now: UnixMs) -> Result<Deadline, Error> {
    after(parse_i64(text).ok_or(NOT_INTEGER)?, now)
}

/// A time-out in seconds with a fraction, rounded up to milliseconds.
///
/// # Errors
/// As for [`milliseconds`].
pub fn seconds(text: &[u8], now: UnixMs) -> Result<Deadline, Error> {
    let milliseconds = (double::parse(text).ok_or(NOT_FLOAT)? * 1000.0).ceil();
    if milliseconds >= i64::MAX as f64 {
        return Err(OUT_OF_RANGE);
    }
    // Saturates below.
    after(milliseconds as i64, now)
}

pub(crate) fn check_seconds(text: &[u8], now: UnixMs) -> Result<(), Error> {
    seconds(text, now).map(drop)
}

/// Whether it is a read of streams.
pub fn reads_streams(command: &Command) -> bool {
    command.spec.group == Group::Stream
}

/// Whether a blocked one has an answer as well when its key goes away: XREADGROUP, whose answer is an error then.
pub fn minds_deletion(command: &Command) -> bool {
    reads_streams(command) && command.is_write()
}

/// Whether it moves an element: of its two keys it waits for the first.
pub fn moves(command: &Command) -> bool {
    command.spec.keys.len() == 2
}

/// Until when a command waits if there is nothing for it; none when it does not block, or when its arguments are not right, which its handler says.
pub fn deadline(command: &Command, argv: &[&[u8]], now: UnixMs) -> Option<Deadline> {
    if !command.spec.flags.contains(Flags::BLOCKING) {
        return None;
    }
    if reads_streams(command) {
        return stream::deadline(command, argv, now);
    }
    seconds(timeout(command, argv)?, now).ok()
}

/// The time-out among the arguments of a command that waits for lists or sorted sets.
fn timeout<'a>(command: &Command, argv: &[&'a [u8]]) -> Option<&'a [u8]> {
    match command.spec.keys[0].find {
        Find::NumKeys => argv.get(1).copied(),
        Find::Range { .. } => argv.last().copied(),
    }
}

/// Looks at the time-out of a command, if it has one, where its handler does not.
///
/// # Errors
/// Those of [`seconds`].
pub fn check(command: &Command, argv: &[&[u8]], now: UnixMs) -> Result<(), Error> {
    match timeout(command, argv) {
        Some(text) if command.spec.flags.contains(Flags::BLOCKING) => check_seconds(text, now),
        _ => Ok(()),
    }
}

/// Which arguments are the keys that it waits for.
pub fn awaited(command: &Command, argv: &[&[u8]]) -> Range<usize> {
    let mut positions = command.spec.keys[0].positions(argv);
    match (positions.next(), positions.next_back()) {
        (Some(first), Some(last)) => first..last + 1,
        (Some(first), None) => first..first + 1,
        (None, _) => 0..0,
    }
}

/// The arguments of the same command for some of the keys that it waits for: `chosen` says of each key, by the index of its argument, whether it stays.
pub fn only<'a>(
    command: &Command,
    argv: &[&'a [u8]],
    chosen: impl Fn(usize) -> bool,
    number: &'a mut itoa::Buffer,
) -> SmallVec<[&'a [u8]; 16]> {
    let keys = awaited(command, argv);
    let (first, count) = (keys.start, keys.len());
    let ids = if reads_streams(command) { first + count..first + 2 * count } else { 0..0 };
    let kept = keys.clone().filter(|&at| chosen(at)).count();
    let stays = |at: usize| {
        if keys.contains(&at) {
            chosen(at)
        } else {
            !ids.contains(&at) || chosen(at - count)
        }
    };
    let mut some: SmallVec<[&'a [u8]; 16]> = SmallVec::new();
    let number_at = (command.spec.keys[0].find == Find::NumKeys).then(|| first - 1);
    let number: &'a [u8] = number.format(kept).as_bytes();
    some.extend(argv.iter().enumerate().filter(|&(at, _)| stays(at)).map(|(at, &arg)| {
        if Some(at) == number_at {
            number
        } else {
            arg
        }
    }));
    some
}

/// Whether the command would answer something else than absence on account of this one of its keys. (What it answers, its other keys may decide.)
pub fn has_answer(keys: &mut Keyspace, view: View, command: &Command, argv: &[&[u8]], name: &[u8]) -> bool {
    if reads_streams(command) {
        return stream::has_answer(keys, view, command, argv, name);
    }
    let wanted = if command.spec.group == Group::SortedSet { Type::Zset } else { Type::List };
    keys.peek(view, &keys.key(name)).is_some_and(|entry| entry.value().kind() == wanted)
}

/// Whether a command names ends of streams (`$` and `+`), which are those of the moment when it begins to wait.
pub fn names_ends(command: &Command, argv: &[&[u8]]) -> bool {
    let reads = reads_streams(command) && !command.is_write();
    reads && argv[awaited(command, argv).end..].iter().any(|id| matches!(**id, [b'$' | b'+']))
}

/// What `$` and `+` of a read stand for from now on, as arguments and their indexes; of the streams that `here` says are on this shard.
pub fn ends(
    keys: &mut Keyspace,
    view: View,
    command: &Command,
    argv: &[&[u8]],
    here: impl Fn(&[u8]) -> bool,
) -> Vec<(usize, Vec<u8>)> {
    if !names_ends(command, argv) {
        return Vec::new();
    }
    stream::ends(keys, view, command, argv, here)
}

/// What a command answers whose time is over.
pub fn absence(reply: &mut dyn Reply) {
    reply.null_array();
}

/// Which keys may have something for those who wait, after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wakes<'a> {
    /// None.
    Nothing,
    /// This key of a database.
    Key(u16, &'a [u8]),
    /// Every key of a database.
    Database(u16),
    /// Every key of two databases.
    Databases(u16, u16),
}

impl<'a> Wakes<'a> {
    /// Those of a change.
    pub fn of(change: &Change<'a>) -> Wakes<'a> {
        match *change {
            Change::ListEdit { edit: ListEdit::Push { .. }, db, key } => Wakes::Key(db, key),
            Change::ListEdit { .. } => Wakes::Nothing,
            Change::StreamEdit { edit: StreamEdit::Add { .. } | StreamEdit::RemoveGroup { .. }, db, key } => {
                Wakes::Key(db, key)
            }
            Change::StreamEdit { .. } => Wakes::Nothing,
            Change::ZsetEdit { db, key, .. }
            | Change::Set { db, key, .. }
            | Change::Delete { db, key, .. } => Wakes::Key(db, key),
            Change::FlushDb { db } => Wakes::Database(db),
            Change::SwapDb { a, b } => Wakes::Databases(a, b),
            Change::Append { .. }
            | Change::SetRange { .. }
            | Change::Splice { .. }
            | Change::SetEdit { .. }
            | Change::HashEdit { .. }
            | Change::Expire { .. } => Wakes::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::registry;
    use crate::value::list::End;

    const NOW: UnixMs = 1_700_000_000_000;

    fn command(line: &str) -> (&'static Command, Vec<&[u8]>) {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        (registry().find(argv[0]).expect("a command"), argv)
    }

    #[test]
    fn time_outs_are_read_as_redis_reads_them() {
        assert_eq!(seconds(b"0", NOW), Ok(None));
        assert_eq!(seconds(b"-0", NOW), Ok(None));
        assert_eq!(seconds(b"0.0001", NOW), Ok(Some(NOW + 1)));
        assert_eq!(seconds(b"1.5", NOW), Ok(Some(NOW + 1500)));
        assert_eq!(seconds(b"0x10", NOW), Ok(Some(NOW + 16_000)));
        for text in ["", "x", "nan", " 1", "1 ", "1e", "1e400"] {
            assert_eq!(seconds(text.as_bytes(), NOW), Err(NOT_FLOAT), "{text:?}");
        }
        for text in ["-1", "-0.5e3", "-inf", "-1e300"] {
            assert_eq!(seconds(text.as_bytes(), NOW), Err(NEGATIVE), "{text:?}");
        }
        for text in ["inf", "1e300", "9223372036854775807", "9223372036854775"] {
            assert_eq!(seconds(text.as_bytes(), NOW), Err(OUT_OF_RANGE), "{text:?}");
        }
        assert_eq!(milliseconds(b"0", NOW), Ok(None));
        assert_eq!(milliseconds(b"7", NOW), Ok(Some(NOW + 7)));
        assert_eq!(milliseconds(b"1.5", NOW), Err(NOT_INTEGER));
        assert_eq!(milliseconds(b"-9223372036854775808", NOW), Err(NEGATIVE));
        assert_eq!(milliseconds(b"9223372036854775807", NOW), Err(OUT_OF_RANGE));
    }

    #[test]
    fn who_blocks_says_until_when() {
        for (line, expected) in [
            ("BLPOP a b 1", Some(Some(NOW + 1000))),
            ("BLPOP a 0", Some(None)),
            ("BLPOP a x", None),
            ("BLMOVE a b LEFT RIGHT 2", Some(Some(NOW + 2000))),
            ("BRPOPLPUSH a b 0", Some(None)),
            ("BLMPOP 3 1 a LEFT", Some(Some(NOW + 3000))),
            ("BZMPOP 0 1 a MIN", Some(None)),
            ("BZPOPMAX a 0.5", Some(Some(NOW + 500))),
            ("XREAD STREAMS a 0", None),
            ("XREAD BLOCK 5 STREAMS a 0", Some(Some(NOW + 5))),
            ("XREAD BLOCK -5 STREAMS a 0", None),
            ("XREADGROUP GROUP g c BLOCK 0 STREAMS a >", Some(None)),
            ("XREADGROUP GROUP g c BLOCK 0 STREAMS a", None),
            ("LPOP a", None),
        ] {
            let (command, argv) = command(line);
            assert_eq!(deadline(command, &argv, NOW), expected, "{line}");
        }
    }

    #[test]
    fn a_command_for_some_of_its_keys_is_the_same_command() {
        for (line, awaited_keys, some) in [
            ("BLPOP a b c 0", "a b c", "BLPOP a c 0"),
            ("BZPOPMIN a b c 1.5", "a b c", "BZPOPMIN a c 1.5"),
            ("BLMPOP 0 3 a b c LEFT COUNT 7", "a b c", "BLMPOP 0 2 a c LEFT COUNT 7"),
            ("BZMPOP 0 4 a b b c MIN", "a b b c", "BZMPOP 0 2 a c MIN"),
            ("LMPOP 3 a b c LEFT", "a b c", "LMPOP 2 a c LEFT"),
            ("XREAD COUNT 1 BLOCK 0 STREAMS a b c 1 2 3", "a b c", "XREAD COUNT 1 BLOCK 0 STREAMS a c 1 3"),
            (
                "XREADGROUP GROUP b b BLOCK 0 STREAMS a b c > > 3",
                "a b c",
                "XREADGROUP GROUP b b BLOCK 0 STREAMS a c > 3",
            ),
            ("BLMOVE a b LEFT LEFT 0", "a", "BLMOVE a b LEFT LEFT 0"),
        ] {
            let (command, argv) = command(line);
            let keys = argv[awaited(command, &argv)].join(&b' ');
            assert_eq!(String::from_utf8_lossy(&keys), awaited_keys, "{line}");
            let mut number = itoa::Buffer::new();
            let only = only(command, &argv, |at| argv[at] != b"b", &mut number).join(&b' ');
            assert_eq!(String::from_utf8_lossy(&only), some, "{line}");
        }
    }

    #[test]
    fn what_adds_or_replaces_wakes_and_nothing_else_does() {
        let edit = |edit| Change::ListEdit { db: 3, key: b"k", edit };
        let push = edit(ListEdit::Push { end: End::Head, element: b"x" });
        assert_eq!(Wakes::of(&push), Wakes::Key(3, b"k"));
        assert_eq!(Wakes::of(&edit(ListEdit::Pop { end: End::Head, count: 1 })), Wakes::Nothing);
        assert_eq!(Wakes::of(&Change::Expire { db: 0, key: b"k", expire_at: None }), Wakes::Nothing);
        assert_eq!(Wakes::of(&Change::FlushDb { db: 2 }), Wakes::Database(2));
        assert_eq!(Wakes::of(&Change::SwapDb { a: 2, b: 4 }), Wakes::Databases(2, 4));
    }
}

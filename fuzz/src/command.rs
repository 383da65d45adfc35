//! Arbitrary commands against a shard.
//!
//! An input is one byte of flags and the bytes of a connection, inline commands or RESP:
//!
//! ```text
//!   flags  SET k v EX 10 \n INCR k \n *2\r\n$3\r\nGET\r\n...
//! ```
//!
//! `flags`: bit 0 the client speaks RESP3, bit 1 the time goes on by a second with each command, bit 2 by a day.
//!
//! Every command that a shard can execute is executed by two shards of the same seed; one of them gets the buffer in which the
//! arguments lie, so that it may keep large values by reference. Checked: each command gets exactly one reply, which is
//! well-formed and of the client's protocol; it is an error exactly when the command is counted as failed; and both shards
//! give the same, since a shard is a pure state machine.

use bytes::Bytes;
use kora_engine::command::{registry, Command, Run};
use kora_engine::keyspace::View;
use kora_engine::reply::Protocol;
use kora_engine::shard::{Applied, EngineConfig, Shard, ShardId};
use kora_net::resp::encode::{Output, RespSink};
use kora_net::resp::parse::{ParseLimits, Parser, Step};

/// Longest string: small, so that offsets that an input names cost no memory.
const MAX_STRING_LEN: usize = 1 << 20;
/// Commands of one input that are executed, and bytes that their replies may have: bounds the time of a run.
const COMMANDS_MAX: usize = 256;
const REPLIES_LEN_MAX: usize = 16 << 20;
/// Slices after which long work must be done, each of [`SLICE_BUDGET`].
const SLICES_MAX: usize = 100_000;
const SLICE_BUDGET: usize = 16;
/// When the first command runs, Unix milliseconds.
const START: u64 = 1_700_000_000_000;

/// Runs one input. Panics when a promise is broken.
pub fn run(data: &[u8]) {
    let Some((&flags, bytes)) = data.split_first() else { return };
    let protocol = if flags & 1 != 0 { Protocol::Resp3 } else { Protocol::Resp2 };
    let step = match flags >> 1 & 3 {
        0 => 0,
        1 => 1_000,
        _ => 86_400_000,
    };
    let config = EngineConfig {
        max_string_len: MAX_STRING_LEN,
        databases: 2,
        count_slots: true,
        ..EngineConfig::default()
    };
    let new_shard = || Shard::new(ShardId { index: 0, count: 1 }, config.clone(), 7);
    let (mut copying, mut sharing) = (new_shard(), new_shard());
    let limits = ParseLimits { authenticated: true, bulk_len: MAX_STRING_LEN };
    let mut parser = Parser::default();
    let mut rest = bytes;
    let mut now = START;
    let mut written = 0;
    for _ in 0..COMMANDS_MAX {
        if rest.is_empty() || written > REPLIES_LEN_MAX {
            break;
        }
        let Ok(Step::Frame(len)) = parser.parse(rest, &limits) else { break };
        let buffer: Bytes = parser.args(&rest[..len]).flatten().copied().collect();
        let mut at = 0;
        let argv: Vec<&[u8]> = parser
            .args(&rest[..len])
            .map(|arg| {
                at += arg.len();
                &buffer[at - arg.len()..at]
            })
            .collect();
        rest = &rest[len..];
        if let Some(command) = shard_command(&argv) {
            let view = View { db: 0, now, touch: true };
            let (reply, failed) = execute(&mut copying, view, command, &argv, None, protocol);
            let same = execute(&mut sharing, view, command, &argv, Some(&buffer), protocol);
            check_reply(&reply, protocol, failed, command);
            assert!((&reply, failed) == (&same.0, same.1), "two shards disagree about {}", command.full_name);
            written += reply.len();
            now += step;
            copying.background(now, SLICE_BUDGET);
            sharing.background(now, SLICE_BUDGET);
        }
        parser.reset();
    }
}

/// The command, if a shard executes it.
fn shard_command(argv: &[&[u8]]) -> Option<&'static Command> {
    if argv.is_empty() {
        return None;
    }
    let command = registry().resolve(argv).ok()?;
    for spec in command.spec.keys {
        // Routing takes the keys from there, without another look.
        assert!(spec.positions(argv).all(|at| 0 < at && at < argv.len()), "{}", command.full_name);
    }
    matches!(command.spec.run, Run::Keys(..) | Run::Everywhere(..) | Run::ByCursor(_)).then_some(command)
}

/// One command to its end: the reply, and whether it counts as failed.
fn execute(
    shard: &mut Shard,
    view: View,
    command: &'static Command,
    argv: &[&[u8]],
    frame: Option<&Bytes>,
    protocol: Protocol,
) -> (Vec<u8>, bool) {
    let mut out = Output::default();
    let applied = shard.apply(view, command, argv, frame, &mut RespSink::new(&mut out, protocol));
    let failed = matches!(applied, Applied::Failed(_));
    if let Applied::Later(mut work) = applied {
        assert!(out.is_empty(), "{} has written before its work was done", command.full_name);
        let done = (0..SLICES_MAX).any(|_| {
            work.resume(shard, view.now, SLICE_BUDGET, &mut RespSink::new(&mut out, protocol))
                || !{
                    assert!(out.is_empty(), "{} has written before its work was done", command.full_name);
                    true
                }
        });
        assert!(done, "{} does not come to an end", command.full_name);
    }
    let len = out.len();
    let reply = out.flatten();
    assert_eq!(reply.len(), len);
    (reply, failed)
}

/// Exactly one reply, well-formed, in the client's protocol.
fn check_reply(reply: &[u8], protocol: Protocol, failed: bool, command: &Command) {
    let show = || format!("{}: {}", command.full_name, reply.escape_ascii());
    assert_eq!(end_of_reply(reply, protocol, 0), Some(reply.len()), "{}", show());
    assert_eq!(reply[0] == b'-', failed, "{}", show());
    if failed {
        // Clients switch on the first word.
        let code = reply[1..].split(|&b| b == b' ').next().unwrap_or_default();
        assert!(!code.is_empty() && code.iter().all(u8::is_ascii_uppercase), "{}", show());
    }
}

/// Where the reply that starts at `at` ends, or nothing when it is none.
fn end_of_reply(bytes: &[u8], protocol: Protocol, at: usize) -> Option<usize> {
    let line_len = bytes.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
    let line = &bytes[at..at + line_len];
    let next = at + line_len + 2;
    let (&kind, text) = line.split_first()?;
    if text.contains(&b'\r') || text.contains(&b'\n') {
        return None;
    }
    let number = || std::str::from_utf8(text).ok()?.parse::<i64>().ok();
    let length = || number().and_then(|n| usize::try_from(n).ok());
    let resp3 = protocol == Protocol::Resp3;
    let elements = match kind {
        b'+' | b'-' => return Some(next),
        b':' => return number().map(|_| next),
        b'_' if resp3 => return text.is_empty().then_some(next),
        b'#' if resp3 => return matches!(text, b"t" | b"f").then_some(next),
        b',' if resp3 => return std::str::from_utf8(text).ok()?.parse::<f64>().ok().map(|_| next),
        b'$' | b'*' if text == b"-1" => return (!resp3).then_some(next),
        b'$' => return end_of_bulk(bytes, next, length()?),
        b'=' if resp3 => {
            let len = length()?;
            return (len >= 4 && bytes.get(next + 3) == Some(&b':'))
                .then(|| end_of_bulk(bytes, next, len))?;
        }
        b'*' => length()?,
        b'~' if resp3 => length()?,
        b'%' if resp3 => length()?.checked_mul(2)?,
        _ => return None,
    };
    (0..elements).try_fold(next, |at, _| end_of_reply(bytes, protocol, at))
}

fn end_of_bulk(bytes: &[u8], at: usize, len: usize) -> Option<usize> {
    let end = at.checked_add(len)?;
    (bytes.get(end..end + 2)? == b"\r\n").then_some(end + 2)
}

//! Streams through commands: what takes more than one slice, what happens between slices, and bad numbers.
//!
//! That replies are those of Redis is the subject of kora-bin's reply tests.

mod support;

use kora_engine::command::registry;
use kora_engine::exec::Continuation;
use kora_engine::keyspace::View;
use kora_engine::shard::{Applied, Shard};
use support::{bulk, error, int, ok, run, run_at, shard, Sink, Value, NOW};

/// Adds the entries 1-0 to `n`-0, each with its number.
fn fill(shard: &mut Shard, key: &str, n: u64) {
    for number in 1..=n {
        assert_eq!(run(shard, &format!("XADD {key} {number}-0 n {number}")), bulk(format!("{number}-0")));
    }
}

fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        other => panic!("an array, not {:.100}", format!("{other:?}")),
    }
}

/// The times of the entries in a list of them.
fn times(entries: Value) -> Vec<u64> {
    let time = |entry: Value| match items(entry).swap_remove(0) {
        Value::Bulk(id) => String::from_utf8(id).unwrap().split('-').next().unwrap().parse().unwrap(),
        other => panic!("an id, not {other:?}"),
    };
    items(entries).into_iter().map(time).collect()
}

/// The streams of a reply of XREAD or XREADGROUP with their entries.
fn streams(reply: Value) -> Vec<(Value, Value)> {
    let stream = |stream: Value| {
        let mut pair = items(stream);
        let entries = pair.swap_remove(1);
        (pair.swap_remove(0), entries)
    };
    items(reply).into_iter().map(stream).collect()
}

/// The entries of the only stream.
fn of_one_stream(reply: Value) -> Value {
    let mut streams = streams(reply);
    assert_eq!(streams.len(), 1);
    streams.swap_remove(0).1
}

/// Starts a command that is expected to go on later.
fn start(shard: &mut Shard, line: &str) -> Box<dyn Continuation> {
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let command = registry().resolve(&argv).unwrap();
    let view = View { db: 0, now: NOW, touch: true };
    match shard.apply(view, command, &argv, None, &mut Sink::default()) {
        Applied::Later(work) => work,
        _ => panic!("{line} is done at once"),
    }
}

fn finish(shard: &mut Shard, mut work: Box<dyn Continuation>) -> Value {
    let mut sink = Sink::default();
    while !work.resume(shard, NOW, 1, &mut sink) {}
    sink.finish()
}

#[test]
fn long_ranges_have_every_entry_once() {
    let mut shard = shard();
    fill(&mut shard, "s", 5000);
    let all: Vec<u64> = (1..=5000).collect();
    let mut back = all.clone();
    back.reverse();
    assert_eq!(times(run(&mut shard, "XRANGE s - +")), all);
    assert_eq!(times(run(&mut shard, "XREVRANGE s + -")), back);
    assert_eq!(times(run(&mut shard, "XRANGE s - + COUNT 4000")), all[..4000]);
    assert_eq!(times(run(&mut shard, "XREVRANGE s + - COUNT 4000")), back[..4000]);
    assert_eq!(times(run(&mut shard, "XRANGE s 100 (4000-0")), all[99..3999]);
    assert_eq!(times(of_one_stream(run(&mut shard, "XREAD STREAMS s 500"))), all[500..]);
    assert_eq!(times(of_one_stream(run(&mut shard, "XREAD COUNT 3000 STREAMS s 500"))), all[500..3500]);
}

#[test]
fn several_long_streams_are_read_in_one_reply() {
    let mut shard = shard();
    fill(&mut shard, "a", 700);
    fill(&mut shard, "b", 900);
    fill(&mut shard, "c", 3);
    let read = streams(run(&mut shard, "XREAD STREAMS a none b c 0 0 0 3"));
    let read: Vec<_> = read.into_iter().map(|(name, entries)| (name, items(entries).len())).collect();
    assert_eq!(read, [(bulk("a"), 700), (bulk("b"), 900)]);
}

#[test]
fn a_long_read_with_a_group_makes_every_entry_pending_once() {
    let mut shard = shard();
    fill(&mut shard, "s", 3000);
    run(&mut shard, "XGROUP CREATE s g 0");
    let all: Vec<u64> = (1..=3000).collect();
    assert_eq!(times(of_one_stream(run(&mut shard, "XREADGROUP GROUP g c STREAMS s >"))), all);
    assert_eq!(run(&mut shard, "XREADGROUP GROUP g c STREAMS s >"), Value::NullArray);
    assert_eq!(items(run(&mut shard, "XPENDING s g"))[0], int(3000));
    run(&mut shard, "XDEL s 2000-0");
    assert_eq!(times(of_one_stream(run(&mut shard, "XREADGROUP GROUP g c STREAMS s 0"))), all);
    assert_eq!(items(run(&mut shard, "XPENDING s g - + 5000")).len(), 3000);
    let deliveries = |entry: Value| items(entry).swap_remove(3);
    let mut pending = items(run(&mut shard, "XPENDING s g 1999 2000 5"));
    assert_eq!((deliveries(pending.remove(0)), deliveries(pending.remove(0))), (int(2), int(1)));
    // Idle entries only, which are found late.
    run(&mut shard, "XCLAIM s g d 0 2999-0 JUSTID IDLE 5000");
    assert_eq!(items(run(&mut shard, "XPENDING s g IDLE 1000 - + 10")).len(), 1);
    assert_eq!(items(run(&mut shard, "XPENDING s g IDLE 1000 - + 10 d")).len(), 1);
    assert_eq!(items(run(&mut shard, "XPENDING s g IDLE 1000 - + 10 c")).len(), 0);
    assert_eq!(items(run(&mut shard, "XPENDING s g - + 2500 c")).len(), 2500);
    // All change hands; the deleted one goes.
    let mut claimed = items(run(&mut shard, "XAUTOCLAIM s g e 0 0 COUNT 10000"));
    assert_eq!(claimed.pop(), Some(Value::Array(vec![bulk("2000-0")])));
    assert_eq!(items(claimed.pop().unwrap()).len(), 2999);
    assert_eq!(claimed.pop(), Some(bulk("0-0")));
    assert_eq!(run(&mut shard, "XGROUP DELCONSUMER s g c"), int(0));
    assert_eq!(run(&mut shard, "XGROUP DELCONSUMER s g e"), int(2999));
    assert_eq!(items(run(&mut shard, "XPENDING s g"))[0], int(0));
}

#[test]
fn no_ack_reads_leave_nothing_pending() {
    let mut shard = shard();
    fill(&mut shard, "s", 2000);
    run(&mut shard, "XGROUP CREATE s g 0");
    let read = run(&mut shard, "XREADGROUP GROUP g c NOACK STREAMS s >");
    assert_eq!(times(of_one_stream(read)).len(), 2000);
    assert_eq!(items(run(&mut shard, "XPENDING s g"))[0], int(0));
}

#[test]
fn long_trims_end_where_short_ones_do() {
    let mut shard = shard();
    for (line, left) in [
        ("XTRIM s MAXLEN 37", 37),
        ("XTRIM s MINID 29990", 11),
        ("XTRIM s MAXLEN ~ 150 LIMIT 0", 200),
        ("XTRIM s MAXLEN 10 DELREF", 10),
        ("XTRIM s MAXLEN 10 ACKED", 10),
        ("XTRIM s MAXLEN 0", 0),
    ] {
        fill(&mut shard, "s", 30_000);
        assert_eq!(run(&mut shard, line), int(30_000 - left), "{line}");
        assert_eq!(run(&mut shard, "XLEN s"), int(left));
        assert_eq!(items(run(&mut shard, "XRANGE s - +")).len(), left as usize);
        run(&mut shard, "DEL s");
    }
    fill(&mut shard, "s", 30_000);
    assert_eq!(run(&mut shard, "XADD s MAXLEN 5 30001-0 a b"), bulk("30001-0"));
    assert_eq!(run(&mut shard, "XLEN s"), int(5));
}

#[test]
fn what_happens_between_slices_is_not_mixed_up() {
    let mut shard = shard();
    fill(&mut shard, "s", 3000);
    // Trimmed and added to meanwhile: what was added is not of the moment of the command.
    let work = start(&mut shard, "XRANGE s - +");
    run(&mut shard, "XTRIM s MINID 2000");
    run(&mut shard, "XADD s 4000-0 n 1");
    let seen = times(finish(&mut shard, work));
    assert!(seen.windows(2).all(|two| two[0] < two[1]) && seen.ends_with(&[2999, 3000]), "{seen:?}");
    // Gone, or something else.
    let work = start(&mut shard, "XREVRANGE s + -");
    run(&mut shard, "DEL s");
    assert!(!times(finish(&mut shard, work)).is_empty());
    fill(&mut shard, "s", 3000);
    let work = start(&mut shard, "XRANGE s - +");
    run(&mut shard, "SET s x");
    assert!(matches!(finish(&mut shard, work), Value::Error(text) if text.starts_with("WRONGTYPE")));

    // Two readers of one group share the entries; none is given twice.
    run(&mut shard, "DEL s");
    fill(&mut shard, "s", 3000);
    run(&mut shard, "XGROUP CREATE s g 0");
    let work = start(&mut shard, "XREADGROUP GROUP g a STREAMS s >");
    let b = times(of_one_stream(run(&mut shard, "XREADGROUP GROUP g b COUNT 100 STREAMS s >")));
    let a = times(of_one_stream(finish(&mut shard, work)));
    let mut both: Vec<u64> = a.iter().chain(&b).copied().collect();
    both.sort_unstable();
    assert_eq!((b.len(), both), (100, (1..=3000).collect()));

    // The group, its consumer, or the stream goes away.
    for (removal, answered) in [
        ("XGROUP DESTROY s g", Value::NullArray),
        ("XGROUP DELCONSUMER s g c", Value::NullArray),
        ("DEL s", Value::NullArray),
    ] {
        run(&mut shard, "DEL s");
        fill(&mut shard, "s", 3000);
        run(&mut shard, "XGROUP CREATE s g 0");
        let work = start(&mut shard, "XREADGROUP GROUP g c STREAMS s >");
        run(&mut shard, removal);
        assert_eq!(finish(&mut shard, work), answered, "{removal}");
    }

    // A trim goes on with what there is.
    run(&mut shard, "DEL s");
    fill(&mut shard, "s", 30_000);
    let work = start(&mut shard, "XTRIM s MAXLEN 0");
    run(&mut shard, "XADD s 30001-0 a b");
    finish(&mut shard, work);
    assert_eq!(run(&mut shard, "XLEN s"), int(0));
    fill(&mut shard, "t", 30_000);
    let work = start(&mut shard, "XTRIM t MAXLEN 0");
    run(&mut shard, "DEL t");
    assert!(matches!(finish(&mut shard, work), Value::Integer(1..)));

    // A consumer that is being removed reads on: it loses that, too.
    fill(&mut shard, "u", 3000);
    run(&mut shard, "XGROUP CREATE u g 0");
    run(&mut shard, "XREADGROUP GROUP g c COUNT 2000 STREAMS u >");
    let work = start(&mut shard, "XGROUP DELCONSUMER u g c");
    run(&mut shard, "XREADGROUP GROUP g c COUNT 100 STREAMS u >");
    assert_eq!(finish(&mut shard, work), int(2100));
    assert_eq!(items(run(&mut shard, "XPENDING u g"))[0], int(0));
}

#[test]
fn numbers_at_the_ends_of_their_ranges_are_harmless() {
    let mut shard = shard();
    fill(&mut shard, "s", 3);
    run(&mut shard, "XGROUP CREATE s g 0");
    for count in ["-9223372036854775808", "-100000000000", "0", "9223372036854775807"] {
        for line in [
            "XRANGE s - + COUNT N",
            "XREAD COUNT N STREAMS s 0",
            "XREADGROUP GROUP g c COUNT N STREAMS s >",
            "XREADGROUP GROUP g c COUNT N STREAMS s 0",
            "XPENDING s g - + N",
            "XPENDING s g IDLE N - + N",
            "XCLAIM s g c N 1-0",
            "XCLAIM s g c 0 1-0 IDLE N TIME N RETRYCOUNT N FORCE",
            "XAUTOCLAIM s g c N 0 COUNT N",
            "XTRIM s MAXLEN ~ 3 LIMIT N",
            "XINFO STREAM s FULL COUNT N",
            "XGROUP SETID s g 0 ENTRIESREAD N",
            "XREADGROUP GROUP g c STREAMS s >",
            "XINFO GROUPS s",
            "XDELEX s IDS N 9-9",
            "XACKDEL s g IDS N 9-9",
        ] {
            run(&mut shard, &line.replace('N', count));
        }
    }
    // Counters that have come to their end.
    assert_eq!(
        run(
            &mut shard,
            "XSETID s 18446744073709551615-18446744073709551614 ENTRIESADDED 9223372036854775807"
        ),
        ok()
    );
    assert_eq!(run(&mut shard, "XGROUP SETID s g 3 ENTRIESREAD 9223372036854775807"), ok());
    let last = "18446744073709551615-18446744073709551615";
    assert_eq!(run(&mut shard, "XADD s * a b"), bulk(last));
    assert_eq!(
        run(&mut shard, "XADD s * a b"),
        error("ERR The stream has exhausted the last possible ID, unable to add more items")
    );
    assert_eq!(items(of_one_stream(run(&mut shard, "XREADGROUP GROUP g c STREAMS s >"))).len(), 1);
    assert_eq!(run(&mut shard, "XREADGROUP GROUP g c STREAMS s >"), Value::NullArray);
    run(&mut shard, "XINFO GROUPS s");
    run(&mut shard, &format!("XTRIM s MINID {last}"));
    assert_eq!(run(&mut shard, "XLEN s"), int(1));
    run(&mut shard, &format!("XDELEX s ACKED IDS 1 {last}"));
    run(&mut shard, &format!("XDELEX s DELREF IDS 1 {last}"));
    assert_eq!(run(&mut shard, "XLEN s"), int(0));
}

#[test]
fn generated_ids_follow_the_time_and_never_go_back() {
    let mut shard = shard();
    assert_eq!(run_at(&mut shard, 1000, "XADD s * a b"), bulk("1000-0"));
    assert_eq!(run_at(&mut shard, 1000, "XADD s * a b"), bulk("1000-1"));
    assert_eq!(run_at(&mut shard, 1005, "XADD s * a b"), bulk("1005-0"));
    assert_eq!(run_at(&mut shard, 7, "XADD s * a b"), bulk("1005-1"));
}

#[test]
fn xsetid_can_go_back_behind_what_was_trimmed() {
    let mut shard = shard();
    for line in [
        "XADD s 1-0 a b",
        "XADD s 5-0 a b",
        "XADD s 6-0 a b",
        "XGROUP CREATE s g 1",
        "XREADGROUP GROUP g c STREAMS s >",
    ] {
        run(&mut shard, line);
    }
    run(&mut shard, "XACK s g 6-0");
    run(&mut shard, "XGROUP CREATE s h 9");
    // The last entry goes without a tombstone; the one before is still pending.
    assert_eq!(run(&mut shard, "XTRIM s MAXLEN 0 ACKED"), int(2));
    assert_eq!(run(&mut shard, "XSETID s 5-0"), ok());
    for id in ["5-5", "5-7", "6-0", "6-1"] {
        assert_eq!(run(&mut shard, &format!("XADD s {id} a b")), bulk(id));
    }
    assert_eq!(times(run(&mut shard, "XRANGE s - +")), [5, 5, 5, 6, 6]);
    assert_eq!(times(run(&mut shard, "XREVRANGE s + (5-5")), [6, 6, 5]);
    assert_eq!(run(&mut shard, "XDEL s 6-0"), int(1));
    assert_eq!(times(run(&mut shard, "XRANGE s 6 6")), [6]);
}

//! List commands: what they leave behind, what their changes say, and what happens between the turns of long ones.

mod support;

use kora_engine::change::DeleteReason;
use kora_engine::command::registry;
use kora_engine::exec::Continuation;
use kora_engine::keyspace::View;
use kora_engine::shard::{Applied, Shard};
use support::*;

const VIEW: View = View { db: 0, now: NOW, touch: true };

fn edits(recorder: &Recorder) -> Vec<String> {
    let shown = |change| match change {
        OwnedChange::Edit(edit) => {
            edit.split("edit: ").nth(1).expect("an edit").strip_suffix(" }").expect("a brace").to_owned()
        }
        OwnedChange::Delete { reason, .. } => format!("Delete {reason:?}"),
        other => format!("{other:?}"),
    };
    recorder.take().into_iter().map(shown).collect()
}

#[test]
fn changes_say_what_happened() {
    let mut shard = shard();
    let changes = Recorder::attach(&mut shard);
    run(&mut shard, "rpush l a b");
    assert_eq!(edits(&changes), ["Push { end: Tail, element: [97] }", "Push { end: Tail, element: [98] }"]);
    run(&mut shard, "linsert l after a c");
    assert_eq!(edits(&changes), ["Insert { pivot: 0, after: true, element: [99] }"]);
    run(&mut shard, "lset l -1 d");
    assert_eq!(edits(&changes), ["Set { index: 2, element: [100] }"]);
    run(&mut shard, "lmove l l left right");
    assert_eq!(edits(&changes), ["Pop { end: Head, count: 1 }", "Push { end: Tail, element: [97] }"]);
    run(&mut shard, "rpush l a x a");
    changes.take();
    run(&mut shard, "lrem l 0 a");
    assert_eq!(edits(&changes), ["Remove { index: 5, count: 1 }", "Remove { index: 2, count: 2 }"]);
    run(&mut shard, "ltrim l 1 1");
    assert_eq!(edits(&changes), ["Pop { end: Head, count: 1 }", "Pop { end: Tail, count: 1 }"]);
    run(&mut shard, "lpop l 5");
    assert_eq!(edits(&changes), ["Pop { end: Head, count: 1 }", "Delete Emptied"]);
}

#[test]
fn what_does_nothing_makes_no_change() {
    let mut shard = shard();
    run(&mut shard, "rpush l a b");
    run(&mut shard, "set s 1");
    let changes = Recorder::attach(&mut shard);
    for line in [
        "lpushx missing a",
        "lpop missing",
        "lpop l 0",
        "lset l 2 x",
        "linsert l before missing x",
        "lrem l 0 missing",
        "ltrim l 0 -1",
        "lmove missing l left left",
        "lmpop 1 missing left",
        "lpush s a",
        "lmove l s left left",
        "rpoplpush s l",
    ] {
        run(&mut shard, line);
        assert_eq!(changes.take(), [], "{line}");
    }
    assert_eq!(run(&mut shard, "lrange l 0 -1"), bulks(["a", "b"]));
}

#[test]
fn an_element_that_goes_round_keeps_the_expiry_of_its_list() {
    let mut shard = shard();
    run(&mut shard, "rpush l a");
    run(&mut shard, "expire l 100");
    let changes = Recorder::attach(&mut shard);
    assert_eq!(run(&mut shard, "rpoplpush l l"), bulk("a"));
    assert_eq!(run(&mut shard, "ttl l"), int(100));
    assert!(changes.take().iter().all(|change| !matches!(change, OwnedChange::Delete { .. })));
    run(&mut shard, "lmove l other left left");
    let deleted = OwnedChange::Delete { db: 0, key: b"l".to_vec(), reason: DeleteReason::Emptied };
    assert!(changes.take().contains(&deleted));
}

/// A list of so many elements that commands on all of it take several turns.
fn long_list(shard: &mut Shard, count: usize) {
    for i in 0..count {
        let element = format!("an element that is a little longer than most: {i}");
        run_args(shard, VIEW, &[b"rpush", b"l", element.as_bytes()]);
        run_args(shard, VIEW, &[b"rpush", b"l", b"same"]);
    }
}

/// Starts a command that needs more than one turn.
#[track_caller]
fn start(shard: &mut Shard, argv: &[&[u8]]) -> (Box<dyn Continuation>, Sink) {
    let command = registry().resolve(argv).expect("a command");
    let mut sink = Sink::default();
    match shard.apply(VIEW, command, argv, None, &mut sink) {
        Applied::Later(rest) => (rest, sink),
        _ => panic!("it has ended in one turn"),
    }
}

fn finish(shard: &mut Shard, (mut rest, mut sink): (Box<dyn Continuation>, Sink)) -> Value {
    while !rest.resume(shard, NOW, 1, &mut sink) {}
    sink.finish()
}

#[test]
fn a_long_range_is_that_of_one_moment() {
    for argv in [[&b"lrange"[..], b"l", b"0", b"-1"].as_slice(), &[b"lpop", b"l", b"100000"]] {
        let mut shard = shard();
        long_list(&mut shard, 20_000);
        let Value::Array(before) = run(&mut shard, "lrange l 0 -1") else { panic!("an array") };
        assert_eq!(before.len(), 40_000);
        let (mut rest, mut sink) = start(&mut shard, argv);
        let mut turns = 0;
        while !rest.resume(&mut shard, NOW, 1, &mut sink) {
            turns += 1;
            run(&mut shard, "lpush l new");
            run(&mut shard, "rpush l new");
            run(&mut shard, "lset l 1 other");
            if turns == 20 {
                run(&mut shard, "del l");
            }
        }
        assert!(turns > 20);
        assert_eq!(sink.finish(), Value::Array(before));
    }
}

#[test]
fn a_long_search_changes_the_list_that_is_there_at_its_end() {
    let mut shard = shard();
    long_list(&mut shard, 20_000);
    let lrem = start(&mut shard, &[b"lrem", b"l", b"0", b"same"]);
    run(&mut shard, "lpush l same other");
    run(&mut shard, "rpop l 3");
    run(&mut shard, "lset l 100 same");
    let Value::Array(before) = run(&mut shard, "lrange l 0 -1") else { panic!("an array") };
    let same = before.iter().filter(|&element| *element == bulk("same")).count();
    assert_eq!(finish(&mut shard, lrem), int(same as i64));
    let without: Vec<Value> = before.into_iter().filter(|element| *element != bulk("same")).collect();
    assert_eq!(run(&mut shard, "lrange l 0 -1"), Value::Array(without));

    let linsert = start(&mut shard, &[b"linsert", b"l", b"before", b"absent", b"x"]);
    run(&mut shard, "lset l 10000 absent");
    let Value::Integer(len) = run(&mut shard, "llen l") else { panic!("an integer") };
    assert_eq!(finish(&mut shard, linsert), int(len + 1));
    assert_eq!(run(&mut shard, "lrange l 10000 10001"), bulks(["x", "absent"]));
}

#[test]
fn a_long_search_finds_the_key_gone_or_of_another_type() {
    let mut shard = shard();
    long_list(&mut shard, 20_000);
    let lrem = start(&mut shard, &[b"lrem", b"l", b"-3", b"same"]);
    let lpos = start(&mut shard, &[b"lpos", b"l", b"same", b"count", b"0"]);
    run(&mut shard, "del l");
    assert_eq!(finish(&mut shard, lrem), int(0));
    let indexes = (0..20_000).map(|i| int(2 * i + 1)).collect();
    assert_eq!(finish(&mut shard, lpos), Value::Array(indexes));
    long_list(&mut shard, 20_000);
    let linsert = start(&mut shard, &[b"linsert", b"l", b"before", b"absent", b"x"]);
    run(&mut shard, "set l 1");
    let wrong = error("WRONGTYPE Operation against a key holding the wrong kind of value");
    assert_eq!(finish(&mut shard, linsert), wrong);
    assert_eq!(run(&mut shard, "get l"), bulk("1"));
}

#[test]
fn many_removals_are_one_change() {
    let mut shard = shard();
    long_list(&mut shard, 2000);
    let changes = Recorder::attach(&mut shard);
    assert_eq!(run(&mut shard, "lrem l -1500 same"), int(1500));
    assert_eq!(edits(&changes), ["RemoveEqual { element: [115, 97, 109, 101], count: 1500, nearest: Tail }"]);
}

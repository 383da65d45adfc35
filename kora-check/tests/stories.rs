//! Histories of each kind, written by hand: good ones pass, and of bad ones exactly the operations concerned are named.

mod support;

use kora_check::history::{Kind, Violation};
use kora_check::{linearizability, queues, serializability, History};
use support::history;

/// The violation that the search reports; the operations are lines of the history.
#[track_caller]
fn not_linearizable(lines: &str, operations: &[usize]) -> Violation {
    let history = history(lines);
    let violation = linearizability::check(&history).expect_err("there is no explanation");
    assert_eq!(violation.kind, Kind::NotLinearizable);
    let mut named = violation.operations.clone();
    named.sort_unstable();
    assert_eq!(named, operations, "{violation}");
    violation
}

#[track_caller]
fn linearizable(lines: &str) {
    let history = history(lines);
    linearizability::check(&history).unwrap_or_else(|violation| panic!("{violation}"));
    serializability::check(&history).unwrap_or_else(|violation| panic!("{violation}"));
}

#[track_caller]
fn cycle(lines: &str, operations: &[usize]) {
    let history = history(lines);
    let violation = serializability::check(&history).expect_err("there is a cycle");
    let mut named = violation.operations.clone();
    named.sort_unstable();
    assert_eq!((violation.kind, &named[..]), (Kind::Cycle, operations), "{violation}");
    linearizability::check(&history).expect_err("the search agrees");
}

#[track_caller]
fn queue(lines: &str, kind: Kind, operations: &[usize]) {
    let violation = queues::check(&history(lines)).expect_err("the queue is bad");
    assert_eq!((violation.kind, &violation.operations[..]), (kind, operations), "{violation}");
}

#[track_caller]
fn good_queue(lines: &str) -> History {
    let history = history(lines);
    queues::check(&history).unwrap_or_else(|violation| panic!("{violation}"));
    linearizability::check(&history).unwrap_or_else(|violation| panic!("{violation}"));
    history
}

#[test]
fn overlapping_operations_may_have_any_order() {
    linearizable(
        "1 10 50 SET x 1 -> OK
         2 20 60 SET x 2 -> OK
         3 30 40 GET x -> 2
         3 45 70 GET x -> 1
         4 20 25 GET x -> nil
         4 80 90 GET x -> 1",
    );
}

#[test]
fn equal_times_overlap() {
    linearizable("1 10 20 SET x 1 -> OK\n2 20 30 GET x -> nil");
}

#[test]
fn a_stale_read_is_named_with_the_write_that_it_missed() {
    let violation = not_linearizable(
        "1 10 20 SET x 1 -> OK
         2 12 15 GET y -> nil
         1 30 40 SET x 2 -> OK
         2 42 43 SET y 5 -> OK
         3 50 60 GET x -> 1
         2 70 80 GET x -> 2",
        &[2, 4],
    );
    assert!(violation.story.contains("client 3 [50..60]  GET x -> 1"), "{violation}");
}

#[test]
fn a_read_that_goes_back_is_refused() {
    not_linearizable(
        "1 10 100 SET x 1 -> OK
         2 20 30 GET x -> 1
         3 40 50 GET x -> nil",
        &[0, 1, 2],
    );
}

#[test]
fn a_lost_increment_is_refused() {
    not_linearizable("1 10 20 INCR n -> :1\n2 12 30 INCR n -> :1\n3 40 50 GET n -> 1", &[0, 1]);
}

#[test]
fn an_operation_without_a_reply_may_have_happened_or_not_but_once_and_not_after_its_end() {
    linearizable("1 10 - SET x 1\n2 20 30 GET x -> nil\n2 40 50 GET x -> 1");
    linearizable("1 10 - SET x 1\n2 20 30 GET x -> nil\n2 40 50 GET x -> nil");
    linearizable("1 10 -35 INCR x\n2 20 30 GET x -> nil\n2 40 50 INCR x -> :2\n2 60 70 GET x -> 2");
    not_linearizable("1 10 -35 SET x 1\n2 40 50 GET x -> nil\n2 60 70 GET x -> 1", &[1, 2]);
    not_linearizable("1 10 - INCR x\n2 40 50 INCR x -> :3", &[0, 1]);
}

#[test]
fn half_of_a_command_over_two_keys_is_refused() {
    let lines = "1 10 100 MSET x 1 y 1 -> OK
                 2 20 30 GET x -> 1
                 2 40 50 GET y -> nil";
    not_linearizable(lines, &[0, 1, 2]);
    cycle(lines, &[0, 1, 2]);
}

#[test]
fn two_writers_must_not_interleave() {
    cycle(
        "1 10 50 MSET x 1 y 1 -> OK
         2 10 50 MSET x 2 y 2 -> OK
         3 60 70 MGET x y -> [1 2]",
        &[0, 1, 2],
    );
    // All at the same time: only the reads tell.
    cycle(
        "1 10 50 MSET x 1 y 1 -> OK
         2 10 50 MSET x 2 y 2 -> OK
         3 10 50 MGET x y -> [1 2]
         4 10 50 MGET x y -> [1 1]",
        &[0, 1, 2, 3],
    );
}

#[test]
fn readers_of_two_keys_must_agree_on_the_order_of_writers() {
    cycle(
        "1 10 90 SET x 1 -> OK
         2 10 90 SET y 1 -> OK
         3 20 30 MGET x y -> [1 nil]
         4 20 30 MGET x y -> [nil 1]",
        &[0, 1, 2, 3],
    );
}

#[test]
fn two_transactions_that_replace_the_same_value_are_a_lost_update() {
    cycle("1 10 20 SET x 1 -> OK\n2 30 90 GETSET x 2 -> 1\n3 30 90 GETSET x 3 -> 1", &[1, 2]);
}

#[test]
fn a_value_that_nobody_wrote_is_refused() {
    let history = history("1 10 20 SET x 1 -> OK\n2 10 20 GET x -> 7");
    assert_eq!(serializability::check(&history).unwrap_err().kind, Kind::Invented);
    assert_eq!(linearizability::check(&history).unwrap_err().operations, [1, 0]);
}

#[test]
fn a_renamed_key_is_never_gone_nor_there_twice() {
    let before = "1 10 20 SET x 1 -> OK\n";
    not_linearizable(&format!("{before}1 30 90 RENAME x y -> OK\n2 40 50 EXISTS x y -> :0"), &[0, 1, 2]);
    not_linearizable(&format!("{before}1 30 90 RENAME x y -> OK\n2 40 50 MGET x y -> [1 1]"), &[1, 2]);
    linearizable(&format!("{before}1 30 90 RENAME x y -> OK\n2 40 50 MGET x y -> [nil 1]"));
}

#[test]
fn a_failed_msetnx_changes_nothing() {
    let lines = "1 10 20 SET y 1 -> OK\n2 30 40 MSETNX x 2 y 2 -> :0\n3 35 50 GET x -> ";
    linearizable(&format!("{lines}nil"));
    not_linearizable(&format!("{lines}2"), &[1, 2]);
}

#[test]
fn the_commands_of_a_transaction_happen_at_one_moment() {
    let lines = "1 10 20 MSET a 50 b 50 -> OK
                 2 30 90 DECRBY a 10 -> :40 ; INCRBY b 10 -> :60
                 3 40 50 MGET a b -> ";
    linearizable(&format!("{lines}[40 60]"));
    linearizable(&format!("{lines}[50 50]"));
    not_linearizable(&format!("{lines}[40 50]"), &[1, 2]);
}

#[test]
fn moved_members_are_in_one_set() {
    let lines = "1 10 20 SADD x a b -> :2\n1 30 90 SMOVE x y a -> :1\n";
    linearizable(&format!("{lines}2 40 50 SUNION x y -> [b a]"));
    not_linearizable(&format!("{lines}2 40 50 SUNION x y -> [b]"), &[1, 2]);
}

#[test]
fn a_queue_may_be_empty_between_elements() {
    let history = good_queue(
        "1 10 20 RPUSH q a b -> :2
         2 15 30 LPOP q -> a
         3 16 40 BLPOP q 1 -> [q b]
         4 35 50 LPOP q -> nil
         1 60 70 RPUSH q c -> :1
         4 60 70 LPOP q -> nil
         2 65 80 LPOP q -> c
         2 90 95 LPOP q -> nil",
    );
    let judged = queues::check(&history).unwrap();
    assert_eq!((judged.queues, judged.delivered, judged.remaining), (1, 3, 0));
}

#[test]
fn an_element_comes_out_once() {
    queue("1 10 20 RPUSH q a -> :1\n2 30 40 LPOP q -> a\n3 30 40 LPOP q -> a", Kind::Duplicated, &[0, 1, 2]);
    queue("1 10 20 RPUSH q a -> :1\n2 30 40 LPOP q -> b", Kind::Invented, &[1]);
    queue("2 10 20 LPOP q -> a\n1 30 40 RPUSH q a -> :1", Kind::Invented, &[0, 1]);
}

#[test]
fn elements_come_out_in_their_order() {
    queue(
        "1 10 20 RPUSH q a -> :1\n2 30 40 RPUSH q b -> :1\n3 50 60 LPOP q -> b\n3 70 80 LPOP q -> a",
        Kind::Reordered,
        &[0, 1, 2, 3],
    );
    queue("1 10 20 RPUSH q a b -> :2\n3 50 60 LPOP q -> b", Kind::Reordered, &[0, 1]);
    queue("1 10 20 RPUSH q a b -> :2\n3 50 60 LPOP q 2 -> [b a]", Kind::Reordered, &[0, 1]);
    good_queue("1 10 40 LPUSH q a -> :2\n2 30 40 LPUSH q b -> :1\n3 50 60 RPOP q -> b\n3 70 80 RPOP q -> a");
}

#[test]
fn a_queue_with_elements_is_not_empty() {
    queue("1 10 20 RPUSH q a -> :1\n2 30 40 LPOP q -> nil\n3 50 60 LPOP q -> a", Kind::Lost, &[0, 1, 2]);
    // One element after the other was in it all the time.
    queue(
        "1 10 20 RPUSH q a -> :1\n3 25 90 LPOP q -> nil\n1 30 40 RPUSH q b -> :2\n2 50 60 LPOP q -> a\n2 95 99 LPOP q -> b",
        Kind::Lost,
        &[0, 2, 1, 3, 4],
    );
    queue("1 10 20 RPUSH q a -> :1\n2 30 40 LPOP q -> nil", Kind::Lost, &[0, 1]);
}

#[test]
fn a_blocked_client_whose_time_is_up_has_found_nothing_at_that_moment() {
    // 100 nanoseconds more than the precision.
    let lines = "2 10 120 BLPOP q 0.2000001 -> nil\n1 50 60 RPUSH q a -> :1\n";
    queue(&format!("{lines}2 200 210 LPOP q -> a"), Kind::Lost, &[1, 0, 2]);
    let lines = lines.replace("50 60", "50 115");
    good_queue(&format!("{lines}2 200 210 LPOP q -> a"));
}

#[test]
fn a_pop_without_a_reply_may_have_taken_one_element() {
    good_queue("1 10 20 RPUSH q a b -> :2\n2 30 - LPOP q\n3 40 50 LPOP q -> b\n3 60 70 LPOP q -> nil");
    queue(
        "1 10 20 RPUSH q a b c -> :3\n2 30 - LPOP q\n3 40 50 LPOP q -> c\n3 60 70 LPOP q -> nil",
        Kind::Lost,
        &[0, 3],
    );
    // It was gone before the element was pushed.
    queue("2 10 -15 BLPOP q 0\n1 20 30 RPUSH q a -> :1\n3 60 70 LPOP q -> nil", Kind::Lost, &[1, 2]);
}

#[test]
fn a_move_without_a_reply_takes_its_element_along() {
    good_queue(
        "1 10 20 RPUSH p a -> :1\n2 30 - LMOVE p q LEFT RIGHT\n3 60 70 LPOP p -> nil\n3 80 90 LPOP q -> a",
    );
    queue("1 10 20 RPUSH p a -> :1\n3 60 70 LPOP p -> nil\n3 80 90 LPOP q -> a", Kind::Lost, &[0, 1]);
}

#[test]
fn commands_without_a_specification_are_refused_and_not_ignored() {
    let error = History::new()
        .add(1, 1, &[vec!["SET", "x", "1", "KEEPTTL"]], kora_check::history::Outcome::Unknown { until: 2 })
        .unwrap_err();
    assert_eq!(error.to_string(), "the checker does not know this command: SET x 1 KEEPTTL");
}

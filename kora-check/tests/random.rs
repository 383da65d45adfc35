//! Random histories: those of a serial run are accepted however their operations overlap, and each check agrees with an obviously right one.

mod support;

use kora_check::command::Reply;
use kora_check::history::{History, Kind, Outcome};
use kora_check::{linearizability, queues, serializability};
use proptest::prelude::*;
use support::{drafts, has_explanation, perform, unique_drafts, Draft, Fate, STEP};

/// A history with another reply to one of its operations: that of another operation, or one that nobody can have been given.
fn with_other_reply(history: &History, which: usize, from: Option<usize>) -> Option<History> {
    let operations = history.operations();
    let mut changed = History::new();
    for key in support::KEYS {
        changed.key(key.as_bytes());
    }
    let replied: Vec<usize> =
        (0..operations.len()).filter(|&at| operations[at].replies().is_some()).collect();
    let which = *replied.get(which % replied.len().max(1))?;
    for (at, operation) in operations.iter().enumerate() {
        let mut operation = operation.clone();
        if let (true, Outcome::Replied { replies, .. }) = (at == which, &mut operation.outcome) {
            replies[0] = match from {
                None => Reply::bulk("nobody wrote this"),
                Some(from) => operations[replied[from % replied.len()]].replies()?[0].clone(),
            };
        }
        changed.push(operation);
    }
    Some(changed)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(25))]

    #[test]
    fn serial_runs_are_accepted_by_all_checks(drafts in drafts(300, 6, 4 * STEP)) {
        let history = perform(&drafts);
        prop_assert_eq!(linearizability::check(&history), Ok(()));
        if let Err(violation) = serializability::check(&history) {
            prop_assert!(false, "{}", violation);
        }
        if let Err(violation) = queues::check(&history) {
            prop_assert!(false, "{}", violation);
        }
    }

    #[test]
    fn a_reply_that_cannot_be_is_refused(drafts in drafts(120, 5, 3 * STEP), which: usize) {
        if let Some(history) = with_other_reply(&perform(&drafts), which, None) {
            let violation = linearizability::check(&history).unwrap_err();
            prop_assert_eq!(violation.kind, Kind::NotLinearizable);
            prop_assert!(violation.story.contains("nobody wrote this"), "{}", violation);
        }
    }
}

proptest! {
    #![proptest_config(config(800))]

    #[test]
    fn the_search_agrees_with_trying_all_orders(
        drafts in drafts(7, 4, 3 * STEP), which: usize, from: usize,
    ) {
        let history = perform(&drafts);
        prop_assert!(has_explanation(&history));
        if let Some(changed) = with_other_reply(&history, which, Some(from)) {
            prop_assert_eq!(linearizability::check(&changed).is_ok(), has_explanation(&changed));
        }
    }

    #[test]
    fn a_cycle_is_only_reported_where_there_is_no_order(
        drafts in unique_drafts(12, 4, 3 * STEP), which: usize, from: usize,
    ) {
        let history = perform(&drafts);
        prop_assert!(serializability::check(&history).is_ok());
        if let Some(changed) = with_other_reply(&history, which, Some(from)) {
            if let Err(violation) = serializability::check(&changed) {
                prop_assert!(linearizability::check(&changed).is_err(), "{}", violation);
            }
        }
    }

    #[test]
    fn queues_are_judged_as_by_the_search(
        pushes in prop::collection::vec((0..4u32, 0..=3 * STEP, 0..=3 * STEP, any::<bool>()), 1..14),
        which: usize, from: usize,
    ) {
        let drafts: Vec<Draft> = pushes
            .into_iter()
            .enumerate()
            .map(|(at, (client, before, after, pushes))| {
                let element = format!("e{at}");
                let words: &[&str] = if pushes { &["RPUSH", "x", &element] } else { &["LPOP", "x"] };
                let commands = vec![words.iter().map(|word| word.to_string()).collect()];
                Draft { client, commands, before, after, fate: Fate::Replied }
            })
            .collect();
        let history = perform(&drafts);
        if let Err(violation) = queues::check(&history) {
            prop_assert!(false, "{}", violation);
        }
        if let Some(changed) = with_other_pop(&history, which, from) {
            prop_assert_eq!(queues::check(&changed).is_ok(), is_a_queue(&changed), "{:#?}", changed);
        }
    }
}

/// Exchanges what two pops were given.
fn with_other_pop(history: &History, which: usize, from: usize) -> Option<History> {
    let operations = history.operations();
    let pops: Vec<usize> = (0..operations.len())
        .filter(|&at| !matches!(operations[at].replies(), Some([Reply::Int(_)])))
        .collect();
    let (a, b) = (*pops.get(which % pops.len().max(1))?, *pops.get(from % pops.len().max(1))?);
    let mut changed = History::new();
    for key in support::KEYS {
        changed.key(key.as_bytes());
    }
    for (at, operation) in operations.iter().enumerate() {
        let mut operation = operation.clone();
        let other = if at == a { b } else { a };
        if at == a || at == b {
            if let Outcome::Replied { replies, .. } = &mut operation.outcome {
                *replies = operations[other].replies()?.to_vec();
            }
        }
        changed.push(operation);
    }
    Some(changed)
}

/// Whether some order of the operations is one of a queue. The lengths that pushes reply are ignored, as by the check.
fn is_a_queue(history: &History) -> bool {
    fn follow(history: &History, happened: &mut Vec<usize>, queue: &[Reply]) -> bool {
        let operations = history.operations();
        let open: Vec<usize> = (0..operations.len()).filter(|at| !happened.contains(at)).collect();
        open.is_empty()
            || open.iter().any(|&at| {
                if open.iter().any(|&other| other != at && operations[other].precedes(&operations[at])) {
                    return false;
                }
                let mut queue = queue.to_vec();
                match (&operations[at].commands[0], &operations[at].replies().unwrap()[0]) {
                    (kora_check::command::Command::Push { elements, .. }, _) => {
                        queue.push(Reply::Bulk(elements[0].clone()));
                    }
                    (_, Reply::Nil) if queue.is_empty() => {}
                    (_, element) if queue.first() == Some(element) => drop(queue.remove(0)),
                    _ => return false,
                }
                happened.push(at);
                let found = follow(history, happened, &queue);
                happened.pop();
                found
            })
    }
    follow(history, &mut Vec::new(), &[])
}

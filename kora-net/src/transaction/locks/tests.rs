use super::*;
use proptest::prelude::*;

fn keys(wanted: &[(u64, Mode)]) -> Wants {
    Wants::keys(wanted.iter().copied())
}

fn granted<W: std::fmt::Debug>(asked: Asked<W>) -> Lease {
    match asked {
        Asked::Granted(lease) => lease,
        other => panic!("{other:?}"),
    }
}

fn released<W>(locks: &mut Locks<W>, lease: Lease) -> Vec<(Lease, W)> {
    let mut ready = VecDeque::new();
    locks.release(lease, &mut ready);
    ready.into()
}

use Mode::{Exclusive, Shared};

#[test]
fn readers_share_a_key_and_writers_do_not() {
    let mut locks = Locks::default();
    let first = granted(locks.ask(keys(&[(1, Shared)]), true, 'a'));
    let second = granted(locks.ask(keys(&[(1, Shared)]), true, 'b'));
    assert_eq!(locks.ask(keys(&[(1, Exclusive)]), true, 'c'), Asked::Waiting);
    assert!(!locks.is_free(&keys(&[(1, Shared)])), "a reader does not overtake the writer that waits");
    assert!(locks.is_free(&keys(&[(2, Exclusive)])));
    assert!(released(&mut locks, first).is_empty());
    let mut ready = released(&mut locks, second);
    let (lease, waiter) = ready.pop().unwrap();
    assert_eq!(waiter, 'c');
    assert!(released(&mut locks, lease).is_empty());
    assert!(locks.is_empty());
    assert!(locks.keys.is_empty() && locks.gate.is_unused());
}

#[test]
fn a_key_named_twice_is_held_in_the_stronger_way() {
    let mut locks = Locks::default();
    let lease = granted(locks.ask(keys(&[(1, Shared), (1, Exclusive), (1, Shared)]), true, 'a'));
    assert!(!locks.is_free(&keys(&[(1, Shared)])));
    assert!(locks.covers(&lease, 1) && !locks.covers(&lease, 2));
    released(&mut locks, lease);
    assert!(locks.is_empty());
}

#[test]
fn the_whole_shard_waits_for_its_keys_and_they_for_it() {
    let mut locks = Locks::default();
    let key = granted(locks.ask(keys(&[(1, Exclusive)]), true, 'a'));
    assert_eq!(locks.ask(Wants::whole(Exclusive), true, 'w'), Asked::Waiting);
    // One that would hold something does not overtake at the gate; one that holds nothing delays nobody.
    assert_eq!(locks.ask(keys(&[(2, Exclusive)]), true, 'b'), Asked::Waiting);
    assert!(!locks.is_free(&keys(&[(2, Exclusive)])), "it would overtake one of its key");
    assert!(locks.is_free(&keys(&[(3, Exclusive)])));
    let (whole, waiter) = released(&mut locks, key).pop().unwrap();
    assert_eq!(waiter, 'w');
    assert!(!locks.is_free(&keys(&[(3, Shared)])));
    assert_eq!(released(&mut locks, whole).pop().unwrap().1, 'b');
}

#[test]
fn a_shard_that_is_read_as_a_whole_lets_readers_in() {
    let mut locks = Locks::default();
    let whole = granted(locks.ask(Wants::whole(Shared), true, 'a'));
    assert!(locks.is_free(&keys(&[(1, Shared)])));
    assert!(!locks.is_free(&keys(&[(1, Shared), (2, Exclusive)])));
    released(&mut locks, whole);
}

#[test]
fn who_is_not_patient_is_refused_and_leaves_no_trace() {
    let mut locks = Locks::default();
    let first = granted(locks.ask(keys(&[(1, Exclusive)]), false, 'a'));
    assert_eq!(locks.ask(keys(&[(1, Shared), (2, Shared)]), false, 'b'), Asked::Refused('b'));
    assert!(locks.is_free(&keys(&[(2, Exclusive)])));
    assert_eq!(locks.ask(keys(&[(1, Shared)]), true, 'c'), Asked::Waiting);
    let (lease, waiter) = released(&mut locks, first).pop().unwrap();
    assert_eq!(waiter, 'c');
    released(&mut locks, lease);
    assert!(locks.is_empty() && locks.keys.is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    Ask(Vec<(u64, bool)>, Option<bool>),
    Release(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ask =
        (prop::collection::vec((0u64..6, any::<bool>()), 1..4), prop::option::weighted(0.15, any::<bool>()))
            .prop_map(|(keys, whole)| Step::Ask(keys, whole));
    prop::collection::vec(prop_oneof![3 => ask, 2 => (0usize..50).prop_map(Step::Release)], 1..120)
}

/// Whether two may hold what they want at the same time: written down without lock modes.
fn conflict(a: &Wants, b: &Wants) -> bool {
    let writes = |w: &Wants| {
        w.whole == Some(Exclusive) || w.whole.is_none() && w.keys.iter().any(|&(_, mode)| mode == Exclusive)
    };
    if a.whole.is_some() || b.whole.is_some() {
        return writes(a) || writes(b);
    }
    a.keys.iter().any(|&(key, mode)| {
        b.keys.iter().any(|&(other, how)| other == key && (mode == Exclusive || how == Exclusive))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    /// Nobody holds what conflicts with another holder; those that conflict are served in the order of asking; nobody is forgotten.
    #[test]
    fn holders_never_conflict_and_everybody_is_served(steps in steps()) {
        let mut locks: Locks<usize> = Locks::default();
        let mut wanted: Vec<Wants> = Vec::new();
        let mut holders: Vec<(usize, Lease)> = Vec::new();
        let mut served: Vec<usize> = Vec::new();
        let check = |served: &mut Vec<usize>, wanted: &[Wants], holders: &[(usize, Lease)], new: usize| {
            for (other, _) in holders {
                assert!(!conflict(&wanted[new], &wanted[*other]), "{new} and {other}");
            }
            for (before, wants) in wanted[..new].iter().enumerate() {
                assert!(served.contains(&before) || !conflict(wants, &wanted[new]), "{new} before {before}");
            }
            served.push(new);
        };
        for step in steps {
            match step {
                Step::Ask(list, whole) => {
                    let mode = |exclusive| if exclusive { Exclusive } else { Shared };
                    let wants = match whole {
                        Some(exclusive) => Wants::whole(mode(exclusive)),
                        None => Wants::keys(list.into_iter().map(|(key, exclusive)| (key, mode(exclusive)))),
                    };
                    let number = wanted.len();
                    wanted.push(wants.clone());
                    let free = locks.is_free(&wants);
                    match locks.ask(wants, true, number) {
                        Asked::Granted(lease) => {
                            assert!(free);
                            check(&mut served, &wanted, &holders, number);
                            holders.push((number, lease));
                        }
                        Asked::Waiting => {}
                        Asked::Refused(_) => unreachable!("it is patient"),
                    }
                }
                Step::Release(at) if !holders.is_empty() => {
                    let (_, lease) = holders.swap_remove(at % holders.len());
                    for (lease, number) in released(&mut locks, lease) {
                        check(&mut served, &wanted, &holders, number);
                        holders.push((number, lease));
                    }
                }
                Step::Release(_) => assert!(locks.is_empty()),
            }
        }
        while let Some((_, lease)) = holders.pop() {
            for (lease, number) in released(&mut locks, lease) {
                check(&mut served, &wanted, &holders, number);
                holders.push((number, lease));
            }
        }
        prop_assert_eq!(served.len(), wanted.len());
        prop_assert!(locks.is_empty() && locks.keys.is_empty() && locks.gate.is_unused());
    }
}

#[test]
fn a_key_that_is_split_off_a_lease_is_held_without_a_gap() {
    let mut locks = Locks::default();
    let lease = granted(locks.ask(keys(&[(1, Exclusive), (2, Shared)]), true, 'a'));
    assert_eq!(locks.ask(keys(&[(1, Exclusive)]), true, 'b'), Asked::Waiting);
    assert_eq!(locks.ask(Wants::whole(Exclusive), true, 'w'), Asked::Waiting);
    assert_eq!(locks.split(&lease, 2), None, "it is held together with others");
    assert_eq!(locks.split(&lease, 3), None);
    let split = locks.split(&lease, 1).expect("it is held by one alone");
    assert!(!locks.covers(&lease, 1) && locks.covers(&split, 1));
    assert!(released(&mut locks, lease).is_empty(), "nobody gets the key in between");
    let (next, waiter) = released(&mut locks, split).pop().unwrap();
    assert_eq!(waiter, 'b');
    let (whole, waiter) = released(&mut locks, next).pop().unwrap();
    assert_eq!(waiter, 'w');
    assert_eq!(locks.split(&whole, 1), None);
    assert!(released(&mut locks, whole).is_empty());
    assert!(locks.is_empty());
    assert!(locks.keys.is_empty() && locks.gate.is_unused());
}

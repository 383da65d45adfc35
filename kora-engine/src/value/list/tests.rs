//! A list behaves as a deque of strings.

use super::search::Preparation;
use super::*;
use crate::value::element::tests::texts;
use proptest::prelude::*;
use std::collections::VecDeque;

#[derive(Debug, Clone)]
enum Step {
    Push(End, Vec<u8>),
    /// The same text with a number behind it, so many times.
    PushMany(End, Vec<u8>, usize),
    Pop(End),
    PopMany(End, usize),
    Insert(usize, bool, Vec<u8>),
    Set(usize, Vec<u8>),
    Remove(usize, usize),
    /// An element that is there, or not.
    RemoveEqual(usize, usize, End),
    /// The same after a search in slices of so many blocks, during which elements come and go at the ends and in the middle.
    RemovePrepared(usize, usize, End, usize, Vec<(usize, Vec<u8>)>),
    InsertPrepared(usize, bool, usize, Vec<(usize, Vec<u8>)>),
    /// One of few texts, so many times.
    PushSame(End, usize, usize),
    Find(usize, End, usize),
    Snapshot(usize, usize, bool),
    Rebuild,
}

const SAME: [&str; 3] = ["7", "same", "a longer one, that is the same every time"];

fn meanwhile() -> impl Strategy<Value = Vec<(usize, Vec<u8>)>> {
    let text =
        prop_oneof![prop::sample::select(&SAME[..]).prop_map(|text| text.as_bytes().to_vec()), texts()];
    proptest::collection::vec((any::<usize>(), text), 0..6)
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Head), Just(End::Tail)]
}

fn step() -> impl Strategy<Value = Step> {
    let at = any::<usize>;
    let few = || prop_oneof![Just(1usize), 0..10usize, 0..3000usize];
    prop_oneof![
        4 => (end(), texts()).prop_map(|(end, text)| Step::Push(end, text)),
        2 => (end(), prop_oneof![Just(b"".to_vec()), Just(b"element:".to_vec()), texts()], few())
            .prop_map(|(end, text, n)| Step::PushMany(end, text, n)),
        4 => end().prop_map(Step::Pop),
        1 => (end(), few()).prop_map(|(end, n)| Step::PopMany(end, n)),
        3 => (at(), any::<bool>(), texts()).prop_map(|(at, after, text)| Step::Insert(at, after, text)),
        3 => (at(), texts()).prop_map(|(at, text)| Step::Set(at, text)),
        1 => (at(), few()).prop_map(|(at, n)| Step::Remove(at, n)),
        1 => (at(), few(), end()).prop_map(|(at, n, end)| Step::RemoveEqual(at, n, end)),
        1 => (at(), few(), end(), 1..5usize, meanwhile())
            .prop_map(|(at, n, end, slice, changes)| Step::RemovePrepared(at, n, end, slice, changes)),
        1 => (at(), any::<bool>(), 1..5usize, meanwhile())
            .prop_map(|(at, after, slice, changes)| Step::InsertPrepared(at, after, slice, changes)),
        2 => (end(), 0..SAME.len(), few()).prop_map(|(end, which, n)| Step::PushSame(end, which, n)),
        1 => (at(), end(), few()).prop_map(|(at, end, n)| Step::Find(at, end, n)),
        1 => (at(), few(), any::<bool>()).prop_map(|(at, n, back)| Step::Snapshot(at, n, back)),
        1 => Just(Step::Rebuild),
    ]
}

fn push(list: &mut List, model: &mut VecDeque<Vec<u8>>, end: End, text: Vec<u8>, fill: Fill) {
    list.before_growing(text.len(), 1, fill);
    list.push(end, &text);
    match end {
        End::Head => model.push_front(text),
        End::Tail => model.push_back(text),
    }
}

fn run(list: &mut List, model: &mut VecDeque<Vec<u8>>, step: Step, fill: Fill) {
    let len = model.len();
    match step {
        Step::Push(end, text) => push(list, model, end, text, fill),
        Step::PushMany(end, text, n) => {
            for i in 0..n {
                let text = [&text[..text.len().min(40)], i.to_string().as_bytes()].concat();
                push(list, model, end, text, fill);
            }
        }
        Step::Pop(end) => {
            let expected = match end {
                End::Head => model.pop_front(),
                End::Tail => model.pop_back(),
            };
            assert_eq!(list.pop(end, |element| element.to_vec()), expected);
            list.after_shrinking(fill);
        }
        Step::PopMany(end, n) => {
            let n = n.min(len);
            list.pop_many(end, n);
            list.after_shrinking(fill);
            match end {
                End::Head => model.drain(..n),
                End::Tail => model.drain(len - n..),
            };
        }
        Step::Insert(at, after, text) if len > 0 => {
            let pivot = at % len;
            list.before_growing(text.len(), 1, fill);
            list.insert(pivot, after, &text);
            model.insert(pivot + after as usize, text);
        }
        Step::Set(at, text) if len > 0 => {
            list.before_growing(text.len(), 1, fill);
            list.set(at % len, &text);
            list.after_shrinking(fill);
            model[at % len] = text;
        }
        Step::Remove(at, n) => {
            let start = at % (len + 1);
            let n = n.min(len - start);
            list.remove(start, n);
            list.after_shrinking(fill);
            model.drain(start..start + n);
        }
        Step::RemoveEqual(at, limit, end) => {
            let needle = needle(model, at);
            remove_equal(list, model, &needle, limit.max(1), end, None, fill);
        }
        Step::RemovePrepared(at, limit, end, slice, changes) if len > 0 => {
            let (needle, limit) = (needle(model, at), limit.max(1));
            let snapshot = list.snapshot(0..len);
            let mut known = Preparation::new(&needle, limit, end, true, snapshot);
            change_meanwhile(list, model, &changes, fill, &mut || known.advance(slice));
            remove_equal(list, model, &needle, limit, end, Some(known), fill);
        }
        Step::InsertPrepared(at, after, slice, changes) if len > 0 => {
            let needle = needle(model, at);
            let mut known = Preparation::new(&needle, 1, End::Head, false, list.snapshot(0..len));
            change_meanwhile(list, model, &changes, fill, &mut || known.advance(slice));
            let place = model.iter().position(|text| *text == needle);
            assert_eq!(list.first_equal(&needle, Some(known)), place);
            if let Some(pivot) = place {
                list.before_growing(3, 1, fill);
                list.insert(pivot, after, b"new");
                model.insert(pivot + after as usize, b"new".to_vec());
            }
        }
        Step::PushSame(end, which, n) => {
            for _ in 0..n {
                push(list, model, end, SAME[which].into(), fill);
            }
        }
        Step::Find(at, end, limit) => {
            let needle = needle(model, at);
            let mut found = Vec::new();
            list.find(&needle, end, limit, &mut |index| {
                found.push(index);
                found.len() < 5
            });
            let is = |index: &usize| model[*index] == needle;
            let expected: Vec<usize> = match end {
                End::Head => (0..len).take(limit).filter(is).take(5).collect(),
                End::Tail => (0..len).rev().take(limit).filter(is).take(5).collect(),
            };
            assert_eq!(found, expected);
        }
        Step::Snapshot(at, n, back) => {
            let start = at % (len + 1);
            let range = start..start + n.min(len - start);
            let mut expected: Vec<Vec<u8>> = model.range(range.clone()).cloned().collect();
            assert!(list.range(range.clone()).map(Element::to_vec).eq(expected.iter().cloned()));
            let mut snapshot = list.snapshot(range);
            // It does not see what happens next.
            for end in [End::Head, End::Tail] {
                push(list, model, end, b"new".to_vec(), fill);
            }
            list.set(1, b"other");
            model[1] = b"other".to_vec();
            if back {
                expected.reverse();
            }
            let mut read = Vec::new();
            while !snapshot.is_empty() {
                let visit = &mut |element: Element<'_>| {
                    read.push(element.to_vec());
                    read.len() % 5 > 0
                };
                match back {
                    false => snapshot.read(7, visit),
                    true => snapshot.read_back(7, visit),
                }
            }
            assert_eq!(read, expected);
        }
        Step::Rebuild => {
            let mut bytes = Vec::new();
            list.encode(&mut bytes);
            let decoded = List::decode(&bytes, 0).expect("it was encoded");
            decoded.check();
            assert!(decoded.range(0..len).map(Element::to_vec).eq(model.iter().cloned()));
            *list = list.clone();
        }
        _ => {}
    }
}

/// An element that is there, or not.
fn needle(model: &VecDeque<Vec<u8>>, at: usize) -> Vec<u8> {
    model.get(at % (model.len() + 1)).cloned().unwrap_or(b"absent".to_vec())
}

fn change_meanwhile(
    list: &mut List,
    model: &mut VecDeque<Vec<u8>>,
    changes: &[(usize, Vec<u8>)],
    fill: Fill,
    search: &mut dyn FnMut() -> bool,
) {
    for (at, text) in changes {
        search();
        let len = model.len();
        match at % 6 {
            0 => push(list, model, End::Head, text.clone(), fill),
            1 => push(list, model, End::Tail, text.clone(), fill),
            2 => run(list, model, Step::Pop(End::Head), fill),
            3 => run(list, model, Step::Pop(End::Tail), fill),
            4 => run(list, model, Step::Set(at / 6, text.clone()), fill),
            _ => run(list, model, Step::Insert(at / 6 % (len + 1), true, text.clone()), fill),
        }
    }
    while !search() {}
}

fn remove_equal(
    list: &mut List,
    model: &mut VecDeque<Vec<u8>>,
    needle: &[u8],
    limit: usize,
    end: End,
    known: Option<Preparation>,
    fill: Fill,
) {
    let runs = list.remove_equal(needle, limit, end, known);
    list.after_shrinking(fill);
    let mut indexes: Vec<usize> = (0..model.len()).filter(|&index| model[index] == needle).collect();
    let more = indexes.len().saturating_sub(limit);
    match end {
        End::Head => indexes.truncate(indexes.len() - more),
        End::Tail => {
            indexes.drain(..more);
        }
    }
    let removed: Vec<usize> = runs.iter().flat_map(|&(index, count)| index..index + count).collect();
    assert_eq!(removed, indexes);
    let mut index = 0;
    model.retain(|_| {
        index += 1;
        indexes.binary_search(&(index - 1)).is_err()
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn it_behaves_as_a_deque(
        steps in proptest::collection::vec(step(), 1..80),
        fill in prop::sample::select(&[-2, -1, -5, 1, 3, 128, 0][..]),
    ) {
        let fill = Fill::new(fill);
        let (mut list, mut model) = (List::new(0), VecDeque::new());
        for step in steps {
            run(&mut list, &mut model, step, fill);
            list.check();
            prop_assert_eq!(list.len(), model.len());
            prop_assert_eq!(list.is_empty(), model.is_empty());
            if let Some(middle) = model.get(model.len() / 2) {
                prop_assert_eq!(&list.get(model.len() / 2).to_vec(), middle);
            }
            prop_assert!(list.range(0..model.len()).map(Element::to_vec).eq(model.iter().cloned()));
        }
    }

    #[test]
    fn any_bytes_are_a_list_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Some(list) = List::decode(&bytes, 0) {
            list.check();
            let mut again = Vec::new();
            list.encode(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }
}

fn filled(len: usize, text: impl Fn(usize) -> String) -> List {
    let mut list = List::new(0);
    for i in 0..len {
        let text = text(i);
        list.before_growing(text.len(), 1, Fill::new(-2));
        list.push(End::Tail, text.as_bytes());
    }
    list
}

#[test]
fn memory_per_element_is_below_that_of_a_listpack() {
    // Bytes per element of redis-server 8.0.6, MEMORY USAGE of the same lists without the key.
    let of = |list: &List, len: usize| list.memory() as f64 / len as f64;
    let ids = filled(100_000, |i| format!("element:{i:08}"));
    assert!(of(&ids, 100_000) < 18.0 * 0.75, "{}", of(&ids, 100_000));
    let ints = filled(100_000, |i| (i * 10).to_string());
    assert!(of(&ints, 100_000) < 5.0 * 0.65, "{}", of(&ints, 100_000));
    let small = filled(100, |i| format!("element:{i:04}"));
    assert!(small.memory() < 1407 * 3 / 4, "{}", small.memory());
}

#[test]
fn a_list_that_drains_gives_its_memory_back() {
    for end in [End::Head, End::Tail] {
        let mut list = filled(50_000, |i| format!("element:{i:08}"));
        let full = list.memory();
        while list.len() > 10 {
            list.pop(end, |_| ());
            list.after_shrinking(Fill::new(-2));
        }
        assert!(list.memory() < 512, "{} of {full}", list.memory());
        assert!(matches!(list, List::Packed(_)));
    }
}

#[test]
fn a_queue_that_moves_on_keeps_its_memory() {
    for (push, pop) in [(End::Tail, End::Head), (End::Head, End::Tail)] {
        let mut list = filled(200, |i| format!("element:{i:08}"));
        for i in 0..100_000 {
            list.before_growing(16, 1, Fill::new(-2));
            list.push(push, format!("element:{i:08}").as_bytes());
            list.pop(pop, |_| ());
            list.after_shrinking(Fill::new(-2));
            assert!(list.memory() <= 2 * 4096);
        }
        assert_eq!(list.len(), 200);
        list.check();
    }
}

//! The tree against a sorted vector.

use super::*;
use proptest::prelude::*;

/// Members by number: a pin's bits are an index.
struct Names(Vec<Vec<u8>>);

impl Members for Names {
    fn member(&self, pin: Pin) -> &[u8] {
        &self.0[pin.bits() as usize]
    }
}

fn names(count: usize) -> Names {
    // In an order that is not that of the numbers, some names a prefix of others, one empty.
    let name = |i: usize| match i {
        0 => Vec::new(),
        i => format!("{:x}", (i * 7919) % 10007).into_bytes(),
    };
    Names((0..count).map(name).collect())
}

/// The obviously right structure.
#[derive(Default)]
struct Model(Vec<(f64, usize)>);

impl Model {
    fn rank(&self, names: &Names, score: f64, member: &[u8]) -> usize {
        self.0.iter().filter(|(s, m)| *s < score || *s == score && names.0[*m][..] < *member).count()
    }

    fn sort(&mut self, names: &Names) {
        self.0.sort_by(|a, b| {
            a.0.partial_cmp(&b.0).expect("no NaN").then_with(|| names.0[a.1].cmp(&names.0[b.1]))
        });
    }
}

fn check(tree: &Tree, names: &Names, model: &Model) {
    let mut entries = Vec::new();
    tree.root.check(true, &mut |entry| entries.push((entry.score.to_bits(), entry.pin.bits() as usize)));
    let expected: Vec<_> = model.0.iter().map(|(score, member)| (score.to_bits(), *member)).collect();
    assert_eq!(entries, expected);
    assert_eq!(tree.len(), expected.len());
    for (rank, (score, member)) in model.0.iter().enumerate() {
        let place = Place { score: *score, member: &names.0[*member] };
        assert_eq!(tree.rank(names, place), rank);
        assert_eq!(tree.get(rank).pin.bits() as usize, *member);
    }
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => (0i64..8).prop_map(|n| n as f64),
        3 => (-100_000i64..100_000).prop_map(|n| n as f64),
        1 => (-1000i64..1000).prop_map(|n| n as f64 / 8.0),
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0), Just(1e300), Just(5e9)],
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Insert(usize, f64),
    Remove(usize),
    RemoveAt(usize),
    Rescore(usize, f64),
    Nudge(usize, f64),
    Rank(usize, f64),
    Walk(usize, usize),
    PopMany(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let member = 0usize..700;
    prop_oneof![
        12 => (member.clone(), score()).prop_map(|(m, s)| Step::Insert(m, s)),
        2 => member.clone().prop_map(Step::Remove),
        1 => (0usize..1000).prop_map(Step::RemoveAt),
        2 => (member.clone(), score()).prop_map(|(m, s)| Step::Rescore(m, s)),
        1 => (member.clone(), -2.0..2.0f64).prop_map(|(m, s)| Step::Nudge(m, s)),
        1 => (member, score()).prop_map(|(m, s)| Step::Rank(m, s)),
        1 => (0usize..1000, 0usize..100).prop_map(|(r, n)| Step::Walk(r, n)),
        1 => (0usize..60).prop_map(Step::PopMany),
    ]
}

fn run(steps: Vec<Step>) {
    let names = names(700);
    let mut tree = Tree::new();
    let mut model = Model::default();
    let mut at: Vec<Option<f64>> = vec![None; 700];
    for step in steps {
        match step {
            Step::Insert(member, score) if at[member].is_none() => {
                tree.insert(&names, score, &names.0[member], Pin::from_bits(member as u64));
                model.0.push((score, member));
                model.sort(&names);
                at[member] = Some(score);
            }
            Step::Insert(member, score) | Step::Rescore(member, score) => {
                let Some(old) = at[member] else { continue };
                rescore(&mut tree, &names, &mut model, member, old, score);
                at[member] = Some(score);
            }
            Step::Nudge(member, by) => {
                let Some(old) = at[member] else { continue };
                rescore(&mut tree, &names, &mut model, member, old, old + by);
                at[member] = Some(old + by);
            }
            Step::Remove(member) => {
                let score = at[member].take();
                let removed = tree.remove(&names, score.unwrap_or(1.0), &names.0[member]);
                assert_eq!(removed, score.map(|_| Pin::from_bits(member as u64)));
                model.0.retain(|(_, other)| *other != member);
            }
            Step::RemoveAt(rank) if tree.len() > 0 => {
                let rank = rank % tree.len();
                let (score, member) = model.0.remove(rank);
                let entry = tree.remove_at(rank);
                assert_eq!((entry.score.to_bits(), entry.pin.bits()), (score.to_bits(), member as u64));
                at[member] = None;
            }
            Step::RemoveAt(_) => {}
            Step::Rank(member, score) => {
                let member = &names.0[member];
                let rank = model.rank(&names, score, member);
                assert_eq!(tree.rank(&names, Place { score, member }), rank);
                let below = model.0.iter().filter(|(other, _)| *other < score).count();
                assert_eq!(tree.partition(|entry| entry.score < score), below);
            }
            Step::Walk(rank, count) => {
                let walked: Vec<_> =
                    tree.ascending(rank).take(count).map(|e| e.pin.bits() as usize).collect();
                let expected: Vec<_> = model.0.iter().skip(rank).take(count).map(|(_, m)| *m).collect();
                assert_eq!(walked, expected);
                let walked: Vec<_> =
                    tree.descending(rank).take(count).map(|e| e.pin.bits() as usize).collect();
                let end = (rank + 1).min(model.0.len());
                let expected: Vec<_> = model.0[..end].iter().rev().take(count).map(|(_, m)| *m).collect();
                assert_eq!(walked, expected);
            }
            Step::PopMany(count) => {
                for _ in 0..count.min(tree.len()) {
                    let member = tree.remove_at(0).pin.bits() as usize;
                    assert_eq!(model.0.remove(0).1, member);
                    at[member] = None;
                }
            }
        }
    }
    check(&tree, &names, &model);
    check(&tree.clone(), &names, &model);
    while !tree.free_some(40) {}
}

fn rescore(tree: &mut Tree, names: &Names, model: &mut Model, member: usize, old: f64, new: f64) {
    tree.rescore(names, old, new, &names.0[member]);
    let entry = model.0.iter_mut().find(|(_, other)| *other == member).expect("it is there");
    entry.0 = new;
    model.sort(names);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn the_tree_is_a_sorted_vector(steps in prop::collection::vec(step(), 1..900)) {
        run(steps);
    }
}

#[test]
fn entries_that_come_in_order_fill_their_leaves() {
    for descending in [false, true] {
        let names = names(5000);
        let mut tree = Tree::new();
        for i in 0..5000 {
            let score = if descending { 5000 - i } else { i } as f64;
            tree.insert(&names, score, &names.0[i], Pin::from_bits(i as u64));
        }
        let mut depth = 0;
        let mut seen = 0;
        depth += tree.root.check(true, &mut |_| seen += 1);
        assert_eq!(seen, 5000);
        // 313 leaves of 16, 8 to a node.
        assert!(depth <= if descending { 5 } else { 4 }, "depth {depth}");
        let perfect = 5000 * (4 + 6);
        let bytes = tree.heap_bytes();
        assert!(bytes > perfect && bytes < perfect * 3, "{bytes} bytes");
    }
}

#[test]
fn pushing_is_inserting_at_the_end() {
    let names = names(3000);
    let (mut pushed, mut inserted) = (Tree::new(), Tree::new());
    for i in 0..3000 {
        pushed.push(i as f64, Pin::from_bits(i as u64));
        inserted.insert(&names, i as f64, &names.0[i], Pin::from_bits(i as u64));
    }
    let entries = |tree: &Tree| {
        let mut entries = Vec::new();
        tree.root.check(true, &mut |entry| entries.push(entry));
        entries
    };
    assert_eq!(entries(&pushed), entries(&inserted));
    assert_eq!(pushed.ascending(0).count(), 3000);
    assert_eq!(pushed.descending(usize::MAX).count(), 3000);
    assert_eq!(pushed.ascending(3000).count(), 0);
}

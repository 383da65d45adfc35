//! What a cut tells is what the shard held at its moment, whatever random commands do while it is told.

use kora_engine::change::Change;
use kora_engine::keyspace::{EvictionPolicy, EvictionRules};
use kora_engine::table::{CutSink, Entry, SharedSink};
use kora_persist::record;
use proptest::prelude::*;
use std::sync::{Arc, Mutex};
use support::{contents, filled, run, shard, Contents, TEMPLATES};

mod support;

/// The records of a cut.
#[derive(Default)]
struct Told(Vec<u8>);

impl CutSink for Told {
    fn save(&mut self, db: u16, entry: &Entry<'_>) -> usize {
        let before = self.0.len();
        let (key, expire_at) = (entry.key(), entry.expire_at());
        record::encode(&Change::Set { db, key, value: entry.value().into(), expire_at }, &mut self.0);
        self.0.len() - before
    }
}

#[derive(Debug, Clone)]
enum Step {
    Command(u16, usize, Vec<u16>),
    /// Time passes.
    Pass(u64),
    /// Strings are set, or removed, so that segments split and merge.
    Fill(u16, u16),
    Remove(u16, u16),
    Begin,
    Walk(usize),
    GiveUp,
    Flush(u16),
    Swap,
    Sweep,
    Evict(usize),
    Relocate,
    /// A copy of another shard's key comes and goes.
    Guest(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let picks = || proptest::collection::vec(any::<u16>(), 8);
    prop_oneof![
        30 => (0..2u16, 0..TEMPLATES.len(), picks()).prop_map(|(db, template, picks)| Step::Command(db, template, picks)),
        3 => (0..2000u64).prop_map(Step::Pass),
        1 => (0..2u16, 0..2000u16).prop_map(|(db, count)| Step::Fill(db, count)),
        1 => (0..2u16, 0..2000u16).prop_map(|(db, count)| Step::Remove(db, count)),
        3 => Just(Step::Begin),
        5 => (1..5000usize).prop_map(Step::Walk),
        1 => Just(Step::GiveUp),
        1 => (0..2u16).prop_map(Step::Flush),
        1 => Just(Step::Swap),
        2 => Just(Step::Sweep),
        1 => (1..20usize).prop_map(Step::Evict),
        1 => Just(Step::Relocate),
        1 => (0..2u16).prop_map(Step::Guest),
    ]
}

/// A cut under way: what it has told so far, and what it has to.
struct Cut {
    told: Arc<Mutex<Told>>,
    expected: Contents,
}

impl Cut {
    /// Everything was told.
    fn check(self) {
        let told = self.told.lock().expect("nothing panics while it is held");
        let (mut loaded, mut at, mut records) = (shard(), 0, 0);
        while at < told.0.len() {
            let (change, length) = record::decode(&told.0[at..]).expect("it was encoded");
            loaded.keys.replay(&change, 0).expect("it is well-formed");
            (at, records) = (at + length, records + 1);
        }
        assert_eq!(records, self.expected.len(), "each key once");
        assert_eq!(contents(&loaded), self.expected);
    }
}

fn name(number: u16) -> String {
    format!("fill:{number}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn a_cut_tells_what_was_there_at_its_moment(steps in proptest::collection::vec(step(), 1..120)) {
        let mut shard = shard();
        let policy = EvictionPolicy::AllKeysRandom;
        shard.keys.set_eviction(EvictionRules { policy, ..EvictionRules::default() });
        let (mut now, mut cut) = (1_700_000_000_000, None::<Cut>);
        for step in steps {
            match step {
                Step::Command(db, template, picks) => run(&mut shard, db, &filled(TEMPLATES[template], &picks), now),
                Step::Pass(time) => now += time,
                Step::Fill(db, count) => {
                    (0..count).for_each(|n| run(&mut shard, db, &format!("set {} {n} px {n}00", name(n)), now))
                }
                Step::Remove(db, count) => (0..count).for_each(|n| run(&mut shard, db, &format!("del {}", name(n)), now)),
                Step::Begin if cut.is_none() => {
                    while !shard.keys.walk_cut(1000) {}
                    let told = Arc::new(Mutex::new(Told::default()));
                    let expected = contents(&shard);
                    let sink: SharedSink = told.clone();
                    prop_assert_eq!(shard.keys.begin_cut(&sink), expected.len());
                    cut = Some(Cut { told, expected });
                }
                Step::Walk(work) => {
                    if shard.keys.walk_cut(work) {
                        cut.take().into_iter().for_each(Cut::check);
                    }
                }
                Step::GiveUp => {
                    shard.keys.give_up_cut();
                    if let Some(cut) = cut.take() {
                        prop_assert_eq!(Arc::strong_count(&cut.told), 1, "nobody tells it anything any more");
                    }
                }
                Step::Flush(db) => shard.keys.flush_db(db),
                Step::Swap => shard.keys.swap_db(0, 1),
                Step::Sweep => while shard.background(now, 3) {},
                Step::Evict(keys) => {
                    shard.keys.evict(now, usize::MAX, keys);
                }
                Step::Relocate => while shard.keys.relocate(2, &|_| true).is_none() {},
                Step::Guest(db) => {
                    let source = shard.keys.key(b"k1");
                    let view = kora_engine::keyspace::View { db, now, touch: false };
                    if let Some(entry) = shard.keys.copy_of(view, &source) {
                        let guest = shard.keys.key(b"guest");
                        shard.keys.admit_guest(db, &guest, entry);
                        shard.keys.walk_cut(300);
                        shard.keys.dismiss_guest(db, &guest);
                    }
                }
                Step::Begin => {}
            }
        }
        if let Some(cut) = cut {
            while !shard.keys.walk_cut(10_000) {}
            cut.check();
        }
        while shard.background(now, 100) {}
        prop_assert_eq!(shard.keys.remains().0, 0, "what was flushed is freed");
    }
}

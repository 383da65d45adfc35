//! The changes of random commands, as bytes, replayed onto an empty shard, give the same data.

use kora_engine::change::{Change, ChangeSink};
use kora_persist::record;
use proptest::prelude::*;
use std::sync::{Arc, Mutex};
use support::{contents, filled, run, shard, TEMPLATES};

mod support;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl ChangeSink for Log {
    fn change(&mut self, _sequence: u64, change: &Change<'_>) {
        record::encode(change, &mut self.0.lock().expect("nothing panics while it is held"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn changes_rebuild_the_data(
        steps in proptest::collection::vec((0..TEMPLATES.len(), proptest::collection::vec(any::<u16>(), 8), 0..2000u64), 1..60),
    ) {
        let (mut original, log) = (shard(), Log::default());
        original.keys.changes.attach(Box::new(log.clone()));
        let mut now = 1_700_000_000_000;
        for (template, picks, passed) in &steps {
            now += passed;
            run(&mut original, 0, &filled(TEMPLATES[*template], picks), now);
        }
        let bytes = log.0.lock().expect("nothing panics while it is held").clone();
        let (mut copy, mut at) = (shard(), 0);
        while at < bytes.len() {
            let (change, length) = record::decode(&bytes[at..]).expect("it was encoded");
            copy.keys.replay(&change, now).expect("it is well-formed");
            let mut again = Vec::new();
            record::encode(&change, &mut again);
            prop_assert_eq!(&again[..], &bytes[at..at + length]);
            at += length;
        }
        prop_assert_eq!(contents(&original), contents(&copy));
    }
}

//! Which of the units that a connection has sent were kept, told from what there is.
//!
//! What is kept is a beginning of what the server did in its order. A connection that waits for its replies before it sends the next batch finds whole batches, and of the batch that was under way
//! a part. With several workers commands of one pipeline happen at the same time when they concern different keys; those of one key happen in the order of the pipeline, and what concerns several keys
//! happens on all of them or on none. So the part is found by a search over few choices: what is not kept ends the batch for all of its keys.

use crate::model::{Entry, Keys};
use crate::workload::Unit;
use std::collections::{BTreeMap, BTreeSet};

/// What a connection has sent in one life of the server.
pub struct Question<'a> {
    /// What all its keys begin with.
    pub prefix: String,
    /// Whether there was one worker, which does one command after the other.
    pub in_order: bool,
    /// What was there before.
    pub base: &'a Keys,
    /// Batches of units, one after the other.
    pub batches: &'a [&'a [Unit]],
    /// What is there now.
    pub found: &'a Keys,
}

/// What was found out, or in how few keys the nearest state differs that could be, after how many units.
pub enum Verdict {
    /// For each unit whether it was kept.
    Kept(Vec<bool>),
    Impossible {
        units: usize,
        different: BTreeMap<String, (Option<Entry>, Option<Entry>)>,
    },
}

impl Question<'_> {
    /// Keys of the connection that a unit may change in this state.
    fn touched(&self, unit: &Unit, state: &Keys) -> BTreeSet<String> {
        let mut touched = BTreeSet::new();
        for effect in &unit.effects {
            if effect[0] == "FLUSHDB" {
                touched.extend(state.0.keys().chain(self.found.0.keys()).cloned());
            }
            touched.extend(effect.iter().filter(|word| word.starts_with(&self.prefix)).cloned());
        }
        touched
    }

    fn differs(&self, state: &Keys, key: &str) -> bool {
        state.0.get(key) != self.found.0.get(key)
    }

    /// The answer that keeps the most.
    pub fn answer(&self) -> Verdict {
        let mut state = self.base.clone();
        let keys = state.0.keys().chain(self.found.0.keys());
        let mut different: BTreeSet<String> = keys.filter(|key| self.differs(&state, key)).cloned().collect();
        let total = self.batches.iter().map(|batch| batch.len()).sum();
        let mut answer = different.is_empty().then(|| vec![false; total]);
        let mut nearest = (different.len(), 0, different.clone(), state.clone());
        let mut before = 0;
        for batch in self.batches {
            // Only if what differs may be changed by this batch can the rest of it be what there is.
            let touched: BTreeSet<String> =
                batch.iter().flat_map(|unit| self.touched(unit, &state)).collect();
            if different.is_subset(&touched) {
                let mut search = Search { question: self, batch, kept: Vec::new() };
                if search.go(&state, &Ended::default()) {
                    let mut kept = vec![true; before];
                    kept.append(&mut search.kept);
                    kept.resize(total, false);
                    answer = Some(kept);
                }
            }
            for unit in *batch {
                let touched = self.touched(unit, &state);
                unit.effects.iter().for_each(|effect| state.apply(effect));
                for key in touched {
                    if self.differs(&state, &key) {
                        different.insert(key);
                    } else {
                        different.remove(&key);
                    }
                }
                before += 1;
                if different.len() <= nearest.0 {
                    nearest = (different.len(), before, different.clone(), state.clone());
                }
            }
        }
        match answer {
            Some(kept) => Verdict::Kept(kept),
            None => {
                let (_, units, names, state) = nearest;
                let both = |name: &String| (state.0.get(name).cloned(), self.found.0.get(name).cloned());
                let different = names.iter().map(|name| (name.clone(), both(name))).collect();
                Verdict::Impossible { units, different }
            }
        }
    }
}

struct Search<'a> {
    question: &'a Question<'a>,
    batch: &'a [Unit],
    /// What was decided so far, per unit.
    kept: Vec<bool>,
}

/// For which keys nothing more has happened.
#[derive(Clone, Default)]
struct Ended {
    all: bool,
    keys: BTreeSet<String>,
}

impl Search<'_> {
    /// Decides about the rest of the batch.
    fn go(&mut self, state: &Keys, ended: &Ended) -> bool {
        let at = self.kept.len();
        let question = self.question;
        let Some(unit) = self.batch.get(at) else { return self.agrees(state, |_| true) };
        let is_flush = unit.effects.iter().any(|effect| effect[0] == "FLUSHDB");
        let is_key = |word: &&String| word.starts_with(&question.prefix) || word.starts_with("account:");
        let keys: BTreeSet<String> = unit.wire.iter().flatten().filter(is_key).cloned().collect();
        let is_late = ended.all || !keys.is_disjoint(&ended.keys) || (is_flush && !ended.keys.is_empty());
        let later = |key: &str| {
            self.batch[at + 1..].iter().any(|unit| {
                unit.effects
                    .iter()
                    .any(|effect| effect[0] == "FLUSHDB" || effect.iter().any(|word| word == key))
            })
        };
        if !is_late {
            let mut after = state.clone();
            unit.effects.iter().for_each(|effect| after.apply(effect));
            // What nothing later in the batch concerns is final.
            if self.agrees(&after, |key| !later(key)) {
                self.kept.push(true);
                if self.go(&after, ended) {
                    return true;
                }
                self.kept.truncate(at);
            }
        }
        let mut ended = ended.clone();
        ended.all |= question.in_order || is_flush;
        ended.keys.extend(keys);
        // So is what has ended.
        if !self.agrees(state, |key| ended.all || ended.keys.contains(key) || !later(key)) {
            return false;
        }
        self.kept.push(false);
        let found = self.go(state, &ended);
        if !found {
            self.kept.truncate(at);
        }
        found
    }

    /// Whether these keys are as they were found.
    fn agrees(&self, state: &Keys, of: impl Fn(&str) -> bool) -> bool {
        let keys = state.0.keys().chain(self.question.found.0.keys());
        keys.into_iter().all(|key| !self.question.differs(state, key) || !of(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Words;

    fn unit(text: &str) -> Unit {
        let words: Words = text.split(' ').map(str::to_owned).collect();
        Unit { wire: vec![words.clone()], effects: vec![words], transfer: None }
    }

    fn state(commands: &[&str]) -> Keys {
        let mut keys = Keys::default();
        commands.iter().for_each(|text| keys.apply(&unit(text).effects[0]));
        keys
    }

    fn kept(in_order: bool, batches: &[&[&str]], found: &[&str]) -> Option<Vec<bool>> {
        let batches: Vec<Vec<Unit>> =
            batches.iter().map(|batch| batch.iter().map(|text| unit(text)).collect()).collect();
        let batches: Vec<&[Unit]> = batches.iter().map(Vec::as_slice).collect();
        let (base, found) = (Keys::default(), state(found));
        let question =
            Question { prefix: "k".to_owned(), in_order, base: &base, batches: &batches, found: &found };
        match question.answer() {
            Verdict::Kept(kept) => Some(kept),
            Verdict::Impossible { .. } => None,
        }
    }

    #[test]
    fn one_worker_keeps_a_beginning() {
        let batch: &[&str] = &["SET k0 a", "SET k1 b", "INCR k3"];
        assert_eq!(kept(true, &[batch], &["SET k0 a", "SET k1 b"]), Some(vec![true, true, false]));
        assert_eq!(kept(true, &[batch], &["SET k1 b"]), None);
        assert_eq!(kept(true, &[batch], &[]), Some(vec![false; 3]));
    }

    #[test]
    fn of_a_pipeline_each_key_keeps_a_beginning() {
        let batch: &[&str] = &["RPUSH k0 a", "RPUSH k1 b", "RPUSH k0 c", "RPUSH k1 d"];
        let found = kept(false, &[batch], &["RPUSH k1 b d"]);
        assert_eq!(found, Some(vec![false, true, false, true]));
        assert_eq!(kept(false, &[batch], &["RPUSH k0 c"]), None);
        // Only of the batch under way.
        assert_eq!(kept(false, &[&batch[..2], &batch[2..]], &["RPUSH k1 b d"]), None);
        assert_eq!(
            kept(false, &[&batch[..2], &batch[2..]], &["RPUSH k0 a", "RPUSH k1 b d"]),
            Some(vec![true, true, false, true])
        );
    }

    #[test]
    fn what_concerns_several_keys_is_whole() {
        let batch: &[&str] = &["MSET k0 a k3 b", "APPEND k3 c", "SET k4 d"];
        assert_eq!(kept(false, &[batch], &["SET k0 a"]), None);
        assert_eq!(kept(false, &[batch], &["SET k3 c"]), None);
        assert_eq!(kept(false, &[batch], &["SET k0 a", "SET k3 b"]), Some(vec![true, false, false]));
        assert_eq!(kept(false, &[batch], &["SET k4 d"]), Some(vec![false, false, true]));
    }

    #[test]
    fn what_empties_everything_is_between_all_else() {
        let batch: &[&str] = &["SET k0 a", "FLUSHDB", "SET k1 b"];
        assert_eq!(kept(false, &[batch], &["SET k0 a", "SET k1 b"]), None);
        assert_eq!(kept(false, &[batch], &["SET k1 b"]), Some(vec![true; 3]));
        assert_eq!(kept(false, &[batch], &["SET k0 a"]), Some(vec![true, false, false]));
    }
}

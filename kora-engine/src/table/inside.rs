//! Collections whose elements expire by themselves: hashes with fields that do.
//!
//! The table knows them the way it knows keys that expire: a flag in the slot, and for each segment a time before which nothing is
//! due inside. So they cost no memory of their own, a sweep passes a segment in which nothing is due with one look at its header,
//! and in a due one reads the flagged records only. All that is kept are bounds that are never too late; what has gone
//! meanwhile is found out by the sweep.

use super::{next_prefix, KeyHash, Table};

/// When elements of a table's collections expire.
pub(super) struct Bounds {
    /// None before this unix millisecond.
    due: u64,
    /// What `due` becomes at the end of the sweep under way: the least time seen by it or noted since it began.
    due_next: u64,
    /// Where the sweep goes on: a position in the order of hashes.
    position: u64,
}

impl Bounds {
    pub(super) const NONE: Bounds = Bounds { due: u64::MAX, due_next: u64::MAX, position: 0 };

    /// An element expires at this time.
    pub(super) fn note(&mut self, due: u64) {
        self.due = self.due.min(due);
        self.due_next = self.due_next.min(due);
    }
}

/// Segments whose headers are looked at in the time that one takes to be read.
const HEADERS_PER_SEGMENT: usize = 32;

impl Table {
    /// Notes when elements of the collection at a key expire.
    #[inline(always)]
    pub(super) fn note_inside(&mut self, hash: KeyHash, key: &[u8], due: Option<u64>) {
        if let Some(due) = due {
            self.note_inside_at(hash, key, due);
        }
    }

    #[cold]
    fn note_inside_at(&mut self, hash: KeyHash, key: &[u8], due: u64) {
        self.inside.note(due);
        let position = self.find(hash, key).expect("it has just been inserted");
        self.directory.entry_mut(position.index).segment.note_inside(position.at, due);
    }

    /// Whether elements of any collection may expire some time.
    pub fn may_expire_inside(&self) -> bool {
        self.inside.due != u64::MAX
    }

    /// Gathers keys of collections with elements that are past their time at `now_ms`, until it has `keys_max` or has used up
    /// `budget`, which counts segments read. The caller removes the elements; what it leaves is found again. Returns whether there
    /// may be more.
    pub fn due_inside(
        &mut self,
        now_ms: u64,
        budget: &mut usize,
        keys_max: usize,
        keys: &mut Vec<Box<[u8]>>,
    ) -> bool {
        if self.inside.due >= now_ms {
            return false;
        }
        if self.inside.position == 0 {
            self.inside.due_next = u64::MAX;
        }
        let mut headers = budget.saturating_mul(HEADERS_PER_SEGMENT);
        while headers > 0 && *budget > 0 {
            headers -= 1;
            let position = self.inside.position;
            let (index, entry, _) = self.locate(KeyHash(position));
            let next = next_prefix(position, entry.depth);
            let mut due = entry.segment.due_inside();
            if due < now_ms {
                *budget -= 1;
                if keys.len() >= keys_max {
                    return true;
                }
                due = self.due_inside_segment(now_ms, index, keys);
            }
            self.inside.due_next = self.inside.due_next.min(due);
            self.inside.position = next.unwrap_or(0);
            if next.is_none() {
                self.inside.due = self.inside.due_next;
                return self.inside.due < now_ms;
            }
        }
        true
    }

    /// The keys of one segment; returns a bound for what is not due. What is due notes itself again if it stays.
    fn due_inside_segment(&mut self, now_ms: u64, index: usize, keys: &mut Vec<Box<[u8]>>) -> u64 {
        let segment = &mut self.directory.entry_mut(index).segment;
        let mut later = u64::MAX;
        for at in 0..segment.slots() {
            if !segment.may_expire_inside(at) {
                continue;
            }
            let entry = segment.entry(at);
            match entry.next_expiry_inside() {
                None => segment.forget_inside(at),
                Some(due) if due < now_ms => keys.push(entry.key().into()),
                Some(due) => later = later.min(due),
            }
        }
        segment.set_due_inside(later);
        later
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::small_table;
    use super::*;
    use crate::limits::EncodingLimits;
    use crate::table::NewValue;
    use crate::value::hash::{FieldExpiry, Hash};
    use crate::value::item::Item;
    use crate::value::Collection;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[derive(Debug, Clone)]
    enum Step {
        /// A hash with fields that expire at these times.
        Hash(u16, Vec<u64>),
        String(u16),
        Remove(u16),
        Rename(u16, u16),
        /// Another field.
        Edit(u16, u64),
        ExpireKey(u16, u64),
        Sweep(u64),
        TakeAll,
    }

    fn step() -> impl Strategy<Value = Step> {
        let id = 0..1500u16;
        let time = || 0..1000u64;
        prop_oneof![
            40 => (id.clone(), proptest::collection::vec(time(), 0..4)).prop_map(|(id, times)| Step::Hash(id, times)),
            40 => id.clone().prop_map(Step::String),
            30 => id.clone().prop_map(Step::Remove),
            10 => (id.clone(), id.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
            20 => (id.clone(), time()).prop_map(|(id, time)| Step::Edit(id, time)),
            10 => (id, time()).prop_map(|(id, time)| Step::ExpireKey(id, time)),
            5 => time().prop_map(Step::Sweep),
            1 => Just(Step::TakeAll),
        ]
    }

    fn name(id: u16) -> Vec<u8> {
        format!("key:{id}").into_bytes()
    }

    fn add(hash: &mut Hash, time: u64) {
        let field = time.to_string();
        let expiry = FieldExpiry::At(time);
        hash.set(field.as_bytes(), Item::Int(1), expiry, &EncodingLimits::default(), 0);
    }

    /// Calls `f` with the hash at a key, if there is one, as an editor does.
    fn edit(table: &mut Table, key: &[u8], f: impl FnOnce(&mut Hash)) -> bool {
        let hash = table.hash(key);
        let Some(mut entry) = table.get_mut(hash, key) else { return false };
        // SAFETY: the value is put back below, before anything else looks at the entry.
        let Some(mut value) = (unsafe { entry.take_collection::<Hash>() }) else { return false };
        f(&mut value);
        // SAFETY: it was taken from this entry.
        unsafe { entry.put_back(value) };
        true
    }

    proptest! {
           #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

           #[test]
           fn a_sweep_finds_every_collection_with_something_due(
               steps in proptest::collection::vec(step(), 1..1500),
               budget in 1..5usize,
               keys_max in 1..40usize,
           ) {
               let mut table = small_table();
               let mut model: BTreeMap<Vec<u8>, BTreeSet<u64>> = BTreeMap::new();
               for step in steps {
                   match step {
                       Step::Hash(id, times) => {
                           let key = name(id);
                           let mut value = Hash::new(0);
                           add(&mut value, u64::MAX >> 20);
                           times.iter().for_each(|&time| add(&mut value, time));
                           table.insert_object(table.hash(&key), &key, value.into_object(), None, 0);
                           model.insert(key, times.into_iter().collect());
                       }
                       Step::String(id) => {
                           let key = name(id);
                           table.insert(table.hash(&key), &key, NewValue::Int(1), None, 0);
                           model.remove(&key);
                       }
                       Step::Remove(id) => {
                           let key = name(id);
                           table.remove(table.hash(&key), &key);
                           model.remove(&key);
                       }
                       Step::Rename(from, to) => {
                           let (from, to) = (name(from), name(to));
                           if let Some(owned) = table.take(table.hash(&from), &from) {
                               table.insert_owned(table.hash(&to), &to, owned);
                               let times = model.remove(&from);
                               model.remove(&to);
                               model.extend(times.map(|times| (to, times)));
                           }
                       }
                       Step::Edit(id, time) => {
                           let key = name(id);
                           if edit(&mut table, &key, |hash| add(hash, time)) {
                               model.get_mut(&key).unwrap().insert(time);
                           }
                       }
                       Step::ExpireKey(id, time) => {
                           let key = name(id);
                           let hash = table.hash(&key);
                           if let Some(mut entry) = table.get_mut(hash, &key) {
                               entry.set_expire_at(Some(time));
                           }
                       }
                       Step::Sweep(now) => {
                           let mut expected = BTreeSet::new();
                           for (key, times) in &mut model {
                               let before = times.len();
                               times.retain(|&time| time >= now);
                               if times.len() < before {
                                   expected.insert(key.clone());
                               }
                           }
                           let mut found = BTreeSet::new();
                           loop {
                               let (mut left, mut keys) = (budget, Vec::new());
                               let more = table.due_inside(now, &mut left, keys_max, &mut keys);
                               for key in &keys {
                                   let edited = edit(&mut table, key, |hash| {
    hash.reclaim(now, 1, &mut |_| {});
    });
    prop_assert!(edited);
                                   found.insert(key.to_vec());
                               }
                               if !more {
                                   break;
                               }
                           }
                           prop_assert_eq!(found, expected);
                           table.check();
                       }
                       Step::TakeAll => {
                           table.take_all();
                           model.clear();
                           prop_assert!(!table.may_expire_inside());
                       }
                   }
               }
               table.check();
           }
       }
}

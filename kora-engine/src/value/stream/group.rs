//! Consumer groups: who has been given which entries, and has not acknowledged them yet.
//!
//! A group keeps its pending entries in the order of their ids with all there is to know about each, and every consumer the ids
//! of its own, in a B-tree each: XPENDING, XCLAIM and the history of a consumer walk them in order, XACK finds one in
//! O(log n). A pending entry names its consumer by a number, so it takes 32 bytes and not a name.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::id::StreamId;

/// A delivered entry that has not been acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// When it was last delivered, in Unix milliseconds.
    pub time: u64,
    /// How often it was delivered.
    pub count: u64,
    /// To whom.
    pub(super) consumer: ConsumerNumber,
}

/// Which consumer of the group, as long as that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerNumber(u32);

/// Somebody who reads with a group.
#[derive(Debug, Clone)]
pub struct Consumer {
    name: Box<[u8]>,
    /// When it last tried to read or claim, in Unix milliseconds.
    pub seen: u64,
    /// When it last got something, if ever.
    pub active: Option<u64>,
    pub(super) pending: BTreeSet<StreamId>,
}

/// A consumer group.
#[derive(Debug, Clone)]
pub struct Group {
    /// Id of the last entry that was delivered.
    pub last: StreamId,
    /// How many of the entries ever added were read up to there; not known after gaps or arbitrary ids.
    pub entries_read: Option<i64>,
    pub(super) pending: BTreeMap<StreamId, Pending>,
    names: BTreeMap<Box<[u8]>, ConsumerNumber>,
    /// By number. A removed consumer leaves a place, which the next one takes.
    consumers: Vec<Option<Consumer>>,
    vacant: Vec<u32>,
}

impl Consumer {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Number of its pending entries.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The ids of its pending entries from `start` to `end`.
    pub fn pending_ids(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = StreamId> + '_ {
        (start <= end).then(|| self.pending.range(start..=end)).into_iter().flatten().copied()
    }
}

impl Group {
    /// A group that has delivered the entries up to `last`.
    pub(super) fn new(last: StreamId, entries_read: Option<i64>) -> Group {
        Group {
            last,
            entries_read,
            pending: BTreeMap::new(),
            names: BTreeMap::new(),
            consumers: Vec::new(),
            vacant: Vec::new(),
        }
    }

    /// Number of consumers.
    pub fn consumers_len(&self) -> usize {
        self.names.len()
    }

    /// The consumers in the order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> + '_ {
        self.names.values().map(|&number| self.consumer(number))
    }

    /// The number of the consumer behind the one of this name; of the first one of all when none is given.
    pub(super) fn number_after(&self, after: Option<&[u8]>) -> Option<ConsumerNumber> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.names.range::<[u8], _>((from, Bound::Unbounded)).next().map(|(_, &number)| number)
    }

    /// The number of the consumer of this name.
    pub fn find(&self, name: &[u8]) -> Option<ConsumerNumber> {
        self.names.get(name).copied()
    }

    /// The consumer of this number.
    pub fn consumer(&self, number: ConsumerNumber) -> &Consumer {
        self.consumers[number.0 as usize].as_ref().expect("a number is of a consumer that exists")
    }

    pub(crate) fn consumer_mut(&mut self, number: ConsumerNumber) -> &mut Consumer {
        self.consumers[number.0 as usize].as_mut().expect("a number is of a consumer that exists")
    }

    /// Number of pending entries.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// What is known about a pending entry.
    pub fn pending(&self, id: StreamId) -> Option<Pending> {
        self.pending.get(&id).copied()
    }

    /// The least and the greatest id of a pending entry.
    pub fn pending_bounds(&self) -> Option<(StreamId, StreamId)> {
        Some((*self.pending.first_key_value()?.0, *self.pending.last_key_value()?.0))
    }

    /// The pending entries from `start` to `end`.
    pub fn pending_range(
        &self,
        start: StreamId,
        end: StreamId,
    ) -> impl Iterator<Item = (StreamId, &Pending, &Consumer)> + '_ {
        let range = (start <= end).then(|| self.pending.range(start..=end));
        range.into_iter().flatten().map(|(&id, pending)| (id, pending, self.consumer(pending.consumer)))
    }

    /// Makes a consumer. The name is not taken.
    pub(crate) fn create_consumer(&mut self, name: &[u8], seen: u64) -> ConsumerNumber {
        let consumer = Consumer { name: name.into(), seen, active: None, pending: BTreeSet::new() };
        let number = match self.vacant.pop() {
            Some(place) => {
                self.consumers[place as usize] = Some(consumer);
                ConsumerNumber(place)
            }
            None => {
                self.consumers.push(Some(consumer));
                ConsumerNumber(u32::try_from(self.consumers.len() - 1).expect("fewer than 2^32 consumers"))
            }
        };
        let replaced = self.names.insert(name.into(), number);
        assert!(replaced.is_none(), "a name is of one consumer");
        number
    }

    /// Removes a consumer and its pending entries, of which it returns the number.
    pub(crate) fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let number = self.names.remove(name)?;
        let consumer = self.consumers[number.0 as usize].take().expect("a name is of a consumer that exists");
        for id in &consumer.pending {
            self.pending.remove(id);
        }
        self.vacant.push(number.0);
        Some(consumer.pending.len())
    }

    /// Makes an entry pending with a consumer, whoever had it before.
    pub(crate) fn deliver(&mut self, id: StreamId, to: ConsumerNumber, time: u64, count: u64) {
        let before = self.pending.insert(id, Pending { time, count, consumer: to });
        match before {
            Some(before) if before.consumer == to => {}
            Some(before) => {
                self.consumer_mut(before.consumer).pending.remove(&id);
                self.consumer_mut(to).pending.insert(id);
            }
            None => {
                self.consumer_mut(to).pending.insert(id);
            }
        }
    }

    /// An entry is not pending any more. Returns whether it was.
    pub(crate) fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(&id) else { return false };
        let removed = self.consumer_mut(pending.consumer).pending.remove(&id);
        assert!(removed, "a pending entry is one of its consumer's");
        true
    }

    /// Removes about so many pending entries, to free them in slices; returns whether none is left.
    pub(super) fn free_some(&mut self, mut entries: usize) -> bool {
        while entries > 0 && self.pending.pop_first().is_some() {
            entries -= 1;
        }
        for consumer in self.consumers.iter_mut().flatten() {
            while entries > 0 && consumer.pending.pop_first().is_some() {
                entries -= 1;
            }
        }
        self.pending.is_empty() && self.consumers.iter().flatten().all(|consumer| consumer.pending.is_empty())
    }

    /// The same group with the same consumers, to whom nothing was given.
    pub(super) fn without_pending(&self) -> Group {
        let waiting = |consumer: &Consumer| Consumer {
            name: consumer.name.clone(),
            seen: consumer.seen,
            active: consumer.active,
            pending: BTreeSet::new(),
        };
        Group {
            last: self.last,
            entries_read: self.entries_read,
            pending: BTreeMap::new(),
            names: self.names.clone(),
            consumers: self.consumers.iter().map(|consumer| consumer.as_ref().map(waiting)).collect(),
            vacant: self.vacant.clone(),
        }
    }

    /// Copies up to so many pending entries more: those behind the last one of the copy. Tells how many, and whether all are there.
    pub(super) fn copy_some(&self, copy: &mut Group, entries: usize) -> (usize, bool) {
        let behind = copy.pending.last_key_value().map_or(Bound::Unbounded, |(&id, _)| Bound::Excluded(id));
        let mut rest = self.pending.range((behind, Bound::Unbounded));
        let mut copied = 0;
        for (&id, &pending) in rest.by_ref().take(entries) {
            copy.pending.insert(id, pending);
            if let Some(Some(consumer)) = copy.consumers.get_mut(pending.consumer.0 as usize) {
                consumer.pending.insert(id);
            }
            copied += 1;
        }
        (copied, rest.next().is_none())
    }

    /// Bytes of heap, estimated.
    pub(super) fn memory(&self) -> usize {
        // B-tree nodes are between half and wholly full.
        let pending = self.pending.len() * (size_of::<(StreamId, Pending)>() + size_of::<StreamId>()) * 3 / 2;
        let names: usize = self.consumers().map(|consumer| 2 * consumer.name.len()).sum();
        let consumer = size_of::<Option<Consumer>>() + size_of::<(Box<[u8]>, ConsumerNumber)>() * 3 / 2;
        pending + names + self.consumers.capacity() * consumer
    }
}

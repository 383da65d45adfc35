//! What was logged, and what of it must be there after a crash.

use crate::disk::Disk;
use kora_engine::change::Change;
use kora_persist::log::{End, Replay};
use kora_persist::record::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// A change: one of several that are a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    pub unit: u32,
    pub index: u32,
    /// Changes of the unit.
    pub of: u32,
    /// Bytes of its value.
    pub len: usize,
}

impl Record {
    /// The key that it changes, which says all of it.
    pub fn key(&self) -> Vec<u8> {
        format!("{}:{}:{}:{}", self.unit, self.index, self.of, self.len).into_bytes()
    }
}

/// What a position holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A change, and the transaction that it belongs to.
    Record(Record, Option<u64>),
    Commit(u64),
    Functions,
}

#[derive(Debug, Clone, Copy)]
struct Sealed {
    what: What,
    run: u32,
    /// When, milliseconds.
    at: u64,
}

/// See the module.
#[derive(Default)]
pub struct Model {
    log: BTreeMap<u64, Sealed>,
    units: u32,
    /// Up to here a process has called everything durable.
    durable: u64,
    /// Up to here everything is in a snapshot, which this run has taken.
    cut: u64,
    cut_run: u32,
}

impl Model {
    pub fn new_unit(&mut self) -> u32 {
        self.units += 1;
        self.units
    }

    pub fn sealed(&mut self, lsn: u64, what: What, run: u32, at: u64) {
        assert!(self.log.insert(lsn, Sealed { what, run, at }).is_none(), "position {lsn} is given twice");
    }

    /// When what has this position was sealed.
    pub fn sealed_at(&self, lsn: u64) -> Option<u64> {
        self.log.get(&lsn).map(|sealed| sealed.at)
    }

    pub fn note_durable(&mut self, durable: u64) {
        assert!(durable >= self.durable, "{durable} after {}", self.durable);
        self.durable = durable;
    }

    pub fn snapshot(&mut self, cut: u64, run: u32) {
        (self.cut, self.cut_run) = (cut, run);
    }

    /// The highest position of which is known that it was durable.
    pub fn last_durable(&self) -> u64 {
        self.durable.max(self.cut)
    }

    /// Begins to read what is on the disk.
    pub fn replay<'d>(&self, disk: &'d Disk) -> Replay<&'d Disk> {
        let replay = Replay::open(disk, Some(7), self.cut + 1).expect("all segments are readable");
        replay.after_snapshot_of(self.cut_run)
    }

    /// A recovery after a crash gives what it must: everything that was called durable, no half of anything.
    pub fn check(&self, disk: &Disk) -> End {
        let mut replay = self.replay(disk);
        let mut found = Vec::new();
        while let Some(batch) = replay.next_batch().unwrap_or_else(|error| panic!("{error}")) {
            found.extend(batch.entries().map(|(lsn, entry)| (lsn, what(&entry))));
        }
        let end = replay.end().clone();
        assert!(end.last_lsn >= self.last_durable(), "lost: {} of {}", end.last_lsn, self.last_durable());
        self.check_prefix(&found, end.last_lsn);
        end
    }

    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// What was logged up to a position, without transactions that had not committed.
    pub fn expected(&self, last_lsn: u64) -> Vec<(u64, What)> {
        let within = || self.log.range(self.cut + 1..last_lsn + 1);
        let committed: BTreeSet<(u32, u64)> = within()
            .filter_map(|(_, sealed)| match sealed.what {
                What::Commit(tag) => Some((sealed.run, tag)),
                _ => None,
            })
            .collect();
        let counts = |sealed: &Sealed| match sealed.what {
            What::Record(_, Some(tag)) => committed.contains(&(sealed.run, tag)),
            _ => true,
        };
        // The log does not say of a single record which transaction it was of.
        let untagged = |what| match what {
            What::Record(record, _) => What::Record(record, None),
            other => other,
        };
        within()
            .filter(|(_, sealed)| counts(sealed))
            .map(|(&lsn, sealed)| (lsn, untagged(sealed.what)))
            .collect()
    }

    /// What was found is that, and whole units.
    pub fn check_prefix(&self, found: &[(u64, What)], last_lsn: u64) {
        let expected = self.expected(last_lsn);
        if found != expected {
            let at = found.iter().zip(&expected).take_while(|(found, expected)| found == expected).count();
            panic!(
                "found {:?}, expected {:?}; {} found up to {last_lsn}, {} expected",
                found.get(at),
                expected.get(at),
                found.len(),
                expected.len()
            );
        }
        let mut units: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
        for (_, what) in found {
            if let What::Record(record, _) = what {
                units.entry(record.unit).or_insert((0, record.of)).0 += 1;
            }
        }
        for (unit, (count, of)) in units {
            assert_eq!(count, of, "of unit {unit}");
        }
    }

    /// A server goes on from there.
    pub fn accept(&mut self, end: &End) {
        self.log.retain(|&lsn, _| lsn <= end.last_lsn);
        let committed: BTreeSet<(u32, u64)> = self
            .log
            .values()
            .filter_map(|sealed| match sealed.what {
                What::Commit(tag) => Some((sealed.run, tag)),
                _ => None,
            })
            .collect();
        self.log.retain(|_, sealed| match sealed.what {
            What::Record(_, Some(tag)) => committed.contains(&(sealed.run, tag)),
            _ => true,
        });
        self.durable = end.last_lsn;
    }
}

/// What an entry is.
pub fn what(entry: &Entry<'_>) -> What {
    match *entry {
        Entry::Change(Change::Append { key, tail, .. }) => {
            let text = std::str::from_utf8(key).expect("keys are text");
            let numbers: Vec<u32> = text.split(':').map(|part| part.parse().expect("a number")).collect();
            let [unit, index, of, len] = numbers[..] else { panic!("a key {text}") };
            assert!(tail.len() == len as usize && tail.iter().all(|&byte| byte == b'x'));
            What::Record(Record { unit, index, of, len: len as usize }, None)
        }
        Entry::Commit { tag } => What::Commit(tag),
        Entry::Functions { .. } => What::Functions,
        other => panic!("never logged: {other:?}"),
    }
}

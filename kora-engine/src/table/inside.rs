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

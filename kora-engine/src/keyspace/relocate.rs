//! Moving records of all databases out of sparse pages of the allocator, in slices. No change is made: the data is the same.

use super::Keyspace;
use crate::table::{IsSparse, Relocated};

/// Where the walk goes on.
#[derive(Debug, Default)]
pub(super) struct Walk {
    db: usize,
    cursor: u64,
    /// What the walk has done so far.
    done: Relocated,
}

impl Keyspace {
    /// Moves the records of about so many segments that lie in sparse pages. At the end of a walk over all databases it returns what
    /// the walk has done; the next call begins another one.
    pub fn relocate(&mut self, segments: usize, is_sparse: IsSparse<'_>) -> Option<Relocated> {
        let Walk { db, cursor, done } = &mut self.walk;
        while *cursor == 0 && *db < self.dbs.len() && self.dbs[*db].is_empty() {
            *db += 1;
        }
        if let Some(table) = self.dbs.get_mut(*db) {
            let step = table.relocate(cursor, segments, is_sparse);
            done.seen += step.seen;
            done.moved += step.moved;
            if *cursor == 0 {
                *db += 1;
            }
        }
        (*db >= self.dbs.len()).then(|| std::mem::take(&mut self.walk).done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{NewExpiry, View};
    use crate::table::NewValue;

    #[test]
    fn a_walk_passes_every_database_once() {
        let mut keys = Keyspace::new(5, 1, false);
        for (db, count) in [(1, 3000), (4, 10)] {
            for n in 0..count {
                let bytes = format!("key:{n}");
                let key = keys.key(bytes.as_bytes());
                let view = View { db, now: 1, touch: true };
                keys.set(view, &key, NewValue::Bytes(b"value"), NewExpiry::Clear);
            }
        }
        for _ in 0..2 {
            let mut steps = 0;
            let done = loop {
                steps += 1;
                if let Some(done) = keys.relocate(1, &|_| true) {
                    break done;
                }
            };
            assert_eq!(done, Relocated { seen: 3010, moved: 3010 });
            assert!(steps > 3, "{steps}");
        }
        keys.flush_db(1);
        keys.flush_db(4);
        assert_eq!(keys.relocate(1, &|_| true), Some(Relocated::default()));
    }
}

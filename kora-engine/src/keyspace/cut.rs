//! The cut of a whole shard: all databases as they were at one moment, told to a sink while commands go on. How is explained in
//! `table/cut.rs`.
//!
//! Databases keep the numbers that they had at that moment, whatever SWAPDB does meanwhile; a database that is flushed is set aside until its
//! keys have been told, and its memory is freed afterwards.

use super::Keyspace;
use crate::table::{SharedSink, Table};

impl Keyspace {
    /// Everything that is there now is told to the sink: in slices by [`Keyspace::walk_cut`], or just before it changes. Returns the number of keys.
    ///
    /// # Panics
    /// When something is still owed to the last cut (see [`Keyspace::owed`]).
    pub fn begin_cut(&mut self, sink: &SharedSink) -> usize {
        assert_eq!(self.owed(), 0, "one cut at a time");
        for (db, table) in self.dbs.iter_mut().enumerate() {
            table.begin_cut(db as u16, sink);
        }
        self.owed()
    }

    /// Keys that have to be told yet, or only to be passed if the cut was given up.
    pub fn owed(&self) -> usize {
        self.dbs.iter().chain(&self.detached).map(Table::owed).sum()
    }

    /// Tells keys until about so many bytes of work are done; true when all have been told.
    pub fn walk_cut(&mut self, work: usize) -> bool {
        let mut left = work.max(1);
        // Set-aside tables come first: they hold memory that nobody uses.
        while let Some(table) = self.detached.last_mut() {
            if !table.walk_cut(&mut left) {
                return false;
            }
            self.remains.push(table.take_all());
            self.detached.pop();
        }
        self.dbs.iter_mut().all(|table| table.walk_cut(&mut left))
    }

    /// Nobody wants the rest of the cut. [`Keyspace::walk_cut`] has still to pass it before there can be another one.
    pub fn give_up_cut(&mut self) {
        for table in &mut self.dbs {
            table.give_up_cut();
        }
        for mut table in self.detached.drain(..) {
            table.give_up_cut();
            self.remains.push(table.take_all());
        }
    }
}

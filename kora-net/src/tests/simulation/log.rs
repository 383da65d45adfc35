//! The log of all simulated executors: what they have changed, in the order in which it happened, and as part of which transaction.

use kora_engine::change::{Change, ChangeSink};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A change on a shard, of a key or (without one) of everything.
    Change { shard: u16, key: Option<Vec<u8>>, tag: Option<u64> },
    /// A transaction is whole.
    Commit(u64),
}

/// One executor's end of the log. All executors together write the same lines.
#[derive(Clone)]
pub struct Log {
    pub shard: u16,
    pub lines: Rc<RefCell<Vec<Line>>>,
    /// The transaction that is at work on this executor.
    pub tag: Rc<Cell<Option<u64>>>,
}

impl Log {
    /// The end of another executor.
    pub fn of_shard(&self, shard: u16) -> Log {
        Log { shard, lines: self.lines.clone(), tag: Rc::default() }
    }
}

impl ChangeSink for Log {
    fn change(&mut self, _: u64, change: &Change<'_>) {
        let key = change.key().map(|(_, key)| key.to_vec());
        self.lines.borrow_mut().push(Line::Change { shard: self.shard, key, tag: self.tag.get() });
    }
}

/// Whether the log may end anywhere, what is not committed by then being left out: every transaction commits, and nobody else changes what
/// it has changed before it has.
pub fn check(lines: &[Line]) -> Result<(), String> {
    /// What a transaction has changed: shards and keys.
    type Touched<'l> = Vec<(u16, Option<&'l [u8]>)>;
    let mut open: HashMap<u64, Touched<'_>> = HashMap::new();
    for (at, line) in lines.iter().enumerate() {
        match line {
            Line::Commit(tag) => {
                open.remove(tag);
            }
            Line::Change { shard, key, tag } => {
                let touches = |other: &(u16, Option<&[u8]>)| {
                    other.0 == *shard && (key.is_none() || other.1.is_none() || other.1 == key.as_deref())
                };
                let held = open.iter().find(|(of, keys)| Some(**of) != *tag && keys.iter().any(touches));
                if let Some((of, _)) = held {
                    return Err(format!(
                        "line {at} of the log, {line:?}, changes what transaction {of:#x} has not committed"
                    ));
                }
                if let Some(tag) = tag {
                    open.entry(*tag).or_default().push((*shard, key.as_deref()));
                }
            }
        }
    }
    match open.keys().next() {
        Some(tag) => Err(format!("transaction {tag:#x} never commits")),
        None => Ok(()),
    }
}

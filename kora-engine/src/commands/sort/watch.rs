//! Notices whether what a SORT reads has changed.

use super::pattern::Pattern;
use super::request::{By, Request};
use crate::change::{Change, ChangeSink, Changes};
use std::cell::RefCell;
use std::rc::Rc;

/// Watches the sorted key and all that patterns could name.
pub(super) struct Watch {
    db: u16,
    key: Vec<u8>,
    patterns: Vec<Pattern>,
    changed: bool,
}

impl Watch {
    /// Watches until the result is dropped.
    pub(super) fn observe(changes: &mut Changes, db: u16, request: &Request) -> Rc<RefCell<Watch>> {
        let by = match &request.by {
            By::Pattern(pattern) => Some(pattern),
            By::Element | By::Nothing => None,
        };
        let patterns = by.into_iter().chain(&request.get).cloned().collect();
        let watch = Rc::new(RefCell::new(Watch { db, key: request.key.clone(), patterns, changed: false }));
        changes.observe(Rc::<RefCell<Watch>>::downgrade(&watch));
        watch
    }

    /// Whether something has changed since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

impl ChangeSink for Watch {
    fn change(&mut self, _: u64, change: &Change<'_>) {
        self.changed |= change.may_alter(self.db, |key| {
            key == self.key || self.patterns.iter().any(|pattern| pattern.can_name(key))
        });
    }
}

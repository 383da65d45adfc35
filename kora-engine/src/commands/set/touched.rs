//! What happens to sets while a command goes on in slices.

use crate::change::{Change, ChangeSink, Changes, SetEdit};
use std::cell::RefCell;
use std::rc::Rc;

/// How often a command begins again because a set was replaced. Then it goes through without a pause: it must end, whatever others do.
pub(super) const RESTARTS_MAX: u32 = 8;

/// Changes of the sets at some keys, between two slices of a command.
pub(super) enum Edits {
    /// These members were added (true) or removed (false), in this order. One that is in two of the sets may be here twice.
    Members(Vec<(bool, Vec<u8>)>),
    /// One of the keys got another value, or none.
    Replaced,
}

/// Takes note of the changes of the sets at some keys.
pub(super) struct Touched {
    db: u16,
    keys: Vec<Vec<u8>>,
    edits: Edits,
}

impl Touched {
    /// Observes these keys until the result is dropped.
    pub(super) fn observe<K: AsRef<[u8]>>(
        changes: &mut Changes,
        db: u16,
        keys: &[K],
    ) -> Rc<RefCell<Touched>> {
        let keys = keys.iter().map(|key| key.as_ref().to_vec()).collect();
        let touched = Rc::new(RefCell::new(Touched { db, keys, edits: Edits::Members(Vec::new()) }));
        let weak = Rc::downgrade(&touched);
        changes.observe(weak);
        touched
    }

    /// What has happened since the last call.
    pub(super) fn take(&mut self) -> Edits {
        std::mem::replace(&mut self.edits, Edits::Members(Vec::new()))
    }
}

impl ChangeSink for Touched {
    fn change(&mut self, _: u64, change: &Change<'_>) {
        let Edits::Members(members) = &mut self.edits else { return };
        if !change.may_alter(self.db, |key| self.keys.iter().any(|watched| watched == key)) {
            return;
        }
        match *change {
            Change::SetEdit { edit: SetEdit::Add { member }, .. } => members.push((true, member.to_vec())),
            Change::SetEdit { edit: SetEdit::Remove { member }, .. } => {
                members.push((false, member.to_vec()))
            }
            // The members are the same, but a walk over them has lost its place.
            Change::SetEdit { edit: SetEdit::Form(_), .. } => self.edits = Edits::Replaced,
            _ => self.edits = Edits::Replaced,
        }
    }
}

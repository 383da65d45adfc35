//! What happens to some keys while a command goes on in slices.

use crate::change::{Change, ChangeSink, Changes, SetEdit, ZsetEdit};
use std::cell::RefCell;
use std::rc::Rc;

/// How often a command begins again because of what others do. Then it goes through without a pause: it must end.
pub(crate) const RESTARTS_MAX: u32 = 8;

/// Changes at some keys, between two slices of a command.
#[derive(Debug)]
pub(crate) enum Edits {
    /// These members of a set or sorted set came or got another score (true), or went (false), in this order. One can be here twice.
    Members(Vec<(bool, Vec<u8>)>),
    /// One of the keys got another value, or none.
    Replaced,
}

impl Edits {
    /// Whether nothing has happened.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Edits::Members(members) if members.is_empty())
    }
}

/// Takes note of the changes at some keys.
pub(crate) struct Watched {
    db: u16,
    keys: Vec<Vec<u8>>,
    edits: Edits,
}

impl Watched {
    /// Watches these keys until the result is dropped.
    pub(crate) fn observe<K: AsRef<[u8]>>(
        changes: &mut Changes,
        db: u16,
        keys: &[K],
    ) -> Rc<RefCell<Watched>> {
        let keys = keys.iter().map(|key| key.as_ref().to_vec()).collect();
        let watched = Rc::new(RefCell::new(Watched { db, keys, edits: Edits::Members(Vec::new()) }));
        let weak = Rc::downgrade(&watched);
        changes.observe(weak);
        watched
    }

    /// What has happened since the last call.
    pub(crate) fn take(&mut self) -> Edits {
        std::mem::replace(&mut self.edits, Edits::Members(Vec::new()))
    }
}

impl ChangeSink for Watched {
    fn change(&mut self, _: u64, change: &Change<'_>) {
        let Edits::Members(members) = &mut self.edits else { return };
        if !change.may_alter(self.db, |key| self.keys.iter().any(|watched| watched == key)) {
            return;
        }
        match *change {
            Change::SetEdit { edit: SetEdit::Add { member }, .. }
            | Change::ZsetEdit { edit: ZsetEdit::Set { member, .. }, .. } => {
                members.push((true, member.to_vec()))
            }
            Change::SetEdit { edit: SetEdit::Remove { member }, .. }
            | Change::ZsetEdit { edit: ZsetEdit::Remove { member }, .. } => {
                members.push((false, member.to_vec()))
            }
            // The members are the same. (A packed set is walked over at once, so that no walk loses its place.)
            Change::ZsetEdit { edit: ZsetEdit::Grow, .. } => {}
            // Another form of a set has the same members, but a walk over them has lost its place.
            _ => self.edits = Edits::Replaced,
        }
    }
}

/// Takes note of whether one key gets another value, or none.
pub(crate) struct Touched {
    db: u16,
    /// The key.
    pub(crate) key: Vec<u8>,
    is_touched: bool,
}

impl Touched {
    /// Watches this key until the result is dropped.
    pub(crate) fn observe(changes: &mut Changes, db: u16, key: &[u8]) -> Rc<RefCell<Touched>> {
        let touched = Rc::new(RefCell::new(Touched { db, key: key.to_vec(), is_touched: false }));
        changes.observe(Rc::<RefCell<Touched>>::downgrade(&touched));
        touched
    }

    /// Whether it has since the last call.
    pub(crate) fn take(&mut self) -> bool {
        std::mem::take(&mut self.is_touched)
    }
}

impl ChangeSink for Touched {
    fn change(&mut self, _: u64, change: &Change<'_>) {
        self.is_touched |= change.may_alter(self.db, |key| key == self.key);
    }
}

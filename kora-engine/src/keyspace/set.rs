//! How sets change.
//!
//! A replay inserts without limits, so there a form changes by itself only where it must: integers that get a member which is none
//! are packed. Every other change of form is an edit of its own, made after the insertion that caused it (a new set has a
//! member then, and so is there).

use super::Editor;
use crate::change::{Change, SetEdit, SetForm};
use crate::random::Random;
use crate::value::item::Item;
use crate::value::set::{Rules, Set};
use crate::value::Collection;

impl Editor<'_, Set> {
    /// Prepares for this many insertions, of which this is the first: see [`Set::for_members`] and [`Set::expect`].
    pub(crate) fn expect(&mut self, first: &[u8], insertions: usize, rules: &Rules) {
        if self.is_empty() {
            *self.value_mut() = Set::for_members(first, insertions, rules);
            return;
        }
        let before = self.form();
        self.value_mut().expect(insertions, rules);
        self.tell_form(before);
    }

    /// Adds a member; false when it was there.
    #[inline]
    pub(crate) fn insert(&mut self, member: &[u8], rules: &Rules) -> bool {
        let by_itself = self.form_with(member);
        if !self.value_mut().insert(member, rules) {
            return false;
        }
        self.emit(|db, key| Change::SetEdit { db, key, edit: SetEdit::Add { member } });
        self.tell_form(by_itself);
        true
    }

    /// Removes a member; false when it is not there.
    #[inline]
    pub(crate) fn remove(&mut self, member: &[u8]) -> bool {
        let removed = self.value_mut().remove(member);
        if removed {
            self.emit(|db, key| Change::SetEdit { db, key, edit: SetEdit::Remove { member } });
        }
        removed
    }

    /// Removes members chosen uniformly, fewer than there are, and calls with each.
    pub(crate) fn draw(
        &mut self,
        count: usize,
        random: &mut Random,
        rules: &Rules,
        f: &mut dyn FnMut(Item<'_>),
    ) {
        let before = self.form();
        let mut set = self.take_all();
        set.draw(count, random, rules, &mut |member| {
            member.with_bytes(|member| {
                self.emit(|db, key| Change::SetEdit { db, key, edit: SetEdit::Remove { member } })
            });
            f(member);
        });
        *self.value_mut() = set;
        self.tell_form(before);
    }

    /// Takes all members out; the key goes away.
    pub(crate) fn take_all(&mut self) -> Set {
        std::mem::replace(self.value_mut(), Set::of_ints())
    }

    /// Applies an edit that another shard, or this one in an earlier life, has made.
    pub(super) fn replay(&mut self, edit: SetEdit<'_>, rules: &Rules) {
        match edit {
            SetEdit::Add { member } => {
                self.insert(member, rules);
            }
            SetEdit::Remove { member } => {
                self.remove(member);
            }
            SetEdit::Form(form) => {
                let before = self.form();
                self.value_mut().convert(form, rules);
                self.tell_form(before);
            }
        }
    }

    /// The form that a replay of this insertion leads to.
    #[inline]
    fn form_with(&self, member: &[u8]) -> SetForm {
        let form = if self.is_empty() { SetForm::Ints } else { self.form() };
        match form {
            SetForm::Ints if matches!(Item::of(member), Item::Bytes(_)) => SetForm::Packed,
            form => form,
        }
    }

    /// Makes the change of form, unless it has this one.
    #[inline]
    fn tell_form(&mut self, expected: SetForm) {
        let form = self.form();
        if form != expected {
            self.emit(|db, key| Change::SetEdit { db, key, edit: SetEdit::Form(form) });
        }
    }
}

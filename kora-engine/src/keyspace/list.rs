//! How lists change.
//!
//! `fill` is the setting `list-max-listpack-size`, on which the form depends that OBJECT ENCODING tells.

use super::Editor;
use crate::change::{Change, ListEdit};
use crate::limits::EncodingLimits;
use crate::value::list::search::Preparation;
use crate::value::list::{Element, End, Fill, List, Snapshot};
use crate::value::Collection;
use std::ops::Range;

/// Removed elements that are named by their indexes, at most: runs of them. More are named by what they are.
const RUNS_MAX: usize = 64;

impl Editor<'_, List> {
    /// Adds elements at an end, one after the other.
    pub fn push(&mut self, end: End, elements: &[&[u8]], fill: i32) {
        let bytes = elements.iter().map(|element| element.len()).sum();
        self.value_mut().before_growing(bytes, elements.len(), Fill::new(fill));
        for &element in elements {
            self.value_mut().push(end, element);
            self.edited(ListEdit::Push { end, element });
        }
    }

    /// Removes the element at an end, having shown it; false when there is none.
    pub fn pop(&mut self, end: End, fill: i32, visit: impl FnOnce(Element<'_>)) -> bool {
        if self.value_mut().pop(end, visit).is_none() {
            return false;
        }
        self.value_mut().after_shrinking(Fill::new(fill));
        self.edited(ListEdit::Pop { end, count: 1 });
        true
    }

    /// Removes elements at an end, as many as there are at most.
    pub fn pop_many(&mut self, end: End, count: usize, fill: i32) {
        let count = count.min(self.len());
        if count == 0 {
            return;
        }
        if let Some(gone) = self.value_mut().pop_many(end, count) {
            gone.into_object().discard();
        }
        self.value_mut().after_shrinking(Fill::new(fill));
        self.edited(ListEdit::Pop { end, count: count as u64 });
    }

    /// Moves the element at one end to an end, having shown it.
    pub fn rotate(&mut self, from: End, to: End, fill: i32, visit: impl FnOnce(Element<'_>)) {
        let list = self.value_mut();
        let text = list.pop(from, |element| {
            visit(element);
            element.to_vec()
        });
        let Some(text) = text else { return };
        list.before_growing(text.len(), 1, Fill::new(fill));
        list.push(to, &text);
        list.after_shrinking(Fill::new(fill));
        let pop = ListEdit::Pop { end: from, count: 1 };
        let push = ListEdit::Push { end: to, element: &text };
        // Told in an order in which the list is never empty: a key that goes away in a replay loses its expiry.
        let edits = if self.len() == 1 { [push, pop] } else { [pop, push] };
        edits.into_iter().for_each(|edit| self.edited(edit));
    }

    /// Puts an element before or after the first one that is equal to `pivot`; false when there is none. `known` is what a search
    /// for it has found out before.
    pub fn insert(
        &mut self,
        pivot: &[u8],
        after: bool,
        element: &[u8],
        fill: i32,
        known: Option<Preparation>,
    ) -> bool {
        // As in Redis, whether or not there is a place for it.
        self.value_mut().before_growing(element.len(), 1, Fill::new(fill));
        let Some(pivot) = self.first_equal(pivot, known) else { return false };
        self.value_mut().insert(pivot, after, element);
        self.edited(ListEdit::Insert { pivot: pivot as u64, after, element });
        true
    }

    /// Begins a search for an element before a change that depends on it, when the list is so long that it is to be done in slices. With
    /// `removes`, at most `limit` elements will be removed, those nearest to an end; else the first one is wanted.
    pub fn prepare(&mut self, text: &[u8], limit: usize, from: End, removes: bool) -> Option<Preparation> {
        let len = self.is_long().then(|| self.len())?;
        Some(Preparation::new(text, limit, from, removes, self.snapshot(0..len)))
    }

    /// Replaces the element at an index, negative from the tail; false when there is none.
    pub fn set(&mut self, index: i64, element: &[u8], fill: i32) -> bool {
        self.value_mut().before_growing(element.len(), 1, Fill::new(fill));
        let Some(index) = self.index_of(index) else { return false };
        self.value_mut().set(index, element);
        self.value_mut().after_shrinking(Fill::new(fill));
        self.edited(ListEdit::Set { index: index as u64, element });
        true
    }

    /// Removes the elements that are equal to one, at most `limit`, those nearest to an end; returns how many. `known` is what a search
    /// for them has found out before.
    pub fn remove_equal(
        &mut self,
        element: &[u8],
        limit: usize,
        from: End,
        fill: i32,
        known: Option<Preparation>,
    ) -> usize {
        let runs = self.value_mut().remove_equal(element, limit, from, known);
        if runs.is_empty() {
            return 0;
        }
        self.value_mut().after_shrinking(Fill::new(fill));
        let removed = runs.iter().map(|&(_, count)| count).sum();
        if runs.len() > RUNS_MAX {
            self.edited(ListEdit::RemoveEqual { element, count: removed as u64, nearest: from });
            return removed;
        }
        // From the tail on, so that the indexes hold.
        for &(index, count) in runs.iter().rev() {
            self.edited(ListEdit::Remove { index: index as u64, count: count as u64 });
        }
        removed
    }

    /// The elements of a range of indexes as they are now. Not a change: only where they lie becomes another place.
    pub fn snapshot(&mut self, range: Range<usize>) -> Snapshot {
        self.value_mut().snapshot(range)
    }

    fn edited(&mut self, edit: ListEdit<'_>) {
        self.emit(|db, key| Change::ListEdit { db, key, edit });
    }

    /// Does an edit again. One that does not fit the list is left out: a log that can be read is replayed as far as it
    /// makes sense.
    pub(super) fn replay(&mut self, edit: ListEdit<'_>) {
        let fill = EncodingLimits::default().list_max_listpack_size;
        let index_within = |index: u64, len: usize| usize::try_from(index).ok().filter(|&index| index < len);
        match edit {
            ListEdit::Push { end, element } => self.push(end, &[element], fill),
            ListEdit::Pop { end, count } => {
                self.pop_many(end, usize::try_from(count).unwrap_or(usize::MAX), fill)
            }
            ListEdit::Insert { pivot, after, element } => {
                let Some(pivot) = index_within(pivot, self.len()) else { return };
                self.value_mut().before_growing(element.len(), 1, Fill::new(fill));
                self.value_mut().insert(pivot, after, element);
                self.edited(edit);
            }
            ListEdit::Set { index, element } => {
                let Some(index) = index_within(index, self.len()) else { return };
                self.set(index as i64, element, fill);
            }
            ListEdit::Remove { index, count } => {
                let Some(index) = index_within(index, self.len()) else { return };
                let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.len() - index);
                if let Some(gone) = self.value_mut().remove(index, count) {
                    gone.into_object().discard();
                }
                self.value_mut().after_shrinking(Fill::new(fill));
                self.edited(edit);
            }
            ListEdit::RemoveEqual { element, count, nearest } => {
                let limit = usize::try_from(count).unwrap_or(usize::MAX);
                self.remove_equal(element, limit, nearest, fill, None);
            }
        }
    }
}

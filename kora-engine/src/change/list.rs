//! Changes of lists.

use crate::value::list::End;

/// What happened to a list. Indexes count from the head, as they were before the edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListEdit<'a> {
    /// An element was added at an end; the list may be new.
    Push {
        /// Where.
        end: End,
        /// Its text.
        element: &'a [u8],
    },
    /// Elements were removed at an end.
    Pop {
        /// Where.
        end: End,
        /// How many.
        count: u64,
    },
    /// An element was put before or after another.
    Insert {
        /// Index of that other one.
        pivot: u64,
        /// Whether it came after it.
        after: bool,
        /// Its text.
        element: &'a [u8],
    },
    /// An element has another text now.
    Set {
        /// Which.
        index: u64,
        /// Its text.
        element: &'a [u8],
    },
    /// Elements in a row were removed.
    Remove {
        /// Index of the first.
        index: u64,
        /// How many.
        count: u64,
    },
    /// Elements that are equal to one were removed: many, so they are not named one by one.
    RemoveEqual {
        /// Their text.
        element: &'a [u8],
        /// How many.
        count: u64,
        /// They were those nearest to this end.
        nearest: End,
    },
}

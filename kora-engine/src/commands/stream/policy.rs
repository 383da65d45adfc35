//! KEEPREF, DELREF and ACKED: what becomes of the consumer groups' references to an entry that is to be deleted.

use crate::args::is;
use crate::keyspace::Editor;
use crate::value::stream::{Stream, StreamId};

/// What is done about references.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Policy {
    /// They stay, and then lead nowhere.
    #[default]
    Keep,
    /// They are deleted too.
    Delete,
    /// An entry with references is not deleted, nor one that a group has not read yet.
    Acknowledged,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deletion {
    /// There is none of this id.
    Missing = -1,
    /// It is deleted.
    Done = 1,
    /// It is kept for its references.
    Referenced = 2,
}

impl Policy {
    /// The policy of an option word.
    pub(super) fn named(word: &[u8]) -> Option<Policy> {
        if is(word, "keepref") {
            Some(Policy::Keep)
        } else if is(word, "delref") {
            Some(Policy::Delete)
        } else if is(word, "acked") {
            Some(Policy::Acknowledged)
        } else {
            None
        }
    }

    /// Deletes an entry under this policy.
    pub(super) fn delete(self, stream: &mut Editor<'_, Stream>, id: StreamId, tombstone: bool) -> Deletion {
        match self {
            Policy::Keep => {}
            Policy::Delete => stream.acknowledge_everywhere(id),
            Policy::Acknowledged if stream.is_referenced(id) => return Deletion::Referenced,
            Policy::Acknowledged => {}
        }
        if stream.delete(id, tombstone) {
            Deletion::Done
        } else {
            Deletion::Missing
        }
    }
}

//! Changes of sorted sets.

use super::Editor;
use crate::change::{Change, ZsetEdit};
use crate::value::zset::{Growth, Updated, Zset};
use crate::value::Collection;

impl Editor<'_, Zset> {
    /// Looks a member up and gives it the score that `decide` makes of its score, if any.
    #[inline]
    pub fn update(
        &mut self,
        member: &[u8],
        growth: Growth,
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Updated {
        let (zset, mut emitter) = self.parts();
        let updated = zset.update(member, growth, decide);
        if let Some(new) = updated.new {
            // A set that was made large before it had members says so when it has one: an empty set is no key.
            let grown = updated.grown || updated.old.is_none() && zset.len() == 1 && zset.is_large();
            let edit = ZsetEdit::Set { member, score: new.into() };
            emitter.emit(|db, key| Change::ZsetEdit { db, key, edit });
            if grown {
                emitter.emit(|db, key| Change::ZsetEdit { db, key, edit: ZsetEdit::Grow });
                if new == 0.0 && new.is_sign_negative() {
                    // Whoever replays this has put it into a packed set first, which knows no negative zero.
                    emitter.emit(|db, key| Change::ZsetEdit { db, key, edit });
                }
            }
        }
        updated
    }

    /// Gives an empty set the form that one of so many members, the longest of so many bytes, is expected to need.
    pub fn expect(&mut self, members: usize, longest: usize, growth: Growth) {
        let (zset, _) = self.parts();
        zset.expect(members, longest, growth);
    }

    /// Takes a member out; true when it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let (zset, mut emitter) = self.parts();
        let removed = zset.remove(member).is_some();
        if removed {
            let edit = ZsetEdit::Remove { member };
            emitter.emit(|db, key| Change::ZsetEdit { db, key, edit });
        }
        removed
    }

    /// Takes the member of this rank out and shows it, with its score, to `f`.
    ///
    /// # Panics
    /// When `rank` is not below the number of members.
    pub fn take_at<T>(&mut self, rank: usize, f: impl FnOnce(&[u8], f64) -> T) -> T {
        let (zset, mut emitter) = self.parts();
        zset.take_at(rank, |member, score| {
            let edit = ZsetEdit::Remove { member };
            emitter.emit(|db, key| Change::ZsetEdit { db, key, edit });
            f(member, score)
        })
    }

    /// Does again what a change says.
    pub(super) fn replay(&mut self, edit: ZsetEdit<'_>, seed: u64) {
        match edit {
            ZsetEdit::Set { member, score } => {
                let score = score.get();
                // An update would take a zero of the other sign for the same score.
                if self.score(member).is_some_and(|old| old == score && old.to_bits() != score.to_bits()) {
                    self.remove(member);
                }
                self.update(member, Growth::when_told(seed), |_| Some(score));
            }
            ZsetEdit::Remove { member } => {
                self.remove(member);
            }
            ZsetEdit::Grow => {
                let (zset, mut emitter) = self.parts();
                zset.grow(seed);
                emitter.emit(|db, key| Change::ZsetEdit { db, key, edit });
            }
        }
    }
}

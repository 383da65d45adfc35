//! Sorted sets: members ordered by score, and by their bytes where scores are equal.
//!
//! Small ones are [`packed`] in one buffer, large ones are a table of members and a tree beside it ([`large`]). A set becomes
//! large when it passes a limit of [`EncodingLimits`], and stays so.
//!
//! Ranks count from 0 at the least score. Intervals of scores and members ([`range`]) are turned into intervals of ranks
//! first, in O(log n), and then walked.

mod large;
mod packed;
pub mod range;
#[cfg(test)]
mod tests;
mod tree;

use super::buffer::Buffer;
use super::forms::forms;
use super::item::Item;
use super::{Collection, Object, Type};
use crate::limits::EncodingLimits;
use crate::table::Table;
use large::{Large, Named};
use packed::PackedEntry;
use range::{LexRange, ScoreRange};
use std::ops::Range;
use tree::{Ascending, Descending};

forms! {
    /// A sorted set.
    #[derive(Clone)]
    pub enum Zset {
        /// Few members, one after the other.
        Packed(Buffer) = 0,
        /// A table and a tree.
        Large(Box<Large>) = 1,
    }
}

/// When a sorted set takes its large form, and with what seed.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    entries_max: usize,
    value_max: usize,
    seed: u64,
}

impl Growth {
    /// At these limits.
    pub fn new(limits: &EncodingLimits, seed: u64) -> Growth {
        Growth {
            entries_max: limits.zset_max_listpack_entries.min(packed::ENTRIES_MAX),
            value_max: limits.zset_max_listpack_value,
            seed,
        }
    }

    /// The same for members of any length.
    pub(crate) fn of_any_length(self) -> Growth {
        Growth { value_max: usize::MAX, ..self }
    }

    /// Only when it must: whoever replays changes is told when the set took its large form.
    pub(crate) fn when_told(seed: u64) -> Growth {
        Growth { entries_max: packed::ENTRIES_MAX, value_max: usize::MAX, seed }
    }

    /// The seed of the large form's hash.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether a packed set may have so many members, the longest of so many bytes.
    fn allows(&self, entries: usize, longest: usize) -> bool {
        entries <= self.entries_max && longest <= self.value_max
    }
}

/// What [`Zset::update`] did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Updated {
    /// The score before; none when the member was not there.
    pub old: Option<f64>,
    /// The score that was written; none when nothing was.
    pub new: Option<f64>,
    /// The set took its large form for it.
    pub(crate) grown: bool,
}

impl Zset {
    /// The members of the large form.
    pub(super) fn members(&self) -> Option<&Table> {
        match self {
            Zset::Large(large) => Some(large.members()),
            Zset::Packed(_) => None,
        }
    }

    /// Whether it has its large form.
    pub fn is_large(&self) -> bool {
        matches!(self, Zset::Large(_))
    }

    /// Gives the set its large form.
    pub(crate) fn grow(&mut self, seed: u64) {
        self.large_mut(seed);
    }

    fn large_mut(&mut self, seed: u64) -> &mut Large {
        if let Zset::Packed(buffer) = self {
            *self = Zset::Large(Box::new(Zset::unpacked(buffer, seed)));
        }
        match self {
            Zset::Large(large) => large,
            Zset::Packed(_) => unreachable!("it has just been made large"),
        }
    }

    fn unpacked(buffer: &Buffer, seed: u64) -> Large {
        let mut large = Large::new(seed);
        for entry in packed::entries(buffer) {
            let pushed = entry.member.with_bytes(|member| large.push(member, entry.score));
            debug_assert!(pushed, "entries come in order, each once");
        }
        large
    }

    /// Packs a set that is large but need not be.
    pub(crate) fn settle(&mut self, growth: Growth) {
        let Zset::Large(large) = self else { return };
        let fits = large.len() <= growth.entries_max
            && large.ascending(0).all(|(member, _)| member.len() <= growth.value_max);
        if !fits {
            return;
        }
        let mut buffer = Buffer::new();
        for (member, score) in large.ascending(0) {
            packed::push(&mut buffer, member, score);
        }
        *self = Zset::Packed(buffer);
    }

    /// Gives an empty set the form that one of so many members, the longest of so many bytes, is expected to need. Returns
    /// whether that is the large one.
    pub(crate) fn expect(&mut self, members: usize, longest: usize, growth: Growth) -> bool {
        let grows = self.is_empty() && !self.is_large() && !growth.allows(members, longest);
        if grows {
            self.grow(growth.seed);
        }
        grows
    }

    /// Looks a member up and gives it the score that `decide` makes of its score, if any.
    #[inline]
    pub(crate) fn update(
        &mut self,
        member: &[u8],
        growth: Growth,
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Updated {
        let buffer = match self {
            Zset::Large(large) => {
                let (old, new) = large.update(member, decide);
                return Updated { old, new, grown: false };
            }
            Zset::Packed(buffer) => buffer,
        };
        let found = packed::find(buffer, member).map(|(_, entry)| (entry.score, entry.place));
        let old = found.as_ref().map(|(score, _)| *score);
        let new = decide(old).filter(|new| old != Some(*new));
        let Some(score) = new else { return Updated { old, new, grown: false } };
        if let Some((_, place)) = found {
            packed::remove(buffer, place);
        } else if !growth.allows(packed::len(buffer) + 1, member.len()) {
            self.large_mut(growth.seed).update(member, |_| new);
            return Updated { old, new, grown: true };
        }
        packed::insert(buffer, member, score);
        Updated { old, new, grown: false }
    }

    /// Gives a member a score; true when it was not there.
    pub(crate) fn insert(&mut self, member: &[u8], score: f64, growth: Growth) -> bool {
        self.update(member, growth, |_| Some(score)).old.is_none()
    }

    /// Takes a member out; its score if it was there.
    pub(crate) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match self {
            Zset::Large(large) => large.remove(member),
            Zset::Packed(buffer) => {
                let (score, place) =
                    packed::find(buffer, member).map(|(_, entry)| (entry.score, entry.place))?;
                packed::remove(buffer, place);
                Some(score)
            }
        }
    }

    /// Takes the member of this rank out and shows it to `f`.
    ///
    /// # Panics
    /// When `rank` is not below the number of members.
    pub(crate) fn take_at<T>(&mut self, rank: usize, f: impl FnOnce(&[u8], f64) -> T) -> T {
        match self {
            Zset::Large(large) => large.take_at(rank, f),
            Zset::Packed(buffer) => {
                let PackedEntry { member, score, place } =
                    packed::entries(buffer).nth(rank).expect("a rank below the number of members");
                let shown = member.with_bytes(|member| f(member, score));
                packed::remove(buffer, place);
                shown
            }
        }
    }

    /// The score of a member.
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Zset::Large(large) => large.score(member),
            Zset::Packed(buffer) => packed::find(buffer, member).map(|(_, entry)| entry.score),
        }
    }

    /// Rank and score of a member.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            Zset::Large(large) => large.rank(member),
            Zset::Packed(buffer) => packed::find(buffer, member).map(|(rank, entry)| (rank, entry.score)),
        }
    }

    /// Number of members before a place in the order, whether or not there is a member.
    pub fn rank_of_place(&self, score: f64, member: &[u8]) -> usize {
        match self {
            Zset::Large(large) => large.rank_of_place(score, member),
            Zset::Packed(buffer) => packed::rank_of_place(buffer, score, member),
        }
    }

    /// `f` of the member of this rank and its score.
    ///
    /// # Panics
    /// When `rank` is not below the number of members.
    pub fn with_entry<T>(&self, rank: usize, f: impl FnOnce(Item<'_>, f64) -> T) -> T {
        let (member, score) = self.ascending(rank).next().expect("a rank below the number of members");
        f(member, score)
    }

    /// The ranks of the scores in an interval.
    pub fn score_range(&self, range: &ScoreRange) -> Range<usize> {
        let (start, end) = match self {
            Zset::Large(large) => (
                large.partition_scores(|score| range.is_above(score)),
                large.partition_scores(|score| range.ends_after(score)),
            ),
            Zset::Packed(buffer) => (
                packed::entries(buffer).take_while(|entry| range.is_above(entry.score)).count(),
                packed::entries(buffer).take_while(|entry| range.ends_after(entry.score)).count(),
            ),
        };
        start..end.max(start)
    }

    /// The ranks of the members in an interval. The scores should all be equal: else members are in no order, and as
    /// in Redis the answer is some interval of ranks.
    pub fn lex_range(&self, range: &LexRange<'_>) -> Range<usize> {
        let (start, end) = match self {
            Zset::Large(large) => (
                large.partition_members(|member| range.is_above(member)),
                large.partition_members(|member| range.ends_after(member)),
            ),
            Zset::Packed(buffer) => {
                // As Redis walks: members in no order are given from the first that fits to the first that does not, if
                // the last is not below the interval.
                let last = packed::entries(buffer).last();
                if last.is_none_or(|entry| entry.member.with_bytes(|member| range.is_above(member))) {
                    return 0..0;
                }
                let count = |skipped: usize, holds: &dyn Fn(&[u8]) -> bool| {
                    let entries = packed::entries(buffer).skip(skipped);
                    entries.take_while(|entry| entry.member.with_bytes(holds)).count()
                };
                let start = count(0, &|member| range.is_above(member));
                (start, start + count(start, &|member| range.ends_after(member)))
            }
        };
        start..end.max(start)
    }

    /// Members and scores from a rank on, upwards.
    pub fn ascending(&self, rank: usize) -> Walk<'_> {
        match self {
            Zset::Large(large) => Walk(Steps::Ascending(large.ascending(rank))),
            Zset::Packed(buffer) => {
                let start = packed::entries(buffer).nth(rank).map_or(buffer.len(), |entry| entry.place.start);
                Walk(Steps::PackedAscending(packed::Entries::at(buffer, start)))
            }
        }
    }

    /// Members and scores from a rank on, downwards.
    pub fn descending(&self, rank: usize) -> Walk<'_> {
        match self {
            Zset::Large(large) => Walk(Steps::Descending(large.descending(rank))),
            Zset::Packed(buffer) => {
                let entries = packed::entries(buffer).take(rank.saturating_add(1));
                Walk(Steps::PackedDescending {
                    buffer,
                    starts: entries.map(|entry| entry.place.start as u32).collect(),
                })
            }
        }
    }

    /// Visits about `count` members from a cursor on, in no order; returns the cursor to go on with, 0 at the end. A packed
    /// set is visited as a whole.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&[u8], f64)) -> u64 {
        match self {
            Zset::Large(large) => large.scan(cursor, count, visit),
            Zset::Packed(buffer) => {
                for entry in packed::entries(buffer) {
                    entry.member.with_bytes(|member| visit(member, entry.score));
                }
                0
            }
        }
    }
}

/// Members of a sorted set with their scores, in order. A member of a large set is in bytes even if it is an integer.
pub struct Walk<'a>(Steps<'a>);

enum Steps<'a> {
    PackedAscending(packed::Entries<'a>),
    PackedDescending { buffer: &'a [u8], starts: Vec<u32> },
    Ascending(Named<'a, Ascending<'a>>),
    Descending(Named<'a, Descending<'a>>),
}

impl<'a> Iterator for Walk<'a> {
    type Item = (Item<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<(Item<'a>, f64)> {
        let of_packed = |entry: PackedEntry<'a>| (entry.member, entry.score);
        let of_large = |(member, score)| (Item::Bytes(member), score);
        match &mut self.0 {
            Steps::PackedAscending(entries) => entries.next().map(of_packed),
            Steps::PackedDescending { buffer, starts } => {
                let start = starts.pop()? as usize;
                packed::Entries::at(buffer, start).next().map(of_packed)
            }
            Steps::Ascending(entries) => entries.next().map(of_large),
            Steps::Descending(entries) => entries.next().map(of_large),
        }
    }
}

/// First byte of an encoded set.
const ENCODED_PACKED: u8 = 0;
const ENCODED_LARGE: u8 = 1;

impl Collection for Zset {
    const TYPE: Type = Type::Zset;

    fn new(_seed: u64) -> Zset {
        Zset::Packed(Buffer::new())
    }

    #[inline]
    fn len(&self) -> usize {
        match self {
            Zset::Packed(buffer) => packed::len(buffer),
            Zset::Large(large) => large.len(),
        }
    }

    fn encoding(&self) -> &'static str {
        match self {
            Zset::Packed(_) => "listpack",
            Zset::Large(_) => "skiplist",
        }
    }

    fn memory(&self) -> usize {
        match self {
            Zset::Packed(buffer) => buffer.heap_bytes(),
            Zset::Large(large) => large.heap_bytes(),
        }
    }

    fn copy_some(&self, copy: &mut Zset, position: &mut u64, elements: usize) -> bool {
        let Zset::Large(large) = self else {
            *copy = self.clone();
            return true;
        };
        if *position == 0 {
            *copy = Zset::Large(Box::new(large.empty_like()));
            *position = 1;
        }
        match copy {
            Zset::Large(copy) => large.copy_some(copy, elements),
            _ => unreachable!("it was made large by the first call"),
        }
    }

    fn free_some(&mut self, elements: usize) -> bool {
        match self {
            Zset::Packed(buffer) => {
                *buffer = Buffer::new();
                true
            }
            Zset::Large(large) => large.free_some(elements),
        }
    }

    /// The form, then the entries as a packed set has them, in order.
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(if self.is_large() { ENCODED_LARGE } else { ENCODED_PACKED });
        for (member, score) in self.ascending(0) {
            member.with_bytes(|member| packed::encode(Item::of(member), score, out));
        }
    }

    fn decode(input: &[u8], seed: u64) -> Option<Zset> {
        let mut large = Large::new(seed);
        let mut at = 1;
        while at < input.len() {
            let (member, score, end) = packed::try_decode(input, at)?;
            let accepted = !score.is_nan()
                && member.is_canonical()
                && member.with_bytes(|member| large.push(member, score));
            if !accepted {
                return None;
            }
            at = end;
        }
        match *input.first()? {
            ENCODED_LARGE => Some(Zset::Large(Box::new(large))),
            ENCODED_PACKED if large.len() <= packed::ENTRIES_MAX => {
                let mut buffer = Buffer::new();
                for (member, score) in large.ascending(0) {
                    packed::push(&mut buffer, member, score);
                }
                Some(Zset::Packed(buffer))
            }
            _ => None,
        }
    }

    fn into_object(self) -> Object {
        Object::Zset(self)
    }
}

impl std::fmt::Debug for Zset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let entries = self.ascending(0).map(|(member, score)| (member.to_vec(), score));
        f.debug_map().entries(entries).finish()
    }
}

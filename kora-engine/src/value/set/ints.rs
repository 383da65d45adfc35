//! A set of integers in one buffer: sorted offsets from a base, all of the same least sufficient width.
//!
//! ```text
//! | width: low 4 bits, bytes of the base: high 4 bits | base | offset 0 | offset 1 | ...
//! ```
//!
//! The offsets are unsigned, 1 to 8 bytes each, little-endian, in ascending order, so a lookup is a binary search. The base
//! (two's complement, 0 to 8 bytes) is at most the least member. This is the frame of reference of Goldstein, Ramakrishnan and Shaft,
//! "Compressing relations and indexes" (1998), with whole bytes instead of bits, so that an insertion is a move
//! of bytes. Redis's intset knows 2, 4 and 8 bytes and no base: a thousand ids near 10^10 take 8 bytes each there, and 2 here.
//!
//! The width is that of the distance between the least and the greatest member, whatever has been removed before. The
//! base is 0 when the members are not negative and the width allows it; else it lies below the least
//! member by half of what the width leaves free, so that members that come in descending order do not move it each time.
//!
//! An empty set is an empty buffer.

use crate::value::buffer::Buffer;

/// Set bits of an offset of this many bytes, 1 to 8.
fn mask(width: usize) -> u64 {
    u64::MAX >> (64 - 8 * width)
}

/// Bytes that an offset needs, 1 to 8.
fn width_of(offset: u64) -> usize {
    (64 - (offset | 1).leading_zeros() as usize).div_ceil(8)
}

/// The width and the base for members from `min` to `max`.
fn frame(min: i64, max: i64) -> (usize, i64) {
    let range = max.wrapping_sub(min) as u64;
    let width = width_of(range);
    if min >= 0 && max as u64 <= mask(width) {
        return (width, 0);
    }
    let below = (mask(width) - range) / 2;
    // Nearer than that to the least integer there is nothing.
    (width, min.checked_sub_unsigned(below).unwrap_or(i64::MIN))
}

/// The integers of a buffer, for reading.
#[derive(Clone, Copy)]
pub(super) struct Ints<'a> {
    base: i64,
    width: usize,
    /// Bytes before the offsets.
    head: usize,
    offsets: &'a [u8],
}

impl<'a> Ints<'a> {
    /// Of bytes that this module wrote.
    #[inline]
    pub(super) fn of(bytes: &'a [u8]) -> Ints<'a> {
        let Some(&tag) = bytes.first() else {
            return Ints { base: 0, width: 1, head: 0, offsets: &[] };
        };
        let base_len = (tag >> 4) as usize;
        let (base, offsets) = bytes[1..].split_at(base_len);
        Ints { base: int(base), width: (tag & 15) as usize, head: 1 + base_len, offsets }
    }

    /// Of bytes that may come from anywhere.
    pub(super) fn checked(bytes: &'a [u8]) -> Option<Ints<'a>> {
        let &tag = bytes.first()?;
        let (width, base_len) = ((tag & 15) as usize, (tag >> 4) as usize);
        if !(1..=8).contains(&width) || base_len > 8 || bytes.len() <= 1 + base_len {
            return None;
        }
        let ints = Ints::of(bytes);
        if !ints.offsets.len().is_multiple_of(width) {
            return None;
        }
        let ascending = (1..ints.len()).all(|index| ints.offset(index - 1) < ints.offset(index));
        let last = ints.base.checked_add_unsigned(ints.offset(ints.len() - 1));
        (ascending && last.is_some()).then_some(ints)
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.offsets.len() / self.width
    }

    #[inline]
    fn offset(&self, index: usize) -> u64 {
        let at = index * self.width;
        let len = self.offsets.len();
        let word = |at: usize| u64::from_le_bytes(self.offsets[at..at + 8].try_into().expect("8 bytes"));
        if at + 8 <= len {
            word(at) & mask(self.width)
        } else if len >= 8 {
            word(len - 8) >> (8 * (at + 8 - len)) & mask(self.width)
        } else {
            (0..self.width).fold(0, |word, byte| word | (self.offsets[at + byte] as u64) << (8 * byte))
        }
    }

    /// The member of this rank.
    #[inline]
    pub(super) fn get(&self, index: usize) -> i64 {
        self.base.wrapping_add_unsigned(self.offset(index))
    }

    /// The rank of a member, or the rank that it would have.
    #[inline]
    pub(super) fn find(&self, value: i64) -> Result<usize, usize> {
        let len = self.len();
        if value < self.base || len == 0 {
            return Err(0);
        }
        let wanted = value.wrapping_sub(self.base) as u64;
        // Numbers often come in their order.
        if wanted > self.offset(len - 1) {
            return Err(len);
        }
        let (mut low, mut high) = (0, len);
        while low < high {
            let middle = (low + high) / 2;
            if self.offset(middle) < wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if self.offset(low) == wanted {
            Ok(low)
        } else {
            Err(low)
        }
    }

    pub(super) fn contains(&self, value: i64) -> bool {
        self.find(value).is_ok()
    }

    pub(super) fn iter(self) -> impl Iterator<Item = i64> + 'a {
        (0..self.len()).map(move |index| self.get(index))
    }
}

/// The integer of 0 to 8 bytes.
fn int(bytes: &[u8]) -> i64 {
    let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let mut word = [fill; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(word)
}

/// Bytes of two's complement that hold the integer; 0 needs none.
fn int_len(int: i64) -> usize {
    match int {
        0 => 0,
        _ => (65 - (int ^ (int >> 63)).leading_zeros() as usize).div_ceil(8),
    }
}

/// A buffer of these members, which ascend from `min` to `max`.
fn build(min: i64, max: i64, members: impl Iterator<Item = i64>, len: usize) -> Buffer {
    let (width, base) = frame(min, max);
    let base_len = int_len(base);
    let mut buffer = Buffer::with_capacity(1 + base_len + len * width);
    buffer.extend_from_slice(&[(width | base_len << 4) as u8]);
    buffer.extend_from_slice(&base.to_le_bytes()[..base_len]);
    for member in members {
        let offset = member.wrapping_sub(base) as u64;
        buffer.extend_from_slice(&offset.to_le_bytes()[..width]);
    }
    buffer
}

/// A buffer of these members, which ascend.
pub(super) fn of_sorted(members: &[i64]) -> Buffer {
    match (members.first(), members.last()) {
        (Some(&min), Some(&max)) => build(min, max, members.iter().copied(), members.len()),
        _ => Buffer::new(),
    }
}

/// Adds a member; false when it was there.
pub(super) fn insert(buffer: &mut Buffer, value: i64) -> bool {
    let ints = Ints::of(buffer);
    let Err(rank) = ints.find(value) else { return false };
    let len = ints.len();
    let offset = value.wrapping_sub(ints.base) as u64;
    if len > 0 && value >= ints.base && offset <= mask(ints.width) {
        let (at, width) = (ints.head + rank * ints.width, ints.width);
        buffer.splice(at..at, &offset.to_le_bytes()[..width]);
        return true;
    }
    let min = if rank == 0 { value } else { ints.get(0) };
    let max = if rank == len { value } else { ints.get(len - 1) };
    let members = ints.iter().take(rank).chain([value]).chain(ints.iter().skip(rank));
    *buffer = build(min, max, members, len + 1);
    true
}

/// Removes the member of this rank.
pub(super) fn remove_at(buffer: &mut Buffer, rank: usize) {
    let ints = Ints::of(buffer);
    let (len, width, head) = (ints.len(), ints.width, ints.head);
    assert!(rank < len);
    if len == 1 {
        *buffer = Buffer::new();
        return;
    }
    if rank == 0 || rank == len - 1 {
        let (min, max) = (ints.get((rank == 0) as usize), ints.get(len - 1 - (rank == len - 1) as usize));
        if frame(min, max).0 < width {
            let members = ints.iter().skip((rank == 0) as usize).take(len - 1);
            *buffer = build(min, max, members, len - 1);
            return;
        }
    }
    let at = head + rank * width;
    buffer.splice(at..at + width, &[]);
    super::give_back(buffer);
}

/// Removes a member; false when there is no such one.
pub(super) fn remove(buffer: &mut Buffer, value: i64) -> bool {
    let found = Ints::of(buffer).find(value);
    if let Ok(rank) = found {
        remove_at(buffer, rank);
    }
    found.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Neighbours, values of each width, and the ends of the range.
    fn values() -> impl Strategy<Value = i64> {
        prop_oneof![
            4 => -20i64..20,
            2 => 1_000_000i64..1_000_300,
            2 => (any::<i64>(), 0u32..64).prop_map(|(value, shift)| value >> shift),
            1 => prop_oneof![Just(i64::MIN), Just(i64::MIN + 1), Just(i64::MAX), Just(i64::MAX - 1)],
        ]
    }

    fn check(buffer: &Buffer, model: &BTreeSet<i64>) {
        let ints = Ints::of(buffer);
        assert_eq!(ints.len(), model.len());
        assert!(ints.iter().eq(model.iter().copied()));
        if let (Some(&min), Some(&max)) = (model.first(), model.last()) {
            assert_eq!(ints.width, width_of(max.wrapping_sub(min) as u64), "the least width");
            assert!(Ints::checked(buffer).is_some());
        }
    }

    proptest! {
        #[test]
        fn it_is_an_ordered_set(steps in proptest::collection::vec((0u8..3, values()), 0..200)) {
            let (mut buffer, mut model) = (Buffer::new(), BTreeSet::new());
            for (kind, value) in steps {
                if kind < 2 {
                    prop_assert_eq!(insert(&mut buffer, value), model.insert(value));
                } else {
                    prop_assert_eq!(remove(&mut buffer, value), model.remove(&value));
                }
                prop_assert_eq!(Ints::of(&buffer).contains(value), kind < 2);
                check(&buffer, &model);
            }
            let sorted: Vec<i64> = model.iter().copied().collect();
            check(&of_sorted(&sorted), &model);
        }

        #[test]
        fn any_bytes_are_ascending_integers_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Some(ints) = Ints::checked(&bytes) {
                let members: Vec<i64> = ints.iter().collect();
                prop_assert!(members.is_sorted_by(|a, b| a < b));
                prop_assert!(members.iter().all(|&member| ints.contains(member)));
            }
        }
    }

    #[test]
    fn descending_members_seldom_move_the_base() {
        let mut buffer = Buffer::new();
        let mut moves = 0;
        let mut base = 0;
        for value in (0..500).rev().map(|n| n - 1_000_000) {
            insert(&mut buffer, value);
            moves += (Ints::of(&buffer).base != base) as u32;
            base = Ints::of(&buffer).base;
        }
        assert!(moves <= 10, "{moves}");
    }

    #[test]
    fn a_member_takes_the_bytes_of_the_distance() {
        let bytes = |members: &[i64]| of_sorted(members).len();
        assert_eq!(bytes(&[7]), 2);
        assert_eq!(bytes(&(0..100).collect::<Vec<_>>()), 101);
        assert_eq!(bytes(&(0..1000).collect::<Vec<_>>()), 2001);
        assert_eq!(bytes(&(10_000_000_000..10_000_000_100).collect::<Vec<_>>()), 1 + 5 + 100);
        assert_eq!(bytes(&[i64::MIN, i64::MAX]), 1 + 8 + 16);
    }
}

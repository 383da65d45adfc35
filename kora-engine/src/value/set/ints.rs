//! A set of integers in one buffer: sorted offsets from a base, all of the same number of bits.
//!
//! ```text
//! | tag u16 | base | offset 0 | offset 1 | ... | 0 to 7 bits that are 0 |
//!
//! tag: width - 1 in the low 6 bits, then bytes of the base (4 bits), bits unused at the end (3 bits), and 3 bits that are 0
//! ```
//!
//! The offsets are unsigned, 1 to 64 bits each, little-endian, in ascending order, so a lookup is a binary search. The base
//! (two's complement, 0 to 8 bytes) is at most the least member. This is the frame of reference of Goldstein, Ramakrishnan and Shaft,
//! "Compressing relations and indexes" (1998). Redis's intset knows 2, 4 and 8 bytes and no base: a thousand ids
//! near 10^10 take 8 bytes each there, and 10 bits here.
//!
//! **The width** is that of the distance between the least and the greatest member, or the next one: after removals a width too
//! many is kept, lest a set at the border of two is written anew with every change. Where it costs no more than an eighth, a width
//! is one of whole bytes.
//!
//! **The base** is 0 when the members are not negative and the width allows it. Otherwise it is the least member, or lies below it by a
//! part of what the width leaves free. A new member outside of the frame has all offsets written anew. So that this seldom happens, wherever members
//! arrive, what is free is given to the side where the last one arrived: all of it with a new width, three quarters when the base alone
//! moves, and when less than a sixteenth of the frame is free, it gets the next width. For members in ascending or descending
//! order that is once per power of two; for other orders it is at most some more times.
//!
//! An empty set is an empty buffer.

mod bits;

use crate::value::buffer::Buffer;
use bits::mask;
use std::cmp::Ordering;
use std::hint::select_unpredictable;

/// Bytes of the tag.
const TAG: usize = 2;

/// Bits of the offsets of members from `min` to `max`: a few more than the distance needs where that makes bytes of them, which move
/// more quickly, and a small set grow without many steps.
#[inline]
fn width_of(min: i64, max: i64) -> usize {
    rounded(64 - (max.wrapping_sub(min) as u64).leading_zeros() as usize)
}

/// The width for offsets of so many bits.
#[inline]
fn rounded(bits: usize) -> usize {
    match (bits, bits.next_multiple_of(8)) {
        (..=8, _) => bits.next_multiple_of(2).max(4),
        // An eighth is not too much for it.
        (_, bytes) if bits * 8 >= bytes * 7 => bytes,
        _ => bits,
    }
}

/// Where offsets count from, and how wide they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Frame {
    base: i64,
    width: usize,
}

impl Frame {
    /// The narrowest for members from `min` to `max`.
    fn of(min: i64, max: i64) -> Frame {
        Frame::with_room_below(min, max, width_of(min, max), 0)
    }

    fn with_room_below(min: i64, max: i64, width: usize, room: u64) -> Frame {
        let base = if min >= 0 && max as u64 <= mask(width) {
            0
        } else if width == 64 {
            i64::MIN
        } else {
            // Nearer than that to the least integer there is nothing.
            min.checked_sub_unsigned(room).unwrap_or(i64::MIN)
        };
        Frame { base, width }
    }

    /// For members from `min` to `max`, of which one of the two is new and does not fit into this frame.
    fn grown(self, min: i64, max: i64, is_min: bool) -> Frame {
        let (mut width, range) = (width_of(min, max), max.wrapping_sub(min) as u64);
        let mut rest = 0;
        if width <= self.width {
            width = self.width;
            if mask(width) - range < mask(width) / 16 && width < 64 {
                width = rounded(width + 1);
            } else {
                rest = (mask(width) - range) / 4;
            }
        }
        let room = if is_min { mask(width) - range - rest } else { rest };
        Frame::with_room_below(min, max, width, room)
    }

    #[inline]
    fn holds(self, member: i64) -> bool {
        member >= self.base && self.offset_of(member) <= mask(self.width)
    }

    #[inline]
    fn offset_of(self, member: i64) -> u64 {
        member.wrapping_sub(self.base) as u64
    }
}

/// The integers of a buffer, for reading.
#[derive(Clone, Copy)]
pub(super) struct Ints<'a> {
    frame: Frame,
    /// Bits before the offsets.
    head: usize,
    len: usize,
    bytes: &'a [u8],
}

impl<'a> Ints<'a> {
    /// Of bytes that this module wrote.
    #[inline]
    pub(super) fn of(bytes: &'a [u8]) -> Ints<'a> {
        let Some(&tag) = bytes.first_chunk() else {
            return Ints { frame: Frame { base: 0, width: 8 }, head: 0, len: 0, bytes: &[] };
        };
        let tag = Tag::from(u16::from_le_bytes(tag));
        let base = match tag.base_len {
            0 => 0,
            len => {
                let high = 64 - 8 * len;
                (bits::word(bytes, TAG) << high) as i64 >> high
            }
        };
        let head = 8 * (TAG + tag.base_len);
        let len = (8 * bytes.len() - head - tag.unused) / tag.width;
        Ints { frame: Frame { base, width: tag.width }, head, len, bytes }
    }

    /// Of bytes that may come from anywhere.
    pub(super) fn checked(bytes: &'a [u8]) -> Option<Ints<'a>> {
        let word = u16::from_le_bytes(*bytes.first_chunk()?);
        let tag = Tag::from(word);
        let offsets = bytes.len().checked_sub(TAG + tag.base_len)?;
        let bits = (8 * offsets).checked_sub(tag.unused)?;
        let unused = *bytes.last()? as u32 >> (8 - tag.unused);
        if word >> 13 != 0 || tag.base_len > 8 || bits < tag.width || bits % tag.width != 0 || unused != 0 {
            return None;
        }
        let ints = Ints::of(bytes);
        let ascending = (1..ints.len).all(|index| ints.offset(index - 1) < ints.offset(index));
        let last = ints.frame.base.checked_add_unsigned(ints.offset(ints.len - 1));
        (ascending && last.is_some()).then_some(ints)
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The bit where the offset of this rank begins.
    #[inline]
    fn bit(&self, rank: usize) -> usize {
        self.head + rank * self.frame.width
    }

    #[inline]
    fn offset(&self, rank: usize) -> u64 {
        bits::get(self.bytes, self.bit(rank), self.frame.width)
    }

    /// The member of this rank.
    #[inline]
    pub(super) fn get(&self, rank: usize) -> i64 {
        self.frame.base.wrapping_add_unsigned(self.offset(rank))
    }

    /// The rank of a member, or the rank that it would have.
    #[inline]
    pub(super) fn find(&self, value: i64) -> Result<usize, usize> {
        let len = self.len;
        if value < self.frame.base || len == 0 {
            return Err(0);
        }
        let wanted = self.frame.offset_of(value);
        // Numbers often come in their order.
        if wanted > self.offset(len - 1) {
            return Err(len);
        }
        // The last one that is not greater, if there is one: without a branch, as no one could predict it.
        let (mut rank, mut bit, mut size) = (0, self.head, len);
        while size > 1 {
            let half = size / 2;
            let probe = bit + half * self.frame.width;
            let greater = bits::get(self.bytes, probe, self.frame.width) > wanted;
            bit = select_unpredictable(greater, bit, probe);
            rank = select_unpredictable(greater, rank, rank + half);
            size -= half;
        }
        match self.offset(rank).cmp(&wanted) {
            Ordering::Less => Err(rank + 1),
            Ordering::Equal => Ok(rank),
            Ordering::Greater => Err(rank),
        }
    }

    pub(super) fn contains(&self, value: i64) -> bool {
        self.find(value).is_ok()
    }

    pub(super) fn iter(self) -> impl Iterator<Item = i64> + 'a {
        (0..self.len).map(move |rank| self.get(rank))
    }
}

/// The parts of the tag.
#[derive(Clone, Copy)]
struct Tag {
    width: usize,
    base_len: usize,
    /// Bits at the end that belong to no offset.
    unused: usize,
}

impl From<u16> for Tag {
    #[inline]
    fn from(word: u16) -> Tag {
        let word = word as usize;
        Tag { width: 1 + (word & 63), base_len: word >> 6 & 15, unused: word >> 10 & 7 }
    }
}

impl Tag {
    #[inline]
    fn to_bytes(self) -> [u8; TAG] {
        (((self.width - 1) | (self.base_len << 6) | (self.unused << 10)) as u16).to_le_bytes()
    }
}

/// Says in the tag how many bits of the last byte are unused, of a row of `end` bits.
#[inline]
fn set_end(buffer: &mut Buffer, end: usize) {
    let tag = buffer.first_chunk_mut().expect("a set that is not empty has a tag");
    *tag = Tag { unused: end.wrapping_neg() % 8, ..Tag::from(u16::from_le_bytes(*tag)) }.to_bytes();
}

/// Bytes of two's complement that hold the integer; 0 needs none.
fn int_len(int: i64) -> usize {
    match int {
        0 => 0,
        _ => (65 - (int ^ (int >> 63)).leading_zeros() as usize).div_ceil(8),
    }
}

/// A buffer of members, which ascend and all lie in the frame.
fn build(frame: Frame, len: usize, member: impl Fn(usize) -> i64) -> Buffer {
    let base_len = int_len(frame.base);
    let end = 8 * (TAG + base_len) + len * frame.width;
    let mut buffer = Buffer::with_capacity(end.div_ceil(8));
    let tag = Tag { width: frame.width, base_len, unused: end.wrapping_neg() % 8 };
    buffer.extend_from_slice(&tag.to_bytes());
    buffer.extend_from_slice(&frame.base.to_le_bytes()[..base_len]);
    let mut offsets = bits::Writer::new(&mut buffer, frame.width);
    (0..len).for_each(|rank| offsets.push(frame.offset_of(member(rank))));
    offsets.finish();
    buffer
}

/// A buffer of these members, which ascend.
pub(super) fn of_sorted(members: &[i64]) -> Buffer {
    match (members.first(), members.last()) {
        (Some(&min), Some(&max)) => build(Frame::of(min, max), members.len(), |rank| members[rank]),
        _ => Buffer::new(),
    }
}

/// Adds a member; false when it was there.
pub(super) fn insert(buffer: &mut Buffer, value: i64) -> bool {
    let ints = Ints::of(buffer);
    let Err(rank) = ints.find(value) else { return false };
    let Ints { frame, len, .. } = ints;
    if len > 0 && frame.holds(value) {
        let (at, end) = (ints.bit(rank), ints.bit(len));
        bits::insert(buffer, at, end, frame.width, frame.offset_of(value));
        set_end(buffer, end + frame.width);
        return true;
    }
    let min = if rank == 0 { value } else { ints.get(0) };
    let max = if rank == len { value } else { ints.get(len - 1) };
    let frame = if len == 0 { Frame::of(value, value) } else { frame.grown(min, max, rank == 0) };
    let member = |index: usize| match index.cmp(&rank) {
        Ordering::Less => ints.get(index),
        Ordering::Equal => value,
        Ordering::Greater => ints.get(index - 1),
    };
    *buffer = build(frame, len + 1, member);
    true
}

/// Removes the member of this rank.
pub(super) fn remove_at(buffer: &mut Buffer, rank: usize) {
    let ints = Ints::of(buffer);
    let Ints { frame, len, .. } = ints;
    assert!(rank < len);
    if len == 1 {
        *buffer = Buffer::new();
        return;
    }
    if rank == 0 || rank == len - 1 {
        let first = (rank == 0) as usize;
        let (min, max) = (ints.get(first), ints.get(first + len - 2));
        if rounded(width_of(min, max) + 1) < frame.width {
            *buffer = build(Frame::of(min, max), len - 1, |rank| ints.get(first + rank));
            return;
        }
    }
    let (at, end) = (ints.bit(rank), ints.bit(len));
    bits::remove(buffer, at, end, frame.width);
    set_end(buffer, end - frame.width);
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
            let least = width_of(min, max);
            assert!(
                (least..=rounded(least + 1)).contains(&ints.frame.width),
                "the least width or the next one"
            );
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
        fn any_bytes_are_ascending_integers_or_refused(
            tag: u16,
            bytes in proptest::collection::vec(any::<u8>(), 0..30),
            more in proptest::collection::vec(values(), 0..10),
        ) {
            let bytes: Vec<u8> = (tag & 0x1fff).to_le_bytes().into_iter().chain(bytes).collect();
            if let Some(ints) = Ints::checked(&bytes) {
                let mut members: BTreeSet<i64> = ints.iter().collect();
                prop_assert_eq!(members.len(), ints.len());
                prop_assert!(ints.iter().is_sorted());
                prop_assert!(members.iter().all(|&member| ints.contains(member)));
                let mut buffer = Buffer::from(&bytes[..]);
                for value in more {
                    prop_assert_eq!(insert(&mut buffer, value), members.insert(value));
                    let rank = value.unsigned_abs() as usize % members.len();
                    members.remove(&Ints::of(&buffer).get(rank));
                    remove_at(&mut buffer, rank);
                    prop_assert!(Ints::of(&buffer).iter().eq(members.iter().copied()));
                }
            }
        }
    }

    /// How often all offsets are written anew while members come.
    fn rebuilds(members: impl IntoIterator<Item = i64>) -> usize {
        let (mut buffer, mut rebuilds) = (Buffer::new(), 0);
        for value in members {
            let before = Ints::of(&buffer).frame;
            insert(&mut buffer, value);
            rebuilds += (Ints::of(&buffer).frame != before) as usize;
        }
        rebuilds
    }

    #[test]
    fn members_in_order_are_written_anew_once_per_power_of_two() {
        for base in [0, 1000, -1000, 10_000_000_000, -10_000_000_000] {
            for step in [1, 10, 77] {
                let widths = 64 - (511 * step as u64).leading_zeros() as usize;
                let ascending = rebuilds((0..512).map(|n| base + n * step));
                assert!(ascending <= widths + 2, "{base} {step}: {ascending}");
                let descending = rebuilds((0..512).rev().map(|n| base + n * step));
                assert!(descending <= widths + 2, "{base} {step}: {descending}");
            }
        }
    }

    #[test]
    fn members_on_both_sides_in_turn_are_seldom_written_anew() {
        let outward = |n: i64| if n % 2 == 0 { 10_000_000_000 + 10 * n } else { 10_000_000_000 - 10 * n };
        assert!(rebuilds((0..512).map(outward)) <= 40);
        // Each twice as far as the last.
        assert!(rebuilds((0..62).map(|n| if n % 2 == 0 { 1 << n } else { -(1 << n) })) <= 62);
    }

    #[test]
    fn a_window_that_moves_on_is_seldom_written_anew() {
        for (len, step, ascends) in
            [(500, 1, true), (511, 1, true), (512, 1, false), (300, 7, true), (90, 11, false)]
        {
            let member = |n: i64| 10_000_000_000 + if ascends { n * step } else { -n * step };
            let (mut buffer, mut rebuilds) = (Buffer::new(), 0);
            for n in 0..20 * len {
                if n == len {
                    rebuilds = 0;
                }
                let before = Ints::of(&buffer).frame;
                insert(&mut buffer, member(n));
                if n >= len {
                    remove(&mut buffer, member(n - len));
                }
                rebuilds += (Ints::of(&buffer).frame != before) as usize;
            }
            // Less than 25 times in the time that it takes all members to be replaced.
            assert!(rebuilds < 19 * 25, "{len} {step}: {rebuilds}");
        }
    }

    #[test]
    fn removals_give_back_all_but_one_bit() {
        let mut buffer = of_sorted(&(0..500).map(|n| n * n).collect::<Vec<_>>());
        for n in (1..500).rev() {
            assert!(remove(&mut buffer, n * n));
        }
        assert!(buffer.len() <= TAG + 1);
        insert(&mut buffer, i64::MIN);
        assert_eq!(buffer.len(), TAG + 8 + 16);
        remove(&mut buffer, i64::MIN);
        assert_eq!(buffer.len(), TAG + 1);
    }

    #[test]
    fn a_member_takes_the_bits_of_the_distance() {
        let bytes = |members: &[i64]| of_sorted(members).len();
        assert_eq!(bytes(&[7]), TAG + 1);
        assert_eq!(bytes(&[77]), TAG + 1 + 1);
        assert_eq!(bytes(&(0..50).collect::<Vec<_>>()), TAG + 38);
        assert_eq!(bytes(&(0..100).collect::<Vec<_>>()), TAG + 100);
        assert_eq!(bytes(&(0..1000).collect::<Vec<_>>()), TAG + 1250);
        assert_eq!(bytes(&(0..100).map(|n| 10_007 + 10 * n).collect::<Vec<_>>()), TAG + 2 + 125);
        assert_eq!(bytes(&(10_000_000_000..10_000_000_100).collect::<Vec<_>>()), TAG + 5 + 100);
        assert_eq!(bytes(&[i64::MIN, i64::MAX]), TAG + 8 + 16);
    }
}

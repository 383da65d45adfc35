//! Loops over the bits of strings: counting, finding, combining, and fields of bits.
//!
//! Bit 0 is the most significant bit of the first byte, as in SETBIT. All loops go by words, or by blocks that the
//! compiler turns into vector instructions; their naive twins are in the tests.

use std::ops::Range;

/// Bytes that [`combine`] works on at a time: with a result block and one of each source in turn, within the first-level cache.
const BLOCK: usize = 4096;

/// How many bits are one.
pub fn count_ones(bytes: &[u8]) -> u64 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("popcnt") {
        // SAFETY: the processor has the features that the function is compiled for.
        return unsafe { count_ones_avx2(bytes) };
    }
    count_ones_by_words(bytes)
}

/// The same loop, compiled for a processor that counts in its vectors: several times faster than the baseline's shifts and masks.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn count_ones_avx2(bytes: &[u8]) -> u64 {
    count_ones_by_words(bytes)
}

#[inline(always)]
fn count_ones_by_words(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let in_words: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    let in_rest: u64 = rest.iter().map(|byte| u64::from(byte.count_ones())).sum();
    in_words + in_rest
}

/// How many bits of a range are one. The range lies within the string.
pub fn count_ones_in(bytes: &[u8], range: Range<u64>) -> u64 {
    if range.is_empty() {
        return 0;
    }
    let (first, last) = ((range.start / 8) as usize, ((range.end - 1) / 8) as usize);
    let before = bytes[first] & !(0xff >> (range.start % 8));
    let after = bytes[last] & (0x7f >> ((range.end - 1) % 8));
    count_ones(&bytes[first..=last]) - u64::from(before.count_ones()) - u64::from(after.count_ones())
}

/// The first bit that is `wanted`.
pub fn first_bit(bytes: &[u8], wanted: bool) -> Option<u64> {
    let other = if wanted { 0 } else { 0xff };
    let (blocks, _) = bytes.as_chunks::<64>();
    let uniform =
        blocks.iter().take_while(|block| block.iter().fold(0, |seen, &byte| seen | (byte ^ other)) == 0);
    let skipped = uniform.count() * 64;
    let at = skipped + bytes[skipped..].iter().position(|&byte| byte != other)?;
    Some(at as u64 * 8 + u64::from((bytes[at] ^ other).leading_zeros()))
}

/// The first bit of a range that is `wanted`, counted from the beginning of the string. The range lies within the string.
pub fn first_bit_in(bytes: &[u8], range: Range<u64>, wanted: bool) -> Option<u64> {
    if range.is_empty() {
        return None;
    }
    let (first, last) = ((range.start / 8) as usize, ((range.end - 1) / 8) as usize);
    let other: u8 = if wanted { 0 } else { 0xff };
    let differing = (bytes[first] ^ other) & (0xff >> (range.start % 8));
    let found = if differing != 0 {
        first as u64 * 8 + u64::from(differing.leading_zeros())
    } else {
        (first as u64 + 1) * 8 + first_bit(&bytes[first + 1..=last], wanted)?
    };
    Some(found).filter(|found| *found < range.end)
}

/// An operation on the bits at the same place of several strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// In all.
    And,
    /// In any.
    Or,
    /// In an odd number of them.
    Xor,
    /// Not in the only one.
    Not,
    /// In the first and in no other.
    Diff,
    /// Not in the first, but in another.
    Diff1,
    /// In the first and in another.
    AndOr,
    /// In exactly one.
    One,
}

/// Writes the bytes from `at` on of the result of an operation. Where a source has ended its bits are zero. `out` is
/// zero when called, and is not touched where it stays so: fresh pages of a result stay unmapped.
pub fn combine(operation: Operation, sources: &[&[u8]], at: usize, out: &mut [u8]) {
    for (index, block) in out.chunks_mut(BLOCK).enumerate() {
        let start = at + index * BLOCK;
        let end = start + block.len();
        let [first, others @ ..] = sources else { return };
        let others = others.iter().map(|source| piece(source, start, end));
        combine_block(operation, piece(first, start, end), others, block);
    }
}

/// What of a string lies between two places.
fn piece(source: &[u8], start: usize, end: usize) -> &[u8] {
    let end = end.min(source.len());
    &source[start.min(end)..end]
}

fn combine_block<'a>(
    operation: Operation,
    first: &'a [u8],
    others: impl Iterator<Item = &'a [u8]> + Clone,
    out: &mut [u8],
) {
    let all = || std::iter::once(first).chain(others.clone());
    match operation {
        Operation::And => {
            let shortest = all().map(<[u8]>::len).min().unwrap_or(0);
            out[..shortest].copy_from_slice(&first[..shortest]);
            others.for_each(|other| each(out, &other[..shortest], |to, from| *to &= from));
        }
        Operation::Or => all().for_each(|source| each(out, source, |to, from| *to |= from)),
        Operation::Xor => all().for_each(|source| each(out, source, |to, from| *to ^= from)),
        Operation::Not => each(out, first, |to, from| *to = !from),
        Operation::Diff => {
            out[..first.len()].copy_from_slice(first);
            others.for_each(|other| each(&mut out[..first.len()], other, |to, from| *to &= !from));
        }
        Operation::Diff1 => {
            others.for_each(|other| each(out, other, |to, from| *to |= from));
            each(out, first, |to, from| *to &= !from);
        }
        Operation::AndOr => {
            let out = &mut out[..first.len()];
            others.for_each(|other| each(out, other, |to, from| *to |= from));
            each(out, first, |to, from| *to &= from);
        }
        Operation::One => {
            let mut several = [0; BLOCK];
            for source in all() {
                for ((several, seen), from) in several.iter_mut().zip(out.iter_mut()).zip(source) {
                    *several |= *seen & from;
                    *seen |= from;
                }
            }
            if all().any(|source| !source.is_empty()) {
                each(out, &several, |to, from| *to &= !from);
            }
        }
    }
}

/// Does something with every byte of `from` and the byte of `to` beside it.
#[inline(always)]
fn each(to: &mut [u8], from: &[u8], act: impl Fn(&mut u8, u8)) {
    for (to, from) in to.iter_mut().zip(from) {
        act(to, *from);
    }
}

/// An unsigned field of 1 to 64 bits. Past the end of the string bits are zero.
pub fn field(bytes: &[u8], offset: u64, width: u32) -> u64 {
    debug_assert!((1..=64).contains(&width));
    let start = usize::try_from(offset / 8).unwrap_or(usize::MAX).min(bytes.len());
    let mut window = [0; 16];
    let there = &bytes[start..bytes.len().min(start + 9)];
    window[..there.len()].copy_from_slice(there);
    let from_first_bit = u128::from_be_bytes(window) << (offset % 8);
    (from_first_bit >> (128 - width)) as u64
}

/// The bytes that hold a field, with this value written into it: where they begin, and the bytes. `value` fits in `width` bits.
pub fn with_field(bytes: &[u8], offset: u64, width: u32, value: u64) -> (u64, [u8; 9], usize) {
    debug_assert!((1..=64).contains(&width));
    let (start, shift) = (offset / 8, (offset % 8) as u32);
    let len = (shift + width).div_ceil(8) as usize;
    let mut window = [0; 16];
    let from = usize::try_from(start).unwrap_or(usize::MAX).min(bytes.len());
    let there = &bytes[from..bytes.len().min(from + len)];
    window[..there.len()].copy_from_slice(there);
    let below = 128 - shift - width;
    let mask = (u128::MAX >> (128 - width)) << below;
    let written = u128::from_be_bytes(window) & !mask | u128::from(value) << below & mask;
    let mut out = [0; 9];
    out.copy_from_slice(&written.to_be_bytes()[..9]);
    (start, out, len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bit(bytes: &[u8], at: u64) -> bool {
        bytes.get((at / 8) as usize).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
    }

    /// Strings with long runs of equal bytes, across the blocks of the loops.
    fn string() -> impl Strategy<Value = Vec<u8>> {
        let run = (prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 0usize..150);
        prop::collection::vec(run, 0..6).prop_map(|runs| {
            runs.into_iter().flat_map(|(byte, len)| std::iter::repeat_n(byte, len)).collect()
        })
    }

    fn string_and_range() -> impl Strategy<Value = (Vec<u8>, Range<u64>)> {
        (string(), any::<u64>(), any::<u64>()).prop_map(|(bytes, a, b)| {
            let bits = bytes.len() as u64 * 8;
            let (a, b) = (a % (bits + 1), b % (bits + 1));
            (bytes, a.min(b)..a.max(b))
        })
    }

    fn naive(operation: Operation, sources: &[Vec<u8>], at: u64) -> bool {
        let bits: Vec<bool> = sources.iter().map(|source| bit(source, at)).collect();
        let ones = bits.iter().filter(|&&bit| bit).count();
        let in_others = bits[1..].contains(&true);
        match operation {
            Operation::And => ones == bits.len(),
            Operation::Or => ones > 0,
            Operation::Xor => ones % 2 == 1,
            Operation::Not => !bits[0],
            Operation::Diff => bits[0] && !in_others,
            Operation::Diff1 => !bits[0] && in_others,
            Operation::AndOr => bits[0] && in_others,
            Operation::One => ones == 1,
        }
    }

    proptest! {
        #[test]
        fn ones_are_counted_one_by_one((bytes, range) in string_and_range()) {
            let counted = range.clone().filter(|&at| bit(&bytes, at)).count() as u64;
            prop_assert_eq!(count_ones_in(&bytes, range), counted);
            let all = (0..bytes.len() as u64 * 8).filter(|&at| bit(&bytes, at)).count() as u64;
            prop_assert_eq!(count_ones(&bytes), all);
            prop_assert_eq!(count_ones_by_words(&bytes), all);
        }

        #[test]
        fn the_first_bit_is_the_first((bytes, mut range) in string_and_range(), wanted: bool) {
            let all = 0..bytes.len() as u64 * 8;
            prop_assert_eq!(first_bit(&bytes, wanted), all.clone().find(|&at| bit(&bytes, at) == wanted));
            let found = first_bit_in(&bytes, range.clone(), wanted);
            prop_assert_eq!(found, range.find(|&at| bit(&bytes, at) == wanted));
        }

        #[test]
        fn strings_combine_bit_by_bit(
            sources in prop::collection::vec(string(), 1..5),
            scale in prop_oneof![Just(1usize), Just(17)],
            cut in any::<prop::sample::Index>(),
        ) {
            let sources: Vec<Vec<u8>> = sources.iter().map(|source| source.repeat(scale)).collect();
            let views: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
            let len = sources.iter().map(Vec::len).max().unwrap();
            for operation in [
                Operation::And, Operation::Or, Operation::Xor, Operation::Not,
                Operation::Diff, Operation::Diff1, Operation::AndOr, Operation::One,
            ] {
                let (sources, views) =
                    if operation == Operation::Not { (&sources[..1], &views[..1]) } else { (&sources[..], &views[..]) };
                let len = if operation == Operation::Not { sources[0].len() } else { len };
                let mut out = vec![0; len];
                // In two parts, as a computation in slices does.
                let middle = cut.index(len + 1);
                let (left, right) = out.split_at_mut(middle);
                combine(operation, views, 0, left);
                combine(operation, views, middle, right);
                for at in 0..len as u64 * 8 {
                    prop_assert_eq!(bit(&out, at), naive(operation, sources, at), "{:?} at {}", operation, at);
                }
            }
        }

        #[test]
        fn fields_are_written_and_read_bit_by_bit(bytes in string(), offset in 0u64..800, width in 1u32..=64, value: u64) {
            let value = value >> (64 - width);
            let bits = (0..u64::from(width)).fold(0, |bits, at| bits << 1 | u64::from(bit(&bytes, offset + at)));
            prop_assert_eq!(field(&bytes, offset, width), bits);
            let (start, written, len) = with_field(&bytes, offset, width, value);
            let mut after = bytes.clone();
            after.resize(after.len().max(start as usize + len), 0);
            after[start as usize..start as usize + len].copy_from_slice(&written[..len]);
            prop_assert_eq!(field(&after, offset, width), value);
            for at in (0..after.len() as u64 * 8).filter(|at| !(offset..offset + u64::from(width)).contains(at)) {
                prop_assert_eq!(bit(&after, at), bit(&bytes, at), "bit {} beside the field", at);
            }
        }
    }

    #[test]
    fn a_result_is_not_touched_where_it_stays_zero() {
        // 0xaa stands for a page that was not mapped.
        let long = vec![0xff; 3 * BLOCK];
        let mut out = vec![0xaa; 2 * BLOCK];
        combine(Operation::And, &[&long, b""], BLOCK, &mut out);
        combine(Operation::Diff, &[b"", &long], BLOCK, &mut out);
        combine(Operation::AndOr, &[b"", &long], BLOCK, &mut out);
        combine(Operation::One, &[b"", b""], BLOCK, &mut out);
        assert!(out.iter().all(|&byte| byte == 0xaa));
    }

    #[test]
    fn fields_far_past_the_end_are_zero() {
        assert_eq!(field(b"abc", u64::MAX - 64, 64), 0);
        assert_eq!(field(b"", 0, 1), 0);
    }
}

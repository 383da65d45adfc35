//! The buckets of a latency histogram: log-linear, as in HdrHistogram, over nanoseconds.
//!
//! ```text
//! octave 0              octave 1                octave 30
//! 64 72 80 .. 120 |     128 144 160 .. 240 | .. 2^36 .. 2^37
//! eight buckets         eight, twice as wide    the last takes everything above
//! ```
//!
//! HdrHistogram with Redis's two decimal digits
//! needs 24 KiB per command; eight sub-buckets per octave need 1,984 bytes and are off by at most 1/8, upwards.

use super::limits::{HISTOGRAM_FIRST_EXPONENT, HISTOGRAM_OCTAVES, HISTOGRAM_SUB_BUCKETS};

/// Number of buckets.
pub const BUCKETS: usize = HISTOGRAM_OCTAVES * HISTOGRAM_SUB_BUCKETS;

const SUB_BITS: u32 = HISTOGRAM_SUB_BUCKETS.trailing_zeros();

/// Exponent of the first octave whose upper edge is Redis's first printed bucket, 1,024 ns.
const FIRST_PRINTED_OCTAVE: usize = 10 - HISTOGRAM_FIRST_EXPONENT as usize - 1;

/// Bits of a double below its exponent and the top [`SUB_BITS`] bits of its fraction.
const FRACTION_BITS_BELOW: u32 = f64::MANTISSA_DIGITS - 1 - SUB_BITS;

/// What those upper bits are for the first bucket: the exponent's bias and the first octave.
const FIRST_UPPER_BITS: u64 = ((f64::MAX_EXP - 1) as u64 + HISTOGRAM_FIRST_EXPONENT as u64) << SUB_BITS;

/// The shortest and the longest duration that are told apart, in nanoseconds.
const SHORTEST: f64 = (1u64 << HISTOGRAM_FIRST_EXPONENT) as f64;
const LONGEST: f64 = ((1u64 << (HISTOGRAM_FIRST_EXPONENT as usize + HISTOGRAM_OCTAVES)) - 1) as f64;

/// The bucket that counts a duration (under 2^63 ns; 292 years).
///
/// A double is a logarithm with a linear fraction, which is what a log-linear bucket is: its exponent and the first
/// three bits of its fraction, read as one number, are the bucket. The conversion is exact up to 2^53 ns. This takes
/// half the instructions of counting leading zeros and shifting (which is the twin in the tests).
#[inline(always)]
pub fn bucket_of(nanos: u64) -> usize {
    let duration = nanos as i64 as f64;
    // Not `clamp`, which would also test for NaN: these are two instructions.
    let duration = if duration > SHORTEST { duration } else { SHORTEST };
    let duration = if duration < LONGEST { duration } else { LONGEST };
    let upper_bits = duration.to_bits() >> FRACTION_BITS_BELOW;
    // The difference is below 256: only its low byte counts, which also tells the compiler so.
    usize::from((upper_bits as u8).wrapping_sub(FIRST_UPPER_BITS as u8))
}

/// The longest duration, in nanoseconds, that a bucket stands for (the last bucket's true end is open).
pub fn bucket_last_nanos(bucket: usize) -> u64 {
    assert!(bucket < BUCKETS);
    let (octave, sub) = (bucket / HISTOGRAM_SUB_BUCKETS, bucket % HISTOGRAM_SUB_BUCKETS);
    (((HISTOGRAM_SUB_BUCKETS + sub + 1) as u64) << (HISTOGRAM_FIRST_EXPONENT - SUB_BITS + octave as u32)) - 1
}

/// The duration in nanoseconds that `percentile` percent of the recorded ones do not exceed, rounded up to the end
/// of its bucket; `None` when nothing was recorded. A percentile outside 0 to 100 is taken as the nearer end.
pub fn percentile_nanos(buckets: &[u64; BUCKETS], percentile: f64) -> Option<u64> {
    let total: u64 = buckets.iter().sum();
    if total == 0 {
        return None;
    }
    let share = percentile.clamp(0.0, 100.0) / 100.0;
    let wanted = ((share * total as f64 + 0.5) as u64).clamp(1, total);
    let mut seen = 0;
    for (bucket, count) in buckets.iter().enumerate() {
        seen += count;
        if seen >= wanted {
            return Some(bucket_last_nanos(bucket));
        }
    }
    unreachable!("the counts add up to {total}, of which {wanted} were wanted")
}

/// The map that LATENCY HISTOGRAM prints as `histogram_usec`: (bucket label in microseconds, how many commands took
/// at most that long), only where the count grows.
///
/// Redis's buckets are powers of two of 1,024 ns and its labels are the ends of the matching HdrHistogram
/// buckets, 1/128 above (1, 2, 4, 8, 16, 33, 66, 132, ...). The labels here are the same numbers; the edges are
/// the powers of two.
pub fn printed_histogram(buckets: &[u64; BUCKETS]) -> Vec<(u64, u64)> {
    let mut printed = Vec::new();
    let mut seen = 0;
    for octave in 0..HISTOGRAM_OCTAVES {
        let row = &buckets[octave * HISTOGRAM_SUB_BUCKETS..][..HISTOGRAM_SUB_BUCKETS];
        seen += row.iter().sum::<u64>();
        let before = printed.last().map_or(0, |&(_, count)| count);
        if octave >= FIRST_PRINTED_OCTAVE && seen > before {
            let edge_nanos = 1u64 << (HISTOGRAM_FIRST_EXPONENT as usize + octave + 1);
            printed.push(((edge_nanos + edge_nanos / 128 - 1) / 1000, seen));
        }
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_meet_without_a_gap() {
        for bucket in 0..BUCKETS - 1 {
            let last = bucket_last_nanos(bucket);
            assert_eq!(bucket_of(last), bucket);
            assert_eq!(bucket_of(last + 1), bucket + 1);
        }
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(i64::MAX as u64), BUCKETS - 1);
        assert_eq!(bucket_last_nanos(BUCKETS - 1), (1 << 37) - 1);
    }

    #[test]
    fn printed_labels_are_those_of_redis() {
        let mut buckets = [0; BUCKETS];
        for exponent in 9..30 {
            buckets[bucket_of(1 << exponent)] += 1;
        }
        let printed = printed_histogram(&buckets);
        let labels: Vec<u64> = printed.iter().map(|&(label, _)| label).collect();
        // redis-server 7.0 prints these for DEBUG SLEEPs of every length.
        assert_eq!(
            labels,
            [
                1, 2, 4, 8, 16, 33, 66, 132, 264, 528, 1056, 2113, 4227, 8454, 16908, 33816, 67633, 135266,
                270532, 541065, 1082130
            ]
        );
        assert_eq!(printed.last(), Some(&(1_082_130, 21)));
    }

    #[test]
    fn printed_histogram_skips_buckets_that_add_nothing() {
        let mut buckets = [0; BUCKETS];
        buckets[bucket_of(100)] = 2;
        buckets[bucket_of(9_000)] = 3;
        assert_eq!(printed_histogram(&buckets), [(1, 2), (16, 5)]);
        assert_eq!(printed_histogram(&[0; BUCKETS]), []);
    }

    /// The textbook form: the leading one selects the octave, the three bits after it the sub-bucket.
    fn bucket_by_leading_zeros(nanos: u64) -> usize {
        let value = nanos.max(64);
        let exponent = value.ilog2();
        let sub_bucket = (value >> (exponent - 3)) & 7;
        (((exponent - 6) * 8) as usize + sub_bucket as usize).min(BUCKETS - 1)
    }

    proptest! {
        #[test]
        fn bucket_is_the_one_of_the_leading_bits(bits in 0u32..63, below in any::<u64>()) {
            let nanos = (1 << bits) | (below & ((1 << bits) - 1));
            prop_assert_eq!(bucket_of(nanos), bucket_by_leading_zeros(nanos));
            prop_assert_eq!(bucket_of(1 << bits), bucket_by_leading_zeros(1 << bits));
            prop_assert_eq!(bucket_of((1 << bits) - 1), bucket_by_leading_zeros((1 << bits) - 1));
        }

        #[test]
        fn percentile_is_at_most_an_eighth_above_the_sorted_list(
            mut durations in proptest::collection::vec(64u64..(1 << 36), 1..200),
            percentile in 0.0f64..=100.0,
        ) {
            let mut buckets = [0; BUCKETS];
            for &nanos in &durations {
                buckets[bucket_of(nanos)] += 1;
            }
            durations.sort_unstable();
            let rank = ((percentile / 100.0 * durations.len() as f64 + 0.5) as usize).clamp(1, durations.len());
            let exact = durations[rank - 1];
            let reported = percentile_nanos(&buckets, percentile).unwrap();
            prop_assert!(reported >= exact);
            prop_assert!(reported - exact <= exact / 8, "{reported} for {exact}");
        }
    }
}

//! The estimator of Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (arXiv:1702.01284),
//! section 4: from a histogram of the registers, without tables of corrections. The order of the floating point
//! operations is Redis's, so that the result is the same to the last one.

use super::{RANK_BITS, REGISTERS};

/// 1 / (2 ln 2).
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// The estimate that 16384 registers give.
pub(crate) fn estimate(registers: &[u8; REGISTERS]) -> u64 {
    const LAST: usize = RANK_BITS as usize + 1;
    let mut counts = [0u32; 256];
    for &register in registers {
        counts[register as usize] += 1;
    }
    let m = REGISTERS as f64;
    let mut z = m * tau((m - f64::from(counts[LAST])) / m);
    for &count in counts[1..LAST].iter().rev() {
        z = (z + f64::from(count)) * 0.5;
    }
    z += m * sigma(f64::from(counts[0]) / m);
    let estimate = (ALPHA * m * m / z).round();
    if estimate < i64::MAX as f64 {
        estimate as u64
    } else {
        // Registers above 51, which no hash gives: what Redis's conversion of an infinite number comes to.
        1 << 63
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}

//! The 80-bit floating point number of the x87 (C's `long double` on x86-64), in software.
//!
//! Redis adds in `INCRBYFLOAT` with `long double` and prints with `%.17Lf`, so its answers have 64 bits of mantissa.
//! Rust has no such type and other processors have no such format; answers that are the same byte for byte, on
//! every machine, need it in integers:
//!
//! ```text
//! value = (-1)^negative * mantissa * 2^exponent        exponent in -16445 ..= 16320
//!         mantissa has its top bit set, except for subnormal numbers, which have the least exponent
//! ```
//!
//! Reading and adding round once, to the nearest, ties to even, as the processor does and as glibc's `strtold` does;
//! printing is exact before it rounds to 17 decimals, as glibc's `printf` is. Common inputs (up to 19 digits, up to
//! 18 of them after the point) stay in 128-bit arithmetic; the rest goes through [`natural`].

mod natural;

use natural::Natural;

/// Longest text that is read as a number, bytes: Redis reads into a buffer of 5 KiB with a final zero.
const TEXT_MAX: usize = 5 * 1024 - 1;

/// Exponent of the last mantissa bit of subnormal numbers and of the smallest normal ones.
const EXPONENT_MIN: i64 = -16445;
/// Exponent of the last mantissa bit of the largest numbers.
const EXPONENT_MAX: i64 = 16320;
/// Stands in the exponent of infinity.
const EXPONENT_INFINITE: i64 = EXPONENT_MAX + 1;

/// Decimals that are printed, before trailing zeros go.
const DECIMALS: usize = 17;

/// Numbers from `10^4933` up overflow; numbers below `10^-4951` are nearer to zero than to the least subnormal.
const DECIMAL_POINT_MAX: i64 = 4933;
const DECIMAL_POINT_MIN: i64 = -4951;

/// A number with 64 bits of mantissa, or an infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LongDouble {
    negative: bool,
    mantissa: u64,
    exponent: i64,
}

impl LongDouble {
    /// Reads what C's `strtold` reads, all of it: decimal or hexadecimal digits with a point and an exponent, or
    /// `inf`, with a sign. As in Redis there is no white space, and `nan`, overflow and underflow to zero are refused.
    pub(crate) fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
            return Some(LongDouble { negative, mantissa: 0, exponent: EXPONENT_INFINITE });
        }
        let number = match unsigned {
            [b'0', b'x' | b'X', digits @ ..] => parse_hexadecimal(negative, digits)?,
            _ => parse_decimal(negative, unsigned)?,
        };
        (number.exponent != EXPONENT_INFINITE).then_some(number)
    }

    /// Whether it is an infinity.
    pub(crate) fn is_infinite(self) -> bool {
        self.exponent == EXPONENT_INFINITE
    }

    /// The sum, rounded once; `None` when it is infinite or not a number.
    pub(crate) fn checked_add(self, other: LongDouble) -> Option<LongDouble> {
        // With this many bits under the mantissa, what an alignment pushes out is below half of the last place.
        const GUARD: u32 = 63;
        let (large, small) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        if large.exponent == EXPONENT_INFINITE {
            return None;
        }
        let distance = large.exponent - small.exponent;
        let a = (large.mantissa as u128) << GUARD;
        let b = (small.mantissa as u128) << GUARD;
        let (b, lost) =
            if distance < 128 { (b >> distance, (b >> distance) << distance != b) } else { (0, b != 0) };
        let exponent = large.exponent - GUARD as i64;
        let sum = if large.negative == small.negative {
            LongDouble::rounded(large.negative, a + b, exponent, lost)
        } else if a > b {
            // What was lost makes `b` larger than it looks: the difference lies just above this one.
            LongDouble::rounded(large.negative, a - b - lost as u128, exponent, lost)
        } else if b > a {
            assert!(!lost, "only a shifted operand loses bits, and a shifted one is smaller");
            LongDouble::rounded(small.negative, b - a, exponent, false)
        } else {
            LongDouble::rounded(false, 0, exponent, false)
        };
        (sum.exponent != EXPONENT_INFINITE).then_some(sum)
    }

    /// Writes `%.17Lf` without trailing zeros, without a trailing point, and without the sign of zero.
    pub(crate) fn write_decimal(self, out: &mut Vec<u8>) {
        assert!(self.exponent != EXPONENT_INFINITE, "infinities are refused where they arise");
        if self.exponent >= 0 {
            if self.negative && self.mantissa != 0 {
                out.push(b'-');
            }
            return Natural::shifted(self.mantissa, self.exponent as usize).write_decimal(out);
        }
        const UNIT: u128 = 10u128.pow(DECIMALS as u32);
        // Below 2^121: 64 bits of mantissa times 57 bits.
        let scaled = self.mantissa as u128 * UNIT;
        let units = shift_right_rounding(scaled, -self.exponent, false);
        if self.negative && units != 0 {
            out.push(b'-');
        }
        let mut text = itoa::Buffer::new();
        out.extend_from_slice(text.format(units / UNIT).as_bytes());
        let mut fraction = (units % UNIT) as u64;
        if fraction == 0 {
            return;
        }
        let mut width = DECIMALS;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            width -= 1;
        }
        let digits = text.format(fraction).as_bytes();
        out.push(b'.');
        out.extend(std::iter::repeat_n(b'0', width - digits.len()));
        out.extend_from_slice(digits);
    }

    /// `value * 2^exponent`, plus a positive amount below `2^exponent` when `inexact`, rounded to the nearest number.
    ///
    /// An inexact value has at least 66 bits, so the amount only matters as "more than nothing".
    fn rounded(negative: bool, value: u128, exponent: i64, inexact: bool) -> LongDouble {
        if value == 0 {
            assert!(!inexact);
            return LongDouble { negative, mantissa: 0, exponent: EXPONENT_MIN };
        }
        let bits = 128 - value.leading_zeros() as i64;
        assert!(!inexact || bits >= 66);
        let excess = (bits - 64).max(EXPONENT_MIN - exponent);
        let (kept, mut exponent) = if excess <= 0 {
            (value << -excess, exponent + excess)
        } else {
            (shift_right_rounding(value, excess, inexact), exponent + excess)
        };
        let mantissa = u64::try_from(kept).unwrap_or_else(|_| {
            // Rounded up to the next power of two.
            assert!(kept == 1 << 64);
            exponent += 1;
            1 << 63
        });
        if exponent > EXPONENT_MAX {
            return LongDouble { negative, mantissa: 0, exponent: EXPONENT_INFINITE };
        }
        assert!(mantissa >> 63 == 1 || exponent == EXPONENT_MIN);
        LongDouble { negative, mantissa, exponent }
    }
}

impl From<i64> for LongDouble {
    fn from(value: i64) -> LongDouble {
        LongDouble::rounded(value < 0, value.unsigned_abs() as u128, 0, false)
    }
}

/// `value / 2^shift` to the nearest, ties to even; `inexact` says that the value is really a little more.
fn shift_right_rounding(value: u128, shift: i64, inexact: bool) -> u128 {
    assert!(shift > 0);
    if shift > 128 {
        return 0; // below half, whatever the value is
    }
    let half = 1u128 << (shift - 1);
    let (kept, rest) = if shift == 128 { (0, value) } else { (value >> shift, value & ((half << 1) - 1)) };
    let up = rest > half || rest == half && (inexact || kept & 1 == 1);
    kept + up as u128
}

/// Splits leading digits off.
fn split_digits(text: &[u8], is_digit: fn(&u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !is_digit(byte)).unwrap_or(text.len()))
}

/// Digits, and after a point more digits (at least one in all); returns what follows them, too.
fn split_fraction(text: &[u8], is_digit: fn(&u8) -> bool) -> Option<(&[u8], &[u8], &[u8])> {
    let (whole, rest) = split_digits(text, is_digit);
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => split_digits(rest, is_digit),
        _ => (&[][..], rest),
    };
    (!whole.is_empty() || !fraction.is_empty()).then_some((whole, fraction, rest))
}

/// The exponent after its letter: a sign and digits up to the end of the text. What does not fit is cut to a number
/// that is out of every range anyway.
fn parse_exponent(text: &[u8], letter: u8) -> Option<i64> {
    let (first, rest) = match text {
        [] => return Some(0),
        [first, rest @ ..] => (first, rest),
    };
    if !first.eq_ignore_ascii_case(&letter) {
        return None;
    }
    let (sign, digits) = match rest {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        _ => (1, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(sign * digits.iter().fold(0i64, |sum, &digit| (sum * 10 + (digit - b'0') as i64).min(1 << 40)))
}

fn parse_hexadecimal(negative: bool, text: &[u8]) -> Option<LongDouble> {
    let (whole, fraction, rest) = split_fraction(text, u8::is_ascii_hexdigit)?;
    let mut exponent = parse_exponent(rest, b'p')? - 4 * fraction.len() as i64;
    let (mut value, mut inexact) = (0u128, false);
    for &byte in whole.iter().chain(fraction) {
        let digit = (byte as char).to_digit(16).expect("only digits were split off") as u128;
        if value >> 124 == 0 {
            value = value << 4 | digit;
        } else {
            inexact |= digit != 0;
            exponent += 4;
        }
    }
    let number = LongDouble::rounded(negative, value, exponent, inexact);
    (number.mantissa != 0 || value == 0).then_some(number)
}

fn parse_decimal(negative: bool, text: &[u8]) -> Option<LongDouble> {
    let (whole, fraction, rest) = split_fraction(text, u8::is_ascii_digit)?;
    let exponent = parse_exponent(rest, b'e')?;
    if whole.len() + fraction.len() <= 19 && (-18..=19).contains(&(exponent - fraction.len() as i64)) {
        return Some(short_decimal(negative, whole, fraction, exponent));
    }
    let digits: Vec<u8> = whole.iter().chain(fraction).copied().skip_while(|&digit| digit == b'0').collect();
    let mut exponent = exponent - fraction.len() as i64;
    let significant = digits.len() - digits.iter().rev().take_while(|&&digit| digit == b'0').count();
    exponent += (digits.len() - significant) as i64;
    let digits = &digits[..significant];
    if digits.is_empty() {
        return Some(LongDouble::rounded(negative, 0, 0, false));
    }
    // The number is 0.ddd * 10^point.
    let point = digits.len() as i64 + exponent;
    if !(DECIMAL_POINT_MIN < point && point <= DECIMAL_POINT_MAX) {
        return None;
    }
    let mut numerator = Natural::from_decimal(digits);
    let number = if exponent >= 0 {
        numerator.scale_by_ten(exponent as usize);
        let (value, dropped, inexact) = numerator.leading();
        LongDouble::rounded(negative, value, dropped as i64, inexact)
    } else {
        // Both sides are scaled by powers of two until the quotient has 67 or 68 bits.
        const QUOTIENT_BITS: i64 = 68;
        let mut denominator = Natural::shifted(1, 0);
        denominator.scale_by_ten(exponent.unsigned_abs() as usize);
        let shift = denominator.bits() as i64 + QUOTIENT_BITS - 1 - numerator.bits() as i64;
        if shift >= 0 {
            numerator.shift_left(shift as usize);
        } else {
            denominator.shift_left(shift.unsigned_abs() as usize);
        }
        let (quotient, inexact) = numerator.divide(denominator, QUOTIENT_BITS as usize);
        LongDouble::rounded(negative, quotient, -shift, inexact)
    };
    (number.mantissa != 0).then_some(number)
}

/// Up to 19 digits and a power of ten that 128 bits can hold: what nearly every client sends.
fn short_decimal(negative: bool, whole: &[u8], fraction: &[u8], exponent: i64) -> LongDouble {
    let digits =
        whole.iter().chain(fraction).fold(0u64, |value, &digit| value * 10 + (digit - b'0') as u64) as u128;
    let exponent = exponent - fraction.len() as i64;
    let power = 10u128.pow(exponent.unsigned_abs() as u32);
    if exponent >= 0 || digits == 0 {
        return LongDouble::rounded(negative, if digits == 0 { 0 } else { digits * power }, 0, false);
    }
    // The divisor is below 2^60, so a numerator of 128 bits leaves a quotient of at least 68.
    let shift = digits.leading_zeros();
    let numerator = digits << shift;
    LongDouble::rounded(negative, numerator / power, -(shift as i64), !numerator.is_multiple_of(power))
}

#[cfg(test)]
mod tests;

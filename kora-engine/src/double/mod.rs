//! Doubles as text, as Redis reads and writes them.
//!
//! Reading is C's `strtod` of the whole text (see [`parse`]). Writing, since Redis 7.2, is the Grisu2 algorithm
//! (F. Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers", 2010): digits that read back
//! as the same number, nearly always the fewest, and in one case of some hundreds not. A shortest-digits routine
//! would differ there, so this is Grisu2 with the same choices: 64-bit mantissas, powers of ten in steps of 8, products
//! in the window of exponents from -60 to -32, the last digit moved towards the number while that stays within its
//! boundaries.

mod powers;

use powers::{Power, FIRST, POWERS, STEP};

/// Longest text of a double in bytes.
pub const TEXT_MAX: usize = 32;

const FRACTION_BITS: u32 = 52;
const HIDDEN: u64 = 1 << FRACTION_BITS;
const EXPONENT_BIAS: i32 = 1023 + FRACTION_BITS as i32;

/// Exponents of a number times a power of ten, between which digits can be taken from 64 bits.
const EXPONENT_LEAST: i32 = -60;
const EXPONENT_GREATEST: i32 = -32;

/// Most digits that Grisu2 makes.
const DIGITS_MAX: usize = 18;

/// `mantissa * 2^exponent`.
#[derive(Clone, Copy)]
struct Scaled {
    mantissa: u64,
    exponent: i32,
}

impl Scaled {
    fn of(value: f64) -> Scaled {
        let bits = value.to_bits();
        let fraction = bits & (HIDDEN - 1);
        match (bits >> FRACTION_BITS & 0x7ff) as i32 {
            0 => Scaled { mantissa: fraction, exponent: 1 - EXPONENT_BIAS },
            exponent => Scaled { mantissa: fraction | HIDDEN, exponent: exponent - EXPONENT_BIAS },
        }
    }

    fn normalized(self) -> Scaled {
        let shift = self.mantissa.leading_zeros();
        Scaled { mantissa: self.mantissa << shift, exponent: self.exponent - shift as i32 }
    }

    /// The middles between the number and its neighbours, with one exponent.
    fn boundaries(self) -> (Scaled, Scaled) {
        let upper = Scaled { mantissa: (self.mantissa << 1) + 1, exponent: self.exponent - 1 }.normalized();
        // Below a power of two numbers are twice as dense.
        let shift = if self.mantissa == HIDDEN { 2 } else { 1 };
        let (mantissa, exponent) = ((self.mantissa << shift) - 1, self.exponent - shift);
        let lower = Scaled { mantissa: mantissa << (exponent - upper.exponent), exponent: upper.exponent };
        (lower, upper)
    }

    /// The upper half of the product, rounded.
    fn times(self, power: Power) -> Scaled {
        let product = u128::from(self.mantissa) * u128::from(power.mantissa);
        Scaled {
            mantissa: ((product + (1 << 63)) >> 64) as u64,
            exponent: self.exponent + power.exponent + 64,
        }
    }
}

/// The power of ten that brings a number of this binary exponent into the window, and its decimal exponent.
fn power_for(exponent: i32) -> (Power, i32) {
    const LOG10_2: f64 = 0.30102999566398114;
    let estimate = (-f64::from(exponent + POWERS.len() as i32) * LOG10_2) as i32;
    let mut index = (estimate - FIRST) / STEP;
    loop {
        let power = POWERS[index as usize];
        let reached = exponent + power.exponent + 64;
        if reached < EXPONENT_LEAST {
            index += 1;
        } else if reached > EXPONENT_GREATEST {
            index -= 1;
        } else {
            return (power, FIRST + index * STEP);
        }
    }
}

/// Decimal digits and the exponent of ten of the last one.
struct Digits {
    digits: [u8; DIGITS_MAX],
    len: usize,
    exponent: i32,
}

impl Digits {
    fn push(&mut self, digit: u64) {
        if digit != 0 || self.len > 0 {
            self.digits[self.len] = b'0' + digit as u8;
            self.len += 1;
        }
    }

    /// Lowers the last digit while that brings the text nearer to the number: `rest` is how far it is below the upper
    /// boundary, `unit` what a step of the digit is, `target` how far the number is, `delta` how far the lower one.
    fn approach(&mut self, delta: u64, mut rest: u64, unit: u64, target: u64) {
        while rest < target
            && delta - rest >= unit
            && (rest + unit < target || target - rest > rest + unit - target)
        {
            self.digits[self.len - 1] -= 1;
            rest += unit;
        }
    }
}

/// Grisu2. `value` is positive and finite.
fn digits_of(value: f64) -> Digits {
    let number = Scaled::of(value);
    let (lower, upper) = number.boundaries();
    let (power, decimal) = power_for(upper.exponent);
    let number = number.normalized().times(power);
    // Products are exact to one unit: the boundaries move inwards by it.
    let lower = lower.times(power).mantissa + 1;
    let Scaled { mantissa: upper, exponent } = upper.times(power);
    let upper = upper - 1;

    let shift = -exponent as u32;
    let one = 1u64 << shift;
    let target = upper - number.mantissa;
    let mut delta = upper - lower;
    let mut digits = Digits { digits: [0; DIGITS_MAX], len: 0, exponent: -decimal };

    let mut whole = upper >> shift;
    let mut fraction = upper & (one - 1);
    let mut unit = 1_000_000_000u64;
    for place in (0..10).rev() {
        digits.push(whole / unit);
        whole %= unit;
        let rest = (whole << shift) + fraction;
        if rest <= delta {
            digits.exponent += place;
            digits.approach(delta, rest, unit << shift, target);
            return digits;
        }
        unit /= 10;
    }
    let mut unit = 1u64;
    let mut place = 0;
    loop {
        fraction *= 10;
        delta *= 10;
        unit = unit.wrapping_mul(10);
        place -= 1;
        digits.push(fraction >> shift);
        fraction &= one - 1;
        if fraction < delta {
            digits.exponent += place;
            digits.approach(delta, fraction, one, target.wrapping_mul(unit));
            return digits;
        }
    }
}

/// The text of a double.
#[derive(Clone, Copy)]
pub struct Text {
    bytes: [u8; TEXT_MAX],
    len: usize,
}

impl Text {
    /// As Redis 8 writes it in replies: whole numbers up to 2^62 without exponent; `-0`, `inf`, `-inf`, `nan`.
    pub fn of(value: f64) -> Text {
        let mut text = Text { bytes: [0; TEXT_MAX], len: 0 };
        /// Up to here Redis prints whole numbers as integers.
        const WHOLE_MAX: f64 = (i64::MAX / 2) as f64;
        if value.is_nan() {
            text.put(b"nan");
        } else if value.is_infinite() {
            text.put(if value > 0.0 { b"inf" } else { b"-inf" });
        } else if value == 0.0 {
            text.put(if value.is_sign_negative() { b"-0" } else { b"0" });
        } else if value.abs() <= WHOLE_MAX && value == (value as i64) as f64 {
            text.put(itoa::Buffer::new().format(value as i64).as_bytes());
        } else {
            if value < 0.0 {
                text.put(b"-");
            }
            text.put_digits(&digits_of(value.abs()), value < 0.0);
        }
        text
    }

    /// As C's `%.17g` writes it, which is what Redis's ZSCAN answers for large sorted sets.
    pub fn of_17_digits(value: f64) -> Text {
        if !value.is_finite() || value == 0.0 {
            return Text::of(value);
        }
        // Exact to the last digit, as C's is: `d.dddddddddddddddde-5`.
        let scientific = format!("{value:.16e}");
        let (mantissa, exponent) = scientific.split_once('e').expect("an exponent");
        let exponent: i32 = exponent.parse().expect("an exponent is a number");
        let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
        let shown = digits.iter().rposition(|&digit| digit != b'0').map_or(1, |last| last + 1);
        let digits = &digits[..shown];
        let mut text = Text { bytes: [0; TEXT_MAX], len: 0 };
        if value < 0.0 {
            text.put(b"-");
        }
        if (-4..17).contains(&exponent) {
            let last = exponent + 1 - shown as i32;
            text.put_plain(digits, last);
        } else {
            text.put(&digits[..1]);
            if shown > 1 {
                text.put(b".");
                text.put(&digits[1..]);
            }
            text.put(if exponent < 0 { b"e-" } else { b"e+" });
            if exponent.abs() < 10 {
                text.put(b"0");
            }
            text.put(itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes());
        }
        text
    }

    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn put_zeros(&mut self, count: usize) {
        self.bytes[self.len..self.len + count].fill(b'0');
        self.len += count;
    }

    /// Digits without an exponent; that of the last one is `exponent`.
    fn put_plain(&mut self, digits: &[u8], exponent: i32) {
        if exponent >= 0 {
            self.put(digits);
            self.put_zeros(exponent as usize);
            return;
        }
        match usize::try_from(digits.len() as i32 + exponent) {
            Ok(point) if point > 0 => {
                self.put(&digits[..point]);
                self.put(b".");
                self.put(&digits[point..]);
            }
            _ => {
                self.put(b"0.");
                self.put_zeros((-exponent) as usize - digits.len());
                self.put(digits);
            }
        }
    }

    fn put_digits(&mut self, digits: &Digits, negative: bool) {
        let (shown, exponent) = (&digits.digits[..digits.len], digits.exponent);
        let count = shown.len();
        // The exponent of the first digit.
        let scientific = exponent + count as i32 - 1;
        let is_plain = match exponent {
            0.. => scientific < count as i32 + 7,
            _ => exponent > -7 || scientific.abs() < 4,
        };
        if is_plain {
            self.put_plain(shown, exponent);
        } else {
            let shown = &shown[..count.min(18 - negative as usize)];
            self.put(&shown[..1]);
            if shown.len() > 1 {
                self.put(b".");
                self.put(&shown[1..]);
            }
            self.put(if scientific < 0 { b"e-" } else { b"e+" });
            self.put(itoa::Buffer::new().format(scientific.unsigned_abs()).as_bytes());
        }
    }
}

/// A double as Redis reads arguments: all that C's `strtod` reads, decimal or hexadecimal or `inf`, but no white space, no
/// `nan`, nothing too large and nothing that is too small to be told from zero.
pub fn parse(text: &[u8]) -> Option<f64> {
    if text.first().is_none_or(|first| is_space(*first)) {
        return None;
    }
    let (value, lost) = read(text)?;
    (!lost).then_some(value)
}

/// A double as Redis reads the ends of intervals of scores: a number may have white space before it, what does not
/// fit is infinite or zero, and no text at all, or only what stands before a zero byte, is taken for the number.
pub(crate) fn parse_lenient(text: &[u8]) -> Option<f64> {
    let text = text.split(|&byte| byte == 0).next().expect("split gives one");
    if text.is_empty() {
        return Some(0.0);
    }
    let start = text.iter().position(|&byte| !is_space(byte))?;
    read(&text[start..]).map(|(value, _)| value)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// The number that is the whole text, and whether it left the range of doubles: then it is infinite or zero.
fn read(text: &[u8]) -> Option<(f64, bool)> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let signed = |value: f64| if negative { -value } else { value };
    if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
        return Some((signed(f64::INFINITY), false));
    }
    if let [b'0', b'x' | b'X', digits @ ..] = unsigned {
        let (value, lost) = read_hexadecimal(digits)?;
        return Some((signed(value), lost));
    }
    // What is left that Rust reads and C does not: a second sign.
    if !unsigned.first().is_some_and(|first| first.is_ascii_digit() || *first == b'.') {
        return None;
    }
    let value: f64 = std::str::from_utf8(unsigned).ok()?.parse().ok()?;
    let is_zero = || {
        let mantissa = unsigned.split(|byte| byte.eq_ignore_ascii_case(&b'e')).next().unwrap_or(&[]);
        mantissa.iter().all(|byte| matches!(byte, b'0' | b'.'))
    };
    let lost = value.is_infinite() || value == 0.0 && !is_zero();
    Some((signed(value), lost))
}

/// What follows `0x`: digits with a point, and a binary exponent.
fn read_hexadecimal(text: &[u8]) -> Option<(f64, bool)> {
    let (mut mantissa, mut exponent, mut digits, mut sticky) = (0u64, 0i64, 0usize, false);
    let mut point = false;
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        match byte {
            b'.' if !point => point = true,
            _ => {
                let Some(digit) = (*byte as char).to_digit(16) else { break };
                digits += 1;
                if mantissa >> 60 == 0 {
                    mantissa = mantissa << 4 | u64::from(digit);
                    exponent -= if point { 4 } else { 0 };
                } else {
                    sticky |= digit != 0;
                    exponent += if point { 0 } else { 4 };
                }
            }
        }
        rest = tail;
    }
    if digits == 0 {
        return None;
    }
    if let [b'p' | b'P', tail @ ..] = rest {
        let (negative, power) = match tail {
            [b'-', power @ ..] => (true, power),
            [b'+', power @ ..] => (false, power),
            power => (false, power),
        };
        if power.is_empty() || !power.iter().all(u8::is_ascii_digit) {
            return None;
        }
        // More than any text is long: what is beyond is out of range either way.
        let power = power.iter().fold(0i64, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(1 << 40));
        exponent += if negative { -power } else { power };
        rest = &[];
    }
    if !rest.is_empty() {
        return None;
    }
    if mantissa == 0 {
        return Some((0.0, false));
    }
    Some(compose(mantissa, exponent, sticky))
}

/// `mantissa * 2^exponent` and a bit more if `sticky`, rounded to nearest, ties to even.
fn compose(mantissa: u64, exponent: i64, sticky: bool) -> (f64, bool) {
    let shift = i64::from(mantissa.leading_zeros());
    let (mantissa, exponent) = (mantissa << shift, exponent - shift);
    // The exponent of the last of 53 bits; that of subnormal numbers does not fall further.
    let last = (exponent + 11).max(-1074);
    let drop = last - exponent;
    if drop > 64 {
        return (0.0, true);
    }
    let wide = u128::from(mantissa) << 1 | u128::from(sticky);
    let (kept, cut, half) = (wide >> (drop + 1), wide & ((1 << (drop + 1)) - 1), 1u128 << drop);
    let rounded = kept + u128::from(cut > half || cut == half && kept & 1 == 1);
    if rounded == 0 {
        return (0.0, true);
    }
    // Exact: at most 53 bits, and powers of two; in two steps, as one of them could leave the range alone.
    let (first, second) = (last / 2, last - last / 2);
    if last > 1023 {
        return (f64::INFINITY, true);
    }
    let value = rounded as f64 * 2f64.powi(first as i32) * 2f64.powi(second as i32);
    (value, value.is_infinite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(value: f64) -> String {
        String::from_utf8(Text::of(value).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn doubles_are_written_as_redis_8_writes_them() {
        for (value, expected) in [
            (1e20, "1e+20"),
            (0.1, "0.1"),
            (-0.0, "-0"),
            (0.0, "0"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (1e-7, "1e-7"),
            (-1e-7, "-1e-7"),
            (3.0, "3"),
            (1e17, "100000000000000000"),
            (123456789012345678.0, "123456789012345680"),
            (1e21, "1e+21"),
            (1e-5, "0.00001"),
            (0.0001, "0.0001"),
            (1e16, "10000000000000000"),
            (12345678901234567890.0, "12345678901234567000"),
            (5.14159265358979, "5.14159265358979"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "5e-324"),
            (1.5e300, "1.5e+300"),
            (4503599627370496.5, "4503599627370496"),
            (3.0000001, "3.0000001"),
            // Not the nearest or the shortest: Grisu2.
            (3820367199722.4688, "3820367199722.4687"),
            (6.984971462299466e112, "6.9849714622994664e+112"),
            (8.473342511035414e307, "8.4733425110354135e+307"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn seventeen_digits_are_those_of_c() {
        for (value, expected) in [
            (0.1, "0.10000000000000001"),
            (1.5, "1.5"),
            (1e20, "1e+20"),
            (-0.0, "-0"),
            (f64::NEG_INFINITY, "-inf"),
            (3.0, "3"),
            (1e-7, "9.9999999999999995e-08"),
            (123456789012345678.0, "1.2345678901234568e+17"),
            (100000.5, "100000.5"),
            (1e17, "1e+17"),
            (1e16, "10000000000000000"),
            (1.5e300, "1.5000000000000001e+300"),
            (-0.0001, "-0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (120.0, "120"),
            (-f64::MAX, "-1.7976931348623157e+308"),
        ] {
            let text = Text::of_17_digits(value);
            assert_eq!(std::str::from_utf8(text.as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn arguments_are_read_as_redis_reads_them() {
        for (input, expected) in [
            ("0x10", Some(16.0)),
            ("0x1p3", Some(8.0)),
            ("0x.8", Some(0.5)),
            ("0X1.8P-1", Some(0.75)),
            ("-0x1P0", Some(-1.0)),
            ("0x", None),
            ("0x1p", None),
            ("0x1p1024", None),
            ("0x1p-1074", Some(5e-324)),
            ("0x1p-1076", None),
            ("0x0p99999999999", Some(0.0)),
            ("0x1p99999999999999999999", None),
            ("0x1.fffffffffffff8p0", Some(2.0)),
            ("0x1.fffffffffffff7p0", Some(1.9999999999999998)),
            ("0x20000000000000000000000000000001", Some(2f64.powi(125))),
            ("", None),
            (" 1", None),
            ("1 ", None),
            ("+1", Some(1.0)),
            ("+-1", None),
            ("1e400", None),
            ("1e-400", None),
            ("0e-400", Some(0.0)),
            ("-1e400", None),
            ("1e-310", Some(1e-310)),
            ("infinity", Some(f64::INFINITY)),
            ("-INF", Some(f64::NEG_INFINITY)),
            ("infin", None),
            ("nan", None),
            ("-nan", None),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            (".", None),
            ("1e", None),
            ("1e5", Some(1e5)),
            ("1_0", None),
            ("1\0", None),
        ] {
            assert_eq!(parse(input.as_bytes()), expected, "{input:?}");
        }
        assert_eq!(parse(b"-0").map(f64::to_bits), Some((-0.0f64).to_bits()));
    }

    #[test]
    fn ends_of_intervals_are_read_more_leniently() {
        for (input, expected) in [
            ("", Some(0.0)),
            (" 1", Some(1.0)),
            ("1 ", None),
            ("1\0x", Some(1.0)),
            ("1e400", Some(f64::INFINITY)),
            (" ", None),
        ] {
            assert_eq!(parse_lenient(input.as_bytes()), expected, "{input:?}");
        }
    }

    proptest! {
        #[test]
        fn the_text_reads_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            // A whole number of 17 digits is the one case: it is written without a point, and its half is gone.
            prop_assume!(value.abs() < 4503599627370496.0 || value == value.trunc());
            let text = text(value);
            prop_assert!(text.len() <= 25, "{}", text);
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits, "{}", text);
            prop_assert_eq!(parse(text.as_bytes()).map(f64::to_bits), Some(bits));
        }

        #[test]
        fn hexadecimal_text_reads_back(bits: u64) {
            let value = f64::from_bits(bits & !(1 << 63));
            prop_assume!(value.is_finite() && value != 0.0);
            let Scaled { mantissa, exponent } = Scaled::of(value);
            prop_assert_eq!(parse(format!("0x{mantissa:x}p{exponent}").as_bytes()), Some(value));
            prop_assert_eq!(parse(format!("0x{mantissa:x}.00000000000000000001p{exponent}").as_bytes()), Some(value));
        }
    }
}

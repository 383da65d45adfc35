//! Natural numbers of any size, with the few operations that exact decimal conversion needs.
//!
//! The largest one here has about 34,000 bits (5,119 decimal digits over or under a power of ten), so
//! schoolbook methods are the right ones.

use std::cmp::Ordering;

/// The largest power of ten in 64 bits, and its exponent: digits are moved in chunks of this many.
const CHUNK_DIGITS: usize = 19;
const CHUNK: u64 = 10u64.pow(CHUNK_DIGITS as u32);

/// Little-endian limbs of 64 bits; the last one is not zero (zero has none).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Natural(Vec<u64>);

impl Natural {
    /// The number of these decimal digits.
    pub(super) fn from_decimal(digits: &[u8]) -> Natural {
        let mut number = Natural(Vec::with_capacity(digits.len() / CHUNK_DIGITS + 1));
        for chunk in digits.chunks(CHUNK_DIGITS) {
            let value = chunk.iter().fold(0, |sum, &digit| sum * 10 + (digit - b'0') as u64);
            number.multiply_add(10u64.pow(chunk.len() as u32), value);
        }
        number
    }

    /// `number * 2^shift`.
    pub(super) fn shifted(number: u64, shift: usize) -> Natural {
        let mut shifted = Natural(if number == 0 { Vec::new() } else { vec![number] });
        shifted.shift_left(shift);
        shifted
    }

    /// Becomes itself times `10^exponent`.
    pub(super) fn scale_by_ten(&mut self, exponent: usize) {
        for _ in 0..exponent / CHUNK_DIGITS {
            self.multiply_add(CHUNK, 0);
        }
        self.multiply_add(10u64.pow((exponent % CHUNK_DIGITS) as u32), 0);
    }

    /// Number of bits without leading zeros.
    pub(super) fn bits(&self) -> usize {
        self.0.last().map_or(0, |top| self.0.len() * 64 - top.leading_zeros() as usize)
    }

    /// Becomes itself times `2^shift`.
    pub(super) fn shift_left(&mut self, shift: usize) {
        if self.0.is_empty() {
            return;
        }
        let (limbs, bits) = (shift / 64, shift % 64);
        if bits != 0 {
            let mut carry = 0;
            for limb in &mut self.0 {
                (*limb, carry) = (*limb << bits | carry, *limb >> (64 - bits));
            }
            self.push_carry(carry);
        }
        self.0.splice(0..0, std::iter::repeat_n(0, limbs));
    }

    /// The leading bits, at most 128 of them; how many bits follow; and whether any of those is set.
    pub(super) fn leading(&self) -> (u128, usize, bool) {
        let drop = self.bits().saturating_sub(128);
        let (limbs, bits) = (drop / 64, drop % 64);
        let limb = |index: usize| self.0.get(limbs + index).copied().unwrap_or(0) as u128;
        let mut value = limb(0) | limb(1) << 64;
        let mut rest = self.0[..limbs.min(self.0.len())].iter().any(|&limb| limb != 0);
        if bits != 0 {
            rest |= value & ((1 << bits) - 1) != 0;
            value = value >> bits | limb(2) << (128 - bits);
        }
        (value, drop, rest)
    }

    /// The whole part of `self / divisor`, which the caller knows to be below `2^bits` with `bits` at most 128,
    /// and whether the division leaves a rest. One bit per step, as by hand.
    pub(super) fn divide(mut self, mut divisor: Natural, bits: usize) -> (u128, bool) {
        assert!((1..=128).contains(&bits));
        divisor.shift_left(bits - 1);
        let mut quotient = 0u128;
        for step in 0..bits {
            if step > 0 {
                self.shift_left(1);
            }
            quotient <<= 1;
            if self.compare(&divisor) != Ordering::Less {
                self.subtract(&divisor);
                quotient |= 1;
            }
        }
        assert!(self.compare(&divisor) == Ordering::Less, "the quotient has more bits than promised");
        (quotient, !self.0.is_empty())
    }

    /// Writes the decimal digits, without leading zeros; zero is `0`.
    pub(super) fn write_decimal(mut self, out: &mut Vec<u8>) {
        let mut chunks = Vec::with_capacity(self.bits() / 63 + 1);
        while !self.0.is_empty() {
            chunks.push(self.divide_by_chunk());
        }
        let mut text = itoa::Buffer::new();
        out.extend_from_slice(text.format(chunks.pop().unwrap_or(0)).as_bytes());
        for chunk in chunks.into_iter().rev() {
            let digits = text.format(chunk).as_bytes();
            out.extend(std::iter::repeat_n(b'0', CHUNK_DIGITS - digits.len()));
            out.extend_from_slice(digits);
        }
    }

    fn multiply_add(&mut self, factor: u64, addend: u64) {
        let mut carry = addend;
        for limb in &mut self.0 {
            let product = *limb as u128 * factor as u128 + carry as u128;
            (*limb, carry) = (product as u64, (product >> 64) as u64);
        }
        self.push_carry(carry);
    }

    fn divide_by_chunk(&mut self) -> u64 {
        let mut rest = 0u64;
        for limb in self.0.iter_mut().rev() {
            let dividend = (rest as u128) << 64 | *limb as u128;
            *limb = (dividend / CHUNK as u128) as u64;
            rest = (dividend % CHUNK as u128) as u64;
        }
        self.trim();
        rest
    }

    fn compare(&self, other: &Natural) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// `other` is not larger.
    fn subtract(&mut self, other: &Natural) {
        let mut borrow = false;
        for (index, limb) in self.0.iter_mut().enumerate() {
            let subtrahend = other.0.get(index).copied().unwrap_or(0);
            let (difference, first) = limb.overflowing_sub(subtrahend);
            let (difference, second) = difference.overflowing_sub(borrow as u64);
            (*limb, borrow) = (difference, first | second);
        }
        assert!(!borrow, "a larger number was subtracted");
        self.trim();
    }

    fn push_carry(&mut self, carry: u64) {
        if carry != 0 {
            self.0.push(carry);
        }
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(value: u128) -> Natural {
        Natural::from_decimal(value.to_string().as_bytes())
    }

    proptest! {
        #[test]
        fn decimal_text_reads_back(digits in "[1-9][0-9]{0,300}") {
            let mut text = Vec::new();
            Natural::from_decimal(digits.as_bytes()).write_decimal(&mut text);
            prop_assert_eq!(text, digits.as_bytes());
        }

        #[test]
        fn division_agrees_with_u128(a: u128, b in 1u128.., shift in 0u32..127) {
            let b = (b >> shift).max(1);
            let (quotient, rest) = of(a).divide(of(b), 128);
            prop_assert_eq!((quotient, rest), (a / b, a % b != 0));
        }

        #[test]
        fn leading_bits_are_those_of_the_shifted_number(value in 1u64.., shift in 0usize..300) {
            let number = Natural::shifted(value, shift);
            let bits = 64 - value.leading_zeros() as usize + shift;
            prop_assert_eq!(number.bits(), bits);
            let (leading, dropped, rest) = number.leading();
            prop_assert_eq!(dropped, bits.saturating_sub(128));
            prop_assert!(!rest, "only zeros are shifted in");
            let mut back = Natural::shifted((leading >> 64) as u64, 64);
            back.multiply_add(1, leading as u64);
            back.trim();
            back.shift_left(dropped);
            prop_assert_eq!(back, number);
        }

        #[test]
        fn scaling_appends_zeros(value in 1u64.., exponent in 0usize..100) {
            let mut number = Natural::shifted(value, 0);
            number.scale_by_ten(exponent);
            let mut text = Vec::new();
            number.write_decimal(&mut text);
            prop_assert_eq!(String::from_utf8(text).unwrap(), format!("{value}{}", "0".repeat(exponent)));
        }
    }

    #[test]
    fn a_lost_bit_is_reported() {
        let mut number = Natural::shifted(1, 200);
        number.multiply_add(1, 1);
        let (leading, dropped, rest) = number.leading();
        assert_eq!((leading, dropped, rest), (1 << 127, 73, true));
    }

    #[test]
    fn zero_is_written_as_zero() {
        let mut text = Vec::new();
        Natural::shifted(0, 70).write_decimal(&mut text);
        assert_eq!(text, b"0");
    }
}

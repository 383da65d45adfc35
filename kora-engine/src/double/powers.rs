//! Powers of ten as the digits of a double are made with: `10^(-348 + 8 * index)` with 64 bits of mantissa, rounded to
//! nearest. The numbers were computed; a test computes them again.

/// `mantissa * 2^exponent`, the top bit of the mantissa set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Power {
    pub(super) mantissa: u64,
    pub(super) exponent: i32,
}

/// Decimal exponent of the first power.
pub(super) const FIRST: i32 = -348;
/// Distance of decimal exponents.
pub(super) const STEP: i32 = 8;

const fn power(mantissa: u64, exponent: i32) -> Power {
    Power { mantissa, exponent }
}

#[rustfmt::skip]
pub(super) static POWERS: [Power; 87] = [
    power(0xfa8fd5a0081c0288, -1220), power(0xbaaee17fa23ebf76, -1193), power(0x8b16fb203055ac76, -1166),
    power(0xcf42894a5dce35ea, -1140), power(0x9a6bb0aa55653b2d, -1113), power(0xe61acf033d1a45df, -1087),
    power(0xab70fe17c79ac6ca, -1060), power(0xff77b1fcbebcdc4f, -1034), power(0xbe5691ef416bd60c, -1007),
    power(0x8dd01fad907ffc3c, -980), power(0xd3515c2831559a83, -954), power(0x9d71ac8fada6c9b5, -927),
    power(0xea9c227723ee8bcb, -901), power(0xaecc49914078536d, -874), power(0x823c12795db6ce57, -847),
    power(0xc21094364dfb5637, -821), power(0x9096ea6f3848984f, -794), power(0xd77485cb25823ac7, -768),
    power(0xa086cfcd97bf97f4, -741), power(0xef340a98172aace5, -715), power(0xb23867fb2a35b28e, -688),
    power(0x84c8d4dfd2c63f3b, -661), power(0xc5dd44271ad3cdba, -635), power(0x936b9fcebb25c996, -608),
    power(0xdbac6c247d62a584, -582), power(0xa3ab66580d5fdaf6, -555), power(0xf3e2f893dec3f126, -529),
    power(0xb5b5ada8aaff80b8, -502), power(0x87625f056c7c4a8b, -475), power(0xc9bcff6034c13053, -449),
    power(0x964e858c91ba2655, -422), power(0xdff9772470297ebd, -396), power(0xa6dfbd9fb8e5b88f, -369),
    power(0xf8a95fcf88747d94, -343), power(0xb94470938fa89bcf, -316), power(0x8a08f0f8bf0f156b, -289),
    power(0xcdb02555653131b6, -263), power(0x993fe2c6d07b7fac, -236), power(0xe45c10c42a2b3b06, -210),
    power(0xaa242499697392d3, -183), power(0xfd87b5f28300ca0e, -157), power(0xbce5086492111aeb, -130),
    power(0x8cbccc096f5088cc, -103), power(0xd1b71758e219652c, -77), power(0x9c40000000000000, -50),
    power(0xe8d4a51000000000, -24), power(0xad78ebc5ac620000, 3), power(0x813f3978f8940984, 30),
    power(0xc097ce7bc90715b3, 56), power(0x8f7e32ce7bea5c70, 83), power(0xd5d238a4abe98068, 109),
    power(0x9f4f2726179a2245, 136), power(0xed63a231d4c4fb27, 162), power(0xb0de65388cc8ada8, 189),
    power(0x83c7088e1aab65db, 216), power(0xc45d1df942711d9a, 242), power(0x924d692ca61be758, 269),
    power(0xda01ee641a708dea, 295), power(0xa26da3999aef774a, 322), power(0xf209787bb47d6b85, 348),
    power(0xb454e4a179dd1877, 375), power(0x865b86925b9bc5c2, 402), power(0xc83553c5c8965d3d, 428),
    power(0x952ab45cfa97a0b3, 455), power(0xde469fbd99a05fe3, 481), power(0xa59bc234db398c25, 508),
    power(0xf6c69a72a3989f5c, 534), power(0xb7dcbf5354e9bece, 561), power(0x88fcf317f22241e2, 588),
    power(0xcc20ce9bd35c78a5, 614), power(0x98165af37b2153df, 641), power(0xe2a0b5dc971f303a, 667),
    power(0xa8d9d1535ce3b396, 694), power(0xfb9b7cd9a4a7443c, 720), power(0xbb764c4ca7a44410, 747),
    power(0x8bab8eefb6409c1a, 774), power(0xd01fef10a657842c, 800), power(0x9b10a4e5e9913129, 827),
    power(0xe7109bfba19c0c9d, 853), power(0xac2820d9623bf429, 880), power(0x80444b5e7aa7cf85, 907),
    power(0xbf21e44003acdd2d, 933), power(0x8e679c2f5e44ff8f, 960), power(0xd433179d9c8cb841, 986),
    power(0x9e19db92b4e31ba9, 1013), power(0xeb96bf6ebadf77d9, 1039), power(0xaf87023b9bf0ee6b, 1066),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A natural number, least digit first.
    fn times(number: &mut Vec<u32>, factor: u32) {
        let mut carry = 0u64;
        for digit in number.iter_mut() {
            carry += u64::from(*digit) * u64::from(factor);
            *digit = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            number.push(carry as u32);
        }
    }

    fn bits(number: &[u32]) -> usize {
        let top = number.iter().rposition(|&digit| digit != 0).expect("not zero");
        top * 32 + 32 - number[top].leading_zeros() as usize
    }

    fn bit(number: &[u32], at: usize) -> bool {
        number.get(at / 32).is_some_and(|digit| digit >> (at % 32) & 1 == 1)
    }

    /// Takes `by` away from a number that is at least as large; false, and nothing done, when it is smaller.
    fn minus(number: &mut [u32], by: &[u32]) -> bool {
        let digit = |at: usize| by.get(at).copied().unwrap_or(0);
        let less = (0..number.len()).rev().find(|&at| number[at] != digit(at));
        if by.len() > number.len() || less.is_some_and(|at| number[at] < digit(at)) {
            return false;
        }
        let mut borrow = 0i64;
        for (at, place) in number.iter_mut().enumerate() {
            let difference = i64::from(*place) - i64::from(digit(at)) + borrow;
            *place = difference as u32;
            borrow = difference >> 32;
        }
        true
    }

    /// `numerator / denominator` by long division, one bit at a time.
    fn quotient(numerator: &[u32], denominator: &[u32]) -> Power {
        let mut rest = vec![0u32; denominator.len() + 1];
        let (mut mantissa, mut exponent, mut taken) = (0u64, 0i32, 0);
        let mut at = bits(numerator) as i32 - 1;
        loop {
            times(&mut rest, 2);
            rest.truncate(denominator.len() + 1);
            rest[0] |= u32::from(at >= 0 && bit(numerator, at as usize));
            let one = minus(&mut rest, denominator);
            if taken == 64 {
                // The next bit rounds; the quotients are never halfway.
                let power = match mantissa.checked_add(u64::from(one)) {
                    Some(mantissa) => Power { mantissa, exponent },
                    None => Power { mantissa: 1 << 63, exponent: exponent + 1 },
                };
                return power;
            }
            if one || taken > 0 {
                mantissa = mantissa << 1 | u64::from(one);
                taken += 1;
                exponent = at;
            }
            at -= 1;
        }
    }

    #[test]
    fn the_powers_are_rounded_to_nearest() {
        for (index, power) in POWERS.iter().enumerate() {
            let decimal = FIRST + STEP * index as i32;
            let mut number = vec![1u32];
            for _ in 0..decimal.unsigned_abs() {
                times(&mut number, 10);
            }
            let expected = if decimal < 0 { quotient(&[1], &number) } else { quotient(&number, &[1]) };
            assert_eq!(*power, expected, "10^{decimal}");
        }
    }
}

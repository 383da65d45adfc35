use super::*;
use proptest::prelude::*;

/// What INCRBYFLOAT does with a value and an increment.
fn add(value: &str, increment: &str) -> Result<String, &'static str> {
    let value = LongDouble::parse(value.as_bytes()).ok_or("not a number")?;
    let increment = LongDouble::parse(increment.as_bytes()).ok_or("not a number")?;
    let sum = value.checked_add(increment).ok_or("infinite")?;
    Ok(text_of(sum))
}

fn text_of(number: LongDouble) -> String {
    let mut text = Vec::new();
    number.write_decimal(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn sums_are_those_of_redis() {
    // SET k value; INCRBYFLOAT k increment, on redis-server 7.0.15 (x86-64, glibc). 160,000 random cases like these
    // were compared during development.
    for (value, increment, sum) in [
        ("0", "0.1", "0.1"),
        ("0.1", "0.2", "0.3"),
        ("3", "1.1", "4.1"),
        ("5.0e3", "2.0e2", "5200"),
        ("1.1", "-1.1", "0"),
        ("10.50", "0.1", "10.6"),
        ("-0", "-0", "0"),
        ("123456789.987654321", "1000000", "124456789.98765432099753525"),
        ("667.72", "-667.77", "-0.05000000000000004"),
        ("43496.15", "+395", "43891.14999999999999858"),
        ("9839.33551847272", "+0X7680348", "124266935.33551847271883162"),
        ("-81.016538996543e-13", "061.5469421537502914235", "61.54694215374218977"),
        ("-3.927722495427E-337", "-4975491058.69727588261929693603", "-4975491058.69727588258683681"),
        // the 17th decimal
        ("0", "5e-18", "0"),
        ("0", "5.0000000001e-18", "0.00000000000000001"),
        ("0", "15e-18", "0.00000000000000002"),
        ("0", "-4e-18", "0"),
        ("0", "-1e-30", "0"),
        ("+3.9e-30", "0.00000000000045474735088646411895751953125", "0.00000000000045475"),
        ("939", "416.32267683963e-14", "939.00000000000416323"),
        ("92.34279271e-26", "-5589078.2651844024658203125", "-5589078.26518440246582031"),
        ("-0x1p-10274", "+2388.827109277030103839933872222900390625", "2388.82710927703010384"),
        // the 64th bit
        ("9223372036854775807", "1", "9223372036854775808"),
        ("18446744073709551615", "1", "18446744073709551616"),
        ("18446744073709551616", "1", "18446744073709551616"),
        ("18446744073709551616", "3", "18446744073709551620"),
        ("36893488147419103232", "2", "36893488147419103232"),
        ("36893488147419103232", "6", "36893488147419103240"),
        ("1e18", "0.25", "1000000000000000000.25"),
        ("99999999999999999", "0.1", "99999999999999999.1015625"),
        ("1.0000000000000000001", "0", "1"),
        ("0x1.fffffffffffffffep0", "0x1p-64", "2"),
        ("1", "-0x1p-65", "1"),
        ("1", "-0x1.8p-65", "1"),
        ("27189457994069139786.5", "-1450414510305966852166", "-1423225052311897712384"),
        ("81606242497240390396", "-81606242497240390396", "0"),
        // large
        ("340282366920938463463374607431768211455", "1", "340282366920938463463374607431768211456"),
        ("74.547552465566587e29", "-279391980295596733.5", "7454755246556379307801250365440"),
        ("99.096533983e25", "-99.096533983e27", "-98105568643169999997181624320"),
        // hexadecimal
        ("523059216089695.916432", "+0X79E02AEC615D", "657062915859388.91644287109375"),
        ("+341747900", "0x514dadbe455349657d.4d3705p-47", "352404503.48649064142955467"),
        ("0x137012e6b3fafcea347690.3a313b329204p-165", "+0x.8", "0.5"),
        ("+0xcb80760980b6a7fd55fa.5p-129", "390", "390.00000000000000142"),
        (
            "+0x1dc992a041a.739573f957b87ae82f8fap19",
            "0x5489ddcca0d7aacbb4c589.ap40",
            "112370994940398091816963895594259054592",
        ),
        // near the least number
        ("3.6e-4951", "0", "0"),
        ("2.1382102043733E-755", "-2.1382102043733E-755", "0"),
        ("0.13013872813432359601939752768048894E-4910", "+3211163.5693", "3211163.56930000000011205"),
    ] {
        assert_eq!(add(value, increment).as_deref(), Ok(sum), "{value} + {increment}");
    }
}

#[test]
fn what_is_not_a_number_is_refused() {
    for text in [
        "",
        "-",
        "+",
        ".",
        "-.",
        "e5",
        ".e5",
        "1e",
        "1e+",
        "0x",
        "0x.",
        "0xp1",
        "0x1p",
        "0x1pf",
        "nan",
        "-nan",
        "nan(1)",
        "infi",
        "infinityy",
        " 1",
        "1 ",
        "1_0",
        "--1",
        "+-1",
        "1.5.2",
        "1e5x",
        "1,5",
        "0b1",
        "1\0",
    ] {
        assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn overflow_and_underflow_to_zero_are_refused() {
    for text in [
        "1e4933",
        "1.2e4932",
        "1.18973149535723176509e4932",
        "1e999999999999999999999",
        "0x1p16384",
        "-1e5000",
        "1e-4951",
        "1.8e-4951",
        "1e-999999999999999999999",
        "0x1p-16446",
        "0x0.8p-16445",
    ] {
        assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
    }
    let least = LongDouble { negative: false, mantissa: 1, exponent: EXPONENT_MIN };
    for text in ["0x1p-16445", "3.6e-4951", "1.9e-4951", "0x0.9p-16445"] {
        assert_eq!(LongDouble::parse(text.as_bytes()), Some(least), "{text:?}");
    }
    let largest = LongDouble { negative: true, mantissa: u64::MAX, exponent: EXPONENT_MAX };
    for text in ["-0xffffffffffffffffp16320", "-1.18973149535723176502126385303097020516906332e4932"] {
        assert_eq!(LongDouble::parse(text.as_bytes()), Some(largest), "{text:?}");
    }
    for text in ["0e99999999999999999999", "-0", "0x0p-999999999999", "0.000e-7", "00"] {
        assert_eq!(LongDouble::parse(text.as_bytes()).map(|zero| zero.mantissa), Some(0), "{text:?}");
    }
}

#[test]
fn infinite_sums_are_refused() {
    for (value, increment) in
        [("inf", "1"), ("1", "-Infinity"), ("inf", "-inf"), ("1e4932", "1e4932"), ("-1e4932", "-0.5e4932")]
    {
        assert_eq!(add(value, increment), Err("infinite"), "{value} + {increment}");
    }
}

#[test]
fn text_is_read_up_to_redis_buffer() {
    assert!(LongDouble::parse(&[b'0'; 5119]).is_some());
    assert!(LongDouble::parse(&[b'0'; 5120]).is_none());
    assert!(LongDouble::parse(&[b'1'; 5119]).is_none(), "ten to the 5118");
    let mut fraction = vec![b'1'; 5119];
    fraction[1] = b'.';
    assert_eq!(text_of(LongDouble::parse(&fraction).unwrap()), "1.11111111111111111");
}

#[test]
fn a_number_of_4933_digits_is_printed_exactly() {
    let text = text_of(LongDouble::parse(b"1e4932").unwrap());
    assert_eq!(text.len(), 4933);
    assert!(text.starts_with("100000000000000000000601894938796389132383777425453311477378504135253301"));
    assert!(text.ends_with("163141086538418113791886622720"));
}

/// `numerator / 2^shift` rounded to 64 bits, ties to even, by definition: both neighbours are tried.
fn nearest(numerator: u128) -> u128 {
    let excess = 128u32.saturating_sub(numerator.leading_zeros()).saturating_sub(64);
    let below = numerator >> excess << excess;
    let above = below + (1 << excess);
    match (numerator - below).cmp(&(above - numerator)) {
        std::cmp::Ordering::Less => below,
        std::cmp::Ordering::Greater => above,
        std::cmp::Ordering::Equal if (below >> excess) & 1 == 0 => below,
        std::cmp::Ordering::Equal => above,
    }
}

proptest! {
    #[test]
    fn integers_are_exact(value: i64) {
        prop_assert_eq!(text_of(LongDouble::from(value)), value.to_string());
        prop_assert_eq!(LongDouble::parse(value.to_string().as_bytes()), Some(LongDouble::from(value)));
    }

    /// Decimal, hexadecimal and scaled forms of one integer, through the short and the long way.
    #[test]
    fn large_integers_are_read_to_the_nearest(value in 1u128..1 << 126, zeros in 0usize..30) {
        let expected = nearest(value).to_string();
        let zeros = "0".repeat(zeros);
        for text in [
            value.to_string(),
            format!("{value:#x}"),
            format!("{zeros}{value}.{zeros}"),
            format!("0.{zeros}{value}e{}", zeros.len() + value.to_string().len()),
            format!("{value}{zeros}e-{}", zeros.len()),
        ] {
            prop_assert_eq!(text_of(LongDouble::parse(text.as_bytes()).unwrap()), &expected[..], "{}", text);
        }
    }

    /// Operands of 64 bits, up to 61 bits apart: their exact sum fits in 126 bits.
    #[test]
    fn sums_are_rounded_to_the_nearest(a: i64, b: i64, apart in 0u32..62) {
        let parse = |value: i128| LongDouble::parse(value.to_string().as_bytes()).unwrap();
        let (large, small) = ((a as i128) << apart, b as i128);
        let sum = large + small;
        let expected = nearest(sum.unsigned_abs()) as i128 * sum.signum();
        prop_assert_eq!(text_of(parse(large).checked_add(parse(small)).unwrap()), expected.to_string());
        prop_assert_eq!(parse(large).checked_add(parse(small)), parse(small).checked_add(parse(large)));
    }

    /// An operand below half of the other's last place never shows, above half of it always does.
    #[test]
    fn a_far_operand_shows_above_half_of_the_last_place(mantissa in (1u64 << 63) + 1..u64::MAX, apart in 0i64..400) {
        let base = LongDouble { negative: false, mantissa, exponent: 0 };
        let quarter = LongDouble { negative: false, mantissa: 1 << 63, exponent: -65 - apart };
        let over_half = LongDouble { negative: false, mantissa: (1 << 63) + 1, exponent: -64 };
        let minus = |number: LongDouble| LongDouble { negative: true, ..number };
        prop_assert_eq!(base.checked_add(quarter), Some(base));
        prop_assert_eq!(base.checked_add(minus(quarter)), Some(base));
        prop_assert_eq!(base.checked_add(over_half), Some(LongDouble { mantissa: mantissa + 1, ..base }));
        prop_assert_eq!(base.checked_add(minus(over_half)), Some(LongDouble { mantissa: mantissa - 1, ..base }));
    }

    /// The long way of reading (forced by leading zeros) agrees with the short one.
    #[test]
    fn short_and_long_decimals_read_the_same(whole in "[0-9]{1,9}", fraction in "[0-9]{0,9}", exponent in -9i64..9) {
        let short = format!("{whole}.{fraction}e{exponent}");
        let long = format!("{}{short}", "0".repeat(20));
        prop_assert_eq!(LongDouble::parse(short.as_bytes()), LongDouble::parse(long.as_bytes()));
    }

    /// `p / 10^k` is read as a number no further from it than half a unit in the last place.
    #[test]
    fn decimals_are_read_to_the_nearest(digits in 1u64..1 << 59, decimals in 0u32..18) {
        let power = 10u64.pow(decimals);
        let number = LongDouble::parse(format!("{digits}e-{decimals}").as_bytes()).unwrap();
        // |digits / 10^k - mantissa * 2^e| <= 2^e / 2, times 2 * 10^k * 2^-e; both sides stay below 2^123.
        let exact = (digits as u128) << (1 - number.exponent);
        let read = number.mantissa as u128 * 2 * power as u128;
        let difference = exact.abs_diff(read);
        prop_assert!(difference <= power as u128, "{} e-{}", digits, decimals);
    }

    #[test]
    fn any_text_is_read_without_panic(text in "[-+]?(0x)?[0-9a-f.]{0,30}([ep][-+]?[0-9]{0,6})?") {
        if let Some(number) = LongDouble::parse(text.as_bytes()) {
            if let Some(sum) = number.checked_add(number) {
                prop_assert!(!text_of(sum).is_empty());
            }
        }
    }
}

//! Numbers of JSON: written as C's `%.14g` does, read as C's `strtod`.

use std::io::Write;

use kora_engine::double;

/// Appends a finite number with so many significant digits (1 to 14): plain when its exponent is from -4 to below their count, else scientific; without
/// trailing zeros.
pub(super) fn write(out: &mut Vec<u8>, number: f64, precision: usize) {
    const EXACT: f64 = 1e14;
    if precision == 14
        && number.trunc() == number
        && number.abs() < EXACT
        && number.to_bits() != (-0.0f64).to_bits()
    {
        out.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
        return;
    }
    // d.ddddde-ddd: at most 14 digits, sign, point and exponent.
    let mut text = [0; 32];
    let mut rest = &mut text[..];
    write!(rest, "{:.*e}", precision - 1, number).expect("32 bytes are enough");
    let unused = rest.len();
    let text = &text[..32 - unused];
    let mut exponent_at = text.len();
    while exponent_at > 0 && text[exponent_at - 1] != b'e' {
        exponent_at -= 1;
    }
    if exponent_at == 0 {
        // Infinite: Rust says inf, as C does.
        out.extend_from_slice(text);
        return;
    }
    let exponent = kora_engine::args::parse_i32(&text[exponent_at..]).unwrap_or(0);
    let (negative, mantissa) = match &text[..exponent_at - 1] {
        [b'-', rest @ ..] => (true, rest),
        all => (false, all),
    };
    let mut digits = [b'0'; 16];
    let mut len = 0;
    for &byte in mantissa.iter().filter(|b| b.is_ascii_digit()) {
        digits[len] = byte;
        len += 1;
    }
    while len > 1 && digits[len - 1] == b'0' {
        len -= 1;
    }
    let digits = &digits[..len];
    if negative {
        out.push(b'-');
    }
    if exponent < -4 || exponent >= precision as i32 {
        out.push(digits[0]);
        if len > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.push(b'e');
        out.push(if exponent < 0 { b'-' } else { b'+' });
        if exponent.abs() < 10 {
            out.push(b'0');
        }
        out.extend_from_slice(itoa::Buffer::new().format(exponent.abs()).as_bytes());
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + (-exponent - 1) as usize, b'0');
        out.extend_from_slice(digits);
    } else {
        let whole = exponent as usize + 1;
        if len <= whole {
            out.extend_from_slice(digits);
            out.resize(out.len() + whole - len, b'0');
        } else {
            out.extend_from_slice(&digits[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        }
    }
}

/// The number that the text begins with, and its length in bytes: decimal, hexadecimal, `inf`, `infinity`, `nan`.
pub(super) fn read(text: &[u8]) -> Option<(f64, usize)> {
    let sign = matches!(text.first(), Some(b'+' | b'-')) as usize;
    let negative = text.first() == Some(&b'-');
    let signed = |value: f64| if negative { -value } else { value };
    let rest = &text[sign..];
    let begins_with =
        |word: &[u8]| rest.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
    if begins_with(b"infinity") {
        return Some((signed(f64::INFINITY), sign + 8));
    }
    if begins_with(b"inf") {
        return Some((signed(f64::INFINITY), sign + 3));
    }
    if begins_with(b"nan") {
        let tail = &rest[3..];
        let in_brackets = match tail.split_first() {
            Some((b'(', inner)) => {
                let end = inner.iter().position(|b| !(b.is_ascii_alphanumeric() || *b == b'_'));
                end.filter(|&end| inner[end] == b')').map_or(0, |end| end + 2)
            }
            _ => 0,
        };
        return Some((signed(f64::NAN), sign + 3 + in_brackets));
    }
    let is_hex = begins_with(b"0x")
        && match rest.get(2..4) {
            Some([b'.', digit]) => digit.is_ascii_hexdigit(),
            _ => rest.get(2).is_some_and(u8::is_ascii_hexdigit),
        };
    let (start, digit, mark): (usize, fn(&u8) -> bool, u8) =
        if is_hex { (2, u8::is_ascii_hexdigit, b'p') } else { (0, u8::is_ascii_digit, b'e') };
    let count = |from: usize, is_digit: fn(&u8) -> bool| {
        rest.get(from..).unwrap_or_default().iter().take_while(|b| is_digit(b)).count()
    };
    let mut end = start + count(start, digit);
    let whole = end - start;
    let mut fraction = 0;
    if rest.get(end) == Some(&b'.') {
        fraction = count(end + 1, digit);
        if whole + fraction > 0 {
            end += 1 + fraction;
        }
    }
    if whole + fraction == 0 {
        return None;
    }
    if rest.get(end).is_some_and(|b| b.eq_ignore_ascii_case(&mark)) {
        let sign = matches!(rest.get(end + 1), Some(b'+' | b'-')) as usize;
        let digits = count(end + 1 + sign, u8::is_ascii_digit);
        if digits > 0 {
            end += 1 + sign + digits;
        }
    }
    let number = &rest[..end];
    let value = if is_hex {
        double::parse(number).unwrap_or(f64::INFINITY)
    } else {
        std::str::from_utf8(number).ok()?.parse().ok()?
    };
    Some((signed(value), sign + end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(number: f64, precision: usize) -> String {
        let mut out = Vec::new();
        write(&mut out, number, precision);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_c_does() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (0.1, "0.1"),
            (1e14, "1e+14"),
            (123456789012345678.0, "1.2345678901235e+17"),
            (99999999999999.0, "99999999999999"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e-10, "1.5e-10"),
            (1e100, "1e+100"),
            (1.0 / 3.0, "0.33333333333333"),
            (100.25, "100.25"),
            (f64::MAX, "1.7976931348623e+308"),
            (5e-324, "4.9406564584125e-324"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(written(number, 14), text);
        }
        assert_eq!(written(3.77777, 3), "3.78");
        assert_eq!(written(12345.0, 3), "1.23e+04");
        assert_eq!(written(9.99, 2), "10");
        assert_eq!(written(0.5, 1), "0.5");
    }

    #[test]
    fn a_number_is_as_long_as_it_can_be() {
        for (text, number, len) in [
            (&b"1,"[..], 1.0, 1),
            (b"-1.5e3]", -1500.0, 6),
            (b"1e", 1.0, 1),
            (b"1e+", 1.0, 1),
            (b"1.", 1.0, 2),
            (b"01", 1.0, 2),
            (b"0x1F", 31.0, 4),
            (b"0xg", 0.0, 1),
            (b"0x", 0.0, 1),
            (b"infinityx", f64::INFINITY, 8),
            (b"-INF", f64::NEG_INFINITY, 4),
            (b"1e999", f64::INFINITY, 5),
        ] {
            assert_eq!(read(text), Some((number, len)), "{text:?}");
        }
        assert_eq!(read(b"nan(ab1)x").map(|(_, len)| len), Some(8));
        for text in [&b"-"[..], b"", b".", b"+-1", b"e5", b"x"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}

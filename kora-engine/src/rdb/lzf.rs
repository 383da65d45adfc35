//! Strings that Redis has compressed with LibLZF.
//!
//! ```text
//! 000LLLLL                        L + 1 bytes follow as they are
//! LLLooooo oooooooo               L + 2 bytes from o + 1 bytes back (L 1 to 6)
//! 111ooooo LLLLLLLL oooooooo      L + 9 bytes from o + 1 bytes back
//! ```
//! Three bytes become 264 at most, so a claimed length beyond that is a lie that need not be allocated.

/// Most bytes that one compressed byte becomes.
const GROWTH_MAX: usize = 88;

/// Puts what the bytes say into `out`, which is emptied before. False when they do not say exactly `len` bytes.
pub(super) fn decompress(input: &[u8], len: usize, out: &mut Vec<u8>) -> bool {
    out.clear();
    if len > input.len().saturating_mul(GROWTH_MAX) {
        return false;
    }
    out.reserve(len);
    let mut rest = input;
    while let Some((&control, after)) = rest.split_first() {
        rest = after;
        if control < 32 {
            let Some((literal, after)) = rest.split_at_checked(control as usize + 1) else { return false };
            out.extend_from_slice(literal);
            rest = after;
        } else {
            let mut count = (control >> 5) as usize + 2;
            if control >> 5 == 7 {
                let Some((&more, after)) = rest.split_first() else { return false };
                count += more as usize;
                rest = after;
            }
            let Some((&low, after)) = rest.split_first() else { return false };
            rest = after;
            let distance = ((control & 31) as usize) << 8 | low as usize;
            let Some(from) = out.len().checked_sub(distance + 1) else { return false };
            copy_within(out, from, count);
        }
        if out.len() > len {
            return false;
        }
    }
    out.len() == len
}

/// Appends `count` bytes from `from` on, which may be bytes that are only now appended: then they repeat.
fn copy_within(out: &mut Vec<u8>, from: usize, mut count: usize) {
    while count > 0 {
        let part = count.min(out.len() - from);
        out.extend_from_within(from..from + part);
        count -= part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_copies() {
        let mut out = Vec::new();
        assert!(decompress(b"\x02abc\x20\x02", 6, &mut out));
        assert_eq!(out, b"abcabc");
        // A run: one byte, repeated from one byte back.
        assert!(decompress(b"\x00x\xe0\x03\x00", 13, &mut out));
        assert_eq!(out, b"xxxxxxxxxxxxx");
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let mut out = Vec::new();
        for (input, len) in [
            (&b"\x02ab"[..], 3),
            (b"\x20\x00", 3),
            (b"\x00x\x20", 4),
            (b"\x00x\xe0\x03", 13),
            (b"\x00x\x20\x01", 4),
            (b"\x02abc", 4),
            (b"\x02abc", 2),
            (b"\x00x", usize::MAX),
            (b"", 1),
        ] {
            assert!(!decompress(input, len, &mut out), "{input:?}");
        }
        assert!(decompress(b"", 0, &mut out));
    }
}

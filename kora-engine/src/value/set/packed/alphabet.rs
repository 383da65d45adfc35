//! Strings of few different characters in fewer bits: hexadecimal digits in 4, letters, digits, `-` and `_` in 6.
//!
//! ```text
//! character 0 in the lowest bits of byte 0, each next one above it; unused bits of the last byte are 0
//! ```
//!
//! Identifiers are mostly made of these. The number of characters is not in the bits: it is kept beside them.

/// In which form the strings of a packed set are; the narrower the greater the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alphabet {
    /// Any bytes.
    Bytes = 0,
    /// `0-9A-Za-z-_`
    Words = 1,
    /// `0-9a-f`
    Hexadecimal = 2,
}

const WORDS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";

/// What is no character of the alphabet.
const NONE: u8 = 0xff;

const fn numbers_of(characters: &[u8]) -> [u8; 256] {
    let mut numbers = [NONE; 256];
    let mut index = 0;
    while index < characters.len() {
        numbers[characters[index] as usize] = index as u8;
        index += 1;
    }
    numbers
}

static WORD_NUMBERS: [u8; 256] = numbers_of(WORDS);
static HEXADECIMAL_NUMBERS: [u8; 256] = numbers_of(HEXADECIMAL);

impl Alphabet {
    /// The alphabet of a number.
    pub(super) fn numbered(number: u8) -> Option<Alphabet> {
        [Alphabet::Bytes, Alphabet::Words, Alphabet::Hexadecimal].get(number as usize).copied()
    }

    /// The narrowest one for a string.
    pub(super) fn of(text: &[u8]) -> Alphabet {
        if text.iter().all(|&byte| HEXADECIMAL_NUMBERS[byte as usize] != NONE) {
            Alphabet::Hexadecimal
        } else if text.iter().all(|&byte| WORD_NUMBERS[byte as usize] != NONE) {
            Alphabet::Words
        } else {
            Alphabet::Bytes
        }
    }

    fn bits(self) -> usize {
        match self {
            Alphabet::Bytes => 8,
            Alphabet::Words => 6,
            Alphabet::Hexadecimal => 4,
        }
    }

    /// Bytes that so many characters take.
    #[inline]
    pub(super) fn packed_len(self, characters: usize) -> usize {
        (characters * self.bits()).div_ceil(8)
    }

    /// Writes a string of this alphabet; `out` has the length of it packed and is zero.
    pub(super) fn pack(self, text: &[u8], out: &mut [u8]) {
        let numbers = match self {
            Alphabet::Bytes => return out.copy_from_slice(text),
            Alphabet::Words => &WORD_NUMBERS,
            Alphabet::Hexadecimal => &HEXADECIMAL_NUMBERS,
        };
        let bits = self.bits();
        let (mut word, mut filled, mut at) = (0u32, 0, 0);
        for &byte in text {
            word |= (numbers[byte as usize] as u32) << filled;
            filled += bits;
            while filled >= 8 {
                out[at] = word as u8;
                word >>= 8;
                filled -= 8;
                at += 1;
            }
        }
        if filled > 0 {
            out[at] = word as u8;
        }
    }

    /// Appends the string of so many characters that is packed in these bytes.
    pub(super) fn unpack(self, packed: &[u8], characters: usize, out: &mut Vec<u8>) {
        let letters: &[u8] = match self {
            Alphabet::Bytes => return out.extend_from_slice(packed),
            Alphabet::Words => WORDS,
            Alphabet::Hexadecimal => HEXADECIMAL,
        };
        let bits = self.bits();
        let (mut word, mut filled, mut bytes) = (0u32, 0, packed.iter());
        out.extend((0..characters).map(|_| {
            if filled < bits {
                word |= (bytes.next().copied().unwrap_or(0) as u32) << filled;
                filled += 8;
            }
            let letter = letters[(word & ((1 << bits) - 1)) as usize];
            word >>= bits;
            filled -= bits;
            letter
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn strings_come_back(text in prop_oneof!["[0-9a-f]{0,70}", "[0-9A-Za-z_-]{0,70}", ".{0,20}"]) {
            let text = text.as_bytes();
            for alphabet in [Alphabet::Bytes, Alphabet::Words, Alphabet::Hexadecimal] {
                if alphabet > Alphabet::of(text) {
                    continue;
                }
                let mut packed = vec![0; alphabet.packed_len(text.len())];
                alphabet.pack(text, &mut packed);
                let mut back = b"before".to_vec();
                alphabet.unpack(&packed, text.len(), &mut back);
                prop_assert_eq!(&back[6..], text);
            }
        }
    }

    #[test]
    fn the_narrowest_alphabet_is_found() {
        assert_eq!(Alphabet::of(b""), Alphabet::Hexadecimal);
        assert_eq!(Alphabet::of(b"00ff"), Alphabet::Hexadecimal);
        assert_eq!(Alphabet::of(b"00FF"), Alphabet::Words);
        assert_eq!(Alphabet::of(b"550e8400-e29b-41d4-a716-446655440000"), Alphabet::Words);
        assert_eq!(Alphabet::of(b"a b"), Alphabet::Bytes);
        assert_eq!(Alphabet::Words.packed_len(36), 27);
        assert_eq!(Alphabet::Hexadecimal.packed_len(5), 3);
    }
}

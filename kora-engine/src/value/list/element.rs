//! Elements of a list as bytes: an integer as an integer, text in six or seven bits a character.
//!
//! A list is many short texts in a row, and what they cost beside their characters is most of what can be saved. So an element
//! has its length before it and nothing behind it (a tail is found by other means, see `block.rs`), and text of which
//! every character is in one of three alphabets of 64 is stored in six bits a character; other ASCII text takes seven.
//!
//! | first byte | element | bytes in all |
//! |---|---|---|
//! | `0x80..=0xff` | integer 0 to 127 | 1 |
//! | `0x60..=0x6b` | integer -512 to -1, 128 to 2687: a rank in 12 * 256 | 2 |
//! | `0x6c..=0x7f` | integer -131584 to -513, 2688 to 1182335: a rank in 20 * 65536 | 3 |
//! | `0x58..=0x5d` | integer in 3 to 8 bytes, little-endian two's complement | 4 to 9 |
//! | `0x20..=0x37` | 4 to 27 characters of the alphabet of names | 1 + 3/4 of them |
//! | `0x38..=0x4f` | 4 to 27 characters of the alphabet of small letters and signs | 1 + 3/4 |
//! | `0x50`, `0x51` | 28 to 255 characters of these alphabets; their number in a byte | 2 + 3/4 |
//! | `0x52` | 8 to 255 characters of the alphabet of words; their number in a byte | 2 + 3/4 |
//! | `0x53` | 16 to 255 ASCII characters; their number in a byte | 2 + 7/8 |
//! | `0x00..=0x1f` | 0 to 31 bytes | 1 + them |
//! | `0x54`, `0x55`, `0x56` | bytes, their number in 1, 2 or 4 bytes | 2, 3, 5 + them |
//!
//! Each text has one encoding (the first of: integer, names, signs, words, ASCII, bytes), so equal elements are equal bytes: a search
//! compares the encoded forms. Characters are packed from the low bits up; the unused bits of the last byte are 0.
//!
//! An element also knows what Redis's listpack would spend on it: the names of forms that OBJECT ENCODING answers
//! depend on that (see `shape.rs`).

use crate::args::parse_i64;
use crate::reply::Reply;

/// Longest decimal text of a 64-bit integer.
const INT_TEXT_MAX: usize = 20;

/// Longest text whose characters are packed. Beyond it a copy is worth more than a quarter of the memory.
pub(crate) const PACKED_MAX: usize = 255;

const SMALL_INT: u8 = 0x80;
const INT2: u8 = 0x60;
const INT3: u8 = 0x6c;
const INT_WIDE: u8 = 0x58;
const RAW_MAX: usize = 0x1f;
const NAME: u8 = 0x20;
const SIGN: u8 = 0x38;
const SHORT_MIN: usize = 4;
const SHORT_MAX: usize = 27;
const LONG: [u8; 4] = [0x50, 0x51, 0x52, 0x53];
const WORD_MIN: usize = 8;
const ASCII_MIN: usize = 16;
const RAW8: u8 = 0x54;
const RAW16: u8 = 0x55;
const RAW32: u8 = 0x56;

/// Integers in two bytes: so many below zero, then from 128 on.
const INT2_NEGATIVE: i64 = 512;
const INT2_END: i64 = 12 * 256 - INT2_NEGATIVE + 128;
/// Integers in three bytes: so many below those, then from `INT2_END` on.
const INT3_NEGATIVE: i64 = 131_072;
const INT3_END: i64 = 20 * 65536 - INT3_NEGATIVE + INT2_END;
const INT3_START: i64 = -INT2_NEGATIVE - INT3_NEGATIVE;

const _: () = assert!(INT2_END == 2688 && INT3_END == 1_182_336 && INT3_START == -131_584);

/// How the characters of a text are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Alphabet {
    /// Digits, letters, `-` and `_`: six bits.
    Names = 0,
    /// Digits, small letters and signs: six bits.
    Signs = 1,
    /// Digits, letters, `:` and space: six bits.
    Words = 2,
    /// Any character below 128: seven bits.
    Ascii = 3,
}

const DIGITS: &[u8] = b"0123456789";
const SMALL: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
const CAPITALS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";

const fn alphabet(parts: &[&[u8]]) -> [u8; 64] {
    let mut characters = [0; 64];
    let (mut part, mut at) = (0, 0);
    while part < parts.len() {
        let mut i = 0;
        while i < parts[part].len() {
            characters[at] = parts[part][i];
            at += 1;
            i += 1;
        }
        part += 1;
    }
    assert!(at == 64);
    characters
}

/// The characters of the alphabets of six bits.
static CHARACTERS: [[u8; 64]; 3] = [
    alphabet(&[DIGITS, SMALL, CAPITALS, b"-_"]),
    alphabet(&[DIGITS, SMALL, b" !\"#$%&'()*+,-./:;<=>?@[]_{}"]),
    alphabet(&[DIGITS, SMALL, CAPITALS, b": "]),
];

/// Of each byte: a bit per alphabet that has it, in the low byte; then its codes in the first three.
static CLASSES: [u32; 256] = classes();

const fn classes() -> [u32; 256] {
    let mut classes = [0; 256];
    let mut alphabet = 0;
    while alphabet < 3 {
        let mut code = 0;
        while code < 64 {
            let character = CHARACTERS[alphabet][code] as usize;
            classes[character] |= 1 << alphabet | (code as u32) << (8 + 8 * alphabet);
            code += 1;
        }
        alphabet += 1;
    }
    let mut character = 0;
    while character < 128 {
        classes[character] |= 1 << Alphabet::Ascii as u8;
        character += 1;
    }
    classes
}

/// Bytes in all of the elements whose first byte says it; 0 for those with a length of their own.
static LENGTHS: [u8; 256] = lengths();

const fn lengths() -> [u8; 256] {
    let mut lengths = [0; 256];
    let mut first = 0;
    while first < 256 {
        lengths[first] = match first as u8 {
            SMALL_INT.. => 1,
            INT3.. => 3,
            INT2.. => 2,
            0x5e..=0x5f => 0,
            INT_WIDE.. => (first - INT_WIDE as usize) as u8 + 4,
            0x50.. => 0,
            SIGN.. => 1 + packed_bytes(first - SIGN as usize + SHORT_MIN, 6) as u8,
            NAME.. => 1 + packed_bytes(first - NAME as usize + SHORT_MIN, 6) as u8,
            _ => first as u8 + 1,
        };
        first += 1;
    }
    lengths
}

/// Bytes of so many characters of so many bits.
const fn packed_bytes(characters: usize, bits: usize) -> usize {
    (characters * bits).div_ceil(8)
}

/// An element of a list, borrowed from where it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element<'a> {
    /// A text that is a canonical 64-bit integer.
    Int(i64),
    /// A text as it is.
    Bytes(&'a [u8]),
    /// A text of few different characters.
    Packed(Packed<'a>),
}

/// A text in six or seven bits a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed<'a> {
    alphabet: Alphabet,
    /// Number of characters.
    len: u8,
    bytes: &'a [u8],
}

impl Packed<'_> {
    /// The text, written into `room`.
    #[inline]
    fn unpack<'r>(&self, room: &'r mut [u8; PACKED_MAX + 1]) -> &'r [u8] {
        match self.alphabet {
            Alphabet::Ascii => unpack::<7>(self.bytes, |code| code, room),
            six => {
                let characters = &CHARACTERS[six as usize];
                unpack::<6>(self.bytes, |code| characters[code as usize & 63], room)
            }
        }
        &room[..self.len as usize]
    }
}

#[inline(always)]
fn unpack<const BITS: usize>(bytes: &[u8], character: impl Fn(u8) -> u8, room: &mut [u8; PACKED_MAX + 1]) {
    let mut chunks = bytes.chunks_exact(BITS);
    let mut eights = room.chunks_exact_mut(8);
    let write = |packed: u64, eight: &mut [u8]| {
        for (i, byte) in eight.iter_mut().enumerate() {
            *byte = character((packed >> (BITS * i)) as u8 & ((1 << BITS) - 1));
        }
    };
    for (chunk, eight) in (&mut chunks).zip(&mut eights) {
        let mut word = [0; 8];
        word[..BITS].copy_from_slice(chunk);
        write(u64::from_le_bytes(word), eight);
    }
    let rest = chunks.remainder();
    if let (false, Some(eight)) = (rest.is_empty(), eights.next()) {
        let packed = rest.iter().rev().fold(0, |packed, &byte| packed << 8 | byte as u64);
        write(packed, eight);
    }
}

/// Packs a text, 8 characters at a time; returns the number of bytes written.
#[inline(always)]
fn pack<const BITS: usize>(text: &[u8], code: impl Fn(u8) -> u8, out: &mut [u8]) -> usize {
    let mut chunks = text.chunks_exact(8);
    let mut at = 0;
    let word = |characters: &[u8]| {
        let codes = characters.iter().enumerate();
        codes.fold(0, |word, (i, &character)| word | (code(character) as u64) << (BITS * i))
    };
    for chunk in &mut chunks {
        out[at..at + BITS].copy_from_slice(&word(chunk).to_le_bytes()[..BITS]);
        at += BITS;
    }
    let rest = chunks.remainder();
    let len = packed_bytes(rest.len(), BITS);
    for (byte, packed) in out[at..at + len].iter_mut().zip(word(rest).to_le_bytes()) {
        *byte = packed;
    }
    at + len
}

impl<'a> Element<'a> {
    /// Answers it as a bulk string.
    #[inline]
    pub fn reply(self, reply: &mut dyn Reply) {
        match self {
            Element::Int(int) => reply.bulk_int(int),
            Element::Bytes(bytes) => reply.bulk(bytes),
            Element::Packed(packed) => reply.bulk(packed.unpack(&mut [0; PACKED_MAX + 1])),
        }
    }

    /// `f` of its text.
    #[inline]
    pub fn with_bytes<T>(self, f: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Element::Int(int) => f(itoa::Buffer::new().format(int).as_bytes()),
            Element::Bytes(bytes) => f(bytes),
            Element::Packed(packed) => f(packed.unpack(&mut [0; PACKED_MAX + 1])),
        }
    }

    /// Its text, copied.
    pub fn to_vec(self) -> Vec<u8> {
        self.with_bytes(<[u8]>::to_vec)
    }

    /// Bytes that it would take in a listpack.
    #[inline]
    pub(crate) fn listpack_len(self) -> usize {
        match self {
            Element::Int(int) => int_listpack_len(int),
            Element::Bytes(bytes) => text_listpack_len(bytes.len()),
            Element::Packed(packed) => text_listpack_len(packed.len as usize),
        }
    }

    /// The element that starts at `at`, and where the next one starts. `bytes` were written by [`Encoded`].
    ///
    /// # Panics
    /// When there is no whole element at `at`.
    #[inline]
    pub(crate) fn decode(bytes: &'a [u8], at: usize) -> (Element<'a>, usize) {
        match Element::try_decode(bytes, at) {
            Some(found) => found,
            None => panic!("no element at {at} of {} bytes", bytes.len()),
        }
    }

    /// The same of bytes that may be anything. That it is the encoding which its text has is not checked.
    #[inline]
    pub(crate) fn try_decode(bytes: &'a [u8], at: usize) -> Option<(Element<'a>, usize)> {
        let first = *bytes.get(at)?;
        let end = at + LENGTHS[first as usize] as usize;
        if end == at {
            return Element::try_decode_long(bytes, at);
        }
        let rest = bytes.get(at + 1..end)?;
        let short = |alphabet, tag: u8| {
            let len = first - tag + SHORT_MIN as u8;
            Element::Packed(Packed { alphabet, len, bytes: rest })
        };
        let element = match first {
            SMALL_INT.. => Element::Int((first & 0x7f) as i64),
            INT3.. => {
                let rank = ((first - INT3) as i64) << 16 | (rest[0] as i64) << 8 | rest[1] as i64;
                Element::Int(if rank < INT3_NEGATIVE {
                    rank + INT3_START
                } else {
                    rank - INT3_NEGATIVE + INT2_END
                })
            }
            INT2.. => {
                let rank = ((first - INT2) as i64) << 8 | rest[0] as i64;
                Element::Int(if rank < INT2_NEGATIVE {
                    rank - INT2_NEGATIVE
                } else {
                    rank - INT2_NEGATIVE + 128
                })
            }
            INT_WIDE.. => {
                let fill = if rest[rest.len() - 1] & 0x80 != 0 { 0xff } else { 0 };
                let mut word = [fill; 8];
                word[..rest.len()].copy_from_slice(rest);
                Element::Int(i64::from_le_bytes(word))
            }
            SIGN.. => short(Alphabet::Signs, SIGN),
            NAME.. => short(Alphabet::Names, NAME),
            _ => Element::Bytes(rest),
        };
        Some((element, end))
    }

    fn try_decode_long(bytes: &'a [u8], at: usize) -> Option<(Element<'a>, usize)> {
        let (start, len) = long_extent(bytes, at)?;
        let end = start.checked_add(len)?;
        let content = bytes.get(start..end)?;
        let packed = |alphabet| {
            let len = bytes[at + 1];
            Element::Packed(Packed { alphabet, len, bytes: content })
        };
        let element = match bytes[at] {
            0x50 => packed(Alphabet::Names),
            0x51 => packed(Alphabet::Signs),
            0x52 => packed(Alphabet::Words),
            0x53 => packed(Alphabet::Ascii),
            _ => Element::Bytes(content),
        };
        Some((element, end))
    }
}

/// Where the content of an element with a length of its own starts, and how many bytes it has.
fn long_extent(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let length = |width: usize| {
        let field = bytes.get(at + 1..at + 1 + width)?;
        let len = field.iter().rev().fold(0usize, |len, &byte| len << 8 | byte as usize);
        Some((at + 1 + width, len))
    };
    match *bytes.get(at)? {
        0x50..=0x52 => length(1).map(|(start, len)| (start, packed_bytes(len, 6))),
        0x53 => length(1).map(|(start, len)| (start, packed_bytes(len, 7))),
        RAW8 => length(1),
        RAW16 => length(2),
        RAW32 => length(4),
        _ => None,
    }
}

/// Where the element after the one at `at` starts. `bytes` were written by [`Encoded`].
#[inline]
pub(crate) fn next(bytes: &[u8], at: usize) -> usize {
    match LENGTHS[bytes[at] as usize] {
        0 => next_long(bytes, at),
        len => at + len as usize,
    }
}

#[cold]
#[inline(never)]
fn next_long(bytes: &[u8], at: usize) -> usize {
    let (start, len) = long_extent(bytes, at).expect("an element");
    start + len
}

/// Bytes of an integer in a listpack, its length behind it included.
fn int_listpack_len(int: i64) -> usize {
    match int {
        0..=127 => 2,
        -4096..=4095 => 3,
        -32_768..=32_767 => 4,
        -8_388_608..=8_388_607 => 5,
        -2_147_483_648..=2_147_483_647 => 6,
        _ => 10,
    }
}

/// Bytes of a text in a listpack, its length behind it included.
fn text_listpack_len(len: usize) -> usize {
    let encoded = match len {
        0..=63 => 1 + len,
        64..=4095 => 2 + len,
        _ => 5 + len,
    };
    encoded
        + match encoded {
            0..=127 => 1,
            128..=16_382 => 2,
            16_383..=2_097_150 => 3,
            2_097_151..=268_435_454 => 4,
            _ => 5,
        }
}

/// Room for what an encoding begins with: all of it, but for the content of texts that stay as they are.
const HEAD_MAX: usize = 232;

const _: () = assert!(HEAD_MAX >= 2 + packed_bytes(PACKED_MAX, 7) && HEAD_MAX.is_multiple_of(8));

/// A text in the form in which lists store it.
pub(crate) struct Encoded<'a> {
    head: [u8; HEAD_MAX],
    head_len: usize,
    /// What follows the head.
    body: &'a [u8],
    /// Bytes that the element would take in a listpack.
    pub(crate) listpack_len: usize,
}

impl<'a> Encoded<'a> {
    /// Encodes a text.
    ///
    /// # Panics
    /// When it is 4 GiB or longer.
    #[inline]
    pub(crate) fn of(text: &'a [u8]) -> Encoded<'a> {
        if text.len() <= INT_TEXT_MAX {
            if let Some(int) = parse_i64(text) {
                return Encoded::of_int(int);
            }
        }
        let mut encoded = Encoded {
            head: [0; HEAD_MAX],
            head_len: 1,
            body: &[],
            listpack_len: text_listpack_len(text.len()),
        };
        if !encoded.pack(text) {
            encoded.body = text;
            match text.len() {
                len @ 0..=RAW_MAX => encoded.head[0] = len as u8,
                len @ 0..=0xff => encoded.set_head(RAW8, &[len as u8]),
                len @ 0..=0xffff => encoded.set_head(RAW16, &(len as u16).to_le_bytes()),
                len => {
                    let len = u32::try_from(len).expect("elements are shorter than 4 GiB");
                    encoded.set_head(RAW32, &len.to_le_bytes());
                }
            }
        }
        encoded
    }

    fn of_int(int: i64) -> Encoded<'a> {
        let mut encoded =
            Encoded { head: [0; HEAD_MAX], head_len: 1, body: &[], listpack_len: int_listpack_len(int) };
        match int {
            0..=127 => encoded.head[0] = SMALL_INT | int as u8,
            INT3_START..INT3_END => {
                if (-INT2_NEGATIVE..INT2_END).contains(&int) {
                    let rank = if int < 0 { int + INT2_NEGATIVE } else { int - 128 + INT2_NEGATIVE };
                    encoded.set_head(INT2 + (rank >> 8) as u8, &[rank as u8]);
                } else {
                    let rank = if int < 0 { int - INT3_START } else { int - INT2_END + INT3_NEGATIVE };
                    encoded.set_head(INT3 + (rank >> 16) as u8, &[(rank >> 8) as u8, rank as u8]);
                }
            }
            _ => {
                let bits = 65 - (int ^ (int >> 63)).leading_zeros() as usize;
                let width = bits.div_ceil(8);
                encoded.set_head(INT_WIDE + width as u8 - 3, &int.to_le_bytes()[..width]);
            }
        }
        encoded
    }

    fn set_head(&mut self, first: u8, rest: &[u8]) {
        self.head[0] = first;
        self.head[1..1 + rest.len()].copy_from_slice(rest);
        self.head_len = 1 + rest.len();
    }

    /// Stores the text in fewer bits if its characters and its length allow it, and that makes it shorter.
    #[inline]
    fn pack(&mut self, text: &[u8]) -> bool {
        if !(SHORT_MIN..=PACKED_MAX).contains(&text.len()) {
            return false;
        }
        let common = text.iter().fold(0xf, |common, &byte| common & CLASSES[byte as usize]);
        let has = |alphabet: Alphabet| common & 1 << alphabet as u8 != 0;
        let alphabet = if has(Alphabet::Names) {
            Alphabet::Names
        } else if has(Alphabet::Signs) {
            Alphabet::Signs
        } else if has(Alphabet::Words) && text.len() >= WORD_MIN {
            Alphabet::Words
        } else if has(Alphabet::Ascii) && text.len() >= ASCII_MIN {
            Alphabet::Ascii
        } else {
            return false;
        };
        let start = match (alphabet, text.len()) {
            (Alphabet::Names, ..=SHORT_MAX) => {
                self.head[0] = NAME + (text.len() - SHORT_MIN) as u8;
                1
            }
            (Alphabet::Signs, ..=SHORT_MAX) => {
                self.head[0] = SIGN + (text.len() - SHORT_MIN) as u8;
                1
            }
            _ => {
                self.head[0] = LONG[alphabet as usize];
                self.head[1] = text.len() as u8;
                2
            }
        };
        let out = &mut self.head[start..];
        let len = match alphabet {
            Alphabet::Ascii => pack::<7>(text, |character| character, out),
            six => {
                let shift = 8 + 8 * six as u32;
                pack::<6>(text, |character| (CLASSES[character as usize] >> shift) as u8 & 63, out)
            }
        };
        self.head_len = start + len;
        true
    }

    /// Bytes of the encoding.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.head_len + self.body.len()
    }

    /// Its first part; the second is [`Encoded::body`].
    #[inline]
    pub(crate) fn head(&self) -> &[u8] {
        &self.head[..self.head_len]
    }

    /// Its second part.
    #[inline]
    pub(crate) fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Writes it into a place of its length.
    #[inline]
    pub(crate) fn write(&self, place: &mut [u8]) {
        let (head, body) = place.split_at_mut(self.head_len);
        head.copy_from_slice(self.head());
        body.copy_from_slice(self.body);
    }

    /// The whole encoding, copied.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        [self.head(), self.body].concat()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Texts of every form, short ones mostly.
    pub(crate) fn texts() -> impl Strategy<Value = Vec<u8>> {
        let of =
            |pattern: &str| proptest::string::string_regex(pattern).unwrap().prop_map(String::into_bytes);
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            (any::<i64>(), 0..64u32).prop_map(|(n, shift)| (n >> shift).to_string().into_bytes()),
            of("[0-9A-Za-z_-]{0,40}"),
            of("[0-9a-z :{}\",./]{0,40}"),
            of("[0-9A-Za-z :]{0,40}"),
            of("[ -~]{0,40}"),
            proptest::collection::vec(any::<u8>(), 0..40),
            (0..70_000usize, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
            (0..300usize, prop::sample::select(&b"a:A~\xff"[..])).prop_map(|(len, byte)| vec![byte; len]),
        ]
    }

    fn len_of(text: &str) -> usize {
        Encoded::of(text.as_bytes()).len()
    }

    #[test]
    fn sizes_are_those_of_the_table() {
        assert_eq!(["0", "127"].map(len_of), [1, 1]);
        assert_eq!(["-1", "-512", "128", "2687"].map(len_of), [2; 4]);
        assert_eq!(["-513", "-131584", "2688", "1182335"].map(len_of), [3; 4]);
        assert_eq!(["-131585", "1182336", "8388607", "-8388608"].map(len_of), [4; 4]);
        assert_eq!(["8388608", "9223372036854775807", "-9223372036854775808"].map(len_of), [5, 9, 9]);
        assert_eq!(["", "a", "abc"].map(len_of), [1, 2, 4]);
        assert_eq!(["abcd", "element:00000001", "0123456789abcdefABCDEF-_"].map(len_of), [4, 13, 19]);
        assert_eq!(["Hello World", "Hello, World! 16"].map(len_of), [11, 16]);
        assert_eq!(len_of(&"a".repeat(255)), 2 + 192);
        assert_eq!(len_of(&"a".repeat(256)), 3 + 256);
    }

    #[test]
    fn listpack_sizes_at_the_borders_of_its_forms() {
        let of = |text: &str| Encoded::of(text.as_bytes()).listpack_len;
        assert_eq!(
            ["127", "128", "-4096", "4096", "-32769", "8388608", "2147483648"].map(of),
            [2, 3, 3, 4, 5, 6, 10]
        );
        assert_eq!(
            [0, 63, 64, 125, 126, 4095, 4096].map(|len| of(&"x".repeat(len))),
            [2, 65, 67, 128, 130, 4099, 4103]
        );
    }

    proptest! {
        #[test]
        fn elements_read_back(texts in proptest::collection::vec(texts(), 0..8)) {
            let mut bytes = Vec::new();
            for text in &texts {
                let encoded = Encoded::of(text);
                let before = bytes.len();
                bytes.resize(before + encoded.len(), 0);
                encoded.write(&mut bytes[before..]);
                prop_assert_eq!(encoded.to_vec(), &bytes[before..]);
                prop_assert!(encoded.len() <= encoded.listpack_len, "never more than a listpack");
            }
            let mut at = 0;
            for text in &texts {
                let (element, end) = Element::decode(&bytes, at);
                prop_assert_eq!(&element.to_vec(), text);
                prop_assert_eq!(element.listpack_len(), Encoded::of(text).listpack_len);
                prop_assert_eq!(next(&bytes, at), end);
                prop_assert_eq!(Element::try_decode(&bytes[..end - 1], at), None);
                at = end;
            }
            prop_assert_eq!(at, bytes.len());
        }

        #[test]
        fn every_integer_reads_back(int in prop_oneof![-200_000i64..1_300_000, any::<i64>()]) {
            let text = int.to_string().into_bytes();
            let bytes = Encoded::of(&text).to_vec();
            prop_assert_eq!(Element::decode(&bytes, 0), (Element::Int(int), bytes.len()));
        }

        #[test]
        fn any_bytes_are_an_element_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..40), at in 0usize..44) {
            if let Some((element, end)) = Element::try_decode(&bytes, at) {
                prop_assert!(end <= bytes.len() && end > at);
                prop_assert_eq!(next(&bytes, at), end);
                element.with_bytes(|_| ());
            }
        }
    }
}

//! Elements of lists and packed hashes as bytes: an integer as an integer, text in six or seven bits a character.
//!
//! Such a collection is many short texts in a row, and what they cost beside their characters is most of what can be saved. So an
//! element has its length before it and nothing behind it (a list finds its tail by other means, see `list/block.rs`), and text of
//! which every character is in one of three alphabets of 64 is stored in six bits a character; other ASCII text takes seven.
//!
//! | first byte | element | bytes in all |
//! |---|---|---|
//! | `0x80..=0xff` | integer 0 to 127 | 1 |
//! | `0x60..=0x6b` | integer -512 to -1, 128 to 2687: a rank in 12 * 256 | 2 |
//! | `0x6c..=0x7f` | integer -131584 to -513, 2688 to 1182335: a rank in 20 * 65536 | 3 |
//! | `0x58..=0x5d` | integer in 3 to 8 bytes, little-endian two's complement | 4 to 9 |
//! | `0x38..=0x4f` | 4 to 27 characters of the alphabet of small letters and signs | 1 + 3/4 of them |
//! | `0x20..=0x37` | 4 to 27 characters of the alphabet of names | 1 + 3/4 |
//! | `0x50`, `0x51` | 28 to 255 characters of these alphabets; their number in a byte | 2 + 3/4 |
//! | `0x52` | 8 to 255 characters of the alphabet of words; their number in a byte | 2 + 3/4 |
//! | `0x53` | 16 to 255 ASCII characters; their number in a byte | 2 + 7/8 |
//! | `0x00..=0x1f` | 0 to 31 bytes | 1 + them |
//! | `0x54`, `0x55`, `0x56` | bytes, their number in 1, 2 or 4 bytes | 2, 3, 5 + them |
//!
//! Each text has one encoding (the first of: integer, signs, names, words, ASCII, bytes), so equal elements are equal bytes: a search
//! compares the encoded forms (see [`Needle`]). No encoding is the beginning of another one. Characters are packed from the low
//! bits up; the unused bits of the last byte are 0.
//!
//! An element also knows what Redis's listpack would spend on it: the names of forms that OBJECT ENCODING answers for lists
//! depend on that (see `list/shape.rs`).

mod needle;
mod pack;

pub(crate) use needle::Needle;

use super::item::{Item, Sink};
use crate::args::parse_i64;
use crate::reply::Reply;
use crate::value::listpack;
use pack::{packed_len, Alphabet, PACKED_MAX, PACKED_ROOM, TEXT_ROOM};

/// Longest decimal text of a 64-bit integer.
const INT_TEXT_MAX: usize = 20;

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
            SIGN.. => 1 + packed_len(Alphabet::Signs, first - SIGN as usize + SHORT_MIN) as u8,
            NAME.. => 1 + packed_len(Alphabet::Names, first - NAME as usize + SHORT_MIN) as u8,
            _ => first as u8 + 1,
        };
        first += 1;
    }
    lengths
}

/// An element, borrowed from where it is stored.
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
    fn unpack<'r>(&self, room: &'r mut [u8; TEXT_ROOM]) -> &'r [u8] {
        pack::unpack(self.alphabet, self.bytes, self.len as usize, room)
    }
}

impl<'a> Element<'a> {
    /// Answers it as a bulk string.
    #[inline]
    pub fn reply(self, reply: &mut dyn Reply) {
        match self {
            Element::Int(int) => reply.bulk_int(int),
            Element::Bytes(bytes) => reply.bulk(bytes),
            Element::Packed(packed) => reply.bulk(packed.unpack(&mut [0; TEXT_ROOM])),
        }
    }

    /// `f` of its text.
    #[inline]
    pub fn with_bytes<T>(self, f: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Element::Int(int) => f(itoa::Buffer::new().format(int).as_bytes()),
            Element::Bytes(bytes) => f(bytes),
            Element::Packed(packed) => f(packed.unpack(&mut [0; TEXT_ROOM])),
        }
    }

    /// `f` of it as collections know it whose members are not packed.
    #[inline]
    pub fn with_item<T>(self, f: impl FnOnce(Item<'_>) -> T) -> T {
        match self {
            Element::Int(int) => f(Item::Int(int)),
            Element::Bytes(bytes) => f(Item::Bytes(bytes)),
            Element::Packed(packed) => f(Item::Bytes(packed.unpack(&mut [0; TEXT_ROOM]))),
        }
    }

    /// Its text, copied.
    pub fn to_vec(self) -> Vec<u8> {
        self.with_bytes(<[u8]>::to_vec)
    }

    /// Length of its text in bytes.
    pub fn text_len(self) -> usize {
        match self {
            Element::Int(int) => itoa::Buffer::new().format(int).len(),
            Element::Bytes(bytes) => bytes.len(),
            Element::Packed(packed) => packed.len as usize,
        }
    }

    /// Bytes that it would take in a listpack.
    #[inline]
    pub(crate) fn listpack_len(self) -> usize {
        match self {
            Element::Int(int) => listpack::int(int) as usize,
            Element::Bytes(bytes) => listpack::text(bytes.len() as u64) as usize,
            Element::Packed(packed) => listpack::text(packed.len as u64) as usize,
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

    /// The same of bytes that may be anything. That it is the encoding which its text has is not checked: see
    /// [`Element::try_decode_canonical`].
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

    /// As [`Element::try_decode`]; none also when it is not the one encoding of its text.
    pub(crate) fn try_decode_canonical(bytes: &'a [u8], at: usize) -> Option<(Element<'a>, usize)> {
        let (element, end) = Element::try_decode(bytes, at)?;
        let canonical = element.with_bytes(|text| Encoded::of(text).is(&bytes[at..end]));
        canonical.then_some((element, end))
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
        0x50..=0x52 => length(1).map(|(start, len)| (start, packed_len(Alphabet::Names, len))),
        0x53 => length(1).map(|(start, len)| (start, packed_len(Alphabet::Ascii, len))),
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

/// Bytes before packed characters, at most.
const TAG_MAX: usize = 2;

/// A text in the form in which it is stored.
pub(crate) struct Encoded<'a> {
    /// What the encoding begins with, from `start` to `end`: all of it, but for the text of those that are not packed.
    head: [u8; TAG_MAX + PACKED_ROOM],
    start: u8,
    end: u8,
    /// The text, when it is not packed.
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
        let mut encoded = Encoded::EMPTY;
        if text.len() <= INT_TEXT_MAX {
            if let Some(int) = parse_i64(text) {
                encoded.set_int(int);
                return encoded;
            }
        }
        encoded.set_text(text);
        encoded
    }

    /// Encodes an item, which knows whether it is an integer.
    ///
    /// # Panics
    /// When its text is 4 GiB or longer.
    // Inlined it would be moved, all 256 bytes of it.
    #[inline(never)]
    pub(crate) fn of_item(item: Item<'a>) -> Encoded<'a> {
        let mut encoded = Encoded::EMPTY;
        match item {
            Item::Int(int) => encoded.set_int(int),
            Item::Bytes(text) => encoded.set_text(text),
        }
        encoded
    }

    const EMPTY: Encoded<'static> =
        Encoded { head: [0; TAG_MAX + PACKED_ROOM], start: 0, end: 1, body: &[], listpack_len: 0 };

    /// Of a text that is no integer.
    #[inline]
    fn set_text(&mut self, text: &'a [u8]) {
        self.listpack_len = listpack::text(text.len() as u64) as usize;
        if !self.pack(text) {
            self.set_bytes(text);
        }
    }

    fn set_int(&mut self, int: i64) {
        self.listpack_len = listpack::int(int) as usize;
        match int {
            0..=127 => self.head[0] = SMALL_INT | int as u8,
            INT3_START..INT3_END => {
                if (-INT2_NEGATIVE..INT2_END).contains(&int) {
                    let rank = if int < 0 { int + INT2_NEGATIVE } else { int - 128 + INT2_NEGATIVE };
                    self.set_tag(INT2 + (rank >> 8) as u8, &[rank as u8]);
                } else {
                    let rank = if int < 0 { int - INT3_START } else { int - INT2_END + INT3_NEGATIVE };
                    self.set_tag(INT3 + (rank >> 16) as u8, &[(rank >> 8) as u8, rank as u8]);
                }
            }
            _ => {
                let bits = 65 - (int ^ (int >> 63)).leading_zeros() as usize;
                let width = bits.div_ceil(8);
                self.set_tag(INT_WIDE + width as u8 - 3, &int.to_le_bytes()[..width]);
            }
        }
    }

    fn set_bytes(&mut self, text: &'a [u8]) {
        self.body = text;
        match text.len() {
            len @ 0..=RAW_MAX => self.head[0] = len as u8,
            len @ 0..=0xff => self.set_tag(RAW8, &[len as u8]),
            len @ 0..=0xffff => self.set_tag(RAW16, &(len as u16).to_le_bytes()),
            len => {
                let len = u32::try_from(len).expect("elements are shorter than 4 GiB");
                self.set_tag(RAW32, &len.to_le_bytes());
            }
        }
    }

    fn set_tag(&mut self, first: u8, rest: &[u8]) {
        self.head[0] = first;
        self.head[1..1 + rest.len()].copy_from_slice(rest);
        self.end = 1 + rest.len() as u8;
    }

    /// Stores the text in fewer bits if its characters and its length allow it, and that makes it shorter.
    #[inline]
    fn pack(&mut self, text: &[u8]) -> bool {
        let len = text.len();
        if !(SHORT_MIN..=PACKED_MAX).contains(&len) {
            return false;
        }
        let out = self.head.last_chunk_mut().expect("it is as long");
        let alphabet = if pack::pack(Alphabet::Signs, text, out) {
            Alphabet::Signs
        } else if pack::pack(Alphabet::Names, text, out) {
            Alphabet::Names
        } else if len >= WORD_MIN && pack::pack(Alphabet::Words, text, out) {
            Alphabet::Words
        } else if len >= ASCII_MIN && pack::pack(Alphabet::Ascii, text, out) {
            Alphabet::Ascii
        } else {
            return false;
        };
        (self.start, self.end) = (1, (TAG_MAX + packed_len(alphabet, len)) as u8);
        match (alphabet, len) {
            (Alphabet::Names, ..=SHORT_MAX) => self.head[1] = NAME + (len - SHORT_MIN) as u8,
            (Alphabet::Signs, ..=SHORT_MAX) => self.head[1] = SIGN + (len - SHORT_MIN) as u8,
            _ => {
                self.head[0] = LONG[alphabet as usize];
                self.head[1] = len as u8;
                self.start = 0;
            }
        }
        true
    }

    /// Bytes of the encoding.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        (self.end - self.start) as usize + self.body.len()
    }

    /// Its first part; the second is [`Encoded::body`].
    #[inline]
    pub(crate) fn head(&self) -> &[u8] {
        &self.head[self.start as usize..self.end as usize]
    }

    /// Its second part.
    #[inline]
    pub(crate) fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Writes it into a place of its length.
    #[inline]
    pub(crate) fn write(&self, place: &mut [u8]) {
        let head = self.head();
        place[..head.len()].copy_from_slice(head);
        if !self.body.is_empty() {
            place[head.len()..].copy_from_slice(self.body);
        }
    }

    /// Adds it at the end.
    #[inline]
    pub(crate) fn append_to(&self, out: &mut impl Sink) {
        out.put(self.head());
        if !self.body.is_empty() {
            out.put(self.body);
        }
    }

    /// Whether these bytes are it.
    #[inline]
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        let head = self.head();
        bytes.len() == self.len() && bytes.starts_with(head) && &bytes[head.len()..] == self.body
    }

    /// The whole encoding, copied.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        self.write(&mut bytes);
        bytes
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
                prop_assert_eq!(element.text_len(), text.len());
                element.with_item(|item| assert_eq!(item, Item::of(text)));
                prop_assert_eq!(Encoded::of_item(Item::of(text)).to_vec(), &bytes[at..end]);
                prop_assert_eq!(Element::try_decode_canonical(&bytes, at), Some((element, end)));
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
                let encoding = element.with_bytes(|text| Encoded::of(text).to_vec());
                let canonical = encoding == bytes[at..end];
                prop_assert_eq!(Element::try_decode_canonical(&bytes, at).is_some(), canonical);
            }
        }
    }
}

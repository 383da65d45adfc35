//! Elements of packed collections as bytes: an integer as an integer, a string with its length before it.
//!
//! | first byte | element |
//! |---|---|
//! | `0x80..=0xff` | an integer 0 to 127, the byte less `0x80` |
//! | `0x00..=0x3f` | a string of so many bytes, which follow |
//! | `0x40..=0x47` | an integer in 1 to 8 bytes, little-endian two's complement |
//! | `0x48` | a string of 64 bytes and more: its length less 64 in one byte, then the bytes |
//! | `0x49`, `0x4a` | a string with its length in two or four bytes, little-endian |
//!
//! There is nothing to walk backwards by: sorted and hashed collections do not, and it would cost a byte per element.

use crate::args::parse_i64;
use crate::reply::Reply;

/// One element, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// A string that is a canonical 64-bit integer; it is always in this form.
    Int(i64),
    /// Any other string.
    Bytes(&'a [u8]),
}

const SMALL_INT: u8 = 0x80;
const SHORT_MAX: usize = 0x3f;
const INT: u8 = 0x40;
const LEN8: u8 = 0x48;
const LEN16: u8 = 0x49;
const LEN32: u8 = 0x4a;
const LEN8_BASE: usize = SHORT_MAX + 1;
const LEN8_MAX: usize = LEN8_BASE + 0xff;
const LEN8_BEYOND: usize = LEN8_MAX + 1;

/// Longest decimal text of a 64-bit integer.
const INT_TEXT_MAX: usize = 20;

impl<'a> Item<'a> {
    /// The element of a string.
    #[inline]
    pub fn of(bytes: &'a [u8]) -> Item<'a> {
        if bytes.len() <= INT_TEXT_MAX {
            if let Some(int) = parse_i64(bytes) {
                return Item::Int(int);
            }
        }
        Item::Bytes(bytes)
    }

    /// Bytes that it takes when encoded.
    pub fn encoded_len(self) -> usize {
        match self {
            Item::Int(0..=127) => 1,
            Item::Int(int) => 1 + int_width(int),
            Item::Bytes(bytes) => bytes.len() + head_len(bytes.len()),
        }
    }

    /// Appends the encoded element.
    ///
    /// # Panics
    /// When a string is 4 GiB or longer.
    pub fn encode(self, out: &mut impl Sink) {
        match self {
            Item::Int(int @ 0..=127) => out.put(&[SMALL_INT | int as u8]),
            Item::Int(int) => {
                let width = int_width(int);
                out.put(&[INT + width as u8 - 1]);
                out.put(&int.to_le_bytes()[..width]);
            }
            Item::Bytes(bytes) => {
                match bytes.len() {
                    len @ 0..=SHORT_MAX => out.put(&[len as u8]),
                    len @ LEN8_BASE..=LEN8_MAX => out.put(&[LEN8, (len - LEN8_BASE) as u8]),
                    len @ LEN8_BEYOND..=0xffff => {
                        let len = (len as u16).to_le_bytes();
                        out.put(&[LEN16, len[0], len[1]]);
                    }
                    len => {
                        let len = u32::try_from(len).expect("elements are shorter than 4 GiB").to_le_bytes();
                        out.put(&[LEN32]);
                        out.put(&len);
                    }
                }
                out.put(bytes);
            }
        }
    }

    /// The element that starts at `at`, and where the next one starts. `packed` was written by [`Item::encode`].
    ///
    /// # Panics
    /// When there is no whole element at `at`.
    #[inline]
    pub fn decode(packed: &'a [u8], at: usize) -> (Item<'a>, usize) {
        let first = packed[at];
        if first >= SMALL_INT {
            return (Item::Int((first & 0x7f) as i64), at + 1);
        }
        if (first as usize) <= SHORT_MAX {
            let end = at + 1 + first as usize;
            return (Item::Bytes(&packed[at + 1..end]), end);
        }
        Item::decode_long(packed, at)
    }

    fn decode_long(packed: &'a [u8], at: usize) -> (Item<'a>, usize) {
        match Item::try_decode_long(packed, at) {
            Some(found) => found,
            None => panic!("no element at {at} of {} packed bytes", packed.len()),
        }
    }

    /// As [`Item::decode`], of bytes that may be anything; none when there is no whole element. (An integer in more bytes than
    /// it needs, or a string that should be an integer, is accepted: check with [`Item::is_canonical`] where it matters.)
    pub fn try_decode(packed: &'a [u8], at: usize) -> Option<(Item<'a>, usize)> {
        let first = *packed.get(at)?;
        if first >= SMALL_INT {
            return Some((Item::Int((first & 0x7f) as i64), at + 1));
        }
        if (first as usize) <= SHORT_MAX {
            let end = at + 1 + first as usize;
            return Some((Item::Bytes(packed.get(at + 1..end)?), end));
        }
        Item::try_decode_long(packed, at)
    }

    fn try_decode_long(packed: &'a [u8], at: usize) -> Option<(Item<'a>, usize)> {
        let first = *packed.get(at)?;
        let bytes_of = |start: usize, len: usize| {
            let end = start.checked_add(len)?;
            Some((Item::Bytes(packed.get(start..end)?), end))
        };
        match first {
            INT..=0x47 => {
                let width = (first - INT) as usize + 1;
                let stored = packed.get(at + 1..at + 1 + width)?;
                let fill = if stored[width - 1] & 0x80 != 0 { 0xff } else { 0 };
                let mut word = [fill; 8];
                word[..width].copy_from_slice(stored);
                Some((Item::Int(i64::from_le_bytes(word)), at + 1 + width))
            }
            LEN8 => bytes_of(at + 2, *packed.get(at + 1)? as usize + LEN8_BASE),
            LEN16 => {
                let len = packed.get(at + 1..at + 3)?.try_into().expect("two bytes");
                bytes_of(at + 3, u16::from_le_bytes(len) as usize)
            }
            LEN32 => {
                let len = packed.get(at + 1..at + 5)?.try_into().expect("four bytes");
                bytes_of(at + 5, u32::from_le_bytes(len) as usize)
            }
            _ => None,
        }
    }

    /// Whether it is the element that [`Item::of`] makes of its text.
    pub fn is_canonical(self) -> bool {
        match self {
            Item::Int(_) => true,
            Item::Bytes(bytes) => Item::of(bytes) == self,
        }
    }

    /// Length of its text in bytes.
    pub fn text_len(self) -> usize {
        match self {
            Item::Int(int) => itoa::Buffer::new().format(int).len(),
            Item::Bytes(bytes) => bytes.len(),
        }
    }

    /// `f` of its text.
    #[inline]
    pub fn with_bytes<T>(self, f: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Item::Int(int) => f(itoa::Buffer::new().format(int).as_bytes()),
            Item::Bytes(bytes) => f(bytes),
        }
    }

    /// Its text, copied.
    pub fn to_vec(self) -> Vec<u8> {
        self.with_bytes(<[u8]>::to_vec)
    }

    /// Answers it as a bulk string.
    #[inline]
    pub fn reply(self, reply: &mut dyn Reply) {
        match self {
            Item::Int(int) => reply.bulk_int(int),
            Item::Bytes(bytes) => reply.bulk(bytes),
        }
    }

    /// The order of the texts, byte by byte.
    pub fn cmp_text(self, other: Item<'_>) -> std::cmp::Ordering {
        match (self, other) {
            (Item::Bytes(a), Item::Bytes(b)) => a.cmp(b),
            _ => self.with_bytes(|a| other.with_bytes(|b| a.cmp(b))),
        }
    }
}

fn head_len(len: usize) -> usize {
    match len {
        0..=SHORT_MAX => 1,
        LEN8_BASE..=LEN8_MAX => 2,
        LEN8_BEYOND..=0xffff => 3,
        _ => 5,
    }
}

/// Bytes of two's complement that hold the integer, 1 to 8.
fn int_width(int: i64) -> usize {
    let bits = 65 - (int ^ (int >> 63)).leading_zeros() as usize;
    bits.div_ceil(8)
}

/// What elements are encoded into.
pub trait Sink {
    /// Adds bytes at the end.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl<A: smallvec::Array<Item = u8>> Sink for smallvec::SmallVec<A> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Sink for super::buffer::Buffer {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            (any::<i64>(), 0..64u32).prop_map(|(n, shift)| (n >> shift).to_string().into_bytes()),
            proptest::collection::vec(any::<u8>(), 0..100),
            (0..70_000usize).prop_map(|len| vec![b'x'; len]),
        ]
    }

    #[test]
    fn integers_take_the_bytes_that_they_need() {
        let of = |int: i64| Item::Int(int).encoded_len();
        assert_eq!([of(0), of(127)], [1, 1]);
        assert_eq!([of(-1), of(-128), of(128), of(255)], [2, 2, 3, 3]);
        assert_eq!([of(32767), of(32768), of(-32768), of(-32769)], [3, 4, 3, 4]);
        assert_eq!([of(i64::MAX), of(i64::MIN)], [9, 9]);
    }

    proptest! {
        #[test]
        fn elements_read_back(texts in proptest::collection::vec(texts(), 0..8)) {
            let mut packed = Vec::new();
            for text in &texts {
                let before = packed.len();
                Item::of(text).encode(&mut packed);
                prop_assert_eq!(packed.len() - before, Item::of(text).encoded_len());
            }
            let (mut at, mut tried) = (0, 0);
            for text in &texts {
                let (item, next) = Item::decode(&packed, at);
                prop_assert_eq!(&item.to_vec(), text);
                prop_assert_eq!(item.text_len(), text.len());
                prop_assert!(item.is_canonical());
                prop_assert_eq!(Item::try_decode(&packed, tried), Some((item, next)));
                (at, tried) = (next, next);
            }
            prop_assert_eq!(at, packed.len());
        }

        #[test]
        fn any_bytes_are_an_element_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..20), at in 0usize..24) {
            if let Some((item, next)) = Item::try_decode(&bytes, at) {
                prop_assert!(next <= bytes.len() && next > at);
                prop_assert_eq!(Item::decode(&bytes, at), (item, next));
            }
        }

        #[test]
        fn the_order_is_that_of_the_texts(a in texts(), b in texts()) {
            prop_assert_eq!(Item::of(&a).cmp_text(Item::of(&b)), a.cmp(&b));
        }
    }
}

//! Collections that Redis packs into one string: listpacks, ziplists, zipmaps and sets of integers, as a row of elements.
//!
//! ```text
//! listpack   bytes u32 | elements u16 | { encoding  content  length backwards } ... | ff
//! ziplist    bytes u32 | last u32 | elements u16 | { length of the one before  encoding  content } ... | ff
//! zipmap     pairs u8 | { length  field  length  unused u8  value  unused bytes } ... | ff
//! intset     width u32 | integers u32 | integers
//! ```
//! The first three are walked forwards, and everything that leads backwards is passed over. What their heads say about sizes must be true, as
//! Redis wants it too.

use crate::value::item::Item;
use crate::value::listpack;

/// How the elements lie in the string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Listpack,
    Ziplist,
    Zipmap,
    Intset,
}

/// A packed collection that is being read. It owns the string, because the reading goes on later.
#[derive(Debug)]
pub(super) struct Packed {
    bytes: Vec<u8>,
    form: Form,
    at: usize,
    /// Of a set of integers: bytes of each.
    width: usize,
    /// Elements that were read.
    count: usize,
}

/// The string is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

const END: u8 = 0xff;
const LISTPACK_HEAD: usize = 6;
const ZIPLIST_HEAD: usize = 10;
/// The count of elements when there are more than it has room for.
const UNCOUNTED: u16 = u16::MAX;

impl Packed {
    /// Begins with a string, whose head is checked. `room` is memory for a copy of it.
    pub(super) fn new(form: Form, string: &[u8], mut room: Vec<u8>) -> Result<Packed, Malformed> {
        room.clear();
        room.extend_from_slice(string);
        let mut packed = Packed { bytes: room, form, at: 0, width: 0, count: 0 };
        packed.check_head().ok_or(Malformed)?;
        Ok(packed)
    }

    fn check_head(&mut self) -> Option<()> {
        let bytes = &self.bytes;
        let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
        let says_its_length = || u32_at(0) == Some(bytes.len()) && bytes.last() == Some(&END);
        let (holds, at) = match self.form {
            Form::Listpack => (bytes.len() > LISTPACK_HEAD && says_its_length(), LISTPACK_HEAD),
            Form::Ziplist => (bytes.len() > ZIPLIST_HEAD && says_its_length(), ZIPLIST_HEAD),
            Form::Zipmap => (bytes.len() >= 2 && bytes.last() == Some(&END), 1),
            Form::Intset => {
                self.width = u32_at(0)?;
                let count = u32_at(4)?;
                let is_whole = count.checked_mul(self.width)?.checked_add(8)? == bytes.len();
                (matches!(self.width, 2 | 4 | 8) && is_whole, 8)
            }
        };
        self.at = at;
        holds.then_some(())
    }

    /// How many elements it says it has; none when there are too many for its head to say.
    fn stated_len(&self) -> Option<usize> {
        let u16_at = |at: usize| u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]);
        match self.form {
            Form::Listpack => Some(u16_at(4)).filter(|&count| count != UNCOUNTED).map(usize::from),
            Form::Ziplist => Some(u16_at(8)).filter(|&count| count != UNCOUNTED).map(usize::from),
            Form::Zipmap => None,
            Form::Intset => Some((self.bytes.len() - 8) / self.width),
        }
    }

    /// Gives the memory back.
    pub(super) fn into_room(self) -> Vec<u8> {
        self.bytes
    }

    /// The next element, none at the end.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Item<'_>>, Malformed> {
        let (item, at) = match self.form {
            Form::Listpack => element(&self.bytes, self.at),
            Form::Ziplist => ziplist(&self.bytes, self.at),
            Form::Zipmap => zipmap(&self.bytes, self.at, self.count % 2 == 1),
            Form::Intset => intset(&self.bytes, self.at, self.width),
        }
        .ok_or(Malformed)?;
        self.at = at;
        match item {
            Some(_) => self.count += 1,
            None if self.stated_len().is_some_and(|stated| stated != self.count) => return Err(Malformed),
            None => {}
        }
        Ok(item)
    }

    /// The next element, which must be there.
    #[inline]
    pub(super) fn need(&mut self) -> Result<Item<'_>, Malformed> {
        self.next()?.ok_or(Malformed)
    }

    /// The next element, which must be an integer.
    pub(super) fn need_int(&mut self) -> Result<i64, Malformed> {
        match self.need()? {
            Item::Int(int) => Ok(int),
            Item::Bytes(bytes) => crate::args::parse_i64(bytes).ok_or(Malformed),
        }
    }
}

/// What a walk gives: the element, none at the end, and where it goes on.
type Step<'a> = Option<(Option<Item<'a>>, usize)>;

/// The end: only the last byte may be it.
fn end(bytes: &[u8], at: usize) -> Step<'_> {
    (at + 1 == bytes.len()).then_some((None, at))
}

fn little_endian(bytes: &[u8]) -> i64 {
    let fill = if bytes[bytes.len() - 1] & 0x80 != 0 { 0xff } else { 0 };
    let mut word = [fill; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(word)
}

#[inline]
fn element(bytes: &[u8], at: usize) -> Step<'_> {
    let first = *bytes.get(at)?;
    let next = |n: usize| bytes.get(at + 1..at + 1 + n);
    let text = |head: usize, len: usize| {
        let start = at + head;
        let end = start.checked_add(len)?;
        Some((Item::Bytes(bytes.get(start..end)?), head + len))
    };
    let int = |n: usize| Some((Item::Int(little_endian(next(n)?)), n + 1));
    let (item, len) = match first {
        0x00..=0x7f => (Item::Int(first.into()), 1),
        0x80..=0xbf => text(1, (first & 0x3f) as usize)?,
        0xc0..=0xdf => {
            let value = i64::from(first & 0x1f) << 8 | i64::from(next(1)?[0]);
            (Item::Int(if value >= 1 << 12 { value - (1 << 13) } else { value }), 2)
        }
        0xe0..=0xef => text(2, ((first & 0x0f) as usize) << 8 | next(1)?[0] as usize)?,
        0xf0 => text(5, u32::from_le_bytes(next(4)?.try_into().ok()?) as usize)?,
        0xf1 => int(2)?,
        0xf2 => int(3)?,
        0xf3 => int(4)?,
        0xf4 => int(8)?,
        END => return end(bytes, at),
        _ => return None,
    };
    let backwards = listpack::backwards(len);
    let next = at + len + backwards;
    // The end byte is never part of an element.
    (next < bytes.len()).then_some((Some(item), next))
}

fn ziplist(bytes: &[u8], at: usize) -> Step<'_> {
    let before = *bytes.get(at)?;
    if before == END {
        return end(bytes, at);
    }
    let at = at + if before < 254 { 1 } else { 5 };
    let first = *bytes.get(at)?;
    let next = |n: usize| bytes.get(at + 1..at + 1 + n);
    let text = |head: usize, len: usize| {
        let start = at + head;
        let end = start.checked_add(len)?;
        Some((Item::Bytes(bytes.get(start..end)?), head + len))
    };
    let int = |n: usize| Some((Item::Int(little_endian(next(n)?)), n + 1));
    let (item, len) = match first {
        0x00..=0x3f => text(1, first as usize)?,
        0x40..=0x7f => text(2, ((first & 0x3f) as usize) << 8 | next(1)?[0] as usize)?,
        0x80 => text(5, u32::from_be_bytes(next(4)?.try_into().ok()?) as usize)?,
        0xc0 => int(2)?,
        0xd0 => int(4)?,
        0xe0 => int(8)?,
        0xf0 => int(3)?,
        0xfe => int(1)?,
        0xf1..=0xfd => (Item::Int(i64::from(first & 0x0f) - 1), 1),
        _ => return None,
    };
    let next = at + len;
    (next < bytes.len()).then_some((Some(item), next))
}

fn zipmap(bytes: &[u8], at: usize, is_value: bool) -> Step<'_> {
    let first = *bytes.get(at)?;
    if first == END {
        return if is_value { None } else { end(bytes, at) };
    }
    let (len, at) = match first {
        254 => (u32::from_le_bytes(bytes.get(at + 1..at + 5)?.try_into().ok()?) as usize, at + 5),
        len => (len as usize, at + 1),
    };
    let (unused, at) = if is_value { (*bytes.get(at)? as usize, at + 1) } else { (0, at) };
    let stop = at.checked_add(len)?;
    let item = Item::Bytes(bytes.get(at..stop)?);
    let next = stop + unused;
    (next < bytes.len()).then_some((Some(item), next))
}

fn intset(bytes: &[u8], at: usize, width: usize) -> Step<'_> {
    if at == bytes.len() {
        return Some((None, at));
    }
    Some((Some(Item::Int(little_endian(&bytes[at..at + width]))), at + width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(form: Form, bytes: &[u8]) -> Result<Vec<String>, Malformed> {
        let mut packed = Packed::new(form, bytes, Vec::new())?;
        let mut elements = Vec::new();
        while let Some(item) = packed.next()? {
            elements.push(item.with_bytes(|text| String::from_utf8_lossy(text).into_owned()));
        }
        Ok(elements)
    }

    #[test]
    fn a_listpack_of_every_encoding() {
        let elements: [&[u8]; 9] = [
            b"\x7f\x01",
            b"\x83abc\x04",
            b"\xdf\xff\x02",
            b"\xe0\x02ab\x04",
            b"\xf0\x01\0\0\0a\x06",
            b"\xf1\x00\x80\x03",
            b"\xf2\xff\xff\x7f\x04",
            b"\xf3\0\0\0\x80\x05",
            b"\xf4\xff\xff\xff\xff\xff\xff\xff\x7f\x09",
        ];
        let body = elements.concat();
        let mut bytes = (body.len() as u32 + 7).to_le_bytes().to_vec();
        bytes.extend([9, 0]);
        bytes.extend(&body);
        bytes.push(0xff);
        let expected =
            ["127", "abc", "-1", "ab", "a", "-32768", "8388607", "-2147483648", "9223372036854775807"];
        assert_eq!(all(Form::Listpack, &bytes).unwrap(), expected);
        for cut in 0..bytes.len() {
            assert!(all(Form::Listpack, &bytes[..cut]).is_err());
        }
    }

    #[test]
    fn a_ziplist_of_every_encoding() {
        let elements: [&[u8]; 9] = [
            b"\x00\x03abc",
            b"\x05\x40\x02ab",
            b"\x05\x80\0\0\0\x01a",
            b"\x07\xc0\x00\x80",
            b"\x04\xd0\0\0\0\x80",
            b"\x06\xe0\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"\xfe\x0a\0\0\0\xf0\xff\xff\x7f",
            b"\x09\xfe\x80",
            b"\x03\xfd",
        ];
        let body = elements.concat();
        let mut bytes = (body.len() as u32 + 11).to_le_bytes().to_vec();
        bytes.extend([0, 0, 0, 0, 9, 0]);
        bytes.extend(&body);
        bytes.push(0xff);
        let expected =
            ["abc", "ab", "a", "-32768", "-2147483648", "9223372036854775807", "8388607", "-128", "12"];
        assert_eq!(all(Form::Ziplist, &bytes).unwrap(), expected);
        for cut in 0..bytes.len() {
            assert!(all(Form::Ziplist, &bytes[..cut]).is_err());
        }
    }

    #[test]
    fn zipmaps_and_sets_of_integers() {
        let map = b"\x02\x03foo\x03\0bar\x05hello\xfe\x05\0\0\0\x02world..\xff";
        assert_eq!(all(Form::Zipmap, map).unwrap(), ["foo", "bar", "hello", "world"]);
        assert!(all(Form::Zipmap, b"\x01\x03foo\xff").is_err());
        let set = b"\x02\0\0\0\x03\0\0\0\xff\xff\x00\x00\x07\x00";
        assert_eq!(all(Form::Intset, set).unwrap(), ["-1", "0", "7"]);
        assert!(all(Form::Intset, &set[..13]).is_err());
        assert!(all(Form::Intset, b"\x03\0\0\0\0\0\0\0").is_err());
        assert!(all(Form::Intset, b"\x08\0\0\0\xff\xff\xff\xff").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_elements_or_not(
            mut bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0xeeu8..=0xff], 0..60),
            form in prop::sample::select(vec![Form::Listpack, Form::Ziplist, Form::Zipmap, Form::Intset]),
        ) {
            let len = bytes.len();
            if let (Form::Listpack | Form::Ziplist, true) = (form, len > 11) {
                bytes[..4].copy_from_slice(&(len as u32).to_le_bytes());
                bytes[len - 1] = 0xff;
            }
            if let Ok(elements) = all(form, &bytes) {
                prop_assert!(elements.len() <= bytes.len());
            }
        }
    }
}

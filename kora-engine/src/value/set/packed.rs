//! A small set of any members in one buffer, in the order in which they came.
//!
//! ```text
//! | number of members u16 | length of the prefix u8 | prefix | item | item | ...
//! ```
//!
//! Members of a set often begin alike (`user:1`, `user:2`), so what all begin with stands once, and an [`Item`] holds
//! only what follows it in the member; there `user:1` is one byte. A lookup takes the prefix off what it looks for (without
//! it the member is not there) and compares encoded bytes. The prefix is looked for each time that the
//! number of members has reached a power of two, and cut when a member comes that does not have it.
//!
//! The prefix never makes two members equal or one ambiguous: with the same prefix, members are equal exactly when the rests
//! are, and an item has one encoding.
//!
//! An empty set is an empty buffer.

use crate::value::buffer::Buffer;
use crate::value::item::Item;

/// Most members: a packed set is searched from end to end, so none should come near.
pub(super) const MEMBERS_MAX: usize = u16::MAX as usize;

/// From so many members on a common prefix is looked for.
const PREFIX_MEMBERS_MIN: usize = 8;

const PREFIX_MAX: usize = u8::MAX as usize;

/// Bytes before the prefix.
const HEAD: usize = 3;

/// Encoded members up to this length are looked for without an allocation.
const NEEDLE_INLINE: usize = 96;

/// The members of a buffer, for reading.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    len: usize,
    prefix: &'a [u8],
    /// Where the items begin.
    items: usize,
    bytes: &'a [u8],
}

/// A member of a packed set: where it stands, and what follows the prefix.
#[derive(Clone, Copy)]
struct Place<'a> {
    start: usize,
    end: usize,
    rest: Item<'a>,
}

impl<'a> Packed<'a> {
    /// Of bytes that this module wrote.
    #[inline]
    pub(super) fn of(bytes: &'a [u8]) -> Packed<'a> {
        if bytes.is_empty() {
            return Packed { len: 0, prefix: &[], items: 0, bytes };
        }
        let items = HEAD + bytes[2] as usize;
        Packed {
            len: u16::from_le_bytes([bytes[0], bytes[1]]) as usize,
            prefix: &bytes[HEAD..items],
            items,
            bytes,
        }
    }

    /// Of bytes that may come from anywhere.
    pub(super) fn checked(bytes: &'a [u8]) -> Option<Packed<'a>> {
        if bytes.len() <= HEAD || bytes.len() < HEAD + bytes[2] as usize {
            return None;
        }
        let packed = Packed::of(bytes);
        let mut seen = std::collections::HashSet::new();
        let mut at = packed.items;
        while at < bytes.len() {
            let (rest, next) = Item::try_decode(bytes, at)?;
            if rest.encoded_len() != next - at || !rest.is_canonical() || !seen.insert(&bytes[at..next]) {
                return None;
            }
            at = next;
        }
        (packed.len > 0 && packed.len == seen.len()).then_some(packed)
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn places(self) -> impl Iterator<Item = Place<'a>> {
        let mut start = self.items;
        std::iter::from_fn(move || {
            if start == self.bytes.len() {
                return None;
            }
            let (rest, end) = Item::decode(self.bytes, start);
            let place = Place { start, end, rest };
            start = end;
            Some(place)
        })
    }

    /// Where the encoded member stands.
    fn find(self, member: &[u8]) -> Option<(usize, usize)> {
        let rest = Item::of(member.strip_prefix(self.prefix)?);
        let mut inline = Inline { bytes: [0; NEEDLE_INLINE], len: 0 };
        let long;
        let needle = if rest.encoded_len() <= NEEDLE_INLINE {
            rest.encode(&mut inline);
            &inline.bytes[..inline.len]
        } else {
            let mut needle = Vec::with_capacity(rest.encoded_len());
            rest.encode(&mut needle);
            long = needle;
            &long[..]
        };
        let mut at = self.items;
        while at < self.bytes.len() {
            let end = encoded_end(self.bytes, at);
            if end - at == needle.len() && self.bytes[at] == needle[0] && self.bytes[at..end] == *needle {
                return Some((at, end));
            }
            at = end;
        }
        None
    }

    #[inline]
    pub(super) fn contains(self, member: &[u8]) -> bool {
        self.find(member).is_some()
    }

    /// Calls with each member in turn until it is told to stop; false when it was.
    pub(super) fn for_each(self, f: &mut dyn FnMut(Item<'_>) -> bool) -> bool {
        let mut text = Text::new(self.prefix);
        self.places().all(|place| text.with(place.rest, &mut *f))
    }

    /// Calls with the member that came as the `index`th of those that are left.
    pub(super) fn with_nth<T>(self, index: usize, f: impl FnOnce(Item<'_>) -> T) -> T {
        let place = self.places().nth(index).expect("an index of a member");
        Text::new(self.prefix).with(place.rest, f)
    }

    /// The buffer of the members that `remove` is false for; not all go.
    pub(super) fn without(self, remove: &mut dyn FnMut(Item<'_>) -> bool) -> Buffer {
        let mut text = Text::new(self.prefix);
        let mut buffer = Buffer::with_capacity(self.bytes.len());
        buffer.extend_from_slice(&self.bytes[..self.items]);
        let mut len = 0u16;
        for place in self.places() {
            if !text.with(place.rest, &mut *remove) {
                buffer.extend_from_slice(&self.bytes[place.start..place.end]);
                len += 1;
            }
        }
        assert!(len > 0);
        buffer[..2].copy_from_slice(&len.to_le_bytes());
        buffer.shrink_to_fit();
        buffer
    }

    /// The longest common beginning of all members.
    fn common_prefix(self) -> Vec<u8> {
        let mut common: Option<Vec<u8>> = None;
        self.for_each(&mut |member| {
            member.with_bytes(|member| match &mut common {
                None => common = Some(member[..member.len().min(PREFIX_MAX)].to_vec()),
                Some(common) => common.truncate(alike(common, member)),
            });
            common.as_ref().is_some_and(|common| !common.is_empty())
        });
        common.unwrap_or_default()
    }

    /// The same members with another prefix, which all have.
    fn with_prefix(self, prefix: &[u8]) -> Buffer {
        let saved = self.len * self.prefix.len().abs_diff(prefix.len());
        let longer = prefix.len() < self.prefix.len();
        let mut buffer = Buffer::with_capacity(self.bytes.len() + if longer { saved } else { 0 });
        buffer.extend_from_slice(&(self.len as u16).to_le_bytes());
        buffer.extend_from_slice(&[prefix.len() as u8]);
        buffer.extend_from_slice(prefix);
        self.for_each(&mut |member| {
            member.with_bytes(|member| Item::of(&member[prefix.len()..]).encode(&mut buffer));
            true
        });
        buffer.shrink_to_fit();
        buffer
    }
}

/// Length of what two strings begin with alike.
fn alike(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Where the encoded item ends that starts at `at`.
#[inline]
fn encoded_end(bytes: &[u8], at: usize) -> usize {
    match bytes[at] {
        0x80.. => at + 1,
        len @ 0..=0x3f => at + 1 + len as usize,
        _ => Item::decode(bytes, at).1,
    }
}

/// An encoded item on the stack.
struct Inline {
    bytes: [u8; NEEDLE_INLINE],
    len: usize,
}

impl crate::value::item::Sink for Inline {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

/// Where prefix and rest become one text.
struct Text {
    prefix: usize,
    /// A member of this prefix can be an integer.
    numeric: bool,
    bytes: Vec<u8>,
}

impl Text {
    fn new(prefix: &[u8]) -> Text {
        let numeric = prefix.first().is_some_and(|first| first.is_ascii_digit() || *first == b'-');
        Text { prefix: prefix.len(), numeric, bytes: prefix.to_vec() }
    }

    fn with<T>(&mut self, rest: Item<'_>, f: impl FnOnce(Item<'_>) -> T) -> T {
        if self.prefix == 0 {
            return f(rest);
        }
        self.bytes.truncate(self.prefix);
        rest.with_bytes(|rest| self.bytes.extend_from_slice(rest));
        f(if self.numeric { Item::of(&self.bytes) } else { Item::Bytes(&self.bytes) })
    }
}

/// Adds a member that is not there. There are fewer than [`MEMBERS_MAX`].
pub(super) fn push(buffer: &mut Buffer, member: &[u8]) {
    if buffer.is_empty() {
        *buffer = Buffer::with_capacity(HEAD + Item::of(member).encoded_len());
        buffer.extend_from_slice(&[0; HEAD]);
    }
    let packed = Packed::of(buffer);
    let len = packed.len + 1;
    assert!(len <= MEMBERS_MAX);
    if !member.starts_with(packed.prefix) {
        let prefix = packed.prefix[..alike(packed.prefix, member)].to_vec();
        *buffer = packed.with_prefix(&prefix);
    }
    let prefix = Packed::of(buffer).prefix.len();
    let rest = Item::of(&member[prefix..]);
    buffer.reserve(rest.encoded_len());
    rest.encode(buffer);
    buffer[..2].copy_from_slice(&(len as u16).to_le_bytes());
    if len.is_power_of_two() && len >= PREFIX_MEMBERS_MIN {
        let packed = Packed::of(buffer);
        let common = packed.common_prefix();
        if common.len() > packed.prefix.len() {
            *buffer = packed.with_prefix(&common);
        }
    }
}

/// Removes a member; false when it is not there.
pub(super) fn remove(buffer: &mut Buffer, member: &[u8]) -> bool {
    let found = Packed::of(buffer).find(member);
    if let Some((start, end)) = found {
        cut(buffer, start, end);
    }
    found.is_some()
}

fn cut(buffer: &mut Buffer, start: usize, end: usize) {
    let len = Packed::of(buffer).len - 1;
    if len == 0 {
        *buffer = Buffer::new();
        return;
    }
    buffer.splice(start..end, &[]);
    buffer[..2].copy_from_slice(&(len as u16).to_le_bytes());
    super::give_back(buffer);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Members with and without common beginnings, integers among them and made by them.
    fn members() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            3 => (0u32..40).prop_map(|n| format!("user:{n}").into_bytes()),
            3 => (0u32..40).prop_map(|n| format!("user:{n:04}").into_bytes()),
            2 => (120i64..160).prop_map(|n| n.to_string().into_bytes()),
            1 => (-1600i64..-1500).prop_map(|n| n.to_string().into_bytes()),
            1 => proptest::collection::vec(any::<u8>(), 0..4),
            1 => (0usize..300).prop_map(|len| vec![b'u'; len]),
        ]
    }

    fn content(buffer: &Buffer) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        Packed::of(buffer).for_each(&mut |member| {
            assert!(member.is_canonical());
            all.push(member.to_vec());
            true
        });
        all
    }

    proptest! {
        #[test]
        fn it_keeps_members_in_the_order_in_which_they_came(
            steps in proptest::collection::vec((0u8..4, members()), 0..120),
        ) {
            let mut buffer = Buffer::new();
            let mut model: Vec<Vec<u8>> = Vec::new();
            for (kind, member) in steps {
                let at = model.iter().position(|other| *other == member);
                prop_assert_eq!(Packed::of(&buffer).contains(&member), at.is_some());
                match (kind, at) {
                    (0, Some(at)) if model.len() > 1 => {
                        buffer = Packed::of(&buffer).without(&mut |other| other.to_vec() == member);
                        model.remove(at);
                    }
                    (0 | 1, _) => {
                        prop_assert_eq!(remove(&mut buffer, &member), at.is_some());
                        if let Some(at) = at {
                            model.remove(at);
                        }
                    }
                    (_, None) => {
                        push(&mut buffer, &member);
                        model.push(member);
                    }
                    (_, Some(at)) => Packed::of(&buffer).with_nth(at, |item| assert_eq!(item.to_vec(), member)),
                }
                prop_assert_eq!(Packed::of(&buffer).len(), model.len());
                prop_assert_eq!(&content(&buffer), &model);
                prop_assert_eq!(Packed::checked(&buffer).is_some(), !model.is_empty());
            }
        }

        #[test]
        fn any_bytes_are_distinct_members_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(packed) = Packed::checked(&bytes) {
                let all = content(&Buffer::from(&bytes[..]));
                prop_assert_eq!(all.len(), packed.len());
                prop_assert!(all.iter().all(|member| packed.contains(member)));
            }
        }
    }

    #[test]
    fn what_members_begin_with_stands_once() {
        let mut buffer = Buffer::new();
        for n in 0..100 {
            push(&mut buffer, format!("a-rather-long-name:{n}").as_bytes());
        }
        assert_eq!(Packed::of(&buffer).prefix, b"a-rather-long-name:");
        assert_eq!(buffer.len(), HEAD + 19 + 100);
        push(&mut buffer, b"a-b");
        assert_eq!(Packed::of(&buffer).prefix, b"a-");
        push(&mut buffer, b"");
        assert_eq!(Packed::of(&buffer).prefix, b"");
        assert_eq!(content(&buffer).len(), 102);
        assert_eq!(content(&buffer)[99], b"a-rather-long-name:99");
    }

    #[test]
    fn walking_ends_when_it_is_told_to() {
        let mut buffer = Buffer::new();
        for member in ["a", "b", "c"] {
            push(&mut buffer, member.as_bytes());
        }
        let mut seen = 0;
        assert!(!Packed::of(&buffer).for_each(&mut |_| {
            seen += 1;
            seen < 2
        }));
        assert_eq!(seen, 2);
    }
}

//! A small set of any members in one buffer, in the order in which they came.
//!
//! ```text
//! | number of members, 14 bits, and alphabet, 2 bits | length of the prefix u8 | prefix | item | item | ...
//! ```
//!
//! Members of a set often begin alike (`user:1`, `user:2`), so what all begin with stands once, and an item holds
//! only what follows it in the member, the rest; there `user:1` is one byte. And often they are made of few different
//! characters, so rests that are no integers are in the narrowest [`Alphabet`] that all of them have. Prefix and alphabet are looked for
//! each time that the number of members has reached a power of two, and given up as far as it must be when a member comes that does
//! not have them.
//!
//! An item is an [`Item`], except that of a string in an alphabet the first byte counts the characters, and that such strings are shorter
//! than 64. A lookup takes the prefix off what it looks for, packs it (if either is not possible, the member is not there) and compares
//! bytes: with the same prefix and alphabet, members are equal exactly when their items are.
//!
//! An empty set is an empty buffer.

mod alphabet;

use crate::value::buffer::Buffer;
use crate::value::item::Item;
use alphabet::Alphabet;

/// Most members: a packed set is searched from end to end, so none should come near.
pub(super) const MEMBERS_MAX: usize = (1 << LEN_BITS) - 1;

const LEN_BITS: u32 = 14;

/// From so many members on a common prefix and an alphabet are looked for.
const LAYOUT_MEMBERS_MIN: usize = 8;

const PREFIX_MAX: usize = u8::MAX as usize;

/// Most characters of a string in an alphabet: the greatest length in an item's first byte.
const CHARACTERS_MAX: usize = 63;

/// Bytes before the prefix.
const HEAD: usize = 3;

/// Encoded members up to this length are looked for without an allocation.
const NEEDLE_INLINE: usize = 96;

/// The members of a buffer, for reading.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    len: usize,
    alphabet: Alphabet,
    prefix: &'a [u8],
    /// Where the items begin.
    items: usize,
    bytes: &'a [u8],
}

/// What follows the prefix in a member, as it is stored.
#[derive(Clone, Copy)]
enum Rest<'a> {
    Item(Item<'a>),
    /// So many characters of the alphabet.
    Characters(usize, &'a [u8]),
}

/// Where a member stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    start: usize,
    end: usize,
    rest: Rest<'a>,
}

impl<'a> Packed<'a> {
    /// Of bytes that this module wrote.
    #[inline]
    pub(super) fn of(bytes: &'a [u8]) -> Packed<'a> {
        if bytes.is_empty() {
            return Packed { len: 0, alphabet: Alphabet::Bytes, prefix: &[], items: 0, bytes };
        }
        let (items, head) = (HEAD + bytes[2] as usize, u16::from_le_bytes([bytes[0], bytes[1]]));
        Packed {
            len: (head & MEMBERS_MAX as u16) as usize,
            alphabet: Alphabet::numbered((head >> LEN_BITS) as u8).expect("a number that was written"),
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
        Alphabet::numbered(bytes[1] >> (LEN_BITS - 8))?;
        let packed = Packed::of(bytes);
        let mut seen = std::collections::HashSet::new();
        let (mut at, mut text, mut again) = (packed.items, Vec::new(), Vec::new());
        while at < bytes.len() {
            let place = packed.try_place(at)?;
            text.clear();
            packed.append(place.rest, &mut text);
            again.clear();
            packed.alphabet.encode(&text, &mut again)?;
            if again != bytes[at..place.end] || !seen.insert(&bytes[at..place.end]) {
                return None;
            }
            at = place.end;
        }
        (packed.len > 0 && packed.len == seen.len()).then_some(packed)
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The item at a place, of bytes that may be anything.
    fn try_place(self, start: usize) -> Option<Place<'a>> {
        let first = *self.bytes.get(start)? as usize;
        if self.alphabet != Alphabet::Bytes && first <= CHARACTERS_MAX {
            let end = start + 1 + self.alphabet.packed_len(first);
            let rest = Rest::Characters(first, self.bytes.get(start + 1..end)?);
            return Some(Place { start, end, rest });
        }
        let (item, end) = Item::try_decode(self.bytes, start)?;
        Some(Place { start, end, rest: Rest::Item(item) })
    }

    fn places(self) -> impl Iterator<Item = Place<'a>> {
        let mut start = self.items;
        std::iter::from_fn(move || {
            if start == self.bytes.len() {
                return None;
            }
            let place = self.try_place(start).expect("an item that was written");
            start = place.end;
            Some(place)
        })
    }

    /// Where the item ends that starts at `at`.
    #[inline]
    fn end_of(self, at: usize) -> usize {
        match self.bytes[at] {
            0x80.. => at + 1,
            len @ 0..=0x3f => at + 1 + self.alphabet.packed_len(len as usize),
            _ => Item::decode(self.bytes, at).1,
        }
    }

    /// Where a member stands.
    fn find(self, member: &[u8]) -> Option<(usize, usize)> {
        let mut needle = Needle { inline: [0; NEEDLE_INLINE], len: 0, long: Vec::new() };
        self.alphabet.encode(member.strip_prefix(self.prefix)?, &mut needle)?;
        let needle = needle.bytes();
        let mut at = self.items;
        while at < self.bytes.len() {
            let end = self.end_of(at);
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

    /// Appends the text of a rest.
    fn append(self, rest: Rest<'_>, text: &mut Vec<u8>) {
        match rest {
            Rest::Item(item) => item.with_bytes(|bytes| text.extend_from_slice(bytes)),
            Rest::Characters(count, packed) => self.alphabet.unpack(packed, count, text),
        }
    }

    /// Calls with the member of a place. `text` is room for it that begins with the prefix.
    fn with_member<T>(self, place: Place<'_>, text: &mut Vec<u8>, f: impl FnOnce(Item<'_>) -> T) -> T {
        if let (Rest::Item(item), true) = (place.rest, self.prefix.is_empty()) {
            return f(item);
        }
        text.truncate(self.prefix.len());
        self.append(place.rest, text);
        // A prefix that begins as a number does can make one of a rest that is none.
        let numeric = self.prefix.first().is_some_and(|first| first.is_ascii_digit() || *first == b'-');
        f(if numeric { Item::of(text) } else { Item::Bytes(text) })
    }

    /// Calls with each member in turn until it is told to stop; false when it was.
    pub(super) fn for_each(self, f: &mut dyn FnMut(Item<'_>) -> bool) -> bool {
        let mut text = self.prefix.to_vec();
        self.places().all(|place| self.with_member(place, &mut text, &mut *f))
    }

    /// Calls with the member that came as the `index`th of those that are left.
    pub(super) fn with_nth<T>(self, index: usize, f: impl FnOnce(Item<'_>) -> T) -> T {
        let place = self.places().nth(index).expect("an index of a member");
        self.with_member(place, &mut self.prefix.to_vec(), f)
    }

    /// The buffer of the members that `remove` is false for; not all go.
    pub(super) fn without(self, remove: &mut dyn FnMut(Item<'_>) -> bool) -> Buffer {
        let mut text = self.prefix.to_vec();
        let mut buffer = Buffer::with_capacity(self.bytes.len());
        buffer.extend_from_slice(&self.bytes[..self.items]);
        let mut len = 0;
        for place in self.places() {
            if !self.with_member(place, &mut text, &mut *remove) {
                buffer.extend_from_slice(&self.bytes[place.start..place.end]);
                len += 1;
            }
        }
        assert!(len > 0);
        set_head(&mut buffer, len, self.alphabet);
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

    /// The same members and one more, with this prefix, which all have, in the narrowest alphabet.
    fn laid_out(self, prefix: &[u8], more: Option<&[u8]>) -> Buffer {
        let mut alphabet = None;
        let mut see = |member: &[u8]| {
            let rest = &member[prefix.len()..];
            if let (Item::Bytes(_), Some(least)) = (Item::of(rest), fitting(rest)) {
                alphabet = Some(alphabet.map_or(least, |others: Alphabet| others.min(least)));
            } else if let Item::Bytes(_) = Item::of(rest) {
                alphabet = Some(Alphabet::Bytes);
            }
        };
        self.for_each(&mut |member| {
            member.with_bytes(&mut see);
            true
        });
        more.into_iter().for_each(see);
        let alphabet = alphabet.unwrap_or(Alphabet::Bytes);
        let mut buffer = Buffer::with_capacity(self.bytes.len());
        buffer.extend_from_slice(&[0, 0, prefix.len() as u8]);
        buffer.extend_from_slice(prefix);
        let mut encode = |member: &[u8]| {
            let mut bytes = Vec::with_capacity(member.len() + 5);
            alphabet.encode(&member[prefix.len()..], &mut bytes).expect("an alphabet of all rests");
            buffer.extend_from_slice(&bytes);
        };
        self.for_each(&mut |member| {
            member.with_bytes(&mut encode);
            true
        });
        more.into_iter().for_each(encode);
        set_head(&mut buffer, self.len + more.is_some() as usize, alphabet);
        buffer.shrink_to_fit();
        buffer
    }
}

/// The narrowest alphabet for a rest that is no integer; none when it is too long for one.
fn fitting(rest: &[u8]) -> Option<Alphabet> {
    (rest.len() <= CHARACTERS_MAX).then(|| Alphabet::of(rest))
}

impl Alphabet {
    /// Appends the item of a rest; none, and nothing appended, when it cannot be in this alphabet.
    fn encode(self, rest: &[u8], out: &mut impl crate::value::item::Sink) -> Option<()> {
        match Item::of(rest) {
            Item::Bytes(_) if self != Alphabet::Bytes => {
                if fitting(rest)? < self {
                    return None;
                }
                let mut packed = [0; CHARACTERS_MAX];
                let packed = &mut packed[..self.packed_len(rest.len())];
                self.pack(rest, packed);
                out.put(&[rest.len() as u8]);
                out.put(packed);
            }
            item => item.encode(out),
        }
        Some(())
    }
}

fn set_head(buffer: &mut Buffer, len: usize, alphabet: Alphabet) {
    assert!(len <= MEMBERS_MAX);
    let head = len as u16 | (alphabet as u16) << LEN_BITS;
    buffer[..2].copy_from_slice(&head.to_le_bytes());
}

/// Length of what two strings begin with alike.
fn alike(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// An encoded item, on the stack if it is short.
struct Needle {
    inline: [u8; NEEDLE_INLINE],
    len: usize,
    long: Vec<u8>,
}

impl Needle {
    fn bytes(&self) -> &[u8] {
        if self.long.is_empty() {
            &self.inline[..self.len]
        } else {
            &self.long
        }
    }
}

impl crate::value::item::Sink for Needle {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        if !self.long.is_empty() || self.len + bytes.len() > NEEDLE_INLINE {
            if self.long.is_empty() {
                self.long.extend_from_slice(&self.inline[..self.len]);
            }
            self.long.extend_from_slice(bytes);
            return;
        }
        self.inline[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

/// Adds a member that is not there. There are fewer than [`MEMBERS_MAX`].
pub(super) fn push(buffer: &mut Buffer, member: &[u8]) {
    if buffer.is_empty() {
        *buffer = Buffer::with_capacity(HEAD + Item::of(member).encoded_len());
        buffer.extend_from_slice(&[0; HEAD]);
    }
    let packed = Packed::of(buffer);
    let (len, alphabet) = (packed.len + 1, packed.alphabet);
    let mut item = Needle { inline: [0; NEEDLE_INLINE], len: 0, long: Vec::new() };
    let fits =
        member.strip_prefix(packed.prefix).is_some_and(|rest| alphabet.encode(rest, &mut item).is_some());
    if fits {
        buffer.extend_from_slice(item.bytes());
        set_head(buffer, len, alphabet);
    } else {
        let prefix = packed.prefix[..alike(packed.prefix, member)].to_vec();
        *buffer = packed.laid_out(&prefix, Some(member));
    }
    if len.is_power_of_two() && len >= LAYOUT_MEMBERS_MIN {
        let packed = Packed::of(buffer);
        let better = packed.laid_out(&packed.common_prefix(), None);
        if better.len() < buffer.len() {
            *buffer = better;
        }
    }
}

/// Removes a member; false when it is not there.
pub(super) fn remove(buffer: &mut Buffer, member: &[u8]) -> bool {
    let Some((start, end)) = Packed::of(buffer).find(member) else { return false };
    let Packed { len, alphabet, .. } = Packed::of(buffer);
    if len == 1 {
        *buffer = Buffer::new();
        return true;
    }
    buffer.splice(start..end, &[]);
    set_head(buffer, len - 1, alphabet);
    super::give_back(buffer);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Members with and without common beginnings, of few and of all characters, integers among them and made by them.
    fn members() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            3 => (0u32..40).prop_map(|n| format!("user:{n}").into_bytes()),
            3 => (0u32..40).prop_map(|n| format!("user:{n:04}").into_bytes()),
            2 => (120i64..160).prop_map(|n| n.to_string().into_bytes()),
            1 => (-1600i64..-1500).prop_map(|n| n.to_string().into_bytes()),
            2 => "[0-9a-f]{0,9}".prop_map(String::into_bytes),
            2 => "[0-9a-zA-Z_-]{5,20}".prop_map(String::into_bytes),
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

    fn packed_of(members: impl IntoIterator<Item = String>) -> Buffer {
        let mut buffer = Buffer::new();
        for member in members {
            push(&mut buffer, member.as_bytes());
        }
        buffer
    }

    proptest! {
        #[test]
        fn it_keeps_members_in_the_order_in_which_they_came(
            kinds in proptest::option::of(0usize..8),
            steps in proptest::collection::vec((0u8..5, members()), 0..120),
        ) {
            let mut buffer = Buffer::new();
            let mut model: Vec<Vec<u8>> = Vec::new();
            // Members of one kind first, so that it has a layout of its own that is then given up.
            let first = kinds.map_or(0, |kind| kind * 5);
            let alike = (0..first).map(|n| (4, format!("{:08x}", n * 0x1234_5679).into_bytes()));
            for (kind, member) in alike.chain(steps) {
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
        fn any_bytes_are_distinct_members_or_refused(
            alphabet in 0u8..4,
            mut bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            if let [len, head, prefix, ..] = &mut bytes[..] {
                // Lengths that could be.
                (*len, *head, *prefix) = (*len & 7, alphabet << 6, *prefix & 3);
            }
            if let Some(packed) = Packed::checked(&bytes) {
                let all = content(&Buffer::from(&bytes[..]));
                prop_assert_eq!(all.len(), packed.len());
                prop_assert!(all.iter().all(|member| packed.contains(member)));
            }
        }
    }

    #[test]
    fn what_members_begin_with_stands_once() {
        let mut buffer = packed_of((0..100).map(|n| format!("a-rather-long-name:{n}")));
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
    fn few_different_characters_take_fewer_bits() {
        let hexadecimal = |n: u64| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut buffer = packed_of((1..65).map(hexadecimal));
        assert_eq!(Packed::of(&buffer).alphabet, Alphabet::Hexadecimal);
        assert_eq!(buffer.len(), HEAD + 64 * 9);
        push(&mut buffer, b"Some-Words_here");
        assert_eq!(Packed::of(&buffer).alphabet, Alphabet::Words);
        push(&mut buffer, b"more than words");
        assert_eq!(Packed::of(&buffer).alphabet, Alphabet::Bytes);
        assert_eq!(content(&buffer).len(), 66);
        let long = packed_of((0..20).map(|n| format!("{n:064x}{n:064x}")));
        assert_eq!(content(&long)[19], format!("{:064x}{:064x}", 19, 19).into_bytes());
    }

    #[test]
    fn walking_ends_when_it_is_told_to() {
        let buffer = packed_of(["a", "b", "c"].map(str::to_owned));
        let mut seen = 0;
        assert!(!Packed::of(&buffer).for_each(&mut |_| {
            seen += 1;
            seen < 2
        }));
        assert_eq!(seen, 2);
    }
}

//! The form of small sorted sets: entries in order in one [`Buffer`].
//!
//! ```text
//! buffer   number of entries (u16), then the entries in ascending order; an empty set is an empty buffer
//! entry    head: form of the score (upper 4 bits), of the member (lower 4 bits)
//!          the score in 0 to 8 bytes          the member
//! ```
//!
//! | form of score | bytes | score |
//! |---|---|---|
//! | 0 | 0 | zero |
//! | 1 to 7 | so many | a whole number, little-endian two's complement |
//! | 8 | 8 | any double |
//! | 9 | 4 | a single-precision number |
//! | 10, 11 | 2 | tenths, hundredths |
//! | 12 to 15 | 4 | hundredths, thousandths, ten-thousandths, millionths |
//!
//! | form of member | member |
//! |---|---|
//! | 0 to 14 | so many bytes that are no canonical integer |
//! | 15 | an [`Item`] |
//!
//! Scores have the shortest form that gives back the very same double. As in Redis's listpacks, negative zero becomes zero.
//! A search goes through the entries one by one: they are few and lie together.

use crate::value::buffer::Buffer;
use crate::value::item::Item;
use std::cmp::Ordering;
use std::ops::Range;

/// Most entries that the form can count.
pub(super) const ENTRIES_MAX: usize = u16::MAX as usize;

const HEADER: usize = 2;
const MEMBER_ITEM: u8 = 15;
const SCORE_DOUBLE: u8 = 8;
const SCORE_SINGLE: u8 = 9;
/// Bytes of a score by its form.
const SCORE_LEN: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 4, 2, 2, 4, 4, 4, 4];
/// From form 10 on: the number of units in one, and bytes.
const FRACTIONS: [(f64, usize); 6] = [(10.0, 2), (100.0, 2), (100.0, 4), (1e3, 4), (1e4, 4), (1e6, 4)];
const FRACTION_FORM: usize = 10;
/// Whole numbers up to this fit 7 bytes, and doubles hold them exactly.
const WHOLE_MAX: f64 = (1u64 << 53) as f64;

/// A score as it is stored.
struct PackedScore {
    form: u8,
    bytes: [u8; 8],
}

impl PackedScore {
    fn of(score: f64) -> PackedScore {
        let int = |form: u8, int: i64| PackedScore { form, bytes: int.to_le_bytes() };
        if score.abs() <= WHOLE_MAX && score == score.trunc() && (score != 0.0 || score.is_sign_positive()) {
            let whole = score as i64;
            let bits = 65 - (whole ^ (whole >> 63)).leading_zeros() as u8;
            return int(if whole == 0 { 0 } else { bits.div_ceil(8) }, whole);
        }
        for (i, (units, len)) in FRACTIONS.into_iter().enumerate() {
            // Singles are as short as the fractions from the third on, and quicker to read.
            if i == 2 && f64::from(score as f32) == score {
                return PackedScore { form: SCORE_SINGLE, bytes: widened((score as f32).to_le_bytes()) };
            }
            let scaled = (score * units).round();
            let limit = if len == 2 { f64::from(i16::MAX) } else { f64::from(i32::MAX) };
            if scaled != 0.0 && scaled.abs() <= limit && (scaled / units).to_bits() == score.to_bits() {
                return int((FRACTION_FORM + i) as u8, scaled as i64);
            }
        }
        PackedScore { form: SCORE_DOUBLE, bytes: score.to_le_bytes() }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..SCORE_LEN[self.form as usize] as usize]
    }
}

fn widened(bytes: [u8; 4]) -> [u8; 8] {
    let mut wide = [0; 8];
    wide[..4].copy_from_slice(&bytes);
    wide
}

/// The score of this form in these bytes, of which there are as many as the form says.
fn score_of(form: u8, bytes: &[u8]) -> f64 {
    let int = || {
        let fill = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
        let mut word = [fill; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        i64::from_le_bytes(word)
    };
    match form {
        0..=7 => int() as f64,
        SCORE_DOUBLE => f64::from_le_bytes(bytes.try_into().expect("a double has 8 bytes")),
        SCORE_SINGLE => f64::from(f32::from_le_bytes(bytes.try_into().expect("a single has 4 bytes"))),
        fraction => int() as f64 / FRACTIONS[fraction as usize - FRACTION_FORM].0,
    }
}

/// Appends one entry. Negative zero keeps its sign here: a packed set is not given any.
pub(super) fn encode(member: Item<'_>, score: f64, out: &mut Vec<u8>) {
    let packed = PackedScore::of(score);
    let head = packed.form << 4;
    match member {
        Item::Bytes(bytes) if bytes.len() < MEMBER_ITEM as usize => {
            out.push(head | bytes.len() as u8);
            out.extend_from_slice(packed.bytes());
            out.extend_from_slice(bytes);
        }
        item => {
            out.push(head | MEMBER_ITEM);
            out.extend_from_slice(packed.bytes());
            item.encode(out);
        }
    }
}

/// The entry at `at` and where the next one begins; none when there is no whole entry. The bytes may be anything, so the score
/// may be NaN.
pub(super) fn try_decode(bytes: &[u8], at: usize) -> Option<(Item<'_>, f64, usize)> {
    let head = *bytes.get(at)?;
    let form = head >> 4;
    let member_at = at + 1 + SCORE_LEN[form as usize] as usize;
    let score = score_of(form, bytes.get(at + 1..member_at)?);
    match head & 0xf {
        MEMBER_ITEM => {
            let (item, end) = Item::try_decode(bytes, member_at)?;
            Some((item, score, end))
        }
        len => {
            let end = member_at + len as usize;
            Some((Item::Bytes(bytes.get(member_at..end)?), score, end))
        }
    }
}

/// Number of entries.
#[inline]
pub(super) fn len(buffer: &[u8]) -> usize {
    match buffer {
        [low, high, ..] => u16::from_le_bytes([*low, *high]) as usize,
        _ => 0,
    }
}

fn set_len(buffer: &mut Buffer, len: usize) {
    let len = u16::try_from(len).expect("more entries take the large form").to_le_bytes();
    buffer[..HEADER].copy_from_slice(&len);
}

/// One entry of a packed set.
#[derive(Debug, Clone)]
pub(super) struct PackedEntry<'a> {
    pub(super) member: Item<'a>,
    pub(super) score: f64,
    /// Where its bytes are.
    pub(super) place: Range<usize>,
}

impl PackedEntry<'_> {
    /// Where it stands compared with a member of a score.
    fn compare(&self, score: f64, member: Item<'_>) -> Ordering {
        if self.score < score {
            Ordering::Less
        } else if self.score > score {
            Ordering::Greater
        } else {
            self.member.cmp_text(member)
        }
    }
}

/// The entries of a packed set, in order.
#[derive(Debug, Clone)]
pub(super) struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Entries<'a> {
    /// The entry that begins at a place that an entry gave.
    pub(super) fn at(bytes: &'a [u8], at: usize) -> Entries<'a> {
        Entries { bytes, at }
    }
}

/// All entries.
#[inline]
pub(super) fn entries(bytes: &[u8]) -> Entries<'_> {
    Entries { bytes, at: HEADER.min(bytes.len()) }
}

impl<'a> Iterator for Entries<'a> {
    type Item = PackedEntry<'a>;

    #[inline]
    fn next(&mut self) -> Option<PackedEntry<'a>> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let (member, score, end) = try_decode(self.bytes, self.at).expect("a packed set holds whole entries");
        let place = self.at..end;
        self.at = end;
        Some(PackedEntry { member, score, place })
    }
}

/// The entry of a member, and its rank.
pub(super) fn find<'a>(bytes: &'a [u8], member: &[u8]) -> Option<(usize, PackedEntry<'a>)> {
    let member = Item::of(member);
    entries(bytes).enumerate().find(|(_, entry)| entry.member == member)
}

/// Number of entries before a member of a score.
pub(super) fn rank_of_place(bytes: &[u8], score: f64, member: &[u8]) -> usize {
    let member = Item::of(member);
    entries(bytes).take_while(|entry| entry.compare(score, member).is_lt()).count()
}

/// Adds a member that is not there.
pub(super) fn insert(buffer: &mut Buffer, member: &[u8], score: f64) {
    if buffer.is_empty() {
        buffer.extend_from_slice(&[0; HEADER]);
    }
    let score = score + 0.0; // negative zero becomes zero
    let item = Item::of(member);
    let after = entries(buffer).find(|entry| entry.compare(score, item).is_gt());
    let at = after.map_or(buffer.len(), |entry| entry.place.start);

    let mut encoded = Vec::with_capacity(member.len() + 16);
    encode(item, score, &mut encoded);
    buffer.splice(at..at, &encoded);
    let count = len(buffer) + 1;
    set_len(buffer, count);
}

/// Adds a member after all others, with a score that is not negative zero.
pub(super) fn push(buffer: &mut Buffer, member: &[u8], score: f64) {
    if buffer.is_empty() {
        buffer.extend_from_slice(&[0; HEADER]);
    }
    let mut encoded = Vec::with_capacity(member.len() + 16);
    encode(Item::of(member), score + 0.0, &mut encoded);
    buffer.extend_from_slice(&encoded);
    let count = len(buffer) + 1;
    set_len(buffer, count);
}

/// Takes the entry at this place away.
pub(super) fn remove(buffer: &mut Buffer, place: Range<usize>) {
    let count = len(buffer) - 1;
    if count == 0 {
        *buffer = Buffer::new();
        return;
    }
    buffer.splice(place, &[]);
    set_len(buffer, count);
    if buffer.capacity() > 64 && buffer.len() * 2 < buffer.capacity() {
        buffer.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn score() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>().prop_filter("no NaN", |score| !score.is_nan()),
            any::<i64>().prop_map(|n| n as f64),
            (-200i64..200).prop_map(|n| n as f64),
            (any::<i32>(), 0usize..7).prop_map(|(n, k)| f64::from(n) / 10f64.powi(k as i32)),
            any::<f32>().prop_filter("no NaN", |score| !score.is_nan()).prop_map(f64::from),
        ]
    }

    fn member() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            (0u8..20).prop_map(|n| format!("m{n}").into_bytes()),
            (0u8..20).prop_map(|n| n.to_string().into_bytes()),
        ]
    }

    #[test]
    fn scores_take_as_few_bytes_as_their_kind_needs() {
        for (score, len) in [
            (0.0, 0),
            (-0.0, 4),
            (1.0, 1),
            (-128.0, 1),
            (128.0, 2),
            (1_700_000_000.0, 4),
            (9007199254740992.0, 7),
            (-9007199254740992.0, 7),
            (9007199254740994.0, 8),
            (0.5, 2),
            (3276.7, 2),
            (99.99, 2),
            (1234.56, 4),
            (16777217.5, 4),
            (0.000001, 4),
            (0.1 + 0.2, 8),
            (1.0 / 1024.0, 4),
            (f64::INFINITY, 4),
            (5e-324, 8),
        ] {
            let packed = PackedScore::of(score);
            assert_eq!(packed.bytes().len(), len, "{score}");
            assert_eq!(score_of(packed.form, packed.bytes()).to_bits(), score.to_bits(), "{score}");
        }
    }

    proptest! {
        #[test]
        fn entries_come_back(member in member(), score in score()) {
            let mut bytes = vec![7];
            encode(Item::of(&member), score, &mut bytes);
            let (item, found, end) = try_decode(&bytes, 1).unwrap();
            prop_assert_eq!((item, found.to_bits(), end), (Item::of(&member), score.to_bits(), bytes.len()));
            for len in 1..bytes.len() {
                prop_assert!(try_decode(&bytes[..len], 1).is_none());
            }
        }

        #[test]
        fn hostile_bytes_are_entries_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut at = 0;
            while let Some((_, _, end)) = try_decode(&bytes, at) {
                prop_assert!(end > at && end <= bytes.len());
                at = end;
            }
        }

        #[test]
        fn a_packed_set_is_a_sorted_vector(
            steps in prop::collection::vec((member(), score(), any::<bool>()), 0..80)
        ) {
            let mut buffer = Buffer::new();
            let mut model: Vec<(f64, Vec<u8>)> = Vec::new();
            for (member, score, removes) in steps {
                let found = find(&buffer, &member).map(|(rank, entry)| (rank, entry.score, entry.place));
                prop_assert_eq!(
                    found.as_ref().map(|(rank, score, _)| (*rank, *score)),
                    model.iter().position(|(_, other)| *other == member).map(|rank| (rank, model[rank].0))
                );
                match found {
                    Some((rank, _, place)) if removes => {
                        remove(&mut buffer, place);
                        model.remove(rank);
                    }
                    Some(_) => {}
                    None => {
                        insert(&mut buffer, &member, score);
                        model.push((score, member));
                        model.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap().then_with(|| a.1.cmp(&b.1)));
                    }
                }
                prop_assert_eq!(len(&buffer), model.len());
                let got: Vec<_> = entries(&buffer).map(|entry| (entry.score, entry.member.to_vec())).collect();
                prop_assert_eq!(&got, &model);
            }
        }
    }
}

//! Fields of a few bits one after the other, without regard to the borders of bytes.
//!
//! ```text
//! bit n of a row = bit n % 8 of byte n / 8          a field has 1 to 64 bits, its lowest bit first
//! ```
//!
//! A field of at most 57 bits lies in one unaligned word of eight bytes; a wider one may need a ninth byte. Insertion and removal
//! move what follows by the width of a field: a word at a time, or as bytes where fields are whole bytes.
//!
//! The bits between the end of a row and the end of its last byte are 0: what moves brings zeros with it.

use crate::value::buffer::Buffer;

const WORD: usize = size_of::<u64>();

/// The set bits of a field of this width, 1 to 64.
#[inline]
pub(super) fn mask(width: usize) -> u64 {
    u64::MAX >> (64 - width)
}

/// Eight bytes, the first at `at`; behind the last there are zeros.
#[inline]
pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..at + WORD) {
        Some(word) => u64::from_le_bytes(word.try_into().expect("eight bytes")),
        None => last_word(bytes, at),
    }
}

/// Apart, so that the loops around it stay short.
#[inline(never)]
fn last_word(bytes: &[u8], at: usize) -> u64 {
    if let Some(&last) = bytes.last_chunk() {
        // The same bytes in the word before them; all of them are behind the end when it is a word away.
        let behind = 8 * (at + WORD - bytes.len()) as u32;
        return u64::from_le_bytes(last).checked_shr(behind).unwrap_or(0);
    }
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().rev().fold(0, |word, &byte| word << 8 | byte as u64)
}

/// Writes the first bytes of a word, as many as there is room for.
#[inline]
fn put(bytes: &mut [u8], word: u64) {
    let word = word.to_le_bytes();
    match bytes.first_chunk_mut() {
        Some(bytes) => *bytes = word,
        None => bytes.copy_from_slice(&word[..bytes.len()]),
    }
}

/// The field of a row that begins at bit `at`.
#[inline]
pub(super) fn get(row: &[u8], at: usize, width: usize) -> u64 {
    let (byte, shift) = (at / 8, at % 8);
    let mut field = word(row, byte) >> shift;
    if shift + width > 64 {
        field |= (row[byte + WORD] as u64) << (64 - shift);
    }
    field & mask(width)
}

/// Puts a field before bit `at` of a row of `end` bits. Fields of whole bytes lie at the borders of bytes.
pub(super) fn insert(row: &mut Buffer, at: usize, end: usize, width: usize, field: u64) {
    debug_assert!(at <= end && row.len() == end.div_ceil(8) && field <= mask(width));
    let (byte, shift) = (at / 8, at % 8);
    if width.is_multiple_of(8) {
        assert!(shift == 0);
        row.splice(byte..byte, &field.to_le_bytes()[..width / 8]);
        return;
    }
    for _ in row.len()..(end + width).div_ceil(8) {
        row.push(0);
    }
    let bits = 8 * row.len();
    if at == end && bits - at <= 64 {
        if let Some(last) = row.last_chunk_mut() {
            // Numbers often come in their order.
            *last = (u64::from_le_bytes(*last) | field << (at + 64 - bits)).to_le_bytes();
            return;
        }
    }
    let (first, second) = (word(row, byte), word(row, byte + WORD));
    let tail = &mut row[byte..];
    if let Some(above) = tail.get_mut(WORD..) {
        shift_up(above, width);
    }
    let stay = first & !(u64::MAX << shift);
    let moved = (field as u128) << shift | ((first >> shift) as u128) << (shift + width);
    put(tail, stay | moved as u64);
    // What the first word has no place for any more begins the next one.
    if let Some(next) = tail.get_mut(WORD..) {
        put(next, second << width | (moved >> 64) as u64);
    }
}

/// Takes the field at bit `at` out of a row of `end` bits. Fields of whole bytes lie at the borders of bytes.
pub(super) fn remove(row: &mut Buffer, at: usize, end: usize, width: usize) {
    debug_assert!(at + width <= end && row.len() == end.div_ceil(8));
    let (byte, shift) = (at / 8, at % 8);
    if width.is_multiple_of(8) {
        assert!(shift == 0);
        row.splice(byte..byte + width / 8, &[]);
        return;
    }
    let (first, second) = (word(row, byte), word(row, byte + WORD));
    let tail = &mut row[byte..];
    shift_down(tail, width);
    let before = !(u64::MAX << shift);
    put(tail, first & before | (first >> width | second << (64 - width)) & !before);
    row.truncate((end - width).div_ceil(8));
}

/// Words that are moved together, so that vectors can do it.
const BLOCK: usize = 4;

/// Moves all bits up by less than a word. The first word becomes any.
fn shift_up(bytes: &mut [u8], width: usize) {
    let moved = |word: u64, below: u64| word << width | below >> (64 - width);
    if bytes.len() <= WORD {
        return;
    }
    // The last word overlaps the one before it: it is made before that is moved, and written afterwards.
    let last = bytes.len() - WORD;
    let below = match last.checked_sub(WORD) {
        Some(at) => word(bytes, at),
        None => word(bytes, 0) << (64 - 8 * last),
    };
    let top = moved(word(bytes, last), below);
    let (words, _) = bytes.as_chunks_mut::<WORD>();
    let mut end = words.len();
    while let Some((_, block)) = words[..end].split_last_chunk_mut::<{ BLOCK + 1 }>() {
        let old = block.map(u64::from_le_bytes);
        for i in 0..BLOCK {
            block[i + 1] = moved(old[i + 1], old[i]).to_le_bytes();
        }
        end -= BLOCK;
    }
    for i in (1..end).rev() {
        words[i] = moved(u64::from_le_bytes(words[i]), u64::from_le_bytes(words[i - 1])).to_le_bytes();
    }
    put(&mut bytes[last..], top);
}

/// Moves all bits down by less than a word. Zeros come after them.
fn shift_down(bytes: &mut [u8], width: usize) {
    let moved = |word: u64, above: u64| word >> width | above << (64 - width);
    let last = bytes.len().saturating_sub(WORD);
    let (top, rest) = (word(bytes, last), word(bytes, bytes.len() & !(WORD - 1)));
    let (words, _) = bytes.as_chunks_mut::<WORD>();
    let mut from = 0;
    while let Some((block, _)) = words[from..].split_first_chunk_mut::<{ BLOCK + 1 }>() {
        let old = block.map(u64::from_le_bytes);
        for i in 0..BLOCK {
            block[i] = moved(old[i], old[i + 1]).to_le_bytes();
        }
        from += BLOCK;
    }
    for i in from..words.len() {
        let above = words.get(i + 1).map_or(rest, |&above| u64::from_le_bytes(above));
        words[i] = moved(u64::from_le_bytes(words[i]), above).to_le_bytes();
    }
    put(&mut bytes[last..], top >> width);
}

/// Writes fields at the end of a buffer, from the border of a byte on.
pub(super) struct Writer<'b> {
    buffer: &'b mut Buffer,
    width: usize,
    /// What is not written yet: fewer than 64 bits.
    word: u64,
    bits: usize,
}

impl<'b> Writer<'b> {
    pub(super) fn new(buffer: &'b mut Buffer, width: usize) -> Writer<'b> {
        Writer { buffer, width, word: 0, bits: 0 }
    }

    #[inline]
    pub(super) fn push(&mut self, field: u64) {
        debug_assert!(field <= mask(self.width));
        self.word |= field << self.bits;
        self.bits += self.width;
        if self.bits >= 64 {
            self.buffer.extend_from_slice(&self.word.to_le_bytes());
            self.bits -= 64;
            // The bits that had no place: all of them were written when there are none.
            self.word = field.checked_shr((self.width - self.bits) as u32).unwrap_or(0);
        }
    }

    pub(super) fn finish(self) {
        self.buffer.extend_from_slice(&self.word.to_le_bytes()[..self.bits.div_ceil(8)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes before the fields, so that these do not always begin a word.
    fn written(head: usize, width: usize, fields: &[u64]) -> Buffer {
        let mut buffer = Buffer::from(&vec![0xa5; head][..]);
        let mut writer = Writer::new(&mut buffer, width);
        fields.iter().for_each(|&field| writer.push(field));
        writer.finish();
        buffer
    }

    /// Bit by bit.
    fn naive(head: usize, width: usize, fields: &[u64]) -> Vec<u8> {
        let mut bytes = vec![0xa5; head];
        bytes.resize(head + (width * fields.len()).div_ceil(8), 0);
        for (index, field) in fields.iter().enumerate() {
            for bit in 0..width {
                let to = 8 * head + index * width + bit;
                bytes[to / 8] |= ((field >> bit & 1) as u8) << (to % 8);
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn fields_are_a_vec_of_numbers(
            head in 0usize..12,
            width in 1usize..=64,
            fields in proptest::collection::vec(any::<u64>(), 0..40),
            steps in proptest::collection::vec((any::<bool>(), any::<usize>(), any::<u64>()), 0..40),
        ) {
            let mut fields: Vec<u64> = fields.iter().map(|field| field & mask(width)).collect();
            let mut row = written(head, width, &fields);
            for (removes, at, field) in steps {
                let (len, end) = (fields.len(), 8 * head + fields.len() * width);
                if removes && len > 0 {
                    let at = at % len;
                    fields.remove(at);
                    remove(&mut row, 8 * head + at * width, end, width);
                } else {
                    let at = at % (len + 1);
                    fields.insert(at, field & mask(width));
                    insert(&mut row, 8 * head + at * width, end, width, field & mask(width));
                }
                prop_assert_eq!(&row[..], &naive(head, width, &fields)[..]);
            }
            prop_assert_eq!(&row, &written(head, width, &fields));
            for (index, &field) in fields.iter().enumerate() {
                prop_assert_eq!(get(&row, 8 * head + index * width, width), field);
            }
        }

        #[test]
        fn a_word_ends_in_zeros(bytes in proptest::collection::vec(any::<u8>(), 0..20), at in 0usize..40) {
            let naive = (0..8).rev().fold(0, |word, i| word << 8 | *bytes.get(at + i).unwrap_or(&0) as u64);
            prop_assert_eq!(word(&bytes, at), naive);
        }
    }
}

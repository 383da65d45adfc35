//! Text in six or seven bits a character.
//!
//! | alphabet | characters, in the order of their codes |
//! |---|---|
//! | names | `0-9 a-z A-Z - _` |
//! | signs | space to `@` (digits among them), `a-z [ ] _ { }` |
//! | words | `0-9 a-z A-Z :` and space |
//! | ASCII | all below 128 |
//!
//! Sixteen characters at a time: ranges of characters become codes without a branch and without a table, in a vector register where there is
//! one that every processor of the architecture has; then the codes are moved together in pairs, pairs of pairs and so on. The first
//! character is in the lowest bits of the first byte; unused bits of the last byte are 0. Sixteen characters take about 80
//! instructions either way.

/// Longest text that is packed.
pub(super) const PACKED_MAX: usize = 255;

/// Room for the packed form of the longest text, and the scratch behind it.
pub(super) const PACKED_ROOM: usize = 16 * 14;

/// Room for the longest text.
pub(super) const TEXT_ROOM: usize = 256;

const CHUNK: usize = 16;
const _: () = assert!(TEXT_ROOM.is_multiple_of(CHUNK) && TEXT_ROOM > PACKED_MAX);
const _: () = assert!(PACKED_ROOM >= PACKED_MAX.div_ceil(CHUNK) * 14);

/// Which characters a packed text may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Alphabet {
    /// Identifiers.
    Names,
    /// Small letters and what keys, numbers, dates and JSON are written with.
    Signs,
    /// Words with capitals.
    Words,
    /// The rest, in seven bits.
    Ascii,
}

/// Bytes of so many characters.
pub(super) const fn packed_len(alphabet: Alphabet, characters: usize) -> usize {
    let bits = match alphabet {
        Alphabet::Ascii => 7,
        _ => 6,
    };
    (characters * bits).div_ceil(8)
}

/// Characters in a row whose codes are in a row.
#[derive(Clone, Copy)]
struct Run {
    first: u8,
    count: u8,
    code: u8,
}

impl Run {
    const fn of(first: u8, count: u8, code: u8) -> Run {
        Run { first, count, code }
    }

    /// What its characters are above their codes.
    const fn above(self) -> u8 {
        self.first.wrapping_sub(self.code)
    }
}

/// An alphabet of 64 characters: its runs in the order of codes.
type Runs<const N: usize> = [Run; N];

const NAMES: Runs<5> = [
    Run::of(b'0', 10, 0),
    Run::of(b'a', 26, 10),
    Run::of(b'A', 26, 36),
    Run::of(b'-', 1, 62),
    Run::of(b'_', 1, 63),
];

const SIGNS: Runs<7> = [
    Run::of(b' ', 33, 0),
    Run::of(b'a', 26, 33),
    Run::of(b'[', 1, 59),
    Run::of(b']', 1, 60),
    Run::of(b'_', 1, 61),
    Run::of(b'{', 1, 62),
    Run::of(b'}', 1, 63),
];

const WORDS: Runs<5> = [
    Run::of(b'0', 10, 0),
    Run::of(b'a', 26, 10),
    Run::of(b'A', 26, 36),
    Run::of(b':', 1, 62),
    Run::of(b' ', 1, 63),
];

/// Codes of sixteen characters and back, in vector registers. None of the intrinsics touches memory.
#[cfg(target_arch = "x86_64")]
mod vector {
    use super::{Runs, CHUNK};
    use std::arch::x86_64::*;

    #[target_feature(enable = "sse2")]
    #[inline]
    fn load(bytes: [u64; 2]) -> __m128i {
        _mm_set_epi64x(bytes[1] as i64, bytes[0] as i64)
    }

    #[target_feature(enable = "sse2")]
    #[inline]
    fn store(vector: __m128i) -> [u64; 2] {
        let upper = _mm_unpackhi_epi64(vector, vector);
        [_mm_cvtsi128_si64(vector) as u64, _mm_cvtsi128_si64(upper) as u64]
    }

    #[target_feature(enable = "sse2")]
    #[inline]
    fn all(byte: u8) -> __m128i {
        _mm_set1_epi8(byte as i8)
    }

    #[target_feature(enable = "sse2")]
    #[inline]
    fn codes_sse2<const N: usize>(runs: &Runs<N>, characters: [u64; 2]) -> Option<[u64; 2]> {
        let characters = load(characters);
        let (mut above, mut known) = (all(0), all(0));
        for run in runs {
            let offset = _mm_sub_epi8(characters, all(run.first));
            let inside = _mm_cmpeq_epi8(_mm_min_epu8(offset, all(run.count - 1)), offset);
            above = _mm_or_si128(above, _mm_and_si128(inside, all(run.above())));
            known = _mm_or_si128(known, inside);
        }
        if _mm_movemask_epi8(known) != (1 << CHUNK) - 1 {
            return None;
        }
        Some(store(_mm_sub_epi8(characters, above)))
    }

    #[target_feature(enable = "sse2")]
    #[inline]
    fn characters_sse2<const N: usize>(runs: &Runs<N>, codes: [u64; 2]) -> [u64; 2] {
        let codes = load(codes);
        let mut characters = _mm_add_epi8(codes, all(runs[0].above()));
        for (before, run) in runs.iter().zip(&runs[1..]) {
            let reached = _mm_cmpgt_epi8(codes, all(run.code - 1));
            let more = all(run.above().wrapping_sub(before.above()));
            characters = _mm_add_epi8(characters, _mm_and_si128(reached, more));
        }
        store(characters)
    }

    #[inline(always)]
    pub(super) fn codes<const N: usize>(runs: &Runs<N>, characters: [u64; 2]) -> Option<[u64; 2]> {
        // SAFETY: SSE2 is part of the architecture.
        unsafe { codes_sse2(runs, characters) }
    }

    #[inline(always)]
    pub(super) fn characters<const N: usize>(runs: &Runs<N>, codes: [u64; 2]) -> [u64; 2] {
        // SAFETY: SSE2 is part of the architecture.
        unsafe { characters_sse2(runs, codes) }
    }
}

/// Codes of sixteen characters and back, one after the other.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod scalar {
    use super::Runs;

    fn each(words: [u64; 2], f: impl Fn(u8) -> Option<u8>) -> Option<[u64; 2]> {
        let mut mapped = words.map(u64::to_le_bytes);
        for byte in mapped.iter_mut().flatten() {
            *byte = f(*byte)?;
        }
        Some(mapped.map(u64::from_le_bytes))
    }

    pub(super) fn codes<const N: usize>(runs: &Runs<N>, characters: [u64; 2]) -> Option<[u64; 2]> {
        each(characters, |character| {
            let run = runs.iter().find(|run| character.wrapping_sub(run.first) < run.count)?;
            Some(character.wrapping_sub(run.above()))
        })
    }

    pub(super) fn characters<const N: usize>(runs: &Runs<N>, codes: [u64; 2]) -> [u64; 2] {
        let character = |code: u8| {
            runs.iter().rev().find(|run| run.code <= code).map(|run| code.wrapping_add(run.above()))
        };
        each(codes, character).expect("every code is in a run")
    }
}

#[cfg(not(target_arch = "x86_64"))]
use scalar as vector;

/// Eight codes of `BITS` bits, one in each byte, moved together.
#[inline(always)]
fn squeeze<const BITS: u32>(codes: u64) -> u64 {
    let step = |word: u64, width: u32, lane: u32| {
        // The upper half of each lane moves down onto the bits that the lower half does not use.
        let half = lane / 2;
        let low = u64::MAX / (u64::MAX >> (64 - lane)) * ((1 << width) - 1);
        (word & low) | (word >> (half - width) & (low << width))
    };
    let pairs = step(codes, BITS, 16);
    let fours = step(pairs, 2 * BITS, 32);
    let half = (1 << (4 * BITS)) - 1;
    (fours & half) | (fours >> (32 - 4 * BITS) & (half << (4 * BITS)))
}

/// The reverse of [`squeeze`].
#[inline(always)]
fn spread<const BITS: u32>(packed: u64) -> u64 {
    let half = (1 << (4 * BITS)) - 1;
    let fours = (packed & half) | (packed & (half << (4 * BITS))) << (32 - 4 * BITS);
    let step = |word: u64, width: u32, lane: u32| {
        let half = lane / 2;
        let low = u64::MAX / (u64::MAX >> (64 - lane)) * ((1 << width) - 1);
        (word & low) | (word & (low << width)) << (half - width)
    };
    step(step(fours, 2 * BITS, 32), BITS, 16)
}

#[inline(always)]
fn words_of(chunk: &[u8; CHUNK]) -> [u64; 2] {
    let all = u128::from_le_bytes(*chunk);
    [all as u64, (all >> 64) as u64]
}

/// Packs a text; `padding` is the character of code 0. Returns whether all characters have a code.
#[inline(always)]
fn pack_with<const BITS: u32>(
    text: &[u8],
    padding: u8,
    codes: impl Fn([u64; 2]) -> Option<[u64; 2]>,
    out: &mut [u8; PACKED_ROOM],
) -> bool {
    let bytes = BITS as usize;
    let mut put = |at: usize, chunk: &[u8; CHUNK]| {
        let Some(codes) = codes(words_of(chunk)) else { return false };
        for (half, codes) in codes.into_iter().enumerate() {
            let at = at * 2 * bytes + half * bytes;
            out[at..at + bytes].copy_from_slice(&squeeze::<BITS>(codes).to_le_bytes()[..bytes]);
        }
        true
    };
    let (chunks, rest) = text.as_chunks::<CHUNK>();
    for (at, chunk) in chunks.iter().enumerate() {
        if !put(at, chunk) {
            return false;
        }
    }
    if rest.is_empty() {
        return true;
    }
    let mut chunk = [padding; CHUNK];
    chunk[..rest.len()].copy_from_slice(rest);
    put(chunks.len(), &chunk)
}

/// Packs a text of at most [`PACKED_MAX`] characters into the beginning of `out`; false when it has characters that are not in the alphabet.
#[inline]
pub(super) fn pack(alphabet: Alphabet, text: &[u8], out: &mut [u8; PACKED_ROOM]) -> bool {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let ascii = |words: [u64; 2]| ((words[0] | words[1]) & HIGH_BITS == 0).then_some(words);
    match alphabet {
        Alphabet::Names => pack_with::<6>(text, b'0', |chunk| vector::codes(&NAMES, chunk), out),
        Alphabet::Signs => pack_with::<6>(text, b' ', |chunk| vector::codes(&SIGNS, chunk), out),
        Alphabet::Words => pack_with::<6>(text, b'0', |chunk| vector::codes(&WORDS, chunk), out),
        Alphabet::Ascii => pack_with::<7>(text, 0, ascii, out),
    }
}

#[inline(always)]
fn unpack_with<const BITS: u32>(
    packed: &[u8],
    characters: impl Fn([u64; 2]) -> [u64; 2],
    room: &mut [u8; TEXT_ROOM],
) {
    let bytes = BITS as usize;
    let put = |chunk: &mut [u8; CHUNK], packed: &[u8]| {
        let word = |from: usize| {
            let mut word = [0; 8];
            word[..bytes].copy_from_slice(&packed[from..from + bytes]);
            spread::<BITS>(u64::from_le_bytes(word))
        };
        let [low, high] = characters([word(0), word(bytes)]);
        *chunk = (low as u128 | (high as u128) << 64).to_le_bytes();
    };
    let (chunks, _) = room.as_chunks_mut::<CHUNK>();
    let mut parts = packed.chunks_exact(2 * bytes);
    let mut places = chunks.iter_mut();
    for (part, chunk) in (&mut parts).zip(&mut places) {
        put(chunk, part);
    }
    let rest = parts.remainder();
    if let (false, Some(chunk)) = (rest.is_empty(), places.next()) {
        let mut part = [0; 2 * 7];
        part[..rest.len()].copy_from_slice(rest);
        put(chunk, &part);
    }
}

/// The text of a packed one of `len` characters.
#[inline]
pub(super) fn unpack<'r>(
    alphabet: Alphabet,
    packed: &[u8],
    len: usize,
    room: &'r mut [u8; TEXT_ROOM],
) -> &'r [u8] {
    match alphabet {
        Alphabet::Names => unpack_with::<6>(packed, |codes| vector::characters(&NAMES, codes), room),
        Alphabet::Signs => unpack_with::<6>(packed, |codes| vector::characters(&SIGNS, codes), room),
        Alphabet::Words => unpack_with::<6>(packed, |codes| vector::characters(&WORDS, codes), room),
        Alphabet::Ascii => unpack_with::<7>(packed, |codes| codes, room),
    }
    &room[..len]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALPHABETS: [(Alphabet, &str); 4] = [
        (Alphabet::Names, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"),
        (Alphabet::Signs, " !\"#$%&'()*+,-./0123456789:;<=>?@abcdefghijklmnopqrstuvwxyz[]_{}"),
        (Alphabet::Words, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ: "),
        (Alphabet::Ascii, ""),
    ];

    fn code(alphabet: usize, character: u8) -> Option<usize> {
        match ALPHABETS[alphabet].1 {
            "" => (character < 128).then_some(character as usize),
            characters => characters.bytes().position(|each| each == character),
        }
    }

    /// Bit by bit.
    fn naive(alphabet: usize, text: &[u8]) -> Option<Vec<u8>> {
        let bits = if ALPHABETS[alphabet].0 == Alphabet::Ascii { 7 } else { 6 };
        let mut packed = vec![0; packed_len(ALPHABETS[alphabet].0, text.len())];
        for (i, &character) in text.iter().enumerate() {
            let code = code(alphabet, character)?;
            for bit in 0..bits {
                let to = i * bits + bit;
                packed[to / 8] |= (code as u8 >> bit & 1) << (to % 8);
            }
        }
        Some(packed)
    }

    fn check(alphabet: usize, text: &[u8]) {
        let kind = ALPHABETS[alphabet].0;
        let mut out = [0xaa; PACKED_ROOM];
        let fits = pack(kind, text, &mut out);
        let expected = naive(alphabet, text);
        assert_eq!(fits, expected.is_some(), "{kind:?} {text:?}");
        if let Some(expected) = expected {
            let packed = &out[..packed_len(kind, text.len())];
            assert_eq!(packed, expected, "{kind:?} {text:?}");
            assert_eq!(unpack(kind, packed, text.len(), &mut [0; TEXT_ROOM]), text);
        }
    }

    #[test]
    fn every_character_of_every_alphabet_at_every_place() {
        for alphabet in 0..ALPHABETS.len() {
            for character in 0..=255u8 {
                for len in [1, 7, 8, 9, 16, 17] {
                    for at in 0..len {
                        let mut text = vec![b'1'; len];
                        text[at] = character;
                        check(alphabet, &text);
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn vectors_agree_with_single_characters(words: [u64; 2]) {
            prop_assert_eq!(vector::codes(&NAMES, words), scalar::codes(&NAMES, words));
            prop_assert_eq!(vector::codes(&SIGNS, words), scalar::codes(&SIGNS, words));
            let codes = words.map(|word| word & 0x3f3f_3f3f_3f3f_3f3f);
            prop_assert_eq!(vector::characters(&NAMES, codes), scalar::characters(&NAMES, codes));
            prop_assert_eq!(vector::characters(&SIGNS, codes), scalar::characters(&SIGNS, codes));
            prop_assert_eq!(vector::codes(&SIGNS, scalar::characters(&SIGNS, codes)), Some(codes));
        }

        #[test]
        fn agrees_with_the_naive_one(
            alphabet in 0..4usize,
            codes in proptest::collection::vec(0..64usize, 0..=PACKED_MAX),
            other in prop::option::weighted(0.2, (0..256usize, any::<u8>())),
        ) {
            let characters = ALPHABETS[alphabet].1.as_bytes();
            let mut text: Vec<u8> = match characters.is_empty() {
                true => codes.iter().map(|&code| code as u8 * 2).collect(),
                false => codes.iter().map(|&code| characters[code]).collect(),
            };
            if let (Some((at, byte)), false) = (other, text.is_empty()) {
                let at = at % text.len();
                text[at] = byte;
            }
            check(alphabet, &text);
        }
    }
}

//! Looking for an element among stored ones.
//!
//! Elements in a row often begin alike (`field:01`, `field:02`) and differ at their ends. So what is compared first, in one
//! comparison, are the last eight bytes of the encoding that is looked for (all, if it is shorter). As no encoding is the beginning of another
//! one, where these bytes are is the element, whatever its length there.

use super::Encoded;

const WORD: usize = size_of::<u64>();

/// An element that is looked for.
pub(crate) struct Needle<'e> {
    encoded: &'e Encoded<'e>,
    /// Its last bytes, at most eight, from the low ones up.
    word: u64,
    /// The bytes of the word that mean something.
    mask: u64,
    /// Where they are in the encoding.
    offset: usize,
}

impl<'e> Needle<'e> {
    #[inline]
    pub(crate) fn new(encoded: &'e Encoded<'e>) -> Needle<'e> {
        let len = encoded.len();
        let offset = len.saturating_sub(WORD);
        let (head, body) = (encoded.head(), encoded.body());
        let mut word = [0; WORD];
        if let Some(last) = if body.is_empty() { head } else { body }.last_chunk() {
            word = *last;
        } else {
            let bytes = head.iter().chain(body).skip(offset);
            word.iter_mut().zip(bytes).for_each(|(to, &byte)| *to = byte);
        }
        let mask = if len < WORD { (1 << (8 * len)) - 1 } else { u64::MAX };
        Needle { encoded, word: u64::from_le_bytes(word), mask, offset }
    }

    /// Whether it is the element that starts at `at`.
    #[inline(always)]
    pub(crate) fn is_at(&self, bytes: &[u8], at: usize) -> bool {
        let from = at + self.offset;
        match bytes.get(from..).and_then(<[u8]>::first_chunk) {
            Some(&chunk) => {
                (u64::from_le_bytes(chunk) ^ self.word) & self.mask == 0
                    && (self.offset == 0 || self.is_all_at(bytes, at))
            }
            // A short one, so near the end that there are no eight bytes.
            None => self.is_all_at(bytes, at),
        }
    }

    #[inline(never)]
    fn is_all_at(&self, bytes: &[u8], at: usize) -> bool {
        bytes.get(at..at + self.encoded.len()).is_some_and(|bytes| self.encoded.is(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::texts;
    use super::super::{next, Encoded};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_element_is_where_its_text_is(
            stored in proptest::collection::vec(texts(), 1..8),
            other in texts(),
            near in any::<prop::sample::Index>(),
            byte: u8,
        ) {
            let mut bytes = Vec::new();
            for text in &stored {
                Encoded::of(text).append_to(&mut bytes);
            }
            // One that differs in a byte from one that is there.
            let mut similar = near.get(&stored).clone();
            if !similar.is_empty() {
                let at = near.index(similar.len());
                similar[at] = byte;
            }
            for looked_for in stored.iter().chain([&other, &similar]) {
                let encoded = Encoded::of(looked_for);
                let needle = Needle::new(&encoded);
                let mut at = 0;
                for text in &stored {
                    prop_assert_eq!(needle.is_at(&bytes, at), text == looked_for);
                    at = next(&bytes, at);
                }
                prop_assert!(!needle.is_at(&bytes, at));
            }
        }
    }
}

//! Listpacks as they are made.

use crate::double::Text;
use crate::rdb::string::put_length;
use crate::value::item::{Item, Sink};
use crate::value::listpack;

/// A listpack that grows at its end. See `packed` for its layout.
#[derive(Default)]
pub(super) struct Listpack {
    bytes: Vec<u8>,
    count: usize,
}

const HEAD: usize = 6;

/// Integers up to here are not written as a double's text.
const EXACT_MAX: f64 = (1u64 << 53) as f64;

impl Listpack {
    /// Makes it empty.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(HEAD, 0);
        self.count = 0;
    }

    /// Appends an element.
    pub(super) fn push(&mut self, item: Item<'_>) {
        let start = self.bytes.len();
        match item {
            Item::Int(int) => self.push_int(int),
            Item::Bytes(text) => self.push_text(text),
        }
        self.count += 1;
        self.push_length_backwards(self.bytes.len() - start);
    }

    /// Appends a score: an integer as such, else the shortest text.
    pub(super) fn push_score(&mut self, score: f64) {
        if score.fract() == 0.0 && score.abs() <= EXACT_MAX && !(score == 0.0 && score.is_sign_negative()) {
            self.push(Item::Int(score as i64));
        } else {
            self.push(Item::Bytes(Text::of(score).as_bytes()));
        }
    }

    fn push_int(&mut self, int: i64) {
        let bytes = &mut self.bytes;
        match int {
            0..=127 => bytes.push(int as u8),
            -4096..=4095 => {
                let bits = int as u16 & 0x1fff;
                bytes.extend([0xc0 | (bits >> 8) as u8, bits as u8]);
            }
            _ => {
                let (tag, width) = match int {
                    -0x8000..=0x7fff => (0xf1, 2),
                    -0x80_0000..=0x7f_ffff => (0xf2, 3),
                    -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
                    _ => (0xf4, 8),
                };
                bytes.push(tag);
                bytes.extend_from_slice(&int.to_le_bytes()[..width]);
            }
        }
    }

    fn push_text(&mut self, text: &[u8]) {
        match text.len() {
            len @ 0..=63 => self.bytes.push(0x80 | len as u8),
            len @ 64..=4095 => self.bytes.extend([0xe0 | (len >> 8) as u8, len as u8]),
            len => {
                self.bytes.push(0xf0);
                self.bytes.extend_from_slice(&(len as u32).to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(text);
    }

    /// The length of an element behind it, seven bits a byte, the high ones first; all bytes but the first have the top bit.
    fn push_length_backwards(&mut self, len: usize) {
        let groups = listpack::backwards(len);
        for group in (0..groups).rev() {
            let top = if group + 1 == groups { 0 } else { 0x80 };
            self.bytes.push((len >> (7 * group)) as u8 & 0x7f | top);
        }
    }

    /// Writes it as a string.
    pub(super) fn put(&mut self, out: &mut impl Sink) {
        self.bytes.push(0xff);
        let len = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&len.to_le_bytes());
        let count = u16::try_from(self.count).unwrap_or(u16::MAX);
        self.bytes[4..HEAD].copy_from_slice(&count.to_le_bytes());
        put_length(self.bytes.len() as u64, out);
        out.put(&self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::packed::{Form, Packed};
    use crate::rdb::{string, Slice};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn elements_read_back(texts in proptest::collection::vec(prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..100),
            (any::<i64>(), 0u32..64).prop_map(|(int, shift)| (int >> shift).to_string().into_bytes()),
            prop::sample::select(vec![126usize, 127, 4095, 4096, 16_376, 16_377, 16_378, 16_379, 70_000]).prop_map(|len| vec![b'x'; len]),
        ], 0..20)) {
            let mut pack = Listpack::default();
            pack.clear();
            texts.iter().for_each(|text| pack.push(Item::of(text)));
            let mut out = Vec::new();
            pack.put(&mut out);
            let mut room = Vec::new();
            let bytes = string(&mut Slice::new(&out), &mut room).unwrap().to_vec();
            let elements: u64 = texts.iter().map(|text| listpack::element(Item::of(text))).sum();
            prop_assert_eq!(bytes.len() as u64, listpack::FRAME + elements);
            let mut packed = Packed::new(Form::Listpack, &bytes, Vec::new()).unwrap();
            for text in &texts {
                prop_assert_eq!(&packed.need().unwrap().to_vec(), text);
            }
            prop_assert_eq!(packed.next(), Ok(None));
        }
    }
}

//! Many strings in few allocations, of which none is ever copied to grow.

/// Strings in one chunk, a power of two.
const CHUNK: usize = 1 << 12;

/// A sequence of strings.
#[derive(Default)]
pub(super) struct Texts {
    /// All but the last are full.
    chunks: Vec<Chunk>,
}

#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// Where each string ends.
    ends: Vec<usize>,
}

impl Texts {
    /// Number of strings.
    pub(super) fn len(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.ends.len())
    }

    /// Adds a string at the end.
    pub(super) fn push(&mut self, text: &[u8]) {
        if self.chunks.last().is_none_or(|last| last.ends.len() == CHUNK) {
            self.chunks.push(Chunk::default());
        }
        let last = self.chunks.last_mut().expect("there is one now");
        last.bytes.extend_from_slice(text);
        last.ends.push(last.bytes.len());
    }

    /// The string of this index.
    pub(super) fn get(&self, index: usize) -> &[u8] {
        let (chunk, at) = (&self.chunks[index / CHUNK], index % CHUNK);
        let start = if at == 0 { 0 } else { chunk.ends[at - 1] };
        &chunk.bytes[start..chunk.ends[at]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_back() {
        let mut texts = Texts::default();
        for n in 0..CHUNK * 2 + 5 {
            assert_eq!(texts.len(), n);
            texts.push(&b"x".repeat(n % 7));
        }
        assert!((0..texts.len()).all(|n| texts.get(n) == b"x".repeat(n % 7)));
    }
}

//! Ids of stream entries: a time in milliseconds and a number within it, written `ms-seq`.

use std::fmt;

/// The id of an entry. Ordered by time, then by number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Milliseconds since the Unix epoch, or whatever the writer takes for time.
    pub ms: u64,
    /// Number among the entries of the same millisecond.
    pub seq: u64,
}

/// Longest text of an id.
const TEXT_MAX: usize = 41;

impl StreamId {
    /// The least id, which no entry has.
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    /// The greatest id.
    pub const MAX: StreamId = StreamId { ms: u64::MAX, seq: u64::MAX };

    /// An id.
    pub const fn new(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    /// The id that follows, if any does.
    pub fn next(self) -> Option<StreamId> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(StreamId { ms: self.ms, seq }),
            None => Some(StreamId { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The id before, if there is one.
    pub fn previous(self) -> Option<StreamId> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(StreamId { ms: self.ms, seq }),
            None => Some(StreamId { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    /// The id of a new entry at this time, after `last`: the time with number 0, or the next after `last` when the clock has
    /// not moved on. None when there is no greater id.
    pub fn generate(last: StreamId, now: u64) -> Option<StreamId> {
        if now > last.ms {
            Some(StreamId { ms: now, seq: 0 })
        } else {
            last.next()
        }
    }

    /// `f` of its text.
    #[inline]
    pub fn with_text<T>(self, f: impl FnOnce(&[u8]) -> T) -> T {
        let mut text = [0; TEXT_MAX];
        let mut number = itoa::Buffer::new();
        let ms = number.format(self.ms).as_bytes();
        let dash = ms.len();
        text[..dash].copy_from_slice(ms);
        text[dash] = b'-';
        let seq = number.format(self.seq).as_bytes();
        let end = dash + 1 + seq.len();
        text[dash + 1..end].copy_from_slice(seq);
        f(&text[..end])
    }

    /// The 16 bytes whose order is that of the ids.
    pub fn to_bytes(self) -> [u8; 16] {
        (((self.ms as u128) << 64) | self.seq as u128).to_be_bytes()
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neighbours_carry_over() {
        assert_eq!(StreamId::new(1, 2).next(), Some(StreamId::new(1, 3)));
        assert_eq!(StreamId::new(1, u64::MAX).next(), Some(StreamId::new(2, 0)));
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::new(1, 0).previous(), Some(StreamId::new(0, u64::MAX)));
        assert_eq!(StreamId::MIN.previous(), None);
    }

    #[test]
    fn new_ids_never_go_back() {
        let last = StreamId::new(100, 7);
        assert_eq!(StreamId::generate(last, 101), Some(StreamId::new(101, 0)));
        assert_eq!(StreamId::generate(last, 100), Some(StreamId::new(100, 8)));
        assert_eq!(StreamId::generate(last, 5), Some(StreamId::new(100, 8)));
        assert_eq!(StreamId::generate(StreamId::MAX, 5), None);
    }

    proptest! {
        #[test]
        fn text_and_bytes_say_the_id(ms: u64, seq: u64, other_ms: u64, other_seq: u64) {
            let (id, other) = (StreamId::new(ms, seq), StreamId::new(other_ms, other_seq));
            prop_assert_eq!(id.with_text(<[u8]>::to_vec), id.to_string().into_bytes());
            prop_assert_eq!(id.to_bytes().cmp(&other.to_bytes()), id.cmp(&other));
            if let Some(next) = id.next() {
                prop_assert!(next > id);
                prop_assert_eq!(next.previous(), Some(id));
            }
        }
    }
}

//! The arguments of a command, kept: all bytes in one allocation.

use smallvec::SmallVec;

/// An owned argument list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// A borrowed argument list, as commands are executed with.
pub type Argv<'a> = SmallVec<[&'a [u8]; 16]>;

impl Words {
    /// A copy of these arguments.
    pub fn of<'a>(argv: impl IntoIterator<Item = &'a [u8]> + Clone) -> Words {
        let len = argv.clone().into_iter().map(<[u8]>::len).sum();
        let mut words = Words { bytes: Vec::with_capacity(len), ends: Vec::new() };
        words.ends.reserve_exact(argv.clone().into_iter().count());
        for word in argv {
            words.push(word);
        }
        words
    }

    /// Adds an argument.
    pub fn push(&mut self, word: &[u8]) {
        self.bytes.extend_from_slice(word);
        self.ends.push(self.bytes.len());
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The arguments in their order.
    pub fn argv(&self) -> Argv<'_> {
        let mut start = 0;
        self.ends.iter().map(|&end| &self.bytes[std::mem::replace(&mut start, end)..end]).collect()
    }

    /// Bytes of heap.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

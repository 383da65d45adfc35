//! Values that are not strings: lists, sets, sorted sets, hashes and streams.
//!
//! A record holds a collection as one word (see [`forms`]); its header says which type it is. Small collections are
//! packed in one [`Buffer`](buffer::Buffer) of [`item`]s; large ones have structures of their own, one folder per type.
//!
//! Readers get a [`Held`]: the collection by reference for as long as the table is borrowed. Writers get an
//! [`Editor`](crate::keyspace::Editor) from the apply path.

mod ahead;
pub mod buffer;
pub mod element;
pub(crate) mod forms;
pub mod hash;
pub mod item;
pub mod lazy;
pub mod list;
pub(crate) mod listpack;
mod object;
pub mod set;
pub mod stream;
pub mod zset;

pub use ahead::MemberAhead;
pub use object::{Held, Object, ObjectRef};

/// The types of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Type {
    /// Bytes, or an integer.
    String,
    /// A sequence with two ends.
    List,
    /// Distinct members.
    Set,
    /// Distinct members ordered by score.
    Zset,
    /// Fields with values.
    Hash,
    /// Entries ordered by id, with consumer groups.
    Stream,
}

impl Type {
    /// The name that TYPE answers.
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::List => "list",
            Type::Set => "set",
            Type::Zset => "zset",
            Type::Hash => "hash",
            Type::Stream => "stream",
        }
    }

    /// The type of a name, in any case.
    pub fn named(name: &[u8]) -> Option<Type> {
        const TYPES: [Type; 6] = [Type::String, Type::List, Type::Set, Type::Zset, Type::Hash, Type::Stream];
        TYPES.into_iter().find(|t| t.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// What every type of collection can do for the keyspace.
#[allow(private_bounds)] // how it lies in a record is the engine's own affair
pub trait Collection: forms::InWord + Clone + Send + 'static {
    /// Its type.
    const TYPE: Type;

    /// Whether the key stays when it has become empty, as that of a stream does.
    const KEEP_EMPTY: bool = false;

    /// An empty one. `seed` seeds the hash of members, where there is one.
    fn new(seed: u64) -> Self;

    /// Number of elements.
    fn len(&self) -> usize;

    /// True when there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much there is to free, in elements: more than [`Collection::len`] when it holds other things besides.
    fn weight(&self) -> usize {
        self.len()
    }

    /// Redis's name of its form.
    fn encoding(&self) -> &'static str;

    /// Bytes of heap that it holds; of a large one this may be extrapolated from a sample.
    fn memory(&self) -> usize;

    /// A time before which no element expires by itself, in unix milliseconds: exact or too early. None when none does.
    fn next_expiry(&self) -> Option<u64> {
        None
    }

    /// Copies about this many elements more into `copy`, from `position` on, which is 0 at first and moves on; true when the copy
    /// is complete. A collection that is not large is copied at once. When this one changes between two calls, what was in it from the
    /// first to the last is in the copy, with the exception of lists, which must not change.
    fn copy_some(&self, copy: &mut Self, position: &mut u64, elements: usize) -> bool {
        let _ = (position, elements);
        *copy = self.clone();
        true
    }

    /// Frees about this many elements; true when nothing is left to free. It is not used otherwise from the first call on.
    fn free_some(&mut self, elements: usize) -> bool;

    /// Appends the whole value as bytes, for the log and for snapshots.
    fn encode(&self, out: &mut Vec<u8>);

    /// The value of bytes that [`Collection::encode`] made; none when they are not that. They may come from anywhere.
    fn decode(input: &[u8], seed: u64) -> Option<Self>;

    /// The object that holds it.
    fn into_object(self) -> Object;
}

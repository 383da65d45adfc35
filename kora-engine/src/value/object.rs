//! A collection of any type, owned or borrowed from a record.
//!
//! # Invariants (the unsafe code below relies on them)
//! - The word of an [`ObjectRef`] came from `InWord::into_word` of the type that `kind` names, and its owner, a record, is
//!   borrowed for `'a`.
//! - A [`Held`] never drops its value: it belongs to the record.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;

use super::forms::InWord;
use super::hash::Hash;
use super::list::List;
use super::set::Set;
use super::stream::Stream;
use super::zset::Zset;
use super::{lazy, Collection, Type};
use crate::table::Table;

/// A collection of any type.
pub enum Object {
    /// A list.
    List(List),
    /// A set.
    Set(Set),
    /// A sorted set.
    Zset(Zset),
    /// A hash.
    Hash(Hash),
    /// A stream.
    Stream(Stream),
}

/// Does the same with the collection of any object.
macro_rules! each {
    ($object:expr, $collection:ident => $body:expr) => {
        match $object {
            Object::List($collection) => $body,
            Object::Set($collection) => $body,
            Object::Zset($collection) => $body,
            Object::Hash($collection) => $body,
            Object::Stream($collection) => $body,
        }
    };
}

impl Object {
    /// Its type.
    pub fn kind(&self) -> Type {
        fn of<T: Collection>(_: &T) -> Type {
            T::TYPE
        }
        each!(self, collection => of(collection))
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        each!(self, collection => collection.len())
    }

    /// Whether a key can hold it without elements.
    pub(crate) fn may_be_empty(&self) -> bool {
        fn of<T: Collection>(_: &T) -> bool {
            T::KEEP_EMPTY
        }
        each!(self, collection => of(collection))
    }

    /// The table of its members, if it has one.
    pub(crate) fn members(&self) -> Option<&Table> {
        match self {
            Object::Hash(hash) => hash.members(),
            Object::Set(set) => set.members(),
            Object::Zset(zset) => zset.members(),
            Object::List(_) | Object::Stream(_) => None,
        }
    }

    /// How much there is to free, in elements.
    pub(crate) fn weight(&self) -> usize {
        each!(self, collection => collection.weight())
    }

    /// Redis's name of its form.
    pub fn encoding(&self) -> &'static str {
        each!(self, collection => collection.encoding())
    }

    /// Bytes of heap that it holds.
    pub fn memory(&self) -> usize {
        each!(self, collection => collection.memory())
    }

    /// A time before which no element expires by itself; none when none does.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        each!(self, collection => collection.next_expiry())
    }

    /// About how many blocks of memory it consists of: what freeing it costs.
    pub(crate) fn blocks(&self) -> usize {
        match self.encoding() {
            "intset" | "listpack" | "listpackex" => 1,
            _ => self.weight().max(1),
        }
    }

    /// Copies about this many elements more into `copy`, from `position` on; see [`Collection::copy_some`]. True when the copy is
    /// complete; none when this is of another type than the copy.
    pub(crate) fn copy_some(&self, copy: &mut Object, position: &mut u64, elements: usize) -> Option<bool> {
        match (self, copy) {
            (Object::List(from), Object::List(to)) => Some(from.copy_some(to, position, elements)),
            (Object::Set(from), Object::Set(to)) => Some(from.copy_some(to, position, elements)),
            (Object::Zset(from), Object::Zset(to)) => Some(from.copy_some(to, position, elements)),
            (Object::Hash(from), Object::Hash(to)) => Some(from.copy_some(to, position, elements)),
            (Object::Stream(from), Object::Stream(to)) => Some(from.copy_some(to, position, elements)),
            _ => None,
        }
    }

    /// An empty one of the same type.
    pub(crate) fn empty_like(&self) -> Object {
        match self {
            Object::List(_) => List::new(0).into_object(),
            Object::Set(_) => Set::new(0).into_object(),
            Object::Zset(_) => Zset::new(0).into_object(),
            Object::Hash(_) => Hash::new(0).into_object(),
            Object::Stream(_) => Stream::new(0).into_object(),
        }
    }

    /// Frees about this many elements; true when nothing is left.
    pub(crate) fn free_some(&mut self, elements: usize) -> bool {
        each!(self, collection => collection.free_some(elements))
    }

    /// Appends the whole value as bytes; [`Object::decode`] needs the type besides.
    pub fn encode(&self, out: &mut Vec<u8>) {
        each!(self, collection => collection.encode(out))
    }

    /// A value of this type from bytes that may come from anywhere.
    pub fn decode(kind: Type, input: &[u8], seed: u64) -> Option<Object> {
        Some(match kind {
            Type::String => return None,
            Type::List => Object::List(List::decode(input, seed)?),
            Type::Set => Object::Set(Set::decode(input, seed)?),
            Type::Zset => Object::Zset(Zset::decode(input, seed)?),
            Type::Hash => Object::Hash(Hash::decode(input, seed)?),
            Type::Stream => Object::Stream(Stream::decode(input, seed)?),
        })
    }

    /// A borrow of it, of the form in which records lend theirs.
    pub fn borrowed(&self) -> ObjectRef<'_> {
        // SAFETY: the copy is given away as a word, which owns nothing here: `ObjectRef` forgets what it makes of it.
        unsafe {
            let copy = std::ptr::read(self);
            ObjectRef::new(copy.kind(), copy.into_word())
        }
    }

    /// Gives it away as a word.
    pub(crate) fn into_word(self) -> u64 {
        each!(self, collection => collection.into_word())
    }

    /// Takes it back.
    ///
    /// # Safety
    /// `word` came from an object of this type, and every other object made of it is forgotten.
    pub(crate) unsafe fn from_word(kind: Type, word: u64) -> Object {
        // SAFETY: by the caller.
        unsafe {
            match kind {
                Type::String => unreachable!("a string is not an object"),
                Type::List => Object::List(List::from_word(word)),
                Type::Set => Object::Set(Set::from_word(word)),
                Type::Zset => Object::Zset(Zset::from_word(word)),
                Type::Hash => Object::Hash(Hash::from_word(word)),
                Type::Stream => Object::Stream(Stream::from_word(word)),
            }
        }
    }

    /// Moves what lies in sparse pages of the allocator elsewhere, if that is quickly done.
    pub(crate) fn relocate(&mut self, is_sparse: &dyn Fn(*const u8) -> bool) {
        each!(self, collection => collection.relocate(is_sparse))
    }

    /// Drops it, now or in slices later when it is large.
    pub(crate) fn discard(self) {
        lazy::discard(self);
    }
}

impl Clone for Object {
    fn clone(&self) -> Object {
        each!(self, collection => collection.clone().into_object())
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} elements ({})", self.kind().name(), self.elements(), self.encoding())
    }
}

/// The collection in a record, of any type, borrowed.
#[derive(Clone, Copy)]
pub struct ObjectRef<'a> {
    kind: Type,
    word: u64,
    owner: PhantomData<&'a Object>,
}

impl<'a> ObjectRef<'a> {
    /// # Safety
    /// `word` came from an object of this type, whose owner is borrowed for `'a`.
    pub(crate) unsafe fn new(kind: Type, word: u64) -> ObjectRef<'a> {
        ObjectRef { kind, word, owner: PhantomData }
    }

    /// Its type.
    pub fn kind(&self) -> Type {
        self.kind
    }

    /// Its pointer and its form.
    pub(super) fn word(&self) -> u64 {
        self.word
    }

    /// The collection, if it is of this type.
    #[inline]
    pub fn get<T: Collection>(&self) -> Option<Held<'a, T>> {
        // SAFETY: the word is that of a value of type `T`, borrowed for 'a; `Held` forgets what is made of it.
        (self.kind == T::TYPE).then(|| unsafe { Held::new(self.word) })
    }

    /// A time before which no element expires by itself; none when none does.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        match self.kind {
            Type::Hash => self.with(Object::next_expiry),
            _ => None,
        }
    }

    /// `f` of the object.
    pub fn with<R>(&self, f: impl FnOnce(&Object) -> R) -> R {
        // SAFETY: the owner is borrowed, and what is made of the word is forgotten.
        let object = ManuallyDrop::new(unsafe { Object::from_word(self.kind, self.word) });
        f(&object)
    }
}

impl PartialEq for ObjectRef<'_> {
    /// The very same object.
    fn eq(&self, other: &ObjectRef<'_>) -> bool {
        (self.kind, self.word) == (other.kind, other.word)
    }
}

impl Eq for ObjectRef<'_> {}

impl std::fmt::Debug for ObjectRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.with(|object| object.fmt(f))
    }
}

/// A collection that belongs to a record, borrowed for reading.
pub struct Held<'a, T: Collection> {
    value: ManuallyDrop<T>,
    owner: PhantomData<&'a T>,
}

impl<T: Collection> Held<'_, T> {
    /// # Safety
    /// `word` came from a value of type `T`, whose owner is borrowed for the lifetime of the result.
    pub(crate) unsafe fn new(word: u64) -> Self {
        // SAFETY: by the caller; the value is never dropped here.
        Held { value: ManuallyDrop::new(unsafe { T::from_word(word) }), owner: PhantomData }
    }
}

impl<T: Collection> Deref for Held<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

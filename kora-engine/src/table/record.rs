//! A record: one key with its value, expiry and access clock, in one heap allocation.
//!
//! ```text
//! +0   header     bits 0..2   number of optional words (0 to 3)
//!                 bit  2      has an expiry
//!                 bit  3      long key: its length is in a word of its own
//!                 bits 4..7   kind of value
//!                 bit  7      an inline string that was written in part (APPEND, SETRANGE) since it was set
//!                 bits 8..24  key length in bytes (0xffff for a long key)
//!                 bits 24..40 length of an inline value in bytes
//!                 bits 40..64 access clock (LRU time or LFU counter; the record does not care)
//! +8   words      [expiry, unix ms] [integer, pointer to the boxed value, or collection] [length of a long key]
//! +8+8*words      key bytes, then the bytes of an inline value
//! ```
//!
//! A 16-byte key with an 8-byte value is 32 bytes. Everything that `GET` needs is in the first cache line. The
//! allocation is rounded up to 16 bytes, which is what allocators do anyway, so that replacing a value by one of
//! nearly the same size reuses it. The length word of a long key is last so that the offset of the value word
//! depends on one bit only.
//!
//! Values longer than [`INLINE_VALUE_MAX`] are a [`Large`]: refcounted `Bytes`, handed to readers without a copy.
//! APPEND and SETRANGE turn the `Bytes` back into a growable buffer when no reader holds it (its spare capacity
//! survives the round trip, so appends are amortised O(1) per byte), and copy it once when one does, so that what a
//! reader holds never changes. Values above [`APPEND_INLINE_MAX`] that grow by APPEND become large early.
//!
//! # Invariants (unsafe code below relies on them)
//! - A `Record` points to a live allocation of `layout(header)` bytes, made by this module; its bytes up to
//!   `key_offset + key_len + inline value length` are initialised and agree with the header.
//! - It has one owner (a slot of a segment, or an `OwnedEntry`), which frees it once with [`Record::free`]. A
//!   `Record` is `Copy` so that it can live packed in a slot; it is not handed out of the table. What is handed out is an
//!   [`Entry`] whose lifetime is a borrow of the owner.
//! - Addresses fit 48 bits (asserted at allocation) and are multiples of 8, so a slot can hold flags and a tag.
//! - The value word of a `LARGE` record is the only pointer to its box, that of a collection is the only owner of it.
//!
//! A collection counts with its word only in the sums of a table: what it holds besides changes without the table's
//! knowledge.

use std::alloc::{alloc, dealloc, handle_alloc_error, realloc, Layout};
use std::marker::PhantomData;
use std::ptr::NonNull;

use bytes::{Bytes, BytesMut};

use crate::value::{lazy, MemberAhead, Object, ObjectRef, Type};

/// Longest value in bytes that is stored in the record itself; longer ones are refcounted.
pub const INLINE_VALUE_MAX: usize = 16 * 1024;

/// An inline value that grows past this many bytes by APPEND or SETRANGE becomes a growable buffer.
pub const APPEND_INLINE_MAX: usize = 1024;

/// The access clock is kept modulo this.
pub const ACCESS_MASK: u32 = (1 << 24) - 1;

const WORDS_MASK: u64 = 0b11;
const HAS_EXPIRY: u64 = 1 << 2;
const LONG_KEY: u64 = 1 << 3;
const KIND_SHIFT: u32 = 4;
const KIND_MASK: u64 = 0b111;
const EDITED: u64 = 1 << 7;
const KEY_LEN_SHIFT: u32 = 8;
const VALUE_LEN_SHIFT: u32 = 24;
const ACCESS_SHIFT: u32 = 40;
const LEN_MASK: u64 = 0xffff;
const LONG_KEY_MIN: usize = 0xffff;

const KIND_INLINE: u64 = 0;
const KIND_INT: u64 = 1;
const KIND_LARGE: u64 = 2;
/// The first of the kinds of collections.
const KIND_LIST: u64 = 3;
const KIND_SET: u64 = 4;
const KIND_ZSET: u64 = 5;
const KIND_HASH: u64 = 6;
const KIND_STREAM: u64 = 7;

const GRANULE: usize = 16;

const ADDRESS_BITS: u32 = 48;

/// A gap of this many bytes or more is not filled: the value moves to fresh memory, whose pages are zero and take no room
/// until they are touched.
const FRESH_GAP_MIN: usize = 256 * 1024;

const _: () = assert!(INLINE_VALUE_MAX <= LEN_MASK as usize);
const _: () = assert!(APPEND_INLINE_MAX <= INLINE_VALUE_MAX);

/// A value as a reader sees it, borrowed from the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueRef<'a> {
    /// A string that is a canonical 64-bit integer.
    Int(i64),
    /// A string stored in the record.
    Bytes(&'a [u8]),
    /// A large string: clone the `Bytes` to keep it, at no copy.
    Shared(&'a Bytes),
    /// A collection.
    Object(ObjectRef<'a>),
}

impl ValueRef<'_> {
    /// Length of the string in bytes; of an integer, that of its decimal text; of a collection, its number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            ValueRef::Int(int) => itoa::Buffer::new().format(*int).len(),
            ValueRef::Bytes(bytes) => bytes.len(),
            ValueRef::Shared(bytes) => bytes.len(),
            ValueRef::Object(object) => object.with(Object::elements),
        }
    }

    /// Its type.
    pub fn kind(&self) -> Type {
        match self {
            ValueRef::Object(object) => object.kind(),
            _ => Type::String,
        }
    }

    /// True for the empty string.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A value to be stored.
#[derive(Clone, Debug)]
pub enum NewValue<'a> {
    /// Stored as an integer.
    Int(i64),
    /// Copied: into the record up to [`INLINE_VALUE_MAX`], else into a refcounted allocation.
    Bytes(&'a [u8]),
    /// Kept without a copy when longer than [`INLINE_VALUE_MAX`], else copied into the record (so that a small
    /// value does not hold a whole receive buffer).
    Shared(Bytes),
}

/// A large string and the bytes it holds allocated, which `Bytes` does not tell.
#[derive(Debug)]
pub(super) struct Large {
    bytes: Bytes,
    capacity: usize,
}

impl Large {
    fn new(bytes: Bytes) -> Large {
        Large { capacity: bytes.len(), bytes }
    }

    /// Writes `data` at `offset`, growing the value and filling a gap with zeros.
    fn write_at(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        let mut buffer = if offset.saturating_sub(self.bytes.len()) >= FRESH_GAP_MIN && end > self.capacity {
            let old = std::mem::take(&mut self.bytes);
            followed_by_zeros(&old, offset, grown(old.len(), end))
        } else {
            self.take_buffer(end)
        };
        if offset > buffer.len() {
            buffer.resize(offset, 0);
        }
        let overlap = data.len().min(buffer.len() - offset);
        buffer[offset..offset + overlap].copy_from_slice(&data[..overlap]);
        buffer.extend_from_slice(&data[overlap..]);
        self.put_buffer(buffer);
    }

    /// Replaces `removed` bytes at `offset` by `data`; the bytes behind move.
    fn splice(&mut self, offset: usize, removed: usize, data: &[u8]) {
        let tail = self.bytes.slice(offset + removed..).to_vec();
        let mut buffer = self.take_buffer(offset + data.len() + tail.len());
        buffer.truncate(offset);
        buffer.extend_from_slice(data);
        buffer.extend_from_slice(&tail);
        self.put_buffer(buffer);
    }

    /// The bytes, to be changed and put back.
    fn take_buffer(&mut self, new_len: usize) -> BytesMut {
        match std::mem::take(&mut self.bytes).try_into_mut() {
            Ok(buffer) => buffer,
            Err(held) => {
                // A reader still holds it: it keeps the old bytes, the table goes on with a copy.
                let mut copy = BytesMut::with_capacity(grown(held.len(), new_len));
                copy.extend_from_slice(&held);
                copy
            }
        }
    }

    fn put_buffer(&mut self, buffer: BytesMut) {
        self.capacity = buffer.capacity();
        self.bytes = buffer.freeze();
    }

    fn heap_bytes(&self) -> usize {
        std::mem::size_of::<Large>() + self.capacity
    }
}

/// Capacity of a buffer that grows from `len` bytes to `new_len`: by half at least.
fn grown(len: usize, new_len: usize) -> usize {
    if new_len > len {
        new_len.max(len + len / 2)
    } else {
        len
    }
}

/// A buffer of `len` bytes that begins with `bytes`; the others are pages that were zero already.
fn followed_by_zeros(bytes: &[u8], len: usize, capacity: usize) -> BytesMut {
    let mut buffer = BytesMut::zeroed(capacity);
    buffer[..bytes.len()].copy_from_slice(bytes);
    buffer.truncate(len);
    buffer
}

/// What a record is made from: the value in the form in which it is stored.
pub(super) enum Payload<'a> {
    Inline(&'a [u8]),
    Int(i64),
    Large(Box<Large>),
    Object(Object),
}

impl<'a> Payload<'a> {
    #[inline(always)]
    pub(super) fn new(value: &'a NewValue<'a>) -> Payload<'a> {
        match value {
            NewValue::Int(int) => Payload::Int(*int),
            NewValue::Bytes(bytes) if bytes.len() <= INLINE_VALUE_MAX => Payload::Inline(bytes),
            NewValue::Bytes(bytes) => Payload::large(Bytes::copy_from_slice(bytes)),
            NewValue::Shared(bytes) if bytes.len() <= INLINE_VALUE_MAX => Payload::Inline(bytes),
            NewValue::Shared(bytes) => Payload::large(bytes.clone()),
        }
    }

    #[cold]
    fn large(bytes: Bytes) -> Payload<'a> {
        Payload::Large(Box::new(Large::new(bytes)))
    }

    #[inline(always)]
    fn has_word(&self) -> bool {
        !matches!(self, Payload::Inline(_))
    }

    #[inline(always)]
    fn inline_len(&self) -> usize {
        match self {
            Payload::Inline(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

/// The kind of a collection's record.
fn kind_of(kind: Type) -> u64 {
    match kind {
        Type::String => unreachable!("a string is not an object"),
        Type::List => KIND_LIST,
        Type::Set => KIND_SET,
        Type::Zset => KIND_ZSET,
        Type::Hash => KIND_HASH,
        Type::Stream => KIND_STREAM,
    }
}

/// The type of a collection by its record's kind.
fn type_of(kind: u64) -> Type {
    match kind {
        KIND_LIST => Type::List,
        KIND_SET => Type::Set,
        KIND_ZSET => Type::Zset,
        KIND_HASH => Type::Hash,
        KIND_STREAM => Type::Stream,
        _ => Type::String,
    }
}

/// The header word of a record, by value.
#[derive(Clone, Copy)]
struct Header(u64);

impl Header {
    #[inline(always)]
    fn new(key_len: usize, payload: &Payload<'_>, has_expiry: bool, access: u32) -> Header {
        let long = key_len >= LONG_KEY_MIN;
        let words = has_expiry as u64 + payload.has_word() as u64 + long as u64;
        let kind = match payload {
            Payload::Inline(_) => KIND_INLINE,
            Payload::Int(_) => KIND_INT,
            Payload::Large(_) => KIND_LARGE,
            Payload::Object(object) => kind_of(object.kind()),
        };
        let short_len = if long { LEN_MASK } else { key_len as u64 };
        Header(
            words
                | if has_expiry { HAS_EXPIRY } else { 0 }
                | if long { LONG_KEY } else { 0 }
                | kind << KIND_SHIFT
                | short_len << KEY_LEN_SHIFT
                | (payload.inline_len() as u64) << VALUE_LEN_SHIFT
                | u64::from(access & ACCESS_MASK) << ACCESS_SHIFT,
        )
    }

    #[inline(always)]
    fn has_expiry(self) -> bool {
        self.0 & HAS_EXPIRY != 0
    }

    #[inline(always)]
    fn kind(self) -> u64 {
        self.0 >> KIND_SHIFT & KIND_MASK
    }

    #[inline(always)]
    fn key_offset(self) -> usize {
        8 + 8 * (self.0 & WORDS_MASK) as usize
    }

    #[inline(always)]
    fn value_word_offset(self) -> usize {
        8 + 8 * self.has_expiry() as usize
    }

    #[inline(always)]
    fn value_len(self) -> usize {
        (self.0 >> VALUE_LEN_SHIFT & LEN_MASK) as usize
    }

    fn access(self) -> u32 {
        (self.0 >> ACCESS_SHIFT) as u32
    }
}

#[inline(always)]
fn rounded(bytes: usize) -> usize {
    (bytes + (GRANULE - 1)) & !(GRANULE - 1)
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).expect("a record is smaller than the address space")
}

/// Pointer to a record; see the invariants at the top of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record(NonNull<u8>);

// SAFETY: a record is plain memory, an integer, or a box of `Bytes`, which are `Send` and `Sync`; it has one owner.
unsafe impl Send for Record {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Record {}

impl Record {
    #[inline(always)]
    pub(super) fn new(key: &[u8], payload: Payload<'_>, expire_at: Option<u64>, access: u32) -> Record {
        let header = Header::new(key.len(), &payload, expire_at.is_some(), access);
        let size = rounded(header.key_offset() + key.len() + payload.inline_len());
        let record = Record::allocate(size);
        // SAFETY: the allocation holds `size` bytes, which cover the header, its words, the key and the value; the
        // allocation is new, so neither `key` nor `payload` overlaps it.
        unsafe {
            record.write_header(header);
            if header.0 & LONG_KEY != 0 {
                record.word(header.key_offset() - 8).write(key.len() as u64);
            }
            let at = record.at(header.key_offset());
            std::ptr::copy_nonoverlapping(key.as_ptr(), at, key.len());
            record.write_body(header, key.len(), payload, expire_at);
        }
        record
    }

    #[inline(always)]
    fn allocate(size: usize) -> Record {
        let layout = layout(size);
        // SAFETY: a record has at least its header, so the size is not zero.
        let ptr = unsafe { alloc(layout) };
        Record::adopt(ptr, layout)
    }

    #[inline(always)]
    fn adopt(ptr: *mut u8, layout: Layout) -> Record {
        let Some(ptr) = NonNull::new(ptr) else { handle_alloc_error(layout) };
        assert!(ptr.as_ptr().expose_provenance() >> ADDRESS_BITS == 0, "heap addresses fit 48 bits");
        Record(ptr)
    }

    /// Address with the 3 low bits and the 16 high bits zero.
    #[inline(always)]
    pub(super) fn address(self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    /// The record whose address was taken by [`Record::address`].
    ///
    /// # Safety
    /// The record at this address is live.
    #[inline(always)]
    pub(super) unsafe fn from_address(address: u64) -> Record {
        let ptr = std::ptr::with_exposed_provenance_mut::<u8>(address as usize);
        // SAFETY: the address of a live record is not zero.
        Record(unsafe { NonNull::new_unchecked(ptr) })
    }

    /// Pointer to the byte at this offset.
    ///
    /// # Safety
    /// The record is live and at least `offset` bytes long.
    #[inline(always)]
    unsafe fn at(self, offset: usize) -> *mut u8 {
        // SAFETY: by the caller.
        unsafe { self.0.as_ptr().add(offset) }
    }

    /// Pointer to the word at this offset.
    ///
    /// # Safety
    /// As for `at`.
    #[inline(always)]
    unsafe fn word(self, offset: usize) -> *mut u64 {
        // SAFETY: by the caller; allocations are 8-aligned and word offsets multiples of 8.
        unsafe { self.at(offset).cast() }
    }

    #[inline(always)]
    fn header(self) -> Header {
        // SAFETY: a record is live while it has an owner, and starts with its header.
        Header(unsafe { self.0.cast::<u64>().read() })
    }

    #[inline(always)]
    unsafe fn write_header(self, header: Header) {
        // SAFETY: as in `header`; the owner is borrowed mutably by the caller.
        unsafe { self.0.cast::<u64>().write(header.0) }
    }

    /// Writes expiry and value of a record whose header and key are in place.
    ///
    /// # Safety
    /// The allocation is large enough for `header`, and `payload` does not overlap it.
    #[inline(always)]
    unsafe fn write_body(self, header: Header, key_len: usize, payload: Payload<'_>, expire_at: Option<u64>) {
        debug_assert_eq!(header.has_expiry(), expire_at.is_some());
        // SAFETY: by the caller.
        unsafe {
            if let Some(expire_at) = expire_at {
                self.word(8).write(expire_at);
            }
            match payload {
                Payload::Inline(bytes) => {
                    let at = self.at(header.key_offset() + key_len);
                    std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len());
                }
                Payload::Int(int) => self.word(header.value_word_offset()).cast::<i64>().write(int),
                Payload::Large(large) => {
                    let at = self.word(header.value_word_offset()).cast::<*mut Large>();
                    at.write(Box::into_raw(large));
                }
                Payload::Object(object) => self.word(header.value_word_offset()).write(object.into_word()),
            }
        }
    }

    #[inline(always)]
    fn key_len(self, header: Header) -> usize {
        if header.0 & LONG_KEY != 0 {
            // SAFETY: a long key has its length in the last word.
            return unsafe { self.word(header.key_offset() - 8).read() } as usize;
        }
        (header.0 >> KEY_LEN_SHIFT & LEN_MASK) as usize
    }

    /// Bytes of the record's own allocation.
    #[inline(always)]
    pub(super) fn size(self) -> usize {
        let header = self.header();
        rounded(header.key_offset() + self.key_len(header) + header.value_len())
    }

    /// Bytes of everything that the record owns but the contents of a collection.
    #[inline(always)]
    pub(super) fn heap_bytes(self) -> usize {
        let boxed = match self.header().kind() {
            // SAFETY: the borrow ends here, the owner is alive.
            KIND_LARGE => unsafe { self.large() }.heap_bytes(),
            _ => 0,
        };
        self.size() + boxed
    }

    /// About how many blocks of memory are freed with it; a large collection is only put aside.
    pub(super) fn blocks(self) -> usize {
        let header = self.header();
        if header.kind() < KIND_LIST {
            return 1;
        }
        // SAFETY: a record of such a kind holds the word of its collection; the borrow ends here.
        let object =
            unsafe { ObjectRef::new(type_of(header.kind()), self.word(header.value_word_offset()).read()) };
        match object.with(Object::blocks) {
            blocks if blocks <= lazy::FREE_AT_ONCE_MAX => 1 + blocks,
            _ => 1,
        }
    }

    /// # Safety
    /// The record is live and of kind `LARGE`, and no other reference to its value is in use for `'a`.
    unsafe fn large_mut<'a>(self) -> &'a mut Large {
        debug_assert_eq!(self.header().kind(), KIND_LARGE);
        // SAFETY: by the caller, and the word of such a record is the only pointer to a live box.
        unsafe { &mut **self.word(self.header().value_word_offset()).cast::<*mut Large>() }
    }

    /// # Safety
    /// The record is live for `'a`, of kind `LARGE`, and nobody changes its value meanwhile.
    unsafe fn large<'a>(self) -> &'a Large {
        debug_assert_eq!(self.header().kind(), KIND_LARGE);
        // SAFETY: by the caller.
        unsafe { &**self.word(self.header().value_word_offset()).cast::<*mut Large>() }
    }

    #[inline(always)]
    pub(super) fn has_key(self, key: &[u8]) -> bool {
        let header = self.header();
        let len = if key.len() < LONG_KEY_MIN {
            if (header.0 >> KEY_LEN_SHIFT & LEN_MASK) as usize != key.len() {
                return false;
            }
            key.len()
        } else {
            if self.key_len(header) != key.len() {
                return false;
            }
            key.len()
        };
        // SAFETY: the record holds `len` bytes of key at this offset, and `key` is as long.
        unsafe { equal(self.at(header.key_offset()), key.as_ptr(), len) }
    }

    #[inline(always)]
    pub(super) fn expire_at(self) -> Option<u64> {
        // SAFETY: a record with the flag has its expiry in the first word.
        self.header().has_expiry().then(|| unsafe { self.word(8).read() })
    }

    #[inline(always)]
    pub(super) fn has_expiry(self) -> bool {
        self.header().has_expiry()
    }

    /// Brings the first cache line closer.
    #[inline(always)]
    pub(super) fn prefetch(address: u64) {
        prefetch(std::ptr::without_provenance(address as usize));
    }

    /// Frees the record and all that it owns.
    ///
    /// # Safety
    /// The caller is the owner and uses neither this nor any copy of it again.
    #[inline(always)]
    pub(super) unsafe fn free(self) {
        // SAFETY: by the caller.
        unsafe {
            self.drop_value();
            self.free_shell();
        }
    }

    /// # Safety
    /// The caller is the owner, and writes a new value or frees the shell next.
    #[inline(always)]
    unsafe fn drop_value(self) {
        let header = self.header();
        if header.kind() == KIND_LARGE {
            // SAFETY: the word is the only pointer to the box.
            drop(unsafe { Box::from_raw(self.word(header.value_word_offset()).cast::<*mut Large>().read()) });
        } else if header.kind() >= KIND_LIST {
            // SAFETY: by the caller, nobody uses the word again.
            unsafe { self.take_object() }.discard();
        }
    }

    /// Moves the collection out.
    ///
    /// # Safety
    /// The record is live and of a collection's kind, and its word is not used again.
    #[cold]
    #[inline(never)]
    unsafe fn take_object(self) -> Object {
        let header = self.header();
        // SAFETY: by the caller.
        unsafe { Object::from_word(type_of(header.kind()), self.word(header.value_word_offset()).read()) }
    }

    /// The word of a collection of this type; none when the value is of another.
    #[inline(always)]
    pub(super) fn object_word(self, kind: Type) -> Option<u64> {
        let header = self.header();
        // SAFETY: a record of a collection has a value word.
        (header.kind() == kind_of(kind)).then(|| unsafe { self.word(header.value_word_offset()).read() })
    }

    /// Replaces the word of a collection by what has become of it.
    ///
    /// # Safety
    /// `word` is of an object of the record's type that nobody else owns, and the old word's object is gone or the same.
    #[inline(always)]
    pub(super) unsafe fn set_object_word(self, word: u64) {
        let header = self.header();
        debug_assert!(header.kind() >= KIND_LIST);
        // SAFETY: a record of a collection has a value word.
        unsafe { self.word(header.value_word_offset()).write(word) };
    }

    /// Frees the record's own allocation only.
    ///
    /// # Safety
    /// As for `free`; a boxed value was moved out or dropped.
    #[inline(always)]
    unsafe fn free_shell(self) {
        // SAFETY: the layout is the one of the allocation, by the invariant of the header.
        unsafe { dealloc(self.0.as_ptr(), layout(self.size())) }
    }

    /// The same record, whatever of it lies in sparse pages of the allocator in other allocations, and whether there was any. A large string that was cut out
    /// of a longer buffer becomes a buffer of its own.
    ///
    /// # Safety
    /// The caller is the owner of the record, and owns the result instead.
    pub(super) unsafe fn relocated(self, is_sparse: &dyn Fn(*const u8) -> bool) -> (Record, bool) {
        // SAFETY: by the caller, nobody else sees the record or its value.
        let moved_value = unsafe { self.relocate_value(is_sparse) };
        if !is_sparse(self.0.as_ptr()) {
            return (self, moved_value);
        }
        let size = self.size();
        let copy = Record::allocate(size);
        // SAFETY: both allocations are `size` bytes long; what the record owns belongs to the copy, of this one only the
        // shell is freed.
        unsafe {
            std::ptr::copy_nonoverlapping(self.0.as_ptr(), copy.0.as_ptr(), size);
            self.free_shell();
        }
        (copy, true)
    }

    /// # Safety
    /// As for `relocated`.
    #[inline]
    unsafe fn relocate_value(self, is_sparse: &dyn Fn(*const u8) -> bool) -> bool {
        let header = self.header();
        match header.kind() {
            KIND_INLINE | KIND_INT => false,
            KIND_LARGE => {
                // SAFETY: by the caller.
                let large = unsafe { self.large_mut() };
                let moves = is_sparse(large.bytes.as_ptr());
                if moves {
                    *large = Large::new(Bytes::copy_from_slice(&large.bytes));
                }
                moves
            }
            kind => {
                // SAFETY: a record of a collection has a value word; by the caller nobody else uses it meanwhile, and what becomes of the
                // object is put back.
                unsafe {
                    let word = self.word(header.value_word_offset());
                    let mut object = Object::from_word(type_of(kind), word.read());
                    object.relocate(is_sparse);
                    let moved = object.into_word();
                    std::mem::replace(&mut *word, moved) != moved
                }
            }
        }
    }

    /// Moves the value out, as the payload of another record.
    ///
    /// # Safety
    /// The caller is the owner and frees the shell after the payload is stored, without using the value again.
    unsafe fn payload<'a>(self) -> Payload<'a> {
        let header = self.header();
        // SAFETY: by the caller.
        unsafe {
            match header.kind() {
                KIND_INLINE => Payload::Inline(self.inline_value()),
                KIND_INT => Payload::Int(self.word(header.value_word_offset()).cast::<i64>().read()),
                KIND_LARGE => Payload::Large(Box::from_raw(
                    self.word(header.value_word_offset()).cast::<*mut Large>().read(),
                )),
                _ => Payload::Object(self.take_object()),
            }
        }
    }

    /// # Safety
    /// The record is live for `'a` and not changed.
    #[inline(always)]
    unsafe fn inline_value<'a>(self) -> &'a [u8] {
        let header = self.header();
        // SAFETY: an inline value follows the key.
        unsafe {
            let at = self.at(header.key_offset() + self.key_len(header));
            std::slice::from_raw_parts(at, header.value_len())
        }
    }

    /// # Safety
    /// The record is live for `'a` and not changed.
    #[inline(always)]
    unsafe fn key<'a>(self) -> &'a [u8] {
        let header = self.header();
        // SAFETY: the key is at this offset.
        unsafe { std::slice::from_raw_parts(self.at(header.key_offset()), self.key_len(header)) }
    }

    /// `f` of the key.
    #[inline(always)]
    pub(super) fn with_key<T>(self, f: impl FnOnce(&[u8]) -> T) -> T {
        // SAFETY: the record is live while it has an owner, and the borrow ends with the call.
        f(unsafe { self.key() })
    }

    /// A view of the record.
    ///
    /// # Safety
    /// The owner is borrowed for `'a`: the record is neither freed nor changed meanwhile.
    #[inline(always)]
    pub(super) unsafe fn entry<'a>(self) -> Entry<'a> {
        Entry { record: self, owner: PhantomData }
    }

    /// Replaces value, expiry and access clock; returns the record to use from now on, which is this one when the
    /// size class is the same.
    ///
    /// # Safety
    /// The caller is the owner, puts the returned record in the place of this one, and `payload` borrows nothing
    /// from this record.
    #[inline(always)]
    #[must_use]
    pub(super) unsafe fn replace(self, payload: Payload<'_>, expire_at: Option<u64>, access: u32) -> Record {
        let old = self.header();
        let key_len = self.key_len(old);
        let new = Header::new(key_len, &payload, expire_at.is_some(), access);
        // SAFETY: by the caller. When the number of words is equal the key stays where it is, and the length word of a
        // long key, which is last, with it.
        unsafe {
            if new.key_offset() == old.key_offset()
                && rounded(new.key_offset() + key_len + payload.inline_len()) == self.size()
            {
                self.drop_value();
                self.write_header(new);
                self.write_body(new, key_len, payload, expire_at);
                return self;
            }
            let record = Record::new(self.key(), payload, expire_at, access);
            self.free();
            record
        }
    }

    /// Overwrites an inline value by one of the same length, with expiry where there was one and none where there was none;
    /// false, and nothing done, when it is not so. This is what SET does most often: the record keeps its
    /// place and all sums stay as they are.
    ///
    /// # Safety
    /// The caller is the owner, and `payload` borrows nothing from this record.
    #[inline(always)]
    pub(super) unsafe fn overwrite_alike(
        self,
        payload: &Payload<'_>,
        expire_at: Option<u64>,
        access: u32,
    ) -> bool {
        let header = self.header();
        let Payload::Inline(bytes) = payload else { return false };
        if header.kind() != KIND_INLINE
            || header.value_len() != bytes.len()
            || header.has_expiry() != expire_at.is_some()
        {
            return false;
        }
        let kept = header.0 & ((1 << ACCESS_SHIFT) - 1) & !EDITED;
        // SAFETY: by the caller; the value has this length and place, and the first word is the expiry when there is one.
        unsafe {
            self.write_header(Header(kept | u64::from(access & ACCESS_MASK) << ACCESS_SHIFT));
            if let Some(expire_at) = expire_at {
                self.word(8).write(expire_at);
            }
            let at = self.at(header.key_offset() + self.key_len(header));
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len());
        }
        true
    }

    /// Sets or clears the expiry; returns the record to use from now on.
    ///
    /// # Safety
    /// The caller is the owner and puts the returned record in the place of this one.
    #[must_use]
    pub(super) unsafe fn with_expiry(self, expire_at: Option<u64>) -> Record {
        let header = self.header();
        // SAFETY: by the caller.
        unsafe {
            if let (true, Some(expire_at)) = (header.has_expiry(), expire_at) {
                self.word(8).write(expire_at);
                return self;
            }
            if !header.has_expiry() && expire_at.is_none() {
                return self;
            }
            self.moved_to(self.key(), expire_at, header.access())
        }
    }

    /// A record of this value under another key; frees this one.
    ///
    /// # Safety
    /// The caller is the owner and uses only the returned record from now on.
    #[must_use]
    pub(super) unsafe fn moved_to(self, key: &[u8], expire_at: Option<u64>, access: u32) -> Record {
        // SAFETY: by the caller; `key` may lie in this record, which is freed last.
        unsafe {
            let record = Record::new(key, self.payload(), expire_at, access);
            record.write_header(Header(record.header().0 | self.header().0 & EDITED));
            self.free_shell();
            record
        }
    }

    #[inline(always)]
    pub(super) fn set_access(self, access: u32) {
        let header = self.header();
        let kept = header.0 & ((1 << ACCESS_SHIFT) - 1);
        // SAFETY: the header stays the same apart from the clock; callers hold the owner mutably.
        unsafe { self.write_header(Header(kept | u64::from(access & ACCESS_MASK) << ACCESS_SHIFT)) }
    }

    /// Overwrites an integer in place; false when the value is not an integer.
    #[inline(always)]
    pub(super) fn set_int(self, int: i64) -> bool {
        let header = self.header();
        if header.kind() != KIND_INT {
            return false;
        }
        // SAFETY: a record of this kind holds the integer in its value word.
        unsafe { self.word(header.value_word_offset()).cast::<i64>().write(int) };
        true
    }

    /// Writes `data` (not empty) at `offset` of the string, growing it and filling a gap with zeros; an integer
    /// becomes its decimal text first. Returns the record to use from now on.
    ///
    /// # Safety
    /// The caller is the owner, puts the returned record in the place of this one, and `data` borrows nothing from
    /// this record.
    #[must_use]
    pub(super) unsafe fn write_at(self, offset: usize, data: &[u8]) -> Record {
        let header = self.header();
        // SAFETY: by the caller.
        unsafe {
            match header.kind() {
                KIND_LARGE => {
                    self.large_mut().write_at(offset, data);
                    self
                }
                KIND_INT => {
                    let int = self.word(header.value_word_offset()).cast::<i64>().read();
                    let mut text = itoa::Buffer::new();
                    let payload = Payload::Inline(text.format(int).as_bytes());
                    let record = self.replace(payload, self.expire_at(), header.access());
                    record.write_at(offset, data)
                }
                KIND_INLINE => self.write_at_inline(offset, data),
                _ => unreachable!("bytes are written into strings"),
            }
        }
    }

    /// # Safety
    /// As for `write_at`; the kind is `INLINE`.
    unsafe fn write_at_inline(self, offset: usize, data: &[u8]) -> Record {
        let header = self.header();
        let key_len = self.key_len(header);
        let (old_len, end) = (header.value_len(), offset + data.len());
        if end > old_len && end > APPEND_INLINE_MAX {
            // SAFETY: by the caller; the value is copied before the record is replaced.
            unsafe {
                let buffer = if offset.saturating_sub(old_len) >= FRESH_GAP_MIN {
                    followed_by_zeros(self.inline_value(), offset, end)
                } else {
                    let mut buffer = BytesMut::with_capacity(grown(old_len, end));
                    buffer.extend_from_slice(self.inline_value());
                    buffer
                };
                let mut large = Box::new(Large { bytes: Bytes::new(), capacity: 0 });
                large.put_buffer(buffer);
                large.write_at(offset, data);
                return self.replace(Payload::Large(large), self.expire_at(), header.access());
            }
        }
        let new_len = end.max(old_len);
        let value_offset = header.key_offset() + key_len;
        let (old_size, new_size) = (self.size(), rounded(value_offset + new_len));
        let mut record = self;
        // SAFETY: by the caller; after the reallocation there is room for `new_len` bytes of value.
        unsafe {
            if new_size != old_size {
                record =
                    Record::adopt(realloc(self.0.as_ptr(), layout(old_size), new_size), layout(new_size));
            }
            if offset > old_len {
                record.at(value_offset + old_len).write_bytes(0, offset - old_len);
            }
            let at = record.at(value_offset + offset);
            std::ptr::copy_nonoverlapping(data.as_ptr(), at, data.len());
            let kept = header.0 & !(LEN_MASK << VALUE_LEN_SHIFT);
            record.write_header(Header(kept | EDITED | (new_len as u64) << VALUE_LEN_SHIFT));
        }
        record
    }

    /// Replaces `removed` bytes at `offset` of the string by `data`; the bytes behind move. An integer becomes its decimal
    /// text first. Returns the record to use from now on.
    ///
    /// # Safety
    /// The caller is the owner, puts the returned record in the place of this one, and `data` borrows nothing from
    /// this record.
    #[must_use]
    pub(super) unsafe fn splice(self, offset: usize, removed: usize, data: &[u8]) -> Record {
        let header = self.header();
        // SAFETY: by the caller.
        unsafe {
            match header.kind() {
                KIND_LARGE => {
                    self.large_mut().splice(offset, removed, data);
                    self
                }
                KIND_INT => {
                    let int = self.word(header.value_word_offset()).cast::<i64>().read();
                    let mut text = itoa::Buffer::new();
                    let payload = Payload::Inline(text.format(int).as_bytes());
                    let record = self.replace(payload, self.expire_at(), header.access());
                    record.splice(offset, removed, data)
                }
                KIND_INLINE => self.splice_inline(offset, removed, data),
                _ => unreachable!("bytes are written into strings"),
            }
        }
    }

    /// # Safety
    /// As for `splice`; the kind is `INLINE`.
    unsafe fn splice_inline(self, offset: usize, removed: usize, data: &[u8]) -> Record {
        let header = self.header();
        let old_len = header.value_len();
        assert!(offset <= old_len && removed <= old_len - offset, "the replaced bytes are there");
        let behind = offset + removed;
        let new_len = old_len - removed + data.len();
        if new_len > INLINE_VALUE_MAX {
            // SAFETY: by the caller; the value is copied before the record is replaced.
            unsafe {
                let value = self.inline_value();
                let parts = [&value[..offset], data, &value[behind..]].concat();
                let large = Box::new(Large::new(Bytes::from(parts)));
                return self.replace(Payload::Large(large), self.expire_at(), header.access());
            }
        }
        let value_offset = header.key_offset() + self.key_len(header);
        let (old_size, new_size) = (self.size(), rounded(value_offset + new_len));
        let mut record = self;
        // SAFETY: by the caller. The bytes behind move while the allocation has its larger size, so that all of it lies
        // within; `data` is not of this record.
        unsafe {
            if new_size > old_size {
                record =
                    Record::adopt(realloc(self.0.as_ptr(), layout(old_size), new_size), layout(new_size));
            }
            let value = record.at(value_offset);
            std::ptr::copy(value.add(behind), value.add(offset + data.len()), old_len - behind);
            std::ptr::copy_nonoverlapping(data.as_ptr(), value.add(offset), data.len());
            if new_size < old_size {
                record =
                    Record::adopt(realloc(record.0.as_ptr(), layout(old_size), new_size), layout(new_size));
            }
            let kept = header.0 & !(LEN_MASK << VALUE_LEN_SHIFT);
            record.write_header(Header(kept | EDITED | (new_len as u64) << VALUE_LEN_SHIFT));
        }
        record
    }

    /// Notes that the string was written in part, as APPEND and SETRANGE do; an integer or a large value has no such note.
    #[inline(always)]
    pub(super) fn set_edited(self) {
        let header = self.header();
        if header.kind() == KIND_INLINE {
            // SAFETY: the layout does not depend on this bit; callers hold the owner mutably.
            unsafe { self.write_header(Header(header.0 | EDITED)) }
        }
    }
}

/// Compares `len` bytes in words: keys are short, and a call of memcmp costs more than the comparison.
///
/// # Safety
/// Both pointers are good for reads of `len` bytes.
#[inline(always)]
unsafe fn equal(a: *const u8, b: *const u8, len: usize) -> bool {
    // SAFETY: every read below ends at or before `len`.
    unsafe {
        let word =
            |at: usize| a.add(at).cast::<u64>().read_unaligned() == b.add(at).cast::<u64>().read_unaligned();
        if len >= 8 {
            let last = len - 8;
            let mut at = 0;
            while at < last {
                if !word(at) {
                    return false;
                }
                at += 8;
            }
            return word(last);
        }
        if len >= 4 {
            let half = |at: usize| {
                a.add(at).cast::<u32>().read_unaligned() == b.add(at).cast::<u32>().read_unaligned()
            };
            return half(0) && half(len - 4);
        }
        (0..len).all(|at| a.add(at).read() == b.add(at).read())
    }
}

/// Asks the processor to fetch a cache line; any address will do.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch reads nothing and faults on nothing.
    unsafe {
        use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}

/// One key of a table, borrowed for reading.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    record: Record,
    owner: PhantomData<&'a [u8]>,
}

impl<'a> Entry<'a> {
    /// Asks the processor for what a command on its collection, if it holds one, reads first; the record must be at hand by
    /// now. The command has these arguments behind the key: the next one and the last one.
    #[inline]
    pub fn prefetch_collection(self, arguments: Option<(&[u8], &[u8])>) -> Option<MemberAhead<'a>> {
        match self.value() {
            ValueRef::Object(object) => object.prefetch(arguments),
            _ => None,
        }
    }

    /// The key.
    #[inline(always)]
    pub fn key(&self) -> &'a [u8] {
        // SAFETY: the owner is borrowed for 'a.
        unsafe { self.record.key() }
    }

    /// The value.
    #[inline(always)]
    pub fn value(&self) -> ValueRef<'a> {
        let header = self.record.header();
        // SAFETY: the owner is borrowed for 'a.
        unsafe {
            match header.kind() {
                KIND_INLINE => ValueRef::Bytes(self.record.inline_value()),
                KIND_INT => ValueRef::Int(self.record.word(header.value_word_offset()).cast::<i64>().read()),
                KIND_LARGE => ValueRef::Shared(&self.record.large().bytes),
                kind => {
                    let word = self.record.word(header.value_word_offset()).read();
                    ValueRef::Object(ObjectRef::new(type_of(kind), word))
                }
            }
        }
    }

    /// Whether the string was written in part since it was set: Redis keeps such a one in its growable form, however
    /// short it is.
    pub fn is_edited(&self) -> bool {
        self.record.header().0 & EDITED != 0
    }

    /// Whether the value is a collection.
    #[inline(always)]
    pub fn is_object(&self) -> bool {
        self.record.header().kind() >= KIND_LIST
    }

    /// When the key expires, in unix milliseconds. The table does not hide an expired key: its caller knows the time.
    #[inline(always)]
    pub fn expire_at(&self) -> Option<u64> {
        self.record.expire_at()
    }

    /// A time before which no element of the value expires, in unix milliseconds; none when it is no collection with such
    /// elements.
    pub(super) fn next_expiry_inside(&self) -> Option<u64> {
        match self.value() {
            ValueRef::Object(object) => object.next_expiry(),
            _ => None,
        }
    }

    /// The 24-bit access clock.
    #[inline(always)]
    pub fn access(&self) -> u32 {
        self.record.header().access()
    }

    /// A copy of the value, expiry and access clock; a large value is shared.
    pub fn to_owned(&self) -> OwnedEntry {
        let value;
        let payload = match self.value() {
            ValueRef::Int(int) => Payload::Int(int),
            ValueRef::Bytes(bytes) => Payload::Inline(bytes),
            ValueRef::Shared(bytes) => {
                value = NewValue::Shared(bytes.clone());
                Payload::new(&value)
            }
            ValueRef::Object(object) => Payload::Object(object.with(Object::clone)),
        };
        let record = Record::new(self.key(), payload, self.expire_at(), self.access());
        // SAFETY: the record was just made; its layout does not depend on this bit.
        unsafe { record.write_header(Header(record.header().0 | self.record.header().0 & EDITED)) };
        OwnedEntry { record }
    }

    /// Bytes of memory that the key takes: its slot, its record, and a large value or a collection with its spare capacity.
    pub fn memory_usage(&self) -> usize {
        let contents = match self.value() {
            ValueRef::Object(object) => object.with(Object::memory),
            _ => 0,
        };
        std::mem::size_of::<u64>() + self.record.heap_bytes() + contents
    }
}

impl std::fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key())
            .field("value", &self.value())
            .field("expire_at", &self.expire_at())
            .finish()
    }
}

/// A key taken out of a table with its value and expiry, on its way to another key, table or shard.
pub struct OwnedEntry {
    record: Record,
}

impl OwnedEntry {
    /// # Safety
    /// The caller is the owner of the record and gives it away.
    pub(super) unsafe fn new(record: Record) -> OwnedEntry {
        OwnedEntry { record }
    }

    /// The entry, for reading.
    pub fn entry(&self) -> Entry<'_> {
        // SAFETY: the owner is `self`, borrowed for as long as the result.
        unsafe { self.record.entry() }
    }

    /// Bytes of memory that it holds.
    pub(super) fn heap_bytes(&self) -> usize {
        self.record.heap_bytes()
    }

    /// The value, expiry and access clock as a record of this key.
    pub(super) fn into_record(self, key: &[u8]) -> Record {
        let record = self.record;
        let _moved = std::mem::ManuallyDrop::new(self);
        // SAFETY: `self` was the owner and is not dropped.
        unsafe { record.moved_to(key, record.expire_at(), record.header().access()) }
    }
}

impl Drop for OwnedEntry {
    fn drop(&mut self) {
        // SAFETY: the owner is `self`, which ends here.
        unsafe { self.record.free() }
    }
}

impl std::fmt::Debug for OwnedEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.entry().fmt(f)
    }
}

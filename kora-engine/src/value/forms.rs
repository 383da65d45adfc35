//! A collection in one word: an enum of owned pointers, whose form lies in the low bits of the pointer.
//!
//! A record has one word for its value. [`forms!`](crate::value::forms) makes an ordinary enum for a type of collection,
//! and the conversion between it and that word; so a small collection costs its key one word and one allocation, and
//! the code that works on it is plain Rust.

use super::buffer::Buffer;

/// Bits of a word below the pointer.
pub(crate) const FORM_MASK: u64 = 0b111;

/// An owned pointer, aligned to 8.
///
/// # Safety
/// `into_raw` gives a pointer that is not null, with 3 low bits and 16 high bits 0, and `from_raw` of it the value back.
pub(crate) unsafe trait Pointer: Sized {
    /// Gives the value away as a pointer.
    fn into_raw(self) -> *mut u8;

    /// Takes it back.
    ///
    /// # Safety
    /// `raw` came from `into_raw` of the same type and is turned back once.
    unsafe fn from_raw(raw: *mut u8) -> Self;

    /// Moves what lies in sparse pages of the allocator elsewhere, if that is quickly done. Large collections stay: parts of them may point to
    /// each other.
    fn relocate(&mut self, _is_sparse: &dyn Fn(*const u8) -> bool) {}
}

// SAFETY: a box of a type that is aligned to 8 and not zero-sized lies in the heap, whose addresses fit 48 bits: records
// assert it when they store a word.
unsafe impl<T> Pointer for Box<T> {
    fn into_raw(self) -> *mut u8 {
        const { assert!(align_of::<T>() >= 8 && size_of::<T>() > 0) };
        Box::into_raw(self).cast()
    }

    unsafe fn from_raw(raw: *mut u8) -> Box<T> {
        // SAFETY: by the caller.
        unsafe { Box::from_raw(raw.cast()) }
    }
}

// SAFETY: a buffer's header is aligned to 8 and in the heap, or a static of the program.
unsafe impl Pointer for Buffer {
    fn into_raw(self) -> *mut u8 {
        Buffer::into_raw(self)
    }

    unsafe fn from_raw(raw: *mut u8) -> Buffer {
        // SAFETY: by the caller.
        unsafe { Buffer::from_raw(raw) }
    }

    fn relocate(&mut self, is_sparse: &dyn Fn(*const u8) -> bool) {
        Buffer::relocate(self, is_sparse);
    }
}

/// What fits a record's value word.
///
/// # Safety
/// `from_word(into_word(value))` is the value; the word's upper 16 bits are 0.
pub(crate) unsafe trait InWord: Sized {
    /// Gives the value away as a word.
    fn into_word(self) -> u64;

    /// Takes it back.
    ///
    /// # Safety
    /// `word` came from `into_word` of the same type, and every value that is made of it but one is forgotten.
    unsafe fn from_word(word: u64) -> Self;

    /// Moves what lies in sparse pages of the allocator elsewhere, if that is quickly done.
    fn relocate(&mut self, is_sparse: &dyn Fn(*const u8) -> bool);
}

/// `word` of a pointer and the number of a form.
pub(crate) fn word_of(raw: *mut u8, form: u64) -> u64 {
    let address = raw.expose_provenance() as u64;
    assert!(address & FORM_MASK == 0 && address >> 48 == 0, "addresses fit 48 bits");
    address | form
}

/// The pointer of a word.
pub(crate) fn pointer_of(word: u64) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut((word & !FORM_MASK) as usize)
}

/// Declares a type of collection: an enum whose variants each hold a [`Buffer`] or a `Box`, numbered from 0 to 7.
macro_rules! forms {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($(#[$form_doc:meta])* $form:ident($payload:ty) = $number:literal),+ $(,)? }) => {
        $(#[$doc])*
        $vis enum $name { $($(#[$form_doc])* $form($payload)),+ }

        // SAFETY: each variant has a number of its own below 8, and its payload's pointer leaves those bits free.
        unsafe impl $crate::value::forms::InWord for $name {
            #[inline]
            fn into_word(self) -> u64 {
                match self {
                    $($name::$form(payload) => {
                        const { assert!($number < 8) };
                        $crate::value::forms::word_of($crate::value::forms::Pointer::into_raw(payload), $number)
                    })+
                }
            }

            #[inline]
            unsafe fn from_word(word: u64) -> $name {
                let raw = $crate::value::forms::pointer_of(word);
                match word & $crate::value::forms::FORM_MASK {
                    // SAFETY: by the caller, the pointer came from the payload of this form.
                    $($number => $name::$form(unsafe { $crate::value::forms::Pointer::from_raw(raw) }),)+
                    form => unreachable!("form {form} of {}", stringify!($name)),
                }
            }

            fn relocate(&mut self, is_sparse: &dyn Fn(*const u8) -> bool) {
                match self {
                    $($name::$form(payload) => $crate::value::forms::Pointer::relocate(payload, is_sparse),)+
                }
            }
        }
    };
}

pub(crate) use forms;

#[cfg(test)]
mod tests {
    use super::*;

    forms! {
        #[derive(Debug, PartialEq, Clone)]
        enum Sample { Packed(Buffer) = 0, Wide(Box<u64>) = 1, List(Box<Vec<u8>>) = 5 }
    }

    #[test]
    fn a_word_keeps_form_and_value() {
        let samples = [
            Sample::Packed(Buffer::new()),
            Sample::Packed(Buffer::from(&b"abc"[..])),
            Sample::Wide(Box::new(7)),
            Sample::List(Box::new(vec![1, 2])),
        ];
        for sample in samples {
            let copy = sample.clone();
            let word = sample.into_word();
            // SAFETY: the word was made above, once.
            assert_eq!(unsafe { Sample::from_word(word) }, copy);
        }
    }
}

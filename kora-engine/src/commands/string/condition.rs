//! The conditions of SET and DELEX, and the digest that some of them compare.

use super::value::with_text;
use crate::args::is;
use crate::error::Error;
use crate::table::ValueRef;
use twox_hash::XxHash3_64;

const DIGEST_LEN: usize = 16;
const BAD_DIGEST: Error = Error::new("ERR must be exactly 16 hexadecimal characters");

/// What must hold of the key's value for the command to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition<'a> {
    /// Nothing.
    None,
    /// There is no key.
    Missing,
    /// There is a key.
    Present,
    /// A comparison of the value with an argument.
    Compare(Comparison, &'a [u8]),
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    DigestEqual,
    DigestNotEqual,
}

impl Comparison {
    /// The comparison of this option word.
    pub(super) fn named(word: &[u8]) -> Option<Comparison> {
        if is(word, "ifeq") {
            Some(Comparison::Equal)
        } else if is(word, "ifne") {
            Some(Comparison::NotEqual)
        } else if is(word, "ifdeq") {
            Some(Comparison::DigestEqual)
        } else if is(word, "ifdne") {
            Some(Comparison::DigestNotEqual)
        } else {
            None
        }
    }

    /// Whether it holds between a value and the argument.
    ///
    /// # Errors
    /// A digest that is not 16 characters long. (Others than hexadecimal ones just never match, as in Redis.)
    pub(super) fn holds(self, value: ValueRef<'_>, argument: &[u8]) -> Result<bool, Error> {
        let digest_is = |argument: &[u8]| {
            if argument.len() != DIGEST_LEN {
                return Err(BAD_DIGEST);
            }
            Ok(digest(value).eq_ignore_ascii_case(argument))
        };
        match self {
            Comparison::Equal => Ok(with_text(value, |text| text == argument)),
            Comparison::NotEqual => Ok(with_text(value, |text| text != argument)),
            Comparison::DigestEqual => digest_is(argument),
            Comparison::DigestNotEqual => digest_is(argument).map(|equal| !equal),
        }
    }
}

impl Condition<'_> {
    /// Whether it holds of this value.
    ///
    /// # Errors
    /// As in [`Comparison::holds`].
    pub(super) fn holds(self, value: Option<ValueRef<'_>>) -> Result<bool, Error> {
        match (self, value) {
            (Condition::None, _) => Ok(true),
            (Condition::Missing, value) => Ok(value.is_none()),
            (Condition::Present, value) => Ok(value.is_some()),
            (Condition::Compare(comparison, argument), Some(value)) => comparison.holds(value, argument),
            // A key that is not there differs from everything.
            (Condition::Compare(comparison, _), None) => {
                Ok(matches!(comparison, Comparison::NotEqual | Comparison::DigestNotEqual))
            }
        }
    }
}

/// XXH3-64 of a value, seed 0, as 16 hexadecimal digits.
pub(super) fn digest(value: ValueRef<'_>) -> [u8; DIGEST_LEN] {
    let hash = with_text(value, XxHash3_64::oneshot);
    std::array::from_fn(|i| b"0123456789abcdef"[(hash >> (60 - 4 * i)) as usize & 15])
}

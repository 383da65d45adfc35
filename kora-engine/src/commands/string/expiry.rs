//! The expiry options that SET and GETEX share.

use crate::args::{integer, is};
use crate::change::UnixMs;
use crate::command::Command;
use crate::error::Error;

/// The form of an expiry argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// EX: seconds from now.
    Seconds,
    /// PX: milliseconds from now.
    Milliseconds,
    /// EXAT: seconds since the epoch.
    AtSeconds,
    /// PXAT: milliseconds since the epoch.
    AtMilliseconds,
}

impl Form {
    /// The form of this option word.
    pub(super) fn named(word: &[u8]) -> Option<Form> {
        if is(word, "ex") {
            Some(Form::Seconds)
        } else if is(word, "px") {
            Some(Form::Milliseconds)
        } else if is(word, "exat") {
            Some(Form::AtSeconds)
        } else if is(word, "pxat") {
            Some(Form::AtMilliseconds)
        } else {
            None
        }
    }

    /// The absolute time that an argument of this form means.
    ///
    /// # Errors
    /// The argument is not an integer, is not positive, or means a time that 63 bits cannot hold.
    pub(super) fn resolve(self, argument: &[u8], now: UnixMs, command: &Command) -> Result<UnixMs, Error> {
        let amount = integer(argument)?;
        let invalid = || Error::invalid_expire(&command.full_name);
        let millis = match self {
            Form::Seconds | Form::AtSeconds => amount.checked_mul(1000).ok_or_else(invalid)?,
            Form::Milliseconds | Form::AtMilliseconds => amount,
        };
        if amount <= 0 {
            return Err(invalid());
        }
        let at = match self {
            Form::AtSeconds | Form::AtMilliseconds => Some(millis),
            Form::Seconds | Form::Milliseconds => millis.checked_add_unsigned(now),
        };
        at.map(|at| at as UnixMs).ok_or_else(invalid)
    }

    /// Whether the argument is a point in time, which may lie in the past.
    pub(super) fn is_absolute(self) -> bool {
        matches!(self, Form::AtSeconds | Form::AtMilliseconds)
    }
}

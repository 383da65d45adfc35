//! What a command answers when it refuses: Redis's codes and Redis's words.

use std::borrow::Cow;

/// The text of an error reply, code first (`ERR syntax error`).
///
/// Almost all texts are constants; those that quote the client's input own their bytes. The reply sink
/// makes them safe to send (no CR or LF).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Cow<'static, [u8]>);

impl Error {
    /// A constant error.
    pub const fn new(text: &'static str) -> Error {
        Error(Cow::Borrowed(text.as_bytes()))
    }

    /// An error that quotes input.
    pub fn owned(text: impl Into<Vec<u8>>) -> Error {
        Error(Cow::Owned(text.into()))
    }

    /// The bytes of the error line, without the leading `-`.
    pub fn text(&self) -> &[u8] {
        &self.0
    }

    /// The code: the first word.
    pub fn code(&self) -> &[u8] {
        self.0.split(|&b| b == b' ').next().unwrap_or(&[])
    }

    /// `ERR wrong number of arguments for 'name' command`.
    #[cold]
    pub fn wrong_arity(name: &str) -> Error {
        Error::owned(format!("ERR wrong number of arguments for '{name}' command"))
    }

    /// `ERR invalid expire time in 'name' command`.
    #[cold]
    pub fn invalid_expire(name: &str) -> Error {
        Error::owned(format!("ERR invalid expire time in '{name}' command"))
    }

    /// The option combination or the word is not one that the command knows.
    pub const SYNTAX: Error = Error::new("ERR syntax error");
    /// An argument or a stored value is not a 64-bit integer.
    pub const NOT_INTEGER: Error = Error::new("ERR value is not an integer or out of range");
    /// An argument or a stored value is not a finite floating point number.
    pub const NOT_FLOAT: Error = Error::new("ERR value is not a valid float");
    /// The key holds another type.
    pub const WRONG_TYPE: Error =
        Error::new("WRONGTYPE Operation against a key holding the wrong kind of value");
    /// The key that must exist does not.
    pub const NO_SUCH_KEY: Error = Error::new("ERR no such key");
    /// An integer result that does not fit.
    pub const OVERFLOW: Error = Error::new("ERR increment or decrement would overflow");
    /// A string would become longer than `proto-max-bulk-len`.
    pub const STRING_TOO_LONG: Error =
        Error::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    /// A byte offset below zero or past the limit.
    pub const OFFSET: Error = Error::new("ERR offset is out of range");
    /// A database index outside `databases`.
    pub const DB_INDEX: Error = Error::new("ERR DB index is out of range");
    /// A SCAN cursor that is not an unsigned 64-bit number.
    pub const INVALID_CURSOR: Error = Error::new("ERR invalid cursor");
    /// COPY, MOVE or RENAME onto itself where that is refused.
    pub const SAME_OBJECT: Error = Error::new("ERR source and destination objects are the same");
}

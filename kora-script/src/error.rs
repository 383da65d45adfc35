//! What goes wrong before a script runs.

/// An error in Redis's words, beginning with its code: what the client is to be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", String::from_utf8_lossy(.0))]
pub struct Error(Vec<u8>);

impl Error {
    pub(crate) fn of(text: &[u8]) -> Error {
        Error(text.to_vec())
    }

    /// A text and what it is about.
    pub(crate) fn about(text: &str, subject: &[u8]) -> Error {
        Error([text.as_bytes(), subject].concat())
    }

    /// The text, with its code.
    pub fn text(&self) -> &[u8] {
        &self.0
    }
}

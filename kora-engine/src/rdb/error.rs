//! What can be wrong with bytes that should be in the RDB format.

/// Why bytes were refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {problem}")]
pub struct Error {
    /// How many bytes had been read when it was noticed: the problem lies there or shortly before.
    pub offset: u64,
    /// What it is.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The bytes end in the middle of something: the file was cut short.
    #[error("the data ends in the middle of a value")]
    Truncated,
    /// The operating system could not read the file.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// A number that says an encoding is not one that versions up to [`super::VERSION_MAX`] have.
    #[error("unknown value type {0}")]
    UnknownType(u8),
    /// A value that a module of Redis wrote, and only that module can read.
    #[error("the value of a module, which cannot be read")]
    Module,
    /// Keys of a database beyond those that are configured.
    #[error("database {0} is not configured: raise `databases`")]
    Database(u64),
    /// Something is not as the format wants it.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A string longer than any is allowed to be.
    #[error("a string of {0} bytes, which is too long")]
    TooLong(u64),
    /// An element that must be there once is there twice.
    #[error("duplicate {0}")]
    Duplicate(&'static str),
}

//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere.
    Default,
    /// In a file, on a line counted from 1.
    File(PathBuf, usize),
    /// In the environment variable of this name.
    Environment(String),
    /// By the flag of this name (without its dashes).
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Environment(variable) => f.write_str(variable),
            Origin::Flag(flag) => write!(f, "--{flag}"),
        }
    }
}

/// One problem: `kora.toml:12: unknown key "woker"; did you mean "workers"?`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// A file and line, a variable, or a flag.
    pub place: String,
    /// What is wrong and what to do about it. Never holds the password.
    pub message: String,
}

impl ConfigError {
    pub(crate) fn new(place: impl fmt::Display, message: impl Into<String>) -> Self {
        ConfigError { place: place.to_string(), message: message.into() }
    }

    pub(crate) fn in_file(path: &Path, message: impl Into<String>) -> Self {
        ConfigError::new(path.display(), message)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Everything that is wrong: the file from top to bottom, then the environment, then the flags, then what does not fit
/// together. Displayed one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

//! `kora inspect`, `kora check` and `kora repair`: [`kora_persist::tools`] with the directory's lock held.

use super::OfflineError;
use crate::storage::directory::Directory;
pub use kora_persist::tools::{Repaired, Report};

use kora_persist::tools::{self, ToolError};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// What is in a data directory, and what a recovery would do.
///
/// # Errors
/// It is none, a server works there, or it cannot be read.
pub fn inspect(path: &Path) -> Result<Report, OfflineError> {
    let _lock = lock(path)?;
    Ok(tools::inspect(path)?)
}

/// The same, and reads all of every snapshot.
///
/// # Errors
/// As for [`inspect`].
pub fn check(path: &Path) -> Result<Report, OfflineError> {
    let _lock = lock(path)?;
    Ok(tools::check(path)?)
}

/// Has the log end before the damage, and keeps what it takes away in the folder `backup-<seconds since 1970>` of the directory.
///
/// # Errors
/// As for [`inspect`], or a file cannot be written.
pub fn repair(path: &Path) -> Result<Repaired, OfflineError> {
    let _lock = lock(path)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(tools::repair(path, &format!("backup-{}", now.as_secs()))?)
}

/// Takes a directory that is there: looking at one must not make it.
fn lock(path: &Path) -> Result<Directory, OfflineError> {
    if !path.join("kora.id").exists() {
        return Err(ToolError::NoDirectory(path.to_owned()).into());
    }
    Ok(Directory::open(path)?)
}

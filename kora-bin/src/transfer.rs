//! `kora import` and `kora export`: RDB files into and out of the data directory.

use crate::config::Config;
use crate::server::encodings;
use kora_net::offline::{self, ExportReport, ImportOptions, ImportReport, OfflineError};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Why nothing was imported or exported.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The configuration does not say where the data is.
    #[error("data_dir is not set: name the data directory with --data-dir DIR")]
    NoDirectory,
    /// See there.
    #[error(transparent)]
    Offline(#[from] OfflineError),
}

fn directory(config: &Config) -> Result<&PathBuf, TransferError> {
    config.data_dir.as_ref().ok_or(TransferError::NoDirectory)
}

/// Imports an RDB file; returns what is to be said about it.
///
/// # Errors
/// Nothing was imported.
pub fn import(config: &Config, file: &Path) -> Result<String, TransferError> {
    let directory = directory(config)?;
    let options = ImportOptions {
        databases: config.databases as u16,
        shards: config.workers as u16,
        limits: encodings(config),
    };
    let began = Instant::now();
    let report = offline::import(file, directory, &options)?;
    Ok(told_import(&report, file, directory, began.elapsed().as_secs_f64()))
}

/// Imports an RDB file before the server starts, unless the data directory has data already: so the same command line starts it again.
///
/// # Errors
/// Nothing was imported, for another reason.
pub fn import_if_empty(config: &Config, file: &Path) -> Result<(), TransferError> {
    match import(config, file) {
        Ok(text) => print!("{text}"),
        Err(TransferError::Offline(OfflineError::NotEmpty(directory))) => {
            println!("{} has data already: --import is passed over.", directory.display());
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

fn told_import(report: &ImportReport, file: &Path, directory: &Path, seconds: f64) -> String {
    let by = report.written_by.as_ref().map_or(String::new(), |by| format!(" ({by})"));
    let mut text = format!(
        "{} keys and {} of functions from {}{by} are in {} now ({} bytes read, {} written, {seconds:.1} s).\n",
        report.keys,
        counted(report.libraries, "library", "libraries"),
        file.display(),
        directory.display(),
        report.bytes_read,
        report.bytes_written
    );
    if report.expired > 0 {
        text += &format!("{} had expired and were left out.\n", counted(report.expired, "key", "keys"));
    }
    if report.empty > 0 {
        text += &format!("{} had no elements and were left out.\n", counted(report.empty, "key", "keys"));
    }
    for (name, keys) in &report.modules {
        text +=
            &format!("What the module type {name} had was left out: {}.\n", counted(*keys, "key", "keys"));
    }
    text
}

/// Exports an RDB file; returns what is to be said about it.
///
/// # Errors
/// Nothing was exported.
pub fn export(config: &Config, file: &Path, version: u16) -> Result<String, TransferError> {
    let directory = directory(config)?;
    let began = Instant::now();
    let report = offline::export(file, directory, config.databases as u16, config.wal_enabled, version)?;
    Ok(told_export(&report, file, directory, began.elapsed().as_secs_f64()))
}

fn told_export(report: &ExportReport, file: &Path, directory: &Path, seconds: f64) -> String {
    let mut text = format!(
        "{} keys and {} of functions of {} are in {} now, as of log position {} ({} bytes, {seconds:.1} s).\n",
        report.keys,
        counted(report.libraries, "library", "libraries"),
        directory.display(),
        file.display(),
        report.last_lsn,
        report.bytes
    );
    if report.expired > 0 {
        text += &format!("{} had expired and were left out.\n", counted(report.expired, "key", "keys"));
    }
    if report.is_torn {
        text += "The end of the log was torn by a crash; what stands behind it was never durable and was left out.\n";
    }
    text
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

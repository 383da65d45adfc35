//! Starts the server: limits, preflight, signals, executors, readiness.

use thiserror::Error;

use crate::config::Loaded;
use crate::{limits, logging, preflight};

/// Why the server did not start or did not go on.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The log cannot be set up.
    #[error(transparent)]
    Logging(#[from] logging::LoggingError),
    /// The machine lacks something; the message names the setting.
    #[error(transparent)]
    Preflight(#[from] preflight::PreflightError),
    /// The limits of this process can be neither read nor set.
    #[error("cannot set the limits of this process: {0}")]
    Limits(std::io::Error),
    /// Not even one client fits.
    #[error("{0}")]
    NoRoom(String),
    /// This build has no network.
    #[error("this build has no network yet")]
    NoNetwork,
}

/// Runs the server until it is asked to stop.
pub fn run(loaded: Loaded) -> Result<(), ServerError> {
    let mut config = loaded.config;
    logging::init(config.log_level, config.log_format)?;
    let room = limits::raise_nofile(&mut limits::ProcessLimits, config.max_clients, config.workers)
        .map_err(ServerError::Limits)?;
    if let Some(warning) = room.warning {
        if room.max_clients == 0 {
            return Err(ServerError::NoRoom(warning));
        }
        tracing::warn!("{warning}");
    }
    config.max_clients = room.max_clients;
    limits::raise_memlock(&mut limits::ProcessLimits).map_err(ServerError::Limits)?;
    let report = preflight::check(&config)?;
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    Err(ServerError::NoNetwork)
}

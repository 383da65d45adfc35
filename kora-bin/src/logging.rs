//! Logs: text or JSON, on standard error, at a level that can be changed while the server runs.

use std::sync::OnceLock;

use thiserror::Error;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, reload, Layer, Registry};

use crate::config::{LogFormat, LogLevel};

/// The filter in force; set once by [`init`].
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Why logging is not as asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoggingError {
    /// [`init`] was called twice, or another library has taken the process's logs.
    #[error("the log is already set up")]
    AlreadyInitialised,
    /// [`set_log_level`] was called before [`init`].
    #[error("the log is not set up")]
    NotInitialised,
    /// There is no such level.
    #[error("log level must be \"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\", not \"{0}\"")]
    UnknownLevel(String),
}

/// Sends this process's logs to standard error. To be called once.
pub fn init(level: LogLevel, format: LogFormat) -> Result<(), LoggingError> {
    let (filter, handle) = reload::Layer::new(targets(filter_of(level)));
    let sink = match format {
        LogFormat::Text => {
            fmt::layer().with_writer(std::io::stderr).with_ansi(stderr_is_a_terminal()).boxed()
        }
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_writer(std::io::stderr)
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(sink)
        .try_init()
        .map_err(|_| LoggingError::AlreadyInitialised)?;
    FILTER.set(handle).map_err(|_| LoggingError::AlreadyInitialised)
}

/// Changes the level of the running process. Takes the levels of `log_level` and those of Redis's `loglevel`
/// (`verbose` is debug, `notice` is info, `warning` is warn, `nothing` is off).
pub fn set_log_level(level: &str) -> Result<(), LoggingError> {
    let level = parse_level(level)?;
    let handle = FILTER.get().ok_or(LoggingError::NotInitialised)?;
    // The subscriber is global and never dropped, so the handle cannot have lost it.
    handle.reload(targets(level)).map_err(|_| LoggingError::NotInitialised)
}

fn parse_level(level: &str) -> Result<LevelFilter, LoggingError> {
    Ok(match level.to_ascii_lowercase().as_str() {
        "off" | "nothing" => LevelFilter::OFF,
        "error" => LevelFilter::ERROR,
        "warn" | "warning" => LevelFilter::WARN,
        "info" | "notice" => LevelFilter::INFO,
        "debug" | "verbose" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => return Err(LoggingError::UnknownLevel(level.to_owned())),
    })
}

fn filter_of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// The executor's library logs every pass at its lower levels, which says nothing about Kora.
fn targets(level: LevelFilter) -> Targets {
    Targets::new().with_default(level).with_target("glommio", level.min(LevelFilter::WARN))
}

fn stderr_is_a_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_our_names_and_those_of_redis() {
        for (name, level) in [
            ("off", LevelFilter::OFF),
            ("nothing", LevelFilter::OFF),
            ("error", LevelFilter::ERROR),
            ("warn", LevelFilter::WARN),
            ("warning", LevelFilter::WARN),
            ("info", LevelFilter::INFO),
            ("Notice", LevelFilter::INFO),
            ("debug", LevelFilter::DEBUG),
            ("verbose", LevelFilter::DEBUG),
            ("trace", LevelFilter::TRACE),
        ] {
            assert_eq!(parse_level(name), Ok(level));
        }
        assert_eq!(
            parse_level("loud").unwrap_err().to_string(),
            "log level must be \"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\", not \"loud\""
        );
    }

    #[test]
    fn the_level_changes_while_running_and_the_log_is_set_up_once() {
        assert_eq!(set_log_level("info"), Err(LoggingError::NotInitialised));
        init(LogLevel::Error, LogFormat::Json).unwrap();
        assert!(!tracing::enabled!(tracing::Level::INFO));
        set_log_level("verbose").unwrap();
        assert!(tracing::enabled!(tracing::Level::DEBUG));
        assert!(!tracing::enabled!(target: "glommio", tracing::Level::INFO));
        set_log_level("off").unwrap();
        assert!(!tracing::enabled!(tracing::Level::ERROR));
        assert_eq!(init(LogLevel::Info, LogFormat::Text), Err(LoggingError::AlreadyInitialised));
    }
}

//! Kora as a library: what the `kora` binary is made of.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | flags over environment over `kora.toml` over defaults |
//! | [`cli`] | the command line |
//! | [`preflight`] | whether this machine can run the server, with the setting to change if not |
//! | [`limits`] | file descriptors and locked memory |
//! | [`logging`] | text or JSON on standard error, level changeable while running |
//! | [`notify`] | readiness for systemd |
//! | [`signals`] | SIGTERM and SIGINT |
//! | [`server`] | puts these together and runs |
//! | [`transfer`] | `kora import` and `kora export` |
//!
//! ```
//! let defaults = kora::config::Config::default();
//! assert_eq!(defaults.port, 6379);
//! ```

pub mod cli;
pub mod config;
mod cores;
pub mod limits;
pub mod logging;
pub mod notify;
pub mod preflight;
pub mod server;
pub mod signals;
pub mod transfer;

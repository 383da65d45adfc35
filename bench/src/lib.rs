//! Load generator for Redis-compatible servers, and the comparison of Kora with its peers.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cli`] | the commands and their exit codes |
//! | [`load`] | one measured run: configuration, worker threads, report |
//! | `compare` | servers in alternation, scenarios, medians, table, chart |
//! | `durability` | what the log and snapshots cost, and how fast they load |
//! | `hit_ratio` | how well servers choose what to evict |
//! | `stalls` | how long another client waits while one command works on something large |
//! | [`responder`] | a server that does nothing but answer: the generator's own ceiling, and the tests' peer |
//!
//! A run is one call:
//!
//! ```
//! use kora_bench::load::{self, LoadConfig, Stop};
//! use kora_bench::responder::Responder;
//!
//! let server = Responder::start(Default::default())?;
//! let mut config = LoadConfig::to(server.endpoint());
//! config.stop = Stop::Requests(1_000);
//! let report = load::run(&config)?;
//! assert_eq!((report.requests, report.errors), (1_000, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ceiling;
pub mod cli;
mod client;
mod compare;
mod durability;
mod endpoint;
mod error;
mod hit_ratio;
mod json;
mod keys;
pub mod load;
mod reply;
pub mod responder;
mod slot;
pub mod stalls;
mod sys;
mod transactions;
mod zipf;

pub use endpoint::Endpoint;
pub use error::Error;

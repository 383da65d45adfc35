//! Modules of Kora: each a folder with its per-shard state and its commands.
//!
//! | module | what it keeps |
//! |---|---|
//! | [`observe`] | command statistics, slow log, latency monitor, rates and error counts of one executor |
//!
//! Everything here is plain synchronous Rust: no I/O, no clock, no randomness. Times are arguments.

pub mod observe;

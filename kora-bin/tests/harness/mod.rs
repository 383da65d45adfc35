//! What the black-box suites stand on: servers as child processes, a raw RESP client, real client programs.
//!
//! The suites know Kora only as a binary that listens on a port. `KORA_BIN` points them at another binary; when its
//! name starts with `redis-server` they start it with Redis's flags, which is how the suites themselves are
//! checked: every promise that Redis also keeps must hold when Redis is on both sides.
//!
//! - `server`: starts, awaits, measures and stops one server in a directory of its own
//! - `sandbox`: what is taken away from a server before it runs (descriptors, locked memory, system calls)
//! - `resp`: reads and writes RESP2 and RESP3 without interpreting more than the frame
//! - `documents`: parts of documents that tests make
//! - `random`: random commands of every family
//! - `programs`: runs redis-cli, redis-benchmark, python with redis-py

// Every test crate compiles this module and uses its own part of it.
#![allow(dead_code, unused_imports)]

pub mod documents;
pub mod programs;
pub mod random;
pub mod resp;
pub mod sandbox;
pub mod server;

pub use resp::{Client, Reply, Value};
pub use server::{Exit, Launch, Server, Subject};

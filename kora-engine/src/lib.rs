//! One shard of Kora: a pure state machine.
//!
//! [`shard::Shard::apply`]: same input, same state, same bytes. No I/O, no async, no clock and no randomness of
//! its own; time and seeds come in as arguments. The server, the embedded library, log replay and the simulator
//! all run this code.
//!
//! A command finds its row in the [`command`] table, its handler in `commands/` gets an [`exec::Exec`], reads and
//! writes through the [`keyspace`] (the apply path, which makes the [`change`] records), and answers to a
//! [`reply::Reply`] sink.

pub mod args;
mod bits;
pub mod blocking;
pub mod change;
pub mod command;
mod commands;
pub mod double;
pub mod error;
pub mod exec;
mod geo;
pub mod glob;
pub mod hash;
mod hyperloglog;
pub mod keys_of;
pub mod keyspace;
pub mod limits;
mod long_double;
mod partial_sort;
pub mod random;
pub mod rdb;
pub mod reply;
pub mod shard;
pub mod slot;
pub mod syntax;
pub mod table;
pub mod value;

pub use commands::generic::CopyOptions;
pub use commands::lcs;
pub use commands::scan::cursor_shard;
pub use commands::stream::check_read_group;

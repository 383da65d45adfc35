//! One shard of Kora: a pure state machine.
//!
//! `Shard::apply(now, command, reply)`: same input, same state, same bytes. No I/O, no async, no clock and no
//! randomness of its own; time and random numbers come in as arguments. The server, the embedded library,
//! log replay and the simulator all run this code.

pub mod change;
pub mod error;
pub mod reply;

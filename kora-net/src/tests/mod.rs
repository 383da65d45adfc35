//! Tests of the running server: executors, sockets and mail in this process, clients on a Unix socket.

mod closing;
pub(crate) mod harness;
mod pressure;
mod shards;
mod simulation;
mod small_ring;

//! What is atomic in single-threaded Redis is atomic here, with any number of workers: shown by what concurrent clients observe.
//!
//! Clients do random things on few keys that lie on different shards, everything is recorded, and `kora-check` says whether a server with one thread
//! could have answered that. Some clients die between their command and its reply. In the end nothing may be left locked, blocked or watched.
//!
//! With a redis-server in `KORA_BIN` the suite checks itself. `ATOMICITY_SECONDS` makes it run longer, `ATOMICITY_SEED` repeats the choices of a run.
//!
//! - `recorder`: clients that write down what they do
//! - `stress`: servers, threads, verdicts
//! - the tests: `commands`, `transactions`, `blocking`, `scripts`

mod blocking;
mod commands;
#[path = "../harness/mod.rs"]
mod harness;
mod recorder;
mod scripts;
mod stress;
mod transactions;

//! What was acknowledged is still there after the process was killed, in exactly the terms of `wal_sync`; what was not is there as a whole or not at all.
//!
//! The suite runs the real binary and kills it with SIGKILL: what the kernel has taken is then kept, what lay in the process is lost. Power loss, which takes what
//! the disk has not been told to keep, is the matter of the simulated disk in `kora-persist`.
//!
//! `KORA_ROUNDS=200` makes the crash rounds of each mode so many, `KORA_SEED` repeats the choices of a run. With a redis-server in `KORA_BIN` the suite checks
//! itself: what needs no knowledge of Kora's files must hold there too, except that Redis's EVERYSEC and its threads know other limits.
//!
//! - `disk`: a data directory that outlives its servers, and how they are started on it
//! - `model`: the data of one connection, and what commands make of it
//! - `workload`: random commands
//! - `clients`: connections that send them and write down what was acknowledged
//! - `verdict`: what a server has kept of what a connection sent, told from what there is
//! - `dump`: all that a server holds, in a form that can be compared
//! - the tests: `rounds`, `restart`, `damage`, `loading`, `failures`

mod clients;
mod damage;
mod disk;
mod dump;
mod failures;
#[path = "../harness/mod.rs"]
mod harness;
mod loading;
mod model;
mod restart;
mod rounds;
mod verdict;
mod workload;

//! What the fuzz targets run. The tests `fuzz_corpus` of kora-net and kora-persist include the same files, so
//! that `cargo test` runs them too.

pub mod command;
pub mod log;
pub mod rdb;
pub mod resp;
pub mod snapshot;

//! What the fuzz targets run. `kora-net/tests/fuzz_corpus.rs` includes the same files, so that `cargo test` runs them too.

pub mod command;
pub mod resp;

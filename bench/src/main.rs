//! The `kora-bench` binary.
fn main() {}

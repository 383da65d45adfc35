//! The `kora` binary.
fn main() {}

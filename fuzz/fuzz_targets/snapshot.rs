//! See `fuzz/src/snapshot.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kora_fuzz::snapshot::run(data));

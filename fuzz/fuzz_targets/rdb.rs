//! See `fuzz/src/rdb.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kora_fuzz::rdb::run_file(data));

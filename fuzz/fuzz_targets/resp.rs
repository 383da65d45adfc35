//! See `fuzz/src/resp.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kora_fuzz::resp::run(data));

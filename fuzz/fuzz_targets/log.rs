//! See `fuzz/src/log.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kora_fuzz::log::run(data));

//! See `fuzz/src/command.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kora_fuzz::command::run(data));

//! Bytes of RSS per key above key and value, with the allocator of the binary.
//!
//! `cargo run --release -p kora-engine --example table_memory [KEY_BYTES VALUE_BYTES KEYS...]`
//!
//! Without arguments: 16-byte keys, values of 8 and 64 bytes, 1 to 4 million keys in steps. Each measurement runs in a
//! process of its own, so that one does not reuse the memory of another.

use std::process::Command;

use kora_engine::table::{NewValue, Table};

#[global_allocator]
static GLOBAL: kora_alloc::Allocator = kora_alloc::Allocator;

const SWEEP: [usize; 10] = [
    1_000_000, 1_150_000, 1_300_000, 1_450_000, 1_600_000, 1_800_000, 2_000_000, 2_500_000, 3_000_000,
    4_000_000,
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> =
        args.iter().map(|arg| arg.parse().unwrap_or_else(|_| panic!("{arg} is not a number"))).collect();
    match numbers[..] {
        [] => {
            for value_bytes in [8, 64] {
                for keys in SWEEP {
                    measure_in_child(16, value_bytes, keys);
                }
            }
        }
        [key_bytes, value_bytes, keys] => measure(key_bytes, value_bytes, keys),
        [key_bytes, value_bytes, ref sizes @ ..] => {
            for &keys in sizes {
                measure_in_child(key_bytes, value_bytes, keys);
            }
        }
        _ => panic!("usage: table_memory [KEY_BYTES VALUE_BYTES KEYS...]"),
    }
}

fn measure_in_child(key_bytes: usize, value_bytes: usize, keys: usize) {
    let status = Command::new(std::env::current_exe().expect("the path of this program"))
        .args([key_bytes, value_bytes, keys].map(|number| number.to_string()))
        .status()
        .expect("this program runs again");
    assert!(status.success());
}

fn measure(key_bytes: usize, value_bytes: usize, keys: usize) {
    let mut table = Table::new(0x5eed);
    let value = vec![b'x'; value_bytes];
    let before = resident_bytes();
    for i in 0..keys {
        let key = format!("{i:0key_bytes$}");
        let hash = table.hash(key.as_bytes());
        table.insert(hash, key.as_bytes(), NewValue::Bytes(&value), None, 0);
    }
    let resident = resident_bytes() - before;
    let per_key = |bytes: usize| bytes as f64 / keys as f64;
    let memory = table.memory();
    println!(
        "{keys:>9} keys of {key_bytes}+{value_bytes}: RSS {:6.2} above key+value (slots {:5.2}, directory {:4.2}, \
         records {:5.2} above key+value)",
        per_key(resident) - (key_bytes + value_bytes) as f64,
        per_key(memory.segments),
        per_key(memory.directory),
        per_key(memory.records) - (key_bytes + value_bytes) as f64,
    );
}

/// Resident set size of this process.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has /proc/self/statm");
    let pages: usize = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("the second field is RSS");
    pages * 4096
}

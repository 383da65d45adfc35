//! Instructions and time per table operation, at 16-byte keys and 8-byte values.
//!
//! Time: `cargo run --release -p kora-engine --example table_cost [KEYS]`, which also prints the longest single insert
//! while the table grows (a second argument leaves that out). Instructions: `valgrind --tool=callgrind --toggle-collect='table_cost::OPERATION'` with
//! OPERATION one of `get_hit`, `get_miss`, `insert_new`, `replace`, `remove`; divide by the operations it prints.

use std::time::Instant;

use kora_engine::table::{NewValue, Table, ValueRef};

#[global_allocator]
static GLOBAL: kora_alloc::Allocator = kora_alloc::Allocator;

type Key = [u8; 16];

/// Runs of which the shortest time counts.
const RUNS: usize = 4;

fn main() {
    let count: usize =
        std::env::args().nth(1).map_or(1_000_000, |arg| arg.parse().expect("a number of keys"));
    let keys: Vec<Key> = (0..count as u64).map(|i| key(b'k', i)).collect();
    let misses: Vec<Key> = (0..count as u64).map(|i| key(b'm', i)).collect();
    let mut table = Table::new(0x5eed);
    report("insert new", count, || insert_new(&mut table, &keys));
    report("get hit", count, || get_hit(&table, &keys));
    report("get miss", count, || get_miss(&table, &misses));
    report("replace, same size", count, || replace(&mut table, &keys));
    report("remove", count, || remove(&mut table, &keys));
    drop(table);
    if std::env::args().nth(2).is_none() {
        longest(&keys);
    }
}

/// A key whose order of use has nothing to do with the order of allocation.
fn key(kind: u8, i: u64) -> Key {
    let mut key = [kind; 16];
    let mut number = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in key.iter_mut().skip(4) {
        *byte = b'a' + (number % 26) as u8;
        number /= 26;
    }
    key
}

fn report(name: &str, count: usize, f: impl FnOnce()) {
    let start = Instant::now();
    f();
    println!(
        "{name:>20}: {count} operations, {:.1} ns each",
        start.elapsed().as_nanos() as f64 / count as f64
    );
}

#[inline(never)]
fn insert_new(table: &mut Table, keys: &[Key]) {
    for key in keys {
        table.insert(table.hash(key), key, NewValue::Bytes(b"12345678"), None, 1);
    }
    assert_eq!(table.len(), keys.len());
}

#[inline(never)]
fn get_hit(table: &Table, keys: &[Key]) {
    let mut bytes = 0;
    for key in keys {
        if let Some(ValueRef::Bytes(value)) = table.get(table.hash(key), key).map(|entry| entry.value()) {
            bytes += value.len();
        }
    }
    assert_eq!(bytes, keys.len() * 8);
}

#[inline(never)]
fn get_miss(table: &Table, keys: &[Key]) {
    let found = keys.iter().filter(|key| table.get(table.hash(*key), *key).is_some()).count();
    assert_eq!(found, 0);
}

#[inline(never)]
fn replace(table: &mut Table, keys: &[Key]) {
    let mut replaced = 0;
    for key in keys {
        replaced += table.insert(table.hash(key), key, NewValue::Bytes(b"abcdefgh"), None, 2) as usize;
    }
    assert_eq!(replaced, keys.len());
}

#[inline(never)]
fn remove(table: &mut Table, keys: &[Key]) {
    let removed = keys.iter().filter(|key| table.remove(table.hash(*key), *key)).count();
    assert_eq!(removed, keys.len());
}

/// The longest inserts while the table grows from nothing. The table does the same thing every time, so the shortest of
/// some runs is its own cost, without what the machine was doing besides.
fn longest(keys: &[Key]) {
    let mut shortest = vec![u32::MAX; keys.len()];
    let mut directory = vec![];
    for run in 0..RUNS {
        let mut table = Table::new(0x5eed);
        for (i, key) in keys.iter().enumerate() {
            let start = Instant::now();
            table.insert(table.hash(key), key, NewValue::Bytes(b"12345678"), None, 1);
            shortest[i] = shortest[i].min(start.elapsed().as_nanos() as u32);
            let bytes = table.memory().directory;
            if run == 0 && directory.last().is_none_or(|&(_, last)| last != bytes) {
                directory.push((i, bytes));
            }
        }
    }
    for (i, bytes) in directory {
        println!("directory of {bytes:>8} bytes at {i:>9} keys: {:.1} us", f64::from(shortest[i]) / 1000.0);
    }
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(shortest[i]));
    for &i in order.iter().take(5) {
        println!("slowest insert at {i:>9} keys: {:.1} us", f64::from(shortest[i]) / 1000.0);
    }
}

//! A bit at the far end of a new string: half a gigabyte of zeros takes no memory until it is touched. Alone in its file, since
//! it looks at the memory of the process.

mod support;

use support::*;

/// Resident memory of this process, bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages: usize = pages.split(' ').nth(1).expect("the second field").parse().expect("a number");
    pages * 4096
}

#[test]
fn a_far_bit_touches_the_pages_it_needs() {
    const FEW: usize = 64 << 20;
    let mut shard = shard();
    let before = resident();
    assert_eq!(run(&mut shard, "SETBIT new 4294967295 1"), int(0));
    assert_eq!(run(&mut shard, "STRLEN new"), int(1 << 29));
    assert_eq!(run(&mut shard, "GETBIT new 4294967295"), int(1));
    run(&mut shard, "SET grown start");
    assert_eq!(run(&mut shard, "SETBIT grown 4294967294 1"), int(0));
    assert_eq!(run(&mut shard, "GETRANGE grown 0 5"), bulk(b"start\0"));
    run(&mut shard, "SETBIT large 1000000 1");
    assert_eq!(run(&mut shard, "BITFIELD large SET u8 4294967288 7"), Value::Array(vec![int(0)]));
    assert_eq!(run(&mut shard, "GETBIT large 1000000"), int(1));
    let touched = resident() - before;
    assert!(touched < FEW, "{} MB are touched", touched >> 20);
}

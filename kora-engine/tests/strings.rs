//! String commands: what they answer, what they leave behind, and that their changes say all of it.

mod support;

use support::*;

#[test]
fn a_value_reads_back() {
    let mut shard = shard();
    assert_eq!(run(&mut shard, "GET k"), Value::Null);
    assert_eq!(run(&mut shard, "SET k v"), ok());
    assert_eq!(run(&mut shard, "GET k"), bulk("v"));
}

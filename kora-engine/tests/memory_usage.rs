//! MEMORY USAGE is what the allocator gave: held against its count of the thread's bytes, for every type, small and large.

mod support;

use kora_engine::keyspace::View;
use kora_engine::shard::Shard;
use support::*;

#[global_allocator]
static GLOBAL: kora_alloc::Allocator = kora_alloc::Allocator;

const VIEW: View = View { db: 0, now: NOW, touch: true };

/// Sends a command for each number below `count`, `{}` in its words being the number.
fn fill(shard: &mut Shard, template: &str, count: usize) {
    for i in 0..count {
        let number = i.to_string();
        let words: Vec<Vec<u8>> =
            template.split(' ').map(|word| word.replace("{}", &number).into_bytes()).collect();
        let argv: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let reply = run_args(shard, VIEW, &argv);
        assert!(!matches!(reply, Value::Error(_)), "{template}: {reply:?}");
    }
}

#[track_caller]
fn usage(shard: &mut Shard, line: &str) -> f64 {
    match run(shard, line) {
        Value::Integer(bytes) => bytes as f64,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn usage_is_what_the_allocator_gave() {
    let templates = [
        "rpush k element:{}",
        "rpush k {}",
        "lpush k {}-an-element-that-is-longer-than-others-are-and-of-Many-Different-Characters",
        "hset k field:{} value:{}",
        "hset k {} {}",
        "hset k a:{} value:{} b:{} Value:{} c:{} {}",
        "sadd k member:{}",
        "sadd k {}",
        "zadd k {} member:{}",
        "zadd k {}.5 {}",
        "xadd k {}-1 field value:{}",
    ];
    for template in templates {
        for count in [1, 10, 100, 2000, 20_000] {
            // Another key first, so that the table's own memory is there.
            let mut shard = shard();
            run(&mut shard, "set other 1");
            let before = kora_alloc::thread_bytes();
            fill(&mut shard, template, count);
            let given = (kora_alloc::thread_bytes() - before) as f64;
            for samples in ["", " samples 0", " samples 5"] {
                let told = usage(&mut shard, &format!("memory usage k{samples}"));
                let room = 64.0 + given * 0.05;
                assert!((told - given).abs() <= room, "{template}, {count}{samples}: {told} of {given}");
            }
        }
    }
}

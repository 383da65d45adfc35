//! What a script costs beside its commands: the time of one run, with replies that are at hand.
//!
//! `cargo run --release -p kora-script --example call_cost`

use std::time::Instant;

use kora_engine::reply::Protocol;
use kora_script::{Interpreter, Script, Step};

/// Runs of each script; the best of several rounds counts.
const RUNS: u32 = 100_000;
const ROUNDS: usize = 7;

/// Name, source, the reply of its commands, keys, arguments.
type Case = (&'static str, &'static str, &'static [u8], &'static [&'static [u8]], &'static [&'static [u8]]);

fn main() {
    let scripts: [Case; 7] = [
        ("nothing", "return 1", b"", &[], &[]),
        ("one key, one argument", "return 1", b"", &[b"key:000001"], &[b"argument"]),
        ("get", "return redis.call('get', KEYS[1])", b"$5\r\nvalue\r\n", &[b"key:000001"], &[]),
        ("set", "return redis.call('set', KEYS[1], ARGV[1])", b"+OK\r\n", &[b"key:000001"], &[b"value"]),
        ("incrby 10 times", "for i = 1, 10 do redis.call('incrby', KEYS[1], i) end", b":10\r\n", &[b"key:000001"], &[]),
        (
            "unlock (redis-py)",
            "local token = redis.call('get', KEYS[1]) if not token or token ~= ARGV[1] then return 0 end redis.call('del', KEYS[1]) return 1",
            b"$5\r\ntoken\r\n",
            &[b"lock:000001"],
            &[b"token"],
        ),
        (
            "json",
            "return cjson.encode({id = ARGV[1], list = {1, 2, 3}, nested = cjson.decode('{\"a\":[1,2,{\"b\":null}]}')})",
            b"",
            &[],
            &[b"17"],
        ),
    ];
    let only = std::env::args().nth(1);
    for (name, source, reply, keys, arguments) in scripts {
        if only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let script = Script::new(source.as_bytes()).expect("a script");
        let mut interpreter = Some(Interpreter::new(64 << 20).expect("an interpreter"));
        let mut never = || false;
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            let begin = Instant::now();
            for _ in 0..RUNS {
                let mut running = interpreter.take().expect("kept").evaluate(&script, Protocol::Resp2);
                let mut step = running.start(keys, arguments, &mut never);
                while let Step::Call { arguments, .. } = step {
                    std::hint::black_box(arguments);
                    step = running.reply(reply, &mut never);
                }
                assert!(matches!(step, Step::Done(_)));
                interpreter = running.finish();
            }
            best = best.min(begin.elapsed().as_nanos() as f64 / RUNS as f64);
        }
        println!("{name:24} {best:8.1} ns");
    }
}

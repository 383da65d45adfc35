//! Time and instructions of list commands, from the command's arguments to its reply, without the network.
//!
//! Time and memory: `cargo run --release -p kora-engine --example list_cost [ELEMENTS]`. For commands that work in turns it prints
//! the longest one. Instructions: `valgrind --tool=callgrind --toggle-collect='list_cost::OPERATION'` with OPERATION one of
//! `lpush`, `rpush`, `lpop`, `rpop`, `lindex`, `lrange_100`; divide by the operations it prints.

use kora_engine::command::registry;
use kora_engine::keyspace::View;
use kora_engine::reply::{Protocol, Reply};
use kora_engine::shard::{Applied, EngineConfig, Shard, ShardId};
use std::time::{Duration, Instant};

#[global_allocator]
static GLOBAL: kora_alloc::Allocator = kora_alloc::Allocator;

/// Counts the bytes of replies.
#[derive(Default)]
struct Counted(usize);

impl Reply for Counted {
    fn protocol(&self) -> Protocol {
        Protocol::Resp2
    }
    fn simple(&mut self, _: &str) {}
    fn error(&mut self, text: &[u8]) {
        panic!("{}", String::from_utf8_lossy(text));
    }
    fn integer(&mut self, _: i64) {}
    fn bulk(&mut self, bytes: &[u8]) {
        self.0 += std::hint::black_box(bytes).len();
    }
    fn null(&mut self) {}
    fn null_array(&mut self) {}
    fn array(&mut self, _: usize) {}
    fn map(&mut self, _: usize) {}
    fn set(&mut self, _: usize) {}
    fn push(&mut self, _: usize) {}
    fn double(&mut self, _: f64) {}
    fn boolean(&mut self, _: bool) {}
    fn verbatim(&mut self, _: &str, _: &[u8]) {}
    fn raw(&mut self, _: &[u8]) {}
}

const VIEW: View = View { db: 0, now: 1_800_000_000_000, touch: true };

/// Segments per turn of an executor's background work.
const BUDGET: usize = 8;

/// Runs a command; the time of its longest turn, and of all of them.
fn run(shard: &mut Shard, argv: &[&[u8]]) -> (Duration, Duration) {
    let command = registry().resolve(argv).expect("a command");
    let start = Instant::now();
    let mut reply = Counted::default();
    let applied = shard.apply(VIEW, command, argv, None, &mut reply);
    let mut longest = start.elapsed();
    if let Applied::Later(mut work) = applied {
        loop {
            let turn = Instant::now();
            let done = work.resume(shard, VIEW.now, BUDGET, &mut reply);
            longest = longest.max(turn.elapsed());
            if done {
                break;
            }
        }
    }
    (longest, start.elapsed())
}

fn element(i: usize) -> Vec<u8> {
    format!("element:{i:08}").into_bytes()
}

fn shard() -> Shard {
    Shard::new(ShardId { index: 0, count: 1 }, EngineConfig::default(), 7)
}

fn fill(shard: &mut Shard, key: &[u8], count: usize) {
    for i in 0..count {
        run(shard, &[b"rpush", key, &element(i)]);
    }
}

#[inline(never)]
fn lpush(shard: &mut Shard, elements: &[Vec<u8>]) {
    elements.iter().for_each(|element| {
        run(shard, &[b"lpush", b"list", element]);
    });
}

#[inline(never)]
fn rpush(shard: &mut Shard, elements: &[Vec<u8>]) {
    elements.iter().for_each(|element| {
        run(shard, &[b"rpush", b"list", element]);
    });
}

#[inline(never)]
fn lpop(shard: &mut Shard, count: usize) {
    (0..count).for_each(|_| {
        run(shard, &[b"lpop", b"list"]);
    });
}

#[inline(never)]
fn rpop(shard: &mut Shard, count: usize) {
    (0..count).for_each(|_| {
        run(shard, &[b"rpop", b"list"]);
    });
}

#[inline(never)]
fn lindex(shard: &mut Shard, count: usize, len: usize) {
    for i in 0..count {
        let index = (i * 7919 % len).to_string();
        run(shard, &[b"lindex", b"list", index.as_bytes()]);
    }
}

#[inline(never)]
fn lrange_100(shard: &mut Shard, count: usize) {
    (0..count).for_each(|_| {
        run(shard, &[b"lrange", b"list", b"0", b"99"]);
    });
}

fn report(name: &str, count: usize, f: impl FnOnce()) {
    let start = Instant::now();
    f();
    println!(
        "{name:>24}: {count} operations, {:.1} ns each",
        start.elapsed().as_nanos() as f64 / count as f64
    );
}

fn main() {
    let long: usize =
        std::env::args().nth(1).map_or(1_000_000, |arg| arg.parse().expect("a number of elements"));
    for len in [0, 40, 400, 10_000] {
        let mut shard = shard();
        println!("list of {len} elements of 16 bytes");
        fill(&mut shard, b"list", len);
        let elements: Vec<Vec<u8>> = (0..100).map(element).collect();
        const ROUNDS: usize = 1000;
        let mut times = [Duration::ZERO; 4];
        for _ in 0..ROUNDS {
            let mut timed = |which: usize, f: &mut dyn FnMut(&mut Shard)| {
                let start = Instant::now();
                f(&mut shard);
                times[which] += start.elapsed();
            };
            timed(0, &mut |shard| lpush(shard, &elements));
            timed(1, &mut |shard| rpop(shard, 100));
            timed(2, &mut |shard| rpush(shard, &elements));
            timed(3, &mut |shard| lpop(shard, 100));
        }
        for (name, time) in ["lpush", "rpop", "rpush", "lpop"].iter().zip(times) {
            let each = time.as_nanos() as f64 / (ROUNDS * 100) as f64;
            println!("{name:>24}: {} operations, {each:.1} ns each", ROUNDS * 100);
        }
    }
    let mut shard = shard();
    println!("list of {long} elements of 16 bytes");
    report("rpush", long, || fill(&mut shard, b"list", long));
    let key = shard.keys.key(b"list");
    let memory = shard.keys.peek(VIEW, &key).expect("the list").memory_usage();
    println!("{:>24}: {:.2} bytes per element", "memory", memory as f64 / long as f64);
    report("lindex anywhere", 10_000, || lindex(&mut shard, 10_000, long));
    report("lrange of 100", 10_000, || lrange_100(&mut shard, 10_000));
    let middle = element(long / 2);
    let last = (long - 1).to_string();
    let commands: [&[&[u8]]; 9] = [
        &[b"lrange", b"list", b"0", b"-1"],
        &[b"lpos", b"list", b"absent:00000001"],
        &[b"lpos", b"list", b"7"],
        &[b"linsert", b"list", b"before", &middle, b"inserted"],
        &[b"linsert", b"list", b"before", b"absent", b"inserted"],
        &[b"lrem", b"list", b"0", b"absent"],
        &[b"lrem", b"list", b"-1", &middle],
        &[b"ltrim", b"list", b"1", b"-2"],
        &[b"lpop", b"list", last.as_bytes()],
    ];
    for argv in commands {
        let text: Vec<_> = argv.iter().map(|word| String::from_utf8_lossy(word)).collect();
        let (longest, all) = run(&mut shard, argv);
        println!("{:>48}: longest turn {longest:.1?}, in all {all:.1?}", text.join(" "));
    }
    for i in 0..long {
        run(&mut shard, &[b"rpush", b"twos", if i % 2 == 0 { b"yes!" } else { b"no!!" }]);
    }
    let (longest, all) = run(&mut shard, &[b"lrem", b"twos", b"0", b"yes!"]);
    println!("{:>48}: longest turn {longest:.1?}, in all {all:.1?}", "lrem of every second element");
    let (longest, all) = run(&mut shard, &[b"lrem", b"twos", b"0", b"no!!"]);
    println!("{:>48}: longest turn {longest:.1?}, in all {all:.1?}", "lrem of every element");
}

//! Measures the longest part of commands on large values, in CPU time of the thread.
//!
//! `kora-bench stalls` measures what another client waits for, which on a machine with other work is mostly that work. Here the
//! engine runs in this process, on one thread, without sockets: a part is a command's first turn, a slice of its
//! continuation or of the shard's background work, with the reply encoded, and its length is the CPU time that the thread spent in it.
//! What remains of the machine's noise, interrupts and other tenants, is taken out by the rounds: the parts are the same in each, so
//! each part's shortest time counts, and the longest of those is the figure.
//!
//! ```text
//! cargo run --release -p kora-bench --bin slices -- --rounds 3
//! ```

use bytes::Bytes;
use clap::Parser;
use kora_bench::stalls::{Case, CASES};
use kora_engine::command::registry;
use kora_engine::keyspace::View;
use kora_engine::reply::Protocol;
use kora_engine::shard::{Applied, EngineConfig, Shard, ShardId};
use kora_net::limits::{BACKGROUND_SEGMENTS, SLICE_SEGMENTS};
use kora_net::resp::encode::{Output, RespSink};
use std::time::Duration;

/// What the server uses: how memory is given back is part of what is measured.
#[global_allocator]
static ALLOCATOR: kora_alloc::Allocator = kora_alloc::Allocator;

/// Length of the longest part of commands on large values.
#[derive(Parser)]
#[command(name = "slices")]
struct Line {
    /// What to measure, by name; may be repeated [default: everything].
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// How often: each part's shortest time counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Elements of the large values are divided by this: a quick look.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    shrink: u64,
}

/// Some moment of 2027, unix milliseconds.
const NOW: u64 = 1_800_000_000_123;
const DATA: &str = "0123456789abcdef";

/// CPU time of this thread so far.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists and `time` is a valid place for its answer.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "the thread has a clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A shard and the output of its only client.
struct Engine {
    shard: Shard,
    now: u64,
    output: Output,
}

/// Lengths of the parts of one command, in their order.
type Parts = Vec<Duration>;

impl Engine {
    fn new() -> Engine {
        let config = EngineConfig { count_slots: true, ..EngineConfig::default() };
        let shard = Shard::new(ShardId { index: 0, count: 1 }, config, 42);
        Engine { shard, now: NOW, output: Output::default() }
    }

    /// Does one part and says whether `work` wants another.
    fn part(
        &mut self,
        parts: &mut Parts,
        work: impl FnOnce(&mut Shard, u64, &mut RespSink<'_>) -> bool,
    ) -> bool {
        let before = cpu_time();
        let more = work(&mut self.shard, self.now, &mut RespSink::new(&mut self.output, Protocol::Resp2));
        parts.push(cpu_time() - before);
        assert!(!self.output.pieces().next().is_some_and(|reply| reply.starts_with(b"-")), "no error");
        self.output.clear();
        more
    }

    /// Runs a command to its end.
    fn run(&mut self, line: &str, parts: &mut Parts) {
        let words: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let argv: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
        let command = registry().resolve(&argv).expect("the command is known");
        let mut rest = None;
        self.part(parts, |shard, now, reply| {
            let view = View { db: 0, now, touch: true };
            if let Applied::Later(later) = shard.apply(view, command, &argv, None, reply) {
                rest = Some(later);
            }
            true
        });
        if let Some(mut rest) = rest {
            while !self.part(parts, |shard, now, reply| rest.resume(shard, now, SLICE_SEGMENTS, reply)) {}
            self.part(parts, |_, _, _| {
                drop(rest);
                true
            });
        }
    }

    /// Fills what a case needs.
    fn fill(&mut self, case: &Case, shrink: u64) {
        let mut unmeasured = Vec::new();
        for fill in case.fill {
            for i in 0..fill.times.div_ceil(shrink) {
                // In no order, as those of a load are.
                let key = i.wrapping_mul(7_919) % fill.times;
                let random = i.wrapping_mul(104_729) % 1_000_003;
                let line = fill.command.replace("__key__", &format!("{key:012}")).replace("__data__", DATA);
                self.now += 1;
                self.run(&line.replace("__random__", &random.to_string()), &mut unmeasured);
                unmeasured.clear();
            }
        }
    }

    /// Runs the command of a case, and what the shard does behind it.
    fn measure(&mut self, case: &Case) -> Parts {
        let mut parts = Vec::new();
        self.now += 1;
        self.run(case.command, &mut parts);
        self.now += 10;
        while self.part(&mut parts, |shard, now, _| {
            let more = shard.background(now, BACKGROUND_SEGMENTS);
            kora_alloc::release_some() || more || shard.has_garbage()
        }) {}
        parts
    }
}

fn main() {
    let line = Line::parse();
    println!(
        "| case | command | parts | all, ms | longest, ms | number of it |\n|---|---|---:|---:|---:|---:|"
    );
    for case in
        CASES.iter().filter(|case| line.case.is_empty() || line.case.iter().any(|name| name == case.name))
    {
        let mut shortest: Parts = Vec::new();
        for _ in 0..line.rounds {
            let mut engine = Engine::new();
            engine.fill(case, line.shrink);
            let parts = engine.measure(case);
            drop(engine);
            while kora_alloc::release_some() {}
            kora_alloc::purge(true);
            if shortest.is_empty() {
                shortest = parts;
            } else {
                // Where the machine's randomness changes their number, the last ones have no partner.
                shortest.iter_mut().zip(parts).for_each(|(shortest, part)| *shortest = part.min(*shortest));
            }
        }
        let (number, longest) =
            shortest.iter().enumerate().max_by_key(|(_, time)| **time).expect("a command has a part");
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "| {} | `{}` | {} | {:.1} | **{:.2}** | {number} |",
            case.name,
            case.command,
            shortest.len(),
            ms(shortest.iter().sum()),
            ms(*longest)
        );
    }
}

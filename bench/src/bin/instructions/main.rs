//! Runs one command many times through the user-space path of an executor, so that `callgrind` can count its instructions.
//!
//! `bench/instructions.sh` builds it, runs it for every case and divides. `valgrind` does not know io_uring, so the server itself
//! cannot be run under it; [`path`] goes from the received bytes to the built send without the kernel.
//!
//! | counted | not counted |
//! |---|---|
//! | parsing ahead, prefetching, argument lists | reaping completions, returning receive buffers |
//! | resolving, routing, slot and shard (with `--executors` above 1) | filling the submission queue, system calls |
//! | the handler, the table, the allocator | the clock and the housekeeping of a turn, mail |
//! | the reply, the output buffers, the built send entry | CLIENT PAUSE, the slow log (their checks are counted) |
//! | statistics with the cycle counter around each command | the first use of each page: data and buffers are made and used before |
//!
//! Counting is on within [`measured`] only (`--toggle-collect`), so neither start-up nor the filling of the keyspace is in the
//! figure, and the same binary gives the same figure again.

mod path;
mod workload;

use clap::Parser;
use path::Path;
use workload::{Case, Workload};

/// What the server uses: allocation is part of a SET.
#[global_allocator]
static ALLOCATOR: kora_alloc::Allocator = kora_alloc::Allocator;

/// Runs one case; see bench/instructions.sh.
#[derive(Parser)]
#[command(name = "instructions")]
struct Line {
    /// The command and what it meets.
    #[arg(value_enum)]
    case: Case,
    /// Length of the values, bytes.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=8192))]
    value_size: u32,
    /// Requests in one receive buffer.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=64))]
    pipeline: u32,
    /// Executors between which the slots are divided; all keys belong to the first.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    executors: u16,
    /// Keys that are there before, and commands that are counted.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,
}

/// What callgrind counts: `--toggle-collect='*measured*'`.
#[inline(never)]
fn measured(path: &mut Path, batches: &[Vec<u8>]) {
    for batch in batches {
        path.turn(batch);
    }
}

fn main() {
    let line = Line::parse();
    let workload =
        Workload::new(line.case, line.keys, line.value_size as usize, line.pipeline as usize, line.executors);
    let mut path = Path::new(line.executors);
    for batch in &workload.before {
        path.turn(batch);
    }
    let before = path.output_bytes();
    measured(&mut path, &workload.counted);
    // A case that does not do what its name says must not become a figure.
    assert_eq!(
        path.output_bytes() - before,
        u64::from(line.keys) * workload.reply_len as u64,
        "the replies are not those of {:?}",
        line.case
    );
    println!("{}", line.keys);
}

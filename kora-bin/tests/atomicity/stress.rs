//! Runs clients against servers with 2, 4 and 8 workers on whatever cores there are, and judges what they saw.

use crate::harness::{Launch, Server, Subject};
use crate::recorder::{Recorded, Recorder};
use fastrand::Rng;
use kora_check::history::{Kind, Violation};
use kora_check::{linearizability, queues, serializability, History};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How many clients run at once.
pub const CLIENTS: u32 = 6;

/// Clients that die per run, at most: each operation without a reply makes the search for an order wider.
pub const DEATHS_MAX: u32 = 4;

/// Time for each number of workers; `ATOMICITY_SECONDS` sets another for all three together.
fn duration() -> Duration {
    let seconds =
        std::env::var("ATOMICITY_SECONDS").ok().map(|text| text.parse().expect("a number of seconds"));
    Duration::from_secs_f64(seconds.unwrap_or(1.5) / 3.0)
}

/// The seed of the random choices: `ATOMICITY_SEED`, or another one each time.
fn seed() -> u64 {
    let seed = std::env::var("ATOMICITY_SEED").ok();
    seed.map_or_else(|| fastrand::u64(..), |text| text.parse().expect("ATOMICITY_SEED is a number"))
}

/// Says how to repeat what has failed. The choices are the same then, and the timing is not.
struct OnFailure {
    seed: u64,
    workers: usize,
}

impl Drop for OnFailure {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with {} workers; run again with ATOMICITY_SEED={}", self.workers, self.seed);
        }
    }
}

/// What the clients of a run share.
pub struct Run<'a> {
    pub recorder: &'a Recorder<'a>,
    until: Instant,
    over: AtomicBool,
    deaths: AtomicU32,
}

impl Run<'_> {
    /// Whether clients should stop.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || Instant::now() >= self.until
    }

    /// Whether one more client may die; counts it.
    pub fn may_die(&self) -> bool {
        self.deaths.fetch_add(1, Ordering::Relaxed) < DEATHS_MAX
    }
}

/// A client that panics stops the others.
struct StopOthers<'a>(&'a AtomicBool);

impl Drop for StopOthers<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Lets clients loose on servers of several sizes: `prepare` runs before them, `client` in each of their threads, `finish` when all have ended.
/// Returns the histories.
pub fn run(
    prepare: impl Fn(&mut Recorded<'_>),
    client: impl Fn(u32, &Run<'_>, &mut Rng) + Sync,
    finish: impl Fn(&mut Recorded<'_>),
) -> Vec<History> {
    run_judged_by(&EVERY_CHECK, prepare, client, finish)
}

/// The same with these checks only.
pub fn run_judged_by(
    checks: &[(&str, Check)],
    prepare: impl Fn(&mut Recorded<'_>),
    client: impl Fn(u32, &Run<'_>, &mut Rng) + Sync,
    finish: impl Fn(&mut Recorded<'_>),
) -> Vec<History> {
    let seed = seed();
    let mut histories = Vec::new();
    for workers in [2, 4, 8] {
        let _on_failure = OnFailure { seed, workers };
        let server = launch(workers).start();
        let recorder = Recorder::new(&server);
        prepare(&mut recorder.client());
        let run = Run {
            recorder: &recorder,
            until: Instant::now() + duration(),
            over: AtomicBool::new(false),
            deaths: AtomicU32::new(0),
        };
        std::thread::scope(|scope| {
            for number in 0..CLIENTS {
                let (run, client) = (&run, &client);
                scope.spawn(move || {
                    let _stop = StopOthers(&run.over);
                    let mut random = Rng::with_seed(seed.wrapping_add(u64::from(number)));
                    client(number, run, &mut random);
                });
            }
        });
        finish(&mut recorder.client());
        assert_nothing_held(&server);
        let history = recorder.history();
        judge(&history, checks);
        histories.push(history);
    }
    histories
}

/// A server that these tests run against.
pub fn launch(workers: usize) -> Launch {
    let launch = Launch::kora().workers(workers);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if launch.subject == Subject::Kora && workers > cores {
        return launch.argument("--share-cores").argument("true");
    }
    launch
}

/// A check of `kora-check`.
pub type Check = fn(&History) -> Result<(), Violation>;

/// For long queues, whose order is seen only long after it has come about: there the search for an order takes too long.
pub const QUEUES: (&str, Check) = ("queues", |history| queues::check(history).map(drop));

/// Some seconds of searching for an order.
const CONFIGURATIONS_MAX: usize = 1_000_000;

const EVERY_CHECK: [(&str, Check); 3] = [
    ("dependencies", |history| serializability::check(history).map(drop)),
    QUEUES,
    ("order", |history| linearizability::check_within(history, CONFIGURATIONS_MAX)),
];

fn judge(history: &History, checks: &[(&str, Check)]) {
    let count = history.operations().len();
    for (what, check) in checks {
        let begin = Instant::now();
        match check(history) {
            Ok(()) => println!("{what} of {count} operations: right, {:?}", begin.elapsed()),
            // The problem is NP-complete, and now and then a history is a hard one. It says nothing about the server; the next run has another.
            Err(Violation { kind: Kind::Undecided, .. }) => {
                println!("{what} of {count} operations: given up, {:?}", begin.elapsed());
            }
            Err(violation) => panic!("{what} of {count} operations: {violation}"),
        }
    }
}

/// Everything that clients held is given back: nobody is connected or blocked, no key is locked, and the server answers on every shard.
pub fn assert_nothing_held(server: &Server) {
    let mut client = server.client();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let info = client.command("INFO").text();
        let is = |name: &str, value: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.is_none_or(|found| found == value)
        };
        let idle = is("connected_clients", "1")
            && is("blocked_clients", "0")
            && is("lock_table_entries", "0")
            && is("total_blocking_keys", "0")
            && is("watching_clients", "0")
            && is("total_watched_keys", "0");
        if idle {
            break;
        }
        let held: Vec<&str> = info
            .lines()
            .filter(|line| {
                ["clients", "lock_table", "blocking", "watch"].iter().any(|word| line.contains(word))
            })
            .collect();
        assert!(Instant::now() < deadline, "something is held: {held:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    let keys: Vec<String> = (0..64).map(|number| format!("idle:{number}")).collect();
    let mut set: Vec<&str> = vec!["MSET"];
    for key in &keys {
        set.extend([key.as_str(), "1"]);
    }
    assert_eq!(client.call(&set).text(), "OK");
    let delete: Vec<&str> = ["DEL"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    assert_eq!(client.call(&delete).int(), 64);
}

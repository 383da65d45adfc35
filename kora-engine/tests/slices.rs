//! Nothing stalls a shard: whatever a command does to something large is done in parts, and none of them is long.
//!
//! The length of a part is not measured in time, which depends on the machine, but in work: calls of the allocator (every element
//! freed or made is one), memory allocated (to be copied into), and elements written to the reply. A part is a command's first turn, a slice of its
//! continuation, or a slice of the shard's background work.

mod support;

use kora_engine::command::registry;
use kora_engine::keyspace::View;
use kora_engine::reply::{Protocol, Reply};
use kora_engine::shard::{Applied, EngineConfig, Shard, ShardId};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use support::{run, Value, NOW};

/// The system's allocator, counting its work per thread.
struct Counting;

thread_local! {
    static WORK: Cell<usize> = const { Cell::new(0) };
}

/// As much is copied in the time of a call of the allocator.
const BYTES_PER_CALL: usize = 512;

fn count(bytes: usize) {
    WORK.set(WORK.get() + 1 + bytes / BYTES_PER_CALL);
}

// SAFETY: all calls go to the system's allocator as they are.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0);
        // SAFETY: by the caller.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: by the caller.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const VIEW: View = View { db: 0, now: NOW, touch: true };
/// What the executor asks for.
const SEGMENTS: usize = 16;
/// Elements of what is large here.
const LARGE: usize = 60_000;
/// Work of the longest part. A call of the allocator and an element of a reply are some 50 ns each.
const WORK_MAX: usize = 12_000;

/// Counts what is written.
#[derive(Default)]
struct Counter {
    elements: usize,
    error: Option<String>,
}

impl Reply for Counter {
    fn protocol(&self) -> Protocol {
        Protocol::Resp2
    }
    fn simple(&mut self, _: &str) {
        self.elements += 1;
    }
    fn error(&mut self, text: &[u8]) {
        self.error = Some(String::from_utf8_lossy(text).into_owned());
    }
    fn integer(&mut self, _: i64) {
        self.elements += 1;
    }
    fn bulk(&mut self, _: &[u8]) {
        self.elements += 1;
    }
    fn null(&mut self) {
        self.elements += 1;
    }
    fn null_array(&mut self) {
        self.elements += 1;
    }
    fn array(&mut self, _: usize) {}
    fn map(&mut self, _: usize) {}
    fn set(&mut self, _: usize) {}
    fn push(&mut self, _: usize) {}
    fn double(&mut self, _: f64) {
        self.elements += 1;
    }
    fn boolean(&mut self, _: bool) {
        self.elements += 1;
    }
    fn verbatim(&mut self, _: &str, _: &[u8]) {
        self.elements += 1;
    }
    fn raw(&mut self, _: &[u8]) {
        self.elements += 1;
    }
}

/// What a command and all that followed it took.
#[derive(Debug, Default)]
struct Parts {
    parts: usize,
    /// Work of the longest one.
    longest: usize,
    /// Elements of the whole reply.
    elements: usize,
}

impl Parts {
    /// Does one part.
    fn part<T>(&mut self, counter: &mut Counter, work: impl FnOnce(&mut Counter) -> T) -> T {
        let (before, elements) = (WORK.get(), counter.elements);
        let result = work(counter);
        let work = WORK.get() - before + counter.elements - elements;
        self.parts += 1;
        self.longest = self.longest.max(work);
        self.elements = counter.elements;
        result
    }
}

/// Runs a command to the end, and the background work until there is none.
fn parts(shard: &mut Shard, now: u64, line: &str) -> Parts {
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let command = registry().resolve(&argv).expect("the command is known");
    let (mut parts, mut counter) = (Parts::default(), Counter::default());
    let view = View { now, ..VIEW };
    let applied = parts.part(&mut counter, |reply| shard.apply(view, command, &argv, None, reply));
    if let Applied::Later(mut rest) = applied {
        while !parts.part(&mut counter, |reply| rest.resume(shard, now, SEGMENTS, reply)) {}
        parts.part(&mut counter, |_| drop(rest));
    }
    assert_eq!(counter.error, None, "{line}");
    while parts.part(&mut counter, |_| shard.background(now, SEGMENTS)) || shard.has_garbage() {}
    parts
}

/// Fills a key with one command of many arguments at a time.
fn fill(shard: &mut Shard, command: &str, mut element: impl FnMut(usize) -> String) {
    for start in (0..LARGE).step_by(1000) {
        let line = (start..start + 1000).fold(command.to_owned(), |line, i| line + " " + &element(i));
        assert!(!matches!(run(shard, &line), Value::Error(_)), "{command}");
    }
}

/// A shard with these of the large values.
fn shard(names: &[&str]) -> Shard {
    let config = EngineConfig { count_slots: true, ..EngineConfig::default() };
    let mut shard = Shard::new(ShardId { index: 0, count: 1 }, config, 42);
    for name in names {
        match *name {
            "set" => fill(&mut shard, "SADD set", |i| format!("member:{i}")),
            "other" => fill(&mut shard, "SADD other", |i| format!("member:{}", i + LARGE / 2)),
            "hash" => fill(&mut shard, "HSET hash", |i| format!("field:{i} value:{i}")),
            "zset" => fill(&mut shard, "ZADD zset", |i| format!("{} member:{i}", i * 7919 % LARGE)),
            "zother" => fill(&mut shard, "ZADD zother", |i| format!("{i} member:{}", i + LARGE / 2)),
            "places" => fill(&mut shard, "GEOADD places", |i| {
                let (longitude, latitude) = (i * 7919 % LARGE, i * 104729 % LARGE);
                format!("{} {} member:{i}", longitude as f64 / 1000.0, latitude as f64 / 1000.0)
            }),
            "list" => fill(&mut shard, "RPUSH list", |i| format!("element:{i}")),
            "numbers" => fill(&mut shard, "RPUSH numbers", |i| format!("{}", i * 7919 % LARGE)),
            "stream" => (0..LARGE).for_each(|i| {
                run(&mut shard, &format!("XADD stream * field value:{i}"));
            }),
            "pending" => {
                (0..LARGE).for_each(|i| {
                    run(&mut shard, &format!("XADD pending {}-1 f v", i + 1));
                });
                for group in ["g", "h"] {
                    run(&mut shard, &format!("XGROUP CREATE pending {group} 0"));
                    for i in 0..LARGE / 1000 {
                        let read = "COUNT 1000 STREAMS pending >";
                        run(&mut shard, &format!("XREADGROUP GROUP {group} consumer:{} {read}", i % 7));
                    }
                }
            }
            _ => {}
        }
    }
    shard
}

const ALL: &[&str] = &["set", "hash", "zset", "list", "stream"];

/// Runs lines on a shard with large values, each on a fresh one.
fn none_is_long(lines: &[&str]) {
    let mut long = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let names = if line.starts_with("FLUSH") { ALL } else { &words };
        let parts = parts(&mut shard(names), NOW, line);
        if parts.longest > WORK_MAX {
            long.push(format!("{line}: {parts:?}"));
        }
    }
    assert!(long.is_empty(), "parts of more than {WORK_MAX}:\n{}", long.join("\n"));
}

#[test]
fn large_values_are_freed_in_slices() {
    none_is_long(&[
        "DEL set",
        "DEL hash",
        "DEL zset",
        "DEL list",
        "DEL stream",
        "UNLINK set hash zset list stream",
        "SET set x",
        "RENAME list set",
        "SUNIONSTORE set missing",
        "PEXPIREAT set 1",
        "EXPIREAT zset 1",
        "BITOP OR set missing missing",
        "FLUSHDB",
        "FLUSHALL",
    ]);
}

#[test]
fn values_that_expire_are_freed_in_slices() {
    let mut shard = shard(ALL);
    for key in ALL {
        run(&mut shard, &format!("PEXPIREAT {key} {}", NOW + 10));
    }
    for i in 0..LARGE {
        run(&mut shard, &format!("SET key:{i} value PXAT {}", NOW + 20));
    }
    // Each expires when it is looked at, or in the background.
    let parts = parts(&mut shard, NOW + 100, "GET set");
    assert!(parts.longest <= WORK_MAX, "{parts:?}");
    assert!(parts.parts > 100, "{parts:?}");
    assert_eq!(shard.keys.len(0), 0);
}

#[test]
fn many_small_collections_are_freed_in_slices() {
    let mut shard = shard(&[]);
    let fields: String = (0..60).map(|i| format!(" f{i} {}", "v".repeat(70))).collect();
    for i in 0..2000 {
        run(&mut shard, &format!("HSET small:{i}{fields}"));
    }
    run(&mut shard, "SWAPDB 0 3");
    run(&mut shard, "SET key x");
    run(&mut shard, "SWAPDB 0 3");
    let parts = parts(&mut shard, NOW, "FLUSHDB");
    assert!(parts.longest <= WORK_MAX, "{parts:?}");
    assert!(parts.parts > 50, "{parts:?}");
}

#[test]
fn large_sorted_sets_are_read_in_slices() {
    none_is_long(&[
        "ZRANGE zset 0 -1",
        "ZRANGE zset 0 -1 REV WITHSCORES",
        "ZRANGE zset -inf +inf BYSCORE LIMIT 10 50000",
        "ZREVRANGEBYSCORE zset +inf 100",
        "ZRANDMEMBER zset 50000",
        "ZRANDMEMBER zset 10000",
        "ZRANDMEMBER zset -50000 WITHSCORES",
        "ZSCAN zset 0 COUNT 60000",
        "ZCOUNT zset -inf +inf",
        "ZUNION 2 zset zother WITHSCORES",
        "ZINTER 2 zset zother",
        "ZDIFF 2 zset zother",
        "ZINTERCARD 2 zset zother",
        "ZUNION 2 zset set",
        "GEOSEARCH places FROMLONLAT 30 30 BYRADIUS 20000 km",
        "GEOSEARCH places FROMLONLAT 30 30 BYBOX 9000 9000 km DESC WITHDIST WITHCOORD",
        "GEOSEARCH places FROMLONLAT 30 30 BYRADIUS 9000 km COUNT 5",
    ]);
}

#[test]
fn large_sorted_sets_are_written_in_slices() {
    none_is_long(&[
        "ZRANGESTORE stored zset 0 -1",
        "ZRANGESTORE stored zset 0 -1 REV",
        "ZRANGESTORE zset zset 0 40000",
        "ZPOPMIN zset 60000",
        "ZPOPMAX zset 50000",
        "ZMPOP 1 zset MAX COUNT 70000",
        "ZREMRANGEBYRANK zset 0 -1",
        "ZREMRANGEBYRANK zset 100 50000",
        "ZREMRANGEBYSCORE zset -inf (50000",
        "ZUNIONSTORE stored 2 zset zother",
        "ZUNIONSTORE zset 2 zset zother",
        "ZINTERSTORE stored 2 zset zother",
        "ZDIFFSTORE stored 2 zset zother",
        "GEOSEARCHSTORE stored places FROMLONLAT 30 30 BYRADIUS 20000 km",
    ]);
}

#[test]
fn long_replies_come_in_slices() {
    none_is_long(&[
        "SMEMBERS set",
        "HGETALL hash",
        "HKEYS hash",
        "HVALS hash",
        "LRANGE list 0 -1",
        "ZRANGE zset 0 -1",
        "ZRANGE zset 0 -1 WITHSCORES",
        "ZRANGE zset -inf +inf BYSCORE",
        "ZRANGEBYSCORE zset -inf +inf",
        "ZREVRANGE zset 0 -1",
        "XRANGE stream - +",
        "XREVRANGE stream + -",
        "XREAD STREAMS stream 0",
        "ZRANDMEMBER zset 50000",
        "ZRANDMEMBER zset -50000",
        "SORT list ALPHA",
        "SORT numbers",
        "SORT set ALPHA",
        "ZSCAN zset 0 COUNT 100000",
        "SRANDMEMBER set 50000",
        "SRANDMEMBER set -50000",
        "HRANDFIELD hash 50000 WITHVALUES",
        "HRANDFIELD hash -50000",
        "SUNION set other",
        "SINTER set other",
        "SDIFF set other",
        "HSCAN hash 0 COUNT 100000",
        "SSCAN set 0 COUNT 100000",
    ]);
}

#[test]
fn many_keys_are_listed_in_slices() {
    let mut shard = shard(&[]);
    for i in 0..LARGE {
        run(&mut shard, &format!("SET key:{i} value"));
    }
    for line in ["KEYS *", "KEYS *x*", "SCAN 0 COUNT 1000000"] {
        let parts = parts(&mut shard, NOW, line);
        assert!(parts.longest <= WORK_MAX, "{line}: {parts:?}");
    }
}

#[test]
fn large_results_are_stored_in_slices() {
    none_is_long(&[
        "SUNIONSTORE out set other",
        "SINTERSTORE out set other",
        "SDIFFSTORE out set other",
        "SINTERCARD 2 set other",
        "SORT list ALPHA STORE out",
        "SORT numbers STORE out",
        "COPY stream out",
        "COPY pending out",
        "COPY set out",
        "COPY hash out",
        "COPY zset out",
        "COPY list out",
    ]);
}

#[test]
fn many_elements_go_in_slices() {
    none_is_long(&[
        "ZPOPMIN zset 50000",
        "ZPOPMAX zset 50000",
        "ZREMRANGEBYRANK zset 1 -2",
        "ZREMRANGEBYSCORE zset (0 +inf",
        "ZMPOP 1 zset MIN COUNT 50000",
        "XTRIM stream MAXLEN 10",
        "SPOP set 50000",
        "LTRIM list 30000 30010",
        "LPOP list 50000",
        "RPOP list 50000",
        "LREM list 0 element:5",
        "LMPOP 1 list LEFT COUNT 50000",
    ]);
}

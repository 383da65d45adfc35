//! The limit on memory, seen from outside: the resident set of the process, replies, and which keys are left.

mod harness;

use harness::{Client, Launch, Server, Subject, Value};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const MB: u64 = 1 << 20;
/// Keys that a client writes at least in a phase of a storm, however busy the machine is.
const PHASE_KEYS_MIN: u64 = 5000;
const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";

fn launch(limit: u64, policy: &str) -> Launch {
    let launch = Launch::kora();
    let name = |kora: &str, redis: &str| match launch.subject {
        Subject::Kora => format!("--{kora}"),
        Subject::Redis(..) => format!("--{redis}"),
    };
    let (limit_flag, policy_flag) =
        (name("maxmemory", "maxmemory"), name("maxmemory-policy", "maxmemory-policy"));
    launch.argument(&limit_flag).argument(&limit.to_string()).argument(&policy_flag).argument(policy)
}

/// Bytes resident, as the kernel counts them.
fn resident(pid: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("the server runs");
    statm.split(' ').nth(1).expect("a second field").parse::<u64>().expect("a number") * 4096
}

/// The most that is resident while `work` goes on.
fn most_resident(server: &Server, work: impl FnOnce()) -> u64 {
    let (done, most, pid) = (AtomicBool::new(false), AtomicU64::new(0), server.pid());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(resident(pid), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        work();
        done.store(true, Ordering::Relaxed);
    });
    most.into_inner().max(resident(pid))
}

fn info(client: &mut Client, section: &str, field: &str) -> u64 {
    let text = client.call(&["INFO", section]).text();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("INFO {section} has {field}")).trim().parse().expect("a number")
}

/// Writes keys of a name in pipelines, one value each; returns the replies that are errors.
fn write(
    client: &mut Client,
    name: &str,
    numbers: impl IntoIterator<Item = u64>,
    len: usize,
    ttl: Option<u32>,
) -> u64 {
    let value = vec![b'v'; len];
    let mut errors = 0;
    let mut numbers = numbers.into_iter().peekable();
    while numbers.peek().is_some() {
        let mut frames = Vec::new();
        let mut sent = 0;
        for number in numbers.by_ref().take(16) {
            let key = format!("{name}:{number}");
            let seconds = ttl.map(|ttl| ttl.to_string());
            let mut words: Vec<&[u8]> = vec![b"SET", key.as_bytes(), &value];
            if let Some(seconds) = &seconds {
                words.extend([&b"EX"[..], seconds.as_bytes()]);
            }
            frames.extend(harness::resp::encode(&words));
            sent += 1;
        }
        client.send_raw(&frames).expect("a pipeline is sent");
        for _ in 0..sent {
            let reply = client.read().expect("a reply").value;
            errors += reply.is_error() as u64;
        }
    }
    errors
}

/// How many of these keys are there.
fn count(client: &mut Client, name: &str, numbers: impl IntoIterator<Item = u64>) -> u64 {
    let mut words = vec!["EXISTS".to_owned()];
    words.extend(numbers.into_iter().map(|number| format!("{name}:{number}")));
    client.call(&words).int() as u64
}

/// Several clients write for a time, everyone keys of its own, in values of these sizes, one range after the other. Returns the errors.
fn storm(server: &Server, time: Duration, sizes: &[RangeInclusive<usize>]) -> u64 {
    let errors = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (errors, mut connection) = (&errors, server.client());
            scope.spawn(move || {
                let (start, name) = (Instant::now(), format!("storm{client}"));
                let mut next = 0u64;
                for (phase, range) in sizes.iter().enumerate() {
                    let until = start + time * (phase as u32 + 1) / sizes.len() as u32;
                    let least = next + PHASE_KEYS_MIN;
                    while Instant::now() < until || next < least {
                        let spread = range.end() - range.start() + 1;
                        let len = range.start() + (next as usize * 7919) % spread;
                        let refused = write(&mut connection, &name, next..next + 64, len, None);
                        errors.fetch_add(refused, Ordering::Relaxed);
                        next += 64;
                    }
                }
            });
        }
    });
    errors.into_inner()
}

#[track_caller]
fn assert_within(most: u64, limit: u64, what: &str) {
    assert!(
        most <= limit + limit / 10,
        "{what}: {} KiB resident, the limit is {} KiB",
        most >> 10,
        limit >> 10
    );
}

#[test]
fn the_process_stays_within_a_tenth_above_its_limit() {
    const LIMIT: u64 = 64 * MB;
    for (workers, policy) in [(1, "allkeys-lru"), (2, "allkeys-lfu"), (2, "allkeys-random")] {
        let server = launch(LIMIT, policy).workers(workers).start();
        let most = most_resident(&server, || {
            // Sizes that share no page of the allocator, growing and shrinking.
            let sizes = [60..=60, 900..=1100, 30..=30, 3000..=5000, 10..=2000, 17_000..=40_000, 100..=100];
            assert_eq!(storm(&server, Duration::from_secs(7), &sizes), 0, "{policy}");
        });
        let mut client = server.client();
        let evicted = info(&mut client, "stats", "evicted_keys");
        assert!(evicted > 10_000, "{policy}: {evicted} keys were evicted");
        assert!(info(&mut client, "memory", "used_memory") <= LIMIT);
        let left = client.command("DBSIZE").int();
        assert!(left > 10_000, "{policy}: {left} keys are left");
        assert_within(most, LIMIT, policy);
    }
}

#[test]
fn large_values_and_collections_stay_within_it_too() {
    const LIMIT: u64 = 96 * MB;
    let server = launch(LIMIT, "allkeys-lru").start();
    let most = most_resident(&server, || {
        let mut client = server.client();
        let elements: Vec<String> = (0..1000).map(|n| format!("element:{n}")).collect();
        for round in 0..40 {
            // Sets of ten thousand members, which are freed in slices, among strings.
            for part in 0..10 {
                let mut words = vec!["SADD".to_owned(), format!("set:{round}")];
                words.extend(elements.iter().map(|element| format!("{element}:{part}")));
                assert_eq!(client.call(&words), Value::Int(1000));
            }
            assert_eq!(write(&mut client, "large", round * 20..round * 20 + 20, 300_000, None), 0);
            assert_eq!(write(&mut client, "small", round * 1000..round * 1000 + 1000, 100, None), 0);
        }
    });
    assert!(info(&mut server.client(), "stats", "evicted_keys") > 100);
    assert_within(most, LIMIT, "large values and collections");
}

#[test]
fn without_a_policy_writes_are_refused_and_all_else_works() {
    const LIMIT: u64 = 48 * MB;
    for workers in [1, 2] {
        let server = launch(LIMIT, "noeviction").workers(workers).start();
        let mut client = server.client();
        let most = most_resident(&server, || {
            let mut refused = 0;
            for part in 0..1000 {
                refused += write(&mut client, "key", part * 100..part * 100 + 100, 1000, None);
            }
            assert!(refused > 50_000, "{refused}");
        });
        assert_within(most, LIMIT, "noeviction");
        let stored = client.command("DBSIZE").int();
        assert!(stored > 20_000 / workers as i64, "{stored}");
        let refusal = Value::Error(OUT_OF_MEMORY.into());
        assert_eq!(client.command("SET another value"), refusal);
        assert_eq!(client.command("LPUSH list value"), refusal);
        assert_eq!(client.command("MSET a 1 b 2 c 3"), refusal, "not even on the shards with room");
        assert_eq!(client.command("GET key:0"), Value::Bulk(vec![b'v'; 1000]));
        assert_eq!(client.command("EXPIRE key:0 1000"), Value::Int(1));
        assert_eq!(client.command("GETDEL key:0"), Value::Bulk(vec![b'v'; 1000]));
        assert_eq!(info(&mut client, "stats", "evicted_keys"), 0);
        let errors = client.command("INFO errorstats").text();
        assert!(errors.contains("errorstat_OOM:count="), "{errors}");
        // What is deleted makes room again.
        let words: Vec<String> = (1..5000).map(|number| format!("key:{number}")).collect();
        assert!(client.call(&[&["DEL".to_owned()], &words[..]].concat()).int() > 4000);
        assert_eq!(client.command("SET another value"), Value::Simple(b"OK".to_vec()));
        let exceeded = info(&mut client, "stats", "total_eviction_exceeded_time");
        assert!(exceeded > 0, "the time above the limit is counted");
        assert_eq!(info(&mut client, "stats", "current_eviction_exceeded_time"), 0);
    }
}

#[test]
fn volatile_policies_leave_what_does_not_expire_and_refuse_at_the_end() {
    for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
        let server = launch(40 * MB, policy).workers(2).start();
        let mut client = server.client();
        assert_eq!(write(&mut client, "kept", 0..5000, 500, None), 0, "{policy}");
        assert_eq!(write(&mut client, "expiring", 0..80_000, 500, Some(10_000)), 0, "{policy}");
        let evicted = info(&mut client, "stats", "evicted_keys");
        assert!(evicted > 10_000, "{policy}: {evicted}");
        assert_eq!(count(&mut client, "kept", 0..5000), 5000, "{policy}");
        // Keys that do not expire push out the others, to the last one.
        let refused = write(&mut client, "more", 0..80_000, 500, None);
        assert!(refused > 10_000, "{policy}: {refused}");
        assert_eq!(count(&mut client, "expiring", 0..80_000), 0, "{policy}");
        assert_eq!(count(&mut client, "kept", 0..5000), 5000, "{policy}");
        // Counting has given memory back that replies took: it is filled again, and then there is room for nothing, not even for what expires.
        assert!(write(&mut client, "last", 0..5000, 500, None) > 0, "{policy}");
        assert_eq!(client.command("SET x y EX 100"), Value::Error(OUT_OF_MEMORY.into()), "{policy}");
    }
}

#[test]
fn what_is_used_stays() {
    for policy in ["allkeys-lru", "allkeys-lfu"] {
        let server = launch(48 * MB, policy).workers(2).start();
        let mut client = server.client();
        assert_eq!(write(&mut client, "hot", 0..1000, 300, None), 0);
        for round in 0..120 {
            if round % 4 == 0 {
                let words: Vec<String> = (0..1000).map(|number| format!("hot:{number}")).collect();
                client.call(&[&["MGET".to_owned()], &words[..]].concat());
                if policy == "allkeys-lru" {
                    // The clock of recency ticks in seconds: what fits the limit must take longer to write, on a fast machine too.
                    std::thread::sleep(Duration::from_millis(150));
                }
            }
            assert_eq!(write(&mut client, "cold", round * 2000..(round + 1) * 2000, 300, None), 0);
        }
        let (hot, cold) = (count(&mut client, "hot", 0..1000), client.command("DBSIZE").int() as u64);
        assert!(cold < 150_000, "{policy}: {cold} of 240,000 keys are left");
        assert!(hot > 950, "{policy}: {hot} of 1000 keys in use are left");
    }
}

#[test]
fn every_shard_gives_its_share_also_the_one_that_sleeps() {
    let server = launch(56 * MB, "allkeys-random").workers(2).start();
    let mut client = server.client();
    // Slots 5061 and 12182 of 16384: one in each half.
    let (first, second) = ("{bar}", "{foo}");
    assert_eq!(write(&mut client, first, 0..40_000, 300, None), 0);
    assert_eq!(write(&mut client, second, 0..40_000, 300, None), 0);
    let before = (count(&mut client, first, 0..40_000), count(&mut client, second, 0..40_000));
    assert!(before.0 > 30_000 && before.1 > 30_000, "{before:?}");
    // Only the second shard is written to.
    assert_eq!(write(&mut client, second, 40_000..200_000, 300, None), 0);
    let after = (count(&mut client, first, 0..40_000), count(&mut client, second, 0..200_000));
    assert!(after.0 < before.0 * 8 / 10, "the shard that nobody writes to gives too: {before:?} {after:?}");
    assert!(after.1 > after.0, "{after:?}");
    // And when it is empty the other one finds room by itself.
    client.command("FLUSHALL");
    assert_eq!(write(&mut client, second, 0..200_000, 300, None), 0);
    let left = count(&mut client, second, 0..200_000);
    assert!(left > 60_000, "{left}: one shard may take the whole limit");
}

#[test]
fn a_lower_limit_takes_effect_without_a_write() {
    let server = launch(256 * MB, "allkeys-lru").workers(2).start();
    let mut client = server.client();
    assert_eq!(write(&mut client, "key", 0..200_000, 500, None), 0);
    assert_eq!(client.command("DBSIZE"), Value::Int(200_000));
    let before = resident(server.pid());
    assert_eq!(client.command("CONFIG SET maxmemory 64mb"), Value::Simple(b"OK".to_vec()));
    let deadline = Instant::now() + Duration::from_secs(20);
    while resident(server.pid()) > 64 * MB * 11 / 10 || info(&mut client, "memory", "used_memory") > 64 * MB {
        assert!(Instant::now() < deadline, "{} KiB resident", resident(server.pid()) >> 10);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(before > 100 * MB && client.command("DBSIZE").int() > 50_000);
    assert_eq!(client.command("CONFIG SET maxmemory 0"), Value::Simple(b"OK".to_vec()));
    assert_eq!(write(&mut client, "key", 0..200_000, 500, None), 0);
    assert_eq!(client.command("DBSIZE"), Value::Int(200_000));
}

#[test]
fn info_tells_what_the_kernel_and_the_counts_tell() {
    let server = launch(64 * MB, "allkeys-lru").start();
    let mut client = server.client();
    let empty = info(&mut client, "memory", "used_memory");
    assert_eq!(write(&mut client, "key", 0..20_000, 1000, None), 0);
    let full = info(&mut client, "memory", "used_memory");
    let data = 20_000 * 1024;
    assert!((data..data * 5 / 4).contains(&(full - empty)), "{}", full - empty);
    assert_eq!(write(&mut client, "key", 20_000..100_000, 1000, None), 0);
    let text = client.command("INFO memory").text();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{name} in {text}")).trim().to_owned()
    };
    let number = |name: &str| field(name).parse::<f64>().expect("a number");
    let kernel = resident(server.pid()) as f64;
    assert!((number("used_memory_rss") / kernel - 1.0).abs() < 0.1);
    let ratio = number("used_memory_rss") / number("used_memory");
    assert!((number("mem_fragmentation_ratio") - ratio).abs() < 0.02);
    assert_eq!(field("maxmemory"), (64 * MB).to_string());
    assert_eq!(
        (field("maxmemory_human"), field("maxmemory_policy")),
        ("64.00M".into(), "allkeys-lru".into())
    );
    assert!(number("maxmemory_effective") <= number("maxmemory"));
    assert!(number("used_memory") <= number("maxmemory_effective") * 1.01);
    assert!(number("used_memory_peak") >= number("used_memory"));
    let (overhead, dataset) = (number("used_memory_overhead"), number("used_memory_dataset"));
    assert_eq!(overhead + dataset, number("used_memory"));
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let before = info(&mut client, "stats", "evicted_keys");
        let left = client.command("DBSIZE").int() as u64;
        // Between two commands the server may go on evicting what is too much.
        if info(&mut client, "stats", "evicted_keys") == before {
            assert_eq!(before, 100_000 - left);
            break;
        }
        assert!(Instant::now() < deadline, "eviction does not end");
    }
    client.command("CONFIG RESETSTAT");
    assert_eq!(info(&mut client, "stats", "evicted_keys"), 0);
    assert!(client.command("MEMORY DOCTOR").text().contains("Limit: "));
}

/// Whether the kernel gives the process huge pages, as it says itself (Linux 5.0 and later).
fn has_huge_pages(server: &Server) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the server runs");
    let line = status.lines().find_map(|line| line.strip_prefix("THP_enabled:"));
    line.expect("the kernel tells").trim() == "1"
}

#[test]
fn huge_pages_are_kept_off_when_asked_for_and_with_a_small_limit() {
    let kora = || match Launch::kora() {
        launch if launch.subject == Subject::Kora => Some(launch),
        _ => None,
    };
    let Some(launch) = kora() else { return };
    let server = launch.start();
    assert!(has_huge_pages(&server));
    let mut client = server.client();
    assert_eq!(client.command("CONFIG GET disable-thp").items()[1].text(), "no");
    client.command("CONFIG SET maxmemory 64mb");
    assert!(!has_huge_pages(&server));
    client.command("CONFIG SET maxmemory 0");
    assert!(has_huge_pages(&server));
    let server = kora().expect("as before").argument("--disable-thp").argument("true").start();
    let mut client = server.client();
    assert_eq!(client.command("CONFIG GET disable-thp").items()[1].text(), "yes");
    for limit in ["64mb", "0"] {
        client.command(&format!("CONFIG SET maxmemory {limit}"));
        assert!(!has_huge_pages(&server), "{limit}");
    }
}

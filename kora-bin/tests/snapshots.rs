//! Snapshots of a running server: what they hold, what becomes of them, and what happens when they cannot be made or read.

mod harness;

use harness::resp::Value;
use harness::{Client, Launch};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("kora-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    /// Names of complete snapshots, oldest first.
    fn snapshots(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.join("snapshots")).expect("the folder of snapshots");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    fn newest(&self) -> PathBuf {
        self.0.join("snapshots").join(self.snapshots().last().expect("there is one"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// With a log, or with snapshots only.
fn launch(folder: &Path, workers: usize, logs: bool) -> Launch {
    let launch = Launch::kora().workers(workers).data_dir(folder);
    launch.argument("--wal-enabled").argument(if logs { "true" } else { "false" })
}

/// A field of INFO persistence.
fn info(client: &mut Client, field: &str) -> String {
    let info = client.command("INFO persistence").text();
    let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{field} is not in {info}")).to_owned()
}

#[track_caller]
fn until(client: &mut Client, field: &str, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    while info(client, field) != wanted {
        assert!(Instant::now() < deadline, "{field} is still {}", info(client, field));
        thread::sleep(Duration::from_millis(5));
    }
}

fn ok() -> Value {
    Value::Simple(b"OK".to_vec())
}

/// Keys that one client writes in turn.
const KEYS: u64 = 3000;

/// The key of a write, by its number.
fn key_of(number: u64) -> String {
    format!("s:{}", number * 7919 % KEYS)
}

/// The highest number among the values of these keys, and whether all of them hold what they hold after that write.
fn assert_prefix(client: &mut Client) -> u64 {
    let held: BTreeMap<String, u64> = (0..KEYS)
        .filter_map(|key| {
            let key = format!("s:{key}");
            let value = client.call(&["GET", &key]);
            Some((key, std::str::from_utf8(value.bytes()?).ok()?.parse().ok()?))
        })
        .collect();
    let last = held.values().copied().max().expect("something was written");
    let mut expected = BTreeMap::new();
    for number in last.saturating_sub(2 * KEYS).max(1)..=last {
        expected.insert(key_of(number), number);
    }
    assert_eq!(held, expected, "all writes up to {last} and none after it");
    last
}

/// While a client writes one key after the other, on all shards, snapshots are taken: each holds all writes up to one and none after it.
fn is_of_one_moment(workers: usize, other_workers: usize) {
    let folder = Folder::new(&format!("moment-{workers}"));
    let server = launch(&folder.0, workers, false).start_loaded();
    let mut client = server.client();
    let fill: Vec<String> = (0..20_000).map(|n| format!("SET fill:{n} {n}-{n}-{n}-{n}-{n}-{n}")).collect();
    let lines: Vec<&str> = fill.iter().map(String::as_str).collect();
    client.pipeline(&lines);
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let (before, after) = thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = server.client();
            for number in 1.. {
                assert_eq!(writer.call(&["SET", &key_of(number), &number.to_string()]), ok());
                written.store(number, Ordering::SeqCst);
                // Fills go away meanwhile: what a snapshot owes is told before.
                writer.call(&["DEL", &format!("fill:{}", number % 20_000)]);
                if stop.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        while written.load(Ordering::SeqCst) < 2 * KEYS {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(client.command("SAVE"), ok());
        let before = written.load(Ordering::SeqCst);
        assert_eq!(client.command("BGSAVE"), Value::Simple(b"Background saving started".to_vec()));
        until(&mut client, "rdb_saves", "2");
        let after = written.load(Ordering::SeqCst);
        stop.store(true, Ordering::SeqCst);
        (before, after)
    });
    drop(client);
    server.kill();
    let server = launch(&folder.0, other_workers, false).start_loaded();
    let mut client = server.client();
    let last = assert_prefix(&mut client);
    assert!((before..=after + 1).contains(&last), "{last} is not between {before} and {after}");
    // Of each number one of the two: its write deleted the fill.
    for fill in 0..20_000u64 {
        let there = client.call(&["EXISTS", &format!("fill:{fill}")]).int() == 1;
        let deleted_by = if fill == 0 { 20_000 } else { fill };
        if deleted_by != last {
            assert_eq!(there, deleted_by > last, "fill:{fill}, after write {last}");
        }
    }
}

#[test]
fn a_snapshot_is_what_was_there_at_one_moment_on_one_shard() {
    is_of_one_moment(1, 2);
}

#[test]
fn a_snapshot_is_what_was_there_at_one_moment_on_all_shards() {
    is_of_one_moment(2, 1);
}

#[test]
fn everything_is_in_it_and_the_log_goes_on_from_it() {
    let folder = Folder::new("everything");
    let long = "long-".repeat(100_000);
    let mut workers = 1;
    for round in 0..3 {
        let server = launch(&folder.0, workers, true).wal_sync("every_write").start_loaded();
        let mut client = server.client();
        if round > 0 {
            for line in [
                "GET text",
                "GET number",
                "LRANGE list 0 -1",
                "HGETALL hash",
                "ZRANGE zset 0 -1 WITHSCORES",
                "SMEMBERS set",
                "XRANGE stream - +",
                "XINFO GROUPS stream",
                "FCALL f 0",
                "GET later",
                "DBSIZE",
            ] {
                let reply = client.command(line);
                assert!(!reply.is_error() && reply != Value::Null, "{line} after round {round}: {reply:?}");
            }
            assert_eq!(client.command("GET long").text(), long);
            assert_eq!(client.command("GET later").text(), (round - 1).to_string());
            assert_eq!(client.command("FCALL f 0").int(), 42);
            assert!((1..=10_000).contains(&client.command("TTL number").int()));
            assert_eq!(client.command("HTTL hash FIELDS 1 brief").items().len(), 1);
            assert!(client.command("HTTL hash FIELDS 1 brief").items()[0].int() > 0);
            assert_eq!(client.command("XPENDING stream group").items()[0].int(), 1);
            client.command("SELECT 9");
            assert_eq!(client.command("GET elsewhere").text(), "9");
            client.command("SELECT 0");
        }
        client.call(&[
            "FUNCTION",
            "LOAD",
            "REPLACE",
            "#!lua name=lib\nredis.register_function('f', function() return 42 end)",
        ]);
        for line in [
            "FLUSHALL",
            "SET text something",
            "SET number 17 EX 10000",
            "RPUSH list a b c",
            "HSET hash f v brief x",
            "HEXPIRE hash 5000 FIELDS 1 brief",
            "ZADD zset 1.5 a 2 b",
            "SADD set 1 2 three",
            "XADD stream 1-1 k v",
            "XADD stream 2-1 k v",
            "XGROUP CREATE stream group 0",
            "XREADGROUP GROUP group me COUNT 1 STREAMS stream >",
            "SELECT 9",
            "SET elsewhere 9",
            "SELECT 0",
        ] {
            assert!(!client.command(line).is_error(), "{line}");
        }
        client.call(&["SET", "long", &long]);
        assert_eq!(client.command("SAVE"), ok());
        assert_eq!(info(&mut client, "rdb_changes_since_last_save"), "0");
        client.call(&["SET", "later", &round.to_string()]);
        assert_eq!(info(&mut client, "rdb_changes_since_last_save"), "1");
        drop(client);
        server.kill();
        workers = 3 - workers;
    }
    assert_eq!(folder.snapshots().len(), 1);
}

#[test]
fn old_snapshots_and_the_log_before_the_newest_go() {
    let folder = Folder::new("retain");
    let server = launch(&folder.0, 2, true).argument("--snapshot-retain").argument("2").start_loaded();
    let mut client = server.client();
    let mut seen = Vec::new();
    for round in 0..4 {
        client.call(&["SET", "key", &round.to_string()]);
        assert_eq!(client.command("SAVE"), ok());
        seen.push(folder.snapshots().pop().expect("there is one"));
    }
    assert_eq!(folder.snapshots(), seen[2..]);
    // The same moment once more: it takes the place of the other.
    assert_eq!(client.command("SAVE"), ok());
    assert_eq!(folder.snapshots(), seen[2..]);
    // Of the segments that were closed for the cuts none is left but those of the last ones.
    let deadline = Instant::now() + PATIENCE;
    while fs::read_dir(folder.0.join("log")).expect("the log").count() > 6 {
        assert!(Instant::now() < deadline, "segments stay");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn commands_answer_as_redis_does() {
    let folder = Folder::new("commands");
    let server = launch(&folder.0, 2, true).start_loaded();
    let mut client = server.client();
    let before = client.command("LASTSAVE").int();
    client.command("SET key value");
    let queued = client.pipeline(&["MULTI", "BGSAVE", "BGREWRITEAOF", "LASTSAVE", "EXEC"]);
    let replies = queued[4].items();
    assert_eq!(replies[0], Value::Simple(b"Background saving scheduled".to_vec()));
    assert_eq!(replies[1], Value::Simple(b"Background append only file rewriting scheduled".to_vec()));
    assert_eq!(replies[2].int(), before);
    until(&mut client, "aof_rewrites", "1");
    assert_eq!(
        client.command("BGREWRITEAOF"),
        Value::Simple(b"Background append only file rewriting started".to_vec())
    );
    until(&mut client, "aof_rewrites", "2");
    assert_eq!(client.command("BGSAVE SCHEDULE"), Value::Simple(b"Background saving started".to_vec()));
    until(&mut client, "rdb_saves", "3");
    assert!(client.command("LASTSAVE").int() >= before);
    assert_eq!(client.command("CONFIG GET save").items()[1].text(), "3600 1");
}

#[test]
fn they_are_taken_by_themselves_when_something_has_changed() {
    let folder = Folder::new("interval");
    let every_second = launch(&folder.0, 2, true).argument("--snapshot-interval-secs").argument("1");
    let server = every_second.start_loaded();
    let mut client = server.client();
    client.command("SET key value");
    until(&mut client, "rdb_saves", "1");
    thread::sleep(Duration::from_millis(2500));
    assert_eq!(info(&mut client, "rdb_saves"), "1", "nothing has changed since");
    client.command("SET key other");
    until(&mut client, "rdb_saves", "2");
}

#[test]
fn what_cannot_be_written_is_said_and_the_server_goes_on() {
    let folder = Folder::new("failing");
    let server = launch(&folder.0, 2, true).start_loaded();
    let mut client = server.client();
    client.command("SET key value");
    // Somebody puts a file where the folder was.
    let (snapshots, aside) = (folder.0.join("snapshots"), folder.0.join("aside"));
    fs::rename(&snapshots, &aside).expect("renamed");
    fs::write(&snapshots, b"").expect("written");
    assert!(client.command("SAVE").is_error());
    assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "err");
    assert!(info(&mut client, "snapshot_last_error").contains("snapshots"));
    assert_eq!(info(&mut client, "rdb_bgsave_in_progress"), "0");
    assert_eq!(client.command("SET key other"), ok());
    fs::remove_file(&snapshots).expect("removed");
    fs::rename(&aside, &snapshots).expect("renamed");
    assert_eq!(client.command("SAVE"), ok());
    assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "ok");
    assert_eq!(info(&mut client, "snapshot_last_error"), "");
}

#[test]
fn a_damaged_snapshot_is_refused_by_name_and_one_that_is_not_whole_is_passed_over() {
    let folder = Folder::new("damaged");
    let two = launch(&folder.0, 1, false).argument("--snapshot-retain").argument("2");
    let server = two.start_loaded();
    let mut client = server.client();
    for value in ["first", "second"] {
        client.call(&["SET", "key", value]);
        assert_eq!(client.command("SAVE"), ok());
    }
    drop(client);
    server.kill();
    let file = folder.newest().join("0000.ksnap");
    let intact = fs::read(&file).expect("the file of shard 0");
    let mut bytes = intact.clone();
    bytes[70] ^= 1;
    fs::write(&file, &bytes).expect("written");
    let mut refusing = two.spawn();
    let exit = refusing.wait();
    assert!(!exit.status.success());
    let said = exit.output;
    assert!(said.contains("0000.ksnap: damaged at byte 40"), "{said}");
    // One file is missing: this cannot be the snapshot that was made last.
    fs::remove_file(&file).expect("removed");
    let server = two.start_loaded();
    assert_eq!(server.client().command("GET key").text(), "first");
    assert!(server.output().contains("this snapshot cannot be used"));
    server.kill();
    fs::write(&file, &intact).expect("written");
    let server = two.start_loaded();
    assert_eq!(server.client().command("GET key").text(), "second");
}

/// The server is killed at any moment, again and again, while it writes and takes one snapshot after the other: what it has acknowledged is there.
#[test]
fn a_kill_at_any_moment_of_a_snapshot_loses_nothing() {
    let folder = Folder::new("kill");
    let rounds = std::env::var("KORA_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(8);
    let mut acknowledged = 0;
    for round in 0..rounds {
        let server = launch(&folder.0, 1 + round % 2, true).wal_sync("every_write").start_loaded();
        if round > 0 {
            let last = assert_prefix(&mut server.client());
            assert!(
                last >= acknowledged,
                "write {acknowledged} was acknowledged, {last} is the last one there"
            );
            acknowledged = last;
        }
        let next = AtomicU64::new(acknowledged);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut saver = server.client();
                while saver.send(&["SAVE"]).is_ok() && saver.read().is_ok() {}
            });
            scope.spawn(|| {
                let mut writer = server.client();
                loop {
                    let number = next.load(Ordering::SeqCst) + 1;
                    let sent = writer.send(&["SET", &key_of(number), &number.to_string()]);
                    if sent.is_err() || writer.read().is_err() {
                        break;
                    }
                    next.store(number, Ordering::SeqCst);
                }
            });
            thread::sleep(Duration::from_millis(150 + round as u64 * 37 % 200));
            server.signal(9);
        });
        acknowledged = next.load(Ordering::SeqCst);
        server.kill();
    }
    assert!(folder.snapshots().iter().any(|name| !name.ends_with(".partial")), "some were completed");
}

#[test]
fn without_a_log_the_end_is_a_snapshot() {
    let folder = Folder::new("end");
    for (round, (arguments, kept)) in
        [("", true), ("SHUTDOWN", true), ("SHUTDOWN NOSAVE", false), ("SHUTDOWN SAVE", true)]
            .into_iter()
            .enumerate()
    {
        let workers = 1 + round % 2;
        let mut server = launch(&folder.0, workers, false).start_loaded();
        let mut client = server.client();
        let before = client.command("GET key");
        let value = round.to_string();
        assert_eq!(client.call(&["SET", "key", &value]), ok());
        if arguments.is_empty() {
            drop(client);
            server.signal(15);
        } else {
            client.send_raw(format!("{arguments}\r\n").as_bytes()).expect("sent");
        }
        assert!(server.wait().status.success());
        let server = launch(&folder.0, workers, false).start_loaded();
        let after = server.client().command("GET key");
        assert_eq!(after, if kept { Value::Bulk(value.into_bytes()) } else { before }, "{arguments}");
        server.kill();
    }
}

//! What is there after a restart: everything, whatever type it has, however many workers there are now, and as long as it was meant to be.

use crate::disk::{self, Disk};
use crate::dump;
use crate::harness::random::Random;
use crate::harness::{resp, Client, Server, Subject, Value};
use std::time::{Duration, Instant, SystemTime};

const MODES: [&str; 3] = ["every_write", "every_second", "os_managed"];

/// Commands whose replies do not matter, but none is an error.
fn run(client: &mut Client, commands: &[&str]) {
    for command in commands {
        let reply = client.command(command);
        assert!(!reply.is_error(), "{command}: {reply:?}");
    }
}

#[test]
fn a_server_that_is_asked_to_end_loses_nothing() {
    for mode in MODES {
        let disk = Disk::new();
        let server = disk.start(2, mode);
        let mut client = server.client();
        let commands: Vec<String> = (0..2_000).map(|number| format!("SET key:{number} {number}")).collect();
        let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
        assert!(client.pipeline(&commands).iter().all(|reply| reply.text() == "OK"));
        disk::terminate(server);
        let server = disk.start(1, mode);
        let mut client = server.client();
        assert_eq!(client.command("DBSIZE").int(), 2_000, "{mode}");
        assert_eq!(client.command("GET key:1999").text(), "1999", "{mode}");
    }
}

#[test]
fn shutdown_by_a_client_loses_nothing() {
    let disk = Disk::new();
    let mut server = disk.start(2, "every_second");
    let mut client = server.client();
    run(&mut client, &["SET a 1", "SET b 2", "INCR a"]);
    client.send(&["SHUTDOWN"]).expect("a command is sent");
    let exit = server.wait();
    assert!(exit.status.success(), "{exit:?}");
    let mut client = disk.start(2, "every_second").client_that_outlives();
    assert_eq!(client.0.command("MGET a b").items()[0].text(), "2");
}

/// A client with its server.
struct Held(Client, #[allow(dead_code)] Server);

trait Outlive {
    fn client_that_outlives(self) -> Held;
}

impl Outlive for Server {
    fn client_that_outlives(self) -> Held {
        Held(self.client(), self)
    }
}

/// Values of each type in each of their forms, and everything that hangs on them.
fn fill(client: &mut Client) {
    let long = "x".repeat(300_000);
    run(
        client,
        &[
            "SET text some",
            "SET number 12345",
            "SET small:number -9223372036854775808",
            "SETRANGE holes 1000 end",
            "SETBIT bits 70000 1",
            "APPEND text more",
            "INCRBYFLOAT float 10.5",
            "PFADD hll a b c d e f",
            "PFMERGE hll:merged hll",
            "RPUSH list a b c 1 2 3",
            "LREM list 1 b",
            "LINSERT list BEFORE c between",
            "LSET list 0 first",
            "HSET hash f v g 12 h 1.5",
            "HINCRBYFLOAT hash h 2.25",
            "HDEL hash f",
            "SADD ints 1 2 3 500 70000 5000000000",
            "SADD set a b c",
            "SREM set b",
            "ZADD zset 1 a 2.5 b -inf c +inf d 1e300 e",
            "ZINCRBY zset 3 a",
            "ZREM zset b",
            "GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
            "BITFIELD field SET u8 100 200 INCRBY i5 3 7",
            "XADD stream 1-1 a 1 b 2",
            "XADD stream 1-2 a 3 b 4",
            "XADD stream 2-0 other field",
            "XADD stream 5-0 last one",
            "XDEL stream 1-2",
            "XGROUP CREATE stream group 0",
            "XGROUP CREATE stream at-the-end $",
            "XGROUP CREATECONSUMER stream group idle",
            "XREADGROUP GROUP group alice COUNT 2 STREAMS stream >",
            "XACK stream group 1-1",
            "XADD emptied 7-7 a b",
            "XDEL emptied 7-7",
            "XGROUP CREATE born born-group $ MKSTREAM",
            "SETEX passing 100000 value",
            "PEXPIREAT list 3999999999999",
            "EXPIREAT hash 3999999999",
            "COPY zset zset:copy",
            "RENAME set set:renamed",
            "SUNIONSTORE union ints set:renamed",
            "ZRANGESTORE range zset 0 -1",
            "SORT ints STORE sorted",
            "BITOP XOR xored text number",
            "GETSET text replaced",
            "MSETNX never:before 1 never:before:2 2",
            "SPOP ints",
            "LMPOP 1 sorted LEFT COUNT 2",
            "ZPOPMIN zset:copy",
            "DEL never:before:2",
            "SELECT 3",
            "MSET a 1 b 2 c 3",
            "SELECT 4",
            "MSET a four b five",
            "SWAPDB 3 4",
            "MOVE a 5",
            "SELECT 6",
            "MSET gone 1 gone:too 2",
            "FLUSHDB",
            "SET after flush",
            "SELECT 0",
        ],
    );
    for (key, command) in
        [("list:long", "RPUSH"), ("set:long", "SADD"), ("hash:long", "HSET"), ("zset:long", "ZADD")]
    {
        for part in 0..20 {
            let mut words = vec![command.to_owned(), key.to_owned()];
            for number in part * 100..(part + 1) * 100 {
                match command {
                    "HSET" => words.extend([format!("field:{number}"), format!("value:{number}")]),
                    "ZADD" => words.extend([format!("{}.5", number * 7 % 1000), format!("member:{number}")]),
                    _ => words.push(format!("element:{number}")),
                }
            }
            assert!(!client.call(&words).is_error());
        }
    }
    for number in 0..500 {
        run(client, &[&format!("XADD stream:long * number {number} text value:{number}")]);
    }
    run(client, &["XGROUP CREATE stream:long g 0", "XREADGROUP GROUP g bob COUNT 300 STREAMS stream:long >"]);
    run(client, &["XTRIM stream:long MAXLEN 450"]);
    let bytes: &[&[u8]] = &[b"SET", b"\x00\xff\r\nkey", b"\x00\x01\xfe\xff value\r\n"];
    assert_eq!(client.call(bytes).text(), "OK");
    assert_eq!(client.call(&[&b"SET"[..], b"", b""]).text(), "OK");
    assert_eq!(client.call(&["SET", "long", &long]).text(), "OK");
    assert_eq!(client.call(&["RPUSH", "list:of:long", &long, "short", &long]).int(), 3);
    let within =
        ["MULTI", "INCR within", "LPUSH within:list a b", "HSET within:hash f 1", "DEL nothing", "EXEC"];
    assert!(client.pipeline(&within).iter().all(|reply| !reply.is_error()));
    let script = "redis.call('SET', KEYS[1], ARGV[1]) redis.call('RPUSH', KEYS[2], 1, 2, 3) return redis.call('INCR', KEYS[3])";
    assert_eq!(
        client.call(&["EVAL", script, "3", "by:script", "by:script:list", "by:script:number", "v"]).int(),
        1
    );
    if Subject::current() == Subject::Kora {
        run(
            client,
            &[
                "HSET expiring f 1 g 2 h 3",
                "HPEXPIREAT expiring 3999999999999 FIELDS 1 f",
                "HEXPIRE expiring 100000 FIELDS 1 g",
            ],
        );
    }
}

#[test]
fn every_type_survives_with_any_number_of_workers() {
    let disk = Disk::new();
    let server = disk.start(2, "every_write");
    fill(&mut server.client());
    let before = dump::of(&mut server.client(), 7);
    assert!(before.len() > 40, "{}", before.len());
    server.kill();
    for (life, workers) in [1, 4, 3, 2].into_iter().enumerate() {
        let server = disk.start(workers, "every_write");
        let mut client = server.client();
        let mut after = dump::of(&mut client, 7);
        for earlier in 0..life {
            let written = after.remove(&(0, format!("life:{earlier}").into_bytes()));
            assert!(written.is_some(), "what an earlier life has written");
        }
        let difference = dump::difference(&before, &after);
        assert!(difference.is_empty(), "with {workers} workers:\n{difference}");
        assert_eq!(client.command(&format!("SET life:{life} {workers}")).text(), "OK");
        server.kill();
    }
}

/// FLUSHALL and SWAPDB concern all shards; what came before is not back, however many there are now.
#[test]
fn what_was_flushed_or_swapped_stays_so() {
    let disk = Disk::new();
    for (from, to) in [(1, 4), (4, 2), (2, 1)] {
        let server = disk.start(from, "every_write");
        let mut client = server.client();
        let pairs: String = (0..300).map(|number| format!(" key:{number} old")).collect();
        run(&mut client, &[&format!("MSET{pairs}"), "SELECT 1", &format!("MSET{pairs}"), "SELECT 0"]);
        run(&mut client, &["FLUSHALL", "MSET a 1 b 2 c 3 d 4", "SWAPDB 0 2", "MSET a 5 e 6", "SWAPDB 1 0"]);
        server.kill();
        let server = disk.start(to, "every_write");
        let mut client = server.client();
        let sizes = [0, 1, 2].map(|database| {
            client.command(&format!("SELECT {database}"));
            client.command("DBSIZE").int()
        });
        assert_eq!(sizes, [0, 2, 4], "{from} and then {to} workers");
        run(&mut client, &["FLUSHALL"]);
        disk::terminate(server);
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

#[test]
fn time_to_live_goes_on_while_nobody_serves() {
    let disk = Disk::new();
    let server = disk.start(2, "every_write");
    let mut client = server.client();
    let begin = now_ms();
    run(&mut client, &["SET short 1 PX 400", "SET long 1 EX 1000", "SET kept 1", "EXPIRE kept 500"]);
    run(&mut client, &["HSET hash f 1", "PEXPIRE hash 400", "SET gone 1", "PEXPIRE gone 10"]);
    let end = now_ms();
    // What has expired and what has not are told from each other after the restart, whatever the moment of the crash.
    server.kill();
    std::thread::sleep(Duration::from_millis(450));
    let server = disk.start(1, "every_write");
    let mut client = server.client();
    assert_eq!(client.command("EXISTS short hash gone").int(), 0);
    for (key, seconds) in [("long", 1000), ("kept", 500)] {
        let at = client.command(&format!("PEXPIRETIME {key}")).int();
        assert!((begin + seconds * 1000..=end + seconds * 1000).contains(&at), "{key} {at} {begin} {end}");
    }
    assert_eq!(client.command("DBSIZE").int(), 2);
    // A name that has expired is free for a key without end.
    run(&mut client, &["SET short 2"]);
    server.kill();
    let server = disk.start(2, "every_write");
    assert_eq!(server.client().command("GET short").text(), "2");
    assert_eq!(server.client().command("PTTL short").int(), -1);
}

#[test]
fn libraries_of_functions_survive() {
    const LIBRARY: &str =
        "#!lua name=lib\nredis.register_function('twice', function(keys, args) return args[1] * 2 end)";
    const OTHER: &str = "#!lua name=other\nredis.register_function('three', function() return 3 end)";
    let disk = Disk::new();
    let server = disk.start(2, "every_write");
    let mut client = server.client();
    for library in [LIBRARY, OTHER] {
        assert!(!client.call(&["FUNCTION", "LOAD", library]).is_error());
    }
    server.kill();
    let server = disk.start(1, "every_write");
    let mut client = server.client();
    assert_eq!(client.command("FCALL twice 0 21").int(), 42);
    assert_eq!(client.command("FCALL three 0").int(), 3);
    run(&mut client, &["FUNCTION DELETE other"]);
    server.kill();
    let server = disk.start(4, "every_write");
    let mut client = server.client();
    assert_eq!(client.command("FCALL twice 0 4").int(), 8);
    assert!(client.command("FCALL three 0").is_error());
    run(&mut client, &["FUNCTION FLUSH"]);
    server.kill();
    let server = disk.start(2, "every_write");
    assert_eq!(server.client().command("FUNCTION LIST"), Value::Array(Vec::new()));
}

#[test]
fn nothing_is_kept_without_a_data_directory() {
    let launch = crate::harness::Launch::kora();
    let server = launch.start();
    run(&mut server.client(), &["SET a 1"]);
    let files: Vec<_> = std::fs::read_dir(&server.directory).expect("its folder").collect();
    assert_eq!(files.len(), 1, "its output and nothing else: {files:?}");
}

#[test]
fn a_directory_belongs_to_one_process() {
    if Subject::current() != Subject::Kora {
        return;
    }
    let disk = Disk::new();
    let server = disk.start(1, "every_second");
    run(&mut server.client(), &["SET a 1"]);
    let said = disk.refusal();
    assert!(said.contains(&server.pid().to_string()), "it names process {}: {said}", server.pid());
    assert!(said.contains(disk.path.to_str().expect("a UTF-8 path")), "it names the directory: {said}");
    // The first one is not disturbed, and after its death the directory is free at once.
    run(&mut server.client(), &["SET b 2"]);
    disk::terminate(server);
    let server = disk.start(1, "every_second");
    assert_eq!(server.client().command("DBSIZE").int(), 2);
    server.kill();
    let server = disk.start(1, "every_second");
    assert_eq!(server.client().command("DBSIZE").int(), 2);
}

/// Blocked clients get what others write; the log has it once.
#[test]
fn what_a_blocked_client_was_given_is_gone() {
    let disk = Disk::new();
    let server = disk.start(2, "every_write");
    let mut waiting: Vec<Client> = (0..4).map(|_| server.client()).collect();
    for (at, client) in waiting.iter_mut().enumerate() {
        let command = if at % 2 == 0 { "BLPOP queue 0" } else { "BLMOVE queue moved LEFT RIGHT 0" };
        client.send(&command.split(' ').collect::<Vec<_>>()).expect("a command is sent");
    }
    let mut client = server.client();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !client.command("INFO clients").text().contains("blocked_clients:4\r\n") {
        assert!(Instant::now() < deadline);
    }
    assert_eq!(client.command("RPUSH queue 1 2 3 4 5 6").int(), 6);
    for client in &mut waiting {
        client.read().expect("an element");
    }
    server.kill();
    let server = disk.start(4, "every_write");
    let mut client = server.client();
    assert_eq!(client.command("LRANGE queue 0 -1").items().len(), 2);
    assert_eq!(client.command("LRANGE moved 0 -1").items().len(), 2);
}

/// Random commands of every family, right and wrong ones, some in transactions: whatever they have made is there again.
#[test]
fn what_random_commands_have_made_survives() {
    // Redis 8's append-only file forgets consumers that own nothing.
    if Subject::current() != Subject::Kora {
        return;
    }
    let seed = std::env::var("KORA_SEED")
        .map_or_else(|_| fastrand::u64(1..), |text| text.parse().expect("a number"));
    println!("KORA_SEED={seed} repeats the commands");
    let mut random = Random::new(seed);
    for mode in MODES {
        let disk = Disk::new();
        let mut before = dump::Dump::new();
        for life in 0..6 {
            let workers = [1, 2, 4][random.below(3)];
            let server = disk.start(workers, mode);
            let mut client = server.client();
            let difference = dump::difference(&before, &dump::of(&mut client, 16));
            assert!(
                difference.is_empty(),
                "{mode}, life {life}, {workers} workers, seed {seed}:\n{difference}"
            );
            for _ in 0..12 {
                send_random(&mut client, &mut random);
            }
            before = dump::of(&mut client, 16);
            match mode {
                "every_write" => server.kill(),
                _ => disk::terminate(server),
            }
        }
    }
}

/// A batch of random commands, as they are or as a transaction.
fn send_random(client: &mut Client, random: &mut Random) {
    let is_transaction = random.below(3) == 0;
    let mut commands: Vec<Vec<String>> = (0..random.below(60)).map(|_| random.command()).collect();
    if is_transaction {
        commands.truncate(8);
        commands.insert(0, vec!["MULTI".to_owned()]);
        commands.push(vec!["EXEC".to_owned()]);
    }
    let frames: Vec<u8> = commands.iter().flat_map(|command| resp::encode(command)).collect();
    client.send_raw(&frames).expect("commands are sent");
    for command in &commands {
        client.read().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }
}

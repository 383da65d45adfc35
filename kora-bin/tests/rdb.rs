//! Moving between redis-server and Kora: by DUMP and RESTORE key by key, and by whole files with `kora import` and `kora export`.
//!
//! The redis-server is the one in the PATH. With one of version 8 the suite also covers fields that expire.

mod harness;

use harness::random::Random;
use harness::server::new_directory;
use harness::{Client, Launch, Server, Subject, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        Folder(new_directory())
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a subcommand of kora; what it says, or its complaint.
fn kora(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_kora")).args(arguments).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(text(output.stderr)),
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

/// Keys of every type: small and large ones, and what random commands make.
fn fill(client: &mut Client, seed: u64, fields_expire: bool) {
    client.command("FLUSHALL");
    let mut random = Random::new(seed);
    for _ in 0..4000 {
        let command = random.command();
        let name = command[0].to_ascii_lowercase();
        // What waits, ends the connection or takes the keys away.
        let unwanted =
            ["flush", "swapdb", "select", "quit", "shutdown", "bl", "br", "bz", "multi", "exec", "move"];
        if unwanted.iter().any(|word| name.starts_with(word)) || command.iter().any(|word| word == "block") {
            continue;
        }
        client.call(&command);
    }
    // Nothing is to expire while it is looked at here and there.
    for key in keys(client) {
        client.call(&[b"PERSIST", &key[..]]);
        if fields_expire && client.call(&[b"TYPE", &key[..]]).text() == "hash" {
            for field in client.call(&[b"HKEYS", &key[..]]).items() {
                let field = field.bytes().expect("a field");
                client.call(&[&b"HPERSIST"[..], &key, b"FIELDS", b"1", field]);
            }
        }
    }
    for db in 1..16 {
        client.command(&format!("SELECT {db}"));
        client.command("FLUSHDB");
    }
    client.command("SELECT 3");
    client.command("SET elsewhere 1 PXAT 4102444800000");
    client.command("SELECT 0");
    for size in [3, 200, 3000] {
        for n in 0..size {
            let (n, x) = (n.to_string(), "x".repeat(n % 90));
            for command in [
                vec!["RPUSH", "list:SIZE", &n, &x],
                vec!["SADD", "ints:SIZE", &n],
                vec!["SADD", "set:SIZE", &n, &x],
                vec!["ZADD", "zset:SIZE", &n[n.len() - 1..], &x, "1.5", &n],
                vec!["HSET", "hash:SIZE", &n, &x, "field", &n],
                vec!["XADD", "stream:SIZE", &format!("{n}-5"), "field", &x, "n", &n],
                vec!["APPEND", "string:SIZE", &x],
            ] {
                let command: Vec<String> =
                    command.iter().map(|word| word.replace("SIZE", &size.to_string())).collect();
                client.call(&command);
            }
            if fields_expire && size % 2 == 0 {
                client.command(&format!("HPEXPIREAT hash:{size} 4102444800{n:0>3.3} FIELDS 1 {n}"));
            }
        }
        client.command(&format!("XDEL stream:{size} 1-5 7-5 100-5"));
        client.command(&format!("XGROUP CREATE stream:{size} group 0"));
        client.command(&format!("XREADGROUP GROUP group alice COUNT 50 STREAMS stream:{size} >"));
        client.command(&format!("XREADGROUP GROUP group bob COUNT 50 STREAMS stream:{size} >"));
    }
    client.command("PEXPIREAT list:3 4102444800000");
}

/// What a key holds and when it expires, in no form that depends on the server.
fn meaning(client: &mut Client, key: &[u8]) -> String {
    let kind = client.call(&[b"TYPE", key]).text();
    let expiry = client.call(&[b"PEXPIRETIME", key]).int();
    let sorted = |value: Value| {
        let mut items: Vec<String> = value.items().iter().map(|item| format!("{item:?}")).collect();
        items.sort_unstable();
        items.join(" ")
    };
    let pairs = |value: Value, of: fn(&Value) -> String| -> BTreeMap<String, String> {
        value.items().chunks(2).map(|pair| (format!("{:?}", pair[0]), of(&pair[1]))).collect()
    };
    let text = |value: &Value| format!("{value:?}");
    let content = match kind.as_str() {
        "string" => text(&client.call(&[b"GET", key])),
        "list" => text(&client.call(&[b"LRANGE", key, b"0", b"-1"])),
        "set" => sorted(client.call(&[b"SMEMBERS", key])),
        "hash" => format!("{:?}", pairs(client.call(&[b"HGETALL", key]), |value| format!("{value:?}"))),
        "zset" => {
            let score = |value: &Value| format!("{:?}", value.text().parse::<f64>().expect("a score"));
            format!("{:?}", pairs(client.call(&[&b"ZRANGE"[..], key, b"0", b"-1", b"WITHSCORES"]), score))
        }
        "stream" => {
            let entries = text(&client.call(&[b"XRANGE", key, b"-", b"+"]));
            let groups = client.call(&[&b"XINFO"[..], b"GROUPS", key]);
            let mut pending = String::new();
            for group in groups.items() {
                let name = group.items()[1].bytes().expect("its name").to_vec();
                pending += &text(&client.call(&[b"XPENDING", key, &name[..]]));
            }
            format!("{entries} {groups:?} {pending}")
        }
        other => panic!("{other}"),
    };
    format!("{kind} {expiry} {content}")
}

fn keys(client: &mut Client) -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> =
        client.command("KEYS *").items().iter().map(|key| key.bytes().expect("a key").to_vec()).collect();
    keys.sort_unstable();
    keys
}

/// Takes all keys of database 0 from one server to another by their dumps; how many the other is too old for.
fn move_by_dump(from: &mut Client, to: &mut Client) -> usize {
    to.command("FLUSHALL");
    let mut refused = 0;
    let all = keys(from);
    assert!(all.len() > 25, "{}", all.len());
    for key in all {
        let payload = from.call(&[b"DUMP", &key[..]]);
        let payload = payload.bytes().expect("a payload");
        let answer = to.call(&[&b"RESTORE"[..], &key, b"0", payload]);
        if answer == Value::Error(b"ERR DUMP payload version or checksum are wrong".to_vec()) {
            refused += 1;
            continue;
        }
        let name = String::from_utf8_lossy(&key).into_owned();
        assert_eq!(answer, Value::Simple(b"OK".to_vec()), "{name}");
        let expiry = from.call(&[b"PEXPIRETIME", &key[..]]).int();
        if expiry > 0 {
            to.call(&[b"PEXPIREAT", &key[..], expiry.to_string().as_bytes()]);
        }
        let (there, here) = (meaning(to, &key), meaning(from, &key));
        assert!(there == here, "{name}\n{}\n{}", here.escape_debug(), there.escape_debug());
    }
    refused
}

fn is_8(redis: &Launch) -> bool {
    matches!(redis.subject, Subject::Redis(version) if version >= (7, 4))
}

#[test]
fn dumps_of_either_server_are_restored_by_the_other() {
    let launch = Launch::redis();
    let (redis, kora) = (launch.start(), Launch::kora().start());
    let (mut redis, mut kora) = (redis.client(), kora.client());
    fill(&mut redis, 1, is_8(&launch));
    assert_eq!(move_by_dump(&mut redis, &mut kora), 0);
    fill(&mut kora, 2, is_8(&launch));
    let refused = move_by_dump(&mut kora, &mut redis);
    // Consumers that were active at another time than seen need a newer format than 7.0 has.
    assert!(refused == 0 || !is_8(&launch) && refused < 4, "{refused}");
}

#[test]
fn keys_migrate_to_the_other_server_and_back() {
    let launch = Launch::redis();
    let (redis, kora) = (launch.start(), Launch::kora().workers(2).start());
    let (mut there, mut here) = (redis.client(), kora.client());
    fill(&mut there, 5, false);
    let before: BTreeMap<Vec<u8>, String> =
        keys(&mut there).into_iter().map(|key| (key.clone(), meaning(&mut there, &key))).collect();
    let port = |server: &Server| server.address().port().to_string();
    let (to_redis, to_kora) = (port(&redis), port(&kora));
    // All at once, then one by one: by then there is a connection.
    for key in before.keys() {
        let answer = there.call(&[&b"MIGRATE"[..], b"127.0.0.1", to_kora.as_bytes(), key, b"0", b"5000"]);
        assert_eq!(answer.text(), "OK", "{}", String::from_utf8_lossy(key));
    }
    assert_eq!(there.command("DBSIZE").int(), 0);
    let all: Vec<&[u8]> = before.keys().map(Vec::as_slice).collect();
    let migrate = |client: &mut Client, options: &[&[u8]]| {
        let mut words = vec![&b"MIGRATE"[..], b"127.0.0.1", to_redis.as_bytes(), b"", b"0", b"5000"];
        words.extend(options);
        words.push(b"KEYS");
        words.extend(&all);
        client.call(&words)
    };
    // Those that 7.0 cannot read stay, and it says so.
    let first = migrate(&mut here, &[b"COPY"]);
    let refused = first.is_error();
    assert!(
        !refused || first.text().starts_with("ERR Target instance replied with error: ERR DUMP"),
        "{first:?}"
    );
    assert_eq!(here.command("EXISTS list:200 set:3000").int(), 2);
    assert!(migrate(&mut here, &[]).text().ends_with("BUSYKEY Target key name already exists."));
    assert_eq!(here.command("EXISTS list:200 set:3000").int(), 2);
    assert_eq!(migrate(&mut here, &[b"REPLACE"]).is_error(), refused);
    assert_eq!(here.command("EXISTS list:200 set:3000").int(), 0);
    for (key, meant) in &before {
        let name = String::from_utf8_lossy(key).into_owned();
        let holder = if here.call(&[b"EXISTS", &key[..]]).int() == 1 { &mut here } else { &mut there };
        assert!(without_expiry(&meaning(holder, key)) == without_expiry(meant), "{name}");
    }
    // Where nobody listens, nothing goes.
    here.command("SET stays 1");
    drop(redis);
    let answer = here.command(&format!("MIGRATE 127.0.0.1 {to_redis} stays 0 500"));
    assert!(answer.text().starts_with("IOERR error or timeout"), "{answer:?}");
    assert_eq!(here.command("GET stays").text(), "1");
    here.command("MULTI");
    here.command(&format!("MIGRATE 127.0.0.1 {to_redis} stays 0 500"));
    let answers = here.command("EXEC");
    assert_eq!(answers.items()[0].text(), "ERR MIGRATE is not allowed in transactions");
}

/// MIGRATE says how long a key has to live, not until when: it comes a little later.
fn without_expiry(meaning: &str) -> String {
    let (kind, rest) = meaning.split_once(' ').expect("the type");
    let (expiry, content) = rest.split_once(' ').expect("the expiry");
    format!("{kind} {} {content}", expiry == "-1")
}

/// All databases as one number: DEBUG DIGEST. Streams have their entries in it, not their groups.
fn digest(client: &mut Client) -> String {
    client.command("DEBUG DIGEST").text()
}

/// Saves what a redis-server has; its file.
fn save(redis: &Server) -> PathBuf {
    let mut client = redis.client();
    assert_eq!(client.command("SAVE").text(), "OK");
    Path::new(&client.command("CONFIG GET dir").items()[1].text()).join("dump.rdb")
}

#[test]
fn files_of_redis_come_back_as_they_went() {
    let launch = Launch::redis();
    let version = if is_8(&launch) { "12" } else { "10" };
    let redis = launch.start();
    let mut client = redis.client();
    fill(&mut client, 3, is_8(&launch));
    let code = "#!lua name=lib\nredis.register_function('f', function() return 7 end)";
    assert_eq!(client.call(&["FUNCTION", "LOAD", code]).text(), "lib");
    let folder = Folder::new();
    let (data, back) = (folder.join("data"), folder.join("back.rdb"));
    let told = kora(&["import", path(&save(&redis)), "--data-dir", path(&data)]).expect("it is imported");
    assert!(told.contains("and 1 library of functions from"), "{told}");
    let again = kora(&["import", path(&save(&redis)), "--data-dir", path(&data)]).unwrap_err();
    assert!(again.contains("has data already"), "{again}");
    let export = ["export", path(&back), "--data-dir", path(&data), "--rdb-version", version];
    let told = kora(&export).expect("it is exported");
    assert!(told.contains("1 library of functions"), "{told}");
    let other =
        launch.argument("--dir").argument(path(&folder.0)).argument("--dbfilename").argument("back.rdb");
    let other = other.start();
    let mut other = other.client();
    for key in keys(&mut client) {
        let name = String::from_utf8_lossy(&key).into_owned();
        let digest = |client: &mut Client| client.call(&[&b"DEBUG"[..], b"DIGEST-VALUE", &key]);
        let (there, here) = (digest(&mut other), digest(&mut client));
        assert_eq!(there, here, "{name}: {} {}", meaning(&mut other, &key), meaning(&mut client, &key));
    }
    assert_eq!(digest(&mut other), digest(&mut client));
    assert_eq!(other.command("FCALL f 0").int(), 7);
    for key in keys(&mut client) {
        let name = String::from_utf8_lossy(&key).into_owned();
        assert!(meaning(&mut other, &key) == meaning(&mut client, &key), "{name}");
    }
}

#[test]
fn a_server_that_is_started_in_an_imported_directory_has_the_keys() {
    let launch = Launch::redis();
    let redis = launch.start();
    let mut client = redis.client();
    fill(&mut client, 4, is_8(&launch));
    let code = "#!lua name=lib\nredis.register_function('f', function() return 7 end)";
    assert_eq!(client.call(&["FUNCTION", "LOAD", code]).text(), "lib");
    let file = save(&redis);
    for (files, workers) in [("1", 2), ("2", 2), ("2", 1)] {
        let folder = Folder::new();
        let import = ["import", path(&file), "--data-dir", path(&folder.0), "--workers", files];
        kora(&import).expect("it is imported");
        // What it changes then is in the log behind the import.
        for round in 0..2 {
            let server = Launch::kora().workers(workers).data_dir(&folder.0).start_loaded();
            let mut imported = server.client();
            assert_eq!(imported.command("FCALL f 0").int(), 7);
            assert_eq!(imported.command("SET later 1").text(), "OK");
            imported.command("DEL later");
            assert_eq!(keys(&mut imported).len(), keys(&mut client).len(), "round {round}");
            for key in keys(&mut client) {
                let name = String::from_utf8_lossy(&key).into_owned();
                assert!(meaning(&mut imported, &key) == meaning(&mut client, &key), "{name}, round {round}");
            }
        }
    }
}

#[test]
fn a_server_that_is_to_import_begins_with_the_keys_and_keeps_what_it_has_later() {
    let redis = Launch::redis().start();
    let mut client = redis.client();
    client.command("MSET a 1 b 2 c 3");
    let (file, folder) = (save(&redis), Folder::new());
    let launch = Launch::kora().workers(2).data_dir(&folder.0).argument("--import").argument(path(&file));
    for expected in [["1", "2"], ["new", "2"]] {
        let mut server = launch.start_loaded();
        let mut imported = server.client();
        assert_eq!(["a", "b"].map(|key| imported.call(&["GET", key]).text()), expected);
        imported.command("SET a new");
        server.signal(libc::SIGTERM);
        assert!(server.wait().status.success());
    }
    let output = Launch::kora().argument("--import").argument(path(&file)).start_or_exit();
    let Err(exit) = output else { panic!("it needs a directory") };
    assert!(exit.output.contains("data_dir is not set"), "{}", exit.output);
}

#[test]
fn what_cannot_be_imported_leaves_nothing_behind() {
    let folder = Folder::new();
    let (file, data) = (folder.join("dump.rdb"), folder.join("data"));
    let import = ["import", path(&file), "--data-dir", path(&data)];
    let refused = |bytes: &[u8]| {
        std::fs::write(&file, bytes).expect("it is written");
        kora(&import).unwrap_err()
    };
    assert!(kora(&import).unwrap_err().contains("dump.rdb: No such file"));
    assert!(refused(b"hello world").contains("this is not an RDB file"));
    assert!(refused(b"REDIS0099").contains("the version of the file is not known"));
    assert!(refused(b"REDIS0011\x00\x01k\x05val").contains("byte 13: the data ends in the middle of a value"));
    assert!(kora(&["import", path(&file)]).unwrap_err().contains("data_dir is not set"));
    let snapshots = std::fs::read_dir(data.join("snapshots")).expect("it was made");
    assert_eq!(snapshots.count(), 0);
    // And then one that can.
    std::fs::write(&file, b"REDIS0011\x00\x01k\x05value\xff\0\0\0\0\0\0\0\0").expect("it is written");
    let told = kora(&import).expect("it is imported");
    assert!(told.starts_with("1 keys and 0 libraries of functions from"), "{told}");
    let there = folder.join("none");
    let told = kora(&["export", path(&file), "--data-dir", path(&there)]).unwrap_err();
    assert!(told.contains("none: entity not found") || told.contains("No such file"), "{told}");
}

//! Real clients against the real binary: redis-cli, redis-benchmark, redis-rs, redis-py, ioredis, memtier_benchmark.
//!
//! Each does what its users do with it, and the outcome is checked on the server's side too. The programs come from
//! Debian's redis-tools and python3-redis, and ioredis from its registry; only memtier_benchmark, which Debian does not have, may be missing.

mod harness;

use harness::programs::{is_installed, node, python, redis_benchmark, redis_cli, redis_cli_with_input, run};
use harness::server::free_ports;
use harness::{Client, Launch, Server, Subject, Value};
use redis::{Commands, ConnectionInfo, FromRedisValue, IntoConnectionInfo, ProtocolVersion, RedisResult};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;

const WORKERS: usize = 2;

fn start() -> Server {
    Launch::kora().workers(WORKERS).start()
}

/// A server whose executors are also cluster nodes on ports of their own; `None` when Redis is under test.
fn start_cluster() -> Option<(Server, u16)> {
    if Subject::current() != Subject::Kora {
        return None;
    }
    let base = free_ports(WORKERS as u16);
    Some((Launch::kora().workers(WORKERS).cluster_ports(base).start(), base))
}

// ---- redis-cli ----

#[test]
fn redis_cli_sends_commands_and_prints_replies() {
    let server = start();
    let cli = |arguments: &[&str]| redis_cli(server.port, arguments).ok();
    assert_eq!(cli(&["SET", "k", "a value"]), "OK\n");
    assert_eq!(cli(&["GET", "k"]), "a value\n");
    assert_eq!(cli(&["--no-raw", "GET", "missing"]), "(nil)\n");
    assert_eq!(cli(&["--no-raw", "INCR", "n"]), "(integer) 1\n");
    assert_eq!(cli(&["--no-raw", "MGET", "k", "missing", "n"]), "1) \"a value\"\n2) (nil)\n3) \"1\"\n");
    assert_eq!(cli(&["--csv", "MGET", "k", "n"]), "\"a value\",\"1\"\n");
    assert_eq!(cli(&["-n", "3", "DBSIZE"]), "0\n");
    assert_eq!(cli(&["-r", "5", "INCR", "repeated"]), "1\n2\n3\n4\n5\n");
    assert!(cli(&["INFO", "server"]).contains("redis_version:"));
    assert!(cli(&["GET"]).contains("ERR wrong number of arguments for 'get' command"));
}

#[test]
fn redis_cli_speaks_resp3() {
    let server = start();
    let cli = |arguments: &[&str]| redis_cli(server.port, &[&["-3", "--no-raw"], arguments].concat()).ok();
    assert_eq!(cli(&["GET", "missing"]), "(nil)\n");
    assert_eq!(cli(&["CONFIG", "GET", "databases"]), "1# \"databases\" => \"16\"\n");
    let hello = cli(&["HELLO", "3"]);
    assert!(hello.contains("# \"proto\" => (integer) 3"), "{hello}");
}

#[test]
fn redis_cli_reads_commands_from_its_input() {
    let server = start();
    let input =
        b"SET \"key with spaces\" \"line\\nend\"\nGET \"key with spaces\"\nSELECT 2\nSET x y\nDBSIZE\n";
    let output = redis_cli_with_input(server.port, &[], input).ok();
    assert_eq!(output, "OK\nline\nend\nOK\nOK\n1\n");
}

#[test]
fn redis_cli_pipe_mode_loads_every_command() {
    const KEYS: usize = 20_000;
    let server = start();
    let mut input = Vec::new();
    for number in 0..KEYS {
        input.extend_from_slice(&harness::resp::encode(&[
            "SET",
            &format!("key:{number}"),
            &number.to_string(),
        ]));
    }
    let output = redis_cli_with_input(server.port, &["--pipe"], &input).ok();
    assert!(output.contains(&format!("errors: 0, replies: {KEYS}")), "{output}");
    assert_eq!(server.client().command("DBSIZE"), Value::Int(KEYS as i64));
    assert_eq!(server.client().command("GET key:19999"), Value::Bulk(b"19999".to_vec()));
}

#[test]
fn redis_cli_pipe_mode_counts_errors() {
    let server = start();
    let input = b"SET a 1\r\nSET a\r\nINCR a\r\nNOSUCH\r\nGET a\r\n";
    let run = redis_cli_with_input(server.port, &["--pipe"], input);
    assert!(run.stdout.contains("errors: 2, replies: 5"), "{run:?}");
}

#[test]
fn redis_cli_scan_sees_every_key() {
    let server = start();
    let mut client = server.client();
    for number in 0..500 {
        client.command(&format!("SET user:{number} x"));
        client.command(&format!("SET other:{number} x"));
    }
    let found = redis_cli(server.port, &["--scan", "--pattern", "user:*"]).ok();
    let found: BTreeSet<&str> = found.lines().collect();
    assert_eq!(found.len(), 500);
    assert!(found.iter().all(|key| key.starts_with("user:")));
}

#[test]
fn redis_cli_finds_big_keys_by_size_and_by_memory() {
    let server = start();
    let mut client = server.client();
    client.call(&["SET", "small", "x"]);
    client.call(&["SET", "large", &"x".repeat(10_000)]);
    let output = redis_cli(server.port, &["--bigkeys", "--no-raw"]).ok();
    assert!(output.contains("\"large\"") && output.contains("10000 bytes"), "{output}");
    assert!(output.contains("Sampled 2 keys in the keyspace"), "{output}");
    let output = redis_cli(server.port, &["--memkeys"]).ok();
    assert!(output.contains("Biggest string found"), "{output}");
    assert!(output.contains("large"), "{output}");
}

#[test]
fn redis_cli_authenticates() {
    let server = Launch::kora().workers(WORKERS).password("secret word").start();
    let cli = |arguments: &[&str]| redis_cli(server.port, arguments);
    assert_eq!(cli(&["--no-auth-warning", "-a", "secret word", "PING"]).ok(), "PONG\n");
    assert_eq!(
        cli(&["--no-auth-warning", "--user", "default", "--pass", "secret word", "-3", "PING"]).ok(),
        "PONG\n"
    );
    assert!(cli(&["PING"]).stdout.contains("NOAUTH Authentication required."));
    assert!(cli(&["--no-auth-warning", "-a", "wrong", "PING"]).stdout.contains("NOAUTH"));
    for secret in [cli(&["--no-auth-warning", "-a", "secret word", "INFO"]).ok(), server.output()] {
        assert!(!secret.contains("secret word"), "a password is shown: {secret}");
    }
}

// ---- redis-benchmark ----

#[test]
fn redis_benchmark_runs_with_pipelines() {
    let server = start();
    let tests = "ping,set,get,incr,mset";
    let output =
        redis_benchmark(server.port, &["-t", tests, "-n", "2000", "-c", "10", "-P", "4", "-r", "1000", "-q"]);
    let output = output.ok();
    for test in ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"] {
        assert!(output.contains(&format!("{test}: ")), "{test} in {output}");
    }
    assert!(!output.to_lowercase().contains("error"), "{output}");
    assert!(server.client().command("DBSIZE").int() > 500);
}

#[test]
fn redis_benchmark_runs_large_values_over_resp3() {
    let server = start();
    let output =
        redis_benchmark(server.port, &["-3", "-t", "set,get", "-n", "1000", "-c", "5", "-d", "100000", "-q"])
            .ok();
    assert!(output.contains("SET: ") && output.contains("GET: "), "{output}");
    assert_eq!(server.client().command("STRLEN key:__rand_int__"), Value::Int(100_000));
}

#[test]
fn redis_benchmark_in_cluster_mode_finds_every_executor() {
    let Some((server, base)) = start_cluster() else { return };
    let output = redis_benchmark(
        base,
        &["--cluster", "-t", "set,get", "-n", "2000", "-c", "10", "-P", "4", "-r", "1000", "-q"],
    );
    let output = output.ok();
    assert!(output.contains("SET: ") && output.contains("GET: "), "{output}");
    assert!(output.contains(&format!("Cluster has {WORKERS} master nodes")), "{output}");
    assert!(!output.contains("MOVED"), "{output}");
    assert!(server.client().command("DBSIZE").int() > 500);
}

// ---- redis-rs ----

fn connect(server: &Server, protocol: ProtocolVersion) -> redis::Connection {
    let info: ConnectionInfo =
        format!("redis://127.0.0.1:{}/", server.port).into_connection_info().expect("a URL of redis-rs");
    let settings = info.redis_settings().clone().set_protocol(protocol);
    let client = redis::Client::open(info.set_redis_settings(settings)).expect("a client of redis-rs");
    client.get_connection().expect("a connection of redis-rs")
}

#[test]
fn redis_rs_reads_and_writes_in_both_protocols() {
    let server = start();
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        let mut connection = connect(&server, protocol);
        let () = redis::cmd("FLUSHALL").query(&mut connection).expect("FLUSHALL");
        let () = connection.set("k", b"\x00binary\xff").expect("SET");
        assert_eq!(connection.get::<_, Vec<u8>>("k").expect("GET"), b"\x00binary\xff");
        assert_eq!(connection.get::<_, Option<String>>("missing").expect("GET"), None);
        assert_eq!(connection.incr::<_, _, i64>("n", 41).expect("INCRBY"), 41);
        assert_eq!(connection.incr::<_, _, f64>("f", 1.5).expect("INCRBYFLOAT"), 1.5);
        let () = connection.set_ex("session", "v", 100).expect("SETEX");
        assert_eq!(connection.ttl::<_, i64>("session").expect("TTL"), 100);
        assert!(connection.set_nx::<_, _, bool>("k2", "v").expect("SETNX"));
        assert!(!connection.set_nx::<_, _, bool>("k2", "v").expect("SETNX"));
        let () = connection.mset(&[("a", 1), ("b", 2), ("c", 3)]).expect("MSET");
        let values: Vec<Option<i64>> = connection.mget(&["a", "b", "missing", "c"]).expect("MGET");
        assert_eq!(values, [Some(1), Some(2), None, Some(3)]);
        let config: BTreeMap<String, String> =
            redis::cmd("CONFIG").arg("GET").arg("databases").query(&mut connection).expect("CONFIG GET");
        assert_eq!(config, BTreeMap::from([("databases".to_owned(), "16".to_owned())]));
        let keys: BTreeSet<String> =
            connection.scan().expect("SCAN").collect::<RedisResult<_>>().expect("keys of SCAN");
        assert_eq!(keys.len(), 8);
        let error = redis::cmd("SET").arg("k").query::<()>(&mut connection).expect_err("an arity error");
        assert!(error.to_string().contains("wrong number of arguments"), "{error}");
    }
}

#[test]
fn redis_rs_pipelines_and_keeps_errors_in_their_place() {
    let server = start();
    let mut connection = connect(&server, ProtocolVersion::RESP3);
    let mut pipeline = redis::pipe();
    for number in 0..5_000 {
        pipeline.set(format!("k{number}"), number).ignore();
        pipeline.get(format!("k{number}"));
    }
    let values: Vec<i64> = pipeline.query(&mut connection).expect("a pipeline");
    assert_eq!(values, (0..5_000).collect::<Vec<i64>>());
    let mut packed = redis::cmd("SET").arg("k").arg("v").get_packed_command();
    packed.extend(redis::cmd("INCR").arg("k").get_packed_command());
    packed.extend(redis::cmd("GET").arg("k").get_packed_command());
    let replies = redis::ConnectionLike::req_packed_commands(&mut connection, &packed, 0, 3);
    // redis-rs gives back the first error of a pipeline or its replies with the error among them, by its version.
    match replies {
        Err(error) => assert!(error.to_string().contains("not an integer"), "{error}"),
        Ok(replies) => {
            assert_eq!(replies.len(), 3);
            assert!(matches!(replies[1], redis::Value::ServerError(_)), "{:?}", replies[1]);
            assert_eq!(String::from_redis_value(replies[2].clone()).expect("a string"), "v");
        }
    }
    assert_eq!(connection.get::<_, String>("k").expect("the connection is still in step"), "v");
}

// ---- redis-py ----

#[test]
fn redis_py_works_as_its_users_use_it() {
    let server = start();
    assert_eq!(python("basic.py", &[&server.port.to_string()]).ok(), "ok\n");
}

#[test]
fn redis_py_cluster_client_reaches_every_executor_without_a_redirection() {
    let Some((server, base)) = start_cluster() else { return };
    let arguments = [base.to_string(), WORKERS.to_string(), server.port.to_string()];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    assert_eq!(python("cluster.py", &arguments).ok(), "ok\n");
}

#[test]
fn redis_py_works_with_every_type() {
    let server = start();
    assert_eq!(python("data_types.py", &[&server.port.to_string()]).ok(), "ok\n");
}

#[test]
fn redis_py_runs_transactions() {
    let server = start();
    assert_eq!(python("transactions.py", &[&server.port.to_string()]).ok(), "ok\n");
}

// ---- ioredis ----

#[test]
fn ioredis_works_with_every_type() {
    let server = start();
    assert_eq!(node("data_types.js", &[&server.port.to_string()]).ok(), "ok\n");
}

#[test]
fn ioredis_cluster_client_works_with_every_type() {
    let Some((server, base)) = start_cluster() else { return };
    assert_eq!(node("data_types.js", &[&server.port.to_string(), &base.to_string()]).ok(), "ok\n");
}

// ---- Cluster ports, seen by hand ----

fn executor(base: u16, index: u16) -> Client {
    Client::connect_to(SocketAddrV4::new(Ipv4Addr::LOCALHOST, base + index)).expect("an executor's port")
}

#[test]
fn an_executor_port_serves_its_own_slots_and_redirects_the_rest() {
    let Some((server, base)) = start_cluster() else { return };
    let mut main = server.client();
    let mut executors: Vec<Client> = (0..WORKERS as u16).map(|index| executor(base, index)).collect();
    let mut owned = vec![0; WORKERS];
    for number in 0..200 {
        let key = format!("key:{number}");
        let slot = main.call(&["CLUSTER", "KEYSLOT", &key]).int();
        let mut owner = None;
        for (index, executor) in executors.iter_mut().enumerate() {
            match executor.call(&["SET", &key, "v"]) {
                Value::Simple(text) if text == b"OK" => {
                    assert_eq!(owner.replace(index), None, "two owners of {key}")
                }
                Value::Error(text) => {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    let mut words = text.split(' ');
                    assert_eq!(words.next(), Some("MOVED"), "{text}");
                    assert_eq!(words.next(), Some(slot.to_string().as_str()), "{text}");
                    let address = words.next().expect("an address");
                    let port: u16 =
                        address.strip_prefix("127.0.0.1:").and_then(|p| p.parse().ok()).expect("a port");
                    assert_ne!(usize::from(port - base), index, "a redirection to itself");
                }
                other => panic!("{other:?}"),
            }
        }
        let owner = owner.unwrap_or_else(|| panic!("nobody owns {key}"));
        owned[owner] += 1;
        assert_eq!(main.call(&["GET", &key]), Value::Bulk(b"v".to_vec()), "the main port serves every key");
    }
    assert!(owned.iter().all(|count| *count > 50), "keys are spread: {owned:?}");
    // Keys of several slots in one command: allowed on the main port, refused on an executor's.
    assert_eq!(main.command("MSET a 1 b 2 c 3"), Value::Simple(b"OK".to_vec()));
    assert_eq!(main.command("DEL a b c"), Value::Int(3));
    let refusal = executors[0].command("MSET a 1 b 2 c 3");
    assert_eq!(refusal, Value::Error(b"CROSSSLOT Keys in request don't hash to the same slot".to_vec()));
}

#[test]
fn cluster_slots_shards_and_nodes_agree() {
    let Some((server, base)) = start_cluster() else { return };
    let mut client = server.client();
    let slots = client.command("CLUSTER SLOTS");
    let mut covered = vec![None; 16384];
    let mut ids = BTreeMap::new();
    for range in slots.items() {
        let [first, last, node, ..] = range.items() else { panic!("a range of CLUSTER SLOTS: {range:?}") };
        let port = u16::try_from(node.items()[1].int()).expect("a port");
        assert_eq!(node.items()[0].text(), "127.0.0.1");
        assert!((base..base + WORKERS as u16).contains(&port), "{port} is an executor's port");
        ids.insert(port, node.items()[2].text());
        for slot in first.int()..=last.int() {
            assert_eq!(covered[slot as usize].replace(port), None, "slot {slot} has two owners");
        }
    }
    assert!(covered.iter().all(Option::is_some), "every slot has an owner");
    assert_eq!(ids.len(), WORKERS);
    for (port, id) in &ids {
        assert_eq!(id.len(), 40, "{id}");
        assert_eq!(&executor(base, port - base).command("CLUSTER MYID").text(), id);
        let nodes = executor(base, port - base).command("CLUSTER NODES").text();
        assert_eq!(nodes.lines().count(), WORKERS, "{nodes}");
        let own = nodes.lines().find(|line| line.starts_with(id.as_str())).expect("a line of its own");
        assert!(own.contains("myself,master") && own.contains(&format!("127.0.0.1:{port}@")), "{own}");
    }
    for line in client.command("CLUSTER INFO").text().lines().filter(|line| line.starts_with("cluster_s")) {
        let expected = [
            "cluster_state:ok",
            "cluster_slots_assigned:16384",
            "cluster_slots_ok:16384",
            "cluster_slots_pfail:0",
            "cluster_slots_fail:0",
        ];
        let known = expected.contains(&line)
            || line == format!("cluster_size:{WORKERS}")
            || line.starts_with("cluster_stats");
        assert!(known, "{line}");
    }
    let shards = client.command("CLUSTER SHARDS");
    assert_eq!(shards.items().len(), WORKERS);
}

#[test]
fn keys_of_a_slot_are_counted_and_listed_by_their_owner() {
    let Some((server, base)) = start_cluster() else { return };
    let mut main = server.client();
    for number in 0..20 {
        main.command(&format!("SET {{tag}}{number} v"));
    }
    let slot = main.command("CLUSTER KEYSLOT {tag}anything").int();
    let counts: Vec<i64> = (0..WORKERS as u16)
        .map(|index| executor(base, index).command(&format!("CLUSTER COUNTKEYSINSLOT {slot}")).int())
        .collect();
    assert_eq!(counts.iter().sum::<i64>(), 20, "{counts:?}");
    let owner = counts.iter().position(|count| *count == 20).expect("one owner") as u16;
    let listed = executor(base, owner).command(&format!("CLUSTER GETKEYSINSLOT {slot} 100"));
    assert_eq!(listed.items().len(), 20);
    let some = executor(base, owner).command(&format!("CLUSTER GETKEYSINSLOT {slot} 5"));
    assert_eq!(some.items().len(), 5);
    let error = executor(base, owner).command("CLUSTER COUNTKEYSINSLOT 16384");
    assert_eq!(error, Value::Error(b"ERR Invalid slot".to_vec()));
}

// ---- memtier_benchmark ----

#[test]
fn memtier_benchmark_runs_single_and_in_cluster_mode() {
    if !is_installed("memtier_benchmark") {
        println!("memtier_benchmark is not installed: nothing to show");
        return;
    }
    let memtier = |port: u16, more: &[&str]| {
        let mut command = Command::new("memtier_benchmark");
        command.args(["-s", "127.0.0.1", "-p"]).arg(port.to_string());
        command.args(["-t", "1", "-c", "5", "-n", "500", "--pipeline", "4", "--hide-histogram"]).args(more);
        let output = run(command, b"").ok();
        assert!(output.contains("Totals"), "{output}");
        output
    };
    let server = start();
    memtier(server.port, &[]);
    memtier(server.port, &["--protocol", "resp3"]);
    assert!(server.client().command("DBSIZE").int() > 0);
    if let Some((_server, base)) = start_cluster() {
        let output = memtier(base, &["--cluster-mode"]);
        assert!(!output.contains("error"), "{output}");
    }
}

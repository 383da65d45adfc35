//! MULTI, EXEC and WATCH between many clients: nobody sees half of a transaction, WATCH sees every change, and whatever clients do, nothing is left behind.
//!
//! What single replies look like is compared with redis-server in `replies`.

mod harness;

use harness::resp::{encode, Value};
use harness::server::free_ports;
use harness::{Client, Launch, Server, Subject};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Keys that two and four shards share.
const KEYS: [&str; 8] = ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"];

fn start(workers: usize) -> Server {
    let launch = Launch::kora().workers(workers);
    match Subject::current() {
        Subject::Kora => launch.argument("--share-cores").argument("true").start(),
        _ => launch.start(),
    }
}

/// A number of INFO.
fn info(client: &mut Client, field: &str) -> i64 {
    let text = client.command("INFO everything").text();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("INFO has {field}")).trim().parse().expect("a number")
}

/// Nothing is watched, held or awaited any more, and of clients only this one is left.
fn assert_nothing_is_left(client: &mut Client) {
    let mut fields = vec!["watching_clients", "total_watched_keys"];
    if Subject::current() == Subject::Kora {
        fields.push("lock_table_entries");
    } else {
        fields.clear();
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left: Vec<_> =
            fields.iter().map(|field| (*field, info(client, field))).filter(|&(_, n)| n != 0).collect();
        if left.is_empty() && info(client, "connected_clients") == 1 {
            return;
        }
        assert!(Instant::now() < deadline, "left behind: {left:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The number that all these replies are.
fn same_number(replies: &[Value]) -> i64 {
    let numbers: Vec<i64> = replies.iter().map(|reply| reply.text().parse().expect("a number")).collect();
    assert!(numbers.iter().all(|&number| number == numbers[0]), "half of a transaction: {numbers:?}");
    numbers[0]
}

fn transactions_are_seen_whole(workers: usize) {
    let server = start(workers);
    let mset = KEYS.iter().map(|key| format!("{key} 0")).collect::<Vec<_>>().join(" ");
    server.client().command(&format!("MSET {mset}"));
    let stop = AtomicBool::new(false);
    let (written, read) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for writer in 0..3_usize {
            let (server, stop, written) = (&server, &stop, &written);
            scope.spawn(move || {
                let mut client = server.client();
                let mut round = 0_usize;
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    let value = round * 3 + writer;
                    let mut commands = vec!["MULTI".to_owned()];
                    match round % 3 {
                        // One command per key.
                        0 => commands.extend(KEYS.iter().rev().map(|key| format!("SET {key} {value}"))),
                        // Commands over several shards between those of one.
                        1 => {
                            commands.push(format!("MSET k0 {value} k1 {value} k2 {value}"));
                            commands.push(format!("SET k3 {value}"));
                            commands.push("DEL k4 k5".to_owned());
                            commands.push(format!("SET tmp {value}"));
                            commands.push("COPY tmp k4".to_owned());
                            commands.push("RENAME tmp k5".to_owned());
                            commands.push(format!("MSET k6 {value} k7 {value}"));
                        }
                        // With commands of the network layer.
                        _ => {
                            commands.extend(KEYS[..4].iter().map(|key| format!("SET {key} {value}")));
                            commands.push("PING".to_owned());
                            commands.push("DBSIZE".to_owned());
                            commands.push("CONFIG SET hz 10".to_owned());
                            commands.extend(KEYS[4..].iter().map(|key| format!("SET {key} {value}")));
                        }
                    }
                    commands.push("EXEC".to_owned());
                    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
                    let replies = client.pipeline(&commands);
                    let results = replies.last().expect("of EXEC").items();
                    assert_eq!(results.len(), commands.len() - 2);
                    assert!(results.iter().all(|reply| !reply.is_error()), "{results:?}");
                    written.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for reader in 0..3_usize {
            let (server, stop, read) = (&server, &stop, &read);
            scope.spawn(move || {
                let mut client = server.client();
                while !stop.load(Ordering::Relaxed) {
                    if reader == 0 {
                        same_number(client.command(&format!("MGET {}", KEYS.join(" "))).items());
                    } else {
                        let gets = KEYS.map(|key| format!("GET {key}"));
                        let mut commands = vec!["MULTI"];
                        commands.extend(gets.iter().map(String::as_str));
                        commands.push("EXEC");
                        let replies = client.pipeline(&commands);
                        same_number(replies.last().expect("of EXEC").items());
                    }
                    read.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(Duration::from_millis(1500));
        stop.store(true, Ordering::Relaxed);
    });
    let counts = (written.into_inner(), read.into_inner());
    assert!(counts.0 > 20 && counts.1 > 20, "{counts:?} transactions and reads");
    let mut client = server.client();
    same_number(client.command(&format!("MGET {}", KEYS.join(" "))).items());
    assert_nothing_is_left(&mut client);
}

#[test]
fn transactions_are_seen_whole_with_one_worker() {
    transactions_are_seen_whole(1);
}

#[test]
fn transactions_are_seen_whole_with_two_workers() {
    transactions_are_seen_whole(2);
}

#[test]
fn transactions_are_seen_whole_with_four_workers() {
    transactions_are_seen_whole(4);
}

/// All of these clients increment two counters that they have watched; returns how many succeeded.
fn increment_all(clients: &mut [Client], keys: [&str; 2]) -> i64 {
    let ask = |clients: &mut [Client], commands: &[Vec<u8>]| -> Vec<Vec<Value>> {
        for client in clients.iter_mut() {
            client.send_raw(&commands.concat()).expect("sent");
        }
        let read = |client: &mut Client| {
            commands.iter().map(|_| client.read().expect("a reply").value).collect::<Vec<_>>()
        };
        clients.iter_mut().map(read).collect()
    };
    let seen = ask(clients, &[encode(&["WATCH", keys[0], keys[1]]), encode(&["MGET", keys[0], keys[1]])]);
    let mut succeeded = 0;
    for (client, seen) in clients.iter_mut().zip(seen) {
        let next = same_number(seen[1].items()) + 1;
        let commands = [
            encode(&["MULTI"]),
            encode(&["SET", keys[0], &next.to_string()]),
            encode(&["SET", keys[1], &next.to_string()]),
            encode(&["EXEC"]),
        ];
        client.send_raw(&commands.concat()).expect("sent");
    }
    for client in clients {
        for expected in ["OK", "QUEUED", "QUEUED"] {
            assert_eq!(client.read().expect("a reply").value.text(), expected);
        }
        match client.read().expect("of EXEC").value {
            Value::NilArray => {}
            reply => {
                assert_eq!(reply.items().len(), 2);
                succeeded += 1;
            }
        }
    }
    succeeded
}

fn a_thousand_clients_watch_the_same_keys(workers: usize) {
    const THREADS: usize = 8;
    const CLIENTS: usize = 125;
    const ROUNDS: usize = 6;
    let server = start(workers);
    let mut client = server.client();
    // The second key is on the first one's shard in one half of the runs.
    for keys in [["{a}1", "{a}2"], ["k1", "k2"]] {
        client.command(&format!("MSET {} 0 {} 0", keys[0], keys[1]));
        let succeeded = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.client()).collect();
                    for _ in 0..ROUNDS {
                        let count = increment_all(&mut clients, keys);
                        succeeded.fetch_add(count as usize, Ordering::Relaxed);
                    }
                });
            }
        });
        let count = same_number(client.command(&format!("MGET {} {}", keys[0], keys[1])).items());
        assert_eq!(count, succeeded.into_inner() as i64);
        assert!(count >= ROUNDS as i64, "in each round somebody is first: {count}");
        assert_nothing_is_left(&mut client);
    }
}

#[test]
fn a_thousand_clients_watch_the_same_keys_with_one_worker() {
    a_thousand_clients_watch_the_same_keys(1);
}

#[test]
fn a_thousand_clients_watch_the_same_keys_with_two_workers() {
    a_thousand_clients_watch_the_same_keys(2);
}

#[test]
fn a_thousand_clients_watch_the_same_keys_with_four_workers() {
    a_thousand_clients_watch_the_same_keys(4);
}

#[test]
fn clients_that_die_leave_nothing_and_no_half_of_a_transaction() {
    for workers in [1, 2] {
        let server = start(workers);
        let mut client = server.client();
        let mset = KEYS.iter().map(|key| format!("{key} 0")).collect::<Vec<_>>().join(" ");
        client.command(&format!("MSET {mset}"));
        for round in 1..=60 {
            let mut dying = server.client();
            dying.send(&["WATCH", "k0", "k1", "k2", "other"]).expect("sent");
            if round % 3 == 0 {
                // After WATCH has been answered, or before.
                dying.read().expect("a reply");
            }
            dying.send(&["MULTI"]).expect("sent");
            let value = round.to_string();
            for key in KEYS {
                dying.send(&["SET", key, &value]).expect("sent");
            }
            if round % 2 == 0 {
                dying.send(&["EXEC"]).expect("sent");
            }
            drop(dying);
            same_number(client.command(&format!("MGET {}", KEYS.join(" "))).items());
        }
        assert_nothing_is_left(&mut client);
        let last = same_number(client.command(&format!("MGET {}", KEYS.join(" "))).items());
        assert!(last % 2 == 0, "without EXEC nothing happens: {last}");
    }
}

#[test]
fn the_queue_is_bounded() {
    if Subject::current() != Subject::Kora {
        return;
    }
    let server = start(2);
    let mut client = server.client();
    assert_eq!(client.command("CONFIG SET multi-queue-limit 64kb").text(), "OK");
    assert_eq!(client.command("CONFIG GET multi-queue-limit").items()[1].text(), "65536");
    let value = "v".repeat(1000);
    client.command("MULTI");
    let mut queued = 0;
    let refusal = loop {
        let reply = client.call(&["SET", "k", &value]);
        if reply.is_error() {
            break reply.text();
        }
        queued += 1;
    };
    assert_eq!(refusal, "ERR the queued commands take more than multi-queue-limit (65536 bytes)");
    assert!((55..65).contains(&queued), "{queued} commands of a kilobyte");
    assert_eq!(client.command("SET k x").text(), "QUEUED");
    let aborted = "EXECABORT Transaction discarded because of previous errors.";
    assert_eq!(client.command("EXEC").text(), aborted);
    assert_eq!(client.command("EXISTS k").int(), 0);
    client.pipeline(&["MULTI", "SET k y"]);
    assert_eq!(client.command("EXEC").items()[0].text(), "OK");
}

#[test]
fn a_long_transaction_is_one() {
    const COMMANDS: usize = 100_000;
    for workers in [1, 2] {
        let server = start(workers);
        let mut client = server.client();
        let mut commands = encode(&["MULTI"]);
        for number in 0..COMMANDS {
            commands.extend(encode(&["INCR", KEYS[number % KEYS.len()]]));
        }
        let sender = thread::spawn(move || {
            client.send_raw(&commands).expect("sent");
            for _ in 0..=COMMANDS {
                client.read().expect("QUEUED");
            }
            client
        });
        let mut client = sender.join().expect("sent and queued");
        client.send(&["EXEC"]).expect("sent");
        let mut reader = server.client();
        let mut seen = Vec::new();
        while seen.last() != Some(&((COMMANDS / KEYS.len()) as i64)) {
            let values = reader.command(&format!("MGET {}", KEYS.join(" ")));
            if values.items().iter().any(|value| value.bytes().is_some()) {
                seen.push(same_number(values.items()));
            }
        }
        assert_eq!(seen, [(COMMANDS / KEYS.len()) as i64]);
        let replies = client.read().expect("of EXEC").value;
        for (number, reply) in replies.items().iter().enumerate() {
            assert_eq!(reply.int(), (number / KEYS.len() + 1) as i64);
        }
        drop(client);
        assert_nothing_is_left(&mut reader);
    }
}

/// While a transaction of many commands is executed, others that want nothing of it are served.
#[test]
fn a_long_transaction_holds_nobody_up_who_wants_other_keys() {
    if Subject::current() != Subject::Kora {
        return;
    }
    const COMMANDS: usize = 4000;
    const ELEMENTS: usize = 100_000;
    for workers in [1, 2] {
        let server = start(workers);
        let mut client = server.client();
        let mut push = vec!["RPUSH".to_owned(), "list".to_owned()];
        push.extend((0..ELEMENTS).map(|number| number.to_string()));
        client.call(&push);
        client.call(&["COPY", "list", "list2"]);
        let mut commands = encode(&["MULTI"]);
        for number in 0..COMMANDS {
            commands.extend(encode(&["LPOS", if number % 2 == 0 { "list" } else { "list2" }, "none"]));
        }
        commands.extend(encode(&["INCR", "done"]));
        client.send_raw(&commands).expect("sent");
        for _ in 0..COMMANDS + 2 {
            client.read().expect("OK or QUEUED");
        }
        let mut others: Vec<Client> = (0..workers).map(|_| server.client()).collect();
        others.iter_mut().for_each(|other| assert_eq!(other.command("PING").text(), "PONG"));
        client.send(&["EXEC"]).expect("sent");
        let began = Instant::now();
        let mut answered = 0;
        while !client.has_unread() {
            for (number, other) in others.iter_mut().enumerate() {
                other.command(&format!("SET other{number} v"));
                answered += 1;
            }
        }
        // If they had to wait for the end, one each.
        assert!(answered > workers, "{answered} commands of others were answered in {:?}", began.elapsed());
        let replies = client.read().expect("of EXEC").value;
        assert_eq!(replies.items().len(), COMMANDS + 1);
        assert_eq!(replies.items()[COMMANDS].int(), 1);
    }
}

#[test]
fn an_evicted_key_has_changed() {
    let server = start(2);
    let mut client = server.client();
    let value = "v".repeat(1000);
    let names: Vec<String> = (0..200).map(|number| format!("watched:{number}")).collect();
    for name in &names {
        client.call(&["SET", name, &value]);
    }
    let watch: Vec<&str> = ["WATCH"].into_iter().chain(names.iter().map(String::as_str)).collect();
    assert_eq!(client.call(&watch).text(), "OK");
    client.pipeline(&["MULTI", "PING"]);
    let mut other = server.client();
    other.command("CONFIG SET maxmemory-policy allkeys-random");
    let used = info(&mut other, "used_memory");
    other.command(&format!("CONFIG SET maxmemory {}", used + 100_000));
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut number = 0;
    while (0..200).all(|at| other.command(&format!("EXISTS watched:{at}")).int() == 1) {
        assert!(Instant::now() < deadline, "nothing is evicted");
        for _ in 0..100 {
            number += 1;
            other.call(&["SET", &format!("new:{number}"), &value]);
        }
    }
    assert!(matches!(client.command("EXEC"), Value::NilArray));
    drop(client);
    assert_nothing_is_left(&mut other);
}

#[test]
fn statistics_count_the_commands_and_exec() {
    for workers in [1, 2] {
        let server = start(workers);
        let mut client = server.client();
        client.command("CONFIG RESETSTAT");
        for _ in 0..3 {
            client.pipeline(&[
                "MULTI",
                "SET k0 v",
                "SET k1 v",
                "SET k2 v",
                "MGET k0 k1 k2",
                "INCR k0",
                "PING",
                "EXEC",
            ]);
        }
        client.pipeline(&["MULTI", "NOSUCH", "SET k0 v", "EXEC"]);
        client.pipeline(&["WATCH k0", "SET k0 w", "MULTI", "GET k0", "EXEC"]);
        let text = client.command("INFO commandstats").text();
        let stat = |command: &str, field: &str| -> i64 {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:")));
            let line = line.unwrap_or_else(|| panic!("{command} in {text}"));
            let value = line.split(',').find_map(|pair| pair.strip_prefix(&format!("{field}=")));
            value.expect("the field").trim().parse().expect("a number")
        };
        assert_eq!((stat("multi", "calls"), stat("exec", "calls")), (5, 5));
        assert_eq!((stat("set", "calls"), stat("mget", "calls"), stat("ping", "calls")), (10, 3, 3));
        assert_eq!((stat("incr", "calls"), stat("incr", "failed_calls")), (3, 3));
        assert_eq!((stat("exec", "failed_calls"), stat("watch", "calls")), (1, 1));
        assert!(!text.contains("cmdstat_get:"), "what is not executed does not count");
        let errors = client.command("INFO errorstats").text();
        assert!(
            errors.contains("errorstat_EXECABORT:count=1") && errors.contains("errorstat_ERR:count=4"),
            "{errors}"
        );
    }
}

#[test]
fn client_list_tells_of_transactions() {
    let server = start(2);
    let mut client = server.client();
    let mut other = server.client();
    let id = client.command("CLIENT ID").int();
    let mut line = |fields: &[&str]| {
        let text = other.command(&format!("CLIENT LIST ID {id}")).text();
        for field in fields {
            assert!(text.contains(&format!(" {field} ")), "{field} in {text}");
        }
    };
    let has_watch = Subject::current() == Subject::Kora;
    let watch = |count: usize| if has_watch { format!("watch={count}") } else { "multi=-1".to_owned() };
    line(&["flags=N", "multi=-1", &watch(0)]);
    client.command("WATCH k0 k1 k1 k2");
    line(&["flags=N", "multi=-1", &watch(3)]);
    client.command("MULTI");
    line(&["flags=x", "multi=0"]);
    client.pipeline(&["SET k0 1", "GET k0"]);
    line(&["flags=x", "multi=2"]);
    client.command("NOSUCH");
    client.command("PING");
    line(&["flags=x", "multi=2"]);
    client.command("DISCARD");
    line(&["flags=N", "multi=-1", &watch(0)]);
    client.command("WATCH k0 k1");
    client.command("SET k1 changed");
    line(&["flags=d", &watch(0)]);
    client.command("UNWATCH");
    line(&["flags=N"]);
    // Inside EXEC, on the connection's own shard and on both.
    for get in ["GET k0", "MGET k0 k1 k2"] {
        let replies = client.pipeline(&["MULTI", get, "CLIENT INFO", "EXEC"]);
        let inside = replies[3].items()[1].text();
        assert!(
            inside.contains(" flags=x ") && inside.contains(" multi=2 ") && inside.contains(" cmd=exec "),
            "{inside}"
        );
    }
    line(&["flags=N", "multi=-1"]);
}

#[test]
fn a_nodes_transactions_are_those_of_a_cluster() {
    if Subject::current() != Subject::Kora {
        return;
    }
    let base = free_ports(2);
    let server = Launch::kora().workers(2).cluster_ports(base).start();
    let node = |number: u16| {
        Client::connect_to(SocketAddrV4::new(Ipv4Addr::LOCALHOST, base + number)).expect("a node")
    };
    // Slots of the first half belong to the first node.
    let keys: Vec<(String, i64)> = (0..200)
        .map(|number| {
            let key = format!("key:{number}");
            let slot = server.client().command(&format!("CLUSTER KEYSLOT {key}")).int();
            (key, slot)
        })
        .take(40)
        .collect();
    let own: Vec<&str> = keys.iter().filter(|(_, slot)| *slot < 8192).map(|(key, _)| key.as_str()).collect();
    let foreign = keys.iter().find(|(_, slot)| *slot >= 8192).expect("one of the other node");
    let mut client = node(0);
    let moved = format!("MOVED {} 127.0.0.1:{}", foreign.1, base + 1);
    assert_eq!(client.command(&format!("WATCH {}", foreign.0)).text(), moved);
    client.command("MULTI");
    assert_eq!(client.command(&format!("SET {} v", own[0])).text(), "QUEUED");
    assert_eq!(client.command(&format!("SET {} v", foreign.0)).text(), moved);
    assert_eq!(client.command("EXEC").text(), "EXECABORT Transaction discarded because of previous errors.");
    client.command("MULTI");
    let cross = "CROSSSLOT Keys in request don't hash to the same slot";
    assert_eq!(client.command(&format!("MSET {} v {} v", own[0], own[1])).text(), cross);
    client.command("DISCARD");
    client.pipeline(&["MULTI", &format!("SET {} v", own[0]), &format!("SET {} v", own[1])]);
    assert_eq!(client.command("EXEC").text(), cross);
    assert_eq!(client.command("EXEC").text(), "ERR EXEC without MULTI");
    assert_eq!(client.command(&format!("EXISTS {}", own[0])).int(), 0);
    let watch = format!("WATCH {}", own[0]);
    client.pipeline(&[&watch, "MULTI", &format!("SET {} v", own[0]), "PING", &format!("GET {}", own[0])]);
    let results = client.command("EXEC");
    assert_eq!(results.items().iter().map(Value::text).collect::<Vec<_>>(), ["OK", "PONG", "v"]);
}

//! Promises about bad input, overload and the ends of the process, one test each, on the real binary.
//!
//! Limits are generous: a test fails when a promise is broken, not when the machine is slow. Costs are compared as
//! ratios of the server's own CPU time, never as wall-clock times. With a redis-server in `KORA_BIN` the promises that
//! Redis makes too are checked on it; those about io_uring and locked memory are Kora's alone.

mod harness;

use harness::{Client, Launch, Server, Subject, Value};
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// Memory that a server may take for reasons of its own (buffers, arenas) while a test looks for growth.
const SLACK_BYTES: u64 = 48 * MIB;

fn launch() -> Launch {
    Launch::kora().workers(2)
}

fn assert_alive(server: &mut Server) {
    assert!(server.is_running(), "the server has ended");
    assert_eq!(server.client().command("PING"), Value::Simple(b"PONG".to_vec()));
}

/// Sends bytes on a new connection and returns all that comes until the server closes it.
#[track_caller]
fn answer_until_close(server: &Server, bytes: &[u8]) -> String {
    let mut client = server.client();
    client.send_raw(bytes).expect("the bytes are sent");
    let answer = client.read_to_close().expect("the server closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Waits for a condition that the server reaches by itself.
#[track_caller]
fn await_condition(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} has not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn info_field(client: &mut Client, field: &str) -> u64 {
    let info = client.command("INFO").text();
    let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("INFO has {field}")).parse().expect("a number")
}

// ---- Frames that are wrong ----

#[test]
fn a_count_of_a_hundred_thousand_million_arguments_is_refused() {
    let mut server = launch().start();
    let answer = answer_until_close(&server, b"*100000000000\r\n");
    assert_eq!(answer, "-ERR Protocol error: invalid multibulk length\r\n");
    assert_alive(&mut server);
}

#[test]
fn two_hundred_thousand_nested_arrays_are_refused() {
    let mut server = launch().start();
    let mut client = server.client();
    // The server may close before all is sent.
    let _ = client.send_raw("*1\r\n".repeat(200_000).as_bytes());
    let answer = client.read_to_close().expect("the server closes the connection");
    assert_eq!(String::from_utf8_lossy(&answer), "-ERR Protocol error: expected '$', got '*'\r\n");
    assert_alive(&mut server);
}

#[test]
fn negative_and_overflowing_lengths_are_refused() {
    let mut server = launch().start();
    for length in
        ["-1", "-2", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "1e9", "0x10", ""]
    {
        let answer = answer_until_close(&server, format!("*1\r\n${length}\r\n").as_bytes());
        assert_eq!(answer, "-ERR Protocol error: invalid bulk length\r\n", "length {length:?}");
    }
    for count in ["2147483648", "9223372036854775808", "99999999999999999999", "1e9", "abc"] {
        let answer = answer_until_close(&server, format!("*{count}\r\n").as_bytes());
        assert_eq!(answer, "-ERR Protocol error: invalid multibulk length\r\n", "count {count:?}");
    }
    assert_alive(&mut server);
}

#[test]
fn a_value_that_claims_more_than_512_mb_is_refused() {
    let mut server = launch().start();
    let answer = answer_until_close(&server, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870913\r\n");
    assert_eq!(answer, "-ERR Protocol error: invalid bulk length\r\n");
    assert_eq!(server.client().command("EXISTS k"), Value::Int(0));
    assert_alive(&mut server);
}

#[test]
fn a_600_mb_bulk_before_auth_is_refused_and_takes_no_memory() {
    let mut server = launch().password("secret").start();
    let before = server.peak_rss_bytes();
    let chunk = vec![b'x'; MIB as usize];
    for _ in 0..4 {
        let mut client = server.client();
        client.send_raw(b"*2\r\n$4\r\nAUTH\r\n$629145600\r\n").expect("the head is sent");
        // Refused on sight of the length: the server closes, and what is still being sent fails sooner or later.
        let refused = (0..600).any(|_| client.send_raw(&chunk).is_err());
        assert!(refused, "600 MB were taken from a client that has not authenticated");
    }
    // Above the limit of everybody the answer is everybody's; below it, that of strangers.
    for (length, why) in
        [(629_145_600, "invalid"), (400_000_000, "unauthenticated"), (16_385, "unauthenticated")]
    {
        let answer = answer_until_close(&server, format!("*2\r\n$4\r\nAUTH\r\n${length}\r\n").as_bytes());
        assert_eq!(answer, format!("-ERR Protocol error: {why} bulk length\r\n"));
    }
    assert_eq!(
        answer_until_close(&server, b"*1000\r\n"),
        "-ERR Protocol error: unauthenticated multibulk length\r\n"
    );
    let growth = server.peak_rss_bytes() - before;
    assert!(growth < SLACK_BYTES, "{growth} bytes were taken");
    let mut client = server.client();
    assert_eq!(client.command("AUTH secret"), Value::Simple(b"OK".to_vec()));
    assert_eq!(client.call(&["SET".as_bytes(), b"k", &vec![b'v'; 20_000]]), Value::Simple(b"OK".to_vec()));
    assert!(server.is_running());
}

#[test]
fn members_of_512_mb_are_members() {
    let mut server = launch().start();
    let mut client = server.client();
    client.set_timeout(Duration::from_secs(60));
    let big = vec![b'm'; 512 << 20];
    let mut call = |words: &[&[u8]]| client.call(words);
    assert_eq!(call(&[b"SADD", b"set", &big]), Value::Int(1));
    assert_eq!(call(&[b"SREM", b"set", &big]), Value::Int(1));
    assert_eq!(call(&[b"HSET", b"hash", &big, b"v"]), Value::Int(1));
    assert_eq!(call(&[b"HGET", b"hash", &big]).text(), "v");
    assert_eq!(call(&[b"ZADD", b"zset", b"1", &big]), Value::Int(1));
    assert_eq!(call(&[b"ZREM", b"zset", &big]), Value::Int(1));
    assert_eq!(call(&[b"RPUSH", b"list", &big]), Value::Int(1));
    assert_eq!(call(&[b"LPOP", b"list"]).bytes().map(<[u8]>::len), Some(big.len()));
    assert_eq!(call(&[b"XADD", b"stream", b"1-1", b"field", &big]).text(), "1-1");
    assert_eq!(call(&[b"PFADD", b"sketch", &big]), Value::Int(1));
    assert_eq!(call(&[b"DEL", b"hash", b"stream", b"sketch"]), Value::Int(3));
    assert_eq!(call(&[b"DBSIZE"]), Value::Int(0));
    assert_alive(&mut server);
}

#[test]
fn claims_that_are_not_followed_by_bytes_take_no_memory() {
    let mut server = launch().start();
    let before = server.rss_bytes();
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = server.client();
        client.send_raw(b"*1000000\r\n$3\r\nDEL\r\n").expect("sent");
        clients.push(client);
        let mut client = server.client();
        client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nx").expect("sent");
        clients.push(client);
    }
    // Each worker has read what came before this on its connections: frames of one connection are read in order.
    for client in &mut clients {
        assert!(!client.has_unread(), "an incomplete frame is not answered");
    }
    assert_alive(&mut server);
    let growth = server.rss_bytes().saturating_sub(before);
    assert!(growth < SLACK_BYTES, "{growth} bytes were taken for claims");
}

#[test]
fn an_endless_line_is_refused_at_64_kib() {
    let mut server = launch().start();
    for (start, what) in
        [("", "inline request"), ("*", "mbulk count string"), ("*1\r\n$", "bulk count string")]
    {
        let mut client = server.client();
        let line = format!("{start}{}", "1".repeat(70_000));
        client.send_raw(line.as_bytes()).expect("sent");
        let answer = client.read_to_close().expect("the server closes the connection");
        assert_eq!(String::from_utf8_lossy(&answer), format!("-ERR Protocol error: too big {what}\r\n"));
    }
    assert_alive(&mut server);
}

#[test]
fn an_unfinished_request_past_the_query_buffer_limit_ends_its_connection() {
    let mut server = launch().start();
    let mut other = server.client();
    assert_eq!(other.command("CONFIG SET client-query-buffer-limit 1mb"), Value::Simple(b"OK".to_vec()));
    let mut client = server.client();
    client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000000\r\n").expect("the head is sent");
    let chunk = vec![b'x'; MIB as usize];
    let refused = (0..90).any(|_| client.send_raw(&chunk).is_err());
    assert!(refused, "90 MB were taken with a limit of 1 MB");
    assert_eq!(other.command("EXISTS k"), Value::Int(0));
    assert_alive(&mut server);
}

#[test]
fn empty_lines_are_passed_over() {
    let server = launch().start();
    let mut client = server.client();
    client.send_raw(b"\r\n\n   \r\nPING\r\n\r\n\r\nPING x\r\n").expect("sent");
    assert_eq!(client.read().expect("a reply").value, Value::Simple(b"PONG".to_vec()));
    assert_eq!(client.read().expect("a reply").value, Value::Bulk(b"x".to_vec()));
    assert!(!client.has_unread());
}

#[test]
fn a_command_name_with_line_ends_injects_no_reply() {
    let server = launch().start();
    let mut client = server.client();
    for hostile in ["FOO\r\n+OK", "\r\n:1\r\n", "x\n$1\r\na\r\n", "CLIENT\r\n"] {
        let reply = client.call(&[hostile, "argument\r\n-ERR injected\r\n"]);
        assert!(reply.is_error() && reply.text().starts_with("ERR unknown command"), "{reply:?}");
        let reply = client.call(&["CLIENT", hostile]);
        assert!(reply.is_error() && reply.text().starts_with("ERR unknown subcommand"), "{reply:?}");
        assert_eq!(client.command("PING"), Value::Simple(b"PONG".to_vec()), "replies stay in step");
        assert!(!client.has_unread());
    }
}

#[test]
fn a_request_meant_for_a_web_server_ends_the_connection() {
    let server = launch().start();
    for request in [
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\nSET k hacked\r\n",
        "Host: x\r\nSET k hacked\r\n",
    ] {
        assert_eq!(answer_until_close(&server, request.as_bytes()), "");
    }
    assert_eq!(server.client().command("EXISTS k"), Value::Int(0));
}

// ---- Commands that are wrong ----

#[test]
fn options_without_their_value_are_syntax_errors() {
    let server = launch().start();
    let mut client = server.client();
    for command in [
        "SET k v EX",
        "SET k v PXAT",
        "GETEX k EX",
        "SCAN 0 MATCH",
        "SCAN 0 COUNT",
        "LCS a b MINMATCHLEN",
        "COPY a b DB",
    ] {
        assert_eq!(client.command(command), Value::Error(b"ERR syntax error".to_vec()), "{command}");
    }
    assert_eq!(client.command("EXISTS k"), Value::Int(0));
}

#[test]
fn times_at_the_edges_of_64_bits_neither_wrap_nor_kill() {
    let mut server = launch().start();
    let mut client = server.client();
    let edges = [
        "9223372036854775807",
        "9223372036854775806",
        "9223372036854775",
        "9223372036854776",
        "-9223372036854775808",
    ];
    for command in ["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"] {
        for edge in edges {
            client.command("SET k v");
            let reply = client.call(&[command, "k", edge]);
            let ttl = client.command("PTTL k").int();
            match reply {
                // Accepted: either far in the future, or in the past and therefore gone.
                Value::Int(1) if edge.starts_with('-') => assert_eq!(ttl, -2, "{command} {edge}"),
                Value::Int(1) => assert!(ttl > 1_000_000_000, "{command} {edge} leaves {ttl} ms"),
                Value::Error(text) => {
                    assert!(text.starts_with(b"ERR invalid expire time"), "{command} {edge}");
                    assert_eq!(ttl, -1, "{command} {edge}: an error changes nothing");
                }
                other => panic!("{command} {edge}: {other:?}"),
            }
        }
    }
    assert_alive(&mut server);
}

#[test]
fn an_offset_beyond_the_longest_string_is_refused() {
    let mut server = launch().start();
    let mut client = server.client();
    let before = server.peak_rss_bytes();
    let refusal = Value::Error(b"ERR string exceeds maximum allowed size (proto-max-bulk-len)".to_vec());
    for offset in ["4611686018427387904", "9223372036854775807", "536870912", "536870911"] {
        assert_eq!(client.call(&["SETRANGE", "k", offset, "xx"]), refusal, "offset {offset}");
    }
    assert_eq!(client.command("EXISTS k"), Value::Int(0));
    assert_eq!(client.command("CONFIG SET proto-max-bulk-len 1mb"), Value::Simple(b"OK".to_vec()));
    assert_eq!(client.command("SETRANGE k 1048575 x"), Value::Int(1 << 20));
    assert_eq!(client.command("APPEND k x"), refusal);
    assert_eq!(client.command("SETRANGE k 1048576 x"), refusal);
    assert_eq!(client.command("STRLEN k"), Value::Int(1 << 20));
    assert!(server.peak_rss_bytes() - before < SLACK_BYTES);
    assert_alive(&mut server);
}

// ---- How bytes arrive ----

#[test]
fn a_frame_may_arrive_one_byte_at_a_time() {
    let server = launch().start();
    let mut client = server.client();
    let value = "v".repeat(1000);
    let mut bytes = harness::resp::encode(&["SET", "k", &value]);
    bytes.extend_from_slice(b"GET k\r\n");
    for byte in bytes {
        client.send_raw(&[byte]).expect("a byte is sent");
    }
    assert_eq!(client.read().expect("a reply").value, Value::Simple(b"OK".to_vec()));
    assert_eq!(client.read().expect("a reply").value, Value::Bulk(value.into_bytes()));
}

#[test]
fn the_cost_of_a_frame_is_linear_in_its_size() {
    /// An MSET of about this size in writes of 8 KiB, this many times; the server's CPU ticks.
    fn cost(server: &Server, bytes: usize, times: usize) -> u64 {
        const WRITE_BYTES: usize = 8 << 10;
        let value = "v".repeat(64);
        let mut arguments = vec!["MSET".to_owned()];
        for number in 0..bytes / 100 {
            arguments.push(format!("key:{number:08}"));
            arguments.push(value.clone());
        }
        let frame = harness::resp::encode(&arguments);
        let mut client = server.client();
        let before = server.cpu_ticks();
        for _ in 0..times {
            for part in frame.chunks(WRITE_BYTES) {
                client.send_raw(part).expect("a part is sent");
            }
            assert_eq!(client.read().expect("a reply").value, Value::Simple(b"OK".to_vec()));
        }
        (server.cpu_ticks() - before).max(1)
    }
    let server = Launch::kora().workers(1).start();
    // The same number of bytes in all; parsing anew with every read would make the second 16 times as dear. The keys of
    // the second exist before it is measured, so that both replace values.
    cost(&server, 32 << 20, 1);
    let small = cost(&server, 2 << 20, 48);
    let large = cost(&server, 32 << 20, 3);
    assert!(
        large <= small * 4,
        "96 MiB in frames of 2 MiB: {small} ticks, in frames of 32 MiB: {large} ticks"
    );
}

#[test]
fn a_pipeline_of_any_length_is_answered_in_order() {
    const COMMANDS: usize = 50_000;
    let server = launch().start();
    let mut bytes = Vec::new();
    for number in 0..COMMANDS {
        bytes.extend_from_slice(&harness::resp::encode(&["SET", &format!("k{number}"), &number.to_string()]));
        bytes.extend_from_slice(&harness::resp::encode(&["GET", &format!("k{number}")]));
    }
    let mut client = server.client();
    // The whole pipeline is in flight before the first reply is read; the server must take it all the same.
    let sender = std::thread::spawn(move || {
        client.send_raw(&bytes).expect("the pipeline is sent");
        client
    });
    let mut client = match sender.join() {
        Ok(client) => client,
        Err(_) => panic!("the server stopped reading while nobody read its replies"),
    };
    for number in 0..COMMANDS {
        assert_eq!(client.read().expect("a reply").value, Value::Simple(b"OK".to_vec()));
        assert_eq!(client.read().expect("a reply").value, Value::Bulk(number.to_string().into_bytes()));
    }
}

#[test]
fn a_client_that_has_finished_sending_still_gets_its_replies() {
    let server = launch().start();
    let mut client = server.client();
    client.send_raw(b"SET k v\r\nGET k\r\nPING\r\n").expect("sent");
    client.finish_sending();
    let answer = client.read_to_close().expect("the server closes");
    assert_eq!(String::from_utf8_lossy(&answer), "+OK\r\n$1\r\nv\r\n+PONG\r\n");
}

#[test]
fn increments_from_many_connections_are_all_counted() {
    const CLIENTS: usize = 8;
    const EACH: usize = 2_000;
    let server = launch().start();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = server.client();
                for _ in 0..EACH / 50 {
                    client.pipeline(&["INCR counter"; 50]);
                }
            });
        }
    });
    assert_eq!(
        server.client().command("GET counter"),
        Value::Bulk((CLIENTS * EACH).to_string().into_bytes())
    );
}

// ---- Clients that misbehave ----

#[test]
fn a_client_that_never_reads_is_dropped_and_others_are_not_harmed() {
    let mut server = launch().output_buffer_limit(MIB as usize).start();
    let mut other = server.client();
    let value = "v".repeat(100_000);
    assert_eq!(other.call(&["SET", "big", &value]), Value::Simple(b"OK".to_vec()));
    let before = server.rss_bytes();
    let mut greedy = server.client();
    greedy.command("CLIENT SETNAME greedy");
    // 200 MB of replies; the request itself is small, and may be cut off by the server's closing.
    let _ = greedy.send_raw(&harness::resp::encode(&["GET", "big"]).repeat(2_000));
    await_condition("dropping the client that does not read", || {
        assert_eq!(other.command("PING"), Value::Simple(b"PONG".to_vec()));
        !other.command("CLIENT LIST").text().contains("name=greedy")
    });
    let growth = server.rss_bytes().saturating_sub(before);
    assert!(growth < SLACK_BYTES, "{growth} bytes are held");
    assert_eq!(other.command("STRLEN big"), Value::Int(100_000));
    assert_alive(&mut server);
}

#[test]
fn a_slow_reader_within_the_limit_gets_every_reply() {
    let server = launch().start();
    let value = "v".repeat(100_000);
    let mut client = server.client();
    client.call(&["SET", "big", &value]);
    client.send_raw(&harness::resp::encode(&["GET", "big"]).repeat(500)).expect("sent");
    let mut other = server.client();
    for _ in 0..100 {
        assert_eq!(other.command("PING"), Value::Simple(b"PONG".to_vec()));
    }
    for number in 0..500 {
        assert_eq!(
            client.read().expect("a reply").value,
            Value::Bulk(value.clone().into_bytes()),
            "reply {number}"
        );
    }
}

#[test]
fn an_idle_client_is_dropped_after_the_timeout_and_an_active_one_is_not() {
    let server = launch().timeout_seconds(1).start();
    let mut active = server.client();
    let mut idle = server.client();
    idle.command("PING");
    await_condition("dropping the idle client", || {
        assert_eq!(active.command("PING"), Value::Simple(b"PONG".to_vec()));
        idle.has_unread_or_is_closed()
    });
    assert_eq!(idle.read_to_close().expect("the server has closed"), b"");
    assert_eq!(active.command("PING"), Value::Simple(b"PONG".to_vec()));
}

#[test]
fn one_client_more_than_max_clients_is_refused_until_one_leaves() {
    const MAX: usize = 50;
    let mut server = launch().max_clients(MAX).start();
    let mut clients = fill(&server, MAX);
    for _ in 0..3 {
        assert_refused(&server);
    }
    assert_eq!(clients[0].command("PING"), Value::Simple(b"PONG".to_vec()));
    drop(clients.pop());
    await_condition("a place for a new client", || {
        let mut client = server.client();
        client.send(&["PING"]).is_ok() && client.read().is_ok_and(|reply| !reply.value.is_error())
    });
    drop(clients);
    await_condition("an empty server", || server.client().send(&["PING"]).is_ok());
    assert!(server.is_running());
}

#[test]
fn ten_thousand_clients_are_served_and_the_next_is_refused() {
    const MAX: usize = 10_000;
    raise_descriptor_limit(MAX as u64 + 200);
    let mut server = launch().max_clients(MAX).start();
    let mut clients = fill(&server, MAX);
    assert_refused(&server);
    for client in clients.iter_mut().step_by(997) {
        assert_eq!(client.command("PING"), Value::Simple(b"PONG".to_vec()));
    }
    drop(clients);
    await_condition("a place for a new client", || {
        let mut client = server.client();
        client.send(&["PING"]).is_ok() && client.read().is_ok_and(|reply| !reply.value.is_error())
    });
    assert!(server.is_running());
}

/// This many connections, each of which has been answered. The one that awaited the start may still be counted.
fn fill(server: &Server, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = Vec::with_capacity(count);
    await_condition("all clients are in", || {
        let mut client = server.client();
        let answered =
            client.send(&["PING"]).is_ok() && client.read().is_ok_and(|reply| !reply.value.is_error());
        while answered && clients.len() + 1 < count {
            let mut next = server.client();
            next.send(&["PING"]).expect("sent");
            match next.read() {
                Ok(reply) if !reply.value.is_error() => clients.push(next),
                _ => return false,
            }
        }
        if answered {
            clients.push(client);
        }
        clients.len() == count
    });
    clients
}

#[track_caller]
fn assert_refused(server: &Server) {
    let mut client = server.client();
    let answer = client.read_to_close().expect("the server closes");
    assert_eq!(String::from_utf8_lossy(&answer), "-ERR max number of clients reached\r\n");
}

fn raise_descriptor_limit(wanted: u64) {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limits` is a valid rlimit to write to.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limits) }, 0);
    assert!(
        limits.rlim_max >= wanted,
        "this test needs {wanted} open files: raise the hard limit (ulimit -Hn)"
    );
    limits.rlim_cur = limits.rlim_cur.max(wanted);
    // SAFETY: `limits` is a valid rlimit that outlives the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limits) }, 0);
}

#[test]
fn clients_that_leave_in_the_middle_of_a_frame_are_forgotten() {
    let server = launch().start();
    let mut observer = server.client();
    // Answered, so accepted: its descriptor is among those that are counted.
    observer.command("PING");
    let descriptors = server.descriptors();
    for part in
        ["*", "*2\r\n", "*2\r\n$3\r\nGE", "*2\r\n$3\r\nGET\r\n$10\r\nab", "GET k", "*1\r\n$100000\r\nx"]
    {
        for _ in 0..20 {
            server.client().send_raw(part.as_bytes()).expect("sent");
        }
        await_condition(&format!("forgetting the clients that sent {part:?}"), || {
            info_field(&mut observer, "connected_clients") == 1 && server.descriptors() <= descriptors
        });
    }
}

#[test]
fn a_storm_of_connects_and_disconnects_leaves_nothing_behind() {
    let server = launch().start();
    let mut observer = server.client();
    observer.command("PING");
    let descriptors = server.descriptors();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let address = server.address();
            scope.spawn(move || {
                for number in 0..1_000 {
                    let mut client = Client::connect_to(address).expect("a connection");
                    // Nothing, half a frame, a command whose reply nobody reads, a whole exchange.
                    match (thread + number) % 4 {
                        0 => {}
                        1 => client.send_raw(b"*2\r\n$3\r\nGET\r\n$10\r\nab").expect("sent"),
                        2 => client.send_raw(b"PING\r\nPING\r\n").expect("sent"),
                        _ => assert_eq!(client.command("PING"), Value::Simple(b"PONG".to_vec())),
                    }
                }
            });
        }
    });
    await_condition("closing of all connections", || info_field(&mut observer, "connected_clients") == 1);
    await_condition("release of all descriptors", || server.descriptors() <= descriptors);
    assert!(info_field(&mut observer, "total_connections_received") >= 4_000);
}

#[test]
fn running_out_of_descriptors_refuses_connections_and_nothing_else() {
    let mut server = match launch().descriptors(64).start_or_exit() {
        Ok(server) => server,
        Err(exit) => {
            assert!(!exit.status.success());
            assert!(
                exit.output.contains("open files") || exit.output.contains("ulimit -n"),
                "{}",
                exit.output
            );
            return;
        }
    };
    let mut first = server.client();
    assert_eq!(first.command("SET k v"), Value::Simple(b"OK".to_vec()));
    let crowd: Vec<io::Result<TcpStream>> = (0..200).map(|_| TcpStream::connect(server.address())).collect();
    for _ in 0..100 {
        assert_eq!(first.command("GET k"), Value::Bulk(b"v".to_vec()));
    }
    // A listener that cannot accept must not turn into a loop that burns the core.
    let before = server.cpu_ticks();
    std::thread::sleep(Duration::from_secs(1));
    let used = server.cpu_ticks() - before;
    assert!(used < 50, "{used} ticks in one second of being full");
    assert_eq!(first.command("GET k"), Value::Bulk(b"v".to_vec()));
    drop(crowd);
    await_condition("a place for a new client", || {
        Client::connect_to(server.address())
            .and_then(|mut client| {
                client.send(&["PING"])?;
                client.read()
            })
            .is_ok_and(|reply| !reply.value.is_error())
    });
    assert!(server.is_running());
}

// ---- What the machine withholds ----

/// The start fails with one line of error that holds all of `words`.
#[track_caller]
fn assert_refuses_to_start(launch: &Launch, words: &[&str]) {
    let exit = launch.spawn().wait();
    assert!(!exit.status.success() && exit.status.code().is_some(), "{exit:?}");
    let line = exit.output.lines().find(|line| words.iter().all(|word| line.contains(word)));
    assert!(line.is_some(), "one line with {words:?} in: {}", exit.output);
    assert!(!exit.output.contains("panicked"), "{}", exit.output);
}

#[test]
fn io_uring_forbidden_by_seccomp_stops_the_start_with_the_remedy() {
    if Subject::current() != Subject::Kora {
        return;
    }
    for errno in [libc::EPERM, libc::ENOSYS] {
        assert_refuses_to_start(&launch().io_uring_errno(errno), &["io_uring", "seccomp"]);
    }
}

#[test]
fn locked_memory_of_64_kib_is_enough_or_is_named() {
    if Subject::current() != Subject::Kora {
        return;
    }
    match launch().locked_bytes(64 << 10).start_or_exit() {
        Ok(mut server) => assert_alive(&mut server),
        Err(exit) => {
            assert!(!exit.status.success() && exit.status.code().is_some(), "{exit:?}");
            let line = exit.output.lines().find(|line| line.contains("64 KiB") && line.contains("ulimit -l"));
            assert!(line.is_some(), "one line that names ulimit -l in: {}", exit.output);
            assert!(!exit.output.contains("panicked"), "{}", exit.output);
        }
    }
}

#[test]
fn more_workers_than_cores_stop_the_start_with_the_remedy() {
    if Subject::current() != Subject::Kora {
        return;
    }
    assert_refuses_to_start(&Launch::kora().workers(1000), &["workers", "1000", "cores"]);
}

#[test]
fn a_port_in_use_is_an_error_at_once() {
    let first = launch().start();
    let port = first.port.to_string();
    assert_refuses_to_start(&launch().port(first.port), &[&port, "in use"]);
    assert_eq!(first.client().command("PING"), Value::Simple(b"PONG".to_vec()));
}

// ---- The ends of the process ----

#[test]
fn sigterm_and_sigint_answer_what_was_accepted_and_exit_0() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut server = launch().start();
        let mut client = server.client();
        let idle = server.client();
        let mut half = server.client();
        half.send_raw(b"*2\r\n$3\r\nGET\r\n$10\r\nab").expect("sent");
        // One small write arrives as one: when its first reply is here, all of it has been accepted.
        client.send_raw(&harness::resp::encode(&["INCR", "n"]).repeat(100)).expect("sent");
        assert_eq!(client.read().expect("a reply").value, Value::Int(1));
        server.signal(signal);
        for number in 2..=100 {
            assert_eq!(client.read().expect("a reply").value, Value::Int(number), "signal {signal}");
        }
        let exit = server.wait();
        assert_eq!(exit.status.code(), Some(0), "signal {signal}: {}", exit.output);
        assert_eq!(client.read_to_close().expect("the server has closed"), b"");
        drop(idle);
    }
}

#[test]
fn shutdown_exits_0_and_frees_the_port() {
    let mut server = launch().start();
    let mut client = server.client();
    client.send(&["SHUTDOWN", "NOSAVE"]).expect("sent");
    assert_eq!(client.read_to_close().expect("the server closes without a reply"), b"");
    assert_eq!(server.wait().status.code(), Some(0));
    let again = launch().port(server.port).start();
    assert_eq!(again.client().command("DBSIZE"), Value::Int(0));
}

#[test]
fn a_killed_server_can_be_started_again_at_once_on_its_port() {
    let mut port = None;
    for _ in 0..10 {
        let launch = port.map_or_else(launch, |port| launch().port(port));
        let mut server = launch.start();
        port = Some(server.port);
        server.signal(libc::SIGKILL);
        server.wait();
    }
}

#[test]
fn every_executor_serves_after_every_start() {
    for start in 0..25 {
        let server = launch().start();
        let mut clients: Vec<Client> = (0..6).map(|_| server.client()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(&["PING"]).expect("sent");
            let answer = client.read().map(|reply| reply.value);
            assert!(answer.is_ok(), "start {start}, connection {number}: {answer:?}");
        }
        // Keys of both shards, from connections of both executors.
        for (number, client) in clients.iter_mut().enumerate() {
            for key in ["a", "b", "c", "d"] {
                let reply = client.call(&["SET", key, "v"]);
                assert_eq!(
                    reply,
                    Value::Simple(b"OK".to_vec()),
                    "start {start}, connection {number}, key {key}"
                );
            }
        }
    }
}

// ---- At rest ----

#[test]
fn an_idle_server_uses_no_cpu() {
    let server = launch().start();
    let mut clients: Vec<Client> = (0..10).map(|_| server.client()).collect();
    for client in &mut clients {
        client.command("SET k v");
    }
    let before = server.cpu_ticks();
    std::thread::sleep(Duration::from_secs(3));
    let used = server.cpu_ticks() - before;
    // Redis's timer fires ten times a second.
    let allowed = if Subject::current() == Subject::Kora { 2 } else { 6 };
    assert!(used <= allowed, "{used} ticks in three idle seconds");
}

#[test]
fn an_idle_server_reclaims_expired_keys() {
    const KEYS: usize = 20_000;
    let server = launch().start();
    let mut client = server.client();
    for batch in 0..KEYS / 1000 {
        let frames: Vec<u8> = (0..1000)
            .flat_map(|number| {
                harness::resp::encode(&["SET", &format!("k{batch}:{number}"), "v", "PX", "100"])
            })
            .collect();
        client.send_raw(&frames).expect("sent");
        for _ in 0..1000 {
            assert_eq!(client.read().expect("a reply").value, Value::Simple(b"OK".to_vec()));
        }
    }
    client.command("SET stays v");
    await_condition("reclaiming of all expired keys", || client.command("DBSIZE") == Value::Int(1));
    assert_eq!(info_field(&mut client, "expired_keys"), KEYS as u64);
}

// ---- Where it listens ----

#[test]
fn a_unix_socket_serves_as_the_port_does() {
    let path = std::env::temp_dir().join(format!("kora-test-{}.sock", std::process::id()));
    let mut server = launch().unix_socket(&path).start();
    let mut client = Client::connect_unix(&path).expect("the socket is there");
    assert_eq!(client.command("SET k v"), Value::Simple(b"OK".to_vec()));
    assert_eq!(server.client().command("GET k"), Value::Bulk(b"v".to_vec()));
    assert!(client.command("CLIENT INFO").text().contains(path.to_str().expect("UTF-8")));
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait().status.code(), Some(0));
    assert!(!path.exists(), "the socket is removed at the end");
}

#[test]
fn the_number_of_databases_is_a_setting() {
    let server = launch().databases(3).start();
    let mut client = server.client();
    assert_eq!(client.command("SELECT 2"), Value::Simple(b"OK".to_vec()));
    assert_eq!(client.command("SELECT 3"), Value::Error(b"ERR DB index is out of range".to_vec()));
}

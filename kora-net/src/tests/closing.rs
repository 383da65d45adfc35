//! How connections end: nothing that was accepted is lost, and nothing of them stays.

use super::harness::*;
use crate::options::OutputLimit;

#[test]
fn a_client_that_leaves_within_a_frame_is_forgotten() {
    for executors in [1, 2] {
        let server = TestServer::start(executors);
        let mut watch = server.client();
        for half in [
            "*2\r\n$3\r\nGE",
            "*",
            "PIN",
            "PING\r\n*1\r\n$4\r\nPI",
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\nx",
        ] {
            let mut client = server.client();
            client.send(half.as_bytes());
            drop(client);
            server.await_clients(&mut watch, 1);
            let mut client = server.client();
            client.send(half.as_bytes());
            client.finish_sending();
            let rest = client.rest();
            assert_eq!(rest, if half.starts_with("PING") { &b"+PONG\r\n"[..] } else { b"" });
            server.await_clients(&mut watch, 1);
        }
    }
}

#[test]
fn a_half_closed_client_gets_all_its_replies() {
    for executors in [1, 2] {
        let server = TestServer::start(executors);
        let mut client = server.client();
        let mut requests = Vec::new();
        let mut expected = Vec::new();
        for i in 0..3000 {
            match i % 100 {
                // Coordinators, of which some end at once and some after a hop.
                70 => {
                    requests.extend(encode(&[b"RANDOMKEY"]));
                    expected.extend_from_slice(b"$-1\r\n");
                }
                71 => {
                    requests.extend(encode(&[b"CONFIG", b"SET", b"hz", b"20"]));
                    expected.extend_from_slice(b"+OK\r\n");
                }
                72 => {
                    requests.extend(encode(&[b"MGET", b"a", b"b", b"c"]));
                    expected.extend_from_slice(b"*3\r\n$-1\r\n$-1\r\n$-1\r\n");
                }
                _ => {
                    requests.extend(encode(&[b"EXISTS", format!("key:{i}").as_bytes()]));
                    expected.extend_from_slice(b":0\r\n");
                }
            }
        }
        client.send(&requests);
        client.finish_sending();
        let rest = client.rest();
        assert_eq!(rest.len(), expected.len());
        assert!(rest == expected, "replies differ");
        server.await_clients(&mut server.client(), 1);
    }
}

#[test]
fn a_client_dropped_for_its_output_is_forgotten() {
    for executors in [1, 2] {
        let server = TestServer::with(executors, |options| {
            options.settings.output_limit = OutputLimit { hard: 4 << 20, soft: 0, soft_seconds: 0 };
        });
        let mut watch = server.client();
        assert_eq!(watch.command(&[b"SET", b"k", &pattern(1, 1 << 20)]), b"+OK\r\n");
        let mut reader = server.client();
        for _ in 0..20 {
            // The server may have closed it already.
            let _ = std::io::Write::write_all(&mut reader.stream, &encode(&[b"GET", b"k"]));
            // One turn for each: the limit is found exceeded while the kernel is busy with what came before.
            assert_eq!(watch.line("PING"), "+PONG\r\n");
        }
        server.await_clients(&mut watch, 1);
        // Its seat is free for the next.
        assert_eq!(server.client().line("PING"), "+PONG\r\n");
    }
}

#[test]
fn protocol_errors_wait_for_the_replies_before_them() {
    for executors in [1, 2] {
        let server = TestServer::start(executors);
        let mut watch = server.client();
        let mut client = server.client();
        let mut requests = Vec::new();
        for i in 0..200 {
            requests.extend(encode(&[b"SET", format!("key:{i}").as_bytes(), b"v"]));
        }
        requests.extend_from_slice(b"*1\r\n!nothing\r\nPING\r\n");
        client.send(&requests);
        let mut expected = b"+OK\r\n".repeat(200);
        expected.extend_from_slice(b"-ERR Protocol error: expected '$', got '!'\r\n");
        assert_eq!(String::from_utf8(client.rest()).unwrap(), String::from_utf8(expected).unwrap());
        server.await_clients(&mut watch, 1);
    }
}

#[test]
fn quit_ends_a_pipeline_after_the_replies_before_it() {
    for executors in [1, 2] {
        let server = TestServer::start(executors);
        let mut client = server.client();
        client.send(b"SET a 1\r\nSET b 2\r\nMGET a b\r\nQUIT\r\nSET a 3\r\n");
        assert_eq!(client.rest(), b"+OK\r\n+OK\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n+OK\r\n");
        assert_eq!(server.client().line("GET a"), "$1\r\n1\r\n");
    }
}

#[test]
fn clients_that_vanish_while_hops_are_pending_leave_nothing_behind() {
    let server = TestServer::start(2);
    let mut watch = server.client();
    let mut requests = Vec::new();
    for i in 0..500 {
        requests.extend(encode(&[b"SET", format!("key:{i}").as_bytes(), b"v"]));
        requests.extend(encode(&[b"MGET", b"key:1", b"key:2", b"key:3"]));
        if i % 50 == 0 {
            requests.extend(encode(&[b"RENAME", b"key:1", b"key:2"]));
            requests.extend(encode(&[b"KEYS", b"*"]));
        }
    }
    for _ in 0..50 {
        let mut client = server.client();
        let _ = std::io::Write::write_all(&mut client.stream, &requests);
    }
    server.await_clients(&mut watch, 1);
    // What they left in the queues goes to nobody: a new client at the same seat sees only its own replies.
    let mut clients: Vec<Client> = (0..50).map(|_| server.client()).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        let text = format!("hello-{i}");
        assert_eq!(client.command(&[b"ECHO", text.as_bytes()]), bulk(text.as_bytes()));
    }
}

#[test]
fn a_stopping_server_neither_accepts_nor_breaks_off() {
    for executors in [1, 2] {
        // Only the accept of a TCP listener ends when it is shut down.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = TestServer::with(executors, |options| {
            options.bind = vec![[127, 0, 0, 1].into()];
            options.port = port;
        });
        let mut slow = server.client();
        let value = pattern(7, 4 << 20);
        assert_eq!(slow.command(&[b"SET", b"k", &value]), b"+OK\r\n");
        // Something that expires keeps the clock of its executor ticking, from its next tick on.
        assert_eq!(slow.line("MSET a v b v c v d v"), "+OK\r\n");
        for key in ["a", "b", "c", "d"] {
            assert_eq!(slow.line(&format!("EXPIRE {key} 100")), ":1\r\n");
        }
        assert_eq!(slow.line("CONFIG SET hz 500"), "+OK\r\n");
        let mut other = server.client();
        for _ in 0..4 {
            slow.send(&encode(&[b"GET", b"k"]));
        }
        // The requests of `slow` lie in the socket before this one is answered, but only its reply shows that they were read.
        assert_eq!(slow.reply(), bulk(&value));
        server.stop();
        // Ticks pass while the server waits for `slow`, and clients go on knocking.
        for _ in 0..100 {
            assert_eq!(other.line("PING"), "+PONG\r\n");
            drop(server.try_client());
            drop(std::net::TcpStream::connect(("127.0.0.1", port)));
        }
        assert!(server.try_client().is_err(), "nobody listens any more");
        for _ in 0..3 {
            assert_eq!(slow.reply(), bulk(&value));
        }
        server.join();
    }
}

#[test]
fn sliced_commands_let_the_connection_go_on() {
    for executors in [1, 2] {
        let server = TestServer::start(executors);
        let mut client = server.client();
        let keys = 3 * kora_engine::limits::WALK_FIRST_KEYS * executors;
        let mut requests = Vec::new();
        for i in 0..keys {
            requests.extend(encode(&[b"SET", format!("key:{i}").as_bytes(), b"v"]));
        }
        client.send(&requests);
        for _ in 0..keys {
            assert_eq!(client.reply(), b"+OK\r\n");
        }
        client.send(b"KEYS key:*\r\nPING\r\nKEYS key:1*\r\nECHO x\r\n");
        let all = client.reply();
        assert!(all.starts_with(format!("*{keys}\r\n").as_bytes()));
        assert_eq!(client.reply(), b"+PONG\r\n");
        assert!(client.reply().starts_with(b"*"));
        assert_eq!(client.reply(), bulk(b"x"));
        let (a, b) = (pattern(1, 6000), pattern(2, 6000));
        for (key, text) in [(b"{t}a", &a), (b"{t}b", &b)] {
            assert_eq!(client.command(&[b"SET", key, text]), b"+OK\r\n");
        }
        client.send(b"LCS {t}a {t}b LEN\r\nPING\r\n");
        assert!(client.reply().starts_with(b":"));
        assert_eq!(client.reply(), b"+PONG\r\n");
    }
}

#[test]
fn clients_whose_replies_are_off_are_paused_too() {
    let server = TestServer::start(1);
    let mut watch = server.client();
    let mut silent = server.client();
    silent.send(b"CLIENT REPLY OFF\r\n");
    assert_eq!(watch.line("CLIENT PAUSE 60000 WRITE"), "+OK\r\n");
    silent.send(b"SET k 1\r\nCLIENT REPLY ON\r\n");
    watch.until("CLIENT LIST", |list| list.contains("cmd=set"));
    assert_eq!(watch.line("GET k"), "$-1\r\n");
    assert_eq!(watch.line("CLIENT UNPAUSE"), "+OK\r\n");
    assert_eq!(silent.reply(), b"+OK\r\n");
    assert_eq!(watch.line("GET k"), "$1\r\n1\r\n");
}

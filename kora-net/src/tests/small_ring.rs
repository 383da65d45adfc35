//! A ring with four submission entries and two buffers of 64 bytes: every shortage there is, all the time.

use super::harness::*;
use crate::ring::RingSizes;

const TINY: RingSizes = RingSizes { entries: 4, buffers: 2, buffer_len: 64 };

#[test]
fn fifty_pipelines_are_answered_in_full() {
    for executors in [1, 2] {
        let server = TestServer::with(executors, |options| options.ring = TINY);
        let big = pattern(3, 50_000);
        let mut clients: Vec<Client> = (0..50).map(|_| server.client()).collect();
        for round in 0..3 {
            let threads = clients.iter_mut().enumerate().map(|(number, client)| {
                let big = &big;
                move || {
                    let mut requests = Vec::new();
                    let mut expected = Vec::new();
                    for i in 0..40 {
                        let key = format!("key:{number}:{i}");
                        let value = if i % 20 == 7 { &big[..] } else { key.as_bytes() };
                        requests.extend(encode(&[b"SET", key.as_bytes(), value]));
                        expected.extend_from_slice(b"+OK\r\n");
                        requests.extend(encode(&[b"GET", key.as_bytes()]));
                        expected.extend(bulk(value));
                        requests.extend(encode(&[b"MGET", key.as_bytes(), b"none"]));
                        expected.extend_from_slice(b"*2\r\n");
                        expected.extend(bulk(value));
                        expected.extend_from_slice(b"$-1\r\n");
                    }
                    let mut writer = client.stream.try_clone().unwrap();
                    std::thread::scope(|scope| {
                        scope.spawn(move || std::io::Write::write_all(&mut writer, &requests).unwrap());
                        let mut got = Vec::new();
                        for _ in 0..120 {
                            got.extend(client.reply());
                        }
                        assert!(got == expected, "client {number}, round {round}");
                    });
                }
            });
            std::thread::scope(|scope| {
                let all: Vec<_> = threads.map(|work| scope.spawn(work)).collect();
                for thread in all {
                    thread.join().unwrap();
                }
            });
        }
    }
}

#[test]
fn one_that_does_not_read_holds_nobody_up() {
    for executors in [1, 2] {
        let server = TestServer::with(executors, |options| options.ring = TINY);
        let value = pattern(4, 300_000);
        let mut slow = server.client();
        assert_eq!(slow.command(&[b"SET", b"k", &value]), b"+OK\r\n");
        for _ in 0..20 {
            slow.send(&encode(&[b"GET", b"k"]));
        }
        // Half a frame stays where it is, without a buffer of the ring.
        slow.send(b"*2\r\n$3\r\nGET\r\n$1");
        let mut others: Vec<Client> = (0..20).map(|_| server.client()).collect();
        for i in 0..20 {
            for client in &mut others {
                let text = pattern(i, 500);
                assert_eq!(client.command(&[b"ECHO", &text]), bulk(&text));
            }
        }
        for _ in 0..20 {
            assert!(slow.reply() == bulk(&value));
        }
        slow.send(b"\r\nk\r\n");
        assert!(slow.reply() == bulk(&value));
    }
}

#[test]
fn many_come_and_go() {
    let server = TestServer::with(2, |options| options.ring = TINY);
    let mut watch = server.client();
    for round in 0..5 {
        let mut clients: Vec<Client> = (0..60).map(|_| server.client()).collect();
        for client in &mut clients {
            client.send(&encode(&[b"INCR", b"counter"]));
        }
        for client in &mut clients {
            assert!(client.reply().starts_with(b":"));
        }
        drop(clients);
        server.await_clients(&mut watch, 1);
        assert_eq!(
            watch.line("GET counter"),
            format!("${}\r\n{}\r\n", if round == 0 { 2 } else { 3 }, 60 * (round + 1))
        );
    }
}

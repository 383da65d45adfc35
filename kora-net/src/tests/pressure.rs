//! More than fits at once: pipelines to the other shard, large values, input that comes in pieces.

use super::harness::*;
use crate::limits::{BACKLOG_PAUSE_LEN, OUTBOX_PARK_LEN};
use std::io::Write;

#[test]
fn a_long_pipeline_to_both_shards_is_answered_in_order() {
    const COMMANDS: usize = 200_000;
    let server = TestServer::start(2);
    let mut client = server.client();
    let mut watch = server.client();
    let mut writer = client.stream.try_clone().unwrap();
    let (sent, all_sent) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut requests = Vec::new();
            for i in 0..COMMANDS {
                let (key, value) = (format!("key:{}", i % 1000), i.to_string());
                // The old value shows the order.
                requests.extend(encode(&[b"SET", key.as_bytes(), value.as_bytes(), b"GET"]));
                if requests.len() > 1 << 16 {
                    writer.write_all(&requests).unwrap();
                    requests.clear();
                }
            }
            writer.write_all(&requests).unwrap();
            sent.send(()).unwrap();
        });
        // Nothing is read until everything is sent: the server takes it all, and others are served meanwhile.
        while all_sent.try_recv().is_err() {
            assert_eq!(watch.line("PING"), "+PONG\r\n");
            let list = watch.line("CLIENT LIST");
            let waiting: usize = list
                .split_whitespace()
                .filter_map(|word| word.strip_prefix("qbuf=")?.parse::<usize>().ok())
                .sum();
            // What waits to be executed is bounded: the limit, and what the buffers held when it was reached.
            assert!(waiting <= BACKLOG_PAUSE_LEN + (4 << 20), "{waiting} bytes of input wait");
        }
        for i in 0..COMMANDS {
            let expected = match i.checked_sub(1000) {
                None => b"$-1\r\n".to_vec(),
                Some(before) => bulk(before.to_string().as_bytes()),
            };
            assert_eq!(client.reply(), expected, "reply {i}");
        }
    });
}

#[test]
fn many_pipelines_park_at_a_peer_and_go_on() {
    let server = TestServer::start(2);
    // Each pipeline alone is larger than what may wait for the peer.
    let value = pattern(5, 2000);
    let count = OUTBOX_PARK_LEN / value.len() * 3;
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (mut client, value) = (server.client(), &value);
            scope.spawn(move || {
                let mut requests = Vec::new();
                for i in 0..count {
                    let key = format!("key:{number}:{i}");
                    requests.extend(encode(&[b"SET", key.as_bytes(), value]));
                    requests.extend(encode(&[b"STRLEN", key.as_bytes()]));
                }
                let mut writer = client.stream.try_clone().unwrap();
                let sender = std::thread::spawn(move || writer.write_all(&requests).unwrap());
                for i in 0..count {
                    assert_eq!(client.reply(), b"+OK\r\n", "client {number}, command {i}");
                    assert_eq!(client.reply(), b":2000\r\n", "client {number}, command {i}");
                }
                sender.join().unwrap();
            });
        }
    });
}

#[test]
fn large_values_arrive_whole_however_they_are_cut() {
    for executors in [1, 2] {
        let server = TestServer::start(executors);
        let mut client = server.client();
        let keys: Vec<String> = (0..6).map(|i| format!("key:{i}")).collect();
        for (seed, len) in [100, 16_383, 16_384, 16_385, 40_000, 300_000, 3_000_000].into_iter().enumerate() {
            let value = pattern(seed as u64, len);
            for key in &keys {
                let key = key.as_bytes();
                let set = encode(&[b"SET", key, &value, b"EX", b"1000"]);
                for piece in set.chunks(50_001) {
                    client.send(piece);
                }
                assert_eq!(client.reply(), b"+OK\r\n");
                assert!(client.command(&[b"GET", key]) == bulk(&value), "{len} bytes");
                assert_eq!(
                    client.command(&[b"APPEND", key, &value]),
                    format!(":{}\r\n", 2 * len).into_bytes()
                );
                assert!(
                    client.command(&[b"GETRANGE", key, len.to_string().as_bytes(), b"-1"]) == bulk(&value)
                );
            }
            let argv: Vec<&[u8]> = std::iter::once(&b"MSET"[..])
                .chain(keys.iter().flat_map(|key| [key.as_bytes(), &value[..]]))
                .collect();
            client.send(&encode(&argv));
            assert_eq!(client.reply(), b"+OK\r\n");
            let argv: Vec<&[u8]> =
                std::iter::once(&b"MGET"[..]).chain(keys.iter().map(|key| key.as_bytes())).collect();
            let expected = [b"*6\r\n".to_vec(), bulk(&value).repeat(6)].concat();
            assert!(client.command(&argv) == expected, "{len} bytes");
        }
    }
}

#[test]
fn large_frames_between_small_and_inline_ones_behind_a_coordinator() {
    for executors in [1, 2] {
        let server = TestServer::start(executors);
        let mut client = server.client();
        let word = vec![b'w'; 20_000];
        let value = pattern(9, 100_000);
        let mut requests = Vec::new();
        let mut expected = Vec::new();
        for i in 0..20 {
            requests.extend(encode(&[b"RANDOMKEY"]));
            expected.extend_from_slice(b"$-1\r\n");
            requests.extend(encode(&[b"SET", b"big", &value]));
            expected.extend_from_slice(b"+OK\r\n");
            requests.extend([b"SET word ", &word[..], b"\r\n"].concat());
            expected.extend_from_slice(b"+OK\r\n");
            requests.extend(encode(&[b"GET", b"big"]));
            expected.extend(bulk(&value));
            requests.extend_from_slice(b"GET word\r\n\r\n");
            expected.extend(bulk(&word));
            requests.extend_from_slice(b"DEL word big\r\n");
            expected.extend_from_slice(b":2\r\n");
            requests.extend(encode(&[b"SETEX", b"t", b"100", i.to_string().as_bytes()]));
            expected.extend_from_slice(b"+OK\r\n");
            requests.extend(encode(&[b"DEL", b"t"]));
            expected.extend_from_slice(b":1\r\n");
        }
        let mut writer = client.stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || writer.write_all(&requests).unwrap());
        let mut got = Vec::new();
        for _ in 0..20 * 8 {
            got.extend(client.reply());
        }
        sender.join().unwrap();
        assert!(got == expected);
    }
}

//! Commands over several shards: one executor and two give the same replies.

use super::harness::*;
use std::collections::BTreeSet;

/// Sends the same lines to a server with one executor and to one with two and compares what they say.
fn same(lines: &[&str]) {
    let servers = [TestServer::start(1), TestServer::start(2)];
    let mut clients = servers.each_ref().map(TestServer::client);
    for line in lines {
        let [one, two] = clients.each_mut().map(|client| client.line(line));
        assert_eq!(one, two, "{line}");
    }
}

#[test]
fn rename_and_copy_between_shards() {
    let mut lines = vec!["RENAME none x", "RENAMENX none x", "COPY none x", "RENAME a"];
    let names = ["a", "b", "c", "d", "e"];
    let mut random = fastrand::Rng::with_seed(11);
    let mut made = Vec::new();
    for i in 0..300 {
        let (from, to) = (names[random.usize(..5)], names[random.usize(..5)]);
        made.push(match i % 10 {
            0 => format!("SET {from} value-{i}"),
            1 => format!("SET {from} {i} EX 1000"),
            2 | 3 => format!("RENAME {from} {to}"),
            4 => format!("RENAMENX {from} {to}"),
            5 => format!("COPY {from} {to}"),
            6 => format!("COPY {from} {to} REPLACE"),
            7 => format!("COPY {from} {to} DB 1 REPLACE"),
            8 => format!("COPY {from} {to} DB 99"),
            _ => "MGET a b c d e".to_owned(),
        });
        made.push(format!("TTL {to}"));
        made.push(format!("EXISTS {from} {to} {to}"));
    }
    made.push("SELECT 1".to_owned());
    made.push("MGET a b c d e".to_owned());
    lines.extend(made.iter().map(String::as_str));
    lines.push("DBSIZE");
    same(&lines);
}

#[test]
fn reads_and_writes_of_many_keys() {
    let mut lines = vec![
        "MSET a 1 b 2 c 3 d 4",
        "MGET a b none c a d",
        "MSET a 1 b",
        "MSETNX a",
        "MSETNX x 1 a 2",
        "MGET x a",
        "MSETNX x 1 y two x 3",
        "MGET x y",
        "INCR x",
        "DEL a b none",
        "UNLINK c c d",
        "EXISTS x x y none",
        "TOUCH x y none",
        "DBSIZE",
        "SET s1 ohmytext",
        "SET s2 mynewtext",
        "LCS s1 s2",
        "LCS s1 s2 LEN",
        "LCS s1 s2 IDX",
        "LCS s1 s2 IDX WITHMATCHLEN MINMATCHLEN 4",
        "LCS s1 s2 LEN IDX",
        "LCS s1 s2 WRONG",
        "LCS s1 none",
        "LCS x s1",
        "FLUSHALL",
        "DBSIZE",
        "MGET s1 s2",
    ];
    let many: String = (0..500).map(|i| format!(" key:{i} {i}")).collect();
    let names: String = (0..500).rev().map(|i| format!(" key:{i}")).collect();
    let (mset, mget, del) = (format!("MSET{many}"), format!("MGET{names}"), format!("DEL{names} other"));
    lines.extend([
        &mset[..],
        &mget,
        "DBSIZE",
        "SELECT 2",
        &mset,
        "FLUSHDB",
        "SELECT 0",
        "DBSIZE",
        &del,
        "DBSIZE",
    ]);
    same(&lines);
}

/// The bulk strings of a reply.
fn strings(reply: &[u8]) -> Vec<String> {
    let text = String::from_utf8(reply.to_vec()).unwrap();
    let mut lines = text.split("\r\n");
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with('$') {
            found.push(lines.next().unwrap().to_owned());
        }
    }
    found
}

#[test]
fn walks_find_every_key_once() {
    for executors in [1, 2] {
        let server = TestServer::start(executors);
        let mut client = server.client();
        let all: BTreeSet<String> = (0..5000).map(|i| format!("key:{i}")).collect();
        for key in &all {
            client.send(&encode(&[b"SET", key.as_bytes(), b"v"]));
        }
        for _ in &all {
            assert_eq!(client.reply(), b"+OK\r\n");
        }
        let keys = strings(&client.command(&[b"KEYS", b"*"]));
        assert_eq!(keys.len(), all.len());
        assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), all);
        for count in ["1", "10", "1000", "100000"] {
            let mut cursor = "0".to_owned();
            let mut found = BTreeSet::new();
            loop {
                let mut page =
                    strings(&client.command(&[b"SCAN", cursor.as_bytes(), b"COUNT", count.as_bytes()]));
                cursor = page.remove(0);
                found.extend(page);
                if cursor == "0" {
                    break;
                }
            }
            assert_eq!(found, all, "COUNT {count}");
        }
        assert!(all.contains(&strings(&client.command(&[b"RANDOMKEY"]))[0]));
    }
}

//! The same scripts here and on redis-server, replies byte by byte.

mod support;

use kora_engine::reply::Protocol;
use support::redis::Server;
use support::Bench;

/// Runs each script of a file (separated by lines of `--`) in both protocols here and there. A script that begins with `-- 8` has a reply that
/// Redis 7.0 has not.
fn compare(file: &str, scripts: &str) {
    let Some(server) = Server::start() else {
        eprintln!("no redis-server: {file} is not compared");
        return;
    };
    let mut wrong = Vec::new();
    let mut compared = 0;
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut client = server.connect(protocol);
        let mut bench = Bench::new();
        for script in scripts.split("\n--\n") {
            let script = script.trim_end_matches('\n');
            if script.starts_with("-- 8") && server.major < 8 {
                continue;
            }
            compared += 1;
            if std::env::var_os("KORA_SHOW").is_some() {
                eprintln!("{script}");
            }
            let theirs = client.call(&[b"EVAL", script.as_bytes(), b"2", b"k1", b"k2", b"a1", b"a2", b"3"]);
            let theirs = theirs.escape_ascii().to_string();
            let ours = bench
                .bytes_with(protocol, script.as_bytes(), &[b"k1", b"k2"], &[b"a1", b"a2", b"3"])
                .escape_ascii()
                .to_string();
            if ours != theirs {
                wrong.push(format!("{script}\n   redis: {theirs}\n   kora:  {ours}"));
            }
        }
    }
    assert!(compared > 0, "{file}: nothing to compare");
    assert!(wrong.is_empty(), "{file}: {} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
}

macro_rules! files {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            compare(stringify!($name), include_str!(concat!("scripts/", stringify!($name), ".txt")));
        })*
    };
}

files!(replies errors sandbox json msgpack packing bit);

//! While a server loads: everybody is told so, in Redis's words, and INFO says how far it is.

use crate::disk::{self, Disk};
use crate::harness::{resp, Client, Value};
use std::time::{Duration, Instant};

const LOADING: &str = "LOADING Redis is loading the dataset in memory";

/// Writes a log that takes a while to load, small commands in large pipelines.
fn write_much(disk: &Disk, keys: usize) {
    let server = disk.start(2, "os_managed");
    let mut client = server.client();
    for part in 0..keys / 1_000 {
        let commands = (0..1_000).flat_map(|number| {
            resp::encode(&["RPUSH", &format!("list:{}", (part * 1_000 + number) % 5_000), "element"])
        });
        client.send_raw(&commands.collect::<Vec<u8>>()).expect("commands are sent");
        for _ in 0..1_000 {
            assert!(!client.read().expect("a reply").value.is_error());
        }
    }
    disk::terminate(server);
}

#[test]
fn clients_are_told_while_a_server_loads() {
    let disk = Disk::new();
    let mut keys = 200_000;
    // More of it on a machine that is too quick to be seen loading.
    for _ in 0..4 {
        write_much(&disk, keys);
        if seen_loading(&disk) {
            return;
        }
        keys *= 2;
    }
    panic!("it was never seen loading");
}

/// Whether a server was caught loading and answered as it should.
fn seen_loading(disk: &Disk) -> bool {
    let server = disk.launch(2, "os_managed").spawn();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut client = loop {
        if let Ok(client) = Client::connect_to(server.address()) {
            break client;
        }
        assert!(Instant::now() < deadline, "it does not listen");
        std::thread::sleep(Duration::from_millis(1));
    };
    let mut refused = 0;
    let mut told = None;
    loop {
        let commands = ["PING", "GET list:1", "SET a 1", "INFO persistence", "PING"];
        let replies = client.pipeline(&commands);
        let is_refused = |value: &Value| matches!(value, Value::Error(text) if text.starts_with(b"LOADING"));
        if is_refused(&replies[0]) && is_refused(&replies[4]) {
            // It was loading all the time from the first to the last.
            refused += 1;
            for reply in &replies[..3] {
                assert!(reply.text().starts_with(LOADING), "{reply:?}");
            }
            told = Some(replies[3].text());
        }
        if !is_refused(&replies[4]) {
            break;
        }
        assert!(Instant::now() < deadline, "still loading");
        client = server.client();
    }
    let lists = server.client().command("DBSIZE").int();
    assert!(lists >= 5_000, "everything is there: {lists}");
    assert!(server.client().command("INFO persistence").text().contains("\r\nloading:0\r\n"));
    let Some(info) = told else { return false };
    assert!(info.contains("\r\nloading:1\r\n"), "{info}");
    for field in ["loading_start_time", "loading_total_bytes", "loading_loaded_bytes", "loading_loaded_perc"]
    {
        assert!(info.contains(&format!("\r\n{field}:")), "{field}: {info}");
    }
    refused > 0
}

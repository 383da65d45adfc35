//! `kora inspect`, `kora check` and `kora repair` on the data directories of real servers.

mod harness;

use harness::server::new_directory;
use harness::{Launch, Server};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn start(dir: &Path) -> Server {
    Launch::kora().workers(1).data_dir(dir).wal_sync("every_write").start_loaded()
}

/// Runs a subcommand: whether it went well, and what it said.
fn kora(subcommand: &str, dir: &Path) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kora")).arg(subcommand).arg(dir).output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).expect("text"))
}

/// The segment in which something stands, and where.
fn place_of(dir: &Path, wanted: &[u8]) -> (PathBuf, usize) {
    for entry in fs::read_dir(dir.join("log")).expect("the log") {
        let path = entry.expect("an entry").path();
        let bytes = fs::read(&path).expect("a segment");
        if let Some(at) = bytes.windows(wanted.len()).position(|window| window == wanted) {
            return (path, at);
        }
    }
    panic!("{} is nowhere", String::from_utf8_lossy(wanted));
}

#[test]
fn damage_is_refused_shown_and_repaired() {
    let dir = new_directory();
    let server = start(&dir);
    let mut client = server.client();
    for number in 0..50 {
        client.call(&["SET", &format!("key {number}"), &format!("value {number}.")]);
    }
    let (_, said) = kora("inspect", &dir);
    assert!(said.contains(&format!("is in use by process {}", server.pid())), "{said}");
    server.kill();

    let (sound, said) = kora("check", &dir);
    assert!(sound && said.contains("applies 50 records of the log, up to position 50"), "{said}");
    let (done, said) = kora("repair", &dir);
    assert!(done && said.contains("nothing is damaged"), "{said}");

    let (path, at) = place_of(&dir, b"value 20.");
    let file = OpenOptions::new().write(true).open(&path).expect("a segment");
    file.write_all_at(b"V", at as u64).expect("written");
    let mut server = Launch::kora().workers(1).data_dir(&dir).wal_sync("every_write").spawn();
    let exit = server.wait();
    assert!(!exit.status.success());
    for part in ["`kora repair DIR`", path.to_str().expect("text"), "frame checksum is"] {
        assert!(exit.output.contains(part), "{part} is not in {}", exit.output);
    }
    for subcommand in ["inspect", "check"] {
        let (sound, said) = kora(subcommand, &dir);
        assert!(!sound && said.contains("is refused: ") && said.contains("up to position 20"), "{said}");
    }

    let (done, said) = kora("repair", &dir);
    assert!(done && said.contains("the log ends at position 20 now; 29 records"), "{said}");
    assert!(kora("check", &dir).0);
    let server = start(&dir);
    let mut client = server.client();
    assert_eq!(client.command("DBSIZE").int(), 20);
    assert_eq!(client.call(&["GET", "key 19"]).text(), "value 19.");
    client.call(&["SET", "key 20", "again"]);
    server.kill();
    let server = start(&dir);
    assert_eq!(server.client().call(&["GET", "key 20"]).text(), "again");
    server.kill();
    fs::remove_dir_all(&dir).expect("removed");
}

#[test]
fn what_is_no_data_directory_is_told_and_stays_as_it_is() {
    let dir = new_directory();
    for subcommand in ["inspect", "check", "repair"] {
        let (done, said) = kora(subcommand, &dir);
        assert!(!done && said.contains("no data directory of Kora"), "{said}");
        let (done, _) = kora(subcommand, &dir.join("nowhere"));
        assert!(!done);
    }
    assert_eq!(fs::read_dir(&dir).expect("it is there").count(), 0);
    fs::remove_dir_all(&dir).expect("removed");
}

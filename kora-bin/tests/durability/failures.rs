//! A disk that takes nothing more: commands that write are refused with the cause, reads go on, and what was acknowledged is there after a restart.

use crate::disk::Disk;
use crate::harness::{Client, Server, Subject};
use std::path::Path;
use std::process::Command;

/// More than one segment holds.
const VALUE_BYTES: usize = 64 << 10;

/// Writes until it is refused; the number of values that were acknowledged, and the refusal.
fn write_until_refused(client: &mut Client, most: usize) -> (usize, String) {
    let value = "v".repeat(VALUE_BYTES);
    for number in 0..most {
        client.send(&["SET", &format!("key:{number}"), &value]).expect("a command is sent");
        match client.read() {
            Ok(reply) if reply.value.is_error() => return (number, reply.value.text()),
            Ok(reply) => assert_eq!(reply.value.text(), "OK"),
            // Whose reply waits for the disk when it fails cannot be told whether it was written.
            Err(_) => return (number, "closed".to_owned()),
        }
    }
    panic!("{most} values were written to a disk that has no room for them");
}

/// After the first failure: no write is taken, in whatever way it comes; reads are.
fn refuses_writes_and_answers_reads(server: &Server, acknowledged: usize) {
    let mut client = server.client();
    for command in
        ["SET a 1", "DEL key:0", "INCR n", "MSET a 1 b 2", "EXPIRE key:0 100", "FLUSHALL", "XADD x * a b"]
    {
        let reply = client.command(command);
        assert!(reply.is_error() && reply.text().starts_with("MISCONF"), "{command}: {reply:?}");
    }
    let script = client.call(&["EVAL", "return redis.call('SET', KEYS[1], 'v')", "1", "a"]);
    assert!(script.is_error() && script.text().contains("MISCONF"), "{script:?}");
    let replies = client.pipeline(&["MULTI", "SET a 1", "EXEC"]);
    assert!(replies[1].is_error() && replies[1].text().starts_with("MISCONF"), "{replies:?}");
    assert!(replies[2].is_error() && replies[2].text().starts_with("EXECABORT"), "{replies:?}");
    assert_eq!(client.command("STRLEN key:0").int(), VALUE_BYTES as i64);
    assert!(client.command("DBSIZE").int() >= acknowledged as i64);
    assert_eq!(client.command("PING").text(), "PONG");
    let info = client.command("INFO persistence").text();
    assert!(info.contains("aof_last_write_status:err\r\n"), "{info}");
}

/// All that was acknowledged, and at most the one besides that was not.
fn has_everything(server: &Server, acknowledged: usize) {
    let mut client = server.client();
    for number in 0..acknowledged {
        assert_eq!(client.command(&format!("STRLEN key:{number}")).int(), VALUE_BYTES as i64, "key:{number}");
    }
    let count = client.command("DBSIZE").int() as usize;
    assert!((acknowledged..=acknowledged + 1).contains(&count), "{acknowledged} acknowledged, {count} there");
    assert_eq!(client.command("SET a 1").text(), "OK");
}

#[test]
fn a_file_that_may_not_grow_stops_writes_and_nothing_else() {
    if Subject::current() != Subject::Kora {
        return;
    }
    for mode in ["every_write", "every_second"] {
        let disk = Disk::new();
        let limited = disk.launch(2, mode).file_bytes(20 << 20);
        let server = limited.start_loaded();
        let (acknowledged, refusal) = write_until_refused(&mut server.client(), 4_000);
        assert!(acknowledged > 0, "something fits: {refusal}");
        refuses_writes_and_answers_reads(&server, acknowledged);
        if mode == "every_write" {
            server.kill();
            has_everything(&disk.start(1, mode), acknowledged);
        } else {
            // What was acknowledged within the last second may be lost, and it ends without success if it is.
            drop(server);
            let server = disk.start(1, mode);
            assert_eq!(server.client().command("SET a 1").text(), "OK");
        }
    }
}

/// A small file system in memory, which is full soon. It also refuses O_DIRECT on some kernels.
struct SmallDisk(Disk);

impl SmallDisk {
    /// None without the right to mount.
    fn new(mib: usize) -> Option<SmallDisk> {
        let disk = Disk::new();
        let size = format!("size={mib}m");
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "kora-test"]).arg(&disk.path).output();
        status.is_ok_and(|output| output.status.success()).then_some(SmallDisk(disk))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that was not waited for may still have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.0.path).output();
    }
}

#[test]
fn a_full_disk_stops_writes_and_nothing_else() {
    if Subject::current() != Subject::Kora {
        return;
    }
    let Some(small) = SmallDisk::new(150) else {
        println!("not allowed to mount a small file system; RLIMIT_FSIZE has shown the same");
        return;
    };
    let disk = &small.0;
    let ballast = disk.path.join("ballast");
    let server = disk.start(1, "every_write");
    let mut client = server.client();
    assert_eq!(client.command("SET first 1").text(), "OK");
    fill(&ballast);
    let (acknowledged, refusal) = write_until_refused(&mut client, 4_000);
    assert!(acknowledged > 0, "segments were ready: {refusal}");
    refuses_writes_and_answers_reads(&server, acknowledged);
    // Room alone does not bring it back: what was refused must not come between what was kept.
    std::fs::remove_file(&ballast).expect("room is made");
    let reply = server.client().command("SET a 1");
    assert!(reply.is_error(), "{reply:?}");
    server.kill();
    let server = disk.start(2, "every_write");
    assert_eq!(server.client().command("GETDEL first").text(), "1");
    has_everything(&server, acknowledged);
}

/// Takes all the room there is.
fn fill(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).expect("a file is made");
    while file.write_all(&[1; 64 << 10]).is_ok() {}
}

//! Readiness as a service manager sees it. One test only: it sets an environment variable of the process.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

#[test]
fn a_service_manager_is_told_of_readiness_and_of_the_stop() {
    kora::notify::notify_ready("without NOTIFY_SOCKET nothing happens");
    let path = std::env::temp_dir().join(format!("kora-notify-{}.sock", std::process::id()));
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    std::env::set_var("NOTIFY_SOCKET", &path);

    let mut message = [0; 256];
    kora::notify::notify_ready("listening on 127.0.0.1:6379");
    let length = manager.recv(&mut message).unwrap();
    assert_eq!(&message[..length], b"READY=1\nSTATUS=listening on 127.0.0.1:6379\n");
    kora::notify::notify_stopping();
    let length = manager.recv(&mut message).unwrap();
    assert_eq!(&message[..length], b"STOPPING=1\nSTATUS=stopping\n");
    std::fs::remove_file(&path).unwrap();
}

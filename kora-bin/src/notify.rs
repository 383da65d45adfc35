//! Readiness for the service manager: the protocol of sd_notify(3), on the socket that `NOTIFY_SOCKET` names. Without
//! that variable every function does nothing, so that the server behaves the same outside systemd.

use sd_notify::NotifyState;

/// The listeners accept: dependent units may start. `status` is the line that `systemctl status` shows.
pub fn notify_ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The server is not ready yet, and needs so much more time.
pub fn notify_loading(status: &str, more: std::time::Duration) {
    send(&[NotifyState::ExtendTimeoutUsec(more.as_micros() as u32), NotifyState::Status(status)]);
}

/// The server has begun to stop.
pub fn notify_stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

fn send(state: &[NotifyState]) {
    // A service manager that cannot be told is no reason to stop serving; it will say itself that it heard nothing.
    if let Err(error) = sd_notify::notify(false, state) {
        tracing::warn!(%error, "cannot tell the service manager (NOTIFY_SOCKET)");
    }
}

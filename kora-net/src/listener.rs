//! Listening sockets: made before the first executor starts, so that a port in use or a second instance is an error at once.

use crate::options::Options;
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// A socket could not be opened; the text names the address and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Something else listens there.
    #[error("{address}: already in use; stop the other server or choose another {setting}")]
    InUse {
        /// Address and port, or path.
        address: String,
        /// The setting to change.
        setting: &'static str,
    },
    /// Everything else.
    #[error("{address}: {source}; check {setting}")]
    Other {
        /// Address and port, or path.
        address: String,
        /// The setting to change.
        setting: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

fn failed(address: impl ToString, setting: &'static str, source: io::Error) -> ListenError {
    let address = address.to_string();
    if source.kind() == io::ErrorKind::AddrInUse {
        ListenError::InUse { address, setting }
    } else {
        ListenError::Other { address, setting, source }
    }
}

/// A TCP listener. Options that accepted sockets inherit (no delay, keep-alive) are set here, once.
///
/// # Errors
/// See [`ListenError`].
pub fn tcp(address: SocketAddr, options: &Options, setting: &'static str) -> Result<OwnedFd, ListenError> {
    let open = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // Not SO_REUSEPORT: with it a second instance would share the port in silence.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_tcp_nodelay(true)?;
        let seconds = options.settings.tcp_keepalive;
        if seconds > 0 {
            socket.set_tcp_keepalive(&keepalive(seconds))?;
        }
        socket.bind(&SockAddr::from(address))?;
        socket.listen(options.tcp_backlog.min(i32::MAX as u32) as i32)?;
        Ok(socket)
    };
    let deadline = Instant::now() + GONE_TIME_MAX;
    loop {
        match open() {
            Ok(socket) => return Ok(socket.into()),
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && Instant::now() < deadline
                    && !answers(address) =>
            {
                std::thread::sleep(GONE_TIME_MAX / 100);
            }
            Err(error) => return Err(failed(address, setting, error)),
        }
    }
}

/// How long the listener of a process that was killed may outlive it: the kernel takes its io_uring apart after the process
/// is gone, and the accept in it holds the socket.
const GONE_TIME_MAX: Duration = Duration::from_secs(2);

/// Whether somebody is alive at an address that is in use. A connection alone does not tell: the kernel makes it for a dead listener too.
fn answers(address: SocketAddr) -> bool {
    const WAIT: Duration = Duration::from_millis(200);
    let ask = || -> io::Result<usize> {
        let mut stream = TcpStream::connect_timeout(&address, WAIT)?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.write_all(b"PING\r\n")?;
        stream.read(&mut [0; 64])
    };
    ask().is_ok_and(|len| len > 0)
}

/// Changes the keep-alive of a listener, and so of what it will accept.
///
/// # Errors
/// What the kernel says.
pub fn set_keepalive(listener: &OwnedFd, seconds: u32) -> io::Result<()> {
    let socket = socket2::SockRef::from(listener);
    if seconds == 0 {
        socket.set_keepalive(false)
    } else {
        socket.set_tcp_keepalive(&keepalive(seconds))
    }
}

/// Probes after `seconds` of silence, then three more at a third of that, as Redis does.
pub fn keepalive(seconds: u32) -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(Duration::from_secs(seconds as u64))
        .with_interval(Duration::from_secs((seconds as u64 / 3).max(1)))
        .with_retries(3)
}

/// A Unix socket. A socket file that nobody listens on any more is replaced; one that is alive is an error.
///
/// # Errors
/// See [`ListenError`].
pub fn unix(path: &Path, options: &Options) -> Result<OwnedFd, ListenError> {
    let open = || -> io::Result<Socket> {
        let address = SockAddr::unix(path)?;
        if let Ok(metadata) = std::fs::symlink_metadata(path) {
            if metadata.file_type().is_socket() {
                let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                if probe.connect(&address).is_ok() {
                    return Err(io::ErrorKind::AddrInUse.into());
                }
                std::fs::remove_file(path)?;
            }
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&address)?;
        if let Some(mode) = options.unix_socket_perm {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        }
        socket.listen(options.tcp_backlog.min(i32::MAX as u32) as i32)?;
        Ok(socket)
    };
    open().map(OwnedFd::from).map_err(|error| failed(path.display(), "unix_socket", error))
}

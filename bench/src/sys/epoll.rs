//! A level-triggered epoll set, with waits in nanoseconds (`epoll_pwait2`, Linux 5.11): an open loop of
//! 100,000 requests a second has a request due every 10 us, which milliseconds cannot express.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Events taken from the kernel by one wait.
const EVENTS_MAX: usize = 256;

/// One ready descriptor.
#[derive(Clone, Copy)]
pub(crate) struct Event {
    pub(crate) token: usize,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

pub(crate) struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
    ready: usize,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers are passed; the result is checked before it is owned.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just made and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Epoll { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX], ready: 0 })
    }

    /// Watches `fd` for input. It must be removed, or closed, before its number is used for another file.
    pub(crate) fn add(&self, fd: RawFd, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, false)
    }

    /// Watches `fd` for input, and for room to write when `writable`.
    pub(crate) fn modify(&self, fd: RawFd, token: usize, writable: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, writable)
    }

    fn control(&self, operation: i32, fd: RawFd, token: usize, writable: bool) -> io::Result<()> {
        let mut interest = libc::EPOLLIN | libc::EPOLLRDHUP;
        if writable {
            interest |= libc::EPOLLOUT;
        }
        let mut event = libc::epoll_event { events: interest as u32, u64: token as u64 };
        // SAFETY: `event` lives through the call; the kernel checks both descriptors.
        let rc = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd, &mut event) };
        if rc == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Waits for an event or for `timeout`; a signal counts as a wait without events. Returns how many
    /// events [`Epoll::event`] has.
    pub(crate) fn wait(&mut self, timeout: Duration) -> io::Result<usize> {
        let limit = libc::timespec {
            tv_sec: timeout.as_secs().min(i32::MAX as u64) as libc::time_t,
            tv_nsec: timeout.subsec_nanos() as libc::c_long,
        };
        // SAFETY: the buffer holds EVENTS_MAX events and both pointers live through the call; a null signal
        // mask is allowed. By number, because glibc has the wrapper only since 2.35.
        let n = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS_MAX as libc::c_int,
                &limit as *const libc::timespec,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        self.ready = match usize::try_from(n) {
            Ok(n) => n,
            Err(_) => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => 0,
                e => return Err(e),
            },
        };
        Ok(self.ready)
    }

    /// Event `index` of the last wait.
    pub(crate) fn event(&self, index: usize) -> Event {
        let raw = self.events[..self.ready][index];
        let bits = raw.events as i32;
        Event {
            token: raw.u64 as usize,
            // A broken connection is found out by reading from it.
            readable: bits & (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) != 0,
            writable: bits & libc::EPOLLOUT != 0,
        }
    }
}

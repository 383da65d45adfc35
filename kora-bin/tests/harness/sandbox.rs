//! What is taken away from a server between fork and exec: resource limits, capabilities, system calls.
//!
//! Limits on locked memory and descriptors do not bind a process with `CAP_IPC_LOCK` or `CAP_SYS_RESOURCE`, so these
//! leave the bounding set first; a test run that is not root has neither and the drop is refused, which is as good.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

const CAP_IPC_LOCK: libc::c_ulong = 14;
const CAP_SYS_RESOURCE: libc::c_ulong = 24;

/// Restrictions for one server. The default takes nothing away.
#[derive(Clone, Default)]
pub struct Sandbox {
    /// Soft and hard RLIMIT_NOFILE.
    pub descriptors: Option<u64>,
    /// Soft and hard RLIMIT_MEMLOCK in bytes; also drops the capabilities that would lift it.
    pub locked_bytes: Option<u64>,
    /// Soft and hard RLIMIT_FSIZE in bytes. Writing beyond it fails with EFBIG, as on a full disk; the signal that also comes of it is ignored.
    pub file_bytes: Option<u64>,
    /// `io_uring_setup` fails with this errno, as under a container's seccomp profile.
    pub io_uring_errno: Option<i32>,
}

impl Sandbox {
    pub fn apply(&self, command: &mut Command) {
        let sandbox = self.clone();
        // SAFETY: between fork and exec only async-signal-safe calls are allowed: `enter` makes system calls
        // and touches its own stack, it neither allocates nor locks.
        unsafe {
            command.pre_exec(move || sandbox.enter());
        }
    }

    fn enter(&self) -> io::Result<()> {
        // A test that is killed must not leave servers behind.
        // SAFETY: prctl with plain integer arguments.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
        if let Some(count) = self.descriptors {
            limit(libc::RLIMIT_NOFILE, count)?;
        }
        if let Some(bytes) = self.file_bytes {
            // SAFETY: no handler is installed; an ignored signal stays so over exec.
            unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
            limit(libc::RLIMIT_FSIZE, bytes)?;
        }
        if let Some(bytes) = self.locked_bytes {
            for capability in [CAP_IPC_LOCK, CAP_SYS_RESOURCE] {
                // SAFETY: prctl with plain integer arguments. Refused without CAP_SETPCAP, where there is nothing to drop.
                let _ = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
            }
            limit(libc::RLIMIT_MEMLOCK, bytes)?;
        }
        if let Some(errno) = self.io_uring_errno {
            forbid_io_uring(errno)?;
        }
        Ok(())
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn limit(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let limits = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: `limits` is a valid rlimit that outlives the call.
    check(unsafe { libc::setrlimit(resource, &limits) })
}

/// A classic BPF program over `seccomp_data`, whose first word is the system call's number:
/// number == io_uring_setup ? fail with errno : allow.
fn forbid_io_uring(errno: i32) -> io::Result<()> {
    const fn statement(code: u32, k: u32) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
    }
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: libc::SYS_io_uring_setup as u32,
        },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | (errno as u32 & 0xffff)),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: `filter` points at `program`; both outlive the calls and the kernel copies them.
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        check(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter))
    }
}

//! Whether this machine can run the server: asked before the first executor starts, so that what is missing is one
//! line that names the setting to change and not an error number from somewhere inside a ring.
//!
//! The facts are collected first and judged by a pure function, which the tests give the facts of machines that are
//! hard to come by.

use std::fs;
use std::io;

use io_uring::IoUring;
use thiserror::Error;

use crate::config::Config;
use crate::cores;
use crate::limits::{Limits, ProcessLimits, Resource, MEMLOCK_MIN_BYTES, MEMLOCK_PER_WORKER_BYTES};

/// What the judgement rests on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Release of the running kernel.
    pub kernel: String,
    /// Cores that the process may run on.
    pub allowed_cores: usize,
    /// Hard limit of locked memory in bytes; the soft one is raised to it before the first executor.
    pub memlock_bytes: u64,
    /// Whether the process has CAP_IPC_LOCK and the kernel does not count its pinned memory.
    pub unlimited_memlock: bool,
    /// The sysctl `kernel.io_uring_disabled`, where the kernel has it (6.6 and later).
    pub io_uring_disabled: Option<u32>,
    /// Whether a seccomp filter is in force.
    pub seccomp: bool,
    /// Result of making a plain ring: the error number if it failed.
    pub plain_ring: Result<(), i32>,
    /// Result of making a ring with a single issuer and deferred task work, which the sockets need.
    pub socket_ring: Result<(), i32>,
}

impl Facts {
    /// The facts of this process; makes two small rings and closes them again.
    pub fn of_this_process() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        const CAP_IPC_LOCK: u32 = 14;
        let capabilities = field("CapEff").and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
        let made = |ring: io::Result<IoUring>| ring.map(drop).map_err(|e| e.raw_os_error().unwrap_or(0));
        Ok(Facts {
            kernel: read_trimmed("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".into()),
            allowed_cores: cores::allowed(),
            memlock_bytes: ProcessLimits.get(Resource::Memlock)?.hard,
            unlimited_memlock: capabilities >> CAP_IPC_LOCK & 1 == 1,
            io_uring_disabled: read_trimmed("/proc/sys/kernel/io_uring_disabled")
                .and_then(|n| n.parse().ok()),
            seccomp: field("Seccomp").is_some_and(|mode| mode != "0"),
            plain_ring: made(IoUring::new(4)),
            socket_ring: made(IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(4)),
        })
    }
}

fn read_trimmed(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// A machine that can run the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingReport {
    /// Release of the running kernel.
    pub kernel: String,
    /// Cores that the process may run on.
    pub allowed_cores: usize,
    /// Executors that will be started.
    pub workers: usize,
    /// What will work, but worse than it could: one line each, with the setting to change.
    pub warnings: Vec<String>,
}

impl RingReport {
    /// The one line at the start of the log; `ring_features` is how the socket rings were set up.
    pub fn start_line(&self, ring_features: &str) -> String {
        let RingReport { kernel, allowed_cores, workers, .. } = self;
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "kora {version}, kernel {kernel}, cores {allowed_cores}, workers {workers}, ring {ring_features}"
        )
    }
}

/// What keeps the server from running here, each with the setting to change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PreflightError {
    /// The limits of the process cannot be read.
    #[error("cannot read the limits of this process: {0}")]
    Unreadable(String),
    /// `io_uring_setup` does not exist: the kernel is older than 5.1 or built without it.
    #[error(
        "io_uring is not in this kernel ({kernel}): run Linux 6.1 or later, built with CONFIG_IO_URING=y"
    )]
    Absent {
        /// Release of the running kernel.
        kernel: String,
    },
    /// A seccomp filter answers in the kernel's place: the profile of a container runtime or of a systemd unit.
    #[error(
        "io_uring is forbidden by a seccomp filter: allow io_uring_setup, io_uring_enter and io_uring_register \
         (docker run --security-opt seccomp=PROFILE, SystemCallFilter=@aio in a systemd unit)"
    )]
    Seccomp,
    /// The administrator has switched io_uring off.
    #[error(
        "io_uring is forbidden by kernel.io_uring_disabled = {value}: run sysctl -w kernel.io_uring_disabled=0{}",
        if *.value == 1 { ", or add this user's group to kernel.io_uring_group" } else { "" }
    )]
    Disabled {
        /// Value of the sysctl.
        value: u32,
    },
    /// A security module (SELinux, AppArmor) or something unknown refuses.
    #[error("io_uring is forbidden by a security policy of this machine: allow io_uring for this process (ausearch -m avc shows SELinux's reason)")]
    Forbidden,
    /// The kernel has io_uring but not the setup that the sockets need.
    #[error("kernel {kernel} is too old: its io_uring has no deferred task run; run Linux 6.1 or later")]
    TooOld {
        /// Release of the running kernel.
        kernel: String,
    },
    /// Rings cannot be made for a reason that is none of the above.
    #[error("io_uring cannot be set up: {error}{remedy}")]
    Setup {
        /// What the system said.
        error: String,
        /// What may help; starts with a separator or is empty.
        remedy: &'static str,
    },
    /// The executors' library refuses to start.
    #[error(
        "the limit of locked memory is {} KiB, and an executor needs {} KiB: raise it to {} KiB (ulimit -l {2}, \
         LimitMEMLOCK={2}K in the systemd unit, --ulimit memlock={} of docker run)",
        .limit_bytes / 1024, MEMLOCK_MIN_BYTES / 1024, .wanted_bytes / 1024, .wanted_bytes
    )]
    Memlock {
        /// The hard limit.
        limit_bytes: u64,
        /// What lets every executor pin its memory.
        wanted_bytes: u64,
    },
    /// An executor has a core of its own.
    #[error("workers is {workers}, but this process may use {allowed_cores} cores: set workers to {allowed_cores} or less, or allow more cores (taskset, cpuset, AllowedCPUs)")]
    Cores {
        /// Executors asked for.
        workers: usize,
        /// Cores that the process may run on.
        allowed_cores: usize,
    },
}

/// Whether this process can run the server with this configuration.
pub fn check(config: &Config) -> Result<RingReport, PreflightError> {
    let facts = Facts::of_this_process().map_err(|error| PreflightError::Unreadable(error.to_string()))?;
    judge(config, &facts)
}

/// Whether a process with these facts can run the server with this configuration.
pub fn judge(config: &Config, facts: &Facts) -> Result<RingReport, PreflightError> {
    let kernel = facts.kernel.clone();
    match facts.plain_ring {
        Ok(()) => {}
        // Container runtimes answer calls that they do not allow with either number.
        Err(libc::ENOSYS) if facts.seccomp && has_io_uring(&kernel) => return Err(PreflightError::Seccomp),
        Err(libc::ENOSYS) => return Err(PreflightError::Absent { kernel }),
        Err(libc::EPERM | libc::EACCES) => {
            return Err(match facts.io_uring_disabled {
                Some(value) if value > 0 => PreflightError::Disabled { value },
                _ if facts.seccomp => PreflightError::Seccomp,
                _ => PreflightError::Forbidden,
            })
        }
        Err(number) => return Err(setup_error(number)),
    }
    match facts.socket_ring {
        Ok(()) => {}
        Err(libc::EINVAL) => return Err(PreflightError::TooOld { kernel }),
        Err(number) => return Err(setup_error(number)),
    }
    let workers = config.workers;
    let wanted_bytes = MEMLOCK_PER_WORKER_BYTES * workers as u64;
    if facts.memlock_bytes < MEMLOCK_MIN_BYTES {
        return Err(PreflightError::Memlock { limit_bytes: facts.memlock_bytes, wanted_bytes });
    }
    if workers > facts.allowed_cores && !config.share_cores {
        return Err(PreflightError::Cores { workers, allowed_cores: facts.allowed_cores });
    }
    let mut warnings = vec![];
    if facts.memlock_bytes < wanted_bytes && !facts.unlimited_memlock {
        let (limit, wanted) = (facts.memlock_bytes / 1024, wanted_bytes / 1024);
        warnings.push(format!(
            "the limit of locked memory is {limit} KiB; {workers} workers pin {wanted} KiB, so some will do file I/O \
             without registered buffers: raise it (ulimit -l {wanted}, LimitMEMLOCK={wanted}K)"
        ));
    }
    Ok(RingReport { kernel, allowed_cores: facts.allowed_cores, workers, warnings })
}

fn setup_error(number: i32) -> PreflightError {
    let remedy = match number {
        libc::ENOMEM => "; raise the limits of locked memory (ulimit -l) and of the cgroup's memory",
        libc::EMFILE => "; raise the limit of open files (ulimit -n)",
        libc::ENFILE => "; raise the sysctl fs.file-max",
        _ => "",
    };
    PreflightError::Setup { error: io::Error::from_raw_os_error(number).to_string(), remedy }
}

/// Whether a kernel of this release has io_uring at all (5.1).
fn has_io_uring(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map_while(|word| word.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Facts {
        Facts {
            kernel: "6.1.0-40-amd64".into(),
            allowed_cores: 4,
            memlock_bytes: 64 << 20,
            unlimited_memlock: false,
            io_uring_disabled: None,
            seccomp: false,
            plain_ring: Ok(()),
            socket_ring: Ok(()),
        }
    }

    fn with_workers(workers: usize) -> Config {
        Config { workers, ..Config::default() }
    }

    #[test]
    fn a_good_machine_is_reported_in_one_line() {
        let report = judge(&with_workers(3), &good()).unwrap();
        assert_eq!(report.warnings, Vec::<String>::new());
        assert_eq!(
            report.start_line("single-issuer,defer-taskrun"),
            format!(
                "kora {}, kernel 6.1.0-40-amd64, cores 4, workers 3, ring single-issuer,defer-taskrun",
                env!("CARGO_PKG_VERSION")
            )
        );
    }

    #[test]
    fn each_obstacle_names_the_setting_to_change() {
        let eperm = Err(libc::EPERM);
        let cases = [
            (
                Facts { plain_ring: Err(libc::ENOSYS), kernel: "4.19.0".into(), ..good() },
                "io_uring is not in this kernel (4.19.0): run Linux 6.1 or later, built with CONFIG_IO_URING=y",
            ),
            (Facts { plain_ring: Err(libc::ENOSYS), seccomp: true, ..good() }, "SystemCallFilter=@aio"),
            (
                Facts { plain_ring: eperm, seccomp: true, ..good() },
                "allow io_uring_setup, io_uring_enter and io_uring_register",
            ),
            (
                Facts { plain_ring: eperm, seccomp: true, io_uring_disabled: Some(2), ..good() },
                "io_uring is forbidden by kernel.io_uring_disabled = 2: run sysctl -w kernel.io_uring_disabled=0",
            ),
            (
                Facts { plain_ring: eperm, io_uring_disabled: Some(1), ..good() },
                "kernel.io_uring_disabled=0, or add this user's group to kernel.io_uring_group",
            ),
            (Facts { plain_ring: eperm, io_uring_disabled: Some(0), ..good() }, "by a security policy"),
            (
                Facts { socket_ring: Err(libc::EINVAL), kernel: "5.10.0-30".into(), ..good() },
                "kernel 5.10.0-30 is too old",
            ),
            (Facts { plain_ring: Err(libc::EMFILE), ..good() }, "raise the limit of open files (ulimit -n)"),
            (Facts { socket_ring: Err(libc::ENOMEM), ..good() }, "Cannot allocate memory (os error 12); raise"),
            (
                Facts { memlock_bytes: 64 << 10, ..good() },
                "the limit of locked memory is 64 KiB, and an executor needs 512 KiB: raise it to 9216 KiB \
                 (ulimit -l 9216, LimitMEMLOCK=9216K in the systemd unit, --ulimit memlock=9437184 of docker run)",
            ),
            (
                Facts { allowed_cores: 2, ..good() },
                "workers is 3, but this process may use 2 cores: set workers to 2 or less",
            ),
        ];
        for (facts, text) in cases {
            let message = judge(&with_workers(3), &facts).unwrap_err().to_string();
            assert!(message.contains(text), "{message}\nshould contain\n{text}");
            assert!(!message.contains('\n'), "one line: {message}");
        }
    }

    #[test]
    fn workers_may_share_cores_when_they_are_allowed_to() {
        let facts = Facts { allowed_cores: 2, ..good() };
        let config = Config { share_cores: true, ..with_workers(3) };
        assert_eq!(judge(&config, &facts).unwrap().workers, 3);
    }

    #[test]
    fn too_little_locked_memory_for_all_is_a_warning_unless_it_is_not_counted() {
        let facts = Facts { memlock_bytes: 8 << 20, ..good() };
        let warnings = judge(&with_workers(3), &facts).unwrap().warnings;
        assert!(warnings[0].contains("is 8192 KiB; 3 workers pin 9216 KiB"), "{warnings:?}");
        let facts = Facts { unlimited_memlock: true, ..facts };
        assert_eq!(judge(&with_workers(3), &facts).unwrap().warnings, Vec::<String>::new());
        assert_eq!(judge(&with_workers(2), &good()).unwrap().warnings, Vec::<String>::new());
    }

    #[test]
    fn the_facts_of_this_process_name_its_kernel() {
        let facts = Facts::of_this_process().unwrap();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(facts.kernel, kernel.trim());
        assert!(facts.allowed_cores >= 1);
    }
}

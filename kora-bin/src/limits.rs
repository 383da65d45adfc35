//! The process's resource limits: file descriptors for the clients, locked memory for the rings.
//!
//! Systems give a process 1,024 descriptors by default for the sake of select(2) and leave it to the process to ask for
//! more; locked memory likewise. Each limit is a soft value that the kernel enforces and a hard value up to which the
//! process may raise it; with CAP_SYS_RESOURCE it may raise the hard one too.

use std::io;

pub use kora_net::limits::{NOFILE_PER_EXECUTOR, NOFILE_RESERVED};
/// glommio refuses to start an executor under this limit of locked memory (bytes).
pub const MEMLOCK_MIN_BYTES: u64 = 512 * 1024;
/// Memory that each executor pins: glommio registers its 1 MiB of I/O memory with three rings (bytes).
pub const MEMLOCK_PER_WORKER_BYTES: u64 = 3 * 1024 * 1024;

const _: () = assert!(MEMLOCK_MIN_BYTES <= MEMLOCK_PER_WORKER_BYTES);

/// A soft and a hard limit; `u64::MAX` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What the kernel enforces.
    pub soft: u64,
    /// Up to which the process may raise it.
    pub hard: u64,
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Open file descriptors.
    Nofile,
    /// Bytes of locked memory.
    Memlock,
}

/// A place where limits are read and set: the process, or a test's idea of one.
pub trait Limits {
    /// The limit in force.
    fn get(&self, resource: Resource) -> io::Result<Limit>;
    /// Changes it.
    fn set(&mut self, resource: Resource, limit: Limit) -> io::Result<()>;
}

/// The limits of this process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessLimits;

impl Limits for ProcessLimits {
    fn get(&self, resource: Resource) -> io::Result<Limit> {
        system::get(resource)
    }

    fn set(&mut self, resource: Resource, limit: Limit) -> io::Result<()> {
        system::set(resource, limit)
    }
}

/// How many clients there is room for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRoom {
    /// `max_clients`, lowered to what the limit allows; may be 0.
    pub max_clients: u32,
    /// One line that says why it was lowered and what to change.
    pub warning: Option<String>,
}

/// Raises the soft limit of open files so far that `max_clients` fit beside the server's own descriptors, and the hard
/// one if the process may; where neither is allowed, says how many clients fit.
pub fn raise_nofile(limits: &mut impl Limits, max_clients: u32, workers: usize) -> io::Result<ClientRoom> {
    let own = NOFILE_RESERVED + NOFILE_PER_EXECUTOR * workers as u64;
    let needed = u64::from(max_clients) + own;
    let now = limits.get(Resource::Nofile)?;
    if now.soft >= needed {
        return Ok(ClientRoom { max_clients, warning: None });
    }
    let raised = limits.set(Resource::Nofile, Limit { soft: needed, hard: now.hard.max(needed) });
    if raised.is_ok() {
        return Ok(ClientRoom { max_clients, warning: None });
    }
    let reached = if limits.set(Resource::Nofile, Limit { soft: now.hard, hard: now.hard }).is_ok() {
        now.hard
    } else {
        now.soft
    };
    let room = reached.saturating_sub(own).min(u64::from(max_clients)) as u32;
    let happened = match room {
        0 => "no client fits".to_owned(),
        _ => format!("max_clients lowered from {max_clients} to {room}"),
    };
    let warning = format!(
        "{happened}: the limit of open files is {reached}; raise it to {needed} (ulimit -n {needed}, \
         LimitNOFILE={needed} in the systemd unit, --ulimit nofile={needed} of docker run)"
    );
    Ok(ClientRoom { max_clients: room, warning: Some(warning) })
}

/// Raises the soft limit of locked memory to the hard one, before the first executor; returns the soft limit in force.
pub fn raise_memlock(limits: &mut impl Limits) -> io::Result<u64> {
    let now = limits.get(Resource::Memlock)?;
    if now.soft < now.hard {
        limits.set(Resource::Memlock, Limit { soft: now.hard, hard: now.hard })?;
    }
    Ok(now.hard)
}

/// The system calls.
mod system {
    use std::io;

    use super::{Limit, Resource};

    fn number(resource: Resource) -> libc::__rlimit_resource_t {
        match resource {
            Resource::Nofile => libc::RLIMIT_NOFILE,
            Resource::Memlock => libc::RLIMIT_MEMLOCK,
        }
    }

    pub(super) fn get(resource: Resource) -> io::Result<Limit> {
        let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the pointer is to a live rlimit64, which is all that the call writes.
        if unsafe { libc::getrlimit64(number(resource), &mut limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Limit { soft: limit.rlim_cur, hard: limit.rlim_max })
    }

    pub(super) fn set(resource: Resource, limit: Limit) -> io::Result<()> {
        let limit = libc::rlimit64 { rlim_cur: limit.soft, rlim_max: limit.hard };
        // SAFETY: the pointer is to a live rlimit64, which the call only reads.
        if unsafe { libc::setrlimit64(number(resource), &limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process without privileges, unless `may_raise_hard_to` says otherwise.
    struct Model {
        nofile: Limit,
        memlock: Limit,
        may_raise_hard_to: u64,
    }

    impl Limits for Model {
        fn get(&self, resource: Resource) -> io::Result<Limit> {
            Ok(if resource == Resource::Nofile { self.nofile } else { self.memlock })
        }

        fn set(&mut self, resource: Resource, limit: Limit) -> io::Result<()> {
            let now = self.get(resource)?;
            if limit.soft > limit.hard || limit.hard > now.hard.max(self.may_raise_hard_to) {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            let place = if resource == Resource::Nofile { &mut self.nofile } else { &mut self.memlock };
            *place = limit;
            Ok(())
        }
    }

    fn model(soft: u64, hard: u64) -> Model {
        let limit = Limit { soft, hard };
        Model { nofile: limit, memlock: limit, may_raise_hard_to: 0 }
    }

    #[test]
    fn the_soft_limit_of_files_is_raised_no_further_than_needed() {
        let mut process = model(1024, 1 << 20);
        let room = raise_nofile(&mut process, 10_000, 2).unwrap();
        assert_eq!(room, ClientRoom { max_clients: 10_000, warning: None });
        assert_eq!(process.nofile, Limit { soft: 10_064, hard: 1 << 20 });
    }

    #[test]
    fn a_limit_that_suffices_is_left_alone() {
        let mut process = model(20_000, 30_000);
        assert_eq!(raise_nofile(&mut process, 10_000, 2).unwrap().warning, None);
        assert_eq!(process.nofile, Limit { soft: 20_000, hard: 30_000 });
    }

    #[test]
    fn a_privileged_process_raises_the_hard_limit_too() {
        let mut process = Model { may_raise_hard_to: 1 << 30, ..model(1024, 4096) };
        assert_eq!(raise_nofile(&mut process, 10_000, 1).unwrap().max_clients, 10_000);
        assert_eq!(process.nofile, Limit { soft: 10_048, hard: 10_048 });
    }

    #[test]
    fn clients_are_lowered_to_what_a_hard_limit_allows_and_the_warning_names_the_settings() {
        let mut process = model(1024, 4096);
        let room = raise_nofile(&mut process, 10_000, 1).unwrap();
        assert_eq!(room.max_clients, 4096 - 48);
        assert_eq!(process.nofile.soft, 4096);
        let warning = room.warning.unwrap();
        assert!(
            warning.starts_with("max_clients lowered from 10000 to 4048: the limit of open files is 4096;"),
            "{warning}"
        );
        assert!(warning.contains("ulimit -n 10048") && warning.contains("LimitNOFILE=10048"), "{warning}");
    }

    #[test]
    fn a_limit_below_the_servers_own_files_leaves_no_clients() {
        let room = raise_nofile(&mut model(20, 20), 10_000, 1).unwrap();
        assert_eq!(room.max_clients, 0);
        let warning = room.warning.unwrap();
        assert!(
            warning.starts_with("no client fits: the limit of open files is 20; raise it to 10048"),
            "{warning}"
        );
    }

    #[test]
    fn locked_memory_is_raised_to_the_hard_limit() {
        let mut process = model(64 << 10, 8 << 20);
        assert_eq!(raise_memlock(&mut process).unwrap(), 8 << 20);
        assert_eq!(process.memlock, Limit { soft: 8 << 20, hard: 8 << 20 });
    }

    #[test]
    fn the_limits_of_this_process_can_be_read_and_set_to_themselves() {
        for resource in [Resource::Nofile, Resource::Memlock] {
            let limit = ProcessLimits.get(resource).unwrap();
            assert!(limit.soft <= limit.hard);
            ProcessLimits.set(resource, limit).unwrap();
            assert_eq!(ProcessLimits.get(resource).unwrap(), limit);
        }
    }
}

//! Which CPUs a thread or a child process may run on.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::str::FromStr;

/// A list of CPUs as in `taskset -c`: `0`, `0,2`, `4-7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(pub Vec<usize>);

impl FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> Result<CpuList, String> {
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let number = |s: &str| s.trim().parse::<usize>().ok().filter(|&n| n < libc::CPU_SETSIZE as usize);
            match (number(from), number(to)) {
                (Some(from), Some(to)) if from <= to => cpus.extend(from..=to),
                _ => return Err(format!("\"{part}\" is no CPU; write a list such as 0,2 or 4-7")),
            }
        }
        let allowed = allowed();
        if let Some(cpu) = cpus.iter().find(|cpu| !allowed.contains(cpu)) {
            return Err(format!("CPU {cpu} is not available; this process may use {allowed:?}"));
        }
        Ok(CpuList(cpus))
    }
}

fn set_of(cpus: &[usize]) -> libc::cpu_set_t {
    // SAFETY: cpu_set_t is an array of integers, for which all zeroes is a value (the empty set).
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus {
        // SAFETY: CPU_SET writes inside `set`; libc ignores numbers beyond CPU_SETSIZE.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    set
}

/// Restricts the calling thread (0 is "the caller" for the system call).
fn apply(set: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: `set` is a valid cpu_set_t of the given size for the whole call.
    let rc = unsafe { libc::sched_setaffinity(0, std::mem::size_of::<libc::cpu_set_t>(), set) };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Pins the calling thread.
pub(crate) fn pin_thread(cpus: &[usize]) -> io::Result<()> {
    apply(&set_of(cpus))
}

/// The CPUs that this thread may use, ascending.
pub(crate) fn allowed() -> Vec<usize> {
    let mut set = set_of(&[]);
    // SAFETY: `set` is a valid cpu_set_t of the given size for the whole call.
    let rc = unsafe { libc::sched_getaffinity(0, std::mem::size_of::<libc::cpu_set_t>(), &mut set) };
    if rc != 0 {
        return Vec::new();
    }
    // SAFETY: CPU_ISSET reads inside `set` for numbers below CPU_SETSIZE.
    (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}

/// Makes the child start on these CPUs, and die with the thread that starts it, so that a comparison that
/// is killed leaves no server behind.
pub(crate) fn pin_child(command: &mut Command, cpus: &[usize]) {
    let set = set_of(cpus);
    // SAFETY: the closure runs between fork and exec; it makes two system calls on data that was built
    // before the fork, allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || {
            apply(&set)?;
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_like_taskset_reads_them() {
        let first = allowed()[0];
        assert_eq!(first.to_string().parse::<CpuList>().unwrap().0, [first]);
        assert_eq!(format!("{first}-{first}").parse::<CpuList>().unwrap().0, [first]);
        assert_eq!(format!("{first},{first}").parse::<CpuList>().unwrap().0, [first, first]);
    }

    #[test]
    fn a_bad_list_is_named() {
        for bad in ["", "x", "1,", "3-1", "-1", "99999999"] {
            let error = bad.parse::<CpuList>().unwrap_err();
            assert!(error.contains("is no CPU"), "{bad}: {error}");
        }
        let error = "1023".parse::<CpuList>().unwrap_err();
        assert!(error.contains("not available"), "{error}");
    }
}

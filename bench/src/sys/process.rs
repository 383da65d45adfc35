//! CPU time and memory of a process, from /proc (see proc(5)), and signals to it.
//!
//! `/proc/PID/stat` counts all threads of the process, those that have ended and the kernel threads that
//! io_uring runs on its behalf included, in ticks of 10 ms: over three seconds of a busy core that is a
//! resolution of a third of a percent.

use std::fs;
use std::time::Duration;

use crate::Error;

/// CPU time that a process has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuTime {
    pub(crate) user: Duration,
    pub(crate) sys: Duration,
}

/// CPU time of process `pid` since its start.
pub(crate) fn cpu_time(pid: u32) -> Result<CpuTime, Error> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
    let ticks = ticks_per_second();
    match cpu_ticks(&text) {
        Some((user, sys)) => Ok(CpuTime {
            user: Duration::from_secs_f64(user as f64 / ticks),
            sys: Duration::from_secs_f64(sys as f64 / ticks),
        }),
        None => Err(Error::Usage(format!("{path} has no CPU times in it"))),
    }
}

/// Fields 14 and 15, counted after the name, which may itself have spaces and brackets in it.
fn cpu_ticks(stat: &str) -> Option<(u64, u64)> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Resident memory of process `pid` in bytes (`VmRSS`).
pub(crate) fn resident_bytes(pid: u32) -> Result<u64, Error> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
    text.lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| Error::Usage(format!("{path} has no VmRSS in it")))
}

/// Time that processes, of anybody, have used on these CPUs.
pub(crate) fn time_on(cpus: &[usize]) -> Result<Duration, Error> {
    let text = fs::read_to_string("/proc/stat").map_err(Error::io("/proc/stat"))?;
    let total: u64 = cpus.iter().filter_map(|cpu| process_ticks(&text, *cpu)).sum();
    Ok(Duration::from_secs_f64(total as f64 / ticks_per_second()))
}

/// User, nice, system and steal: interrupts are not charged to processes.
fn process_ticks(stat: &str, cpu: usize) -> Option<u64> {
    let prefix = format!("cpu{cpu} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&prefix))?;
    let fields: Vec<u64> = line.split_ascii_whitespace().map(|f| f.parse().unwrap_or(0)).collect();
    Some([0, 1, 2, 7].iter().filter_map(|&i| fields.get(i)).sum())
}

fn ticks_per_second() -> f64 {
    // SAFETY: no pointers; the call only reads a constant of the system.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) as f64 }
}

/// Asks the process to end.
pub(crate) fn terminate(pid: u32) {
    // SAFETY: no pointers. The caller owns the child and has not waited for it, so the number is still its.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGTERM) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_does_not_move_the_fields() {
        let stat = "1234 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 111 222 13 14";
        assert_eq!(cpu_ticks(stat), Some((111, 222)));
        assert_eq!(cpu_ticks("1234 (x) S 1 2"), None);
    }

    #[test]
    fn the_time_of_a_cpu_leaves_out_idle_and_interrupts() {
        let stat =
            "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 100 100 100 100 4 50 50\ncpu10 7 0 0 0 0 0 0 0 0 0\n";
        assert_eq!(process_ticks(stat, 0), Some(10));
        assert_eq!(process_ticks(stat, 10), Some(7));
        assert_eq!(process_ticks(stat, 1), None);
    }

    #[test]
    fn work_shows_up_in_the_cpu_time() {
        let me = std::process::id();
        let before = cpu_time(me).unwrap();
        let begun = std::time::Instant::now();
        let mut sum = 0u64;
        while begun.elapsed() < Duration::from_millis(60) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let after = cpu_time(me).unwrap();
        assert!(after.user + after.sys > before.user + before.sys);
        assert!(resident_bytes(me).unwrap() > 100_000);
    }
}

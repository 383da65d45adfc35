//! The calling thread: its CPU time and how exactly its timers fire.

use std::time::Duration;

/// CPU time that the calling thread has used.
pub(crate) fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` lives through the call, and the clock exists on every Linux.
    let rc = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(rc, 0, "clock_gettime of a clock that always exists");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Lets timers of this thread fire at their time, instead of up to 50 us later, as is the default.
pub(crate) fn exact_timers() {
    // SAFETY: no pointers; the worst that can happen is that the setting is refused.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

//! SIGTERM and SIGINT stop the server in order; a second one stops it at once.
//!
//! The signals are blocked in every thread and one thread waits for them with sigwait(3). That thread is a normal
//! thread and not a signal handler, so the callback may lock, allocate and log, and no executor's system call is ever
//! interrupted by them. It needs no crate: four calls of libc.

use std::io;
use std::thread;

/// Exit code after a second signal: what a shell reports for a process that SIGINT ended.
pub const EXIT_SECOND_SIGNAL: i32 = 130;

/// Blocks SIGTERM and SIGINT for the calling thread and all threads that it starts later, ignores SIGHUP and SIGPIPE,
/// and calls `callback` once, on a thread of its own, when the first of the two arrives (with its name). A second one ends
/// the process with [`EXIT_SECOND_SIGNAL`].
///
/// To be called from `main` before any other thread is started: a thread that exists already keeps the default action,
/// which ends the process.
pub fn on_terminate(callback: impl FnOnce(&'static str) + Send + 'static) -> io::Result<()> {
    let signals = mask::block_termination()?;
    mask::ignore(libc::SIGHUP)?;
    mask::ignore(libc::SIGPIPE)?;
    thread::Builder::new().name("kora-signals".into()).spawn(move || {
        let name = match mask::wait(&signals) {
            libc::SIGINT => "SIGINT",
            _ => "SIGTERM",
        };
        // The stop may take its time on yet another thread; this one must be here for the second signal.
        let stop = thread::Builder::new().name("kora-stop".into()).spawn(move || callback(name));
        if let Err(error) = stop {
            tracing::error!(%error, "cannot start a thread to stop in order; stopping at once");
            mask::exit_at_once(EXIT_SECOND_SIGNAL);
        }
        mask::wait(&signals);
        mask::exit_at_once(EXIT_SECOND_SIGNAL);
    })?;
    Ok(())
}

/// The system calls.
mod mask {
    use std::io;
    use std::mem::MaybeUninit;

    /// Blocks SIGTERM and SIGINT in this thread; the set is what to wait for.
    pub(super) fn block_termination() -> io::Result<libc::sigset_t> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the whole set before anything reads it; the signal numbers are valid, so
        // sigaddset cannot fail; pthread_sigmask reads the set and may be given no place for the old mask.
        let (set, result) = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
            libc::sigaddset(set.as_mut_ptr(), libc::SIGINT);
            let result = libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
            (set.assume_init(), result)
        };
        if result == 0 {
            Ok(set)
        } else {
            Err(io::Error::from_raw_os_error(result))
        }
    }

    pub(super) fn ignore(signal: libc::c_int) -> io::Result<()> {
        // SAFETY: SIG_IGN is no code of ours, so nothing runs in signal context.
        if unsafe { libc::signal(signal, libc::SIG_IGN) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Waits for one of the blocked signals.
    pub(super) fn wait(set: &libc::sigset_t) -> libc::c_int {
        loop {
            let mut signal = 0;
            // SAFETY: the set is initialised and `signal` is a place for one number.
            if unsafe { libc::sigwait(set, &mut signal) } == 0 {
                return signal;
            }
        }
    }

    /// Ends the process without running destructors or exit handlers, which might wait for what hangs.
    pub(super) fn exit_at_once(code: i32) -> ! {
        // SAFETY: _exit has no precondition.
        unsafe { libc::_exit(code) }
    }
}

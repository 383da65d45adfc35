//! The real binary on machines that cannot run it: one line on standard error, exit code 1, and never a port in use.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

fn kora() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kora"));
    command.current_dir(std::env::temp_dir()).args(["--port", "0", "--workers", "1"]);
    let socket = std::env::temp_dir().join(format!("kora-preflight-{}.sock", std::process::id()));
    command.arg("--unix-socket").arg(socket);
    command
}

fn assert_refused(output: Output, text: &str) {
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let line = errors.lines().last().unwrap_or("");
    assert!(
        line.starts_with("kora: ") && line.contains(text),
        "{errors}\nshould end with a line with\n{text}"
    );
}

#[test]
fn too_little_locked_memory_is_refused_with_the_setting() {
    let mut command = kora();
    // SAFETY: setrlimit is async-signal-safe, and it reads only a value of this frame.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: 65536, rlim_max: 65536 };
            match libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    assert_refused(
        command.output().unwrap(),
        "the limit of locked memory is 64 KiB, and an executor needs 512 KiB",
    );
}

#[test]
fn io_uring_forbidden_by_a_filter_is_refused_with_the_calls_to_allow() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let mut command = kora();
        // SAFETY: prctl is async-signal-safe and `forbid_io_uring` allocates nothing.
        unsafe { command.pre_exec(move || forbid_io_uring(errno as u32)) };
        let text =
            "forbidden by a seccomp filter: allow io_uring_setup, io_uring_enter and io_uring_register";
        assert_refused(command.output().unwrap(), text);
    }
}

/// What a container runtime's profile does: `io_uring_setup` answers with this error, everything else is as ever.
fn forbid_io_uring(errno: u32) -> std::io::Result<()> {
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        step(LOAD_WORD, 0, 0, 0), // seccomp_data.nr
        step(JUMP_IF_EQUAL, 0, 1, libc::SYS_io_uring_setup as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the program's pointer and length are those of `steps`, which lives until the kernel has copied it.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            | libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program)
    };
    if result == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

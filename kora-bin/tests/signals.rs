//! Signals go to a process, so the test starts itself again as the process that gets them: once with the argument
//! `child`, which installs the handling, says "ready" and waits. Run with other arguments (cargo's filters) it is the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("child-stops") => child(true),
        Some("child-hangs") => child(false),
        Some("--list") => {}
        _ => {
            a_first_signal_calls_the_callback();
            a_second_signal_ends_a_process_whose_stop_hangs();
            hangup_and_broken_pipes_are_ignored();
            println!("signals: 3 tests passed");
        }
    }
}

/// Reports the signal on standard output; then ends with exit code 0, or hangs in its stop.
fn child(stops: bool) {
    kora::signals::on_terminate(move |name| {
        println!("{name}");
        std::io::stdout().flush().unwrap();
        if stops {
            std::process::exit(0);
        }
        loop {
            std::thread::park();
        }
    })
    .unwrap();
    println!("ready");
    loop {
        std::thread::park();
    }
}

struct Running(Child, BufReader<ChildStdout>);

impl Running {
    fn start(argument: &str) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new(program).arg(argument).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut running = Running(child, output);
        assert_eq!(running.line(), "ready");
        running
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: the child has not been waited for, so its number is still its own.
        assert_eq!(unsafe { libc::kill(self.0.id() as libc::pid_t, signal) }, 0);
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn end(mut self) -> std::process::ExitStatus {
        let mut rest = String::new();
        self.1.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "the callback is called once");
        self.0.wait().unwrap()
    }
}

fn a_first_signal_calls_the_callback() {
    for (signal, name) in [(libc::SIGTERM, "SIGTERM"), (libc::SIGINT, "SIGINT")] {
        let mut child = Running::start("child-stops");
        child.signal(signal);
        assert_eq!(child.line(), name);
        assert_eq!(child.end().code(), Some(0));
    }
}

fn a_second_signal_ends_a_process_whose_stop_hangs() {
    let mut child = Running::start("child-hangs");
    child.signal(libc::SIGTERM);
    assert_eq!(child.line(), "SIGTERM");
    child.signal(libc::SIGINT);
    let status = child.end();
    assert_eq!((status.code(), status.signal()), (Some(kora::signals::EXIT_SECOND_SIGNAL), None));
}

fn hangup_and_broken_pipes_are_ignored() {
    let mut child = Running::start("child-stops");
    child.signal(libc::SIGHUP);
    child.signal(libc::SIGPIPE);
    child.signal(libc::SIGTERM);
    assert_eq!(child.line(), "SIGTERM");
    assert_eq!(child.end().code(), Some(0));
}

//! How long another client waits while one command works on something large.
//!
//! For each case a fresh server is filled. Then one connection sends GETs of a small key, one after the other, and another
//! sends the command. The longest GET from then until a while after the reply (a server may free memory later) is the
//! stall. The longest one before, on the same filled server, says what the machine adds.
//!
//! The two share a core of the load, so whoever waits for the command sleeps most of the time and reads its reply in large
//! pieces. On a machine with other work the smallest of several rounds is the figure to look at.

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::compare::server::Server;
use crate::compare::subject::{Subject, SubjectArgs};
use crate::load::{self, KeySpace, LoadConfig, Workload};
use crate::sys::affinity::{self, CpuList};
use crate::Error;
pub use cases::{Case, Fill, CASES};

mod cases;

/// GETs alone, before the command.
const QUIET: Duration = Duration::from_millis(300);
/// GETs after the reply, while memory may be freed.
const AFTER: Duration = Duration::from_millis(700);
/// Between two looks at a reply that comes.
const POLL: Duration = Duration::from_micros(300);
/// Bytes of `__key__` and of `__data__` in the commands.
const MEMBER_BYTES: usize = 12;
const DATA_BYTES: usize = 16;
/// What is asked for behind the command, to know where its reply ends.
const MARK: &[u8] = b"the-end-of-the-reply";
const PROBE_KEY: &[u8] = b"{big}probe";

/// Measure how long a GET waits beside commands on large values.
#[derive(clap::Args, Debug)]
pub(crate) struct StallsArgs {
    #[command(flatten)]
    subjects: SubjectArgs,
    /// What to measure, by name; may be repeated [default: everything].
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// How often.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Kora's workers.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// The server's CPUs.
    #[arg(long, default_value = "0", value_name = "LIST")]
    server_cpu: CpuList,
    /// The load's CPUs.
    #[arg(long, default_value = "1", value_name = "LIST")]
    load_cpu: CpuList,
    /// Elements of the large values are divided by this: a quick look.
    #[arg(long, default_value_t = 1)]
    shrink: u64,
}

/// One measured command.
#[derive(Clone, Copy, Debug)]
struct Stall {
    /// From the command to the end of its reply.
    took: Duration,
    /// Longest GET meanwhile and a while after.
    longest: Duration,
    /// Longest GET before.
    quiet: Duration,
}

impl StallsArgs {
    /// Measures and prints. False when something failed on the way.
    pub(crate) fn run(&self) -> Result<bool, Error> {
        if self.rounds == 0 || self.shrink == 0 {
            return Err(Error::Usage("--rounds and --shrink must be at least 1".into()));
        }
        let cases = self.cases()?;
        let subjects = self.subjects.subjects(self.workers)?;
        let mut rows = Vec::new();
        let mut failed = false;
        for case in cases {
            let mut cells = Vec::new();
            for subject in &subjects {
                cells.push(match self.rounds_of(case, subject) {
                    Ok(stalls) => stalls,
                    Err(error) => {
                        eprintln!("kora-bench: {}: {}: {error}", case.name, subject.name);
                        failed = true;
                        Vec::new()
                    }
                });
            }
            let row = (case, cells);
            eprint!("{}", line(&row));
            rows.push(row);
        }
        print!("{}", table(&subjects, &rows));
        Ok(!failed)
    }

    fn cases(&self) -> Result<Vec<&'static Case>, Error> {
        if self.case.is_empty() {
            return Ok(CASES.iter().collect());
        }
        let named = |name: &String| {
            let names = || CASES.iter().map(|case| case.name).collect::<Vec<_>>().join(", ");
            let found = CASES.iter().find(|case| case.name == name);
            found.ok_or_else(|| Error::Usage(format!("there is no case \"{name}\"; cases are {}", names())))
        };
        self.case.iter().map(named).collect()
    }

    fn rounds_of(&self, case: &Case, subject: &Subject) -> Result<Vec<Stall>, Error> {
        (0..self.rounds).map(|_| self.round(case, subject)).collect()
    }

    fn round(&self, case: &Case, subject: &Subject) -> Result<Stall, Error> {
        let server = Server::start(subject, &self.server_cpu.0)?;
        let mut base = LoadConfig::to(server.endpoint.clone());
        base.cpus = self.load_cpu.0.clone();
        for fill in case.fill {
            let keys = KeySpace::new("", MEMBER_BYTES, (fill.times / self.shrink).max(1))?;
            let report = load::run(&base.fill(Workload::command(keys, fill.command, DATA_BYTES)?))?;
            if report.errors > 0 {
                return Err(Error::Refused {
                    command: fill.command.into(),
                    reply: report.error_samples.join("; "),
                });
            }
        }
        server.client()?.expect("SET", &[b"SET", PROBE_KEY, b"value"])?;
        // What filling has left to be done in the background.
        std::thread::sleep(QUIET);
        let stop = AtomicBool::new(false);
        let (waits, begun, ended) = std::thread::scope(|scope| {
            let prober = scope.spawn(|| {
                affinity::pin_thread(&self.load_cpu.0).map_err(Error::io("pinning a thread"))?;
                probe(&server, &stop)
            });
            let sent = self.send(case, &server);
            std::thread::sleep(AFTER);
            stop.store(true, Ordering::Relaxed);
            let waits = prober.join().expect("the prober does not panic")?;
            let (begun, ended) = sent?;
            Ok::<_, Error>((waits, begun, ended))
        })?;
        let longest = |counts: &dyn Fn(&Wait) -> bool| {
            let counted = waits.iter().filter(|wait| counts(wait));
            counted.map(|wait| wait.end - wait.start).max().unwrap_or_default()
        };
        Ok(Stall {
            took: ended - begun,
            longest: longest(&|wait| wait.end >= begun && wait.start <= ended + AFTER),
            // One that was under way when the command came has met it already.
            quiet: longest(&|wait| wait.end < begun),
        })
    }

    /// Sends the command and waits for the end of its reply; when that was.
    fn send(&self, case: &Case, server: &Server) -> Result<(Instant, Instant), Error> {
        affinity::pin_thread(&self.load_cpu.0).map_err(Error::io("pinning a thread"))?;
        let lost =
            |e: io::Error| Error::Lost { endpoint: server.endpoint.to_string(), detail: e.to_string() };
        let mut stream = server.client()?.into_stream();
        stream.set_read_timeout(Duration::from_secs(60)).map_err(lost)?;
        let words: Vec<&[u8]> = case.command.split(' ').map(str::as_bytes).collect();
        let mut request = frame(&words);
        request.extend(frame(&[b"ECHO", MARK]));
        let mut end = format!("${}\r\n", MARK.len()).into_bytes();
        end.extend_from_slice(MARK);
        end.extend_from_slice(b"\r\n");
        std::thread::sleep(QUIET);
        let begun = Instant::now();
        stream.write_all(&request).map_err(lost)?;
        let (mut head, mut tail, mut piece) = (Vec::new(), Vec::new(), vec![0; 1 << 20]);
        while !tail.ends_with(&end) {
            // Others need this core more: the GETs that are measured.
            std::thread::sleep(POLL);
            let len = stream.read(&mut piece).map_err(lost)?;
            if len == 0 {
                return Err(lost(io::ErrorKind::UnexpectedEof.into()));
            }
            if head.len() < 128 {
                head.extend_from_slice(&piece[..len.min(128)]);
            }
            tail.extend_from_slice(&piece[..len]);
            tail.drain(..tail.len().saturating_sub(end.len()));
        }
        let ended = Instant::now();
        if head.starts_with(b"-") {
            let reply = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            return Err(Error::Refused { command: case.command.into(), reply });
        }
        Ok((begun, ended))
    }
}

fn frame(words: &[&[u8]]) -> Vec<u8> {
    let mut frame = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        frame.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        frame.extend_from_slice(word);
        frame.extend_from_slice(b"\r\n");
    }
    frame
}

/// One GET.
struct Wait {
    start: Instant,
    end: Instant,
}

/// Sends GETs until it is told to stop. Only the longer half is kept: most are alike.
fn probe(server: &Server, stop: &AtomicBool) -> Result<Vec<Wait>, Error> {
    const SHORT: Duration = Duration::from_micros(40);
    let mut client = server.client()?;
    let mut waits = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        client.expect("GET", &[b"GET", PROBE_KEY])?;
        let end = Instant::now();
        if end - start > SHORT {
            waits.push(Wait { start, end });
        }
    }
    Ok(waits)
}

type Row = (&'static Case, Vec<Vec<Stall>>);

fn milliseconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms >= 100.0 {
        format!("{ms:.0}")
    } else if ms >= 10.0 {
        format!("{ms:.1}")
    } else {
        format!("{ms:.2}")
    }
}

/// The smallest of the rounds, and the largest where there are several.
fn spread(times: impl Iterator<Item = Duration> + Clone) -> String {
    match (times.clone().min(), times.max()) {
        (Some(min), Some(max)) if min == max => milliseconds(min),
        (Some(min), Some(max)) => format!("{}..{}", milliseconds(min), milliseconds(max)),
        _ => "-".into(),
    }
}

fn line((case, cells): &Row) -> String {
    let mut out = format!("| {} | `{}` |", case.name, case.command);
    for stalls in cells {
        let took = spread(stalls.iter().map(|stall| stall.took).min().into_iter());
        let longest = spread(stalls.iter().map(|stall| stall.longest));
        let quiet = spread(stalls.iter().map(|stall| stall.quiet).min().into_iter());
        let _ = write!(out, " {took} | **{longest}** | {quiet} |");
    }
    out.push('\n');
    out
}

fn table(subjects: &[Subject], rows: &[Row]) -> String {
    let mut out = String::from("\nTimes in ms: how long the command took, the longest GET of another client meanwhile (smallest..largest of the rounds), and the longest GET before.\n\n| case | command |");
    for subject in subjects {
        let _ = write!(out, " {} took | longest GET | before |", subject.name);
    }
    out.push_str("\n|---|---|");
    out.push_str(&"---:|---:|---:|".repeat(subjects.len()));
    out.push('\n');
    rows.iter().for_each(|row| out.push_str(&line(row)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_can_be_sent() {
        for case in CASES {
            assert!(!case.command.contains("  "), "{}", case.command);
            for fill in case.fill {
                let keys = KeySpace::new("", MEMBER_BYTES, fill.times).unwrap();
                Workload::command(keys, fill.command, DATA_BYTES).unwrap();
            }
        }
        let names: std::collections::BTreeSet<_> = CASES.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), CASES.len(), "names are different");
    }

    #[test]
    fn rows_show_the_smallest_and_the_largest_round() {
        let stall = |ms| Stall {
            took: Duration::from_millis(ms * 10),
            longest: Duration::from_millis(ms),
            quiet: Duration::from_micros(ms),
        };
        let row = (&CASES[0], vec![vec![stall(3), stall(2)], vec![]]);
        let text = line(&row);
        assert!(text.ends_with("| 20.0 | **2.00..3.00** | 0.00 | - | **-** | - |\n"), "{text}");
    }
}

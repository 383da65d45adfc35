//! SHUTDOWN, and DEBUG, which only sleeps.

use super::Served;
use crate::executor::Executor;
use crate::options::DebugCommand;
use crate::resp::encode::{Output, RespSink};
use kora_engine::args::is;
use kora_engine::error::Error;
use kora_engine::reply::Reply;
use std::time::Duration;

/// Who may not use DEBUG is told how to change that, in Redis's words.
const DEBUG_FORBIDDEN: Error = Error::new(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
);

/// What the words after SHUTDOWN ask for.
#[derive(Debug, PartialEq, Eq)]
enum Shutdown {
    Stop,
    Save,
    NoSave,
    Abort,
}

impl Shutdown {
    fn parse(words: &[&[u8]]) -> Result<Shutdown, Error> {
        let (mut save, mut no_save, mut other, mut abort) = (false, false, false, false);
        for word in words {
            match word {
                _ if is(word, "save") => save = true,
                _ if is(word, "nosave") => no_save = true,
                _ if is(word, "now") || is(word, "force") => other = true,
                _ if is(word, "abort") => abort = true,
                _ => return Err(Error::SYNTAX),
            }
        }
        match (save, no_save, abort) {
            (true, true, _) => Err(Error::SYNTAX),
            (_, _, true) if save || no_save || other => Err(Error::SYNTAX),
            (_, _, true) => Ok(Shutdown::Abort),
            (true, _, _) => Ok(Shutdown::Save),
            (_, true, _) => Ok(Shutdown::NoSave),
            _ => Ok(Shutdown::Stop),
        }
    }
}

/// SHUTDOWN. What was accepted is finished first; then the connection ends without a reply.
pub(super) fn shutdown(executor: &mut Executor, index: u32, argv: &[&[u8]]) -> Result<Served, Error> {
    match Shutdown::parse(&argv[1..])? {
        Shutdown::Abort => Err(Error::new("ERR No shutdown in progress.")),
        Shutdown::Save if executor.process.storage.is_none() => Err(super::save::NO_DIRECTORY),
        kind => {
            if let (Some(storage), true) = (&executor.process.storage, kind != Shutdown::Stop) {
                storage.snapshots.want_last(kind == Shutdown::Save);
            }
            let connection = executor.connection(index);
            connection.closing = true;
            tracing::info!(client = %connection.info.addr, "SHUTDOWN was asked for");
            executor.process.stop();
            Ok(Served::Silent)
        }
    }
}

/// DEBUG.
pub(super) fn debug(
    executor: &mut Executor,
    index: u32,
    argv: &[&[u8]],
    reply: &mut dyn Reply,
) -> Result<Served, Error> {
    let connection = executor.connection(index);
    let (local, protocol) = (connection.info.local, connection.protocol);
    let allowed = match executor.process.options.debug_command {
        DebugCommand::No => false,
        DebugCommand::Local => local,
        DebugCommand::Yes => true,
    };
    if !allowed {
        return Err(DEBUG_FORBIDDEN);
    }
    match argv {
        [_, word] if is(word, "help") => {
            let debug = executor.registry.find(b"debug").expect("it is being executed");
            super::help::write_lines(debug.spec, reply);
            Ok(Served::Replied)
        }
        [_, word, seconds] if is(word, "sleep") => {
            let time = duration(seconds)?;
            let (hub, me, count) = (executor.hub.clone(), executor.id, executor.count);
            Ok(Served::Task(Box::pin(async move {
                // The others first; this one sends them off and then sleeps at the same time.
                let others = (0..count).filter(|&target| target != me);
                let asleep: Vec<_> =
                    others.map(|target| hub.call(target, move |_| std::thread::sleep(time))).collect();
                hub.call(me, move |executor| {
                    executor.send_mail();
                    std::thread::sleep(time);
                })
                .await;
                for other in asleep {
                    other.await;
                }
                let mut out = Output::default();
                RespSink::new(&mut out, protocol).ok();
                out
            })))
        }
        _ => Err(super::subcommand_syntax(argv)),
    }
}

/// Seconds with a fraction; at most what a clock can add.
fn duration(text: &[u8]) -> Result<Duration, Error> {
    let seconds = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).ok_or(Error::NOT_FLOAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shutdown_takes_the_words_of_redis() {
        let parse = |line: &str| {
            let words: Vec<&[u8]> = line.split(' ').filter(|w| !w.is_empty()).map(str::as_bytes).collect();
            Shutdown::parse(&words)
        };
        assert_eq!(parse(""), Ok(Shutdown::Stop));
        assert_eq!(parse("NOSAVE now Force"), Ok(Shutdown::NoSave));
        assert_eq!(parse("save"), Ok(Shutdown::Save));
        assert_eq!(parse("abort"), Ok(Shutdown::Abort));
        for line in ["foo", "save nosave", "abort nosave", "abort now", "nosave now force foo"] {
            assert_eq!(parse(line), Err(Error::SYNTAX), "{line}");
        }
    }

    #[test]
    fn times_to_sleep_are_finite_and_not_negative() {
        assert_eq!(duration(b"0.01"), Ok(Duration::from_millis(10)));
        assert_eq!(duration(b"0"), Ok(Duration::ZERO));
        for text in ["", "x", "-1", "inf", "nan", "1e300"] {
            assert_eq!(duration(text.as_bytes()), Err(Error::NOT_FLOAT), "{text}");
        }
    }
}

//! SCRIPT and FUNCTION: the scripts and libraries that the process knows, and what is in progress.

use super::{subcommand_syntax, Served};
use crate::executor::Executor;
use crate::resp::encode::{Output, RespSink};
use crate::script::store::compiled;
use crate::script::{BUSY, BUSY_FUNCTION};
use kora_engine::args::is;
use kora_engine::command::ServerCommand;
use kora_engine::error::Error;
use kora_engine::glob::Glob;
use kora_engine::reply::Reply;
use kora_script::{
    Flags, Interpreter, Libraries, Library, LibrarySource, RestorePolicy, Step, ENGINE, LOADING_TIMED_OUT,
};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the code of a library may take to load, as in Redis.
const LOADING_TIME_MAX: Duration = Duration::from_millis(500);

/// Runs one of them.
pub(super) fn run(
    executor: &mut Executor,
    index: u32,
    server: ServerCommand,
    argv: &[&[u8]],
    reply: &mut dyn Reply,
) -> Result<Served, Error> {
    match server {
        ServerCommand::ScriptLoad => load(executor, argv, reply)?,
        ServerCommand::ScriptExists => exists(executor, argv, reply),
        ServerCommand::ScriptFlush => {
            flush_mode(argv, "ERR SCRIPT FLUSH only support SYNC|ASYNC option", true)?;
            executor.process.scripts.flush_scripts();
            reply.ok();
        }
        ServerCommand::ScriptDebug => match argv[2] {
            word if is(word, "no") => reply.ok(),
            word if is(word, "yes") || is(word, "sync") => {
                return Err(Error::new(
                    "ERR there is no debugger for scripts; only SCRIPT DEBUG NO is understood",
                ));
            }
            _ => return Err(Error::new("ERR Use SCRIPT DEBUG YES/SYNC/NO")),
        },
        ServerCommand::ScriptKill => return Ok(kill(executor, index, false)),
        ServerCommand::FunctionKill => return Ok(kill(executor, index, true)),
        ServerCommand::FunctionLoad => load_library(executor, argv, reply)?,
        ServerCommand::FunctionDelete => {
            let removed =
                executor.process.scripts.change_libraries(|libraries| Ok(libraries.remove(argv[2])));
            if removed.map_err(in_words)?.is_none() {
                return Err(Error::new("ERR Library not found"));
            }
            executor.log_functions();
            reply.ok();
        }
        ServerCommand::FunctionFlush => {
            flush_mode(argv, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option", false)?;
            let flushed = executor.process.scripts.change_libraries(|libraries| {
                *libraries = Libraries::default();
                Ok(())
            });
            flushed.map_err(in_words)?;
            executor.log_functions();
            reply.ok();
        }
        ServerCommand::FunctionDump => {
            let payload = executor.process.scripts.known().libraries.dump();
            reply.bulk(&payload);
        }
        ServerCommand::FunctionRestore => restore(executor, argv, reply)?,
        ServerCommand::FunctionList => list(executor, argv, reply)?,
        ServerCommand::FunctionStats => return Ok(stats(executor, index)),
        other => unreachable!("{other:?} is not one of them"),
    }
    Ok(Served::Replied)
}

fn in_words(error: kora_script::Error) -> Error {
    Error::owned(error.text().to_vec())
}

/// ASYNC or SYNC, or neither: there is next to nothing to free.
fn flush_mode(argv: &[&[u8]], refusal: &'static str, counts_words: bool) -> Result<(), Error> {
    match argv[2..] {
        [] => Ok(()),
        [mode] if is(mode, "async") || is(mode, "sync") => Ok(()),
        [_] => Err(Error::new(refusal)),
        _ if counts_words => Err(Error::new(refusal)),
        _ => Err(subcommand_syntax(argv)),
    }
}

fn load(executor: &mut Executor, argv: &[&[u8]], reply: &mut dyn Reply) -> Result<(), Error> {
    let script = Arc::new(compiled(&executor.scripting.copies.pool, argv[2])?);
    reply.bulk(script.sha());
    executor.process.scripts.load(script);
    Ok(())
}

fn exists(executor: &mut Executor, argv: &[&[u8]], reply: &mut dyn Reply) {
    let known = executor.process.scripts.known();
    reply.array(argv.len() - 2);
    for sha in &argv[2..] {
        reply.integer(known.scripts.get(sha).is_some() as i64);
    }
}

/// What an executor can say to SCRIPT KILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kill {
    NothingRuns,
    /// A function, where a script was meant, or the other way round.
    Another,
    HasWritten,
    Killed,
}

/// SCRIPT KILL and FUNCTION KILL.
fn kill(executor: &mut Executor, index: u32, functions: bool) -> Served {
    let (hub, count) = (executor.hub.clone(), executor.count);
    let protocol = executor.connection(index).protocol;
    Served::Task(Box::pin(async move {
        let kill = move |executor: &mut Executor| {
            let kill = executor.scripting.running().iter().map(|control| {
                if control.function.is_some() != functions {
                    Kill::Another
                } else if control.has_written.load(Ordering::Relaxed) {
                    Kill::HasWritten
                } else {
                    control.killed.store(true, Ordering::Relaxed);
                    Kill::Killed
                }
            });
            kill.max().unwrap_or(Kill::NothingRuns)
        };
        let outcome = hub.everywhere(count, kill).await.into_iter().max().expect("there is an executor");
        let mut out = Output::default();
        let mut reply = RespSink::new(&mut out, protocol);
        match outcome {
            Kill::Killed => reply.ok(),
            Kill::NothingRuns => reply.error(b"NOTBUSY No scripts in execution right now."),
            Kill::Another => {
                let busy = if functions { BUSY } else { BUSY_FUNCTION };
                reply.error(busy.text());
            }
            Kill::HasWritten => reply.error(
                b"UNKILLABLE Sorry the script already executed write commands against the dataset. You can \
                  either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE \
                  command.",
            ),
        }
        out
    }))
}

/// Runs the code of a library on an interpreter of this executor.
fn loaded(executor: &mut Executor, source: &LibrarySource) -> Result<Library, Error> {
    let pool = executor.scripting.copies.pool.clone();
    let interpreter: Interpreter = pool.take()?;
    let mut running = interpreter.load(source);
    let end = Instant::now() + LOADING_TIME_MAX;
    let mut is_over = || Instant::now() >= end;
    let mut step = running.start(&[], &[], &mut is_over);
    loop {
        step = match step {
            Step::Done(_) => break,
            Step::Pause => running.kill(LOADING_TIMED_OUT),
            Step::Log { level, line } => {
                crate::script::call::log(level, line);
                running.go_on(&mut is_over)
            }
            // The interpreter refuses commands while it loads; one that slipped through is refused here.
            Step::Call { .. } | Step::MayCall(_) => running
                .reply(b"-ERR redis.call can only be called inside a script invocation\r\n", &mut is_over),
        };
    }
    let (interpreter, library) = running.finish_loading().expect("it is done");
    pool.give_back(interpreter);
    library.map_err(in_words)
}

fn load_library(executor: &mut Executor, argv: &[&[u8]], reply: &mut dyn Reply) -> Result<(), Error> {
    let (code, options) = argv[2..].split_last().expect("the arity says so");
    let mut replace = false;
    for option in options {
        if !is(option, "replace") {
            return Err(Error::owned([b"ERR Unknown option given: ", *option].concat()));
        }
        replace = true;
    }
    let source = LibrarySource::new(code).map_err(in_words)?;
    executor.process.scripts.known().libraries.check_free(&source, replace).map_err(in_words)?;
    let library = Arc::new(loaded(executor, &source)?);
    let inserted = executor.process.scripts.change_libraries(|libraries| libraries.insert(library, replace));
    inserted.map_err(in_words)?;
    executor.log_functions();
    reply.bulk(source.name());
    Ok(())
}

fn restore(executor: &mut Executor, argv: &[&[u8]], reply: &mut dyn Reply) -> Result<(), Error> {
    let policy = match argv[3..] {
        [] => RestorePolicy::Append,
        [policy] => RestorePolicy::read(policy).map_err(in_words)?,
        _ => return Err(subcommand_syntax(argv)),
    };
    restore_dump(executor, argv[2], policy)?;
    executor.log_functions();
    reply.ok();
    Ok(())
}

/// Loads the libraries of a dump.
///
/// # Errors
/// It is none, or a library does not load; nothing is changed.
pub(crate) fn restore_dump(executor: &mut Executor, dump: &[u8], policy: RestorePolicy) -> Result<(), Error> {
    let sources = Libraries::sources_of(dump).map_err(in_words)?;
    let libraries: Vec<Arc<Library>> =
        sources.iter().map(|source| loaded(executor, source).map(Arc::new)).collect::<Result<_, _>>()?;
    let restored = executor.process.scripts.change_libraries(|known| known.restore(libraries, policy));
    restored.map_err(in_words)
}

fn list(executor: &mut Executor, argv: &[&[u8]], reply: &mut dyn Reply) -> Result<(), Error> {
    let mut pattern: Option<Glob> = None;
    let mut with_code = false;
    let mut words = argv[2..].iter();
    while let Some(word) = words.next() {
        if is(word, "withcode") && !with_code {
            with_code = true;
        } else if is(word, "libraryname") && pattern.is_none() {
            let text = words.next().ok_or(Error::new("ERR library name argument was not given"))?;
            pattern = Some(Glob::new(text));
        } else {
            return Err(Error::owned([b"ERR Unknown argument ", *word].concat()));
        }
    }
    let libraries = executor.process.scripts.known().libraries.clone();
    let wanted =
        |library: &&Arc<Library>| pattern.as_ref().is_none_or(|pattern| pattern.matches(library.name()));
    reply.array(libraries.iter().filter(wanted).count());
    for library in libraries.iter().filter(wanted) {
        reply.map(3 + with_code as usize);
        reply.bulk(b"library_name");
        reply.bulk(library.name());
        reply.bulk(b"engine");
        reply.bulk(ENGINE.as_bytes());
        reply.bulk(b"functions");
        reply.array(library.functions().len());
        for function in library.functions() {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(&function.name);
            reply.bulk(b"description");
            match &function.description {
                Some(description) => reply.bulk(description),
                None => reply.null(),
            }
            reply.bulk(b"flags");
            let flags: Vec<_> =
                Flags::NAMED.iter().filter(|(_, flag)| function.flags.contains(*flag)).collect();
            reply.set(flags.len());
            for (name, _) in flags {
                reply.simple(name);
            }
        }
        if with_code {
            reply.bulk(b"library_code");
            reply.bulk(library.source().text());
        }
    }
    Ok(())
}

/// FUNCTION STATS.
fn stats(executor: &mut Executor, index: u32) -> Served {
    let (hub, count) = (executor.hub.clone(), executor.count);
    let protocol = executor.connection(index).protocol;
    let (libraries, functions) = {
        let known = executor.process.scripts.known();
        (known.libraries.len(), known.libraries.functions_len())
    };
    Served::Task(Box::pin(async move {
        let first = |executor: &mut Executor| executor.scripting.running().first().cloned();
        let running =
            hub.everywhere(count, first).await.into_iter().flatten().max_by_key(|c| c.started.elapsed());
        let mut out = Output::default();
        let mut reply = RespSink::new(&mut out, protocol);
        reply.map(2);
        reply.bulk(b"running_script");
        match running {
            None => reply.null(),
            Some(control) => {
                reply.map(3);
                reply.bulk(b"name");
                reply.bulk(control.function.as_deref().unwrap_or_default());
                reply.bulk(b"command");
                reply.array(control.words.len());
                control.words.iter().for_each(|word| reply.bulk(word));
                reply.bulk(b"duration_ms");
                reply.integer(control.started.elapsed().as_millis() as i64);
            }
        }
        reply.bulk(b"engines");
        reply.map(1);
        reply.bulk(ENGINE.as_bytes());
        reply.map(2);
        reply.bulk(b"libraries_count");
        reply.integer(libraries as i64);
        reply.bulk(b"functions_count");
        reply.integer(functions as i64);
        out
    }))
}

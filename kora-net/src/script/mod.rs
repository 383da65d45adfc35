//! EVAL, EVALSHA and FCALL.
//!
//! Interpreters are `kora_script`'s; here is what drives them. A script holds whole shards, those that own its KEYS: so what it does there without having declared it
//! is atomic as well.
//!
//! | KEYS | what happens |
//! |---|---|
//! | on one shard | the script runs on the executor that owns it ([`alone`]), at once: nothing else can run in between, and nothing is locked. If its time slice ends, it holds its shard from then on, and goes on in later turns |
//! | on several | a coordinator ([`spread`]) on the executor of its connection holds them, and runs the script there; commands go to their shards |
//! | none | it runs on the executor of its connection, and may use no key, unless there is one shard or `script_undeclared_keys` lets it hold all |
//!
//! A script that has run for longer than `lua_time_limit` has everybody else told BUSY, until it ends or is killed.

pub mod alone;
pub mod call;
pub mod spread;
pub mod store;

use crate::executor::{Executor, KeptOrigin, SliceOrigin};
use crate::resp::encode::{Output, RespSink};
use crate::transaction::Waiter;
use call::Control;
use kora_engine::args::parse_i64;
use kora_engine::command::{Command, Flags as CommandFlags, ScriptCommand};
use kora_engine::error::Error;
use kora_engine::reply::{Protocol, Reply};
use kora_script::{Flags, Interpreter, Library, Running, Script};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Copies;

/// How long a script runs at a stretch before others have their turn.
const SLICE: Duration = Duration::from_millis(1);

/// What an executor has of scripts.
pub struct Scripting {
    /// Scripts, libraries, interpreters.
    pub copies: Copies,
    /// Scripts of one shard that go on in later turns.
    paused: VecDeque<alone::Alone>,
    /// The reply of the last command of a script; kept for its memory.
    reply: Output,
    /// Everything in progress beyond its first slice, and every coordinated script.
    running: Vec<Arc<Control>>,
}

impl Scripting {
    /// Nothing yet. Interpreters may take so many bytes each.
    pub fn new(memory_limit: usize) -> Scripting {
        Scripting {
            copies: Copies::new(memory_limit),
            paused: VecDeque::new(),
            reply: Output::default(),
            running: Vec::new(),
        }
    }

    /// Whether a script waits to go on.
    pub fn has_work(&self) -> bool {
        !self.paused.is_empty()
    }

    /// What is in progress.
    pub fn running(&self) -> &[Arc<Control>] {
        &self.running
    }
}

/// What is run.
pub enum Source {
    /// EVAL, EVALSHA.
    Script(Arc<Script>),
    /// FCALL: the function of this name.
    Function(Arc<Library>, Vec<u8>),
}

/// A script command whose arguments are understood.
pub struct Prepared {
    source: Source,
    /// Which arguments are KEYS; ARGV follow them.
    keys: Range<usize>,
    read_only: bool,
    out_of_memory: bool,
}

impl Prepared {
    /// Begins it.
    pub fn begin(&self, interpreter: Interpreter, protocol: Protocol) -> Running {
        match &self.source {
            Source::Script(script) => interpreter.evaluate(script, protocol),
            Source::Function(library, name) => interpreter.invoke(library, name, protocol),
        }
    }

    /// What others will know of it.
    fn control(&self, argv: &[&[u8]]) -> Control {
        Control {
            function: match &self.source {
                Source::Script(_) => None,
                Source::Function(_, name) => Some(name.clone()),
            },
            words: argv.iter().map(|word| word.to_vec()).collect(),
            started: Instant::now(),
            killed: AtomicBool::new(false),
            has_written: AtomicBool::new(false),
            is_slow: AtomicBool::new(false),
        }
    }
}

const NO_SCRIPT: Error = Error::new("NOSCRIPT No matching script. Please use EVAL.");

impl Executor {
    /// Understands the arguments of a script command.
    pub(crate) fn prepare_script(
        &mut self,
        kind: ScriptCommand,
        command: &Command,
        argv: &[&[u8]],
    ) -> Result<Prepared, Error> {
        let (store, copies) = (&self.process.scripts, &mut self.scripting.copies);
        copies.refresh(store);
        let bad_number = match kind {
            ScriptCommand::Fcall => "ERR Bad number of keys provided",
            _ => "ERR value is not an integer or out of range",
        };
        let function = match kind {
            ScriptCommand::Fcall => {
                Some(copies.function(argv[1]).ok_or(Error::new("ERR Function not found"))?)
            }
            _ => None,
        };
        if kind == ScriptCommand::EvalSha && argv[1].len() != 40 {
            return Err(NO_SCRIPT);
        }
        let count = parse_i64(argv[2]).ok_or(Error::new(bad_number))?;
        if count > (argv.len() - 3) as i64 {
            return Err(Error::new("ERR Number of keys can't be greater than number of args"));
        }
        let count = usize::try_from(count).map_err(|_| Error::new("ERR Number of keys can't be negative"))?;
        let (source, flags) = match function {
            Some((library, function)) => {
                (Source::Function(library.clone(), function.name.to_vec()), Some(function.flags))
            }
            None => {
                let script = match kind {
                    ScriptCommand::EvalSha => copies.script(store, argv[1]).ok_or(NO_SCRIPT)?,
                    _ => copies.script_of(store, argv[1])?,
                };
                let flags = script.flags();
                (Source::Script(script), flags)
            }
        };
        let asked_read_only = command.spec.flags.contains(CommandFlags::READONLY);
        let no_writes = flags.is_some_and(|flags| flags.contains(Flags::NO_WRITES));
        if asked_read_only && flags.is_some() && !no_writes {
            return Err(Error::new("ERR Can not execute a script with write flag using *_ro command."));
        }
        let read_only = asked_read_only || no_writes;
        let has_memory = self.has_memory();
        if let Some(flags) = flags {
            if !has_memory && !read_only && !flags.contains(Flags::ALLOW_OOM) {
                return Err(Error::new(
                    "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
                ));
            }
        }
        let allows = flags.is_some_and(|flags| flags.contains(Flags::ALLOW_OOM));
        Ok(Prepared { source, keys: 3..3 + count, read_only, out_of_memory: !has_memory && !allows })
    }

    /// Has a script known to others, until [`Executor::forget_script`].
    fn note_script(&mut self, control: &Arc<Control>) {
        self.scripting.running.push(control.clone());
    }

    /// It has ended.
    fn forget_script(&mut self, control: &Arc<Control>) {
        self.scripting.running.retain(|other| !Arc::ptr_eq(other, control));
        if control.is_slow.load(Ordering::Relaxed) {
            self.slow_counter(control).fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts the scripts, or the functions, of which everybody is told that they run for too long.
    fn slow_counter(&self, control: &Control) -> &AtomicU32 {
        match control.function {
            None => &self.process.slow_scripts,
            Some(_) => &self.process.slow_functions,
        }
    }

    /// What everybody is told while a script runs for too long.
    pub(crate) fn busy(&self) -> Error {
        match self.process.slow_scripts.load(Ordering::Relaxed) {
            0 => BUSY_FUNCTION,
            _ => BUSY,
        }
    }

    /// Tells those who wait for their keys on this shard that a script has them for longer.
    fn tell_busy(&mut self) {
        if self.locks.is_empty() {
            return;
        }
        let mut told: Vec<(SliceOrigin, Protocol)> = Vec::new();
        self.locks.dismiss(|waiter| match waiter {
            Waiter::Command(kept) => match kept.origin {
                KeptOrigin::Plain(origin) => {
                    told.push((origin, kept.protocol));
                    None
                }
                KeptOrigin::Blocking(_) => Some(Waiter::Command(kept)),
            },
            other => Some(other),
        });
        let busy = self.busy();
        for (origin, protocol) in told {
            let mut reply = Output::default();
            RespSink::new(&mut reply, protocol).error(busy.text());
            self.deliver_late(origin, reply);
        }
    }

    /// Looks whether a script runs for too long by now.
    fn watch_time(&mut self, control: &Control) {
        let limit = self.settings.lua_time_limit;
        if limit > 0
            && !control.is_slow.load(Ordering::Relaxed)
            && control.started.elapsed() >= Duration::from_millis(limit)
        {
            control.is_slow.store(true, Ordering::Relaxed);
            self.slow_counter(control).fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                milliseconds = control.started.elapsed().as_millis() as u64,
                "a script runs for longer than lua_time_limit; SCRIPT KILL (FUNCTION KILL for a function) ends it if it has not written"
            );
        }
    }
}

/// What everybody is told while a script runs for too long.
pub const BUSY: Error =
    Error::new("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.");
/// The same for a function.
pub const BUSY_FUNCTION: Error =
    Error::new("BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.");

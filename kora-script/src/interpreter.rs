//! An interpreter and a script in progress. See the head of the crate.

use std::ptr::NonNull;

use kora_engine::reply::Protocol;

use crate::cjson::Settings;
use crate::context::{Context, Event, Job, Lent, LentList, Outcome};
use crate::error::Error;
use crate::fiber::Fiber;
use crate::functions::{LoadedLibraries, Registered};
use crate::library::LibrarySource;
use crate::limits;
use crate::lua::Lua;
use crate::redis_api::on_instructions;
use crate::script::{ByDigest, Script};

/// Default of the collector: it begins a cycle when memory has doubled, and works twice as fast as memory is allocated.
const COLLECTOR_PAUSE: i32 = 200;
const COLLECTOR_STEP: i32 = 200;

/// One Lua state with its native stack and its compiled scripts. Runs one script at a time; not to be moved to another thread.
pub struct Interpreter {
    lua: Lua,
    fiber: Fiber,
    /// On the heap, at a fixed address: Lua knows it. Freed when the interpreter is dropped.
    context: NonNull<Context>,
    /// Pinned functions of scripts.
    compiled: ByDigest<i32>,
    /// Libraries with their pinned functions.
    pub(crate) libraries: LoadedLibraries,
}

impl Interpreter {
    /// A new interpreter. `memory_bytes` is the most that its state may hold, the scripts it knows and the one that runs together;
    /// a script that would take more fails with "not enough memory". An error is the kernel's, which gives no stack.
    pub fn new(memory_bytes: usize) -> std::io::Result<Interpreter> {
        const LEAST: usize = 1 << 20;
        let context = NonNull::from(Box::leak(Box::new(Context::new(memory_bytes.max(LEAST)))));
        let Some(lua) = Lua::create(context.as_ptr()) else {
            return Err(std::io::ErrorKind::OutOfMemory.into());
        };
        let fiber = match Fiber::new(lua, crate::worker::run) {
            Ok(fiber) => fiber,
            Err(error) => {
                lua.close();
                return Err(error);
            }
        };
        let mut interpreter = Interpreter {
            lua,
            fiber,
            context,
            compiled: ByDigest::default(),
            libraries: LoadedLibraries::default(),
        };
        interpreter.run(Job::Furnish);
        lua.count_hook(on_instructions, limits::HOOK_INSTRUCTIONS);
        Ok(interpreter)
    }

    fn context(&self) -> &Context {
        // SAFETY: allocated in `new`, freed in `drop`.
        unsafe { self.context.as_ref() }
    }

    /// Runs a job that does not come back before it is done.
    fn run(&mut self, job: Job) -> Outcome {
        self.context().job.set(job);
        self.context().slice_is_over.set(None);
        self.context().revive();
        let event = self.fiber.resume();
        assert!(event == Event::Done, "a job without a script: {event:?}");
        self.context().outcome.get()
    }

    /// Bytes that the state holds.
    pub fn memory_used(&self) -> usize {
        self.context().memory_used()
    }

    /// Compiles a script, unless it is compiled. Errors with Redis's text.
    pub fn check(&mut self, script: &Script) -> Result<(), Error> {
        self.compiled(script).map(|_| ())
    }

    #[inline]
    fn compiled(&mut self, script: &Script) -> Result<i32, Error> {
        if let Some(&function) = self.compiled.get(script.digest()) {
            return Ok(function);
        }
        self.compile(script)
    }

    #[cold]
    fn compile(&mut self, script: &Script) -> Result<i32, Error> {
        if self.compiled.len() >= limits::COMPILED_MAX {
            self.forget_scripts();
        }
        self.context().lent.set(Lent::of(script.code()));
        match self.run(Job::Compile) {
            Outcome::Function(function) => {
                self.compiled.insert(*script.digest(), function);
                Ok(function)
            }
            _ => Err(Error::of(self.context().output.borrow())),
        }
    }

    /// Forgets compiled scripts (SCRIPT FLUSH).
    pub fn forget_scripts(&mut self) {
        for (_, function) in self.compiled.drain() {
            self.lua.unpin(function);
        }
        self.lua.collect();
    }

    /// Begins a script, which runs with [`Running::start`]. Its reply will be encoded for `protocol`.
    pub fn evaluate(mut self, script: &Script, protocol: Protocol) -> Running {
        match self.compiled(script) {
            Ok(function) => self.begin(Job::Evaluate(function), script.sha(), protocol),
            Err(error) => self.failed(error),
        }
    }

    /// Begins a job whose first resumption fails with the error.
    pub(crate) fn failed(self, error: Error) -> Running {
        let output = self.context().output.borrow();
        output.clear();
        crate::encode::line(output, b'-', error.text());
        self.context().error_was_counted.set(false);
        self.context().outcome.set(Outcome::Failure);
        Running { interpreter: self, state: State::Failed, source: None }
    }

    pub(crate) fn begin(self, job: Job, name: &[u8], protocol: Protocol) -> Running {
        let context = self.context();
        context.job.set(job);
        context.revive();
        context.reply_protocol.set(protocol);
        context.call_protocol.set(Protocol::Resp2);
        context.error_was_counted.set(false);
        context.json.set(Settings::DEFAULT);
        let kept = context.name.borrow();
        kept.clear();
        kept.extend_from_slice(name);
        Running { interpreter: self, state: State::Begun, source: None }
    }

    /// What the library that was loaded last has registered.
    pub(crate) fn take_registered(&mut self) -> Vec<Registered> {
        std::mem::take(self.context().registered.borrow())
    }

    /// Drops the pinned functions of a library.
    pub(crate) fn forget_functions(&mut self, functions: Vec<Registered>) {
        *self.context().registered.borrow() = functions;
        self.run(Job::Forget);
    }

    /// Makes the state ready for the next script.
    fn clean(&mut self) {
        let context = self.context();
        if context.killed.get() || context.collector_touched.get() {
            context.revive();
            context.collector_touched.set(false);
            self.lua.count_hook(on_instructions, limits::HOOK_INSTRUCTIONS);
            self.lua.restart_collector(COLLECTOR_PAUSE, COLLECTOR_STEP);
            self.lua.collect();
        }
        context.trim();
        if context.memory_used() > context.memory_limit() / 4 * 3 {
            self.lua.collect();
        }
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        self.lua.close();
        // SAFETY: leaked in `new`; the state that knew it is closed, and the fiber (dropped after this) is not resumed again.
        drop(unsafe { Box::from_raw(self.context.as_ptr()) });
    }
}

/// How far a script is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Begun,
    /// Did not compile.
    Failed,
    Suspended(Event),
    Done,
}

/// What a script that was resumed wants.
#[derive(Debug)]
pub enum Step<'a> {
    /// Execute this command (its name is the first argument) and go on with [`Running::reply`].
    Call {
        /// Name and arguments, at least one.
        arguments: &'a [&'a [u8]],
        /// The protocol in which the script wants the reply.
        protocol: Protocol,
    },
    /// May the script's user run this command? Go on with [`Running::reply`]: `:1`, `:0`, or an error when there is no such command.
    MayCall(&'a [&'a [u8]]),
    /// Write this line to the log and go on with [`Running::go_on`].
    Log {
        /// 0 debug, 1 verbose, 2 notice, 3 warning.
        level: u8,
        /// What the script has written.
        line: &'a [u8],
    },
    /// The time slice is over. Go on with [`Running::go_on`], or [`Running::kill`].
    Pause,
    /// The script has ended with this encoded reply. Get the interpreter back with [`Running::finish`].
    Done(&'a [u8]),
}

/// Says whether the time slice is over; asked every 50 us or so.
pub type SliceIsOver<'a> = &'a mut dyn FnMut() -> bool;

/// A script in progress. Dropping one that is not done drops its interpreter.
pub struct Running {
    interpreter: Interpreter,
    state: State,
    /// The library that it loads.
    source: Option<LibrarySource>,
}

impl Running {
    /// Begins the script with its KEYS and ARGV (which are copied).
    #[inline]
    pub fn start(&mut self, keys: &[&[u8]], arguments: &[&[u8]], slice_is_over: SliceIsOver) -> Step<'_> {
        if self.state == State::Failed {
            self.state = State::Done;
            return Step::Done(self.interpreter.context().output.borrow());
        }
        assert!(self.state == State::Begun, "started twice");
        let context = self.interpreter.context();
        context.keys.set(LentList::of(keys));
        context.arguments.set(LentList::of(arguments));
        if let Some(source) = &self.source {
            context.lent.set(Lent::of(source.code()));
        }
        self.resume(slice_is_over)
    }

    /// Gives the script the encoded reply of the command it has called.
    #[inline]
    pub fn reply(&mut self, encoded: &[u8], slice_is_over: SliceIsOver) -> Step<'_> {
        assert!(
            matches!(self.state, State::Suspended(Event::Call | Event::MayCall)),
            "a reply without a call: {:?}",
            self.state
        );
        self.interpreter.context().lent.set(Lent::of(encoded));
        self.resume(slice_is_over)
    }

    /// Goes on after a pause or a line of the log.
    pub fn go_on(&mut self, slice_is_over: SliceIsOver) -> Step<'_> {
        assert!(
            matches!(self.state, State::Suspended(Event::Pause | Event::Log)),
            "no pause: {:?}",
            self.state
        );
        self.resume(slice_is_over)
    }

    /// Has the script end, wherever it is, with an error that it cannot catch: `text` is for instance [`KILLED_BY_USER`].
    /// It runs no command any more; it pauses no more.
    pub fn kill(&mut self, text: &'static str) -> Step<'_> {
        assert!(matches!(self.state, State::Suspended(_)), "nothing to kill: {:?}", self.state);
        let context = self.interpreter.context();
        context.kill_text.set(text);
        context.killed.set(true);
        let mut never = || false;
        self.resume(&mut never)
    }

    #[inline]
    fn resume(&mut self, slice_is_over: SliceIsOver) -> Step<'_> {
        // SAFETY: only the lifetime is changed; the closure is called during this resumption only, and forgotten at its end.
        let lent: *mut (dyn FnMut() -> bool + 'static) = unsafe { std::mem::transmute(slice_is_over) };
        self.interpreter.context().slice_is_over.set(Some(lent));
        let event = self.interpreter.fiber.resume();
        let context = self.interpreter.context();
        context.slice_is_over.set(None);
        self.state = match event {
            Event::Done => State::Done,
            other => State::Suspended(other),
        };
        match event {
            Event::Call => {
                Step::Call { arguments: &context.call.borrow().list, protocol: context.call_protocol.get() }
            }
            Event::MayCall => Step::MayCall(&context.call.borrow().list),
            Event::Log => Step::Log { level: context.log_level.get(), line: context.output.borrow() },
            Event::Pause => Step::Pause,
            Event::Done => Step::Done(context.output.borrow()),
        }
    }

    pub(crate) fn with_source(mut self, source: LibrarySource) -> Running {
        self.source = Some(source);
        self
    }

    pub(crate) fn source(&self) -> Option<&LibrarySource> {
        self.source.as_ref()
    }

    /// For what needs no replies: the next step, whichever it is.
    pub(crate) fn start_or_go_on(&mut self, slice_is_over: SliceIsOver) -> Step<'_> {
        match self.state {
            State::Begun | State::Failed => self.start(&[], &[], slice_is_over),
            _ => self.go_on(slice_is_over),
        }
    }

    /// The interpreter of one that is done.
    pub(crate) fn into_interpreter(mut self) -> Interpreter {
        assert!(self.state == State::Done, "not done: {:?}", self.state);
        self.interpreter.clean();
        self.interpreter
    }

    /// The encoded reply of a script that is done.
    pub fn result(&self) -> Option<&[u8]> {
        (self.state == State::Done).then(|| self.interpreter.context().output.borrow().as_slice())
    }

    /// Whether the reply is an error that a command of the script has raised: commands' errors are counted when they run.
    pub fn error_was_counted(&self) -> bool {
        self.interpreter.context().error_was_counted.get()
    }

    /// Whether the script has raised an error (and not just returned one).
    pub fn has_failed(&self) -> bool {
        self.interpreter.context().outcome.get() == Outcome::Failure
    }

    /// The interpreter, for the next script. None when this one is not done: what it was doing is dropped, with its interpreter.
    #[inline]
    pub fn finish(self) -> Option<Interpreter> {
        if self.state != State::Done {
            return None;
        }
        Some(self.into_interpreter())
    }
}

/// What SCRIPT KILL says to a script, and FUNCTION KILL to a function.
pub const KILLED_BY_USER: &str = "Script killed by user with SCRIPT KILL...";

/// What a library is told that takes longer than half a second to load.
pub const LOADING_TIMED_OUT: &str = "FUNCTION LOAD timeout";

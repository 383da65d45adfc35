//! Lua interpreters for EVAL, EVALSHA and FCALL. They know nothing of shards, sockets or executors: whoever drives a script executes its commands.
//!
//! ```
//! use kora_script::{Interpreter, Script, Step};
//! use kora_engine::reply::Protocol;
//!
//! let script = Script::new(b"return redis.call('GET', KEYS[1])").unwrap();
//! let interpreter = Interpreter::new(64 << 20).unwrap();
//! let mut running = interpreter.evaluate(&script, Protocol::Resp2);
//! let mut never = || false; // the time slice is never over
//! let mut step = running.start(&[b"key"], &[], &mut never);
//! let reply = loop {
//!     step = match step {
//!         Step::Call { arguments, .. } => {
//!             assert_eq!(arguments, [&b"GET"[..], b"key"]);
//!             running.reply(b"$5\r\nvalue\r\n", &mut never)
//!         }
//!         Step::MayCall(_) => running.reply(b":1\r\n", &mut never),
//!         Step::Log { .. } | Step::Pause => running.go_on(&mut never),
//!         Step::Done(reply) => break reply,
//!     }
//! };
//! assert_eq!(reply, b"$5\r\nvalue\r\n");
//! let interpreter = running.finish().unwrap(); // for the next script
//! ```
//!
//! | type | what it is |
//! |---|---|
//! | [`Script`], [`Scripts`] | a source with SHA1 and flags; those that are known. Plain data |
//! | [`Interpreter`] | one Lua 5.1 state with Redis's sandbox, its native stack and its compiled scripts |
//! | [`Running`] | a script in progress. It owns its interpreter; several can be in progress, each on its own stack |
//! | [`Step`] | what a script that was resumed wants |
//! | [`LibrarySource`], [`Library`], [`Libraries`] | functions: what FUNCTION LOAD reads, what loading it has registered, all that are loaded. Plain data |
//!
//! # The way of a script
//!
//! [`interpreter`](Interpreter) gives the fiber a job (`context.rs`) and resumes it. The fiber (`fiber.rs`) runs `worker.rs`, which sets KEYS and ARGV, calls the pinned
//! function of the script and encodes what it returns (`encode.rs`). `redis.call` (`redis_api.rs`) leaves its arguments where Lua has them, suspends the fiber, and
//! decodes the reply (`decode.rs`) where the driver has it. Nothing on this way allocates but Lua itself.
//!
//! # What the driver decides
//!
//! Which commands a script may run (it answers a call with an error reply, for which [`refusals`] has Redis's words), when a time slice is over, and whether a
//! script that has paused goes on or is killed.
//!
//! # Lua
//!
//! All calls of Lua's C API are in `lua.rs`, with the invariants that make them sound. Globals and libraries cannot be changed (`sandbox.rs`), so
//! that nothing is left of a script for the next one.

mod bit;
mod cjson;
mod cmsgpack;
mod context;
mod decode;
mod encode;
mod error;
mod fiber;
mod functions;
mod interpreter;
mod library;
mod limits;
mod lua;
mod math;
mod packing;
mod payload;
mod redis_api;
mod sandbox;
mod script;
mod text;
mod worker;

pub use error::Error;
pub use interpreter::{Interpreter, Running, SliceIsOver, Step, KILLED_BY_USER, LOADING_TIMED_OUT};
pub use library::{Function, Libraries, Library, LibrarySource, RestorePolicy, ENGINE};
pub use script::{sha1_hex, Digest, Flags, Script, Scripts};

/// What the driver replies to a command that the script may not run. With `-` and a line end around them they are error replies.
pub mod refusals {
    /// There is no such command.
    pub const UNKNOWN_COMMAND: &str = "ERR Unknown Redis command called from script";
    /// Too few or too many arguments.
    pub const WRONG_ARITY: &str = "ERR Wrong number of args calling Redis command from script";
    /// A command that scripts may not run.
    pub const NOT_ALLOWED: &str = "ERR This Redis command is not allowed from script";
    /// A write in EVAL_RO, FCALL_RO or a script with the flag no-writes.
    pub const READ_ONLY: &str = "ERR Write commands are not allowed from read-only scripts.";
    /// A write when memory is over the limit.
    pub const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";
}

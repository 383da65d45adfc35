//! The table `redis` of scripts.

use std::ffi::c_int;

use kora_engine::double::Text;
use kora_engine::reply::Protocol;

use crate::context::{CallArguments, Context, Event};
use crate::decode::{self, Broken};
use crate::encode::cut;
use crate::lua::{Function, Lua, Type};

/// The version that scripts see: that of the Redis whose behaviour they get.
const VERSION: &str = "8.0.6";
const VERSION_NUMBER: f64 = 0x0008_0006 as f64;

/// Bits of `redis.set_repl`.
const REPL_AOF: f64 = 1.0;
const REPL_REPLICA: f64 = 2.0;

/// Functions of scripts and of functions.
const FUNCTIONS: [(&str, Function); 8] = [
    ("call", call),
    ("pcall", pcall),
    ("log", log),
    ("setresp", set_resp),
    ("sha1hex", sha1hex),
    ("error_reply", error_reply),
    ("status_reply", status_reply),
    ("set_repl", set_repl),
];

const CONSTANTS: [(&str, f64); 10] = [
    ("LOG_DEBUG", 0.0),
    ("LOG_VERBOSE", 1.0),
    ("LOG_NOTICE", 2.0),
    ("LOG_WARNING", 3.0),
    ("REDIS_VERSION_NUM", VERSION_NUMBER),
    ("REPL_NONE", 0.0),
    ("REPL_AOF", REPL_AOF),
    ("REPL_SLAVE", REPL_REPLICA),
    ("REPL_REPLICA", REPL_REPLICA),
    ("REPL_ALL", REPL_AOF + REPL_REPLICA),
];

/// Whose table it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    Scripts,
    Functions,
    /// Code of a library while it is loaded: it can register and log.
    Loading,
}

/// Pushes the table. Raises.
pub(crate) fn push_table(lua: Lua, whose: For) {
    lua.new_table(0, 24);
    for (name, value) in CONSTANTS {
        if whose != For::Loading || !name.starts_with("REPL") {
            lua.push_number(value);
            lua.raw_set_field(-2, name);
        }
    }
    lua.push_bytes(VERSION.as_bytes());
    lua.raw_set_field(-2, "REDIS_VERSION");
    let add = |name, function| {
        lua.push_function(function);
        lua.raw_set_field(-2, name);
    };
    if whose == For::Loading {
        add("log", log as Function);
        add("register_function", crate::functions::register_function);
        return;
    }
    for (name, function) in FUNCTIONS {
        add(name, function);
    }
    add("acl_check_cmd", acl_check_cmd);
    if whose == For::Scripts {
        add("breakpoint", breakpoint);
        add("debug", debug);
        add("replicate_commands", replicate_commands);
    }
}

/// Raises `{err="ERR text"}`: what redis.* functions raise.
pub(crate) fn fail(lua: Lua, text: &str) -> ! {
    decode::push_error(lua, text.as_bytes(), false);
    lua.error()
}

/// Ends a killed script where it is, again and again until it has ended.
///
/// An error raised in a hook would call the handler of `xpcall` while hooks are off, and a handler that loops could not be stopped. Errors of memory
/// call no handlers: so the script gets no memory any more, and a table is asked for. `pcall` catches that, too, but the hook of lines comes back.
pub(crate) fn fail_killed(lua: Lua, context: &Context) -> ! {
    context.note_place_of_kill(lua);
    lua.line_hook(on_instructions);
    context.starved.set(true);
    lua.new_table(0, 0);
    unreachable!("there is no memory")
}

/// The count hook: looks at the time. A killed script is ended at each line from then on, so that `pcall` cannot keep it alive.
pub(crate) unsafe extern "C-unwind" fn on_instructions(
    state: *mut mlua_sys::lua51::lua_State,
    _: *mut mlua_sys::lua51::lua_Debug,
) {
    let lua = Lua::in_hook(state);
    let context = lua.context();
    if context.look_at_the_time() {
        fail_killed(lua, context);
    }
}

extern "C-unwind" fn call(lua: Lua) -> c_int {
    run_command(lua, true)
}

extern "C-unwind" fn pcall(lua: Lua) -> c_int {
    run_command(lua, false)
}

#[inline]
fn run_command(lua: Lua, raises: bool) -> c_int {
    let context = lua.context();
    if let Err(text) = take_arguments(lua, context) {
        decode::push_error(lua, text.as_bytes(), false);
        if raises {
            lua.error();
        }
        return 1;
    }
    if context.killed.get() {
        fail_killed(lua, context);
    }
    context.suspend(Event::Call);
    if context.killed.get() {
        fail_killed(lua, context);
    }
    lua.set_top(0);
    let reply = context.lent.get().bytes();
    match decode::push(lua, context, reply) {
        Ok(_) => {}
        Err(Broken::Killed) => fail_killed(lua, context),
        Err(Broken::TooDeep) => {
            lua.set_top(0);
            fail(lua, "the reply is nested too deep for a script")
        }
        Err(Broken::Malformed) => fail(lua, "the reply is malformed"),
    }
    if raises && reply.first() == Some(&b'-') {
        lua.error();
    }
    1
}

/// The function's arguments as a command. Strings stay where they are.
#[inline]
fn take_arguments(lua: Lua, context: &Context) -> Result<(), &'static str> {
    const NUMBER_TEXT_MAX: usize = 32;
    let count = lua.top();
    if count == 0 {
        return Err("Please specify at least one argument for this redis lib call");
    }
    let CallArguments { list, numbers } = context.call.borrow();
    list.clear();
    numbers.clear();
    for i in 1..=count {
        match lua.type_of(i) {
            Type::String => list.push(lua.bytes(i).unwrap_or_default()),
            Type::Number => {
                if numbers.is_empty() {
                    // All at once: texts must not move.
                    numbers.reserve((count - i + 1) as usize * NUMBER_TEXT_MAX);
                }
                let start = numbers.len();
                write_number(numbers, lua.number(i));
                let text = crate::context::Lent::of(&numbers[start..]);
                list.push(text.bytes());
            }
            _ => return Err("Lua redis lib command arguments must be strings or integers"),
        }
    }
    Ok(())
}

/// A number as a command's argument: integers of 64 bits in digits, others as doubles are written in replies.
fn write_number(out: &mut Vec<u8>, number: f64) {
    let integer = cut(number);
    if integer as f64 == number && integer != i64::MIN && integer != i64::MAX {
        out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
    } else {
        out.extend_from_slice(Text::of(number).as_bytes());
    }
}

extern "C-unwind" fn acl_check_cmd(lua: Lua) -> c_int {
    let context = lua.context();
    if let Err(text) = take_arguments(lua, context) {
        fail(lua, text);
    }
    context.suspend(Event::MayCall);
    if context.killed.get() {
        fail_killed(lua, context);
    }
    match context.lent.get().bytes().first() {
        Some(b':') => {
            lua.push_boolean(context.lent.get().bytes() == b":1\r\n");
            1
        }
        _ => fail(lua, "Invalid command passed to redis.acl_check_cmd()"),
    }
}

extern "C-unwind" fn log(lua: Lua) -> c_int {
    let context = lua.context();
    let count = lua.top();
    if count < 2 {
        fail(lua, "redis.log() requires two arguments or more.");
    }
    if !lua.is_number(1) {
        fail(lua, "First argument must be a number (log level).");
    }
    let level = cut(lua.number(1));
    if !(0..=3).contains(&level) {
        fail(lua, "Invalid log level.");
    }
    let line = context.output.borrow();
    line.clear();
    for i in 2..=count {
        if let Some(text) = lua.text(i) {
            if i > 2 {
                line.push(b' ');
            }
            line.extend_from_slice(text);
        }
    }
    context.log_level.set(level as u8);
    context.suspend(Event::Log);
    if context.killed.get() {
        fail_killed(lua, context);
    }
    0
}

extern "C-unwind" fn set_resp(lua: Lua) -> c_int {
    if lua.top() != 1 {
        fail(lua, "redis.setresp() requires one argument.");
    }
    lua.context().call_protocol.set(match cut(lua.number(1)) {
        2 => Protocol::Resp2,
        3 => Protocol::Resp3,
        _ => fail(lua, "RESP version must be 2 or 3."),
    });
    0
}

extern "C-unwind" fn sha1hex(lua: Lua) -> c_int {
    if lua.top() != 1 {
        fail(lua, "wrong number of arguments");
    }
    let hex = crate::script::sha1_hex(lua.text(1).unwrap_or_default());
    lua.push_bytes(&hex);
    1
}

extern "C-unwind" fn error_reply(lua: Lua) -> c_int {
    match lua.bytes(1) {
        Some(text) if lua.top() == 1 => {
            let text = text.strip_prefix(b"-").unwrap_or(text);
            let end = text.iter().position(|&b| b == 0).unwrap_or(text.len());
            decode::push_error(lua, &text[..end], true);
        }
        _ => decode::push_error(lua, b"wrong number or type of arguments", false),
    }
    1
}

extern "C-unwind" fn status_reply(lua: Lua) -> c_int {
    if lua.top() == 1 && lua.type_of(1) == Type::String {
        lua.new_table(0, 1);
        lua.push_value(1);
        lua.raw_set_field(-2, "ok");
    } else {
        decode::push_error(lua, b"wrong number or type of arguments", false);
    }
    1
}

/// Effects are what is written, whatever a script says here.
extern "C-unwind" fn set_repl(lua: Lua) -> c_int {
    if lua.top() != 1 {
        fail(lua, "redis.set_repl() requires one argument.");
    }
    if !(0..=3).contains(&cut(lua.number(1))) {
        fail(lua, "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.");
    }
    0
}

extern "C-unwind" fn replicate_commands(lua: Lua) -> c_int {
    lua.push_boolean(true);
    1
}

/// There is no debugger: as without one.
extern "C-unwind" fn breakpoint(lua: Lua) -> c_int {
    lua.push_boolean(false);
    1
}

/// There is no debugger: as without one.
extern "C-unwind" fn debug(_: Lua) -> c_int {
    0
}

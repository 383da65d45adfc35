//! The function that runs jobs, and how errors of scripts become replies.

use std::ffi::{c_int, CStr};

use crate::context::{Context, Job, LentList, Outcome};
use crate::encode::{self, Fields, Stopped, FIELD_NAMES};
use crate::lua::{upvalue, Lua, Status, Type, GLOBALS, REGISTRY};
use crate::redis_api;
use crate::{functions, sandbox};

/// What [`work`] keeps at hand. A value that is pushed as an upvalue costs no hashing.
const SCRIPT_GLOBALS: c_int = upvalue(1);
const FUNCTION_GLOBALS: c_int = upvalue(2);
const SEALED_SCRIPT_GLOBALS: c_int = upvalue(3);
const SEALED_FUNCTION_GLOBALS: c_int = upvalue(4);
const LOADING_GLOBALS: c_int = upvalue(5);
const ERROR_HANDLER: c_int = upvalue(6);
const KEYS: c_int = upvalue(7);
const ARGV: c_int = upvalue(8);
const FIELDS: Fields = Fields { first: 9 };

/// Pushes [`work`] over the five tables that [`sandbox::furnish`] has made. Raises.
pub(crate) fn push(lua: Lua) {
    lua.push_function(handle_error);
    for name in ["KEYS", "ARGV"].iter().chain(&FIELD_NAMES) {
        lua.push_bytes(name.as_bytes());
    }
    lua.push_closure(work, 5 + 1 + 2 + FIELD_NAMES.len() as c_int);
}

/// Runs the context's job, in the fiber. `work` is at 1 on the state's stack but for the first job.
pub(crate) fn run(lua: Lua) {
    let context = lua.context();
    context.output.borrow().clear();
    context.outcome.set(Outcome::Success);
    if let Job::Furnish = context.job.get() {
        lua.push_function(sandbox::furnish);
        assert!(
            lua.protected_call(0, 1, 0) == Status::Ok,
            "a new state: {:?}",
            lua.bytes(-1).map(String::from_utf8_lossy)
        );
        return;
    }
    lua.push_value(1);
    if lua.protected_call(0, 0, 0) != Status::Ok {
        // Killed, or out of memory where no script's `pcall` is.
        context.output.borrow().clear();
        if context.killed.get() {
            write_killed(context);
        } else {
            let text = lua.bytes(-1).unwrap_or(b"not enough memory");
            fail_with(context, &[b"ERR Error running script ", context.name.borrow(), b", ", text]);
        }
        lua.set_top(1);
    }
}

/// Writes an error's text: as a reply for scripts, plain for the other jobs.
fn fail_with(context: &Context, parts: &[&[u8]]) {
    let out = context.output.borrow();
    let is_reply = matches!(context.job.get(), Job::Evaluate(_) | Job::Invoke(_));
    if is_reply {
        out.push(b'-');
    }
    for part in parts {
        encode::one_line(out, part);
    }
    if is_reply {
        out.extend_from_slice(b"\r\n");
    }
    context.outcome.set(Outcome::Failure);
}

extern "C-unwind" fn work(lua: Lua) -> c_int {
    let context = lua.context();
    let status = match context.job.get() {
        Job::Furnish => unreachable!("done before there is this function"),
        Job::Evaluate(function) => {
            enter(lua, SEALED_SCRIPT_GLOBALS);
            for (name, list) in [(KEYS, context.keys.get()), (ARGV, context.arguments.get())] {
                lua.push_value(name);
                push_list(lua, list);
                lua.raw_set(SCRIPT_GLOBALS);
            }
            lua.push_value(ERROR_HANDLER);
            lua.raw_get_at(REGISTRY, function);
            lua.protected_call(0, 1, 1)
        }
        Job::Invoke(function) => {
            enter(lua, SEALED_FUNCTION_GLOBALS);
            lua.push_value(ERROR_HANDLER);
            lua.raw_get_at(REGISTRY, function);
            push_list(lua, context.keys.get());
            push_list(lua, context.arguments.get());
            lua.protected_call(2, 1, 1)
        }
        Job::Compile => {
            enter(lua, SEALED_SCRIPT_GLOBALS);
            match compile(lua, context.lent.get().bytes(), b"@user_script") {
                Status::Ok => context.outcome.set(Outcome::Function(lua.pin())),
                _ => fail_with(
                    context,
                    &[b"ERR Error compiling script (new function): ", lua.text(-1).unwrap_or_default()],
                ),
            }
            return 0;
        }
        Job::Load => {
            enter(lua, SEALED_FUNCTION_GLOBALS);
            load(lua, context);
            return 0;
        }
        Job::Forget => {
            functions::unpin_registered(lua);
            return 0;
        }
    };
    context.output.borrow().clear();
    if context.starved.get() {
        // Also when a `pcall` caught it, and nothing came after that.
        write_killed(context);
    } else if status == Status::Ok {
        match encode::push_reply(lua, context, &FIELDS) {
            Ok(()) => {}
            Err(Stopped::Killed) => redis_api::fail_killed(lua, context),
            Err(Stopped::TooLarge) => {
                context.output.borrow().clear();
                fail_with(context, &[b"ERR the reply of the script is larger than its memory may be"]);
            }
        }
    } else {
        write_error(lua, context);
    }
    0
}

/// Makes the table at the pseudo-index the one in which chunks that are compiled from now on look for globals.
#[inline]
fn enter(lua: Lua, globals: c_int) {
    lua.push_value(globals);
    lua.replace(GLOBALS);
}

#[inline]
fn push_list(lua: Lua, list: LentList) {
    let list = list.slices();
    lua.new_table(list.len(), 0);
    for (i, bytes) in list.iter().enumerate() {
        lua.push_bytes(bytes);
        lua.raw_set_at(-2, i as c_int + 1);
    }
}

/// Compiles source, never precompiled code, under a name. Pushes the function or the error. Raises.
pub(crate) fn compile(lua: Lua, source: &[u8], name: &[u8]) -> Status {
    const NAME_MAX: usize = 256;
    if source.len() > crate::limits::SOURCE_BYTES_MAX {
        lua.push_bytes(b"chunk is too large");
        return Status::Error;
    }
    // Messages show 60 bytes of a name at most, but cut it at its first line.
    let mut text = [0; NAME_MAX];
    let len = name.iter().position(|&b| b == 0).unwrap_or(name.len()).min(NAME_MAX - 1);
    text[..len].copy_from_slice(&name[..len]);
    let name = CStr::from_bytes_until_nul(&text).unwrap_or_default();
    if source.first() == Some(&0x1b) {
        // Redis's Lua reads such a chunk as text, and so fails at its first byte. Behind a space ours does the same.
        let copy = lua.context().scratch.borrow();
        copy.clear();
        copy.push(b' ');
        copy.extend_from_slice(source);
        return lua.compile(copy, name);
    }
    lua.compile(source, name)
}

/// The code of a library: it registers functions.
fn load(lua: Lua, context: &Context) {
    if compile(lua, context.lent.get().bytes(), b"@user_function") != Status::Ok {
        fail_with(context, &[b"ERR Error compiling function: ", lua.text(-1).unwrap_or_default()]);
        return;
    }
    // The globals of functions are, while a library is loaded, those of loading: what its metatable reads from is exchanged.
    read_globals_from(lua, LOADING_GLOBALS);
    context.loading.set(true);
    let status = lua.protected_call(0, 0, 0);
    context.loading.set(false);
    context.starved.set(false);
    read_globals_from(lua, FUNCTION_GLOBALS);
    if status != Status::Ok {
        let head: &[u8] = b"ERR Error registering functions: ";
        if context.killed.get() {
            fail_with(context, &[head, b"ERR ", context.kill_text.get().as_bytes()]);
        } else if lua.type_of(-1) == Type::Table {
            lua.raw_get_field(-1, "err");
            fail_with(context, &[head, lua.text(-1).unwrap_or(b"ERR unknown error")]);
        } else {
            fail_with(context, &[head, b"ERR ", lua.text(-1).unwrap_or(b"unknown error")]);
        }
    }
}

/// Has the sealed globals of functions read from another table. Raises.
fn read_globals_from(lua: Lua, real: c_int) {
    lua.push_value(SEALED_FUNCTION_GLOBALS);
    lua.metatable(-1);
    lua.push_value(real);
    lua.raw_set_field(-2, "__index");
    lua.pop(2);
}

/// The error handler of scripts: makes a table of the error if it is none, and says where it was raised. (Arguments: the error.)
pub(crate) extern "C-unwind" fn handle_error(lua: Lua) -> c_int {
    let frame = match lua.frame(1) {
        Some(frame) if frame.native => lua.frame(2),
        other => other,
    };
    lua.set_top(1);
    if lua.type_of(1) != Type::Table {
        lua.new_table(0, 3);
        lua.push_bytes(b"ERR ");
        match lua.type_of(1) {
            Type::String | Type::Number => lua.push_value(1),
            Type::Boolean => lua.push_bytes(if lua.boolean(1) { b"true" } else { b"false" }),
            other => lua.push_bytes(if other == Type::Nil { b"nil" } else { lua.type_name(1).as_bytes() }),
        }
        lua.concat(2);
        lua.raw_set_field(-2, "err");
    }
    if let Some(frame) = frame {
        lua.push_bytes(frame.source.to_bytes());
        lua.set_field(-2, c"source");
        lua.push_number(frame.line as f64);
        lua.set_field(-2, c"line");
    }
    1
}

/// Writes the reply of a script that was killed.
fn write_killed(context: &Context) {
    context.starved.set(false);
    let text = context.kill_text.get().as_bytes();
    match context.place_of_kill.borrow().as_slice() {
        b"" => fail_with(context, &[b"ERR ", text]),
        place => {
            fail_with(context, &[b"ERR ", text, b" script: ", context.name.borrow(), b", on ", place, b"."])
        }
    }
}

/// Writes what a script has raised (on the top) as its reply. Raises.
fn write_error(lua: Lua, context: &Context) {
    context.outcome.set(Outcome::Failure);
    let name: &[u8] = context.name.borrow();
    if lua.type_of(-1) != Type::Table {
        let text = lua.text(-1).unwrap_or(b"execution failure");
        fail_with(context, &[b"ERR Error running script ", name, b", ", &text[..text.len().min(100)]]);
        return;
    }
    for field in [c"err", c"source", c"line"] {
        lua.get_field(1 + 1, field);
    }
    lua.get_field(2, c"ignore_error_stats_update");
    context.error_was_counted.set(lua.boolean(-1));
    let out = context.output.borrow();
    out.push(b'-');
    encode::one_line(out, lua.text(3).unwrap_or(b"ERR unknown error"));
    if let (Some(source), Some(line)) = (lua.text(4), lua.text(5)) {
        for part in [b" script: ", name, b", on ", source, b":", line, b"."] {
            encode::one_line(out, part);
        }
    }
    out.extend_from_slice(b"\r\n");
}

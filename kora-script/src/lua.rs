//! Lua's C API as methods of a handle. This is the only place that calls it (beside [`crate::fiber`], which switches stacks).
//!
//! A [`Lua`] is a borrowed `lua_State` in the hands of a [`Function`] that Lua called, or of the code that owns the state while
//! nothing runs in it. The methods are safe to write down, not safe in every use; these are the invariants that all code
//! of this crate holds, and the reason why each call below is sound:
//!
//! 1. A `Lua` is used only while the function it was given to has not returned, on the stack (native and Lua's) it was given on.
//! 2. Indices name slots that exist, or pseudo-indices. A function pushes at most 20 values (`LUA_MINSTACK`) beyond its arguments without
//!    asking [`Lua::check_stack`] first.
//! 3. **An error is a `longjmp` over the Rust frames between the raiser and the innermost `pcall`.** Methods that may raise say so ("raises"),
//!    nearly all because they may allocate. Where one is called, no value with a destructor is alive in any frame of this crate
//!    above that `pcall`. What must own memory (argument lists, output) lies in the [`Context`] and is borrowed.
//! 4. Bytes of a string are read while the string is on the stack, or reachable from a value that is.
//! 5. A borrow of the context's buffers is not held while Lua code may run.

use std::ffi::{c_char, c_int, c_void, CStr};

use mlua_sys::lua51 as ffi;

use crate::context::Context;

pub(crate) use ffi::{lua_Debug as Debug, LUA_GLOBALSINDEX as GLOBALS, LUA_REGISTRYINDEX as REGISTRY};

/// A function that Lua calls: arguments are at 1 and up, it returns how many values on the top are its results.
pub(crate) type Function = extern "C-unwind" fn(Lua) -> c_int;

/// All results of a call.
pub(crate) const ALL: c_int = ffi::LUA_MULTRET;

/// The type of a value. [`Type::None`] is what stands at an index above the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    None,
    Nil,
    Boolean,
    Light,
    Number,
    String,
    Table,
    Function,
    Userdata,
    Thread,
}

/// How a protected call or a compilation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    /// Raised; the value is on the top.
    Error,
    /// No memory within the limit; a text is on the top.
    Memory,
}

impl Status {
    fn of(code: c_int) -> Status {
        match code {
            ffi::LUA_OK => Status::Ok,
            ffi::LUA_ERRMEM => Status::Memory,
            _ => Status::Error,
        }
    }
}

/// The pseudo-index of a function's upvalue, from 1.
pub(crate) const fn upvalue(i: c_int) -> c_int {
    ffi::lua_upvalueindex(i)
}

/// See the head of the module.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Lua(*mut ffi::lua_State);

/// A call of Lua's C API.
macro_rules! api {
    ($call:expr) => {{
        #[allow(clippy::macro_metavars_in_unsafe)]
        // SAFETY: the invariants at the head of this module.
        unsafe {
            $call
        }
    }};
}

impl Lua {
    /// A new state whose memory is counted and limited by `context`, which must outlive it and not move. None without memory.
    pub(crate) fn create(context: *const Context) -> Option<Lua> {
        let state = api!(ffi::lua_newstate(crate::context::allocate, context.cast_mut().cast()));
        if state.is_null() {
            return None;
        }
        api!(ffi::lua_atpanic(state, unprotected));
        Some(Lua(state))
    }

    /// Frees the state and all its values. Nothing may be running in it any more (a suspended native stack may still name it, if it is never resumed).
    pub(crate) fn close(self) {
        api!(ffi::lua_close(self.0));
    }

    /// The context of the interpreter: it is the allocator's argument.
    #[inline]
    pub(crate) fn context<'a>(self) -> &'a Context {
        let mut context: *mut c_void = std::ptr::null_mut();
        api!(ffi::lua_getallocf(self.0, &mut context));
        api!(&*context.cast::<Context>())
    }

    // The stack.

    #[inline]
    pub(crate) fn top(self) -> c_int {
        api!(ffi::lua_gettop(self.0))
    }

    #[inline]
    pub(crate) fn set_top(self, top: c_int) {
        api!(ffi::lua_settop(self.0, top));
    }

    #[inline]
    pub(crate) fn pop(self, n: c_int) {
        api!(ffi::lua_settop(self.0, -n - 1));
    }

    #[inline]
    pub(crate) fn push_value(self, index: c_int) {
        api!(ffi::lua_pushvalue(self.0, index));
    }

    pub(crate) fn remove(self, index: c_int) {
        api!(ffi::lua_remove(self.0, index));
    }

    pub(crate) fn insert(self, index: c_int) {
        api!(ffi::lua_insert(self.0, index));
    }

    /// Pops the top into the slot.
    #[inline]
    pub(crate) fn replace(self, index: c_int) {
        api!(ffi::lua_replace(self.0, index));
    }

    /// Room for `n` more values; false when there is none (8,000 per function, or no memory).
    #[inline]
    pub(crate) fn check_stack(self, n: c_int) -> bool {
        api!(ffi::lua_checkstack(self.0, n)) != 0
    }

    // Reading.

    #[inline]
    pub(crate) fn type_of(self, index: c_int) -> Type {
        match api!(ffi::lua_type(self.0, index)) {
            ffi::LUA_TNIL => Type::Nil,
            ffi::LUA_TBOOLEAN => Type::Boolean,
            ffi::LUA_TLIGHTUSERDATA => Type::Light,
            ffi::LUA_TNUMBER => Type::Number,
            ffi::LUA_TSTRING => Type::String,
            ffi::LUA_TTABLE => Type::Table,
            ffi::LUA_TFUNCTION => Type::Function,
            ffi::LUA_TUSERDATA => Type::Userdata,
            ffi::LUA_TTHREAD => Type::Thread,
            _ => Type::None,
        }
    }

    /// The name of the value's type ("no value" where there is none).
    pub(crate) fn type_name(self, index: c_int) -> &'static str {
        match self.type_of(index) {
            Type::None => "no value",
            Type::Nil => "nil",
            Type::Boolean => "boolean",
            Type::Light | Type::Userdata => "userdata",
            Type::Number => "number",
            Type::String => "string",
            Type::Table => "table",
            Type::Function => "function",
            Type::Thread => "thread",
        }
    }

    #[inline]
    pub(crate) fn boolean(self, index: c_int) -> bool {
        api!(ffi::lua_toboolean(self.0, index)) != 0
    }

    /// The number, or what a string reads as, or 0.
    #[inline]
    pub(crate) fn number(self, index: c_int) -> f64 {
        api!(ffi::lua_tonumber(self.0, index))
    }

    /// Whether it is a number or a string that reads as one.
    pub(crate) fn is_number(self, index: c_int) -> bool {
        api!(ffi::lua_isnumber(self.0, index)) != 0
    }

    /// The bytes of a string (and of nothing else).
    #[inline]
    pub(crate) fn bytes<'a>(self, index: c_int) -> Option<&'a [u8]> {
        if self.type_of(index) != Type::String {
            return None;
        }
        self.text(index)
    }

    /// The bytes of a string, or of a number made into one in its slot (raises then). Not for keys during [`Lua::next`].
    #[inline]
    pub(crate) fn text<'a>(self, index: c_int) -> Option<&'a [u8]> {
        let mut len = 0;
        let start = api!(ffi::lua_tolstring(self.0, index, &mut len));
        if start.is_null() {
            return None;
        }
        Some(api!(std::slice::from_raw_parts(start.cast::<u8>(), len)))
    }

    /// The pointer that a light userdata is.
    pub(crate) fn light(self, index: c_int) -> *const c_void {
        api!(ffi::lua_touserdata(self.0, index))
    }

    /// The length of a string or the border of a table, without metamethods.
    #[inline]
    pub(crate) fn raw_len(self, index: c_int) -> usize {
        api!(ffi::lua_objlen(self.0, index))
    }

    // Pushing.

    #[inline]
    pub(crate) fn push_nil(self) {
        api!(ffi::lua_pushnil(self.0));
    }

    #[inline]
    pub(crate) fn push_boolean(self, value: bool) {
        api!(ffi::lua_pushboolean(self.0, value as c_int));
    }

    #[inline]
    pub(crate) fn push_number(self, value: f64) {
        api!(ffi::lua_pushnumber(self.0, value));
    }

    /// Raises.
    #[inline]
    pub(crate) fn push_bytes(self, bytes: &[u8]) {
        api!(ffi::lua_pushlstring_(self.0, bytes.as_ptr().cast(), bytes.len()));
    }

    /// Raises.
    pub(crate) fn push_function(self, function: Function) {
        self.push_closure(function, 0);
    }

    /// A function with the `upvalues` values on the top, which it takes. Raises.
    pub(crate) fn push_closure(self, function: Function, upvalues: c_int) {
        // SAFETY: `Lua` is transparent over the pointer that Lua passes; the rest of the type is the same.
        let function = unsafe { std::mem::transmute::<Function, ffi::lua_CFunction>(function) };
        api!(ffi::lua_pushcclosure(self.0, function, upvalues));
    }

    #[inline]
    pub(crate) fn push_light(self, pointer: *const c_void) {
        api!(ffi::lua_pushlightuserdata(self.0, pointer.cast_mut()));
    }

    /// Raises.
    #[inline]
    pub(crate) fn new_table(self, array: usize, fields: usize) {
        api!(ffi::lua_createtable(self.0, array.min(1 << 26) as c_int, fields.min(1 << 24) as c_int));
    }

    /// Joins the `n` strings or numbers on the top. Raises.
    pub(crate) fn concat(self, n: c_int) {
        api!(ffi::lua_concat(self.0, n));
    }

    // Tables.

    /// Pops a key, pushes its value, without metamethods.
    #[inline]
    pub(crate) fn raw_get(self, table: c_int) {
        api!(ffi::lua_rawget_(self.0, table));
    }

    #[inline]
    pub(crate) fn raw_get_at(self, table: c_int, i: c_int) {
        api!(ffi::lua_rawgeti_(self.0, table, i));
    }

    /// Pops a value and the key below it. Raises.
    #[inline]
    pub(crate) fn raw_set(self, table: c_int) {
        api!(ffi::lua_rawset(self.0, table));
    }

    /// Pops a value. Raises.
    #[inline]
    pub(crate) fn raw_set_at(self, table: c_int, i: c_int) {
        api!(ffi::lua_rawseti_(self.0, table, i));
    }

    /// Pops a value into the field, without metamethods. Raises.
    pub(crate) fn raw_set_field(self, table: c_int, name: &str) {
        let table = if table < 0 && table > REGISTRY { table - 1 } else { table };
        self.push_bytes(name.as_bytes());
        self.insert(-2);
        self.raw_set(table);
    }

    /// Pushes the field's value, without metamethods. Raises.
    pub(crate) fn raw_get_field(self, table: c_int, name: &str) {
        let table = if table < 0 && table > REGISTRY { table - 1 } else { table };
        self.push_bytes(name.as_bytes());
        self.raw_get(table);
    }

    /// Pushes the field's value, with metamethods. Raises.
    pub(crate) fn get_field(self, table: c_int, name: &CStr) {
        api!(ffi::lua_getfield_(self.0, table, name.as_ptr()));
    }

    /// Pops a value into the field, with metamethods. Raises.
    pub(crate) fn set_field(self, table: c_int, name: &CStr) {
        api!(ffi::lua_setfield(self.0, table, name.as_ptr()));
    }

    /// Pops a key, pushes its value, with metamethods. Raises.
    pub(crate) fn get(self, table: c_int) {
        api!(ffi::lua_gettable_(self.0, table));
    }

    /// Pops a key, pushes the next one and its value; pushes nothing and is false at the end. Raises when the key is not in the table.
    #[inline]
    pub(crate) fn next(self, table: c_int) -> bool {
        api!(ffi::lua_next(self.0, table)) != 0
    }

    /// Pushes the metatable, if there is one.
    #[inline]
    pub(crate) fn metatable(self, index: c_int) -> bool {
        api!(ffi::lua_getmetatable(self.0, index)) != 0
    }

    /// Pops a table (or nil) and makes it the metatable.
    pub(crate) fn set_metatable(self, index: c_int) {
        api!(ffi::lua_setmetatable(self.0, index));
    }

    /// Puts the popped value into the registry and gives its number. Raises.
    pub(crate) fn pin(self) -> c_int {
        api!(ffi::luaL_ref(self.0, REGISTRY))
    }

    /// Takes a value out of the registry. Raises only when nothing was ever taken out, which `sandbox::furnish` has done.
    pub(crate) fn unpin(self, number: c_int) {
        api!(ffi::luaL_unref(self.0, REGISTRY, number));
    }

    // Running.

    /// Calls the function below its `arguments`. Raises what it raises.
    pub(crate) fn call(self, arguments: c_int, results: c_int) {
        api!(ffi::lua_call(self.0, arguments, results));
    }

    /// Calls the function below its `arguments`; `handler` is the index of a function that turns what is raised into what is left, or 0.
    #[inline]
    pub(crate) fn protected_call(self, arguments: c_int, results: c_int, handler: c_int) -> Status {
        Status::of(api!(ffi::lua_pcall(self.0, arguments, results, handler)))
    }

    /// Pushes the chunk as a function, or what is wrong with it. Precompiled code must have been refused before.
    ///
    /// No garbage is collected meanwhile: Lua 5.1's parser does not anchor all that it makes (CVE-2025-49844).
    pub(crate) fn compile(self, source: &[u8], name: &CStr) -> Status {
        assert!(source.first() != Some(&0x1b), "precompiled code");
        api!(ffi::lua_gc(self.0, ffi::LUA_GCSTOP, 0));
        let code = api!(ffi::luaL_loadbuffer(self.0, source.as_ptr().cast(), source.len(), name.as_ptr()));
        api!(ffi::lua_gc(self.0, ffi::LUA_GCRESTART, 0));
        Status::of(code)
    }

    /// Raises the value on the top.
    pub(crate) fn error(self) -> ! {
        api!(ffi::lua_error(self.0))
    }

    /// Raises a text after the place in the script that called this function.
    pub(crate) fn fail(self, text: &str) -> ! {
        self.push_place(1);
        self.push_bytes(text.as_bytes());
        self.concat(2);
        self.error()
    }

    /// Raises when [`Lua::check_stack`] has refused: what the function has on the stack is dropped to make room for the text.
    pub(crate) fn fail_without_stack(self, text: &str) -> ! {
        self.set_top(0);
        self.fail(text)
    }

    /// Raises a text as it is.
    pub(crate) fn fail_plainly(self, text: &str) -> ! {
        self.push_bytes(text.as_bytes());
        self.error()
    }

    /// Pushes "source:line: " of a level, or nothing's empty text. Raises.
    pub(crate) fn push_place(self, level: c_int) {
        api!(ffi::luaL_where(self.0, level));
    }

    /// Raises "bad argument #...".
    pub(crate) fn bad_argument(self, argument: c_int, text: &CStr) -> ! {
        api!(ffi::luaL_argerror(self.0, argument, text.as_ptr()));
        unreachable!("luaL_argerror raises")
    }

    /// Raises "bad argument #..." with the text on the top.
    pub(crate) fn bad_argument_as_on_top(self, argument: c_int) -> ! {
        // Lua's strings end with a zero byte.
        let text = api!(ffi::lua_tolstring(self.0, -1, std::ptr::null_mut()));
        api!(ffi::luaL_argerror(self.0, argument, text));
        unreachable!("luaL_argerror raises")
    }

    /// Raises when the argument is no table.
    pub(crate) fn check_table(self, argument: c_int) {
        api!(ffi::luaL_checktype(self.0, argument, ffi::LUA_TTABLE));
    }

    /// Raises when the argument is no function.
    pub(crate) fn check_function(self, argument: c_int) {
        api!(ffi::luaL_checktype(self.0, argument, ffi::LUA_TFUNCTION));
    }

    /// Raises when there is no such argument.
    pub(crate) fn check_any(self, argument: c_int) {
        api!(ffi::luaL_checkany(self.0, argument));
    }

    /// The argument as a number. Raises when it is none.
    pub(crate) fn check_number(self, argument: c_int) -> f64 {
        api!(ffi::luaL_checknumber(self.0, argument))
    }

    /// The argument as an integer (cut as C cuts a double), in 64 bits. Raises when it is none.
    pub(crate) fn check_integer(self, argument: c_int) -> i64 {
        self.check_number(argument) as i64
    }

    /// The argument as a text. Raises when it is none.
    pub(crate) fn check_text<'a>(self, argument: c_int) -> &'a [u8] {
        let mut len = 0;
        let start = api!(ffi::luaL_checklstring(self.0, argument, &mut len));
        api!(std::slice::from_raw_parts(start.cast::<u8>(), len))
    }

    // What runs.

    /// Says which functions are active; `level` 0 is the one that asks.
    pub(crate) fn frame(self, level: c_int) -> Option<Frame<'static>> {
        let mut debug = std::mem::MaybeUninit::<Debug>::zeroed();
        if api!(ffi::lua_getstack(self.0, level, debug.as_mut_ptr())) == 0 {
            return None;
        }
        api!(ffi::lua_getinfo(self.0, c"Sl".as_ptr(), debug.as_mut_ptr()));
        // SAFETY: zeroed bytes are a valid `lua_Debug` (null pointers and zeros), and Lua has filled it.
        let debug = unsafe { debug.assume_init() };
        Some(Frame {
            native: api!(CStr::from_ptr(debug.what)) == c"C",
            source: api!(CStr::from_ptr(debug.source)),
            line: debug.currentline,
        })
    }

    /// Has `hook` called every `instructions` instructions. Threads made afterwards inherit it.
    pub(crate) fn count_hook(self, hook: ffi::lua_Hook, instructions: c_int) {
        api!(ffi::lua_sethook(self.0, Some(hook), ffi::LUA_MASKCOUNT, instructions));
    }

    /// Has `hook` called at each line.
    pub(crate) fn line_hook(self, hook: ffi::lua_Hook) {
        api!(ffi::lua_sethook(self.0, Some(hook), ffi::LUA_MASKLINE, 0));
    }

    /// A handle in a hook.
    pub(crate) fn in_hook(state: *mut ffi::lua_State) -> Lua {
        Lua(state)
    }

    // Garbage.

    /// Collects all garbage.
    pub(crate) fn collect(self) {
        api!(ffi::lua_gc(self.0, ffi::LUA_GCCOLLECT, 0));
    }

    /// Lets the collector run, with its defaults: it waits until memory has grown to `pause` percent.
    pub(crate) fn restart_collector(self, pause: c_int, step_multiplier: c_int) {
        api!(ffi::lua_gc(self.0, ffi::LUA_GCSETPAUSE, pause));
        api!(ffi::lua_gc(self.0, ffi::LUA_GCSETSTEPMUL, step_multiplier));
        api!(ffi::lua_gc(self.0, ffi::LUA_GCRESTART, 0));
    }

    // Lua's own libraries.

    /// Opens one of Lua's libraries and drops what the opener returns. Raises.
    pub(crate) fn open(self, library: Library) {
        let (open, name): (ffi::lua_CFunction, &str) = match library {
            Library::Base => (ffi::luaopen_base, ""),
            Library::Table => (ffi::luaopen_table, "table"),
            Library::String => (ffi::luaopen_string, "string"),
            Library::Math => (ffi::luaopen_math, "math"),
            Library::Os => (ffi::luaopen_os, "os"),
        };
        api!(ffi::lua_pushcclosure(self.0, open, 0));
        self.push_bytes(name.as_bytes());
        self.call(1, 0);
    }

    /// One of Lua's own functions, to be called as a part of another.
    pub(crate) fn native(self, index: c_int) -> Option<Native> {
        api!(ffi::lua_tocfunction(self.0, index)).map(Native)
    }

    /// Runs it with this function's stack and arguments. Raises what it raises.
    #[inline]
    pub(crate) fn run(self, native: Native) -> c_int {
        api!((native.0)(self.0))
    }
}

/// A level of [`Lua::frame`].
pub(crate) struct Frame<'a> {
    /// A function that is not written in Lua.
    pub(crate) native: bool,
    /// The name of the chunk, with its `@` or `=`.
    pub(crate) source: &'a CStr,
    pub(crate) line: c_int,
}

/// What [`Lua::open`] opens.
#[derive(Clone, Copy)]
pub(crate) enum Library {
    Base,
    Table,
    String,
    Math,
    Os,
}

/// A function of Lua's own libraries.
#[derive(Clone, Copy)]
pub(crate) struct Native(ffi::lua_CFunction);

/// An error outside of every protected call: a mistake in this crate, since all code runs in one.
unsafe extern "C-unwind" fn unprotected(state: *mut ffi::lua_State) -> c_int {
    let text = Lua(state).bytes(-1).map(String::from_utf8_lossy).unwrap_or_default();
    panic!("Lua error outside of a protected call: {text}");
}

const _: () = assert!(std::mem::size_of::<c_char>() == 1);

//! What scripts find: Redis's globals, and none of them to change.
//!
//! Redis has a flag in its own Lua that makes a table read-only. Lua itself has none, so every table that scripts share (the globals, the libraries, the
//! metatables) is *sealed*: scripts get an empty table whose metatable reads from the real one and refuses writes.
//!
//! ```text
//!     globals that scripts see            real globals                    real library
//!     {}  -- __index ------------------>  { string = {} --- __index --->  { format = ..., ... }
//!          -- __newindex -> refuses         KEYS = {...}
//!                                           pcall = ... }  -- __index --> "nonexistent global variable"
//! ```
//!
//! The metatable names the real table under a key that scripts cannot make (a light userdata), by which the functions that go round metamethods
//! (`rawset`, `next`, `table.insert`, ...) know sealed tables; they are replaced here. (`table.sort` and
//! `table.remove` find nothing in them: real tables have no array part.) A script never gets hold of a real table.

use std::ffi::{c_int, c_void};

use crate::context::Natives;
use crate::lua::{upvalue, Function, Library, Lua, Type, GLOBALS};
use crate::redis_api::{self, For};
use crate::{bit, cjson, cmsgpack, math, packing, text, worker};

const READ_ONLY: &str = "Attempt to modify a readonly table";

/// Globals of Lua's base library that scripts get.
const BASE: [&str; 24] = [
    "xpcall",
    "tostring",
    "next",
    "assert",
    "tonumber",
    "rawequal",
    "pairs",
    "ipairs",
    "collectgarbage",
    "getmetatable",
    "setmetatable",
    "rawset",
    "rawget",
    "pcall",
    "type",
    "select",
    "unpack",
    "gcinfo",
    "loadstring",
    "load",
    "error",
    "_VERSION",
    "coroutine",
    "string",
];

static SEAL: u8 = 0;

/// The key of the real table in a seal.
fn seal_key() -> *const c_void {
    std::ptr::from_ref(&SEAL).cast()
}

/// Replaces the table on the top by its sealed form. `getmetatable` says nil of it, unless its metatable gets a field `__metatable`. Raises.
pub(crate) fn seal(lua: Lua) {
    lua.new_table(0, 0);
    lua.new_table(0, 4);
    lua.push_light(seal_key());
    lua.push_value(-4);
    lua.raw_set(-3);
    lua.push_value(-3);
    lua.raw_set_field(-2, "__index");
    lua.push_function(refuse_write);
    lua.raw_set_field(-2, "__newindex");
    lua.set_metatable(-2);
    lua.remove(-2);
}

/// Pushes the real table if the one at `index` is sealed.
#[inline]
pub(crate) fn push_real(lua: Lua, index: c_int) -> bool {
    if lua.type_of(index) != Type::Table || !lua.metatable(index) {
        return false;
    }
    lua.push_light(seal_key());
    lua.raw_get(-2);
    lua.remove(-2);
    if lua.type_of(-1) == Type::Table {
        return true;
    }
    lua.pop(1);
    false
}

/// Raises when the argument is a sealed table.
#[inline]
fn check_not_sealed(lua: Lua, argument: c_int) {
    if push_real(lua, argument) {
        lua.fail_plainly(READ_ONLY);
    }
}

extern "C-unwind" fn refuse_write(lua: Lua) -> c_int {
    lua.fail(READ_ONLY)
}

/// `__index` of the real globals.
pub(crate) extern "C-unwind" fn refuse_global(lua: Lua) -> c_int {
    if lua.top() != 2 {
        lua.fail("Wrong number of arguments to luaProtectedTableError");
    }
    let Some(name) = lua.text(2) else {
        lua.fail("Second argument to luaProtectedTableError must be a string or number");
    };
    let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
    lua.push_place(1);
    lua.push_bytes(b"Script attempted to access nonexistent global variable '");
    lua.push_bytes(&name[..end]);
    lua.push_bytes(b"'");
    lua.concat(4);
    lua.error()
}

/// Gives the table on the top a metatable that raises where nothing is found. Raises.
pub(crate) fn refuse_nonexistent(lua: Lua) {
    lua.new_table(0, 1);
    lua.push_function(refuse_global);
    lua.raw_set_field(-2, "__index");
    lua.set_metatable(-2);
}

/// Fills a new state and leaves [`worker::work`] on the stack. Raises.
pub(crate) extern "C-unwind" fn furnish(lua: Lua) -> c_int {
    for library in [Library::Base, Library::Table, Library::String, Library::Math, Library::Os] {
        lua.open(library);
    }
    // What is to be furnished is at GLOBALS; index 1 becomes the real globals of scripts.
    lua.new_table(0, 48);
    for name in BASE {
        lua.raw_get_field(GLOBALS, name);
        lua.raw_set_field(1, name);
    }
    for name in ["table", "math"] {
        lua.raw_get_field(GLOBALS, name);
        lua.raw_set_field(1, name);
    }
    lua.raw_get_field(GLOBALS, "os");
    lua.new_table(0, 1);
    lua.raw_get_field(-2, "clock");
    lua.raw_set_field(-2, "clock");
    lua.raw_set_field(1, "os");
    lua.set_top(1);

    replace_functions(lua);
    for (name, push) in [
        ("cjson", cjson::push_library as fn(Lua)),
        ("cmsgpack", cmsgpack::push_library),
        ("struct", packing::push_library),
        ("bit", bit::push_library),
    ] {
        push(lua);
        lua.raw_set_field(1, name);
    }

    // From here on the libraries are sealed.
    lua.push_bytes(b"");
    lua.metatable(-1); // of strings: { __index = string }
    for name in ["table", "math", "os", "cjson", "cmsgpack", "struct", "bit", "coroutine", "string"] {
        lua.raw_get_field(1, name);
        seal(lua);
        if name == "string" {
            lua.push_value(-1);
            lua.raw_set_field(3, "__index");
        }
        lua.raw_set_field(1, name);
    }
    lua.raw_get_field(3, "__index");
    lua.new_table(0, 1);
    lua.insert(-2);
    lua.raw_set_field(-2, "__index");
    seal(lua);
    lua.raw_set_field(3, "__metatable");
    lua.set_top(1);

    // The globals of functions are those of scripts but for `redis`.
    lua.new_table(0, 48);
    lua.push_nil();
    while lua.next(1) {
        lua.push_value(-2);
        lua.insert(-2);
        lua.raw_set(2);
    }
    redis_api::push_table(lua, For::Functions);
    seal(lua);
    lua.raw_set_field(2, "redis");
    redis_api::push_table(lua, For::Scripts);
    seal(lua);
    lua.raw_set_field(1, "redis");
    lua.push_function(worker::handle_error);
    lua.raw_set_field(1, "__redis__err__handler");

    // 3 and 4: the sealed globals of scripts and functions. 5: those of a library that is loaded.
    for real in [1, 2] {
        lua.push_value(real);
        refuse_nonexistent(lua);
        lua.metatable(-1);
        lua.insert(-2);
        seal(lua);
        // Scripts may look at the metatable of globals.
        lua.metatable(-1);
        lua.push_value(-3);
        seal(lua);
        lua.raw_set_field(-2, "__metatable");
        lua.pop(1);
        lua.remove(-2);
        lua.push_value(-1);
        lua.raw_set_field(real, "_G");
    }
    lua.new_table(0, 1);
    redis_api::push_table(lua, For::Loading);
    refuse_nonexistent(lua);
    seal(lua);
    lua.raw_set_field(-2, "redis");
    refuse_nonexistent(lua);

    // The registry's list of free numbers is made now, so that `Lua::unpin` never allocates.
    lua.push_boolean(true);
    let number = lua.pin();
    lua.unpin(number);

    worker::push(lua);
    1
}

/// Puts this crate's functions over those of Lua in the globals at index 1. Raises.
fn replace_functions(lua: Lua) {
    let native = |table: &str, name: &str| {
        lua.push_value(1);
        if !table.is_empty() {
            lua.raw_get_field(-1, table);
            lua.replace(-2);
        }
        lua.raw_get_field(-1, name);
        let native = lua.native(-1).expect("a function of Lua's libraries");
        lua.pop(2);
        native
    };
    lua.context().natives.set(Some(Natives {
        table_insert: native("table", "insert"),
        table_foreach: native("table", "foreach"),
        set_metatable: native("", "setmetatable"),
        collect_garbage: native("", "collectgarbage"),
        find: native("string", "find"),
        matches: native("string", "match"),
        gmatch: native("string", "gmatch"),
        gsub: native("string", "gsub"),
    }));
    let global = |name: &str, function: Function| {
        lua.push_function(function);
        lua.raw_set_field(1, name);
    };
    global("rawset", raw_set);
    global("rawget", raw_get);
    global("next", next);
    lua.push_function(next);
    lua.push_closure(pairs, 1);
    lua.raw_set_field(1, "pairs");
    global("setmetatable", set_metatable);
    global("getmetatable", get_metatable);
    global("pcall", protected_call);
    global("unpack", unpack);
    global("loadstring", load_string);
    global("load", load);
    global("collectgarbage", collect_garbage);
    let field = |table: &str, name: &str, function: Function| {
        lua.raw_get_field(1, table);
        lua.push_function(function);
        lua.raw_set_field(-2, name);
        lua.pop(1);
    };
    field("table", "insert", table_insert);
    field("table", "foreach", table_foreach);
    field("string", "find", text::find);
    field("string", "match", text::matches);
    field("string", "gmatch", text::gmatch);
    field("string", "gfind", text::gmatch);
    field("string", "gsub", text::gsub);
    field("string", "rep", text::repeat);
    field("math", "random", math::random);
    field("math", "randomseed", math::random_seed);
}

fn natives(lua: Lua) -> Natives {
    lua.context().natives.get().expect("set when the state was made")
}

extern "C-unwind" fn raw_set(lua: Lua) -> c_int {
    lua.check_table(1);
    lua.check_any(2);
    lua.check_any(3);
    lua.set_top(3);
    check_not_sealed(lua, 1);
    lua.raw_set(1);
    1
}

extern "C-unwind" fn raw_get(lua: Lua) -> c_int {
    lua.check_table(1);
    lua.check_any(2);
    lua.set_top(2);
    if push_real(lua, 1) {
        lua.replace(1);
    }
    lua.raw_get(1);
    1
}

extern "C-unwind" fn next(lua: Lua) -> c_int {
    lua.check_table(1);
    lua.set_top(2);
    if push_real(lua, 1) {
        lua.replace(1);
    }
    if lua.next(1) {
        2
    } else {
        lua.push_nil();
        1
    }
}

extern "C-unwind" fn pairs(lua: Lua) -> c_int {
    lua.check_table(1);
    lua.push_value(upvalue(1));
    lua.push_value(1);
    lua.push_nil();
    3
}

extern "C-unwind" fn set_metatable(lua: Lua) -> c_int {
    check_not_sealed(lua, 1);
    lua.run(natives(lua).set_metatable)
}

extern "C-unwind" fn get_metatable(lua: Lua) -> c_int {
    lua.check_any(1);
    let sealed = push_real(lua, 1);
    if !lua.metatable(1) {
        lua.push_nil();
        return 1;
    }
    lua.raw_get_field(-1, "__metatable");
    if lua.type_of(-1) == Type::Nil && !sealed {
        lua.pop(1);
    }
    1
}

/// Redis's `pcall`: of an error that is a table it gives the text, as before errors were tables.
extern "C-unwind" fn protected_call(lua: Lua) -> c_int {
    let count = lua.top();
    lua.push_boolean(true);
    lua.insert(1);
    if lua.protected_call(count - 1, crate::lua::ALL, 0) != crate::lua::Status::Ok {
        lua.remove(1);
        if lua.type_of(-1) == Type::Table {
            lua.get_field(-1, c"err");
            if matches!(lua.type_of(-1), Type::String | Type::Number) {
                lua.replace(-2);
            }
        }
        lua.push_boolean(false);
        lua.insert(1);
    }
    lua.top()
}

/// Lua's `unpack` without its overflow (CVE-2025-46817).
extern "C-unwind" fn unpack(lua: Lua) -> c_int {
    lua.check_table(1);
    let optional = |argument, default| {
        if matches!(lua.type_of(argument), Type::None | Type::Nil) {
            default
        } else {
            lua.check_integer(argument) as i32
        }
    };
    let first = optional(2, 1);
    let last = optional(3, lua.raw_len(1) as i32);
    if first > last {
        return 0;
    }
    let count = last as i64 - first as i64 + 1;
    if count >= i32::MAX as i64 || !lua.check_stack(count as c_int) {
        lua.fail("too many results to unpack");
    }
    for i in first..=last {
        lua.raw_get_at(1, i);
    }
    count as c_int
}

/// Compiles the text on the top under the name of the chunk at `name`; leaves the function, or nil and the error. Raises.
fn compile(lua: Lua, name: c_int) -> c_int {
    let source = lua.bytes(-1).unwrap_or_default();
    let name = lua.bytes(name).unwrap_or_default();
    if worker::compile(lua, source, name) == crate::lua::Status::Ok {
        return 1;
    }
    lua.push_nil();
    lua.insert(-2);
    2
}

extern "C-unwind" fn load_string(lua: Lua) -> c_int {
    lua.check_text(1);
    let name = if matches!(lua.type_of(2), Type::None | Type::Nil) {
        1
    } else {
        lua.check_text(2);
        2
    };
    lua.push_value(1);
    compile(lua, name)
}

extern "C-unwind" fn load(lua: Lua) -> c_int {
    lua.check_function(1);
    if matches!(lua.type_of(2), Type::None | Type::Nil) {
        lua.set_top(1);
        lua.push_bytes(b"=(load)");
    } else {
        lua.check_text(2);
        lua.set_top(2);
    }
    // 3: the source so far.
    lua.push_bytes(b"");
    loop {
        lua.push_value(1);
        if lua.protected_call(0, 1, 0) != crate::lua::Status::Ok {
            lua.push_nil();
            lua.insert(-2);
            return 2;
        }
        match lua.type_of(-1) {
            Type::Nil => break,
            Type::String | Type::Number => {}
            _ => {
                lua.push_nil();
                lua.push_bytes(b"reader function must return a string");
                return 2;
            }
        }
        if lua.text(-1) == Some(b"") {
            break;
        }
        lua.concat(2);
    }
    lua.set_top(3);
    compile(lua, 2)
}

/// What a script sets here is set back when it ends.
extern "C-unwind" fn collect_garbage(lua: Lua) -> c_int {
    let harmless = matches!(lua.bytes(1), None | Some(b"count" | b"collect" | b"step"));
    lua.context().collector_touched.set(!harmless || lua.context().collector_touched.get());
    lua.run(natives(lua).collect_garbage)
}

extern "C-unwind" fn table_insert(lua: Lua) -> c_int {
    check_not_sealed(lua, 1);
    lua.run(natives(lua).table_insert)
}

extern "C-unwind" fn table_foreach(lua: Lua) -> c_int {
    if push_real(lua, 1) {
        lua.replace(1);
    }
    lua.run(natives(lua).table_foreach)
}

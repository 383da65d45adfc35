//! The library `cjson`: JSON as lua-cjson 2.1 in Redis writes and reads it, byte by byte, with its settings.
//!
//! Settings last for one script: the next one finds the defaults. (Redis keeps them, so that one script changes how another one works.)

mod decode;
mod encode;
mod number;

use std::ffi::c_int;

use crate::lua::{Function, Lua, Type};

const FUNCTIONS: [(&str, Function); 10] = [
    ("encode", encode::encode),
    ("decode", decode::decode),
    ("encode_sparse_array", encode_sparse_array),
    ("encode_max_depth", encode_max_depth),
    ("decode_max_depth", decode_max_depth),
    ("encode_number_precision", encode_number_precision),
    ("encode_keep_buffer", encode_keep_buffer),
    ("encode_invalid_numbers", encode_invalid_numbers),
    ("decode_invalid_numbers", decode_invalid_numbers),
    ("new", new),
];

/// What becomes of infinities and not-a-numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InvalidNumbers {
    Refused,
    /// `inf`, `nan`.
    Written,
    /// `null`.
    Null,
}

/// See the head of the file.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// Write sparse arrays as objects, instead of refusing them.
    sparse_convert: bool,
    /// An array is sparse when its greatest index is over this times its length (0: never) ...
    sparse_ratio: i32,
    /// ... and over this.
    sparse_safe: i32,
    encode_max_depth: i32,
    decode_max_depth: i32,
    encode_invalid_numbers: InvalidNumbers,
    decode_invalid_numbers: bool,
    /// Significant digits.
    number_precision: i32,
    /// Only remembered: the buffer is always kept.
    keep_buffer: bool,
}

impl Settings {
    pub(crate) const DEFAULT: Settings = Settings {
        sparse_convert: false,
        sparse_ratio: 2,
        sparse_safe: 10,
        encode_max_depth: 1000,
        decode_max_depth: 1000,
        encode_invalid_numbers: InvalidNumbers::Refused,
        decode_invalid_numbers: true,
        number_precision: 14,
        keep_buffer: true,
    };
}

/// Pushes the library. Raises.
pub(crate) fn push_library(lua: Lua) {
    lua.new_table(0, FUNCTIONS.len() + 3);
    for (name, function) in FUNCTIONS {
        lua.push_function(function);
        lua.raw_set_field(-2, name);
    }
    lua.push_light(std::ptr::null());
    lua.raw_set_field(-2, "null");
    lua.push_bytes(b"cjson");
    lua.raw_set_field(-2, "_NAME");
    lua.push_bytes(b"2.1.0");
    lua.raw_set_field(-2, "_VERSION");
}

/// A table of its own with the same settings.
extern "C-unwind" fn new(lua: Lua) -> c_int {
    push_library(lua);
    1
}

/// At most `count` arguments; those that are missing are nil.
fn arguments(lua: Lua, count: c_int) {
    if lua.top() > count {
        lua.bad_argument(count + 1, c"found too many arguments");
    }
    lua.set_top(count);
}

/// Sets an integer, if the argument is there, and pushes it.
fn integer_setting(lua: Lua, argument: c_int, least: i32, most: i32, mut setting: i32) -> i32 {
    if lua.type_of(argument) != Type::Nil {
        setting = lua.check_integer(argument) as i32;
        if !(least..=most).contains(&setting) {
            for part in ["expected integer between ", " and "].iter().zip([least, most]) {
                lua.push_bytes(part.0.as_bytes());
                lua.push_number(part.1 as f64);
            }
            lua.concat(4);
            lua.bad_argument_as_on_top(1);
        }
    }
    lua.push_number(setting as f64);
    setting
}

/// Which of the words the argument is, or a boolean for the first two; none when it is missing.
fn option_setting(lua: Lua, argument: c_int, words: &[&[u8]]) -> Option<usize> {
    match lua.type_of(argument) {
        Type::Nil => None,
        Type::Boolean => Some(lua.boolean(argument) as usize),
        _ => {
            let word = lua.check_text(argument);
            let found = words.iter().position(|&known| known == word);
            if found.is_none() {
                lua.push_bytes(b"invalid option '");
                lua.push_value(argument);
                lua.push_bytes(b"'");
                lua.concat(3);
                lua.bad_argument_as_on_top(argument);
            }
            found
        }
    }
}

fn switch_setting(lua: Lua, argument: c_int, setting: bool) -> bool {
    let setting = option_setting(lua, argument, &[b"off", b"on"]).map_or(setting, |word| word == 1);
    lua.push_boolean(setting);
    setting
}

/// Changes the settings.
fn set(lua: Lua, change: impl FnOnce(&mut Settings)) {
    let mut settings = lua.context().json.get();
    change(&mut settings);
    lua.context().json.set(settings);
}

extern "C-unwind" fn encode_sparse_array(lua: Lua) -> c_int {
    arguments(lua, 3);
    let old = lua.context().json.get();
    let convert = switch_setting(lua, 1, old.sparse_convert);
    set(lua, |settings| settings.sparse_convert = convert);
    let ratio = integer_setting(lua, 2, 0, i32::MAX, old.sparse_ratio);
    set(lua, |settings| settings.sparse_ratio = ratio);
    let safe = integer_setting(lua, 3, 0, i32::MAX, old.sparse_safe);
    set(lua, |settings| settings.sparse_safe = safe);
    3
}

extern "C-unwind" fn encode_max_depth(lua: Lua) -> c_int {
    arguments(lua, 1);
    let depth = integer_setting(lua, 1, 1, i32::MAX, lua.context().json.get().encode_max_depth);
    set(lua, |settings| settings.encode_max_depth = depth);
    1
}

extern "C-unwind" fn decode_max_depth(lua: Lua) -> c_int {
    arguments(lua, 1);
    let depth = integer_setting(lua, 1, 1, i32::MAX, lua.context().json.get().decode_max_depth);
    set(lua, |settings| settings.decode_max_depth = depth);
    1
}

extern "C-unwind" fn encode_number_precision(lua: Lua) -> c_int {
    arguments(lua, 1);
    let digits = integer_setting(lua, 1, 1, 14, lua.context().json.get().number_precision);
    set(lua, |settings| settings.number_precision = digits);
    1
}

extern "C-unwind" fn encode_keep_buffer(lua: Lua) -> c_int {
    arguments(lua, 1);
    let keep = switch_setting(lua, 1, lua.context().json.get().keep_buffer);
    set(lua, |settings| settings.keep_buffer = keep);
    1
}

extern "C-unwind" fn encode_invalid_numbers(lua: Lua) -> c_int {
    arguments(lua, 1);
    let old = lua.context().json.get().encode_invalid_numbers;
    let new = match option_setting(lua, 1, &[b"off", b"on", b"null"]) {
        None => old,
        Some(0) => InvalidNumbers::Refused,
        Some(1) => InvalidNumbers::Written,
        Some(_) => InvalidNumbers::Null,
    };
    set(lua, |settings| settings.encode_invalid_numbers = new);
    match new {
        InvalidNumbers::Null => lua.push_bytes(b"null"),
        other => lua.push_boolean(other == InvalidNumbers::Written),
    }
    1
}

extern "C-unwind" fn decode_invalid_numbers(lua: Lua) -> c_int {
    arguments(lua, 1);
    let decode = switch_setting(lua, 1, lua.context().json.get().decode_invalid_numbers);
    set(lua, |settings| settings.decode_invalid_numbers = decode);
    1
}

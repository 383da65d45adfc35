//! The library `bit`: operations on 32 bits, as LuaJIT's and Redis's. Numbers are taken modulo 2^32, results are signed.

use std::ffi::c_int;

use crate::lua::{Function, Lua, Type};

const FUNCTIONS: [(&str, Function); 12] = [
    ("tobit", to_bit),
    ("bnot", not),
    ("band", and),
    ("bor", or),
    ("bxor", xor),
    ("lshift", left_shift),
    ("rshift", right_shift),
    ("arshift", arithmetic_right_shift),
    ("rol", rotate_left),
    ("ror", rotate_right),
    ("bswap", swap),
    ("tohex", to_hex),
];

/// Pushes the library. Raises.
pub(crate) fn push_library(lua: Lua) {
    lua.new_table(0, FUNCTIONS.len());
    for (name, function) in FUNCTIONS {
        lua.push_function(function);
        lua.raw_set_field(-2, name);
    }
}

/// The low 32 bits of the argument. Added to 2^52 + 2^51, a double shows its integer part modulo 2^32 (rounded to even) in its low bits.
fn bits(lua: Lua, argument: c_int) -> u32 {
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    let bits = (lua.number(argument) + MAGIC).to_bits() as u32;
    if bits == 0 {
        lua.check_number(argument);
    }
    bits
}

fn give(lua: Lua, bits: u32) -> c_int {
    lua.push_number(bits as i32 as f64);
    1
}

extern "C-unwind" fn to_bit(lua: Lua) -> c_int {
    give(lua, bits(lua, 1))
}

extern "C-unwind" fn not(lua: Lua) -> c_int {
    give(lua, !bits(lua, 1))
}

fn fold(lua: Lua, operation: fn(u32, u32) -> u32) -> c_int {
    let first = bits(lua, 1);
    give(lua, (2..=lua.top()).rev().fold(first, |all, argument| operation(all, bits(lua, argument))))
}

extern "C-unwind" fn and(lua: Lua) -> c_int {
    fold(lua, |a, b| a & b)
}

extern "C-unwind" fn or(lua: Lua) -> c_int {
    fold(lua, |a, b| a | b)
}

extern "C-unwind" fn xor(lua: Lua) -> c_int {
    fold(lua, |a, b| a ^ b)
}

fn shift(lua: Lua, operation: fn(u32, u32) -> u32) -> c_int {
    let value = bits(lua, 1);
    give(lua, operation(value, bits(lua, 2) & 31))
}

extern "C-unwind" fn left_shift(lua: Lua) -> c_int {
    shift(lua, |value, n| value << n)
}

extern "C-unwind" fn right_shift(lua: Lua) -> c_int {
    shift(lua, |value, n| value >> n)
}

extern "C-unwind" fn arithmetic_right_shift(lua: Lua) -> c_int {
    shift(lua, |value, n| (value as i32 >> n) as u32)
}

extern "C-unwind" fn rotate_left(lua: Lua) -> c_int {
    shift(lua, u32::rotate_left)
}

extern "C-unwind" fn rotate_right(lua: Lua) -> c_int {
    shift(lua, u32::rotate_right)
}

extern "C-unwind" fn swap(lua: Lua) -> c_int {
    give(lua, bits(lua, 1).swap_bytes())
}

extern "C-unwind" fn to_hex(lua: Lua) -> c_int {
    let value = bits(lua, 1);
    let digits = if lua.type_of(2) == Type::None { 8 } else { bits(lua, 2) as i32 };
    let alphabet = if digits < 0 { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    let len = digits.unsigned_abs().min(8) as usize;
    let mut text = [0; 8];
    for (i, digit) in text[..len].iter_mut().rev().enumerate() {
        *digit = alphabet[(value >> (4 * i) & 15) as usize];
    }
    lua.push_bytes(&text[..len]);
    1
}

//! The library `cmsgpack`: MessagePack as Redis's writes and reads it.
//!
//! Numbers that are integers are written as the smallest integer type, others as a float where that loses nothing. A table whose keys are 1 to n is an array,
//! others are maps. Tables nested 16 deep and deeper, functions and threads are nil.

use std::ffi::c_int;

use crate::context::Context;
use crate::encode::cut;
use crate::limits::NESTING_MAX;
use crate::lua::{Function, Lua, Type};

const FUNCTIONS: [(&str, Function); 4] =
    [("pack", pack), ("unpack", unpack), ("unpack_one", unpack_one), ("unpack_limit", unpack_limit)];

const TEXTS: [(&str, &str); 4] = [
    ("_NAME", "cmsgpack"),
    ("_VERSION", "lua-cmsgpack 0.4.0"),
    ("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo"),
    ("_DESCRIPTION", "MessagePack C implementation for Lua"),
];

/// Tables in tables that are written.
const WRITTEN_NESTING_MAX: usize = 16;

/// Pushes the library. Raises.
pub(crate) fn push_library(lua: Lua) {
    lua.new_table(0, FUNCTIONS.len() + TEXTS.len());
    for (name, function) in FUNCTIONS {
        lua.push_function(function);
        lua.raw_set_field(-2, name);
    }
    for (name, text) in TEXTS {
        lua.push_bytes(text.as_bytes());
        lua.raw_set_field(-2, name);
    }
}

extern "C-unwind" fn pack(lua: Lua) -> c_int {
    let count = lua.top();
    if count == 0 {
        lua.bad_argument(0, c"MessagePack pack needs input.");
    }
    let context = lua.context();
    context.scratch.borrow().clear();
    for i in 1..=count {
        if !lua.check_stack(1) {
            lua.fail_without_stack("stack overflow (in function mp_check)");
        }
        lua.push_value(i);
        write(lua, context, 0);
    }
    lua.push_bytes(context.scratch.borrow());
    1
}

/// Writes the value on the top and pops it.
fn write(lua: Lua, context: &Context, level: usize) {
    let out = context.scratch.borrow();
    if out.len() > context.memory_limit() {
        lua.fail_plainly("not enough memory");
    }
    if context.element_done() {
        crate::redis_api::fail_killed(lua, context);
    }
    match lua.type_of(-1) {
        Type::String => {
            let text = lua.bytes(-1).unwrap_or_default();
            match text.len() {
                len @ 0..=31 => out.push(0xa0 | len as u8),
                len @ 32..=0xff => out.extend_from_slice(&[0xd9, len as u8]),
                len => write_length(out, len, 0xda, 0xdb),
            }
            out.extend_from_slice(text);
        }
        Type::Boolean => out.push(if lua.boolean(-1) { 0xc3 } else { 0xc2 }),
        Type::Number => write_number(out, lua.number(-1)),
        Type::Table if level < WRITTEN_NESTING_MAX => write_table(lua, context, level),
        _ => out.push(0xc0),
    }
    lua.pop(1);
}

fn write_length(out: &mut Vec<u8>, len: usize, of_16_bits: u8, of_32_bits: u8) {
    match u16::try_from(len) {
        Ok(len) => {
            out.push(of_16_bits);
            out.extend_from_slice(&len.to_be_bytes());
        }
        Err(_) => {
            out.push(of_32_bits);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
}

fn write_number(out: &mut Vec<u8>, number: f64) {
    let integer = cut(number);
    // The least integer also stands for what does not fit; equality tells them apart.
    if integer as f64 != number {
        if number as f32 as f64 == number {
            out.push(0xca);
            out.extend_from_slice(&(number as f32).to_be_bytes());
        } else {
            out.push(0xcb);
            out.extend_from_slice(&number.to_be_bytes());
        }
        return;
    }
    match integer {
        0..=0x7f => out.push(integer as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, integer as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(integer as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(integer as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend_from_slice(&integer.to_be_bytes());
        }
        -32..=-1 => out.push(integer as u8),
        -0x80..=-33 => out.extend_from_slice(&[0xd0, integer as u8]),
        -0x8000..=-0x81 => {
            out.push(0xd1);
            out.extend_from_slice(&(integer as i16).to_be_bytes());
        }
        -0x8000_0000..=-0x8001 => {
            out.push(0xd2);
            out.extend_from_slice(&(integer as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend_from_slice(&integer.to_be_bytes());
        }
    }
}

/// The length of the table on the top if its keys are 1 to n, and else how many pairs it has.
fn shape(lua: Lua) -> Result<usize, usize> {
    let mut pairs = 0;
    let mut greatest: usize = 0;
    let mut is_array = true;
    lua.push_nil();
    while lua.next(-2) {
        lua.pop(1);
        pairs += 1;
        if is_array {
            let key = lua.number(-1);
            is_array =
                lua.type_of(-1) == Type::Number && key > 0.0 && key <= i32::MAX as f64 && key.trunc() == key;
            greatest = greatest.max(key as usize);
        }
    }
    if is_array && greatest == pairs {
        Ok(pairs)
    } else {
        Err(pairs)
    }
}

fn write_table(lua: Lua, context: &Context, level: usize) {
    if !lua.check_stack(4) {
        lua.fail_without_stack("stack overflow (in function mp_encode_lua_table_as_map)");
    }
    match shape(lua) {
        Ok(len) => {
            let out = context.scratch.borrow();
            if len <= 15 {
                out.push(0x90 | len as u8);
            } else {
                write_length(out, len, 0xdc, 0xdd);
            }
            for i in 1..=len {
                lua.raw_get_at(-1, i as c_int);
                write(lua, context, level + 1);
            }
        }
        Err(pairs) => {
            let out = context.scratch.borrow();
            if pairs <= 15 {
                out.push(0x80 | pairs as u8);
            } else {
                write_length(out, pairs, 0xde, 0xdf);
            }
            lua.push_nil();
            while lua.next(-2) {
                lua.push_value(-2);
                write(lua, context, level + 1);
                write(lua, context, level + 1);
            }
        }
    }
}

/// What is left to read.
struct Cursor<'a> {
    lua: Lua,
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    #[inline]
    fn take(&mut self, len: usize) -> &'a [u8] {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            self.lua.fail("Missing bytes in input.");
        };
        self.rest = rest;
        taken
    }

    #[inline]
    fn unsigned(&mut self, bytes: usize) -> u64 {
        self.take(bytes).iter().fold(0, |number, &byte| number << 8 | byte as u64)
    }

    fn signed(&mut self, bytes: usize) -> i64 {
        let unused = 64 - 8 * bytes as u32;
        (self.unsigned(bytes) << unused) as i64 >> unused
    }

    /// Pushes one value.
    fn value(&mut self, depth: usize) {
        let lua = self.lua;
        if depth > NESTING_MAX || !lua.check_stack(3) {
            lua.fail_without_stack(
                "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)",
            );
        }
        let context = lua.context();
        if context.element_done() {
            crate::redis_api::fail_killed(lua, context);
        }
        let kind = self.take(1)[0];
        match kind {
            0..=0x7f => lua.push_number(kind as f64),
            0x80..=0x8f => self.map((kind & 15) as u64, depth),
            0x90..=0x9f => self.array((kind & 15) as u64, depth),
            0xa0..=0xbf => lua.push_bytes(self.take((kind & 31) as usize)),
            0xc0 => lua.push_nil(),
            0xc2 => lua.push_boolean(false),
            0xc3 => lua.push_boolean(true),
            0xca => lua.push_number(f32::from_bits(self.unsigned(4) as u32) as f64),
            0xcb => lua.push_number(f64::from_bits(self.unsigned(8))),
            0xcc..=0xce => {
                let number = self.unsigned(1 << (kind - 0xcc));
                lua.push_number(number as f64);
            }
            // Redis reads these as signed, too.
            0xcf => lua.push_number(self.signed(8) as f64),
            0xd0..=0xd3 => {
                let number = self.signed(1 << (kind - 0xd0));
                lua.push_number(number as f64);
            }
            0xd9..=0xdb => {
                let len = self.unsigned(1 << (kind - 0xd9));
                lua.push_bytes(self.take(len as usize));
            }
            0xdc | 0xdd => {
                let len = self.unsigned(2 << (kind - 0xdc));
                self.array(len, depth);
            }
            0xde | 0xdf => {
                let len = self.unsigned(2 << (kind - 0xde));
                self.map(len, depth);
            }
            0xe0..=0xff => lua.push_number(kind as i8 as f64),
            _ => lua.fail("Bad data format in input."),
        }
    }

    fn array(&mut self, len: u64, depth: usize) {
        let lua = self.lua;
        // An element takes a byte at least.
        lua.new_table((len as usize).min(self.rest.len()), 0);
        for i in 1..=len {
            self.value(depth + 1);
            lua.raw_set_at(-2, i as c_int);
        }
    }

    fn map(&mut self, len: u64, depth: usize) {
        let lua = self.lua;
        lua.new_table(0, (len as usize).min(self.rest.len() / 2));
        for _ in 0..len {
            self.value(depth + 1);
            self.value(depth + 1);
            lua.raw_set(-3);
        }
    }
}

/// Pushes up to `limit` values from `offset` on, or all values when both are 0; with limits, before them the offset of what follows, or -1.
fn unpack_from(lua: Lua, limit: i64, offset: i64) -> c_int {
    let input = lua.check_text(1);
    lua.set_top(1);
    let about = |parts: [&[u8]; 2], numbers: [i64; 2]| -> ! {
        lua.push_place(1);
        for (part, number) in parts.iter().zip(numbers) {
            lua.push_bytes(part);
            lua.push_number(number as i32 as f64);
        }
        lua.push_bytes(b".");
        lua.concat(6);
        lua.error()
    };
    if offset < 0 || limit < 0 {
        about(
            [b"Invalid request to unpack with offset of ", b" and limit of "],
            [offset, input.len() as i64],
        );
    }
    if offset as usize > input.len() {
        about([b"Start offset ", b" greater than input length "], [offset, input.len() as i64]);
    }
    let all = limit == 0 && offset == 0;
    let limit = if all { i32::MAX as i64 } else { limit };
    let mut cursor = Cursor { lua, rest: &input[offset as usize..] };
    let mut results = 0;
    while !cursor.rest.is_empty() && (results as i64) < limit {
        cursor.value(0);
        results += 1;
    }
    if !all {
        let next = if cursor.rest.is_empty() { -1.0 } else { (input.len() - cursor.rest.len()) as f64 };
        if !lua.check_stack(1) {
            lua.fail_without_stack("stack overflow (in function mp_unpack_full)");
        }
        lua.push_number(next);
        lua.insert(2);
        results += 1;
    }
    results
}

fn optional_integer(lua: Lua, argument: c_int) -> i64 {
    if matches!(lua.type_of(argument), Type::None | Type::Nil) {
        0
    } else {
        lua.check_integer(argument)
    }
}

extern "C-unwind" fn unpack(lua: Lua) -> c_int {
    unpack_from(lua, 0, 0)
}

extern "C-unwind" fn unpack_one(lua: Lua) -> c_int {
    unpack_from(lua, 1, optional_integer(lua, 2))
}

extern "C-unwind" fn unpack_limit(lua: Lua) -> c_int {
    let limit = lua.check_integer(2);
    unpack_from(lua, limit, optional_integer(lua, 3))
}

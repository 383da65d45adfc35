//! Writing JSON.

use std::ffi::c_int;

use super::{number, InvalidNumbers, Settings};
use crate::context::Context;
use crate::limits::NESTING_MAX;
use crate::lua::{Lua, Type};

pub(super) extern "C-unwind" fn encode(lua: Lua) -> c_int {
    if lua.top() != 1 {
        lua.bad_argument(1, c"expected 1 argument");
    }
    let context = lua.context();
    context.scratch.borrow().clear();
    let writer = Writer { lua, context, settings: context.json.get() };
    writer.value(0);
    lua.push_bytes(context.scratch.borrow());
    1
}

struct Writer<'a> {
    lua: Lua,
    context: &'a Context,
    settings: Settings,
}

impl Writer<'_> {
    #[inline]
    #[allow(clippy::mut_from_ref)]
    fn out(&self) -> &mut Vec<u8> {
        self.context.scratch.borrow()
    }

    fn refuse(&self, index: c_int, reason: &str) -> ! {
        let lua = self.lua;
        let what = lua.type_name(index);
        lua.push_place(1);
        lua.push_bytes(b"Cannot serialise ");
        lua.push_bytes(what.as_bytes());
        lua.push_bytes(b": ");
        lua.push_bytes(reason.as_bytes());
        lua.concat(5);
        lua.error()
    }

    /// The value on the top, which stays.
    fn value(&self, depth: usize) {
        let (lua, out) = (self.lua, self.out());
        if out.len() > self.context.memory_limit() {
            lua.fail_plainly("not enough memory");
        }
        if self.context.element_done() {
            crate::redis_api::fail_killed(lua, self.context);
        }
        match lua.type_of(-1) {
            Type::String => self.text(-1),
            Type::Number => self.number(-1),
            Type::Boolean => out.extend_from_slice(if lua.boolean(-1) { b"true" } else { b"false" }),
            Type::Nil => out.extend_from_slice(b"null"),
            Type::Table => self.table(depth + 1),
            Type::Light if lua.light(-1).is_null() => out.extend_from_slice(b"null"),
            _ => self.refuse(-1, "type not supported"),
        }
    }

    fn text(&self, index: c_int) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let out = self.out();
        let text = self.lua.bytes(index).unwrap_or_default();
        out.reserve(text.len() + 2);
        out.push(b'"');
        let mut plain = 0;
        for (i, &byte) in text.iter().enumerate() {
            if !matches!(byte, 0..=0x1f | b'"' | b'/' | b'\\' | 0x7f) {
                continue;
            }
            out.extend_from_slice(&text[plain..i]);
            plain = i + 1;
            out.push(b'\\');
            match byte {
                b'"' | b'/' | b'\\' => out.push(byte),
                8 => out.push(b'b'),
                b'\t' => out.push(b't'),
                b'\n' => out.push(b'n'),
                0x0c => out.push(b'f'),
                b'\r' => out.push(b'r'),
                _ => {
                    out.extend_from_slice(b"u00");
                    out.push(DIGITS[(byte >> 4) as usize]);
                    out.push(DIGITS[(byte & 15) as usize]);
                }
            }
        }
        out.extend_from_slice(&text[plain..]);
        out.push(b'"');
    }

    fn number(&self, index: c_int) {
        let number = self.lua.number(index);
        if !number.is_finite() {
            match self.settings.encode_invalid_numbers {
                InvalidNumbers::Refused => self.refuse(index, "must not be NaN or Inf"),
                InvalidNumbers::Null => return self.out().extend_from_slice(b"null"),
                InvalidNumbers::Written if number.is_nan() => return self.out().extend_from_slice(b"nan"),
                InvalidNumbers::Written => {}
            }
        }
        number::write(self.out(), number, self.settings.number_precision as usize);
    }

    fn table(&self, depth: usize) {
        let lua = self.lua;
        let max = (self.settings.encode_max_depth as usize).min(NESTING_MAX);
        if depth > max || !lua.check_stack(6) {
            lua.set_top(0);
            lua.push_place(1);
            lua.push_bytes(b"Cannot serialise, excessive nesting (");
            lua.push_number(depth as f64);
            lua.push_bytes(b")");
            lua.concat(4);
            lua.error();
        }
        match self.array_len() {
            Some(len) if len > 0 => self.array(len, depth),
            _ => self.object(depth),
        }
    }

    /// The greatest index, if all keys are indices and the array is not too sparse.
    fn array_len(&self) -> Option<c_int> {
        let lua = self.lua;
        let mut greatest: c_int = 0;
        let mut items: i64 = 0;
        lua.push_nil();
        while lua.next(-2) {
            let key = lua.number(-2);
            if lua.type_of(-2) != Type::Number || key.floor() != key || key < 1.0 {
                lua.pop(2);
                return None;
            }
            if key > greatest as f64 {
                // What C makes of an index beyond its integers: the table is an object then.
                greatest = if key > c_int::MAX as f64 { c_int::MIN } else { key as c_int };
            }
            items += 1;
            lua.pop(1);
        }
        let settings = &self.settings;
        if settings.sparse_ratio > 0
            && greatest as i64 > items.saturating_mul(settings.sparse_ratio as i64)
            && greatest > settings.sparse_safe
        {
            if !settings.sparse_convert {
                self.refuse(-1, "excessively sparse array");
            }
            return None;
        }
        Some(greatest)
    }

    fn array(&self, len: c_int, depth: usize) {
        self.out().push(b'[');
        for i in 1..=len {
            if i > 1 {
                self.out().push(b',');
            }
            self.lua.raw_get_at(-1, i);
            self.value(depth);
            self.lua.pop(1);
        }
        self.out().push(b']');
    }

    fn object(&self, depth: usize) {
        let lua = self.lua;
        self.out().push(b'{');
        let mut first = true;
        lua.push_nil();
        while lua.next(-2) {
            if !first {
                self.out().push(b',');
            }
            first = false;
            match lua.type_of(-2) {
                Type::Number => {
                    self.out().push(b'"');
                    self.number(-2);
                    self.out().push(b'"');
                }
                Type::String => self.text(-2),
                _ => self.refuse(-2, "table key must be a number or string"),
            }
            self.out().push(b':');
            self.value(depth);
            lua.pop(1);
        }
        self.out().push(b'}');
    }
}

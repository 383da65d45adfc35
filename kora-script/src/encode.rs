//! What a script returns as a reply, encoded for the client.
//!
//! Numbers are cut to integers, `false` and nil are null, tables are looked at for the fields `err`, `ok`, `double`, `big_number`, `verbatim_string`, `map` and
//! `set` in this order, and else are arrays up to their first nil. All without metamethods. The elements of arrays are counted before they are written,
//! since RESP says lengths first.

use std::ffi::c_int;

use kora_engine::double::Text;
use kora_engine::reply::Protocol;

use crate::context::Context;
use crate::lua::{upvalue, Lua, Type};

/// The upvalues of the function that calls [`push_reply`] which hold the names of fields, in the order in which they are looked for.
pub(crate) struct Fields {
    pub(crate) first: c_int,
}

/// The texts of [`Fields`].
pub(crate) const FIELD_NAMES: [&str; 9] =
    ["err", "ok", "double", "big_number", "verbatim_string", "map", "set", "format", "string"];

const ERR: c_int = 0;
const OK: c_int = 1;
const DOUBLE: c_int = 2;
const BIG_NUMBER: c_int = 3;
const VERBATIM: c_int = 4;
const MAP: c_int = 5;
const SET: c_int = 6;
const FORMAT: c_int = 7;
const STRING: c_int = 8;

/// The script was killed, or its reply is larger than its memory may be.
#[derive(Debug)]
pub(crate) enum Stopped {
    Killed,
    TooLarge,
}

fn head(out: &mut Vec<u8>, kind: u8, n: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + 25);
    head(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// A line without line ends in it, up to the first zero byte.
pub(crate) fn line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    one_line(out, text);
    out.extend_from_slice(b"\r\n");
}

/// A text as a part of a line: C ends it at a zero byte, line ends become spaces.
pub(crate) fn one_line(out: &mut Vec<u8>, text: &[u8]) {
    let end = text.iter().position(|&b| b == 0).unwrap_or(text.len());
    out.extend(text[..end].iter().map(|&b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
}

/// A double as C casts it to 64 bits on x86: what does not fit is the least integer.
pub(crate) fn cut(number: f64) -> i64 {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if (-TWO_TO_63..TWO_TO_63).contains(&number) {
        number as i64
    } else {
        i64::MIN
    }
}

/// Appends the value on the top to the output and pops it.
pub(crate) fn push_reply(lua: Lua, context: &Context, fields: &Fields) -> Result<(), Stopped> {
    let writer = Writer { lua, context, fields, resp3: context.reply_protocol.get() == Protocol::Resp3 };
    writer.value()
}

struct Writer<'a> {
    lua: Lua,
    context: &'a Context,
    fields: &'a Fields,
    resp3: bool,
}

impl Writer<'_> {
    #[inline]
    #[allow(clippy::mut_from_ref)]
    fn out(&self) -> &mut Vec<u8> {
        self.context.output.borrow()
    }

    /// Pushes the field of the table on the top.
    #[inline]
    fn field(&self, field: c_int) -> Type {
        self.lua.push_value(upvalue(self.fields.first + field));
        self.lua.raw_get(-2);
        self.lua.type_of(-1)
    }

    fn null(&self) {
        self.out().extend_from_slice(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    fn value(&self) -> Result<(), Stopped> {
        let (lua, out) = (self.lua, self.out());
        if self.context.element_done() {
            return Err(Stopped::Killed);
        }
        if out.len() > self.context.memory_limit() {
            return Err(Stopped::TooLarge);
        }
        match lua.type_of(-1) {
            Type::String => bulk(out, lua.bytes(-1).unwrap_or_default()),
            Type::Number => {
                out.push(b':');
                out.extend_from_slice(itoa::Buffer::new().format(cut(lua.number(-1))).as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            Type::Boolean => match (self.context.call_protocol.get(), lua.boolean(-1)) {
                (Protocol::Resp2, true) => out.extend_from_slice(b":1\r\n"),
                (Protocol::Resp2, false) => self.null(),
                (Protocol::Resp3, value) => out.extend_from_slice(match (self.resp3, value) {
                    (true, true) => b"#t\r\n",
                    (true, false) => b"#f\r\n",
                    (false, true) => b":1\r\n",
                    (false, false) => b":0\r\n",
                }),
            },
            Type::Table if !lua.check_stack(4) => line(out, b'-', b"ERR reached lua stack limit"),
            Type::Table => self.table()?,
            _ => self.null(),
        }
        lua.pop(1);
        Ok(())
    }

    /// The table on the top, which stays.
    fn table(&self) -> Result<(), Stopped> {
        let (lua, out) = (self.lua, self.out());
        if self.field(ERR) == Type::String {
            line(out, b'-', lua.bytes(-1).unwrap_or_default());
            lua.pop(1);
            lua.raw_get_field(-1, "ignore_error_stats_update");
            self.context.error_was_counted.set(lua.boolean(-1));
            lua.pop(1);
            return Ok(());
        }
        lua.pop(1);
        if self.field(OK) == Type::String {
            line(out, b'+', lua.bytes(-1).unwrap_or_default());
            lua.pop(1);
            return Ok(());
        }
        lua.pop(1);
        if self.field(DOUBLE) == Type::Number {
            let text = Text::of(lua.number(-1));
            if self.resp3 {
                line(out, b',', text.as_bytes());
            } else {
                bulk(out, text.as_bytes());
            }
            lua.pop(1);
            return Ok(());
        }
        lua.pop(1);
        if self.field(BIG_NUMBER) == Type::String {
            let text = lua.bytes(-1).unwrap_or_default();
            if self.resp3 {
                out.push(b'(');
            } else {
                head(out, b'$', text.len());
            }
            out.extend(text.iter().map(|&b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
            out.extend_from_slice(b"\r\n");
            lua.pop(1);
            return Ok(());
        }
        lua.pop(1);
        if self.field(VERBATIM) == Type::Table && self.verbatim() {
            lua.pop(1);
            return Ok(());
        }
        lua.pop(1);
        if self.field(MAP) == Type::Table {
            let pairs = self.count_pairs();
            if self.resp3 {
                head(out, b'%', pairs);
            } else {
                head(out, b'*', pairs * 2);
            }
            lua.push_nil();
            while lua.next(-2) {
                lua.push_value(-2);
                self.value()?;
                self.value()?;
            }
            lua.pop(1);
            return Ok(());
        }
        lua.pop(1);
        if self.field(SET) == Type::Table {
            head(out, if self.resp3 { b'~' } else { b'*' }, self.count_pairs());
            lua.push_nil();
            while lua.next(-2) {
                lua.pop(1);
                lua.push_value(-1);
                self.value()?;
            }
            lua.pop(1);
            return Ok(());
        }
        lua.pop(1);
        self.array()
    }

    /// Writes the table on the top as a verbatim string, if it is one.
    fn verbatim(&self) -> bool {
        let (lua, out) = (self.lua, self.out());
        let is_text = self.field(FORMAT) == Type::String;
        let format = lua.bytes(-1).unwrap_or_default();
        lua.pop(1);
        let is_text = self.field(STRING) == Type::String && is_text;
        let text = lua.bytes(-1).unwrap_or_default();
        lua.pop(1);
        if is_text && self.resp3 {
            head(out, b'=', text.len() + 4);
            // Three letters, whatever was given.
            let format = format.iter().take_while(|&&b| b != 0).copied();
            out.extend(format.chain(std::iter::repeat(b' ')).take(3));
            out.push(b':');
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        } else if is_text {
            bulk(out, text);
        }
        is_text
    }

    fn count_pairs(&self) -> usize {
        let mut pairs = 0;
        self.lua.push_nil();
        while self.lua.next(-2) {
            self.lua.pop(1);
            pairs += 1;
        }
        pairs
    }

    fn array(&self) -> Result<(), Stopped> {
        let lua = self.lua;
        let mut len: c_int = 0;
        loop {
            lua.raw_get_at(-1, len + 1);
            let end = lua.type_of(-1) == Type::Nil;
            lua.pop(1);
            if end {
                break;
            }
            len += 1;
        }
        head(self.out(), b'*', len as usize);
        for i in 1..=len {
            lua.raw_get_at(-1, i);
            self.value()?;
        }
        Ok(())
    }
}

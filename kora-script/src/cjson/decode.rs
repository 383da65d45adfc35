//! Reading JSON.

use std::ffi::c_int;

use super::{number, Settings};
use crate::context::Context;
use crate::limits::NESTING_MAX;
use crate::lua::Lua;

pub(super) extern "C-unwind" fn decode(lua: Lua) -> c_int {
    if lua.top() != 1 {
        lua.bad_argument(1, c"expected 1 argument");
    }
    let context = lua.context();
    let data = lua.check_text(1);
    if data.len() >= 2 && (data[0] == 0 || data[1] == 0) {
        lua.fail("JSON parser does not support UTF-16 or UTF-32");
    }
    let mut reader = Reader { lua, context, settings: context.json.get(), data, at: 0, depth: 0 };
    let token = reader.next();
    reader.value(token);
    let token = reader.next();
    if token.kind != Kind::End {
        reader.refuse("the end", &token);
    }
    1
}

/// A kind of token.
#[derive(Clone, Copy, PartialEq)]
enum Kind<'a> {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    /// A text that lies in the source, or (none) in the scratch buffer.
    Text(Option<&'a [u8]>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Kind<'_> {
    fn name(self) -> &'static str {
        match self {
            Kind::ObjectBegin => "T_OBJ_BEGIN",
            Kind::ObjectEnd => "T_OBJ_END",
            Kind::ArrayBegin => "T_ARR_BEGIN",
            Kind::ArrayEnd => "T_ARR_END",
            Kind::Text(_) => "T_STRING",
            Kind::Number(_) => "T_NUMBER",
            Kind::Boolean(_) => "T_BOOLEAN",
            Kind::Null => "T_NULL",
            Kind::Colon => "T_COLON",
            Kind::Comma => "T_COMMA",
            Kind::End => "T_END",
            Kind::Error(text) => text,
        }
    }
}

struct Token<'a> {
    kind: Kind<'a>,
    /// Where it begins; of an error, where that is.
    at: usize,
}

struct Reader<'a> {
    lua: Lua,
    context: &'a Context,
    settings: Settings,
    data: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// The byte so far ahead; 0 behind the end, as after a text of C.
    #[inline]
    fn byte(&self, ahead: usize) -> u8 {
        self.data.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn refuse(&self, expected: &str, found: &Token) -> ! {
        let lua = self.lua;
        lua.push_place(1);
        lua.push_bytes(b"Expected ");
        lua.push_bytes(expected.as_bytes());
        lua.push_bytes(b" but found ");
        lua.push_bytes(found.kind.name().as_bytes());
        lua.push_bytes(b" at character ");
        lua.push_number((found.at + 1) as f64);
        lua.concat(7);
        lua.error()
    }

    fn next(&mut self) -> Token<'a> {
        while matches!(self.byte(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let at = self.at;
        let simple = match self.byte(0) {
            b'{' => Some(Kind::ObjectBegin),
            b'}' => Some(Kind::ObjectEnd),
            b'[' => Some(Kind::ArrayBegin),
            b']' => Some(Kind::ArrayEnd),
            b',' => Some(Kind::Comma),
            b':' => Some(Kind::Colon),
            _ => None,
        };
        if let Some(kind) = simple {
            self.at += 1;
            return Token { kind, at };
        }
        let rest = &self.data[at.min(self.data.len())..];
        let (kind, len) = match self.byte(0) {
            0 => (Kind::End, 0),
            b'"' => return self.text(),
            b'-' | b'0'..=b'9' => {
                if !self.settings.decode_invalid_numbers && is_invalid_number(rest) {
                    (Kind::Error("invalid number"), 0)
                } else {
                    read_number(rest)
                }
            }
            b't' if rest.starts_with(b"true") => (Kind::Boolean(true), 4),
            b'f' if rest.starts_with(b"false") => (Kind::Boolean(false), 5),
            b'n' if rest.starts_with(b"null") => (Kind::Null, 4),
            b'f' | b'i' | b'I' | b'n' | b'N' | b't' | b'+'
                if self.settings.decode_invalid_numbers && is_invalid_number(rest) =>
            {
                read_number(rest)
            }
            _ => (Kind::Error("invalid token"), 0),
        };
        self.at += len;
        Token { kind, at }
    }

    /// The text whose quote is next.
    fn text(&mut self) -> Token<'a> {
        let begin = self.at;
        self.at += 1;
        let start = self.at;
        let len = self.data[start..].iter().take_while(|&&b| !matches!(b, b'"' | b'\\' | 0)).count();
        if self.byte(len) == b'"' {
            self.at += len + 1;
            return Token { kind: Kind::Text(Some(&self.data[start..start + len])), at: begin };
        }
        let out = self.context.scratch.borrow();
        out.clear();
        loop {
            let problem = match self.byte(0) {
                b'"' => break,
                0 => Some("unexpected end of string"),
                b'\\' => match self.byte(1) {
                    escaped @ (b'"' | b'\\' | b'/') => {
                        out.push(escaped);
                        None
                    }
                    b'b' => {
                        out.push(8);
                        None
                    }
                    b't' => {
                        out.push(b'\t');
                        None
                    }
                    b'n' => {
                        out.push(b'\n');
                        None
                    }
                    b'f' => {
                        out.push(0x0c);
                        None
                    }
                    b'r' => {
                        out.push(b'\r');
                        None
                    }
                    b'u' => match self.unicode_escape(out) {
                        Some(len) => {
                            self.at += len;
                            continue;
                        }
                        None => Some("invalid unicode escape code"),
                    },
                    _ => Some("invalid escape code"),
                },
                byte => {
                    out.push(byte);
                    self.at += 1;
                    continue;
                }
            };
            if let Some(problem) = problem {
                return Token { kind: Kind::Error(problem), at: self.at };
            }
            self.at += 2;
        }
        self.at += 1;
        Token { kind: Kind::Text(None), at: begin }
    }

    /// Appends the character of `\uXXXX`, or of a surrogate pair; the length of the escape.
    fn unicode_escape(&self, out: &mut Vec<u8>) -> Option<usize> {
        let unit = |ahead: usize| {
            (ahead..ahead + 4).try_fold(0, |unit, i| Some(unit << 4 | (self.byte(i) as char).to_digit(16)?))
        };
        let first = unit(2)?;
        let (code, len) = if first & 0xf800 == 0xd800 {
            let is_pair = first & 0x400 == 0 && self.byte(6) == b'\\' && self.byte(7) == b'u';
            let second = is_pair.then(|| unit(8)).flatten().filter(|second| second & 0xfc00 == 0xdc00)?;
            (((first & 0x3ff) << 10 | second & 0x3ff) + 0x10000, 12)
        } else {
            (first, 6)
        };
        let mut utf8 = [0; 4];
        out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut utf8).as_bytes());
        Some(len)
    }

    fn push_text(&self, text: Option<&[u8]>) {
        self.lua.push_bytes(text.unwrap_or_else(|| self.context.scratch.borrow()));
    }

    /// Pushes the value that begins with the token.
    fn value(&mut self, token: Token) {
        let lua = self.lua;
        if self.context.element_done() {
            crate::redis_api::fail_killed(lua, self.context);
        }
        match token.kind {
            Kind::Text(text) => self.push_text(text),
            Kind::Number(number) => lua.push_number(number),
            Kind::Boolean(value) => lua.push_boolean(value),
            Kind::Null => lua.push_light(std::ptr::null()),
            Kind::ObjectBegin => self.object(),
            Kind::ArrayBegin => self.array(),
            _ => self.refuse("value", &token),
        }
    }

    fn descend(&mut self) {
        let lua = self.lua;
        self.depth += 1;
        let max = (self.settings.decode_max_depth as usize).min(NESTING_MAX);
        if self.depth > max || !lua.check_stack(6) {
            lua.set_top(0);
            lua.push_place(1);
            lua.push_bytes(b"Found too many nested data structures (");
            lua.push_number(self.depth as f64);
            lua.push_bytes(b") at character ");
            lua.push_number(self.at as f64);
            lua.concat(5);
            lua.error();
        }
        lua.new_table(0, 0);
    }

    fn object(&mut self) {
        self.descend();
        let mut token = self.next();
        if token.kind == Kind::ObjectEnd {
            self.depth -= 1;
            return;
        }
        loop {
            let Kind::Text(key) = token.kind else {
                self.refuse("object key string", &token);
            };
            self.push_text(key);
            token = self.next();
            if token.kind != Kind::Colon {
                self.refuse("colon", &token);
            }
            token = self.next();
            self.value(token);
            self.lua.raw_set(-3);
            token = self.next();
            match token.kind {
                Kind::ObjectEnd => break,
                Kind::Comma => token = self.next(),
                _ => self.refuse("comma or object end", &token),
            }
        }
        self.depth -= 1;
    }

    fn array(&mut self) {
        self.descend();
        let mut token = self.next();
        if token.kind == Kind::ArrayEnd {
            self.depth -= 1;
            return;
        }
        for i in 1.. {
            self.value(token);
            self.lua.raw_set_at(-2, i);
            token = self.next();
            match token.kind {
                Kind::ArrayEnd => break,
                Kind::Comma => token = self.next(),
                _ => self.refuse("comma or array end", &token),
            }
        }
        self.depth -= 1;
    }
}

fn read_number(text: &[u8]) -> (Kind<'static>, usize) {
    match number::read(text) {
        Some((number, len)) => (Kind::Number(number), len),
        None => (Kind::Error("invalid number"), 0),
    }
}

/// Whether it is a number of C that JSON does not have: a plus, hexadecimal, leading zeros, infinite or not a number.
fn is_invalid_number(text: &[u8]) -> bool {
    if text.first() == Some(&b'+') {
        return true;
    }
    let text = text.strip_prefix(b"-").unwrap_or(text);
    match text {
        [b'0', b'x' | b'X' | b'0'..=b'9', ..] => true,
        [b'0', ..] => false,
        [first, ..] if *first > b'9' => {
            let begin = text.get(..3).unwrap_or_default();
            begin.eq_ignore_ascii_case(b"inf") || begin.eq_ignore_ascii_case(b"nan")
        }
        _ => false,
    }
}

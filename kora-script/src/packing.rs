//! The library `struct`: numbers and texts in and out of binary strings, by a format.
//!
//! `b` `h` `i`*n* `l` signed integers of 1, 2, *n* (4), 8 bytes, in capitals unsigned; `T` size_t; `f` `d` floats; `s` text and a zero byte; `c`*n* *n* bytes;
//! `x` a zero byte; `<` `>` byte order; `!`*n* alignment.

use std::ffi::c_int;

use crate::lua::{Function, Lua, Type};

const FUNCTIONS: [(&str, Function); 3] = [("pack", pack), ("unpack", unpack), ("size", size)];

/// Largest integer in bytes.
const INTEGER_BYTES_MAX: i32 = 32;
/// Alignment of `!` without a number.
const ALIGNMENT_MAX: i32 = 8;

/// Pushes the library. Raises.
pub(crate) fn push_library(lua: Lua) {
    lua.new_table(0, FUNCTIONS.len());
    for (name, function) in FUNCTIONS {
        lua.push_function(function);
        lua.raw_set_field(-2, name);
    }
}

/// A format, read from front to back.
struct Format<'a> {
    lua: Lua,
    rest: &'a [u8],
    big_endian: bool,
    alignment: i32,
}

impl<'a> Format<'a> {
    fn of_argument(lua: Lua) -> Format<'a> {
        let text = lua.check_text(1);
        let end = text.iter().position(|&b| b == 0).unwrap_or(text.len());
        Format { lua, rest: &text[..end], big_endian: false, alignment: 1 }
    }

    /// The next option and its size in bytes.
    fn next(&mut self) -> Option<(u8, usize)> {
        let (&option, rest) = self.rest.split_first()?;
        self.rest = rest;
        let size = match option {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(1),
            b'i' | b'I' => {
                let size = self.number(4);
                if size > INTEGER_BYTES_MAX {
                    self.fail_about(b"integral size ", size, b" is larger than limit of 32");
                }
                size
            }
            _ => 0,
        };
        Some((option, size as usize))
    }

    /// The number that follows, or what stands for it.
    fn number(&mut self, default: i32) -> i32 {
        if !self.rest.first().is_some_and(u8::is_ascii_digit) {
            return default;
        }
        let mut number: i32 = 0;
        while let Some((digit @ b'0'..=b'9', rest)) = self.rest.split_first() {
            let next = number.checked_mul(10).and_then(|n| n.checked_add((digit - b'0') as i32));
            number = match next {
                Some(next) => next,
                None => self.lua.fail("integral size overflow"),
            };
            self.rest = rest;
        }
        number
    }

    fn fail_about(&self, before: &[u8], number: i32, after: &[u8]) -> ! {
        self.lua.push_place(1);
        self.lua.push_bytes(before);
        self.lua.push_number(number as f64);
        self.lua.push_bytes(after);
        self.lua.concat(4);
        self.lua.error()
    }

    /// Bytes before an option of this size at this position.
    fn padding(&self, position: usize, option: u8, size: usize) -> usize {
        if size == 0 || option == b'c' {
            return 0;
        }
        let size = size.min(self.alignment as usize);
        size.wrapping_sub(position & (size - 1)) & (size - 1)
    }

    /// An option that says how to read the others.
    fn control(&mut self, option: u8) {
        match option {
            b' ' => {}
            b'>' => self.big_endian = true,
            b'<' => self.big_endian = false,
            b'!' => {
                let alignment = self.number(ALIGNMENT_MAX);
                if alignment <= 0 || alignment & (alignment - 1) != 0 {
                    self.fail_about(b"alignment ", alignment, b" is not a power of 2");
                }
                self.alignment = alignment;
            }
            _ => {
                self.lua.push_bytes(b"invalid format option '");
                self.lua.push_bytes(&[option]);
                self.lua.push_bytes(b"'");
                self.lua.concat(3);
                self.lua.bad_argument_as_on_top(1);
            }
        }
    }
}

/// A number as C casts it: negative ones by way of a signed integer.
fn to_bits(number: f64) -> u64 {
    const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;
    if number.is_nan() {
        1 << 63
    } else if number < 0.0 {
        crate::encode::cut(number) as u64
    } else if number < TWO_TO_64 {
        number as u64
    } else {
        0
    }
}

extern "C-unwind" fn pack(lua: Lua) -> c_int {
    let mut format = Format::of_argument(lua);
    // Missing arguments are nil, not nothing: so they are called in errors.
    lua.push_nil();
    let out = lua.context().scratch.borrow();
    out.clear();
    let mut argument = 2;
    while let Some((option, size)) = format.next() {
        let padded = out.len() + format.padding(out.len(), option, size);
        out.resize(padded, 0);
        let start = out.len();
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let bits = to_bits(lua.check_number(argument));
                argument += 1;
                out.extend((0..size as u32).map(|i| bits.checked_shr(8 * i).unwrap_or(0) as u8));
            }
            b'x' => out.push(0),
            b'f' => {
                out.extend_from_slice(&(lua.check_number(argument) as f32).to_le_bytes());
                argument += 1;
            }
            b'd' => {
                out.extend_from_slice(&lua.check_number(argument).to_le_bytes());
                argument += 1;
            }
            b'c' | b's' => {
                let text = lua.check_text(argument);
                argument += 1;
                let size = if size == 0 { text.len() } else { size };
                if text.len() < size {
                    lua.bad_argument(argument, c"string too short");
                }
                out.extend_from_slice(&text[..size]);
                if option == b's' {
                    out.push(0);
                }
                continue;
            }
            _ => {
                format.control(option);
                continue;
            }
        }
        if format.big_endian {
            out[start..].reverse();
        }
    }
    lua.push_bytes(out);
    1
}

fn read_integer(bytes: &[u8], big_endian: bool, signed: bool) -> f64 {
    let add = |number: u64, &byte: &u8| number << 8 | byte as u64;
    let number = if big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) };
    if !signed || bytes.is_empty() {
        return number as f64;
    }
    let unused = 64 - 8 * bytes.len().min(8) as u32;
    ((number << unused) as i64 >> unused) as f64
}

extern "C-unwind" fn unpack(lua: Lua) -> c_int {
    let mut format = Format::of_argument(lua);
    let data = lua.check_text(2);
    let start = if matches!(lua.type_of(3), Type::None | Type::Nil) { 1 } else { lua.check_integer(3) };
    if start == 0 {
        lua.bad_argument(3, c"offset must be 1 or greater");
    }
    // A negative start is one far behind the end.
    let mut position = (start as usize).wrapping_sub(1);
    let mut results = 0;
    let check = |position: usize, size: usize| {
        if size > data.len() || position > data.len() - size {
            lua.bad_argument(2, c"data string too short");
        }
    };
    while let Some((option, mut size)) = format.next() {
        position = position.wrapping_add(format.padding(position, option, size));
        check(position, size);
        if !lua.check_stack(2) {
            lua.fail_without_stack("stack overflow (too many results)");
        }
        let bytes = &data[position..position + size];
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                lua.push_number(read_integer(bytes, format.big_endian, option.is_ascii_lowercase()));
                results += 1;
            }
            b'x' => {}
            b'f' | b'd' => {
                let mut copy = [0; 8];
                copy[..size].copy_from_slice(bytes);
                if format.big_endian {
                    copy[..size].reverse();
                }
                lua.push_number(if size == 4 {
                    f32::from_le_bytes([copy[0], copy[1], copy[2], copy[3]]) as f64
                } else {
                    f64::from_le_bytes(copy)
                });
                results += 1;
            }
            b'c' => {
                if size == 0 {
                    if results == 0 || !lua.is_number(-1) {
                        lua.fail("format 'c0' needs a previous size");
                    }
                    size = to_bits(lua.number(-1)) as usize;
                    lua.pop(1);
                    results -= 1;
                    check(position, size);
                }
                lua.push_bytes(&data[position..position + size]);
                results += 1;
            }
            b's' => {
                let Some(len) = data[position..].iter().position(|&b| b == 0) else {
                    lua.fail("unfinished string in data");
                };
                lua.push_bytes(&data[position..position + len]);
                size = len + 1;
                results += 1;
            }
            _ => format.control(option),
        }
        position += size;
    }
    lua.push_number((position + 1) as f64);
    results + 1
}

extern "C-unwind" fn size(lua: Lua) -> c_int {
    let mut format = Format::of_argument(lua);
    let mut position: usize = 0;
    while let Some((option, size)) = format.next() {
        position += format.padding(position, option, size);
        if option == b's' {
            lua.bad_argument(1, c"option 's' has no fixed size");
        }
        if option == b'c' && size == 0 {
            lua.bad_argument(1, c"option 'c0' has no fixed size");
        }
        if !option.is_ascii_alphanumeric() {
            format.control(option);
        }
        position += size;
    }
    lua.push_number(position as f64);
    1
}

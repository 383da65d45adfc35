//! A command's reply as Lua values: RESP2 or RESP3, read where the driver has it.
//!
//! | reply | Lua |
//! |---|---|
//! | integer | number |
//! | bulk string | string |
//! | `$-1`, `*-1` | false |
//! | `_` | nil |
//! | status | `{ok=...}` |
//! | error | `{err=..., ignore_error_stats_update=true}` |
//! | array, push | `{...}` |
//! | map, set, double, big number, verbatim string | `{map={...}}`, `{set={...}}` with true as values, `{double=...}`, `{big_number=...}`, `{verbatim_string={string=..., format=...}}` |
//! | boolean | boolean |
//!
//! Attributes are skipped. The driver's own sink has written the reply; broken bytes are an error all the same, not a crash.

use kora_engine::double;

use crate::context::Context;
use crate::limits::NESTING_MAX;
use crate::lua::Lua;

/// Why a reply could not be read.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Not RESP.
    Malformed,
    /// Deeper than the stacks.
    TooDeep,
    /// The script was killed while a long reply was read.
    Killed,
}

/// Pushes one value and gives what follows it. Raises.
pub(crate) fn push<'a>(lua: Lua, context: &Context, reply: &'a [u8]) -> Result<&'a [u8], Broken> {
    push_nested(lua, context, reply, 0)
}

/// The line after the kind byte, and the rest.
#[inline]
fn line(reply: &[u8]) -> Result<(&[u8], &[u8]), Broken> {
    let end = reply.iter().position(|&b| b == b'\r').ok_or(Broken::Malformed)?;
    Ok((reply.get(1..end).ok_or(Broken::Malformed)?, reply.get(end + 2..).ok_or(Broken::Malformed)?))
}

#[inline]
fn integer(text: &[u8]) -> Result<i64, Broken> {
    if let [digit @ b'0'..=b'9'] = text {
        return Ok((digit - b'0') as i64);
    }
    kora_engine::args::parse_i64(text).ok_or(Broken::Malformed)
}

/// `len` bytes and their line end.
#[inline]
fn body(rest: &[u8], len: i64) -> Result<(&[u8], &[u8]), Broken> {
    let len = len as usize;
    if rest.len() < 2 || len > rest.len() - 2 {
        return Err(Broken::Malformed);
    }
    Ok((&rest[..len], &rest[len + 2..]))
}

fn push_nested<'a>(lua: Lua, context: &Context, reply: &'a [u8], depth: usize) -> Result<&'a [u8], Broken> {
    if reply.is_empty() {
        return Err(Broken::Malformed);
    }
    let (head, rest) = line(reply)?;
    match reply[0] {
        b'$' => {
            let len = integer(head)?;
            if len < 0 {
                lua.push_boolean(false);
                return Ok(rest);
            }
            let (bytes, rest) = body(rest, len)?;
            lua.push_bytes(bytes);
            return Ok(rest);
        }
        b':' => {
            lua.push_number(integer(head)? as f64);
            return Ok(rest);
        }
        b'+' => {
            lua.new_table(0, 1);
            lua.push_bytes(head);
            lua.raw_set_field(-2, "ok");
            return Ok(rest);
        }
        b'-' => {
            push_command_error(lua, head);
            return Ok(rest);
        }
        b'_' => {
            lua.push_nil();
            return Ok(rest);
        }
        b'#' => {
            lua.push_boolean(head == b"t");
            return Ok(rest);
        }
        b',' => {
            let value = double::parse(head).ok_or(Broken::Malformed)?;
            lua.new_table(0, 1);
            lua.push_number(value);
            lua.raw_set_field(-2, "double");
            return Ok(rest);
        }
        b'(' => {
            lua.new_table(0, 1);
            lua.push_bytes(head);
            lua.raw_set_field(-2, "big_number");
            return Ok(rest);
        }
        b'=' => {
            let (bytes, rest) = body(rest, integer(head)?)?;
            if bytes.len() < 4 {
                return Err(Broken::Malformed);
            }
            lua.new_table(0, 1);
            lua.new_table(0, 2);
            lua.push_bytes(&bytes[4..]);
            lua.raw_set_field(-2, "string");
            lua.push_bytes(&bytes[..3]);
            lua.raw_set_field(-2, "format");
            lua.raw_set_field(-2, "verbatim_string");
            return Ok(rest);
        }
        b'*' | b'>' | b'%' | b'~' | b'|' => {}
        _ => return Err(Broken::Malformed),
    }
    let count = integer(head)?;
    if depth >= NESTING_MAX || !lua.check_stack(6) {
        return Err(Broken::TooDeep);
    }
    push_aggregate(lua, context, reply[0], count, rest, depth + 1)
}

fn push_aggregate<'a>(
    lua: Lua,
    context: &Context,
    kind: u8,
    count: i64,
    mut rest: &'a [u8],
    depth: usize,
) -> Result<&'a [u8], Broken> {
    // Each element takes three bytes at least: no table is made larger than the reply can fill.
    let room = rest.len() / 3;
    match kind {
        b'*' | b'>' => {
            if count < 0 {
                lua.push_boolean(false);
                return Ok(rest);
            }
            lua.new_table((count as usize).min(room), 0);
            for i in 1..=count {
                rest = push_nested(lua, context, rest, depth)?;
                lua.raw_set_at(-2, i as i32);
                if context.element_done() {
                    return Err(Broken::Killed);
                }
            }
        }
        b'%' | b'~' => {
            lua.new_table(0, 1);
            lua.new_table(0, (count.max(0) as usize).min(room));
            for _ in 0..count {
                rest = push_nested(lua, context, rest, depth)?;
                if kind == b'%' {
                    rest = push_nested(lua, context, rest, depth)?;
                } else {
                    lua.push_boolean(true);
                }
                lua.raw_set(-3);
                if context.element_done() {
                    return Err(Broken::Killed);
                }
            }
            lua.raw_set_field(-2, if kind == b'%' { "map" } else { "set" });
        }
        _ => {
            for _ in 0..count.saturating_mul(2) {
                rest = push_nested(lua, context, rest, depth)?;
                lua.pop(1);
            }
            return push_nested(lua, context, rest, depth);
        }
    }
    Ok(rest)
}

/// Pushes the table of an error that a command has replied with: `text` is without `-`. Raises.
fn push_command_error(lua: Lua, text: &[u8]) {
    push_error(lua, text, true);
    lua.push_boolean(true);
    lua.raw_set_field(-2, "ignore_error_stats_update");
}

/// Pushes `{err=...}`. A text that `has_code` and consists of one word gets the code ERR, as do all without. Raises.
pub(crate) fn push_error(lua: Lua, text: &[u8], has_code: bool) {
    let text = &text[..text.iter().rposition(|&b| b != b'\r' && b != b'\n').map_or(0, |last| last + 1)];
    lua.new_table(0, 3);
    if has_code && text.contains(&b' ') {
        lua.push_bytes(text);
    } else {
        lua.push_bytes(b"ERR ");
        lua.push_bytes(text);
        lua.concat(2);
    }
    lua.raw_set_field(-2, "err");
}

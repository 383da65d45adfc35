//! Functions of Lua's string library behind a guard.
//!
//! Lua 5.1 matches patterns by recursion without a limit: a pattern of many items overflows the native stack. Later versions refuse such patterns; so do these.
//! `string.rep` builds its result piece by piece, for ever when the piece is empty and the count large.

use std::ffi::c_int;

use crate::limits::PATTERN_ITEMS_MAX;
use crate::lua::{Lua, Native, Type};

/// Raises when the pattern (argument 2) may recurse too deep. Each item with a repetition and each capture takes a native frame.
#[inline]
fn guarded(lua: Lua, native: Native) -> c_int {
    if lua.type_of(2) == Type::String && lua.raw_len(2) > PATTERN_ITEMS_MAX {
        let pattern = lua.bytes(2).unwrap_or_default();
        let items = pattern.iter().filter(|b| matches!(b, b'*' | b'+' | b'-' | b'?' | b'(' | b')')).count();
        if items > PATTERN_ITEMS_MAX {
            lua.fail("pattern too complex");
        }
    }
    lua.run(native)
}

macro_rules! guarded {
    ($($name:ident)*) => {
        $(pub(crate) extern "C-unwind" fn $name(lua: Lua) -> c_int {
            guarded(lua, lua.context().natives.get().expect("set when the state was made").$name)
        })*
    };
}

guarded!(matches gmatch gsub);

pub(crate) extern "C-unwind" fn find(lua: Lua) -> c_int {
    let natives = lua.context().natives.get().expect("set when the state was made");
    if lua.boolean(4) {
        // A plain search has no items.
        return lua.run(natives.find);
    }
    guarded(lua, natives.find)
}

pub(crate) extern "C-unwind" fn repeat(lua: Lua) -> c_int {
    let piece = lua.check_text(1);
    let count = lua.check_integer(2) as i32;
    let context = lua.context();
    if count <= 0 || piece.is_empty() {
        lua.push_bytes(b"");
        return 1;
    }
    let Some(len) = piece.len().checked_mul(count as usize).filter(|&len| len < context.memory_limit())
    else {
        lua.fail_plainly("not enough memory");
    };
    let buffer = context.scratch.borrow();
    buffer.clear();
    buffer.reserve(len);
    for _ in 0..count {
        buffer.extend_from_slice(piece);
    }
    lua.push_bytes(buffer);
    if buffer.capacity() > crate::limits::KEPT_BUFFER_BYTES {
        *buffer = Vec::new();
    }
    1
}

//! SETBIT and GETBIT.

use super::offset::bit_offset;
use crate::args::parse_i64;
use crate::commands::string::with_text;
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::reply::Reply;
use crate::table::ValueRef;

/// SETBIT key offset value
pub(super) fn setbit(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    const NOT_A_BIT: Error = Error::new("ERR bit is not an integer or out of range");
    let offset = bit_offset(exec.argv[2], exec.shard.config.max_string_len)?;
    let on = match parse_i64(exec.argv[3]) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(NOT_A_BIT),
    };
    let (place, mask) = ((offset / 8) as u32, 0x80 >> (offset % 8));
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(mut string) = keys.edit_string(exec.view, &key)? else {
        keys.write_at(exec.view, &key, place, &[if on { mask } else { 0 }]);
        reply.integer(0);
        return DONE;
    };
    let byte = with_text(string.value(), |text| text.get(place as usize).copied());
    let was = byte.is_some_and(|byte| byte & mask != 0);
    if byte.is_none() || was != on || matches!(string.value(), ValueRef::Int(_)) {
        let rest = byte.unwrap_or(0) & !mask;
        string.write_at(place, &[if on { rest | mask } else { rest }]);
    } else {
        string.make_raw();
    }
    reply.integer(was as i64);
    DONE
}

/// GETBIT key offset
pub(super) fn getbit(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let offset = bit_offset(exec.argv[2], exec.shard.config.max_string_len)?;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let byte = keys
        .get_string(exec.view, &key)?
        .and_then(|entry| with_text(entry.value(), |text| text.get((offset / 8) as usize).copied()));
    reply.integer(byte.is_some_and(|byte| byte & 0x80 >> (offset % 8) != 0) as i64);
    DONE
}

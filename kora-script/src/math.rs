//! `math.random` as Redis has it: the same numbers for the same seed on every machine. The sequence goes on from script to script.
//!
//! The generator is that of `drand48`: X' = (0x5DEECE66D X + 0xB) mod 2^48, of which the upper 31 bits are the number.

use std::ffi::c_int;

use crate::lua::Lua;

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;
/// The low 16 bits of a seeded state.
const SEED_LOW: u64 = 0x330E;
const NUMBER_MAX: u64 = i32::MAX as u64;

/// The state of a generator without a seed.
pub(crate) const INITIAL: u64 = 0x1234_ABCD_330E;

/// The state that a seed gives.
fn seeded(seed: i32) -> u64 {
    ((seed as u32 as u64) << 16) | SEED_LOW
}

/// A number from 0 (inclusive) to 1 (exclusive).
fn draw(lua: Lua) -> f64 {
    let random = &lua.context().random;
    let state = random.get().wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & MASK;
    random.set(state);
    ((state >> 17) % NUMBER_MAX) as f64 / NUMBER_MAX as f64
}

pub(crate) extern "C-unwind" fn random(lua: Lua) -> c_int {
    let drawn = draw(lua);
    match lua.top() {
        0 => lua.push_number(drawn),
        1 => {
            let upper = lua.check_integer(1) as i32;
            if upper < 1 {
                lua.bad_argument(1, c"interval is empty");
            }
            lua.push_number((drawn * upper as f64).floor() + 1.0);
        }
        2 => {
            let lower = lua.check_integer(1) as i32;
            let upper = lua.check_integer(2) as i32;
            if lower > upper {
                lua.bad_argument(2, c"interval is empty");
            }
            let width = upper.wrapping_sub(lower).wrapping_add(1);
            lua.push_number((drawn * width as f64).floor() + lower as f64);
        }
        _ => lua.fail("wrong number of arguments"),
    }
    1
}

pub(crate) extern "C-unwind" fn random_seed(lua: Lua) -> c_int {
    let seed = lua.check_integer(1) as i32;
    lua.context().random.set(seeded(seed));
    0
}

//! Redis's RDB files: all keys of a server, as redis-server saves and loads them.
//!
//! ```text
//! "REDIS" version(4 digits)
//! { opcode ... | type u8  key  value }        values: see kora_engine::rdb
//! 255  CRC-64 of all before, u64
//!
//! 245 FUNCTION2   code of a library            250 AUX            name  value
//! 247 MODULE_AUX  of a module                   251 RESIZEDB       keys  keys that expire
//! 244 SLOT_INFO   slot  keys  that expire       252 EXPIRETIME_MS  i64, of the next key
//! 248 IDLE        seconds, of the next key      253 EXPIRETIME     i32 seconds, of the next key
//! 249 FREQ        u8, of the next key           254 SELECTDB       of the keys from here on
//! ```
//!
//! [`RdbReader`] gives the parts one by one, [`RdbWriter`] writes them; both are over any [`std::io::Read`] or
//! [`std::io::Write`], and need memory for one element of a value at a time (the reader's value itself excepted, which is built). Files may come
//! from anywhere: what is wrong is an [`Error`] with the offset of the byte; nothing is allocated that only a length claims.

mod reader;
mod window;
mod writer;

pub use kora_engine::rdb::{Error, Loaded, Problem};
pub use reader::{Key, Part, RdbReader};
pub use window::Window;
pub use writer::{RdbWriter, WriteError};

/// The oldest version that is written: what Redis 7.0 loads. Consumers of streams lose when they were last active.
pub const VERSION_OLD: u16 = kora_engine::rdb::VERSION_MIN;

/// The version that has everything: what Redis 7.4 and 8 load.
pub const VERSION: u16 = kora_engine::rdb::VERSION_MAX;

const MAGIC: &[u8; 5] = b"REDIS";

/// The first version with a checksum.
const VERSION_CHECKSUM: u16 = 5;

const SLOT_INFO: u8 = 244;
const FUNCTION2: u8 = 245;
const FUNCTION_PRE_GA: u8 = 246;
const MODULE_AUX: u8 = 247;
const IDLE: u8 = 248;
const FREQ: u8 = 249;
const AUX: u8 = 250;
const RESIZEDB: u8 = 251;
const EXPIRETIME_MS: u8 = 252;
const EXPIRETIME: u8 = 253;
const SELECTDB: u8 = 254;
const EOF: u8 = 255;

//! Limits of the engine, each with its reason.

/// `proto-max-bulk-len` when not configured: 512 MB, as in Redis.
pub const PROTO_MAX_BULK_LEN_DEFAULT: usize = 512 * 1024 * 1024;

/// Longest value that is stored inside its record, bytes. Larger ones are refcounted: a reader sends them without a
/// copy. Below this a copy is cheaper than the bookkeeping (16 KiB copy in under a microsecond).
pub const INLINE_VALUE_MAX: usize = 16 * 1024;

/// Number of cluster slots.
pub const SLOTS: u16 = 16384;

/// Cursors carry the shard in the bits above this: a position in hash order needs no more.
pub const CURSOR_POSITION_BITS: u32 = 48;

/// Most shards in one process: what is left of a 64-bit cursor.
pub const SHARDS_MAX: u16 = u16::MAX;

/// Keys that KEYS and SCAN visit in their first turn: about 100 us of work.
pub const WALK_FIRST_KEYS: usize = 2048;

/// Keys of an average segment of the table, to count a continuation's budget of segments in keys.
pub const SEGMENT_KEYS: usize = 512;

const _: () = assert!(CURSOR_POSITION_BITS + 16 == 64);
const _: () = assert!(SLOTS.is_power_of_two());

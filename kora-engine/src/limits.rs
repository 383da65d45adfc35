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

/// Bytes of strings that a command reads at once, at about 10 GB/s: some 100 us of work.
pub const BYTES_AT_ONCE: usize = 1024 * 1024;

/// Bytes of strings to read in the time of a visit to one segment of the table, to count a continuation's budget in them.
pub const BYTES_PER_SEGMENT: usize = 32 * 1024;

/// Most elements that HRANDFIELD, SRANDMEMBER and ZRANDMEMBER answer when the same ones may come again: Redis has no limit but its
/// memory, which a count of a few bytes can use up.
pub const RANDOM_ELEMENTS_MAX: usize = 1 << 24;

/// Elements of a list that are answered in one turn: about 100 us of work.
pub const LIST_ELEMENTS_PER_TURN: usize = 1024;

/// Bytes of a list's elements that are answered in one turn, beyond which no other is begun: a copy of them takes about 50 us.
pub const LIST_BYTES_PER_TURN: usize = 256 * 1024;

const _: () = assert!(CURSOR_POSITION_BITS + 16 == 64);
const _: () = assert!(SLOTS.is_power_of_two());

/// Up to where collections keep their packed forms: settings of Redis, under its names. A collection converts when it passes a limit; a
/// limit that changes concerns later writes only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodingLimits {
    /// `hash-max-listpack-entries`: fields of a packed hash.
    pub hash_max_listpack_entries: usize,
    /// `hash-max-listpack-value`: bytes of the longest field or value in a packed hash.
    pub hash_max_listpack_value: usize,
    /// `set-max-intset-entries`: members of a set of integers.
    pub set_max_intset_entries: usize,
    /// `set-max-listpack-entries`: members of a packed set.
    pub set_max_listpack_entries: usize,
    /// `set-max-listpack-value`: bytes of the longest member of a packed set.
    pub set_max_listpack_value: usize,
    /// `zset-max-listpack-entries`: members of a packed sorted set.
    pub zset_max_listpack_entries: usize,
    /// `zset-max-listpack-value`: bytes of the longest member of a packed sorted set.
    pub zset_max_listpack_value: usize,
    /// `list-max-listpack-size`: entries of a block of a list, or -1 to -5 for 4, 8, 16, 32 and 64 KiB.
    pub list_max_listpack_size: i32,
    /// `list-compress-depth`: kept for its name; blocks are not compressed.
    pub list_compress_depth: u32,
    /// `stream-node-max-bytes`: bytes of a block of a stream; 0 for no limit.
    pub stream_node_max_bytes: usize,
    /// `stream-node-max-entries`: entries of a block of a stream; 0 for no limit.
    pub stream_node_max_entries: usize,
    /// `hll-sparse-max-bytes`: bytes of a sparse HyperLogLog.
    pub hll_sparse_max_bytes: usize,
}

impl Default for EncodingLimits {
    /// The defaults of Redis 8.
    fn default() -> EncodingLimits {
        EncodingLimits {
            hash_max_listpack_entries: 512,
            hash_max_listpack_value: 64,
            set_max_intset_entries: 512,
            set_max_listpack_entries: 128,
            set_max_listpack_value: 64,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value: 64,
            list_max_listpack_size: -2,
            list_compress_depth: 0,
            stream_node_max_bytes: 4096,
            stream_node_max_entries: 100,
            hll_sparse_max_bytes: 3000,
        }
    }
}

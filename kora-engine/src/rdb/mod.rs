//! Values in Redis's RDB format: what DUMP answers, what RESTORE takes, and what an RDB file has behind each key.
//!
//! ```text
//! source ──► string    length, integer or LZF-compressed   ┐
//!            packed    listpack, ziplist, zipmap, intset     ├─► Loader ──► Loaded (a string or an Object)
//!            stream    nodes, groups, consumers              ┘
//! Object ──► Writer ──► bytes
//! ```
//!
//! The format has a type number before each value, which says how the value is encoded; over the years most types were given
//! several. [`Loader`] reads all that Redis 2.6 to 8 write (RDB versions 6 to 12), [`Writer`] writes one of each, the plainest that
//! redis-server 7.0 loads without loss. Both go on in slices: a value of ten million elements is read and written a few hundred at a time, so that a
//! shard that does it is never held up, and a file that is read or written needs memory for one element, not for one value.
//!
//! The bytes may come from anywhere. Nothing is allocated in proportion to a number that they claim, only to what is there;
//! nothing nests; whatever is wrong is an [`Error`] with the offset of the byte.
//!
//! Facts of the format: <https://github.com/redis/redis/blob/unstable/src/rdb.h> and the specifications in `docs/` of
//! <https://github.com/sripathikrishnan/redis-rdb-tools>.

mod crc64;
mod error;
mod load;
mod lzf;
mod packed;
pub mod payload;
mod source;
mod string;
mod write;

pub use crc64::Crc64;
pub use error::{Error, Problem};
pub use load::{Loaded, Loader};
pub use payload::Dumper;
pub use source::{Slice, Source};
pub use string::{length, number, put_length, put_string, string, Length};
pub use write::{version_for, NeedsVersion, Sink, Writer};

/// The newest version of the format that is read, that of Redis 7.4 to 8.
pub const VERSION_MAX: u16 = 12;

/// The oldest version that is written: what Redis 7.0 reads.
pub const VERSION_MIN: u16 = 10;

/// Bytes of a string that take as long as an element: how much of a long one is read or written in a slice.
const BYTES_PER_ELEMENT: usize = 512;

/// How a value is encoded: the byte before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// A string.
    String = 0,
    /// A list: elements.
    List = 1,
    /// A set: members.
    Set = 2,
    /// A sorted set: members with scores as text.
    Zset = 3,
    /// A hash: fields and values.
    Hash = 4,
    /// A sorted set: members with scores as doubles.
    Zset2 = 5,
    /// A hash in a zipmap (Redis 2.6).
    HashZipmap = 9,
    /// A list in a ziplist (up to Redis 3.0).
    ListZiplist = 10,
    /// A set of integers.
    SetIntset = 11,
    /// A sorted set in a ziplist.
    ZsetZiplist = 12,
    /// A hash in a ziplist.
    HashZiplist = 13,
    /// A list of ziplists (Redis 3.2 to 6.2).
    ListQuicklist = 14,
    /// A stream.
    Stream = 15,
    /// A hash in a listpack (since Redis 7.0).
    HashListpack = 16,
    /// A sorted set in a listpack.
    ZsetListpack = 17,
    /// A list of listpacks and large elements.
    ListQuicklist2 = 18,
    /// A stream that knows its tombstones and how many entries were added.
    Stream2 = 19,
    /// A set in a listpack (since Redis 7.2).
    SetListpack = 20,
    /// A stream whose consumers know when they were active.
    Stream3 = 21,
    /// A hash whose fields expire, as candidates of Redis 7.4 wrote it: absolute times.
    HashMetadataPreGa = 22,
    /// The same in a listpack.
    HashListpackExPreGa = 23,
    /// A hash whose fields expire (since Redis 7.4): times relative to the first one.
    HashMetadata = 24,
    /// The same in a listpack, times absolute.
    HashListpackEx = 25,
}

impl Encoding {
    /// The encoding of a number; none when no value has it. (6 and 7 are values of modules.)
    pub fn of(number: u8) -> Option<Encoding> {
        use Encoding::*;
        const ALL: [Encoding; 23] = [
            String,
            List,
            Set,
            Zset,
            Hash,
            Zset2,
            HashZipmap,
            ListZiplist,
            SetIntset,
            ZsetZiplist,
            HashZiplist,
            ListQuicklist,
            Stream,
            HashListpack,
            ZsetListpack,
            ListQuicklist2,
            Stream2,
            SetListpack,
            Stream3,
            HashMetadataPreGa,
            HashListpackExPreGa,
            HashMetadata,
            HashListpackEx,
        ];
        ALL.into_iter().find(|&encoding| encoding as u8 == number)
    }
}

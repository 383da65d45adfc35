//! The sizes that decoders accept.

/// Bytes of a key, a value or a piece of one in a record. No engine limit is above it, and an offset fits a `u32` too.
pub const FIELD_BYTES_MAX: u64 = u32::MAX as u64;

/// Bytes of a frame, header included. A record cannot be split, so a frame must hold the largest string that can be configured (2 GiB) and
/// its key.
pub const FRAME_BYTES_MAX: usize = u32::MAX as usize;

/// Bytes of a varint: 64 bits in groups of seven.
pub const VARINT_BYTES_MAX: usize = 10;

const _: () = assert!(FRAME_BYTES_MAX <= u32::MAX as usize);
const _: () = assert!(FRAME_BYTES_MAX > 2 << 30);
const _: () = assert!(VARINT_BYTES_MAX == 64usize.div_ceil(7));

//! Everything that can be wrong with bytes that should be a record or a frame.

/// Why bytes were refused. The reader of the file adds which file and which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input is the beginning of something valid so far. At the end of a log: a write that a crash cut short, which
    /// replay cuts off. In its middle: damage.
    #[error("input ends early: at least {needed} bytes are needed, there are {available}")]
    Incomplete {
        /// Bytes from the beginning that are needed at least.
        needed: usize,
        /// Bytes that there are.
        available: usize,
    },
    /// Zeros where a frame would begin: space that was never written. Replay ends here.
    #[error("no frame: the space is zeros")]
    NoFrame,
    /// No frame has such a length: damage, or not a log at all.
    #[error("frame length {length} is outside {min} to {max} bytes: the file is damaged here")]
    FrameLength {
        /// The length that the frame states.
        length: u32,
        /// The least that it could be.
        min: usize,
        /// The most that it could be.
        max: usize,
    },
    /// The record is intact and holds a value of a type that no version known here writes.
    #[error("value type {found} is unknown")]
    ValueType {
        /// In the record.
        found: u8,
    },
    /// Bytes of the frame changed after it was written, or it was only partly written.
    #[error("frame checksum is {computed:08x}, the frame says {stored:08x}: the file is damaged here")]
    Checksum {
        /// In the frame.
        stored: u32,
        /// Of the frame.
        computed: u32,
    },
    /// The frame is intact and from a newer server. Start that one.
    #[error("frame format version {found} is unknown; this server reads up to {known}: use a newer one")]
    FormatVersion {
        /// In the frame.
        found: u8,
        /// The newest that is known.
        known: u8,
    },
    /// The frame is intact and has a kind that no version known here writes.
    #[error("frame kind {found} is unknown")]
    FrameKind {
        /// In the frame.
        found: u8,
    },
    /// The frame is intact and its range of log positions is empty or begins at 0.
    #[error("frame has the log positions {first} to {last}, which are no range")]
    LsnRange {
        /// The first position in the frame.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// The frame is intact and holds fewer or more records than its range of log positions.
    #[error("frame ends at log position {last}, its records do not: {left} bytes are left at position {at}")]
    RecordCount {
        /// The last position that the frame states.
        last: u64,
        /// The position at which the records disagree with it.
        at: u64,
        /// Bytes of the frame from there on.
        left: usize,
    },
    /// A collection's bytes are not those of one.
    #[error("the bytes of a collection are malformed")]
    Value,
    /// A record begins with a byte that begins none.
    #[error("record tag {found:#04x} is unknown")]
    RecordTag {
        /// The byte.
        found: u8,
    },
    /// A number does not fit its field, or is not in its shortest form.
    #[error("record has a {field} that is out of range or not in its shortest form")]
    Number {
        /// Which field.
        field: &'static str,
    },
}

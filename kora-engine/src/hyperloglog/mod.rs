//! HyperLogLog in Redis's own byte format: a string that estimates how many different elements it was shown.
//!
//! ```text
//! +0   "HYLL"
//! +4   encoding   0 dense, 1 sparse
//! +5   3 bytes that nobody uses
//! +8   cached estimate, 8 bytes little-endian; not valid when the top bit of the last is set
//! +16  16384 registers, dense or sparse
//! ```
//!
//! An element's hash chooses a register by 14 bits; the register keeps the longest run of zero bits (and the one behind
//! it) seen in the other 50. [`dense`] has 6 bits for each register, 12304 bytes in all. [`sparse`] is a list of runs of equal registers,
//! for as long as that is short. The estimate ([`estimate`]) is made from a histogram of the registers.
//!
//! Everything here is a function of bytes: what is to be written where ([`Edit`]), or a whole new string. So a key's string changes in
//! place through the keyspace, and a string that is not yet a key by the same code. The layout of runs depends on
//! the order in which registers were raised, and follows Redis's choices: the same commands give the same bytes.

pub(crate) mod dense;
pub(crate) mod estimate;
pub(crate) mod murmur;
pub(crate) mod sparse;

use murmur::murmur_hash_64a;

/// Registers of one sketch.
pub(crate) const REGISTERS: usize = 1 << INDEX_BITS;
/// Bytes before the registers.
pub(crate) const HEADER_LEN: usize = 16;

/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = 14;
/// The other bits: the longest run has one more, its end mark.
const RANK_BITS: u32 = 64 - INDEX_BITS;
const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING_AT: usize = 4;
const CACHE_AT: usize = 8;
const CACHE_STALE_AT: usize = 15;
const CACHE_STALE: u8 = 0x80;
/// Redis's seed, the same in every server: sketches of different servers merge.
const SEED: u64 = 0xadc8_3b19;

/// How the registers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Dense = 0,
    Sparse = 1,
}

/// The runs of a sparse sketch do not describe its registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Corrupted;

/// The encoding of a string that begins as a sketch does; none for other strings. Dense ones have the right length; the runs of
/// sparse ones are not looked at.
pub(crate) fn encoding(string: &[u8]) -> Option<Encoding> {
    if string.len() < HEADER_LEN || !string.starts_with(MAGIC) {
        return None;
    }
    match string[ENCODING_AT] {
        0 if string.len() == dense::LEN => Some(Encoding::Dense),
        1 => Some(Encoding::Sparse),
        _ => None,
    }
}

/// A sketch that has seen nothing.
pub(crate) fn empty() -> Vec<u8> {
    let mut sketch = Vec::with_capacity(HEADER_LEN + 2);
    sketch.extend_from_slice(MAGIC);
    sketch.resize(HEADER_LEN, 0);
    sketch[ENCODING_AT] = Encoding::Sparse as u8;
    sparse::push_zeros(REGISTERS, &mut sketch);
    sketch
}

/// The register of an element, and what it is raised to.
pub(crate) fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur_hash_64a(element, SEED);
    let index = hash as usize & (REGISTERS - 1);
    let rank = (hash >> INDEX_BITS | 1 << RANK_BITS).trailing_zeros() + 1;
    (index, rank as u8)
}

/// Bytes that take the place of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edit {
    /// Where, from the beginning of the string.
    pub(crate) offset: usize,
    /// How many bytes go.
    pub(crate) removed: usize,
    bytes: [u8; sparse::WINDOW],
    len: usize,
}

impl Edit {
    fn new(offset: usize, removed: usize, with: &[u8]) -> Edit {
        let mut bytes = [0; sparse::WINDOW];
        bytes[..with.len()].copy_from_slice(with);
        Edit { offset, removed, bytes, len: with.len() }
    }

    /// The bytes that come.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Does it to a string that is not in the keyspace.
    pub(crate) fn apply(&self, string: &mut Vec<u8>) {
        string.splice(self.offset..self.offset + self.removed, self.bytes().iter().copied());
    }
}

/// What becomes of a sketch when a register is raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Raised {
    /// The register holds as much or more.
    Not,
    /// Some bytes change.
    Edit(Edit),
    /// All is written anew: the sketch is dense from now on.
    Promoted(Vec<u8>),
}

/// Raises a register of a sketch to at least `rank`. A sparse one is promoted when it cannot hold that, or not within
/// `sparse_max_bytes` bytes. `at` is where a run before that of the register is known to begin; it is moved on, for the
/// next call with a higher index.
pub(crate) fn raise(
    sketch: &[u8],
    encoding: Encoding,
    index: usize,
    rank: u8,
    sparse_max_bytes: usize,
    at: &mut sparse::Position,
) -> Result<Raised, Corrupted> {
    match encoding {
        Encoding::Dense => Ok(dense::raise(sketch, index, rank).map_or(Raised::Not, Raised::Edit)),
        Encoding::Sparse => match sparse::raise(sketch, index, rank, sparse_max_bytes, at)? {
            sparse::Outcome::Not => Ok(Raised::Not),
            sparse::Outcome::Edit(edit) => Ok(Raised::Edit(edit)),
            sparse::Outcome::DoesNotFit => {
                let mut promoted = to_dense(sketch)?;
                if let Some(edit) = dense::raise(&promoted, index, rank) {
                    edit.apply(&mut promoted);
                }
                Ok(Raised::Promoted(promoted))
            }
        },
    }
}

/// A sparse sketch in the dense encoding, header and cached estimate kept.
pub(crate) fn to_dense(sketch: &[u8]) -> Result<Vec<u8>, Corrupted> {
    let mut registers = [0; REGISTERS];
    sparse::merge_into(sketch, &mut registers)?;
    let mut dense = Vec::with_capacity(dense::LEN);
    dense.extend_from_slice(&sketch[..HEADER_LEN]);
    dense[ENCODING_AT] = Encoding::Dense as u8;
    dense::push(&registers, &mut dense);
    Ok(dense)
}

/// Raises every register to that of a sketch.
pub(crate) fn merge_into(
    sketch: &[u8],
    encoding: Encoding,
    registers: &mut [u8; REGISTERS],
) -> Result<(), Corrupted> {
    match encoding {
        Encoding::Dense => {
            dense::merge_into(sketch, registers);
            Ok(())
        }
        Encoding::Sparse => sparse::merge_into(sketch, registers),
    }
}

/// The estimate of a sketch, from its registers.
pub(crate) fn count(sketch: &[u8], encoding: Encoding) -> Result<u64, Corrupted> {
    let mut registers = [0; REGISTERS];
    merge_into(sketch, encoding, &mut registers)?;
    Ok(estimate::estimate(&registers))
}

/// The cached estimate, when it is valid.
pub(crate) fn cached_count(sketch: &[u8]) -> Option<u64> {
    let bytes = sketch[CACHE_AT..HEADER_LEN].try_into().expect("eight bytes");
    Some(u64::from_le_bytes(bytes)).filter(|_| sketch[CACHE_STALE_AT] & CACHE_STALE == 0)
}

/// Writes an estimate into the cache. One with the top bit set, which only forged registers give, is not valid there.
pub(crate) fn cache_count(count: u64) -> Edit {
    Edit::new(CACHE_AT, HEADER_LEN - CACHE_AT, &count.to_le_bytes())
}

/// Makes the cached estimate invalid, if it is valid.
pub(crate) fn outdate_count(sketch: &[u8]) -> Option<Edit> {
    let byte = sketch[CACHE_STALE_AT];
    (byte & CACHE_STALE == 0).then(|| Edit::new(CACHE_STALE_AT, 1, &[byte | CACHE_STALE]))
}

#[cfg(test)]
mod tests;

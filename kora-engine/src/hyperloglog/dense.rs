//! The dense encoding: 6 bits for each register, lowest bits first, behind the header.
//!
//! ```text
//! byte       0          1          2
//! bits       11000000   22221111   33333322
//! ```

use super::{Edit, HEADER_LEN, REGISTERS};

const REGISTER_BITS: usize = 6;
const REGISTER_MASK: u16 = (1 << REGISTER_BITS) - 1;
const REGISTERS_LEN: usize = REGISTERS * REGISTER_BITS / 8;

/// Length of a dense sketch.
pub(crate) const LEN: usize = HEADER_LEN + REGISTERS_LEN;

/// Registers that fill whole bytes together, and these bytes.
const GROUP: usize = 8;
const GROUP_LEN: usize = GROUP * REGISTER_BITS / 8;

/// Raises a register; the edit, or none when it holds as much.
pub(super) fn raise(sketch: &[u8], index: usize, rank: u8) -> Option<Edit> {
    let (byte, shift) = (HEADER_LEN + index * REGISTER_BITS / 8, index * REGISTER_BITS % 8);
    // The last register ends within its byte.
    let len = if shift > 8 - REGISTER_BITS { 2 } else { 1 };
    let mut word = [0; 2];
    word[..len].copy_from_slice(&sketch[byte..byte + len]);
    let bits = u16::from_le_bytes(word);
    if bits >> shift & REGISTER_MASK >= u16::from(rank) {
        return None;
    }
    let raised = bits & !(REGISTER_MASK << shift) | u16::from(rank) << shift;
    Some(Edit::new(byte, len, &raised.to_le_bytes()[..len]))
}

/// Raises every register to that of a dense sketch.
pub(super) fn merge_into(sketch: &[u8], registers: &mut [u8; REGISTERS]) {
    let (groups, _) = sketch[HEADER_LEN..].as_chunks::<GROUP_LEN>();
    let (merged, _) = registers.as_chunks_mut::<GROUP>();
    for (group, merged) in groups.iter().zip(merged) {
        for (register, of_group) in merged.iter_mut().zip(spread(*group)) {
            *register = (*register).max(of_group);
        }
    }
}

/// Appends registers, which are below 64.
pub(super) fn push(registers: &[u8; REGISTERS], out: &mut Vec<u8>) {
    let (groups, _) = registers.as_chunks::<GROUP>();
    out.extend(groups.iter().flat_map(|group| gather(*group)));
}

/// A dense sketch with these registers and the header of another sketch.
pub(crate) fn with_registers(header: &[u8], registers: &[u8; REGISTERS]) -> Vec<u8> {
    let mut sketch = Vec::with_capacity(LEN);
    sketch.extend_from_slice(&header[..HEADER_LEN]);
    sketch[super::ENCODING_AT] = super::Encoding::Dense as u8;
    push(registers, &mut sketch);
    sketch
}

/// Eight registers, a byte each, out of 48 bits: halves move apart, then their halves, then theirs.
fn spread(group: [u8; GROUP_LEN]) -> [u8; GROUP] {
    let mut word = [0; 8];
    word[..GROUP_LEN].copy_from_slice(&group);
    let bits = u64::from_le_bytes(word);
    let bits = bits & 0xff_ffff | (bits & 0xffff_ff00_0000) << 8;
    let bits = bits & 0x0000_0fff_0000_0fff | (bits & 0x00ff_f000_00ff_f000) << 4;
    let bits = bits & 0x003f_003f_003f_003f | (bits & 0x0fc0_0fc0_0fc0_0fc0) << 2;
    bits.to_le_bytes()
}

/// The opposite of [`spread`].
fn gather(registers: [u8; GROUP]) -> [u8; GROUP_LEN] {
    let bits = u64::from_le_bytes(registers);
    let bits = bits & 0x003f_003f_003f_003f | (bits & 0x3f00_3f00_3f00_3f00) >> 2;
    let bits = bits & 0x0000_0fff_0000_0fff | (bits & 0x0fff_0000_0fff_0000) >> 4;
    let bits = bits & 0xff_ffff | (bits & 0x00ff_ffff_0000_0000) >> 8;
    let mut group = [0; GROUP_LEN];
    group.copy_from_slice(&bits.to_le_bytes()[..GROUP_LEN]);
    group
}

//! Cluster slots: `CRC16(key or {tag}) mod 16384`, as in Redis Cluster, and which shard owns which.

use crate::limits::SLOTS;

/// CRC16/XMODEM (polynomial 0x1021, initial 0), one table entry per byte value.
const CRC16: [u16; 256] = {
    let mut table = [0u16; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// A slot number below 16384.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(u16);

impl Slot {
    /// The slot of a key: of its `{tag}` when it has a non-empty one.
    #[inline]
    pub fn of(key: &[u8]) -> Slot {
        let tagged = match key.iter().position(|&b| b == b'{') {
            None => key,
            Some(open) => match key[open + 1..].iter().position(|&b| b == b'}') {
                Some(len) if len > 0 => &key[open + 1..open + 1 + len],
                _ => key,
            },
        };
        let mut crc = 0u16;
        for &byte in tagged {
            crc = (crc << 8) ^ CRC16[((crc >> 8) as u8 ^ byte) as usize];
        }
        Slot(crc & (SLOTS - 1))
    }

    /// The slot of this number, if there is one.
    pub fn new(number: u16) -> Option<Slot> {
        (number < SLOTS).then_some(Slot(number))
    }

    /// Its number.
    #[inline]
    pub fn number(self) -> u16 {
        self.0
    }

    /// The shard that owns it among `shards`: contiguous ranges whose sizes differ by at most one.
    #[inline]
    pub fn shard(self, shards: u16) -> u16 {
        (self.0 as u32 * shards as u32 / SLOTS as u32) as u16
    }
}

/// The slots of one shard: first and last, inclusive.
pub fn range_of(shard: u16, shards: u16) -> (u16, u16) {
    let first = |s: u32| (s * SLOTS as u32).div_ceil(shards as u32) as u16;
    (first(shard as u32), first(shard as u32 + 1) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        // CLUSTER KEYSLOT of redis-server 7.0
        for (key, slot) in [("", 0), ("foo", 12182), ("bar", 5061), ("123456789", 12739), ("{user1}.x", 8106)]
        {
            assert_eq!(Slot::of(key.as_bytes()).number(), slot, "{key}");
        }
        assert_eq!(Slot::of(b"{user1}.x"), Slot::of(b"user1"));
        assert_eq!(Slot::of(b"a{}b{x}").number(), Slot::of(b"a{}b{x}").number());
        assert_ne!(Slot::of(b"a{}{x}"), Slot::of(b"x"), "an empty tag is no tag");
        assert_eq!(Slot::of(b"foo{{bar}}zap"), Slot::of(b"{bar"));
    }

    #[test]
    fn every_slot_has_one_owner_and_ranges_agree() {
        for shards in [1u16, 2, 3, 5, 7, 8, 64, 100, 1000] {
            for shard in 0..shards {
                let (first, last) = range_of(shard, shards);
                for number in first..=last {
                    assert_eq!(Slot(number).shard(shards), shard);
                }
            }
            assert_eq!(range_of(0, shards).0, 0);
            assert_eq!(range_of(shards - 1, shards).1, SLOTS - 1);
        }
    }
}

//! Cluster slots: `CRC16(key or {tag}) mod 16384`, as in Redis Cluster, and which shard owns which.

use crate::limits::SLOTS;

/// CRC16/XMODEM (polynomial 0x1021, initial 0). Entry `[k][b]` is the effect of byte `b` with `k` zero bytes behind it, so that
/// eight bytes are taken in one step of independent look-ups ("slicing by 8", Kounavis and Berry 2005).
static CRC16: [[u16; 256]; 8] = {
    let mut tables = [[0u16; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        tables[0][i] = crc;
        i += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut i = 0;
        while i < 256 {
            let crc = tables[k - 1][i];
            tables[k][i] = (crc << 8) ^ tables[0][(crc >> 8) as usize];
            i += 1;
        }
        k += 1;
    }
    tables
};

/// CRC16/XMODEM of some bytes.
#[inline]
fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let (chunks, rest) = bytes.as_chunks::<8>();
    for c in chunks {
        crc = CRC16[7][(c[0] ^ (crc >> 8) as u8) as usize]
            ^ CRC16[6][(c[1] ^ crc as u8) as usize]
            ^ CRC16[5][c[2] as usize]
            ^ CRC16[4][c[3] as usize]
            ^ CRC16[3][c[4] as usize]
            ^ CRC16[2][c[5] as usize]
            ^ CRC16[1][c[6] as usize]
            ^ CRC16[0][c[7] as usize];
    }
    for &byte in rest {
        crc = (crc << 8) ^ CRC16[0][((crc >> 8) as u8 ^ byte) as usize];
    }
    crc
}

/// A slot number below 16384.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(u16);

impl Slot {
    /// The slot of a key: of its `{tag}` when it has a non-empty one.
    #[inline]
    pub fn of(key: &[u8]) -> Slot {
        let tagged = match memchr::memchr(b'{', key) {
            None => key,
            Some(open) => match memchr::memchr(b'}', &key[open + 1..]) {
                Some(len) if len > 0 => &key[open + 1..open + 1 + len],
                _ => key,
            },
        };
        Slot(crc16(tagged) & (SLOTS - 1))
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

    proptest::proptest! {
        #[test]
        fn eight_bytes_at_a_time_give_what_one_at_a_time_gives(bytes: Vec<u8>) {
            let naive = bytes.iter().fold(0u16, |crc, byte| {
                (0..8).fold(crc ^ ((*byte as u16) << 8), |crc, _| {
                    if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 }
                })
            });
            proptest::prop_assert_eq!(crc16(&bytes), naive);
        }
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

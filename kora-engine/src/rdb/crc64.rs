//! The checksum of RDB: CRC-64 with Jones's polynomial, reflected, from 0, and not inverted at the end.
//!
//! Eight bytes at a time with eight tables, made at compile time (Kounavis and Berry, "A Systematic Approach to Building High
//! Performance Software-based CRC Generators", 2005).

/// The polynomial, its bits reversed.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

static TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    // What a byte does that is followed by `distance` others.
    let mut distance = 1;
    while distance < 8 {
        byte = 0;
        while byte < 256 {
            let before = tables[distance - 1][byte];
            tables[distance][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        distance += 1;
    }
    tables
}

/// A checksum of what has come so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crc64(u64);

impl Crc64 {
    /// The checksum of these bytes.
    pub fn of(bytes: &[u8]) -> u64 {
        let mut crc = Crc64::default();
        crc.update(bytes);
        crc.value()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut crc = self.0;
        for word in words {
            let mixed = (crc ^ u64::from_le_bytes(*word)).to_le_bytes();
            crc = 0;
            for (index, &byte) in mixed.iter().enumerate() {
                crc ^= TABLES[7 - index][byte as usize];
            }
        }
        for &byte in rest {
            crc = crc >> 8 ^ TABLES[0][(crc as u8 ^ byte) as usize];
        }
        self.0 = crc;
    }

    /// The checksum.
    pub fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bit_by_bit(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0, |crc, &byte| {
            (0..8).fold(
                crc ^ u64::from(byte),
                |crc, _| {
                    if crc & 1 == 1 {
                        crc >> 1 ^ POLYNOMIAL
                    } else {
                        crc >> 1
                    }
                },
            )
        })
    }

    #[test]
    fn the_check_value_is_that_of_redis() {
        assert_eq!(Crc64::of(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(Crc64::of(b""), 0);
    }

    proptest! {
        #[test]
        fn tables_do_what_bits_do(bytes in proptest::collection::vec(any::<u8>(), 0..100), cut in 0usize..100) {
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let mut crc = Crc64::default();
            crc.update(head);
            crc.update(tail);
            prop_assert_eq!(crc.value(), bit_by_bit(&bytes));
        }
    }
}

//! Cells: the map halved a number of times in each direction.

use super::{Position, LATITUDE_MAX, LONGITUDE_MAX};

/// Halvings of a cell that is a position.
pub(crate) const STEP_MAX: u32 = 26;

const LONGITUDES: Extent = Extent { min: -LONGITUDE_MAX, max: LONGITUDE_MAX };
const LATITUDES: Extent = Extent { min: -LATITUDE_MAX, max: LATITUDE_MAX };

/// Latitudes of standard geohash strings.
const STANDARD_LATITUDES: Extent = Extent { min: -90.0, max: 90.0 };

/// The digits of geohash strings, 5 bits each.
const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

/// Digits of a geohash string. The last one has no bits of its own.
const DIGITS: usize = 11;

/// An interval of degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Extent {
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Extent {
    fn size(self) -> f64 {
        self.max - self.min
    }

    /// In which of `2^step` equal parts an angle is; the upper end is past the last one.
    fn part_of(self, angle: f64, step: u32) -> u32 {
        let offset = (angle - self.min) / self.size();
        (offset * (1u64 << step) as f64) as u32
    }

    /// One of `2^step` equal parts.
    fn part(self, index: u32, step: u32) -> Extent {
        let edge = |index: u32| self.min + f64::from(index) * 1.0 / (1u64 << step) as f64 * self.size();
        Extent { min: edge(index), max: edge(index.wrapping_add(1)) }
    }

    fn middle(self) -> f64 {
        (self.min + self.max) / 2.0
    }
}

/// A cell: bits of the longitude at odd places, of the latitude at even ones, `step` of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) bits: u64,
    pub(crate) step: u32,
}

/// The area of a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Area {
    pub(crate) longitude: Extent,
    pub(crate) latitude: Extent,
}

/// Places of the bits of latitudes.
const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;
/// Places of the bits of longitudes.
const LONGITUDE_BITS: u64 = !LATITUDE_BITS;

/// The bits of a number at every second place.
fn spread(number: u32) -> u64 {
    let mut bits = u64::from(number);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, LATITUDE_BITS),
    ] {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// Every second bit, together.
fn gathered(bits: u64) -> u32 {
    let mut bits = bits & LATITUDE_BITS;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        bits = (bits | bits >> shift) & mask;
    }
    bits as u32
}

impl Cell {
    /// The cell of a position on the map, halved `step` times in each direction.
    pub(crate) fn of(position: Position, step: u32) -> Cell {
        Cell::within(position, step, LATITUDES)
    }

    fn within(position: Position, step: u32, latitudes: Extent) -> Cell {
        let latitude = latitudes.part_of(position.latitude, step);
        let longitude = LONGITUDES.part_of(position.longitude, step);
        Cell { bits: spread(latitude) | spread(longitude) << 1, step }
    }

    /// The cell that a score stands for. A score that is none is read as x86-64 turns doubles into unsigned numbers: the
    /// negative ones wrap, what is too large is 0.
    pub(crate) fn of_score(score: f64) -> Cell {
        /// 2^63.
        const HALF: f64 = 9_223_372_036_854_775_808.0;
        let signed = |value: f64| {
            if (-HALF..HALF).contains(&value) {
                value as i64 as u64
            } else {
                1 << 63
            }
        };
        let bits = if score < HALF { signed(score) } else { signed(score - HALF) ^ 1 << 63 };
        Cell { bits, step: STEP_MAX }
    }

    /// The least score of the positions in this cell.
    pub(crate) fn score(self) -> u64 {
        self.bits << (2 * (STEP_MAX - self.step))
    }

    /// The scores of the positions in this cell: from the first one to below the second.
    pub(crate) fn scores(self) -> (f64, f64) {
        let next = Cell { bits: self.bits + 1, ..self };
        (self.score() as f64, next.score() as f64)
    }

    /// Its area.
    pub(crate) fn area(self) -> Area {
        Area {
            latitude: LATITUDES.part(gathered(self.bits), self.step),
            longitude: LONGITUDES.part(gathered(self.bits >> 1), self.step),
        }
    }

    /// Its middle, which is the position that was meant, to a metre. The last cells reach over the edge of the map.
    pub(crate) fn position(self) -> Position {
        let area = self.area();
        Position {
            longitude: area.longitude.middle().clamp(-LONGITUDE_MAX, LONGITUDE_MAX),
            latitude: area.latitude.middle().clamp(-LATITUDE_MAX, LATITUDE_MAX),
        }
    }

    /// The next cell to the east (1; -1: west) and to the north; the map is round both ways. Bits of a direction in which
    /// nothing moves stay as they are: those of the map's very edge are one too many.
    pub(crate) fn moved(self, east: i64, north: i64) -> Cell {
        let mask = u64::MAX >> (64 - 2 * self.step);
        // With the other direction's bits all set, a carry passes over them; it also passes the lowest of them.
        let add = |own: u64, by: i64| match by {
            0 => self.bits & own,
            1.. => (self.bits & own | !own & mask).wrapping_add(1) & own & mask,
            _ => (self.bits & own).wrapping_sub(1) & own & mask,
        };
        Cell { bits: add(LONGITUDE_BITS, east) | add(LATITUDE_BITS, north), ..self }
    }

    /// The geohash string of a position, 11 digits, as other programs write it.
    pub(crate) fn standard_text(position: Position) -> [u8; DIGITS] {
        let bits = Cell::within(position, STEP_MAX, STANDARD_LATITUDES).bits;
        std::array::from_fn(|digit| {
            // 52 bits are 10 digits and a bit; Redis leaves the rest out.
            let index = if digit < DIGITS - 1 { bits >> (52 - (digit + 1) * 5) & 0x1f } else { 0 };
            ALPHABET[index as usize]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position() -> impl Strategy<Value = Position> {
        (-180.0..=180.0f64, -85.05..=85.05f64)
            .prop_map(|(longitude, latitude)| Position { longitude, latitude })
    }

    #[test]
    fn palermo_is_where_redis_has_it() {
        let palermo = Position { longitude: 13.361389, latitude: 38.115556 };
        let cell = Cell::of(palermo, STEP_MAX);
        assert_eq!(cell.score(), 3479099956230698);
        assert_eq!(Cell::of_score(cell.score() as f64), cell);
        assert_eq!(&Cell::standard_text(cell.position()), b"sqc8b49rny0");
        assert_eq!(format!("{:.17}", cell.position().longitude), "13.36138933897018433");
    }

    #[test]
    fn scores_that_are_no_cells_are_read_as_the_processor_reads_them() {
        assert_eq!(Cell::of_score(-1.0).bits, u64::MAX);
        assert_eq!(Cell::of_score(f64::INFINITY).bits, 0);
        assert_eq!(Cell::of_score(f64::NEG_INFINITY).bits, 1 << 63);
        assert_eq!(Cell::of_score(1e300).bits, 0);
        assert_eq!(Cell::of_score(9_223_372_036_854_775_808.0).bits, 1 << 63);
        assert_eq!(Cell::of_score(1.9).bits, 1);
        Cell::of_score(-1.0).position();
    }

    /// A step in one direction by splitting the bits: the obvious way.
    fn moved_naively(cell: Cell, east: i64, north: i64) -> Cell {
        let (mut longitude, mut latitude) = (0u64, 0u64);
        for bit in 0..cell.step {
            latitude |= (cell.bits >> (2 * bit) & 1) << bit;
            longitude |= (cell.bits >> (2 * bit + 1) & 1) << bit;
        }
        let modulus = (1u64 << cell.step) - 1;
        let longitude = longitude.wrapping_add(east as u64) & modulus;
        let latitude = latitude.wrapping_add(north as u64) & modulus;
        let bits = (0..cell.step).fold(0, |bits, bit| {
            bits | (latitude >> bit & 1) << (2 * bit) | (longitude >> bit & 1) << (2 * bit + 1)
        });
        Cell { bits, ..cell }
    }

    proptest! {
        #[test]
        fn neighbours_are_one_step_away(bits: u64, step in 1u32..=26, east in -1i64..=1, north in -1i64..=1) {
            let cell = Cell { bits: bits & (u64::MAX >> (64 - 2 * step)), step };
            prop_assert_eq!(cell.moved(east, north), moved_naively(cell, east, north));
        }

        #[test]
        fn a_position_is_in_the_area_of_its_cell(position in position(), step in 1u32..=26) {
            let area = Cell::of(position, step).area();
            let holds = |extent: Extent, angle: f64| extent.min - 1e-9 <= angle && angle <= extent.max + 1e-9;
            prop_assert!(holds(area.longitude, position.longitude));
            prop_assert!(holds(area.latitude, position.latitude));
        }

        #[test]
        fn positions_of_a_cell_are_an_interval_of_scores(position in position(), step in 1u32..=26) {
            let (min, max) = Cell::of(position, step).scores();
            let score = Cell::of(position, STEP_MAX).score() as f64;
            prop_assert!(min <= score && score < max);
        }

        #[test]
        fn spreading_is_undone_by_gathering(number: u32) {
            prop_assert_eq!(gathered(spread(number)), number);
            prop_assert_eq!(spread(number) & LONGITUDE_BITS, 0);
        }
    }
}

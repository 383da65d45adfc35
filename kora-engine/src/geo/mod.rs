//! Positions on the globe as scores of sorted sets.
//!
//! A position is a *cell*: longitude and latitude halved 26 times each, the bits interleaved (G. Niemeyer's geohash, with
//! the latitudes of web maps, 85.05 degrees to both sides). As a whole number below 2^52 it is a score that a double holds exactly, and all
//! positions of a larger cell are an interval of scores. A search covers its area by up to nine larger cells of one size, and
//! looks at what is in each ([`cover`]).
//!
//! Everything here gives the very numbers that Redis gives, to the last bit: the same formulas in the same order of
//! operations, on doubles. Sines and the like come from the C library, as Redis's do.

pub(crate) mod cell;
pub(crate) mod cover;
pub(crate) mod distance;

/// A position in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Position {
    pub(crate) longitude: f64,
    pub(crate) latitude: f64,
}

/// Ends of the longitudes.
pub(crate) const LONGITUDE_MAX: f64 = 180.0;
/// Ends of the latitudes: those of a square Mercator map (EPSG:3857).
pub(crate) const LATITUDE_MAX: f64 = 85.05112878;

impl Position {
    /// Whether it is on the map.
    pub(crate) fn is_valid(self) -> bool {
        (-LONGITUDE_MAX..=LONGITUDE_MAX).contains(&self.longitude)
            && (-LATITUDE_MAX..=LATITUDE_MAX).contains(&self.latitude)
    }
}

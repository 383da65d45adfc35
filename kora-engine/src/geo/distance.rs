//! Distances on a sphere, in metres.

use super::Position;

/// Radius of the sphere: the quadratic mean radius of WGS 84.
pub(crate) const EARTH_RADIUS: f64 = 6372797.560856;

/// One degree.
const DEGREE: f64 = std::f64::consts::PI / 180.0;

pub(crate) fn radians(degrees: f64) -> f64 {
    degrees * DEGREE
}

pub(crate) fn degrees(radians: f64) -> f64 {
    radians / DEGREE
}

/// Along a meridian.
pub(crate) fn of_latitudes(one: f64, other: f64) -> f64 {
    EARTH_RADIUS * (radians(other) - radians(one)).abs()
}

/// By the haversine formula.
pub(crate) fn between(one: Position, other: Position) -> f64 {
    let v = ((radians(other.longitude) - radians(one.longitude)) / 2.0).sin();
    if v == 0.0 {
        return of_latitudes(one.latitude, other.latitude);
    }
    let (one, other) = (radians(one.latitude), radians(other.latitude));
    let u = ((other - one) / 2.0).sin();
    let a = u * u + one.cos() * other.cos() * v * v;
    2.0 * EARTH_RADIUS * a.sqrt().asin()
}

/// A unit of distances.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Unit {
    /// Metres in one.
    pub(crate) metres: f64,
}

impl Unit {
    /// Metres.
    pub(crate) const METRE: Unit = Unit { metres: 1.0 };

    /// The unit of a name, in any case.
    pub(crate) fn named(name: &[u8]) -> Option<Unit> {
        const UNITS: [(&str, f64); 4] = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
        let unit = UNITS.iter().find(|(unit, _)| unit.as_bytes().eq_ignore_ascii_case(name));
        unit.map(|(_, metres)| Unit { metres: *metres })
    }
}

/// The text of a distance: four decimals.
pub(crate) fn text(distance: f64) -> String {
    // As Redis scales it: rounded once as a product, then to even.
    let scaled = (distance * 1e4).round_ties_even() as i64;
    let (sign, magnitude) = (if scaled < 0 { "-" } else { "" }, scaled.unsigned_abs());
    format!("{sign}{}.{:04}", magnitude / 10_000, magnitude % 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn palermo_and_catania_are_166_kilometres_apart() {
        let palermo = Position { longitude: 13.361389338970184, latitude: 38.1155563954963 };
        let catania = Position { longitude: 15.087267458438873, latitude: 37.50266842333162 };
        assert_eq!(text(between(palermo, catania)), "166274.1516");
        assert_eq!(text(between(palermo, catania) / Unit::named(b"MI").unwrap().metres), "103.3182");
        assert_eq!(text(between(palermo, palermo)), "0.0000");
    }

    #[test]
    fn along_a_meridian_both_formulas_agree() {
        let at = |latitude| Position { longitude: 10.0, latitude };
        assert!((between(at(10.0), at(20.0)) - 1_112_263.0).abs() < 100.0);
        assert_eq!(between(at(10.0), at(20.0)), of_latitudes(10.0, 20.0));
    }
}

//! Positions, distances and units in the arguments.

use crate::double;
use crate::error::Error;
use crate::geo::distance::Unit;
use crate::geo::Position;

const UNIT: Error = Error::new("ERR unsupported unit provided. please use M, KM, FT, MI");
const RADIUS: Error = Error::new("ERR need numeric radius");
const RADIUS_NEGATIVE: Error = Error::new("ERR radius cannot be negative");
const WIDTH: Error = Error::new("ERR need numeric width");
const HEIGHT: Error = Error::new("ERR need numeric height");
const SIDE_NEGATIVE: Error = Error::new("ERR height or width cannot be negative");

/// A longitude and a latitude.
pub(super) fn position(longitude: &[u8], latitude: &[u8]) -> Result<Position, Error> {
    let number = |text| double::parse(text).ok_or(Error::NOT_FLOAT);
    let position = Position { longitude: number(longitude)?, latitude: number(latitude)? };
    if !position.is_valid() {
        let Position { longitude, latitude } = position;
        return Err(Error::owned(format!(
            "ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}"
        )));
    }
    Ok(position)
}

/// A unit of length.
pub(super) fn unit(name: &[u8]) -> Result<Unit, Error> {
    Unit::named(name).ok_or(UNIT)
}

/// A radius and its unit.
pub(super) fn radius(length: &[u8], name: &[u8]) -> Result<(f64, Unit), Error> {
    let radius = double::parse(length).ok_or(RADIUS)?;
    if radius < 0.0 {
        return Err(RADIUS_NEGATIVE);
    }
    Ok((radius, unit(name)?))
}

/// Width and height of a box, and their unit.
pub(super) fn sides(width: &[u8], height: &[u8], name: &[u8]) -> Result<(f64, f64, Unit), Error> {
    let width = double::parse(width).ok_or(WIDTH)?;
    let height = double::parse(height).ok_or(HEIGHT)?;
    if width < 0.0 || height < 0.0 {
        return Err(SIDE_NEGATIVE);
    }
    Ok((width, height, unit(name)?))
}

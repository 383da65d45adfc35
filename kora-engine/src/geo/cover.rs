//! The area of a search, and the cells that cover it.

use super::cell::{Area, Cell, STEP_MAX};
use super::distance::{self, between, degrees, radians, Unit, EARTH_RADIUS};
use super::Position;

/// What a search looks within, around its centre. Lengths are in the unit of the search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

/// An area on the map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Search {
    pub(crate) centre: Position,
    pub(crate) shape: Shape,
    pub(crate) unit: Unit,
}

/// The longitudes and latitudes between which the area lies.
struct Bounds {
    west: f64,
    south: f64,
    east: f64,
    north: f64,
}

/// The length of the Mercator map's half, metres.
const MERCATOR_MAX: f64 = 20037726.37;

impl Search {
    /// The distance of a position from the centre in metres; none when it is outside.
    pub(crate) fn distance_within(&self, position: Position) -> Option<f64> {
        match self.shape {
            Shape::Circle { radius } => {
                let distance = between(self.centre, position);
                // Not "<=": a radius that is no number excludes nothing.
                let outside = distance > radius * self.unit.metres;
                (!outside).then_some(distance)
            }
            Shape::Box { width, height } => {
                let (width, height) = (width * self.unit.metres, height * self.unit.metres);
                if distance::of_latitudes(position.latitude, self.centre.latitude) > height / 2.0 {
                    return None;
                }
                let beside = Position { latitude: position.latitude, ..self.centre };
                if between(position, beside) > width / 2.0 {
                    return None;
                }
                Some(between(self.centre, position))
            }
        }
    }

    fn bounds(&self) -> Bounds {
        let (width, height) = match self.shape {
            Shape::Circle { radius } => (radius, radius),
            Shape::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let (width, height) = (self.unit.metres * width, self.unit.metres * height);
        let Position { longitude, latitude } = self.centre;
        let up = degrees(height / EARTH_RADIUS);
        // Meridians are nearest to each other at the side towards the pole.
        let poleward = if latitude < 0.0 { latitude - up } else { latitude + up };
        let aside = degrees(width / EARTH_RADIUS / radians(poleward).cos());
        Bounds {
            west: longitude - aside,
            south: latitude - up,
            east: longitude + aside,
            north: latitude + up,
        }
    }

    /// How often cells are halved so that nine of them cover the area in most places.
    fn step(&self) -> u32 {
        let mut range = match self.shape {
            Shape::Circle { radius } => radius,
            Shape::Box { width, height } => {
                (width / 2.0 * (width / 2.0) + height / 2.0 * (height / 2.0)).sqrt()
            }
        };
        range *= self.unit.metres;
        if range == 0.0 {
            return STEP_MAX;
        }
        let mut step = 1i32;
        while range < MERCATOR_MAX {
            range *= 2.0;
            step += 1;
        }
        step -= 2;
        // Towards the poles cells are narrower.
        if self.centre.latitude.abs() > 66.0 {
            step -= 1;
        }
        if self.centre.latitude.abs() > 80.0 {
            step -= 1;
        }
        step.clamp(1, STEP_MAX as i32) as u32
    }

    /// The cells to look into, in Redis's order, which is that of unsorted results. With a wide area on a cell of few
    /// halvings some can be the same: Redis looks into such a one again unless it was the last one, and so does this.
    pub(crate) fn cells(&self) -> Vec<Cell> {
        let bounds = self.bounds();
        let mut step = self.step();
        let mut centre = Cell::of(self.centre, step);
        if step > 1 && !self.is_covered(centre, &bounds) {
            step -= 1;
            centre = Cell::of(self.centre, step);
        }
        let wanted = Directions::of(centre.area(), &bounds, step);
        /// Steps east and north, in order.
        const AROUND: [(i64, i64); 9] =
            [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let mut cells: Vec<Cell> = Vec::with_capacity(AROUND.len());
        for (east, north) in AROUND {
            if !wanted.has(east, north) {
                continue;
            }
            let cell = centre.moved(east, north);
            // The centre does not count as the last one.
            if cells.len() > 1 && cells.last() == Some(&cell) {
                continue;
            }
            cells.push(cell);
        }
        cells
    }

    /// Whether the cell and its neighbours reach as far as the area does.
    fn is_covered(&self, centre: Cell, bounds: &Bounds) -> bool {
        let area = |east, north| centre.moved(east, north).area();
        let short = area(0, 1).latitude.max < bounds.north
            || area(0, -1).latitude.min > bounds.south
            || area(1, 0).longitude.max < bounds.east
            || area(-1, 0).longitude.min > bounds.west;
        !short
    }
}

/// In which directions the area passes the edge of the cell at its centre.
struct Directions {
    north: bool,
    south: bool,
    east: bool,
    west: bool,
}

impl Directions {
    fn of(area: Area, bounds: &Bounds, step: u32) -> Directions {
        // Very large cells: all neighbours.
        let all = step < 2;
        // Bounds that are no numbers leave no direction out.
        let (inside_south, inside_north) =
            (area.latitude.min < bounds.south, area.latitude.max > bounds.north);
        let (inside_west, inside_east) = (area.longitude.min < bounds.west, area.longitude.max > bounds.east);
        Directions {
            south: all || !inside_south,
            north: all || !inside_north,
            west: all || !inside_west,
            east: all || !inside_east,
        }
    }

    fn has(&self, east: i64, north: i64) -> bool {
        (north <= 0 || self.north)
            && (north >= 0 || self.south)
            && (east <= 0 || self.east)
            && (east >= 0 || self.west)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn circle(longitude: f64, latitude: f64, radius: f64) -> Search {
        Search {
            centre: Position { longitude, latitude },
            shape: Shape::Circle { radius },
            unit: Unit::METRE,
        }
    }

    #[test]
    fn small_areas_need_few_cells() {
        assert_eq!(circle(13.0, 38.0, 0.0).step(), STEP_MAX);
        assert!(circle(13.0, 38.0, 1000.0).cells().len() <= 4);
        assert_eq!(circle(13.0, 38.0, 1e9).step(), 1);
    }

    #[test]
    fn sizes_that_are_no_sizes_do_no_harm() {
        for radius in [f64::INFINITY, 1e308, 5e-324] {
            for latitude in [-85.05112878, 0.0, 85.05112878] {
                for longitude in [-180.0, 180.0] {
                    let search = circle(longitude, latitude, radius);
                    assert!(!search.cells().is_empty());
                    search.distance_within(search.centre);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_near_is_in_one_of_the_cells(
            longitude in -170.0..170.0f64,
            latitude in -60.0..60.0f64,
            radius in 1.0..200_000.0f64,
            east in -1.0..1.0f64,
            north in -1.0..1.0f64,
        ) {
            let search = circle(longitude, latitude, radius);
            let degree = degrees(radius / EARTH_RADIUS);
            let position = Position { longitude: longitude + east * degree, latitude: latitude + north * degree };
            prop_assume!(search.distance_within(position).is_some());
            let score = Cell::of(position, STEP_MAX).score() as f64;
            let found = search.cells().iter().any(|cell| {
                let (min, max) = cell.scores();
                min <= score && score < max
            });
            prop_assert!(found);
        }
    }
}

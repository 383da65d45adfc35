//! The arguments of searches.

use super::arguments;
use crate::args::{integer, is};
use crate::error::Error;
use crate::geo::cell::Cell;
use crate::geo::cover::{Search, Shape};
use crate::geo::distance::Unit;
use crate::geo::Position;
use crate::value::zset::Zset;

const MEMBER: Error = Error::new("ERR could not decode requested zset member");
const COUNT: Error = Error::new("ERR COUNT must be > 0");
const ANY: Error = Error::new("ERR the ANY argument requires COUNT argument");

/// Which command it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Centre and circle are in the first arguments; `stores`: STORE and STOREDIST are options.
    Radius { by_member: bool, stores: bool },
    /// Centre and shape are options.
    Search,
    /// The same after a destination.
    SearchStore,
}

impl Form {
    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }

    /// Index of the key that is searched.
    pub(super) fn source(self) -> usize {
        if self == Form::SearchStore {
            2
        } else {
            1
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Descending,
}

/// A parsed search.
#[derive(Debug, Clone, Default)]
pub(super) struct Query<'a> {
    /// None while it is not known, which it never is of a key that does not exist.
    centre: Option<Position>,
    shape: Option<(Shape, Unit)>,
    /// FROMMEMBER or FROMLONLAT was given.
    from_member: bool,
    from_position: bool,
    pub(super) with_distance: bool,
    pub(super) with_hash: bool,
    pub(super) with_position: bool,
    /// 0: all.
    pub(super) count: usize,
    pub(super) any: bool,
    pub(super) order: Option<Order>,
    /// Where the result is stored, and whether by distance.
    pub(super) destination: Option<&'a [u8]>,
    pub(super) store_distance: bool,
}

/// The position of a member of the set that is searched.
fn member_position(zset: &Zset, member: &[u8]) -> Result<Position, Error> {
    zset.score(member).map(|score| Cell::of_score(score).position()).ok_or(MEMBER)
}

impl<'a> Query<'a> {
    /// Reads the arguments, in Redis's order: of a key that does not exist the members are not looked for.
    pub(super) fn parse(argv: &[&'a [u8]], form: Form, zset: Option<&Zset>) -> Result<Query<'a>, Error> {
        let mut query = Query::default();
        let circle = |(radius, unit)| Some((Shape::Circle { radius }, unit));
        let mut rest = match form {
            Form::Radius { by_member: false, .. } => {
                query.centre = Some(arguments::position(argv[2], argv[3])?);
                query.shape = circle(arguments::radius(argv[4], argv[5])?);
                &argv[6..]
            }
            Form::Radius { by_member: true, .. } => {
                if let Some(zset) = zset {
                    query.centre = Some(member_position(zset, argv[2])?);
                    query.shape = circle(arguments::radius(argv[3], argv[4])?);
                }
                &argv[5..]
            }
            Form::Search => &argv[2..],
            Form::SearchStore => {
                query.destination = Some(argv[1]);
                &argv[3..]
            }
        };
        while let [word, others @ ..] = rest {
            rest = query.option(word, others, form, zset)?;
        }
        query.check(argv[0], form)?;
        Ok(query)
    }

    /// Reads one option; returns what follows it.
    fn option<'r>(
        &mut self,
        word: &[u8],
        rest: &'r [&'a [u8]],
        form: Form,
        zset: Option<&Zset>,
    ) -> Result<&'r [&'a [u8]], Error> {
        let stores = form == Form::Radius { by_member: false, stores: true }
            || form == Form::Radius { by_member: true, stores: true };
        let by_box = matches!(self.shape, Some((Shape::Box { .. }, _)));
        let by_radius = matches!(self.shape, Some((Shape::Circle { .. }, _)));
        match rest {
            _ if is(word, "withdist") => self.with_distance = true,
            _ if is(word, "withhash") => self.with_hash = true,
            _ if is(word, "withcoord") => self.with_position = true,
            _ if is(word, "any") => self.any = true,
            _ if is(word, "asc") => self.order = Some(Order::Ascending),
            _ if is(word, "desc") => self.order = Some(Order::Descending),
            [count, rest @ ..] if is(word, "count") => {
                let count = integer(count)?;
                self.count = usize::try_from(count).ok().filter(|&count| count > 0).ok_or(COUNT)?;
                return Ok(rest);
            }
            [destination, rest @ ..] if stores && (is(word, "store") || is(word, "storedist")) => {
                self.destination = Some(destination);
                self.store_distance = is(word, "storedist");
                return Ok(rest);
            }
            _ if form == Form::SearchStore && is(word, "storedist") => self.store_distance = true,
            [member, rest @ ..] if form.is_search() && is(word, "frommember") && !self.from_position => {
                if let Some(zset) = zset {
                    self.centre = Some(member_position(zset, member)?);
                }
                self.from_member = true;
                return Ok(rest);
            }
            [longitude, latitude, rest @ ..]
                if form.is_search() && is(word, "fromlonlat") && !self.from_member =>
            {
                self.centre = Some(arguments::position(longitude, latitude)?);
                self.from_position = true;
                return Ok(rest);
            }
            [radius, unit, rest @ ..] if form.is_search() && is(word, "byradius") && !by_box => {
                let (radius, unit) = arguments::radius(radius, unit)?;
                self.shape = Some((Shape::Circle { radius }, unit));
                return Ok(rest);
            }
            [width, height, unit, rest @ ..] if form.is_search() && is(word, "bybox") && !by_radius => {
                let (width, height, unit) = arguments::sides(width, height, unit)?;
                self.shape = Some((Shape::Box { width, height }, unit));
                return Ok(rest);
            }
            _ => return Err(Error::SYNTAX),
        }
        Ok(rest)
    }

    /// The area, when it is known where it is.
    pub(super) fn search(&self) -> Option<Search> {
        let (centre, (shape, unit)) = (self.centre?, self.shape?);
        Some(Search { centre, shape, unit })
    }

    /// The unit of its lengths.
    pub(super) fn unit(&self) -> Unit {
        self.shape.map_or(Unit::METRE, |(_, unit)| unit)
    }

    fn check(&mut self, name: &[u8], form: Form) -> Result<(), Error> {
        let quoted = |text: &str| {
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            Error::owned([text.as_bytes(), name].concat())
        };
        if self.destination.is_some() && (self.with_distance || self.with_hash || self.with_position) {
            let what = if form == Form::SearchStore { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(Error::owned(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        if form.is_search() && !(self.from_member || self.from_position) {
            return Err(quoted("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for "));
        }
        if form.is_search() && self.shape.is_none() {
            return Err(quoted("ERR exactly one of BYRADIUS and BYBOX can be specified for "));
        }
        if self.any && self.count == 0 {
            return Err(ANY);
        }
        if self.count > 0 && self.order.is_none() && !self.any {
            self.order = Some(Order::Ascending);
        }
        Ok(())
    }
}

//! GEOSEARCH, GEOSEARCHSTORE, and the older GEORADIUS and GEORADIUSBYMEMBER.

use super::arguments;
use super::points::answer_position;
use crate::args::{integer, is};
use crate::commands::zset::growth;
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::geo::cell::Cell;
use crate::geo::cover::{Search, Shape};
use crate::geo::distance::{self, Unit};
use crate::geo::Position;
use crate::partial_sort::partial_sort;
use crate::reply::Reply;
use crate::value::zset::range::{ScoreLimit, ScoreRange};
use crate::value::zset::Zset;
use crate::value::Collection;

const MEMBER: Error = Error::new("ERR could not decode requested zset member");
const COUNT: Error = Error::new("ERR COUNT must be > 0");
const ANY: Error = Error::new("ERR the ANY argument requires COUNT argument");

/// Which command it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
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
    fn source(self) -> usize {
        if self == Form::SearchStore {
            2
        } else {
            1
        }
    }
}

/// GEOSEARCH key ...
pub(super) fn geosearch(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    search(exec, Form::Search, reply)
}

/// GEOSEARCHSTORE destination source ...
pub(super) fn geosearchstore(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    search(exec, Form::SearchStore, reply)
}

/// GEORADIUS key longitude latitude radius unit ...
pub(super) fn georadius(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    search(exec, Form::Radius { by_member: false, stores: true }, reply)
}

/// GEORADIUS_RO key longitude latitude radius unit ...
pub(super) fn georadius_ro(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    search(exec, Form::Radius { by_member: false, stores: false }, reply)
}

/// GEORADIUSBYMEMBER key member radius unit ...
pub(super) fn georadiusbymember(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    search(exec, Form::Radius { by_member: true, stores: true }, reply)
}

/// GEORADIUSBYMEMBER_RO key member radius unit ...
pub(super) fn georadiusbymember_ro(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    search(exec, Form::Radius { by_member: true, stores: false }, reply)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
}

/// A parsed search.
#[derive(Debug, Clone, Default)]
struct Query<'a> {
    /// None while it is not known, which it never is of a key that does not exist.
    centre: Option<Position>,
    shape: Option<(Shape, Unit)>,
    /// FROMMEMBER or FROMLONLAT was given.
    from_member: bool,
    from_position: bool,
    with_distance: bool,
    with_hash: bool,
    with_position: bool,
    /// 0: all.
    count: usize,
    any: bool,
    order: Option<Order>,
    /// Where the result is stored, and whether by distance.
    destination: Option<&'a [u8]>,
    store_distance: bool,
}

/// The position of a member of the set that is searched.
fn member_position(zset: &Zset, member: &[u8]) -> Result<Position, Error> {
    zset.score(member).map(|score| Cell::of_score(score).position()).ok_or(MEMBER)
}

impl<'a> Query<'a> {
    /// Reads the arguments, in Redis's order: of a key that does not exist the members are not looked for.
    fn parse(argv: &[&'a [u8]], form: Form, zset: Option<&Zset>) -> Result<Query<'a>, Error> {
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

/// A member that was found.
#[derive(Debug, Clone)]
struct Point {
    member: Vec<u8>,
    score: f64,
    position: Position,
    /// In metres.
    distance: f64,
}

/// The members in the area, in the order in which their cells are looked into. With a limit, the first ones.
fn find(zset: &Zset, search: &Search, limit: usize) -> Vec<Point> {
    let mut points = Vec::new();
    for cell in search.cells() {
        let (min, max) = cell.scores();
        let range = ScoreRange {
            min: ScoreLimit { score: min, exclusive: false },
            max: ScoreLimit { score: max, exclusive: true },
        };
        let ranks = zset.score_range(&range);
        if ranks.is_empty() {
            continue;
        }
        for (member, score) in zset.ascending(ranks.start).take(ranks.len()) {
            let position = Cell::of_score(score).position();
            if let Some(distance) = search.distance_within(position) {
                points.push(Point { member: member.to_vec(), score, position, distance });
                if points.len() == limit {
                    return points;
                }
            }
        }
    }
    points
}

/// Puts the nearest (or farthest) ones first; nothing is said of the order after the first `count`.
fn sort(points: &mut [Point], order: Order, count: usize) {
    let compare = |one: &Point, other: &Point| {
        let ascending = one.distance.partial_cmp(&other.distance).unwrap_or(std::cmp::Ordering::Equal);
        match order {
            Order::Ascending => ascending,
            Order::Descending => ascending.reverse(),
        }
    };
    // Which of several at one distance come first is as in Redis.
    if count < points.len() {
        partial_sort(points, count, &compare);
    } else {
        points.sort_by(compare);
    }
}

fn search(exec: &mut Exec<'_>, form: Form, reply: &mut dyn Reply) -> Outcome {
    let growth = growth(exec);
    let keys = &mut exec.shard.keys;
    let source = keys.key(exec.argv[form.source()]);
    let zset = keys.read::<Zset>(exec.view, &source)?;
    let query = Query::parse(exec.argv, form, zset.as_deref())?;
    let mut points = Vec::new();
    let mut unit = Unit::METRE;
    if let (Some(zset), Some(centre), Some((shape, given))) = (&zset, query.centre, query.shape) {
        let search = Search { centre, shape, unit: given };
        unit = given;
        points = find(zset, &search, if query.any { query.count } else { 0 });
    }
    let count = if query.count > 0 { query.count } else { points.len() };
    if let Some(order) = query.order {
        sort(&mut points, order, count);
    }
    points.truncate(count);
    match query.destination {
        None => answer(&points, &query, unit, reply),
        Some(destination) => {
            let destination = keys.key(destination);
            let mut stored = Zset::new(keys.collection_seed());
            for point in &points {
                let score = if query.store_distance { point.distance / unit.metres } else { point.score };
                stored.insert(&point.member, score, growth);
            }
            reply.integer(stored.len() as i64);
            keys.store(exec.view, &destination, stored);
        }
    }
    DONE
}

fn answer(points: &[Point], query: &Query<'_>, unit: Unit, reply: &mut dyn Reply) {
    let extras =
        usize::from(query.with_distance) + usize::from(query.with_hash) + usize::from(query.with_position);
    reply.array(points.len());
    for point in points {
        if extras > 0 {
            reply.array(1 + extras);
        }
        reply.bulk(&point.member);
        if query.with_distance {
            reply.bulk(distance::text(point.distance / unit.metres).as_bytes());
        }
        if query.with_hash {
            reply.integer(point.score as i64);
        }
        if query.with_position {
            answer_position(point.position, reply);
        }
    }
}

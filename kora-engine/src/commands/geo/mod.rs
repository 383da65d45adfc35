//! Geospatial commands: sorted sets whose scores are positions (see [`crate::geo`]).

mod arguments;
mod found;
mod points;
mod query;
mod search;

use crate::command::{
    Categories, CommandSpec, Coordinated, Flags, Group, Handler, KeyFlags, KeySpec, Run, Spread, ROW,
};

/// Defaults of the family.
const GEO: CommandSpec = CommandSpec { categories: Categories::GEO, group: Group::Geo, ..ROW };

const WRITE: Flags = Flags::WRITE.union(Flags::DENYOOM);
const READ: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))];
const STORING_FROM_6: &[KeySpec] = &storing(6);
const STORING_FROM_5: &[KeySpec] = &storing(5);
const SEARCH_COST: &str =
    "O(N+log(M)) with N members in the cells around the area and M in the index, and O(N*log(N)) to sort them";

/// The keys of a search that may store what it finds, with options from this argument on.
const fn storing(options: u8) -> [KeySpec; 3] {
    let overwrite = KeyFlags::OW.union(KeyFlags::UPDATE);
    [READ[0], KeySpec::after("STORE", options, overwrite), KeySpec::after("STOREDIST", options, overwrite)]
}

/// Runs on the shard of its one key.
const fn one_key(handler: Handler) -> Run {
    Run::Keys(handler, Spread::OneKey)
}

/// Runs where the key is that it writes, or its first key; the other comes there.
const fn fetching(handler: Handler) -> Run {
    Run::Keys(handler, Spread::Coordinate(Coordinated::Fetch))
}

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "geoadd",
        arity: -5,
        flags: WRITE,
        keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
        since: "3.2.0",
        complexity: "O(log(N)) for each member, with N members in the index",
        summary: "Gives members of an index their positions, adding those that are not there.",
        syntax: "key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]",
        run: one_key(points::geoadd),
        ..GEO
    },
    CommandSpec {
        name: "geodist",
        arity: -4,
        flags: Flags::READONLY,
        keys: READ,
        since: "3.2.0",
        complexity: "O(1)",
        summary: "Answers the distance between two members.",
        syntax: "key member1 member2 [M | KM | FT | MI]",
        run: one_key(points::geodist),
        ..GEO
    },
    CommandSpec {
        name: "geohash",
        arity: -2,
        flags: Flags::READONLY,
        keys: READ,
        since: "3.2.0",
        complexity: "O(N) with N members asked for",
        summary: "Answers the positions of members as geohash strings.",
        syntax: "key [member [member ...]]",
        run: one_key(points::geohash),
        ..GEO
    },
    CommandSpec {
        name: "geopos",
        arity: -2,
        flags: Flags::READONLY,
        keys: READ,
        since: "3.2.0",
        complexity: "O(N) with N members asked for",
        summary: "Answers the longitudes and latitudes of members.",
        syntax: "key [member [member ...]]",
        run: one_key(points::geopos),
        ..GEO
    },
    CommandSpec {
        name: "georadius",
        arity: -6,
        flags: WRITE.union(Flags::MOVABLEKEYS),
        keys: STORING_FROM_6,
        since: "3.2.0",
        complexity: SEARCH_COST,
        summary: "Finds the members within a distance of a position, and stores them if asked to; older than GEOSEARCH.",
        syntax: "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key | STOREDIST key]",
        run: fetching(search::georadius),
        ..GEO
    },
    CommandSpec {
        name: "georadius_ro",
        arity: -6,
        flags: Flags::READONLY,
        keys: READ,
        since: "3.2.10",
        complexity: SEARCH_COST,
        summary: "Finds the members within a distance of a position; older than GEOSEARCH.",
        syntax: "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]",
        run: one_key(search::georadius_ro),
        ..GEO
    },
    CommandSpec {
        name: "georadiusbymember",
        arity: -5,
        flags: WRITE.union(Flags::MOVABLEKEYS),
        keys: STORING_FROM_5,
        since: "3.2.0",
        complexity: SEARCH_COST,
        summary: "Finds the members within a distance of a member, and stores them if asked to; older than GEOSEARCH.",
        syntax: "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key | STOREDIST key]",
        run: fetching(search::georadiusbymember),
        ..GEO
    },
    CommandSpec {
        name: "georadiusbymember_ro",
        arity: -5,
        flags: Flags::READONLY,
        keys: READ,
        since: "3.2.10",
        complexity: SEARCH_COST,
        summary: "Finds the members within a distance of a member; older than GEOSEARCH.",
        syntax: "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]",
        run: one_key(search::georadiusbymember_ro),
        ..GEO
    },
    CommandSpec {
        name: "geosearch",
        arity: -7,
        flags: Flags::READONLY,
        keys: READ,
        since: "6.2.0",
        complexity: SEARCH_COST,
        summary: "Finds the members in a circle or a box around a position or a member.",
        syntax: "key <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
        run: one_key(search::geosearch),
        ..GEO
    },
    CommandSpec {
        name: "geosearchstore",
        arity: -8,
        flags: WRITE,
        keys: &[
            KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE)),
            KeySpec::one(2, KeyFlags::RO.union(KeyFlags::ACCESS)),
        ],
        since: "6.2.0",
        complexity: SEARCH_COST,
        summary: "Stores the members in a circle or a box around a position or a member as a sorted set.",
        syntax: "destination source <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [STOREDIST]",
        run: fetching(search::geosearchstore),
        ..GEO
    },
];

//! Command families: each file holds its rows of the command table beside the functions that execute them.

use crate::command::CommandSpec;

pub(crate) mod bitmap;
mod cluster;
pub(crate) mod collection_scan;
mod connection;
mod copying;
mod dump;
mod expire;
pub(crate) mod generic;
mod geo;
mod hash;
mod hyperloglog;
pub mod lcs;
mod list;
pub(crate) mod long_reply;
mod object;
pub(crate) mod scan;
mod scripting;
mod server;
mod set;
mod sort;
pub(crate) mod stream;
mod string;
mod transactions;
mod watched;
mod zset;

/// The rows of every family.
pub(crate) const FAMILIES: &[&[CommandSpec]] = &[
    string::ROWS,
    stream::ROWS,
    list::ROWS,
    bitmap::ROWS,
    hyperloglog::ROWS,
    hash::ROWS,
    generic::ROWS,
    dump::ROWS,
    expire::ROWS,
    scan::ROWS,
    object::ROWS,
    set::ROWS,
    sort::ROWS,
    connection::ROWS,
    server::ROWS,
    cluster::ROWS,
    zset::ROWS,
    geo::ROWS,
    transactions::ROWS,
    scripting::ROWS,
];

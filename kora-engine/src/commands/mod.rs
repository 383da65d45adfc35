//! Command families: each file holds its rows of the command table beside the functions that execute them.

use crate::command::CommandSpec;

mod connection;
mod cluster;
mod expire;
mod generic;
mod scan;
mod server;
mod string;

/// The rows of every family.
pub(crate) const FAMILIES: &[&[CommandSpec]] = &[
    string::ROWS,
    generic::ROWS,
    expire::ROWS,
    scan::ROWS,
    connection::ROWS,
    server::ROWS,
    cluster::ROWS,
];

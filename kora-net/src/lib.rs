//! The network side of Kora: sockets, RESP, mail between executors, and the commands about connections and the server.
//!
//! | module | what it does |
//! |---|---|
//! | [`server`] | opens the sockets, starts one executor per core |
//! | [`executor`] | the turn: completions, parsing, mail, sends, sleep |
//! | [`ring`] | the io_uring of one executor |
//! | [`resp`] | requests in, replies out |
//! | [`connection`] | the state of one client |
//! | `dispatch` | where a command runs: here, on a peer, on several, in the network layer |
//! | [`mail`] | batches between executors |
//! | `memory` | how much there is and may be; eviction of each executor's share |
//! | [`coordinate`] | async functions over several executors |
//! | [`transaction`] | what is atomic over several shards: locks, and who waits for whom |
//! | `script` | EVAL, FCALL: what drives interpreters |
//! | `several` | commands over several shards |
//! | `blocking` | commands that wait for their keys: lines, claims, time-outs |
//! | [`multi`] | MULTI and EXEC: the queue of a connection, and its execution as one |
//! | [`watch`] | WATCH: whether keys have changed |
//! | [`offline`] | Redis's files into and out of a data directory, without a server |
//! | `errand` | what threads of their own do for coordinators |
//! | `commands` | connection, server and cluster commands |

mod blocking;
mod commands;
pub mod connection;
pub mod coordinate;
mod dispatch;
mod errand;
pub mod executor;
pub mod limits;
pub mod listener;
pub mod mail;
mod memory;
mod merge;
pub mod multi;
pub mod offline;
pub mod options;
pub mod process;
pub mod resp;
pub mod ring;
mod script;
pub mod server;
mod several;
mod site;
mod snapshot;
pub mod storage;
pub mod transaction;
pub mod watch;
pub mod words;

#[cfg(test)]
mod tests;

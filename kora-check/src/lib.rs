//! Judges what concurrent clients have observed.
//!
//! A test lets clients loose on a server (or the simulator on coordinators), writes down each operation with the times of its call and its response,
//! and hands the [`History`] to a check. The checks know nothing of how the history came about.
//!
//! | file | what it is |
//! |---|---|
//! | [`history`] | operations, their times, outcomes; what a violation says |
//! | [`command`] | the commands that operations consist of |
//! | [`keyspace`] | what a single-threaded server answers: the specification |
//! | [`linearizability`] | is there an order that explains all replies? Complete, for commands of one key and of several |
//! | [`serializability`] | do the dependencies of transactions with unique values have a cycle? Quick, with a readable story; not complete |
//! | [`queues`] | exactly once, in order, nothing lost: for long lists |
//!
//! ```
//! use kora_check::command::Reply;
//! use kora_check::history::{History, Kind, Outcome};
//! use kora_check::linearizability;
//!
//! let replied = |at, reply| Outcome::Replied { at, replies: vec![reply] };
//! let mut history = History::new();
//! // Client 1 writes two keys at once; client 2 sees the first written and then the second not.
//! history.add(1, 10, &[vec!["MSET", "x", "1", "y", "1"]], replied(50, Reply::ok())).unwrap();
//! history.add(2, 20, &[vec!["GET", "x"]], replied(25, Reply::bulk("1"))).unwrap();
//! history.add(2, 30, &[vec!["GET", "y"]], replied(35, Reply::Nil)).unwrap();
//!
//! let violation = linearizability::check(&history).unwrap_err();
//! assert_eq!(violation.kind, Kind::NotLinearizable);
//! assert!(violation.operations.contains(&2));
//! ```

pub mod command;
pub mod history;
pub mod keyspace;
pub mod linearizability;
mod minimal;
pub mod queues;
pub mod serializability;

pub use history::History;

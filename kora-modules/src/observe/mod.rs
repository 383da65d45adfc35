//! What an executor knows about its own work.
//!
//! Every executor owns one of each of these and is the only one that writes it, so recording needs no atomic
//! operation and no lock. A command that shows them (INFO, SLOWLOG, LATENCY) gathers a copy from every executor
//! and folds the copies with `merge`: for each of them, merging what two executors recorded gives the same as
//! one executor that recorded everything (property tests hold them to it).
//!
//! | file | what it answers |
//! |---|---|
//! | [`commandstats`] | `INFO commandstats`, `INFO latencystats`, `LATENCY HISTOGRAM` |
//! | [`errorstats`] | `INFO errorstats`, `total_error_replies` |
//! | [`slowlog`] | `SLOWLOG GET`, `LEN`, `RESET` |
//! | [`latency`] | `LATENCY LATEST`, `HISTORY`, `RESET`, `GRAPH`, `DOCTOR` |
//! | [`rates`] | `instantaneous_ops_per_sec` and the two `_kbps` of `INFO stats` |
//! | [`histogram`] | the buckets under [`commandstats`] |
//! | [`limits`] | every size and count above, with its reason |

pub mod commandstats;
pub mod errorstats;
pub mod histogram;
pub mod latency;
pub mod limits;
pub mod rates;
pub mod slowlog;
mod sparkline;

/// Seconds since the Unix epoch.
pub type UnixSeconds = u64;

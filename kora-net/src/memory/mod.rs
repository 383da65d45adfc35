//! Memory of the process: how much there is, how much there may be, and what happens when it is too much.
//!
//! ```text
//! allocator    each thread counts the bytes that it has allocated minus those that it has freed
//! gauge        executors add their counts to one sum, now and then somebody asks the kernel for the resident set; from the two
//!              follows how much may be allocated so that the process stays within `maxmemory`
//! relief       an executor that finds too much allocated evicts its share, and refuses writes when nothing is left to evict
//! ```
//!
//! The limit is for the process, keys belong to shards. So every executor looks at the sum before a command that may take
//! memory, and when it is too large each evicts in proportion to what it could evict. An executor that sleeps is woken for its
//! share; until it has done it the others go on with theirs, so nobody waits for it.

mod gauge;
mod relief;

pub(crate) use gauge::Gauge;
pub(crate) use relief::{Relief, OUT_OF_MEMORY};

//! What the standard library does not offer: CPU affinity, epoll, accounting of CPU time and memory.
//! All `unsafe` of the crate is in this folder.

pub(crate) mod affinity;
pub(crate) mod epoll;
pub(crate) mod process;
pub(crate) mod thread;

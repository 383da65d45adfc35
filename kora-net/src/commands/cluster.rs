//! Executors presented as the nodes of a cluster.

use crate::executor::Executor;

/// `host:port` of an executor's own port.
pub(crate) fn address_of(executor: &Executor, node: u16) -> String {
    let options = &executor.process.options;
    let port = options.cluster_ports.map_or(options.port, |base| base + node);
    format!("{}:{port}", options.bind[0])
}

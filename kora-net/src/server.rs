//! The server: opens the sockets, starts the executors, waits for their end.

use crate::connection::Entrance;
use crate::executor::Executor;
use crate::limits::{GLOMMIO_IO_MEMORY, PREEMPT_TIMER};
use crate::listener::{self, ListenError};
use crate::mail::mesh;
use crate::options::Options;
use crate::process::Process;
use crate::snapshot;
use crate::storage::{recovery, StorageError};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::Arc;
use std::time::Duration;

/// Why the server did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A socket could not be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// An executor could not be started; the text says on which core and why.
    #[error("executor {executor} on core {core}: {reason}")]
    Start {
        /// Its number.
        executor: usize,
        /// Its core.
        core: usize,
        /// What failed.
        reason: String,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What is on the disk cannot be loaded.
    #[error("{0}")]
    Load(String),
    /// A resource of the process is missing.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// A running server.
pub struct Server {
    process: Arc<Process>,
    executors: Vec<ExecutorJoinHandle<()>>,
    ring_features: String,
}

/// Starts the server and returns when it accepts connections.
///
/// # Errors
/// An address is in use, io_uring is not to be had, a core is not allowed.
pub fn start(options: Options) -> Result<Server, ServerError> {
    let mut listeners = open_listeners(&options)?;
    let process = Arc::new(Process::new(options)?);
    // Before there is much memory: a limit has a say in the size of its pages.
    if process.options.disable_thp {
        process.memory.disable_huge_pages();
    }
    process.memory.set_limit(process.options.settings.maxmemory);
    let count = process.options.cores.len();
    let (ready, started) = mpsc::channel::<(usize, Result<String, String>)>();
    let mut executors = Vec::with_capacity(count);
    for (id, peers) in mesh(count).into_iter().enumerate() {
        let core = process.options.cores[id];
        let own = std::mem::take(&mut listeners[id]);
        let (shared, ready) = (process.clone(), ready.clone());
        let handle = LocalExecutorBuilder::new(Placement::Fixed(core))
            .name(&format!("kora-{id}"))
            .io_memory(GLOMMIO_IO_MEMORY)
            .preempt_timer(PREEMPT_TIMER)
            .spawn(move || async move {
                let mut executor = match Executor::new(id as u16, shared, peers, own) {
                    Ok(executor) => executor,
                    Err(error) => {
                        let _ = ready.send((id, Err(format!("the socket ring: {error}"))));
                        return;
                    }
                };
                let _ = ready.send((id, Ok(executor.ring_features().to_owned())));
                if let Err(error) = executor.run().await {
                    // Without its ring an executor cannot even answer: the supervisor starts the process again.
                    tracing::error!(executor = id, %error, "the socket ring failed");
                    std::process::abort();
                }
            })
            .map_err(|error| ServerError::Start { executor: id, core, reason: error.to_string() })?;
        executors.push(handle);
    }
    drop(ready);
    let mut ring_features = String::new();
    for _ in 0..count {
        match started.recv() {
            Ok((_, Ok(features))) => ring_features = features,
            Ok((executor, Err(reason))) => {
                let core = process.options.cores[executor];
                return Err(ServerError::Start { executor, core, reason });
            }
            Err(_) => {
                return Err(ServerError::Start { executor: 0, core: 0, reason: "it ended at once".into() })
            }
        }
    }
    // What this thread has allocated for all of them; it only waits from now on.
    process.memory.publish(process.options.host.allocated_by_thread());
    process.memory.started();
    snapshot::files::start(&process)?;
    recovery::start(&process)?;
    Ok(Server { process, executors, ring_features })
}

impl Server {
    /// What the kernel offers, for the line at start.
    pub fn ring_features(&self) -> &str {
        &self.ring_features
    }

    /// A function that asks the server to finish what it has accepted and to end; for signal handlers' threads.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + 'static {
        let process = self.process.clone();
        move || process.stop()
    }

    /// Waits until everything that was on the disk is in memory, but not longer than that. Without a result it is not over.
    pub fn wait_loaded(&self, longest: Duration) -> Option<Result<(), ServerError>> {
        let waited = self.process.wait_loaded(longest)?;
        Some(waited.map_err(ServerError::Load))
    }

    /// How much of what is on the disk has been read: bytes, and of how many.
    pub fn load_progress(&self) -> (u64, u64) {
        let progress = &self.process.progress;
        (progress.read.load(Ordering::Relaxed), progress.total.load(Ordering::Relaxed))
    }

    #[cfg(test)]
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// An executor ended with an error.
    pub fn join(self) -> Result<(), ServerError> {
        for (id, handle) in self.executors.into_iter().enumerate() {
            handle.join().map_err(|error| ServerError::Start {
                executor: id,
                core: self.process.options.cores[id],
                reason: error.to_string(),
            })?;
        }
        if let Some(log) = self.process.storage.as_ref().and_then(|storage| storage.log.get()) {
            log.keeper.stop();
        }
        if let Some(path) = &self.process.options.unix_socket {
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }
}

/// The listeners of each executor. The first one accepts for all; with cluster ports each has its own besides.
fn open_listeners(options: &Options) -> Result<Vec<Vec<(OwnedFd, Entrance)>>, ServerError> {
    let mut listeners: Vec<Vec<(OwnedFd, Entrance)>> = options.cores.iter().map(|_| Vec::new()).collect();
    if options.port != 0 {
        for &ip in &options.bind {
            let socket = listener::tcp(SocketAddr::new(ip, options.port), options, "port")?;
            listeners[0].push((socket, Entrance::Tcp));
        }
    }
    if let Some(path) = &options.unix_socket {
        listeners[0].push((listener::unix(path, options)?, Entrance::Unix));
    }
    if let Some(base) = options.cluster_ports {
        for (id, own) in listeners.iter_mut().enumerate() {
            for &ip in &options.bind {
                let address = SocketAddr::new(ip, base + id as u16);
                own.push((listener::tcp(address, options, "cluster_ports")?, Entrance::Executor));
            }
        }
    }
    Ok(listeners)
}

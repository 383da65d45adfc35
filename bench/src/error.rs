//! Why a run could not be made. Error *replies* of a server under load are not here: they are counted
//! in the report, because the run itself goes on.

use std::io;

/// What stopped a command of `kora-bench`; the text names the input and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A flag, or a combination of flags, that makes no run.
    #[error("{0}")]
    Usage(String),
    /// The server could not be reached; it may not run, or listen elsewhere.
    #[error("cannot connect to {endpoint}: {source}")]
    Connect {
        /// Where the connection was tried.
        endpoint: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A system call failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The server sent bytes that are not RESP.
    #[error("{endpoint} sent something that is not RESP: {detail}")]
    Protocol {
        /// Who sent it.
        endpoint: String,
        /// What was wrong with it.
        detail: String,
    },
    /// The server closed a connection, or stopped answering, in the middle of a run.
    #[error("{endpoint}: {detail}")]
    Lost {
        /// Which server.
        endpoint: String,
        /// What happened.
        detail: String,
    },
    /// A command before or after the load (AUTH, HELLO, CLUSTER SLOTS, DBSIZE) was refused.
    #[error("{command} was answered with {reply}")]
    Refused {
        /// The command, without its secrets.
        command: String,
        /// The server's answer.
        reply: String,
    },
    /// A server that `compare` starts did not start, or broke a check.
    #[error("{name}: {detail}")]
    Server {
        /// The subject's name.
        name: String,
        /// What happened, with the end of the server's output when it did not start.
        detail: String,
    },
    /// The file of peers cannot be used.
    #[error("{file}: {detail}")]
    Peers {
        /// The file's path.
        file: String,
        /// What is wrong with it and where.
        detail: String,
    },
}

impl Error {
    /// For `map_err`: names what was being done.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { doing: doing.into(), source }
    }
}

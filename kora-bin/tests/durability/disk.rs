//! A data directory that outlives its servers.

use crate::harness::server::new_directory;
use crate::harness::{Launch, Server, Subject};
use std::path::{Path, PathBuf};

/// A data directory; removed in the end unless a test has failed.
pub struct Disk {
    pub path: PathBuf,
}

impl Disk {
    pub fn new() -> Disk {
        Disk { path: new_directory() }
    }

    /// A server on this directory, not started yet.
    pub fn launch(&self, workers: usize, wal_sync: &str) -> Launch {
        launch(workers, &self.path, wal_sync)
    }

    /// A server on this directory that has loaded everything.
    #[track_caller]
    pub fn start(&self, workers: usize, wal_sync: &str) -> Server {
        match self.launch(workers, wal_sync).start_loaded_or_exit() {
            Ok(server) => server,
            Err(exit) => panic!("it did not start: {exit:?}"),
        }
    }

    /// What a server says that does not start on this directory.
    #[track_caller]
    pub fn refusal(&self) -> String {
        match self.launch(1, "every_write").start_loaded_or_exit() {
            Ok(server) => panic!("it started and wrote {}", server.output()),
            Err(exit) => {
                assert!(!exit.status.success(), "it failed and said so: {exit:?}");
                exit.output
            }
        }
    }

    /// Segments of the log, in the order of their numbers.
    pub fn segments(&self) -> Vec<PathBuf> {
        let folder = std::fs::read_dir(self.path.join("log")).expect("the folder of the log");
        let files = folder.map(|file| file.expect("a file of the log").path());
        let mut segments: Vec<PathBuf> = files.filter(|path| has_extension(path, "klog")).collect();
        segments.sort();
        segments
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the data directory is left in {}", self.path.display());
            return;
        }
        // One that stays in the temporary folder harms nothing.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// A server on a data directory, with as many workers as wanted on as few cores as there are.
pub fn launch(workers: usize, path: &Path, wal_sync: &str) -> Launch {
    let launch = Launch::kora().workers(workers).data_dir(path).wal_sync(wal_sync);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if launch.subject == Subject::Kora && workers > cores {
        return launch.argument("--share-cores").argument("true");
    }
    launch
}

/// Asks a server to end; it must do so by itself and without complaint.
#[track_caller]
pub fn terminate(mut server: Server) {
    server.signal(libc::SIGTERM);
    let exit = server.wait();
    assert!(exit.status.success(), "it ends well: {exit:?}");
}

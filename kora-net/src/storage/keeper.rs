//! The keeper of segments: a thread that makes files ready before an executor needs them, and uses those again that are not needed any more.
//!
//! A segment is written over with zeros once, when it is made: a write into blocks that were written before changes no metadata of the
//! file system, so making it durable takes a fraction of the time. A segment whose changes are all in a snapshot is renamed and used again as it is.

use super::direct::Direct;
use super::directory::sync_folder;
use super::StorageError;
use crate::mail::Doorbell;
use crate::process::lock;
use kora_persist::block::BlockBuffer;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Usual size of a segment, bytes.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 20;
/// Size of the first ones of a directory: they are made while somebody waits for the server.
pub(crate) const FIRST_SEGMENT_BYTES: u64 = 8 << 20;

/// How much is written at a time into a new segment, bytes.
const FILL_BYTES: usize = 256 << 10;

/// A segment ready to be written.
pub(crate) struct Prepared {
    /// Its number, which is its name.
    pub id: u64,
    /// Open for writing, without the page cache where the file system knows how.
    pub file: File,
    /// Its size.
    pub bytes: u64,
}

/// A segment that is full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Full {
    /// Its number.
    pub id: u64,
    /// The last position in it.
    pub last_lsn: u64,
    /// Its size.
    pub bytes: u64,
}

enum Job {
    Prepare { executor: u16, bytes: u64 },
    Full(Full),
    Recycle { up_to: u64 },
    Stop,
}

/// What executors see of the keeper.
pub(crate) struct Keeper {
    jobs: Mutex<Sender<Job>>,
    /// One per executor: what was made ready for it.
    desks: Arc<[Desk]>,
    thread: Mutex<Option<JoinHandle<()>>>,
    bytes: Arc<AtomicU64>,
}

type Desk = Mutex<Option<io::Result<Prepared>>>;

impl Keeper {
    /// Starts the thread. `full` are segments of earlier runs; `next_id` is above all numbers in use.
    pub fn start(
        folder: PathBuf,
        next_id: u64,
        full: Vec<Full>,
        executors: usize,
        doorbells: Arc<[Doorbell]>,
    ) -> Result<Keeper, StorageError> {
        let (jobs, queue) = channel();
        let desks: Arc<[Desk]> = (0..executors).map(|_| Mutex::new(None)).collect();
        let bytes = Arc::new(AtomicU64::new(full.iter().map(|full| full.bytes).sum()));
        let worker = Worker {
            spares: Vec::new(),
            folder,
            next_id,
            full,
            in_snapshot: 0,
            desks: desks.clone(),
            doorbells,
            direct: Direct::default(),
            bytes: bytes.clone(),
        };
        let thread = std::thread::Builder::new().name("kora-log".into()).spawn(move || worker.work(queue));
        let thread = thread.map_err(|error| StorageError::Io("the thread of the log".into(), error))?;
        Ok(Keeper { jobs: Mutex::new(jobs), desks, thread: Mutex::new(Some(thread)), bytes })
    }

    /// Asks for a segment of at least so many bytes; the executor's doorbell rings when it is ready.
    pub fn prepare(&self, executor: u16, bytes: u64) {
        self.send(Job::Prepare { executor, bytes });
    }

    /// The segment that was made ready for an executor, or why there is none.
    pub fn take(&self, executor: u16) -> Option<io::Result<Prepared>> {
        lock(&self.desks[executor as usize]).take()
    }

    /// Whether there is something to take.
    pub fn is_ready(&self, executor: u16) -> bool {
        lock(&self.desks[executor as usize]).is_some()
    }

    /// A segment is full.
    pub fn full(&self, full: Full) {
        self.send(Job::Full(full));
    }

    /// Everything up to this position is in a snapshot.
    pub fn recycle(&self, up_to: u64) {
        self.send(Job::Recycle { up_to });
    }

    /// Bytes of all segments in use.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Ends the thread, after what it was asked before.
    pub fn stop(&self) {
        self.send(Job::Stop);
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }

    fn send(&self, job: Job) {
        // Without the thread the process is at its end.
        let _ = lock(&self.jobs).send(job);
    }
}

struct Worker {
    folder: PathBuf,
    next_id: u64,
    full: Vec<Full>,
    /// Everything up to this position is in a snapshot.
    in_snapshot: u64,
    /// Segments that nobody needs, by name and size.
    spares: Vec<(PathBuf, u64)>,
    desks: Arc<[Desk]>,
    doorbells: Arc<[Doorbell]>,
    direct: Direct,
    bytes: Arc<AtomicU64>,
}

impl Worker {
    fn work(mut self, queue: Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            match job {
                Job::Prepare { executor, bytes } => {
                    let prepared = self.prepare(bytes);
                    if let Ok(prepared) = &prepared {
                        self.bytes.fetch_add(prepared.bytes, Relaxed);
                    }
                    let desk = &self.desks[executor as usize];
                    *lock(desk) = Some(prepared);
                    self.doorbells[executor as usize].ring();
                }
                Job::Full(full) => {
                    self.full.push(full);
                    // A small snapshot is complete before the segments are that were closed for it.
                    self.recycle();
                }
                Job::Recycle { up_to } => {
                    self.in_snapshot = self.in_snapshot.max(up_to);
                    self.recycle();
                }
                Job::Stop => break,
            }
        }
        for (spare, _) in self.spares {
            // Nothing is in it that anybody needs; one that stays is removed at the next start.
            let _ = std::fs::remove_file(spare);
        }
    }

    fn prepare(&mut self, bytes: u64) -> io::Result<Prepared> {
        let id = self.next_id;
        self.next_id += 1;
        let path = self.folder.join(kora_persist::log::segment_name(id));
        // The smallest spare that is large enough, so that large ones stay for large frames.
        let fits = self.spares.iter().enumerate().filter(|(_, (_, size))| *size >= bytes);
        let spare = fits.min_by_key(|(_, (_, size))| *size).map(|(at, _)| at);
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let (file, bytes) = match spare {
            Some(at) => {
                let (spare, size) = self.spares.swap_remove(at);
                std::fs::rename(spare, &path)?;
                (self.direct.open(&options, &path)?, size)
            }
            None => {
                options.create(true).truncate(true).mode(0o600);
                let file = self.direct.open(&options, &path);
                let made = file.and_then(|file| Ok((fill(&file, bytes)?, file)));
                if made.is_err() {
                    let _ = std::fs::remove_file(&path);
                }
                let (bytes, file) = made?;
                (file, bytes)
            }
        };
        sync_folder(&self.folder)?;
        Ok(Prepared { id, file, bytes })
    }

    /// Oldest segments first: of what a torn end has left behind in them, the headers of later runs say that it is void.
    fn recycle(&mut self) {
        let (done, kept): (Vec<Full>, Vec<Full>) =
            self.full.iter().partition(|full| full.last_lsn <= self.in_snapshot);
        self.full = kept;
        for full in done {
            self.bytes.fetch_sub(full.bytes, Relaxed);
            let path = self.folder.join(kora_persist::log::segment_name(full.id));
            let spare = path.with_extension("spare");
            let result = if self.spares.len() < self.desks.len() * 2 && full.bytes == SEGMENT_BYTES {
                let renamed = std::fs::rename(&path, &spare);
                self.spares.extend(renamed.is_ok().then_some((spare, full.bytes)));
                renamed
            } else {
                std::fs::remove_file(&path)
            };
            if let Err(error) = result {
                tracing::warn!(segment = %path.display(), %error, "a segment that is not needed any more stays");
            }
        }
    }
}

/// Makes a file of at least so many bytes, all of them zero and written; how many.
fn fill(file: &File, bytes: u64) -> io::Result<u64> {
    let bytes = bytes.next_multiple_of(FILL_BYTES as u64);
    let mut zeros = BlockBuffer::with_capacity(FILL_BYTES);
    zeros.extend(&[0; FILL_BYTES]);
    for at in (0..bytes).step_by(FILL_BYTES) {
        file.write_all_at(zeros.as_slice(), at)?;
    }
    file.sync_all()?;
    Ok(bytes)
}

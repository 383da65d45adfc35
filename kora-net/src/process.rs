//! What the executors of one process share: counters that are summed anyway, doorbells, and the end.

use crate::commands::migrate::Connections;
use crate::errand;
use crate::limits::{NOFILE_PER_EXECUTOR, NOFILE_RESERVED};
use crate::mail::Doorbell;
use crate::memory::Gauge;
use crate::options::{Options, Settings};
use crate::script::store::Store;
use crate::server::ServerError;
use crate::storage::loading::{Desk, Progress};
use crate::storage::Storage;
use kora_modules::observe::slowlog::SlowlogIds;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Shared by reference between all executors. Everything in it is either constant after start or a single atomic word that no
/// request touches (connections and administration only).
pub struct Process {
    /// What the process was started with.
    pub options: Options,
    /// One per executor.
    pub doorbells: Arc<[Doorbell]>,
    /// 40 hexadecimal digits, new at each start.
    pub run_id: String,
    /// 40 hexadecimal digits per executor: its name as a cluster node.
    pub node_ids: Vec<String>,
    /// When the process started.
    pub started: Instant,
    /// The same, Unix milliseconds.
    pub started_ms: u64,
    /// Seed of the hash of keys.
    pub seed: u64,
    /// The next connection's id.
    pub next_client_id: AtomicU64,
    /// Connections now.
    pub clients: AtomicUsize,
    /// The limit on them, which may be lower than configured when descriptors are short.
    pub max_clients: AtomicU32,
    /// Connections ever accepted.
    pub accepted: AtomicU64,
    /// Connections refused because of the limit.
    pub rejected: AtomicU64,
    /// Executor that gets the next accepted connection.
    pub next_executor: AtomicUsize,
    /// The place of the next command that blocks in all its lines. Never 0.
    pub next_blocked: AtomicU64,
    /// Numbers of slow log entries.
    pub slowlog_ids: SlowlogIds,
    /// Scripts and libraries of functions.
    pub(crate) scripts: Store,
    /// Scripts that have run for too long and still do.
    pub slow_scripts: AtomicU32,
    /// The same for functions.
    pub slow_functions: AtomicU32,
    /// CLIENT PAUSE: until when, Unix milliseconds; 0 when nothing is paused.
    pub paused_until_ms: AtomicU64,
    /// CLIENT PAUSE WRITE: only writes are held up.
    pub pause_writes_only: AtomicU8,
    /// The settings in force and what CONFIG SET has changed of them; executors copy them from here.
    pub config: Mutex<LiveConfig>,
    /// How much memory the process takes and may take.
    pub(crate) memory: Gauge,
    /// The data directory, if there is one.
    pub(crate) storage: Option<Storage>,
    /// What was on the disk is not whole in memory yet.
    loading: AtomicBool,
    /// How far that has come.
    pub(crate) progress: Progress,
    /// What waits to be loaded, per executor.
    load_desks: Box<[Desk]>,
    /// What threads have done for coordinators, per executor.
    errand_desks: Box<[errand::Desk]>,
    /// Connections to other servers.
    pub(crate) migrations: Connections,
    /// How loading has ended.
    loaded: (Mutex<Option<Result<(), String>>>, Condvar),
    /// See [`Phase`].
    phase: AtomicU8,
    /// Executors that have finished what was accepted.
    pub drained: AtomicUsize,
}

/// What CONFIG SET and CONFIG REWRITE work on. The lock is held by these commands only, and never across an await.
pub struct LiveConfig {
    /// The settings in force.
    pub settings: Settings,
    /// Redis's names of the parameters that were set since the start.
    pub changed: BTreeSet<&'static str>,
}

/// Where the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Serving.
    Running = 0,
    /// Finishing what was accepted.
    Stopping = 1,
}

impl Process {
    /// Shared state for the given options.
    ///
    /// # Errors
    /// No descriptor is left for a doorbell; the data directory is in use or cannot be used.
    pub fn new(options: Options) -> Result<Process, ServerError> {
        let executors = options.cores.len();
        let hex = || (0..40).map(|_| char::from_digit(fastrand::u32(0..16), 16).expect("below 16")).collect();
        let doorbells: Arc<[Doorbell]> = (0..executors).map(|_| Doorbell::new()).collect::<Result<_, _>>()?;
        let storage = options.storage.clone().map(|storage| Storage::open(storage, doorbells.clone()));
        let storage = storage.transpose()?;
        let progress = Progress::default();
        progress.executors.store(executors, Ordering::Relaxed);
        progress.started_ms.store(now_ms(), Ordering::Relaxed);
        Ok(Process {
            loading: AtomicBool::new(storage.is_some()),
            storage,
            progress,
            load_desks: (0..executors).map(|_| Desk::default()).collect(),
            errand_desks: (0..executors).map(|_| errand::Desk::default()).collect(),
            migrations: Connections::default(),
            loaded: Default::default(),
            doorbells,
            run_id: hex(),
            node_ids: (0..executors).map(|_| hex()).collect(),
            started: Instant::now(),
            started_ms: now_ms(),
            seed: fastrand::u64(..),
            next_client_id: AtomicU64::new(1),
            clients: AtomicUsize::new(0),
            max_clients: AtomicU32::new(options.settings.max_clients),
            accepted: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            next_executor: AtomicUsize::new(0),
            next_blocked: AtomicU64::new(1),
            slowlog_ids: SlowlogIds::default(),
            scripts: Store::default(),
            slow_scripts: AtomicU32::new(0),
            slow_functions: AtomicU32::new(0),
            paused_until_ms: AtomicU64::new(0),
            pause_writes_only: AtomicU8::new(0),
            config: Mutex::new(LiveConfig { settings: options.settings.clone(), changed: BTreeSet::new() }),
            memory: Gauge::new(executors),
            phase: AtomicU8::new(Phase::Running as u8),
            drained: AtomicUsize::new(0),
            options,
        })
    }

    /// Number of executors, which is the number of shards.
    #[inline]
    pub fn executors(&self) -> u16 {
        self.options.cores.len() as u16
    }

    /// Where the process is in its life.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            _ => Phase::Stopping,
        }
    }

    /// Whether a script or a function has run for too long and still does.
    #[inline]
    pub fn has_slow_scripts(&self) -> bool {
        self.slow_scripts.load(Ordering::Relaxed) | self.slow_functions.load(Ordering::Relaxed) != 0
    }

    /// Whether clients are told that data is not whole yet.
    #[inline]
    pub fn is_loading(&self) -> bool {
        self.loading.load(Ordering::Relaxed)
    }

    /// What threads have done for coordinators of an executor.
    pub(crate) fn errand_desk(&self, executor: u16) -> &errand::Desk {
        &self.errand_desks[executor as usize]
    }

    /// What waits to be loaded by an executor.
    pub(crate) fn load_desk(&self, executor: u16) -> &Desk {
        &self.load_desks[executor as usize]
    }

    /// One more executor has loaded everything.
    pub(crate) fn executor_has_loaded(&self) {
        if self.progress.executors.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        // Where something could not be loaded nobody is served: what is there must not be taken for all there is.
        let mut ended = lock(&self.loaded.0);
        if ended.get_or_insert(Ok(())).is_ok() {
            self.loading.store(false, Ordering::SeqCst);
        }
        drop(ended);
        self.loaded.1.notify_all();
    }

    /// Loading cannot go on.
    pub(crate) fn loading_failed(&self, reason: String) {
        self.loading_ended(Err(reason));
    }

    /// Says how loading has ended, unless that was said before.
    fn loading_ended(&self, how: Result<(), String>) {
        lock(&self.loaded.0).get_or_insert(how);
        self.loaded.1.notify_all();
    }

    /// Waits until everything is loaded, or cannot be, or need not be any more, but not longer than that. Without a result it is not over.
    pub fn wait_loaded(&self, longest: Duration) -> Option<Result<(), String>> {
        if self.storage.is_none() {
            return Some(Ok(()));
        }
        let ended = lock(&self.loaded.0);
        let waited = self.loaded.1.wait_timeout_while(ended, longest, |ended| ended.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Asks every executor to finish what was accepted and to end. Safe to call from any thread, more than once.
    pub fn stop(&self) {
        self.phase.store(Phase::Stopping as u8, Ordering::Release);
        self.loading_ended(Ok(()));
        for doorbell in self.doorbells.iter() {
            doorbell.ring();
        }
    }
}

/// Raises the limit on open files, as far as the hard limit allows, so that so many clients fit.
///
/// # Errors
/// How many fit when they do not.
pub fn make_room(max_clients: u32, executors: u16) -> Result<(), u64> {
    let own = NOFILE_RESERVED + NOFILE_PER_EXECUTOR * u64::from(executors);
    let needed = u64::from(max_clients) + own;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid place for the result.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
    }
    if limit.rlim_cur >= needed {
        return Ok(());
    }
    let raised = libc::rlimit { rlim_cur: needed.min(limit.rlim_max), ..limit };
    // SAFETY: a valid limit; the call reads it only.
    let ok = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0;
    let there = if ok { raised.rlim_cur } else { limit.rlim_cur };
    if there >= needed {
        Ok(())
    } else {
        Err(there.saturating_sub(own))
    }
}

/// Locks. A thread that has panicked while it held the lock has ended the process, so what it guards is whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Unix milliseconds.
#[inline]
pub fn now_ms() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid place for the result; CLOCK_REALTIME always exists.
    unsafe {
        libc::clock_gettime(libc::CLOCK_REALTIME, &mut time);
    }
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

//! How much memory the process takes, and how much it may.
//!
//! **Allocated** is exact: the sum of what all threads count (see [`Host::allocated_by_thread`](crate::options::Host)). Executors add theirs
//! when it has changed by a grain or somebody wants to know; nobody else writes here on the way of a request.
//!
//! **Resident** is what the kernel counts, read from time to time. It has more in it: the program itself, stacks, pages of the allocator with
//! holes in them (blocks that were freed and are not reused yet), free pages that were not given back yet. The difference is the **overhead**.
//!
//! **Allowed** is what may be allocated. It follows from three marks:
//!
//! ```text
//! resident set   0 ........ maxmemory . GROWTH_PART . CUT_PART ... a tenth above
//! allowed           grows, up to maxmemory  |  stays  |  shrinks
//! ```
//!
//! Below the first mark it is what is allocated and what is missing to that mark; so the overhead is taken from it in advance. Between the marks it stays:
//! holes are there for new data to fill. Above the second it shrinks step by step, until evicted keys have left whole pages empty. It does not
//! shrink by as much as is resident too much, since evicting gives nothing back at first: that would go on until all data were gone.
//! What makes pages empty soon is moving records together: [`Gauge::compaction`] asks the shards for that.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Up to one part in this many above `maxmemory` the resident set may grow.
const GROWTH_PART: u64 = 256;
/// Records are moved together from one part in this many below `maxmemory` on.
const START_PART: u64 = 16;
/// From one part in this many above it on less is allowed; there is room up to a tenth for what happens between two measurements.
const CUT_PART: u64 = 40;
/// What is allowed shrinks by at most one part in this many of the limit at a time, and only so often: what was freed needs a moment to
/// come back.
const CUT_STEP_PART: u64 = 128;
const CUT_EVERY_MS: u64 = 5;
/// It does not run further ahead of what is evicted than one part in this many of the limit: without a policy nothing is, and what is deleted
/// should make room.
const CUT_AHEAD_PART: u64 = 16;
/// One part in this many above the limit is what the resident set is kept from reaching: the promise is a tenth.
const BOUND_PART: u64 = 20;
/// At least one part in this many of what `maxmemory` leaves above the memory of an empty server is for data, however large the overhead is: with a
/// limit near the size of the program nothing could be stored otherwise.
const DATA_PART_MIN: u64 = 4;
/// How often the resident set is read, which takes a few microseconds: above the limit, near it, and elsewhere.
const MEASURE_ABOVE_MS: u64 = 1;
const MEASURE_NEAR_MS: u64 = 10;
const MEASURE_FAR_MS: u64 = 250;
/// One part in this many of what is allocated, as overhead beyond that of an empty server, makes pages count as fragmented.
const FRAGMENTED_PART: u64 = 32;
/// Below this limit, bytes, memory is taken in small pages: huge ones, which are resident as a whole, waste some 10 MiB in every process.
const HUGE_PAGES_MIN: u64 = 1 << 30;

/// Pages of which at most so many per cent are in use are worth emptying: those with more than half of the average hole, within these bounds.
/// (To empty a page costs moving its records; the fuller it is, the more moves for the memory that is won.)
const SPARSE_PERCENT_MIN: u64 = 60;
const SPARSE_PERCENT_MAX: u64 = 96;

/// A walk over all records is never asked for within less than one part in this many of the limit.
const WITHIN_PART_MIN: u64 = 1024;

/// What is to be done about holes in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compaction {
    /// Bytes that may be written until a walk over all records should be done.
    pub within: u64,
    /// Records are moved out of pages of which at most so many per cent are in use.
    pub percent: u8,
}

/// One executor's part in eviction. On a cache line of its own: its executor writes it every turn while there is a limit.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Share {
    /// Keys that it could evict.
    pub evictable: AtomicU64,
    /// Bytes of dropped collections that it has not freed yet.
    pub waiting: AtomicU64,
    /// Bytes that it still has to evict. Whoever finds too much allocated adds to it; the executor itself takes off what it has evicted.
    pub owed: AtomicU64,
}

/// See the module.
#[derive(Debug)]
pub struct Gauge {
    /// Bytes allocated, as far as threads have published.
    allocated: AtomicI64,
    /// The most that it has been.
    peak: AtomicU64,
    /// What it was when the server had started.
    startup: AtomicU64,
    /// `maxmemory`; 0 for none.
    limit: AtomicU64,
    /// What may be allocated; `u64::MAX` without a limit.
    allowed: AtomicU64,
    /// The resident set when it was last read.
    resident: AtomicU64,
    /// Bytes written since then, about.
    written: AtomicU64,
    /// Resident set minus allocated, of the empty server.
    startup_overhead: AtomicU64,
    /// When to read it again, Unix milliseconds.
    measure_at_ms: AtomicU64,
    /// When what is allowed may shrink again, Unix milliseconds.
    cut_at_ms: AtomicU64,
    /// Since when more is allocated than is allowed, microseconds since the start of the process; 0 when it is not.
    exceeded_since_us: AtomicU64,
    /// How long that has been so, all in all, microseconds.
    exceeded_us: AtomicU64,
    /// Memory is taken in small pages, whatever the limit.
    no_huge_pages: AtomicBool,
    shares: Vec<Share>,
    /// `/proc/self/statm`.
    statm: Option<File>,
    page: u64,
}

/// Whether the process's memory, what it gets from now on, is to be in small pages.
fn set_small_pages(small: bool) {
    // SAFETY: no memory is involved. Where the kernel does not know huge pages this fails, and there are none.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, small as libc::c_ulong, 0, 0, 0) };
}

impl Gauge {
    pub(crate) fn new(executors: usize) -> Gauge {
        // SAFETY: no memory is involved.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        Gauge {
            allocated: AtomicI64::new(0),
            peak: AtomicU64::new(0),
            startup: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            allowed: AtomicU64::new(u64::MAX),
            resident: AtomicU64::new(0),
            written: AtomicU64::new(0),
            startup_overhead: AtomicU64::new(0),
            measure_at_ms: AtomicU64::new(0),
            cut_at_ms: AtomicU64::new(0),
            exceeded_since_us: AtomicU64::new(0),
            exceeded_us: AtomicU64::new(0),
            no_huge_pages: AtomicBool::new(false),
            shares: (0..executors).map(|_| Share::default()).collect(),
            statm: File::open("/proc/self/statm").ok(),
            page: page.max(0) as u64,
        }
    }

    /// Adds what a thread has allocated since it published last; returns the sum.
    pub(crate) fn publish(&self, bytes: isize) -> u64 {
        let bytes = bytes as i64;
        let sum = match bytes {
            0 => self.allocated.load(Ordering::Relaxed),
            bytes => self.allocated.fetch_add(bytes, Ordering::Relaxed) + bytes,
        };
        let sum = sum.max(0) as u64;
        if sum > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(sum, Ordering::Relaxed);
        }
        sum
    }

    /// Bytes allocated, as far as threads have published.
    pub(crate) fn allocated(&self) -> u64 {
        self.allocated.load(Ordering::Relaxed).max(0) as u64
    }

    /// The most that was allocated.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// What was allocated when the server had started.
    pub(crate) fn startup(&self) -> u64 {
        self.startup.load(Ordering::Relaxed)
    }

    /// What may be allocated; `u64::MAX` without a limit.
    pub(crate) fn allowed(&self) -> u64 {
        self.allowed.load(Ordering::Relaxed)
    }

    /// One executor's part.
    pub(crate) fn share(&self, executor: u16) -> &Share {
        &self.shares[executor as usize]
    }

    /// The executors' parts, in their order.
    pub(crate) fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// Whether there is anything that eviction or freeing could still free.
    pub(crate) fn can_free(&self) -> bool {
        let any = |share: &Share| {
            share.evictable.load(Ordering::Relaxed) > 0 || share.waiting.load(Ordering::Relaxed) > 0
        };
        self.shares.iter().any(any)
    }

    /// Notes what an empty server takes.
    pub(crate) fn started(&self) {
        let allocated = self.allocated();
        self.startup.store(allocated, Ordering::Relaxed);
        self.startup_overhead.store(self.resident_now().saturating_sub(allocated), Ordering::Relaxed);
        self.allow(0);
    }

    /// Has all memory from now on in small pages, whatever the limit.
    pub(crate) fn disable_huge_pages(&self) {
        self.no_huge_pages.store(true, Ordering::Relaxed);
        set_small_pages(true);
    }

    /// Changes `maxmemory`; 0 is none.
    pub(crate) fn set_limit(&self, limit: u64) {
        let before = self.limit.swap(limit, Ordering::Relaxed);
        let small_pages = |limit| limit > 0 && limit < HUGE_PAGES_MIN;
        if small_pages(limit) != small_pages(before) && !self.no_huge_pages.load(Ordering::Relaxed) {
            set_small_pages(small_pages(limit));
        }
        self.allowed.store(if limit == 0 { u64::MAX } else { limit }, Ordering::Relaxed);
        self.resident_now();
        self.allow(0);
    }

    /// The resident set, bytes, read now.
    pub(crate) fn resident_now(&self) -> u64 {
        let mut text = [0; 128];
        let len = self.statm.as_ref().and_then(|file| file.read_at(&mut text, 0).ok()).unwrap_or(0);
        let pages = text[..len].split(|&b| b == b' ').nth(1).and_then(kora_engine::args::parse_i64);
        let resident = pages.unwrap_or(0).max(0) as u64 * self.page;
        self.resident.store(resident, Ordering::Relaxed);
        self.written.store(0, Ordering::Relaxed);
        resident
    }

    /// Reads the resident set if it is time to, and computes what is allowed. Whichever executor comes first does it.
    #[inline]
    pub(crate) fn measure(&self, now_ms: u64) {
        if now_ms >= self.measure_at_ms.load(Ordering::Relaxed) {
            self.measure_now(now_ms);
        }
    }

    /// The same before it is time to, after so many bytes more were written, when the resident set is near the limit or could be by now.
    pub(crate) fn measure_if_near(&self, now_ms: u64, written: u64) {
        let limit = self.limit.load(Ordering::Relaxed);
        let written = self.written.fetch_add(written, Ordering::Relaxed) + written;
        if self.resident.load(Ordering::Relaxed).saturating_add(2 * written) > limit / 4 * 3 {
            self.resident_now();
            self.allow(now_ms);
        }
    }

    fn measure_now(&self, now_ms: u64) {
        let due = self.measure_at_ms.load(Ordering::Relaxed);
        let limit = self.limit.load(Ordering::Relaxed);
        let interval = match self.resident.load(Ordering::Relaxed) {
            resident if resident > limit => MEASURE_ABOVE_MS,
            resident if resident > limit / 4 * 3 => MEASURE_NEAR_MS,
            _ => MEASURE_FAR_MS,
        };
        let next = now_ms + interval;
        if self.measure_at_ms.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.resident_now();
            self.allow(now_ms);
        }
    }

    fn allow(&self, now_ms: u64) {
        let limit = self.limit.load(Ordering::Relaxed);
        if limit == 0 {
            return;
        }
        let cut_at = self.cut_at_ms.load(Ordering::Relaxed);
        let now = State {
            startup: self.startup(),
            allocated: self.allocated(),
            resident: self.resident.load(Ordering::Relaxed),
            may_cut: now_ms >= cut_at,
        };
        let before = self.allowed();
        let allowed = allowed(limit, before, now);
        if self.is_cut() && now.may_cut {
            let next = now_ms + CUT_EVERY_MS;
            if self.cut_at_ms.compare_exchange(cut_at, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                // Another executor has just done it.
                return;
            }
        }
        self.allowed.store(allowed, Ordering::Relaxed);
    }

    /// Resident memory beyond what is allocated and what the empty server had: holes in pages, and free pages.
    fn waste(&self) -> u64 {
        let overhead = self.resident.load(Ordering::Relaxed).saturating_sub(self.allocated());
        overhead.saturating_sub(self.startup_overhead.load(Ordering::Relaxed))
    }

    /// What to do about holes in pages, when they keep the process from using its limit.
    pub(crate) fn compaction(&self) -> Option<Compaction> {
        let limit = self.limit.load(Ordering::Relaxed);
        let resident = self.resident.load(Ordering::Relaxed);
        let (waste, allocated) = (self.waste(), self.allocated());
        if limit == 0 || resident <= limit - limit / START_PART || waste <= allocated / FRAGMENTED_PART {
            return None;
        }
        // Half of what is left to the bound, as pages become empty towards the end of a walk.
        let left = above(limit, BOUND_PART).saturating_sub(resident) / 2;
        let holes = 100 * waste / (waste + allocated);
        Some(Compaction {
            within: left.max(limit / WITHIN_PART_MIN),
            percent: (100 - holes / 2).clamp(SPARSE_PERCENT_MIN, SPARSE_PERCENT_MAX) as u8,
        })
    }

    /// Whether the process takes more than its limit.
    pub(crate) fn is_above(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        limit > 0 && self.resident.load(Ordering::Relaxed) > limit
    }

    /// Whether the process takes so much more than its limit that data is being given up.
    pub(crate) fn is_cut(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        limit > 0 && self.resident.load(Ordering::Relaxed) > above(limit, CUT_PART)
    }

    /// Keeps the time for which more was allocated than is allowed; `since_start` is the time now.
    #[inline]
    pub(crate) fn note_exceeded(&self, exceeded: bool, since_start: impl FnOnce() -> Duration) {
        let since = self.exceeded_since_us.load(Ordering::Relaxed);
        if exceeded == (since != 0) {
            return;
        }
        let now = since_start().as_micros() as u64;
        if exceeded {
            let _ =
                self.exceeded_since_us.compare_exchange(0, now.max(1), Ordering::Relaxed, Ordering::Relaxed);
        } else if self
            .exceeded_since_us
            .compare_exchange(since, 0, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
        {
            self.exceeded_us.fetch_add(now.saturating_sub(since), Ordering::Relaxed);
        }
    }

    /// For how long more has been allocated than is allowed: in all, and now without a break.
    pub(crate) fn exceeded(&self, since_start: Duration) -> (Duration, Duration) {
        let current = match self.exceeded_since_us.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => since_start.saturating_sub(Duration::from_micros(since)),
        };
        (Duration::from_micros(self.exceeded_us.load(Ordering::Relaxed)) + current, current)
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset_statistics(&self) {
        self.peak.store(self.allocated(), Ordering::Relaxed);
        self.exceeded_us.store(0, Ordering::Relaxed);
    }
}

/// A limit and one part in so many of it.
fn above(limit: u64, part: u64) -> u64 {
    limit.saturating_add(limit / part)
}

/// What a measurement has found, bytes.
#[derive(Debug, Clone, Copy)]
struct State {
    startup: u64,
    allocated: u64,
    resident: u64,
    /// Whether what is allowed may shrink by a step.
    may_cut: bool,
}

/// How much may be allocated from now on; `before` is what that was until now. See the module.
fn allowed(limit: u64, before: u64, now: State) -> u64 {
    let State { startup, allocated, resident, may_cut } = now;
    let (growth, cut) = (above(limit, GROWTH_PART), above(limit, CUT_PART));
    let allowed = if resident <= growth {
        allocated.saturating_add(growth - resident)
    } else if resident <= cut {
        before.min(allocated + (cut - resident) / 2)
    } else if may_cut {
        let cut = before.min(allocated).saturating_sub((resident - cut).min(limit / CUT_STEP_PART));
        cut.max(allocated.saturating_sub(limit / CUT_AHEAD_PART))
    } else {
        before
    };
    let least = startup.min(limit) + limit.saturating_sub(startup) / DATA_PART_MIN;
    allowed.max(least).min(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn after(before: u64, startup: u64, allocated: u64, resident: u64) -> u64 {
        let now = State {
            startup: startup * MB,
            allocated: allocated * MB,
            resident: resident * MB,
            may_cut: true,
        };
        allowed(320 * MB, before * MB, now) / MB
    }

    #[test]
    fn little_overhead_leaves_the_whole_limit() {
        assert_eq!(after(320, 10, 100, 101), 320);
        assert_eq!(after(320, 10, 319, 320), 320);
        assert_eq!(after(200, 10, 310, 250), 320, "not all that is allocated is resident");
    }

    #[test]
    fn overhead_is_taken_from_the_data() {
        // 321 MB may be resident, of which 40 are overhead.
        assert_eq!(after(320, 10, 200, 240), 281);
        assert_eq!(after(320, 10, 280, 320), 281);
    }

    #[test]
    fn between_the_marks_it_stays_and_beyond_it_shrinks_step_by_step() {
        assert_eq!(after(290, 10, 289, 324), 290);
        assert_eq!(after(320, 10, 289, 324), 289 + 2);
        assert_eq!(after(290, 10, 289, 400), 286);
        assert_eq!(after(286, 10, 289, 400), 283);
        assert_eq!(after(270, 10, 289, 400), 289 - 20, "nothing is evicted");
    }

    #[test]
    fn some_data_is_always_allowed_and_never_more_than_the_limit() {
        assert_eq!(after(85, 20, 30, 900), 20 + 300 / 4);
        let small = |limit| {
            allowed(
                limit,
                limit,
                State { startup: 20 * MB, allocated: 25 * MB, resident: 50 * MB, may_cut: true },
            )
        };
        assert_eq!((small(10 * MB), small(1)), (10 * MB, 1));
        assert_eq!(small(1 << 40), 1 << 40);
    }

    #[test]
    fn sums_peaks_and_limits() {
        let gauge = Gauge::new(2);
        assert_eq!(gauge.publish(5000), 5000);
        assert_eq!(gauge.publish(-2000), 3000);
        assert_eq!(gauge.publish(0), 3000);
        assert_eq!((gauge.allocated(), gauge.peak()), (3000, 5000));
        assert_eq!(gauge.allowed(), u64::MAX);
        gauge.set_limit(1 << 40);
        assert_eq!(gauge.allowed(), 1 << 40);
        gauge.measure(1);
        assert!(gauge.resident_now() > MB && !gauge.is_cut() && gauge.compaction().is_none());
        gauge.set_limit(0);
        assert_eq!(gauge.allowed(), u64::MAX);
        assert!(!gauge.can_free());
        gauge.share(1).evictable.store(1, Ordering::Relaxed);
        assert!(gauge.can_free());
    }

    #[test]
    fn the_time_above_the_limit_is_summed() {
        let gauge = Gauge::new(1);
        let ms = Duration::from_millis;
        gauge.note_exceeded(true, || ms(10));
        gauge.note_exceeded(true, || unreachable!("the time is not asked for while nothing changes"));
        assert_eq!(gauge.exceeded(ms(15)), (ms(5), ms(5)));
        gauge.note_exceeded(false, || ms(20));
        gauge.note_exceeded(true, || ms(50));
        assert_eq!(gauge.exceeded(ms(51)), (ms(11), ms(1)));
        gauge.note_exceeded(false, || ms(60));
        assert_eq!(gauge.exceeded(ms(100)), (ms(20), ms(0)));
    }
}

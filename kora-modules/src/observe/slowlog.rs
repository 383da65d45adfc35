//! The slow log: the last commands that took longer than a threshold.
//!
//! Each executor keeps its own ring and writes it alone. An entry's id comes from a counter that all executors
//! share, drawn only when a command was slow, so the rings merge into one log by id and no entry needs a comparison of
//! clocks. Each ring is as long as the whole log may be, because all the slow commands may have run on one executor.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use super::limits::{SLOWLOG_ARGS_MAX, SLOWLOG_ARG_BYTES_MAX};
use super::UnixSeconds;

/// The ids of a process's slow log entries, from 0 without reuse. SLOWLOG RESET does not start it again.
#[derive(Debug, Default)]
pub struct SlowlogIds(AtomicU64);

impl SlowlogIds {
    /// Ids from 0.
    pub const fn new() -> SlowlogIds {
        SlowlogIds(AtomicU64::new(0))
    }

    fn next(&self) -> u64 {
        // Only the numbers must differ; nothing else is published with them.
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// The words of a command as the log shows them: at most 32, at most 128 bytes of each, and what was left out in words.
///
/// Two allocations however many words: commands of which nobody knows yet whether they will be slow are kept like this
/// until they end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShownArgs {
    /// All words in turn.
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<u32>,
}

impl ShownArgs {
    /// Redis's trimming: a command of more than 32 words shows 31 and how many more there are; a word of more than 128
    /// bytes shows 128 and how many more there are.
    pub fn of<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>) -> ShownArgs {
        let total = args.len();
        let whole = if total > SLOWLOG_ARGS_MAX { SLOWLOG_ARGS_MAX - 1 } else { total };
        let mut shown =
            ShownArgs { bytes: Vec::new(), ends: Vec::with_capacity(total.min(SLOWLOG_ARGS_MAX)) };
        for arg in args.take(whole) {
            let (kept, rest) = arg.split_at(arg.len().min(SLOWLOG_ARG_BYTES_MAX));
            shown.bytes.extend_from_slice(kept);
            if !rest.is_empty() {
                write!(shown.bytes, "... ({} more bytes)", rest.len()).expect("a Vec takes any bytes");
            }
            shown.end_word();
        }
        if whole < total {
            write!(shown.bytes, "... ({} more arguments)", total - whole).expect("a Vec takes any bytes");
            shown.end_word();
        }
        shown
    }

    fn end_word(&mut self) {
        self.ends.push(self.bytes.len() as u32); // 32 words of 128 bytes and a note
    }

    /// How many words are shown.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The words.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start as usize..end as usize])
    }
}

/// One slow command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowlogEntry {
    /// Unique in the process; a later entry has a larger one.
    pub id: u64,
    /// When it ran.
    pub at: UnixSeconds,
    /// How long it ran, in microseconds.
    pub duration_us: u64,
    /// The command's name and arguments.
    pub args: ShownArgs,
    /// The client's `ip:port`, or the path of its Unix socket.
    pub client_addr: Box<str>,
    /// The client's name from CLIENT SETNAME; empty without one.
    pub client_name: Box<[u8]>,
}

/// One executor's slow log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slowlog {
    /// Nanoseconds from which a command is slow; `u64::MAX` when the log is off.
    threshold_nanos: u64,
    /// Entries that are kept; 0 keeps none.
    len_max: usize,
    /// Oldest first.
    entries: VecDeque<SlowlogEntry>,
}

impl Slowlog {
    /// An empty log. The arguments are `slowlog-log-slower-than` in microseconds (negative: off; 0: everything) and
    /// `slowlog-max-len`.
    pub fn new(slower_than_us: i64, len_max: usize) -> Slowlog {
        let mut log = Slowlog { threshold_nanos: 0, len_max, entries: VecDeque::new() };
        log.set_slower_than_us(slower_than_us);
        log
    }

    /// Sets `slowlog-log-slower-than`, in microseconds: negative turns the log off, 0 logs every command.
    pub fn set_slower_than_us(&mut self, slower_than_us: i64) {
        self.threshold_nanos = u64::try_from(slower_than_us).map_or(u64::MAX, |us| us.saturating_mul(1000));
    }

    /// Sets `slowlog-max-len`, and drops the oldest entries above it.
    pub fn set_len_max(&mut self, len_max: usize) {
        self.len_max = len_max;
        let excess = self.entries.len().saturating_sub(len_max);
        self.entries.drain(..excess);
    }

    /// Whether a command that took so long belongs in the log: one comparison, for every command. The caller leaves
    /// out commands whose table row says that they stay out of the log (EXEC, AUTH, ...).
    #[inline]
    pub fn is_slow(&self, nanos: u64) -> bool {
        nanos >= self.threshold_nanos
    }

    /// Adds a command for which [`Slowlog::is_slow`] held. `args` begins with the command's name; secrets among
    /// them are redacted by the caller.
    #[cold]
    pub fn record(
        &mut self,
        ids: &SlowlogIds,
        at: UnixSeconds,
        nanos: u64,
        args: ShownArgs,
        client_addr: &str,
        client_name: &[u8],
    ) {
        let id = ids.next();
        if self.len_max == 0 {
            return;
        }
        if self.entries.len() == self.len_max {
            self.entries.pop_front();
        }
        self.entries.push_back(SlowlogEntry {
            id,
            at,
            duration_us: nanos / 1000,
            args,
            client_addr: client_addr.into(),
            client_name: client_name.into(),
        });
    }

    /// How many entries are kept now.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entries, newest first: the `count` newest, or all for `None` (SLOWLOG GET -1).
    pub fn get(&self, count: Option<usize>) -> impl Iterator<Item = &SlowlogEntry> {
        self.entries.iter().rev().take(count.unwrap_or(usize::MAX))
    }

    /// Drops all entries.
    pub fn reset(&mut self) {
        self.entries.clear();
    }

    /// Adds another executor's entries; the newest `slowlog-max-len` of both stay.
    pub fn merge(&mut self, other: &Slowlog) {
        self.entries.extend(other.entries.iter().cloned());
        self.entries.make_contiguous().sort_unstable_by_key(|entry| entry.id);
        self.set_len_max(self.len_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(log: &mut Slowlog, ids: &SlowlogIds, words: &[&[u8]]) {
        let args = ShownArgs::of(words.iter().copied());
        log.record(ids, 1_700_000_000, 1_500_999, args, "127.0.0.1:50000", b"worker");
    }

    fn trimmed(words: &[Vec<u8>]) -> Vec<String> {
        let shown = ShownArgs::of(words.iter().map(Vec::as_slice));
        assert_eq!((shown.len(), shown.is_empty()), (shown.iter().count(), words.is_empty()));
        shown.iter().map(|arg| String::from_utf8(arg.to_vec()).unwrap()).collect()
    }

    #[test]
    fn long_arguments_are_cut_in_redis_words() {
        assert_eq!(trimmed(&[]), [""; 0]);
        assert_eq!(trimmed(&[vec![], vec![b'a']]), ["", "a"]);
        assert_eq!(trimmed(&[vec![b'x'; 128]]), ["x".repeat(128)]);
        assert_eq!(trimmed(&[vec![b'x'; 129]]), [format!("{}... (1 more bytes)", "x".repeat(128))]);
        assert_eq!(trimmed(&[vec![b'x'; 200]]), [format!("{}... (72 more bytes)", "x".repeat(128))]);
    }

    #[test]
    fn many_arguments_are_cut_in_redis_words() {
        let words: Vec<Vec<u8>> = (0..42).map(|number: u32| number.to_string().into_bytes()).collect();
        assert_eq!(trimmed(&words[..32]).len(), 32);
        assert_eq!(trimmed(&words[..32])[31], "31");
        assert_eq!(trimmed(&words[..33])[30..], ["30", "... (2 more arguments)"]);
        assert_eq!(trimmed(&words)[30..], ["30", "... (11 more arguments)"]);
    }

    #[test]
    fn threshold_follows_redis() {
        let mut log = Slowlog::new(10_000, 128);
        assert!(!log.is_slow(9_999_999));
        assert!(log.is_slow(10_000_000));
        log.set_slower_than_us(0);
        assert!(log.is_slow(0));
        log.set_slower_than_us(-1);
        assert!(!log.is_slow(u64::MAX - 1));
        log.set_slower_than_us(i64::MAX);
        assert!(!log.is_slow(u64::MAX - 1));
    }

    #[test]
    fn newest_come_first_and_the_oldest_leave() {
        let ids = SlowlogIds::new();
        let mut log = Slowlog::new(0, 3);
        for word in ["a", "b", "c", "d"] {
            record(&mut log, &ids, &[word.as_bytes()]);
        }
        let shown: Vec<u64> = log.get(None).map(|entry| entry.id).collect();
        assert_eq!(shown, [3, 2, 1]);
        let newest = log.get(Some(1)).next().unwrap();
        assert_eq!((newest.duration_us, newest.at), (1500, 1_700_000_000));
        assert_eq!((&*newest.client_addr, &*newest.client_name), ("127.0.0.1:50000", b"worker".as_slice()));
        assert_eq!(newest.args.iter().collect::<Vec<_>>(), [b"d"]);
        log.set_len_max(2);
        assert_eq!(log.get(None).map(|entry| entry.id).collect::<Vec<_>>(), [3, 2]);
        log.reset();
        assert!(log.is_empty());
        record(&mut log, &ids, &[b"e"]);
        assert_eq!(log.get(None).next().map(|entry| entry.id), Some(4));
    }

    #[test]
    fn a_log_of_length_zero_keeps_nothing() {
        let mut log = Slowlog::new(0, 0);
        record(&mut log, &SlowlogIds::new(), &[b"ping"]);
        assert_eq!(log.len(), 0);
    }

    proptest! {
        #[test]
        fn merging_two_executors_equals_recording_all_in_one(
            ran_left in proptest::collection::vec(any::<bool>(), 0..40),
            len_max in 0usize..20,
        ) {
            let (ids, ids_all) = (SlowlogIds::new(), SlowlogIds::new());
            let mut left = Slowlog::new(0, len_max);
            let (mut right, mut all) = (left.clone(), left.clone());
            for (number, is_left) in ran_left.into_iter().enumerate() {
                let word = number.to_string();
                record(if is_left { &mut left } else { &mut right }, &ids, &[word.as_bytes()]);
                record(&mut all, &ids_all, &[word.as_bytes()]);
            }
            left.merge(&right);
            prop_assert_eq!(left, all);
        }
    }
}

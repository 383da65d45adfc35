//! How often each error code was answered, for `INFO errorstats`.
//!
//! Codes come from scripts too, so their number has a cap, Redis's 128. At the cap Redis gives up on the whole table:
//! it shows the one line `errorstat_ERRORSTATS_DISABLED:count=1` until CONFIG RESETSTAT, and so does this.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::limits::{ERROR_PREFIXES_MAX, ERROR_PREFIX_SCAN_BYTES};

/// The prefix shown when there were too many.
const DISABLED: &str = "ERRORSTATS_DISABLED";

/// Error replies of one executor, by code.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErrorStats {
    /// Every error reply, whatever its code: `total_error_replies`.
    total: u64,
    /// Sorted because INFO lists codes in byte order; at most [`ERROR_PREFIXES_MAX`]; empty when disabled.
    counts: BTreeMap<Box<[u8]>, u64>,
    /// More codes came than are kept.
    disabled: bool,
}

impl ErrorStats {
    /// Nothing counted yet.
    pub fn new() -> ErrorStats {
        ErrorStats::default()
    }

    /// Counts an error reply. `text` is the line without its leading `-` and without CR LF. Its code is the word
    /// before the first space; `ERR` when there is no space within Redis's 32 bytes.
    #[cold]
    pub fn record(&mut self, text: &[u8]) {
        self.total += 1;
        if !self.disabled {
            self.add(code_of(text), 1);
        }
    }

    fn add(&mut self, code: &[u8], count: u64) {
        if let Some(sum) = self.counts.get_mut(code) {
            *sum += count;
        } else if self.counts.len() < ERROR_PREFIXES_MAX {
            self.counts.insert(code.into(), count);
        } else {
            self.counts.clear();
            self.disabled = true;
        }
    }

    /// All error replies: `total_error_replies`.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How often a code was answered.
    pub fn count(&self, code: &[u8]) -> u64 {
        self.counts.get(code).copied().unwrap_or(0)
    }

    /// Whether counting by code stopped because there were too many codes.
    pub fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// Adds what another executor counted.
    pub fn merge(&mut self, other: &ErrorStats) {
        self.total += other.total;
        if other.disabled {
            self.counts.clear();
            self.disabled = true;
        }
        for (code, &count) in &other.counts {
            if self.disabled {
                break;
            }
            self.add(code, count);
        }
    }

    /// Forgets everything (CONFIG RESETSTAT).
    pub fn reset(&mut self) {
        *self = ErrorStats::new();
    }

    /// Appends the lines of `INFO errorstats`, without its heading. Bytes that would break INFO's format show as `_`.
    pub fn write_errorstats(&self, out: &mut String) {
        if self.disabled {
            write!(out, "errorstat_{DISABLED}:count=1\r\n").expect("a String takes any text");
        }
        for (code, count) in &self.counts {
            out.push_str("errorstat_");
            for character in String::from_utf8_lossy(code).chars() {
                let breaks_format = matches!(character, '#' | ':' | '\r' | '\n');
                out.push(if breaks_format { '_' } else { character });
            }
            write!(out, ":count={count}\r\n").expect("a String takes any text");
        }
    }
}

fn code_of(text: &[u8]) -> &[u8] {
    // Redis counts the leading '-' that `text` does not have.
    let scanned = &text[..text.len().min(ERROR_PREFIX_SCAN_BYTES - 1)];
    match scanned.iter().position(|&byte| byte == b' ') {
        Some(end) => &text[..end],
        None => b"ERR",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(stats: &ErrorStats) -> String {
        let mut out = String::new();
        stats.write_errorstats(&mut out);
        out
    }

    #[test]
    fn lines_and_code_rule_are_those_of_redis() {
        let mut stats = ErrorStats::new();
        stats.record(b"WRONGTYPE Operation against a key holding the wrong kind of value");
        stats.record(b"ERR syntax error");
        stats.record(b"ERR");
        stats.record(b"LOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOONG code");
        stats.record(b"A:B c");
        assert_eq!(
            text(&stats),
            "errorstat_A_B:count=1\r\nerrorstat_ERR:count=3\r\nerrorstat_WRONGTYPE:count=1\r\n"
        );
        assert_eq!((stats.total(), stats.count(b"ERR")), (5, 3));
    }

    #[test]
    fn too_many_codes_disable_the_table_until_reset() {
        let mut stats = ErrorStats::new();
        for code in 0..128 {
            stats.record(format!("CODE{code} text").as_bytes());
        }
        assert!(!stats.is_disabled());
        stats.record(b"ONEMORE text");
        stats.record(b"ERR text");
        assert_eq!(text(&stats), "errorstat_ERRORSTATS_DISABLED:count=1\r\n");
        assert_eq!(stats.total(), 130);
        stats.reset();
        stats.record(b"ERR text");
        assert_eq!(text(&stats), "errorstat_ERR:count=1\r\n");
    }

    proptest! {
        #[test]
        fn merging_two_executors_equals_recording_all_in_one(
            // Enough distinct codes that some runs pass the cap, in one executor or only in the sum.
            codes in proptest::collection::vec((any::<bool>(), 0u16..400), 0..600),
        ) {
            let (mut left, mut right, mut all) = (ErrorStats::new(), ErrorStats::new(), ErrorStats::new());
            for (is_left, code) in codes {
                let line = format!("C{code} text");
                if is_left { &mut left } else { &mut right }.record(line.as_bytes());
                all.record(line.as_bytes());
            }
            left.merge(&right);
            prop_assert_eq!(left, all);
        }
    }
}

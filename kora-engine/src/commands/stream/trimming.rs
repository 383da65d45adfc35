//! MAXLEN and MINID, the options that XADD and XTRIM share, and the trimming itself.

use super::id;
use super::policy::{Deletion, Policy};
use crate::args::{integer, is};
use crate::error::Error;
use crate::keyspace::Editor;
use crate::value::stream::{Stream, StreamId, Threshold};

/// What is trimmed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trim {
    pub(super) threshold: Threshold,
    /// Whole blocks only.
    pub(super) approximate: bool,
    /// Most entries to remove, if there is a limit.
    pub(super) limit: Option<u64>,
    pub(super) policy: Policy,
}

/// The options before the id of XADD, or all of XTRIM's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) trim: Option<Trim>,
    pub(super) no_mkstream: bool,
    /// Index of the first argument that is no option: XADD's id.
    pub(super) next: usize,
}

const LIMIT_WITHOUT_STRATEGY: Error =
    Error::new("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy");
const NO_STRATEGY: Error = Error::new("ERR syntax error, XTRIM must be called with a trimming strategy");
const LIMIT_WITHOUT_APPROXIMATION: Error =
    Error::new("ERR syntax error, LIMIT cannot be used without the special ~ option");
const BOTH_STRATEGIES: Error =
    Error::new("ERR syntax error, MAXLEN and MINID options at the same time are not compatible");
const NEGATIVE_MAXLEN: Error = Error::new("ERR The MAXLEN argument must be >= 0.");
const NEGATIVE_LIMIT: Error = Error::new("ERR The LIMIT argument must be >= 0.");

/// Blocks that an approximate trim without LIMIT removes, and bounds of that in entries.
const BLOCKS_DEFAULT: u64 = 100;
const LIMIT_WITHOUT_BLOCKS: u64 = 10_000;
const LIMIT_MAX: u64 = 1_000_000;

impl Options {
    /// Reads `argv` from argument 2 on: up to the first word that is no option (`adds`), or all of it.
    pub(super) fn parse(argv: &[&[u8]], adds: bool, node_max_entries: u64) -> Result<Options, Error> {
        let mut threshold = None;
        let (mut approximate, mut limit, mut policy) = (false, None, None);
        let mut no_mkstream = false;
        let mut at = 2;
        while at < argv.len() {
            let word = argv[at];
            let more = argv.len() - 1 - at;
            if adds && word == b"*" {
                break;
            } else if (is(word, "maxlen") || is(word, "minid")) && more > 0 {
                if threshold.is_some() {
                    return Err(BOTH_STRATEGIES);
                }
                at += 1;
                approximate = more >= 2 && argv[at] == b"~";
                at += usize::from(more >= 2 && (argv[at] == b"~" || argv[at] == b"="));
                threshold = Some(if is(word, "maxlen") {
                    Threshold::MaxLen(u64::try_from(integer(argv[at])?).map_err(|_| NEGATIVE_MAXLEN)?)
                } else {
                    Threshold::MinId(id::strict(argv[at], 0)?)
                });
            } else if is(word, "limit") && more > 0 {
                at += 1;
                limit = Some(u64::try_from(integer(argv[at])?).map_err(|_| NEGATIVE_LIMIT)?);
            } else if adds && is(word, "nomkstream") {
                no_mkstream = true;
            } else if let Some(named) = Policy::named(word) {
                if policy.replace(named).is_some() {
                    return Err(Error::SYNTAX);
                }
            } else if adds {
                id::for_new_entry(word)?;
                break;
            } else {
                return Err(Error::SYNTAX);
            }
            at += 1;
        }
        match (threshold, limit) {
            (None, Some(1..)) => return Err(LIMIT_WITHOUT_STRATEGY),
            (None, _) if !adds => return Err(NO_STRATEGY),
            _ => {}
        }
        let limit = match limit {
            Some(_) if !approximate => return Err(LIMIT_WITHOUT_APPROXIMATION),
            Some(limit) => limit,
            None if approximate => match node_max_entries.saturating_mul(BLOCKS_DEFAULT) {
                0 => LIMIT_WITHOUT_BLOCKS,
                entries => entries.min(LIMIT_MAX),
            },
            None => 0,
        };
        let policy = policy.unwrap_or_default();
        let trim = threshold.map(|threshold| Trim {
            threshold,
            approximate,
            limit: (limit > 0).then_some(limit),
            policy,
        });
        Ok(Options { trim, no_mkstream, next: at })
    }
}

/// A trim under way.
pub(super) struct Trimming {
    trim: Trim,
    /// Where it goes on when it goes entry by entry.
    from: StreamId,
    /// Entries that went.
    pub(super) removed: u64,
}

impl Trimming {
    pub(super) fn new(trim: Trim) -> Trimming {
        Trimming { trim, from: StreamId::MIN, removed: 0 }
    }

    /// Trims a stream, visiting at most so many blocks. Returns whether that was all.
    pub(super) fn advance(&mut self, stream: &mut Editor<'_, Stream>, blocks: usize) -> bool {
        let Trim { threshold, approximate, limit, policy } = self.trim;
        let left = |removed: u64| limit.map(|limit| limit.saturating_sub(removed));
        if policy == Policy::Keep {
            let trimmed = stream.trim(threshold, approximate, left(self.removed), blocks);
            self.removed += trimmed.entries;
            return trimmed.complete;
        }
        // Entry by entry: what goes is what would go otherwise, but for the entries that are still wanted.
        for _ in 0..blocks {
            let ids = stream.next_to_trim(self.from, threshold, approximate, left(self.removed));
            let Some(ids) = ids.filter(|ids| !ids.is_empty()) else { return true };
            for id in ids {
                if matches!(threshold, Threshold::MaxLen(max) if stream.entries_len() <= max) {
                    return true;
                }
                self.removed += u64::from(policy.delete(stream, id, false) == Deletion::Done);
                match id.next() {
                    Some(next) => self.from = next,
                    None => return true,
                }
            }
        }
        false
    }
}

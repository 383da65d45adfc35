//! Trimming: entries go from the beginning, whole blocks at once where possible.

use super::{Body, StreamId};

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    /// So many entries, the last ones.
    MaxLen(u64),
    /// The entries from this id on.
    MinId(StreamId),
}

/// How far a trim has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Entries removed.
    pub entries: u64,
    /// Whole blocks removed.
    pub blocks: u64,
    /// Within the block that was the first then, the entries before this id were removed.
    pub before: StreamId,
    /// The trim has come to its end; otherwise it stopped because it had done as much as it was allowed to.
    pub complete: bool,
}

impl Body {
    /// Removes entries up to the threshold. An approximate trim removes whole blocks only, and nothing after `limit` entries; the
    /// rules are Redis's to the block. At most `blocks_max` blocks are visited, after which the caller goes on.
    pub(crate) fn trim(
        &mut self,
        threshold: Threshold,
        approximate: bool,
        limit: Option<u64>,
        blocks_max: usize,
    ) -> Trimmed {
        let mut trimmed = Trimmed::default();
        for _ in 0..blocks_max {
            let Some((first, block)) = self.blocks.first() else {
                trimmed.complete = true;
                break;
            };
            let live = u64::from(block.live());
            let exhausted = limit.is_some_and(|limit| trimmed.entries + live > limit);
            let whole = match threshold {
                Threshold::MaxLen(max) if self.len <= max => None,
                _ if exhausted => None,
                Threshold::MaxLen(max) => Some(self.len - live >= max),
                Threshold::MinId(id) => Some(first < id && self.blocks.last_of(first, block) < id),
            };
            match whole {
                Some(true) => {
                    self.blocks.remove_first();
                    self.front = None;
                    self.len -= live;
                    trimmed.entries += live;
                    trimmed.blocks += 1;
                }
                Some(false) if !approximate => {
                    let (before, most) = match threshold {
                        Threshold::MaxLen(max) => (StreamId::MAX, self.len - max),
                        Threshold::MinId(id) => (id, u64::MAX),
                    };
                    let (entries, last) = self.mark_front(before, most);
                    trimmed.entries += entries;
                    // The greatest id has no next one; no entry after it is kept either.
                    trimmed.before = last.map_or(StreamId::MIN, |last| last.next().unwrap_or(StreamId::MAX));
                    trimmed.complete = true;
                    break;
                }
                _ => {
                    trimmed.complete = true;
                    break;
                }
            }
        }
        if trimmed.entries > 0 {
            self.find_first();
        }
        trimmed
    }

    /// Does what a trim has done.
    pub(crate) fn trim_again(&mut self, blocks: u64, before: StreamId) {
        for _ in 0..blocks {
            let Some(block) = self.blocks.remove_first() else { break };
            self.front = None;
            self.len -= u64::from(block.live());
        }
        if before > StreamId::MIN {
            self.mark_front(before, u64::MAX);
        }
        self.find_first();
    }

    /// Deletes the entries of the first block that come before an id, at most so many. Returns how many, and the id of the last.
    fn mark_front(&mut self, before: StreamId, most: u64) -> (u64, Option<StreamId>) {
        let Some((first, block)) = self.blocks.first() else { return (0, None) };
        let mut walk = match self.front {
            Some((key, cursor)) if key == first => block.walk_from(cursor),
            _ => block.walk(first),
        };
        let (mut heads, mut last) = (Vec::new(), None);
        let mut cursor = walk.cursor();
        while (heads.len() as u64) < most {
            let Some(stored) = walk.next().filter(|stored| stored.entry.id < before) else { break };
            cursor = walk.cursor();
            if !stored.deleted {
                heads.push(stored.at);
                last = Some(stored.entry.id);
            }
        }
        self.front = Some((first, cursor));
        let block = self.blocks.get_mut(first).expect("it is the first block");
        for &at in &heads {
            block.delete_at(at);
        }
        self.len -= heads.len() as u64;
        (heads.len() as u64, last)
    }
}

impl Body {
    /// The entries of the next block that a trim would remove, from the one with the id `from` on, when it goes entry by entry;
    /// none when it stops there. The same rules as [`Body::trim`]'s, which looks at whole blocks.
    pub fn next_to_trim(
        &self,
        from: StreamId,
        threshold: Threshold,
        approximate: bool,
        limit: Option<u64>,
    ) -> Option<Vec<StreamId>> {
        for (&first, block) in self.blocks.range(from, StreamId::MAX) {
            let live = block.walk(first).filter(|stored| !stored.deleted && stored.entry.id >= from);
            let mut ids: Vec<StreamId> = live.map(|stored| stored.entry.id).collect();
            if ids.is_empty() {
                continue;
            }
            let entries = u64::from(block.live());
            if limit.is_some_and(|limit| entries > limit) {
                return None;
            }
            let whole = match threshold {
                Threshold::MaxLen(max) if self.len <= max => return None,
                Threshold::MaxLen(max) => self.len - entries >= max,
                Threshold::MinId(id) => self.blocks.last_of(first, block) < id,
            };
            if approximate && !whole {
                return None;
            }
            if let Threshold::MinId(end) = threshold {
                ids.retain(|&id| id < end);
            }
            return Some(ids);
        }
        None
    }
}

//! Nodes of the radix tree in which Redis would keep the blocks: what XINFO STREAM says about them.
//!
//! The keys of Redis's tree are the blocks' first ids, of 16 bytes each. The tree has a node where keys part, one for each
//! run of bytes that leads to such a place or to the end of a key, and one at the end of each key. All of that follows from the
//! number of bytes that neighbouring keys have in common.

use super::{Body, StreamId};

const KEY_BYTES: u32 = 16;

/// Blocks that are looked at. The nodes of more are extrapolated, so that the answer takes no long time.
const BLOCKS_MAX: usize = 4096;

impl Body {
    /// How many nodes Redis's radix tree of these blocks would have.
    pub fn radix_tree_nodes(&self) -> u64 {
        let blocks = self.blocks.len() as u64;
        let keys = self.blocks.range(StreamId::MIN, StreamId::MAX).map(|(&first, _)| first);
        let nodes = count(keys.take(BLOCKS_MAX));
        match blocks.checked_sub(BLOCKS_MAX as u64) {
            None | Some(0) => nodes,
            Some(_) => (nodes as f64 * blocks as f64 / BLOCKS_MAX as f64) as u64,
        }
    }
}

/// The number of nodes for these keys, which come in order.
fn count(keys: impl Iterator<Item = StreamId>) -> u64 {
    // A place where keys part, or the end of one, at `depth` bytes from the root, with the run that leads to it from below the
    // place before, if there is any byte between the two.
    let place =
        |depth: u32, parent: Option<u32>| 1 + u64::from(depth > parent.map_or(0, |parent| parent + 1));
    // Depths of the places above the present key, from the root down.
    let mut above: Vec<u32> = Vec::new();
    let mut nodes = 0;
    let mut previous: Option<(StreamId, Option<u32>)> = None;
    for key in keys {
        let common = previous.map(|(before, shared)| {
            let common = common_bytes(before, key);
            nodes += place(KEY_BYTES, shared.max(Some(common)));
            while let Some(depth) = above.pop_if(|depth| *depth > common) {
                nodes += place(depth, above.last().copied().max(Some(common)));
            }
            if above.last() != Some(&common) {
                above.push(common);
            }
            common
        });
        previous = Some((key, common));
    }
    let Some((_, shared)) = previous else { return 1 };
    nodes += place(KEY_BYTES, shared);
    while let Some(depth) = above.pop() {
        nodes += place(depth, above.last().copied());
    }
    nodes
}

fn common_bytes(a: StreamId, b: StreamId) -> u32 {
    (u128::from_be_bytes(a.to_bytes()) ^ u128::from_be_bytes(b.to_bytes())).leading_zeros() / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(keys: &[(u64, u64)]) -> u64 {
        count(keys.iter().map(|&(ms, seq)| StreamId::new(ms, seq)))
    }

    #[test]
    fn nodes_are_those_that_redis_counts() {
        assert_eq!(nodes(&[]), 1);
        assert_eq!(nodes(&[(1, 0)]), 2);
        // A run of 7 bytes, a node of two edges, two runs, two ends.
        assert_eq!(nodes(&[(1, 0), (2, 0)]), 6);
        // They part in the last byte: no runs after it.
        assert_eq!(nodes(&[(1, 0), (1, 1), (1, 2)]), 5);
        // Parting twice.
        assert_eq!(nodes(&[(1, 0), (1, 1), (2, 0)]), 8);
        assert_eq!(nodes(&[(1, 0), (2, 0), (2, 1)]), 8);
        // At the root.
        assert_eq!(nodes(&[(1, 0), (u64::MAX, 0)]), 5);
    }
}

//! Arbitrary bytes as the file of a snapshot and as its manifest.
//!
//! They are read as they are, and once more with all checksums made right along the lengths that they claim, so that what lies behind the
//! checksums is reached too.
//!
//! Checked: nothing panics, what a manifest says can be written again byte for byte, and what records hold can be applied to a shard
//! or is refused.

use kora_engine::shard::{EngineConfig, Shard, ShardId};
use kora_persist::snapshot::{Manifest, SnapshotError, SnapshotReader};

const HEADER_BYTES: usize = 40;
const BLOCK_HEADER_BYTES: usize = 20;

/// Runs one input.
pub fn run(input: &[u8]) {
    let mut repaired = input.to_vec();
    repair_file(&mut repaired);
    for file in [input, &repaired] {
        read_file(file);
    }
    let mut repaired = input.to_vec();
    if let Some(body) = input.len().checked_sub(4) {
        let sum = crc32c::crc32c(&repaired[..body]);
        repaired[body..].copy_from_slice(&sum.to_le_bytes());
    }
    for bytes in [input, &repaired] {
        if let Ok(manifest) = Manifest::decode(bytes) {
            assert_eq!(manifest.encode(), bytes);
        }
    }
}

fn read_file(file: &[u8]) {
    let Ok(mut reader) = SnapshotReader::new(file) else { return };
    let mut shard = Shard::new(ShardId { index: 0, count: 1 }, EngineConfig::default(), 1);
    while let Ok(Some(records)) = reader.next_records() {
        let _ = records.for_each(|change| {
            let _ = shard.keys.replay(change, 0);
            Ok::<(), SnapshotError>(())
        });
    }
    assert!(reader.summary().bytes <= file.len() as u64);
}

fn repair_file(file: &mut [u8]) {
    if file.len() < HEADER_BYTES {
        return;
    }
    let sum = crc32c::crc32c(&file[..32]);
    file[32..36].copy_from_slice(&sum.to_le_bytes());
    let mut at = HEADER_BYTES;
    while let Some(header) = file.get(at..at + BLOCK_HEADER_BYTES) {
        let packed = u32::from_le_bytes(header[4..8].try_into().expect("4 bytes")) as usize;
        let body = at + BLOCK_HEADER_BYTES;
        let Some(bytes) = file.get(body..body.saturating_add(packed)) else { return };
        let sum = crc32c::crc32c_append(crc32c::crc32c(&header[..16]), bytes);
        file[at + 16..body].copy_from_slice(&sum.to_le_bytes());
        at = body + packed;
    }
}

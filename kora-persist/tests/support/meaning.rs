//! What a shard holds as text, one line a key, whatever forms its values have.
//!
//! ```text
//! db key type expiry elements...     bytes in hexadecimal, `.` for none; `-` for no expiry
//! ```
//! Sets and hashes are sorted; elements of more than 200 characters are a checksum of them. The fixtures of `rdb_files.rs` were written in
//! the same way from the replies of redis-server.

use kora_engine::keyspace::View;
use kora_engine::rdb::Crc64;
use kora_engine::shard::Shard;
use kora_engine::table::{Entry, ValueRef};
use kora_engine::value::hash::Hash;
use kora_engine::value::item::Item;
use kora_engine::value::list::List;
use kora_engine::value::set::Set;
use kora_engine::value::stream::{Stream, StreamId};
use kora_engine::value::zset::Zset;
use kora_engine::value::Collection;

/// Longer elements are a checksum.
const ELEMENTS_MAX: usize = 200;

fn hex(bytes: &[u8]) -> String {
    match bytes {
        [] => ".".to_owned(),
        bytes => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn hex_item(item: Item<'_>) -> String {
    item.with_bytes(hex)
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

fn stream(stream: &Stream) -> Vec<String> {
    let mut words: Vec<String> = stream
        .range(StreamId::MIN, StreamId::MAX)
        .map(|entry| {
            let pairs =
                entry.pairs().map(|(field, value)| format!("{}={}", hex_item(field), hex_item(value)));
            format!("{}:{}", entry.id, pairs.collect::<Vec<_>>().join(","))
        })
        .collect();
    words.push(format!(
        "last={} max-deleted={} added={}",
        stream.last_id(),
        stream.max_deleted_id(),
        stream.entries_added()
    ));
    for (name, group) in stream.groups() {
        words.push(format!("group={} last={} read={}", hex(name), group.last, or_dash(group.entries_read)));
        for consumer in group.consumers() {
            let active = or_dash(consumer.active);
            words.push(format!("consumer={} seen={} active={active}", hex(consumer.name()), consumer.seen));
        }
        for (id, pending, consumer) in group.pending_range(StreamId::MIN, StreamId::MAX) {
            let name = hex(consumer.name());
            words.push(format!("pending={id} consumer={name} time={} count={}", pending.time, pending.count));
        }
    }
    words
}

/// A value as words.
pub fn words(value: ValueRef<'_>) -> Vec<String> {
    let object = match value {
        ValueRef::Int(int) => return vec![hex(int.to_string().as_bytes())],
        ValueRef::Bytes(bytes) => return vec![hex(bytes)],
        ValueRef::Shared(bytes) => return vec![hex(bytes)],
        ValueRef::Object(object) => object,
    };
    let mut words = Vec::new();
    if let Some(list) = object.get::<List>() {
        words.extend(list.range(0..list.len()).map(|element| element.with_bytes(hex)));
    } else if let Some(set) = object.get::<Set>() {
        let mut position = 0;
        loop {
            position = set.scan(position, usize::MAX, &mut |member| words.push(hex_item(member)));
            if position == 0 {
                break;
            }
        }
        words.sort_unstable();
    } else if let Some(zset) = object.get::<Zset>() {
        // A packed set is not given a negative zero, a large one may have it.
        let entry = |(member, score): (Item<'_>, f64)| {
            format!("{}={:016x}", hex_item(member), (score + 0.0).to_bits())
        };
        words.extend(zset.ascending(0).map(entry));
    } else if let Some(hash) = object.get::<Hash>() {
        let mut position = 0;
        loop {
            position = hash.scan(position, usize::MAX, 0, &mut |field, found| {
                let value = found.value.element().with_bytes(hex);
                words.push(format!("{}={value}@{}", field.with_bytes(hex), or_dash(found.expire_at)));
            });
            if position == 0 {
                break;
            }
        }
        words.sort_unstable();
    } else if let Some(found) = object.get::<Stream>() {
        words = stream(&found);
    }
    words
}

fn line(db: u16, entry: Entry<'_>) -> String {
    let (value, expire_at) = (entry.value(), or_dash(entry.expire_at()));
    let mut elements = words(value).join(" ");
    if elements.len() > ELEMENTS_MAX {
        elements = format!("crc64={:016x} of {}", Crc64::of(elements.as_bytes()), elements.len());
    }
    format!("{db} {} {} {expire_at} {elements}", hex(entry.key()), value.kind().name())
}

/// All keys of a shard, sorted.
pub fn meaning(shard: &Shard) -> Vec<String> {
    let mut lines = Vec::new();
    for db in 0..shard.keys.databases() {
        let (view, mut position) = (View { db, now: 0, touch: false }, 0);
        loop {
            position = shard.keys.scan(view, position, 1000, &mut |entry| lines.push(line(db, entry)));
            if position == 0 {
                break;
            }
        }
    }
    lines.sort_unstable();
    lines
}

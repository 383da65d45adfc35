//! What a shard of another layout has done to whole databases: it concerns the keys that were on it, wherever they are now.

use kora_engine::change::{Change, DeleteReason};
use kora_engine::keyspace::{Keyspace, View};
use kora_engine::slot::Slot;

/// Visited at once by a walk over a database.
const KEYS_AT_ONCE: usize = 1 << 16;

/// A shard of a layout.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// Which one.
    pub of: u16,
    /// Of how many.
    pub count: u16,
}

/// A database, while time stands still.
pub(crate) fn view(db: u16) -> View {
    View { db, now: 0, touch: false }
}

/// The keys of a database that were on a shard.
fn keys_of(keys: &Keyspace, db: u16, part: Part) -> Vec<Vec<u8>> {
    let (mut position, mut names) = (0, Vec::new());
    loop {
        position = keys.scan(view(db), position, KEYS_AT_ONCE, &mut |entry| {
            if Slot::of(entry.key()).shard(part.count) == part.of {
                names.push(entry.key().to_vec());
            }
        });
        if position == 0 {
            return names;
        }
    }
}

/// A shard was emptied of a database.
pub(crate) fn flush(keys: &mut Keyspace, db: u16, part: Part) {
    for key in keys_of(keys, db, part) {
        let change = Change::Delete { db, key: &key, reason: DeleteReason::Command };
        keys.replay(&change, 0).expect("a deletion has no value");
    }
}

/// A shard has exchanged two databases.
pub(crate) fn swap(keys: &mut Keyspace, a: u16, b: u16, part: Part) {
    let (of_a, of_b) = (keys_of(keys, a, part), keys_of(keys, b, part));
    let mut taken = Vec::with_capacity(of_a.len() + of_b.len());
    for (from, to, names) in [(a, b, of_a), (b, a, of_b)] {
        for name in names {
            let entry = keys.take(view(from), &keys.key(&name)).expect("it was there just now");
            taken.push((to, name, entry));
        }
    }
    for (to, name, entry) in taken {
        let key = keys.key(&name);
        keys.put(view(to), &key, entry);
    }
}

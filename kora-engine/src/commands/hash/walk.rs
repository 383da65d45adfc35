//! HGETALL, HKEYS, HVALS and HSCAN: many fields at a time.
//!
//! A packed hash is answered at once. A table is walked in the order of its fields' hashes, in slices when it is large: see
//! [`long_reply`].

use crate::change::UnixMs;
use crate::commands::collection_scan::{Paged, ScanOptions};
use crate::commands::long_reply::{self, Elements, Gather, FIRST_ELEMENTS};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::keyspace::View;
use crate::reply::Reply;
use crate::shard::Shard;
use crate::value::element::Element;
use crate::value::hash::{Found, Hash, Value};
use crate::value::Collection;

/// Which halves of the pairs are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Halves {
    Fields,
    Values,
    Both,
}

impl Halves {
    fn head(self, pairs: usize, reply: &mut dyn Reply) {
        match self {
            Halves::Both => reply.map(pairs),
            _ => reply.array(pairs),
        }
    }

    fn reply(self, field: Element<'_>, found: Found<'_>, reply: &mut dyn Reply) {
        if self != Halves::Values {
            field.reply(reply);
        }
        if self != Halves::Fields {
            found.value.reply(reply);
        }
    }

    fn push(self, field: Element<'_>, found: Found<'_>, elements: &mut Elements) {
        if self != Halves::Values {
            field.with_item(|field| elements.push(field));
        }
        if self != Halves::Fields {
            push_value(found.value, elements);
        }
    }
}

pub(super) fn push_value(value: Value<'_>, elements: &mut Elements) {
    match value {
        Value::Element(element) => element.with_item(|item| elements.push(item)),
        Value::Shared(bytes) => elements.push_shared(bytes),
    }
}

/// HGETALL key
pub(super) fn hgetall(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    all(exec, Halves::Both, reply)
}

/// HKEYS key
pub(super) fn hkeys(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    all(exec, Halves::Fields, reply)
}

/// HVALS key
pub(super) fn hvals(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    all(exec, Halves::Values, reply)
}

fn all(exec: &mut Exec<'_>, halves: Halves, reply: &mut dyn Reply) -> Outcome {
    let now = exec.now();
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(hash) = keys.read::<Hash>(exec.view, &key)? else {
        halves.head(0, reply);
        return DONE;
    };
    match hash.due(now) {
        Some(due) if hash.is_packed() || hash.len() <= FIRST_ELEMENTS => {
            halves.head(hash.len() - due, reply);
            each(&hash, now, &mut |field, found| halves.reply(field, found, reply));
            DONE
        }
        _ => {
            let walk = All { db: exec.view.db, key: exec.argv[1].to_vec(), halves, position: 0 };
            long_reply::answer(walk, exec, reply)
        }
    }
}

/// Visits every field that is alive.
fn each(hash: &Hash, now: UnixMs, visit: &mut dyn FnMut(Element<'_>, Found<'_>)) {
    let mut position = 0;
    loop {
        position = hash.scan(position, usize::MAX, now, visit);
        if position == 0 {
            return;
        }
    }
}

/// All fields of a large hash.
struct All {
    db: u16,
    key: Vec<u8>,
    halves: Halves,
    /// Where the walk goes on, in the order of hashes.
    position: u64,
}

impl Gather for All {
    fn gather(
        &mut self,
        shard: &mut Shard,
        now: UnixMs,
        count: usize,
        elements: &mut Elements,
    ) -> Result<bool, Error> {
        let key = shard.keys.key(&self.key);
        let view = View { db: self.db, now, touch: false };
        let Ok(Some(hash)) = shard.keys.look::<Hash>(view, &key) else { return Ok(true) };
        if hash.is_packed() && self.position != 0 {
            // Another hash by now, whose fields may have been met in the old one.
            return Ok(true);
        }
        let halves = self.halves;
        self.position =
            hash.scan(self.position, count, now, &mut |field, found| halves.push(field, found, elements));
        Ok(self.position == 0)
    }

    fn head(&self, elements: &Elements, reply: &mut dyn Reply) {
        let pairs = if self.halves == Halves::Both { elements.len() / 2 } else { elements.len() };
        self.halves.head(pairs, reply);
    }
}

impl Paged for Hash {
    const HAS_VALUES: bool = true;

    fn is_one_page(&self) -> bool {
        self.is_packed()
    }

    fn page(
        &self,
        position: u64,
        count: usize,
        now: UnixMs,
        options: &ScanOptions,
        elements: &mut Elements,
    ) -> u64 {
        let halves = if options.no_values { Halves::Fields } else { Halves::Both };
        self.scan(position, count, now, &mut |field, found| {
            if field.with_item(|field| options.wants(field)) {
                halves.push(field, found, elements);
            }
        })
    }
}

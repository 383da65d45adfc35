//! ZSCAN: some members with their scores at a time, in the order of the members' hashes.

use crate::change::UnixMs;
use crate::commands::collection_scan::{self, ScanOptions};
use crate::commands::long_reply::{self, Elements, Gather};
use crate::double::Text;
use crate::error::Error;
use crate::exec::{Exec, Outcome};
use crate::keyspace::View;
use crate::reply::Reply;
use crate::shard::Shard;
use crate::value::item::Item;
use crate::value::zset::Zset;

/// ZSCAN key cursor [MATCH pattern] [COUNT count]
pub(super) fn zscan(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let cursor = collection_scan::cursor(exec.argv[2])?;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(zset) = keys.read::<Zset>(exec.view, &key)? else { return collection_scan::empty_page(reply) };
    let is_large = zset.is_large();
    let options = ScanOptions::parse(&exec.argv[3..], false)?;
    // A packed set is one page, whatever the cursor.
    let position = if is_large { collection_scan::position(cursor) } else { Some(0) };
    let Some(position) = position else { return collection_scan::empty_page(reply) };
    let left = options.count;
    let page = Page { db: exec.view.db, key: exec.argv[1].to_vec(), options, position, left };
    long_reply::answer(page, exec, reply)
}

/// One page.
struct Page {
    db: u16,
    key: Vec<u8>,
    options: ScanOptions,
    /// Where the walk goes on; 0 after the last member.
    position: u64,
    /// How many members it may still visit.
    left: usize,
}

impl Gather for Page {
    fn gather(
        &mut self,
        shard: &mut Shard,
        now: UnixMs,
        count: usize,
        elements: &mut Elements,
    ) -> Result<bool, Error> {
        let key = shard.keys.key(&self.key);
        let view = View { db: self.db, now, touch: false };
        let Ok(Some(zset)) = shard.keys.look::<Zset>(view, &key) else {
            self.position = 0;
            return Ok(true);
        };
        let count = count.min(self.left);
        let options = &self.options;
        // As in Redis, whose two forms print differently.
        let text_of = if zset.is_large() { Text::of_17_digits } else { Text::of };
        self.position = zset.scan(self.position, count, &mut |member, score| {
            let member = Item::of(member);
            if options.wants(member) {
                elements.push(member);
                elements.push(Item::Bytes(text_of(score).as_bytes()));
            }
        });
        self.left -= count;
        Ok(self.position == 0 || self.left == 0)
    }

    fn head(&self, elements: &Elements, reply: &mut dyn Reply) {
        collection_scan::page(reply, self.position, elements.len());
    }
}

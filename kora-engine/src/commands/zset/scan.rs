//! ZSCAN: some members with their scores at a time, in the order of the members' hashes.

use crate::change::UnixMs;
use crate::commands::collection_scan::{Paged, ScanOptions};
use crate::commands::long_reply::Elements;
use crate::double::Text;
use crate::value::item::Item;
use crate::value::zset::Zset;

impl Paged for Zset {
    const HAS_VALUES: bool = false;

    fn is_one_page(&self) -> bool {
        !self.is_large()
    }

    fn page(
        &self,
        position: u64,
        count: usize,
        _: UnixMs,
        options: &ScanOptions,
        elements: &mut Elements,
    ) -> u64 {
        // As in Redis, whose two forms print differently.
        let text_of = if self.is_large() { Text::of_17_digits } else { Text::of };
        self.scan(position, count, &mut |member, score| {
            let member = Item::of(member);
            if options.wants(member) {
                elements.push(member);
                elements.push(Item::Bytes(text_of(score).as_bytes()));
            }
        })
    }
}

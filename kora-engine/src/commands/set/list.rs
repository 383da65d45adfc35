//! Members on their way into a reply.

use crate::reply::Reply;
use crate::value::item::Item;

/// Bytes of a chunk. One buffer that doubles would be copied as a whole, milliseconds for a million members.
const CHUNK_BYTES: usize = 128 * 1024;

/// Members one behind the other, as encoded items in chunks.
#[derive(Default)]
pub(super) struct MemberList {
    chunks: Vec<Vec<u8>>,
    len: usize,
}

/// Where a list goes on.
#[derive(Default, Clone, Copy)]
pub(super) struct ListPosition {
    chunk: usize,
    at: usize,
}

impl MemberList {
    /// Number of members.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a member at the end.
    pub(super) fn push(&mut self, member: Item<'_>) {
        if self.chunks.last().is_none_or(|chunk| chunk.len() >= CHUNK_BYTES) {
            self.chunks.push(Vec::new());
        }
        member.encode(self.chunks.last_mut().expect("there is one now"));
        self.len += 1;
    }

    /// Calls with at most `count` members from a position on; false at the end.
    pub(super) fn visit(
        &self,
        position: &mut ListPosition,
        count: usize,
        f: &mut dyn FnMut(Item<'_>),
    ) -> bool {
        for _ in 0..count {
            let Some(chunk) = self.chunks.get(position.chunk) else { return false };
            let (member, next) = Item::decode(chunk, position.at);
            f(member);
            *position = if next < chunk.len() {
                ListPosition { at: next, ..*position }
            } else {
                ListPosition { chunk: position.chunk + 1, at: 0 }
            };
        }
        position.chunk < self.chunks.len()
    }

    /// Answers with the members as a set.
    pub(super) fn reply_set(&self, reply: &mut dyn Reply) {
        reply.set(self.len);
        self.visit(&mut ListPosition::default(), usize::MAX, &mut |member| member.reply(reply));
    }
}

//! Replies of more elements than fit one turn of the executor: HGETALL, SMEMBERS, ZRANGE or LRANGE of a large value.
//!
//! The elements are first gathered, some at a time, because their number stands at the head of the reply and the value may
//! change between two turns. Then they are written, some at a time. So nobody waits for a million elements, and the
//! reply is one that the value could have given: what is there from the first turn to the last is in it.
//!
//! A command implements [`Gather`] and ends with [`answer`].

use crate::change::UnixMs;
use crate::error::Error;
use crate::exec::{Continuation, Exec, Flow, Outcome, DONE};
use crate::reply::Reply;
use crate::shard::Shard;
use crate::value::item::{Item, Sink};
use bytes::Bytes;
use std::collections::VecDeque;

/// Elements that are gathered, or written, in a turn per segment of its budget. An element is a cache miss or two and a copy; a
/// turn of a thousand of them is some 100 us, and what it writes fits one piece of a vectored send.
const ELEMENTS_PER_SEGMENT: usize = 64;

/// Elements that are gathered in the first turn: about 100 us of work.
pub(crate) const FIRST_ELEMENTS: usize = 1024;

/// Gathered elements are kept in pieces of this size, so that nothing long is ever moved.
const PIECE_LEN: usize = 64 * 1024;

/// Where elements come from.
pub(crate) trait Gather {
    /// Adds about `count` elements more. Returns whether that was all.
    ///
    /// # Errors
    /// What the command answers instead of the elements.
    fn gather(
        &mut self,
        shard: &mut Shard,
        now: UnixMs,
        count: usize,
        elements: &mut Elements,
    ) -> Result<bool, Error>;

    /// Announces the elements, which are complete and follow.
    fn head(&self, elements: &Elements, reply: &mut dyn Reply);
}

/// Answers at once if the first turn gathers everything, else later.
pub(crate) fn answer<G: Gather + 'static>(
    mut gather: G,
    exec: &mut Exec<'_>,
    reply: &mut dyn Reply,
) -> Outcome {
    let mut elements = Elements::default();
    let now = exec.now();
    let complete = gather.gather(exec.shard, now, FIRST_ELEMENTS, &mut elements)?;
    if complete && elements.len() <= 2 * FIRST_ELEMENTS {
        gather.head(&elements, reply);
        elements.write(usize::MAX, reply);
        return DONE;
    }
    Ok(Flow::Later(Box::new(LongReply { gather, elements, complete, announced: false })))
}

struct LongReply<G> {
    gather: G,
    elements: Elements,
    /// All elements are gathered.
    complete: bool,
    /// The head of the reply is written.
    announced: bool,
}

impl<G: Gather> Continuation for LongReply<G> {
    fn resume(&mut self, shard: &mut Shard, now: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        let count = budget.max(1).saturating_mul(ELEMENTS_PER_SEGMENT);
        if !self.complete {
            match self.gather.gather(shard, now, count, &mut self.elements) {
                Ok(complete) => self.complete = complete,
                Err(error) => {
                    reply.error(error.text());
                    return true;
                }
            }
            return false;
        }
        if !self.announced {
            self.announced = true;
            self.gather.head(&self.elements, reply);
        }
        self.elements.write(count, reply)
    }
}

/// Gathered elements: bulk strings, integers, doubles and nulls, and the heads of arrays among them.
#[derive(Default)]
pub(crate) struct Elements {
    /// Encoded as [`Item`]s, with the marks below for all else.
    pieces: VecDeque<Vec<u8>>,
    /// Where the first piece goes on.
    at: usize,
    /// Long strings, in their order among the elements.
    shared: VecDeque<Bytes>,
    /// Elements, heads of arrays not counted, that are gathered and not written.
    len: usize,
    /// Bytes of strings that were gathered.
    bytes: usize,
}

/// First bytes that no [`Item`] has.
const INTEGER: u8 = 0x79;
const NULL_ARRAY: u8 = 0x7a;
const LONG_ARRAY: u8 = 0x7b;
const SHARED: u8 = 0x7c;
const DOUBLE: u8 = 0x7d;
const ARRAY: u8 = 0x7e;
const NULL: u8 = 0x7f;

impl Elements {
    /// How many there are, heads of arrays not counted.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of all strings that were gathered.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The piece to add this many bytes to.
    fn piece(&mut self, room: usize) -> &mut Vec<u8> {
        let fits = self.pieces.back().is_some_and(|piece| piece.capacity() - piece.len() >= room);
        if !fits {
            // The first one is small: most replies are.
            let len = if self.pieces.is_empty() { PIECE_LEN / 64 } else { PIECE_LEN };
            self.pieces.push_back(Vec::with_capacity(room.max(len)));
        }
        self.pieces.back_mut().expect("there is one now")
    }

    /// Adds a bulk string.
    pub(crate) fn push(&mut self, item: Item<'_>) {
        let len = item.encoded_len();
        item.encode(self.piece(len));
        self.len += 1;
        self.bytes += len;
    }

    /// Adds a bulk string that is not copied.
    pub(crate) fn push_shared(&mut self, bytes: &Bytes) {
        self.piece(1).put(&[SHARED]);
        self.shared.push_back(bytes.clone());
        self.len += 1;
        self.bytes += bytes.len();
    }

    /// Adds a double.
    pub(crate) fn push_double(&mut self, value: f64) {
        let piece = self.piece(9);
        piece.put(&[DOUBLE]);
        piece.put(&value.to_le_bytes());
        self.len += 1;
    }

    /// Adds an integer.
    pub(crate) fn push_integer(&mut self, value: i64) {
        let piece = self.piece(9);
        piece.put(&[INTEGER]);
        piece.put(&value.to_le_bytes());
        self.len += 1;
    }

    /// Adds an absent array.
    pub(crate) fn push_null_array(&mut self) {
        self.piece(1).put(&[NULL_ARRAY]);
        self.len += 1;
    }

    /// Adds the absent value.
    pub(crate) fn push_null(&mut self) {
        self.piece(1).put(&[NULL]);
        self.len += 1;
    }

    /// Announces that the next `len` elements are an array of their own.
    pub(crate) fn push_array(&mut self, len: usize) {
        let piece = self.piece(9);
        match u8::try_from(len) {
            Ok(len) => piece.put(&[ARRAY, len]),
            Err(_) => {
                piece.put(&[LONG_ARRAY]);
                piece.put(&(len as u64).to_le_bytes());
            }
        }
    }

    /// Writes about `count` elements and forgets them. Returns whether those were the last.
    pub(crate) fn write(&mut self, count: usize, reply: &mut dyn Reply) -> bool {
        for _ in 0..count {
            if !self.write_one(reply) {
                return true;
            }
        }
        self.len == 0
    }

    fn write_one(&mut self, reply: &mut dyn Reply) -> bool {
        while self.pieces.front().is_some_and(|piece| self.at >= piece.len()) {
            self.pieces.pop_front();
            self.at = 0;
        }
        let Some(piece) = self.pieces.front() else { return false };
        let at = self.at;
        let word = || piece[at + 1..at + 9].try_into().expect("eight bytes");
        match piece[at] {
            ARRAY => {
                reply.array(piece[at + 1] as usize);
                self.at = at + 2;
                return true;
            }
            LONG_ARRAY => {
                reply.array(u64::from_le_bytes(word()) as usize);
                self.at = at + 9;
                return true;
            }
            NULL_ARRAY => {
                reply.null_array();
                self.at = at + 1;
            }
            INTEGER => {
                reply.integer(i64::from_le_bytes(word()));
                self.at = at + 9;
            }
            DOUBLE => {
                reply.double(f64::from_le_bytes(word()));
                self.at = at + 9;
            }
            NULL => {
                reply.null();
                self.at = at + 1;
            }
            SHARED => {
                reply.bulk_shared(&self.shared.pop_front().expect("one for each mark"));
                self.at = at + 1;
            }
            _ => {
                let (item, next) = Item::decode(piece, at);
                item.reply(reply);
                self.at = next;
            }
        }
        self.len -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Protocol;

    /// Writes what it is told, one word per call.
    #[derive(Default)]
    struct Words(Vec<String>);

    impl Reply for Words {
        fn protocol(&self) -> Protocol {
            Protocol::Resp3
        }
        fn simple(&mut self, text: &str) {
            self.0.push(text.to_owned());
        }
        fn error(&mut self, text: &[u8]) {
            self.0.push(String::from_utf8_lossy(text).into_owned());
        }
        fn integer(&mut self, value: i64) {
            self.0.push(value.to_string());
        }
        fn bulk(&mut self, bytes: &[u8]) {
            self.0.push(format!("{}:{}", bytes.len(), bytes.first().copied().unwrap_or(b'-') as char));
        }
        fn null(&mut self) {
            self.0.push("null".to_owned());
        }
        fn null_array(&mut self) {
            self.0.push("nullarray".to_owned());
        }
        fn array(&mut self, len: usize) {
            self.0.push(format!("*{len}"));
        }
        fn map(&mut self, pairs: usize) {
            self.0.push(format!("%{pairs}"));
        }
        fn set(&mut self, len: usize) {
            self.0.push(format!("~{len}"));
        }
        fn push(&mut self, len: usize) {
            self.0.push(format!(">{len}"));
        }
        fn double(&mut self, value: f64) {
            self.0.push(format!("{value:?}"));
        }
        fn boolean(&mut self, value: bool) {
            self.0.push(value.to_string());
        }
        fn verbatim(&mut self, _: &str, text: &[u8]) {
            self.bulk(text);
        }
        fn raw(&mut self, encoded: &[u8]) {
            self.bulk(encoded);
        }
    }

    #[test]
    fn elements_come_out_as_they_went_in_whatever_the_slices() {
        let long = vec![b'l'; PIECE_LEN + 1];
        let shared = Bytes::from(vec![b's'; 3]);
        for slice in [1, 2, 3, 1000] {
            let (mut elements, mut expected) = (Elements::default(), Vec::new());
            for round in 0..200i64 {
                elements.push_array(2);
                elements.push(Item::Int(round * 1_000_003));
                elements.push_double(round as f64 + 0.5);
                let text = (round * 1_000_003).to_string();
                let first = text.chars().next().expect("a digit");
                expected.extend(["*2".to_owned(), format!("{}:{first}", text.len())]);
                expected.push(format!("{:?}", round as f64 + 0.5));
                elements.push(Item::Bytes(&long[..(round as usize * 997) % long.len()]));
                elements.push_shared(&shared);
                elements.push_array(1000 + round as usize);
                elements.push_integer(-round);
                elements.push_null_array();
                let len = (round as usize * 997) % long.len();
                expected.push(if len == 0 { "0:-".to_owned() } else { format!("{len}:l") });
                expected.push("3:s".to_owned());
                expected.extend([format!("*{}", 1000 + round), (-round).to_string(), "nullarray".to_owned()]);
            }
            assert_eq!(elements.len(), 1200);
            let mut words = Words::default();
            while !elements.write(slice, &mut words) {}
            assert_eq!(words.0, expected);
            assert_eq!(elements.len(), 0);
        }
    }
}

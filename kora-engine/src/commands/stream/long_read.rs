//! XREAD and XREADGROUP of many entries, in slices.
//!
//! Each stream is read in turn, some entries at a time, which are gathered; then the reply is written, some elements at a time. What
//! one consumer is given in a slice is given for good: another one that reads with the same group between two slices gets
//! what comes next. A stream of which nothing was left when its turn came is not in the reply.

use super::answer;
use super::range::{Range, ELEMENTS_PER_ENTRY};
use super::read::{deliver_again, deliver_new, history, new_ids, stream_name, streams, Reader, Wanted};
use crate::change::UnixMs;
use crate::commands::long_reply::Elements;
use crate::error::Error;
use crate::exec::Continuation;
use crate::keyspace::View;
use crate::reply::Reply;
use crate::shard::Shard;
use crate::value::stream::{Stream, StreamId};

/// Entries that are read in a slice per segment of its budget.
const ENTRIES_PER_SEGMENT: usize = 64;

/// One stream of a long read.
pub(super) struct Part {
    source: Source,
    /// Entries that were read.
    entries: usize,
    elements: Elements,
    complete: bool,
}

enum Source {
    /// XREAD.
    Entries(Range),
    /// XREADGROUP.
    Group {
        name: Vec<u8>,
        wanted: Wanted,
        /// The stream's last id when the reading began; known after the first slice.
        end: Option<StreamId>,
        left: usize,
        no_ack: bool,
    },
}

impl Part {
    fn new(source: Source) -> Part {
        Part { source, entries: 0, elements: Elements::default(), complete: false }
    }

    /// Entries of a range.
    pub(super) fn entries(range: Range) -> Part {
        Part::new(Source::Entries(range))
    }

    /// What XREADGROUP wants of a stream, at most `count` entries.
    pub(super) fn of_group(name: &[u8], wanted: Wanted, count: usize, no_ack: bool) -> Part {
        Part::new(Source::Group { name: name.to_vec(), wanted, end: None, left: count, no_ack })
    }

    fn name(&self) -> &[u8] {
        match &self.source {
            Source::Entries(range) => &range.key,
            Source::Group { name, .. } => name,
        }
    }

    /// Whether it is in the reply.
    fn is_answered(&self) -> bool {
        self.entries > 0 || matches!(self.source, Source::Group { wanted: Wanted::History(_), .. })
    }

    /// Reads about this many entries more.
    fn advance(
        &mut self,
        shard: &mut Shard,
        view: View,
        reader: Option<Reader<'_>>,
        count: usize,
    ) -> Result<(), Error> {
        let (entries, complete) = match (&mut self.source, reader) {
            (Source::Entries(range), _) => range.gather(shard, count, &mut self.elements)?,
            (Source::Group { .. }, None) => (0, true),
            (Source::Group { name, wanted, end, left, no_ack }, Some(reader)) => {
                let key = shard.keys.key(name);
                let Some(mut stream) = shard.keys.edit::<Stream>(view, &key)? else {
                    self.complete = true;
                    return Ok(());
                };
                let count = count.min(*left);
                let end = *end.get_or_insert(stream.last_id());
                let read = match wanted {
                    Wanted::New => {
                        // Removed in the meantime, it cannot be given anything.
                        let there = stream.group(reader.group).and_then(|group| group.find(reader.consumer));
                        if there.is_none() {
                            self.complete = true;
                            return Ok(());
                        }
                        let ids = new_ids(&stream, reader, end, count);
                        let mut entries = stream.seeker();
                        for entry in ids.iter().filter_map(|&id| entries.seek(id)) {
                            answer::gather_entry(entry, &mut self.elements);
                        }
                        deliver_new(&mut stream, reader, &ids, *no_ack, view.now);
                        ids.len()
                    }
                    Wanted::History(after) => {
                        let pending = history(&stream, reader, *after, count);
                        let mut entries = stream.seeker();
                        for &(id, _) in &pending {
                            match entries.seek(id) {
                                Some(entry) => answer::gather_entry(entry, &mut self.elements),
                                None => {
                                    self.elements.push_array(2);
                                    answer::gather_id(id, &mut self.elements);
                                    self.elements.push_null_array();
                                }
                            }
                            *after = id;
                        }
                        deliver_again(&mut stream, reader, &pending, view.now);
                        pending.len()
                    }
                };
                *left -= read;
                (read, read < count || *left == 0)
            }
        };
        self.entries += entries;
        self.complete = complete;
        Ok(())
    }
}

/// XREAD or XREADGROUP in slices.
pub(super) struct LongRead {
    view: View,
    /// Group and consumer.
    reader: Option<(Vec<u8>, Vec<u8>)>,
    parts: Vec<Part>,
    /// The stream that is read, then the one that is written.
    at: usize,
    /// The head of the reply is written.
    announced: bool,
    /// The head of the present stream is written.
    named: bool,
}

impl LongRead {
    pub(super) fn new(view: View, reader: Option<Reader<'_>>, parts: Vec<Part>) -> LongRead {
        let reader = reader.map(|reader| (reader.group.to_vec(), reader.consumer.to_vec()));
        LongRead { view, reader, parts, at: 0, announced: false, named: false }
    }

    /// Goes on reading. Returns whether all is read.
    fn read(&mut self, shard: &mut Shard, count: usize) -> Result<bool, Error> {
        let Some(part) = self.parts.get_mut(self.at) else { return Ok(true) };
        let reader = self.reader.as_ref().map(|(group, consumer)| Reader { group, consumer });
        part.advance(shard, self.view, reader, count)?;
        self.at += usize::from(part.complete);
        Ok(false)
    }

    /// Goes on writing. Returns whether the reply is complete.
    fn write(&mut self, count: usize, reply: &mut dyn Reply) -> bool {
        let Some(part) = self.parts.get_mut(self.at) else { return true };
        if !self.named {
            self.named = true;
            stream_name(part.name(), reply);
            reply.array(part.entries);
        }
        if part.elements.write(count, reply) {
            self.at += 1;
            self.named = false;
        }
        false
    }
}

impl Continuation for LongRead {
    fn resume(&mut self, shard: &mut Shard, _: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        let count = budget.max(1).saturating_mul(ENTRIES_PER_SEGMENT);
        if self.announced {
            return self.write(count.saturating_mul(ELEMENTS_PER_ENTRY), reply);
        }
        match self.read(shard, count) {
            Ok(false) => return false,
            Ok(true) => {}
            Err(error) => {
                reply.error(error.text());
                return true;
            }
        }
        self.parts.retain(Part::is_answered);
        streams(self.parts.len(), reply);
        (self.announced, self.at) = (true, 0);
        self.parts.is_empty()
    }
}

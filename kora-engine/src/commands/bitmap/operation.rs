//! BITOP. Large strings are combined in slices; the sources are held meanwhile, not copied.

use crate::args::is;
use crate::bits::{combine, Operation};
use crate::change::UnixMs;
use crate::commands::string::with_text;
use crate::error::Error;
use crate::exec::{Continuation, Exec, Flow, Outcome, DONE};
use crate::keyspace::{NewExpiry, View};
use crate::limits::{BYTES_AT_ONCE, BYTES_PER_SEGMENT};
use crate::reply::Reply;
use crate::shard::Shard;
use crate::table::{NewValue, ValueRef};
use bytes::Bytes;

/// How often a sliced operation begins again because a source was written to. Then it is done in one go.
const ATTEMPTS: usize = 4;

impl Operation {
    fn named(word: &[u8]) -> Option<Operation> {
        const NAMES: [(&str, Operation); 8] = [
            ("and", Operation::And),
            ("or", Operation::Or),
            ("xor", Operation::Xor),
            ("not", Operation::Not),
            ("diff", Operation::Diff),
            ("diff1", Operation::Diff1),
            ("andor", Operation::AndOr),
            ("one", Operation::One),
        ];
        NAMES.iter().find(|(name, _)| is(word, name)).map(|(_, operation)| *operation)
    }

    /// Checks the number of sources.
    fn check(self, sources: usize) -> Result<(), Error> {
        const ONE_SOURCE: Error = Error::new("ERR BITOP NOT must be called with a single source key.");
        let too_few = |name| {
            Err(Error::owned(format!("ERR BITOP {name} must be called with at least two source keys.")))
        };
        match self {
            Operation::Not if sources != 1 => Err(ONE_SOURCE),
            Operation::Diff if sources < 2 => too_few("DIFF"),
            Operation::Diff1 if sources < 2 => too_few("DIFF1"),
            Operation::AndOr if sources < 2 => too_few("ANDOR"),
            _ => Ok(()),
        }
    }
}

/// BITOP operation destkey key [key ...]
pub(super) fn bitop(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let operation = Operation::named(exec.argv[1]).ok_or(Error::SYNTAX)?;
    operation.check(exec.argc() - 3)?;
    let sources = exec.argv[3..]
        .iter()
        .map(|name| Source::of(exec.shard, exec.view, name))
        .collect::<Result<Vec<_>, _>>()?;
    let mut combination = Combination::new(operation, exec.view, exec.argv[2], sources);
    if combination.work() > BYTES_AT_ONCE {
        combination.names = exec.argv[3..].iter().map(|name| name.to_vec()).collect();
        return Ok(Flow::Later(Box::new(combination)));
    }
    combination.advance(usize::MAX);
    combination.store(exec.shard, reply);
    DONE
}

/// A source as it was when the operation began.
#[derive(Debug, Clone)]
enum Source {
    /// Of an integer or a short string: a copy.
    Copy(Vec<u8>),
    /// As long as it is held, a write to the key goes to a copy.
    Held(Bytes),
}

impl Source {
    /// The string at a key, for reading; a missing one is empty.
    fn of(shard: &mut Shard, view: View, name: &[u8]) -> Result<Source, Error> {
        let key = shard.keys.key(name);
        let entry = shard.keys.get_string(view, &key)?;
        Ok(match entry.map(|entry| entry.value()) {
            None => Source::Copy(Vec::new()),
            Some(ValueRef::Shared(bytes)) => Source::Held(bytes.clone()),
            Some(value) => Source::Copy(with_text(value, <[u8]>::to_vec)),
        })
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Source::Copy(bytes) => bytes,
            Source::Held(bytes) => bytes,
        }
    }

    /// Whether the key still holds these bytes.
    fn is_current(&self, shard: &mut Shard, view: View, name: &[u8]) -> bool {
        let key = shard.keys.key(name);
        let Ok(entry) = shard.keys.peek_string(view, &key) else { return false };
        match (self, entry.map(|entry| entry.value())) {
            // The same memory, which nobody writes to while it is held.
            (Source::Held(held), Some(ValueRef::Shared(bytes))) => {
                held.as_ptr() == bytes.as_ptr() && held.len() == bytes.len()
            }
            (Source::Copy(copy), Some(ValueRef::Bytes(_) | ValueRef::Int(_))) => {
                entry.is_some_and(|entry| with_text(entry.value(), |text| text == copy.as_slice()))
            }
            (Source::Copy(copy), None) => copy.is_empty(),
            _ => false,
        }
    }
}

/// A BITOP under way.
struct Combination {
    operation: Operation,
    view: View,
    destination: Vec<u8>,
    sources: Vec<Source>,
    /// The keys of the sources, when it goes on in slices.
    names: Vec<Vec<u8>>,
    /// As long as the longest source; zero behind `done`, in pages that were not touched.
    result: Vec<u8>,
    done: usize,
    attempts: usize,
}

impl Combination {
    fn new(operation: Operation, view: View, destination: &[u8], sources: Vec<Source>) -> Combination {
        let len = sources.iter().map(|source| source.bytes().len()).max().unwrap_or(0);
        Combination {
            operation,
            view,
            destination: destination.to_vec(),
            sources,
            names: Vec::new(),
            result: vec![0; len],
            done: 0,
            attempts: 0,
        }
    }

    /// Bytes to read and write.
    fn work(&self) -> usize {
        self.result.len() + self.sources.iter().map(|source| source.bytes().len()).sum::<usize>()
    }

    /// Reads and writes about so many bytes. Returns whether the result is complete.
    fn advance(&mut self, bytes: usize) -> bool {
        let step = (bytes / (self.sources.len() + 1)).max(1);
        let end = self.result.len().min(self.done.saturating_add(step));
        let sources: Vec<&[u8]> = self.sources.iter().map(Source::bytes).collect();
        combine(self.operation, &sources, self.done, &mut self.result[self.done..end]);
        self.done = end;
        end == self.result.len()
    }

    /// Gives the destination the complete result, and the answer.
    fn store(&mut self, shard: &mut Shard, reply: &mut dyn Reply) {
        // The destination may be a source: its old value is not to be held any more when it is dropped.
        self.sources.clear();
        let result = std::mem::take(&mut self.result);
        let len = result.len();
        let keys = &mut shard.keys;
        let key = keys.key(&self.destination);
        if len == 0 {
            keys.remove(self.view, &key);
        } else {
            keys.set(self.view, &key, NewValue::Shared(Bytes::from(result)), NewExpiry::Clear);
            if let Ok(Some(mut string)) = keys.edit_string(self.view.untouched(), &key) {
                string.make_raw();
            }
        }
        reply.integer(len as i64);
    }

    /// Begins again when a source has changed: the operation happens when its result is stored, with the strings as they
    /// are then.
    fn catch_up(&mut self, shard: &mut Shard) -> Result<bool, Error> {
        let mut current = true;
        for (source, name) in self.sources.iter().zip(&self.names) {
            current &= source.is_current(shard, self.view, name);
        }
        if current {
            return Ok(true);
        }
        let view = self.view;
        let sources =
            self.names.iter().map(|name| Source::of(shard, view, name)).collect::<Result<Vec<_>, _>>()?;
        let (names, attempts) = (std::mem::take(&mut self.names), self.attempts + 1);
        *self = Combination::new(self.operation, view, &self.destination, sources);
        (self.names, self.attempts) = (names, attempts);
        Ok(attempts == ATTEMPTS && self.advance(usize::MAX))
    }
}

impl Continuation for Combination {
    fn resume(&mut self, shard: &mut Shard, now: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        self.view.now = now;
        if !self.advance(budget.max(1).saturating_mul(BYTES_PER_SEGMENT)) {
            return false;
        }
        match self.catch_up(shard) {
            Ok(false) => return false,
            Ok(true) => self.store(shard, reply),
            Err(error) => reply.error(error.text()),
        }
        true
    }
}

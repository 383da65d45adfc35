//! BITFIELD and BITFIELD_RO: a string as an array of integers of any width.
//!
//! All arguments are checked before anything is done, by reading them twice: the operations are not kept.

use super::offset::{field_offset, Field};
use crate::args::{integer, is};
use crate::bits;
use crate::commands::string::with_text;
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::keyspace::StringEditor;
use crate::reply::Reply;
use crate::table::ValueRef;

/// What happens to a number that its field cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    /// Its lowest bits are stored.
    Wrap,
    /// The nearest number that fits is stored.
    Saturate,
    /// Nothing is stored.
    Fail,
}

/// What is done with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Get,
    Set(i64),
    Increment(i64),
}

/// One operation of a command.
#[derive(Debug, Clone, Copy)]
struct Operation {
    field: Field,
    /// First bit.
    offset: u64,
    action: Action,
    overflow: Overflow,
}

/// The operations that some arguments ask for, one after the other.
struct Operations<'a> {
    words: std::slice::Iter<'a, &'a [u8]>,
    overflow: Overflow,
    max_len: usize,
}

impl<'a> Operations<'a> {
    fn new(words: &'a [&'a [u8]], max_len: usize) -> Operations<'a> {
        Operations { words: words.iter(), overflow: Overflow::Wrap, max_len }
    }

    fn read(&mut self, word: &[u8]) -> Result<Option<Operation>, Error> {
        const OVERFLOW_TYPE: Error = Error::new("ERR Invalid OVERFLOW type specified");
        let rest = self.words.as_slice();
        let (len, action): (usize, fn(i64) -> Action) = if is(word, "get") {
            (2, |_| Action::Get)
        } else if is(word, "set") {
            (3, Action::Set)
        } else if is(word, "incrby") {
            (3, Action::Increment)
        } else if is(word, "overflow") && !rest.is_empty() {
            self.words.next();
            self.overflow = if is(rest[0], "wrap") {
                Overflow::Wrap
            } else if is(rest[0], "sat") {
                Overflow::Saturate
            } else if is(rest[0], "fail") {
                Overflow::Fail
            } else {
                return Err(OVERFLOW_TYPE);
            };
            return Ok(None);
        } else {
            return Err(Error::SYNTAX);
        };
        if rest.len() < len {
            return Err(Error::SYNTAX);
        }
        self.words = rest[len..].iter();
        let field = Field::parse(rest[0])?;
        let offset = field_offset(rest[1], field, self.max_len)?;
        let number = if len == 3 { integer(rest[2])? } else { 0 };
        Ok(Some(Operation { field, offset, action: action(number), overflow: self.overflow }))
    }
}

impl Iterator for Operations<'_> {
    type Item = Result<Operation, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let word = self.words.next()?;
            match self.read(word) {
                Ok(None) => {}
                Ok(Some(operation)) => return Some(Ok(operation)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// What all operations of a command come to.
#[derive(Default)]
struct Summary {
    operations: usize,
    /// The last bit that is written to, if any is.
    last_written: Option<u64>,
}

impl Summary {
    fn of(operations: Operations<'_>) -> Result<Summary, Error> {
        let mut summary = Summary::default();
        for operation in operations {
            let operation = operation?;
            summary.operations += 1;
            if operation.action != Action::Get {
                let last = operation.offset + u64::from(operation.field.width) - 1;
                summary.last_written = summary.last_written.max(Some(last));
            }
        }
        Ok(summary)
    }
}

/// Whether the words after the key of a BITFIELD ask for reads only, as far as their form tells: what COMMAND GETKEYSANDFLAGS
/// says. Words that are not understood may write.
pub(crate) fn only_reads(mut words: &[&[u8]]) -> bool {
    while let [word, rest @ ..] = words {
        words = if is(word, "get") && rest.len() >= 2 {
            &rest[2..]
        } else if is(word, "overflow") && !rest.is_empty() {
            &rest[1..]
        } else {
            return false;
        };
    }
    true
}

/// BITFIELD key [GET type offset | [OVERFLOW ...] SET type offset value | INCRBY type offset increment ...]
pub(super) fn bitfield(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let operations = || Operations::new(&exec.argv[2..], exec.shard.config.max_string_len);
    let summary = Summary::of(operations())?;
    let Some(last_written) = summary.last_written else {
        return read(exec, summary.operations, reply);
    };
    let operations = Operations::new(&exec.argv[2..], exec.shard.config.max_string_len);
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let last_byte = last_written / 8;
    match keys.edit_string(exec.view, &key)? {
        Some(mut string) if string.value().len() as u64 > last_byte => string.make_raw(),
        // As long as all writes need it, though the first may yet fail.
        _ => {
            keys.write_at(exec.view, &key, last_byte as u32, &[0]);
        }
    }
    let mut string =
        keys.edit_string(exec.view.untouched(), &key)?.expect("it is there or has just been made");
    reply.array(summary.operations);
    for operation in operations {
        let operation = operation.expect("the operations have been checked");
        match operation.run(&mut string) {
            Some(number) => reply.integer(number),
            None => reply.null(),
        }
    }
    DONE
}

/// BITFIELD_RO key [GET type offset ...]
pub(super) fn bitfield_ro(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    const READS_ONLY: Error = Error::new("ERR BITFIELD_RO only supports the GET subcommand");
    let summary = Summary::of(Operations::new(&exec.argv[2..], exec.shard.config.max_string_len))?;
    if summary.last_written.is_some() {
        return Err(READS_ONLY);
    }
    read(exec, summary.operations, reply)
}

/// Answers operations that only read.
fn read(exec: &mut Exec<'_>, len: usize, reply: &mut dyn Reply) -> Outcome {
    let operations = Operations::new(&exec.argv[2..], exec.shard.config.max_string_len);
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let value = keys.get_string(exec.view, &key)?.map_or(ValueRef::Bytes(b""), |entry| entry.value());
    reply.array(len);
    for operation in operations {
        let operation = operation.expect("the operations have been checked");
        reply.integer(operation.field.number(operation.bits(value)));
    }
    DONE
}

impl Operation {
    /// The bits of the field, in a string that may end before it.
    fn bits(&self, value: ValueRef<'_>) -> u64 {
        with_text(value, |text| bits::field(text, self.offset, self.field.width))
    }

    /// Does it to a string that is long enough; the answer, or none where the number does not fit and that is to fail.
    fn run(&self, string: &mut StringEditor<'_>) -> Option<i64> {
        let old_bits = self.bits(string.value());
        let old = self.field.number(old_bits);
        let new = match self.action {
            Action::Get => return Some(old),
            // A negative number is to an unsigned field what it is as 64 bits: too large.
            Action::Set(number) if !self.field.signed => i128::from(number as u64),
            Action::Set(number) => i128::from(number),
            Action::Increment(by) => i128::from(old) + i128::from(by),
        };
        let new = self.stored(new)?;
        let new_bits = self.field.bits(new);
        if new_bits != old_bits {
            self.write(string, new_bits);
        }
        Some(if matches!(self.action, Action::Set(_)) { old } else { new })
    }

    /// What the field will hold when a number is put into it.
    fn stored(&self, number: i128) -> Option<i64> {
        let (least, greatest) = self.field.limits();
        if (least..=greatest).contains(&number) {
            return Some(number as i64);
        }
        match self.overflow {
            Overflow::Wrap => Some(self.field.number(self.field.bits(number as i64))),
            // Redis takes a number so low that the distance from the greatest needs 64 bits for too large.
            Overflow::Saturate
                if matches!(self.action, Action::Set(_)) && greatest - number > i128::from(i64::MAX) =>
            {
                Some(greatest as i64)
            }
            Overflow::Saturate => Some(number.clamp(least, greatest) as i64),
            Overflow::Fail => None,
        }
    }

    fn write(&self, string: &mut StringEditor<'_>, new: u64) {
        let with_new = |text: &[u8]| bits::with_field(text, self.offset, self.field.width, new);
        let (start, bytes, len) = with_text(string.value(), with_new);
        string.write_at(start as u32, &bytes[..len]);
    }
}

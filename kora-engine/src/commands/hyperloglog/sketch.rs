//! PFADD, PFCOUNT and PFMERGE.

use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::hyperloglog::sparse::Position;
use crate::hyperloglog::{self, dense, Corrupted, Edit, Encoding, Raised, REGISTERS};
use crate::keyspace::{Key, Keyspace, NewExpiry, StringEditor, View};
use crate::reply::Reply;
use crate::table::{NewValue, ValueRef};

const NOT_A_SKETCH: Error = Error::new("WRONGTYPE Key is not a valid HyperLogLog string value.");
const CORRUPTED: Error = Error::new("INVALIDOBJ Corrupted HLL object detected");

impl From<Corrupted> for Error {
    fn from(_: Corrupted) -> Error {
        CORRUPTED
    }
}

/// The bytes of a sketch and their encoding.
///
/// # Errors
/// The string is none.
pub(super) fn sketch_of(value: ValueRef<'_>) -> Result<(&[u8], Encoding), Error> {
    let bytes = match value {
        ValueRef::Bytes(bytes) => bytes,
        ValueRef::Shared(bytes) => bytes,
        ValueRef::Int(_) | ValueRef::Object(_) => return Err(NOT_A_SKETCH),
    };
    hyperloglog::encoding(bytes).map(|encoding| (bytes, encoding)).ok_or(NOT_A_SKETCH)
}

fn apply(edit: &Edit, string: &mut StringEditor<'_>) {
    if edit.removed == edit.bytes().len() {
        string.write_at(edit.offset as u32, edit.bytes());
    } else {
        string.splice(edit.offset as u32, edit.removed as u32, edit.bytes());
    }
}

/// Gives a new key a sketch, in the form that Redis gives it.
fn create(keys: &mut Keyspace, view: View, key: &Key<'_>, sketch: &[u8]) {
    keys.set(view, key, NewValue::Bytes(sketch), NewExpiry::Clear);
    if let Ok(Some(mut string)) = keys.edit_string(view.untouched(), key) {
        string.make_raw();
    }
}

/// PFADD key [element ...]
pub(super) fn pfadd(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let elements = &exec.argv[2..];
    let sparse_max = exec.shard.config.limits.hll_sparse_max_bytes;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(mut string) = keys.edit_string(exec.view, &key)? else {
        let sketch = sketch_with(elements, sparse_max)?;
        create(keys, exec.view, &key, &sketch);
        reply.integer(1);
        return DONE;
    };
    sketch_of(string.value())?;
    string.make_raw();
    let mut raised_any = false;
    let mut all = || -> Result<(), Error> {
        for element in elements {
            let (index, rank) = hyperloglog::place(element);
            let (sketch, encoding) = sketch_of(string.value())?;
            match hyperloglog::raise(sketch, encoding, index, rank, sparse_max, &mut Position::start())? {
                Raised::Not => continue,
                Raised::Edit(edit) => apply(&edit, &mut string),
                Raised::Promoted(dense) => string.replace(&dense),
            }
            raised_any = true;
        }
        Ok(())
    };
    // As in Redis, what a corrupted sketch was shown before it was found out stays.
    let outcome = all();
    if raised_any {
        let (sketch, _) = sketch_of(string.value())?;
        if let Some(edit) = hyperloglog::outdate_count(sketch) {
            apply(&edit, &mut string);
        }
    }
    outcome?;
    reply.integer(raised_any as i64);
    DONE
}

/// A new sketch that has seen some elements. Its estimate has yet to be made even if there are none, as in Redis.
fn sketch_with(elements: &[&[u8]], sparse_max: usize) -> Result<Vec<u8>, Corrupted> {
    let mut sketch = hyperloglog::empty();
    let mut encoding = Encoding::Sparse;
    for element in elements {
        let (index, rank) = hyperloglog::place(element);
        raise(&mut sketch, &mut encoding, index, rank, sparse_max, &mut Position::start())?;
    }
    outdate(&mut sketch);
    Ok(sketch)
}

/// Raises a register of a sketch that is not in the keyspace.
fn raise(
    sketch: &mut Vec<u8>,
    encoding: &mut Encoding,
    index: usize,
    rank: u8,
    sparse_max: usize,
    at: &mut Position,
) -> Result<(), Corrupted> {
    match hyperloglog::raise(sketch, *encoding, index, rank, sparse_max, at)? {
        Raised::Not => {}
        Raised::Edit(edit) => edit.apply(sketch),
        Raised::Promoted(dense) => (*sketch, *encoding) = (dense, Encoding::Dense),
    }
    Ok(())
}

fn outdate(sketch: &mut Vec<u8>) {
    if let Some(edit) = hyperloglog::outdate_count(sketch) {
        edit.apply(sketch);
    }
}

/// PFCOUNT key [key ...]
pub(super) fn pfcount(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let count = match exec.argv[1..] {
        [name] => count_one(exec, name)?,
        _ => {
            let mut union = Union::default();
            for name in &exec.argv[1..] {
                union.add(exec, name)?;
            }
            hyperloglog::estimate::estimate(&union.registers)
        }
    };
    reply.integer(count as i64);
    DONE
}

/// The estimate of one key, which is kept in it.
fn count_one(exec: &mut Exec<'_>, name: &[u8]) -> Result<u64, Error> {
    let keys = &mut exec.shard.keys;
    let key = keys.key(name);
    if keys.get_string(exec.view, &key)?.is_none() {
        return Ok(0);
    }
    let mut string = keys.edit_string(exec.view.untouched(), &key)?.expect("it is there");
    let (sketch, encoding) = sketch_of(string.value())?;
    if let Some(count) = hyperloglog::cached_count(sketch) {
        string.make_raw();
        return Ok(count);
    }
    let count = hyperloglog::count(sketch, encoding)?;
    apply(&hyperloglog::cache_count(count), &mut string);
    Ok(count)
}

/// The registers of several sketches together.
struct Union {
    registers: Box<[u8; REGISTERS]>,
    /// Whether one of them was dense.
    any_dense: bool,
}

impl Default for Union {
    fn default() -> Union {
        Union { registers: Box::new([0; REGISTERS]), any_dense: false }
    }
}

impl Union {
    /// Adds the sketch at a key; a missing one has seen nothing.
    fn add(&mut self, exec: &mut Exec<'_>, name: &[u8]) -> Result<(), Error> {
        let keys = &mut exec.shard.keys;
        let key = keys.key(name);
        if let Some(entry) = keys.get_string(exec.view, &key)? {
            let (sketch, encoding) = sketch_of(entry.value())?;
            hyperloglog::merge_into(sketch, encoding, &mut self.registers)?;
            self.any_dense |= encoding == Encoding::Dense;
        }
        Ok(())
    }
}

/// PFMERGE destkey [sourcekey ...]
pub(super) fn pfmerge(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let mut union = Union::default();
    for name in &exec.argv[1..] {
        union.add(exec, name)?;
    }
    let sparse_max = exec.shard.config.limits.hll_sparse_max_bytes;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    match keys.edit_string(exec.view.untouched(), &key)? {
        Some(mut string) => {
            let (sketch, encoding) = sketch_of(string.value())?;
            let merged = merged(sketch, encoding, &union, sparse_max)?;
            string.replace(&merged);
            string.make_raw();
        }
        None => {
            let merged = merged(&hyperloglog::empty(), Encoding::Sparse, &union, sparse_max)?;
            create(keys, exec.view, &key, &merged);
        }
    }
    reply.ok();
    DONE
}

/// A sketch with its registers raised to those of a union of which it is a part.
fn merged(
    sketch: &[u8],
    mut encoding: Encoding,
    union: &Union,
    sparse_max: usize,
) -> Result<Vec<u8>, Corrupted> {
    let mut merged = if union.any_dense {
        dense::with_registers(sketch, &union.registers)
    } else {
        let (mut merged, mut at) = (sketch.to_vec(), Position::start());
        for (index, &rank) in union.registers.iter().enumerate() {
            if rank > 0 {
                raise(&mut merged, &mut encoding, index, rank, sparse_max, &mut at)?;
            }
        }
        merged
    };
    outdate(&mut merged);
    Ok(merged)
}

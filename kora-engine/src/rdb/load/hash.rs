//! Hashes: fields and values, plain or packed, with times in the encodings that have them.
//!
//! A time is that of the field's expiry. In a packed hash it follows the value and is absolute; among plain fields it comes before the field,
//! and since Redis 7.4 it is counted from the earliest one of the hash, plus 1. 0 is none.

use super::{At, Context, Room, Rows};
use crate::change::UnixMs;
use crate::rdb::packed::Form;
use crate::rdb::string::{number, string};
use crate::rdb::{Encoding, Error, Problem, Source};
use crate::value::hash::{FieldExpiry, Hash, EXPIRY_MAX};
use crate::value::item::Item;
use crate::value::Collection;

const TIME: Problem = Problem::Malformed("expiry of a field");

/// A hash that is being read.
pub(super) struct HashLoader {
    hash: Hash,
    encoding: Encoding,
    rows: Rows,
    /// Bytes of the longest field or value that does not make a packed hash a table.
    longest: usize,
    /// What relative times are counted from.
    base: u64,
}

impl HashLoader {
    pub(super) fn new(encoding: Encoding, context: &Context) -> HashLoader {
        let longest = match encoding {
            // Whoever has packed them had the limits for it.
            Encoding::HashZiplist
            | Encoding::HashListpack
            | Encoding::HashListpackEx
            | Encoding::HashListpackExPreGa => usize::MAX,
            _ => context.limits.hash_max_listpack_value,
        };
        HashLoader { hash: Hash::new(context.seed), encoding, rows: Rows::Unread, longest, base: 0 }
    }

    fn open<S: Source>(&mut self, source: &mut S, room: &mut Room, context: &Context) -> Result<(), Error> {
        use Encoding as E;
        let form = match self.encoding {
            E::HashListpack | E::HashListpackEx | E::HashListpackExPreGa => Some(Form::Listpack),
            E::HashZiplist => Some(Form::Ziplist),
            E::HashZipmap => Some(Form::Zipmap),
            _ => None,
        };
        if matches!(self.encoding, E::HashMetadata | E::HashListpackEx) {
            self.base = u64::from_le_bytes(source.array()?);
        }
        self.rows = Rows::open(source, room, form)?;
        match self.rows {
            Rows::Plain(fields) if fields > context.limits.hash_max_listpack_entries as u64 => {
                self.hash.make_table(context.seed);
            }
            _ if self.has_times() => drop(self.hash.make_expiring()),
            _ => {}
        }
        Ok(())
    }

    fn has_times(&self) -> bool {
        use Encoding as E;
        matches!(
            self.encoding,
            E::HashMetadata | E::HashMetadataPreGa | E::HashListpackEx | E::HashListpackExPreGa
        )
    }

    pub(super) fn advance<S: Source>(
        &mut self,
        source: &mut S,
        room: &mut Room,
        context: &Context,
        elements: usize,
    ) -> Result<bool, Error> {
        if let Rows::Unread = self.rows {
            self.open(source, room, context)?;
        }
        let has_times = self.has_times();
        let HashLoader { hash, encoding, rows, longest, base } = self;
        let mut limits = context.limits;
        limits.hash_max_listpack_value = *longest;
        let mut set = |field: &[u8], value: Item<'_>, expiry| {
            let (_, is_new) = hash.set(field, value, expiry, &limits, context.seed);
            is_new
        };
        for _ in 0..elements {
            let Room { text, first, .. } = room;
            let is_new = match rows {
                Rows::Plain(0) => return Ok(true),
                Rows::Plain(left) => {
                    *left -= 1;
                    let expiry = match encoding {
                        Encoding::HashMetadata => match number(source)? {
                            0 => FieldExpiry::Clear,
                            time => absolute((time - 1).saturating_add(*base), source)?,
                        },
                        Encoding::HashMetadataPreGa => time_or_none(number(source)?, source)?,
                        _ => FieldExpiry::Clear,
                    };
                    first.clear();
                    first.extend_from_slice(string(source, text)?);
                    set(first, Item::of(string(source, text)?), expiry)
                }
                Rows::Packed(packed) => match packed.next().at(source)? {
                    None => return Ok(true),
                    Some(field) => {
                        first.clear();
                        field.with_bytes(|field| first.extend_from_slice(field));
                        let value = packed.need().at(source)?;
                        if has_times {
                            text.clear();
                            value.with_bytes(|value| text.extend_from_slice(value));
                            let time = u64::try_from(packed.need_int().at(source)?)
                                .map_err(|_| source.error(TIME))?;
                            set(first, Item::of(text), time_or_none(time, source)?)
                        } else {
                            value.with_bytes(|value| set(first, Item::of(value), FieldExpiry::Clear))
                        }
                    }
                },
                Rows::Unread => unreachable!("read above"),
            };
            if !is_new {
                return source.refuse(Problem::Duplicate("field of a hash"));
            }
        }
        Ok(false)
    }

    pub(super) fn finish(self) -> Hash {
        self.hash
    }
}

fn time_or_none<S: Source>(time: UnixMs, source: &S) -> Result<FieldExpiry, Error> {
    match time {
        0 => Ok(FieldExpiry::Clear),
        time => absolute(time, source),
    }
}

fn absolute<S: Source>(time: UnixMs, source: &S) -> Result<FieldExpiry, Error> {
    if time > EXPIRY_MAX {
        return source.refuse(TIME);
    }
    Ok(FieldExpiry::At(time))
}
